/* Wrong parameters: each a status that names the value, and nothing changed. */
#include "check.h"
#include <pthread.h>

/* From inside a task: a pool of the task's own works, and it is freed there. */
static int32_t nested(taskring_call *call, void *context) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *inner = NULL;
    (void)context;
    config.start_method = TASKRING_THREAD;
    config.workers = 1;
    OK(taskring_create(&config, &inner));
    uint64_t y = square_in(inner, 9);
    OK(taskring_free(inner));
    return taskring_call_set_result(call, &y, sizeof y);
}

static void says(const char *part) {
    if (strstr(taskring_last_error(), part) == NULL) {
        fprintf(stderr, "\"%s\" does not name \"%s\"\n", taskring_last_error(), part);
        exit(1);
    }
}

static void nulls(taskring_pool *pool, uint64_t ticket) {
    taskring_pool *none = NULL;
    taskring_loss loss;
    uint32_t word = 1;
    uint64_t number = 1;
    size_t count = 1;
    uint8_t byte = 1;
    taskring_stats stats = TASKRING_STATS_INIT;
    taskring_future future = {NULL, ticket};
    taskring_bytes bytes = {NULL, 3};
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(NULL, NULL));
    says("pool is NULL");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create_named(NULL, NULL, &none));
    says("name is NULL");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_attach(NULL, &none));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_attach("x", NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_work(NULL));
    OK(taskring_free(NULL));
    OK(taskring_set_free(NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shutdown(NULL, 1, 1));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register(NULL, nested, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_register("x", NULL, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_function(NULL, "square", &word));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_function(pool, NULL, &word));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_function(pool, "square", NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(NULL, 1, NULL, 0, NULL, &number));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, 1, NULL, 0, NULL, NULL));
    says("ticket is NULL");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, 1, NULL, 8, NULL, &number));
    says("args is NULL");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_timed(pool, 1, NULL, 8, NULL, 0, &number));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_bulk(pool, 1, NULL, 1, NULL, &number, &count));
    CHECK(count == 0);
    count = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit_bulk(pool, 1, &bytes, 1, NULL, &number, &count));
    CHECK(count == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_state(NULL, ticket, &word));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_state(pool, ticket, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_cancel(NULL, ticket, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_wait(NULL, ticket, 0));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_result(NULL, ticket, 0, NULL, 0, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_result(pool, ticket, 0, NULL, 8, NULL));
    says("buffer is NULL");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(NULL, ticket, 0, NULL, 0, &count));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(pool, ticket, 0, NULL, 8, &count));
    says("buffer is NULL");
    STATUS(TASKRING_END, taskring_next_event(pool, ticket, TASKRING_INFINITE, NULL, 0, NULL));
    /* Nothing of what was asked for: no pool's name is meant. */
    STATUS(TASKRING_NOT_FOUND, taskring_progress(pool, ticket, &number, &number));
    CHECK(strcmp(taskring_last_error(), "there is no report of the task") == 0);
    STATUS(TASKRING_NOT_FOUND, taskring_reported(pool, ticket, NULL, 0, &count));
    CHECK(strcmp(taskring_last_error(), "there is no report of the task") == 0);
    STATUS(TASKRING_NOT_FOUND, taskring_worker_pid(pool, ticket, &word));
    CHECK(strcmp(taskring_last_error(), "there is no worker that runs the task") == 0);
    STATUS(TASKRING_NOT_FOUND, taskring_last_loss(&loss));
    CHECK(strcmp(taskring_last_error(), "there is no lost worker: the last error of this thread was another one") == 0);
    STATUS(TASKRING_NOT_FOUND, taskring_last_broken(&word));
    CHECK(strcmp(taskring_last_error(), "there is no broken pool: the last error of this thread was another one") == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_send_event(NULL, 8));
    says("data is NULL");
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_send_event(&number, SIZE_MAX));
    STATUS(TASKRING_UNSUPPORTED, taskring_send_event(NULL, 0));
    says("outside a task");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_release(NULL, ticket));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_worker_pid(pool, ticket, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_wait_many(NULL, 1, 0, 0, &byte, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_wait_many(&future, 1, 0, 0, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_wait_many(&future, 1, 0, 0, &byte, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_new(NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_new(pool, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_discard(NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_pool_stats(NULL, &stats));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_pool_stats(pool, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_last_loss(NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_call_set_result(NULL, NULL, 0));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_call_fail(NULL, "x"));
    CHECK(taskring_call_args(NULL, &count) == NULL && taskring_call_result(NULL, 1) == NULL);
    CHECK(none == NULL && word == 1 && number == 1 && byte == 1);
}

static void configs(void) {
    taskring_pool *none = NULL;
    taskring_config config = TASKRING_CONFIG_INIT;
    config.start_method = TASKRING_THREAD;
#define REFUSED(field, value, part)                                     \
    do {                                                                \
        taskring_config wrong = config;                                 \
        wrong.field = (value);                                          \
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &none)); \
        says(part);                                                     \
    } while (0)
    REFUSED(struct_size, 0, "size 0");
    REFUSED(struct_size, 1000000, "size 1000000");
    REFUSED(start_method, 99, "start_method is 99");
    REFUSED(workers, 193, "workers is 193");
    REFUSED(capacity, 2000000, "capacity is 2000000");
    REFUSED(payload_max, 100, "payload_max is 100");
    REFUSED(on_worker_death, 7, "on_worker_death is 7");
    REFUSED(attempts_max, 1, "attempts_max is 1");
    REFUSED(attempts_max, 256, "attempts_max is 256");
    REFUSED(orphans, 2, "orphans is 2");
    REFUSED(kills_max, 300, "kills_max is 300");
    REFUSED(task_soft_limit_ns, TASKRING_INFINITE, "more than 0 and up to 49 days");
    REFUSED(task_hard_limit_ns, TASKRING_INFINITE, "more than 0 and up to 49 days");
    REFUSED(reserved, 1, "reserved is 1");
    const char *list[] = {"x", NULL};
    REFUSED(worker_args, list, "worker_path is NULL");
    taskring_config bad_env = config;
    bad_env.worker_path = "/bin/true";
    bad_env.worker_env = list;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&bad_env, &none));
    says("NAME=value");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create_named(&config, "no/slash", &none));
    STATUS(TASKRING_NOT_FOUND, taskring_attach("no-such-pool-of-misuse", &none));
    STATUS(TASKRING_NOT_FOUND, taskring_work("no-such-pool-of-misuse"));
    CHECK(none == NULL);
    /* A caller with a shorter struct gets defaults for the rest; one with a longer struct works as long as the rest is zero. */
    struct {
        taskring_config known;
        uint64_t unknown;
    } longer = {config, 0};
    longer.known.struct_size = sizeof longer;
    OK(taskring_create(&longer.known, &none));
    OK(taskring_free(none));
    none = NULL;
    longer.unknown = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&longer.known, &none));
    says("newer header");
    config.struct_size = 8;
    OK(taskring_create(&config, &none));
    OK(taskring_free(none));
}

