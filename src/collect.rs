//! Collecting: exactly one thread of the submitting process takes a finished task's outcome out of its slot, and keeps it for whoever asks.
//!
//! A thread has taken an outcome once it has set the mark, and what it read of the slot counts only then; the outcome is kept before the slot is freed.
//! So whoever sees the slot's next generation finds the outcome in its future, or in the table of what was harvested to make room.

use crate::done::Shared;
use crate::error::Error;
use crate::event_blocks::KeptEvents;
use crate::layout::Slot;
use crate::outcome::{self, Outcome};
use crate::pool::{Pool, Ticket, lock};
use crate::priority::{LEVELS, Priority};
use crate::search::Rings;
use crate::spin::Patience;
use crate::state::{Flag, Phase, State};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};

/// What a process has collected of its lanes.
pub(crate) struct Collected {
    /// For each slot of the lane for tasks of normal priority.
    taken: Box<[Taken]>,
    /// The same for the lanes of other levels, made when there is a task in one.
    taken_of_others: [OnceLock<Box<[Taken]>>; LEVELS],
    /// Outcomes that were collected to make room before anybody asked for them.
    pub(crate) harvested: Mutex<HashMap<Ticket, Outcome>>,
    /// Tasks with done-callbacks, whose outcomes are for those as well: see `done.rs`. Locked after `harvested`.
    pub(crate) shared: Mutex<HashMap<Ticket, Shared>>,
    /// Events of tasks whose slots were freed before their futures had read them.
    pub(crate) events: KeptEvents,
}

impl Collected {
    pub(crate) fn of(capacity: usize) -> Collected {
        Collected {
            taken: Taken::of(capacity),
            taken_of_others: Default::default(),
            harvested: Mutex::default(),
            shared: Mutex::default(),
            events: KeptEvents::default(),
        }
    }
}

/// What this process has had of a slot, as marks: a generation plus one, and 0 is none.
#[derive(Default)]
struct Taken {
    /// The generation whose outcome a thread has taken: exactly one sets it, and that one collects.
    by_one: AtomicU64,
    /// The generation whose outcome has been kept, and whose slot freed after that. No swap, which would cost every task as much as dozens of instructions: a
    /// thread that stands still between its look and its store may put it back by some, and until the next task a damaged slot is not noticed.
    for_good: AtomicU64,
}

impl Taken {
    fn of(capacity: usize) -> Box<[Taken]> {
        (0..capacity).map(|_| Taken::default()).collect()
    }

    /// See `Pool::give_back`.
    #[inline]
    fn give_back(&self, ticket: Ticket, slot: &Slot, finished: State) {
        slot.give_back(finished);
        // After that, for a finished slot whose mark says that it was copied is a damaged one, however long we stand still here. Release: pairs with the
        // Acquire in `await_taker`.
        let mark = mark_of(ticket.generation);
        if self.for_good.load(Relaxed) < mark {
            self.for_good.store(mark, Release);
        }
        if finished.has(Flag::Waiter) {
            // A submitter may wait for just this slot to be free.
            crate::sync::futex_wake_low(&slot.state);
        }
    }
}

fn mark_of(generation: u32) -> u64 {
    u64::from(generation) + 1
}

/// Whether a result in a block of its own is copied out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Copy,
    InPlace,
}

/// What a finished slot held, and the blocks it names.
struct Finished {
    outcome: Outcome,
    blocks: [u32; 2],
}

impl Pool {
    /// Takes a finished task's outcome, if this thread is the one to take it: copies it, has it kept, and only then frees the slot. So
    /// whoever sees the slot's next generation finds the outcome where it was kept.
    pub(crate) fn take(&self, ticket: Ticket, state: State, keep: impl FnOnce(Outcome)) {
        if self.mark_taken(ticket, state) {
            let finished = self.read_finished(ticket, state, Reading::Copy);
            let blocks = finished.blocks;
            keep(finished.outcome);
            self.release(ticket, state, blocks);
        }
    }

