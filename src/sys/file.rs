//! Files and descriptors: memory files, named files, event counters and message sockets.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Result, SysError, retry_eintr};
use crate::seeded::{Bug, seeded};

/// What `fstat` tells about an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Owner.
    pub uid: u32,
    /// Permission bits only, without the file type.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Number of names; 0 after the last one is gone.
    pub nlink: u64,
    /// A plain file: no directory, device, pipe or socket.
    pub regular: bool,
    /// Number within its file system.
    pub inode: u64,
    pub device: u64,
}

/// The smallest piece that [`allocate`] falls back to when signals keep interrupting it.
const ALLOCATE_PIECE_MIN: u64 = 1 << 20;

/// Makes an empty memory file that can be sealed, readable and writable by its owner only.
pub(crate) fn memfd(name: &CStr) -> Result<OwnedFd> {
    // SAFETY: the name is a C string that outlives the call.
    let fd = retry_eintr("memfd_create", || unsafe {
        libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING).into()
    })?;
    let fd = own(fd);
    // The kernel gives 0777, and /proc lets others open it by that.
    // SAFETY: the descriptor is open.
    retry_eintr("fchmod", || unsafe { libc::fchmod(fd.as_raw_fd(), 0o600).into() })?;
    Ok(fd)
}

/// Sets the length of the file; new bytes read as zero and occupy no memory yet.
pub(crate) fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<()> {
    let size = offset_of("ftruncate", size)?;
    // SAFETY: the descriptor is open.
    retry_eintr("ftruncate", || unsafe { libc::ftruncate(fd.as_raw_fd(), size).into() })?;
    Ok(())
}

/// Commits memory or disk for a range of the file, so that a later touch of it cannot fail. Repeating it is harmless.
///
/// Fails with `ENOSPC` when the file system is full. A memory file has no such limit, and neither does the kernel
/// refuse more than the machine has: it hands out pages until the out-of-memory killer ends somebody. So ask
/// [`super::memory_available`] first.
pub(crate) fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    let mut done = 0;
    let mut piece = len;
    while done < len {
        let count = piece.min(len - done);
        let start = offset_of("fallocate", offset.saturating_add(done))?;
        let count_signed = offset_of("fallocate", count)?;
        // SAFETY: the descriptor is open; no memory is passed.
        let result = unsafe { libc::fallocate(fd.as_raw_fd(), 0, start, count_signed) };
        if result == 0 {
            done += count;
            continue;
        }
        let error = SysError::last("fallocate");
        if error.errno != libc::EINTR {
            return Err(error);
        }
        // An interrupted call undoes what it did. Under a fast timer a large one would never end; small ones do.
        piece = (piece / 2).max(ALLOCATE_PIECE_MIN);
    }
    Ok(())
}

const SIZE_SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Fixes the length of a memory file for good: nobody can shrink it under a mapping, or grow it.
pub(crate) fn seal_size(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: F_ADD_SEALS takes an int.
    retry_eintr("fcntl", || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SIZE_SEALS).into() })?;
    Ok(())
}

/// Whether [`seal_size`] was done to a file. False of one that cannot be sealed.
pub(crate) fn is_size_sealed(fd: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: F_GET_SEALS takes no argument.
    match retry_eintr("fcntl", || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS).into() }) {
        Ok(seals) => Ok(seals & i64::from(SIZE_SEALS) == i64::from(SIZE_SEALS)),
        Err(SysError { errno: libc::EINVAL, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the same file again for reading and writing: an open file description with locks of its own.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // The standard library sets close-on-exec and restarts after an interrupt.
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map(OwnedFd::from).map_err(|error| SysError::from_io("open", &error))
}

/// Opens a file that exists for reading and writing. A symbolic link is refused, and a pipe is not waited for.
/// Async-signal-safe.
pub(crate) fn open_existing(path: &CStr) -> Result<OwnedFd> {
    open(path, libc::O_RDWR)
}

/// Opens a file that exists for reading. A symbolic link is refused, and a pipe is not waited for. Async-signal-safe.
pub(crate) fn open_read(path: &CStr) -> Result<OwnedFd> {
    open(path, libc::O_RDONLY)
}

/// Owner, mode, size and link count of an open file.
pub(crate) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    // SAFETY: all fields are integers, for which zero is valid.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `raw` is a whole `stat` structure, writable for the call.
    retry_eintr("fstat", || unsafe { libc::fstat(fd.as_raw_fd(), &raw mut raw).into() })?;
    Ok(Stat {
        uid: raw.st_uid,
        mode: raw.st_mode & 0o7777,
        size: u64::try_from(raw.st_size).unwrap_or(0),
        // The width of the count differs between architectures.
        #[allow(clippy::unnecessary_cast)]
        nlink: raw.st_nlink as u64,
        regular: raw.st_mode & libc::S_IFMT == libc::S_IFREG,
        inode: raw.st_ino,
        device: raw.st_dev,
    })
}

/// Gives the file `from` a second name `to`; `EEXIST` if that name is taken.
pub(crate) fn link(from: &CStr, to: &CStr) -> Result<()> {
    // SAFETY: both paths are C strings that outlive the call.
    retry_eintr("link", || unsafe { libc::link(from.as_ptr(), to.as_ptr()).into() })?;
    Ok(())
}

/// Removes a name.
pub(crate) fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    retry_eintr("unlink", || unsafe { libc::unlink(path.as_ptr()).into() })?;
    Ok(())
}

