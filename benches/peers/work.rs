//! Tasks that do some work (N12): which part of the workers' time goes into it.
//!
//! The same loop runs here, on the CPU of the worker, in turns with the pool: what it takes without any pool is the work. On a pool the
//! efficiency is that work over the time and the number of workers.

use crate::common::affinity::Pinned;
use crate::common::{feed, per};
use crate::ours;
use crate::report::{Amount, Bound, Report};
use crate::setup::{Setup, Turns};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;
use taskring::{Executor, Future};

taskring::task! {
    /// So many steps of work.
    pub fn work(steps: u64) -> u64 { work_here(steps) }
}

/// Steps that the compiler can neither drop nor shorten.
pub fn work_here(steps: u64) -> u64 {
    (0..steps).fold(1, |number: u64, step| black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step)))
}

/// Length of a task in microseconds, and the least efficiency.
const LENGTHS: [(u64, f64); 3] = [(1, 0.90), (10, 0.98), (100, 0.99)];
const WINDOW: usize = 64;

/// N12.
pub fn measure(setup: &Setup, report: &mut Report) {
    efficiency(setup, report, 1);
    if setup.cpus.len() >= 3 {
        efficiency(setup, report, 2);
    } else {
        report.remark(&format!("N12 with 2 workers needs 3 CPUs, and here are {}", setup.cpus.len()));
    }
}

fn efficiency(setup: &Setup, report: &mut Report, workers: usize) {
    report.heading(&format!("tasks of 1, 10 and 100 us of work, {workers} worker(s)"));
    let pool = Executor::builder().workers(workers).build().expect("a pool");
    ours::pin_workers(&pool, &setup.cpus[1.min(setup.cpus.len() - 1)..]);
    let steps_of_1_us = calibrated(setup.second);
    let mut turns = Turns::new(setup);
    for (length, _) in LENGTHS {
        let (steps, count) = (steps_of_1_us * length, setup.pick(100_000, 30_000) / length);
        let expected = work_here(steps);
        turns.round(&format!("work of {length} us alone"), move || {
            let _pinned = Pinned::to(setup.second);
            let start = Instant::now();
            (0..count).for_each(|_| assert_eq!(work_here(black_box(steps)), expected));
            per(start.elapsed(), count) / workers as f64
        });
        let pool = &pool;
        turns.round(&format!("work of {length} us in the pool"), move || {
            let _pinned = Pinned::to(setup.first);
            through(pool, WINDOW, steps, 200);
            let start = Instant::now();
            let sum = through(pool, WINDOW, steps, count);
            let elapsed = start.elapsed();
            assert_eq!(sum, expected.wrapping_mul(count));
            per(elapsed, count)
        });
    }
    let figures = turns.run(setup.pick(15, 5), report, "work");
    for ((length, least), letter) in LENGTHS.into_iter().zip(["a", "b", "c"]) {
        let (alone, pool) =
            (figures.get(&format!("work of {length} us alone")), figures.get(&format!("work of {length} us in the pool")));
        let ours = format!("{length}us-{workers}-worker");
        let amounts = (Amount(pool.ns(), "ns"), Amount(alone.ns(), "ns"));
        let efficiency = alone.against(pool);
        report.target(
            &format!("N12{letter}"),
            (&ours, amounts.0),
            ("work alone", amounts.1),
            efficiency,
            Bound::AtLeast(least),
        );
    }
}

/// How many steps take a microsecond: the most of a few tries, that is, undisturbed.
pub fn calibrated(cpu: usize) -> u64 {
    let _pinned = Pinned::to(cpu);
    let steps = 1_000_000_u64;
    let one = || {
        let start = Instant::now();
        black_box(work_here(black_box(steps)));
        start.elapsed().as_nanos() as u64
    };
    let fastest = (0..10).map(|_| one()).min().unwrap_or(u64::MAX);
    (steps * 1000 / fastest).max(1)
}

/// So many tasks of so many steps behind a window; the sum of their answers.
pub fn through(pool: &Executor, window: usize, steps: u64, count: u64) -> u64 {
    let mut under_way: VecDeque<Future<u64>> = VecDeque::with_capacity(window);
    let mut sum = 0u64;
    for _ in 0..count {
        if under_way.len() == window {
            sum = sum.wrapping_add(feed::collect(under_way.pop_front().expect("a full window")));
        }
        under_way.push_back(pool.submit(work, steps).expect("submit"));
    }
    under_way.into_iter().map(feed::collect).fold(sum, u64::wrapping_add)
}
