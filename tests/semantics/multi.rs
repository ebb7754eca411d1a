//! Section L: the pool in the style of `multiprocessing.Pool`.

use crate::process_support::common::{Board, fail_with, hold, nap, panic_with, square};
use crate::process_support::{kill, wait_until};
use crate::support::is_thread;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, MultiPool, StartMethod};

taskring::task! {
    fn power(base: u64, exponent: u32) -> u64 { base.pow(exponent) }
    fn odd_only(x: u64) -> Result<u64, taskring::TaskError> {
        if x % 2 == 1 { Ok(x) } else { Err(taskring::TaskError::new(format!("{x} is even"))) }
    }
    /// The number of the task that this input is in.
    fn task_of(_input: u64) -> u64 { taskring::task::id() }
    fn leave(code: i32) -> u64 { std::process::exit(code) }
}

fn multi_pool(kind: StartMethod, workers: usize) -> MultiPool {
    MultiPool::with(Executor::builder().workers(workers).start(kind)).expect("a pool")
}

/// A board for `first_of`.
fn first_held() -> Board {
    let board = Board::new(4);
    board[3].store(1, SeqCst);
    board
}

/// Inputs of `hold`, of which the first is held until cell 1 is set, and gives 0. The others give 2.
fn first_of(board: &Board, count: u64) -> impl Iterator<Item = (String, u64)> {
    let name = board.name();
    (0..count).map(move |n| (name.clone(), if n == 0 { 0 } else { 2 }))
}

/// The results that a callback was called with.
type Told<T> = Arc<Mutex<Vec<Result<T, Error>>>>;

fn teller<T: Send + 'static>(told: &Told<T>) -> impl FnOnce(Result<T, Error>) + Send + 'static {
    let told = told.clone();
    move |result| told.lock().unwrap().push(result)
}

/// How many inputs are in the first task of a map without a chunk of its own, in pools of three workers, by the number of inputs.
const CHUNKS: [(u64, usize); 8] = [(1, 1), (3, 1), (12, 1), (13, 2), (24, 2), (25, 3), (100, 9), (1000, 84)];

