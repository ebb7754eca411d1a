//! The normal end of the owner: returning from `main` or calling `exit` waits for everything that was submitted, also after
//! `shutdown(wait = false)`. A hook that the C library runs does it, so it holds for C programs too.
//!
//! A pool may also be dropped while the process ends, in C and C++: by the destructor of a static object, or by another hook. That comes before this hook if it
//! was registered after it, as with a static pool that is the first to be made, and behind it otherwise. Either way the two of them together wait for a pool's
//! tasks no longer than its limit. Beyond that come, at most, a stalled lane's time-out and a second for workers that are just being started.

use crate::life::Bit;
use crate::pool::lock;
use crate::supervisor::Supervisor;
use crate::sync::Ordering::Relaxed;
use crate::sys;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Once, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How long an exit that kills the workers waits for the supervisor to hear of them: much longer than that takes on a loaded machine.
const UNHEARD_OF_MAX: Duration = Duration::from_secs(1);

/// A pool that the end of this process is to wait for.
pub(crate) struct Remembered {
    supervisor: Weak<Supervisor>,
    fork: u32,
    limit: Option<Duration>,
    detach: bool,
    /// When the end of the process has come to it.
    reached: OnceLock<Instant>,
}

static POOLS: Mutex<Vec<Arc<Remembered>>> = Mutex::new(Vec::new());
/// The end of this process has begun.
static ENDING: AtomicBool = AtomicBool::new(false);

/// In the main thread: dropped by `exit` before it comes to hooks and to what is static, as C++ has it for all that is `thread_local`, and glibc does.
struct OfThread;

impl Drop for OfThread {
    fn drop(&mut self) {
        if sys::thread_id() == sys::pid() {
            ENDING.store(true, Relaxed);
        }
    }
}

thread_local! {
    static OF_THREAD: OfThread = const { OfThread };
}

/// Has it noticed when this thread, if it is the main one, ends the process.
pub(crate) fn watch_thread() {
    // It fails when that has happened.
    let _ = OF_THREAD.try_with(|_| ());
}

/// Has the end of this process wait for a pool.
pub(crate) fn remember(supervisor: &Arc<Supervisor>, detach: bool, limit: Option<Duration>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        sys::at_exit(at_exit);
    });
    if detach || limit.is_some() {
        watch_thread();
    }
    let mut pools = lock(&POOLS);
    // The supervisor's own thread holds it until the pool is over.
    pools.retain(|p| p.supervisor.strong_count() != 0);
    let (supervisor, reached) = (Arc::downgrade(supervisor), OnceLock::new());
    pools.push(Arc::new(Remembered { supervisor, fork: crate::fork::side(), limit, detach, reached }));
}

/// What the end of this process is to do with this pool, once it has begun.
pub(crate) fn ending_of(supervisor: &Arc<Supervisor>) -> Option<Arc<Remembered>> {
    if !ENDING.load(Relaxed) {
        return None;
    }
    lock(&POOLS).iter().find(|pool| std::ptr::eq(pool.supervisor.as_ptr(), Arc::as_ptr(supervisor))).cloned()
}

extern "C" fn at_exit() {
    if crate::task::is_running() {
        // A task of a thread worker has called `exit`: waiting for that very task would never end.
        return;
    }
    ENDING.store(true, Relaxed);
    // They stay there, for whoever drops one after this.
    let pools = lock(&POOLS).clone();
    // A forked child that exits has nothing to wait for.
    let is_own = |pool: &&Arc<Remembered>| pool.fork == crate::fork::side();
    let pools = pools.iter().filter(is_own).filter_map(|pool| Some((pool, pool.supervisor.upgrade()?)));
    let pools: Vec<_> = pools.collect();
    // All of them, before one is waited for: a task of it may wait for one of another.
    pools.iter().filter(|(pool, _)| !pool.detach).for_each(|(_, supervisor)| supervisor.end_pause());
    for (pool, supervisor) in pools {
        pool.end(&supervisor);
    }
}

impl Remembered {
    /// How long may still be waited for it; `None` is for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        let reached = self.reached.get_or_init(Instant::now);
        let limit = if self.detach { Some(Duration::ZERO) } else { self.limit };
        limit.map(|limit| limit.saturating_sub(reached.elapsed()))
    }

    /// Waits for what was submitted, as far as that is wanted. Done again it waits for what is left of the time.
    pub(crate) fn end(&self, supervisor: &Supervisor) {
        if self.detach {
            // Its workers finish what they are running; those of an anonymous pool begin nothing else.
            let segment = supervisor.pool().segment();
            segment.set(Bit::Orphaned);
            segment.wake_everybody();
            return;
        }
        if supervisor.is_this_thread() {
            // A logger has called `exit`: nobody is left to end the pool in good order.
            supervisor.kill_workers();
            return;
        }
        // From here on the time counts.
        let _ = self.left();
        let _ = supervisor.close();
        if supervisor.wait_over(self.left()) {
            // What was to be called when a task is over has been called then.
            supervisor.pool().end_notifier(self.left());
        } else {
            supervisor.kill_workers();
            // One whose start the zygote has told of, and nobody has heard it yet, is killed when that is heard.
            let start = Instant::now();
            while supervisor.has_unheard_of() && start.elapsed() < UNHEARD_OF_MAX {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
