//! Models of sleeping and waking: every way in which a wake could be lost is a deadlock here.

use super::*;

/// A submitter that publishes and announces while a worker goes to sleep: one of them sees the other.
#[test]
fn no_wake_is_lost() {
    model(|| {
        let pool = Pool::new(1, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| worker.next(pool).claim);
        let ticket = pool.submit(S1, Request::default()).unwrap();
        assert_eq!(sleeper.join().unwrap().slot, ticket.slot);
    });
}

/// Two submitters at a time: the worker does not sleep while both count on the other's wake.
#[test]
fn no_wake_is_lost_between_two_submitters() {
    crowded_model(|| {
        let pool = Pool::new(2, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| assert!(worker.next(pool).claim.slot < 2));
        let other = spawn(&pool, |pool| pool.submit(S2, Request::default()).unwrap());
        pool.submit(S1, Request::default()).unwrap();
        other.join().unwrap();
        sleeper.join().unwrap();
        assert_eq!(pool.drain(W2), 1);
    });
}

/// One worker takes two tasks that come one after the other, asleep or not in between.
#[test]
fn a_worker_that_was_woken_sleeps_and_wakes_again() {
    model(|| {
        let pool = Pool::new(2, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| [worker.next(pool).claim.slot, worker.next(pool).claim.slot]);
        pool.submit(S1, Request::default()).unwrap();
        pool.submit(S1, Request::default()).unwrap();
        assert_eq!(sleeper.join().unwrap(), [0, 1]);
    });
}

/// One worker sleeps, the other one searches or goes to sleep, and two tasks come, of which the second takes one and is busy from then
/// on: the sleeper is woken. Whoever is spared a wake because another worker searches is woken by that one.
#[test]
fn a_searching_worker_wakes_the_next() {
    model(|| {
        let pool = Pool::new(2, 2);
        let before = pool.sleepers().prepare(W2.index());
        let mut worker = Worker::settled(W1, &pool);
        let searcher = spawn(&pool, move |pool| assert!(worker.next(pool).claim.slot < 2));
        pool.submit(S1, Request::default()).unwrap();
        pool.submit(S1, Request::default()).unwrap();
        searcher.join().unwrap();
        assert_ne!(pool.records[W2.index()].park.load(Relaxed), before, "a task waits and a worker sleeps");
    });
}

/// Everybody is woken for nothing, and then a task comes: the sleeper's next mark is not taken away by the wake before.
#[test]
fn waking_everybody_takes_no_later_mark() {
    model(|| {
        let pool = Pool::new(1, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| {
            let mut rest = || worker.search.rest(pool, pool.sleepers(), &mut anything, || false, 0);
            while !matches!(rest(), Rest::Task(_)) {}
        });
        pool.sleepers().wake_all();
        pool.submit(S1, Request::default()).unwrap();
        sleeper.join().unwrap();
    });
}

/// A task that no worker has the function for holds up the head of the lane, and a wake was passed on for it. Later tasks behind
/// it still reach a sleeper that can run them, though the wake goes to one that cannot.
#[test]
fn a_wake_is_passed_on_for_each_new_task() {
    model(|| {
        let pool = Pool::new(2, 2);
        let function = |function| Request { function, ..Request::default() };
        pool.publish(S1, function(9)).unwrap();
        let mut wrong = Worker::new(W1, Some(1));
        assert!(wrong.look(&pool).is_none() && wrong.search.passes_on());
        let _ = pool.sleepers().prepare(W1.index());
        let before = pool.sleepers().prepare(W2.index());
        pool.submit(S1, function(2)).unwrap();
        assert!(pool.sleepers().cancel(W1.index()), "the first in line is woken");
        assert_eq!(wrong.woken(&pool), None);
        assert_ne!(pool.records[W2.index()].park.load(Relaxed), before, "who can run the tasks sleeps");
    });
}

/// The only worker that is awake searches, so a submitter wakes nobody; but it cannot run the task. It wakes one that can before it sleeps.
#[test]
fn who_searches_and_cannot_run_a_task_wakes_another() {
    model(|| {
        let pool = Pool::new(1, 2);
        let mut wrong = Worker::new(W1, Some(1));
        assert_eq!(wrong.look(&pool), None);
        let asleep = pool.sleepers().prepare(W2.index());
        let wrong = spawn(&pool, move |pool| wrong.next_unless(pool, || pool.life.flags.load(SeqCst) != 0));
        pool.submit(S1, Request { function: 2, ..Request::default() }).unwrap();
        // Who can run the task: its wake must come, from the one or the other.
        while pool.records[W2.index()].park.load(Acquire) == asleep {
            futex_wait(&pool.records[W2.index()].park, asleep, None);
        }
        pool.life.flags.store(1, SeqCst);
        pool.sleepers().wake(W1.index());
        assert_eq!(wrong.join().unwrap(), None);
    });
}

/// The only worker leaves, for it is idle: it takes its mark away itself, looks a last time, says that it is as good as gone, and rings for the owner, which
/// looks whether somebody is needed, once it has set its own mark. A task that comes meanwhile is run by the one or seen by the other.
#[test]
fn a_task_that_comes_while_the_last_worker_leaves_is_not_left_behind() {
    const GONE: u32 = 2;
    model(|| {
        let pool = Pool::new(1, 1);
        let mut worker = Worker::settled(W1, &pool);
        let leaving = spawn(&pool, move |pool| {
            let _ = pool.sleepers().prepare(W1.index());
            if let Some(task) = worker.look(pool) {
                pool.sleepers().cancel(W1.index());
                return Some(task);
            }
            // The time is up.
            if !pool.sleepers().cancel(W1.index()) {
                fence(SeqCst);
                worker.search.look_everywhere();
            }
            let task = worker.look(pool);
            if task.is_none() {
                pool.records[W1.index()].turn.store(GONE, Release);
                fence(SeqCst);
                pool.sleepers().wake(OWNER_SEAT);
            }
            task
        });
        let owner = spawn(&pool, |pool| {
            let record = &pool.records[OWNER_SEAT];
            loop {
                let seen = record.park.load(Acquire);
                if pool.records[W1.index()].turn.load(Acquire) == GONE {
                    let _ = pool.sleepers().prepare(OWNER_SEAT);
                    if pool.slots[0].load().is(Phase::Pending) {
                        return true;
                    }
                }
                if pool.life.flags.load(SeqCst) != 0 {
                    return false;
                }
                futex_wait(&record.park, seen, None);
            }
        });
        pool.submit(S1, Request::default()).unwrap();
        if leaving.join().unwrap().is_some() {
            pool.life.flags.store(1, SeqCst);
            pool.sleepers().wake(OWNER_SEAT);
            assert!(!owner.join().unwrap(), "nobody else is started for it");
        } else {
            assert!(owner.join().unwrap());
        }
    });
}
