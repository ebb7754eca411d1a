//! A submitter's attachment to a pool: its lanes (`lanes.rs`), what it has collected (`collect.rs`), and the waits of its threads.
//! Shared by the executor and all its futures.

use crate::collect::Collected;
use crate::condemn::Condemned;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::lanes::{Further, choose_lane};
use crate::layout::Slot;
use crate::limits::SLEEP_NS_MAX;
use crate::loan::Loans;
use crate::outcome::Kind as OutcomeKind;
use crate::pace::WaitPace;
use crate::policy::{OnWorkerDeath, Orphans, Policy};
use crate::priority::Priority;
use crate::record::{Kind, OF_TASKS};
use crate::registry::Member;
use crate::retry::Rule;
use crate::search::Rings;
use crate::segment::Segment;
use crate::slot::{OPTION_IDEMPOTENT, OPTION_TERMS, Request};
use crate::state::{Flag, Participant, Phase, State};
use crate::sync::Ordering::Relaxed;
use crate::sync::{futex_wait_low, futex_wake_low, now_ns};
use crate::target::Target;
use crate::task::{Task, is_known};
use crate::time_limits::TimeLimits;
use std::collections::{BTreeSet, HashMap};
#[cfg(not(taskring_tsan))]
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Task numbers below this find their function's index in an array.
const KNOWN_MAX: usize = 4096;

/// How often a pool's words are looked at for damage, however many wait.
const DAMAGE_NS_MIN: u64 = SLEEP_NS_MAX / 4;
/// Between two looks that are farther apart than this somebody may have come and gone.
const UNSEEN_NS_MAX: u64 = 2 * SLEEP_NS_MAX;

/// Pending tasks that no worker can run, as of the last look.
#[derive(Default)]
struct Unserved {
    looked_at: u64,
    /// When each was first seen to be so: every look since has found the same.
    since: HashMap<Ticket, u64>,
}

/// What a task is called while it lives: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Ticket {
    /// Both in one number.
    #[inline]
    pub(crate) fn id(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation)
    }
    #[inline]
    pub(crate) fn of_id(id: u64) -> Ticket {
        Ticket { slot: (id >> 32) as u32, generation: id as u32 }
    }
}

pub(crate) struct Pool {
    pub(crate) member: Member,
    /// For tasks of normal priority.
    pub(crate) lane: usize,
    /// The number of its first slot.
    pub(crate) first_slot: u32,
    /// For those of other levels.
    pub(crate) further: Further,
    /// The task that this process published last, its number plus one. A hint, for what to fetch and what not to look at yet.
    newest: AtomicU64,
    /// What this process has collected of its lanes.
    pub(crate) collected: Collected,
    /// Blocks that the program fills before it submits them, by number.
    pub(crate) loans: Mutex<Loans>,
    pub(crate) hub: Hub,
    /// Function index plus one, by task number.
    known: Box<[AtomicU32]>,
    unserved: Mutex<Unserved>,
    /// When a thread of this process last looked for damage.
    looked_for_damage: AtomicU64,
    /// When one last had everybody look at every slot though all that was pending had its worker.
    looked_for_targets: AtomicU64,
    /// When a wait for an event of a task did what waiting threads do; 0 before the first one.
    looked_in_event_waits: AtomicU64,
    pub(crate) shut: AtomicBool,
    /// It was ended as a `MultiPool` is terminated: maps tell that of what has no result by then.
    pub(crate) terminated: AtomicBool,
    /// Of a worker, for its tasks: no handle of it ends anything.
    pub(crate) of_tasks: bool,
    /// This process completes the tasks itself: they are promises (`promise.rs`), and the pool has no workers and no end.
    pub(crate) by_hand: bool,
    pub(crate) start_timeout: Duration,
    /// The path of the named pool that this process owns.
    pub(crate) name: Option<std::ffi::CString>,
    /// What this process knows of why the pool broke: more than the header says.
    pub(crate) failure: OnceLock<Error>,
    /// What every task of this submitter has in common.
    pub(crate) request: Request,
    /// And when one that has no rule of its own runs again after an error.
    pub(crate) retry: Rule,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.member.is_foreign() {
            return;
        }
        // What we hold goes back while this participant is still in its seat: nobody will look for it afterwards.
        lock(&self.loans).clear();
        lock(&self.collected.harvested).clear();
        self.let_go_of_slots();
        #[cfg(feature = "named")]
        // The supervisor takes the name away at the pool's end; this is for a pool that never came to have one.
        if let Some(path) = self.name.take() {
            crate::named::unlink_own(self.segment(), &path);
        }
    }
}

