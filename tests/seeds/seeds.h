/* What the examples in C share: a pool, inputs for a map, and a main that runs the example it is told. */
#ifndef TASKRING_TESTS_SEEDS_H
#define TASKRING_TESTS_SEEDS_H

#include "../c/check.h"

struct example {
    const char *name;
    void (*run)(void);
};

/* The example that the command line names. */
static inline int run_example(int argc, char **argv, const struct example *all, size_t count) {
    for (size_t i = 0; argc == 2 && i < count; i++)
        if (strcmp(all[i].name, argv[1]) == 0) {
            all[i].run();
            return 0;
        }
    fprintf(stderr, "no example %s\n", argc == 2 ? argv[1] : "");
    return 1;
}

/* The first argument of a task that takes numbers. */
static inline uint64_t number(taskring_call *call) {
    uint64_t n;
    memcpy(&n, taskring_call_args(call, NULL), sizeof n);
    return n;
}

/* Numbers from first to last, up or down, as the inputs of a map. */
struct numbers {
    uint64_t next, last;
    int ended;
    uint64_t given;
};

static inline int32_t next_number(void *context, taskring_bytes *args) {
    struct numbers *it = context;
    if (it->ended)
        return 0;
    it->given = it->next;
    it->ended = it->next == it->last;
    it->next += it->next < it->last ? 1 : UINT64_MAX;
    args->data = &it->given;
    args->len = sizeof it->given;
    return 1;
}

#endif
