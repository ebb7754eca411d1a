//! What a pool costs while it has nothing to do, by the number of its workers. All pools are watched at the same time, from /proc.

use crate::child::{Helper, step};
use crate::kernel::{Idle, cpu_ns, switches};
use crate::plan::Plan;
use crate::sheet::{Sheet, Table};
use std::io;
use std::time::{Duration, Instant};

const WORKERS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
const WORKERS_PYTHON: [u64; 4] = [1, 4, 16, 64];
const PYTHON: [&str; 2] = ["ProcessPoolExecutor", "multiprocessing.Pool"];

/// A pool, and what its processes had done when the watch began.
struct Watched {
    system: &'static str,
    workers: u64,
    pool: Idle,
    before: Vec<(u64, u64)>,
}

/// Wake-ups and CPU time a second.
pub fn idle(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let numbers = plan.points(&WORKERS[..plan.pick(7, 5, 3)]);
    let mut pools = Vec::new();
    for workers in numbers {
        let ours = Helper::role("idle", &[workers.to_string()]).and_then(Idle::start)?;
        pools.push(Watched { system: "taskring", workers, pool: ours, before: Vec::new() });
        for system in PYTHON.into_iter().filter(|_| WORKERS_PYTHON.contains(&workers)) {
            match Helper::start(system, Plan::idle_python(system, workers)).and_then(Idle::start) {
                Ok(pool) => pools.push(Watched { system, workers, pool, before: Vec::new() }),
                Err(why) => sheet.report.absent(system, &why.to_string()),
            }
        }
    }
    step("idle pools");
    for watched in &mut pools {
        watched.before = watched.usage();
    }
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(plan.pick(12_000, 4_000, 500)));
    let along = ("workers", "");
    let mut all = Table::new("idle", ("wake-ups a second, all processes of the pool", "/s"), along);
    let mut most = Table::new("idle", ("wake-ups a second of the process that has most", "/s"), along);
    let mut cpu = Table::new("idle", ("CPU time, all processes of the pool", "us/s"), along);
    for watched in &pools {
        let seconds = start.elapsed().as_secs_f64();
        let now = watched.usage();
        let each = now.iter().zip(&watched.before);
        let wakes: Vec<f64> = each.clone().map(|(now, then)| now.0.saturating_sub(then.0) as f64 / seconds).collect();
        let busy_ns: u64 = each.map(|(now, then)| now.1.saturating_sub(then.1)).sum();
        let x = watched.workers as f64;
        all.add(x, watched.system, wakes.iter().sum());
        most.add(x, watched.system, wakes.iter().copied().fold(0.0, f64::max));
        cpu.add(x, watched.system, busy_ns as f64 / 1000.0 / seconds);
    }
    [all, most, cpu].iter().for_each(|table| sheet.put(table));
    Ok(())
}

impl Watched {
    fn usage(&self) -> Vec<(u64, u64)> {
        self.pool.processes.iter().map(|&pid| (switches(pid), cpu_ns(pid))).collect()
    }
}