#[cfg(not(taskring_tsan))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For `tests/races.sh`: waiting for a mutex is code of the standard library that is not instrumented, so ThreadSanitizer would not see that it acquires.
#[cfg(taskring_tsan)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

impl Pool {
    /// Attaches as a submitter or owner, and takes its first lane.
    pub(crate) fn join(segment: Arc<Segment>, kind: Kind) -> Result<Pool> {
        Pool::seated(Member::join(segment, kind, 0)?)
    }

    /// The same for a worker that submits for its tasks.
    pub(crate) fn join_for_tasks(segment: Arc<Segment>) -> Result<Pool> {
        // From the first moment: with another seat in the pool its worker could not be killed for its task.
        let mut pool = Pool::seated(Member::join(segment, Kind::Submitter, OF_TASKS)?)?;
        pool.of_tasks = true;
        Ok(pool)
    }

    fn seated(member: Member) -> Result<Pool> {
        let start_timeout = member.segment.start_timeout();
        let lane = choose_lane(&member, Priority::Normal)?;
        let capacity = member.segment.geometry().capacity;
        let retry = Rule::load(member.segment.header().identity.retry.each_ref());
        let request = base_request(&member, lane, retry);
        let first_slot = member.segment.slot_number(lane, 0);
        if request.options & OPTION_TERMS != 0 {
            member.segment.use_extras(lane)?;
        }
        Ok(Pool {
            member,
            lane,
            first_slot,
            further: Further::default(),
            newest: AtomicU64::new(0),
            collected: Collected::of(capacity),
            loans: Mutex::default(),
            hub: Hub::default(),
            known: (0..KNOWN_MAX).map(|_| AtomicU32::new(0)).collect(),
            looked_for_damage: AtomicU64::new(0),
            looked_for_targets: AtomicU64::new(0),
            looked_in_event_waits: AtomicU64::new(0),
            unserved: Mutex::default(),
            shut: AtomicBool::new(false),
            terminated: AtomicBool::new(false),
            of_tasks: false,
            by_hand: false,
            start_timeout,
            name: None,
            failure: OnceLock::new(),
            request,
            retry,
        })
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        &self.member.segment
    }

    #[inline]
    pub(crate) fn slot(&self, ticket: Ticket) -> &crate::layout::Slot {
        let (lane, slot) = self.segment().geometry().split(ticket.slot);
        &self.segment().lane(lane).slots[slot]
    }

    /// Notes which task was published last.
    #[inline]
    pub(crate) fn note_newest(&self, ticket: Ticket) {
        self.newest.store(ticket.id() + 1, Relaxed);
    }

    /// Whether nothing was published after this task.
    #[inline]
    pub(crate) fn is_newest(&self, ticket: Ticket) -> bool {
        self.newest.load(Relaxed) == ticket.id() + 1
    }

    /// Asks for the line of the slot that is likely to be published next.
    #[inline]
    pub(crate) fn prefetch_next(&self) {
        self.prefetch_behind((self.newest.load(Relaxed) >> 32) as u32, 1);
    }

    /// Asks for the line of a slot that is likely to be collected soon.
    #[inline]
    pub(crate) fn prefetch(&self, ticket: Ticket, ahead: usize) {
        self.prefetch_behind(ticket.slot, ahead);
    }

