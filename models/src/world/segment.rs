//! In place of the mapped segment: the same structs in private memory, one lane.

use crate::layout::{Apart, LaneHead, Life, Record, Slot};
use crate::ledger::Ledger;
use crate::limits::PARTICIPANT_WORDS;
use crate::payload::Holder;
use crate::policy::Policy;
use crate::registry::Kernel;
use crate::ring::{Hold, Lane};
use crate::search::Rings;
use crate::set::Sets;
use crate::sleep::Sleepers;
use crate::state::{Participant, State};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU32, AtomicU64};
use std::sync::Arc;

pub(crate) struct Identity {
    pub(crate) policy: AtomicU64,
}

/// The words of the header that recovery looks at.
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) registry_mutex: AtomicU32,
    pub(crate) blocks_mutex: AtomicU32,
}

pub(crate) struct Geometry {
    pub(crate) capacity: usize,
}

pub(crate) struct Segment {
    header: Header,
    geometry: Geometry,
    life: Life,
    idle: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    searching: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    pub(crate) records: Vec<Record>,
    head: LaneHead,
    slots: Vec<Slot>,
    ended: Vec<AtomicU64>,
    order: Vec<AtomicU32>,
    sets: Vec<AtomicU64>,
    set_counts: Vec<AtomicU64>,
    pub(crate) kernel: Kernel,
    pub(crate) ledger: Ledger,
}

impl Segment {
    pub(crate) fn new(capacity: usize, participants: usize, policy: Policy) -> Arc<Segment> {
        let segment = Segment {
            header: Header {
                identity: Identity { policy: AtomicU64::new(policy.bits()) },
                registry_mutex: AtomicU32::default(),
                blocks_mutex: AtomicU32::default(),
            },
            geometry: Geometry { capacity },
            life: Life::default(),
            idle: Apart::default(),
            searching: Apart::default(),
            records: (0..participants).map(|_| Record::default()).collect(),
            head: LaneHead::default(),
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            ended: vec![AtomicU64::default()],
            order: (0..capacity).map(|_| AtomicU32::default()).collect(),
            sets: vec![AtomicU64::default()],
            set_counts: vec![AtomicU64::default()],
            kernel: Kernel::new(participants),
            ledger: Ledger::default(),
        };
        segment.life.lanes.store(1, Relaxed);
        Arc::new(segment)
    }
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
    pub(crate) fn sets(&self) -> Sets<'_> {
        Sets { words: &self.sets, cancelled: &self.set_counts }
    }
    pub(crate) fn sleepers(&self) -> Sleepers<'_> {
        Sleepers { idle: &self.idle, searching: &self.searching, records: &self.records }
    }
    pub(crate) fn ring(&self) -> Lane<'_> {
        Lane { head: &self.head, slots: &self.slots, ended: &self.ended, order: &self.order }
    }
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (usize, Lane<'_>)> + '_ {
        std::iter::once((0, self.ring()))
    }
    /// Whether an idle or searching mark of `who` is up.
    pub(crate) fn is_marked(&self, who: Participant) -> bool {
        let words = [&self.idle[who.index() / 64], &self.searching[who.index() / 64]];
        words.iter().any(|word| word.load(Relaxed) & 1 << (who.index() % 64) != 0)
    }

    // No time limits.
    pub(crate) fn hard_limit_ms(&self, _lane: usize, _slot: usize) -> u32 {
        0
    }
    // No payload blocks and no table of functions: nothing to do.
    pub(crate) fn free_block(&self, _name: u32, _from: Holder) {}
    pub(crate) fn free_slot_blocks(&self, _names: [u32; 2], _number: u32, _generation: u32) {}
    pub(crate) fn free_events(&self, _old: State, _number: u32) {}
    pub(crate) fn free_untold_events(&self, _state: State, _number: u32, _args_block: u32) {}
    pub(crate) fn is_events_block(&self, _state: State, _number: u32, _name: u32) -> bool {
        false
    }
    pub(crate) fn sweep_blocks(&self, _dead: Option<Participant>) {}
    pub(crate) fn sweep_unpublished(&self, _lane: usize, _hold: &Hold<'_>) {}
    pub(crate) fn remove_server(&self, _who: Participant) {}
    // And no set-up of workers that could fail.
    pub(crate) fn failure_text(&self) -> String {
        String::new()
    }
}

impl Rings for Segment {
    fn lane(&self, index: usize) -> Lane<'_> {
        assert_eq!(index, 0);
        self.ring()
    }
    fn used(&self) -> &AtomicU64 {
        &self.life.lanes
    }
    fn epoch(&self) -> &AtomicU32 {
        &self.life.epoch
    }
    fn passed(&self, who: Participant) -> &AtomicU32 {
        &self.records[who.index()].passed
    }
}

