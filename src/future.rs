//! The future: a value that names a slot and its generation, and the one way to a task's result.

use crate::codec::{Payload, decoded};
use crate::error::{Error, Result};
use crate::nested;
use crate::once::Once;
use crate::outcome::Outcome;
use crate::pace::WaitPace;
use crate::pool::{Pool, Ticket};
use crate::record::RecordState;
use crate::seeded::{Bug, seeded};
use crate::spin::{self, Patience};
use crate::state::{Flag, Phase};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A worker that was waiting for the task needs this long to claim and run it, however short it is. A look that comes too early takes the slot's line
/// from the worker in the middle of its work, which costs more than one that comes too late by as much.
const FIRST_LOOK_NS: u64 = 120;

/// What a task is doing. A result that was collected is `Done` or `Cancelled` for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In the ring; nobody has started it, and it can be cancelled.
    Pending,
    /// A worker runs it.
    Running,
    /// It was cancelled before it started, or killed by a [hard cancel](Future::cancel_hard).
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

/// What `Core::wait_fitting` finds.
pub(crate) enum Fit<'a> {
    Outcome(&'a Outcome),
    /// A value of so many bytes, not taken.
    TooLarge(usize),
}

/// The part that does not depend on the type of the result.
pub(crate) struct Core {
    /// Before the pool, for it may keep a block in use: were we killed after we left the pool, nobody would know whose.
    outcome: Once<Outcome>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) ticket: Ticket,
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

/// The task's number, what it is doing, in which process, and the kind of its result or the error that it ended with.
///
/// ```text
/// task 0x100000003: pending
/// task 0x100000003: running in process 4711
/// task 0x100000003: returned u64
/// task 0x100000003: failed: the task panicked: out of cheese
/// task 0x100000003: cancelled
/// ```
impl<R> std::fmt::Display for Future<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {:#x}: ", self.id())?;
        match (self.state(), self.core.running_in()) {
            (State::Pending, _) => f.write_str("pending"),
            (State::Running, Some(pid)) => write!(f, "running in process {pid}"),
            (State::Running, None) => f.write_str("running"),
            (State::Cancelled, _) => f.write_str("cancelled"),
            (State::Done, _) if self.core.outcome.get().is_none() && self.core.pool.member.is_foreign() => {
                f.write_str("done")
            }
            (State::Done, _) if !self.core.has_failed() => write!(f, "returned {}", std::any::type_name::<R>()),
            (State::Done, _) => match self.core.settled() {
                Some(Outcome::Error(e)) => write!(f, "failed: {e}"),
                _ => f.write_str("failed"),
            },
        }
    }
}

impl<R: Payload> Future<R> {
    /// Waits for the task and gives its result.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; the task's own end ([`Error::TaskFailed`], [`Error::Panicked`], [`Error::WorkerLost`], [`Error::TimeLimit`]; [`Error::Encode`],
    /// [`Error::PayloadTooLarge`] and [`Error::OutOfMemory`] when its result could not be stored); [`Error::Forked`];
    /// [`Error::NoWorkerFor`]; [`Error::Broken`], [`Error::Corrupt`]; [`Error::Decode`] when `R` is not what the task returned. In a task also
    /// [`Error::WouldDeadlock`], [`Error::TooMany`] and [`Error::Unsupported`], after which it goes on, see [`current_pool`](crate::current_pool).
    #[inline]
    pub fn result(&self) -> Result<R> {
        decode(self.core.wait(None)?)
    }

    /// The same, waiting no longer than `timeout`. A finished task's result is given even if the time is zero; when another thread of this
    /// process is copying it just then, that is waited for.
    ///
    /// # Errors
    /// [`Error::TimedOut`], after which the task goes on and the result may be asked for again; and those of [`result`](Future::result).
    pub fn result_timeout(&self, timeout: Duration) -> Result<R> {
        decode(self.core.wait(Some(timeout))?)
    }
}

#[inline]
fn decode<R: Payload>(outcome: &Outcome) -> Result<R> {
    match outcome {
        Outcome::Value(bytes) => decoded(bytes),
        Outcome::Error(e) => Err(e.another()),
    }
}

impl<R> Future<R> {
    pub(crate) fn new(pool: Arc<Pool>, ticket: Ticket) -> Future<R> {
        Future { core: Core::new(pool, ticket), result: PhantomData }
    }

