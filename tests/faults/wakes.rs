//! Rows 1 and 8: a wake dies with its receiver, and somebody else gets it.

use crate::locks::{PATIENCE, catch};
use crate::process_support::common::Board;
use crate::process_support::{Program, Test, kill, unique, wait_until};
use crate::support::{Apart, assert_times, assert_whole, count_once, go_on, look, ready_workers, square, stop, woken_first};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::Executor;

pub const TESTS: &[Test] = &[
    ("fault_01_a_wake_that_died_with_its_worker_is_given_again_by_the_supervisor", given_again_by_the_supervisor),
    ("fault_01_a_wake_that_died_with_its_worker_is_given_again_without_a_supervisor", given_again_without_supervisor),
    ("fault_08_no_waiter_for_a_lock_starves_when_the_one_that_was_woken_is_killed", next_in_line_killed),
];

/// Both workers sleep and are stopped; a task is published, which wakes one of them; that one is killed, and the other let go on. The time from there
/// until the task has run. Nobody waits for the task: a waiting submitter would look after it.
fn one_round(pool: &Executor, workers: &[u32], board: &Board, cell: usize) -> Duration {
    let (woken, other) = woken_first(pool, workers);
    workers.iter().for_each(|&pid| stop(pid));
    pool.submit(count_once, (board.name(), cell as u64)).expect("submitted").detach();
    assert_eq!(board[cell].load(SeqCst), 0);
    let start = Instant::now();
    kill(woken);
    go_on(other);
    wait_until("the task runs", || board[cell].load(SeqCst) != 0);
    assert_eq!(board[cell].load(SeqCst), 1, "once");
    start.elapsed()
}

fn given_again_by_the_supervisor() {
    let board = Board::new(16);
    let pool = Executor::builder().workers(2).capacity(8).create_named(&unique("wakes")).expect("a pool");
    let mut times = Vec::new();
    for round in 0..10 {
        let workers: Vec<u32> = ready_workers(&pool, 2).into_iter().collect();
        times.push(one_round(&pool, &workers, &board, round));
    }
    assert_times("a wake given again by the supervisor", times, Duration::from_millis(100));
}

fn given_again_without_supervisor() {
    let board = Board::new(16);
    let mut times = Vec::new();
    for round in 0..4 {
        let mut apart = Apart::new("wakes", 2, 8);
        apart.owner.kill();
        // Both have noticed that they are alone, and sleep for a whole tick.
        wait_until("the owner is missed", || look(&apart.name).life.contains("orphaned"));
        times.push(one_round(&apart.pool, &apart.workers, &board, round));
        apart.end();
    }
    assert_times("a wake given again without a supervisor", times, Duration::from_millis(1500));
}

/// Two programs wait for the registry's mutex behind a stopped holder. One of them is stopped, so that the wake may go to it, and killed after it.
fn next_in_line_killed() {
    let (mut times, mut patience) = (Vec::new(), PATIENCE);
    let name = unique("in-line");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    for round in 0..6 {
        let mut holder = catch(&name, "participants", &mut patience);
        let mut first = Program::start("attacher", &[&name]);
        first.expect("begins");
        let mut second = Program::start("attacher", &[&name]);
        second.expect("begins");
        let (one, other) = if round % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        wait_until("both wait", || crate::support::count_of(&look(&name), "submitter") == 3);
        std::thread::sleep(Duration::from_millis(30));
        stop(one.pid());
        go_on(holder.pid());
        // It unlocks, and its wake goes to one of the two.
        wait_until("it unlocks", || look(&name).held.iter().all(|&(_, pid)| pid != holder.pid()));
        let start = Instant::now();
        one.kill();
        other.expect("attached");
        times.push(start.elapsed());
        holder.kill();
        other.end();
    }
    assert_whole(&name, &pool, 0);
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    assert_times("the other waiter goes on", times, Duration::from_millis(100));
}
