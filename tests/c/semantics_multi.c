/* Section L of the contract in C: the pool in the style of multiprocessing.Pool. */
#include "check.h"
#include "semantics_main.h"

static taskring_multi *make_multi(uint32_t kind, uint32_t workers) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_multi *multi = NULL;
    config.start_method = kind;
    config.workers = workers;
    OK(taskring_multi_create(&config, &multi));
    CHECK(multi != NULL);
    return multi;
}

/* Says in a file that it runs, and goes on until a second one is there. The argument is their path; the second one has a '2' behind it. */
static int32_t hold(taskring_call *call, void *context) {
    char path[80] = {0}, second[84];
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    memcpy(path, args, len < sizeof path ? len : sizeof path - 1);
    snprintf(second, sizeof second, "%s2", path);
    FILE *file = fopen(path, "w");
    if (file == NULL || fclose(file) != 0)
        return 1;
    for (int i = 0; i < 20000 && access(second, F_OK) != 0; i++)
        sleep_ms(1);
    return taskring_call_set_result(call, "held", 4);
}

struct held {
    char path[80], second[84];
};

static void touch(const char *path) {
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
}

/* A task that runs until `let_go`. */
static taskring_async *busy_async(taskring_multi *multi, struct held *held) {
    taskring_async *result = NULL;
    snprintf(held->path, sizeof held->path, "/tmp/taskring-held-%d", (int)getpid());
    snprintf(held->second, sizeof held->second, "%s2", held->path);
    remove(held->path);
    remove(held->second);
    OK(taskring_multi_apply_async(multi, "hold", held->path, strlen(held->path), NULL, &result));
    for (int i = 0; access(held->path, F_OK) != 0; i++) {
        CHECK(i < 20000);
        sleep_ms(1);
    }
    return result;
}

static void let_go(const struct held *held) { touch(held->second); }

static void clean(const struct held *held) {
    remove(held->path);
    remove(held->second);
}

/* The square of an odd number; an even one fails, after a while if it is 4. */
static int32_t odd_only(taskring_call *call, void *context) {
    uint64_t x;
    char text[40];
    (void)context;
    memcpy(&x, taskring_call_args(call, NULL), sizeof x);
    if (x % 2 == 1)
        return taskring_call_set_result(call, &x, sizeof x);
    if (x == 4)
        sleep_ms(20);
    snprintf(text, sizeof text, "%d is even", (int)x);
    taskring_call_fail(call, text);
    return 1;
}

static int32_t exit_with_3(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    _exit(3);
}

enum { MOST = 1000 };

static uint64_t numbers[MOST];
static taskring_bytes inputs[MOST], values[MOST];

/* Inputs from 0 to `count`. */
static void fill(size_t count) {
    for (size_t i = 0; i < count; i++) {
        numbers[i] = i;
        inputs[i] = (taskring_bytes){&numbers[i], sizeof numbers[i]};
    }
}

static void check_squares(const taskring_bytes *found, size_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t y;
        CHECK(found[i].len == sizeof y && (uintptr_t)found[i].data % 16 == 0);
        memcpy(&y, found[i].data, sizeof y);
        CHECK(y == i * i);
    }
}

static taskring_async *square_async(taskring_multi *multi, uint64_t x, const taskring_callbacks *callbacks) {
    taskring_async *result = NULL;
    OK(taskring_multi_apply_async(multi, "square", &x, sizeof x, callbacks, &result));
    return result;
}

static uint32_t is_ready(taskring_async *result) {
    uint32_t ready = 7;
    OK(taskring_async_ready(result, &ready));
    return ready;
}

static uint32_t was_successful(taskring_async *result) {
    uint32_t successful = 7;
    OK(taskring_async_successful(result, &successful));
    return successful;
}

static void check_square(taskring_async *result, uint64_t x) {
    taskring_bytes value;
    uint64_t y;
    OK(taskring_async_get(result, SOON, &value, 1, NULL));
    CHECK(value.len == sizeof y);
    memcpy(&y, value.data, sizeof y);
    CHECK(y == x * x);
}

/* What callbacks were called with. */
struct told {
    uint32_t values, errors, ends;
    size_t count;
    taskring_status status;
    char text[80];
    long nap_ms;
};

