/* The contract in C and C++: programs whose cases are named semantics_<row>_<what holds>, each run with workers of a kind in a process of its own, which
 * has one thread when it makes its pool.
 *
 *   PROGRAM               every case with every kind
 *   PROGRAM KIND          every case with thread, interpreter, spawn, fork or forkserver
 *   PROGRAM KIND CASE     this case, in this process
 *   PROGRAM --list        the cases
 */
#ifndef TASKRING_TESTS_SEMANTICS_MAIN_H
#define TASKRING_TESTS_SEMANTICS_MAIN_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <taskring.h>

struct semantics_case {
    const char *name;
    void (*run)(uint32_t kind);
};

struct semantics_kind {
    const char *name;
    uint32_t start_method;
};

static const struct semantics_kind semantics_kinds[] = {
    {"spawn", TASKRING_SPAWN}, {"fork", TASKRING_FORK}, {"forkserver", TASKRING_FORKSERVER}, {"thread", TASKRING_THREAD},
    {"interpreter", TASKRING_INTERPRETER}};

/* Whether workers of this kind are threads of this process: no signal ends one of them alone. */
static inline int in_threads(uint32_t kind) { return kind == TASKRING_THREAD || kind == TASKRING_INTERPRETER; }

/* Begins a case of this program in a process of its own. */
static inline pid_t semantics_start(uint32_t start_method, const char *name) {
    const char *kind = NULL;
    for (size_t k = 0; k < sizeof semantics_kinds / sizeof *semantics_kinds; k++)
        if (semantics_kinds[k].start_method == start_method)
            kind = semantics_kinds[k].name;
    const pid_t child = fork();
    if (child == 0) {
        char *const args[] = {(char *)(uintptr_t)"semantics", (char *)(uintptr_t)kind, (char *)(uintptr_t)name, NULL};
        execv("/proc/self/exe", args);
        _exit(127);
    }
    return child;
}

/* Runs it to its end; the code that it exits with, or -1. */
static inline int semantics_code(uint32_t start_method, const char *name) {
    int end = -1;
    const pid_t child = semantics_start(start_method, name);
    return child > 0 && waitpid(child, &end, 0) == child && WIFEXITED(end) ? WEXITSTATUS(end) : -1;
}

/* Runs one case in a process of its own; whether it went well. */
static int semantics_apart(char *program, const struct semantics_kind *kind, const struct semantics_case *one) {
    int end = -1;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        char *const args[] = {program, (char *)(uintptr_t)kind->name, (char *)(uintptr_t)one->name, NULL};
        execv("/proc/self/exe", args);
        _exit(127);
    }
    const int well = child > 0 && waitpid(child, &end, 0) == child && WIFEXITED(end) && WEXITSTATUS(end) == 0;
    printf("test %s [%s] ... %s\n", one->name, kind->name, well ? "ok" : "FAILED");
    return well;
}

/* What main does after the registrations and init. */
static int semantics_main(int argc, char **argv, const struct semantics_case *cases, size_t count) {
    int failed = 0, found = 0;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            puts(cases[i].name);
        return 0;
    }
    for (size_t k = 0; k < sizeof semantics_kinds / sizeof *semantics_kinds; k++) {
        const struct semantics_kind *kind = &semantics_kinds[k];
        if (argc > 1 && strcmp(argv[1], kind->name) != 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (argc > 2 && strcmp(argv[2], cases[i].name) != 0)
                continue;
            found = 1;
            if (argc <= 2) {
                failed += !semantics_apart(argv[0], kind, &cases[i]);
                continue;
            }
            alarm(60);
            cases[i].run(kind->start_method);
            return 0;
        }
    }
    if (!found)
        fprintf(stderr, "no such case or kind\n");
    return !found || failed != 0;
}

#ifdef TASKRING_TESTS_CHECK_H /* In C. */

/* The only worker of the pool is kept busy. */
static inline uint64_t busy(taskring_pool *pool) {
    const uint64_t ticket = submit(pool, "until_asked", NULL, 0);
    until_state(pool, ticket, TASKRING_RUNNING);
    return ticket;
}

