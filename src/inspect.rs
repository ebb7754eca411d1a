//! A read-only look at a named pool from outside: it takes no seat and writes nothing.

use crate::error::{Cause, Result};
use crate::life::Bit;
use crate::mutex::ShmMutex;
use crate::named;
use crate::priority::Priority;
use crate::record::{Kind, Presence, RecordState};
use crate::segment::{Segment, validate};
use crate::state::Phase;
use crate::sync::Ordering::Relaxed;
use crate::sys;
use crate::turn::Turn;
use std::os::fd::AsFd;

/// What [`inspect`] saw. `Display` prints it as a report.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The pool's name.
    pub name: String,
    /// `open`, `closing`, `broken`, `corrupt`; with `paused` while no task is started, and `orphaned` when the owner is gone.
    pub life: String,
    /// Slots of each lane.
    pub capacity: usize,
    /// How many workers the owner wants; 0 where others start them.
    pub workers: usize,
    /// The lanes in use.
    pub lanes: Vec<LaneView>,
    /// The participants attached.
    pub participants: Vec<ParticipantView>,
    /// Processes that ended: pid and cause, of seats not taken again.
    pub last_deaths: Vec<(u32, Cause)>,
    /// Payload blocks in use.
    pub blocks: usize,
    /// The pool's other mutexes that are held: which, and by what process.
    pub held: Vec<(&'static str, u32)>,
}

/// A lane of a [`Snapshot`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LaneView {
    /// Its number.
    pub index: usize,
    /// That of its tasks.
    pub priority: Priority,
    /// The next positions to claim and to publish.
    pub head: u64,
    /// See `head`.
    pub tail: u64,
    /// The process that holds the mutex.
    pub mutex_owner: Option<u32>,
    /// Slots by state: pending, running, cancelled, done; the others are free or damaged.
    pub slots: [usize; 4],
    /// Slots whose state is one that nobody writes.
    pub damaged: usize,
}

/// A participant of a [`Snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantView {
    /// Its process.
    pub pid: u32,
    /// `owner`, `submitter`, `worker` or `thread`.
    pub role: &'static str,
    /// Of a worker that the owner has started: as [`task::worker_name`](crate::task::worker_name) gives it.
    pub name: Option<String>,
    /// Whether its seat is locked, as that of every living participant is.
    pub seated: bool,
    /// A worker that takes no tasks yet: it is to follow one that is about to leave (`Builder::max_tasks_per_worker`).
    pub waits: bool,
    /// Tasks that it has finished.
    pub finished: u64,
}

/// Looks at a named pool.
///
/// # Errors
/// As [`Executor::attach`](crate::Executor::attach), but a pool that is shut down can be looked at.
pub fn inspect(name: &str) -> Result<Snapshot> {
    named::check_name(name)?;
    let file = sys::open_read(&named::path(name)).map_err(|e| named::open_error(name, e))?;
    let geometry = validate(file.as_fd(), name)?;
    let segment = Segment::read_only(file, geometry)?;
    let pid_of = |who: crate::state::Participant| segment.records().get(who.index()).map_or(0, |r| r.pid.load(Relaxed));
    let mut view = Snapshot {
        name: name.to_owned(),
        life: life(&segment),
        capacity: geometry.capacity,
        workers: segment.life().wanted.load(Relaxed) as usize,
        blocks: segment.blocks_in_use(),
        ..Snapshot::default()
    };
    for (index, lane) in segment.lanes() {
        let (mut slots, mut damaged) = ([0; 4], 0);
        for slot in lane.slots {
            match slot.load().phase() {
                Some(Phase::Pending) => slots[0] += 1,
                Some(Phase::Running) => slots[1] += 1,
                Some(Phase::Cancelled) => slots[2] += 1,
                Some(Phase::Done) => slots[3] += 1,
                Some(Phase::Free) => {}
                None => damaged += 1,
            }
        }
        let mutex_owner = ShmMutex(&lane.head.mutex).owner().map(pid_of);
        let (head, tail) = (lane.head.head.load(Relaxed), lane.head.tail.load(Relaxed));
        view.lanes.push(LaneView { index, priority: Priority::of_lane(index), head, tail, mutex_owner, slots, damaged });
    }
    let header = segment.header();
    for (what, word) in [("participants", &header.registry_mutex), ("payload blocks", &header.blocks_mutex)] {
        view.held.extend(ShmMutex(word).owner().map(|who| (what, pid_of(who))));
    }
    for (index, record) in segment.records().iter().enumerate() {
        let state = RecordState::of(record);
        let pid = record.pid.load(Relaxed);
        if state.presence() != Presence::Active {
            view.last_deaths.extend(crate::registry::cause_of(record).map(|cause| (pid, cause)));
            continue;
        }
        let role = match state.kind() {
            Some(Kind::Owner) => "owner",
            Some(Kind::Submitter) => "submitter",
            Some(Kind::ThreadWorker) => "thread",
            Some(Kind::Worker) | None => "worker",
        };
        let seated = sys::is_locked(segment.file(), index as u64)?;
        let number = record.number.load(Relaxed).checked_sub(1).filter(|_| state.is_worker());
        let name = number.map(|number| segment.worker_name(number));
        let (waits, finished) = (Turn::of(record) == Turn::Waiting, record.finished.load(Relaxed));
        view.participants.push(ParticipantView { pid, role, name, seated, waits, finished });
    }
    Ok(view)
}

fn life(segment: &Segment) -> String {
    let mut words = Vec::new();
    for (bit, word) in [(Bit::Corrupt, "corrupt"), (Bit::Broken, "broken"), (Bit::Closing, "closing")] {
        if segment.has(bit) {
            words.push(word);
        }
    }
    if words.is_empty() {
        words.push("open");
    }
    if segment.is_paused() {
        words.push("paused");
    }
    if segment.has(Bit::Orphaned) {
        words.push("orphaned");
    }
    words.join(", ")
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "pool {:?}: {}, {} workers wanted, {} slots a lane, {} payload blocks in use",
            self.name, self.life, self.workers, self.capacity, self.blocks
        )?;
        for lane in &self.lanes {
            let [pending, running, cancelled, done] = lane.slots;
            let free = self.capacity - pending - running - cancelled - done - lane.damaged;
            let owner = lane.mutex_owner.map_or_else(|| "nobody".to_owned(), |pid| format!("process {pid}"));
            let of_level = match lane.priority {
                Priority::Normal => String::new(),
                level => format!(" of {} priority", level.name()),
            };
            write!(f, "lane {}{of_level}: head {} tail {}, mutex held by {owner}; ", lane.index, lane.head, lane.tail)?;
            let damaged = if lane.damaged == 0 { String::new() } else { format!(" damaged {}", lane.damaged) };
            writeln!(f, "pending {pending} running {running} cancelled {cancelled} done {done} free {free}{damaged}")?;
        }
        for (what, pid) in &self.held {
            writeln!(f, "the mutex of the {what} is held by process {pid}")?;
        }
        for p in &self.participants {
            let seat = if p.seated { "" } else { ", seat not locked: dead or about to be found so" };
            let name = p.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            let turn = if p.waits { ", waits for its turn" } else { "" };
            writeln!(f, "{} {}{name}: {} tasks finished{turn}{seat}", p.role, p.pid, p.finished)?;
        }
        for (pid, cause) in &self.last_deaths {
            writeln!(f, "gone: {pid}: {cause}")?;
        }
        Ok(())
    }
}
