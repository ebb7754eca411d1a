/* Arguments filled in place, results read in place, outcomes without taking them, names, versions, and the log. */
#include "check.h"

static taskring_stats look(taskring_pool *pool) {
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    return stats;
}

static void fill(unsigned char *bytes, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(i * 13 + seed);
}

static void check_filled(const unsigned char *bytes, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        CHECK(bytes[i] == (unsigned char)(i * 13 + seed));
}

static void there_and_back(taskring_pool *pool) {
    static const size_t sizes[] = {0, 1, 40, 100, 5000, 3 << 20};
    uint32_t echo_number = function(pool, "echo"), blocks = look(pool).blocks;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t loan = 0, ticket = 0;
        void *data = NULL;
        const void *result = NULL, *again = NULL;
        size_t len = 99;
        OK(taskring_loan(pool, sizes[i], &loan, &data));
        CHECK(loan != 0 && data != NULL && (uintptr_t)data % 16 == 0 && look(pool).loans == 1);
        fill(data, sizes[i], i);
        OK(taskring_submit_loan(pool, echo_number, loan, sizes[i], NULL, TASKRING_INFINITE, &ticket));
        CHECK(look(pool).loans == 0);
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_loan_return(pool, loan));
        OK(taskring_view(pool, ticket, SOON, &result, &len));
        CHECK(len == sizes[i] && (uintptr_t)result % 16 == 0);
        check_filled(result, len, i);
        /* It stays while other tasks come and go, also when the ring is full of them. */
        uint64_t many[200], y;
        for (uint64_t x = 0; x < 200; x++)
            many[x] = submit(pool, "square", &x, sizeof x);
        for (uint64_t x = 0; x < 200; x++) {
            OK(taskring_result(pool, many[x], SOON, &y, sizeof y, NULL));
            CHECK(y == x * x);
        }
        OK(taskring_view(pool, ticket, 0, &again, &len));
        CHECK(again == result && look(pool).unreleased == 1);
        check_filled(result, len, i);
        if (i % 2 == 0) {
            OK(taskring_release(pool, ticket));
        } else {
            unsigned char *copy = malloc(sizes[i]);
            CHECK(copy != NULL);
            OK(taskring_result(pool, ticket, 0, copy, sizes[i], &len));
            check_filled(copy, len, i);
            free(copy);
        }
        STATUS(TASKRING_STALE, taskring_view(pool, ticket, 0, &result, &len));
        CHECK(look(pool).unreleased == 0);
    }
    CHECK(look(pool).blocks == blocks);
}

static void full_and_refused(void) {
    taskring_pool *pool = make_limited(TASKRING_THREAD, 1, 2, 64 << 20);
    uint32_t echo_number = function(pool, "echo");
    uint64_t hold = submit(pool, "until_asked", NULL, 0), other = submit(pool, "square", "12345678", 8), loan = 0, ticket = 5;
    void *data = NULL;
    const void *result = NULL;
    size_t len = 0;
    until_state(pool, hold, TASKRING_RUNNING);
    OK(taskring_loan(pool, 1000, &loan, &data));
    fill(data, 1000, 3);
    /* What is not submitted stays lent, and keeps its bytes. */
    STATUS(TASKRING_FULL, taskring_submit_loan(pool, echo_number, loan, 1000, NULL, 0, &ticket));
    STATUS(TASKRING_TIMED_OUT, taskring_submit_loan(pool, echo_number, loan, 1000, NULL, 5 * MS, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_loan(pool, echo_number, loan, 1001, NULL, 0, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_loan(pool, 0, loan, 1000, NULL, 0, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_loan(pool, echo_number, loan + 1, 1000, NULL, 0, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_loan(pool, echo_number, loan, 1000, NULL, 0, NULL));
    CHECK(ticket == 5 && look(pool).loans == 1);
    OK(taskring_cancel(pool, hold, NULL));
    OK(taskring_submit_loan(pool, echo_number, loan, 600, NULL, SOON, &ticket));
    OK(taskring_view(pool, ticket, SOON, &result, &len));
    CHECK(len == 600);
    check_filled(result, len, 3);
    OK(taskring_release(pool, ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_view(pool, hold, 0, NULL, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_view(pool, hold, 0, &result, NULL));
    OK(taskring_release(pool, hold));
    OK(taskring_release(pool, other));
    OK(taskring_loan(pool, 10, &loan, &data));
    OK(taskring_loan_return(pool, loan));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_loan_return(pool, loan));
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_loan(pool, SIZE_MAX, &loan, &data));
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_loan(pool, 65 << 20, &loan, &data));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_loan(NULL, 1, &loan, &data));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_loan(pool, 1, NULL, &data));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_loan(pool, 1, &loan, NULL));
    /* Loans and views end with the pool. */
    OK(taskring_loan(pool, 10, &loan, &data));
    ticket = submit(pool, "echo", data, 10);
    OK(taskring_view(pool, ticket, SOON, &result, &len));
    OK(taskring_free(pool));
}

