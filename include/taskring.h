/*
 * taskring: a process pool in shared memory. Programs submit tasks into a ring of task slots in shared memory; worker processes claim, run and
 * complete them; tickets bring back results. Any participant may be killed at any instruction, and every task is still accounted for once.
 *
 * Made by cbindgen from src/ffi. Do not edit.
 *
 * Conventions
 *   A function returns TASKRING_OK or says why not; taskring_last_error has the text, with the value that was wrong. Beside what it names, each may return
 *   TASKRING_INVALID_ARGUMENT for a handle or a pointer, and TASKRING_INTERNAL for a defect of the library. Out-parameters are written
 *   only on TASKRING_OK, unless the function says otherwise. Handles (taskring_pool, taskring_set, taskring_completions, taskring_map and so on) are freed once,
 *   by their own function; NULL, freed and made-up handles are errors, not crashes. Tickets are numbers and need no memory: taskring_result or taskring_release uses one up, and from
 *   then on it is TASKRING_STALE. Times are nanoseconds on the monotonic clock; TASKRING_INFINITE is for ever. Structs begin with their size:
 *   start from the INIT macro, set fields by name. Text is UTF-8. The library never prints.
 *   In a task every wait for tasks of its own pool with TASKRING_INFINITE may also return TASKRING_WOULD_DEADLOCK, TASKRING_TOO_MANY or
 *   TASKRING_UNSUPPORTED: see taskring_current_pool. Nothing was changed then, and the tickets are as good as before.
 *
 * Threads and processes
 *   Any thread may call any function with any handle. Freeing a handle while another thread uses it is the only exception. A spawned worker is
 *   this program run anew: main begins with the registrations and taskring_init, which never returns in a worker. Functions are registered
 *   under one name in every program that submits or runs them; arguments and results are bytes, the same on both sides.
 *
 * Results
 *   Of one task: taskring_result copies it and uses the ticket up; taskring_peek copies it and may be called again; taskring_view lends it;
 *   taskring_outcome tells how the task ended, taskring_describe says it in words, and both take nothing. Of many:
 *   taskring_wait_many; a completion queue, which gives tasks as they end and has a descriptor for epoll; taskring_on_done, which calls back;
 *   taskring_map_new, which runs one function over an input and gives the results in order or as they end; taskring_multi_map_async and
 *   taskring_multi_imap, in the style of Python's multiprocessing.Pool, which has its own kind of pool. Of a task that still runs: taskring_progress and taskring_reported give what it
 *   has told last, taskring_next_event gives everything that it has sent, once and in order.
 *
 * Caveats
 *   functions Only registered functions can be tasks, under the same name in every program: no closures, no addresses.
 *   init      main begins with the registrations and taskring_init, for a spawned worker is this program. What main does before, each worker does.
 *   kill -9   A worker's running task ends with TASKRING_WORKER_LOST; taskring_last_loss says how. Everything else goes on. A new worker starts.
 *   stack     A task that uses its stack up ends its worker, as any fault does. In Rust the runtime says so on standard error; the library prints nothing.
 *   fork      In the child every handle is TASKRING_FORKED: attach anew. TASKRING_FORK wants a pool made before the second thread.
 *   full      taskring_submit waits for room. A ticket that is never used up keeps its slot, or memory of the submitter.
 *   stale     A ticket belongs to the submitter that got it: another process cannot use it, and nobody can twice.
 *   exit      A normal end of the owner (return from main, exit) waits for what was submitted; see exit_wait_max_ns and detach_on_exit. A long task
 *             delays it, and taskring_free and taskring_shutdown: tasks are not interrupted.
 *   Rust      A look at a pool from outside (inspect), the processes of all workers and the choice of the lanes' mutex are there in Rust alone.
 *   platform  64-bit little-endian Linux only. Tested on x86-64.
 *
 * A whole program: cc square.c $(pkg-config --cflags --libs taskring)
 *
 *   #include <stdio.h>
 *   #include <string.h>
 *   #include <taskring.h>
 *
 *   static int32_t square(taskring_call *call, void *context) {
 *       (void)context;
 *       uint64_t x;
 *       memcpy(&x, taskring_call_args(call, NULL), sizeof x);
 *       x *= x;
 *       return taskring_call_set_result(call, &x, sizeof x);
 *   }
 *
 *   int main(int argc, char **argv) {
 *       taskring_register("square", square, NULL, NULL);
 *       taskring_init(argc, argv);
 *       taskring_pool *pool;
 *       uint32_t function;
 *       uint64_t ticket, x = 7, y;
 *       if (taskring_create(NULL, &pool) || taskring_function(pool, "square", &function) ||
 *           taskring_submit(pool, function, &x, sizeof x, NULL, &ticket) ||
 *           taskring_result(pool, ticket, TASKRING_INFINITE, &y, sizeof y, NULL))
 *           return puts(taskring_last_error()), 1;
 *       printf("%llu\n", (unsigned long long)y);
 *       return taskring_free(pool);
 *   }
 */


#ifndef TASKRING_H
#define TASKRING_H

#include <stddef.h>
#include <stdint.h>

/**
 * The time that never comes: wait as long as it takes.
 */
#define TASKRING_INFINITE UINT64_MAX

/**
 * Bytes of the largest event: a buffer of so many is never too small for one.
 */
#define TASKRING_EVENT_LEN_MAX 16248

/**
 * In the ring; nobody has started it, and it can be cancelled.
 */
#define TASKRING_PENDING 1

/**
 * A worker runs it.
 */
#define TASKRING_RUNNING 2

/**
 * It was cancelled before it started, or killed by taskring_cancel_hard.
 */
#define TASKRING_STATE_CANCELLED 3

/**
 * It is over: a result, an error, or a verdict.
 */
#define TASKRING_DONE 4

/**
 * Return when any task is over.
 */
#define TASKRING_FIRST_COMPLETED 0

/**
 * Return when any task has failed (a cancelled one has not); if none does, when all are over.
 */
#define TASKRING_FIRST_EXCEPTION 1

/**
 * Return when all tasks are over.
 */
#define TASKRING_ALL_COMPLETED 2

/**
 * The version of the header and of the library that go together: major, minor and patch in eight bits each.
 */
#define TASKRING_VERSION 256

/**
 * Something is lost or broken.
 */
#define TASKRING_LOG_ERROR 1

/**
 * Something went wrong, and was mended: a worker died and is replaced.
 */
#define TASKRING_LOG_WARN 2

/**
 * What a careful operator may want to know.
 */
#define TASKRING_LOG_INFO 3

/**
 * What helps to follow the library's doing.
 */
#define TASKRING_LOG_DEBUG 4

/**
 * For the chunk of a map: as many inputs in each task as take about 100 us, at most 1024, by the time that workers measured of those before.
 */
#define TASKRING_CHUNK_AUTO UINT64_MAX

/**
 * Workers are this program (or worker_path) run anew; nothing is inherited but the pool. The default.
 */
#define TASKRING_SPAWN 0

/**
 * Workers are forked from a copy of this process made when the pool is, which must be before it has a second thread.
 */
#define TASKRING_FORK 1

/**
 * Workers are forked from a fresh run of this program that has done nothing but taskring_init.
 */
#define TASKRING_FORKSERVER 2

/**
 * Workers are threads of this process.
 */
#define TASKRING_THREAD 3

/**
 * No workers of its own: others attach by the pool's name.
 */
#define TASKRING_NO_WORKERS 4

/**
 * Workers are threads of this process that share nothing: what a task works with is its arguments and the context of its worker. See
 * taskring_register_context.
 */
#define TASKRING_INTERPRETER 5

/**
 * A task whose worker died ends with TASKRING_WORKER_LOST. The default.
 */
#define TASKRING_DEATH_FAILS_TASK 0

/**
 * It runs again, up to attempts_max times in all: for pools whose tasks may all run twice.
 */
#define TASKRING_DEATH_RETRIES 1

/**
 * The pool is broken: its pending tasks and all later ones end with TASKRING_BROKEN. What runs on other workers ends with its result, and the dead one's
 * task with TASKRING_WORKER_LOST.
 */
#define TASKRING_DEATH_BREAKS_POOL 2

/**
 * The pending tasks of a submitter that died run. The default.
 */
#define TASKRING_ORPHANS_RUN 0

/**
 * They are cancelled.
 */
#define TASKRING_ORPHANS_CANCELLED 1

/**
 * As taskring_config's min_workers: all workers come on demand.
 */
#define TASKRING_NONE_AT_FIRST UINT64_MAX

/**
 * The workers of a pool are processes; or it has none of its own.
 */
#define TASKRING_POOL_OF_PROCESSES 0

/**
 * They are threads.
 */
#define TASKRING_POOL_OF_THREADS 1

/**
 * They are interpreters.
 */
#define TASKRING_POOL_OF_INTERPRETERS 2

/**
 * The task may run again when its worker died in it, whatever the pool's policy says.
 */
#define TASKRING_IDEMPOTENT 1

/**
 * The task may not run again, whatever the pool's policy says.
 */
#define TASKRING_NOT_IDEMPOTENT 2

/**
 * The priority of tasks that ask for none.
 */
#define TASKRING_PRIORITY_NORMAL 0

/**
 * The task is taken before those of normal and of low priority.
 *
 * A worker takes a task of the highest level that has one which it can run, but for aging: when it has taken 16 tasks of higher levels since it last took one
 * of a level, or last found none there, the next that it takes is of that level, if there is one by now; of two such levels the lowest comes first. A worker
 * that takes the place of one that has left or died goes on with its count. So while a task waits that any of the workers in w places can run, and k others of
 * its level are taken before it, no more than 16 * (w + k) of higher levels begin, not counting tasks that a waiting task runs itself and further attempts
 * after a pause. There are as many places as there were workers at one time: with max_tasks_per_worker one and the next are there for a while. Tasks that one
 * submitter submits with one priority begin in the order of their submits; submitters with tasks of one level take turns. A task that is run again after its
 * worker died, or without a pause after it failed, keeps its level, and is before those of that level that have not begun; one that waits for its next attempt
 * begins when its pause is over, whatever waits. Each level has a ring of its own, with as many slots, from its first task on.
 */
#define TASKRING_PRIORITY_HIGH 1

/**
 * The task is taken after those of high and of normal priority, but for what TASKRING_PRIORITY_HIGH says.
 */
#define TASKRING_PRIORITY_LOW 2

/**
 * A task that failed runs again after any error: the function returned anything but 0.
 */
#define TASKRING_RETRY_ERRORS 1

/**
 * And after a panic, which is a failure of functions in Rust.
 */
#define TASKRING_RETRY_PANICS 2

/**
 * Tasks that one broadcast submits at most: for all workers of the owner's, and as many that came by name as there can be participants.
 */
#define TASKRING_BROADCAST_MAX 448

/**
 * What a function returns: TASKRING_OK or why not. A number never gets another meaning. docs/errors.md has the cause and the fix of each.
 */
