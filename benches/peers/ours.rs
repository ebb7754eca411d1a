//! Our own paths through the Rust interface: one at a time, with a window, in batches, by `map`.

use crate::child::Helper;
use crate::common::{affinity, feed};
use std::io;
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    /// As little work as a task can have.
    pub fn square(x: u64) -> u64 { plain(x) }
    /// The first and the last byte of the arguments, and how many there are.
    pub fn ends(bytes: &[u8]) -> u64 { ends_of(bytes) }
    pub fn own_pid() -> u32 { std::process::id() }
}

/// What `square` does, for those who do it in the same process.
pub fn plain(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// What `ends` does.
pub fn ends_of(bytes: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or(0));
    end(bytes.first()) << 56 | end(bytes.last()) << 48 | bytes.len() as u64
}

/// Tasks under way when a window is filled.
pub const WINDOW: usize = 1000;
/// Tasks in a batch.
pub const BATCH: u64 = 1000;
/// Room for two batches of 1000.
pub const CAPACITY: usize = 2048;
/// Inputs that travel as one task in a `map` of tiny functions.
pub const CHUNK: usize = 64;

/// The sum of the answers of so many tasks.
pub fn expected(count: u64) -> u64 {
    (0..count).map(plain).fold(0, u64::wrapping_add)
}

/// A pool of one worker process on the second CPU.
pub fn pinned_pool(second: usize) -> Executor {
    let pool = Executor::builder().workers(1).capacity(CAPACITY).build().expect("a pool");
    pin_workers(&pool, &[second]);
    pool
}

/// Worker k on the k-th of `cpus`, from the start again when they run out.
pub fn pin_workers(pool: &Executor, cpus: &[usize]) {
    for (index, pid) in pool.worker_pids().into_iter().enumerate() {
        affinity::pin_process(pid, cpus[index % cpus.len()]).expect("a living worker");
    }
}

/// A pool that is reached by its name: made here without workers, a worker came by the name, and we submit through the name as well.
pub struct Named {
    pub pool: Executor,
    /// In the order of dropping: the submitter, the pool with its wait for the tasks, the worker that runs them.
    _made: Executor,
    _worker: Helper,
}

impl Named {
    pub fn new(second: usize) -> io::Result<Named> {
        let name = format!("peers-{}", std::process::id());
        let other = |e: Error| io::Error::other(e.to_string());
        let made = Executor::builder().start(StartMethod::None).capacity(CAPACITY).create_named(&name).map_err(other)?;
        let worker = Helper::role("worker", std::slice::from_ref(&name))?;
        let pool = Executor::attach(&name).map_err(other)?;
        let came = pool.submit(own_pid, ()).and_then(|future| future.result()).map_err(other)?;
        assert_eq!(came, worker.pid(), "the worker that attached by name runs the tasks");
        affinity::pin_process(came, second)?;
        Ok(Named { pool, _made: made, _worker: worker })
    }
}

/// The role of the worker of [`Named`].
pub fn play_worker(name: &str) {
    taskring::work(name).expect("a pool of that name");
}

/// One task there and back, `count` times; the sum of the answers.
pub fn round_trips(pool: &Executor, count: u64) -> u64 {
    (0..count).fold(0, |sum, x| sum.wrapping_add(feed::collect(pool.submit(square, x).expect("submit"))))
}

/// One `submit` for each task, behind a window.
pub fn single(pool: &Executor, window: usize, count: u64) -> u64 {
    feed::single(pool, square, window, count)
}

/// `submit_bulk` of batches, two of them under way.
pub fn bulk(pool: &Executor, count: u64) -> u64 {
    feed::bulk(pool, square, BATCH, 2, count)
}

/// `map` in chunks, some 1000 inputs under way.
pub fn map(pool: &Executor, chunk: usize, count: u64) -> u64 {
    feed::map(pool, square, WINDOW, chunk, count)
}

/// `map` as it is without options: a task for each input, twice as many under way as there are workers.
pub fn map_plain(pool: &Executor, count: u64) -> u64 {
    let answers = pool.map(square, 0..count).expect("map");
    answers.fold(0, |sum, answer| sum.wrapping_add(answer.expect("an answer of map")))
}
