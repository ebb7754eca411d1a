//! Mapping a task over inputs: results in input order, with a window of tasks in the pool at a time.

use crate::codec::{Payload, items};
use crate::error::{Error, Result};
use crate::executor::{Executor, SubmitOptions};
use crate::future::Future;
use crate::task::Task;
use std::collections::VecDeque;

/// How [`Executor::map_with`] feeds the pool.
#[derive(Clone, Debug)]
pub struct MapOptions {
    window: Option<usize>,
    chunk: usize,
    submit: SubmitOptions,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions { window: None, chunk: 1, submit: SubmitOptions::new() }
    }
}

impl MapOptions {
    /// A window of twice the workers, and a task for each input.
    #[must_use]
    pub fn new() -> MapOptions {
        MapOptions::default()
    }
    /// Tasks that are in the pool at a time, at least 1. The input is read no further.
    #[must_use]
    pub fn window(mut self, tasks: usize) -> MapOptions {
        self.window = Some(tasks);
        self
    }
    /// Inputs that go into one task, at least 1: for functions of less than a few microseconds. A failing input of a chunk leaves
    /// the others their results.
    #[must_use]
    pub fn chunk(mut self, inputs: usize) -> MapOptions {
        self.chunk = inputs;
        self
    }
    /// Options of every task.
    #[must_use]
    pub fn submit(mut self, options: SubmitOptions) -> MapOptions {
        self.submit = options;
        self
    }
}

/// The results of a map, in input order. Each may be an error of its own; the iterator goes on after one. Dropping it cancels what has not started.
#[must_use = "the results, and the tasks past the first window, come only by advancing the iterator"]
pub struct Map<'e, A: 'static, R: 'static, I> {
    executor: &'e Executor,
    task: Task<A, R>,
    inputs: Option<I>,
    window: usize,
    chunk: usize,
    options: SubmitOptions,
    tasks: VecDeque<InFlight<R>>,
    /// Results of the chunk at the front.
    ready: VecDeque<Result<R>>,
}

enum InFlight<R> {
    One(Future<R>),
    Chunk { future: Future<crate::codec::Bytes>, inputs: usize },
    Failed(Error),
}

impl<'e, A, R, I> Map<'e, A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    pub(crate) fn start(executor: &'e Executor, task: Task<A, R>, inputs: I, options: &MapOptions) -> Result<Self> {
        let window = options.window.unwrap_or(2 * executor.workers().max(1));
        for (name, value) in [("the map's window", window), ("the map's chunk", options.chunk)] {
            if value == 0 {
                return Err(Error::invalid(name, 0, "at least 1"));
            }
        }
        let mut map = Map {
            executor,
            task,
            inputs: Some(inputs),
            window,
            chunk: options.chunk,
            options: options.submit.clone(),
            tasks: VecDeque::with_capacity(window.min(1024)),
            ready: VecDeque::new(),
        };
        map.feed();
        Ok(map)
    }

    /// Submits until the window is full or the input ends.
    fn feed(&mut self) {
        while self.tasks.len() < self.window {
            let Some(inputs) = self.inputs.as_mut() else { return };
            let next = if self.chunk == 1 {
                inputs.next().map(|args| self.executor.submit_with(&self.options, self.task, args).map(InFlight::One))
            } else {
                let chunk: Vec<A> = inputs.by_ref().take(self.chunk).collect();
                (!chunk.is_empty()).then(|| {
                    let future = self.executor.submit_chunk(&self.options, self.task, &chunk)?;
                    Ok(InFlight::Chunk { future, inputs: chunk.len() })
                })
            };
            match next {
                None => self.inputs = None,
                Some(Ok(task)) => self.tasks.push_back(task),
                Some(Err(e)) => {
                    // The error stands at its place, and nothing further is submitted.
                    self.tasks.push_back(InFlight::Failed(e));
                    self.inputs = None;
                }
            }
        }
    }
}

/// Takes a chunk's result apart.
fn unpack<R: Payload>(result: Result<crate::codec::Bytes>, inputs: usize) -> VecDeque<Result<R>> {
    let bytes = match result {
        Ok(bytes) => bytes,
        Err(e) => return (0..inputs).map(|_| Err(e.clone())).collect(),
    };
    let mut rest = &bytes[..];
    let mut results = VecDeque::with_capacity(inputs);
    for _ in 0..inputs {
        let parted = rest.split_first().and_then(|(kind, tail)| items(tail).next().map(|item| (*kind, item, tail)));
        let Some((kind, item, tail)) = parted else {
            results.push_back(Err(Error::Decode { message: "a chunk's result is cut short".into() }));
            continue;
        };
        rest = &tail[4 + item.len()..];
        results.push_back(crate::outcome::item_result(kind, item));
    }
    results
}

impl<A, R, I> Iterator for Map<'_, A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            let front = self.tasks.pop_front()?;
            let result = match front {
                InFlight::One(future) => future.result(),
                InFlight::Chunk { future, inputs } => {
                    self.ready = unpack(future.result(), inputs);
                    self.feed();
                    continue;
                }
                InFlight::Failed(e) => Err(e),
            };
            // Kept where a panic of the input does not lose it.
            self.ready.push_back(result);
            self.feed();
        }
    }
}

impl<A: 'static, R: 'static, I> Drop for Map<'_, A, R, I> {
    fn drop(&mut self) {
        for task in &self.tasks {
            match task {
                InFlight::One(future) => drop(future.cancel()),
                InFlight::Chunk { future, .. } => drop(future.cancel()),
                InFlight::Failed(_) => {}
            }
        }
    }
}
