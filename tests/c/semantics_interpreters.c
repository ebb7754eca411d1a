/* Section I of the contract in C: contexts of workers, and what every kind of pool says when it is broken. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>

struct desk {
    uint64_t served;
    pthread_t made_in;
};

static int made, ended, ended_elsewhere;

static int32_t furnish(taskring_call *call, void **context, void *data) {
    size_t len = 0;
    struct desk *desk = malloc(sizeof *desk);
    const void *args = taskring_call_args(call, &len);
    CHECK(desk != NULL && strcmp(data, "for all") == 0);
    if (len != sizeof desk->served) {
        free(desk);
        taskring_call_fail(call, "no desk is left");
        return 1;
    }
    memcpy(&desk->served, args, sizeof desk->served);
    desk->made_in = pthread_self();
    *context = desk;
    __atomic_fetch_add(&made, 1, __ATOMIC_ACQ_REL);
    return 0;
}

static void clear(void *context, void *data) {
    struct desk *desk = context;
    CHECK(strcmp(data, "for all") == 0);
    __atomic_fetch_add(pthread_equal(desk->made_in, pthread_self()) ? &ended : &ended_elsewhere, 1, __ATOMIC_ACQ_REL);
    free(desk);
}

static int32_t serve(taskring_call *call, void *context, void *data) {
    struct desk *desk = context;
    size_t len = 0;
    uint64_t by = 0;
    const void *args = taskring_call_args(call, &len);
    if (data != NULL || len != sizeof by)
        return 1;
    memcpy(&by, args, sizeof by);
    if (by == 0)
        return 42;
    desk->served += by;
    return taskring_call_set_result(call, &desk->served, sizeof desk->served);
}

static int32_t lay(taskring_call *call, void *context) {
    (void)context;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_call_source(call, NULL));
    OK(taskring_call_source(call, "no wood"));
    OK(taskring_call_fail(call, "no table"));
    OK(taskring_call_source(call, "no tree"));
    return 1;
}

static void semantics_i3_an_error_comes_back_with_its_summary_and_its_source(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "lay", NULL, 0), SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "no table: no wood: no tree") == 0);
    CHECK(strcmp(taskring_last_source(), "no wood: no tree") == 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "fail_code", NULL, 0), SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_source(), "") == 0);
    OK(taskring_free(pool));
}

/* Waits for a task of the same pool: the one that its argument names. */
static int32_t ask_for(taskring_call *call, void *context, void *data) {
    taskring_pool *pool = NULL;
    uint64_t x = 3, ticket = 0, y = 0;
    (void)context;
    (void)data;
    OK(taskring_current_pool(&pool));
    OK(taskring_submit(pool, function(pool, taskring_call_args(call, NULL)), &x, sizeof x, NULL, &ticket));
    const taskring_status status = taskring_result(pool, ticket, TASKRING_INFINITE, &y, sizeof y, NULL);
    OK(taskring_free(pool));
    taskring_call_set_result(call, &status, sizeof status);
    return 0;
}

static int32_t three_times(void *context, taskring_bytes *args) {
    static const uint64_t three = 3;
    uint64_t *left = context;
    *args = (taskring_bytes){&three, sizeof three};
    return *left == 0 ? 0 : (--*left, 1);
}

