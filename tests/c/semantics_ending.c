/* How pools end, in C: rows of section P, and what rows B11 and T7 say of the end of a program. */
#include "check.h"
#include "semantics_main.h"
#include <pthread.h>

enum { PENDING = 10 };

static void all_end_as(taskring_pool *pool, const uint64_t *tickets, int count, taskring_status wanted) {
    for (int i = 0; i < count; i++)
        STATUS(wanted, taskring_result(pool, tickets[i], SOON, NULL, 0, NULL));
}

static void ask_to_stop(taskring_pool *pool, uint64_t ticket) {
    char answer[5];
    CHECK(cancel(pool, ticket) == 0);
    OK(taskring_result(pool, ticket, SOON, answer, sizeof answer, NULL));
    CHECK(memcmp(answer, "asked", 5) == 0);
}

/* What the pool says to one more task: everything but 0 is a refusal. */
static taskring_status refusal(taskring_pool *pool) {
    uint64_t x = 3, ticket = 0;
    const taskring_status status = taskring_submit_named(pool, "square", &x, sizeof x, NULL, TASKRING_INFINITE, &ticket);
    CHECK((status == TASKRING_OK) == (ticket != 0));
    return status;
}

static void until_refused(taskring_pool *pool, taskring_status wanted) {
    taskring_status status = TASKRING_OK;
    for (int i = 0; i < 20000 && status != wanted; i++) {
        sleep_ms(1);
        status = refusal(pool);
    }
    CHECK(status == wanted);
}

/* A pool that a death breaks. */
static taskring_pool *breaking(uint32_t kind, uint32_t workers) {
    taskring_config config = config_of(kind, workers);
    config.on_worker_death = TASKRING_DEATH_BREAKS_POOL;
    return create(&config);
}

static void semantics_p9_a_death_breaks_the_pool_and_what_runs_elsewhere_ends(uint32_t kind) {
    taskring_pool *pool = breaking(kind, 2);
    const uint64_t dying = victim(pool), other = busy(pool);
    uint64_t pending[PENDING];
    for (uint64_t i = 0; i < PENDING; i++)
        pending[i] = submit_square(pool, i);
    cancel(pool, dying);
    all_end_as(pool, pending, PENDING, TASKRING_BROKEN);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, dying, SOON, NULL, 0, NULL));
    STATUS(TASKRING_BROKEN, refusal(pool));
    CHECK(state_of(pool, other) == TASKRING_RUNNING);
    ask_to_stop(pool, other);
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_free(pool));
}

static void semantics_p10_each_task_of_a_broken_pool_has_an_error_of_its_own(uint32_t kind) {
    taskring_pool *pool = breaking(kind, 1);
    const uint64_t failed = submit(pool, "fail_code", NULL, 0);
    STATUS(TASKRING_TASK_FAILED, taskring_peek(pool, failed, SOON, NULL, 0, NULL));
    const uint64_t dying = victim(pool);
    uint64_t pending[PENDING];
    char text[256];
    for (uint64_t i = 0; i < PENDING; i++)
        pending[i] = submit_square(pool, i);
    cancel(pool, dying);
    for (int i = 0; i < PENDING; i++) {
        STATUS(TASKRING_BROKEN, taskring_peek(pool, pending[i], SOON, NULL, 0, NULL));
        CHECK(i == 0 || strcmp(taskring_last_error(), text) == 0);
        snprintf(text, sizeof text, "%s", taskring_last_error());
    }
    CHECK(strncmp(text, "the pool is broken: ", 20) == 0);
    /* What is taken from one is there in the others still. */
    for (int i = 0; i < PENDING; i++) {
        STATUS(TASKRING_BROKEN, taskring_result(pool, pending[i], 0, NULL, 0, NULL));
        CHECK(strcmp(taskring_last_error(), text) == 0);
        STATUS(TASKRING_STALE, taskring_peek(pool, pending[i], 0, NULL, 0, NULL));
    }
    /* Those of another kind stay what they are. */
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, dying, SOON, NULL, 0, NULL));
    STATUS(TASKRING_TASK_FAILED, taskring_result(pool, failed, 0, NULL, 0, NULL));
    CHECK(strcmp(taskring_last_error(), "the function returned 42") == 0);
    OK(taskring_free(pool));
}

