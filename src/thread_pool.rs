//! A pool of threads that runs closures: what a closure captures and gives stays in this process, and only its number goes through the ring.
//!
//! The closures of all these pools are in one table by number, until a worker takes one out to call it. One that will never be called is taken out and
//! dropped by whoever learns of that first: the future that was cancelled or asked, the pool that is shut down, or the end of the pool.

use crate::builder::Builder;
use crate::error::{Error, Result, TaskError};
use crate::executor::{Executor, submit_to};
use crate::future::{Future, State};
use crate::life::Bit;
use crate::options::SubmitOptions;
use crate::pool::{Pool, Ticket, lock};
use crate::retry::Retry;
use crate::start::StartMethod;
use crate::submit::WhenFull;
use crate::sync::Ordering::Relaxed;
use crate::task::{Task, register_fallible};
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

/// The name of the task function that calls closures. Only threads of this process are asked for it.
const FUNCTION: &str = "taskring closure";

/// A closure that nobody has called yet.
struct Waiting {
    code: Box<dyn FnOnce() + Send>,
    /// The number of its pool.
    pool: u64,
    /// Known once the submit has returned.
    ticket: Option<Ticket>,
}

static CLOSURES: LazyLock<Mutex<HashMap<u64, Waiting>>> = LazyLock::new(Mutex::default);
/// Of closures and of pools.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn next_number() -> u64 {
    NUMBER.fetch_add(1, Relaxed)
}

/// Takes a closure out of the table, to be called or dropped: never under the lock, for it is the program's code.
fn take(number: u64) -> Option<Waiting> {
    lock(&CLOSURES).remove(&number)
}

fn function() -> Result<Task<u64, ()>> {
    static TASK: OnceLock<Task<u64, ()>> = OnceLock::new();
    if let Some(task) = TASK.get() {
        return Ok(*task);
    }
    let call = |number: u64| {
        let closure = take(number).ok_or_else(|| TaskError::new("no such closure"))?;
        (closure.code)();
        Ok(())
    };
    let task = register_fallible(FUNCTION, call)?;
    Ok(*TASK.get_or_init(|| task))
}

/// Drops the closures that will never be called, at the latest when the pool has ended.
struct Sweeper {
    number: u64,
    pool: Arc<Pool>,
}

impl Sweeper {
    fn sweep(&self) {
        // A worker takes its closure out before it is over: whatever is over and still there was not called.
        let is_over = |ticket: Ticket| {
            let state = self.pool.slot(ticket).load();
            // The workers of a corrupt pool begin nothing more.
            let is_left = state.is_finished() || self.pool.segment().has(Bit::Corrupt);
            is_left || state.generation() != ticket.generation
        };
        let never = |waiting: &Waiting| waiting.pool == self.number && waiting.ticket.is_some_and(is_over);
        let dropped: Vec<_> = lock(&CLOSURES).extract_if(|_, waiting| never(waiting)).collect();
        drop(dropped);
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.pool.member.is_foreign() {
            self.sweep();
        }
    }
}

/// A pool whose workers are threads of this process: it takes any closure, with what that captures, and gives its value without an encoding.
///
/// A closure is called once at most. It is dropped once: at the end of its call, before its task is over, or, when it is never called (it was cancelled, or
/// could not be submitted), when that is certain. A panic in it is an error of its task only. Dropping the pool waits for everything that was submitted, as
/// that of an [`Executor`] does.
///
/// ```
/// let pool = taskring::ThreadPool::new(2)?;
/// let text = String::from("captured");
/// let future = pool.submit(move || text.len())?;
/// assert_eq!(future.result()?, 8);
/// # Ok::<(), taskring::Error>(())
/// ```
pub struct ThreadPool {
    /// First: its end is waited for, and then nothing is called any more.
    executor: Executor,
    sweeper: Sweeper,
    task: Task<u64, ()>,
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ThreadPool({} threads, capacity {})", self.executor.workers(), self.executor.capacity())
    }
}

