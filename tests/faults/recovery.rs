//! Rows 10, 12, 13 and 14: who acts for the dead, and for whom nobody may.

use crate::process_support::{
    LIMIT, Log, Program, Random, Role, Test, hear, kill, pid_alive, pidfd_open, pool_file, say, unique, wait_until,
    wait_within,
};
use crate::support::{
    Apart, KILLED, assert_whole, count_of, go_on, hold, look, lost, nameless, ready_workers, running, slots_in_use, square,
    stop,
};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Stage, State};

pub const ROLES: &[Role] = &[("keeper", keeper), ("reaper", reaper), ("pending", pending)];

pub const TESTS: &[Test] = &[
    ("fault_10_reapers_that_race_and_are_killed_give_each_task_one_verdict", killed_reapers),
    ("fault_10_who_cleans_up_is_alone_at_it", one_at_a_time),
    ("fault_12_a_stopped_worker_or_submitter_that_is_killed_is_like_any_other", stopped_then_killed),
    ("fault_13_a_worker_taken_for_dead_wrongly_changes_nothing_when_it_goes_on", taken_for_dead),
    ("fault_14_a_pid_that_passed_to_another_process_does_not_hide_a_death", pid_passed_on),
];

/// Submits held tasks, says so, and when told, the verdicts that it finds: how many tasks each of them is of.
fn keeper(args: &[String]) {
    let [name, count, rest @ ..] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let count: usize = count.parse().expect("a number");
    let (logs, gates) = rest.split_at(count);
    let held: Vec<_> =
        logs.iter().zip(gates).map(|(l, g)| pool.submit(hold, (l.clone(), g.clone())).expect("submitted")).collect();
    say("submitted");
    hear();
    let (mut may_have_run, mut others) = (0, Vec::new());
    for future in &held {
        match future.result() {
            Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => may_have_run += 1,
            other => others.push(format!("{other:?}")),
        }
        assert_eq!(future.state(), State::Done);
    }
    say(&format!("{may_have_run} {others:?}"));
    hear();
}

/// Waits for a task, and meanwhile looks after the dead.
fn reaper(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    say("begins");
    loop {
        let _ = pool.submit(square, 2).expect("submitted").result_timeout(Duration::from_millis(40));
    }
}

/// Leaves tasks pending, and waits.
fn pending(args: &[String]) {
    let [name, log, gate] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let _held: Vec<_> = (0..3).map(|_| pool.submit(hold, (log.clone(), gate.clone())).expect("submitted")).collect();
    say("submitted");
    hear();
}

/// No owner is left, the only other submitter is stopped, and all workers are killed: those who find it are killed as well, one after the other.
fn killed_reapers() {
    const WORKERS: usize = 4;
    let mut random = Random::new();
    for round in 0..6 {
        let mut apart = Apart::new("reapers", WORKERS, 64);
        let logs: Vec<Log> = (0..WORKERS).map(|_| Log::new()).collect();
        let mut args = vec![apart.name.clone(), WORKERS.to_string()];
        args.extend(logs.iter().map(Log::path));
        args.extend(logs.iter().map(Log::gate));
        let mut keeper = Program::start("keeper", &args.iter().map(String::as_str).collect::<Vec<_>>());
        keeper.expect("submitted");
        logs.iter().for_each(|log| wait_until("the task runs", || log.count("entered 0") == 1));
        stop(keeper.pid());
        apart.owner.kill();
        apart.workers.iter().for_each(|&pid| kill(pid));
        // Two at a time, so that they race as well.
        for _ in 0..5 {
            let mut pair = [Program::start("reaper", &[&apart.name]), Program::start("reaper", &[&apart.name])];
            pair.iter().for_each(|program| program.expect("begins"));
            std::thread::sleep(Duration::from_micros(random.below(15_000)));
            pair.iter_mut().for_each(Program::kill);
        }
        go_on(keeper.pid());
        keeper.tell("verdicts");
        assert_eq!(keeper.line(), format!("{WORKERS} []"), "round {round}");
        keeper.end();
        logs.iter().for_each(|log| assert_eq!(log.lines(), ["entered 0"]));
        let is_settled = || {
            let _ = apart.pool.submit(square, 2).expect("submitted").result_timeout(Duration::from_millis(40));
            let view = look(&apart.name);
            view.participants.iter().all(|p| p.pid == std::process::id()) && view.held.is_empty()
        };
        wait_within(LIMIT, "only this process is left", is_settled);
        let worker = Program::start("worker", &[&apart.name]);
        assert_whole(&apart.name, &apart.pool, 1);
        drop(worker);
        apart.end();
    }
}

