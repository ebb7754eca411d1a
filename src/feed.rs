//! What every map is made of: inputs are read and submitted as results are taken, with a window of tasks in the pool at a time.

use crate::codec::{TIME_LEN, TIMED, begin_item, end_item, first_item};
use crate::completion::Completions;
use crate::error::{Error, Result};
use crate::future::Core;
use crate::limits::nanos;
use crate::multi::Keep;
use crate::options::{SubmitOptions, request};
use crate::outcome::{Bytes, Kind, Outcome, item_result};
use crate::pool::{Pool, Ticket};
use crate::slot::OPTION_CHUNK;
use crate::submit::WhenFull;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{fence, now_ns};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Where a map's inputs come from.
pub(crate) trait Source {
    /// The function that takes them.
    fn function(&self, pool: &Pool) -> Result<u16>;
    /// Appends the next input, encoded; `None` at the end. Nothing is read after the end, an error or a panic. The error is boxed, for what is returned
    /// for each input should fit into registers.
    fn next(&mut self, into: &mut Vec<u8>) -> Option<std::result::Result<(), Box<Error>>>;
}

/// Inputs of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Of(usize),
    /// As many as take about `AUTO_NS`, by what was measured of those before.
    Auto,
}

/// What a task of measured inputs should take: some hundred times what it costs to hand it over.
const AUTO_NS: u64 = 100_000;
/// The most inputs of one such task, and about how many bytes of them.
const AUTO_INPUTS_MAX: usize = 1024;
const AUTO_BYTES_MAX: usize = 1 << 16;
/// A task has at most as many times the inputs of one that was measured.
const AUTO_GROWTH: usize = 4;

/// How a map feeds the pool and gives its results.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Tasks in the pool at a time.
    pub(crate) window: usize,
    pub(crate) chunk: Chunk,
    /// Results come in the order of their inputs, not of their tasks' ends.
    pub(crate) ordered: bool,
    /// For all of it, from the start on.
    pub(crate) timeout: Option<Duration>,
    pub(crate) submit: SubmitOptions,
}

/// One look at a map.
pub(crate) enum Next<'a> {
    /// The result of the input of this number.
    Item(u64, Result<&'a [u8]>),
    /// There was none in the time that the look had; or none in the time that the map has, or the pool is no more: then the map is over.
    Failed(Error),
    End,
}

struct Batch {
    core: Core,
    first: u64,
    inputs: usize,
}

enum InFlight {
    Task(Batch),
    /// Inputs that could not be read or submitted: the number of the first, and how many.
    Failed(u64, usize, Error),
}

/// What came of the inputs of one task, given one after the other.
struct Opened {
    outcome: Result<Bytes>,
    /// The outcome is a chunk's.
    is_chunk: bool,
    /// The input whose result is next, and how many there are from it on.
    index: u64,
    left: usize,
    /// Where in the chunk that result is, and where the one before it.
    at: usize,
    before: usize,
}

impl Opened {
    fn new(outcome: Result<Bytes>, is_chunk: bool, first: u64, inputs: usize, at: usize) -> Opened {
        Opened { outcome, is_chunk, index: first, left: inputs, at, before: 0 }
    }

    /// The next result; there must be one.
    #[inline]
    fn next(&mut self) -> (u64, Result<&[u8]>) {
        let (index, at) = (self.index, self.at);
        (self.index, self.left, self.before) = (index + 1, self.left - 1, at);
        let bytes = match &self.outcome {
            Ok(bytes) => &**bytes,
            Err(e) => return (index, Err(e.clone())),
        };
        if !self.is_chunk {
            return (index, Ok(bytes));
        }
        let parted = bytes.get(at..).and_then(first_item);
        let Some((&kind, item, rest)) =
            parted.and_then(|(item, rest)| item.split_first().map(|(kind, item)| (kind, item, rest)))
        else {
            return (index, Err(Error::Decode { message: "a chunk's result is cut short".into() }));
        };
        self.at = bytes.len() - rest.len();
        (index, item_result(kind, item))
    }