cases! {
    fn semantics_l1_a_pool_has_at_least_one_worker_and_starts_all_at_once(kind) {
        let none = MultiPool::with(Executor::builder().workers(0).start(kind));
        assert!(matches!(none, Err(Error::InvalidArgument { .. })), "{none:?}");
        let pool = multi_pool(kind, 2);
        if !is_thread(kind) {
            wait_until("both are there before anything is submitted", || pool.executor().worker_pids().len() == 2);
        }
        assert_eq!(pool.executor().workers(), 2);
    }

    fn semantics_l3_apply_waits_for_the_result(kind) {
        let pool = multi_pool(kind, 2);
        assert_eq!(pool.apply(square, 7), Ok(49));
        assert_eq!(pool.apply(power, (2, 10)), Ok(1024));
        assert_eq!(pool.apply(odd_only, 4), Err(Error::TaskFailed { summary: "4 is even".into(), source: None }));
    }

    fn semantics_l4_map_gives_a_list_in_the_order_of_its_inputs(kind) {
        let pool = multi_pool(kind, 2);
        assert_eq!(pool.map(square, 0..1000).unwrap(), (0..1000).map(|x| x * x).collect::<Vec<u64>>());
        // Four tasks for each worker: so the ring of 1024 slots is never full with a million inputs.
        assert_eq!(pool.map(square, vec![3; 100_000]).unwrap().len(), 100_000);
        // The inputs are read in the call, so their panic comes out there, and nothing was submitted.
        let inputs = (0..10).inspect(|&x| assert!(x != 5, "the input"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.map(square, inputs))).is_err());
        assert_eq!(pool.apply(square, 3), Ok(9));
    }

    fn semantics_l4_a_map_is_four_tasks_for_each_worker_unless_a_chunk_is_named(kind) {
        let pool = multi_pool(kind, 3);
        for (count, chunk) in CHUNKS {
            let started = pool.map_async(task_of, 0..count, None).unwrap().get(None);
            for tasks in [pool.map(task_of, 0..count), started] {
                let tasks = tasks.unwrap();
                let found: Vec<usize> = tasks.chunk_by(u64::eq).map(<[u64]>::len).collect();
                let wanted: Vec<usize> = (0..count).collect::<Vec<_>>().chunks(chunk).map(<[u64]>::len).collect();
                assert_eq!(found, wanted, "{count} inputs");
                assert_eq!(tasks.iter().collect::<BTreeSet<_>>().len(), wanted.len(), "no task is there twice");
            }
        }
        let alone = pool.map_async(task_of, 0..100, Some(1)).unwrap().get(None).unwrap();
        assert_eq!(alone.iter().collect::<BTreeSet<_>>().len(), 100);
    }

    fn semantics_l5_no_inputs_are_no_results_at_once(kind) {
        let pool = multi_pool(kind, 1);
        assert_eq!(pool.map(square, []), Ok(vec![]));
        let told = Told::default();
        let result = pool.map_async_with(square, [], None, teller(&told)).unwrap();
        assert!(result.ready());
        assert_eq!(result.get(Some(Duration::ZERO)), Ok(vec![]));
        assert_eq!(*told.lock().unwrap(), [Ok(vec![])]);
        assert_eq!(pool.imap(square, [], 1).unwrap().count(), 0);
        assert_eq!(pool.imap_unordered(square, [], 3).unwrap().count(), 0);
        assert!(matches!(pool.map_async(square, [1], Some(0)), Err(Error::InvalidArgument { .. })));
    }

    fn semantics_l6_a_failing_map_waits_for_all_and_gives_the_first_error(kind) {
        let pool = multi_pool(kind, 2);
        let board = Board::new(1);
        // The failing inputs come first; the others have all been counted when the error is given.
        let counted = pool.map_async(crate::process_support::common::count_in, (0..50).map(|_| (board.name(), 0)), Some(1)).unwrap();
        assert_eq!(pool.map(odd_only, 1..40), Err(Error::TaskFailed { summary: "2 is even".into(), source: None }));
        assert_eq!(counted.get(None).map(|all| all.len()), Ok(50));
        let board = Board::new(1);
        let inputs = (0..20).map(|n| (board.name(), n));
        let failing = pool.map_async(fails_first, inputs, Some(1)).unwrap();
        assert!(failing.get(None).is_err());
        assert_eq!(board[0].load(SeqCst), 19, "no task was left out");
    }

    fn semantics_l8_one_callback_is_called_once_with_everything(kind) {
        let pool = multi_pool(kind, 2);
        let told = Told::default();
        let result = pool.map_async_with(power, (0..10).map(|n| (n, 2)), Some(3), teller(&told)).unwrap();
        let squares: Vec<u64> = (0..10).map(|n| n * n).collect();
        assert_eq!(result.get(None).as_ref(), Ok(&squares));
        assert_eq!(*told.lock().unwrap(), [Ok(squares)]);
        let told = Told::default();
        let failed = pool.apply_async_with(fail_with, "on purpose".into(), teller(&told)).unwrap();
        assert!(failed.get(None).is_err());
        assert_eq!(*told.lock().unwrap(), [Err(Error::TaskFailed { summary: "on purpose".into(), source: None })]);
    }

    fn semantics_l9_a_result_can_be_waited_for_and_asked(kind) {
        let pool = multi_pool(kind, 1);
        let board = Board::new(2);
        let result = pool.apply_async(hold, (board.name(), 0)).unwrap();
        assert!(!result.ready());
        assert!(matches!(result.successful(), Err(Error::InvalidState { .. })));
        assert!(matches!(result.get(Some(Duration::from_millis(20))), Err(Error::TimedOut { .. })));
        assert!(matches!(result.wait(Some(Duration::from_millis(20))), Err(Error::TimedOut { .. })));
        board[1].store(1, SeqCst);
        assert_eq!(result.wait(None), Ok(()));
        assert!(result.ready() && result.successful() == Ok(true));
        assert_eq!((result.get(None), result.get(Some(Duration::ZERO))), (Ok(0), Ok(0)));
        let failed = pool.apply_async(panic_with, "boom".into()).unwrap();
        assert!(matches!(failed.get(None), Err(Error::Panicked { .. })));
        assert_eq!(failed.successful(), Ok(false));
    }

    fn semantics_l10_a_callback_has_returned_before_the_result_is_given(kind) {
        let pool = multi_pool(kind, 1);
        let returned = Arc::new(AtomicU32::new(0));
        let slow = returned.clone();
        let callback = move |_| {
            std::thread::sleep(Duration::from_millis(50));
            slow.store(1, SeqCst);
        };
        let result = pool.apply_async_with(square, 3, callback).unwrap();
        assert_eq!(result.get(None), Ok(9));
        assert_eq!(returned.load(SeqCst), 1);
    }

    fn semantics_l11_imap_gives_results_one_by_one_in_order(kind) {
        let pool = multi_pool(kind, 2);
        for chunk in [1, 7] {
            let found: Vec<u64> = pool.imap(square, 0..50, chunk).unwrap().map(Result::unwrap).collect();
            assert_eq!(found, (0..50).map(|x| x * x).collect::<Vec<_>>());
        }
        // Those that end before the first one wait for it.
        let board = first_held();
        let mut map = pool.imap(hold, first_of(&board, 20), 1).unwrap();
        wait_until("the first one runs", || board[0].load(SeqCst) == 1);
        assert!(matches!(map.next_timeout(Duration::from_millis(20)), Some(Err(Error::TimedOut { .. }))));
        board[1].store(1, SeqCst);
        assert_eq!(map.next(), Some(Ok(0)));
        assert_eq!(map.filter(|y| *y == Ok(2)).count(), 19);
        assert!(matches!(pool.imap(square, 0..5, 0).map(|_| ()), Err(Error::InvalidArgument { .. })));
    }

    fn semantics_l15_imap_unordered_gives_what_ends_first(kind) {
        let pool = multi_pool(kind, 2);
        let mut found: Vec<u64> = pool.imap_unordered(square, 0..50, 1).unwrap().map(Result::unwrap).collect();
        found.sort_unstable();
        assert_eq!(found, (0..50).map(|x| x * x).collect::<Vec<_>>());
        // One worker has the first, the other one all the rest.
        let board = first_held();
        let mut map = pool.imap_unordered(hold, first_of(&board, 50), 1).unwrap();
        wait_until("the first one runs", || board[0].load(SeqCst) == 1);
        (1..50).for_each(|_| assert_eq!(map.next(), Some(Ok(2))));
        assert!(matches!(map.next_timeout(Duration::from_millis(20)), Some(Err(Error::TimedOut { .. }))));
        board[1].store(1, SeqCst);
        assert_eq!((map.next(), map.next()), (Some(Ok(0)), None));
    }

    fn semantics_l14_a_result_of_imap_that_is_not_there_in_time_may_be_asked_for_again(kind) {
        let pool = multi_pool(kind, 1);
        for chunk in [1, 3] {
            let board = first_held();
            let mut map = pool.imap(hold, first_of(&board, 5), chunk).unwrap();
            wait_until("the first one runs", || board[0].load(SeqCst) == 1);
            for limit in [0, 20] {
                assert!(matches!(map.next_timeout(Duration::from_millis(limit)), Some(Err(Error::TimedOut { .. }))));
            }
            board[1].store(1, SeqCst);
            assert_eq!(map.collect::<Result<Vec<_>, _>>(), Ok(vec![0, 2, 2, 2, 2]));
        }
    }

    fn semantics_l18_a_map_that_goes_on_at_the_close_reads_the_rest_of_its_inputs(kind) {
        let pool = multi_pool(kind, 2);
        let (mut map, other) = (pool.imap(square, 0..50, 1).unwrap(), pool.imap_unordered(square, 0..30, 1).unwrap());
        assert_eq!(map.next(), Some(Ok(0)));
        pool.close().unwrap();
        assert!(matches!(pool.imap(square, 0..5, 1).map(|_| ()), Err(Error::ShutDown)));
        assert!(matches!(pool.imap_unordered(square, 0..5, 1).map(|_| ()), Err(Error::ShutDown)));
        assert_eq!(pool.apply(square, 1), Err(Error::ShutDown));
        assert_eq!(pool.map(square, 0..3), Err(Error::ShutDown));
        assert!(map.zip(1..).all(|(y, x)| y == Ok(x * x)));
        // One that is dropped with inputs left keeps the pool no longer.
        drop(other);
        let workers = || pool.executor().worker_pids().len();
        wait_until("the workers have left", || workers() == 0 || is_thread(kind));
        pool.join().unwrap();
    }

    fn semantics_l18_joining_does_not_wait_for_inputs_that_nobody_reads(kind) {
        let pool = multi_pool(kind, 2);
        let mut map = pool.imap(square, 0..50, 1).unwrap();
        pool.close().unwrap();
        pool.join().unwrap();
        (0..4).for_each(|x| assert_eq!(map.next(), Some(Ok(x * x))));
        assert_eq!((map.next(), map.next()), (Some(Err(Error::ShutDown)), None));
    }

    fn semantics_l19_what_a_map_has_not_given_ends_with_its_pool(kind) {
        let board = first_held();
        let mut map = {
            let pool = multi_pool(kind, 1);
            let map = pool.imap(hold, first_of(&board, 1000), 1).unwrap();
            wait_until("the first one runs", || board[0].load(SeqCst) == 1);
            map
        };
        if is_thread(kind) {
            // A thread goes on, and so does what it runs.
            board[1].store(1, SeqCst);
            assert_eq!(map.next(), Some(Ok(0)));
        }
        // Those in the window, and the first one that was refused.
        let rest: Vec<_> = map.collect();
        assert_eq!(rest, vec![Err(Error::Terminated); if is_thread(kind) { 2 } else { 3 }]);
    }

    fn semantics_l18_a_closed_pool_runs_what_it_has_and_takes_nothing(kind) {
        let pool = multi_pool(kind, 1);
        assert!(matches!(pool.join(), Err(Error::InvalidState { state: "running", .. })));
        let results: Vec<_> = (0..20).map(|x| pool.apply_async(square, x).unwrap()).collect();
        pool.close().unwrap();
        assert_eq!(pool.apply(square, 1), Err(Error::ShutDown));
        assert_eq!(pool.map(square, 0..3), Err(Error::ShutDown));
        pool.join().unwrap();
        for (x, result) in (0..20).zip(results) {
            assert_eq!(result.get(Some(Duration::ZERO)), Ok(x * x));
        }
    }

    fn semantics_l19_terminate_is_quick_and_runs_none_of_the_rest(kind) {
        let pool = multi_pool(kind, 1);
        let board = Board::new(2);
        let busy = pool.apply_async(hold, (board.name(), 0)).unwrap();
        wait_until("the worker is busy", || board[0].load(SeqCst) == 1);
        let naps = pool.map_async(nap, vec![10_000; 10_000], Some(100)).unwrap();
        let start = Instant::now();
        pool.terminate().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // Its waiters are told, also those without a time limit.
        assert_eq!(naps.get(None), Err(Error::Terminated));
        if is_thread(kind) {
            // A thread goes on, and so does what it runs.
            board[1].store(1, SeqCst);
            assert_eq!(busy.get(None), Ok(0));
        } else {
            assert_eq!(busy.get(None), Err(Error::Terminated));
        }
        pool.terminate().unwrap();
        pool.join().unwrap();
    }

    fn semantics_s4_dropping_a_pool_ends_it_and_its_results(kind) {
        let board = Board::new(2);
        let (busy, pending) = {
            let pool = multi_pool(kind, 1);
            let busy = pool.apply_async(hold, (board.name(), 0)).unwrap();
            wait_until("the worker is busy", || board[0].load(SeqCst) == 1);
            (busy, pool.apply_async(square, 3).unwrap())
        };
        assert_eq!(pending.get(None), Err(Error::Terminated));
        if is_thread(kind) {
            board[1].store(1, SeqCst);
            assert_eq!(busy.get(None), Ok(0));
        } else {
            assert_eq!(busy.get(None), Err(Error::Terminated));
        }
    }

    /// In the reference such a callback takes its result with it, or the thread that all results come through.
    fn semantics_b5_a_callback_that_panics_takes_no_result_with_it(kind) {
        let pool = multi_pool(kind, 2);
        // Once with the look at the stack that takes most of the time, and then with what is no text.
        let result = pool.apply_async_with(square, 3, |_| panic!("of a result")).unwrap();
        assert_eq!(result.get(None), Ok(9));
        for x in 0..20 {
            let one = pool.apply_async_with(square, x, |_| resume_unwind(Box::new(1))).unwrap();
            let failed = pool.apply_async_with(fail_with, "f".into(), |_| resume_unwind(Box::new(2))).unwrap();
            let all = pool.map_async_with(square, 0..3, Some(1), |_| resume_unwind(Box::new(3))).unwrap();
            assert_eq!((one.get(None), all.get(None)), (Ok(x * x), Ok(vec![0, 1, 4])));
            assert!(matches!(failed.get(None), Err(Error::TaskFailed { .. })));
            assert!(one.ready() && one.successful() == Ok(true) && failed.successful() == Ok(false));
        }
        let told = Told::default();
        let last = pool.apply_async_with(square, 4, teller(&told)).unwrap();
        assert_eq!((last.get(None), &told.lock().unwrap()[..]), (Ok(16), &[Ok(16)][..]), "and later ones are called");
    }

    fn semantics_ld_nothing_that_hangs_multiprocessing_hangs_here(kind) {
        let pool = multi_pool(kind, 2);
        // A callback that panics is its own matter, and the result comes.
        let result = pool.apply_async_with(square, 3, |_| panic!("in a callback")).unwrap();
        assert_eq!(result.get(None), Ok(9));
        assert_eq!(pool.apply_async_with(square, 4, |_| ()).unwrap().get(None), Ok(16));
        if !is_thread(kind) {
            // A task that ends its process, and a worker that is killed, end their results.
            assert!(matches!(pool.apply(leave, 3), Err(Error::WorkerLost { .. })));
            let board = Board::new(2);
            let busy = pool.apply_async(hold, (board.name(), 0)).unwrap();
            wait_until("the worker is busy", || board[0].load(SeqCst) == 1);
            pool.executor().worker_pids().into_iter().for_each(kill);
            assert!(matches!(busy.get(None), Err(Error::WorkerLost { .. })));
        }
        assert_eq!(pool.map(square, 0..4), Ok(vec![0, 1, 4, 9]));
    }
}

taskring::task! {
    /// The first one fails; the others count themselves after a while.
    fn fails_first(board: String, n: u64) -> Result<u64, taskring::TaskError> {
        if n == 0 {
            return Err(taskring::TaskError::new("the first one"));
        }
        std::thread::sleep(Duration::from_millis(2));
        Ok(Board::at(&board)[0].fetch_add(1, SeqCst))
    }
}
