//! Mapping a task over inputs: results in input order, an input that is read no further than the window, and an end
//! at any place.

mod common;

use common::{Board, SOON, count_in, hold, pool_of, small_pool, square, wait_until};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Bytes, Error, Executor, MapOptions, StartMethod, TaskError};

taskring::test_support!();
taskring::task! {
    fn backwards(x: u64) -> u64 {
        // The first ones take longest, so they end last.
        std::thread::sleep(std::time::Duration::from_micros(2000 - 100 * (x % 20)));
        x
    }
    fn no_threes(x: u64) -> Result<u64, TaskError> { if x.is_multiple_of(3) { Err(TaskError::new("three")) } else { Ok(x) } }
    fn length(bytes: Bytes) -> u64 { bytes.len() as u64 }
    fn sleep_for(ms: u64) -> u64 {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        ms
    }
    /// The task that an input is run in: the same for all of a chunk.
    fn task_of(bytes: Bytes) -> u64 {
        assert!(!bytes.is_empty());
        taskring::task::id()
    }
    fn slow_task_of(_x: u64) -> u64 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        taskring::task::id()
    }
    fn text(x: u64) -> String { "x".repeat(x as usize) }
}

fn options(window: usize, chunk: usize) -> MapOptions {
    MapOptions::new().window(window).chunk(chunk)
}

/// An input that counts how far it has been read.
fn counted<'a>(read: &'a Cell<usize>, end: usize) -> impl Iterator<Item = u64> + 'a {
    (0..end as u64).inspect(|_| read.set(read.get() + 1))
}

