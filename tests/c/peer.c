/* One side of a pool between languages: peer work NAME, or peer submit NAME. */
#include "check.h"

/* Sends the squares below its argument, and gives nothing. */
static int32_t squares(taskring_call *call, void *context) {
    uint64_t to;
    (void)context;
    memcpy(&to, taskring_call_args(call, NULL), sizeof to);
    for (uint64_t x = 0; x < to; x++) {
        const uint64_t y = x * x;
        OK(taskring_send_event(&y, sizeof y));
    }
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    register_all();
    OK(taskring_register("squares", squares, NULL, NULL));
    if (strcmp(argv[1], "work") == 0) {
        OK(taskring_work(argv[2]));
        return 0;
    }
    taskring_pool *pool = NULL;
    OK(taskring_attach(argv[2], &pool));
    for (uint64_t x = 0; x < 100; x++)
        CHECK(square_in(pool, x) == x * x);
    uint64_t ticket, y = 0, to = 20;
    size_t len = 0;
    ticket = submit(pool, "squares", &to, sizeof to);
    for (uint64_t x = 0; x < to; x++) {
        OK(taskring_next_event(pool, ticket, SOON, &y, sizeof y, &len));
        CHECK(len == sizeof y && y == x * x);
    }
    STATUS(TASKRING_END, taskring_next_event(pool, ticket, SOON, &y, sizeof y, &len));
    OK(taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    ticket = submit(pool, "square", "abc", 3);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    return taskring_free(pool);
}
