/* Row B10 of the contract in C: what can be done about a task that runs. */
#include "check.h"
#include "semantics_main.h"

static uint32_t cancel_hard(taskring_pool *pool, uint64_t ticket) {
    uint32_t cancelled = 7;
    OK(taskring_cancel_hard(pool, ticket, &cancelled));
    return cancelled;
}

static void semantics_b10_a_running_task_is_killed_and_all_others_go_on(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const uint64_t victim = busy(pool), other = submit(pool, "until_asked", NULL, 0);
    until_state(pool, other, TASKRING_RUNNING);
    uint64_t pending[10], y = 0;
    char answer[5];
    for (uint64_t i = 0; i < 10; i++)
        pending[i] = submit_square(pool, i);
    if (in_threads(kind)) {
        uint32_t cancelled = 7;
        STATUS(TASKRING_UNSUPPORTED, taskring_cancel_hard(pool, victim, &cancelled));
        CHECK(cancelled == 7 && state_of(pool, victim) == TASKRING_RUNNING);
        cancel(pool, victim);
        OK(taskring_result(pool, victim, SOON, answer, sizeof answer, NULL));
    } else {
        CHECK(cancel_hard(pool, victim) == 1);
        OK(taskring_wait(pool, victim, SOON));
        CHECK(state_of(pool, victim) == TASKRING_STATE_CANCELLED && cancel_hard(pool, victim) == 1);
        STATUS(TASKRING_CANCELLED, taskring_result(pool, victim, SOON, NULL, 0, NULL));
        STATUS(TASKRING_STALE, taskring_cancel_hard(pool, victim, NULL));
    }
    for (uint64_t i = 0; i < 10; i++) {
        OK(taskring_result(pool, pending[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    CHECK(state_of(pool, other) == TASKRING_RUNNING);
    cancel(pool, other);
    OK(taskring_result(pool, other, SOON, answer, sizeof answer, NULL));
    OK(taskring_free(pool));
}

static void semantics_b10_a_task_that_does_not_run_is_cancelled_hard_as_by_cancel(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t done = submit_square(pool, 3);
    uint64_t y = 0;
    OK(taskring_wait(pool, done, SOON));
    const uint64_t running = busy(pool), pending = submit_square(pool, 4);
    CHECK(cancel_hard(pool, pending) == 1 && cancel_hard(pool, done) == 0);
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, 0, NULL, 0, NULL));
    OK(taskring_result(pool, done, 0, &y, sizeof y, NULL));
    CHECK(y == 9 && state_of(pool, running) == TASKRING_RUNNING);
    OK(taskring_cancel(pool, running, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_cancel_hard(NULL, running, NULL));
    OK(taskring_free(pool));
}

static uint64_t submit_limited(taskring_pool *pool, const char *name, uint64_t soft_ns, uint64_t hard_ns) {
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint64_t ticket = 0;
    options.soft_limit_ns = soft_ns;
    options.hard_limit_ns = hard_ns;
    OK(taskring_submit(pool, function(pool, name), NULL, 0, &options, &ticket));
    return ticket;
}

static int32_t never_ends(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    for (;;)
        pause();
    return 0;
}

static void semantics_b10_a_task_has_time_limits_of_its_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    char answer[5];
    OK(taskring_result(pool, submit_limited(pool, "until_asked", 50 * MS, 0), SOON, answer, sizeof answer, NULL));
    CHECK(memcmp(answer, "asked", 5) == 0);
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint64_t ticket = 7;
    options.hard_limit_ns = 50 * MS;
    if (in_threads(kind)) {
        STATUS(TASKRING_UNSUPPORTED, taskring_submit(pool, function(pool, "square"), NULL, 0, &options, &ticket));
        CHECK(ticket == 7);
    } else {
        STATUS(TASKRING_TIME_LIMIT, taskring_result(pool, submit_limited(pool, "never_ends", 0, 50 * MS), SOON, NULL, 0, NULL));
        CHECK(strstr(taskring_last_error(), "longer than 50ms") != NULL);
    }
    options.soft_limit_ns = 50 * MS;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "square"), NULL, 0, &options, &ticket));
    CHECK(square_in(pool, 6) == 36);
    OK(taskring_free(pool));
}

