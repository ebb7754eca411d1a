/* Section P of the contract in C: making pools, deaths of workers, ends of pools. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>
#include <sched.h>

static int32_t exit_with_3(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    _exit(3);
}

static int32_t fail_with(taskring_call *call, void *context) {
    char text[32];
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)args);
    taskring_call_fail(call, text);
    return 1;
}

static void semantics_p2_too_many_workers_are_refused_and_the_default_is_the_cpus(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = 193;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    CHECK(pool == NULL && strncmp(taskring_last_error(), "workers is 193; wanted ", 23) == 0);
    /* One CPU of those that this process may use, before there is a pool. */
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    config.workers = 0;
    OK(taskring_create(&config, &pool));
    CHECK(square_in(pool, 5) == 25);
    /* Of threads 4 more. */
    taskring_stats stats = TASKRING_STATS_INIT;
    const uint32_t wanted = in_threads(kind) ? 5 : 1;
    for (int i = 0; i < 20000 && stats.workers != wanted; i++) {
        sleep_ms(1);
        OK(taskring_pool_stats(pool, &stats));
    }
    sleep_ms(20);
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.workers == wanted);
    OK(taskring_free(pool));
}

/* What this thread is told of a task that was lost. */
static const char *why(taskring_pool *pool, uint64_t ticket, taskring_status wanted) {
    STATUS(wanted, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    return taskring_last_error();
}

static void semantics_p7_the_message_of_a_lost_task_says_what_became_of_it(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    char wanted[64];
    const uint64_t dying = victim(pool), pending = submit_square(pool, 3);
    const uint32_t square = function(pool, "square");
    uint32_t pid = 0;
    uint64_t none = 0;
    OK(taskring_worker_pid(pool, dying, &pid));
    CHECK(cancel(pool, pending) == 1);
    CHECK(strcmp(why(pool, pending, TASKRING_CANCELLED), "the task was cancelled") == 0);
    cancel(pool, dying);
    snprintf(wanted, sizeof wanted, "worker taskring-worker_0 (process %" PRIu32 ") died", pid);
    const char *text = why(pool, dying, TASKRING_WORKER_LOST);
    CHECK(strstr(text, wanted) != NULL && (in_threads(kind) || strstr(text, "signal 9") != NULL));
    OK(taskring_shutdown(pool, 1, 0));
    STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, square, NULL, 0, NULL, &none));
    CHECK(strstr(taskring_last_error(), "shut down") != NULL);
    OK(taskring_free(pool));
    until_alone();
    /* What broke the pool. */
    const taskring_named_bytes initializer = {"fail_with", "no table anywhere", 17};
    taskring_config config = config_of(kind, 2);
    config.initializer = &initializer;
    pool = create(&config);
    taskring_status status = taskring_submit_named(pool, "square", NULL, 0, NULL, TASKRING_INFINITE, &none);
    if (status == TASKRING_OK)
        status = taskring_result(pool, none, SOON, NULL, 0, NULL);
    STATUS(TASKRING_BROKEN, status);
    CHECK(strncmp(taskring_last_error(), "the pool is broken: ", 20) == 0 && strstr(taskring_last_error(), "no table anywhere") != NULL);
    OK(taskring_free(pool));
}

static void semantics_p10_each_task_has_an_error_of_its_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_loss losses[2];
    const uint64_t first = submit(pool, "fail_with", "first", 5), second = submit(pool, "fail_with", "second", 6);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, second, SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "second") == 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, first, SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "first") == 0);
    for (int i = 0; i < 2 && !in_threads(kind); i++) {
        const uint64_t lost = submit(pool, "die", NULL, 0);
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, lost, SOON, NULL, 0, NULL));
        OK(taskring_last_loss(&losses[i]));
        CHECK(losses[i].signal == SIGKILL && (i == 0 || losses[0].pid != losses[1].pid));
    }
    OK(taskring_free(pool));
}

static int32_t crash(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
}

