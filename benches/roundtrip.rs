//! How long one small task takes there and back, beside what the hardware allows.
//!
//! `cargo bench --bench roundtrip`: criterion's figures, then lines whose ratio comes from rounds that took turns.
//!
//! * awake: the worker is spinning; the limit is a cache line there and back between two processes;
//! * asleep: nothing was submitted for 5 ms; the limit is a futex wake-up there and back.

mod common;

use common::affinity::{self, Pinned};
use common::crossbeam_pool::CrossbeamPool;
use common::limit::Partner;
use common::placement::{self, Placement};
use common::rounds::{Figure, entry, interleave};
use common::{Mode, per, verdict};
use criterion::Criterion;
use std::time::{Duration, Instant};
use taskring::Executor;

taskring::test_support!();

taskring::task! {
    /// Eight bytes there, eight bytes back.
    fn square(x: u64) -> u64 { plain_square(x) }
}

fn plain_square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Long enough for every worker and waiter to have stopped spinning.
const IDLE: Duration = Duration::from_millis(5);

/// Round trips before the clock starts, so that the worker is awake and on its CPU.
const WARM_UP: u64 = 200;

/// The bound on the awake round trip, in cache-line round trips.
const TARGET: f64 = 2.5;

fn main() {
    let mode = Mode::from_args();
    // Before any pool: the forked partner must hold none of its descriptors.
    let partner = Partner::start().expect("a forked partner");
    let pool = placement::pool(1, 1024);
    let mut criterion = common::criterion();
    measure(&mut criterion, &pool, &partner);
    criterion.final_summary();
    if mode == Mode::Measure {
        report(&pool, &partner);
    }
}

fn measure(criterion: &mut Criterion, pool: &Executor, partner: &Partner) {
    let mut group = criterion.benchmark_group("roundtrip");
    for placement in [Placement::Pinned, Placement::Free] {
        group.bench_function(format!("awake {}", placement.name()), |bencher| {
            bencher.iter_custom(|count| awake(pool, placement, count));
        });
    }
    group.bench_function("limit: cache line", |bencher| {
        bencher.iter_custom(|count| nanoseconds(partner.cacheline_ns(count as u32), count));
    });
    // Each iteration idles first, so a few have to do.
    group.sample_size(10);
    group.bench_function("asleep pinned", |bencher| {
        bencher.iter_custom(|count| asleep(pool, Placement::Pinned, count));
    });
    group.bench_function("limit: futex", |bencher| {
        bencher.iter_custom(|count| nanoseconds(partner.futex_ns(count as u32, IDLE), count));
    });
    group.finish();
}

fn report(pool: &Executor, partner: &Partner) {
    let (first, second) = affinity::pair();
    let peer = CrossbeamPool::pinned(&[second], 1);
    println!("roundtrip: {}", affinity::describe());
    let figures = interleave(
        31,
        vec![
            entry("ours", || per(awake(pool, Placement::Pinned, 10_000), 10_000)),
            entry("cacheline", || partner.cacheline_ns(10_000)),
            entry("crossbeam", || crossbeam(&peer, first, 5_000)),
            entry("unpinned", || per(awake(pool, Placement::Free, 10_000), 10_000)),
            entry("asleep", || per(asleep(pool, Placement::Pinned, 10), 10)),
            entry("futex", || partner.futex_ns(10, IDLE)),
        ],
    );
    print_ratios(&figures);
    for figure in &figures {
        let (fastest, slowest) = figure.spread();
        println!("roundtrip:   {:10} median {:.0}, rounds {fastest:.0} to {slowest:.0} ns", figure.name, figure.ns());
    }
}

fn print_ratios(figures: &[Figure]) {
    let [ours, cacheline, crossbeam, unpinned, asleep, futex] = figures else { unreachable!("as many figures as entries") };
    let ratio = ours.against(cacheline);
    println!(
        "roundtrip: ours={:.0} cacheline={:.0} ratio={ratio:.2} target<={TARGET} {}",
        ours.ns(),
        cacheline.ns(),
        verdict(ratio, TARGET),
    );
    for (what, ours, name, other) in [
        ("beside threads", ours, "crossbeam", crossbeam),
        ("unpinned", unpinned, "pinned", ours),
        ("asleep", asleep, "futex", futex),
    ] {
        println!("roundtrip: {what} ours={:.0} {name}={:.0} ratio={:.2}", ours.ns(), other.ns(), ours.against(other));
    }
}

/// `count` round trips one after the other, the worker spinning.
fn awake(pool: &Executor, placement: Placement, count: u64) -> Duration {
    let _pinned = placement.apply(pool);
    for x in 0..WARM_UP {
        there_and_back(pool, x);
    }
    let start = Instant::now();
    for x in 0..count {
        there_and_back(pool, x);
    }
    start.elapsed()
}

/// `count` round trips, each to a worker that has gone to sleep; only the round trips are timed.
fn asleep(pool: &Executor, placement: Placement, count: u64) -> Duration {
    let _pinned = placement.apply(pool);
    let mut total = Duration::ZERO;
    for x in 0..count {
        std::thread::sleep(IDLE);
        let start = Instant::now();
        there_and_back(pool, x);
        total += start.elapsed();
    }
    total
}

fn there_and_back(pool: &Executor, x: u64) {
    let future = pool.submit(square, x).expect("submit");
    assert_eq!(future.result().expect("result"), plain_square(x));
}

/// The peer's round trip in nanoseconds, its submitter pinned to `cpu`.
fn crossbeam(peer: &CrossbeamPool, cpu: usize, count: u64) -> f64 {
    let _pinned = Pinned::to(cpu);
    let start = Instant::now();
    let sum = peer.run(count, 1, plain_square);
    let elapsed = start.elapsed();
    assert_eq!(sum, (0..count).map(plain_square).fold(0, u64::wrapping_add));
    per(elapsed, count)
}

fn nanoseconds(each: f64, count: u64) -> Duration {
    Duration::from_nanos((each * count as f64) as u64)
}
