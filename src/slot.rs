//! The slot: transitions of its state word, and the typed views of its fields.
//!
//! Every transition is one compare-and-swap that keeps the flags it does not name. A failed one reloads the *same* slot: a flag
//! that was set in between changes nothing, only another phase, generation or owner does. Orderings: a transition is Acquire
//! (it sees the fields that the one before left) and Release (it hands on what was written in this phase); each pairs with the
//! transitions before and after it on the same word, and with `load`.

use crate::layout::Slot;
use crate::limits::INLINE_MAX;
use crate::seeded::{Bug, seeded};
use crate::state::{Flag, Participant, Phase, Progress, State};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::time_limits::TimeLimits;

/// What a submitter asks for, written before the task is published.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request {
    pub(crate) function: u16,
    pub(crate) options: u16,
    pub(crate) submitter: u16,
    /// The lane that it is to be published in. `Slot::read` does not give it.
    pub(crate) lane: u16,
    pub(crate) attempts_max: u8,
    pub(crate) kills_max: u8,
    pub(crate) set: u32,
    pub(crate) args_len: u32,
    pub(crate) args_block: u32,
}

impl Request {
    #[inline]
    pub(crate) fn lane(&self) -> usize {
        usize::from(self.lane)
    }

    /// Time limits of a task to be submitted, with `OPTION_TERMS`. Its arguments come beside the request, so the limits lie where it would tell of them: a
    /// larger request would cost every task some instructions. They are for what lies beside the slot, and `Slot::read` does not give them.
    pub(crate) fn limits(&self) -> TimeLimits {
        if self.options & OPTION_TERMS == 0 {
            return TimeLimits::default();
        }
        TimeLimits { soft_ms: self.args_len, hard_ms: self.args_block }
    }

    /// The task has a rule for another attempt, which comes beside the request like its arguments: it, too, would make all of them larger.
    pub(crate) fn set_retried(&mut self) {
        if self.options & OPTION_TERMS == 0 {
            self.options |= OPTION_TERMS;
            (self.args_len, self.args_block) = (0, 0);
        }
    }

    /// See [`limits`](Request::limits).
    pub(crate) fn set_limits(&mut self, limits: TimeLimits) {
        if !limits.is_none() {
            self.options |= OPTION_TERMS;
            (self.args_len, self.args_block) = (limits.soft_ms, limits.hard_ms);
        }
    }
}

/// A task's encoded arguments, as they are written into its slot.
#[derive(Clone, Copy)]
pub(crate) enum Args<'a> {
    /// They fit.
    Inline(&'a [u8]),
    /// So many bytes in the block of this name.
    InBlock(u32, u32),
}

/// The arguments are several, each with its length in front; the result is built the same way.
pub(crate) const OPTION_CHUNK: u16 = 1;
/// The task may run again after its worker died in it.
pub(crate) const OPTION_IDEMPOTENT: u16 = 2;
/// The task has time limits, or a rule for another attempt after an error: they lie beside the slot.
pub(crate) const OPTION_TERMS: u16 = 4;
/// Of what a task wants, and of its slot's function: it is to begin later, not before the time beside its slot, and nobody takes it as he finds it. See
/// `again.rs`.
pub(crate) const WANTED_LATER: u32 = 1 << 15;
const FUNCTION: u32 = WANTED_LATER - 1;
/// The options from this bit on name the one worker that the task is for, see `target.rs`; 0: any.
pub(crate) const TARGET_SHIFT: u32 = 3;
/// Of what a task wants: the part that names its worker. The other part is the function's number.
pub(crate) const WANTED_TARGET: u32 = u32::MAX << (16 + TARGET_SHIFT);

impl Slot {
    #[inline]
    pub(crate) fn load(&self) -> State {
        // Acquire: pairs with the transition that wrote the word, so the fields it handed on are visible.
        State(self.state.load(Acquire))
    }

    /// One attempt at a transition; `Err` is what was found instead.
    #[inline]
    pub(crate) fn swap(&self, from: State, to: State) -> Result<(), State> {
        // AcqRel: see the module doc.
        self.state.compare_exchange(from.0, to.0, AcqRel, Acquire).map(|_| ()).map_err(State)
    }

