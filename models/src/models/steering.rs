//! Models of who takes tasks: a worker that follows another one of its number, a pause, and workers that are too many.

use super::deaths::{cast, deaths, start, victim};
use super::*;
use crate::calls::{Calls, fence_after_task};
use crate::ledger::{Verdict, answer};
use crate::life::Bit;
use crate::policy::Policy;
use crate::record::Kind;
use crate::registry::Member;
use crate::roles::{self, ask};
use crate::turnover::Turnover;
use std::num::NonZeroU32;

/// What makes a worker leave at once.
const STOP_BITS: u32 = Bit::Broken as u32 | Bit::Corrupt as u32;

/// A worker that its owner has started: what it does between its tasks, step for step as `Worker::run` and `Worker::rest`.
struct Staff {
    worker: roles::Worker,
    search: Search,
    calls: Calls,
    turnover: Option<Turnover>,
}

impl Staff {
    fn new(member: &Member, number: u32) -> Staff {
        member.record().number.store(number + 1, Relaxed);
        member.record().ready.store(1, Release);
        let turnover = Turnover::new(member, Some(number));
        let mut search = Search::new(member.who());
        assert_eq!(search.look(&*member.segment, &mut anything), None);
        Staff { worker: roles::Worker::new(member.clone()), search, calls: Calls::new(STOP_BITS, Some(number)), turnover }
    }

    /// One that has run as many tasks as it is to.
    fn at_its_limit(member: &Member) -> Staff {
        let staff = Staff::new(member, 0);
        member.record().finished.store(1, Relaxed);
        staff
    }

    fn member(&self) -> &Member {
        &self.worker.member
    }

    /// Until it is called away for good, or has run so many tasks. How many it has run.
    fn run(&mut self, tasks: usize) -> usize {
        let segment = self.member().segment.clone();
        let mut ran = 0;
        while ran < tasks {
            let flags = segment.life().flags.load(Relaxed);
            if flags & self.calls.call_bits != 0 && !self.calls.attend(&self.worker.member, || true) {
                break;
            }
            if self.turnover.as_mut().is_some_and(|turnover| turnover.is_over(&self.worker.member)) {
                break;
            }
            let task = self.search.look(&*segment, &mut anything);
            let Some(task) = task.or_else(|| self.rest()) else { continue };
            assert!(self.worker.perform(task), "nobody condemns it");
            ran += 1;
            fence_after_task();
        }
        self.leave();
        ran
    }

    fn rest(&mut self) -> Option<Task> {
        let segment = self.member().segment.clone();
        let (calls, member, turnover) = (self.calls, &self.worker.member, &self.turnover);
        let is_over = || turnover.as_ref().is_some_and(|turnover| turnover.is_to_look(member));
        let ended = || calls.ends_idleness(&segment) || is_over();
        match self.search.rest(&*segment, segment.sleepers(), &mut anything, ended, 0) {
            Rest::Task(task) => Some(task),
            Rest::Stopped => None,
            Rest::Slept { by_mark: true, .. } if calls.is_to_attend(&segment) => None,
            Rest::Slept { by_mark: true, .. } => self.search.look(&*segment, &mut anything),
            Rest::Slept { by_mark: false, .. } => {
                self.search.look_everywhere();
                None
            }
        }
    }

    fn leave(&self) {
        let member = self.member();
        if let Some(turnover) = &self.turnover {
            turnover.hand_over(member);
        }
        member.segment.sleepers().pass_on(member.who().index());
        member.leave();
    }

    /// Waits until no other one of its number takes tasks.
    fn await_turn(&self) {
        self.turnover.as_ref().unwrap().await_turn(self.member(), STOP_BITS);
    }
}

/// Workers leave after one task.
fn renewed() -> Policy {
    Policy { tasks_max: NonZeroU32::new(1), ..Policy::default() }
}

use Kind::{Owner, Submitter, Worker as AWorker};

/// One that waits and one at its limit, which may just be going to sleep: the one hands over, and the other one begins. No two of them take tasks at a time.
#[test]
fn whoever_waits_for_a_turn_gets_it() {
    crowded_model(|| {
        let [old, new] = cast(1, [AWorker, AWorker], renewed());
        let mut leaving = Staff::at_its_limit(&old);
        let leaving = start(&old, move |_| leaving.run(1));
        let waiting = Staff::new(&new, 0);
        waiting.await_turn();
        assert!(!new.is_served(0), "two of one number take tasks");
        assert_eq!(leaving.join().unwrap(), 0);
    });
}

/// The same while a task comes: the one runs it, or the other one finds it.
#[test]
fn a_task_that_comes_while_a_turn_is_handed_over_is_run() {
    long_model(|| {
        let [old, new, s] = cast(1, [AWorker, AWorker, Submitter], renewed());
        let mut leaving = Staff::at_its_limit(&old);
        let leaving = start(&old, move |_| leaving.run(2));
        let waiting = Staff::new(&new, 0);
        let waiting = start(&new, move |_| waiting.await_turn());
        let ticket = s.submit(ask(1)).unwrap();
        waiting.join().unwrap();
        let ran = leaving.join().unwrap();
        let mut next = roles::Worker::new(new);
        next.drain();
        assert!(ran < 2 && s.collect(ticket) == Verdict::Value(answer(1)));
    });
}

