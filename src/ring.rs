//! A lane: a shared-memory ring buffer of task slots. Publishing is guarded by the lane's mutex; claiming is a
//! compare-and-swap of the head and one of the slot's state word. It knows no processes and no waiting.
//!
//! ```text
//! submit   lock: step from the tail to FREE slots, fill, FREE -> PENDING; tail past the last one; unlock
//! claim    slot[head] is PENDING and was published at this position, or head < tail:
//!          head -> head + 1, then PENDING -> RUNNING
//! ```
//! Head and tail are hints. The truth is in the state words: a task that a dead worker had reserved is found by the look at
//! every slot that follows a new epoch.
//!
//! Why a worker may look at `slot[head]` without reading the tail, which would cost the transfer of a second cache line: a
//! task is published at one position, written into the slot (`place`). A PENDING slot whose place is the head was published
//! there, and its submitter's tail is or soon will be past it; should the submitter die in between, whoever takes its mutex
//! over repairs the tail. A task left behind from an earlier lap carries another place and is taken only when head < tail:
//! otherwise the head could overtake the tail, and the next task would be published behind it, unseen.

use crate::layout::{LaneHead, Slot};
use crate::limits::SLOTS_PER_HOLD_MAX;
use crate::mutex::{Guard, Peers, ShmMutex, Stalled};
use crate::seeded::{Bug, seeded};
use crate::slot::WANTED_LATER;
use crate::state::{Participant, Phase, State};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64};

/// A lane of the segment.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) head: &'a LaneHead,
    pub(crate) slots: &'a [Slot],
    /// One bit for each slot that ended and whose submitter wants to be told.
    pub(crate) ended: &'a [AtomicU64],
    /// The last ends that were announced to submitters whose lane for normal tasks this is, in that order (`Ended` in `life.rs`). A hint beside the bitmaps:
    /// an announcer that dies leaves a hole.
    pub(crate) order: &'a [AtomicU32],
}

/// A task that the claimer runs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) slot: usize,
    pub(crate) state: State,
}

/// A look at every slot of a lane: what was pending when it began, with how long ago it was published, the oldest last.
#[derive(Debug, Default)]
pub(crate) struct Round {
    tasks: Vec<(u32, u32, State)>,
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A task that became pending meanwhile, to be taken before the others.
    pub(crate) fn put_first(&mut self, index: usize, state: State) {
        let age = self.tasks.last().map_or(0, |&(age, ..)| age);
        self.tasks.push((age, index as u32, state));
    }
}

/// What a look at the head of a lane found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Found {
    Task(Claim),
    Nothing,
    /// The task at the head is one that the caller cannot run.
    Foreign,
    /// The head was far behind the tail and has left positions out: what is pending there is found only by a look at every slot.
    Skipped,
}

/// How far a task's place is ahead of a position: not farther than publishers get while somebody looks. `None` when it is behind, for a task waits for
/// as long as nobody can run it, while others pass it.
fn ahead(place: u32, position: u64) -> Option<u32> {
    const AHEAD_MAX: u32 = 1 << 24;
    Some(place.wrapping_sub(position as u32)).filter(|&ahead| ahead < AHEAD_MAX)
}

#[inline]
fn at(slots: &[Slot], position: u64) -> (usize, &Slot) {
    let index = position as usize & (slots.len() - 1);
    (index, &slots[index])
}

impl<'a> Lane<'a> {
    #[inline]
    fn at(&self, position: u64) -> (usize, &'a Slot) {
        at(self.slots, position)
    }

