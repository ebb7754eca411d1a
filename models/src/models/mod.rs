//! The protocol under loom: the very code that runs in the segment, in pools of one lane and a few slots, under every schedule
//! and every stale value that the memory model allows.
//!
//! ```text
//! cargo test --release -p taskring-models
//! ```
//! Schedules with more than three preemptions (in longer models two, in the longest one) are left out
//! (`LOOM_MAX_PREEMPTIONS` sets another bound); nothing else is, and nothing is sampled. A task that is left behind or a wake that is
//! lost shows as a deadlock, because no sleep in a model ends by time. What a real pool has around the protocol (the worker's loop, the reaper's steps) is played here, one method for each; in `deaths`
//! the reaper is the library's own.

mod beside;
mod circle;
mod crash;
mod deaths;
mod events;
mod mutex;
mod priority;
mod ring;
mod set;
mod shutdown;
mod sleep;
mod state;
mod steering;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::thread::JoinHandle;

use crate::layout::{Apart, LaneHead, Life, Record, Slot};
use crate::limits::{OWNER_SEAT, PARTICIPANT_WORDS};
use crate::mutex::{Peers, ShmMutex};
use crate::ring::{Claim, Found, Hold, Lane};
use crate::search::{Rest, Rings, Search, Task};
use crate::set::Sets;
use crate::sleep::Sleepers;
use crate::slot::{Args, Request};
use crate::state::{Flag, Participant, Phase, State};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU32, AtomicU64, fence, futex_wait, futex_wait_low, futex_wake, futex_wake_low};

/// Workers, whose records (what they sleep on) come behind the owner's.
const W1: Participant = Participant::from_bits(1 << 6 | 1);
const W2: Participant = Participant::from_bits(2 << 6 | 1);
/// Submitters.
const S1: Participant = Participant::from_bits(8 << 6 | 1);
const S2: Participant = Participant::from_bits(9 << 6 | 1);
/// Who acts for the dead.
const REAPER: Participant = Participant::from_bits(10 << 6 | 1);

/// Explores `body` with at most three preemptions in a run.
fn model(body: impl Fn() + Send + Sync + 'static) {
    println!("{} runs", explore(3, body));
}

/// The same with two preemptions, where three participants with long ways to go would have too many schedules.
fn crowded_model(body: impl Fn() + Send + Sync + 'static) {
    println!("{} runs", explore(2, body));
}

/// The same with one preemption, for what tells all participants of something.
fn long_model(body: impl Fn() + Send + Sync + 'static) {
    println!("{} runs", explore(1, body));
}

/// Says how many runs it took; `--nocapture` shows it.
fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) -> usize {
    let mut settings = loom::model::Builder::new();
    settings.preemption_bound.get_or_insert(preemptions);
    settings.max_branches = settings.max_branches.max(8000);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    settings.check(move || {
        counted.fetch_add(1, Relaxed);
        body();
    });
    runs.load(Relaxed)
}

/// Everybody can run everything.
fn anything(_wanted: u32) -> bool {
    true
}

/// A small pool, built from the segment's own structs.
struct Pool {
    life: Life,
    idle: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    searching: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    records: Vec<Record>,
    head: LaneHead,
    slots: Vec<Slot>,
    ended: Vec<AtomicU64>,
    order: Vec<AtomicU32>,
    sets: [AtomicU64; 1],
    set_counts: [AtomicU64; 1],
    /// One bit for each participant that is proved dead.
    dead: AtomicU64,
    /// Held by who acts for a dead participant.
    reaper_byte: loom::sync::Mutex<()>,
}

/// A task that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    slot: usize,
    generation: u32,
}

impl Pool {
    /// One lane of `capacity` slots, and records for `workers`, and for who looks for tasks beside them.
    fn new(capacity: usize, workers: usize) -> Arc<Pool> {
        let pool = Pool {
            life: Life::default(),
            idle: Apart::default(),
            searching: Apart::default(),
            records: (0..=workers.max(W2.index())).map(|_| Record::default()).collect(),
            head: LaneHead::default(),
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            ended: Vec::new(),
            order: Vec::new(),
            sets: Default::default(),
            set_counts: Default::default(),
            dead: AtomicU64::new(0),
            reaper_byte: loom::sync::Mutex::new(()),
        };
        pool.life.lanes.store(1, Relaxed);
        Arc::new(pool)
    }

