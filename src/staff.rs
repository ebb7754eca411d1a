//! How many workers there are: starting them, seeing that they attach, starting others in the place of those that ended, and giving up.

use crate::child::{Child, WorkerThread};
use crate::error::{Cause, Error, PoolKind, Result};
use crate::layout::{Record, Slot};
use crate::life::{Bit, Broken};
use crate::limits::{PARTICIPANTS_MAX, START_FAILURES_MAX, SUCCESSORS_MAX};
use crate::pool::lock;
use crate::record::{Kind, RecordState};
use crate::seeded::{Bug, seeded};
use crate::start::{self, StartMethod};
use crate::state::{Participant, Phase};
use crate::supervisor::{Supervisor, Watch};
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::now_ns;
use crate::sys;
use crate::target::Target;
use crate::turn::Turn;
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// The place of a number among the workers.
#[derive(Default)]
pub(crate) struct Place {
    /// Two while one follows another.
    pub(crate) workers: usize,
    is_leaving: bool,
    /// Those that take no more tasks.
    pub(crate) gone: usize,
    /// Those that were started and are not ready yet, or wait for their turn.
    starting: usize,
}

/// A worker that is being started.
pub(crate) struct Requested {
    number: u32,
    /// It is to leave, for there are to be fewer: its end is no start that failed, also when there are to be more again by the time when it is heard of.
    pub(crate) dismissed: bool,
}

impl Place {
    /// Whether somebody is to take tasks here soon, and nobody does so now.
    pub(crate) fn is_coming(&self) -> bool {
        self.starting != 0 && self.starting + self.gone == self.workers
    }
}

impl Supervisor {
    pub(crate) fn note_attached(&self, watch: &mut Watch) {
        let now = now_ns();
        let mut late = None;
        for child in lock(&self.children).iter_mut().filter(|c| c.attached.is_none()) {
            let who = match &child.thread {
                Some(thread) => self.thread_participant(thread.id()),
                None => self.participant_of(child),
            };
            let ready = who.filter(|w| self.pool.segment().records()[w.index()].ready.load(Relaxed) == 1);
            if ready.is_some() {
                child.attached = ready;
                ready.inspect(|who| self.pool.segment().records()[who.index()].known.store(1, Relaxed));
                watch.failures = 0;
                watch.ever_attached = true;
            } else if now - child.started_at > crate::limits::nanos(self.pool.start_timeout) {
                late = Some(child.pid);
                child.kill();
            }
        }
        if late.is_some() && !self.is_stopping() {
            let exit = format!("still running after {:?}, and ended by us", self.pool.start_timeout);
            self.break_pool(Broken::NotAWorker, self.not_a_worker(exit));
        }
    }

    pub(crate) fn thread_participant(&self, id: u32) -> Option<Participant> {
        let is_it = |&(_, state, record): &(Participant, RecordState, &Record)| {
            state.kind() == Some(Kind::ThreadWorker)
                && record.pid.load(Relaxed) == sys::pid()
                && record.thread.load(Relaxed) == id
        };
        self.pool.member.participants().find(is_it).map(|(who, ..)| who)
    }

    pub(crate) fn not_a_worker(&self, exit: String) -> Error {
        let program = self.plan.exe.as_ref().map_or_else(start::own_program, |exe| exe.program.clone());
        Error::NotAWorker {
            program: program.display().to_string(),
            exit,
            hint: "its main must begin with `taskring::init()`, or attach with `taskring::work`".into(),
        }
    }

    pub(crate) fn ended_unattached(&self, watch: &mut Watch, cause: Cause) {
        if self.pool.member.participants().count() >= PARTICIPANTS_MAX {
            // Others have every seat: no fault of the program's. After a pause it is tried again.
            watch.failures = 1;
            return;
        }
        watch.failures += 1;
        if watch.failures >= START_FAILURES_MAX {
            let why = if watch.ever_attached { Broken::CannotStart } else { Broken::NotAWorker };
            self.break_pool(why, self.not_a_worker(cause.to_string()));
        }
    }

    pub(crate) fn start_failed(&self, watch: &mut Watch, error: Error) {
        watch.failures += 1;
        watch.last_start = now_ns();
        watch.last_failure = watch.last_start;
        watch.hiring.postpone();
        log::warn!(target: "taskring", "a worker could not be started: {error}");
        if watch.failures >= START_FAILURES_MAX {
            self.break_pool(Broken::CannotStart, error);
        }
    }