    /// In the lane that nearly all tasks are in, and not over its end.
    #[inline]
    fn prefetch_behind(&self, number: u32, ahead: usize) {
        if let Some(slot) = self.segment().lane(self.lane).slots.get(number.wrapping_sub(self.first_slot) as usize + ahead) {
            crate::sync::prefetch_to_write(slot);
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.segment().geometry().capacity
    }

    /// The index of a task's function in this pool.
    #[inline]
    pub(crate) fn function<A, R>(&self, task: &Task<A, R>) -> Result<u16> {
        let number = task.number.get() as usize;
        match self.known.get(number).map_or(0, |k| k.load(Relaxed)) {
            0 => self.resolve(task.name, number),
            known => Ok((known - 1) as u16),
        }
    }

    /// The index of a function, for who has no [`Task`].
    pub(crate) fn function_named(&self, name: &str) -> Result<u16> {
        self.resolve(name, KNOWN_MAX)
    }

    /// What a pool cannot do whose tasks are promises.
    pub(crate) fn refuse_by_hand(&self, what: &'static str) -> Result<()> {
        if self.by_hand { Err(Error::Unsupported { what, with: "in the pool of the promises" }) } else { Ok(()) }
    }

    #[cold]
    fn resolve(&self, name: &str, number: usize) -> Result<u16> {
        crate::functions::check_name(name)?;
        self.refuse_by_hand("submitting a task")?;
        let segment = self.segment();
        let served = segment.find_function(name).filter(|&index| segment.has_server(index));
        let workers_ready = self.member.participants().any(|(_, state, r)| state.is_worker() && r.ready.load(Relaxed) == 1);
        if served.is_none() && workers_ready && !is_known(name) {
            return Err(Error::UnknownFunction { name: name.to_owned() });
        }
        let index = self.member.add_function(name)?;
        if served.is_some()
            && let Some(known) = self.known.get(number)
        {
            known.store(u32::from(index) + 1, Relaxed);
        }
        Ok(index)
    }

    /// Frees the finished tasks that nobody has collected, and has those that go on freed at their end.
    fn let_go_of_slots(&self) {
        for lane in self.own_lanes() {
            for (index, slot) in self.segment().lane(lane).slots.iter().enumerate() {
                let state = slot.load();
                // Looked at again: in a shared lane it may belong to somebody else by now.
                let ours = !state.is(Phase::Free) && slot.submitted_by() == self.member.who();
                if ours && slot.load().generation() == state.generation() {
                    self.member.settle_orphan(lane, index, state.generation(), Orphans::Run);
                }
            }
        }
    }

    /// A broken pool's owner knows more about it than the header says.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if matches!(error, Error::Broken { .. }) { self.failure.get().cloned().unwrap_or(error) } else { error }
    }

    /// Cancels a pending task, and asks a running one to stop. True when the task will never run.
    pub(crate) fn cancel(&self, ticket: Ticket) -> bool {
        match self.end_pending(ticket, Slot::cancel_or_ask) {
            Ok(()) => true,
            Err(found) => found.is(Phase::Cancelled) && found.generation() == ticket.generation,
        }
    }

    /// Cancels a pending task, and kills the worker of a running one. True when it ends as cancelled, or has.
    pub(crate) fn cancel_hard(&self, ticket: Ticket) -> Result<bool> {
        let (lane, index) = self.segment().geometry().split(ticket.slot);
        loop {
            let Err(found) = self.cancel_pending(ticket) else { return Ok(true) };
            if found.generation() != ticket.generation || !found.is(Phase::Running) {
                return Ok(found.is(Phase::Cancelled) && found.generation() == ticket.generation);
            }
            self.refuse_by_hand("killing the worker of a task")?;
            match self.member.condemn(lane, index, ticket.generation)? {
                Condemned::Yes => return Ok(true),
                Condemned::ForItsTime => return Ok(false),
                // It has gone on meanwhile: at its worker's death it may have been put back.
                Condemned::NotRunning => {}
            }
        }
    }

    /// Cancels a pending task; `Err` is what was found instead. Whoever cancels also tells those who wait.
    pub(crate) fn cancel_pending(&self, ticket: Ticket) -> std::result::Result<(), State> {
        self.end_pending(ticket, Slot::cancel)
    }

