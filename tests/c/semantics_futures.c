/* Section F of the contract in C, and what section S says of futures. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>

/* A flag that threads wait for. */
static void set(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELEASE); }
static int is_set(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static void await(const int *flag) {
    for (int i = 0; i < 20000 && !is_set(flag); i++)
        sleep_ms(1);
    CHECK(is_set(flag));
}

static void count_it(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)pool;
    (void)ticket;
    __atomic_fetch_add((int *)context, 1, __ATOMIC_ACQ_REL);
}

static void semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), pending = submit_square(pool, 3);
    int calls = 0;
    OK(taskring_on_done(pool, pending, count_it, &calls, NULL));
    CHECK(cancel(pool, pending) == 1 && cancel(pool, pending) == 1);
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, SOON, NULL, 0, NULL));
    CHECK(cancel(pool, running) == 0); /* It is asked to stop, which is ours. */
    OK(taskring_wait(pool, running, SOON));
    CHECK(cancel(pool, running) == 0 && state_of(pool, running) == TASKRING_DONE);
    char answer[5];
    OK(taskring_result(pool, running, 0, answer, sizeof answer, NULL));
    OK(taskring_free(pool)); /* Waits for the callbacks. */
    CHECK(calls == 1);
}

/* What a callback saw. */
struct seen {
    pthread_t thread;
    uint64_t ticket;
    uint32_t state;
    int calls, ended;
};

static void see(taskring_pool *pool, uint64_t ticket, void *context) {
    struct seen *it = context;
    it->thread = pthread_self();
    it->ticket = ticket;
    STATUS(TASKRING_CANCELLED, taskring_peek(pool, ticket, 0, NULL, 0, NULL));
    OK(taskring_state(pool, ticket, &it->state)); /* No lock is held that this wants. */
    CHECK(square_in(pool, 5) == 25);
    __atomic_fetch_add(&it->calls, 1, __ATOMIC_ACQ_REL);
}

static void seen_all(void *context) { set(&((struct seen *)context)->ended); }

static void semantics_f2_cancelling_tells_who_waits_and_the_callbacks_come_in_a_thread_of_the_library(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const uint64_t held[2] = {busy(pool), busy(pool)}, pending = submit_square(pool, 3);
    struct seen seen = {pthread_self(), 0, 0, 0, 0};
    OK(taskring_on_done(pool, pending, see, &seen, seen_all));
    CHECK(cancel(pool, pending) == 1);
    STATUS(TASKRING_CANCELLED, taskring_peek(pool, pending, SOON, NULL, 0, NULL));
    cancel(pool, held[0]); /* The callback has a task of its own run. */
    await(&seen.ended);
    CHECK(!pthread_equal(seen.thread, pthread_self()) && seen.ticket == pending && seen.state == TASKRING_STATE_CANCELLED);
    CHECK(cancel(pool, pending) == 1); /* And calls nobody again. */
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, 0, NULL, 0, NULL));
    cancel(pool, held[1]);
    OK(taskring_free(pool));
    CHECK(seen.calls == 1);
}

static void semantics_f3_each_state_is_told(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), cancelled = submit_square(pool, 3), done = submit_square(pool, 4);
    CHECK(state_of(pool, running) == TASKRING_RUNNING && state_of(pool, done) == TASKRING_PENDING);
    CHECK(cancel(pool, cancelled) == 1 && state_of(pool, cancelled) == TASKRING_STATE_CANCELLED);
    cancel(pool, running);
    OK(taskring_wait(pool, done, SOON));
    CHECK(state_of(pool, done) == TASKRING_DONE && state_of(pool, running) == TASKRING_DONE);
    OK(taskring_free(pool));
}

static void semantics_f4_a_result_comes_in_time_or_may_be_asked_for_again(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), pending = submit_square(pool, 9), failing = submit(pool, "fail_code", NULL, 0);
    uint64_t y = 0;
    STATUS(TASKRING_TIMED_OUT, taskring_result(pool, pending, 0, &y, sizeof y, NULL));
    STATUS(TASKRING_TIMED_OUT, taskring_result(pool, pending, 2 * MS, &y, sizeof y, NULL));
    cancel(pool, running);
    OK(taskring_result(pool, pending, SOON, &y, sizeof y, NULL));
    CHECK(y == 81);
    OK(taskring_wait(pool, failing, SOON));
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, failing, 0, NULL, 0, NULL)); /* What is over needs no time. */
    CHECK(strcmp(taskring_last_error(), "the function returned 42") == 0);
    OK(taskring_free(pool));
}