static void tickets(taskring_pool *pool) {
    static const uint64_t wrong[] = {0, 1, UINT64_C(0xffffffff), UINT64_MAX, UINT64_C(1) << 40, UINT64_C(65) << 32};
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_state(pool, wrong[i], &state));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_result(pool, wrong[i], TASKRING_INFINITE, NULL, 0, NULL));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_next_event(pool, wrong[i], TASKRING_INFINITE, NULL, 0, NULL));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_release(pool, wrong[i]));
    }
    /* A ticket that could be: of a slot of ours, never given out. */
    STATUS(TASKRING_STALE, taskring_state(pool, UINT64_C(64) << 32 | 12345, &state));
    STATUS(TASKRING_STALE, taskring_wait(pool, UINT64_C(64) << 32 | 12345, TASKRING_INFINITE));
    STATUS(TASKRING_STALE, taskring_result(pool, UINT64_C(64) << 32 | 12345, TASKRING_INFINITE, NULL, 0, NULL));
    STATUS(TASKRING_STALE, taskring_cancel(pool, UINT64_C(64) << 32 | 12345, &state));
    STATUS(TASKRING_STALE, taskring_next_event(pool, UINT64_C(64) << 32 | 12345, TASKRING_INFINITE, NULL, 0, NULL));
    CHECK(state == 1);
    uint64_t running = submit(pool, "until_asked", NULL, 0);
    until_state(pool, running, TASKRING_RUNNING);
    OK(taskring_cancel(pool, running, NULL));
    OK(taskring_release(pool, running));
    STATUS(TASKRING_STALE, taskring_wait(pool, running, TASKRING_INFINITE));
    STATUS(TASKRING_STALE, taskring_release(pool, running));
}

static void submits(taskring_pool *pool) {
    uint64_t number = 1;
    taskring_options options = TASKRING_OPTIONS_INIT;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, 0, NULL, 0, NULL, &number));
    says("function is 0");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, 500, NULL, 0, NULL, &number));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, UINT32_MAX, NULL, 0, NULL, &number));
    STATUS(TASKRING_PAYLOAD_TOO_LARGE, taskring_submit(pool, function(pool, "echo"), &number, SIZE_MAX, NULL, &number));
    options.flags = 77;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "echo"), NULL, 0, &options, &number));
    options.flags = 0;
    options.attempts_max = 256;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "echo"), NULL, 0, &options, &number));
    options.attempts_max = 0;
    options.soft_limit_ns = TASKRING_INFINITE;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "echo"), NULL, 0, &options, &number));
    says("more than 0 and up to 49 days");
    options.soft_limit_ns = 0;
    options.struct_size = 3;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "echo"), NULL, 0, &options, &number));
    CHECK(number == 1);
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.pending == 0 && stats.running == 0 && stats.unreleased == 0);
}

