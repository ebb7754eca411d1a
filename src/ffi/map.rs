//! Maps: one function over many inputs, read by a callback as results are taken.

use super::handle::{self, Kind};
use super::pool::{executor, taskring_pool};
use super::status::{Fault, taskring_status};
use super::submit::{checked_function, read_options, taskring_bytes, taskring_options};
use super::{Buffer, Sized32, bytes, guard, null, put, read_struct, timeout};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::feed::{Chunk, Feed, Next, Plan, Source};
use crate::pool::{Pool, lock};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// A map that is going on. Any thread may use it; free it once, with taskring_map_free.
pub struct taskring_map {
    _opaque: [u8; 0],
}

/// Gives a map its next input: 1 when it has set `*args`, which must stay valid until it is called again or the map is freed; 0 at the end; anything
/// else when it failed. It is called in the threads that call taskring_map_new and taskring_map_next, by one at a time, and must not use
/// this map.
pub type taskring_input = Option<unsafe extern "C" fn(context: *mut c_void, args: *mut taskring_bytes) -> i32>;

/// For the chunk of a map: as many inputs in each task as take about 100 us, at most 1024, by the time that workers measured of those before.
pub const TASKRING_CHUNK_AUTO: u64 = u64::MAX;

/// Options of a map. Begin with TASKRING_MAP_OPTIONS_INIT; a field of 0 is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_map_options {
    /// Set by TASKRING_MAP_OPTIONS_INIT.
    pub struct_size: u32,
    /// Not 0: results come as their tasks end, not in the order of the inputs.
    pub unordered: u32,
    /// Tasks that are in the pool at a time; the input is read no further. Default: no limit, all of the input is submitted at once; of
    /// taskring_multi_imap, and with TASKRING_CHUNK_AUTO, twice as many as there are workers. UINT64_MAX: no limit.
    pub window: u64,
    /// Inputs that go into one task: for functions of less than a few microseconds; or TASKRING_CHUNK_AUTO. Default: 1.
    /// A time limit counts for the whole chunk: at the soft one the inputs that have not begun end as cancelled, and at the hard one all of the chunk with
    /// TASKRING_TIME_LIMIT.
    pub chunk: u64,
    /// For all results together, from taskring_map_new on. Default: no limit.
    pub timeout_ns: u64,
    /// Options of every task, whose completions must be NULL; or NULL.
    pub submit: *const taskring_options,
}

// SAFETY: `repr(C)`, the size first, and all fields are integers and raw pointers.
unsafe impl Sized32 for taskring_map_options {}

pub(super) struct Input {
    function: u16,
    read: unsafe extern "C" fn(*mut c_void, *mut taskring_bytes) -> i32,
    context: *mut c_void,
}

// SAFETY: by the contract of `taskring_map_new` the input may be called with its context in any thread, by one at a time.
unsafe impl Send for Input {}

impl Source for Input {
    fn function(&self, _: &Pool) -> Result<u16> {
        Ok(self.function)
    }

    fn next(&mut self, into: &mut Vec<u8>) -> Option<std::result::Result<(), Box<Error>>> {
        let encoding = |message| Some(Err(Box::new(Error::Encode { message })));
        let mut args = taskring_bytes { data: std::ptr::null(), len: 0 };
        // SAFETY: by the contract of `taskring_map_new`; `args` is good for the call.
        match unsafe { (self.read)(self.context, &raw mut args) } {
            0 => return None,
            1 => {}
            code => return encoding(format!("the input function returned {code}")),
        }
        // SAFETY: the input says by its 1 that so many bytes may be read there.
        match unsafe { bytes("args", args.data, args.len) } {
            Ok(bytes) => into.extend_from_slice(bytes),
            Err(Fault::Error(e)) => return Some(Err(Box::new(e))),
            Err(_) => return encoding("the input function gave no bytes".into()),
        }
        Some(Ok(()))
    }
}

/// What a `taskring_map *` stands for.
pub(super) struct Going {
    pool: Arc<Pool>,
    feed: Mutex<Feed<Input>>,
    /// The thread that is in the feed just now, by the address of a value of its own.
    thread: AtomicUsize,
}

impl Going {
    /// An input function must not use its own map, which would wait for it.
    fn check_not_inside(&self) -> Result<()> {
        if self.thread.load(Relaxed) == this_thread() {
            return Err(Error::invalid("map", "the one whose input function called", "another"));
        }
        Ok(())
    }

    /// The feed, for one thread at a time; in time.
    fn enter(&self, timeout: Option<Duration>) -> Result<MutexGuard<'_, Feed<Input>>> {
        let Some(after) = timeout else { return Ok(lock(&self.feed)) };
        let start = Instant::now();
        loop {
            match self.feed.try_lock() {
                Ok(feed) => return Ok(feed),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if start.elapsed() >= after => {
                    return Err(Error::TimedOut { what: "another thread's call with this map", after });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

/// Says which thread is in a map's feed, for as long as it is.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn new(thread: &'a AtomicUsize) -> Inside<'a> {
        thread.store(this_thread(), Relaxed);
        Inside(thread)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(0, Relaxed);
    }
}

impl Kind for Going {
    const KIND: u8 = 0x57;
    const NAME: &'static str = "map";
}

fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Maps a function over inputs. Work starts at this call: it submits a window of inputs, or all of them. `options` may be NULL.
///
/// Returns TASKRING_OK and writes `*map`; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY. When the pool refuses an input in this call: TASKRING_SHUT_DOWN,
/// TASKRING_BROKEN, TASKRING_DISCARDED, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_FORKED and whatever else taskring_submit returns, but for an input that
/// is too large; inputs submitted before it run. An input that fails, or is too large, is an error at its place among the results, and the last; so is one
/// that the pool refuses later.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `input` may be called with `context` until the map is freed; `options` is NULL or points to options;
/// `map` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_map_new(
    pool: *mut taskring_pool,
    function: u32,
    input: taskring_input,
    context: *mut c_void,
    options: *const taskring_map_options,
    map: *mut *mut taskring_map,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let executor = unsafe { executor(pool) }?;
        executor.pool().member.check_fork()?;
        let function = checked_function(executor, function)?;
        // SAFETY: as this function's contract says.
        unsafe { start(executor, function, (input, context), options, usize::MAX, |_| (), map) }
    })
}

