/* Maps: order, windows, chunks, times, and inputs that misbehave. */
#include "check.h"

/* Gives the numbers below an end, from one place that is written over each time; counts how far it was read. */
struct numbers {
    uint64_t read, end, value;
    int32_t at_end;
};

static int32_t next_number(void *context, taskring_bytes *args) {
    struct numbers *numbers = context;
    if (numbers->read == numbers->end)
        return numbers->at_end;
    numbers->value = numbers->read++;
    *args = (taskring_bytes){&numbers->value, sizeof numbers->value};
    return 1;
}

static taskring_map *start(taskring_pool *pool, const char *name, struct numbers *numbers, const taskring_map_options *options) {
    taskring_map *map = NULL;
    OK(taskring_map_new(pool, function(pool, name), next_number, numbers, options, &map));
    return map;
}

static void in_order(taskring_pool *pool) {
    static const uint64_t windows[] = {0, 1, 3, 1000}, chunks[] = {0, 1, 7, 200};
    for (int i = 0; i < 16; i++) {
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        struct numbers numbers = {0, 150, 0, 0};
        uint64_t y, index;
        size_t len;
        options.window = windows[i / 4];
        options.chunk = chunks[i % 4];
        taskring_map *map = start(pool, "square", &numbers, i == 0 ? NULL : &options);
        uint64_t first = options.window * (options.chunk == 0 ? 1 : options.chunk);
        CHECK(numbers.read == (options.window == 0 || first > 150 ? 150 : first));
        for (uint64_t x = 0; x < 150; x++) {
            OK(taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
            CHECK(y == x * x && len == sizeof y && index == x);
        }
        y = 1;
        STATUS(TASKRING_END, taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
        STATUS(TASKRING_END, taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
        CHECK(y == 1);
        OK(taskring_map_free(map));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_free(map));
    }
}

static void automatic_chunks(taskring_pool *pool) {
    for (uint32_t unordered = 0; unordered < 2; unordered++) {
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        struct numbers numbers = {0, 5000, 0, 0};
        uint64_t y, index = 0;
        options.chunk = TASKRING_CHUNK_AUTO;
        options.unordered = unordered;
        taskring_map *map = start(pool, "square", &numbers, &options);
        CHECK(numbers.read == 6);
        for (uint64_t x = 0; x < 5000; x++) {
            STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_map_next(map, SOON, &y, 7, NULL, &index));
            OK(taskring_map_next(map, SOON, &y, sizeof y, NULL, &index));
            CHECK(y == index * index && (unordered || index == x));
        }
        STATUS(TASKRING_END, taskring_map_next(map, SOON, &y, sizeof y, NULL, NULL));
        OK(taskring_map_free(map));
    }
}

/* Naps as long as its number says, and gives it back. */
static int32_t nap_of(taskring_call *call, void *context) {
    uint64_t ms;
    (void)context;
    memcpy(&ms, taskring_call_args(call, NULL), sizeof ms);
    sleep_ms((long)ms);
    return taskring_call_set_result(call, &ms, sizeof ms);
}

static int32_t odd_ones_fail(taskring_call *call, void *context) {
    uint64_t x;
    (void)context;
    memcpy(&x, taskring_call_args(call, NULL), sizeof x);
    if (x % 2 == 1) {
        taskring_call_fail(call, "odd");
        return 1;
    }
    return taskring_call_set_result(call, &x, sizeof x);
}

static int32_t next_nap(void *context, taskring_bytes *args) {
    static const uint64_t slow = 300, quick = 1;
    struct numbers *numbers = context;
    if (numbers->read == numbers->end)
        return 0;
    *args = (taskring_bytes){numbers->read++ == 0 ? &slow : &quick, sizeof slow};
    return 1;
}

static void unordered(taskring_pool *pool) {
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    struct numbers numbers = {0, 20, 0, 0};
    taskring_map *map = NULL;
    uint64_t ms, index, seen = 0;
    options.unordered = 1;
    options.window = 4;
    OK(taskring_map_new(pool, function(pool, "nap_of"), next_nap, &numbers, &options, &map));
    for (int i = 0; i < 20; i++) {
        OK(taskring_map_next(map, SOON, &ms, sizeof ms, NULL, &index));
        CHECK(index < 20 && !(seen >> index & 1) && (index == 0) == (ms == 300));
        /* Three workers' worth of quick ones go by meanwhile. */
        CHECK(index != 0 || i >= 10);
        seen |= UINT64_C(1) << index;
    }
    STATUS(TASKRING_END, taskring_map_next(map, 0, NULL, 0, NULL, NULL));
    OK(taskring_map_free(map));
}

static void errors_stand_at_their_places(taskring_pool *pool) {
    for (uint64_t chunk = 1; chunk < 9; chunk += 7) {
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        struct numbers numbers = {0, 30, 0, -5};
        uint64_t y = 0, index = 99;
        size_t len = 0;
        options.chunk = chunk;
        options.window = 2;
        taskring_map *map = start(pool, "odd_ones_fail", &numbers, &options);
        for (uint64_t x = 0; x < 30; x++) {
            STATUS(x % 2 == 1 ? TASKRING_TASK_FAILED : TASKRING_OK, taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
            CHECK(index == x && (x % 2 == 1 ? strcmp(taskring_last_error(), "odd") == 0 : y == x));
        }
        /* The input's own failure, after its last good one. */
        STATUS(TASKRING_ENCODE, taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
        CHECK(index == 30 && strstr(taskring_last_error(), "-5") != NULL);
        STATUS(TASKRING_END, taskring_map_next(map, SOON, &y, sizeof y, &len, &index));
        OK(taskring_map_free(map));
    }
    /* A result that does not fit is not lost. */
    struct numbers numbers = {0, 3, 0, 0};
    uint64_t y = 0;
    size_t len = 0;
    taskring_map *map = start(pool, "square", &numbers, NULL);
    STATUS(TASKRING_BUFFER_TOO_SMALL, taskring_map_next(map, SOON, &y, 7, &len, NULL));
    CHECK(len == 8 && y == 0);
    for (uint64_t x = 0; x < 3; x++) {
        OK(taskring_map_next(map, SOON, &y, sizeof y, &len, NULL));
        CHECK(y == x * x);
    }
    OK(taskring_map_free(map));
}

static void times(taskring_pool *pool) {
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    struct numbers numbers = {0, 5, 0, 0};
    taskring_map *map = NULL;
    uint64_t ms = 0;
    OK(taskring_map_new(pool, function(pool, "nap_of"), next_nap, &numbers, NULL, &map));
    STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, 5 * MS, &ms, sizeof ms, NULL, NULL));
    OK(taskring_map_next(map, SOON, &ms, sizeof ms, NULL, NULL));
    CHECK(ms == 300);
    OK(taskring_map_free(map));
    /* The map's own time. */
    options.timeout_ns = 50 * MS;
    numbers.read = 0;
    OK(taskring_map_new(pool, function(pool, "nap_of"), next_nap, &numbers, &options, &map));
    STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, TASKRING_INFINITE, &ms, sizeof ms, NULL, NULL));
    STATUS(TASKRING_END, taskring_map_next(map, TASKRING_INFINITE, &ms, sizeof ms, NULL, NULL));
    OK(taskring_map_free(map));
}

