//! A worker's search for its next task: in order from the heads of the lanes, and at every slot after a new epoch. Lanes of a higher level of priority come
//! first, and of one level each in its turn.
//!
//! A new epoch means that a task became pending somewhere that no head will come by again (a requeue), that a head has left
//! positions out, or that somebody died and may have reserved a position without claiming it. Whoever sees the new epoch looks
//! once at every slot, running what it finds on the way: of each level before what comes at the heads of its lanes.
//!
//! No level starves: the tasks of higher levels that a worker takes are counted, and after `PASSED_MAX` of them it looks at the lower level first. The counts
//! stand in the record of its seat, and whoever has the seat next goes on with them: workers may leave or die after fewer tasks than that. Only the worker of
//! the seat writes them, before the task begins, and any value will do: a damaged one means that a level is looked at first once more.

use crate::limits::PASSED_MAX;
use crate::priority::{LEVELS, Priority};
use crate::ring::{Claim, Found, Lane, Round};
use crate::seeded::{Bug, seeded};
use crate::sleep::Sleepers;
use crate::slot::{WANTED_LATER, WANTED_TARGET};
use crate::state::{Participant, Phase, State};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU32, AtomicU64, Wait, fence};

/// The lanes of a pool and its epoch.
pub(crate) trait Rings {
    fn lane(&self, index: usize) -> Lane<'_>;
    /// One bit for each lane in use.
    fn used(&self) -> &AtomicU64;
    fn epoch(&self) -> &AtomicU32;
    /// What the record of `who` says of levels that were passed, see `Passed`.
    fn passed(&self, who: Participant) -> &AtomicU32;

    /// A new epoch: everybody looks at every slot once.
    fn new_epoch(&self) {
        if seeded(Bug::NoEpoch) {
            return;
        }
        // Release: pairs with the Acquire in `Search::look`.
        self.epoch().fetch_add(1, Release);
        // Pairs with the fence in `Sleepers::prepare`: whoever marks itself idle after this sees the new epoch.
        fence(SeqCst);
    }

    /// Tells everybody of a task that was put back and may begin at once: any may be the one that can run it.
    fn tell_of_put_back(&self, sleepers: Sleepers<'_>) {
        self.new_epoch();
        sleepers.wake_each();
    }
}

/// A claimed task and the lane it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) lane: usize,
    pub(crate) claim: Claim,
}

impl Task {
    /// The word of its slot, if it was put back there and nobody has taken it since.
    fn that_waits(self, rings: &impl Rings) -> Option<State> {
        let state = rings.lane(self.lane).slots[self.claim.slot].load();
        (state.is(Phase::Pending) && state.generation() == self.claim.state.generation()).then_some(state)
    }
}

/// How a worker's attempt to sleep ended.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Rest {
    /// There was work after all.
    Task(Task),
    /// `stop` said so.
    Stopped,
    /// It slept; `by_mark` when a waker had taken its idle mark.
    Slept { wait: Wait, by_mark: bool },
}

/// A look at every slot, lane by lane, each in the order in which its tasks came.
#[derive(Default)]
struct Scan {
    /// One bit for each lane that was looked through.
    done: u64,
    /// Those that are being looked through.
    rounds: Vec<(usize, Round)>,
}

/// Of each level a byte: how many tasks of higher levels were taken since one of this level was, or none was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passed(u32);

impl Passed {
    fn of(self, level: Priority) -> u8 {
        self.0.to_le_bytes()[level.index()]
    }

    /// A task of that level was taken, or none was there.
    fn without(self, level: Priority) -> Passed {
        if seeded(Bug::AlwaysOverdue) {
            return self;
        }
        Passed(self.0 & !(0xff << (8 * level.index())))
    }

    /// A task of this level was taken.
    fn after(self, level: Priority) -> Passed {
        let mut counts = self.0.to_le_bytes();
        for lower in Priority::ALL.into_iter().filter(|&lower| lower < level) {
            let passed = &mut counts[lower.index()];
            *passed = passed.saturating_add(1);
        }
        Passed(u32::from_le_bytes(counts)).without(level)
    }
}

