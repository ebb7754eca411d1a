//! The executor: a pool's handle, for its owner or for another submitter.

use crate::builder::Builder;
use crate::codec::Payload;
use crate::error::{Error, PoolKind, Result};
use crate::future::Future;
use crate::map::{Map, MapOptions};
use crate::pool::{Pool, Ticket};
use crate::priority::Priority;
use crate::record::{Kind, RecordState};
use crate::retry::{Retry, Rule};
use crate::slot::{OPTION_IDEMPOTENT, Request};
use crate::submit::WhenFull;
use crate::supervisor::Supervisor;
use crate::sync::Ordering::{Relaxed, Release};
use crate::target::Target;
use crate::task::Task;
use crate::task_set::{SetShared, TaskSet};
use crate::time_limits::TimeLimits;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// Options of one task.
#[derive(Clone, Debug, Default)]
pub struct SubmitOptions {
    set: Option<Arc<SetShared>>,
    idempotent: Option<bool>,
    attempts_max: Option<u8>,
    worker: Option<u32>,
    priority: Priority,
    /// Time limits in nanoseconds. 0 is none, for plain numbers cost a submit nothing; one that was asked to be 0 is `ZERO_LIMIT`.
    soft_ns: u64,
    hard_ns: u64,
    retry: Option<Retry>,
}

impl SubmitOptions {
    /// No set, normal priority, and the pool's policy for a worker's death.
    #[must_use]
    pub fn new() -> SubmitOptions {
        SubmitOptions::default()
    }
    /// The task belongs to this set.
    #[must_use]
    pub fn set(mut self, set: &TaskSet) -> SubmitOptions {
        self.set = Some(set.shared().clone());
        self
    }
    /// The task may run again when its worker died in it: doing it twice does no harm.
    #[must_use]
    pub fn idempotent(mut self, may_run_again: bool) -> SubmitOptions {
        self.idempotent = Some(may_run_again);
        self
    }
    /// How often an idempotent task is started at most, counting the first time. The default is 2.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u8) -> SubmitOptions {
        self.attempts_max = Some(attempts);
        self
    }

    /// The task is for the worker of this number alone, see [`Executor::submit_to`].
    #[must_use]
    pub fn worker(mut self, number: u32) -> SubmitOptions {
        self.worker = Some(number);
        self
    }

    /// Which of the tasks that wait are taken first. The default is [`Priority::Normal`].
    ///
    /// A worker takes a task of the highest level that has one which it can run, but for aging, so that no level starves: when it has taken 16 tasks of higher
    /// levels since it last took one of a level, or last found none there, the next that it takes is of that level, if there is one by now; of two such levels
    /// the lowest comes first. So with `w` workers, while a task waits and `k` others of its level are taken before it, no more than 16 × (`w` + `k`) of higher
    /// levels are.
    ///
    /// Tasks that one submitter submits with one priority begin in the order of their submits. Submitters with tasks of one level take turns, however many each
    /// of them has. A task that is run again after its worker died keeps its level, and is before those of that level that have not begun. A running task is
    /// not interrupted for one of a higher level, and whoever waits in a task for another one of its pool runs that one itself, of whatever level it is.
    ///
    /// Each level has a ring of its own, with as many slots, from its first task on: when one is full, there is room in the others. More than 16 submitters of
    /// normal tasks, or 4 of another level, share rings: each has its part of the slots, and in a shared ring tasks begin in the order of their submits.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use taskring::{Priority, SubmitOptions};
    /// taskring::task! { fn double(x: u64) -> u64 { 2 * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let urgent = SubmitOptions::new().priority(Priority::High);
    ///     let later = pool.submit(double, 1)?;
    ///     let first = pool.submit_with(&urgent, double, 2)?;
    ///     assert_eq!((first.result()?, later.result()?), (4, 2));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> SubmitOptions {
        self.priority = priority;
        self
    }

    /// How long the task may run before it is asked to stop, as by [`Future::cancel`](crate::Future::cancel): from then on
    /// [`task::cancel_requested`](crate::task::cancel_requested) is true in it. Counted from its start, each time that it is started, in whole milliseconds;
    /// of a map, for each chunk of inputs (see [`MapOptions::chunk`](crate::MapOptions::chunk)). The default is the pool's,
    /// [`Builder::task_soft_limit`](crate::Builder::task_soft_limit). It must be less than the hard limit, also where one of the two is the pool's: else a
    /// submit is refused with [`Error::InvalidArgument`].
    ///
    /// A worker keeps to limits in a thread of its own. So a task that runs with one, or in a worker after one, finds a second thread in its process, where
    /// no pool with [`StartMethod::Fork`](crate::StartMethod::Fork) can be built. That thread takes no signals.
    #[must_use]
    pub fn soft_limit(mut self, limit: Duration) -> SubmitOptions {
        self.soft_ns = limit_ns(limit);
        self
    }
    /// How long the task may run before it is killed with its worker process, as by [`Future::cancel_hard`](crate::Future::cancel_hard): it ends with
    /// [`Error::TimeLimit`], and is not run again. Counted as the soft limit. What else the process does, for other pools too, ends with it, as by a hard
    /// cancel. The default is the pool's, [`Builder::task_hard_limit`](crate::Builder::task_hard_limit). A submit is refused with [`Error::Unsupported`]
    /// while the pool has workers that are threads; one that comes later only asks, and so does a process that serves the pool and takes part in it in
    /// another way as well.
    ///
    /// ```
    /// # taskring::test_support!();
    /// use std::time::Duration;
    /// use taskring::{Error, SubmitOptions};
    /// taskring::task! { fn forever() { loop { std::thread::park() } } }
    /// fn main() -> Result<(), Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let limit = Duration::from_millis(100);
    ///     let task = pool.submit_with(&SubmitOptions::new().hard_limit(limit), forever, ())?;
    ///     assert_eq!(task.result(), Err(Error::TimeLimit { limit }));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn hard_limit(mut self, limit: Duration) -> SubmitOptions {
        self.hard_ns = limit_ns(limit);
        self
    }

    /// The task is run again when it has failed, as often and after such failures as this says. The default is the pool's,
    /// [`Builder::task_retry`](crate::Builder::task_retry); [`Retry::never`] is none. With [`idempotent`](SubmitOptions::idempotent), and unless
    /// [`attempts_max`](SubmitOptions::attempts_max) says otherwise, it is started as often after a worker's death, all attempts counted together. In
    /// a map each input has attempts of its own, and with chunks of inputs this is refused.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> SubmitOptions {
        self.retry = Some(retry);
        self
    }

    /// The rule that a task has with these options, which a request for it was made from before.
    #[inline]
    pub(crate) fn rule(&self, pool: &Pool) -> Rule {
        self.retry.as_ref().map_or(pool.retry, |retry| retry.rule().unwrap_or(pool.retry))
    }

    /// Whether this is set: for those who put several inputs into a task.
    pub(crate) fn retries(&self) -> bool {
        self.retry.is_some()
    }

    /// After so many tasks with these options were published.
    #[inline]
    pub(crate) fn note_submitted(&self, pool: &Pool, tasks: usize) {
        if let Some(set) = &self.set {
            // Release: pairs with `TaskSet::discard`, which so sees a late cancellation that was counted before.
            set.submitted.fetch_add(tasks, Release);
        }
        if let Some(number) = self.worker {
            pool.segment().wake_target(Target::Number(number));
        }
    }
}

