/* Calls of every exported function in any order with good and bad arguments: random CALLS [SEED]. Only statuses come back, never a crash; at the end
 * a table. It fails when less than half of the calls succeed, or a function never does; of ten million calls and more each must a thousand times. */
#include "check.h"
#include <pthread.h>

#define FUNCTIONS(X)                                                                                                   \
    X(async_free) X(async_get) X(async_ready) X(async_successful) X(async_wait) \
    X(attach) X(attempt) X(broadcast) X(call_args) X(call_fail) X(call_result) X(call_set_result) X(call_source) X(cancel) X(cancel_hard) X(cancel_requested) \
    X(check_version) X(completions_add) X(completions_fd) X(completions_free) X(completions_new) X(completions_next) \
    X(create) X(create_named) X(current_pool) X(describe) X(free) X(function) X(init) X(is_paused) X(kill_workers) \
    X(last_broken) X(last_error) X(last_loss) X(last_source) X(last_worker) X(loan) X(loan_return) X(log) X(map_cancel) X(map_free) X(map_new) X(map_next) \
    X(multi_apply) X(multi_apply_async) X(multi_close) X(multi_create) X(multi_free) X(multi_imap) X(multi_join) X(multi_map_async) X(multi_terminate) \
    X(next_event) X(on_done) X(outcome) X(pause) X(peek) X(pool_stats) X(progress) X(promise_cancel_requested) X(promise_free) X(promise_new) \
    X(promise_set_error) X(promise_set_result) X(promise_set_running_or_notify_cancel) X(purge) X(register) X(register_context) \
    X(register_in_context) X(release) X(report) X(report_progress) X(reported) X(resize) X(resume) X(result) X(send_event) X(set_discard) X(set_free) X(set_log) X(set_new) X(shared) X(shutdown) X(shutdown_within) \
    X(state) X(status_message) X(status_name) X(submit) X(submit_bulk) X(submit_loan) X(submit_named) \
    X(submit_timed) X(submit_to) X(task_ticket) X(terminate_workers) X(version) X(view) X(wait) X(wait_many) X(work) \
    X(worker_name) X(worker_number) X(worker_pid) \

enum {
#define X(name) F_##name,
    FUNCTIONS(X)
#undef X
        F_COUNT
};
static const char *const names[] = {
#define X(name) #name,
    FUNCTIONS(X)
#undef X
};

static uint64_t calls[F_COUNT], successes[F_COUNT], total;
static uint64_t state_of_random;

static void count(int function, int success) {
    __atomic_fetch_add(&calls[function], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&successes[function], success != 0, __ATOMIC_RELAXED);
}

static taskring_status counted(int function, taskring_status status) {
    CHECK(status >= TASKRING_OK && status <= TASKRING_EVENTS_FULL && status != TASKRING_INTERNAL);
    count(function, status == TASKRING_OK);
    __atomic_fetch_add(&total, 1, __ATOMIC_RELAXED);
    return status;
}
#define CALL(name, ...) counted(F_##name, taskring_##name(__VA_ARGS__))

static uint64_t below(uint64_t limit) {
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return (state_of_random >> 11) % limit;
}
static int one_in(uint64_t n) { return below(n) == 0; }

static void tell(void);
static void send_some(const uint8_t *bytes, size_t len);

/* What a task does follows from its first byte. */
static int32_t any(taskring_call *call, void *context) {
    (void)context;
    size_t len = 0;
    const uint8_t *args = taskring_call_args(call, &len);
    count(F_call_args, args != NULL);
    uint8_t what = len == 0 ? 0 : args[0];
    taskring_cancel_requested();
    taskring_attempt();
    count(F_cancel_requested, 1);
    count(F_attempt, 1);
    count(F_task_ticket, taskring_task_ticket() != 0);
    count(F_worker_number, taskring_worker_number() >= 0);
    count(F_worker_name, taskring_worker_name() != NULL);
    if (what == 10)
        tell();
    if (what % 16 == 12)
        send_some(args, len);
    if (what % 32 == 9) {
        taskring_pool *own = NULL;
        count(F_current_pool, taskring_current_pool(&own) == TASKRING_OK);
        taskring_free(own);
    }
    switch (what % 8) {
    case 0:
        count(F_call_result, taskring_call_result(call, len * 3) != NULL);
        return 0;
    case 1:
        count(F_call_source, taskring_call_source(call, "what it was told") == TASKRING_OK);
        count(F_call_fail, taskring_call_fail(call, "as it was told") == TASKRING_OK);
        return what;
    case 2:
        sleep_ms(0);
        return 0;
    default:
        count(F_call_set_result, taskring_call_set_result(call, args, len) == TASKRING_OK);
        return 0;
    }
}

