//! What runs where and when, beyond what the reference has: tasks for one worker, and tasks for every worker.

use crate::held::{Held, can_die, end_own_worker, given};
use crate::process_support::common::{Board, Random, count_in, hold, own_pid, scaled, square};
use crate::process_support::{kill, wait_until};
use crate::support::{not_here, pool_of};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Cause, Error, Executor, Future, MapOptions, OnWorkerDeath, State, SubmitOptions, current_pool};

taskring::task! {
    /// The worker that runs it.
    fn number() -> u32 { own_number() }
    fn length(text: String) -> u64 { text.len() as u64 }
    /// Which worker ran a task that this one has submitted for it, and which ran this one.
    fn number_of(worker: u32) -> Result<(u32, u32), taskring::TaskError> {
        Ok((current_pool()?.submit_to(worker, number, ())?.result()?, own_number()))
    }
    /// The thread that runs it.
    fn own_thread() -> u64 { thread() }
    /// Says which thread runs it, and takes its worker with it once the cell is set.
    fn dies_when_told(board: String) {
        let cells = Board::at(&board);
        wait_until("the order to die", || cells[0].load(SeqCst) != 0);
        cells[1].store(thread(), SeqCst);
        end_own_worker();
    }
    /// Its worker's number, some time later.
    fn number_after(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        own_number()
    }
}

fn thread() -> u64 {
    // SAFETY: no arguments, cannot fail.
    u64::from(unsafe { libc::gettid() }.cast_unsigned())
}

fn own_number() -> u32 {
    taskring::task::worker_number().expect("a worker of the owner's")
}

/// A task that runs in this worker until it is let go.
fn hold_worker(pool: &Executor, held: &Held, worker: u32, i: usize) -> Future<u64> {
    let future = pool.submit_to(worker, hold, held.input(i)).expect("submitted");
    wait_until("the task runs", || future.state() == State::Running);
    future
}

fn assert_refused<T>(result: Result<T, Error>, named: u32) {
    let refused = result.map(drop).unwrap_err();
    let is_told = matches!(&refused, Error::InvalidArgument { name: "worker", value, .. } if *value == named.to_string());
    assert!(is_told, "{refused:?}");
}

