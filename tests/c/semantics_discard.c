/* Sets in C: tasks that are discarded in one call, after which none of them begins and everything else goes on. */
#include "check.h"
#include "semantics_main.h"

#include <pthread.h>

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Tells when it began, and then takes 20 us. */
static int32_t when_begun(taskring_call *call, void *context) {
    (void)context;
    const uint64_t begun = now_ns();
    while (now_ns() < begun + 20000)
        ;
    return taskring_call_set_result(call, &begun, sizeof begun);
}

/* Counts itself, runs until the tally that its argument is holds three, and tells whether it was asked to stop. */
static int32_t until_three(taskring_call *call, void *context) {
    const tally *tally = taskring_call_args(call, NULL);
    (void)context;
    count_in(tally);
    for (int i = 0; i < 20000 && counted(tally) < 3; i++)
        sleep_ms(1);
    const uint32_t asked = taskring_cancel_requested();
    return taskring_call_set_result(call, &asked, sizeof asked);
}

enum { MANY = 1000, SOME = 200 };

struct numbered {
    tally gate;
    uint64_t number;
};

/* Those behind the first ones wait until something is counted. */
static int32_t after_200(taskring_call *call, void *context) {
    const struct numbered *it = taskring_call_args(call, NULL);
    (void)context;
    for (int i = 0; i < 20000 && it->number >= SOME && counted(&it->gate) == 0; i++)
        sleep_ms(1);
    return taskring_call_set_result(call, &it->number, sizeof it->number);
}

static taskring_set *new_set(taskring_pool *pool) {
    taskring_set *set = NULL;
    OK(taskring_set_new(pool, &set));
    CHECK(set != NULL);
    return set;
}

static taskring_options of(taskring_set *set) {
    taskring_options options = TASKRING_OPTIONS_INIT;
    options.set = set;
    return options;
}

static uint64_t submit_of(taskring_pool *pool, taskring_set *set, const char *name, const void *args, size_t len) {
    const taskring_options options = of(set);
    uint64_t ticket = 0;
    OK(taskring_submit_named(pool, name, args, len, &options, TASKRING_INFINITE, &ticket));
    return ticket;
}

static taskring_discarded discard(taskring_set *set) {
    taskring_discarded found = {77, 77, 77};
    OK(taskring_set_discard(set, &found));
    return found;
}

static int is_found(taskring_discarded found, uint64_t cancelled, uint64_t running, uint64_t done) {
    return found.cancelled == cancelled && found.running == running && found.done == done;
}

static void is_cancelled(taskring_pool *pool, uint64_t ticket) { STATUS(TASKRING_CANCELLED, taskring_result(pool, ticket, SOON, NULL, 0, NULL)); }

/* Ends the task that keeps the only worker busy, and the pool when all is over. */
static void end(taskring_pool *pool, uint64_t running) {
    cancel(pool, running);
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_free(pool));
}

enum { EACH = 5, WAYS = 4 };

struct waiting {
    taskring_pool *pool;
    uint64_t tickets[WAYS][EACH];
    taskring_completions *queue;
    pthread_barrier_t ready;
    _Atomic int called;
};

static void *wait_for_one(void *context) {
    struct waiting *it = context;
    pthread_barrier_wait(&it->ready);
    is_cancelled(it->pool, it->tickets[0][EACH - 1]);
    return NULL;
}

static void *wait_for_many(void *context) {
    struct waiting *it = context;
    taskring_future futures[EACH];
    uint8_t over[EACH];
    size_t count = 0;
    for (int i = 0; i < EACH; i++)
        futures[i] = (taskring_future){it->pool, it->tickets[1][i]};
    pthread_barrier_wait(&it->ready);
    OK(taskring_wait_many(futures, EACH, TASKRING_ALL_COMPLETED, SOON, over, &count));
    CHECK(count == EACH);
    return NULL;
}

static void *take_out_of_the_queue(void *context) {
    struct waiting *it = context;
    taskring_completion ended[EACH];
    pthread_barrier_wait(&it->ready);
    for (size_t count = 0, all = 0; all < EACH; all += count) {
        OK(taskring_completions_next(it->queue, SOON, ended, EACH, &count));
        for (size_t i = 0; i < count; i++)
            is_cancelled(it->pool, ended[i].ticket);
    }
    return NULL;
}

