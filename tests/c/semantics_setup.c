/* What workers are given, in C: rows P21, P22, S1 and T3. */
#include "check.h"
#include "semantics_main.h"
#include <sched.h>

/* What the initializer leaves: each thread of a program has its own. */
static _Thread_local uint64_t desk;

/* Counts itself in the tally that its argument is, and leaves a desk, or fails with another argument. */
static int32_t set_up(taskring_call *call, void *context) {
    size_t len = 0;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    if (len != sizeof(tally)) {
        taskring_call_fail(call, "no desk anywhere");
        return 1;
    }
    count_in(args);
    desk = 77;
    return 0;
}

/* Ends its process, or in the owner's, which is its argument, the thread alone. */
static int32_t exit_with_3(taskring_call *call, void *context) {
    pid_t owner;
    (void)context;
    memcpy(&owner, taskring_call_args(call, NULL), sizeof owner);
    if (getpid() != owner)
        _exit(3);
    return end_worker(owner);
}

/* The worker, by its thread, and what it found on its desk, which it counts up. */
struct served {
    int64_t by;
    uint64_t desk;
};

static int32_t serve(taskring_call *call, void *context) {
    const struct served served = {gettid(), desk++};
    (void)context;
    return taskring_call_set_result(call, &served, sizeof served);
}

static void ask(taskring_pool *pool, const char *function, void *result, size_t size) {
    size_t len = 0;
    OK(taskring_result(pool, submit(pool, function, NULL, 0), SOON, result, size, &len));
    CHECK(len == size);
}

static void semantics_p22_each_worker_runs_the_initializer_first_and_the_exit_hook_last(uint32_t kind) {
    const tally begun = new_tally(), left = new_tally();
    const taskring_named_bytes initializer = {"set_up", &begun, sizeof begun}, hook = {"count_me", &left, sizeof left};
    taskring_config config = config_of(kind, 2);
    config.initializer = &initializer;
    config.exit_hook = &hook;
    taskring_pool *pool = create(&config);
    struct served served = {0, 0};
    uint64_t most = 0;
    for (int i = 0; i < 40; i++) {
        ask(pool, "serve", &served, sizeof served);
        CHECK(served.desk >= 77);
        most = served.desk > most ? served.desk : most;
    }
    CHECK(most >= 77 + 19); /* Each keeps its own from task to task. */
    until_counted(&begun, 2);
    CHECK(counted(&left) == 0);
    OK(taskring_free(pool));
    CHECK(counted(&begun) == 2 && counted(&left) == 2);
    remove(begun.path);
    remove(left.path);
}

static void semantics_p22_who_takes_a_dead_ones_place_runs_it_too_and_the_dead_one_no_hook(uint32_t kind) {
    const tally begun = new_tally(), left = new_tally();
    const taskring_named_bytes initializer = {"set_up", &begun, sizeof begun}, hook = {"count_me", &left, sizeof left};
    taskring_config config = config_of(kind, 1);
    config.initializer = &initializer;
    config.exit_hook = &hook;
    config.max_tasks_per_worker = in_threads(kind) ? 1 : 0; /* A thread is not killed, and leaves with its hook. */
    taskring_pool *pool = create(&config);
    struct served first, second;
    ask(pool, "serve", &first, sizeof first);
    if (!in_threads(kind))
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, submit(pool, "die", NULL, 0), SOON, NULL, 0, NULL));
    do /* Until the next one is there, the old one goes on. */
        ask(pool, "serve", &second, sizeof second);
    while (second.by == first.by);
    CHECK(second.desk == 77);
    OK(taskring_free(pool));
    CHECK(in_threads(kind) ? counted(&left) == counted(&begun) : counted(&begun) == 2 && counted(&left) == 1);
    remove(begun.path);
    remove(left.path);
}

static void semantics_p22_what_no_worker_can_be_given_is_refused(uint32_t kind) {
    const taskring_config config = config_of(kind, 1);
    const taskring_named_bytes unknown = {"no such function", NULL, 0}, nameless = {NULL, NULL, 0};
    const uint32_t no_cpu = 8191;
    taskring_config wrong = config;
    taskring_pool *pool = NULL;
    wrong.initializer = &unknown;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_create(&wrong, &pool));
    wrong.initializer = &nameless;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong = config;
    wrong.exit_hook = &unknown;
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_create(&wrong, &pool));
    wrong = config;
    wrong.worker_names = "";
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong = config;
    wrong.worker_cpus = &no_cpu;
    wrong.worker_cpus_count = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    CHECK(strstr(taskring_last_error(), "8191") != NULL);
    wrong.worker_cpus = NULL;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong.worker_cpus = &no_cpu;
    wrong.worker_cpus_count = 0;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong.worker_cpus_count = UINT64_MAX;
    STATUS(TASKRING_TOO_MANY, taskring_create(&wrong, &pool));
    CHECK(pool == NULL);
    until_childless();
}