impl ThreadPool {
    /// A pool of so many threads.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new(threads: usize) -> Result<ThreadPool> {
        ThreadPool::build(Executor::builder().workers(threads))
    }

    /// A pool with these options. The start method is [`StartMethod::Thread`], whatever they say; and a rule for retries is for task functions, for a closure is
    /// called once.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn build(options: Builder) -> Result<ThreadPool> {
        // Before the pool: its workers look once for what they can run.
        let task = function()?;
        let executor = options.start(StartMethod::Thread).build()?;
        let sweeper = Sweeper { number: next_number(), pool: executor.pool().clone() };
        Ok(ThreadPool { executor, sweeper, task })
    }

    /// The same pool for task functions: for code that takes any kind of pool. End it by [`shutdown`](ThreadPool::shutdown) of this one.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Submits a closure. Waits while the ring is full of unfinished tasks.
    ///
    /// # Errors
    /// [`Error::ShutDown`], [`Error::Broken`], [`Error::Corrupt`], [`Error::Forked`]; in one of its own tasks what [`Executor::submit`](crate::Executor::submit)
    /// says of one that waits for room. The closure was dropped then.
    pub fn submit<R, F>(&self, code: F) -> Result<ThreadFuture<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.launch(code, WhenFull::Wait)
    }

    /// Submits a closure if there is room for it now.
    ///
    /// # Errors
    /// [`Error::Full`], and those of [`submit`](ThreadPool::submit).
    pub fn try_submit<R, F>(&self, code: F) -> Result<ThreadFuture<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.launch(code, WhenFull::Refuse)
    }

    /// Submits a closure, waiting no longer than `timeout` for room.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and those of [`submit`](ThreadPool::submit).
    pub fn submit_timeout<R, F>(&self, code: F, timeout: Duration) -> Result<ThreadFuture<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.launch(code, WhenFull::WaitFor(timeout))
    }

    fn launch<R, F>(&self, code: F, when_full: WhenFull) -> Result<ThreadFuture<R>>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        let pool = self.executor.pool();
        pool.member.check_fork()?;
        let (value, number) = (Arc::new(Mutex::new(None)), next_number());
        let place = value.clone();
        // What `code` captures ends with its call, before the value is to be had.
        let code = Box::new(move || {
            let made = code();
            *lock(&place) = Some(made);
        });
        lock(&CLOSURES).insert(number, Waiting { code, pool: self.sweeper.number, ticket: None });
        // It is gone after its call, whatever the pool's rule for its tasks says.
        let options = SubmitOptions::new();
        let options = if pool.retry.is_none() { options } else { options.retry(Retry::never()) };
        let future = submit_to(pool, &options, self.task, &number, when_full).inspect_err(|_| drop(take(number)))?;
        if let Some(waiting) = lock(&CLOSURES).get_mut(&number) {
            waiting.ticket = Some(future.core().ticket);
        }
        if pool.shut.load(Relaxed) {
            // Whoever shut the pool down may have cancelled it before its ticket was known.
            self.sweeper.sweep();
        }
        Ok(ThreadFuture { future, number, value })
    }

    /// As [`Executor::shutdown`]. The closures that are cancelled have been dropped before this waits.
    ///
    /// # Errors
    /// Those of [`Executor::shutdown`].
    pub fn shutdown(&self, wait: bool, cancel_pending: bool) -> Result<()> {
        if wait && self.executor.is_inside() {
            return Err(Error::Busy);
        }
        let closed = self.executor.shutdown(false, cancel_pending);
        self.sweeper.sweep();
        if wait { self.executor.shutdown(true, false) } else { closed }
    }
}

/// A closure that was submitted to a [`ThreadPool`]. Dropping it lets the closure run and drops its value.
pub struct ThreadFuture<R> {
    future: Future<()>,
    number: u64,
    value: Arc<Mutex<Option<R>>>,
}

impl<R> std::fmt::Debug for ThreadFuture<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thread{:?}", self.future)
    }
}

impl<R> ThreadFuture<R> {
    /// Waits for the closure and takes its value: once, for it need not be one that can be copied.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Panicked`], [`Error::Broken`], [`Error::Corrupt`]; [`Error::Stale`] when the value was taken before.
    pub fn result(&self) -> Result<R> {
        self.taken(self.future.result())
    }

    /// The same, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`], after which the closure goes on and the value may be asked for again; and those of [`result`](ThreadFuture::result).
    pub fn result_timeout(&self, timeout: Duration) -> Result<R> {
        self.taken(self.future.result_timeout(timeout))
    }

    fn taken(&self, ended: Result<()>) -> Result<R> {
        match ended {
            Ok(()) => lock(&self.value).take().ok_or(Error::Stale),
            Err(error) => {
                // A wait may be refused, and the closure go on.
                let is_over = || !self.future.core().pool.member.is_foreign() && self.future.is_done();
                if !matches!(error, Error::TimedOut { .. } | Error::Forked) && is_over() {
                    drop(take(self.number));
                }
                Err(error)
            }
        }
    }

    /// Cancels the closure if no thread has started it, and drops it then: true when it will never run. A running one is asked to stop (see
    /// [`task::cancel_requested`](crate::task::cancel_requested)), and this returns false.
    pub fn cancel(&self) -> bool {
        let cancelled = self.future.cancel();
        if cancelled {
            drop(take(self.number));
        }
        cancelled
    }

    /// What the closure is doing just now.
    #[must_use]
    pub fn state(&self) -> State {
        self.future.state()
    }

    /// Whether the closure is over, one way or the other: [`result`](ThreadFuture::result) will not wait.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.future.is_done()
    }

    /// The future of the call, without the value: for [`wait`](crate::wait).
    #[must_use]
    pub fn as_future(&self) -> &Future<()> {
        &self.future
    }
}