    fn end_pending(
        &self,
        ticket: Ticket,
        cancel: impl FnOnce(&Slot, u32, Participant) -> std::result::Result<State, State>,
    ) -> std::result::Result<(), State> {
        let slot = self.slot(ticket);
        let request = slot.read();
        let (lane, index) = self.segment().geometry().split(ticket.slot);
        let old = cancel(slot, ticket.generation, self.member.who())?;
        self.member.finish(lane, index, old, &request);
        self.member.tell_leavers();
        Ok(())
    }

    /// Cancels every pending task: of this submitter, or of everybody. Returns how many there were. At an end none of those that run is put back either.
    pub(crate) fn cancel_all(&self, of_everybody: bool, at_an_end: bool) -> usize {
        let mut cancelled = 0;
        for (lane, ring) in self.segment().lanes() {
            for (index, slot) in ring.slots.iter().enumerate() {
                let state = slot.load();
                let meant = of_everybody || slot.submitted_by() == self.member.who();
                let ticket = Ticket { slot: self.segment().slot_number(lane, index), generation: state.generation() };
                if !meant {
                    continue;
                }
                let has_terms = at_an_end && slot.read().options & OPTION_TERMS != 0;
                if has_terms && (state.is(Phase::Pending) || state.is(Phase::Running)) {
                    cancelled += usize::from(self.end_pending(ticket, Slot::cancel_or_let_end).is_ok());
                } else if state.is(Phase::Pending) {
                    cancelled += usize::from(self.cancel_pending(ticket).is_ok());
                }
            }
        }
        cancelled
    }

    /// Ends a pending task with a verdict of ours, by claiming it as a worker would. Under the lock of `unserved`.
    fn fail_pending(&self, lane: usize, index: usize, state: State, kind: OutcomeKind, detail: u32) {
        let slot = &self.segment().lane(lane).slots[index];
        let me = self.member.who();
        let Ok(claimed) = slot.claim(state, me) else { return };
        let request = slot.read();
        slot.outcome.store(kind as u32, Relaxed);
        slot.result_block.store(0, Relaxed);
        slot.result_len.store(detail, Relaxed);
        if let Ok(old) = slot.complete(me, claimed.generation()) {
            self.member.finish(lane, index, old, &request);
        }
    }

    /// Ends pending tasks whose function no worker has had for the start time-out, or not the worker that they are for: our own, and (for the owner) those
    /// that nobody else will look after: detached ones, and all of them once the pool is closing. Then none comes by its name any more.
    pub(crate) fn expire_unserved(&self) {
        if self.by_hand {
            // They wait for no worker, and it is this submitter that runs them.
            return;
        }
        let segment = self.segment();
        if segment.is_paused() && segment.demand().is_some() {
            // Nobody is started for them now.
            return;
        }
        let limit = crate::limits::nanos(self.start_timeout);
        let mut unserved = lock(&self.unserved);
        let now = now_ns();
        let is_old = now.saturating_sub(unserved.looked_at) > UNSEEN_NS_MAX;
        unserved.looked_at = now;
        let before = Some(std::mem::take(&mut unserved.since)).filter(|_| !is_old).unwrap_or_default();
        let mut is_served = segment.served_at_once();
        let (owner, closing) = (self.member.seat.kind == Kind::Owner, segment.has(crate::life::Bit::Closing));
        for (lane, ring) in segment.lanes() {
            for (index, slot) in ring.slots.iter().enumerate() {
                let state = slot.load();
                let wanted = slot.wanted();
                if state.is(Phase::Running) && state.owner() == self.member.who() {
                    // We run none but for a moment in `fail_pending`, under the same lock: a cancelled one was damaged.
                    segment.poison(format!("slot {index} of lane {lane}, which this submitter is said to run"));
                }
                let ours = slot.submitted_by() == self.member.who() || owner && (closing || state.has(Flag::Detached));
                if !state.is(Phase::Pending) || !ours || is_served(wanted) {
                    continue;
                }
                let is_gone = closing && Target::of(wanted).is_some_and(|target| !segment.is_kept(target));
                if !is_gone && segment.waits_until(lane, index, now).is_some() {
                    // Nobody is to be there for it yet.
                    continue;
                }
                let ticket = Ticket { slot: segment.slot_number(lane, index), generation: state.generation() };
                let since = before.get(&ticket).copied().unwrap_or(now);
                unserved.since.insert(ticket, since);
                let waited = now.saturating_sub(since);
                if (waited >= limit || is_gone) && slot.load() == state {
                    let waited_ms = (waited / 1_000_000).min(u64::from(u32::MAX)) as u32;
                    self.fail_pending(lane, index, state, OutcomeKind::NoWorker, waited_ms);
                }
            }
        }
    }