static void semantics_p15_a_crash_or_an_exit_costs_that_task_and_an_error_is_the_tasks_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t failed = submit(pool, "fail_code", NULL, 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, failed, SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "the function returned 42") == 0);
    if (!in_threads(kind)) {
        taskring_loss loss;
        const uint64_t crashed = submit(pool, "crash", NULL, 0), exited = submit(pool, "exit_with_3", NULL, 0);
        const uint64_t pending = submit_square(pool, 9);
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, crashed, SOON, NULL, 0, NULL));
        OK(taskring_last_loss(&loss));
        CHECK(loss.pid != 0 && loss.signal == SIGSEGV && loss.exit_code == -1 && loss.may_have_run == 1);
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, exited, SOON, NULL, 0, NULL));
        OK(taskring_last_loss(&loss));
        CHECK(loss.signal == 0 && loss.exit_code == 3);
        uint64_t y = 0;
        OK(taskring_result(pool, pending, SOON, &y, sizeof y, NULL));
        CHECK(y == 81);
    }
    CHECK(square_in(pool, 6) == 36);
    OK(taskring_free(pool));
}

enum { FLOOD = 100 };

static void *flood(void *of) {
    taskring_pool *pool = of;
    uint64_t tickets[FLOOD];
    for (uint64_t i = 0; i < FLOOD; i++)
        tickets[i] = submit_square(pool, i);
    for (uint64_t i = 0; i < FLOOD; i++) {
        uint64_t y = 0;
        OK(taskring_result(pool, tickets[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    return NULL;
}

static int32_t worker_number(taskring_call *call, void *context) {
    const int32_t number = taskring_worker_number();
    (void)context;
    return taskring_call_set_result(call, &number, sizeof number);
}

static uint32_t number_of(taskring_pool *pool, uint64_t ticket) {
    uint32_t number = 99;
    OK(taskring_result(pool, ticket, SOON, &number, sizeof number, NULL));
    return number;
}

static void semantics_order_a_task_for_a_worker_runs_there_and_a_broadcast_everywhere(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 3, 64);
    const uint32_t who = function(pool, "worker_number"), until = function(pool, "until_asked");
    uint64_t tickets[30], busy = 0, waiting = 0, refused = 0;
    for (uint32_t i = 0; i < 30; i++)
        OK(taskring_submit_to(pool, i % 3, who, NULL, 0, NULL, TASKRING_INFINITE, &tickets[i]));
    for (uint32_t i = 0; i < 30; i++)
        CHECK(number_of(pool, tickets[i]) == i % 3);
    /* Others pass what waits for a worker that is busy. */
    OK(taskring_submit_to(pool, 1, until, NULL, 0, NULL, 0, &busy));
    until_state(pool, busy, TASKRING_RUNNING);
    OK(taskring_submit_to(pool, 1, who, NULL, 0, NULL, SOON, &waiting));
    for (uint64_t x = 0; x < 100; x++)
        CHECK(square_in(pool, x) == x * x);
    size_t count = 0;
    OK(taskring_broadcast(pool, who, NULL, 0, NULL, tickets, 30, &count));
    CHECK(count == 3 && number_of(pool, tickets[0]) == 0 && number_of(pool, tickets[2]) == 2);
    uint32_t state = 0;
    OK(taskring_state(pool, waiting, &state));
    CHECK(state == TASKRING_PENDING);
    cancel(pool, busy);
    CHECK(number_of(pool, waiting) == 1 && number_of(pool, tickets[1]) == 1);
    /* What cannot be. */
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_to(pool, 3, who, NULL, 0, NULL, SOON, &refused));
    CHECK(refused == 0 && strcmp(taskring_last_error(), "worker is 3; wanted a worker's number, below 3") == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_to(pool, 0, who, NULL, 0, NULL, SOON, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_broadcast(pool, who, NULL, 0, NULL, NULL, 30, &count));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_broadcast(pool, who, NULL, 0, NULL, tickets, 30, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_broadcast(pool, who, NULL, 0, NULL, tickets, 2, &count));
    CHECK(count == 0 && strcmp(taskring_last_error(), "room is 2; wanted 3, for as many workers") == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_broadcast(pool, 0, NULL, 0, NULL, tickets, 30, &count));
    OK(taskring_free(pool));
}

/* Waits for a task for worker `worker`, which returns how many were told that their wait would never end; one more when this one is told so. */
static int32_t wait_for_worker(taskring_call *call, uint32_t worker, const char *task) {
    taskring_pool *pool = NULL;
    uint64_t ticket = 0;
    uint32_t told = 0;
    OK(taskring_current_pool(&pool));
    OK(taskring_submit_to(pool, worker, function(pool, task), NULL, 0, NULL, TASKRING_INFINITE, &ticket));
    const int32_t status = taskring_result(pool, ticket, TASKRING_INFINITE, &told, sizeof told, NULL);
    if (status == TASKRING_WOULD_DEADLOCK) {
        /* Nothing was changed: the ticket is good, and the task goes on. */
        told = 1;
        OK(taskring_release(pool, ticket));
    } else {
        OK(status);
    }
    OK(taskring_free(pool));
    return taskring_call_set_result(call, &told, sizeof told);
}

static int32_t none_told(taskring_call *call, void *context) {
    const uint32_t told = 0;
    (void)context;
    return taskring_call_set_result(call, &told, sizeof told);
}

static int32_t waits_for_worker_0(taskring_call *call, void *context) {
    (void)context;
    return wait_for_worker(call, 0, "none_told");
}

static int32_t waits_for_worker_1(taskring_call *call, void *context) {
    (void)context;
    return wait_for_worker(call, 1, "waits_for_worker_0");
}

static void semantics_b4_of_two_workers_that_wait_for_each_other_one_is_told(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    uint64_t ticket = 0;
    for (int i = 0; i < 3; i++) {
        OK(taskring_submit_to(pool, 0, function(pool, "waits_for_worker_1"), NULL, 0, NULL, SOON, &ticket));
        CHECK(number_of(pool, ticket) == 1);
    }
    /* Without a circle nobody is told. */
    OK(taskring_submit_to(pool, 1, function(pool, "waits_for_worker_0"), NULL, 0, NULL, SOON, &ticket));
    CHECK(number_of(pool, ticket) == 0);
    OK(taskring_free(pool));
}

static void semantics_order_tasks_for_workers_come_out_of_a_completion_queue(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_completions *queue = NULL;
    OK(taskring_completions_new(&queue));
    taskring_options options = TASKRING_OPTIONS_INIT;
    options.completions = queue;
    options.user_data = 10;
    uint64_t tickets[2];
    size_t count = 0;
    OK(taskring_broadcast(pool, function(pool, "worker_number"), NULL, 0, &options, tickets, 2, &count));
    CHECK(count == 2);
    for (uint64_t seen = 0; seen != 3;) {
        taskring_completion done;
        OK(taskring_completions_next(queue, SOON, &done, 1, &count));
        CHECK(count == 1);
        const uint64_t i = done.user_data - 10;
        CHECK(i < 2 && (seen & 1u << i) == 0 && done.ticket == tickets[i]);
        CHECK(number_of(pool, tickets[i]) == i);
        seen |= 1u << i;
    }
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

enum { MUCH = 1 << 17 }; /* Larger than any pipe's buffer. */

/* Comes to half of its result, and then to no end: the owner's process, which begins the argument, goes on. */
static int32_t write_half(taskring_call *call, void *context) {
    pid_t owner;
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    char *result = taskring_call_result(call, len);
    memcpy(&owner, args, sizeof owner);
    memcpy(result, args, len / 2);
    return getpid() == owner ? 1 : end_worker(owner);
}

static void semantics_p18_a_crash_while_much_is_written_is_an_error_and_no_hang(uint32_t kind) {
    static char much[MUCH];
    taskring_pool *pool = make_pool(kind, 1, 64);
    const pid_t owner = getpid();
    memcpy(much, &owner, sizeof owner);
    for (int i = 0; i < 2; i++) {
        const uint64_t ticket = submit(pool, "write_half", much, sizeof much);
        STATUS(in_threads(kind) ? TASKRING_TASK_FAILED : TASKRING_WORKER_LOST, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
        CHECK(square_in(pool, 3) == 9);
    }
    OK(taskring_free(pool));
}

static void semantics_p20_floods_of_submits_from_several_threads_come_to_an_end(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 8);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, flood, pool) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    OK(taskring_free(pool));
}

static void semantics_p25_a_shutdown_waits_for_what_runs_and_what_waits(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const uint32_t ms = 2;
    uint64_t tickets[50], refused = 3;
    for (int i = 0; i < 50; i++)
        tickets[i] = submit(pool, "nap", &ms, sizeof ms);
    const uint32_t number = function(pool, "nap");
    OK(taskring_shutdown(pool, 1, 0));
    for (int i = 0; i < 50; i++)
        OK(taskring_result(pool, tickets[i], 0, NULL, 0, NULL));
    STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, number, &ms, sizeof ms, NULL, &refused));
    CHECK(refused == 3);
    OK(taskring_free(pool));
}

static void semantics_p26_a_shutdown_that_cancels_lets_what_runs_end_and_ends_all_the_rest(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    uint64_t pending[30];
    for (uint64_t i = 0; i < 30; i++)
        pending[i] = submit_square(pool, i);
    OK(taskring_shutdown(pool, 0, 1));
    for (int i = 0; i < 30; i++)
        STATUS(TASKRING_CANCELLED, taskring_result(pool, pending[i], 0, NULL, 0, NULL));
    CHECK(state_of(pool, running) == TASKRING_RUNNING && cancel(pool, running) == 0);
    OK(taskring_shutdown(pool, 1, 1));
    char answer[5];
    OK(taskring_result(pool, running, 0, answer, sizeof answer, NULL));
    CHECK(memcmp(answer, "asked", 5) == 0);
    OK(taskring_free(pool));
}

static void count_it(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)pool;
    (void)ticket;
    __atomic_fetch_add((int *)context, 1, __ATOMIC_ACQ_REL);
}

