//! Models of looks beside a head that stands, for the worker that its task is for is busy.

use super::*;
use crate::later;
use crate::slot::{TARGET_SHIFT, WANTED_LATER};

/// What only a worker that plays no part here can run.
fn for_another() -> Request {
    Request { options: 1 << TARGET_SHIFT, function: 1, ..Request::default() }
}

fn for_us() -> Request {
    Request { function: 1, ..Request::default() }
}

/// Tasks come behind a head that stands, two of them in one hold, while a worker looks and sleeps: it comes by each of them, once and in order.
#[test]
fn what_comes_behind_a_head_that_stands_is_taken_in_order() {
    model(|| {
        let pool = Pool::new(4, 1);
        pool.publish(S1, for_another()).unwrap();
        let mut worker = Worker::new(W1, Some(1));
        let sleeper = spawn(&pool, move |pool| [(); 3].map(|()| worker.next(pool).claim.slot));
        pool.submit(S1, for_us()).unwrap();
        {
            let mut hold = pool.ring().hold(S1, &*pool).unwrap();
            assert!(publish_in(&mut hold, S1, for_us()).is_some() && publish_in(&mut hold, S1, for_us()).is_some());
        }
        pool.sleepers().announce();
        assert_eq!(sleeper.join().unwrap(), [1, 2, 3]);
    });
}

/// A slot behind a head that stands is used again in the next lap: its task is found, though the look before it has seen the slot.
#[test]
fn a_slot_that_is_used_again_behind_a_head_that_stands_is_seen_again() {
    model(|| {
        let pool = Pool::new(2, 1);
        pool.publish(S1, for_another()).unwrap();
        let mut worker = Worker::new(W1, Some(1));
        pool.publish(S1, for_us()).unwrap();
        let first = worker.look(&pool).expect("it stands behind the head").claim;
        assert_eq!(worker.look(&pool), None);
        let runner = spawn(&pool, move |pool| {
            pool.complete_and_free(W1, first);
            let next = worker.next(pool).claim;
            (next.slot, worker.look(pool))
        });
        while pool.submit(S1, for_us()).is_none() {
            loom::thread::yield_now();
        }
        assert_eq!(runner.join().unwrap(), (1, None));
    });
}

/// A worker dies in a task that it took beside a head that stands. Another one has looked at all of that before, and finds the task again.
#[test]
fn what_is_requeued_behind_a_head_that_stands_is_found() {
    model(|| {
        let pool = Pool::new(2, 1);
        pool.publish(S1, for_another()).unwrap();
        pool.publish(S1, for_us()).unwrap();
        let lost = Worker::new(W2, Some(1)).look(&pool).expect("it stands behind the head").claim;
        let mut other = Worker::new(W1, Some(1));
        assert_eq!(other.look(&pool), None);
        let other = spawn(&pool, move |pool| other.next(pool).claim.slot);
        assert!(pool.requeue(W2, lost));
        pool.new_epoch();
        assert_eq!(other.join().unwrap(), 1);
    });
}

/// As after a task's function has failed: puts it back for later, and tells W1. Not yet may it begin.
fn put_back_for_later(pool: &Pool, claim: Claim) {
    let slot = &pool.slots[claim.slot];
    slot.set_later(true);
    slot.put_back(W2, claim.state.generation()).unwrap();
    later::tell(pool.sleepers(), std::iter::once(W1.index()), 1000);
}

/// A task is put back for later. A worker that looks, sleeps or is on its way to sleep gets to know of it, and no head stands for it.
#[test]
fn what_is_put_back_for_later_is_known_to_all_and_stands_in_nobodys_way() {
    model(|| {
        let pool = Pool::new(2, 1);
        let mut search = Search::new(W1);
        assert_eq!(search.look(&*pool, &mut |_| true), None);
        pool.publish(S1, for_us()).unwrap();
        // By a look at every slot: the head has yet to come by.
        let claim = pool.claim_any(W2).unwrap();
        let other = spawn(&pool, move |pool| {
            let record = &pool.records[W1.index()];
            let (mut next, mut known) = (None, false);
            while next.is_none() || !known {
                let rest =
                    search.rest(pool, pool.sleepers(), &mut |wanted| wanted == 1, || record.looks_later() != known, 0);
                if let Rest::Task(task) = rest {
                    next = Some(task.claim.slot);
                }
                known = record.looks_later();
            }
            next
        });
        put_back_for_later(&pool, claim);
        pool.submit(S1, for_us()).unwrap();
        assert_eq!(other.join().unwrap(), Some(1));
        let first = u64::from(pool.slots[claim.slot].place.load(Relaxed));
        assert!(pool.head.head.load(SeqCst) > first, "the head stands for it");
    });
}

