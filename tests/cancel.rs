//! Cancelling: a pending task never runs, a running one is asked, a finished one stays finished. And whatever the
//! race, each task ran exactly once or never.

mod common;

use common::{Board, Random, SOON, count_in, hold, panic_with, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, Future, StartMethod, State, SubmitOptions, When, as_completed, task, wait};

taskring::test_support!();
taskring::task! {
    /// Counts itself, and takes its time then.
    fn count_and_nap(board: String, cell: u64, us: u64) {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_micros(us));
    }
    fn nap_us(us: u64) -> u64 { std::thread::sleep(Duration::from_micros(us)); us }
    /// Runs until it is asked to stop; tells how often it looked before.
    fn until_asked(board: String, cell: u64) -> u64 {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        let mut looks = 0;
        wait_until(2 * SOON, || { looks += 1; task::cancel_requested() });
        looks
    }
}

/// A pool whose only worker is busy until `board[1]` is set.
fn busy_pool(kind: StartMethod, board: &Board) -> (Executor, Future<u64>) {
    let pool = pool_of(kind, 1);
    let busy = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    (pool, busy)
}

both_kinds! {
    fn a_pending_task_is_cancelled_and_never_runs(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        let pending = pool.submit(count_in, (board.name(), 2)).unwrap();
        assert_eq!(pending.state(), State::Pending);
        assert!(pending.cancel());
        for _ in 0..2 {
            assert_eq!(pending.state(), State::Cancelled);
            assert!(pending.is_done());
            assert_eq!(pending.result(), Err(Error::Cancelled));
            assert_eq!(pending.result_timeout(Duration::ZERO), Err(Error::Cancelled));
            assert!(pending.cancel(), "it was cancelled, and says so again");
            assert_eq!(pending.worker_pid(), None);
        }
        board[1].store(1, SeqCst);
        assert_eq!(busy.result(), Ok(0));
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn a_running_task_is_only_asked(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 1);
        let running = pool.submit(until_asked, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        assert_eq!(running.state(), State::Running);
        assert!(!running.cancel());
        assert!(running.result().unwrap() >= 1, "it ran to its end, and that counts");
        assert_eq!(running.state(), State::Done);
        assert!(!running.cancel());
    }

    fn a_finished_task_stays_finished(kind) {
        let pool = pool_of(kind, 1);
        let done = pool.submit(square, 3).unwrap();
        let failed = pool.submit(panic_with, "p".into()).unwrap();
        wait_until(SOON, || done.is_done() && failed.is_done());
        assert!(!done.cancel() && !failed.cancel(), "before anybody has asked for the result");
        assert_eq!(done.result(), Ok(9));
        assert!(failed.result().is_err());
        assert!(!done.cancel() && !failed.cancel(), "and after");
        assert_eq!(done.state(), State::Done);
        assert_eq!(done.result(), Ok(9));
    }

    fn whoever_waits_for_a_task_hears_of_its_cancelling(kind) {
        let board = Board::new(2);
        let (pool, _busy) = busy_pool(kind, &board);
        let one = pool.submit(square, 1).unwrap();
        let many = pool.submit_bulk(square, 0..10).unwrap();
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| one.result());
            let waits = scope.spawn(|| wait(&many, None, When::AllCompleted).unwrap());
            // Let both fall asleep; should they not have, the test checks less, but not wrongly.
            std::thread::sleep(Duration::from_millis(30));
            assert!(one.cancel() && many.iter().all(Future::cancel));
            assert_eq!(asks.join().unwrap(), Err(Error::Cancelled));
            assert_eq!(waits.join().unwrap().done.len(), 10);
        });
        let yielded: Vec<_> = as_completed(many, Some(SOON)).map(|f| f.unwrap().result()).collect();
        assert_eq!(yielded, vec![Err(Error::Cancelled); 10]);
        board[1].store(1, SeqCst);
    }

    fn cancelled_tasks_make_room_in_the_ring(kind) {
        let board = Board::new(3);
        let pool = small_pool(kind, 1, 8);
        let busy = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        let futures: Vec<_> = (0..3000)
            .map(|_| {
                let future = pool.submit(count_in, (board.name(), 2)).unwrap();
                assert!(future.cancel());
                future
            })
            .collect();
        assert!(futures.iter().all(|f| f.state() == State::Cancelled && f.cancel()));
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        assert!(futures.iter().all(|f| f.result() == Err(Error::Cancelled)));
        assert_eq!(board[2].load(SeqCst), 0);
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn a_dropped_future_of_a_cancelled_task_leaves_nothing_behind(kind) {
        let board = Board::new(3);
        let pool = small_pool(kind, 1, 4);
        let busy = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        for _ in 0..1000 {
            let future = pool.try_submit(count_in, (board.name(), 2)).expect("room, for all others are cancelled");
            assert!(future.cancel());
        }
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn in_a_race_with_the_workers_each_task_runs_once_or_never(kind) {
        let count = scaled(1_000_000, 1_000_000);
        let mut random = Random::new();
        let board = Board::new(count);
        let pool = pool_of(kind, 2);
        let (mut ran, mut never) = (0, 0);
        for start in (0..count).step_by(64) {
            let cells = start..(start + 64).min(count);
            let mut futures = pool.submit_bulk(count_in, cells.clone().map(|c| (board.name(), c as u64))).unwrap();
            let mut numbered: Vec<_> = cells.clone().zip(futures.drain(..)).collect();
            // Sooner or later, so that the workers are anywhere in the batch.
            for _ in 0..random.below(8) {
                match random.below(4) {
                    0 => std::thread::yield_now(),
                    _ => (0..1000).for_each(|_| std::hint::spin_loop()),
                }
            }
            // From the back, from the front or from somewhere: the workers come from the front.
            let turn = random.below(64) as usize % numbered.len();
            numbered.rotate_left(turn);
            if random.below(2) == 0 {
                numbered.reverse();
            }
            for (cell, future) in numbered {
                let cancelled = future.cancel();
                let result = future.result();
                assert_eq!(result, if cancelled { Err(Error::Cancelled) } else { Ok(0) }, "task {cell}");
                assert_eq!(future.state(), if cancelled { State::Cancelled } else { State::Done });
                if cancelled { never += 1 } else { ran += 1 }
                assert_eq!(board[cell].load(SeqCst), u64::from(!cancelled), "task {cell}, cancelled: {cancelled}");
            }
        }
        drop(pool);
        let runs: u64 = board.iter().map(|c| c.load(SeqCst)).sum();
        println!("{ran} ran, {never} never did");
        assert_eq!((runs, ran + never), (ran as u64, count));
        assert!(ran > 0 && never > 0, "no race took place: {ran} ran, {never} never did");
    }

    fn several_threads_that_cancel_one_task_agree(kind) {
        let count = scaled(5_000, 100_000);
        let board = Board::new(count);
        let pool = pool_of(kind, 2);
        for start in (0..count).step_by(50) {
            let cells = start..(start + 50).min(count);
            let futures = pool.submit_bulk(count_in, cells.clone().map(|c| (board.name(), c as u64))).unwrap();
            let answers: Vec<Vec<bool>> = std::thread::scope(|scope| {
                let ask = |_| scope.spawn(|| futures.iter().rev().map(Future::cancel).collect::<Vec<_>>());
                let threads: Vec<_> = (0..3).map(ask).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            for (i, (future, cell)) in futures.iter().rev().zip(cells.rev()).enumerate() {
                let cancelled = future.result() == Err(Error::Cancelled);
                let said: Vec<bool> = answers.iter().map(|a| a[i]).collect();
                assert_eq!(said, [cancelled; 3], "task {cell}: what three threads were told, and what became of it");
                assert_eq!(board[cell].load(SeqCst), u64::from(!cancelled));
            }
        }
    }
}

#[test]
fn a_cancelled_future_never_looks_like_anything_else() {
    let _dog = common::watchdog(120);
    let rounds = scaled(300, 5_000);
    // Nobody runs anything in a pool without workers.
    let pool = Executor::builder().start(StartMethod::None).build().unwrap();
    for _ in 0..rounds {
        let futures = pool.submit_bulk(square, 0..64).unwrap();
        assert!(futures.iter().all(Future::cancel));
        std::thread::scope(|scope| {
            // One thread takes the results while others look.
            let taker = scope.spawn(|| assert!(futures.iter().all(|f| f.result() == Err(Error::Cancelled))));
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        for (i, future) in futures.iter().enumerate() {
                            assert_eq!(future.state(), State::Cancelled, "future {i}");
                            assert!(future.cancel(), "future {i} was cancelled before");
                        }
                    }
                });
            }
            taker.join().unwrap();
        });
    }
}

