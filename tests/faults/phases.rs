//! Rows 3 and 5: a worker is stopped at random moments, and killed when it stands with a task in its hands; what is found then must fit what the
//! board has seen of the task. And it is led to the moments that the rows are about, and killed there.

use crate::process_support::common::Board;
use crate::process_support::{Random, Test, kill, unique};
use crate::steps::Led;
use crate::support::{Apart, KILLED, assert_whole, count_once, go_on, nameless, ready_workers, stop, woken_first};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use taskring::{Bytes, Error, Executor, Future, Stage, State, SubmitOptions};

taskring::task! {
    /// Counts itself, and gives a result that takes a while to store.
    fn count_large(board: String, cell: u64) -> Bytes {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        Bytes(vec![cell as u8; LARGE])
    }
}

pub const TESTS: &[Test] = &[
    ("fault_03_a_task_that_was_claimed_and_not_entered_is_run_by_another_worker_once", claimed_not_entered),
    ("fault_05_a_task_that_ran_and_whose_result_was_lost_says_so", ran_result_lost),
];

const LARGE: usize = 1 << 20;
/// Kills at random moments, and at the one that the row is about.
const RANDOM: usize = 20;
const EXACT: usize = 4;
const AT_A_TIME: usize = 64;

/// What a kill with a task in hand came to.
#[derive(Default, Debug)]
struct Found {
    not_entered: usize,
    may_have_run: usize,
    result_lost: usize,
    /// It had given its result before it stood still after all.
    done: usize,
}

/// Stops a worker until it stands with one of the tasks, and kills it. The task that it had, and the worker.
fn catch<R>(workers: &[u32], futures: &[Future<R>], random: &mut Random) -> Option<(usize, u32)> {
    let victim = workers[random.below(workers.len() as u64) as usize];
    while futures.iter().any(|f| matches!(f.state(), State::Pending | State::Running)) {
        std::thread::sleep(Duration::from_micros(random.below(300)));
        stop(victim);
        let held = futures.iter().position(|f| f.state() == State::Running && f.worker_pid() == Some(victim));
        if let Some(held) = held {
            kill(victim);
            return Some((held, victim));
        }
        go_on(victim);
    }
    None
}

/// A task that was noted as started gets its verdict; one that was not is run, as attempt 0, by another worker.
fn judge(found: &mut Found, cell: &AtomicU64, victim: u32, result: Result<u32, Error>) {
    let entered = cell.load(SeqCst);
    match result {
        Ok(pid) if pid == victim => found.done += 1,
        Ok(_) => found.not_entered += 1,
        Err(Error::WorkerLost { pid, cause, stage, .. }) => {
            assert_eq!((pid, cause), (victim, KILLED));
            match stage {
                Stage::MayHaveRun => found.may_have_run += 1,
                _ => found.result_lost += 1,
            }
            assert!(entered == 1 || stage == Stage::MayHaveRun && entered == 0, "{stage:?}, entered {entered:#x}");
            return;
        }
        Err(e) => panic!("{e}"),
    }
    assert_eq!(entered, 1, "entered once, in attempt 0");
}

fn claimed_not_entered() {
    let mut random = Random::new();
    let (name, board) = (unique("claimed"), Board::new(RANDOM * AT_A_TIME));
    let pool = Executor::builder().workers(2).capacity(AT_A_TIME).create_named(&name).expect("a pool");
    let mut found = Found::default();
    // Also a task that may be run again is not in a second attempt then: its function was not entered in the first.
    let again = SubmitOptions::new().idempotent(true);
    for from in (0..RANDOM).map(|round| round * AT_A_TIME) {
        let workers: Vec<u32> = ready_workers(&pool, 2).into_iter().collect();
        let submit = |cell: usize| {
            let args = (board.name(), cell as u64);
            let submitted = if cell.is_multiple_of(8) {
                pool.submit_with(&again, count_once, args)
            } else {
                pool.submit(count_once, args)
            };
            submitted.expect("submitted")
        };
        let futures: Vec<Future<u32>> = (from..from + AT_A_TIME).map(submit).collect();
        let caught = catch(&workers, &futures, &mut random);
        for (index, future) in futures.iter().enumerate() {
            let (cell, result) = (&board[from + index], future.result());
            match caught {
                Some((held, victim)) if held == index => judge_again(&mut found, cell, victim, result, from + index),
                _ => assert!(result.is_ok() && cell.load(SeqCst) == 1, "{result:?}, {:#x}", cell.load(SeqCst)),
            }
        }
    }
    println!("{found:?}");
    assert_whole(&name, &pool, 0);
    drop(pool);
    killed_when_claimed();
}

