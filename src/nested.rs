//! Tasks that wait for tasks of their own pool.
//!
//! A worker that waits runs nothing, and when all of them wait, nobody is left to run what they wait for. So a task that waits without a time limit
//! first runs what it waits for, if nobody has begun with it, on top of itself. Only that: another task might wait for one that lies below it. In a full
//! ring it runs what tasks of the same worker have submitted, which know of no task below.
//! What has begun elsewhere is waited for, and the pool's owner may start another worker meanwhile (`hiring.rs`); a wait that could never end, for what is waited for waits in its turn for the one that waits, is refused.
//!
//! A future belongs to one process, so what threads of one process wait for, in whichever pool, stands in private memory. Tasks for one worker can lead from
//! process to process: what each worker of a pool waits for there stands in shared memory as well (`circle.rs`).

use crate::circle;
use crate::error::{Error, Result};
use crate::layout::Slot;
use crate::life::Bit;
use crate::mutex::ShmMutex;
use crate::perform::Performer;
use crate::pool::{Pool, Ticket, lock};
use crate::record::RecordState;
use crate::registry::Member;
use crate::ring::Claim;
use crate::search::{Rings, Task};
use crate::segment::Segment;
use crate::setup;
use crate::slot::WANTED_LATER;
use crate::state::{Participant, Phase, State};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::task;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Tasks on top of each other in one worker. A thread's stack has 2 MiB, if its owner asked for no other one.
const DEPTH_MAX: usize = 64;

/// A task: its pool, by the number that no other pool has, and its own.
type Key = (u64, u64);

/// A worker's context is with one task at a time.
const IN_CONTEXT: Error =
    Error::Unsupported { what: "to wait for a task that takes a context", with: "in one that has its worker's" };

fn key_of(segment: &Segment, task: u64) -> Key {
    (segment.header().identity.nonce.load(Relaxed), task)
}

/// What a thread that serves a pool keeps for the waits of its tasks.
struct Serving {
    performer: Rc<Performer>,
    /// The tasks that wait below the one that runs.
    below: RefCell<Vec<Key>>,
    /// Of those that run on top of others: the ones whose events these wait for.
    read_below: RefCell<Vec<Key>>,
    /// What its record says that it waits for.
    said: RefCell<Vec<u64>>,
    /// What is to be done before the worker leaves its seat.
    at_leave: RefCell<Vec<Box<dyn FnOnce()>>>,
}

impl Serving {
    /// Has the record say what this worker waits for. Returns what it said before.
    fn say(&self, tasks: Vec<u64>) -> Vec<u64> {
        let member = &self.performer.member;
        let before = self.said.replace(tasks);
        let said = self.said.borrow();
        if *said != before && member.seat.is_ours(member.record()) {
            circle::say(member.record(), &said);
        }
        before
    }

    /// The same for a wait that is about to begin. Returns what it said before.
    ///
    /// # Errors
    /// `WouldDeadlock` when the wait could never end; then it says what it said before.
    fn say_if_it_ends(&self, tasks: Vec<u64>) -> Result<Vec<u64>> {
        let member = &self.performer.member;
        let (segment, records) = (&*member.segment, member.segment.records());
        let before = self.said.borrow().clone();
        if tasks == before || !member.seat.is_ours(member.record()) {
            return Ok(before);
        }
        let is_dead = |seat: usize| {
            let state = RecordState::of(&records[seat]);
            member.is_dead(Participant::new(seat, state.incarnation()))
        };
        let turn = || ShmMutex(&segment.header().registry_mutex).lock(member.who(), member).ok();
        let needs = |task| segment.needed_for(task);
        if !circle::may_wait(records, member.who().index(), [&before, &tasks], needs, is_dead, turn) {
            return Err(Error::WouldDeadlock);
        }
        self.said.replace(tasks);
        Ok(before)
    }
}

thread_local! {
    static SERVING: RefCell<Option<Rc<Serving>>> = const { RefCell::new(None) };
}

