//! Tickets: what a task is doing, waiting for it, its result.

use super::pool::{executor, taskring_pool};
use super::status::{Fault, remember, taskring_status};
use super::submit::ticket_of_number;
use super::{Buffer, guard, null, put, timeout};
use crate::collect::Reading;
use crate::error::Error;
use crate::future::{Core, Fit, State};
use crate::outcome::Outcome;
use crate::pool::{Pool, Ticket};
use crate::wait::{When, wait_for};
use std::ffi::{c_char, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

/// In the ring; nobody has started it, and it can be cancelled.
pub const TASKRING_PENDING: u32 = 1;
/// A worker runs it.
pub const TASKRING_RUNNING: u32 = 2;
/// It was cancelled before it started, or killed by taskring_cancel_hard.
pub const TASKRING_STATE_CANCELLED: u32 = 3;
/// It is over: a result, an error, or a verdict.
pub const TASKRING_DONE: u32 = 4;

/// Return when any task is over.
pub const TASKRING_FIRST_COMPLETED: u32 = 0;
/// Return when any task has failed (a cancelled one has not); if none does, when all are over.
pub const TASKRING_FIRST_EXCEPTION: u32 = 1;
/// Return when all tasks are over.
pub const TASKRING_ALL_COMPLETED: u32 = 2;

/// The future of a ticket, for the length of one call. It is not dropped as a future is, for that would release the ticket; only an outcome that it
/// took, and nobody took over, goes with it.
pub(super) struct Borrowed(ManuallyDrop<Core>);

impl std::ops::Deref for Borrowed {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.0
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        drop(self.0.take_outcome());
    }
}

/// The pool and the task that a ticket names.
///
/// # Safety
/// As `executor`.
#[inline]
unsafe fn asked<'a>(pool: *mut taskring_pool, ticket: u64) -> Result<(&'a Arc<Pool>, Ticket), Fault> {
    // SAFETY: as this function's contract says.
    let pool = unsafe { executor(pool) }?.pool();
    pool.member.check_fork()?;
    let asked = ticket_of_number(ticket);
    let (lane, slot) = pool.segment().geometry().split(asked.slot);
    if ticket >> 32 == 0 || lane != pool.lane && pool.own_lanes().all(|own| own != lane) || slot >= pool.capacity() {
        return Err(no_ticket(ticket));
    }
    Ok((pool, asked))
}

#[cold]
fn no_ticket(ticket: u64) -> Fault {
    Error::invalid("ticket", format!("{ticket:#x}"), "one that a submit to this pool gave").into()
}

/// The future of a ticket.
///
/// # Safety
/// As `executor`.
unsafe fn future(pool: *mut taskring_pool, ticket: u64) -> Result<Borrowed, Fault> {
    // SAFETY: as this function's contract says.
    let (pool, asked) = unsafe { asked(pool, ticket) }?;
    // SAFETY: a second owner of the pool for the length of this call. It is never dropped, and the handle keeps the first one alive.
    let pool = unsafe { std::ptr::read(pool) };
    let core = Core::new(pool, asked);
    Ok(Borrowed(ManuallyDrop::new(core)))
}

/// The same, when the ticket is good. One that was never given out must not be waited for: its slot may hold no task at all.
///
/// # Safety
/// As `executor`.
pub(super) unsafe fn live(pool: *mut taskring_pool, ticket: u64) -> Result<Borrowed, Fault> {
    // SAFETY: as this function's contract says.
    let core = unsafe { future(pool, ticket) }?;
    // Of the task submitted last it is known, and a look would take its line from its worker.
    if !core.pool.is_newest(core.ticket) {
        core.known_state().ok_or(Error::Stale)?;
    }
    Ok(core)
}

/// Tells what a task is doing just now.
///
/// Returns TASKRING_OK and writes `*state` (TASKRING_PENDING and so on); TASKRING_STALE when the ticket was used up; TASKRING_INVALID_ARGUMENT,
/// TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `state` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_state(pool: *mut taskring_pool, ticket: u64, state: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { future(pool, ticket) }?;
        if state.is_null() {
            return Err(null("state"));
        }
        let found = match core.known_state().ok_or(Error::Stale)? {
            State::Pending => TASKRING_PENDING,
            State::Running => TASKRING_RUNNING,
            State::Cancelled => TASKRING_STATE_CANCELLED,
            State::Done => TASKRING_DONE,
        };
        // SAFETY: as this function's contract says.
        unsafe { put(state, found) };
        Ok(())
    })
}