/* A chunk's results come late as well as those of single tasks. */
static void times_of_chunks(taskring_pool *pool) {
    for (uint32_t i = 0; i < 4; i++) {
        taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
        struct numbers numbers = {0, 5, 0, 0};
        taskring_map *map = NULL;
        uint64_t ms = 0, sum = 0;
        options.chunk = i % 2 == 0 ? 3 : 100;
        options.unordered = i / 2;
        options.window = 1;
        OK(taskring_map_new(pool, function(pool, "nap_of"), next_nap, &numbers, &options, &map));
        STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, 5 * MS, &ms, sizeof ms, NULL, NULL));
        STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, 0, &ms, sizeof ms, NULL, NULL));
        for (int n = 0; n < 5; n++) {
            OK(taskring_map_next(map, SOON, &ms, sizeof ms, NULL, NULL));
            sum += ms;
        }
        CHECK(sum == 304);
        STATUS(TASKRING_END, taskring_map_next(map, 0, &ms, sizeof ms, NULL, NULL));
        OK(taskring_map_free(map));
    }
}

/* A task that counts its runs: only for workers that are threads. */
static int runs;
static int32_t count_run(taskring_call *call, void *context) {
    (void)call;
    (void)context;
    __atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void freeing(void) {
    for (int advanced = 0; advanced < 2; advanced++) {
        taskring_pool *pool = make_pool(TASKRING_THREAD, 1, 64);
        struct numbers numbers = {0, 20, 0, 0};
        uint64_t hold = 0;
        runs = 0;
        taskring_map *map = start(pool, "count_run", &numbers, NULL);
        if (advanced)
            OK(taskring_map_next(map, SOON, NULL, 0, NULL, NULL));
        OK(taskring_map_free(map));
        OK(taskring_free(pool));
        CHECK(advanced || runs == 20);
        /* One of the map's tasks runs for as long as nobody asks it to stop, and the rest is pending. */
        pool = make_pool(TASKRING_THREAD, 2, 64);
        hold = submit(pool, "until_asked", NULL, 0);
        until_state(pool, hold, TASKRING_RUNNING);
        numbers.read = 0;
        map = start(pool, "until_asked", &numbers, NULL);
        taskring_stats stats = TASKRING_STATS_INIT;
        while (stats.running != 2)
            OK(taskring_pool_stats(pool, &stats));
        if (advanced) {
            STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, 5 * MS, NULL, 0, NULL, NULL));
            /* The one is asked to stop, the rest is cancelled, so the pool comes to its end. */
            OK(taskring_map_free(map));
            OK(taskring_cancel(pool, hold, NULL));
            OK(taskring_free(pool));
        } else {
            OK(taskring_cancel(pool, hold, NULL));
            OK(taskring_shutdown(pool, 0, 1));
            STATUS(TASKRING_TIMED_OUT, taskring_map_next(map, 1, NULL, 0, NULL, NULL));
            OK(taskring_map_free(map));
            OK(taskring_free(pool));
        }
    }
}

