/* The lazy maps of section L in C: imap and imap_unordered of a pool in the style of multiprocessing.Pool. */
#include "check.h"
#include "semantics_main.h"

static taskring_multi *make_multi(uint32_t kind, uint32_t workers) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_multi *multi = NULL;
    config.start_method = kind;
    config.workers = workers;
    OK(taskring_multi_create(&config, &multi));
    return multi;
}

/* A number; with a gate, its task says in a file with a '1' behind that name that it runs, and goes on when there is one with a '2'. */
struct item {
    uint64_t x;
    char gate[56];
};

static void gate_file(char *to, size_t len, const char *gate, char which) { snprintf(to, len, "%.55s%c", gate, which); }

/* The square; odd multiples of 5 fail. */
static int32_t compute(taskring_call *call, void *context) {
    struct item item;
    char path[64];
    (void)context;
    memcpy(&item, taskring_call_args(call, NULL), sizeof item);
    if (item.gate[0] != 0) {
        gate_file(path, sizeof path, item.gate, '1');
        FILE *file = fopen(path, "w");
        if (file == NULL || fclose(file) != 0)
            return 2;
        gate_file(path, sizeof path, item.gate, '2');
        for (int i = 0; i < 20000 && access(path, F_OK) != 0; i++)
            sleep_ms(1);
    }
    if (item.x % 10 == 5) {
        taskring_call_fail(call, "an odd multiple of 5");
        return 1;
    }
    item.x *= item.x;
    return taskring_call_set_result(call, &item.x, sizeof item.x);
}

/* The numbers from 0 to an end, the first one with a gate if there is one; counts how far they were read. One of the number `fails` cannot be had. */
struct numbers {
    uint64_t read, end, fails;
    char gate[56];
    struct item item;
};

static int32_t next_number(void *context, taskring_bytes *args) {
    struct numbers *numbers = context;
    if (numbers->read == numbers->end)
        return 0;
    if (numbers->fails != 0 && numbers->read == numbers->fails)
        return -1;
    memset(&numbers->item, 0, sizeof numbers->item);
    numbers->item.x = numbers->read++;
    if (numbers->item.x == 0)
        memcpy(numbers->item.gate, numbers->gate, sizeof numbers->gate);
    *args = (taskring_bytes){&numbers->item, sizeof numbers->item};
    return 1;
}

static struct numbers gated(uint64_t end) {
    struct numbers numbers = {.end = end};
    snprintf(numbers.gate, sizeof numbers.gate, "/tmp/taskring-imap-%d-", (int)getpid());
    return numbers;
}

static void until_running(const struct numbers *numbers) {
    char path[64];
    gate_file(path, sizeof path, numbers->gate, '1');
    for (int i = 0; access(path, F_OK) != 0; i++) {
        CHECK(i < 20000);
        sleep_ms(1);
    }
}

static void let_go(const struct numbers *numbers) {
    char path[64];
    gate_file(path, sizeof path, numbers->gate, '2');
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
}

static void clean(const struct numbers *numbers) {
    char path[64];
    for (char which = '1'; which <= '2'; which++) {
        gate_file(path, sizeof path, numbers->gate, which);
        remove(path);
    }
}

static taskring_map *imap(taskring_multi *multi, struct numbers *numbers, const taskring_map_options *options) {
    taskring_map *map = NULL;
    OK(taskring_multi_imap(multi, "compute", next_number, numbers, options, &map));
    CHECK(map != NULL);
    return map;
}

static taskring_status status_of_next(taskring_map *map, uint64_t timeout_ns, uint64_t *index) {
    uint64_t y = 0;
    const taskring_status status = taskring_map_next(map, timeout_ns, &y, sizeof y, NULL, index);
    CHECK(status != TASKRING_OK || y == *index * *index);
    return status;
}

/* The next result, which is that of this number. */
static void next(taskring_map *map, uint64_t wanted) {
    uint64_t index = 77;
    STATUS(wanted % 10 == 5 ? TASKRING_TASK_FAILED : TASKRING_OK, status_of_next(map, SOON, &index));
    CHECK(index == wanted);
}

static void ended(taskring_map *map) {
    uint64_t index = 0;
    STATUS(TASKRING_END, status_of_next(map, SOON, &index));
    OK(taskring_map_free(map));
}

