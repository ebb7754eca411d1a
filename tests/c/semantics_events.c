/* Row B12 of the contract in C: the events of a task, each of which is kept until it is read. */
#include "semantics_events.h"
#include <pthread.h>

static void semantics_b12_events_come_whole_in_order_and_none_is_left_out(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    /* Several times what is kept at a time. */
    const uint64_t first = submit_count(pool, "sends", 3000), second = submit_count(pool, "sends", 2000);
    CHECK(read_from(pool, first, 0) == 3000 && read_from(pool, second, 0) == 2000);
    OK(taskring_result(pool, first, SOON, NULL, 0, NULL));
    OK(taskring_result(pool, second, SOON, NULL, 0, NULL));
    const uint64_t silent = submit_square(pool, 3);
    CHECK(read_from(pool, silent, 0) == 0);
    OK(taskring_free(pool));
}

static void semantics_b12_a_task_without_room_is_told_and_nothing_is_lost(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t full = submit(pool, "fills", NULL, 0), sent = until_told(pool, full);
    uint64_t given = 0, n;
    CHECK(sent > 100);
    expect(pool, full, 0);
    expect(pool, full, 1);
    OK(taskring_cancel(pool, full, NULL));
    for (n = 2; n < sent; n++)
        expect(pool, full, n);
    expect(pool, full, 0);
    STATUS(TASKRING_END, next_number(pool, full, SOON, &n));
    OK(taskring_result(pool, full, SOON, &given, sizeof given, NULL));
    CHECK(given == sent);
    static uint8_t most[TASKRING_EVENT_LEN_MAX];
    size_t len = 7;
    const uint64_t large = submit(pool, "sends_large", NULL, 0);
    OK(taskring_next_event(pool, large, SOON, NULL, 0, &len));
    CHECK(len == 0);
    OK(taskring_next_event(pool, large, SOON, most, sizeof most, &len));
    CHECK(len == sizeof most && most[0] == 3 && most[sizeof most - 1] == 3);
    OK(taskring_result(pool, large, SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

static void semantics_b12_a_buffer_that_is_too_small_leaves_the_event(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    uint8_t bytes[256] = {0};
    size_t len = 7;
    const uint64_t ticket = submit_count(pool, "sends_and_holds", 3);
    for (int round = 0; round < 2; round++) {
        /* The ones of numbers 1 and 2 have 15 bytes and 22. In the second round the task is over. */
        expect(pool, ticket, (uint64_t)round);
        if (round == 1) {
            OK(taskring_cancel(pool, ticket, NULL));
            OK(taskring_wait(pool, ticket, SOON));
        }
        const size_t wanted = event((uint64_t)round + 1, bytes);
        memset(bytes, 0, sizeof bytes);
        STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_next_event(pool, ticket, SOON, NULL, 0, &len));
        CHECK(len == wanted && strstr(taskring_last_error(), round == 0 ? "15" : "22") != NULL);
        STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_next_event(pool, ticket, 0, bytes, wanted - 1, NULL));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(pool, ticket, 0, NULL, wanted, &len));
        CHECK(bytes[0] == 0 && bytes[1] == 0);
        if (round == 0)
            continue;
        OK(taskring_next_event(pool, ticket, 0, bytes, wanted, &len));
        CHECK(number_of(bytes, len) == 2);
    }
    OK(taskring_result(pool, ticket, SOON, bytes, sizeof bytes, NULL));
    STATUS(TASKRING_STALE, taskring_next_event(pool, ticket, 0, bytes, sizeof bytes, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(NULL, ticket, 0, bytes, sizeof bytes, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(pool, 0, 0, bytes, sizeof bytes, &len));
    OK(taskring_free(pool));
}

static void semantics_b12_what_was_sent_before_a_death_is_all_read(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t held = submit_count(pool, "sends_and_holds", 40);
    char answer[5];
    uint32_t pid = 0;
    until_told(pool, held);
    if (in_threads(kind)) {
        OK(taskring_cancel(pool, held, NULL));
        CHECK(read_from(pool, held, 0) == 40);
        OK(taskring_result(pool, held, SOON, answer, sizeof answer, NULL));
        OK(taskring_free(pool));
        return;
    }
    OK(taskring_worker_pid(pool, held, &pid));
    CHECK(kill((pid_t)pid, SIGKILL) == 0 && read_from(pool, held, 0) == 40);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, held, SOON, NULL, 0, NULL));
    /* In the middle of one, most likely. */
    for (uint64_t round = 1; round <= 5; round++) {
        const uint64_t sending = submit(pool, "sends_for_ever", NULL, 0);
        for (uint64_t n = 0; n < 100 * round; n++)
            expect(pool, sending, n);
        OK(taskring_worker_pid(pool, sending, &pid));
        CHECK(kill((pid_t)pid, SIGKILL) == 0);
        read_from(pool, sending, 100 * round);
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, sending, SOON, NULL, 0, NULL));
    }
    OK(taskring_free(pool));
}

