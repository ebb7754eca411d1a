//! Section B: where the reference does otherwise on purpose of ours. Each of these would fail there.

use crate::ending::die;
use crate::held::{Held, can_die, end_own_worker, given};
use crate::process_support::common::{Board, count_in, own_pid, square};
use crate::process_support::{LIMIT, Program, hear, role, say, unique, wait_until};
use crate::support::pool_of;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use taskring::{Cause, Error, Executor, Future, OnWorkerDeath, Stage, StartMethod, State, When, as_completed, wait};

taskring::task! {
    /// Exits: the process, or, in the owner's, the thread alone.
    fn exits(code: i32, owner: u32) {
        if std::process::id() != owner {
            std::process::exit(code);
        }
        // SAFETY: takes an integer. The thread has nothing on its stack that anybody else refers to; what it owns is lost.
        unsafe { libc::syscall(libc::SYS_exit, code) };
    }
    /// Counts in the first of its cells, notes its thread in the one of this attempt, and takes its worker with it in so many of them.
    fn dies(board: String, first: u64, deaths: u32) -> u32 {
        let cells = &Board::at(&board)[first as usize..];
        let attempt = taskring::task::attempt();
        cells[0].fetch_add(1, SeqCst);
        // SAFETY: takes nothing.
        cells[1 + attempt as usize].store(unsafe { libc::gettid() } as u64, SeqCst);
        if attempt < deaths {
            end_own_worker();
        }
        attempt
    }
}

/// What is told of a worker that ended in this way: nobody is told how a thread did.
fn cause_of(kind: StartMethod, cause: Cause) -> Cause {
    if can_die(kind) { cause } else { Cause::Unknown }
}

/// The role of a program that attaches to a pool, and what it is told: the case, the pool, and the first number to square.
const SUBMITTER: &str = "submitter";

fn submitter() {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let [name, from] = &args[..] else { panic!("{args:?}") };
    let from: u64 = from.parse().expect("a number");
    let pool = Executor::attach(name).expect("attached");
    let futures = pool.submit_bulk(square, from..from + 100).expect("submitted");
    say("submitted");
    hear();
    let sum: u64 = as_completed(futures, Some(LIMIT)).map(|f| f.expect("in time").result().expect("a square")).sum();
    say(&sum.to_string());
    hear();
}