    /// Ends every pending task of a pool that can run none any more.
    pub(crate) fn fail_all_pending(&self) {
        let _as_one = lock(&self.unserved);
        for (lane, ring) in self.segment().lanes() {
            for (index, slot) in ring.slots.iter().enumerate().filter(|(_, slot)| slot.load().is(Phase::Pending)) {
                self.fail_pending(lane, index, slot.load(), OutcomeKind::Broken, 0);
            }
        }
    }

    pub(crate) fn is_unfinished(&self, ticket: Ticket) -> bool {
        crate::hub::is_unfinished(self.slot(ticket).load(), ticket.generation)
    }

    /// Waits until a task of ours is over, without taking its outcome; false when the deadline came first.
    pub(crate) fn wait_ended(&self, ticket: Ticket, deadline: u64) -> Result<bool> {
        let mut pace = WaitPace::new(now_ns());
        let mut waits = None;
        while let Ok(word) = self.slot(ticket).flag(ticket.generation, Flag::Waiter) {
            let now = now_ns();
            if now >= deadline {
                return Ok(false);
            }
            // In a task a wait without a limit helps, as that for a future does.
            if deadline == u64::MAX && crate::nested::is_in_task_of(self) {
                if crate::nested::help(self, ticket)? {
                    continue;
                }
                if waits.is_none() {
                    waits = crate::nested::begin_wait(std::iter::once((self, ticket)))?;
                }
            }
            self.sleep_on(ticket, word, &mut pace, now, deadline)?;
        }
        Ok(true)
    }

    /// Sleeps, at most until `deadline`, while the slot's word is as told; or looks after the pool, when it is time for that.
    pub(crate) fn sleep_on(&self, ticket: Ticket, word: State, pace: &mut WaitPace, now: u64, deadline: u64) -> Result<()> {
        match pace.until(now) {
            Some(until) => {
                // A task that waits for another one begins it when its time has come.
                let (lane, index) = self.segment().geometry().split(ticket.slot);
                let until = self.segment().waits_until(lane, index, now).map_or(until, |at| at.min(until));
                let _ = futex_wait_low(&self.slot(ticket).state, word.0, Some(until.min(deadline)));
            }
            None => {
                self.look_after_waits()?;
                pace.looked(now);
            }
        }
        Ok(())
    }

    /// After a task was let go that may go on for long: other threads that wait for it, or for its events, wait in vain.
    pub(crate) fn tell_of_release(&self, ticket: Ticket) {
        let word = self.slot(ticket).load();
        // Who waits from now on sees that it was let go. At its end everybody is woken.
        if word.generation() == ticket.generation && word.has(Flag::Waiter) {
            futex_wake_low(&self.slot(ticket).state);
        }
        if word.generation() == ticket.generation && word.has(Flag::Notify) {
            crate::hub::wake_event(self);
        }
    }

    /// When a wait for an event looked after the pool last, or when the first one began.
    pub(crate) fn looked_in_event_waits(&self, now: u64) -> u64 {
        // Relaxed: a time of its own.
        self.looked_in_event_waits.compare_exchange(0, now, Relaxed, Relaxed).err().unwrap_or(now)
    }

    pub(crate) fn note_look_in_event_wait(&self, now: u64) {
        self.looked_in_event_waits.store(now, Relaxed);
    }

