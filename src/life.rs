//! The pool's life: open, closing, broken, corrupt, and telling everybody about it.

use crate::error::{Error, PoolKind, Result};
use crate::layout::{Record, Slot};
use crate::limits::{CAPACITY_MAX, LANES_MAX, START_FAILURES_MAX};
use crate::policy::Policy;
use crate::priority::Priority;
use crate::record::{Presence, RecordState};
use crate::ring::Lane;
use crate::search::Rings;
use crate::segment::Segment;
use crate::slot::Request;
use crate::state::{Flag, State};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{fence, fence_after_swap, futex_wake, futex_wake_low};

/// Bits of the pool's flags word. Those of the pool's end are only ever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bit {
    /// No new tasks; workers leave when nothing is pending.
    Closing = 1,
    /// Tasks cannot be run any more.
    Broken = 2,
    /// A word had an impossible value.
    Corrupt = 4,
    /// The owner is gone. An anonymous pool's workers leave at once.
    Orphaned = 8,
    /// The owner wants no task to be started for now. It means nothing once the owner is gone, and whoever closes the pool ends it.
    Paused = 16,
    /// Workers whose number is not below the wanted one leave. The owner takes it away when they have.
    Shrunk = 32,
    /// The workers are being ended: nothing that a death leaves goes back into the ring. Set before the first signal.
    Ended = 64,
}

/// Bits that say nothing of a pool's end.
const PASSING: u32 = Bit::Paused as u32 | Bit::Shrunk as u32;

/// Why a pool is broken, as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    WorkerDied = 1,
    CannotStart = 2,
    NotAWorker = 3,
    SetupFailed = 4,
}

impl Segment {
    /// For who does not set `Closing` itself and has seen it: from here on all lanes are seen in which anybody may have published before it.
    pub(crate) fn after_closing(&self) {
        // Pairs with the fence in `Segment::use_lane`, as the one in `set` does for who sets the bit.
        fence(SeqCst);
    }

    #[inline]
    pub(crate) fn has(&self, bit: Bit) -> bool {
        // Acquire: pairs with `set`.
        self.life().flags.load(Acquire) & bit as u32 != 0
    }

    /// Sets a bit; true for the one who set it.
    pub(crate) fn set(&self, bit: Bit) -> bool {
        // AcqRel: pairs with the Acquire loads of the flags: what came before the bit is visible.
        let is_first = self.life().flags.fetch_or(bit as u32, AcqRel) & bit as u32 == 0;
        // Whoever closes the pool then takes the mutex of each lane in use, and a submitter that takes a lane into use then looks for the bit. Pairs with the
        // fence in `Segment::use_lane`: one of the two sees the other's.
        fence(SeqCst);
        is_first
    }

    /// What the pool's workers are.
    pub(crate) fn pool_kind(&self) -> PoolKind {
        Policy::from_bits(self.header().identity.policy.load(Relaxed)).workers
    }

    /// Says why, marks the pool broken and wakes everybody.
    pub(crate) fn break_pool(&self, why: Broken) {
        // AcqRel: pairs with the Acquire in `broken`.
        let _ = self.life().broken.compare_exchange(0, why as u32, AcqRel, Relaxed);
        self.set(Bit::Broken);
        self.wake_everybody();
    }

    /// An impossible word was met: nobody may trust the pool any more.
    pub(crate) fn poison(&self, what: impl Into<String>) -> Error {
        self.set(Bit::Corrupt);
        self.wake_everybody();
        Error::Corrupt { what: what.into() }
    }

    pub(crate) fn has_unknown_bits(&self) -> bool {
        let ends = Bit::Closing as u32 | Bit::Broken as u32 | Bit::Corrupt as u32 | Bit::Orphaned as u32 | Bit::Ended as u32;
        self.life().flags.load(Relaxed) & !(ends | PASSING) != 0
    }

    /// The error of a pool that was poisoned; `None` when it was not.
    pub(crate) fn corrupt(&self) -> Option<Error> {
        self.has(Bit::Corrupt).then(|| Error::Corrupt { what: "found before, by this or another process".into() })
    }

