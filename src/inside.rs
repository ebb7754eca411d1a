//! What a task can do with the pool that runs it.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::nested;
use crate::pool::Pool;
use crate::sync::Ordering::Relaxed;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    static POOL: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// How long a worker that leaves waits for callbacks that its tasks have asked for.
const LAST_CALLBACKS: Duration = Duration::from_secs(1);

/// The pool that runs this task, to submit to: its worker takes part as a submitter of its own from the first call on. Dropping the value ends nothing and waits
/// for nothing; whoever is interested in a task waits for its future.
///
/// A task that waits without a time limit for one of its own pool (by a future's `result`, [`wait`](crate::wait), [`as_completed`](crate::as_completed), a map, or a submit to
/// a full ring) runs it on top of itself when nobody has started it, so one worker is enough for tasks that wait for tasks. Up to 64 of them lie on
/// each other; one more is [`Error::TooMany`]. A wait that could never end is [`Error::WouldDeadlock`]: one of those in a circle is told, of
/// threads of one process or of workers that wait for tasks for each other ([`submit_to`](Executor::submit_to)); and so is who waits for room in a ring that is full of tasks below it. A wait with a time limit keeps to its
/// limit, and helps nobody; nor does `.await`, or a wait for what a callback does: with one worker such a wait may never end. The task on top runs in the
/// middle of the one that waits, in the same thread: do not wait while you hold a lock or a borrow that it needs.
/// In a task that has its worker's context ([`InterpreterPool`](crate::InterpreterPool)) a wait for one that takes a context is [`Error::Unsupported`]. After
/// each of these refusals what was waited for goes on.
///
/// A worker that leaves does not wait for tasks that its tasks have submitted; the callbacks of such that are not over then are not called. Each
/// worker whose tasks ask takes a second place among the pool's 256 participants.
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn fibonacci(n: u64) -> Result<u64, taskring::TaskError> {
///         if n < 2 {
///             return Ok(n);
///         }
///         let pool = taskring::current_pool()?;
///         let (a, b) = (pool.submit(fibonacci, n - 1)?, pool.submit(fibonacci, n - 2)?);
///         Ok(a.result()? + b.result()?)
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(1).build()?;
///     assert_eq!(pool.submit(fibonacci, 10)?.result()?, 55);
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`Error::Unsupported`] outside a task; [`Error::TooMany`] when the pool has as many participants as it can; [`Error::OutOfMemory`],
/// [`Error::Stalled`] and [`Error::System`] as for whoever attaches.
pub fn current_pool() -> Result<Executor> {
    let Some(segment) = nested::segment_of_task() else {
        return Err(Error::Unsupported { what: "to ask for the pool of a task", with: "outside a task" });
    };
    let is_good = |e: &&Executor| !e.pool().shut.load(Relaxed) && std::ptr::eq(e.pool().segment(), &raw const *segment);
    let kept = |executor: &Option<Executor>| executor.as_ref().filter(is_good).map(Executor::another);
    if let Some(executor) = POOL.with_borrow(kept) {
        return Ok(executor);
    }
    let executor = Executor::from_parts(Arc::new(Pool::join_for_tasks(segment)?), None);
    match POOL.replace(Some(executor.another())) {
        None => nested::at_leave(leave),
        Some(before) => before.pool().end_notifier(Some(LAST_CALLBACKS)),
    }
    Ok(executor)
}

/// A worker that leaves does not wait for what its tasks have submitted: that runs elsewhere, or nowhere any more.
fn leave() {
    if let Some(executor) = POOL.take() {
        executor.pool().shut.store(true, Relaxed);
        executor.pool().end_notifier(Some(LAST_CALLBACKS));
    }
}
