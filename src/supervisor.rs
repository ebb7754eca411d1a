//! The supervisor: a thread of the owner that starts the workers, learns at once when one ends, writes down why, has its task settled, and
//! starts another in its place. It sleeps in `poll` on the workers' pidfds.

use crate::bell::Bell;
use crate::child::Child;
use crate::demand::Demand;
use crate::error::{Cause, Error, PoolKind, Result, named};
use crate::hiring::Hiring;
use crate::layout::Record;
use crate::life::{Bit, Broken, WORKER_ENDED, broken};
use crate::limits::{CAUSE_GRACE_NS, SLEEP_NS_MAX};
use crate::lookout::{LOOK_AGAIN_MS, Lookout};
use crate::policy::{OnWorkerDeath, Policy};
use crate::pool::{Pool, lock};
use crate::record::{Kind, RecordState};
use crate::registry::process_is_gone;
use crate::staff::Requested;
use crate::start::{StartMethod, WorkerExe};
use crate::state::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::now_ns;
use crate::sys;
use crate::zygote::{News, Zygote};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// After something that should not happen, before the next look.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a thread that was joined is waited for, until the system knows it no more.
const GONE_NS_MAX: u64 = 100_000_000;

/// What the owner wants.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) method: StartMethod,
    pub(crate) workers: usize,
    /// Whether some of them are started only when they are needed.
    pub(crate) demand: Option<Demand>,
    pub(crate) exe: Option<WorkerExe>,
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// A pool's workers and the thread that looks after them.
pub(crate) struct Supervisor {
    pub(crate) pool: Arc<Pool>,
    pub(crate) plan: Plan,
    pub(crate) bell: OwnedFd,
    pub(crate) zygote: Option<Zygote>,
    /// The zygote is gone: its socket is not listened to any more.
    zygote_gone: AtomicBool,
    pub(crate) children: Mutex<Vec<Child>>,
    /// Workers that are being started and are no children yet. Locked after `steering` and `children`.
    pub(crate) requested: Mutex<Vec<Requested>>,
    /// How many workers there are to be. Written under the lock of `steering`, as is what the segment says of it, and of a pause.
    pub(crate) wanted: AtomicUsize,
    pub(crate) steering: Mutex<()>,
    /// Whether it was this process that has paused the pool.
    pub(crate) has_paused: AtomicBool,
    /// The signal that ends the workers, or 0. Written under the lock of `children`: who adds one there, and looks here, misses no signal.
    ending: AtomicI32,
    /// Tasks that were cancelled since, by whichever thread came by first, and workers that were sent it.
    cancelled: AtomicUsize,
    signalled: AtomicUsize,
    over: Mutex<bool>,
    over_bell: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Says that the pool is over, when the supervisor's thread ends, however it does.
struct Over<'a>(&'a Supervisor);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.pool.segment().break_pool(Broken::CannotStart);
        }
        *lock(&self.0.over) = true;
        self.0.over_bell.notify_all();
    }
}

/// Kept by the thread alone.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) failures: u32,
    pub(crate) ever_attached: bool,
    last_tick: u64,
    pub(crate) last_start: u64,
    /// When a worker last ended that had not become ready, or could not be started.
    pub(crate) last_failure: u64,
    /// When there was nothing left to wait for but these.
    over_since: Option<u64>,
    /// It was said that the pool is broken.
    has_told_broken: bool,
    /// Of a pool in which others tell the owner that a worker is to be started. Last: its thread ends with this.
    bell: Option<Bell>,
    lookout: Lookout,
    pub(crate) hiring: Hiring,
    /// Dead workers whose end was still to be told at the last look.
    expected: Vec<Participant>,
}

