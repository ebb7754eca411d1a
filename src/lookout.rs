//! The supervisor's lookout: participants that came by the pool's name. They are no children of the owner, so nobody tells it of their ends; it holds
//! a pidfd of each instead, and learns of new ones by the opening of the pool's file.

use crate::layout::Record;
use crate::pool::Pool;
use crate::record::{Kind, RecordState};
use crate::state::Participant;
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::sys;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Between the opening of the file and a seat taken there is an attach, which takes microseconds, and longer under load.
const LOOK_NS: u64 = 1_000_000_000;
/// Between two looks meanwhile.
pub(crate) const LOOK_AGAIN_MS: i32 = 10;

#[derive(Default)]
pub(crate) struct Lookout {
    /// Says that somebody has opened the pool's file.
    opened: Option<OwnedFd>,
    known: Vec<(Participant, OwnedFd)>,
    look_until: u64,
}

impl Lookout {
    /// For a named pool. Where the kernel gives no watch, its participants are seen by the supervisor's own pace.
    pub(crate) fn new(pool: &Pool) -> Lookout {
        let opened = pool.name.as_ref().and_then(|path| sys::watch_opens(path).ok());
        Lookout { look_until: if opened.is_some() { now_ns() + LOOK_NS } else { 0 }, opened, known: Vec::new() }
    }

    /// What to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.opened.iter().chain(self.known.iter().map(|(_, fd)| fd)).map(AsFd::as_fd)
    }

    /// Whether somebody may just be attaching.
    pub(crate) fn expects(&self) -> bool {
        now_ns() < self.look_until
    }

    /// Recovers what those have left who ended, and looks for who is new. `is_child` tells who is looked after already.
    pub(crate) fn look(&mut self, pool: &Pool, is_child: impl Fn(u32) -> bool) {
        let Some(opened) = &self.opened else { return };
        if sys::drain(opened.as_fd()) {
            self.look_until = now_ns() + LOOK_NS;
        }
        self.known.retain(|(who, fd)| {
            let ended = sys::pidfd_exited(fd.as_fd()).unwrap_or(false);
            if ended && !is_to_be_told(pool, *who) {
                pool.member.reap(*who);
            }
            // Whoever has left by itself is no participant any more, and may live on. A child of the zygote may attach before the zygote tells of it.
            let goes_on =
                |(other, _, record): (Participant, _, &Record)| other == *who && !is_child(record.pid.load(Relaxed));
            !ended && pool.member.participants().any(goes_on)
        });
        let new: Vec<_> = pool
            .member
            .participants()
            .filter(|(who, _, record)| {
                let pid = record.pid.load(Relaxed);
                pid != sys::pid() && !is_child(pid) && !self.known.iter().any(|(known, _)| known == who)
            })
            .map(|(who, ..)| who)
            .collect();
        for who in new {
            match pool.member.pidfd_of(who) {
                Some(fd) => self.known.push((who, fd)),
                None if is_to_be_told(pool, who) => {}
                // Gone already, or this kernel has no pidfds.
                None => drop(pool.member.reap(who)),
            }
        }
    }
}

/// Whether it is a worker whose end the zygote will tell of, or the supervisor itself will see: the waiting for that must not be done in this thread.
fn is_to_be_told(pool: &Pool, who: Participant) -> bool {
    let state = RecordState::of(&pool.segment().records()[who.index()]);
    state.kind() == Some(Kind::Worker) && pool.member.awaits_cause(who)
}