    /// The same for what most outcomes are: a value of a few bytes, of not more than `room`. Others are left alone.
    #[inline]
    pub(crate) fn take_if_short(&self, ticket: Ticket, room: usize, keep: impl FnOnce(outcome::Bytes)) {
        let slot = self.slot(ticket);
        let state = slot.load();
        // A racing look: another thread may be taking the outcome, and the slot hold the next task by now. What was read counts only with the mark: who sets
        // it for this generation knows that nobody had before, so nobody has freed the slot, and it has not changed since `load`. The reads come before
        // the Release of `give_back`, and so before whatever is written into the slot after that.
        if state.is_done_without_events()
            && let Some(bytes) = outcome::load_short(slot, room)
        {
            let marks = self.taken(ticket);
            if self.mark(marks, ticket, state) {
                keep(bytes);
                marks.give_back(ticket, slot, state);
            }
        }
    }

    #[inline]
    fn mark_taken(&self, ticket: Ticket, state: State) -> bool {
        self.mark(self.taken(ticket), ticket, state)
    }

    /// `marks` are those of the ticket.
    #[inline]
    fn mark(&self, marks: &Taken, ticket: Ticket, state: State) -> bool {
        let (taken, wanted) = (&marks.by_one, mark_of(ticket.generation));
        if !state.is_finished() || state.generation() != ticket.generation {
            return false;
        }
        let seen = taken.load(Relaxed);
        if seen < wanted {
            return taken.compare_exchange(seen, wanted, Relaxed, Relaxed).is_ok();
        }
        // Generations only go up: a later mark means that ours was taken long ago.
        if seen > wanted {
            self.check_generation(ticket, state);
        }
        false
    }

    #[inline]
    fn taken(&self, ticket: Ticket) -> &Taken {
        // There are as many as the lane has slots.
        match self.collected.taken.get(ticket.slot.wrapping_sub(self.first_slot) as usize) {
            Some(taken) => taken,
            None => self.taken_of_others(ticket),
        }
    }

    #[cold]
    fn taken_of_others(&self, ticket: Ticket) -> &Taken {
        let (lane, index) = self.segment().geometry().split(ticket.slot);
        let table = &self.collected.taken_of_others[Priority::of_lane(lane).index()];
        &table.get_or_init(|| Taken::of(self.capacity()))[index]
    }

    /// Sets the mark of a task before its end: from then on `take_shared` takes its outcome, whoever calls it. False when a thread has the mark.
    pub(crate) fn mark_early(&self, ticket: Ticket) -> bool {
        let (taken, wanted) = (&self.taken(ticket).by_one, mark_of(ticket.generation));
        let seen = taken.load(Relaxed);
        seen < wanted && taken.compare_exchange(seen, wanted, Relaxed, Relaxed).is_ok()
    }

    /// Whether a thread has the mark.
    #[inline]
    pub(crate) fn is_marked(&self, ticket: Ticket) -> bool {
        self.taken(ticket).by_one.load(Relaxed) == mark_of(ticket.generation)
    }

    /// Takes the outcome of a finished task that was marked for its callbacks: into their table, and into that of the harvested ones unless the future is
    /// gone. Then the slot is freed. True when there was one to take.
    fn take_shared(&self, harvested: &mut HashMap<Ticket, Outcome>, ticket: Ticket, reading: Reading) -> bool {
        let mut all = lock(&self.collected.shared);
        let Some(shared) = all.get_mut(&ticket).filter(|shared| shared.outcome.is_none()) else { return false };
        let state = self.slot(ticket).load();
        if !state.is_finished() || state.generation() != ticket.generation {
            return false;
        }
        let mut finished = self.read_finished(ticket, state, reading);
        if let Outcome::Value(bytes @ outcome::Bytes::Long(_)) = &mut finished.outcome {
            // Then all have one copy.
            bytes.pin();
        }
        shared.outcome = Some(finished.outcome.clone());
        let has_future = shared.has_future;
        if has_future {
            harvested.insert(ticket, finished.outcome);
        }
        self.release(ticket, state, finished.blocks);
        if !has_future {
            self.forget_events(ticket);
        }
        true
    }

