//! The hard cancel: ends one running task by killing the worker process that runs it, and no other task.
//!
//! Whoever cancels so first sets KILL on exactly this word: this slot, this generation, RUNNING, this worker. From then on the task is *condemned*:
//!
//! * Its end is decided. Nobody but its worker's reaper ends it any more, and that one gives it no verdict but cancelled (`recovery.rs`).
//! * Its worker does not outlive it. A worker that is about to end a condemned task, or to begin another on top of it, kills itself (`perform.rs`), so
//!   whatever comes for it from here is met by the task meant, or by nobody: a signal that comes late hits no later task.
//!
//! The signal goes through a pidfd that was opened, and compared with the record, before the flag was set. Who dies between the flag and the signal leaves
//! a word that says all there is to do: the owner's supervisor, and whoever waits or works on without an owner, sends the signal anew.

use crate::error::{Error, Result};
use crate::record::{Kind, OF_TASKS, Presence, RecordState};
use crate::registry::Member;
use crate::search::Rings;
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::state::{Flag, Participant, Phase};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::now_ns;
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What was found at the task that somebody wants to condemn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condemned {
    /// It will end as cancelled.
    Yes,
    /// It was condemned before, for its time limit, and will end with that.
    ForItsTime,
    /// It does not run: it is over, or waits to be run.
    NotRunning,
}

/// Between two looks at a worker that is dead and not yet settled.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// A worker that keeps its tasks' time limits itself does so much earlier than this.
const OVERDUE_NS: u64 = 300_000_000;
/// After so long its process is said not to be found.
const LOOKS_NS_MAX: u64 = 2_000_000_000;

impl Member {
    /// Condemns a running task and kills its worker.
    pub(crate) fn condemn(&self, lane: usize, index: usize, generation: u32) -> Result<Condemned> {
        let slot = &self.segment.lane(lane).slots[index];
        let deadline = now_ns().saturating_add(LOOKS_NS_MAX);
        loop {
            let seen = slot.load();
            if !seen.is(Phase::Running) || seen.generation() != generation {
                return Ok(Condemned::NotRunning);
            }
            let who = seen.owner();
            let Some(pidfd) = self.open_killable(who)? else {
                // Dead, and its task still to be settled; a submitter that has it for a moment, to end it; or the word has gone on since.
                if now_ns() >= deadline {
                    return Err(Error::System { call: "pidfd_open of a worker", errno: libc::ESRCH });
                }
                if !self.is_dead(who) || !self.reap(who) {
                    std::thread::sleep(LOOK_AGAIN);
                }
                continue;
            };
            let before = if seeded(Bug::NoKillFlag) { Ok(seen) } else { slot.condemn(seen, who, generation) };
            if let Ok(before) = before {
                // Whether it could be sent was asked before; if it was not all the same, others will.
                let _ = sys::pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
                return Ok(if before.has(Flag::Time) { Condemned::ForItsTime } else { Condemned::Yes });
            }
        }
    }

    /// Kills workers whose task has used its time up, and that have not done so themselves for a while: they may be stopped.
    pub(crate) fn kill_overdue(&self, now: u64) {
        for (who, state, record) in self.participants() {
            // Acquire: pairs with the Release in `watchdog.rs`, as do the other two.
            let at = record.hard_at.load(Acquire);
            if state.kind() != Some(Kind::Worker) || at == 0 || now < at.saturating_add(OVERDUE_NS) {
                continue;
            }
            // Acquire: see above.
            let (task, again) = (record.hard_task.load(Acquire), record.hard_at.load(Acquire));
            let Some((lane, index)) = self.segment.slot_at((task >> 32) as u32).filter(|_| at == again) else { continue };
            if let Ok(Some(pidfd)) = self.open_killable(who)
                && self.segment.lane(lane).slots[index].condemn_for_time(who, task as u32).is_ok()
            {
                let _ = sys::pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
            }
        }
    }

    /// A pidfd of a worker that can be killed alone; `None` when it is not there any more. Nothing is changed.
    fn open_killable(&self, who: Participant) -> Result<Option<OwnedFd>> {
        let refuse = |with| Err(Error::Unsupported { what: "killing the worker of a task", with });
        let Some(record) = self.segment.records().get(who.index()) else {
            return Err(self.segment.poison(format!("a task is said to be run by participant {who:?}")));
        };
        let state = RecordState::of(record);
        if !state.is_active_as(who) {
            return Ok(None);
        }
        let pid = record.pid.load(Relaxed);
        match state.kind() {
            Some(Kind::Worker) => {}
            Some(Kind::ThreadWorker) => return refuse("when it runs in a thread"),
            // A submitter has it for a moment, to end it.
            _ => return Ok(None),
        }
        if pid == sys::pid() || self.segment.is_shared_process(who) {
            return refuse("when its process does something else in the pool as well");
        }
        let Some(pidfd) = self.try_pidfd_of(who)? else { return Ok(None) };
        Ok(sys::pidfd_kill(pidfd.as_fd(), 0)?.then_some(pidfd))
    }

    /// Kills the workers of condemned tasks: whoever condemned them may have died before the signal.
    pub(crate) fn kill_condemned(&self) {
        for (_, ring) in self.segment.lanes() {
            for state in ring.slots.iter().map(crate::layout::Slot::load) {
                // A worker is never done with such a task, so the signal can come at any time from now on.
                if state.is(Phase::Running)
                    && state.has(Flag::Kill)
                    && let Ok(Some(pidfd)) = self.open_killable(state.owner())
                {
                    let _ = sys::pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
                }
            }
        }
    }
}

impl Segment {
    /// Whether the process of this participant has another seat in the pool, which would go with it: not counting what a worker is for its tasks.
    pub(crate) fn is_shared_process(&self, who: Participant) -> bool {
        let pid = self.records()[who.index()].pid.load(Relaxed);
        self.records().iter().enumerate().any(|(index, record)| {
            index != who.index()
                && record.pid.load(Relaxed) == pid
                && RecordState::of(record).presence() == Presence::Active
                && record.number.load(Relaxed) != OF_TASKS
        })
    }
}
