//! Events of a running task: each is kept, in order, until whoever has submitted the task reads it.
//!
//! The first one takes a block of payload memory for the task's ring (`event_ring.rs`), and it is the slot's from then on: through every attempt, until the slot
//! is free. Who is about to free a slot whose task has unread events, and whose future lives, moves them into a table of the process first.
//!
//! | the sender dies | then |
//! |---|---|
//! | with the block its own, named or not | the block is swept with its others; without the flag the name says nothing |
//! | with the block the slot's, before the flag EVENTS | `free_untold_events`, by its reaper |
//! | with the flag, in a record or behind it | the ring stays, with every whole record |
//! | after the slot was freed, before its block was | the generation has moved on: the block is swept |
//!
//! Who reads holds the lock of that table: so one thread reads at a time, and the slot is neither freed nor let go meanwhile, for all who would do that while
//! the future lives are of its process and take the lock, too.

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::event_ring::{EVENT_LEN_MAX, Event, EventRing, Put, RING_LEN, WORDS, wake_readers};
use crate::future::{Core, Future};
use crate::hub;
use crate::limits::{EVENTS_LEN, nanos};
use crate::nested;
use crate::pace::WaitPace;
use crate::payload::Holder;
use crate::pool::{Pool, Ticket, lock};
use crate::registry::Member;
use crate::search::Rings;
use crate::segment::Segment;
use crate::state::{Flag, State};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU64, now_ns};
use crate::task;
use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Events whose slots were freed before anybody had read them, oldest first.
#[derive(Default)]
pub(crate) struct KeptEvents {
    /// Locked last of all that a process collects.
    table: Mutex<HashMap<Ticket, VecDeque<Vec<u8>>>>,
    /// Tasks in it: whoever finds 0 need not look.
    count: AtomicUsize,
}

impl Segment {
    /// The ring of a slot whose word says `EVENTS`. What contradicts that is damage.
    fn events_of(&self, number: u32, generation: u32) -> Result<EventRing<'_>> {
        let name =
            self.slot_at(number).and_then(|(lane, index)| self.events_name(lane, index)).map_or(0, |n| n.load(Relaxed));
        if name == 0 || !self.holds_block(name, Holder::Slot { number, generation }) {
            return Err(self.poison(format!("payload block {name}, the events of slot {number}")));
        }
        self.ring_in(name)
    }

    /// A ring in a block that the caller knows to be the slot's, or his own.
    fn ring_in(&self, name: u32) -> Result<EventRing<'_>> {
        let at = self.block_bytes(name, EVENTS_LEN)?.cast::<[AtomicU64; WORDS]>();
        if !at.is_aligned() {
            return Err(self.poison(format!("the place of payload block {name}")));
        }
        // SAFETY: `block_bytes` has checked that `EVENTS_LEN` bytes, which are as many words, lie in committed payload memory, mapped for as long as the segment
        // lives, and they are aligned; any bytes are valid atomics, and while the block is a ring nothing else touches them.
        Ok(EventRing::in_block(unsafe { &*at }))
    }

    fn damaged_events(&self, number: u32) -> Error {
        self.poison(format!("the events of slot {number}"))
    }

    /// Frees the block of events of a slot that was freed as this word.
    #[inline]
    pub(crate) fn free_events(&self, old: State, number: u32) {
        if old.has(Flag::Events) {
            self.free_events_of(number, old.generation());
        }
    }

    #[cold]
    fn free_events_of(&self, number: u32, generation: u32) {
        let name =
            self.slot_at(number).and_then(|(lane, index)| self.events_name(lane, index)).map_or(0, |n| n.load(Relaxed));
        if !self.free_block(name, Holder::Slot { number, generation }) {
            // The next task in the slot has sent an event already: by the slot's generation the block is garbage.
            self.sweep_blocks(None);
        }
    }

    /// For the reaper of a worker that may have died between the hand-over of a task's block of events and the flag that tells of it: frees that block. The
    /// slot holds no other one by then but its arguments, whose name an old one beside the slot may be.
    pub(crate) fn free_untold_events(&self, state: State, number: u32, args_block: u32) {
        if state.has(Flag::Events) {
            return;
        }
        let name =
            self.slot_at(number).and_then(|(lane, index)| self.events_name(lane, index)).map_or(0, |n| n.load(Relaxed));
        if name != args_block {
            self.free_block(name, Holder::Slot { number, generation: state.generation() });
        }
    }
}

