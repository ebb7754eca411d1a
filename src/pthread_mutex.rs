//! The second kind of lane mutex (feature `raw-sync`): a robust pthread mutex that processes share, driven through `raw_sync`.
//!
//! The kernel passes such a mutex on when its owner dies: the next one gets it with `EOWNERDEAD`, repairs the lane, and declares it consistent. It
//! cannot where the owner's memory is gone before the list of its mutexes is walked (`process_mrelease`, the out-of-memory killer): then the mutex stays
//! locked for good. So every wait here is bounded (by the wall clock: `raw_sync` asks no other), and who finds that the thread is gone which the
//! mutex says has it ends the pool.
//!
//! Beside the mutex the lane's word says who has it, for these looks and for `inspect`: written after locking, cleared before unlocking.

use crate::error::{Error, Result};
use crate::layout::{LaneHead, PTHREAD_MUTEX_WORDS};
use crate::limits::MUTEX_NS_MAX;
use crate::mutex::{Guard, Locked, ShmMutex, Stalled};
use crate::registry::Member;
use crate::ring::Hold;
use crate::search::Rings;
use crate::state::Participant;
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::sys;
use raw_sync::Timeout;
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use std::time::Duration;

/// One wait. `raw_sync` takes whole seconds: it adds the nanoseconds of a time-out to those of the clock without a carry.
const SLICE: Duration = Duration::from_secs(1);

/// Why a mutex is lost whose owner's death the kernel has passed over.
const STUCK: &str = "it stays locked after its owner's death";

/// In place of a holder that has not said who it is: it has no record.
const NOBODY: Participant = Participant::from_bits(u16::MAX);

/// Where a lane has its mutex.
pub(crate) fn mutex_of(head: &LaneHead) -> *mut sys::PthreadMutex {
    const { assert!(size_of::<sys::PthreadMutex>() <= 8 * PTHREAD_MUTEX_WORDS && align_of::<sys::PthreadMutex>() <= 128) };
    head.pthread.as_ptr().cast_mut().cast()
}

/// Whether it is locked by a thread that there is no more. False where the C library does not keep the kernel's word first.
fn is_held_by_nobody(head: &LaneHead) -> bool {
    const TID: u32 = 0x3fff_ffff;
    let holder = head.pthread[0].load(Relaxed) as u32 & TID;
    cfg!(target_env = "gnu") && holder != 0 && sys::is_unused_number(holder)
}

/// The mutexes of all lanes.
pub(crate) struct PthreadMutexes(Vec<Box<dyn LockImpl>>);

// SAFETY: each box holds a pointer to a mutex in the segment, which any thread may use, and a null pointer for data that is never asked for.
unsafe impl Send for PthreadMutexes {}
// SAFETY: as above; a pthread mutex is made to be used from several threads.
unsafe impl Sync for PthreadMutexes {}

/// Why a mutex was not had.
enum NotHad {
    /// Somebody has it.
    Held,
    Failed(String),
}

impl PthreadMutexes {
    /// # Safety
    /// The mutexes in `heads` are initialised, and stay where they are for as long as this value lives.
    pub(crate) unsafe fn over(heads: &[LaneHead]) -> PthreadMutexes {
        let open = |head: &LaneHead| {
            let at = mutex_of(head).cast::<u8>();
            // SAFETY: an initialised mutex, by the caller's promise; it is aligned to 128 bytes, so nothing is left out before it.
            unsafe { Mutex::from_existing(at, std::ptr::null_mut()) }.expect("it does nothing that could fail").0
        };
        PthreadMutexes(heads.iter().map(open).collect())
    }

