/* Completion queues, with and without epoll, and done-callbacks. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

static uint64_t nap_for(taskring_pool *pool, uint32_t ms, taskring_options *options) {
    uint64_t ticket = 0;
    OK(taskring_submit(pool, function(pool, "nap"), &ms, sizeof ms, options, &ticket));
    return ticket;
}

static taskring_completion take_one(taskring_completions *queue) {
    taskring_completion one = {NULL, 0, 0, 0};
    size_t count = 0;
    OK(taskring_completions_next(queue, SOON, &one, 1, &count));
    CHECK(count == 1);
    return one;
}

/* In the order of their ends, from two pools, with what was given along. */
static void arrival_order(uint32_t method) {
    taskring_pool *first = make_pool(method, 2, 64), *second = make_pool(method, 1, 64);
    taskring_completions *queue = NULL;
    taskring_completion one;
    size_t count = 9;
    OK(taskring_completions_new(&queue));
    STATUS(TASKRING_END, taskring_completions_next(queue, TASKRING_INFINITE, &one, 1, &count));
    CHECK(count == 9);
    taskring_options options = TASKRING_OPTIONS_INIT;
    options.completions = queue;
    options.user_data = 300;
    uint64_t slow = nap_for(first, 900, &options);
    options.user_data = 1;
    uint64_t quick = nap_for(first, 200, &options);
    uint64_t added = nap_for(second, 500, NULL);
    OK(taskring_completions_add(queue, second, added, 100));
    STATUS(TASKRING_TIMED_OUT, taskring_completions_next(queue, 0, &one, 1, &count));
    one = take_one(queue);
    CHECK(one.pool == first && one.ticket == quick && one.user_data == 1);
    one = take_one(queue);
    CHECK(one.pool == second && one.ticket == added && one.user_data == 100);
    one = take_one(queue);
    CHECK(one.pool == first && one.ticket == slow && one.user_data == 300);
    STATUS(TASKRING_END, taskring_completions_next(queue, 0, &one, 1, &count));
    /* Tickets are still good; a finished task comes out at once, one that is cancelled too, and one used up meanwhile. */
    OK(taskring_completions_add(queue, first, quick, 7));
    CHECK(take_one(queue).user_data == 7);
    uint64_t hold = submit(second, "until_asked", NULL, 0);
    until_state(second, hold, TASKRING_RUNNING);
    options.user_data = 8;
    uint64_t pending = nap_for(second, 1, &options);
    OK(taskring_cancel(second, pending, NULL));
    CHECK(take_one(queue).ticket == pending);
    options.user_data = 9;
    uint64_t gone = nap_for(first, 1, &options);
    OK(taskring_result(first, gone, SOON, NULL, 0, NULL));
    CHECK(take_one(queue).user_data == 9);
    STATUS(TASKRING_STALE, taskring_completions_add(queue, first, gone, 1));
    OK(taskring_cancel(second, hold, NULL));
    OK(taskring_release(second, hold));
    OK(taskring_release(second, pending));
    OK(taskring_release(second, added));
    OK(taskring_release(first, slow));
    OK(taskring_release(first, quick));
    /* Freed with a task in it: the ticket stays good. */
    uint64_t kept = nap_for(first, 20, &options);
    OK(taskring_completions_free(queue));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_completions_free(queue));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(first, function(first, "nap"), "1234", 4, &options, &gone));
    OK(taskring_result(first, kept, SOON, NULL, 0, NULL));
    OK(taskring_free(first));
    OK(taskring_free(second));
}