enum { POOLS = 4, SETS = 4, QUEUES = 3, MAPS = 3, PROMISES = 4, TICKETS = 512 };
static taskring_pool *pools[POOLS];
static uint32_t functions[POOLS];
static taskring_set *sets[SETS];
static taskring_completions *queues[QUEUES];
static taskring_map *maps[MAPS];
static taskring_promise *promises[PROMISES];
static struct {
    taskring_pool *pool;
    uint64_t ticket;
} tickets[TICKETS];
static unsigned next_ticket;
static char name[64];

/* Now and then none, or a number that is no handle. */
static taskring_pool *a_pool(void) {
    if (one_in(64))
        return (taskring_pool *)(uintptr_t)(state_of_random >> below(64));
    return one_in(16) ? NULL : pools[below(POOLS)];
}

static uint64_t a_ticket(taskring_pool **pool) {
    unsigned i = (unsigned)below(TICKETS);
    *pool = one_in(32) ? a_pool() : tickets[i].pool;
    if (!one_in(32))
        return tickets[i].ticket;
    return one_in(2) ? below(UINT64_C(1) << 40) : state_of_random;
}

static void keep(taskring_pool *pool, uint64_t ticket) {
    unsigned i = next_ticket++ % TICKETS;
    if (tickets[i].ticket != 0)
        CALL(release, tickets[i].pool, tickets[i].ticket);
    tickets[i].pool = pool;
    tickets[i].ticket = ticket;
}

static void make(int i) {
    taskring_config config = TASKRING_CONFIG_INIT;
    config.start_method = TASKRING_THREAD;
    config.workers = (uint32_t)below(3);
    config.capacity = (uint32_t)(1 + below(200));
    config.payload_max = 1 << 22;
    const taskring_named_bytes value = {"value", "0123456789", below(11)};
    config.shared = one_in(32) ? NULL : &value;
    config.shared_count = 1;
    if (one_in(8))
        ((uint32_t *)(void *)&config)[below(offsetof(taskring_config, worker_path) / 4)] = (uint32_t)state_of_random;
    if (CALL(create, one_in(32) ? NULL : &config, &pools[i]) != TASKRING_OK)
        return;
    CALL(function, pools[i], "any", &functions[i]);
}

/* The workers of most pools here are threads, which no signal ends. */
static void end_workers(taskring_pool *threads) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = TASKRING_NO_WORKERS;
    config.capacity = 4;
    CALL(terminate_workers, threads);
    CALL(kill_workers, threads);
    if (CALL(create, &config, &pool) != TASKRING_OK)
        return;
    CALL(terminate_workers, pool);
    CALL(kill_workers, pool);
    CALL(free, pool);
}

static void unmake(int i) {
    uint64_t cancelled, killed;
    if (one_in(4))
        end_workers(one_in(16) ? a_pool() : pools[i]);
    if (one_in(4))
        CALL(shutdown_within, pools[i], SOON, one_in(2) ? NULL : &cancelled, one_in(2) ? NULL : &killed);
    else if (one_in(2))
        CALL(shutdown, pools[i], (int32_t)below(2), (int32_t)below(2));
    CALL(free, pools[i]);
}