#[test]
fn a_cancelled_future_stays_cancelled_while_its_slot_is_taken_for_others() {
    let _dog = common::watchdog(120);
    let rounds = scaled(300, 3_000);
    let pool = Executor::builder().start(StartMethod::None).capacity(16).build().unwrap();
    for _ in 0..rounds {
        let futures = pool.submit_bulk(square, 0..16).unwrap();
        assert!(futures.iter().all(Future::cancel));
        std::thread::scope(|scope| {
            // The ring is full of cancelled tasks, so these push their outcomes out of it.
            let pusher = scope.spawn(|| pool.submit_bulk(square, 0..16).unwrap());
            let looker = scope.spawn(|| {
                for _ in 0..4 {
                    for (i, future) in futures.iter().enumerate() {
                        assert_eq!(future.state(), State::Cancelled, "future {i}");
                    }
                    assert!(futures.iter().all(Future::cancel));
                }
            });
            looker.join().unwrap();
            assert!(pusher.join().unwrap().iter().all(Future::cancel));
        });
    }
}

/// Hard cancels against the ends of their tasks: whatever comes first, the answer and the result agree, and no other task suffers.
#[test]
fn a_hard_cancel_meets_the_task_meant_or_nobody() {
    let _dog = common::watchdog(120);
    let mut random = Random::new();
    let pool = pool_of(StartMethod::Spawn, 2);
    let rounds = scaled(60, 400);
    let board = Board::new(2);
    let mut killed = 0;
    for _ in 0..rounds {
        let before = board[0].load(SeqCst);
        let victim = pool.submit(count_and_nap, (board.name(), 0, 3_000)).unwrap();
        let others: Vec<_> = (0..8).map(|_| pool.submit(count_in, (board.name(), 1)).unwrap()).collect();
        let (start, moment) = (std::time::Instant::now(), Duration::from_micros(random.below(5_000)));
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        if victim.cancel_hard().unwrap() {
            assert_eq!(victim.result(), Err(Error::Cancelled));
            killed += u64::from(board[0].load(SeqCst) != before);
        } else {
            assert!(victim.result().is_ok());
            assert_eq!(board[0].load(SeqCst), before + 1);
        }
        assert!(others.iter().all(|f| f.result().is_ok()), "none of them may run again");
    }
    println!("{killed} of {rounds} had begun when they were cancelled");
    assert!(killed != 0, "of so many some are met while they run");
    assert_eq!(board[1].load(SeqCst), 8 * rounds as u64, "each of the others has run once");
}