/// Reads at a position; fewer bytes than asked for only at the end of the file.
pub(crate) fn read_at(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let rest = &mut buf[done..];
        let start = offset_of("pread", offset.saturating_add(done as u64))?;
        // SAFETY: `rest` is writable for `rest.len()` bytes.
        let count = retry_eintr("pread", || unsafe {
            libc::pread(fd.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), start) as i64
        })?;
        if count == 0 {
            break;
        }
        done += count as usize;
    }
    Ok(done)
}

/// Lets the next `exec` keep the descriptor: for use between `fork` and `exec`. Async-signal-safe.
pub(crate) fn inherit(fd: BorrowedFd<'_>) -> Result<()> {
    set_descriptor_flags(fd, 0)
}

/// Makes the next `exec` close the descriptor, for one that came in open. Async-signal-safe.
pub(crate) fn close_on_exec(fd: BorrowedFd<'_>) -> Result<()> {
    set_descriptor_flags(fd, libc::FD_CLOEXEC)
}

/// Closes a descriptor by number, for the child side of a fork, where its owner's value must not be dropped.
pub(crate) fn close_raw(fd: RawFd) {
    // SAFETY: closing takes no memory. The only caller does so in a forked child, whose copies of the handles never use the
    // descriptor again.
    unsafe { libc::close(fd) };
}

/// Makes an event counter: [`poll`] finds it ready from a signal to the next drain.
pub(crate) fn eventfd() -> Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = retry_eintr("eventfd", || unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK).into() })?;
    Ok(own(fd))
}

/// Makes an event counter ready. Async-signal-safe.
pub(crate) fn eventfd_signal(fd: BorrowedFd<'_>) {
    let one = 1_u64;
    // SAFETY: `one` is readable for its 8 bytes.
    // EAGAIN: the counter is at its maximum, so it is ready. Anything else only a sandbox gives: whoever polls looks once a second anyway.
    let _ = retry_eintr("write", || unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) as i64 });
}

/// Makes an event counter not ready. Async-signal-safe.
pub(crate) fn eventfd_drain(fd: BorrowedFd<'_>) {
    let mut count = 0_u64;
    // SAFETY: `count` is writable for its 8 bytes.
    // EAGAIN: it was not ready. Where a sandbox refuses it the counter stays ready, and its owner finds nothing to do.
    let _ = retry_eintr("read", || unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) as i64 });
}

/// A descriptor that is readable once somebody has opened the file.
pub(crate) fn watch_opens(path: &CStr) -> Result<OwnedFd> {
    // SAFETY: the call takes an integer.
    let fd = retry_eintr("inotify_init1", || unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK).into() })?;
    let fd = own(fd);
    // SAFETY: the path is a C string that outlives the call.
    retry_eintr("inotify_add_watch", || unsafe {
        libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_OPEN).into()
    })?;
    Ok(fd)
}

/// Reads what there is to read and throws it away; false when there was nothing.
pub(crate) fn drain(fd: BorrowedFd<'_>) -> bool {
    let mut buffer = [0_u8; 4096];
    let mut any = false;
    // SAFETY: `buffer` is writable for its length.
    let mut read = || unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) as i64 };
    while retry_eintr("read", &mut read).is_ok_and(|len| len > 0) {
        any = true;
    }
    any
}