    /// One that has its outcome: it asks the pool for nothing, and takes nothing from another future of the task.
    pub(crate) fn ended(pool: Arc<Pool>, ticket: Ticket, outcome: Outcome) -> Future<R> {
        let future = Future::new(pool, ticket);
        // SAFETY: the cell is new, and nobody else has it; it is full from here on, and `Core` writes to an empty one only.
        unsafe { future.core.outcome.set(outcome) };
        future
    }

    /// Drops one that was lent to a callback: the events of its task are those of the future that the task was submitted for.
    pub(crate) fn end_lent(self) {
        let mut core = std::mem::ManuallyDrop::new(self.core);
        // Before the pool, as in any drop.
        drop(core.outcome.take());
        // SAFETY: `core` is never used again and not dropped, so its share of the pool is read out once.
        drop(unsafe { std::ptr::read(&core.pool) });
    }

    pub(crate) fn into_core(self) -> Core {
        self.core
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Cancels the task if no worker has started it. True when it will never run; then everybody who waits for it is told. A
    /// running task is asked to stop (see [`task::cancel_requested`](crate::task::cancel_requested)), and this returns false.
    ///
    /// A task that may run more than once is pending again after its worker died (see [`SubmitOptions::idempotent`](crate::SubmitOptions::idempotent)) or it
    /// failed ([`Retry`](crate::Retry)): then true means that it will not run once more. One that was asked to stop is not run again after an error; and
    /// it is cancelled after all when its worker dies before it has begun.
    pub fn cancel(&self) -> bool {
        match self.core.outcome() {
            Some(outcome) => outcome.is_cancelled(),
            None if self.core.pool.member.is_foreign() => false,
            None => self.core.pool.cancel(self.core.ticket) || self.core.settled().is_some_and(Outcome::is_cancelled),
        }
    }

    /// Cancels the task, whatever it is doing: one that no worker has started as [`cancel`](Future::cancel) does; of a running one the worker process is
    /// killed, by SIGKILL. True when the task ends as cancelled, and then it is not run again, however often it may be otherwise; false when it had ended
    /// before. A running task is over a moment after this returned: ask for its [`result`](Future::result) to wait for that.
    ///
    /// All other tasks of the pool go on, and the owner starts another worker in place of one that it had started, also where a worker's death breaks the
    /// pool otherwise ([`OnWorkerDeath::BreakPool`](crate::OnWorkerDeath::BreakPool)). But tasks that run on top of each other, because one waits for the
    /// other inside of a task, have one worker: the others of them end as at any death of it, with [`Error::WorkerLost`], or run again if they may; that
    /// death does not count as one of their [`kills_max`](crate::Builder::kills_max).
    ///
    /// A killed task has no say in its end. What it has written to files, or locked in memory that it shares with others, stays as it is just then. With its
    /// process ends what that does for other pools: a pool that it owns, and its tasks in another one that it serves. In this pool that is looked for, and
    /// the cancel is refused; of others nobody here knows.
    ///
    /// May be called from any thread, and by every process that has submitted the task.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn forever() { loop { std::thread::park() } } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(forever, ())?;
    ///     while task.state() == taskring::State::Pending {
    ///         std::thread::yield_now();
    ///     }
    ///     assert!(task.cancel_hard()?);
    ///     assert_eq!(task.result(), Err(taskring::Error::Cancelled));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Nothing was changed then. [`Error::Unsupported`] for a running task whose worker is a thread, is this very process, or is a process that takes
    /// part in the pool in another way as well, and for a running promise. [`Error::System`] when the worker cannot be sent a signal.
    /// [`Error::Forked`], [`Error::Corrupt`].
    pub fn cancel_hard(&self) -> Result<bool> {
        match self.core.outcome() {
            Some(outcome) => Ok(outcome.is_cancelled()),
            None => {
                self.core.pool.member.check_fork()?;
                let cancelled = self.core.pool.cancel_hard(self.core.ticket)?;
                Ok(cancelled || self.core.settled().is_some_and(Outcome::is_cancelled))
            }
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

    /// Whether the task was cancelled before any worker started it, or killed by a [hard cancel](Future::cancel_hard).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state() == State::Cancelled
    }

    /// Whether a worker runs the task just now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// Waits for the task, no longer than `timeout`, and gives the error that it ended with; `None` when it has a result, which is not decoded.
    ///
    /// # Errors
    /// What is no end of the task's own: [`Error::Cancelled`], [`Error::TimedOut`], [`Error::Corrupt`], [`Error::Forked`]; in a task those of a wait there, as
    /// [`result`](Future::result) has them.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use taskring::{Error, TaskError};
    /// taskring::task! {
    ///     fn parse(text: String) -> Result<u64, TaskError> { Ok(text.parse()?) }
    /// }
    /// fn main() -> Result<(), Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     assert_eq!(pool.submit(parse, "7".to_owned())?.exception(None)?, None);
    ///     let failed = pool.submit(parse, "x".to_owned())?;
    ///     assert!(matches!(failed.exception(None)?, Some(Error::TaskFailed { .. })));
    ///     Ok(())
    /// }
    /// ```
    pub fn exception(&self, timeout: Option<Duration>) -> Result<Option<Error>> {
        match self.core.wait(timeout)? {
            Outcome::Value(_) => Ok(None),
            Outcome::Error(e) if **e == Error::Cancelled => Err(Error::Cancelled),
            Outcome::Error(e) => Ok(Some((**e).clone())),
        }
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
    pub(crate) fn new(pool: Arc<Pool>, ticket: Ticket) -> Core {
        Core { pool, ticket, outcome: Once::new() }
    }

    /// The outcome, if it was taken, for somebody else to keep: of the task there is nothing more to be had here then.
    pub(crate) fn take_outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcome.take()?;
        self.pool.forget_events(self.ticket);
        Some(outcome)
    }

    /// The outcome if it is known already, or can be had without waiting.
    fn outcome(&self) -> Option<&Outcome> {
        match self.outcome_fitting(usize::MAX)? {
            Fit::Outcome(outcome) => Some(outcome),
            Fit::TooLarge(_) => None,
        }
    }

    /// The same, if its value has up to `room` bytes; a larger one is left where the next who asks finds it.
    #[inline]
    fn outcome_fitting(&self, room: usize) -> Option<Fit<'_>> {
        if self.outcome.get().is_none() {
            if self.pool.member.is_foreign() {
                return None;
            }
            // SAFETY: as in `any_outcome_fitting`.
            self.pool.take_if_short(self.ticket, room, |bytes| unsafe { self.outcome.set(Outcome::Value(bytes)) });
        }
        self.outcome.get().map(Fit::Outcome).or_else(|| self.any_outcome_fitting(room))
    }

    /// The same for what is no short value.
    #[inline(never)]
    fn any_outcome_fitting(&self, room: usize) -> Option<Fit<'_>> {
        let mut too_large = None;
        // SAFETY: an outcome is given to one thread only, by the slot's taken mark or out of the table, and only this future asks for it.
        let keep = |outcome| unsafe { self.outcome.set(outcome) };
        let state = self.pool.slot(self.ticket).load();
        if state.generation() == self.ticket.generation {
            self.pool.take(self.ticket, state, |outcome| match outcome {
                Outcome::Value(bytes) if bytes.len() > room => {
                    too_large = Some(bytes.len());
                    // Before the slot is freed, so it is always found in one place or the other.
                    self.pool.keep(self.ticket, Outcome::Value(bytes));
                }
                outcome => keep(outcome),
            });
        } else {
            too_large = self.pool.take_harvested(self.ticket, room, keep);
        }
        if let Some(len) = too_large {
            return Some(Fit::TooLarge(len));
        }
        // By us, or just before by another thread.
        self.outcome.get().map(Fit::Outcome)
    }

