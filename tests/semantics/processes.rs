//! Section P: pools of processes, as far as one case says it. Every kind of worker keeps the rules that need no process.

use crate::held::{Held, can_die, given, second_pool_of, unwind_with};
use crate::process_support::common::Board;
use crate::process_support::common::{count_in, fail_with, nap, own_pid, square};
use crate::process_support::{LIMIT, kill, pid_alive, thread_count, wait_until};
use crate::support::{is_thread, pool_of};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use taskring::{Cause, Error, Executor, Future, OnWorkerDeath, Stage, StartMethod, State, When, wait};

/// Larger than any pipe's buffer.
const LARGE: u64 = 1 << 17;

/// So many bytes, whose writer does not come to the end.
#[derive(Deserialize)]
struct Unfinished {
    len: u64,
    dies: bool,
}

impl Serialize for Unfinished {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.len as usize))?;
        (0..self.len / 2).try_for_each(|_| seq.serialize_element(&1_u8))?;
        if self.dies {
            kill(std::process::id());
        }
        resume_unwind(Box::new("half of it is written"))
    }
}

taskring::task! {
    fn exits(code: i32) -> u64 { std::process::exit(code) }
    fn faults() -> u64 {
        // SAFETY: a private mapping that nobody else uses.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        // SAFETY: none: the page cannot be written to, and the signal for it is what is wanted.
        unsafe { page.cast::<u8>().write_volatile(1) };
        0
    }
    fn gives_up_half_way(large: Vec<u8>, dies: bool) -> Unfinished { Unfinished { len: large.len() as u64, dies } }
}

/// The row of the shutdown matrix with these arguments: one task runs, twenty wait.
fn shut_down(kind: StartMethod, waits: bool, cancels: bool) {
    let pool = pool_of(kind, 1);
    let (held, board) = (Held::new(1), Board::new(1));
    let running = held.start(&pool, 0);
    let pending: Vec<_> = (0..20).map(|_| pool.submit(count_in, (board.name(), 0)).unwrap()).collect();
    std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| pool.shutdown(waits, cancels).unwrap());
        if cancels {
            wait_until("they are cancelled", || pending.iter().all(|f| f.state() == State::Cancelled));
        }
        if waits {
            wait_until("it takes no more", || matches!(pool.try_submit(square, 1), Err(Error::ShutDown)));
            assert!(!shutdown.is_finished(), "a task runs");
        } else {
            // It comes back though a task runs.
            shutdown.join().unwrap();
        }
        assert_eq!(running.state(), State::Running, "it is not interrupted");
        held.let_go(0);
    });
    if waits {
        assert!(running.is_done() && pending.iter().all(Future::is_done), "nothing is left when it returns");
    }
    assert_eq!(running.result(), Ok(given(0)));
    for (i, future) in pending.iter().enumerate() {
        assert_eq!(future.result(), if cancels { Err(Error::Cancelled) } else { Ok(i as u64) });
    }
    assert_eq!(board[0].load(SeqCst), if cancels { 0 } else { 20 });
}

/// Lets this process use so many CPUs of those that it may use, and its children too. How many there are then.
pub fn keep_cpus(count: usize) -> usize {
    // SAFETY: an all-zero set is a valid one, and the calls read and write the locals.
    unsafe {
        let (mut allowed, mut kept): (libc::cpu_set_t, libc::cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&allowed), &raw mut allowed), 0);
        let all = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &allowed));
        all.take(count).for_each(|cpu| libc::CPU_SET(cpu, &mut kept));
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&kept), &raw const kept), 0);
        libc::CPU_COUNT(&kept) as usize
    }
}

