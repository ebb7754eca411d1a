//! In place of the library's registry: who takes part, and who is dead. The kernel's part is two words: one bit for each process that is gone, and
//! the reaper bytes, which it takes back from whoever dies.

use crate::error::Cause;
use crate::layout::Record;
use crate::mutex::Peers;
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::checker;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Owner = 1,
    Submitter = 2,
    Worker = 3,
    ThreadWorker = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Free,
    Active,
}

/// As in the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordState(u32);

impl RecordState {
    fn new(kind: Kind, presence: Presence, incarnation: u32) -> RecordState {
        let phase = if presence == Presence::Active { 5 } else { 0 };
        RecordState((kind as u32) << 24 | phase << 16 | incarnation & 0x3f)
    }
    pub(crate) fn of(record: &Record) -> RecordState {
        RecordState(record.state.load(Acquire))
    }
    pub(crate) fn kind(self) -> Option<Kind> {
        Some(match self.0 >> 24 {
            1 => Kind::Owner,
            2 => Kind::Submitter,
            3 => Kind::Worker,
            4 => Kind::ThreadWorker,
            _ => return None,
        })
    }
    pub(crate) fn presence(self) -> Presence {
        if self.0 >> 16 & 0xff == 5 { Presence::Active } else { Presence::Free }
    }
    pub(crate) fn is_worker(self) -> bool {
        matches!(self.kind(), Some(Kind::Worker | Kind::ThreadWorker))
    }
    pub(crate) fn is_active_as(self, who: Participant) -> bool {
        self.presence() == Presence::Active && self.0 & 0x3f == who.incarnation()
    }
}

/// What the kernel knows. Its words are no part of the segment: nobody dies between two of its steps.
#[derive(Debug)]
pub(crate) struct Kernel {
    gone: checker::sync::atomic::AtomicU64,
    /// Who holds the reaper byte of each participant, plus one.
    bytes: Vec<checker::sync::atomic::AtomicU32>,
}

impl Kernel {
    pub(crate) fn new(participants: usize) -> Kernel {
        let byte = |_| checker::sync::atomic::AtomicU32::new(0);
        Kernel { gone: checker::sync::atomic::AtomicU64::new(0), bytes: (0..participants).map(byte).collect() }
    }
    /// The kernel never answers with a stale value: hence the swaps.
    pub(crate) fn is_gone(&self, who: Participant) -> bool {
        self.gone.fetch_or(0, AcqRel) & 1 << who.index() != 0
    }
    fn try_byte(&self, of: Participant, by: Participant) -> bool {
        self.bytes[of.index()].compare_exchange(0, by.index() as u32 + 1, AcqRel, Acquire).is_ok()
    }
    fn give_back(&self, of: Participant) {
        self.bytes[of.index()].swap(0, AcqRel);
    }
    /// The process is gone, and its bytes are free.
    fn die(&self, who: Participant) {
        self.gone.fetch_or(1 << who.index(), AcqRel);
        for byte in &self.bytes {
            let _ = byte.compare_exchange(who.index() as u32 + 1, 0, AcqRel, Acquire);
        }
    }
}

/// One participant's view of the pool.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) segment: Arc<Segment>,
    who: Participant,
}

impl Member {
    pub(crate) fn join(segment: &Arc<Segment>, index: usize, kind: Kind) -> Member {
        let who = Participant::new(index, 1);
        segment.records[index].state.store(RecordState::new(kind, Presence::Active, 1).0, Release);
        Member { segment: segment.clone(), who }
    }
    pub(crate) fn who(&self) -> Participant {
        self.who
    }
    /// SIGKILL: what it did until now is in memory, and nothing follows.
    pub(crate) fn die(&self) {
        self.segment.kernel.die(self.who);
    }
    pub(crate) fn participants(&self) -> impl Iterator<Item = (Participant, RecordState, &Record)> + '_ {
        self.segment.records.iter().enumerate().filter_map(|(index, record)| {
            let state = RecordState::of(record);
            (state.presence() == Presence::Active).then(|| (Participant::new(index, 1), state, record))
        })
    }
    pub(crate) fn is_dead(&self, who: Participant) -> bool {
        !RecordState::of(&self.segment.records[who.index()]).is_active_as(who) || self.segment.kernel.is_gone(who)
    }
    pub(crate) fn owner_is_alive(&self) -> bool {
        false
    }
    pub(crate) fn awaits_cause(&self, _who: Participant) -> bool {
        false
    }
    pub(crate) fn cause(&self, _who: Participant) -> Option<Cause> {
        None
    }
    /// As in the library.
    pub(crate) fn bury(&self, dead: Participant) {
        let record = &self.segment.records[dead.index()];
        let state = RecordState::of(record);
        if state.is_active_as(dead) {
            let kind = state.kind().unwrap_or(Kind::Worker);
            record.state.store(RecordState::new(kind, Presence::Free, dead.incarnation()).0, Release);
        }
    }
    /// Whether somebody is reaped: its record is free.
    pub(crate) fn is_buried(&self) -> bool {
        self.segment.records[self.who.index()].state.load(Relaxed) >> 16 & 0xff == 0
    }
}

/// As in the library, with the kernel's words in place of the file's bytes.
impl Peers for Member {
    fn if_dead<R>(&self, who: Participant, act: impl FnOnce() -> R) -> Option<R> {
        let kernel = &self.segment.kernel;
        if !self.is_dead(who) || !kernel.try_byte(who, self.who) {
            return None;
        }
        let result = self.is_dead(who).then(act);
        kernel.give_back(who);
        result
    }
}