both_kinds! {
    fn results_come_in_input_order(kind) {
        let pool = pool_of(kind, 3);
        let results: Vec<u64> = pool.map(backwards, 0..100).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(results.iter().copied().eq(0..100));
        for (window, chunk) in [(1, 1), (2, 1), (7, 1), (100, 1), (1000, 1), (1, 7), (3, 10), (10, 100), (5, 1000)] {
            let results = pool.map_with(&options(window, chunk), square, 0..100).unwrap();
            let results: Vec<u64> = results.collect::<Result<_, _>>().unwrap();
            assert!(results.iter().copied().eq((0..100).map(|x| x * x)), "window {window}, chunk {chunk}");
        }
    }

    fn automatic_chunks_follow_the_time_that_inputs_take(kind) {
        let pool = pool_of(kind, 2);
        let auto = MapOptions::new().chunk_auto();
        let sizes = |count, len| {
            let inputs = (0..count).map(|_| Bytes(vec![1; len]));
            let tasks: Vec<u64> = pool.map_with(&auto, task_of, inputs).unwrap().collect::<Result<_, _>>().unwrap();
            tasks.chunk_by(|a, b| a == b).map(<[u64]>::len).collect::<Vec<_>>()
        };
        let quick = sizes(30_000, 1);
        assert_eq!(quick[..4], [1; 4], "the first window");
        assert!((8..=1024).contains(quick.iter().max().unwrap()), "{quick:?}");
        assert!(sizes(100, 1 << 14).into_iter().max().unwrap() <= 4, "64 KiB of inputs at most");
        // Each takes more than the time that a chunk should.
        let slow = pool.map_with(&auto, slow_task_of, 0..60).unwrap();
        let mut tasks: Vec<u64> = slow.collect::<Result<_, _>>().unwrap();
        tasks.dedup();
        assert_eq!(tasks.len(), 60, "each has a task of its own");
    }

    fn automatic_chunks_are_as_others_are(kind) {
        let pool = pool_of(kind, 2);
        let auto = MapOptions::new().chunk_auto();
        let read = Cell::new(0);
        let mut map = pool.map_with(&auto.clone().window(3), square, counted(&read, 20_000)).unwrap();
        for got in 0..20_000 {
            assert_eq!(map.next(), Some(Ok(got * got)));
            assert!(read.get() <= got as usize + 5 * 1024, "{} read after {got} results", read.get());
        }
        assert_eq!(map.next(), None);
        let results = pool.map_with(&auto, no_threes, 0..5000).unwrap();
        assert!(results.zip(0..).all(|(result, x)| if x % 3 == 0 { result.is_err() } else { result == Ok(x) }));
        let mut unordered: Vec<u64> =
            pool.map_with(&auto.clone().ordered(false), square, 0..5000).unwrap().collect::<Result<_, _>>().unwrap();
        unordered.sort_unstable();
        assert!(unordered.into_iter().eq((0..5000).map(|x| x * x)));
        let inputs = (0..3000).map(Ok).chain([Err("the input failed"), Ok(1)]);
        let results: Vec<_> = pool.try_map_with(&auto, square, inputs).unwrap().collect();
        assert!(results.len() == 3001 && results[2999] == Ok(Ok(2999 * 2999)) && results[3000] == Err("the input failed"));
        assert_eq!(pool.map_with(&auto, square, []).unwrap().next(), None);
    }

    fn an_empty_input_gives_nothing(kind) {
        let pool = pool_of(kind, 1);
        for chunk in [1, 5] {
            let mut map = pool.map_with(&options(3, chunk), square, []).unwrap();
            assert_eq!((map.next(), map.next()), (None, None));
        }
    }

    fn the_input_is_read_no_further_than_the_window(kind) {
        let pool = pool_of(kind, 2);
        for (window, chunk) in [(1, 1), (2, 1), (9, 1), (1, 5), (4, 3)] {
            let read = Cell::new(0);
            let mut map = pool.map_with(&options(window, chunk), square, counted(&read, 200)).unwrap();
            assert_eq!(read.get(), window * chunk, "work starts at the call");
            for got in 1..=200 {
                assert_eq!(map.next(), Some(Ok(((got - 1) * (got - 1)) as u64)));
                let chunks_begun = (got as usize).div_ceil(chunk);
                let ahead = (chunks_begun + window) * chunk;
                assert!(read.get() <= ahead, "{} read after {got} results, window {window}, chunk {chunk}", read.get());
                assert!(read.get() >= (ahead - chunk).min(200), "the window is kept full: {} after {got}", read.get());
            }
            assert_eq!((map.next(), map.next(), read.get()), (None, None, 200));
        }
    }

    fn no_more_runs_than_the_window_allows(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 2);
        let inputs = (0..).map(|_| (board.name(), 0));
        let mut map = pool.map_with(&options(5, 1), count_in, inputs).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 5);
        for taken in 1..50 {
            map.next().unwrap().unwrap();
            wait_until(SOON, || board[0].load(SeqCst) == 5 + taken);
        }
        // The pool is quiet now, though the input goes on for ever.
        assert_eq!(pool.submit(square, 2).unwrap().result(), Ok(4));
        assert_eq!(board[0].load(SeqCst), 54);
    }

    fn the_default_window_is_twice_the_workers(kind) {
        for workers in [1, 3] {
            let pool = pool_of(kind, workers);
            let read = Cell::new(0);
            let map = pool.map(square, counted(&read, 100)).unwrap();
            assert_eq!(read.get(), 2 * workers);
            drop(map);
            assert_eq!(read.get(), 2 * workers);
        }
    }

    fn an_endless_input_is_taken_from(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 8] {
            let map = pool.map_with(&options(4, chunk), square, 0..).unwrap();
            let sum: u64 = map.take(1000).map(Result::unwrap).sum();
            assert_eq!(sum, (0..1000).map(|x| x * x).sum());
        }
    }

    fn an_error_stands_at_its_place_and_the_map_goes_on(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 4, 100] {
            let results: Vec<_> = pool.map_with(&options(4, chunk), no_threes, 0..100).unwrap().collect();
            assert_eq!(results.len(), 100);
            for (x, result) in results.iter().enumerate() {
                let wanted = if x % 3 == 0 { Err(Error::TaskFailed { summary: "three".into(), source: None }) } else { Ok(x as u64) };
                assert_eq!(*result, wanted);
            }
        }
    }

    fn a_failing_task_gives_its_place_in_the_window_back(kind) {
        let pool = pool_of(kind, 1);
        let read = Cell::new(0);
        let map = pool.map_with(&options(2, 1), no_threes, counted(&read, 500).map(|x| 3 * x)).unwrap();
        assert_eq!(map.filter(|r| r.is_err()).count(), 500);
    }

    fn an_input_that_cannot_be_submitted_is_the_last(kind) {
        let builder = Executor::builder().workers(1).start(kind).payload_max(1 << 16);
        let pool = builder.build().unwrap();
        let inputs = (0..10).map(|i| Bytes(vec![0; if i == 5 { 1 << 17 } else { 500 }]));
        let results: Vec<_> = pool.map_with(&options(3, 1), length, inputs).unwrap().collect();
        assert_eq!(results.len(), 6, "{results:?}");
        assert_eq!(results[..5], vec![Ok(500); 5]);
        assert!(matches!(results[5], Err(Error::PayloadTooLarge { .. })), "{results:?}");
    }

    fn dropping_a_map_cancels_what_has_not_started_if_it_was_advanced(kind) {
        for (chunk, ordered, advanced) in [(1, true, true), (3, true, true), (1, false, true), (1, true, false), (3, false, false)] {
            let board = Board::new(3);
            let pool = pool_of(kind, 1);
            let busy = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until(SOON, || board[0].load(SeqCst) == 1);
            let inputs = (0..).map(|_| (board.name(), 2));
            let mut map = pool.map_with(&options(20, chunk).ordered(ordered), count_in, inputs).unwrap();
            if advanced {
                assert!(matches!(map.next_timeout(Duration::ZERO), Some(Err(Error::TimedOut { .. }))));
            }
            drop(map);
            let after = pool.submit(square, 3).unwrap();
            board[1].store(1, SeqCst);
            assert_eq!((busy.result(), after.result()), (Ok(0), Ok(9)));
            let ran = if advanced { 0 } else { 20 * chunk as u64 };
            assert_eq!(board[2].load(SeqCst), ran, "of the window; chunk {chunk}, advanced {advanced}");
        }
    }

    fn dropping_a_map_half_way_leaves_the_pool_usable(kind) {
        let pool = pool_of(kind, 2);
        for taken in 0..50 {
            let mut map = pool.map_with(&options(8, 1), square, 0..).unwrap();
            for x in 0..taken {
                assert_eq!(map.next(), Some(Ok(x * x)));
            }
        }
        assert_eq!(pool.map(square, 0..10).unwrap().map(Result::unwrap).sum::<u64>(), 285);
    }

    fn a_panic_of_the_input_reaches_the_caller_and_leaves_the_pool_usable(kind) {
        let pool = pool_of(kind, 2);
        let bomb = |at: u64| (0..100).inspect(move |&x| assert_ne!(x, at, "the input is broken"));
        for chunk in [1, 3] {
            // Within the first window, at the call.
            let quiet = catch_unwind(AssertUnwindSafe(|| pool.map_with(&options(5, chunk), square, bomb(2)).map(|_| ())));
            assert!(quiet.is_err());
            // Later, when the iterator is advanced.
            let mut map = pool.map_with(&options(2, chunk), square, bomb(20)).unwrap();
            let quiet = catch_unwind(AssertUnwindSafe(|| map.by_ref().count()));
            assert!(quiet.is_err());
            drop(map);
            assert_eq!(pool.map(square, 0..10).unwrap().map(Result::unwrap).sum::<u64>(), 285);
        }
    }

    fn a_panic_of_the_input_loses_no_result(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 2, 3, 5] {
            let mut at = 0;
            // Panics once, in place of the ninth input, and then ends.
            let inputs = std::iter::from_fn(move || {
                at += 1;
                assert_ne!(at, 9, "the input is broken");
                (at < 9).then_some(at)
            });
            let mut map = pool.map_with(&options(1, chunk), square, inputs).unwrap();
            let (mut results, mut panics) = (Vec::new(), 0);
            loop {
                match catch_unwind(AssertUnwindSafe(|| map.next())) {
                    Ok(Some(result)) => results.push(result.unwrap()),
                    Ok(None) => break,
                    Err(_) => panics += 1,
                }
            }
            assert_eq!((results, panics), ((1..9).map(|x| x * x).collect(), 1), "with chunks of {chunk}");
        }
    }

    fn several_maps_share_a_ring_that_is_smaller_than_their_windows(kind) {
        let pool = small_pool(kind, 2, 4);
        let mut maps: Vec<_> = (0..5).map(|_| pool.map_with(&options(16, 1), square, 0..200).unwrap()).collect();
        for x in 0..200 {
            for map in &mut maps {
                assert_eq!(map.next(), Some(Ok(x * x)));
            }
        }
        assert!(maps.iter_mut().all(|m| m.next().is_none()));
        let futures: Vec<_> = (0..3).map(|chunk| pool.map_with(&options(16, chunk + 1), square, 0..50).unwrap()).collect();
        assert!(futures.into_iter().all(|m| m.map(Result::unwrap).sum::<u64>() == 40_425));
    }

    fn large_results_and_inputs_go_through_a_map(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 10] {
            let map = pool.map_with(&options(4, chunk), text, (0..60).map(|x| x * 37)).unwrap();
            let lens: Vec<usize> = map.map(|t| t.unwrap().len()).collect();
            assert!(lens.into_iter().eq((0..60).map(|x| x * 37)));
            let inputs = (0..60).map(|x| Bytes(vec![1; x * 37]));
            let lens: Vec<u64> = pool.map_with(&options(4, chunk), length, inputs).unwrap().map(Result::unwrap).collect();
            assert!(lens.into_iter().eq((0..60).map(|x| x * 37)));
        }
    }

    fn a_pool_that_is_shut_down_refuses_a_map(kind) {
        let pool = pool_of(kind, 1);
        let mut later = pool.map_with(&options(1, 2), square, 0..).unwrap();
        pool.shutdown(true, false).unwrap();
        for (chunk, ordered) in [(1, true), (3, true), (1, false), (3, false)] {
            let read = Cell::new(0);
            let inputs = counted(&read, usize::MAX);
            let error = pool.map_with(&options(3, chunk).ordered(ordered), square, inputs).map(drop).unwrap_err();
            assert_eq!((error, read.get()), (Error::ShutDown, chunk));
        }
        assert_eq!(pool.map_eager(square, 0..3).map(drop), Err(Error::ShutDown));
        assert_eq!(pool.for_each(square, 0..3), Err(Error::ShutDown));
        assert_eq!(pool.try_map(square, [Ok::<_, ()>(1)]).map(drop), Err(Error::ShutDown));
        // One that had begun: what it submitted is there, and each further input of a chunk has the error.
        let results: Vec<_> = later.by_ref().collect();
        assert_eq!(results, [Ok(0), Ok(1), Err(Error::ShutDown), Err(Error::ShutDown)]);
    }

    fn an_unordered_map_gives_what_ends_first(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 3] {
            let slow_first = |x: u64| if x < chunk as u64 { 300 } else { 1 };
            let results = pool.map_with(&options(8, chunk).ordered(false), sleep_for, (0..30).map(slow_first)).unwrap();
            let results: Vec<u64> = results.collect::<Result<_, _>>().unwrap();
            assert_eq!(results.len(), 30);
            let slow = results.iter().position(|&ms| ms == 300).unwrap();
            assert!(slow >= 20, "the slow one comes at place {slow}");
        }
        let results: Vec<_> = pool.map_with(&options(4, 2).ordered(false), no_threes, 1..100).unwrap().collect();
        let mut values: Vec<u64> = results.iter().filter_map(|r| r.as_ref().ok().copied()).collect();
        values.sort_unstable();
        assert!(values.iter().copied().eq((1..100).filter(|x| x % 3 != 0)) && results.len() == 99);
        // Dropped half-way: the pool is usable.
        assert!(pool.map_with(&options(4, 1).ordered(false), square, 0..).unwrap().take(10).all(|r| r.is_ok()));
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }

    fn a_maps_own_time_ends_it_and_what_is_ready_is_given(kind) {
        let pool = pool_of(kind, 1);
        for ordered in [true, false] {
            let board = Board::new(1);
            let options = options(4, 1).ordered(ordered).timeout(Duration::from_millis(150));
            let start = Instant::now();
            let mut map = pool.map_with(&options, sleep_for, [0, 600, 0, 0, 0, 0]).unwrap();
            // Asked for after its time: the first is ready, the second not.
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(map.next(), Some(Ok(0)));
            let error = map.next().unwrap().unwrap_err();
            assert!(matches!(error, Error::TimedOut { what: "all results of the map", .. }), "{error:?}");
            assert!(start.elapsed() < Duration::from_millis(500) && map.next().is_none());
            drop(map);
            pool.submit(count_in, (board.name(), 0)).unwrap().result().unwrap();
            assert!(start.elapsed() < SOON, "the rest was cancelled");
        }
    }

    fn a_map_may_be_advanced_in_another_thread(kind) {
        let pool = pool_of(kind, 2);
        let mut map = pool.map(square, 0..100).unwrap();
        assert_eq!(map.next(), Some(Ok(0)));
        let rest: u64 = std::thread::scope(|scope| scope.spawn(|| map.map(Result::unwrap).sum()).join().unwrap());
        assert_eq!(rest, (0..100).map(|x| x * x).sum());
    }
}

#[test]
fn a_window_or_chunk_of_0_is_refused() {
    let _dog = common::watchdog(60);
    let pool = pool_of(StartMethod::Spawn, 1);
    for (window, chunk) in [(0, 1), (1, 0), (0, 0)] {
        let read = Cell::new(0);
        let error = pool.map_with(&options(window, chunk), square, counted(&read, 5)).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument { value, .. } if value == "0"), "{error:?}");
        assert_eq!(read.get(), 0, "nothing was read");
    }
}

#[test]
fn a_window_of_any_size_takes_a_short_input() {
    let _dog = common::watchdog(60);
    let pool = pool_of(StartMethod::Spawn, 1);
    for chunk in [1, 1 << 20, usize::MAX] {
        let map = pool.map_with(&options(usize::MAX, chunk), square, 0..10).unwrap();
        assert_eq!(map.map(Result::unwrap).sum::<u64>(), 285);
    }
}
