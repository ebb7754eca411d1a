//! Futexes: sleep until a shared word changes, and wake who sleeps on it.
//!
//! The words may be in memory of several processes, so no call uses the private flag. A waiter passes the value it has
//! seen: the kernel compares and goes to sleep in one step, so a change that precedes the sleep is never missed. Who
//! changes a word wakes after the change. All three functions are async-signal-safe.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{last_errno, machine};

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Somebody woke this thread, or nobody did: look at the word again.
    Woken,
    /// The word did not hold the expected value, so there was no sleep.
    Changed,
    /// The deadline has passed.
    TimedOut,
}

/// `futex_waitv`: the number is the same on every 64-bit architecture.
const FUTEX_WAITV: libc::c_long = 449;

/// What one `futex_waitv` call accepts.
const WORDS_MAX: usize = 128;

/// The longest sleep that leaves some of the words unwatched.
const PARTIAL_NS_MAX: u64 = 10_000_000;

/// A pause in place of a wait that the kernel refuses.
const REFUSED_NS: libc::c_long = 200_000;

/// Element of the `futex_waitv` array: `struct futex_waitv` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Watched {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// The word is 32 bits wide and may be shared (`FUTEX2_SIZE_U32`, not `FUTEX2_PRIVATE`).
const WATCHED_FLAGS: u32 = 2;

/// Sleeps while `word` holds `expected`, until woken or until the deadline.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, deadline_ns: Option<u64>) -> Wait {
    let deadline = deadline_ns.map(timespec);
    loop {
        // SAFETY: the word is a live, aligned u32; the deadline is null or outlives the call; FUTEX_WAIT_BITSET
        // ignores the fifth argument and writes to none.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET,
                expected,
                pointer(deadline.as_ref()),
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if let Some(end) = wait_end(result) {
            return end;
        }
    }
}

/// Sleeps while every word holds its expected value, until one is woken or until the deadline.
///
/// With more than 128 words, or on a kernel without `futex_waitv`, only part of them is watched; then the wait reports
/// [`Wait::Woken`] after at most 10 ms, so that the caller looks at all of them.
pub(crate) fn futex_wait_any(words: &[(&AtomicU32, u32)], deadline_ns: Option<u64>) -> Wait {
    debug_assert!(!words.is_empty(), "a wait on no words");
    if let [(word, expected)] = words {
        return futex_wait(word, *expected, deadline_ns);
    }
    if words.len() > WORDS_MAX {
        return wait_some(words, deadline_ns, |some, cap| wait_vector(some, Some(cap)));
    }
    match wait_vector(words, deadline_ns) {
        Some(end) => end,
        None => wait_some(words, deadline_ns, |_, _| None),
    }
}

/// Wakes at most `count` waiters of `word`; returns how many.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) -> usize {
    // SAFETY: FUTEX_WAKE uses the address of the word as a name and neither reads nor writes it.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    // Where a sandbox refuses it, whoever sleeps is woken by its own time-out.
    usize::try_from(result).unwrap_or(0)
}

/// Waits on as many of the words as possible, but not longer than [`PARTIAL_NS_MAX`]. `vector` is tried first.
#[cold]
fn wait_some(
    words: &[(&AtomicU32, u32)],
    deadline_ns: Option<u64>,
    vector: impl FnOnce(&[(&AtomicU32, u32)], u64) -> Option<Wait>,
) -> Wait {
    // Relaxed: only a hint that a sleep is pointless; the caller reads the words itself, with its own ordering.
    if words.iter().any(|(word, seen)| word.load(Relaxed) != *seen) {
        return Wait::Changed;
    }
    let Some((word, expected)) = words.first() else {
        return Wait::Woken;
    };
    let cap = machine::now_ns().saturating_add(PARTIAL_NS_MAX);
    let capped = deadline_ns.is_none_or(|deadline| cap < deadline);
    let deadline = deadline_ns.map_or(cap, |deadline| deadline.min(cap));
    let some = &words[..words.len().min(WORDS_MAX)];
    let end = vector(some, deadline).unwrap_or_else(|| futex_wait(word, *expected, Some(deadline)));
    match end {
        Wait::TimedOut if capped => Wait::Woken,
        end => end,
    }
}

/// `futex_waitv` on 1 to 128 words; `None` where the kernel or a sandbox does not offer it.
fn wait_vector(words: &[(&AtomicU32, u32)], deadline_ns: Option<u64>) -> Option<Wait> {
    let mut watched = [Watched { value: 0, address: 0, flags: 0, reserved: 0 }; WORDS_MAX];
    for (entry, (word, expected)) in watched.iter_mut().zip(words) {
        entry.value = u64::from(*expected);
        entry.address = word.as_ptr() as u64;
        entry.flags = WATCHED_FLAGS;
    }
    let deadline = deadline_ns.map(timespec);
    loop {
        // SAFETY: the array holds `words.len()` filled entries, whose words are live and aligned; the deadline is null
        // or outlives the call. The kernel writes to neither.
        let result = unsafe {
            libc::syscall(FUTEX_WAITV, watched.as_ptr(), words.len(), 0, pointer(deadline.as_ref()), libc::CLOCK_MONOTONIC)
        };
        if result < 0 && matches!(last_errno(), libc::ENOSYS | libc::EPERM) {
            return None;
        }
        if let Some(end) = wait_end(result) {
            return Some(end);
        }
    }
}