cases! {
    fn semantics_b1_futures_cancelled_by_a_shutdown_are_over_for_whoever_waits(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let running = held.start(&pool, 0);
        let pending = pool.submit_bulk(square, 0..20).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&pending[..10], Some(LIMIT), When::AllCompleted).unwrap());
            pool.shutdown(false, true).unwrap();
            assert_eq!(waiter.join().unwrap().done.len(), 10);
        });
        assert_eq!(running.state(), State::Running, "no worker has had a part in it");
        assert_eq!(wait(&pending, Some(LIMIT), When::AllCompleted).unwrap().not_done, []);
        let ends: Vec<_> = as_completed(pending, Some(LIMIT)).map(|f| f.unwrap().result()).collect();
        assert_eq!(ends, vec![Err(Error::Cancelled); 20]);
        held.let_go(0);
        assert_eq!(running.result(), Ok(given(0)));
    }

    fn semantics_b2_what_no_worker_has_begun_can_be_cancelled(kind) {
        let pool = pool_of(kind, 2);
        let (held, board) = (Held::new(2), Board::new(1));
        let running = held.start_all(&pool, 0..2);
        let pending: Vec<_> = (0..8).map(|_| pool.submit(count_in, (board.name(), 0)).unwrap()).collect();
        assert!(pending.iter().all(|f| f.state() == State::Pending), "none is taken ahead of its time");
        assert!(pending.iter().all(Future::cancel), "the next ones, too");
        held.let_go(0);
        held.let_go(1);
        assert!(running.iter().all(|f| f.result().is_ok()));
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 0, "none of them ran");
    }

    fn semantics_b3_a_death_costs_one_task_and_says_why(kind) {
        let pool = pool_of(kind, 2);
        let (held, board) = (Held::new(2), Board::new(2));
        let other = held.start(&pool, 1);
        let victim = pool.submit(die, (board.name(), 0)).unwrap();
        wait_until("it runs", || board[0].load(SeqCst) == 1);
        let pending = pool.submit_bulk(square, 0..20).unwrap();
        let pid = victim.worker_pid().unwrap();
        board[1].store(1, SeqCst);
        let lost = victim.result_timeout(LIMIT).unwrap_err();
        let Error::WorkerLost { pid: found, cause, stage, .. } = lost else { panic!("{lost:?}") };
        assert_eq!((found, cause, stage), (pid, cause_of(kind, Cause::Signal(libc::SIGKILL)), Stage::MayHaveRun));
        assert!(pending.iter().zip(0..).all(|(f, x)| f.result_timeout(LIMIT) == Ok(x * x)), "those that waited");
        assert_eq!(other.state(), State::Running, "the one beside it goes on");
        let later = pool.submit(square, 3).unwrap();
        assert_eq!(later.result_timeout(LIMIT), Ok(9), "new ones are taken, though the other worker is busy");
        held.let_go(1);
        assert_eq!(other.result(), Ok(given(1)));
        assert_eq!(board[0].load(SeqCst), 1, "it was not run again");
    }

    fn semantics_b3_a_task_outlives_as_many_workers_as_the_pool_says_and_all_others_run_once(kind) {
        let builder = Executor::builder().workers(2).start(kind).on_worker_death(OnWorkerDeath::Retry(2)).kills_max(9);
        let pool = builder.build().unwrap();
        let board = Board::new(40);
        let [lives, lost] = [(0, 2), (10, 3)].map(|(first, deaths)| pool.submit(dies, (board.name(), first, deaths)).unwrap());
        let others: Vec<_> = (20..40).map(|cell| pool.submit(count_in, (board.name(), cell)).unwrap()).collect();
        assert_eq!(lives.result_timeout(LIMIT), Ok(2), "the third attempt");
        let lost = lost.result_timeout(LIMIT).unwrap_err();
        let Error::WorkerLost { cause, stage, .. } = lost else { panic!("{lost:?}") };
        assert_eq!((cause, stage), (cause_of(kind, Cause::Signal(libc::SIGKILL)), Stage::MayHaveRun));
        for first in [0, 10] {
            let threads: Vec<u64> = (first + 1..first + 10).map(|cell| board[cell].load(SeqCst)).filter(|&id| id != 0).collect();
            assert_eq!((board[first].load(SeqCst), threads.len()), (3, 3));
            assert_eq!(threads.iter().collect::<BTreeSet<_>>().len(), 3, "each in a worker of its own: {threads:?}");
        }
        assert!(others.iter().all(|f| f.result_timeout(LIMIT).is_ok()));
        pool.shutdown(true, false).unwrap();
        assert!((20..40).all(|cell| board[cell].load(SeqCst) == 1));
    }

    /// The code of a thread is lost.
    fn semantics_b7_a_task_that_exits_has_a_verdict_with_the_code(kind) {
        let pool = pool_of(kind, 1);
        for code in [0, 3] {
            let worker = pool.submit(own_pid, ()).unwrap().result_timeout(LIMIT).unwrap();
            let future = pool.submit(exits, (code, std::process::id())).unwrap();
            let (name, cause) = (Some("taskring-worker_0".to_owned()), cause_of(kind, Cause::Exit(code)));
            let lost = Error::WorkerLost { pid: worker, name, cause, stage: Stage::MayHaveRun };
            assert_eq!(future.result_timeout(LIMIT), Err(lost));
        }
        assert_eq!(pool.submit(square, 3).unwrap().result_timeout(LIMIT), Ok(9));
    }

    fn semantics_b9_any_process_submits_and_collects_its_own(kind) {
        if role().as_deref() == Some(SUBMITTER) {
            return submitter();
        }
        let name = unique("b9");
        let pool = Executor::builder().workers(2).start(kind).create_named(&name).unwrap();
        let own = pool.submit_bulk(square, 0..100).unwrap();
        let case = "semantics_b9_any_process_submits_and_collects_its_own";
        let mut others: Vec<_> = ["1000", "2000"].map(|from| Program::start(SUBMITTER, &[case, &name, from])).into();
        others.iter().for_each(|other| other.expect("submitted"));
        others.iter_mut().for_each(|other| other.tell("collect"));
        let sum = |from: u64| (from..from + 100).map(|x| x * x).sum::<u64>();
        assert_eq!(others[0].numbers(), [sum(1000)]);
        assert_eq!(others[1].numbers(), [sum(2000)]);
        others.iter_mut().for_each(Program::end);
        assert_eq!(own.iter().map(|f| f.result().unwrap()).sum::<u64>(), sum(0));
        wait_until("they have left", || pool.submit(square, 3).unwrap().result() == Ok(9));
    }
}
