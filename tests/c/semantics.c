/* The C interface by behaviour, with workers of every kind. */
#include "check.h"
#include <poll.h>

static void results(taskring_pool *pool) {
    for (uint64_t x = 0; x < 1000; x++)
        CHECK(square_in(pool, x) == x * x);
    uint64_t ticket = submit(pool, "add_context", NULL, 0), sum = 0;
    OK(taskring_result(pool, ticket, SOON, &sum, sizeof sum, NULL));
    CHECK(sum == 42);
    /* A task knows its ticket. */
    uint64_t own = 0;
    ticket = submit(pool, "ticket_of", NULL, 0);
    OK(taskring_result(pool, ticket, SOON, &own, sizeof own, NULL));
    CHECK(own == ticket && taskring_task_ticket() == 0);
}

static void payloads(taskring_pool *pool) {
    static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 40, 41, 64, 72, 80, 81, 4096, 100000, 5 << 20};
    const size_t count = sizeof sizes / sizeof *sizes;
    /* Each once while it is the task submitted last, and once while another one is, and it is over already. */
    for (size_t i = 0; i < 2 * count; i++) {
        size_t size = sizes[i % count], len = 77;
        unsigned char *sent = malloc(size + 1), *got = malloc(size + 1);
        CHECK(sent != NULL && got != NULL);
        for (size_t k = 0; k < size; k++)
            sent[k] = (unsigned char)(k * 31 + size);
        uint64_t ticket = submit(pool, "echo", sent, size), other = 0;
        if (i >= count) {
            other = submit(pool, "echo", sent, 0);
            OK(taskring_wait(pool, ticket, SOON));
        }
        if (size != 0) {
            STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_result(pool, ticket, SOON, got, size - 1, &len));
            CHECK(len == size);
            uint32_t state = 0;
            OK(taskring_state(pool, ticket, &state));
            CHECK(state == TASKRING_DONE);
        }
        OK(taskring_result(pool, ticket, SOON, got, size, &len));
        CHECK(len == size && memcmp(sent, got, size) == 0);
        STATUS(TASKRING_STALE, taskring_result(pool, ticket, SOON, got, size, &len));
        if (i >= count)
            OK(taskring_result(pool, other, SOON, NULL, 0, NULL));
        free(sent);
        free(got);
    }
}

static void failures(taskring_pool *pool) {
    uint64_t ticket = submit(pool, "fail_code", NULL, 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "the function returned 42") == 0);
    STATUS(TASKRING_STALE, taskring_wait(pool, ticket, 0));
    ticket = submit(pool, "square", "abc", 3);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "square wants eight bytes") == 0);
    taskring_loss loss;
    STATUS(TASKRING_NOT_FOUND, taskring_last_loss(&loss));
    uint32_t number = 7;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_function(pool, "no such function", &number));
    CHECK(number == 7 && strstr(taskring_last_error(), "no such function") != NULL);
}

static void losses(taskring_pool *pool) {
    uint64_t ticket = submit(pool, "die", NULL, 0);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    taskring_loss loss;
    OK(taskring_last_loss(&loss));
    CHECK(loss.pid != 0 && loss.signal == SIGKILL && loss.exit_code == -1 && loss.may_have_run == 1);
    taskring_options options = TASKRING_OPTIONS_INIT;
    options.flags = TASKRING_IDEMPOTENT;
    uint32_t attempt = 0;
    OK(taskring_submit(pool, function(pool, "die_once"), NULL, 0, &options, &ticket));
    OK(taskring_result(pool, ticket, SOON, &attempt, sizeof attempt, NULL));
    CHECK(attempt == 1);
    CHECK(square_in(pool, 12) == 144);
}

