//! Task sets: tasks that are stopped in one call.

use super::handle::{self, Kind};
use super::pool::{executor, taskring_pool};
use super::status::{Fault, taskring_status};
use super::{guard, null, put};
use crate::task_set::TaskSet;

/// A task set. Any thread may use it; free it once, with taskring_set_free.
pub struct taskring_set {
    _opaque: [u8; 0],
}

impl Kind for TaskSet {
    const KIND: u8 = 0x53;
    const NAME: &'static str = "set";
}

/// What became of a set's tasks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct taskring_discarded {
    /// Cancelled: they never ran and never will.
    pub cancelled: u64,
    /// Still running: they end by themselves.
    pub running: u64,
    /// Over before.
    pub done: u64,
}

/// Makes a task set: name it in the options of a submit.
///
/// Returns TASKRING_OK and writes `*set`; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `set` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_set_new(pool: *mut taskring_pool, set: *mut *mut taskring_set) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        if set.is_null() {
            return Err(null("set"));
        }
        let new = handle::new(pool.task_set()?)?;
        // SAFETY: valid for a write by this function's contract.
        unsafe { put(set, new) };
        Ok(())
    })
}

/// Stops a set: no task of it starts any more once this has returned, those that were pending are cancelled, and the pool goes on with
/// other tasks. `discarded` may be NULL. Called again, it tells what is still running.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `set` is NULL or a handle of this library; `discarded` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_set_discard(
    set: *mut taskring_set,
    discarded: *mut taskring_discarded,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let counts = unsafe { task_set(set) }?.discard()?;
        let (cancelled, running, done) = (counts.cancelled as u64, counts.running as u64, counts.done as u64);
        // SAFETY: as this function's contract says.
        unsafe { put(discarded, taskring_discarded { cancelled, running, done }) };
        Ok(())
    })
}

/// Ends a handle; the set's tasks go on. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `set` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_set_free(set: *mut taskring_set) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { handle::take::<TaskSet, _>(set).map(drop) })
}

/// # Safety
/// `set` is NULL or a handle of this library that is not freed meanwhile.
pub(super) unsafe fn task_set<'a>(set: *const taskring_set) -> Result<&'a TaskSet, Fault> {
    // SAFETY: as this function's contract says.
    unsafe { handle::get(set) }
}