enum taskring_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    TASKRING_OK = 0,
    /**
     * A parameter is NULL or out of its range. Nothing was changed.
     */
    TASKRING_INVALID_ARGUMENT = 1,
    /**
     * Workers cannot be spawned: main does not begin with taskring_init.
     */
    TASKRING_NOT_INITIALIZED = 2,
    /**
     * A program was started as a worker and did not become one.
     */
    TASKRING_NOT_A_WORKER = 3,
    /**
     * No worker of the pool has this function, and neither has this process.
     */
    TASKRING_UNKNOWN_FUNCTION = 4,
    /**
     * The task waited for a worker that knows its function, and none came.
     */
    TASKRING_NO_WORKER = 5,
    /**
     * Arguments or a result are larger than the pool takes.
     */
    TASKRING_PAYLOAD_TOO_LARGE = 6,
    /**
     * Shared memory could not be had. Nothing was changed.
     */
    TASKRING_OUT_OF_MEMORY = 7,
    /**
     * A pool of this name is alive.
     */
    TASKRING_EXISTS = 8,
    /**
     * There is no such pool; or nothing of what was asked for.
     */
    TASKRING_NOT_FOUND = 9,
    /**
     * The pool belongs to another user.
     */
    TASKRING_NOT_OWNER = 10,
    /**
     * What was found is no pool that this build can attach to.
     */
    TASKRING_INCOMPATIBLE = 11,
    /**
     * The pool was shut down.
     */
    TASKRING_SHUT_DOWN = 12,
    /**
     * The handle was made before a fork, by the parent process.
     */
    TASKRING_FORKED = 13,
    /**
     * The ticket's result was taken, or the ticket was released, before.
     */
    TASKRING_STALE = 14,
    /**
     * A pool with fork workers must be made while the process has one thread.
     */
    TASKRING_MANY_THREADS = 15,
    /**
     * Every slot that this submitter may use holds an unfinished task.
     */
    TASKRING_FULL = 16,
    /**
     * The time allowed went by. Nothing was changed.
     */
    TASKRING_TIMED_OUT = 17,
    /**
     * The task was cancelled before any worker started it; one that may run more than once, before it was started again. Or taskring_cancel_hard killed it.
     */
    TASKRING_CANCELLED = 18,
    /**
     * The task set was discarded and takes no new tasks.
     */
    TASKRING_DISCARDED = 19,
    /**
     * The task returned an error: see taskring_last_error.
     */
    TASKRING_TASK_FAILED = 20,
    /**
     * The task panicked (a worker in Rust). The worker lives on.
     */
    TASKRING_PANICKED = 21,
    /**
     * The worker died while it ran this task: see taskring_last_loss.
     */
    TASKRING_WORKER_LOST = 22,
    /**
     * The pool cannot run tasks any more.
     */
    TASKRING_BROKEN = 23,
    /**
     * A word in shared memory has an impossible value. The pool is closed for everybody.
     */
    TASKRING_CORRUPT = 24,
    /**
     * A living process holds a lock of the pool and does not go on.
     */
    TASKRING_STALLED = 25,
    /**
     * Arguments or a result could not be encoded.
     */
    TASKRING_ENCODE = 26,
    /**
     * Bytes are no value of the expected type.
     */
    TASKRING_DECODE = 27,
    /**
     * A fixed number of things is used up.
     */
    TASKRING_TOO_MANY = 28,
    /**
     * A system call failed.
     */
    TASKRING_SYSTEM = 29,
    /**
     * The caller's buffer is too small; the length needed was written. Nothing was taken.
     */
    TASKRING_BUFFER_TOO_SMALL = 30,
    /**
     * A defect of this library. Please report the text of taskring_last_error.
     */
    TASKRING_INTERNAL = 31,
    /**
     * There is nothing more to come.
     */
    TASKRING_END = 32,
    /**
     * A task would wait for the end of the pool that runs it. Nothing was changed.
     */
    TASKRING_BUSY = 33,
    /**
     * The task is in a state in which this cannot be done. Nothing was changed.
     */
    TASKRING_INVALID_STATE = 34,
    /**
     * This kind of pool or worker cannot do it. Nothing was changed.
     */
    TASKRING_UNSUPPORTED = 35,
    /**
     * The pool's workers were ended before the task was over.
     */
    TASKRING_TERMINATED = 36,
    /**
     * A task would wait for one that waits for it in its turn. Nothing was changed.
     */
    TASKRING_WOULD_DEADLOCK = 37,
    /**
     * The task ran longer than its hard time limit, and was killed with its worker.
     */
    TASKRING_TIME_LIMIT = 38,
    /**
     * The events of the task that nobody has read yet leave no room for another one. Nothing was changed: it may be sent later.
     */
    TASKRING_EVENTS_FULL = 39,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum taskring_status taskring_status;
#else
typedef int32_t taskring_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A result that is waited for, of one task or of all those of a map. Any thread may use it; free it once, with taskring_async_free. It may outlive its
 * pool.
 */
typedef struct taskring_async taskring_async;

/**
 * One call of a task function. Good only until the function returns, and only in its thread.
 */
typedef struct taskring_call taskring_call;

/**
 * A completion queue: tasks, of one pool or several, that come out as they end. Any thread may use it; free it once, with
 * taskring_completions_free.
 */
typedef struct taskring_completions taskring_completions;

/**
 * A map that is going on. Any thread may use it; free it once, with taskring_map_free.
 */
typedef struct taskring_map taskring_map;

/**
 * A pool whose calls are those of Python's multiprocessing.Pool. Any thread may use it; free it once, with taskring_multi_free.
 */
typedef struct taskring_multi taskring_multi;

/**
 * A pool, as its owner or another submitter holds it. Any thread may use it; free it once, with taskring_free.
 */
typedef struct taskring_pool taskring_pool;

/**
 * A future's other end. Any thread may use it; free it once, with taskring_promise_free.
 */
typedef struct taskring_promise taskring_promise;

/**
 * A task set. Any thread may use it; free it once, with taskring_set_free.
 */
typedef struct taskring_set taskring_set;

/**
 * A task function: 0 when it succeeded, anything else when it failed. It must not let a C++ exception out, nor jump out.
 */
typedef int32_t (*taskring_task)(struct taskring_call *call, void *context);

/**
 * Called with the context when nobody can call the function any more.
 */
typedef void (*taskring_destructor)(void *context);

/**
 * A task that is over.
 */
typedef struct taskring_completion {
    /**
     * The pool, as it was passed when the task was added.
     */
    struct taskring_pool *pool;
    /**
     * Its ticket, still to be used up.
     */
    uint64_t ticket;
    /**
     * What was given with it.
     */
    uint64_t user_data;
    /**
     * 0.
     */
    uint64_t reserved;
} taskring_completion;

/**
 * Called when a task is over. It should be short, and hand longer work on to a thread of its own: later callbacks of the pool wait for it, and so does the
 * pool's end; no task and no result does. It may use any function of this library, also with this ticket. It must not let a C++ exception out, nor jump out.
 */
typedef void (*taskring_callback)(struct taskring_pool *pool, uint64_t ticket, void *context);

/**
 * Makes the context of a worker, in the worker's thread, from what an initializer is given: 0 when it has written *context, anything else when it
 * failed, as a task function does. It must not let a C++ exception out, nor jump out.
 */
typedef int32_t (*taskring_context_init)(struct taskring_call *call, void **context, void *data);

/**
 * Ends a context, in the thread that made it, once no task uses it any more.
 */
typedef void (*taskring_context_exit)(void *context, void *data);

/**
 * A task function that takes the context of the worker that runs it; else as taskring_task.
 */
typedef int32_t (*taskring_context_task)(struct taskring_call *call, void *context, void *data);

/**
 * A ticket and the pool that gave it.
 */
typedef struct taskring_future {
    /**
     * The pool.
     */
    struct taskring_pool *pool;
    /**
     * The ticket.
     */
    uint64_t ticket;
} taskring_future;

/**
 * When a task that failed is run again. All 0: as the pool says, and else never.
 *
 * An attempt that fails as chosen is no end: the task is pending again, and does not begin before its pause is over. It can be cancelled or discarded then, and
 * a shutdown waits for it or cancels it. Its arguments stay, what the failed attempt had to say is lost, and its time limits begin anew. A task
 * that was asked to stop, by a cancel or its soft limit, is not run again.
 */
typedef struct taskring_retry {
    /**
     * How often the task is started at most, counting the first time: 1 to 255, and 1 is never again, whatever the pool says.
     */
    uint32_t attempts;
    /**
     * TASKRING_RETRY_ERRORS, TASKRING_RETRY_PANICS or both. 0: after errors, or those with the codes alone if some are chosen.
     */
    uint32_t on;
    /**
     * After errors for which the function returned n, where bit n is set: 1 to 31.
     */
    uint32_t codes;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The pause before the second attempt, which doubles before each further one. Whole milliseconds, up to 4 hours. 0: none.
     */
    uint64_t backoff_ns;
    /**
     * The longest pause. 0: as the first.
     */
    uint64_t backoff_max_ns;
} taskring_retry;

/**
 * Options of a task. Begin with TASKRING_OPTIONS_INIT; a field of 0 is its default.
 */
typedef struct taskring_options {
    /**
     * Set by TASKRING_OPTIONS_INIT.
     */
    uint32_t struct_size;
    /**
     * TASKRING_IDEMPOTENT or TASKRING_NOT_IDEMPOTENT, or 0: as the pool's policy says.
     */
    uint32_t flags;
    /**
     * How often an idempotent task is started at most, 1 to 255. Default: what the pool says with TASKRING_DEATH_RETRIES, and else 2; or as often as its
     * rule for retries allows, when that is more.
     */
    uint32_t attempts_max;
    /**
     * TASKRING_PRIORITY_HIGH or TASKRING_PRIORITY_LOW. Default: TASKRING_PRIORITY_NORMAL.
     */
    uint32_t priority;
    /**
     * The set that the task belongs to, or NULL.
     */
    struct taskring_set *set;
    /**
     * The completion queue that the task comes out of when it is over, or NULL.
     */
    struct taskring_completions *completions;
    /**
     * What comes out with it. Of a bulk submit each next task has one more.
     */
    uint64_t user_data;
    /**
     * How long the task may run before it is asked to stop (taskring_cancel_requested), from its start, in whole milliseconds, rounded up: up to 49 days,
     * and TASKRING_INFINITE is refused, for 0 is no limit of its own. In a map, for each chunk of inputs. Default: the pool's. TASKRING_INVALID_ARGUMENT when it is not less than the hard limit, also where one of the two is the pool's.
     */
    uint64_t soft_limit_ns;
    /**
     * How long it may run before it is killed with its worker process, and ends with TASKRING_TIME_LIMIT: up to 49 days. Default: the pool's.
     * What that process does for other pools ends with it. A worker that has run a task with a limit has a second thread, so its tasks can build no pool with
     * TASKRING_FORK. TASKRING_UNSUPPORTED while the pool has workers that are threads.
     */
    uint64_t hard_limit_ns;
    /**
     * When it is run again after it has failed. Default: the pool's. In a map each input has attempts of its own, and with chunks of inputs this is
     * TASKRING_INVALID_ARGUMENT.
     */
    struct taskring_retry retry;
} taskring_options;

