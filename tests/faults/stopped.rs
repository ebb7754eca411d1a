//! Rows 11, 18 and 38: whoever stands still is not dead, however long it is, and whatever the clock on the wall says.

use crate::process_support::common::Board;
use crate::process_support::{LIMIT, Log, Program, Role, Test, hear, kill, pid_alive, say, unique, wait_until, wait_within};
use crate::steps::Led;
use crate::support::{
    Apart, assert_times, assert_whole, count_of, count_once, go_on, hold, look, own_pid, ready_workers, running, square,
    stop, woken_first,
};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Stage, State};

taskring::task! {
    /// Takes some tenths of a second to collect.
    fn large(len: u64) -> taskring::Bytes { taskring::Bytes(vec![7; len as usize]) }
}

pub const ROLES: &[Role] = &[
    ("anonymous owner", anonymous_owner),
    ("works on", works_on),
    ("collects", collects),
    ("demanding owner", demanding_owner),
];

pub const TESTS: &[Test] = &[
    ("fault_11_a_task_that_a_stopped_worker_has_reserved_runs_elsewhere", reserved),
    ("fault_38_a_thread_that_stands_still_while_it_collects_is_waited_for", stopped_collector),
    ("fault_38_a_stopped_owner_is_not_dead_and_its_pool_goes_on", stopped_owner),
    ("fault_38_while_the_owner_is_stopped_nobody_leaves_whom_it_would_have_to_replace", demanding_stopped),
    ("fault_38_an_anonymous_pool_stands_a_long_stop_of_everybody", all_stopped),
    ("fault_18_only_the_monotonic_clock_is_asked", one_clock),
    ("fault_18_jumps_of_the_wall_clock_change_nothing", clock_jumps),
];

/// Pending tasks, and whether the one of them is reserved and not claimed: its lane's head has passed its slot.
fn pending(name: &str) -> (usize, bool) {
    let lanes = look(name).lanes;
    (lanes.iter().map(|lane| lane.slots[0]).sum(), lanes.iter().any(|lane| lane.head == lane.tail && lane.slots[0] == 1))
}

/// Lets a sleeping worker make the steps from its waking to the reservation, and stops it there. False when it came to the task in another way: a
/// worker that has just looked at the clock, or has seen a death, looks at every slot and reserves nothing.
fn stop_when_reserved(name: &str, worker: u32, publish: impl FnOnce()) -> bool {
    let led = Led::take(worker);
    publish();
    // A look at every slot takes far more steps, and each of them a look at the pool: that would use up the time for the others.
    let mut looks = 0;
    let steps = led.until("the task", || {
        looks += 1;
        pending(name) != (1, false) || looks > 50_000
    });
    println!("{:?} after {steps} instructions", pending(name));
    led.leave_stopped();
    pending(name) == (1, true)
}

/// Two threads ask for one large result; the first says its number before.
fn collects(_args: &[String]) {
    const LEN: u64 = 400 << 20;
    let pool = Executor::builder().workers(1).payload_max(1 << 30).build().expect("a pool");
    let future = pool.submit(large, LEN).expect("submitted");
    wait_until("it is done", || future.is_done());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            // SAFETY: it takes no arguments.
            say(&unsafe { libc::gettid() }.to_string());
            future.result().map(|bytes| bytes.len() as u64)
        });
        hear();
        let begin = Instant::now();
        let second = future.result().map(|bytes| bytes.len() as u64);
        say(&begin.elapsed().as_millis().to_string());
        assert_eq!((first.join().expect("it ends"), second), (Ok(LEN), Ok(LEN)));
    });
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9), "the pool goes on");
    say("done");
}

/// As in a debugger that stops one thread: the other one waits for the copy, and the pool is none the worse.
fn stopped_collector() {
    const STOP: Duration = Duration::from_secs(6);
    let mut program = Program::start("collects", &[]);
    let thread = program.numbers()[0] as u32;
    std::thread::sleep(Duration::from_millis(20));
    let led = Led::take(thread);
    program.tell("ask, too");
    std::thread::sleep(STOP);
    led.let_go();
    let waited = Duration::from_millis(program.numbers()[0]);
    assert!(waited > STOP / 2, "caught in the copy: the other one got the result after {waited:?}");
    program.expect("done");
    program.end();
}

