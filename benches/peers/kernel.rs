//! What a pool asks of the kernel: system calls for each task while the workers are busy (N5), and wake-ups while there is nothing to do (N6).
//!
//! Both are counted in processes of their own, so that nothing of this bench is counted with them.

use crate::child::{self, Helper, die_with_us};
use crate::common::affinity;
use crate::ours::{self, CAPACITY, expected};
use crate::report::{Amount, Bound, Report};
use crate::setup::Setup;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use taskring::Executor;

/// Tasks under way while system calls are counted.
const WINDOW: usize = 64;
/// More system calls than this for twice the tasks are too many.
const CALLS_MAX: f64 = 100.0;

/// N5: the calls of a run with twice the tasks, less those of a run; start and end cancel out.
pub fn system_calls(setup: &Setup, report: &mut Report) -> io::Result<()> {
    report.heading("system calls, submitter and one worker pinned, 64 tasks under way");
    let tasks = setup.pick(1_000_000, 100_000);
    let dir = tempfile::tempdir()?;
    // The fewest of a few runs: whoever else runs on the machine can only add to the calls of one.
    let fewest = |tasks: u64| (0..setup.pick(3, 2)).map(|_| count_calls(tasks, dir.path())).reduce(|a, b| Ok(a?.min(b?)));
    let (Some(once), Some(twice)) = (fewest(tasks), fewest(2 * tasks)) else { unreachable!("at least one run") };
    let (once, twice) = match (once, twice) {
        (Ok(once), Ok(twice)) => (once, twice),
        (Err(why), _) | (_, Err(why)) => {
            report.unmeasured("N5", &why.to_string());
            return Ok(());
        }
    };
    report.value("system calls", &format!("{tasks} tasks"), Amount(once as f64, "calls"));
    report.value("system calls", &format!("{} tasks", 2 * tasks), Amount(twice as f64, "calls"));
    let more = twice as f64 - once as f64;
    let bound = ("bound", Amount(CALLS_MAX, "calls"));
    report.target("N5", ("", Amount(more, "calls")), bound, more / CALLS_MAX, Bound::AtMost(1.0));
    Ok(())
}

/// All system calls of a run and of its worker, as strace counts them.
fn count_calls(tasks: u64, dir: &Path) -> io::Result<u64> {
    child::step("strace");
    let file = dir.join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&file).arg(std::env::current_exe()?);
    command.args(["--role", "count", &tasks.to_string()]).stdin(Stdio::null());
    die_with_us(&mut command);
    let output = command.output().map_err(|why| io::Error::new(why.kind(), format!("strace: {why}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("strace: {}: {}", output.status, said.lines().next().unwrap_or_default())));
    }
    // % time, seconds, usecs/call, calls, errors (may be missing), name; the last row sums them up.
    let text = std::fs::read_to_string(&file)?;
    let calls = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
    let rows = text.lines().filter(|line| !line.ends_with("total"));
    match rows.filter_map(calls).sum() {
        0 => Err(io::Error::other(format!("strace: nothing was counted: {text}"))),
        sum => Ok(sum),
    }
}

/// The role under strace.
pub fn play_count(tasks: u64) -> io::Result<()> {
    let (first, second) = affinity::pair();
    let pool = ours::pinned_pool(second);
    affinity::pin_process(std::process::id(), first)?;
    let sum = ours::single(&pool, WINDOW, tasks);
    if sum == expected(tasks) { Ok(()) } else { Err(io::Error::other("a wrong sum of answers")) }
}

/// Workers of the pool that is watched while it has nothing to do.
const IDLE_WORKERS: usize = 4;
/// Wake-ups of a process in a second.
const WAKEUPS_MAX: f64 = 1.0;

/// N6: how often each process of an idle pool wakes up, from /proc.
pub fn wake_ups(setup: &Setup, report: &mut Report) -> io::Result<()> {
    report.heading(&format!("a pool of {IDLE_WORKERS} workers that has nothing to do"));
    let owner = Idle::start(Helper::role("idle", &[IDLE_WORKERS.to_string()])?)?;
    let watched = Duration::from_secs(setup.pick(10, 4));
    let processes = owner.processes;
    let before: Vec<u64> = processes.iter().map(|&pid| switches(pid)).collect();
    child::step("an idle pool");
    std::thread::sleep(watched);
    let mut most = 0_f64;
    for (index, (&pid, before)) in processes.iter().zip(before).enumerate() {
        let rate = switches(pid).saturating_sub(before) as f64 / watched.as_secs_f64();
        let name = if index < IDLE_WORKERS { format!("worker {}", index + 1) } else { "owner".to_owned() };
        report.value("idle", &name, Amount(rate, "/s"));
        most = most.max(rate);
    }
    let bound = ("bound", Amount(WAKEUPS_MAX, "/s"));
    report.target("N6", ("most-of-a-process", Amount(most, "/s")), bound, most / WAKEUPS_MAX, Bound::AtMost(1.0));
    Ok(())
}

/// A pool that has nothing to do, in a process of its own.
pub struct Idle {
    /// Its workers, and last its owner.
    pub processes: Vec<u32>,
    _owner: Helper,
}

impl Idle {
    /// Waits for the owner's line, which tells the workers' pids.
    pub fn start(mut owner: Helper) -> io::Result<Idle> {
        let line = owner.answer()?;
        let pids = line.split_whitespace().map(|pid| pid.parse().map_err(io::Error::other));
        let processes = pids.chain([Ok(owner.pid())]).collect::<Result<_, _>>()?;
        Ok(Idle { processes, _owner: owner })
    }
}

/// The role of the idle pool's owner: tells its workers' pids, and then sleeps until its input ends.
pub fn play_idle(workers: usize) -> io::Result<()> {
    let pool = Executor::builder().workers(workers).capacity(CAPACITY).build().map_err(io::Error::other)?;
    let count = 10_000;
    assert_eq!(ours::single(&pool, WINDOW, count), expected(count));
    // Until all of them have gone to sleep.
    std::thread::sleep(Duration::from_millis(500));
    let pids: Vec<String> = pool.worker_pids().iter().map(u32::to_string).collect();
    println!("{}", pids.join(" "));
    child::orders().for_each(drop);
    Ok(())
}

/// How often the threads of a process gave up the CPU of their own will so far: each sleep is one.
pub fn switches(pid: u32) -> u64 {
    let of_thread = |path: PathBuf| {
        // A thread may end between the listing and the reading; it then counts nothing.
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads(pid).map(of_thread).sum()
}

/// CPU time in nanoseconds that the threads of a process have had so far.
pub fn cpu_ns(pid: u32) -> u64 {
    let of_thread = |path: PathBuf| {
        let schedstat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
    };
    threads(pid).map(of_thread).sum()
}

/// The folders of a process's threads.
fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| thread.path())
}
