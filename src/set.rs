//! The word of a task set: what lets one store stop every further start of its tasks.
//!
//! ```text
//! 63      52 51          32 31      16 15     8 7      0
//! 0          generation:20   owner:16   0        phase        FREE 0 -> OPEN 3 -> DISCARDED 5 -> FREE, generation + 1
//! ```
//! A slot names its set by {generation:20, index + 1:12}. Discarding is one store to the word and then a sweep of the pending
//! slots. A worker that won a task in between looks at the word before it starts the function:
//!
//! ```text
//! discarder                         worker                                   submitter
//! 1 word = DISCARDED                1 PENDING -> RUNNING                     1 FREE -> PENDING
//! 2 fence                           2 fence                                  2 fence
//! 3 sweep: PENDING -> CANCELLED     3 discarded? RUNNING -> CANCELLED        3 discarded? PENDING -> CANCELLED
//! ```
//! One of the two always sees the other, so no task of a discarded set is left pending, and none is started once `discard` has
//! returned. A killed discarder is finished by its reaper, which repeats the sweep.

use crate::seeded::{Bug, seeded};
use crate::state::Participant;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::sync::fence;

const OPEN: u64 = 3;
const DISCARDED: u64 = 5;
const OWNER_SHIFT: u32 = 16;
const GENERATION_SHIFT: u32 = 32;
const GENERATION_MASK: u64 = (1 << 20) - 1;

/// A set's name in a slot. Zero in a slot means no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetRef(pub(crate) u32);

impl SetRef {
    fn new(index: usize, generation: u64) -> SetRef {
        SetRef((generation as u32) << 12 | (index as u32 + 1))
    }
    fn index(self) -> Option<usize> {
        (self.0 as usize & 0xfff).checked_sub(1)
    }
    fn generation(self) -> u64 {
        u64::from(self.0 >> 12)
    }
}

/// The table of sets.
#[derive(Clone, Copy)]
pub(crate) struct Sets<'a> {
    pub(crate) words: &'a [AtomicU64],
    /// Tasks that were cancelled because their set was found discarded, for `Discarded`. Started anew with each set.
    pub(crate) cancelled: &'a [AtomicU64],
}

impl Sets<'_> {
    /// A new open set of `owner`; `None` when the table is full.
    pub(crate) fn open(&self, owner: Participant) -> Option<SetRef> {
        for (index, word) in self.words.iter().enumerate() {
            let seen = word.load(Relaxed);
            if seen & 0xff != 0 {
                continue;
            }
            let generation = seen >> GENERATION_SHIFT & GENERATION_MASK;
            let open = generation << GENERATION_SHIFT | u64::from(owner.bits()) << OWNER_SHIFT | OPEN;
            // AcqRel: pairs with `close` of the set that had the entry before.
            if word.compare_exchange(seen, open, AcqRel, Relaxed).is_ok() {
                self.cancelled[index].store(0, Relaxed);
                return Some(SetRef::new(index, generation));
            }
        }
        None
    }

    fn word(&self, set: SetRef) -> Option<&AtomicU64> {
        self.words.get(set.index()?)
    }

    fn is_at(word: u64, set: SetRef, phase: u64) -> bool {
        word & 0xff == phase && (word >> GENERATION_SHIFT & GENERATION_MASK) == set.generation()
    }

    /// Step 1 and 2 of the discarder: from here on no task of the set starts. False when it was discarded or closed before.
    pub(crate) fn discard(&self, set: SetRef) -> bool {
        let Some(word) = self.word(set) else { return false };
        // Acquire, and AcqRel below: pair with `open` and `close`.
        let seen = word.load(Acquire);
        let stopped =
            Self::is_at(seen, set, OPEN) && word.compare_exchange(seen, seen & !0xff | DISCARDED, AcqRel, Relaxed).is_ok();
        // Pairs with the fence in `is_discarded`.
        fence(SeqCst);
        stopped
    }

    /// Whether a set that its owner still has is open or discarded, as it must be.
    pub(crate) fn is_known(&self, set: SetRef) -> bool {
        self.word(set).is_some_and(|word| {
            // Relaxed: the owner's own word, which others only discard.
            let seen = word.load(Relaxed);
            Self::is_at(seen, set, OPEN) || Self::is_at(seen, set, DISCARDED)
        })
    }

    /// Steps 2 and 3 of worker and submitter: whether the set of a task just claimed or published was discarded.
    #[inline]
    pub(crate) fn is_discarded(&self, set: SetRef) -> bool {
        if seeded(Bug::NoLookAtSet) {
            return false;
        }
        // Pairs with the fence in `discard`.
        fence(SeqCst);
        self.word(set).is_some_and(|word| Self::is_at(word.load(Relaxed), set, DISCARDED))
    }

    /// Counts a task that is about to be cancelled for its set; take it back when that fails.
    pub(crate) fn count_cancelled(&self, set: SetRef, by: i64) {
        if let Some(count) = set.index().and_then(|index| self.cancelled.get(index)) {
            // AcqRel: pairs with the Acquire in `cancelled`.
            count.fetch_add(by as u64, AcqRel);
        }
    }

    /// Tasks counted so far. AcqRel there, Acquire here: who sees a slot that its worker cancelled sees the count. A submitter and a
    /// reaper count after they cancelled.
    pub(crate) fn cancelled(&self, set: SetRef) -> usize {
        set.index().and_then(|index| self.cancelled.get(index)).map_or(0, |count| count.load(Acquire) as usize)
    }

    /// Gives the entry back. Slots that still name the set find another generation and go on as if they had none.
    pub(crate) fn close(&self, set: SetRef) {
        let Some(word) = self.word(set) else { return };
        let seen = word.load(Relaxed);
        if Self::is_at(seen, set, OPEN) || Self::is_at(seen, set, DISCARDED) {
            let next = ((set.generation() + 1) & GENERATION_MASK) << GENERATION_SHIFT;
            // AcqRel: pairs with `open` of the entry's next user.
            let _ = word.compare_exchange(seen, next, AcqRel, Relaxed);
        }
    }

    /// For a reaper: the sets of a dead participant, and whether each was discarded.
    pub(crate) fn of(&self, owner: Participant) -> impl Iterator<Item = (SetRef, bool)> + '_ {
        self.words.iter().enumerate().filter_map(move |(index, word)| {
            // Acquire: pairs with `open` and `discard`.
            let seen = word.load(Acquire);
            let mine = seen >> OWNER_SHIFT & 0xffff == u64::from(owner.bits()) && seen & 0xff != 0;
            let set = SetRef::new(index, seen >> GENERATION_SHIFT & GENERATION_MASK);
            mine.then_some((set, seen & 0xff == DISCARDED))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reused_entry_is_another_set() {
        let words = [AtomicU64::new(0), AtomicU64::new(0)];
        let counts = [AtomicU64::new(0), AtomicU64::new(0)];
        let sets = Sets { words: &words, cancelled: &counts };
        let me = Participant::new(3, 1);
        let a = sets.open(me).unwrap();
        assert!(!sets.is_discarded(a) && sets.discard(a) && sets.is_discarded(a) && !sets.discard(a));
        assert_eq!(sets.of(me).collect::<Vec<_>>(), [(a, true)]);
        sets.close(a);
        let b = sets.open(me).unwrap();
        assert_ne!(a, b);
        assert!(!sets.is_discarded(a) && !sets.is_discarded(b));
        assert!(!sets.discard(a), "a stale name does nothing");
        assert!(sets.open(me).is_some() && sets.open(me).is_none());
    }
}
