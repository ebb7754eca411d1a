//! Latency under load (N15): how long a task takes from when it was due until its answer is seen, while tasks are due at a fixed rate.
//!
//! Tasks fall due by the clock, not when the one before is over, so what waits behind a slow task counts as slow as well. The submitter sleeps
//! never and looks for answers all the time.

use crate::child::step;
use crate::common::affinity::Pinned;
use crate::ours::{CAPACITY, plain, square};
use crate::report::{Amount, Bound, Report};
use crate::setup::Setup;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use taskring::{Executor, Future};

/// Tasks a second.
const RATES: [u64; 4] = [10_000, 100_000, 300_000, 1_000_000];
/// The one that the target is about, and what its 99th percentile may be in times of its median.
const RATE: u64 = 100_000;
const P99_MAX: f64 = 20.0;

/// N15: the median run of a few at each rate, by its 99th percentile.
pub fn under_load(setup: &Setup, report: &mut Report, pool: &Executor) {
    report.heading("latency of tasks that fall due at a fixed rate, pinned 1 + 1");
    let (time, rounds) = (setup.pick(Duration::from_secs(1), Duration::from_millis(300)), setup.pick(5, 3));
    for rate in RATES {
        let mut runs: Vec<Histogram<u64>> = (0..rounds).map(|_| run_ours(setup.first, pool, rate, time)).collect();
        runs.sort_by_key(|run| run.value_at_quantile(0.99));
        let typical = &runs[rounds / 2];
        let at = |share: f64| typical.value_at_quantile(share) as f64;
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            report.value("latency under load", &format!("{rate} tasks/s, {name}"), Amount(at(share), "ns"));
        }
        if rate == RATE {
            let amounts = (Amount(at(0.99), "ns"), Amount(at(0.5), "ns"));
            let ratio = amounts.0.0 / amounts.1.0;
            report.target("N15", ("p99", amounts.0), ("p50", amounts.1), ratio, Bound::AtMost(P99_MAX));
        }
    }
}

/// One run of our pool.
pub fn run_ours(first: usize, pool: &Executor, rate: u64, time: Duration) -> Histogram<u64> {
    let submit = |x| pool.submit(square, x).expect("submit");
    run(first, rate, time, submit, |future: &Future<u64>| future.is_done().then(|| future.result().expect("an answer")))
}

/// One run: `submit` hands over the task of that number, `answer` gives its answer once it is there. Answers are asked for in the order
/// of the tasks.
pub fn run<T>(
    first: usize,
    rate: u64,
    time: Duration,
    submit: impl Fn(u64) -> T,
    answer: impl Fn(&T) -> Option<u64>,
) -> Histogram<u64> {
    step("latency under load");
    let _pinned = Pinned::to(first);
    let mut found = Histogram::new(3).expect("three digits are possible");
    let gap = Duration::from_nanos(1_000_000_000 / rate);
    let count = time.as_nanos() as u64 / gap.as_nanos() as u64;
    let mut under_way: VecDeque<(Instant, u64, T)> = VecDeque::with_capacity(CAPACITY);
    let start = Instant::now();
    let mut next = 0;
    while next < count || !under_way.is_empty() {
        let due = start + gap * next as u32;
        if next < count && under_way.len() < CAPACITY && Instant::now() >= due {
            under_way.push_back((due, next, submit(next)));
            next += 1;
        }
        while let Some(got) = under_way.front().and_then(|(_, _, task)| answer(task)) {
            let (due, x, _) = under_way.pop_front().expect("the one that was asked for");
            assert_eq!(got, plain(x));
            found.record(due.elapsed().as_nanos() as u64).expect("a histogram that grows");
        }
    }
    found
}
