//! Submitting from C: a function's number, bytes, and a ticket back.

use super::completions::{Queue, queue, taskring_completions};
use super::pool::{executor, taskring_pool};
use super::set::{task_set, taskring_set};
use super::status::{Fault, taskring_status};
use super::{Sized32, TASKRING_INFINITE, bytes, guard, null, put, read_struct, text};
use crate::error::Error;
use crate::executor::Executor;
use crate::options::{SubmitOptions, request};
use crate::pool::{Pool, Ticket};
use crate::priority::Priority;
use crate::retry::Retry;
use crate::slot::Request;
use crate::submit::WhenFull;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// The task may run again when its worker died in it, whatever the pool's policy says.
pub const TASKRING_IDEMPOTENT: u32 = 1;
/// The task may not run again, whatever the pool's policy says.
pub const TASKRING_NOT_IDEMPOTENT: u32 = 2;

/// The priority of tasks that ask for none.
pub const TASKRING_PRIORITY_NORMAL: u32 = 0;
/// The task is taken before those of normal and of low priority.
///
/// A worker takes a task of the highest level that has one which it can run, but for aging: when it has taken 16 tasks of higher levels since it last took one
/// of a level, or last found none there, the next that it takes is of that level, if there is one by now; of two such levels the lowest comes first. A worker
/// that takes the place of one that has left or died goes on with its count. So while a task waits that any of the workers in w places can run, and k others of
/// its level are taken before it, no more than 16 * (w + k) of higher levels begin, not counting tasks that a waiting task runs itself and further attempts
/// after a pause. There are as many places as there were workers at one time: with max_tasks_per_worker one and the next are there for a while. Tasks that one
/// submitter submits with one priority begin in the order of their submits; submitters with tasks of one level take turns. A task that is run again after its
/// worker died, or without a pause after it failed, keeps its level, and is before those of that level that have not begun; one that waits for its next attempt
/// begins when its pause is over, whatever waits. Each level has a ring of its own, with as many slots, from its first task on.
pub const TASKRING_PRIORITY_HIGH: u32 = 1;
/// The task is taken after those of high and of normal priority, but for what TASKRING_PRIORITY_HIGH says.
pub const TASKRING_PRIORITY_LOW: u32 = 2;
/// A task that failed runs again after any error: the function returned anything but 0.
pub const TASKRING_RETRY_ERRORS: u32 = 1;
/// And after a panic, which is a failure of functions in Rust.
pub const TASKRING_RETRY_PANICS: u32 = 2;

/// When a task that failed is run again. All 0: as the pool says, and else never.
///
/// An attempt that fails as chosen is no end: the task is pending again, and does not begin before its pause is over. It can be cancelled or discarded then, and
/// a shutdown waits for it or cancels it. Its arguments stay, what the failed attempt had to say is lost, and its time limits begin anew. A task
/// that was asked to stop, by a cancel or its soft limit, is not run again.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct taskring_retry {
    /// How often the task is started at most, counting the first time: 1 to 255, and 1 is never again, whatever the pool says.
    pub attempts: u32,
    /// TASKRING_RETRY_ERRORS, TASKRING_RETRY_PANICS or both. 0: after errors, or those with the codes alone if some are chosen.
    pub on: u32,
    /// After errors for which the function returned n, where bit n is set: 1 to 31.
    pub codes: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The pause before the second attempt, which doubles before each further one. Whole milliseconds, up to 4 hours. 0: none.
    pub backoff_ns: u64,
    /// The longest pause. 0: as the first.
    pub backoff_max_ns: u64,
}

