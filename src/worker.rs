//! The worker: attach, look for a task, run it, complete it; sleep when there is nothing; leave when the pool ends.

use crate::error::{Error, Result};
use crate::layout::Slot;
use crate::life::Bit;
use crate::limits::{INLINE_MAX, SLEEP_NS_MAX};
use crate::outcome::{self, Kind as OutcomeKind};
use crate::pace::WorkerPace;
use crate::record::{Kind, Presence, RecordState};
use crate::registry::Member;
use crate::search::{Rest, Rings, Search, Task};
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::set::SetRef;
use crate::setup::Setup;
use crate::slot::{OPTION_CHUNK, Request};
use crate::spin;
use crate::state::{Flag, Phase, Progress, State, Step};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::task::{Call, Current, Runner, guarded, install_panic_hook, known, set_current};
use std::cell::Cell;
use std::sync::Arc;

/// A named pool's workers stay this long after its owner was killed and nothing is left to do.
const LINGER_NS: u64 = 5_000_000_000;

/// Bytes of the buffer for results that are kept from one task to the next.
const OUT_MAX: usize = 1 << 20;

/// Slots ahead of the one in work whose line is asked for.
const PREFETCH: usize = 2;

/// A worker: one thread's life in a pool.
pub(crate) struct Worker {
    member: Member,
    /// By function number.
    runners: Vec<Option<Runner>>,
    /// The same functions by name, as they stand in the pool.
    names: Vec<(u16, &'static str)>,
    search: Search,
    /// A result's bytes: one allocation for all tasks.
    out: Vec<u8>,
    pace: WorkerPace,
    /// What makes this worker leave at once. A named pool's workers go on without its owner.
    stop_bits: u32,
    orphaned_at: Option<u64>,
    /// It was taken for dead, and leaves.
    is_out: Cell<bool>,
}

/// Arguments taken out of a slot, aligned for C functions that look at them as values. Blocks are aligned as well.
#[repr(align(16))]
struct Inline([u8; INLINE_MAX]);

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
    let member = Member::join(segment, kind)?;
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
    let (mut runners, mut names) = (Vec::new(), Vec::new());
    for (name, runner) in known() {
        let number = member.add_function(name)?;
        names.push((number, name));
        let index = number as usize;
        runners.resize((index + 1).max(runners.len()), None);
        runners[index] = Some(runner);
    }
    setup.initialize(&member, |name| runner_of(name, &names, &runners))?;
    for (index, _) in runners.iter().enumerate().filter(|(_, r)| r.is_some()) {
        member.segment.add_server(member.who(), index as u16);
    }
    member.record().ready.store(1, Relaxed);
    member.segment.count_workers();
    let search = Search::new(member.who());
    let named = member.segment.header().identity.named.load(Relaxed) != 0;
    let orphaned = if named { 0 } else { Bit::Orphaned as u32 };
    let stop_bits = Bit::Broken as u32 | Bit::Corrupt as u32 | orphaned;
    let mut worker = Worker {
        member,
        runners,
        names,
        search,
        out: Vec::new(),
        stop_bits,
        pace: WorkerPace::new(now_ns()),
        orphaned_at: None,
        is_out: Cell::new(false),
    };
    worker.run();
    if !worker.is_out.get() && !worker.member.segment.has(Bit::Corrupt) {
        setup.finish(&worker.member, |name| runner_of(name, &worker.names, &worker.runners));
    }
    worker.leave();
    Ok(())
}