/// Tasks that take about as long as they may: each has its result or its limit, once, and no other task suffers.
#[test]
fn a_time_limit_meets_the_task_meant_or_nobody() {
    let _dog = common::watchdog(120);
    let pool = pool_of(StartMethod::Spawn, 2);
    let limit = Duration::from_millis(10);
    let options = SubmitOptions::new().hard_limit(limit);
    let (board, rounds) = (Board::new(1), scaled(40, 200));
    let mut random = Random::new();
    let mut killed = 0;
    for round in 0..rounds {
        // Close to the limit; and some that are on either side of it on any machine.
        let us = match round % 4 {
            0 => 2_000,
            1 => 30_000,
            _ => 9_500 + random.below(1_000),
        };
        let limited: Vec<_> = (0..2).map(|_| pool.submit_with(&options, nap_us, us).unwrap()).collect();
        let others: Vec<_> = (0..8).map(|_| pool.submit(count_in, (board.name(), 0)).unwrap()).collect();
        for task in limited {
            match task.result() {
                Ok(slept) => assert_eq!(slept, us),
                Err(e) => {
                    assert_eq!(e, Error::TimeLimit { limit });
                    killed += 1;
                }
            }
        }
        assert!(others.iter().all(|f| f.result().is_ok()), "none of them may run again");
    }
    println!("{killed} of {} were killed", 2 * rounds);
    assert!(0 < killed && killed < 2 * rounds, "some are met, and some not");
    assert_eq!(board[0].load(SeqCst), 8 * rounds as u64);
}
