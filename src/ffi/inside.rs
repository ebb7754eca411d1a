//! The pool as its tasks see it.

use super::guard;
use super::pool::{make, taskring_pool};
use super::status::taskring_status;

/// The pool that runs this task, to submit to: its worker takes part as a submitter of its own from the first call on. The handle is the
/// caller's, and taskring_free ends it without ending anything else; release the tickets before, for with it they are out of reach.
///
/// A task that waits with TASKRING_INFINITE for one of its own pool runs it on top of itself when nobody has started it, so one worker is
/// enough for tasks that wait for tasks. Up to 64 of them lie on each other; one more is TASKRING_TOO_MANY. A wait that could never end, for
/// threads of one pool wait for each other in a circle, is TASKRING_WOULD_DEADLOCK for the last of them. A task that has its worker's context
/// (taskring_register_in_context) waits for none that takes one: that is TASKRING_UNSUPPORTED. A wait with a time limit keeps to its limit,
/// and helps nobody.
///
/// Returns TASKRING_OK and writes `*pool`; TASKRING_UNSUPPORTED outside a task; TASKRING_TOO_MANY; TASKRING_INVALID_ARGUMENT;
/// TASKRING_OUT_OF_MEMORY, TASKRING_STALLED, TASKRING_SYSTEM.
///
/// # Safety
/// `pool` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_current_pool(pool: *mut *mut taskring_pool) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { make(pool, || Ok(crate::inside::current_pool()?)) })
}
