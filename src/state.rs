//! The slot's state word: phase, flags, generation and owner in 64 bits, so that every transition is one compare-and-swap.
//!
//! ```text
//! 63          48 47           32 31          16 15      7 6       0
//! owner:16       generation high  generation low flags:9   phase:7
//!
//!           submit            claim             complete          collect
//!   FREE ------------> PENDING ------> RUNNING ---------> DONE ------------> FREE, generation + 1
//!                        | ^------------'  |  requeue
//!                        | cancel          | its set was discarded before it started, or it was condemned
//!                        '-> CANCELLED <---'--------- collect ----------------^
//! ```
//! A requeue is done by the reaper of a dead worker, or by a worker whose task failed and is to run again.
//! The code of every phase differs from every other in two bits or more. A zero word is a free slot of generation 0, which is
//! what fresh shared memory holds. The owner is the worker in RUNNING (and afterwards the one that finished it).
//!
//! | flag | set by | meaning | cleared |
//! |---|---|---|---|
//! | WAITER | whoever sleeps on the slot | a futex wait is or was going on: wake when leaving the phase | at FREE |
//! | NOTIFY | the submitter | announce the end in the completion bitmap of the lane | at FREE |
//! | DETACHED | the submitter, or its reaper | nobody will collect: the end goes straight to FREE | at FREE |
//! | CANCEL | the submitter | asked to stop while running: after an error, or before it has begun, it is not put back | at FREE and at a requeue |
//! | KILL | whoever is about to kill the worker (`condemn.rs`) | the task is condemned: it ends as cancelled, and its worker dies with it | at FREE |
//! | TIME | with KILL | it was its time limit, and that is what it ends with | at FREE |
//! | EVENTS | the worker | the slot holds a block of events, see `event_blocks.rs` | at FREE |
//! | UNREAD | the submitter | nobody will read events any more, though the end is collected for callbacks | at FREE |
//! | LAST | who ends the pool, its own part in it, or its set | after an error, or its worker's death, it is not put back to run again | at FREE |
//!
//! The low half is the futex word. It holds 16 bits of the generation, so nobody sleeps on through a reuse of the slot.

use crate::limits::PARTICIPANTS_MAX;

/// Who: a participant's index and how often the index had been used when it attached.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Participant(u16);

impl Participant {
    pub(crate) const NONE: Participant = Participant(0);
    const INCARNATION_MASK: u16 = 0x3f;

    #[inline]
    pub(crate) fn new(index: usize, incarnation: u32) -> Participant {
        debug_assert!(index < PARTICIPANTS_MAX);
        Participant((index as u16) << 6 | (incarnation as u16 & Self::INCARNATION_MASK))
    }
    #[inline]
    pub(crate) const fn from_bits(bits: u16) -> Participant {
        Participant(bits)
    }
    #[inline]
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }
    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.0 >> 6) as usize
    }
    #[inline]
    pub(crate) fn incarnation(self) -> u32 {
        u32::from(self.0 & Self::INCARNATION_MASK)
    }
}

impl std::fmt::Debug for Participant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index(), self.incarnation())
    }
}

/// What a slot is doing. The public states are the last four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Pending,
    Running,
    Done,
    Cancelled,
}

impl Phase {
    #[inline]
    const fn code(self) -> u64 {
        match self {
            Phase::Free => 0x00,
            Phase::Pending => 0x03,
            Phase::Running => 0x05,
            Phase::Done => 0x06,
            Phase::Cancelled => 0x09,
        }
    }
}

/// A flag of the state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Unread = 0x001,
    Waiter = 0x002,
    Notify = 0x004,
    Detached = 0x008,
    Cancel = 0x010,
    Kill = 0x020,
    Time = 0x040,
    Last = 0x080,
    Events = 0x100,
}

impl Flag {
    #[inline]
    const fn bit(self) -> u64 {
        (self as u64) << FLAGS_SHIFT
    }
}

const FLAGS_SHIFT: u32 = 7;
const GENERATION_SHIFT: u32 = 16;
const OWNER_SHIFT: u32 = 48;
const PHASE_MASK: u64 = 0x7f;
const FLAGS_MASK: u64 = 0x1ff << FLAGS_SHIFT;
const GENERATION_MASK: u64 = 0xffff_ffff << GENERATION_SHIFT;
const OWNER_MASK: u64 = 0xffff << OWNER_SHIFT;