    /// Repeats a transition for as long as `allowed` holds of what is found. `Ok` is the word before, `Err` the word that is
    /// not allowed.
    #[inline]
    pub(crate) fn change(
        &self,
        mut seen: State,
        allowed: impl Fn(State) -> bool,
        next: impl Fn(State) -> State,
    ) -> Result<State, State> {
        loop {
            if !allowed(seen) {
                return Err(seen);
            }
            match self.swap(seen, next(seen)) {
                Ok(()) => return Ok(seen),
                Err(found) if seeded(Bug::NoSecondTry) => return Err(found),
                Err(found) => seen = found,
            }
        }
    }

    /// PENDING -> RUNNING by `me`, of the generation of `seen`. `Ok` is the word now.
    #[inline]
    pub(crate) fn claim(&self, seen: State, me: Participant) -> Result<State, State> {
        let generation = seen.generation();
        let pending = |s: State| s.is(Phase::Pending) && s.generation() == generation;
        self.change(seen, pending, |s| s.claimed(me)).map(|s| s.claimed(me))
    }

    /// RUNNING -> DONE, or straight to FREE when nobody will collect; only while `me` is the owner, and the task not condemned. `Ok` is the word before.
    #[inline]
    pub(crate) fn complete(&self, me: Participant, generation: u32) -> Result<State, State> {
        let next = |s: State| if s.has(Flag::Detached) { s.freed() } else { s.completed() };
        if seeded(Bug::CompleteByExchange) {
            let seen = self.load();
            // AcqRel: see the module doc.
            return Ok(State(self.state.swap(next(seen).0, AcqRel)));
        }
        let ours = |s: State| s.is_left_to(me, generation) || seeded(Bug::KillUnheeded) && s.is_run_by(me, generation);
        self.change(self.load(), ours, next)
    }

    /// RUNNING -> PENDING by its owner, after an error, for another attempt: unless it was asked to stop, or is not to run again. `Ok` is the word before.
    pub(crate) fn put_back(&self, me: Participant, generation: u32) -> Result<State, State> {
        let may = |s: State| s.may_go_back(me, generation) || seeded(Bug::AskedAgain) && s.is_left_to(me, generation);
        self.change(self.load(), may, State::requeued)
    }

    /// Cancels a pending task, and asks a running one to stop. `Ok` is the word before, of a task that was cancelled; `Err` what was found instead. The two are
    /// one: a worker that puts the task back meanwhile does so before, and it is cancelled, or finds that it was asked.
    pub(crate) fn cancel_or_ask(&self, generation: u32, me: Participant) -> Result<State, State> {
        self.cancel_or_flag(generation, me, Flag::Cancel)
    }

    /// Cancels a pending task, and has the attempt that runs be the last one. As [`cancel_or_ask`](Slot::cancel_or_ask).
    pub(crate) fn cancel_or_let_end(&self, generation: u32, me: Participant) -> Result<State, State> {
        self.cancel_or_flag(generation, me, Flag::Last)
    }

    fn cancel_or_flag(&self, generation: u32, me: Participant, flag: Flag) -> Result<State, State> {
        let runs = |s: State| s.is(Phase::Running) && s.generation() == generation;
        loop {
            let found = match self.cancel(generation, me) {
                Ok(old) => return Ok(old),
                Err(found) => found,
            };
            if !runs(found) || self.change(found, runs, |s| s.with(flag)).is_ok() {
                return Err(found);
            }
            // It was put back or has ended since.
        }
    }

    /// PENDING -> CANCELLED (or FREE when detached). `Ok` is the word before.
    pub(crate) fn cancel(&self, generation: u32, me: Participant) -> Result<State, State> {
        let next = |s: State| if s.has(Flag::Detached) { s.freed() } else { s.cancelled(me) };
        let same = |s: State| s.generation() == generation || seeded(Bug::NoGeneration);
        self.change(self.load(), |s| s.is(Phase::Pending) && same(s), next)
    }

    /// RUNNING and not started -> CANCELLED (or FREE when detached), by its owner. `Ok` is the word before.
    pub(crate) fn cancel_unstarted(&self, owner: Participant, generation: u32) -> Result<State, State> {
        let next = |s: State| if s.has(Flag::Detached) { s.freed() } else { s.cancelled(owner) };
        self.change(self.load(), |s| s.is_left_to(owner, generation), next)
    }

