/* Sections W and A of the contract in C: waiting for many, and completion queues. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>

/* Whether each of the futures is over, as a string of 0 and 1; a time-out says itself. */
static const char *waited(const taskring_future *futures, size_t count, uint32_t when, uint64_t timeout_ns) {
    static _Thread_local char text[160];
    uint8_t over[150];
    size_t found = 0, seen = 0;
    const taskring_status status = taskring_wait_many(futures, count, when, timeout_ns, over, &found);
    CHECK(status == TASKRING_OK || status == TASKRING_TIMED_OUT);
    for (size_t i = 0; i < count; i++) {
        text[i] = (char)('0' + over[i]);
        seen += over[i];
    }
    CHECK(seen == found);
    strcpy(text + count, status == TASKRING_OK ? "" : " timed out");
    return text;
}

/* A task that runs until it is asked, whatever else there is to run. */
static taskring_future running(taskring_pool *pool) { return (taskring_future){pool, busy(pool)}; }
static taskring_future good(taskring_pool *pool) {
    const uint64_t x = 3;
    return (taskring_future){pool, submit(pool, "square", &x, sizeof x)};
}
static taskring_future failing(taskring_pool *pool) { return (taskring_future){pool, submit(pool, "fail_code", NULL, 0)}; }
static taskring_future cancelled(taskring_pool *pool) {
    uint32_t is = 0;
    while (is == 0) { /* Unless a worker was faster. */
        const taskring_future one = good(pool);
        OK(taskring_cancel(pool, one.ticket, &is));
        if (is != 0)
            return one;
    }
    return (taskring_future){NULL, 0};
}

static void over(taskring_future one) { OK(taskring_wait(one.pool, one.ticket, SOON)); }
static void stop(taskring_future one) { OK(taskring_cancel(one.pool, one.ticket, NULL)); }

static void semantics_w1_one_given_twice_is_told_of_twice_in_the_order_given(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future slow = running(pool), done = good(pool);
    const taskring_future all[4] = {done, slow, done, slow};
    over(done);
    CHECK(strcmp(waited(all, 4, TASKRING_FIRST_COMPLETED, SOON), "1010") == 0);
    stop(slow);
    CHECK(strcmp(waited(all, 4, TASKRING_ALL_COMPLETED, SOON), "1111") == 0);
    OK(taskring_free(pool));
}

static void semantics_w2_nothing_to_wait_for_is_over_at_once_whatever_for(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    size_t count = 9;
    for (uint32_t when = 0; when < 5; when++) {
        OK(taskring_wait_many(NULL, 0, when, TASKRING_INFINITE, NULL, &count));
        CHECK(count == 0);
    }
    OK(taskring_free(pool));
}

static void semantics_w3_one_that_is_over_already_ends_the_wait_for_the_first(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future all[2] = {running(pool), good(pool)};
    over(all[1]);
    CHECK(strcmp(waited(all, 2, TASKRING_FIRST_COMPLETED, 0), "01") == 0); /* Without time. */
    CHECK(strcmp(waited(all, 1, TASKRING_FIRST_COMPLETED, MS), "0 timed out") == 0);
    stop(all[0]);
    CHECK(strcmp(waited(all, 1, TASKRING_FIRST_COMPLETED, SOON), "1") == 0);
    OK(taskring_free(pool));
}

static void semantics_w10_all_that_are_over_are_told_and_not_the_first_alone(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future all[4] = {good(pool), running(pool), failing(pool), cancelled(pool)};
    over(all[0]);
    over(all[2]);
    CHECK(strcmp(waited(all, 4, TASKRING_FIRST_COMPLETED, SOON), "1011") == 0);
    stop(all[1]);
    OK(taskring_free(pool));
}

static void semantics_w4_the_first_failure_ends_the_wait_and_cancelling_is_none(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future slow = running(pool), gone = cancelled(pool), fine = good(pool);
    over(fine);
    const taskring_future none[3] = {slow, gone, fine};
    CHECK(strcmp(waited(none, 3, TASKRING_FIRST_EXCEPTION, 2 * MS), "011 timed out") == 0);
    const taskring_future all[4] = {slow, gone, fine, failing(pool)};
    CHECK(strcmp(waited(all, 4, TASKRING_FIRST_EXCEPTION, SOON), "0111") == 0);
    CHECK(strcmp(waited(all, 4, TASKRING_FIRST_EXCEPTION, 0), "0111") == 0); /* One that has failed already. */
    stop(slow);
    CHECK(strcmp(waited(none, 3, TASKRING_FIRST_EXCEPTION, SOON), "111") == 0); /* None fails: all. */
    OK(taskring_free(pool));
}