/// While it lives, tasks that run in this thread can run others on top of them.
pub(crate) struct Served {
    /// Of a thread that serves another pool in one of its tasks.
    outer: Option<Rc<Serving>>,
}

/// This thread serves a pool.
pub(crate) fn serve(performer: Rc<Performer>) -> Served {
    let serving = Serving {
        performer,
        below: RefCell::default(),
        read_below: RefCell::default(),
        said: RefCell::default(),
        at_leave: RefCell::default(),
    };
    Served { outer: SERVING.replace(Some(Rc::new(serving))) }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(serving) = SERVING.replace(self.outer.take()) else { return };
        let at_leave = serving.at_leave.take();
        at_leave.into_iter().for_each(|last| last());
    }
}

/// The worker of this thread, if it runs a task. In a task that serves another pool, what that worker does beside its own tasks (a hook) is in none.
fn serving() -> Option<Rc<Serving>> {
    let serving = SERVING.try_with(|serving| serving.borrow().clone()).ok().flatten();
    serving.filter(|serving| task::is_running_in(&serving.performer.member.segment))
}

/// The same for a task of this pool, by whichever mapping.
fn serving_in(pool: &Pool) -> Option<Rc<Serving>> {
    let same = |serving: &Rc<Serving>| key_of(&serving.performer.member.segment, 0) == key_of(pool.segment(), 0);
    serving().filter(same)
}

/// Whether this thread runs a task of this pool.
pub(crate) fn is_in_task_of(pool: &Pool) -> bool {
    task::is_running() && serving_in(pool).is_some()
}

/// The pool whose task this thread runs.
pub(crate) fn segment_of_task() -> Option<Arc<Segment>> {
    serving().map(|serving| serving.performer.member.segment.clone())
}

/// Does something with the seat of the worker whose task this thread runs; `None` outside a task.
pub(crate) fn with_seat_of_task<R>(act: impl FnOnce(&Member) -> R) -> Option<R> {
    serving().map(|serving| act(&serving.performer.member))
}

/// Has something done before the worker of this thread leaves.
pub(crate) fn at_leave(last: impl FnOnce() + 'static) {
    if let Some(serving) = serving() {
        serving.at_leave.borrow_mut().push(Box::new(last));
    }
}

/// For a task that waits for another one of its pool: runs that one here and now, if nobody has begun with it and this worker can. True when it did.
#[cold]
pub(crate) fn help(pool: &Pool, ticket: Ticket) -> Result<bool> {
    let Some(serving) = serving_in(pool) else { return Ok(false) };
    let performer = &*serving.performer;
    let segment = &*performer.member.segment;
    if segment.has(Bit::Broken) || segment.has(Bit::Corrupt) || !performer.member.seat.is_ours(performer.member.record()) {
        return Ok(false);
    }
    let (lane, index) = segment.geometry().split(ticket.slot);
    let slot = &segment.lane(lane).slots[index];
    let seen = slot.load();
    let is_unfinished = (seen.is(Phase::Pending) || seen.is(Phase::Running)) && seen.generation() == ticket.generation;
    if is_unfinished && setup::is_lent() && performer.is_in_context(slot.function_index()) {
        // Whoever runs it, so that it does not depend on who was quicker.
        return Err(IN_CONTEXT);
    }
    let is_pending = seen.is(Phase::Pending) && seen.generation() == ticket.generation;
    let wanted = slot.wanted();
    // One that is to begin later is not begun before, also by who waits for it.
    let is_later = wanted & WANTED_LATER != 0;
    if !is_pending
        || !performer.can_run(wanted & !WANTED_LATER)
        || is_later && segment.waits_until(lane, index, now_ns()).is_some()
    {
        return Ok(false);
    }
    if serving.below.borrow().len() >= DEPTH_MAX {
        return Err(Error::TooMany { what: "tasks that wait on top of each other in one worker", max: DEPTH_MAX });
    }
    // The place in the lane stays for a head to step over, as after a look at every slot.
    let claimed = match is_later {
        false => {
            slot.claim(seen, performer.member.who()).ok().map(|state| Task { lane, claim: Claim { slot: index, state } })
        }
        true => performer.claim_later(lane, index, seen),
    };
    let Some(task) = claimed else { return Ok(false) };
    serving.below.borrow_mut().push(key_of(segment, task::id()));
    // While it helps it does not wait.
    let waits = performer.member.record().awaits.swap(0, Relaxed);
    let said = serving.say(Vec::new());
    // With one of these condemned it begins nothing more. The claim has no note yet, so its reaper puts the task back as it was.
    serving.below.borrow().iter().for_each(|&(_, task)| performer.fall_with(task));
    performer.perform(segment, task, &mut Vec::new());
    if performer.take_owed().is_some() {
        // This worker goes on with the task below it.
        segment.tell_of_put_back(segment.sleepers());
    }
    if performer.member.seat.is_ours(performer.member.record()) {
        performer.member.record().awaits.store(waits, Relaxed);
    }
    // No look for a circle: it waits on for a task that is over, or that it can begin itself.
    serving.say(said);
    serving.below.borrow_mut().pop();
    Ok(true)
}

