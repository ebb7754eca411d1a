/* The article's examples in C: see article.rs for what they print. */
#include "seeds.h"

#include <errno.h>
#include <stdatomic.h>

/* What held tasks wait for. The workers are threads of this process. */
static atomic_int go;

static int32_t give_tenth(taskring_call *call, uint64_t n) {
    double tenth = (double)n / 10;
    return taskring_call_set_result(call, &tenth, sizeof tenth);
}

static int32_t take_tenth(taskring_call *call, void *context) {
    uint64_t n = number(call);
    (void)context;
    printf("%" PRIu64 ": begins\n", n);
    sleep_ms(10 * (long)n);
    printf("%" PRIu64 ": ends\n", n);
    return give_tenth(call, n);
}

static int32_t tenth(taskring_call *call, void *context) {
    uint64_t n = number(call);
    (void)context;
    sleep_ms((long)(n * 7 % 5));
    return give_tenth(call, n);
}

static int32_t held(taskring_call *call, void *context) {
    uint64_t n = number(call);
    (void)context;
    printf("%" PRIu64 ": begins\n", n);
    for (int i = 0; i < 20000 && !go; i++)
        sleep_ms(1);
    printf("%" PRIu64 ": ends\n", n);
    return give_tenth(call, n);
}

static int32_t no_good(taskring_call *call, void *context) {
    char text[64];
    uint64_t n = number(call);
    (void)context;
    printf("%" PRIu64 ": begins\n", n);
    snprintf(text, sizeof text, "the value %" PRIu64 " is no good", n);
    taskring_call_fail(call, text);
    return 1;
}

static int32_t print(taskring_call *call, void *context) {
    (void)context;
    printf("%" PRIu64 "\n", number(call));
    return 0;
}

static int32_t own_pid(taskring_call *call, void *context) {
    uint64_t pid = (uint64_t)getpid();
    (void)context;
    return taskring_call_set_result(call, &pid, sizeof pid);
}

static uint64_t submit_number(taskring_pool *pool, const char *name, uint64_t n) { return submit(pool, name, &n, sizeof n); }

/* Maps a function over 5, 4, ... 1. */
static taskring_map *map_down(taskring_pool *pool, const char *name, struct numbers *inputs) {
    taskring_map *map;
    *inputs = (struct numbers){5, 1, 0, 0};
    OK(taskring_map_new(pool, function(pool, name), next_number, inputs, NULL, &map));
    return map;
}

static void map_over_threads(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    struct numbers inputs;
    double results[5];
    printf("main: begins\n");
    taskring_map *map = map_down(pool, "take_tenth", &inputs);
    printf("main: goes on at once\n");
    for (int i = 0; i < 5; i++)
        OK(taskring_map_next(map, SOON, &results[i], sizeof results[i], NULL, NULL));
    STATUS(TASKRING_END, taskring_map_next(map, SOON, NULL, 0, NULL, NULL));
    printf("main: results %.1f %.1f %.1f %.1f %.1f\n", results[0], results[1], results[2], results[3], results[4]);
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

static void one_task(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    uint64_t ticket = submit_number(pool, "held", 5);
    double result;
    uint32_t state;
    until_state(pool, ticket, TASKRING_RUNNING);
    printf("main: the task is running\n");
    go = 1;
    OK(taskring_wait(pool, ticket, SOON));
    OK(taskring_state(pool, ticket, &state));
    OK(taskring_result(pool, ticket, 0, &result, sizeof result, NULL));
    printf("main: result %.1f\n", result);
    printf("main: the task is %s\n", state == TASKRING_DONE ? "done" : "not done");
    OK(taskring_free(pool));
}

static void tasks_in_any_order(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 5, 64);
    taskring_options options = TASKRING_OPTIONS_INIT;
    taskring_completion next;
    uint64_t ticket;
    size_t count;
    double result;
    OK(taskring_completions_new(&options.completions));
    printf("main: begins\n");
    for (uint64_t n = 5; n >= 1; n--) {
        options.user_data = n;
        OK(taskring_submit(pool, function(pool, "tenth"), &n, sizeof n, &options, &ticket));
    }
    while (taskring_completions_next(options.completions, SOON, &next, 1, &count) == TASKRING_OK) {
        OK(taskring_result(next.pool, next.ticket, 0, &result, sizeof result, NULL));
        printf("main: result %" PRIu64 " %.1f\n", next.user_data, result);
    }
    OK(taskring_completions_free(options.completions));
    OK(taskring_free(pool));
}

