/* The part of random.c for completion queues, callbacks, views and promises, whose means it uses. */
#ifndef TASKRING_TESTS_RANDOM_WAITS_H
#define TASKRING_TESTS_RANDOM_WAITS_H

static void use_queues(void) {
    taskring_completion some[16];
    taskring_pool *pool;
    unsigned i = (unsigned)below(QUEUES);
    size_t found;
    int fd;
    switch (below(16)) {
    case 0:
        CALL(completions_free, queues[i]);
        CALL(completions_new, &queues[i]);
        return;
    case 1:
        CALL(completions_fd, queues[i], &fd);
        return;
    case 2:
    case 3:
    case 4: {
        uint64_t ticket = a_ticket(&pool);
        CALL(completions_add, queues[i], pool, ticket, 1);
        return;
    }
    default:
        CALL(completions_next, queues[i], below(2) * 20000, some, below(17), &found);
    }
}

static void called_back(taskring_pool *pool, uint64_t ticket, void *context) {
    uint32_t found;
    __atomic_fetch_add((uint64_t *)context, 1, __ATOMIC_RELAXED);
    counted(F_state, taskring_state(pool, ticket, &found));
}

static void use_callback(void) {
    static uint64_t done;
    taskring_pool *pool;
    uint64_t ticket = a_ticket(&pool);
    CALL(on_done, pool, ticket, one_in(32) ? NULL : called_back, &done, NULL);
}

/* Reads what it was lent. */
static void use_view(void) {
    static volatile uint8_t sum;
    taskring_pool *pool;
    uint64_t ticket = a_ticket(&pool);
    const void *data = NULL;
    size_t len = 0;
    if (CALL(view, pool, ticket, below(2) * 20000, one_in(32) ? NULL : &data, &len) == TASKRING_OK)
        for (size_t i = 0; i < len; i++)
            sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
}

static void use_promises(void) {
    unsigned i = (unsigned)below(PROMISES);
    taskring_future future;
    uint32_t word;
    switch (below(6)) {
    case 0:
        CALL(promise_free, promises[i]);
        if (one_in(16))
            CALL(promise_free, promises[i]);
        if (CALL(promise_new, &promises[i], one_in(32) ? NULL : &future) == TASKRING_OK)
            keep(future.pool, future.ticket);
        return;
    case 1:
        CALL(promise_set_running_or_notify_cancel, promises[i], one_in(2) ? NULL : &word);
        return;
    case 2:
        CALL(promise_set_error, promises[i], one_in(16) ? NULL : "as it was told");
        return;
    case 3:
        CALL(promise_set_result, promises[i], names, below(sizeof names));
        return;
    default:
        CALL(promise_cancel_requested, promises[i], one_in(32) ? NULL : &word);
    }
}
#endif
