//! Row 40: somebody dies or stands still while a task that failed waits for its next attempt.

use crate::condemned::Word;
use crate::process_support::common::{Board, SOON, wait_until as wait_for};
use crate::process_support::{Program, Role, Test, hear, kill, say, unique, wait_until};
use crate::steps::Led;
use crate::support::{Apart, count_of, go_on, look, own_pid, slots_in_use, square, stop};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, OnWorkerDeath, Orphans, Retry, State, SubmitOptions, TaskError};

taskring::task! {
    /// Fails in its first attempt, and notes who ran each. The text is for a block.
    fn fails_once(board: String, text: String) -> Result<u32, TaskError> {
        let (attempt, me) = (taskring::task::attempt(), std::process::id());
        Board::at(&board)[attempt as usize].store(me.into(), SeqCst);
        if attempt == 0 { Err(TaskError::new(text)) } else { Ok(me) }
    }
    /// The same, in its first attempt not before the gate is open: that is the cell behind.
    fn fails_when_let_go(board: String) -> Result<u32, TaskError> {
        if taskring::task::attempt() == 0 {
            let cells = Board::at(&board);
            cells[0].store(std::process::id().into(), SeqCst);
            wait_for(2 * SOON, || cells[2].load(SeqCst) != 0);
        }
        fails_once.call((board, "x".into()))
    }
    /// Says who runs it and, when the gate is open, that all is well; and fails with a code before it does so for the second time.
    fn well_twice(board: String) -> Result<u32, TaskError> {
        let (attempt, cells) = (taskring::task::attempt(), Board::at(&board));
        cells[attempt as usize].store(std::process::id().into(), SeqCst);
        wait_for(2 * SOON, || cells[3].load(SeqCst) != 0);
        if attempt == 1 { Err(TaskError::new("once").with_code(11)) } else { Ok(attempt) }
    }
}

pub const ROLES: &[Role] = &[("retries", retries), ("leaves a running one", leaves_running)];
pub const TESTS: &[Test] = &[
    ("fault_40_an_attempt_is_made_by_another_when_the_worker_that_failed_is_killed", worker_killed),
    ("fault_40_an_attempt_is_made_in_time_by_another_when_the_worker_that_failed_stands_still", worker_stopped),
    ("fault_40_a_killed_submitters_task_that_waits_for_an_attempt_makes_it", submitter_killed),
    ("fault_40_a_killed_submitters_task_that_waits_for_an_attempt_is_cancelled_where_orphans_are", submitter_killed_cancels),
    (
        "fault_40_a_killed_submitters_running_task_makes_no_further_attempt_where_orphans_are_cancelled",
        submitter_killed_beside,
    ),
    ("fault_40_an_attempt_is_made_though_the_pools_owner_was_killed", owner_killed),
    ("fault_40_a_rule_for_codes_outlives_a_worker_that_is_killed_while_it_stores_a_result", killed_while_it_stores),
    ("fault_40_a_task_that_was_asked_to_stop_makes_no_attempt_for_its_worker_is_killed_before", asked_and_killed),
];

const LONG: Duration = Duration::from_secs(3600);

fn submit(pool: &Executor, board: &str, pause: Duration) -> Future<u32> {
    let retry = Retry::new(2).backoff(pause, pause);
    let options = SubmitOptions::new().retry(retry);
    pool.submit_with(&options, fails_once, (board.to_owned(), "x".repeat(5000))).expect("submitted")
}

/// Until it waits for its next attempt. Who has made the first one.
fn until_waiting(future: &Future<u32>, board: &Board) -> u32 {
    wait_until("it waits", || board[0].load(SeqCst) != 0 && future.state() == State::Pending);
    board[0].load(SeqCst) as u32
}

/// A submitter that waits to be killed.
fn retries(args: &[String]) {
    let [name, board, pause_ms] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let future = submit(&pool, board, Duration::from_millis(pause_ms.parse().expect("a number")));
    wait_until("it waits", || Board::at(board)[0].load(SeqCst) != 0 && future.state() == State::Pending);
    say("waits");
    hear();
}

fn worker_killed() {
    // A death breaks nothing that does not run, and none of the task's attempts is made by who is dead.
    for policy in [OnWorkerDeath::FailTask, OnWorkerDeath::Retry(1)] {
        let pool = Executor::builder().workers(2).on_worker_death(policy).build().expect("a pool");
        let board = Board::new(2);
        let future = submit(&pool, &board.name(), Duration::from_millis(300));
        let first = until_waiting(&future, &board);
        kill(first);
        assert_ne!(future.result().expect("its second attempt"), first);
    }
}

fn worker_stopped() {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    // Both are there.
    let both = pool.broadcast(square, 3).expect("sent");
    assert!(both.iter().all(|future| future.result() == Ok(9)));
    for attempt in 1.. {
        let board = Board::new(2);
        let start = Instant::now();
        let future = submit(&pool, &board.name(), Duration::from_millis(100));
        let first = until_waiting(&future, &board);
        stop(first);
        let second = future.result();
        let took = start.elapsed();
        go_on(first);
        // It may have begun its second attempt before it stood.
        if second.is_ok_and(|second| second != first) && took < Duration::from_millis(700) {
            break;
        }
        assert!(attempt < 20, "not before somebody looks at everything: {took:?}");
    }
}

