//! One round of tasks, for comparing two builds: `benches/against.sh` runs this program of either build in turns.
//!
//! `cargo bench --bench round` prints nanoseconds for each task, a line for each way of handing tasks over.

mod common;

use common::placement::{self, Placement};
use common::{Mode, feed, per};
use std::time::Instant;
use taskring::Executor;

taskring::test_support!();

taskring::task! {
    /// As little work as a task can have.
    fn square(x: u64) -> u64 { x.wrapping_mul(x) }
}

fn main() {
    let mode = Mode::from_args();
    if mode == Mode::List {
        return;
    }
    let count = mode.pick(200_000, 500);
    let pool = placement::pool(1, 2048);
    let _pinned = Placement::Pinned.apply(&pool);
    print("single", count, || feed::single(&pool, square, 1000, count));
    print("bulk", count, || feed::bulk(&pool, square, 64, 15, count));
    print("roundtrip", count / 4, || roundtrips(&pool, count / 4));
}

fn roundtrips(pool: &Executor, count: u64) -> u64 {
    (0..count).map(|x| feed::collect(pool.submit(square, x).expect("submit"))).fold(0, u64::wrapping_add)
}

/// Runs it twice, and tells of the second time.
fn print(name: &str, count: u64, mut run: impl FnMut() -> u64) {
    let expected = (0..count).map(|x| x.wrapping_mul(x)).fold(0, u64::wrapping_add);
    assert_eq!(run(), expected, "{name}");
    let start = Instant::now();
    assert_eq!(run(), expected, "{name}");
    println!("{name} {:.1}", per(start.elapsed(), count));
}
