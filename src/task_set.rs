//! A task set: tasks that can be discarded in one call while the pool goes on.

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::executor::{SubmitOptions, submit_to};
use crate::future::Future;
use crate::limits::SETS_MAX;
use crate::pool::Pool;
use crate::set::SetRef;
use crate::submit::WhenFull;
use crate::task::Task;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Tasks that belong together. Any thread may feed it while another discards it.
///
/// Dropping the set lets its tasks go on; [`discard`](TaskSet::discard) is what stops them.
pub struct TaskSet {
    pool: Arc<Pool>,
    set: SetRef,
    submitted: AtomicUsize,
    cancelled: AtomicUsize,
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
        Ok(TaskSet { pool, set, submitted: AtomicUsize::new(0), cancelled: AtomicUsize::new(0) })
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
    /// As [`submit`](TaskSet::submit).
    pub fn submit_with<A: Payload, R: Payload>(
        &self,
        options: &SubmitOptions,
        task: Task<A, R>,
        args: A,
    ) -> Result<Future<R>> {
        if self.pool.segment().sets().is_discarded(self.set) {
            return Err(Error::Discarded);
        }
        let options = options.clone().set(self);
        let future = submit_to(&self.pool, &options, task, &args, WhenFull::Wait)?;
        self.submitted.fetch_add(1, Relaxed);
        Ok(future)
    }

    /// Stops the set: no task of it starts any more once this has returned, and those that were pending are cancelled. The pool goes on
    /// with other tasks. Counts the tasks whose `submit` has returned; a task that another thread is just submitting is cancelled too.
    /// Called again, it tells what is running still.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn discard(&self) -> Result<Discarded> {
        self.pool.member.check_fork()?;
        self.pool.segment().sets().discard(self.set);
        let (cancelled, running) = self.pool.member.sweep_set(self.set);
        let before = self.cancelled.fetch_add(cancelled, Relaxed);
        let submitted = self.submitted.load(Relaxed);
        Ok(Discarded { cancelled, running, done: submitted.saturating_sub(before + cancelled + running) })
    }

    pub(crate) fn name(&self) -> u32 {
        self.set.0
    }
}

impl Drop for TaskSet {
    fn drop(&mut self) {
        if !self.pool.member.is_foreign() {
            self.pool.segment().sets().close(self.set);
        }
    }
}
