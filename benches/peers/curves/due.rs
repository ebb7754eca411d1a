//! Latency under load: percentiles of the time from when a task is due until its answer is seen, by the rate at which tasks fall due.

use crate::common::crossbeam_pool::CrossbeamPool;
use crate::latency;
use crate::ours::{self, CAPACITY, plain};
use crate::plan::Plan;
use crate::sheet::{Sheet, Table};
use hdrhistogram::Histogram;
use std::io;
use std::time::Duration;

/// Tasks a second.
const RATES: [u64; 9] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000, 4_000_000];
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The median run of a few, by its 99th percentile.
pub fn latency(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let (first, second) = (plan.setup.first, plan.setup.second);
    let (time, rounds) = (Duration::from_millis(plan.pick(400, 200, 20)), plan.pick(5, 3, 1));
    let pool = ours::pinned_pool(second);
    let crossbeam = CrossbeamPool::pinned(&[second], CAPACITY);
    let mut table = Table::new("latency", ("time from due to answered", "ns"), ("tasks due a second", ""));
    for rate in plan.points(&RATES) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(latency::run_ours(first, &pool, rate, time));
            let submit = |x| crossbeam.submit(Box::new(move || plain(x)));
            theirs.push(latency::run(first, rate, time, submit, |()| crossbeam.try_collect()));
        }
        for (system, mut runs) in [("taskring", ours), ("crossbeam", theirs)] {
            runs.sort_by_key(|run: &Histogram<u64>| run.value_at_quantile(0.99));
            for (name, share) in PERCENTILES {
                let value = runs[rounds / 2].value_at_quantile(share);
                table.add(rate as f64, &format!("{system}, {name}"), value as f64);
            }
        }
    }
    sheet.put(&table);
    Ok(())
}