impl taskring_retry {
    /// `None` when nothing was asked for.
    pub(super) fn read(&self) -> Result<Option<Retry>, Fault> {
        if self.reserved != 0 {
            return Err(Error::invalid("retry.reserved", self.reserved, 0).into());
        }
        if self.attempts == 0 {
            let is_empty = self.on | self.codes == 0 && self.backoff_ns | self.backoff_max_ns == 0;
            return if is_empty { Ok(None) } else { Err(Error::invalid("retry.attempts", 0, "1 to 255").into()) };
        }
        let attempts =
            u8::try_from(self.attempts).map_err(|_| Error::invalid("retry.attempts", self.attempts, "1 to 255"))?;
        let max = if self.backoff_max_ns == 0 { self.backoff_ns } else { self.backoff_max_ns };
        let pauses = [self.backoff_ns, max].map(Duration::from_nanos);
        Ok(Some(Retry::from_parts(attempts, self.on, self.codes, pauses)?))
    }
}

/// Options of a task. Begin with TASKRING_OPTIONS_INIT; a field of 0 is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_options {
    /// Set by TASKRING_OPTIONS_INIT.
    pub struct_size: u32,
    /// TASKRING_IDEMPOTENT or TASKRING_NOT_IDEMPOTENT, or 0: as the pool's policy says.
    pub flags: u32,
    /// How often an idempotent task is started at most, 1 to 255. Default: what the pool says with TASKRING_DEATH_RETRIES, and else 2; or as often as its
    /// rule for retries allows, when that is more.
    pub attempts_max: u32,
    /// TASKRING_PRIORITY_HIGH or TASKRING_PRIORITY_LOW. Default: TASKRING_PRIORITY_NORMAL.
    pub priority: u32,
    /// The set that the task belongs to, or NULL.
    pub set: *mut taskring_set,
    /// The completion queue that the task comes out of when it is over, or NULL.
    pub completions: *mut taskring_completions,
    /// What comes out with it. Of a bulk submit each next task has one more.
    pub user_data: u64,
    /// How long the task may run before it is asked to stop (taskring_cancel_requested), from its start, in whole milliseconds, rounded up: up to 49 days,
    /// and TASKRING_INFINITE is refused, for 0 is no limit of its own. In a map, for each chunk of inputs. Default: the pool's. TASKRING_INVALID_ARGUMENT when it is not less than the hard limit, also where one of the two is the pool's.
    pub soft_limit_ns: u64,
    /// How long it may run before it is killed with its worker process, and ends with TASKRING_TIME_LIMIT: up to 49 days. Default: the pool's.
    /// What that process does for other pools ends with it. A worker that has run a task with a limit has a second thread, so its tasks can build no pool with
    /// TASKRING_FORK. TASKRING_UNSUPPORTED while the pool has workers that are threads.
    pub hard_limit_ns: u64,
    /// When it is run again after it has failed. Default: the pool's. In a map each input has attempts of its own, and with chunks of inputs this is
    /// TASKRING_INVALID_ARGUMENT.
    pub retry: taskring_retry,
}

// SAFETY: `repr(C)`, the size first, and all fields are integers, a struct of such, and raw pointers.
unsafe impl Sized32 for taskring_options {}

/// Bytes of the caller's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_bytes {
    /// May be NULL when `len` is 0.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
}

/// Numbers of functions in C are those of the pool, plus one, so that 0 is none.
#[inline]
fn function_index(number: u32) -> Result<u16, Fault> {
    let index = number.checked_sub(1).and_then(|n| u16::try_from(n).ok());
    let index = index.filter(|&n| (n as usize) < crate::limits::FUNCTIONS_MAX);
    index.ok_or_else(|| Error::invalid("function", number, "a number that taskring_function gave").into())
}

/// Tickets in C are task numbers with the slot counted from 1, so that 0 is none.
#[inline]
pub(super) fn ticket_number(ticket: Ticket) -> u64 {
    ticket_of_task(ticket.id())
}

/// And back.
#[inline]
pub(super) fn ticket_of_number(number: u64) -> Ticket {
    Ticket::of_id(number.wrapping_sub(1 << 32))
}

/// The same for a task's number.
#[inline]
pub(super) fn ticket_of_task(id: u64) -> u64 {
    id + (1 << 32)
}

/// The options of a call, read and checked.
#[derive(Default)]
pub(super) struct Chosen<'a> {
    pub(super) submit: SubmitOptions,
    queue: Option<&'a Queue>,
    user_data: u64,
}

