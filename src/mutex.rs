//! `ShmMutex`: a mutex between processes whose word names its owner, so that whoever waits can find out that the owner is dead.
//!
//! ```text
//! word   31      24 23           8 7        2   1       0
//!        0          owner:16       0          WAITERS LOCKED         0 = unlocked
//! ```
//! Locking an unlocked word is one compare-and-swap. Every wait is bounded: after `MUTEX_SLICE_NS` the waiter looks for
//! proof of the owner's death and takes over by a compare-and-swap from the exact dead word, while it holds the reaper byte of
//! the dead owner. A living owner that does not go on is never robbed: the wait ends with `Stalled`.
//! It is held over no user code, no blocking system call, and at most `SLOTS_PER_HOLD_MAX` slots.
//!
//! A pthread mutex is not enough, and therefore only the other choice (`pthread_mutex.rs`): a robust one stays locked when its
//! owner's memory is reaped before its list is walked (the kernel's out-of-memory path), and equal thread ids in two PID namespaces break exclusion.

use crate::limits::{MUTEX_NS_MAX, MUTEX_SLICE_NS};
use crate::seeded::{Bug, seeded};
use crate::state::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, futex_wait, futex_wake, now_ns, spin_loop};

const LOCKED: u32 = 1;
const WAITERS: u32 = 2;
const OWNER_SHIFT: u32 = 8;
/// Looks at a held mutex before sleeping: a hold is a few hundred nanoseconds.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// Who can prove that a participant is dead.
pub(crate) trait Peers {
    /// Runs `act` while `who` is proved dead and nobody else can act for it; `None` when it is not proved dead.
    fn if_dead<R>(&self, who: Participant, act: impl FnOnce() -> R) -> Option<R>;
}

/// The lock is held by a participant that lives and does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled(pub(crate) Participant);

/// A mutex word in the segment.
#[derive(Clone, Copy)]
pub(crate) struct ShmMutex<'a>(pub(crate) &'a AtomicU32);

impl<'a> Guard<'a> {
    #[inline]
    fn of_word(word: &'a AtomicU32, taken_over: bool) -> Guard<'a> {
        Guard {
            word,
            #[cfg(feature = "raw-sync")]
            _pthread: None,
            taken_over,
        }
    }

    /// Of a locked pthread mutex, beside which the word only says who has it.
    #[cfg(feature = "raw-sync")]
    pub(crate) fn of_pthread(word: &'a AtomicU32, me: Participant, locked: Locked<'a>) -> Guard<'a> {
        word.store(word_of(me), Relaxed);
        Guard { word, taken_over: locked.owner_died, _pthread: Some(locked) }
    }
}

/// The word of a mutex that `who` holds.
fn word_of(who: Participant) -> u32 {
    u32::from(who.bits()) << OWNER_SHIFT | LOCKED
}

fn owner_of(word: u32) -> Option<Participant> {
    (word & LOCKED != 0).then(|| Participant::from_bits((word >> OWNER_SHIFT) as u16))
}

/// Whether anybody can have written this word. Others come by damage.
fn is_possible(word: u32) -> bool {
    word & !(LOCKED | WAITERS | 0xffff << OWNER_SHIFT) == 0
        && Participant::from_bits((word >> OWNER_SHIFT) as u16).index() < crate::limits::PARTICIPANTS_MAX
}

/// A pthread mutex that this thread has locked. Dropping it unlocks.
#[cfg(feature = "raw-sync")]
pub(crate) struct Locked<'a> {
    pub(crate) lock: &'a dyn raw_sync::locks::LockImpl,
    /// What it guards may be half done.
    pub(crate) owner_died: bool,
}

#[cfg(feature = "raw-sync")]
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It fails only for who does not hold it.
        let _ = self.lock.release();
    }
}

/// Holds the mutex until dropped.
#[must_use]
pub(crate) struct Guard<'a> {
    word: &'a AtomicU32,
    /// Unlocked after the word, by its own drop.
    #[cfg(feature = "raw-sync")]
    _pthread: Option<Locked<'a>>,
    /// It was taken from a dead owner: what it guards may be half done.
    pub(crate) taken_over: bool,
}

