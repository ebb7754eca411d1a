//! Does a pool of processes pay for *your* function? Put it into `work` below and run
//! `cargo bench --bench template`.
//!
//! Three ways are compared, with calls of about 1 us, 100 us and 10 ms: one process calling in a loop, rayon's
//! threads, and taskring's processes. The last line says from which length of a call the pool pays.

mod common;

use common::rounds::{Figure, entry, interleave};
use common::{Mode, per};
use criterion::{Criterion, Throughput};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::hint::black_box;
use std::time::{Duration, Instant};
use taskring::{Executor, MapOptions};

taskring::test_support!();

/// PUT YOUR FUNCTION HERE. `size` makes a call longer; the bench finds the sizes for the lengths it wants.
/// If yours has no such thing, ignore `size`: the figures show the length that was measured.
fn work(size: u64) -> u64 {
    let mut x = size | 1;
    for _ in 0..size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

taskring::task! {
    /// The same function, on a worker process.
    fn work_there(size: u64) -> u64 { work(size) }
}

/// The lengths of a call that criterion measures.
const LENGTHS: [Duration; 3] = [Duration::from_micros(1), Duration::from_micros(100), Duration::from_millis(10)];

/// The lengths among which the one is looked for from which the pool pays.
const STEPS_NS: [u64; 9] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000, 10_000_000];

/// The pool pays when it needs at most so much of the time of one process.
const PAYS: f64 = 0.95;

/// One row: how many calls of which size.
#[derive(Clone, Copy)]
struct Load {
    size: u64,
    calls: u64,
    /// Calls that travel to a worker as one, so that each trip carries some 20 us of work.
    chunk: usize,
}

impl Load {
    /// Calls of about `length` each, as many as last about `total` in one process.
    fn new(length: Duration, total: Duration) -> Load {
        let size = size_for(length);
        let each = call_ns(size).max(1.0);
        let calls = (total.as_nanos() as f64 / each) as u64;
        Load { size, calls: calls.clamp(8, 100_000), chunk: (20_000.0 / each).clamp(1.0, 64.0) as usize }
    }
}

fn main() {
    let mode = Mode::from_args();
    let workers = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let pool = Executor::builder().workers(workers).build().expect("a pool");
    let mut criterion = common::criterion().sample_size(10).configure_from_args();
    measure(&mut criterion, mode, &pool);
    criterion.final_summary();
    if mode == Mode::Measure {
        report(&pool);
    }
}

fn measure(criterion: &mut Criterion, mode: Mode, pool: &Executor) {
    for length in LENGTHS {
        let load = Load::new(length, mode.pick(Duration::from_millis(50), Duration::ZERO));
        let mut group = criterion.benchmark_group(format!("template {length:?}"));
        group.throughput(Throughput::Elements(load.calls));
        group.bench_function("one process", |bencher| bencher.iter(|| one_process(load)));
        group.bench_function("rayon", |bencher| bencher.iter(|| rayon(load)));
        group.bench_function("taskring", |bencher| bencher.iter(|| taskring(pool, load)));
        group.finish();
    }
}

fn report(pool: &Executor) {
    println!("template: nanoseconds per call with {} workers and as many rayon threads", pool.workers());
    // The shortest length such that the pool pays there and at every longer one.
    let mut pays_from = None;
    for step in STEPS_NS {
        let load = Load::new(Duration::from_nanos(step), Duration::from_millis(30));
        let figures = interleave(
            5,
            vec![
                entry("one process", || timed(load, || one_process(load))),
                entry("rayon", || timed(load, || rayon(load))),
                entry("taskring", || timed(load, || taskring(pool, load))),
            ],
        );
        let [alone, rayon, ours] = &figures[..] else { unreachable!("as many figures as entries") };
        print_row(alone, rayon, ours);
        let pays = ours.against(alone) <= PAYS;
        pays_from = if pays { pays_from.or(Some(alone.ns())) } else { None };
    }
    match pays_from {
        Some(ns) => println!("template: the pool pays from about {:.1} us a call", ns / 1000.0),
        None => println!("template: the pool does not pay for calls up to 10 ms here"),
    }
}

fn print_row(alone: &Figure, rayon: &Figure, ours: &Figure) {
    println!(
        "template: one process={:.0} rayon={:.0} ({:.2}) taskring={:.0} ({:.2})",
        alone.ns(),
        rayon.ns(),
        rayon.against(alone),
        ours.ns(),
        ours.against(alone),
    );
}

fn timed(load: Load, run: impl Fn() -> u64) -> f64 {
    let expected = work(load.size).wrapping_mul(load.calls);
    let start = Instant::now();
    let sum = run();
    let elapsed = start.elapsed();
    assert_eq!(sum, expected, "the sum of {} answers", load.calls);
    per(elapsed, load.calls)
}

fn one_process(load: Load) -> u64 {
    (0..load.calls).map(|_| work(black_box(load.size))).fold(0, u64::wrapping_add)
}

fn rayon(load: Load) -> u64 {
    (0..load.calls).into_par_iter().map(|_| work(black_box(load.size))).reduce(|| 0, u64::wrapping_add)
}

fn taskring(pool: &Executor, load: Load) -> u64 {
    let options = MapOptions::new().window(8 * pool.workers()).chunk(load.chunk);
    let answers = pool.map_with(&options, work_there, (0..load.calls).map(|_| load.size)).expect("map");
    answers.fold(0, |sum, answer| sum.wrapping_add(answer.expect("an answer of map")))
}

/// The size whose call lasts about `length`, found by doubling.
fn size_for(length: Duration) -> u64 {
    let wanted = length.as_nanos() as f64;
    let mut size = 1u64;
    loop {
        let each = call_ns(size).max(1.0);
        if each >= wanted / 2.0 || size >= 1 << 40 {
            return ((size as f64 * wanted / each) as u64).max(1);
        }
        size *= 2;
    }
}

/// How long one call of that size lasts: the best of three tries of at least 50 us each.
fn call_ns(size: u64) -> f64 {
    let one_try = || {
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < Duration::from_micros(50) {
            // Several calls a look at the clock, for the clock costs some 20 ns itself.
            let several = if calls == 0 { 1 } else { 16 };
            (0..several).for_each(|_| {
                black_box(work(black_box(size)));
            });
            calls += several;
        }
        per(start.elapsed(), calls)
    };
    (0..3).map(|_| one_try()).fold(f64::INFINITY, f64::min)
}