static void submit_something(void) {
    static uint8_t bytes[300000];
    int i = (int)below(POOLS);
    taskring_options options = TASKRING_OPTIONS_INIT;
    uint32_t number = one_in(32) ? (uint32_t)below(600) : functions[i];
    size_t len = one_in(64) ? below(sizeof bytes) : below(100);
    taskring_pool *pool = one_in(32) ? NULL : pools[i];
    uint64_t made[80], ticket = 0;
    bytes[0] = (uint8_t)below(256);
    if (one_in(8))
        options.set = sets[below(SETS)];
    if (one_in(4)) {
        options.completions = queues[below(QUEUES)];
        options.user_data = state_of_random;
    }
    if (one_in(64))
        options.flags = (uint32_t)below(4);
    if (one_in(4))
        options.priority = (uint32_t)below(4);
    const taskring_options *given = one_in(2) ? NULL : &options;
    switch (below(6)) {
    case 2:
        if (CALL(submit_named, pool, one_in(16) ? "no such function" : "any", bytes, len, given, below(2) * 1000, &ticket) == TASKRING_OK)
            keep(pool, ticket);
        return;
    case 3: {
        uint64_t loan = 0;
        void *data = NULL;
        if (CALL(loan, pool, len, &loan, &data) != TASKRING_OK)
            return;
        memset(data, (int)below(256), len);
        if (!one_in(4) && CALL(submit_loan, pool, number, loan, one_in(16) ? len + 1 : len, given, below(2) * 1000, &ticket) == TASKRING_OK)
            keep(pool, ticket);
        else if (!one_in(16))
            CALL(loan_return, pool, loan);
        return;
    }
    case 0: {
        taskring_bytes args[80];
        size_t submitted = 0, n = below(80);
        for (size_t k = 0; k < n; k++)
            args[k] = (taskring_bytes){bytes, below(90)};
        /* A ring without workers would be waited for in vain: never more than fit. */
        taskring_stats stats = TASKRING_STATS_INIT;
        if (CALL(pool_stats, pool, &stats) != TASKRING_OK || stats.workers == 0)
            return;
        CALL(submit_bulk, pool, number, args, n, given, made, &submitted);
        for (size_t k = 0; k < submitted; k++)
            keep(pool, made[k]);
        return;
    }
    case 1: {
        taskring_stats stats = TASKRING_STATS_INIT;
        if (CALL(pool_stats, pool, &stats) != TASKRING_OK || stats.workers == 0)
            return;
        if (CALL(submit, pool, number, bytes, len, given, &ticket) == TASKRING_OK)
            keep(pool, ticket);
        return;
    }
    default:
        if (CALL(submit_timed, pool, number, bytes, len, given, below(2) * 1000, &ticket) == TASKRING_OK)
            keep(pool, ticket);
    }
}

static void *serve(void *of) {
    for (int i = 0; i < 20000; i++) {
        if (counted(F_work, taskring_work(of)) == TASKRING_OK)
            break;
        sleep_ms(1);
    }
    return NULL;
}