fn runner_of(name: &str, names: &[(u16, &'static str)], runners: &[Option<Runner>]) -> Option<Runner> {
    let (number, _) = names.iter().find(|(_, known)| *known == name)?;
    runners.get(*number as usize)?.clone()
}

impl Segment {
    /// Counts the ready workers anew.
    pub(crate) fn count_workers(&self) {
        let ready = |r: &&crate::layout::Record| {
            let state = RecordState::of(r);
            state.presence() == Presence::Active && state.is_worker() && r.ready.load(Relaxed) == 1
        };
        self.life().workers.store(self.records().iter().filter(ready).count() as u32, Relaxed);
    }
}

impl Worker {
    fn run(&mut self) {
        // A count of its own, so that it can be lent beside the rest of us.
        let segment = self.member.segment.clone();
        loop {
            if self.must_stop() {
                return;
            }
            let task = match self.next(&segment) {
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
                    None => continue,
                },
            };
            self.perform(&segment, task);
            self.keep_house_if_due();
        }
    }

    /// A look at everything in a pool that is closing.
    #[cold]
    fn last(&mut self, segment: &Segment) -> Option<Task> {
        // Whoever saw the pool open under a lane's mutex has published once the mutex is free again; then nothing found
        // at any slot means that nothing is left. A stopped holder is not waited for longer than its lane's time-out.
        for (lane, _) in segment.lanes() {
            drop(self.member.hold_lane(lane));
        }
        self.search.look_everywhere();
        self.next(segment)
    }

    /// Whether to leave at once, whatever is pending.
    #[inline]
    fn must_stop(&self) -> bool {
        self.member.segment.life().flags.load(Relaxed) & self.stop_bits != 0 || self.is_out.get()
    }

    #[inline]
    fn next(&mut self, segment: &Segment) -> Option<Task> {
        let runners = &self.runners;
        self.search.look(segment, &mut |f| matches!(runners.get(f as usize), Some(Some(_))))
    }

    /// Nothing to do: looks for a while, then sleeps. A task if one turned up.
    #[inline(never)]
    fn idle(&mut self, segment: &Segment) -> Option<Task> {
        let sleepers = segment.sleepers();
        let me = self.member.who().index();
        self.pace.pause();
        let searching = sleepers.anybody_idle();
        if searching {
            sleepers.start_searching(me);
        }
        let bits = self.stop_bits | Bit::Closing as u32;
        let ended = |s: &Segment| s.life().flags.load(Relaxed) & bits != 0;
        let looking = || if ended(segment) { Some(None) } else { self.next(segment).map(Some) };
        let found = spin::until(segment, 0, u64::MAX, looking).flatten();
        if searching {
            sleepers.stop_searching(me);
        }
        if found.is_some() {
            // Submitters may have counted on us while we searched: see whether there is more, and let another worker have it.
            if searching && self.has_backlog() {
                sleepers.wake_one();
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
        let bits = self.stop_bits | Bit::Closing as u32;
        let ended = || segment.life().flags.load(Relaxed) & bits != 0;
        let runners = &self.runners;
        let mut runnable = |f: u16| matches!(runners.get(f as usize), Some(Some(_)));
        // Jittered, so that the workers of a pool do not all wake at the same moment.
        let deadline = now_ns() + SLEEP_NS_MAX + (self.member.who().index() as u64 % 16) * 10_000_000;
        match self.search.rest(segment, sleepers, &mut runnable, ended, deadline) {
            Rest::Task(task) => {
                // The wake for another task may have been given to us, for our mark was up.
                if self.has_backlog() {
                    sleepers.wake_one();
                }
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
            Rest::Slept { by_mark: false, .. } => {
                self.keep_house();
                self.search.look_everywhere();
                None
            }
        }
    }

    /// After a wake that was meant for any worker: take a task, and wake another if there are more, or if there is one that we cannot run.
    fn woken(&mut self, segment: &Segment) -> Option<Task> {
        let task = self.next(segment);
        let sleepers = segment.sleepers();
        if task.is_some() && self.has_backlog() {
            sleepers.wake_one();
        } else if task.is_none() && self.search.passes_on() {
            // Whoever can run it may be any of the sleepers, so all of them look.
            sleepers.wake_each();
        }
        task
    }

    fn has_backlog(&self) -> bool {
        self.member.segment.lanes().any(|(_, lane)| lane.has_backlog())
    }

    /// Runs a claimed task to its end.
    #[inline]
    fn perform(&mut self, segment: &Segment, task: Task) {
        let slot = &segment.lane(task.lane).slots[task.claim.slot];
        let generation = task.claim.state.generation();
        let request = slot.read();
        if request.set != 0 && segment.sets().is_discarded(SetRef(request.set)) {
            return self.member.cancel_for_set(task.lane, task.claim.slot, self.member.who(), generation, &request);
        }
        let number = segment.slot_number(task.lane, task.claim.slot);
        let progress = slot.progress();
        let current = Current { id: u64::from(number) << 32 | u64::from(generation), attempt: progress.attempt, slot };
        if !seeded(Bug::StartedLate) {
            self.note(slot, progress.at(Step::Started));
        }
        let outer = set_current(Some(current));
        self.out.clear();
        let kind = call(segment, &self.runners, slot, &request, &mut self.out);
        set_current(outer);
        if self.member.is_foreign() {
            // The task forked, and this is the child coming back from its function: only the parent is the worker.
            crate::sys::exit_now(0);
        }
        if seeded(Bug::StartedLate) {
            self.note(slot, progress.at(Step::Started));
        }
        self.note(slot, progress.at(Step::Returned));
        if seeded(Bug::DoneFirst) {
            self.complete(segment, task, slot, (number, generation), &request);
        }
        if !outcome::store_inline(slot, &request, kind, &self.out) {
            self.store_in_block(slot, (number, generation), kind);
        }
        self.complete(segment, task, slot, (number, generation), &request);
        if self.out.capacity() > OUT_MAX {
            self.out = Vec::new();
        }
    }

    /// A result that does not fit into the slot.
    #[cold]
    fn store_in_block(&mut self, slot: &Slot, task: (u32, u32), kind: OutcomeKind) {
        if let Err(e) = outcome::store_in_block(&self.member, slot, task, kind, &self.out) {
            if let Error::Corrupt { what } = &e {
                self.member.segment.poison(&**what);
            }
            outcome::store_refusal(slot, &e);
        }
    }

    #[inline]
    fn note(&self, slot: &Slot, progress: Progress) {
        if seeded(Bug::NotePerWorker) {
            return self.member.record().event_waiters.store(progress.bits(), Relaxed);
        }
        slot.note(progress);
    }

    /// Hands the outcome over. Whoever was declared dead meanwhile finds its slot gone, and drops what it made.
    #[inline]
    fn complete(&self, segment: &Segment, task: Task, slot: &Slot, (number, generation): (u32, u32), request: &Request) {
        let result = slot.result_block.load(Relaxed);
        match slot.complete(self.member.who(), generation) {
            Ok(old) => {
                segment.announce_end(task.lane, task.claim.slot, old, request);
                if old.has(Flag::Detached) {
                    segment.free_slot_blocks([request.args_block, result], number, generation);
                }
            }
            Err(found) => self.complete_nothing(found, result, (number, generation)),
        }
        let finished = &self.member.record().finished;
        finished.store(finished.load(Relaxed).wrapping_add(1), Relaxed);
    }

    #[cold]
    fn complete_nothing(&self, found: State, result: u32, (number, generation): (u32, u32)) {
        let segment = &*self.member.segment;
        if seeded(Bug::NoPoison) {
            return;
        }
        if !found.has_left(self.member.who(), generation) {
            segment.poison(format!("slot {number}, which this worker runs, is {found:?}"));
            return;
        }
        // Who was taken for dead all the same (a thread whose task has closed every descriptor may be) finds its task over, or given to others.
        segment.free_slot_blocks([result, 0], number, generation);
        // And has no seat any more: what it claimed now would be nobody's.
        self.is_out.set(!self.member.seat.is_ours(self.member.record()));
    }

    #[inline]
    fn keep_house_if_due(&mut self) {
        if self.pace.count() && self.pace.is_due(now_ns()) {
            self.keep_house();
        }
    }

    /// What somebody has to do about once a second: notice that the owner is gone, and, when it is, act for the dead.
    fn keep_house(&mut self) {
        if !self.member.seat.is_ours(self.member.record()) {
            self.is_out.set(true);
            return;
        }
        self.pace.looked(now_ns());
        // A word that nobody can have written ends the pool; this worker sees it by the flag.
        let _ = self.member.audit(None);
        self.look_for_own_slots();
        let is_process = self.member.seat.kind == Kind::Worker;
        let wrong = |(number, name): &&(u16, &'static str)| is_process && !self.member.is_server(*number, name);
        if let Some((number, name)) = self.names.iter().find(wrong) {
            self.member.segment.poison(format!("function {number}, which is {name:?}"));
        }
        // A position that a stopped worker has reserved is passed by no head again.
        self.search.look_everywhere();
        if self.member.seat.kind == Kind::ThreadWorker || self.member.owner_is_alive() {
            self.orphaned_at = None;
            return;
        }
        self.member.reap_all();
        let has_owner_left = self.member.segment.set(Bit::Orphaned);
        let now = now_ns();
        let since = *self.orphaned_at.get_or_insert(now);
        if has_owner_left {
            self.orphaned_at = Some(now);
        }
        let others = self.member.participants().any(|(_, state, _)| !state.is_worker());
        if now - since > LINGER_NS && !others && !self.member.segment.has_unfinished() {
            self.member.segment.set(Bit::Closing);
        }
    }

    /// Between two tasks nothing is run by us. A slot that says so would be waited for for ever, and others cannot tell it from a long task.
    fn look_for_own_slots(&self) {
        let segment = &self.member.segment;
        let is_ours = |state: State| state.is(Phase::Running) && state.owner() == self.member.who();
        for (lane, ring) in segment.lanes() {
            if let Some(slot) = ring.slots.iter().position(|slot| is_ours(slot.load())) {
                segment.poison(format!("slot {slot} of lane {lane}, which this worker is said to run"));
            }
        }
    }

    fn leave(&mut self) {
        if self.is_out.get() {
            // Whoever took it for dead has done all this, and the place may be another's by now.
            return;
        }
        let segment = &self.member.segment;
        segment.remove_server(self.member.who());
        self.member.record().ready.store(0, Relaxed);
        // A wake that was meant for us goes on to somebody else.
        let sleepers = segment.sleepers();
        sleepers.forget(self.member.who().index());
        sleepers.wake_one();
        segment.count_workers();
    }
}

/// While tasks come without a pause, the lines of the next ones are on their way during this one.
#[inline]
fn prefetch(segment: &Segment, task: Task) {
    let slots = segment.lane(task.lane).slots;
    crate::sync::prefetch_to_write(&slots[(task.claim.slot + PREFETCH) & (slots.len() - 1)]);
}

/// Runs a task's function on its arguments.
#[inline]
fn call(segment: &Segment, runners: &[Option<Runner>], slot: &Slot, request: &Request, out: &mut Vec<u8>) -> OutcomeKind {
    let len = request.args_len as usize;
    let mut inline = Inline([0; INLINE_MAX]);
    let args: &[u8] = if request.args_block == 0 {
        let len = len.min(INLINE_MAX);
        slot.read_inline(0, &mut inline.0[..len.next_multiple_of(8)]);
        &inline.0[..len]
    } else {
        match segment.block_bytes(request.args_block, len) {
            // SAFETY: `block_bytes` has checked that `len` bytes lie in committed payload memory. The block belongs to the slot,
            // which this worker owns until the call is over, and nobody writes to a published argument block.
            Ok(bytes) => unsafe { std::slice::from_raw_parts(bytes, len) },
            Err(e) => return fail(out, OutcomeKind::Failed, &e),
        }
    };
    let Some(Some(runner)) = runners.get(request.function as usize) else {
        return fail(out, OutcomeKind::Failed, &Error::UnknownFunction { name: format!("#{}", request.function) });
    };
    let mut call = Call { args, is_chunk: request.options & OPTION_CHUNK != 0, out, kind: OutcomeKind::Value };
    match guarded(|| runner.run(&mut call)) {
        Ok(()) => call.kind,
        Err(panic) => {
            out.clear();
            out.extend_from_slice(&panic);
            OutcomeKind::Panicked
        }
    }
}

#[cold]
fn fail(out: &mut Vec<u8>, kind: OutcomeKind, error: &Error) -> OutcomeKind {
    out.clear();
    out.extend_from_slice(error.to_string().as_bytes());
    kind
}

impl Segment {
    /// Whether any task is pending or running.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.lanes().any(|(_, lane)| {
            lane.slots.iter().any(|slot| {
                let state = slot.load();
                state.is(Phase::Pending) || state.is(Phase::Running)
            })
        })
    }
}
