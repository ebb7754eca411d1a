//! Waiting for many futures: the three modes, time-outs, and waits that overlap.

mod common;

use common::{Board, SOON, fail_with, hold, nap, panic_with, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Bytes, Error, Executor, Future, State, Waited, When, wait};

taskring::test_support!();
taskring::task! {
    fn large(len: u64) -> Bytes { Bytes(vec![0; len as usize]) }
}

const MODES: [When; 3] = [When::FirstCompleted, When::FirstException, When::AllCompleted];

fn waited(done: &[usize], not_done: &[usize]) -> Waited {
    Waited { done: done.to_vec(), not_done: not_done.to_vec() }
}

/// Tasks that each run, in a worker of their own, until `board[2 * i + 1]` is set.
fn holding(pool: &Executor, board: &Board, count: usize) -> Vec<Future<u64>> {
    let futures = (0..count as u64).map(|i| pool.submit(hold, (board.name(), 2 * i)).unwrap()).collect();
    wait_until(SOON, || (0..count).all(|i| board[2 * i].load(SeqCst) == 1));
    futures
}

fn let_go(board: &Board, i: usize) {
    board[2 * i + 1].store(1, SeqCst);
}

/// Lets a task go and waits until it is over.
fn finish(board: &Board, futures: &[Future<u64>], i: usize) {
    let_go(board, i);
    wait_until(SOON, || futures[i].is_done());
}

