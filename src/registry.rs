//! Who takes part, and who is alive.
//!
//! Participant `i` holds byte `i` of the segment's file as an open-file-description lock, through a description of its own.
//! The kernel gives the byte to one description at a time and takes it back when the last descriptor of it is closed, however the
//! process ends. So the byte says who may write record `i`, and a free byte raises the suspicion of a death. It is no proof: a task may
//! have closed every descriptor. Proof is that no process of that pid and start time runs any more, or no thread of that number in this process.
//!
//! Whoever acts for a dead participant holds the reaper byte `PARTICIPANTS_MAX + i` meanwhile. A reaper that dies gives it back the same
//! way, and the next one repeats: every step of `recovery.rs` can be repeated.

use crate::error::{Cause, Error, Result};
use crate::layout::Record;
use crate::limits::PARTICIPANTS_MAX;
use crate::mutex::{Peers, ShmMutex, Stalled};
use crate::record::{Kind, Presence, RecordState};
use crate::ring::Hold;
use crate::search::Rings;
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sys;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// A place at the table: the byte lock, for as long as this lives.
pub(crate) struct Seat {
    /// In a forked child this number has been closed already and may belong to somebody else: there it must not be dropped.
    lock: ManuallyDrop<OwnedFd>,
    fork: u32,
    pub(crate) who: Participant,
    pub(crate) kind: Kind,
    start: u64,
    /// The segment's file: its inode and device.
    file: (u64, u64),
    guard_slot: Option<usize>,
}

impl Seat {
    /// Takes a free seat and becomes a participant of `kind`, with what is known of its number before.
    pub(crate) fn take(segment: &Segment, kind: Kind, number: u32) -> Result<Seat> {
        let lock = sys::reopen(segment.file())?;
        let file = sys::stat(lock.as_fd())?;
        let file = (file.inode, file.device);
        let start =
            sys::start_time(sys::pid())?.ok_or(Error::System { call: "open /proc/self/stat", errno: libc::ENOENT })?;
        for (index, record) in segment.records().iter().enumerate() {
            let before = RecordState::of(record);
            // A record that is not FREE belongs to somebody, alive or not yet reaped. One that was left JOINING named nobody.
            if before.presence() == Presence::Active || !sys::try_lock(lock.as_fd(), index as u64)? {
                continue;
            }
            let now = RecordState::of(record);
            if now.presence() == Presence::Active {
                sys::unlock(lock.as_fd(), index as u64)?;
                continue;
            }
            let incarnation = now.incarnation() + 1;
            record.state.store(RecordState::new(kind, Presence::Joining, incarnation).0, Relaxed);
            record.pid.store(sys::pid(), Relaxed);
            record.start.store(start, Relaxed);
            record.cause.store(0, Relaxed);
            record.thread.store(if kind == Kind::ThreadWorker { sys::thread_id() } else { 0 }, Relaxed);
            record.number.store(number, Relaxed);
            record.turn.store(0, Relaxed);
            record.rests.store(0, Relaxed);
            record.lane.store(0, Relaxed);
            record.ready.store(0, Relaxed);
            record.finished.store(0, Relaxed);
            record.event_waiters.store(0, Relaxed);
            record.condemned.store(0, Relaxed);
            record.known.store(0, Relaxed);
            record.awaits.store(0, Relaxed);
            record.looked_at.store(0, Relaxed);
            record.hard_at.store(0, Relaxed);
            crate::circle::say(record, &[]);
            // Not `passed`: workers that follow each other in a seat count on.
            // Release: pairs with `RecordState::of`.
            record.state.store(RecordState::new(kind, Presence::Active, incarnation).0, Release);
            let who = Participant::new(index, incarnation);
            let guard_slot = crate::fork::guard(lock.as_raw_fd());
            let (lock, fork) = (ManuallyDrop::new(lock), crate::fork::side());
            return Ok(Seat { lock, fork, who, kind, start, file, guard_slot });
        }
        Err(Error::TooMany { what: "participants", max: PARTICIPANTS_MAX })
    }

    /// Gives the seat back. The caller has left nothing behind that names it.
    fn leave(&self, segment: &Segment) {
        let record = &segment.records()[self.who.index()];
        // Release: pairs with `RecordState::of` in the next `take`: everything we did lies before.
        record.state.store(RecordState::new(self.kind, Presence::Free, self.who.incarnation()).0, Release);
    }

