//! Section W: waiting for several futures.

use crate::held::{Held, second_pool_of, unwind_with};
use crate::process_support::LIMIT;
use crate::process_support::common::{fail_with, nap, square};
use crate::support::pool_of;
use std::time::{Duration, Instant};
use taskring::{Future, StartMethod, Waited, When, wait};

const MODES: [When; 3] = [When::FirstCompleted, When::FirstException, When::AllCompleted];
const SHORT: Duration = Duration::from_millis(20);

fn waited(done: &[usize], not_done: &[usize]) -> Waited {
    Waited { done: done.to_vec(), not_done: not_done.to_vec() }
}

cases! {
    /// Different from sets: places of the input, so a future that was given twice is told twice.
    fn semantics_w1_done_and_not_done_are_places_of_the_input(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(2);
        let futures = held.start_all(&pool, 0..2);
        held.finish(&futures, 1);
        let given = [&futures[0], &futures[1], &futures[0], &futures[1]];
        assert_eq!(wait(given, Some(SHORT), When::AllCompleted), Ok(waited(&[1, 3], &[0, 2])));
        held.let_go(0);
        assert_eq!(wait(given, Some(LIMIT), When::AllCompleted), Ok(waited(&[0, 1, 2, 3], &[])));
    }

    fn semantics_w2_nothing_to_wait_for_is_over_at_once(kind) {
        let pool = pool_of(kind, 1);
        for when in MODES {
            assert_eq!(wait(&Vec::<Future<u64>>::new(), None, when), Ok(Waited::default()));
        }
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }

    fn semantics_w3_what_is_over_already_ends_a_wait_for_the_first(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(3);
        let futures = held.start_all(&pool, 0..3);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&futures, Some(LIMIT), When::FirstCompleted));
            std::thread::sleep(SHORT);
            assert!(!waiter.is_finished(), "none is over");
            held.let_go(1);
            assert_eq!(waiter.join().unwrap(), Ok(waited(&[1], &[0, 2])));
        });
        assert_eq!(wait(&futures, None, When::FirstCompleted), Ok(waited(&[1], &[0, 2])));
        held.finish(&futures, 0);
        assert_eq!(wait(&futures, None, When::FirstCompleted), Ok(waited(&[0, 1], &[2])), "all that are over");
        held.let_go(2);
    }

    fn semantics_w4_a_failure_ends_a_wait_for_the_first_exception_and_cancelling_is_none(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(2);
        let mut futures = held.start_all(&pool, 0..2);
        futures.push(pool.submit(square, 1).unwrap());
        assert!(futures[2].result().is_ok());
        // The third worker is kept busy while a task of its is cancelled.
        let busy = Held::new(1);
        let third = busy.start(&pool, 0);
        futures.push(pool.submit(square, 1).unwrap());
        assert!(futures[3].cancel());
        busy.let_go(0);
        assert!(third.result().is_ok());
        assert_eq!(wait(&futures, Some(SHORT), When::FirstException), Ok(waited(&[2, 3], &[0, 1])), "none has failed");
        for failing in [pool.submit(fail_with, "f".into()).unwrap(), pool.submit(unwind_with, "p".into()).unwrap()] {
            futures.push(failing);
            for when in ["as it comes", "already there"] {
                assert_eq!(wait(&futures, None, When::FirstException), Ok(waited(&[2, 3, 4], &[0, 1])), "{when}");
            }
            futures.pop();
        }
        held.let_go(0);
        held.let_go(1);
        assert_eq!(wait(&futures, None, When::FirstException), Ok(waited(&[0, 1, 2, 3], &[])), "the same as all");
    }

    fn semantics_w5_all_kinds_of_ends_count_as_completed(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let mut futures = held.start_all(&pool, 0..1);
        futures.extend(pool.submit_bulk(nap, 0..5).unwrap());
        futures.push(pool.submit(fail_with, "f".into()).unwrap());
        futures.push(pool.submit(fail_with, "g".into()).unwrap());
        futures.push(pool.submit(square, 1).unwrap());
        assert!(futures[8].cancel());
        assert_eq!(wait(&futures, Some(SHORT), When::AllCompleted).unwrap().done, [8]);
        held.let_go(0);
        assert_eq!(wait(&futures, Some(LIMIT), When::AllCompleted), Ok(waited(&[0, 1, 2, 3, 4, 5, 6, 7, 8], &[])));
        assert_eq!(futures.iter().filter(|f| f.result().is_err()).count(), 3);
    }

    fn semantics_w6_a_time_out_leaves_a_part_and_is_no_error(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(3);
        let futures = held.start_all(&pool, 0..3);
        for when in MODES {
            for limit in [Duration::ZERO, SHORT] {
                let start = Instant::now();
                assert_eq!(wait(&futures, Some(limit), when), Ok(waited(&[], &[0, 1, 2])));
                assert!(start.elapsed() >= limit);
            }
        }
        held.finish(&futures, 2);
        for limit in [Duration::ZERO, SHORT] {
            assert_eq!(wait(&futures, Some(limit), When::AllCompleted), Ok(waited(&[2], &[0, 1])));
        }
        held.let_go(0);
        held.let_go(1);
        assert_eq!(wait(&futures, Some(Duration::MAX), When::AllCompleted), Ok(waited(&[0, 1, 2], &[])));
    }

    /// The compiler refuses any other condition: a fourth one would have no arm here.
    fn semantics_w7_there_are_three_conditions_and_no_others(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(2);
        let futures = held.start_all(&pool, 0..2);
        held.finish(&futures, 0);
        for when in MODES {
            let ends_early = match when {
                When::FirstCompleted => true,
                When::FirstException | When::AllCompleted => false,
            };
            let start = Instant::now();
            assert_eq!(wait(&futures, Some(if ends_early { LIMIT } else { SHORT }), when), Ok(waited(&[0], &[1])));
            assert!(ends_early || start.elapsed() >= SHORT);
        }
        held.let_go(1);
    }

    fn semantics_w8_no_end_is_missed_while_the_wait_begins(kind) {
        let pool = pool_of(kind, 2);
        let all: Vec<usize> = (0..100).collect();
        for _ in 0..20 {
            let futures = pool.submit_bulk(square, 0..100).unwrap();
            assert_eq!(wait(&futures, Some(LIMIT), When::AllCompleted), Ok(waited(&all, &[])));
        }
    }

    fn semantics_w9_waits_for_the_same_futures_do_not_block_each_other(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..10 {
            let futures = pool.submit_bulk(square, 0..50).unwrap();
            std::thread::scope(|scope| {
                for round in 0..4 {
                    let futures = &futures;
                    scope.spawn(move || {
                        // The one takes them in this order, the other in that.
                        let order = |i: usize| &futures[if round % 2 == 0 { i } else { 49 - i }];
                        let found = wait((0..50).map(order), Some(LIMIT), When::AllCompleted).unwrap();
                        assert_eq!(found.done.len(), 50);
                    });
                }
            });
        }
    }

    fn semantics_w10_more_than_one_may_be_over_when_the_first_is_waited_for(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(3);
        let futures = held.start_all(&pool, 0..3);
        held.finish(&futures, 2);
        held.finish(&futures, 0);
        assert_eq!(wait(&futures, Some(LIMIT), When::FirstCompleted), Ok(waited(&[0, 2], &[1])));
        held.let_go(1);
    }

    fn semantics_w11_one_wait_takes_futures_of_several_pools_and_kinds(kind) {
        let pools = [pool_of(kind, 1), second_pool_of(kind, 1), pool_of(StartMethod::Thread, 1)];
        let held = Held::new(3);
        let futures: Vec<_> = pools.iter().enumerate().map(|(i, pool)| held.start(pool, i)).collect();
        assert_eq!(wait(&futures, Some(SHORT), When::FirstCompleted), Ok(waited(&[], &[0, 1, 2])));
        for i in [2, 0, 1] {
            std::thread::scope(|scope| {
                let pending: Vec<&Future<u64>> = futures.iter().filter(|f| !f.is_done()).collect();
                let first = scope.spawn(move || wait(pending, Some(LIMIT), When::FirstCompleted).unwrap());
                std::thread::sleep(Duration::from_millis(5));
                held.let_go(i);
                assert_eq!(first.join().unwrap().done.len(), 1, "pool {i}");
            });
        }
        assert_eq!(wait(&futures, Some(LIMIT), When::AllCompleted), Ok(waited(&[0, 1, 2], &[])));
    }
}
