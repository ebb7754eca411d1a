//! Discarding a set: its pending tasks are cancelled in one call, none starts afterwards, and the pool goes on with others.

mod common;

use common::{Board, SOON, count_in, hold, monotonic_ns, pool_of, scaled, small_pool, square, wait_until};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Discarded, Error, Executor, Future, MapOptions, StartMethod, State, SubmitOptions, TaskSet, as_completed};

taskring::test_support!();
taskring::task! {
    /// Tells when it started, and takes about as many microseconds as it is told.
    fn when_started(us: u64) -> u64 {
        let start = monotonic_ns();
        while monotonic_ns() < start + us * 1000 {}
        start
    }
}

/// A pool whose only worker is busy until `board[1]` is set.
fn busy_pool(kind: StartMethod, board: &Board) -> (Executor, Future<u64>) {
    let pool = pool_of(kind, 1);
    let busy = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    (pool, busy)
}

/// Feeds a set until it is discarded.
fn feed(set: &TaskSet, us: u64) -> Vec<Future<u64>> {
    let mut futures = Vec::new();
    loop {
        match set.submit(when_started, us) {
            Ok(future) => futures.push(future),
            Err(Error::Discarded) => return futures,
            Err(e) => panic!("{e}"),
        }
    }
}

/// How many of these tasks ran, and how many of those started after `end`. The others must have been cancelled.
fn ran_and_late(futures: &[Future<u64>], end: u64) -> (usize, usize) {
    let results = futures.iter().map(Future::result);
    let starts: Vec<u64> = results
        .filter_map(|result| match result {
            Ok(start) => Some(start),
            Err(Error::Cancelled) => None,
            Err(e) => panic!("{e}"),
        })
        .collect();
    (starts.len(), starts.iter().filter(|&&start| start > end).count())
}

