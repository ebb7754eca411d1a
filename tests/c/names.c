/* A named pool whose owner was killed: names NAME does it with a pool of that name, names NAME owner is its owner. */
#include "check.h"

/* The program anew, as the owner; returns when the pool is there. */
static pid_t start_owner(char *name) {
    int ready[2];
    char byte = 0;
    CHECK(pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
        char *const args[] = {(char *)(uintptr_t)"names", name, (char *)(uintptr_t)"owner", NULL};
        dup2(ready[1], 1);
        execv("/proc/self/exe", args);
        _exit(127);
    }
    CHECK(child > 0 && close(ready[1]) == 0);
    CHECK(read(ready[0], &byte, 1) == 1 && close(ready[0]) == 0);
    return child;
}

int main(int argc, char **argv) {
    OK(taskring_init(argc, argv));
    CHECK(argc >= 2);
    char *name = argv[1];
    taskring_pool *pool = NULL;
    if (argc == 3) {
        taskring_config config = TASKRING_CONFIG_INIT;
        config.start_method = TASKRING_NO_WORKERS;
        OK(taskring_create_named(&config, name, &pool));
        CHECK(write(1, "x", 1) == 1);
        for (;;)
            pause();
    }
    uint32_t removed = 7;
    const pid_t owner = start_owner(name);
    STATUS(TASKRING_EXISTS, taskring_remove_dead(name, &removed));
    CHECK(removed == 7);
    kill(owner, SIGKILL);
    CHECK(waitpid(owner, NULL, 0) == owner);
    OK(taskring_remove_dead(name, &removed));
    CHECK(removed == 1);
    OK(taskring_remove_dead(name, &removed));
    CHECK(removed == 0);
    OK(taskring_remove_dead(name, NULL));
    STATUS(TASKRING_NOT_FOUND, taskring_attach(name, &pool));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_remove_dead(NULL, &removed));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_remove_dead("no/slash", &removed));
    puts("ok");
    return 0;
}