static void call_it(taskring_pool *pool, uint64_t ticket, void *context) {
    struct waiting *it = context;
    is_cancelled(pool, ticket);
    it->called++;
}

/* How long it takes until all of them have been told. */
static uint64_t told_after(taskring_pool *pool, const tally *tally) {
    static void *(*const ways[])(void *) = {wait_for_one, wait_for_many, take_out_of_the_queue};
    static struct waiting it;
    pthread_t threads[3];
    taskring_set *set = new_set(pool);
    it.pool = pool;
    it.called = 0;
    OK(taskring_completions_new(&it.queue));
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < EACH; i++)
            it.tickets[way][i] = submit_of(pool, set, "count_me", tally, sizeof *tally);
    CHECK(pthread_barrier_init(&it.ready, NULL, 4) == 0);
    for (int i = 0; i < EACH; i++) {
        OK(taskring_completions_add(it.queue, pool, it.tickets[2][i], 0));
        OK(taskring_on_done(pool, it.tickets[3][i], call_it, &it, NULL));
    }
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, ways[i], &it) == 0);
    pthread_barrier_wait(&it.ready);
    /* They sleep by then until something wakes them; without that they look again only after a second. */
    sleep_ms(60);
    const uint64_t start = now_ns();
    CHECK(is_found(discard(set), EACH * WAYS, 0, 0));
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 20000 && it.called < EACH; i++)
        sleep_ms(1);
    CHECK(it.called == EACH);
    const uint64_t time = now_ns() - start;
    for (int i = 0; i < EACH; i++) {
        is_cancelled(pool, it.tickets[1][i]);
        if (i != EACH - 1)
            is_cancelled(pool, it.tickets[0][i]);
    }
    pthread_barrier_destroy(&it.ready);
    OK(taskring_completions_free(it.queue));
    OK(taskring_set_free(set));
    return time;
}

static void semantics_discard_cancels_what_is_pending_and_whoever_waits_is_told(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    const tally tally = new_tally();
    int late = 0;
    while (told_after(pool, &tally) > 300 * MS)
        CHECK(++late < 15);
    end(pool, running);
    CHECK(counted(&tally) == 0);
    remove(tally.path);
}

static void semantics_discard_lets_what_runs_go_on_to_its_end_and_counts_it_until_then(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_set *set = new_set(pool);
    const tally tally = new_tally();
    uint64_t over[7], x = 3, y = 0;
    for (int i = 0; i < 7; i++) {
        over[i] = submit_of(pool, set, "square", &x, sizeof x);
        OK(taskring_wait(pool, over[i], SOON));
    }
    const uint64_t one = submit_of(pool, set, "until_three", &tally, sizeof tally);
    const uint64_t other = submit_of(pool, set, "until_asked", NULL, 0);
    until_counted(&tally, 1);
    until_state(pool, other, TASKRING_RUNNING);
    const uint64_t pending = submit_of(pool, set, "count_me", &tally, sizeof tally);
    CHECK(is_found(discard(set), 1, 2, 7) && is_found(discard(set), 0, 2, 7));
    is_cancelled(pool, pending);
    CHECK(state_of(pool, one) == TASKRING_RUNNING && state_of(pool, other) == TASKRING_RUNNING);
    count_in(&tally);
    count_in(&tally);
    /* A discard asks nobody to stop; a task of the set can be asked as any other. */
    uint32_t asked = 7;
    char answer[5];
    OK(taskring_result(pool, one, SOON, &asked, sizeof asked, NULL));
    CHECK(asked == 0 && is_found(discard(set), 0, 1, 8));
    CHECK(cancel(pool, other) == 0);
    OK(taskring_result(pool, other, SOON, answer, sizeof answer, NULL));
    CHECK(memcmp(answer, "asked", 5) == 0 && is_found(discard(set), 0, 0, 9));
    for (int i = 0; i < 7; i++) {
        OK(taskring_result(pool, over[i], SOON, &y, sizeof y, NULL));
        CHECK(y == 9);
    }
    OK(taskring_set_discard(set, NULL));
    OK(taskring_set_free(set));
    OK(taskring_free(pool));
    CHECK(counted(&tally) == 3);
    remove(tally.path);
}

