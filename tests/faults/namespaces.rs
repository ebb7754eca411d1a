//! Rows 35 and 13: processes that count pids, or the time since the start, in another way than the pool.

use crate::process_support::{Log, Program, Role, Test, hear, is_root, pid_alive, say, unique};
use crate::support::{assert_whole, hold, ready_workers, square};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;
use taskring::{Error, Executor};

pub const ROLES: &[Role] = &[("tries", tries), ("has its own", has_its_own), ("loses proc", loses_proc)];

pub const TESTS: &[Test] = &[
    ("fault_35_a_process_of_another_pid_namespace_is_refused_with_the_reason", other_pids),
    ("fault_35_a_pool_inside_a_pid_namespace_works", own_pids),
    ("fault_13_a_process_of_another_time_namespace_is_refused_with_the_reason", other_times),
    ("fault_13_a_missing_proc_is_no_proof_of_death", no_proc),
];

/// Tries every way into a pool, and says what comes of it.
fn tries(args: &[String]) {
    let said = |result: Result<(), Error>| result.map_or_else(|e| e.to_string(), |()| "attached".to_owned());
    say(&said(Executor::attach(&args[0]).map(drop)));
    say(&said(taskring::work(&args[0])));
}

/// Makes a pool where it is.
fn has_its_own(args: &[String]) {
    let pool = Executor::builder().workers(2).create_named(&args[0]).expect("a pool");
    let squares = pool.submit_bulk(square, 0..100).expect("submitted");
    assert!(squares.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
    let other = Executor::attach(&args[0]).expect("attached");
    assert_eq!(other.submit(square, 7).expect("submitted").result(), Ok(49));
    say(&format!("done as process {}", std::process::id()));
}

/// Attaches, loses `/proc`, and waits for a task for as long as others take to look around.
fn loses_proc(args: &[String]) {
    let [name, log, gate] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let (none, proc) = (c"none".as_ptr(), c"/proc".as_ptr());
    // SAFETY: the texts live for the call, and there is no data. The mounts of this process are its own.
    assert_eq!(unsafe { libc::mount(none, proc, c"tmpfs".as_ptr(), 0, std::ptr::null()) }, 0);
    assert!(std::fs::read("/proc/self/stat").is_err());
    let held = pool.submit(hold, (log.clone(), gate.clone())).expect("submitted");
    let early = held.result_timeout(Duration::from_secs(3));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "{early:?}");
    say("waited");
    hear();
    say(&format!("{}", held.result().expect("its result")));
}

fn no_proc() {
    let Some(command) = apart(&["--mount"]) else { return };
    let (name, log) = (unique("no-proc"), Log::new());
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let worker = *ready_workers(&pool, 1).first().expect("one worker");
    let mut program = Program::from_command(command, "loses proc", &[&name, &log.path(), &log.gate()]);
    program.expect("waited");
    assert!(pid_alive(worker));
    log.open_gate();
    program.tell("go on");
    program.expect(&worker.to_string());
    program.end();
    assert_eq!(log.count("entered 0"), 1, "{:?}", log.lines());
    assert_whole(&name, &pool, 0);
}

/// This program, in namespaces of its own.
fn apart(flags: &[&str]) -> Option<Command> {
    if !is_root("a namespace of its own") {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(flags).arg(std::env::current_exe().expect("this program"));
    Some(command)
}

fn inode(path: &str) -> u64 {
    std::fs::metadata(path).expect("a namespace").ino()
}

fn other_pids() {
    let name = unique("pid-namespace");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let ours = format!("cannot attach: the PID namespace is {:#x}, wanted 0x", inode("/proc/self/ns/pid"));
    for flags in [&["--fork", "--pid"][..], &["--fork", "--pid", "--mount-proc"]] {
        let Some(command) = apart(flags) else { return };
        let mut program = Program::from_command(command, "tries", &[&name]);
        for _ in 0..2 {
            let said = program.line();
            assert!(said.starts_with(&ours), "{flags:?}: {said}");
        }
        program.end();
    }
    assert_whole(&name, &pool, 0);
}

fn own_pids() {
    let Some(command) = apart(&["--fork", "--pid", "--mount-proc"]) else { return };
    let mut program = Program::from_command(command, "has its own", &[&unique("inside")]);
    program.expect("done as process 1");
    program.end();
}

/// There a process sees other start times: to whom it writes down its own, it would be another process, and so a dead one.
fn other_times() {
    let name = unique("time-namespace");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let ours = format!("cannot attach: the time namespace is {:#x}, wanted 0x", inode("/proc/self/ns/time"));
    let Some(command) = apart(&["--fork", "--time", "--boottime", "100000", "--monotonic", "100000"]) else { return };
    let mut program = Program::from_command(command, "tries", &[&name]);
    for _ in 0..2 {
        let said = program.line();
        assert!(said.starts_with(&ours), "{said}");
    }
    program.end();
    assert_whole(&name, &pool, 0);

    let Some(command) = apart(&["--fork", "--time", "--boottime", "100000", "--monotonic", "100000"]) else { return };
    let mut program = Program::from_command(command, "has its own", &[&unique("inside")]);
    assert!(program.line().starts_with("done as process "));
    program.end();
}
