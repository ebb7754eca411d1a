//! Waiting for many futures: one announcement word for each submitting process, and a queue for each wait.
//!
//! ```text
//! whoever ends a task whose NOTIFY flag is set        a waiting thread
//! 1 slot word: DONE or CANCELLED                      1 event_waiters += 1, read event
//! 2 list; bit in the lane's bitmap; event += 1        2 fence
//! 3 fence                                             3 drain list and bitmaps, look at its queue
//! 4 event_waiters != 0: futex wake (all)              4 empty: futex wait on event as read in 1
//! ```
//! Whoever drains them delivers to the queues of all waits of the process, and wakes their threads. So each end of a task costs one look,
//! however many futures a wait has. Bits are hints: a slot is delivered when its state word says that it is finished or gone.
//! A submitter has a bitmap in each of its lanes, and one list for all of them, which has the order: that of its lane for normal tasks.

use crate::error::Result;
use crate::life::Ended;
use crate::notifier::{Duty, Notifier};
use crate::pool::{Pool, Ticket, lock};
use crate::search::Rings;
use crate::state::{Flag, Phase, State};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU32, AtomicU64, Wait, fence, futex_wake};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

/// The queue of one wait: keys of its futures that are finished.
#[derive(Default)]
pub(crate) struct Queue {
    keys: Mutex<VecDeque<usize>>,
    /// Readable exactly while there are keys; changed under the lock of `keys`.
    fd: OnceLock<OwnedFd>,
    /// Counts what a thread about to sleep has to look at again: pools that are new, and that nothing is under way any more.
    changes: AtomicU32,
    /// When a wait for these keys looked after its pools last; 0 before the first wait. One wait may follow the other while others' events come and come.
    looked_at: AtomicU64,
}

impl Queue {
    pub(crate) fn push(&self, key: usize) {
        let mut keys = lock(&self.keys);
        if let Some(fd) = self.fd.get().filter(|_| keys.is_empty()) {
            crate::sys::eventfd_signal(fd.as_fd());
        }
        keys.push_back(key);
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        let mut keys = lock(&self.keys);
        let key = keys.pop_front()?;
        if let Some(fd) = self.fd.get().filter(|_| keys.is_empty()) {
            crate::sys::eventfd_drain(fd.as_fd());
        }
        Some(key)
    }

    fn is_empty(&self) -> bool {
        lock(&self.keys).is_empty()
    }

    /// Before the event that wakes who sleeps: pairs with the Acquire of the event, and of `changes`.
    pub(crate) fn change(&self) {
        self.changes.fetch_add(1, Release);
    }

    /// When a wait for these keys looked after its pools last, or when the first one began.
    pub(crate) fn looked_at(&self, now: u64) -> u64 {
        // Relaxed: a time of its own.
        self.looked_at.compare_exchange(0, now, Relaxed, Relaxed).err().unwrap_or(now)
    }

    pub(crate) fn note_look(&self, now: u64) {
        self.looked_at.store(now, Relaxed);
    }

    pub(crate) fn changes(&self) -> u32 {
        // Acquire: pairs with the Release in `change`.
        self.changes.load(Acquire)
    }

    /// A descriptor for `poll`. Whoever asks for it sees that the pools' hubs are drained.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>> {
        if self.fd.get().is_none() {
            let new = crate::sys::eventfd()?;
            let keys = lock(&self.keys);
            if self.fd.set(new).is_ok() && !keys.is_empty() {
                crate::sys::eventfd_signal(self.fd.get().expect("set just now").as_fd());
            }
        }
        Ok(self.fd.get().expect("set above").as_fd())
    }

    pub(crate) fn made_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.get().map(AsFd::as_fd)
    }

    pub(crate) fn has_fd(&self) -> bool {
        self.fd.get().is_some()
    }
}

/// What is called when a task is over.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// The waker of what awaits a task: that of the last poll.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Option<Waker>>);

impl Bell {
    /// Whoever polls looks at the task after that: an end before it has found the last waker, or none.
    pub(crate) fn set(&self, waker: &Waker) {
        let mut own = lock(&self.0);
        match &mut *own {
            Some(own) => own.clone_from(waker),
            None => *own = Some(waker.clone()),
        }
    }