static void semantics_w5_all_are_waited_for_however_they_end(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future all[4] = {running(pool), cancelled(pool), failing(pool), good(pool)};
    CHECK(strcmp(waited(all + 1, 3, TASKRING_ALL_COMPLETED, SOON), "111") == 0);
    stop(all[0]);
    CHECK(strcmp(waited(all, 4, TASKRING_ALL_COMPLETED, TASKRING_INFINITE), "1111") == 0);
    OK(taskring_free(pool));
}

static void semantics_w6_a_time_out_tells_what_is_over_by_then(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    const taskring_future all[2] = {running(pool), good(pool)};
    over(all[1]);
    CHECK(strcmp(waited(all, 2, TASKRING_ALL_COMPLETED, 2 * MS), "01 timed out") == 0);
    CHECK(strcmp(waited(all, 2, TASKRING_ALL_COMPLETED, 0), "01 timed out") == 0);
    stop(all[0]);
    OK(taskring_free(pool));
}

static void semantics_w7_what_is_no_condition_is_refused(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const taskring_future one = good(pool);
    uint8_t is_over = 9;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_wait_many(&one, 1, 3, SOON, &is_over, NULL));
    CHECK(is_over == 9 && strstr(taskring_last_error(), "when is 3") != NULL);
    OK(taskring_free(pool));
}

enum { MANY = 100 };

static void semantics_w8_no_end_is_missed_while_the_wait_begins(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 256);
    taskring_future all[MANY];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < MANY; i++)
            all[i] = good(pool);
        const char *found = waited(all, MANY, TASKRING_ALL_COMPLETED, SOON);
        CHECK(strlen(found) == MANY && strspn(found, "1") == MANY);
        for (int i = 0; i < MANY; i++)
            OK(taskring_release(pool, all[i].ticket));
    }
    OK(taskring_free(pool));
}

struct waiter {
    const taskring_future *futures;
    size_t count;
    int well;
};

static void *wait_for_all(void *of) {
    struct waiter *it = of;
    const char *found = waited(it->futures, it->count, TASKRING_ALL_COMPLETED, SOON);
    it->well = strspn(found, "1") == it->count;
    return NULL;
}

static void semantics_w9_two_threads_wait_for_the_same_futures(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_future forth[20], back[20];
    const taskring_future slow = running(pool);
    for (int i = 0; i < 19; i++)
        forth[i] = good(pool);
    forth[19] = slow;
    for (int i = 0; i < 20; i++)
        back[i] = forth[19 - i];
    struct waiter waiters[2] = {{forth, 20, 0}, {back, 20, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, wait_for_all, &waiters[i]) == 0);
    stop(slow);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0 && waiters[i].well);
    OK(taskring_free(pool));
}

static void semantics_w11_one_wait_takes_futures_of_pools_of_several_kinds(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64), *threads = make_pool(TASKRING_THREAD, 1, 64);
    const taskring_future all[2] = {running(pool), running(threads)};
    CHECK(strcmp(waited(all, 2, TASKRING_FIRST_COMPLETED, MS), "00 timed out") == 0);
    stop(all[1]);
    CHECK(strcmp(waited(all, 2, TASKRING_FIRST_COMPLETED, SOON), "01") == 0);
    stop(all[0]);
    CHECK(strcmp(waited(all, 2, TASKRING_ALL_COMPLETED, SOON), "11") == 0);
    OK(taskring_free(pool));
    OK(taskring_free(threads));
}

static taskring_completions *new_queue(void) {
    taskring_completions *queue = NULL;
    OK(taskring_completions_new(&queue));
    return queue;
}

static void add(taskring_completions *queue, taskring_future one, uint64_t number) {
    OK(taskring_completions_add(queue, one.pool, one.ticket, number));
}

/* The number of the next task that is over. */
static uint64_t next(taskring_completions *queue) {
    taskring_completion found;
    size_t count = 0;
    OK(taskring_completions_next(queue, SOON, &found, 1, &count));
    CHECK(count == 1);
    return found.user_data;
}

static taskring_status none(taskring_completions *queue, uint64_t timeout_ns) {
    taskring_completion found;
    size_t count = 0;
    return taskring_completions_next(queue, timeout_ns, &found, 1, &count);
}

