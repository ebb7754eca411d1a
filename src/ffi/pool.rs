//! Pools: options, making, attaching, ending.

use super::handle::{self, Kind};
use super::setup::{self, taskring_named_bytes};
use super::status::{Fault, taskring_status};
use super::submit::taskring_retry;
use super::{Sized32, guard, null, put, read_struct, text, timeout};
use crate::builder::Builder;
use crate::error::Error;
use crate::executor::Executor;
use crate::policy::{OnWorkerDeath, Orphans};
use crate::search::Rings;
use crate::start::StartMethod;
use crate::state::Phase;
use crate::sync::Ordering::Relaxed;
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A pool, as its owner or another submitter holds it. Any thread may use it; free it once, with taskring_free.
pub struct taskring_pool {
    _opaque: [u8; 0],
}

impl Kind for Executor {
    const KIND: u8 = 0x51;
    const NAME: &'static str = "pool";
}

/// Workers are this program (or worker_path) run anew; nothing is inherited but the pool. The default.
pub const TASKRING_SPAWN: u32 = 0;
/// Workers are forked from a copy of this process made when the pool is, which must be before it has a second thread.
pub const TASKRING_FORK: u32 = 1;
/// Workers are forked from a fresh run of this program that has done nothing but taskring_init.
pub const TASKRING_FORKSERVER: u32 = 2;
/// Workers are threads of this process.
pub const TASKRING_THREAD: u32 = 3;
/// No workers of its own: others attach by the pool's name.
pub const TASKRING_NO_WORKERS: u32 = 4;
/// Workers are threads of this process that share nothing: what a task works with is its arguments and the context of its worker. See
/// taskring_register_context.
pub const TASKRING_INTERPRETER: u32 = 5;

/// A task whose worker died ends with TASKRING_WORKER_LOST. The default.
pub const TASKRING_DEATH_FAILS_TASK: u32 = 0;
/// It runs again, up to attempts_max times in all: for pools whose tasks may all run twice.
pub const TASKRING_DEATH_RETRIES: u32 = 1;
/// The pool is broken: its pending tasks and all later ones end with TASKRING_BROKEN. What runs on other workers ends with its result, and the dead one's
/// task with TASKRING_WORKER_LOST.
pub const TASKRING_DEATH_BREAKS_POOL: u32 = 2;

/// The pending tasks of a submitter that died run. The default.
pub const TASKRING_ORPHANS_RUN: u32 = 0;
/// They are cancelled.
pub const TASKRING_ORPHANS_CANCELLED: u32 = 1;

/// As taskring_config's min_workers: all workers come on demand.
pub const TASKRING_NONE_AT_FIRST: u64 = u64::MAX;

