//! Promises: futures that the program completes itself, without a worker.
//!
//! A promise is a slot like any other, in a pool of this process alone that has no workers: whoever holds it claims the slot and completes it as a worker
//! would. So its future can do all that a task's can, and be waited for together with those of tasks. The pool is made with the first promise. A normal end
//! of the process does not wait for unfinished ones, and the pool has no end of its own.

use crate::codec::{Payload, encoded};
use crate::constants::Constants;
use crate::error::{Error, Result, TaskError};
use crate::future::Future;
use crate::layout::{Geometry, MutexKind};
use crate::limits::PAYLOAD_AREA_DEFAULT;
use crate::outcome::{self, Kind as OutcomeKind, store_failure};
use crate::policy::Policy;
use crate::pool::{Pool, Ticket, lock};
use crate::record::Kind;
use crate::retry::Rule;
use crate::segment::{Plan, Segment};
use crate::slot::Request;
use crate::state::{Flag, Phase, State};
use crate::submit::WhenFull;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::time_limits::TimeLimits;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Unfinished promises of a process at most: their slots take 2 MiB.
const PROMISES_MAX: usize = 1 << 14;

/// The name under which promises stand in their pool. No worker has such a function.
const FUNCTION: &str = "taskring promise";

/// Where the promises of a process are. A forked child has a home of its own behind its parent's, found without a lock.
struct Home {
    side: u32,
    pool: Arc<Pool>,
    function: u16,
    /// What C calls the pool.
    handle: OnceLock<usize>,
    next: OnceLock<Box<Home>>,
}

static HOMES: OnceLock<Box<Home>> = OnceLock::new();

impl Home {
    fn find() -> Result<&'static Home> {
        let side = crate::fork::side();
        let mut place = &HOMES;
        loop {
            match place.get() {
                Some(home) if home.side == side => return Ok(home),
                Some(home) => place = &home.next,
                // Another thread may be first, and then ours ends here.
                None => drop(place.set(Box::new(Home::make(side)?))),
            }
        }
    }

    /// The one of this process, if there is one.
    fn known() -> Option<&'static Home> {
        let side = crate::fork::side();
        std::iter::successors(HOMES.get(), |home| home.next.get()).map(|home| &**home).find(|home| home.side == side)
    }

    fn make(side: u32) -> Result<Home> {
        static HOOKED: AtomicBool = AtomicBool::new(false);
        if !HOOKED.swap(true, Relaxed) {
            crate::sys::at_exit(at_exit);
        }
        let geometry = Geometry::new(PROMISES_MAX, PAYLOAD_AREA_DEFAULT).guarded_by(MutexKind::default());
        let plan = Plan {
            geometry,
            policy: Policy::default().bits(),
            limits: TimeLimits::default(),
            retry: Rule::default(),
            demand: None,
            start_timeout: Duration::MAX,
            named: false,
            constants: Constants::default(),
        };
        let mut pool = Pool::join(Arc::new(Segment::anonymous(&plan)?), Kind::Owner)?;
        let function = pool.function_named(FUNCTION)?;
        pool.by_hand = true;
        Ok(Home { side, pool: Arc::new(pool), function, handle: OnceLock::new(), next: OnceLock::new() })
    }
}