/// The same for one that waits for the other one's events.
#[cold]
pub(crate) fn help_to_read(pool: &Pool, ticket: Ticket) -> Result<bool> {
    let Some(serving) = serving_in(pool) else { return Ok(false) };
    serving.read_below.borrow_mut().push(key_of(pool.segment(), ticket.id()));
    let helped = help(pool, ticket);
    serving.read_below.borrow_mut().pop();
    helped
}

/// Whether the task that is to read this one's events waits below it, for its end.
#[cold]
pub(crate) fn is_read_below(segment: &Segment, task: u64) -> bool {
    serving().is_some_and(|serving| serving.read_below.borrow().contains(&key_of(segment, task)))
}

/// For a task that finds a ring of its worker's tasks full: runs the oldest one in it that nobody has begun with and that can run here. True when there was one.
#[cold]
pub(crate) fn help_oldest(pool: &Pool, lane: usize) -> Result<bool> {
    if !pool.of_tasks || !is_in_task_of(pool) {
        return Ok(false);
    }
    let ring = pool.segment().lane(lane);
    let from = ring.next_slot();
    for step in 0..pool.capacity() {
        let index = (from + step) & (pool.capacity() - 1);
        let state = ring.slots[index].load();
        if state.is(Phase::Pending) && ring.slots[index].submitted_by() == pool.member.who() {
            let ticket = Ticket { slot: pool.segment().slot_number(lane, index), generation: state.generation() };
            match help(pool, ticket) {
                // Another worker may have its context free.
                Ok(false) | Err(Error::Unsupported { .. }) => {}
                other => return other,
            }
        }
    }
    Ok(false)
}