/// A task is put back for later, and nothing else happens: a worker that looks, sleeps or is on its way to sleep gets to know of it.
#[test]
fn whoever_sleeps_is_told_of_what_is_put_back_for_later() {
    model(|| {
        let pool = Pool::new(1, 1);
        let mut search = Search::new(W1);
        assert_eq!(search.look(&*pool, &mut |_| true), None);
        pool.publish(S1, for_us()).unwrap();
        let claim = pool.claim_any(W2).unwrap();
        let other = spawn(&pool, move |pool| {
            let record = &pool.records[W1.index()];
            while !record.looks_later() {
                let rest = search.rest(pool, pool.sleepers(), &mut |wanted| wanted == 1, || record.looks_later(), 0);
                assert!(!matches!(rest, Rest::Task(_)), "its time has not come");
            }
        });
        put_back_for_later(&pool, claim);
        other.join().unwrap();
    });
}

/// A task is put back for later, while a worker that has to look by an earlier time looks at every slot: it meets the task, or is to look again.
#[test]
fn who_looks_for_what_is_due_meets_what_is_put_back_or_looks_again() {
    model(|| {
        let pool = Pool::new(1, 1);
        pool.publish(S1, for_us()).unwrap();
        let claim = pool.claim_any(W2).unwrap();
        pool.records[W1.index()].look_by(later::AT_ONCE);
        let other = spawn(&pool, move |pool| {
            pool.records[W1.index()].begin_look();
            let slot = &pool.slots[0];
            slot.load().is(Phase::Pending) && slot.wanted() & WANTED_LATER != 0
        });
        put_back_for_later(&pool, claim);
        assert!(other.join().unwrap() || pool.records[W1.index()].looks_later());
    });
}

/// What only the worker can run that `for_another` means.
fn meant(wanted: u32) -> bool {
    wanted == u32::from(for_another().function) | u32::from(for_another().options) << 16
}

/// Publishes what only W2 can run, as the library does.
fn submit_to_the_other(pool: &Pool) {
    pool.submit(S1, for_another()).unwrap();
    pool.sleepers().wake_marked(W2.index());
}

/// Sleeps until there is a task for W2.
fn sleep_until_meant(pool: &Pool) {
    let mut search = Search::new(W2);
    let mut rest = || search.rest(pool, pool.sleepers(), &mut meant, || false, 0);
    while !matches!(rest(), Rest::Task(_)) {}
}

/// A task is published for a worker that goes to sleep, and the announcement goes to another one, which sleeps: whoever it is for is woken.
#[test]
fn whoever_a_task_is_for_is_woken_beside_a_sleeper() {
    model(|| {
        let pool = Pool::new(1, 2);
        let _ = pool.sleepers().prepare(W1.index());
        let meant = spawn(&pool, sleep_until_meant);
        submit_to_the_other(&pool);
        meant.join().unwrap();
    });
}

/// A task is published for a worker that sleeps, while another one looks or goes to sleep: that one leaves it, and whoever it is for is woken.
#[test]
fn a_task_for_another_is_left_to_it() {
    model(|| {
        let pool = Pool::new(1, 2);
        let mut wrong = Worker::new(W1, Some(1));
        assert_eq!(wrong.look(&pool), None);
        let asleep = pool.sleepers().prepare(W2.index());
        let wrong = spawn(&pool, move |pool| wrong.next_unless(pool, || pool.life.flags.load(SeqCst) != 0));
        submit_to_the_other(&pool);
        assert_ne!(pool.records[W2.index()].park.load(Relaxed), asleep, "whoever the task is for sleeps");
        pool.life.flags.store(1, SeqCst);
        pool.sleepers().wake(W1.index());
        assert_eq!(wrong.join().unwrap(), None);
    });
}

/// Both at a time.
#[test]
fn whoever_a_task_is_for_is_woken_for_it() {
    long_model(|| {
        let pool = Pool::new(1, 2);
        let mut wrong = Worker::new(W1, Some(1));
        assert_eq!(wrong.look(&pool), None);
        let wrong = spawn(&pool, move |pool| wrong.next_unless(pool, || pool.life.flags.load(SeqCst) != 0));
        let meant = spawn(&pool, sleep_until_meant);
        submit_to_the_other(&pool);
        meant.join().unwrap();
        pool.life.flags.store(1, SeqCst);
        pool.sleepers().wake(W1.index());
        assert_eq!(wrong.join().unwrap(), None);
    });
}