/* From a second thread: handles and tickets are the same there, and each is used up once. */
struct second {
    taskring_pool *pool;
    taskring_set *set;
    uint64_t ticket;
    int ends;
    pthread_t thread;
};

static void *use_all(void *of) {
    struct second *second = of;
    uint64_t y = 0;
    for (int i = 0; i < 200; i++)
        CHECK(square_in(second->pool, (uint64_t)i) == (uint64_t)(i * i));
    taskring_status end = taskring_result(second->pool, second->ticket, SOON, &y, sizeof y, NULL);
    CHECK(end == TASKRING_OK || end == TASKRING_STALE);
    CHECK(end == TASKRING_STALE || y == 49);
    second->ends += end == TASKRING_OK;
    /* What this thread is told is its own. */
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shutdown(NULL, 0, 0));
    says("pool is NULL");
    end = taskring_set_free(second->set);
    CHECK(end == TASKRING_OK || end == TASKRING_INVALID_ARGUMENT);
    second->ends += end == TASKRING_OK ? 100 : 0;
    return NULL;
}

static void from_threads(taskring_pool *pool) {
    struct second seconds[3];
    uint64_t x = 7;
    int ends = 0;
    for (int round = 0; round < 20; round++) {
        OK(taskring_set_new(pool, &seconds[0].set));
        seconds[0].ticket = submit(pool, "square", &x, sizeof x);
        for (int i = 0; i < 3; i++) {
            seconds[i] = (struct second){pool, seconds[0].set, seconds[0].ticket, 0, 0};
            CHECK(pthread_create(&seconds[i].thread, NULL, use_all, &seconds[i]) == 0);
        }
        for (int i = 0; i < 3; i++) {
            CHECK(pthread_join(seconds[i].thread, NULL) == 0);
            ends += seconds[i].ends;
        }
    }
    CHECK(ends == 20 * 101);
}

/* Numbers that are no handles, and handles of another kind. */
static void made_up(taskring_pool *pool) {
    static const uintptr_t wild[] = {1, 8, 0x51, 0x10000000051, UINTPTR_MAX, 0x7fffffffe000};
    taskring_set *set = NULL;
    uint64_t number = 1;
    OK(taskring_set_new(pool, &set));
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_shutdown((taskring_pool *)wild[i], 1, 1));
        says("pool is no such handle");
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_free((taskring_pool *)wild[i]));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_free((taskring_set *)wild[i]));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_completions_free((taskring_completions *)wild[i]));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_free((taskring_map *)wild[i]));
    }
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit((taskring_pool *)set, 1, NULL, 0, NULL, &number));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_discard((taskring_set *)pool, NULL));
    /* The number of a living handle, made out to be of another kind. */
    for (uintptr_t kind = 0; kind < 256; kind++) {
        uintptr_t forged = ((uintptr_t)pool & ~(uintptr_t)255) | kind;
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_set_free((taskring_set *)forged));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_completions_free((taskring_completions *)forged));
    }
    OK(taskring_set_free(set));
    CHECK(number == 1);
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("nested", nested, NULL, NULL));
    OK(taskring_init(argc, argv));
    taskring_pool *pool = NULL, *other = NULL;
    taskring_config config = TASKRING_CONFIG_INIT;
    config.start_method = TASKRING_THREAD;
    config.workers = 1;
    config.capacity = 64;
    OK(taskring_create(&config, &pool));
    OK(taskring_create(&config, &other));
    uint64_t x = 5, ticket = 0;
    OK(taskring_submit(pool, function(pool, "square"), &x, sizeof x, NULL, &ticket));
    OK(taskring_wait(pool, ticket, SOON));
    nulls(pool, ticket);
    OK(taskring_result(pool, ticket, 0, &x, sizeof x, NULL));
    CHECK(x == 25);
    ticket = submit(pool, "nested", NULL, 0);
    OK(taskring_result(pool, ticket, SOON, &x, sizeof x, NULL));
    CHECK(x == 81);
    from_threads(pool);
    made_up(pool);
    configs();
    submits(pool);
    tickets(pool);
    /* A set of another pool. */
    taskring_set *set = NULL;
    taskring_options options = TASKRING_OPTIONS_INIT;
    OK(taskring_set_new(other, &set));
    options.set = set;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "echo"), NULL, 0, &options, &ticket));
    OK(taskring_set_free(set));
    /* Status names, also of numbers that are none. */
    CHECK(strcmp(taskring_status_name(TASKRING_FULL), "TASKRING_FULL") == 0);
    CHECK(strcmp(taskring_status_name(-5), "TASKRING_UNKNOWN") == 0 && strlen(taskring_status_message(12345)) != 0);
    OK(taskring_free(other));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_free(other));
    says("freed");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_function(other, "square", &config.workers));
    OK(taskring_free(pool));
    puts("ok");
    return 0;
}
