//! Progress: what a running task tells, and its submitter reads.

use super::future::live;
use super::pool::taskring_pool;
use super::status::{Fault, taskring_status};
use super::{Buffer, bytes, guard, put};
use crate::progress::{self, Progress, Told};
use std::ffi::c_void;

/// Tells whoever has submitted the task that this thread runs how far it has come, in any unit; a `total` of 0 says that it is not known. It waits for
/// nobody.
///
/// Returns TASKRING_OK; TASKRING_UNSUPPORTED outside a task; TASKRING_FORKED in a process that the task has forked; TASKRING_OUT_OF_MEMORY and
/// TASKRING_SYSTEM when the first report in a lane finds no memory.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_report_progress(done: u64, total: u64) -> taskring_status {
    guard(|| Ok(progress::progress(done, total)?))
}

/// Tells whoever has submitted the task that this thread runs up to 64 bytes, which are copied. They stand beside what taskring_report_progress tells.
///
/// Returns TASKRING_OK; TASKRING_PAYLOAD_TOO_LARGE; TASKRING_INVALID_ARGUMENT; and as taskring_report_progress.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_report(data: *const c_void, len: usize) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let data = unsafe { bytes("data", data, len) }?;
        Ok(progress::report_bytes(data)?)
    })
}

/// What a task has told.
///
/// # Safety
/// As `taskring_progress`.
unsafe fn told(pool: *mut taskring_pool, ticket: u64) -> Result<Told, Fault> {
    // SAFETY: as this function's contract says.
    let core = unsafe { live(pool, ticket) }?;
    core.pool.member.check_fork()?;
    core.told().ok_or_else(nothing)
}

fn nothing() -> Fault {
    Fault::Absent { what: "report of the task" }
}

/// How far a task has said last that it has come, also when it is over or its worker was killed. `done` and `total` may be NULL.
///
/// Returns TASKRING_OK; TASKRING_NOT_FOUND when it has said nothing; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `done` and `total` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_progress(
    pool: *mut taskring_pool,
    ticket: u64,
    done: *mut u64,
    total: *mut u64,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let found = unsafe { told(pool, ticket) }?.progress.ok_or_else(nothing)?;
        let Progress { done: is_done, total: of } = found;
        // SAFETY: as this function's contract says.
        unsafe {
            put(done, is_done);
            put(total, of);
        }
        Ok(())
    })
}

/// The bytes that a task has told last, by taskring_report, also when it is over or its worker was killed: copied into `buffer`, which may be NULL when
/// `capacity` is 0. `len` may be NULL; it becomes their number, at most 64.
///
/// Returns TASKRING_OK; TASKRING_NOT_FOUND when it has told none; TASKRING_BUFFER_TOO_SMALL; TASKRING_STALE, TASKRING_INVALID_ARGUMENT,
/// TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `buffer` is valid for writes of `capacity` bytes; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_reported(
    pool: *mut taskring_pool,
    ticket: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        // SAFETY: as this function's contract says.
        let told = unsafe { told(pool, ticket) }?;
        buffer.fill(told.value().ok_or_else(nothing)?)
    })
}
