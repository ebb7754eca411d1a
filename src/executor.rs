//! The executor: a pool's handle, for its owner or for another submitter.

use crate::builder::Builder;
use crate::codec::{Payload, encode_into, encoded};
use crate::error::{Error, Result};
use crate::future::Future;
use crate::map::{Map, MapOptions};
use crate::options::{SubmitOptions, request, requests_of_all};
use crate::pool::{Pool, Ticket};
use crate::retry::Rule;
use crate::slot::Request;
use crate::submit::WhenFull;
use crate::supervisor::Supervisor;
use crate::sync::Ordering::Relaxed;
use crate::task::Task;
use crate::task_set::TaskSet;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// A process pool in shared memory. Threads share it by reference or in an `Arc`; dropping it waits for everything that was submitted.
///
/// ```
/// # taskring::test_support!();
/// taskring::task! { fn square(x: u64) -> u64 { x * x } }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).build()?;
///     assert_eq!(pool.submit(square, 7)?.result()?, 49);
///     let squares: Vec<u64> = pool.map(square, 0..5)?.collect::<Result<_, _>>()?;
///     assert_eq!(squares, [0, 1, 4, 9, 16]);
///     Ok(())
/// }
/// ```
pub struct Executor {
    pool: Arc<Pool>,
    supervisor: Option<Arc<Supervisor>>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor({} workers, capacity {})", self.workers(), self.capacity())
    }
}

thread_local! {
    /// Encoded arguments: one allocation for the life of the thread.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer. Whoever encodes may submit as well, and then gets one of its own; so does who comes when the thread's values are gone.
#[inline(always)]
fn with_scratch<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    const KEPT_MAX: usize = 1 << 20;
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut bytes);
    if bytes.capacity() <= KEPT_MAX {
        bytes.clear();
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
    result
}

/// Encodes and submits.
#[inline]
pub(crate) fn submit_to<A: Payload, R: Payload>(
    pool: &Arc<Pool>,
    options: &SubmitOptions,
    task: Task<A, R>,
    args: &A,
    when_full: WhenFull,
) -> Result<Future<R>> {
    pool.member.check_fork()?;
    pool.prefetch_next();
    let request = request(pool, options, pool.function(&task)?)?;
    let ticket = match options.retries() {
        false => submit_request(pool, &request, args, when_full)?,
        true => submit_retried(pool, &request, options.rule(pool), args, when_full)?,
    };
    options.note_submitted(pool, 1);
    Ok(Future::new(pool.clone(), ticket))
}

/// The same for a task without options, which so cost it nothing.
#[inline]
fn submit_plain<A: Payload, R: Payload>(
    pool: &Arc<Pool>,
    task: Task<A, R>,
    args: &A,
    when_full: WhenFull,
) -> Result<Future<R>> {
    pool.member.check_fork()?;
    pool.prefetch_next();
    let request = Request { function: pool.function(&task)?, ..pool.request };
    Ok(Future::new(pool.clone(), submit_request(pool, &request, args, when_full)?))
}

#[inline(always)]
fn submit_request<A: Payload>(pool: &Pool, request: &Request, args: &A, when_full: WhenFull) -> Result<Ticket> {
    match args.as_encoded() {
        Some(bytes) => pool.submit_bytes(request, bytes, when_full),
        None => {
            let mut failed = None;
            // In a register, and 0 when it failed: a result with all of an error in it is moved by loads that span several stores, and such a load waits for all
            // stores before it (see `Short` in `outcome.rs`).
            let id = with_scratch(|bytes| {
                if let Err(error) = encode_into(args, bytes) {
                    failed = Some(boxed(error));
                    return 0;
                }
                match pool.submit_bytes(request, bytes, when_full) {
                    Ok(ticket) => ticket.id(),
                    Err(error) => {
                        failed = Some(boxed(error));
                        0
                    }
                }
            });
            match failed {
                None => Ok(Ticket::of_id(id)),
                Some(error) => Err(*error),
            }
        }
    }
}

#[cold]
#[inline(never)]
fn boxed(error: Error) -> Box<Error> {
    Box::new(error)
}

/// The same with a rule of its own.
#[cold]
fn submit_retried<A: Payload>(pool: &Pool, request: &Request, rule: Rule, args: &A, when_full: WhenFull) -> Result<Ticket> {
    if let Some(bytes) = args.as_encoded() {
        return pool.submit_by_rule(request, rule, bytes, when_full);
    }
    pool.submit_by_rule(request, rule, &encoded(args)?, when_full)
}

/// For the bench of the mutexes: locks the submitter's lane, calls `f`, and unlocks it.
#[doc(hidden)]
pub fn holding_lane<T>(executor: &Executor, f: impl FnOnce() -> T) -> Result<T> {
    let _hold = executor.pool.member.hold_lane(executor.pool.lane)?;
    Ok(f())
}

