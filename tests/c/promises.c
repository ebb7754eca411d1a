/* Promises: every way to complete one, and waits that take promises and tasks together: promises METHOD. */
#include "check.h"
#include <pthread.h>

static taskring_promise *new_promise(taskring_future *future) {
    taskring_promise *promise = NULL;
    OK(taskring_promise_new(&promise, future));
    return promise;
}

static uint32_t state_of(taskring_future future) {
    uint32_t state = 0;
    OK(taskring_state(future.pool, future.ticket, &state));
    return state;
}

static void ends(void) {
    taskring_future good, bad, cancelled;
    taskring_promise *promises[] = {new_promise(&good), new_promise(&bad), new_promise(&cancelled)};
    uint32_t word = 7;
    char text[8];
    size_t len = 0;
    CHECK(state_of(good) == TASKRING_PENDING);
    OK(taskring_promise_set_running_or_notify_cancel(promises[0], &word));
    CHECK(word == 1 && state_of(good) == TASKRING_RUNNING);
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_running_or_notify_cancel(promises[0], &word));
    OK(taskring_promise_cancel_requested(promises[0], &word));
    CHECK(word == 0);
    OK(taskring_cancel(good.pool, good.ticket, &word));
    CHECK(word == 0);
    OK(taskring_promise_cancel_requested(promises[0], &word));
    CHECK(word == 1);
    OK(taskring_promise_set_result(promises[0], "result", 6));
    OK(taskring_promise_set_error(promises[1], "an error"));
    OK(taskring_cancel(cancelled.pool, cancelled.ticket, &word));
    CHECK(word == 1);
    OK(taskring_promise_set_running_or_notify_cancel(promises[2], &word));
    CHECK(word == 0);
    for (int i = 0; i < 3; i++) {
        STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[i], "late", 4));
        CHECK(strstr(taskring_last_error(), i == 2 ? "cancelled" : "done") != NULL);
        STATUS(TASKRING_INVALID_STATE, taskring_promise_set_error(promises[i], "late"));
    }
    OK(taskring_result(good.pool, good.ticket, SOON, text, sizeof text, &len));
    CHECK(len == 6 && memcmp(text, "result", 6) == 0);
    STATUS(TASKRING_TASK_FAILED, taskring_result(bad.pool, bad.ticket, SOON, NULL, 0, NULL));
    CHECK(strstr(taskring_last_error(), "an error") != NULL);
    STATUS(TASKRING_CANCELLED, taskring_result(cancelled.pool, cancelled.ticket, SOON, NULL, 0, NULL));
    /* Their tickets are used up. */
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[0], NULL, 0));
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promises[2], NULL, 0));
    for (int i = 0; i < 3; i++)
        OK(taskring_promise_free(promises[i]));
}

static void large(void) {
    enum { LEN = 1 << 20 };
    static uint8_t bytes[LEN];
    taskring_future future;
    taskring_promise *promise = new_promise(&future);
    const void *data = NULL;
    size_t len = 0;
    memset(bytes, 7, LEN);
    OK(taskring_promise_set_result(promise, bytes, LEN));
    OK(taskring_promise_free(promise));
    OK(taskring_view(future.pool, future.ticket, SOON, &data, &len));
    CHECK(len == LEN && memcmp(data, bytes, LEN) == 0);
    OK(taskring_release(future.pool, future.ticket));
}

static void freed(void) {
    taskring_future pending, running, released;
    taskring_promise *promise = new_promise(&pending);
    OK(taskring_promise_free(promise));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_free(promise));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_result(promise, NULL, 0));
    STATUS(TASKRING_CANCELLED, taskring_result(pending.pool, pending.ticket, SOON, NULL, 0, NULL));
    promise = new_promise(&running);
    OK(taskring_promise_set_running_or_notify_cancel(promise, NULL));
    OK(taskring_promise_free(promise));
    STATUS(TASKRING_TASK_FAILED, taskring_result(running.pool, running.ticket, SOON, NULL, 0, NULL));
    promise = new_promise(&released);
    OK(taskring_release(released.pool, released.ticket));
    OK(taskring_promise_set_result(promise, "nobody asks", 11));
    STATUS(TASKRING_INVALID_STATE, taskring_promise_set_result(promise, NULL, 0));
    OK(taskring_promise_free(promise));
    OK(taskring_promise_free(NULL));
}