both_kinds! {
    fn a_discard_cancels_what_is_pending_and_counts_everything(kind) {
        let board = Board::new(5);
        let pool = pool_of(kind, 1);
        let set = pool.task_set().unwrap();
        let done: Vec<_> = (0..7).map(|i| set.submit(square, i).unwrap()).collect();
        assert!(done.iter().take(4).all(|f| f.result().is_ok()), "some are collected");
        wait_until(SOON, || done.iter().all(Future::is_done));
        let running = set.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        let pending: Vec<_> = (0..20).map(|_| set.submit(count_in, (board.name(), 2)).unwrap()).collect();
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 20, running: 1, done: 7 });
        assert!(pending.iter().all(|f| f.state() == State::Cancelled && f.result() == Err(Error::Cancelled)));
        assert_eq!(running.state(), State::Running);
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 0, running: 1, done: 7 }, "again");
        board[1].store(1, SeqCst);
        assert_eq!(running.result(), Ok(0), "a running task goes on to its end");
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 0, running: 0, done: 8 }, "once more");
        assert_eq!(done.iter().map(|f| f.result().unwrap()).sum::<u64>(), 91);
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn a_discarded_set_takes_no_more_tasks_and_the_pool_does(kind) {
        let pool = pool_of(kind, 1);
        let set = pool.task_set().unwrap();
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 0, running: 0, done: 0 });
        assert_eq!(set.submit(square, 1).map(|_| ()), Err(Error::Discarded));
        assert_eq!(set.submit_with(&SubmitOptions::new(), square, 1).map(|_| ()), Err(Error::Discarded));
        let options = SubmitOptions::new().set(&set);
        assert_eq!(pool.submit_with(&options, square, 1).map(|_| ()), Err(Error::Discarded));
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        let next = pool.task_set().unwrap();
        assert_eq!(next.submit(square, 4).unwrap().result(), Ok(16));
    }

    fn tasks_that_name_the_set_in_their_options_are_counted_too(kind) {
        let pool = pool_of(kind, 1);
        let set = pool.task_set().unwrap();
        let options = SubmitOptions::new().set(&set);
        for i in 0..5 {
            pool.submit_with(&options, square, i).unwrap().result().unwrap();
        }
        let map = pool.map_with(&MapOptions::new().submit(options), square, 0..6).unwrap();
        assert_eq!(map.map(Result::unwrap).sum::<u64>(), 55);
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 0, running: 0, done: 11 });
    }

    fn detached_tasks_are_discarded_too(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        let set = pool.task_set().unwrap();
        (0..50).for_each(|_| set.submit(count_in, (board.name(), 2)).unwrap().detach());
        assert_eq!(set.discard().unwrap(), Discarded { cancelled: 50, running: 0, done: 0 });
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        drop(pool);
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn another_set_and_tasks_without_one_are_not_touched(kind) {
        let board = Board::new(5);
        let (pool, busy) = busy_pool(kind, &board);
        let (first, second) = (pool.task_set().unwrap(), pool.task_set().unwrap());
        let mut kept = Vec::new();
        for _ in 0..30 {
            first.submit(count_in, (board.name(), 2)).unwrap().detach();
            kept.push(second.submit(count_in, (board.name(), 3)).unwrap());
            kept.push(pool.submit(count_in, (board.name(), 4)).unwrap());
        }
        assert_eq!(first.discard().unwrap().cancelled, 30);
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        assert!(kept.iter().all(|f| f.result().is_ok()));
        assert_eq!([2, 3, 4].map(|i| board[i].load(SeqCst)), [0, 30, 30]);
        assert_eq!(second.discard().unwrap(), Discarded { cancelled: 0, running: 0, done: 30 });
    }

    fn dropping_a_set_lets_its_tasks_go_on(kind) {
        let board = Board::new(3);
        let (pool, _busy) = busy_pool(kind, &board);
        let set = pool.task_set().unwrap();
        let futures: Vec<_> = (0..20).map(|_| set.submit(count_in, (board.name(), 2)).unwrap()).collect();
        drop(set);
        // A set that takes the same place must not be mistaken for it.
        let next = pool.task_set().unwrap();
        assert_eq!(next.discard().unwrap(), Discarded { cancelled: 0, running: 0, done: 0 });
        board[1].store(1, SeqCst);
        assert!(futures.iter().all(|f| f.result().is_ok()));
        assert_eq!(board[2].load(SeqCst), 20);
    }

    fn no_task_starts_after_a_discard_while_others_feed_the_set(kind) {
        let rounds = scaled(30, 200);
        let pool = small_pool(kind, 2, 64);
        for round in 0..rounds {
            let set = pool.task_set().unwrap();
            let (all, discarded, end) = std::thread::scope(|scope| {
                let feeders: Vec<_> = (0..2).map(|_| scope.spawn(|| feed(&set, 20))).collect();
                std::thread::sleep(Duration::from_micros(500 + 137 * (round as u64 % 16)));
                let discarded = set.discard().unwrap();
                let end = monotonic_ns();
                let all: Vec<_> = feeders.into_iter().flat_map(|f| f.join().unwrap()).collect();
                (all, discarded, end)
            });
            let (ran, late) = ran_and_late(&all, end);
            let cancelled = all.len() - ran;
            let context = format!("round {round}: {} submitted, {ran} ran, {late} of them late; {discarded:?}", all.len());
            // A task may have been claimed, and so be counted as running, just before its function is entered.
            assert!(late <= discarded.running && discarded.running <= pool.workers(), "{context}");
            // What each feeder was just submitting may count or not.
            assert!(discarded.done <= ran && ran <= discarded.done + discarded.running + 2, "{context}");
            let stopped = discarded.cancelled..=discarded.cancelled + discarded.running + 2;
            assert!(stopped.contains(&cancelled), "{context}");
            let counted = discarded.cancelled + discarded.running + discarded.done;
            assert!(counted <= all.len() && all.len() <= counted + 2, "{context}");
            let after = set.discard().unwrap();
            assert_eq!((after.cancelled, after.running), (0, 0), "{context}");
            assert_eq!(pool.submit(square, round as u64).unwrap().result(), Ok((round * round) as u64));
        }
    }

    fn set_1_is_cancelled_after_200_of_1000_and_set_2_runs(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..3 {
            let (first, second) = (pool.task_set().unwrap(), pool.task_set().unwrap());
            let futures: Vec<_> = (0..1000).map(|_| first.submit(when_started, 20).unwrap()).collect();
            let mut stream = as_completed(futures, Some(SOON));
            let mut ran = stream.by_ref().take(200).filter(|f| f.as_ref().unwrap().result().is_ok()).count();
            assert_eq!(ran, 200);
            let discarded = first.discard().unwrap();
            let later: Vec<_> = (0..1000).map(|i| second.submit(square, i).unwrap()).collect();
            let mut cancelled = 0;
            for future in stream {
                match future.unwrap().result() {
                    Ok(_) => ran += 1,
                    Err(e) => {
                        assert_eq!(e, Error::Cancelled);
                        cancelled += 1;
                    }
                }
            }
            assert_eq!(ran + cancelled, 1000);
            assert_eq!(discarded.cancelled + discarded.running + discarded.done, 1000);
            assert!(cancelled >= discarded.cancelled && cancelled <= discarded.cancelled + discarded.running);
            for (i, future) in later.iter().enumerate() {
                assert_eq!(future.result(), Ok((i * i) as u64));
            }
        }
    }

    fn who_waits_for_tasks_of_a_discarded_set_hears_of_it_at_once(kind) {
        let mut delays = Vec::new();
        for _ in 0..5 {
            let board = Board::new(2);
            let (pool, _busy) = busy_pool(kind, &board);
            let set = pool.task_set().unwrap();
            let futures: Vec<_> = (0..100).map(|i| set.submit(square, i).unwrap()).collect();
            let ready = Barrier::new(2);
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    ready.wait();
                    let all: Vec<_> = as_completed(futures, None).map(|f| f.unwrap().result()).collect();
                    (all, Instant::now())
                });
                ready.wait();
                // Long enough that the waiter sleeps for good, so that only a wake can end its sleep soon.
                std::thread::sleep(Duration::from_millis(60));
                let start = Instant::now();
                assert_eq!(set.discard().unwrap().cancelled, 100);
                let (all, end) = waiter.join().unwrap();
                assert_eq!(all, vec![Err(Error::Cancelled); 100]);
                delays.push(end.saturating_duration_since(start));
            });
            board[1].store(1, SeqCst);
        }
        delays.sort_unstable();
        assert!(delays[2] < Duration::from_millis(300), "a lost wake would be found only after a second: {delays:?}");
    }

    fn several_threads_may_discard_one_set(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        for _ in 0..50 {
            let set = pool.task_set().unwrap();
            let futures: Vec<_> = (0..100).map(|_| set.submit(count_in, (board.name(), 2)).unwrap()).collect();
            let cancelled = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| cancelled.fetch_add(set.discard().unwrap().cancelled, SeqCst));
                }
            });
            assert_eq!(cancelled.into_inner(), 100, "each task is counted by one of them");
            assert!(futures.iter().all(|f| f.result() == Err(Error::Cancelled)));
        }
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        assert_eq!(board[2].load(SeqCst), 0);
    }

    fn a_map_over_a_discarded_set_ends(kind) {
        let pool = pool_of(kind, 1);
        for chunk in [1, 4] {
            let set = pool.task_set().unwrap();
            let options = MapOptions::new().submit(SubmitOptions::new().set(&set)).window(4).chunk(chunk);
            let mut map = pool.map_with(&options, square, 0..).unwrap();
            assert_eq!(map.next(), Some(Ok(0)));
            set.discard().unwrap();
            let rest: Vec<_> = map.take(1000).collect();
            assert!(rest.len() < 100, "with chunks of {chunk}, the endless input is read on and on");
            let refused = |r: &Result<u64, Error>| matches!(r, Err(Error::Cancelled | Error::Discarded));
            assert!(rest.iter().all(|r| r.is_ok() || refused(r)));
            assert!(rest.last().is_some_and(refused));
            assert_eq!(pool.map_with(&options, square, 0..).map(drop), Err(Error::Discarded), "from the start");
        }
    }
}