impl Executor {
    /// The way to a new pool.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(pool: Arc<Pool>, supervisor: Option<Arc<Supervisor>>) -> Executor {
        Executor { pool, supervisor }
    }

    /// The same pool once more. It ends with either of the two, unless it is that of a worker's tasks.
    pub(crate) fn another(&self) -> Executor {
        Executor { pool: self.pool.clone(), supervisor: self.supervisor.clone() }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Of the owner only.
    pub(crate) fn supervisor(&self) -> Option<&Arc<Supervisor>> {
        self.supervisor.as_ref()
    }

    /// Submits a task. Waits while the ring is full of unfinished tasks.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::PayloadTooLarge`], [`Error::OutOfMemory`], [`Error::UnknownFunction`], [`Error::ShutDown`],
    /// [`Error::Broken`], [`Error::Corrupt`], [`Error::Stalled`], [`Error::System`], [`Error::Forked`]; [`Error::TooMany`] of function names and payload blocks. In
    /// a task that waits for room in a ring of its own pool also [`Error::WouldDeadlock`], [`Error::TooMany`] and [`Error::Unsupported`], as of
    /// [`wait`](crate::wait). Nothing was submitted then.
    #[inline]
    pub fn submit<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<Future<R>> {
        submit_plain(&self.pool, task, &args, WhenFull::Wait)
    }

    /// Submits a task with arguments that stay with the caller: for large ones that are used again, which need not be cloned, or freed in this call.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use taskring::Bytes;
    /// taskring::task! { fn sum(bytes: Bytes) -> u64 { bytes.iter().map(|&byte| u64::from(byte)).sum() } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     let page = Bytes::from(vec![1; 4096]);
    ///     let futures = [pool.submit_ref(sum, &page)?, pool.submit_ref(sum, &page)?];
    ///     for future in futures {
    ///         assert_eq!(future.result()?, 4096);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`submit`](Executor::submit).
    pub fn submit_ref<A: Payload, R: Payload>(&self, task: Task<A, R>, args: &A) -> Result<Future<R>> {
        submit_plain(&self.pool, task, args, WhenFull::Wait)
    }

    /// Submits a task if there is room for it now.
    ///
    /// # Errors
    /// [`Error::Full`], and those of [`submit`](Executor::submit).
    pub fn try_submit<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<Future<R>> {
        submit_plain(&self.pool, task, &args, WhenFull::Refuse)
    }

    /// Submits a task, waiting no longer than `timeout` for room.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and those of [`submit`](Executor::submit).
    pub fn submit_timeout<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A, timeout: Duration) -> Result<Future<R>> {
        submit_plain(&self.pool, task, &args, WhenFull::WaitFor(timeout))
    }

    /// Submits a task with options.
    ///
    /// # Errors
    /// [`Error::Discarded`] when the options name a discarded set; [`Error::InvalidArgument`] for what they ask and cannot have: a set of another pool, a worker
    /// that the pool has not, a time limit or a [`Retry`](crate::Retry) that makes no sense; [`Error::Unsupported`] for a hard time limit while the pool has
    /// workers that are threads; and those of [`submit`](Executor::submit).
    pub fn submit_with<A: Payload, R: Payload>(
        &self,
        options: &SubmitOptions,
        task: Task<A, R>,
        args: A,
    ) -> Result<Future<R>> {
        submit_to(&self.pool, options, task, &args, WhenFull::Wait)
    }

    /// Submits a task for each argument, many with one hold of the ring's mutex. Waits while the ring is full.
    ///
    /// # Errors
    /// Those of [`submit`](Executor::submit). The tasks that were submitted before the error run, and their results are dropped.
    pub fn submit_bulk<A: Payload, R: Payload>(
        &self,
        task: Task<A, R>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Future<R>>> {
        const AT_A_TIME: usize = 64;
        let pool = &self.pool;
        pool.member.check_fork()?;
        let request = request(pool, &SubmitOptions::default(), pool.function(&task)?)?;
        let mut args = args.into_iter();
        let mut futures = Vec::with_capacity(args.size_hint().0);
        let mut ends = Vec::with_capacity(AT_A_TIME);
        with_scratch(|bytes| {
            loop {
                bytes.clear();
                ends.clear();
                for arg in args.by_ref().take(AT_A_TIME) {
                    encode_into(&arg, bytes)?;
                    ends.push(bytes.len());
                }
                if ends.is_empty() {
                    return Ok(futures);
                }
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let args = starts.zip(&ends).map(|(from, &to)| &bytes[from..to]);
                // Not under the lane's mutex.
                futures.reserve(ends.len());
                let each = |ticket| futures.push(Future::new(pool.clone(), ticket));
                pool.submit_slices(&request, pool.retry, args, each)?;
            }
        })
    }

    /// Submits a task for one worker: that of this number, as [`task::worker_number`](crate::task::worker_number) tells it, or whoever takes its place
    /// when it dies before it has begun with the task. Numbers begin with 0 and are below [`workers`](Executor::workers); workers that came by the pool's name
    /// have none. One that [`resize`](Executor::resize) has made one too many is no worker for this from then on, though it may still be running a task; nor is
    /// one that stands in for another ([`Builder::replacements`](crate::Builder::replacements)). [`SubmitOptions::worker`] says the same beside other options.
    ///
    /// Such tasks wait while their worker is busy and run in the order in which this submitter submitted them; other tasks go past them to other workers. Once
    /// more than twice as many of them as the ring has slots have gone past, the order may break.
    /// In every other way they are as others are: they can be cancelled and discarded, and one that may run again (`idempotent`) does so in the worker that
    /// takes the place of the one that died. When no worker comes to the place within the pool's start time-out, or none is to come any more, they end with
    /// [`Error::NoWorkerFor`]; a pool that is being shut down starts the worker for them if it has to.
    ///
    /// A task that waits stands in its worker's way. When several wait, each for one that is for the next one's worker, no wait would end: one of them is told, by
    /// [`Error::WouldDeadlock`].
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn who() -> Option<u32> { taskring::task::worker_number() } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     assert_eq!(pool.submit_to(1, who, ())?.result()?, Some(1));
    ///     assert!(matches!(pool.submit_to(2, who, ()), Err(taskring::Error::InvalidArgument { name: "worker", .. })));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the number when the pool has no such worker, and those of [`submit`](Executor::submit).
    pub fn submit_to<A: Payload, R: Payload>(&self, worker: u32, task: Task<A, R>, args: A) -> Result<Future<R>> {
        submit_to(&self.pool, &SubmitOptions::new().worker(worker), task, &args, WhenFull::Wait)
    }

    /// Submits a task once for every worker that the pool has at this call: those that its owner keeps, in the order of their numbers, and then those that came
    /// by the pool's name and are ready. One that is started later gets none. A pool without workers gives no futures.
    ///
    /// Each of the tasks is for its worker alone, as by [`submit_to`](Executor::submit_to); one for a worker that came by name ends with
    /// [`Error::NoWorkerFor`] when that one leaves without having begun with it. Waits while the ring is full.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn reload(version: u64) -> u64 { version } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(3).build()?;
    ///     let told = pool.broadcast(reload, 7)?;
    ///     assert_eq!(told.len(), 3);
    ///     assert!(told.iter().all(|future| future.result() == Ok(7)));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`submit`](Executor::submit). The tasks that were submitted before the error run, and their results are dropped.
    pub fn broadcast<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<Vec<Future<R>>> {
        self.broadcast_with(&SubmitOptions::new(), task, args)
    }

    /// The same with options.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the options name a worker, and those of [`submit_with`](Executor::submit_with).
    pub fn broadcast_with<A: Payload, R: Payload>(
        &self,
        options: &SubmitOptions,
        task: Task<A, R>,
        args: A,
    ) -> Result<Vec<Future<R>>> {
        let pool = &self.pool;
        pool.member.check_fork()?;
        let request = request(pool, &options.for_any_worker(), pool.function(&task)?)?;
        let requests = requests_of_all(pool, &request, options)?;
        let mut futures = Vec::with_capacity(requests.len());
        let sent = with_scratch(|bytes| {
            encode_into(&args, bytes)?;
            pool.submit_each(&requests, options.rule(pool), bytes, |ticket| futures.push(Future::new(pool.clone(), ticket)))
        });
        options.note_submitted(pool, futures.len());
        sent.map(|()| futures)
    }

    /// Runs a task over inputs, with twice as many tasks in the pool at a time as there are workers. Work starts at this call.
    ///
    /// # Errors
    /// None but those of [`map_with`](Executor::map_with).
    pub fn map<A, R, I>(&self, task: Task<A, R>, inputs: I) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        self.map_with(&MapOptions::new(), task, inputs)
    }

    /// The same with a window and chunks of your own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a window or chunk of 0. When the pool refuses an input of the first window, what
    /// [`submit`](Executor::submit) returns; inputs submitted before it run. Errors of inputs stand at their places among the results.
    pub fn map_with<A, R, I>(&self, options: &MapOptions, task: Task<A, R>, inputs: I) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        Map::start(self, task, inputs.into_iter(), options)
    }

    /// A new task set, whose tasks can be discarded in one call.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::Forked`].
    pub fn task_set(&self) -> Result<TaskSet> {
        TaskSet::new(self.pool.clone())
    }

    /// Workers of this pool: as planned by its owner; as attached just now, for any other submitter or a pool without workers of its own.
    #[must_use]
    pub fn workers(&self) -> usize {
        let planned = self.supervisor.as_ref().map_or(0, |s| s.planned_workers());
        if planned != 0 { planned } else { self.pool.segment().life().workers.load(Relaxed) as usize }
    }

    /// Slots of each of this submitter's lanes: how many unfinished tasks of one priority it can have.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pool.capacity()
    }

    /// The processes of the workers: those that the owner has started, or (for any other submitter) those attached.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        let attached = || {
            let workers = self.pool.member.participants().filter(|(_, state, _)| state.is_worker());
            workers.map(|(_, _, record)| record.pid.load(Relaxed)).collect()
        };
        match self.supervisor.as_ref().map(|s| s.worker_pids()) {
            Some(pids) if !pids.is_empty() => pids,
            _ => attached(),
        }
    }
}
