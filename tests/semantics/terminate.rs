//! Ending a pool's workers, at once or at a time limit: the rows P7 and P32.

use crate::ending::{Busy, PENDING};
use crate::process_support::common::{Board, hold, square};
use crate::process_support::{pid_alive, signal, unique, wait_until};
use crate::support::{is_thread, pool_of};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Cause, Ending, Error, Executor, Future, OnWorkerDeath, Stage, StartMethod, State};

taskring::task! {
    /// Keeps its worker for good: no SIGTERM ends it.
    fn stay(board: String, cell: u64) -> u64 {
        // SAFETY: a handler that is none is safe.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        let cells = Board::at(&board);
        cells[cell as usize].fetch_add(1, SeqCst);
        wait_until("the order to go on", || cells[cell as usize + 1].load(SeqCst) != 0);
        cell
    }
    /// An initializer.
    fn fail() -> Result<(), taskring::TaskError> { Err(taskring::TaskError::new("no table anywhere")) }
}

/// What ends the workers of a pool.
type End = fn(&Executor) -> Result<(), Error>;

/// Both ways, and the signal of each.
const ENDS: [(End, i32); 2] = [(Executor::terminate_workers, libc::SIGTERM), (Executor::kill_workers, libc::SIGKILL)];

/// Threads cannot be ended: then this says so, and that the pool goes on.
fn is_refused(busy: &Busy, end: End) -> bool {
    let ended = end(&busy.pool);
    let refused = matches!(ended, Err(Error::Unsupported { .. }));
    assert!(refused || ended == Ok(()), "{ended:?}");
    if refused {
        busy.let_go();
        assert!(busy.running.iter().chain(&busy.pending).all(|f| f.result().is_ok()), "nothing was changed");
        assert_eq!(busy.pool.submit(square, 3).map(|f| f.result()), Ok(Ok(9)));
    }
    refused
}

