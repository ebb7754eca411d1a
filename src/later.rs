//! When a worker looks for tasks that are to begin later: a word of its record, which whoever puts such a task back brings forward.
//!
//! ```text
//! who puts a task back                      a worker that can run it
//! 1 the slot says when, and is PENDING      1 at that time: its word is taken away
//! 2 fence                                   2 fence
//! 3 its word: not later than then           3 looks at every slot; its word: not later than the next of them
//! 4 fence, and wakes it if it sleeps        4 sleeps not longer than its word says
//! ```
//! Whoever finds an earlier time in the word leaves it, and wakes nobody: the look that begins at that time meets the task, for of the two fences numbered 2 one
//! comes first. So a time is told once to each worker, and a look at every slot is for all that are due by then. The word is a hint: a wrong one means a look
//! in vain, or one that comes with the next look at everything.

use crate::layout::Record;
use crate::retry::still_until;
use crate::seeded::{Bug, seeded};
use crate::sleep::Sleepers;
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::fence;

/// It knows of no such task.
const NONE: u32 = 0;
/// It knows that there may be one, and not when.
pub(crate) const AT_ONCE: u32 = 1;

impl Record {
    /// Whether the worker has to look for tasks that are to begin later.
    #[inline]
    pub(crate) fn looks_later(&self) -> bool {
        self.later.load(Relaxed) != NONE
    }

    /// When it does, in nanoseconds of the clock: 0 when that time is over, and a time that never comes when it knows of none.
    pub(crate) fn looks_at(&self, now: u64) -> u64 {
        match self.later.load(Relaxed) {
            NONE => u64::MAX,
            AT_ONCE => 0,
            at => still_until(at, now).unwrap_or(0),
        }
    }

    /// Has it look not later than then, which is a time as it stands in a slot, or `AT_ONCE`. Whether it would not have done so.
    pub(crate) fn look_by(&self, time: u32) -> bool {
        let is_sooner = |known: u32| match known {
            NONE => true,
            AT_ONCE => false,
            _ => time == AT_ONCE || time.wrapping_sub(known).cast_signed() < 0,
        };
        // Two of the times that the clock has are meant otherwise: a millisecond or two later will do.
        let time = if time == NONE { AT_ONCE + 1 } else { time };
        let mut known = self.later.load(Relaxed);
        while is_sooner(known) {
            // Release: pairs with `begin_look`.
            match self.later.compare_exchange(known, time, Release, Relaxed) {
                Ok(_) => return true,
                Err(found) => known = found,
            }
        }
        false
    }

    /// Of the worker itself, before a look at every slot: what is told from here on is for the next one.
    pub(crate) fn begin_look(&self) {
        // Acquire: pairs with `look_by`: the look meets what was told before.
        self.later.swap(NONE, Acquire);
        // Pairs with the first fence in `tell`, whose caller left the time that we have taken away.
        fence(SeqCst);
    }
}

/// After a task was put back that is to begin at that time: tells the workers in these seats, and wakes those that would sleep longer.
pub(crate) fn tell(sleepers: Sleepers<'_>, seats: impl Iterator<Item = usize>, time: u32) {
    // Pairs with the fence in `begin_look`, and with that of a worker that begins: it looks at everything, and has to stand among the seats before.
    fence(SeqCst);
    let told: Vec<usize> = seats.filter(|&seat| sleepers.records.get(seat).is_some_and(|it| it.look_by(time))).collect();
    // Pairs with the fence in `Sleepers::prepare`.
    fence(SeqCst);
    for seat in told.into_iter().filter(|_| !seeded(Bug::LaterUntold)) {
        sleepers.wake_marked(seat);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_earliest_time_is_kept_whatever_the_clock_says() {
        for now in [5_u32, 1 << 31, u32::MAX - 3, u32::MAX] {
            let record = Record::default();
            let at = |ms: u32| now.wrapping_add(ms);
            let ns = |ms: u32| u64::from(now) * MS + u64::from(ms) * MS;
            assert!(!record.looks_later() && record.looks_at(ns(0)) == u64::MAX);
            assert!(record.look_by(at(7)) && !record.look_by(at(7)) && !record.look_by(at(9)));
            assert!(record.looks_later() && record.looks_at(ns(3)) == ns(7) && record.looks_at(ns(8)) == 0, "{now}");
            assert!(record.look_by(at(6)) && record.look_by(AT_ONCE) && !record.look_by(at(5)) && !record.look_by(AT_ONCE));
            assert_eq!(record.looks_at(ns(0)), 0);
            record.begin_look();
            assert!(!record.looks_later() && record.look_by(at(4)));
        }
    }
}