/* An input that uses the library, and its own map: the second is refused. */
static taskring_map *own;
static taskring_pool *of_own;
static int32_t greedy(void *context, taskring_bytes *args) {
    uint64_t *left = context;
    if (own != NULL) {
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_next(own, 0, NULL, 0, NULL, NULL));
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_cancel(own));
    }
    CHECK(square_in(of_own, *left) == *left * *left);
    if ((*left)-- == 0)
        return 0;
    *args = (taskring_bytes){"abcdefgh", 8};
    return 1;
}

static void misuse(taskring_pool *pool) {
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    taskring_options submit_options = TASKRING_OPTIONS_INIT;
    struct numbers numbers = {0, 5, 0, 0};
    taskring_map *map = NULL;
    uint64_t left = 8, y;
    uint32_t number = function(pool, "square");
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_new(NULL, number, next_number, &numbers, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_new(pool, 0, next_number, &numbers, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_new(pool, number, NULL, &numbers, NULL, &map));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_new(pool, number, next_number, &numbers, NULL, NULL));
    OK(taskring_completions_new(&submit_options.completions));
    options.submit = &submit_options;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_new(pool, number, next_number, &numbers, &options, &map));
    OK(taskring_completions_free(submit_options.completions));
    CHECK(map == NULL && numbers.read == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_next(NULL, 0, &y, sizeof y, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_next((taskring_map *)pool, 0, &y, sizeof y, NULL, NULL));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_cancel(NULL));
    OK(taskring_map_free(NULL));
    options.submit = NULL;
    options.window = 2;
    of_own = pool;
    OK(taskring_map_new(pool, function(pool, "echo"), greedy, &left, &options, &own));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_map_next(own, 0, NULL, 8, NULL, NULL));
    for (int i = 0; i < 8; i++)
        OK(taskring_map_next(own, SOON, &y, sizeof y, NULL, NULL));
    STATUS(TASKRING_END, taskring_map_next(own, SOON, &y, sizeof y, NULL, NULL));
    OK(taskring_map_free(own));
    /* A set stops a map as it does other tasks. */
    taskring_set *set = NULL;
    OK(taskring_set_new(pool, &set));
    submit_options = (taskring_options)TASKRING_OPTIONS_INIT;
    submit_options.set = set;
    options.submit = &submit_options;
    numbers.read = 0;
    map = start(pool, "square", &numbers, &options);
    OK(taskring_set_discard(set, NULL));
    int ends = 0;
    taskring_status status;
    while ((status = taskring_map_next(map, SOON, &y, sizeof y, NULL, NULL)) != TASKRING_END) {
        CHECK(status == TASKRING_OK || status == TASKRING_CANCELLED || status == TASKRING_DISCARDED);
        ends++;
    }
    CHECK(ends == 3 && numbers.read == 3);
    OK(taskring_map_free(map));
    /* One that was stopped before is refused at once. */
    map = NULL;
    STATUS(TASKRING_DISCARDED, taskring_map_new(pool, number, next_number, &numbers, &options, &map));
    CHECK(map == NULL && numbers.read == 4);
    OK(taskring_set_free(set));
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("nap_of", nap_of, NULL, NULL));
    OK(taskring_register("odd_ones_fail", odd_ones_fail, NULL, NULL));
    OK(taskring_register("count_run", count_run, NULL, NULL));
    OK(taskring_init(argc, argv));
    taskring_pool *pool = make_pool(argc > 1 && strcmp(argv[1], "spawn") == 0 ? TASKRING_SPAWN : TASKRING_THREAD, 3, 64);
    in_order(pool);
    automatic_chunks(pool);
    unordered(pool);
    errors_stand_at_their_places(pool);
    times(pool);
    times_of_chunks(pool);
    misuse(pool);
    OK(taskring_free(pool));
    freeing();
    puts("ok");
    return 0;
}
