//! Workers that leave after a number of tasks, and those that follow them.

use crate::process_support::common::{Board, own_pid, square, unique_name};
use crate::process_support::{kill, pid_alive, wait_until};
use crate::support::{is_thread, pool_of};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::task::worker_number;
use taskring::{Builder, Error, Executor, Future, MultiPool, StartMethod, inspect};

taskring::task! {
    /// The thread that runs it, and its worker's number.
    fn who() -> (u32, Option<u32>) { (thread(), worker_number()) }
    /// The same, some milliseconds later.
    fn who_after(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        thread()
    }
    /// Counts itself in cell 0, and takes so long.
    fn begin(board: String, ms: u64) {
        Board::at(&board)[0].fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(ms));
    }
    /// Counts itself in cell 0. The first one is well, those after it are not.
    fn begin_once(board: String, ends: bool) {
        if Board::at(&board)[0].fetch_add(1, SeqCst) != 0 {
            if ends {
                std::process::exit(3);
            }
            panic!("no second one");
        }
    }
    /// Counts itself in cell 1, and lasts until cell 2 is set.
    fn linger(board: String) {
        let cells = Board::at(&board);
        cells[1].fetch_add(1, SeqCst);
        wait_until("the end of the hook", || cells[2].load(SeqCst) != 0);
    }
}

fn thread() -> u32 {
    // SAFETY: the call takes nothing.
    unsafe { libc::gettid() }.cast_unsigned()
}

fn limited(kind: StartMethod, workers: usize, tasks: u32) -> Builder {
    Executor::builder().workers(workers).start(kind).max_tasks_per_worker(tasks)
}

fn result<R: taskring::Payload>(future: Future<R>) -> R {
    future.result().expect("a result")
}

/// Waits until a worker stands by, and says which process it is.
fn standing_by(name: &str) -> u32 {
    let mut found = None;
    wait_until("a worker that waits for its turn", || {
        found = inspect(name).expect("a look").participants.iter().find(|p| p.waits).map(|p| p.pid);
        found.is_some()
    });
    found.expect("it was found")
}

fn end(pool: Executor) {
    pool.shutdown(true, false).expect("everything has ended");
}