impl Chosen<'_> {
    pub(super) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// Everything that can fail, before the submit.
    pub(super) fn request(&self, executor: &Executor, function: u16) -> Result<Request, Fault> {
        let pool = executor.pool();
        let request = request(pool, &self.submit, function)?;
        if let Some(queue) = self.queue {
            queue.prepare(pool)?;
        }
        Ok(request)
    }

    /// Submits a task for which a request was made from these options.
    pub(super) fn submit_bytes(
        &self,
        pool: &Pool,
        request: &Request,
        args: &[u8],
        when_full: WhenFull,
    ) -> crate::error::Result<Ticket> {
        match self.submit.retries() {
            false => pool.submit_bytes(request, args, when_full),
            true => pool.submit_by_rule(request, self.submit.rule(pool), args, when_full),
        }
    }

    /// What the options ask of a task that was submitted as the `nth` of its call.
    pub(super) fn deliver(&self, handle: *mut taskring_pool, executor: &Executor, nth: usize, ticket: Ticket) {
        if let Some(queue) = self.queue {
            queue.deliver(handle, executor.pool(), ticket, self.user_data.wrapping_add(nth as u64));
        }
    }
}

fn level(priority: u32) -> Result<Priority, Fault> {
    const LEVELS: &str = "TASKRING_PRIORITY_NORMAL, TASKRING_PRIORITY_HIGH or TASKRING_PRIORITY_LOW";
    match priority {
        TASKRING_PRIORITY_NORMAL => Ok(Priority::Normal),
        TASKRING_PRIORITY_HIGH => Ok(Priority::High),
        TASKRING_PRIORITY_LOW => Ok(Priority::Low),
        _ => Err(Error::invalid("priority", priority, LEVELS).into()),
    }
}

/// # Safety
/// `options` is NULL or points to options; the handles in it are not freed while the result is used.
pub(super) unsafe fn read_options<'a>(options: *const taskring_options) -> Result<Chosen<'a>, Fault> {
    // SAFETY: as this function's contract says.
    let Some(options) = (unsafe { read_struct("options", options) })? else { return Ok(Chosen::default()) };
    let mut submit = SubmitOptions::new().priority(level(options.priority)?);
    const BOTH: u32 = TASKRING_IDEMPOTENT | TASKRING_NOT_IDEMPOTENT;
    if options.flags & !BOTH != 0 || options.flags & BOTH == BOTH {
        return Err(Error::invalid("flags", options.flags, "TASKRING_IDEMPOTENT or TASKRING_NOT_IDEMPOTENT").into());
    }
    if options.flags & BOTH != 0 {
        submit = submit.idempotent(options.flags & TASKRING_IDEMPOTENT != 0);
    }
    if options.attempts_max != 0 {
        let attempts = u8::try_from(options.attempts_max);
        submit =
            submit.attempts_max(attempts.map_err(|_| Error::invalid("attempts_max", options.attempts_max, "up to 255"))?);
    }
    if options.soft_limit_ns != 0 {
        submit = submit.soft_limit(Duration::from_nanos(options.soft_limit_ns));
    }
    if options.hard_limit_ns != 0 {
        submit = submit.hard_limit(Duration::from_nanos(options.hard_limit_ns));
    }
    if let Some(retry) = options.retry.read()? {
        submit = submit.retry(retry);
    }
    if !options.set.is_null() {
        // SAFETY: as this function's contract says.
        submit = submit.set(unsafe { task_set(options.set) }?);
    }
    let queue = match options.completions.is_null() {
        true => None,
        // SAFETY: as this function's contract says.
        false => Some(unsafe { queue(options.completions) }?),
    };
    Ok(Chosen { submit, queue, user_data: options.user_data })
}