/**
 * Takes one message, a string that is valid for the call. It must not let a C++ exception out, nor jump out.
 */
typedef void (*taskring_logger)(uint32_t level, const char *message, void *context);

/**
 * Bytes of the caller's.
 */
typedef struct taskring_bytes {
    /**
     * May be NULL when len is 0.
     */
    const void *data;
    /**
     * How many.
     */
    size_t len;
} taskring_bytes;

/**
 * Gives a map its next input: 1 when it has set *args, which must stay valid until it is called again or the map is freed; 0 at the end; anything
 * else when it failed. It is called in the threads that call taskring_map_new and taskring_map_next, by one at a time, and must not use
 * this map.
 */
typedef int32_t (*taskring_input)(void *context, struct taskring_bytes *args);

/**
 * Options of a map. Begin with TASKRING_MAP_OPTIONS_INIT; a field of 0 is its default.
 */
typedef struct taskring_map_options {
    /**
     * Set by TASKRING_MAP_OPTIONS_INIT.
     */
    uint32_t struct_size;
    /**
     * Not 0: results come as their tasks end, not in the order of the inputs.
     */
    uint32_t unordered;
    /**
     * Tasks that are in the pool at a time; the input is read no further. Default: no limit, all of the input is submitted at once; of
     * taskring_multi_imap, and with TASKRING_CHUNK_AUTO, twice as many as there are workers. UINT64_MAX: no limit.
     */
    uint64_t window;
    /**
     * Inputs that go into one task: for functions of less than a few microseconds; or TASKRING_CHUNK_AUTO. Default: 1.
     * A time limit counts for the whole chunk: at the soft one the inputs that have not begun end as cancelled, and at the hard one all of the chunk with
     * TASKRING_TIME_LIMIT.
     */
    uint64_t chunk;
    /**
     * For all results together, from taskring_map_new on. Default: no limit.
     */
    uint64_t timeout_ns;
    /**
     * Options of every task, whose completions must be NULL; or NULL.
     */
    const struct taskring_options *submit;
} taskring_map_options;

/**
 * A name with bytes: of a function, and then they are its arguments; or of a shared value. The library copies both.
 */
typedef struct taskring_named_bytes {
    /**
     * 1 to 192 bytes of UTF-8.
     */
    const char *name;
    /**
     * NULL with a len of 0 is no bytes.
     */
    const void *data;
    /**
     * How many.
     */
    size_t len;
} taskring_named_bytes;

/**
 * Options of a new pool. Begin with TASKRING_CONFIG_INIT; a field of 0 is its default.
 */
typedef struct taskring_config {
    /**
     * Set by TASKRING_CONFIG_INIT.
     */
    uint32_t struct_size;
    /**
     * TASKRING_SPAWN and so on.
     */
    uint32_t start_method;
    /**
     * Workers, 1 to 192. Default: the CPUs that this process may use; of threads and interpreters 4 more, but at most 32.
     */
    uint32_t workers;
    /**
     * Slots of each submitter's lane, 1 to 1048576, rounded up to a power of two. Default: 1024.
     */
    uint32_t capacity;
    /**
     * Bytes of payload memory at most, at least 4096. Default: 8 GiB, committed as it is used.
     */
    uint64_t payload_max;
    /**
     * How long a worker may take to attach, and a task may wait for a worker that knows its function. Default: 10 s.
     */
    uint64_t start_timeout_ns;
    /**
     * How long a normal end of this process waits for what was submitted; workers that are there still are killed then. It holds too for a pool that is
     * freed by this end, by the destructor of a static object or by a function given to atexit, if the main thread has begun it, and has called
     * taskring_init or made this pool. Else such a taskring_free may wait as any. Default: no limit.
     */
    uint64_t exit_wait_max_ns;
    /**
     * TASKRING_DEATH_FAILS_TASK and so on.
     */
    uint32_t on_worker_death;
    /**
     * With TASKRING_DEATH_RETRIES: how often a task is started at most, 2 to 255, unless its rule for retries allows more. Default: 2.
     */
    uint32_t attempts_max;
    /**
     * TASKRING_ORPHANS_RUN or TASKRING_ORPHANS_CANCELLED.
     */
    uint32_t orphans;
    /**
     * How many workers one task may kill before it is given up, up to 255. Default: 2.
     */
    uint32_t kills_max;
    /**
     * Not 0: this process ends without waiting for the pool, nor does it in a taskring_free for which exit_wait_max_ns would hold.
     */
    uint32_t detach_on_exit;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * A worker program other than this one, or NULL. Its main begins with taskring_init.
     */
    const char *worker_path;
    /**
     * Its arguments after the program's name, closed by NULL; or NULL.
     */
    const char *const *worker_args;
    /**
     * Further environment for worker processes as "NAME=value", closed by NULL; or NULL. Refused with threads.
     */
    const char *const *worker_env;
    /**
     * What workers are called: this, '_' and their number, in ps and by taskring_worker_name. 1 to 192 bytes. NULL: "taskring-worker".
     */
    const char *worker_names;
    /**
     * A function that each worker runs once before its first task, with its arguments, within start_timeout_ns of its start; or NULL. Workers that
     * take the place of others run it too. When it fails, the pool is broken, and TASKRING_BROKEN's text has what it said.
     */
    const struct taskring_named_bytes *initializer;
    /**
     * A function that each worker runs once when it leaves in good order, not when it was killed; or NULL.
     */
    const struct taskring_named_bytes *exit_hook;
    /**
     * Values that every worker can read where they lie, by taskring_shared. Each name may come once.
     */
    const struct taskring_named_bytes *shared;
    /**
     * How many, at most 64.
     */
    uint64_t shared_count;
    /**
     * Pins the workers, threads too: number n runs on the CPU at place n of these alone, counted around. Each has to be one that this process may use.
     * NULL: the system places them.
     */
    const uint32_t *worker_cpus;
    /**
     * How many.
     */
    uint64_t worker_cpus_count;
    /**
     * Bytes of memory of its own that each worker process may have: heap, private mappings and globals. What goes beyond fails to be allocated. 0: no
     * limit. Refused with threads.
     */
    uint64_t worker_memory_max;
    /**
     * The time limits of tasks that have none of their own: see taskring_options. Up to 49 days, rounded up to whole milliseconds; TASKRING_INFINITE
     * is refused. In a map each chunk of inputs is one task. Default: none.
     */
    uint64_t task_soft_limit_ns;
    /**
     * TASKRING_UNSUPPORTED with TASKRING_THREAD and TASKRING_INTERPRETER.
     */
    uint64_t task_hard_limit_ns;
    /**
     * After how many tasks a worker leaves and another one takes its place, up to 4294967295. The next one is started when few tasks are left, and the
     * old one takes tasks until it is ready, which may be some more than this. Default: no limit.
     */
    uint64_t max_tasks_per_worker;
    /**
     * When tasks that have no rule of their own are run again after they have failed. Inputs that share a chunk of a map are not. Default: never.
     */
    struct taskring_retry task_retry;
    /**
     * How many workers are started at once, up to workers; the others come on demand: when a task waits and nobody is free for it. Default: all of them.
     * For 0 write TASKRING_NONE_AT_FIRST.
     */
    uint64_t min_workers;
    /**
     * How long a worker beyond min_workers, which has to be given beside this, may have nothing to do: then it leaves, with its exit hook. In whole
     * milliseconds, rounded up, at most 49 days. While the owner is killed or stopped they stay; of a stopped one that is known after some 4 seconds.
     * Default: no limit.
     */
    uint64_t idle_timeout_ns;
    /**
     * How many further workers may come while others wait in their tasks, without a limit, for tasks that run elsewhere: one for each such worker, up to
     * this many. They leave after their task when fewer wait. Up to what workers leaves of 192. Default: none.
     */
    uint64_t replacements;
} taskring_config;

/**
 * Called with the value of a task, or all those of a map in the order of the inputs. They may be read until it returns. It should be short, and hand
 * longer work on: its result and later callbacks of the pool wait for it. It must not let a C++ exception out, nor jump out.
 */
typedef void (*taskring_value_callback)(const struct taskring_bytes *values, size_t count, void *context);

/**
 * Called with what taskring_async_get would return instead of a result; taskring_last_error and taskring_last_loss tell more, in this call. As the other
 * one it should be short. It must not let a C++ exception out, nor jump out.
 */
typedef void (*taskring_error_callback)(taskring_status status, void *context);

/**
 * What is to be called when a result is there: one of the two, once, in a thread of this process; a NULL one is left out. Then, or when the call that
 * was given it fails, the destructor is called with the context. Only then is the result ready. Begin with TASKRING_CALLBACKS_INIT.
 */
typedef struct taskring_callbacks {
    /**
     * Set by TASKRING_CALLBACKS_INIT.
     */
    uint32_t struct_size;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * For values, or NULL.
     */
    taskring_value_callback callback;
    /**
     * For an error, or NULL.
     */
    taskring_error_callback error_callback;
    /**
     * What all three are given.
     */
    void *context;
    /**
     * Or NULL.
     */
    taskring_destructor destructor;
} taskring_callbacks;

/**
 * A look at a pool. The counts of tasks are those of this submitter.
 */
typedef struct taskring_stats {
    /**
     * Set by TASKRING_STATS_INIT.
     */
    uint32_t struct_size;
    /**
     * Ready workers, of all processes.
     */
    uint32_t workers;
    /**
     * Slots of each of this submitter's lanes, one for each priority that it has used.
     */
    uint32_t capacity;
    /**
     * Tasks that nobody has started.
     */
    uint32_t pending;
    /**
     * Tasks that a worker runs.
     */
    uint32_t running;
    /**
     * Tasks that are over and whose tickets were not released.
     */
    uint32_t unreleased;
    /**
     * Tasks that workers attached just now have finished, of all submitters.
     */
    uint64_t finished;
    /**
     * Loans of this submitter that were neither submitted nor given back.
     */
    uint32_t loans;
    /**
     * Payload blocks in use, by anybody.
     */
    uint32_t blocks;
} taskring_stats;

/**
 * What became of a set's tasks.
 */
typedef struct taskring_discarded {
    /**
     * Cancelled: they never ran and never will.
     */
    uint64_t cancelled;
    /**
     * Still running: they end by themselves.
     */
    uint64_t running;
    /**
     * Over before.
     */
    uint64_t done;
} taskring_discarded;

/**
 * How a task and its worker were lost.
 */
typedef struct taskring_loss {
    /**
     * The worker.
     */
    uint32_t pid;
    /**
     * The signal that killed it, or 0.
     */
    int32_t signal;
    /**
     * The code that it exited with, or -1.
     */
    int32_t exit_code;
    /**
     * 1 when the function had been entered and how much of it ran is unknown; 0 when it had returned and only its result is lost.
     */
    uint32_t may_have_run;
} taskring_loss;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Registers a function by name, for this process as a worker and (after a fork) its children. Spawned workers run main anew, so it
 * registers before taskring_init. The latest registration of a name counts. destructor may be NULL; it is called with context once the
 * function was replaced and no worker of this process uses it any more, and also when this call fails.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
 *
 * Requires:
 * name is NULL or a string; task may be called with context from any thread, by several at once, until destructor is called.
 */