    /// Starts workers until there are as many as planned, and those that are to follow others; once the pool is closing, one that a task is left for if
    /// no worker is that can run it, and those that follow others as long as a task is left.
    pub(crate) fn refill(&self, watch: &mut Watch) -> Result<()> {
        const BACK_OFF_NS: u64 = 50_000_000;
        let now = now_ns();
        if watch.failures != 0 && now - watch.last_start < BACK_OFF_NS << watch.failures.min(6) {
            // Nobody tells when the time has come: neither those who wait for somebody on demand, who need not tell again, nor a worker that has yet to come.
            // But where others have every seat, there is nothing to hurry for.
            if self.plan.demand.is_some() || self.pool.member.participants().count() < PARTICIPANTS_MAX {
                watch.hiring.postpone();
            }
            return Ok(());
        }
        if self.plan.method == StartMethod::None || self.is_ending() || self.is_left() {
            return Ok(());
        }
        let staff = self.staff();
        let is_stopping = self.is_stopping();
        // At the end nobody counts the failures.
        let since = if staff.is_empty() { watch.last_start } else { watch.last_failure };
        if is_stopping && !(now - since > BACK_OFF_NS && self.has_work_left()) {
            return Ok(());
        }
        let least = self.least_workers() as u32;
        let mut missing: Vec<u32> = match is_stopping {
            false => (0..least).filter(|number| !staff.contains_key(number)).collect(),
            // Nothing is left yet of one that is paused until all is cancelled.
            true if self.pool.segment().is_paused() => Vec::new(),
            true => self.one_for_the_rest(&staff).into_iter().collect(),
        };
        let beyond = staff.values().map(|place| place.workers.saturating_sub(1)).sum();
        let room = SUCCESSORS_MAX.saturating_sub(beyond);
        missing.extend(self.needed(watch, &staff, &missing, room));
        let room = room.saturating_sub(missing.iter().filter(|number| staff.contains_key(number)).count());
        let end = self.end_of_numbers();
        let is_to_be_followed = |number: u32, place: &Place| {
            // One that has left its place on demand is followed when somebody is needed again.
            let keeps_place = number < least || place.gone == 0;
            let is_followed = place.workers == 1 && place.is_leaving && number < end && keeps_place;
            // At the end all leave, when they find nothing to begin.
            is_followed && (!is_stopping || self.has_pending_for(number))
        };
        let to_follow = staff.iter().filter(|&(&number, place)| is_to_be_followed(number, place));
        missing.extend(to_follow.map(|(&number, _)| number).take(room));
        for number in missing {
            if self.is_ending() {
                // Whoever ends the workers may wait for no other to be heard of.
                break;
            }
            watch.last_start = now;
            // It may be there, and gone again, before it is put down as a child.
            self.request(number);
            self.start_one(number).inspect_err(|_| _ = self.take_request(number))?;
        }
        Ok(())
    }

    /// Whether a task waits that the worker of this number may begin.
    fn has_pending_for(&self, number: u32) -> bool {
        let may_begin = |slot: &Slot| {
            let is_meant = Target::of(slot.wanted()).is_none_or(|target| target == Target::Number(number));
            is_meant && slot.load().is(Phase::Pending)
        };
        self.pool.segment().lanes().any(|(_, lane)| lane.slots.iter().any(may_begin))
    }

    /// Of a closing pool: the worker that a task is left for, or any when there is none.
    fn one_for_the_rest(&self, present: &BTreeMap<u32, Place>) -> Option<u32> {
        let segment = self.pool.segment();
        let missing = |slot: &Slot| match Target::of(slot.wanted()).filter(|_| slot.load().is(Phase::Pending)) {
            Some(Target::Number(number)) => Some(number).filter(|number| !present.contains_key(number)),
            Some(Target::Seat(..)) | None => None,
        };
        let planned = self.planned_workers() as u32;
        let wanted = segment.lanes().find_map(|(_, lane)| lane.slots.iter().find_map(missing)).filter(|&n| n < planned);
        wanted.or_else(|| present.is_empty().then_some(0))
    }

    /// From now on there are to be so many.
    pub(crate) fn resize(&self, workers: usize) {
        let steering = lock(&self.steering);
        let segment = self.pool.segment();
        let before = self.planned_workers();
        if workers > before {
            // First: who is started for the number below looks at this one.
            segment.life().wanted.store(workers as u32, Relaxed);
        }
        // Release: pairs with the Acquire in `planned_workers`.
        self.wanted.store(workers, Release);
        if seeded(Bug::NumberGone) && workers < before {
            segment.life().wanted.store(0, Relaxed);
            segment.set(Bit::Shrunk);
            segment.wake_everybody();
        }
        if workers < before {
            // Before they can see it, and end.
            let end = self.end_of_numbers();
            self.dismiss_requested(end);
            lock(&self.children).iter_mut().for_each(|child| child.dismissed |= child.number >= end);
        }
        segment.life().wanted.store(workers as u32, Relaxed);
        if workers < before {
            // The number is seen by whoever sees the bit.
            segment.set(Bit::Shrunk);
            segment.wake_everybody();
        }
        drop(steering);
        self.ring();
    }

    /// Once nobody is there beyond the number, workers need not look at theirs any more.
    pub(crate) fn note_size(&self, watch: &Watch) {
        let segment = self.pool.segment();
        if !segment.has(Bit::Shrunk) {
            return;
        }
        let _steering = lock(&self.steering);
        let wanted = self.planned_workers();
        // Whatever stands there: else workers could be started to leave at once, again and again.
        segment.life().wanted.store(wanted as u32, Relaxed);
        segment.life().replacements.store(watch.hiring.replacements(), Relaxed);
        let mut numbers = lock(&self.children).iter().map(|child| child.number).collect::<Vec<_>>();
        numbers.extend(lock(&self.requested).iter().map(|requested| requested.number));
        let wanted = wanted as u32 + watch.hiring.replacements();
        if numbers.iter().all(|&number| number < wanted) {
            segment.unset(Bit::Shrunk);
        }
    }

