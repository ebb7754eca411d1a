/* One side of a pool between languages: peer work NAME, or peer submit NAME. */
#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 3);
    register_all();
    if (strcmp(argv[1], "work") == 0) {
        OK(taskring_work(argv[2]));
        return 0;
    }
    taskring_pool *pool = NULL;
    OK(taskring_attach(argv[2], &pool));
    for (uint64_t x = 0; x < 100; x++)
        CHECK(square_in(pool, x) == x * x);
    uint64_t ticket = submit(pool, "square", "abc", 3);
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, ticket, SOON, NULL, 0, NULL));
    return taskring_free(pool);
}
