//! Promises: futures that the program completes itself.

use super::future::taskring_future;
use super::handle::{self, Kind};
use super::pool::taskring_pool;
use super::status::{Fault, taskring_status};
use super::submit::ticket_number;
use super::{bytes, guard, null, put};
use crate::executor::Executor;
use crate::outcome::Kind as OutcomeKind;
use crate::promise::Maker;
use std::ffi::{CStr, c_char, c_void};

/// A future's other end. Any thread may use it; free it once, with taskring_promise_free.
pub struct taskring_promise {
    _opaque: [u8; 0],
}

impl Kind for Maker {
    const KIND: u8 = 0x59;
    const NAME: &'static str = "promise";
}

/// # Safety
/// `promise` is NULL or a handle of this library that is not freed meanwhile.
unsafe fn maker<'a>(promise: *const taskring_promise) -> Result<&'a Maker, Fault> {
    // SAFETY: as this function's contract says.
    unsafe { handle::get(promise) }
}

/// Makes a promise, pending, and its future: a ticket and the pool of all promises of this process, for taskring_result, taskring_wait_many,
/// taskring_cancel and all others that take a ticket. Use the ticket up as that of a task. That pool takes no tasks, and is neither shut down nor freed; a
/// normal end of the process waits for the callbacks of promises that are over, and not for others.
///
/// Returns TASKRING_OK and writes `*promise` and `*future`; TASKRING_FULL when 16384 promises are unfinished; TASKRING_INVALID_ARGUMENT,
/// TASKRING_TOO_MANY, TASKRING_OUT_OF_MEMORY, TASKRING_SYSTEM.
///
/// # Safety
/// `promise` and `future` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_new(
    promise: *mut *mut taskring_promise,
    future: *mut taskring_future,
) -> taskring_status {
    guard(|| {
        if promise.is_null() || future.is_null() {
            return Err(null(if promise.is_null() { "promise" } else { "future" }));
        }
        let maker = Maker::new()?;
        let pool = pool_of(&maker)?;
        let ticket = ticket_number(maker.ticket);
        let new = handle::new(maker)?;
        // SAFETY: valid for writes by this function's contract.
        unsafe {
            put(future, taskring_future { pool, ticket });
            put(promise, new);
        }
        Ok(())
    })
}

/// The handle of the promises' pool: one for each process, which stays.
fn pool_of(maker: &Maker) -> Result<*mut taskring_pool, Fault> {
    let handle = maker.handle(|pool| {
        let new: Result<*mut taskring_pool, Fault> = handle::new(Executor::from_parts(pool.clone(), None));
        new.map(|handle| handle.addr())
    })?;
    Ok(std::ptr::without_provenance_mut(handle))
}

/// Says that the work begins. `running` may be NULL; it becomes 1, and the future can no longer be cancelled, or 0 when it was cancelled before: whoever
/// waits for it has heard of that already, so this may be left out, and called again.
///
/// Returns TASKRING_OK; TASKRING_INVALID_STATE when the promise was set running or completed before; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `promise` is NULL or a handle of this library; `running` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_set_running_or_notify_cancel(
    promise: *mut taskring_promise,
    running: *mut u32,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let started = unsafe { maker(promise) }?.start()?;
        // SAFETY: as this function's contract says.
        unsafe { put(running, u32::from(started)) };
        Ok(())
    })
}

/// Completes a promise that is pending or running with a copy of `len` bytes: what taskring_result gives. When the future is cancelled at the same
/// time, exactly one of the two succeeds.
///
/// Returns TASKRING_OK; TASKRING_INVALID_STATE when the future was cancelled, or the promise was completed before; TASKRING_PAYLOAD_TOO_LARGE,
/// TASKRING_OUT_OF_MEMORY, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED. Nothing was changed then.
///
/// # Safety
/// `promise` is NULL or a handle of this library; `data` is NULL or valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_set_result(
    promise: *mut taskring_promise,
    data: *const c_void,
    len: usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (maker, data) = unsafe { (maker(promise)?, bytes("data", data, len)?) };
        Ok(maker.complete(OutcomeKind::Value, data)?)
    })
}

/// Completes a promise that is pending or running with an error: taskring_result returns TASKRING_TASK_FAILED, and taskring_last_error has the message.
///
/// Returns as taskring_promise_set_result.
///
/// # Safety
/// `promise` is NULL or a handle of this library; `message` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_set_error(
    promise: *mut taskring_promise,
    message: *const c_char,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let maker = unsafe { maker(promise) }?;
        if message.is_null() {
            return Err(null("message"));
        }
        // SAFETY: not NULL, so a string by this function's contract.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
        Ok(maker.complete(OutcomeKind::Failed, message.as_bytes())?)
    })
}

/// Whether the future of a running promise was asked to cancel it: `*requested` becomes 1 or 0.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `promise` is NULL or a handle of this library; `requested` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_cancel_requested(
    promise: *mut taskring_promise,
    requested: *mut u32,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let maker = unsafe { maker(promise) }?;
        if requested.is_null() {
            return Err(null("requested"));
        }
        maker.pool.member.check_fork()?;
        // SAFETY: as this function's contract says.
        unsafe { put(requested, u32::from(maker.cancel_requested())) };
        Ok(())
    })
}

/// Ends a handle. The ticket stays good. A promise that was not completed ends its future: with TASKRING_CANCELLED while it is pending, and with
/// TASKRING_TASK_FAILED when it was set running. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `promise` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_promise_free(promise: *mut taskring_promise) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { handle::take::<Maker, _>(promise).map(drop) })
}