impl Member {
    /// Sends an event of a task that this worker runs.
    fn send_event(&self, number: u32, generation: u32, bytes: &[u8]) -> Result<()> {
        let segment = &*self.segment;
        let outside = Error::Unsupported { what: "to send an event", with: "outside a task" };
        let (lane, index) = segment.slot_at(number).ok_or(outside)?;
        let slot = &segment.lane(lane).slots[index];
        let state = slot.load();
        if state.has(Flag::Detached) || !state.is_run_by(self.who(), generation) {
            // Nobody will read it.
            return Ok(());
        }
        let ring = match state.has(Flag::Events) {
            true => Some(segment.events_of(number, generation)?),
            false => self.begin_events(lane, index, generation)?,
        };
        let Some(ring) = ring else { return Ok(()) };
        match ring.put(bytes).map_err(|_| segment.damaged_events(number))? {
            Put::Full { unread } => {
                let (len, unread, max) = (bytes.len() as u64, unread as u64, RING_LEN as u64);
                return Err(Error::EventsFull { len, unread, max });
            }
            Put::Sent => {}
        }
        if let Some(record) = segment.records().get(slot.submitted_by().index()) {
            wake_readers(record);
        }
        Ok(())
    }

    /// Gives a task its ring. `None` when it is this worker's no more.
    #[cold]
    fn begin_events(&self, lane: usize, index: usize, generation: u32) -> Result<Option<EventRing<'_>>> {
        let segment = &*self.segment;
        segment.use_extras(lane)?;
        let lease = self.allocate(EVENTS_LEN).map_err(|e| match e {
            // What is too large is none of the task's.
            Error::PayloadTooLarge { len, max } => {
                Error::OutOfMemory { what: "the events of a task", needed: len, available: max }
            }
            e => e,
        })?;
        let (name, number) = (lease.name(), segment.slot_number(lane, index));
        let ring = segment.ring_in(name)?;
        ring.clear();
        // First the name, so that a reaper finds the block; then the block; then the flag, by which others know of it.
        if let Some(word) = segment.events_name(lane, index) {
            word.store(name, Relaxed);
        }
        if !lease.hand_to(number, generation) {
            return Err(segment.poison(format!("the owner of payload block {name}")));
        }
        if segment.lane(lane).slots[index].begin_events(self.who(), generation).is_err() {
            segment.free_block(name, Holder::Slot { number, generation });
            return Ok(None);
        }
        Ok(Some(ring))
    }
}

impl Pool {
    /// The task's oldest unread event, if it has no more bytes than `room`.
    fn take_event(&self, ticket: Ticket, room: usize) -> Result<Option<Event>> {
        let mut table = lock(&self.collected.events.table);
        if let Some(kept) = table.get_mut(&ticket) {
            if let Some(next) = kept.front().filter(|next| next.len() > room) {
                return Ok(Some(Event::TooLarge(next.len())));
            }
            return Ok(kept.pop_front().map(Event::Bytes));
        }
        match self.ring_to_read(ticket)? {
            None => Ok(None),
            Some(ring) => ring.take(room).map_err(|_| self.segment().damaged_events(ticket.slot)),
        }
    }

    /// Whether there is an event, or an error to tell.
    fn has_event(&self, ticket: Ticket) -> bool {
        let table = lock(&self.collected.events.table);
        match table.get(&ticket) {
            Some(kept) => !kept.is_empty(),
            None => self.ring_to_read(ticket).map_or(true, |ring| ring.is_some_and(EventRing::has_any)),
        }
    }

