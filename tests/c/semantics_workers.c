/* The life of workers in C: how many tasks each of them runs, how many of them there are, and when they pause. */
#include "check.h"
#include "semantics_main.h"

#include <sys/syscall.h>

/* The thread that runs it, and its worker's number. */
struct self {
    int64_t thread;
    int32_t number;
};

static int32_t who(taskring_call *call, void *context) {
    const struct self self = {gettid(), taskring_worker_number()};
    (void)context;
    return taskring_call_set_result(call, &self, sizeof self);
}

static struct self ask(taskring_pool *pool) {
    struct self self;
    OK(taskring_result(pool, submit(pool, "who", NULL, 0), SOON, &self, sizeof self, NULL));
    return self;
}

static taskring_pool *limited(uint32_t kind, uint32_t workers, uint64_t tasks) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = workers;
    config.max_tasks_per_worker = tasks;
    OK(taskring_create(&config, &pool));
    return pool;
}

static void semantics_p4_a_number_of_tasks_that_is_too_large_is_refused_and_0_is_no_limit(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.max_tasks_per_worker = UINT64_C(1) << 32;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    CHECK(pool == NULL && strcmp(taskring_last_error(), "max_tasks_per_worker is 4294967296; wanted 1 to 4294967295") == 0);
    pool = limited(kind, 1, 0);
    const struct self first = ask(pool);
    for (int i = 0; i < 200; i++)
        CHECK(ask(pool).thread == first.thread);
    OK(taskring_free(pool));
}

static void semantics_p5_a_worker_runs_its_tasks_and_another_one_follows_with_its_number(uint32_t kind) {
    taskring_pool *pool = limited(kind, 1, 5);
    int64_t before = 0;
    for (int round = 0; round < 4; round++) {
        struct self first = ask(pool);
        for (; first.thread == before; first = ask(pool))
            sleep_ms(1);
        CHECK(first.number == 0);
        /* That was the first of its five. */
        for (int i = 1; i < 5; i++)
            CHECK(ask(pool).thread == first.thread);
        before = first.thread;
    }
    OK(taskring_free(pool));
}

enum { MANY = 60 };

static void semantics_p6_no_task_is_stranded_while_workers_are_replaced(uint32_t kind) {
    taskring_pool *pool = limited(kind, 2, 1);
    uint64_t tickets[MANY];
    for (uint64_t i = 0; i < MANY; i++)
        tickets[i] = submit_square(pool, i);
    OK(taskring_shutdown(pool, 0, 0));
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t y = 0;
        OK(taskring_result(pool, tickets[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    OK(taskring_free(pool));
}

static void semantics_p2_another_number_of_workers_that_is_out_of_range_is_refused(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_resize(pool, 0));
    CHECK(strcmp(taskring_last_error(), "workers is 0; wanted 1 to 192") == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_resize(pool, 193));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_resize(NULL, 1));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_is_paused(pool, NULL));
    OK(taskring_shutdown(pool, 1, 0));
    STATUS(TASKRING_SHUT_DOWN, taskring_resize(pool, 2));
    STATUS(TASKRING_SHUT_DOWN, taskring_pause(pool));
    OK(taskring_free(pool));
}

static void until_workers(taskring_pool *pool, uint32_t wanted) {
    taskring_stats stats = TASKRING_STATS_INIT;
    for (int i = 0; i < 20000; i++) {
        OK(taskring_pool_stats(pool, &stats));
        if (stats.workers == wanted)
            return;
        sleep_ms(1);
    }
    CHECK(!"the workers came or left");
}