/* Memory that is lent is missing elsewhere, and comes back. */
static void used_up(void) {
    taskring_pool *pool = make_limited(TASKRING_THREAD, 1, 64, 64 << 20);
    uint64_t loans[64], loan = 0;
    void *data = NULL;
    int count = 0;
    while (count < 64 && taskring_loan(pool, 2 << 20, &loans[count], &data) == TASKRING_OK)
        count++;
    CHECK(count == 32);
    STATUS(TASKRING_OUT_OF_MEMORY, taskring_loan(pool, 2 << 20, &loan, &data));
    for (int i = 0; i < count; i++)
        OK(taskring_loan_return(pool, loans[i]));
    OK(taskring_loan(pool, 2 << 20, &loan, &data));
    OK(taskring_free(pool));
}

static void outcomes(taskring_pool *pool, int processes) {
    taskring_status end = 77;
    uint64_t y = 0, ticket = submit(pool, "fail_code", NULL, 0);
    const void *data = NULL;
    size_t len = 0;
    for (int i = 0; i < 2; i++) {
        OK(taskring_outcome(pool, ticket, SOON, &end));
        CHECK(end == TASKRING_TASK_FAILED && strcmp(taskring_last_error(), "the function returned 42") == 0);
    }
    STATUS(TASKRING_TASK_FAILED, taskring_view(pool, ticket, 0, &data, &len));
    STATUS(TASKRING_STALE, taskring_outcome(pool, ticket, 0, &end));
    /* The middle of its own room as the result; and more than there is. */
    char shrunk[8];
    ticket = submit(pool, "shrink", NULL, 0);
    OK(taskring_result(pool, ticket, SOON, shrunk, sizeof shrunk, &len));
    CHECK(len == 4 && memcmp(shrunk, "cdef", 4) == 0);
    ticket = submit(pool, "square", "\3\0\0\0\0\0\0", 8);
    OK(taskring_outcome(pool, ticket, SOON, &end));
    CHECK(end == TASKRING_OK);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_outcome(pool, ticket, 0, NULL));
    OK(taskring_result(pool, ticket, 0, &y, sizeof y, NULL));
    CHECK(y == 9);
    ticket = submit(pool, "until_asked", NULL, 0);
    STATUS(TASKRING_TIMED_OUT, taskring_outcome(pool, ticket, 5 * MS, &end));
    OK(taskring_cancel(pool, ticket, NULL));
    OK(taskring_release(pool, ticket));
    if (processes) {
        taskring_loss loss = {0, 0, 0, 0};
        ticket = submit(pool, "die", NULL, 0);
        OK(taskring_outcome(pool, ticket, SOON, &end));
        CHECK(end == TASKRING_WORKER_LOST);
        OK(taskring_last_loss(&loss));
        CHECK(loss.signal == SIGKILL && loss.pid != 0);
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, ticket, 0, NULL, 0, NULL));
    }
}

static void names(taskring_pool *pool) {
    uint64_t x = 11, ticket = 0, y = 0;
    OK(taskring_submit_named(pool, "square", &x, sizeof x, NULL, TASKRING_INFINITE, &ticket));
    OK(taskring_result(pool, ticket, SOON, &y, sizeof y, NULL));
    CHECK(y == 121);
    ticket = 3;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_submit_named(pool, "no such", &x, sizeof x, NULL, 0, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_named(pool, NULL, &x, sizeof x, NULL, 0, &ticket));
    CHECK(ticket == 3);
}

static void versions(void) {
    OK(taskring_check_version(TASKRING_VERSION));
    OK(taskring_check_version(TASKRING_VERSION + 1));
    STATUS(TASKRING_INCOMPATIBLE, taskring_check_version(TASKRING_VERSION + 0x100));
    CHECK(strstr(taskring_last_error(), "0.2.0") != NULL && strstr(taskring_last_error(), "0.1.0") != NULL);
    STATUS(TASKRING_INCOMPATIBLE, taskring_check_version(0x010000));
}