/* A variable, how many CPUs this thread may run on, and whether there is room for a quarter of a gigabyte more. */
struct resources {
    char variable[16];
    int32_t cpus, has_room;
};
enum { QUARTER = 256 << 20 };

static int32_t ask_resources(taskring_call *call, void *context) {
    struct resources found = {"", 0, 0};
    cpu_set_t set;
    (void)context;
    const char *variable = getenv("SETUP_VARIABLE");
    if (variable != NULL)
        snprintf(found.variable, sizeof found.variable, "%s", variable);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    found.cpus = CPU_COUNT(&set);
    /* volatile: nothing is optimised away. */
    void *volatile room = malloc(QUARTER);
    found.has_room = room != NULL;
    free(room);
    return taskring_call_set_result(call, &found, sizeof found);
}

static void semantics_p22_workers_have_the_environment_cpus_and_memory_that_they_are_given(uint32_t kind) {
    const char *env[] = {"SETUP_VARIABLE=a=b", NULL};
    uint32_t cpu = 0;
    cpu_set_t set;
    taskring_config config = config_of(kind, 1);
    taskring_pool *pool = NULL;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    config.worker_cpus = &cpu;
    config.worker_cpus_count = 1;
    if (in_threads(kind)) {
        taskring_config wrong = config;
        wrong.worker_env = env;
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
        wrong = config;
        wrong.worker_memory_max = QUARTER;
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
        CHECK(pool == NULL);
    } else {
        config.worker_env = env;
        config.worker_memory_max = QUARTER;
    }
    struct resources found;
    pool = create(&config);
    ask(pool, "ask_resources", &found, sizeof found);
    CHECK(found.cpus == 1);
    CHECK(found.has_room == in_threads(kind));
    CHECK(strcmp(found.variable, in_threads(kind) ? "" : "a=b") == 0);
    CHECK(getenv("SETUP_VARIABLE") == NULL);
    OK(taskring_free(pool));
}

/* A pool that nobody can work in, for its initializer. */
static void broken_by(uint32_t kind, const char *initializer, taskring_status wanted, const char *why) {
    const pid_t owner = getpid();
    const taskring_named_bytes function = {initializer, &owner, sizeof owner};
    taskring_config config = config_of(kind, 2);
    uint64_t x = 3, ticket = 0;
    config.initializer = &function;
    taskring_pool *pool = create(&config);
    taskring_status status = taskring_submit_named(pool, "square", &x, sizeof x, NULL, TASKRING_INFINITE, &ticket);
    if (status == TASKRING_OK)
        status = taskring_result(pool, ticket, SOON, &x, sizeof x, NULL);
    CHECK(status == wanted && strstr(taskring_last_error(), why) != NULL);
    STATUS(wanted, taskring_submit_named(pool, "square", &x, sizeof x, NULL, TASKRING_INFINITE, &ticket));
    CHECK(strstr(taskring_last_error(), why) != NULL);
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_free(pool));
    until_childless();
}

static void semantics_p21_a_failing_initializer_breaks_the_pool_and_leaves_nothing_behind(uint32_t kind) {
    broken_by(kind, "set_up", TASKRING_BROKEN, "no desk anywhere");
}

static void semantics_p21_a_worker_that_ends_in_its_initializer_is_one_that_could_not_be_started(uint32_t kind) {
    broken_by(kind, "exit_with_3", TASKRING_NOT_A_WORKER, in_threads(kind) ? "did not attach" : "exited with code 3");
}

struct self {
    int32_t number;
    char name[32];
};

static int32_t who(taskring_call *call, void *context) {
    struct self self = {taskring_worker_number(), ""};
    (void)context;
    const char *name = taskring_worker_name();
    if (name == NULL)
        return 1;
    snprintf(self.name, sizeof self.name, "%s", name);
    return taskring_call_set_result(call, &self, sizeof self);
}

static void semantics_t3_workers_have_names_with_their_numbers(uint32_t kind) {
    taskring_config config = config_of(kind, 2);
    config.worker_names = "crew";
    taskring_pool *pool = create(&config);
    for (uint32_t number = 0; number < 2; number++) {
        uint64_t ticket = 0;
        struct self self;
        char wanted[32];
        OK(taskring_submit_to(pool, number, function(pool, "who"), NULL, 0, NULL, SOON, &ticket));
        OK(taskring_result(pool, ticket, SOON, &self, sizeof self, NULL));
        snprintf(wanted, sizeof wanted, "crew_%" PRIu32, number);
        CHECK(self.number == (int32_t)number && strcmp(self.name, wanted) == 0);
    }
    CHECK(taskring_worker_number() == -1 && taskring_worker_name() == NULL);
    OK(taskring_free(pool));
}