/// Cancels a task that no worker has started; a running one is asked to stop, and goes on until it looks. `cancelled` may be NULL; it becomes 1
/// when the task will never run, else 0. The ticket stays good.
///
/// Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `cancelled` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_cancel(pool: *mut taskring_pool, ticket: u64, cancelled: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { future(pool, ticket) }?;
        core.known_state().ok_or(Error::Stale)?;
        let never = core.pool.cancel(core.ticket) || core.known_state() == Some(State::Cancelled);
        // SAFETY: as this function's contract says.
        unsafe { put(cancelled, u32::from(never)) };
        Ok(())
    })
}

/// Cancels a task, whatever it is doing: one that no worker has started as taskring_cancel does; of a running one the worker process is killed, by SIGKILL,
/// and the owner starts another in place of one that it had started. All other tasks go on, but for those that run on top of this one, or below it, in the
/// same worker. `cancelled` may be NULL; it becomes 1 when the task ends as cancelled, which a running one does a moment later and is not run again, and 0
/// when it had ended before. The ticket stays good. What the process does for other pools, such as one that it owns, ends with it.
///
/// Returns TASKRING_OK; when nothing was changed TASKRING_UNSUPPORTED (a running task whose worker is a thread, this process, or one that does something
/// else in the pool as well; a running promise) or TASKRING_SYSTEM (its worker cannot be sent a signal); TASKRING_STALE, TASKRING_INVALID_ARGUMENT,
/// TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `cancelled` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_cancel_hard(
    pool: *mut taskring_pool,
    ticket: u64,
    cancelled: *mut u32,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        core.known_state().ok_or(Error::Stale)?;
        let ends = core.pool.cancel_hard(core.ticket)? || core.known_state() == Some(State::Cancelled);
        // SAFETY: as this function's contract says.
        unsafe { put(cancelled, u32::from(ends)) };
        Ok(())
    })
}

/// Waits until a task is over, and takes nothing: its result can be had without waiting then.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_wait(pool: *mut taskring_pool, ticket: u64, timeout_ns: u64) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        core.wait_over(timeout(timeout_ns))?;
        // Gone meanwhile: another thread has used it up.
        core.known_state().map(|_| ()).ok_or(Error::Stale.into())
    })
}

/// Waits for a task and takes its result: copies it into `buffer`, which may be NULL when `capacity` is 0, and uses the ticket up. `len` may
/// be NULL; it becomes the length of the result.
///
/// Returns TASKRING_OK. The task's own end, which uses the ticket up as well: TASKRING_CANCELLED, TASKRING_TASK_FAILED, TASKRING_PANICKED, TASKRING_ENCODE,
/// TASKRING_WORKER_LOST, TASKRING_TIME_LIMIT, TASKRING_NO_WORKER, TASKRING_BROKEN, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY. The ticket
/// stays good after TASKRING_BUFFER_TOO_SMALL (`*len` is what is needed) and TASKRING_TIMED_OUT, and after a wait in a task that was refused
/// (TASKRING_WOULD_DEADLOCK, TASKRING_TOO_MANY, TASKRING_UNSUPPORTED). TASKRING_STALE; TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
/// TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `buffer` is valid for writes of `capacity` bytes; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_result(
    pool: *mut taskring_pool,
    ticket: u64,
    timeout_ns: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        if unsafe { take_short(pool, ticket, buffer, capacity, len) }? {
            return Ok(());
        }
        // SAFETY: as this function's contract says.
        let mut core = unsafe { live(pool, ticket) }?;
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        if let Fit::TooLarge(needed) = core.wait_fitting(timeout(timeout_ns), capacity)? {
            return Err(buffer.too_small(needed));
        }
        match core.0.take_outcome().ok_or(Error::Stale)? {
            Outcome::Error(e) => Err((*e).into()),
            Outcome::Value(bytes) => buffer.fill(&bytes),
        }
    })
}

/// Takes the result of a task when it is there already and has a few bytes; otherwise false, and everything is as it was.
///
/// # Safety
/// As `taskring_result`.
#[inline]
unsafe fn take_short(
    pool: *mut taskring_pool,
    ticket: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> Result<bool, Fault> {
    // SAFETY: as this function's contract says.
    let (pool, asked) = unsafe { asked(pool, ticket) }?;
    // Of the task submitted last: see `live`.
    if buffer.is_null() || pool.is_newest(asked) {
        return Ok(false);
    }
    let mut is_taken = false;
    pool.take_if_short(asked, capacity, |bytes| {
        // SAFETY: no more than `capacity` bytes; the buffer is the caller's and cannot overlap with ours. As this function's contract says.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>(), bytes.len());
            put(len, bytes.len());
        }
        is_taken = true;
    });
    if is_taken {
        // As in `Core::wait_fitting`.
        pool.prefetch(asked, 2);
    }
    Ok(is_taken)
}

