//! What a pool has around the protocol, played: a submitter's calls and a worker's loop, step for step as `submit.rs`, `collect.rs` and
//! `worker.rs` take them.

use crate::ledger::{Verdict, answer};
use crate::life::Bit;
use crate::mutex::ShmMutex;
use crate::outcome::VALUE;
use crate::registry::Member;
use crate::search::{Rest, Search, Task};
use crate::set::SetRef;
use crate::slot::{Args, OPTION_IDEMPOTENT, Request};
use crate::state::{Flag, Phase, State, Step};
use crate::sync::Ordering::Relaxed;
use crate::sync::{futex_wait_low, futex_wake_low};

/// A task that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) task: u16,
    pub(crate) slot: usize,
    pub(crate) generation: u32,
}

/// A task's options. Its number goes in as the number of its function, of which each worker has all.
pub(crate) fn ask(task: u16) -> Request {
    Request { function: task, attempts_max: 1, kills_max: 2, ..Request::default() }
}

/// One that may run twice.
pub(crate) fn ask_again(task: u16) -> Request {
    Request { options: OPTION_IDEMPOTENT, attempts_max: 2, ..ask(task) }
}

fn anything(_wanted: u32) -> bool {
    true
}

/// A submitter's calls.
impl Member {
    /// Publishes tasks in one hold of the lane and wakes a worker; those for which there is room.
    pub(crate) fn submit_all(&self, requests: &[Request]) -> Vec<Ticket> {
        let segment = &*self.segment;
        let mut hold = segment.ring().hold(self.who(), self).expect("nobody stalls in a model");
        let mut tickets = Vec::new();
        if segment.check_open().is_ok() {
            for request in requests {
                let Some((slot, free_slot, free)) = hold.next_free() else { break };
                segment.ledger.begin(request.function, request.attempts_max);
                free_slot.write(&Request { submitter: self.who().bits(), ..*request }, hold.place(), Args::Inline(&[]));
                hold.publish(free_slot, free);
                tickets.push(Ticket { task: request.function, slot, generation: free.generation() });
            }
        }
        drop(hold);
        if !tickets.is_empty() {
            segment.sleepers().announce();
        }
        for (ticket, request) in tickets.iter().zip(requests) {
            if request.set != 0
                && segment.sets().is_discarded(SetRef(request.set))
                && self.segment.ring().slots[ticket.slot].cancel(ticket.generation, self.who()).is_ok_and(|old| self.ended(ticket.slot, old))
            {
                segment.sets().count_cancelled(SetRef(request.set), 1);
            }
            segment.ledger.accept(ticket.task);
        }
        tickets
    }

    pub(crate) fn submit(&self, request: Request) -> Option<Ticket> {
        self.submit_all(&[request]).pop()
    }

    /// What follows the end of a task.
    fn ended(&self, slot: usize, old: State) -> bool {
        let request = self.segment.ring().slots[slot].read();
        self.finish(0, slot, old, &request);
        true
    }

    pub(crate) fn cancel(&self, ticket: Ticket) -> bool {
        let slot = &self.segment.ring().slots[ticket.slot];
        let cancelled = slot.cancel(ticket.generation, self.who()).is_ok_and(|old| self.ended(ticket.slot, old));
        if cancelled {
            self.segment.ledger.cancel(ticket.task);
        }
        cancelled
    }

    /// Condemns a task that runs, as a hard cancel does before it sends the signal, which is a death of the worker at any later point. Whether it did.
    pub(crate) fn condemn(&self, ticket: Ticket) -> bool {
        let slot = &self.segment.ring().slots[ticket.slot];
        let seen = slot.load();
        let condemned = seen.is_run_by(seen.owner(), ticket.generation) && slot.condemn(seen, seen.owner(), ticket.generation).is_ok();
        if condemned {
            self.segment.ledger.condemn(ticket.task);
        }
        condemned
    }