static void semantics_b12_a_further_attempt_sends_behind_the_one_before(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    static const uint64_t wanted[] = {0, 1, 10, 11};
    for (uint64_t kills = 0; kills < (in_threads(kind) ? 1 : 2); kills++) {
        taskring_options options = TASKRING_OPTIONS_INIT;
        uint64_t ticket = 0;
        if (kills == 0)
            options.retry.attempts = 2;
        else
            options.flags = TASKRING_IDEMPOTENT;
        OK(taskring_submit(pool, function(pool, "sends_twice"), &kills, sizeof kills, &options, &ticket));
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            expect(pool, ticket, wanted[i]);
        CHECK(read_from(pool, ticket, 0) == 0);
        OK(taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    }
    OK(taskring_free(pool));
}

static void semantics_b12_events_stay_until_their_ticket_is_used_up(uint32_t kind) {
    enum { MANY = 12 };
    taskring_pool *pool = make_pool(kind, 1, 4);
    uint64_t tickets[MANY], found, failed = submit_count(pool, "sends_and_ends", 5);
    taskring_status how = TASKRING_OK;
    const void *data = NULL;
    size_t len = 7;
    /* More than there are slots: those that are over are collected for the room. */
    for (uint64_t i = 0; i < MANY; i++)
        tickets[i] = submit_count(pool, "sends", i + 2);
    for (size_t i = 0; i < MANY; i++) {
        OK(taskring_wait(pool, tickets[i], SOON));
        OK(taskring_peek(pool, tickets[i], 0, NULL, 0, NULL));
        OK(taskring_view(pool, tickets[i], 0, &data, &len));
        CHECK(len == 0);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_next_event(pool, tickets[i], TASKRING_INFINITE, NULL, 0, &len));
        CHECK(len == 8);
        expect(pool, tickets[i], 0);
        if (i % 3 == 0)
            CHECK(read_from(pool, tickets[i], 1) == i + 1);
        if (i % 3 == 1)
            OK(taskring_release(pool, tickets[i]));
        else
            OK(taskring_result(pool, tickets[i], 0, NULL, 0, NULL));
        STATUS(TASKRING_STALE, next_number(pool, tickets[i], TASKRING_INFINITE, &found));
    }
    OK(taskring_outcome(pool, failed, SOON, &how));
    CHECK(how == TASKRING_TASK_FAILED);
    expect(pool, failed, 7);
    STATUS(TASKRING_TASK_FAILED, taskring_view(pool, failed, 0, &data, &len));
    STATUS(TASKRING_STALE, next_number(pool, failed, 0, &found));
    OK(taskring_free(pool));
}

/* What a callback has read, and how many were called. */
struct called {
    uint64_t read, times;
};

