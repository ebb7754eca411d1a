//! The future: a value that names a slot and its generation, and the one way to a task's result.

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::limits::{PENDING_NS_MAX, SLEEP_NS_MAX};
use crate::once::Once;
use crate::outcome::Outcome;
use crate::pool::{Pool, Ticket};
use crate::registry::RecordState;
use crate::spin;
use crate::state::{Flag, Phase};
use crate::sync::Ordering::Relaxed;
use crate::sync::{futex_wait_low, now_ns};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A worker that was waiting for the task needs this long to claim and run it, however short it is.
const FIRST_LOOK_NS: u64 = 100;

/// What a task is doing. A result that was collected is `Done` or `Cancelled` for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In the ring; nobody has started it, and it can be cancelled.
    Pending,
    /// A worker runs it.
    Running,
    /// It was cancelled before it started.
    Cancelled,
    /// It is over: a result, an error, or a verdict.
    Done,
}

/// A task that was submitted. Dropping it lets the task run and drops its result; [`cancel`](Future::cancel) stops a pending one.
///
/// A future belongs to the process that submitted the task. Its threads may share it, and ask for the result more than once.
pub struct Future<R> {
    core: Core,
    result: PhantomData<fn() -> R>,
}

/// The part that does not depend on the type of the result.
pub(crate) struct Core {
    pub(crate) pool: Arc<Pool>,
    pub(crate) ticket: Ticket,
    outcome: Once<Outcome>,
}

impl<R> std::fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Future({:#x} {:?}", self.id(), self.state())?;
        match self.core.outcome.get() {
            Some(Outcome::Error(e)) => write!(f, ", {e})"),
            Some(Outcome::Value(bytes)) => write!(f, ", {} bytes)", bytes.len()),
            None => f.write_str(")"),
        }
    }
}

impl<R: Payload> Future<R> {
    /// Waits for the task and gives its result.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; the task's own end ([`Error::TaskFailed`], [`Error::Panicked`], [`Error::WorkerLost`]);
    /// [`Error::NoWorkerFor`]; [`Error::Broken`], [`Error::Corrupt`]; [`Error::Decode`] when `R` is not what the task returned.
    pub fn result(&self) -> Result<R> {
        decode(self.core.wait(None)?)
    }

    /// The same, waiting no longer than `timeout`. A finished task's result is given even if the time is zero.
    ///
    /// # Errors
    /// [`Error::TimedOut`], after which the task goes on and the result may be asked for again; and those of
    /// [`result`](Future::result).
    pub fn result_timeout(&self, timeout: Duration) -> Result<R> {
        decode(self.core.wait(Some(timeout))?)
    }
}

fn decode<R: Payload>(outcome: &Outcome) -> Result<R> {
    match outcome {
        Outcome::Value(bytes) => R::decode(bytes).map_err(|message| Error::Decode { message }),
        Outcome::Error(e) => Err((**e).clone()),
    }
}

impl<R> Future<R> {
    pub(crate) fn new(pool: Arc<Pool>, ticket: Ticket) -> Future<R> {
        Future { core: Core { pool, ticket, outcome: Once::new() }, result: PhantomData }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Cancels the task if no worker has started it. True when it will never run; then everybody who waits for it is told. A
    /// running task is asked to stop (see [`task::cancel_requested`](crate::task::cancel_requested)), and this returns false.
    pub fn cancel(&self) -> bool {
        match self.core.outcome() {
            Some(outcome) => outcome.is_cancelled(),
            None if self.core.pool.member.is_foreign() => false,
            None => self.core.pool.cancel(self.core.ticket) || self.core.settled().is_some_and(Outcome::is_cancelled),
        }
    }

    /// What the task is doing just now.
    #[must_use]
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Whether the task is over, one way or the other: [`result`](Future::result) will not wait.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state(), State::Done | State::Cancelled)
    }

    /// Lets the task go: it runs, and its result is dropped. The same as dropping the future.
    pub fn detach(self) {}

    /// The process that runs the task just now, or, of a task whose worker died, that worker.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        self.core.worker_pid()
    }

    /// The task's number: unique in its pool, and what [`task::id`](crate::task::id) says inside the task.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.core.ticket.id()
    }
}

