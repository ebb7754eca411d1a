//! Shutting down: waiting or not, cancelling what is pending or not; again, from other threads, and by dropping the
//! executor.

mod common;

use common::{Board, SOON, count_in, hold, nap, pid_alive, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, State, When, wait};

taskring::test_support!();

/// A pool with one running task, which ends when `board[1]` is set, and twenty pending ones, which count in `board[2]`.
struct Busy {
    board: Board,
    pool: Executor,
    running: Future<u64>,
    pending: Vec<Future<u64>>,
}

impl Busy {
    fn new(kind: taskring::StartMethod) -> Busy {
        let board = Board::new(3);
        let pool = pool_of(kind, 1);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        let pending = (0..20).map(|_| pool.submit(count_in, (board.name(), 2)).unwrap()).collect();
        Busy { board, pool, running, pending }
    }

    fn let_go(&self) {
        self.board[1].store(1, SeqCst);
    }

    fn is_shut_down(&self) -> bool {
        let all = [
            self.pool.submit(square, 1).map(|_| ()),
            self.pool.try_submit(square, 1).map(|_| ()),
            self.pool.submit_timeout(square, 1, SOON).map(|_| ()),
            self.pool.submit_bulk(square, [1]).map(|_| ()),
        ];
        all.iter().all(|r| *r == Err(Error::ShutDown))
    }

    /// Everything ends as the matrix says.
    fn check_ends(&self, cancelled: bool) {
        assert_eq!(self.running.result(), Ok(0), "a running task is never interrupted");
        for (i, future) in self.pending.iter().enumerate() {
            let wanted = if cancelled { Err(Error::Cancelled) } else { Ok(i as u64) };
            assert_eq!(future.result(), wanted);
        }
        assert_eq!(self.board[2].load(SeqCst), if cancelled { 0 } else { 20 });
    }
}

