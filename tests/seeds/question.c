/* What the question's answers show, in C: see question.rs. */
#include "seeds.h"

/* The first of these many images are there at once; the others come when there is a file of this name. */
#define AT_ONCE 40
#define GATE "gate"

static void await_gate(void) {
    for (int i = 0; i < 20000 && access(GATE, F_OK) != 0; i++)
        sleep_ms(1);
}

static void open_gate(void) {
    FILE *gate = fopen(GATE, "w");
    CHECK(gate != NULL && fclose(gate) == 0);
}

static int32_t is_jpeg(taskring_call *call, void *context) {
    unsigned char first[3] = {0};
    char name[32];
    uint64_t image = number(call);
    (void)context;
    if (image >= AT_ONCE)
        await_gate();
    snprintf(name, sizeof name, "%" PRIu64 ".img", image);
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return 1;
    size_t len = fread(first, 1, sizeof first, file);
    fclose(file);
    uint8_t is = len == sizeof first && memcmp(first, "\xff\xd8\xff", sizeof first) == 0;
    return taskring_call_set_result(call, &is, sizeof is);
}

static int32_t process(taskring_call *call, void *context) {
    uint64_t image = number(call);
    (void)context;
    if (image >= 6 * AT_ONCE)
        await_gate();
    return taskring_call_set_result(call, &image, sizeof image);
}

/* A million numbers, and ten others; of the million it gives no more once it is stopped. */
struct two_inputs {
    struct numbers first, second;
    int stopped;
};

static int32_t next_of_two(void *context, taskring_bytes *args) {
    struct two_inputs *it = context;
    return (!it->stopped && next_number(&it->first, args)) || next_number(&it->second, args);
}

static void lazy_feed(void) {
    taskring_pool *pool = make_pool(TASKRING_SPAWN, 2, 64);
    struct two_inputs inputs = {{0, 999999, 0, 0}, {2000000, 2000009, 0, 0}, 0};
    taskring_map_options options = TASKRING_MAP_OPTIONS_INIT;
    taskring_map *map;
    uint64_t square, x, under_way = 0, second = 0;
    options.window = 3; /* A task for each worker, and one ahead: nothing else of the input is read. */
    OK(taskring_map_new(pool, function(pool, "square"), next_of_two, &inputs, &options, &map));
    for (x = 0; x < 200; x++) {
        OK(taskring_map_next(map, SOON, &square, sizeof square, NULL, NULL));
        CHECK(square == x * x);
    }
    printf("main: %" PRIu64 " results of the first input\n", x);
    inputs.stopped = 1;
    while (taskring_map_next(map, SOON, &square, sizeof square, NULL, NULL) == TASKRING_OK) {
        if (square == x * x && second == 0) {
            under_way++;
            x++;
        } else {
            CHECK(square == (2000000 + second) * (2000000 + second));
            second++;
        }
    }
    CHECK(under_way <= 3);
    printf("main: no more than 3 others of it were under way\n");
    printf("main: %" PRIu64 " results of the second input\n", second);
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

/* Submits tasks of a set for images from 0 on, which come out of the queue as they end. */
static void submit_images(taskring_pool *pool, const char *name, uint64_t count, taskring_options *options) {
    uint64_t ticket;
    OK(taskring_set_new(pool, &options->set));
    OK(taskring_completions_new(&options->completions));
    for (uint64_t image = 0; image < count; image++)
        OK(taskring_submit(pool, function(pool, name), &image, sizeof image, options, &ticket));
}

/* The next task that has ended: its result's status, or TASKRING_END. */
static taskring_status next_end(const taskring_options *options, void *result, size_t size) {
    taskring_completion next;
    size_t count;
    taskring_status status = taskring_completions_next(options->completions, SOON, &next, 1, &count);
    return status != TASKRING_OK ? status : taskring_result(next.pool, next.ticket, 0, result, size, NULL);
}

/* Takes what has not been taken: as many of it are cancelled as was told, or more if a worker had been about to start one. */
static void check_rest(taskring_options *options, const taskring_discarded *counts) {
    uint64_t result, cancelled = 0;
    taskring_status status;
    while ((status = next_end(options, &result, sizeof result)) != TASKRING_END) {
        CHECK(status == TASKRING_OK || status == TASKRING_CANCELLED);
        cancelled += status == TASKRING_CANCELLED;
    }
    OK(taskring_completions_free(options->completions));
    OK(taskring_set_free(options->set));
    CHECK(cancelled >= counts->cancelled && cancelled <= counts->cancelled + counts->running);
}

static void ten_jpegs(void) {
    taskring_pool *pool = make_pool(TASKRING_SPAWN, 2, 1024);
    taskring_options options = TASKRING_OPTIONS_INIT;
    taskring_discarded counts;
    uint64_t image = 0;
    uint8_t is = 0;
    submit_images(pool, "is_jpeg", 100, &options);
    for (int found = 0; found < 10; found += is)
        OK(next_end(&options, &is, sizeof is));
    printf("main: ten JPEGs are enough\n");
    OK(taskring_set_discard(options.set, &counts));
    open_gate();
    CHECK(counts.cancelled >= 58);
    check_rest(&options, &counts);
    printf("main: the others are over, most of them cancelled\n");
    OK(taskring_result(pool, submit(pool, "is_jpeg", &image, sizeof image), SOON, &is, sizeof is, NULL));
    printf("main: the pool looks at another: %s\n", is ? "true" : "false");
    OK(taskring_free(pool));
}

static void two_sets(void) {
    taskring_pool *pool = make_pool(TASKRING_SPAWN, 4, 1024);
    taskring_options options = TASKRING_OPTIONS_INIT;
    taskring_discarded counts;
    taskring_map *map;
    struct numbers second = {1000, 1099, 0, 0};
    uint64_t image, count = 0;
    submit_images(pool, "process", 1000, &options);
    for (int i = 0; i < 200; i++)
        OK(next_end(&options, &image, sizeof image));
    printf("main: 200 of 1000 images are processed\n");
    OK(taskring_set_discard(options.set, &counts));
    open_gate();
    CHECK(counts.cancelled >= 756 && counts.running <= 4);
    CHECK(counts.cancelled + counts.running + counts.done == 1000);
    check_rest(&options, &counts);
    printf("main: the others never start, but for those that run already\n");

    OK(taskring_map_new(pool, function(pool, "process"), next_number, &second, NULL, &map));
    for (; taskring_map_next(map, SOON, &image, sizeof image, NULL, NULL) == TASKRING_OK; count++)
        CHECK(image == 1000 + count);
    printf("main: %" PRIu64 " images of the second set are processed\n", count);
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

int main(int argc, char **argv) {
    static const struct example all[] = {{"lazy_feed", lazy_feed}, {"ten_jpegs", ten_jpegs}, {"two_sets", two_sets}};
    OK(taskring_register("square", square, NULL, NULL));
    OK(taskring_register("is_jpeg", is_jpeg, NULL, NULL));
    OK(taskring_register("process", process, NULL, NULL));
    OK(taskring_init(argc, argv));
    return run_example(argc, argv, all, sizeof all / sizeof *all);
}
