//! Futures in the order in which they end.

mod common;

use common::{Board, Random, SOON, fail_with, hold, nap, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, as_completed};

taskring::test_support!();

/// Tasks that each run, in a worker of their own, until `board[2 * i + 1]` is set. Each gives `2 * i`.
fn holding(pool: &Executor, board: &Board, count: usize) -> Vec<Future<u64>> {
    let futures: Vec<_> = (0..count as u64).map(|i| pool.submit(hold, (board.name(), 2 * i)).unwrap()).collect();
    wait_until(SOON, || (0..count).all(|i| board[2 * i].load(SeqCst) == 1));
    futures
}

fn let_go(board: &Board, i: usize) {
    board[2 * i + 1].store(1, SeqCst);
}

/// Waits until tasks that a test has no future of any more are over: so many workers take the next ones.
fn wait_for_workers(pool: &Executor, count: usize) {
    let board = Board::new(2);
    let futures: Vec<_> = (0..count).map(|_| pool.submit(hold, (board.name(), 0)).unwrap()).collect();
    wait_until(SOON, || board[0].load(SeqCst) == count as u64);
    board[1].store(1, SeqCst);
    assert!(futures.iter().all(|f| f.result().is_ok()));
}

fn timed_out<T>(item: Option<Result<T, Error>>) -> bool {
    matches!(item, Some(Err(Error::TimedOut { .. })))
}

