//! A future as one of the standard library's, to be awaited in any runtime. The waker is kept beside it, where the notifier finds it: a `Future` is no larger for
//! it, and one that is never awaited has none.

use crate::codec::Payload;
use crate::error::Result;
use crate::future::Future;
use crate::hub::Bell;
use crate::notifier::Duty;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A task that is awaited: what `.await` makes of a [`Future`]. It gives what [`Future::result`] gives.
///
/// Any runtime and any number of tasks of one may await; each `Awaiting` remembers the waker of its last poll. A thread of the library (one for each pool,
/// started with the first task that is not over when it is polled) waits for the tasks and wakes.
///
/// Dropping it lets the task run, as dropping the future would; after [`cancel_on_drop`](Awaiting::cancel_on_drop) it cancels the task.
///
/// ```
/// # taskring::test_support!();
/// use std::pin::pin;
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Wake, Waker};
/// taskring::task! { fn square(x: u64) -> u64 { x * x } }
///
/// // The smallest runtime: one task, and a thread that parks.
/// struct Unpark(std::thread::Thread);
/// impl Wake for Unpark {
///     fn wake(self: Arc<Self>) { self.0.unpark() }
/// }
/// fn block_on<T>(future: impl Future<Output = T>) -> T {
///     let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
///     let mut future = pin!(future);
///     loop {
///         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
///             Poll::Ready(it) => return it,
///             Poll::Pending => std::thread::park(),
///         }
///     }
/// }
///
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).build()?;
///     let sum = block_on(async {
///         let (three, four) = (pool.submit(square, 3)?, pool.submit(square, 4)?);
///         Ok::<u64, taskring::Error>(three.await? + four.await?)
///     })?;
///     assert_eq!(sum, 25);
///     Ok(())
/// }
/// ```
///
/// Inside a task of the same pool it runs nothing meanwhile: see [`current_pool`](crate::current_pool).
#[must_use = "it waits for the task only when it is awaited"]
pub struct Awaiting<R> {
    future: Future<R>,
    bell: Option<Arc<Bell>>,
    cancels: bool,
}

impl<R> std::fmt::Debug for Awaiting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Awaiting({:?})", self.future)
    }
}

impl<R: Payload> IntoFuture for Future<R> {
    type Output = Result<R>;
    type IntoFuture = Awaiting<R>;

    fn into_future(self) -> Awaiting<R> {
        Awaiting { future: self, bell: None, cancels: false }
    }
}

impl<R> Awaiting<R> {
    /// Has the drop of this value cancel the task if it is not over, as [`Future::cancel`] does: a pending one never runs, a running one is asked to stop. So a
    /// `select!` or a time-out of the runtime does not leave work behind.
    ///
    /// ```
    /// # taskring::test_support!();
    /// # taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// # fn main() -> Result<(), taskring::Error> {
    /// # taskring::init();
    /// # let pool = taskring::Executor::builder().workers(1).build()?;
    /// let awaiting = pool.submit(square, 3)?.into_future().cancel_on_drop();
    /// drop(awaiting);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_on_drop(mut self) -> Awaiting<R> {
        self.cancels = true;
        self
    }

    /// The future of the task, to ask for its state or to cancel it.
    pub fn future(&self) -> &Future<R> {
        &self.future
    }

    /// Has the notifier ring for the task, once.
    fn watch(&mut self, context: &Context<'_>) -> Result<()> {
        let core = self.future.core();
        if let Some(bell) = &self.bell {
            bell.set(context.waker());
            return Ok(());
        }
        let bell = Arc::new(Bell::default());
        bell.set(context.waker());
        core.pool.with_notifier(Duty::Wakes, || core.pool.hub.watch_to_ring(&core.pool, core.ticket, &bell))?;
        self.bell = Some(bell);
        Ok(())
    }
}

impl<R: Payload> std::future::Future for Awaiting<R> {
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        let this = self.get_mut();
        let pool = this.future.core().pool.clone();
        if let Err(e) = pool.member.check_fork() {
            return Poll::Ready(Err(e));
        }
        if !this.future.core().is_over() {
            if let Err(e) = this.watch(context) {
                return Poll::Ready(Err(e));
            }
            // After the waker is there: an end from here on rings it. A poisoned pool rings once, and has no ends.
            if let Some(corrupt) = pool.segment().corrupt() {
                return Poll::Ready(Err(corrupt));
            }
            if !this.future.core().is_over() {
                return Poll::Pending;
            }
        }
        Poll::Ready(this.future.result())
    }
}

impl<R> Drop for Awaiting<R> {
    fn drop(&mut self) {
        let core = self.future.core();
        if core.pool.member.is_foreign() {
            return;
        }
        if let Some(bell) = &self.bell {
            core.pool.hub.unwatch_bell(core.ticket, bell);
        }
        if self.cancels && !core.is_over() {
            self.future.cancel();
        }
    }
}