    /// Whether the record is as `take` left it.
    pub(crate) fn is_ours(&self, record: &Record) -> bool {
        let state = RecordState::new(self.kind, Presence::Active, self.who.incarnation());
        RecordState::of(record) == state
            && record.pid.load(Relaxed) == sys::pid()
            && record.start.load(Relaxed) == self.start
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Whether the number is known to be somebody else's, or nobody's: a task may have closed all there are. What is asked of another file says nothing of
    /// the others' bytes. A failing look says nothing either, and a descriptor kept by mistake is a leak that nobody can mend.
    fn has_lost_descriptor(&self) -> bool {
        match sys::stat(self.fd()) {
            Ok(now) => (now.inode, now.device) != self.file,
            Err(error) => error.errno == libc::EBADF,
        }
    }

    /// Leaves the number alone, here and in forked children.
    fn forget_descriptor(&mut self) {
        crate::fork::release(self.guard_slot.take(), self.lock.as_raw_fd());
        self.fork = self.fork.wrapping_sub(1);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.fork == crate::fork::side() {
            crate::fork::release(self.guard_slot.take(), self.lock.as_raw_fd());
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.lock) };
        }
    }
}

/// One participant's attachment: the segment, its seat, and its knowledge of the others.
pub(crate) struct Member {
    pub(crate) segment: Arc<Segment>,
    pub(crate) seat: Seat,
    /// Threads of a process share the lock description, so among themselves they need this to be the only reaper. Each first gives back the reaper's bytes
    /// that could not be given back before.
    reaping: Mutex<Vec<u64>>,
}

impl Member {
    pub(crate) fn join(segment: Arc<Segment>, kind: Kind, number: u32) -> Result<Member> {
        let seat = Seat::take(&segment, kind, number)?;
        Ok(Member { segment, seat, reaping: Mutex::default() })
    }

    #[inline]
    pub(crate) fn who(&self) -> Participant {
        self.seat.who
    }

