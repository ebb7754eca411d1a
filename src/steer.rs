//! Steering a pool that runs: how many workers it has, a pause in which nothing is started, and the cancelling of all that is pending.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::limits::{MUTEX_NS_MAX, WORKERS_MAX};
use crate::start::StartMethod;
use crate::supervisor::Supervisor;
use crate::sync::now_ns;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether the workers rest.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

impl Executor {
    /// From now on the pool has so many workers, 1 to 192. More are started at once; in a pool with
    /// [`min_workers`](crate::Builder::min_workers) those beyond that number come when they are needed. When there are to be fewer, those with the highest numbers leave
    /// after the task that they are running, with their exit hook, and this does not wait for them. Nothing is lost but
    /// what waits for one of them alone ([`submit_to`](Executor::submit_to)): that ends with [`Error::NoWorkerFor`] after the start time-out. [`workers`](Executor::workers)
    /// tells the new number at once. Workers that came by the pool's name stay.
    ///
    /// Of the owner only, from any of its threads, also in a task of a pool of threads.
    ///
    /// ```
    /// # taskring::test_support!();
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     pool.resize(3)?;
    ///     assert_eq!(pool.workers(), 3);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number out of range; [`Error::Unsupported`] of a submitter that is not the owner, and in a pool whose workers
    /// others start; [`Error::ShutDown`], [`Error::Broken`], [`Error::Corrupt`], [`Error::Forked`].
    pub fn resize(&self, workers: usize) -> Result<()> {
        let supervisor = self.steered("another number of workers")?;
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(Error::invalid("workers", workers, format!("1 to {WORKERS_MAX}")));
        }
        if supervisor.plan.method == StartMethod::None {
            return Err(Error::Unsupported { what: "another number of workers", with: "where others start them" });
        }
        self.pool().segment().check_open()?;
        supervisor.resize(workers);
        Ok(())
    }

    /// From now on no task is started, by any worker, until [`resume`](Executor::resume). What runs goes on to its end; a task that waits
    /// without a limit for one of its pool that is pending, and that its worker may run, still runs that one. Tasks can be submitted, cancelled and waited for.
    ///
    /// When this returns, every worker runs a task that it had begun, or rests. A pause ends with the pool: a shutdown, a drop and the end of the
    /// program run what is pending as ever, unless it is cancelled, and so does the death of the owner where others go on.
    ///
    /// A handle that was attached waits in its own shutdown or drop for what it has submitted, so until `resume`.
    ///
    /// Of the owner only, from any of its threads. A second pause changes nothing.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).build()?;
    ///     pool.pause()?;
    ///     let future = pool.submit(square, 7)?;
    ///     assert_eq!(future.state(), taskring::State::Pending);
    ///     pool.resume()?;
    ///     assert_eq!(future.result()?, 49);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] of a submitter that is not the owner; [`Error::ShutDown`], [`Error::Broken`], [`Error::Corrupt`], [`Error::Forked`];
    /// [`Error::Stalled`] when a worker that runs no task does not answer for 5 seconds, as a stopped one: the pool is paused all the same, but that one
    /// may start one more task when it goes on.
    pub fn pause(&self) -> Result<()> {
        let supervisor = self.steered("a pause")?;
        let pool = self.pool();
        supervisor.begin_pause()?;
        pool.segment().announce_pause();
        let deadline = now_ns() + MUTEX_NS_MAX;
        while pool.segment().is_paused() {
            match pool.member.one_that_may_start() {
                None => break,
                Some(pid) if now_ns() >= deadline => return Err(Error::Stalled { pid }),
                Some(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
        Ok(())
    }

    /// Ends a pause: workers start tasks again. Without one it changes nothing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] of a submitter that is not the owner; [`Error::Forked`].
    pub fn resume(&self) -> Result<()> {
        let supervisor = self.steered("the end of a pause")?;
        supervisor.end_pause();
        Ok(())
    }

    /// Whether the pool is paused. Any submitter may ask.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pool().segment().is_paused()
    }

    /// Cancels everything that is pending, and returns how many tasks that were: of the owner the tasks of all submitters, of any other one its own.
    /// Whoever waits for such a task is told at once. What runs goes on, also to further attempts ([`Retry`](crate::Retry)), and the pool takes new tasks.
    ///
    /// From any thread. A task that is submitted meanwhile may be cancelled or not.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Unsupported`] for the pool of the promises.
    pub fn purge(&self) -> Result<usize> {
        self.pool().member.check_fork()?;
        self.pool().refuse_by_hand("cancelling all")?;
        Ok(self.pool().cancel_all(self.supervisor().is_some(), false))
    }

    /// For what only the owner may do.
    fn steered(&self, what: &'static str) -> Result<&Arc<Supervisor>> {
        self.pool().member.check_fork()?;
        self.pool().refuse_by_hand(what)?;
        self.supervisor().ok_or(Error::Unsupported { what, with: "for who is not the pool's owner" })
    }
}