static void cancelling(taskring_pool *pool, uint32_t workers) {
    uint64_t running[8], pending;
    uint32_t cancelled = 9, pid = 0;
    for (uint32_t i = 0; i < workers; i++) {
        running[i] = submit(pool, "until_asked", NULL, 0);
        until_state(pool, running[i], TASKRING_RUNNING);
    }
    OK(taskring_worker_pid(pool, running[0], &pid));
    CHECK(pid != 0);
    pending = submit(pool, "square", "12345678", 8);
    STATUS(TASKRING_TIMED_OUT, taskring_wait(pool, pending, 5 * MS));
    STATUS(TASKRING_NOT_FOUND, taskring_worker_pid(pool, pending, &pid));
    OK(taskring_cancel(pool, pending, &cancelled));
    CHECK(cancelled == 1);
    OK(taskring_cancel(pool, pending, &cancelled));
    CHECK(cancelled == 1);
    until_state(pool, pending, TASKRING_STATE_CANCELLED);
    OK(taskring_wait(pool, pending, 0));
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, SOON, NULL, 0, NULL));
    for (uint32_t i = 0; i < workers; i++) {
        char answer[5];
        OK(taskring_cancel(pool, running[i], &cancelled));
        CHECK(cancelled == 0);
        OK(taskring_result(pool, running[i], SOON, answer, sizeof answer, NULL));
        CHECK(memcmp(answer, "asked", 5) == 0);
    }
}

static void sets(taskring_pool *pool, uint32_t workers) {
    taskring_set *set = NULL;
    taskring_discarded discarded;
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint64_t running[8], tickets[20];
    taskring_bytes args[20];
    size_t submitted = 0;
    OK(taskring_set_new(pool, &set));
    options.set = set;
    for (uint32_t i = 0; i < workers; i++) {
        running[i] = submit(pool, "until_asked", NULL, 0);
        until_state(pool, running[i], TASKRING_RUNNING);
    }
    for (int i = 0; i < 20; i++)
        args[i] = (taskring_bytes){"12345678", 8};
    OK(taskring_submit_bulk(pool, function(pool, "square"), args, 20, &options, tickets, &submitted));
    CHECK(submitted == 20);
    OK(taskring_set_discard(set, &discarded));
    CHECK(discarded.cancelled == 20 && discarded.running == 0 && discarded.done == 0);
    for (int i = 0; i < 20; i++)
        STATUS(TASKRING_CANCELLED, taskring_result(pool, tickets[i], SOON, NULL, 0, NULL));
    uint64_t late = 5;
    STATUS(TASKRING_DISCARDED, taskring_submit(pool, function(pool, "square"), "12345678", 8, &options, &late));
    CHECK(late == 5);
    OK(taskring_set_free(set));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_free(set));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "square"), "12345678", 8, &options, &late));
    for (uint32_t i = 0; i < workers; i++) {
        OK(taskring_cancel(pool, running[i], NULL));
        OK(taskring_result(pool, running[i], SOON, args, sizeof args, NULL));
    }
}