/// Waits for a task and tells how it ended, and takes nothing: `*outcome` becomes what taskring_result would return, TASKRING_OK for a result. When
/// it is anything else, taskring_last_error has its text and taskring_last_loss what it has then.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `outcome` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_outcome(
    pool: *mut taskring_pool,
    ticket: u64,
    timeout_ns: u64,
    outcome: *mut taskring_status,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        if outcome.is_null() {
            return Err(null("outcome"));
        }
        core.wait_over(timeout(timeout_ns))?;
        let error = core.pool.look(core.ticket, Reading::InPlace, |it| match it {
            Outcome::Value(_) => None,
            Outcome::Error(e) => Some((**e).clone()),
        });
        let found = error.ok_or(Error::Stale)?.map_or(taskring_status::TASKRING_OK, |e| remember(e.into()));
        // SAFETY: as this function's contract says.
        unsafe { put(outcome, found) };
        Ok(())
    })
}

/// Waits for a task and lends its result, without a copy when it is a large one: `*data` points to `*len` bytes that may be read until the ticket
/// is used up (taskring_release, taskring_result) or the pool freed. They are aligned to 16 bytes. May be called again.
///
/// Returns TASKRING_OK; the task's own end and the others as taskring_result.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `data` and `len` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_view(
    pool: *mut taskring_pool,
    ticket: u64,
    timeout_ns: u64,
    data: *mut *const c_void,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        if data.is_null() || len.is_null() {
            return Err(null(if data.is_null() { "data" } else { "len" }));
        }
        core.wait_over(timeout(timeout_ns))?;
        let found = core.pool.look(core.ticket, Reading::InPlace, |it| match it {
            Outcome::Value(bytes) => {
                let bytes = bytes.pin();
                Some((bytes.as_ptr(), bytes.len()))
            }
            Outcome::Error(_) => None,
        });
        let Some((at, length)) = found.ok_or(Error::Stale)? else {
            // Its end is an error, and this call uses the ticket up as `taskring_result` does.
            let mut core = core;
            core.wait(Some(Duration::ZERO))?;
            return match core.0.take_outcome() {
                Some(Outcome::Error(e)) => Err((*e).into()),
                _ => Err(Error::Stale.into()),
            };
        };
        // SAFETY: as this function's contract says.
        unsafe {
            put(data, at.cast());
            put(len, length);
        }
        Ok(())
    })
}

/// Waits for a task and copies its result as taskring_result does, and takes nothing: it may be called again, in several threads, and in a callback.
///
/// Returns as taskring_result; the ticket stays good in every case.
///
/// # Safety
/// As `taskring_result`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_peek(
    pool: *mut taskring_pool,
    ticket: u64,
    timeout_ns: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        core.wait_over(timeout(timeout_ns))?;
        // Pinned, it is shared and not copied under the lock; and it stays although another thread uses the ticket up.
        let found = core.pool.look(core.ticket, Reading::InPlace, |it| match it {
            Outcome::Value(bytes) => {
                bytes.pin();
                Ok(bytes.clone())
            }
            Outcome::Error(e) => Err((**e).clone()),
        });
        buffer.fill(&found.ok_or(Error::Stale)??)
    })
}

/// Says in words what a ticket stands for: its number, what the task is doing, in which process it runs, how it ended. For people; the words may
/// change. `buffer` gets as much as fits and always ends with a zero byte; it may be NULL when `capacity` is 0. `len` may be NULL; it becomes the
/// length of the whole text. Takes nothing.
///
/// Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `buffer` is NULL or valid for writes of `capacity` bytes; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_describe(
    pool: *mut taskring_pool,
    ticket: u64,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { future(pool, ticket) }?;
        if buffer.is_null() && capacity != 0 {
            return Err(null("buffer"));
        }
        let text = format!("task {ticket:#x} {}", description(&core)?).replace('\0', "\u{fffd}");
        // SAFETY: as this function's contract says.
        unsafe { put(len, text.len()) };
        if capacity != 0 {
            let fits = text.floor_char_boundary(text.len().min(capacity - 1));
            // SAFETY: `fits` is below `capacity`, for which the buffer has room; it is the caller's and cannot overlap with ours.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), fits);
                buffer.add(fits).write(0);
            }
        }
        Ok(())
    })
}