/* A named pool: made, attached to, served by a thread until it ends. */
static void named(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *owner = NULL, *guest = NULL;
    pthread_t thread;
    config.start_method = TASKRING_NO_WORKERS;
    config.capacity = 8;
    if (CALL(create_named, &config, name, &owner) != TASKRING_OK)
        return;
    CALL(create_named, &config, name, &guest);
    CHECK(pthread_create(&thread, NULL, serve, name) == 0);
    if (CALL(attach, name, &guest) == TASKRING_OK) {
        uint32_t function = 0;
        uint64_t ticket = 0;
        char result[8];
        if (CALL(function, guest, "any", &function) == TASKRING_OK &&
            CALL(submit, guest, function, "\3", 1, NULL, &ticket) == TASKRING_OK)
            CALL(result, guest, ticket, SOON, result, sizeof result, NULL);
        CALL(free, guest);
    }
    /* The worker may not be there yet: then its next try finds no pool, and the thread ends by its own count. */
    taskring_stats stats = TASKRING_STATS_INIT;
    for (int i = 0; i < 1000 && stats.workers == 0; i++)
        CALL(pool_stats, owner, &stats);
    CALL(free, owner);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Not 0 in the process that drives: a worker process never comes to set it. */
static pid_t driver;

static int32_t die_as_process(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    if (driver == 0)
        kill(getpid(), SIGKILL);
    return 1;
}

/* A task that takes its worker with it, so a worker that is a process. */
static void lost(taskring_pool *spawned, uint32_t function) {
    uint64_t ticket = 0;
    taskring_loss loss;
    if (CALL(submit, spawned, function, NULL, 0, NULL, &ticket) != TASKRING_OK)
        return;
    if (counted(F_result, taskring_result(spawned, ticket, SOON, NULL, 0, NULL)) == TASKRING_WORKER_LOST)
        CALL(last_loss, &loss), count(F_last_worker, strcmp(taskring_last_worker(), "taskring-worker_0") == 0);
}

static int32_t some_input(void *context, taskring_bytes *args) {
    static const uint8_t bytes[90] = {5};
    uint32_t *left = context;
    if (*left == 0)
        return one_in(8) ? -1 : 0;
    --*left;
    *args = (taskring_bytes){bytes, one_in(64) ? 0 : below(90)};
    return 1;
}

static void use_maps(void) {
    static uint32_t left[MAPS];
    static char buffer[400];
    unsigned i = (unsigned)below(MAPS);
    uint64_t index;
    size_t len;
    if (!one_in(8)) {
        CALL(map_next, maps[i], below(2) * 20000, buffer, one_in(8) ? below(40) : sizeof buffer, one_in(2) ? NULL : &len,
             one_in(2) ? NULL : &index);
        return;
    }
    if (one_in(4)) {
        CALL(map_cancel, maps[i]);
        return;
    }
    unsigned at = (unsigned)below(POOLS);
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    taskring_options submit_options = TASKRING_OPTIONS_INIT;
    taskring_stats stats = TASKRING_STATS_INIT;
    /* Without workers it would be waited for in vain. */
    if (CALL(map_free, maps[i]) != TASKRING_OK || CALL(pool_stats, pools[at], &stats) != TASKRING_OK || stats.workers == 0) {
        maps[i] = NULL;
        return;
    }
    maps[i] = NULL;
    left[i] = (uint32_t)below(30);
    options.unordered = (uint32_t)below(2);
    options.window = below(10);
    options.chunk = one_in(8) ? TASKRING_CHUNK_AUTO : below(4);
    options.timeout_ns = one_in(4) ? below(100000) : 0;
    submit_options.set = one_in(8) ? sets[below(SETS)] : NULL;
    submit_options.completions = one_in(16) ? queues[0] : NULL;
    options.submit = one_in(2) ? NULL : &submit_options;
    CALL(map_new, one_in(16) ? NULL : pools[at], functions[at], some_input, &left[i], one_in(4) ? NULL : &options, &maps[i]);
}

#include "random_waits.h"
#include "random_multi.h"
#include "random_steer.h"

static void no_log(uint32_t level, const char *message, void *context) {
    (void)context;
    CHECK(level >= TASKRING_LOG_ERROR && level <= TASKRING_LOG_DEBUG && strlen(message) != 0);
}

static void step(taskring_pool *spawned, uint32_t die_function) {
    taskring_pool *pool;
    uint64_t ticket;
    uint32_t word;
    static char buffer[1 << 20];
    size_t len;
    if (one_in(1200)) {
        named();
        return;
    }
    if (one_in(1800)) {
        lost(spawned, die_function);
        return;
    }
    if (one_in(800)) {
        int i = (int)below(POOLS);
        unmake(i);
        if (one_in(4))
            CALL(free, pools[i]);
        make(i);
        return;
    }
    switch (below(27)) {
    case 26:
        steer(spawned);
        return;
    case 25:
        use_multi();
        return;
    case 18:
    case 19:
        use_queues();
        return;
    case 20:
        use_maps();
        return;
    case 21:
        use_callback();
        return;
    case 22:
        use_view();
        return;
    case 24:
        use_promises();
        return;
    case 23: {
        taskring_status end;
        ticket = a_ticket(&pool);
        CALL(outcome, pool, ticket, below(2) * 20000, one_in(32) ? NULL : &end);
        CALL(describe, pool, ticket, one_in(32) ? NULL : buffer, below(200), one_in(2) ? NULL : &len);
        CALL(peek, pool, ticket, below(2) * 20000, buffer, one_in(8) ? below(40) : sizeof buffer, one_in(4) ? NULL : &len);
        CALL(next_event, pool, ticket, below(2) * 20000, buffer, one_in(8) ? below(40) : sizeof buffer, one_in(4) ? NULL : &len);
        return;
    }
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        submit_something();
        return;
    case 5:
        ticket = a_ticket(&pool);
        CALL(state, pool, ticket, one_in(32) ? NULL : &word);
        return;
    case 6:
        ticket = a_ticket(&pool);
        CALL(wait, pool, ticket, below(2) * 20000);
        return;
    case 7:
    case 8:
        ticket = a_ticket(&pool);
        CALL(result, pool, ticket, below(2) * 20000, buffer, one_in(8) ? below(40) : sizeof buffer, one_in(4) ? NULL : &len);
        return;
    case 9:
        ticket = a_ticket(&pool);
        CALL(cancel, pool, ticket, one_in(2) ? NULL : &word);
        return;
    case 10: {
        taskring_future futures[8];
        uint8_t over[8];
        size_t n = below(9);
        for (size_t i = 0; i < n; i++) {
            futures[i].ticket = a_ticket(&pool);
            futures[i].pool = pool;
        }
        CALL(wait_many, futures, n, (uint32_t)below(one_in(16) ? 9 : 3), below(2) * 20000, over, one_in(2) ? NULL : &len);
        return;
    }
    case 11: {
        unsigned i = (unsigned)below(SETS);
        if (one_in(16)) {
            CALL(set_free, sets[i]);
            CALL(set_new, a_pool(), &sets[i]);
        } else if (one_in(4)) {
            taskring_discarded counts;
            CALL(set_discard, sets[i], one_in(2) ? NULL : &counts);
        }
        return;
    }
    case 12: {
        taskring_stats stats = TASKRING_STATS_INIT;
        CALL(pool_stats, a_pool(), &stats);
        const void *value;
        size_t size;
        CALL(shared, a_pool(), one_in(16) ? "other" : "value", one_in(32) ? NULL : &value, one_in(2) ? NULL : &size);
        return;
    }
    case 13:
        CALL(function, a_pool(), one_in(8) ? "no such function" : "any", &word);
        return;
    case 14:
        /* One submitted just now may be running. */
        for (unsigned i = 1; i < 8 && i < next_ticket; i++) {
            unsigned at = (next_ticket - i) % TICKETS;
            CALL(worker_pid, tickets[at].pool, tickets[at].ticket, &word);
        }
        return;
    case 15:
        CALL(register, one_in(8) ? "" : "any", any, NULL, NULL);
        return;
    case 16:
        CALL(init, 0, NULL);
        CALL(check_version, TASKRING_VERSION + (uint32_t)below(300));
        CALL(set_log, (uint32_t)below(6), one_in(2) ? NULL : no_log, NULL, NULL);
        CALL(log, (uint32_t)below(6), one_in(16) ? NULL : "as it was told");
        count(F_version, taskring_version() == TASKRING_VERSION);
        count(F_last_error, taskring_last_error() != NULL);
        count(F_status_name, taskring_status_name((int32_t)below(64) - 8) != NULL);
        count(F_status_message, taskring_status_message((int32_t)below(64) - 8) != NULL);
        __atomic_fetch_add(&total, 4, __ATOMIC_RELAXED);
        return;
    default:
        ticket = a_ticket(&pool);
        CALL(release, pool, ticket);
    }
}

int main(int argc, char **argv) {
    OK(taskring_register("square", square, NULL, NULL));
    OK(taskring_register("any", any, NULL, NULL));
    OK(taskring_register("die", die_as_process, NULL, NULL));
    register_steered();
    OK(taskring_init(argc, argv));
    driver = getpid();
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
    printf("seed %" PRIu64 "\n", seed);
    fflush(stdout);
    state_of_random = seed | 1;
    snprintf(name, sizeof name, "random-%d", (int)getpid());
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *spawned = NULL;
    uint32_t die_function;
    config.workers = 1;
    OK(taskring_create(&config, &spawned));
    OK(taskring_function(spawned, "die", &die_function));
    for (int i = 0; i < POOLS; i++)
        make(i);
    renew_multi();
    while (__atomic_load_n(&total, __ATOMIC_RELAXED) < wanted)
        step(spawned, die_function);
    for (int i = 0; i < POOLS; i++)
        CALL(free, pools[i]);
    for (int i = 0; i < SETS; i++)
        CALL(set_free, sets[i]);
    for (int i = 0; i < QUEUES; i++)
        CALL(completions_free, queues[i]);
    for (int i = 0; i < MAPS; i++)
        CALL(map_free, maps[i]);
    for (int i = 0; i < PROMISES; i++)
        CALL(promise_free, promises[i]);
    for (int i = 0; i < ASYNCS; i++)
        CALL(async_free, asyncs[i]);
    CALL(map_free, lazy);
    CALL(multi_free, multi);
    CALL(free, spawned);
    uint64_t all = 0, good = 0, least = UINT64_MAX;
    for (int i = 0; i < F_COUNT; i++) {
        printf("%-36s %10" PRIu64 " calls %10" PRIu64 " succeeded\n", names[i], calls[i], successes[i]);
        all += calls[i];
        good += successes[i];
        least = successes[i] < least ? successes[i] : least;
    }
    printf("calls: %" PRIu64 " succeeded: %" PRIu64 " least: %" PRIu64 "\n", all, good, least);
    return good * 2 >= all && least >= (wanted < 10000000 ? 1 : 1000) ? 0 : 1;
}