/* Waits in every way for tasks of the same pool that take a context. Each wait is refused, and again, and all of the tasks are still there. */
static int32_t ask_in_vain(taskring_call *call, void *context, void *data) {
    taskring_pool *pool = NULL;
    taskring_completions *queue = NULL;
    taskring_completion completion;
    const void *view = NULL;
    taskring_status status = TASKRING_OK;
    uint64_t x = 3, ticket = 0;
    uint8_t over = 7;
    size_t count = 0;
    (void)call;
    (void)context;
    (void)data;
    OK(taskring_current_pool(&pool));
    const uint32_t serve_number = function(pool, "serve");
    OK(taskring_submit(pool, serve_number, &x, sizeof x, NULL, &ticket));
    const taskring_future future = {pool, ticket};
    OK(taskring_completions_new(&queue));
    OK(taskring_completions_add(queue, pool, ticket, 0));
    for (int i = 0; i < 2; i++) {
        STATUS(TASKRING_UNSUPPORTED, taskring_wait(pool, ticket, TASKRING_INFINITE));
        STATUS(TASKRING_UNSUPPORTED, taskring_result(pool, ticket, TASKRING_INFINITE, &x, sizeof x, NULL));
        STATUS(TASKRING_UNSUPPORTED, taskring_peek(pool, ticket, TASKRING_INFINITE, &x, sizeof x, NULL));
        STATUS(TASKRING_UNSUPPORTED, taskring_view(pool, ticket, TASKRING_INFINITE, &view, &count));
        STATUS(TASKRING_UNSUPPORTED, taskring_outcome(pool, ticket, TASKRING_INFINITE, &status));
        STATUS(TASKRING_UNSUPPORTED, taskring_wait_many(&future, 1, TASKRING_ALL_COMPLETED, TASKRING_INFINITE, &over, NULL));
        STATUS(TASKRING_UNSUPPORTED, taskring_completions_next(queue, TASKRING_INFINITE, &completion, 1, &count));
        STATUS(TASKRING_TIMED_OUT, taskring_result(pool, ticket, MS, &x, sizeof x, NULL));
    }
    CHECK(cancel(pool, ticket) == 1);
    OK(taskring_completions_next(queue, TASKRING_INFINITE, &completion, 1, &count));
    STATUS(TASKRING_CANCELLED, taskring_result(pool, ticket, TASKRING_INFINITE, &x, sizeof x, NULL));
    OK(taskring_completions_free(queue));
    for (uint32_t unordered = 0; unordered < 2; unordered++) {
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        taskring_map *map = NULL;
        uint64_t inputs = 2;
        options.unordered = unordered;
        OK(taskring_map_new(pool, serve_number, three_times, &inputs, &options, &map));
        for (int i = 0; i < 2; i++)
            STATUS(TASKRING_UNSUPPORTED, taskring_map_next(map, TASKRING_INFINITE, &x, sizeof x, NULL, NULL));
        STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, MS, &x, sizeof x, NULL, NULL));
        OK(taskring_map_cancel(map));
        for (int i = 0; i < 2; i++)
            STATUS(TASKRING_CANCELLED, taskring_map_next(map, TASKRING_INFINITE, &x, sizeof x, NULL, NULL));
        STATUS(TASKRING_END, taskring_map_next(map, TASKRING_INFINITE, &x, sizeof x, NULL, NULL));
        OK(taskring_map_free(map));
    }
    OK(taskring_free(pool));
    return 0;
}

static taskring_multi *crew;
static taskring_async *asked;

/* The same for what a pool in the style of Python's gives: `asked` stays, and is served after this task. */
static int32_t ask_crew(taskring_call *call, void *context, void *data) {
    const uint64_t by = 3;
    uint32_t ready = 7;
    taskring_bytes value;
    (void)call;
    (void)context;
    (void)data;
    OK(taskring_multi_apply_async(crew, "serve", &by, sizeof by, NULL, &asked));
    for (int i = 0; i < 2; i++) {
        STATUS(TASKRING_UNSUPPORTED, taskring_async_wait(asked, TASKRING_INFINITE));
        STATUS(TASKRING_UNSUPPORTED, taskring_async_get(asked, TASKRING_INFINITE, &value, 1, NULL));
        OK(taskring_async_ready(asked, &ready));
        CHECK(ready == 0);
    }
    return 0;
}

/* What an overfill found: how many tasks it could submit, and what the last submit said. */
struct overfilled {
    uint64_t sent;
    taskring_status status;
};

/* Submits tasks that take a context, ten times as many as there is room for, until one is refused. */
static int32_t overfill(taskring_call *call, void *context, void *data) {
    struct overfilled found = {0, TASKRING_OK};
    taskring_pool *pool = NULL;
    const uint64_t by = 1;
    (void)context;
    (void)data;
    OK(taskring_current_pool(&pool));
    const uint32_t serve = function(pool, "serve");
    while (found.sent < 40 && found.status == TASKRING_OK) {
        uint64_t ticket = 0;
        found.status = taskring_submit(pool, serve, &by, sizeof by, NULL, &ticket);
        if (found.status == TASKRING_OK) {
            OK(taskring_release(pool, ticket));
            found.sent++;
        }
    }
    OK(taskring_free(pool));
    return taskring_call_set_result(call, &found, sizeof found);
}

static struct overfilled overfilled(taskring_pool *pool, uint64_t ticket) {
    struct overfilled found = {0, TASKRING_OK};
    OK(taskring_result(pool, ticket, SOON, &found, sizeof found, NULL));
    return found;
}

