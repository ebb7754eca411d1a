//! The peers in one process: rayon, threadpool and tokio, each with one thread on the second CPU beside the submitter on the first.
//!
//! Answers of rayon's and threadpool's tasks are added up in one place; that is less than a pool of futures does for a task, so it favours
//! them. tokio's come back through its own join handles.

use crate::common::affinity;
use crate::ours::plain;
use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::mpsc;

/// Where tasks that run in another thread leave their answers.
#[derive(Default)]
struct Tally {
    sum: AtomicU64,
    /// On a line of its own would cost the worker a second transfer.
    done: AtomicU64,
}

impl Tally {
    fn add(&self, answer: u64) {
        self.sum.fetch_add(answer, Relaxed);
        // Pairs with the Acquire in `wait_for`.
        self.done.fetch_add(1, Release);
    }

    /// Spins until so many tasks are done; gives how many are.
    fn wait_for(&self, least: u64) -> u64 {
        loop {
            // Pairs with the Release in `add`.
            let done = self.done.load(Acquire);
            if done >= least {
                return done;
            }
            std::hint::spin_loop();
        }
    }
}

/// Hands `count` tasks to `spawn`, at most `window` of them under way; the sum of their answers.
fn behind_window(count: u64, window: u64, spawn: impl Fn(&'static Tally, u64)) -> u64 {
    // Leaked, a few bytes for each measurement: to count its users would cost the tasks something.
    let tally: &'static Tally = Box::leak(Box::default());
    let mut done = 0;
    for x in 0..count {
        if x - done >= window {
            done = tally.wait_for(x + 1 - window);
        }
        spawn(tally, x);
    }
    tally.wait_for(count);
    tally.sum.load(Relaxed)
}

/// rayon with as many threads as CPUs are given.
pub fn rayon(cpus: &[usize]) -> rayon::ThreadPool {
    let cpus = cpus.to_vec();
    let builder = rayon::ThreadPoolBuilder::new().num_threads(cpus.len());
    let builder = builder.start_handler(move |index| affinity::pin_thread(cpus[index]).expect("a CPU of ours"));
    builder.build().expect("rayon's threads")
}

/// rayon with that many threads wherever the kernel puts them.
pub fn rayon_free(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("rayon's threads")
}

/// `spawn` from a thread that is none of rayon's.
pub fn rayon_outside(pool: &rayon::ThreadPool, window: u64, count: u64) -> u64 {
    rayon_outside_of(pool, window, count, plain)
}

/// The same of another function.
pub fn rayon_outside_of(pool: &rayon::ThreadPool, window: u64, count: u64, f: fn(u64) -> u64) -> u64 {
    behind_window(count, window, |tally, x| pool.spawn(move || tally.add(f(x))))
}

/// A sum for each thread, far from the others: adding to one sum from several threads would cost more than the tasks.
#[derive(Default)]
#[repr(align(128))]
struct Sum(AtomicU64);

/// `scope` and a `spawn` in it for each task.
pub fn rayon_scope(pool: &rayon::ThreadPool, count: u64) -> u64 {
    let sums: Vec<Sum> = (0..pool.current_num_threads()).map(|_| Sum::default()).collect();
    pool.scope(|scope| {
        let sums = &sums;
        for x in 0..count {
            scope.spawn(move |_| {
                let thread = rayon::current_thread_index().expect("a thread of the pool");
                sums[thread].0.fetch_add(plain(x), Relaxed);
            });
        }
    });
    sums.into_iter().fold(0, |sum, of_thread| sum.wrapping_add(of_thread.0.into_inner()))
}

/// `install`: one closure there, its answer back.
pub fn rayon_round_trips(pool: &rayon::ThreadPool, count: u64) -> u64 {
    (0..count).fold(0, |sum, x| sum.wrapping_add(pool.install(|| plain(x))))
}

/// The `threadpool` crate with one thread.
pub fn threadpool(cpu: usize) -> threadpool::ThreadPool {
    let pool = threadpool::ThreadPool::new(1);
    pool.execute(move || affinity::pin_thread(cpu).expect("a CPU of ours"));
    pool.join();
    pool
}

pub fn threadpool_window(pool: &threadpool::ThreadPool, window: u64, count: u64) -> u64 {
    behind_window(count, window, |tally, x| pool.execute(move || tally.add(plain(x))))
}

/// A closure there, its answer back through a channel.
pub fn threadpool_round_trips(pool: &threadpool::ThreadPool, count: u64) -> u64 {
    let (send, receive) = mpsc::channel();
    (0..count).fold(0, |sum, x| {
        let send = send.clone();
        pool.execute(move || send.send(plain(x)).expect("the receiver waits"));
        sum.wrapping_add(receive.recv().expect("an answer"))
    })
}

/// tokio with one worker thread and one for blocking tasks.
pub fn tokio(cpu: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(1);
    builder.on_thread_start(move || affinity::pin_thread(cpu).expect("a CPU of ours"));
    builder.build().expect("tokio's threads")
}

/// `spawn` from outside, or `spawn_blocking`, and the join handle's answer, behind a window.
pub fn tokio_window(runtime: &tokio::runtime::Runtime, blocking: bool, window: usize, count: u64) -> u64 {
    runtime.block_on(async {
        let spawn = |x| match blocking {
            true => runtime.spawn_blocking(move || plain(x)),
            false => runtime.spawn(async move { plain(x) }),
        };
        let mut under_way = VecDeque::with_capacity(window);
        let mut sum = 0u64;
        for x in 0..count {
            if under_way.len() == window {
                let oldest: tokio::task::JoinHandle<u64> = under_way.pop_front().expect("a full window");
                sum = sum.wrapping_add(oldest.await.expect("an answer"));
            }
            under_way.push_back(spawn(x));
        }
        for handle in under_way {
            sum = sum.wrapping_add(handle.await.expect("an answer"));
        }
        sum
    })
}