/// What a task is doing, or how it ended.
fn description(core: &Core) -> Result<String, Fault> {
    Ok(match core.known_state().ok_or(Error::Stale)? {
        State::Pending => "pending".to_owned(),
        State::Cancelled => "cancelled".to_owned(),
        State::Running => core.running_in().map_or_else(|| "running".to_owned(), |pid| format!("running in process {pid}")),
        State::Done => {
            let found = core.pool.look(core.ticket, Reading::InPlace, |it| match it {
                Outcome::Value(bytes) => format!("done, with a result of {} bytes", bytes.len()),
                Outcome::Error(e) => format!("done, without a result: {e}"),
            });
            found.ok_or(Error::Stale)?
        }
    })
}

/// Lets a task go: it runs, and its result is dropped. The ticket is used up; other threads that wait for its task alone, or for its events, are told.
///
/// Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_release(pool: *mut taskring_pool, ticket: u64) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { future(pool, ticket) }?;
        core.known_state().ok_or(Error::Stale)?;
        core.release()?;
        core.pool.tell_of_release(core.ticket);
        Ok(())
    })
}

/// The process that runs a task just now.
///
/// Returns TASKRING_OK and writes `*pid`; TASKRING_NOT_FOUND when no worker runs it; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `pid` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_worker_pid(pool: *mut taskring_pool, ticket: u64, pid: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { future(pool, ticket) }?;
        if pid.is_null() {
            return Err(null("pid"));
        }
        core.known_state().ok_or(Error::Stale)?;
        let found = core.running_in().ok_or(Fault::Absent { what: "worker that runs the task" })?;
        // SAFETY: as this function's contract says.
        unsafe { put(pid, found) };
        Ok(())
    })
}

/// A ticket and the pool that gave it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_future {
    /// The pool.
    pub pool: *mut taskring_pool,
    /// The ticket.
    pub ticket: u64,
}

/// Waits for several tasks, of one pool or of several, until `when` (TASKRING_FIRST_COMPLETED and so on) holds. `over` has room for `count`
/// bytes: each becomes 1 when its task is over, else 0. `over_count` may be NULL. Takes nothing. Of no futures it returns at once.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT, with `over` and `over_count` written; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
/// TASKRING_FORKED.
///
/// # Safety
/// `futures` is NULL or points to `count` futures with NULL or handles of this library; `over` is NULL or valid for `count` writes; `over_count` is
/// NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_wait_many(
    futures: *const taskring_future,
    count: usize,
    when: u32,
    timeout_ns: u64,
    over: *mut u8,
    over_count: *mut usize,
) -> taskring_status {
    guard(|| {
        if count == 0 {
            // Nothing to wait for is over, whatever `when` is.
            // SAFETY: as this function's contract says.
            unsafe { put(over_count, 0) };
            return Ok(());
        }
        if futures.is_null() || over.is_null() {
            return Err(null(if futures.is_null() { "futures" } else { "over" }));
        }
        let when = match when {
            TASKRING_FIRST_COMPLETED => When::FirstCompleted,
            TASKRING_FIRST_EXCEPTION => When::FirstException,
            TASKRING_ALL_COMPLETED => When::AllCompleted,
            other => return Err(Error::invalid("when", other, "TASKRING_FIRST_COMPLETED to TASKRING_ALL_COMPLETED").into()),
        };
        let mut cores = Vec::new();
        for i in 0..count {
            // SAFETY: `i` is below `count`; the rest as this function's contract says.
            let core = unsafe { future((*futures.add(i)).pool, (*futures.add(i)).ticket) }?;
            core.known_state().ok_or(Error::Stale)?;
            cores.push(core);
        }
        let cores: Vec<&Core> = cores.iter().map(|core| &**core).collect();
        let enough = wait_for(&cores, timeout(timeout_ns), when)?;
        let mut found = 0;
        for (i, core) in cores.iter().enumerate() {
            let is_over = core.is_over();
            found += usize::from(is_over);
            // SAFETY: `i` is below `count`, and `over` has room for that many.
            unsafe { over.add(i).write(u8::from(is_over)) };
        }
        // SAFETY: as this function's contract says.
        unsafe { put(over_count, found) };
        let after = Duration::from_nanos(timeout_ns);
        if enough { Ok(()) } else { Err(Error::TimedOut { what: "futures to complete", after }.into()) }
    })
}