    /// RUNNING and condemned -> CANCELLED, or DONE when it was for its time (or FREE when detached), by the reaper of its owner. `Ok` is the word before.
    pub(crate) fn end_condemned(&self, owner: Participant, generation: u32) -> Result<State, State> {
        let next = |s: State| match (s.has(Flag::Detached), s.has(Flag::Time)) {
            (true, _) => s.freed(),
            (false, true) => s.completed(),
            (false, false) => s.cancelled(owner),
        };
        self.change(self.load(), |s| s.is_condemned_with(owner, generation), next)
    }

    /// Condemns the task that `owner` runs. From then on nobody but the reaper of `owner` ends it. `Ok` is the word before, which may be so already.
    pub(crate) fn condemn(&self, seen: State, owner: Participant, generation: u32) -> Result<State, State> {
        self.change(seen, |s| s.is_run_by(owner, generation), |s| s.with(Flag::Kill))
    }

    /// DONE or CANCELLED -> FREE, for the reaper of the submitter, beside which other reapers may be at it. `Ok` is the word before.
    pub(crate) fn free(&self, generation: u32) -> Result<State, State> {
        if seeded(Bug::FreeByStore) {
            let seen = self.load();
            // Release: see the module doc.
            self.state.store(seen.freed().0, Release);
            return Ok(seen);
        }
        self.change(self.load(), |s| s.is_finished() && s.generation() == generation, State::freed)
    }

    /// FREE -> PENDING, by the holder of the lane's mutex: nobody else writes to a FREE slot's word, so a store will do.
    #[inline]
    pub(crate) fn publish(&self, free: State) {
        // Release: pairs with `load` and with the swap of a claim, which so see the fields.
        self.state.store(free.published().0, Release);
    }

    /// DONE or CANCELLED -> FREE, by the one thread that has taken the slot: flags are set only before the end, so nobody else writes to a
    /// finished slot's word, and a store will do. A swap would wait until the line is ours, to learn nothing.
    #[inline]
    pub(crate) fn give_back(&self, finished: State) {
        debug_assert!(finished.is_finished());
        // Release: pairs with `load`: whoever sees the slot free sees that its fields have been read.
        self.state.store(finished.freed().0, Release);
    }

    /// Sets a flag unless the task is finished or gone. `Ok` is the word now, `Err` the finished (or later) word.
    pub(crate) fn flag(&self, generation: u32, flag: Flag) -> Result<State, State> {
        let same = |s: State| s.generation() == generation || seeded(Bug::NoGeneration);
        let open = |s: State| (s.is(Phase::Pending) || s.is(Phase::Running)) && same(s);
        self.change(self.load(), open, |s| s.with(flag)).map(|s| s.with(flag))
    }

    /// Has nobody collect a task that has sent no events: those who read them might read on in a block that its worker frees at the end. `Err` is what was
    /// found instead.
    pub(crate) fn detach_without_events(&self, generation: u32) -> Result<State, State> {
        let open = |s: State| (s.is(Phase::Pending) || s.is(Phase::Running)) && s.generation() == generation;
        self.change(self.load(), |s| open(s) && !s.has(Flag::Events), |s| s.with(Flag::Detached))
    }

    /// RUNNING by `me`, of this generation: from now on the slot holds a block of events. `Err` is what was found instead.
    pub(crate) fn begin_events(&self, me: Participant, generation: u32) -> Result<State, State> {
        self.change(self.load(), |s| s.is_run_by(me, generation), |s| s.with(Flag::Events))
    }

    /// The same because its time is up, if nobody has condemned it yet: what it ends with is decided once.
    pub(crate) fn condemn_for_time(&self, owner: Participant, generation: u32) -> Result<State, State> {
        self.change(self.load(), |s| s.is_left_to(owner, generation), |s| s.with(Flag::Kill).with(Flag::Time))
    }

    /// Asks the task that `owner` runs to stop.
    pub(crate) fn ask_of(&self, owner: Participant, generation: u32) -> Result<State, State> {
        self.change(self.load(), |s| s.is_run_by(owner, generation), |s| s.with(Flag::Cancel))
    }

