//! What the C interface costs over the Rust one: the same task to a worker of the same kind, one at a time and with 64 under way, in rounds that
//! take turns. `cargo bench --bench c_path`.
//!
//! `c_path --count rust|c TASKS` runs one path alone with a worker thread, for counting instructions: see `benches/README.md`.

mod common;

use common::affinity::{self, Pinned};
use common::c_pool::{CPool, encoded};
use common::feed;
use common::rounds::{Figure, entry, interleave};
use common::{Mode, per, verdict};
use std::collections::VecDeque;
use std::time::Instant;
use taskring::ffi;
use taskring::{Executor, StartMethod};

taskring::test_support!();

taskring::task! {
    /// Eight bytes there, eight bytes back.
    fn square(x: u64) -> u64 { x.wrapping_mul(x) }
    fn pid() -> u32 { std::process::id() }
}

/// The bound on the C path's time, in that of the Rust path.
const TARGET: f64 = 1.2;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--count") {
        let tasks = args[at + 2].parse().expect("a number of tasks");
        let sum = match args[at + 1].as_str() {
            "rust" => rust(&rust_pool(StartMethod::Thread), tasks, 64),
            "c" => c(&c_pool(ffi::TASKRING_THREAD), tasks, 64),
            other => panic!("rust or c, not {other}"),
        };
        return assert_eq!(sum, expected(tasks));
    }
    let mode = Mode::from_args();
    if mode == Mode::List {
        return;
    }
    let (rust_pool, c_pool) = (rust_pool(StartMethod::Spawn), c_pool(ffi::TASKRING_SPAWN));
    let (first, second) = affinity::pair();
    let workers = [
        rust_pool.submit(pid, ()).expect("submitted").result().expect("it ran"),
        c_pool.result(c_pool.submit(c_pool.function(pid.name()), &[])) as u32,
    ];
    for worker in workers {
        affinity::pin_process(worker, second).expect("a living worker");
    }
    let _pinned = Pinned::to(first);
    let tasks = mode.pick(20_000, 200);
    for window in [1, 64] {
        let figures = interleave(
            mode.pick(30, 1),
            vec![
                entry("rust", || timed(tasks, || rust(&rust_pool, tasks, window))),
                entry("c", || timed(tasks, || c(&c_pool, tasks, window))),
            ],
        );
        if mode == Mode::Measure {
            report(window, &figures);
        }
    }
}

fn report(window: usize, figures: &[Figure]) {
    let [rust, c] = figures else { unreachable!("as many figures as entries") };
    let ratio = c.against(rust);
    println!(
        "c_path: window {window} c={:.0} rust={:.0} ratio={ratio:.2} target<={TARGET} {}",
        c.ns(),
        rust.ns(),
        verdict(ratio, TARGET)
    );
}

fn timed(tasks: u64, run: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let sum = run();
    let elapsed = start.elapsed();
    assert_eq!(sum, expected(tasks));
    per(elapsed, tasks)
}

fn expected(tasks: u64) -> u64 {
    (0..tasks).map(|x| x.wrapping_mul(x)).fold(0, u64::wrapping_add)
}

fn rust_pool(method: StartMethod) -> Executor {
    Executor::builder().workers(1).start(method).build().expect("a pool")
}

fn rust(pool: &Executor, tasks: u64, window: usize) -> u64 {
    feed::single(pool, square, window, tasks)
}

fn c_pool(method: u32) -> CPool {
    CPool::new(method, 0, square.name())
}

fn c(pool: &CPool, tasks: u64, window: usize) -> u64 {
    let mut tickets = VecDeque::with_capacity(window);
    let mut sum = 0_u64;
    for x in 0..tasks + window as u64 {
        if tickets.len() == window || x >= tasks {
            let Some(ticket) = tickets.pop_front() else { break };
            sum = sum.wrapping_add(pool.result(ticket));
        }
        if x < tasks {
            let (bytes, len) = encoded(x);
            tickets.push_back(pool.submit(pool.square, &bytes[..len]));
        }
    }
    sum
}
