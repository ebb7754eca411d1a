/* Section M of the contract in C, and what section S says of maps. */
#include "check.h"
#include "semantics_main.h"

/* The numbers from 1 on, up to an end or without one; counts how far they were read. */
struct numbers {
    uint64_t read, end, value;
};
enum { ENDLESS = -1 };
/* A task of this number runs until it is asked to stop. */
enum { WAITS = 1000 };

static int32_t next_number(void *context, taskring_bytes *args) {
    struct numbers *numbers = context;
    if (numbers->read == numbers->end)
        return 0;
    numbers->value = ++numbers->read;
    *args = (taskring_bytes){&numbers->value, sizeof numbers->value};
    return 1;
}

/* The square; odd multiples of 5 fail, WAITS waits. */
static int32_t compute(taskring_call *call, void *context) {
    uint64_t x;
    memcpy(&x, taskring_call_args(call, NULL), sizeof x);
    if (x == WAITS)
        return until_asked(call, context);
    if (x % 10 == 5) {
        taskring_call_fail(call, "an odd multiple of 5");
        return 1;
    }
    return square(call, context);
}

static taskring_map *start(taskring_pool *pool, taskring_input input, void *context, const taskring_map_options *options) {
    taskring_map *map = NULL;
    OK(taskring_map_new(pool, function(pool, "compute"), input, context, options, &map));
    return map;
}

/* The next result, which is the square of the number of this index. */
static void next(taskring_map *map, uint64_t wanted) {
    uint64_t y = 0, index = 77;
    OK(taskring_map_next(map, SOON, &y, sizeof y, NULL, &index));
    CHECK(index == wanted && y == (wanted + 1) * (wanted + 1));
}

static taskring_status status_of_next(taskring_map *map, uint64_t timeout_ns) {
    uint64_t y = 0;
    return taskring_map_next(map, timeout_ns, &y, sizeof y, NULL, NULL);
}

/* The numbers of a list. */
struct list {
    const uint64_t *at;
    size_t left;
};

static int32_t next_of_list(void *context, taskring_bytes *args) {
    struct list *list = context;
    if (list->left == 0)
        return 0;
    list->left--;
    *args = (taskring_bytes){list->at++, sizeof(uint64_t)};
    return 1;
}

/* Two lists at a time: their items' product, up to the end of the shorter. */
struct pair {
    struct list first, second;
    uint64_t value;
};

static int32_t next_of_both(void *context, taskring_bytes *args) {
    struct pair *pair = context;
    taskring_bytes a, b;
    if (next_of_list(&pair->first, &a) == 0 || next_of_list(&pair->second, &b) == 0)
        return 0;
    pair->value = *(const uint64_t *)a.data * *(const uint64_t *)b.data;
    *args = (taskring_bytes){&pair->value, sizeof pair->value};
    return 1;
}

static const uint64_t fives[20] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
static const uint64_t ones[] = {1, 1, 1, 1, 1}, first_three[] = {1, 2, 3};