/* How many callbacks were called. */
static atomic_int called;

static void until_called(int times) {
    for (int i = 0; i < 20000 && called < times; i++)
        sleep_ms(1);
    CHECK(called == times);
}

/* The context is the number that the task was given. */
static void print_value(taskring_pool *pool, uint64_t ticket, void *context) {
    const void *value;
    size_t len;
    OK(taskring_view(pool, ticket, 0, &value, &len));
    printf("%d: value %.1f\n", *(int *)context, *(const double *)value);
    called++;
}

static void callback(void) {
    static int n = 5;
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    uint64_t ticket = submit_number(pool, "held", (uint64_t)n);
    OK(taskring_on_done(pool, ticket, print_value, &n, NULL));
    go = 1;
    OK(taskring_wait(pool, ticket, SOON));
    printf("main: the task is over\n");
    until_called(1);
    OK(taskring_free(pool));
}

/* Ten held tasks, of which the first two run. */
static void submit_ten(taskring_pool *pool, uint64_t *tickets) {
    for (uint64_t n = 10; n >= 1; n--)
        tickets[n] = submit_number(pool, "held", n);
    until_state(pool, tickets[10], TASKRING_RUNNING);
    until_state(pool, tickets[9], TASKRING_RUNNING);
}

static void cancelling(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    uint64_t tickets[11];
    submit_ten(pool, tickets);
    for (int n = 1; n <= 10; n++) {
        uint32_t cancelled;
        OK(taskring_cancel(pool, tickets[n], &cancelled));
        printf("main: %d is %s\n", n, cancelled ? "cancelled" : "not cancelled");
    }
    go = 1;
    OK(taskring_shutdown(pool, 1, 0));
    printf("main: ends\n");
    OK(taskring_free(pool));
}

static void print_end(taskring_pool *pool, uint64_t ticket, void *context) {
    uint32_t state;
    OK(taskring_state(pool, ticket, &state));
    printf("%d: %s\n", *(int *)context, state == TASKRING_STATE_CANCELLED ? "cancelled" : "not cancelled");
    called++;
}

static void cancelling_with_callbacks(void) {
    static int names[11];
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    uint64_t tickets[11];
    submit_ten(pool, tickets);
    for (int n = 1; n <= 10; n++) {
        names[n] = n;
        OK(taskring_on_done(pool, tickets[n], print_end, &names[n], NULL));
        OK(taskring_cancel(pool, tickets[n], NULL));
    }
    until_called(8);
    printf("main: 9 and 10 go on\n");
    go = 1;
    until_called(10);
    OK(taskring_free(pool));
}

static void errors_in_tasks(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    uint64_t ticket = submit_number(pool, "no_good", 5);
    taskring_status outcome;
    OK(taskring_outcome(pool, ticket, SOON, &outcome));
    if (outcome == TASKRING_TASK_FAILED)
        printf("main: the error is \"%s\"\n", taskring_last_error());
    if (taskring_result(pool, ticket, SOON, NULL, 0, NULL) == TASKRING_TASK_FAILED)
        printf("main: instead of a result: \"%s\"\n", taskring_last_error());
    OK(taskring_free(pool));
}

static void scope_waits(void) {
    taskring_pool *pool = make_pool(TASKRING_THREAD, 2, 64);
    printf("main: begins\n");
    for (uint64_t n = 1; n <= 4; n++)
        OK(taskring_release(pool, submit_number(pool, "print", n)));
    OK(taskring_free(pool));
    printf("main: ends\n");
}