    /// The outcome of a task with callbacks, for one of them. `None` when the pool can say nothing of it any more.
    pub(crate) fn look_at_shared(&self, ticket: Ticket) -> Option<Outcome> {
        self.take_shared(&mut lock(&self.collected.harvested), ticket, Reading::InPlace);
        lock(&self.collected.shared).get(&ticket)?.outcome.clone()
    }

    /// The slot of `state` was taken at a later generation: then that is an old look, or the slot's generation went back.
    #[cold]
    fn check_generation(&self, ticket: Ticket, state: State) {
        // A swap sees the word as it is now.
        if self.slot(ticket).swap(state, state).is_ok() {
            self.segment().poison(format!("the generation of {ticket:?} went back"));
        }
    }

    /// For who finds a finished task taken by another thread, whose outcome will be there once it is copied, however long that thread takes or stands
    /// still; or marked for its callbacks, and then takes it. False when it never will: the slot's generation went back to one that was taken before.
    pub(crate) fn await_taker(&self, ticket: Ticket, patience: &mut Patience) -> bool {
        let is_shared = lock(&self.collected.shared).contains_key(&ticket);
        if is_shared && self.take_shared(&mut lock(&self.collected.harvested), ticket, Reading::InPlace) {
            return true;
        }
        // Acquire: pairs with the Release in `give_back`: who has copied has kept the outcome, and freed the slot.
        let taken = self.taken(ticket);
        let is_copied = taken.for_good.load(Acquire) >= mark_of(ticket.generation);
        if is_copied && patience.is_over() {
            self.segment().poison("a finished slot whose outcome was taken, and is nowhere");
        }
        patience.pause();
        !self.segment().has(crate::life::Bit::Corrupt)
    }

    /// Copies what a taken slot holds.
    #[inline]
    fn read_finished(&self, ticket: Ticket, state: State, reading: Reading) -> Finished {
        let slot = self.slot(ticket);
        let request = slot.read();
        if !state.is(Phase::Done) {
            return Finished { outcome: Outcome::error(Error::Cancelled), blocks: [request.args_block, 0] };
        }
        let loaded = match reading {
            Reading::Copy => outcome::load(self.segment(), slot, &request),
            Reading::InPlace => outcome::load_in_place(&self.member, slot, &request, (ticket.slot, ticket.generation)),
        };
        let outcome = match loaded {
            Outcome::Error(e) if matches!(*e, Error::Broken { .. }) => Outcome::error(self.explain(*e)),
            outcome => outcome,
        };
        Finished { outcome, blocks: [request.args_block, slot.result_block.load(Relaxed)] }
    }

    /// Frees a finished slot that this thread has taken, and whose outcome is kept.
    #[inline]
    pub(crate) fn give_back(&self, ticket: Ticket, slot: &Slot, finished: State) {
        self.taken(ticket).give_back(ticket, slot, finished);
    }

    /// The same, and the blocks that the slot named.
    fn release(&self, ticket: Ticket, finished: State, blocks: [u32; 2]) {
        if finished.has(Flag::Events) {
            self.give_back_with_events(ticket, finished);
        } else {
            self.give_back(ticket, self.slot(ticket), finished);
        }
        // A lost task's worker has its pid where the result's block would be named: no block of that name is held by this slot.
        if blocks != [0, 0] {
            self.segment().free_slot_blocks(blocks, ticket.slot, ticket.generation);
        }
    }

    /// Collects finished tasks of all lanes. Returns how many.
    pub(crate) fn harvest(&self) -> usize {
        self.own_lanes().map(|lane| self.harvest_lane(lane)).sum()
    }