    /// Begins a pause. Under the lock, so that the bit and what justifies it belong together, and whoever closes the pool ends this pause, or it is refused.
    pub(crate) fn begin_pause(&self) -> Result<()> {
        let _steering = lock(&self.steering);
        self.pool.segment().check_open()?;
        self.has_paused.store(true, Relaxed);
        self.pool.segment().set(Bit::Paused);
        Ok(())
    }

    /// Ends a pause, if there is one, and wakes who rests in it.
    pub(crate) fn end_pause(&self) {
        let steering = lock(&self.steering);
        let is_paused = self.has_paused.swap(false, Relaxed);
        self.pool.segment().unset(Bit::Paused);
        drop(steering);
        if is_paused {
            self.pool.segment().wake_everybody();
            self.ring();
        }
    }

    /// A pause that nobody can end would hang everybody.
    pub(crate) fn check_pause(&self) {
        let _steering = lock(&self.steering);
        if self.pool.segment().has(Bit::Paused) && !self.has_paused.load(Relaxed) {
            self.pool.segment().poison("a pause that nobody has asked for");
        }
    }

    /// Who is there and who was asked for, by number.
    fn staff(&self) -> BTreeMap<u32, Place> {
        let mut staff: BTreeMap<u32, Place> = BTreeMap::new();
        for child in lock(&self.children).iter() {
            let place = staff.entry(child.number).or_default();
            place.workers += 1;
            // One that has left its seat, and whose process is still there, is as good as gone.
            let turn = child.attached.map(|who| self.turn_of(who).unwrap_or(Turn::Handed));
            let has_seat = child.attached.is_some_and(|who| self.turn_of(who).is_some());
            place.is_leaving |= has_seat && matches!(turn, Some(Turn::Near | Turn::Handed));
            place.gone += usize::from(turn == Some(Turn::Handed));
            place.starting += usize::from(matches!(turn, None | Some(Turn::Waiting)));
        }
        for requested in lock(&self.requested).iter() {
            let place = staff.entry(requested.number).or_default();
            place.workers += 1;
            place.starting += 1;
        }
        staff
    }

    /// Whether a worker that is still there takes tasks, or is about to leave.
    fn turn_of(&self, who: Participant) -> Option<Turn> {
        let record = &self.pool.segment().records()[who.index()];
        let turn = Turn::of(record);
        RecordState::of(record).is_active_as(who).then_some(turn)
    }

    fn has_work_left(&self) -> bool {
        let segment = self.pool.segment();
        !segment.has(Bit::Broken) && !segment.has(Bit::Corrupt) && segment.has_unfinished()
    }

    pub(crate) fn name_of(&self, number: u32) -> String {
        self.pool.segment().worker_name(number)
    }

    fn request(&self, number: u32) {
        let mut requested = lock(&self.requested);
        // Under the lock: who wants fewer says so first, and then looks at these.
        requested.push(Requested { number, dismissed: number >= self.end_of_numbers() });
    }

    /// Takes the worker of this number off those that are being started.
    pub(crate) fn take_request(&self, number: u32) -> Option<Requested> {
        let mut requested = lock(&self.requested);
        let place = requested.iter().position(|requested| requested.number == number)?;
        Some(requested.swap_remove(place))
    }

    /// Of those that are being started the ones from this number on are to leave; whether there are any.
    pub(crate) fn dismiss_requested(&self, end: u32) -> bool {
        let mut requested = lock(&self.requested);
        requested.iter_mut().for_each(|requested| requested.dismissed |= requested.number >= end);
        requested.iter().any(|requested| requested.number >= end)
    }

    fn start_one(&self, number: u32) -> Result<()> {
        let child = match self.plan.method {
            StartMethod::None => return Ok(()),
            StartMethod::Fork | StartMethod::ForkServer => {
                let zygote = self
                    .zygote
                    .as_ref()
                    .ok_or(Error::Broken { kind: PoolKind::Process, cause: "there is no process to fork from".into() })?;
                return zygote.request_start(number);
            }
            StartMethod::Spawn => {
                let pid = start::spawn(self.pool.segment().file(), self.plan.exe.as_ref(), &self.plan.env, number)?;
                log::debug!(target: "taskring", "{} started as process {pid}", self.name_of(number));
                let mut child = Child::new(pid, number, None, None);
                child.watch();
                child
            }
            StartMethod::Thread | StartMethod::Interpreter => {
                let segment = self.pool.member.segment.clone();
                let thread = WorkerThread::start(segment, self.bell.as_fd(), number, self.name_of(number))?;
                Child::new(sys::pid(), number, None, Some(thread))
            }
        };
        self.add(child);
        Ok(())
    }
}
