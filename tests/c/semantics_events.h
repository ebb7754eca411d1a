/* For semantics_events.c: events that tell their number, the tasks that send them, and how they are read. */
#ifndef TASKRING_TESTS_SEMANTICS_EVENTS_H
#define TASKRING_TESTS_SEMANTICS_EVENTS_H

#include "check.h"
#include "semantics_main.h"

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The event of this number: of some length, and unlike all others. */
static size_t event(uint64_t n, uint8_t *into) {
    const size_t len = 8 + (size_t)(n * 7 % 200);
    for (size_t i = 0; i < len; i++)
        into[i] = (uint8_t)((uint8_t)(n >> (i % 8 * 8)) ^ i);
    return len;
}

/* The number of an event, which must be whole. */
static uint64_t number_of(const uint8_t *bytes, size_t len) {
    uint8_t whole[256];
    uint64_t n = 0;
    for (size_t i = 0; i < 8; i++)
        n |= (uint64_t)(uint8_t)(bytes[i] ^ i) << (i * 8);
    CHECK(len == event(n, whole) && memcmp(bytes, whole, len) == 0);
    return n;
}

static taskring_status send_number(uint64_t n) {
    uint8_t bytes[256];
    const size_t len = event(n, bytes);
    return taskring_send_event(bytes, len);
}

/* Sends so many, each as soon as there is room for it. */
static void send_all(uint64_t count) {
    for (uint64_t n = 0; n < count;) {
        const taskring_status status = send_number(n);
        CHECK(status == TASKRING_OK || status == TASKRING_EVENTS_FULL);
        n += status == TASKRING_OK;
    }
}

static uint64_t count_of(taskring_call *call) {
    uint64_t count;
    memcpy(&count, taskring_call_args(call, NULL), sizeof count);
    return count;
}

static int32_t sends(taskring_call *call, void *context) {
    (void)context;
    send_all(count_of(call));
    return 0;
}

/* Says that it has sent all, and runs until it is asked to stop. */
static int32_t sends_and_holds(taskring_call *call, void *context) {
    send_all(count_of(call));
    OK(taskring_report_progress(1, 1));
    return until_asked(call, context);
}

static int32_t sends_for_ever(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    send_all(UINT64_MAX);
    return 0;
}

/* Sends until it is told that there is no room, which it is again at once; when it is asked to stop there is. It gives how many went in before that. */
static int32_t fills(taskring_call *call, void *context) {
    uint8_t most[1000] = {7};
    uint64_t sent = 0;
    while (send_number(sent) == TASKRING_OK)
        sent++;
    STATUS(TASKRING_EVENTS_FULL, taskring_send_event(most, sizeof most));
    CHECK(strstr(taskring_last_error(), "1000 bytes") != NULL && strstr(taskring_last_error(), "16256") != NULL);
    OK(taskring_report_progress(sent, sent));
    CHECK(until_asked(call, context) == 0);
    OK(send_number(0));
    return taskring_call_set_result(call, &sent, sizeof sent);
}

/* One as large as can be, beside one larger by a byte; and one of no bytes. */
static int32_t sends_large(taskring_call *call, void *context) {
    static uint8_t most[TASKRING_EVENT_LEN_MAX + 1];
    (void)call;
    (void)context;
    memset(most, 3, sizeof most);
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_send_event(most, sizeof most));
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_send_event(most, SIZE_MAX));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_send_event(NULL, 1));
    OK(taskring_send_event(NULL, 0));
    while (taskring_send_event(most, sizeof most - 1) != TASKRING_OK)
        sleep_ms(1);
    return 0;
}

/* Two in each attempt; the first one fails, or kills its worker. */
static int32_t sends_twice(taskring_call *call, void *context) {
    const uint32_t attempt = taskring_attempt();
    (void)context;
    for (uint64_t n = 0; n < 2; n++)
        OK(send_number(10 * attempt + n));
    if (attempt == 0 && count_of(call) != 0)
        kill(getpid(), SIGKILL);
    return attempt == 0;
}

/* One, and then the code that it is given. */
static int32_t sends_and_ends(taskring_call *call, void *context) {
    (void)context;
    OK(send_number(7));
    return (int32_t)count_of(call);
}

/* One with the time, when it is asked to stop. */
static int32_t sends_the_time(taskring_call *call, void *context) {
    CHECK(until_asked(call, context) == 0);
    const uint64_t now = now_ns();
    return taskring_send_event(&now, sizeof now) != TASKRING_OK;
}

