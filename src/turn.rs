//! Who takes tasks: turns, a pause, and workers that are too many.
//!
//! Turns are how a worker that has run its number of tasks is followed by another one of the same number, without a pause in between.
//!
//! Each worker writes its own word, and nobody else's:
//!
//! ```text
//! old    SERVING -> NEAR -> HANDED    it is about to have run its tasks; it claims nothing more
//! new    WAITING -> SERVING           it is ready, and waits until no other worker of its number serves
//! ```
//! The old one goes on until it sees a new one that waits, so there is no moment at which nobody of that number claims tasks. What a death leaves:
//! a new one that dies was not counted upon, or has been given the turn, and either way the supervisor sees a number with one worker that is about to
//! leave, or with none, and starts another; an old one that dies, whatever its word was, is no worker any more, and the new one goes on.
//! The wakes are of park words, which recovery wakes as well, and each sleep has an end.

use crate::layout::Record;
use crate::life::Bit;
use crate::record::{Kind, Presence, RecordState};
use crate::registry::Member;
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::fence;

/// A worker's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Serving = 0,
    /// Another one is to be started.
    Near = 1,
    /// It takes no more tasks.
    Handed = 2,
    /// It has taken none yet.
    Waiting = 3,
}

impl Turn {
    pub(crate) fn of(record: &Record) -> Turn {
        // Acquire: pairs with `enter`: what the worker did before is visible.
        match record.turn.load(Acquire) {
            1 => Turn::Near,
            2 => Turn::Handed,
            3 => Turn::Waiting,
            // Of a word that nobody has written nothing depends but who starts when.
            _ => Turn::Serving,
        }
    }

    /// Writes the word, for the worker whose record it is.
    pub(crate) fn enter(self, record: &Record) {
        // Release: pairs with `of`.
        record.turn.store(self as u32, Release);
    }

    /// Whether such a worker takes tasks.
    pub(crate) fn takes_tasks(self) -> bool {
        matches!(self, Turn::Serving | Turn::Near)
    }
}

impl Member {
    /// The other workers of this number.
    fn others_of(&self, number: u32) -> impl Iterator<Item = (Participant, Turn)> + '_ {
        let of_number = move |&(who, state, record): &(Participant, RecordState, &Record)| {
            who != self.who() && state.is_worker() && record.number.load(Relaxed) == number + 1
        };
        self.participants().filter(of_number).map(|(who, _, record)| (who, Turn::of(record)))
    }

    /// A living worker of this number that waits for its turn.
    pub(crate) fn one_that_waits(&self, number: u32) -> Option<Participant> {
        let waits = |&(who, turn): &(Participant, Turn)| turn == Turn::Waiting && !self.is_dead(who);
        self.others_of(number).find(waits).map(|(who, _)| who)
    }

    /// Whether another living worker of this number takes tasks.
    pub(crate) fn is_served(&self, number: u32) -> bool {
        self.others_of(number).any(|(who, turn)| turn.takes_tasks() && !self.is_dead(who))
    }

    /// Wakes the other workers of this number, whatever they wait for.
    pub(crate) fn wake_others_of(&self, number: u32) {
        self.others_of(number).for_each(|(who, _)| self.segment.sleepers().wake(who.index()));
    }

    /// Rings for the pool's owner (`bell.rs`).
    pub(crate) fn ring_owner(&self) {
        let owner = self.participants().find(|(_, state, _)| state.kind() == Some(Kind::Owner));
        if let Some((who, ..)) = owner {
            self.segment.sleepers().wake(who.index());
        }
    }
}

impl Segment {
    /// Counts the ready workers anew.
    pub(crate) fn count_workers(&self) {
        let ready = |r: &&Record| {
            let state = RecordState::of(r);
            let is_ready = state.presence() == Presence::Active && state.is_worker() && r.ready.load(Relaxed) == 1;
            is_ready && Turn::of(r).takes_tasks()
        };
        loop {
            let count = self.records().iter().filter(ready).count() as u32;
            self.life().workers.store(count, Relaxed);
            // Others count at the same time: whoever stores last looks again. Pairs with the fence of the others, between their store and their look.
            fence(SeqCst);
            if self.records().iter().filter(ready).count() as u32 == count {
                return;
            }
        }
    }

    /// Takes a bit away that is not of the pool's end.
    pub(crate) fn unset(&self, bit: Bit) {
        // AcqRel: pairs as `set` does.
        self.life().flags.fetch_and(!(bit as u32), AcqRel);
    }

    /// Whether workers are to start nothing. A pool without its owner would be paused for ever.
    pub(crate) fn is_paused(&self) -> bool {
        let ends = if seeded(Bug::PauseKept) { 0 } else { Bit::Orphaned as u32 };
        // Acquire: pairs with `set`.
        self.life().flags.load(Acquire) & (Bit::Paused as u32 | ends) == Bit::Paused as u32
    }

    /// Whether the worker of this number is one too many.
    pub(crate) fn is_surplus(&self, number: u32) -> bool {
        let life = self.life();
        self.has(Bit::Shrunk) && number >= life.wanted.load(Relaxed).saturating_add(life.replacements.load(Relaxed))
    }
}
