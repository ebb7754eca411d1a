/* The part of random.c for what steers a pool and its tasks, whose means it uses: pauses, other numbers of workers, tasks for one worker, hard cancels,
 * time limits, what running tasks tell and send, and contexts. Each task that these begin is looked at when it is over. */
#ifndef TASKRING_TESTS_RANDOM_STEER_H
#define TASKRING_TESTS_RANDOM_STEER_H

/* Told by a task, in the first bytes of what it reports. */
static const uint8_t word_told[4] = {10, 1, 2, 3};
static const uint8_t word_endless[8] = {'e', 'n', 'd', 'l', 'e', 's', 's', 0};

/* Of `any`, when its first byte says so. */
static void tell(void) {
    count(F_report_progress, taskring_report_progress(1, 2) == TASKRING_OK);
    count(F_report, taskring_report(word_told, sizeof word_told) == TASKRING_OK);
}

/* Of `any` as well: what it was given, what is told too, and what has no room in any ring, or in most. */
static void send_some(const uint8_t *bytes, size_t len) {
    static const uint8_t large[TASKRING_EVENT_LEN_MAX + 1];
    count(F_send_event, taskring_send_event(bytes, len) == TASKRING_OK);
    count(F_send_event, taskring_send_event(word_told, sizeof word_told) == TASKRING_OK);
    count(F_send_event, taskring_send_event(large, sizeof large - (len % 2 == 0)) == TASKRING_OK);
}

/* Longer than any test: killed, or asked to stop. Not where it was called by a number of no meaning, with other arguments. */
static int32_t endless(taskring_call *call, void *context) {
    (void)context;
    size_t len = 0;
    const void *args = taskring_call_args(call, &len);
    if (len != sizeof word_endless || memcmp(args, word_endless, len) != 0)
        return 0;
    for (int i = 0; i < 20000 && !taskring_cancel_requested(); i++)
        sleep_ms(1);
    return 0;
}

static int32_t make_context(taskring_call *call, void **context, void *data) {
    size_t len = 0;
    (void)data;
    taskring_call_args(call, &len);
    *context = malloc(1);
    /* Without arguments it cannot be made. */
    if (len == 0) {
        free(*context);
        return 1;
    }
    return 0;
}

static void end_context(void *context, void *data) {
    (void)data;
    free(context);
}

static int32_t in_context(taskring_call *call, void *context, void *data) {
    (void)data;
    size_t len;
    const void *args = taskring_call_args(call, &len);
    return context == NULL || taskring_call_set_result(call, args, len);
}

static void register_steered(void) {
    OK(taskring_register("endless", endless, NULL, NULL));
    OK(taskring_register_context("context", make_context, end_context, NULL, NULL));
    OK(taskring_register_in_context("in context", in_context, NULL, NULL));
}

/* A pool whose workers have contexts, or cannot make them and so break it. */
static void use_contexts(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    const int is_good = one_in(2);
    const taskring_named_bytes initializer = {"context", "x", is_good ? 1 : 0};
    taskring_pool *pool = NULL;
    uint64_t ticket = 0;
    uint32_t kind;
    CALL(register_context, one_in(4) ? NULL : "context", make_context, end_context, NULL, NULL);
    CALL(register_in_context, "in context", one_in(4) ? NULL : in_context, NULL, NULL);
    config.start_method = TASKRING_THREAD;
    config.workers = 1;
    config.capacity = 4;
    config.initializer = &initializer;
    if (CALL(create, &config, &pool) != TASKRING_OK)
        return;
    taskring_status status = CALL(submit_named, pool, "in context", "\7", 1, NULL, SOON, &ticket);
    if (status == TASKRING_OK) {
        uint8_t result = 0;
        status = CALL(result, pool, ticket, SOON, &result, 1, NULL);
        CHECK(status != TASKRING_OK || result == 7);
    }
    CHECK(status == (is_good ? TASKRING_OK : TASKRING_BROKEN));
    CALL(last_broken, &kind);
    CALL(free, pool);
}

/* A task that would not end is killed with its worker, or at its time limit, or asked to stop. */
static void end_hard(taskring_pool *spawned) {
    taskring_options options = TASKRING_OPTIONS_INIT;
    const unsigned how = (unsigned)below(3);
    uint64_t ticket = 0;
    uint32_t word = 0;
    if (how == 1)
        options.hard_limit_ns = 2 * MS;
    if (how == 2)
        options.soft_limit_ns = 2 * MS;
    if (CALL(submit_named, spawned, "endless", word_endless, sizeof word_endless, &options, SOON, &ticket) != TASKRING_OK)
        return;
    if (how == 0) {
        for (int i = 0; i < 20000 && word != TASKRING_RUNNING; i++) {
            sleep_ms(1);
            CALL(state, spawned, ticket, &word);
        }
        CALL(cancel_hard, spawned, ticket, &word);
        CHECK(word == 1);
    }
    const taskring_status expected[] = {TASKRING_CANCELLED, TASKRING_TIME_LIMIT, TASKRING_OK};
    STATUS(expected[how], counted(F_result, taskring_result(spawned, ticket, SOON, NULL, 0, NULL)));
    CALL(cancel_hard, spawned, ticket, one_in(2) ? NULL : &word);
}

