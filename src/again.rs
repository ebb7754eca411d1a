//! Another attempt at a task that failed (`retry.rs` has the rule for it): the worker that ran it puts it back, and it begins when its pause is over.
//!
//! ```text
//! without a pause                           with one
//! 1                                         1 not before; later = 1
//! 2 note: next attempt, nothing begun       2 the same
//! 3 RUNNING -> PENDING, unless asked        3 the same
//! 4 claims it again, if no other comes      4 tells all workers that can run it until when to sleep (`later.rs`)
//!   first; else a new epoch: all look at
//!   every slot
//! ```
//! Between 3 and 4 nobody else knows of a task without a pause, so its worker owes it: it does nothing else before (`Search::look_after_put_back`).
//! A slot that says `later` wants what nobody has: no look takes it, and a head steps over it. Who knows of one that he could run otherwise
//! looks at every slot when it may begin, and takes it then, by the same swap as any other. Who takes one by a look from before, finds that when it
//! would begin it, and gives it back. So the worker that put it back may die, stand still, or
//! have another task at that time. Who dies between 1 and 4 is reaped, and then there is a new epoch, too; between 2 and 3 its reaper puts the task back. Of one
//! that stands still between 3 and 4 the task is found by the next look at everything, as each worker makes one in a second.

use crate::later::{self, AT_ONCE};
use crate::life::Bit;
use crate::limits::OWNER_SEAT;
use crate::outcome::Kind;
use crate::perform::Performer;
use crate::priority::Priority;
use crate::retry::{Failure, Rule, not_before, still_until};
use crate::ring::Claim;
use crate::search::{Rings, Task};
use crate::seeded::{Bug, seeded};
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