    /// The next result, if it is a value; else it stays. There must be one.
    #[inline]
    fn next_value(&mut self) -> Option<&[u8]> {
        let Ok(bytes) = &self.outcome else { return None };
        let (mut item, mut at) = (&**bytes, self.at);
        if self.is_chunk {
            let (result, rest) = first_item(item.get(at..)?)?;
            let (&kind, value) = result.split_first()?;
            if kind != Kind::Value as u8 {
                return None;
            }
            (item, at) = (value, item.len() - rest.len());
        }
        (self.index, self.left, self.before, self.at) = (self.index + 1, self.left - 1, self.at, at);
        Some(item)
    }

    /// The one given last comes again.
    fn step_back(&mut self) {
        (self.index, self.left, self.at) = (self.index - 1, self.left + 1, self.before);
    }
}

/// A map that is going on.
pub(crate) struct Feed<S> {
    pool: Arc<Pool>,
    plan: Plan,
    deadline: Option<u64>,
    /// Inputs of the next task.
    chunk: usize,
    source: S,
    /// There may be more inputs.
    reading: bool,
    /// Inputs read.
    read: u64,
    /// What ended the input, if it was an error; its place is behind what was read.
    input_error: Option<Box<Error>>,
    /// The pool did not take an input, for no fault of the input's.
    refused: bool,
    /// A result was asked for.
    advanced: bool,
    /// In input order. Of an unordered map, only those that could not be submitted.
    tasks: VecDeque<InFlight>,
    /// Before the tasks that it watches, so that it is dropped first.
    ended: Completions<u64>,
    /// Of an unordered map: by the number of their first input.
    out: HashMap<u64, Batch>,
    /// Results to be given next.
    opened: Opened,
    /// A closed pool takes inputs until it is dropped.
    keep: Option<Keep>,
    /// The inputs of a task that is not submitted yet: the number of the first, and how many; and their bytes.
    gathered: Option<(u64, usize)>,
    bytes: Vec<u8>,
}

/// Inputs that are being read, which are kept however the reading ends: by a panic of the input, too.
struct Gathering<'a> {
    bytes: &'a mut Vec<u8>,
    /// Of these bytes, those of whole inputs; and how many these are.
    len: usize,
    inputs: usize,
    read: &'a mut u64,
    gathered: &'a mut Option<(u64, usize)>,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.len);
        if self.inputs != 0 {
            *self.gathered = Some((*self.read, self.inputs));
            *self.read += self.inputs as u64;
        }
    }
}

impl<S: Source> Feed<S> {
    /// Checks, and submits the first window.
    pub(crate) fn start(pool: Arc<Pool>, source: S, plan: Plan) -> Result<Feed<S>> {
        let chunk = match plan.chunk {
            Chunk::Of(inputs) => inputs,
            Chunk::Auto => 1,
        };
        for (name, value) in [("the map's window", plan.window), ("the map's chunk", chunk)] {
            if value == 0 {
                return Err(Error::invalid(name, 0, "at least 1"));
            }
        }
        pool.member.check_fork()?;
        let mut feed = Feed {
            deadline: plan.timeout.map(|t| now_ns().saturating_add(nanos(t))),
            tasks: VecDeque::with_capacity(plan.window.min(1024)),
            pool,
            plan,
            chunk,
            source,
            reading: true,
            read: 0,
            input_error: None,
            refused: false,
            advanced: false,
            ended: Completions::default(),
            out: HashMap::new(),
            opened: Opened::new(Err(Error::Stale), false, 0, 0, 0),
            keep: None,
            gathered: None,
            bytes: Vec::new(),
        };
        feed.feed(None);
        Ok(feed)
    }

