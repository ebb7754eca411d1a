//! A cell that is written once, by the one thread that has the right to: cheaper than `OnceLock`, which must let any thread try.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Nothing was written yet.
const EMPTY: u32 = 0;
/// There is a value.
const WRITTEN: u32 = 1;
/// There was one, and there will be none again.
const TAKEN: u32 = 2;

/// Empty, or written for good; unless its owner takes the value out.
// No `Option`: with its tag the bytes of an empty one would be moved with every future, by loads that wait for the stores before them.
pub(crate) struct Once<T> {
    state: AtomicU32,
    /// A value while the state is `WRITTEN`.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is handed from the writing thread to readers of others (so `T: Send`), who share it by reference (`T: Sync`); the
// store of the state orders the two.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    #[inline]
    pub(crate) fn new() -> Once<T> {
        Once { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `set`.
        if self.state.load(Acquire) != WRITTEN {
            return None;
        }
        // SAFETY: the state says that there is a value, and the Acquire has its write before this. While this is borrowed it is neither written again nor
        // taken, so shared references to it are sound.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Takes the value out, for good: nothing can be written again.
    pub(crate) fn take(&mut self) -> Option<T> {
        if *self.state.get_mut() != WRITTEN {
            return None;
        }
        *self.state.get_mut() = TAKEN;
        // SAFETY: there was a value, and from here on the state says that there is none, so it is read out once.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }

    /// Writes the value.
    ///
    /// # Safety
    /// At most one call is ever made for a cell.
    #[inline]
    pub(crate) unsafe fn set(&self, value: T) {
        debug_assert_eq!(self.state.load(Relaxed), EMPTY);
        // SAFETY: nobody else writes, by this function's contract, and nobody reads before the state says so. What is overwritten is no value.
        unsafe { (*self.value.get()).write(value) };
        // Release: pairs with the Acquire in `get`.
        self.state.store(WRITTEN, Release);
    }
}

impl<T> Drop for Once<T> {
    #[inline]
    fn drop(&mut self) {
        if *self.state.get_mut() == WRITTEN {
            // SAFETY: there is a value, and nobody has it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_value_is_dropped_once_whoever_has_it() {
        let value = Arc::new(7);
        let mut cell = Once::new();
        assert!(cell.get().is_none() && cell.take().is_none());
        // SAFETY: the one call.
        unsafe { cell.set(value.clone()) };
        assert_eq!(cell.get(), Some(&value));
        drop(cell);
        assert_eq!(Arc::strong_count(&value), 1);
        let mut cell = Once::new();
        // SAFETY: the one call.
        unsafe { cell.set(value.clone()) };
        let taken = cell.take();
        assert!(cell.get().is_none() && cell.take().is_none());
        drop(cell);
        assert_eq!(Arc::strong_count(&value), 2);
        assert_eq!(taken.as_ref(), Some(&value));
        drop((taken, Once::<Arc<u32>>::new()));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