/// What a worker's last look has found to be due and it has not come to, the next one last: lane, slot and word. While there is any, its time is over.
#[derive(Default)]
pub(crate) struct Due(RefCell<Vec<(usize, usize, State)>>);

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
            self.member.record().look_by(AT_ONCE);
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
        let (rule, mut next) = (Rule::load(extra.retry.each_ref()), progress.next_attempt(false));
        if seeded(Bug::AttemptUncounted) {
            next.attempt = progress.attempt;
        }
        let (who, generation) = (self.member.who(), task.claim.state.generation());
        let has_attempts = rule.is_for(failure) && next.attempt < u16::from(rule.attempts());
        if !has_attempts || !slot.load().may_go_back(who, generation) {
            return false;
        }
        let pause = rule.pause_ms(progress.attempt);
        let not_before = not_before(now_ns(), pause);
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
        segment.announce_put_back(slot, &request);
        if pause == 0 {
            self.owed.set(Some(task));
            self.is_held_up.set(true);
        } else {
            self.tell_of_later(request.function, not_before);
        }
        true
    }

    /// The task that was put back last and may begin at once, if this has not been asked since: from here on it is the caller's to see to it that somebody
    /// comes by it.
    pub(crate) fn take_owed(&self) -> Option<Task> {
        self.is_held_up.set(self.is_out.get());
        self.owed.take()
    }

    /// Tells all that can run such a task: any may be the one that is free when its time comes.
    fn tell_of_later(&self, function: u16, not_before: u32) {
        let (segment, me) = (&*self.member.segment, self.member.who().index());
        later::tell(segment.sleepers(), segment.servers(function).chain([me]), not_before);
        // One that would start a worker for it.
        segment.sleepers().wake_marked(OWNER_SEAT);
    }

    /// When to look for those, in nanoseconds of the clock.
    pub(crate) fn looks_at(&self) -> u64 {
        self.member.record().looks_at(now_ns())
    }

    /// Takes a task that was to begin later, when its time has come.
    #[cold]
    pub(crate) fn take_later(&self) -> Option<Task> {
        let now = now_ns();
        if now < self.member.record().looks_at(now) {
            return None;
        }
        // One look at every slot is for all that are due by then. A new one as soon as these are over: a time that it found may have come since.
        self.take_due().or_else(|| {
            self.look_for_due(now);
            self.take_due()
        })
    }

    fn take_due(&self) -> Option<Task> {
        std::iter::from_fn(|| self.due.0.borrow_mut().pop())
            .find_map(|(lane, index, state)| self.claim_later(lane, index, state))
    }

    /// Looks at every slot for tasks that are to begin later: notes those whose time has come, and until when there is no other.
    fn look_for_due(&self, now: u64) {
        #[cfg(test)]
        tests::count_look(&self.member.segment);
        let record = self.member.record();
        record.begin_look();
        let mut due = Vec::new();
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
                    Some(_) => {
                        record.look_by(at);
                    }
                }
            }
        }
        // Of the highest level the one that waits longest is the next, and so the last.
        due.sort_unstable_by_key(|&(since, lane, index, _)| (Priority::of_lane(lane), since, Reverse((lane, index))));
        if !due.is_empty() {
            record.look_by(AT_ONCE);
        }
        self.due.0.replace(due.into_iter().map(|(_, lane, index, state)| (lane, index, state)).collect());
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
        let not_before = slot.result_len.load(Relaxed);
        if still_until(not_before, now_ns()).is_none() {
            slot.set_later(false);
            return false;
        }
        let request = slot.read();
        let generation = task.claim.state.generation();
        self.member.requeue(lane, index, self.member.who(), generation, &request);
        // One that is condemned is left to the reaper, and nothing else is begun: a signal that comes late would hit it.
        self.fall_if_condemned(slot.load(), generation);
        segment.announce_put_back(slot, &request);
        // Who looked while we had it has not met it.
        self.tell_of_later(request.function, not_before);
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
        // What the last look has met says only that there is one.
        let times = segment.lanes().flat_map(|(lane, ring)| {
            let slots = ring.slots.iter().enumerate();
            let ours = slots.filter(|(_, slot)| self.can_run(slot.wanted() & !WANTED_LATER));
            ours.filter_map(move |(index, _)| segment.waits_until(lane, index, now))
        });
        let first = times.min();
        // One that is due has been missed by a moment. And without a time of ours the next look tells it.
        if let Some(at) = first
            && self.member.record().looks_later()
            && !segment.has(Bit::Broken)
            && !segment.has(Bit::Corrupt)
        {
            let _ = sleepers.sleep(me, seen, deadline.min(at));
        }
        sleepers.cancel(me);
        first.is_some() || self.looks_at() <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, StartMethod, TaskError};
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    /// Of each pool.
    static LOOKS: Mutex<Option<HashMap<u64, usize>>> = Mutex::new(None);

    pub(super) fn count_look(segment: &Segment) {
        let nonce = segment.header().identity.nonce.load(Relaxed);
        *LOOKS.lock().unwrap().get_or_insert_default().entry(nonce).or_default() += 1;
    }

    fn looks_in(segment: &Segment) -> usize {
        let nonce = segment.header().identity.nonce.load(Relaxed);
        LOOKS.lock().unwrap().as_ref().and_then(|looks| looks.get(&nonce).copied()).unwrap_or(0)
    }

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
        let looks = looks_in(pool.pool().segment());
        assert!((1..100).contains(&looks), "{looks} looks at every slot");
    }

    #[test]
    fn in_a_pool_that_is_closing_who_waits_for_a_time_sleeps() {
        let name = "again::at_the_end";
        let fails_once = |x: u64| if crate::task::attempt() == 0 { Err(TaskError::new("once")) } else { Ok(x) };
        let fails_once = crate::register_fallible(name, fails_once).unwrap();
        let pause = Duration::from_millis(300);
        let retry = crate::Retry::new(2).backoff(pause, pause);
        let pool = Executor::builder().workers(2).start(StartMethod::Thread).task_retry(retry).build().unwrap();
        let future = pool.submit(fails_once, 7).unwrap();
        let segment = pool.pool().member.segment.clone();
        pool.shutdown(true, false).unwrap();
        assert_eq!(future.result(), Ok(7));
        let looks = looks_in(&segment);
        assert!(looks < 50, "{looks} looks at every slot");
    }

    /// So many tasks that fail in their first attempts, in a ring that they nearly fill. How many new epochs that made, and how many looks for those that are due.
    fn all_fail_once(name: &str, pause: Duration) -> (u32, usize) {
        const TASKS: u64 = 10_000;
        let calls = AtomicU64::new(0);
        let fails_once = move |x: u64| {
            let is_first = crate::task::attempt() == 0;
            assert!(calls.fetch_add(1, Relaxed) < 2 * TASKS, "more attempts than there are");
            if is_first { Err(TaskError::new("once")) } else { Ok(2 * x) }
        };
        let fails_once = crate::register_fallible(name, fails_once).unwrap();
        let retry = crate::Retry::new(2).backoff(pause, pause);
        let builder = Executor::builder().workers(2).capacity(1 << 14).start(StartMethod::Thread).task_retry(retry);
        let pool = builder.build().unwrap();
        let segment = pool.pool().segment();
        let all = pool.submit_bulk(fails_once, 0..TASKS).unwrap();
        assert!(all.iter().zip(0..).all(|(future, x)| future.result() == Ok(2 * x)));
        (segment.life().epoch.load(Relaxed), looks_in(segment))
    }

    #[test]
    fn who_puts_a_task_back_that_may_begin_at_once_has_nobody_look_at_every_slot() {
        let begin = std::time::Instant::now();
        let (epochs, looks) = all_fail_once("again::at_once", Duration::ZERO);
        println!("at once: {epochs} epochs, {looks} looks, {:?}", begin.elapsed());
        assert!(epochs < 100 && looks == 0, "{epochs} new epochs, {looks} looks");
    }

    #[test]
    fn who_puts_a_task_back_for_later_has_nobody_look_at_every_slot_before() {
        let begin = std::time::Instant::now();
        let (epochs, looks) = all_fail_once("again::later", Duration::from_millis(100));
        println!("later: {epochs} epochs, {looks} looks, {:?}", begin.elapsed());
        assert!(epochs < 100 && looks < 1000, "{epochs} new epochs, {looks} looks");
    }
}
