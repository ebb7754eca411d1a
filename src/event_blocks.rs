//! Where the events of a task are until they are read: in its ring (`event_ring.rs`), and after that in a table of the process.
//!
//! The first event takes a block of payload memory for the ring, and it is the slot's from then on: through every attempt, until the slot is free. Who is about to
//! free a slot whose task has unread events, and whose future lives, moves them into the table first.
//!
//! | the sender dies | then |
//! |---|---|
//! | with the block its own, named or not | the block is swept with its others; without the flag the name says nothing |
//! | with the block the slot's, before the flag EVENTS | `free_untold_events`, by its reaper |
//! | with the flag, in a record or behind it | the ring stays, with every whole record |
//! | after the slot was freed, before its block was | the generation has moved on: the block is swept |
//!
//! Who reads holds the lock of that table: so one thread reads at a time, and the slot is neither freed nor let go meanwhile. For whoever frees a slot with
//! EVENTS that was not let go, or lets such a one go, is of the same process and takes the lock, too; or reaps the dead process.

use crate::error::{Error, Result};
use crate::event_ring::{Event, EventRing, Put, RING_LEN, WORDS, wake_readers};
use crate::layout::Slot;
use crate::limits::EVENTS_LEN;
use crate::outcome;
use crate::payload::Holder;
use crate::pool::{Pool, Ticket, lock};
use crate::registry::Member;
use crate::search::Rings;
use crate::segment::Segment;
use crate::state::{Flag, Phase, State};
use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

/// Events whose slots were freed before anybody had read them, oldest first.
#[derive(Default)]
pub(crate) struct KeptEvents {
    /// Locked last of all that a process collects.
    table: Mutex<HashMap<Ticket, VecDeque<Vec<u8>>>>,
    /// Tasks in it: whoever finds 0 need not look.
    count: AtomicUsize,
}

impl Segment {
    /// What a slot's block of events is called, if its word says `EVENTS`; 0 is none.
    fn events_block(&self, number: u32) -> u32 {
        let word = self.slot_at(number).and_then(|(lane, index)| self.events_name(lane, index));
        word.map_or(0, |name| name.load(Relaxed))
    }

    /// The ring of a slot whose word says `EVENTS`. What contradicts that is damage.
    fn events_of(&self, number: u32, generation: u32) -> Result<EventRing<'_>> {
        let name = self.events_block(number);
        let is_others = self.slot_at(number).is_none_or(|(lane, index)| {
            let slot = &self.lane(lane).slots[index];
            let is_result = || slot.load().is(Phase::Done) && outcome::result_block(slot) == Some(name);
            name == slot.args_block.load(Relaxed) || is_result()
        });
        if name == 0 || is_others || !self.holds_block(name, Holder::Slot { number, generation }) {
            return Err(self.poison(format!("payload block {name}, the events of slot {number}")));
        }
        self.ring_in(name)
    }

    /// A ring in a block that the caller knows to be the slot's, or his own.
    fn ring_in(&self, name: u32) -> Result<EventRing<'_>> {
        let damaged = |_| self.poison(format!("payload block {name}, which holds events"));
        let at = self.block_bytes(name, EVENTS_LEN).map_err(damaged)?.cast::<[AtomicU64; WORDS]>();
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
        if !self.free_block(self.events_block(number), Holder::Slot { number, generation }) {
            // The next task in the slot has sent an event already: by the slot's generation the block is garbage.
            self.sweep_blocks(None);
        }
    }

    /// Whether that is what a slot's block of events is called.
    pub(crate) fn is_events_block(&self, state: State, number: u32, name: u32) -> bool {
        state.has(Flag::Events) && self.events_block(number) == name
    }

    /// For the reaper of a worker that may have died between the hand-over of a task's block of events and the flag that tells of it: frees that block. The
    /// slot holds no other one by then but its arguments, whose name an old one beside the slot may be.
    pub(crate) fn free_untold_events(&self, state: State, number: u32, args_block: u32) {
        if state.has(Flag::Events) {
            return;
        }
        let name = self.events_block(number);
        if name != args_block {
            self.free_block(name, Holder::Slot { number, generation: state.generation() });
        }
    }
}