/// Options of a new pool. Begin with TASKRING_CONFIG_INIT; a field of 0 is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_config {
    /// Set by TASKRING_CONFIG_INIT.
    pub struct_size: u32,
    /// TASKRING_SPAWN and so on.
    pub start_method: u32,
    /// Workers, 1 to 192. Default: the CPUs that this process may use; of threads and interpreters 4 more, but at most 32.
    pub workers: u32,
    /// Slots of each submitter's lane, 1 to 1048576, rounded up to a power of two. Default: 1024.
    pub capacity: u32,
    /// Bytes of payload memory at most, at least 4096. Default: 8 GiB, committed as it is used.
    pub payload_max: u64,
    /// How long a worker may take to attach, and a task may wait for a worker that knows its function. Default: 10 s.
    pub start_timeout_ns: u64,
    /// How long a normal end of this process waits for what was submitted; workers that are there still are killed then. It holds too for a pool that is
    /// freed by this end, by the destructor of a static object or by a function given to atexit, if the main thread has begun it, and has called
    /// taskring_init or made this pool. Else such a taskring_free may wait as any. Default: no limit.
    pub exit_wait_max_ns: u64,
    /// TASKRING_DEATH_FAILS_TASK and so on.
    pub on_worker_death: u32,
    /// With TASKRING_DEATH_RETRIES: how often a task is started at most, 2 to 255, unless its rule for retries allows more. Default: 2.
    pub attempts_max: u32,
    /// TASKRING_ORPHANS_RUN or TASKRING_ORPHANS_CANCELLED.
    pub orphans: u32,
    /// How many workers one task may kill before it is given up, up to 255. Default: 2.
    pub kills_max: u32,
    /// Not 0: this process ends without waiting for the pool, nor does it in a taskring_free for which exit_wait_max_ns would hold.
    pub detach_on_exit: u32,
    /// Must be 0.
    pub reserved: u32,
    /// A worker program other than this one, or NULL. Its main begins with taskring_init.
    pub worker_path: *const c_char,
    /// Its arguments after the program's name, closed by NULL; or NULL.
    pub worker_args: *const *const c_char,
    /// Further environment for worker processes as "NAME=value", closed by NULL; or NULL. Refused with threads.
    pub worker_env: *const *const c_char,
    /// What workers are called: this, '_' and their number, in ps and by taskring_worker_name. 1 to 192 bytes. NULL: "taskring-worker".
    pub worker_names: *const c_char,
    /// A function that each worker runs once before its first task, with its arguments, within start_timeout_ns of its start; or NULL. Workers that
    /// take the place of others run it too. When it fails, the pool is broken, and TASKRING_BROKEN's text has what it said.
    pub initializer: *const taskring_named_bytes,
    /// A function that each worker runs once when it leaves in good order, not when it was killed; or NULL.
    pub exit_hook: *const taskring_named_bytes,
    /// Values that every worker can read where they lie, by taskring_shared. Each name may come once.
    pub shared: *const taskring_named_bytes,
    /// How many, at most 64.
    pub shared_count: u64,
    /// Pins the workers, threads too: number n runs on the CPU at place n of these alone, counted around. Each has to be one that this process may use.
    /// NULL: the system places them.
    pub worker_cpus: *const u32,
    /// How many.
    pub worker_cpus_count: u64,
    /// Bytes of memory of its own that each worker process may have: heap, private mappings and globals. What goes beyond fails to be allocated. 0: no
    /// limit. Refused with threads.
    pub worker_memory_max: u64,
    /// The time limits of tasks that have none of their own: see taskring_options. Up to 49 days, rounded up to whole milliseconds; TASKRING_INFINITE
    /// is refused. In a map each chunk of inputs is one task. Default: none.
    pub task_soft_limit_ns: u64,
    /// TASKRING_UNSUPPORTED with TASKRING_THREAD and TASKRING_INTERPRETER.
    pub task_hard_limit_ns: u64,
    /// After how many tasks a worker leaves and another one takes its place, up to 4294967295. The next one is started when few tasks are left, and the
    /// old one takes tasks until it is ready, which may be some more than this. Default: no limit.
    pub max_tasks_per_worker: u64,
    /// When tasks that have no rule of their own are run again after they have failed. Inputs that share a chunk of a map are not. Default: never.
    pub task_retry: taskring_retry,
    /// How many workers are started at once, up to `workers`; the others come on demand: when a task waits and nobody is free for it. Default: all of them.
    /// For 0 write TASKRING_NONE_AT_FIRST.
    pub min_workers: u64,
    /// How long a worker beyond min_workers, which has to be given beside this, may have nothing to do: then it leaves, with its exit hook. In whole
    /// milliseconds, rounded up, at most 49 days. While the owner is killed or stopped they stay; of a stopped one that is known after some 4 seconds.
    /// Default: no limit.
    pub idle_timeout_ns: u64,
    /// How many further workers may come while others wait in their tasks, without a limit, for tasks that run elsewhere: one for each such worker, up to
    /// this many. They leave after their task when fewer wait. Up to what `workers` leaves of 192. Default: none.
    pub replacements: u64,
}