taskring_status taskring_register(const char *name,
                                  taskring_task task,
                                  void *context,
                                  taskring_destructor destructor);

/**
 * The arguments of a call, aligned to 16 bytes. len may be NULL. NULL when call is.
 *
 * Requires:
 * call is NULL or the call that this thread is in; len is NULL or valid for a write.
 */
const void *taskring_call_args(struct taskring_call *call, size_t *len);

/**
 * Room for a result of len bytes, all zero, to be filled before the function returns. A later call of this or of taskring_call_set_result takes
 * its place. NULL when there is no memory, or call is NULL.
 *
 * Requires:
 * call is NULL or the call that this thread is in.
 */
void *taskring_call_result(struct taskring_call *call,
                           size_t len);

/**
 * Makes a copy of len bytes the result. They may lie in what taskring_call_result gave.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * call is NULL or the call that this thread is in; data is NULL or valid for reads of len bytes.
 */
taskring_status taskring_call_set_result(struct taskring_call *call, const void *data, size_t len);

/**
 * Says why the function is about to fail: what taskring_last_error tells the submitter. The function then returns anything but 0.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * call is NULL or the call that this thread is in; message is NULL or a string.
 */
taskring_status taskring_call_fail(struct taskring_call *call,
                                   const char *message);

/**
 * Says what brought the failure about that the function is about to tell of: what taskring_last_source tells the submitter. May be called again, for what
 * brought that about in its turn.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * call is NULL or the call that this thread is in; text is NULL or a string.
 */
taskring_status taskring_call_source(struct taskring_call *call,
                                     const char *text);

/**
 * Whether the submitter asked the task that this thread runs to stop: 1 or 0. A long task looks now and then, and returns early.
 */
int32_t taskring_cancel_requested(void);

/**
 * How many attempts at the task that this thread runs came before this one: 0 in the first.
 */
uint32_t taskring_attempt(void);

/**
 * The ticket of the task that this thread runs, or 0 outside a task.
 */
uint64_t taskring_task_ticket(void);

/**
 * Makes a completion queue.
 *
 * Returns TASKRING_OK and writes *completions; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY.
 *
 * Requires:
 * completions is NULL or valid for a write.
 */
taskring_status taskring_completions_new(struct taskring_completions **completions);

/**
 * Adds a task, which comes out once when it is over, or at once when it is. Tasks can also be added as they are submitted: see taskring_options.
 *
 * Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
 *
 * Requires:
 * completions and pool are NULL or handles of this library.
 */
taskring_status taskring_completions_add(struct taskring_completions *completions,
                                         struct taskring_pool *pool,
                                         uint64_t ticket,
                                         uint64_t user_data);

/**
 * Takes tasks that are over out of the queue, in the order in which they ended as far as it was seen: waits until there is one, and then takes
 * what is there, up to capacity. Their results can be had without waiting.
 *
 * Returns TASKRING_OK and writes *count of all; TASKRING_TIMED_OUT; TASKRING_END when all tasks that were added have come out;
 * TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * completions is NULL or a handle of this library; all is NULL or valid for capacity writes; count is NULL or valid for a write.
 */
taskring_status taskring_completions_next(struct taskring_completions *completions,
                                          uint64_t timeout_ns,
                                          struct taskring_completion *all,
                                          size_t capacity,
                                          size_t *count);

/**
 * A descriptor that poll, select and epoll find readable while there is a task to be taken out. It belongs to the queue: do not read it
 * or close it. From this call on, a thread of the library waits for the queue's pools.
 *
 * Returns TASKRING_OK and writes *fd; TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
 *
 * Requires:
 * completions is NULL or a handle of this library; fd is NULL or valid for a write.
 */
taskring_status taskring_completions_fd(struct taskring_completions *completions,
                                        int *fd);

/**
 * Ends a completion queue. Tasks in it go on, and their tickets stay good. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * completions is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_completions_free(struct taskring_completions *completions);

/**
 * Has callback called once when a task is over, however it ends: in this thread, before this returns, when it is over already; otherwise in a
 * thread of the library, in the order in which the callbacks were added. A slow callback delays the others of the pool. Then destructor, which
 * may be NULL, is called with context; that also when this call fails. A callback outlives a freed pool, whose tasks may still run: then its
 * handle and ticket are of no use any more. A normal end of the process waits for the callbacks of pools that it owns; free others before.
 *
 * Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; callback and destructor may be called with context from any thread.
 */
taskring_status taskring_on_done(struct taskring_pool *pool,
                                 uint64_t ticket,
                                 taskring_callback callback,
                                 void *context,
                                 taskring_destructor destructor);

/**
 * Registers what makes and ends the contexts of workers, by name, as taskring_register does a function: taskring_config's initializer names it and has its
 * arguments. Each worker then has one context from before its first task until it leaves, after the exit hook, and keeps it for the tasks that
 * taskring_register_in_context has registered; a worker that takes the place of another makes its own. A worker process that is killed ends nothing.
 * When init fails, the pool is broken, as by any initializer. exit and destructor may be NULL. data is handed to both functions, and is
 * one for all workers of this process: with TASKRING_INTERPRETER nobody may change what it points to. destructor as in taskring_register.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
 *
 * Requires:
 * name is NULL or a string; init and exit may be called with data from any thread, by several at once, until destructor is called.
 */
taskring_status taskring_register_context(const char *name,
                                          taskring_context_init init,
                                          taskring_context_exit exit,
                                          void *data,
                                          taskring_destructor destructor);

/**
 * Registers a function that takes the context of the worker that runs it, and has it for itself until it returns. It fails in a worker without a context.
 * While it has the context, a wait without a time limit for an unfinished task of the same pool that takes one is refused with TASKRING_UNSUPPORTED.
 * data is handed to it, and is one for all workers of this process: with TASKRING_INTERPRETER nobody may change what it points to. Else as
 * taskring_register.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
 *
 * Requires:
 * name is NULL or a string; task takes contexts that the init of the same pool's initializer makes, and may be called with data from any thread, by
 * several at once, until destructor is called.
 */
taskring_status taskring_register_in_context(const char *name,
                                             taskring_context_task task,
                                             void *data,
                                             taskring_destructor destructor);

/**
 * Sends whoever has submitted the task that this thread runs an event of len bytes, at most TASKRING_EVENT_LEN_MAX, which are copied. It is kept until
 * taskring_next_event has read it, behind all that the task has sent before, in earlier attempts too. It waits for nobody: the events of a task that nobody
 * has read yet have 16256 bytes of room together, of which each takes its own bytes, rounded up to a multiple of 8, and 8 more. When the ticket
 * was released the event goes nowhere. Of a task in a map nobody reads events: all that a chunk of its items sends has the room of one task. Whoever waits
 * for room needs a submitter that reads: one that asks for the result first never does.
 *
 * Returns TASKRING_OK; TASKRING_EVENTS_FULL when there is no room for it: nothing was changed, and it may be sent later; TASKRING_WOULD_DEADLOCK in its
 * place when the task runs on top of the one that is to read, which so waits for its end; TASKRING_PAYLOAD_TOO_LARGE;
 * TASKRING_INVALID_ARGUMENT; TASKRING_UNSUPPORTED outside a task; TASKRING_FORKED in a process that the task has forked; TASKRING_CORRUPT. With the first
 * event of a task, which takes 16 KiB of payload memory (and the first one in a lane some bytes for each of its slots): TASKRING_OUT_OF_MEMORY,
 * TASKRING_TOO_MANY, TASKRING_STALLED, TASKRING_SYSTEM.
 *
 * Requires:
 * data is NULL or valid for reads of len bytes.
 */
taskring_status taskring_send_event(const void *data,
                                    size_t len);

/**
 * Takes the oldest event that a task has sent, by taskring_send_event, and nobody has read, waiting no longer than timeout_ns for it; with 0 it does not
 * wait. It is copied into buffer, which may be NULL when capacity is 0. len may be NULL; it becomes the event's length.
 *
 * Events stay until they are read or the ticket is used up: also when their worker was killed and when the task is over. So read them before
 * taskring_result or taskring_release; taskring_peek, taskring_outcome and taskring_view (of a result) leave them. Several threads may read those of one
 * ticket: each event comes to one of them. One that waits when another thread uses the ticket up is told at once.
 *
 * In a task that waits with TASKRING_INFINITE for events of another one of its pool, that one is run on top of it, if nobody has begun with it: then it is
 * over before its first event is read, and what is more than is kept it is told of.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT when none came in time; TASKRING_END when the task is over, however it ended, and all of its events were read;
 * TASKRING_BUFFER_TOO_SMALL (*len is what is needed): the same event comes again. TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
 * TASKRING_FORKED. In a task that has its worker's context, and waits with TASKRING_INFINITE for one that takes it too: TASKRING_UNSUPPORTED.
 *
 * Requires:
 * pool is NULL or a handle of this library; buffer is valid for writes of capacity bytes; len is NULL or valid for a write.
 */
taskring_status taskring_next_event(struct taskring_pool *pool,
                                    uint64_t ticket,
                                    uint64_t timeout_ns,
                                    void *buffer,
                                    size_t capacity,
                                    size_t *len);

/**
 * Tells what a task is doing just now.
 *
 * Returns TASKRING_OK and writes *state (TASKRING_PENDING and so on); TASKRING_STALE when the ticket was used up; TASKRING_INVALID_ARGUMENT,
 * TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; state is NULL or valid for a write.
 */
taskring_status taskring_state(struct taskring_pool *pool,
                               uint64_t ticket,
                               uint32_t *state);

/**
 * Cancels a task that no worker has started; a running one is asked to stop, and goes on until it looks. cancelled may be NULL; it becomes 1
 * when the task will never run, else 0. The ticket stays good.
 *
 * Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; cancelled is NULL or valid for a write.
 */
taskring_status taskring_cancel(struct taskring_pool *pool,
                                uint64_t ticket,
                                uint32_t *cancelled);

/**
 * Cancels a task, whatever it is doing: one that no worker has started as taskring_cancel does; of a running one the worker process is killed, by SIGKILL,
 * and the owner starts another in place of one that it had started. All other tasks go on, but for those that run on top of this one, or below it, in the
 * same worker. cancelled may be NULL; it becomes 1 when the task ends as cancelled, which a running one does a moment later and is not run again, and 0
 * when it had ended before. The ticket stays good. What the process does for other pools, such as one that it owns, ends with it.
 *
 * Returns TASKRING_OK; when nothing was changed TASKRING_UNSUPPORTED (a running task whose worker is a thread, this process, or one that does something
 * else in the pool as well; a running promise) or TASKRING_SYSTEM (its worker cannot be sent a signal); TASKRING_STALE, TASKRING_INVALID_ARGUMENT,
 * TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; cancelled is NULL or valid for a write.
 */
taskring_status taskring_cancel_hard(struct taskring_pool *pool,
                                     uint64_t ticket,
                                     uint32_t *cancelled);