impl Member {
    /// Sends an event of a task that this worker runs.
    pub(crate) fn send_event(&self, number: u32, generation: u32, bytes: &[u8]) -> Result<()> {
        let segment = &*self.segment;
        let outside = Error::Unsupported { what: "to send an event", with: "outside a task" };
        let (lane, index) = segment.slot_at(number).ok_or(outside)?;
        let slot = &segment.lane(lane).slots[index];
        let state = slot.load();
        if state.has(Flag::Detached) || state.has(Flag::Unread) || !state.is_run_by(self.who(), generation) {
            // Nobody will read it.
            return Ok(());
        }
        let ring = match state.has(Flag::Events) {
            true => self.own_events(slot, number, generation)?,
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

    /// The ring of a task that has one. `None` when it is this worker's no more: who was taken for dead may find its slot free, and that is no damage.
    fn own_events(&self, slot: &Slot, number: u32, generation: u32) -> Result<Option<EventRing<'_>>> {
        let is_there = self.segment.holds_block(self.segment.events_block(number), Holder::Slot { number, generation });
        if !is_there && !slot.load().is_run_by(self.who(), generation) {
            return Ok(None);
        }
        self.segment.events_of(number, generation).map(Some)
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
    pub(crate) fn take_event(&self, ticket: Ticket, room: usize) -> Result<Option<Event>> {
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
    pub(crate) fn has_event(&self, ticket: Ticket) -> bool {
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
        let name = self.segment().events_block(ticket.slot);
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

    /// Whether events of any task are in the table.
    #[inline]
    pub(crate) fn keeps_events(&self) -> bool {
        // Relaxed: of a task whose future is asked for, whoever has kept some has given the outcome or the slot on after that.
        self.collected.events.count.load(Relaxed) != 0
    }

    /// Drops what is kept of a task whose future is gone.
    pub(crate) fn forget_events(&self, ticket: Ticket) {
        if self.keeps_events() && !self.member.is_foreign() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::send_event;
    use crate::record::Kind;
    use crate::state::{Progress, Step};
    use crate::{Executor, Future, Retry, StartMethod, SubmitOptions, Task, task};
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    /// Whether the tasks of a test go on to their end: each test has a number.
    static GO_ON: [AtomicBool; 3] = [const { AtomicBool::new(true) }; 3];

    fn sending() -> Task<(u64, u64), u32> {
        let send = |(count, test): (u64, u64)| {
            (0..count).try_for_each(|n: u64| send_event(&n))?;
            while !GO_ON[test as usize].load(SeqCst) {
                std::thread::yield_now();
            }
            if task::attempt() == 0 && count == 1 { Err(crate::TaskError::new("the first")) } else { Ok(task::attempt()) }
        };
        crate::register_fallible("events::sending", send).unwrap()
    }

    fn pool(capacity: usize) -> Executor {
        Executor::builder().workers(1).capacity(capacity).start(StartMethod::Thread).build().unwrap()
    }

    /// Blocks in use, and tasks whose events are kept.
    fn left(pool: &Executor) -> (usize, usize) {
        let pool = pool.pool();
        let kept = lock(&pool.collected.events.table).len();
        assert_eq!(kept, pool.collected.events.count.load(Relaxed));
        (pool.segment().blocks_in_use(), kept)
    }

    fn wait_until(what: impl Fn() -> bool) {
        let start = std::time::Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come about");
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_is_left_of_events_however_a_task_and_its_future_end() {
        let (task, pool) = (sending(), pool(4));
        let has_sent = |future: &Future<u32>| wait_until(|| pool.pool().has_event(future.core().ticket));
        GO_ON[0].store(false, SeqCst);
        // The future is dropped before the end, with and without a look at the events.
        for is_read in [false, true] {
            let future = pool.submit(task, (3, 0)).unwrap();
            has_sent(&future);
            assert_eq!(left(&pool), (1, 0));
            assert!(!is_read || future.next_event() == Ok(Some(0_u64)));
            drop(future);
            GO_ON[0].store(true, SeqCst);
            wait_until(|| left(&pool) == (0, 0));
            GO_ON[0].store(false, SeqCst);
        }
        GO_ON[0].store(true, SeqCst);
        // The result is taken first, and the future dropped with events unread; and with none.
        let future = pool.submit(task, (3, 0)).unwrap();
        assert_eq!(future.result(), Ok(0));
        assert_eq!(left(&pool), (0, 1));
        assert_eq!(future.events().collect::<Result<Vec<u64>>>(), Ok(vec![0, 1, 2]));
        drop(future);
        assert_eq!(left(&pool), (0, 0));
        // It is dropped when the task is over.
        let future = pool.submit(task, (3, 0)).unwrap();
        wait_until(|| future.is_done());
        assert_eq!(left(&pool), (1, 0));
        drop(future);
        assert_eq!(left(&pool), (0, 0));
        // Collected for the room.
        let all: Vec<_> = (0..12).map(|_| pool.submit(task, (3, 0)).unwrap()).collect();
        wait_until(|| all.iter().all(Future::is_done));
        let (blocks, kept) = left(&pool);
        assert!(blocks + kept == 12 && kept >= 8, "{blocks} and {kept}");
        drop(all);
        assert_eq!(left(&pool), (0, 0));
        // With a callback, whose outcome is taken for both.
        for is_dropped in [false, true] {
            GO_ON[0].store(false, SeqCst);
            let (future, (sender, receiver)) = (pool.submit(task, (3, 0)).unwrap(), std::sync::mpsc::channel());
            has_sent(&future);
            future.on_done(move |_| sender.send(()).unwrap()).unwrap();
            let kept = (!is_dropped).then_some(future);
            GO_ON[0].store(true, SeqCst);
            receiver.recv().unwrap();
            wait_until(|| left(&pool) == (0, kept.iter().count()));
            assert!(kept.is_none_or(|future| future.next_event() == Ok(Some(0_u64))));
            assert_eq!(left(&pool), (0, 0));
        }
    }

    #[test]
    fn the_ring_stays_for_another_attempt_and_goes_with_a_task_that_is_cancelled_before_it() {
        let (task, pool) = (sending(), pool(4));
        let hour = Duration::from_secs(3600);
        let later = SubmitOptions::new().retry(Retry::new(2).backoff(hour, hour));
        for is_dropped in [false, true] {
            let future = pool.submit_with(&later, task, (1, 1)).unwrap();
            wait_until(|| pool.pool().has_event(future.core().ticket) && future.state() == crate::State::Pending);
            assert_eq!(left(&pool), (1, 0));
            assert!(future.cancel());
            assert!(is_dropped || future.result() == Err(Error::Cancelled));
            drop(future);
            assert_eq!(left(&pool), (0, 0));
        }
        let future = pool.submit_with(&SubmitOptions::new().retry(Retry::new(2)), task, (1, 1)).unwrap();
        assert_eq!((future.result(), left(&pool)), (Ok(1), (0, 1)));
        assert_eq!(future.events().collect::<Result<Vec<u64>>>(), Ok(vec![0, 0]));
        drop(pool);
    }

    #[test]
    fn a_block_that_is_not_the_slots_is_never_read_nor_written() {
        let (task, pool) = (sending(), pool(4));
        let future = pool.submit(task, (3, 2)).unwrap();
        wait_until(|| future.is_done());
        let segment = pool.pool().segment();
        let (lane, index) = segment.geometry().split(future.core().ticket.slot);
        segment.events_name(lane, index).expect("extras").fetch_add(1, SeqCst);
        assert!(matches!(future.next_event::<u64>(), Err(Error::Corrupt { .. })));
        assert!(matches!(future.events::<u64>().next(), Some(Err(Error::Corrupt { .. }))));
    }

    #[test]
    fn another_block_of_the_slot_is_no_ring_and_a_damaged_one_is_told() {
        let echo = |bytes: Vec<u8>| send_event(&1_u64).map(|()| bytes).map_err(crate::TaskError::from);
        let task = crate::register_fallible("events::echo", echo).unwrap();
        // Zeros, which would be an empty ring.
        let zeros = vec![0; EVENTS_LEN - 100];
        for (is_result, what) in [(false, "its arguments"), (true, "its result")] {
            let pool = pool(4);
            let future = pool.submit(task, zeros.clone()).unwrap();
            wait_until(|| future.is_done());
            let segment = pool.pool().segment();
            let (lane, index) = segment.geometry().split(future.core().ticket.slot);
            let slot = &segment.lane(lane).slots[index];
            let other = if is_result { &slot.result_block } else { &slot.args_block };
            segment.events_name(lane, index).expect("extras").store(other.load(SeqCst), SeqCst);
            assert!(matches!(future.next_event::<u64>(), Err(Error::Corrupt { .. })), "{what}");
        }
        // What stands in the place of a name is none when there was no memory for the result, nor of a lost task.
        let pool_of_it = pool(4);
        let future = pool_of_it.submit(task, Vec::new()).unwrap();
        wait_until(|| future.is_done());
        let (lane, index) = pool_of_it.pool().segment().geometry().split(future.core().ticket.slot);
        let slot = &pool_of_it.pool().segment().lane(lane).slots[index];
        let name = pool_of_it.pool().segment().events_block(future.core().ticket.slot);
        let refusal = Error::OutOfMemory { what: "a result", needed: 1 << 20, available: 256 * u64::from(name) };
        outcome::store_refusal(slot, &refusal);
        assert_eq!(slot.result_block.load(SeqCst), name);
        assert_eq!(future.next_event(), Ok(Some(1_u64)));
        assert!(matches!(future.result(), Err(Error::OutOfMemory { .. })));
        let pool = pool(4);
        let future = pool.submit(task, Vec::new()).unwrap();
        wait_until(|| future.is_done());
        let segment = pool.pool().segment();
        let name = segment.events_block(future.core().ticket.slot);
        segment.block(name).expect("a block").class.store(0, SeqCst);
        drop(future.result());
        assert!(matches!(future.next_event::<u64>(), Err(Error::Corrupt { .. })), "its events are lost");
    }

    #[test]
    fn a_number_that_is_no_name_frees_nothing_of_a_dead_workers_task() {
        let pool = Executor::builder().start(StartMethod::None).capacity(8).build().unwrap();
        let future = pool.submit(sending(), (0, 0)).unwrap();
        let (segment, ticket) = (pool.pool().member.segment.clone(), future.core().ticket);
        let dies = std::thread::spawn(move || {
            let member = Member::join(segment.clone(), Kind::ThreadWorker, 0).unwrap();
            let slot = &segment.lane(0).slots[0];
            let state = slot.claim(slot.load(), member.who()).unwrap();
            slot.note(Progress::FRESH.at(Step::Started));
            member.send_event(ticket.slot, state.generation(), b"read me").unwrap();
            // As a reaper leaves it that has written the number of the worker's process there and has died before the verdict.
            slot.result_block.store(segment.events_block(ticket.slot), Relaxed);
            let who = member.who();
            std::mem::forget(member);
            who
        });
        let dead = dies.join().unwrap();
        // Its number is gone when the system comes to it.
        let begin = std::time::Instant::now();
        while !pool.pool().member.reap(dead) {
            assert!(begin.elapsed() < Duration::from_secs(20), "the thread is gone");
        }
        assert_eq!(future.core().next_event_bytes(usize::MAX), Ok(Some(Event::Bytes(b"read me".to_vec()))));
        assert!(matches!(future.result(), Err(Error::WorkerLost { .. })));
        assert_eq!(left(&pool), (0, 0));
    }
}
