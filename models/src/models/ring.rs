//! Models of a lane: publishing and claiming.

use super::*;

/// Two submitters in one lane publish into different slots at different positions, and both tasks are found in order.
#[test]
fn two_submitters_publish_side_by_side() {
    model(|| {
        let pool = Pool::new(2, 0);
        let other = spawn(&pool, |pool| pool.publish(S2, Request::default()).unwrap());
        let mine = pool.publish(S1, Request::default()).unwrap();
        let others = other.join().unwrap();
        assert_ne!(mine.slot, others.slot);
        assert_eq!(pool.head.tail.load(Relaxed), 2);
        let order = [pool.claim(W1).unwrap().slot, pool.claim(W1).unwrap().slot];
        assert_eq!(order, [0, 1]);
        assert_eq!(pool.claim(W1), None);
    });
}

/// Two submitters and room for one task: one of them publishes, the other one is told that the lane is full.
#[test]
fn the_last_slot_goes_to_one_submitter() {
    model(|| {
        let pool = Pool::new(1, 0);
        let other = spawn(&pool, |pool| pool.publish(S2, Request::default()).is_some());
        let mine = pool.publish(S1, Request::default()).is_some();
        assert!(mine != other.join().unwrap());
        assert_eq!(pool.drain(W1), 1);
    });
}

/// A look for room in a full lane, while a worker claims: it moves no tail, so a head never has to run after one, and the lane goes on.
#[test]
fn looking_in_vain_moves_no_tail() {
    model(|| {
        let pool = Pool::new(2, 0);
        for _ in 0..2 {
            pool.publish(S1, Request::default()).unwrap();
        }
        let worker = spawn(&pool, |pool| pool.claim(W1).map(|claim| claim.slot));
        for skip in [0, 1] {
            let mut hold = pool.ring().hold(S1, &*pool).unwrap();
            let position = hold.position() + skip;
            assert!(hold.go_on_from(position));
            assert_eq!(publish_in(&mut hold, S1, Request::default()), None);
        }
        assert_eq!(pool.head.tail.load(Relaxed), 2);
        assert_eq!(worker.join().unwrap(), Some(0));
        assert_eq!(pool.drain(W2), 1);
    });
}

