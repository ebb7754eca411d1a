//! Models of deaths in the middle of things, each while a worker goes on: nothing is stranded, lost or doubled. The dead one's steps
//! are played up to where it died; its reaper's follow.

use super::*;

/// As `Lane::claim`, up to the death of the worker after it reserved the first position, if nobody has yet, and before it claimed
/// the slot.
fn reserve_and_die(pool: &Pool, me: Participant) {
    let _ = pool.head.head.compare_exchange(0, 1, Release, Relaxed);
    pool.die(me);
}

/// A submitter that dies after its task is pending and before it stored the tail; it still holds the lane.
fn publish_and_die(pool: &Pool, me: Participant) {
    let mut hold = pool.ring().hold(me, pool).unwrap();
    publish_in(&mut hold, me, Request::default()).unwrap();
    std::mem::forget(hold);
    pool.die(me);
}

/// In a lane of two: a submitter that knows the first slot to be taken has published in the second, and still holds the lane. W1 runs the first one's task.
fn publish_past_a_running_task(pool: &Pool) -> (Hold<'_>, Claim) {
    for _ in 0..2 {
        pool.publish(S1, Request::default()).unwrap();
    }
    let (long, short) = (pool.claim(W1).unwrap(), pool.claim(W2).unwrap());
    pool.complete_and_free(W2, short);
    let mut hold = pool.ring().hold(S1, pool).unwrap();
    let position = hold.position() + 1;
    assert!(hold.go_on_from(position));
    publish_in(&mut hold, S1, Request::default()).unwrap();
    (hold, long)
}

/// A worker dies between reserving a position and claiming its task. No head comes by there again, but the survivor, asleep, on its
/// way to sleep or at work, looks at every slot because of the new epoch and finds the task.
#[test]
fn a_reserved_task_is_found_after_the_death() {
    model(|| {
        let pool = Pool::new(2, 1);
        let mut worker = Worker::settled(W1, &pool);
        let survivor = spawn(&pool, move |pool| worker.next(pool).claim.slot);
        let ticket = pool.submit(S1, Request::default()).unwrap();
        reserve_and_die(&pool, W2);
        pool.new_epoch();
        assert_eq!(survivor.join().unwrap(), ticket.slot);
    });
}

/// A submitter dies after its task became pending and before the tail was stored, while a worker may already have run it. The
/// reaper's hold repairs the tail, so the next task is published where the head will come by.
#[test]
fn a_tail_left_behind_is_repaired() {
    model(|| {
        let pool = Pool::new(2, 0);
        publish_and_die(&pool, S1);
        let worker = spawn(&pool, |pool| {
            let claim = pool.claim(W1).expect("found at the head, wherever the tail is");
            pool.complete_and_free(W1, claim);
        });
        assert!(pool.take_lane_from(S1));
        pool.publish(S2, Request::default()).unwrap();
        worker.join().unwrap();
        assert_eq!(pool.drain(W2), 1);
        assert_eq!(pool.head.head.load(Relaxed), pool.head.tail.load(Relaxed));
    });
}

/// The same when the dead one had left slots out that it knew to be taken.
#[test]
fn a_tail_left_far_behind_is_repaired() {
    model(|| {
        let pool = Pool::new(2, 0);
        let (hold, long) = publish_past_a_running_task(&pool);
        std::mem::forget(hold);
        pool.die(S1);
        let worker = spawn(&pool, |pool| usize::from(pool.claim(W2).is_some()));
        assert!(pool.take_lane_from(S1));
        assert_eq!(worker.join().unwrap() + pool.drain(W2), 1);
        assert_eq!((pool.head.head.load(Relaxed), pool.head.tail.load(Relaxed)), (4, 4));
        pool.complete_and_free(W1, long);
    });
}

/// The same twice in a row: the second dies after it took the lane over and published as well.
#[test]
fn a_repair_outlives_the_next_death() {
    model(|| {
        let pool = Pool::new(1, 0);
        publish_and_die(&pool, S1);
        pool.complete_and_free(W1, pool.claim(W1).unwrap());
        assert!(pool.take_lane_from(S1));
        publish_and_die(&pool, S2);
        let worker = spawn(&pool, |pool| {
            let claim = pool.claim(W1).expect("found at the head, wherever the tail is");
            pool.complete_and_free(W1, claim);
        });
        assert!(pool.take_lane_from(S2));
        worker.join().unwrap();
        pool.publish(S1, Request::default()).unwrap();
        assert_eq!(pool.drain(W2), 1);
        assert_eq!(pool.head.head.load(Relaxed), pool.head.tail.load(Relaxed));
    });
}