    /// Has a pool that is closed while inputs are left take them all the same.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.keep = Some(keep);
        if !self.reading && self.gathered.is_none() {
            self.keep = None;
        }
    }

    /// Right after the start: the error, if the pool refused one of the first window's inputs. Those before it run.
    pub(crate) fn unless_refused(mut self) -> Result<Feed<S>> {
        match self.tasks.pop_back() {
            Some(InFlight::Failed(_, _, e)) if self.refused => return Err(e),
            last => self.tasks.extend(last),
        }
        Ok(self)
    }

    /// Submits until the window is full or the input ends, waiting no longer than `limit` for room in the ring. What finds none goes first the next time.
    fn feed(&mut self, limit: Option<Duration>) {
        while self.tasks.len() + self.out.len() < self.plan.window {
            if self.gathered.is_none() && self.reading {
                self.gather();
            }
            if let Some((first, inputs)) = self.gathered.take() {
                if !self.submit_gathered(first, inputs, limit) {
                    return;
                }
            } else if let Some(e) = self.input_error.take() {
                self.tasks.push_back(InFlight::Failed(self.read, 1, *e));
            } else {
                self.keep = None;
                return;
            }
        }
    }

    /// False when there was no room, or nothing more is to be submitted.
    fn submit_gathered(&mut self, first: u64, inputs: usize, limit: Option<Duration>) -> bool {
        match self.submit(limit) {
            Ok(core) => {
                self.hold(Batch { core, first, inputs });
                return true;
            }
            Err(Error::TimedOut { .. }) if limit.is_some() => self.gathered = Some((first, inputs)),
            Err(e) => {
                // The error stands at its place, and nothing further is submitted.
                let of_input =
                    matches!(e, Error::PayloadTooLarge { .. } | Error::OutOfMemory { .. } | Error::TimedOut { .. });
                self.refused = !of_input;
                let e = self.explain(e);
                self.tasks.push_back(InFlight::Failed(first, inputs, e));
                (self.reading, self.input_error) = (false, None);
            }
        }
        false
    }

    /// Reads the inputs of one task.
    fn gather(&mut self) {
        self.bytes.clear();
        let is_auto = self.plan.chunk == Chunk::Auto;
        if is_auto {
            self.bytes.extend_from_slice(&TIMED);
        }
        let bytes_max = if is_auto { AUTO_BYTES_MAX } else { usize::MAX };
        let len = self.bytes.len();
        let (read, gathered) = (&mut self.read, &mut self.gathered);
        let mut new = Gathering { bytes: &mut self.bytes, len, inputs: 0, read, gathered };
        // Not read on after a panic of the input either.
        while new.inputs < self.chunk && new.len < bytes_max && std::mem::take(&mut self.reading) {
            let input = match self.plan.chunk {
                Chunk::Of(1) => self.source.next(new.bytes),
                _ => next_item(&mut self.source, new.bytes),
            };
            match input {
                Some(Ok(())) => (new.inputs, new.len, self.reading) = (new.inputs + 1, new.bytes.len(), true),
                Some(Err(e)) => self.input_error = Some(e),
                None => {}
            }
        }
    }

    /// Submits what was gathered.
    fn submit(&mut self, limit: Option<Duration>) -> Result<Core> {
        // The input may have forked, and this be the child.
        self.pool.member.check_fork()?;
        let mut request = request(&self.pool, &self.plan.submit, self.source.function(&self.pool)?)?;
        if self.plan.chunk != Chunk::Of(1) {
            if self.plan.submit.retries() {
                return Err(Error::invalid("retry", "of chunks", "none, or a map with a task for each input"));
            }
            request.options |= OPTION_CHUNK;
        }
        let limit = [limit, time_to(self.deadline)].into_iter().flatten().min();
        let when_full = limit.map_or(WhenFull::Wait, WhenFull::WaitFor);
        let ticket = match self.plan.submit.retries() {
            false => self.pool.submit_bytes(&request, &self.bytes, when_full)?,
            true => self.pool.submit_by_rule(&request, self.plan.submit.rule(&self.pool), &self.bytes, when_full)?,
        };
        self.plan.submit.note_submitted(&self.pool, 1);
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
        Ok(Core::new(self.pool.clone(), ticket))
    }

    fn hold(&mut self, batch: Batch) {
        if self.plan.ordered {
            self.tasks.push_back(InFlight::Task(batch));
        } else {
            self.ended.add(&self.pool, batch.core.ticket, batch.first);
            self.out.insert(batch.first, batch);
        }
    }

    /// The next result, waiting no longer than `timeout` (and than the map's own time) for a task that is not over yet.
    #[inline]
    pub(crate) fn next(&mut self, timeout: Option<Duration>) -> Next<'_> {
        if self.opened.left == 0
            && let Some(instead) = self.open_next(timeout)
        {
            return instead;
        }
        let (index, result) = self.opened.next();
        Next::Item(index, result)
    }

    /// The next result, if it is there and a value: apart from `next`, for it fits into registers.
    #[inline]
    pub(crate) fn next_value(&mut self) -> Option<&[u8]> {
        if self.opened.left == 0 { None } else { self.opened.next_value() }
    }

    pub(crate) fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The result given last comes again.
    pub(crate) fn step_back(&mut self) {
        self.opened.step_back();
    }

    /// Waits for the next task that is over and makes its results those to be given; or says what there is instead.
    #[inline(never)]
    fn open_next(&mut self, timeout: Option<Duration>) -> Option<Next<'static>> {
        self.advanced = true;
        let end = timeout.map(|t| now_ns().saturating_add(nanos(t)));
        loop {
            if let Err(e) = self.pool.member.check_fork() {
                return Some(Next::Failed(e));
            }
            let limit = time_to([end, self.deadline].into_iter().flatten().min());
            if self.tasks.is_empty() && self.out.is_empty() {
                // Nothing of ours is under way that could be waited for: then for room.
                self.feed(limit);
                if self.gathered.is_some() {
                    let after = timeout.unwrap_or_default();
                    return Some(self.out_of_time(Error::TimedOut { what: "a free slot in the ring", after }));
                }
            }
            let in_order = self.plan.ordered || self.out.is_empty();
            let ended = if in_order { self.next_in_order(limit) } else { self.next_ended(limit) };
            match ended {
                // What is ready does not wait for room.
                Ok(true) => self.feed(Some(Duration::ZERO)),
                Ok(false) => return Some(Next::End),
                Err(e @ Error::TimedOut { .. }) => return Some(self.out_of_time(e)),
                Err(e) if e.is_refused_wait() => return Some(Next::Failed(e)),
                Err(e) => {
                    self.cancel();
                    return Some(Next::Failed(e));
                }
            }
            if self.opened.left != 0 {
                return None;
            }
        }
    }

    /// The look's own time is over, or that of the whole map.
    fn out_of_time(&mut self, e: Error) -> Next<'static> {
        if self.deadline.is_none_or(|d| now_ns() < d) {
            return Next::Failed(e);
        }
        self.cancel();
        Next::Failed(Error::TimedOut { what: "all results of the map", after: self.plan.timeout.unwrap_or_default() })
    }

    /// Opens what came of the first task; false when there is none.
    fn next_in_order(&mut self, limit: Option<Duration>) -> Result<bool> {
        if let Some(InFlight::Task(batch)) = self.tasks.front()
            // The outcome, or why there is none, is seen below.
            && let Err(e) = batch.core.wait(limit)
            && (matches!(e, Error::TimedOut { .. }) || e.is_refused_wait())
        {
            return Err(e);
        }
        match self.tasks.pop_front() {
            None => return Ok(false),
            Some(InFlight::Task(batch)) => self.open(batch),
            Some(InFlight::Failed(first, inputs, e)) => self.opened = Opened::new(Err(e), false, first, inputs, 0),
        }
        Ok(true)
    }

    /// The same for the task that ended first.
    fn next_ended(&mut self, limit: Option<Duration>) -> Result<bool> {
        let Some(first) = self.ended.next(limit)? else { return Ok(false) };
        if let Some(batch) = self.out.remove(&first) {
            self.open(batch);
        }
        Ok(true)
    }

    /// Takes the outcome of a finished task.
    fn open(&mut self, mut batch: Batch) {
        let outcome = match batch.core.wait(None).map(|_| ()) {
            Ok(()) => match batch.core.take_outcome() {
                Some(Outcome::Value(bytes)) => Ok(bytes),
                Some(Outcome::Error(e)) => Err(self.explain(*e)),
                None => Err(Error::Stale),
            },
            Err(e) => Err(self.explain(e)),
        };
        let is_chunk = self.plan.chunk != Chunk::Of(1);
        let at = if self.plan.chunk == Chunk::Auto { TIME_LEN } else { 0 };
        if at != 0
            && let Some(ns) = outcome.as_ref().ok().and_then(|bytes| bytes.first_chunk())
        {
            self.chunk = chunk_after(u64::from_le_bytes(*ns), batch.inputs);
        }
        self.opened = Opened::new(outcome, is_chunk, batch.first, batch.inputs, at);
    }

    /// Why there is no result is that the pool was terminated, where it was.
    fn explain(&self, e: Error) -> Error {
        let by_end = matches!(e, Error::Cancelled | Error::WorkerLost { .. } | Error::Broken { .. } | Error::ShutDown);
        // Pairs with the fence in `MultiPool::terminate`: whoever sees what the end has done sees that it was said before.
        fence(Acquire);
        if by_end && self.pool.terminated.load(Relaxed) { Error::Terminated } else { e }
    }

    /// For who needs no further results: the rest is cancelled, if any result was asked for. Otherwise what was submitted runs.
    pub(crate) fn leave(&mut self) {
        if self.advanced {
            self.cancel();
        }
    }

    /// Ends the map: nothing is left, and what was going on is cancelled.
    fn cancel(&mut self) {
        self.ended = Completions::default();
        self.stop();
        self.input_error = None;
        self.tasks.clear();
        self.out.clear();
    }

    /// Reads no more, cancels what has not started, and asks what runs to stop. What came of the inputs that were read is still given.
    pub(crate) fn stop(&mut self) {
        (self.reading, self.keep) = (false, None);
        if let Some((first, inputs)) = self.gathered.take() {
            self.tasks.push_back(InFlight::Failed(first, inputs, Error::Cancelled));
        }
        if self.pool.member.is_foreign() {
            return;
        }
        let in_order = self.tasks.iter().filter_map(|task| match task {
            InFlight::Task(batch) => Some(batch),
            InFlight::Failed(..) => None,
        });
        // What waits comes first: a worker that is asked to stop would begin with the next of it.
        let begun = in_order.chain(self.out.values()).map(|batch| batch.core.ticket);
        let begun: Vec<Ticket> = begun.filter(|&ticket| self.pool.cancel_pending(ticket).is_err()).collect();
        for ticket in begun {
            self.pool.cancel(ticket);
        }
    }
}

