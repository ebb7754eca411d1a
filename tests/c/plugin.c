/* A shared object that runs a pool inside a program that knows nothing of it. */
#include "check.h"

int run(void);
int run(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = TASKRING_THREAD;
    config.workers = 2;
    register_all();
    OK(taskring_create(&config, &pool));
    for (uint64_t x = 0; x < 100; x++)
        CHECK(square_in(pool, x) == x * x);
    OK(taskring_free(pool));
    return 42;
}
