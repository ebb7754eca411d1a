//! Done-callbacks, and how a task's outcome comes to them as well as to its future.
//!
//! An outcome is taken out of its slot once. A callback may not take it from the future, nor wait for its owner to ask: so with the first callback the task is
//! marked as taken before its end, and whoever finds it finished (the notifier, who asks the future, who needs the slot) puts the outcome into two tables:
//! one for the future, one for the callbacks. `collect.rs` has that part. The mark is what a finished task is asked for in any case, so a task
//! without callbacks pays nothing.

use crate::error::{Error, Result};
use crate::future::{Core, Future};
use crate::notifier::Duty;
use crate::outcome::{Kind, Outcome};
use crate::pool::{Pool, Ticket, lock};
use crate::state::Flag;
use std::sync::Arc;

/// The outcome of a task with callbacks.
pub(crate) struct Shared {
    /// Once it was taken out of its slot.
    pub(crate) outcome: Option<Outcome>,
    /// The future, which has a claim of its own, is not dropped.
    pub(crate) has_future: bool,
    /// Callbacks that have not returned.
    calls: usize,
}

/// One callback's part in it.
struct Part {
    pool: Arc<Pool>,
    ticket: Ticket,
}

impl<R: 'static> Future<R> {
    /// Has `callback` called once when the task is over, however it ends: with a result, an error, a verdict, or cancelled. It is called in a thread of the
    /// library (one for each pool, started with the first callback), in the order in which the tasks end and the callbacks of one were added; when the task is
    /// over already, in this thread before this returns. Never in a worker, in who cancels, or under a lock.
    ///
    /// The callback gets a future of the task whose result can be had at once, and takes nothing from this one. It may use everything: ask for results, cancel,
    /// submit (also when the ring is full), add callbacks, shut the pool down. One that panics is logged, and the others are called. Dropping this future lets
    /// the task go; its callbacks are called all the same. Dropping the executor waits for them, unless it was shut down without waiting.
    ///
    /// A callback should be short, and hand longer work on: to a task, or to a thread of its own. Later callbacks of the pool wait for a slow one, and so does
    /// the pool's end; no worker, no wait and no result does.
    ///
    /// Python's `Future.cancel` calls the callbacks in the cancelling thread, and a pool of threads in the worker; here it is always the library's thread.
    ///
    /// # Errors
    /// [`Error::System`] when the thread cannot be started; [`Error::Forked`]. The callback is not called then.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use std::sync::mpsc;
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     let (sender, receiver) = mpsc::channel();
    ///     for x in 1..4 {
    ///         let sender = sender.clone();
    ///         // The future is dropped, and its callback called all the same.
    ///         pool.submit(square, x)?.on_done(move |future| sender.send(future.result()).unwrap())?;
    ///     }
    ///     let mut squares: Vec<u64> = receiver.iter().take(3).collect::<Result<_, _>>()?;
    ///     squares.sort();
    ///     assert_eq!(squares, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(&Future<R>) + Send + 'static) -> Result<()> {
        let core = self.core();
        let (pool, ticket) = (&core.pool, core.ticket);
        pool.member.check_fork()?;
        let mut callback = Some(callback);
        if !core.is_over() {
            pool.with_notifier(Duty::Calls, || {
                // Without a part in it, another thread of ours collects the outcome just now: the task is over.
                let Some(part) = Part::of(core) else { return };
                if let Some(callback) = callback.take() {
                    pool.hub.watch_to_call(pool, ticket, Box::new(move || part.call(callback)));
                }
            })?;
        }
        if let Some(callback) = callback {
            call(self, callback);
        }
        Ok(())
    }
}

/// A callback that panics is its own matter.
fn call<R>(future: &Future<R>, callback: impl FnOnce(&Future<R>)) {
    if let Err(panic) = crate::task::guarded(|| callback(future)) {
        let text =
            crate::outcome::item_result(Kind::Panicked as u8, &panic).map_or_else(|e| e.to_string(), |_| String::new());
        log::error!(target: "taskring", "a done-callback of {:#x}: {text}", future.id());
    }
}

impl Part {
    fn of(core: &Core) -> Option<Part> {
        let (pool, ticket) = (core.pool.clone(), core.ticket);
        {
            let mut all = lock(&pool.collected.shared);
            match all.get_mut(&ticket) {
                Some(shared) => shared.calls += 1,
                // Under the lock: whoever finds the task marked finds the entry.
                None if pool.mark_early(ticket) => {
                    drop(all.insert(ticket, Shared { outcome: None, has_future: true, calls: 1 }));
                }
                None => return None,
            }
        }
        Some(Part { pool, ticket })
    }

    fn call<R>(self, callback: impl FnOnce(&Future<R>)) {
        let outcome = self.pool.look_at_shared(self.ticket);
        let outcome = outcome.unwrap_or_else(|| Outcome::error(self.pool.segment().corrupt().unwrap_or(Error::Stale)));
        let future = Future::ended(self.pool.clone(), self.ticket, outcome);
        call(&future, callback);
        future.end_lent();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.pool.member.is_foreign() {
            // Of a callback that forked: another thread of the parent may have held the lock.
            return;
        }
        let mut all = lock(&self.pool.collected.shared);
        let Some(shared) = all.get_mut(&self.ticket) else { return };
        shared.calls -= 1;
        if shared.calls == 0 {
            let shared = all.remove(&self.ticket);
            drop(all);
            drop(shared);
        }
    }
}

impl Pool {
    /// Leaves a task whose future is dropped to its callbacks. False when it has none.
    #[inline]
    pub(crate) fn leave_to_calls(&self, ticket: Ticket) -> bool {
        self.is_marked(ticket) && self.leave_marked_to_calls(ticket)
    }

    #[cold]
    fn leave_marked_to_calls(&self, ticket: Ticket) -> bool {
        let mut harvested = lock(&self.collected.harvested);
        let found = lock(&self.collected.shared).get_mut(&ticket).map(|shared| shared.has_future = false).is_some();
        let outcome = if found { harvested.remove(&ticket) } else { None };
        drop(harvested);
        if found {
            // What the task sends from now on goes nowhere, instead of waiting for a reader. One that is over sends nothing.
            let _ = self.slot(ticket).flag(ticket.generation, Flag::Unread);
        }
        drop(outcome);
        found
    }
}