    /// The ring of a task that has one and was not let go. For who holds the lock of the table.
    fn ring_to_read(&self, ticket: Ticket) -> Result<Option<EventRing<'_>>> {
        let state = self.slot(ticket).load();
        if state.generation() != ticket.generation || !state.has(Flag::Events) || state.has(Flag::Detached) {
            return Ok(None);
        }
        self.segment().events_of(ticket.slot, ticket.generation).map(Some)
    }

    /// Frees a finished slot that this thread has taken, and whose outcome is kept: its unread events are kept first.
    #[cold]
    pub(crate) fn give_back_with_events(&self, ticket: Ticket, finished: State) {
        // Held until the block is free: who reads it holds it, too.
        let mut table = lock(&self.collected.events.table);
        let mut unread = VecDeque::new();
        // Of a damaged one the pool is told.
        if let Ok(ring) = self.segment().events_of(ticket.slot, ticket.generation) {
            loop {
                match ring.take(usize::MAX) {
                    Ok(Some(Event::Bytes(bytes))) => unread.push_back(bytes),
                    Ok(_) => break,
                    Err(_) => {
                        self.segment().damaged_events(ticket.slot);
                        break;
                    }
                }
            }
        }
        if !unread.is_empty() {
            table.insert(ticket, unread);
            self.collected.events.count.fetch_add(1, Relaxed);
        }
        let (lane, index) = self.segment().geometry().split(ticket.slot);
        let name = self.segment().events_name(lane, index).map_or(0, |n| n.load(Relaxed));
        self.give_back(ticket, self.slot(ticket), finished);
        let Ticket { slot: number, generation } = ticket;
        self.segment().free_block(name, Holder::Slot { number, generation });
    }

    /// Has nobody collect a task that has sent events. `Err` is what was found instead.
    #[cold]
    pub(crate) fn detach_with_events(&self, ticket: Ticket) -> std::result::Result<State, State> {
        // Not while somebody reads: its worker frees the block at the end.
        let _readers = lock(&self.collected.events.table);
        self.slot(ticket).flag(ticket.generation, Flag::Detached)
    }

    /// Drops what is kept of a task whose future is gone.
    #[inline]
    pub(crate) fn forget_events(&self, ticket: Ticket) {
        // Relaxed: whoever has kept some has freed the slot after that, or shares the future.
        if self.collected.events.count.load(Relaxed) != 0 && !self.member.is_foreign() {
            self.forget_kept_events(ticket);
        }
    }

    #[cold]
    fn forget_kept_events(&self, ticket: Ticket) {
        let forgotten = lock(&self.collected.events.table).remove(&ticket);
        if forgotten.is_some() {
            self.collected.events.count.fetch_sub(1, Relaxed);
        }
    }
}

/// A wait for events that come one after the other: when it looks after the pool.
pub(crate) struct EventPace(WaitPace);

impl EventPace {
    pub(crate) fn new() -> EventPace {
        EventPace(WaitPace::new(now_ns()))
    }
}

impl Core {
    /// The task's oldest unread event, without waiting. One of more than `room` bytes is not taken.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Corrupt`].
    pub(crate) fn next_event_bytes(&self, room: usize) -> Result<Option<Event>> {
        self.pool.member.check_fork()?;
        self.pool.take_event(self.ticket, room)
    }