    /// The outcome, also when another thread of ours is collecting it just now. `None` while the task is unfinished, and when its slot
    /// belongs to another task and nobody of ours has collected it.
    fn settled(&self) -> Option<&Outcome> {
        match self.settled_fitting(usize::MAX)? {
            Fit::Outcome(outcome) => Some(outcome),
            Fit::TooLarge(_) => None,
        }
    }

    fn settled_fitting(&self, room: usize) -> Option<Fit<'_>> {
        let mut patience = Patience::default();
        loop {
            if let Some(outcome) = self.outcome_fitting(room) {
                return Some(outcome);
            }
            let state = self.pool.slot(self.ticket).load();
            if !state.is_finished() || state.generation() != self.ticket.generation {
                return self.outcome_fitting(room);
            }
            if !self.pool.await_taker(self.ticket, &mut patience) {
                return None;
            }
        }
    }

    pub(crate) fn state(&self) -> State {
        if let Some(outcome) = self.outcome.get() {
            return ended(outcome);
        }
        // Collected by another thread just now: then it is in this future in a moment.
        self.known_state().or_else(|| self.settled().map(ended)).unwrap_or(State::Done)
    }

    /// What the slot or the table says of the task; `None` when neither knows it any more, or it was let go.
    pub(crate) fn known_state(&self) -> Option<State> {
        let state = self.pool.slot(self.ticket).load();
        if state.generation() != self.ticket.generation {
            return self.pool.peek_harvested(self.ticket, ended);
        }
        match state.phase()? {
            _ if state.has(Flag::Detached) => None,
            Phase::Pending => Some(State::Pending),
            Phase::Running => Some(State::Running),
            Phase::Cancelled => Some(State::Cancelled),
            Phase::Done => Some(State::Done),
            Phase::Free => None,
        }
    }

    /// Whether there is nothing to wait for. A task that nobody knows any more is over as well.
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.get().is_some() || !matches!(self.known_state(), Some(State::Pending | State::Running))
    }

    /// Whether the task is over and has failed by itself; without waiting, and without taking its outcome.
    pub(crate) fn has_failed(&self) -> bool {
        if let Some(outcome) = self.outcome.get() {
            return outcome.is_failure();
        }
        let slot = self.pool.slot(self.ticket);
        let state = slot.load();
        if state.generation() == self.ticket.generation {
            let failed = state.is(Phase::Done) && crate::outcome::has_failed(slot);
            // Read before and after: then the look in between was at this task.
            if slot.load() == state {
                return failed;
            }
        }
        let peeked = self.pool.peek_harvested(self.ticket, Outcome::is_failure);
        peeked.or_else(|| self.settled().map(Outcome::is_failure)).unwrap_or(false)
    }

    fn worker_pid(&self) -> Option<u32> {
        if let Some(Outcome::Error(e)) = self.outcome.get() {
            return if let Error::WorkerLost { pid, .. } = **e { Some(pid) } else { None };
        }
        if self.pool.member.is_foreign() {
            return None;
        }
        self.running_in().or_else(|| {
            let lost = |o: &Outcome| matches!(o, Outcome::Error(e) if matches!(**e, Error::WorkerLost { .. }));
            self.outcome().filter(|o| lost(o)).and_then(|_| self.worker_pid())
        })
    }

    /// The process that runs the task just now.
    pub(crate) fn running_in(&self) -> Option<u32> {
        let state = self.pool.slot(self.ticket).load();
        if !state.is(Phase::Running) || state.generation() != self.ticket.generation {
            return None;
        }
        let record = self.pool.segment().records().get(state.owner().index())?;
        let pid = record.pid.load(Relaxed);
        RecordState::of(record).is_active_as(state.owner()).then_some(pid)
    }

    /// Waits for the end of the task.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Ok(outcome);
        }
        match self.wait_fitting(timeout, usize::MAX)? {
            Fit::Outcome(outcome) => Ok(outcome),
            Fit::TooLarge(_) => unreachable!("no value is larger"),
        }
    }

    /// The same, leaving a value of more than `room` bytes where it is.
    #[inline]
    pub(crate) fn wait_fitting(&self, timeout: Option<Duration>, room: usize) -> Result<Fit<'_>> {
        self.pool.member.check_fork()?;
        // The task submitted last is hardly over yet, and a look would only take its line from the worker that is about to claim it.
        if !self.pool.is_newest(self.ticket)
            && let Some(fit) = self.outcome_fitting(room)
        {
            // It was there already, so the next one may be as well, and is probably the next slot's.
            self.pool.prefetch(self.ticket, 2);
            return Ok(fit);
        }
        self.wait_slow(timeout, room)
    }

    #[inline(never)]
    fn wait_slow(&self, timeout: Option<Duration>, room: usize) -> Result<Fit<'_>> {
        // Finished, or collected by another thread of ours: the outcome is there in a moment. Or by nobody of ours.
        self.wait_until(timeout, || self.outcome_fitting(room), || self.settled_fitting(room))
    }

    /// Waits for the end of the task, and takes nothing.
    pub(crate) fn wait_over(&self, timeout: Option<Duration>) -> Result<()> {
        let over = || self.is_over().then_some(());
        if self.is_over() { Ok(()) } else { self.wait_until(timeout, over, over) }
    }

    /// Waits until `found` gives something; once the slot is done with the task, `last` may.
    fn wait_until<T>(
        &self,
        timeout: Option<Duration>,
        found: impl Fn() -> Option<T>,
        last: impl Fn() -> Option<T>,
    ) -> Result<T> {
        // A wait with a time limit keeps to it.
        let is_nested = timeout.is_none() && nested::is_in_task_of(&self.pool);
        if is_nested
            && nested::help(&self.pool, self.ticket)?
            && let Some(it) = found()
        {
            return Ok(it);
        }
        let slot = self.pool.slot(self.ticket);
        let over = || {
            crate::sync::prefetch_to_write(slot);
            let state = slot.load();
            (state.is_finished() || state.generation() != self.ticket.generation).then_some(())
        };
        let most_ns = timeout.map_or(u64::MAX, crate::limits::nanos);
        if most_ns != 0 {
            // Whether it was in time is seen below.
            let _ = spin::until(self.pool.segment(), FIRST_LOOK_NS, most_ns, over);
        }
        if let Some(it) = found() {
            return Ok(it);
        }
        let start = now_ns();
        let deadline = timeout.map(|t| start.saturating_add(crate::limits::nanos(t)));
        let mut pace = WaitPace::new(start);
        let mut waits = None;
        loop {
            if let Some(it) = found() {
                return Ok(it);
            }
            let Ok(word) = slot.flag(self.ticket.generation, Flag::Waiter) else {
                self.check_word()?;
                return last().ok_or_else(|| self.pool.segment().corrupt().unwrap_or(Error::Stale));
            };
            if is_nested {
                // Its worker may have died or put it back, and it be pending again. What becomes of it from here on ends the sleep.
                if nested::help(&self.pool, self.ticket)? {
                    continue;
                }
                if waits.is_none() {
                    waits = nested::begin_wait(std::iter::once((&*self.pool, self.ticket)))?;
                }
            }
            let now = now_ns();
            if let (Some(deadline), Some(after)) = (deadline, timeout)
                && now >= deadline
                // One that is over is given, also while another thread copies it.
                && over().is_none()
            {
                return Err(Error::TimedOut { what: "a result", after });
            }
            if word.has(Flag::Detached) {
                return Err(Error::Stale);
            }
            self.pool.sleep_on(self.ticket, word, &mut pace, now, deadline.unwrap_or(u64::MAX))?;
        }
    }

    /// Lets the task go: whoever ends it frees the slot; of one that is over the outcome is dropped.
    pub(crate) fn release(&self) -> Result<()> {
        if self.pool.leave_to_calls(self.ticket) {
            self.pool.forget_events(self.ticket);
            return Ok(());
        }
        let slot = self.pool.slot(self.ticket);
        let detached = match slot.detach_without_events(self.ticket.generation) {
            Err(found) if found.has(Flag::Events) => self.pool.detach_with_events(self.ticket),
            other => other,
        };
        match detached {
            Ok(_) => Ok(()),
            Err(_) => self.settled().map(|_| ()).ok_or(Error::Stale),
        }
    }

    /// What there is to do at the end of a future whose outcome, or whose events, are elsewhere.
    #[inline(never)]
    fn let_go(&self) {
        if self.pool.member.is_foreign() {
            return;
        }
        if self.outcome.get().is_none() {
            let _ = self.release();
        }
        self.pool.forget_events(self.ticket);
    }

    /// An impossible word ends the wait with an error instead of a hang.
    pub(crate) fn check_word(&self) -> Result<()> {
        let state = self.pool.slot(self.ticket).load();
        let impossible = state.phase().is_none() || state.is(Phase::Free) && state.generation() == self.ticket.generation;
        if impossible && !seeded(Bug::NoPoison) {
            let what = format!("the slot of task {:#x} is {state:?}", self.ticket.id());
            return Err(self.pool.segment().poison(what));
        }
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Nearly always: then there is nothing of the task's anywhere else.
        if self.outcome.get().is_none() || self.pool.keeps_events() {
            self.let_go();
        }
    }
}

fn ended(outcome: &Outcome) -> State {
    if outcome.is_cancelled() { State::Cancelled } else { State::Done }
}
