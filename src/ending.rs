//! How a pool ends: by a shutdown, which lets everything that runs end; by the end of its workers; by a time limit, which is the one and then the
//! other; by dropping the executor. What the end of the process does is in `exit.rs`.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::exit;
use crate::life::Bit;
use crate::limits::{KILLED_NS_MAX, nanos};
use crate::pool::Ticket;
use crate::search::Rings;
use crate::state::Phase;
use crate::supervisor::Supervisor;
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use std::sync::Arc;
use std::time::Duration;

/// What [`Executor::shutdown_within`] had to do at its limit; both counts are 0 when everything had ended by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// Tasks that had not started, and were cancelled.
    pub cancelled: usize,
    /// Worker processes that were there still, and were killed. A task that one of them was running ended with
    /// [`Error::WorkerLost`].
    pub killed: usize,
}

impl Executor {
    /// Takes no new tasks from now on. `cancel_pending` cancels what has not started; whoever waits for such a task is told. Of what runs nothing is run again
    /// then after an error ([`Retry`](crate::Retry)). `wait`
    /// returns when everything has ended and the workers have left. Running tasks are never interrupted. May be called again, and with
    /// other arguments.
    ///
    /// Without `wait` the rest runs in the background, and a normal end of this process still waits for it
    /// (see [`Builder::detach_on_exit`](crate::Builder::detach_on_exit)). Of a submitter that is not the owner this ends its own part only.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Stalled`] when another process holds a lane and does not go on; [`Error::Busy`] when a task that runs in a thread, or
    /// a logger, would wait for its own pool. Of a submitter that is not the owner, which waits for its own tasks: [`Error::Corrupt`].
    pub fn shutdown(&self, wait: bool, cancel_pending: bool) -> Result<()> {
        self.begin_to_end(wait)?;
        if cancel_pending {
            // At once, for a lane may be long in coming; and again for what is published meanwhile, and as long a pause lasts.
            self.cancel_pending();
        }
        let locked = match self.supervisor() {
            Some(supervisor) if cancel_pending => supervisor.close_and(|| _ = self.cancel_pending()),
            Some(supervisor) => supervisor.close(),
            None => Ok(()),
        };
        if wait {
            self.wait_over(None)?;
        }
        locked
    }

    /// Takes no new tasks and waits until everything has ended and the workers have left, as a shutdown that waits; but not longer than `limit`. Then it
    /// cancels what has not started, kills the workers that are left, and tells how many there were of each.
    ///
    /// From any thread; a shutdown that waits in another one ends as well.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use std::time::Duration;
    /// taskring::task! { fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(nap, 3_600_000)?;
    ///     while task.state() == taskring::State::Pending {
    ///         std::thread::yield_now();
    ///     }
    ///     let ending = pool.shutdown_within(Duration::from_millis(50))?;
    ///     assert_eq!((ending.cancelled, ending.killed), (0, 1));
    ///     assert!(matches!(task.result(), Err(taskring::Error::WorkerLost { .. })));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::TimedOut`] when somebody still works two seconds after the limit whom this process cannot kill: workers that are threads or were started by
    /// others. What was pending is cancelled all the same. Of a submitter that is not the owner: when tasks of its own still run.
    /// [`Error::Forked`], [`Error::Stalled`], [`Error::Busy`] as of [`shutdown`](Executor::shutdown).
    pub fn shutdown_within(&self, limit: Duration) -> Result<Ending> {
        self.begin_to_end(true)?;
        let start = now_ns();
        let locked = self.supervisor().map_or(Ok(()), |supervisor| supervisor.close());
        let deadline = start.saturating_add(nanos(limit));
        if self.wait_over(Some(deadline))? {
            return locked.map(|()| Ending::default());
        }
        let Some(supervisor) = self.supervisor().filter(|supervisor| !supervisor.has_threads()) else {
            let ending = Ending { cancelled: self.cancel_pending(), killed: 0 };
            return self.wait_killed(limit).map(|()| ending);
        };
        let before = supervisor.ended();
        supervisor.end_workers(libc::SIGKILL)?;
        self.wait_killed(limit)?;
        // Counted now: a worker that was just being started is killed when it is heard of.
        let (cancelled, killed) = supervisor.ended();
        Ok(Ending { cancelled: cancelled - before.0, killed: killed - before.1 })
    }

    /// Waits for the end that must come now.
    fn wait_killed(&self, limit: Duration) -> Result<()> {
        match self.wait_over(Some(now_ns() + KILLED_NS_MAX))? {
            true => Ok(()),
            false => Err(Error::TimedOut { what: "the end of workers that cannot be killed from here", after: limit }),
        }
    }

