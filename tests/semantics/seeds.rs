//! Section L as far as an executor has it: what it is made of, a call that is waited for, no input, tuples as inputs, and how far an input is read.

use crate::process_support::common::{Board, fail_with, hold, square};
use crate::process_support::wait_until;
use crate::support::pool_of;
use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, MapOptions, When, as_completed, wait};

taskring::task! {
    fn difference(a: u64, b: u64) -> Result<u64, taskring::TaskError> {
        a.checked_sub(b).ok_or_else(|| taskring::TaskError::new(format!("{a} is less than {b}")))
    }
}

cases! {
    fn semantics_l1_a_pool_has_as_many_workers_as_it_was_made_with_and_at_least_one(kind) {
        let pool = pool_of(kind, 3);
        assert_eq!(pool.workers(), 3);
        let board = Board::new(2);
        let held = pool.submit_bulk(hold, (0..4).map(|_| (board.name(), 0))).unwrap();
        wait_until("three run at the same time", || board[0].load(SeqCst) == 3);
        // The fourth has no worker to run it before one of the others ends.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(board[0].load(SeqCst), 3);
        board[1].store(1, SeqCst);
        assert!(held.iter().all(|future| future.result() == Ok(0)));
        for workers in [0, 193] {
            match Executor::builder().workers(workers).start(kind).build() {
                Err(Error::InvalidArgument { name: "workers", value, .. }) => assert_eq!(value, workers.to_string()),
                other => panic!("{workers} workers: {other:?}"),
            }
        }
    }

    fn semantics_l3_a_call_that_is_waited_for_gives_its_result_or_its_error(kind) {
        let pool = pool_of(kind, 2);
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
        let failed = pool.submit(fail_with, "a reason".to_owned()).unwrap().result();
        assert_eq!(failed, Err(Error::TaskFailed { summary: "a reason".to_owned(), source: None }));
        assert_eq!(pool.submit(square, 6).unwrap().result(), Ok(36), "the pool goes on");
    }

    fn semantics_l5_of_no_input_comes_no_result_and_nothing_waits(kind) {
        let pool = pool_of(kind, 1);
        // Its only worker is busy: whatever waited for a task would wait for ever.
        let board = Board::new(2);
        let held = pool.submit(hold, (board.name(), 0)).unwrap();
        for options in [MapOptions::new(), MapOptions::new().chunk(10), MapOptions::new().ordered(false)] {
            assert!(pool.map_with(&options, square, []).unwrap().next().is_none(), "{options:?}");
        }
        let futures = pool.submit_bulk(square, []).unwrap();
        assert!(futures.is_empty());
        for when in [When::FirstCompleted, When::FirstException, When::AllCompleted] {
            let waited = wait(&futures, None, when).unwrap();
            assert!(waited.done.is_empty() && waited.not_done.is_empty());
        }
        assert!(as_completed(futures, None).next().is_none());
        board[1].store(1, SeqCst);
        assert_eq!(held.result(), Ok(0));
    }

    fn semantics_l8_a_task_with_several_arguments_is_mapped_over_tuples(kind) {
        let pool = pool_of(kind, 2);
        let inputs: Vec<(u64, u64)> = (0..20).map(|x| (x * x, x)).collect();
        for chunk in [1, 6] {
            let results = pool.map_with(&MapOptions::new().chunk(chunk), difference, inputs.clone()).unwrap();
            let results: Vec<u64> = results.collect::<Result<_, _>>().unwrap();
            assert_eq!(results, inputs.iter().map(|(a, b)| a - b).collect::<Vec<_>>(), "chunks of {chunk}");
        }
        let mut results = pool.map(difference, [(1, 2), (2, 1)]).unwrap();
        assert_eq!(results.next(), Some(Err(Error::TaskFailed { summary: "1 is less than 2".to_owned(), source: None })));
        assert_eq!(results.next(), Some(Ok(1)));
    }

    /// In `multiprocessing` a thread reads all of it: an endless input fills the memory.
    fn semantics_l12_an_endless_input_is_read_no_further_than_the_window(kind) {
        let pool = pool_of(kind, 2);
        let read = Cell::new(0);
        let endless = std::iter::from_fn(|| {
            read.set(read.get() + 1);
            Some(read.get())
        });
        let mut results = pool.map_with(&MapOptions::new().window(5), square, endless).unwrap();
        assert_eq!(read.get(), 5, "at the call");
        for x in 1..=100 {
            assert_eq!(results.next(), Some(Ok(x * x)));
            assert!(read.get() <= x + 5, "{} after {x} results", read.get());
        }
    }
}