/// Gives the pool's number of a function, for submitting. It stays the same as long as the pool lives.
///
/// Returns TASKRING_OK and writes `*function`; TASKRING_UNKNOWN_FUNCTION when neither this process nor any worker has it;
/// TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY, TASKRING_FORKED; TASKRING_UNSUPPORTED for the pool of the promises; TASKRING_CORRUPT, TASKRING_STALLED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `name` is NULL or a string; `function` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_function(
    pool: *mut taskring_pool,
    name: *const c_char,
    function: *mut u32,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, name) = unsafe { (executor(pool)?, text("name", name)?) };
        if function.is_null() {
            return Err(null("function"));
        }
        executor.pool().member.check_fork()?;
        let number = u32::from(executor.pool().function_named(name)?) + 1;
        // SAFETY: as this function's contract says.
        unsafe { put(function, number) };
        Ok(())
    })
}

/// # Safety
/// As `taskring_submit`.
#[inline]
unsafe fn submit(
    pool: *mut taskring_pool,
    function: impl FnOnce(&Executor) -> Result<u16, Fault>,
    args: taskring_bytes,
    options: *const taskring_options,
    when_full: WhenFull,
    ticket: *mut u64,
) -> Result<(), Fault> {
    let handle = pool;
    // SAFETY: as this function's contract says.
    let (executor, args) = unsafe { (executor(pool)?, bytes("args", args.data, args.len)?) };
    if ticket.is_null() {
        return Err(null("ticket"));
    }
    let pool = executor.pool();
    pool.member.check_fork()?;
    pool.prefetch_next();
    let done = if options.is_null() {
        let request = Request { function: function(executor)?, ..pool.request };
        pool.submit_bytes(&request, args, when_full)?
    } else {
        // SAFETY: as this function's contract says.
        let options = unsafe { read_options(options) }?;
        let request = options.request(executor, function(executor)?)?;
        let ticket = options.submit_bytes(pool, &request, args, when_full)?;
        options.submit.note_submitted(pool, 1);
        options.deliver(handle, executor, 0, ticket);
        ticket
    };
    // SAFETY: as this function's contract says.
    unsafe { put(ticket, ticket_number(done)) };
    Ok(())
}

/// What to do when the ring is full, in time.
pub(super) fn when_full(timeout_ns: u64) -> WhenFull {
    match timeout_ns {
        0 => WhenFull::Refuse,
        TASKRING_INFINITE => WhenFull::Wait,
        ns => WhenFull::WaitFor(Duration::from_nanos(ns)),
    }
}

/// A number that this pool has given out.
#[inline]
pub(super) fn checked_function(executor: &Executor, number: u32) -> Result<u16, Fault> {
    let index = function_index(number)?;
    executor.pool().refuse_by_hand("submitting a task")?;
    if !executor.pool().segment().has_function(index) {
        return Err(Error::invalid("function", number, "a number that taskring_function gave for this pool").into());
    }
    Ok(index)
}

/// Submits a task. Waits while the ring is full of unfinished tasks. The arguments are copied; `options` may be NULL. The ticket is good until
/// its result is taken (taskring_result, taskring_view) or it is released; a ticket that is neither keeps its slot, or memory of this process.
///
/// Returns TASKRING_OK and writes `*ticket`, which is never 0; TASKRING_INVALID_ARGUMENT, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY,
/// TASKRING_TOO_MANY of payload blocks, TASKRING_SHUT_DOWN, TASKRING_DISCARDED, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM,
/// TASKRING_FORKED; TASKRING_UNSUPPORTED for the pool of the promises, and for a hard time limit while the pool has workers that are threads. In a task that
/// waits for room in a ring of its own pool also what a wait there returns. Nothing was submitted then.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `args` is NULL or valid for reads of `len` bytes; `options` is NULL or points to options;
/// `ticket` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit(
    pool: *mut taskring_pool,
    function: u32,
    args: *const c_void,
    len: usize,
    options: *const taskring_options,
    ticket: *mut u64,
) -> taskring_status {
    let args = taskring_bytes { data: args, len };
    // SAFETY: as this function's contract says.
    guard(|| unsafe { submit(pool, |it| checked_function(it, function), args, options, WhenFull::Wait, ticket) })
}

