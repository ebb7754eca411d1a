//! The facade for everything concurrent: atomics, fences, spin hints and the futex. The protocol code (`state`, `slot`, `ring`,
//! `mutex`, `sleep`, `set`) uses nothing else, so that the very same code runs under the model checkers loom (`--cfg loom`) and
//! shuttle (`--cfg shuttle` as well).
//!
//! In the segment all words start as zero; under loom the same structs are built with `Default`.

#[allow(unused_imports, reason = "each face uses it in its own place")]
use crate::seeded::{Bug, seeded};
pub(crate) use face::*;

#[cfg(not(loom))]
mod face {
    pub(crate) use crate::sys::{Wait, futex_wait, futex_wake, now_ns, yield_now};
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

/// The face in a model, under loom or (`--cfg shuttle` as well) under shuttle. A futex is modelled as a queue per word: a wait compares and
/// sleeps in one step, a wake releases sleepers of that word only, and nobody ever wakes by a time-out, so a lost wake-up is a
/// deadlock that the checker reports. A thread may be doomed: it ends at a given access, as a killed process does.
#[cfg(loom)]
mod face {
    use super::{Bug, seeded};
    pub(crate) use checker::hint::spin_loop;
    #[cfg(not(shuttle))]
    use checker::sync::atomic::AtomicBool;
    pub(crate) use checker::sync::atomic::{Ordering, fence};
    use checker::sync::{Arc, Condvar, Mutex};
    #[cfg(not(shuttle))]
    pub(crate) use loom as checker;
    #[cfg(shuttle)]
    pub(crate) use shuttle as checker;
    use std::cell::Cell;
    use std::collections::HashMap;

    /// What awaits a thread: accesses until it stops for a while, and until it dies.
    #[derive(Clone, Copy)]
    struct Fate {
        dies_in: u32,
        stops_in: u32,
        dead: bool,
    }

    const LIVES_ON: Fate = Fate { dies_in: u32::MAX, stops_in: u32::MAX, dead: false };
    /// How often a stopped thread lets others go on.
    const STOPPED_FOR: usize = 60;

    checker::thread_local! {
        static FATE: Cell<Fate> = Cell::new(LIVES_ON);
    }

    struct Died;

