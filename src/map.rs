//! Mapping a task over inputs: a typed face of `feed.rs`.

use crate::codec::{Payload, decoded, encode_into};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::feed::{Chunk, Feed, Next, Plan, Source};
use crate::multi::Keep;
use crate::options::SubmitOptions;
use crate::pool::Pool;
use crate::task::Task;
use std::marker::PhantomData;
use std::time::Duration;

/// How [`Executor::map_with`] feeds the pool.
#[derive(Clone, Debug)]
pub struct MapOptions {
    window: Option<usize>,
    chunk: Chunk,
    ordered: bool,
    timeout: Option<Duration>,
    submit: SubmitOptions,
}

impl Default for MapOptions {
    fn default() -> MapOptions {
        MapOptions { window: None, chunk: Chunk::Of(1), ordered: true, timeout: None, submit: SubmitOptions::new() }
    }
}

impl MapOptions {
    /// A window of twice the workers, and a task for each input.
    #[must_use]
    pub fn new() -> MapOptions {
        MapOptions::default()
    }
    /// Tasks that are in the pool at a time, at least 1. The input is read no further. `usize::MAX` submits all of it at the call.
    #[must_use]
    pub fn window(mut self, tasks: usize) -> MapOptions {
        self.window = Some(tasks);
        self
    }
    /// Inputs that go into one task, at least 1: for functions of less than a few microseconds. A failing input of a chunk leaves
    /// the others their results. A time limit counts for the whole chunk: at the soft one the inputs that have not begun end as cancelled, and at the hard one
    /// all of the chunk end with [`Error::TimeLimit`].
    #[must_use]
    pub fn chunk(mut self, inputs: usize) -> MapOptions {
        self.chunk = Chunk::Of(inputs);
        self
    }
    /// As many inputs in each task as take about 100 us, at most 1024, by the time that workers measured of those before: for functions of which nobody
    /// knows how long they take. The first tasks have one input. With a window of all of the input nothing is measured before all is submitted.
    #[must_use]
    pub fn chunk_auto(mut self) -> MapOptions {
        self.chunk = Chunk::Auto;
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
        Some(encode_into(&self.inputs.next()?, into).map_err(Box::new))
    }
}

/// Inputs that may fail, for a task that takes the good ones.
struct Fallible<A: 'static, R: 'static, I, E> {
    task: Task<A, R>,
    inputs: I,
    /// How many were good, and what ended them.
    good: u64,
    error: Option<E>,
}

impl<A: Payload, R: Payload, I: Iterator<Item = std::result::Result<A, E>>, E> Source for Fallible<A, R, I, E> {
    fn function(&self, pool: &Pool) -> Result<u16> {
        pool.function(&self.task)
    }
    #[inline]
    fn next(&mut self, into: &mut Vec<u8>) -> Option<std::result::Result<(), Box<Error>>> {
        match self.inputs.next()? {
            Ok(args) => {
                self.good += 1;
                Some(encode_into(&args, into).map_err(Box::new))
            }
            Err(e) => {
                self.error = Some(e);
                Some(Err(Box::new(Error::Encode { message: "the input failed".into() })))
            }
        }
    }
}

impl Executor {
    /// Runs a task over inputs, which are all read and submitted at this call, while it waits for room in the ring; results are given in order as the
    /// iterator is advanced, or dropped with it.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     let squares = pool.map_eager(square, 0..4)?;
    ///     assert_eq!(squares.collect::<Result<Vec<_>, _>>()?, [0, 1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`map_with`](Executor::map_with), whose [window](MapOptions::window) of `usize::MAX` does the same.
    pub fn map_eager<A, R, I>(&self, task: Task<A, R>, inputs: I) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        self.map_with(&MapOptions::new().window(usize::MAX), task, inputs)
    }

    /// Runs a task over inputs and waits until all of them are over, for tasks whose effect counts and not their results, which are dropped. A failure
    /// stops nothing: every input is submitted.
    ///
    /// # Errors
    /// Of the inputs that failed, the error of the first one. An input that the pool refuses, or that is too large, is the last that is read.
    pub fn for_each<A, R, I>(&self, task: Task<A, R>, inputs: I) -> Result<()>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        // As many as the ring holds keep every worker busy; more would only take memory. Unordered, so that a long task does not hold others up.
        let options = MapOptions::new().window(self.capacity()).ordered(false);
        let source = Typed { task, inputs: inputs.into_iter() };
        let mut feed = Feed::start(self.pool().clone(), source, plan(self, &options))?;
        let mut first: Option<(u64, Error)> = None;
        loop {
            match feed.next(None) {
                Next::Item(at, Err(e)) if first.as_ref().is_none_or(|(before, _)| at < *before) => first = Some((at, e)),
                Next::Item(..) => {}
                Next::Failed(e) => return Err(first.map_or(e, |(_, first)| first)),
                Next::End => return first.map_or(Ok(()), |(_, e)| Err(e)),
            }
        }
    }

    /// Runs a task over inputs that may fail themselves, such as the lines of a file. The first such error comes out at its place among the results, as it
    /// is, and is the last: nothing is read after it. What was submitted before is not touched by it.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     let mut squares = pool.try_map(square, "3 4 five 6".split(' ').map(str::parse))?;
    ///     assert_eq!(squares.next(), Some(Ok(Ok(9))));
    ///     assert_eq!(squares.next().unwrap()??, 16); // the input's error, then the task's
    ///     assert_eq!(squares.next().unwrap().unwrap_err().to_string(), "invalid digit found in string");
    ///     assert_eq!(squares.next(), None);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`map_with`](Executor::map_with).
    pub fn try_map<A, R, E, I>(&self, task: Task<A, R>, inputs: I) -> Result<TryMap<A, R, E, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = std::result::Result<A, E>>,
    {
        self.try_map_with(&MapOptions::new(), task, inputs)
    }

    /// The same with a window and chunks of your own.
    ///
    /// # Errors
    /// Those of [`map_with`](Executor::map_with).
    pub fn try_map_with<A, R, E, I>(
        &self,
        options: &MapOptions,
        task: Task<A, R>,
        inputs: I,
    ) -> Result<TryMap<A, R, E, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = std::result::Result<A, E>>,
    {
        let source = Fallible { task, inputs: inputs.into_iter(), good: 0, error: None };
        let feed = Feed::start(self.pool().clone(), source, plan(self, options))?.unless_refused()?;
        Ok(TryMap { feed, results: PhantomData })
    }
}