/**
 * Waits until a task is over, and takes nothing: its result can be had without waiting then.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_wait(struct taskring_pool *pool,
                              uint64_t ticket,
                              uint64_t timeout_ns);

/**
 * Waits for a task and takes its result: copies it into buffer, which may be NULL when capacity is 0, and uses the ticket up. len may
 * be NULL; it becomes the length of the result.
 *
 * Returns TASKRING_OK. The task's own end, which uses the ticket up as well: TASKRING_CANCELLED, TASKRING_TASK_FAILED, TASKRING_PANICKED, TASKRING_ENCODE,
 * TASKRING_WORKER_LOST, TASKRING_TIME_LIMIT, TASKRING_NO_WORKER, TASKRING_BROKEN, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY. The ticket
 * stays good after TASKRING_BUFFER_TOO_SMALL (*len is what is needed) and TASKRING_TIMED_OUT, and after a wait in a task that was refused
 * (TASKRING_WOULD_DEADLOCK, TASKRING_TOO_MANY, TASKRING_UNSUPPORTED). TASKRING_STALE; TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
 * TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; buffer is valid for writes of capacity bytes; len is NULL or valid for a write.
 */
taskring_status taskring_result(struct taskring_pool *pool,
                                uint64_t ticket,
                                uint64_t timeout_ns,
                                void *buffer,
                                size_t capacity,
                                size_t *len);

/**
 * Waits for a task and tells how it ended, and takes nothing: *outcome becomes what taskring_result would return, TASKRING_OK for a result. When
 * it is anything else, taskring_last_error has its text and taskring_last_loss what it has then.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; outcome is NULL or valid for a write.
 */
taskring_status taskring_outcome(struct taskring_pool *pool,
                                 uint64_t ticket,
                                 uint64_t timeout_ns,
                                 taskring_status *outcome);

/**
 * Waits for a task and lends its result, without a copy when it is a large one: *data points to *len bytes that may be read until the ticket
 * is used up (taskring_release, taskring_result) or the pool freed. They are aligned to 16 bytes. May be called again.
 *
 * Returns TASKRING_OK; the task's own end and the others as taskring_result.
 *
 * Requires:
 * pool is NULL or a handle of this library; data and len are NULL or valid for a write.
 */
taskring_status taskring_view(struct taskring_pool *pool,
                              uint64_t ticket,
                              uint64_t timeout_ns,
                              const void **data,
                              size_t *len);

/**
 * Waits for a task and copies its result as taskring_result does, and takes nothing: it may be called again, in several threads, and in a callback.
 *
 * Returns as taskring_result; the ticket stays good in every case.
 *
 * Requires:
 * As taskring_result.
 */
taskring_status taskring_peek(struct taskring_pool *pool,
                              uint64_t ticket,
                              uint64_t timeout_ns,
                              void *buffer,
                              size_t capacity,
                              size_t *len);

/**
 * Says in words what a ticket stands for: its number, what the task is doing, in which process it runs, how it ended. For people; the words may
 * change. buffer gets as much as fits and always ends with a zero byte; it may be NULL when capacity is 0. len may be NULL; it becomes the
 * length of the whole text. Takes nothing.
 *
 * Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; buffer is NULL or valid for writes of capacity bytes; len is NULL or valid for a write.
 */
taskring_status taskring_describe(struct taskring_pool *pool,
                                  uint64_t ticket,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *len);

/**
 * Lets a task go: it runs, and its result is dropped. The ticket is used up; other threads that wait for its task alone, or for its events, are told.
 *
 * Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_release(struct taskring_pool *pool,
                                 uint64_t ticket);

/**
 * The process that runs a task just now.
 *
 * Returns TASKRING_OK and writes *pid; TASKRING_NOT_FOUND when no worker runs it; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; pid is NULL or valid for a write.
 */
taskring_status taskring_worker_pid(struct taskring_pool *pool,
                                    uint64_t ticket,
                                    uint32_t *pid);

/**
 * Waits for several tasks, of one pool or of several, until when (TASKRING_FIRST_COMPLETED and so on) holds. over has room for count
 * bytes: each becomes 1 when its task is over, else 0. over_count may be NULL. Takes nothing. Of no futures it returns at once.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT, with over and over_count written; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
 * TASKRING_FORKED.
 *
 * Requires:
 * futures is NULL or points to count futures with NULL or handles of this library; over is NULL or valid for count writes; over_count is
 * NULL or valid for a write.
 */
taskring_status taskring_wait_many(const struct taskring_future *futures,
                                   size_t count,
                                   uint32_t when,
                                   uint64_t timeout_ns,
                                   uint8_t *over,
                                   size_t *over_count);

/**
 * The version of the library that is running.
 */
uint32_t taskring_version(void);

/**
 * Checks that a header and this library go together: pass TASKRING_VERSION. While the major version is 0, the minor one must be the same.
 *
 * Returns TASKRING_OK; TASKRING_INCOMPATIBLE.
 */
taskring_status taskring_check_version(uint32_t header);

/**
 * Makes this program able to be its own worker: the first line of main. In a worker process it serves the pool and never returns;
 * anywhere else it returns at once. Functions that spawned workers run are registered before this call.
 *
 * The parameters are those of main. They are not read today.
 *
 * Returns TASKRING_OK.
 *
 * Requires:
 * Called while the process has one thread.
 */
taskring_status taskring_init(int argc,
                              char **argv);

/**
 * Serves the named pool in this thread until the pool ends. Any number of threads and programs may do so. A task that is killed (taskring_cancel_hard, a
 * hard time limit) takes its worker's process with it, unless that takes part in the same pool in another way. So let a process that serves a pool do nothing
 * else: a pool that it owns, or another that it serves, would go as well.
 *
 * Returns TASKRING_OK when the pool has ended; TASKRING_NOT_FOUND, TASKRING_NOT_OWNER, TASKRING_INCOMPATIBLE, TASKRING_TOO_MANY;
 * TASKRING_INVALID_ARGUMENT for a bad name; TASKRING_UNKNOWN_FUNCTION when this program lacks the pool's initializer; TASKRING_BROKEN when the initializer
 * fails, or the pool is broken already; TASKRING_SHUT_DOWN, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM.
 *
 * Requires:
 * name is NULL or a string.
 */
taskring_status taskring_work(const char *name);

/**
 * The pool that runs this task, to submit to: its worker takes part as a submitter of its own from the first call on. The handle is the
 * caller's, and taskring_free ends it without ending anything else; release the tickets before, for with it they are out of reach.
 *
 * A task that waits with TASKRING_INFINITE for one of its own pool runs it on top of itself when nobody has started it, so one worker is
 * enough for tasks that wait for tasks. Up to 64 of them lie on each other; one more is TASKRING_TOO_MANY. A wait that could never end, for
 * threads of one pool wait for each other in a circle, is TASKRING_WOULD_DEADLOCK for the last of them. A task that has its worker's context
 * (taskring_register_in_context) waits for none that takes one: that is TASKRING_UNSUPPORTED. A wait with a time limit keeps to its limit,
 * and helps nobody.
 *
 * Returns TASKRING_OK and writes *pool; TASKRING_UNSUPPORTED outside a task; TASKRING_TOO_MANY; TASKRING_INVALID_ARGUMENT;
 * TASKRING_OUT_OF_MEMORY, TASKRING_STALLED, TASKRING_SYSTEM.
 *
 * Requires:
 * pool is NULL or valid for a write.
 */
taskring_status taskring_current_pool(struct taskring_pool **pool);

/**
 * Lends a block of shared memory for len bytes of arguments, aligned to 16 bytes, with whatever it held before: fill it and submit it with
 * taskring_submit_loan, which copies nothing. A loan that is neither submitted nor given back keeps its memory until the pool is freed.
 *
 * Returns TASKRING_OK and writes *loan and *data; TASKRING_INVALID_ARGUMENT, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY,
 * TASKRING_TOO_MANY, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; loan and data are NULL or valid for a write.
 */
taskring_status taskring_loan(struct taskring_pool *pool,
                              size_t len,
                              uint64_t *loan,
                              void **data);

/**
 * Submits a task whose arguments are the first len bytes of a loan. The block belongs to the task from then on: do not touch it. When it was
 * not submitted, the loan stays as it is.
 *
 * Returns as taskring_submit_timed; TASKRING_INVALID_ARGUMENT also for a loan that was submitted or given back, and when len is more than was
 * lent.
 *
 * Requires:
 * pool is NULL or a handle of this library; options is NULL or points to options; ticket is NULL or valid for a write.
 */
taskring_status taskring_submit_loan(struct taskring_pool *pool,
                                     uint32_t function,
                                     uint64_t loan,
                                     size_t len,
                                     const struct taskring_options *options,
                                     uint64_t timeout_ns,
                                     uint64_t *ticket);

/**
 * Gives a loan back unsubmitted.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_loan_return(struct taskring_pool *pool, uint64_t loan);

/**
 * Has logger called with what this process's part of the library has to say, up to level_max (TASKRING_LOG_ERROR to TASKRING_LOG_DEBUG), in
 * place of any logger set before; a NULL logger is silence, which is the beginning. It is called from threads of the library, several at once, and
 * must not end or free a pool: the thread that would do the work is in the logger. destructor may be NULL; it is called with context once the
 * logger is not used any more, and also when this call fails.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a level; TASKRING_EXISTS in a Rust program that has a logger of its own.
 *
 * Requires:
 * logger and destructor may be called with context from any thread.
 */
taskring_status taskring_set_log(uint32_t level_max,
                                 taskring_logger logger,
                                 void *context,
                                 taskring_destructor destructor);

/**
 * Hands a message to the logger that was set (see taskring_set_log), as the library does with its own: for wrappers of this interface.
 *
 * Returns TASKRING_OK, also when nobody listens; TASKRING_INVALID_ARGUMENT for a level, or a NULL message.
 *
 * Requires:
 * message is NULL or a string.
 */
taskring_status taskring_log(uint32_t level,
                             const char *message);

/**
 * Maps a function over inputs. Work starts at this call: it submits a window of inputs, or all of them. options may be NULL.
 *
 * Returns TASKRING_OK and writes *map; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY. When the pool refuses an input in this call: TASKRING_SHUT_DOWN,
 * TASKRING_BROKEN, TASKRING_DISCARDED, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_FORKED and whatever else taskring_submit returns, but for an input that
 * is too large; inputs submitted before it run. An input that fails, or is too large, is an error at its place among the results, and the last; so is one
 * that the pool refuses later.
 *
 * Requires:
 * pool is NULL or a handle of this library; input may be called with context until the map is freed; options is NULL or points to options;
 * map is NULL or valid for a write.
 */
taskring_status taskring_map_new(struct taskring_pool *pool,
                                 uint32_t function,
                                 taskring_input input,
                                 void *context,
                                 const struct taskring_map_options *options,
                                 struct taskring_map **map);