    fn lock(&self, lane: usize, limit: Duration) -> std::result::Result<Locked<'_>, NotHad> {
        let lock = &*self.0[lane];
        match lock.try_lock(Timeout::Val(limit)) {
            Ok(guard) => {
                std::mem::forget(guard);
                Ok(Locked { lock, owner_died: false })
            }
            Err(error) => {
                let text = error.to_string();
                // The error number stands at the end of the text.
                match text.rsplit(' ').next().and_then(|number| number.parse().ok()) {
                    Some(libc::ETIMEDOUT) => Err(NotHad::Held),
                    Some(libc::EOWNERDEAD) => {
                        let locked = Locked { lock, owner_died: true };
                        // Should we die in the repair that follows, the next one is told the same. SAFETY: just given to this thread so.
                        let made = unsafe { sys::robust_mutex_consistent(lock.as_raw().cast()) };
                        made.map(|()| locked).map_err(|e| NotHad::Failed(e.to_string()))
                    }
                    _ => Err(NotHad::Failed(text)),
                }
            }
        }
    }
}

impl Member {
    fn hold_locked<'a>(&'a self, lane: usize, locked: Locked<'a>) -> Hold<'a> {
        let ring = self.segment.lane(lane);
        let hold = ring.held(Guard::of_pthread(&ring.head.mutex, self.who(), locked));
        if hold.taken_over() {
            self.segment.sweep_unpublished(lane, &hold);
        }
        hold
    }

    /// Locks a lane of a pool that is guarded so, if nobody has it.
    pub(crate) fn try_hold_pthread<'a>(&'a self, all: &'a PthreadMutexes, lane: usize) -> Option<Hold<'a>> {
        all.lock(lane, Duration::ZERO).ok().map(|locked| self.hold_locked(lane, locked))
    }

    /// Locks it, and puts right what a dead holder left.
    pub(crate) fn hold_pthread<'a>(&'a self, all: &'a PthreadMutexes, lane: usize) -> Result<Hold<'a>> {
        let give_up = now_ns() + MUTEX_NS_MAX;
        loop {
            match all.lock(lane, SLICE) {
                Ok(locked) => return Ok(self.hold_locked(lane, locked)),
                Err(NotHad::Failed(why)) => return Err(self.lost(lane, &why)),
                Err(NotHad::Held) => {}
            }
            if self.is_stuck(all, lane) {
                return Err(self.lost(lane, STUCK));
            }
            if now_ns() >= give_up {
                let owner = ShmMutex(&self.segment.lane(lane).head.mutex).owner();
                return Err(self.stalled(Stalled(owner.unwrap_or(NOBODY))));
            }
        }
    }

    /// For the reaper of `dead`: the lane, if the dead participant held it.
    pub(crate) fn take_pthread_from<'a>(
        &'a self,
        all: &'a PthreadMutexes,
        lane: usize,
        dead: Participant,
    ) -> Option<Hold<'a>> {
        let word = ShmMutex(&self.segment.lane(lane).head.mutex);
        if word.owner() != Some(dead) {
            return None;
        }
        // Another who waits may be given it first, and repairs it: the word will say so soon.
        match all.lock(lane, SLICE) {
            Ok(locked) => return Some(self.hold_locked(lane, locked)),
            Err(NotHad::Held) if !self.is_stuck(all, lane) => {}
            Err(NotHad::Held) => drop(self.lost(lane, STUCK)),
            Err(NotHad::Failed(why)) => drop(self.lost(lane, &why)),
        }
        None
    }

    /// Whether nobody can ever have it: the thread that the mutex itself names is gone, and the kernel has not passed it on, though that comes
    /// before a thread's number is free. So a last attempt finds it locked by the same.
    fn is_stuck(&self, all: &PthreadMutexes, lane: usize) -> bool {
        let ring = self.segment.lane(lane);
        if !is_held_by_nobody(ring.head) {
            return false;
        }
        match all.lock(lane, Duration::ZERO) {
            Ok(locked) => {
                drop(self.hold_locked(lane, locked));
                false
            }
            Err(_) => is_held_by_nobody(ring.head),
        }
    }

    /// Nobody can lock this lane any more.
    fn lost(&self, lane: usize, why: &str) -> Error {
        self.segment.poison(format!("the pthread mutex of lane {lane}: {why}"))
    }
}