static void semantics_p11_a_broken_pool_says_who_died_and_of_what(uint32_t kind) {
    taskring_pool *pool = breaking(kind, 1);
    const uint64_t dying = victim(pool), pending = submit_square(pool, 3);
    char wanted[160] = "a worker of the pool ended abruptly while a task was running or pending";
    uint32_t pid = 0, of = 9;
    OK(taskring_worker_pid(pool, dying, &pid));
    cancel(pool, dying);
    STATUS(TASKRING_BROKEN, taskring_result(pool, pending, SOON, NULL, 0, NULL));
    if (!in_threads(kind))
        snprintf(wanted + strlen(wanted), 60, ": taskring-worker_0 (process %" PRIu32 "): signal 9", pid);
    CHECK(strstr(taskring_last_error(), wanted) != NULL);
    OK(taskring_last_broken(&of));
    CHECK(of == (kind == TASKRING_THREAD        ? TASKRING_POOL_OF_THREADS
                 : kind == TASKRING_INTERPRETER ? TASKRING_POOL_OF_INTERPRETERS
                                                : TASKRING_POOL_OF_PROCESSES));
    STATUS(TASKRING_BROKEN, refusal(pool));
    CHECK(strstr(taskring_last_error(), wanted) != NULL);
    OK(taskring_free(pool));
}

static void semantics_p24_a_pool_that_was_shut_down_and_breaks_says_broken(uint32_t kind) {
    taskring_pool *pool = breaking(kind, 1);
    const uint64_t dying = victim(pool), pending = submit_square(pool, 3);
    OK(taskring_shutdown(pool, 0, 0));
    STATUS(TASKRING_SHUT_DOWN, refusal(pool));
    cancel(pool, dying);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, dying, SOON, NULL, 0, NULL));
    until_refused(pool, TASKRING_BROKEN);
    STATUS(TASKRING_BROKEN, taskring_result(pool, pending, SOON, NULL, 0, NULL));
    OK(taskring_free(pool));
}

/* What `dies` is told: in how many attempts it takes its worker with it. */
struct dying {
    tally threads;
    pid_t owner;
    uint32_t deaths;
};

/* Notes its thread in the file, and dies; or gives the number of the attempt. */
static int32_t dies(taskring_call *call, void *context) {
    struct dying it;
    const uint32_t attempt = taskring_attempt();
    const pid_t thread = (pid_t)syscall(SYS_gettid);
    (void)context;
    memcpy(&it, taskring_call_args(call, NULL), sizeof it);
    const int fd = open(it.threads.path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, &thread, sizeof thread) == sizeof thread && close(fd) == 0);
    return attempt < it.deaths ? end_worker(it.owner) : taskring_call_set_result(call, &attempt, sizeof attempt);
}

/* Three attempts, each in a worker of its own. */
static void check_attempts(const tally *threads) {
    pid_t found[4];
    const int fd = open(threads->path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, found, sizeof found) == 3 * sizeof *found && close(fd) == 0);
    CHECK(found[0] != found[1] && found[0] != found[2] && found[1] != found[2]);
    remove(threads->path);
}

static void semantics_b3_a_task_outlives_as_many_workers_as_the_pool_says_and_all_others_run_once(uint32_t kind) {
    taskring_config config = config_of(kind, 2);
    config.on_worker_death = TASKRING_DEATH_RETRIES;
    config.attempts_max = 3;
    config.kills_max = 9;
    taskring_pool *pool = create(&config);
    const tally ran = new_tally();
    const struct dying most = {new_tally(), getpid(), 2}, all = {new_tally(), getpid(), 3};
    uint64_t lives = submit(pool, "dies", &most, sizeof most), lost = submit(pool, "dies", &all, sizeof all), others[PENDING];
    uint32_t attempt = 0;
    taskring_loss loss;
    for (int i = 0; i < PENDING; i++)
        others[i] = submit(pool, "count_me", &ran, sizeof ran);
    OK(taskring_result(pool, lives, SOON, &attempt, sizeof attempt, NULL));
    CHECK(attempt == 2);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, lost, SOON, NULL, 0, NULL));
    OK(taskring_last_loss(&loss));
    CHECK(loss.may_have_run == 1 && loss.signal == (in_threads(kind) ? 0 : SIGKILL));
    all_end_as(pool, others, PENDING, TASKRING_OK);
    OK(taskring_free(pool));
    CHECK(counted(&ran) == PENDING);
    remove(ran.path);
    check_attempts(&most.threads);
    check_attempts(&all.threads);
}

