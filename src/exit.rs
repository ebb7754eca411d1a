//! The normal end of the owner: returning from `main` or calling `exit` waits for everything that was submitted, also after
//! `shutdown(wait = false)`. A hook that the C library runs does it, so it holds for C programs too.

use crate::life::Bit;
use crate::pool::lock;
use crate::supervisor::Supervisor;
use crate::sys;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

struct Remembered {
    supervisor: Weak<Supervisor>,
    fork: u32,
    limit: Option<Duration>,
    detach: bool,
}

static POOLS: Mutex<Vec<Remembered>> = Mutex::new(Vec::new());

/// Has the end of this process wait for a pool.
pub(crate) fn remember(supervisor: &Arc<Supervisor>, detach: bool, limit: Option<Duration>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        sys::at_exit(at_exit);
    });
    let mut pools = lock(&POOLS);
    // The supervisor's own thread holds it until the pool is over.
    pools.retain(|p| p.supervisor.strong_count() != 0);
    pools.push(Remembered { supervisor: Arc::downgrade(supervisor), fork: crate::fork::side(), limit, detach });
}

extern "C" fn at_exit() {
    if crate::task::is_running() {
        // A task of a thread worker has called `exit`: waiting for that very task would never end.
        return;
    }
    let pools = std::mem::take(&mut *lock(&POOLS));
    // A forked child that exits has nothing to wait for.
    let is_own = |pool: &Remembered| pool.fork == crate::fork::side();
    let pools = pools.iter().filter(|pool| is_own(pool)).filter_map(|pool| Some((pool, pool.supervisor.upgrade()?)));
    let pools: Vec<_> = pools.collect();
    // All of them, before one is waited for: a task of it may wait for one of another.
    pools.iter().filter(|(pool, _)| !pool.detach).for_each(|(_, supervisor)| supervisor.end_pause());
    for (pool, supervisor) in pools {
        if pool.detach {
            // Its workers finish what they are running; those of an anonymous pool begin nothing else.
            let segment = supervisor.pool().segment();
            segment.set(Bit::Orphaned);
            segment.wake_everybody();
            continue;
        }
        if supervisor.is_this_thread() {
            // A logger has called `exit`: nobody is left to end the pool in good order.
            supervisor.kill_workers();
            continue;
        }
        let start = Instant::now();
        let _ = supervisor.close();
        let left = pool.limit.map(|limit| limit.saturating_sub(start.elapsed()));
        if supervisor.wait_over(left) {
            // What was to be called when a task is over has been called then.
            supervisor.pool().end_notifier(pool.limit.map(|limit| limit.saturating_sub(start.elapsed())));
        } else {
            supervisor.kill_workers();
        }
    }
}
