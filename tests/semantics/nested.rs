//! Rows B4 and P36: tasks that submit to their own pool and wait for what they submitted.

use crate::process_support::common::{Board, square};
use crate::process_support::{kill, wait_until};
use crate::support::{is_thread, pool_of};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use taskring::{
    Error, Executor, Future, MapOptions, StartMethod, SubmitOptions, TaskError, When, as_completed, current_pool, wait,
};

taskring::task! {
    fn fibonacci(n: u64) -> Result<u64, TaskError> {
        if n < 2 {
            return Ok(n);
        }
        let pool = current_pool()?;
        let (a, b) = (pool.submit(fibonacci, n - 1)?, pool.submit(fibonacci, n - 2)?);
        Ok(a.result()? + b.result()?)
    }
    /// The tasks below it wait for it one by one.
    fn depth(n: u64) -> Result<u64, TaskError> {
        if n == 0 { Ok(0) } else { Ok(1 + current_pool()?.submit(depth, n - 1)?.result()?) }
    }
    /// Waits in every way there is for tasks that nobody but its own worker could run.
    fn every_wait() -> Result<u64, TaskError> {
        let pool = current_pool()?;
        let submit = || pool.submit_bulk(square, 1..4);
        let futures = submit()?;
        let waited = wait(&futures, None, When::AllCompleted)?;
        let mut sum = waited.done.len() as u64;
        sum += 10 * wait(&submit()?, None, When::FirstCompleted)?.done.len() as u64;
        for future in as_completed(submit()?, None) {
            sum += 100 * future?.result()?;
        }
        for result in pool.map(square, 1..4)? {
            sum += 10_000 * result?;
        }
        for result in pool.map_with(&MapOptions::new().ordered(false), square, 1..4)? {
            sum += 1_000_000 * result?;
        }
        let set = pool.task_set()?;
        sum += 100_000_000 * set.submit(square, 2)?.result()?;
        Ok(sum)
    }
    /// Submits more than the ring has room for before it waits for any.
    fn overfill(tasks: u64) -> Result<u64, TaskError> {
        let pool = current_pool()?;
        let futures = (0..tasks).map(|x| pool.submit(square, x)).collect::<Result<Vec<_>, _>>()?;
        Ok(futures.iter().map(Future::result).sum::<Result<u64, Error>>()?)
    }
    /// With a limit it waits itself, and helps nobody.
    fn impatient() -> Result<bool, TaskError> {
        let future = current_pool()?.submit(square, 3)?;
        let timed_out = matches!(future.result_timeout(Duration::from_millis(5)), Err(Error::TimedOut { .. }));
        Ok(timed_out && future.result()? == 9)
    }
    fn pid_of_a_nested_one() -> Result<(u32, u32), TaskError> {
        let inner = current_pool()?.submit(crate::process_support::common::own_pid, ())?;
        Ok((std::process::id(), inner.result()?))
    }
    /// On top of another task it waits to be killed; in a second attempt it does not.
    fn killed(board: String) -> u64 {
        let cells = Board::at(&board);
        if cells[0].fetch_add(1, SeqCst) == 0 {
            cells[1].store(u64::from(std::process::id()), SeqCst);
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        7
    }
    fn waits_for_the_killed(board: String) -> Result<u64, TaskError> {
        let options = SubmitOptions::new().idempotent(true);
        Ok(current_pool()?.submit_with(&options, killed, board)?.result()?)
    }
    /// Waits for the task whose future lies at this place. 1 when it is told that it would wait for ever.
    fn waits_for(place: u64) -> Result<u64, TaskError> {
        wait_until("every task of the circle runs", || PLACED.load(SeqCst));
        let future = CIRCLE.lock().unwrap()[place as usize].take().expect("it is there");
        match future.result() {
            Err(Error::WouldDeadlock) => {
                TOLD.fetch_add(1, SeqCst);
                Ok(1)
            }
            other => Ok(other? + 1),
        }
    }
    fn says_where() -> Result<String, TaskError> { Ok(current_pool()?.capacity().to_string()) }
}

/// Futures that tasks in threads wait for, once all are there; and how many of the tasks were told that they would wait for ever.
static CIRCLE: Mutex<Vec<Option<Future<u64>>>> = Mutex::new(Vec::new());
static PLACED: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicU32 = AtomicU32::new(0);

fn small_pool(kind: StartMethod, workers: usize, capacity: usize) -> Executor {
    Executor::builder().workers(workers).start(kind).capacity(capacity).build().expect("a pool")
}

/// So many tasks in as many threads, each of which waits for the next one: one is told, and then all of them end.
fn circle(tasks: u64) {
    // That others might come changes nothing: who is waited for has begun.
    let builder = Executor::builder().workers(tasks as usize).replacements(2).start(StartMethod::Thread);
    let pool = builder.build().expect("a pool");
    let mut futures: Vec<_> = (0..tasks).map(|place| Some(pool.submit(waits_for, place).unwrap())).collect();
    futures.rotate_left(1);
    *CIRCLE.lock().unwrap() = futures;
    PLACED.store(true, SeqCst);
    pool.shutdown(true, false).unwrap();
    assert_eq!(TOLD.load(SeqCst), 1);
}

cases! {
    fn semantics_b4_one_worker_is_enough_for_tasks_that_wait_for_tasks(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(fibonacci, 9).unwrap().result(), Ok(34));
        let (outer, inner) = pool.submit(pid_of_a_nested_one, ()).unwrap().result().unwrap();
        assert_eq!(outer, inner, "the waiting task's own worker runs it");
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25), "and goes on");
    }

    fn semantics_b4_several_workers_wait_for_each_other_s_tasks(kind) {
        let pool = pool_of(kind, 3);
        let futures = pool.submit_bulk(fibonacci, [10, 11, 12, 9, 8, 7]).unwrap();
        let found: Vec<u64> = futures.iter().map(|f| f.result().unwrap()).collect();
        assert_eq!(found, [55, 89, 144, 34, 21, 13]);
    }

    fn semantics_b4_every_way_to_wait_helps(kind) {
        let pool = pool_of(kind, 1);
        let found = pool.submit(every_wait, ()).unwrap().result().unwrap();
        let firsts = found / 10 % 10;
        assert!((1..=3).contains(&firsts), "{found}");
        assert_eq!(found - 10 * firsts, 4 * 100_000_000 + 14 * 1_010_000 + 14 * 100 + 3);
    }

    fn semantics_b4_a_submit_to_a_full_ring_helps(kind) {
        let pool = small_pool(kind, 1, 16);
        assert_eq!(pool.submit(overfill, 100).unwrap().result(), Ok((0..100).map(|x| x * x).sum()));
    }

    fn semantics_b4_a_ring_full_of_tasks_that_wait_for_each_other_is_told(kind) {
        // Every slot of the worker's lane holds a task of its own stack: there will be no room.
        let pool = small_pool(kind, 1, 16);
        match pool.submit(depth, 30).unwrap().result() {
            Err(Error::TaskFailed { summary: message, .. }) => assert!(message.contains("could never end"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.submit(depth, 5).unwrap().result(), Ok(5));
    }

    fn semantics_b4_a_wait_with_a_limit_keeps_to_it(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(impatient, ()).unwrap().result(), Ok(true));
    }

    fn semantics_b4_what_lies_too_deep_is_refused_and_nothing_hangs(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(depth, 64).unwrap().result(), Ok(64));
        match pool.submit(depth, 66).unwrap().result() {
            Err(Error::TaskFailed { summary: message, .. }) => assert!(message.contains("the limit is 64"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b4_a_circle_of_two_is_told_to_one(kind) {
        // Futures belong to one process: only its threads can wait in a circle. The pool of the kind is there to be none of it.
        let pool = pool_of(kind, 1);
        circle(2);
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b4_a_circle_of_three_is_told_to_one(kind) {
        let pool = pool_of(kind, 1);
        circle(3);
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b4_a_worker_killed_with_a_task_on_top_of_another_loses_both(kind) {
        let pool = pool_of(kind, 1);
        if is_thread(kind) {
            // A thread cannot be killed. What is left of the case: it still runs what comes.
            assert_eq!(pool.submit(fibonacci, 5).unwrap().result(), Ok(5));
            return;
        }
        let board = Board::new(2);
        let outer = pool.submit(waits_for_the_killed, board.name()).unwrap();
        wait_until("the inner task runs", || board[1].load(SeqCst) != 0);
        assert_eq!(outer.worker_pid(), Some(board[1].load(SeqCst) as u32), "one process runs both");
        kill(board[1].load(SeqCst) as u32);
        assert!(matches!(outer.result(), Err(Error::WorkerLost { .. })));
        // The inner one may run again: whoever had submitted it is gone, and the policy for orphans is to run them.
        wait_until("the inner task's second attempt", || board[0].load(SeqCst) == 2);
        assert_eq!(pool.submit(fibonacci, 7).unwrap().result(), Ok(13));
    }

    fn semantics_p36_a_task_reaches_the_pool_that_runs_it_and_nobody_else_does(kind) {
        let pool = small_pool(kind, 1, 32);
        assert_eq!(pool.submit(says_where, ()).unwrap().result(), Ok("32".into()));
        assert!(matches!(current_pool(), Err(Error::Unsupported { .. })));
    }
}
