//! Another attempt at a task that failed (`retry.rs` has the rule for it): the worker that ran it puts it back, and it begins when its pause is over.
//!
//! ```text
//! the task's worker                         every other worker
//! 1 not before; later = 1                   1 idle mark
//! 2 note: next attempt, nothing begun       2 fence
//! 3 RUNNING -> PENDING, unless asked        3 look: a new epoch, so at every slot; one that is later: note it
//! 4 epoch += 1, fence                       4 sleep, not longer than until the first of those
//! 5 wake all that are marked idle
//! ```
//! A slot that says `later` wants what nobody has: no look takes it, and a head steps over it. Who meets one that he could run otherwise knows of it from then on
//! (`Performer::later`), asks when it may begin, and takes it then, by the same swap as any other. Who takes one by a look from before, finds that when it
//! would begin it, and gives it back. So the worker that put it back may die, stand still, or
//! have another task at that time. Who dies between 1 and 5 is reaped, and then there is a new epoch too; between 2 and 3 its reaper puts the task back.

use crate::life::Bit;
use crate::outcome::Kind;
use crate::perform::Performer;
use crate::priority::Priority;
use crate::retry::{Failure, Rule, not_before, still_until};
use crate::ring::Claim;
use crate::search::{Rings, Task};
use crate::segment::Segment;
use crate::slot::{OPTION_TERMS, WANTED_LATER};
use crate::state::{Phase, State, Step};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;

thread_local! {
    static CODE: Cell<u8> = const { Cell::new(0) };
}

/// The task that this thread runs is failing with this code.
#[cold]
pub(crate) fn failing_with(code: i32) {
    CODE.set(u8::try_from(code).unwrap_or(0));
}

/// When the tasks that are to begin later may, as far as a worker knows. Private to it.
#[derive(Default)]
pub(crate) struct Later {
    at: Cell<u64>,
    /// What the last look has found to be due and we have not come to, the next one last: lane, slot and word. While there is any, `at` is over.
    due: RefCell<Vec<(usize, usize, State)>>,
}

impl Later {
    /// Knows of none.
    const NONE: u64 = 0;
    /// Knows that there may be one, and not when.
    const LOOK: u64 = 1;

    #[inline]
    pub(crate) fn knows_of_one(&self) -> bool {
        self.at.get() != Self::NONE
    }

    /// When to look for one again, in nanoseconds of the clock; never, if none is known of.
    pub(crate) fn at(&self) -> u64 {
        if self.knows_of_one() { self.at.get() } else { u64::MAX }
    }

    /// The next of those that were due.
    fn next_due(&self) -> Option<(usize, usize, State)> {
        self.due.borrow_mut().pop()
    }

    fn note(&self, at: u64) {
        self.at.set(self.at().min(at.max(Self::LOOK)));
    }
}

impl Segment {
    /// When the task in that slot may begin, if it is pending and has to wait still. A hint.
    pub(crate) fn waits_until(&self, lane: usize, index: usize, now: u64) -> Option<u64> {
        let slot = &self.lane(lane).slots[index];
        let is_later = slot.load().is(Phase::Pending) && slot.wanted() & WANTED_LATER != 0;
        still_until(slot.result_len.load(Relaxed), now).filter(|_| is_later)
    }
}

impl Performer {
    /// A task that this worker cannot take, at least not as it finds it.
    #[cold]
    pub(crate) fn leaves(&self, wanted: u32) {
        if wanted & WANTED_LATER != 0 && self.can_run(wanted & !WANTED_LATER) {
            self.later.note(Later::LOOK);
        }
    }

    /// For a task with terms: no code is left from an earlier one.
    pub(crate) fn forget_code(&self) {
        CODE.set(0);
    }

    /// After a task's function has failed: puts it back for another attempt, if its rule says so and nobody has asked it to stop. False when this is its end.
    #[cold]
    // By what stands in the slot: what is handed over would have to be kept for it in every task.
    pub(crate) fn put_back(&self, task: Task, kind: Kind) -> bool {
        let (segment, lane, index) = (&*self.member.segment, task.lane, task.claim.slot);
        let slot = &segment.lane(lane).slots[index];
        let (request, progress) = (slot.read(), slot.progress());
        let failure = match kind {
            Kind::Failed | Kind::FailedBecause => Failure::Error(CODE.get()),
            Kind::Panicked => Failure::Panic,
            _ => return false,
        };
        let has_terms = request.options & OPTION_TERMS != 0;
        let Some(extra) = segment.extra(lane, index).filter(|_| has_terms) else { return false };
        let (rule, next) = (Rule::load(extra.retry.each_ref()), progress.next_attempt(false));
        let (who, generation) = (self.member.who(), task.claim.state.generation());
        let has_attempts = rule.is_for(failure) && next.attempt < u16::from(rule.attempts());
        if !has_attempts || !slot.load().may_go_back(who, generation) {
            return false;
        }
        let (pause, now) = (rule.pause_ms(progress.attempt), now_ns());
        let not_before = not_before(now, pause);
        slot.result_len.store(not_before, Relaxed);
        slot.set_later(pause != 0);
        // One store counts the attempt and takes the notes away: a reaper that finds this puts the task back in our place.
        slot.note(next);
        if let Err(found) = slot.put_back(who, generation) {
            // Asked to stop meanwhile; or not ours any more, and then it is nothing of ours to change.
            if found.is_run_by(who, generation) {
                slot.set_later(false);
                slot.note(progress.at(Step::Returned));
            }
            return false;
        }
        self.member.cancel_if_discarded(lane, index, generation, &request);
        if pause != 0 {
            self.later.note(still_until(not_before, now).unwrap_or(now));
        }
        segment.new_epoch();
        // All of them: any may be the one that can run it, and each is to know until when to sleep.
        segment.sleepers().wake_each();
        true
    }