static inline taskring_config config_of(uint32_t kind, uint32_t workers) {
    taskring_config config = TASKRING_CONFIG_INIT;
    config.start_method = kind;
    config.workers = workers;
    return config;
}

static inline taskring_pool *create(const taskring_config *config) {
    taskring_pool *pool = NULL;
    OK(taskring_create(config, &pool));
    return pool;
}

/* A count that tasks in other processes add to: the bytes of a file. */
typedef struct tally {
    char path[32];
} tally;

static inline tally new_tally(void) {
    tally made = {"/tmp/taskring-tally-XXXXXX"};
    const int fd = mkstemp(made.path);
    CHECK(fd >= 0 && close(fd) == 0);
    return made;
}

static inline void count_in(const tally *tally) {
    const int fd = open(tally->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, ".", 1) == 1 && close(fd) == 0);
}

static inline long counted(const tally *tally) {
    struct stat found;
    CHECK(stat(tally->path, &found) == 0);
    return (long)found.st_size;
}

static inline void until_counted(const tally *tally, long wanted) {
    for (int i = 0; i < 20000 && counted(tally) < wanted; i++)
        sleep_ms(1);
    CHECK(counted(tally) == wanted);
}

/* A task that counts itself in the tally that its argument is. */
static inline int32_t count_me(taskring_call *call, void *context) {
    (void)context;
    count_in(taskring_call_args(call, NULL));
    return 0;
}

/* Ends this worker and nothing else: its process, or in the process of this number, which is the owner's, the thread alone. */
static inline int32_t end_worker(pid_t owner) {
    if (getpid() != owner)
        kill(getpid(), SIGKILL);
    syscall(SYS_exit, 0);
    return 0;
}

/* Runs until it is asked to stop, and then takes its worker with it. Its argument is the owner's process. */
static inline int32_t die_when_asked(taskring_call *call, void *context) {
    pid_t owner;
    memcpy(&owner, taskring_call_args(call, NULL), sizeof owner);
    return until_asked(call, context) != TASKRING_OK ? 1 : end_worker(owner);
}

/* One that runs, and dies when it is cancelled. */
static inline uint64_t victim(taskring_pool *pool) {
    const pid_t owner = getpid();
    const uint64_t ticket = submit(pool, "die_when_asked", &owner, sizeof owner);
    until_state(pool, ticket, TASKRING_RUNNING);
    return ticket;
}

/* Waits for the end of every process that this one has started. */
static inline void until_childless(void) {
    siginfo_t found;
    for (int i = 0; i < 20000 && waitid(P_ALL, 0, &found, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0; i++)
        sleep_ms(1);
    CHECK(waitid(P_ALL, 0, &found, WEXITED | WNOHANG | WNOWAIT | __WALL) == -1 && errno == ECHILD);
}

/* Waits until this process has one thread, as it had before it made a pool: a thread may be gone a moment after whoever waited for it goes on. */
static inline void until_alone(void) {
    int threads = 0;
    for (int i = 0; i < 20000 && threads != 1; i++, sleep_ms(1)) {
        char line[100];
        FILE *file = fopen("/proc/self/status", "r");
        CHECK(file != NULL);
        while (fgets(line, sizeof line, file) != NULL)
            sscanf(line, "Threads: %d", &threads);
        fclose(file);
    }
    CHECK(threads == 1);
}

static inline uint64_t submit_square(taskring_pool *pool, uint64_t x) { return submit(pool, "square", &x, sizeof x); }

static inline uint32_t state_of(taskring_pool *pool, uint64_t ticket) {
    uint32_t state = 0;
    OK(taskring_state(pool, ticket, &state));
    return state;
}

static inline uint32_t cancel(taskring_pool *pool, uint64_t ticket) {
    uint32_t cancelled = 7;
    OK(taskring_cancel(pool, ticket, &cancelled));
    return cancelled;
}

#endif

#endif