/// One worker is stopped between the reservation and the claim; the other one sleeps and is not told.
fn reserved() {
    const ROUNDS: usize = 64;
    let board = Board::new(ROUNDS);
    let mut apart = Apart::new("reserved", 2, 8);
    let mut times = Vec::new();
    let (begin, mut round) = (Instant::now(), 0);
    while times.len() < 3 {
        assert!(begin.elapsed() < 3 * LIMIT && round < ROUNDS, "never caught in {round} rounds");
        let (first, second) = woken_first(&apart.pool, &apart.workers);
        // Nobody but the first comes for the task.
        stop(second);
        let publish = || apart.pool.submit(count_once, (board.name(), round as u64)).expect("submitted").detach();
        let caught = stop_when_reserved(&apart.name, first, publish);
        let start = Instant::now();
        go_on(second);
        if caught {
            wait_until("it runs elsewhere", || board[round].load(SeqCst) == 1);
            times.push(start.elapsed());
        }
        go_on(first);
        round += 1;
    }
    assert_whole(&apart.name, &apart.pool, 1);
    assert!((0..round).all(|cell| board[cell].load(SeqCst) == 1), "each once");
    drop(apart.pool);
    apart.owner.end();
    assert_times("a reserved task runs elsewhere", times, Duration::from_millis(1500));
}

/// Longer than three ticks of everybody's bounded sleep.
const LONG: Duration = Duration::from_secs(4);

fn stopped_owner() {
    let mut apart = Apart::new("owner-stopped", 2, 64);
    stop(apart.owner.pid());
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < LONG {
        assert_eq!(apart.pool.submit(square, 3).expect("submitted").result(), Ok(9));
        done += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{done} tasks while the owner stood still");
    assert_eq!(look(&apart.name).life, "open", "nobody takes the owner for dead");
    assert_eq!(count_of(&look(&apart.name), "owner"), 1);
    assert!(apart.workers.iter().all(|&pid| pid_alive(pid)));

    // A death meanwhile is settled without the supervisor, by whoever waits; only the cause may be unknown.
    let log = Log::new();
    let held = apart.pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let victim = running(&held, &log);
    kill(victim);
    let killed = Instant::now();
    match held.result() {
        Err(Error::WorkerLost { pid, cause: Cause::Unknown, stage: Stage::MayHaveRun, .. }) => assert_eq!(pid, victim),
        other => panic!("{other:?}"),
    }
    println!("settled without the supervisor after {:?}", killed.elapsed());
    drop(held);
    let other = apart.workers.iter().copied().find(|&pid| pid != victim);
    assert_eq!(apart.pool.submit(own_pid, ()).expect("submitted").result().ok(), other, "the other one goes on");
    go_on(apart.owner.pid());
    wait_until("another worker takes the place", || {
        let view = look(&apart.name);
        let pids: Vec<u32> = view.participants.iter().filter(|p| p.role == "worker").map(|p| p.pid).collect();
        pids.len() == 2 && !pids.contains(&victim)
    });
    assert_whole(&apart.name, &apart.pool, 1);
    drop(apart.pool);
    apart.owner.end();
}

/// A named pool whose workers come on demand and leave soon.
fn demanding_owner(args: &[String]) {
    let builder = Executor::builder().workers(2).min_workers(0).idle_timeout(Duration::from_millis(300));
    let _pool = builder.create_named(&args[0]).expect("a pool");
    say("made");
    hear();
}

fn demanding_stopped() {
    let (name, log) = (unique("demanding-stopped"), Log::new());
    let mut owner = Program::start("demanding owner", &[&name]);
    owner.expect("made");
    let pool = Executor::attach(&name).expect("attached");
    let held: Vec<_> = (0..2).map(|_| pool.submit(hold, (log.path(), log.gate())).expect("submitted")).collect();
    wait_until("both are at work", || held.iter().all(|future| future.worker_pid().is_some()));
    let workers: Vec<u32> = held.iter().filter_map(|future| future.worker_pid()).collect();
    stop(owner.pid());
    std::thread::sleep(LONG);
    log.open_gate();
    held.iter().for_each(|future| _ = future.result().expect("a result"));
    // Long enough to leave several times.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(workers.iter().all(|&pid| pid_alive(pid)), "nobody could start others");
    let ran = pool.submit(own_pid, ()).expect("submitted").result().expect("a pid");
    assert!(workers.contains(&ran));
    go_on(owner.pid());
    wait_until("they leave", || !workers.iter().any(|&pid| pid_alive(pid)));
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9), "another one comes");
    drop(pool);
    owner.end();
}

