//! Steering a pool that runs: how many workers it has, a pause, and the cancelling of all that is pending.

use super::pool::{executor, taskring_pool};
use super::status::taskring_status;
use super::{guard, null, put};

/// From now on the pool has so many workers, 1 to 192. More are started at once, those beyond taskring_config's min_workers when they are needed. When there
/// are to be fewer, those with the highest numbers leave after the task that they are running, and this does not wait for them. Nothing is lost but what waits
/// for one of them alone (taskring_submit_to): that ends with TASKRING_NO_WORKER after the start time-out. Workers that came by the pool's name stay. From any
/// thread of the owner.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a number out of range; TASKRING_UNSUPPORTED for an attached pool, and in one whose workers others
/// start; TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_resize(pool: *mut taskring_pool, workers: u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.resize(workers as usize)?)
    })
}

/// From now on no worker starts a task, until taskring_resume. What runs goes on to its end; a task that waits for a pending one of its pool still runs
/// that one. Tasks can be submitted, cancelled and waited for. When this returns, every worker runs a task that it had begun, or rests.
/// A pause ends with the pool: taskring_shutdown, taskring_free and the end of the program run what is pending as ever, unless it is cancelled. From any
/// thread of the owner; a second pause changes nothing.
///
/// Returns TASKRING_OK; TASKRING_UNSUPPORTED for an attached pool; TASKRING_STALLED when a worker that runs no task does not answer for 5 seconds, as a
/// stopped one: the pool is paused, but that one may start one more task; TASKRING_SHUT_DOWN, TASKRING_BROKEN, TASKRING_CORRUPT, TASKRING_FORKED,
/// TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_pause(pool: *mut taskring_pool) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.pause()?)
    })
}

/// Ends a pause: workers start tasks again. Without one it changes nothing.
///
/// Returns TASKRING_OK; TASKRING_UNSUPPORTED for an attached pool; TASKRING_FORKED; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_resume(pool: *mut taskring_pool) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?;
        Ok(pool.resume()?)
    })
}

/// Whether the pool is paused: writes 1 or 0. Any submitter may ask.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `paused` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_is_paused(pool: *mut taskring_pool, paused: *mut u32) -> taskring_status {
    guard(|| {
        if paused.is_null() {
            return Err(null("paused"));
        }
        // SAFETY: as this function's contract says.
        unsafe { put(paused, u32::from(executor(pool)?.is_paused())) };
        Ok(())
    })
}

/// Cancels everything that is pending, and writes how many tasks that were: of the owner the tasks of all submitters, of an attached pool its own. Whoever
/// waits for such a task is told at once. What runs goes on, and the pool takes new tasks. `cancelled` may be NULL. From any thread; a task that is
/// submitted meanwhile may be cancelled or not.
///
/// Returns TASKRING_OK; TASKRING_UNSUPPORTED for the pool of the promises; TASKRING_FORKED; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `cancelled` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_purge(pool: *mut taskring_pool, cancelled: *mut u64) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let count = unsafe { executor(pool) }?.purge()?;
        // SAFETY: NULL or valid for a write by this function's contract.
        unsafe { put(cancelled, count as u64) };
        Ok(())
    })
}