static void misused(void) {
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
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_promise_set_running_or_notify_cancel((taskring_promise *)(void *)future.pool, NULL));
    CHECK(state_of(future) == TASKRING_PENDING);
    /* The pool is for asking only. */
    STATUS(TASKRING_UNSUPPORTED, taskring_free(future.pool));
    STATUS(TASKRING_UNSUPPORTED, taskring_shutdown(future.pool, 1, 1));
    STATUS(TASKRING_UNSUPPORTED, taskring_function(future.pool, "square", &word));
    OK(taskring_promise_set_result(promise, NULL, 0));
    OK(taskring_result(future.pool, future.ticket, SOON, NULL, 0, NULL));
    OK(taskring_promise_free(promise));
}

static void *complete(void *promise) {
    OK(taskring_promise_set_result(promise, "x", 1));
    return NULL;
}

static void called_back(taskring_pool *pool, uint64_t ticket, void *context) {
    char byte = 0;
    OK(taskring_result(pool, ticket, 0, &byte, 1, NULL));
    __atomic_store_n((char *)context, byte, __ATOMIC_SEQ_CST);
}

static void together(uint32_t method) {
    taskring_pool *pool = make_limited(method, 1, 16, 0);
    taskring_future futures[2], called;
    taskring_promise *promise = new_promise(&futures[0]), *other = new_promise(&called);
    taskring_completions *queue = NULL;
    taskring_completion found[2];
    pthread_t threads[2];
    uint64_t x = 9;
    uint8_t over[2];
    size_t count = 0;
    static char byte;
    futures[1].pool = pool;
    OK(taskring_submit_named(pool, "square", &x, sizeof x, NULL, TASKRING_INFINITE, &futures[1].ticket));
    OK(taskring_completions_new(&queue));
    for (int i = 0; i < 2; i++)
        OK(taskring_completions_add(queue, futures[i].pool, futures[i].ticket, (uint64_t)i));
    OK(taskring_wait_many(futures, 2, TASKRING_FIRST_COMPLETED, SOON, over, &count));
    CHECK(count == 1 && over[0] == 0 && over[1] == 1);
    byte = 0;
    OK(taskring_on_done(called.pool, called.ticket, called_back, &byte, NULL));
    CHECK(pthread_create(&threads[0], NULL, complete, promise) == 0 && pthread_create(&threads[1], NULL, complete, other) == 0);
    OK(taskring_wait_many(futures, 2, TASKRING_ALL_COMPLETED, SOON, over, &count));
    CHECK(count == 2);
    for (uint64_t i = 0; i < 2; i++) {
        OK(taskring_completions_next(queue, SOON, found, 1, &count));
        CHECK(count == 1 && found[0].user_data == 1 - i);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 20000 && __atomic_load_n(&byte, __ATOMIC_SEQ_CST) == 0; i++)
        sleep_ms(1);
    CHECK(byte == 'x');
    OK(taskring_completions_free(queue));
    OK(taskring_release(futures[0].pool, futures[0].ticket));
    OK(taskring_promise_free(promise));
    OK(taskring_promise_free(other));
    OK(taskring_free(pool));
}

static void last_callback(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)pool;
    (void)ticket;
    (void)context;
    sleep_ms(200);
    puts("ok");
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    taskring_future left;
    register_all();
    OK(taskring_init(argc, argv));
    ends();
    large();
    freed();
    misused();
    together(argc > 1 && strcmp(argv[1], "spawn") == 0 ? TASKRING_SPAWN : TASKRING_THREAD);
    /* The end of the process does not wait for this one, and for the callback of the next. */
    taskring_promise *promise = new_promise(&left);
    OK(taskring_on_done(left.pool, left.ticket, called_back, NULL, NULL));
    OK(taskring_promise_set_running_or_notify_cancel(promise, NULL));
    promise = new_promise(&left);
    OK(taskring_on_done(left.pool, left.ticket, last_callback, NULL, NULL));
    OK(taskring_promise_set_result(promise, NULL, 0));
    return 3;
}
