//! A worker that the owner has started: a process or a thread, and how it is seen that it has ended.

use crate::error::{Cause, Result};
use crate::limits::CAUSE_GRACE_NS;
use crate::record::Kind;
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::now_ns;
use crate::sys;
use crate::worker;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks whether one has ended, at the end of its pool.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A started worker, until its end was seen.
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Its own among the workers that its owner has started, and its successor's.
    pub(crate) number: u32,
    /// Of a worker process, where the system gives one.
    pub(crate) pidfd: Option<OwnedFd>,
    /// It is the zygote's child, and the zygote says when and how it ended.
    pub(crate) of_zygote: bool,
    pub(crate) thread: Option<WorkerThread>,
    pub(crate) started_at: u64,
    /// It is to leave, for there are to be fewer.
    pub(crate) dismissed: bool,
    pub(crate) attached: Option<Participant>,
    pub(crate) ended: Option<Cause>,
    /// It is over, and since then nobody has told how.
    pub(crate) over_since: Option<u64>,
}

/// One that is a thread of this process.
pub(crate) struct WorkerThread {
    handle: JoinHandle<()>,
    /// Set before the bell rings: the handle says so only some moments later.
    ended: Arc<AtomicBool>,
    /// Its number, once it runs.
    id: Arc<AtomicU32>,
}

impl WorkerThread {
    /// Starts one, which rings the bell at its end.
    pub(crate) fn start(segment: Arc<Segment>, bell: BorrowedFd<'_>, number: u32, name: String) -> Result<WorkerThread> {
        let bell = bell.try_clone_to_owned().map_err(|e| sys::SysError::from_io("dup of the bell", &e))?;
        let (ended, id) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (end, thread_id) = (EndOfThread(bell, ended.clone()), id.clone());
        let body = move || {
            let _end = end;
            thread_id.store(sys::thread_id(), Relaxed);
            // A thread that could not attach counts as a failed start: the supervisor sees it end.
            let _ = worker::serve(segment, Kind::ThreadWorker, worker::Came::AsChild(number));
        };
        let thread = std::thread::Builder::new().name(name).spawn(body);
        let handle = thread.map_err(|e| sys::SysError::from_io("start of a worker thread", &e))?;
        Ok(WorkerThread { handle, ended, id })
    }

    /// A task has ended its thread under it: no destructor ran, no bell rang, and whoever joined it would find no result.
    fn has_vanished(&self) -> bool {
        // Acquire: pairs with the end of the thread. Looked at last: a thread that ends in good order says so first.
        let id = self.id.load(Relaxed);
        id != 0 && sys::thread_is_gone(id) && !self.ended.load(Acquire)
    }

    /// Its number in the system; 0 before it runs.
    pub(crate) fn id(&self) -> u32 {
        self.id.load(Relaxed)
    }

    pub(crate) fn join(self) {
        if !self.has_vanished() {
            let _ = self.handle.join();
        }
    }
}

/// Says that a worker thread ends, however it does.
struct EndOfThread(OwnedFd, Arc<AtomicBool>);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `look_for_end`.
        self.1.store(true, Release);
        sys::eventfd_signal(self.0.as_fd());
    }
}

impl Child {
    pub(crate) fn new(pid: u32, number: u32, pidfd: Option<OwnedFd>, thread: Option<WorkerThread>) -> Child {
        Child {
            pid,
            number,
            pidfd,
            of_zygote: false,
            thread,
            started_at: now_ns(),
            dismissed: false,
            attached: None,
            ended: None,
            over_since: None,
        }
    }

    /// A child of the zygote's.
    pub(crate) fn of_zygote(pid: u32, number: u32) -> Child {
        // Without a pidfd it cannot be killed when it is late, or the zygote gone.
        Child { of_zygote: true, ..Child::new(pid, number, sys::pidfd_open(pid).ok().flatten(), None) }
    }

    /// A process of our own that there is no pidfd of: a poll does not tell of its end.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.thread.is_none() && !self.of_zygote && self.pidfd.is_none() && self.ended.is_none()
    }

    /// Asks for the pidfd that is missing. It may have a task by now, so it is kept without one.
    pub(crate) fn watch(&mut self) {
        if self.is_unwatched() {
            self.pidfd = sys::pidfd_open(self.pid).ok().flatten();
        }
    }

    /// Kills a process that was not seen to end.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Sends the signal that ends it. A stopped process gets none but SIGKILL before it goes on.
    pub(crate) fn end_by(&self, signal: i32) -> bool {
        let sent = self.signal(signal);
        if signal != libc::SIGKILL {
            self.signal(libc::SIGCONT);
        }
        sent
    }

    /// Sends a signal to a process that was not seen to end; false when it has ended, or cannot be sent one.
    pub(crate) fn signal(&self, signal: i32) -> bool {
        match &self.pidfd {
            Some(pidfd) => sys::pidfd_kill(pidfd.as_fd(), signal).unwrap_or(false),
            None => self.is_unwatched() && sys::signal_unwatched(self.pid, signal),
        }
    }

    /// Waits for its end. A process that takes long is killed: it may hang, or be a program that serves no pool.
    pub(crate) fn join(mut self) {
        const PATIENCE_NS: u64 = 1_000_000_000;
        if let Some(thread) = self.thread.take() {
            return thread.join();
        }
        for is_killed in [false, true] {
            if is_killed {
                self.kill();
            }
            let until = now_ns() + PATIENCE_NS;
            while self.look_for_end(true).is_none() && now_ns() < until {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }

    /// Why it ended, once it has.
    pub(crate) fn look_for_end(&mut self, zygote_gone: bool) -> Option<Cause> {
        if let Some(thread) = &self.thread {
            // Acquire: pairs with the end of the thread.
            return (thread.ended.load(Acquire) || thread.has_vanished()).then_some(Cause::Unknown);
        }
        if self.of_zygote {
            let is_over = |fd: &OwnedFd| sys::pidfd_exited(fd.as_fd()).unwrap_or(false);
            if zygote_gone {
                // Nobody tells us the cause.
                return self.pidfd.as_ref().is_none_or(is_over).then_some(Cause::Unknown);
            }
            let now = now_ns();
            let since = self.pidfd.as_ref().is_some_and(is_over).then(|| *self.over_since.get_or_insert(now));
            // A stopped zygote is not waited for any longer than by others.
            return since.is_some_and(|since| now - since >= CAUSE_GRACE_NS).then_some(Cause::Unknown);
        }
        let end = match &self.pidfd {
            Some(pidfd) => sys::end_of_child(self.pid, pidfd.as_fd()),
            None => sys::end_of_unwatched(self.pid),
        };
        if end.is_none() {
            self.watch();
        }
        Some(match end? {
            sys::Exit::Code(code) => Cause::Exit(code),
            sys::Exit::Signal(signal) => Cause::Signal(signal),
            sys::Exit::Unknown => Cause::Unknown,
        })
    }
}
