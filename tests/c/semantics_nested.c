/* Rows B4 and P36 of the contract in C: tasks that submit to their own pool and wait for what they submitted. */
#include "check.h"
#include "semantics_main.h"

static uint64_t submit_number(taskring_pool *pool, const char *name, uint64_t n) { return submit(pool, name, &n, sizeof n); }

static int32_t fibonacci(taskring_call *call, void *context) {
    uint64_t n, found[2], tickets[2];
    (void)context;
    memcpy(&n, taskring_call_args(call, NULL), sizeof n);
    if (n < 2)
        return taskring_call_set_result(call, &n, sizeof n);
    taskring_pool *pool = NULL;
    OK(taskring_current_pool(&pool));
    for (uint64_t i = 0; i < 2; i++)
        tickets[i] = submit_number(pool, "fibonacci", n - 1 - i);
    for (int i = 0; i < 2; i++)
        OK(taskring_result(pool, tickets[i], TASKRING_INFINITE, &found[i], sizeof found[i], NULL));
    OK(taskring_free(pool));
    found[0] += found[1];
    return taskring_call_set_result(call, &found[0], sizeof found[0]);
}

/* The tasks below it wait for it one by one. */
static int32_t depth(taskring_call *call, void *context) {
    uint64_t n, found = 0;
    (void)context;
    memcpy(&n, taskring_call_args(call, NULL), sizeof n);
    if (n > 0) {
        taskring_pool *pool = NULL;
        if (taskring_current_pool(&pool) != TASKRING_OK)
            return 1;
        const uint64_t ticket = submit_number(pool, "depth", n - 1);
        const taskring_status status = taskring_result(pool, ticket, TASKRING_INFINITE, &found, sizeof found, NULL);
        if (status != TASKRING_OK) {
            taskring_call_fail(call, status == TASKRING_TOO_MANY ? "too deep" : taskring_last_error());
            return 2;
        }
        OK(taskring_free(pool));
    }
    found += 1;
    return taskring_call_set_result(call, &found, sizeof found);
}

static uint64_t result_of(taskring_pool *pool, uint64_t ticket) {
    uint64_t found = 0;
    OK(taskring_result(pool, ticket, SOON, &found, sizeof found, NULL));
    return found;
}

static void semantics_b4_one_worker_is_enough_for_tasks_that_wait_for_their_own(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 256);
    CHECK(result_of(pool, submit_number(pool, "fibonacci", 9)) == 34);
    CHECK(square_in(pool, 5) == 25);
    OK(taskring_free(pool));
}

static void semantics_b4_what_lies_too_deep_is_refused(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 256);
    CHECK(result_of(pool, submit_number(pool, "depth", 64)) == 65);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, submit_number(pool, "depth", 70), SOON, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "too deep") == 0);
    CHECK(square_in(pool, 5) == 25);
    OK(taskring_free(pool));
}

/* How many slots the pool has in which this runs. */
static int32_t says_where(taskring_call *call, void *context) {
    taskring_pool *pool = NULL;
    taskring_stats stats = TASKRING_STATS_INIT;
    (void)context;
    OK(taskring_current_pool(&pool));
    OK(taskring_pool_stats(pool, &stats));
    OK(taskring_free(pool));
    const uint64_t capacity = stats.capacity;
    return taskring_call_set_result(call, &capacity, sizeof capacity);
}

static void semantics_p36_a_task_has_the_pool_that_runs_it_and_nobody_else_has(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 32), *none = NULL;
    CHECK(result_of(pool, submit(pool, "says_where", NULL, 0)) == 32);
    CHECK(square_in(pool, 5) == 25); /* What a task frees is its handle. */
    STATUS(TASKRING_UNSUPPORTED, taskring_current_pool(&none));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_current_pool(NULL));
    CHECK(none == NULL);
    OK(taskring_free(pool));
}

/* Tasks in threads that wait for each other, once all of their tickets are there; how many of them were told that they would wait for ever. */
static struct circle {
    taskring_pool *pool;
    uint64_t tickets[3], count;
    int placed;
    uint32_t told;
} circle;

/* Waits for the next one of the circle. 1 for the one that is told, and one more than the next one for each of the others. */
static int32_t wait_for_next(taskring_call *call, void *context) {
    uint64_t place, found = 0;
    (void)context;
    memcpy(&place, taskring_call_args(call, NULL), sizeof place);
    while (!__atomic_load_n(&circle.placed, __ATOMIC_ACQUIRE))
        sleep_ms(1);
    const uint64_t next = circle.tickets[(place + 1) % circle.count];
    const taskring_status status = taskring_result(circle.pool, next, TASKRING_INFINITE, &found, sizeof found, NULL);
    if (status == TASKRING_WOULD_DEADLOCK)
        __atomic_fetch_add(&circle.told, 1, __ATOMIC_ACQ_REL);
    else if (status != TASKRING_OK)
        return 1;
    found += 1;
    return taskring_call_set_result(call, &found, sizeof found);
}

/* A ticket belongs to one process: only its threads can wait in a circle. With workers that are processes their pool is there to be none of it. */
static void wait_in_a_circle(uint32_t kind, uint32_t count) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    taskring_config config = config_of(in_threads(kind) ? kind : TASKRING_THREAD, count);
    config.replacements = 2; /* That others might come changes nothing: who is waited for has begun. */
    circle.pool = create(&config);
    circle.count = count;
    for (uint64_t place = 0; place < count; place++)
        circle.tickets[place] = submit_number(circle.pool, "wait_for_next", place);
    __atomic_store_n(&circle.placed, 1, __ATOMIC_RELEASE);
    /* Of all tickets one is left: that of the task for which somebody would not wait. */
    OK(taskring_shutdown(circle.pool, 1, 0));
    uint32_t left = 0;
    for (uint64_t place = 0; place < count; place++) {
        uint64_t found = 0;
        const taskring_status status = taskring_result(circle.pool, circle.tickets[place], 0, &found, sizeof found, NULL);
        CHECK(status == TASKRING_OK ? found == count : status == TASKRING_STALE);
        left += status == TASKRING_OK;
    }
    CHECK(circle.told == 1 && left == 1);
    OK(taskring_free(circle.pool));
    CHECK(square_in(pool, 5) == 25);
    OK(taskring_free(pool));
}

static void semantics_b4_of_two_that_wait_for_each_other_one_is_told(uint32_t kind) { wait_in_a_circle(kind, 2); }
static void semantics_b4_of_three_that_wait_in_a_circle_one_is_told(uint32_t kind) { wait_in_a_circle(kind, 3); }

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_b4_one_worker_is_enough_for_tasks_that_wait_for_their_own),
    CASE(semantics_b4_what_lies_too_deep_is_refused),
    CASE(semantics_b4_of_two_that_wait_for_each_other_one_is_told),
    CASE(semantics_b4_of_three_that_wait_in_a_circle_one_is_told),
    CASE(semantics_p36_a_task_has_the_pool_that_runs_it_and_nobody_else_has),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("fibonacci", fibonacci, NULL, NULL));
    OK(taskring_register("depth", depth, NULL, NULL));
    OK(taskring_register("says_where", says_where, NULL, NULL));
    OK(taskring_register("wait_for_next", wait_for_next, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
