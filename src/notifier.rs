//! The notifier: a thread of the submitter that waits when nobody else does, for those who asked to be called or to have a descriptor made ready.
//! It is started with the first of them, and sleeps in the hub like any waiting thread.

use crate::error::Result;
use crate::hub::{self, Callback};
use crate::life::Bit;
use crate::pace::WaitPace;
use crate::pool::{Pool, Ticket, lock};
use crate::sync::now_ns;
use crate::sys;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A pool's notifier, running or not.
#[derive(Default)]
pub(crate) struct Notifier(Mutex<Life>);

#[derive(Default)]
struct Life {
    /// It has not decided to end.
    running: bool,
    /// It ends once there is nobody left to serve.
    closing: bool,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    /// Calls `callback` once when the task is over: in this thread when it is already, else in the notifier.
    pub(crate) fn on_done(self: &Arc<Pool>, ticket: Ticket, is_over: bool, callback: Callback) -> Result<()> {
        self.member.check_fork()?;
        if is_over {
            run(callback);
            return Ok(());
        }
        self.with_notifier(|| self.hub.watch_to_call(self, ticket, callback))
    }

    /// Sees that the notifier runs, and serves the watch that `add` makes.
    pub(crate) fn with_notifier(self: &Arc<Pool>, add: impl FnOnce()) -> Result<()> {
        // Held over both, for it ends under this lock when there is no watch.
        let mut life = lock(&self.hub.notifier.0);
        if !life.running {
            let pool = self.clone();
            let thread = std::thread::Builder::new().name("taskring-notify".into()).spawn(move || serve(&pool));
            life.thread = Some(thread.map_err(|e| sys::SysError::from_io("start of the notifier", &e))?);
            life.running = true;
        }
        add();
        Ok(())
    }

    /// Has the notifier end once it has nobody left to serve; waits for it when that is now, unless this is its own thread, and no longer than
    /// `limit`.
    pub(crate) fn end_notifier(&self, limit: Option<Duration>) {
        lock(&self.hub.notifier.0).closing = true;
        self.hub.drain_and_tell(self);
        hub::wake_event(self);
        let thread = {
            let mut life = lock(&self.hub.notifier.0);
            let is_own = |t: &JoinHandle<()>| t.thread().id() == std::thread::current().id();
            if self.hub.needs_notifier() || life.thread.as_ref().is_some_and(is_own) {
                return;
            }
            life.thread.take()
        };
        let Some(thread) = thread else { return };
        let start = Instant::now();
        while limit.is_some_and(|limit| start.elapsed() < limit) && !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if limit.is_none() || thread.is_finished() {
            // Callbacks do not unwind out of it.
            let _ = thread.join();
        }
    }

    /// Whether this is the notifier's own thread.
    pub(crate) fn is_notifier(&self) -> bool {
        lock(&self.hub.notifier.0).thread.as_ref().is_some_and(|t| t.thread().id() == std::thread::current().id())
    }

    fn is_notifier_done(&self, life: &Life) -> bool {
        life.closing && !self.hub.has_calls() && !self.hub.needs_notifier()
    }
}

fn serve(pool: &Arc<Pool>) {
    let mut pace = WaitPace::new(now_ns());
    loop {
        pool.hub.drain_and_tell(pool);
        if pool.segment().has(Bit::Corrupt) {
            // Its tasks have no end any more: whoever was to be told asks, and gets the error.
            pool.hub.give_up();
        }
        while let Some(callback) = pool.hub.next_call() {
            run(callback);
            if pool.member.is_foreign() {
                // The callback forked, and this is the child coming back from it: only the parent is the submitter.
                sys::exit_now(0);
            }
            pace.came();
        }
        {
            let mut life = lock(&pool.hub.notifier.0);
            if pool.is_notifier_done(&life) {
                life.running = false;
                return;
            }
        }
        let now = now_ns();
        let Some(until) = pace.until(now) else {
            pace.looked(now);
            // What is wrong with the pool is told to those who ask for the tasks.
            let _ = pool.look_after_waits();
            continue;
        };
        let ready = || pool.hub.has_calls() || pool.is_notifier_done(&lock(&pool.hub.notifier.0));
        hub::doze(std::slice::from_ref(pool), until, ready);
    }
}

/// A callback that panics is its own matter: the others run.
fn run(callback: Callback) {
    if crate::task::guarded(callback).is_err() {
        log::error!(target: "taskring", "a done-callback panicked");
    }
}
