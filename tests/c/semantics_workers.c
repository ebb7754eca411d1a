/* The life of workers in C: how many tasks each of them runs. */
#include "check.h"
#include "semantics_main.h"

/* The thread that runs it, and its worker's number. */
struct self {
    int64_t thread;
    int32_t number;
};

static int32_t who(taskring_call *call, void *context) {
    const struct self self = {gettid(), taskring_worker_number()};
    (void)context;
    return taskring_call_set_result(call, &self, sizeof self);
}

static struct self ask(taskring_pool *pool) {
    struct self self;
    OK(taskring_result(pool, submit(pool, "who", NULL, 0), SOON, &self, sizeof self, NULL));
    return self;
}

static taskring_pool *limited(uint32_t kind, uint32_t workers, uint64_t tasks) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.workers = workers;
    config.max_tasks_per_worker = tasks;
    OK(taskring_create(&config, &pool));
    return pool;
}

static void semantics_p4_a_number_of_tasks_that_is_too_large_is_refused_and_0_is_no_limit(uint32_t kind) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = kind;
    config.max_tasks_per_worker = UINT64_C(1) << 32;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    CHECK(pool == NULL && strcmp(taskring_last_error(), "max_tasks_per_worker is 4294967296; wanted 1 to 4294967295") == 0);
    pool = limited(kind, 1, 0);
    const struct self first = ask(pool);
    for (int i = 0; i < 200; i++)
        CHECK(ask(pool).thread == first.thread);
    OK(taskring_free(pool));
}

static void semantics_p5_a_worker_runs_its_tasks_and_another_one_follows_with_its_number(uint32_t kind) {
    taskring_pool *pool = limited(kind, 1, 5);
    int64_t before = 0;
    for (int round = 0; round < 4; round++) {
        struct self first = ask(pool);
        for (; first.thread == before; first = ask(pool))
            sleep_ms(1);
        CHECK(first.number == 0);
        /* That was the first of its five. */
        for (int i = 1; i < 5; i++)
            CHECK(ask(pool).thread == first.thread);
        before = first.thread;
    }
    OK(taskring_free(pool));
}

enum { MANY = 60 };

static void semantics_p6_no_task_is_stranded_while_workers_are_replaced(uint32_t kind) {
    taskring_pool *pool = limited(kind, 2, 1);
    uint64_t tickets[MANY];
    for (uint64_t i = 0; i < MANY; i++)
        tickets[i] = submit_square(pool, i);
    OK(taskring_shutdown(pool, 0, 0));
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t y = 0;
        OK(taskring_result(pool, tickets[i], SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_p4_a_number_of_tasks_that_is_too_large_is_refused_and_0_is_no_limit),
    CASE(semantics_p5_a_worker_runs_its_tasks_and_another_one_follows_with_its_number),
    CASE(semantics_p6_no_task_is_stranded_while_workers_are_replaced),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("who", who, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
