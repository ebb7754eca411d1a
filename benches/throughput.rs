//! How long each of many small tasks takes when many are under way, beside a pool of threads in one process.
//!
//! `cargo bench --bench throughput`: criterion's figures, then lines whose ratio comes from rounds that took turns.
//! Every sum of answers is checked.

mod common;

use common::affinity::{self, Pinned};
use common::crossbeam_pool::CrossbeamPool;
use common::feed;
use common::placement::{self, Placement};
use common::rounds::{Entry, Figure, entry, interleave};
use common::{Mode, per, verdict};
use criterion::Criterion;
use std::fmt;
use std::time::{Duration, Instant};
use taskring::Executor;

taskring::test_support!();

taskring::task! {
    /// As little work as a task can have.
    fn square(x: u64) -> u64 { plain_square(x) }
}

fn plain_square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Tasks under way when nothing else is said.
const WINDOW: usize = 1000;

/// Tasks in each round of the report.
const TASKS: u64 = 100_000;

/// Tasks before the clock starts, so that the workers are awake and on their CPUs.
const WARM_UP: u64 = 2_000;

/// Room for the most that is under way: two batches of 1000.
const CAPACITY: usize = 2048;

/// Windows of single submits.
const WINDOWS: [usize; 3] = [16, 64, WINDOW];

/// How tasks are handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// One `submit` per task, collected behind a window of so many.
    Single(usize),
    /// `submit_bulk` with so many tasks a batch, as many batches under way as fit a window of 1000, at least two.
    Bulk(usize),
    /// `map`, so many tasks travelling as one, as many of these under way as fit a window of 1000.
    Map(usize),
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feed::Single(window) => write!(f, "single window {window}"),
            Feed::Bulk(batch) => write!(f, "bulk batch {batch}"),
            Feed::Map(chunk) => write!(f, "map chunk {chunk}"),
        }
    }
}

/// Every way of feeding that is measured.
const FEEDS: [Feed; 8] = [
    Feed::Single(16),
    Feed::Single(64),
    Feed::Single(WINDOW),
    Feed::Bulk(16),
    Feed::Bulk(64),
    Feed::Bulk(1000),
    Feed::Map(16),
    Feed::Map(64),
];

/// The bounds for one submitter and one worker on a CPU each, in times of the peer.
const TARGETS: [(Feed, f64); 5] = [
    (Feed::Single(WINDOW), 2.0),
    (Feed::Bulk(16), 0.7),
    (Feed::Bulk(64), 0.7),
    (Feed::Bulk(1000), 0.7),
    (Feed::Map(64), 0.7),
];

/// What a pool with as many workers as CPUs, left to the kernel, may cost in times of the pinned pair.
const TARGET_CROWDED: f64 = 2.0;

/// The ways of feeding that are measured with every number of workers and every placement.
const COMMON_FEEDS: [Feed; 3] = [Feed::Single(WINDOW), Feed::Bulk(64), Feed::Map(64)];

fn main() {
    let mode = Mode::from_args();
    let mut workers = vec![1, 2, affinity::allowed().len()];
    workers.sort_unstable();
    workers.dedup();
    let pools: Vec<Executor> = workers.into_iter().map(|count| placement::pool(count, CAPACITY)).collect();
    let mut criterion = common::criterion().measurement_time(Duration::from_secs(1)).configure_from_args();
    measure(&mut criterion, mode, &pools);
    criterion.final_summary();
    if mode == Mode::Measure {
        report(&pools);
    }
}

fn measure(criterion: &mut Criterion, mode: Mode, pools: &[Executor]) {
    for pool in pools {
        for placement in [Placement::Pinned, Placement::Free] {
            let mut group = criterion.benchmark_group(format!("throughput {}", setting(pool, placement)));
            for feed in FEEDS {
                group.bench_function(feed.to_string(), |bencher| {
                    bencher.iter_custom(|count| ours(pool, placement, feed, mode.pick(count, 500)));
                });
            }
            group.finish();
        }
    }
    let (first, second) = affinity::pair();
    let peer = CrossbeamPool::pinned(&[second], WINDOW);
    let mut group = criterion.benchmark_group("throughput crossbeam 1+1");
    for window in WINDOWS {
        group.bench_function(Feed::Single(window).to_string(), |bencher| {
            bencher.iter_custom(|count| crossbeam(&peer, first, window, mode.pick(count, 500)));
        });
    }
    group.finish();
}