    /// One word of the inline area, the first of which is at byte 0.
    #[inline]
    pub(crate) fn inline_word(&self, index: usize) -> u64 {
        self.inline[index].load(Relaxed)
    }

    /// Writes a task's fields; what the request says of arguments does not count. Only for the holder of the lane's mutex, while the slot is FREE.
    // On the way of every task, from two places that are most of a submit.
    #[inline(always)]
    pub(crate) fn write(&self, t: &Request, place: u32, args: Args<'_>) {
        let (bytes, len, block) = match args {
            Args::Inline(bytes) => (bytes, bytes.len() as u32, 0),
            Args::InBlock(name, len) => (&[][..], len, name),
        };
        self.progress.store(Progress::FRESH.bits(), Relaxed);
        self.function.store(u32::from(t.options) << 16 | u32::from(t.function), Relaxed);
        let limits = u32::from(t.kills_max) << 24 | u32::from(t.attempts_max) << 16;
        self.submitter.store(limits | u32::from(t.submitter), Relaxed);
        self.set.store(t.set, Relaxed);
        self.args_len.store(len, Relaxed);
        self.args_block.store(block, Relaxed);
        self.result_block.store(0, Relaxed);
        // Release: pairs with the Acquire in `Lane::claim`; whoever sees this place sees that the slot's last generation is over.
        self.place.store(place, Release);
        self.write_inline(0, bytes);
    }

    /// The fields as they stand. A racing look may read another task's: compare the state word before and after.
    #[inline]
    pub(crate) fn read(&self) -> Request {
        let function = self.function.load(Relaxed);
        let submitter = self.submitter.load(Relaxed);
        Request {
            function: (function & FUNCTION) as u16,
            options: (function >> 16) as u16,
            submitter: submitter as u16,
            lane: 0,
            attempts_max: (submitter >> 16) as u8,
            kills_max: (submitter >> 24) as u8,
            set: self.set.load(Relaxed),
            args_len: self.args_len.load(Relaxed),
            args_block: self.args_block.load(Relaxed),
        }
    }

    #[inline]
    pub(crate) fn function_index(&self) -> u16 {
        (self.function.load(Relaxed) & FUNCTION) as u16
    }

    /// Whether the task is to begin later. For its owner, while it is RUNNING.
    pub(crate) fn set_later(&self, is_later: bool) {
        // A swap of that bit alone: who was taken for dead, and does not know, changes nothing else of the next task's.
        match is_later {
            true => self.function.fetch_or(WANTED_LATER, Relaxed),
            false => self.function.fetch_and(!WANTED_LATER, Relaxed),
        };
    }

    /// What a worker must have, and be, to run the task. Of one for any worker that is its function's number, and of any other, or one that is to begin later,
    /// a larger one.
    #[inline]
    pub(crate) fn wanted(&self) -> u32 {
        self.function.load(Relaxed) & (WANTED_TARGET | 0xffff)
    }

    #[inline]
    pub(crate) fn submitted_by(&self) -> Participant {
        Participant::from_bits(self.submitter.load(Relaxed) as u16)
    }

    #[inline]
    pub(crate) fn progress(&self) -> Progress {
        // Acquire: pairs with `note`, so that a reaper that reads RETURNED also sees what was written before.
        Progress::from_bits(self.progress.load(Acquire))
    }

    /// Notes how far the owner has come.
    #[inline]
    pub(crate) fn note(&self, progress: Progress) {
        // Release: pairs with `progress`. No barrier is needed before the function itself is entered: a killed process leaves
        // its stores in program order, and nobody but its reaper asks.
        self.progress.store(progress.bits(), Release);
    }

    /// Copies bytes into the inline area from byte `at`, a multiple of eight. The caller owns that part of the slot.
    #[inline(always)]
    pub(crate) fn write_inline(&self, at: usize, bytes: &[u8]) {
        assert!(at.is_multiple_of(8) && at + bytes.len() <= INLINE_MAX, "inline bytes within the slot");
        if let 1..=8 = bytes.len() {
            return self.inline[at / 8].store(word_of(bytes), Relaxed);
        }
        for (word, chunk) in self.inline[at / 8..].iter().zip(bytes.chunks(8)) {
            word.store(word_of(chunk), Relaxed);
        }
    }

