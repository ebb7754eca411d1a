//! Steering a pool that runs: another number of workers, a pause, and the cancelling of all that is pending.

use crate::process_support::common::{Board, Random, count_in, hold, nap, own_pid, square, unique_name};
use crate::process_support::{kill, pid_alive, wait_until};
use crate::support::{is_thread, pool_of};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::task::worker_number;
use taskring::{Error, Executor, Future, StartMethod, State, inspect};

taskring::task! {
    /// Its worker's number, while other workers are kept at work: in cell 0 of the board arrive so many.
    fn number_of(board: String, together: u64) -> u32 {
        let cells = Board::at(&board);
        cells[0].fetch_add(1, SeqCst);
        wait_until("all of them at work", || cells[0].load(SeqCst) >= together);
        worker_number().expect("in a worker")
    }
}

/// The numbers of so many workers, all at work at the same time.
fn numbers(pool: &Executor, together: u64) -> BTreeSet<u32> {
    let board = Board::new(1);
    let all: Vec<_> = (0..together).map(|_| pool.submit(number_of, (board.name(), together)).unwrap()).collect();
    all.into_iter().map(|future| future.result().expect("a number")).collect()
}

/// A task in each of so many workers, which ends when cell 1 is set.
fn hold_all(pool: &Executor, board: &Board, workers: u64) -> Vec<Future<u64>> {
    let held = (0..workers).map(|_| pool.submit(hold, (board.name(), 0)).unwrap()).collect();
    wait_until("all of them at work", || board[0].load(SeqCst) == workers);
    held
}

fn end(pool: Executor) {
    pool.shutdown(true, false).expect("everything has ended");
}

