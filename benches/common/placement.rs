//! Where the submitter and the workers run: each on its own CPU, or wherever the kernel puts them.

use super::affinity::{self, Pinned};
use taskring::Executor;

/// The two ways of placing a pool that the benches compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The submitter on the first CPU, worker k on the k-th after it, from the start again when they run out.
    Pinned,
    /// The kernel decides.
    Free,
}

impl Placement {
    pub fn name(self) -> &'static str {
        match self {
            Placement::Pinned => "pinned",
            Placement::Free => "unpinned",
        }
    }

    /// Places the pool's workers and the calling thread. The guard puts only the thread back:
    /// the next round places the workers anew.
    pub fn apply(self, pool: &Executor) -> Option<Pinned> {
        let cpus = affinity::allowed();
        for (index, pid) in pool.worker_pids().into_iter().enumerate() {
            match self {
                Placement::Pinned => affinity::pin_process(pid, cpus[(index + 1) % cpus.len()]),
                Placement::Free => affinity::unpin_process(pid, &cpus),
            }
            .unwrap_or_else(|error| panic!("placing worker {pid}: {error}"));
        }
        (self == Placement::Pinned).then(|| Pinned::to(cpus[0]))
    }
}

/// A pool of that many worker processes, all of them running, none of them pinned. A pool may count the
/// CPUs when it is made, so it is made before anything is pinned. `capacity` is the number of tasks under way at most:
/// with less room, `submit` has to collect results on the way.
pub fn pool(workers: usize, capacity: usize) -> Executor {
    let pool = Executor::builder().workers(workers).capacity(capacity).build().expect("a pool");
    assert_eq!(pool.worker_pids().len(), workers, "workers running once the pool is built");
    pool
}
