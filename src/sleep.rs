//! Sleeping and waking of workers, without a system call while anybody is awake.
//!
//! ```text
//! submitter                                 worker
//! 1 publish (slot, tail)                    1 read its park word, set its idle mark
//! 2 fence                                   2 fence
//! 3 look at the idle marks                  3 look for work once more
//! 4 none: done, no system call              4 found: clear the mark
//!   one: clear it, park += 1, futex wake      none: futex wait on the park word as read in 1
//! ```
//! Whatever the order, one of the two looks (both numbered 3) sees the other's write (1): only the fences order a store before
//! a later load of another word. A wake between 3 and the futex wait changes the park word, so the wait returns at once.
//!
//! A mark is a hint: a waker that dies after clearing it and before the wake is made good by its reaper, which wakes
//! everybody, and a stopped one by the worker's timed sleep and by the submitter that sees its slot pending for
//! `PENDING_NS_MAX`.
//!
//! While some workers sleep, one that is awake and looking for work says so (`searching`), and submitters then wake nobody
//! else. It takes its mark away when it finds a task, and then looks (after a fence) whether more work came in the meantime:
//! if so it wakes the next.

use crate::layout::{Header, Record};
use crate::limits::{OWNER_SEAT, PARTICIPANT_WORDS};
use crate::seeded::{Bug, seeded};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU64, Wait, fence, fence_after_swap, futex_wait, futex_wake};

/// The idle marks and park words of a pool.
#[derive(Clone, Copy)]
pub(crate) struct Sleepers<'a> {
    pub(crate) idle: &'a [AtomicU64; PARTICIPANT_WORDS],
    pub(crate) searching: &'a [AtomicU64; PARTICIPANT_WORDS],
    pub(crate) records: &'a [Record],
}