static void semantics_a1_each_comes_once_and_one_added_twice_twice(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_completions *queue = new_queue();
    int seen[21] = {0};
    for (uint64_t i = 0; i < 20; i++)
        add(queue, i % 3 == 0 ? failing(pool) : good(pool), i);
    const taskring_future twice = good(pool);
    add(queue, twice, 20);
    add(queue, twice, 20);
    for (int i = 0; i < 22; i++)
        seen[next(queue)]++;
    for (int i = 0; i < 21; i++)
        CHECK(seen[i] == 1 + (i == 20));
    STATUS(TASKRING_END, none(queue, TASKRING_INFINITE));
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

static void semantics_a2_what_is_over_comes_first_and_the_rest_as_it_ends(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 3, 64);
    taskring_completions *queue = new_queue();
    const taskring_future first = running(pool), second = running(pool), done = good(pool);
    over(done);
    add(queue, second, 2);
    add(queue, first, 1);
    add(queue, done, 0);
    CHECK(next(queue) == 0);
    stop(first);
    CHECK(next(queue) == 1);
    stop(second);
    CHECK(next(queue) == 2);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

static void semantics_a3_what_is_over_comes_before_the_time_out_also_without_time(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_completions *queue = new_queue();
    const taskring_future slow = running(pool), done = good(pool);
    over(done);
    add(queue, slow, 1);
    add(queue, done, 0);
    taskring_completion found;
    size_t count = 0;
    OK(taskring_completions_next(queue, 0, &found, 1, &count));
    CHECK(found.user_data == 0);
    STATUS(TASKRING_TIMED_OUT, none(queue, 0));
    STATUS(TASKRING_TIMED_OUT, none(queue, MS));
    stop(slow);
    CHECK(next(queue) == 1);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

/* The time of a queue is that of each call: it is over no sooner for what was waited before. */
static void semantics_a5_each_call_has_a_time_of_its_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    taskring_completions *queue = new_queue();
    const taskring_future slow = running(pool);
    add(queue, slow, 1);
    sleep_ms(15);
    for (int i = 0; i < 2; i++) {
        const uint64_t asked = now_ns();
        STATUS(TASKRING_TIMED_OUT, none(queue, 20 * MS));
        CHECK(now_ns() - asked >= 20 * MS);
    }
    stop(slow);
    CHECK(next(queue) == 1);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

static void semantics_a6_a_queue_that_is_given_up_lets_its_tasks_run(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    taskring_completions *queue = new_queue(), *other = new_queue();
    const taskring_future slow = running(pool), later = good(pool);
    add(queue, slow, 0);
    add(queue, later, 1);
    OK(taskring_completions_free(queue));
    add(other, later, 7);
    stop(slow);
    CHECK(next(other) == 7);
    uint64_t y = 0;
    OK(taskring_result(pool, later.ticket, 0, &y, sizeof y, NULL));
    CHECK(y == 9);
    OK(taskring_completions_free(other));
    OK(taskring_free(pool));
}

static void semantics_a7_one_queue_takes_tasks_of_pools_of_several_kinds(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64), *threads = make_pool(TASKRING_THREAD, 1, 64);
    taskring_completions *queue = new_queue();
    const taskring_future first = running(pool), second = running(threads);
    add(queue, first, 1);
    add(queue, second, 2);
    stop(second);
    CHECK(next(queue) == 2);
    stop(first);
    CHECK(next(queue) == 1);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
    OK(taskring_free(threads));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_w1_one_given_twice_is_told_of_twice_in_the_order_given),
    CASE(semantics_w2_nothing_to_wait_for_is_over_at_once_whatever_for),
    CASE(semantics_w3_one_that_is_over_already_ends_the_wait_for_the_first),
    CASE(semantics_w10_all_that_are_over_are_told_and_not_the_first_alone),
    CASE(semantics_w4_the_first_failure_ends_the_wait_and_cancelling_is_none),
    CASE(semantics_w5_all_are_waited_for_however_they_end),
    CASE(semantics_w6_a_time_out_tells_what_is_over_by_then),
    CASE(semantics_w7_what_is_no_condition_is_refused),
    CASE(semantics_w8_no_end_is_missed_while_the_wait_begins),
    CASE(semantics_w9_two_threads_wait_for_the_same_futures),
    CASE(semantics_w11_one_wait_takes_futures_of_pools_of_several_kinds),
    CASE(semantics_a1_each_comes_once_and_one_added_twice_twice),
    CASE(semantics_a2_what_is_over_comes_first_and_the_rest_as_it_ends),
    CASE(semantics_a3_what_is_over_comes_before_the_time_out_also_without_time),
    CASE(semantics_a5_each_call_has_a_time_of_its_own),
    CASE(semantics_a6_a_queue_that_is_given_up_lets_its_tasks_run),
    CASE(semantics_a7_one_queue_takes_tasks_of_pools_of_several_kinds),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
