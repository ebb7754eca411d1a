/* A library of the program starts a thread before main, as numeric libraries do: the program is its own worker all the same. */
#include <pthread.h>
#include "check.h"
static void *idle(void *nothing) {
    sleep(30);
    return nothing;
}

__attribute__((constructor)) static void early(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, idle, NULL);
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_init(argc, argv));
    taskring_pool *pool = NULL;
    OK(taskring_create(NULL, &pool));
    CHECK(square_in(pool, 7) == 49);
    OK(taskring_free(pool));
    return 0;
}
