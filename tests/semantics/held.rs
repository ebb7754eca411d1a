//! What the cases of several files share: tasks that run until a case lets them go, and second pools.

use crate::process_support::common::{Board, hold};
use crate::process_support::{LIMIT, kill, wait_until};
use crate::support::{is_thread, pool_of};
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Executor, Future, StartMethod};

taskring::task! {
    /// Panics with a text, without the look at the stack that `panic!` makes and that takes longer than the rest of a case.
    pub fn unwind_with(text: String) -> u64 { resume_unwind(Box::new(text)) }
}

/// Tasks that each run until they are let go. Each gives its number.
pub struct Held(Board);

impl Held {
    pub fn new(count: usize) -> Held {
        Held(Board::new(2 * count))
    }

    /// Submits one and waits until it runs: it needs a worker of its own.
    pub fn start(&self, pool: &Executor, i: usize) -> Future<u64> {
        let future = pool.submit(hold, self.input(i)).expect("submitted");
        wait_until("the task runs", || self.0[2 * i].load(SeqCst) != 0);
        future
    }

    /// One for each of these numbers.
    pub fn start_all(&self, pool: &Executor, numbers: std::ops::Range<usize>) -> Vec<Future<u64>> {
        numbers.map(|i| self.start(pool, i)).collect()
    }

    /// What `hold` takes, for one that a case submits itself.
    pub fn input(&self, i: usize) -> (String, u64) {
        (self.0.name(), 2 * i as u64)
    }

    /// How often the task of this number was entered.
    pub fn times_begun(&self, i: usize) -> u64 {
        self.0[2 * i].load(SeqCst)
    }

    pub fn let_go(&self, i: usize) {
        self.0[2 * i + 1].store(1, SeqCst);
    }

    /// Lets one go and waits until it is over.
    pub fn finish(&self, futures: &[Future<u64>], i: usize) {
        self.let_go(i);
        wait_until("it is over", || futures[i].is_done());
    }
}

/// A pool whose only worker is kept busy, so that what is submitted waits; and a board for tasks to count themselves in.
pub struct Waiting {
    pub pool: Executor,
    held: Held,
    busy: Future<u64>,
    pub board: Board,
}

impl Waiting {
    pub fn new(kind: StartMethod) -> Waiting {
        Waiting::of(pool_of(kind, 1))
    }

    pub fn of(pool: Executor) -> Waiting {
        let held = Held::new(1);
        let busy = held.start(&pool, 0);
        Waiting { pool, held, busy, board: Board::new(3) }
    }

    pub fn let_go(&self) {
        self.held.let_go(0);
        assert_eq!(self.busy.result(), Ok(given(0)));
    }
}

/// What the task of this number gives.
pub fn given(i: usize) -> u64 {
    2 * i as u64
}

/// A second pool of a case: of the same kind where that is possible, for `fork` wants a process with one thread.
pub fn second_pool_of(kind: StartMethod, workers: usize) -> Executor {
    pool_of(if kind == StartMethod::Fork { StartMethod::Thread } else { kind }, workers)
}

/// Takes the worker that runs the calling task with it: its process, or its thread alone, where it is one of the owner's.
pub fn end_own_worker() {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::gettid() }.cast_unsigned() == std::process::id() {
        kill(std::process::id());
    }
    // SAFETY: takes an integer. The thread has nothing on its stack that anybody else refers to; what it owns is lost.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Whether workers are processes, which can be killed.
pub fn can_die(kind: StartMethod) -> bool {
    !is_thread(kind)
}

/// Whether something takes less than `limit`. On a busy machine it may take longer a few times, but not each time.
#[track_caller]
pub fn assert_shorter(limit: Duration, mut timed: impl FnMut() -> Duration) {
    let start = Instant::now();
    while timed() >= limit {
        assert!(start.elapsed() < LIMIT, "it takes {limit:?} and more, each time");
    }
}