/// While somebody holds the bytes by which the dead are cleaned up after, as one does that is stopped at it, nobody else does it: the seat might be
/// another's by then.
fn one_at_a_time() {
    /// The second lock byte of each of the 256 seats.
    const BYTES: (i64, i64) = (256, 256);
    let mut apart = Apart::new("alone", 1, 8);
    let file = std::fs::File::options().read(true).write(true).open(pool_file(&apart.name)).expect("the file");
    // SAFETY: all fields are integers, for which zero is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16, BYTES.0, BYTES.1);
    // SAFETY: an open file, and a live local to read.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
    let log = Log::new();
    let mut submitter = Program::start("pending", &[&apart.name, &log.path(), &log.gate()]);
    submitter.expect("submitted");
    // Else it might run ours first.
    wait_until("the worker has one of its tasks", || log.count("entered 0") == 1);
    let dead = submitter.pid();
    submitter.kill();
    let is_there = || look(&apart.name).participants.iter().any(|p| p.pid == dead && !p.seated);
    wait_until("its seat is free", is_there);
    let waited = apart.pool.submit(square, 3).expect("submitted");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        // Who waits looks around, and so does the owner.
        assert!(matches!(waited.result_timeout(Duration::from_millis(50)), Err(Error::TimedOut { .. })));
        assert!(is_there(), "somebody else has cleaned up: {}", look(&apart.name));
    }
    drop(file);
    wait_within(LIMIT / 2, "now it is cleaned up", || !look(&apart.name).participants.iter().any(|p| p.pid == dead));
    log.open_gate();
    assert_eq!(waited.result(), Ok(9));
    drop(waited);
    assert_whole(&apart.name, &apart.pool, 1);
    drop(apart.pool);
    apart.owner.end();
}

fn stopped_then_killed() {
    let name = unique("stopped-killed");
    let pool = Executor::builder().workers(2).capacity(8).create_named(&name).expect("a pool");
    let log = Log::new();
    ready_workers(&pool, 2);
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let victim = running(&held, &log);
    stop(victim);
    let timed_out = held.result_timeout(Duration::from_millis(1500));
    assert!(matches!(timed_out, Err(Error::TimedOut { .. })), "{timed_out:?}");
    kill(victim);
    let start = Instant::now();
    assert_eq!(nameless(held.result()), Err(lost(victim, KILLED)));
    println!("the verdict came after {:?}", start.elapsed());
    assert!(start.elapsed() < LIMIT / 4);
    drop(held);

    let log = Log::new();
    let mut submitter = Program::start("pending", &[&name, &log.path(), &log.gate()]);
    submitter.expect("submitted");
    stop(submitter.pid());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(count_of(&look(&name), "submitter"), 1, "a stopped submitter is no dead one");
    submitter.kill();
    wait_until("it is missed", || count_of(&look(&name), "submitter") == 0);
    log.open_gate();
    wait_until("its tasks run", || log.count("entered 0") == 3);
    assert_whole(&name, &pool, 0);
}

/// Words of a pool's file, where a test changes them: see `layout.rs`.
const PARTICIPANTS_AT: u64 = 4096;
const RECORD_LEN: u64 = 384;
const PID: u64 = 4;
const START: u64 = 8;