    /// What a waiting thread does between two sleeps: tasks that nobody sees, nobody can run, or whose workers died unnoticed.
    pub(crate) fn look_after_waits(&self) -> Result<()> {
        self.member.check_fork()?;
        let segment = self.segment();
        if let Some(corrupt) = segment.corrupt() {
            return Err(corrupt);
        }
        if segment.has(crate::life::Bit::Broken) {
            self.fail_all_pending();
        }
        self.expire_unserved();
        self.member.reap_all();
        let sleepers = segment.sleepers();
        let now = now_ns();
        let (for_anybody, targets) = segment.pending_in(self.own_lanes(), now);
        let is_pending = for_anybody || !targets.is_empty();
        if is_time(&self.looked_for_damage, now, DAMAGE_NS_MIN) {
            self.member.audit(self.own_lanes())?;
            self.member.kill_condemned();
            self.member.kill_overdue(now);
            self.hub.deliver_unannounced(self);
            if is_pending {
                self.own_lanes().filter_map(|lane| self.member.try_hold_lane(lane)).for_each(|mut hold| hold.mend());
            }
            // A mark that nobody takes away would keep everybody asleep.
            sleepers.forget_searching();
        }
        if for_anybody {
            // Everybody looks at every slot: it may be reserved by a worker that is stopped, or the one awake cannot run it.
            segment.new_epoch();
            sleepers.wake_each();
        } else if is_pending {
            // That a task waits for its worker is nothing out of the ordinary, and the others can do nothing about it.
            if is_time(&self.looked_for_targets, now, SLEEP_NS_MAX) {
                segment.new_epoch();
            }
            targets.into_iter().for_each(|target| segment.wake_target(target));
        }
        Ok(())
    }
}

/// Whether the last time was so long ago; this one is noted then. True for one of the threads that come at once.
fn is_time(last: &AtomicU64, now: u64, between: u64) -> bool {
    let before = last.load(Relaxed);
    now.saturating_sub(before) >= between && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok()
}

impl Segment {
    /// Whether a task for any worker is pending in these lanes, and for which workers others are: of those that may begin now.
    fn pending_in(&self, lanes: impl Iterator<Item = usize>, now: u64) -> (bool, BTreeSet<Target>) {
        let (mut for_anybody, mut targets) = (false, BTreeSet::new());
        let slots =
            lanes.flat_map(|lane| self.lane(lane).slots.iter().enumerate().map(move |(index, slot)| (lane, index, slot)));
        for (lane, index, slot) in slots.filter(|(.., slot)| slot.load().is(Phase::Pending)) {
            if self.waits_until(lane, index, now).is_some() {
                continue;
            }
            match Target::of(slot.wanted()) {
                None => for_anybody = true,
                Some(target) => {
                    targets.insert(target);
                }
            }
        }
        (for_anybody, targets)
    }
}

/// How often an idempotent task is started at most, as the pool's policy has it.
fn starts_max(policy: &Policy) -> u8 {
    if let OnWorkerDeath::Retry(n) = policy.on_worker_death { n.saturating_add(1) } else { 2 }
}

/// The same of one that has this rule for another attempt after an error.
pub(crate) fn starts_max_with(segment: &Segment, rule: Rule) -> u8 {
    starts_max(&Policy::from_bits(segment.header().identity.policy.load(Relaxed))).max(rule.attempts())
}

/// What the pool's policy says of every task, unless its options say otherwise.
fn base_request(member: &Member, lane: usize, rule: Rule) -> Request {
    let policy = Policy::from_bits(member.segment.header().identity.policy.load(Relaxed));
    let limits = TimeLimits::from_bits(member.segment.header().identity.limits.load(Relaxed));
    let options = if let OnWorkerDeath::Retry(_) = policy.on_worker_death { OPTION_IDEMPOTENT } else { 0 };
    let attempts_max = starts_max_with(&member.segment, rule);
    let submitter = member.who().bits();
    let mut request =
        Request { options, attempts_max, kills_max: policy.kills_max, submitter, lane: lane as u16, ..Request::default() };
    request.set_limits(limits);
    if !rule.is_none() {
        request.set_retried();
    }
    request
}