fn plan(executor: &Executor, options: &MapOptions) -> Plan {
    Plan {
        window: options.window.unwrap_or(2 * executor.workers().max(1)),
        chunk: options.chunk,
        ordered: options.ordered,
        timeout: options.timeout,
        submit: options.submit.clone(),
    }
}

/// The results of a map. Each may be an error of its own, after which the iterator goes on: that of an input that cannot be submitted is the last.
///
/// Dropping it cancels what has not started, if it was advanced at least once; otherwise what was submitted runs. A panic of the input comes out of the
/// call that reads it (of `map`, or of `next`), and not at its place; the results of what was read before are still given.
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
        let source = Typed { task, inputs };
        let feed = Feed::start(executor.pool().clone(), source, plan(executor, options))?.unless_refused()?;
        Ok(Map { feed, results: PhantomData })
    }

    /// The next result, waiting no longer than `timeout` for it; `None` when all were given. After an [`Error::TimedOut`] it may be asked for again,
    /// unless the time of the whole map is over: then nothing is left. Reading the input takes the time that it takes.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R>> {
        result(self.feed.next(Some(timeout)))
    }

    /// Reads no more of the input, cancels what has not started, and asks running tasks to stop; a chunk does so between two of its inputs. The iterator
    /// then gives the rest of what was read: results of what was done, and [`Error::Cancelled`] for the others.
    pub fn cancel(&mut self) {
        self.feed.stop();
    }

    /// As `Feed::keep`.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.feed.keep(keep);
    }

    /// The next result when it is an error, or not there yet.
    #[inline(never)]
    fn next_of_any_kind(&mut self) -> Option<Result<R>> {
        result(self.feed.next(None))
    }
}

fn result<R: Payload>(next: Next<'_>) -> Option<Result<R>> {
    match next {
        Next::Item(_, Ok(bytes)) => Some(decoded(bytes)),
        Next::Item(_, Err(e)) | Next::Failed(e) => Some(Err(e)),
        Next::End => None,
    }
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
            Some(bytes) => Some(decoded(bytes)),
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
        self.feed.leave();
    }
}

/// The results of a map over inputs that may fail: `Err` is the input's own error, and the last; inside of `Ok` is what a [`Map`] gives.
#[must_use = "the results, and the tasks past the first window, come only by advancing the iterator"]
pub struct TryMap<A, R, E, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = std::result::Result<A, E>>,
{
    feed: Feed<Fallible<A, R, I, E>>,
    results: PhantomData<fn() -> R>,
}

impl<A, R, E, I> TryMap<A, R, E, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = std::result::Result<A, E>>,
{
    /// The next result, as [`Map::next_timeout`] gives it.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<std::result::Result<Result<R>, E>> {
        self.next_in(Some(timeout))
    }

    /// Stops the rest, as [`Map::cancel`] does.
    pub fn cancel(&mut self) {
        self.feed.stop();
    }

    fn next_in(&mut self, timeout: Option<Duration>) -> Option<std::result::Result<Result<R>, E>> {
        let next = self.feed.next(timeout);
        if let Next::Item(at, Err(e)) = next {
            // An error of the place behind the good ones is the input's.
            let source = self.feed.source_mut();
            let own = if at == source.good { source.error.take() } else { None };
            return Some(own.map_or(Ok(Err(e)), Err));
        }
        result(next).map(Ok)
    }
}

impl<A, R, E, I> Iterator for TryMap<A, R, E, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = std::result::Result<A, E>>,
{
    type Item = std::result::Result<Result<R>, E>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.feed.next_value() {
            Some(bytes) => Some(Ok(decoded(bytes))),
            None => self.next_in(None),
        }
    }
}

impl<A, R, E, I> Drop for TryMap<A, R, E, I>
where
    A: Payload,
    R: Payload,
    I: Iterator<Item = std::result::Result<A, E>>,
{
    fn drop(&mut self) {
        self.feed.leave();
    }
}