static void reads_one(taskring_pool *pool, uint64_t ticket, void *context) {
    struct called *called = context;
    OK(next_number(pool, ticket, 0, &called->read));
    __atomic_fetch_add(&called->times, 1, __ATOMIC_RELEASE);
}

static void semantics_b12_a_callback_reads_the_same_events(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t ticket = submit_count(pool, "sends_and_holds", 20);
    struct called called = {77, 0};
    char answer[5];
    OK(taskring_on_done(pool, ticket, reads_one, &called, NULL));
    until_told(pool, ticket);
    OK(taskring_cancel(pool, ticket, NULL));
    for (int i = 0; i < 20000 && __atomic_load_n(&called.times, __ATOMIC_ACQUIRE) == 0; i++)
        sleep_ms(1);
    CHECK(called.times == 1 && called.read == 0 && read_from(pool, ticket, 1) == 19);
    OK(taskring_result(pool, ticket, SOON, answer, sizeof answer, NULL));
    OK(taskring_free(pool));
}

static void semantics_b12_a_wait_for_an_event_has_a_limit_and_may_be_repeated(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    static const uint64_t limits[] = {0, 30 * MS};
    const uint64_t ticket = submit(pool, "sends_the_time", NULL, 0);
    uint64_t time = 7;
    size_t len = 7;
    for (size_t i = 0; i < 2; i++) {
        uint64_t shortest = UINT64_MAX;
        /* Not much longer either, but for a machine that is busy with others now and then. */
        for (int round = 0; round < 20 && (round == 0 || shortest >= limits[i] + 100 * MS); round++) {
            const uint64_t start = now_ns();
            STATUS(TASKRING_TIMED_OUT, taskring_next_event(pool, ticket, limits[i], &time, sizeof time, &len));
            const uint64_t after = now_ns() - start;
            CHECK(after >= limits[i] && time == 7 && len == 7);
            shortest = after < shortest ? after : shortest;
        }
        CHECK(shortest < limits[i] + 100 * MS);
    }
    until_state(pool, ticket, TASKRING_RUNNING);
    OK(taskring_cancel(pool, ticket, NULL));
    OK(taskring_next_event(pool, ticket, SOON, &time, sizeof time, &len));
    CHECK(time != 7 && len == sizeof time);
    STATUS(TASKRING_END, taskring_next_event(pool, ticket, SOON, &time, sizeof time, &len));
    STATUS(TASKRING_END, taskring_next_event(pool, ticket, TASKRING_INFINITE, &time, sizeof time, &len));
    OK(taskring_free(pool));
}

struct asked {
    taskring_pool *pool;
    uint64_t ticket;
};

static void *asks_later(void *of) {
    const struct asked *asked = of;
    /* By then the other one sleeps for as long as anybody does. */
    sleep_ms(100);
    OK(taskring_cancel(asked->pool, asked->ticket, NULL));
    return NULL;
}

static void semantics_b12_who_sleeps_for_an_event_is_woken_by_it(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    uint64_t shortest = UINT64_MAX;
    /* A machine that is busy with others may be late, now and then. */
    for (int round = 0; round < 20 && shortest >= 100 * MS; round++) {
        struct asked asked = {pool, submit(pool, "sends_the_time", NULL, 0)};
        pthread_t thread;
        uint64_t sent = 0;
        until_state(pool, asked.ticket, TASKRING_RUNNING);
        CHECK(pthread_create(&thread, NULL, asks_later, &asked) == 0);
        OK(taskring_next_event(pool, asked.ticket, TASKRING_INFINITE, &sent, sizeof sent, NULL));
        const uint64_t after = now_ns() - sent;
        shortest = after < shortest ? after : shortest;
        CHECK(pthread_join(thread, NULL) == 0);
        OK(taskring_release(pool, asked.ticket));
    }
    CHECK(shortest < 100 * MS);
    /* And by the end of a task that sends none. */
    const uint32_t ms = 200;
    const uint64_t napping = submit(pool, "nap", &ms, sizeof ms);
    uint64_t sent;
    STATUS(TASKRING_END, taskring_next_event(pool, napping, TASKRING_INFINITE, &sent, sizeof sent, NULL));
    CHECK(state_of(pool, napping) == TASKRING_DONE);
    OK(taskring_free(pool));
}

