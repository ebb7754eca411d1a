/* Tasks that wait for tasks of their own pool. */
#include "check.h"

static taskring_status submit_number(taskring_pool *pool, const char *name, uint64_t n, uint64_t *ticket) {
    return taskring_submit_named(pool, name, &n, sizeof n, NULL, TASKRING_INFINITE, ticket);
}

static int32_t fibonacci(taskring_call *call, void *context) {
    uint64_t n, found[2], tickets[2];
    size_t len;
    (void)context;
    memcpy(&n, taskring_call_args(call, &len), sizeof n);
    if (n < 2)
        return taskring_call_set_result(call, &n, sizeof n);
    taskring_pool *pool = NULL;
    if (taskring_current_pool(&pool) != TASKRING_OK)
        return 1;
    taskring_status status = TASKRING_OK;
    for (int i = 0; i < 2 && status == TASKRING_OK; i++)
        status = submit_number(pool, "fibonacci", n - 1 - (uint64_t)i, &tickets[i]);
    for (int i = 0; i < 2 && status == TASKRING_OK; i++)
        status = taskring_result(pool, tickets[i], TASKRING_INFINITE, &found[i], sizeof found[i], NULL);
    if (status != TASKRING_OK)
        taskring_call_fail(call, taskring_last_error());
    taskring_free(pool);
    found[0] += found[1];
    return status != TASKRING_OK ? 2 : taskring_call_set_result(call, &found[0], sizeof found[0]);
}

/* The tasks below it wait for it one by one. */
static int32_t depth(taskring_call *call, void *context) {
    uint64_t n, found = 0, ticket;
    size_t len;
    (void)context;
    memcpy(&n, taskring_call_args(call, &len), sizeof n);
    if (n > 0) {
        taskring_pool *pool = NULL;
        if (taskring_current_pool(&pool) != TASKRING_OK || submit_number(pool, "depth", n - 1, &ticket) != TASKRING_OK)
            return 1;
        taskring_status status = taskring_result(pool, ticket, TASKRING_INFINITE, &found, sizeof found, NULL);
        if (status != TASKRING_OK) {
            taskring_call_fail(call, status == TASKRING_TOO_MANY ? "too deep" : taskring_last_error());
            return 2;
        }
        taskring_free(pool);
    }
    found += 1;
    return taskring_call_set_result(call, &found, sizeof found);
}

static void nested(int32_t method) {
    taskring_pool *pool = make_pool(method, 1, 256), *none = NULL;
    uint64_t ticket, found = 0;
    OK(submit_number(pool, "fibonacci", 9, &ticket));
    OK(taskring_result(pool, ticket, SOON, &found, sizeof found, NULL));
    CHECK(found == 34);
    OK(submit_number(pool, "depth", 64, &ticket));
    OK(taskring_result(pool, ticket, SOON, &found, sizeof found, NULL));
    CHECK(found == 65);
    OK(submit_number(pool, "depth", 70, &ticket));
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, &found, sizeof found, NULL));
    CHECK(strcmp(taskring_last_error(), "too deep") == 0);
    STATUS(TASKRING_UNSUPPORTED, taskring_current_pool(&none));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_current_pool(NULL));
    OK(taskring_free(pool));
}

int main(int argc, char **argv) {
    OK(taskring_register("fibonacci", fibonacci, NULL, NULL));
    OK(taskring_register("depth", depth, NULL, NULL));
    OK(taskring_init(argc, argv));
    const char *method = argc > 1 ? argv[1] : "thread";
    nested(strcmp(method, "spawn") == 0        ? TASKRING_SPAWN
           : strcmp(method, "fork") == 0       ? TASKRING_FORK
           : strcmp(method, "forkserver") == 0 ? TASKRING_FORKSERVER
                                               : TASKRING_THREAD);
    puts("ok");
    return 0;
}