both_kinds! {
    fn nothing_gives_nothing(kind) {
        let _pool = pool_of(kind, 1);
        assert!(as_completed(Vec::<Future<u64>>::new(), None).next().is_none());
        assert!(as_completed(Vec::<Future<u64>>::new(), Some(Duration::ZERO)).next().is_none());
    }

    fn each_future_comes_once(kind) {
        let pool = pool_of(kind, 2);
        let futures = pool.submit_bulk(square, 0..1000).unwrap();
        let mut stream = as_completed(futures, Some(SOON));
        let mut results = Vec::new();
        while let Some(future) = stream.next() {
            results.push(future.unwrap().result().unwrap());
            assert_eq!(stream.remaining(), 1000 - results.len());
        }
        assert!(stream.next().is_none());
        results.sort_unstable();
        assert!(results.into_iter().eq((0..1000).map(|i| i * i)));
    }

    fn futures_come_in_the_order_in_which_they_end(kind) {
        let board = Board::new(10);
        let pool = pool_of(kind, 5);
        let mut random = Random::new();
        let mut stream = as_completed(holding(&pool, &board, 5), Some(SOON));
        let mut left: Vec<usize> = (0..5).collect();
        while !left.is_empty() {
            let i = left.swap_remove(random.below(left.len() as u64) as usize);
            let_go(&board, i);
            assert_eq!(stream.next().unwrap().unwrap().result(), Ok(2 * i as u64));
        }
        assert!(stream.next().is_none());
    }

    fn the_order_is_kept_while_nobody_asks(kind) {
        let board = Board::new(8);
        let pool = pool_of(kind, 4);
        let stream = as_completed(holding(&pool, &board, 4), Some(SOON));
        // All end between two calls, in reverse order, each seen to be over before the next one is let go.
        for (over, i) in (0..4).rev().enumerate() {
            let_go(&board, i);
            wait_for_workers(&pool, over + 1);
        }
        let order: Vec<u64> = stream.map(|f| f.unwrap().result().unwrap()).collect();
        assert_eq!(order, [6, 4, 2, 0]);
    }

    fn the_order_is_kept_when_results_are_pushed_out_of_the_ring(kind) {
        let board = Board::new(8);
        let pool = small_pool(kind, 5, 8);
        for _ in 0..3 {
            board.iter().for_each(|cell| cell.store(0, SeqCst));
            let stream = as_completed(holding(&pool, &board, 4), Some(SOON));
            for (over, i) in [2, 0, 3, 1].into_iter().enumerate() {
                let_go(&board, i);
                wait_for_workers(&pool, over + 2);
            }
            // More tasks than slots: what nobody has asked for gives its slot up.
            (0..50).for_each(|i| pool.submit(square, i).unwrap().detach());
            let order: Vec<u64> = stream.map(|f| f.unwrap().result().unwrap()).collect();
            assert_eq!(order, [4, 0, 6, 2]);
        }
    }

    fn what_is_over_already_comes_first(kind) {
        let board = Board::new(6);
        let pool = pool_of(kind, 3);
        let mut futures = holding(&pool, &board, 3);
        let done = pool.submit(square, 3);
        let_go(&board, 1);
        let done = done.unwrap();
        wait_until(SOON, || futures[1].is_done() && done.is_done());
        let cancelled = {
            // Both other workers hold, so a task behind a held one stays pending.
            let more = pool.submit(hold, (board.name(), 2)).unwrap();
            more.result().unwrap();
            more
        };
        futures.push(done);
        futures.push(cancelled);
        let mut stream = as_completed(futures, Some(SOON));
        let mut early: Vec<u64> = stream.by_ref().take(3).map(|f| f.unwrap().result().unwrap()).collect();
        early.sort_unstable();
        assert_eq!(early, [2, 2, 9]);
        let_go(&board, 2);
        assert_eq!(stream.next().unwrap().unwrap().result(), Ok(4));
        let_go(&board, 0);
        assert_eq!(stream.next().unwrap().unwrap().result(), Ok(0));
        assert!(stream.next().is_none());
    }

    fn cancelled_futures_are_given_at_once(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let held = holding(&pool, &board, 1);
        let futures = pool.submit_bulk(square, 0..20).unwrap();
        assert!(futures[..10].iter().all(Future::cancel));
        let mut stream = as_completed(futures, Some(SOON));
        assert!(stream.by_ref().take(10).all(|f| f.unwrap().result() == Err(Error::Cancelled)));
        pool.shutdown(false, true).unwrap();
        assert!(stream.by_ref().all(|f| f.unwrap().result() == Err(Error::Cancelled)));
        assert_eq!(stream.remaining(), 0);
        let_go(&board, 0);
        assert_eq!(held[0].result(), Ok(0));
    }

    fn failures_come_like_results(kind) {
        let pool = pool_of(kind, 2);
        let mut futures = pool.submit_bulk(square, 0..5).unwrap();
        futures.push(pool.submit(fail_with, "f".into()).unwrap());
        let ends = as_completed(futures, Some(SOON)).map(|f| f.unwrap().result());
        let (good, bad): (Vec<_>, Vec<_>) = ends.partition(Result::is_ok);
        assert_eq!((good.len(), bad), (5, vec![Err(Error::TaskFailed { summary: "f".into(), source: None })]));
    }

    fn a_time_out_comes_after_what_has_ended_and_is_the_last(kind) {
        let board = Board::new(4);
        let pool = pool_of(kind, 3);
        let mut futures = holding(&pool, &board, 2);
        futures.push(pool.submit(square, 3).unwrap());
        wait_until(SOON, || futures[2].is_done());
        for timeout in [Duration::ZERO, Duration::from_millis(30)] {
            let start = Instant::now();
            let mut stream = as_completed(futures, Some(timeout));
            assert_eq!(stream.next().unwrap().unwrap().result(), Ok(9));
            assert!(timed_out(stream.next()) && start.elapsed() >= timeout);
            assert!(stream.next().is_none() && stream.next().is_none(), "the time-out is told once");
            assert_eq!(stream.remaining(), 2);
            futures = stream.into_rest();
            assert_eq!(futures.len(), 2);
            futures.push(pool.submit(square, 3).unwrap());
            wait_until(SOON, || futures[2].is_done());
        }
        let_go(&board, 0);
        let_go(&board, 1);
        assert_eq!(as_completed(futures, Some(SOON)).filter(|f| f.is_ok()).count(), 3, "the rest can be waited for again");
    }

    fn the_clock_starts_at_the_call(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let mut stream = as_completed(holding(&pool, &board, 1), Some(Duration::from_millis(200)));
        std::thread::sleep(Duration::from_millis(250));
        let start = Instant::now();
        assert!(timed_out(stream.next()));
        assert!(start.elapsed() < Duration::from_millis(150), "the time was over before: {:?}", start.elapsed());
        let_go(&board, 0);
    }

    fn what_ended_in_time_is_given_although_nobody_asked_in_time(kind) {
        let board = Board::new(4);
        let pool = pool_of(kind, 2);
        let mut stream = as_completed(holding(&pool, &board, 2), Some(Duration::from_millis(150)));
        let_go(&board, 1);
        wait_for_workers(&pool, 1);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(stream.next().unwrap().map(|f| f.result()).ok(), Some(Ok(2)), "it was over long before the time was");
        assert!(timed_out(stream.next()));
        let_go(&board, 0);
    }

    fn the_rest_keeps_its_order_and_goes_on(kind) {
        let board = Board::new(6);
        let pool = pool_of(kind, 3);
        let futures = holding(&pool, &board, 3);
        let ids: Vec<u64> = futures.iter().map(Future::id).collect();
        let mut stream = as_completed(futures, None);
        let_go(&board, 1);
        assert_eq!(stream.next().unwrap().unwrap().id(), ids[1]);
        let rest = stream.into_rest();
        assert_eq!(rest.iter().map(Future::id).collect::<Vec<_>>(), [ids[0], ids[2]]);
        let_go(&board, 0);
        let_go(&board, 2);
        assert_eq!(rest.iter().map(|f| f.result().unwrap()).collect::<Vec<_>>(), [0, 4]);
    }

    fn dropping_the_iterator_lets_its_tasks_run(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 2);
        let futures = (0..300).map(|_| pool.submit(common::count_in, (board.name(), 0)).unwrap());
        let mut stream = as_completed(futures, None);
        assert!(stream.by_ref().take(10).all(|f| f.is_ok()));
        drop(stream);
        drop(pool);
        assert_eq!(board[0].load(SeqCst), 300);
    }

    fn many_more_futures_than_slots_all_come(kind) {
        let pool = small_pool(kind, 2, 64);
        let futures: Vec<_> = (0..10_000).map(|i| pool.submit(square, i).unwrap()).collect();
        let mut seen = vec![false; 10_000];
        for future in as_completed(futures, Some(SOON)) {
            let i = future.unwrap().result().unwrap().isqrt() as usize;
            assert!(!std::mem::replace(&mut seen[i], true), "{i} came twice");
        }
        assert!(seen.into_iter().all(|s| s));
    }

    fn new_tasks_may_be_submitted_while_others_come(kind) {
        let pool = small_pool(kind, 2, 16);
        let mut waves = 0;
        let mut futures = pool.submit_bulk(square, 0..40).unwrap();
        while waves < 50 {
            // The new tasks push outcomes that nobody has asked for yet out of the ring.
            let mut next = Vec::new();
            for future in as_completed(futures, Some(SOON)) {
                let n = future.unwrap().result().unwrap().isqrt();
                next.push(pool.submit(square, n).unwrap());
            }
            assert_eq!(next.len(), 40);
            futures = next;
            waves += 1;
        }
    }

    fn several_threads_drain_iterators_of_their_own(kind) {
        let pool = small_pool(kind, 2, 32);
        let count = scaled(1000, 20_000) as u64;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let futures: Vec<_> = (0..count).map(|i| pool.submit(square, i).unwrap()).collect();
                    let sum: u64 = as_completed(futures, Some(4 * SOON)).map(|f| f.unwrap().result().unwrap()).sum();
                    assert_eq!(sum, (0..count).map(|i| i * i).sum());
                });
            }
        });
    }

    fn another_thread_may_cancel_while_they_come(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..scaled(30, 500) {
            let set = pool.task_set().unwrap();
            let futures: Vec<_> = (0..200).map(|_| set.submit(nap, 0).unwrap()).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| set.discard().unwrap());
                let ends = as_completed(futures, Some(SOON)).map(|f| f.unwrap().result());
                let (ran, not): (Vec<_>, Vec<_>) = ends.partition(Result::is_ok);
                assert_eq!(ran.len() + not.len(), 200);
                assert!(not.iter().all(|r| *r == Err(Error::Cancelled)));
            });
        }
    }
}
