//! Submitting: from arguments in private memory to PENDING slots in a lane: that of the request, which says so for its priority.
//!
//! Everything that can fail is done before shared state is touched: encoding (user code), large arguments into their block. Then, under
//! the lane's mutex, a slot is filled and published. `submit` publishes before it returns: no task waits in private memory.

use crate::error::{Error, Result};
use crate::layout::Slot;
use crate::limits::{FULL_NS_MAX, INLINE_MAX, PAYLOAD_LEN_MAX};
use crate::pace::WaitPace;
use crate::payload::Lease;
use crate::pool::{Pool, Ticket};
use crate::retry::Rule;
use crate::ring::Hold;
use crate::search::Rings;
use crate::set::SetRef;
use crate::slot::{Args, OPTION_TERMS, Request};
use crate::spin::{self, Patience};
use crate::state::{Flag, Phase, State};
use crate::sync::Ordering::Relaxed;
use crate::sync::{futex_wait_low, now_ns};
use std::time::Duration;

/// Slots that are looked at before a lane counts as one in which room must be searched for.
const FIRST_LOOKS: usize = 4;

/// Positions of a shared lane for each count of those who share it: it takes a look at every participant.
const RECOUNT_EACH: usize = 64;

/// What to do when the lane is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    WaitFor(Duration),
    Refuse,
}

/// What came of one hold of the lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    /// There is more to publish, and more to look at, from this position on; whether something was published.
    More(u64, bool),
    /// There is no room.
    None,
}

/// A task ready to be published: its encoded arguments are private memory still, or lie in a block of ours.
pub(crate) struct Ready<'a> {
    request: &'a Request,
    /// What goes into the slot itself.
    args: &'a [u8],
    len: usize,
    lease: Option<Lease<'a>>,
    /// For what lies beside the slot, if its request says that the task has terms.
    rule: Rule,
}

impl<'a> Ready<'a> {
    /// One whose arguments fit into a slot.
    #[inline]
    fn inline(request: &'a Request, rule: Rule, args: &'a [u8]) -> Ready<'a> {
        debug_assert!(args.len() <= INLINE_MAX);
        Ready { request, args, len: args.len(), lease: None, rule }
    }

    /// One whose `len` bytes of arguments lie in a block already.
    pub(crate) fn in_block(request: &'a Request, rule: Rule, lease: Lease<'a>, len: usize) -> Ready<'a> {
        Ready { request, args: &[], len, lease: Some(lease), rule }
    }

    /// The block, unless it was handed over.
    pub(crate) fn into_block(self) -> Option<Lease<'a>> {
        self.lease
    }
}