static void tell_values(const taskring_bytes *found, size_t count, void *context) {
    struct told *told = context;
    sleep_ms(told->nap_ms);
    check_squares(found, count);
    told->count = count;
    told->values++;
}

static void tell_error(taskring_status status, void *context) {
    struct told *told = context;
    told->status = status;
    snprintf(told->text, sizeof told->text, "%s", taskring_last_error());
    told->errors++;
}

static void tell_end(void *context) {
    struct told *told = context;
    sleep_ms(told->nap_ms);
    told->ends++;
}

static taskring_callbacks telling(struct told *told) {
    taskring_callbacks callbacks = TASKRING_CALLBACKS_INIT;
    callbacks.callback = tell_values;
    callbacks.error_callback = tell_error;
    callbacks.context = told;
    callbacks.destructor = tell_end;
    return callbacks;
}

static void semantics_l3_apply_waits_for_the_result(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    uint64_t x = 7, y = 0;
    size_t len = 0;
    OK(taskring_multi_apply(multi, "square", &x, sizeof x, &y, sizeof y, &len));
    CHECK(y == 49 && len == sizeof y);
    STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_multi_apply(multi, "square", &x, sizeof x, &y, 3, &len));
    CHECK(len == sizeof y);
    OK(taskring_multi_apply(multi, "echo", NULL, 0, NULL, 0, &len));
    CHECK(len == 0);
    x = 2;
    len = 77;
    STATUS(TASKRING_TASK_FAILED, taskring_multi_apply(multi, "odd_only", &x, sizeof x, &y, sizeof y, &len));
    CHECK(strcmp(taskring_last_error(), "2 is even") == 0 && len == 77);
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_multi_apply(multi, "no such function", NULL, 0, NULL, 0, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_apply(multi, NULL, NULL, 0, NULL, 0, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_apply(multi, "square", NULL, 8, NULL, 0, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_apply(NULL, "square", &x, 8, NULL, 0, NULL));
    OK(taskring_multi_free(multi));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_free(multi));
}

static void semantics_l4_map_gives_a_list_in_the_order_of_its_inputs(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    const size_t chunks[] = {0, 1, 7, MOST, SIZE_MAX};
    taskring_async *result = NULL;
    size_t count = 0;
    fill(MOST);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        OK(taskring_multi_map_async(multi, "square", inputs, MOST, chunks[i], NULL, &result));
        STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_async_get(result, SOON, values, 3, &count));
        CHECK(count == MOST);
        OK(taskring_async_get(result, SOON, values, MOST, NULL));
        check_squares(values, MOST);
        OK(taskring_async_free(result));
    }
    /* An input that cannot be read is an error of the call. */
    taskring_async *none = NULL;
    inputs[5].data = NULL;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_map_async(multi, "square", inputs, MOST, 0, NULL, &none));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_map_async(multi, "square", NULL, 1, 0, NULL, &none));
    CHECK(none == NULL);
    OK(taskring_multi_free(multi));
}

/* How many inputs each task of a map has, but for the last one, which has what is left. */
static void check_chunks(taskring_multi *multi, size_t count, size_t named, size_t wanted) {
    taskring_async *result = NULL;
    uint64_t task = 0, before = 0;
    fill(count);
    OK(taskring_multi_map_async(multi, "ticket_of", inputs, count, named, NULL, &result));
    OK(taskring_async_get(result, SOON, values, MOST, NULL));
    for (size_t i = 0; i < count; i++, before = task) {
        CHECK(values[i].len == sizeof task);
        memcpy(&task, values[i].data, sizeof task);
        CHECK((task != before) == (i % wanted == 0));
    }
    OK(taskring_async_free(result));
}

static void semantics_l4_a_map_is_four_tasks_for_each_worker_unless_a_chunk_is_named(uint32_t kind) {
    static const size_t chunks[][2] = {{1, 1}, {3, 1}, {12, 1}, {13, 2}, {24, 2}, {25, 3}, {100, 9}, {1000, 84}};
    taskring_multi *multi = make_multi(kind, 3);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
        check_chunks(multi, chunks[i][0], 0, chunks[i][1]);
    check_chunks(multi, 100, 1, 1);
    check_chunks(multi, 100, 40, 40);
    OK(taskring_multi_free(multi));
}

