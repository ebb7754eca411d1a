/* Ends of pools: of their workers, at a time limit, by a worker's death: ending METHOD. */
#include "check.h"

static int is_thread;
static uint32_t method;

/* Says that it was entered: a task whose worker dies before that is not lost. */
static int32_t entered(taskring_call *call, void *context) {
    OK(taskring_report_progress(1, 1));
    return until_asked(call, context);
}

static void until_entered(taskring_pool *pool, uint64_t ticket) {
    taskring_status status = TASKRING_NOT_FOUND;
    for (int i = 0; i < 20000 && status != TASKRING_OK; i++) {
        sleep_ms(1);
        status = taskring_progress(pool, ticket, NULL, NULL);
        CHECK(status == TASKRING_OK || status == TASKRING_NOT_FOUND);
    }
    CHECK(status == TASKRING_OK);
}

/* Two running tasks of 20 s, and ten that wait for them. */
static taskring_pool *busy(uint64_t running[2], uint64_t pending[10], uint32_t on_worker_death) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = method;
    config.workers = 2;
    config.on_worker_death = on_worker_death;
    OK(taskring_create(&config, &pool));
    for (int i = 0; i < 2; i++)
        running[i] = submit(pool, "entered", NULL, 0);
    for (int i = 0; i < 2; i++)
        until_entered(pool, running[i]);
    for (int i = 0; i < 10; i++)
        pending[i] = submit(pool, "square", "12345678", 8);
    return pool;
}

static void ask_to_stop(taskring_pool *pool, uint64_t ticket) {
    char answer[5];
    OK(taskring_cancel(pool, ticket, NULL));
    OK(taskring_result(pool, ticket, SOON, answer, sizeof answer, NULL));
}

static void all_end_as(taskring_pool *pool, const uint64_t *tickets, int count, taskring_status wanted) {
    for (int i = 0; i < count; i++)
        STATUS(wanted, taskring_result(pool, tickets[i], SOON, NULL, 0, NULL));
}

static void workers_end(int by_kill) {
    uint64_t running[2], pending[10];
    taskring_pool *pool = busy(running, pending, TASKRING_DEATH_FAILS_TASK);
    uint32_t number = function(pool, "square");
    taskring_status ended = by_kill ? taskring_kill_workers(pool) : taskring_terminate_workers(pool);
    if (is_thread) {
        CHECK(ended == TASKRING_UNSUPPORTED);
        ask_to_stop(pool, running[0]);
        ask_to_stop(pool, running[1]);
        CHECK(square_in(pool, 3) == 9);
        OK(taskring_free(pool));
        return;
    }
    CHECK(ended == TASKRING_OK);
    taskring_loss loss;
    all_end_as(pool, pending, 10, TASKRING_CANCELLED);
    for (int i = 0; i < 2; i++) {
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, running[i], SOON, NULL, 0, NULL));
        OK(taskring_last_loss(&loss));
        CHECK(loss.signal == (by_kill ? SIGKILL : SIGTERM));
    }
    STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, number, "12345678", 8, NULL, &running[0]));
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_kill_workers(pool));
    OK(taskring_terminate_workers(pool));
    OK(taskring_free(pool));
}

static void time_limit(void) {
    uint64_t running[2], pending[10], cancelled = 7, killed = 7;
    taskring_pool *pool = busy(running, pending, TASKRING_DEATH_FAILS_TASK);
    if (is_thread) {
        STATUS(TASKRING_TIMED_OUT, taskring_shutdown_within(pool, MS, &cancelled, &killed));
        CHECK(cancelled == 7 && killed == 7);
        all_end_as(pool, pending, 10, TASKRING_CANCELLED);
        ask_to_stop(pool, running[0]);
        ask_to_stop(pool, running[1]);
    } else {
        OK(taskring_shutdown_within(pool, MS, &cancelled, &killed));
        CHECK(cancelled == 10 && killed == 2);
        all_end_as(pool, running, 2, TASKRING_WORKER_LOST);
        all_end_as(pool, pending, 10, TASKRING_CANCELLED);
    }
    OK(taskring_shutdown_within(pool, TASKRING_INFINITE, &cancelled, &killed));
    CHECK(cancelled == 0 && killed == 0);
    OK(taskring_shutdown_within(pool, 0, NULL, NULL));
    OK(taskring_free(pool));
}

/* The policy that a worker's death breaks the pool, also when it was shut down before. */
static void a_death_breaks(void) {
    uint64_t running[2], pending[10];
    if (is_thread)
        return;
    taskring_pool *pool = busy(running, pending, TASKRING_DEATH_BREAKS_POOL);
    uint32_t pid = 0, number = function(pool, "square");
    uint64_t none = 5;
    char named[32];
    OK(taskring_worker_pid(pool, running[0], &pid));
    OK(taskring_shutdown(pool, 0, 0));
    STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, number, "12345678", 8, NULL, &none));
    CHECK(kill((pid_t)pid, SIGKILL) == 0);
    snprintf(named, sizeof named, "(process %" PRIu32 "): signal 9", pid);
    for (int i = 0; i < 10; i++) {
        STATUS(TASKRING_BROKEN, taskring_result(pool, pending[i], SOON, NULL, 0, NULL));
        CHECK(strstr(taskring_last_error(), "ended abruptly") != NULL && strstr(taskring_last_error(), named) != NULL);
    }
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, running[0], SOON, NULL, 0, NULL));
    STATUS(TASKRING_BROKEN, taskring_submit(pool, number, "12345678", 8, NULL, &none));
    CHECK(none == 5);
    /* What runs elsewhere ends with its result. */
    ask_to_stop(pool, running[1]);
    OK(taskring_free(pool));
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("entered", entered, NULL, NULL));
    OK(taskring_init(argc, argv));
    CHECK(argc == 2);
    is_thread = strcmp(argv[1], "thread") == 0;
    method = is_thread                           ? TASKRING_THREAD
             : strcmp(argv[1], "forkserver") == 0 ? TASKRING_FORKSERVER
                                                  : TASKRING_SPAWN;
    workers_end(0);
    workers_end(1);
    time_limit();
    a_death_breaks();
    return 0;
}