/// Makes a connected pair of local sockets that keep message boundaries.
pub(crate) fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` is writable for two descriptors.
    retry_eintr("socketpair", || unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()).into() })?;
    Ok((own(pair[0].into()), own(pair[1].into())))
}

/// Sends one message, not empty; `EPIPE` if the other end is closed. Blocks while the socket is full.
/// Async-signal-safe.
pub(crate) fn send(fd: BorrowedFd<'_>, message: &[u8]) -> Result<()> {
    debug_assert!(!message.is_empty(), "an empty message reads as a closed socket");
    // SAFETY: `message` is readable for its length.
    retry_eintr("send", || unsafe {
        let start = message.as_ptr().cast();
        libc::send(fd.as_raw_fd(), start, message.len(), libc::MSG_NOSIGNAL) as i64
    })?;
    // A socket that keeps boundaries takes all of a message or none of it.
    Ok(())
}

/// Receives one message; 0 when the other end is closed, `EMSGSIZE` when the message does not fit (it is then lost).
/// Blocks while there is none. Async-signal-safe.
pub(crate) fn receive(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    // MSG_TRUNC makes the call return the length that the message had, even if it was cut.
    // SAFETY: `buf` is writable for its length, and the kernel writes no more.
    let result = retry_eintr("recv", || unsafe {
        libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), libc::MSG_TRUNC) as i64
    });
    match result {
        Ok(len) if len as usize > buf.len() => Err(SysError { call: "recv", errno: libc::EMSGSIZE }),
        Ok(len) => Ok(len as usize),
        // The other end was closed with messages of ours unread.
        Err(SysError { errno: libc::ECONNRESET, .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Waits until one of the descriptors is readable, at an end or in error. Fills `ready`, one flag per descriptor, and
/// returns how many are set. A negative time-out waits for ever; after an interrupt nothing is ready.
pub(crate) fn poll(fds: &[BorrowedFd<'_>], ready: &mut Vec<bool>, timeout_ms: i32) -> Result<usize> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: `polled` is writable for its length.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) };
    ready.clear();
    if result < 0 {
        ready.resize(fds.len(), false);
        let error = SysError::last("poll");
        return if error.errno == libc::EINTR { Ok(0) } else { Err(error) };
    }
    ready.extend(polled.iter().map(|entry| entry.revents != 0));
    Ok(result as usize)
}

/// Opens without creating, following a link or waiting for a pipe.
fn open(path: &CStr, access: libc::c_int) -> Result<OwnedFd> {
    let no_follow = if seeded(Bug::FollowLink) { 0 } else { libc::O_NOFOLLOW };
    let flags = access | libc::O_CLOEXEC | no_follow | libc::O_NONBLOCK;
    // SAFETY: the path is a C string that outlives the call; without O_CREAT there is no third argument.
    let fd = retry_eintr("open", || unsafe { libc::open(path.as_ptr(), flags).into() })?;
    Ok(own(fd))
}

/// Replaces the descriptor flags, of which close-on-exec is the only one.
fn set_descriptor_flags(fd: BorrowedFd<'_>, flags: libc::c_int) -> Result<()> {
    // SAFETY: F_SETFD takes an int.
    retry_eintr("fcntl", || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags).into() })?;
    Ok(())
}

/// A size or position as the kernel takes it.
fn offset_of(call: &'static str, value: u64) -> Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(|_| SysError { call, errno: libc::EOVERFLOW })
}

/// Takes ownership of a descriptor that a call has just returned.
fn own(fd: i64) -> OwnedFd {
    debug_assert!(fd >= 0);
    // SAFETY: every caller passes the result of a successful call that made it, so it is open and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    /// A new directory and paths in it.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sys-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> CString {
            CString::new(self.0.join(name).into_os_string().into_vec()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn errno<T>(result: Result<T>) -> i32 {
        result.err().map_or(0, |error| error.errno)
    }

    fn is_cloexec(fd: &OwnedFd) -> bool {
        // SAFETY: F_GETFD takes no argument.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
    }

    #[test]
    fn a_sealed_memory_file_keeps_its_size() {
        let file = memfd(c"sealed").unwrap();
        truncate(file.as_fd(), 1 << 20).unwrap();
        seal_size(file.as_fd()).unwrap();
        assert_eq!(errno(truncate(file.as_fd(), 0)), libc::EPERM);
        assert_eq!(errno(truncate(file.as_fd(), 2 << 20)), libc::EPERM);
        assert_eq!(errno(seal_size(file.as_fd())), libc::EPERM);
        allocate(file.as_fd(), 0, 1 << 20).unwrap();
        assert_eq!(errno(allocate(file.as_fd(), 1 << 20, 1)), libc::EPERM);
        let found = stat(file.as_fd()).unwrap();
        assert_eq!((found.size, found.mode), (1 << 20, 0o600));
        assert_eq!((found.uid, found.regular), (crate::sys::uid(), true));
        assert!(is_cloexec(&file));
    }

    #[test]
    fn an_impossible_allocation_is_an_error_value() {
        // Refused by the position alone. A large length would not be: the kernel hands out all the machine's memory
        // first.
        let file = memfd(c"full").unwrap();
        let end = i64::MAX as u64;
        assert_eq!(errno(allocate(file.as_fd(), end, 1)), libc::EFBIG);
        assert_eq!(errno(allocate(file.as_fd(), u64::MAX, 1)), libc::EOVERFLOW);
        truncate(file.as_fd(), 1 << 20).unwrap();
        allocate(file.as_fd(), 4096, 0).unwrap();
        allocate(file.as_fd(), 4096, 4096).unwrap();
        allocate(file.as_fd(), 0, 1 << 16).unwrap();
        assert_eq!(stat(file.as_fd()).unwrap().size, 1 << 20);
    }

    #[test]
    fn a_file_opened_again_is_the_same_file() {
        let file = memfd(c"again").unwrap();
        truncate(file.as_fd(), 8192).unwrap();
        let again = reopen(file.as_fd()).unwrap();
        assert_eq!(stat(again.as_fd()), stat(file.as_fd()));
        truncate(again.as_fd(), 100).unwrap();
        assert_eq!(stat(file.as_fd()).unwrap().size, 100);
        assert!(is_cloexec(&again));
        inherit(again.as_fd()).unwrap();
        assert!(!is_cloexec(&again));
        close_on_exec(again.as_fd()).unwrap();
        assert!(is_cloexec(&again));
    }

    #[test]
    fn names_are_linked_once_and_links_are_not_followed() {
        let folder = Folder::new("names");
        let (first, second) = (folder.path("first"), folder.path("second"));
        std::fs::write(folder.0.join("first"), b"0123456789").unwrap();
        let file = open_existing(&first).unwrap();
        link(&first, &second).unwrap();
        assert_eq!(errno(link(&first, &second)), libc::EEXIST);
        assert_eq!(stat(file.as_fd()).unwrap().nlink, 2);
        unlink(&first).unwrap();
        assert_eq!(errno(open_existing(&first)), libc::ENOENT);
        let reader = open_read(&second).unwrap();
        let mut buf = [0; 8];
        assert_eq!(read_at(reader.as_fd(), &mut buf, 6), Ok(4));
        assert_eq!(&buf[..4], b"6789");
        assert_eq!(errno(truncate(reader.as_fd(), 1)), libc::EINVAL);
        unlink(&second).unwrap();
        assert_eq!(stat(file.as_fd()).unwrap().nlink, 0);

        std::os::unix::fs::symlink("/dev/null", folder.0.join("link")).unwrap();
        assert_eq!(errno(open_existing(&folder.path("link"))), libc::ELOOP);
        assert!(!stat(open_read(c"/dev/null").unwrap().as_fd()).unwrap().regular);
    }

    #[test]
    fn an_event_counter_is_ready_from_signal_to_drain() {
        let (one, two) = (eventfd().unwrap(), eventfd().unwrap());
        let both = [one.as_fd(), two.as_fd()];
        let mut ready = vec![true; 9];
        assert_eq!(poll(&both, &mut ready, 0), Ok(0));
        assert_eq!(ready, [false, false]);
        eventfd_drain(two.as_fd());
        eventfd_signal(two.as_fd());
        eventfd_signal(two.as_fd());
        assert_eq!(poll(&both, &mut ready, -1), Ok(1));
        assert_eq!(ready, [false, true]);
        eventfd_drain(two.as_fd());
        assert_eq!(poll(&both, &mut ready, 1), Ok(0));
    }

    #[test]
    fn messages_keep_their_boundaries_and_a_closed_end_is_seen() {
        let (left, right) = socketpair().unwrap();
        send(left.as_fd(), b"one").unwrap();
        send(left.as_fd(), b"three").unwrap();
        send(left.as_fd(), b"x").unwrap();
        let mut buf = [0; 4];
        assert_eq!(receive(right.as_fd(), &mut buf), Ok(3));
        assert_eq!(errno(receive(right.as_fd(), &mut buf)), libc::EMSGSIZE);
        assert_eq!(receive(right.as_fd(), &mut buf), Ok(1));
        // Closed with a message unread, which the kernel reports as a reset connection.
        send(right.as_fd(), b"lost").unwrap();
        drop(left);
        let mut ready = Vec::new();
        assert_eq!(poll(&[right.as_fd()], &mut ready, -1), Ok(1));
        assert_eq!(receive(right.as_fd(), &mut buf), Ok(0));
        assert_eq!(receive(right.as_fd(), &mut buf), Ok(0));
        assert_eq!(errno(send(right.as_fd(), b"x")), libc::EPIPE);
    }
}