static void semantics_b10_a_pool_has_time_limits_for_its_tasks(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    char answer[5];
    config.start_method = kind;
    config.workers = 1;
    config.task_soft_limit_ns = 30 * MS;
    config.task_hard_limit_ns = 900 * MS;
    if (in_threads(kind)) {
        STATUS(TASKRING_UNSUPPORTED, taskring_create(&config, &pool));
        config.task_hard_limit_ns = 0;
    }
    OK(taskring_create(&config, &pool));
    OK(taskring_result(pool, submit(pool, "until_asked", NULL, 0), SOON, answer, sizeof answer, NULL));
    if (!in_threads(kind))
        STATUS(TASKRING_TIME_LIMIT, taskring_result(pool, submit(pool, "never_ends", NULL, 0), SOON, NULL, 0, NULL));
    CHECK(square_in(pool, 6) == 36);
    OK(taskring_free(pool));
}

static int32_t tells(taskring_call *call, void *context) {
    char more[65] = {0};
    (void)context;
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_report(more, sizeof more));
    OK(taskring_report_progress(1, 3));
    OK(taskring_report("one", 3));
    OK(taskring_report_progress(2, 3));
    return until_asked(call, context);
}

static void semantics_b10_a_running_task_tells_how_far_it_has_come(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    uint64_t done = 7, total = 7;
    char told[64];
    size_t len = 0;
    const uint64_t silent = busy(pool);
    STATUS(TASKRING_NOT_FOUND, taskring_progress(pool, silent, &done, &total));
    STATUS(TASKRING_NOT_FOUND, taskring_reported(pool, silent, told, sizeof told, &len));
    CHECK(done == 7 && total == 7 && len == 0);
    OK(taskring_cancel(pool, silent, NULL));
    const uint64_t ticket = submit(pool, "tells", NULL, 0);
    for (int i = 0; i < 20000 && (done != 2 || total != 3); i++) {
        sleep_ms(1);
        const taskring_status status = taskring_progress(pool, ticket, &done, &total);
        CHECK(status == TASKRING_OK || status == TASKRING_NOT_FOUND);
    }
    CHECK(done == 2 && total == 3);
    STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_reported(pool, ticket, told, 2, &len));
    OK(taskring_reported(pool, ticket, told, sizeof told, &len));
    CHECK(len == 3 && memcmp(told, "one", 3) == 0);
    if (!in_threads(kind))
        CHECK(cancel_hard(pool, ticket) == 1);
    OK(taskring_cancel(pool, ticket, NULL));
    OK(taskring_wait(pool, ticket, SOON));
    OK(taskring_progress(pool, ticket, &done, NULL));
    CHECK(done == 2);
    STATUS(TASKRING_UNSUPPORTED, taskring_report_progress(1, 1));
    OK(taskring_free(pool));
}

/* What fails_first takes: in how many attempts to fail, and what to return then. */
struct failing {
    uint32_t times;
    int32_t code;
};

/* Gives the number of the attempt in which it did not fail. */
static int32_t fails_first(taskring_call *call, void *context) {
    const struct failing *how = taskring_call_args(call, NULL);
    const uint32_t attempt = taskring_attempt();
    char text[40];
    (void)context;
    if (attempt >= how->times)
        return taskring_call_set_result(call, &attempt, sizeof attempt);
    snprintf(text, sizeof text, "attempt %u fails", (unsigned)attempt);
    OK(taskring_call_fail(call, text));
    return how->code;
}

