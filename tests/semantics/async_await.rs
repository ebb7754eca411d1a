//! Futures that are awaited, and completion queues with their descriptors. The runtime here is a thread that parks.

use crate::process_support::common::{Board, fail_with, hold, nap, square};
use crate::process_support::{LIMIT, wait_until};
use crate::support::pool_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use taskring::{Awaiting, CompletionQueue, Error, Executor, Future, StartMethod, State};

taskring::task! {
    /// Runs until it is asked to stop, and tells both.
    fn until_cancelled(board: String) -> u64 {
        let cells = Board::at(&board);
        cells[0].store(1, SeqCst);
        wait_until("the request to stop", taskring::task::cancel_requested);
        cells[1].store(1, SeqCst);
        1
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end; one that is not woken fails the test.
pub fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, start) = (pin!(future), Instant::now());
    loop {
        if let Poll::Ready(it) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return it;
        }
        std::thread::park_timeout(LIMIT);
        assert!(start.elapsed() < LIMIT, "it was not woken");
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<R: taskring::Payload>(awaiting: &mut Awaiting<R>, count: &Arc<Count>) -> Poll<Result<R, Error>> {
    let waker = Waker::from(count.clone());
    std::future::Future::poll(pin!(awaiting), &mut Context::from_waker(&waker))
}

/// Whether the descriptor becomes readable in time.
pub fn is_readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, valid for the call.
    unsafe { libc::poll(&raw mut asked, 1, within.as_millis() as i32) == 1 }
}

fn held(pool: &Executor, board: &Board) -> Future<u64> {
    let running = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until("the task runs", || running.is_running());
    running
}

fn has_thread(name: &str) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok()).any(|comm| comm.trim() == name)
}

