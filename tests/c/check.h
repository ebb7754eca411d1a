/* What the C tests share: a check that names its line, and task functions that every program of theirs registers. */
#ifndef TASKRING_TESTS_CHECK_H
#define TASKRING_TESTS_CHECK_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <taskring.h>

#define MS UINT64_C(1000000)
#define SOON (20000 * MS)

#define CHECK(condition)                                                                                         \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            fprintf(stderr, "%s:%d: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, taskring_last_error()); \
            exit(1);                                                                                             \
        }                                                                                                        \
    } while (0)

/* The call must return this status. */
#define STATUS(wanted, call)                                                                                     \
    do {                                                                                                         \
        taskring_status status_ = (call);                                                                        \
        if (status_ != (wanted)) {                                                                               \
            fprintf(stderr, "%s:%d: %s\n  is %s, wanted %s; last error: %s\n", __FILE__, __LINE__, #call,          \
                    taskring_status_name(status_), taskring_status_name(wanted), taskring_last_error());         \
            exit(1);                                                                                             \
        }                                                                                                        \
    } while (0)

#define OK(call) STATUS(TASKRING_OK, call)

static inline void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static inline int32_t square(taskring_call *call, void *context) {
    uint64_t x;
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    if (len != sizeof x) {
        taskring_call_fail(call, "square wants eight bytes");
        return 1;
    }
    memcpy(&x, args, sizeof x);
    x *= x;
    return taskring_call_set_result(call, &x, sizeof x);
}

static inline int32_t echo(taskring_call *call, void *context) {
    size_t len;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    void *result = taskring_call_result(call, len);
    if (result == NULL)
        return 1;
    if (len != 0)
        memcpy(result, args, len);
    return 0;
}

/* Waits until it is asked to stop, at most 20 s. */
static inline int32_t until_asked(taskring_call *call, void *context) {
    (void)context;
    for (int i = 0; i < 20000; i++) {
        if (taskring_cancel_requested())
            return taskring_call_set_result(call, "asked", 5);
        sleep_ms(1);
    }
    return 1;
}

static inline int32_t nap(taskring_call *call, void *context) {
    uint32_t ms = 0;
    (void)context;
    memcpy(&ms, taskring_call_args(call, NULL), sizeof ms);
    sleep_ms((long)ms);
    return 0;
}

static inline int32_t fail_code(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    return 42;
}

static inline int32_t die(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    kill(getpid(), SIGKILL);
    return 0;
}

/* Dies in its first attempt. */
static inline int32_t die_once(taskring_call *call, void *context) {
    uint32_t attempt = taskring_attempt();
    (void)context;
    if (attempt == 0)
        kill(getpid(), SIGKILL);
    return taskring_call_set_result(call, &attempt, sizeof attempt);
}

static inline int32_t ticket_of(taskring_call *call, void *context) {
    uint64_t ticket = taskring_task_ticket();
    (void)context;
    return taskring_call_set_result(call, &ticket, sizeof ticket);
}

static inline int32_t add_context(taskring_call *call, void *context) {
    uint64_t sum = *(uint64_t *)context + 1;
    return taskring_call_set_result(call, &sum, sizeof sum);
}

static uint64_t forty_one = 41;

static inline void register_all(void) {
    OK(taskring_register("square", square, NULL, NULL));
    OK(taskring_register("echo", echo, NULL, NULL));
    OK(taskring_register("until_asked", until_asked, NULL, NULL));
    OK(taskring_register("nap", nap, NULL, NULL));
    OK(taskring_register("fail_code", fail_code, NULL, NULL));
    OK(taskring_register("die", die, NULL, NULL));
    OK(taskring_register("die_once", die_once, NULL, NULL));
    OK(taskring_register("ticket_of", ticket_of, NULL, NULL));
    OK(taskring_register("add_context", add_context, &forty_one, NULL));
}

/* A pool with this much payload memory; 0 is the default. */
static inline taskring_pool *make_limited(uint32_t method, uint32_t workers, uint32_t capacity, uint64_t payload_max) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = method;
    config.workers = workers;
    config.capacity = capacity;
    config.payload_max = payload_max;
    OK(taskring_create(&config, &pool));
    return pool;
}

static inline taskring_pool *make_pool(uint32_t method, uint32_t workers, uint32_t capacity) {
    return make_limited(method, workers, capacity, 0);
}

static inline uint32_t function(taskring_pool *pool, const char *name) {
    uint32_t number = 0;
    OK(taskring_function(pool, name, &number));
    CHECK(number != 0);
    return number;
}

static inline uint64_t submit(taskring_pool *pool, const char *name, const void *args, size_t len) {
    uint64_t ticket = 0;
    OK(taskring_submit(pool, function(pool, name), args, len, NULL, &ticket));
    CHECK(ticket != 0);
    return ticket;
}

static inline uint64_t square_in(taskring_pool *pool, uint64_t x) {
    uint64_t ticket = submit(pool, "square", &x, sizeof x), y = 0;
    size_t len = 0;
    OK(taskring_result(pool, ticket, SOON, &y, sizeof y, &len));
    CHECK(len == sizeof y);
    return y;
}

static inline void until_state(taskring_pool *pool, uint64_t ticket, uint32_t wanted) {
    for (int i = 0; i < 20000; i++) {
        uint32_t state = 0;
        OK(taskring_state(pool, ticket, &state));
        if (state == wanted)
            return;
        sleep_ms(1);
    }
    CHECK(!"the state came");
}

#endif
