//! Mapping a task over inputs: a typed face of `feed.rs`.

use crate::codec::Payload;
use crate::error::{Error, Result};
use crate::executor::{Executor, SubmitOptions};
use crate::feed::{Feed, Next, Plan, Source};
use crate::pool::Pool;
use crate::task::Task;
use std::marker::PhantomData;
use std::time::Duration;

/// How [`Executor::map_with`] feeds the pool.
#[derive(Clone, Debug)]
pub struct MapOptions {
    window: Option<usize>,
    chunk: usize,
    ordered: bool,
    timeout: Option<Duration>,
    submit: SubmitOptions,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions { window: None, chunk: 1, ordered: true, timeout: None, submit: SubmitOptions::new() }
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
    /// Whether results come in the order of their inputs, which is the default, or as their tasks end.
    #[must_use]
    pub fn ordered(mut self, in_input_order: bool) -> MapOptions {
        self.ordered = in_input_order;
        self
    }
    /// A time for all results together, from the call on. When it is over, what is ready is still given, then one
    /// [`Error::TimedOut`], and what has not started is cancelled.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> MapOptions {
        self.timeout = Some(timeout);
        self
    }
    /// Options of every task.
    #[must_use]
    pub fn submit(mut self, options: SubmitOptions) -> MapOptions {
        self.submit = options;
        self
    }
}

/// Inputs of a type, for a task that takes it.
struct Typed<A: 'static, R: 'static, I> {
    task: Task<A, R>,
    inputs: I,
}

impl<A: Payload, R: Payload, I: Iterator<Item = A>> Source for Typed<A, R, I> {
    fn function(&self, pool: &Pool) -> Result<u16> {
        pool.function(&self.task)
    }
    #[inline]
    fn next(&mut self, into: &mut Vec<u8>) -> Option<std::result::Result<(), Box<Error>>> {
        Some(self.inputs.next()?.encode(into).map_err(|message| Box::new(Error::Encode { message })))
    }
}

/// The results of a map. Each may be an error of its own; the iterator goes on after one. Dropping it cancels what has not started.
#[must_use = "the results, and the tasks past the first window, come only by advancing the iterator"]
pub struct Map<A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    feed: Feed<Typed<A, R, I>>,
    results: PhantomData<fn() -> R>,
}

impl<A, R, I> Map<A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    pub(crate) fn start(executor: &Executor, task: Task<A, R>, inputs: I, options: &MapOptions) -> Result<Self> {
        let plan = Plan {
            window: options.window.unwrap_or(2 * executor.workers().max(1)),
            chunk: options.chunk,
            ordered: options.ordered,
            timeout: options.timeout,
            submit: options.submit.clone(),
        };
        let feed = Feed::start(executor.pool().clone(), Typed { task, inputs }, plan)?;
        Ok(Map { feed, results: PhantomData })
    }

    /// The next result when it is an error, or not there yet.
    #[inline(never)]
    fn next_of_any_kind(&mut self) -> Option<Result<R>> {
        match self.feed.next(None) {
            Next::Item(_, Ok(bytes)) => Some(decode(bytes)),
            Next::Item(_, Err(e)) | Next::Failed(e) => Some(Err(e)),
            Next::End => None,
        }
    }
}

#[inline]
fn decode<R: Payload>(bytes: &[u8]) -> Result<R> {
    R::decode(bytes).map_err(|message| Error::Decode { message })
}

impl<A, R, I> Iterator for Map<A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    type Item = Result<R>;

    #[inline]
    fn next(&mut self) -> Option<Result<R>> {
        match self.feed.next_value() {
            Some(bytes) => Some(decode(bytes)),
            None => self.next_of_any_kind(),
        }
    }
}

impl<A, R, I> Drop for Map<A, R, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = A>,
{
    fn drop(&mut self) {
        self.feed.cancel();
    }
}