/// A loaded state word. It never changes: transitions give the next word, and [`Slot`](crate::slot::Slot) swaps it in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    /// The phase, or `None` for a code that no transition ever writes.
    #[inline]
    pub(crate) fn phase(self) -> Option<Phase> {
        Some(match self.0 & PHASE_MASK {
            0x00 => Phase::Free,
            0x03 => Phase::Pending,
            0x05 => Phase::Running,
            0x06 => Phase::Done,
            0x09 => Phase::Cancelled,
            _ => return None,
        })
    }
    #[inline]
    pub(crate) fn is(self, phase: Phase) -> bool {
        self.0 & PHASE_MASK == phase.code()
    }
    /// Done or cancelled: there is something to collect, and no worker will touch the slot any more.
    #[inline]
    pub(crate) fn is_finished(self) -> bool {
        self.is(Phase::Done) || self.is(Phase::Cancelled)
    }
    /// Done, and the task has sent no events. In one comparison, for each result goes through it.
    #[inline]
    pub(crate) fn is_done_without_events(self) -> bool {
        self.0 & (PHASE_MASK | Flag::Events.bit()) == Phase::Done.code()
    }
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        ((self.0 & GENERATION_MASK) >> GENERATION_SHIFT) as u32
    }
    #[inline]
    pub(crate) fn owner(self) -> Participant {
        Participant::from_bits((self.0 >> OWNER_SHIFT) as u16)
    }
    #[inline]
    pub(crate) fn has(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }
    #[inline]
    #[must_use]
    pub(crate) fn with(self, flag: Flag) -> State {
        State(self.0 | flag.bit())
    }
    /// Whether `who` runs the task of this generation: the only one who may finish it.
    #[inline]
    pub(crate) fn is_run_by(self, who: Participant, generation: u32) -> bool {
        self.is(Phase::Running) && self.owner() == who && self.generation() == generation
    }

    /// The same of a task that nobody has condemned: `who` may end it, or its reaper put it back. In one comparison, for each task goes through it.
    #[inline]
    pub(crate) fn is_left_to(self, who: Participant, generation: u32) -> bool {
        let running = State(Phase::Running.code() | u64::from(generation) << GENERATION_SHIFT).owned_by(who);
        self.0 & (PHASE_MASK | OWNER_MASK | GENERATION_MASK | Flag::Kill.bit()) == running.0
    }
    /// The same of one that nobody has asked to stop either, nor said that this attempt is its last: `who` may put it back for another one.
    pub(crate) fn may_go_back(self, who: Participant, generation: u32) -> bool {
        self.is_left_to(who, generation) && !self.has(Flag::Cancel) && !self.has(Flag::Last)
    }
    /// Whether `who` runs the task of this generation, and somebody has condemned it.
    pub(crate) fn is_condemned_with(self, who: Participant, generation: u32) -> bool {
        self.is_run_by(who, generation) && self.has(Flag::Kill)
    }

    /// Whether the task of this generation, which `who` was running, does not run there any more, in a way that transitions lead to.
    pub(crate) fn has_left(self, who: Participant, generation: u32) -> bool {
        let ahead = self.generation().wrapping_sub(generation) as i32;
        match self.phase() {
            None => false,
            // A task that runs on top of another one ends before that one: nobody comes to this with a later task in the same slot.
            Some(Phase::Running) => ahead > 0 && self.owner() != who,
            Some(Phase::Free) => ahead > 0,
            Some(_) => ahead >= 0,
        }
    }

    #[inline]
    fn to(self, phase: Phase) -> State {
        State(self.0 & !PHASE_MASK | phase.code())
    }
    #[inline]
    fn owned_by(self, who: Participant) -> State {
        State(self.0 & !OWNER_MASK | u64::from(who.bits()) << OWNER_SHIFT)
    }

    /// FREE -> PENDING.
    #[inline]
    #[must_use]
    pub(crate) fn published(self) -> State {
        debug_assert!(self.is(Phase::Free));
        State(self.0 & GENERATION_MASK).to(Phase::Pending)
    }
    /// PENDING -> RUNNING, by its worker.
    #[inline]
    #[must_use]
    pub(crate) fn claimed(self, by: Participant) -> State {
        debug_assert!(self.is(Phase::Pending));
        self.to(Phase::Running).owned_by(by)
    }
    /// RUNNING -> PENDING: the function was not entered, or may be entered again.
    #[must_use]
    pub(crate) fn requeued(self) -> State {
        debug_assert!(self.is(Phase::Running) && !self.has(Flag::Kill));
        State(self.to(Phase::Pending).owned_by(Participant::NONE).0 & !Flag::Cancel.bit())
    }
    /// RUNNING -> DONE.
    #[inline]
    #[must_use]
    pub(crate) fn completed(self) -> State {
        debug_assert!(self.is(Phase::Running));
        self.to(Phase::Done)
    }
    /// PENDING or RUNNING (not started, or condemned) -> CANCELLED.
    #[must_use]
    pub(crate) fn cancelled(self, by: Participant) -> State {
        debug_assert!(self.is(Phase::Pending) || self.is(Phase::Running));
        self.to(Phase::Cancelled).owned_by(by)
    }
    /// Any other phase -> FREE: the next generation, no owner, no flags.
    #[inline]
    #[must_use]
    pub(crate) fn freed(self) -> State {
        State(u64::from(self.generation().wrapping_add(1)) << GENERATION_SHIFT).to(Phase::Free)
    }
    /// A slot whose generation would wrap is never used again.
    #[inline]
    pub(crate) fn is_retired(self) -> bool {
        self.is(Phase::Free) && self.generation() == u32::MAX
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.phase() {
            Some(phase) => write!(f, "{phase:?}")?,
            None => write!(f, "phase {:#04x}", self.0 & PHASE_MASK)?,
        }
        let flags = (self.0 & FLAGS_MASK) >> FLAGS_SHIFT;
        write!(f, " generation {} owner {:?} flags {flags:#05x}", self.generation(), self.owner())
    }
}