    /// Nobody will collect it.
    pub(crate) fn detach(&self, ticket: Ticket) {
        self.segment.ledger.forsake(ticket.task);
        let slot = &self.segment.ring().slots[ticket.slot];
        if let Err(finished) = slot.flag(ticket.generation, Flag::Detached) {
            slot.give_back(finished);
        }
    }

    /// Sleeps until the task has ended, and collects it.
    pub(crate) fn collect(&self, ticket: Ticket) -> Verdict {
        let slot = &self.segment.ring().slots[ticket.slot];
        let end = loop {
            match slot.flag(ticket.generation, Flag::Waiter) {
                Ok(seen) => futex_wait_low(&slot.state, seen.0, None),
                Err(end) => break end,
            };
        };
        assert!(end.is_finished() && end.generation() == ticket.generation, "{ticket:?} was taken by somebody else: {end:?}");
        let outcome = slot.outcome.load(Relaxed);
        let mut value = [0; 8];
        slot.read_inline(0, &mut value);
        let verdict = Verdict::of(end.phase().expect("a phase"), outcome, u64::from_le_bytes(value));
        self.segment.ledger.verdict(ticket.task, verdict);
        slot.give_back(end);
        if end.has(Flag::Waiter) {
            futex_wake_low(&slot.state);
        }
        verdict
    }

    /// Discards a set: from its return on none of its tasks starts.
    pub(crate) fn discard(&self, set: SetRef) -> usize {
        if self.segment.sets().discard(set) { self.sweep_set(set).cancelled } else { 0 }
    }

    /// Closes the pool.
    pub(crate) fn close(&self) {
        self.segment.set(Bit::Closing);
        self.segment.wake_everybody();
    }
}

/// A worker's loop.
pub(crate) struct Worker {
    pub(crate) member: Member,
    search: Search,
}

impl Worker {
    pub(crate) fn new(member: Member) -> Worker {
        let search = Search::new(member.who());
        Worker { member, search }
    }

    /// One that was there for a while: it has looked at every slot.
    pub(crate) fn settled(member: Member) -> Worker {
        let mut worker = Worker::new(member);
        assert_eq!(worker.look(), None);
        worker
    }

    pub(crate) fn look(&mut self) -> Option<Task> {
        self.search.look(&*self.member.segment, &mut anything)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.member.segment.has(Bit::Closing)
    }

    /// The next task, asleep until there is one; `None` when the pool is closed and nothing is left.
    pub(crate) fn next(&mut self) -> Option<Task> {
        loop {
            if let Some(task) = self.look() {
                return Some(task);
            }
            if self.is_ended() {
                let segment = self.member.segment.clone();
                drop(segment.ring().hold(self.member.who(), &self.member).expect("nobody stalls in a model"));
                self.search.look_everywhere();
                return self.look();
            }
            if let Some(task) = self.idle() {
                return Some(task);
            }
        }
    }

    fn idle(&mut self) -> Option<Task> {
        let segment = self.member.segment.clone();
        let (me, sleepers) = (self.member.who().index(), segment.sleepers());
        let searching = sleepers.anybody_idle();
        if searching {
            sleepers.start_searching(me);
        }
        let found = self.look();
        if searching {
            sleepers.stop_searching(me);
        }
        if found.is_some() {
            if searching && self.search.has_backlog(&*segment) {
                sleepers.wake_one();
            }
            return found;
        }
        if searching && let Some(task) = self.woken() {
            return Some(task);
        }
        self.rest()
    }

    /// Sleeps, unless there is a task after all. A task if one turned up.
    pub(crate) fn rest(&mut self) -> Option<Task> {
        let segment = self.member.segment.clone();
        let sleepers = segment.sleepers();
        let ended = || segment.has(Bit::Closing);
        match self.search.rest(&*segment, sleepers, &mut anything, ended, 0) {
            Rest::Task(task) => {
                if self.search.has_backlog(&*segment) {
                    sleepers.wake_one();
                }
                Some(task)
            }
            Rest::Stopped => None,
            Rest::Slept { by_mark: true, .. } => self.woken(),
            Rest::Slept { by_mark: false, .. } => {
                self.search.look_everywhere();
                None
            }
        }
    }

