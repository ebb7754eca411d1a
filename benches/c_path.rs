//! What the C interface costs over the Rust one: the same task to a worker of the same kind, one at a time and with 64 under way, in rounds that
//! take turns. `cargo bench --bench c_path`.
//!
//! `c_path --count rust|c TASKS` runs one path alone with a worker thread, for counting instructions: see `benches/README.md`.

mod common;

use common::affinity::{self, Pinned};
use common::rounds::{Figure, entry, interleave};
use common::{Mode, per, verdict};
use std::collections::VecDeque;
use std::time::Instant;
use taskring::ffi::{self, taskring_status::TASKRING_OK};
use taskring::{Executor, Future, StartMethod};

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
            "c" => c(&CPool::new(ffi::TASKRING_THREAD), tasks, 64),
            other => panic!("rust or c, not {other}"),
        };
        return assert_eq!(sum, expected(tasks));
    }
    let mode = Mode::from_args();
    if mode == Mode::List {
        return;
    }
    let (rust_pool, c_pool) = (rust_pool(StartMethod::Spawn), CPool::new(ffi::TASKRING_SPAWN));
    let (first, second) = affinity::pair();
    let workers = [rust_pool.submit(pid, ()).expect("submitted").result().expect("it ran"), c_pool.worker()];
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
    let mut futures: VecDeque<Future<u64>> = VecDeque::with_capacity(window);
    let mut sum = 0_u64;
    for x in 0..tasks + window as u64 {
        if futures.len() == window || x >= tasks {
            let Some(future) = futures.pop_front() else { break };
            sum = sum.wrapping_add(future.result().expect("a result"));
        }
        if x < tasks {
            futures.push_back(pool.submit(square, x).expect("submitted"));
        }
    }
    sum
}

/// A pool as C holds it.
struct CPool {
    pool: *mut ffi::taskring_pool,
    square: u32,
}

impl CPool {
    fn new(method: u32) -> CPool {
        // SAFETY: a config is integers and pointers, for which zero means the defaults.
        let mut config: ffi::taskring_config = unsafe { std::mem::zeroed() };
        config.struct_size = size_of::<ffi::taskring_config>() as u32;
        (config.start_method, config.workers) = (method, 1);
        let mut made = CPool { pool: std::ptr::null_mut(), square: 0 };
        // SAFETY: the config is complete, and the pool's place is valid for a write.
        assert_eq!(unsafe { ffi::taskring_create(&raw const config, &raw mut made.pool) }, TASKRING_OK);
        made.square = made.function(square.name());
        made
    }

    fn function(&self, name: &str) -> u32 {
        let name = std::ffi::CString::new(name).expect("no zero byte");
        let mut number = 0;
        // SAFETY: a live handle, a string, and a place for the number.
        let status = unsafe { ffi::taskring_function(self.pool, name.as_ptr(), &raw mut number) };
        assert_eq!(status, TASKRING_OK);
        number
    }

    fn submit(&self, function: u32, args: &[u8]) -> u64 {
        let (mut ticket, options) = (0, std::ptr::null());
        // SAFETY: a live handle, bytes with their length, and a place for the ticket.
        let status =
            unsafe { ffi::taskring_submit(self.pool, function, args.as_ptr().cast(), args.len(), options, &raw mut ticket) };
        assert_eq!(status, TASKRING_OK);
        ticket
    }

    /// The result's number, as the worker encodes it: seven bits in each byte, the least first.
    fn result(&self, ticket: u64) -> u64 {
        let (mut bytes, mut len) = ([0_u8; 16], 0);
        // SAFETY: a live handle, a buffer with its length, and a place for the result's length.
        let status = unsafe {
            let buffer = bytes.as_mut_ptr().cast();
            ffi::taskring_result(self.pool, ticket, ffi::TASKRING_INFINITE, buffer, bytes.len(), &raw mut len)
        };
        assert_eq!(status, TASKRING_OK);
        bytes[..len].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
    }

    fn worker(&self) -> u32 {
        self.result(self.submit(self.function(pid.name()), &[])) as u32
    }
}

impl Drop for CPool {
    fn drop(&mut self) {
        // SAFETY: a live handle, and nobody else uses it.
        assert_eq!(unsafe { ffi::taskring_free(self.pool) }, TASKRING_OK);
    }
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
            let (mut bytes, mut len, mut rest) = ([0_u8; 10], 0, x);
            loop {
                bytes[len] = (rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 };
                len += 1;
                rest >>= 7;
                if rest == 0 {
                    break;
                }
            }
            tickets.push_back(pool.submit(pool.square, &bytes[..len]));
        }
    }
    sum
}