static void semantics_p30_the_end_of_a_handle_waits_for_everything(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint32_t ms = 5;
    int ended = 0;
    for (int i = 0; i < 5; i++)
        OK(taskring_on_done(pool, submit(pool, "nap", &ms, sizeof ms), count_it, &ended, NULL));
    OK(taskring_free(pool));
    CHECK(ended == 5);
}

static void semantics_p30_a_shutdown_may_be_asked_for_again(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint32_t ms = 20;
    const uint64_t last = submit(pool, "nap", &ms, sizeof ms);
    OK(taskring_shutdown(pool, 0, 0));
    OK(taskring_shutdown(pool, 0, 0));
    OK(taskring_shutdown(pool, 1, 0));
    CHECK(state_of(pool, last) == TASKRING_DONE);
    OK(taskring_shutdown(pool, 1, 1));
    OK(taskring_shutdown(pool, 0, 1));
    OK(taskring_result(pool, last, 0, NULL, 0, NULL));
    OK(taskring_free(pool));
}

static void semantics_p31_a_task_cancelled_just_before_does_not_hang_the_shutdown(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), pending = submit_square(pool, 3);
    CHECK(cancel(pool, pending) == 1);
    cancel(pool, running);
    OK(taskring_shutdown(pool, 1, 0));
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, 0, NULL, 0, NULL));
    OK(taskring_free(pool));
}