/// Submits a task by its function's name, waiting no longer than `timeout_ns` for room. It looks the name up at each call: for many tasks of
/// one function take its number (taskring_function).
///
/// Returns as taskring_submit_timed, and as taskring_function.
///
/// # Safety
/// As taskring_submit, and `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit_named(
    pool: *mut taskring_pool,
    name: *const c_char,
    args: *const c_void,
    len: usize,
    options: *const taskring_options,
    timeout_ns: u64,
    ticket: *mut u64,
) -> taskring_status {
    let args = taskring_bytes { data: args, len };
    guard(|| {
        // SAFETY: as this function's contract says.
        let name = unsafe { text("name", name) }?;
        let function = |it: &Executor| Ok(it.pool().function_named(name)?);
        // SAFETY: as this function's contract says.
        unsafe { submit(pool, function, args, options, when_full(timeout_ns), ticket) }
    })
}

/// Submits a task, waiting no longer than `timeout_ns` for room: 0 does not wait.
///
/// Returns as taskring_submit; TASKRING_FULL when the time was 0, else TASKRING_TIMED_OUT.
///
/// # Safety
/// As taskring_submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit_timed(
    pool: *mut taskring_pool,
    function: u32,
    args: *const c_void,
    len: usize,
    options: *const taskring_options,
    timeout_ns: u64,
    ticket: *mut u64,
) -> taskring_status {
    let args = taskring_bytes { data: args, len };
    // SAFETY: as this function's contract says.
    guard(|| unsafe { submit(pool, |it| checked_function(it, function), args, options, when_full(timeout_ns), ticket) })
}

/// Submits a task for each of `count` arguments, many with one hold of the ring's mutex. Waits while the ring is full. `submitted` may be
/// NULL; `tickets` has room for `count`.
///
/// Returns as taskring_submit. In every case `*submitted` tasks were submitted, and as many tickets written.
///
/// # Safety
/// As taskring_submit; `args` is NULL or points to `count` descriptions of valid bytes; `tickets` is NULL or valid for `count` writes;
/// `submitted` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit_bulk(
    pool: *mut taskring_pool,
    function: u32,
    args: *const taskring_bytes,
    count: usize,
    options: *const taskring_options,
    tickets: *mut u64,
    submitted: *mut usize,
) -> taskring_status {
    const AT_A_TIME: usize = 64;
    let (handle, mut done) = (pool, 0);
    let status = guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, options) = unsafe { (executor(pool)?, read_options(options)?) };
        if count != 0 && (args.is_null() || tickets.is_null()) {
            return Err(null(if args.is_null() { "args" } else { "tickets" }));
        }
        let pool = executor.pool();
        pool.member.check_fork()?;
        let request = options.request(executor, checked_function(executor, function)?)?;
        let mut slices = Vec::with_capacity(AT_A_TIME.min(count));
        let mut publish = || {
            while done < count {
                slices.clear();
                for i in done..count.min(done + AT_A_TIME) {
                    // SAFETY: `i` is below `count`, and the description and its bytes are valid by this function's contract.
                    slices.push(unsafe { bytes("args", (*args.add(i)).data, (*args.add(i)).len) }?);
                }
                pool.submit_slices(&request, options.submit.rule(pool), slices.iter().copied(), |ticket| {
                    // SAFETY: called once for each of the slices, so `done` is below `count`.
                    unsafe { tickets.add(done).write(ticket_number(ticket)) };
                    done += 1;
                })?;
            }
            Ok(())
        };
        let published = publish();
        // What was submitted counts for its set also when the rest was not, and is delivered.
        options.submit.note_submitted(pool, done);
        for nth in 0..done {
            // SAFETY: `done` tickets were written.
            options.deliver(handle, executor, nth, ticket_of_number(unsafe { *tickets.add(nth) }));
        }
        published
    });
    // SAFETY: `submitted` is NULL or valid for a write, as this function's contract says.
    unsafe { put(submitted, done) };
    status
}