    /// Locks the lane for publishing if nobody has it.
    #[inline]
    pub(crate) fn try_hold(self, me: Participant) -> Option<Hold<'a>> {
        ShmMutex(&self.head.mutex).try_lock(me).map(|guard| self.held(guard))
    }

    /// Locks the lane for publishing; repairs the tail if the last owner died.
    #[inline]
    pub(crate) fn hold(self, me: Participant, peers: &impl Peers) -> Result<Hold<'a>, Stalled> {
        let guard = ShmMutex(&self.head.mutex).lock(me, peers)?;
        Ok(self.held(guard))
    }

    /// The same, for a mutex that was taken already.
    #[inline]
    pub(crate) fn held(self, guard: Guard<'a>) -> Hold<'a> {
        let taken_over = guard.taken_over;
        // Relaxed: the mutex orders all accesses to the tail by its writers.
        let tail = self.head.tail.load(Relaxed);
        let mut hold = Hold {
            head: self.head,
            slots: self.slots,
            cursor: tail,
            tail,
            room: usize::MAX,
            looks: SLOTS_PER_HOLD_MAX.min(self.slots.len()),
            published: false,
            guard,
        };
        if taken_over {
            hold.repair();
        }
        hold
    }

    /// Looks for the next task in order. `runnable` says whether the caller can run what wants this.
    #[inline]
    pub(crate) fn claim(&self, me: Participant, runnable: &mut impl FnMut(u32) -> bool) -> Found {
        loop {
            // Acquire: pairs with the Release of the swap below; a head that was seen never seems to run backwards.
            let position = self.head.head.load(Acquire);
            let (index, slot) = self.at(position);
            let mut state = slot.load();
            let mut is_later = false;
            // Acquire: pairs with the Release in `Slot::write`. A place of a later task comes with that task's generation, so the
            // second look at the word tells whether the two belong together.
            let published_here =
                state.is(Phase::Pending) && slot.place.load(Acquire) == position as u32 && slot.load() == state;
            if !published_here {
                // Acquire: pairs with the Release in `Hold::drop`: what was published before this tail is visible.
                let tail = self.head.tail.load(Acquire);
                if position >= tail {
                    return Found::Nothing;
                }
                let lap = self.slots.len() as u64;
                let laps = (tail - position) / lap;
                if laps > 2 {
                    // The head has stood at a task that nobody could run while others passed it, or a word is damaged: it may be any number of laps behind.
                    let next = position + (laps - 2) * lap;
                    // Release: as below.
                    if self.head.head.compare_exchange(position, next, Release, Relaxed).is_ok() {
                        return Found::Skipped;
                    }
                    continue;
                }
                state = slot.load();
                // A look at every slot may have taken the task of this position before the head came by. One that has the slot since then is met at
                // its own position, in its turn. Acquire: as above; the place is that of the task seen, or of one after it.
                is_later = ahead(slot.place.load(Acquire), position.wrapping_add(1)).is_some();
            }
            let mut pending = state.is(Phase::Pending) && !is_later;
            if pending {
                let wanted = slot.wanted();
                if !runnable(wanted) {
                    if slot.load() != state {
                        // The slot changed meanwhile: the look was stale.
                        continue;
                    }
                    if wanted & WANTED_LATER == 0 {
                        // Left for somebody who can run it: the head stays.
                        return Found::Foreign;
                    }
                    // For later: others need not wait for it. Who can run it looks at every slot in its time.
                    pending = false;
                }
            }
            // Release: pairs with the Acquire above. Success reserves the position; a worker that dies now leaves PENDING.
            let reserved = self.head.head.compare_exchange(position, position.wrapping_add(1), Release, Relaxed).is_ok();
            if reserved
                && pending
                && let Ok(state) = slot.claim(state, me)
            {
                return Found::Task(Claim { slot: index, state });
            }
        }
    }

    /// Begins a look at every slot for what is pending, `runnable` and before position `end`. What is published meanwhile is left to the head: the look
    /// may have passed its slot, and would find a later one.
    pub(crate) fn round(&self, end: u64, runnable: &mut impl FnMut(u32) -> bool) -> Round {
        let mut tasks: Vec<_> = (0..self.slots.len()).filter_map(|index| self.pending_at(index, end, runnable)).collect();
        // The slots' own order is not that of the tasks: a full lane's tail steps over what is not free.
        tasks.sort_unstable_by_key(|&(age, ..)| age);
        Round { tasks }
    }

    /// The same for what was published from position `from` on. What was published before it is left out, or some of it.
    pub(crate) fn round_from(&self, from: u64, end: u64, runnable: &mut impl FnMut(u32) -> bool) -> Round {
        let new = end.wrapping_sub(from);
        if new >= self.slots.len() as u64 {
            return self.round(end, runnable);
        }
        // The youngest first, as in `round`.
        let indices = (0..new).rev().map(|ahead| self.at(from.wrapping_add(ahead)).0);
        let mut tasks: Vec<_> = indices.filter_map(|index| self.pending_at(index, end, runnable)).collect();
        // One that was stepped over in this lap has its place in an earlier one.
        tasks.retain(|&(age, ..)| u64::from(age) <= new);
        Round { tasks }
    }

    /// What is pending in a slot, published before position `end`, and `runnable`: how long ago, and where.
    #[inline]
    fn pending_at(&self, index: usize, end: u64, runnable: &mut impl FnMut(u32) -> bool) -> Option<(u32, u32, State)> {
        let slot = &self.slots[index];
        let state = slot.load();
        if !state.is(Phase::Pending) || !runnable(slot.wanted()) {
            return None;
        }
        // Acquire: pairs with the Release in `Slot::write`; the place is that of the task seen, or of one after it.
        let place = slot.place.load(Acquire);
        self.beyond(place, end).is_none().then(|| ((end as u32).wrapping_sub(place), index as u32, state))
    }

    /// How far a task's place is beyond a position; `None` when it was published before. A place is half of a position: after so many others that it seems to be
    /// ahead again, a task that waits for its worker, or was put back, has been passed, and it is the oldest there is.
    fn beyond(&self, place: u32, from: u64) -> Option<u32> {
        let beyond = ahead(place, from)?;
        let lap = self.slots.len() as u64;
        if u64::from(beyond) < lap {
            return Some(beyond);
        }
        // Acquire: pairs with the Release in `Hold::drop`. A publisher is less than a lap ahead of the tail that it has found.
        let tail = self.head.tail.load(Acquire);
        let is_new = u64::from(beyond) < tail.saturating_sub(from).saturating_add(lap);
        // Nor has there been a task at a place that the tail has never come to, but by damage.
        (is_new || u64::from(place) >= tail).then_some(beyond)
    }

    /// For [`round`](Lane::round): what the head has gone past. It comes by the rest in order.
    pub(crate) fn behind_head(&self) -> u64 {
        // Acquire: as in `claim`.
        self.head.head.load(Acquire)
    }

    /// For [`round`](Lane::round): everything. A position may be reserved, by a worker that has died since, before its publisher has stored the tail.
    pub(crate) fn behind_tail(&self) -> u64 {
        // Acquire: as in `claim`, both.
        self.head.tail.load(Acquire).max(self.head.head.load(Acquire))
    }

    /// Goes on with a look at every slot: takes the next task that is still pending, the oldest first.
    pub(crate) fn claim_in(&self, round: &mut Round, me: Participant) -> Option<Claim> {
        while let Some((_, index, state)) = round.tasks.pop() {
            if let Ok(state) = self.slots[index as usize].claim(state, me) {
                return Some(Claim { slot: index as usize, state });
            }
        }
        None
    }

    /// Whether this may be the place of a task that is pending in the slot.
    pub(crate) fn is_place(&self, index: usize, place: u32) -> bool {
        // A publisher may be less than a lap ahead of the tail that it has not stored yet.
        // Acquire: pairs with the Release in `Hold::drop`.
        let beyond = self.beyond(place, self.head.tail.load(Acquire));
        place as usize & (self.slots.len() - 1) == index && beyond.is_none_or(|beyond| (beyond as usize) < self.slots.len())
    }

    /// The first slot that the next submit will look at: what a blocked submitter waits for.
    pub(crate) fn next_slot(&self) -> usize {
        self.at(self.head.tail.load(Relaxed)).0
    }
}