/**
 * Gives the next result, waiting no longer than timeout_ns for it: copies it into buffer, which may be NULL when capacity is 0. len and
 * index may be NULL; they become the result's length and the number of its input, from 0.
 *
 * Returns TASKRING_OK; TASKRING_END when all results were given. The end of one task, with its *index, after which the map goes on: those of
 * taskring_result; TASKRING_ENCODE when the input failed, and what taskring_submit returns when it could not be submitted, after which
 * nothing is left. TASKRING_BUFFER_TOO_SMALL (*len is what is needed, and *index its number): the same result comes again.
 * TASKRING_TIMED_OUT: ask again, unless the time of the whole map is over; then what had not started was cancelled, and TASKRING_END follows.
 * TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * map is NULL or a handle of this library; buffer is valid for writes of capacity bytes; len and index are NULL or valid for a write.
 */
taskring_status taskring_map_next(struct taskring_map *map,
                                  uint64_t timeout_ns,
                                  void *buffer,
                                  size_t capacity,
                                  size_t *len,
                                  uint64_t *index);

/**
 * Stops a map and gives what it has: its input is not called any more, what has not started is cancelled, and running tasks are asked to stop; a chunk
 * does so between two of its inputs. taskring_map_next then gives the rest of what was read, with TASKRING_CANCELLED for what was not run. A call
 * of taskring_map_next that goes on in another thread is waited for.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * map is NULL or a handle of this library.
 */
taskring_status taskring_map_cancel(struct taskring_map *map);

/**
 * Ends a map. If any result was asked for, what has not started is cancelled; otherwise what was submitted runs. Its input is not called any more.
 * NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * map is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_map_free(struct taskring_map *map);

/**
 * Makes a pool and starts its workers. config may be NULL: all defaults.
 *
 * Returns TASKRING_OK and writes *multi; otherwise as taskring_create.
 *
 * Requires:
 * As taskring_create, and multi is NULL or valid for a write.
 */
taskring_status taskring_multi_create(const struct taskring_config *config, struct taskring_multi **multi);

/**
 * Ends a pool at once, as taskring_multi_terminate does, and its handle. Say taskring_multi_close and taskring_multi_join before to have everything run.
 * Its results stay good. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * multi is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_multi_free(struct taskring_multi *multi);

/**
 * Runs a task and waits for its result: copies it into buffer, which may be NULL when capacity is 0. len may be NULL; it becomes the result's
 * length. function is a name that was registered.
 *
 * Returns TASKRING_OK; as taskring_submit_named when it was not submitted; the task's own end and the others as taskring_result.
 * TASKRING_BUFFER_TOO_SMALL (*len is what is needed): the task has run, and its result is dropped. Where its length is not known there is
 * taskring_multi_apply_async.
 *
 * Requires:
 * multi is NULL or a handle of this library; function is NULL or a string; args is NULL or valid for reads of args_len bytes; buffer is valid
 * for writes of capacity bytes; len is NULL or valid for a write.
 */
taskring_status taskring_multi_apply(struct taskring_multi *multi,
                                     const char *function,
                                     const void *args,
                                     size_t args_len,
                                     void *buffer,
                                     size_t capacity,
                                     size_t *len);

/**
 * Submits a task. callbacks may be NULL.
 *
 * Returns TASKRING_OK and writes *result; otherwise as taskring_submit_named, and TASKRING_SYSTEM when there is no thread for callbacks. No callback is
 * called then.
 *
 * Requires:
 * multi is NULL or a handle of this library; function is NULL or a string; args is NULL or valid for reads of args_len bytes; callbacks is
 * NULL or points to callbacks, which may be called with their context from any thread; result is NULL or valid for a write.
 */
taskring_status taskring_multi_apply_async(struct taskring_multi *multi,
                                           const char *function,
                                           const void *args,
                                           size_t args_len,
                                           const struct taskring_callbacks *callbacks,
                                           struct taskring_async **result);

/**
 * Runs a task for each of count inputs, which are copied in this call. chunk inputs go into one task; 0 is as many as give each worker four tasks.
 * callbacks may be NULL.
 *
 * Returns as taskring_multi_apply_async. When the pool refuses a task, those before it run.
 *
 * Requires:
 * As taskring_multi_apply_async, and inputs is NULL or points to count descriptions of valid bytes.
 */
taskring_status taskring_multi_map_async(struct taskring_multi *multi,
                                         const char *function,
                                         const struct taskring_bytes *inputs,
                                         size_t count,
                                         size_t chunk,
                                         const struct taskring_callbacks *callbacks,
                                         struct taskring_async **result);

/**
 * Maps a function over inputs, and gives the results one by one: the map is asked for them with taskring_map_next, also in time, and ended with
 * taskring_map_free. function is a name that was registered. options may be NULL: results come in the order of the inputs, each input is a task, and as
 * results are taken so many are read that twice as many tasks as there are workers are in the pool.
 *
 * The pool may be closed meanwhile: the map goes on with its inputs. What has no result when the pool is terminated or freed is TASKRING_TERMINATED at its
 * place. When it is joined with inputs left, the next of them is TASKRING_SHUT_DOWN, and the last. The map may outlive the pool.
 *
 * Returns as taskring_map_new; TASKRING_UNKNOWN_FUNCTION.
 *
 * Requires:
 * multi is NULL or a handle of this library; function is NULL or a string; the others as of taskring_map_new.
 */
taskring_status taskring_multi_imap(struct taskring_multi *multi,
                                    const char *function,
                                    taskring_input input,
                                    void *context,
                                    const struct taskring_map_options *options,
                                    struct taskring_map **map);

/**
 * Takes no new work from now on; what was submitted runs, and maps that go on read the rest of their inputs. May be called again.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED, TASKRING_STALLED.
 *
 * Requires:
 * multi is NULL or a handle of this library.
 */
taskring_status taskring_multi_close(struct taskring_multi *multi);

/**
 * Ends a pool at once, without waiting: what has not started is cancelled, and what runs in processes is killed with them. Results that are not there yet
 * end with TASKRING_TERMINATED. A thread cannot be killed: a result that it works on is there when its task is over. May be called again.
 *
 * Returns as taskring_multi_close.
 *
 * Requires:
 * multi is NULL or a handle of this library.
 */
taskring_status taskring_multi_terminate(struct taskring_multi *multi);

/**
 * Waits until all work is over and the workers have left. Of a map that has inputs left only what it has submitted runs.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_STATE before taskring_multi_close or taskring_multi_terminate; TASKRING_BUSY in a task of this very pool;
 * TASKRING_INVALID_ARGUMENT, TASKRING_FORKED, TASKRING_STALLED.
 *
 * Requires:
 * multi is NULL or a handle of this library.
 */
taskring_status taskring_multi_join(struct taskring_multi *multi);

/**
 * Tells whether all tasks are over, and the callback, if there is one, has returned: 1 or 0. taskring_async_get will not wait then.
 *
 * Returns TASKRING_OK and writes *ready; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * result is NULL or a handle of this library; ready is NULL or valid for a write.
 */
taskring_status taskring_async_ready(struct taskring_async *result,
                                     uint32_t *ready);

/**
 * Tells whether all tasks have given values: 1 or 0.
 *
 * Returns TASKRING_OK and writes *successful; TASKRING_INVALID_STATE while it is not ready; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * result is NULL or a handle of this library; successful is NULL or valid for a write.
 */
taskring_status taskring_async_successful(struct taskring_async *result,
                                          uint32_t *successful);

/**
 * Waits until it is ready, no longer than timeout_ns.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * result is NULL or a handle of this library.
 */
taskring_status taskring_async_wait(struct taskring_async *result, uint64_t timeout_ns);

/**
 * Waits until it is ready, no longer than timeout_ns, and lends the values: of one task one, of a map all in the order of the inputs. values has
 * room for capacity of them and may be NULL when that is 0; count may be NULL and becomes how many there are. The bytes are aligned to 16, and may be
 * read until the result is freed. May be called again.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT, after which the work goes on; TASKRING_TERMINATED when the pool was terminated before; the end of a task as
 * taskring_result, of a map that of the first input that failed, once all are over; TASKRING_BUFFER_TOO_SMALL (*count is what is needed);
 * TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * result is NULL or a handle of this library; values is valid for capacity writes; count is NULL or valid for a write.
 */
taskring_status taskring_async_get(struct taskring_async *result,
                                   uint64_t timeout_ns,
                                   struct taskring_bytes *values,
                                   size_t capacity,
                                   size_t *count);

/**
 * Ends a result: its tasks run, and what they give is dropped, but for a callback, which is still called. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * result is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_async_free(struct taskring_async *result);

/**
 * Makes a pool and starts its workers. config may be NULL: all defaults.
 *
 * Returns TASKRING_OK and writes *pool; TASKRING_INVALID_ARGUMENT; TASKRING_UNKNOWN_FUNCTION for an initializer or exit hook that this program, its
 * own worker, lacks; TASKRING_TOO_MANY and TASKRING_PAYLOAD_TOO_LARGE of shared values; TASKRING_NOT_INITIALIZED when workers are to be spawned and
 * main does not begin with taskring_init; TASKRING_UNSUPPORTED for a hard time limit with workers that are threads, and for workers on demand where others
 * start them; TASKRING_NOT_A_WORKER, TASKRING_MANY_THREADS, TASKRING_OUT_OF_MEMORY, TASKRING_SYSTEM.
 *
 * Requires:
 * config is NULL or points to a config whose pointers are NULL or valid; pool is NULL or valid for a write.
 */
taskring_status taskring_create(const struct taskring_config *config,
                                struct taskring_pool **pool);

/**
 * Makes a pool that other programs of this user attach to by its name: 1 to 64 letters, digits, '-', '_' or '.'.
 *
 * Returns as taskring_create, and TASKRING_EXISTS.
 *
 * Requires:
 * As taskring_create, and name is NULL or a string.
 */
taskring_status taskring_create_named(const struct taskring_config *config,
                                      const char *name,
                                      struct taskring_pool **pool);

/**
 * Attaches to a named pool as a further submitter.
 *
 * Returns TASKRING_OK and writes *pool; TASKRING_INVALID_ARGUMENT, TASKRING_NOT_FOUND, TASKRING_NOT_OWNER, TASKRING_INCOMPATIBLE,
 * TASKRING_TOO_MANY; of a pool that has ended and has its name still TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT; TASKRING_OUT_OF_MEMORY,
 * TASKRING_STALLED, TASKRING_SYSTEM.
 *
 * Requires:
 * name is NULL or a string; pool is NULL or valid for a write.
 */
taskring_status taskring_attach(const char *name,
                                struct taskring_pool **pool);

/**
 * Removes the file of a named pool to which nobody is attached any more, as after a kill of the last one. removed may be NULL; it becomes 1, or 0 when
 * there was none.
 *
 * Returns TASKRING_OK; TASKRING_EXISTS when somebody is attached, or it belongs to another user; TASKRING_INVALID_ARGUMENT; TASKRING_SYSTEM when that
 * cannot be found out.
 *
 * Requires:
 * name is NULL or a string; removed is NULL or valid for a write.
 */
taskring_status taskring_remove_dead(const char *name,
                                     uint32_t *removed);

