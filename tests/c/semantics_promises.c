/* Rows F8 and F9 of the contract in C: futures that this program completes itself, beside those of tasks. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>

static taskring_promise *new_promise(taskring_future *future) {
    taskring_promise *promise = NULL;
    OK(taskring_promise_new(&promise, future));
    return promise;
}

static uint32_t state(taskring_future future) { return state_of(future.pool, future.ticket); }
static uint32_t cancel_one(taskring_future future) { return cancel(future.pool, future.ticket); }

static uint32_t may_run(taskring_promise *promise) {
    uint32_t word = 7;
    OK(taskring_promise_set_running_or_notify_cancel(promise, &word));
    return word;
}

static uint32_t is_asked_to_stop(taskring_promise *promise) {
    uint32_t word = 7;
    OK(taskring_promise_cancel_requested(promise, &word));
    return word;
}

static void semantics_f8_a_promise_is_set_running_once(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16); /* Its tasks and the promise do not know of each other. */
    taskring_future future;
    taskring_promise *promise = new_promise(&future);
    CHECK(state(future) == TASKRING_PENDING && may_run(promise) == 1 && state(future) == TASKRING_RUNNING);
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_running_or_notify_cancel(promise, NULL));
    CHECK(is_asked_to_stop(promise) == 0 && cancel_one(future) == 0 && is_asked_to_stop(promise) == 1);
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_promise_set_result(promise, "result", 6));
    CHECK(state(future) == TASKRING_DONE);
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_running_or_notify_cancel(promise, NULL));
    OK(taskring_promise_free(promise));
    OK(taskring_release(future.pool, future.ticket));
    OK(taskring_free(pool));
}

static void semantics_f8_a_cancelled_promise_does_not_begin_and_who_waits_has_heard_of_it(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future both[2];
    taskring_promise *promise = new_promise(&both[0]);
    uint8_t over[2];
    size_t count = 0;
    both[1] = (taskring_future){pool, busy(pool)};
    CHECK(cancel_one(both[0]) == 1);
    OK(taskring_wait_many(both, 2, TASKRING_FIRST_COMPLETED, SOON, over, &count));
    CHECK(count == 1 && over[0] == 1);
    CHECK(may_run(promise) == 0 && may_run(promise) == 0);
    STATUS(TASKRING_CANCELLED, taskring_result(both[0].pool, both[0].ticket, 0, NULL, 0, NULL));
    OK(taskring_promise_free(promise));
    CHECK(state(both[1]) == TASKRING_RUNNING && cancel_one(both[1]) == 0);
    OK(taskring_free(pool));
}

static void semantics_f9_what_is_over_refuses_another_end_and_keeps_its_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future good, bad, cancelled;
    taskring_promise *promises[] = {new_promise(&good), new_promise(&bad), new_promise(&cancelled)};
    char text[8];
    size_t len = 0;
    /* From running and from pending. */
    CHECK(may_run(promises[0]) == 1);
    OK(taskring_promise_set_result(promises[0], "result", 6));
    OK(taskring_promise_set_error(promises[1], "an error"));
    CHECK(cancel_one(cancelled) == 1);
    for (int i = 0; i < 3; i++) {
        STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[i], "late", 4));
        CHECK(strstr(taskring_last_error(), i == 2 ? "cancelled" : "done") != NULL);
        STATUS(TASKRING_INVALID_STATE, taskring_promise_set_error(promises[i], "late"));
    }
    OK(taskring_result(good.pool, good.ticket, 0, text, sizeof text, &len));
    CHECK(len == 6 && memcmp(text, "result", 6) == 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(bad.pool, bad.ticket, 0, NULL, 0, NULL));
    CHECK(strstr(taskring_last_error(), "an error") != NULL);
    STATUS(TASKRING_CANCELLED, taskring_result(cancelled.pool, cancelled.ticket, 0, NULL, 0, NULL));
    /* Also when their tickets are used up. */
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[0], NULL, 0));
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[2], NULL, 0));
    for (int i = 0; i < 3; i++)
        OK(taskring_promise_free(promises[i]));
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_free(pool));
}