static void *waits_in_vain(void *of) {
    const struct asked *asked = of;
    uint64_t n;
    STATUS(TASKRING_STALE, next_number(asked->pool, asked->ticket, TASKRING_INFINITE, &n));
    return NULL;
}

static void *waits_for_no_result(void *of) {
    const struct asked *asked = of;
    STATUS(TASKRING_STALE, taskring_result(asked->pool, asked->ticket, TASKRING_INFINITE, NULL, 0, NULL));
    return NULL;
}

/* How long it takes until all who wait for tickets of tasks that go on are told that these were released. */
static uint64_t until_all_know(uint32_t kind) {
    enum { WAITERS = 6 };
    taskring_pool *pool = make_pool(kind, WAITERS, 64);
    struct asked asked[WAITERS];
    pthread_t threads[WAITERS];
    const uint32_t ms = 3000;
    for (int i = 0; i < WAITERS; i++)
        asked[i] = (struct asked){pool, submit(pool, "nap", &ms, sizeof ms)};
    for (int i = 0; i < WAITERS; i++) {
        until_state(pool, asked[i].ticket, TASKRING_RUNNING);
        CHECK(pthread_create(&threads[i], NULL, i % 2 == 0 ? waits_in_vain : waits_for_no_result, &asked[i]) == 0);
    }
    /* By then they sleep for as long as anybody does. */
    sleep_ms(150);
    const uint64_t start = now_ns();
    for (int i = 0; i < WAITERS; i++)
        OK(taskring_release(pool, asked[i].ticket));
    for (int i = 0; i < WAITERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const uint64_t took = now_ns() - start;
    OK(taskring_free(pool));
    return took;
}

static void semantics_b12_a_wait_for_an_event_of_a_released_ticket_is_told(uint32_t kind) {
    uint64_t shortest = UINT64_MAX;
    /* A machine that is busy with others may be late, now and then. */
    for (int round = 0; round < 3 && shortest >= 400 * MS; round++) {
        const uint64_t took = until_all_know(kind);
        shortest = took < shortest ? took : shortest;
    }
    CHECK(shortest < 400 * MS);
}

static void semantics_b12_events_end_with_the_task_however_it_ends(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    char answer[5];
    for (uint64_t code = 0; code < 2; code++) {
        const uint64_t ticket = submit_count(pool, "sends_and_ends", code);
        CHECK(read_from(pool, ticket, 7) == 1);
        STATUS(code == 0 ? TASKRING_OK : TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    }
    const uint64_t running = submit_count(pool, "sends_and_holds", 5), pending = submit_count(pool, "sends", 7);
    until_told(pool, running);
    CHECK(cancel(pool, pending) == 1 && read_from(pool, pending, 0) == 0);
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, SOON, NULL, 0, NULL));
    if (in_threads(kind)) {
        cancel(pool, running);
        CHECK(read_from(pool, running, 0) == 5);
        OK(taskring_result(pool, running, SOON, answer, sizeof answer, NULL));
    } else {
        OK(taskring_cancel_hard(pool, running, NULL));
        CHECK(read_from(pool, running, 0) == 5);
        STATUS(TASKRING_CANCELLED, taskring_result(pool, running, SOON, NULL, 0, NULL));
    }
    OK(taskring_free(pool));
}

enum { READERS = 4, EVENTS = 3000 };
static uint8_t is_read[EVENTS];