/// A normal end of the process: what is to be called for promises that are over has been called then.
extern "C" fn at_exit() {
    let Some(home) = Home::known() else { return };
    // Ended by a task of a thread, or by a callback: waiting for that very one would never end.
    if crate::task::is_running() || home.pool.is_notifier() {
        return;
    }
    // The callback of a promise that is over after them is called after theirs.
    let Ok(last) = Maker::new() else { return };
    let is_called = Arc::new(AtomicBool::new(false));
    let mark = is_called.clone();
    // Release: pairs with the Acquire below.
    let called = home.pool.on_done(last.ticket, false, Box::new(move || mark.store(true, Release)));
    if called.is_ok() && last.complete(OutcomeKind::Value, &[]).is_ok() {
        while !is_called.load(Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A future's other end: what completes it is the program's own code. One maker of a task's slot.
pub(crate) struct Maker {
    pub(crate) pool: Arc<Pool>,
    pub(crate) ticket: Ticket,
    /// Whether it was completed here. Held while it is: threads take turns.
    is_completed: Mutex<bool>,
}

impl Maker {
    pub(crate) fn new() -> Result<Maker> {
        let home = Home::find()?;
        let request = Request { function: home.function, ..home.pool.request };
        let ticket = home.pool.submit_bytes(&request, &[], WhenFull::Refuse)?;
        Ok(Maker { pool: home.pool.clone(), ticket, is_completed: Mutex::new(false) })
    }

    /// The number by which C knows the pool of the promises, made by the first who asks.
    pub(crate) fn handle<E: From<Error>>(&self, make: impl FnOnce(&Arc<Pool>) -> Result<usize, E>) -> Result<usize, E> {
        let home = Home::find()?;
        match home.handle.get() {
            Some(&handle) => Ok(handle),
            None => {
                let new = make(&home.pool)?;
                Ok(*home.handle.get_or_init(|| new))
            }
        }
    }

    /// See [`Promise::set_running_or_notify_cancel`].
    pub(crate) fn start(&self) -> Result<bool> {
        self.pool.member.check_fork()?;
        let completed = lock(&self.is_completed);
        match self.claim() {
            Ok(()) => Ok(true),
            Err(_) if *completed => Err(Error::InvalidState { state: "done", wanted: "pending or cancelled" }),
            Err(found) if found.is_run_by(self.pool.member.who(), self.ticket.generation) => {
                Err(Error::InvalidState { state: "running", wanted: "pending or cancelled" })
            }
            Err(_) => Ok(false),
        }
    }

    /// PENDING -> RUNNING. `Err` is what was found instead.
    fn claim(&self) -> std::result::Result<(), State> {
        let slot = self.pool.slot(self.ticket);
        let seen = slot.load();
        if seen.generation() != self.ticket.generation {
            return Err(seen);
        }
        slot.claim(seen, self.pool.member.who()).map(|_| ())
    }

    /// Completes a promise that is pending or running: exactly once, and not when it was cancelled first. Everything that can fail comes before.
    pub(crate) fn complete(&self, kind: OutcomeKind, bytes: &[u8]) -> Result<()> {
        const WANTED: &str = "pending or running";
        self.pool.member.check_fork()?;
        let mut completed = lock(&self.is_completed);
        if *completed {
            return Err(Error::InvalidState { state: "done", wanted: WANTED });
        }
        let is_inline = outcome::inline_place(0, true, bytes.len()).is_some();
        let lease = if is_inline { None } else { Some(self.pool.allocate(bytes.len())?) };
        if let Some(lease) = &lease {
            lease.write(bytes)?;
        }
        let (slot, who, generation) = (self.pool.slot(self.ticket), self.pool.member.who(), self.ticket.generation);
        if let Err(found) = self.claim()
            && !found.is_run_by(who, generation)
        {
            // Nobody else completes it.
            return Err(Error::InvalidState { state: "cancelled", wanted: WANTED });
        }
        let request = slot.read();
        match lease {
            Some(lease) => {
                let stored = outcome::store_lease(slot, (self.ticket.slot, generation), kind, lease, bytes.len());
                stored.map_err(|e| self.pool.segment().poison(e.to_string()))?;
            }
            None if outcome::store_inline(slot, &request, kind, bytes) => {}
            None => return Err(self.pool.segment().poison(format!("the arguments of promise {:#x}", self.ticket.id()))),
        }
        let block = slot.result_block.load(Relaxed);
        *completed = true;
        let old = slot.complete(who, generation).map_err(|found| {
            self.pool.segment().poison(format!("the slot of promise {:#x}, which is {found:?}", self.ticket.id()))
        })?;
        let (lane, index) = self.pool.segment().geometry().split(self.ticket.slot);
        self.pool.member.finish(lane, index, old, &request);
        if old.has(Flag::Detached) {
            self.pool.segment().free_slot_blocks([block, 0], self.ticket.slot, generation);
        }
        Ok(())
    }

    /// Whether the future was asked to cancel it while it runs.
    pub(crate) fn cancel_requested(&self) -> bool {
        let state = self.pool.slot(self.ticket).load();
        state.generation() == self.ticket.generation && state.is(Phase::Running) && state.has(Flag::Cancel)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        if self.pool.member.is_foreign() || *lock(&self.is_completed) || self.pool.cancel_pending(self.ticket).is_ok() {
            return;
        }
        // Running, or cancelled before: then this changes nothing.
        let _ = self.complete(OutcomeKind::Failed, b"the promise was dropped before it was completed");
    }
}

/// The other end of a [`Future`] that the program completes itself, in any thread: for results that come from elsewhere than a pool.
///
/// The future is one like those that [`submit`](crate::Executor::submit) gives: it can be waited for together with them ([`wait`](crate::wait),
/// [`as_completed`](crate::as_completed)), and cancelled. A promise that is dropped before it was completed ends its future: with
/// [`Error::Cancelled`] while it is pending, and with [`Error::TaskFailed`] when it was set running. Threads may share a promise; their calls
/// take turns. Up to 16384 promises of a process can be unfinished at a time. They end with the process, which does not wait for them, but
/// for what is to be called for those that are over.
///
/// ```
/// let promise = taskring::Promise::<u64>::new()?;
/// let future = promise.future().expect("it is given once");
/// std::thread::spawn(move || promise.set_result(42)).join().unwrap()?;
/// assert_eq!(future.result()?, 42);
/// # Ok::<(), taskring::Error>(())
/// ```
pub struct Promise<R> {
    /// Before the future: its end is told to the future that nobody took.
    maker: Maker,
    future: Mutex<Option<Future<R>>>,
}

impl<R> std::fmt::Debug for Promise<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Promise({:#x})", self.maker.ticket.id())
    }
}

impl<R> Promise<R> {
    /// A new promise, pending.
    ///
    /// # Errors
    /// [`Error::Full`] when too many are unfinished. With the first one of a process, which makes their pool: [`Error::OutOfMemory`],
    /// [`Error::System`].
    pub fn new() -> Result<Promise<R>> {
        let maker = Maker::new()?;
        let future = Future::new(maker.pool.clone(), maker.ticket);
        Ok(Promise { maker, future: Mutex::new(Some(future)) })
    }

    /// The future: at the first call. `None` afterwards, for there is one, and in a forked child.
    #[must_use]
    pub fn future(&self) -> Option<Future<R>> {
        if self.maker.pool.member.is_foreign() { None } else { lock(&self.future).take() }
    }

    /// Says that the work begins: true, and the future can no longer be cancelled. False when it was cancelled before; whoever waits for it has heard of
    /// that already, so this may be left out, and called again.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when it was set running or completed before; [`Error::Forked`]. Nothing was changed then.
    pub fn set_running_or_notify_cancel(&self) -> Result<bool> {
        self.maker.start()
    }

    /// Ends it with an error: the future gives [`Error::TaskFailed`] with the text.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the future was cancelled, or this was completed before; [`Error::PayloadTooLarge`], [`Error::OutOfMemory`],
    /// [`Error::Forked`]. Nothing was changed then.
    pub fn set_error(&self, error: impl Into<TaskError>) -> Result<()> {
        let (error, mut bytes) = (error.into(), Vec::new());
        let (summary, sources) = error.texts();
        let kind = store_failure(&mut bytes, summary, sources);
        self.maker.complete(kind, &bytes)
    }

    /// Whether the future was asked to cancel this after it was set running: see [`Future::cancel`].
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.maker.cancel_requested()
    }
}

impl<R: Payload> Promise<R> {
    /// Ends it with a result, whether it was set running before or not. When the future is cancelled at the same time, exactly one of the two succeeds.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the future was cancelled, or this was completed before; [`Error::Encode`], [`Error::PayloadTooLarge`],
    /// [`Error::OutOfMemory`], [`Error::Forked`]. Nothing was changed then.
    pub fn set_result(&self, value: R) -> Result<()> {
        if let Some(bytes) = value.as_encoded() {
            return self.maker.complete(OutcomeKind::Value, bytes);
        }
        self.maker.complete(OutcomeKind::Value, &encoded(&value)?)
    }
}