/// A batch of two that wraps around the end of the lane, while a worker claims: each task is claimed once, in order, and none
/// is passed over by a look that was older than the tail it compared with.
#[test]
fn a_worker_passes_over_no_task_of_a_batch() {
    model(|| {
        let pool = Pool::new(2, 0);
        pool.publish(S1, Request::default());
        pool.complete_and_free(W1, pool.claim(W1).unwrap());
        let worker = spawn(&pool, |pool| [pool.claim(W1), pool.claim(W1)].into_iter().flatten().collect::<Vec<_>>());
        {
            let mut hold = pool.ring().hold(S1, &*pool).unwrap();
            let batch = [(); 2].map(|()| publish_in(&mut hold, S1, Request::default()).unwrap().slot);
            assert_eq!(batch, [1, 0]);
        }
        let mut claims = worker.join().unwrap();
        claims.extend(std::iter::from_fn(|| pool.claim(W2)));
        assert_eq!(claims.iter().map(|c| c.slot).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((pool.head.head.load(Relaxed), pool.head.tail.load(Relaxed)), (3, 3));
    });
}

/// A lane of one slot, used twice while a worker claims: the slot's next use is another task at another position, and is
/// neither lost nor taken twice.
#[test]
fn a_lane_of_one_slot_is_used_again_and_again() {
    model(|| {
        let pool = Pool::new(1, 0);
        pool.publish(S1, Request::default()).unwrap();
        let worker = spawn(&pool, |pool| {
            let first = pool.claim(W1).expect("published before");
            pool.complete_and_free(W1, first);
            usize::from(pool.claim(W1).is_some())
        });
        let second = usize::from(pool.publish(S1, Request::default()).is_some());
        let claimed = worker.join().unwrap();
        assert_eq!(claimed + pool.drain(W2), second);
        assert!(pool.head.head.load(Relaxed) <= pool.head.tail.load(Relaxed));
    });
}

/// One task and two workers: exactly one of them gets it.
#[test]
fn two_workers_claim_one_task_once() {
    model(|| {
        let pool = Pool::new(1, 0);
        pool.publish(S1, Request::default());
        let other = spawn(&pool, |pool| pool.claim(W2));
        let mine = pool.claim(W1);
        let others = other.join().unwrap();
        assert!(mine.is_some() != others.is_some(), "{mine:?} {others:?}");
        let owner = if mine.is_some() { W1 } else { W2 };
        assert!(pool.slots[0].load().is_run_by(owner, 0));
    });
}

/// One claims in order while the other looks at every slot: exactly one of them gets the task.
#[test]
fn a_look_at_every_slot_takes_no_task_twice() {
    model(|| {
        let pool = Pool::new(2, 0);
        pool.publish(S1, Request::default());
        let other = spawn(&pool, |pool| pool.claim_any(W2));
        let mine = pool.claim(W1);
        assert!(mine.is_some() != other.join().unwrap().is_some());
    });
}

/// Two tasks and two workers, and a submitter that adds a third: no task is lost and none is claimed twice.
#[test]
fn two_workers_claim_three_tasks() {
    model(|| {
        let pool = Pool::new(4, 0);
        pool.publish(S1, Request::default());
        pool.publish(S1, Request::default());
        let workers = [W1, W2].map(|me| spawn(&pool, move |pool| pool.claim(me).expect("two tasks for two workers").slot));
        pool.publish(S1, Request::default());
        let mut slots = workers.map(|worker| worker.join().unwrap()).to_vec();
        slots.extend(std::iter::from_fn(|| pool.claim(W1)).map(|claim| claim.slot));
        slots.sort();
        assert_eq!(slots, [0, 1, 2]);
    });
}

/// A task that was left behind from an earlier lap (its worker reserved the position and stopped) stands at the head. Claiming it
/// does not take the head past the tail, where the next task would be published unseen.
#[test]
fn the_head_does_not_overtake_the_tail() {
    model(|| {
        let pool = left_behind();
        let worker = spawn(&pool, |pool| {
            let claim = pool.claim(W1).or_else(|| pool.claim_any(W1));
            pool.complete_and_free(W1, claim.expect("it is pending"));
        });
        worker.join().unwrap();
        pool.publish(S1, Request::default()).unwrap();
        assert_eq!(pool.drain(W2), 1, "the next task is found in order");
    });
}

/// While a worker looks at a task left behind at the head, that task is run and its slot used again at this very position. The
/// worker must not take the new task's place for the old one's: it would reserve a position that nothing is published at yet.
#[test]
fn a_place_is_read_with_the_task_it_belongs_to() {
    model(|| {
        let pool = left_behind();
        let worker = spawn(&pool, |pool| usize::from(pool.claim(W1).is_some()));
        let mut claimed = 0;
        if let Some(claim) = pool.claim_any(W2) {
            pool.complete_and_free(W2, claim);
            claimed += 1;
        }
        let published = 1 + usize::from(pool.publish(S1, Request::default()).is_some());
        claimed += worker.join().unwrap();
        assert_eq!(claimed + pool.drain(W2), published);
    });
}

/// A lane of two whose head and tail stand at position 2, while slot 0 holds the task of position 0, reserved and not claimed.
fn left_behind() -> Arc<Pool> {
    let pool = Pool::new(2, 0);
    pool.publish(S1, Request::default());
    pool.publish(S1, Request::default());
    pool.head.head.store(1, Relaxed);
    pool.complete_and_free(W1, pool.claim(W1).unwrap());
    assert_eq!((pool.head.head.load(Relaxed), pool.head.tail.load(Relaxed)), (2, 2));
    pool
}

/// While one worker is busy, another runs so much past what it cannot run that the head, once it can go on, leaves positions out. What is pending there
/// is found all the same, in order.
#[test]
fn a_head_that_leaves_positions_out_keeps_the_order() {
    model(|| {
        let pool = Pool::new(4, 2);
        let (mut busy, mut other) = (Worker::new(W1, Some(1)), Worker::new(W2, Some(2)));
        assert_eq!((busy.look(&pool), other.look(&pool)), (None, None));
        let publish = |function| pool.publish(S1, Request { function, ..Request::default() }).unwrap().slot;
        let mut run = |slot| {
            let task = other.look(&pool).expect("beside");
            assert_eq!(task.claim.slot, slot);
            pool.complete_and_free(W2, task.claim);
        };
        assert_eq!([publish(1), publish(2), publish(2), publish(1)], [0, 1, 2, 3]);
        run(1);
        // A lap later than the one in slot 3.
        assert_eq!(publish(1), 1);
        run(2);
        for _ in 0..4 {
            assert_eq!(publish(2), 2);
            run(2);
        }
        assert!(pool.head.tail.load(Relaxed) > 4 * 4);
        for slot in [0, 3, 1] {
            let task = busy.look(&pool).expect("a task of its own");
            assert_eq!(task.claim.slot, slot);
            pool.complete_and_free(W1, task.claim);
        }
    });
}

/// A task that waited while the others went a long way on is found by a look at every slot, as the oldest.
#[test]
fn a_task_is_never_too_old_to_be_found() {
    model(|| {
        for behind in [2, 1 << 30, 1 << 31, (1_u64 << 32) - (1 << 25)] {
            let pool = Pool::new(2, 0);
            pool.publish(S1, Request::default()).unwrap();
            pool.head.tail.store(behind, Relaxed);
            pool.head.head.store(behind, Relaxed);
            assert_eq!(pool.publish(S1, Request::default()).unwrap().slot, 1);
            let ring = pool.ring();
            let mut round = ring.round(ring.behind_tail(), &mut anything);
            let slots = [(); 2].map(|()| ring.claim_in(&mut round, W1).map(|claim| claim.slot));
            assert_eq!(slots, [Some(0), Some(1)], "{behind:#x} positions behind");
        }
    });
}

/// A hold that goes on where an earlier one has looked in vain ends where the lap from the stored tail does, though a slot beyond is free: were its
/// holder killed, nobody would look for a task there.
#[test]
fn a_hold_publishes_nothing_beyond_a_lap() {
    model(|| {
        let pool = Pool::new(2, 0);
        for _ in 0..2 {
            pool.publish(S1, Request::default()).unwrap();
        }
        let (short, _long) = (pool.claim(W1).unwrap(), pool.claim(W2).unwrap());
        let worker = spawn(&pool, move |pool| pool.complete_and_free(W1, short));
        {
            let mut hold = pool.ring().hold(S1, &*pool).unwrap();
            let position = hold.position() + 1;
            assert!(hold.go_on_from(position));
            assert_eq!(publish_in(&mut hold, S1, Request::default()), None);
        }
        worker.join().unwrap();
        assert!(pool.publish(S1, Request::default()).is_some());
    });
}
