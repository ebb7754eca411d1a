//! What a submitter may ask for one task, and the request that comes of it.

use crate::error::{Error, PoolKind, Result};
use crate::pool::{Pool, starts_max_with};
use crate::priority::Priority;
use crate::record::{Kind, RecordState};
use crate::retry::{Retry, Rule};
use crate::slot::{OPTION_IDEMPOTENT, Request};
use crate::sync::Ordering::Release;
use crate::target::Target;
use crate::task_set::{SetShared, TaskSet};
use crate::time_limits::TimeLimits;
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
    /// How often an idempotent task is started at most, counting the first time: 1 to 255, else a submit is refused with
    /// [`Error::InvalidArgument`]. The default is what the pool says
    /// ([`OnWorkerDeath::Retry`](crate::OnWorkerDeath::Retry)) and else 2; or as often as its rule for retries allows, when that is more.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u8) -> SubmitOptions {
        self.attempts_max = Some(attempts);
        self
    }

    /// The task is for the worker of this number alone, see [`Executor::submit_to`](crate::Executor::submit_to).
    #[must_use]
    pub fn worker(mut self, number: u32) -> SubmitOptions {
        self.worker = Some(number);
        self
    }

    /// Which of the tasks that wait are taken first. The default is [`Priority::Normal`].
    ///
    /// A worker takes a task of the highest level that has one which it can run, but for aging, so that no level starves: when it has taken 16 tasks of higher
    /// levels since it last took one of a level, or last found none there, the next that it takes is of that level, if there is one by now; of two such levels
    /// the lowest comes first. A worker that takes the place of one that has left or died goes on with its count. So while a task waits that any of the workers
    /// in `w` places can run, and `k` others of its level are taken before it, no more than 16 × (`w` + `k`) of higher levels begin, not counting tasks that a
    /// waiting task runs itself and further attempts after a pause. There are as many places as there were workers at one time: where each is followed by
    /// another one ([`Builder::max_tasks_per_worker`](crate::Builder::max_tasks_per_worker)), more than
    /// [`Builder::workers`](crate::Builder::workers), for both are there for a while.
    ///
    /// Tasks that one submitter submits with one priority begin in the order of their submits. Submitters with tasks of one level take turns, however many each
    /// of them has. A task that is run again after its worker died, or without a pause after it failed, keeps its level, and is before those of that level that
    /// have not begun; one that waits for its next attempt ([`Retry::backoff`](crate::Retry::backoff)) begins when its pause is over, whatever waits beside it.
    /// A running task is not interrupted for one of a higher level, and whoever waits in a task for another one of its pool runs that one itself, of whatever
    /// level it is.
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
    /// [`task::cancel_requested`](crate::task::cancel_requested) is true in it. More than 0 and up to 49 days. Counted from its start, each time that it is started, in whole milliseconds, rounded up;
    /// of a map, for each chunk of inputs (see [`MapOptions::chunk`](crate::MapOptions::chunk)). The default is the pool's,
    /// [`Builder::task_soft_limit`](crate::Builder::task_soft_limit). It must be less than the hard limit, also where one of the two is the pool's: else a
    /// submit is refused with [`Error::InvalidArgument`], as it is for a limit out of range: no limit is to say none.
    ///
    /// A worker keeps to limits in a thread of its own. So a task that runs with one, or in a worker after one, finds a second thread in its process, where
    /// no pool with [`StartMethod::Fork`](crate::StartMethod::Fork) can be built. That thread takes no signals.
    #[must_use]
    pub fn soft_limit(mut self, limit: Duration) -> SubmitOptions {
        self.soft_ns = limit_ns(limit);
        self
    }
    /// How long the task may run before it is killed with its worker process, as by [`Future::cancel_hard`](crate::Future::cancel_hard): it ends with
    /// [`Error::TimeLimit`], and is not run again. As long, and counted, as the soft limit. What else the process does, for other pools too, ends with it, as by a hard
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

    /// The same without a worker.
    pub(crate) fn for_any_worker(&self) -> SubmitOptions {
        SubmitOptions { worker: None, ..self.clone() }
    }

    /// Whether there is a rule of its own for another attempt.
    #[inline]
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
        if attempts == 0 {
            return Err(Error::invalid("attempts_max", 0, "1 to 255, counting the first"));
        }
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
        request.attempts_max = starts_max_with(pool.segment(), rule);
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
