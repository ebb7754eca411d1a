/* What a killed owner leaves, in C (row B11): each case runs itself a second time, as the owner of a pool, and kills that one. */
#include "check.h"
#include "semantics_main.h"
#include <sys/mman.h>
#include <sys/prctl.h>

/* In the environment of the owner: the file with the cells, and the name of its pool. */
static const char cells_of_owner[] = "TASKRING_TEST_CELLS", name_of_owner[] = "TASKRING_TEST_NAME";

enum {
    /* More, each of 20 ms, than anybody waits for. */
    MANY = 4000,
    QUEUED = 40
};

/* What the processes count and say: a file that they all map. */
struct cells {
    uint32_t entered, queued, open, left, counted;
};

static struct cells *cells_at(const char *path) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, sizeof(struct cells), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && at != MAP_FAILED && close(fd) == 0);
    return at;
}

static uint32_t get(const uint32_t *cell) { return __atomic_load_n(cell, __ATOMIC_ACQUIRE); }
static void add(uint32_t *cell) { __atomic_fetch_add(cell, 1, __ATOMIC_ACQ_REL); }

static void until_at_least(const uint32_t *cell, uint32_t wanted) {
    for (int i = 0; i < 20000 && get(cell) < wanted; i++)
        sleep_ms(1);
    CHECK(get(cell) >= wanted);
}

/* Its argument is the path of the cells. */
static int32_t held(taskring_call *call, void *context) {
    struct cells *cells = cells_at(taskring_call_args(call, NULL));
    (void)context;
    add(&cells->entered);
    until_at_least(&cells->open, 1);
    add(&cells->left);
    return 0;
}

static int32_t count(taskring_call *call, void *context) {
    struct cells *cells = cells_at(taskring_call_args(call, NULL));
    (void)context;
    sleep_ms(20);
    add(&cells->counted);
    CHECK(munmap(cells, sizeof *cells) == 0);
    return 0;
}

/* The owner, until it is killed: a task for each of its workers, of which somebody else submits `foreign`, and behind them so many others. */
static void own(uint32_t kind, uint32_t foreign, int pending) {
    const char *path = getenv(cells_of_owner), *name = getenv(name_of_owner);
    taskring_config config = config_of(kind, 2 + foreign);
    taskring_pool *pool = NULL;
    config.capacity = 2 * MANY;
    OK(*name == 0 ? taskring_create(&config, &pool) : taskring_create_named(&config, name, &pool));
    for (int i = 0; i < 2; i++)
        submit(pool, "held", path, strlen(path) + 1);
    until_at_least(&cells_at(path)->entered, 2 + foreign);
    for (int i = 0; i < pending; i++)
        submit(pool, "count", path, strlen(path) + 1);
    add(&cells_at(path)->queued);
    for (;;)
        pause();
}

struct killed {
    char path[40], name[40];
    struct cells *cells;
    pid_t pid;
};

/* Starts the owner. What it leaves comes to this process when it is gone. */
static struct killed start_owner(uint32_t kind, const char *name_of_case, int named) {
    struct killed it = {"/tmp/taskring-cells-XXXXXX", "", NULL, 0};
    const int fd = mkstemp(it.path);
    CHECK(fd >= 0 && ftruncate(fd, sizeof(struct cells)) == 0 && close(fd) == 0);
    if (named)
        snprintf(it.name, sizeof it.name, "c-killed-%d", (int)getpid());
    it.cells = cells_at(it.path);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    CHECK(setenv(cells_of_owner, it.path, 1) == 0 && setenv(name_of_owner, it.name, 1) == 0);
    it.pid = semantics_start(kind, name_of_case);
    until_at_least(&it.cells->entered, 2);
    return it;
}

/* Once everything is submitted. */
static void kill_owner(const struct killed *it) {
    int end = 0;
    until_at_least(&it->cells->queued, 1);
    CHECK(kill(it->pid, SIGKILL) == 0 && waitpid(it->pid, &end, 0) == it->pid && WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL);
}

/* Until every process that the owner has left is gone. */
static void until_all_are_gone(const struct killed *it) {
    pid_t ended = 0;
    for (int i = 0; i < 20000 && ended != -1; i++) {
        ended = waitpid(-1, NULL, WNOHANG | __WALL);
        if (ended == 0)
            sleep_ms(1);
    }
    CHECK(ended == -1 && errno == ECHILD);
    remove(it->path);
}

static void semantics_b11_workers_of_a_killed_owner_finish_what_they_run_and_go(uint32_t kind) {
    if (getenv(cells_of_owner) != NULL)
        own(kind, 0, MANY);
    const struct killed it = start_owner(kind, __func__, 0);
    kill_owner(&it);
    CHECK(get(&it.cells->left) == 0);
    add(&it.cells->open);
    if (!in_threads(kind))
        until_at_least(&it.cells->left, 2);
    until_all_are_gone(&it);
    /* A worker may begin one more until it has seen that the owner is gone; a thread is gone with it. */
    CHECK(in_threads(kind) ? get(&it.cells->left) == 0 && get(&it.cells->counted) == 0 : get(&it.cells->counted) < MANY);
}

static void semantics_b11_a_named_pool_goes_on_without_its_killed_owner(uint32_t kind) {
    if (getenv(cells_of_owner) != NULL)
        own(kind, 1, QUEUED);
    const struct killed it = start_owner(kind, __func__, 1);
    taskring_pool *before = NULL, *after = NULL;
    uint64_t y = 0;
    uint32_t removed = 0;
    OK(taskring_attach(it.name, &before));
    const uint64_t running = submit(before, "held", it.path, strlen(it.path) + 1), pending = submit_square(before, 7);
    kill_owner(&it);
    add(&it.cells->open);
    if (in_threads(kind)) {
        /* They are gone with it, and nobody is left to run the other one. */
        STATUS(TASKRING_WORKER_LOST, taskring_result(before, running, SOON, NULL, 0, NULL));
        STATUS(TASKRING_NO_WORKER, taskring_result(before, pending, SOON, NULL, 0, NULL));
        OK(taskring_free(before));
    } else {
        OK(taskring_result(before, running, SOON, NULL, 0, NULL));
        OK(taskring_result(before, pending, SOON, &y, sizeof y, NULL));
        CHECK(y == 49);
        until_at_least(&it.cells->counted, QUEUED);
        until_at_least(&it.cells->left, 3);
        /* Others may come still. */
        OK(taskring_attach(it.name, &after));
        CHECK(square_in(after, 9) == 81);
        OK(taskring_free(before));
        OK(taskring_free(after));
    }
    until_all_are_gone(&it);
    CHECK(get(&it.cells->counted) == (in_threads(kind) ? 0 : QUEUED));
    OK(taskring_remove_dead(it.name, &removed));
    CHECK(removed == 1);
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_b11_workers_of_a_killed_owner_finish_what_they_run_and_go),
    CASE(semantics_b11_a_named_pool_goes_on_without_its_killed_owner),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("held", held, NULL, NULL));
    OK(taskring_register("count", count, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
