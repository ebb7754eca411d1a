//! The notifiers: threads of the submitter that wait when nobody else does, for those who asked to be called, or to have a waker or a descriptor told.
//! Each is started with the first of them, and sleeps in the hub like any waiting thread. There are two, for a callback may take its time, and may itself
//! wait for what the other one tells.

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

/// What a notifier is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Calls done-callbacks, in the order of the ends.
    Calls,
    /// Rings the bells of what is awaited, and sees that descriptors become readable.
    Wakes,
}

impl Duty {
    pub(crate) const COUNT: usize = 2;
    const ALL: [Duty; Duty::COUNT] = [Duty::Calls, Duty::Wakes];

    fn thread_name(self) -> &'static str {
        match self {
            Duty::Calls => "taskring-notify",
            Duty::Wakes => "taskring-wake",
        }
    }
}

/// A notifier of a pool, running or not.
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
        self.with_notifier(Duty::Calls, || self.hub.watch_to_call(self, ticket, callback))
    }

    /// Sees that the notifier runs, and serves the watch that `add` makes.
    pub(crate) fn with_notifier(self: &Arc<Pool>, duty: Duty, add: impl FnOnce()) -> Result<()> {
        // Held over both, for it ends under this lock when there is no watch.
        let mut life = lock(&self.hub.notifier(duty).0);
        if !life.running {
            let pool = self.clone();
            let thread = std::thread::Builder::new().name(duty.thread_name().into()).spawn(move || serve(&pool, duty));
            life.thread = Some(thread.map_err(|e| sys::SysError::from_io("start of the notifier", &e))?);
            life.running = true;
        }
        add();
        Ok(())
    }

    /// Has the notifiers end once they have nobody left to serve; waits for those of which that is now, unless this is their own thread, and no longer
    /// than `limit`.
    pub(crate) fn end_notifier(&self, limit: Option<Duration>) {
        for duty in Duty::ALL {
            lock(&self.hub.notifier(duty).0).closing = true;
        }
        self.hub.drain_and_tell(self);
        hub::wake_event(self);
        let start = Instant::now();
        Duty::ALL.into_iter().for_each(|duty| self.await_notifier(duty, start, limit));
    }

    fn await_notifier(&self, duty: Duty, start: Instant, limit: Option<Duration>) {
        let thread = {
            let mut life = lock(&self.hub.notifier(duty).0);
            let is_own = |t: &JoinHandle<()>| t.thread().id() == std::thread::current().id();
            if self.hub.needs_notifier(duty) || life.thread.as_ref().is_some_and(is_own) {
                return;
            }
            life.thread.take()
        };
        let Some(thread) = thread else { return };
        while limit.is_some_and(|limit| start.elapsed() < limit) && !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if limit.is_none() || thread.is_finished() {
            // What it calls does not unwind out of it.
            let _ = thread.join();
        }
    }

    /// Whether this thread is one of the notifiers.
    pub(crate) fn is_notifier(&self) -> bool {
        let own = std::thread::current().id();
        Duty::ALL
            .into_iter()
            .any(|duty| lock(&self.hub.notifier(duty).0).thread.as_ref().is_some_and(|t| t.thread().id() == own))
    }

    fn is_notifier_done(&self, duty: Duty, life: &Life) -> bool {
        // In this order: what is watched becomes work at any moment.
        life.closing && !self.hub.needs_notifier(duty) && !self.hub.has_work(duty)
    }
}

fn serve(pool: &Arc<Pool>, duty: Duty) {
    let mut pace = WaitPace::new(now_ns());
    loop {
        pool.hub.drain_and_tell(pool);
        if pool.segment().has(Bit::Corrupt) {
            // Its tasks have no end any more: whoever was to be told asks, and gets the error.
            pool.hub.give_up(pool);
        }
        while work(pool, duty) {
            if pool.member.is_foreign() {
                // The callback forked, and this is the child coming back from it: only the parent is the submitter.
                sys::exit_now(0);
            }
            pace.came();
        }
        {
            let mut life = lock(&pool.hub.notifier(duty).0);
            if pool.is_notifier_done(duty, &life) {
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
        let is_done = || pool.is_notifier_done(duty, &lock(&pool.hub.notifier(duty).0));
        hub::doze(std::slice::from_ref(pool), until, || pool.hub.has_work(duty) || is_done());
    }
}

/// One call, if there is one to make.
fn work(pool: &Pool, duty: Duty) -> bool {
    match duty {
        Duty::Calls => pool.hub.next_call().map(run).is_some(),
        Duty::Wakes => match pool.hub.next_bell() {
            Some(bell) => {
                if crate::task::guarded(|| bell.ring()).is_err() {
                    log::error!(target: "taskring", "a waker panicked");
                }
                true
            }
            None => false,
        },
    }
}

/// A callback that panics is its own matter: the others run.
fn run(callback: Callback) {
    if crate::task::guarded(callback).is_err() {
        log::error!(target: "taskring", "a done-callback panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering::SeqCst;
    use crate::{Executor, StartMethod};
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_notifier_is_not_done_while_there_is_a_callback_watched_or_to_be_called() {
        let task = crate::register::<(), (), _>("notifier::task", |()| ()).unwrap();
        let pool = Executor::builder().start(StartMethod::None).capacity(8).build().unwrap();
        // Odd while there is one; `u32::MAX` at the end.
        let rounds = AtomicU32::new(0);
        let closing = Life { closing: true, ..Life::default() };
        let look = || {
            let mut wrong = 0;
            loop {
                let before = rounds.load(SeqCst);
                if before == u32::MAX {
                    return wrong;
                }
                let is_done = pool.pool().is_notifier_done(Duty::Calls, &closing);
                wrong += u32::from(is_done && before % 2 == 1 && rounds.load(SeqCst) == before);
            }
        };
        let wrong = std::thread::scope(|scope| {
            let looker = scope.spawn(look);
            for _ in 0..2000 {
                let future = pool.submit(task, ()).unwrap();
                pool.pool().hub.watch_to_call(pool.pool(), future.core().ticket, Box::new(|| ()));
                rounds.fetch_add(1, SeqCst);
                assert!(future.cancel());
                pool.pool().hub.drain_and_tell(pool.pool());
                rounds.fetch_add(1, SeqCst);
                assert!(pool.pool().hub.next_call().is_some());
            }
            rounds.store(u32::MAX, SeqCst);
            looker.join().unwrap()
        });
        assert_eq!(wrong, 0);
    }
}