    /// The same, waiting for it; `None` when the task is over and there is none.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and those of the wait for a result that are not the task's own.
    pub(crate) fn wait_event(&self, timeout: Option<Duration>, room: usize, pace: &mut EventPace) -> Result<Option<Event>> {
        let pool = &self.pool;
        // As a wait for a result: one with a time limit keeps to it.
        let is_nested = timeout.is_none() && nested::is_in_task_of(pool);
        let deadline = timeout.map_or(u64::MAX, |t| now_ns().saturating_add(nanos(t)));
        let is_ready = || pool.has_event(self.ticket) || self.is_over();
        let mut has_spun = false;
        let mut waits = None;
        pace.0.came();
        loop {
            // Asked before the look: what was sent before the end is there then.
            let is_over = self.is_over();
            if let Some(event) = self.next_event_bytes(room)? {
                return Ok(Some(event));
            }
            if is_over {
                return Ok(None);
            }
            if is_nested {
                if nested::help(pool, self.ticket)? {
                    continue;
                }
                if waits.is_none() {
                    waits = nested::begin_wait(std::iter::once((&**pool, self.ticket)))?;
                }
            }
            let now = now_ns();
            if now >= deadline {
                return Err(Error::TimedOut { what: "an event of the task", after: timeout.unwrap_or_default() });
            }
            if !std::mem::replace(&mut has_spun, true) {
                let _ = crate::spin::until(pool.segment(), 0, deadline - now, || is_ready().then_some(()));
                continue;
            }
            let Some(until) = pace.0.until(now) else {
                pace.0.looked(now);
                pool.look_after_waits()?;
                continue;
            };
            // A task that waits for another one begins it when its time has come.
            let (lane, index) = pool.segment().geometry().split(self.ticket.slot);
            let until = pool.segment().waits_until(lane, index, now).map_or(until, |at| at.min(until));
            // Its end is announced from now on, if it is not over already.
            if pool.slot(self.ticket).flag(self.ticket.generation, Flag::Notify).is_ok() {
                hub::doze(std::slice::from_ref(pool), until.min(deadline), is_ready);
            }
        }
    }
}

fn decode<T: Payload>(event: Event) -> Result<T> {
    match event {
        Event::Bytes(bytes) => T::decode(&bytes).map_err(|message| Error::Decode { message }),
        Event::TooLarge(_) => unreachable!("there is room for any"),
    }
}

impl<R> Future<R> {
    /// The oldest event that the task has sent ([`task::send_event`](crate::task::send_event)) and nobody has read; `None` when there is none just now, which
    /// may change as long as the task is not over. It does not wait.
    ///
    /// Events are kept until they are read or this future is dropped: also when their worker is killed, beyond the end of the task, and when the result was
    /// taken. Those of a further attempt at the task come behind those of the attempts before. Threads may share the future: each event comes to one of them. The
    /// future that a [callback](Future::on_done) is given reads the same events.
    ///
    /// # Errors
    /// [`Error::Decode`] when the event is no `T`: it is gone then. [`Error::Corrupt`]; [`Error::Forked`].
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn count(to: u64) -> Result<(), taskring::TaskError> {
    ///         for n in 1..=to {
    ///             taskring::task::send_event(&n)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(count, 2)?;
    ///     task.result()?;
    ///     assert_eq!(task.next_event()?, Some(1_u64));
    ///     assert_eq!(task.next_event()?, Some(2_u64));
    ///     assert_eq!(task.next_event::<u64>()?, None);
    ///     Ok(())
    /// }
    /// ```
    pub fn next_event<T: Payload>(&self) -> Result<Option<T>> {
        self.core().next_event_bytes(usize::MAX)?.map(decode).transpose()
    }

    /// The task's events as they come: as [`next_event`](Future::next_event), but waiting for the next one.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn count(to: u64) -> Result<(), taskring::TaskError> {
    ///         for n in 1..=to {
    ///             taskring::task::send_event(&format!("at {n}"))?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(count, 3)?;
    ///     let events: Vec<String> = task.events().collect::<Result<_, _>>()?;
    ///     assert_eq!(events, ["at 1", "at 2", "at 3"]);
    ///     Ok(())
    /// }
    /// ```
    pub fn events<T: Payload>(&self) -> Events<'_, T> {
        Events { core: self.core(), pace: EventPace::new(), has_ended: false, events: PhantomData }
    }
}