    /// Collects finished tasks, oldest first, to make room in a lane. Returns how many.
    pub(crate) fn harvest_lane(&self, lane: usize) -> usize {
        const AT_A_TIME: usize = 64;
        let ring = self.segment().lane(lane);
        let from = ring.next_slot();
        let mut collected = Vec::new();
        {
            // Under the table's lock, so that a thread that finds a slot taken finds its outcome in the table.
            let mut table = lock(&self.collected.harvested);
            for step in 0..self.capacity() {
                let index = (from + step) & (self.capacity() - 1);
                let state = ring.slots[index].load();
                let ours = ring.slots[index].submitted_by() == self.member.who();
                // Looked at again: in a shared lane the slot may have become ours only just now.
                if !state.is_finished() || !ours || ring.slots[index].load().generation() != state.generation() {
                    continue;
                }
                let slot = self.segment().slot_number(lane, index);
                let ticket = Ticket { slot, generation: state.generation() };
                if self.mark_taken(ticket, state) {
                    // The entry first, the slot afterwards: a look-up goes by the slot to the table.
                    let finished = self.read_finished(ticket, state, Reading::Copy);
                    table.insert(ticket, finished.outcome);
                    self.release(ticket, state, finished.blocks);
                } else if !self.take_shared(&mut table, ticket, Reading::Copy) {
                    continue;
                }
                collected.push(ticket);
                if collected.len() == AT_A_TIME {
                    break;
                }
            }
        }
        // In the order of their ends, as far as they were announced.
        self.hub.drain_and_tell(self);
        for &ticket in &collected {
            self.hub.deliver(self, ticket);
        }
        collected.len()
    }

    /// Brings the outcome of one finished task into the table, where `look` sees it and it stays. `None` when the task is unfinished, or its ticket
    /// used up.
    pub(crate) fn look<T>(&self, ticket: Ticket, reading: Reading, look: impl FnOnce(&mut Outcome) -> T) -> Option<T> {
        let mut patience = Patience::default();
        loop {
            {
                let mut table = lock(&self.collected.harvested);
                let state = self.slot(ticket).load();
                if self.mark_taken(ticket, state) {
                    let finished = self.read_finished(ticket, state, reading);
                    table.insert(ticket, finished.outcome);
                    self.release(ticket, state, finished.blocks);
                }
                if let Some(outcome) = table.get_mut(&ticket) {
                    return Some(look(outcome));
                }
            }
            // Finished and not in the table: another thread is taking it just now.
            let state = self.slot(ticket).load();
            if state.generation() != ticket.generation || !state.is_finished() {
                return lock(&self.collected.harvested).get_mut(&ticket).map(look);
            }
            if !self.await_taker(ticket, &mut patience) {
                return None;
            }
        }
    }

    /// Hands a harvested outcome over, under the table's lock: whoever finds it gone finds it where it was kept. A value of more than `room` bytes stays;
    /// then it gives its length.
    pub(crate) fn take_harvested(&self, ticket: Ticket, room: usize, keep: impl FnOnce(Outcome)) -> Option<usize> {
        let mut table = lock(&self.collected.harvested);
        if let Some(Outcome::Value(bytes)) = table.get(&ticket)
            && bytes.len() > room
        {
            return Some(bytes.len());
        }
        if let Some(outcome) = table.remove(&ticket) {
            keep(outcome);
        }
        None
    }

    /// Puts an outcome that was taken where the next thread that asks finds it.
    pub(crate) fn keep(&self, ticket: Ticket, outcome: Outcome) {
        lock(&self.collected.harvested).insert(ticket, outcome);
    }

    /// Outcomes in the table.
    pub(crate) fn harvested_len(&self) -> usize {
        lock(&self.collected.harvested).len()
    }

    pub(crate) fn peek_harvested<T>(&self, ticket: Ticket, look: impl FnOnce(&Outcome) -> T) -> Option<T> {
        lock(&self.collected.harvested).get(&ticket).map(look)
    }
}
