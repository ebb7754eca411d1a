//! A participant's record, as far as its state word says: what it is there for, whether it is there, and how often the place was used.
//!
//! ```text
//! record state   31         24 23     16 15       0
//!                kind:8       phase:8    incarnation          FREE 0 -> JOINING 3 -> ACTIVE 5 -> FREE
//! ```

use crate::layout::Record;
use crate::state::Participant;
use crate::sync::Ordering::Acquire;

/// What a participant is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Made the pool, supervises its workers, and submits.
    Owner = 1,
    Submitter = 2,
    /// A worker process.
    Worker = 3,
    /// A worker that is a thread of the owner.
    ThreadWorker = 4,
}

/// In place of a worker's number: a submitter that is there for the tasks of a worker.
pub(crate) const OF_TASKS: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Free,
    Joining,
    Active,
}

/// A record's state word, loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordState(pub(crate) u32);

impl RecordState {
    pub(crate) fn new(kind: Kind, presence: Presence, incarnation: u32) -> RecordState {
        let phase = match presence {
            Presence::Free => 0,
            Presence::Joining => 3,
            Presence::Active => 5,
        };
        RecordState((kind as u32) << 24 | phase << 16 | incarnation & 0x3f)
    }
    pub(crate) fn of(record: &Record) -> RecordState {
        // Acquire: pairs with `Seat::take`, so that pid and start time belong to this state.
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
        match self.0 >> 16 & 0xff {
            5 => Presence::Active,
            3 => Presence::Joining,
            _ => Presence::Free,
        }
    }
    pub(crate) fn is_worker(self) -> bool {
        matches!(self.kind(), Some(Kind::Worker | Kind::ThreadWorker))
    }
    pub(crate) fn incarnation(self) -> u32 {
        self.0 & 0x3f
    }
    /// Whether this is the record of `who`, attached.
    pub(crate) fn is_active_as(self, who: Participant) -> bool {
        self.presence() == Presence::Active && self.incarnation() == who.incarnation()
    }
}
