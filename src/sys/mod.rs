//! System calls: the only folder that talks to the kernel through `libc`.
//!
//! Everything above is ordinary Rust over these primitives. What holds for all of them, so that it is not repeated:
//!
//! * **Interrupts.** A call that a signal interrupted (`EINTR`) is restarted here. The one exception is [`file::poll`],
//!   which then reports nothing ready, so that its caller can look at flags a handler may have set.
//! * **Time.** A deadline is an absolute `CLOCK_MONOTONIC` time in nanoseconds, as [`machine::now_ns`] returns it;
//!   `None` waits for ever. The wall clock plays no part.
//! * **Descriptors.** Every descriptor made here is close-on-exec. Parameters are `BorrowedFd`, so they are open for
//!   the length of the call; results are `OwnedFd`, so they are closed once.
//! * **Sharing.** Futex words may lie in memory shared with other processes, at another address in each of them.
//!   Record locks belong to the *open file description*: a duplicate made by `dup` or `fork` shares them, an `exec` or
//!   a death that closes the last duplicate frees them.
//! * **Errors.** [`SysError`] names the call and the error number. An outcome that callers branch on is a value instead
//!   (`Ok(false)`, `Ok(None)`): a lock that is held, a process that is gone. "I could not find out" is always an error,
//!   never "gone", because a live process that is taken for dead loses its work.
//! * **Waits and wakes** return no error. The kernel refuses them only for a bad address or argument; a sandbox may
//!   refuse them altogether. Then a wait is a short pause that ends in a spurious wake-up, and a wake does nothing:
//!   every sleep is bounded, so its sleeper looks by itself.
//! * **Between `fork` and `exec`** (or `_exit`) only functions marked *async-signal-safe* may be called.

use crate::seeded::{Bug, seeded};
use std::fmt;
use std::io;

pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod lock;
pub(crate) mod machine;
pub(crate) mod process;
#[cfg(feature = "raw-sync")]
pub(crate) mod pthread;

pub(crate) use file::*;
pub(crate) use futex::*;
pub(crate) use lock::*;
pub(crate) use machine::*;
pub(crate) use process::*;
#[cfg(feature = "raw-sync")]
pub(crate) use pthread::*;

/// A system call that failed: which, and with what error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SysError {
    /// Name of the call, as in its manual page.
    pub call: &'static str,
    /// `errno` after the call.
    pub errno: i32,
}

/// Result of a system call.
pub(crate) type Result<T> = std::result::Result<T, SysError>;

impl SysError {
    /// The error that `call` has just left in `errno`.
    pub(crate) fn last(call: &'static str) -> Self {
        Self { call, errno: last_errno() }
    }

    /// The error of a standard library operation that stands for `call`.
    pub(crate) fn from_io(call: &'static str, error: &io::Error) -> Self {
        Self { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.errno);
        write!(out, "{}: {text}", self.call)
    }
}

impl std::error::Error for SysError {}

/// `errno` of this thread. Async-signal-safe.
pub(crate) fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Runs `body`, which returns -1 and sets `errno` when it fails, until no signal interrupts it. Async-signal-safe if
/// `body` is.
pub(crate) fn retry_eintr(call: &'static str, mut body: impl FnMut() -> i64) -> Result<i64> {
    loop {
        let result = body();
        if result != -1 {
            return Ok(result);
        }
        let error = SysError::last(call);
        if error.errno != libc::EINTR || seeded(Bug::NoRestart) {
            return Err(error);
        }
    }
}

/// Shared pages and real child processes for the tests of this folder.
#[cfg(test)]
pub(crate) mod testing {
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::{futex, machine, process};

    /// No test waits longer than this for something that must happen.
    pub(crate) const PATIENCE_NS: u64 = 10_000_000_000;

    /// A deadline that only a failing test reaches.
    pub(crate) fn far() -> Option<u64> {
        Some(machine::now_ns() + PATIENCE_NS)
    }

    /// Words on one page that is shared with children forked later; never unmapped.
    pub(crate) fn shared_words() -> &'static [AtomicU32; 1024] {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice replaces nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the page is 4096 zero bytes, aligned, never unmapped, and only reached through atomics.
        unsafe { &*page.cast::<[AtomicU32; 1024]>() }
    }

    /// Waits until `word` is `value`; false after the deadline. Async-signal-safe.
    pub(crate) fn await_value(word: &AtomicU32, value: u32) -> bool {
        let deadline = far();
        loop {
            // SeqCst, here and below: pairs with `announce`; this is no hot path, and the strongest order needs no argument.
            let seen = word.load(SeqCst);
            if seen == value {
                return true;
            }
            if futex::futex_wait(word, seen, deadline) == futex::Wait::TimedOut {
                // SeqCst: as above.
                return word.load(SeqCst) == value;
            }
        }
    }

    /// Stores `value` and wakes all waiters. Async-signal-safe.
    pub(crate) fn announce(word: &AtomicU32, value: u32) {
        // SeqCst: pairs with `await_value`.
        word.store(value, SeqCst);
        futex::futex_wake(word, i32::MAX);
    }

    /// A forked child that is killed and reaped when the test drops it.
    pub(crate) struct Child {
        pub pid: u32,
        pub pidfd: OwnedFd,
    }

    impl Child {
        /// Forks a child that runs `body`, which must be async-signal-safe, and exits with its result.
        pub(crate) fn start(body: impl FnOnce() -> i32) -> Self {
            // SAFETY: the child runs `body`, async-signal-safe by this function's contract, and `_exit`.
            let pid = unsafe { process::fork() }.unwrap();
            if pid == 0 {
                process::exit_now(body());
            }
            let pidfd = process::pidfd_open(pid).unwrap().unwrap();
            Self { pid, pidfd }
        }

        /// Waits until the child has ended; it stays a zombie.
        pub(crate) fn await_end(&self) {
            let deadline = machine::now_ns() + PATIENCE_NS;
            while !process::pidfd_exited(self.pidfd.as_fd()).unwrap() {
                assert!(machine::now_ns() < deadline, "the child did not end");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            // A child that the test has reaped gives ESRCH and ECHILD here.
            let _ = process::pidfd_kill(self.pidfd.as_fd(), libc::SIGKILL);
            while let Ok(None) = process::reap(self.pidfd.as_fd()) {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_are_restarted_and_others_reported() {
        let set_errno = |errno| {
            // SAFETY: the address of this thread's errno is valid for writes.
            unsafe { *libc::__errno_location() = errno };
        };
        let mut left = 3;
        let result = retry_eintr("test", || {
            left -= 1;
            set_errno(libc::EINTR);
            if left == 0 { 7 } else { -1 }
        });
        assert_eq!(result, Ok(7));
        let result = retry_eintr("test", || {
            set_errno(libc::EBADF);
            -1
        });
        let error = result.unwrap_err();
        assert_eq!((error.call, error.errno), ("test", libc::EBADF));
        assert!(error.to_string().starts_with("test: "));
    }
}