static void semantics_l11_imap_gives_results_one_by_one_in_order(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    const uint64_t chunks[] = {0, 1, 7, TASKRING_CHUNK_AUTO};
    for (size_t i = 0; i <= sizeof chunks / sizeof *chunks; i++) {
        struct numbers numbers = {.end = 50};
        options.chunk = i == 0 ? 0 : chunks[i - 1];
        /* A task that fails is an error at its place, and the map goes on. */
        taskring_map *map = imap(multi, &numbers, i == 0 ? NULL : &options);
        for (uint64_t n = 0; n < 50; n++)
            next(map, n);
        ended(map);
    }
    /* Those that end before the first one wait for it. */
    struct numbers behind = gated(20);
    uint64_t index = 77;
    taskring_map *map = imap(multi, &behind, NULL);
    until_running(&behind);
    STATUS(TASKRING_TIMED_OUT, status_of_next(map, 20 * MS, &index));
    let_go(&behind);
    for (uint64_t n = 0; n < 20; n++)
        next(map, n);
    ended(map);
    clean(&behind);
    struct numbers none = {.end = 0};
    ended(imap(multi, &none, NULL));
    map = NULL;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_multi_imap(multi, "no such function", next_number, &none, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_imap(multi, NULL, next_number, &none, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_imap(multi, "compute", NULL, &none, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_imap(multi, "compute", next_number, &none, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_imap(NULL, "compute", next_number, &none, NULL, &map));
    CHECK(map == NULL);
    OK(taskring_multi_free(multi));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_imap(multi, "compute", next_number, &none, NULL, &map));
}

static void semantics_l12_imap_reads_a_window_and_all_at_once_when_asked_to(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    struct numbers endless = {.end = UINT64_MAX};
    taskring_map *map = imap(multi, &endless, NULL);
    CHECK(endless.read == 4);
    for (uint64_t n = 0; n < 20; n++) {
        next(map, n);
        CHECK(endless.read == n + 5);
    }
    OK(taskring_map_free(map));
    options.chunk = 3;
    struct numbers chunked = {.end = UINT64_MAX};
    map = imap(multi, &chunked, &options);
    CHECK(chunked.read == 12);
    OK(taskring_map_free(map));
    options.window = UINT64_MAX;
    struct numbers all = {.end = 200};
    map = imap(multi, &all, &options);
    CHECK(all.read == 200);
    for (uint64_t n = 0; n < 200; n++)
        next(map, n);
    ended(map);
    OK(taskring_multi_free(multi));
}

static void semantics_l13_an_error_of_the_input_stands_at_its_place(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    for (options.chunk = 1; options.chunk < 4; options.chunk += 2) {
        struct numbers numbers = {.end = 50, .fails = 4};
        uint64_t index = 77;
        taskring_map *map = imap(multi, &numbers, &options);
        for (uint64_t n = 0; n < 4; n++)
            next(map, n);
        STATUS(TASKRING_ENCODE, status_of_next(map, SOON, &index));
        CHECK(index == 4);
        ended(map);
    }
    OK(taskring_multi_free(multi));
}

static void semantics_l14_a_result_of_imap_that_is_not_there_in_time_may_be_asked_for_again(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    for (options.chunk = 1; options.chunk < 4; options.chunk += 2) {
        struct numbers numbers = gated(5);
        uint64_t index = 77;
        taskring_map *map = imap(multi, &numbers, &options);
        until_running(&numbers);
        STATUS(TASKRING_TIMED_OUT, status_of_next(map, 0, &index));
        STATUS(TASKRING_TIMED_OUT, status_of_next(map, 20 * MS, &index));
        let_go(&numbers);
        for (uint64_t n = 0; n < 5; n++)
            next(map, n);
        ended(map);
        clean(&numbers);
    }
    OK(taskring_multi_free(multi));
}

static void semantics_l15_imap_unordered_gives_what_ends_first(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    struct numbers numbers = gated(50);
    uint64_t index = 77, seen = 0;
    options.unordered = 1;
    taskring_map *map = imap(multi, &numbers, &options);
    until_running(&numbers);
    /* One worker has the first, the other one all the rest. */
    for (int i = 1; i < 50; i++) {
        const taskring_status status = status_of_next(map, SOON, &index);
        CHECK(index > 0 && index < 50 && status == (index % 10 == 5 ? TASKRING_TASK_FAILED : TASKRING_OK));
        seen |= UINT64_C(1) << index;
    }
    CHECK(seen == (UINT64_C(1) << 50) - 2);
    STATUS(TASKRING_TIMED_OUT, status_of_next(map, 20 * MS, &index));
    let_go(&numbers);
    next(map, 0);
    ended(map);
    OK(taskring_multi_free(multi));
    clean(&numbers);
}

static void semantics_l18_a_map_that_goes_on_at_the_close_reads_the_rest_of_its_inputs(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    struct numbers numbers = {.end = 50}, second = {.end = 30}, refused = {.end = 3};
    uint64_t x = 1;
    taskring_map *map = imap(multi, &numbers, NULL), *other = imap(multi, &second, NULL), *none = NULL;
    for (uint64_t n = 0; n < 3; n++)
        next(map, n);
    OK(taskring_multi_close(multi));
    STATUS(TASKRING_SHUT_DOWN, taskring_multi_imap(multi, "compute", next_number, &refused, NULL, &none));
    STATUS(TASKRING_SHUT_DOWN, taskring_multi_apply(multi, "square", &x, sizeof x, &x, sizeof x, NULL));
    CHECK(none == NULL && refused.read == 0);
    for (uint64_t n = 3; n < 50; n++)
        next(map, n);
    ended(map);
    for (uint64_t n = 0; n < 30; n++)
        next(other, n);
    ended(other);
    OK(taskring_multi_close(multi));
    OK(taskring_multi_join(multi));
    OK(taskring_multi_free(multi));
}

static void semantics_l18_joining_does_not_wait_for_inputs_that_nobody_reads(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    struct numbers numbers = {.end = 50};
    uint64_t index = 77;
    taskring_map *map = imap(multi, &numbers, NULL);
    OK(taskring_multi_close(multi));
    OK(taskring_multi_join(multi));
    for (uint64_t n = 0; n < 4; n++)
        next(map, n);
    STATUS(TASKRING_SHUT_DOWN, status_of_next(map, SOON, &index));
    CHECK(index == 4);
    ended(map);
    OK(taskring_multi_free(multi));
}

static void semantics_l19_what_a_map_has_not_given_ends_with_its_pool(uint32_t kind) {
    for (int frees = 0; frees < 2; frees++) {
        /* In a process that has other threads by now there is no fork. */
        taskring_multi *multi = make_multi(kind == TASKRING_FORK && frees ? TASKRING_SPAWN : kind, 1);
        struct numbers numbers = gated(1000);
        uint64_t index = 77;
        int terminated = 0;
        taskring_map *map = imap(multi, &numbers, NULL);
        until_running(&numbers);
        if (frees)
            OK(taskring_multi_free(multi));
        else
            OK(taskring_multi_terminate(multi));
        if (in_threads(kind)) {
            let_go(&numbers);
            next(map, 0);
        }
        taskring_status status;
        while ((status = status_of_next(map, SOON, &index)) == TASKRING_TERMINATED)
            terminated++;
        /* Those in the window, and the first one that was refused. */
        CHECK(status == TASKRING_END && terminated == (in_threads(kind) ? 2 : 3));
        OK(taskring_map_free(map));
        if (!frees) {
            OK(taskring_multi_join(multi));
            OK(taskring_multi_free(multi));
        }
        clean(&numbers);
    }
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_l11_imap_gives_results_one_by_one_in_order),
    CASE(semantics_l12_imap_reads_a_window_and_all_at_once_when_asked_to),
    CASE(semantics_l13_an_error_of_the_input_stands_at_its_place),
    CASE(semantics_l14_a_result_of_imap_that_is_not_there_in_time_may_be_asked_for_again),
    CASE(semantics_l15_imap_unordered_gives_what_ends_first),
    CASE(semantics_l18_a_map_that_goes_on_at_the_close_reads_the_rest_of_its_inputs),
    CASE(semantics_l18_joining_does_not_wait_for_inputs_that_nobody_reads),
    CASE(semantics_l19_what_a_map_has_not_given_ends_with_its_pool),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("compute", compute, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