impl Supervisor {
    /// Starts the workers and the thread. `zygote` was made before, while the process had one thread.
    pub(crate) fn start(pool: Arc<Pool>, plan: Plan, zygote: Option<Zygote>) -> Result<Arc<Supervisor>> {
        let workers = plan.workers;
        let supervisor = Arc::new(Supervisor {
            pool,
            plan,
            bell: sys::eventfd()?,
            zygote,
            zygote_gone: AtomicBool::new(false),
            children: Mutex::default(),
            requested: Mutex::default(),
            wanted: AtomicUsize::new(workers),
            steering: Mutex::default(),
            has_paused: AtomicBool::new(false),
            ending: AtomicI32::new(0),
            cancelled: AtomicUsize::new(0),
            signalled: AtomicUsize::new(0),
            over: Mutex::new(false),
            over_bell: Condvar::new(),
            thread: Mutex::default(),
        });
        let mut watch = Watch { lookout: Lookout::new(&supervisor.pool), ..Watch::default() };
        // The first workers are started here, so that a program that cannot be run is an error of `build`.
        let is_told = supervisor.policy().tasks_max.is_some() || supervisor.plan.demand.is_some();
        let begun = match is_told {
            true => Bell::hang(&supervisor.pool, supervisor.bell.as_fd()).map(|bell| watch.bell = Some(bell)),
            false => Ok(()),
        };
        if let Err(e) = begun.and_then(|()| supervisor.refill(&mut watch)) {
            supervisor.give_up();
            return Err(e);
        }
        let runner = supervisor.clone();
        let thread = std::thread::Builder::new().name("taskring-super".into()).spawn(move || runner.run(watch));
        let thread = thread.map_err(|e| {
            supervisor.give_up();
            sys::SysError::from_io("start of the supervisor", &e)
        })?;
        *lock(&supervisor.thread) = Some(thread);
        Ok(supervisor)
    }

    /// Ends the workers that were started, for a pool that does not come to be.
    fn give_up(&self) {
        self.pool.segment().set(Bit::Closing);
        self.pool.segment().wake_everybody();
        self.join_children();
    }

    /// Rings the bell: something has changed that the thread should look at.
    pub(crate) fn ring(&self) {
        sys::eventfd_signal(self.bell.as_fd());
    }

    /// Waits until every task has ended and every worker has left; false when `timeout` came first.
    pub(crate) fn wait_over(&self, timeout: Option<Duration>) -> bool {
        let over = lock(&self.over);
        let over = match timeout {
            None => self.over_bell.wait_while(over, |over| !*over).unwrap_or_else(std::sync::PoisonError::into_inner),
            Some(t) => self.over_bell.wait_timeout_while(over, t, |over| !*over).map_or_else(|e| e.into_inner().0, |r| r.0),
        };
        let is_over = *over;
        drop(over);
        if is_over && let Some(thread) = lock(&self.thread).take() {
            // Should its code panic, the pool is over all the same: see `Over`.
            let _ = thread.join();
        }
        is_over
    }

