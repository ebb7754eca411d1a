#include <taskring.h>

int main(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool;
    config.start_method = TASKRING_THREAD;
    return taskring_create(&config, &pool) || taskring_free(pool) || taskring_version() != TASKRING_VERSION;
}
