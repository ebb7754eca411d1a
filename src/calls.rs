//! What calls a worker away from its tasks: the end of the pool, a pause, and that there are too many workers.
//!
//! ```text
//! owner                                 worker
//! 1 set the bit                         1 its last task is over: its slot says so, or it says that it rests no more
//! 2 fence                               2 fence
//! 3 look: who runs a task, who rests    3 look at the bits, before it claims a task
//! ```
//! Whatever the order, one of the two looks sees the other's write. So once the owner has seen each worker run a task or rest, none starts another.

use crate::layout::{Record, Slot};
use crate::life::Bit;
use crate::limits::SLEEP_NS_MAX;
use crate::record::RecordState;
use crate::registry::Member;
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::state::{Participant, Phase};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{fence, fence_after_swap, futex_wait, now_ns};
use crate::turn::Turn;

/// What a worker heeds.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    /// What makes it leave at once. A named pool's workers go on without its owner.
    pub(crate) stop_bits: u32,
    /// These, and what makes it look whether it is to rest or to leave.
    pub(crate) call_bits: u32,
    /// Of one that the owner has started.
    number: Option<u32>,
}

impl Calls {
    pub(crate) fn new(stop_bits: u32, number: Option<u32>) -> Calls {
        Calls { stop_bits, call_bits: stop_bits | Bit::Paused as u32 | Bit::Shrunk as u32, number }
    }

    pub(crate) fn is_to_leave(self, segment: &Segment) -> bool {
        let stops = segment.life().flags.load(Relaxed) & self.stop_bits != 0;
        stops || self.number.is_some_and(|number| segment.is_surplus(number))
    }

    pub(crate) fn is_to_attend(self, segment: &Segment) -> bool {
        let is_called = segment.life().flags.load(Relaxed) & self.call_bits != 0;
        is_called && (self.is_to_leave(segment) || segment.is_paused())
    }

    pub(crate) fn ends_idleness(self, segment: &Segment) -> bool {
        segment.life().flags.load(Relaxed) & (self.call_bits | Bit::Closing as u32) != 0
            && (segment.has(Bit::Closing) || self.is_to_attend(segment))
    }

    /// Rests for as long as the pool is paused; false when the worker is to leave. After each sleep it is asked whether it is still a worker of the pool.
    pub(crate) fn attend(self, member: &Member, mut is_still_in: impl FnMut() -> bool) -> bool {
        let (segment, record) = (&*member.segment, member.record());
        let mut is_in = true;
        while is_in && self.is_to_attend(segment) {
            if self.is_to_leave(segment) {
                return false;
            }
            // Acquire: pairs with the wake by who ends the pause or the pool: that is seen below, or the word differs from this.
            let seen = record.park.load(Acquire);
            // Release: pairs with the Acquire of who pauses the pool: our last task is over.
            record.rests.store(1, Release);
            if seeded(Bug::RestUnlooked) || self.is_to_attend(segment) {
                let _ = futex_wait(&record.park, seen, Some(now_ns() + SLEEP_NS_MAX));
            }
            is_in = is_still_in();
            record.rests.store(0, Relaxed);
            // Pairs with the fence of who pauses the pool again: either it sees this, or we, who look at the bits next, see the new bit.
            fence(SeqCst);
        }
        is_in
    }
}

impl Segment {
    /// After the bit of a pause was set: tells the workers. Who looks at them afterwards sees what each did before it saw the bit.
    pub(crate) fn announce_pause(&self) {
        // Pairs with the fences of workers that begin to take tasks, or have ended one: they see the bit, or are seen by who looks.
        fence(SeqCst);
        self.wake_everybody();
    }
}

/// Between the end of a task, which is a swap of its slot's word, and the look at the bits.
#[inline]
pub(crate) fn fence_after_task() {
    // Pairs with the fence in `announce_pause`: either it sees that the task is over, and so that another one may begin, or we see the bit.
    if !seeded(Bug::NoFenceAfterTask) {
        fence_after_swap();
    }
}

impl Member {
    /// In a pool that is paused: the process of a worker that neither runs a task nor rests.
    pub(crate) fn one_that_may_start(&self) -> Option<u32> {
        let running = |slot: &Slot| {
            let state = slot.load();
            state.is(Phase::Running).then(|| state.owner())
        };
        // What is running now was begun before this returns, whenever it was.
        let busy: Vec<Participant> = self.segment.lanes().flat_map(|(_, lane)| lane.slots).filter_map(running).collect();
        let may_start = |&(who, state, record): &(Participant, RecordState, &Record)| {
            let takes_tasks = state.is_worker() && record.ready.load(Relaxed) == 1 && Turn::of(record).takes_tasks();
            // Acquire: pairs with the worker's Release: what it did before it rested has been done.
            let rests = record.rests.load(Acquire) == 1;
            takes_tasks && !rests && !busy.contains(&who) && !self.is_dead(who)
        };
        self.participants().find(may_start).map(|(.., record)| record.pid.load(Relaxed))
    }
}