    /// Wakes, outside the lock: a waker may poll.
    pub(crate) fn ring(&self) {
        let waker = lock(&self.0).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Who is told.
enum Target {
    Queue(Arc<Queue>, usize),
    Call(Callback),
    Bell(Arc<Bell>),
}

struct Watch {
    generation: u32,
    target: Target,
}

impl Watch {
    fn is_of(&self, queue: &Arc<Queue>) -> bool {
        matches!(&self.target, Target::Queue(own, _) if Arc::ptr_eq(own, queue))
    }

    fn rings(&self, bell: &Arc<Bell>) -> bool {
        matches!(&self.target, Target::Bell(own) if Arc::ptr_eq(own, bell))
    }

    /// The notifier that must drain the hub for this watch, though nobody waits.
    fn needs(&self, duty: Duty) -> bool {
        match &self.target {
            Target::Queue(queue, _) => duty == Duty::Wakes && queue.has_fd(),
            Target::Call(_) => duty == Duty::Calls,
            Target::Bell(_) => duty == Duty::Wakes,
        }
    }
}

/// The waits of a process on one pool, by slot.
#[derive(Default)]
pub(crate) struct Hub {
    watches: Mutex<HashMap<u32, Vec<Watch>>>,
    /// Callbacks whose tasks are over, in that order.
    calls: Mutex<VecDeque<Callback>>,
    /// Bells whose tasks are over.
    bells: Mutex<VecDeque<Arc<Bell>>>,
    notifiers: [Notifier; Duty::COUNT],
    /// Announcements that were looked at, in order.
    seen: Mutex<u32>,
}

pub(crate) fn is_unfinished(state: State, generation: u32) -> bool {
    state.generation() == generation && (state.is(Phase::Pending) || state.is(Phase::Running))
}

/// So many announcements behind one that is not written yet it is not looked for any more: only the order of the ends is lost by that.
const HOLE_AGE_MAX: u32 = 256;

/// The last task of a slot that is over, by the word of it.
fn last_over(state: State) -> u32 {
    if state.is_finished() { state.generation() } else { state.generation().wrapping_sub(1) }
}

impl Hub {
    /// Has `key` put into `queue` when the task is finished; at once if it is.
    pub(crate) fn watch(&self, pool: &Pool, ticket: Ticket, queue: &Arc<Queue>, key: usize) {
        self.watch_for(pool, ticket, Target::Queue(queue.clone(), key));
    }

    /// Has the notifier call `callback` when the task is finished.
    pub(crate) fn watch_to_call(&self, pool: &Pool, ticket: Ticket, callback: Callback) {
        self.watch_for(pool, ticket, Target::Call(callback));
    }

    /// Has the notifier ring `bell` when the task is finished.
    pub(crate) fn watch_to_ring(&self, pool: &Pool, ticket: Ticket, bell: &Arc<Bell>) {
        self.watch_for(pool, ticket, Target::Bell(bell.clone()));
    }

    fn watch_for(&self, pool: &Pool, ticket: Ticket, target: Target) {
        let watch = Watch { generation: ticket.generation, target };
        lock(&self.watches).entry(ticket.slot).or_default().push(watch);
        if pool.slot(ticket).flag(ticket.generation, Flag::Notify).is_err() {
            // First what ended before it: its worker announced that before it came to this one.
            self.drain_and_tell(pool);
            self.deliver(pool, ticket);
        }
    }

    /// Takes back what `watch` asked for.
    pub(crate) fn unwatch(&self, ticket: Ticket, queue: &Arc<Queue>) {
        self.forget(ticket, |w| w.is_of(queue));
    }

    /// Takes back what `watch_to_ring` asked for.
    pub(crate) fn unwatch_bell(&self, ticket: Ticket, bell: &Arc<Bell>) {
        self.forget(ticket, |w| w.rings(bell));
    }

    fn forget(&self, ticket: Ticket, is_meant: impl Fn(&Watch) -> bool) {
        let mut watches = lock(&self.watches);
        if let Some(of_slot) = watches.get_mut(&ticket.slot) {
            of_slot.retain(|w| !is_meant(w) || w.generation != ticket.generation);
            if of_slot.is_empty() {
                watches.remove(&ticket.slot);
            }
        }
    }

    /// Tells all waits for a finished task, and wakes their threads. Its slot may hold a later one by now.
    pub(crate) fn deliver(&self, pool: &Pool, ticket: Ticket) {
        if self.deliver_slot(pool, ticket.slot, |_| Some(ticket.generation)) {
            wake_event(pool);
        }
    }

    /// Looks at every slot that somebody waits for: an announcement may have been lost with who made it, or its bit.
    pub(crate) fn deliver_unannounced(&self, pool: &Pool) {
        // First what was announced, in that order: the table of watches has none.
        self.drain_and_tell(pool);
        let slots: Vec<u32> = lock(&self.watches).keys().copied().collect();
        let mut delivered = false;
        for &slot in &slots {
            // As for a bit: what ended before is in the list.
            let last = last_over(pool.slot(Ticket { slot, generation: 0 }).load());
            delivered |= self.drain_in_order(pool);
            delivered |= self.deliver_slot(pool, slot, |_| Some(last));
        }
        // What is left is said to be over by a damaged word alone, or has just ended, and is announced.
        let is_damaged = |slot: u32| {
            let state = pool.slot(Ticket { slot, generation: 0 }).load();
            let is_back = |w: &Watch| state.generation().wrapping_sub(w.generation).cast_signed() < 0;
            let is_none = state.phase().is_none() || state.is(Phase::Free);
            lock(&self.watches)
                .get(&slot)
                .is_some_and(|of_slot| of_slot.iter().any(|w| is_back(w) || is_none && !is_unfinished(state, w.generation)))
        };
        for slot in slots.into_iter().filter(|&slot| is_damaged(slot)) {
            delivered |= self.deliver_slot(pool, slot, |_| None);
        }
        if delivered {
            wake_event(pool);
        }
    }

    /// Looks at one slot and delivers what is over there: of the tasks up to a generation, if `up_to` gives one for the word that is found. True when anything
    /// was.
    fn deliver_slot(&self, pool: &Pool, slot: u32, up_to: impl FnOnce(State) -> Option<u32>) -> bool {
        let mut watches = lock(&self.watches);
        let Some(of_slot) = watches.get_mut(&slot) else { return false };
        let state = pool.slot(Ticket { slot, generation: 0 }).load();
        let last = up_to(state);
        let is_meant = |w: &Watch| last.is_none_or(|last| last.wrapping_sub(w.generation).cast_signed() >= 0);
        let mut delivered = false;
        for watch in of_slot.extract_if(.., |w| is_meant(w) && !is_unfinished(state, w.generation)) {
            delivered = true;
            self.tell(watch.target);
        }
        if of_slot.is_empty() {
            watches.remove(&slot);
        }
        delivered
    }

    fn tell(&self, target: Target) {
        match target {
            Target::Queue(queue, key) => queue.push(key),
            Target::Call(callback) => lock(&self.calls).push_back(callback),
            Target::Bell(bell) => lock(&self.bells).push_back(bell),
        }
    }

    /// Delivers everything that was announced.
    fn drain(&self, pool: &Pool) -> bool {
        let has_delivered = self.drain_in_order(pool);
        pool.own_lanes().filter(|&lane| self.drain_lane(pool, lane)).count() != 0 || has_delivered
    }

    fn drain_lane(&self, pool: &Pool, lane: usize) -> bool {
        let segment = pool.segment();
        let ring = segment.lane(lane);
        let mut delivered = false;
        for (i, word) in ring.ended.iter().enumerate() {
            // Acquire: pairs with the Release of whoever set a bit, so the slot's end is visible.
            let mut bits = word.load(Acquire);
            if bits != 0 {
                // Ends that came after the look at the list are in it by now, in their order, which the bits do not have.
                delivered |= self.drain_in_order(pool);
            }
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits &= !bit;
                let index = i * 64 + bit.trailing_zeros() as usize;
                let Some(slot) = ring.slots.get(index) else { break };
                let state = slot.load();
                let others = !state.is(Phase::Free) && slot.submitted_by() != pool.member.who();
                if others && slot.load().generation() == state.generation() {
                    // A shared lane: the bit belongs to another submitter.
                    continue;
                }
                // AcqRel: as the load above; the bit is ours to deliver now.
                word.fetch_and(!bit, AcqRel);
                // What ended before the task that is over now is in the list, before it. Of a later one the bit, which may be an old one, says nothing.
                let last = last_over(slot.load());
                delivered |= self.drain_in_order(pool);
                delivered |= self.deliver_slot(pool, segment.slot_number(lane, index), |_| Some(last));
            }
        }
        delivered
    }

    /// Delivers along the list, in the order of the announcements. What it misses, the bitmaps have.
    fn drain_in_order(&self, pool: &Pool) -> bool {
        let ring = pool.segment().lane(pool.lane);
        let mut seen = lock(&self.seen);
        // Acquire: pairs with the AcqRel of the announcers.
        let announced = ring.head.announced.load(Acquire);
        if *seen == announced {
            return false;
        }
        let len = ring.order.len();
        if announced.wrapping_sub(*seen) > len as u32 {
            *seen = announced.wrapping_sub(len as u32);
        }
        let mut delivered = false;
        let mut hole = None;
        while *seen != announced {
            let position = *seen;
            *seen = seen.wrapping_add(1);
            // Acquire: pairs with the Release of the announcer: the slot's end is visible.
            let entry = ring.order[position as usize & (len - 1)].load(Acquire);
            match Ended::at(position, len, entry) {
                // Whatever number stands there: those that we watch are our own. An announcement that comes late, when its task was delivered before, says
                // nothing of a later task in the slot.
                Some(ended) => {
                    delivered |=
                        self.deliver_slot(pool, ended.slot, |state| Some(ended.generation_up_to(state.generation())));
                }
                // Its announcer is about to write it, or dead.
                None if announced.wrapping_sub(position) <= HOLE_AGE_MAX => drop(hole.get_or_insert(position)),
                None => {}
            }
        }
        *seen = hole.unwrap_or(announced);
        delivered
    }

    pub(crate) fn notifier(&self, duty: Duty) -> &Notifier {
        &self.notifiers[duty as usize]
    }

    /// The next callback whose task is over.
    pub(crate) fn next_call(&self) -> Option<Callback> {
        lock(&self.calls).pop_front()
    }

    /// The next bell whose task is over.
    pub(crate) fn next_bell(&self) -> Option<Arc<Bell>> {
        lock(&self.bells).pop_front()
    }

    /// Whether a notifier has something to do.
    pub(crate) fn has_work(&self, duty: Duty) -> bool {
        match duty {
            Duty::Calls => !lock(&self.calls).is_empty(),
            Duty::Wakes => !lock(&self.bells).is_empty(),
        }
    }

    /// Delivers everything, over or not: the pool can say nothing of its tasks any more.
    pub(crate) fn give_up(&self, pool: &Pool) {
        let watches = std::mem::take(&mut *lock(&self.watches));
        if !watches.is_empty() {
            watches.into_values().flatten().for_each(|watch| self.tell(watch.target));
            wake_event(pool);
        }
    }

    /// Whether there are watches that only this notifier serves.
    pub(crate) fn needs_notifier(&self, duty: Duty) -> bool {
        lock(&self.watches).values().flatten().any(|watch| watch.needs(duty))
    }

    /// Drains, and wakes the threads of other waits when something was delivered.
    pub(crate) fn drain_and_tell(&self, pool: &Pool) {
        if self.drain(pool) && pool.member.record().event_waiters.load(Relaxed) != 0 {
            wake_event(pool);
        }
    }
}

pub(crate) fn wake_event(pool: &Pool) {
    let record = pool.member.record();
    // Release: the queues were filled before (their own mutexes order them); pairs with the futex wait's compare.
    record.event.fetch_add(1, Release);
    fence(SeqCst);
    if record.event_waiters.load(Relaxed) != 0 {
        futex_wake(&record.event, i32::MAX);
    }
}

/// The next key of `queue`, or `None` at the deadline, when the queue's changes are not those `seen`, or (having slept) when it is time to look
/// after things, or when something else is `ready`.
pub(crate) fn next(
    pools: &[Arc<Pool>],
    queue: &Arc<Queue>,
    changes: u32,
    until_ns: u64,
    ready: impl Fn() -> bool,
) -> Option<usize> {
    for pool in pools {
        pool.hub.drain_and_tell(pool);
    }
    if let Some(key) = queue.pop() {
        return Some(key);
    }
    let most_ns = until_ns.saturating_sub(crate::sync::now_ns());
    let spun = crate::spin::until(pools[0].segment(), 0, most_ns, || {
        pools.iter().for_each(|pool| pool.hub.drain_and_tell(pool));
        queue.pop()
    });
    if spun.is_some() {
        return spun;
    }
    doze(pools, until_ns, || !queue.is_empty() || queue.changes() != changes || ready());
    queue.pop()
}

/// Sleeps until an event of one of the pools, or the time, and delivers what was announced. Not at all when there is something `ready` after the
/// sleep was announced.
pub(crate) fn doze(pools: &[Arc<Pool>], until_ns: u64, ready: impl Fn() -> bool) {
    let seen: Vec<u32> = pools
        .iter()
        .map(|pool| {
            let record = pool.member.record();
            record.event_waiters.fetch_add(1, Relaxed);
            // Acquire: pairs with the Release of whoever counts an event.
            record.event.load(Acquire)
        })
        .collect();
    // Pairs with the fences of `wake_event` and `announce_end`.
    fence(SeqCst);
    for pool in pools {
        pool.hub.drain_and_tell(pool);
    }
    if !ready() {
        sleep(pools, &seen, until_ns);
    }
    for pool in pools {
        pool.member.record().event_waiters.fetch_sub(1, Relaxed);
        pool.hub.drain_and_tell(pool);
    }
}

fn sleep(pools: &[Arc<Pool>], seen: &[u32], until_ns: u64) -> Wait {
    match pools {
        [pool] => crate::sync::futex_wait(&pool.member.record().event, seen[0], Some(until_ns)),
        _ => {
            let words: Vec<_> = pools.iter().map(|p| &p.member.record().event).zip(seen.iter().copied()).collect();
            crate::sys::futex_wait_any(&words, Some(until_ns))
        }
    }
}
