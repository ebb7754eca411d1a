//! The only code that acts for a dead participant.
//!
//! Whoever notices a death may do it: the supervisor at once, others when a timed sleep or a lock's time-out makes them look. It needs
//! no lock of a living participant. Every step can be repeated, for the reaper may die as well: each one is a compare-and-swap from a word that
//! names the dead, or a hint that may be set twice. The record is freed last, so until then the next reaper comes by again.
//!
//! | phase at death | fact | verdict | if the task may run again |
//! |---|---|---|---|
//! | PENDING | nobody took it | stays pending | same |
//! | RUNNING, no note for this attempt | not entered | requeued, same attempt; cancelled, if it was asked to stop | same |
//! | RUNNING, STARTED | entered | lost, may have run | requeued, attempt + 1, up to the limits |
//! | RUNNING, RETURNED | ran, result not committed | ran, result lost | requeued, attempt + 1, up to the limits |
//! | RUNNING, KILL | its worker was killed for it | cancelled; with TIME: its time was up | same |
//! | DONE | committed | its result | same |

use crate::error::{Cause, Stage};
use crate::life::{Bit, Broken};
use crate::limits::CAUSE_GRACE_NS;
use crate::mutex::{Peers, ShmMutex};
use crate::outcome::{TIME_LIMIT, lost_bits};
use crate::payload::Holder;
use crate::policy::{OnWorkerDeath, Orphans, Policy};
use crate::priority::Priority;
use crate::record::{Kind, RecordState};
use crate::registry::Member;
use crate::search::Rings;
use crate::seeded::{Bug, seeded};
use crate::set::SetRef;
use crate::slot::{OPTION_IDEMPOTENT, OPTION_TERMS, Request};
use crate::state::{Flag, Participant, Phase, Progress, State, Step};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;

/// What a sweep over a discarded set has found.
pub(crate) struct Swept {
    /// Tasks that will never run.
    pub(crate) cancelled: usize,
    /// Those that workers had: lane, slot and generation.
    pub(crate) claimed: Vec<(usize, usize, u32)>,
}

impl Member {
    /// Looks for dead participants and recovers what they left. Returns how many.
    pub(crate) fn reap_all(&self) -> usize {
        // Together they wait no longer than one of them.
        let deadline = now_ns() + CAUSE_GRACE_NS;
        let reap = |&who: &Participant| {
            self.await_cause(who, deadline);
            self.reap_now(who)
        };
        self.dead().into_iter().filter(reap).count()
    }

    /// Who is dead and has not been recovered.
    pub(crate) fn dead(&self) -> Vec<Participant> {
        self.participants().map(|(who, ..)| who).filter(|&who| self.is_dead(who)).collect()
    }

    /// Recovers what one dead participant left; false when it is not proved dead, or somebody else is at it.
    pub(crate) fn reap(&self, dead: Participant) -> bool {
        self.await_cause(dead, now_ns() + CAUSE_GRACE_NS);
        self.reap_now(dead)
    }

    /// The same, for who has written the cause down.
    pub(crate) fn reap_now(&self, dead: Participant) -> bool {
        self.if_dead(dead, || self.recover(dead)).unwrap_or(false)
    }

