//! A model of the protocol by itself: a lane, one or two submitters, two workers and two reapers, of whom any may be killed or stopped at any step, the
//! reapers too. stateright goes through every state that can be reached; how many submitters, deaths and stops there are, and whether the reapers race or
//! the second comes after the first has died, is each configuration's own (`tests.rs`). `cargo test --release -p taskring-models-stateright`.
//!
//! It has no weak memory and no code of the library: loom and shuttle run that. What it has is completeness: every death in every state of all the others.
//! It leaves out what the library does for the order of tasks (a look goes over the slots as they lie) and against damaged words.
//! No sleep ends by time unless somebody is stopped, so a lost wake shows as a state in which nobody can go on.

mod machine;
mod others;
#[cfg(test)]
mod tests;

use machine::{ALL, At, NOBODY, Phase, REAPERS_AT, Verdict, WORKERS_AT};
pub use machine::{Machine, State};
use stateright::{Model, Property};

/// A rule of the protocol that a model can leave out, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Whoever sees a new epoch looks at every slot once.
    LookAtEverySlot,
    /// A worker looks once more between its mark and sleep.
    LookBeforeSleep,
    /// A reaper wakes every worker, not one.
    WakeAll,
    /// A reaper wakes those who wait for a task, also when it has not ended one.
    WakeWaiters,
    /// A task that was not started goes back to the ring.
    Requeue,
    /// The record of the dead is freed last.
    BuryLast,
    /// Whoever takes the lane over repairs its tail.
    TailRepair,
    /// A reaper unlocks what the dead one held.
    ReleaseLocks,
    /// A worker notes that it enters the function.
    NoteStarted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Step(u8),
    Kill(u8),
    Stop(u8),
    Continue(u8),
    /// A worker's timed sleep ends, and it looks at every slot.
    TimeOut(u8),
}

impl Machine {
    fn can_step(&self, state: &State) -> bool {
        (0..ALL).any(|who| self.step(state, who).is_some())
    }

    fn can_die(&self, state: &State, who: u8) -> bool {
        let group = if who < WORKERS_AT { None } else { Some(if who < REAPERS_AT { WORKERS_AT } else { REAPERS_AT }) };
        // Somebody has to run the tasks, and somebody to reap; a submitter that has its results has left.
        state.dead & 1 << who == 0
            && (who >= WORKERS_AT || state.locals[who as usize].at != At::End)
            && group.is_none_or(|first| state.dead & (3 << first) == 0)
    }

    fn is_quiet(&self, state: &State) -> bool {
        let over = |who: u8| state.dead & 1 << who != 0 || state.locals[who as usize].at == At::End;
        let slots = &state.slots[..self.slots as usize];
        (0..WORKERS_AT).all(over)
            && slots.iter().all(|slot| slot.phase == Phase::Free)
            && state.lane == NOBODY
            && state.dead == state.buried
            && state.bytes.iter().all(|&byte| byte == NOBODY)
    }

    /// One verdict for each task whose submitter lives, and all is as at first.
    fn ends_well(&self, state: &State) -> bool {
        let told = |task: u8| {
            let lives = state.dead & 1 << (task / self.tasks) == 0;
            !lives || state.verdicts[task as usize] != Verdict::None
        };
        self.is_quiet(state) && (0..self.submitters * self.tasks).all(told)
    }
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for who in 0..ALL {
            actions.push(Action::Step(who));
        }
        let waits = state.stopped != 0 && !self.can_step(state);
        let pending = state.slots[..self.slots as usize].iter().any(|slot| slot.phase == Phase::Pending);
        for who in 0..ALL {
            let bit = 1 << who;
            if state.crashes > 0 && self.can_die(state, who) {
                actions.push(Action::Kill(who));
            }
            if state.stopped & bit != 0 {
                actions.push(Action::Continue(who));
            } else if state.stops > 0 && state.dead & bit == 0 && state.locals[who as usize].at != At::End {
                actions.push(Action::Stop(who));
            }
            let sleeps = state.asleep & bit != 0 && (WORKERS_AT..REAPERS_AT).contains(&who) && state.stopped & bit == 0;
            if waits && pending && sleeps {
                actions.push(Action::TimeOut(who));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Step(who) => return self.step(state, who),
            Action::Kill(who) => return Some(self.kill(state, who)),
            Action::Stop(who) => {
                next.stopped |= 1 << who;
                next.stops -= 1;
            }
            Action::Continue(who) => next.stopped &= !(1 << who),
            Action::TimeOut(who) => {
                next.asleep &= !(1 << who);
                next.behind |= 1 << who;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Machine>> {
        vec![
            Property::always("whoever cannot go on is done", |m: &Machine, s: &State| {
                s.stopped != 0 || m.can_step(s) || m.ends_well(s)
            }),
            Property::always("a stopped one holds up no pending task", |m: &Machine, s: &State| {
                let pending = || s.slots[..m.slots as usize].iter().any(|slot| slot.phase == Phase::Pending);
                let worker = |who: u8| (s.dead | s.stopped) & 1 << who == 0 && s.asleep & 1 << who == 0;
                s.stopped == 0 || m.can_step(s) || !pending() || !(WORKERS_AT..REAPERS_AT).any(worker)
            }),
            Property::always("entered once an attempt", |m: &Machine, s: &State| s.entered.iter().all(|&n| n <= m.attempts)),
            Property::always("one verdict", |_: &Machine, s: &State| !s.verdicts.contains(&Verdict::Twice)),
            Property::always("a verdict fits what happened", |m: &Machine, s: &State| {
                (0..s.entered.len()).all(|t| match s.verdicts[t] {
                    Verdict::Value | Verdict::RanResultLost => s.entered[t] > 0,
                    Verdict::Cancelled => s.entered[t] < m.attempts,
                    _ => true,
                })
            }),
            Property::always("one holder of the lane", |_: &Machine, s: &State| {
                use At::{NextFree, Publish, ReleaseLane, Repair, RepairLane, StoreTail, Unlock};
                let inside = [NextFree, Publish, StoreTail, Unlock, Repair, RepairLane, ReleaseLane];
                s.locals.iter().filter(|local| inside.contains(&local.at)).count() <= 1
            }),
            Property::always("the head does not overtake the tail when all is quiet", |m: &Machine, s: &State| {
                !m.is_quiet(s) || s.head <= s.tail
            }),
            Property::sometimes("a task is given back to the ring and gets its value", |m: &Machine, s: &State| {
                s.requeued && m.ends_well(s) && s.verdicts.contains(&Verdict::Value)
            }),
            Property::sometimes("a task may have run", |_: &Machine, s: &State| s.verdicts.contains(&Verdict::MayHaveRun)),
            Property::sometimes("a result is lost", |_: &Machine, s: &State| s.verdicts.contains(&Verdict::RanResultLost)),
            Property::sometimes("a reaper has died and all ends well", |m: &Machine, s: &State| {
                s.dead >> REAPERS_AT != 0 && m.ends_well(s)
            }),
            Property::sometimes("a cancelled task was not entered", |m: &Machine, s: &State| {
                s.cancelled != 0 && m.ends_well(s)
            }),
        ]
    }
}