static void semantics_p34_only_what_a_worker_has_started_runs_and_all_else_can_be_cancelled(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    uint64_t tickets[5];
    tickets[0] = busy(pool);
    for (int i = 1; i < 5; i++)
        tickets[i] = submit(pool, "until_asked", NULL, 0);
    for (int i = 0; i < 5; i++)
        CHECK(state_of(pool, tickets[i]) == (i == 0 ? TASKRING_RUNNING : TASKRING_PENDING));
    for (int i = 0; i < 5; i++)
        CHECK(cancel(pool, tickets[i]) == (i != 0));
    OK(taskring_free(pool));
}

/* Code for pools of any kind. */
static void work_in(taskring_pool *pool) {
    taskring_completions *queue = NULL;
    taskring_completion found;
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint64_t x = 0, ticket = 0, sum = 0;
    size_t count = 0;
    OK(taskring_completions_new(&queue));
    options.completions = queue;
    for (; x < 10; x++)
        OK(taskring_submit_named(pool, "square", &x, sizeof x, &options, TASKRING_INFINITE, &ticket));
    while (taskring_completions_next(queue, SOON, &found, 1, &count) == TASKRING_OK) {
        uint64_t y = 0;
        OK(taskring_result(found.pool, found.ticket, 0, &y, sizeof y, NULL));
        sum += y;
    }
    CHECK(sum == 285);
    OK(taskring_completions_free(queue));
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit(pool, "fail_with", "f", 1), SOON, NULL, 0, NULL));
}

