//! Counts what the pool costs the kernel, without a benchmark harness around it.
//!
//! System calls for each task while the workers are busy (there should be none): the difference of two runs.
//!
//! ```sh
//! cargo build --release --example count
//! for tasks in 1000000 2000000; do
//!     strace -f -c -o calls.$tasks target/release/examples/count --tasks $tasks --window 64
//!     tail -1 calls.$tasks
//! done
//! ```
//!
//! Wake-ups of a pool that has nothing to do (at most one a second for each process):
//!
//! ```sh
//! cargo run --release --example count -- --idle 10
//! ```

#[path = "../benches/common/affinity.rs"]
#[allow(dead_code, reason = "shared with the benches, which use more of it")]
mod affinity;

use clap::Parser;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::{Duration, Instant};
use taskring::{Executor, Future};

taskring::task! {
    /// As little work as a task can have.
    fn square(x: u64) -> u64 { plain_square(x) }
}

fn plain_square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Runs many small tasks, or none, for strace or /proc to count.
#[derive(Parser)]
struct Args {
    /// How many tasks to run.
    #[arg(long, default_value_t = 1_000_000)]
    tasks: u64,
    /// How many are under way at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Submit so many at a time; 1 is one `submit` for each task.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    bulk: u64,
    /// How many worker processes; 1, or 4 with --idle.
    #[arg(long)]
    workers: Option<usize>,
    /// Leave the processes where the kernel puts them.
    #[arg(long)]
    unpinned: bool,
    /// Run no tasks after the first few; count the wake-ups of so many seconds.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    taskring::init();
    let args = Args::parse();
    let workers = args.workers.unwrap_or(if args.idle.is_some() { 4 } else { 1 });
    let pool = Executor::builder().workers(workers).build()?;
    match args.idle {
        Some(seconds) => idle(&pool, Duration::from_secs(seconds))?,
        None => busy(&pool, &args)?,
    }
    pool.shutdown(true, false)?;
    Ok(())
}

fn busy(pool: &Executor, args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let cpus = affinity::allowed();
    if !args.unpinned {
        for (index, pid) in pool.worker_pids().into_iter().enumerate() {
            affinity::pin_process(pid, cpus[(index + 1) % cpus.len()])?;
        }
        affinity::pin_thread(cpus[0])?;
    }
    let start = Instant::now();
    let sum = run(pool, args)?;
    let elapsed = start.elapsed();
    assert_eq!(sum, (0..args.tasks).map(plain_square).fold(0, u64::wrapping_add), "the sum of the answers");
    println!(
        "count: tasks={} window={} bulk={} {} 1+{} ns_per_task={:.0}",
        args.tasks,
        args.window,
        args.bulk,
        if args.unpinned { "unpinned" } else { "pinned" },
        pool.workers(),
        elapsed.as_nanos() as f64 / args.tasks.max(1) as f64,
    );
    Ok(())
}

fn run(pool: &Executor, args: &Args) -> taskring::Result<u64> {
    let mut under_way: VecDeque<Future<u64>> = VecDeque::new();
    let mut sum = 0u64;
    let mut next = 0;
    while next < args.tasks {
        let end = args.tasks.min(next + args.bulk.min(args.window));
        while under_way.len() as u64 + (end - next) > args.window {
            let oldest = under_way.pop_front().expect("a task under way");
            sum = sum.wrapping_add(oldest.result()?);
        }
        if args.bulk == 1 {
            under_way.push_back(pool.submit(square, next)?);
        } else {
            under_way.extend(pool.submit_bulk(square, next..end)?);
        }
        next = end;
    }
    for future in under_way {
        sum = sum.wrapping_add(future.result()?);
    }
    Ok(sum)
}

/// What /proc says about all threads of a process.
#[derive(Clone, Copy, Default)]
struct Usage {
    voluntary: u64,
    involuntary: u64,
    cpu_ns: u64,
}

fn idle(pool: &Executor, period: Duration) -> Result<(), Box<dyn std::error::Error>> {
    for x in 0..1000 {
        assert_eq!(pool.submit(square, x)?.result()?, plain_square(x));
    }
    // What was awake for these tasks shall be asleep before the count begins.
    std::thread::sleep(Duration::from_secs(2));
    let before = everybody(pool);
    std::thread::sleep(period);
    let after = everybody(pool);
    let seconds = period.as_secs_f64();
    for (pid, (role, now)) in &after {
        let Some((_, then)) = before.get(pid) else {
            println!("idle: {role} {pid} started meanwhile");
            continue;
        };
        // Our own main thread slept once for this very count.
        let own = u64::from(*pid == std::process::id());
        let wakeups = now.voluntary.saturating_sub(then.voluntary + own) as f64 / seconds;
        println!(
            "idle: {role} {pid} voluntary_ctxt_switches/s={wakeups:.2} involuntary/s={:.2} cpu={:.3}% target<=1.0 {}",
            now.involuntary.saturating_sub(then.involuntary) as f64 / seconds,
            now.cpu_ns.saturating_sub(then.cpu_ns) as f64 / seconds / 1e7,
            if wakeups <= 1.0 { "ok" } else { "short" },
        );
    }
    for pid in before.keys().filter(|pid| !after.contains_key(pid)) {
        println!("idle: {pid} ended meanwhile");
    }
    Ok(())
}

/// This process, the workers, and whatever other children we have, with their usage so far.
fn everybody(pool: &Executor) -> BTreeMap<u32, (&'static str, Usage)> {
    let mut pids: BTreeMap<u32, &'static str> = BTreeMap::new();
    for thread in threads(std::process::id()) {
        let children = fs::read_to_string(format!("{thread}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|pid| Some((pid.parse().ok()?, "child"))));
    }
    pids.extend(pool.worker_pids().into_iter().map(|pid| (pid, "worker")));
    pids.insert(std::process::id(), "submitter");
    pids.into_iter().map(|(pid, role)| (pid, (role, usage(pid)))).collect()
}

fn usage(pid: u32) -> Usage {
    let mut sum = Usage::default();
    for thread in threads(pid) {
        // A thread may end between the listing and the reading; it then counts nothing.
        let status = fs::read_to_string(format!("{thread}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0)
        };
        sum.voluntary += field("voluntary_ctxt_switches:");
        sum.involuntary += field("nonvoluntary_ctxt_switches:");
        let schedstat = fs::read_to_string(format!("{thread}/schedstat")).unwrap_or_default();
        sum.cpu_ns += schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    sum
}

/// The /proc folders of a process's threads.
fn threads(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect()
}