/// Where the record of a process lies in a pool's file.
fn record_of(file: &std::fs::File, pid: u32) -> u64 {
    let is_of = |at: &u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at + PID).expect("a record");
        u32::from_le_bytes(bytes) == pid
    };
    (0..256).map(|index| PARTICIPANTS_AT + index * RECORD_LEN).find(is_of).expect("it has a record")
}

/// This cannot happen, so the test makes it happen: it writes another start time over a stopped worker's own. Everybody then takes the worker for
/// dead; but its byte is still locked, so nobody gets its place, and what it does afterwards finds that its task is not its own any more.
fn taken_for_dead() {
    let name = unique("taken-for-dead");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let worker = running(&held, &log);
    stop(worker);
    let file = std::fs::File::options().read(true).write(true).open(pool_file(&name)).expect("the pool's file");
    let record = record_of(&file, worker);
    file.write_all_at(&1_u64.to_le_bytes(), record + START).expect("a word");
    match held.result() {
        Err(Error::WorkerLost { pid, stage: Stage::MayHaveRun, .. }) => assert_eq!(pid, worker),
        other => panic!("{other:?}"),
    }
    assert!(pid_alive(worker), "it is stopped, and nobody has killed it");
    // Others come and go; none of them gets its place.
    let others: Vec<Executor> = (0..8).map(|_| Executor::attach(&name).expect("attached")).collect();
    let mut words = [0; 8];
    file.read_exact_at(&mut words, record).expect("the record");
    assert_eq!(u32::from_le_bytes(words[4..].try_into().expect("four bytes")), worker, "the place is nobody else's");
    log.open_gate();
    go_on(worker);
    assert!(matches!(held.result(), Err(Error::WorkerLost { .. })), "its late end changes nothing");
    wait_until("the pool works", || pool.submit(square, 3).expect("submitted").result() == Ok(9));
    assert_eq!(log.lines(), ["entered 0"]);
    drop((held, others));
    assert_eq!(slots_in_use(&look(&name)), 0);
    let pids = look(&name).participants.len();
    assert!(pids <= 2, "the owner, and a worker at most: {}", look(&name));
}

/// The owner is killed and everybody else stopped while a worker dies; another process then gets its number.
fn pid_passed_on() {
    if !crate::process_support::is_root("to choose the pid of the next process") {
        return;
    }
    let mut apart = Apart::new("pid", 1, 8);
    let worker = apart.workers[0];
    let log = Log::new();
    let held = apart.pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    assert_eq!(running(&held, &log), worker);
    apart.owner.kill();
    let pidfd = pidfd_open(worker);
    kill(worker);
    wait_until("nobody has that pid", || !std::path::Path::new(&format!("/proc/{worker}")).exists());
    let namesake = born_with(worker);
    let start = Instant::now();
    assert!(pid_alive(worker), "another one of that pid runs");
    // SAFETY: the call takes integers and a null pointer, which asks for the default.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, 0_usize, 0) };
    assert_eq!(sent, -1, "the pidfd still means the dead one");
    match held.result() {
        Err(Error::WorkerLost { pid, cause: Cause::Unknown, stage: Stage::MayHaveRun, .. }) => assert_eq!(pid, worker),
        other => panic!("{other:?}"),
    }
    println!("the verdict came after {:?}", start.elapsed());
    assert!(pid_alive(worker), "the process that has its pid now is left alone");
    drop(namesake);
    drop(held);
    assert_eq!(count_of(&look(&apart.name), "worker"), 0);
    apart.workers.clear();
    apart.end();
}

/// A process that has nothing to do with any pool. Ended when dropped.
struct Namesake(std::process::Child);

impl Drop for Namesake {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process with this number, which nobody has. The kernel is told which number it gave last; others may fork in between, so this is tried again.
fn born_with(pid: u32) -> Namesake {
    let start = Instant::now();
    loop {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may say so");
        let child = std::process::Command::new("sleep").arg("1000").spawn().expect("it starts");
        let namesake = Namesake(child);
        if namesake.0.id() == pid {
            return namesake;
        }
        assert!(start.elapsed() < LIMIT, "the pid does not come round");
    }
}
