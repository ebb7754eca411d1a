/* Priorities in C: which of the tasks that wait begin first, and that none waits for ever. */
#include "check.h"
#include "semantics_main.h"

/* When it ran: with one worker no two tasks at the same time. */
static int32_t when(taskring_call *call, void *context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    return taskring_call_set_result(call, &ns, sizeof ns);
}

static taskring_options of(uint32_t priority) {
    taskring_options options = TASKRING_OPTIONS_INIT;
    options.priority = priority;
    return options;
}

static void submit_all(taskring_pool *pool, uint32_t priority, uint64_t *tickets, int count) {
    const taskring_options options = of(priority);
    for (int i = 0; i < count; i++)
        OK(taskring_submit_named(pool, "when", NULL, 0, &options, 0, &tickets[i]));
}

static void times_of(taskring_pool *pool, const uint64_t *tickets, uint64_t *times, int count) {
    for (int i = 0; i < count; i++) {
        OK(taskring_result(pool, tickets[i], SOON, &times[i], sizeof times[i], NULL));
        CHECK(i == 0 || times[i - 1] < times[i]);
    }
}

/* How many of these were before. */
static int before(uint64_t time, const uint64_t *times, int count) {
    int found = 0;
    for (int i = 0; i < count; i++)
        found += times[i] < time;
    return found;
}

enum { SOME = 5, MANY = 50 };

static void semantics_order_a_higher_priority_begins_first_and_one_level_in_its_order(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    uint64_t low[SOME], normal[SOME], high[SOME], times[3][SOME];
    submit_all(pool, TASKRING_PRIORITY_LOW, low, SOME);
    submit_all(pool, TASKRING_PRIORITY_NORMAL, normal, SOME - 1);
    submit_all(pool, TASKRING_PRIORITY_HIGH, high, SOME);
    normal[SOME - 1] = submit(pool, "when", NULL, 0);
    taskring_stats stats = TASKRING_STATS_INIT;
    OK(taskring_pool_stats(pool, &stats));
    CHECK(stats.pending == 3 * SOME && stats.running == 1);
    cancel(pool, running);
    times_of(pool, high, times[0], SOME);
    times_of(pool, normal, times[1], SOME);
    times_of(pool, low, times[2], SOME);
    CHECK(times[0][SOME - 1] < times[1][0] && times[1][SOME - 1] < times[2][0]);
    OK(taskring_free(pool));
}

static void semantics_order_after_sixteen_of_higher_priority_comes_a_low_one(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    uint64_t low[2], high[MANY], times[MANY], of_low[2];
    submit_all(pool, TASKRING_PRIORITY_LOW, low, 2);
    submit_all(pool, TASKRING_PRIORITY_HIGH, high, MANY);
    cancel(pool, running);
    times_of(pool, high, times, MANY);
    times_of(pool, low, of_low, 2);
    const int first = before(of_low[0], times, MANY);
    CHECK(first >= 1 && first <= 16);
    CHECK(before(of_low[1], times, MANY) == first + 16);
    OK(taskring_free(pool));
}

static void semantics_order_a_priority_that_there_is_not_is_refused(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint32_t wrong[] = {3, 99, UINT32_MAX};
    char text[128];
    for (int i = 0; i < 3; i++) {
        const taskring_options options = of(wrong[i]);
        uint64_t ticket = 7;
        snprintf(text, sizeof text, "priority is %" PRIu32 "; wanted TASKRING_PRIORITY_NORMAL, TASKRING_PRIORITY_HIGH or TASKRING_PRIORITY_LOW", wrong[i]);
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_submit(pool, function(pool, "when"), NULL, 0, &options, &ticket));
        CHECK(ticket == 7 && strcmp(taskring_last_error(), text) == 0);
    }
    CHECK(square_in(pool, 6) == 36);
    OK(taskring_free(pool));
}

/* So many inputs of nothing. */
static int32_t next_input(void *context, taskring_bytes *args) {
    int *left = context;
    *args = (taskring_bytes){NULL, 0};
    return (*left)-- > 0;
}

static void semantics_order_maps_bulks_and_queues_have_the_priority_of_their_options(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    const uint64_t running = busy(pool);
    uint64_t low[SOME], of_low[SOME], bulk[SOME], of_bulk[SOME], of_map[SOME];
    taskring_bytes none[SOME] = {{NULL, 0}};
    submit_all(pool, TASKRING_PRIORITY_NORMAL, low, SOME);
    taskring_options options = of(TASKRING_PRIORITY_HIGH);
    taskring_map_options map_options = TASKRING_MAP_OPTIONS_INIT;
    map_options.submit = &options;
    taskring_map *map = NULL;
    int inputs = SOME;
    OK(taskring_map_new(pool, function(pool, "when"), next_input, &inputs, &map_options, &map));
    size_t submitted = 0;
    OK(taskring_submit_bulk(pool, function(pool, "when"), none, SOME, &options, bulk, &submitted));
    CHECK(submitted == SOME);
    taskring_completions *queue = NULL;
    OK(taskring_completions_new(&queue));
    options.completions = queue;
    options.user_data = 77;
    uint64_t last = 0;
    OK(taskring_submit_named(pool, "when", NULL, 0, &options, 0, &last));
    cancel(pool, running);
    for (int i = 0; i < SOME; i++)
        OK(taskring_map_next(map, SOON, &of_map[i], sizeof of_map[i], NULL, NULL));
    STATUS(TASKRING_END, taskring_map_next(map, SOON, NULL, 0, NULL, NULL));
    OK(taskring_map_free(map));
    times_of(pool, bulk, of_bulk, SOME);
    times_of(pool, low, of_low, SOME);
    taskring_completion ended;
    size_t found = 0;
    OK(taskring_completions_next(queue, SOON, &ended, 1, &found));
    CHECK(found == 1 && ended.ticket == last && ended.user_data == 77);
    uint64_t of_last = 0;
    OK(taskring_result(pool, last, SOON, &of_last, sizeof of_last, NULL));
    CHECK(of_map[SOME - 1] < of_bulk[0] && of_bulk[SOME - 1] < of_last && of_last < of_low[0]);
    OK(taskring_completions_free(queue));
    OK(taskring_free(pool));
}

static void semantics_order_a_full_ring_of_one_priority_leaves_room_in_the_others(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 4);
    const uint64_t running = busy(pool);
    uint64_t low[4], high[4], ticket = 7, times[2][4];
    submit_all(pool, TASKRING_PRIORITY_LOW, low, 4);
    taskring_options options = of(TASKRING_PRIORITY_LOW);
    STATUS(TASKRING_FULL, taskring_submit_named(pool, "when", NULL, 0, &options, 0, &ticket));
    submit_all(pool, TASKRING_PRIORITY_HIGH, high, 4);
    options = of(TASKRING_PRIORITY_HIGH);
    STATUS(TASKRING_TIMED_OUT, taskring_submit_named(pool, "when", NULL, 0, &options, 20 * MS, &ticket));
    CHECK(ticket == 7);
    cancel(pool, running);
    times_of(pool, high, times[0], 4);
    times_of(pool, low, times[1], 4);
    CHECK(times[0][3] < times[1][0]);
    OK(taskring_free(pool));
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_order_a_higher_priority_begins_first_and_one_level_in_its_order),
    CASE(semantics_order_after_sixteen_of_higher_priority_comes_a_low_one),
    CASE(semantics_order_a_priority_that_there_is_not_is_refused),
    CASE(semantics_order_maps_bulks_and_queues_have_the_priority_of_their_options),
    CASE(semantics_order_a_full_ring_of_one_priority_leaves_room_in_the_others),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("when", when, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
