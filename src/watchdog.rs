//! Time limits, kept where the tasks run: a thread of the worker that sleeps until the first of its running tasks has used its time up. It is started with
//! the first task that has a limit.
//!
//! The soft limit asks the task to stop, as a cancel does. The hard one condemns it (`condemn.rs`), with the mark that it was the time, and kills the
//! process. A worker that stands still or starts no thread is killed by others, as one whose task was condemned is: when its
//! time is up stands in its record.

use crate::layout::Record;
use crate::pool::lock;
use crate::record::Kind;
use crate::registry::Member;
use crate::search::Rings;
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::now_ns;
use crate::time_limits::{TimeLimits, due};
use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// After which a process that could not be killed alone is looked at again.
const AGAIN_NS: u64 = 100_000_000;

/// A running task with a limit.
struct Watched {
    number: u32,
    generation: u32,
    soft_at: u64,
    hard_at: u64,
}

#[derive(Default)]
struct State {
    /// The running tasks, each on top of the one before.
    watched: Vec<Watched>,
    /// Until when the thread sleeps.
    sleeps_until: u64,
    is_over: bool,
}

/// What the worker and the thread share.
struct Shared {
    segment: Arc<Segment>,
    who: Participant,
    kind: Kind,
    state: Mutex<State>,
    bell: Condvar,
}

/// A worker's time limits.
#[derive(Default)]
pub(crate) struct Watchdog(RefCell<Option<Started>>);

/// Without a thread, if the system gave none.
type Started = (Arc<Shared>, Option<JoinHandle<()>>);

/// A task whose time is running, until dropped.
pub(crate) struct Watch(Arc<Shared>);

impl Watchdog {
    /// The time of a task begins.
    #[cold]
    pub(crate) fn watch(&self, member: &Member, (number, generation): (u32, u32), limits: TimeLimits) -> Watch {
        let mut own = self.0.borrow_mut();
        let (shared, _) = own.get_or_insert_with(|| start(member));
        let now = now_ns();
        let (soft_at, hard_at) = (due(now, limits.soft_ms), due(now, limits.hard_ms));
        let mut state = lock(&shared.state);
        state.watched.push(Watched { number, generation, soft_at, hard_at });
        shared.note_due(&state);
        if soft_at.min(hard_at) < state.sleeps_until {
            shared.bell.notify_one();
        }
        drop(state);
        Watch(shared.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.watched.pop();
        self.0.note_due(&state);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let Some((shared, thread)) = self.0.take() else { return };
        lock(&shared.state).is_over = true;
        shared.bell.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn start(member: &Member) -> Started {
    let shared = Arc::new(Shared {
        segment: member.segment.clone(),
        who: member.who(),
        kind: member.seat.kind,
        state: Mutex::default(),
        bell: Condvar::new(),
    });
    let runner = shared.clone();
    let thread = std::thread::Builder::new().name("taskring-limits".into()).spawn(move || runner.run());
    if let Err(e) = &thread {
        log::warn!(target: "taskring", "no thread for time limits, so others alone keep them: {e}");
    }
    (shared, thread.ok())
}

impl Shared {
    fn record(&self) -> &Record {
        &self.segment.records()[self.who.index()]
    }

    /// Writes down which of the tasks is killed next, and when, for others.
    fn note_due(&self, state: &State) {
        if self.kind != Kind::Worker {
            return;
        }
        let record = self.record();
        let first = state.watched.iter().filter(|task| task.hard_at != u64::MAX).min_by_key(|task| task.hard_at);
        record.hard_at.store(0, Relaxed);
        if let Some(task) = first {
            // Release, both: pair with the Acquire loads of `overdue`. Who sees this task sees the 0 before, and who sees its time sees the task.
            record.hard_task.store(u64::from(task.number) << 32 | u64::from(task.generation), Release);
            record.hard_at.store(task.hard_at, Release);
        }
    }

    fn run(&self) {
        // The program's handlers may expect one of its own threads, or the only one that there was before.
        crate::sys::block_signals();
        let mut state = lock(&self.state);
        while !state.is_over {
            let now = now_ns();
            let mut next = u64::MAX;
            for task in &mut state.watched {
                if task.hard_at <= now {
                    task.hard_at = if self.end_hard(task) { now + AGAIN_NS } else { u64::MAX };
                }
                if task.soft_at <= now {
                    task.soft_at = u64::MAX;
                    self.ask(task);
                }
                next = next.min(task.soft_at).min(task.hard_at);
            }
            state.sleeps_until = next;
            state = match next {
                u64::MAX => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                next => {
                    let time = Duration::from_nanos(next.saturating_sub(now_ns()));
                    self.bell.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn ask(&self, task: &Watched) {
        let (lane, index) = self.segment.geometry().split(task.number);
        let _ = self.segment.lane(lane).slots[index].ask_of(self.who, task.generation);
    }

    /// A thread cannot be killed, nor a process that does something else in the pool as well: there the task is asked. True when that may change.
    fn end_hard(&self, task: &Watched) -> bool {
        let is_process = self.kind == Kind::Worker;
        if !is_process || self.segment.is_shared_process(self.who) {
            self.ask(task);
            return is_process;
        }
        let (lane, index) = self.segment.geometry().split(task.number);
        let slot = &self.segment.lane(lane).slots[index];
        let condemned = slot.condemn_for_time(self.who, task.generation);
        // Also when somebody else has condemned it meanwhile. Who was taken for dead finds it gone, and leaves.
        if condemned.is_ok() || slot.load().is_condemned_with(self.who, task.generation) {
            crate::sys::kill_self();
        }
        false
    }
}
