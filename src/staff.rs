//! How many workers there are: starting them, seeing that they attach, starting others in the place of those that ended, and giving up.

use crate::child::{Child, WorkerThread};
use crate::error::{Cause, Error, PoolKind, Result};
use crate::layout::Slot;
use crate::life::{Bit, Broken};
use crate::limits::{PARTICIPANTS_MAX, START_FAILURES_MAX};
use crate::pool::lock;
use crate::record::Kind;
use crate::setup;
use crate::start::{self, StartMethod};
use crate::state::{Participant, Phase};
use crate::supervisor::{Supervisor, Watch};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::sys;
use crate::target::Target;
use std::os::fd::AsFd;

impl Supervisor {
    pub(crate) fn note_attached(&self, watch: &mut Watch) {
        let now = now_ns();
        let mut late = None;
        for child in lock(&self.children).iter_mut().filter(|c| c.attached.is_none()) {
            let who = if child.thread.is_some() { self.thread_participant() } else { self.participant_of(child) };
            let ready = who.filter(|w| self.pool.segment().records()[w.index()].ready.load(Relaxed) == 1);
            if ready.is_some() {
                child.attached = ready;
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

    /// Any thread worker stands for any other: they are told apart only by their tasks.
    fn thread_participant(&self) -> Option<Participant> {
        let is_thread = |s: crate::record::RecordState| s.kind() == Some(Kind::ThreadWorker);
        self.pool.member.participants().find(|&(_, state, _)| is_thread(state)).map(|(who, ..)| who)
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
        log::warn!(target: "taskring", "a worker could not be started: {error}");
        if watch.failures >= START_FAILURES_MAX {
            self.break_pool(Broken::CannotStart, error);
        }
    }

    /// Starts workers until there are as many as planned; once the pool is closing, one if a task is left and no worker is that can run it.
    pub(crate) fn refill(&self, watch: &mut Watch) -> Result<()> {
        const BACK_OFF_NS: u64 = 50_000_000;
        let now = now_ns();
        if watch.failures != 0 && now - watch.last_start < BACK_OFF_NS << watch.failures.min(6) {
            return Ok(());
        }
        let mut numbers: Vec<u32> = lock(&self.children).iter().map(|child| child.number).collect();
        numbers.extend(&watch.requested);
        if self.plan.method == StartMethod::None || self.is_ending() {
            return Ok(());
        }
        if self.is_stopping() {
            let is_due = now - watch.last_start > BACK_OFF_NS && self.has_work_left();
            return if is_due { self.start_for_the_rest(watch, &numbers) } else { Ok(()) };
        }
        for _ in numbers.len()..self.plan.workers {
            watch.last_start = now;
            let number = (0..).find(|number| !numbers.contains(number)).unwrap_or_default();
            numbers.push(number);
            self.start_one(watch, number)?;
        }
        Ok(())
    }

    /// Of a closing pool: starts the worker that a task is left for, or any when there is none.
    fn start_for_the_rest(&self, watch: &mut Watch, present: &[u32]) -> Result<()> {
        let segment = self.pool.segment();
        let missing = |slot: &Slot| match Target::of(slot.wanted()).filter(|_| slot.load().is(Phase::Pending)) {
            Some(Target::Number(number)) => Some(number).filter(|number| !present.contains(number)),
            Some(Target::Seat(_)) | None => None,
        };
        let planned = self.plan.workers as u32;
        let wanted = segment.lanes().find_map(|(_, lane)| lane.slots.iter().find_map(missing)).filter(|&n| n < planned);
        let Some(number) = wanted.or_else(|| present.is_empty().then_some(0)) else { return Ok(()) };
        watch.last_start = now_ns();
        self.start_one(watch, number)
    }

    fn has_work_left(&self) -> bool {
        let segment = self.pool.segment();
        !segment.has(Bit::Broken) && !segment.has(Bit::Corrupt) && segment.has_unfinished()
    }

    pub(crate) fn name_of(&self, number: u32) -> String {
        setup::name_of(self.pool.segment(), number)
    }

    fn start_one(&self, watch: &mut Watch, number: u32) -> Result<()> {
        let child = match self.plan.method {
            StartMethod::None => return Ok(()),
            StartMethod::Fork | StartMethod::ForkServer => {
                let zygote = self
                    .zygote
                    .as_ref()
                    .ok_or(Error::Broken { kind: PoolKind::Process, cause: "there is no process to fork from".into() })?;
                zygote.request_start(number)?;
                watch.requested.push(number);
                return Ok(());
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
