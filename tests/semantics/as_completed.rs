//! Section A: futures as they end.

use crate::held::{Held, assert_shorter, given, second_pool_of};
use crate::process_support::common::square;
use crate::process_support::{LIMIT, wait_until};
use crate::support::pool_of;
use std::time::{Duration, Instant};
use taskring::{Error, Future, StartMethod, as_completed};

fn timed_out<R>(item: Option<Result<Future<R>, Error>>) -> bool {
    matches!(item, Some(Err(Error::TimedOut { .. })))
}

/// Memory of this process that is in use, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

cases! {
    /// A future is given and given back by value, so none can be there twice.
    fn semantics_a1_each_future_comes_once_from_any_iterator(kind) {
        let pool = pool_of(kind, 2);
        let generated = (0..200).map(|i| pool.submit(square, i).unwrap());
        let mut stream = as_completed(generated, Some(LIMIT));
        let mut results: Vec<u64> = stream.by_ref().map(|f| f.unwrap().result().unwrap()).collect();
        assert!(stream.next().is_none() && stream.remaining() == 0);
        results.sort_unstable();
        assert!(results.into_iter().eq((0..200).map(|i| i * i)));
        assert!(as_completed(Vec::<Future<u64>>::new(), None).next().is_none());
    }

    fn semantics_a2_what_is_over_comes_first_and_then_what_ends_first(kind) {
        let pool = pool_of(kind, 4);
        let held = Held::new(4);
        let futures = held.start_all(&pool, 0..4);
        held.finish(&futures, 2);
        held.finish(&futures, 0);
        let mut stream = as_completed(futures, Some(LIMIT));
        let mut next = || stream.next().unwrap().unwrap().result().unwrap();
        let mut over = [next(), next()];
        over.sort_unstable();
        assert_eq!(over, [given(0), given(2)]);
        held.let_go(3);
        assert_eq!(next(), given(3));
        held.let_go(1);
        assert_eq!(next(), given(1));
        assert!(stream.next().is_none());
    }

    fn semantics_a3_a_time_out_comes_after_what_has_ended(kind) {
        let pool = pool_of(kind, 3);
        let held = Held::new(2);
        let mut running = held.start_all(&pool, 0..2);
        for limit in [Duration::ZERO, Duration::from_millis(30)] {
            let over = pool.submit_bulk(square, [5, 5]).unwrap();
            wait_until("two are over", || over.iter().all(Future::is_done));
            let mut stream = as_completed(running.into_iter().chain(over), Some(limit));
            for _ in 0..2 {
                assert_eq!(stream.next().unwrap().unwrap().result(), Ok(25));
            }
            assert!(timed_out(stream.next()));
            assert_eq!((stream.next().is_none(), stream.remaining()), (true, 2));
            running = stream.into_rest();
        }
        held.let_go(0);
        held.let_go(1);
        assert!(as_completed(running, Some(LIMIT)).all(|f| f.is_ok()), "those that it gave back");
    }

    /// Different from the reference, whose clock starts when the first one is asked for.
    fn semantics_a5_the_clock_starts_at_the_call(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let mut futures = held.start_all(&pool, 0..1);
        let limit = Duration::from_millis(60);
        assert_shorter(limit, || {
            let mut stream = as_completed(std::mem::take(&mut futures), Some(limit));
            std::thread::sleep(limit);
            let asked = Instant::now();
            assert!(timed_out(stream.next()));
            let took = asked.elapsed();
            futures = stream.into_rest();
            took
        });
        held.let_go(0);
    }

    fn semantics_a6_an_iterator_that_is_given_up_leaves_nothing_behind(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let mut futures = held.start_all(&pool, 0..1);
        futures.push(pool.submit(square, 3).unwrap());
        let mut give_up = |times| {
            for _ in 0..times {
                futures = as_completed(std::mem::take(&mut futures), None).into_rest();
            }
        };
        give_up(100);
        let before = resident();
        give_up(10_000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 1 << 19, "{grown} bytes are left of 10000 iterators");
        // Dropping one drops its futures, whose tasks run all the same.
        drop(as_completed(vec![pool.submit(square, 4).unwrap()], None));
        // Before the iterator has seen both, the second may be over already and come first.
        let ends = as_completed(futures, Some(LIMIT));
        held.let_go(0);
        assert_eq!(ends.map(|f| f.unwrap().result().unwrap()).collect::<Vec<_>>(), [given(0), 9]);
    }

    fn semantics_a7_one_iterator_takes_futures_of_several_pools_and_kinds(kind) {
        let pools = [pool_of(kind, 1), second_pool_of(kind, 1), pool_of(StartMethod::Thread, 1)];
        let held = Held::new(3);
        let futures: Vec<_> = pools.iter().enumerate().map(|(i, pool)| held.start(pool, i)).collect();
        let mut stream = as_completed(futures, Some(LIMIT));
        for i in [2, 0, 1] {
            held.let_go(i);
            assert_eq!(stream.next().unwrap().unwrap().result(), Ok(given(i)));
        }
        assert!(stream.next().is_none());
    }
}
