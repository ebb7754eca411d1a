//! What a `fork` by the host program does to our handles: in the child they are inert.
//!
//! The child counts as another side: every handle compares the side it was made on. The lock descriptors are closed in the
//! child, so that a participant's byte is free when the participant itself is gone.

use crate::seeded::{Bug, seeded};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

static SIDE: AtomicU32 = AtomicU32::new(0);
/// Lock descriptors to close in a child. Fixed, for the hook may not allocate.
static LOCKS: [AtomicI32; 256] = [const { AtomicI32::new(-1) }; 256];
static HOOK: Once = Once::new();

unsafe extern "C" fn in_child() {
    if !seeded(Bug::NoForkGuard) {
        SIDE.fetch_add(1, Relaxed);
    }
    for lock in &LOCKS {
        let fd = lock.swap(-1, Relaxed);
        if fd >= 0 {
            crate::sys::close_raw(fd);
        }
    }
}

/// Counts the forks between the first process and this one.
#[inline]
pub(crate) fn side() -> u32 {
    SIDE.load(Relaxed)
}

/// Has `fd` closed in forked children. `None` when there is no room: then a child that lives on delays the proof of our death by its
/// byte, and the pid decides.
pub(crate) fn guard(fd: i32) -> Option<usize> {
    HOOK.call_once(|| {
        // Without the hook the byte of a killed parent stays taken while a forked child lives; the pid still proves the death.
        let _ = crate::sys::at_fork_child(in_child);
    });
    LOCKS.iter().position(|slot| slot.compare_exchange(-1, fd, Relaxed, Relaxed).is_ok())
}

pub(crate) fn release(slot: Option<usize>, fd: i32) {
    if let Some(slot) = slot {
        let _ = LOCKS[slot].compare_exchange(fd, -1, Relaxed, Relaxed);
    }
}