    /// Lives `life` up to a death before access number `dies_in`, counted from 0, of those that change or wait: between two of them nothing
    /// is seen of a death. `None` when it died. Guards are dropped on the way out, but nothing that a dead thread does has any effect.
    #[allow(dead_code, reason = "for the models")]
    pub(crate) fn doomed<R>(dies_in: u32, stops_in: u32, life: impl FnOnce() -> R) -> Option<R> {
        FATE.with(|fate| fate.set(Fate { dies_in, stops_in, dead: false }));
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life));
        FATE.with(|fate| fate.set(LIVES_ON));
        match end {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    fn is_dead() -> bool {
        FATE.with(|fate| fate.get().dead)
    }

    /// Before an access that others can see: whether the thread lives to make it.
    fn lives() -> bool {
        let mut fate = FATE.with(Cell::get);
        if fate.dead {
            return false;
        }
        // A failed assertion unwinds through guards too: it is to be reported, not to die on the way.
        if (fate.dies_in == u32::MAX && fate.stops_in == u32::MAX) || std::thread::panicking() {
            return true;
        }
        if fate.stops_in == 0 {
            for _ in 0..STOPPED_FOR {
                checker::thread::yield_now();
            }
        }
        let dies = fate.dies_in == 0;
        fate.dead = dies;
        let count = |n: u32, end: u32| if n == u32::MAX { n } else { n.checked_sub(1).unwrap_or(end) };
        fate.stops_in = count(fate.stops_in, u32::MAX);
        fate.dies_in = count(fate.dies_in, 0);
        FATE.with(|cell| cell.set(fate));
        if dies {
            std::panic::resume_unwind(Box::new(Died));
        }
        true
    }

    /// An atomic whose loads are events among themselves. loom finds the orders to try from the last access of a word alone: a
    /// thread that loads a word and then swaps it hides the loads that others made before, and that those might come after the
    /// swap is never tried. That is what all of the protocol does. Writing `looked` makes each load follow from the one before.
    macro_rules! atomic {
        ($name:ident, $value:ty) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name {
                word: checker::sync::atomic::$name,
                #[cfg(not(shuttle))]
                looked: AtomicBool,
            }

            #[allow(dead_code, reason = "the same operations for both widths")]
            impl $name {
                pub(crate) fn new(value: $value) -> $name {
                    $name {
                        word: checker::sync::atomic::$name::new(value),
                        #[cfg(not(shuttle))]
                        looked: AtomicBool::default(),
                    }
                }
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    if is_dead() {
                        return 0;
                    }
                    #[cfg(not(shuttle))]
                    self.looked.store(true, Ordering::Relaxed);
                    self.word.load(order)
                }
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    if lives() {
                        self.word.store(value, order)
                    }
                }
                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    if lives() { self.word.swap(value, order) } else { 0 }
                }
                pub(crate) fn compare_exchange(
                    &self,
                    from: $value,
                    to: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    if lives() { self.word.compare_exchange(from, to, success, failure) } else { Ok(from) }
                }
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    if lives() { self.word.fetch_add(value, order) } else { 0 }
                }
                pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                    if lives() { self.word.fetch_and(value, order) } else { 0 }
                }
                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    if lives() { self.word.fetch_or(value, order) } else { 0 }
                }
            }
        };
    }

    atomic!(AtomicU32, u32);
    atomic!(AtomicU64, u64);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(dead_code, reason = "time does not pass in a model, so no wait times out")]
    pub(crate) enum Wait {
        Woken,
        Changed,
        TimedOut,
    }

    struct Sleeper {
        woken: Mutex<bool>,
        bell: Condvar,
    }

    checker::lazy_static! {
        static ref QUEUES: Mutex<HashMap<usize, Vec<Arc<Sleeper>>>> = Mutex::new(HashMap::new());
    }

    fn wait_at(address: usize, changed: impl Fn() -> bool) -> Wait {
        if !lives() {
            return Wait::Changed;
        }
        let sleeper = Arc::new(Sleeper { woken: Mutex::new(false), bell: Condvar::new() });
        {
            let mut queues = QUEUES.lock().unwrap();
            if changed() {
                return Wait::Changed;
            }
            queues.entry(address).or_default().push(sleeper.clone());
        }
        let mut woken = sleeper.woken.lock().unwrap();
        while !*woken {
            woken = sleeper.bell.wait(woken).unwrap();
        }
        Wait::Woken
    }

    fn wake_at(address: usize, count: usize) -> usize {
        if !lives() {
            return 0;
        }
        let mut queues = QUEUES.lock().unwrap();
        let Some(queue) = queues.get_mut(&address) else { return 0 };
        let n = queue.len().min(count);
        for sleeper in queue.drain(..n) {
            *sleeper.woken.lock().unwrap() = true;
            sleeper.bell.notify_one();
        }
        n
    }

    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _deadline_ns: Option<u64>) -> Wait {
        wait_at(std::ptr::from_ref(word) as usize, || word.load(Ordering::Relaxed) != expected)
    }

    pub(crate) fn futex_wake(word: &AtomicU32, count: i32) -> usize {
        wake_at(std::ptr::from_ref(word) as usize, count as usize)
    }

    /// A 64-bit word cannot be taken apart here, so a sleeper compares the low half of a whole load.
    pub(crate) fn futex_wait_low(word: &AtomicU64, seen: u64, _deadline_ns: Option<u64>) -> Wait {
        let mask = if seeded(Bug::NoGenerationInFutex) { 0xffff } else { u32::MAX };
        let changed = || (word.load(Ordering::Relaxed) as u32 ^ seen as u32) & mask != 0;
        wait_at(std::ptr::from_ref(word) as usize, changed)
    }

    pub(crate) fn futex_wake_low(word: &AtomicU64) -> usize {
        wake_at(std::ptr::from_ref(word) as usize, usize::MAX)
    }

    pub(crate) fn now_ns() -> u64 {
        0
    }
}

/// Asks for a cache line that will be written soon. Without it a load and the compare-and-swap that follows pay for two transfers: one to
/// share the line, one to own it.
#[inline]
pub(crate) fn prefetch_to_write<T>(it: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch is a hint: it changes no state that a program can see and never faults, and it leaves flags and stack alone. Processors
    // that run this kernel decode it; one that cannot do it does nothing. Written out, for `_mm_prefetch` gives the one for reading, unless
    // the build names a processor that has this one.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) std::ptr::from_ref(it), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = it;
}

/// `fence(SeqCst)` for a thread that has just made an atomic read-modify-write. On x86-64 that was a full barrier already, and only the compiler
/// must be kept from moving the loads that follow. `mfence` would cost as much as the rest of a submit's lock.
#[inline]
pub(crate) fn fence_after_swap() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    // It pairs with what the caller says.
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}

/// The low half of a 64-bit word as a futex word. Only for little-endian machines, where it lies at the word's own address.
#[cfg(not(loom))]
pub(crate) fn low_half(word: &AtomicU64) -> &AtomicU32 {
    const { assert!(cfg!(target_endian = "little")) };
    // SAFETY: the low half of a little-endian u64 is the u32 at the same address: valid for reads and writes as long as the
    // u64 is, aligned to 8 and so to 4, and only ever accessed atomically, as the futex system call does too.
    unsafe { &*std::ptr::from_ref(word).cast::<AtomicU32>() }
}

/// Waits until the low half of `word` may have changed from that of `seen`.
#[cfg(not(loom))]
pub(crate) fn futex_wait_low(word: &AtomicU64, mut seen: u64, deadline_ns: Option<u64>) -> Wait {
    if seeded(Bug::NoGenerationInFutex) && word.load(Ordering::Relaxed) as u16 == seen as u16 {
        seen = word.load(Ordering::Relaxed);
    }
    futex_wait(low_half(word), seen as u32, deadline_ns)
}

/// Wakes everybody who sleeps on the low half of `word`.
#[cfg(not(loom))]
pub(crate) fn futex_wake_low(word: &AtomicU64) -> usize {
    futex_wake(low_half(word), i32::MAX)
}
