//! Sections T and L: what is said of pools of threads and of `multiprocessing.Pool`, as far as an executor keeps it. Processes keep it, too.

use crate::held::{can_die, second_pool_of};
use crate::process_support::common::{Board, fail_with, hold, own_pid, square};
use crate::process_support::{children_of, fd_count, thread_count, wait_until};
use crate::processes::keep_cpus;
use crate::support::{is_thread, pool_of};
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    /// Panics with something that is no text.
    fn panic_without_text() -> u64 { resume_unwind(Box::new(17_u8)) }
    fn named_in_the_backtrace(x: u64) -> u64 { 10 / x }
    /// Forks. The child comes back from the task like its parent, or makes a pool of its own. How the child ended.
    fn fork_inside(comes_back: bool) -> i32 {
        // SAFETY: the child only does what this case is about: it comes back to the library, or uses it, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the call takes an integer. The alarm of a parent is not that of its child.
            unsafe { libc::alarm(20) };
            if comes_back {
                return -1;
            }
            let made = Executor::builder().workers(1).start(StartMethod::Thread).build();
            let worked = made.and_then(|pool| pool.submit(square, 3)?.result());
            // SAFETY: the call takes an integer.
            unsafe { libc::_exit(if worked == Ok(9) { 7 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: the call writes an integer to the local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -status }
    }
    /// Runs a program.
    fn has_a_child(code: i32) -> i32 {
        let status = std::process::Command::new("/bin/sh").args(["-c", &format!("exit {code}")]).status();
        status.expect("a shell").code().expect("it exits")
    }
}

cases! {
    fn semantics_t4_whatever_a_task_panics_with_is_kept_and_the_worker_lives(kind) {
        let pool = pool_of(kind, 1);
        let worker = pool.submit(own_pid, ()).unwrap().result();
        for _ in 0..3 {
            let future = pool.submit(panic_without_text, ()).unwrap();
            let first = future.result();
            assert!(matches!(&first, Err(Error::Panicked { message, .. }) if !message.is_empty()), "{first:?}");
            assert_eq!(future.result(), first, "asked again");
        }
        assert_eq!(pool.submit(own_pid, ()).unwrap().result(), worker);
        assert_eq!(pool.worker_pids().len(), 1);
    }

    fn semantics_t1_the_default_number_of_threads_is_that_of_the_cpus_and_4(kind) {
        for allowed in [2, 1] {
            let cpus = keep_cpus(allowed);
            assert!(allowed == 2 || cpus == 1);
            let wanted = if is_thread(kind) { cpus + 4 } else { cpus };
            let pool = Executor::builder().start(kind).build().expect("a pool");
            assert_eq!(pool.workers(), wanted);
            // All of them are there, and no more.
            let board = Board::new(2);
            let held = pool.submit_bulk(hold, (0..=wanted).map(|_| (board.name(), 0))).unwrap();
            wait_until("all of them are at work", || board[0].load(SeqCst) == wanted as u64);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(board[0].load(SeqCst), wanted as u64);
            board[1].store(1, SeqCst);
            assert!(held.iter().all(|future| future.result() == Ok(0)));
        }
        if is_thread(kind) {
            let closures = taskring::ThreadPool::build(Executor::builder()).expect("a pool");
            assert_eq!(closures.executor().workers(), 5);
        }
    }

    fn semantics_t6_a_task_may_fork_and_the_child_may_have_a_pool(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..3 {
            assert_eq!(pool.submit(fork_inside, true).unwrap().result(), Ok(0), "the child that came back has ended");
            assert_eq!(pool.submit(fork_inside, false).unwrap().result(), Ok(7), "the child's own pool has worked");
        }
        let squares: Vec<u64> = pool.map(square, 0..50).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(squares.into_iter().eq((0..50).map(|x| x * x)), "nobody else takes or gives its tasks");
    }

    fn semantics_l2_a_failing_start_ends_what_was_started(kind) {
        let own = std::process::id();
        let left = || (children_of(own), thread_count(own), fd_count());
        let before = left();
        let mut failures = 0;
        // With more and more descriptors to be had it comes further and further.
        for spare in 0..200 {
            let builder = Executor::builder().workers(4).start(kind);
            let built = with_descriptors(before.2 as u64 + spare, || builder.build());
            let Err(refused) = built else { break };
            assert!(matches!(refused, Error::System { errno: libc::EMFILE, .. }), "{spare} descriptors: {refused:?}");
            wait_until("nothing is left", || left() == before);
            failures += 1;
        }
        assert!((2..200).contains(&failures), "{failures} starts have failed");
        wait_until("the pool is gone", || left() == before);
        assert_eq!(pool_of(kind, 4).submit(square, 3).unwrap().result(), Ok(9));
    }

    fn semantics_l16_an_error_tells_where_it_comes_from(kind) {
        let pool = pool_of(kind, 1);
        let panicked = pool.submit(named_in_the_backtrace, 0).unwrap().result();
        let Err(Error::Panicked { message, backtrace }) = panicked else { panic!("{panicked:?}") };
        assert!(message.contains("divide by zero") && message.contains("threads.rs:"), "{message}");
        assert!(backtrace.contains("named_in_the_backtrace"), "{backtrace}");
        assert_eq!(pool.submit(fail_with, "why".into()).unwrap().result(), Err(Error::TaskFailed { summary: "why".into(), source: None }));
    }

    /// Different from the reference, whose workers cannot have children.
    fn semantics_l25_a_worker_may_have_children(kind) {
        let pool = pool_of(kind, 1);
        for code in [0, 3] {
            assert_eq!(pool.submit(has_a_child, code).unwrap().result(), Ok(code));
        }
        let second = second_pool_of(kind, 1);
        assert_eq!(second.submit(has_a_child, 5).unwrap().result(), Ok(5));
        assert!(!can_die(kind) || !pool.worker_pids().is_empty());
    }
}

/// Calls it while this process may have no more than so many descriptors.
fn with_descriptors<T>(count: u64, call: impl FnOnce() -> T) -> T {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes to the local.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) }, 0);
    let set = |limit: &libc::rlimit| {
        // SAFETY: the call reads the struct.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }, 0);
    };
    set(&libc::rlimit { rlim_cur: count, ..old });
    let result = call();
    set(&old);
    result
}