#[test]
fn sets_can_be_opened_again_and_again_and_only_so_many_at_a_time() {
    let _dog = common::watchdog(120);
    let pool = pool_of(StartMethod::Spawn, 1);
    for i in 0..6000 {
        let set = pool.task_set().unwrap();
        if i % 100 == 0 {
            set.submit(square, i).unwrap().result().unwrap();
        }
        if i % 3 == 0 {
            set.discard().unwrap();
        }
    }
    let mut sets = Vec::new();
    let error = loop {
        match pool.task_set() {
            Ok(set) => sets.push(set),
            Err(e) => break e,
        }
    };
    let Error::TooMany { max, .. } = error else { panic!("{error}") };
    assert_eq!(max, sets.len(), "the limit that the error names is the number of sets there can be");
    let last = sets.last().unwrap();
    assert_eq!(last.submit(square, 5).unwrap().result(), Ok(25));
    last.discard().unwrap();
    assert_eq!(sets[0].submit(square, 6).unwrap().result(), Ok(36));
    drop(sets);
    assert!(pool.task_set().is_ok());
}

#[test]
fn a_set_of_another_pool_is_refused() {
    let _dog = common::watchdog(60);
    let (one, other) = (pool_of(StartMethod::Thread, 1), pool_of(StartMethod::Thread, 1));
    let (own, foreign) = (one.task_set().unwrap(), other.task_set().unwrap());
    let result = one.submit_with(&SubmitOptions::new().set(&foreign), square, 1).map(|f| f.result());
    assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
    // What happens to the one must not be taken for the other, whatever their places in their pools.
    own.discard().unwrap();
    let result = one.submit_with(&SubmitOptions::new().set(&foreign), square, 1).map(|f| f.result());
    assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
}