static void semantics_f9_a_large_result_goes_through(uint32_t kind) {
    enum { LEN = 1 << 20 };
    static uint8_t bytes[LEN];
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future future;
    taskring_promise *promise = new_promise(&future);
    const void *data = NULL;
    size_t len = 0;
    memset(bytes, 7, LEN);
    OK(taskring_promise_set_result(promise, bytes, LEN));
    OK(taskring_promise_free(promise));
    OK(taskring_view(future.pool, future.ticket, SOON, &data, &len));
    CHECK(len == LEN && memcmp(data, bytes, LEN) == 0);
    /* From where it lies to a task. */
    const uint64_t ticket = submit(pool, "echo", data, len);
    OK(taskring_release(future.pool, future.ticket));
    OK(taskring_view(pool, ticket, SOON, &data, &len));
    CHECK(len == LEN && memcmp(data, bytes, LEN) == 0);
    OK(taskring_free(pool));
}

static void semantics_f9_a_promise_that_is_freed_ends_its_future(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future pending, running, released;
    taskring_promise *promise = new_promise(&pending);
    OK(taskring_promise_free(promise));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_free(promise));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_result(promise, NULL, 0));
    STATUS(TASKRING_CANCELLED, taskring_result(pending.pool, pending.ticket, SOON, NULL, 0, NULL));
    promise = new_promise(&running);
    CHECK(may_run(promise) == 1);
    OK(taskring_promise_free(promise));
    STATUS(TASKRING_TASK_FAILED, taskring_result(running.pool, running.ticket, SOON, NULL, 0, NULL));
    promise = new_promise(&released);
    OK(taskring_release(released.pool, released.ticket));
    OK(taskring_promise_set_result(promise, "nobody asks", 11));
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promise, NULL, 0));
    OK(taskring_promise_free(promise));
    OK(taskring_promise_free(NULL));
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_free(pool));
}

static void semantics_f9_misuse_of_a_promise_is_told_and_changes_nothing(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future future;
    taskring_promise *promise = NULL;
    uint32_t word;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_new(NULL, &future));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_new(&promise, NULL));
    promise = new_promise(&future);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_result(promise, NULL, 1));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_error(promise, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_cancel_requested(promise, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_result(NULL, NULL, 0));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_running_or_notify_cancel((taskring_promise *)(void *)pool, NULL));
    CHECK(state(future) == TASKRING_PENDING);
    /* The pool of a promise is for asking only. */
    STATUS(TASKRING_UNSUPPORTED, taskring_free(future.pool));
    STATUS(TASKRING_UNSUPPORTED, taskring_shutdown(future.pool, 1, 1));
    STATUS(TASKRING_UNSUPPORTED, taskring_function(future.pool, "square", &word));
    OK(taskring_promise_set_result(promise, NULL, 0));
    OK(taskring_result(future.pool, future.ticket, SOON, NULL, 0, NULL));
    OK(taskring_promise_free(promise));
    OK(taskring_free(pool));
}

struct racer {
    taskring_promise *promise;
    char byte;
    taskring_status status;
};

static void *complete(void *of) {
    struct racer *it = of;
    it->status = taskring_promise_set_result(it->promise, &it->byte, 1);
    return NULL;
}

static void semantics_f9_of_several_threads_one_completes_a_promise(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    for (int round = 0; round < 20; round++) {
        taskring_future future;
        taskring_promise *promise = new_promise(&future);
        struct racer racers[3];
        pthread_t threads[3];
        char winner = 0, byte = 1;
        for (int i = 0; i < 3; i++) {
            racers[i] = (struct racer){promise, (char)('a' + i), TASKRING_INTERNAL};
            CHECK(pthread_create(&threads[i], NULL, complete, &racers[i]) == 0);
        }
        OK(taskring_result(future.pool, future.ticket, SOON, &byte, 1, NULL));
        for (int i = 0; i < 3; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK(racers[i].status == TASKRING_OK || racers[i].status == TASKRING_INVALID_STATE);
            if (racers[i].status == TASKRING_OK) {
                CHECK(winner == 0);
                winner = racers[i].byte;
            }
        }
        CHECK(winner == byte);
        OK(taskring_promise_free(promise));
    }
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_free(pool));
}