/// The one that waits dies, at any point: the other one goes on, or has handed over before. Then there is none, which its owner sees.
#[test]
fn a_follower_that_dies_stops_nobody() {
    deaths("wait for a turn, beside one that hands over", 1, 3, |k| {
        let [old, new, s] = cast(1, [AWorker, AWorker, Submitter], renewed());
        let mut leaving = Staff::at_its_limit(&old);
        let waiting = Staff::new(&new, 0);
        let ticket = s.submit(ask(1)).unwrap();
        let leaving = start(&old, move |_| leaving.run(1));
        let victim = victim(&new, k, move |_| waiting.await_turn());
        // It may wait for the other one, which has run a task and does not look any more.
        let ran = leaving.join().unwrap();
        let died = victim.join().unwrap();
        assert!(s.reap_now(new.who()));
        if ran == 0 {
            roles::Worker::new(s.clone()).drain();
        }
        assert_eq!(s.collect(ticket), Verdict::Value(answer(1)));
        died
    });
}

/// The one that is followed dies, at any point: the one that waits begins, and finds the task that the other one left.
#[test]
fn who_is_followed_may_die() {
    deaths("hand a turn over, beside one that waits", 1, 5, |k| {
        let [old, new, s] = cast(1, [AWorker, AWorker, Submitter], renewed());
        let mut leaving = Staff::at_its_limit(&old);
        let waiting = Staff::new(&new, 0);
        let ticket = s.submit(ask(1)).unwrap();
        let waiting = start(&new, move |_| waiting.await_turn());
        let victim = victim(&old, k, move |_| {
            leaving.run(2);
        });
        let died = victim.join().unwrap();
        assert!(s.reap_now(old.who()) || old.is_buried());
        waiting.join().unwrap();
        roles::Worker::new(new.clone()).drain();
        s.collect(ticket);
        died
    });
}

/// Of the slots, those whose tasks have not begun.
fn pending(member: &Member) -> Vec<bool> {
    member.segment.ring().slots.iter().map(|slot| slot.load().is(Phase::Pending)).collect()
}

/// The owner pauses the pool, and comes back when each worker runs a task or rests.
fn pause(owner: &Member) {
    owner.segment.set(Bit::Paused);
    owner.segment.announce_pause();
    while owner.one_that_may_start().is_some() {
        loom::thread::yield_now();
    }
}

fn resume(owner: &Member) {
    owner.segment.unset(Bit::Paused);
    owner.segment.wake_everybody();
}

/// A pause, while a worker runs one task after the other: none is begun once the call is over, and all that were left are run afterwards.
#[test]
fn nothing_begins_in_a_pause() {
    long_model(|| {
        let [w, owner] = cast(2, [AWorker, Owner], Policy::default());
        let mut worker = Staff::new(&w, 0);
        owner.submit_all(&[ask(1), ask(2)]);
        let worker = start(&w, move |_| worker.run(2));
        pause(&owner);
        let left = pending(&owner);
        loom::thread::yield_now();
        assert_eq!(pending(&owner), left, "a task was begun in the pause");
        resume(&owner);
        assert_eq!(worker.join().unwrap(), 2);
    });
}

/// A task that comes in a pause, before or after the worker has gone to rest, which is then told that the pause is over: it is run.
#[test]
fn a_task_that_comes_in_a_pause_is_run_after_it() {
    long_model(|| {
        let [w, owner] = cast(1, [AWorker, Owner], Policy::default());
        let mut worker = Staff::new(&w, 0);
        owner.segment.set(Bit::Paused);
        let worker = start(&w, move |_| worker.run(1));
        owner.submit(ask(1)).unwrap();
        resume(&owner);
        assert_eq!(worker.join().unwrap(), 1);
    });
}

/// The end of a pause, while a worker goes to rest in it: it begins its next task.
#[test]
fn nobody_rests_on_after_a_pause() {
    crowded_model(|| {
        let [w, owner] = cast(1, [AWorker, Owner], Policy::default());
        let mut worker = Staff::new(&w, 0);
        owner.submit(ask(1)).unwrap();
        owner.segment.set(Bit::Paused);
        let worker = start(&w, move |_| worker.run(1));
        resume(&owner);
        assert_eq!(worker.join().unwrap(), 1);
    });
}

/// The number of workers shrinks while one that is too many goes to sleep: it leaves.
#[test]
fn nobody_sleeps_through_a_dismissal() {
    model(|| {
        let [w, owner] = cast(1, [AWorker, Owner], Policy::default());
        let mut surplus = Staff::new(&w, 1);
        let surplus = start(&w, move |_| surplus.run(1));
        owner.segment.life().wanted.store(1, Relaxed);
        owner.segment.set(Bit::Shrunk);
        owner.segment.wake_everybody();
        assert_eq!(surplus.join().unwrap(), 0);
    });
}

/// A task comes while a worker that is too many is about to leave, and its wake may go there: then it goes on to the one that sleeps, and stays.
#[test]
fn a_wake_for_who_leaves_goes_on_to_who_stays() {
    model(|| {
        let [w, stays, owner] = cast(1, [AWorker, AWorker, Owner], Policy::default());
        let mut surplus = Staff::new(&w, 1);
        owner.segment.life().wanted.store(1, Relaxed);
        owner.segment.set(Bit::Shrunk);
        let asleep = owner.segment.sleepers().prepare(stays.who().index());
        let surplus = start(&w, move |_| {
            // It has seen no call before it rests.
            let task = surplus.rest();
            let ran = task.map(|task| assert!(surplus.worker.perform(task))).is_some();
            usize::from(ran) + surplus.run(1)
        });
        owner.submit(ask(1)).unwrap();
        let ran = surplus.join().unwrap();
        let is_woken = owner.segment.records()[stays.who().index()].park.load(Relaxed) != asleep;
        assert!(ran == 1 || is_woken, "a task waits, and who could run it sleeps");
    });
}