/// In place of a time limit of no time, which is refused at the submit.
const ZERO_LIMIT: u64 = u64::MAX;

fn limit_ns(limit: Duration) -> u64 {
    if limit.is_zero() { ZERO_LIMIT } else { crate::limits::nanos(limit).min(ZERO_LIMIT - 1) }
}

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

#[inline]
pub(crate) fn request(pool: &Arc<Pool>, options: &SubmitOptions, function: u16) -> Result<Request> {
    let mut request = Request { function, ..pool.request };
    if let Some(set) = &options.set {
        request.set = set.set.0;
        if !Arc::ptr_eq(&set.pool, pool) {
            return Err(Error::invalid("the task set", "one of another pool", "one of the pool submitted to"));
        }
        if pool.segment().sets().is_discarded(set.set) {
            return Err(Error::Discarded);
        }
    }
    if let Some(idempotent) = options.idempotent {
        request.options =
            if idempotent { request.options | OPTION_IDEMPOTENT } else { request.options & !OPTION_IDEMPOTENT };
    }
    if let Some(attempts) = options.attempts_max {
        request.attempts_max = attempts;
    }
    if options.priority != Priority::Normal {
        request.lane = pool.lane_of(options.priority)? as u16;
    }
    if options.soft_ns | options.hard_ns != 0 {
        request = limited(pool, request, [options.soft_ns, options.hard_ns])?;
    }
    if let Some(retry) = &options.retry {
        request = retried(pool, request, retry, options.attempts_max.is_some())?;
    }
    match options.worker {
        None => Ok(request),
        Some(number) => request_to(pool, number, request),
    }
}

/// The same for one worker.
#[cold]
fn request_to(pool: &Pool, number: u32, request: Request) -> Result<Request> {
    let options = request.options | pool.segment().target(number)?.options();
    Ok(Request { options, ..request })
}