/* A submitter that frees its pool and leaves tickets behind leaves nothing else: who attaches after it has the whole lane. */
static void freed_with_tickets(void) {
    char name[32];
    taskring_pool *pool = NULL, *guest = NULL;
    taskring_config config = TASKRING_CONFIG_INIT;
    config.workers = 1;
    config.capacity = 8;
    snprintf(name, sizeof name, "freed-%d", (int)getpid());
    OK(taskring_create_named(&config, name, &pool));
    static const char bytes[500];
    for (int round = 0; round < 3; round++) {
        uint64_t tickets[8];
        OK(taskring_attach(name, &guest));
        for (int i = 0; i < 8; i++) {
            OK(taskring_submit_named(guest, "echo", bytes, sizeof bytes, NULL, SOON, &tickets[i]));
            OK(taskring_wait(guest, tickets[i], SOON));
        }
        OK(taskring_free(guest));
        CHECK(look(pool).blocks == 0);
    }
    OK(taskring_free(pool));
}

/* A submitter that is killed holds nothing any more: neither what was lent to it nor what it looked at. */
static void killed_with_loans(void) {
    char name[32];
    int ready[2];
    taskring_pool *pool = NULL;
    taskring_config config = TASKRING_CONFIG_INIT;
    config.workers = 1;
    config.capacity = 64;
    snprintf(name, sizeof name, "loans-%d", (int)getpid());
    OK(taskring_create_named(&config, name, &pool));
    CHECK(square_in(pool, 2) == 4 && look(pool).blocks == 0 && pipe(ready) == 0);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        taskring_pool *guest = NULL;
        uint64_t loan = 0, ticket = 0;
        void *data = NULL;
        const void *result = NULL;
        size_t len = 0;
        OK(taskring_attach(name, &guest));
        for (int i = 0; i < 5; i++)
            OK(taskring_loan(guest, 100000, &loan, &data));
        OK(taskring_submit_loan(guest, function(guest, "echo"), loan, 100000, NULL, SOON, &ticket));
        OK(taskring_view(guest, ticket, SOON, &result, &len));
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1 && look(pool).blocks == 5);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    for (int i = 0; i < 20000 && look(pool).blocks != 0; i++)
        sleep_ms(1);
    CHECK(look(pool).blocks == 0 && square_in(pool, 3) == 9);
    close(ready[0]);
    close(ready[1]);
    OK(taskring_free(pool));
}

static int warned, forgotten;
static void logger(uint32_t level, const char *message, void *context) {
    CHECK(context == &warned && level >= TASKRING_LOG_ERROR && level <= TASKRING_LOG_WARN);
    if (strstr(message, "signal 9") != NULL && strstr(message, "worker") != NULL)
        __atomic_fetch_add(&warned, 1, __ATOMIC_SEQ_CST);
}

static void forget(void *context) {
    (void)context;
    forgotten++;
}

static void the_log(void) {
    OK(taskring_set_log(TASKRING_LOG_WARN, logger, &warned, forget));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_log(9, logger, &warned, forget));
    CHECK(forgotten == 1);
    taskring_pool *pool = make_limited(TASKRING_SPAWN, 1, 64, 64 << 20);
    uint64_t ticket = submit(pool, "die", NULL, 0);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    for (int i = 0; i < 20000 && __atomic_load_n(&warned, __ATOMIC_SEQ_CST) == 0; i++)
        sleep_ms(1);
    CHECK(__atomic_load_n(&warned, __ATOMIC_SEQ_CST) == 1);
    OK(taskring_set_log(0, NULL, NULL, NULL));
    CHECK(forgotten == 2);
    ticket = submit(pool, "die", NULL, 0);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    CHECK(square_in(pool, 3) == 9);
    OK(taskring_free(pool));
    CHECK(warned == 1);
}

static int32_t shrink(taskring_call *call, void *context) {
    (void)context;
    char *room = taskring_call_result(call, 10);
    memcpy(room, "abcdefghij", 10);
    if (taskring_call_set_result(call, room + 5, 6) != TASKRING_INVALID_ARGUMENT)
        return 1;
    return taskring_call_set_result(call, room + 2, 4);
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("shrink", shrink, NULL, NULL));
    OK(taskring_init(argc, argv));
    int processes = argc > 1 && strcmp(argv[1], "spawn") == 0;
    taskring_pool *pool = make_limited(processes ? TASKRING_SPAWN : TASKRING_THREAD, 2, 64, 64 << 20);
    there_and_back(pool);
    outcomes(pool, processes);
    names(pool);
    OK(taskring_free(pool));
    full_and_refused();
    used_up();
    versions();
    if (processes) {
        freed_with_tickets();
        killed_with_loans();
        the_log();
    }
    puts("ok");
    return 0;
}