/* Many more tasks than slots, in bulk: each once, with its number. */
static void every_task_once(uint32_t method) {
    enum { TASKS = 500, AT_A_TIME = 16 };
    static uint64_t args[TASKS], tickets[TASKS];
    static taskring_bytes bytes[TASKS];
    static unsigned char seen[TASKS];
    taskring_pool *pool = make_pool(method, 2, 64);
    taskring_completions *queue = NULL;
    taskring_options options = TASKRING_OPTIONS_INIT;
    taskring_completion some[AT_A_TIME];
    size_t submitted = 0, count, total = 0;
    OK(taskring_completions_new(&queue));
    options.completions = queue;
    options.user_data = 1000;
    for (uint64_t i = 0; i < TASKS; i++) {
        args[i] = i;
        bytes[i] = (taskring_bytes){&args[i], sizeof args[i]};
    }
    memset(seen, 0, sizeof seen);
    OK(taskring_submit_bulk(pool, function(pool, "square"), bytes, TASKS, &options, tickets, &submitted));
    CHECK(submitted == TASKS);
    while (taskring_completions_next(queue, SOON, some, AT_A_TIME, &count) == TASKRING_OK) {
        CHECK(count >= 1 && count <= AT_A_TIME);
        for (size_t i = 0; i < count; i++) {
            uint64_t n = some[i].user_data - 1000, y = 0;
            CHECK(n < TASKS && some[i].ticket == tickets[n] && !seen[n]);
            seen[n] = 1;
            OK(taskring_result(pool, some[i].ticket, 0, &y, sizeof y, NULL));
            CHECK(y == n * n);
        }
        total += count;
    }
    CHECK(total == TASKS);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

/* Nobody waits in the library: epoll says when. */
static void with_epoll(uint32_t method) {
    taskring_pool *pool = make_pool(method, 2, 64);
    taskring_completions *queue = NULL;
    taskring_options options = TASKRING_OPTIONS_INIT;
    int fd = -1, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    OK(taskring_completions_new(&queue));
    options.completions = queue;
    /* Asked for with a task under way already. */
    uint64_t early = nap_for(pool, 100, &options);
    OK(taskring_completions_fd(queue, &fd));
    CHECK(epoll >= 0 && fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 20000) == 1);
    CHECK(take_one(queue).ticket == early);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
    for (int round = 0; round < 200; round++) {
        uint64_t tickets[3];
        int same;
        for (int i = 0; i < 3; i++) {
            options.user_data = (uint64_t)i;
            tickets[i] = nap_for(pool, (uint32_t)(round % 3), &options);
        }
        for (int taken = 0; taken < 3; taken++) {
            CHECK(epoll_wait(epoll, &event, 1, 20000) == 1);
            taskring_completion one;
            size_t count = 0;
            OK(taskring_completions_next(queue, 0, &one, 1, &count));
            CHECK(one.ticket == tickets[one.user_data]);
            OK(taskring_result(pool, one.ticket, 0, NULL, 0, NULL));
        }
        OK(taskring_completions_fd(queue, &same));
        CHECK(same == fd && epoll_wait(epoll, &event, 1, 0) == 0);
    }
    OK(taskring_release(pool, early));
    OK(taskring_completions_free(queue));
    close(epoll);
    OK(taskring_free(pool));
}

/* Several threads take from one queue: each task comes out once, and all threads see the end. */
struct taker {
    taskring_completions *queue;
    pthread_t thread;
    size_t taken;
};

static void *take_all(void *of) {
    struct taker *taker = of;
    taskring_completion one;
    size_t count;
    while (taskring_completions_next(taker->queue, SOON, &one, 1, &count) == TASKRING_OK) {
        OK(taskring_result(one.pool, one.ticket, 0, NULL, 0, NULL));
        taker->taken++;
    }
    return NULL;
}

