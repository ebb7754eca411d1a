//! Row B4 once more: tasks for one worker, by which workers of several processes wait for each other.

use crate::process_support::common::{Board, square};
use crate::process_support::{kill, pid_alive, wait_until};
use crate::support::{is_thread, pool_of};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, Future, StartMethod, TaskError, When, current_pool, wait};

taskring::task! {
    /// Once so many run, each waits in its worker for a task for the next one. 1 when it is told that this would never end.
    fn waits_for_the_next(args: (String, u32, u32)) -> Result<u64, TaskError> {
        let (board, place, workers) = args;
        all_run(&board, u64::from(workers));
        told(current_pool()?.submit_to((place + 1) % workers, square, 3)?.result().map(|nine| assert_eq!(nine, 9)))
    }
    /// The same with a task for each of them.
    fn waits_for_all(args: (String, u32)) -> Result<u64, TaskError> {
        let (board, workers) = args;
        all_run(&board, u64::from(workers));
        let futures = current_pool()?.broadcast(square, 3)?;
        told(wait(&futures, None, When::AllCompleted).map(|ended| assert_eq!(ended.done.len(), workers as usize)))
    }
    /// In worker 0, for a task of worker 1 that waits in its turn for one of worker 0.
    fn waits_for_one_that_waits() -> Result<u64, TaskError> {
        match current_pool()?.submit_to(1, waits_for_worker_0, ())?.result() {
            Err(Error::WouldDeadlock) => Ok(1),
            other => Ok(other?),
        }
    }
    fn waits_for_worker_0() -> Result<u64, TaskError> {
        told(current_pool()?.submit_to(0, square, 3)?.result().map(|_| ()))
    }
    /// As the first, with a limit for the first wait.
    fn waits_for_the_next_a_while(args: (String, u32, u32)) -> Result<u64, TaskError> {
        let (board, place, workers) = args;
        all_run(&board, u64::from(workers));
        let future = current_pool()?.submit_to((place + 1) % workers, square, 3)?;
        match future.result_timeout(Duration::from_millis(20)) {
            Err(Error::TimedOut { .. }) => told(future.result().map(|_| ())),
            other => told(other.map(|_| ())),
        }
    }
    /// Waits for a task for worker 0, and tells who does so.
    fn waits_and_tells(board: String) -> Result<u64, TaskError> {
        let pool = current_pool()?;
        let future = pool.submit_to(0, square, 3)?;
        Board::at(&board)[1].store(u64::from(std::process::id()), SeqCst);
        told(future.result().map(|_| ()))
    }
    /// Once worker 1 was killed in that wait, waits for a task for worker 1.
    fn waits_for_the_killed(board: String) -> Result<u64, TaskError> {
        let board = Board::at(&board);
        wait_until("worker 1 was killed", || board[2].load(SeqCst) != 0);
        told(current_pool()?.submit_to(1, square, 3)?.result().map(|_| ()))
    }
}

/// 1 when a wait was refused because it would never end, 0 when it ended.
fn told(waited: Result<(), Error>) -> Result<u64, TaskError> {
    match waited {
        Err(Error::WouldDeadlock) => Ok(1),
        other => Ok(other.map(|()| 0)?),
    }
}

fn all_run(board: &str, workers: u64) {
    let board = Board::at(board);
    board[0].fetch_add(1, SeqCst);
    wait_until("all of them run", || board[0].load(SeqCst) == workers);
}

/// What each worker's task returns. All of them end, and the pool goes on.
fn of_each(kind: StartMethod, workers: u32, submit: impl Fn(&Executor, String, u32) -> Future<u64>) -> Vec<u64> {
    let (pool, board) = (pool_of(kind, workers as usize), Board::new(3));
    let futures: Vec<_> = (0..workers).map(|place| submit(&pool, board.name(), place)).collect();
    let told = futures.iter().map(|future| future.result().unwrap()).collect();
    assert_eq!(pool.broadcast(square, 5).unwrap().iter().map(|f| f.result().unwrap()).sum::<u64>(), 25 * u64::from(workers));
    told
}

cases! {
    fn semantics_b4_of_workers_that_wait_for_tasks_for_each_other_one_is_told(kind) {
        for workers in [2, 3] {
            let told = of_each(kind, workers, |pool, board, place| {
                pool.submit_to(place, waits_for_the_next, (board, place, workers)).unwrap()
            });
            assert_eq!(told.iter().sum::<u64>(), 1, "of {workers}: {told:?}");
        }
    }

    fn semantics_b4_tasks_that_wait_for_all_workers_all_end(kind) {
        // While two of them wait there is a circle; when all but one are told, none is left.
        let told = of_each(kind, 3, |pool, board, place| pool.submit_to(place, waits_for_all, (board, 3)).unwrap());
        assert!((1..=2).contains(&told.iter().sum::<u64>()), "{told:?}");
    }

    fn semantics_b4_a_circle_by_way_of_a_task_that_runs_is_told_to_one(kind) {
        let pool = pool_of(kind, 2);
        assert_eq!(pool.submit_to(0, waits_for_one_that_waits, ()).unwrap().result(), Ok(1));
    }

    fn semantics_b4_a_wait_with_a_limit_is_in_no_circle(kind) {
        // Before the limit nobody is told. Then each waits on without one, and of these one is.
        let told = of_each(kind, 2, |pool, board, place| {
            pool.submit_to(place, waits_for_the_next_a_while, (board, place, 2)).unwrap()
        });
        assert_eq!(told.iter().sum::<u64>(), 1, "{told:?}");
    }

    fn semantics_b4_who_waits_for_one_that_was_killed_is_not_told(kind) {
        let (pool, board) = (pool_of(kind, 2), Board::new(3));
        if is_thread(kind) {
            // A thread cannot be killed. What is left of the case: without a circle nobody is told.
            assert_eq!(pool.submit_to(0, waits_for_worker_0, ()).unwrap().result(), Ok(0));
            return;
        }
        let other = pool.submit_to(0, waits_for_the_killed, board.name()).unwrap();
        let victim = pool.submit_to(1, waits_and_tells, board.name()).unwrap();
        wait_until("worker 1 is about to wait", || board[1].load(SeqCst) != 0);
        let pid = board[1].load(SeqCst) as u32;
        kill(pid);
        // The signal takes a moment, and until then there is a circle.
        wait_until("it is dead", || !pid_alive(pid));
        board[2].store(1, SeqCst);
        assert_eq!(other.result(), Ok(0), "whoever takes the place of worker 1 runs the task");
        assert!(matches!(victim.result(), Err(Error::WorkerLost { .. })));
    }
}