both_kinds! {
    fn waiting_lets_everything_end(kind) {
        let busy = Busy::new(kind);
        let pids = busy.pool.worker_pids();
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| busy.pool.shutdown(true, false).unwrap());
            wait_until(SOON, || busy.is_shut_down());
            assert!(!shutdown.is_finished(), "a task is running");
            assert!(busy.pending.iter().all(|f| f.state() == State::Pending));
            busy.let_go();
        });
        assert!(busy.running.is_done() && busy.pending.iter().all(Future::is_done));
        assert!(kind == taskring::StartMethod::Thread || !pids.iter().any(|&pid| pid_alive(pid)));
        busy.check_ends(false);
    }

    fn waiting_and_cancelling_lets_what_runs_end(kind) {
        let busy = Busy::new(kind);
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| busy.pool.shutdown(true, true).unwrap());
            // Whoever waits for a cancelled task is told although the running one goes on.
            assert!(busy.pending.iter().all(|f| f.result() == Err(Error::Cancelled)));
            assert!(!shutdown.is_finished() && busy.running.state() == State::Running);
            busy.let_go();
        });
        busy.check_ends(true);
    }

    fn not_waiting_lets_everything_end_in_the_background(kind) {
        let busy = Busy::new(kind);
        busy.pool.shutdown(false, false).unwrap();
        assert_eq!(busy.running.state(), State::Running, "it returned at once");
        assert!(busy.is_shut_down() && busy.pending.iter().all(|f| f.state() == State::Pending));
        busy.let_go();
        busy.check_ends(false);
    }

    fn not_waiting_but_cancelling(kind) {
        let busy = Busy::new(kind);
        busy.pool.shutdown(false, true).unwrap();
        assert!(busy.is_shut_down() && busy.pending.iter().all(|f| f.state() == State::Cancelled));
        assert_eq!(busy.running.state(), State::Running);
        busy.let_go();
        busy.check_ends(true);
    }

    fn after_a_shutdown_without_waiting_the_executor_may_be_dropped(kind) {
        for cancel in [false, true] {
            let Busy { board, pool, running, pending } = Busy::new(kind);
            pool.shutdown(false, cancel).unwrap();
            drop(pool);
            assert_eq!(running.state(), State::Running, "dropping did not wait");
            board[1].store(1, SeqCst);
            assert_eq!(running.result(), Ok(0));
            assert!(pending.iter().all(|f| f.result().is_ok() != cancel));
        }
    }

    fn a_shutdown_may_be_asked_for_again_and_with_other_arguments(kind) {
        let busy = Busy::new(kind);
        for _ in 0..3 {
            busy.pool.shutdown(false, false).unwrap();
        }
        assert!(busy.pending.iter().all(|f| f.state() == State::Pending));
        busy.pool.shutdown(false, true).unwrap();
        assert!(busy.pending.iter().all(|f| f.state() == State::Cancelled));
        busy.let_go();
        for cancel in [false, true, false] {
            busy.pool.shutdown(true, cancel).unwrap();
            busy.pool.shutdown(false, cancel).unwrap();
        }
        busy.check_ends(true);
    }

    fn several_threads_may_shut_down_at_once(kind) {
        for round in 0..5 {
            let pool = pool_of(kind, 2);
            let futures = pool.submit_bulk(square, 0..100).unwrap();
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let pool = &pool;
                    scope.spawn(move || pool.shutdown(thread % 2 == 0, thread == 3 && round % 2 == 0).unwrap());
                }
            });
            assert!(futures.iter().all(Future::is_done), "at least one of them has waited");
        }
    }

    fn dropping_the_executor_waits(kind) {
        let pool = pool_of(kind, 2);
        let futures = pool.submit_bulk(nap, vec![2; 50]).unwrap();
        let last = pool.submit(square, 4).unwrap();
        drop(pool);
        assert!(futures.iter().chain([&last]).all(Future::is_done));
        assert_eq!(last.result(), Ok(16));
    }

    fn a_pool_that_was_never_used_ends_too(kind) {
        for _ in 0..5 {
            drop(pool_of(kind, 2));
            pool_of(kind, 2).shutdown(true, true).unwrap();
        }
    }

    fn an_idle_pool_ends_soon(kind) {
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let pool = pool_of(kind, 2);
                assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
                let start = Instant::now();
                drop(pool);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let slow = times.iter().filter(|t| **t > Duration::from_millis(500)).count();
        assert!(slow <= 1, "there is nothing to wait for, and nothing to wait a whole tick for: {times:?}");
    }

    fn a_task_cancelled_just_before_does_not_hang_the_shutdown(kind) {
        for round in 0..100 {
            let pool = pool_of(kind, 1);
            let future = pool.submit(nap, 0).unwrap();
            let cancelled = future.cancel();
            pool.shutdown(round % 3 != 0, round % 2 == 0).unwrap();
            let both = [future, pool_of(kind, 1).submit(square, 1).unwrap()];
            assert!(wait(&both, Some(SOON), When::AllCompleted).unwrap().not_done.is_empty());
            assert_eq!(both[0].result() == Err(Error::Cancelled), both[0].state() == State::Cancelled);
            assert!(!cancelled || both[0].state() == State::Cancelled);
            if round == 10 && kind == taskring::StartMethod::Thread {
                break;
            }
        }
    }

    fn another_thread_may_shut_down_while_one_submits(kind) {
        for round in 0..20 {
            let board = Board::new(1);
            let pool = small_pool(kind, 2, 8);
            let submitted = AtomicUsize::new(0);
            let futures = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..2)
                    .map(|_| scope.spawn(|| submit_until_shut_down(&pool, &board, &submitted)))
                    .collect();
                wait_until(SOON, || submitted.load(SeqCst) >= 50 + 10 * round);
                pool.shutdown(round % 2 == 0, round % 4 < 2).unwrap();
                threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
            });
            let results: Vec<_> = futures.iter().map(Future::result).collect();
            let ran = results.iter().filter(|r| r.is_ok()).count();
            let cancelled = results.iter().filter(|r| **r == Err(Error::Cancelled)).count();
            assert_eq!(ran + cancelled, futures.len(), "what was taken is accounted for: {results:?}");
            assert!(round % 4 < 2 || cancelled == 0);
            assert_eq!(board[0].load(SeqCst) as usize, ran);
        }
    }

    fn a_submitter_that_waits_for_room_is_let_go(kind) {
        let board = Board::new(2);
        let pool = small_pool(kind, 1, 1);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        std::thread::scope(|scope| {
            let one = scope.spawn(|| pool.submit(square, 1).map(|_| ()));
            let bulk = scope.spawn(|| pool.submit_bulk(square, 0..100).map(|_| ()));
            let timed = scope.spawn(|| pool.submit_timeout(square, 1, 10 * SOON).map(|_| ()));
            std::thread::sleep(Duration::from_millis(30));
            assert!(!one.is_finished() && !bulk.is_finished() && !timed.is_finished());
            pool.shutdown(false, false).unwrap();
            for thread in [one, bulk, timed] {
                assert_eq!(thread.join().unwrap(), Err(Error::ShutDown));
            }
        });
        board[1].store(1, SeqCst);
        assert_eq!(running.result(), Ok(0));
    }

    fn a_pool_that_is_shut_down_still_answers(kind) {
        let pool = pool_of(kind, 2);
        let set = pool.task_set().unwrap();
        let future = set.submit(square, 3).unwrap();
        pool.shutdown(true, false).unwrap();
        assert_eq!(future.result(), Ok(9));
        assert_eq!(set.submit(square, 3).map(|_| ()), Err(Error::ShutDown));
        assert_eq!(set.discard().unwrap().done, 1);
        assert_eq!((pool.workers(), pool.capacity()), (2, 1024));
        assert!(pool.worker_pids().is_empty());
        assert!(!format!("{pool:?}").is_empty());
    }
}