/// Starts a map and hands it out. `window` is for options that say none, and `each` is called with the new one.
///
/// # Safety
/// That of taskring_map_new.
pub(super) unsafe fn start(
    executor: &Executor,
    function: u16,
    (input, context): (taskring_input, *mut c_void),
    options: *const taskring_map_options,
    window: usize,
    each: impl FnOnce(&mut Feed<Input>),
    map: *mut *mut taskring_map,
) -> Result<(), Fault> {
    // SAFETY: as this function's contract says.
    let options = unsafe { read_struct("options", options) }?;
    let read = input.ok_or(null("input"))?;
    if map.is_null() {
        return Err(null("map"));
    }
    let mut plan = Plan { window, chunk: Chunk::Of(1), ordered: true, timeout: None, submit: Default::default() };
    if let Some(options) = options {
        // SAFETY: as this function's contract says.
        let chosen = unsafe { read_options(options.submit) }?;
        if chosen.has_queue() {
            return Err(Error::invalid("completions", "set", "NULL: a map gives its own results").into());
        }
        let size = |value: u64, otherwise| if value == 0 { otherwise } else { usize::try_from(value).unwrap_or(usize::MAX) };
        plan.submit = chosen.submit;
        (plan.window, plan.chunk) = match options.chunk {
            TASKRING_CHUNK_AUTO => (size(options.window, 2 * executor.workers().max(1)), Chunk::Auto),
            chunk => (size(options.window, plan.window), Chunk::Of(size(chunk, 1))),
        };
        plan.ordered = options.unordered == 0;
        plan.timeout = if options.timeout_ns == 0 { None } else { timeout(options.timeout_ns) };
    }
    let mut feed = Feed::start(executor.pool().clone(), Input { function, read, context }, plan)?.unless_refused()?;
    each(&mut feed);
    let new = handle::new(Going { pool: executor.pool().clone(), feed: Mutex::new(feed), thread: AtomicUsize::new(0) })?;
    // SAFETY: valid for a write by this function's contract.
    unsafe { put(map, new) };
    Ok(())
}

/// Gives the next result, waiting no longer than `timeout_ns` for it: copies it into `buffer`, which may be NULL when `capacity` is 0. `len` and
/// `index` may be NULL; they become the result's length and the number of its input, from 0.
///
/// Returns TASKRING_OK; TASKRING_END when all results were given. The end of one task, with its `*index`, after which the map goes on: those of
/// taskring_result; TASKRING_ENCODE when the input failed, and what taskring_submit returns when it could not be submitted, after which
/// nothing is left. TASKRING_BUFFER_TOO_SMALL (`*len` is what is needed, and `*index` its number): the same result comes again.
/// TASKRING_TIMED_OUT: ask again, unless the time of the whole map is over; then what had not started was cancelled, and TASKRING_END follows.
/// TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `map` is NULL or a handle of this library; `buffer` is valid for writes of `capacity` bytes; `len` and `index` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_map_next(
    map: *mut taskring_map,
    timeout_ns: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
    index: *mut u64,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let going = unsafe { handle::get::<Going, _>(map) }?;
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        going.check_not_inside()?;
        // First: a forked child would wait for a thread that it does not have.
        going.pool.member.check_fork()?;
        let (limit, start) = (timeout(timeout_ns), Instant::now());
        let mut feed = going.enter(limit)?;
        let inside = Inside::new(&going.thread);
        let next = feed.next(limit.map(|limit| limit.saturating_sub(start.elapsed())));
        drop(inside);
        let (at, result) = match next {
            Next::Item(at, result) => (at, result),
            Next::Failed(e) => return Err(e.into()),
            Next::End => return Err(Fault::End { what: "the map has given all of its results" }),
        };
        // SAFETY: as this function's contract says.
        unsafe { put(index, at) };
        buffer.fill(result?).inspect_err(|_| feed.step_back())
    })
}

/// Stops a map and gives what it has: its input is not called any more, what has not started is cancelled, and running tasks are asked to stop; a chunk
/// does so between two of its inputs. taskring_map_next then gives the rest of what was read, with TASKRING_CANCELLED for what was not run. A call
/// of taskring_map_next that goes on in another thread is waited for.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `map` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_map_cancel(map: *mut taskring_map) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let going = unsafe { handle::get::<Going, _>(map) }?;
        going.check_not_inside()?;
        going.pool.member.check_fork()?;
        going.enter(None)?.stop();
        Ok(())
    })
}

/// Ends a map. If any result was asked for, what has not started is cancelled; otherwise what was submitted runs. Its input is not called any more.
/// NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `map` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_map_free(map: *mut taskring_map) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        if let Some(going) = unsafe { handle::take::<Going, _>(map) }? {
            going.feed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).leave();
        }
        Ok(())
    })
}