fn report(pools: &[Executor]) {
    let (first, second) = affinity::pair();
    let peer = CrossbeamPool::pinned(&[second], WINDOW);
    let mut entries = vec![];
    for window in WINDOWS {
        let peer = &peer;
        let round = move || per(crossbeam(peer, first, window, TASKS), TASKS);
        entries.push(entry(format!("crossbeam 1+1 {}", Feed::Single(window)), round));
    }
    for (index, pool) in pools.iter().enumerate() {
        entries.extend(our_entries(pool, Placement::Pinned, if index == 0 { &FEEDS } else { &COMMON_FEEDS }));
        entries.extend(our_entries(pool, Placement::Free, &COMMON_FEEDS));
    }
    println!("throughput: {}", affinity::describe());
    let figures = interleave(31, entries);
    for figure in &figures {
        let (fastest, slowest) = figure.spread();
        println!("throughput:   {:32} median {:.0}, rounds {fastest:.0} to {slowest:.0} ns", figure.name, figure.ns());
    }
    print_targets(&figures);
}

fn our_entries<'a>(pool: &'a Executor, placement: Placement, feeds: &[Feed]) -> Vec<Entry<'a>> {
    let one = |&feed: &Feed| {
        let name = format!("{} {feed}", setting(pool, placement));
        entry(name, move || per(ours(pool, placement, feed, TASKS), TASKS))
    };
    feeds.iter().map(one).collect()
}

/// `pinned 1+2`: where they run, one submitter, so many workers.
fn setting(pool: &Executor, placement: Placement) -> String {
    format!("{} 1+{}", placement.name(), pool.workers())
}

fn print_targets(figures: &[Figure]) {
    let find = |name: String| figures.iter().find(|figure| figure.name == name).expect("a figure of that name");
    let line = |what: &str, ours: &Figure, other: &Figure, name: &str, target: f64| {
        let ratio = ours.against(other);
        println!(
            "throughput: {what} ours={:.0} {name}={:.0} ratio={ratio:.2} target<={target:.1} {}",
            ours.ns(),
            other.ns(),
            verdict(ratio, target),
        );
    };
    let peer = find(format!("crossbeam 1+1 {}", Feed::Single(WINDOW)));
    for (feed, target) in TARGETS {
        let what = format!("pinned 1+1 {feed}");
        line(&what, find(what.clone()), peer, "crossbeam", target);
    }
    let cpus = affinity::allowed().len();
    for feed in COMMON_FEEDS {
        let crowded = find(format!("unpinned 1+{cpus} {feed}"));
        let plain = find(format!("pinned 1+1 {feed}"));
        line(&format!("workers=CPUs unpinned {feed}"), crowded, plain, "against pinned 1+1", TARGET_CROWDED);
    }
}

/// `count` tasks through our pool; the sum of their answers is checked.
fn ours(pool: &Executor, placement: Placement, feed: Feed, count: u64) -> Duration {
    let _pinned = placement.apply(pool);
    run(pool, feed, WARM_UP.min(count));
    let start = Instant::now();
    let sum = run(pool, feed, count);
    let elapsed = start.elapsed();
    assert_eq!(sum, expected(count), "{feed}, {count} tasks");
    elapsed
}

fn run(pool: &Executor, how: Feed, count: u64) -> u64 {
    match how {
        Feed::Single(window) => feed::single(pool, square, window, count),
        Feed::Bulk(batch) => feed::bulk(pool, square, batch as u64, (WINDOW / batch).max(2), count),
        Feed::Map(chunk) => feed::map(pool, square, WINDOW, chunk, count),
    }
}

/// The same `count` tasks through the peer, its submitter pinned to `cpu`.
fn crossbeam(peer: &CrossbeamPool, cpu: usize, window: usize, count: u64) -> Duration {
    let _pinned = Pinned::to(cpu);
    peer.run(WARM_UP.min(count), window, plain_square);
    let start = Instant::now();
    let sum = peer.run(count, window, plain_square);
    let elapsed = start.elapsed();
    assert_eq!(sum, expected(count), "crossbeam, {count} tasks");
    elapsed
}

fn expected(count: u64) -> u64 {
    (0..count).map(plain_square).fold(0, u64::wrapping_add)
}