/// The events of a task, of [`Future::events`]. It waits for the next one, and ends when the task is over, however it ended, and all of them were read.
///
/// In a task that waits for events of another one of its pool, that one is run on top of it, if nobody has begun with it, as in any other wait for it (see
/// [`current_pool`](crate::current_pool)): then it is over before its first event is read, and finds no room when it sends more than are kept.
///
/// Each may be an error of its own. After [`Error::Decode`] it goes on; what is wrong with the pool ([`Error::Corrupt`], [`Error::Forked`]), and in a task a
/// wait that is refused ([`Error::WouldDeadlock`], [`Error::TooMany`], [`Error::Unsupported`]), is the last.
#[must_use = "events come only by advancing the iterator"]
pub struct Events<'a, T> {
    core: &'a Core,
    pace: EventPace,
    has_ended: bool,
    events: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Events<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({:#x})", self.core.ticket.id())
    }
}

impl<T: Payload> Events<'_, T> {
    /// The next event, waiting no longer than `timeout` for it; `None` when the task is over and all were read. After an [`Error::TimedOut`] it may be asked for
    /// again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<T>> {
        self.wait(Some(timeout))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Result<T>> {
        if self.has_ended {
            return None;
        }
        match self.core.wait_event(timeout, usize::MAX, &mut self.pace) {
            Ok(Some(event)) => Some(decode(event)),
            Ok(None) => {
                self.has_ended = true;
                None
            }
            Err(e) => {
                self.has_ended = !matches!(e, Error::TimedOut { .. });
                Some(Err(e))
            }
        }
    }
}

impl<T: Payload> Iterator for Events<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.wait(None)
    }
}

/// Sends whoever has submitted the running task an event, of up to 16248 encoded bytes: it is kept, in order, until it is read
/// ([`Future::events`](crate::Future::events), [`Future::next_event`](crate::Future::next_event)). It waits for nobody: when the events that nobody has read yet
/// leave no room, it is refused, and the task may send it later. Unread events of a task have 16256 bytes of room together: each
/// takes its own bytes, rounded up to a multiple of 8, and 8 more.
///
/// It is for the thread that runs the task. When the future was dropped the event goes nowhere.
///
/// # Errors
/// [`Error::EventsFull`]; [`Error::PayloadTooLarge`] for one that has no room in an empty ring; [`Error::Encode`]; [`Error::Unsupported`] outside a task;
/// [`Error::Forked`] in a process that the task has forked. With the first event of a task, for which it takes 16 KiB of payload memory:
/// [`Error::OutOfMemory`], [`Error::TooMany`], [`Error::Stalled`], [`Error::System`]. Nothing was changed then. [`Error::Corrupt`].
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn work() -> Result<(), taskring::TaskError> {
///         taskring::task::send_event(&"begun".to_owned())?;
///         Ok(())
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(1).build()?;
///     let task = pool.submit(work, ())?;
///     assert_eq!(task.events().next(), Some(Ok("begun".to_owned())));
///     Ok(())
/// }
/// ```
pub fn send_event<T: Payload>(event: &T) -> Result<()> {
    if let Some(bytes) = event.as_encoded() {
        return send_event_bytes(bytes);
    }
    let mut bytes = Vec::new();
    event.encode(&mut bytes).map_err(|message| Error::Encode { message })?;
    send_event_bytes(&bytes)
}

pub(crate) fn send_event_bytes(bytes: &[u8]) -> Result<()> {
    if bytes.len() > EVENT_LEN_MAX {
        return Err(Error::PayloadTooLarge { len: bytes.len() as u64, max: EVENT_LEN_MAX as u64 });
    }
    let sent = nested::with_seat_of_task(|member| {
        // The memory is there in a forked child, but it has no task.
        member.check_fork()?;
        let id = task::id();
        member.send_event((id >> 32) as u32, id as u32, bytes)
    });
    sent.unwrap_or(Err(Error::Unsupported { what: "to send an event", with: "outside a task" }))
}