/// How far the worker has come with its task, noted in the slot around the call: {attempt, kills, step}. No note for the current attempt means that the
/// function was not entered. Attempt and kills change together with the step in one store, so a reaper that dies between this store and the requeue
/// leaves a word that the next reaper reads as "not started".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) attempt: u16,
    pub(crate) kills: u8,
    pub(crate) step: Step,
}

/// See [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    None,
    Started,
    Returned,
}

impl Progress {
    pub(crate) const FRESH: Progress = Progress { attempt: 0, kills: 0, step: Step::None };

    #[inline]
    pub(crate) fn bits(self) -> u32 {
        let step = match self.step {
            Step::None => 0,
            Step::Started => 0x03,
            Step::Returned => 0x05,
        };
        u32::from(self.attempt) << 16 | u32::from(self.kills) << 8 | step
    }
    /// An unknown step reads as `Returned`: the word is damaged, and of all steps that one promises least.
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Progress {
        let step = match bits & 0xff {
            0 => Step::None,
            0x03 => Step::Started,
            _ => Step::Returned,
        };
        Progress { attempt: (bits >> 16) as u16, kills: (bits >> 8) as u8, step }
    }
    #[inline]
    pub(crate) fn at(self, step: Step) -> Progress {
        Progress { step, ..self }
    }
    /// The word for the next attempt, after a worker died (`killed`) or an error was returned.
    pub(crate) fn next_attempt(self, killed: bool) -> Progress {
        Progress {
            attempt: self.attempt.saturating_add(1),
            kills: self.kills.saturating_add(u8::from(killed)),
            step: Step::None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PHASES: [Phase; 5] = [Phase::Free, Phase::Pending, Phase::Running, Phase::Done, Phase::Cancelled];

    #[test]
    fn codes_are_two_bits_apart() {
        for a in PHASES {
            assert_eq!(State(a.code()).phase(), Some(a));
            for b in PHASES {
                assert!(a == b || (a.code() ^ b.code()).count_ones() >= 2, "{a:?} {b:?}");
            }
        }
        assert_eq!(State(0x01).phase(), None);
    }

    #[test]
    fn transitions_keep_flags_and_generation() {
        let me = Participant::new(200, 70);
        assert_eq!((me.index(), me.incarnation()), (200, 6));
        let free = State(0).freed().freed();
        let pending = free.published();
        assert_eq!(pending.generation(), 2);
        let running = pending.with(Flag::Waiter).with(Flag::Cancel).claimed(me);
        assert!(running.is_run_by(me, 2) && running.has(Flag::Waiter));
        assert!(running.is_left_to(me, 2) && !running.is_left_to(me, 3) && !running.is_left_to(Participant::new(1, 1), 2));
        let condemned = running.with(Flag::Kill);
        assert!(condemned.is_run_by(me, 2) && !condemned.is_left_to(me, 2) && condemned.is_condemned_with(me, 2));
        assert!(!running.is_condemned_with(me, 2) && condemned.cancelled(me).is(Phase::Cancelled));
        let done = running.completed();
        assert!(done.is_finished() && done.owner() == me && done.has(Flag::Waiter));
        assert_eq!(done.freed(), State(3 << 16));
        let again = running.requeued();
        assert!(again.is(Phase::Pending) && again.has(Flag::Waiter) && !again.has(Flag::Cancel));
        assert_eq!(again.owner(), Participant::NONE);
        assert!(State(u64::from(u32::MAX) << 16).is_retired());
    }

    #[test]
    fn a_task_has_left_its_worker_by_transitions_only() {
        let (me, other) = (Participant::new(3, 1), Participant::new(4, 1));
        let pending = State(7 << 16).published();
        for gone in [
            pending.claimed(me).requeued(),
            pending.claimed(me).completed(),
            pending.cancelled(other),
            pending.freed(),
            pending.freed().published().claimed(other),
        ] {
            assert!(gone.has_left(me, 7), "{gone:?}");
        }
        let before = State(6 << 16).published();
        for impossible in
            [pending.claimed(other), State(7 << 16), State(7 << 16 | 0x01), before, pending.freed().published().claimed(me)]
        {
            assert!(!impossible.has_left(me, 7), "{impossible:?}");
        }
    }

    #[test]
    fn progress_round_trips() {
        let p = Progress::FRESH.next_attempt(true).next_attempt(false).at(Step::Started);
        assert_eq!(Progress::from_bits(p.bits()), p);
        assert_eq!((p.attempt, p.kills), (2, 1));
        assert_eq!(Progress::from_bits(0), Progress::FRESH);
    }
}