static taskring_pool *pool_in_context(uint32_t kind, uint32_t workers, const void *args, size_t len) {
    const taskring_named_bytes initializer = {"furnish", args, len};
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.capacity = 4;
    config.workers = workers;
    config.initializer = &initializer;
    OK(taskring_create(&config, &pool));
    return pool;
}

static uint64_t serve_in(taskring_pool *pool, uint64_t by) {
    uint64_t served = 0;
    OK(taskring_result(pool, submit(pool, "serve", &by, sizeof by), SOON, &served, sizeof served, NULL));
    return served;
}

static void semantics_i4_a_failing_initializer_breaks_a_pool_that_says_of_which_kind_it_is(uint32_t kind) {
    taskring_pool *pool = pool_in_context(kind, 2, "x", 1);
    const uint32_t wanted = kind == TASKRING_INTERPRETER ? TASKRING_POOL_OF_INTERPRETERS
                            : kind == TASKRING_THREAD    ? TASKRING_POOL_OF_THREADS
                                                         : TASKRING_POOL_OF_PROCESSES;
    uint64_t x = 3, ticket = 0;
    uint32_t found = 9;
    taskring_status status = taskring_submit(pool, function(pool, "square"), &x, sizeof x, NULL, &ticket);
    if (status == TASKRING_OK)
        status = taskring_result(pool, ticket, SOON, &x, sizeof x, NULL);
    CHECK(status == TASKRING_BROKEN && strstr(taskring_last_error(), "no desk is left") != NULL);
    OK(taskring_last_broken(&found));
    CHECK(found == wanted);
    found = 9;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_last_broken(NULL));
    STATUS(TASKRING_NOT_FOUND, taskring_last_broken(&found));
    CHECK(found == 9);
    OK(taskring_free(pool));
}

static void semantics_i4_a_context_is_its_workers_own_and_kept_from_task_to_task(uint32_t kind) {
    const uint64_t first = 100, nothing = 0;
    taskring_pool *pool = pool_in_context(kind, 1, &first, sizeof first);
    CHECK(serve_in(pool, 1) == 101 && serve_in(pool, 5) == 106);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "serve", &nothing, 8), SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "the function returned 42") == 0);
    CHECK(serve_in(pool, 1) == 107 && square_in(pool, 4) == 16);
    if (!in_threads(kind)) {
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, submit(pool, "die", NULL, 0), SOON, NULL, 0, NULL));
        CHECK(serve_in(pool, 1) == 101);
    }
    OK(taskring_free(pool));
    CHECK(in_threads(kind) ? made == 1 && ended == 1 && ended_elsewhere == 0 : made == 0);
    /* A worker without a context. */
    pool = make_pool(kind == TASKRING_FORK ? TASKRING_THREAD : kind, 1, 64);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "serve", &first, 8), SOON, NULL, 0, NULL));
    CHECK(strstr(taskring_last_error(), "no context") != NULL);
    OK(taskring_free(pool));
}