struct ender {
    taskring_pool *pool;
    int32_t wait, cancel, returned;
};

static void *shut_down(void *of) {
    struct ender *it = of;
    OK(taskring_shutdown(it->pool, it->wait, it->cancel));
    __atomic_store_n(&it->returned, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void semantics_p19_a_crash_while_a_shutdown_waits_is_a_verdict_and_it_returns(uint32_t kind) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct ender ender = {pool, 1, 0, 0};
    const uint64_t dying = victim(pool), later = submit_square(pool, 5);
    uint64_t y = 0;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, shut_down, &ender) == 0);
    until_refused(pool, TASKRING_SHUT_DOWN);
    cancel(pool, dying);
    CHECK(pthread_join(thread, NULL) == 0);
    STATUS(TASKRING_WORKER_LOST, taskring_result(pool, dying, 0, NULL, 0, NULL));
    OK(taskring_result(pool, later, 0, &y, sizeof y, NULL)); /* A pool that closes runs what it took. */
    CHECK(y == 25);
    OK(taskring_free(pool));
}

/* A line of the matrix. What runs ends by itself each time. */
static void matrix(uint32_t kind, int32_t wait, int32_t cancels) {
    taskring_pool *pool = make_pool(kind, 1, 64);
    struct ender ender = {pool, wait, cancels, 0};
    const uint64_t running = busy(pool);
    uint64_t pending[PENDING], y = 0;
    pthread_t thread;
    for (uint64_t i = 0; i < PENDING; i++)
        pending[i] = submit_square(pool, i);
    CHECK(pthread_create(&thread, NULL, shut_down, &ender) == 0);
    until_refused(pool, TASKRING_SHUT_DOWN);
    if (cancels) /* They are told while the running one goes on. */
        all_end_as(pool, pending, PENDING, TASKRING_CANCELLED);
    if (!wait)
        CHECK(pthread_join(thread, NULL) == 0);
    CHECK(__atomic_load_n(&ender.returned, __ATOMIC_ACQUIRE) == !wait && state_of(pool, running) == TASKRING_RUNNING);
    ask_to_stop(pool, running);
    if (wait)
        CHECK(pthread_join(thread, NULL) == 0);
    for (uint64_t i = 0; i < PENDING && !cancels; i++) {
        OK(taskring_result(pool, pending[i], wait ? 0 : SOON, &y, sizeof y, NULL));
        CHECK(y == i * i);
    }
    OK(taskring_free(pool));
    until_alone(); /* For the next one: fork wants a process with one thread. */
}

static void semantics_pm_what_runs_is_let_end_by_a_shutdown_that_waits(uint32_t kind) {
    matrix(kind, 1, 0);
    matrix(kind, 1, 1);
}

static void semantics_pm_what_runs_is_let_end_by_a_shutdown_that_does_not_wait(uint32_t kind) {
    matrix(kind, 0, 0);
    matrix(kind, 0, 1);
}

static void semantics_p29_freeing_a_pool_lets_everything_end_and_leaves_no_worker(uint32_t kind) {
    const tally ran = new_tally();
    taskring_pool *pool = make_pool(kind, 2, 64);
    for (int i = 0; i < 20; i++)
        submit(pool, "count_me", &ran, sizeof ran);
    OK(taskring_free(pool));
    CHECK(counted(&ran) == 20);
    until_childless();
    until_alone();
    remove(ran.path);
}

/* Says that it was entered: a task whose worker dies before that is not lost. */
static int32_t entered(taskring_call *call, void *context) {
    OK(taskring_report_progress(1, 1));
    return until_asked(call, context);
}