static void semantics_f5_how_a_task_ended_is_told_and_nothing_taken(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), good = submit_square(pool, 5), failing = submit(pool, "fail_code", NULL, 0),
                   cancelled = submit_square(pool, 6);
    taskring_status how = TASKRING_INTERNAL;
    STATUS(TASKRING_TIMED_OUT, taskring_outcome(pool, good, MS, &how));
    CHECK(how == TASKRING_INTERNAL && cancel(pool, cancelled) == 1);
    cancel(pool, running);
    OK(taskring_outcome(pool, good, SOON, &how));
    CHECK(how == TASKRING_OK);
    OK(taskring_outcome(pool, failing, SOON, &how));
    CHECK(how == TASKRING_TASK_FAILED && strcmp(taskring_last_error(), "the function returned 42") == 0);
    OK(taskring_outcome(pool, cancelled, SOON, &how));
    CHECK(how == TASKRING_CANCELLED);
    uint64_t y = 0;
    OK(taskring_result(pool, good, 0, &y, sizeof y, NULL));
    CHECK(y == 25);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, failing, 0, NULL, 0, NULL));
    OK(taskring_free(pool));
}

struct asker {
    taskring_pool *pool;
    uint64_t ticket;
    int began;
    taskring_status status;
    uint64_t value;
};

static void *ask(void *of) {
    struct asker *it = of;
    set(&it->began);
    it->status = taskring_result(it->pool, it->ticket, SOON, &it->value, sizeof it->value, NULL);
    return NULL;
}

static void semantics_f6_whoever_waits_for_a_result_hears_of_the_cancelling(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    struct asker asker = {pool, submit_square(pool, 2), 0, TASKRING_OK, 0};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ask, &asker) == 0);
    await(&asker.began);
    sleep_ms(5); /* Most likely it sleeps by now; what holds, holds otherwise as well. */
    CHECK(cancel(pool, asker.ticket) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    STATUS(TASKRING_CANCELLED, asker.status);
    CHECK(state_of(pool, running) == TASKRING_RUNNING);
    cancel(pool, running);
    OK(taskring_free(pool));
}

struct slow {
    int begun, may_end;
};

static void slow_callback(taskring_pool *pool, uint64_t ticket, void *context) {
    struct slow *it = context;
    (void)pool;
    (void)ticket;
    set(&it->begun);
    await(&it->may_end);
}

static void semantics_f10_a_result_may_come_before_slow_callbacks_end(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct slow slow = {0, 0};
    const uint64_t running = busy(pool), ticket = submit_square(pool, 7);
    OK(taskring_on_done(pool, ticket, slow_callback, &slow, NULL));
    cancel(pool, running);
    await(&slow.begun);
    uint64_t y = 0;
    OK(taskring_result(pool, ticket, 0, &y, sizeof y, NULL));
    CHECK(y == 49 && !is_set(&slow.may_end));
    set(&slow.may_end);
    OK(taskring_free(pool));
}

static void semantics_s2_a_slow_callback_delays_later_callbacks_only(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct slow slow = {0, 0};
    int later = 0;
    const uint64_t running = busy(pool), first = submit_square(pool, 1), second = submit_square(pool, 2);
    OK(taskring_on_done(pool, first, slow_callback, &slow, NULL));
    OK(taskring_on_done(pool, second, count_it, &later, NULL));
    cancel(pool, running);
    await(&slow.begun);
    /* Workers, results, waits and queues go on meanwhile. */
    for (uint64_t x = 0; x < 20; x++)
        CHECK(square_in(pool, x) == x * x);
    OK(taskring_wait(pool, second, SOON));
    CHECK(__atomic_load_n(&later, __ATOMIC_ACQUIRE) == 0);
    taskring_completions *queue = NULL;
    taskring_completion found;
    size_t count = 0;
    OK(taskring_completions_new(&queue));
    OK(taskring_completions_add(queue, pool, submit_square(pool, 3), 0));
    OK(taskring_completions_next(queue, SOON, &found, 1, &count));
    OK(taskring_completions_free(queue));
    set(&slow.may_end);
    OK(taskring_free(pool));
    CHECK(later == 1);
}

struct heard {
    uint64_t order[8], count;
    pthread_t thread[8];
    taskring_pool *pool;
};

struct note {
    struct heard *heard;
    uint64_t number, ticket;
};

static void note_it(taskring_pool *pool, uint64_t ticket, void *context) {
    struct note *it = context;
    CHECK(pool == it->heard->pool && ticket == it->ticket);
    it->heard->thread[it->heard->count] = pthread_self();
    it->heard->order[it->heard->count] = it->number;
    __atomic_fetch_add(&it->heard->count, 1, __ATOMIC_ACQ_REL);
}