    /// Locks a lane for publishing. What a dead holder left is put right first.
    #[inline]
    pub(crate) fn hold_lane(&self, lane: usize) -> Result<Hold<'_>> {
        #[cfg(feature = "raw-sync")]
        if let Some(all) = self.segment.pthread_mutexes() {
            return self.hold_pthread(all, lane);
        }
        match self.segment.lane(lane).try_hold(self.who()) {
            Some(hold) => Ok(hold),
            None => self.wait_for_lane(lane),
        }
    }

    /// Locks a lane if nobody has it.
    #[inline]
    pub(crate) fn try_hold_lane(&self, lane: usize) -> Option<Hold<'_>> {
        #[cfg(feature = "raw-sync")]
        if let Some(all) = self.segment.pthread_mutexes() {
            return self.try_hold_pthread(all, lane);
        }
        self.segment.lane(lane).try_hold(self.who())
    }

    #[cold]
    fn wait_for_lane(&self, lane: usize) -> Result<Hold<'_>> {
        let hold = self.segment.lane(lane).hold(self.who(), self).map_err(|s| self.stalled(s))?;
        if hold.taken_over() {
            self.segment.sweep_unpublished(lane, &hold);
        }
        Ok(hold)
    }

    /// For the reaper of `dead`, which holds its reaper byte: the lane, if the dead participant held it.
    pub(crate) fn take_lane_from(&self, lane: usize, dead: Participant) -> Option<Hold<'_>> {
        let ring = self.segment.lane(lane);
        #[cfg(feature = "raw-sync")]
        if let Some(all) = self.segment.pthread_mutexes() {
            return self.take_pthread_from(all, lane, dead);
        }
        ShmMutex(&ring.head.mutex).take_from(dead, self.who()).map(|guard| ring.held(guard))
    }

    #[inline]
    pub(crate) fn record(&self) -> &Record {
        &self.segment.records()[self.seat.who.index()]
    }

    /// Whether this handle was made on the other side of a fork. Then nothing may be touched.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.seat.fork != crate::fork::side()
    }

    #[inline]
    pub(crate) fn check_fork(&self) -> Result<()> {
        if self.is_foreign() { Err(Error::Forked) } else { Ok(()) }
    }

    /// Whether `who` is proved dead: no process of its pid and start time runs. Errors count as alive.
    pub(crate) fn is_dead(&self, who: Participant) -> bool {
        let Some(record) = self.segment.records().get(who.index()) else { return false };
        if !RecordState::of(record).is_active_as(who) {
            // Reaped or left before, and a reaper clears every word that names its dead last of all.
            return true;
        }
        if who == self.who() {
            return false;
        }
        let pid = record.pid.load(Relaxed);
        if pid == sys::pid() {
            // A thread of ours. Its byte is no proof either: a task may have closed its descriptor.
            return RecordState::of(record).kind() == Some(Kind::ThreadWorker)
                && sys::thread_is_gone(record.thread.load(Relaxed));
        }
        if seeded(Bug::ByteIsProof) && sys::is_locked(self.seat.fd(), who.index() as u64).is_ok_and(|held| !held) {
            return true;
        }
        process_is_gone(pid, record.start.load(Relaxed)) || self.fence_by_kill(who)
    }

    /// A pidfd of a participant's process; `None` when that is not there any more.
    pub(crate) fn pidfd_of(&self, who: Participant) -> Option<OwnedFd> {
        self.try_pidfd_of(who).ok().flatten()
    }

    /// The same for who wants to know why there is none.
    pub(crate) fn try_pidfd_of(&self, who: Participant) -> Result<Option<OwnedFd>> {
        let record = &self.segment.records()[who.index()];
        let pid = record.pid.load(Relaxed);
        let Some(pidfd) = sys::pidfd_open(pid)? else { return Ok(None) };
        // Looked at with the pidfd open: from here on the pid cannot pass to somebody else unnoticed.
        let meant = sys::start_time(pid).ok().flatten() == Some(record.start.load(Relaxed)) || seeded(Bug::PidIsIdentity);
        Ok((meant && RecordState::of(record).is_active_as(who)).then_some(pidfd))
    }

    /// A living worker process whose byte is free has closed our descriptor (a task called `close_range`, or became another
    /// program by `exec`): it cannot be told from a dead one any more, so it is made one. A submitter is left alone.
    fn fence_by_kill(&self, who: Participant) -> bool {
        let record = &self.segment.records()[who.index()];
        let held = sys::is_locked(self.seat.fd(), who.index() as u64);
        if held.unwrap_or(true) || RecordState::of(record).kind() != Some(Kind::Worker) || self.seat.has_lost_descriptor() {
            return false;
        }
        let Some(pidfd) = self.pidfd_of(who) else { return false };
        // Why it ended is for its parent to say: one that is ending by itself frees its byte a little before it is gone, and then this was not why.
        let _ = sys::pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
        let mut ready = Vec::new();
        sys::poll(&[pidfd.as_fd()], &mut ready, 100).is_ok_and(|n| n > 0)
    }

    /// Why a participant ended, as its parent wrote it down.
    pub(crate) fn cause(&self, who: Participant) -> Option<Cause> {
        cause_of(&self.segment.records()[who.index()])
    }

    /// Whether somebody may still write down why `who` ended.
    pub(crate) fn awaits_cause(&self, who: Participant) -> bool {
        // Acquire: as in `cause_of`.
        self.segment.records()[who.index()].cause.load(Acquire) == 0
    }

    /// For a worker that came by itself: no parent of it will tell why it ended.
    pub(crate) fn expect_no_cause(&self) {
        self.record().cause.store(NO_PARENT << 32, Relaxed);
    }

    /// For the parent of a worker, before it reaps it.
    pub(crate) fn write_cause(&self, who: Participant, cause: Cause) {
        let (kind, code) = match cause {
            Cause::Exit(code) => (1_u64, code),
            Cause::Signal(signal) => (2, signal),
            Cause::Unknown => (3, 0),
        };
        let record = &self.segment.records()[who.index()];
        if !RecordState::of(record).is_active_as(who) {
            return;
        }
        // Release: pairs with `cause`.
        record.cause.store(kind << 32 | u64::from(code as u32), Release);
    }

    /// The attached participants.
    pub(crate) fn participants(&self) -> impl Iterator<Item = (Participant, RecordState, &Record)> + '_ {
        self.segment.records().iter().enumerate().filter_map(|(index, record)| {
            let state = RecordState::of(record);
            (state.presence() == Presence::Active).then(|| (Participant::new(index, state.incarnation()), state, record))
        })
    }

    /// Whether the pool's owner is attached and alive.
    pub(crate) fn owner_is_alive(&self) -> bool {
        self.participants().any(|(who, state, _)| state.kind() == Some(Kind::Owner) && !self.is_dead(who))
    }

    pub(crate) fn stalled(&self, stalled: Stalled) -> Error {
        Error::Stalled { pid: self.segment.records().get(stalled.0.index()).map_or(0, |r| r.pid.load(Relaxed)) }
    }

    /// Marks a record free, at the end of its reaping.
    pub(crate) fn bury(&self, dead: Participant) {
        let record = &self.segment.records()[dead.index()];
        let state = RecordState::of(record);
        if state.is_active_as(dead) {
            let kind = state.kind().unwrap_or(Kind::Worker);
            // Release: pairs with `RecordState::of` in `take`.
            record.state.store(RecordState::new(kind, Presence::Free, dead.incarnation()).0, Release);
            if state.is_worker() {
                // Whoever reaps it: the count stands as long as nobody comes or leaves.
                self.segment.count_workers();
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Before the byte is free: a record left behind without one looks like a death. After a panic of a
        // worker's own code that is what it shall look like, for a task may be half done.
        let half_done = matches!(self.seat.kind, Kind::Worker | Kind::ThreadWorker) && std::thread::panicking();
        if !self.is_foreign() && self.seat.has_lost_descriptor() {
            self.seat.forget_descriptor();
        }
        // Who was taken for dead finds another's record, or a free one.
        if !self.is_foreign() && !half_done && self.seat.is_ours(self.record()) {
            self.seat.leave(&self.segment);
        }
    }
}

impl Peers for Member {
    fn if_dead<R>(&self, who: Participant, act: impl FnOnce() -> R) -> Option<R> {
        if who.index() >= PARTICIPANTS_MAX || !self.is_dead(who) {
            return None;
        }
        let mut kept = self.reaping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.retain(|&byte| sys::unlock(self.seat.fd(), byte).is_err());
        let byte = (PARTICIPANTS_MAX + who.index()) as u64;
        if self.seat.has_lost_descriptor() {
            // Everybody could have the byte of another file.
            return None;
        }
        if !sys::try_lock(self.seat.fd(), byte).unwrap_or(false) && !seeded(Bug::TwoReapers) {
            return None;
        }
        // Again, now that nobody else can act for it: the index may have been reaped and taken anew meanwhile.
        let result = self.is_dead(who).then(act);
        if sys::unlock(self.seat.fd(), byte).is_err() {
            kept.push(byte);
        }
        result
    }
}

/// In place of a cause: there is nobody to write one.
const NO_PARENT: u64 = 4;

/// The cause of death in a record.
pub(crate) fn cause_of(record: &Record) -> Option<Cause> {
    // Acquire: pairs with `write_cause`.
    let bits = record.cause.load(Acquire);
    let code = bits as u32 as i32;
    match bits >> 32 {
        1 => Some(Cause::Exit(code)),
        2 => Some(Cause::Signal(code)),
        3 => Some(Cause::Unknown),
        _ => None,
    }
}

/// Whether no process of this pid and start time runs. A zombie does not run.
pub(crate) fn process_is_gone(pid: u32, start: u64) -> bool {
    match sys::start_time(pid) {
        Ok(Some(found)) if found != start && !seeded(Bug::PidIsIdentity) => true,
        // No such entry is no proof: `/proc` may not be mounted here, or hide others' processes.
        Ok(_) => match sys::pidfd_open(pid) {
            Ok(None) => true,
            // The pid may have passed on between the two looks, but then the process meant is gone just the same.
            Ok(Some(pidfd)) => sys::pidfd_exited(pidfd.as_fd()).unwrap_or(false),
            Err(_) => sys::is_unused_number(pid),
        },
        Err(_) => sys::is_unused_number(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, StartMethod};
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_whose_byte_is_free_is_dead_only_when_it_is_gone() {
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let member = &pool.pool().member;
        let segment = member.segment.clone();
        let ((say, hear), (end, ended)) = (channel(), channel::<()>());
        let worker = std::thread::spawn(move || {
            let worker = Member::join(segment, Kind::ThreadWorker, 0).unwrap();
            // As a task that closes the descriptor does.
            sys::unlock(worker.seat.fd(), worker.who().index() as u64).unwrap();
            say.send(worker.who()).unwrap();
            let _ = ended.recv();
            // It leaves nothing in order.
            std::mem::forget(worker);
        });
        let who = hear.recv().unwrap();
        assert!(sys::is_locked(member.seat.fd(), who.index() as u64).is_ok_and(|held| !held));
        assert!(!member.is_dead(who) && !member.reap_now(who));
        drop(end);
        worker.join().unwrap();
        // The system may know the number for some moments yet.
        while !member.is_dead(who) {
            std::thread::yield_now();
        }
        assert!(member.reap_now(who));
    }

    #[test]
    fn who_kills_a_process_whose_byte_is_free_does_not_say_why_it_ended() {
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let member = &pool.pool().member;
        let mut process = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let worker = Member::join(member.segment.clone(), Kind::Worker, 0).unwrap();
        let who = worker.who();
        // As if the process were the worker, and had let go of its descriptor or were just ending: that looks the same.
        worker.record().pid.store(process.id(), Relaxed);
        worker.record().start.store(sys::start_time(process.id()).unwrap().unwrap(), Relaxed);
        sys::unlock(worker.seat.fd(), who.index() as u64).unwrap();
        std::mem::forget(worker);
        // The end of the killed may take a while.
        while !member.is_dead(who) {
            std::thread::yield_now();
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&process.wait().unwrap()), Some(libc::SIGKILL));
        assert!(member.awaits_cause(who), "a death by another signal would be told as one by this");
        member.write_cause(who, Cause::Signal(libc::SIGTERM));
        assert!(member.reap_now(who));
    }
}