static void semantics_i4_each_interpreter_makes_a_context_and_ends_it_in_its_thread(uint32_t kind) {
    const uint64_t first = 0;
    (void)kind;
    taskring_pool *pool = pool_in_context(TASKRING_INTERPRETER, 3, &first, sizeof first);
    for (int i = 0; i < 30; i++)
        CHECK(serve_in(pool, 1) <= 30);
    OK(taskring_free(pool));
    CHECK(made == 3 && ended == 3 && ended_elsewhere == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register_context("none", NULL, clear, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register_context(NULL, furnish, clear, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register_in_context("none", NULL, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register_in_context("", serve, NULL, NULL));
}

static void semantics_b4_a_task_that_has_its_context_waits_for_none_that_takes_one(uint32_t kind) {
    const uint64_t first = 0;
    taskring_status status = TASKRING_OK;
    taskring_pool *pool = pool_in_context(kind, 1, &first, sizeof first);
    OK(taskring_result(pool, submit(pool, "ask_for", "serve", 6), SOON, &status, sizeof status, NULL));
    CHECK(status == TASKRING_UNSUPPORTED);
    OK(taskring_result(pool, submit(pool, "ask_for", "square", 7), SOON, &status, sizeof status, NULL));
    CHECK(status == TASKRING_OK);
    OK(taskring_free(pool));
}

static void semantics_b4_a_wait_that_is_refused_changes_nothing(uint32_t kind) {
    const uint64_t first = 100;
    uint64_t served = 0;
    taskring_pool *pool = pool_in_context(kind, 1, &first, sizeof first);
    OK(taskring_result(pool, submit(pool, "ask_in_vain", NULL, 0), SOON, NULL, 0, NULL));
    CHECK(serve_in(pool, 1) == 101);
    OK(taskring_free(pool));
    if (!in_threads(kind))
        return; /* The task has the pool's own handle. */
    const taskring_named_bytes initializer = {"furnish", &first, sizeof first};
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_async *asking = NULL;
    taskring_bytes value;
    config.start_method = kind;
    config.workers = 1;
    config.initializer = &initializer;
    OK(taskring_multi_create(&config, &crew));
    OK(taskring_multi_apply_async(crew, "ask_crew", NULL, 0, NULL, &asking));
    OK(taskring_async_get(asking, SOON, &value, 1, NULL));
    OK(taskring_async_get(asked, SOON, &value, 1, NULL));
    CHECK(value.len == sizeof served);
    memcpy(&served, value.data, sizeof served);
    CHECK(served == 103);
    OK(taskring_async_free(asking));
    OK(taskring_async_free(asked));
    OK(taskring_multi_free(crew));
}

static void semantics_b4_a_submit_of_what_takes_a_context_waits_for_another_worker(uint32_t kind) {
    const uint64_t first = 0;
    taskring_pool *pool = pool_in_context(kind, 2, &first, sizeof first);
    /* At first the other worker may not be there yet. */
    for (int round = 0; round < 3; round++) {
        const struct overfilled found = overfilled(pool, submit(pool, "overfill", NULL, 0));
        CHECK(found.sent == 40 && found.status == TASKRING_OK);
    }
    OK(taskring_free(pool));
}

static void semantics_b4_a_ring_full_of_what_takes_a_context_is_told_when_nobody_else_can_run_it(uint32_t kind) {
    const uint64_t first = 0;
    taskring_pool *pool = pool_in_context(kind, 1, &first, sizeof first);
    struct overfilled found = overfilled(pool, submit(pool, "overfill", NULL, 0));
    CHECK(found.sent == 4 && found.status == TASKRING_UNSUPPORTED);
    OK(taskring_free(pool));
    /* Of two that fill their rings at the same time one is told, and then runs what the other one has submitted. */
    pool = pool_in_context(kind == TASKRING_FORK ? TASKRING_THREAD : kind, 2, &first, sizeof first);
    for (int round = 0; round < 5; round++) {
        const uint64_t tickets[2] = {submit(pool, "overfill", NULL, 0), submit(pool, "overfill", NULL, 0)};
        found = overfilled(pool, tickets[0]);
        const struct overfilled other = overfilled(pool, tickets[1]);
        CHECK(found.status == TASKRING_OK || other.status == TASKRING_OK);
        CHECK(found.status == TASKRING_OK || found.status == TASKRING_UNSUPPORTED);
        CHECK(other.status == TASKRING_OK || other.status == TASKRING_UNSUPPORTED);
    }
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_i3_an_error_comes_back_with_its_summary_and_its_source),
    CASE(semantics_i4_a_failing_initializer_breaks_a_pool_that_says_of_which_kind_it_is),
    CASE(semantics_i4_a_context_is_its_workers_own_and_kept_from_task_to_task),
    CASE(semantics_i4_each_interpreter_makes_a_context_and_ends_it_in_its_thread),
    CASE(semantics_b4_a_task_that_has_its_context_waits_for_none_that_takes_one),
    CASE(semantics_b4_a_wait_that_is_refused_changes_nothing),
    CASE(semantics_b4_a_submit_of_what_takes_a_context_waits_for_another_worker),
    CASE(semantics_b4_a_ring_full_of_what_takes_a_context_is_told_when_nobody_else_can_run_it),
};

int main(int argc, char **argv) {
    static char for_all[] = "for all";
    register_all();
    OK(taskring_register_context("furnish", furnish, clear, for_all, NULL));
    OK(taskring_register_in_context("serve", serve, NULL, NULL));
    OK(taskring_register_in_context("ask_for", ask_for, NULL, NULL));
    OK(taskring_register_in_context("ask_in_vain", ask_in_vain, NULL, NULL));
    OK(taskring_register_in_context("ask_crew", ask_crew, NULL, NULL));
    OK(taskring_register_in_context("overfill", overfill, NULL, NULL));
    OK(taskring_register("lay", lay, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