static void semantics_l1_workers_come_at_once_and_leave_after_their_task_when_their_number_changes(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    uint64_t held[3], pending[20];
    OK(taskring_resize(pool, 3));
    for (int i = 0; i < 3; i++)
        held[i] = busy(pool);
    until_workers(pool, 3);
    for (uint64_t i = 0; i < 20; i++)
        pending[i] = submit_square(pool, i);
    OK(taskring_resize(pool, 1));
    for (int i = 0; i < 3; i++) {
        CHECK(state_of(pool, held[i]) == TASKRING_RUNNING);
        CHECK(cancel(pool, held[i]) == 0);
    }
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t y = 0;
        OK(taskring_result(pool, pending[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    until_workers(pool, 1);
    CHECK(ask(pool).number == 0);
    OK(taskring_free(pool));
}

/* Up to so many workers, of which so many are there from the beginning. */
static taskring_pool *demanded(uint32_t kind, uint32_t workers, uint64_t least, uint64_t idle_ms) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = workers;
    config.min_workers = least;
    config.idle_timeout_ns = idle_ms * UINT64_C(1000000);
    OK(taskring_create(&config, &pool));
    return pool;
}

static uint32_t workers_of(taskring_pool *pool) {
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    return stats.workers;
}

static void semantics_p8_workers_come_on_demand_and_one_that_is_idle_is_used_first(uint32_t kind) {
    taskring_pool *pool = demanded(kind, 3, TASKRING_NONE_AT_FIRST, 0);
    sleep_ms(50);
    CHECK(workers_of(pool) == 0);
    for (uint64_t x = 0; x < 3; x++) {
        CHECK(square_in(pool, x) == x * x);
        sleep_ms(20);
    }
    CHECK(workers_of(pool) == 1);
    uint64_t held[3];
    for (int i = 0; i < 3; i++)
        held[i] = busy(pool);
    CHECK(workers_of(pool) == 3);
    for (int i = 0; i < 3; i++)
        CHECK(cancel(pool, held[i]) == 0);
    OK(taskring_free(pool));
}

static void semantics_p8_workers_on_demand_that_cannot_be_are_refused(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = 2;
    config.min_workers = 3;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    CHECK(pool == NULL && strcmp(taskring_last_error(), "min_workers is 3; wanted 0 to workers, which is 2") == 0);
    config.min_workers = 0;
    config.idle_timeout_ns = 1000000;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    config.min_workers = 1;
    config.start_method = TASKRING_NO_WORKERS;
    STATUS(TASKRING_UNSUPPORTED, taskring_create(&config, &pool));
}

static void semantics_t2_idle_workers_leave_until_the_least_number_is_left(uint32_t kind) {
    taskring_pool *pool = demanded(kind, 3, 1, 30);
    uint64_t held[3];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            held[i] = busy(pool);
        for (int i = 0; i < 3; i++)
            CHECK(cancel(pool, held[i]) == 0);
        until_workers(pool, 1);
    }
    CHECK(ask(pool).number == 0);
    OK(taskring_free(pool));
}

static void semantics_t2_tasks_that_come_while_the_last_worker_leaves_run(uint32_t kind) {
    taskring_pool *pool = demanded(kind, 1, TASKRING_NONE_AT_FIRST, 1);
    for (uint64_t x = 0; x < 60; x++) {
        CHECK(square_in(pool, x) == x * x);
        sleep_ms((int)(x % 4));
    }
    until_workers(pool, 0);
    CHECK(square_in(pool, 5) == 25);
    OK(taskring_free(pool));
}

/* Waits without a limit for one that somebody else has begun with, and says that it does. */
static int32_t wait_for_another(taskring_call *call, void *context) {
    taskring_pool *pool = NULL;
    uint64_t other = 0;
    uint32_t ms = 0, state = TASKRING_PENDING;
    (void)context;
    memcpy(&ms, taskring_call_args(call, NULL), sizeof ms);
    OK(taskring_current_pool(&pool));
    OK(taskring_submit_named(pool, "nap", &ms, sizeof ms, NULL, TASKRING_INFINITE, &other));
    while (state == TASKRING_PENDING)
        OK(taskring_state(pool, other, &state));
    OK(taskring_report_progress(1, 1));
    OK(taskring_result(pool, other, TASKRING_INFINITE, NULL, 0, NULL));
    return taskring_free(pool) != TASKRING_OK;
}

static void semantics_b4_another_worker_comes_for_one_that_waits(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    const uint32_t ms = 3000;
    uint64_t done = 0;
    config.start_method = kind;
    config.workers = 192;
    config.replacements = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    config.workers = 2;
    OK(taskring_create(&config, &pool));
    const uint64_t waiting = submit(pool, "wait_for_another", &ms, sizeof ms);
    while (taskring_progress(pool, waiting, &done, NULL) != TASKRING_OK)
        sleep_ms(1);
    CHECK(ask(pool).number == 2);
    CHECK(state_of(pool, waiting) == TASKRING_RUNNING);
    OK(taskring_result(pool, waiting, SOON, NULL, 0, NULL));
    until_workers(pool, 2);
    OK(taskring_free(pool));
}

static uint32_t is_paused(taskring_pool *pool) {
    uint32_t paused = 7;
    OK(taskring_is_paused(pool, &paused));
    return paused;
}

static void semantics_p34_a_pool_that_is_paused_starts_no_task_and_one_that_ends_runs_them(uint32_t kind) {
    for (int resumes = 0; resumes < 2; resumes++) {
        taskring_pool *pool = make_pool(kind, 2, 64);
        uint64_t y = 0;
        CHECK(square_in(pool, 3) == 9 && is_paused(pool) == 0);
        OK(taskring_pause(pool));
        const uint64_t pending = submit_square(pool, 5);
        STATUS(TASKRING_TIMED_OUT, taskring_result(pool, pending, UINT64_C(200000000), &y, sizeof y, NULL));
        CHECK(is_paused(pool) == 1 && state_of(pool, pending) == TASKRING_PENDING);
        if (resumes)
            OK(taskring_resume(pool));
        else
            OK(taskring_shutdown(pool, 1, 0));
        OK(taskring_result(pool, pending, SOON, &y, sizeof y, NULL));
        CHECK(y == 25 && is_paused(pool) == 0);
        OK(taskring_free(pool));
    }
}

static void semantics_b1_what_is_pending_is_cancelled_at_once_and_the_pool_goes_on(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    uint64_t pending[10], cancelled = 77;
    for (uint64_t i = 0; i < 10; i++)
        pending[i] = submit_square(pool, i);
    OK(taskring_purge(pool, &cancelled));
    CHECK(cancelled == 10);
    for (int i = 0; i < 10; i++)
        STATUS(TASKRING_CANCELLED, taskring_result(pool, pending[i], 0, NULL, 0, NULL));
    OK(taskring_purge(pool, NULL));
    CHECK(state_of(pool, running) == TASKRING_RUNNING && cancel(pool, running) == 0);
    CHECK(square_in(pool, 6) == 36);
    OK(taskring_free(pool));
}

/* Takes its worker with it: the process, or, in that of the argument, the thread alone. */
static int32_t die_alone(taskring_call *call, void *context) {
    pid_t owner = 0;
    (void)context;
    memcpy(&owner, taskring_call_args(call, NULL), sizeof owner);
    if (getpid() != owner)
        kill(getpid(), SIGKILL);
    syscall(SYS_exit, 0);
    return 0;
}

static void semantics_s10_an_error_names_the_worker_that_died_and_its_process(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    taskring_loss loss;
    const pid_t owner = getpid();
    char prefix[193], name[200], wanted[300];
    /* As long as it may be: ps shows 15 bytes of the name, the error all of it. */
    memset(prefix, 'p', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = 0;
    config.start_method = kind;
    config.workers = 1;
    config.worker_names = prefix;
    OK(taskring_create(&config, &pool));
    snprintf(name, sizeof name, "%s_0", prefix);
    /* The second one is another worker's, with the same number. */
    for (int i = 0; i < 2; i++) {
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, submit(pool, "die_alone", &owner, sizeof owner), SOON, NULL, 0, NULL));
        CHECK(strcmp(taskring_last_worker(), name) == 0);
        OK(taskring_last_loss(&loss));
        CHECK(((pid_t)loss.pid == owner) == in_threads(kind));
        snprintf(wanted, sizeof wanted, "worker %s (process %" PRIu32 ") died while it ran this task: ", name, loss.pid);
        CHECK(strncmp(taskring_last_error(), wanted, strlen(wanted)) == 0);
    }
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "fail_code", NULL, 0), SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_worker(), "") == 0);
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_p4_a_number_of_tasks_that_is_too_large_is_refused_and_0_is_no_limit),
    CASE(semantics_p5_a_worker_runs_its_tasks_and_another_one_follows_with_its_number),
    CASE(semantics_p6_no_task_is_stranded_while_workers_are_replaced),
    CASE(semantics_p2_another_number_of_workers_that_is_out_of_range_is_refused),
    CASE(semantics_l1_workers_come_at_once_and_leave_after_their_task_when_their_number_changes),
    CASE(semantics_p8_workers_come_on_demand_and_one_that_is_idle_is_used_first),
    CASE(semantics_p8_workers_on_demand_that_cannot_be_are_refused),
    CASE(semantics_t2_idle_workers_leave_until_the_least_number_is_left),
    CASE(semantics_t2_tasks_that_come_while_the_last_worker_leaves_run),
    CASE(semantics_b4_another_worker_comes_for_one_that_waits),
    CASE(semantics_p34_a_pool_that_is_paused_starts_no_task_and_one_that_ends_runs_them),
    CASE(semantics_b1_what_is_pending_is_cancelled_at_once_and_the_pool_goes_on),
    CASE(semantics_s10_an_error_names_the_worker_that_died_and_its_process),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("who", who, NULL, NULL));
    OK(taskring_register("die_alone", die_alone, NULL, NULL));
    OK(taskring_register("wait_for_another", wait_for_another, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
