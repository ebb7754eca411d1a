//! A task set: tasks that can be discarded in one call while the pool goes on.

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::executor::submit_to;
use crate::future::Future;
use crate::limits::SETS_MAX;
use crate::options::SubmitOptions;
use crate::pool::Pool;
use crate::set::SetRef;
use crate::submit::WhenFull;
use crate::sync::now_ns;
use crate::task::Task;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed},
};

/// How long `discard` waits for workers that have claimed a task of the set and not yet looked whether they may start it.
const UNDECIDED_NS_MAX: u64 = 10_000_000;

/// Tasks that belong together. Any thread may feed it while another discards it.
///
/// Dropping the set lets its tasks go on; [`discard`](TaskSet::discard) is what stops them.
pub struct TaskSet {
    shared: Arc<SetShared>,
    /// Tasks that this handle's sweeps cancelled.
    swept: AtomicUsize,
}

/// What options that name the set need to know.
pub(crate) struct SetShared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) set: SetRef,
    pub(crate) submitted: AtomicUsize,
}

impl std::fmt::Debug for SetShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskSet({:#x})", self.set.0)
    }
}

/// What [`TaskSet::discard`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Tasks that will never run. Whoever waits for them has been told.
    pub cancelled: usize,
    /// Tasks that were running; they go on to their end.
    pub running: usize,
    /// Tasks that were over before.
    pub done: usize,
}

impl TaskSet {
    pub(crate) fn new(pool: Arc<Pool>) -> Result<TaskSet> {
        pool.member.check_fork()?;
        let set =
            pool.segment().sets().open(pool.member.who()).ok_or(Error::TooMany { what: "task sets", max: SETS_MAX })?;
        let shared = Arc::new(SetShared { pool, set, submitted: AtomicUsize::new(0) });
        Ok(TaskSet { shared, swept: AtomicUsize::new(0) })
    }

    /// Submits a task of this set. Waits while the ring is full.
    ///
    /// # Errors
    /// [`Error::Discarded`], and those of [`Executor::submit`](crate::Executor::submit).
    pub fn submit<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<Future<R>> {
        self.submit_with(&SubmitOptions::new(), task, args)
    }

    /// The same with options; the set that they name does not count.
    ///
    /// # Errors
    /// [`Error::Discarded`], and those of [`Executor::submit_with`](crate::Executor::submit_with).
    pub fn submit_with<A: Payload, R: Payload>(
        &self,
        options: &SubmitOptions,
        task: Task<A, R>,
        args: A,
    ) -> Result<Future<R>> {
        submit_to(&self.shared.pool, &options.clone().set(self), task, &args, WhenFull::Wait)
    }

    /// Stops the set: no task of it starts any more once this has returned, and those that were pending are cancelled. The pool goes on
    /// with other tasks. Of tasks that another thread is just submitting, some may not be counted; they are cancelled all the same.
    /// Called again, it tells what is still running.
    ///
    /// # Errors
    /// [`Error::Forked`] and [`Error::Corrupt`].
    pub fn discard(&self) -> Result<Discarded> {
        let (pool, set) = (&self.shared.pool, self.shared.set);
        pool.member.check_fork()?;
        let sets = pool.segment().sets();
        if !sets.is_known(set) {
            return Err(pool.segment().poison(format!("the word of task set {:#x}", set.0)));
        }
        let is_first = sets.discard(set);
        let mut sweep = pool.member.sweep_set(set);
        // A worker that had claimed a task before decides within moments; one that is stopped just then counts as running it.
        let deadline = now_ns() + UNDECIDED_NS_MAX;
        while pool.member.look_at_claimed(&mut sweep) != 0 && now_ns() < deadline {
            std::thread::yield_now();
        }
        let (swept, running) = (sweep.cancelled, sweep.claimed.len());
        let swept_before = self.swept.fetch_add(swept, Relaxed);
        // In this order: whoever cancels late counts that first and the submit afterwards. Acquire: pairs with `note_submitted`.
        let submitted = self.shared.submitted.load(Acquire);
        let found_late = sets.cancelled(set);
        let over = [swept_before, swept, found_late, running].into_iter().fold(0_usize, usize::saturating_add);
        let done = submitted.saturating_sub(over);
        Ok(Discarded { cancelled: if is_first { swept.saturating_add(found_late) } else { swept }, running, done })
    }

    pub(crate) fn shared(&self) -> &Arc<SetShared> {
        &self.shared
    }
}

impl Drop for SetShared {
    fn drop(&mut self) {
        // With the last options that name it: until then a discarded set refuses tasks.
        if !self.pool.member.is_foreign() {
            self.pool.segment().sets().close(self.set);
        }
    }
}