static void semantics_s8_code_for_one_kind_of_pool_takes_every_kind(uint32_t kind) {
    taskring_config config = config_of(kind, 2);
    taskring_pool *named = NULL, *attached = NULL;
    char name[40];
    snprintf(name, sizeof name, "semantics-s8-%d", (int)getpid());
    OK(taskring_create_named(&config, name, &named));
    OK(taskring_attach(name, &attached));
    taskring_pool *threads = make_pool(TASKRING_THREAD, 1, 64), *all[3] = {named, attached, threads};
    for (int i = 0; i < 3; i++)
        work_in(all[i]);
    OK(taskring_free(attached));
    OK(taskring_free(threads));
    OK(taskring_free(named));
}

static void semantics_s12_what_can_go_wrong_has_statuses_of_its_own(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = 1;
    config.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    OK(taskring_create(&config, &pool));
    const uint64_t running = busy(pool), pending = submit_square(pool, 3), cancelled = submit_square(pool, 3);
    uint64_t y = 0, refused = 0;
    const uint32_t number = function(pool, "square");
    cancel(pool, cancelled);
    STATUS(TASKRING_TIMED_OUT, taskring_peek(pool, pending, 0, &y, sizeof y, NULL));
    STATUS(TASKRING_CANCELLED, taskring_peek(pool, cancelled, SOON, &y, sizeof y, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_peek(pool, 7, SOON, &y, sizeof y, NULL));
    OK(taskring_release(pool, cancelled));
    STATUS(TASKRING_STALE, taskring_peek(pool, cancelled, SOON, &y, sizeof y, NULL));
    const uint64_t failing = submit(pool, "fail_code", NULL, 0), lost = submit(pool, "die", NULL, 0), never = submit_square(pool, 3);
    if (in_threads(kind)) {
        cancel(pool, lost); /* It would be the end of this process. */
        cancel(pool, running);
        STATUS(TASKRING_TASK_FAILED, taskring_peek(pool, failing, SOON, NULL, 0, NULL));
        OK(taskring_shutdown(pool, 0, 0));
        STATUS(TASKRING_SHUT_DOWN, taskring_submit(pool, number, &y, sizeof y, NULL, &refused));
    } else {
        cancel(pool, running);
        STATUS(TASKRING_TASK_FAILED, taskring_peek(pool, failing, SOON, NULL, 0, NULL));
        STATUS(TASKRING_WORKER_LOST, taskring_peek(pool, lost, SOON, NULL, 0, NULL));
        STATUS(TASKRING_BROKEN, taskring_peek(pool, never, SOON, &y, sizeof y, NULL));
        STATUS(TASKRING_BROKEN, taskring_submit(pool, number, &y, sizeof y, NULL, &refused));
    }
    OK(taskring_free(pool));
}

static struct {
    taskring_pool *pool;
    uint32_t square;
    uint64_t ticket;
} at_end;

/* What exit calls before it waits for the pool: it takes tasks still, and they are waited for. */
static void submit_before_the_wait(void) {
    const uint64_t x = 3;
    OK(taskring_submit(at_end.pool, at_end.square, &x, sizeof x, NULL, &at_end.ticket));
}

/* What exit calls after that. */
static void submit_after_the_wait(void) {
    uint64_t x = 3, y = 0, refused = 0;
    CHECK(state_of(at_end.pool, at_end.ticket) == TASKRING_DONE);
    OK(taskring_result(at_end.pool, at_end.ticket, 0, &y, sizeof y, NULL));
    CHECK(y == 9);
    STATUS(TASKRING_SHUT_DOWN, taskring_submit(at_end.pool, at_end.square, &x, sizeof x, NULL, &refused));
    STATUS(TASKRING_SHUT_DOWN, taskring_submit_named(at_end.pool, "square", &x, sizeof x, NULL, 0, &refused));
    CHECK(refused == 0);
    _exit(9);
}

static void semantics_p24_at_the_end_of_the_program_a_submit_is_taken_or_refused(uint32_t kind) {
    if (getenv("TASKRING_TEST_P24") == NULL) {
        CHECK(setenv("TASKRING_TEST_P24", "1", 1) == 0);
        CHECK(semantics_code(kind, __func__) == 9);
        return;
    }
    /* Who is added last is called first; the library's own wait is added with the first pool. */
    CHECK(atexit(submit_after_the_wait) == 0);
    at_end.pool = make_pool(kind, 2, 64);
    at_end.square = function(at_end.pool, "square");
    CHECK(atexit(submit_before_the_wait) == 0);
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_p2_too_many_workers_are_refused_and_the_default_is_the_cpus),
    CASE(semantics_p7_the_message_of_a_lost_task_says_what_became_of_it),
    CASE(semantics_p10_each_task_has_an_error_of_its_own),
    CASE(semantics_p15_a_crash_or_an_exit_costs_that_task_and_an_error_is_the_tasks_own),
    CASE(semantics_order_a_task_for_a_worker_runs_there_and_a_broadcast_everywhere),
    CASE(semantics_b4_of_two_workers_that_wait_for_each_other_one_is_told),
    CASE(semantics_order_tasks_for_workers_come_out_of_a_completion_queue),
    CASE(semantics_p18_a_crash_while_much_is_written_is_an_error_and_no_hang),
    CASE(semantics_p20_floods_of_submits_from_several_threads_come_to_an_end),
    CASE(semantics_p24_at_the_end_of_the_program_a_submit_is_taken_or_refused),
    CASE(semantics_p25_a_shutdown_waits_for_what_runs_and_what_waits),
    CASE(semantics_p26_a_shutdown_that_cancels_lets_what_runs_end_and_ends_all_the_rest),
    CASE(semantics_p30_the_end_of_a_handle_waits_for_everything),
    CASE(semantics_p30_a_shutdown_may_be_asked_for_again),
    CASE(semantics_p31_a_task_cancelled_just_before_does_not_hang_the_shutdown),
    CASE(semantics_p34_only_what_a_worker_has_started_runs_and_all_else_can_be_cancelled),
    CASE(semantics_s8_code_for_one_kind_of_pool_takes_every_kind),
    CASE(semantics_s12_what_can_go_wrong_has_statuses_of_its_own),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("exit_with_3", exit_with_3, NULL, NULL));
    OK(taskring_register("fail_with", fail_with, NULL, NULL));
    OK(taskring_register("crash", crash, NULL, NULL));
    OK(taskring_register("write_half", write_half, NULL, NULL));
    OK(taskring_register("die_when_asked", die_when_asked, NULL, NULL));
    OK(taskring_register("worker_number", worker_number, NULL, NULL));
    OK(taskring_register("none_told", none_told, NULL, NULL));
    OK(taskring_register("waits_for_worker_0", waits_for_worker_0, NULL, NULL));
    OK(taskring_register("waits_for_worker_1", waits_for_worker_1, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