/* Where the page lies, or why it is not there, and its first bytes. */
struct page {
    uintptr_t at;
    char bytes[1000];
};

static int32_t look(taskring_call *call, void *context) {
    const void *data = NULL;
    struct page page;
    size_t len = 0;
    (void)context;
    if (taskring_shared(NULL, "page", &data, &len) != TASKRING_OK || len != sizeof page.bytes)
        return 1;
    page.at = (uintptr_t)data;
    memcpy(page.bytes, data, len);
    if (taskring_shared(NULL, "other", &data, &len) != TASKRING_INVALID_ARGUMENT)
        return 2;
    return taskring_call_set_result(call, &page, sizeof page);
}

static void looked_at(taskring_pool *pool, struct page *page) {
    ask(pool, "look", page, sizeof *page);
    CHECK(page->at % 64 == 0);
    for (size_t i = 0; i < sizeof page->bytes; i++)
        CHECK(page->bytes[i] == 'p');
}

static void semantics_s1_shared_bytes_are_read_by_every_worker_where_they_lie(uint32_t kind) {
    char bytes[1000], name[40];
    memset(bytes, 'p', sizeof bytes);
    const taskring_named_bytes shared[] = {{"page", bytes, sizeof bytes}, {"nothing", NULL, 0}};
    taskring_config config = config_of(kind, 2);
    taskring_pool *pool = NULL, *attached = NULL;
    config.shared = shared;
    config.shared_count = 2;
    snprintf(name, sizeof name, "semantics-s1-%d", (int)getpid());
    OK(taskring_create_named(&config, name, &pool));
    memset(bytes, 0, sizeof bytes); /* They were copied. */
    const void *data = NULL;
    struct page page;
    size_t len = 99;
    OK(taskring_shared(pool, "page", &data, &len));
    CHECK(len == sizeof bytes);
    for (int i = 0; i < 4; i++) {
        looked_at(pool, &page);
        CHECK(!in_threads(kind) || page.at == (uintptr_t)data); /* No copy. */
    }
    OK(taskring_attach(name, &attached));
    looked_at(attached, &page);
    OK(taskring_shared(attached, "page", &data, &len));
    CHECK(len == sizeof bytes && memcmp(data, page.bytes, len) == 0);
    OK(taskring_free(attached));
    OK(taskring_shared(pool, "nothing", &data, &len));
    CHECK(len == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, "other", &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(NULL, "page", &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, NULL, &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, "page", NULL, &len));
    OK(taskring_free(pool));
}

static void semantics_s1_what_cannot_be_shared_is_refused(uint32_t kind) {
    taskring_config config = config_of(kind, 1);
    taskring_named_bytes many[65];
    taskring_pool *pool = NULL;
    for (size_t i = 0; i < 65; i++)
        many[i] = (taskring_named_bytes){"a", "x", 1};
    config.shared_count = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    config.shared = many;
    config.shared_count = 2; /* Each name once. */
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&config, &pool));
    config.shared_count = 65;
    STATUS(TASKRING_TOO_MANY, taskring_create(&config, &pool));
    CHECK(pool == NULL);
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_p21_a_failing_initializer_breaks_the_pool_and_leaves_nothing_behind),
    CASE(semantics_p21_a_worker_that_ends_in_its_initializer_is_one_that_could_not_be_started),
    CASE(semantics_p22_each_worker_runs_the_initializer_first_and_the_exit_hook_last),
    CASE(semantics_p22_who_takes_a_dead_ones_place_runs_it_too_and_the_dead_one_no_hook),
    CASE(semantics_p22_what_no_worker_can_be_given_is_refused),
    CASE(semantics_p22_workers_have_the_environment_cpus_and_memory_that_they_are_given),
    CASE(semantics_t3_workers_have_names_with_their_numbers),
    CASE(semantics_s1_shared_bytes_are_read_by_every_worker_where_they_lie),
    CASE(semantics_s1_what_cannot_be_shared_is_refused),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("set_up", set_up, NULL, NULL));
    OK(taskring_register("exit_with_3", exit_with_3, NULL, NULL));
    OK(taskring_register("count_me", count_me, NULL, NULL));
    OK(taskring_register("serve", serve, NULL, NULL));
    OK(taskring_register("ask_resources", ask_resources, NULL, NULL));
    OK(taskring_register("who", who, NULL, NULL));
    OK(taskring_register("look", look, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
