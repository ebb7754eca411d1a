//! Section M: what maps have always done.

use crate::held::{Held, assert_shorter, given};
use crate::process_support::common::{hold, square};
use crate::support::pool_of;
use std::cell::Cell;
use std::time::{Duration, Instant};
use taskring::{Error, MapOptions, TaskError};

taskring::task! {
    fn add(a: u64, b: u64) -> u64 { a + b }
    fn no_threes(x: u64) -> Result<u64, TaskError> { if x.is_multiple_of(3) { Err(TaskError::new("three")) } else { Ok(x) } }
    /// The smaller it is, the longer it takes.
    fn slow_first(x: u64) -> u64 {
        std::thread::sleep(std::time::Duration::from_millis(8 - x.min(8)));
        x
    }
}

fn options(window: usize, chunk: usize) -> MapOptions {
    MapOptions::new().window(window).chunk(chunk)
}

/// Numbers without an end, which counts how far it has been read.
fn counted(read: &Cell<usize>) -> impl Iterator<Item = u64> {
    (0..).inspect(|_| read.set(read.get() + 1))
}

cases! {
    fn semantics_m1_zipped_inputs_end_with_the_shortest(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 2] {
            let sums: Vec<_> = pool.map_with(&options(4, chunk), add, (0..3).zip(10..)).unwrap().collect();
            assert_eq!(sums, [Ok(10), Ok(12), Ok(14)]);
            let sums: Vec<_> = pool.map_with(&options(4, chunk), add, (10..).zip([1, 2])).unwrap().collect();
            assert_eq!(sums, [Ok(11), Ok(13)]);
            assert!(pool.map_with(&options(4, chunk), add, (0..0).zip(0..)).unwrap().next().is_none());
        }
    }

    fn semantics_m3_results_and_errors_stand_at_the_places_of_their_inputs(kind) {
        let pool = pool_of(kind, 4);
        let results: Vec<u64> = pool.map(slow_first, 0..10).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(results.into_iter().eq(0..10), "though the first ones end last");
        for (x, result) in pool.map(no_threes, 0..30).unwrap().enumerate() {
            let failed = Err(Error::TaskFailed { summary: "three".into(), source: None });
            assert_eq!(result, if x % 3 == 0 { failed } else { Ok(x as u64) });
        }
    }

    fn semantics_m4_the_time_of_a_map_starts_at_the_call_and_what_is_ready_is_given_after_it(kind) {
        let pool = pool_of(kind, 2);
        let limit = Duration::from_millis(80);
        assert_shorter(limit, || {
            let held = Held::new(2);
            held.let_go(0);
            let called = Instant::now();
            let inputs = [held.input(0), held.input(1)];
            let mut map = pool.map_with(&options(2, 1).timeout(limit), hold, inputs).unwrap();
            std::thread::sleep(limit);
            let asked = Instant::now();
            // On a busy machine the first one may not have run in time. Then this says nothing.
            let first = map.next().unwrap();
            let error = first.clone().err().or_else(|| map.next().unwrap().err()).unwrap();
            assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
            assert!(called.elapsed() >= limit && map.next().is_none());
            let took = asked.elapsed();
            held.let_go(1);
            if first == Ok(given(0)) { took } else { limit }
        });
    }

    /// That it is a number at all the compiler sees to.
    fn semantics_m7_a_window_of_0_is_refused_at_the_call(kind) {
        let pool = pool_of(kind, 1);
        let read = Cell::new(0);
        let refused = pool.map_with(&options(0, 1), square, counted(&read)).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, Error::InvalidArgument { value, .. } if value == "0"), "{refused:?}");
        assert_eq!(read.get(), 0);
        assert_eq!(pool.map_with(&options(1, 1), square, 0..3).unwrap().map(Result::unwrap).sum::<u64>(), 5);
    }

    /// Different from the reference, which has one more in flight while it waits.
    fn semantics_m8_an_endless_input_is_read_as_far_as_the_window_and_no_further(kind) {
        let pool = pool_of(kind, 2);
        for window in [1, 2, 9] {
            let read = Cell::new(0);
            let mut map = pool.map_with(&options(window, 1), square, counted(&read)).unwrap();
            assert_eq!(read.get(), window, "at the call");
            for x in 0..50 {
                assert_eq!(map.next(), Some(Ok(x * x)));
                assert_eq!(read.get(), window + x as usize + 1, "one for each that was given");
            }
        }
    }

    fn semantics_m10_a_chunk_has_at_least_one_input_and_may_be_larger_than_all(kind) {
        let pool = pool_of(kind, 1);
        let read = Cell::new(0);
        let refused = pool.map_with(&options(1, 0), square, counted(&read)).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, Error::InvalidArgument { value, .. } if value == "0"), "{refused:?}");
        assert_eq!(read.get(), 0);
        for chunk in [11, 1000, usize::MAX] {
            assert_eq!(pool.map_with(&options(2, chunk), square, 0..10).unwrap().map(Result::unwrap).sum::<u64>(), 285);
        }
    }

    /// Different from the reference, where a failure takes the earlier results of its chunk with it.
    fn semantics_m11_the_window_counts_chunks_and_a_failure_is_that_of_its_item_alone(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [2, 5] {
            let read = Cell::new(0);
            let mut map = pool.map_with(&options(3, chunk), no_threes, counted(&read)).unwrap();
            assert_eq!(read.get(), 3 * chunk);
            for x in 0..20 {
                assert_eq!(map.next().unwrap().ok(), (x % 3 != 0).then_some(x), "chunks of {chunk}");
            }
        }
    }
}