    /// Ends the workers by SIGTERM: no new tasks from now on, what is pending is cancelled, and no worker takes the place of another. Returns at once; a
    /// [`shutdown`](Executor::shutdown) that waits comes back when they are gone.
    ///
    /// A task that was running ends with [`Error::WorkerLost`], which names the signal; one that may run again is cancelled, if it was not at its
    /// last attempt. A worker that handles or ignores the signal finishes its task and leaves then; a stopped one is continued. Workers that another
    /// process has started are left alone: they leave after their running task.
    ///
    /// May be called from any thread, again, and for a pool without workers or a broken one: then there is nothing to end. Of a submitter that is not the
    /// owner this ends its own part only. Where a worker's death breaks the pool, so does this end of one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for workers that are threads: nothing was changed. [`Error::Forked`]; [`Error::Stalled`] as of
    /// [`shutdown`](Executor::shutdown), after everything else was done.
    pub fn terminate_workers(&self) -> Result<()> {
        self.end_workers(libc::SIGTERM)
    }

    /// The same by SIGKILL, which no worker handles or outlives.
    ///
    /// # Errors
    /// As of [`terminate_workers`](Executor::terminate_workers).
    pub fn kill_workers(&self) -> Result<()> {
        self.end_workers(libc::SIGKILL)
    }

    fn end_workers(&self, signal: i32) -> Result<()> {
        self.pool().member.check_fork()?;
        if self.supervisor().is_some_and(|supervisor| supervisor.has_threads()) {
            return Err(Error::Unsupported {
                what: "ending the workers by a signal",
                with: "with workers that are threads",
            });
        }
        self.begin_to_end(false)?;
        match self.supervisor() {
            Some(supervisor) => supervisor.end_workers(signal),
            None => {
                self.cancel_pending();
                Ok(())
            }
        }
    }

    /// From here on nothing is submitted through this handle.
    fn begin_to_end(&self, wait: bool) -> Result<()> {
        self.pool().member.check_fork()?;
        self.pool().refuse_by_hand("shutting down")?;
        if wait && self.is_inside() {
            return Err(Error::Busy);
        }
        self.pool().shut.store(true, Relaxed);
        Ok(())
    }

    /// Whether this thread runs a task of this pool, whose end it would wait for, or is the supervisor's, in a logger.
    pub(crate) fn is_inside(&self) -> bool {
        let is_inside = |s: &Arc<Supervisor>| s.is_this_thread() || crate::task::is_running_in(self.pool().segment());
        self.supervisor().is_some_and(is_inside)
    }

    /// Whether dropping this would be such a wait.
    #[cfg(feature = "named")]
    pub(crate) fn would_wait_for_itself(&self) -> bool {
        self.is_inside() && !self.pool().shut.load(Relaxed)
    }

    /// Cancels what is pending: the owner everything, others their own.
    fn cancel_pending(&self) -> usize {
        self.pool().cancel_all(self.supervisor().is_some(), true)
    }