impl Pool {
    /// Checks, and brings large arguments into their block.
    fn prepare<'a>(&'a self, request: &'a Request, rule: Rule, args: &'a [u8]) -> Result<Ready<'a>> {
        if args.len() <= INLINE_MAX {
            return Ok(Ready::inline(request, rule, args));
        }
        if args.len() > PAYLOAD_LEN_MAX {
            return Err(Error::PayloadTooLarge { len: args.len() as u64, max: PAYLOAD_LEN_MAX as u64 });
        }
        let lease = self.allocate(args.len())?;
        lease.write(args)?;
        Ok(Ready::in_block(request, rule, lease, args.len()))
    }

    /// A block for arguments. Finished tasks that nobody has collected give theirs back first.
    pub(crate) fn allocate(&self, len: usize) -> Result<Lease<'_>> {
        loop {
            match self.member.allocate(len) {
                Err(Error::OutOfMemory { .. } | Error::TooMany { .. }) if self.harvest() != 0 => {}
                result => return result,
            }
        }
    }

    /// Publishes one task with these arguments.
    pub(crate) fn submit_bytes(&self, request: &Request, args: &[u8], when_full: WhenFull) -> Result<Ticket> {
        if args.len() <= INLINE_MAX
            && let Some(ticket) = self.publish_at_once(request, args)
        {
            if request.set != 0 {
                self.look_at_set(request.set, ticket);
            }
            return Ok(ticket);
        }
        self.submit_by_rule(request, self.retry, args, when_full)
    }

    /// The same by the general way, which a task with terms goes.
    pub(crate) fn submit_by_rule(&self, request: &Request, rule: Rule, args: &[u8], when_full: WhenFull) -> Result<Ticket> {
        self.submit(&mut self.prepare(request, rule, args)?, when_full)
    }

    /// Publishes one task, from a block or when something was in the way.
    pub(crate) fn submit(&self, ready: &mut Ready<'_>, when_full: WhenFull) -> Result<Ticket> {
        self.check_usable()?;
        let (set, lane) = (ready.request.set, ready.request.lane());
        let mut ticket = None;
        let mut work = |hold: &mut Hold<'_>, pool: &Pool| {
            ticket = pool.fill(hold, ready)?;
            Ok(ticket.is_some())
        };
        if self.hold_once(lane, None, self.allowance(lane), &mut work)? != Turn::Done {
            self.publish_slow(lane, &mut work, when_full)?;
        }
        let ticket = ticket.ok_or(Error::Full { capacity: self.quota(lane) })?;
        if set != 0 {
            self.look_at_set(set, ticket);
        }
        Ok(ticket)
    }

    /// One hold of the lane for one task whose arguments fit into a slot. `None` when anything is in the way: the other way to submit finds out what.
    #[inline(always)]
    fn publish_at_once(&self, request: &Request, args: &[u8]) -> Option<Ticket> {
        let segment = self.segment();
        if self.check_usable().is_err() || self.is_lane_shared(request.lane()) || request.options & OPTION_TERMS != 0 {
            return None;
        }
        let mut hold = self.member.try_hold_lane(request.lane())?;
        // Under the mutex, as in `hold_once`.
        if !segment.is_open() {
            return None;
        }
        // In a full lane the general way looks on.
        hold.look_at(FIRST_LOOKS);
        let (index, slot, free) = hold.next_free()?;
        let ticket = self.publish_into((index, slot, free), &mut hold, request, Args::Inline(args));
        drop(hold);
        segment.sleepers().announce();
        Some(ticket)
    }

    /// After a task of a set was published: the set may have been discarded meanwhile, and its sweep have passed by before. If not, the sweep has
    /// counted the task.
    fn look_at_set(&self, set: u32, ticket: Ticket) {
        let sets = self.segment().sets();
        if sets.is_discarded(SetRef(set)) && self.cancel_pending(ticket).is_ok() {
            sets.count_cancelled(SetRef(set), 1);
        }
    }

    #[inline]
    fn check_usable(&self) -> Result<()> {
        self.member.check_fork()?;
        if self.shut.load(Relaxed) { Err(self.why_shut()) } else { Ok(()) }
    }

    /// What is wrong with the pool itself comes before the shutdown.
    #[cold]
    pub(crate) fn why_shut(&self) -> Error {
        self.segment().check_open().map_or_else(|e| self.explain(e), |()| Error::ShutDown)
    }

    /// Publishes a task for each of some encoded arguments. Blocks for large ones are had before the lane is held.
    #[inline]
    pub(crate) fn submit_slices<'a>(
        &'a self,
        request: &'a Request,
        rule: Rule,
        args: impl Iterator<Item = &'a [u8]> + Clone,
        each: impl FnMut(Ticket),
    ) -> Result<()> {
        if args.clone().all(|args| args.len() <= INLINE_MAX) {
            // Most are these, and what may be more than bytes would be moved once more for each.
            let fill = |hold: &mut Hold<'_>, pool: &Pool, args: &mut &[u8]| Ok(pool.fill_inline(hold, request, rule, args));
            return self.submit_all(request.lane(), args, fill, each);
        }
        let ready: Vec<_> = args.map(|args| self.prepare(request, rule, args)).collect::<Result<_>>()?;
        self.submit_all(request.lane(), ready.into_iter(), |hold, pool, task| pool.fill(hold, task), each)
    }

    /// Publishes a task with the same arguments for each of these requests, which name workers.
    pub(crate) fn submit_each(
        &self,
        requests: &[Request],
        rule: Rule,
        args: &[u8],
        mut each: impl FnMut(Ticket),
    ) -> Result<()> {
        let ready: Vec<_> = requests.iter().map(|request| self.prepare(request, rule, args)).collect::<Result<_>>()?;
        let mut tickets = Vec::with_capacity(requests.len());
        let lane = requests.first().map_or(self.lane, Request::lane);
        let fill = |hold: &mut Hold<'_>, pool: &Pool, task: &mut Ready<'_>| pool.fill(hold, task);
        let sent = self.submit_all(lane, ready.into_iter(), fill, |ticket| tickets.push(ticket));
        // The announcement has woken one worker, and each has a task of its own.
        self.segment().sleepers().wake_each();
        for (ticket, request) in tickets.into_iter().zip(requests) {
            if request.set != 0 {
                self.look_at_set(request.set, ticket);
            }
            each(ticket);
        }
        sent
    }

    /// Publishes many tasks, of one priority and so in this lane, in as few holds of the mutex as their number needs.
    #[inline]
    fn submit_all<T>(
        &self,
        lane: usize,
        mut tasks: impl Iterator<Item = T>,
        mut fill: impl FnMut(&mut Hold<'_>, &Pool, &mut T) -> Result<Option<Ticket>>,
        mut each: impl FnMut(Ticket),
    ) -> Result<()> {
        self.check_usable()?;
        let mut next = tasks.next();
        if next.is_none() {
            // No task of it is refused, so the submit is.
            return self.segment().check_open().map_err(|e| self.explain(e));
        }
        let mut work = |hold: &mut Hold<'_>, pool: &Pool| {
            while let Some(task) = &mut next {
                match fill(hold, pool, task)? {
                    Some(ticket) => each(ticket),
                    None => return Ok(false),
                }
                next = tasks.next();
            }
            Ok(true)
        };
        match self.hold_once(lane, None, self.allowance(lane), &mut work)? {
            Turn::Done => Ok(()),
            Turn::More(..) | Turn::None => self.publish_slow(lane, &mut work, WhenFull::Wait),
        }
    }

    /// Fills and publishes one slot of a held lane with arguments that fit into it; `None` when this hold finds no free slot.
    #[inline]
    fn fill_inline(&self, hold: &mut Hold<'_>, request: &Request, rule: Rule, args: &[u8]) -> Option<Ticket> {
        debug_assert!(args.len() <= INLINE_MAX);
        let found = hold.next_free()?;
        if request.options & OPTION_TERMS != 0 {
            self.write_terms(request, rule, found.0);
        }
        Some(self.publish_into(found, hold, request, Args::Inline(args)))
    }

    /// The same with arguments wherever they are.
    #[inline]
    fn fill(&self, hold: &mut Hold<'_>, ready: &mut Ready<'_>) -> Result<Option<Ticket>> {
        let Some(found) = hold.next_free() else { return Ok(None) };
        let mut args = Args::Inline(ready.args);
        // The block first, the slot's word afterwards: see `payload.rs`.
        if let Some(lease) = ready.lease.take() {
            args = Args::InBlock(lease.name(), ready.len as u32);
            let (index, _, free) = found;
            if !lease.hand_to(self.segment().slot_number(ready.request.lane(), index), free.generation()) {
                return Err(self.segment().poison("the owner of a leased payload block"));
            }
        }
        if ready.request.options & OPTION_TERMS != 0 {
            self.write_terms(ready.request, ready.rule, found.0);
        }
        Ok(Some(self.publish_into(found, hold, ready.request, args)))
    }

    /// Fills and publishes the slot that `Hold::next_free` gave.
    // What is done here is most of what a submit costs.
    #[inline(always)]
    fn publish_into(
        &self,
        (index, slot, free): (usize, &Slot, State),
        hold: &mut Hold<'_>,
        request: &Request,
        args: Args<'_>,
    ) -> Ticket {
        slot.write(request, hold.place(), args);
        hold.publish(slot, free);
        let ticket = Ticket { slot: self.segment().slot_number(request.lane(), index), generation: free.generation() };
        self.note_newest(ticket);
        ticket
    }

    /// Before the task is published. The extras are there: whoever made the request has seen to that.
    #[cold]
    fn write_terms(&self, request: &Request, rule: Rule, index: usize) {
        if let Some(extra) = self.segment().extra(request.lane(), index) {
            extra.limits.store(request.limits().bits(), Relaxed);
            rule.store(extra.retry.each_ref());
        }
    }

    /// How many unfinished tasks this submitter may have in a lane: in one that several share, its part.
    fn quota(&self, lane: usize) -> usize {
        self.part(self.segment().lane(lane).head.users.load(Relaxed) as usize)
    }

    fn part(&self, users: usize) -> usize {
        if users > 1 { (self.capacity() / users).max(1) } else { self.capacity() }
    }

    #[inline]
    fn is_lane_shared(&self, lane: usize) -> bool {
        self.segment().lane(lane).head.users.load(Relaxed) > 1
    }

    /// How many tasks this submitter may add. Outside the mutex: threads of one process may go over the quota by a few.
    #[inline]
    fn allowance(&self, lane: usize) -> usize {
        if self.is_lane_shared(lane) { self.allowance_of_shared(lane) } else { usize::MAX }
    }

    /// Counted anew each time: that takes a look at every slot, but only where submitters share a lane, and it cannot go wrong. So are the submitters when its
    /// part is used up, and now and then before.
    #[cold]
    fn allowance_of_shared(&self, lane: usize) -> usize {
        let left = self.quota(lane).saturating_sub(self.count_own(lane));
        if left != 0 && !self.segment().lane(lane).next_slot().is_multiple_of(RECOUNT_EACH) {
            return left;
        }
        match self.recount_users(lane) {
            ..=1 => usize::MAX,
            users => self.part(users).saturating_sub(self.count_own(lane)),
        }
    }

    /// Whether it may add none before one of its own is over, whatever room there is.
    pub(crate) fn is_over_quota(&self, lane: usize) -> bool {
        self.allowance(lane) == 0
    }

    #[cold]
    fn count_own(&self, lane: usize) -> usize {
        let slots = self.segment().lane(lane).slots;
        slots.iter().filter(|s| !s.load().is(Phase::Free) && s.submitted_by() == self.member.who()).count()
    }

    /// One hold of the lane, for no more than `allowance` tasks, from `position` on: where an earlier one has looked in vain.
    #[inline]
    fn hold_once(
        &self,
        lane: usize,
        position: Option<u64>,
        allowance: usize,
        work: &mut dyn FnMut(&mut Hold<'_>, &Pool) -> Result<bool>,
    ) -> Result<Turn> {
        let segment = self.segment();
        let mut hold = self.member.hold_lane(lane)?;
        // Under the mutex: shutting down sets the flag and then takes every lane's mutex once, so nothing is published after that.
        segment.check_open().map_err(|e| self.explain(e))?;
        hold.limit(allowance);
        if allowance == 0 || position.is_some_and(|position| !hold.go_on_from(position)) {
            return Ok(Turn::None);
        }
        let done = work(&mut hold, self);
        let (published, position) = (hold.has_published(), hold.position());
        drop(hold);
        if published {
            segment.sleepers().announce();
        }
        Ok(if done? { Turn::Done } else { Turn::More(position, published) })
    }

    /// Holds the lane as often as `work` needs, making room or waiting in between; `work` says when it is done.
    #[cold]
    fn publish_slow(
        &self,
        lane: usize,
        work: &mut dyn FnMut(&mut Hold<'_>, &Pool) -> Result<bool>,
        when_full: WhenFull,
    ) -> Result<()> {
        let start = now_ns();
        let deadline = match when_full {
            WhenFull::WaitFor(d) => start.saturating_add(crate::limits::nanos(d)),
            WhenFull::Wait | WhenFull::Refuse => u64::MAX,
        };
        let (mut oldest, mut patience, mut pace) = (self.oldest(lane), Patience::default(), WaitPace::new(start));
        loop {
            self.harvest_lane(lane);
            // One lap: a hold looks at a bounded number of slots. What was published meanwhile moves the tail, and with it the lap's end.
            let (mut position, mut allowance) = (None, self.allowance(lane));
            loop {
                match self.hold_once(lane, position, allowance, work)? {
                    Turn::Done => return Ok(()),
                    Turn::More(next, published) => {
                        position = Some(next);
                        // What was looked at in vain takes nothing of it, and to count costs as much as a lap.
                        if published {
                            allowance = self.allowance(lane);
                        }
                    }
                    Turn::None => break,
                }
            }
            let now = now_ns();
            match when_full {
                WhenFull::Refuse => return Err(Error::Full { capacity: self.quota(lane) }),
                WhenFull::WaitFor(after) if now >= deadline => {
                    return Err(Error::TimedOut { what: "a free slot in the ring", after });
                }
                WhenFull::Wait if crate::nested::help_oldest(self, lane)? => {}
                WhenFull::Wait | WhenFull::WaitFor(_) => {
                    let found = self.oldest(lane);
                    if found != oldest {
                        (oldest, patience) = (found, Patience::default());
                    }
                    // In a task: if all of them wait for this one, there will never be any.
                    let _waits = match when_full {
                        WhenFull::Wait => crate::nested::begin_wait_for_room(self, lane)?,
                        WhenFull::WaitFor(_) | WhenFull::Refuse => None,
                    };
                    self.wait_for_room(lane, (now, deadline), oldest, &mut patience)?;
                    if pace.until(now).is_none() {
                        self.look_after_waits()?;
                        pace.looked(now);
                    }
                }
            }
        }
    }

    /// The slot that the next submit looks at first, and its word.
    fn oldest(&self, lane: usize) -> (usize, State) {
        let ring = self.segment().lane(lane);
        let index = ring.next_slot();
        (index, ring.slots[index].load())
    }

    /// Waits until the oldest slot of the lane, which was as told, is finished or free; over the quota, for a moment. Others may be first: then the bounded
    /// sleep ends the wait.
    fn wait_for_room(
        &self,
        lane: usize,
        (now, deadline): (u64, u64),
        oldest: (usize, State),
        patience: &mut Patience,
    ) -> Result<()> {
        let for_a_moment = || std::thread::sleep(Duration::from_nanos(FULL_NS_MAX.min(deadline.saturating_sub(now))));
        if self.allowance(lane) == 0 {
            for_a_moment();
            return Ok(());
        }
        let (index, seen) = oldest;
        let slot = &self.segment().lane(lane).slots[index];
        let moved = || (slot.load().generation() != seen.generation() || slot.load().is_finished()).then_some(());
        if seen.is(Phase::Free) {
            if seen.is_retired() {
                // It is never used again; another one will be free.
                self.check_not_used_up(lane)?;
                for_a_moment();
            }
            return Ok(());
        }
        if seen.is_finished() && slot.submitted_by() == self.member.who() {
            // Another thread takes it just now.
            let ticket = Ticket { slot: self.segment().slot_number(lane, index), generation: seen.generation() };
            self.await_taker(ticket, patience);
            return Ok(());
        }
        if spin::until(self.segment(), 0, deadline.saturating_sub(now), moved).is_some() {
            return Ok(());
        }
        let word = slot.flag(seen.generation(), Flag::Waiter).unwrap_or_else(|found| found);
        if word.generation() == seen.generation() && !word.is_finished() {
            futex_wait_low(&slot.state, word.0, Some(deadline.min(now + FULL_NS_MAX)));
        } else if word.is_finished() && slot.submitted_by() != self.member.who() {
            // In a shared lane the oldest slot may wait for another submitter to collect it.
            for_a_moment();
        }
        Ok(())
    }

    /// A slot takes 2^32 tasks in its life. When all of a lane's have, there is nothing to wait for.
    fn check_not_used_up(&self, lane: usize) -> Result<()> {
        let is_used_up = |slot: &Slot| slot.load().is_retired();
        match self.segment().lane(lane).slots.iter().all(is_used_up) {
            true => Err(Error::Broken {
                kind: self.segment().pool_kind(),
                cause: "every slot of the lane has had 2^32 tasks: make a new pool".into(),
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::life::Bit;
    use crate::search::Rings;
    use crate::slot::Request;
    use crate::state::State;
    use crate::{Error, Executor, StartMethod};

    #[test]
    fn slots_that_are_used_up_are_left_out_and_a_lane_of_them_is_an_error() {
        let double = crate::register("submit::double", |x: u64| 2 * x).unwrap();
        let pool = Executor::builder().workers(1).capacity(2).start(StartMethod::Thread).build().unwrap();
        let slots = pool.pool().segment().lane(pool.pool().lane).slots;
        let used_up = State(u64::from(u32::MAX) << 16);
        assert!(used_up.is_retired());
        slots[0].swap(slots[0].load(), used_up).unwrap();
        // One task at a time is left.
        for x in 0..5 {
            assert_eq!(pool.submit(double, x).unwrap().result(), Ok(2 * x));
        }
        // And of the other slot, the last one of its life.
        slots[1].swap(slots[1].load(), State(u64::from(u32::MAX - 1) << 16)).unwrap();
        assert_eq!(pool.submit(double, 7).unwrap().result(), Ok(14));
        assert!(matches!(pool.submit(double, 8).map(drop), Err(Error::Broken { .. })));
    }
    #[test]
    fn a_bulk_of_no_tasks_is_refused_by_a_pool_that_takes_none() {
        for bit in [Bit::Closing, Bit::Broken, Bit::Corrupt] {
            let pool = Executor::builder().start(StartMethod::None).build().unwrap();
            let (pool, request) = (pool.pool(), Request::default());
            let submit = || pool.submit_slices(&request, pool.retry, std::iter::empty(), |_| unreachable!("no task"));
            assert_eq!(submit(), Ok(()));
            pool.segment().set(bit);
            let refused = submit().unwrap_err();
            let is_right = match bit {
                Bit::Closing => refused == Error::ShutDown,
                Bit::Broken => matches!(refused, Error::Broken { .. }),
                _ => matches!(refused, Error::Corrupt { .. }),
            };
            assert!(is_right, "{bit:?}: {refused:?}");
        }
    }
}