impl Core {
    /// The outcome if it is known already, or can be had without waiting.
    #[inline]
    fn outcome(&self) -> Option<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome);
        }
        if self.pool.member.is_foreign() {
            return None;
        }
        // SAFETY: an outcome is given to one thread only, by the slot's taken mark or out of the table, and only this future asks
        // for it.
        let keep = |outcome| unsafe { self.outcome.set(outcome) };
        let state = self.pool.slot(self.ticket).load();
        if state.generation() == self.ticket.generation {
            self.pool.take(self.ticket, state, keep);
        } else {
            self.pool.take_harvested(self.ticket, keep);
        }
        // By us, or just before by another thread.
        self.outcome.get()
    }

    /// The outcome, also when another thread of ours is collecting it just now. `None` while the task is unfinished, and when its slot
    /// belongs to another task and nobody of ours has collected it.
    fn settled(&self) -> Option<&Outcome> {
        loop {
            if let Some(outcome) = self.outcome() {
                return Some(outcome);
            }
            let state = self.pool.slot(self.ticket).load();
            if !state.is_finished() || state.generation() != self.ticket.generation {
                return self.outcome();
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn state(&self) -> State {
        if let Some(outcome) = self.outcome.get() {
            return ended(outcome);
        }
        let state = self.pool.slot(self.ticket).load();
        if state.generation() == self.ticket.generation {
            return match state.phase() {
                Some(Phase::Pending) => State::Pending,
                Some(Phase::Running) => State::Running,
                Some(Phase::Cancelled) => State::Cancelled,
                Some(Phase::Done | Phase::Free) | None => State::Done,
            };
        }
        // Collected: into the table, or (by another thread, just now) into this future.
        self.pool.peek_harvested(self.ticket, ended).or_else(|| self.settled().map(ended)).unwrap_or(State::Done)
    }

    /// Whether the outcome is there and is the task's own failure; without waiting.
    pub(crate) fn has_failed(&self) -> bool {
        self.settled().is_some_and(Outcome::is_failure)
    }

    fn worker_pid(&self) -> Option<u32> {
        if let Some(Outcome::Error(e)) = self.outcome.get() {
            return if let Error::WorkerLost { pid, .. } = **e { Some(pid) } else { None };
        }
        if self.pool.member.is_foreign() {
            return None;
        }
        let state = self.pool.slot(self.ticket).load();
        if !state.is(Phase::Running) || state.generation() != self.ticket.generation {
            let lost = |o: &Outcome| matches!(o, Outcome::Error(e) if matches!(**e, Error::WorkerLost { .. }));
            return self.outcome().filter(|o| lost(o)).and_then(|_| self.worker_pid());
        }
        let record = self.pool.segment().records().get(state.owner().index())?;
        let pid = record.pid.load(Relaxed);
        RecordState::of(record).is_active_as(state.owner()).then_some(pid)
    }

    /// Waits for the end of the task.
    #[inline]
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Ok(outcome);
        }
        self.pool.member.check_fork()?;
        // The task submitted last is hardly over yet, and a look would only take its line from the worker that is about to claim it.
        if !self.pool.is_newest(self.ticket)
            && let Some(outcome) = self.outcome()
        {
            // It was there already, so the next one may be as well, and is probably the next slot's.
            self.pool.prefetch(self.ticket, 2);
            return Ok(outcome);
        }
        self.wait_slow(timeout)
    }

    fn wait_slow(&self, timeout: Option<Duration>) -> Result<&Outcome> {
        let slot = self.pool.slot(self.ticket);
        let over = || {
            let state = slot.load();
            (state.is_finished() || state.generation() != self.ticket.generation).then_some(())
        };
        let no_time = timeout.is_some_and(|t| t.is_zero());
        if !no_time {
            // Whether it was in time is seen below.
            let _ = spin::until(self.pool.segment(), FIRST_LOOK_NS, over);
        }
        if let Some(outcome) = self.outcome() {
            return Ok(outcome);
        }
        let start = now_ns();
        let deadline = timeout.map(|t| start.saturating_add(crate::limits::nanos(t)));
        let mut slice = PENDING_NS_MAX;
        loop {
            if let Some(outcome) = self.outcome() {
                return Ok(outcome);
            }
            let now = now_ns();
            if let (Some(deadline), Some(after)) = (deadline, timeout)
                && now >= deadline
            {
                return Err(Error::TimedOut { what: "a result", after });
            }
            let Ok(word) = slot.flag(self.ticket.generation, Flag::Waiter) else {
                self.check_word()?;
                // Finished, or collected by another thread of ours: the outcome is there in a moment. Or by nobody of ours.
                return self.settled().ok_or(Error::Stale);
            };
            futex_wait_low(&slot.state, word.0, Some((now + slice).min(deadline.unwrap_or(u64::MAX))));
            if now_ns() >= now + slice {
                self.pool.look_after_waits()?;
                slice = SLEEP_NS_MAX;
            }
        }
    }

    /// An impossible word ends the wait with an error instead of a hang.
    fn check_word(&self) -> Result<()> {
        let state = self.pool.slot(self.ticket).load();
        let impossible = state.phase().is_none() || state.is(Phase::Free) && state.generation() == self.ticket.generation;
        if impossible {
            let what = format!("the slot of task {:#x} is {state:?}", self.ticket.id());
            return Err(self.pool.segment().poison(what));
        }
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.outcome.get().is_some() || self.pool.member.is_foreign() {
            return;
        }
        // Still going on: whoever ends it frees the slot. Otherwise take the outcome and drop it.
        if self.pool.slot(self.ticket).flag(self.ticket.generation, Flag::Detached).is_err() {
            let _ = self.settled();
        }
    }
}

fn ended(outcome: &Outcome) -> State {
    if outcome.is_cancelled() { State::Cancelled } else { State::Done }
}