static void semantics_discard_leaves_other_sets_and_tasks_without_one_alone(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 128);
    const uint64_t running = busy(pool);
    const tally tally = new_tally(), never = new_tally();
    taskring_set *first = new_set(pool), *second = new_set(pool);
    for (int i = 0; i < 30; i++) {
        OK(taskring_release(pool, submit_of(pool, first, "count_me", &never, sizeof never)));
        OK(taskring_release(pool, submit_of(pool, second, "count_me", &tally, sizeof tally)));
        OK(taskring_release(pool, submit(pool, "count_me", &tally, sizeof tally)));
    }
    CHECK(is_found(discard(first), 30, 0, 0));
    cancel(pool, running);
    until_counted(&tally, 60);
    OK(taskring_shutdown(pool, 1, 0));
    CHECK(is_found(discard(second), 0, 0, 30) && counted(&tally) == 60 && counted(&never) == 0);
    OK(taskring_set_free(first));
    OK(taskring_set_free(second));
    OK(taskring_free(pool));
    remove(tally.path);
    remove(never.path);
}

static void semantics_discard_after_200_of_1000_and_a_second_set_runs(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 1024);
    static uint64_t later[MANY];
    taskring_set *first = new_set(pool), *second = new_set(pool);
    taskring_options options = of(first);
    taskring_completions *queue = NULL;
    struct numbered input = {new_tally(), 0};
    OK(taskring_completions_new(&queue));
    options.completions = queue;
    uint64_t ticket = 0, ran = 0, y = 0;
    for (; input.number < MANY; input.number++)
        OK(taskring_submit_named(pool, "after_200", &input, sizeof input, &options, TASKRING_INFINITE, &ticket));
    taskring_discarded found = {0, 0, 0};
    taskring_completion ended;
    size_t count = 0;
    for (int i = 0; i < MANY; i++) {
        if (i == SOME) {
            found = discard(first);
            CHECK(found.cancelled + found.running == MANY - SOME && found.running <= 2 && found.done == SOME);
            for (uint64_t x = 0; x < MANY; x++)
                later[x] = submit_of(pool, second, "square", &x, sizeof x);
            count_in(&input.gate);
        }
        OK(taskring_completions_next(queue, SOON, &ended, 1, &count));
        const taskring_status status = taskring_result(pool, ended.ticket, SOON, &y, sizeof y, NULL);
        CHECK((status == TASKRING_OK && (y < SOME) == (i < SOME)) || (status == TASKRING_CANCELLED && i >= SOME));
        ran += status == TASKRING_OK;
    }
    CHECK(ran == SOME + found.running);
    for (uint64_t x = 0; x < MANY; x++) {
        OK(taskring_result(pool, later[x], SOON, &y, sizeof y, NULL));
        CHECK(y == x * x);
    }
    CHECK(is_found(discard(second), 0, 0, MANY));
    OK(taskring_set_free(first));
    OK(taskring_set_free(second));
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
    remove(input.gate.path);
}

static int32_t no_end(void *context, taskring_bytes *args) {
    *args = (taskring_bytes){context, sizeof(uint64_t)};
    return 1;
}

/* In each way in which a task can be submitted. */
static void is_refused(taskring_pool *pool, taskring_set *set) {
    const taskring_options options = of(set);
    taskring_map_options map_options = TASKRING_MAP_OPTIONS_INIT;
    uint64_t x = 5, tickets[2] = {7, 7};
    const taskring_bytes args[2] = {{&x, sizeof x}, {&x, sizeof x}};
    const uint32_t number = function(pool, "square");
    taskring_map *map = NULL;
    size_t submitted = 0;
    map_options.submit = &options;
    STATUS(TASKRING_DISCARDED, taskring_submit(pool, number, &x, sizeof x, &options, tickets));
    STATUS(TASKRING_DISCARDED, taskring_submit_named(pool, "square", &x, sizeof x, &options, 0, tickets));
    STATUS(TASKRING_DISCARDED, taskring_submit_timed(pool, number, &x, sizeof x, &options, SOON, tickets));
    STATUS(TASKRING_DISCARDED, taskring_submit_bulk(pool, number, args, 2, &options, tickets, &submitted));
    STATUS(TASKRING_DISCARDED, taskring_submit_to(pool, 1, number, &x, sizeof x, &options, SOON, tickets));
    STATUS(TASKRING_DISCARDED, taskring_broadcast(pool, number, &x, sizeof x, &options, tickets, 2, &submitted));
    STATUS(TASKRING_DISCARDED, taskring_map_new(pool, number, no_end, &x, &map_options, &map));
    CHECK(submitted == 0 && tickets[0] == 7 && tickets[1] == 7 && map == NULL);
}