impl<'a> ShmMutex<'a> {
    #[inline]
    pub(crate) fn lock(self, me: Participant, peers: &impl Peers) -> Result<Guard<'a>, Stalled> {
        match self.try_lock(me) {
            Some(guard) => Ok(guard),
            None => self.lock_slow(word_of(me), peers),
        }
    }

    /// Takes the mutex if nobody has it.
    #[inline]
    pub(crate) fn try_lock(self, me: Participant) -> Option<Guard<'a>> {
        // Acquire: pairs with the Release in `drop`: what the last owner wrote is visible.
        let taken = self.0.compare_exchange(0, word_of(me), Acquire, Relaxed).is_ok() || seeded(Bug::PublishUnlocked);
        taken.then(|| Guard::of_word(self.0, false))
    }

    #[cold]
    fn lock_slow(self, mine: u32, peers: &impl Peers) -> Result<Guard<'a>, Stalled> {
        for _ in 0..SPINS {
            // Acquire: as in `lock`.
            if self.0.load(Relaxed) == 0 && self.0.compare_exchange(0, mine, Acquire, Relaxed).is_ok() {
                return Ok(Guard::of_word(self.0, false));
            }
            spin_loop();
        }
        let give_up = now_ns() + MUTEX_NS_MAX;
        // The word as it was when the last wait began, and when that was: a wait that ends early, or is refused, is none.
        let mut since = (0, 0);
        loop {
            let seen = self.0.load(Relaxed);
            if seen & LOCKED == 0 {
                // Others may sleep behind us, so we take it with the mark that makes our unlock wake one. Acquire: as in `lock`.
                if self.0.compare_exchange(seen, mine | WAITERS, Acquire, Relaxed).is_ok() {
                    return Ok(Guard::of_word(self.0, false));
                }
                continue;
            }
            let marked = seen | WAITERS;
            if seen != marked && self.0.compare_exchange(seen, marked, Relaxed, Relaxed).is_err() {
                continue;
            }
            if since.0 != marked {
                since = (marked, now_ns());
            }
            let until = since.1 + MUTEX_SLICE_NS;
            futex_wait(self.0, marked, Some(until));
            // In a model no time passes: there every failed wait is followed by the search for proof.
            if !cfg!(loom) && now_ns() < until || seeded(Bug::UnboundedWait) {
                continue;
            }
            since.1 = now_ns();
            let owner = Participant::from_bits((marked >> OWNER_SHIFT) as u16);
            // Acquire: the dead owner's stores reached memory before its death could be proved.
            let take = || self.0.compare_exchange(marked, mine | WAITERS, Acquire, Relaxed).is_ok();
            if !is_possible(marked) {
                // An owner would have unlocked it meanwhile: nobody holds it.
                if take() {
                    return Ok(Guard::of_word(self.0, true));
                }
                continue;
            }
            match peers.if_dead(owner, take) {
                Some(true) => return Ok(Guard::of_word(self.0, true)),
                Some(false) => {}
                None if !cfg!(loom) && now_ns() >= give_up => return Err(Stalled(owner)),
                None => {}
            }
        }
    }

    /// Who holds it.
    pub(crate) fn owner(self) -> Option<Participant> {
        owner_of(self.0.load(Relaxed))
    }

    /// For the reaper of `dead`, which holds its reaper byte: takes the mutex if the dead participant held it.
    pub(crate) fn take_from(self, dead: Participant, me: Participant) -> Option<Guard<'a>> {
        let mine = word_of(me) | WAITERS;
        loop {
            let seen = self.0.load(Relaxed);
            if owner_of(seen) != Some(dead) {
                return None;
            }
            // Acquire: as at a takeover in `lock_slow`. A waiter may set its mark in between: look again.
            if self.0.compare_exchange(seen, mine, Acquire, Relaxed).is_ok() {
                return Some(Guard::of_word(self.0, true));
            }
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next owner.
        if self.word.swap(0, Release) & WAITERS != 0 {
            futex_wake(self.word, 1);
        }
    }
}
