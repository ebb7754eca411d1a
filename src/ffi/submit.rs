//! Submitting from C: a function's number, bytes, and a ticket back.

use super::pool::{executor, taskring_pool};
use super::set::{task_set, taskring_set};
use super::status::{Fault, taskring_status};
use super::{Sized32, TASKRING_INFINITE, bytes, guard, null, put, read_struct, text};
use crate::error::Error;
use crate::executor::{Executor, SubmitOptions, request};
use crate::pool::Ticket;
use crate::slot::Request;
use crate::submit::WhenFull;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// The task may run again when its worker died in it, whatever the pool's policy says.
pub const TASKRING_IDEMPOTENT: u32 = 1;
/// The task may not run again, whatever the pool's policy says.
pub const TASKRING_NOT_IDEMPOTENT: u32 = 2;

/// Options of a task. Begin with TASKRING_OPTIONS_INIT; a field of 0 is its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_options {
    /// Set by TASKRING_OPTIONS_INIT.
    pub struct_size: u32,
    /// TASKRING_IDEMPOTENT or TASKRING_NOT_IDEMPOTENT, or 0: as the pool's policy says.
    pub flags: u32,
    /// How often an idempotent task is started at most, 1 to 255. Default: 2.
    pub attempts_max: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The set that the task belongs to, or NULL.
    pub set: *mut taskring_set,
}

// SAFETY: `repr(C)`, the size first, and all fields are integers and raw pointers.
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
fn function_index(number: u32) -> Result<u16, Fault> {
    let index = number.checked_sub(1).and_then(|n| u16::try_from(n).ok());
    let index = index.filter(|&n| (n as usize) < crate::limits::FUNCTIONS_MAX);
    index.ok_or_else(|| Error::invalid("function", number, "a number that taskring_function gave").into())
}

/// Tickets in C are task numbers with the slot counted from 1, so that 0 is none.
pub(super) fn ticket_number(ticket: Ticket) -> u64 {
    ticket_of_task(ticket.id())
}

/// The same for a task's number.
pub(super) fn ticket_of_task(id: u64) -> u64 {
    id + (1 << 32)
}

/// # Safety
/// `options` is NULL or points to options whose set is NULL or a handle of this library.
unsafe fn read_options(options: *const taskring_options) -> Result<SubmitOptions, Fault> {
    let mut found = SubmitOptions::new();
    // SAFETY: as this function's contract says.
    let Some(options) = (unsafe { read_struct("options", options) })? else { return Ok(found) };
    if options.reserved != 0 {
        return Err(Error::invalid("reserved", options.reserved, 0).into());
    }
    found = match options.flags {
        0 => found,
        TASKRING_IDEMPOTENT => found.idempotent(true),
        TASKRING_NOT_IDEMPOTENT => found.idempotent(false),
        other => return Err(Error::invalid("flags", other, "TASKRING_IDEMPOTENT or TASKRING_NOT_IDEMPOTENT").into()),
    };
    if options.attempts_max != 0 {
        let attempts = u8::try_from(options.attempts_max);
        found = found.attempts_max(attempts.map_err(|_| Error::invalid("attempts_max", options.attempts_max, "up to 255"))?);
    }
    if !options.set.is_null() {
        // SAFETY: as this function's contract says.
        found = found.set(unsafe { task_set(options.set) }?);
    }
    Ok(found)
}

/// Gives the pool's number of a function, for submitting. It stays the same as long as the pool lives.
///
/// Returns TASKRING_OK and writes `*function`; TASKRING_UNKNOWN_FUNCTION when neither this process nor any worker has it;
/// TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY, TASKRING_FORKED.
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
unsafe fn submit(
    pool: *mut taskring_pool,
    function: u32,
    args: taskring_bytes,
    options: *const taskring_options,
    when_full: WhenFull,
    ticket: *mut u64,
) -> Result<(), Fault> {
    // SAFETY: as this function's contract says.
    let (executor, args) = unsafe { (executor(pool)?, bytes("args", args.data, args.len)?) };
    if ticket.is_null() {
        return Err(null("ticket"));
    }
    let pool = executor.pool();
    pool.member.check_fork()?;
    pool.prefetch_next();
    let done = if options.is_null() {
        let request = Request { function: checked_function(executor, function)?, ..pool.request };
        pool.submit(pool.prepare(&request, args)?, when_full)?
    } else {
        // SAFETY: as this function's contract says.
        let options = unsafe { read_options(options) }?;
        let request = request(pool, &options, checked_function(executor, function)?)?;
        let ticket = pool.submit(pool.prepare(&request, args)?, when_full)?;
        options.count_submitted(1);
        ticket
    };
    // SAFETY: as this function's contract says.
    unsafe { put(ticket, ticket_number(done)) };
    Ok(())
}

/// A number that this pool has given out.
fn checked_function(executor: &Executor, number: u32) -> Result<u16, Fault> {
    let index = function_index(number)?;
    if !executor.pool().segment().has_function(index) {
        return Err(Error::invalid("function", number, "a number that taskring_function gave for this pool").into());
    }
    Ok(index)
}

/// Submits a task. Waits while the ring is full of unfinished tasks. The arguments are copied; `options` may be NULL. The ticket is good until
/// its result is taken (taskring_result, taskring_view) or it is released; a ticket that is neither keeps its slot, or memory of this process.
///
/// Returns TASKRING_OK and writes `*ticket`, which is never 0; TASKRING_INVALID_ARGUMENT, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY,
/// TASKRING_SHUT_DOWN, TASKRING_DISCARDED, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_FORKED. Nothing was submitted then.
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
    guard(|| unsafe { submit(pool, function, args, options, WhenFull::Wait, ticket) })
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
    let when_full = match timeout_ns {
        0 => WhenFull::Refuse,
        TASKRING_INFINITE => WhenFull::Wait,
        ns => WhenFull::WaitFor(Duration::from_nanos(ns)),
    };
    // SAFETY: as this function's contract says.
    guard(|| unsafe { submit(pool, function, args, options, when_full, ticket) })
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
    let mut done = 0;
    let status = guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, options) = unsafe { (executor(pool)?, read_options(options)?) };
        if count != 0 && (args.is_null() || tickets.is_null()) {
            return Err(null(if args.is_null() { "args" } else { "tickets" }));
        }
        let pool = executor.pool();
        pool.member.check_fork()?;
        let request = request(pool, &options, checked_function(executor, function)?)?;
        let mut slices = Vec::with_capacity(AT_A_TIME.min(count));
        let mut publish = || {
            while done < count {
                slices.clear();
                for i in done..count.min(done + AT_A_TIME) {
                    // SAFETY: `i` is below `count`, and the description and its bytes are valid by this function's contract.
                    slices.push(unsafe { bytes("args", (*args.add(i)).data, (*args.add(i)).len) }?);
                }
                pool.submit_slices(&request, slices.iter().copied(), |ticket| {
                    // SAFETY: called once for each of the slices, so `done` is below `count`.
                    unsafe { tickets.add(done).write(ticket_number(ticket)) };
                    done += 1;
                })?;
            }
            Ok(())
        };
        let published = publish();
        // What was submitted counts for its set also when the rest was not.
        options.count_submitted(done);
        published
    });
    // SAFETY: `submitted` is NULL or valid for a write, as this function's contract says.
    unsafe { put(submitted, done) };
    status
}