// SAFETY: `repr(C)`, the size first, and all fields are integers, a struct of such, and raw pointers.
unsafe impl Sized32 for taskring_config {}

/// Strings of a list that NULL closes.
///
/// # Safety
/// `list` is NULL or points to strings, the last of which is NULL.
unsafe fn strings(mut list: *const *const c_char) -> Vec<OsString> {
    let mut all = Vec::new();
    // SAFETY: by this function's contract each element up to the closing NULL can be read and is a string.
    unsafe {
        while !list.is_null() && !(*list).is_null() {
            all.push(OsStr::from_bytes(CStr::from_ptr(*list).to_bytes()).to_owned());
            list = list.add(1);
        }
    }
    all
}

fn byte(name: &'static str, value: u32, least: u32) -> Result<u8, Fault> {
    let fits = u8::try_from(value).ok().filter(|&v| u32::from(v) >= least);
    fits.ok_or_else(|| Error::invalid(name, value, format!("{least} to 255")).into())
}

fn terms(mut builder: Builder, config: &taskring_config) -> Result<Builder, Fault> {
    if let Some(retry) = config.task_retry.read()? {
        builder = builder.task_retry(retry);
    }
    if config.task_soft_limit_ns != 0 {
        builder = builder.task_soft_limit(Duration::from_nanos(config.task_soft_limit_ns));
    }
    if config.task_hard_limit_ns != 0 {
        builder = builder.task_hard_limit(Duration::from_nanos(config.task_hard_limit_ns));
    }
    Ok(builder)
}

/// # Safety
/// As of `taskring_create`.
pub(super) unsafe fn builder(config: *const taskring_config) -> Result<Builder, Fault> {
    let mut builder = Executor::builder();
    // SAFETY: as this function's contract says.
    let Some(config) = (unsafe { read_struct("config", config) })? else { return Ok(builder) };
    builder = builder.start(match config.start_method {
        TASKRING_SPAWN => StartMethod::Spawn,
        TASKRING_FORK => StartMethod::Fork,
        TASKRING_FORKSERVER => StartMethod::ForkServer,
        TASKRING_THREAD => StartMethod::Thread,
        TASKRING_NO_WORKERS => StartMethod::None,
        TASKRING_INTERPRETER => StartMethod::Interpreter,
        other => return Err(Error::invalid("start_method", other, "TASKRING_SPAWN to TASKRING_INTERPRETER").into()),
    });
    let retries = byte("attempts_max", if config.attempts_max == 0 { 2 } else { config.attempts_max }, 2)? - 1;
    builder = builder.on_worker_death(match config.on_worker_death {
        TASKRING_DEATH_FAILS_TASK => OnWorkerDeath::FailTask,
        TASKRING_DEATH_RETRIES => OnWorkerDeath::Retry(retries),
        TASKRING_DEATH_BREAKS_POOL => OnWorkerDeath::BreakPool,
        other => return Err(Error::invalid("on_worker_death", other, "a TASKRING_DEATH_ constant").into()),
    });
    builder = builder.orphans(match config.orphans {
        TASKRING_ORPHANS_RUN => Orphans::Run,
        TASKRING_ORPHANS_CANCELLED => Orphans::CancelPending,
        other => return Err(Error::invalid("orphans", other, "a TASKRING_ORPHANS_ constant").into()),
    });
    if config.reserved != 0 {
        return Err(Error::invalid("reserved", config.reserved, 0).into());
    }
    if config.workers != 0 {
        builder = builder.workers(config.workers as usize);
    }
    if config.capacity != 0 {
        builder = builder.capacity(config.capacity as usize);
    }
    if config.payload_max != 0 {
        builder = builder.payload_max(config.payload_max);
    }
    if config.start_timeout_ns != 0 {
        builder = builder.start_timeout(Duration::from_nanos(config.start_timeout_ns));
    }
    if config.exit_wait_max_ns != 0 {
        builder = builder.exit_wait_max(Duration::from_nanos(config.exit_wait_max_ns));
    }
    if config.kills_max != 0 {
        builder = builder.kills_max(byte("kills_max", config.kills_max, 1)?);
    }
    builder = terms(builder, &config)?.detach_on_exit(config.detach_on_exit != 0);
    // SAFETY: as this function's contract says.
    builder = unsafe { setup::apply(builder, &config) }?;
    // SAFETY: as this function's contract says.
    let (args, env) = unsafe { (strings(config.worker_args), strings(config.worker_env)) };
    for variable in &env {
        let bytes = variable.as_bytes();
        let at = bytes.iter().position(|&b| b == b'=');
        let at = at.ok_or_else(|| Error::invalid("worker_env", variable.to_string_lossy(), "NAME=value"))?;
        builder = builder.worker_env([(OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]))]);
    }
    if config.worker_path.is_null() {
        if !args.is_empty() {
            return Err(Error::invalid("worker_path", "NULL", "a program, for worker_args").into());
        }
        return Ok(builder);
    }
    // SAFETY: as this function's contract says.
    let path = unsafe { CStr::from_ptr(config.worker_path) };
    let none: [(&OsStr, &OsStr); 0] = [];
    Ok(builder.worker_exe(OsStr::from_bytes(path.to_bytes()), args, none))
}