/// What a wait call's result means; `None` after an interrupt, which asks for another call.
fn wait_end(result: libc::c_long) -> Option<Wait> {
    if result >= 0 {
        return Some(Wait::Woken);
    }
    match last_errno() {
        libc::EINTR => None,
        libc::EAGAIN => Some(Wait::Changed),
        libc::ETIMEDOUT => Some(Wait::TimedOut),
        _ => {
            // A sandbox refuses it: the caller looks again, not at once.
            let pause = libc::timespec { tv_sec: 0, tv_nsec: REFUSED_NS };
            // SAFETY: the time is readable for the call, and the rest is not asked for. If this is refused as well, nothing is lost but time.
            unsafe { libc::nanosleep(&raw const pause, ptr::null_mut()) };
            Some(Wait::Woken)
        }
    }
}

/// The kernel's form of an absolute time.
fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        // Below 2^35 and below 10^9: both fit.
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

/// The address of the time, or null.
fn pointer(time: Option<&libc::timespec>) -> *const libc::timespec {
    time.map_or(ptr::null(), ptr::from_ref)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;
    use crate::sys::process::{Exit, reap};
    use crate::sys::testing::{Child, announce, await_value, far, shared_words};
    use std::os::fd::AsFd;

    #[test]
    fn a_changed_word_is_not_slept_on() {
        let word = AtomicU32::new(1);
        assert_eq!(futex_wait(&word, 0, None), Wait::Changed);
        let other = AtomicU32::new(0);
        assert_eq!(futex_wait_any(&[(&other, 0), (&word, 0)], None), Wait::Changed);
    }

    #[test]
    fn a_deadline_ends_a_wait_and_not_early() {
        let word = AtomicU32::new(0);
        let other = AtomicU32::new(0);
        for words in [&[(&word, 0)][..], &[(&word, 0), (&other, 0)]] {
            let deadline = machine::now_ns() + 20_000_000;
            while futex_wait_any(words, Some(deadline)) != Wait::TimedOut {}
            assert!(machine::now_ns() >= deadline);
        }
        assert_eq!(futex_wait(&word, 0, Some(0)), Wait::TimedOut);
        // The farthest deadline is a valid one.
        let woken = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| futex_wait(&word, 0, Some(u64::MAX)));
            while !waiter.is_finished() {
                futex_wake(&word, 1);
                std::thread::sleep(Duration::from_millis(1));
            }
            waiter.join().unwrap()
        });
        assert_eq!(woken, Wait::Woken);
    }

    #[test]
    fn a_child_process_is_woken_and_wakes() {
        let [ask, answer, ..] = shared_words();
        let child = Child::start(|| {
            if !await_value(ask, 1) {
                return 1;
            }
            announce(answer, 2);
            0
        });
        announce(ask, 1);
        assert!(await_value(answer, 2));
        child.await_end();
        assert_eq!(reap(child.pidfd.as_fd()), Ok(Some(Exit::Code(0))));
    }

    #[test]
    fn any_word_of_many_wakes_from_another_process() {
        for (count, which) in [(2, 1), (128, 127), (300, 5), (300, 299)] {
            let words = &shared_words()[..count];
            let child = Child::start(|| {
                std::thread::sleep(Duration::from_millis(20));
                announce(&words[which], 9);
                0
            });
            let watched: Vec<_> = words.iter().map(|word| (word, 0)).collect();
            let deadline = far();
            while words[which].load(SeqCst) == 0 {
                assert_ne!(futex_wait_any(&watched, deadline), Wait::TimedOut);
            }
            drop(child);
        }
    }

    #[test]
    fn without_the_vector_call_a_wait_is_short_and_keeps_its_deadline() {
        let words = [AtomicU32::new(0), AtomicU32::new(0)];
        let watched = [(&words[0], 0), (&words[1], 0)];
        assert_eq!(wait_some(&watched, None, |_, _| None), Wait::Woken);
        assert_eq!(wait_some(&watched, Some(0), |_, _| None), Wait::TimedOut);
        words[1].store(1, SeqCst);
        assert_eq!(wait_some(&watched, None, |_, _| None), Wait::Changed);
    }

    #[test]
    fn a_wake_tells_how_many_it_woke() {
        let word = AtomicU32::new(0);
        assert_eq!(futex_wake(&word, 1), 0);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| futex_wait(&word, 0, far()));
            while futex_wake(&word, 1) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), Wait::Woken);
        });
    }
}
