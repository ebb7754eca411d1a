//! A cell that is written once, by the one thread that has the right to: cheaper than `OnceLock`, which must let any thread try.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Empty, or written for good.
pub(crate) struct Once<T> {
    written: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is handed from the writing thread to readers of others (so `T: Send`), who share it by reference (`T: Sync`); the
// store of `written` orders the two.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) fn new() -> Once<T> {
        Once { written: AtomicU32::new(0), value: UnsafeCell::new(None) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `set`.
        if self.written.load(Acquire) == 0 {
            return None;
        }
        // SAFETY: once `written` is 1 the value is never written again, so shared references to it are sound.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// Empties the cell for good: nothing can be written again.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.value.get_mut().take()
    }

    /// Writes the value.
    ///
    /// # Safety
    /// At most one call is ever made for a cell.
    #[inline]
    pub(crate) unsafe fn set(&self, value: T) {
        debug_assert_eq!(self.written.load(Relaxed), 0);
        // SAFETY: nobody else writes, by this function's contract, and nobody reads before `written` is 1. What is overwritten is the `None` of `new`,
        // which needs no drop.
        unsafe { self.value.get().write(Some(value)) };
        // Release: pairs with the Acquire in `get`.
        self.written.store(1, Release);
    }
}