static void semantics_l5_no_inputs_are_no_results_at_once(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    struct told told = {0};
    const taskring_callbacks callbacks = telling(&told);
    taskring_async *result = NULL;
    size_t count = 7;
    OK(taskring_multi_map_async(multi, "square", NULL, 0, 0, &callbacks, &result));
    CHECK(is_ready(result) == 1 && was_successful(result) == 1);
    OK(taskring_async_get(result, 0, NULL, 0, &count));
    CHECK(count == 0 && told.values == 1 && told.count == 0 && told.errors == 0 && told.ends == 1);
    OK(taskring_async_free(result));
    OK(taskring_multi_free(multi));
}

static void semantics_l6_a_failing_map_waits_for_all_and_gives_the_first_error(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    taskring_async *result = NULL;
    fill(10);
    /* The input 4 fails last, and is the first in the order of what is given. */
    OK(taskring_multi_map_async(multi, "odd_only", inputs + 3, 7, 1, NULL, &result));
    STATUS(TASKRING_TASK_FAILED, taskring_async_get(result, SOON, values, MOST, NULL));
    CHECK(strcmp(taskring_last_error(), "4 is even") == 0);
    CHECK(is_ready(result) == 1 && was_successful(result) == 0);
    OK(taskring_async_free(result));
    OK(taskring_multi_free(multi));
}

static void semantics_l8_one_callback_is_called_once_with_everything(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 2);
    struct told told = {0}, failed = {0}, refused = {0};
    taskring_callbacks callbacks = telling(&told);
    taskring_async *result = NULL;
    fill(20);
    OK(taskring_multi_map_async(multi, "square", inputs, 20, 3, &callbacks, &result));
    OK(taskring_async_wait(result, SOON));
    CHECK(told.values == 1 && told.count == 20 && told.errors == 0 && told.ends == 1);
    OK(taskring_async_free(result));
    callbacks = telling(&failed);
    OK(taskring_multi_map_async(multi, "odd_only", inputs, 20, 3, &callbacks, &result));
    OK(taskring_async_wait(result, SOON));
    CHECK(failed.errors == 1 && failed.status == TASKRING_TASK_FAILED && failed.values == 0 && failed.ends == 1);
    CHECK(strcmp(failed.text, "0 is even") == 0);
    OK(taskring_async_free(result));
    /* Of a call that fails none is called, and the context is given back. */
    callbacks = telling(&refused);
    taskring_async *none = NULL;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_multi_apply_async(multi, "no such function", NULL, 0, &callbacks, &none));
    CHECK(refused.values == 0 && refused.errors == 0 && refused.ends == 1 && none == NULL);
    /* One that was not asked for is not called. */
    callbacks.callback = NULL;
    result = square_async(multi, 3, &callbacks);
    check_square(result, 3);
    CHECK(refused.values == 0 && refused.errors == 0 && refused.ends == 2);
    OK(taskring_async_free(result));
    OK(taskring_multi_free(multi));
}

static void semantics_l9_a_result_can_be_waited_for_and_asked(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    struct held held;
    taskring_bytes value;
    uint32_t word;
    taskring_async *result = busy_async(multi, &held), *failed = NULL;
    CHECK(is_ready(result) == 0);
    STATUS(TASKRING_INVALID_STATE, taskring_async_successful(result, &word));
    STATUS(TASKRING_TIMED_OUT, taskring_async_get(result, 20 * MS, &value, 1, NULL));
    STATUS(TASKRING_TIMED_OUT, taskring_async_wait(result, 20 * MS));
    let_go(&held);
    OK(taskring_async_wait(result, SOON));
    CHECK(is_ready(result) == 1 && was_successful(result) == 1);
    for (int i = 0; i < 2; i++) {
        OK(taskring_async_get(result, 0, &value, 1, NULL));
        CHECK(value.len == 4 && memcmp(value.data, "held", 4) == 0);
    }
    OK(taskring_async_free(result));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_async_ready(result, &word));
    OK(taskring_multi_apply_async(multi, "fail_code", NULL, 0, NULL, &failed));
    STATUS(TASKRING_TASK_FAILED, taskring_async_get(failed, SOON, &value, 1, NULL));
    CHECK(was_successful(failed) == 0);
    OK(taskring_async_free(failed));
    OK(taskring_multi_free(multi));
    clean(&held);
}