/// Checks the out-parameter first, then makes a pool.
///
/// # Safety
/// `pool` is NULL or valid for a write.
pub(super) unsafe fn make(
    pool: *mut *mut taskring_pool,
    new: impl FnOnce() -> Result<Executor, Fault>,
) -> Result<(), Fault> {
    if pool.is_null() {
        return Err(null("pool"));
    }
    crate::task::install_panic_hook();
    let handle = handle::new(new()?)?;
    // SAFETY: valid for a write by this function's contract.
    unsafe { put(pool, handle) };
    Ok(())
}

/// Makes a pool and starts its workers. `config` may be NULL: all defaults.
///
/// Returns TASKRING_OK and writes `*pool`; TASKRING_INVALID_ARGUMENT; TASKRING_UNKNOWN_FUNCTION for an initializer or exit hook that this program, its
/// own worker, lacks; TASKRING_TOO_MANY and TASKRING_PAYLOAD_TOO_LARGE of shared values; TASKRING_NOT_INITIALIZED when workers are to be spawned and
/// main does not begin with taskring_init; TASKRING_UNSUPPORTED for a hard time limit with workers that are threads, and for workers on demand where others
/// start them; TASKRING_NOT_A_WORKER, TASKRING_MANY_THREADS, TASKRING_OUT_OF_MEMORY, TASKRING_SYSTEM.
///
/// # Safety
/// `config` is NULL or points to a config whose pointers are NULL or valid; `pool` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_create(config: *const taskring_config, pool: *mut *mut taskring_pool) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { make(pool, || Ok(builder(config)?.build()?)) })
}

/// Makes a pool that other programs of this user attach to by its name: 1 to 64 letters, digits, '-', '_' or '.'.
///
/// Returns as taskring_create, and TASKRING_EXISTS.
///
/// # Safety
/// As taskring_create, and `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_create_named(
    config: *const taskring_config,
    name: *const c_char,
    pool: *mut *mut taskring_pool,
) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { make(pool, || Ok(builder(config)?.create_named(text("name", name)?)?)) })
}

/// Attaches to a named pool as a further submitter.
///
/// Returns TASKRING_OK and writes `*pool`; TASKRING_INVALID_ARGUMENT, TASKRING_NOT_FOUND, TASKRING_NOT_OWNER, TASKRING_INCOMPATIBLE,
/// TASKRING_TOO_MANY; of a pool that has ended and has its name still TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT; TASKRING_OUT_OF_MEMORY,
/// TASKRING_STALLED, TASKRING_SYSTEM.
///
/// # Safety
/// `name` is NULL or a string; `pool` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_attach(name: *const c_char, pool: *mut *mut taskring_pool) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { make(pool, || Ok(Executor::attach(text("name", name)?)?)) })
}