static void called_back(taskring_pool *pool, uint64_t ticket, void *context) {
    char byte = 0;
    OK(taskring_result(pool, ticket, 0, &byte, 1, NULL));
    __atomic_store_n((char *)context, byte, __ATOMIC_RELEASE);
}

static void semantics_f9_promises_and_tasks_are_waited_for_together(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 16);
    taskring_future futures[2], called;
    struct racer racers[2] = {{new_promise(&futures[0]), 'x', TASKRING_INTERNAL}, {new_promise(&called), 'y', TASKRING_INTERNAL}};
    taskring_completions *queue = NULL;
    taskring_completion found;
    pthread_t threads[2];
    uint8_t over[2];
    size_t count = 0;
    char byte = 0;
    futures[1] = (taskring_future){pool, submit_square(pool, 9)};
    OK(taskring_completions_new(&queue));
    for (int i = 0; i < 2; i++)
        OK(taskring_completions_add(queue, futures[i].pool, futures[i].ticket, (uint64_t)i));
    OK(taskring_wait_many(futures, 2, TASKRING_FIRST_COMPLETED, SOON, over, &count));
    CHECK(count == 1 && over[0] == 0 && over[1] == 1);
    OK(taskring_on_done(called.pool, called.ticket, called_back, &byte, NULL));
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, complete, &racers[i]) == 0);
    OK(taskring_wait_many(futures, 2, TASKRING_ALL_COMPLETED, SOON, over, &count));
    CHECK(count == 2);
    for (uint64_t i = 0; i < 2; i++) {
        OK(taskring_completions_next(queue, SOON, &found, 1, &count));
        CHECK(count == 1 && found.user_data == 1 - i);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0 && racers[i].status == TASKRING_OK);
    for (int i = 0; i < 20000 && __atomic_load_n(&byte, __ATOMIC_ACQUIRE) == 0; i++)
        sleep_ms(1);
    CHECK(byte == 'y');
    OK(taskring_completions_free(queue));
    OK(taskring_release(futures[0].pool, futures[0].ticket));
    for (int i = 0; i < 2; i++)
        OK(taskring_promise_free(racers[i].promise));
    OK(taskring_free(pool));
}

static void last_callback(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)pool;
    (void)ticket;
    (void)context;
    sleep_ms(50);
    _exit(6);
}

/* Of a program that this case runs. It ends while one promise is open and the callback of another one is to come. */
static void semantics_f9_the_end_of_the_process_waits_for_callbacks_and_for_no_promise(uint32_t kind) {
    static const char again[] = "TASKRING_TEST_F9";
    taskring_future open, done;
    if (getenv(again) == NULL) {
        CHECK(setenv(again, "1", 1) == 0);
        CHECK(semantics_code(kind, __func__) == 6);
        return;
    }
    make_pool(kind, 1, 16);
    taskring_promise *promise = new_promise(&open);
    OK(taskring_on_done(open.pool, open.ticket, called_back, NULL, NULL));
    CHECK(may_run(promise) == 1);
    promise = new_promise(&done);
    OK(taskring_on_done(done.pool, done.ticket, last_callback, NULL, NULL));
    OK(taskring_promise_set_result(promise, NULL, 0));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_f8_a_promise_is_set_running_once),
    CASE(semantics_f8_a_cancelled_promise_does_not_begin_and_who_waits_has_heard_of_it),
    CASE(semantics_f9_what_is_over_refuses_another_end_and_keeps_its_own),
    CASE(semantics_f9_a_large_result_goes_through),
    CASE(semantics_f9_a_promise_that_is_freed_ends_its_future),
    CASE(semantics_f9_misuse_of_a_promise_is_told_and_changes_nothing),
    CASE(semantics_f9_of_several_threads_one_completes_a_promise),
    CASE(semantics_f9_promises_and_tasks_are_waited_for_together),
    CASE(semantics_f9_the_end_of_the_process_waits_for_callbacks_and_for_no_promise),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