static void full_ring(taskring_pool *pool) {
    uint64_t hold = submit(pool, "until_asked", NULL, 0), tickets[3], refused = 1, x = 3;
    until_state(pool, hold, TASKRING_RUNNING);
    uint32_t number = function(pool, "square");
    for (int i = 0; i < 3; i++)
        OK(taskring_submit_timed(pool, number, &x, sizeof x, NULL, 0, &tickets[i]));
    STATUS(TASKRING_FULL, taskring_submit_timed(pool, number, &x, sizeof x, NULL, 0, &refused));
    STATUS(TASKRING_TIMED_OUT, taskring_submit_timed(pool, number, &x, sizeof x, NULL, 20 * MS, &refused));
    CHECK(refused == 1);
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.workers == 1 && stats.capacity == 4 && stats.pending == 3 && stats.running == 1 && stats.unreleased == 0);
    OK(taskring_cancel(pool, hold, NULL));
    for (int i = 0; i < 3; i++)
        OK(taskring_wait(pool, tickets[i], SOON));
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.pending == 0 && stats.running == 0 && stats.unreleased == 4);
    /* More than fit at a time: results are collected on the way, and every ticket stays good. */
    uint64_t many[100];
    for (uint64_t i = 0; i < 100; i++)
        OK(taskring_submit(pool, number, &i, sizeof i, NULL, &many[i]));
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t y = 0;
        OK(taskring_result(pool, many[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    for (int i = 0; i < 3; i++)
        OK(taskring_release(pool, tickets[i]));
    OK(taskring_release(pool, hold));
    STATUS(TASKRING_STALE, taskring_release(pool, hold));
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.unreleased == 0 && stats.finished >= 103); /* The last one may not be counted yet. */
}

static void waiting(taskring_pool *first, taskring_pool *second) {
    uint32_t short_ms = 1;
    uint8_t over[3] = {9, 9, 9};
    size_t count = 9;
    taskring_future futures[3] = {
        {first, submit(first, "until_asked", NULL, 0)},
        {second, submit(second, "nap", &short_ms, sizeof short_ms)},
        {second, submit(second, "fail_code", NULL, 0)},
    };
    OK(taskring_wait_many(futures, 3, TASKRING_FIRST_COMPLETED, SOON, over, &count));
    CHECK(count >= 1 && over[0] == 0);
    OK(taskring_wait_many(futures, 3, TASKRING_FIRST_EXCEPTION, SOON, over, &count));
    CHECK(over[0] == 0 && over[2] == 1);
    STATUS(TASKRING_TIMED_OUT, taskring_wait_many(futures, 3, TASKRING_ALL_COMPLETED, 1 * MS, over, &count));
    CHECK(over[0] == 0 && count == 2);
    until_state(first, futures[0].ticket, TASKRING_RUNNING);
    OK(taskring_cancel(first, futures[0].ticket, NULL));
    OK(taskring_wait_many(futures, 3, TASKRING_ALL_COMPLETED, SOON, over, &count));
    CHECK(over[0] == 1 && over[1] == 1 && over[2] == 1 && count == 3);
    OK(taskring_release(first, futures[0].ticket));
    OK(taskring_result(second, futures[1].ticket, 0, NULL, 0, NULL));
    STATUS(TASKRING_TASK_FAILED, taskring_result(second, futures[2].ticket, 0, NULL, 0, NULL));
    STATUS(TASKRING_STALE, taskring_wait_many(futures, 3, TASKRING_ALL_COMPLETED, 0, over, &count));
    OK(taskring_wait_many(NULL, 0, TASKRING_ALL_COMPLETED, 0, NULL, &count));
    CHECK(count == 0);
}

static void shutting_down(uint32_t method) {
    for (int cancel = 0; cancel < 2; cancel++) {
        taskring_pool *pool = make_pool(method, 1, 64);
        uint64_t running = submit(pool, "until_asked", NULL, 0), pending, refused = 3;
        until_state(pool, running, TASKRING_RUNNING);
        pending = submit(pool, "square", "12345678", 8);
        uint32_t number = function(pool, "square");
        OK(taskring_shutdown(pool, 0, cancel));
        STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, number, "12345678", 8, NULL, &refused));
        CHECK(refused == 3);
        OK(taskring_cancel(pool, running, NULL));
        OK(taskring_shutdown(pool, 1, 0));
        uint64_t y;
        STATUS(cancel ? TASKRING_CANCELLED : TASKRING_OK, taskring_result(pool, pending, 0, &y, sizeof y, NULL));
        OK(taskring_wait(pool, running, 0));
        OK(taskring_free(pool));
    }
}

static int destroyed;
static void destroy(void *context) {
    (void)context;
    destroyed++;
}

static void contexts(void) {
    OK(taskring_register("replaced", add_context, &forty_one, destroy));
    CHECK(destroyed == 0);
    OK(taskring_register("replaced", add_context, &forty_one, NULL));
    CHECK(destroyed == 1);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register("", add_context, &forty_one, destroy));
    CHECK(destroyed == 2);
}

static int32_t no_input(void *context, taskring_bytes *args) {
    (void)context;
    (void)args;
    return 0;
}

static void never(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)pool;
    (void)ticket;
    (void)context;
    CHECK(!"a callback in the child");
}