static uint64_t submit_failing(taskring_pool *pool, uint32_t times, int32_t code, taskring_retry retry) {
    const struct failing how = {times, code};
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint64_t ticket = 0;
    options.retry = retry;
    OK(taskring_submit(pool, function(pool, "fails_first"), &how, sizeof how, &options, &ticket));
    return ticket;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The attempt that did not fail. */
static uint32_t good_attempt(taskring_pool *pool, uint64_t ticket) {
    uint32_t attempt = 77;
    OK(taskring_result(pool, ticket, SOON, &attempt, sizeof attempt, NULL));
    return attempt;
}

static void semantics_b10_a_failed_task_is_run_again_as_its_options_say(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    taskring_retry retry = {0};
    CHECK(good_attempt(pool, submit_failing(pool, 0, 1, retry)) == 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 1, 1, retry), SOON, NULL, 0, NULL));
    retry.attempts = 3;
    CHECK(good_attempt(pool, submit_failing(pool, 2, -4, retry)) == 2);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 3, 1, retry), SOON, NULL, 0, NULL));
    CHECK(strstr(taskring_last_error(), "attempt 2 fails") != NULL);
    retry.codes = 1u << 4 | 1u << 31;
    CHECK(good_attempt(pool, submit_failing(pool, 2, 4, retry)) == 2);
    CHECK(good_attempt(pool, submit_failing(pool, 2, 31, retry)) == 2);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 1, 5, retry), SOON, NULL, 0, NULL));
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 1, 36, retry), SOON, NULL, 0, NULL));
    retry.on = TASKRING_RETRY_ERRORS;
    CHECK(good_attempt(pool, submit_failing(pool, 1, 5, retry)) == 1);
    retry.codes = 0;
    retry.on = TASKRING_RETRY_PANICS;
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 1, 5, retry), SOON, NULL, 0, NULL));
    taskring_options wrong = TASKRING_OPTIONS_INIT;
    const taskring_retry refused[] = {{0, 1, 0, 0, 0, 0}, {256, 0, 0, 0, 0, 0}, {2, 4, 0, 0, 0, 0},      {2, 0, 1, 0, 0, 0},
                                      {2, 0, 0, 1, 0, 0}, {2, 0, 0, 0, 9 * MS, 1 * MS}, {0, 0, 0, 0, 1, 0}, {2, 0, 0, 0, UINT64_MAX, 0}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        uint64_t ticket = 7, x = 3;
        wrong.retry = refused[i];
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "square"), &x, sizeof x, &wrong, &ticket));
        CHECK(ticket == 7);
    }
    OK(taskring_free(pool));
}

static void semantics_b10_an_attempt_waits_for_its_pause_and_can_be_cancelled(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    taskring_retry retry = {2, 0, 0, 0, 150 * MS, 0};
    const uint64_t start = now_ns();
    CHECK(good_attempt(pool, submit_failing(pool, 1, 1, retry)) == 1 && now_ns() - start >= 150 * MS);
    retry.backoff_ns = 3600 * 1000 * MS;
    const uint64_t waits = submit_failing(pool, 1, 1, retry);
    uint32_t cancelled = 0;
    /* Behind it: it has failed when this is over. */
    CHECK(square_in(pool, 3) == 9);
    CHECK(state_of(pool, waits) == TASKRING_PENDING);
    OK(taskring_cancel(pool, waits, &cancelled));
    CHECK(cancelled == 1);
    STATUS(TASKRING_CANCELLED, taskring_result(pool, waits, SOON, NULL, 0, NULL));
    const uint64_t at_the_end = submit_failing(pool, 1, 1, retry);
    CHECK(square_in(pool, 4) == 16);
    OK(taskring_shutdown(pool, 1, 1));
    STATUS(TASKRING_CANCELLED, taskring_result(pool, at_the_end, SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

static void semantics_b10_a_pool_has_a_rule_for_its_tasks_that_fail(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    const struct failing how = {1, 1};
    config.start_method = kind;
    config.workers = 1;
    config.task_retry.attempts = 300;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    config.task_retry.attempts = 2;
    config.task_retry.backoff_ns = 5 * MS;
    OK(taskring_create(&config, &pool));
    CHECK(good_attempt(pool, submit(pool, "fails_first", &how, sizeof how)) == 1);
    const taskring_retry never = {1, 0, 0, 0, 0, 0};
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_failing(pool, 1, 1, never), SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_b10_a_running_task_is_killed_and_all_others_go_on),
    CASE(semantics_b10_a_task_that_does_not_run_is_cancelled_hard_as_by_cancel),
    CASE(semantics_b10_a_task_has_time_limits_of_its_own),
    CASE(semantics_b10_a_pool_has_time_limits_for_its_tasks),
    CASE(semantics_b10_a_running_task_tells_how_far_it_has_come),
    CASE(semantics_b10_a_failed_task_is_run_again_as_its_options_say),
    CASE(semantics_b10_an_attempt_waits_for_its_pause_and_can_be_cancelled),
    CASE(semantics_b10_a_pool_has_a_rule_for_its_tasks_that_fail),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("tells", tells, NULL, NULL));
    OK(taskring_register("never_ends", never_ends, NULL, NULL));
    OK(taskring_register("fails_first", fails_first, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