static void map_over_processes(void) {
    taskring_pool *pool = make_pool(TASKRING_SPAWN, 2, 64);
    struct numbers inputs;
    uint64_t pid, index;
    taskring_map *map = map_down(pool, "own_pid", &inputs);
    while (taskring_map_next(map, SOON, &pid, sizeof pid, NULL, &index) == TASKRING_OK) {
        CHECK(pid != (uint64_t)getpid());
        printf("main: task %" PRIu64 " ran in process %" PRIu64 "\n", 5 - index, pid);
    }
    OK(taskring_map_free(map));
    OK(taskring_free(pool));
}

/* Kills the worker that runs a first task. */
static uint64_t kill_a_worker(taskring_pool *pool) {
    uint64_t pid;
    OK(taskring_result(pool, submit(pool, "own_pid", NULL, 0), SOON, &pid, sizeof pid, NULL));
    printf("main: a worker is process %" PRIu64 "\n", pid);
    CHECK(kill((pid_t)pid, SIGKILL) == 0);
    /* Until the pool has taken note of its end. */
    for (int i = 0; i < 20000 && kill((pid_t)pid, 0) == 0; i++)
        sleep_ms(1);
    CHECK(kill((pid_t)pid, 0) == -1 && errno == ESRCH);
    printf("main: it was killed\n");
    return pid;
}

static void killed_worker_and_a_second_task(void) {
    taskring_pool *pool = make_pool(TASKRING_SPAWN, 2, 64);
    uint64_t first = kill_a_worker(pool), second;
    OK(taskring_result(pool, submit(pool, "own_pid", NULL, 0), SOON, &second, sizeof second, NULL));
    CHECK(first != second);
    printf("main: the second task ran in process %" PRIu64 "\n", second);
    OK(taskring_free(pool));
}

static void killed_worker_breaks_the_pool(void) {
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool;
    taskring_status status;
    uint64_t ticket, pid;
    char named[32];
    config.workers = 2;
    config.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    OK(taskring_create(&config, &pool));
    uint32_t number = function(pool, "own_pid");
    snprintf(named, sizeof named, "process %" PRIu64, kill_a_worker(pool));
    /* The other worker is there until the death of the first one is known, and may be quick enough for a task or more. */
    do {
        status = taskring_submit(pool, number, NULL, 0, NULL, &ticket);
        if (status == TASKRING_OK)
            status = taskring_result(pool, ticket, SOON, &pid, sizeof pid, NULL);
    } while (status == TASKRING_OK);
    STATUS(TASKRING_BROKEN, status);
    CHECK(strstr(taskring_last_error(), named) != NULL);
    printf("main: no second task: %s\n", taskring_last_error());
    OK(taskring_free(pool));
}

int main(int argc, char **argv) {
    static const struct example all[] = {
        {"map_over_threads", map_over_threads},
        {"one_task", one_task},
        {"tasks_in_any_order", tasks_in_any_order},
        {"callback", callback},
        {"cancelling", cancelling},
        {"cancelling_with_callbacks", cancelling_with_callbacks},
        {"errors_in_tasks", errors_in_tasks},
        {"scope_waits", scope_waits},
        {"map_over_processes", map_over_processes},
        {"killed_worker_and_a_second_task", killed_worker_and_a_second_task},
        {"killed_worker_breaks_the_pool", killed_worker_breaks_the_pool},
    };
    OK(taskring_register("take_tenth", take_tenth, NULL, NULL));
    OK(taskring_register("tenth", tenth, NULL, NULL));
    OK(taskring_register("held", held, NULL, NULL));
    OK(taskring_register("no_good", no_good, NULL, NULL));
    OK(taskring_register("print", print, NULL, NULL));
    OK(taskring_register("own_pid", own_pid, NULL, NULL));
    OK(taskring_init(argc, argv));
    return run_example(argc, argv, all, sizeof all / sizeof *all);
}
