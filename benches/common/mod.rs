//! What the benches share: pinning, the hardware's limit, the peer, and rounds that take turns.
//!
//! Every target of these benches is a ratio inside one run, so the limit and the peer are measured
//! in the same binary, in turns with our own path, and every answer is checked.
#![allow(dead_code, reason = "each bench uses its own part of these helpers")]

pub mod affinity;
pub mod c_pool;
pub mod crossbeam_pool;
pub mod feed;
pub mod limit;
pub mod placement;
pub mod rounds;

use criterion::Criterion;
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `cargo bench`: criterion measures, then the interleaved report is printed.
    Measure,
    /// `cargo test --benches`, or `--test`: everything runs once and fast, answers checked, no report.
    Test,
    /// `--list` and the like: criterion only.
    List,
}

impl Mode {
    /// Read from the arguments by the rule that criterion itself follows: without `--bench` it is a test.
    pub fn from_args() -> Mode {
        let has = |flag: &str| std::env::args().any(|arg| arg == flag);
        if has("--list") {
            Mode::List
        } else if has("--bench") && !has("--test") {
            Mode::Measure
        } else {
            Mode::Test
        }
    }

    /// `full` when measuring, `small` otherwise.
    pub fn pick<T>(self, full: T, small: T) -> T {
        if self == Mode::Measure { full } else { small }
    }
}

/// Criterion with settings that keep a whole bench file under a minute or two.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// `ok` when the ratio keeps its target, `short` when it does not.
pub fn verdict(ratio: f64, target: f64) -> &'static str {
    if ratio <= target { "ok" } else { "short" }
}

/// Nanoseconds for each of `count` operations.
pub fn per(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_nanos() as f64 / count as f64
}
