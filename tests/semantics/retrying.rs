//! Section B, row B10: a task that failed is run again.

use crate::held::{Held, assert_shorter, can_die, end_own_worker, given};
use crate::process_support::common::{Board, hold, square};
use crate::process_support::{kill, unique, wait_until};
use crate::support::pool_of;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{
    Error, Executor, Future, MapOptions, Retry, StartMethod, State, SubmitOptions, TaskError, ThreadPool, inspect, task,
};

taskring::task! {
    /// Fails in so many attempts, and then gives the number of those before. Counts them in the board, and there stands when each began.
    fn fails(board: String, times: u64, how: String) -> Result<u64, TaskError> { fail_first(&board, times, &how) }
    /// The same, held in its first attempt before it fails.
    fn fails_when_let_go(board: String, held: (String, u64), until_asked: bool) -> Result<u64, TaskError> {
        if task::attempt() == 0 {
            hold.call(held)?;
            if until_asked {
                wait_until("it is asked", task::cancel_requested);
            }
        }
        fail_first(&board, 1, "held")
    }
    /// Gives the text back in its third attempt. In the others it says that all of it is wrong.
    fn third_time(text: String) -> Result<String, TaskError> {
        if task::attempt() < 2 { Err(TaskError::new(text)) } else { Ok(text) }
    }
    /// Fails in its first attempt, and kills its worker in each further one.
    fn fails_and_kills(board: String) -> Result<u64, TaskError> {
        fail_first(&board, 1, "first")?;
        end_own_worker();
        unreachable!("killed")
    }
    /// Takes its time and fails, but for the third time. Whether it was asked to stop then.
    fn slow(ms: u64) -> Result<bool, TaskError> {
        std::thread::sleep(Duration::from_millis(ms));
        if task::attempt() < 2 { Err(TaskError::new("slow")) } else { Ok(task::cancel_requested()) }
    }
    /// Waits for a task of its own that fails at first. How long that took, in milliseconds.
    fn waits_for_one_that_fails(board: String, pause_ms: u64, in_a_list: bool) -> Result<u64, TaskError> {
        let start = Instant::now();
        let pool = taskring::current_pool()?;
        let future = pool.submit_with(&with(paused(2, pause_ms)), fails, (board, 1, "at first".into()))?;
        if in_a_list {
            taskring::wait([&future], None, taskring::When::AllCompleted)?;
        }
        assert_eq!(future.result()?, 1);
        Ok(start.elapsed().as_millis() as u64)
    }
    /// The same, and another worker makes the first attempt and then has something else to do until the second has begun. How long after the first's end that was.
    fn waits_for_one_that_another_fails(board: String, pause_ms: u64, in_a_list: bool) -> Result<u64, TaskError> {
        let (pool, cells) = (taskring::current_pool()?, Board::at(&board));
        let inner = pool.submit_with(&with(paused(2, pause_ms)), fails_while_watched, board.clone())?;
        wait_until("its first attempt", || cells[0].load(SeqCst) == 1);
        let high = SubmitOptions::new().priority(taskring::Priority::High);
        let other = pool.submit_with(&high, busy_until_second, board.clone())?;
        if in_a_list {
            taskring::wait([&inner], None, taskring::When::AllCompleted)?;
        }
        assert_eq!(inner.result()?, 1);
        other.result()?;
        Ok((cells[3].load(SeqCst) - cells[2].load(SeqCst)) / 1_000_000)
    }
    /// Fails in its first attempt, when whoever waits for it sleeps.
    fn fails_while_watched(board: String) -> Result<u64, TaskError> {
        let cells = Board::at(&board);
        let attempt = u64::from(task::attempt());
        if attempt == 0 {
            cells[0].store(1, SeqCst);
            std::thread::sleep(Duration::from_millis(100));
        }
        cells[2 + attempt as usize].store(crate::process_support::common::monotonic_ns(), SeqCst);
        if attempt == 0 { Err(TaskError::new("first")) } else { Ok(attempt) }
    }
    fn busy_until_second(board: String) -> () {
        wait_until("the second attempt", || Board::at(&board)[3].load(SeqCst) != 0);
    }
    /// Fails at first for inputs that are odd.
    fn odd_ones_fail(x: u64) -> Result<u64, TaskError> {
        if x % 2 == 1 && task::attempt() == 0 { Err(TaskError::new("odd")) } else { Ok(x + u64::from(task::attempt())) }
    }
}