static void semantics_f11_callbacks_come_in_the_order_added_with_their_task_and_late_ones_at_once(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct heard heard = {{0}, 0, {0}, pool};
    const uint64_t running = busy(pool), ticket = submit_square(pool, 7);
    struct note notes[3] = {{&heard, 1, ticket}, {&heard, 2, ticket}, {&heard, 3, ticket}};
    OK(taskring_on_done(pool, ticket, note_it, &notes[0], NULL));
    OK(taskring_on_done(pool, ticket, note_it, &notes[1], NULL));
    OK(taskring_on_done(pool, ticket, note_it, &notes[0], NULL)); /* Twice is twice. */
    cancel(pool, running);
    for (int i = 0; i < 20000 && __atomic_load_n(&heard.count, __ATOMIC_ACQUIRE) < 3; i++)
        sleep_ms(1);
    CHECK(heard.count == 3 && heard.order[0] == 1 && heard.order[1] == 2 && heard.order[2] == 1);
    /* In a thread of this process, and not in the one that submitted. */
    CHECK(!pthread_equal(heard.thread[0], pthread_self()));
    OK(taskring_on_done(pool, ticket, note_it, &notes[2], NULL));
    CHECK(heard.count == 4 && heard.order[3] == 3 && pthread_equal(heard.thread[3], pthread_self()));
    OK(taskring_free(pool));
}

struct log {
    int count;
    char text[128];
};

static void keep_text(uint32_t level, const char *message, void *context) {
    struct log *it = context;
    if (level == TASKRING_LOG_ERROR && it->count++ == 0)
        snprintf(it->text, sizeof it->text, "%s", message);
}

/* A callback in C raises nothing. What a wrapper catches it hands on. */
static void semantics_f12_what_a_wrapper_caught_in_a_callback_is_heard_by_the_logger(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct log log = {0, ""};
    OK(taskring_log(TASKRING_LOG_ERROR, "nobody listens"));
    OK(taskring_set_log(TASKRING_LOG_WARN, keep_text, &log, NULL));
    OK(taskring_log(TASKRING_LOG_INFO, "not so much"));
    OK(taskring_log(TASKRING_LOG_ERROR, "a callback threw"));
    CHECK(log.count == 1 && strcmp(log.text, "a callback threw") == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_log(9, "no level"));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_log(TASKRING_LOG_ERROR, NULL));
    OK(taskring_set_log(TASKRING_LOG_ERROR, NULL, NULL, NULL));
    CHECK(square_in(pool, 4) == 16);
    OK(taskring_free(pool));
}

struct within {
    uint64_t result, again, other;
    uint32_t cancelled;
    int late, over;
};

static void use_everything(taskring_pool *pool, uint64_t ticket, void *context) {
    struct within *it = context;
    OK(taskring_result(pool, ticket, 0, &it->result, sizeof it->result, NULL));
    it->again = square_in(pool, 11);
    OK(taskring_cancel(pool, it->other, &it->cancelled));
    OK(taskring_on_done(pool, it->other, count_it, &it->late, NULL));
    set(&it->over);
}

static void semantics_f13_a_callback_may_ask_cancel_submit_and_add_callbacks(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 4);
    struct within within = {0, 0, 0, 7, 0, 0};
    const uint64_t running = busy(pool), ticket = submit_square(pool, 8);
    within.other = submit_square(pool, 9);
    CHECK(cancel(pool, within.other) == 1);
    OK(taskring_on_done(pool, ticket, use_everything, &within, NULL));
    cancel(pool, running);
    await(&within.over);
    CHECK(within.result == 64 && within.again == 121 && within.cancelled == 1 && within.late == 1);
    STATUS(TASKRING_STALE, taskring_release(pool, ticket));
    OK(taskring_free(pool));
}

static void semantics_f18_a_cancelled_task_that_no_worker_looked_at_is_over_at_once(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    taskring_future both[2] = {{pool, submit_square(pool, 1)}, {pool, submit_square(pool, 2)}};
    taskring_completions *queue = NULL;
    taskring_completion found;
    uint8_t over[2];
    size_t count = 0;
    OK(taskring_completions_new(&queue));
    OK(taskring_completions_add(queue, pool, both[0].ticket, 0));
    OK(taskring_completions_add(queue, pool, both[1].ticket, 1));
    CHECK(cancel(pool, both[0].ticket) == 1);
    OK(taskring_completions_next(queue, SOON, &found, 1, &count));
    CHECK(count == 1 && found.ticket == both[0].ticket);
    /* As a shutdown cancels. */
    OK(taskring_shutdown(pool, 0, 1));
    OK(taskring_wait_many(both, 2, TASKRING_ALL_COMPLETED, SOON, over, &count));
    CHECK(count == 2);
    OK(taskring_completions_next(queue, SOON, &found, 1, &count));
    CHECK(found.ticket == both[1].ticket && state_of(pool, running) == TASKRING_RUNNING);
    OK(taskring_completions_free(queue));
    cancel(pool, running);
    OK(taskring_free(pool));
}