/// Removes the file of a named pool to which nobody is attached any more, as after a kill of the last one. `removed` may be NULL; it becomes 1, or 0 when
/// there was none.
///
/// Returns TASKRING_OK; TASKRING_EXISTS when somebody is attached, or it belongs to another user; TASKRING_INVALID_ARGUMENT; TASKRING_SYSTEM when that
/// cannot be found out.
///
/// # Safety
/// `name` is NULL or a string; `removed` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_remove_dead(name: *const c_char, removed: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let was_there = crate::named::remove_dead(unsafe { text("name", name) }?)?;
        // SAFETY: as this function's contract says.
        unsafe { put(removed, u32::from(was_there)) };
        Ok(())
    })
}

/// Ends a handle. The owner's waits for everything submitted, unless taskring_shutdown was called before. Tickets of the pool are
/// stale from here on: the results of tasks that are over are dropped, and loans and views end. A set, a map, and tasks in a completion queue that
/// have not come out keep the place of an attached pool among its participants: free them too. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before; TASKRING_BUSY in a task of this very pool, when it would wait;
/// TASKRING_UNSUPPORTED for the pool of the promises.
///
/// # Safety
/// `pool` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_free(pool: *mut taskring_pool) -> taskring_status {
    guard(|| {
        if !pool.is_null() {
            // The handle is good for the callbacks of the tasks that are waited for; one of them may even free it.
            // SAFETY: as this function's contract says.
            let executor = unsafe { executor(pool) }?;
            executor.pool().refuse_by_hand("freeing")?;
            if executor.would_wait_for_itself() {
                return Err(Error::Busy.into());
            }
            let other = executor.another();
            drop(other);
        }
        // SAFETY: as this function's contract says.
        unsafe { handle::take::<Executor, _>(pool) }?;
        Ok(())
    })
}

/// Takes no new tasks from now on. With `cancel_pending` what has not started is cancelled; with `wait` this returns when everything has ended
/// and the workers have left. Running tasks are never interrupted. May be called again.
///
/// Returns TASKRING_OK; TASKRING_FORKED; TASKRING_STALLED; TASKRING_BUSY in a task of this very pool, with `wait`; TASKRING_UNSUPPORTED for the pool of the
/// promises; TASKRING_INVALID_ARGUMENT. Of an attached pool, which waits for its own tasks: TASKRING_CORRUPT.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_shutdown(pool: *mut taskring_pool, wait: i32, cancel_pending: i32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.shutdown(wait != 0, cancel_pending != 0)?)
    })
}

/// Takes no new tasks and waits until everything has ended and the workers have left, but not longer than `limit_ns`. Then it cancels what has not started,
/// kills the workers that are left, and writes how many there were of each: 0 and 0 when everything had ended in time. Either pointer may be NULL.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT when somebody still works two seconds after the limit whom this process cannot kill: workers that are
/// threads, or that others have started; TASKRING_FORKED; TASKRING_STALLED; TASKRING_BUSY in a task of this very pool; TASKRING_UNSUPPORTED for the pool of
/// the promises; TASKRING_INVALID_ARGUMENT. Of an attached pool: TASKRING_CORRUPT.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `cancelled` and `killed` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_shutdown_within(
    pool: *mut taskring_pool,
    limit_ns: u64,
    cancelled: *mut u64,
    killed: *mut u64,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        let ending = pool.shutdown_within(timeout(limit_ns).unwrap_or(Duration::MAX))?;
        // SAFETY: NULL or valid for a write by this function's contract.
        unsafe {
            put(cancelled, ending.cancelled as u64);
            put(killed, ending.killed as u64);
        }
        Ok(())
    })
}