cases! {
    fn semantics_f4_an_awaited_future_gives_its_result_or_its_error(kind) {
        let pool = pool_of(kind, 2);
        let over = pool.submit(square, 3).unwrap();
        wait_until("its end", || over.is_done());
        assert_eq!(block_on(over.into_future()), Ok(9));
        assert!(!has_thread("taskring-wake"), "what is over needs nobody to wake");
        let sum = block_on(async {
            let mut sum = 0;
            for future in (0..50).map(|x| pool.submit(square, x).unwrap()).collect::<Vec<_>>() {
                sum += future.await?;
            }
            Ok::<u64, Error>(sum)
        });
        assert_eq!(sum, Ok((0..50).map(|x| x * x).sum()));
        let failed = block_on(async { pool.submit(fail_with, "no luck".to_owned())?.await });
        assert_eq!(failed, Err(Error::TaskFailed { summary: "no luck".into(), source: None }));
        assert_eq!(block_on(async { pool.submit(nap, 30)?.await }), Ok(30), "which is waited for");
    }

    fn semantics_f6_what_is_awaited_wakes_when_it_is_cancelled(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let mut awaiting = pool.submit(square, 3).unwrap().into_future();
        let count = Arc::new(Count::default());
        assert!(poll(&mut awaiting, &count).is_pending());
        assert!(awaiting.future().cancel());
        wait_until("the waker", || count.0.load(SeqCst) == 1);
        assert_eq!(poll(&mut awaiting, &count), Poll::Ready(Err(Error::Cancelled)));
        board[1].store(1, SeqCst);
        running.result().unwrap();
    }

    fn semantics_f13_the_waker_of_the_last_poll_is_woken_once(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let mut awaiting = held(&pool, &board).into_future();
        let counts: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
        for count in &counts {
            assert!(poll(&mut awaiting, count).is_pending());
        }
        let mut other = pool.submit(square, 3).unwrap().into_future();
        let both = Arc::new(Count::default());
        assert!(poll(&mut other, &both).is_pending());
        board[1].store(1, SeqCst);
        wait_until("the wakers", || counts[2].0.load(SeqCst) == 1 && both.0.load(SeqCst) == 1);
        assert_eq!(poll(&mut awaiting, &counts[0]), Poll::Ready(Ok(0)));
        assert_eq!(poll(&mut other, &both), Poll::Ready(Ok(9)));
        assert_eq!(counts.iter().map(|count| count.0.load(SeqCst)).collect::<Vec<_>>(), [0, 0, 1]);
    }

    fn semantics_f13_threads_await_while_tasks_end(kind) {
        let pool = pool_of(kind, 2);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let pool = &pool;
                scope.spawn(move || {
                    for x in 0..200 {
                        let future = pool.submit(square, x + thread).unwrap();
                        assert_eq!(block_on(future.into_future()), Ok((x + thread) * (x + thread)));
                    }
                });
            }
        });
    }

    fn semantics_s13_dropping_what_awaits_lets_the_task_run(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(4);
        let mut running = held(&pool, &board).into_future();
        let count = Arc::new(Count::default());
        assert!(poll(&mut running, &count).is_pending());
        let mut pending = pool.submit(hold, (board.name(), 2)).unwrap().into_future();
        assert!(poll(&mut pending, &count).is_pending());
        drop((running, pending));
        assert_eq!(Arc::strong_count(&count), 1, "its wakers are gone with it");
        board[1].store(1, SeqCst);
        wait_until("the pending one runs", || board[2].load(SeqCst) == 1);
        board[3].store(1, SeqCst);
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        assert_eq!(count.0.load(SeqCst), 0);
    }

    fn semantics_f1_what_cancels_on_drop_cancels_a_pending_task_and_asks_a_running_one(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(4);
        let mut running = pool.submit(until_cancelled, board.name()).unwrap().into_future().cancel_on_drop();
        let count = Arc::new(Count::default());
        assert!(poll(&mut running, &count).is_pending());
        wait_until("the task runs", || board[0].load(SeqCst) == 1);
        let mut pending = pool.submit(hold, (board.name(), 2)).unwrap().into_future().cancel_on_drop();
        assert!(poll(&mut pending, &count).is_pending());
        drop(pending);
        drop(running);
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        assert_eq!((board[1].load(SeqCst), board[2].load(SeqCst)), (1, 0));
        let mut over = pool.submit(square, 4).unwrap().into_future().cancel_on_drop();
        wait_until("its end", || over.future().is_done());
        assert_eq!(poll(&mut over, &count), Poll::Ready(Ok(16)));
    }

    fn semantics_a2_a_queue_gives_what_is_over_and_then_what_ends_in_that_order(kind) {
        let pool = pool_of(kind, 2);
        let board = Board::new(2);
        let queue = CompletionQueue::new();
        assert_eq!(queue.next(None), Ok(None), "nothing is under way");
        let over = pool.submit(square, 1).unwrap();
        over.result().unwrap();
        let running = held(&pool, &board);
        queue.add(&running, "running").unwrap();
        queue.add(&over, "over").unwrap();
        assert_eq!(queue.next(Some(Duration::ZERO)), Ok(Some("over")));
        assert!(matches!(queue.next(Some(Duration::from_millis(1))), Err(Error::TimedOut { .. })));
        for tag in ["first", "second", "third"] {
            let future = pool.submit(square, 2).unwrap();
            queue.add(&future, tag).unwrap();
            wait_until("its end", || future.is_done());
        }
        assert_eq!(queue.len(), 4);
        for tag in ["first", "second", "third"] {
            assert_eq!(queue.next(Some(LIMIT)), Ok(Some(tag)), "its future was dropped");
        }
        board[1].store(1, SeqCst);
        assert_eq!(queue.next(None), Ok(Some("running")));
        assert!(queue.is_empty());
        assert_eq!((queue.next(None), running.result()), (Ok(None), Ok(0)));
    }

    fn semantics_a6_dropping_a_queue_lets_its_tasks_run(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(4);
        let queue = CompletionQueue::new();
        queue.push(held(&pool, &board)).unwrap();
        queue.push(pool.submit(hold, (board.name(), 2)).unwrap()).unwrap();
        drop(queue);
        board[1].store(1, SeqCst);
        wait_until("the pending one runs", || board[2].load(SeqCst) == 1);
        board[3].store(1, SeqCst);
    }

    fn semantics_a7_a_queue_takes_futures_of_several_pools(kind) {
        let first = pool_of(kind, 1);
        let second = pool_of(StartMethod::Thread, 1);
        let queue = CompletionQueue::new();
        for x in 0..100 {
            queue.push([&first, &second][x as usize % 2].submit(square, x).unwrap()).unwrap();
        }
        let mut sum = 0;
        while let Some(future) = queue.next(Some(LIMIT)).unwrap() {
            assert_eq!(future.state(), State::Done);
            sum += future.result().unwrap();
        }
        assert_eq!(sum, (0..100).map(|x| x * x).sum());
    }

    fn semantics_w9_several_threads_add_to_a_queue_and_take_from_it(kind) {
        let pool = pool_of(kind, 2);
        let queue = CompletionQueue::new();
        let sum = AtomicU64::new(0);
        // Each one that comes out puts one in, up to the last number.
        for x in 0..4 {
            queue.push(pool.submit(square, x).unwrap()).unwrap();
        }
        let next = AtomicU64::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(future) = queue.next(Some(LIMIT)).unwrap() {
                        let x = next.fetch_add(1, SeqCst);
                        if x < 300 {
                            queue.push(pool.submit(square, x).unwrap()).unwrap();
                        }
                        sum.fetch_add(future.result().unwrap(), SeqCst);
                    }
                });
            }
        });
        let mut left = 0;
        while let Some(future) = queue.next(Some(LIMIT)).unwrap() {
            left += future.result().unwrap();
        }
        assert_eq!(sum.into_inner() + left, (0..300).map(|x| x * x).sum());
    }

    fn semantics_s2_a_queues_descriptor_is_readable_exactly_while_there_is_something(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let queue = CompletionQueue::new();
        queue.push(held(&pool, &board)).unwrap();
        // For whoever takes anything that has a descriptor.
        fn of(it: &impl AsFd) -> BorrowedFd<'_> {
            it.as_fd()
        }
        assert!(!is_readable(of(&queue), Duration::ZERO));
        queue.push(pool.submit(square, 3).unwrap()).unwrap();
        board[1].store(1, SeqCst);
        for expected in [0, 9] {
            assert!(is_readable(of(&queue), LIMIT));
            assert_eq!(queue.next(Some(Duration::ZERO)).unwrap().unwrap().result(), Ok(expected));
        }
        assert!(!is_readable(of(&queue), Duration::ZERO));
        assert_eq!(queue.next(None).unwrap().map(drop), None);
    }
}