    /// Gives a living supervisor the time, until the deadline, to write down why its worker died.
    fn await_cause(&self, dead: Participant, deadline: u64) {
        if !self.is_worker(dead) || !self.owner_is_alive() {
            return;
        }
        while self.awaits_cause(dead) && now_ns() < deadline && self.is_worker(dead) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn is_worker(&self, who: Participant) -> bool {
        let state = RecordState::of(&self.segment.records()[who.index()]);
        state.is_active_as(who) && state.is_worker()
    }

    fn recover(&self, dead: Participant) -> bool {
        let record = &self.segment.records()[dead.index()];
        let state = RecordState::of(record);
        if !state.is_active_as(dead) {
            return false;
        }
        let cause = self.cause(dead).unwrap_or(Cause::Unknown);
        let pid = record.pid.load(Relaxed);
        let policy = Policy::from_bits(self.segment.header().identity.policy.load(Relaxed));
        if seeded(Bug::RecordFirst) {
            self.bury(dead);
        }
        if self.was_condemned(dead) {
            // Before its task is settled, after which nothing else tells.
            record.condemned.store(1, Relaxed);
        }
        self.settle_tasks(dead, pid, cause, &policy);
        if !state.is_worker() {
            // An owner's tasks go on if the pool does.
            let orphans = if state.kind() == Some(Kind::Owner) { Orphans::Run } else { policy.orphans };
            self.settle_submitter(dead, orphans);
        } else if policy.on_worker_death == OnWorkerDeath::BreakPool && !self.was_condemned(dead) {
            self.segment.break_pool(Broken::WorkerDied);
        }
        self.release_locks(dead);
        if !seeded(Bug::NoBlockSweep) {
            self.segment.sweep_blocks(Some(dead));
        }
        self.segment.remove_server(dead);
        self.segment.sleepers().forget(dead.index());
        if state.kind() == Some(Kind::Owner) {
            self.segment.set(Bit::Orphaned);
        }
        self.segment.wake_everybody();
        self.bury(dead);
        true
    }

    /// What it was running. A submitter holds a task for a moment too, when it gives it a verdict of its own.
    fn settle_tasks(&self, dead: Participant, pid: u32, cause: Cause, policy: &Policy) {
        for (lane, ring) in self.segment.lanes() {
            for (index, slot) in ring.slots.iter().enumerate() {
                let mut state = slot.load();
                let generation = state.generation();
                if !state.is_run_by(dead, generation) {
                    continue;
                }
                self.settle_task(lane, index, state, (dead, pid, cause), policy);
                // It may have been condemned meanwhile, and then nothing else was done: whoever did so was told that it is cancelled.
                if !state.has(Flag::Kill) {
                    state = slot.load();
                    if state.is_condemned_with(dead, generation) {
                        self.settle_task(lane, index, state, (dead, pid, cause), policy);
                    }
                }
            }
        }
    }

    /// Whether this worker was killed for its task, as far as that can be known: not after it was settled, unless its reaper has noted it.
    pub(crate) fn was_condemned(&self, dead: Participant) -> bool {
        let is_condemned = |state: State| state.is_condemned_with(dead, state.generation());
        self.segment.records()[dead.index()].condemned.load(Relaxed) != 0
            || self.segment.lanes().any(|(_, ring)| ring.slots.iter().any(|slot| is_condemned(slot.load())))
    }

    /// Gives a task of a dead worker back to the ring, or its verdict.
    fn settle_task(&self, lane: usize, index: usize, state: State, dead: (Participant, u32, Cause), policy: &Policy) {
        let (who, pid, cause) = dead;
        let slot = &self.segment.lane(lane).slots[index];
        let request = slot.read();
        let generation = state.generation();
        let number = self.segment.slot_number(lane, index);
        let progress = match seeded(Bug::NotePerWorker) {
            true => Progress::from_bits(self.segment.records()[who.index()].event_waiters.load(Relaxed)),
            false => slot.progress(),
        };
        let set = SetRef(request.set);
        // A result block that was named but not committed belongs to nobody now. Freed before its name is taken away: a reaper that dies in
        // between leaves it for the next one, for whom it is somebody else's already. One that dies before the verdict below leaves a process's number there,
        // which may be the name of another block of the slot.
        let unfinished = slot.result_block.load(Relaxed);
        if unfinished != request.args_block && !self.segment.is_events_block(state, number, unfinished) {
            self.segment.free_block(unfinished, Holder::Slot { number, generation });
        }
        slot.result_block.store(0, Relaxed);
        self.segment.free_untold_events(state, number, request.args_block);
        if state.has(Flag::Kill) {
            if state.has(Flag::Time) {
                slot.outcome.store(TIME_LIMIT, Relaxed);
                slot.result_len.store(self.segment.hard_limit_ms(lane, index), Relaxed);
            }
            if let Ok(old) = slot.end_condemned(who, generation) {
                self.finish(lane, index, old, &request);
            }
            return;
        }
        if progress.step == Step::None {
            if request.set != 0 && self.segment.sets().is_discarded(set) {
                self.cancel_for_set(lane, index, who, generation, &request);
            } else {
                self.requeue(lane, index, who, generation, &request);
            }
            return;
        }
        // Of a worker that was killed for another of its tasks this one is no cause.
        let is_kill = self.segment.records()[who.index()].condemned.load(Relaxed) == 0;
        let again = (request.options & OPTION_IDEMPOTENT != 0 || seeded(Bug::RunAgain))
            && progress.attempt.saturating_add(1) < u16::from(request.attempts_max)
            && progress.kills.saturating_add(is_kill.into()) < request.kills_max
            && policy.on_worker_death != OnWorkerDeath::BreakPool;
        if again {
            // To be asked to stop was for the attempt that is over. Taken away before the note: whoever comes after a reaper that died behind that would take
            // the task for one that was asked before it began.
            if state.has(Flag::Cancel) {
                let _ = slot.change(state, |s| s.is_left_to(who, generation), State::unasked);
            }
            // One store counts the attempt and takes the notes away: a reaper that dies after it leaves "not started".
            slot.note(progress.next_attempt(is_kill));
            let allowed = |s: State| s.is_left_to(who, generation) && !s.has(Flag::Last);
            self.requeue_if(allowed, (lane, index), who, generation, &request);
            return;
        }
        let stage = if progress.step == Step::Started { Stage::MayHaveRun } else { Stage::RanResultLost };
        slot.outcome.store(lost_bits(stage, cause), Relaxed);
        let record = &self.segment.records()[who.index()];
        let number = if RecordState::of(record).is_worker() { record.number.load(Relaxed) } else { 0 };
        slot.result_len.store(number, Relaxed);
        slot.result_block.store(pid, Relaxed);
        if let Ok(old) = slot.complete(who, generation) {
            self.finish(lane, index, old, &request);
        }
    }

    /// RUNNING and this attempt not begun -> PENDING. One that was asked to stop is cancelled instead: whoever has it next would not know.
    pub(crate) fn requeue(&self, lane: usize, index: usize, who: Participant, generation: u32, request: &Request) {
        self.requeue_if(|s| s.may_go_back(who, generation), (lane, index), who, generation, request);
    }

    /// RUNNING -> PENDING if that is allowed and the pool's workers are not being ended, and else cancelled. A set may have been discarded meanwhile, and its sweep have passed by: then the task is
    /// cancelled here, as by a submitter that has just published.
    fn requeue_if(
        &self,
        allowed: impl Fn(State) -> bool,
        (lane, index): (usize, usize),
        who: Participant,
        generation: u32,
        request: &Request,
    ) {
        let slot = &self.segment.lane(lane).slots[index];
        if seeded(Bug::NoRequeue) {
            return;
        }
        let goes_back = !self.segment.has(Bit::Ended) && slot.change(slot.load(), allowed, State::requeued).is_ok();
        if goes_back {
            self.cancel_if_discarded(lane, index, generation, request);
        } else if let Ok(old) = slot.cancel_unstarted(who, generation) {
            self.finish(lane, index, old, request);
        }
    }

    /// After a task was put back into the ring: cancels it if its set was discarded.
    pub(crate) fn cancel_if_discarded(&self, lane: usize, index: usize, generation: u32, request: &Request) {
        let (sets, set) = (self.segment.sets(), SetRef(request.set));
        if request.set != 0
            && sets.is_discarded(set)
            && let Ok(old) = self.segment.lane(lane).slots[index].cancel(generation, self.who())
        {
            sets.count_cancelled(set, 1);
            self.finish(lane, index, old, request);
        }
    }

    /// Cancels a task that `who` has claimed and not started, for its set was discarded. False when it is `who`'s no more, or condemned.
    pub(crate) fn cancel_for_set(
        &self,
        lane: usize,
        index: usize,
        who: Participant,
        generation: u32,
        request: &Request,
    ) -> bool {
        let (sets, set) = (self.segment.sets(), SetRef(request.set));
        // Counted before: whoever sees the slot cancelled sees the count.
        sets.count_cancelled(set, 1);
        let cancelled = self.segment.lane(lane).slots[index].cancel_unstarted(who, generation);
        match cancelled {
            Ok(old) => self.finish(lane, index, old, request),
            Err(_) => sets.count_cancelled(set, -1),
        }
        cancelled.is_ok()
    }

    /// What follows the end of a task, whoever ended it.
    pub(crate) fn finish(&self, lane: usize, index: usize, old: State, request: &Request) {
        self.segment.announce_end(lane, index, old, request);
        if old.has(Flag::Detached) {
            // The slot is free already; of its blocks only the arguments' name is known here. A result's block is swept.
            let number = self.segment.slot_number(lane, index);
            self.segment.free_slot_blocks([request.args_block, 0], number, old.generation());
            self.segment.free_events(old, number);
        }
    }

    /// After pending tasks were cancelled: in a pool that is closing workers may wait for their time to come before they leave.
    pub(crate) fn tell_leavers(&self) {
        if self.segment.has(Bit::Closing) {
            self.segment.sleepers().wake_each();
        }
    }

    fn settle_submitter(&self, dead: Participant, orphans: Orphans) {
        for (set, discarded) in self.segment.sets().of(dead) {
            if discarded {
                self.sweep_set(set);
            }
        }
        for (lane, ring) in self.segment.lanes() {
            for (index, slot) in ring.slots.iter().enumerate() {
                // The state before and after the look at the submitter tells whether the two belong together.
                let state = slot.load();
                if state.is(Phase::Free) || slot.submitted_by() != dead || slot.load().generation() != state.generation() {
                    continue;
                }
                self.settle_orphan(lane, index, state.generation(), orphans);
            }
        }
        for (set, _) in self.segment.sets().of(dead) {
            self.segment.sets().close(set);
        }
        self.segment.records()[dead.index()].lane.store(0, Relaxed);
    }

    /// A slot whose submitter died, or is leaving: its result will not be collected.
    pub(crate) fn settle_orphan(&self, lane: usize, index: usize, generation: u32, orphans: Orphans) {
        let slot = &self.segment.lane(lane).slots[index];
        let request = slot.read();
        if seeded(Bug::NoOrphans) {
            return;
        }
        if slot.flag(generation, Flag::Detached).is_ok() {
            // One that runs is pending again when it fails, or its worker dies: by then nobody comes by for its submitter.
            if orphans == Orphans::CancelPending
                && let Ok(old) = slot.cancel_or_let_end(generation, self.who())
            {
                self.finish(lane, index, old, &request);
            }
            return;
        }
        let result = slot.result_block.load(Relaxed);
        if let Ok(old) = slot.free(generation) {
            let number = self.segment.slot_number(lane, index);
            self.segment.free_slot_blocks([request.args_block, result], number, generation);
            self.segment.free_events(old, number);
        }
    }

    /// The sweep of a discarded set, over every lane: cancels its pending tasks, and notes those that workers have.
    pub(crate) fn sweep_set(&self, set: SetRef) -> Swept {
        const AHEAD: usize = 8;
        let mut swept = Swept { cancelled: 0, claimed: Vec::new() };
        let own = self.segment.records()[self.who().index()].lane.load(Relaxed);
        for (lane, ring) in self.segment.lanes() {
            let is_own = Priority::of_lane(lane).lane_in(own) == Some(lane);
            for (index, slot) in ring.slots.iter().enumerate() {
                if is_own {
                    // Most were written last by us, and many more than our caches hold.
                    crate::sync::prefetch_to_write(&ring.slots[(index + AHEAD) & (ring.slots.len() - 1)]);
                }
                let state = slot.load();
                if slot.set.load(Relaxed) != set.0 {
                    continue;
                }
                match self.sweep_slot(lane, index, state) {
                    Some(true) => swept.cancelled += 1,
                    Some(false) => swept.claimed.push((lane, index, state.generation())),
                    None => {}
                }
            }
        }
        self.tell_leavers();
        swept
    }

    /// Looks again at the tasks that workers had. Cancels those that a reaper has put back into the ring since then, and forgets those that are over. Returns
    /// how many workers have yet to look whether they may start theirs.
    pub(crate) fn look_at_claimed(&self, swept: &mut Swept) -> usize {
        let mut undecided = 0;
        let cancelled = &mut swept.cancelled;
        swept.claimed.retain(|&(lane, index, generation)| {
            let slot = &self.segment.lane(lane).slots[index];
            let state = slot.load();
            let found = if state.generation() == generation { self.sweep_slot(lane, index, state) } else { None };
            *cancelled += usize::from(found == Some(true));
            undecided += usize::from(found == Some(false) && slot.progress().step == Step::None);
            found == Some(false)
        });
        undecided
    }

    /// Cancels a task that is pending: then true. False when a worker has it, and then it is not run again: the set's name may be gone by its end.
    #[inline]
    fn sweep_slot(&self, lane: usize, index: usize, state: State) -> Option<bool> {
        let slot = &self.segment.lane(lane).slots[index];
        let mut now = state;
        if state.is(Phase::Pending) {
            let request = slot.read();
            match slot.cancel(state.generation(), self.who()) {
                Ok(old) => {
                    self.finish(lane, index, old, &request);
                    return Some(true);
                }
                Err(found) => now = found,
            }
        }
        let runs = now.is(Phase::Running) && now.generation() == state.generation();
        if runs { self.sweep_running(lane, index, now) } else { None }
    }

    #[cold]
    fn sweep_running(&self, lane: usize, index: usize, state: State) -> Option<bool> {
        let slot = &self.segment.lane(lane).slots[index];
        let request = slot.read();
        if request.options & OPTION_TERMS == 0 {
            return Some(false);
        }
        match slot.cancel_or_let_end(state.generation(), self.who()) {
            Ok(old) => {
                self.finish(lane, index, old, &request);
                Some(true)
            }
            Err(found) => (found.is(Phase::Running) && found.generation() == state.generation()).then_some(false),
        }
    }

    /// Takes the mutexes that the dead participant holds, repairs what they guard, and unlocks them.
    fn release_locks(&self, dead: Participant) {
        if seeded(Bug::LocksKept) {
            return;
        }
        for (lane, _) in self.segment.lanes() {
            if let Some(hold) = self.take_lane_from(lane, dead) {
                self.segment.sweep_unpublished(lane, &hold);
            }
        }
        let header = self.segment.header();
        for word in [&header.registry_mutex, &header.blocks_mutex] {
            // What these two guard is made valid by one last store each; what came before is written over.
            drop(ShmMutex(word).take_from(dead, self.who()));
        }
    }
}