/* How many it was that came to this thread, each behind the ones before. */
static void *reads_some(void *of) {
    const struct asked *asked = of;
    uint64_t n, next = 0, count = 0;
    taskring_status status;
    while ((status = next_number(asked->pool, asked->ticket, TASKRING_INFINITE, &n)) == TASKRING_OK) {
        CHECK(n >= next && n < EVENTS && __atomic_exchange_n(&is_read[n], 1, __ATOMIC_RELAXED) == 0);
        next = n + 1;
        count++;
    }
    CHECK(status == TASKRING_END);
    return (void *)(uintptr_t)count;
}

static void semantics_b12_each_event_comes_to_one_of_many_readers(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct asked asked = {pool, submit_count(pool, "sends", EVENTS)};
    pthread_t readers[READERS];
    uint64_t all = 0;
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, reads_some, &asked) == 0);
    for (int i = 0; i < READERS; i++) {
        void *count = NULL;
        CHECK(pthread_join(readers[i], &count) == 0);
        all += (uintptr_t)count;
    }
    CHECK(all == EVENTS);
    OK(taskring_result(pool, asked.ticket, SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

static void semantics_b12_events_for_a_released_ticket_go_nowhere(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    char path[] = "/tmp/taskring-events-XXXXXX";
    const int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0 && unlink(path) == 0);
    const uint64_t ticket = submit(pool, "sends_to_nobody", path, sizeof path);
    expect(pool, ticket, 0);
    OK(taskring_release(pool, ticket));
    for (int i = 0; i < 20000 && access(path, F_OK) != 0; i++)
        sleep_ms(1);
    CHECK(unlink(path) == 0);
    CHECK(square_in(pool, 4) == 16);
    OK(taskring_free(pool));
}

static void semantics_b12_a_task_reads_the_events_of_another_one(uint32_t kind) {
    /* Alone it runs the other one on top of itself; with another worker it waits for it. */
    static const uint64_t args[2][2] = {{50, TASKRING_INFINITE}, {2000, SOON}};
    for (uint32_t i = 0; i < 2; i++) {
        taskring_pool *pool = make_pool(i == 1 && kind == TASKRING_FORK ? TASKRING_SPAWN : kind, i + 1, 64);
        uint64_t read = 0;
        OK(taskring_result(pool, submit(pool, "reads_another", args[i], sizeof args[i]), SOON, &read, sizeof read, NULL));
        CHECK(read == args[i][0]);
        OK(taskring_free(pool));
    }
}

static void semantics_b12_only_the_thread_of_a_task_sends(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    STATUS(TASKRING_UNSUPPORTED, send_number(1));
    const uint64_t parent = submit(pool, "forks_and_sends", NULL, 0);
    CHECK(read_from(pool, parent, 1) == 1);
    OK(taskring_result(pool, parent, SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_b12_events_come_whole_in_order_and_none_is_left_out),
    CASE(semantics_b12_a_task_without_room_is_told_and_nothing_is_lost),
    CASE(semantics_b12_a_buffer_that_is_too_small_leaves_the_event),
    CASE(semantics_b12_what_was_sent_before_a_death_is_all_read),
    CASE(semantics_b12_a_further_attempt_sends_behind_the_one_before),
    CASE(semantics_b12_events_stay_until_their_ticket_is_used_up),
    CASE(semantics_b12_a_callback_reads_the_same_events),
    CASE(semantics_b12_a_wait_for_an_event_has_a_limit_and_may_be_repeated),
    CASE(semantics_b12_who_sleeps_for_an_event_is_woken_by_it),
    CASE(semantics_b12_a_wait_for_an_event_of_a_released_ticket_is_told),
    CASE(semantics_b12_events_end_with_the_task_however_it_ends),
    CASE(semantics_b12_each_event_comes_to_one_of_many_readers),
    CASE(semantics_b12_events_for_a_released_ticket_go_nowhere),
    CASE(semantics_b12_a_task_reads_the_events_of_another_one),
    CASE(semantics_b12_only_the_thread_of_a_task_sends),
};

int main(int argc, char **argv) {
    register_all();
    register_senders();
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