/// A pool of one worker, and what a submitter has left in it.
fn left_behind(orphans: Orphans, pause_ms: u64) -> (String, Executor, Board) {
    let name = unique("retried");
    let pool = Executor::builder().workers(1).capacity(8).orphans(orphans).create_named(&name).expect("a pool");
    let board = Board::new(2);
    let mut submitter = Program::start("retries", &[&name, &board.name(), &pause_ms.to_string()]);
    submitter.expect("waits");
    assert_eq!((slots_in_use(&look(&name)), look(&name).blocks), (1, 1));
    submitter.kill();
    (name, pool, board)
}

/// A submitter that is killed while its task runs.
fn leaves_running(args: &[String]) {
    let [name, board] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let options = SubmitOptions::new().retry(Retry::new(2));
    let future = pool.submit_with(&options, fails_when_let_go, board.clone()).expect("submitted");
    wait_until("it runs", || Board::at(board)[0].load(SeqCst) != 0);
    say("runs");
    hear();
    drop(future);
}

fn assert_nothing_left(name: &str, pool: &Executor) {
    wait_until("nothing is left", || slots_in_use(&look(name)) == 0 && look(name).blocks == 0);
    let squares = pool.submit_bulk(square, 0..16).expect("submitted");
    assert!(squares.iter().enumerate().all(|(x, future)| future.result() == Ok((x * x) as u64)));
}

fn submitter_killed() {
    let (name, pool, board) = left_behind(Orphans::Run, 1000);
    wait_until("its second attempt", || board[1].load(SeqCst) != 0);
    assert_nothing_left(&name, &pool);
}

fn submitter_killed_cancels() {
    let (name, pool, board) = left_behind(Orphans::CancelPending, LONG.as_millis() as u64);
    assert_nothing_left(&name, &pool);
    assert_eq!(board[1].load(SeqCst), 0);
}

fn owner_killed() {
    let mut apart = Apart::new("retried", 2, 64);
    let board = Board::new(2);
    let future = submit(&apart.pool, &board.name(), Duration::from_millis(700));
    let first = until_waiting(&future, &board);
    apart.owner.kill();
    kill(first);
    let second = future.result().expect("its second attempt");
    assert!(second != first && apart.workers.contains(&second));
    drop(future);
    apart.end();
}

fn submitter_killed_beside() {
    let name = unique("retried");
    let builder = Executor::builder().workers(1).capacity(8).orphans(Orphans::CancelPending);
    let pool = builder.create_named(&name).expect("a pool");
    let board = Board::new(3);
    let mut submitter = Program::start("leaves a running one", &[&name, &board.name()]);
    submitter.expect("runs");
    submitter.kill();
    wait_until("it is settled", || count_of(&look(&name), "submitter") == 0);
    board[2].store(1, SeqCst);
    assert_nothing_left(&name, &pool);
    assert_eq!(board[1].load(SeqCst), 0, "it failed, and was not run again");
}

/// Where a slot has how far its task has come, and how it ended, from its first byte on; and what stands there then. As `src/layout.rs` has them.
const PROGRESS: u64 = 8;
const OUTCOME: u64 = 40;
const SECOND_NOT_BEGUN: u32 = 1 << 16;
const VALUE: u32 = 1;

fn killed_while_it_stores() {
    let apart = Apart::new("retried", 1, 8);
    let board = Board::new(4);
    let options = SubmitOptions::new().idempotent(true).retry(Retry::new(4).on_codes([11]));
    let future = apart.pool.submit_with(&options, well_twice, board.name()).expect("submitted");
    wait_until("it runs", || board[0].load(SeqCst) != 0);
    let (word, worker) = (Word::find(&apart.name), board[0].load(SeqCst) as u32);
    let led = Led::take(worker);
    board[3].store(1, SeqCst);
    let steps = led.until("its result is in the slot", || word.beside(OUTCOME) == VALUE);
    println!("stored after {steps} steps");
    assert_eq!(future.state(), State::Running);
    led.leave_stopped();
    kill(worker);
    assert_eq!(future.result(), Ok(2), "its failure with that code brought another attempt");
}

fn asked_and_killed() {
    let apart = Apart::new("retried", 1, 8);
    let board = Board::new(3);
    let worker = apart.workers[0];
    let options = SubmitOptions::new().retry(Retry::new(3));
    let submit = || apart.pool.submit_with(&options, fails_when_let_go, board.name()).expect("submitted");
    let future = submit();
    wait_until("it runs", || board[0].load(SeqCst) != 0);
    let (word, led) = (Word::find(&apart.name), Led::take(worker));
    board[2].store(1, SeqCst);
    let steps = led.until("its next attempt is noted", || word.beside(PROGRESS) == SECOND_NOT_BEGUN);
    println!("noted after {steps} steps");
    assert_eq!((future.state(), future.cancel()), (State::Running, false));
    led.leave_stopped();
    kill(worker);
    assert_eq!((future.result(), board[1].load(SeqCst)), (Err(Error::Cancelled), 0));
    // And before its first attempt.
    let worker = apart.pool.submit(own_pid, ()).expect("submitted").result().expect("another worker");
    board[0].store(0, SeqCst);
    let led = Led::take(worker);
    let future = submit();
    let steps = led.until("it is claimed", || future.state() == State::Running);
    println!("claimed after {steps} steps");
    assert!(!future.cancel());
    led.leave_stopped();
    kill(worker);
    assert_eq!((future.result(), board[0].load(SeqCst)), (Err(Error::Cancelled), 0));
}