cases! {
    fn semantics_order_a_task_for_a_worker_runs_in_that_worker(kind) {
        let pool = pool_of(kind, 3);
        // Others between them, so that every worker meets some at the head that are none of its own.
        let all: Vec<_> = (0..90).map(|i| (i % 3, pool.submit_to(i % 3, number, ()).unwrap(), pool.submit(square, 2).unwrap())).collect();
        for (wanted, future, other) in &all {
            assert_eq!((future.result(), other.result()), (Ok(*wanted), Ok(4)));
        }
        let with = SubmitOptions::new().worker(2);
        assert_eq!(pool.submit_with(&with, number, ()).unwrap().result(), Ok(2));
        let options = MapOptions::new().submit(with);
        assert!(pool.map_with(&options, number_after, [0; 10]).unwrap().all(|result| result == Ok(2)));
    }

    fn semantics_order_others_pass_a_task_whose_worker_is_busy(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(1);
        let busy = hold_worker(&pool, &held, 0, 0);
        let first = pool.submit_to(0, number, ()).unwrap();
        // More than the ring has slots: the head stays for laps.
        for round in 0..4 {
            let others = pool.submit_bulk(square, 0..700).unwrap();
            assert!(others.iter().enumerate().all(|(x, future)| future.result() == Ok((x * x) as u64)), "round {round}");
        }
        let second = pool.submit_to(0, number, ()).unwrap();
        assert_eq!(pool.submit_to(1, number, ()).unwrap().result(), Ok(1));
        assert_eq!((first.state(), second.state()), (State::Pending, State::Pending));
        held.let_go(0);
        assert_eq!((busy.result(), first.result(), second.result()), (Ok(given(0)), Ok(0), Ok(0)));
    }

    fn semantics_order_tasks_for_a_worker_run_in_their_order(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(1);
        let busy = hold_worker(&pool, &held, 0, 0);
        let board = Board::new(2);
        let send = |worker: u32| pool.submit_to(worker, count_in, (board.name(), u64::from(worker) - 1)).unwrap();
        // The first one cannot run for now, so the others are taken beside it.
        let blocked = pool.submit_to(0, number, ()).unwrap();
        let all: Vec<_> = (0..200).map(|i| [send(1), send(2)].map(|future| (i, future))).collect();
        for (i, future) in all.iter().flatten() {
            assert_eq!(future.result(), Ok(*i), "as many have run before it as were submitted before it");
        }
        assert!(!blocked.is_done());
        held.let_go(0);
        assert_eq!((busy.result(), blocked.result()), (Ok(given(0)), Ok(0)));
    }

    fn semantics_order_a_number_that_no_worker_has_is_refused(kind) {
        let pool = pool_of(kind, 2);
        for number_of_none in [2, 192, 255, 511, u32::MAX] {
            assert_refused(pool.submit_to(number_of_none, number, ()), number_of_none);
            let options = SubmitOptions::new().worker(number_of_none);
            assert_refused(pool.submit_with(&options, number, ()), number_of_none);
        }
        assert_refused(pool.broadcast_with(&SubmitOptions::new().worker(1), number, ()), 1);
        assert_eq!(pool.submit_to(1, number, ()).unwrap().result(), Ok(1));
    }

    fn semantics_order_a_broadcast_runs_once_in_every_worker(kind) {
        let pool = pool_of(kind, 3);
        let numbers = |all: &[Future<u32>]| all.iter().map(|future| future.result().unwrap()).collect::<Vec<_>>();
        // At once: workers that are still being started are there.
        assert_eq!(numbers(&pool.broadcast(number, ()).unwrap()), [0, 1, 2]);
        let held = Held::new(1);
        let busy = hold_worker(&pool, &held, 1, 0);
        let told = pool.broadcast(number_after, 1).unwrap();
        assert_eq!((told[0].result(), told[2].result()), (Ok(0), Ok(2)));
        assert_eq!(told[1].state(), State::Pending, "no other one runs it");
        held.let_go(0);
        assert_eq!((busy.result(), told[1].result()), (Ok(given(0)), Ok(1)));
        let board = Board::new(1);
        let counts = pool.broadcast(count_in, (board.name(), 0)).unwrap();
        assert_eq!(counts.iter().map(|future| future.result().unwrap()).sum::<u64>(), 3);
        assert_eq!(board[0].load(SeqCst), 3);
        // More than a slot takes, once for each; and a broadcast that is discarded as one.
        let large = vec!['x'; 100_000].into_iter().collect::<String>();
        assert!(pool.broadcast(length, large).unwrap().iter().all(|future| future.result() == Ok(100_000)));
        let set = pool.task_set().unwrap();
        set.discard().unwrap();
        let refused = pool.broadcast_with(&SubmitOptions::new().set(&set), number, ()).map(drop);
        assert_eq!(refused, Err(Error::Discarded));
    }

    fn semantics_order_what_a_dead_worker_had_not_begun_runs_in_the_next_one(kind) {
        let pool = pool_of(kind, 2);
        let board = Board::new(2);
        let busy = pool.submit_to(1, dies_when_told, board.name()).unwrap();
        wait_until("the task runs", || busy.state() == State::Running);
        let left: Vec<_> = (0..20).map(|_| pool.submit_to(1, number, ()).unwrap()).collect();
        let own = pool.submit_to(1, own_thread, ()).unwrap();
        board[0].store(1, SeqCst);
        let cause = if can_die(kind) { Cause::Signal(libc::SIGKILL) } else { Cause::Unknown };
        let end = busy.result();
        assert!(matches!(&end, Err(Error::WorkerLost { cause: found, .. }) if *found == cause), "{end:?}");
        assert!(left.iter().all(|future| future.result() == Ok(1)));
        assert_ne!(own.result(), Ok(board[1].load(SeqCst)), "another one");
    }

    fn semantics_order_a_task_that_may_run_again_does_so_in_its_place(kind) {
        if !can_die(kind) {
            not_here("a thread is killed by nobody");
        }
        let policy = OnWorkerDeath::Retry(200);
        let pool = Executor::builder().workers(3).start(kind).on_worker_death(policy).kills_max(200).build().unwrap();
        let mut random = Random::new();
        let mut futures = Vec::new();
        for round in 0..scaled(6, 12) as u32 {
            // One that is killed before it is ready is a failed start, and three in a row break the pool.
            let pids = [0, 1, 2].map(|i| pool.submit_to(i, own_pid, ()).unwrap().result().unwrap());
            futures.extend((0..30).map(|i| (i % 3, pool.submit_to(i % 3, number_after, 1).unwrap())));
            kill(pids[random.below(3) as usize]);
            assert_eq!(pool.submit(square, u64::from(round)).unwrap().result(), Ok(u64::from(round).pow(2)));
        }
        for (wanted, future) in &futures {
            assert_eq!(future.result(), Ok(*wanted));
        }
    }

    fn semantics_order_a_closing_pool_starts_the_worker_that_a_task_is_left_for(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(1);
        let busy = hold_worker(&pool, &held, 1, 0);
        let left = pool.submit_to(1, number, ()).unwrap();
        pool.shutdown(false, false).unwrap();
        if can_die(kind) {
            wait_until("the other one has left", || pool.worker_pids().len() == 1);
            kill(busy.worker_pid().unwrap());
            assert!(matches!(busy.result(), Err(Error::WorkerLost { .. })));
        } else {
            held.let_go(0);
        }
        assert_eq!(left.result(), Ok(1));
        pool.shutdown(true, false).unwrap();
        assert_eq!(pool.submit_to(1, number, ()).map(drop), Err(Error::ShutDown));
        assert_eq!(pool.broadcast(number, ()).map(drop), Err(Error::ShutDown));
    }

    fn semantics_order_a_task_for_a_worker_is_cancelled_as_any_other(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(1);
        let busy = hold_worker(&pool, &held, 0, 0);
        let one = pool.submit_to(0, number, ()).unwrap();
        assert!(one.cancel());
        assert_eq!(one.result(), Err(Error::Cancelled));
        let set = pool.task_set().unwrap();
        let some: Vec<_> = (0..5).map(|_| set.submit_with(&SubmitOptions::new().worker(0), number, ()).unwrap()).collect();
        assert_eq!(set.discard().unwrap().cancelled, 5);
        assert!(some.iter().all(|future| future.result() == Err(Error::Cancelled)));
        held.let_go(0);
        assert_eq!(busy.result(), Ok(given(0)));
        assert_eq!(pool.submit_to(0, number, ()).unwrap().result(), Ok(0));
    }

    fn semantics_order_a_task_may_wait_for_one_for_its_own_worker(kind) {
        let pool = pool_of(kind, 2);
        for (of, wanted) in [(1, 1), (0, 1), (1, 0)] {
            let future = pool.submit_to(of, number_of, wanted).unwrap();
            assert_eq!(future.result(), Ok((wanted, of)));
        }
    }

    fn semantics_order_a_sleeping_worker_is_woken_for_its_task(kind) {
        // One that the wake of an announcement would not come to: the last of them.
        let pool = pool_of(kind, 3);
        let mut slow = 0;
        for i in 0..30 {
            let worker = i % 3;
            std::thread::sleep(Duration::from_millis(3));
            let future = pool.submit_to(worker, number, ()).unwrap();
            // Not `result`, which looks after a task that is pending for long.
            let start = std::time::Instant::now();
            wait_until("it is over", || future.is_done());
            slow += u32::from(start.elapsed() > Duration::from_millis(500));
            assert_eq!(future.result(), Ok(worker));
        }
        assert!(slow <= 3, "{slow} of 30 were left to a timed sleep");
    }

    fn semantics_order_a_task_for_a_worker_that_was_dismissed_ends(kind) {
        for closes in [false, true] {
            let timeout = Duration::from_secs(if closes { 600 } else { 2 });
            let pool = Executor::builder().workers(2).start(kind).start_timeout(timeout).build().unwrap();
            let held = Held::new(1);
            let busy = hold_worker(&pool, &held, 1, 0);
            let left = pool.submit_to(1, number, ()).unwrap();
            pool.resize(1).unwrap();
            held.let_go(0);
            assert_eq!(busy.result(), Ok(given(0)));
            if closes {
                pool.shutdown(true, false).unwrap();
            }
            let end = left.result();
            assert!(matches!(&end, Err(Error::NoWorkerFor { name, .. }) if name.ends_with(" at worker 1")), "{end:?}");
            if !closes {
                assert_refused(pool.submit_to(1, number, ()), 1);
                assert_eq!(pool.submit_to(0, number, ()).unwrap().result(), Ok(0));
            }
        }
    }

    fn semantics_order_a_worker_that_follows_another_one_runs_what_is_left_for_it_once(kind) {
        let pool = Executor::builder().workers(2).start(kind).max_tasks_per_worker(3).build().unwrap();
        let board = Board::new(2);
        let send = |worker: u32| pool.submit_to(worker, count_in, (board.name(), u64::from(worker))).unwrap();
        let all: Vec<_> = (0..40).map(|i| [send(0), send(1)].map(|future| (i, future))).collect();
        for (i, future) in all.iter().flatten() {
            assert_eq!(future.result(), Ok(*i), "as many have run before it as were submitted before it");
        }
        assert_eq!([0, 1].map(|cell| board[cell].load(SeqCst)), [40, 40]);
    }
}