/// Where one worker is in its search. Private to the worker.
pub(crate) struct Search {
    me: Participant,
    epoch: u32,
    /// The look at every slot goes on here.
    scan: Option<Scan>,
    /// Of each level: the lane whose turn it is.
    next_lane: [usize; LEVELS],
    /// The looks beside tasks that we cannot run and that stand at the heads of their lanes: one for each such lane.
    beside: Vec<Beside>,
    /// In this lane a look beside its head has met a task whose function we lack; head and tail as they were then.
    foreign: Option<(usize, u64, u64)>,
    /// The same, when we last woke another worker for it. A later tail means that there is a task which that one did not see.
    passed_on: Option<(usize, u64, u64)>,
}

/// A look at a lane's slots that goes on while a task that we cannot run stands at its head.
struct Beside {
    lane: usize,
    /// Where the head stood at the last of them.
    head: u64,
    round: Round,
    /// What was published before this position has been in a round. What becomes pending there again comes with a new epoch.
    seen: u64,
}

impl Search {
    /// Begins with a look at every slot: what happened before we came, we have not seen.
    pub(crate) fn new(me: Participant) -> Search {
        Search {
            me,
            epoch: 0,
            scan: Some(Scan::default()),
            next_lane: Priority::ALL.map(|_| 0),
            beside: Vec::new(),
            foreign: None,
            passed_on: None,
        }
    }

    /// The next look goes over every slot.
    pub(crate) fn look_everywhere(&mut self) {
        self.scan = Some(Scan::default());
        self.beside.clear();
    }

    /// The next task that we can run, claimed.
    #[inline]
    pub(crate) fn look(&mut self, rings: &impl Rings, runnable: &mut impl FnMut(u32) -> bool) -> Option<Task> {
        // Acquire: pairs with the Release of whoever made the new epoch, so the slots it tells of are visible.
        let epoch = rings.epoch().load(Acquire);
        // Acquire: pairs with the Release of whoever took the lane into use.
        let used = rings.used().load(Acquire);
        if epoch == self.epoch && self.scan.is_none() && used.is_power_of_two() {
            return self.look_at(rings, used.trailing_zeros() as usize, runnable);
        }
        self.look_around(rings, epoch, used, runnable)
    }

    /// The next task after this worker has put one back that may begin at once, and of which nobody else knows. It is that task, the first of its level, unless
    /// something comes before it: then everybody is told of it, for what we do first may take any time.
    #[cold]
    pub(crate) fn look_after_put_back(
        &mut self,
        rings: &impl Rings,
        sleepers: Sleepers<'_>,
        runnable: &mut impl FnMut(u32) -> bool,
        back: Task,
    ) -> Option<Task> {
        if let Some(state) = back.that_waits(rings) {
            self.come_back_to(back, state);
        }
        let next = self.look(rings, runnable);
        if back.that_waits(rings).is_some() && !seeded(Bug::BackUntold) {
            rings.tell_of_put_back(sleepers);
        }
        next
    }

    /// Has the next look take it before others of its level. One that has yet to come to its lane meets it there, if it is behind the head.
    fn come_back_to(&mut self, back: Task, state: State) {
        let scan = self.scan.get_or_insert_with(|| Scan { done: u64::MAX, rounds: Vec::new() });
        if let Some((_, round)) = scan.rounds.iter_mut().find(|(lane, _)| *lane == back.lane) {
            round.put_first(back.claim.slot, state);
        } else if scan.done & 1 << back.lane != 0 {
            let mut round = Round::default();
            round.put_first(back.claim.slot, state);
            scan.rounds.push((back.lane, round));
            scan.done &= !(1 << back.lane);
        }
    }