static void semantics_discard_takes_no_more_tasks_and_the_pool_does(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    taskring_set *sets[5];
    for (uint64_t x = 0; x < 5; x++) {
        uint64_t y = 0;
        sets[x] = new_set(pool);
        OK(taskring_result(pool, submit_of(pool, sets[x], "square", &x, sizeof x), SOON, &y, sizeof y, NULL));
        CHECK(y == x * x && is_found(discard(sets[x]), 0, 0, 1));
        for (uint64_t i = 0; i <= x; i++)
            is_refused(pool, sets[i]);
        CHECK(square_in(pool, x) == x * x);
    }
    for (int i = 0; i < 5; i++)
        OK(taskring_set_free(sets[i]));
    OK(taskring_free(pool));
}

struct feeder {
    taskring_pool *pool;
    taskring_set *set;
    uint64_t *tickets;
    size_t count, room;
};

/* Submits to a set until it refuses. */
static void *feed(void *context) {
    struct feeder *it = context;
    const taskring_options options = of(it->set);
    for (;;) {
        if (it->count == it->room) {
            it->room = 2 * it->room + 100;
            it->tickets = realloc(it->tickets, it->room * sizeof *it->tickets);
            CHECK(it->tickets != NULL);
        }
        const taskring_status status = taskring_submit_named(it->pool, "when_begun", NULL, 0, &options, TASKRING_INFINITE, &it->tickets[it->count]);
        if (status == TASKRING_DISCARDED)
            return NULL;
        OK(status);
        it->count++;
    }
}

static void semantics_discard_no_task_begins_afterwards_while_threads_feed_the_set(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    for (int round = 0; round < 30; round++) {
        taskring_set *set = new_set(pool);
        struct feeder feeders[2] = {{pool, set, NULL, 0, 0}, {pool, set, NULL, 0, 0}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, feed, &feeders[i]) == 0);
        const struct timespec some_time = {0, 500000 + 137000 * (round % 16)};
        nanosleep(&some_time, NULL);
        const taskring_discarded found = discard(set);
        const uint64_t discarded = now_ns();
        uint64_t submitted = 0, ran = 0, late = 0;
        for (int i = 0; i < 2; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            submitted += feeders[i].count;
            for (size_t k = 0; k < feeders[i].count; k++) {
                uint64_t begun = 0;
                const taskring_status status = taskring_result(pool, feeders[i].tickets[k], SOON, &begun, sizeof begun, NULL);
                CHECK(status == TASKRING_OK || status == TASKRING_CANCELLED);
                ran += status == TASKRING_OK;
                late += status == TASKRING_OK && begun > discarded;
            }
            free(feeders[i].tickets);
        }
        /* A worker has decided to run what is counted as running, and may enter its function a moment later. */
        CHECK(late <= found.running && found.running <= 2);
        /* Of what each thread was just submitting, some may not be counted. */
        const uint64_t all = found.cancelled + found.running + found.done;
        CHECK(all <= submitted && submitted <= all + 2);
        CHECK(found.done <= ran && ran <= found.done + found.running + 2);
        const taskring_discarded after = discard(set);
        CHECK(after.cancelled == 0 && after.running == 0);
        is_refused(pool, set);
        CHECK(square_in(pool, 7) == 49);
        OK(taskring_set_free(set));
    }
    OK(taskring_free(pool));
}

struct discarder {
    taskring_set *set;
    pthread_barrier_t *ready;
    uint64_t cancelled;
};

static void *discard_it(void *context) {
    struct discarder *it = context;
    pthread_barrier_wait(it->ready);
    it->cancelled = discard(it->set).cancelled;
    return NULL;
}