/// One that may run again has no verdict: it may have been entered in attempt 0, and again in attempt 1.
fn judge_again(found: &mut Found, cell: &AtomicU64, victim: u32, result: Result<u32, Error>, number: usize) {
    let entered = cell.load(SeqCst);
    if number.is_multiple_of(8) && entered >> 32 != 0 {
        assert!(result.is_ok_and(|pid| pid != victim) && entered >> 32 == 1 && entered as u32 <= 1, "entered {entered:#x}");
        found.may_have_run += 1;
        return;
    }
    judge(found, cell, victim, result);
}

fn ran_result_lost() {
    let mut random = Random::new();
    let (name, board) = (unique("result-lost"), Board::new(RANDOM * 8));
    let pool = Executor::builder().workers(2).capacity(8).create_named(&name).expect("a pool");
    let mut found = Found::default();
    for from in (0..RANDOM).map(|round| round * 8) {
        let workers: Vec<u32> = ready_workers(&pool, 2).into_iter().collect();
        let submit = |cell: usize| pool.submit(count_large, (board.name(), cell as u64)).expect("submitted");
        let futures: Vec<Future<Bytes>> = (from..from + 8).map(submit).collect();
        let caught = catch(&workers, &futures, &mut random);
        for (index, future) in futures.iter().enumerate() {
            let cell = from + index;
            // A result is whole or not there.
            let result = future.result().map(|Bytes(bytes)| assert!(bytes == vec![cell as u8; LARGE], "task {cell}"));
            match caught {
                Some((held, victim)) if held == index => judge(&mut found, &board[cell], victim, result.map(|()| 0)),
                _ => assert!(result.is_ok() && board[cell].load(SeqCst) == 1, "{result:?}"),
            }
        }
    }
    println!("{found:?}");
    assert_whole(&name, &pool, 0);
    drop(pool);
    killed_when_returned();
}

/// Its first step after the claim is the last one that the worker makes.
fn killed_when_claimed() {
    let (mut apart, board) = (Apart::new("claimed", 2, 8), Board::new(EXACT));
    let again = SubmitOptions::new().idempotent(true);
    for round in 0..EXACT {
        let workers: Vec<u32> = ready_workers(&apart.pool, 2).into_iter().collect();
        let (first, second) = woken_first(&apart.pool, &workers);
        // Nobody but the first comes for the task.
        stop(second);
        let led = Led::take(first);
        let args = (board.name(), round as u64);
        let submitted = if round % 2 == 0 {
            apart.pool.submit(count_once, args)
        } else {
            apart.pool.submit_with(&again, count_once, args)
        };
        let future = submitted.expect("submitted");
        led.until("the claim", || future.state() != State::Pending);
        led.leave_stopped();
        assert_eq!((future.state(), future.worker_pid()), (State::Running, Some(first)));
        assert_eq!(board[round].load(SeqCst), 0, "not entered");
        kill(first);
        go_on(second);
        assert!(future.result().is_ok_and(|pid| pid != first), "another one runs it");
        assert_eq!(board[round].load(SeqCst), 1, "entered once, in attempt 0");
    }
    assert_whole(&apart.name, &apart.pool, 1);
    drop(apart.pool);
    apart.owner.end();
}

/// The worker has left the function, and is a few steps before its result is there. How many steps there are is counted in a round before; one that
/// takes a few more or less is counted anew.
fn killed_when_returned() {
    const ROUNDS: usize = 6 * EXACT;
    let (mut apart, board) = (Apart::new("returned", 2, 8), Board::new(ROUNDS));
    let (mut counted, mut caught) = (None, 0);
    for cell in 0..ROUNDS {
        let workers: Vec<u32> = ready_workers(&apart.pool, 2).into_iter().collect();
        let (first, second) = woken_first(&apart.pool, &workers);
        stop(second);
        let led = Led::take(first);
        let future = apart.pool.submit(count_once, (board.name(), cell as u64)).expect("submitted");
        led.until("the function", || board[cell].load(SeqCst) == 1);
        let known = counted.take();
        if let Some(steps) = known {
            (0..steps - 2 - caught as u64).for_each(|_| led.step());
        } else {
            counted = Some(led.until("the result", || future.state() == State::Done));
        }
        led.leave_stopped();
        if future.state() == State::Running {
            kill(first);
            let lost = |stage| Err(Error::WorkerLost { pid: first, name: None, cause: KILLED, stage });
            let result = nameless(future.result());
            if result == lost(Stage::RanResultLost) {
                caught += 1;
                counted = known;
            } else {
                assert_eq!(result, lost(Stage::MayHaveRun));
            }
        } else {
            go_on(first);
            assert_eq!(future.result(), Ok(first));
        }
        go_on(second);
        assert_eq!(board[cell].load(SeqCst), 1, "entered once");
        if caught == EXACT {
            break;
        }
    }
    assert_eq!(caught, EXACT, "in {ROUNDS} rounds");
    assert_whole(&apart.name, &apart.pool, 1);
    drop(apart.pool);
    apart.owner.end();
}
