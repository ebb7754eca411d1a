//! Time limits of single calls: they end in time, say so, and change nothing.

mod common;

use common::{Board, SOON, count_in, hold, pool_of, small_pool, square, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, StartMethod, State, Task};

taskring::test_support!();

fn timed_out<T>(result: &Result<T, Error>, limit: Duration) -> bool {
    matches!(result, Err(Error::TimedOut { after, .. }) if *after == limit)
}

/// A pool of one slot, and the task that holds it until `board[1]` is set.
fn full_pool(kind: StartMethod, board: &Board) -> (Executor, Future<u64>) {
    let pool = small_pool(kind, 1, 1);
    let running = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    (pool, running)
}

both_kinds! {
    fn a_result_that_does_not_come_in_time_may_be_asked_for_again(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let future = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2), Duration::from_millis(60)] {
            let start = Instant::now();
            let result = future.result_timeout(limit);
            assert!(timed_out(&result, limit), "{result:?}");
            assert!(start.elapsed() >= limit && start.elapsed() < limit + SOON / 4);
            assert_eq!(future.state(), State::Running, "nothing was changed");
        }
        board[1].store(1, SeqCst);
        assert_eq!(future.result_timeout(SOON), Ok(0));
        assert_eq!(future.result_timeout(Duration::ZERO), Ok(0), "a finished task needs no time");
    }

    fn a_finished_task_needs_no_time(kind) {
        let pool = pool_of(kind, 1);
        for i in 0..100 {
            let future = pool.submit(square, i).unwrap();
            wait_until(SOON, || future.is_done());
            assert_eq!(future.result_timeout(Duration::ZERO), Ok(i * i));
        }
    }

    fn a_limit_beyond_all_clocks_is_no_limit(kind) {
        let pool = pool_of(kind, 1);
        for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_nanos(u64::MAX)] {
            assert_eq!(pool.submit(square, 2).unwrap().result_timeout(limit), Ok(4));
            assert_eq!(pool.submit_timeout(square, 2, limit).unwrap().result(), Ok(4));
        }
    }

    fn a_pending_task_that_was_waited_for_can_be_cancelled(kind) {
        let board = Board::new(3);
        let (pool, running) = {
            let pool = pool_of(kind, 1);
            let running = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until(SOON, || board[0].load(SeqCst) == 1);
            (pool, running)
        };
        let pending = pool.submit(count_in, (board.name(), 2)).unwrap();
        // Longer than a pending task is left alone.
        let limit = Duration::from_millis(50);
        assert!(timed_out(&pending.result_timeout(limit), limit));
        assert_eq!(pending.state(), State::Pending);
        assert!(pending.cancel());
        board[1].store(1, SeqCst);
        assert_eq!((running.result(), pending.result()), (Ok(0), Err(Error::Cancelled)));
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn a_submit_that_finds_no_room_in_time_submits_nothing(kind) {
        let board = Board::new(3);
        let (pool, running) = full_pool(kind, &board);
        for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2), Duration::from_millis(60)] {
            let start = Instant::now();
            let result = pool.submit_timeout(count_in, (board.name(), 2), limit).map(|_| ());
            assert!(timed_out(&result, limit), "{result:?}");
            assert!(start.elapsed() >= limit && start.elapsed() < limit + SOON / 4);
        }
        board[1].store(1, SeqCst);
        assert_eq!(pool.submit_timeout(count_in, (board.name(), 2), SOON).unwrap().result(), Ok(0));
        assert_eq!(running.result(), Ok(0));
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 1, "what timed out did not run");
    }

    fn a_submit_with_room_needs_no_time(kind) {
        let pool = small_pool(kind, 1, 2);
        for i in 0..200 {
            // The room may be taken by a task that is over and was not collected.
            let future = pool.submit_timeout(square, i, Duration::ZERO).unwrap();
            wait_until(SOON, || future.is_done());
        }
    }

    fn time_outs_and_ends_may_race(kind) {
        let pool = pool_of(kind, 1);
        let mut times = 0;
        for i in 0..2000_u64 {
            let future = pool.submit(square, i).unwrap();
            loop {
                match future.result_timeout(Duration::from_nanos(i * 37 % 20_000)) {
                    Ok(result) => break assert_eq!(result, i * i),
                    Err(Error::TimedOut { .. }) => times += 1,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        println!("{times} time-outs");
    }
}

#[test]
fn a_task_that_nobody_can_run_waits_as_long_as_it_is_told() {
    let _dog = common::watchdog(60);
    let limit = Duration::from_millis(300);
    let pool = Executor::builder().start(StartMethod::None).start_timeout(limit).build().unwrap();
    let start = Instant::now();
    let future = pool.submit(Task::<u64, u64>::named("nobody"), 1).unwrap();
    let error = future.result().unwrap_err();
    assert!(start.elapsed() >= limit, "it was given up after {:?}", start.elapsed());
    assert!(matches!(&error, Error::NoWorkerFor { name, waited } if name == "nobody" && *waited >= limit), "{error:?}");
    assert_eq!(future.result(), Err(error));
}