    fn ring(&self) -> Lane<'_> {
        Lane { head: &self.head, slots: &self.slots, ended: &self.ended, order: &self.order }
    }

    fn sleepers(&self) -> Sleepers<'_> {
        Sleepers { idle: &self.idle, searching: &self.searching, records: &self.records }
    }

    fn sets(&self) -> Sets<'_> {
        Sets { words: &self.sets, cancelled: &self.set_counts }
    }

    fn slot(&self, ticket: Ticket) -> &Slot {
        &self.slots[ticket.slot]
    }

    /// Publishes a task, without waking anybody. `None` when there is no room.
    fn publish(&self, me: Participant, request: Request) -> Option<Ticket> {
        let mut hold = self.ring().hold(me, self).expect("nobody stalls in a model");
        publish_in(&mut hold, me, request)
    }

    /// Publishes a task and wakes who sleeps.
    fn submit(&self, me: Participant, request: Request) -> Option<Ticket> {
        let ticket = self.publish(me, request);
        self.sleepers().announce();
        ticket
    }

    /// The next task in order, if there is one.
    fn claim(&self, me: Participant) -> Option<Claim> {
        match self.ring().claim(me, &mut anything) {
            Found::Task(claim) => Some(claim),
            Found::Nothing => None,
            it @ (Found::Foreign | Found::Skipped) => panic!("everybody can run everything: {it:?}"),
        }
    }

    /// The oldest task, by a look at every slot.
    fn claim_any(&self, me: Participant) -> Option<Claim> {
        let ring = self.ring();
        ring.claim_in(&mut ring.round(ring.behind_tail(), &mut anything), me)
    }

    /// Claims in order until there is nothing, and says how many there were.
    fn drain(&self, me: Participant) -> usize {
        std::iter::from_fn(|| self.claim(me)).count()
    }

    /// RUNNING -> DONE, and wakes who waits. False when the task is not ours any more.
    fn complete(&self, me: Participant, claim: Claim) -> bool {
        self.wake_waiter(claim.slot, self.slots[claim.slot].complete(me, claim.state.generation()))
    }

    /// After a transition that ends a task: wakes who waits for it. Whether there was a transition.
    fn wake_waiter(&self, slot: usize, transition: Result<State, State>) -> bool {
        if transition.is_ok_and(|before| before.has(Flag::Waiter)) {
            futex_wake_low(&self.slots[slot].state);
        }
        transition.is_ok()
    }

    /// Completes and collects: the slot can be used again.
    fn complete_and_free(&self, me: Participant, claim: Claim) {
        assert!(self.complete(me, claim));
        let slot = &self.slots[claim.slot];
        let finished = slot.load();
        assert!(finished.is_finished() && finished.generation() == claim.state.generation(), "nobody else collects");
        slot.give_back(finished);
    }

    /// Sleeps until the task has ended. The word that it ended with.
    fn wait(&self, ticket: Ticket) -> State {
        let slot = self.slot(ticket);
        loop {
            match slot.flag(ticket.generation, Flag::Waiter) {
                Ok(seen) => futex_wait_low(&slot.state, seen.0, None),
                Err(end) => return end,
            };
        }
    }

    /// What follows every death, and every task that became pending out of order.
    fn new_epoch(&self) {
        Rings::new_epoch(self);
        self.sleepers().wake_all();
    }

    /// RUNNING -> PENDING for the dead `owner`. A new epoch must follow.
    fn requeue(&self, owner: Participant, claim: Claim) -> bool {
        let slot = &self.slots[claim.slot];
        let generation = claim.state.generation();
        slot.change(slot.load(), |s| s.is_left_to(owner, generation), State::requeued).is_ok()
    }

    /// From here on everybody can find proof that `who` is dead.
    fn die(&self, who: Participant) {
        self.dead.fetch_or(1 << who.index(), Release);
    }

    /// For the reaper of `dead`: takes the lane's mutex over, and lets the hold repair what it guards. False when `dead` does not
    /// hold it.
    fn take_lane_from(&self, dead: Participant) -> bool {
        let _byte = self.reaper_byte.lock().unwrap();
        let guard = ShmMutex(&self.head.mutex).take_from(dead, REAPER);
        guard.map(|guard| drop(self.ring().held(guard))).is_some()
    }
}

impl Rings for Pool {
    fn lane(&self, index: usize) -> Lane<'_> {
        assert_eq!(index, 0);
        self.ring()
    }
    fn used(&self) -> &AtomicU64 {
        &self.life.lanes
    }
    fn epoch(&self) -> &AtomicU32 {
        &self.life.epoch
    }
    fn passed(&self, who: Participant) -> &AtomicU32 {
        &self.records[who.index()].passed
    }
}