/// Ends the workers that this process has started by SIGTERM: no new tasks from now on, what is pending is cancelled, and no worker takes the place of
/// another. Does not wait: taskring_shutdown with `wait` does. A running task ends with TASKRING_WORKER_LOST. May be called again, and for a pool without
/// workers or a broken one. Workers that another process has started are left alone; they leave after their running task.
///
/// Returns TASKRING_OK; TASKRING_UNSUPPORTED for workers that are threads, and for the pool of the promises: nothing was changed then; TASKRING_FORKED;
/// TASKRING_STALLED; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_terminate_workers(pool: *mut taskring_pool) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.terminate_workers()?)
    })
}

/// The same by SIGKILL, which no worker handles or outlives.
///
/// Returns as taskring_terminate_workers.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_kill_workers(pool: *mut taskring_pool) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.kill_workers()?)
    })
}

/// # Safety
/// `pool` is NULL or a handle of this library that is not freed meanwhile.
#[inline]
pub(super) unsafe fn executor<'a>(pool: *const taskring_pool) -> Result<&'a Executor, Fault> {
    // SAFETY: as this function's contract says.
    unsafe { handle::get(pool) }
}

/// A look at a pool. The counts of tasks are those of this submitter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct taskring_stats {
    /// Set by TASKRING_STATS_INIT.
    pub struct_size: u32,
    /// Ready workers, of all processes.
    pub workers: u32,
    /// Slots of each of this submitter's lanes, one for each priority that it has used.
    pub capacity: u32,
    /// Tasks that nobody has started.
    pub pending: u32,
    /// Tasks that a worker runs.
    pub running: u32,
    /// Tasks that are over and whose tickets were not released.
    pub unreleased: u32,
    /// Tasks that workers attached just now have finished, of all submitters.
    pub finished: u64,
    /// Loans of this submitter that were neither submitted nor given back.
    pub loans: u32,
    /// Payload blocks in use, by anybody.
    pub blocks: u32,
}

// SAFETY: `repr(C)`, the size first, and all fields are integers.
unsafe impl Sized32 for taskring_stats {}

/// Takes a look at a pool. No part of it stands still meanwhile.
///
/// Returns TASKRING_OK and fills `*stats` as far as its struct_size goes; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `stats` is NULL or points to a struct with its size set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_pool_stats(pool: *mut taskring_pool, stats: *mut taskring_stats) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, asked) =
            unsafe { (executor(pool)?, read_struct("stats", stats.cast_const())?.ok_or(null("stats"))?) };
        let pool = executor.pool();
        pool.member.check_fork()?;
        let mut found = taskring_stats {
            struct_size: asked.struct_size,
            workers: pool.segment().life().workers.load(Relaxed),
            capacity: pool.capacity() as u32,
            unreleased: pool.harvested_len() as u32,
            loans: crate::pool::lock(&pool.loans).len() as u32,
            blocks: pool.segment().blocks_in_use() as u32,
            ..Default::default()
        };
        for slot in pool.own_lanes().flat_map(|lane| pool.segment().lane(lane).slots) {
            let state = slot.load();
            match state.phase() {
                _ if slot.submitted_by() != pool.member.who() => {}
                Some(Phase::Pending) => found.pending += 1,
                Some(Phase::Running) => found.running += 1,
                Some(Phase::Done | Phase::Cancelled) => found.unreleased += 1,
                Some(Phase::Free) | None => {}
            }
        }
        found.finished = pool.member.participants().map(|(_, _, record)| record.finished.load(Relaxed)).sum();
        let len = (asked.struct_size as usize).min(size_of::<taskring_stats>());
        // SAFETY: the caller's struct has `struct_size` bytes, and ours at least `len`; the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping((&raw const found).cast::<u8>(), stats.cast::<u8>(), len) };
        Ok(())
    })
}
