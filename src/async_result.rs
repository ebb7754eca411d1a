//! A result that is waited for, of one task or of all those of a map, in the style of `multiprocessing.pool`.

use crate::codec::{Payload, decoded, first_item};
use crate::error::{Error, Result};
use crate::future::Core;
use crate::outcome::{Outcome, item_result};
use crate::pool::{Pool, lock};
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What [`MultiPool`](crate::MultiPool) gives for work that goes on. Threads share it by reference; dropping it lets the tasks run and drops their
/// results, unless a callback is still to be called.
pub struct AsyncResult<R> {
    work: Arc<Work>,
    decode: fn(&Work) -> Result<R>,
    result: PhantomData<fn() -> R>,
}

/// The tasks of one call.
pub(crate) struct Work {
    pool: Arc<Pool>,
    tasks: Vec<Core>,
    /// The pool was terminated before all were over.
    terminated: AtomicBool,
    /// With a callback: tasks that are not over, and whether it was called.
    left: AtomicUsize,
    told: Mutex<bool>,
    changed: Condvar,
}

/// What is called with the result, or with the error: one of the two, once.
pub(crate) type Callback<R> = Box<dyn FnOnce(Result<R>) + Send>;

impl Work {
    pub(crate) fn new(pool: Arc<Pool>, tasks: Vec<Core>) -> Work {
        let left = AtomicUsize::new(tasks.len());
        Work { pool, tasks, terminated: AtomicBool::new(false), left, told: Mutex::new(true), changed: Condvar::new() }
    }

    /// The value that one task gave.
    pub(crate) fn one<R: Payload>(&self) -> Result<R> {
        decoded(self.bytes_of_one()?)
    }

    /// The values that all tasks gave, each of them those of a chunk, in the order of the inputs; or the first error in that order.
    pub(crate) fn all<R: Payload>(&self) -> Result<Vec<R>> {
        let mut all = Vec::new();
        self.each_of_all(|bytes| {
            all.push(decoded(bytes)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The same as bytes.
    pub(crate) fn bytes_of_one(&self) -> Result<&[u8]> {
        bytes(self.outcome(&self.tasks[0])?)
    }

    /// Calls `each` with the values of `all`.
    pub(crate) fn each_of_all(&self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for task in &self.tasks {
            let mut rest = bytes(self.outcome(task)?)?;
            while !rest.is_empty() {
                let parted = first_item(rest).and_then(|(item, rest)| Some((item.split_first()?, rest)));
                let ((&kind, item), behind) =
                    parted.ok_or_else(|| Error::Decode { message: "a chunk's result is cut short".into() })?;
                each(item_result(kind, item)?)?;
                rest = behind;
            }
        }
        Ok(())
    }

    fn outcome<'a>(&self, task: &'a Core) -> Result<&'a Outcome> {
        task.wait(None)
    }

    /// Why there is no result is that the pool was ended, where it was.
    fn explain<R>(&self, result: Result<R>) -> Result<R> {
        let ended = |e: &Error| matches!(e, Error::Cancelled | Error::WorkerLost { .. } | Error::Broken { .. });
        result.map_err(|e| if self.terminated.load(Relaxed) && ended(&e) { Error::Terminated } else { e })
    }

    /// The pool is about to be terminated.
    pub(crate) fn terminate(&self) {
        if !self.tasks.iter().all(Core::is_over) {
            // Relaxed: whoever sees a task ended by it sees it through the task's own word.
            self.terminated.store(true, Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        self.tasks.iter().all(Core::is_over) && *lock(&self.told)
    }

    /// Waits until all tasks are over, and the callback has returned.
    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        let left = || timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        for task in &self.tasks {
            // The task's own end, and that there will be none, are told with the result.
            if let Err(e) = task.wait_over(left())
                && (matches!(e, Error::TimedOut { .. }) || e.is_refused_wait())
            {
                return Err(e);
            }
        }
        let mut told = lock(&self.told);
        while !*told {
            let limit = left().unwrap_or(Duration::from_secs(1));
            if limit.is_zero() {
                return Err(Error::TimedOut { what: "a result", after: timeout.unwrap_or_default() });
            }
            told = self.changed.wait_timeout(told, limit).unwrap_or_else(PoisonError::into_inner).0;
            self.pool.member.check_fork()?;
        }
        Ok(())
    }
}

fn bytes(outcome: &Outcome) -> Result<&[u8]> {
    match outcome {
        Outcome::Value(bytes) => Ok(bytes),
        Outcome::Error(e) => Err((**e).clone()),
    }
}

impl<R: 'static> AsyncResult<R> {
    pub(crate) fn new(work: Arc<Work>, decode: fn(&Work) -> Result<R>) -> AsyncResult<R> {
        AsyncResult { work, decode, result: PhantomData }
    }

    /// The same, with something to call when all tasks are over.
    pub(crate) fn calling(work: Arc<Work>, decode: fn(&Work) -> Result<R>, callback: Callback<R>) -> Result<AsyncResult<R>> {
        *lock(&work.told) = false;
        let callback = Arc::new(Mutex::new(Some(callback)));
        let tell = move |work: &Work, callback: &Mutex<Option<Callback<R>>>| {
            let Some(callback) = lock(callback).take() else { return };
            // Decoding is code of the user's as well.
            if crate::task::guarded(|| callback(work.explain(decode(work)))).is_err() {
                log::error!(target: "taskring", "the callback of an asynchronous result panicked");
            }
            *lock(&work.told) = true;
            work.changed.notify_all();
        };
        if work.tasks.is_empty() {
            tell(&work, &callback);
        }
        for task in &work.tasks {
            let (work_of_it, callback) = (work.clone(), callback.clone());
            let last = move || {
                // AcqRel: the last one sees what the others have seen.
                if work_of_it.left.fetch_sub(1, AcqRel) == 1 {
                    tell(&work_of_it, &callback);
                }
            };
            work.pool.on_done(task.ticket, task.is_over(), Box::new(last))?;
        }
        Ok(AsyncResult { work, decode, result: PhantomData })
    }

    /// Whether all tasks are over, and the callback, if there is one, has returned: [`get`](AsyncResult::get) will not wait.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.work.is_over()
    }

    /// Whether all tasks have given values.
    ///
    /// # Errors
    /// [`Error::InvalidState`] while it is not [`ready`](AsyncResult::ready).
    pub fn successful(&self) -> Result<bool> {
        if !self.ready() {
            return Err(Error::InvalidState { state: "not over", wanted: "over" });
        }
        Ok((self.decode)(&self.work).is_ok())
    }

    /// Waits until it is [`ready`](AsyncResult::ready), or the time is over.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; in a task also [`Error::WouldDeadlock`], [`Error::TooMany`] and [`Error::Unsupported`], see
    /// [`current_pool`](crate::current_pool).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.work.wait(timeout)
    }

    /// Waits for the result, and gives it as often as it is asked for. With a callback it comes after that has returned.
    ///
    /// # Errors
    /// Those of [`wait`](AsyncResult::wait), after which the work goes on; [`Error::Terminated`] when the pool was terminated before; and those of
    /// [`Future::result`](crate::Future::result): of a map the first one in the order of its inputs, once all of its tasks are over.
    pub fn get(&self, timeout: Option<Duration>) -> Result<R> {
        self.work.wait(timeout)?;
        self.work.explain((self.decode)(&self.work))
    }
}

impl<R: 'static> std::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.ready() { "ready" } else { "not ready" };
        write!(f, "AsyncResult({} tasks, {state})", self.work.tasks.len())
    }
}