cases! {
    fn semantics_p4_the_number_of_tasks_of_a_worker_is_at_least_1(kind) {
        let refused = limited(kind, 1, 0).build().map(drop).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
        assert_eq!(refused.to_string(), "max_tasks_per_worker is 0; wanted 1 to 4294967295");
        assert_eq!(result(limited(kind, 1, u32::MAX).build().unwrap().submit(square, 3).unwrap()), 9);
    }

    fn semantics_p5_a_worker_leaves_after_so_many_tasks_and_another_takes_its_place(kind) {
        let name = unique_name();
        let pool = limited(kind, 1, 3).create_named(&name).expect("a pool");
        let ask = || result(pool.submit(who, ()).unwrap());
        let mut before = Vec::new();
        for _ in 0..3 {
            let (first, number) = ask();
            assert_eq!(number, Some(0));
            assert!(!before.contains(&first), "it left after three");
            assert_eq!(ask().0, first, "the same one for three");
            standing_by(&name);
            assert_eq!((pool.workers(), ask().0), (1, first), "the same one for three, though another one is ready");
            before.push(first);
        }
        let is_process = !is_thread(kind);
        wait_until("they have left", || !is_process || before.iter().all(|&pid| !pid_alive(pid)));
        wait_until("one is left", || pool.worker_pids().len() == 1);
        assert_eq!(pool.workers(), 1);
        end(pool);
    }

    fn semantics_p5_without_a_limit_a_worker_stays(kind) {
        let pool = pool_of(kind, 1);
        let all: BTreeSet<u32> = (0..300).map(|_| result(pool.submit(who, ()).unwrap()).0).collect();
        assert_eq!(all.len(), 1);
    }

    fn semantics_p6_replacing_workers_strands_no_task(kind) {
        for (tasks, workers, each) in [(6, 1, 2), (8, 2, 2), (40, 3, 1), (500, 2, 7)] {
            let pool = limited(kind, workers, each).build().expect("a pool");
            let all: Vec<_> = (0..tasks).map(|x| pool.submit(square, x).unwrap()).collect();
            all.into_iter().enumerate().for_each(|(x, future)| assert_eq!(result(future), (x * x) as u64));
            end(pool);
        }
    }

    fn semantics_p6_a_shutdown_that_does_not_wait_and_a_drop_strand_no_task(kind) {
        let who_ran = |drops: bool, ms: u64| {
            let pool = limited(kind, 2, 1).build().expect("a pool");
            let all: Vec<_> = (0..40).map(|_| pool.submit(who_after, ms).unwrap()).collect();
            let pool = if drops { None } else { Some(pool) };
            if let Some(pool) = &pool {
                pool.shutdown(false, false).expect("closed");
            }
            let ran: BTreeSet<u32> = all.into_iter().map(result).collect();
            pool.into_iter().for_each(end);
            ran
        };
        for drops in [false, true] {
            // The tasks have to last longer than the start of a worker, which on a busy machine is long.
            let is_followed = [15, 60, 240].into_iter().any(|ms| who_ran(drops, ms).len() > 2);
            assert!(is_followed, "workers are followed by others also while the pool ends");
        }
    }

    fn semantics_p6_a_next_one_that_cannot_be_started_breaks_the_pool(kind) {
        let board = Board::new(1);
        let ends = !is_thread(kind);
        let pool = limited(kind, 1, 2).initializer(begin_once, (board.name(), ends)).build().expect("a pool");
        let mut errors = (0..).map(|x| pool.submit(who_after, x % 3).and_then(|future| future.result())).filter_map(Result::err);
        let error = errors.next().expect("an error");
        assert!(matches!(error, Error::Broken { .. } | Error::NotAWorker { .. }), "{error:?}");
        let why = if ends { "exited with code 3" } else { "no second one" };
        assert!(error.to_string().contains(why), "{error}");
        pool.shutdown(true, false).expect("over");
        assert_eq!(board[0].load(SeqCst), if ends { 4 } else { 2 }, "as often as any worker that cannot be started");
    }

    fn semantics_p6_workers_that_leave_a_closing_pool_are_not_followed_for_a_task_that_runs(kind) {
        let board = Board::new(3);
        let builder = limited(kind, 2, 1000).initializer(begin, (board.name(), 0)).exit_hook(begin, (board.name(), 100));
        let pool = builder.build().expect("a pool");
        wait_until("both", || board[0].load(SeqCst) == 2);
        let long = pool.submit(linger, board.name()).unwrap();
        wait_until("it runs", || board[1].load(SeqCst) == 1);
        pool.shutdown(false, false).expect("begun");
        wait_until("the idle one leaves", || board[0].load(SeqCst) == 3);
        // Longer than some starts and hooks.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(board[0].load(SeqCst), 3, "nobody was started");
        board[2].store(1, SeqCst);
        assert_eq!(long.result(), Ok(()));
        end(pool);
        assert_eq!(board[0].load(SeqCst), 4, "both initializers and both hooks");
    }

    fn semantics_p6_a_forced_end_during_a_turnover_starts_nobody(kind) {
        if is_thread(kind) {
            let pool = limited(kind, 1, 1).build().expect("a pool");
            assert!(matches!(pool.kill_workers(), Err(Error::Unsupported { .. })), "a thread is ended by nobody");
            return;
        }
        let (board, name) = (Board::new(3), unique_name());
        let builder = limited(kind, 1, 1).initializer(begin, (board.name(), 0)).exit_hook(linger, board.name());
        let pool = builder.create_named(&name).expect("a pool");
        standing_by(&name);
        assert_eq!(result(pool.submit(square, 2).unwrap()), 4);
        wait_until("the old one is leaving", || board[1].load(SeqCst) == 1);
        pool.kill_workers().expect("they are sent the signal");
        pool.shutdown(true, false).expect("over");
        assert_eq!(board[0].load(SeqCst), 2, "nobody else was started");
    }

    fn semantics_p6_a_next_one_killed_while_it_waits_is_started_again(kind) {
        let name = unique_name();
        let pool = limited(kind, 1, 2).create_named(&name).expect("a pool");
        let (old, _) = result(pool.submit(who, ()).unwrap());
        let first = standing_by(&name);
        let mut second = first;
        if !is_thread(kind) {
            kill(first);
            wait_until("another one waits", || { second = standing_by(&name); second != first });
        }
        assert_eq!(result(pool.submit(who, ()).unwrap()).0, old, "the old one has gone on");
        let (new, number) = result(pool.submit(who, ()).unwrap());
        assert!(new != old && number == Some(0));
        assert!(is_thread(kind) || new == second, "the one that waited");
        end(pool);
    }

    fn semantics_p6_an_old_one_killed_after_it_handed_over_loses_nothing(kind) {
        let board = Board::new(3);
        let pool = limited(kind, 1, 4).exit_hook(linger, board.name()).build().expect("a pool");
        let (old, _) = result(pool.submit(who, ()).unwrap());
        let all: Vec<_> = (0..200).map(|_| pool.submit(who_after, 1).unwrap()).collect();
        wait_until("the old one is leaving", || board[1].load(SeqCst) == 1);
        if is_thread(kind) {
            board[2].store(1, SeqCst);
        } else {
            kill(old);
            wait_until("it is dead", || !pid_alive(old));
        }
        board[2].store(1, SeqCst);
        let after: Vec<_> = (0..20).map(|_| pool.submit(who_after, 1).unwrap()).collect();
        // The next one may have been so late that the old one has run them all.
        all.into_iter().for_each(|task| assert_ne!(result(task), 0));
        assert!(after.into_iter().all(|task| result(task) != old));
        end(pool);
    }

    fn semantics_p6_an_old_one_killed_before_it_hands_over_is_followed_at_once(kind) {
        if is_thread(kind) {
            assert_eq!(result(limited(kind, 1, 1).build().unwrap().submit(square, 3).unwrap()), 9);
            return;
        }
        let name = unique_name();
        let pool = limited(kind, 1, 2).create_named(&name).expect("a pool");
        let old = result(pool.submit(own_pid, ()).unwrap());
        let next = standing_by(&name);
        kill(old);
        assert_eq!(result(pool.submit(own_pid, ()).unwrap()), next);
        end(pool);
    }

    fn semantics_l22_all_workers_are_replaced_after_so_many_tasks(kind) {
        let name = unique_name();
        let pool = limited(kind, 2, 10).create_named(&name).expect("a pool");
        let ask = |count: usize| -> BTreeSet<u32> {
            let all: Vec<_> = (0..count).map(|_| pool.submit(who_after, 2).unwrap()).collect();
            all.into_iter().map(result).collect()
        };
        let first = ask(4);
        let mut later = ask(100);
        wait_until("others alone", || { later = ask(20); later.is_disjoint(&first) });
        assert!(later.len() >= 2, "{later:?}");
        end(pool);
    }

    fn semantics_l22_closing_early_does_not_hang(kind) {
        for _ in 0..5 {
            let pool = MultiPool::with(limited(kind, 3, 1)).expect("a pool");
            let all = pool.map_async(square, 0..6, Some(1)).expect("submitted");
            pool.close().expect("closed");
            pool.join().expect("over");
            assert_eq!(all.get(None).expect("results"), [0, 1, 4, 9, 16, 25]);
        }
    }

    fn semantics_b8_the_next_worker_runs_before_the_one_it_replaces_leaves(kind) {
        // Longer than many tasks, so that a start in the gap would be seen.
        const START: Duration = Duration::from_millis(400);
        let board = Board::new(1);
        let builder = limited(kind, 1, 5).initializer(begin, (board.name(), START.as_millis() as u64));
        let pool = builder.build().expect("a pool");
        let (mut workers, mut longest) = (BTreeSet::new(), Duration::ZERO);
        result(pool.submit(square, 1).unwrap());
        let (begun, mut last) = (Instant::now(), Instant::now());
        while workers.len() < 4 {
            workers.insert(result(pool.submit(who_after, 2).unwrap()));
            longest = longest.max(last.elapsed());
            last = Instant::now();
            assert!(begun.elapsed() < 20 * START, "{workers:?}");
        }
        assert!(begun.elapsed() >= START, "each of them took its time");
        assert!(longest < START * 3 / 4, "tasks were run all the time: {longest:?}");
    }
}