    /// Whether the pool can take tasks.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        // Acquire: pairs with `set`.
        self.life().flags.load(Acquire) & !(Bit::Orphaned as u32 | PASSING) == 0
    }

    /// Refuses when the pool can take no tasks.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.why_closed()) }
    }

    #[cold]
    fn why_closed(&self) -> Error {
        if self.has_unknown_bits() {
            self.poison("a flag that nobody sets")
        } else if let Some(corrupt) = self.corrupt() {
            corrupt
        } else if self.has(Bit::Broken) {
            broken(self)
        } else {
            Error::ShutDown
        }
    }

    /// Re-asserts every hint: workers, waiters on slots, and those who wait for announcements. What follows each death.
    pub(crate) fn wake_everybody(&self) {
        self.new_epoch();
        self.sleepers().wake_all();
        for (_, lane) in self.lanes() {
            for (index, slot) in lane.slots.iter().enumerate() {
                let state = slot.load();
                if state.has(Flag::Waiter) {
                    futex_wake_low(&slot.state);
                }
                if state.is_finished() && state.has(Flag::Notify) {
                    // Release: pairs with the drain of the bitmap.
                    lane.ended[index / 64].fetch_or(1 << (index % 64), Release);
                }
            }
        }
        // Whoever attaches from here on finds everything as it is now.
        for record in self.records().iter().filter(|r| RecordState::of(r).presence() == Presence::Active) {
            // Release: pairs with the Acquire of who is about to sleep on it.
            record.event.fetch_add(1, Release);
            futex_wake(&record.event, i32::MAX);
        }
    }

    /// After a slot has left PENDING or RUNNING for good: wakes who waits for it, and gives back the blocks of a task that nobody
    /// collects. `old` is the word before.
    #[inline]
    pub(crate) fn announce_end(&self, lane: usize, slot: usize, old: State, request: &Request) {
        if old.has(Flag::Waiter) || old.has(Flag::Notify) || old.has(Flag::Detached) {
            self.announce_end_slow(lane, slot, old, request);
        }
    }

    #[cold]
    fn announce_end_slow(&self, lane: usize, index: usize, old: State, request: &Request) {
        let ring = self.lane(lane);
        let slot = &ring.slots[index];
        if old.has(Flag::Waiter) {
            futex_wake_low(&slot.state);
        }
        if old.has(Flag::Notify) {
            let submitter = self.records().get(crate::state::Participant::from_bits(request.submitter).index());
            if let Some(list) = submitter.and_then(|record| self.list_of(record)) {
                // AcqRel, and Release: pair with the drain of the list, which then looks at the slot.
                let (position, len) = (list.head.announced.fetch_add(1, AcqRel), list.order.len());
                let ended = Ended { slot: self.slot_number(lane, index), generation: old.generation() };
                list.order[position as usize & (len - 1)].store(ended.bits(position, len), Release);
            }
            // After the list: what the bitmap tells of is in it. Release: pairs with the drain of the bitmap.
            ring.ended[index / 64].fetch_or(1 << (index % 64), Release);
            if let Some(record) = submitter {
                wake_event(record);
            }
        }
    }

    /// After a task was put back: one that waits for it in its turn may begin it, or is to wait until its time, see `nested.rs`.
    pub(crate) fn announce_put_back(&self, slot: &Slot, request: &Request) {
        // Whoever sets a flag after this sees that the task is pending.
        let state = slot.load();
        if state.has(Flag::Waiter) {
            futex_wake_low(&slot.state);
        }
        if state.has(Flag::Notify)
            && let Some(record) = self.records().get(crate::state::Participant::from_bits(request.submitter).index())
        {
            wake_event(record);
        }
    }

    /// The lane whose list tells the order in which a submitter's tasks end, whatever their level: that of its normal tasks.
    fn list_of(&self, submitter: &Record) -> Option<Lane<'_>> {
        // Relaxed: it was written before the submitter's first task was published.
        let lane = Priority::Normal.lane_in(submitter.lane.load(Relaxed))?;
        // Acquire: pairs with `use_lane`. The word may be damaged, and name a lane without memory.
        (self.life().lanes.load(Acquire) & 1 << lane != 0).then(|| self.lane(lane))
    }

    /// What a slot is called in tickets and block owners.
    #[inline]
    pub(crate) fn slot_number(&self, lane: usize, slot: usize) -> u32 {
        (lane * self.geometry().capacity + slot) as u32
    }
}

