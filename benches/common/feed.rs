//! The ways in which tasks are handed to one of our pools, with so many under way. Each gives the sum of the answers.

use std::collections::VecDeque;
use taskring::{Executor, Future, MapOptions, Task};

/// One `submit` for each task; the oldest of `window` is collected before the next is submitted.
pub fn single(pool: &Executor, task: Task<u64, u64>, window: usize, count: u64) -> u64 {
    let mut under_way = VecDeque::with_capacity(window);
    let mut sum = 0u64;
    for x in 0..count {
        if under_way.len() == window {
            sum = sum.wrapping_add(collect(under_way.pop_front().expect("a full window")));
        }
        under_way.push_back(pool.submit(task, x).expect("submit"));
    }
    under_way.into_iter().map(collect).fold(sum, u64::wrapping_add)
}

/// `submit_bulk` of so many at a time, so many batches under way.
pub fn bulk(pool: &Executor, task: Task<u64, u64>, batch: u64, batches_max: usize, count: u64) -> u64 {
    let mut under_way: VecDeque<Vec<Future<u64>>> = VecDeque::with_capacity(batches_max);
    let (mut sum, mut next) = (0u64, 0);
    while next < count {
        if under_way.len() == batches_max {
            let oldest = under_way.pop_front().expect("a full window");
            sum = oldest.into_iter().map(collect).fold(sum, u64::wrapping_add);
        }
        let end = count.min(next + batch);
        under_way.push_back(pool.submit_bulk(task, next..end).expect("submit_bulk"));
        next = end;
    }
    under_way.into_iter().flatten().map(collect).fold(sum, u64::wrapping_add)
}

/// `map` with so many inputs travelling as one task, some `window` inputs under way.
pub fn map(pool: &Executor, task: Task<u64, u64>, window: usize, chunk: usize, count: u64) -> u64 {
    let options = MapOptions::new().window(window.div_ceil(chunk)).chunk(chunk);
    let answers = pool.map_with(&options, task, 0..count).expect("map");
    answers.fold(0, |sum, answer| sum.wrapping_add(answer.expect("an answer of map")))
}

/// Waits for one answer.
pub fn collect(future: Future<u64>) -> u64 {
    future.result().expect("result")
}