static void semantics_l10_a_callback_has_returned_before_the_result_is_given(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    struct told told = {.nap_ms = 50};
    taskring_callbacks callbacks = telling(&told);
    /* The square of 0, as the first of all. */
    taskring_async *result = square_async(multi, 0, &callbacks);
    check_square(result, 0);
    CHECK(told.values == 1 && told.ends == 1);
    OK(taskring_async_free(result));
    /* One that nobody waits for is called all the same. */
    struct told later = {0};
    callbacks = telling(&later);
    OK(taskring_async_free(square_async(multi, 0, &callbacks)));
    for (int i = 0; __atomic_load_n(&later.ends, __ATOMIC_ACQUIRE) == 0; i++) {
        CHECK(i < 20000);
        sleep_ms(1);
    }
    CHECK(later.values == 1);
    OK(taskring_multi_free(multi));
}

static void semantics_l18_a_closed_pool_runs_what_it_has_and_takes_nothing(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    taskring_async *results[20], *none = NULL;
    uint64_t x = 1;
    STATUS(TASKRING_INVALID_STATE, taskring_multi_join(multi));
    for (uint64_t i = 0; i < 20; i++)
        results[i] = square_async(multi, i, NULL);
    OK(taskring_multi_close(multi));
    STATUS(TASKRING_SHUT_DOWN, taskring_multi_apply(multi, "square", &x, sizeof x, &x, sizeof x, NULL));
    fill(3);
    STATUS(TASKRING_SHUT_DOWN, taskring_multi_map_async(multi, "square", inputs, 3, 0, NULL, &none));
    OK(taskring_multi_join(multi));
    for (uint64_t i = 0; i < 20; i++) {
        CHECK(is_ready(results[i]) == 1);
        check_square(results[i], i);
        OK(taskring_async_free(results[i]));
    }
    OK(taskring_multi_free(multi));
}

/* The end of a task that ran when the pool was ended: only a thread goes on. */
static void check_ended(uint32_t kind, taskring_async *running, const struct held *held) {
    taskring_bytes value;
    if (in_threads(kind)) {
        let_go(held);
        OK(taskring_async_get(running, SOON, &value, 1, NULL));
    } else {
        STATUS(TASKRING_TERMINATED, taskring_async_get(running, SOON, &value, 1, NULL));
    }
    OK(taskring_async_free(running));
}

static void semantics_l19_terminate_is_quick_and_runs_none_of_the_rest(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    const uint32_t ms = 10000;
    struct held held;
    taskring_async *running = busy_async(multi, &held), *naps = NULL;
    for (int i = 0; i < MOST; i++)
        inputs[i] = (taskring_bytes){&ms, sizeof ms};
    OK(taskring_multi_map_async(multi, "nap", inputs, MOST, 10, NULL, &naps));
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    OK(taskring_multi_terminate(multi));
    clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK(end.tv_sec - start.tv_sec < 5);
    STATUS(TASKRING_TERMINATED, taskring_async_get(naps, TASKRING_INFINITE, values, MOST, NULL));
    OK(taskring_async_free(naps));
    check_ended(kind, running, &held);
    OK(taskring_multi_terminate(multi));
    OK(taskring_multi_join(multi));
    OK(taskring_multi_free(multi));
    clean(&held);
}

static void semantics_l20_freeing_a_pool_ends_it_and_its_results(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    struct held held;
    taskring_async *running = busy_async(multi, &held), *pending = square_async(multi, 3, NULL), *none = NULL;
    taskring_bytes value;
    OK(taskring_multi_free(multi));
    STATUS(TASKRING_TERMINATED, taskring_async_get(pending, TASKRING_INFINITE, &value, 1, NULL));
    OK(taskring_async_free(pending));
    check_ended(kind, running, &held);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_multi_map_async(multi, "square", NULL, 0, 0, NULL, &none));
    clean(&held);
}