/// An announcement in a submitter's list: the slot of the task that ended, and the low bits of its generation.
///
/// {lap:3, generation:4, slot:25}. The lap tells an entry that was written for this position from one that was there before: whoever announces takes the
/// position first. Memory that nobody has written to is of no lap that is read there first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

const ENDED_SLOT_BITS: u32 = 25;
const _: () = assert!(LANES_MAX * CAPACITY_MAX <= 1 << ENDED_SLOT_BITS);
const ENDED_GENERATION: u32 = 0xf;
const ENDED_LAP_SHIFT: u32 = 29;

impl Ended {
    fn lap(position: u32, len: usize) -> u32 {
        (position / len as u32).wrapping_add(1) << ENDED_LAP_SHIFT
    }

    fn bits(&self, position: u32, len: usize) -> u32 {
        Ended::lap(position, len) | (self.generation & ENDED_GENERATION) << ENDED_SLOT_BITS | self.slot
    }

    /// What was written at that position of a list of that length. `None`: nothing yet.
    pub(crate) fn at(position: u32, len: usize, bits: u32) -> Option<Ended> {
        let is_there = bits >> ENDED_LAP_SHIFT << ENDED_LAP_SHIFT == Ended::lap(position, len);
        let generation = bits >> ENDED_SLOT_BITS & ENDED_GENERATION;
        is_there.then_some(Ended { slot: bits & ((1 << ENDED_SLOT_BITS) - 1), generation })
    }

    /// The last generation with these low bits that is not after this one.
    pub(crate) fn generation_up_to(&self, now: u32) -> u32 {
        now.wrapping_sub(now.wrapping_sub(self.generation) & ENDED_GENERATION)
    }
}

/// Counts an event of a submitter's, and wakes its threads that sleep for one.
fn wake_event(record: &Record) {
    // Release: pairs with the Acquire of the thread that sleeps on the event: it sees what it is told of.
    record.event.fetch_add(1, Release);
    // Pairs with the fence of a thread about to sleep on the event: either it sees the count or we see it.
    fence_after_swap();
    if record.event_waiters.load(Relaxed) != 0 {
        futex_wake(&record.event, i32::MAX);
    }
}

/// How a pool comes to be broken by one of its workers.
pub(crate) const WORKER_ENDED: &str = "a worker of the pool ended abruptly while a task was running or pending";

/// The error of a broken pool.
pub(crate) fn broken(segment: &Segment) -> Error {
    // Acquire: pairs with `break_pool`.
    let cause = match segment.life().broken.load(Acquire) {
        1 => format!("{WORKER_ENDED}, and the pool's policy is BreakPool"),
        2 => format!("{START_FAILURES_MAX} workers in a row ended before they were ready"),
        3 => "the worker program never attached".to_owned(),
        4 => format!("a worker could not be made ready: {}", segment.failure_text()),
        _ => "unknown".to_owned(),
    };
    Error::Broken { kind: segment.pool_kind(), cause }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_of_its_position_and_of_its_task() {
        const LEN: usize = 32;
        assert_eq!(Ended::at(5, LEN, 0), None, "nobody has written there");
        let last = (LANES_MAX * CAPACITY_MAX - 1) as u32;
        for position in [0, 5, 31, 32, 37, u32::MAX] {
            for (slot, generation) in [(0, 0), (7, 3), (last, 0x1234_5679)] {
                let bits = Ended { slot, generation }.bits(position, LEN);
                let read = Ended::at(position, LEN, bits).expect("it was written for this position");
                assert_eq!(read.slot, slot);
                assert_eq!(Ended::at(position.wrapping_add(LEN as u32), LEN, bits), None, "the one of the lap before");
                // Of the task itself, and as long as the slot has not come far since.
                for since in 0..=ENDED_GENERATION {
                    assert_eq!(read.generation_up_to(generation.wrapping_add(since)), generation);
                }
            }
        }
    }
}
