/* The part of random.c for pools in the style of multiprocessing.Pool, whose means it uses. */
#ifndef TASKRING_TESTS_RANDOM_MULTI_H
#define TASKRING_TESTS_RANDOM_MULTI_H

enum { ASYNCS = 8 };
static taskring_multi *multi;
static taskring_async *asyncs[ASYNCS];
static taskring_map *lazy;

static void got_values(const taskring_bytes *values, size_t n, void *context) {
    (void)context;
    CHECK(n == 0 || values != NULL);
}

static void got_error(taskring_status status, void *context) {
    (void)context;
    CHECK(status != TASKRING_OK && status != TASKRING_INTERNAL && *taskring_last_error() != 0);
}

/* Ends the pool and makes another. */
static void renew_multi(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    config.start_method = TASKRING_THREAD;
    config.workers = 1;
    CALL(multi_join, multi);
    if (one_in(2))
        CALL(multi_close, multi);
    else
        CALL(multi_terminate, multi);
    if (one_in(2))
        CALL(multi_join, multi);
    CALL(multi_free, multi);
    CALL(multi_create, &config, &multi);
}

static void use_lazy_map(const char *function) {
    static uint32_t left;
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    char buffer[400];
    if (!one_in(8)) {
        CALL(map_next, lazy, below(2) * 20000, buffer, sizeof buffer, NULL, NULL);
        return;
    }
    CALL(map_free, lazy);
    lazy = NULL;
    left = (uint32_t)below(30);
    options.unordered = (uint32_t)below(2);
    options.chunk = one_in(8) ? TASKRING_CHUNK_AUTO : below(4);
    CALL(multi_imap, one_in(16) ? NULL : multi, function, some_input, &left, one_in(2) ? NULL : &options, &lazy);
}

static void use_multi(void) {
    static const uint8_t bytes[90] = {3};
    unsigned i = (unsigned)below(ASYNCS);
    taskring_callbacks callbacks = TASKRING_CALLBACKS_INIT;
    taskring_bytes some[20];
    char buffer[90];
    size_t n;
    uint32_t word;
    const char *function = one_in(16) ? "no such function" : "any";
    callbacks.callback = one_in(2) ? NULL : got_values;
    callbacks.error_callback = one_in(2) ? NULL : got_error;
    switch (below(9)) {
    case 0:
        if (one_in(8))
            renew_multi();
        return;
    case 1:
        CALL(multi_apply, multi, function, bytes, below(90), buffer, one_in(8) ? below(40) : sizeof buffer, one_in(2) ? NULL : &n);
        return;
    case 2:
    case 3:
        CALL(async_free, asyncs[i]);
        asyncs[i] = NULL;
        for (n = 0; n < 20; n++)
            some[n] = (taskring_bytes){bytes, below(90)};
        if (one_in(2))
            CALL(multi_apply_async, multi, function, bytes, below(90), one_in(2) ? NULL : &callbacks, one_in(32) ? NULL : &asyncs[i]);
        else
            CALL(multi_map_async, multi, function, some, below(21), below(4), one_in(2) ? NULL : &callbacks, one_in(32) ? NULL : &asyncs[i]);
        return;
    case 4:
        CALL(async_ready, asyncs[i], one_in(32) ? NULL : &word);
        return;
    case 5:
        CALL(async_successful, asyncs[i], one_in(32) ? NULL : &word);
        return;
    case 7:
        use_lazy_map(function);
        return;
    case 6:
        CALL(async_wait, asyncs[i], below(2) * 20000);
        return;
    default:
        CALL(async_get, asyncs[i], below(2) * 20000, some, one_in(8) ? below(21) : 20, one_in(2) ? NULL : &n);
    }
}

#endif
