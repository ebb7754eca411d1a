//! Very many futures: cancelling 100 000 pending tasks with one call (N9), and `as_completed` over 100 000 (N14).

use crate::child::step;
use crate::common::affinity::Pinned;
use crate::common::per;
use crate::common::rounds::{Figure, entry, interleave};
use crate::ours::{self, expected, square};
use crate::report::{Amount, Bound, Report};
use crate::setup::{Setup, Turns};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, as_completed};

taskring::task! {
    /// Runs until it is asked to stop.
    pub fn hold() {
        while !taskring::task::cancel_requested() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

const MANY: usize = 100_000;
/// What cancelling one of many pending tasks may cost.
const CANCEL_NS: f64 = 50.0;

/// A pool with room for all of them.
fn roomy(setup: &Setup) -> Executor {
    let pool = Executor::builder().workers(1).capacity(MANY + 1000).build().expect("a pool");
    ours::pin_workers(&pool, &[setup.second]);
    pool
}

/// N9.
pub fn cancelling(setup: &Setup, report: &mut Report) {
    report.heading("100 000 pending tasks are discarded with one call, while the worker is busy with another");
    let pool = roomy(setup);
    // Both figures come of one round, and the seen ones are counted in all of them.
    let (mut seeing, mut rounds_seen) = (Vec::new(), usize::MAX);
    let round = || {
        step("cancelling");
        let _pinned = Pinned::to(setup.first);
        let (cancel_ns, see_ns, seen) = cancel_many(&pool, MANY);
        seeing.push(see_ns);
        rounds_seen = rounds_seen.min(seen);
        cancel_ns
    };
    let figures = interleave(setup.pick(9, 3), vec![entry("discard, each task", round)]);
    let mut seeing = seeing.into_iter();
    let see = interleave(
        seeing.len() - 1,
        vec![entry("as_completed with no time to wait, each", || seeing.next().expect("as many"))],
    );
    let [cancelled]: [Figure; 1] = figures.try_into().unwrap_or_else(|_| unreachable!("one entry"));
    report.row("cancelling", &cancelled);
    see.iter().for_each(|figure| report.row("cancelling", figure));
    let ns = cancelled.ns();
    report.target("N9a", ("", Amount(ns, "ns")), ("bound", Amount(CANCEL_NS, "ns")), ns / CANCEL_NS, Bound::AtMost(1.0));
    let share = rounds_seen as f64 / MANY as f64;
    let amounts = (Amount(rounds_seen as f64, ""), Amount(MANY as f64, ""));
    report.target("N9b", ("seen-at-once", amounts.0), ("cancelled", amounts.1), share, Bound::AtLeast(1.0));
}

/// Nanoseconds for each cancelled task, and for seeing each; how many `as_completed` saw without waiting.
pub fn cancel_many(pool: &Executor, many: usize) -> (f64, f64, usize) {
    let busy = pool.submit(hold, ()).expect("submit");
    while busy.worker_pid().is_none() {
        std::hint::spin_loop();
    }
    let set = pool.task_set().expect("a set");
    let futures: Vec<Future<u64>> = (0..many as u64).map(|x| set.submit(square, x).expect("submit")).collect();
    let start = Instant::now();
    let discarded = set.discard().expect("a living pool");
    let cancel_ns = per(start.elapsed(), many as u64);
    assert_eq!((discarded.cancelled, discarded.running, discarded.done), (many, 0, 0), "all of them were pending");
    let start = Instant::now();
    let over = as_completed(futures, Some(Duration::ZERO)).filter(|future| {
        let of_one = future.as_ref().map(Future::result);
        matches!(of_one, Ok(Err(Error::Cancelled)))
    });
    let seen = over.count();
    let see_ns = per(start.elapsed(), many as u64);
    assert!(!busy.cancel(), "it runs, and is only asked to stop");
    busy.result().expect("it stops");
    (cancel_ns, see_ns, seen)
}

/// N14: from the first submit to the last answer, and with everything finished before the first is collected.
pub fn collecting(setup: &Setup, report: &mut Report) {
    report.heading("100 000 futures, submitted in one call, collected in order and as they end");
    let pool = roomy(setup);
    let in_order = |futures: Vec<Future<u64>>| {
        futures.into_iter().fold(0u64, |sum, future| sum.wrapping_add(future.result().expect("an answer")))
    };
    let as_they_end = |futures: Vec<Future<u64>>| {
        let answer = |future: taskring::Result<Future<u64>>| future.and_then(|future| future.result()).expect("an answer");
        as_completed(futures, None).map(answer).fold(0, u64::wrapping_add)
    };
    let submit = || pool.submit_bulk(square, 0..MANY as u64).expect("submit_bulk");
    let whole = |collect: &dyn Fn(Vec<Future<u64>>) -> u64| {
        let _pinned = Pinned::to(setup.first);
        let start = Instant::now();
        let sum = collect(submit());
        let elapsed = start.elapsed();
        assert_eq!(sum, expected(MANY as u64));
        per(elapsed, MANY as u64)
    };
    let finished = |collect: &dyn Fn(Vec<Future<u64>>) -> u64| {
        let _pinned = Pinned::to(setup.first);
        let futures = submit();
        while !futures.iter().rev().all(Future::is_done) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        let sum = collect(futures);
        let elapsed = start.elapsed();
        assert_eq!(sum, expected(MANY as u64));
        per(elapsed, MANY as u64)
    };
    let mut turns = Turns::new(setup);
    turns.round("as_completed", || whole(&as_they_end));
    turns.round("in order", || whole(&in_order));
    turns.round("as_completed, all finished before", || finished(&as_they_end));
    turns.round("in order, all finished before", || finished(&in_order));
    let figures = turns.run(setup.pick(11, 5), report, "collecting");
    figures.judge(report, "N14", "as_completed", "in order", 2.0);
}