/* Two running tasks, and some that wait for them. */
static taskring_pool *filled(uint32_t kind, uint64_t running[2], uint64_t pending[PENDING]) {
    taskring_pool *pool = make_pool(kind, 2, 64);
    for (int i = 0; i < 2; i++)
        running[i] = submit(pool, "entered", NULL, 0);
    for (int i = 0; i < 2; i++) {
        taskring_status status = TASKRING_NOT_FOUND;
        for (int n = 0; n < 20000 && status == TASKRING_NOT_FOUND; n++, sleep_ms(1))
            status = taskring_progress(pool, running[i], NULL, NULL);
        OK(status);
    }
    for (uint64_t i = 0; i < PENDING; i++)
        pending[i] = submit_square(pool, i);
    return pool;
}

/* Threads cannot be ended: that is said, and nothing changed. */
static void workers_end(uint32_t kind, taskring_status (*end)(taskring_pool *), int32_t by) {
    uint64_t running[2], pending[PENDING];
    taskring_pool *pool = filled(kind, running, pending);
    taskring_loss loss;
    if (in_threads(kind)) {
        STATUS(TASKRING_UNSUPPORTED, end(pool));
        ask_to_stop(pool, running[0]);
        ask_to_stop(pool, running[1]);
        CHECK(square_in(pool, 3) == 9);
        OK(taskring_free(pool));
        return;
    }
    OK(end(pool));
    all_end_as(pool, pending, PENDING, TASKRING_CANCELLED);
    for (int i = 0; i < 2; i++) {
        STATUS(TASKRING_WORKER_LOST, taskring_result(pool, running[i], SOON, NULL, 0, NULL));
        OK(taskring_last_loss(&loss));
        CHECK(loss.signal == by);
    }
    STATUS(TASKRING_SHUT_DOWN, refusal(pool));
    OK(taskring_shutdown(pool, 1, 0));
    OK(taskring_kill_workers(pool)); /* Whatever has been said before. */
    OK(taskring_terminate_workers(pool));
    OK(taskring_free(pool));
}

static void semantics_p32_terminating_ends_the_workers_by_sigterm(uint32_t kind) {
    workers_end(kind, taskring_terminate_workers, SIGTERM);
}

static void semantics_p32_killing_ends_the_workers_by_sigkill(uint32_t kind) { workers_end(kind, taskring_kill_workers, SIGKILL); }

static void semantics_p32_a_shutdown_with_a_limit_cancels_and_kills_when_it_is_over(uint32_t kind) {
    uint64_t running[2], pending[PENDING], cancelled = 7, killed = 7;
    taskring_pool *pool = filled(kind, running, pending);
    if (in_threads(kind)) {
        STATUS(TASKRING_TIMED_OUT, taskring_shutdown_within(pool, MS, &cancelled, &killed));
        CHECK(cancelled == 7 && killed == 7);
        all_end_as(pool, pending, PENDING, TASKRING_CANCELLED);
        ask_to_stop(pool, running[0]);
        ask_to_stop(pool, running[1]);
    } else {
        OK(taskring_shutdown_within(pool, MS, &cancelled, &killed));
        CHECK(cancelled == PENDING && killed == 2);
        all_end_as(pool, running, 2, TASKRING_WORKER_LOST);
        all_end_as(pool, pending, PENDING, TASKRING_CANCELLED);
    }
    OK(taskring_shutdown_within(pool, TASKRING_INFINITE, &cancelled, &killed));
    CHECK(cancelled == 0 && killed == 0);
    OK(taskring_shutdown_within(pool, 0, NULL, NULL));
    OK(taskring_free(pool));
}

/* What follows runs a case a second time, as the owner of a pool that ends: it has four files of a folder copied, none of which is before the file "end" is
 * there, and writes that one last of all. So nothing is copied before main is over. */
static const char folder_of_owner[] = "TASKRING_TEST_FOLDER", way_of_owner[] = "TASKRING_TEST_WAY";

static int is_there(const char *path) { return access(path, F_OK) == 0; }