/// The same when the next submitter may come before the reaper, and takes the lane over by itself.
#[test]
fn the_next_submitter_repairs_the_tail() {
    model(|| {
        let pool = Pool::new(2, 0);
        publish_and_die(&pool, S1);
        let worker = spawn(&pool, |pool| {
            let claim = pool.claim(W1).expect("found at the head, wherever the tail is");
            pool.complete_and_free(W1, claim);
        });
        let submitter = spawn(&pool, |pool| assert!(pool.publish(S2, Request::default()).is_some()));
        time_slice_ends(&pool.head.mutex);
        pool.take_lane_from(S1);
        worker.join().unwrap();
        submitter.join().unwrap();
        assert_eq!(pool.drain(W2), 1);
        assert_eq!(ShmMutex(&pool.head.mutex).owner(), None);
    });
}

/// The task of a dead submitter is taken out of order and its slot freed, while a worker is about to reserve its position. The
/// repair does not let the position be used again: that worker would pass over the new task.
#[test]
fn a_position_is_published_at_once_only() {
    model(|| {
        let pool = Pool::new(2, 0);
        publish_and_die(&pool, S1);
        let worker = spawn(&pool, |pool| usize::from(pool.claim(W1).is_some()));
        let mut ended = 0;
        let slot = &pool.slots[0];
        if slot.cancel(0, REAPER).is_ok() {
            slot.free(0).unwrap();
            ended += 1;
        }
        assert!(pool.take_lane_from(S1));
        pool.publish(S2, Request::default()).unwrap();
        ended += worker.join().unwrap();
        assert_eq!(ended + pool.drain(W2), 2);
    });
}

/// A task that goes back to pending while the other worker goes to sleep: that one runs it.
#[test]
fn a_requeued_task_is_found() {
    model(|| {
        let pool = Pool::new(1, 1);
        pool.publish(S1, Request::default()).unwrap();
        let lost = pool.claim(W2).unwrap();
        let mut worker = Worker::settled(W1, &pool);
        let survivor = spawn(&pool, move |pool| worker.next(pool).claim);
        assert!(pool.requeue(W2, lost));
        pool.new_epoch();
        let found = survivor.join().unwrap();
        assert_eq!((found.slot, found.state.generation()), (lost.slot, lost.state.generation()));
    });
}

/// Two reapers of one death, and a worker that claims the task as soon as the first one has requeued it: the second one takes it
/// from nobody.
#[test]
fn two_reapers_requeue_once() {
    model(|| {
        let pool = Pool::new(1, 0);
        pool.publish(S1, Request::default()).unwrap();
        let lost = pool.claim(W2).unwrap();
        let other = spawn(&pool, move |pool| pool.requeue(W2, lost));
        let worker = spawn(&pool, |pool| pool.claim_any(W1).is_some());
        let mine = pool.requeue(W2, lost);
        assert!(mine != other.join().unwrap());
        let claimed = worker.join().unwrap();
        let end = pool.slots[0].load();
        assert!(if claimed { end.is_run_by(W1, 0) } else { end.is(Phase::Pending) });
    });
}

/// A worker that was taken for dead completes late: its completion counts, or the one of the next worker, and not both.
#[test]
fn a_late_completion_does_nothing() {
    model(|| {
        let pool = Pool::new(1, 1);
        pool.publish(S1, Request::default()).unwrap();
        let claim = pool.claim(W2).unwrap();
        let late = spawn(&pool, move |pool| pool.complete(W2, claim));
        let requeued = pool.requeue(W2, claim);
        let mine = pool.claim_any(W1);
        assert_eq!(mine.is_some(), requeued);
        let completed = mine.is_some_and(|claim| pool.complete(W1, claim));
        assert!(completed != late.join().unwrap());
        assert!(pool.slots[0].load().is(Phase::Done));
    });
}

/// A waker dies after it took a sleeper's mark and before the wake: the reaper wakes everybody.
#[test]
fn a_wake_that_died_with_its_waker_is_made_good() {
    model(|| {
        let pool = Pool::new(1, 1);
        let mut worker = Worker::settled(W1, &pool);
        let sleeper = spawn(&pool, move |pool| worker.next(pool).claim.slot);
        let ticket = pool.publish(S1, Request::default()).unwrap();
        // As `wake_one`, up to its wake.
        pool.idle[0].fetch_and(!1, AcqRel);
        pool.die(S1);
        pool.new_epoch();
        assert_eq!(sleeper.join().unwrap(), ticket.slot);
    });
}

/// A head that damage has taken far past the tail, and a task published at the old tail meanwhile, past a slot that was not free: the repair brings the tail
/// past the place that this task would have there, so that the head comes by.
#[test]
fn a_head_far_past_the_tail_is_made_good() {
    model(|| {
        let pool = Pool::new(2, 0);
        let (hold, long) = publish_past_a_running_task(&pool);
        pool.head.head.store((1 << 40) + 2, Relaxed);
        drop(hold);
        let worker = spawn(&pool, |pool| usize::from(pool.claim(W2).is_some()));
        pool.ring().hold(S1, &*pool).unwrap().mend();
        assert_eq!(worker.join().unwrap() + pool.drain(W2), 1);
        pool.complete_and_free(W1, long);
    });
}