/// How many inputs the next task has, after so many took that long.
fn chunk_after(ns: u64, inputs: usize) -> usize {
    let wanted = (inputs as u64).saturating_mul(AUTO_NS) / ns.max(1);
    (wanted as usize).min(inputs.saturating_mul(AUTO_GROWTH)).clamp(1, AUTO_INPUTS_MAX)
}

/// What is left of the time to this deadline.
fn time_to(deadline: Option<u64>) -> Option<Duration> {
    deadline.map(|d| Duration::from_nanos(d.saturating_sub(now_ns())))
}

/// Reads an input as an item of a chunk. When there is none, something of it may stay.
#[inline]
fn next_item(source: &mut impl Source, bytes: &mut Vec<u8>) -> Option<std::result::Result<(), Box<Error>>> {
    let at = begin_item(bytes);
    let read = source.next(bytes);
    if matches!(read, Some(Ok(()))) && !end_item(bytes, at) {
        return Some(Err(Box::new(Error::Encode { message: "an item of a chunk is over 4 GiB".into() })));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_follows_the_time_that_was_measured() {
        assert_eq!(chunk_after(AUTO_NS, 50), 50);
        assert_eq!(chunk_after(2 * AUTO_NS, 50), 25);
        assert_eq!(chunk_after(AUTO_NS / 2, 50), 100);
        assert_eq!(chunk_after(1, 50), 50 * AUTO_GROWTH, "no more than that at once");
        assert_eq!((chunk_after(0, 1), chunk_after(0, usize::MAX)), (AUTO_GROWTH, AUTO_INPUTS_MAX));
        assert_eq!((chunk_after(u64::MAX, 50), chunk_after(u64::MAX, usize::MAX)), (1, 1));
    }
}
