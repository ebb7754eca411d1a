//! When a worker beyond the least number leaves because it has nothing to do.
//!
//! Nothing may be lost with it, neither a task nor a wake. So its last steps are these:
//!
//! ```text
//! submitter                                 worker                                     owner
//! 1 publish                                 1 takes its idle mark away itself:         1 sets its mark
//! 2 fence                                     nobody owes it a wake                    2 fence
//! 3 look at the marks                       2 fence                                    3 look for tasks that wait
//!   the worker's is up: take it, wake       3 look at every slot once more: a task       and for who is free
//!   the owner's is up: take it, wake          is run, and the worker stays
//!                                           4 says that it is as good as gone (turn.rs)
//!                                           5 fence, rings for the owner
//! ```
//! A submitter that still saw the worker's mark, and comes too late to take it, has published before the worker's look (both numbered 2 are fences). One
//! that came later wakes another worker, or the owner if its mark is up. It is up wherever the owner could start somebody; where it is not, because this worker is
//! still counted, the ring makes the owner look, after it has set its mark. A worker that dies between these steps is seen to end by the owner, which
//! then does the same.

use crate::life::Bit;
use crate::limits::{OWNER_SEAT, SLEEP_NS_MAX};
use crate::record::Kind;
use crate::registry::Member;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::{fence, now_ns};
use crate::turn::Turn;

/// Between two tries to leave, of a worker that may not do so yet.
const AGAIN_NS: u64 = 20_000_000;
/// An owner that has not looked around for so long is stopped, or has no time.
const LOOKS_WITHIN_NS: u64 = 3 * SLEEP_NS_MAX;

/// A worker's account of its time. Private to the worker.
pub(crate) struct Idleness {
    timeout_ns: u64,
    /// How many tasks it had finished when it last lay down, and when it first did so with as many.
    finished: u64,
    since: u64,
}

impl Idleness {
    /// Of a worker that leaves when it is idle for long.
    pub(crate) fn new(member: &Member, number: Option<u32>) -> Option<Idleness> {
        let demand = member.segment.demand()?;
        let leaves = demand.idle_ms != 0 && number? >= demand.least;
        leaves.then(|| Idleness { timeout_ns: u64::from(demand.idle_ms) * 1_000_000, finished: u64::MAX, since: 0 })
    }

    /// About to sleep: when that is to end, at the latest.
    pub(crate) fn leaves_at(&mut self, member: &Member, now: u64) -> u64 {
        let finished = member.record().finished.load(Relaxed);
        if finished != self.finished {
            (self.finished, self.since) = (finished, now);
        }
        let at = self.since.saturating_add(self.timeout_ns);
        if at > now { at } else { now.saturating_add(stays_for(member)) }
    }

    /// Whether it has slept for long enough.
    pub(crate) fn is_over(&self, member: &Member, now: u64) -> bool {
        now >= self.since.saturating_add(self.timeout_ns) && stays_for(member) == 0
    }

    /// The time in which it may run nothing is none of its own.
    pub(crate) fn begin_anew(&mut self) {
        self.finished = u64::MAX;
    }
}

/// For how long, at least, a worker is not to leave: 0 when the owner, who will start another one, knows it, so that its end is no start that failed, and goes on.
fn stays_for(member: &Member) -> u64 {
    if member.segment.has(Bit::Orphaned) {
        // Without its owner the pool keeps whom it has.
        return u64::MAX;
    }
    if member.record().known.load(Relaxed) != 1 {
        return AGAIN_NS;
    }
    let is_owned = member.seat.kind == Kind::ThreadWorker || member.owner_is_alive() && member.owner_looks_around();
    if is_owned { 0 } else { SLEEP_NS_MAX }
}

impl Member {
    /// Written by the owner's supervisor about once a second.
    pub(crate) fn say_looked(&self, now: u64) {
        self.record().looked_at.store(millisecond(now), Relaxed);
    }

    /// Whether it did so lately: one that is stopped starts nobody.
    fn owner_looks_around(&self) -> bool {
        let looked_at = self.segment.records()[OWNER_SEAT].looked_at.load(Relaxed);
        // Asked for afterwards, so that it is not before.
        millisecond(now_ns()).wrapping_sub(looked_at) <= millisecond(LOOKS_WITHIN_NS)
    }
}

fn millisecond(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

/// Says that this worker takes no more tasks, and has the owner look whether another one is needed.
pub(crate) fn say_farewell(member: &Member) {
    Turn::Handed.enter(member.record());
    // Pairs with the fence of who submits a task for this worker alone: either it sees the word, or the owner, who hears of it below, sees the task.
    fence(SeqCst);
    member.ring_owner();
}
