//! The completion queue as Rust programs see it.

use crate::completion::Completions;
use crate::error::{Error, Result};
use crate::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Futures, of any pools and results, that come out as their tasks end: each with a tag of the caller's, or the future itself as the tag.
///
/// Unlike [`as_completed`](crate::as_completed) it takes futures while others are under way, and any number of threads may add and take out at the same time.
/// Every future comes out once, to one thread. Those that are over when they are added come at once; the others in the order in which they end.
///
/// What a thread does with a future that it took out delays nobody but itself, where a slow [callback](Future::on_done) delays other callbacks.
///
/// Dropping the queue lets go of the tags: futures among them are dropped, and their tasks run.
///
/// ```
/// # taskring::test_support!();
/// use taskring::CompletionQueue;
/// taskring::task! { fn square(x: u64) -> u64 { x * x } }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).build()?;
///     let queue = CompletionQueue::new();
///     queue.push(pool.submit(square, 1)?)?;
///     let mut sum = 0;
///     while let Some(future) = queue.next(None)? {
///         let x = future.result()?;
///         sum += x;
///         if x < 1000 {
///             queue.push(pool.submit(square, x + 1)?)?;
///         }
///     }
///     assert_eq!(sum, 1 + 4 + 25 + 676 + 458_329);
///     Ok(())
/// }
/// ```
pub struct CompletionQueue<T> {
    completions: Completions<T>,
}

impl<T> Default for CompletionQueue<T> {
    fn default() -> CompletionQueue<T> {
        CompletionQueue::new()
    }
}

impl<T> std::fmt::Debug for CompletionQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CompletionQueue({} futures)", self.len())
    }
}

impl<R> CompletionQueue<Future<R>> {
    /// Adds a future, which comes out when its task is over.
    ///
    /// # Errors
    /// Those of [`add`](CompletionQueue::add). The future is dropped then, and its task runs.
    pub fn push(&self, future: Future<R>) -> Result<()> {
        let core = future.core();
        self.completions.prepare(&core.pool)?;
        let (pool, ticket) = (core.pool.clone(), core.ticket);
        self.completions.add(&pool, ticket, future);
        Ok(())
    }
}

impl<T> CompletionQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> CompletionQueue<T> {
        CompletionQueue { completions: Completions::default() }
    }

    /// Has `tag` come out when the task of `future` is over. The future stays with the caller, who may drop it.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::System`] when the queue has a descriptor, and no thread can be started to see to it. Nothing was added then.
    pub fn add<R>(&self, future: &Future<R>, tag: T) -> Result<()> {
        let core = future.core();
        self.completions.prepare(&core.pool)?;
        self.completions.add(&core.pool, core.ticket, tag);
        Ok(())
    }

    /// The next one that is over: its result can be had without waiting. Waits no longer than `timeout`; with a time of zero it gives what is known to
    /// be over: a task may be done a moment before that is announced. `None` when all have come out.
    ///
    /// # Errors
    /// [`Error::TimedOut`], after which the queue is as before; [`Error::Corrupt`], [`Error::Forked`]; in a task [`Error::WouldDeadlock`], [`Error::TooMany`] and
    /// [`Error::Unsupported`] as of [`wait`](crate::wait), after which it is as before too.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<T>> {
        self.completions.next(timeout)
    }

    /// Those that have not come out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.completions.len()
    }

    /// Whether all have come out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A descriptor that `poll`, `select` and `epoll` find readable exactly while there is something to take out. It belongs to the queue: do not read it. From
    /// this call on, a thread of the library waits for the queue's pools.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::Forked`].
    ///
    /// ```
    /// # taskring::test_support!();
    /// use std::time::Duration;
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let queue = taskring::CompletionQueue::new();
    ///     let fd = queue.fd()?; // for the event loop of your choice
    ///     let future = pool.submit(square, 3)?;
    ///     queue.add(&future, "three")?;
    ///     # let _ = fd;
    ///     // When it is readable this does not wait:
    ///     assert_eq!(queue.next(Some(Duration::from_secs(60)))?, Some("three"));
    ///     assert_eq!(future.result()?, 9);
    ///     Ok(())
    /// }
    /// ```
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.completions.fd()
    }
}

/// As [`fd`](CompletionQueue::fd), for what takes anything with a descriptor.
///
/// # Panics
/// When there is no descriptor yet, and none can be had. After one successful call of `fd` there is.
impl<T> AsFd for CompletionQueue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let made = self.completions.made_fd().map_or_else(|| self.fd(), Ok);
        made.unwrap_or_else(|e: Error| panic!("no descriptor for a completion queue: {e}"))
    }
}