static void semantics_m1_inputs_of_two_lists_end_with_the_shorter_and_none_give_nothing(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct pair pair = {{ones, 5}, {first_three, 3}, 0};
    taskring_map *map = start(pool, next_of_both, &pair, NULL);
    for (uint64_t i = 0; i < 3; i++)
        next(map, i);
    STATUS(TASKRING_END, status_of_next(map, TASKRING_INFINITE));
    OK(taskring_map_free(map));
    struct list none = {ones, 0};
    map = start(pool, next_of_list, &none, NULL);
    STATUS(TASKRING_END, status_of_next(map, TASKRING_INFINITE));
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_m2_all_of_the_input_is_submitted_at_the_call_unless_a_window_is_named(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 256);
    const uint64_t running = busy(pool);
    struct numbers all = {0, 200, 0}, some = {0, 200, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.window = 5;
    taskring_map *eager = start(pool, next_number, &all, NULL), *windowed = start(pool, next_number, &some, &options);
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    CHECK(all.read == 200 && some.read == 5 && stats.pending == 205);
    STATUS(TASKRING_TIMED_OUT, status_of_next(eager, 0));
    cancel(pool, running);
    for (uint64_t i = 0; i < 200; i++) {
        if ((i + 1) % 10 == 5)
            STATUS(TASKRING_TASK_FAILED, status_of_next(eager, SOON));
        else
            next(eager, i);
    }
    STATUS(TASKRING_END, status_of_next(eager, 0));
    OK(taskring_map_free(eager));
    OK(taskring_map_free(windowed));
    OK(taskring_free(pool));
}

static void semantics_m3_results_come_in_input_order_and_errors_at_their_places(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    struct numbers numbers = {0, 30, 0};
    taskring_map *map = start(pool, next_number, &numbers, NULL);
    for (uint64_t i = 0; i < 30; i++) {
        uint64_t index = 77;
        if ((i + 1) % 10 != 5) {
            next(map, i);
            continue;
        }
        STATUS(TASKRING_TASK_FAILED, taskring_map_next(map, SOON, NULL, 0, NULL, &index));
        CHECK(index == i && strcmp(taskring_last_error(), "an odd multiple of 5") == 0);
    }
    STATUS(TASKRING_END, status_of_next(map, 0));
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

/* Waits until this many tasks wait, run, and are over. */
static void until_counts(taskring_pool *pool, uint32_t pending, uint32_t running, uint32_t unreleased) {
    taskring_stats stats = TASKRING_STATS_INIT;
    for (int i = 0; i < 20000; i++) {
        OK(taskring_pool_stats(pool, &stats));
        if (stats.pending == pending && stats.running == running && stats.unreleased == unreleased)
            return;
        sleep_ms(1);
    }
    CHECK(!"the counts came");
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void semantics_m4_what_is_ready_is_given_after_the_time_and_then_it_is_over(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    static const uint64_t numbers[] = {1, 2, WAITS, 4};
    struct list list = {numbers, 4};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.timeout_ns = 20 * MS;
    const uint64_t began = now_ms();
    taskring_map *map = start(pool, next_of_list, &list, &options);
    until_counts(pool, 1, 1, 2);
    while (now_ms() < began + 25)
        sleep_ms(1);
    next(map, 0);
    next(map, 1);
    STATUS(TASKRING_TIMED_OUT, status_of_next(map, TASKRING_INFINITE));
    STATUS(TASKRING_END, status_of_next(map, TASKRING_INFINITE));
    /* The one that ran was asked to stop, the one that waited is cancelled: nothing holds this up. */
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

/* A number, and where a task counts itself. */
struct counted {
    tally tally;
    uint64_t number;
};

/* Counts itself, and then is as compute. */
static int32_t count_and_compute(taskring_call *call, void *context) {
    struct counted counted;
    memcpy(&counted, taskring_call_args(call, NULL), sizeof counted);
    count_in(&counted.tally);
    if (counted.number == WAITS)
        return until_asked(call, context);
    counted.number *= counted.number;
    return taskring_call_set_result(call, &counted.number, sizeof counted.number);
}

/* Numbers from 1 on up to an end; the one of `waits` is WAITS. At `stop` this ends the pool, and at `fail` it fails. */
struct input {
    struct counted next;
    uint64_t read, end, waits, stop, fail;
    taskring_pool *pool;
};

static int32_t next_counted(void *context, taskring_bytes *args) {
    struct input *input = context;
    if (input->read == input->end)
        return 0;
    input->read++;
    if (input->read == input->fail)
        return -5;
    if (input->read == input->stop)
        OK(taskring_shutdown(input->pool, 0, 0));
    input->next.number = input->read == input->waits ? WAITS : input->read;
    *args = (taskring_bytes){&input->next, sizeof input->next};
    return 1;
}

static taskring_status start_counted(taskring_pool *pool, struct input *input, uint64_t window, uint64_t chunk,
                                     uint64_t timeout_ns, taskring_map **map) {
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.window = window;
    options.chunk = chunk;
    options.timeout_ns = timeout_ns;
    return taskring_map_new(pool, function(pool, "count_and_compute"), next_counted, input, &options, map);
}

static void semantics_m5_the_end_of_its_time_ends_a_map_and_cancels_the_rest(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct input input = {{new_tally(), 0}, 0, (uint64_t)ENDLESS, 1, 0, 0, NULL};
    taskring_map *map = NULL;
    OK(start_counted(pool, &input, 9, 0, 30 * MS, &map));
    until_counted(&input.next.tally, 1);
    STATUS(TASKRING_TIMED_OUT, status_of_next(map, TASKRING_INFINITE));
    STATUS(TASKRING_END, status_of_next(map, TASKRING_INFINITE));
    STATUS(TASKRING_END, status_of_next(map, TASKRING_INFINITE));
    OK(taskring_map_free(map));
    OK(taskring_shutdown(pool, 1, 0));
    CHECK(counted(&input.next.tally) == 1);
    CHECK(input.read == 9);
    OK(taskring_free(pool));
    remove(input.next.tally.path);
}

static void semantics_m13_a_pool_that_refuses_is_an_error_of_the_call_and_cancels_nothing(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct input input = {{new_tally(), 0}, 0, 9, 0, 7, 0, pool};
    struct numbers numbers = {0, 5, 0};
    taskring_options submit_options = TASKRING_OPTIONS_INIT;
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    taskring_map *map = NULL;
    OK(taskring_set_new(pool, &submit_options.set));
    OK(taskring_set_discard(submit_options.set, NULL));
    options.submit = &submit_options;
    STATUS(TASKRING_DISCARDED, taskring_map_new(pool, function(pool, "compute"), next_number, &numbers, &options, &map));
    CHECK(map == NULL && numbers.read == 1);
    OK(taskring_set_free(submit_options.set));
    /* In the middle: the pool ends while the input is read. */
    STATUS(TASKRING_SHUT_DOWN, start_counted(pool, &input, 9, 2, 0, &map));
    CHECK(map == NULL);
    OK(taskring_shutdown(pool, 1, 0));
    CHECK(counted(&input.next.tally) == 6);
    OK(taskring_free(pool));
    remove(input.next.tally.path);
}

static void semantics_s6_cancelling_stops_a_chunk_between_two_items(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct input input = {{new_tally(), 0}, 0, 20, 3, 0, 0, NULL};
    uint64_t y[2] = {0, 0}, index = 77;
    taskring_map *map = NULL;
    OK(start_counted(pool, &input, 2, 8, 0, &map));
    until_counted(&input.next.tally, 3);
    OK(taskring_map_cancel(map));
    /* Stopping takes nothing away of what was done. */
    for (uint64_t i = 0; i < 16; i++) {
        STATUS(i < 3 ? TASKRING_OK : TASKRING_CANCELLED, taskring_map_next(map, SOON, y, sizeof y, NULL, &index));
        CHECK(index == i && (i >= 2 || y[0] == (i + 1) * (i + 1)));
        CHECK(i != 2 || memcmp(y, "asked", 5) == 0);
    }
    STATUS(TASKRING_END, status_of_next(map, SOON));
    CHECK(input.read == 16 && counted(&input.next.tally) == 3);
    OK(taskring_map_cancel(map));
    OK(taskring_map_free(map));
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_free(pool));
    remove(input.next.tally.path);
}

static void semantics_s7_a_failing_task_gives_its_place_back_and_a_failing_input_cancels_nothing(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct list list = {fives, 20};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    uint64_t index = 77;
    options.window = 2;
    taskring_map *map = start(pool, next_of_list, &list, &options);
    for (uint64_t i = 0; i < 20; i++) {
        STATUS(TASKRING_TASK_FAILED, taskring_map_next(map, SOON, NULL, 0, NULL, &index));
        CHECK(index == i); /* Without a place for the next one none would come. */
    }
    STATUS(TASKRING_END, status_of_next(map, 0));
    OK(taskring_map_free(map));
    for (uint64_t chunk = 1; chunk < 5; chunk += 3) {
        const uint64_t running = busy(pool);
        struct input input = {{new_tally(), 0}, 0, 9, 0, 0, 7, NULL};
        OK(start_counted(pool, &input, 0, chunk, 0, &map));
        CHECK(input.read == 7); /* At the call. */
        cancel(pool, running);
        for (uint64_t i = 0; i < 6; i++)
            next(map, i);
        STATUS(TASKRING_ENCODE, taskring_map_next(map, SOON, NULL, 0, NULL, &index));
        CHECK(index == 6 && strstr(taskring_last_error(), "-5") != NULL);
        STATUS(TASKRING_END, status_of_next(map, SOON));
        OK(taskring_map_free(map));
        CHECK(counted(&input.next.tally) == 6 && square_in(pool, 3) == 9);
        remove(input.next.tally.path);
    }
    OK(taskring_free(pool));
}

static void semantics_s9_the_clock_of_a_map_starts_at_the_call(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    static const uint64_t numbers[] = {WAITS};
    struct list list = {numbers, 1};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.timeout_ns = 500 * MS;
    taskring_map *map = start(pool, next_of_list, &list, &options);
    sleep_ms(510);
    const uint64_t asked = now_ms();
    STATUS(TASKRING_TIMED_OUT, status_of_next(map, TASKRING_INFINITE));
    CHECK(now_ms() - asked < 480);
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_m6_a_map_freed_after_a_look_cancels_the_rest_and_one_never_looked_at_runs(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    for (int looked_at = 0; looked_at < 2; looked_at++) {
        struct numbers numbers = {0, 20, 0};
        taskring_stats before = TASKRING_STATS_INIT, after = TASKRING_STATS_INIT;
        OK(taskring_pool_stats(pool, &before));
        const uint64_t running = busy(pool);
        taskring_map *map = start(pool, next_number, &numbers, NULL);
        if (looked_at)
            STATUS(TASKRING_TIMED_OUT, status_of_next(map, MS));
        OK(taskring_map_free(map));
        OK(taskring_pool_stats(pool, &after));
        CHECK(after.pending == (looked_at ? 0 : 20) && after.running == 1);
        OK(taskring_cancel(pool, running, NULL));
        OK(taskring_release(pool, running));
        const uint64_t wanted = before.finished + (looked_at ? 1 : 21);
        for (int i = 0; i < 20000 && after.finished < wanted; i++, sleep_ms(1))
            OK(taskring_pool_stats(pool, &after));
        CHECK(after.finished == wanted);
    }
    OK(taskring_free(pool));
}

static void semantics_m7_a_window_of_0_is_the_default_and_reads_all(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct numbers numbers = {0, 40, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    taskring_map *map = start(pool, next_number, &numbers, &options);
    CHECK(numbers.read == 40);
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_m8_a_window_is_read_at_the_call_and_one_more_for_each_result(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct numbers numbers = {0, (uint64_t)ENDLESS, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.window = 3;
    taskring_map *map = start(pool, next_number, &numbers, &options);
    CHECK(numbers.read == 3);
    for (uint64_t i = 0; i < 4; i++) {
        next(map, i);
        CHECK(numbers.read == 3 + i + 1);
    }
    OK(taskring_map_free(map));
    /* One that is larger than the input. */
    struct numbers few = {0, 2, 0};
    options.window = 10;
    map = start(pool, next_number, &few, &options);
    next(map, 0);
    next(map, 1);
    STATUS(TASKRING_END, status_of_next(map, 0));
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_m10_a_chunk_of_any_size_takes_any_input(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    static const uint64_t chunks[] = {0, 1, 3, 4, 1000};
    for (int k = 0; k < 5; k++) {
        struct numbers numbers = {0, 4, 0};
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        options.chunk = chunks[k];
        taskring_map *map = start(pool, next_number, &numbers, &options);
        for (uint64_t i = 0; i < 4; i++)
            next(map, i);
        STATUS(TASKRING_END, status_of_next(map, 0));
        OK(taskring_map_free(map));
    }
    OK(taskring_free(pool));
}

static void semantics_m11_a_window_counts_chunks_and_an_error_costs_one_item(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct numbers numbers = {0, 30, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.window = 2;
    options.chunk = 6;
    taskring_map *map = start(pool, next_number, &numbers, &options);
    CHECK(numbers.read == 12);
    for (uint64_t i = 0; i < 30; i++) {
        if ((i + 1) % 10 == 5)
            STATUS(TASKRING_TASK_FAILED, status_of_next(map, SOON));
        else
            next(map, i);
    }
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_s3_one_worker_gives_unordered_results_in_input_order(uint32_t kind) {
    /* More inputs than slots: a lap over places that were taken. */
    taskring_pool *pool = make_pool(kind, 1, 8);
    struct numbers numbers = {0, 60, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    options.unordered = 1;
    options.window = 6;
    taskring_map *map = start(pool, next_number, &numbers, &options);
    for (uint64_t i = 0; i < 60; i++) {
        uint64_t index = 77;
        const taskring_status status = taskring_map_next(map, SOON, &(uint64_t){0}, sizeof(uint64_t), NULL, &index);
        CHECK(index == i && status == ((i + 1) % 10 == 5 ? TASKRING_TASK_FAILED : TASKRING_OK));
    }
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void semantics_s5_after_a_time_out_the_next_call_may_succeed_with_chunks_of_any_size(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    for (uint64_t chunk = 1; chunk < 8; chunk += 3) {
        const uint64_t running = busy(pool);
        struct numbers numbers = {0, 4, 0};
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        options.chunk = chunk;
        taskring_map *map = start(pool, next_number, &numbers, &options);
        STATUS(TASKRING_TIMED_OUT, status_of_next(map, MS));
        STATUS(TASKRING_TIMED_OUT, status_of_next(map, 0));
        OK(taskring_cancel(pool, running, NULL));
        for (uint64_t i = 0; i < 4; i++)
            next(map, i);
        OK(taskring_map_free(map));
    }
    OK(taskring_free(pool));
}

/* Appends a byte to a file, whose path is the argument. */
static int32_t append(taskring_call *call, void *context) {
    char path[80] = {0};
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    memcpy(path, args, len < sizeof path ? len : sizeof path - 1);
    FILE *file = fopen(path, "a");
    return file == NULL || fputc('1', file) != '1' || fclose(file) != 0;
}

/* The same path again and again. The sixth time it shuts the pool down before. */
struct closing {
    taskring_pool *pool;
    const char *path;
    int read;
};

static int32_t next_or_close(void *context, taskring_bytes *args) {
    struct closing *it = context;
    if (++it->read == 6)
        OK(taskring_shutdown(it->pool, 0, 0));
    *args = (taskring_bytes){it->path, strlen(it->path)};
    return 1;
}

static void semantics_m13_what_was_submitted_before_the_pool_refuses_runs(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    char path[80];
    snprintf(path, sizeof path, "/tmp/taskring-m13-%d", (int)getpid());
    struct closing inputs = {pool, path, 0};
    taskring_map *map = NULL;
    STATUS(TASKRING_SHUT_DOWN, taskring_map_new(pool, function(pool, "append"), next_or_close, &inputs, NULL, &map));
    CHECK(map == NULL && inputs.read == 6);
    cancel(pool, running);
    OK(taskring_shutdown(pool, 1, 0));
    FILE *file = fopen(path, "r");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && ftell(file) == 5 && fclose(file) == 0);
    remove(path);
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_m1_inputs_of_two_lists_end_with_the_shorter_and_none_give_nothing),
    CASE(semantics_m2_all_of_the_input_is_submitted_at_the_call_unless_a_window_is_named),
    CASE(semantics_m3_results_come_in_input_order_and_errors_at_their_places),
    CASE(semantics_m4_what_is_ready_is_given_after_the_time_and_then_it_is_over),
    CASE(semantics_m5_the_end_of_its_time_ends_a_map_and_cancels_the_rest),
    CASE(semantics_m13_a_pool_that_refuses_is_an_error_of_the_call_and_cancels_nothing),
    CASE(semantics_s6_cancelling_stops_a_chunk_between_two_items),
    CASE(semantics_s7_a_failing_task_gives_its_place_back_and_a_failing_input_cancels_nothing),
    CASE(semantics_s9_the_clock_of_a_map_starts_at_the_call),
    CASE(semantics_m6_a_map_freed_after_a_look_cancels_the_rest_and_one_never_looked_at_runs),
    CASE(semantics_m7_a_window_of_0_is_the_default_and_reads_all),
    CASE(semantics_m8_a_window_is_read_at_the_call_and_one_more_for_each_result),
    CASE(semantics_m10_a_chunk_of_any_size_takes_any_input),
    CASE(semantics_m11_a_window_counts_chunks_and_an_error_costs_one_item),
    CASE(semantics_m13_what_was_submitted_before_the_pool_refuses_runs),
    CASE(semantics_s3_one_worker_gives_unordered_results_in_input_order),
    CASE(semantics_s5_after_a_time_out_the_next_call_may_succeed_with_chunks_of_any_size),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("compute", compute, NULL, NULL));
    OK(taskring_register("append", append, NULL, NULL));
    OK(taskring_register("count_and_compute", count_and_compute, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