static void after_fork(taskring_pool *pool) {
    taskring_completions *queue = NULL;
    taskring_map *map = NULL, *other_map = NULL;
    uint64_t loan = 0;
    void *data = NULL;
    const void *view = NULL;
    size_t viewed = 0;
    OK(taskring_completions_new(&queue));
    OK(taskring_map_new(pool, function(pool, "square"), no_input, NULL, NULL, &map));
    OK(taskring_loan(pool, 100, &loan, &data));
    uint64_t looked_at = submit(pool, "echo", data, 100);
    OK(taskring_view(pool, looked_at, SOON, &view, &viewed));
    /* The queue has something to give, and its descriptor says so. */
    struct pollfd polled = {-1, POLLIN, 0};
    OK(taskring_completions_fd(queue, &polled.fd));
    OK(taskring_completions_add(queue, pool, looked_at, 5));
    CHECK(poll(&polled, 1, 20000) == 1);
    uint64_t ticket = submit(pool, "square", "12345678", 8);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint64_t other = 1;
        uint32_t state;
        taskring_status status;
        STATUS(TASKRING_FORKED, taskring_submit(pool, 1, "12345678", 8, NULL, &other));
        STATUS(TASKRING_FORKED, taskring_state(pool, ticket, &state));
        STATUS(TASKRING_FORKED, taskring_result(pool, ticket, 0, &other, sizeof other, NULL));
        STATUS(TASKRING_FORKED, taskring_shutdown(pool, 1, 1));
        STATUS(TASKRING_FORKED, taskring_outcome(pool, ticket, 0, &status));
        STATUS(TASKRING_FORKED, taskring_view(pool, looked_at, 0, &view, &viewed));
        STATUS(TASKRING_FORKED, taskring_loan(pool, 5, &loan, &data));
        STATUS(TASKRING_FORKED, taskring_submit_loan(pool, 1, loan, 5, NULL, 0, &other));
        STATUS(TASKRING_FORKED, taskring_loan_return(pool, loan));
        STATUS(TASKRING_FORKED, taskring_completions_add(queue, pool, ticket, 0));
        STATUS(TASKRING_FORKED, taskring_on_done(pool, ticket, never, NULL, NULL));
        STATUS(TASKRING_FORKED, taskring_map_new(pool, 1, no_input, NULL, NULL, &other_map));
        size_t count;
        taskring_completion completion;
        STATUS(TASKRING_FORKED, taskring_completions_next(queue, TASKRING_INFINITE, &completion, 1, &count));
        STATUS(TASKRING_FORKED, taskring_map_next(map, TASKRING_INFINITE, NULL, 0, NULL, NULL));
        OK(taskring_map_free(map));
        OK(taskring_completions_free(queue));
        OK(taskring_free(pool));
        _exit(0);
    }
    int end = -1;
    CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end) && WEXITSTATUS(end) == 0);
    /* What the child has freed was its own copy, and it has taken nothing. */
    taskring_completion completion;
    size_t count = 0;
    CHECK(poll(&polled, 1, 0) == 1);
    OK(taskring_completions_next(queue, 0, &completion, 1, &count));
    CHECK(count == 1 && completion.ticket == looked_at && completion.user_data == 5 && poll(&polled, 1, 0) == 0);
    CHECK(viewed == 100 && memcmp(view, data, 100) == 0);
    OK(taskring_release(pool, looked_at));
    OK(taskring_loan_return(pool, loan));
    STATUS(TASKRING_END, taskring_map_next(map, 0, NULL, 0, NULL, NULL));
    OK(taskring_map_free(map));
    OK(taskring_completions_free(queue));
    OK(taskring_release(pool, ticket));
    CHECK(square_in(pool, 5) == 25);
}

static void all(uint32_t method) {
    taskring_pool *pool = make_pool(method, 2, 64), *small = make_pool(method, 1, 4);
    results(pool);
    payloads(pool);
    failures(pool);
    if (method != TASKRING_THREAD)
        losses(pool);
    cancelling(pool, 2);
    sets(pool, 2);
    full_ring(small);
    waiting(pool, small);
    shutting_down(method);
    after_fork(pool);
    OK(taskring_free(pool));
    OK(taskring_free(small));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_free(small));
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    CHECK(taskring_version() == TASKRING_VERSION);
    const char *method = argc > 1 ? argv[1] : "thread";
    if (strcmp(method, "spawn") == 0) {
        all(TASKRING_SPAWN);
    } else if (strcmp(method, "fork") == 0) {
        /* Only while there is one thread: one pool, the first thing made. */
        taskring_pool *pool = make_pool(TASKRING_FORK, 2, 64), *second = NULL;
        results(pool);
        losses(pool);
        taskring_config config = TASKRING_CONFIG_INIT;
        config.start_method = TASKRING_FORK;
        STATUS(TASKRING_MANY_THREADS, taskring_create(&config, &second));
        OK(taskring_free(pool));
    } else if (strcmp(method, "forkserver") == 0) {
        all(TASKRING_FORKSERVER);
    } else {
        all(TASKRING_THREAD);
        contexts();
    }
    puts("ok");
    return 0;
}
