/* What workers are given: initializer, exit hook, names and numbers, shared values. */
#include "check.h"
#include <sched.h>

/* What the initializer leaves: each thread of a program has its own. */
static _Thread_local uint64_t desk;

static int32_t set_up(taskring_call *call, void *context) {
    size_t len = 0;
    (void)context;
    const void *args = taskring_call_args(call, &len);
    if (len != sizeof desk) {
        taskring_call_fail(call, "no desk anywhere");
        return 1;
    }
    memcpy(&desk, args, sizeof desk);
    return 0;
}

static int32_t ask_desk(taskring_call *call, void *context) {
    (void)context;
    return taskring_call_set_result(call, &desk, sizeof desk);
}

/* The exit hook: makes the file that its argument names a byte longer. */
static int32_t tidy_up(taskring_call *call, void *context) {
    (void)context;
    FILE *file = fopen(taskring_call_args(call, NULL), "a");
    return file == NULL || fputc('.', file) == EOF || fclose(file) != 0;
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

static int32_t look(taskring_call *call, void *context) {
    const void *data = NULL;
    size_t len = 0;
    (void)context;
    if (taskring_shared(NULL, "page", &data, &len) != TASKRING_OK || (uintptr_t)data % 64 != 0)
        return 1;
    if (taskring_shared(NULL, "other", &data, &len) != TASKRING_INVALID_ARGUMENT)
        return 2;
    return taskring_call_set_result(call, data, len);
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

static void ask(taskring_pool *pool, const char *function, void *result, size_t size) {
    size_t len = 0;
    OK(taskring_result(pool, submit(pool, function, NULL, 0), SOON, result, size, &len));
    CHECK(len == size);
}

static void given(uint32_t method) {
    char path[] = "/tmp/taskring-setup-XXXXXX", page[1000];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    memset(page, 'p', sizeof page);
    uint64_t number = 77, found = 0;
    const taskring_named_bytes initializer = {"set_up", &number, sizeof number}, hook = {"tidy_up", path, sizeof path};
    const taskring_named_bytes shared[] = {{"page", page, sizeof page}, {"nothing", NULL, 0}};
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    config.start_method = method;
    config.workers = 2;
    config.worker_names = "crew";
    config.initializer = &initializer;
    config.exit_hook = &hook;
    config.shared = shared;
    config.shared_count = 2;
    OK(taskring_create(&config, &pool));
    /* Everything was copied. */
    memset(page, 0, sizeof page);
    number = 0;
    ask(pool, "ask_desk", &found, sizeof found);
    CHECK(found == 77);
    struct self self;
    char wanted[32];
    ask(pool, "who", &self, sizeof self);
    CHECK(self.number == 0 || self.number == 1);
    snprintf(wanted, sizeof wanted, "crew_%d", (int)self.number);
    CHECK(strcmp(self.name, wanted) == 0);
    CHECK(taskring_worker_number() == -1 && taskring_worker_name() == NULL);
    ask(pool, "look", page, sizeof page);
    for (size_t i = 0; i < sizeof page; i++)
        CHECK(page[i] == 'p');
    const void *data = NULL;
    size_t len = 99;
    OK(taskring_shared(pool, "page", &data, &len));
    CHECK(len == sizeof page && memcmp(data, page, len) == 0);
    OK(taskring_shared(pool, "nothing", &data, &len));
    CHECK(len == 0);
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, "other", &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(NULL, "page", &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, NULL, &data, &len));
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_shared(pool, "page", NULL, &len));
    /* It waits for the hooks of both workers. */
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_free(pool));
    off_t end = lseek(fd, 0, SEEK_END);
    CHECK(end == 2);
    close(fd);
    unlink(path);
}