/// The lane's mutex, held: the only way to publish a task or to move a tail.
pub(crate) struct Hold<'a> {
    head: &'a LaneHead,
    slots: &'a [Slot],
    /// The position looked at. The tail follows only when something is published: a full lane's tail would else run away from the head,
    /// and the workers would have to step over every position in between.
    cursor: u64,
    tail: u64,
    /// How many may be published.
    room: usize,
    /// How many positions may still be looked at: one hold ends soon, for others want the lane, too.
    looks: usize,
    published: bool,
    /// It unlocks when dropped.
    guard: Guard<'a>,
}

impl<'a> Hold<'a> {
    #[inline]
    fn at(&self, position: u64) -> (usize, &'a Slot) {
        at(self.slots, position)
    }

    /// Allows no more than `tasks` to be published.
    #[inline]
    pub(crate) fn limit(&mut self, tasks: usize) {
        self.room = tasks;
    }

    /// Looks at no more than so many positions.
    #[inline]
    pub(crate) fn look_at(&mut self, positions: usize) {
        self.looks = self.looks.min(positions);
    }

    /// Leaves out positions that an earlier hold has looked at in vain. False when that was a whole lap.
    #[must_use]
    pub(crate) fn go_on_from(&mut self, position: u64) -> bool {
        // Positions wrap, if only by damage: what counts is how far this one is ahead.
        let ahead = position.wrapping_sub(self.tail).cast_signed().max(0);
        if ahead > 0 {
            self.cursor = position;
        }
        let left = (self.slots.len() as i64).saturating_sub(ahead).max(0) as usize;
        // No farther than one lap from the tail that is stored: beyond that nobody would look for what a dead holder has published.
        self.looks = self.looks.min(left);
        left != 0
    }