    /// Whether this is the supervisor's own thread.
    pub(crate) fn is_this_thread(&self) -> bool {
        lock(&self.thread).as_ref().is_some_and(|thread| thread.thread().id() == std::thread::current().id())
    }

    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        let children = lock(&self.children);
        // One that was just started may be at work before this process has heard that it was, or the supervisor's thread has noted it.
        let unheard_of = self.pool.member.participants().filter_map(|(who, state, record)| {
            // Acquire: pairs with the Release of a worker that is ready: its number is visible below, its thread's, and that it expects no cause, if it is not
            // ours.
            let is_ready = state.is_worker() && record.ready.load(Acquire) == 1;
            let is_ours = is_ready && record.number.load(Relaxed) != 0 && self.pool.member.awaits_cause(who);
            let (pid, thread) = (record.pid.load(Relaxed), record.thread.load(Relaxed));
            let is_it = |child: &Child| child.thread.as_ref().map_or(child.pid == pid, |it| it.id() == thread);
            let is_new = is_ours && !children.iter().any(is_it);
            // One that has just ended is no child any more either.
            let is_gone = || match state.kind() {
                Some(Kind::ThreadWorker) => sys::thread_is_gone(thread),
                _ => process_is_gone(pid, record.start.load(Relaxed)),
            };
            (is_new && !is_gone()).then_some(pid)
        });
        children.iter().filter(|child| child.ended.is_none()).map(|child| child.pid).chain(unheard_of).collect()
    }

    pub(crate) fn planned_workers(&self) -> usize {
        // Acquire: pairs with the Release in `resize`.
        self.wanted.load(Acquire)
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether its workers are threads, which no signal ends alone.
    pub(crate) fn has_threads(&self) -> bool {
        self.plan.method.is_thread()
    }

    /// Sends every worker process that this one has started the signal that ends it, and has no other started.
    pub(crate) fn signal_workers(&self, signal: i32) {
        // Before the signals: so that no death of theirs is a failed start, and whoever acts for the dead gives their tasks to nobody.
        self.pool.segment().set(Bit::Closing);
        self.pool.segment().set(Bit::Ended);
        // Under the lock: one that is started meanwhile is sent the signal when it is added.
        let children = lock(&self.children);
        // SIGKILL is not taken back.
        if self.ending.load(Relaxed) != libc::SIGKILL {
            self.ending.store(signal, Relaxed);
        }
        let sent = children.iter().filter(|child| child.end_by(signal)).count();
        self.signalled.fetch_add(sent, Relaxed);
    }

    /// Cancels everybody's pending tasks, of a pool whose workers are being ended.
    pub(crate) fn cancel_rest(&self) {
        self.cancelled.fetch_add(self.pool.cancel_all(true, true), Relaxed);
    }

    /// How many tasks were cancelled so in all, and how many workers signalled.
    pub(crate) fn ended(&self) -> (usize, usize) {
        (self.cancelled.load(Relaxed), self.signalled.load(Relaxed))
    }

    /// A worker that was started. The pool may be ending its workers since.
    pub(crate) fn add(&self, mut child: Child) {
        let mut children = lock(&self.children);
        // Under the lock: who wants fewer says so first, and then looks at those that were asked for, and at those that are here.
        let was_dismissed = self.take_request(child.number).is_some_and(|requested| requested.dismissed);
        child.dismissed |= was_dismissed || child.number >= self.end_of_numbers();
        let signal = self.ending.load(Relaxed);
        if signal != 0 && child.end_by(signal) {
            self.signalled.fetch_add(1, Relaxed);
        }
        children.push(child);
    }

    /// Kills every worker process: for an exit that must not wait any longer.
    pub(crate) fn kill_workers(&self) {
        if let Some(zygote) = &self.zygote {
            // First, so that it starts no other.
            zygote.end();
        }
        self.signal_workers(libc::SIGKILL);
    }

    fn run(&self, mut watch: Watch) {
        let _over = Over(self);
        loop {
            let somebody_ended = self.sleep(&mut watch);
            if self.collect_ended(&mut watch) == 0 && somebody_ended {
                // Its pidfd says so, and the system does not tell how: another process traces it, most likely.
                std::thread::sleep(PAUSE);
            }
            watch.lookout.look(&self.pool, |pid| lock(&self.children).iter().any(|child| child.pid == pid));
            self.note_attached(&mut watch);
            self.note_broken(&mut watch);
            self.note_size(&watch);
            self.note_waiting(&mut watch);
            self.tick(&mut watch);
            if self.is_ending() {
                // What was put back into the ring, for its worker died, runs nowhere any more.
                self.cancel_rest();
            }
            if self.is_over() && !self.expects_worker(&mut watch) {
                break;
            }
            if let Err(e) = self.refill(&mut watch) {
                self.start_failed(&mut watch, e);
            }
        }
        self.hire_no_more(&mut watch);
        if self.pool.segment().has(Bit::Corrupt) {
            log::error!(target: "taskring", "shared memory is corrupt; the pool is closed");
        }
        self.join_children();
        if let Some(zygote) = &self.zygote {
            zygote.end();
        }
        #[cfg(feature = "named")]
        if let Some(path) = &self.pool.name {
            crate::named::unlink_own(self.pool.segment(), path);
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Relaxed) != 0
    }

    pub(crate) fn is_stopping(&self) -> bool {
        let segment = self.pool.segment();
        segment.has(Bit::Closing) || segment.has(Bit::Broken) || segment.has(Bit::Corrupt)
    }

    fn is_over(&self) -> bool {
        let segment = self.pool.segment();
        let workers_left = !lock(&self.children).is_empty();
        if !self.is_stopping() || workers_left {
            return false;
        }
        segment.after_closing();
        if segment.has(Bit::Broken) {
            self.pool.fail_all_pending();
            return true;
        }
        if segment.has(Bit::Corrupt) {
            return true;
        }
        // Whoever saw the pool open under a lane's mutex has published once the mutex is free again.
        let passed = segment.lanes().all(|(lane, _)| self.pool.member.hold_lane(lane).map(drop).is_ok());
        passed && !segment.has_unfinished()
    }

    /// The end of this process leaves the pool to its workers.
    pub(crate) fn is_left(&self) -> bool {
        self.pool.segment().has(Bit::Orphaned)
    }

    /// Whether there may be workers of the zygote that it has not been heard to have started.
    pub(crate) fn has_unheard_of(&self) -> bool {
        // One that was just heard of is sent its signal under this lock.
        let _children = lock(&self.children);
        // Acquire: pairs with the Release in `hear`.
        !lock(&self.requested).is_empty() && !self.zygote_gone.load(Acquire)
    }

    /// Whether the zygote may just be starting a worker, which is there still when the pool is said to be over. A stopped one is not waited for longer than
    /// by others.
    fn expects_worker(&self, watch: &mut Watch) -> bool {
        let since = *watch.over_since.get_or_insert_with(now_ns);
        let expects = self.has_unheard_of() && !self.pool.segment().has(Bit::Broken);
        expects && now_ns() - since < CAUSE_GRACE_NS
    }

    /// Sleeps until a worker ends, the zygote has news, the bell rings, or a second is over. True when a worker has ended that is ours to collect.
    fn sleep(&self, watch: &mut Watch) -> bool {
        // A worker that has not attached yet rings no bell, nor do the last tasks of a closing pool: look more often.
        let waiting = {
            let children = lock(&self.children);
            children.iter().any(|c| c.attached.is_none() || c.is_unwatched()) || (children.is_empty() && self.is_stopping())
        };
        let timeout_ms = if waiting || watch.lookout.expects() || watch.hiring.is_to_look_again() {
            LOOK_AGAIN_MS
        } else {
            (SLEEP_NS_MAX / 1_000_000) as i32
        };
        // Acquire: pairs with the Release in `hear`.
        let zygote = self.zygote.as_ref().filter(|_| !self.zygote_gone.load(Acquire));
        // The zygote tells of its own children: their ends would wake us again and again until it does.
        let is_ours = |child: &&Child| !child.of_zygote || zygote.is_none();
        let watched = |child: &Child| child.pidfd.as_ref()?.try_clone().ok();
        let pidfds: Vec<OwnedFd> = lock(&self.children).iter().filter(is_ours).filter_map(watched).collect();
        let mut fds = vec![self.bell.as_fd()];
        fds.extend(zygote.map(Zygote::fd));
        let ours = fds.len()..fds.len() + pidfds.len();
        fds.extend(pidfds.iter().map(AsFd::as_fd));
        fds.extend(watch.lookout.fds());
        let (mut ready, mut more) = (Vec::new(), Vec::new());
        if sys::poll(&fds, &mut ready, timeout_ms).is_err() {
            std::thread::sleep(PAUSE);
        }
        sys::eventfd_drain(self.bell.as_fd());
        if let Some(zygote) = zygote
            && ready.get(1).copied().unwrap_or(false)
        {
            self.hear(zygote, watch);
            // All that it has said by now: where a death breaks the pool, the error names all who have died. Acquire: see above.
            while !self.zygote_gone.load(Acquire) && sys::poll(&[zygote.fd()], &mut more, 0).is_ok() && more == [true] {
                self.hear(zygote, watch);
            }
        }
        ready.get(ours).is_some_and(|ours| ours.contains(&true))
    }

    fn hear(&self, zygote: &Zygote, watch: &mut Watch) {
        match zygote.news() {
            Ok(News::Started(pid, number)) => {
                log::debug!(target: "taskring", "{} started as process {pid}", self.name_of(number));
                self.add(Child::of_zygote(pid, number));
            }
            Ok(News::NotStarted(number, errno)) => {
                self.take_request(number);
                self.start_failed(watch, Error::System { call: "fork of a worker", errno });
            }
            Ok(News::Threads(count)) => {
                let cause = format!(
                    "the process that forks workers has {count} threads when it begins, and a copy of it could hang: start with Spawn"
                );
                self.break_pool(Broken::CannotStart, Error::Broken { kind: PoolKind::Process, cause });
            }
            Ok(News::Ended(pid, cause)) => {
                if let Some(child) = lock(&self.children).iter_mut().find(|c| c.pid == pid) {
                    child.ended = Some(cause);
                }
            }
            Err(e) => {
                // Its workers live on, but no other can be had.
                // Release: pairs with the Acquire loads of it.
                self.zygote_gone.store(true, Release);
                self.break_pool(Broken::CannotStart, e);
            }
        }
    }

    fn policy(&self) -> Policy {
        Policy::from_bits(self.pool.segment().header().identity.policy.load(Relaxed))
    }

    /// Settles what ended workers have left. Returns how many there were.
    fn collect_ended(&self, watch: &mut Watch) -> usize {
        let mut ended = Vec::new();
        {
            let mut children = lock(&self.children);
            for child in children.iter_mut().filter(|c| c.ended.is_none()) {
                // Acquire: pairs with the Release in `hear`.
                child.ended = child.look_for_end(self.zygote_gone.load(Acquire));
            }
            let mut at = 0;
            while at < children.len() {
                if children[at].ended.is_some() {
                    ended.push(children.swap_remove(at));
                } else {
                    at += 1;
                }
            }
        }
        let count = ended.len();
        self.note_breach(&ended);
        for mut child in ended {
            let cause = child.ended.unwrap_or(Cause::Unknown);
            let who = if child.thread.is_some() { None } else { child.attached.or_else(|| self.participant_of(&child)) };
            let seat = who.or_else(|| self.thread_participant(child.thread.as_ref()?.id()));
            if let Some(thread) = child.thread.take() {
                let id = thread.id();
                thread.join();
                self.await_gone(id);
            }
            // It may have died before we came to see that it was ready.
            let ready = |w: Participant| self.pool.segment().records()[w.index()].ready.load(Relaxed) == 1;
            let was_ready = child.attached.is_some() || seat.is_some_and(ready);
            let has_left = child.attached.is_some_and(|who| !self.is_there(who));
            if let Some(who) = who {
                self.pool.member.write_cause(who, cause);
                self.pool.member.reap_now(who);
            } else {
                // A thread: which participant it was is seen by its free byte.
                self.reap_unexpected(watch);
            }
            self.pool.segment().count_workers();
            // After the recovery: a logger may take its time.
            if self.is_stopping() || has_left {
                log::debug!(target: "taskring", "{}, process {}, ended: {cause}", self.name_of(child.number), child.pid);
            } else {
                let name = self.name_of(child.number);
                let next = self.who_follows(child.number);
                log::warn!(target: "taskring", "{name}, process {}, ended ({cause}); {next}", child.pid);
            }
            if was_ready {
                watch.failures = 0;
                watch.ever_attached = true;
            } else {
                watch.last_failure = now_ns();
                if !self.is_stopping() && !self.is_left() && !child.dismissed {
                    self.ended_unattached(watch, cause);
                }
            }
        }
        count
    }

    /// The system may know a thread that was joined for some moments yet. One that has left its seat needs not be waited for.
    fn await_gone(&self, thread: u32) {
        let until = now_ns() + GONE_NS_MAX;
        let is_it = |(_, state, record): (Participant, RecordState, &Record)| {
            state.kind() == Some(Kind::ThreadWorker) && record.thread.load(Relaxed) == thread
        };
        let is_seated = || self.pool.member.participants().any(is_it);
        while !sys::thread_is_gone(thread) && is_seated() && now_ns() < until {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Where a worker's death breaks the pool: which ones have died, and of what. Before anybody can see the pool broken, who acts for the dead.
    fn note_breach(&self, ended: &[Child]) {
        if self.policy().on_worker_death != OnWorkerDeath::BreakPool {
            return;
        }
        // One that has left in good order is no participant any more; one that was killed for its task takes nothing with it.
        let is_abrupt = |who: Participant| !self.pool.member.was_condemned(who);
        let abrupt = ended.iter().filter(|child| self.participant_of(child).is_some_and(is_abrupt));
        let say = |child: &Child| {
            let who = named(&self.name_of(child.number), child.pid);
            format!("{who}: {}", child.ended.unwrap_or(Cause::Unknown))
        };
        let list: Vec<String> = abrupt.map(say).collect();
        if !list.is_empty() {
            let cause = format!("{WORKER_ENDED}: {}", list.join(", "));
            let _ = self.pool.failure.set(Error::Broken { kind: self.pool.segment().pool_kind(), cause });
        }
    }

    /// The participant that a child of ours is. Its pid is its own until it is reaped, which is by us or, a moment ago, by the zygote.
    pub(crate) fn participant_of(&self, child: &Child) -> Option<Participant> {
        if child.thread.is_some() {
            return None;
        }
        let mine = |&(_, state, record): &(Participant, crate::record::RecordState, &crate::layout::Record)| {
            state.kind() == Some(Kind::Worker) && record.pid.load(Relaxed) == child.pid
        };
        self.pool.member.participants().find(mine).map(|(who, ..)| who)
    }

    fn is_there(&self, who: Participant) -> bool {
        RecordState::of(&self.pool.segment().records()[who.index()]).is_active_as(who)
    }

    pub(crate) fn break_pool(&self, why: Broken, error: Error) {
        log::error!(target: "taskring", "the pool can run no more tasks: {error}");
        let _ = self.pool.failure.set(error);
        self.pool.segment().break_pool(why);
        self.pool.fail_all_pending();
    }

    /// A worker may have broken the pool: that is logged here, where the program's logger is, and pending tasks end at once.
    fn note_broken(&self, watch: &mut Watch) {
        if watch.has_told_broken || !self.pool.segment().has(Bit::Broken) {
            return;
        }
        watch.has_told_broken = true;
        if self.pool.failure.get().is_none() {
            log::error!(target: "taskring", "the pool can run no more tasks: {}", broken(self.pool.segment()));
            self.pool.fail_all_pending();
        }
    }

    /// Recovers what the dead have left, but for workers whose end this thread itself is about to learn, with its cause: waiting for that here would keep it
    /// from coming. Whoever was dead at the last look as well is nobody's that we know.
    fn reap_unexpected(&self, watch: &mut Watch) {
        let (expected, now): (Vec<_>, Vec<_>) = self.pool.member.dead().into_iter().partition(|&who| {
            let state = RecordState::of(&self.pool.segment().records()[who.index()]);
            let is_child = state.kind() == Some(Kind::Worker) && self.pool.member.awaits_cause(who);
            is_child && !watch.expected.contains(&who)
        });
        watch.expected = expected;
        for who in now {
            self.pool.member.reap_now(who);
        }
    }

    /// About once a second: participants that are no children of ours, tasks that nobody can run, and workers that somebody meant to kill.
    fn tick(&self, watch: &mut Watch) {
        let now = now_ns();
        if now - watch.last_tick < SLEEP_NS_MAX / 2 {
            return;
        }
        watch.last_tick = now;
        self.pool.member.say_looked(now);
        self.reap_unexpected(watch);
        self.pool.expire_unserved();
        self.pool.member.kill_condemned();
        self.pool.member.kill_overdue(now);
        self.check_pause();
        // Who waits learns of it by the flag; this thread closes the pool.
        let _ = self.pool.member.audit(self.pool.own_lanes());
    }

    fn join_children(&self) {
        lock(&self.children).drain(..).for_each(Child::join);
    }
}
