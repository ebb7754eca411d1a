//! A look for words in shared memory that nobody can have written. It costs a pass over some lanes, so it is made only by who has waited long or has slept.

use crate::error::Result;
use crate::limits::LANES_MAX;
use crate::record::{Kind, RecordState};
use crate::registry::Member;
use crate::search::Rings;
use crate::slot::WANTED_LATER;
use crate::state::{Flag, Phase};
use crate::sync::Ordering::Acquire;

impl Member {
    /// Looks for words that nobody can have written, and ends the pool when there is one. Whoever waits for long or has slept does this; `lanes` are
    /// the submitter's own.
    pub(crate) fn audit(&self, lanes: impl Iterator<Item = usize>) -> Result<()> {
        self.impossible(lanes).map_or(Ok(()), |what| Err(self.segment.poison(what)))
    }

    fn impossible(&self, own: impl Iterator<Item = usize>) -> Option<String> {
        let segment = &self.segment;
        // Acquire: pairs with `use_lane`.
        let lanes = segment.life().lanes.load(Acquire);
        let own: Vec<usize> = own.collect();
        if segment.has_unknown_bits() || lanes >> LANES_MAX != 0 || own.iter().any(|lane| lanes & 1 << lane == 0) {
            return Some("the word of the pool's life, or of its lanes".into());
        }
        // A worker's seat may have been taken from it: see `Performer::complete`.
        if matches!(self.seat.kind, Kind::Owner | Kind::Submitter) && !self.seat.is_ours(self.record()) {
            return Some(format!("the record of participant {:?}, which is this one", self.who()));
        }
        own.into_iter().find_map(|lane| self.impossible_in(lane))
    }

    fn impossible_in(&self, lane: usize) -> Option<String> {
        let segment = &self.segment;
        let ring = segment.lane(lane);
        ring.slots.iter().enumerate().find_map(|(index, slot)| {
            let state = slot.load();
            let wrong = match state.phase() {
                None => true,
                Some(Phase::Pending) => {
                    let is_later = slot.wanted() & WANTED_LATER != 0;
                    // Acquire: pairs with the Release in `Slot::write`.
                    !ring.is_place(index, slot.place.load(Acquire), is_later) || !segment.has_function(slot.function_index())
                }
                Some(Phase::Running) => {
                    let record = segment.records().get(state.owner().index());
                    let record = record.map(RecordState::of).filter(|r| r.is_active_as(state.owner()));
                    // Only a process is killed for its task.
                    record.is_none_or(|r| state.has(Flag::Kill) && r.kind() != Some(Kind::Worker))
                }
                Some(_) => false,
            };
            // Looked at again: what was compared may have belonged to the next task.
            (wrong && slot.load() == state).then(|| format!("slot {index} of lane {lane} is {state:?}"))
        })
    }
}