/* Nothing that is submitted in a pause begins, and all of it is over once afterwards, or purged. */
static void pause_and_purge(taskring_pool *pool) {
    taskring_stats stats = TASKRING_STATS_INIT;
    uint64_t ticket = 0, purged = 0;
    uint32_t word = 0;
    if (CALL(pool_stats, pool, &stats) != TASKRING_OK || stats.workers == 0 || CALL(pause, pool) != TASKRING_OK)
        return;
    const int is_submitted = CALL(submit_named, pool, "any", "\2", 1, NULL, 0, &ticket) == TASKRING_OK;
    CALL(is_paused, pool, &word);
    CHECK(word == 1);
    if (is_submitted) {
        CALL(state, pool, ticket, &word);
        CHECK(word == TASKRING_PENDING);
    }
    const int is_purged = one_in(4) && CALL(purge, pool, one_in(4) ? NULL : &purged) == TASKRING_OK;
    CALL(resume, pool);
    if (is_submitted) {
        STATUS(is_purged ? TASKRING_CANCELLED : TASKRING_OK, counted(F_result, taskring_result(pool, ticket, SOON, NULL, 0, NULL)));
    }
}

/* For one worker, or for each of a pool that has one. */
static void submit_for_one(taskring_pool *spawned) {
    const int i = (int)below(POOLS);
    uint64_t made[2], ticket = 0;
    size_t submitted = 0;
    if (one_in(4)) {
        uint32_t number;
        if (CALL(function, spawned, "any", &number) != TASKRING_OK)
            return;
        CALL(broadcast, spawned, number, "\2", 1, NULL, made, one_in(16) ? 0 : 2, &submitted);
        CHECK(submitted <= 1);
        if (submitted == 1)
            STATUS(TASKRING_OK, counted(F_result, taskring_result(spawned, made[0], SOON, NULL, 0, NULL)));
        return;
    }
    if (CALL(submit_to, pools[i], one_in(16) ? (uint32_t)below(300) : 0, functions[i], "\2", 1, NULL, 0, &ticket) == TASKRING_OK)
        keep(pools[i], ticket);
}

/* What a task tells, and where its failure comes from. */
static void use_reports(void) {
    const int i = (int)below(POOLS);
    taskring_stats stats = TASKRING_STATS_INIT;
    uint64_t ticket = 0, done = 0, whole = 0;
    uint8_t told[64] = {0};
    size_t len = 0;
    const int fails = one_in(2);
    CALL(pool_stats, pools[i], &stats);
    if (stats.workers == 0 || CALL(submit_timed, pools[i], functions[i], fails ? "\1" : "\12", 1, NULL, 0, &ticket) != TASKRING_OK)
        return;
    if (CALL(wait, pools[i], ticket, SOON) == TASKRING_OK && !fails) {
        CALL(progress, pools[i], ticket, one_in(4) ? NULL : &done, &whole);
        if (CALL(reported, pools[i], ticket, told, one_in(4) ? 2 : sizeof told, &len) == TASKRING_OK)
            CHECK(whole == 2 && len == sizeof word_told && memcmp(told, word_told, len) == 0);
    }
    if (CALL(result, pools[i], ticket, SOON, NULL, 0, NULL) == TASKRING_TASK_FAILED)
        count(F_last_source, strcmp(taskring_last_source(), "what it was told") == 0);
}

/* The events of a task, one by one: there are two, or those that there was memory for. */
static void use_events(void) {
    const int i = (int)below(POOLS);
    taskring_stats stats = TASKRING_STATS_INIT;
    uint64_t ticket = 0;
    uint8_t bytes[8];
    size_t len = 0, read = 0;
    CALL(pool_stats, pools[i], &stats);
    if (stats.workers == 0 || CALL(submit_timed, pools[i], functions[i], "\14", 1, NULL, 0, &ticket) != TASKRING_OK)
        return;
    for (;;) {
        const size_t room = one_in(4) ? 0 : sizeof bytes;
        const taskring_status status = CALL(next_event, pools[i], ticket, SOON, bytes, room, one_in(4) ? NULL : &len);
        if (status == TASKRING_BUFFER_TOO_SMALL && room == 0)
            continue;
        if (status != TASKRING_OK) {
            STATUS(TASKRING_END, status);
            break;
        }
        CHECK(bytes[0] == (read == 0 ? 12 : word_told[0]) || bytes[0] == word_told[0]);
        CHECK(++read <= 2);
    }
    CALL(result, pools[i], ticket, SOON, bytes, sizeof bytes, &len);
    STATUS(TASKRING_STALE, counted(F_next_event, taskring_next_event(pools[i], ticket, 0, bytes, sizeof bytes, &len)));
}

static void steer(taskring_pool *spawned) {
    taskring_pool *pool;
    if (one_in(600)) {
        end_hard(spawned);
        return;
    }
    if (one_in(40)) {
        use_contexts();
        return;
    }
    if (one_in(80)) {
        CALL(resize, a_pool(), one_in(8) ? 0 : 1 + (uint32_t)below(3));
        return;
    }
    switch (below(6)) {
    case 0:
        submit_for_one(spawned);
        return;
    case 1:
        use_reports();
        return;
    case 2:
        pause_and_purge(one_in(8) ? a_pool() : pools[below(POOLS)]);
        return;
    case 3: {
        uint64_t ticket = a_ticket(&pool);
        CALL(cancel_hard, pool, ticket, NULL);
        return;
    }
    case 4:
        use_events();
        return;
    default:
        CALL(resume, pools[below(POOLS)]);
        CALL(purge, pools[below(POOLS)], NULL);
    }
}
#endif