/**
 * Ends a handle. The owner's waits for everything submitted, unless taskring_shutdown was called before. Tickets of the pool are
 * stale from here on: the results of tasks that are over are dropped, and loans and views end. A set, a map, and tasks in a completion queue that
 * have not come out keep the place of an attached pool among its participants: free them too. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before; TASKRING_BUSY in a task of this very pool, when it would wait;
 * TASKRING_UNSUPPORTED for the pool of the promises.
 *
 * Requires:
 * pool is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_free(struct taskring_pool *pool);

/**
 * Takes no new tasks from now on. With cancel_pending what has not started is cancelled; with wait this returns when everything has ended
 * and the workers have left. Running tasks are never interrupted. May be called again.
 *
 * Returns TASKRING_OK; TASKRING_FORKED; TASKRING_STALLED; TASKRING_BUSY in a task of this very pool, with wait; TASKRING_UNSUPPORTED for the pool of the
 * promises; TASKRING_INVALID_ARGUMENT. Of an attached pool, which waits for its own tasks: TASKRING_CORRUPT.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_shutdown(struct taskring_pool *pool,
                                  int32_t wait,
                                  int32_t cancel_pending);

/**
 * Takes no new tasks and waits until everything has ended and the workers have left, but not longer than limit_ns. Then it cancels what has not started,
 * kills the workers that are left, and writes how many there were of each: 0 and 0 when everything had ended in time. Either pointer may be NULL.
 *
 * Returns TASKRING_OK; TASKRING_TIMED_OUT when somebody still works two seconds after the limit whom this process cannot kill: workers that are
 * threads, or that others have started; TASKRING_FORKED; TASKRING_STALLED; TASKRING_BUSY in a task of this very pool; TASKRING_UNSUPPORTED for the pool of
 * the promises; TASKRING_INVALID_ARGUMENT. Of an attached pool: TASKRING_CORRUPT.
 *
 * Requires:
 * pool is NULL or a handle of this library; cancelled and killed are NULL or valid for a write.
 */
taskring_status taskring_shutdown_within(struct taskring_pool *pool,
                                         uint64_t limit_ns,
                                         uint64_t *cancelled,
                                         uint64_t *killed);

/**
 * Ends the workers that this process has started by SIGTERM: no new tasks from now on, what is pending is cancelled, and no worker takes the place of
 * another. Does not wait: taskring_shutdown with wait does. A running task ends with TASKRING_WORKER_LOST. May be called again, and for a pool without
 * workers or a broken one. Workers that another process has started are left alone; they leave after their running task.
 *
 * Returns TASKRING_OK; TASKRING_UNSUPPORTED for workers that are threads, and for the pool of the promises: nothing was changed then; TASKRING_FORKED;
 * TASKRING_STALLED; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_terminate_workers(struct taskring_pool *pool);

/**
 * The same by SIGKILL, which no worker handles or outlives.
 *
 * Returns as taskring_terminate_workers.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_kill_workers(struct taskring_pool *pool);

/**
 * Takes a look at a pool. No part of it stands still meanwhile.
 *
 * Returns TASKRING_OK and fills *stats as far as its struct_size goes; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; stats is NULL or points to a struct with its size set.
 */
taskring_status taskring_pool_stats(struct taskring_pool *pool, struct taskring_stats *stats);

/**
 * Tells whoever has submitted the task that this thread runs how far it has come, in any unit; a total of 0 says that it is not known. It waits for
 * nobody.
 *
 * Returns TASKRING_OK; TASKRING_UNSUPPORTED outside a task; TASKRING_FORKED in a process that the task has forked; TASKRING_OUT_OF_MEMORY and
 * TASKRING_SYSTEM when the first report in a lane finds no memory.
 */
taskring_status taskring_report_progress(uint64_t done,
                                         uint64_t total);

/**
 * Tells whoever has submitted the task that this thread runs up to 64 bytes, which are copied. They stand beside what taskring_report_progress tells.
 *
 * Returns TASKRING_OK; TASKRING_PAYLOAD_TOO_LARGE; TASKRING_INVALID_ARGUMENT; and as taskring_report_progress.
 *
 * Requires:
 * data is NULL or valid for reads of len bytes.
 */
taskring_status taskring_report(const void *data,
                                size_t len);

/**
 * How far a task has said last that it has come, also when it is over or its worker was killed. done and total may be NULL.
 *
 * Returns TASKRING_OK; TASKRING_NOT_FOUND when it has said nothing; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; done and total are NULL or valid for a write.
 */
taskring_status taskring_progress(struct taskring_pool *pool,
                                  uint64_t ticket,
                                  uint64_t *done,
                                  uint64_t *total);

/**
 * The bytes that a task has told last, by taskring_report, also when it is over or its worker was killed: copied into buffer, which may be NULL when
 * capacity is 0. len may be NULL; it becomes their number, at most 64.
 *
 * Returns TASKRING_OK; TASKRING_NOT_FOUND when it has told none; TASKRING_BUFFER_TOO_SMALL; TASKRING_STALE, TASKRING_INVALID_ARGUMENT,
 * TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; buffer is valid for writes of capacity bytes; len is NULL or valid for a write.
 */
taskring_status taskring_reported(struct taskring_pool *pool,
                                  uint64_t ticket,
                                  void *buffer,
                                  size_t capacity,
                                  size_t *len);

/**
 * Makes a promise, pending, and its future: a ticket and the pool of all promises of this process, for taskring_result, taskring_wait_many,
 * taskring_cancel and all others that take a ticket. Use the ticket up as that of a task. That pool takes no tasks, and is neither shut down nor freed; a
 * normal end of the process waits for the callbacks of promises that are over, and not for others.
 *
 * Returns TASKRING_OK and writes *promise and *future; TASKRING_FULL when 16384 promises are unfinished; TASKRING_INVALID_ARGUMENT,
 * TASKRING_TOO_MANY, TASKRING_OUT_OF_MEMORY, TASKRING_SYSTEM.
 *
 * Requires:
 * promise and future are NULL or valid for a write.
 */
taskring_status taskring_promise_new(struct taskring_promise **promise,
                                     struct taskring_future *future);

/**
 * Says that the work begins. running may be NULL; it becomes 1, and the future can no longer be cancelled, or 0 when it was cancelled before: whoever
 * waits for it has heard of that already, so this may be left out, and called again.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_STATE when the promise was set running or completed before; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * promise is NULL or a handle of this library; running is NULL or valid for a write.
 */
taskring_status taskring_promise_set_running_or_notify_cancel(struct taskring_promise *promise,
                                                              uint32_t *running);

/**
 * Completes a promise that is pending or running with a copy of len bytes: what taskring_result gives. When the future is cancelled at the same
 * time, exactly one of the two succeeds.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_STATE when the future was cancelled, or the promise was completed before; TASKRING_PAYLOAD_TOO_LARGE,
 * TASKRING_OUT_OF_MEMORY, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED. Nothing was changed then.
 *
 * Requires:
 * promise is NULL or a handle of this library; data is NULL or valid for reads of len bytes.
 */
taskring_status taskring_promise_set_result(struct taskring_promise *promise,
                                            const void *data,
                                            size_t len);

/**
 * Completes a promise that is pending or running with an error: taskring_result returns TASKRING_TASK_FAILED, and taskring_last_error has the message.
 *
 * Returns as taskring_promise_set_result.
 *
 * Requires:
 * promise is NULL or a handle of this library; message is NULL or a string.
 */
taskring_status taskring_promise_set_error(struct taskring_promise *promise,
                                           const char *message);

/**
 * Whether the future of a running promise was asked to cancel it: *requested becomes 1 or 0.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
 *
 * Requires:
 * promise is NULL or a handle of this library; requested is NULL or valid for a write.
 */
taskring_status taskring_promise_cancel_requested(struct taskring_promise *promise, uint32_t *requested);

/**
 * Ends a handle. The ticket stays good. A promise that was not completed ends its future: with TASKRING_CANCELLED while it is pending, and with
 * TASKRING_TASK_FAILED when it was set running. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * promise is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_promise_free(struct taskring_promise *promise);

/**
 * Makes a task set: name it in the options of a submit.
 *
 * Returns TASKRING_OK and writes *set; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library; set is NULL or valid for a write.
 */
taskring_status taskring_set_new(struct taskring_pool *pool, struct taskring_set **set);

/**
 * Stops a set: no task of it starts any more once this has returned, those that were pending are cancelled, and the pool goes on with
 * other tasks. discarded may be NULL. Called again, it tells what is still running.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * set is NULL or a handle of this library; discarded is NULL or valid for a write.
 */
taskring_status taskring_set_discard(struct taskring_set *set,
                                     struct taskring_discarded *discarded);

/**
 * Ends a handle; the set's tasks go on. NULL is allowed.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
 *
 * Requires:
 * set is NULL or a handle of this library, and no other call with it is going on.
 */
taskring_status taskring_set_free(struct taskring_set *set);

/**
 * The number of the worker that runs in this thread: below the pool's number of workers, no other worker's at the same time, and kept by the worker
 * that takes its place when it dies; not below it of one that is there for another that waits (taskring_config's replacements). -1 outside a worker, and
 * in one that came by taskring_work.
 */
int32_t taskring_worker_number(void);

/**
 * The name of the worker that runs in this thread: taskring_config's worker_names, '_' and its number. NULL where taskring_worker_number gives -1.
 * Good until the worker leaves.
 */
const char *taskring_worker_name(void);

/**
 * Where a value lies that a pool's creator shares (taskring_config's shared). It is not copied; nobody may write to it; it begins at a multiple of 64.
 * With a NULL pool, in a task: the value of the pool whose worker runs in this thread, good until the worker leaves. With a pool: good until the
 * handle is freed. len may be NULL.
 *
 * Returns TASKRING_OK and writes *data and *len; TASKRING_INVALID_ARGUMENT when there is no value of that name, and for a NULL pool outside a
 * worker; TASKRING_FORKED, TASKRING_CORRUPT.
 *
 * Requires:
 * pool is NULL or a handle of this library; name is NULL or a string; data and len are NULL or valid for a write.
 */
taskring_status taskring_shared(struct taskring_pool *pool,
                                const char *name,
                                const void **data,
                                size_t *len);

/**
 * The name of a status, such as "TASKRING_FULL". Never NULL, never to be freed. From any thread.
 */
const char *taskring_status_name(int32_t status);

/**
 * What a status means, in a few words. Never NULL, never to be freed. From any thread.
 */
const char *taskring_status_message(int32_t status);

/**
 * The text of the last call in this thread that did not return TASKRING_OK, with the value that was wrong; of a failed task, its own
 * message. Never NULL. It is valid until the next such call in this thread, and not to be freed.
 */
const char *taskring_last_error(void);

/**
 * What brought the last TASKRING_TASK_FAILED of this thread about, as far as the function has said it: the texts of its error's sources, with ": " between
 * them. Empty when it had none, and after any other error; never NULL. Valid until the next such call in this thread, and not to be freed.
 */
const char *taskring_last_source(void);

/**
 * Tells more about the last TASKRING_WORKER_LOST of this thread.
 *
 * Returns TASKRING_OK; TASKRING_NOT_FOUND when the last error of this thread was another one; TASKRING_INVALID_ARGUMENT when loss is NULL.
 *
 * Requires:
 * loss is NULL or valid for a write.
 */
