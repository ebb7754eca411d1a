//! Pools of threads that run closures (T4, T8, S8). The kind of workers matters to S8 alone.

use crate::process_support::common::{Board, hold, square};
use crate::process_support::wait_until;
use crate::support::pool_of;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use taskring::{Error, Executor, State, ThreadPool, When, wait};

/// Counts how often what a closure captures is dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

struct Guard(Arc<AtomicUsize>);

impl Drops {
    fn guard(&self) -> Guard {
        Guard(self.0.clone())
    }
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Occupies a pool of one thread until the gate is open.
fn blocked(pool: &ThreadPool) -> (taskring::ThreadFuture<()>, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let future = pool.submit(move || wait_until("the gate opens", || open.load(SeqCst))).expect("room");
    wait_until("the thread is occupied", || future.state() == State::Running);
    (future, gate)
}

cases! {
    fn semantics_t4_a_panic_of_a_closure_is_its_tasks_error_and_drops_what_it_captured(_kind) {
        let pool = ThreadPool::new(1).unwrap();
        let drops = Drops::default();
        let guard = drops.guard();
        let panics = pool.submit(move || -> u64 {
            let _guard = guard;
            panic!("no {}", 7)
        });
        let panics = panics.unwrap();
        let Err(Error::Panicked { message, .. }) = panics.result() else { panic!("it panicked") };
        assert!(message.starts_with("no 7"), "{message}");
        assert_eq!(drops.count(), 1);
        assert_eq!(pool.submit(|| 3).unwrap().result(), Ok(3), "the thread lives on");
    }

    fn semantics_t8_a_closure_runs_in_a_thread_of_the_pool_and_gives_its_value_as_it_is(_kind) {
        let pool = ThreadPool::new(2).unwrap();
        let (drops, value) = (Drops::default(), Box::new(5));
        let (at, guard) = (std::ptr::from_ref(&*value).addr(), drops.guard());
        let future = pool.submit(move || {
            let _guard = guard;
            (value, std::thread::current().id(), std::process::id())
        });
        let future = future.unwrap();
        let (back, thread, process) = future.result().unwrap();
        assert_eq!((drops.count(), std::ptr::from_ref(&*back).addr(), process), (1, at, std::process::id()));
        assert_ne!(thread, std::thread::current().id());
        assert_eq!(future.result(), Err(Error::Stale), "a value is taken once");
        assert_eq!(pool.submit(|| "text").unwrap().result_timeout(Duration::from_secs(20)), Ok("text"));
    }

    fn semantics_t8_a_closure_that_is_never_called_is_dropped_once(_kind) {
        let pool = ThreadPool::new(1).unwrap();
        let drops = Drops::default();
        let submit = |pool: &ThreadPool| {
            let guard = drops.guard();
            pool.submit(move || drop(guard))
        };
        let (running, gate) = blocked(&pool);
        let cancelled = submit(&pool).unwrap();
        assert!(cancelled.cancel() && cancelled.cancel(), "the second time as well");
        assert_eq!((drops.count(), cancelled.result()), (1, Err(Error::Cancelled)));
        assert!(matches!(running.result_timeout(Duration::ZERO), Err(Error::TimedOut { .. })));
        let (asked, dropped) = (submit(&pool).unwrap(), submit(&pool).unwrap());
        drop(dropped);
        assert_eq!(drops.count(), 1, "a future that is dropped lets its closure run");
        pool.shutdown(false, true).unwrap();
        assert_eq!((drops.count(), asked.result()), (3, Err(Error::Cancelled)));
        assert!(matches!(submit(&pool).map(drop), Err(Error::ShutDown)));
        assert_eq!(drops.count(), 4, "what is refused is dropped");
        gate.store(true, SeqCst);
        pool.shutdown(true, false).unwrap();
        assert_eq!(running.result(), Ok(()));
        drop(pool);
        assert_eq!(drops.count(), 4);
    }

    fn semantics_t8_what_a_shutdown_cancels_is_dropped_before_it_waits(_kind) {
        let pool = ThreadPool::new(1).unwrap();
        let (held, dropped) = mpsc::channel::<()>();
        let running = pool.submit(move || dropped.recv().is_err()).unwrap();
        wait_until("it runs", || running.state() == State::Running);
        let pending = pool.submit(move || held.send(())).unwrap();
        // The running one ends when the pending one's sender is dropped.
        pool.shutdown(true, true).unwrap();
        assert_eq!(running.result(), Ok(true));
        assert_eq!(pending.result().map(drop), Err(Error::Cancelled));
    }

    fn semantics_t8_dropping_a_pool_waits_for_its_closures(_kind) {
        let drops = Drops::default();
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = ThreadPool::build(Executor::builder().workers(2).capacity(8)).unwrap();
        for _ in 0..100 {
            let (guard, ran) = (drops.guard(), ran.clone());
            drop(pool.submit(move || {
                ran.fetch_add(1, SeqCst);
                guard
            }));
        }
        drop(pool);
        assert_eq!((ran.load(SeqCst), drops.count()), (100, 100), "values that nobody takes are dropped as well");
    }

    fn semantics_t8_of_cancels_and_threads_at_the_same_time_each_closure_has_one_end(_kind) {
        const CLOSURES: usize = 1000;
        let (drops, ran) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
        let pool = ThreadPool::new(2).unwrap();
        let mut cancelled = 0;
        for i in 0..CLOSURES {
            let (guard, ran) = (drops.guard(), ran.clone());
            let future = pool.submit(move || {
                let _guard = guard;
                ran.fetch_add(1, SeqCst);
            });
            let future = future.unwrap();
            if i % 2 == 0 {
                let never = future.cancel();
                cancelled += usize::from(never);
                assert_eq!(future.result(), if never { Err(Error::Cancelled) } else { Ok(()) });
            }
        }
        drop(pool);
        assert_eq!((ran.load(SeqCst) + cancelled, drops.count()), (CLOSURES, CLOSURES));
    }

    fn semantics_t8_a_full_ring_refuses_a_closure_and_drops_it(_kind) {
        let pool = ThreadPool::build(Executor::builder().workers(1).capacity(2)).unwrap();
        let drops = Drops::default();
        let (_running, gate) = blocked(&pool);
        let waiting = pool.submit(|| 1).unwrap();
        let (guard, other) = (drops.guard(), drops.guard());
        assert!(matches!(pool.try_submit(move || drop(guard)).map(drop), Err(Error::Full { .. })));
        let limit = Duration::from_millis(20);
        assert!(matches!(pool.submit_timeout(move || drop(other), limit).map(drop), Err(Error::TimedOut { .. })));
        assert_eq!(drops.count(), 2);
        gate.store(true, SeqCst);
        assert_eq!(waiting.result(), Ok(1));
    }

    fn semantics_t8_a_closure_cannot_wait_for_the_end_of_its_pool(_kind) {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let own = Arc::downgrade(&pool);
        let busy = pool.submit(move || own.upgrade().expect("it lives").shutdown(true, true)).unwrap();
        assert_eq!(busy.result(), Ok(Err(Error::Busy)));
        assert_eq!(pool.submit(|| 1).unwrap().result(), Ok(1), "nothing was changed");
    }

    fn semantics_s8_code_for_one_kind_of_pool_takes_every_other(kind) {
        fn sum(pool: &Executor) -> u64 {
            let futures: Vec<_> = (0..10).map(|x| pool.submit(square, x).unwrap()).collect();
            assert_eq!(wait(&futures, None, When::AllCompleted).unwrap().done.len(), 10);
            let squares: Vec<u64> = pool.map(square, 0..10).unwrap().collect::<Result<_, _>>().unwrap();
            let submitted: Vec<u64> = futures.iter().map(|future| future.result().unwrap()).collect();
            assert_eq!(squares, submitted);
            let board = Board::new(2);
            let running = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until("it runs", || running.state() == State::Running);
            let pending = pool.submit(square, 1).unwrap();
            assert!(!running.cancel() && pending.cancel());
            board[1].store(1, SeqCst);
            running.result().unwrap() + squares.iter().sum::<u64>()
        }
        let other = pool_of(kind, 1);
        let threads = ThreadPool::new(1).unwrap();
        assert_eq!((sum(&other), sum(threads.executor())), (285, 285));
        // And a wait takes what closures there are, like tasks.
        let closures = [threads.submit(|| "a").unwrap(), threads.submit(|| "b").unwrap()];
        let over = wait(closures.iter().map(taskring::ThreadFuture::as_future), None, When::AllCompleted).unwrap();
        assert_eq!(over.done, [0, 1]);
        assert_eq!(closures.map(|closure| closure.result().unwrap()), ["a", "b"]);
    }
}
