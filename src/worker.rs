//! The worker: attach, look for a task, run it, complete it; sleep when there is nothing; leave when the pool ends.

use crate::calls::{Calls, fence_after_task};
use crate::error::{PoolKind, Result};
use crate::idleness::{Idleness, say_farewell};
use crate::layout::{Record, Slot};
use crate::life::Bit;
use crate::limits::SLEEP_NS_MAX;
use crate::nested;
use crate::pace::WorkerPace;
use crate::perform::Performer;
use crate::record::{Kind, OF_TASKS, RecordState};
use crate::registry::Member;
use crate::search::{Rest, Rings, Search, Task};
use crate::segment::Segment;
use crate::setup::Setup;
use crate::spin;
use crate::state::{Phase, State};
use crate::sync::Ordering::{Relaxed, Release, SeqCst};
use crate::sync::{fence, now_ns};
use crate::target::Target;
use crate::task::{Runner, install_panic_hook, known};
use crate::turnover::Turnover;
use std::rc::Rc;
use std::sync::Arc;

/// A named pool's workers stay this long after its owner was killed and nothing is left to do.
const LINGER_NS: u64 = 5_000_000_000;

/// Slots ahead of the one in work whose line is asked for.
const PREFETCH: usize = 2;

/// A worker: one thread's life in a pool.
pub(crate) struct Worker {
    performer: Rc<Performer>,
    /// Its functions by name, as they stand in the pool.
    names: Vec<(u16, &'static str)>,
    search: Search,
    /// A result's bytes: one allocation for all tasks.
    out: Vec<u8>,
    pace: WorkerPace,
    calls: Calls,
    /// When it is to leave for another one, where that is so.
    turnover: Option<Turnover>,
    /// The same for one that is not needed.
    idleness: Option<Idleness>,
    is_idle_too_long: bool,
    orphaned_at: Option<u64>,
}

/// How a worker came to its pool.
pub(crate) enum Came {
    /// The owner started it, and will see how it ends: its number.
    AsChild(u32),
    /// By itself, by the pool's name.
    #[cfg(feature = "named")]
    ByName(String),
}

/// Serves a pool in this thread until it ends.
pub(crate) fn serve(segment: Arc<Segment>, kind: Kind, came: Came) -> Result<()> {
    install_panic_hook();
    let member = Member::join(segment, kind, 0)?;
    let number = match came {
        Came::AsChild(number) => Some(number),
        #[cfg(feature = "named")]
        Came::ByName(name) => {
            member.expect_no_cause();
            // Before we had a seat, the pool may have been replaced.
            crate::named::check_still_named(&member.segment, &name)?;
            None
        }
    };
    member.record().number.store(number.map_or(0, |number| number + 1), Relaxed);
    let setup = Setup::begin(&member.segment, number)?;
    let (runners, names) = functions(&member)?;
    setup.initialize(&member, |name| runner_of(name, &names, &runners))?;
    for (index, _) in runners.iter().enumerate().filter(|(_, r)| r.is_some()) {
        member.segment.add_server(member.who(), index as u16);
    }
    // Release: pairs with the Acquires of `workers_there` and `worker_pids`: our number is written, and whether we expect no cause.
    member.record().ready.store(1, Release);
    if member.segment.demand().is_some() {
        // Who is there decides who else is started, and who has just come is not yet known.
        member.ring_owner();
    }
    let named = member.segment.header().identity.named.load(Relaxed) != 0;
    let orphaned = if named { 0 } else { Bit::Orphaned as u32 };
    let stop_bits = Bit::Broken as u32 | Bit::Corrupt as u32 | orphaned;
    let turnover = Turnover::new(&member, number);
    if let Some(turnover) = &turnover {
        turnover.await_turn(&member, stop_bits);
    }
    member.segment.count_workers();
    let search = Search::new(member.who());
    let target = Target::worker(number, member.who()).wanted();
    let performer = Rc::new(Performer::new(member, runners, target));
    let mut worker = Worker {
        performer: performer.clone(),
        names,
        search,
        out: Vec::new(),
        calls: Calls::new(stop_bits, number),
        turnover,
        idleness: Idleness::new(&performer.member, number),
        is_idle_too_long: false,
        pace: WorkerPace::new(now_ns()),
        orphaned_at: None,
    };
    let serving = nested::serve(performer);
    // Pairs with the fence of who pauses the pool: either it sees that we take tasks, or we see the bit.
    fence(SeqCst);
    worker.run();
    if !worker.performer.is_out.get() {
        worker.performer.member.record().rests.store(1, Relaxed);
    }
    if let Some(turnover) = &worker.turnover {
        turnover.hand_over(&worker.performer.member);
    }
    if worker.is_idle_too_long && !worker.performer.is_out.get() {
        say_farewell(&worker.performer.member);
    }
    worker.pass_wake_on();
    if !worker.performer.is_out.get() && !worker.performer.member.segment.has(Bit::Corrupt) {
        setup.finish(&worker.performer.member, |name| runner_of(name, &worker.names, &worker.performer.runners));
    }
    drop(serving);
    worker.leave();
    Ok(())
}

/// What a worker can run, by the numbers that the functions have in the pool; and their names.
type Functions = (Vec<Option<Runner>>, Vec<(u16, &'static str)>);

fn functions(member: &Member) -> Result<Functions> {
    let (mut runners, mut names) = (Vec::new(), Vec::new());
    let is_interpreter = member.segment.pool_kind() == PoolKind::Interpreter;
    for (name, runner) in known() {
        let runner = if is_interpreter { runner.that_shares_nothing() } else { runner };
        let number = member.add_function(name)?;
        names.push((number, name));
        let index = number as usize;
        runners.resize((index + 1).max(runners.len()), None);
        runners[index] = Some(runner);
    }
    Ok((runners, names))
}

fn runner_of(name: &str, names: &[(u16, &'static str)], runners: &[Option<Runner>]) -> Option<Runner> {
    let (number, _) = names.iter().find(|(_, known)| *known == name)?;
    runners.get(*number as usize)?.clone()
}

impl Worker {
    fn run(&mut self) {
        // Counts of their own, so that they can be lent beside the rest of us.
        let performer = self.performer.clone();
        let segment = performer.member.segment.clone();
        let record = performer.member.record();
        loop {
            if self.is_called() && !self.attend() {
                return;
            }
            if let Some(turnover) = &mut self.turnover
                && turnover.is_over(&performer.member)
            {
                return;
            }
            let task = match self.next_knowing(&segment, record) {
                Some(task) => {
                    prefetch(&segment, task);
                    task
                }
                None if segment.has(Bit::Closing) => match self.last(&segment) {
                    Some(task) => task,
                    None => return self.look_for_own_slots(),
                },
                None => match self.idle(&segment) {
                    Some(task) => task,
                    None if self.is_idle_too_long => return,
                    None => continue,
                },
            };
            performer.perform(&segment, task, &mut self.out);
            fence_after_task();
            self.keep_house_if_due();
        }
    }

    /// A look at everything in a pool that is closing.
    #[cold]
    fn last(&mut self, segment: &Segment) -> Option<Task> {
        // Whoever saw the pool open under a lane's mutex has published once the mutex is free again; then nothing found
        // at any slot means that nothing is left. A stopped holder is not waited for longer than its lane's time-out.
        segment.after_closing();
        for (lane, _) in segment.lanes() {
            drop(self.performer.member.hold_lane(lane));
        }
        loop {
            self.search.look_everywhere();
            let task = self.next(segment);
            let is_called = self.performer.is_out.get() || self.calls.is_to_leave(segment);
            if task.is_some() || is_called || !self.performer.await_later(now_ns() + SLEEP_NS_MAX) {
                return task;
            }
            if self.pace.is_overdue(now_ns()) {
                self.keep_house();
            }
        }
    }

    /// Goes on with what it owes, and rests for as long as the pool is paused; false when this worker is to leave.
    #[cold]
    fn attend(&mut self) -> bool {
        if !self.go_on_after_put_back() {
            return false;
        }
        if !self.is_called() {
            return true;
        }
        let (performer, calls) = (self.performer.clone(), self.calls);
        let is_still_in = || {
            if self.pace.is_overdue(now_ns()) {
                self.keep_house();
            }
            // The time in which it may run nothing is none of its own.
            self.idleness.iter_mut().for_each(Idleness::begin_anew);
            !performer.is_out.get()
        };
        !performer.is_out.get() && calls.attend(&performer.member, is_still_in)
    }

    /// After a task was put back that may begin at once: as between any two tasks, but that nobody else knows of it. False when this worker is to leave.
    #[cold]
    fn go_on_after_put_back(&mut self) -> bool {
        let performer = self.performer.clone();
        let (segment, sleepers) = (&*performer.member.segment, performer.member.segment.sleepers());
        while let Some(back) = performer.take_owed() {
            let is_called = self.is_called();
            if is_called || self.turnover.as_mut().is_some_and(|turnover| turnover.is_over(&performer.member)) {
                segment.tell_of_put_back(sleepers);
                return is_called;
            }
            let mut runnable = |wanted: u32| performer.can_run(wanted);
            let Some(task) = self.search.look_after_put_back(segment, sleepers, &mut runnable, back) else { return true };
            performer.perform(segment, task, &mut self.out);
            fence_after_task();
            self.keep_house_if_due();
        }
        true
    }

    /// Whether to leave or to rest, or whether that is to be looked into.
    #[inline]
    fn is_called(&self) -> bool {
        self.performer.member.segment.life().flags.load(Relaxed) & self.calls.call_bits != 0
            || self.performer.is_held_up.get()
    }

    #[inline]
    fn next(&mut self, segment: &Segment) -> Option<Task> {
        let performer = self.performer.clone();
        self.next_knowing(segment, performer.member.record())
    }

    /// The same with our record, whose place need not be found for each task.
    #[inline]
    fn next_knowing(&mut self, segment: &Segment, record: &Record) -> Option<Task> {
        let performer = &*self.performer;
        if record.looks_later()
            && let Some(task) = performer.take_later()
        {
            return Some(task);
        }
        self.search.look(segment, &mut |wanted| performer.can_run(wanted))
    }

    /// Nothing to do: looks for a while, then sleeps. A task if one turned up.
    #[inline(never)]
    fn idle(&mut self, segment: &Segment) -> Option<Task> {
        let sleepers = segment.sleepers();
        let me = self.performer.member.who().index();
        self.pace.pause();
        let searching = sleepers.anybody_idle();
        if searching {
            sleepers.start_searching(me);
        }
        let calls = self.calls;
        let looking = || if calls.ends_idleness(segment) { Some(None) } else { self.next(segment).map(Some) };
        let found = spin::until(segment, 0, u64::MAX, looking).flatten();
        if searching {
            sleepers.stop_searching(me);
        }
        if found.is_some() {
            // Submitters may have counted on us while we searched: see whether there is more, and let another worker have it.
            if searching {
                self.share(segment);
            }
            return found;
        }
        // Because we searched, a submitter may have woken nobody for a task that we cannot run.
        if searching && let Some(task) = self.woken(segment) {
            return Some(task);
        }
        self.rest(segment)
    }

    /// Sleeps, unless there is work after all.
    fn rest(&mut self, segment: &Segment) -> Option<Task> {
        let sleepers = segment.sleepers();
        let (calls, performer) = (self.calls, self.performer.clone());
        let turnover = &self.turnover;
        // Who waits for our turn may have come, and its wake gone by, after the last look.
        let is_over = || turnover.as_ref().is_some_and(|turnover| turnover.is_to_look(&performer.member));
        // What others, and our last look, tell of tasks that are to begin later moves the time until which we sleep.
        let record = performer.member.record();
        let (later, later_at) = (record.later.load(Relaxed), performer.looks_at());
        let ended = || calls.ends_idleness(segment) || is_over() || record.later.load(Relaxed) != later;
        let mut runnable = |wanted: u32| performer.can_run(wanted);
        // Jittered, so that the workers of a pool do not all wake at the same moment.
        let now = now_ns();
        let mut deadline = now + SLEEP_NS_MAX + (self.performer.member.who().index() as u64 % 16) * 10_000_000;
        if let Some(idleness) = &mut self.idleness {
            deadline = deadline.min(idleness.leaves_at(&self.performer.member, now));
        }
        match self.search.rest(segment, sleepers, &mut runnable, ended, deadline.min(later_at)) {
            Rest::Task(task) => {
                // The wake for another task may have been given to us, for our mark was up.
                self.share(segment);
                Some(task)
            }
            Rest::Stopped => None,
            Rest::Slept { by_mark: true, .. } => {
                // Somebody who waits for a task that nobody can run wakes everybody more often than a sleep takes to end by itself.
                if self.pace.is_overdue(now_ns()) {
                    self.keep_house();
                }
                self.woken(segment)
            }
            Rest::Slept { by_mark: false, .. } if later_at < deadline && !self.pace.is_overdue(now_ns()) => None,
            Rest::Slept { by_mark: false, .. } => {
                self.keep_house();
                self.search.look_everywhere();
                let is_over = |idleness: &Idleness| idleness.is_over(&self.performer.member, now_ns());
                if self.idleness.as_ref().is_some_and(is_over) { self.look_a_last_time(segment) } else { None }
            }
        }
    }

    /// Before leaving because there is nothing to do, with the mark taken away by ourselves: a task if there is one after all.
    #[cold]
    fn look_a_last_time(&mut self, segment: &Segment) -> Option<Task> {
        // Pairs with the fence of a submitter that saw the mark, and came too late to take it: its task is seen below. See `idleness.rs`.
        fence(SeqCst);
        if self.calls.ends_idleness(segment) || self.performer.is_out.get() {
            return None;
        }
        // Without another look at the bits: nobody is to leave without this one.
        let task = self.taken(segment);
        self.is_idle_too_long = task.is_none();
        task
    }

    /// After a wake that was meant for any worker: take a task, and wake another if there are more, or if there is one that we cannot run.
    fn woken(&mut self, segment: &Segment) -> Option<Task> {
        if self.calls.is_to_attend(segment) { None } else { self.taken(segment) }
    }

    fn taken(&mut self, segment: &Segment) -> Option<Task> {
        let task = self.next(segment);
        if task.is_some() {
            self.share(segment);
        } else if self.search.passes_on() {
            segment.sleepers().wake_each();
        }
        task
    }

    /// Beside a task that we have taken: wakes another worker if there are more, and for one that we cannot run, once, all that sleep: any may be the one that can.
    fn share(&mut self, segment: &Segment) {
        if self.search.has_backlog(segment) {
            segment.sleepers().wake_one();
        } else if self.search.passes_on() {
            segment.sleepers().wake_each();
        }
    }

    #[inline]
    fn keep_house_if_due(&mut self) {
        if self.pace.count() && self.pace.is_due(now_ns()) {
            self.keep_house();
        }
    }

    /// What somebody has to do about once a second: notice that the owner is gone, and, when it is, act for the dead.
    fn keep_house(&mut self) {
        if !self.performer.member.seat.is_ours(self.performer.member.record()) {
            self.performer.leave_out();
            return;
        }
        self.pace.looked(now_ns());
        // A word that nobody can have written ends the pool; this worker sees it by the flag.
        let _ = self.performer.member.audit(std::iter::empty());
        self.look_for_own_slots();
        let is_process = self.performer.member.seat.kind == Kind::Worker;
        let wrong = |(number, name): &&(u16, &'static str)| is_process && !self.performer.member.is_server(*number, name);
        if let Some((number, name)) = self.names.iter().find(wrong) {
            self.performer.member.segment.poison(format!("function {number}, which is {name:?}"));
        }
        // A position that a stopped worker has reserved is passed by no head again.
        self.search.look_everywhere();
        if self.performer.member.seat.kind == Kind::ThreadWorker || self.performer.member.owner_is_alive() {
            self.orphaned_at = None;
            return;
        }
        self.performer.member.reap_all();
        let now = now_ns();
        self.performer.member.kill_condemned();
        self.performer.member.kill_overdue(now);
        let has_owner_left = self.performer.member.segment.set(Bit::Orphaned);
        let since = *self.orphaned_at.get_or_insert(now);
        if has_owner_left {
            self.orphaned_at = Some(now);
        }
        // Not those that workers are for their tasks: they go with the workers.
        let is_other =
            |(_, state, record): (_, RecordState, &Record)| !state.is_worker() && record.number.load(Relaxed) != OF_TASKS;
        let others = self.performer.member.participants().any(is_other);
        if now - since > LINGER_NS && !others && !self.performer.member.segment.has_work() {
            self.performer.member.segment.set(Bit::Closing);
        }
    }

    /// Between two tasks nothing is run by us. A slot that says so would be waited for for ever, and others cannot tell it from a long task.
    fn look_for_own_slots(&self) {
        let segment = &self.performer.member.segment;
        let is_ours = |state: State| state.is(Phase::Running) && state.owner() == self.performer.member.who();
        for (lane, ring) in segment.lanes() {
            if let Some(slot) = ring.slots.iter().position(|slot| is_ours(slot.load())) {
                segment.poison(format!("slot {slot} of lane {lane}, which this worker is said to run"));
            }
        }
    }

    fn leave(&mut self) {
        if self.performer.is_out.get() {
            // Whoever took it for dead has done all this, and the place may be another's by now.
            return;
        }
        let segment = &self.performer.member.segment;
        segment.remove_server(self.performer.member.who());
        self.performer.member.record().ready.store(0, Relaxed);
        self.pass_wake_on();
        segment.count_workers();
    }

    /// A wake that was meant for us goes on to somebody else: before our exit hook takes its time, and at the end.
    fn pass_wake_on(&self) {
        if !self.performer.is_out.get() {
            self.performer.member.segment.sleepers().pass_on(self.performer.member.who().index());
        }
    }
}

/// While tasks come without a pause, the lines of the next ones are on their way during this one.
#[inline]
fn prefetch(segment: &Segment, task: Task) {
    let slots = segment.lane(task.lane).slots;
    crate::sync::prefetch_to_write(&slots[(task.claim.slot + PREFETCH) & (slots.len() - 1)]);
}

impl Segment {
    /// Whether any task is pending or running.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.has_running_or(|_| true)
    }

    /// The same, but for tasks that are for a worker who is not there.
    fn has_work(&self) -> bool {
        let mut is_served = self.served_at_once();
        self.has_running_or(|slot| Target::of(slot.wanted()).is_none() || is_served(slot.wanted()))
    }

    fn has_running_or(&self, mut counts: impl FnMut(&Slot) -> bool) -> bool {
        self.lanes().any(|(_, lane)| {
            lane.slots.iter().any(|slot| {
                let state = slot.load();
                state.is(Phase::Pending) && counts(slot) || state.is(Phase::Running)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, Retry, StartMethod, SubmitOptions};
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn an_attempt_that_a_stale_look_takes_does_not_begin_before_its_time() {
        let panics = |()| {
            CALLS.fetch_add(1, Relaxed);
            panic!("as it is meant to");
        };
        let panics = crate::register::<(), (), _>("worker::panics", panics).unwrap();
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let segment = &pool.pool().member.segment;
        let performer = || {
            let member = Member::join(segment.clone(), Kind::ThreadWorker, 0).unwrap();
            let (runners, _) = functions(&member).unwrap();
            Performer::new(member, runners, 0)
        };
        let pause = Duration::from_secs(600);
        let options = SubmitOptions::new().retry(Retry::new(5).on_panics().backoff(pause, pause));
        let future = pool.submit_with(&options, panics, ()).unwrap();
        let ring = segment.lane(0);
        let (one, other) = (performer(), performer());
        // The other one looks, then this one has the task and puts it back, and then the other one goes on with what it saw.
        let mut seen_before = ring.round(ring.behind_tail(), &mut |_| true);
        let mut now = ring.round(ring.behind_tail(), &mut |_| true);
        let perform = |performer: &Performer, round| {
            let claim = ring.claim_in(round, performer.member.who()).expect("it is pending");
            performer.perform(segment, Task { lane: 0, claim }, &mut Vec::new());
        };
        perform(&one, &mut now);
        perform(&other, &mut seen_before);
        assert_eq!(CALLS.load(Relaxed), 1, "its time has not come");
        assert_eq!((future.state(), ring.slots[0].progress().attempt), (crate::State::Pending, 1));
        assert!(segment.waits_until(0, 0, now_ns()).is_some() && other.member.record().looks_later());
        assert!(future.cancel());
        [one, other].into_iter().for_each(|performer| segment.remove_server(performer.member.who()));
    }
}