impl<'a> Sleepers<'a> {
    #[inline]
    pub(crate) fn new(header: &'a Header, records: &'a [Record]) -> Sleepers<'a> {
        Sleepers { idle: &header.idle, searching: &header.searching, records }
    }

    /// After publishing, and after the swap that unlocks the lane: wakes a worker if all that are awake may be busy.
    #[inline]
    pub(crate) fn announce(&self) {
        // Pairs with the fences in `prepare` and `stop_searching`.
        if !seeded(Bug::NoFence) {
            fence_after_swap();
        }
        if self.anybody_idle() && !any(self.searching) {
            self.wake_one();
        }
    }

    #[inline]
    pub(crate) fn anybody_idle(&self) -> bool {
        any(self.idle)
    }

    /// Wakes one sleeping worker, or else the owner, if that would start one (`hiring.rs`). Whoever clears the mark owes the wake.
    #[cold]
    pub(crate) fn wake_one(&self) -> bool {
        for (i, word) in self.idle.iter().enumerate() {
            let mut marks = word.load(Relaxed) & !owner_mark(i);
            while marks != 0 {
                let bit = marks & marks.wrapping_neg();
                // AcqRel: pairs with `prepare` and `cancel` of the sleeper; nothing but the mark itself is handed over.
                let before = word.fetch_and(!bit, AcqRel);
                if before & bit != 0 {
                    self.wake(i * 64 + bit.trailing_zeros() as usize);
                    return true;
                }
                marks = before & !bit & !owner_mark(i);
            }
        }
        self.wake_marked(OWNER_SEAT)
    }

    /// Wakes every worker that sleeps now, once: one that finds nothing and lies down again is left alone.
    #[cold]
    pub(crate) fn wake_each(&self) {
        for (i, word) in self.idle.iter().enumerate() {
            let mut marks = word.load(Relaxed);
            while marks != 0 {
                let bit = marks & marks.wrapping_neg();
                marks &= !bit;
                // AcqRel: as in `wake_one`.
                if word.fetch_and(!bit, AcqRel) & bit != 0 {
                    self.wake(i * 64 + bit.trailing_zeros() as usize);
                }
            }
        }
    }

    /// Wakes a worker, or the owner, if its mark is up, and owes the wake then.
    pub(crate) fn wake_marked(&self, seat: usize) -> bool {
        let (word, bit) = (&self.idle[seat / 64], 1 << (seat % 64));
        // AcqRel: as in `wake_one`. The caller's announcement has the fence that orders this behind its publishing.
        let is_ours = word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, AcqRel) & bit != 0;
        if is_ours {
            self.wake(seat);
        }
        is_ours
    }

    /// Wakes a participant that sleeps or is about to.
    pub(crate) fn wake(&self, participant: usize) {
        if let Some(record) = self.records.get(participant) {
            // Release: pairs with the load in `prepare`, so that a mark set after this wake is not taken by what came before it.
            record.park.fetch_add(1, Release);
            futex_wake(&record.park, 1);
        }
    }

    /// Clears every mark and wakes everybody: what follows each death, and the end of a pool.
    #[cold]
    pub(crate) fn wake_all(&self) {
        if seeded(Bug::WakeOne) {
            self.wake_one();
            return;
        }
        for word in self.idle {
            word.store(0, Relaxed);
        }
        for i in 0..self.records.len() {
            self.wake(i);
        }
    }

    /// Steps 1 and 2 of the worker, and of an owner that is about to look whether it has to start one. Look for work before calling `sleep` with what this returns.
    #[must_use]
    pub(crate) fn prepare(&self, me: usize) -> u32 {
        // Acquire: pairs with `wake`.
        let seen = self.records[me].park.load(Acquire);
        self.idle[me / 64].fetch_or(1 << (me % 64), AcqRel);
        // Pairs with the fence in `announce`.
        fence(SeqCst);
        seen
    }

    /// Takes the idle mark back. True when it was gone already: a wake was sent to us, which we pass on if we leave.
    pub(crate) fn cancel(&self, me: usize) -> bool {
        // AcqRel: pairs with `wake_one`.
        self.idle[me / 64].fetch_and(!(1 << (me % 64)), AcqRel) & 1 << (me % 64) == 0
    }

    /// For a worker that leaves: a wake that was meant for it goes on to somebody else.
    pub(crate) fn pass_on(&self, me: usize) {
        self.forget(me);
        if !seeded(Bug::WakeKept) {
            self.wake_one();
        }
    }

    pub(crate) fn sleep(&self, me: usize, seen: u32, deadline_ns: u64) -> Wait {
        futex_wait(&self.records[me].park, seen, Some(deadline_ns))
    }

    pub(crate) fn start_searching(&self, me: usize) {
        self.searching[me / 64].fetch_or(1 << (me % 64), Relaxed);
    }

    /// After this the caller must look for further work, and wake another worker if there is some.
    pub(crate) fn stop_searching(&self, me: usize) {
        self.searching[me / 64].fetch_and(!(1 << (me % 64)), Relaxed);
        // Pairs with the fence in `announce`: a submitter that still saw the mark published before it, and our next look
        // finds that.
        fence(SeqCst);
    }

    /// Takes all of these marks away. Whoever had one is not counted upon any more: that costs a wake.
    pub(crate) fn forget_searching(&self) {
        self.searching.iter().for_each(|word| word.store(0, Relaxed));
    }

    /// For a reaper: the marks of a dead participant.
    pub(crate) fn forget(&self, dead: usize) {
        self.searching[dead / 64].fetch_and(!(1 << (dead % 64)), Relaxed);
        self.idle[dead / 64].fetch_and(!(1 << (dead % 64)), Relaxed);
    }
}

/// The owner's mark, if it is in this word.
fn owner_mark(word: usize) -> u64 {
    if word == OWNER_SEAT / 64 { 1 << (OWNER_SEAT % 64) } else { 0 }
}

#[inline]
fn any(marks: &[AtomicU64; PARTICIPANT_WORDS]) -> bool {
    // Relaxed: the caller's fence orders these loads after its publishing.
    marks.iter().any(|word| word.load(Relaxed) != 0)
}