/// For a task that waits for room in a ring: that is there once any of the tasks in it is over.
///
/// # Errors
/// As [`begin_wait`]; `Unsupported` in place of `WouldDeadlock` when it could run some of them, did it not have its worker's context.
#[cold]
pub(crate) fn begin_wait_for_room(pool: &Pool, lane: usize) -> Result<Option<Waits>> {
    let Some(serving) = serving_in(pool).filter(|_| task::is_running()) else { return Ok(None) };
    let segment = pool.segment();
    let slots: Vec<_> =
        segment.lane(lane).slots.iter().enumerate().map(|(index, slot)| (index, slot, slot.load())).collect();
    let number =
        |index, state: State| Ticket { slot: segment.slot_number(lane, index), generation: state.generation() }.id();
    let is_unfinished = |state: State| state.is(Phase::Pending) || state.is(Phase::Running);
    let unfinished = slots.iter().filter(|(.., state)| is_unfinished(*state));
    let awaits = unfinished.map(|&(index, _, state)| key_of(segment, number(index, state))).collect();
    // The other workers are told one task of each kind, for what wants the same needs the same workers. Over its quota its own tasks count alone.
    let is_over_quota = pool.is_over_quota(lane);
    let counted: Vec<_> = slots
        .into_iter()
        .filter(|(_, slot, _)| !is_over_quota || slot.submitted_by() == pool.member.who())
        .map(|(index, slot, state)| (slot, state, number(index, state)))
        .collect();
    let mut pending = BTreeMap::new();
    for (slot, _, task) in counted.iter().filter(|(_, state, _)| state.is(Phase::Pending)) {
        pending.entry(slot.wanted()).or_insert(*task);
    }
    let mut running = BTreeMap::new();
    for (_, state, task) in counted.iter().filter(|(_, state, _)| state.is(Phase::Running)) {
        running.entry(state.owner().index()).or_insert(*task);
    }
    // Who runs one of them and could run what is pending is one of those that are needed for that.
    running.retain(|&seat, _| !pending.keys().any(|&wanted| segment.may_run(seat, wanted)));
    let is_full = counted.iter().all(|(_, state, _)| is_unfinished(*state));
    let said = if is_full { pending.values().chain(running.values()).copied().collect() } else { Vec::new() };
    let takes_context = |(slot, state, _): &(&Slot, State, u64)| {
        state.is(Phase::Pending) && serving.performer.is_in_context(slot.function_index())
    };
    let is_refused = setup::is_lent() && counted.iter().any(takes_context);
    begin_wait_saying(serving, awaits, said).map(Some).map_err(|error| match error {
        Error::WouldDeadlock if is_refused => IN_CONTEXT,
        error => error,
    })
}

/// A thread that waits in a task.
struct Waiter {
    number: u64,
    /// The tasks that it runs, the waiting one last.
    runs: Vec<Key>,
    /// It waits until one of these is over.
    awaits: Vec<Key>,
}

static WAITERS: Mutex<Vec<Waiter>> = Mutex::new(Vec::new());

/// Says that this thread waits, until dropped.
pub(crate) struct Waits {
    number: u64,
    /// Where the pool's owner is told as well: others may be started meanwhile (`hiring.rs`).
    performer: Option<Rc<Performer>>,
    /// Whose record says so, and what it said before.
    serving: Rc<Serving>,
    before: Vec<u64>,
}

/// For a task that is about to wait until one of others is over: says so to the threads of this process, and to the workers of its pool.
///
/// # Errors
/// `WouldDeadlock` when none of them can end before the waiting task does. Of those in a circle one is told, and no other one.
pub(crate) fn begin_wait<'a>(awaited: impl Iterator<Item = (&'a Pool, Ticket)>) -> Result<Option<Waits>> {
    let Some(serving) = serving() else { return Ok(None) };
    let awaits: Vec<Key> = awaited.map(|(pool, ticket)| key_of(pool.segment(), ticket.id())).collect();
    let own = serving.performer.member.segment.header().identity.nonce.load(Relaxed);
    // Of other pools' tasks nobody in this one knows anything.
    let is_within = awaits.iter().all(|&(nonce, _)| nonce == own);
    let said = if is_within { awaits.iter().map(|&(_, task)| task).collect() } else { Vec::new() };
    begin_wait_saying(serving, awaits, said).map(Some)
}

/// The same with what the other workers of its pool are told that it waits for.
fn begin_wait_saying(serving: Rc<Serving>, awaits: Vec<Key>, said: Vec<u64>) -> Result<Waits> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut runs = serving.below.borrow().clone();
    runs.push(key_of(&serving.performer.member.segment, task::id()));
    let number = NEXT.fetch_add(1, Relaxed);
    let mut waiters = lock(&WAITERS);
    waiters.push(Waiter { number, runs, awaits });
    if is_last_stuck(&waiters) {
        waiters.pop();
        return Err(Error::WouldDeadlock);
    }
    drop(waiters);
    let before = serving.say_if_it_ends(said).inspect_err(|_| forget(number))?;
    let is_told = |performer: &Rc<Performer>| {
        let member = &performer.member;
        member.segment.demand().is_some_and(|demand| demand.replacements != 0) && member.seat.is_ours(member.record())
    };
    let performer = Some(serving.performer.clone()).filter(is_told);
    if let Some(performer) = &performer {
        performer.member.record().awaits.fetch_add(1, Relaxed);
        // The ring is what tells: the owner counts those that wait before it sets its mark, so that neither its mark nor a fence would be enough. After the ring it
        // counts once more, and sees this; then it sets its mark, and looks at the tasks.
        performer.member.ring_owner();
    }
    Ok(Waits { number, performer, serving, before })
}

