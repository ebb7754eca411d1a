//! Models of discarding a task set against the workers that claim its tasks and the submitter that feeds it.

use super::*;
use crate::set::SetRef;

/// Opens the pool's only set.
fn open(pool: &Pool) -> (SetRef, Request) {
    let set = pool.sets().open(S1).unwrap();
    (set, Request { set: set.0, ..Request::default() })
}

/// Publishes a task of a set, and takes it back when the set was discarded meanwhile.
fn submit(pool: &Pool, me: Participant, set: SetRef, request: Request) -> Ticket {
    let ticket = pool.publish(me, request).unwrap();
    if pool.sets().is_discarded(set) {
        let _ = pool.slot(ticket).cancel(ticket.generation, me);
    }
    ticket
}

/// Claims a task and starts it unless its set was discarded. The slot of the task that was started.
fn start_next(pool: &Pool, me: Participant) -> Option<usize> {
    let claim = pool.claim(me)?;
    let slot = &pool.slots[claim.slot];
    if pool.sets().is_discarded(SetRef(slot.read().set)) {
        slot.cancel_unstarted(me, claim.state.generation()).expect("we run it");
        return None;
    }
    Some(claim.slot)
}

/// The sweep that follows `Sets::discard`: cancels what is pending. For each slot, whether its task may have been started.
fn sweep(pool: &Pool, set: SetRef, me: Participant) -> Vec<bool> {
    let sweep_one = |slot: &Slot| {
        let seen = slot.load();
        if seen.is(Phase::Pending) && slot.set.load(Relaxed) == set.0 {
            return slot.cancel(seen.generation(), me).is_err_and(|found| found.is(Phase::Running));
        }
        seen.is(Phase::Running)
    };
    pool.slots.iter().map(sweep_one).collect()
}

/// Discarder, worker and submitter at a time: no task is left pending, and only a task is started that the discarder has found
/// started.
#[test]
fn nothing_starts_after_a_discard() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (set, request) = open(&pool);
        let worker = spawn(&pool, |pool| start_next(pool, W1).is_some());
        let submitter = spawn(&pool, move |pool| submit(pool, S2, set, request));
        assert!(pool.sets().discard(set));
        let may_have_started = sweep(&pool, set, S1)[0];
        submitter.join().unwrap();
        let started = worker.join().unwrap();
        assert!(may_have_started || !started, "started after the discard");
        let end = pool.slots[0].load();
        assert!(if started { end.is_run_by(W1, 0) } else { end.is(Phase::Cancelled) }, "left pending");
    });
}

/// The discarder and one submitter: what is published too late for the sweep is taken back by its submitter.
#[test]
fn a_late_task_of_a_discarded_set_is_taken_back() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (set, request) = open(&pool);
        let submitter = spawn(&pool, move |pool| submit(pool, S2, set, request));
        assert!(pool.sets().discard(set));
        sweep(&pool, set, S1);
        submitter.join().unwrap();
        assert!(pool.slots[0].load().is(Phase::Cancelled));
    });
}

/// The discarder and one worker: the worker starts the task, and the discarder has seen it running, or it is cancelled.
#[test]
fn a_task_is_started_before_the_discard_or_never() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (set, request) = open(&pool);
        pool.publish(S1, request).unwrap();
        let worker = spawn(&pool, |pool| start_next(pool, W1));
        assert!(pool.sets().discard(set));
        let may_have_started = sweep(&pool, set, S1)[0];
        let started = worker.join().unwrap().is_some();
        assert!(may_have_started || !started);
        let end = pool.slots[0].load();
        assert!(if started { end.is_run_by(W1, 0) } else { end.is(Phase::Cancelled) });
    });
}

/// Two discard one set: one of them does it, and for both it is discarded on return.
#[test]
fn a_set_is_discarded_once() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (set, _) = open(&pool);
        let discard = move |pool: &Pool| {
            let first = pool.sets().discard(set);
            assert!(pool.sets().is_discarded(set));
            first
        };
        let other = spawn(&pool, discard);
        let mine = discard(&pool);
        assert!(mine != other.join().unwrap());
    });
}

/// A discard by a stale name against the next user of the entry: the new set stays open.
#[test]
fn a_stale_name_discards_no_later_set() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (old, _) = open(&pool);
        let stale = spawn(&pool, move |pool| pool.sets().discard(old));
        pool.sets().close(old);
        let new = pool.sets().open(S2);
        let discarded = stale.join().unwrap();
        let new = new.or_else(|| {
            assert!(discarded, "only the discard in between can keep the set from being closed");
            pool.sets().close(old);
            pool.sets().open(S2)
        });
        assert!(!pool.sets().is_discarded(new.unwrap()));
    });
}

/// A discarder that dies before its sweep: its reaper finds the set, repeats the sweep, and nothing is left pending.
#[test]
fn a_dead_discarder_is_finished_by_its_reaper() {
    model(|| {
        let pool = Pool::new(1, 0);
        let (set, request) = open(&pool);
        pool.publish(S1, request).unwrap();
        let worker = spawn(&pool, |pool| start_next(pool, W1).is_some());
        let discarder = spawn(&pool, move |pool| {
            pool.sets().discard(set);
            pool.die(S1);
        });
        discarder.join().unwrap();
        let mine: Vec<_> = pool.sets().of(S1).collect();
        assert_eq!(mine, [(set, true)]);
        let may_have_started = sweep(&pool, set, REAPER)[0];
        let started = worker.join().unwrap();
        assert!(may_have_started || !started);
        assert!(!pool.slots[0].load().is(Phase::Pending));
    });
}