    /// Copies bytes out of the inline area from byte `at`, a multiple of eight.
    #[inline]
    pub(crate) fn read_inline(&self, at: usize, into: &mut [u8]) {
        assert!(at.is_multiple_of(8) && at + into.len() <= INLINE_MAX, "inline bytes within the slot");
        let mut words = self.inline[at / 8..].iter();
        let mut next = || words.next().map_or(0, |w| w.load(Relaxed)).to_le_bytes();
        // Whole words apart: a copy of a fixed length is one store.
        let mut whole = into.chunks_exact_mut(8);
        for chunk in &mut whole {
            chunk.copy_from_slice(&next());
        }
        let rest = whole.into_remainder();
        if !rest.is_empty() {
            rest.copy_from_slice(&next()[..rest.len()]);
        }
    }
}

/// Up to eight bytes as one word. Put together in registers: a narrow store and a wider load of the same bytes would wait until all
/// stores before them have reached the cache, and the one before is to a line that another process holds.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn inline_bytes_round_trip_at_every_length() {
        let slot = Slot::default();
        for at in [0, 8, 40] {
            for len in 0..=INLINE_MAX - at {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
                slot.write_inline(at, &bytes);
                let mut out = vec![0; len];
                slot.read_inline(at, &mut out);
                assert_eq!(out, bytes);
            }
        }
    }

    #[test]
    fn only_the_owner_completes_and_flags_survive() {
        let (a, b) = (Participant::new(1, 1), Participant::new(2, 1));
        let slot = Slot::default();
        slot.swap(State(0), State(0).published()).unwrap();
        let seen = slot.load();
        slot.flag(0, Flag::Waiter).unwrap();
        let running = slot.claim(seen, a).expect("a flag set in between does not stop a claim");
        assert!(running.has(Flag::Waiter) && slot.claim(seen, b).is_err());
        assert!(slot.complete(b, 0).is_err() && slot.complete(a, 1).is_err());
        assert!(slot.condemn(running, b, 0).is_err() && slot.condemn(running, a, 1).is_err());
        assert!(slot.complete(a, 0).unwrap().has(Flag::Waiter));
        assert!(slot.flag(0, Flag::Detached).is_err() && slot.cancel(0, b).is_err());
        assert!(slot.free(1).is_err());
        slot.free(0).unwrap();
        assert_eq!(slot.load(), State(1 << 16));
    }

    #[test]
    fn a_condemned_task_is_ended_by_its_owners_reaper_alone() {
        let a = Participant::new(1, 1);
        let slot = Slot::default();
        slot.publish(State(0));
        let running = slot.claim(slot.load(), a).unwrap();
        assert!(slot.end_condemned(a, 0).is_err(), "nobody has condemned it");
        assert!(!slot.condemn(running, a, 0).unwrap().has(Flag::Kill));
        assert!(slot.complete(a, 0).unwrap_err().is_condemned_with(a, 0));
        assert!(slot.cancel_unstarted(a, 0).is_err() && slot.cancel(0, a).is_err());
        slot.flag(0, Flag::Detached).expect("other flags are set as before");
        assert!(slot.condemn(running, a, 0).unwrap().has(Flag::Kill), "again");
        assert!(slot.condemn_for_time(a, 0).is_err(), "it is too late for another reason");
        slot.end_condemned(a, 0).unwrap();
        assert_eq!(slot.load(), State(1 << 16), "nobody will collect it");
    }

    #[test]
    fn a_task_that_is_condemned_for_its_time_ends_with_that() {
        let a = Participant::new(1, 1);
        let slot = Slot::default();
        slot.publish(State(0));
        let running = slot.claim(slot.load(), a).unwrap();
        slot.condemn_for_time(a, 0).unwrap();
        assert!(slot.condemn(running, a, 0).unwrap().has(Flag::Time), "whoever comes later is told");
        assert!(slot.complete(a, 0).is_err());
        slot.end_condemned(a, 0).unwrap();
        assert!(slot.load().is(crate::state::Phase::Done));
    }
}