/// A thread that waits no more.
fn forget(number: u64) {
    lock(&WAITERS).retain(|waiter| waiter.number != number);
}

impl Drop for Waits {
    fn drop(&mut self) {
        forget(self.number);
        self.serving.say(std::mem::take(&mut self.before));
        if let Some(performer) = self.performer.take().filter(|p| p.member.seat.is_ours(p.member.record())) {
            let member = &performer.member;
            // Of a word that nobody has written nothing depends but how many are started.
            let waits = member.record().awaits.load(Relaxed);
            member.record().awaits.store(waits.saturating_sub(1), Relaxed);
            if waits <= 1 && member.segment.life().replacements.load(Relaxed) != 0 {
                member.ring_owner();
            }
        }
    }
}

/// Whether the last of these waits for ever: all that it waits for is run by threads that wait, and do so for ever.
fn is_last_stuck(waiters: &[Waiter]) -> bool {
    // At first everybody is held to be stuck; who waits for a task that goes on is not, nor who waits for such a one's tasks, and so on.
    let mut stuck = vec![true; waiters.len()];
    loop {
        let goes_on = |key: &Key| !waiters.iter().zip(&stuck).any(|(waiter, &stuck)| stuck && waiter.runs.contains(key));
        let freed: Vec<usize> = (0..waiters.len())
            .filter(|&i| stuck[i] && (waiters[i].awaits.is_empty() || waiters[i].awaits.iter().any(goes_on)))
            .collect();
        if freed.is_empty() {
            return stuck.last().copied().unwrap_or(false);
        }
        freed.into_iter().for_each(|i| stuck[i] = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(runs: &[u64], awaits: &[u64]) -> Waiter {
        let keys = |tasks: &[u64]| tasks.iter().map(|&task| (0, task)).collect();
        Waiter { number: 0, runs: keys(runs), awaits: keys(awaits) }
    }

    #[test]
    fn a_circle_is_seen_by_the_last_one_in_it() {
        assert!(is_last_stuck(&[waiter(&[1], &[2]), waiter(&[2], &[1])]));
        assert!(is_last_stuck(&[waiter(&[1], &[2]), waiter(&[2], &[3]), waiter(&[3], &[1])]));
        // One that waits for itself, and one for a task below it.
        assert!(is_last_stuck(&[waiter(&[1], &[1])]));
        assert!(is_last_stuck(&[waiter(&[1, 2], &[1])]));
        // Two threads, each with a task on top of another.
        assert!(is_last_stuck(&[waiter(&[1, 2], &[3]), waiter(&[3, 4], &[1])]));
    }

    #[test]
    fn who_waits_for_a_task_that_goes_on_is_not_stuck() {
        assert!(!is_last_stuck(&[waiter(&[1], &[2])]));
        assert!(!is_last_stuck(&[waiter(&[2], &[9]), waiter(&[1], &[2])]));
        // One of several is enough.
        assert!(!is_last_stuck(&[waiter(&[1], &[2, 9]), waiter(&[2], &[1])]));
        assert!(is_last_stuck(&[waiter(&[1], &[2, 3]), waiter(&[3], &[2]), waiter(&[2], &[1])]));
        // A circle of others, of which one was told already, is none of ours.
        assert!(!is_last_stuck(&[waiter(&[1], &[2]), waiter(&[7], &[8])]));
    }
}