static void semantics_discard_by_several_threads_counts_each_task_once(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 128);
    const uint64_t running = busy(pool);
    const tally tally = new_tally();
    for (int round = 0; round < 20; round++) {
        pthread_barrier_t ready;
        pthread_t threads[3];
        struct discarder discarders[3];
        taskring_set *set = new_set(pool);
        uint64_t tickets[100], cancelled = 0;
        for (int i = 0; i < 100; i++)
            tickets[i] = submit_of(pool, set, "count_me", &tally, sizeof tally);
        CHECK(pthread_barrier_init(&ready, NULL, 3) == 0);
        for (int i = 0; i < 3; i++) {
            discarders[i] = (struct discarder){set, &ready, 0};
            CHECK(pthread_create(&threads[i], NULL, discard_it, &discarders[i]) == 0);
        }
        for (int i = 0; i < 3; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            cancelled += discarders[i].cancelled;
        }
        CHECK(cancelled == 100);
        for (int i = 0; i < 100; i++)
            is_cancelled(pool, tickets[i]);
        pthread_barrier_destroy(&ready);
        OK(taskring_set_free(set));
    }
    end(pool, running);
    CHECK(counted(&tally) == 0);
    remove(tally.path);
}

static void semantics_discard_is_what_stops_a_set_and_freeing_it_is_not(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    const tally tally = new_tally();
    taskring_set *set = new_set(pool);
    uint64_t tickets[20], ticket = 7;
    for (int i = 0; i < 20; i++)
        tickets[i] = submit_of(pool, set, "count_me", &tally, sizeof tally);
    OK(taskring_set_free(set));
    const taskring_options options = of(set);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_discard(set, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_named(pool, "count_me", &tally, sizeof tally, &options, SOON, &ticket));
    /* Ones that take its place are not taken for it. */
    for (int i = 0; i < 3; i++) {
        taskring_set *next = new_set(pool);
        CHECK(is_found(discard(next), 0, 0, 0));
        OK(taskring_set_free(next));
    }
    cancel(pool, running);
    for (int i = 0; i < 20; i++)
        OK(taskring_result(pool, tickets[i], SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
    CHECK(counted(&tally) == 20 && ticket == 7);
    remove(tally.path);
}

static void semantics_discard_a_set_is_of_the_handle_that_made_it(uint32_t kind) {
    char name[64];
    taskring_pool *pool = NULL, *guest = NULL;
    const taskring_config config = config_of(kind, 1);
    snprintf(name, sizeof name, "c-sets-%d-%" PRIu32, (int)getpid(), kind);
    OK(taskring_create_named(&config, name, &pool));
    const uint64_t running = busy(pool);
    OK(taskring_attach(name, &guest));
    taskring_set *set = new_set(pool), *by_guest = new_set(guest);
    uint64_t x = 6, y = 0, ticket = 7;
    const uint64_t pending = submit_of(pool, set, "square", &x, sizeof x), kept = submit_of(guest, by_guest, "square", &x, sizeof x);
    const taskring_options options = of(set), options_of_guest = of(by_guest);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_named(guest, "square", &x, sizeof x, &options, SOON, &ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_named(pool, "square", &x, sizeof x, &options_of_guest, SOON, &ticket));
    CHECK(ticket == 7 && is_found(discard(set), 1, 0, 0));
    is_cancelled(pool, pending);
    cancel(pool, running);
    OK(taskring_result(guest, kept, SOON, &y, sizeof y, NULL));
    CHECK(y == 36 && is_found(discard(by_guest), 0, 0, 1));
    OK(taskring_set_free(by_guest));
    OK(taskring_set_free(set));
    OK(taskring_free(guest));
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_discard_cancels_what_is_pending_and_whoever_waits_is_told),
    CASE(semantics_discard_lets_what_runs_go_on_to_its_end_and_counts_it_until_then),
    CASE(semantics_discard_leaves_other_sets_and_tasks_without_one_alone),
    CASE(semantics_discard_after_200_of_1000_and_a_second_set_runs),
    CASE(semantics_discard_takes_no_more_tasks_and_the_pool_does),
    CASE(semantics_discard_no_task_begins_afterwards_while_threads_feed_the_set),
    CASE(semantics_discard_by_several_threads_counts_each_task_once),
    CASE(semantics_discard_is_what_stops_a_set_and_freeing_it_is_not),
    CASE(semantics_discard_a_set_is_of_the_handle_that_made_it),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("count_me", count_me, NULL, NULL));
    OK(taskring_register("when_begun", when_begun, NULL, NULL));
    OK(taskring_register("after_200", after_200, NULL, NULL));
    OK(taskring_register("until_three", until_three, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
