//! In place of the library's registry: who takes part, and who is dead. The kernel's part is two words: one bit for each process that is gone, and
//! the reaper bytes, which it takes back from whoever dies.

use crate::error::Cause;
use crate::layout::Record;
use crate::mutex::{Peers, ShmMutex};
use crate::record::{Kind, Presence, RecordState};
use crate::seeded::{Bug, seeded};
use crate::ring::Hold;
use crate::search::Rings;
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Release};
use crate::sync::checker;
use std::sync::Arc;

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

/// A participant's place.
#[derive(Clone, Copy)]
pub(crate) struct Seat(Participant);

impl Seat {
    pub(crate) fn is_ours(&self, record: &Record) -> bool {
        RecordState::of(record).is_active_as(self.0)
    }
}

/// One participant's view of the pool.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) segment: Arc<Segment>,
    pub(crate) seat: Seat,
}

impl Member {
    pub(crate) fn join(segment: &Arc<Segment>, index: usize, kind: Kind) -> Member {
        let who = Participant::new(index, 1);
        segment.records[index].state.store(RecordState::new(kind, Presence::Active, 1).0, Release);
        Member { segment: segment.clone(), seat: Seat(who) }
    }
    pub(crate) fn who(&self) -> Participant {
        self.seat.0
    }
    pub(crate) fn record(&self) -> &Record {
        &self.segment.records[self.who().index()]
    }
    /// Gives its seat back.
    pub(crate) fn leave(&self) {
        self.bury(self.who());
    }
    /// SIGKILL: what it did until now is in memory, and nothing follows.
    pub(crate) fn die(&self) {
        self.segment.kernel.die(self.who());
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
    /// As in the library.
    pub(crate) fn take_lane_from(&self, lane: usize, dead: Participant) -> Option<Hold<'_>> {
        let ring = self.segment.lane(lane);
        ShmMutex(&ring.head.mutex).take_from(dead, self.who()).map(|guard| ring.held(guard))
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
        RecordState::of(&self.segment.records[self.who().index()]).presence() == Presence::Free
    }
}

/// As in the library, with the kernel's words in place of the file's bytes.
impl Peers for Member {
    fn if_dead<R>(&self, who: Participant, act: impl FnOnce() -> R) -> Option<R> {
        let kernel = &self.segment.kernel;
        if !self.is_dead(who) || !kernel.try_byte(who, self.who()) && !seeded(Bug::TwoReapers) {
            return None;
        }
        let result = self.is_dead(who).then(act);
        kernel.give_back(who);
        result
    }
}
