//! Tasks for one worker, and tasks for every worker once.

use super::pool::{executor, taskring_pool};
use super::status::{Fault, taskring_status};
use super::submit::{checked_function, read_options, taskring_options, ticket_number, when_full};
use super::{bytes, guard, null, put};
use crate::error::Error;
use crate::limits::{PARTICIPANTS_MAX, WORKERS_MAX};
use crate::options::requests_of_all;
use std::ffi::c_void;

/// Submits a task for one worker: that of this number, as taskring_worker_number tells it, or whoever takes its place when it dies before it has begun with
/// the task. Numbers begin with 0 and are below the number of workers that the pool has, by taskring_config or the last taskring_resize; workers that came by
/// the pool's name have none. Waits no longer than `timeout_ns` for room.
///
/// Such tasks wait while their worker is busy, and run in the order in which this submitter submitted them; other tasks go past them. Once more than twice as
/// many of those as the ring has slots have gone past, the order may break. When no worker comes to the place within the pool's start time-out, or none is to
/// come any more, they end with TASKRING_NO_WORKER. A task that waits stands in its worker's way: when several wait, each for one that is for the next one's
/// worker, one of these waits ends with TASKRING_WOULD_DEADLOCK.
///
/// Returns as taskring_submit_timed; TASKRING_INVALID_ARGUMENT also when the pool has no worker of that number.
///
/// # Safety
/// As taskring_submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit_to(
    pool: *mut taskring_pool,
    worker: u32,
    function: u32,
    args: *const c_void,
    len: usize,
    options: *const taskring_options,
    timeout_ns: u64,
    ticket: *mut u64,
) -> taskring_status {
    let handle = pool;
    guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, args, mut options) = unsafe { (executor(pool)?, bytes("args", args, len)?, read_options(options)?) };
        if ticket.is_null() {
            return Err(null("ticket"));
        }
        let pool = executor.pool();
        pool.member.check_fork()?;
        options.submit = options.submit.worker(worker);
        let request = options.request(executor, checked_function(executor, function)?)?;
        let done = options.submit_bytes(pool, &request, args, when_full(timeout_ns))?;
        options.submit.note_submitted(pool, 1);
        options.deliver(handle, executor, 0, done);
        // SAFETY: as this function's contract says.
        unsafe { put(ticket, ticket_number(done)) };
        Ok(())
    })
}

/// Tasks that one broadcast submits at most: for all workers of the owner's, and as many that came by name as there can be participants.
pub const TASKRING_BROADCAST_MAX: usize = 448;
const _: () = assert!(TASKRING_BROADCAST_MAX == WORKERS_MAX + PARTICIPANTS_MAX);

/// Submits a task once for every worker that the pool has at this call: those that its owner keeps, in the order of their numbers, and then those that came
/// by the pool's name and are ready. `tickets` has room for `room` of them; TASKRING_BROADCAST_MAX are always enough. A pool without workers gives none. Each of the tasks is
/// for its worker alone, as by taskring_submit_to; one for a worker that came by name ends with TASKRING_NO_WORKER when that one leaves without having begun
/// with it. Waits while the ring is full.
///
/// Returns as taskring_submit; TASKRING_INVALID_ARGUMENT also when there are more workers than `room`: nothing was submitted then. In every case `*submitted`
/// tasks were submitted, and as many tickets written.
///
/// # Safety
/// As taskring_submit; `tickets` is NULL or valid for `room` writes; `submitted` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_broadcast(
    pool: *mut taskring_pool,
    function: u32,
    args: *const c_void,
    len: usize,
    options: *const taskring_options,
    tickets: *mut u64,
    room: usize,
    submitted: *mut usize,
) -> taskring_status {
    let (handle, mut done) = (pool, 0);
    let status = guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, args, options) = unsafe { (executor(pool)?, bytes("args", args, len)?, read_options(options)?) };
        if tickets.is_null() || submitted.is_null() {
            return Err(null(if tickets.is_null() { "tickets" } else { "submitted" }));
        }
        let pool = executor.pool();
        pool.member.check_fork()?;
        let request = options.request(executor, checked_function(executor, function)?)?;
        let requests = requests_of_all(pool, &request, &options.submit)?;
        if requests.len() > room {
            return Err(Fault::from(Error::invalid("room", room, format!("{}, for as many workers", requests.len()))));
        }
        let sent = pool.submit_each(&requests, options.submit.rule(pool), args, |ticket| {
            // SAFETY: called once for each of the requests at most, so `done` is below `room`.
            unsafe { tickets.add(done).write(ticket_number(ticket)) };
            options.deliver(handle, executor, done, ticket);
            done += 1;
        });
        // What was submitted counts for its set also when the rest was not.
        options.submit.note_submitted(pool, done);
        Ok(sent?)
    });
    // SAFETY: `submitted` is NULL or valid for a write, as this function's contract says.
    unsafe { put(submitted, done) };
    status
}
