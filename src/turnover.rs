//! What a worker does beside its tasks in a pool whose workers leave after a number of them: see `turn.rs`.

use crate::limits::SLEEP_NS_MAX;
use crate::policy::Policy;
use crate::registry::Member;
use crate::seeded::{Bug, seeded};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{futex_wait, now_ns};
use crate::turn::Turn;

/// A replacement is asked for when this part of the tasks is left, but not more than so many: a start takes the time of some tasks, and what was
/// started waits and takes memory.
const LEFT_PART: u64 = 4;
const LEFT_MAX: u64 = 64;

/// A worker's account of its tasks. Private to the worker.
pub(crate) struct Turnover {
    number: u32,
    /// Tasks after which it is to leave, and after which it says so.
    limit: u64,
    near: u64,
    has_said: bool,
    /// Its park word at the last look for one that waits: such a one changes it.
    looked_at: Option<u32>,
}

impl Turnover {
    /// Of a worker that the pool's owner has started and will replace; `None` in a pool without a limit.
    pub(crate) fn new(member: &Member, number: Option<u32>) -> Option<Turnover> {
        let limit = Policy::from_bits(member.segment.header().identity.policy.load(Relaxed)).tasks_max?;
        let limit = u64::from(limit.get());
        let near = limit - (limit / LEFT_PART).clamp(1, LEFT_MAX);
        Some(Turnover { number: number?, limit, near, has_said: false, looked_at: None })
    }

    /// Before the first task, when everything else is ready: waits as long as another worker of this number takes tasks, or until `stop_bits` say so.
    pub(crate) fn await_turn(&self, member: &Member, stop_bits: u32) {
        let record = member.record();
        Turn::Waiting.enter(record);
        loop {
            // Acquire: pairs with the Release of who wakes us: either its word is visible below, or the park word differs from this.
            let seen = record.park.load(Acquire);
            // That the number is one too many calls nobody off: the other worker hands over before it leaves, and who goes on beside it might find a moment
            // later that the number is wanted again.
            if member.segment.life().flags.load(Relaxed) & stop_bits != 0 || !member.is_served(self.number) {
                break;
            }
            // It may sleep, and is to see us.
            member.wake_others_of(self.number);
            let _ = futex_wait(&record.park, seen, Some(now_ns() + SLEEP_NS_MAX));
        }
        Turn::Serving.enter(record);
    }

    /// Between two tasks: whether another one has taken over.
    pub(crate) fn is_over(&mut self, member: &Member) -> bool {
        let finished = member.record().finished.load(Relaxed);
        if finished >= self.near && !self.has_said {
            self.has_said = true;
            Turn::Near.enter(member.record());
            member.ring_owner();
        }
        finished >= self.limit && self.is_to_look(member) && self.look(member)
    }

    /// Whether one that waits may have come since the last look.
    pub(crate) fn is_to_look(&self, member: &Member) -> bool {
        // Acquire: pairs with the wake by who waits, whose word is then visible.
        let park = member.record().park.load(Acquire);
        self.looked_at != Some(park) && member.record().finished.load(Relaxed) >= self.limit
    }

    #[cold]
    fn look(&mut self, member: &Member) -> bool {
        // Acquire: as in `is_to_look`. Before the look: a later wake is seen by the next one.
        let park = member.record().park.load(Acquire);
        let found = member.one_that_waits(self.number).is_some();
        // Acquire: as above.
        self.looked_at = Some(if seeded(Bug::TurnLookedLate) { member.record().park.load(Acquire) } else { park });
        if found {
            self.hand_over(member);
        }
        found
    }

    /// Takes no more tasks, and lets who waits begin.
    pub(crate) fn hand_over(&self, member: &Member) {
        if member.seat.is_ours(member.record()) && Turn::of(member.record()) != Turn::Handed {
            Turn::Handed.enter(member.record());
            if !seeded(Bug::HandedSilently) {
                member.wake_others_of(self.number);
            }
        }
    }
}