/* from, to and after, each with its zero byte. */
static int32_t copy(taskring_call *call, void *context) {
    const char *from = taskring_call_args(call, NULL), *to = from + strlen(from) + 1, *after = to + strlen(to) + 1;
    char bytes[64];
    (void)context;
    for (int i = 0; i < 20000 && !is_there(after); i++)
        sleep_ms(1);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (in == NULL || out == NULL)
        return 1;
    const size_t len = fread(bytes, 1, sizeof bytes, in);
    const int failed = fwrite(bytes, 1, len, out) != len;
    fclose(in);
    return fclose(out) != 0 || failed;
}

static const char *path_in(const char *folder, const char *name, int n) {
    static char path[100];
    snprintf(path, sizeof path, n < 0 ? "%s/%s" : "%s/%s%d", folder, name, n);
    return path;
}

/* The first of them runs when this returns. */
static void submit_copies(taskring_pool *pool, const char *folder) {
    for (int n = 0; n < 4; n++) {
        char args[300];
        const int len = snprintf(args, sizeof args, "%s/from%d%c%s/to%d%c%s/end%c", folder, n, 0, folder, n, 0, folder, 0);
        const uint64_t ticket = submit(pool, "copy", args, (size_t)len);
        if (n == 0)
            until_state(pool, ticket, TASKRING_RUNNING);
    }
}

static int copies_in(const char *folder) {
    int found = 0;
    for (int n = 0; n < 4; n++) {
        FILE *file = fopen(path_in(folder, "to", n), "rb");
        found += file != NULL && fgetc(file) == '0' + n;
        if (file != NULL)
            fclose(file);
    }
    return found;
}

static void write_file(const char *path, int byte) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fputc(byte, file) == byte && fclose(file) == 0);
}

static void at_the_end(const char *folder) {
    CHECK(copies_in(folder) == 0);
    write_file(path_in(folder, "end", -1), '.');
}

/* The folder of the program that a case has run; NULL in the case itself. */
static const char *own_folder(void) { return getenv(folder_of_owner); }
static int own_way(void) { return atoi(getenv(way_of_owner)); }

/* Runs the case as an owner: its exit code and how many copies there are then, at this very moment and not a little later. What it has left behind may go on
 * for as long as it takes to copy `at_last`. */
static void ends(uint32_t kind, const char *name, int way, int code, int copies, int at_last) {
    char folder[] = "/tmp/taskring-owner-XXXXXX", number[] = {(char)('0' + way), 0};
    CHECK(mkdtemp(folder) != NULL && setenv(folder_of_owner, folder, 1) == 0 && setenv(way_of_owner, number, 1) == 0);
    for (int n = 0; n < 4; n++)
        write_file(path_in(folder, "from", n), '0' + n);
    CHECK(semantics_code(kind, name) == code);
    CHECK(copies_in(folder) == copies);
    write_file(path_in(folder, "end", -1), '.');
    for (int i = 0; i < 20000 && copies_in(folder) != at_last; i++)
        sleep_ms(1);
    CHECK(copies_in(folder) == at_last);
    remove(path_in(folder, "end", -1));
    for (int n = 0; n < 4; n++) {
        remove(path_in(folder, "from", n));
        remove(path_in(folder, "to", n));
    }
    CHECK(rmdir(folder) == 0);
}

static void semantics_p27_files_are_copied_after_a_shutdown_that_does_not_wait(uint32_t kind) {
    if (own_folder() != NULL) {
        taskring_pool *pool = make_pool(kind, 2, 64);
        submit_copies(pool, own_folder());
        OK(taskring_shutdown(pool, 0, 0));
        at_the_end(own_folder());
        if (own_way() == 1)
            OK(taskring_free(pool));
        return;
    }
    for (int way = 0; way < 2; way++)
        ends(kind, __func__, way, 0, 4, 4);
}

static void semantics_p28_the_end_of_main_waits_for_what_was_submitted(uint32_t kind) {
    if (own_folder() == NULL) {
        ends(kind, __func__, 0, 0, 4, 4);
        return;
    }
    submit_copies(make_pool(kind, 2, 64), own_folder());
    at_the_end(own_folder());
}

static void semantics_b11_an_exit_waits_and_keeps_its_code(uint32_t kind) {
    if (own_folder() == NULL) {
        ends(kind, __func__, 0, 7, 4, 4);
        return;
    }
    submit_copies(make_pool(kind, 2, 64), own_folder());
    at_the_end(own_folder());
    exit(7);
}