    fn woken(&mut self) -> Option<Task> {
        let task = self.look();
        let segment = &*self.member.segment;
        if task.is_some() && self.search.has_backlog(segment) {
            segment.sleepers().wake_one();
        } else if task.is_none() && self.search.passes_on() {
            segment.sleepers().wake_each();
        }
        task
    }

    /// Runs a claimed task to its end. False when that was condemned: then the worker must be dead before anything else.
    pub(crate) fn perform(&self, task: Task) -> bool {
        let segment = &*self.member.segment;
        let index = task.claim.slot;
        let slot = &segment.ring().slots[index];
        let (me, generation) = (self.member.who(), task.claim.state.generation());
        let request = slot.read();
        if request.set != 0 && segment.sets().is_discarded(SetRef(request.set)) {
            assert!(self.member.cancel_for_set(0, index, me, generation, &request), "nobody condemns it");
            return true;
        }
        let progress = slot.progress();
        assert_eq!(progress.step, Step::None, "a task that is pending has no note");
        slot.note(progress.at(Step::Started));
        segment.ledger.enter(request.function, progress.attempt);
        slot.note(progress.at(Step::Returned));
        slot.write_inline(0, &answer(request.function).to_le_bytes());
        slot.outcome.store(VALUE, Relaxed);
        match slot.complete(me, generation) {
            Ok(old) => segment.announce_end(0, index, old, &request),
            Err(found) if found.is_condemned_with(me, generation) => return false,
            Err(found) => panic!("{me:?} runs generation {generation}, and the slot is {found:?}"),
        }
        true
    }

    /// Runs a claimed task, which fails in its first attempt: puts it back, and runs what comes first then.
    pub(crate) fn fail_first(&mut self, task: Task) {
        let segment = self.member.segment.clone();
        let slot = &segment.ring().slots[task.claim.slot];
        let (me, generation, progress) = (self.member.who(), task.claim.state.generation(), slot.progress());
        slot.note(progress.at(Step::Started));
        segment.ledger.enter(slot.read().function, progress.attempt);
        slot.note(progress.at(Step::Returned));
        slot.note(progress.next_attempt(false));
        slot.put_back(me, generation).expect("nobody asks it to stop");
        if let Some(next) = self.search.look_after_put_back(&*segment, segment.sleepers(), &mut anything, task) {
            assert!(self.perform(next), "nobody condemns it");
        }
    }

    /// Runs what there is, without sleeping.
    pub(crate) fn drain(&mut self) {
        self.search.look_everywhere();
        while let Some(task) = self.look() {
            assert!(self.perform(task), "nobody condemns it");
        }
    }
}

/// When all is quiet: nothing is left of the dead, and the pool does what it did at first.
pub(crate) fn check_end(worker: &mut Worker, submitter: &Member, dead: &[&Member], fresh: u16) {
    let segment = worker.member.segment.clone();
    for member in dead {
        assert!(member.is_buried(), "{:?} was not reaped", member.who());
        assert!(!segment.is_marked(member.who()), "a mark of {:?} is left", member.who());
    }
    for (index, slot) in segment.ring().slots.iter().enumerate() {
        assert!(slot.load().is(Phase::Free), "slot {index} is left {:?}", slot.load());
    }
    assert_eq!(ShmMutex(&segment.ring().head.mutex).owner(), None);
    for task in fresh..fresh + 2 * segment.ring().slots.len() as u16 {
        let ticket = submitter.submit(ask(task)).expect("an empty pool has room");
        // In order: a head and a tail that were repaired lead to it.
        let found = worker.look().expect("a task that was published is found in order");
        worker.perform(found);
        assert_eq!(submitter.collect(ticket), Verdict::Value(answer(task)));
    }
    segment.ledger.check();
}