    /// Waits until everything that this handle is to wait for is over; false when the deadline came first.
    fn wait_over(&self, deadline: Option<u64>) -> Result<bool> {
        match self.supervisor() {
            Some(supervisor) => {
                let left = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now_ns()));
                Ok(supervisor.wait_over(deadline.map(left)))
            }
            None => self.wait_for_own(deadline.unwrap_or(u64::MAX)),
        }
    }

    /// Waits until no task of this submitter is unfinished.
    fn wait_for_own(&self, deadline: u64) -> Result<bool> {
        let pool = self.pool();
        for lane in pool.own_lanes() {
            for (index, slot) in pool.segment().lane(lane).slots.iter().enumerate() {
                let state = slot.load();
                let unfinished = state.is(Phase::Pending) || state.is(Phase::Running);
                if unfinished && slot.submitted_by() == pool.member.who() {
                    let slot = pool.segment().slot_number(lane, index);
                    if !pool.wait_ended(Ticket { slot, generation: state.generation() }, deadline)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

impl Supervisor {
    /// No new tasks from anybody. What was submitted before has been published when this returns, but by who is stalled. A pause ends.
    pub(crate) fn close(&self) -> Result<()> {
        self.pool.segment().set(Bit::Closing);
        // First, for a stalled lane takes long.
        self.end_pause();
        self.await_lanes()
    }

    /// The same; what has been published by then is cancelled before a pause ends.
    pub(crate) fn close_and(&self, cancel: impl FnOnce()) -> Result<()> {
        self.pool.segment().set(Bit::Closing);
        let stalled = self.await_lanes();
        cancel();
        self.end_pause();
        stalled
    }

    /// After `Closing` was set: waits for who has seen the pool open, and tells everybody.
    fn await_lanes(&self) -> Result<()> {
        let segment = self.pool.segment();
        let mut stalled = Ok(());
        for (lane, _) in segment.lanes() {
            stalled = stalled.and(self.pool.member.hold_lane(lane).map(drop));
        }
        segment.wake_everybody();
        self.ring();
        stalled
    }

    /// Sends every worker that this process has started the signal, for good, and cancels what is pending.
    fn end_workers(&self, signal: i32) -> Result<()> {
        self.signal_workers(signal);
        // At once, for those who wait. What is being published meanwhile is cancelled after the lanes were taken; what recovery has put back just before
        // the workers' end, by the supervisor's thread.
        self.cancel_rest();
        self.close_and(|| self.cancel_rest())
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if self.pool().member.is_foreign() || self.pool().of_tasks {
            return;
        }
        // While the process ends: for no longer than that waits.
        let ending = self.supervisor().and_then(exit::ending_of);
        // Without an earlier shutdown everything submitted is waited for; after one, as it was asked. And the callbacks.
        if !self.pool().shut.load(Relaxed) {
            if let (Some(ending), Some(supervisor), false) = (&ending, self.supervisor(), self.is_inside()) {
                self.pool().shut.store(true, Relaxed);
                return ending.end(supervisor);
            }
            let _ = self.shutdown(!self.is_inside(), false);
        }
        self.pool().end_notifier(ending.and_then(|ending| ending.left()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, RecordState};
    use crate::registry::Member;
    use crate::search::Rings;
    use crate::state::{Progress, Step};
    use crate::{Future, StartMethod, State, SubmitOptions};

    /// A worker dies in a task that may run again, at this step of it; then the pool's end comes to `end`, and then somebody finds the dead.
    fn after_a_death(step: Step, end: impl Fn(&Executor)) -> (Executor, Future<()>) {
        let name = format!("ending::task_{step:?}_{}", crate::sys::now_ns());
        let task = crate::register::<(), (), _>(&name, |()| ()).unwrap();
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let options = SubmitOptions::new().idempotent(true).attempts_max(5);
        let future = pool.submit_with(&options, task, ()).unwrap();
        let segment = pool.pool().member.segment.clone();
        let worker = move || {
            let member = Member::join(segment, Kind::ThreadWorker, 0).unwrap();
            let ring = member.segment.lane(0);
            ring.claim_in(&mut ring.round(ring.behind_tail(), &mut |_| true), member.who()).expect("it is pending");
            ring.slots[0].note(Progress::FRESH.at(step));
            let who = member.who();
            // As if it had ended without leaving.
            std::mem::forget(member);
            who
        };
        let dead = std::thread::spawn(worker).join().unwrap();
        end(&pool);
        let member = &pool.pool().member;
        let is_there = || RecordState::of(&member.segment.records()[dead.index()]).is_active_as(dead);
        while is_there() && !member.reap_now(dead) {
            std::thread::yield_now();
        }
        (pool, future)
    }

    /// While a lane keeps the closing of a paused pool waiting: whether the pause lasts.
    fn is_paused_while_it_closes(cancel_pending: bool) -> bool {
        let pool = Executor::builder().workers(1).start(StartMethod::Thread).build().unwrap();
        pool.pause().unwrap();
        let (segment, member) = (pool.pool().segment(), &pool.pool().member);
        let held = member.hold_lane(0).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| pool.shutdown(false, cancel_pending).unwrap());
            while !segment.has(Bit::Closing) {
                std::thread::yield_now();
            }
            // Were it to end now, it would within this: 50 ms, or 4 s where it is to.
            let until = crate::sync::now_ns() + if cancel_pending { 50_000_000 } else { 4_000_000_000 };
            while segment.is_paused() && crate::sync::now_ns() < until {
                std::thread::yield_now();
            }
            let is_paused = segment.is_paused();
            drop(held);
            is_paused
        })
    }

    #[test]
    fn a_pause_lasts_until_all_is_cancelled_and_ends_at_once_where_nothing_is() {
        assert!(is_paused_while_it_closes(true));
        assert!(!is_paused_while_it_closes(false));
    }

    #[test]
    fn a_task_of_the_dead_goes_back_only_where_workers_are_not_being_ended() {
        // Often: the supervisor looks at what has gone back as well.
        for step in [Step::None, Step::Started].into_iter().cycle().take(20) {
            let (_pool, future) = after_a_death(step, |_| ());
            assert_eq!(future.state(), State::Pending, "{step:?}");
            assert!(future.cancel());
            let (_pool, future) = after_a_death(step, |pool| pool.kill_workers().unwrap());
            assert_eq!(future.state(), State::Cancelled, "{step:?}: another worker could have taken it");
        }
    }
}