/* Far more than can be kept, once the ticket is gone; then it makes the file that is named. */
static int32_t sends_to_nobody(taskring_call *call, void *context) {
    static const uint8_t bytes[1000] = {1};
    uint32_t gone = 0;
    (void)context;
    OK(send_number(0));
    /* The rest of the ring; then as often as it is refused, until the ticket is gone; then without end. */
    for (int i = 0; i < 20000 && gone < 1000; i++) {
        const taskring_status status = taskring_send_event(bytes, sizeof bytes);
        CHECK(status == TASKRING_OK || status == TASKRING_EVENTS_FULL);
        gone = status == TASKRING_OK ? gone + 1 : 0;
        if (status != TASKRING_OK)
            sleep_ms(1);
    }
    CHECK(gone == 1000);
    FILE *file = fopen(taskring_call_args(call, NULL), "w");
    CHECK(file != NULL && fclose(file) == 0);
    return 0;
}

/* Sends one, and lets a child of its process try to. */
static int32_t forks_and_sends(taskring_call *call, void *context) {
    int end = 0;
    (void)call;
    (void)context;
    OK(send_number(1));
    const pid_t child = fork();
    if (child == 0)
        _exit(send_number(2) == TASKRING_FORKED ? 7 : 8);
    CHECK(child > 0 && waitpid(child, &end, 0) == child && WIFEXITED(end) && WEXITSTATUS(end) == 7);
    return 0;
}

static taskring_status next_number(taskring_pool *pool, uint64_t ticket, uint64_t timeout_ns, uint64_t *n) {
    uint8_t bytes[TASKRING_EVENT_LEN_MAX];
    size_t len = 0;
    const taskring_status status = taskring_next_event(pool, ticket, timeout_ns, bytes, sizeof bytes, &len);
    if (status == TASKRING_OK)
        *n = number_of(bytes, len);
    return status;
}

static void expect(taskring_pool *pool, uint64_t ticket, uint64_t n) {
    uint64_t found = UINT64_MAX;
    OK(next_number(pool, ticket, SOON, &found));
    CHECK(found == n);
}

/* Reads all until the task is over; how many it was, each in its turn. */
static uint64_t read_from(taskring_pool *pool, uint64_t ticket, uint64_t first) {
    uint64_t n = first, found;
    taskring_status status;
    while ((status = next_number(pool, ticket, TASKRING_INFINITE, &found)) == TASKRING_OK)
        CHECK(found == n++);
    CHECK(status == TASKRING_END);
    STATUS(TASKRING_END, next_number(pool, ticket, 0, &found));
    return n - first;
}

/* Waits until a task says that it has come so far. */
static uint64_t until_told(taskring_pool *pool, uint64_t ticket) {
    uint64_t done = 0;
    for (int i = 0; i < 20000 && taskring_progress(pool, ticket, &done, NULL) != TASKRING_OK; i++)
        sleep_ms(1);
    CHECK(done != 0);
    return done;
}

static uint64_t submit_count(taskring_pool *pool, const char *name, uint64_t count) { return submit(pool, name, &count, sizeof count); }

/* Reads the events of another task of its pool, without a limit or with one for each. */
static int32_t reads_another(taskring_call *call, void *context) {
    const uint64_t *args = taskring_call_args(call, NULL), count = args[0], limit = args[1];
    taskring_pool *own = NULL;
    uint64_t n, found;
    (void)context;
    OK(taskring_current_pool(&own));
    const uint64_t other = submit_count(own, "sends", count);
    for (n = 0; n < count; n++) {
        OK(next_number(own, other, limit, &found));
        CHECK(found == n);
    }
    STATUS(TASKRING_END, next_number(own, other, limit, &found));
    OK(taskring_result(own, other, SOON, NULL, 0, NULL));
    OK(taskring_free(own));
    return taskring_call_set_result(call, &n, sizeof n);
}

/* Makes the functions above known, each by its own name. */
static void register_senders(void) {
#define NAMED(code) {#code, code}
    static const struct {
        const char *name;
        taskring_task code;
    } functions[] = {
        NAMED(sends),          NAMED(sends_and_holds), NAMED(sends_for_ever),  NAMED(fills),         NAMED(sends_large), NAMED(sends_twice),
        NAMED(sends_and_ends), NAMED(sends_the_time),  NAMED(sends_to_nobody), NAMED(forks_and_sends), NAMED(reads_another),
    };
#undef NAMED
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        OK(taskring_register(functions[i].name, functions[i].code, NULL, NULL));
}

#endif