static void semantics_ld_a_task_that_exits_ends_its_result(uint32_t kind) {
    taskring_multi *multi = make_multi(kind, 1);
    struct told told = {0};
    const taskring_callbacks callbacks = telling(&told);
    taskring_async *result = NULL;
    taskring_loss loss;
    if (!in_threads(kind)) {
        STATUS(TASKRING_WORKER_LOST, taskring_multi_apply(multi, "exit_with_3", NULL, 0, NULL, 0, NULL));
        OK(taskring_last_loss(&loss));
        CHECK(loss.exit_code == 3 && loss.may_have_run == 1);
        OK(taskring_multi_apply_async(multi, "die", NULL, 0, &callbacks, &result));
        OK(taskring_async_wait(result, SOON));
        CHECK(told.errors == 1 && told.status == TASKRING_WORKER_LOST);
        OK(taskring_async_free(result));
    }
    result = square_async(multi, 4, NULL);
    check_square(result, 4);
    OK(taskring_async_free(result));
    OK(taskring_multi_free(multi));
}

/* Appends a byte to a file, after a while. */
static int32_t append(taskring_call *call, void *context) {
    char path[80] = {0};
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    memcpy(path, args, len < sizeof path ? len : sizeof path - 1);
    sleep_ms(2);
    FILE *file = fopen(path, "a");
    return file == NULL || fputc('1', file) != '1' || fclose(file) != 0;
}

static taskring_pool *global;

static void semantics_l24_a_pool_in_a_global_ends_with_the_program_and_keeps_its_exit_code(uint32_t kind) {
    const char *path = getenv("TASKRING_TEST_L24");
    if (path != NULL) {
        global = make_pool(kind, 2, 64);
        for (int i = 0; i < 10; i++)
            submit(global, "append", path, strlen(path));
        exit(7);
    }
    char own[80];
    snprintf(own, sizeof own, "/tmp/taskring-l24-%d", (int)getpid());
    CHECK(setenv("TASKRING_TEST_L24", own, 1) == 0);
    CHECK(semantics_code(kind, __func__) == 7);
    FILE *file = fopen(own, "r");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && ftell(file) == 10 && fclose(file) == 0);
    remove(own);
}

static taskring_multi *global_multi;

/* Nobody frees it, and so nobody terminates it: its end is that of any other pool. */
static void semantics_l24_a_pool_of_this_style_in_a_global_ends_with_the_program(uint32_t kind) {
    const char *path = getenv("TASKRING_TEST_L24");
    if (path != NULL) {
        global_multi = make_multi(kind, 2);
        for (int i = 0; i < 10; i++) {
            taskring_async *result = NULL;
            OK(taskring_multi_apply_async(global_multi, "append", path, strlen(path), NULL, &result));
            OK(taskring_async_free(result));
        }
        exit(7);
    }
    char own[80];
    snprintf(own, sizeof own, "/tmp/taskring-l24-multi-%d", (int)getpid());
    CHECK(setenv("TASKRING_TEST_L24", own, 1) == 0);
    CHECK(semantics_code(kind, __func__) == 7);
    FILE *file = fopen(own, "r");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && ftell(file) == 10 && fclose(file) == 0);
    remove(own);
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_l3_apply_waits_for_the_result),
    CASE(semantics_l4_map_gives_a_list_in_the_order_of_its_inputs),
    CASE(semantics_l4_a_map_is_four_tasks_for_each_worker_unless_a_chunk_is_named),
    CASE(semantics_l5_no_inputs_are_no_results_at_once),
    CASE(semantics_l6_a_failing_map_waits_for_all_and_gives_the_first_error),
    CASE(semantics_l8_one_callback_is_called_once_with_everything),
    CASE(semantics_l9_a_result_can_be_waited_for_and_asked),
    CASE(semantics_l10_a_callback_has_returned_before_the_result_is_given),
    CASE(semantics_l18_a_closed_pool_runs_what_it_has_and_takes_nothing),
    CASE(semantics_l19_terminate_is_quick_and_runs_none_of_the_rest),
    CASE(semantics_l20_freeing_a_pool_ends_it_and_its_results),
    CASE(semantics_l24_a_pool_in_a_global_ends_with_the_program_and_keeps_its_exit_code),
    CASE(semantics_l24_a_pool_of_this_style_in_a_global_ends_with_the_program),
    CASE(semantics_ld_a_task_that_exits_ends_its_result),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("append", append, NULL, NULL));
    OK(taskring_register("hold", hold, NULL, NULL));
    OK(taskring_register("odd_only", odd_only, NULL, NULL));
    OK(taskring_register("exit_with_3", exit_with_3, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