static taskring_pool *to_be_freed;
static void free_it(void) { OK(taskring_free(to_be_freed)); }

/* A pool that nobody frees; or a hook does, behind that of the library or before it: the last to be registered is the first to run. */
static taskring_pool *freed_by_way(const taskring_config *config) {
    if (own_way() == 1)
        CHECK(atexit(free_it) == 0);
    to_be_freed = create(config);
    if (own_way() == 2)
        CHECK(atexit(free_it) == 0);
    return to_be_freed;
}

static void semantics_b11_the_wait_of_an_exit_can_be_bounded(uint32_t kind) {
    if (own_folder() == NULL) {
        for (int way = 0; way < 3; way++)
            ends(kind, __func__, way, 0, 0, 0);
        return;
    }
    taskring_config config = config_of(kind, 1);
    config.exit_wait_max_ns = 100 * MS;
    /* They wait for an end that is not said before this process is gone, and with it its workers. */
    submit_copies(freed_by_way(&config), own_folder());
}

static void semantics_b11_an_exit_can_be_one_that_does_not_wait(uint32_t kind) {
    if (own_folder() == NULL) {
        for (int way = 0; way < 3; way++)
            ends(kind, __func__, way, 0, 0, in_threads(kind) ? 0 : 1); /* A process finishes what it runs. */
        return;
    }
    taskring_config config = config_of(kind, 1);
    config.detach_on_exit = 1;
    submit_copies(freed_by_way(&config), own_folder());
}

static void semantics_t7_a_shutdown_that_cancels_lets_what_runs_end_after_main(uint32_t kind) {
    if (own_folder() == NULL) {
        ends(kind, __func__, 0, 0, 1, 1);
        return;
    }
    taskring_pool *pool = make_pool(kind, 1, 64);
    submit_copies(pool, own_folder());
    OK(taskring_shutdown(pool, 0, 1));
    at_the_end(own_folder());
}

#define CASE(name) {#name, name}
static const struct semantics_case cases[] = {
    CASE(semantics_p9_a_death_breaks_the_pool_and_what_runs_elsewhere_ends),
    CASE(semantics_p10_each_task_of_a_broken_pool_has_an_error_of_its_own),
    CASE(semantics_p11_a_broken_pool_says_who_died_and_of_what),
    CASE(semantics_b3_a_task_outlives_as_many_workers_as_the_pool_says_and_all_others_run_once),
    CASE(semantics_p19_a_crash_while_a_shutdown_waits_is_a_verdict_and_it_returns),
    CASE(semantics_p24_a_pool_that_was_shut_down_and_breaks_says_broken),
    CASE(semantics_pm_what_runs_is_let_end_by_a_shutdown_that_waits),
    CASE(semantics_pm_what_runs_is_let_end_by_a_shutdown_that_does_not_wait),
    CASE(semantics_p29_freeing_a_pool_lets_everything_end_and_leaves_no_worker),
    CASE(semantics_p32_terminating_ends_the_workers_by_sigterm),
    CASE(semantics_p32_killing_ends_the_workers_by_sigkill),
    CASE(semantics_p32_a_shutdown_with_a_limit_cancels_and_kills_when_it_is_over),
    CASE(semantics_p27_files_are_copied_after_a_shutdown_that_does_not_wait),
    CASE(semantics_p28_the_end_of_main_waits_for_what_was_submitted),
    CASE(semantics_b11_an_exit_waits_and_keeps_its_code),
    CASE(semantics_b11_the_wait_of_an_exit_can_be_bounded),
    CASE(semantics_b11_an_exit_can_be_one_that_does_not_wait),
    CASE(semantics_t7_a_shutdown_that_cancels_lets_what_runs_end_after_main),
};

int main(int argc, char **argv) {
    register_all();
    OK(taskring_register("die_when_asked", die_when_asked, NULL, NULL));
    OK(taskring_register("count_me", count_me, NULL, NULL));
    OK(taskring_register("dies", dies, NULL, NULL));
    OK(taskring_register("entered", entered, NULL, NULL));
    OK(taskring_register("copy", copy, NULL, NULL));
    OK(taskring_init(argc, argv));
    return semantics_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