static void taken_by_threads(uint32_t method) {
    taskring_pool *pool = make_pool(method, 2, 64);
    struct taker takers[4];
    taskring_options options = TASKRING_OPTIONS_INIT;
    size_t sum = 0;
    OK(taskring_completions_new(&takers[0].queue));
    options.completions = takers[0].queue;
    for (int i = 0; i < 60; i++)
        nap_for(pool, (uint32_t)(i % 4), &options);
    for (int i = 0; i < 4; i++) {
        takers[i].queue = takers[0].queue;
        takers[i].taken = 0;
        CHECK(pthread_create(&takers[i].thread, NULL, take_all, &takers[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(takers[i].thread, NULL) == 0);
        sum += takers[i].taken;
    }
    CHECK(sum == 60);
    OK(taskring_completions_free(takers[0].queue));
    OK(taskring_free(pool));
}

/* What callbacks saw, in order. */
static struct {
    pthread_mutex_t mutex;
    uint64_t tickets[64];
    uintptr_t contexts[64];
    int calls, destroyed, reentered;
    pthread_t thread;
} board = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void note(taskring_pool *pool, uint64_t ticket, void *context) {
    uint32_t state = 0;
    taskring_status end = taskring_state(pool, ticket, &state);
    pthread_mutex_lock(&board.mutex);
    board.tickets[board.calls] = ticket;
    board.contexts[board.calls] = (uintptr_t)context;
    board.calls++;
    board.reentered += end == TASKRING_OK && (state == TASKRING_DONE || state == TASKRING_STATE_CANCELLED);
    board.thread = pthread_self();
    pthread_mutex_unlock(&board.mutex);
}

static void destroy(void *context) {
    (void)context;
    pthread_mutex_lock(&board.mutex);
    board.destroyed++;
    pthread_mutex_unlock(&board.mutex);
}

static int calls(void) {
    pthread_mutex_lock(&board.mutex);
    int found = board.calls;
    pthread_mutex_unlock(&board.mutex);
    return found;
}

static void until_calls(int wanted) {
    for (int i = 0; i < 20000 && calls() != wanted; i++)
        sleep_ms(1);
    CHECK(calls() == wanted);
}

static void callbacks(uint32_t method) {
    taskring_pool *pool = make_pool(method, 1, 64);
    board.calls = board.destroyed = board.reentered = 0;
    uint64_t hold = submit(pool, "until_asked", NULL, 0), x = 3, y = 0;
    until_state(pool, hold, TASKRING_RUNNING);
    uint64_t pending = submit(pool, "square", &x, sizeof x);
    /* In the order added, in another thread, whoever ends the task. */
    for (uintptr_t i = 0; i < 5; i++)
        OK(taskring_on_done(pool, hold, note, (void *)i, destroy));
    OK(taskring_on_done(pool, pending, note, (void *)7, destroy));
    CHECK(board.calls == 0);
    OK(taskring_cancel(pool, pending, NULL));
    until_calls(1);
    CHECK(board.tickets[0] == pending && board.contexts[0] == 7 && !pthread_equal(board.thread, pthread_self()));
    OK(taskring_cancel(pool, hold, NULL));
    until_calls(6);
    for (uintptr_t i = 0; i < 5; i++)
        CHECK(board.tickets[i + 1] == hold && board.contexts[i + 1] == i);
    /* Over already: here and now. */
    OK(taskring_on_done(pool, hold, note, NULL, destroy));
    CHECK(board.calls == 7 && pthread_equal(board.thread, pthread_self()) && board.reentered == 7);
    OK(taskring_release(pool, hold));
    STATUS(TASKRING_STALE, taskring_on_done(pool, hold, note, NULL, destroy));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_on_done(pool, pending, NULL, NULL, destroy));
    STATUS(TASKRING_CANCELLED, taskring_result(pool, pending, 0, NULL, 0, NULL));
    /* The ticket goes before the task is over: the callback comes all the same. */
    hold = submit(pool, "until_asked", NULL, 0);
    until_state(pool, hold, TASKRING_RUNNING);
    OK(taskring_on_done(pool, hold, note, NULL, destroy));
    OK(taskring_cancel(pool, hold, NULL));
    OK(taskring_release(pool, hold));
    until_calls(8);
    /* Freeing the pool waits for its tasks, and for their callbacks. */
    for (int i = 0; i < 10; i++) {
        uint64_t ticket = submit(pool, "square", &x, sizeof x);
        OK(taskring_on_done(pool, ticket, note, NULL, destroy));
    }
    hold = submit(pool, "square", &x, sizeof x);
    OK(taskring_result(pool, hold, SOON, &y, sizeof y, NULL));
    OK(taskring_free(pool));
    CHECK(board.calls == 18 && board.destroyed == 20 && board.reentered == 17);
}

/* The last task is taken by one thread while others wait: they hear of it at once. */
struct drain {
    taskring_completions *queue;
    uint64_t took_at_ns, ended_at_ns;
    pthread_t thread;
};

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *drain(void *of) {
    struct drain *own = of;
    taskring_completion one;
    size_t count;
    while (taskring_completions_next(own->queue, SOON, &one, 1, &count) == TASKRING_OK) {
        own->took_at_ns = now_ns();
        OK(taskring_release(one.pool, one.ticket));
    }
    own->ended_at_ns = now_ns();
    return NULL;
}

static void the_last_one_is_told_to_all(uint32_t method) {
    taskring_pool *pool = make_pool(method, 2, 64);
    taskring_options options = TASKRING_OPTIONS_INIT;
    for (int round = 0; round < 40; round++) {
        struct drain drains[2];
        uint64_t taken = 0;
        OK(taskring_completions_new(&options.completions));
        /* Long enough that both sleep, for more than a second unless they are woken. */
        nap_for(pool, 30, &options);
        for (int i = 0; i < 2; i++) {
            drains[i] = (struct drain){options.completions, 0, 0, 0};
            CHECK(pthread_create(&drains[i].thread, NULL, drain, &drains[i]) == 0);
        }
        for (int i = 0; i < 2; i++) {
            CHECK(pthread_join(drains[i].thread, NULL) == 0);
            taken = drains[i].took_at_ns > taken ? drains[i].took_at_ns : taken;
        }
        for (int i = 0; i < 2; i++)
            CHECK(drains[i].ended_at_ns < taken + 500 * MS);
        OK(taskring_completions_free(options.completions));
    }
    OK(taskring_free(pool));
}

/* A pool whose memory is found corrupt can say nothing of its tasks: who waits for a callback or a descriptor is told all the same. */
static void corrupt(void) {
    /* The word of flags in the header, and the flag: see Life in layout.rs and Bit in life.rs. */
    enum { FLAGS_AT = 128, CORRUPT = 4 };
    char name[40], path[100];
    taskring_pool *pool = NULL;
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_options options = TASKRING_OPTIONS_INIT;
    struct pollfd polled = {-1, POLLIN, 0};
    taskring_completion one;
    uint32_t flags;
    size_t count;
    config.start_method = TASKRING_NO_WORKERS;
    config.capacity = 8;
    board.calls = board.destroyed = 0;
    snprintf(name, sizeof name, "corrupt-%d", (int)getpid());
    OK(taskring_create_named(&config, name, &pool));
    OK(taskring_completions_new(&options.completions));
    OK(taskring_completions_fd(options.completions, &polled.fd));
    uint64_t first = nap_for(pool, 1, &options), second = nap_for(pool, 1, NULL);
    OK(taskring_on_done(pool, second, note, NULL, destroy));
    snprintf(path, sizeof path, "/dev/shm/taskring.%s", name);
    int file = open(path, O_RDWR | O_CLOEXEC);
    CHECK(file >= 0 && pread(file, &flags, sizeof flags, FLAGS_AT) == sizeof flags);
    flags |= CORRUPT;
    CHECK(pwrite(file, &flags, sizeof flags, FLAGS_AT) == sizeof flags && close(file) == 0);
    CHECK(poll(&polled, 1, 5000) == 1);
    until_calls(1);
    STATUS(TASKRING_CORRUPT, taskring_wait(pool, first, SOON));
    OK(taskring_completions_next(options.completions, 0, &one, 1, &count));
    CHECK(one.ticket == first);
    OK(taskring_completions_free(options.completions));
    OK(taskring_free(pool));
    CHECK(board.calls == 1 && board.destroyed == 1);
}

/* Frees the pool while its owner is in free: whoever comes second is told. */
static void free_it(taskring_pool *pool, uint64_t ticket, void *context) {
    (void)ticket;
    *(taskring_status *)context = taskring_free(pool);
}

static void freed_by_its_callback(uint32_t method) {
    for (int round = 0; round < 20; round++) {
        taskring_pool *pool = make_pool(method, 1, 64);
        taskring_status inner = 77;
        uint64_t ticket = nap_for(pool, 5, NULL);
        OK(taskring_on_done(pool, ticket, free_it, &inner, NULL));
        taskring_status outer = taskring_free(pool);
        CHECK((outer == TASKRING_OK) != (inner == TASKRING_OK));
        CHECK(outer == TASKRING_OK || outer == TASKRING_INVALID_ARGUMENT);
        CHECK(inner == TASKRING_OK || inner == TASKRING_INVALID_ARGUMENT);
    }
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    uint32_t method = argc > 1 && strcmp(argv[1], "spawn") == 0 ? TASKRING_SPAWN : TASKRING_THREAD;
    arrival_order(method);
    every_task_once(method);
    with_epoll(method);
    taken_by_threads(method);
    callbacks(method);
    the_last_one_is_told_to_all(method);
    freed_by_its_callback(method);
    corrupt();
    puts("ok");
    return 0;
}