taskring_status taskring_last_loss(struct taskring_loss *loss);

/**
 * The name of the worker that the last TASKRING_WORKER_LOST of this thread tells of, as taskring_worker_name gave it there. Empty when the worker had none,
 * and after any other error; never NULL. Valid until the next such call in this thread, and not to be freed.
 */
const char *taskring_last_worker(void);

/**
 * Tells of what kind the pool is whose TASKRING_BROKEN was the last error of this thread: TASKRING_POOL_OF_PROCESSES and so on.
 *
 * Returns TASKRING_OK; TASKRING_NOT_FOUND when the last error of this thread was another one; TASKRING_INVALID_ARGUMENT when kind is NULL.
 *
 * Requires:
 * kind is NULL or valid for a write.
 */
taskring_status taskring_last_broken(uint32_t *kind);

/**
 * From now on the pool has so many workers, 1 to 192. More are started at once, those beyond taskring_config's min_workers when they are needed. When there
 * are to be fewer, those with the highest numbers leave after the task that they are running, and this does not wait for them. Nothing is lost but what waits
 * for one of them alone (taskring_submit_to): that ends with TASKRING_NO_WORKER after the start time-out. Workers that came by the pool's name stay. From any
 * thread of the owner.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a number out of range; TASKRING_UNSUPPORTED for an attached pool, and in one whose workers others
 * start; TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_FORKED.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_resize(struct taskring_pool *pool,
                                uint32_t workers);

/**
 * From now on no worker starts a task, until taskring_resume. What runs goes on to its end; a task that waits for a pending one of its pool still runs
 * that one. Tasks can be submitted, cancelled and waited for. When this returns, every worker runs a task that it had begun, or rests.
 * A pause ends with the pool: taskring_shutdown, taskring_free and the end of the program run what is pending as ever, unless it is cancelled. From any
 * thread of the owner; a second pause changes nothing.
 *
 * Returns TASKRING_OK; TASKRING_UNSUPPORTED for an attached pool; TASKRING_STALLED when a worker that runs no task does not answer for 5 seconds, as a
 * stopped one: the pool is paused, but that one may start one more task; TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_FORKED,
 * TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_pause(struct taskring_pool *pool);

/**
 * Ends a pause: workers start tasks again. Without one it changes nothing.
 *
 * Returns TASKRING_OK; TASKRING_UNSUPPORTED for an attached pool; TASKRING_FORKED; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * pool is NULL or a handle of this library.
 */
taskring_status taskring_resume(struct taskring_pool *pool);

/**
 * Whether the pool is paused: writes 1 or 0. Any submitter may ask.
 *
 * Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * pool is NULL or a handle of this library; paused is NULL or valid for a write.
 */
taskring_status taskring_is_paused(struct taskring_pool *pool, uint32_t *paused);

/**
 * Cancels everything that is pending, and writes how many tasks that were: of the owner the tasks of all submitters, of an attached pool its own. Whoever
 * waits for such a task is told at once. What runs goes on, and the pool takes new tasks. cancelled may be NULL. From any thread; a task that is
 * submitted meanwhile may be cancelled or not.
 *
 * Returns TASKRING_OK; TASKRING_UNSUPPORTED for the pool of the promises; TASKRING_FORKED; TASKRING_INVALID_ARGUMENT.
 *
 * Requires:
 * pool is NULL or a handle of this library; cancelled is NULL or valid for a write.
 */
taskring_status taskring_purge(struct taskring_pool *pool,
                               uint64_t *cancelled);

/**
 * Gives the pool's number of a function, for submitting. It stays the same as long as the pool lives.
 *
 * Returns TASKRING_OK and writes *function; TASKRING_UNKNOWN_FUNCTION when neither this process nor any worker has it;
 * TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY, TASKRING_FORKED; TASKRING_UNSUPPORTED for the pool of the promises; TASKRING_CORRUPT, TASKRING_STALLED.
 *
 * Requires:
 * pool is NULL or a handle of this library; name is NULL or a string; function is NULL or valid for a write.
 */
taskring_status taskring_function(struct taskring_pool *pool,
                                  const char *name,
                                  uint32_t *function);

/**
 * Submits a task. Waits while the ring is full of unfinished tasks. The arguments are copied; options may be NULL. The ticket is good until
 * its result is taken (taskring_result, taskring_view) or it is released; a ticket that is neither keeps its slot, or memory of this process.
 *
 * Returns TASKRING_OK and writes *ticket, which is never 0; TASKRING_INVALID_ARGUMENT, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY,
 * TASKRING_TOO_MANY of payload blocks, TASKRING_SHUT_DOWN, TASKRING_DISCARDED, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM,
 * TASKRING_FORKED; TASKRING_UNSUPPORTED for the pool of the promises, and for a hard time limit while the pool has workers that are threads. In a task that
 * waits for room in a ring of its own pool also what a wait there returns. Nothing was submitted then.
 *
 * Requires:
 * pool is NULL or a handle of this library; args is NULL or valid for reads of len bytes; options is NULL or points to options;
 * ticket is NULL or valid for a write.
 */
taskring_status taskring_submit(struct taskring_pool *pool,
                                uint32_t function,
                                const void *args,
                                size_t len,
                                const struct taskring_options *options,
                                uint64_t *ticket);

/**
 * Submits a task by its function's name, waiting no longer than timeout_ns for room. It looks the name up at each call: for many tasks of
 * one function take its number (taskring_function).
 *
 * Returns as taskring_submit_timed, and as taskring_function.
 *
 * Requires:
 * As taskring_submit, and name is NULL or a string.
 */
taskring_status taskring_submit_named(struct taskring_pool *pool,
                                      const char *name,
                                      const void *args,
                                      size_t len,
                                      const struct taskring_options *options,
                                      uint64_t timeout_ns,
                                      uint64_t *ticket);

/**
 * Submits a task, waiting no longer than timeout_ns for room: 0 does not wait.
 *
 * Returns as taskring_submit; TASKRING_FULL when the time was 0, else TASKRING_TIMED_OUT.
 *
 * Requires:
 * As taskring_submit.
 */
taskring_status taskring_submit_timed(struct taskring_pool *pool,
                                      uint32_t function,
                                      const void *args,
                                      size_t len,
                                      const struct taskring_options *options,
                                      uint64_t timeout_ns,
                                      uint64_t *ticket);

/**
 * Submits a task for each of count arguments, many with one hold of the ring's mutex. Waits while the ring is full. submitted may be
 * NULL; tickets has room for count.
 *
 * Returns as taskring_submit. In every case *submitted tasks were submitted, and as many tickets written.
 *
 * Requires:
 * As taskring_submit; args is NULL or points to count descriptions of valid bytes; tickets is NULL or valid for count writes;
 * submitted is NULL or valid for a write.
 */
taskring_status taskring_submit_bulk(struct taskring_pool *pool,
                                     uint32_t function,
                                     const struct taskring_bytes *args,
                                     size_t count,
                                     const struct taskring_options *options,
                                     uint64_t *tickets,
                                     size_t *submitted);

/**
 * Submits a task for one worker: that of this number, as taskring_worker_number tells it, or whoever takes its place when it dies before it has begun with
 * the task. Numbers begin with 0 and are below the number of workers that the pool has, by taskring_config or the last taskring_resize; workers that came by
 * the pool's name have none. Waits no longer than timeout_ns for room.
 *
 * Such tasks wait while their worker is busy, and run in the order in which this submitter submitted them; other tasks go past them. Once more than twice as
 * many of those as the ring has slots have gone past, the order may break. When no worker comes to the place within the pool's start time-out, or none is to
 * come any more, they end with TASKRING_NO_WORKER. A task that waits stands in its worker's way: when several wait, each for one that is for the next one's
 * worker, one of these waits ends with TASKRING_WOULD_DEADLOCK.
 *
 * Returns as taskring_submit_timed; TASKRING_INVALID_ARGUMENT also when the pool has no worker of that number.
 *
 * Requires:
 * As taskring_submit.
 */
taskring_status taskring_submit_to(struct taskring_pool *pool,
                                   uint32_t worker,
                                   uint32_t function,
                                   const void *args,
                                   size_t len,
                                   const struct taskring_options *options,
                                   uint64_t timeout_ns,
                                   uint64_t *ticket);

/**
 * Submits a task once for every worker that the pool has at this call: those that its owner keeps, in the order of their numbers, and then those that came
 * by the pool's name and are ready. tickets has room for room of them; TASKRING_BROADCAST_MAX are always enough. A pool without workers gives none. Each of the tasks is
 * for its worker alone, as by taskring_submit_to; one for a worker that came by name ends with TASKRING_NO_WORKER when that one leaves without having begun
 * with it. Waits while the ring is full.
 *
 * Returns as taskring_submit; TASKRING_INVALID_ARGUMENT also when there are more workers than room: nothing was submitted then. In every case *submitted
 * tasks were submitted, and as many tickets written.
 *
 * Requires:
 * As taskring_submit; tickets is NULL or valid for room writes; submitted is NULL or valid for a write.
 */
taskring_status taskring_broadcast(struct taskring_pool *pool,
                                   uint32_t function,
                                   const void *args,
                                   size_t len,
                                   const struct taskring_options *options,
                                   uint64_t *tickets,
                                   size_t room,
                                   size_t *submitted);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TASKRING_H */

/* What a struct begins with. Every field but the size is 0: its default. */
#define TASKRING_CONFIG_INIT {sizeof(taskring_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0}, 0, 0, 0}
#define TASKRING_OPTIONS_INIT {sizeof(taskring_options), 0, 0, 0, NULL, NULL, 0, 0, 0, {0, 0, 0, 0, 0, 0}}
#define TASKRING_MAP_OPTIONS_INIT {sizeof(taskring_map_options), 0, 0, 0, 0, NULL}
#define TASKRING_CALLBACKS_INIT {sizeof(taskring_callbacks), 0, NULL, NULL, NULL, NULL}
#define TASKRING_STATS_INIT {sizeof(taskring_stats), 0, 0, 0, 0, 0, 0, 0, 0}

#if defined(__cplusplus)
#define TASKRING_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#else
#define TASKRING_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif
TASKRING_ASSERT_SIZE(taskring_config, 232);
TASKRING_ASSERT_SIZE(taskring_named_bytes, 24);
TASKRING_ASSERT_SIZE(taskring_retry, 32);
TASKRING_ASSERT_SIZE(taskring_options, 88);
TASKRING_ASSERT_SIZE(taskring_bytes, 16);
TASKRING_ASSERT_SIZE(taskring_future, 16);
TASKRING_ASSERT_SIZE(taskring_stats, 40);
TASKRING_ASSERT_SIZE(taskring_discarded, 24);
TASKRING_ASSERT_SIZE(taskring_map_options, 40);
TASKRING_ASSERT_SIZE(taskring_completion, 32);
TASKRING_ASSERT_SIZE(taskring_callbacks, 40);
TASKRING_ASSERT_SIZE(taskring_loss, 16);
#undef TASKRING_ASSERT_SIZE