static void described(taskring_pool *pool, uint64_t ticket, const char *what) {
    char text[200], wanted[200], pid_text[32];
    uint32_t pid = 0;
    size_t len = 0;
    pid_text[0] = 0;
    if (taskring_worker_pid(pool, ticket, &pid) == TASKRING_OK)
        snprintf(pid_text, sizeof pid_text, "%u", (unsigned)pid);
    snprintf(wanted, sizeof wanted, "task 0x%" PRIx64 " %s%s", ticket, what, pid_text);
    OK(taskring_describe(pool, ticket, text, sizeof text, &len));
    if (strcmp(text, wanted) != 0)
        fprintf(stderr, "%s\nwanted %s\n", text, wanted);
    CHECK(strcmp(text, wanted) == 0 && len == strlen(text));
}

static void semantics_s10_a_text_names_the_task_its_state_its_process_and_its_result(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool), good = submit_square(pool, 3), cancelled = submit_square(pool, 3);
    const uint64_t failing = submit(pool, "fail_code", NULL, 0);
    char small[12];
    size_t len = 0;
    cancel(pool, cancelled);
    described(pool, running, "running in process ");
    described(pool, good, "pending");
    described(pool, cancelled, "cancelled");
    cancel(pool, running);
    OK(taskring_wait(pool, failing, SOON));
    described(pool, good, "done, with a result of 8 bytes");
    described(pool, failing, "done, without a result: the task failed: the function returned 42");
    OK(taskring_describe(pool, good, small, sizeof small, &len)); /* Cut to fit. */
    CHECK(strlen(small) == sizeof small - 1 && strncmp(small, "task 0x", 7) == 0 && len > sizeof small);
    OK(taskring_describe(pool, good, NULL, 0, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_describe(pool, good, NULL, 1, &len));
    OK(taskring_release(pool, good));
    STATUS(TASKRING_STALE, taskring_describe(pool, good, small, sizeof small, &len));
    OK(taskring_free(pool));
}

static void *peek(void *of) {
    struct asker *it = of;
    for (int i = 0; i < 50 && it->status == TASKRING_OK; i++)
        it->status = taskring_peek(it->pool, it->ticket, SOON, &it->value, sizeof it->value, NULL);
    return NULL;
}

static void semantics_s13_a_result_may_be_asked_for_again_until_its_ticket_is_released(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t ticket = submit_square(pool, 12), failing = submit(pool, "fail_code", NULL, 0);
    struct asker askers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        askers[i] = (struct asker){pool, ticket, 0, TASKRING_OK, 0};
        CHECK(pthread_create(&threads[i], NULL, peek, &askers[i]) == 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(askers[i].status == TASKRING_OK && askers[i].value == 144);
    }
    uint64_t y = 0;
    size_t len = 0;
    STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_peek(pool, ticket, 0, &y, 3, &len));
    CHECK(len == 8);
    for (int i = 0; i < 2; i++)
        STATUS(TASKRING_TASK_FAILED, taskring_peek(pool, failing, SOON, NULL, 0, NULL));
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.unreleased == 2);
    OK(taskring_result(pool, ticket, 0, &y, sizeof y, NULL)); /* Copies, and releases. */
    STATUS(TASKRING_STALE, taskring_peek(pool, ticket, 0, &y, sizeof y, NULL));
    OK(taskring_release(pool, failing));
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.unreleased == 0);
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it),
    CASE(semantics_f2_cancelling_tells_who_waits_and_the_callbacks_come_in_a_thread_of_the_library),
    CASE(semantics_f3_each_state_is_told),
    CASE(semantics_f4_a_result_comes_in_time_or_may_be_asked_for_again),
    CASE(semantics_f5_how_a_task_ended_is_told_and_nothing_taken),
    CASE(semantics_f6_whoever_waits_for_a_result_hears_of_the_cancelling),
    CASE(semantics_f10_a_result_may_come_before_slow_callbacks_end),
    CASE(semantics_f11_callbacks_come_in_the_order_added_with_their_task_and_late_ones_at_once),
    CASE(semantics_f12_what_a_wrapper_caught_in_a_callback_is_heard_by_the_logger),
    CASE(semantics_f13_a_callback_may_ask_cancel_submit_and_add_callbacks),
    CASE(semantics_f18_a_cancelled_task_that_no_worker_looked_at_is_over_at_once),
    CASE(semantics_s2_a_slow_callback_delays_later_callbacks_only),
    CASE(semantics_s10_a_text_names_the_task_its_state_its_process_and_its_result),
    CASE(semantics_s13_a_result_may_be_asked_for_again_until_its_ticket_is_released),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