cases! {
    fn semantics_p2_a_number_of_workers_out_of_range_is_refused(kind) {
        for workers in [0, 193, usize::MAX] {
            let refused = Executor::builder().workers(workers).start(kind).build().map(drop).unwrap_err();
            let named = |name: &str, value: &str| name == "workers" && value == workers.to_string();
            assert!(matches!(&refused, Error::InvalidArgument { name, value, .. } if named(name, value)), "{refused:?}");
        }
        assert_eq!(pool_of(kind, 1).submit(square, 3).unwrap().result(), Ok(9));
    }

    fn semantics_p10_errors_of_several_futures_are_apart(kind) {
        let builder = Executor::builder().workers(1).start(kind).on_worker_death(OnWorkerDeath::BreakPool);
        let pool = builder.build().unwrap();
        let failed: Vec<_> = ["a", "b"].map(|text| pool.submit(fail_with, text.into()).unwrap()).into();
        for (future, text) in failed.iter().zip(["a", "b"]) {
            assert_eq!(future.result(), Err(Error::TaskFailed { summary: text.into(), source: None }));
        }
        if can_die(kind) {
            let held = Held::new(1);
            let running = held.start(&pool, 0);
            let pending = pool.submit_bulk(square, 0..10).unwrap();
            kill(running.worker_pid().unwrap());
            let errors: Vec<Error> = pending.into_iter().map(|f| f.result().unwrap_err()).collect();
            // Each can be taken apart without the others.
            assert_eq!(errors.into_iter().filter(|e| matches!(e, Error::Broken { cause, .. } if !cause.is_empty())).count(), 10);
        }
        // A failure that was told before stays what it was.
        assert_eq!(failed[1].result(), Err(Error::TaskFailed { summary: "b".into(), source: None }));
    }

    /// Different from the reference in that `exit` ends the worker, and that only the one task hears of a death.
    fn semantics_p15_a_crash_an_exit_a_panic_and_an_error_are_told_apart(kind) {
        let pool = pool_of(kind, 1);
        if can_die(kind) {
            for (future, wanted) in [
                (pool.submit(faults, ()).unwrap(), Cause::Signal(libc::SIGSEGV)),
                (pool.submit(exits, 3).unwrap(), Cause::Exit(3)),
            ] {
                let lost = future.result().unwrap_err();
                let Error::WorkerLost { pid, cause, stage, .. } = lost else { panic!("{lost:?}") };
                assert_eq!((Some(pid), cause, stage), (future.worker_pid(), wanted, Stage::MayHaveRun));
            }
        }
        let worker = pool.submit(own_pid, ()).unwrap().result();
        let panicked = pool.submit(unwind_with, "so it is".into()).unwrap().result();
        assert!(matches!(&panicked, Err(Error::Panicked { message, .. }) if message.starts_with("so it is")), "{panicked:?}");
        let failed = pool.submit(fail_with, "why".into()).unwrap().result();
        assert_eq!(failed, Err(Error::TaskFailed { summary: "why".into(), source: None }));
        assert_eq!(pool.submit(own_pid, ()).unwrap().result(), worker, "the worker lives");
    }

    fn semantics_p18_a_crash_while_much_is_written_is_an_error_and_no_hang(kind) {
        let pool = pool_of(kind, 1);
        let large = vec![7; LARGE as usize];
        for _ in 0..2 {
            let lost = pool.submit(gives_up_half_way, (large.clone(), can_die(kind))).unwrap().result().map(|r| r.len);
            match lost.unwrap_err() {
                Error::WorkerLost { cause, .. } => assert_eq!(cause, Cause::Signal(libc::SIGKILL)),
                Error::Panicked { message, .. } => assert!(!can_die(kind) && message.starts_with("half"), "{message}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(pool.submit(square, 3).unwrap().result_timeout(LIMIT), Ok(9));
        }
    }

    fn semantics_p20_a_flood_of_submits_ends(kind) {
        let pool = Executor::builder().workers(1).start(kind).capacity(8).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let futures: Vec<_> = (0..100).map(|i| pool.submit(square, i).unwrap()).collect();
                    assert!(futures.iter().zip(0..).all(|(f, i)| f.result_timeout(LIMIT) == Ok(i * i)));
                });
            }
        });
    }

    fn semantics_p25_shutdown_waits_for_what_runs_and_what_is_pending(kind) {
        let pool = pool_of(kind, 2);
        let futures = pool.submit_bulk(nap, [2; 50]).unwrap();
        pool.shutdown(true, false).unwrap();
        assert!(futures.iter().all(|f| f.state() == State::Done && f.result() == Ok(2)));
    }

    fn semantics_p26_shutdown_may_cancel_what_is_pending_and_every_future_is_over(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(2);
        let running = held.start_all(&pool, 0..2);
        let pending = pool.submit_bulk(square, 0..48).unwrap();
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| pool.shutdown(true, true).unwrap());
            // They are told while the others still run.
            assert_eq!(wait(&pending, Some(LIMIT), When::AllCompleted).unwrap().done.len(), 48);
            assert!(!shutdown.is_finished());
            held.let_go(0);
            held.let_go(1);
        });
        assert!(running.iter().all(|f| f.state() == State::Done && f.result().is_ok()));
        assert!(pending.iter().all(|f| f.state() == State::Cancelled), "better than prefetched ones that run");
    }

    fn semantics_p29_dropping_the_pool_lets_everything_end_and_leaves_no_worker(kind) {
        let threads = thread_count(std::process::id());
        let pool = pool_of(kind, 2);
        let pids = pool.worker_pids();
        let futures = pool.submit_bulk(nap, [2; 20]).unwrap();
        drop(pool);
        assert!(futures.iter().all(|f| f.result() == Ok(2)));
        if can_die(kind) {
            wait_until("the processes have ended", || !pids.iter().any(|&pid| pid_alive(pid)));
        }
        wait_until("the threads have ended", || thread_count(std::process::id()) == threads);
    }

    fn semantics_p30_a_scope_waits_at_its_end_and_shutdown_may_be_called_again(kind) {
        let mut futures = Vec::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let pool = pool_of(kind, 1);
            futures = pool.submit_bulk(nap, [2; 10]).unwrap();
            // No `panic!`, whose message takes longer than the case.
            resume_unwind(Box::new("out of the scope"));
        }));
        assert!(panicked.is_err_and(|payload| payload.is::<&str>()), "it goes on to whoever called");
        assert!(futures.iter().all(Future::is_done), "and the scope has waited");
        let pool = second_pool_of(kind, 1);
        let last = pool.submit(square, 3).unwrap();
        for (waits, cancels) in [(false, false), (true, false), (true, true), (false, true), (true, false)] {
            pool.shutdown(waits, cancels).unwrap();
        }
        assert_eq!(last.result(), Ok(9));
    }

    fn semantics_p31_tasks_cancelled_just_before_do_not_hang_the_shutdown(kind) {
        let pool = pool_of(kind, 1);
        let futures: Vec<_> = (0..20)
            .map(|_| {
                let future = pool.submit(nap, 0).unwrap();
                future.cancel();
                future
            })
            .collect();
        pool.shutdown(true, false).unwrap();
        for future in &futures {
            let result = future.result();
            assert_eq!(result.is_ok(), future.state() == State::Done, "{result:?}");
            assert!(result.is_ok() || result == Err(Error::Cancelled));
        }
    }

    fn semantics_p34_only_what_a_worker_has_begun_is_running(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let mut futures = held.start_all(&pool, 0..1);
        futures.extend(pool.submit_bulk(nap, [0; 4]).unwrap());
        let running: Vec<bool> = futures.iter().map(|f| f.state() == State::Running).collect();
        assert_eq!(running, [true, false, false, false, false]);
        let cancelled: Vec<bool> = futures.iter().map(Future::cancel).collect();
        assert_eq!(cancelled, [false, true, true, true, true]);
        held.let_go(0);
        assert_eq!(futures[0].result(), Ok(given(0)));
    }

    fn semantics_p35_the_number_of_cpus_is_that_of_those_allowed(kind) {
        assert_eq!(keep_cpus(1), 1);
        let pool = Executor::builder().start(kind).build().unwrap();
        assert_eq!(pool.workers(), if is_thread(kind) { 5 } else { 1 });
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }

    fn semantics_pm_shutdown_that_waits(kind) {
        shut_down(kind, true, false);
    }
    fn semantics_pm_shutdown_that_waits_and_cancels(kind) {
        shut_down(kind, true, true);
    }
    fn semantics_pm_shutdown_that_does_neither(kind) {
        shut_down(kind, false, false);
    }
    fn semantics_pm_shutdown_that_cancels_and_does_not_wait(kind) {
        shut_down(kind, false, true);
    }
}
