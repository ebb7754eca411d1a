//! Record locks: a sign of life, one byte of a file each.
//!
//! A lock belongs to the open file description it was taken through, and the kernel frees it when the last descriptor
//! of that description is closed: by a normal end, by `exec`, and by any kind of death, a zombie included. So a byte
//! that is free is evidence that its holder is gone, not proof: a task may have closed the descriptor. A duplicate in
//! a forked child keeps the byte, so a child closes what it does not own.
//!
//! All locks are exclusive, and nothing here blocks.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, SysError, retry_eintr};
use crate::seeded::{Bug, seeded};

/// Takes a byte; false when another open file description holds it. True also when this one holds it already.
/// Async-signal-safe.
pub(crate) fn try_lock(fd: BorrowedFd<'_>, byte: u64) -> Result<bool> {
    try_lock_range(fd, byte, 1)
}

/// Takes a range of bytes, all or none; false when another open file description holds any of them.
/// Async-signal-safe.
pub(crate) fn try_lock_range(fd: BorrowedFd<'_>, start: u64, len: u64) -> Result<bool> {
    let mut lock = record(libc::F_WRLCK, start, len)?;
    match control(fd, set_operation(), &mut lock) {
        Ok(()) => Ok(true),
        Err(SysError { errno: libc::EAGAIN | libc::EACCES, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a byte back; nothing happens if this open file description does not hold it. Async-signal-safe.
pub(crate) fn unlock(fd: BorrowedFd<'_>, byte: u64) -> Result<()> {
    let mut lock = record(libc::F_UNLCK, byte, 1)?;
    control(fd, set_operation(), &mut lock)
}

/// Tells whether *another* open file description holds a byte. Async-signal-safe.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, byte: u64) -> Result<bool> {
    let mut lock = record(libc::F_WRLCK, byte, 1)?;
    control(fd, if seeded(Bug::PosixLock) { libc::F_GETLK } else { libc::F_OFD_GETLK }, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn set_operation() -> libc::c_int {
    if seeded(Bug::PosixLock) { libc::F_SETLK } else { libc::F_OFD_SETLK }
}

/// Describes a lock of the given kind. A length of 0 would mean "to the end of everything" and is refused.
fn record(kind: libc::c_int, start: u64, len: u64) -> Result<libc::flock> {
    let invalid = |_| SysError { call: "fcntl", errno: libc::EINVAL };
    let start = libc::off_t::try_from(start).map_err(invalid)?;
    let len = libc::off_t::try_from(len).map_err(invalid)?;
    if len == 0 {
        return Err(SysError { call: "fcntl", errno: libc::EINVAL });
    }
    // SAFETY: all fields are integers, for which zero is valid; the kernel demands that l_pid is 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = len;
    Ok(lock)
}

/// One lock operation of `fcntl`.
fn control(fd: BorrowedFd<'_>, operation: libc::c_int, lock: &mut libc::flock) -> Result<()> {
    // SAFETY: the three lock operations take a `flock`, and it is readable and writable for the call.
    retry_eintr("fcntl", || unsafe { libc::fcntl(fd.as_raw_fd(), operation, &raw mut *lock).into() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;
    use crate::sys::file::{memfd, open_existing, reopen};
    use crate::sys::process::pidfd_kill;
    use crate::sys::testing::{Child, announce, await_value, shared_words};

    fn two_descriptions() -> (OwnedFd, OwnedFd) {
        let one = memfd(c"locks").unwrap();
        let two = reopen(one.as_fd()).unwrap();
        (one, two)
    }

    #[test]
    fn a_byte_has_one_holder_within_one_process_too() {
        let (one, two) = two_descriptions();
        let (one, two) = (one.as_fd(), two.as_fd());
        assert_eq!(try_lock(one, 5), Ok(true));
        assert_eq!(try_lock(one, 5), Ok(true), "one's own byte again");
        assert_eq!(try_lock(two, 5), Ok(false));
        assert_eq!(try_lock(two, 6), Ok(true), "a neighbour is another lock");
        assert_eq!(is_locked(two, 5), Ok(true));
        assert_eq!(is_locked(one, 5), Ok(false), "not by another");
        unlock(two, 5).unwrap();
        assert_eq!(is_locked(two, 5), Ok(true), "only its holder gives it back");
        unlock(one, 5).unwrap();
        assert_eq!(try_lock(two, 5), Ok(true));
    }

    #[test]
    fn a_range_is_taken_whole_or_not_at_all() {
        let (one, two) = two_descriptions();
        let (one, two) = (one.as_fd(), two.as_fd());
        assert_eq!(try_lock(one, 99), Ok(true));
        assert_eq!(try_lock_range(two, 0, 100), Ok(false));
        assert_eq!(is_locked(one, 0), Ok(false));
        assert_eq!(try_lock_range(two, 0, 99), Ok(true));
        assert_eq!(try_lock(one, 98), Ok(false));
        for (start, len) in [(0, 0), (u64::MAX, 1), (0, u64::MAX), (i64::MAX as u64, 2)] {
            assert!(try_lock_range(one, start, len).is_err());
        }
        let highest = i64::MAX as u64;
        assert_eq!(try_lock(one, highest), Ok(true));
    }

    #[test]
    fn closing_the_description_frees_its_bytes() {
        let (one, two) = two_descriptions();
        assert_eq!(try_lock(one.as_fd(), 0), Ok(true));
        let copy = one.try_clone().unwrap();
        drop(one);
        assert_eq!(try_lock(two.as_fd(), 0), Ok(false), "the copy keeps it");
        drop(copy);
        // A child that another test forked meanwhile has a copy until it ends.
        while try_lock(two.as_fd(), 0) == Ok(false) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_killed_child_frees_its_byte_before_it_is_reaped() {
        let path = std::env::temp_dir().join(format!("sys-lock-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let file = open_existing(&name).unwrap();
        let [word, forever, ..] = shared_words();
        let child = Child::start(|| {
            // A description of the child's own: one that came with the fork would belong to the parent too.
            let Ok(own) = open_existing(&name) else {
                return 1;
            };
            if try_lock(own.as_fd(), 3) != Ok(true) {
                return 2;
            }
            announce(word, 1);
            await_value(forever, 1);
            0
        });
        assert!(await_value(word, 1));
        assert_eq!(is_locked(file.as_fd(), 3), Ok(true));
        assert_eq!(try_lock(file.as_fd(), 3), Ok(false));
        assert_eq!(pidfd_kill(child.pidfd.as_fd(), libc::SIGKILL), Ok(true));
        child.await_end();
        assert_eq!(is_locked(file.as_fd(), 3), Ok(false));
        assert_eq!(try_lock(file.as_fd(), 3), Ok(true));
        std::fs::remove_file(path).unwrap();
    }
}