both_kinds! {
    fn nothing_to_wait_for_is_over_at_once(kind) {
        let _pool = pool_of(kind, 1);
        for when in MODES {
            assert_eq!(wait(&Vec::<Future<u64>>::new(), None, when), Ok(Waited::default()));
        }
    }

    fn the_first_one_that_is_over_ends_the_wait(kind) {
        let board = Board::new(6);
        let pool = pool_of(kind, 3);
        let futures = holding(&pool, &board, 3);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&futures, None, When::FirstCompleted));
            std::thread::sleep(Duration::from_millis(20));
            let_go(&board, 1);
            assert_eq!(waiter.join().unwrap(), Ok(waited(&[1], &[0, 2])));
        });
        // What is over already ends it at once, and all such are told, in input order.
        finish(&board, &futures, 0);
        assert_eq!(wait(&futures, None, When::FirstCompleted), Ok(waited(&[0, 1], &[2])));
        let_go(&board, 2);
        assert_eq!(wait(&futures[2..], None, When::FirstCompleted), Ok(waited(&[0], &[])));
    }

    fn a_cancelled_one_is_over_too(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let mut futures = holding(&pool, &board, 1);
        futures.push(pool.submit(square, 1).unwrap());
        futures.push(pool.submit(square, 2).unwrap());
        assert!(futures[2].cancel());
        assert_eq!(wait(&futures, None, When::FirstCompleted), Ok(waited(&[2], &[0, 1])));
        assert_eq!(wait(&futures[2..], None, When::AllCompleted), Ok(waited(&[0], &[])));
        let_go(&board, 0);
        assert_eq!(wait(&futures, None, When::AllCompleted), Ok(waited(&[0, 1, 2], &[])));
    }

    fn the_first_failure_ends_the_wait(kind) {
        let board = Board::new(4);
        let pool = pool_of(kind, 3);
        for round in 0..3 {
            let mut futures = holding(&pool, &board, 2);
            futures.push(match round {
                0 => pool.submit(fail_with, "f".into()).unwrap(),
                1 => pool.submit(panic_with, "p".into()).unwrap(),
                _ => pool.submit(fail_with, "f".repeat(1000)).unwrap(),
            });
            assert_eq!(wait(&futures, None, When::FirstException), Ok(waited(&[2], &[0, 1])));
            assert_eq!(wait(&futures, None, When::FirstException), Ok(waited(&[2], &[0, 1])), "already failed");
            assert!(futures[2].result().is_err());
            assert_eq!(wait(&futures, None, When::FirstException), Ok(waited(&[2], &[0, 1])), "already asked");
            finish(&board, &futures, 0);
            finish(&board, &futures, 1);
            board.iter().for_each(|cell| cell.store(0, SeqCst));
        }
    }

    fn neither_a_result_nor_a_cancelled_task_is_a_failure(kind) {
        let board = Board::new(4);
        let pool = pool_of(kind, 2);
        let mut futures = holding(&pool, &board, 2);
        futures.push(pool.submit(square, 1).unwrap());
        assert!(futures[2].cancel());
        finish(&board, &futures, 0);
        let short = Some(Duration::from_millis(30));
        assert_eq!(wait(&futures, short, When::FirstException), Ok(waited(&[0, 2], &[1])));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&futures, None, When::FirstException));
            let_go(&board, 1);
            assert_eq!(waiter.join().unwrap(), Ok(waited(&[0, 1, 2], &[])), "nothing failed: the same as all");
        });
    }

    fn a_result_that_could_not_be_stored_is_a_failure(kind) {
        let board = Board::new(2);
        let pool = Executor::builder().workers(2).start(kind).payload_max(1 << 16).build().unwrap();
        let held = pool.submit(hold, (board.name(), 0)).unwrap();
        let lost = pool.submit(large, 1 << 20).unwrap();
        assert!(lost.result().is_err());
        // Futures of different types cannot be mixed: both are asked for what they do not have.
        let also_lost = pool.submit(taskring::Task::<u64, u64>::named(large.name()), 1 << 20).unwrap();
        let both = [held, also_lost];
        let start = Instant::now();
        let first = wait(&both, Some(Duration::from_secs(5)), When::FirstException);
        board[1].store(1, SeqCst);
        assert!(start.elapsed() < Duration::from_secs(5), "the lost result did not end the wait");
        assert_eq!(first, Ok(waited(&[1], &[0])));
        assert!(both[1].result().is_err());
    }

    fn all_of_them_are_waited_for(kind) {
        let pool = pool_of(kind, 2);
        let mut futures = pool.submit_bulk(nap, (0..20).rev()).unwrap();
        futures.push(pool.submit(fail_with, "f".into()).unwrap());
        futures.push(pool.submit(panic_with, "p".into()).unwrap());
        let cancelled = pool.submit(nap, 5).unwrap();
        cancelled.cancel();
        futures.push(cancelled);
        let all: Vec<usize> = (0..futures.len()).collect();
        assert_eq!(wait(&futures, None, When::AllCompleted), Ok(waited(&all, &[])));
        assert!(futures.iter().all(Future::is_done));
        let mut naps = futures[..20].iter().rev().enumerate();
        assert!(naps.all(|(ms, f)| f.result() == Ok(ms as u64)), "waiting takes no result");
    }

    fn a_time_out_leaves_part_of_them_and_is_no_error(kind) {
        let board = Board::new(6);
        let pool = pool_of(kind, 3);
        let futures = holding(&pool, &board, 3);
        for when in MODES {
            assert_eq!(wait(&futures, Some(Duration::ZERO), when), Ok(waited(&[], &[0, 1, 2])));
            let start = Instant::now();
            assert_eq!(wait(&futures, Some(Duration::from_millis(30)), when), Ok(waited(&[], &[0, 1, 2])));
            assert!(start.elapsed() >= Duration::from_millis(30));
        }
        finish(&board, &futures, 2);
        assert_eq!(wait(&futures, Some(Duration::ZERO), When::AllCompleted), Ok(waited(&[2], &[0, 1])));
        assert_eq!(wait(&futures, Some(Duration::from_millis(30)), When::AllCompleted), Ok(waited(&[2], &[0, 1])));
        let_go(&board, 0);
        let_go(&board, 1);
        assert_eq!(wait(&futures, Some(Duration::MAX), When::AllCompleted), Ok(waited(&[0, 1, 2], &[])));
        assert_eq!(wait(&futures, Some(Duration::ZERO), When::AllCompleted), Ok(waited(&[0, 1, 2], &[])));
    }

    fn the_same_future_may_be_given_twice(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let futures = holding(&pool, &board, 1);
        let twice = [&futures[0], &futures[0]];
        assert_eq!(wait(twice, Some(Duration::from_millis(20)), When::AllCompleted), Ok(waited(&[], &[0, 1])));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(twice, None, When::AllCompleted));
            std::thread::sleep(Duration::from_millis(20));
            let_go(&board, 0);
            assert_eq!(waiter.join().unwrap(), Ok(waited(&[0, 1], &[])));
        });
        assert_eq!(wait(twice, None, When::FirstCompleted), Ok(waited(&[0, 1], &[])));
    }

    fn results_that_were_taken_count_as_done(kind) {
        let pool = pool_of(kind, 1);
        let futures = pool.submit_bulk(square, 0..10).unwrap();
        assert!(futures.iter().step_by(2).all(|f| f.result().is_ok()));
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(wait(&futures, None, When::AllCompleted), Ok(waited(&all, &[])));
        assert!(futures.iter().all(|f| f.state() == State::Done && f.result().is_ok()));
    }

    fn more_futures_than_slots_can_be_waited_for(kind) {
        let pool = small_pool(kind, 2, 8);
        let futures = pool.submit_bulk(square, 0..2000).unwrap();
        let all = wait(&futures, Some(SOON), When::AllCompleted).unwrap();
        assert_eq!((all.done.len(), all.not_done.len()), (2000, 0));
        assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
    }

    fn several_threads_wait_for_the_same_futures(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..scaled(30, 300) {
            let futures = pool.submit_bulk(square, 0..100).unwrap();
            std::thread::scope(|scope| {
                for when in MODES {
                    let futures = &futures;
                    scope.spawn(move || {
                        let found = wait(futures, Some(SOON), when).unwrap();
                        assert!(!found.done.is_empty());
                        assert!(when == When::FirstCompleted || found.not_done.is_empty(), "{when:?} {found:?}");
                    });
                }
                // Another one takes the results meanwhile.
                scope.spawn(|| assert!(futures.iter().rev().all(|f| f.result().is_ok())));
            });
        }
    }

    fn no_end_is_missed_while_the_wait_begins(kind) {
        let pool = pool_of(kind, 2);
        for round in 0..scaled(500, 10_000) {
            let futures = pool.submit_bulk(square, 0..(1 + round as u64 % 20)).unwrap();
            let start = Instant::now();
            let all = wait(&futures, Some(SOON), When::AllCompleted).unwrap();
            assert!(all.not_done.is_empty(), "round {round}: {all:?} after {:?}", start.elapsed());
            assert!(start.elapsed() < SOON / 2, "round {round}: an end was noticed only after {:?}", start.elapsed());
        }
    }

    fn a_wait_ends_when_the_pool_shuts_down_with_its_tasks_cancelled(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let mut futures = holding(&pool, &board, 1);
        futures.extend(pool.submit_bulk(square, 0..50).unwrap());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&futures[1..], Some(SOON), When::AllCompleted).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            pool.shutdown(false, true).unwrap();
            assert!(waiter.join().unwrap().not_done.is_empty());
        });
        assert!(futures[1..].iter().all(|f| f.result() == Err(Error::Cancelled)));
        let_go(&board, 0);
        assert_eq!(futures[0].result(), Ok(0));
    }
}