fn submit_until_shut_down(pool: &Executor, board: &Board, submitted: &AtomicUsize) -> Vec<Future<u64>> {
    let mut futures = Vec::new();
    loop {
        match pool.submit(count_in, (board.name(), 0)) {
            Ok(future) => futures.push(future),
            Err(Error::ShutDown) => return futures,
            Err(e) => panic!("{e}"),
        }
        submitted.fetch_add(1, SeqCst);
    }
}

/// More threads than CPUs submit, so that one of them is often interrupted in the middle of it, just when the pool ends.
#[test]
fn no_task_is_left_behind_when_a_pool_ends_under_its_submitters() {
    let _dog = common::watchdog(120);
    for round in 0..scaled(100, 400) {
        let builder = Executor::builder().workers(2).start(taskring::StartMethod::Thread);
        let pool = builder.start_timeout(Duration::from_secs(2)).build().unwrap();
        pool.submit(square, 1).unwrap().result().unwrap();
        let submitted = AtomicUsize::new(0);
        let futures = std::thread::scope(|scope| {
            let submit = || {
                let mut futures = Vec::new();
                while let Ok(more) = pool.submit_bulk(square, [3; 64]) {
                    futures.extend(more);
                    submitted.fetch_add(1, SeqCst);
                }
                futures
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(submit)).collect();
            wait_until(SOON, || submitted.load(SeqCst) > round % 16);
            pool.shutdown(round % 2 == 0, false).unwrap();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        let lost: Vec<_> = futures.iter().map(|f| f.result_timeout(SOON)).filter(|r| *r != Ok(9)).collect();
        assert!(lost.is_empty(), "round {round}, {} of {} tasks: {:?}", lost.len(), futures.len(), lost[0]);
    }
}

#[test]
fn a_task_that_runs_in_a_thread_may_shut_its_own_pool_down_without_waiting() {
    static POOL: std::sync::OnceLock<Executor> = std::sync::OnceLock::new();
    static DONE: AtomicBool = AtomicBool::new(false);
    let _dog = common::watchdog(60);
    let ends_it = taskring::register("ends its pool", |()| {
        POOL.get().unwrap().shutdown(false, true).unwrap();
        DONE.store(true, SeqCst);
    });
    let pool = POOL.get_or_init(|| pool_of(taskring::StartMethod::Thread, 1));
    assert_eq!(pool.submit(ends_it.unwrap(), ()).unwrap().result(), Ok(()));
    assert!(DONE.load(SeqCst));
    assert_eq!(pool.submit(square, 1).map(|_| ()), Err(Error::ShutDown));
    pool.shutdown(true, false).unwrap();
}
