//! What the integration tests share: a watchdog, conditions to wait for, looks at processes and descriptors, a board of
//! counters that tests and tasks see alike, and a few tasks.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test file uses its part of it")]

mod board;
mod watchdog;

pub use board::Board;
pub use watchdog::{Watchdog, watchdog};

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Long enough for anything that a test waits for on a busy machine, and shorter than a watchdog.
pub const SOON: Duration = Duration::from_secs(20);

taskring::task! {
    /// The square, of what is small enough for one.
    pub fn square(x: u64) -> u64 { x * x }
    /// The process that runs it.
    pub fn own_pid() -> u32 { std::process::id() }
    /// Takes its time: for tests that need tasks which end one after the other.
    pub fn nap(ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }
    /// Counts itself in a cell of a board.
    pub fn count_in(board: String, cell: u64) -> u64 { Board::at(&board)[cell as usize].fetch_add(1, SeqCst) }
    /// Counts itself in a cell, and ends when the next cell is set. It gives the number of its own cell back.
    pub fn hold(board: String, cell: u64) -> u64 {
        let cells = Board::at(&board);
        cells[cell as usize].fetch_add(1, SeqCst);
        wait_until(SOON, || cells[cell as usize + 1].load(SeqCst) != 0);
        cell
    }
    /// Fails with a text.
    pub fn fail_with(text: String) -> Result<u64, taskring::TaskError> { Err(taskring::TaskError::new(text)) }
    /// Panics with a text.
    pub fn panic_with(text: String) -> u64 { panic!("{text}") }
}

/// Runs one test function with worker processes and with worker threads.
#[macro_export]
macro_rules! both_kinds {
    ($($(#[$meta:meta])* fn $name:ident($kind:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing")]
            use super::*;

            $(#[$meta])*
            fn body($kind: taskring::StartMethod) $body

            #[test]
            fn with_processes() {
                let _dog = $crate::common::watchdog(120);
                body(taskring::StartMethod::Spawn);
            }
            #[test]
            fn with_threads() {
                let _dog = $crate::common::watchdog(120);
                body(taskring::StartMethod::Thread);
            }
        }
    )*};
}

/// A pool of this kind and number of workers.
pub fn pool_of(kind: taskring::StartMethod, workers: usize) -> taskring::Executor {
    taskring::Executor::builder().workers(workers).start(kind).build().expect("a pool")
}

/// A pool with a ring of this size.
pub fn small_pool(kind: taskring::StartMethod, workers: usize, capacity: usize) -> taskring::Executor {
    let builder = taskring::Executor::builder().workers(workers).start(kind).capacity(capacity);
    builder.build().expect("a pool")
}

/// Waits for a condition; it is a failure when it does not come true in time.
#[track_caller]
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "what was waited for did not come true within {limit:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// How often a test repeats what it does: less in a debug build, and as `TASKRING_TEST_SCALE` says. The count is printed.
pub fn scaled(debug: usize, release: usize) -> usize {
    let base = if cfg!(debug_assertions) { debug } else { release };
    let factor = std::env::var("TASKRING_TEST_SCALE").map_or(1.0, |s| s.parse::<f64>().expect("a number"));
    let count = ((base as f64 * factor) as usize).max(1);
    println!("{count} times (TASKRING_TEST_SCALE={factor})");
    count
}

/// Numbers that differ from run to run. The seed is printed; `TASKRING_TEST_SEED` repeats a run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let fresh = || monotonic_ns() ^ u64::from(std::process::id()) << 32;
        let seed = std::env::var("TASKRING_TEST_SEED").map_or_else(|_| fresh(), |s| s.parse().expect("a number"));
        println!("TASKRING_TEST_SEED={seed}");
        Random(seed | 1)
    }
    /// Always the same numbers, for one of several threads that share a printed seed.
    pub fn seeded(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// The clock that all processes share.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to the pointer, which is a live local.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A pool name that no other test uses, in this process or another.
pub fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test-{}-{}-{:x}", std::process::id(), NEXT.fetch_add(1, SeqCst), monotonic_ns())
}

/// The fields of `/proc/PID/stat` that follow the program's name: state, parent, and so on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process runs; a zombie does not.
pub fn pid_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// The processes whose parent is this one, zombies included.
pub fn children_of(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> = pids.filter(|&p| stat(p).is_some_and(|fields| fields[1].parse() == Ok(pid))).collect();
    children.sort_unstable();
    children
}

/// Open descriptors of this process.
pub fn fd_count() -> usize {
    // The directory itself is open while it is read.
    std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count() - 1
}

/// What lies in /dev/shm, sorted.
pub fn shm_entries() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").expect("/dev/shm");
    let mut names: Vec<String> = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort_unstable();
    names
}