/// Those of the same request for each worker of the pool.
pub(crate) fn requests_of_all(pool: &Pool, request: &Request, options: &SubmitOptions) -> Result<Vec<Request>> {
    if let Some(number) = options.worker {
        return Err(Error::invalid("worker", number, "none: a broadcast is for all of them"));
    }
    let of = |target: Target| Request { options: request.options | target.options(), ..*request };
    Ok(pool.segment().all_targets().into_iter().map(of).collect())
}

/// With a rule for another attempt.
#[cold]
fn retried(pool: &Pool, mut request: Request, retry: &Retry, has_attempts: bool) -> Result<Request> {
    let rule = retry.rule()?;
    pool.segment().use_extras(request.lane())?;
    request.set_retried();
    if !has_attempts {
        request.attempts_max = request.attempts_max.max(rule.attempts());
    }
    Ok(request)
}

/// With time limits. Everything by value: what a reference is taken of lies in memory, also where there are no limits.
#[cold]
fn limited(pool: &Pool, mut request: Request, limits: [u64; 2]) -> Result<Request> {
    let asked = |ns: u64| (ns != 0).then(|| Duration::from_nanos(if ns == ZERO_LIMIT { 0 } else { ns }));
    let own = TimeLimits::of(asked(limits[0]), asked(limits[1]))?;
    let is_thread = |(_, state, _): (_, RecordState, _)| state.kind() == Some(Kind::ThreadWorker);
    // A look at every record only where there may be threads.
    let may_have_threads = pool.segment().pool_kind() != PoolKind::Process;
    if own.hard_ms != 0 && may_have_threads && pool.member.participants().any(is_thread) {
        return Err(Error::Unsupported { what: "a hard time limit", with: "with workers that are threads" });
    }
    pool.segment().use_extras(request.lane())?;
    request.set_limits(own.or(request.limits())?);
    Ok(request)
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
    let ticket = match &options.retry {
        None => submit_request(pool, &request, args, when_full)?,
        Some(_) => submit_retried(pool, &request, options.rule(pool), args, when_full)?,
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
        None => with_scratch(|bytes| {
            args.encode(bytes).map_err(|message| Error::Encode { message })?;
            pool.submit_bytes(request, bytes, when_full)
        }),
    }
}

/// The same with a rule of its own.
#[cold]
fn submit_retried<A: Payload>(pool: &Pool, request: &Request, rule: Rule, args: &A, when_full: WhenFull) -> Result<Ticket> {
    if let Some(bytes) = args.as_encoded() {
        return pool.submit_by_rule(request, rule, bytes, when_full);
    }
    let mut bytes = Vec::new();
    args.encode(&mut bytes).map_err(|message| Error::Encode { message })?;
    pool.submit_by_rule(request, rule, &bytes, when_full)
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
    /// [`Error::Broken`], [`Error::Corrupt`], [`Error::Stalled`], [`Error::Forked`]. Nothing was submitted then.
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
    /// [`Error::Discarded`] when the options name a discarded set, and those of [`submit`](Executor::submit).
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
                    arg.encode(bytes).map_err(|message| Error::Encode { message })?;
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
    /// have none. [`SubmitOptions::worker`] says the same beside other options.
    ///
    /// Such tasks wait while their worker is busy and run in the order in which this submitter submitted them; other tasks go past them to other workers. Once
    /// more than twice as many of them as the ring has slots have gone past, the order may break.
    /// In every other way they are as others are: they can be cancelled and discarded, and one that may run again (`idempotent`) does so in the worker that
    /// takes the place of the one that died. When no worker comes to the place within the pool's start time-out, or none is to come any more, they end with
    /// [`Error::NoWorkerFor`]; a pool that is being shut down starts the worker for them if it has to.
    ///
    /// A task that waits stands in its worker's way: when two tasks wait, each for one that is for the other's worker, neither wait ends, and no error tells.
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
    /// [`Error::InvalidArgument`] when the options name a worker, [`Error::Discarded`] when they name a discarded set, and those of
    /// [`submit`](Executor::submit).
    pub fn broadcast_with<A: Payload, R: Payload>(
        &self,
        options: &SubmitOptions,
        task: Task<A, R>,
        args: A,
    ) -> Result<Vec<Future<R>>> {
        let pool = &self.pool;
        pool.member.check_fork()?;
        let request = request(pool, &SubmitOptions { worker: None, ..options.clone() }, pool.function(&task)?)?;
        let requests = requests_of_all(pool, &request, options)?;
        let mut futures = Vec::with_capacity(requests.len());
        let sent = with_scratch(|bytes| {
            args.encode(bytes).map_err(|message| Error::Encode { message })?;
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
