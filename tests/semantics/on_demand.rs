//! Workers that come when they are needed, and leave when they have nothing to do.

use crate::process_support::common::{Board, Random, count_in, hold, square, unique_name};
use crate::process_support::{kill, pid_alive, wait_until};
use crate::support::is_thread;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::task::worker_number;
use taskring::{Builder, Error, Executor, Future, MultiPool, StartMethod, ThreadPool, current_pool};

taskring::task! {
    fn number() -> Option<u32> { worker_number() }
    /// Waits for one that it has submitted, without running it itself: a wait with a limit does not.
    fn ask_another(ms: u64) -> (Option<u32>, Option<u32>) {
        let other = current_pool().expect("in a task").submit(number, ()).expect("submitted");
        (worker_number(), other.result_timeout(Duration::from_millis(ms)).expect("another one ran it"))
    }
    /// The initializer: counts itself in cell 0.
    fn come(board: String) { Board::at(&board)[0].fetch_add(1, SeqCst); }
    /// The exit hook: counts itself in cell 1, and lasts while cell 5 is set.
    fn go(board: String) {
        let cells = Board::at(&board);
        cells[1].fetch_add(1, SeqCst);
        wait_until("the end of the hook", || cells[5].load(SeqCst) == 0);
    }
    /// Waits without a limit for one that somebody else has begun with.
    fn wait_for_another(board: String) -> u64 {
        let other = current_pool().expect("in a task").submit(hold, (board, HELD as u64)).expect("submitted");
        wait_until("another one has begun", || other.is_running());
        other.result().expect("a result")
    }
    /// The initializer: lasts while cell 0 is set.
    fn come_late(board: String) { wait_until("that it may come", || Board::at(&board)[0].load(SeqCst) == 0); }
    fn come_not() -> Result<(), taskring::TaskError> { Err(taskring::TaskError::new("nobody comes")) }
}

const COME: usize = 0;
const GONE: usize = 1;
/// Tasks that `hold` has begun, and in the next cell whether they may end.
const HELD: usize = 2;
/// Tasks that `count_in` has run.
const RAN: usize = 4;
const HOOKS_LAST: usize = 5;

fn board() -> Board {
    Board::new(6)
}

/// Up to so many workers, of which so many are there from the beginning, and which count themselves on the board.
fn demanded(kind: StartMethod, workers: usize, least: usize, board: &Board) -> Builder {
    let builder = Executor::builder().workers(workers).min_workers(least).start(kind);
    builder.initializer(come, board.name()).exit_hook(go, board.name())
}

fn result<R: taskring::Payload>(future: Future<R>) -> R {
    future.result().expect("a result")
}

fn hold_one(pool: &Executor, board: &Board) -> Future<u64> {
    pool.submit(hold, (board.name(), HELD as u64)).expect("submitted")
}

/// Tasks that each take a worker until `let_go`.
fn hold_some(pool: &Executor, board: &Board, count: u64) -> Vec<Future<u64>> {
    let before = board[HELD].load(SeqCst);
    let held = (0..count).map(|_| hold_one(pool, board)).collect();
    wait_until("all of them at work", || board[HELD].load(SeqCst) == before + count);
    held
}

fn let_go(board: &Board, held: Vec<Future<u64>>) {
    board[HELD + 1].store(1, SeqCst);
    held.into_iter().for_each(|future| _ = result(future));
    board[HELD + 1].store(0, SeqCst);
}

fn end(pool: Executor) {
    pool.shutdown(true, false).expect("everything has ended");
}