    /// The look when there is more than one lane, or every slot to look at: apart, so that the other one is small.
    #[inline(never)]
    fn look_around(
        &mut self,
        rings: &impl Rings,
        epoch: u32,
        used: u64,
        runnable: &mut impl FnMut(u32) -> bool,
    ) -> Option<Task> {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.look_everywhere();
        }
        // Levels that so many tasks of higher ones have passed come first, the lowest of them before the other.
        let passed = Passed(rings.passed(self.me).load(Relaxed));
        let is_overdue = |level: Priority| passed.of(level) >= PASSED_MAX && !seeded(Bug::NeverOverdue);
        let overdue = Priority::ALL.into_iter().rev().filter(|&level| is_overdue(level));
        for level in overdue.chain(Priority::ALL) {
            if let Some(task) = self.look_in(rings, level, used, runnable) {
                return Some(task);
            }
            self.note_passed(rings, |passed| passed.without(level));
        }
        // Every lane was looked through.
        self.scan = None;
        None
    }

    /// Counts. Relaxed: nobody else writes while we have the seat, and who has it next sees it by the record's state.
    fn note_passed(&self, rings: &impl Rings, next: impl Fn(Passed) -> Passed) {
        let word = rings.passed(self.me);
        let old = Passed(word.load(Relaxed));
        let new = next(old);
        if new != old {
            word.store(new.0, Relaxed);
        }
    }

    /// The look at the lanes of one level.
    fn look_in(
        &mut self,
        rings: &impl Rings,
        level: Priority,
        used: u64,
        runnable: &mut impl FnMut(u32) -> bool,
    ) -> Option<Task> {
        let lanes = used & level.mask();
        if lanes == 0 {
            return None;
        }
        if self.scan.is_some()
            && let Some(task) = self.scan(rings, lanes, used, runnable)
        {
            self.note_passed(rings, |passed| passed.after(level));
            return Some(task);
        }
        // Round robin, one task from each lane: no submitter waits behind another one's backlog.
        let next = self.next_lane[level.index()];
        let mut left = lanes.rotate_right(next as u32);
        while left != 0 {
            let lane = (next + left.trailing_zeros() as usize) % 64;
            left &= left - 1;
            let task = match rings.lane(lane).claim(self.me, runnable) {
                Found::Task(claim) => Some(Task { lane, claim }),
                Found::Nothing => None,
                Found::Skipped => {
                    rings.new_epoch();
                    // It counts what it takes.
                    return self.look_again(rings, runnable);
                }
                Found::Foreign => self.look_beside(rings, lane, runnable),
            };
            if task.is_some() {
                self.next_lane[level.index()] = lane + 1;
                self.note_passed(rings, |passed| passed.after(level));
                return task;
            }
        }
        None
    }

    #[inline]
    fn look_at(&mut self, rings: &impl Rings, lane: usize, runnable: &mut impl FnMut(u32) -> bool) -> Option<Task> {
        match rings.lane(lane).claim(self.me, runnable) {
            Found::Task(claim) => Some(Task { lane, claim }),
            Found::Nothing => None,
            Found::Skipped => {
                rings.new_epoch();
                self.look_again(rings, runnable)
            }
            Found::Foreign => self.look_beside(rings, lane, runnable),
        }
    }

    #[cold]
    fn look_again(&mut self, rings: &impl Rings, runnable: &mut impl FnMut(u32) -> bool) -> Option<Task> {
        self.look(rings, runnable)
    }

    /// Takes what stands behind a head that we cannot run: what has come since the last look, and at first everything. So a head that stands for long, for
    /// the worker that it is for is busy, costs the others little.
    #[cold]
    fn look_beside(&mut self, rings: &impl Rings, lane: usize, runnable: &mut impl FnMut(u32) -> bool) -> Option<Task> {
        let ring = rings.lane(lane);
        let index = self.beside.iter().position(|beside| beside.lane == lane).unwrap_or_else(|| {
            self.beside.push(Beside { lane, head: 0, round: Round::default(), seen: 0 });
            self.beside.len() - 1
        });
        let beside = &mut self.beside[index];
        // Acquire: as in `Lane::claim`.
        beside.head = ring.head.head.load(Acquire);
        let mut claim = ring.claim_in(&mut beside.round, self.me);
        if claim.is_none() {
            let end = ring.behind_tail();
            // A task for another worker needs nobody who passes a wake on: whoever publishes it wakes that one.
            let mut lacks_function = false;
            let mut runnable = |wanted: u32| {
                let can = runnable(wanted);
                lacks_function |= !can && wanted & (WANTED_TARGET | WANTED_LATER) == 0;
                can
            };
            beside.round = ring.round_from(beside.seen, end, &mut runnable);
            beside.seen = end;
            claim = ring.claim_in(&mut beside.round, self.me);
            if lacks_function {
                self.foreign = Some((lane, beside.head, end));
            }
        }
        claim.map(|claim| Task { lane, claim })
    }

    #[cold]
    fn scan(&mut self, rings: &impl Rings, lanes: u64, used: u64, runnable: &mut impl FnMut(u32) -> bool) -> Option<Task> {
        let mut scan = self.scan.take()?;
        let mut left = lanes & !scan.done;
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            let ring = rings.lane(lane);
            let at = scan.rounds.iter().position(|&(of, _)| of == lane).unwrap_or_else(|| {
                scan.rounds.push((lane, ring.round(ring.behind_head(), runnable)));
                scan.rounds.len() - 1
            });
            if let Some(claim) = ring.claim_in(&mut scan.rounds[at].1, self.me) {
                self.scan = Some(scan);
                return Some(Task { lane, claim });
            }
            scan.rounds.swap_remove(at);
            scan.done |= 1 << lane;
            left &= left - 1;
        }
        if used & !scan.done != 0 {
            self.scan = Some(scan);
        }
        None
    }

    /// Sleeps until woken or `deadline_ns`, unless there is work or `stop` holds. The idle mark is gone on return.
    pub(crate) fn rest(
        &mut self,
        rings: &impl Rings,
        sleepers: Sleepers<'_>,
        runnable: &mut impl FnMut(u32) -> bool,
        stop: impl Fn() -> bool,
        deadline_ns: u64,
    ) -> Rest {
        let me = self.me.index();
        let seen = sleepers.prepare(me);
        // The second look: whoever published before the fence in `prepare` may not have seen our mark.
        if !seeded(Bug::NoSecondLook)
            && let Some(task) = self.look(rings, runnable)
        {
            sleepers.cancel(me);
            return Rest::Task(task);
        }
        if stop() {
            sleepers.cancel(me);
            return Rest::Stopped;
        }
        let wait = sleepers.sleep(me, seen, deadline_ns);
        let by_mark = sleepers.cancel(me);
        Rest::Slept { wait, by_mark }
    }

    /// Whether there is more that another worker might take. A hint. Of a lane at whose head stands a task that we cannot run that is what our looks beside
    /// it have not come to: the tasks that they left are passed on by `passes_on`, or their workers are told by who submits them.
    pub(crate) fn has_backlog(&self, rings: &impl Rings) -> bool {
        // Acquire: as in `look`.
        let used = rings.used().load(Acquire);
        (0..64).filter(|lane| used & 1 << lane != 0).any(|lane| {
            let ring = rings.lane(lane);
            // Acquire, both: pair with the Releases of who moves them, for the look before sleeping.
            let (head, tail) = (ring.head.head.load(Acquire), ring.head.tail.load(Acquire));
            match self.beside.iter().find(|beside| beside.lane == lane && beside.head == head) {
                Some(beside) => beside.seen < tail || !beside.round.is_empty(),
                None => head < tail,
            }
        })
    }

    /// After a look that has met tasks whose functions we lack: whether to wake another worker for it. Once for each task published since.
    pub(crate) fn passes_on(&mut self) -> bool {
        let foreign = self.foreign.take();
        let first = foreign.is_some() && foreign != self.passed_on;
        if first {
            self.passed_on = foreign;
        }
        first
    }
}
