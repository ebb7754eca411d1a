//! The zygote: a process with one thread that forks workers on request, for the start methods `fork` and `forkserver`.
//!
//! It talks with the supervisor over a socket pair, in messages of nine bytes: {what:1, pid:4, code:4}.
//!
//! ```text
//! supervisor -> zygote   S n        start worker number n
//! zygote -> supervisor   P pid n    it is running         E n errno  it could not be started
//! zygote -> supervisor   X pid n    it exited with code n  K pid n  signal n killed it
//!                        U pid      it ended, and the system does not say how
//!                        T n        it cannot fork: it has n threads
//! ```
//! When the supervisor's end is closed the zygote ends; its workers notice that the owner is gone by themselves.

use crate::error::{Cause, Error, PoolKind, Result};
use crate::pool::lock;
use crate::segment::Segment;
use crate::start::WorkerExe;
use crate::sys;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

const LEN: usize = 9;
/// After a system call that should not fail, and did.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A message from the zygote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Its pid, and its number.
    Started(u32, u32),
    /// The number, and why.
    NotStarted(u32, i32),
    /// It has so many threads, and starts none.
    Threads(usize),
    Ended(u32, Cause),
}

fn message(what: u8, pid: u32, code: i32) -> [u8; LEN] {
    let mut bytes = [what; LEN];
    bytes[1..5].copy_from_slice(&pid.to_le_bytes());
    bytes[5..].copy_from_slice(&code.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<News> {
    let bytes: &[u8; LEN] = bytes.try_into().ok()?;
    let pid = u32::from_le_bytes(bytes[1..5].try_into().ok()?);
    let code = i32::from_le_bytes(bytes[5..].try_into().ok()?);
    Some(match bytes[0] {
        b'P' => News::Started(pid, code as u32),
        b'E' => News::NotStarted(pid, code),
        b'T' => News::Threads(pid as usize),
        b'X' => News::Ended(pid, Cause::Exit(code)),
        b'K' => News::Ended(pid, Cause::Signal(code)),
        b'U' => News::Ended(pid, Cause::Unknown),
        _ => return None,
    })
}

/// The supervisor's end.
pub(crate) struct Zygote {
    socket: OwnedFd,
    /// Where forked children find the socket to close: as long as one has it open, the zygote sees no end of us.
    guard_slot: Option<usize>,
    /// Its pid and pidfd; taken when it has been ended.
    process: Mutex<Option<(u32, OwnedFd)>>,
}

impl Zygote {
    /// Forks this process, which must have one thread.
    pub(crate) fn fork(segment: &Arc<Segment>, env: &[(OsString, OsString)]) -> Result<Zygote> {
        let (ours, theirs) = sys::socketpair()?;
        // SAFETY: `check_can_start` has seen that this process has one thread, so the child is a whole copy of it: no lock is held
        // by a thread that is not there.
        let pid = unsafe { sys::fork() }?;
        if pid == 0 {
            drop(ours);
            for (name, value) in env {
                // SAFETY: this process has one thread, as above. The names and values are such as the function takes (`Resources::check`).
                unsafe { std::env::set_var(name, value) };
            }
            let ended = serve(theirs, segment);
            sys::exit_now(i32::from(ended.is_err()));
        }
        Zygote::of(ours, pid)
    }

    /// Runs this program (or `exe`) anew.
    pub(crate) fn spawn(segment: &Segment, exe: Option<&WorkerExe>, env: &[(OsString, OsString)]) -> Result<Zygote> {
        let (ours, theirs) = sys::socketpair()?;
        let pid = crate::start::spawn_zygote(segment.file(), theirs.as_fd(), exe, env)?;
        Zygote::of(ours, pid)
    }

    fn of(socket: OwnedFd, pid: u32) -> Result<Zygote> {
        // None: it has ended already, in a process that ignores SIGCHLD.
        let process = sys::pidfd_open(pid).inspect_err(|_| sys::end_child(pid))?.map(|pidfd| (pid, pidfd));
        Ok(Zygote { guard_slot: crate::fork::guard(socket.as_raw_fd()), socket, process: Mutex::new(process) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Ends the process and waits for it. Workers that it started live on.
    pub(crate) fn end(&self) {
        if let Some((pid, pidfd)) = lock(&self.process).take() {
            sys::end_watched(pid, pidfd.as_fd());
        }
    }

    pub(crate) fn request_start(&self, number: u32) -> Result<()> {
        Ok(sys::send(self.fd(), &message(b'S', number, 0))?)
    }

    /// The next message; call it when the socket is readable. An error when the zygote is gone.
    pub(crate) fn news(&self) -> Result<News> {
        let mut bytes = [0; LEN + 1];
        let len = sys::receive(self.fd(), &mut bytes)?;
        parse(&bytes[..len])
            .ok_or(Error::Broken { kind: PoolKind::Process, cause: "the process that forks workers ended".into() })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        crate::fork::release(self.guard_slot.take(), self.socket.as_raw_fd());
        self.end();
    }
}

/// The zygote's life: until the other end is closed.
pub(crate) fn serve(socket: OwnedFd, segment: &Arc<Segment>) -> Result<()> {
    // A library may have started one before `main`.
    let threads = sys::thread_count()?;
    sys::ignore_interrupt();
    sys::name_thread(c"taskring-zygote");
    let mut children: Vec<(u32, OwnedFd)> = Vec::new();
    let mut ready = Vec::new();
    loop {
        {
            let mut fds = vec![socket.as_fd()];
            fds.extend(children.iter().map(|(_, fd)| fd.as_fd()));
            if sys::poll(&fds, &mut ready, -1).is_err() {
                // Short of memory, most likely; nothing is lost by a later look.
                std::thread::sleep(PAUSE);
                continue;
            }
        }
        report_ended(&socket, &mut children, ready.get(1..).unwrap_or_default())?;
        if !ready.first().copied().unwrap_or(false) {
            continue;
        }
        let mut bytes = [0; LEN + 1];
        match sys::receive(socket.as_fd(), &mut bytes)? {
            0 => return Ok(()),
            _ if threads != 1 => sys::send(socket.as_fd(), &message(b'T', threads as u32, 0))?,
            _ if bytes[0] == b'S' => {
                let number = u32::from_le_bytes(bytes[1..5].try_into().expect("four bytes"));
                start_one(&socket, segment, &mut children, number)?;
            }
            _ => {}
        }
    }
}

/// `ready` says which of them may have ended.
fn report_ended(socket: &OwnedFd, children: &mut Vec<(u32, OwnedFd)>, ready: &[bool]) -> Result<()> {
    // From the last one, for the last takes the place of one that is taken out.
    for at in (0..children.len()).rev().filter(|&at| ready.get(at) == Some(&true)) {
        let (pid, fd) = &children[at];
        let news = match sys::end_of_child(*pid, fd.as_fd()) {
            Some(sys::Exit::Code(code)) => message(b'X', *pid, code),
            Some(sys::Exit::Signal(signal)) => message(b'K', *pid, signal),
            Some(sys::Exit::Unknown) => message(b'U', *pid, 0),
            None => {
                // The system cannot tell just now.
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        children.swap_remove(at);
        sys::send(socket.as_fd(), &news)?;
    }
    Ok(())
}

fn start_one(socket: &OwnedFd, segment: &Arc<Segment>, children: &mut Vec<(u32, OwnedFd)>, number: u32) -> Result<()> {
    // It begins when this is closed: one that cannot be watched is killed, and must not have a task by then.
    let (go, gate) = match sys::socketpair() {
        Ok(pair) => pair,
        Err(e) => return Ok(sys::send(socket.as_fd(), &message(b'E', number, e.errno))?),
    };
    // SAFETY: the zygote has one thread, as `serve` has seen, so the child is a whole copy of it.
    let pid = match unsafe { sys::fork() } {
        Ok(0) => {
            // The worker must not keep the zygote's end of the socket open, nor its watches on its siblings.
            sys::close_raw(socket.as_raw_fd());
            children.iter().for_each(|(_, fd)| sys::close_raw(fd.as_raw_fd()));
            drop(go);
            let _ = sys::receive(gate.as_fd(), &mut [0; LEN]);
            drop(gate);
            let ended = crate::start::serve_as_process(segment.clone(), number);
            sys::exit_now(i32::from(ended.is_err()));
        }
        Ok(pid) => pid,
        Err(e) => return Ok(sys::send(socket.as_fd(), &message(b'E', number, e.errno))?),
    };
    // Our own child, not reaped yet: its pid is its own.
    let news = match sys::pidfd_open(pid) {
        Ok(Some(fd)) => {
            children.push((pid, fd));
            message(b'P', pid, number as i32)
        }
        // It has ended already, in a process that ignores SIGCHLD.
        Ok(None) => {
            sys::send(socket.as_fd(), &message(b'P', pid, number as i32))?;
            message(b'U', pid, 0)
        }
        Err(e) => {
            // A child that cannot be watched is not kept.
            sys::end_child(pid);
            message(b'E', number, e.errno)
        }
    };
    Ok(sys::send(socket.as_fd(), &news)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        assert_eq!(parse(&message(b'P', 7, 3)), Some(News::Started(7, 3)));
        assert_eq!(parse(&message(b'E', 3, 12)), Some(News::NotStarted(3, 12)));
        assert_eq!(parse(&message(b'X', 7, 3)), Some(News::Ended(7, Cause::Exit(3))));
        assert_eq!(parse(&message(b'K', u32::MAX, 9)), Some(News::Ended(u32::MAX, Cause::Signal(9))));
        assert_eq!(parse(&message(b'U', 7, 0)), Some(News::Ended(7, Cause::Unknown)));
        assert_eq!(parse(&message(b'T', 3, 0)), Some(News::Threads(3)));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&message(b'?', 0, 0)), None);
    }
}