cases! {
    fn semantics_p8_an_idle_worker_is_used_before_another_one_starts(kind) {
        let board = board();
        let pool = demanded(kind, 4, 0, &board).build().expect("a pool");
        assert_eq!((pool.workers(), pool.worker_pids().len()), (4, 0), "nobody before there is a task");
        for x in 0..3 {
            assert_eq!(result(pool.submit(square, x).unwrap()), x * x);
            std::thread::sleep(Duration::from_millis(30));
        }
        // Also without a pause: who is about to look for its next task is no busy one.
        for x in 0..200 {
            assert_eq!(result(pool.submit(square, x).unwrap()), x * x);
        }
        assert_eq!((board[COME].load(SeqCst), pool.worker_pids().len()), (1, 1));
        assert_eq!(result(pool.submit(number, ()).unwrap()), Some(0));
        end(pool);
        assert_eq!((board[COME].load(SeqCst), board[GONE].load(SeqCst)), (1, 1));
    }

    fn semantics_p8_waiting_tasks_start_as_many_as_they_need_and_no_more_than_there_may_be(kind) {
        let board = board();
        let pool = demanded(kind, 4, 0, &board).build().expect("a pool");
        let mut held = hold_some(&pool, &board, 2);
        assert_eq!(board[COME].load(SeqCst), 2, "one for each");
        held.extend(hold_some(&pool, &board, 1));
        assert_eq!(board[COME].load(SeqCst), 3);
        let rest: Vec<_> = (0..40).map(|_| hold_one(&pool, &board)).collect();
        wait_until("four at work", || board[HELD].load(SeqCst) == 4);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((board[COME].load(SeqCst), board[HELD].load(SeqCst), pool.worker_pids().len()), (4, 4, 4));
        held.extend(rest);
        let_go(&board, held);
        end(pool);
        assert_eq!((board[COME].load(SeqCst), board[GONE].load(SeqCst)), (4, 4));
    }

    fn semantics_p8_a_ring_that_is_full_before_anybody_is_there_gets_its_workers(kind) {
        let board = board();
        let pool = demanded(kind, 3, 0, &board).capacity(8).build().expect("a pool");
        board[HELD + 1].store(1, SeqCst);
        // More than the ring has room for, before anybody is there.
        let all = pool.submit_bulk(hold, (0..40).map(|_| (board.name(), HELD as u64))).expect("submitted");
        assert!(all.into_iter().all(|future| future.result().is_ok()));
        assert!((1..=3).contains(&board[COME].load(SeqCst)));
        end(pool);
    }

    fn semantics_p8_so_many_are_there_from_the_beginning_and_the_default_is_all(kind) {
        let board = board();
        let pool = demanded(kind, 3, 2, &board).build().expect("a pool");
        wait_until("two", || board[COME].load(SeqCst) == 2);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!((board[COME].load(SeqCst), pool.worker_pids().len(), pool.workers()), (2, 2, 3));
        let held = hold_some(&pool, &board, 3);
        let_go(&board, held);
        end(pool);
        let pool = Executor::builder().workers(3).start(kind).build().expect("a pool");
        wait_until("all of them", || pool.worker_pids().len() == 3);
        end(pool);
        let pool = Executor::builder().workers(2).min_workers(2).start(kind).build().expect("a pool");
        wait_until("both", || pool.worker_pids().len() == 2);
    }

    fn semantics_p8_what_cannot_be_is_refused(kind) {
        let refused = |builder: Builder| builder.start(kind).build().map(drop).unwrap_err();
        let two = || Executor::builder().workers(2);
        assert_eq!(refused(two().min_workers(3)).to_string(), "min_workers is 3; wanted 0 to workers, which is 2");
        let alone = refused(two().idle_timeout(Duration::from_secs(1)));
        assert!(matches!(alone, Error::InvalidArgument { name: "idle_timeout", .. }), "{alone:?}");
        for time in [Duration::ZERO, Duration::MAX] {
            let out_of_range = refused(two().min_workers(0).idle_timeout(time)).to_string();
            assert!(out_of_range.ends_with("wanted more than 0 and up to 49 days"), "{out_of_range}");
        }
        let served = Executor::builder().start(StartMethod::None).min_workers(0).build().map(drop);
        assert!(matches!(served, Err(Error::Unsupported { .. })), "{served:?}");
    }

    fn semantics_t2_idle_workers_leave_until_the_least_number_is_left(kind) {
        let board = board();
        let builder = demanded(kind, 4, 1, &board).idle_timeout(Duration::from_millis(60));
        let pool = builder.build().expect("a pool");
        for round in 1..=2 {
            let held = hold_some(&pool, &board, 4);
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(board[GONE].load(SeqCst), 3 * (round - 1), "nobody leaves in a task");
            let_go(&board, held);
            wait_until("three have left", || board[GONE].load(SeqCst) == 3 * round);
            wait_until("one is left", || pool.worker_pids().len() == 1);
            assert_eq!(board[COME].load(SeqCst), 1 + 3 * round, "each with its hook");
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!((board[GONE].load(SeqCst), pool.worker_pids().len(), pool.workers()), (6, 1, 4), "the least number stays");
        assert_eq!(result(pool.submit(number, ()).unwrap()), Some(0));
        end(pool);
    }

    fn semantics_t2_without_a_time_nobody_leaves(kind) {
        let board = board();
        let pool = demanded(kind, 2, 0, &board).build().expect("a pool");
        let_go(&board, hold_some(&pool, &board, 2));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((board[GONE].load(SeqCst), pool.worker_pids().len()), (0, 2));
    }

    fn semantics_t2_a_task_that_comes_while_the_last_worker_leaves_runs(kind) {
        let (tasks, workers) = if is_thread(kind) { (700, 2) } else { (150, 2) };
        let board = board();
        let pool = demanded(kind, workers, 0, &board).idle_timeout(Duration::from_millis(1)).build().expect("a pool");
        let mut random = Random::new();
        for x in 0..tasks {
            // At about the time that the worker takes to think it over.
            std::thread::sleep(Duration::from_micros(random.below(2500)));
            let future = pool.submit(square, x).expect("submitted");
            assert_eq!(future.result_timeout(Duration::from_secs(20)), Ok(x * x), "task {x}");
            if x % 10 == 0 {
                let two = [pool.submit(square, 1).unwrap(), pool.submit(square, 2).unwrap()];
                assert_eq!(two.map(result), [1, 4]);
            }
        }
        assert!(board[GONE].load(SeqCst) > 3, "they did leave: {}", board[GONE].load(SeqCst));
        end(pool);
        assert_eq!(board[COME].load(SeqCst), board[GONE].load(SeqCst));
    }

    fn semantics_t2_a_task_does_not_wait_for_the_hook_of_who_leaves(kind) {
        let board = board();
        let pool = demanded(kind, 1, 0, &board).idle_timeout(Duration::from_millis(1)).build().expect("a pool");
        board[HOOKS_LAST].store(1, SeqCst);
        // One, and as many beside it as there may be beyond a pool's workers.
        for leavers in 1..=17 {
            let future = pool.submit_to(0, number, ()).expect("submitted");
            let ran = future.result_timeout(Duration::from_secs(20));
            assert_eq!(ran, Ok(Some(0)), "another one has its number, beside {}", leavers - 1);
            wait_until("it leaves", || board[GONE].load(SeqCst) == leavers);
            assert_eq!(board[COME].load(SeqCst), leavers);
        }
        let future = pool.submit(square, 3).expect("submitted");
        let waits = future.result_timeout(Duration::from_millis(300));
        assert!(matches!(waits, Err(Error::TimedOut { .. })), "{waits:?}");
        board[HOOKS_LAST].store(0, SeqCst);
        assert_eq!(result(future), 9);
        end(pool);
        assert_eq!((board[COME].load(SeqCst), board[GONE].load(SeqCst)), (18, 18));
    }

    fn semantics_p8_a_task_for_one_worker_starts_that_one(kind) {
        let board = board();
        let pool = demanded(kind, 5, 0, &board).build().expect("a pool");
        assert_eq!(result(pool.submit_to(3, number, ()).unwrap()), Some(3));
        assert_eq!(board[COME].load(SeqCst), 1);
        let held = hold_some(&pool, &board, 1);
        assert_eq!(board[COME].load(SeqCst), 1, "any task will do for it");
        assert_eq!(result(pool.submit(number, ()).unwrap()), Some(0), "the lowest number that nobody has");
        assert_eq!(result(pool.submit_to(2, number, ()).unwrap()), Some(2));
        let_go(&board, held);
        let refused = pool.submit_to(5, number, ()).map(drop);
        assert!(matches!(refused, Err(Error::InvalidArgument { name: "worker", .. })), "{refused:?}");
        let told: BTreeSet<_> = pool.broadcast(number, ()).unwrap().into_iter().map(result).collect();
        assert_eq!(told, (0..5).map(Some).collect(), "to every one there may be");
        assert_eq!(board[COME].load(SeqCst), 5);
        end(pool);
    }

    fn semantics_p8_a_pool_that_ends_before_anybody_is_there_runs_what_waits(kind) {
        let board = board();
        for drops in [false, true] {
            board[RAN].store(0, SeqCst);
            let pool = demanded(kind, 3, 0, &board).idle_timeout(Duration::from_millis(1)).build().expect("a pool");
            let all: Vec<_> = (0..30).map(|_| pool.submit(count_in, (board.name(), RAN as u64)).unwrap()).collect();
            let pool = if drops { None } else { Some(pool) };
            if let Some(pool) = &pool {
                pool.shutdown(false, false).expect("closed");
            }
            all.into_iter().for_each(|future| _ = result(future));
            pool.into_iter().for_each(end);
            assert_eq!(board[RAN].load(SeqCst), 30);
        }
        let before = board[COME].load(SeqCst);
        end(demanded(kind, 3, 0, &board).build().expect("a pool"));
        drop(demanded(kind, 3, 0, &board).build().expect("a pool"));
        assert_eq!(board[COME].load(SeqCst), before, "without a task nobody comes");
    }

    fn semantics_p8_a_closing_pool_has_as_many_as_its_tasks_need(kind) {
        let board = board();
        let pool = demanded(kind, 3, 0, &board).build().expect("a pool");
        let all: Vec<_> = (0..3).map(|_| hold_one(&pool, &board)).collect();
        pool.shutdown(false, false).expect("closed");
        wait_until("all three at work", || board[HELD].load(SeqCst) == 3);
        let_go(&board, all);
        end(pool);
    }

    fn semantics_p8_nobody_comes_to_a_paused_pool_and_all_come_afterwards(kind) {
        let board = board();
        let builder = demanded(kind, 2, 0, &board).start_timeout(Duration::from_millis(700));
        let pool = builder.build().expect("a pool");
        pool.pause().expect("paused");
        let held: Vec<_> = (0..2).map(|_| hold_one(&pool, &board)).collect();
        // Longer than a task waits for a worker that can run it.
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!((board[COME].load(SeqCst), held[0].state()), (0, taskring::State::Pending));
        pool.resume().expect("resumed");
        wait_until("both at work", || board[HELD].load(SeqCst) == 2);
        let_go(&board, held);
        end(pool);
    }

    fn semantics_p8_nobody_leaves_a_paused_pool(kind) {
        let board = board();
        let pool = demanded(kind, 2, 0, &board).idle_timeout(Duration::from_millis(200)).build().expect("a pool");
        let_go(&board, hold_some(&pool, &board, 2));
        pool.pause().expect("paused");
        let left = board[GONE].load(SeqCst);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(board[GONE].load(SeqCst), left);
        pool.resume().expect("resumed");
        wait_until("they leave", || board[GONE].load(SeqCst) == board[COME].load(SeqCst));
        end(pool);
    }

    fn semantics_l1_another_number_of_workers_changes_how_many_may_come(kind) {
        let board = board();
        let pool = demanded(kind, 1, 1, &board).idle_timeout(Duration::from_millis(50)).build().expect("a pool");
        let mut held = hold_some(&pool, &board, 1);
        held.extend([hold_one(&pool, &board), hold_one(&pool, &board)]);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(board[COME].load(SeqCst), 1, "no more than one may come");
        pool.resize(2).expect("two");
        wait_until("two at work", || board[HELD].load(SeqCst) == 2);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!((board[COME].load(SeqCst), pool.workers()), (2, 2));
        pool.resize(3).expect("three");
        wait_until("three at work", || board[HELD].load(SeqCst) == 3);
        let_go(&board, held);
        wait_until("the others leave", || pool.worker_pids().len() == 1);
        pool.resize(1).expect("one");
        assert_eq!(result(pool.submit(square, 5).unwrap()), 25);
        assert_eq!(board[COME].load(SeqCst), 3);
        end(pool);
    }

    fn semantics_p5_workers_on_demand_are_replaced_after_their_tasks_too(kind) {
        let board = board();
        let builder = demanded(kind, 2, 0, &board).max_tasks_per_worker(5).idle_timeout(Duration::from_millis(20));
        let pool = builder.build().expect("a pool");
        for round in 0..3 {
            let all: Vec<_> = (0..30).map(|x| pool.submit(square, x).unwrap()).collect();
            all.into_iter().enumerate().for_each(|(x, future)| assert_eq!(result(future), (x * x) as u64));
            wait_until("all have left", || pool.worker_pids().is_empty());
            assert!(board[COME].load(SeqCst) > round + 1, "{}", board[COME].load(SeqCst));
        }
        end(pool);
        assert_eq!(board[COME].load(SeqCst), board[GONE].load(SeqCst));
    }

    fn semantics_p8_what_keeps_workers_from_starting_breaks_the_pool_at_the_first_task(kind) {
        let pool = Executor::builder().workers(3).min_workers(0).start(kind).initializer(come_not, ()).build().expect("a pool");
        let error = pool.submit(square, 3).and_then(|future| future.result()).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }) && error.to_string().contains("nobody comes"), "{error:?}");
        if matches!(kind, StartMethod::Spawn) {
            let none: [(&str, &str); 0] = [];
            let builder = Executor::builder().workers(3).min_workers(0).worker_exe("/bin/true", [""], none);
            let pool = builder.build().expect("a pool");
            let error = pool.submit(square, 3).and_then(|future| future.result()).unwrap_err();
            assert!(matches!(error, Error::NotAWorker { .. } | Error::Broken { .. }), "{error:?}");
        }
    }

    fn semantics_p8_one_that_is_killed_is_replaced_if_it_is_needed(kind) {
        if is_thread(kind) {
            // Nobody kills a thread. What it leaves in good order is all there is.
            return assert!(matches!(
                demanded(kind, 2, 0, &board()).build().unwrap().kill_workers(), Err(Error::Unsupported { .. })
            ));
        }
        let board = board();
        let pool = demanded(kind, 3, 1, &board).build().expect("a pool");
        let held = hold_some(&pool, &board, 2);
        let_go(&board, held);
        let pids = pool.worker_pids();
        assert_eq!(pids.len(), 2);
        pids.iter().for_each(|&pid| kill(pid));
        wait_until("both are dead", || pids.iter().all(|&pid| !pid_alive(pid)));
        wait_until("the one that is always there is again", || board[COME].load(SeqCst) == 3);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((board[COME].load(SeqCst), pool.worker_pids().len()), (3, 1), "nobody needs the other");
        let held = hold_some(&pool, &board, 2);
        // One of those at work dies, and there is work for another.
        let more = hold_one(&pool, &board);
        wait_until("the third", || board[HELD].load(SeqCst) == 5);
        kill(held[1].worker_pid().expect("at work"));
        assert!(matches!(held[1].result(), Err(Error::WorkerLost { .. })));
        assert_eq!(result(pool.submit(square, 6).unwrap()), 36, "somebody else has come");
        board[HELD + 1].store(1, SeqCst);
        assert!(held[0].result().is_ok() && more.result().is_ok());
        end(pool);
    }

    fn semantics_b4_a_task_that_waits_for_another_one_starts_a_worker_for_it(kind) {
        let board = board();
        let pool = demanded(kind, 2, 0, &board).build().expect("a pool");
        let (own, other) = result(pool.submit(ask_another, 20_000).unwrap());
        assert!(own != other && own.is_some() && other.is_some(), "{own:?} {other:?}");
        assert_eq!(board[COME].load(SeqCst), 2);
        end(pool);
    }

    fn semantics_b4_while_a_worker_waits_for_what_runs_elsewhere_another_one_may_come(kind) {
        for replacements in [1, 0] {
            let board = board();
            let builder = Executor::builder().workers(2).replacements(replacements).start(kind);
            let pool = builder.initializer(come, board.name()).exit_hook(go, board.name()).build().expect("a pool");
            for round in 1..=2 {
                let waiting = pool.submit(wait_for_another, board.name()).expect("submitted");
                wait_until("the other one runs", || board[HELD].load(SeqCst) == round);
                let third = pool.submit(number, ()).expect("submitted");
                if replacements == 0 {
                    let waits = third.result_timeout(Duration::from_millis(300));
                    assert!(matches!(waits, Err(Error::TimedOut { .. })), "{waits:?}");
                    assert_eq!((board[COME].load(SeqCst), board[GONE].load(SeqCst)), (2, 0));
                } else {
                    assert_eq!(third.result_timeout(Duration::from_secs(20)), Ok(Some(2)), "one that is beyond all others");
                    assert_eq!((board[COME].load(SeqCst), pool.worker_pids().len(), pool.workers()), (2 + round, 3, 2));
                    let refused = pool.submit_to(2, number, ()).map(drop);
                    assert!(matches!(refused, Err(Error::InvalidArgument { name: "worker", .. })), "{refused:?}");
                    assert_eq!(board[GONE].load(SeqCst), round - 1, "it stays while the other one waits");
                }
                board[HELD + 1].store(1, SeqCst);
                assert!(waiting.result().is_ok());
                result(third);
                wait_until("two are left", || replacements == 0 || board[GONE].load(SeqCst) == round);
                wait_until("two are there", || pool.worker_pids().len() == 2);
                board[HELD + 1].store(0, SeqCst);
            }
            end(pool);
        }
    }

    fn semantics_b4_no_more_come_than_wait_and_than_may_come(kind) {
        for (waiting, replacements) in [(1, 3), (2, 1)] {
            let board = board();
            let builder = Executor::builder().workers(4).replacements(replacements).start(kind);
            let pool = builder.initializer(come, board.name()).build().expect("a pool");
            let waits: Vec<_> = (0..waiting).map(|_| pool.submit(wait_for_another, board.name()).unwrap()).collect();
            wait_until("the others run", || board[HELD].load(SeqCst) == waiting);
            let more: Vec<_> = (0..10).map(|_| hold_one(&pool, &board)).collect();
            // All but those that wait are at work, and one more.
            wait_until("as many as may", || board[HELD].load(SeqCst) == 4 - waiting + 1);
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!((board[HELD].load(SeqCst), board[COME].load(SeqCst)), (4 - waiting + 1, 5), "one and no more");
            board[HELD + 1].store(1, SeqCst);
            waits.into_iter().chain(more).for_each(|future| _ = result(future));
            end(pool);
        }
    }

    fn semantics_b4_those_who_are_sent_away_before_they_are_ready_are_no_failed_starts(kind) {
        let board = board();
        let builder = Executor::builder().workers(2).replacements(1).start(kind);
        let pool = builder.initializer(come_late, board.name()).build().expect("a pool");
        for round in 1..=5 {
            let waiting = pool.submit(wait_for_another, board.name()).expect("submitted");
            wait_until("the other one runs", || board[HELD].load(SeqCst) == round);
            board[COME].store(1, SeqCst);
            let third = pool.submit(number, ()).expect("submitted");
            wait_until("a third one is on its way", || pool.worker_pids().len() == 3);
            board[HELD + 1].store(1, SeqCst);
            assert!(waiting.result().is_ok());
            result(third);
            // Longer than who stands in for another is kept.
            std::thread::sleep(Duration::from_millis(250));
            board[COME].store(0, SeqCst);
            wait_until("it has left", || pool.worker_pids().len() == 2);
            board[HELD + 1].store(0, SeqCst);
        }
        assert_eq!(result(pool.submit(square, 5).unwrap()), 25);
        end(pool);
    }

    fn semantics_l1_fewer_workers_in_the_middle_of_many_starts_are_no_failed_starts(kind) {
        let pool = Executor::builder().workers(1).replacements(8).start(kind).build().expect("a pool");
        let mut random = Random::new();
        for x in 0..12 {
            pool.resize(8).expect("eight");
            std::thread::sleep(Duration::from_micros(random.below(4000)));
            pool.resize(1).expect("one");
            wait_until("one is left", || pool.worker_pids().len() <= 1);
            assert_eq!(result(pool.submit(square, x).unwrap()), x * x);
        }
        end(pool);
    }

    fn semantics_p5_who_stands_in_for_another_leaves_after_its_tasks_too(kind) {
        let board = board();
        let builder = Executor::builder().workers(2).replacements(1).max_tasks_per_worker(3).start(kind);
        let pool = builder.initializer(come, board.name()).build().expect("a pool");
        let waiting = pool.submit(wait_for_another, board.name()).expect("submitted");
        wait_until("the other one runs", || board[HELD].load(SeqCst) == 1);
        wait_until("two have followed the third one", || {
            assert_eq!(result(pool.submit(number, ()).unwrap()), Some(2));
            board[COME].load(SeqCst) >= 5
        });
        board[HELD + 1].store(1, SeqCst);
        assert!(waiting.result().is_ok());
        end(pool);
    }

    fn semantics_b4_more_replacements_than_there_is_room_for_are_refused(kind) {
        let refused = Executor::builder().workers(190).replacements(3).start(kind).build().map(drop).unwrap_err();
        assert_eq!(refused.to_string(), "replacements is 3; wanted 0 to 2, which 190 workers leave of 192");
        let served = Executor::builder().start(StartMethod::None).replacements(1).build().map(drop);
        assert!(matches!(served, Err(Error::Unsupported { .. })), "{served:?}");
    }

    fn semantics_b4_who_stands_in_for_one_that_is_killed_leaves_too(kind) {
        let board = board();
        let builder = demanded(kind, 2, 0, &board).replacements(1).idle_timeout(Duration::from_millis(50));
        let pool = builder.build().expect("a pool");
        let waiting = pool.submit(wait_for_another, board.name()).expect("submitted");
        wait_until("the other one runs", || board[HELD].load(SeqCst) == 1);
        let third = hold_one(&pool, &board);
        wait_until("a third one has come", || board[HELD].load(SeqCst) == 2);
        assert_eq!(board[COME].load(SeqCst), 3);
        if !is_thread(kind) {
            kill(waiting.worker_pid().expect("it runs"));
            assert!(matches!(waiting.result(), Err(Error::WorkerLost { .. })));
        }
        board[HELD + 1].store(1, SeqCst);
        result(third);
        wait_until("nobody is left", || pool.worker_pids().is_empty());
        assert_eq!(result(pool.submit(number, ()).unwrap()), Some(0));
        end(pool);
    }

    fn semantics_b9_tasks_of_other_submitters_start_workers_too(kind) {
        let (board, name) = (board(), unique_name());
        let builder = demanded(kind, 2, 0, &board).idle_timeout(Duration::from_millis(5));
        let pool = builder.create_named(&name).expect("a pool");
        let other = Executor::attach(&name).expect("attached");
        for x in 0..10 {
            assert_eq!(result(other.submit(square, x).unwrap()), x * x);
            std::thread::sleep(Duration::from_millis(x));
        }
        assert!(board[COME].load(SeqCst) > 0);
        drop(other);
        end(pool);
    }

    fn semantics_l1_a_pool_of_the_other_style_may_have_workers_on_demand(kind) {
        let board = board();
        let pool = MultiPool::with(demanded(kind, 3, 0, &board)).expect("a pool");
        assert_eq!(pool.map(square, 0..20).expect("results"), (0..20).map(|x| x * x).collect::<Vec<u64>>());
        assert!((1..=3).contains(&board[COME].load(SeqCst)));
    }

    fn semantics_t2_threads_for_closures_come_on_demand_and_idle_ones_are_used_first(kind) {
        let builder = || Executor::builder().workers(3).min_workers(0).start(kind);
        let pool = ThreadPool::build(builder()).expect("a pool");
        for x in 0..3 {
            assert_eq!(pool.submit(move || (x, worker_number())).unwrap().result(), Ok((x, Some(0))));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(pool.executor().worker_pids().len(), 1, "three tasks, one thread");
        let gate = std::sync::Arc::new(std::sync::Barrier::new(4));
        let all: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                pool.submit(move || _ = gate.wait()).expect("submitted")
            })
            .collect();
        gate.wait();
        all.iter().for_each(|future| future.result().expect("over"));
        assert_eq!(pool.executor().worker_pids().len(), 3);
        let pool = ThreadPool::build(builder().idle_timeout(Duration::from_millis(1))).expect("a pool");
        for x in 0..200 {
            assert_eq!(pool.submit(move || x).unwrap().result(), Ok(x));
            std::thread::sleep(Duration::from_micros(x % 5 * 500));
        }
        wait_until("all have left", || pool.executor().worker_pids().is_empty());
    }
}