    /// Takes a task that was to begin later, when its time has come.
    #[cold]
    pub(crate) fn take_later(&self) -> Option<Task> {
        let now = now_ns();
        if now < self.later.at() {
            return None;
        }
        // One look at every slot is for all that are due by then. A new one as soon as these are over: a time that it found may have come since.
        self.take_due().or_else(|| {
            self.look_for_due(now);
            self.take_due()
        })
    }

    fn take_due(&self) -> Option<Task> {
        std::iter::from_fn(|| self.later.next_due()).find_map(|(lane, index, state)| self.claim_later(lane, index, state))
    }

    /// Looks at every slot for tasks that are to begin later: notes those whose time has come, and until when there is no other.
    fn look_for_due(&self, now: u64) {
        #[cfg(test)]
        tests::LOOKS.fetch_add(1, Relaxed);
        let (mut due, mut next) = (Vec::new(), u64::MAX);
        for (lane, ring) in self.member.segment.lanes() {
            for (index, slot) in ring.slots.iter().enumerate() {
                let state = slot.load();
                let wanted = slot.wanted();
                if !state.is(Phase::Pending) || wanted & WANTED_LATER == 0 || !self.can_run(wanted & !WANTED_LATER) {
                    continue;
                }
                let at = slot.result_len.load(Relaxed);
                match still_until(at, now) {
                    // How long ago that was.
                    None => due.push((((now / 1_000_000) as u32).wrapping_sub(at), lane, index, state)),
                    Some(at) => next = next.min(at),
                }
            }
        }
        // Of the highest level the one that waits longest is the next, and so the last.
        due.sort_unstable_by_key(|&(since, lane, index, _)| (Priority::of_lane(lane), since, Reverse((lane, index))));
        let is_one_due = !due.is_empty();
        self.later.due.replace(due.into_iter().map(|(_, lane, index, state)| (lane, index, state)).collect());
        self.later.at.set(match next {
            _ if is_one_due => Later::LOOK,
            u64::MAX => Later::NONE,
            at => at,
        });
    }

    /// Claims a task that was seen to be due. Another worker may have had it since, and put it back again for later.
    pub(crate) fn claim_later(&self, lane: usize, index: usize, seen: State) -> Option<Task> {
        let state = self.member.segment.lane(lane).slots[index].claim(seen, self.member.who()).ok()?;
        let task = Task { lane, claim: Claim { slot: index, state } };
        (!self.gives_back(task)).then_some(task)
    }

    /// Whether a claimed task with terms is to begin later than now: then it is given back. Whoever claimed it has seen it before that: between a look and the
    /// swap that follows it, and longer within a look at every slot, another worker may have had the task and put it back.
    pub(crate) fn gives_back(&self, task: Task) -> bool {
        let (segment, lane, index) = (&*self.member.segment, task.lane, task.claim.slot);
        let slot = &segment.lane(lane).slots[index];
        if slot.wanted() & WANTED_LATER == 0 {
            return false;
        }
        if still_until(slot.result_len.load(Relaxed), now_ns()).is_none() {
            slot.set_later(false);
            return false;
        }
        self.member.requeue(lane, index, self.member.who(), task.claim.state.generation(), &slot.read());
        self.later.note(Later::LOOK);
        segment.new_epoch();
        segment.sleepers().wake_each();
        true
    }

    /// In a pool that is closing: sleeps until a task that is to begin later may, or until somebody wakes us. False when there is none for us.
    #[cold]
    pub(crate) fn await_later(&self, deadline: u64) -> bool {
        let segment = &*self.member.segment;
        let (sleepers, me) = (segment.sleepers(), self.member.who().index());
        let seen = sleepers.prepare(me);
        // After the mark: who cancels one from now on wakes us.
        let now = now_ns();
        let waits = segment.lanes().any(|(lane, ring)| {
            ring.slots.iter().enumerate().any(|(index, slot)| {
                self.can_run(slot.wanted() & !WANTED_LATER) && segment.waits_until(lane, index, now).is_some()
            })
        });
        // One that is due has been missed by a moment. And without a time of ours the next look tells it.
        if waits && self.later.knows_of_one() && !segment.has(Bit::Broken) && !segment.has(Bit::Corrupt) {
            let _ = sleepers.sleep(me, seen, deadline.min(self.later.at()));
        }
        sleepers.cancel(me);
        waits || self.later.at() <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, StartMethod};
    use std::sync::atomic::AtomicUsize;

    pub(super) static LOOKS: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn one_look_is_for_all_that_are_due() {
        const TASKS: u64 = 10_000;
        let double = crate::register("again::double", |x: u64| 2 * x).unwrap();
        let builder = Executor::builder().workers(1).capacity(TASKS as usize).start(StartMethod::Thread);
        let pool = builder.build().unwrap();
        pool.pause().unwrap();
        let all = pool.submit_bulk(double, 0..TASKS).unwrap();
        let now = now_ns();
        for slot in pool.pool().segment().lane(pool.pool().lane).slots.iter().filter(|slot| slot.load().is(Phase::Pending)) {
            // As one that has failed, and whose pause is over.
            slot.result_len.store(not_before(now, 0).wrapping_sub(10), Relaxed);
            slot.set_later(true);
        }
        pool.resume().unwrap();
        assert!(all.iter().zip(0..).all(|(future, x)| future.result() == Ok(2 * x)));
        let looks = LOOKS.load(Relaxed);
        assert!((1..100).contains(&looks), "{looks} looks at every slot");
    }
}