/// An anonymous pool with one task at work and others waiting.
fn anonymous_owner(args: &[String]) {
    let [log, gate] = args else { panic!("{args:?}") };
    let pool = Executor::builder().workers(2).build().expect("a pool");
    let workers = ready_workers(&pool, 2);
    let held = pool.submit(hold, (log.clone(), gate.clone())).expect("submitted");
    crate::support::say_pids(&workers);
    let worker = held.result().expect("the worker that had it has it still");
    assert!(workers.contains(&worker));
    let squares = pool.submit_bulk(square, 0..200).expect("submitted");
    assert!(squares.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
    assert_eq!(pool.worker_pids().into_iter().collect::<std::collections::BTreeSet<_>>(), workers, "nobody was replaced");
    say("well");
    hear();
}

/// As a machine that was suspended, or a debugger: everybody stands still for a while, and then goes on one after the other.
fn all_stopped() {
    let log = Log::new();
    let mut owner = Program::start("anonymous owner", &[&log.path(), &log.gate()]);
    let workers: Vec<u32> = owner.numbers().into_iter().map(|pid| pid as u32).collect();
    wait_until("the task runs", || log.count("entered 0") == 1);
    let all: Vec<u32> = workers.iter().copied().chain([owner.pid()]).collect();
    all.iter().for_each(|&pid| stop(pid));
    std::thread::sleep(LONG);
    for &pid in &all {
        go_on(pid);
        std::thread::sleep(Duration::from_millis(1500));
    }
    log.open_gate();
    owner.expect("well");
    owner.end();
    assert_eq!(log.lines(), ["entered 0"]);
}

/// Words by which a source would ask another clock. The standard library's `Instant`, sleeps and time-outs go by CLOCK_MONOTONIC on Linux.
const OTHER_CLOCKS: [&str; 9] = [
    "SystemTime",
    "CLOCK_REALTIME",
    "CLOCK_BOOTTIME",
    "CLOCK_TAI",
    "gettimeofday",
    "libc::time(",
    "FUTEX_CLOCK_REALTIME",
    "UNIX_EPOCH",
    "CLOCK_MONOTONIC_RAW",
];

fn one_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut clocks) = (0, 0);
    let mut folders = vec![src];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).expect("a source");
            for word in OTHER_CLOCKS {
                assert!(!text.contains(word), "{} asks {word}", entry.display());
            }
            clocks += text.matches("libc::CLOCK_MONOTONIC").count();
            files += 1;
        }
    }
    assert!(files > 40 && clocks > 0, "{files} files, {clocks} uses of the clock");
}

/// Submits, waits with time-outs, and loses a worker, for a while.
fn works_on(args: &[String]) {
    let log = &args[0];
    let pool = Executor::builder().workers(2).build().expect("a pool");
    ready_workers(&pool, 2);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    }
    let held = pool.submit(hold, (log.clone(), format!("{log}.gate"))).expect("submitted");
    for limit in [50, 300] {
        let limit = Duration::from_millis(limit);
        let start = Instant::now();
        assert!(matches!(held.result_timeout(limit), Err(Error::TimedOut { .. })));
        assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_secs(2), "{:?}", start.elapsed());
    }
    assert_eq!(held.state(), State::Running);
    let victim = held.worker_pid().expect("somebody runs it");
    kill(victim);
    assert_eq!(crate::support::nameless(held.result()), Err(crate::support::lost(victim, crate::support::KILLED)));
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    let other_clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    say(&format!("{}", other_clock.as_secs()));
}

/// A library that is loaded before all others and makes the clock on the wall jump by days at each look, to and fro.
const JUMPING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) { static unsigned n; return (++n % 2 ? 1 : -1) * 86400L * (n % 100); }
int clock_gettime(clockid_t clock, struct timespec *to) {
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, to);
    if (clock == CLOCK_REALTIME && result == 0) to->tv_sec += jump();
    return result;
}
time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

/// The machine's clock is not the test's to set: this program and its workers see another one instead.
fn clock_jumps() {
    let log = Log::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (source, library) = (folder.path().join("jumping.c"), folder.path().join("jumping.so"));
    std::fs::write(&source, JUMPING).expect("a file");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        println!("not run, for there is no C compiler: jumps of the wall clock");
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env("LD_PRELOAD", &library);
    let mut program = Program::from_command(command, "works on", &[&log.path()]);
    let said = program.numbers()[0];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(said.abs_diff(now) > 3600, "its clock did jump: {said}, {now}");
    wait_within(Duration::from_secs(20), "it ends well", || !pid_alive(program.pid()));
    program.end();
}