/// How the tasks above fail: by a panic, with a code, or plainly.
fn fail_first(board: &str, times: u64, how: &str) -> Result<u64, TaskError> {
    let attempt = u64::from(task::attempt());
    let cells = Board::at(board);
    cells[0].fetch_add(1, SeqCst);
    if let Some(cell) = cells.get(1 + attempt as usize) {
        cell.store(crate::process_support::common::monotonic_ns(), SeqCst);
    }
    if attempt >= times {
        return Ok(attempt);
    }
    let text = format!("attempt {attempt}: {how}");
    match how.strip_prefix("code ") {
        Some(code) => Err(TaskError::new(text).with_code(code.parse()?)),
        None if how == "panic" => resume_unwind(Box::new(text)),
        None => Err(TaskError::new(text)),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn with(retry: Retry) -> SubmitOptions {
    SubmitOptions::new().retry(retry)
}

fn paused(attempts: u8, pause_ms: u64) -> Retry {
    Retry::new(attempts).backoff(ms(pause_ms), ms(pause_ms))
}

/// For a pause that nobody waits for.
fn an_hour(attempts: u8) -> SubmitOptions {
    with(paused(attempts, 3_600_000))
}

/// Submits a task that fails once and waits until it waits for its second attempt, for an hour.
fn waiting(pool: &Executor, board: &Board) -> Future<u64> {
    let before = board[0].load(SeqCst);
    let future = pool.submit_with(&an_hour(2), fails, (board.name(), 1, "x".into())).unwrap();
    until_waiting(&future, board, before + 1);
    future
}

fn until_waiting(future: &Future<u64>, board: &Board, attempts: u64) {
    wait_until("it waits", || board[0].load(SeqCst) == attempts && future.state() == State::Pending);
}

#[track_caller]
fn last_words<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::TaskFailed { summary, .. } => summary,
        Error::Panicked { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

cases! {
    fn semantics_b10_a_failed_task_is_run_again_up_to_its_limit(kind) {
        let pool = pool_of(kind, 2);
        let board = Board::new(1);
        let run = |options: &SubmitOptions, times| {
            board[0].store(0, SeqCst);
            let result = pool.submit_with(options, fails, (board.name(), times, "no".into())).unwrap().result();
            (result, board[0].load(SeqCst))
        };
        assert_eq!(run(&with(Retry::new(3)), 2), (Ok(2), 3));
        let (last, attempts) = run(&with(Retry::new(3)), 3);
        assert_eq!((last_words(last), attempts), ("attempt 2: no".into(), 3), "the last error is what the future gives");
        for never in [SubmitOptions::new(), with(Retry::new(1)), with(Retry::never())] {
            let (last, attempts) = run(&never, 3);
            assert_eq!((last_words(last), attempts), ("attempt 0: no".into(), 1));
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b10_only_chosen_failures_bring_another_attempt(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(1);
        let attempts = |retry: Retry, how: &str| {
            board[0].store(0, SeqCst);
            let end = pool.submit_with(&with(retry), fails, (board.name(), 9, how.into())).unwrap().exception(None).unwrap();
            assert!(matches!(end, Some(Error::TaskFailed { .. } | Error::Panicked { .. })), "{end:?}");
            board[0].load(SeqCst)
        };
        let new = || Retry::new(3);
        assert_eq!([attempts(new(), "error"), attempts(new(), "code 4"), attempts(new(), "panic")], [3, 3, 1]);
        let panics = new().on_panics();
        assert_eq!([attempts(panics.clone(), "error"), attempts(panics.clone(), "panic")], [1, 3]);
        assert_eq!(attempts(panics.on_errors(), "error"), 3);
        let codes = new().on_codes([4, 31]);
        let found = ["error", "code 4", "code 31", "code 5", "panic"].map(|how| attempts(codes.clone(), how));
        assert_eq!(found, [1, 3, 3, 1, 1]);
    }

    fn semantics_b10_an_attempt_begins_after_its_pause_and_the_worker_is_free_meanwhile(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(4);
        let retry = Retry::new(3).backoff(ms(150), ms(200));
        let future = pool.submit_with(&with(retry), fails, (board.name(), 2, "no".into())).unwrap();
        until_waiting(&future, &board, 1);
        let squares: Vec<u64> = pool.map(square, 0..50).unwrap().map(Result::unwrap).collect();
        assert_eq!(squares.len(), 50);
        assert_eq!(future.result(), Ok(2));
        let began: Vec<u64> = board.iter().skip(1).map(|at| at.load(SeqCst) / 1_000_000).collect();
        assert!(began[1] - began[0] >= 149 && began[2] - began[1] >= 199, "{began:?}");
        // Not only when somebody looks at everything, as everybody does once in a second.
        assert_shorter(ms(600), || {
            let start = Instant::now();
            let again = with(paused(2, 30));
            assert_eq!(pool.submit_with(&again, fails, (board.name(), 1, "no".into())).unwrap().result(), Ok(1));
            start.elapsed()
        });
    }

    fn semantics_b10_a_busy_worker_comes_to_an_attempt_whose_time_has_come(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(3);
        assert_shorter(ms(600), || {
            board[0].store(0, SeqCst);
            let future = pool.submit_with(&with(paused(2, 50)), fails, (board.name(), 1, "no".into())).unwrap();
            until_waiting(&future, &board, 1);
            let start = Instant::now();
            // There is always a task at the head.
            let mut others = std::collections::VecDeque::new();
            while !future.is_done() && start.elapsed() < Duration::from_secs(5) {
                others.push_back(pool.submit(square, 3).unwrap());
                if others.len() > 200 {
                    assert_eq!(others.pop_front().map(|first| first.result()), Some(Ok(9)));
                }
            }
            assert_eq!(future.result(), Ok(1));
            start.elapsed()
        });
    }

    fn semantics_b10_many_tasks_that_wait_for_an_attempt_stand_in_nobodys_way(kind) {
        let pool = Executor::builder().workers(2).capacity(64).start(kind).build().unwrap();
        let board = Board::new(1);
        let later: Vec<_> =
            (0..40).map(|_| pool.submit_with(&with(paused(3, 200)), fails, (board.name(), 2, "x".into())).unwrap()).collect();
        // Several laps over the slots that are left.
        let squares: Vec<u64> = pool.map(square, 0..300).unwrap().map(Result::unwrap).collect();
        assert_eq!(squares[299], 299 * 299);
        assert!(later.iter().all(|future| future.result() == Ok(2)));
        assert_eq!(board[0].load(SeqCst), 120);
    }

    fn semantics_b10_a_task_that_waits_for_an_attempt_can_be_cancelled_at_once(kind) {
        let pool = pool_of(kind, 2);
        let board = Board::new(1);
        let cancelled = waiting(&pool, &board);
        assert!(cancelled.cancel());
        assert_eq!((cancelled.state(), cancelled.result()), (State::Cancelled, Err(Error::Cancelled)));
        let hard = waiting(&pool, &board);
        assert_eq!((hard.cancel_hard(), hard.result()), (Ok(true), Err(Error::Cancelled)));
        let purged = waiting(&pool, &board);
        assert_eq!((pool.purge(), purged.result()), (Ok(1), Err(Error::Cancelled)));
        let set = pool.task_set().unwrap();
        let discarded = pool.submit_with(&an_hour(2).set(&set), fails, (board.name(), 1, "x".into())).unwrap();
        until_waiting(&discarded, &board, 4);
        assert_eq!((set.discard().unwrap().cancelled, discarded.result()), (1, Err(Error::Cancelled)));
        let timed = waiting(&pool, &board);
        assert!(matches!(timed.result_timeout(ms(5)), Err(Error::TimedOut { .. })), "a wait has its own time");
        assert!(timed.cancel());
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 5, "none was run again");
    }

    fn semantics_b10_a_task_that_waits_begins_the_attempt_that_nobody_else_is_free_for(kind) {
        let pool = pool_of(kind, 2);
        for (pause, in_a_list) in [(0, false), (0, true), (50, false), (50, true)] {
            let mut times = [(); 5].map(|()| {
                let board = Board::new(4);
                pool.submit(waits_for_one_that_another_fails, (board.name(), pause, in_a_list)).unwrap().result().unwrap()
            });
            times.sort_unstable();
            // Not only when the waiting task looks after things, as it does once in a second. The other worker may make the attempt before it has something else.
            assert!(times[2] < 600, "after a pause of {pause} ms, in a list {in_a_list}: {times:?} ms");
        }
    }

    fn semantics_b10_a_task_that_was_asked_to_stop_is_not_run_again(kind) {
        let pool = pool_of(kind, 1);
        let (board, held) = (Board::new(1), Held::new(2));
        let asked = pool.submit_with(&with(Retry::new(5)), fails_when_let_go, (board.name(), held.input(0), true)).unwrap();
        wait_until("it runs", || held.times_begun(0) == 1);
        assert!(!asked.cancel());
        held.let_go(0);
        assert_eq!((last_words(asked.result()), board[0].load(SeqCst)), ("attempt 0: held".into(), 1));
        held.let_go(1);
        let limited = with(Retry::new(5)).soft_limit(ms(50));
        let limited = pool.submit_with(&limited, fails_when_let_go, (board.name(), held.input(1), true)).unwrap();
        assert_eq!((last_words(limited.result()), board[0].load(SeqCst)), ("attempt 0: held".into(), 2));
    }

    fn semantics_b10_a_running_task_of_a_discarded_set_ends_with_its_attempt(kind) {
        let pool = pool_of(kind, 1);
        let (board, held) = (Board::new(1), Held::new(3));
        for (number, pause) in [0, 20, 40].into_iter().enumerate() {
            let set = pool.task_set().unwrap();
            let input = (board.name(), held.input(number), false);
            let running = set.submit_with(&with(paused(3, pause)), fails_when_let_go, input).unwrap();
            wait_until("it runs", || held.times_begun(number) == 1);
            assert_eq!(set.discard().unwrap().running, 1);
            // Also when nobody knows the set any more.
            let kept = (number != 1).then_some(set);
            held.let_go(number);
            assert_eq!(last_words(running.result()), "attempt 0: held");
            drop(kept);
        }
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 3, "none was run again");
    }

    fn semantics_b10_a_shutdown_waits_for_every_attempt(kind) {
        let pool = pool_of(kind, 2);
        let board = Board::new(1);
        let future = pool.submit_with(&with(paused(3, 250)), fails, (board.name(), 2, "no".into())).unwrap();
        pool.shutdown(true, false).unwrap();
        assert_eq!((future.state(), future.result(), board[0].load(SeqCst)), (State::Done, Ok(2), 3));
        let dropped = pool_of(if kind == StartMethod::Fork { StartMethod::Spawn } else { kind }, 1);
        dropped.submit_with(&with(paused(2, 250)), fails, (board.name(), 1, "no".into())).unwrap().detach();
        drop(dropped);
        assert_eq!(board[0].load(SeqCst), 5);
    }

    fn semantics_b10_a_shutdown_that_cancels_ends_all_further_attempts(kind) {
        let pool = pool_of(kind, 2);
        let (board, held) = (Board::new(1), Held::new(1));
        let pending = waiting(&pool, &board);
        let running = pool.submit_with(&with(Retry::new(5)), fails_when_let_go, (board.name(), held.input(0), false)).unwrap();
        wait_until("it runs", || held.times_begun(0) == 1);
        // Workers that have heard of the end wait for the next attempt, and then there is none.
        pool.shutdown(false, false).unwrap();
        std::thread::sleep(ms(50));
        assert_eq!(pending.state(), State::Pending);
        pool.shutdown(false, true).unwrap();
        assert_eq!(pending.result(), Err(Error::Cancelled));
        held.let_go(0);
        assert_eq!(last_words(running.result()), "attempt 0: held");
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 2);
    }

    fn semantics_b10_a_paused_pool_begins_no_attempt(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(1);
        for pause in [150, 300, 600, 1200, 2400, 4800] {
            board[0].store(0, SeqCst);
            let future = pool.submit_with(&with(paused(2, pause)), fails, (board.name(), 1, "no".into())).unwrap();
            until_waiting(&future, &board, 1);
            pool.pause().unwrap();
            // It may have begun before.
            let is_pending = future.state() == State::Pending;
            if is_pending {
                assert_eq!(board[0].load(SeqCst), 1);
                std::thread::sleep(ms(pause + 250));
                assert_eq!((future.state(), board[0].load(SeqCst)), (State::Pending, 1));
            }
            pool.resume().unwrap();
            assert_eq!((future.result(), board[0].load(SeqCst)), (Ok(1), 2));
            if is_pending {
                return;
            }
        }
        panic!("it begins before the pool is paused, each time");
    }

    fn semantics_b10_a_pools_rule_is_for_tasks_without_their_own(kind) {
        let pool = Executor::builder().workers(1).start(kind).task_retry(Retry::new(2)).build().unwrap();
        let board = Board::new(1);
        let input = || (board.name(), 1, "no".to_owned());
        assert_eq!(pool.submit(fails, input()).unwrap().result(), Ok(1));
        assert_eq!(last_words(pool.submit_with(&with(Retry::never()), fails, input()).unwrap().result()), "attempt 0: no");
        let soft = SubmitOptions::new().soft_limit(ms(60_000));
        assert_eq!(pool.submit_with(&soft, fails, input()).unwrap().result(), Ok(1), "beside other options too");
        let mapped: Vec<u64> = pool.map(odd_ones_fail, 0..4).unwrap().map(Result::unwrap).collect();
        assert_eq!(mapped, [0, 2, 2, 4]);
        let chunks = MapOptions::new().chunk(4);
        let chunk: Vec<_> = pool.map_with(&chunks, odd_ones_fail, 0..4).unwrap().collect();
        assert!(chunk[0] == Ok(0) && chunk[1].is_err() && chunk[2] == Ok(2) && chunk[3].is_err(), "{chunk:?}");
        let refused = |options: SubmitOptions| pool.submit_with(&options, square, 3).map(drop);
        let wrong = [Retry::new(0), Retry::new(2).on_codes([32]), Retry::new(2).backoff(ms(2), ms(1))];
        for retry in wrong.clone() {
            assert!(matches!(refused(with(retry)), Err(Error::InvalidArgument { .. })));
        }
        for retry in wrong {
            let kind = if kind == StartMethod::Fork { StartMethod::Spawn } else { kind };
            let built = Executor::builder().workers(1).start(kind).task_retry(retry).build();
            assert!(matches!(built, Err(Error::InvalidArgument { .. })));
        }
        let in_chunks = chunks.submit(with(Retry::new(2)));
        assert!(matches!(pool.map_with(&in_chunks, odd_ones_fail, 0..4).map(drop), Err(Error::InvalidArgument { .. })));
    }

    fn semantics_b10_arguments_stay_for_the_last_attempt_and_nothing_is_left(kind) {
        let name = unique("retry");
        let pool = Executor::builder().workers(2).start(kind).create_named(&name).unwrap();
        let text = "x".repeat(50_000);
        let rule = with(paused(3, 1));
        let all: Vec<_> = (0..20).map(|_| pool.submit_with(&rule, third_time, text.clone()).unwrap()).collect();
        assert!(all.iter().all(|future| future.result().as_ref() == Ok(&text)));
        let failed = pool.submit_with(&with(Retry::new(2)), third_time, text.clone()).unwrap();
        assert_eq!(last_words(failed.result()), text);
        pool.submit_with(&rule, third_time, text.clone()).unwrap().detach();
        let board = Board::new(1);
        let cancelled = pool.submit_with(&an_hour(3), fails, (board.name(), 1, text)).unwrap();
        until_waiting(&cancelled, &board, 1);
        assert!(cancelled.cancel());
        drop((all, failed, cancelled));
        wait_until("every block is back", || inspect(&name).unwrap().blocks == 0);
        let lanes = inspect(&name).unwrap().lanes;
        assert!(lanes.iter().all(|lane| lane.slots == [0; 4]), "{lanes:?}");
    }

    fn semantics_b10_time_limits_begin_anew_with_each_attempt(kind) {
        let pool = pool_of(kind, 1);
        let options = with(Retry::new(3)).soft_limit(ms(700));
        assert_eq!(pool.submit_with(&options, slow, 300).unwrap().result(), Ok(false), "900 ms in all");
        if can_die(kind) {
            let options = with(Retry::new(3)).hard_limit(ms(2000));
            assert_eq!(pool.submit_with(&options, slow, 800).unwrap().result(), Ok(false), "2400 ms in all");
            let options = with(Retry::new(3)).hard_limit(ms(100));
            let killed = pool.submit_with(&options, slow, 60_000).unwrap();
            assert_eq!(killed.result(), Err(Error::TimeLimit { limit: ms(100) }), "it is no error that brings another attempt");
        }
    }

    fn semantics_b10_a_task_that_kills_its_workers_is_given_up_whatever_attempts_are_left(kind) {
        let pool = Executor::builder().workers(1).start(kind).kills_max(2).build().unwrap();
        let board = Board::new(1);
        let options = with(Retry::new(9)).idempotent(true);
        let poison = pool.submit_with(&options, fails_and_kills, board.name()).unwrap();
        assert!(matches!(poison.result(), Err(Error::WorkerLost { .. })));
        assert_eq!(board[0].load(SeqCst), 3, "an error, and two workers");
        let builder = Executor::builder().workers(1).start(if kind == StartMethod::Fork { StartMethod::Spawn } else { kind });
        let patient = builder.kills_max(9).task_retry(Retry::new(4)).build().unwrap();
        let starts = |options: &SubmitOptions| {
            let before = board[0].load(SeqCst);
            let end = patient.submit_with(options, fails_and_kills, board.name()).unwrap().result();
            assert!(matches!(end, Err(Error::WorkerLost { .. })));
            board[0].load(SeqCst) - before
        };
        let may_die = || SubmitOptions::new().idempotent(true);
        assert_eq!(starts(&may_die()), 4, "as often as the pool's rule says, after deaths too");
        assert_eq!([starts(&may_die().retry(Retry::new(3))), starts(&may_die().attempts_max(2))], [3, 2]);
        board[0].store(3, SeqCst);
        let not_again = pool.submit_with(&with(Retry::new(9)), fails_and_kills, board.name()).unwrap();
        assert!(matches!(not_again.result(), Err(Error::WorkerLost { .. })));
        assert_eq!(board[0].load(SeqCst), 5, "a death is none of the failures that a rule is for");
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b10_an_attempt_is_made_though_the_worker_that_failed_was_killed(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(1);
        let future = pool.submit_with(&with(paused(2, 400)), fails, (board.name(), 1, "no".into())).unwrap();
        until_waiting(&future, &board, 1);
        if can_die(kind) {
            pool.worker_pids().into_iter().for_each(kill);
        }
        assert_eq!((future.result(), board[0].load(SeqCst)), (Ok(1), 2));
    }

    fn semantics_b10_an_attempt_is_made_though_all_workers_have_left_meanwhile(kind) {
        let board = Board::new(3);
        let builder = Executor::builder().workers(2).min_workers(0).idle_timeout(ms(20)).start(kind);
        // Which is how long a task may be without a worker that could run it, and here one need not have it before its time.
        let pool = builder.start_timeout(ms(1500)).build().expect("a pool");
        // Longer than that, and than it takes until somebody looks for such tasks twice.
        let future = pool.submit_with(&with(paused(2, 4500)), fails, (board.name(), 1, "at first".into())).unwrap();
        wait_until("the first attempt", || board[1].load(SeqCst) != 0);
        wait_until("nobody is there", || pool.worker_pids().is_empty());
        assert_eq!((future.is_done(), future.result()), (false, Ok(1)));
        let between = Duration::from_nanos(board[2].load(SeqCst) - board[1].load(SeqCst));
        assert!(between >= ms(4500), "{between:?}");
    }

    fn semantics_b10_who_waits_in_a_task_for_another_attempt_begins_it_and_not_before_its_time(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(1);
        for in_a_list in [false, true] {
            let waits = pool.submit(waits_for_one_that_fails, (board.name(), 300, in_a_list)).unwrap();
            let took = waits.result().unwrap();
            assert!((300..20_000).contains(&took), "{took} ms");
            assert_shorter(ms(800), || {
                let start = Instant::now();
                pool.submit(waits_for_one_that_fails, (board.name(), 30, in_a_list)).unwrap().result().unwrap();
                start.elapsed()
            });
        }
    }

    fn semantics_b10_a_closure_is_called_once_whatever_the_pools_rule(_kind) {
        let pool = ThreadPool::build(Executor::builder().workers(1).task_retry(Retry::new(3).on_errors().on_panics())).unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let code = move || {
            counted.fetch_add(1, SeqCst);
            resume_unwind(Box::new("at once".to_owned()));
        };
        assert_eq!(last_words(pool.submit(code).unwrap().result()), "at once");
        let board = Board::new(1);
        let named = pool.executor().submit(fails, (board.name(), 1, "no".into())).unwrap();
        assert_eq!((named.result(), calls.load(SeqCst)), (Ok(1), 1));
    }

    fn semantics_b10_an_attempt_for_one_worker_is_made_by_that_one(kind) {
        let pool = pool_of(kind, 2);
        let (board, held) = (Board::new(1), Held::new(1));
        let busy = held.start(&pool, 0);
        for number in 0..2 {
            let options = with(paused(2, 20)).worker(number);
            let future = pool.submit_with(&options, fails, (board.name(), 1, "no".into())).unwrap();
            if number == 1 {
                held.let_go(0);
            } else if busy.state() == State::Running {
                std::thread::sleep(ms(100));
                held.let_go(0);
            }
            assert_eq!(future.result(), Ok(1));
        }
        assert_eq!(busy.result(), Ok(given(0)));
    }
}