impl Peers for Pool {
    fn if_dead<R>(&self, who: Participant, act: impl FnOnce() -> R) -> Option<R> {
        // Proof comes from the kernel, which never answers with a stale value: hence the swap.
        let is_dead = self.dead.fetch_or(0, AcqRel) & 1 << who.index() != 0;
        is_dead.then(|| {
            let _byte = self.reaper_byte.lock().unwrap();
            act()
        })
    }
}

/// Steps to a free slot, fills it and publishes it.
fn publish_in(hold: &mut Hold<'_>, me: Participant, request: Request) -> Option<Ticket> {
    let (index, slot, free) = hold.next_free()?;
    slot.write(&Request { submitter: me.bits(), ..request }, hold.place(), Args::Inline(&[]));
    hold.publish(slot, free);
    Some(Ticket { slot: index, generation: free.generation() })
}

/// A worker's loop, as far as it finds tasks and sleeps.
struct Worker {
    me: Participant,
    search: Search,
    /// The only function that it can run, if it cannot run all.
    only: Option<u16>,
}

impl Worker {
    fn new(me: Participant, only: Option<u16>) -> Worker {
        Worker { me, search: Search::new(me), only }
    }

    /// A worker that was there for a while: it has looked at every slot.
    fn settled(me: Participant, pool: &Pool) -> Worker {
        let mut worker = Worker::new(me, None);
        assert_eq!(worker.look(pool), None);
        worker
    }

    fn look(&mut self, pool: &Pool) -> Option<Task> {
        let only = self.only;
        self.search.look(pool, &mut |wanted| only.is_none_or(|mine| u32::from(mine) == wanted))
    }

    /// The next task, asleep until there is one.
    fn next(&mut self, pool: &Pool) -> Task {
        self.next_unless(pool, || false).expect("never stopped")
    }

    /// The same, unless `stop` holds.
    fn next_unless(&mut self, pool: &Pool, stop: impl Fn() -> bool) -> Option<Task> {
        loop {
            let task = self.idle(pool, &stop);
            if task.is_some() || stop() {
                return task;
            }
        }
    }

    /// Looks once, and then sleeps.
    fn idle(&mut self, pool: &Pool, stop: impl Fn() -> bool) -> Option<Task> {
        let (me, only, sleepers) = (self.me.index(), self.only, pool.sleepers());
        let searching = sleepers.anybody_idle();
        if searching {
            sleepers.start_searching(me);
        }
        let found = self.look(pool);
        if searching {
            sleepers.stop_searching(me);
        }
        if found.is_some() {
            if searching {
                self.share(pool);
            }
            return found;
        }
        if searching && let Some(task) = self.woken(pool) {
            return Some(task);
        }
        let mut runnable = |wanted| only.is_none_or(|mine| u32::from(mine) == wanted);
        match self.search.rest(pool, sleepers, &mut runnable, stop, 0) {
            Rest::Task(task) => {
                // Our mark was up: the wake for another task may have come to us.
                self.share(pool);
                Some(task)
            }
            Rest::Stopped => None,
            Rest::Slept { by_mark: true, .. } => self.woken(pool),
            Rest::Slept { by_mark: false, .. } => {
                self.search.look_everywhere();
                None
            }
        }
    }

    /// After a wake: wakes the next one if there is more to do, or something that we cannot run.
    fn woken(&mut self, pool: &Pool) -> Option<Task> {
        let task = self.look(pool);
        if task.is_some() {
            self.share(pool);
        } else if self.search.passes_on() {
            pool.sleepers().wake_one();
        }
        task
    }

    /// Beside a task that was taken.
    fn share(&mut self, pool: &Pool) {
        if self.search.has_backlog(pool) || self.search.passes_on() {
            pool.sleepers().wake_one();
        }
    }
}

/// Another participant.
fn spawn<R: 'static>(pool: &Arc<Pool>, body: impl FnOnce(&Pool) -> R + 'static) -> JoinHandle<R> {
    let pool = pool.clone();
    loom::thread::spawn(move || body(&pool))
}

/// Plays the end of the time slice of everybody who sleeps on a mutex.
fn time_slice_ends(mutex: &AtomicU32) {
    futex_wake(mutex, i32::MAX);
}