cases! {
    fn semantics_p2_another_number_of_workers_out_of_range_is_refused(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(1).start(kind).create_named(&name).expect("a pool");
        for workers in [0, 193] {
            let refused = pool.resize(workers).unwrap_err();
            assert_eq!(refused.to_string(), format!("workers is {workers}; wanted 1 to 192"));
        }
        let other = Executor::attach(&name).expect("attached");
        let unsupported = |result| matches!(result, Err(Error::Unsupported { .. }));
        assert!(unsupported(other.resize(2)) && unsupported(other.pause()) && unsupported(other.resume()));
        drop(other);
        let served = Executor::builder().start(StartMethod::None).build().expect("a pool");
        assert!(unsupported(served.resize(2)));
        assert_eq!(pool.workers(), 1);
        pool.shutdown(true, false).expect("over");
        assert_eq!((pool.resize(2), pool.pause()), (Err(Error::ShutDown), Err(Error::ShutDown)));
    }

    fn semantics_l1_of_a_larger_number_all_start_at_once(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(1).start(kind).create_named(&name).expect("a pool");
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        pool.resize(4).expect("more");
        assert_eq!(pool.workers(), 4);
        assert_eq!(inspect(&name).unwrap().workers, 4);
        wait_until("all of them, without a task", || inspect(&name).unwrap().participants.iter().filter(|p| p.name.is_some()).count() == 4);
        assert_eq!(numbers(&pool, 4), BTreeSet::from([0, 1, 2, 3]));
        end(pool);
    }

    fn semantics_l1_of_a_smaller_number_the_others_leave_after_their_task_and_nothing_is_lost(kind) {
        let pool = pool_of(kind, 4);
        let board = Board::new(2);
        let held = hold_all(&pool, &board, 4);
        let pending: Vec<_> = (0..100).map(|x| pool.submit(square, x).unwrap()).collect();
        // Not in this thread, for it may be any.
        std::thread::scope(|scope| scope.spawn(|| pool.resize(1)).join().expect("no panic")).expect("fewer");
        assert_eq!(pool.workers(), 1);
        assert!(held.iter().all(|future| future.state() == State::Running), "what runs is not ended");
        board[1].store(1, SeqCst);
        assert!(held.into_iter().all(|future| future.result() == Ok(0)));
        pending.into_iter().enumerate().for_each(|(x, future)| assert_eq!(future.result(), Ok((x * x) as u64)));
        wait_until("three have left", || pool.worker_pids().len() == 1);
        assert_eq!(numbers(&pool, 1), BTreeSet::from([0]));
        pool.resize(2).expect("more");
        assert_eq!(numbers(&pool, 2), BTreeSet::from([0, 1]), "numbers stay small");
        end(pool);
    }

    fn semantics_l1_idle_workers_leave_when_there_are_to_be_fewer(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(3).start(kind).create_named(&name).expect("a pool");
        assert_eq!(numbers(&pool, 3).len(), 3);
        pool.resize(1).expect("fewer");
        let seen = || inspect(&name).unwrap().participants.iter().filter_map(|p| p.name.clone()).collect::<Vec<_>>();
        wait_until("they have left", || seen() == ["taskring-worker_0"]);
        if !is_thread(kind) {
            let last = pool.submit(own_pid, ()).unwrap().result().unwrap();
            kill(last);
            assert_ne!(pool.submit(own_pid, ()).unwrap().result(), Ok(last));
            assert_eq!(seen(), ["taskring-worker_0"], "one takes its place, and no other starts");
        }
        end(pool);
    }

    fn semantics_l1_the_number_may_change_from_several_threads_while_tasks_run(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(2).start(kind).max_tasks_per_worker(20).create_named(&name).expect("a pool");
        std::thread::scope(|scope| {
            for seed in [3, 5] {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::seeded(seed);
                    for _ in 0..15 {
                        pool.resize(1 + random.below(4) as usize).expect("another number");
                        std::thread::sleep(Duration::from_millis(random.below(30)));
                    }
                });
            }
            let all: Vec<_> = (0..150).map(|ms| pool.submit(nap, ms % 3).unwrap()).collect();
            all.into_iter().enumerate().for_each(|(ms, future)| assert_eq!(future.result(), Ok(ms as u64 % 3)));
        });
        pool.resize(2).expect("two");
        let takes_tasks = |p: &&taskring::ParticipantView| p.name.is_some() && !p.waits;
        wait_until("two are left", || inspect(&name).unwrap().participants.iter().filter(takes_tasks).count() == 2);
        assert_eq!(numbers(&pool, 2), BTreeSet::from([0, 1]));
        end(pool);
    }

    fn semantics_l1_a_number_that_goes_up_and_down_at_once_breaks_no_pool(kind) {
        let pool = pool_of(kind, 1);
        for _ in 0..30 {
            pool.resize(8).expect("more");
            pool.resize(1).expect("one");
            std::thread::sleep(Duration::from_millis(3));
        }
        wait_until("one is left", || pool.worker_pids().len() == 1);
        assert_eq!(pool.submit(nap, 1).unwrap().result(), Ok(1));
        end(pool);
    }

    fn semantics_p34_a_paused_pool_starts_nothing_until_it_is_resumed(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(2).start(kind).create_named(&name).expect("a pool");
        let board = Board::new(4);
        let held = hold_all(&pool, &board, 1);
        pool.pause().expect("paused");
        pool.pause().expect("it is");
        let other = Executor::attach(&name).expect("attached");
        assert!(pool.is_paused() && other.is_paused() && inspect(&name).unwrap().life == "open, paused");
        let mut later: Vec<_> = (0..20).map(|_| pool.submit(count_in, (board.name(), 2)).unwrap()).collect();
        later.extend((0..20).map(|_| other.submit(count_in, (board.name(), 2)).unwrap()));
        assert_eq!(held[0].state(), State::Running, "what runs goes on");
        board[1].store(1, SeqCst);
        assert_eq!(held[0].result(), Ok(0));
        assert!(later.remove(0).cancel(), "what is pending can be cancelled");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(board[2].load(SeqCst), 0, "not after a sleep's length either");
        assert!(later.iter().all(|future| future.state() == State::Pending));
        pool.resume().expect("it goes on");
        pool.resume().expect("it does");
        assert!(later.iter().all(|future| future.result().is_ok()));
        assert_eq!((board[2].load(SeqCst), pool.is_paused()), (39, false));
        drop(other);
        end(pool);
    }

    fn semantics_p34_once_a_pause_has_returned_no_task_starts(kind) {
        let pool = pool_of(kind, 3);
        let board = Board::new(1);
        let mut all = Vec::new();
        for round in 0..60 {
            all.extend((0..30).map(|_| pool.submit(count_in, (board.name(), 0)).unwrap()));
            // At different places of the workers' ways, asleep or awake.
            std::thread::sleep(Duration::from_micros(round % 20 * 50));
            pool.pause().expect("paused");
            let started = |all: &[Future<u64>]| all.iter().filter(|future| future.state() != State::Pending).count();
            let before = started(&all);
            wait_until("what was begun", || all.iter().all(|future| future.state() != State::Running));
            let begun = board[0].load(SeqCst);
            let pending = pool.submit(count_in, (board.name(), 0)).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!((board[0].load(SeqCst), pending.state()), (begun, State::Pending), "in round {round}");
            assert_eq!(started(&all), before, "in round {round}: what was pending when the pause had begun still is");
            all.push(pending);
            pool.resume().expect("it goes on");
            if round % 3 == 0 {
                all.drain(..).for_each(|future| assert!(future.result().is_ok()));
            }
        }
        end(pool);
    }

    fn semantics_p34_a_worker_that_comes_to_a_paused_pool_rests_too(kind) {
        let pool = pool_of(kind, 1);
        let first = pool.submit(own_pid, ()).unwrap().result().unwrap();
        pool.pause().expect("paused");
        let pending = pool.submit(own_pid, ()).unwrap();
        if is_thread(kind) {
            pool.resize(3).expect("more");
        } else {
            kill(first);
            wait_until("another one takes its place", || pool.worker_pids().iter().any(|&pid| pid != first && pid_alive(pid)));
        }
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(pending.state(), State::Pending);
        pool.resume().expect("it goes on");
        assert!(pending.result().is_ok());
        end(pool);
    }

    fn semantics_p25_a_shutdown_of_a_paused_pool_runs_what_is_pending(kind) {
        for way in 0..3 {
            let pool = pool_of(kind, 2);
            pool.pause().expect("paused");
            let pending: Vec<_> = (0..10).map(|x| pool.submit(square, x).unwrap()).collect();
            match way {
                0 => pool.shutdown(true, false).expect("over"),
                1 => assert_eq!(pool.shutdown_within(Duration::from_secs(20)).map(|e| (e.cancelled, e.killed)), Ok((0, 0))),
                _ => drop(pool),
            }
            pending.into_iter().enumerate().for_each(|(x, future)| assert_eq!(future.result(), Ok((x * x) as u64)));
        }
    }

    fn semantics_p26_a_shutdown_of_a_paused_pool_may_cancel_what_is_pending(kind) {
        let pool = pool_of(kind, 2);
        pool.pause().expect("paused");
        let pending: Vec<_> = (0..10).map(|x| pool.submit(square, x).unwrap()).collect();
        pool.shutdown(true, true).expect("over");
        assert!(pending.iter().all(|future| future.result() == Err(Error::Cancelled)));
    }

    fn semantics_p26_nothing_begins_in_a_paused_pool_that_ends_and_cancels(kind) {
        for round in 0..8 {
            let pool = Executor::builder().workers(2).start(kind).capacity(4).build().expect("a pool");
            let board = Board::new(1);
            // A worker is there, and rests.
            assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
            pool.pause().expect("paused");
            let accepted = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                // They wait for a place in the full ring when the end comes, and get one when the first of their tasks are cancelled.
                let feed = || while let Ok(future) = pool.submit(count_in, (board.name(), 0)) {
                    accepted.lock().unwrap().push(future);
                };
                let feeds: Vec<_> = (0..4).map(|_| scope.spawn(feed)).collect();
                wait_until("the ring is full", || accepted.lock().unwrap().len() == 4);
                match round % 2 {
                    0 => pool.shutdown(true, true).expect("over"),
                    _ if is_thread(kind) => pool.shutdown(false, true).expect("closed"),
                    _ => pool.terminate_workers().expect("closed"),
                }
                feeds.into_iter().for_each(|feed| feed.join().expect("no panic"));
            });
            pool.shutdown(true, false).expect("over");
            let accepted = accepted.into_inner().unwrap();
            assert!(accepted.iter().all(|future| future.result() == Err(Error::Cancelled)), "in round {round}: {accepted:?}");
            assert_eq!((board[0].load(SeqCst), pool.is_paused()), (0, false), "in round {round}");
        }
    }

    fn semantics_b9_a_pool_that_its_owner_leaves_paused_goes_on(kind) {
        let (board, name) = (Board::new(1), unique_name());
        // SAFETY: this process has one thread.
        let owner = unsafe { libc::fork() };
        assert!(owner >= 0);
        if owner == 0 {
            let pool = Executor::builder().workers(1).start(kind).create_named(&name).expect("a pool");
            pool.pause().expect("paused");
            board[0].store(1, SeqCst);
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        wait_until("the pause", || board[0].load(SeqCst) == 1);
        let pool = Executor::attach(&name).expect("attached");
        let pending = pool.submit(square, 5).unwrap();
        assert!(pool.is_paused() && pending.state() == State::Pending);
        kill(owner.cast_unsigned());
        if is_thread(kind) {
            // Its workers have died with it.
            pending.cancel();
        } else {
            assert_eq!(pending.result(), Ok(25), "nobody else could end the pause");
        }
        drop(pool);
        // SAFETY: the call reaps a child of this process, and writes nowhere.
        unsafe { libc::waitpid(owner, std::ptr::null_mut(), 0) };
        let _ = taskring::remove_dead(&name);
    }

    fn semantics_b1_cancelling_all_tells_who_waits_and_the_pool_goes_on(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(1).start(kind).create_named(&name).expect("a pool");
        let board = Board::new(3);
        let held = hold_all(&pool, &board, 1);
        let other = Executor::attach(&name).expect("attached");
        let own: Vec<_> = (0..20).map(|_| pool.submit(count_in, (board.name(), 2)).unwrap()).collect();
        let others: Vec<_> = (0..10).map(|_| other.submit(count_in, (board.name(), 2)).unwrap()).collect();
        std::thread::scope(|scope| {
            let waits: Vec<_> = own.iter().chain(&others).map(|future| scope.spawn(|| future.result())).collect();
            assert_eq!(other.purge(), Ok(10), "its own");
            assert!(own.iter().all(|future| future.state() == State::Pending));
            assert_eq!((pool.purge(), pool.purge()), (Ok(20), Ok(0)));
            assert!(waits.into_iter().all(|wait| wait.join().expect("no panic") == Err(Error::Cancelled)));
        });
        let more = other.submit(count_in, (board.name(), 2)).unwrap();
        assert_eq!((pool.purge(), more.result()), (Ok(1), Err(Error::Cancelled)), "the owner those of everybody");
        assert_eq!(held[0].state(), State::Running);
        board[1].store(1, SeqCst);
        assert_eq!((held[0].result(), pool.submit(square, 4).unwrap().result()), (Ok(0), Ok(16)));
        assert_eq!(board[2].load(SeqCst), 0);
        drop(other);
        end(pool);
    }
}
