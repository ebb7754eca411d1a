//! Rows 21, 22, 23, 25, 32 and 33: how a task or somebody else ends a worker, and what is told of it.

use crate::process_support::{
    LIMIT, Log, Program, Role, Test, kill, kill_and_release, pid_alive, say, unique, wait_until, wait_within,
};
use crate::support::{KILLED, assert_whole, hold, look, lost, nameless, ready_workers, running, square};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Stage, StartMethod};

taskring::task! {
    fn end_by(how: String) -> u32 { end(&how) }
}

unsafe extern "C" {
    fn quick_exit(code: i32) -> !;
}

/// Ends this process.
fn end(how: &str) -> u32 {
    match how {
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        // SAFETY: takes an integer and does not return.
        "_exit 4" => unsafe { libc::_exit(4) },
        // SAFETY: as above; no handlers are registered for it.
        "quick_exit 5" => unsafe { quick_exit(5) },
        "abort" => std::process::abort(),
        "trap" => raise(libc::SIGTRAP),
        "overflow" => dig(0) as u32,
        "pthread_exit" => {
            unsafe extern "C" {
                fn pthread_exit(value: *mut libc::c_void) -> !;
            }
            // SAFETY: none: it is forbidden, and a task that does so all the same is what the test is about.
            unsafe { pthread_exit(std::ptr::null_mut()) }
        }
        "thread" => {
            // SAFETY: takes an integer. The thread has nothing on its stack that anybody else refers to; what it owns is lost.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!("the thread has ended")
        }
        _ => {
            // SAFETY: a private mapping that nobody else uses.
            let page = unsafe {
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
            };
            // SAFETY: none: the page cannot be written to, and the signal for it is what is wanted.
            unsafe { page.cast::<u8>().write_volatile(1) };
            unreachable!("the page was written to")
        }
    }
}

fn raise(signal: i32) -> u32 {
    crate::process_support::signal(std::process::id(), signal);
    unreachable!("the signal ends the process")
}

/// Calls itself until the stack is used up.
#[allow(unconditional_recursion, reason = "that is its purpose")]
fn dig(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 128]);
    dig(depth + 1) + std::hint::black_box(room)[3]
}

pub const ROLES: &[Role] = &[("overflows", overflows), ("thread ends", thread_ends)];

pub const TESTS: &[Test] = &[
    ("fault_21_every_way_to_exit_in_a_task_is_a_death_with_its_code", exits),
    ("fault_22_every_signal_in_a_task_is_a_death_with_its_cause", signals),
    ("fault_22_a_stack_overflow_in_a_task_says_so", overflow_says_so),
    ("fault_25_a_task_that_ends_the_thread_of_its_worker_process_has_killed_it", thread_of_process_ends),
    ("fault_25_a_task_that_ends_the_thread_of_a_thread_worker_is_seen_to_end_the_program", thread_of_program_ends),
    ("fault_25_a_thread_worker_whose_thread_is_gone_is_replaced_and_the_program_left_alone", thread_gone),
    ("fault_32_a_worker_whose_memory_is_reaped_at_once_is_no_other_dead_one", reaped_worker),
    ("fault_33_workers_killed_together_again_and_again_leave_a_pool_that_works", killed_together),
];

/// Each of these ends must be told as one of the causes, of a task that may have run.
#[track_caller]
fn assert_ends(ends: &[(&str, &[Cause])]) {
    let name = unique("ends");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    for (how, wanted) in ends {
        let worker = *ready_workers(&pool, 1).first().expect("one worker");
        match pool.submit(end_by, (*how).to_owned()).expect("submitted").result() {
            Err(Error::WorkerLost { pid, cause, stage: Stage::MayHaveRun, .. }) => {
                println!("{how}: {cause}");
                assert_eq!(pid, worker, "{how}");
                assert!(wanted.contains(&cause), "{how}: {cause:?}");
            }
            other => panic!("{how}: {other:?}"),
        }
    }
    assert_whole(&name, &pool, 0);
}

fn exits() {
    assert_ends(&[
        ("exit 0", &[Cause::Exit(0)]),
        ("exit 3", &[Cause::Exit(3)]),
        ("_exit 4", &[Cause::Exit(4)]),
        ("quick_exit 5", &[Cause::Exit(5)]),
    ]);
}

fn signals() {
    assert_ends(&[
        ("abort", &[Cause::Signal(libc::SIGABRT)]),
        ("segv", &[Cause::Signal(libc::SIGSEGV)]),
        ("trap", &[Cause::Signal(libc::SIGTRAP)]),
        // The standard library turns the fault into a message and an abort.
        ("overflow", &[Cause::Signal(libc::SIGABRT)]),
    ]);
}

fn overflows(_args: &[String]) {
    let pool = Executor::builder().workers(1).build().expect("a pool");
    let result = pool.submit(end_by, "overflow".to_owned()).expect("submitted").result();
    assert!(matches!(result, Err(Error::WorkerLost { cause: Cause::Signal(libc::SIGABRT), .. })), "{result:?}");
    say("lost");
}