    /// The position behind the last one looked at.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.cursor
    }

    /// Steps to the next FREE slot; `None` when this hold has looked at enough, or at all of them, or may publish no more.
    #[inline(always)]
    pub(crate) fn next_free(&mut self) -> Option<(usize, &'a Slot, State)> {
        while self.looks != 0 && self.room != 0 {
            let (index, slot) = self.at(self.cursor);
            let state = slot.load();
            self.looks -= 1;
            if state.is(Phase::Free) && !state.is_retired() {
                return Some((index, slot, state));
            }
            self.cursor = self.cursor.wrapping_add(1);
        }
        None
    }

    /// The position that `next_free` stopped at, for the slot's `place`.
    #[inline]
    pub(crate) fn place(&self) -> u32 {
        self.cursor as u32
    }

    /// FREE -> PENDING of the slot that `next_free` gave and the caller has filled.
    #[inline]
    pub(crate) fn publish(&mut self, slot: &Slot, free: State) {
        // Outside the models the word may be another one by damage, which is no matter of the caller's.
        debug_assert!(std::ptr::eq(self.at(self.cursor).1, slot) && (!cfg!(loom) || slot.load() == free));
        if seeded(Bug::TailFirst) {
            // Release: as in `drop`.
            self.head.tail.store(self.cursor.wrapping_add(1), Release);
        }
        slot.publish(free);
        self.cursor = self.cursor.wrapping_add(1);
        self.tail = self.cursor;
        self.room -= 1;
        self.published = true;
    }

    /// Whether the last holder died.
    pub(crate) fn taken_over(&self) -> bool {
        self.guard.taken_over
    }

    /// Whether this hold has published anything.
    #[inline]
    pub(crate) fn has_published(&self) -> bool {
        self.published
    }

    /// For who waits though no backlog is told of: damage may have brought head and tail to where nobody comes by what is pending.
    pub(crate) fn mend(&mut self) {
        // Acquire: pairs with the Release of a reservation.
        if self.head.head.load(Acquire) >= self.tail {
            self.repair();
        }
    }

    /// Moves the tail past the head, and past what was published farther on: at most one lap of positions. A dead owner may have published behind the tail
    /// that it left; a damaged tail or head is put right by the same.
    fn repair(&mut self) {
        if seeded(Bug::NoTailRepair) {
            return;
        }
        // Positions before the head are used up. Acquire: pairs with the Release of a reservation.
        let from = self.tail.max(self.head.head.load(Acquire));
        self.tail = from;
        for position in from..from.saturating_add(self.slots.len() as u64) {
            // Whatever has become of the task: a worker may be about to reserve its position, so that is never used again.
            if self.at(position).1.place.load(Relaxed) == position as u32 {
                self.tail = position.saturating_add(1);
            }
        }
        self.cursor = self.tail;
        // At once: should we die before this hold ends, the next owner looks over one lap from here. Release: as in `drop`.
        self.head.tail.store(self.tail, Release);
    }

    /// The slots that hold nothing: while the lane is held, nobody publishes into them.
    pub(crate) fn free_slots(&self) -> impl Iterator<Item = (usize, State)> + '_ {
        self.slots.iter().enumerate().map(|(i, s)| (i, s.load())).filter(|(_, s)| s.is(Phase::Free))
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.published {
            // Release: pairs with the Acquire loads of the tail in `claim`. The mutex is unlocked after this, by the field.
            self.head.tail.store(self.tail, Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_stand_behind_for_any_time() {
        let (head, slots) = (LaneHead::default(), [(); 8].map(|()| Slot::default()));
        let lane = Lane { head: &head, slots: &slots, ended: &[], order: &[] };
        slots[3].place.store(3 + 8, Relaxed);
        slots[3].publish(State(0));
        slots[4].place.store(4 + 16, Relaxed);
        slots[4].publish(State(0));
        // The last one was passed by the tail, and then seems to be ahead of it.
        for passed in [0, 7, 1 << 24, (1 << 32) - (1 << 24), (1 << 32) - 100, 1 << 32, (1 << 33) - 100] {
            let tail = 4 + 16 + 1 + passed;
            head.tail.store(tail, Relaxed);
            assert!(lane.is_place(3, 3 + 8) && !lane.is_place(4, 3 + 8), "{passed}");
            let round = lane.round(tail, &mut |_| true);
            let slots: Vec<u32> = round.tasks.iter().map(|&(_, index, _)| index).collect();
            // The oldest last, but where one of the two is behind a whole round of numbers and the other one is not.
            let is_split = ((1 << 32) - 10..1 << 32).contains(&passed);
            assert!(slots == [4, 3] || is_split && slots.len() == 2, "{passed}: {slots:?}");
        }
        head.tail.store(8, Relaxed);
        assert!(lane.is_place(3, 3 + 8) && !lane.is_place(3, 3 + 16) && lane.is_place(3, 3));
    }

    #[test]
    fn what_is_published_after_a_look_began_is_left_to_the_head() {
        let (head, slots) = (LaneHead::default(), [(); 8].map(|()| Slot::default()));
        let lane = Lane { head: &head, slots: &slots, ended: &[], order: &[] };
        for begun in [8, 1 << 20, (1 << 32) + 8, 5 << 32] {
            for meanwhile in [1, 100, 1 << 20] {
                let place = begun + meanwhile - 1;
                let slot = &slots[place as usize % 8];
                slot.place.store(place as u32, Relaxed);
                slot.publish(State(0));
                // Its publisher may have stored the tail or not.
                for tail in [begun + meanwhile, place - 7] {
                    head.tail.store(tail, Relaxed);
                    assert!(lane.round(begun, &mut |_| true).is_empty(), "{begun} {meanwhile} {tail}");
                }
                slot.state.store(0, Relaxed);
            }
        }
    }
}