/// Everything has ended as it must when the workers die of a signal.
fn check_ended(busy: &Busy, pids: &[u32], by: i32) {
    assert!(busy.pending.iter().all(|f| f.result() == Err(Error::Cancelled)));
    for future in &busy.running {
        match future.result() {
            Err(Error::WorkerLost { pid, cause, stage: Stage::MayHaveRun, .. }) => {
                assert!(pids.contains(&pid) && cause == Cause::Signal(by), "{pid} {cause}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(busy.pool.submit(square, 1).map(|_| ()), Err(Error::ShutDown));
    busy.pool.shutdown(true, false).expect("it comes back");
    assert!(!pids.iter().any(|&pid| pid_alive(pid)));
    assert_eq!(busy.board[PENDING].load(SeqCst), 0);
}

fn workers_die(kind: StartMethod, (end, by): (End, i32), stopped: bool) {
    let busy = Busy::new(pool_of(kind, 2));
    let pids = [busy.worker_of(0), busy.worker_of(1)];
    if stopped && !is_thread(kind) {
        signal(pids[0], libc::SIGSTOP);
    }
    std::thread::scope(|scope| {
        // Whoever waits is told, of the cancelled and of the lost ones.
        let waits = busy.pending.iter().chain(&busy.running).map(|future| scope.spawn(|| future.result()));
        let waits: Vec<_> = waits.collect();
        if is_refused(&busy, end) {
            return;
        }
        assert!(waits.into_iter().all(|wait| wait.join().expect("no panic").is_err()));
        check_ended(&busy, &pids, by);
    });
}

fn running_again(kind: StartMethod, end: End) {
    let builder = Executor::builder().workers(2).start(kind).on_worker_death(OnWorkerDeath::Retry(5)).kills_max(9);
    let busy = Busy::new(builder.build().expect("a pool"));
    if is_refused(&busy, end) {
        return;
    }
    // Given back by the dead, and cancelled then.
    for future in busy.running.iter().chain(&busy.pending) {
        assert_eq!(future.result(), Err(Error::Cancelled));
    }
    busy.pool.shutdown(true, false).expect("it comes back");
    assert_eq!([0, 2, PENDING].map(|cell| busy.board[cell].load(SeqCst)), [1, 1, 0], "nothing has begun again");
}

cases! {
    fn semantics_p7_the_message_of_a_lost_task_says_what_became_of_it(kind) {
        let text = |future: &Future<u64>| future.result().unwrap_err().to_string();
        let builder = || Executor::builder().workers(2).start(kind);
        let broken = builder().initializer(fail, ()).build().expect("a pool");
        let lost = broken.submit(square, 3).and_then(|future| future.result()).unwrap_err().to_string();
        assert!(lost.starts_with("the pool is broken: ") && lost.contains("no table anywhere"), "{lost}");
        drop(broken);
        if is_thread(kind) {
            return;
        }
        // In a process that has other threads by now there is no fork.
        let method = if kind == StartMethod::Fork { StartMethod::Spawn } else { kind };
        let busy = Busy::new(Executor::builder().workers(2).start(method).build().expect("a pool"));
        let pids = [busy.worker_of(0), busy.worker_of(1)];
        busy.pool.kill_workers().expect("ended");
        for (future, pid) in busy.running.iter().zip(pids) {
            let text = text(future);
            assert!(text.contains(&format!("(process {pid}) died")) && text.contains("signal 9"), "{text}");
        }
        assert!(busy.pending.iter().all(|future| text(future) == "the task was cancelled"));
        assert!(busy.pool.submit(square, 3).unwrap_err().to_string().contains("shut down"));
    }

    fn semantics_p32_terminate_ends_the_workers_by_sigterm_and_cancels(kind) {
        workers_die(kind, ENDS[0], false);
    }

    fn semantics_p32_kill_ends_the_workers_by_sigkill_and_cancels(kind) {
        workers_die(kind, ENDS[1], false);
    }

    fn semantics_p32_terminate_ends_a_stopped_worker_too(kind) {
        workers_die(kind, ENDS[0], true);
    }

    fn semantics_p32_kill_ends_a_stopped_worker_too(kind) {
        workers_die(kind, ENDS[1], true);
    }

    fn semantics_p32_terminate_lets_nothing_run_again(kind) {
        running_again(kind, Executor::terminate_workers);
    }

    fn semantics_p32_kill_lets_nothing_run_again(kind) {
        running_again(kind, Executor::kill_workers);
    }

    fn semantics_p32_workers_that_are_being_started_are_ended_and_the_call_may_be_repeated(kind) {
        let pool = pool_of(kind, 3);
        if is_thread(kind) {
            assert!(matches!(pool.terminate_workers(), Err(Error::Unsupported { .. })));
            return;
        }
        let future = pool.submit(square, 2).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || ENDS[thread % 2].0(pool).expect("ended"));
            }
        });
        pool.shutdown(true, false).unwrap();
        assert!(future.is_done(), "{:?}", future.state());
        assert_eq!(pool.worker_pids(), [0; 0]);
        for (end, _) in ENDS {
            end(&pool).expect("nobody is left to end");
        }
        assert_eq!(pool.submit(square, 1).map(|_| ()), Err(Error::ShutDown));
    }

    fn semantics_p32_a_broken_pool_may_be_ended(kind) {
        let builder = Executor::builder().workers(2).start(kind).on_worker_death(OnWorkerDeath::BreakPool);
        let busy = Busy::new(builder.build().expect("a pool"));
        if is_thread(kind) {
            assert!(is_refused(&busy, Executor::kill_workers));
            return;
        }
        signal(busy.worker_of(0), libc::SIGKILL);
        assert!(matches!(busy.pending[0].result(), Err(Error::Broken { .. })));
        assert_eq!(busy.running[1].state(), State::Running);
        busy.pool.kill_workers().expect("ended");
        assert!(matches!(busy.running[1].result(), Err(Error::WorkerLost { .. })));
        busy.pool.shutdown(true, false).unwrap();
        busy.pool.terminate_workers().expect("nobody is left to end");
    }

    fn semantics_p32_a_worker_that_ignores_sigterm_finishes_its_task_unless_it_is_killed(kind) {
        let pool = pool_of(kind, 2);
        if is_thread(kind) {
            assert!(matches!(pool.kill_workers(), Err(Error::Unsupported { .. })));
            return;
        }
        let board = Board::new(4);
        let stays = [0, 2].map(|cell| pool.submit(stay, (board.name(), cell)).unwrap());
        wait_until("both run", || board[0].load(SeqCst) + board[2].load(SeqCst) == 2);
        let pending = pool.submit(square, 1).unwrap();
        pool.terminate_workers().unwrap();
        assert_eq!(pending.result(), Err(Error::Cancelled));
        board[1].store(1, SeqCst);
        assert_eq!(stays[0].result(), Ok(0));
        assert_eq!(stays[1].state(), State::Running);
        pool.kill_workers().unwrap();
        assert!(matches!(stays[1].result(), Err(Error::WorkerLost { cause: Cause::Signal(libc::SIGKILL), .. })));
        pool.shutdown(true, false).unwrap();
    }

    fn semantics_p32_a_submitter_that_is_not_the_owner_ends_its_own_part(kind) {
        let name = unique("ending");
        let owner = Executor::builder().workers(1).start(kind).create_named(&name).expect("a pool");
        let guest = Executor::attach(&name).expect("attached");
        let board = Board::new(2);
        let running = guest.submit(hold, (board.name(), 0)).unwrap();
        wait_until("it runs", || board[0].load(SeqCst) == 1);
        let (pending, others) = (guest.submit(square, 1).unwrap(), owner.submit(square, 4).unwrap());
        guest.kill_workers().unwrap();
        assert_eq!(pending.result(), Err(Error::Cancelled));
        assert_eq!(guest.submit(square, 1).map(|_| ()), Err(Error::ShutDown));
        let late = guest.shutdown_within(Duration::from_millis(1));
        assert!(matches!(late, Err(Error::TimedOut { .. })), "it cannot end what runs: {late:?}");
        board[1].store(1, SeqCst);
        assert_eq!((running.result(), others.result()), (Ok(0), Ok(16)));
        assert_eq!(guest.shutdown_within(Duration::MAX), Ok(Ending::default()));
        assert_eq!(owner.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_p32_a_shutdown_with_a_limit_that_is_kept_ends_nothing(kind) {
        let busy = Busy::new(pool_of(kind, 1));
        busy.let_go();
        assert_eq!(busy.pool.shutdown_within(Duration::MAX), Ok(Ending::default()));
        assert!(busy.running.iter().chain(&busy.pending).all(|f| f.is_done() && f.result().is_ok()));
        assert_eq!(busy.pool.shutdown_within(Duration::ZERO), Ok(Ending::default()), "and again");
    }

    fn semantics_p32_a_shutdown_with_a_limit_that_is_not_kept_cancels_and_kills(kind) {
        let busy = Busy::new(pool_of(kind, 2));
        let pids = [busy.worker_of(0), busy.worker_of(1)];
        let ending = busy.pool.shutdown_within(Duration::from_millis(20));
        if is_thread(kind) {
            assert!(matches!(ending, Err(Error::TimedOut { .. })), "{ending:?}");
            assert!(busy.pending.iter().all(|f| f.result() == Err(Error::Cancelled)));
            busy.let_go();
            assert_eq!(busy.pool.shutdown_within(Duration::MAX), Ok(Ending::default()));
            assert!(busy.running.iter().all(|f| f.result().is_ok()));
            return;
        }
        let ending = ending.expect("ended");
        assert_eq!((ending.cancelled, ending.killed), (10, 2));
        check_ended(&busy, &pids, libc::SIGKILL);
    }
}
