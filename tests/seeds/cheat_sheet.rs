//! The cheat sheet as code: what each of its lines means, as a comment, and our line for it.

use crate::process_support::common::{Board, fail_with, hold, nap, own_pid, square};
use crate::process_support::{LIMIT, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::Duration;
use taskring::task::{set_worker_state, worker_state};
use taskring::{Error, Executor, MapOptions, StartMethod, State, TaskError, When, as_completed, wait};

type Outcome = Result<(), Error>;

const SHORT: Duration = Duration::from_millis(1);

taskring::task! {
    /// What an initializer leaves to the tasks of its worker.
    fn init(a1: u64, a2: u64) -> Result<(), TaskError> { Ok(set_worker_state(a1 + a2)?) }
    fn what_init_left() -> Result<u64, TaskError> {
        worker_state::<u64>().map(|sum| *sum).ok_or_else(|| TaskError::new("no initializer has run"))
    }
}

/// Making, and ending.
pub fn pools() -> Outcome {
    // Imports
    use taskring::{Future, TaskSet};
    // Create, default configuration
    let pool = Executor::builder().build()?;
    assert_eq!(pool.submit(square, 3)?.result()?, 9);
    // Number of workers
    let pool_of_3 = Executor::builder().workers(3).build()?;
    assert_eq!(pool_of_3.workers(), 3);
    // How workers are started
    let spawned = Executor::builder().workers(1).start(StartMethod::Spawn).build()?;
    assert_ne!(spawned.submit(own_pid, ())?.result()?, std::process::id());
    // What each worker does first, with arguments
    let initialized = Executor::builder().workers(2).initializer(init, (40, 2)).build()?;
    assert_eq!(initialized.submit(what_init_left, ())?.result()?, 42);
    // Shut down and wait, cancelling nothing
    let future: Future<u64> = pool.submit(square, 4)?;
    pool.shutdown(true, false)?;
    assert_eq!(future.result_timeout(Duration::ZERO)?, 16);
    assert_eq!(pool.submit(square, 5).err(), Some(Error::ShutDown));
    // Shut down without waiting, cancelling nothing
    let future = spawned.submit(square, 6)?;
    spawned.shutdown(false, false)?;
    assert_eq!(future.result()?, 36);

    let board = Board::new(2);
    let held = (0..3).map(|_| pool_of_3.submit(hold, (board.name(), 0))).collect::<Result<Vec<_>, _>>()?;
    wait_until("they run", || board[0].load(SeqCst) == 3);
    let pending = pool_of_3.submit(square, 7)?;
    // Shut down without waiting, cancelling what is pending
    pool_of_3.shutdown(false, true)?;
    assert_eq!(pending.result(), Err(Error::Cancelled));
    board[1].store(1, SeqCst);
    // Shut down and wait, cancelling what is pending
    pool_of_3.shutdown(true, true)?;
    assert!(held.iter().all(|future| future.result_timeout(Duration::ZERO) == Ok(0)));

    // A scope that shuts the pool down
    let future = {
        let pool = Executor::builder().workers(1).build()?;
        pool.submit(square, 8)?
    };
    assert_eq!(future.result_timeout(Duration::ZERO)?, 64);
    // Not on the sheet: only a part of the work is stopped
    let pool = Executor::builder().workers(1).build()?;
    let set: TaskSet = pool.task_set()?;
    assert_eq!(set.discard()?.cancelled, 0);
    assert_eq!(set.submit(square, 1).err(), Some(Error::Discarded));
    Ok(())
}

/// Submitting, mapping, and waiting for many.
pub fn tasks() -> Outcome {
    let pool = Executor::builder().workers(2).build()?;
    // Issue one task
    let future = pool.submit(own_pid, ())?;
    assert!(pool.worker_pids().contains(&future.result()?));
    // Issue one task with arguments
    let future = pool.submit(nap, 0)?;
    assert_eq!(future.result()?, 0);
    // Issue many tasks, keep their futures
    let futures = pool.submit_bulk(square, 0..5)?;
    assert_eq!(futures.len(), 5);
    // Issue many tasks, results in order
    for (x, result) in (0..10).zip(pool.map(square, 0..10)?) {
        assert_eq!(result?, x * x);
    }
    // Issue many tasks, results within a time
    let board = Board::new(2);
    let limited = MapOptions::new().timeout(Duration::from_millis(50));
    let mut results = pool.map_with(&limited, hold, (0..10).map(|_| (board.name(), 0)))?;
    assert!(matches!(results.next(), Some(Err(Error::TimedOut { .. }))));
    board[1].store(1, SeqCst);
    // Issue many tasks in chunks
    let squares = pool.map_with(&MapOptions::new().chunk(10), square, 0..10)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(squares, (0..10).map(|x| x * x).collect::<Vec<_>>());
    // Wait for all
    assert_eq!(wait(&futures, None, When::AllCompleted)?.not_done, []);
    // Wait with a time
    let board = Board::new(2);
    let mixed = [pool.submit(hold, (board.name(), 0))?, pool.submit(square, 2)?, pool.submit(fail_with, "no".to_owned())?];
    wait_until("it runs", || board[0].load(SeqCst) == 1);
    assert_eq!(wait(&mixed[..1], Some(SHORT), When::AllCompleted)?.not_done, [0]);
    // Wait for the first
    assert!(!wait(&mixed, None, When::FirstCompleted)?.done.is_empty());
    // Wait for the first that fails
    assert!(wait(&mixed, None, When::FirstException)?.done.contains(&2));
    board[1].store(1, SeqCst);
    // Futures as they end
    for future in as_completed(mixed, None) {
        assert!(future?.is_done());
    }
    Ok(())
}

/// A task and its end.
pub fn futures() -> Outcome {
    let pool = Executor::builder().workers(1).build()?;
    let board = Board::new(2);
    let future = pool.submit(square, 3)?;
    // Get the result
    let result = future.result();
    assert_eq!(result, Ok(9));
    // Get the result, or what went wrong
    let failed = pool.submit(fail_with, "a reason".to_owned())?;
    match failed.result() {
        Ok(_) => panic!("it fails"),
        Err(e) => assert_eq!(e, Error::TaskFailed { summary: "a reason".to_owned(), source: None }),
    }
    // Get the result within a time
    let running = pool.submit(hold, (board.name(), 0))?;
    assert!(matches!(running.result_timeout(SHORT), Err(Error::TimedOut { .. })));
    // Get what went wrong
    assert_eq!(failed.exception(None)?, Some(Error::TaskFailed { summary: "a reason".to_owned(), source: None }));
    assert_eq!(future.exception(None)?, None);
    // Get what went wrong within a time
    assert!(matches!(running.exception(Some(SHORT)), Err(Error::TimedOut { .. })));
    assert_eq!(future.exception(Some(LIMIT))?, None);
    // Is it running?
    wait_until("it runs", || running.state() == State::Running);
    // Is it over?
    assert!(future.is_done() && !running.is_done());
    // Cancel: one that runs is asked to stop, one that does not never will
    let pending = pool.submit(square, 4)?;
    assert!(!running.cancel());
    assert!(pending.cancel());
    // Is it cancelled?
    assert!(pending.state() == State::Cancelled && running.state() == State::Running);
    // Have a function called when the task is over
    let (tell, told) = mpsc::channel();
    running.on_done(move |future| tell.send(future.result()).expect("somebody listens"))?;
    assert!(told.try_recv().is_err(), "it still runs");
    board[1].store(1, SeqCst);
    assert_eq!(told.recv_timeout(LIMIT).expect("it is called"), Ok(0));
    assert_eq!(running.result(), Ok(0));
    Ok(())
}