/// The message is written by a handler on a stack of its own.
fn overflow_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stderr");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.stderr(Stdio::from(std::fs::File::create(&path).expect("a file")));
    let mut program = Program::from_command(command, "overflows", &[]);
    program.expect("lost");
    program.end();
    let said = std::fs::read_to_string(path).expect("what the worker said");
    assert!(said.contains("overflowed its stack"), "{said:?}");
}

/// By `pthread_exit`. The unwinding that it begins may not pass Rust's frames, so the process is aborted, whichever thread it is.
fn thread_of_process_ends() {
    assert_ends(&[("pthread_exit", &[Cause::Signal(libc::SIGABRT)])]);
}

fn thread_ends(_args: &[String]) {
    let pool = Executor::builder().workers(1).start(StartMethod::Thread).build().expect("a pool");
    let result = pool.submit(end_by, "pthread_exit".to_owned()).expect("submitted").result();
    say(&format!("{result:?}"));
}

/// The owner is the process that goes then: a thread worker is no shelter from its tasks, and nothing hangs.
fn thread_of_program_ends() {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.stderr(Stdio::null());
    let mut program = Program::from_command(command, "thread ends", &[]);
    let status = program.end_within(LIMIT);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!((status.signal(), program.rest().len()), (Some(libc::SIGABRT), 0), "{status}");
}

/// Without any unwinding, as in C libraries whose `pthread_exit` does none: nothing in the process tells of it.
fn thread_gone() {
    let pool = Executor::builder().workers(2).capacity(8).start(StartMethod::Thread).build().expect("a pool");
    for _ in 0..3 {
        let start = Instant::now();
        let gone = pool.submit(end_by, "thread".to_owned()).expect("submitted");
        let pending = pool.submit_bulk(square, 0..20).expect("submitted");
        match gone.result() {
            Err(Error::WorkerLost { pid, cause: Cause::Unknown, stage: Stage::MayHaveRun, .. }) => {
                assert_eq!(pid, std::process::id());
            }
            other => panic!("{other:?}"),
        }
        println!("the verdict came after {:?}", start.elapsed());
        assert!(start.elapsed() < LIMIT / 2);
        assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
    }
    wait_until("both are there again", || {
        let naps: Vec<_> = (0..2).map(|_| pool.submit(crate::support::nap, 500).expect("submitted")).collect();
        let start = Instant::now();
        naps.iter().for_each(|nap| assert!(nap.result().is_ok()));
        start.elapsed() < Duration::from_millis(950)
    });
    // The process worker's only thread is the process.
    assert_ends(&[("thread", &[Cause::Exit(0)])]);
}

fn reaped_worker() {
    let name = unique("mrelease");
    let pool = Executor::builder().workers(2).capacity(8).create_named(&name).expect("a pool");
    let mut released = 0;
    for round in 0..12 {
        // Three will do, unless each of them has ended before.
        if round >= 3 && released > 0 {
            break;
        }
        ready_workers(&pool, 2);
        let log = Log::new();
        let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
        let pending = pool.submit_bulk(square, 0..4).expect("submitted");
        let victim = running(&held, &log);
        released += u64::from(kill_and_release(victim));
        let start = Instant::now();
        assert_eq!(nameless(held.result()), Err(lost(victim, KILLED)), "the verdict of any SIGKILL");
        assert!(start.elapsed() < LIMIT / 4, "the verdict took {:?}", start.elapsed());
        assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
        assert_eq!(log.lines(), ["entered 0"]);
    }
    assert!(released > 0, "no worker's memory was there to be taken");
    assert_whole(&name, &pool, 0);
}

/// As `cgroup.kill` does it: all of them at one moment. In some rounds the new ones are killed as soon as they are there, which are failed starts.
fn killed_together() {
    const WORKERS: usize = 3;
    let name = unique("together");
    let pool = Executor::builder().workers(WORKERS).capacity(8).create_named(&name).expect("a pool");
    for round in 0..6 {
        let workers = ready_workers(&pool, WORKERS);
        let logs: Vec<Log> = (0..WORKERS).map(|_| Log::new()).collect();
        let held: Vec<_> = logs.iter().map(|l| pool.submit(hold, (l.path(), l.gate())).expect("submitted")).collect();
        let pids: Vec<u32> = held.iter().zip(&logs).map(|(future, log)| running(future, log)).collect();
        assert_eq!(pids.iter().copied().collect::<BTreeSet<u32>>(), workers);
        let pending = pool.submit_bulk(square, 0..4).expect("submitted");
        workers.iter().for_each(|&pid| kill(pid));
        if round % 2 == 1 {
            // One of the new ones, before it can have done anything.
            let new = || pool.worker_pids().into_iter().find(|pid| !workers.contains(pid) && pid_alive(*pid));
            wait_until("a new worker", || new().is_some());
            new().into_iter().for_each(kill);
        }
        for (future, pid) in held.iter().zip(pids) {
            assert_eq!(nameless(future.result()), Err(lost(pid, KILLED)), "round {round}");
        }
        assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)), "round {round}");
    }
    wait_within(LIMIT, "all of them are back", || look(&name).participants.len() == 1 + WORKERS);
    assert_whole(&name, &pool, 0);
}