static void given_resources(uint32_t method) {
    const char *env[] = {"SETUP_VARIABLE=a=b", NULL};
    const uint32_t no_cpu = 8191;
    uint32_t cpu = 0;
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    taskring_config config = TASKRING_CONFIG_INIT, wrong;
    taskring_pool *pool = NULL;
    config.start_method = method;
    config.workers = 1;
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
    config.worker_cpus = &cpu;
    config.worker_cpus_count = 1;
    if (method == TASKRING_THREAD) {
        wrong = config;
        wrong.worker_env = env;
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
        wrong = config;
        wrong.worker_memory_max = QUARTER;
        STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    } else {
        config.worker_env = env;
        config.worker_memory_max = QUARTER;
    }
    struct resources found;
    OK(taskring_create(&config, &pool));
    ask(pool, "ask_resources", &found, sizeof found);
    CHECK(found.cpus == 1);
    CHECK(found.has_room == (method == TASKRING_THREAD));
    CHECK(strcmp(found.variable, method == TASKRING_THREAD ? "" : "a=b") == 0);
    CHECK(getenv("SETUP_VARIABLE") == NULL);
    OK(taskring_free(pool));
}

static void failing(uint32_t method) {
    const taskring_named_bytes initializer = {"set_up", "x", 1};
    taskring_config config = TASKRING_CONFIG_INIT;
    taskring_pool *pool = NULL;
    uint64_t x = 3, ticket = 0, y;
    config.start_method = method;
    config.workers = 1;
    config.initializer = &initializer;
    OK(taskring_create(&config, &pool));
    taskring_status status = taskring_submit(pool, function(pool, "square"), &x, sizeof x, NULL, &ticket);
    if (status == TASKRING_OK)
        status = taskring_result(pool, ticket, SOON, &y, sizeof y, NULL);
    CHECK(status == TASKRING_BROKEN && strstr(taskring_last_error(), "no desk anywhere") != NULL);
    OK(taskring_free(pool));
}

static void refused(uint32_t method) {
    taskring_config config = TASKRING_CONFIG_INIT, wrong;
    taskring_pool *pool = NULL;
    taskring_named_bytes many[65];
    for (size_t i = 0; i < 65; i++)
        many[i] = (taskring_named_bytes){"a", "x", 1};
    config.start_method = method;
    config.workers = 1;
    wrong = config;
    wrong.initializer = &(taskring_named_bytes){"no such function", NULL, 0};
    STATUS(TASKRING_UNKNOWN_FUNCTION, taskring_create(&wrong, &pool));
    wrong.initializer = &(taskring_named_bytes){NULL, NULL, 0};
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong = config;
    wrong.shared_count = 1;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong.shared = many;
    wrong.shared_count = 2;
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    wrong.shared_count = 65;
    STATUS(TASKRING_TOO_MANY, taskring_create(&wrong, &pool));
    wrong = config;
    wrong.worker_names = "";
    STATUS(TASKRING_INVALID_ARGUMENT, taskring_create(&wrong, &pool));
    CHECK(pool == NULL);
}

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("set_up", set_up, NULL, NULL));
    OK(taskring_register("tidy_up", tidy_up, NULL, NULL));
    OK(taskring_register("ask_desk", ask_desk, NULL, NULL));
    OK(taskring_register("who", who, NULL, NULL));
    OK(taskring_register("look", look, NULL, NULL));
    OK(taskring_register("ask_resources", ask_resources, NULL, NULL));
    OK(taskring_init(argc, argv));
    const char *kind = argc > 1 ? argv[1] : "thread";
    uint32_t method = strcmp(kind, "spawn") == 0        ? TASKRING_SPAWN
                      : strcmp(kind, "fork") == 0       ? TASKRING_FORK
                      : strcmp(kind, "forkserver") == 0 ? TASKRING_FORKSERVER
                                                        : TASKRING_THREAD;
    given(method);
    /* A fork pool wants a process with one thread, which this is again when a pool has ended. */
    given_resources(method);
    failing(method);
    refused(method);
    puts("ok");
    return 0;
}
