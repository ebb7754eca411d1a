//! Section M, and what other sections say of maps.

use crate::process_support::common::{Board, SOON, count_in, hold, square};
use crate::process_support::wait_until;
use crate::support::pool_of;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, Future, MapOptions, StartMethod, State, TaskError};

taskring::task! {
    /// Counts itself in cell 0, and gives its input. The one of 3 waits for cell 1, and fails.
    fn third_waits_and_fails(board: String, x: u64) -> Result<u64, TaskError> {
        let cells = Board::at(&board);
        cells[0].fetch_add(1, SeqCst);
        if x == 3 {
            wait_until("to be let go", || cells[1].load(SeqCst) != 0);
            return Err(TaskError::new("the third"));
        }
        Ok(x)
    }
    /// Counts itself in the cell, if there is one.
    fn fails_by_cell(board: String, cell: u64) -> Result<u64, TaskError> {
        let cells = Board::at(&board);
        let cell = cells.get(cell as usize).ok_or_else(|| TaskError::new(cell.to_string()))?;
        Ok(cell.fetch_add(1, SeqCst))
    }
    fn no_threes(x: u64) -> Result<u64, TaskError> { if x.is_multiple_of(3) { Err(TaskError::new("three")) } else { Ok(x) } }
}

fn options(window: usize, chunk: usize) -> MapOptions {
    MapOptions::new().window(window).chunk(chunk)
}

/// An input that counts how far it has been read.
fn counted(read: &Cell<u64>, end: u64) -> impl Iterator<Item = u64> {
    (0..end).inspect(|_| read.set(read.get() + 1))
}

/// Inputs that end with an error of their own.
fn failing_at(end: u64) -> impl Iterator<Item = Result<u64, &'static str>> {
    (0..end).map(Ok).chain([Err("the input failed"), Ok(1), Err("not read")])
}

/// A pool whose only worker is busy until `board[1]` is set.
fn busy_pool(kind: StartMethod, board: &Board) -> (Executor, Future<u64>) {
    let pool = pool_of(kind, 1);
    let busy = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until("the task runs", || busy.state() == State::Running && board[0].load(SeqCst) == 1);
    (pool, busy)
}

fn is_timeout<T>(next: Option<Result<T, Error>>) -> bool {
    matches!(next, Some(Err(Error::TimedOut { .. })))
}

cases! {
    fn semantics_m2_an_eager_map_submits_all_of_its_input_at_the_call(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        let read = Cell::new(0);
        let inputs = counted(&read, 200).map(|_| (board.name(), 2));
        let mut map = pool.map_eager(count_in, inputs).unwrap();
        assert_eq!(read.get(), 200, "before the first result");
        assert!(is_timeout(map.next_timeout(Duration::ZERO)));
        board[1].store(1, SeqCst);
        wait_until("all of them ran", || board[2].load(SeqCst) == 200);
        assert_eq!(map.map(Result::unwrap).sum::<u64>(), 199 * 200 / 2);
        busy.result().unwrap();
        assert!(pool.map_eager(square, []).unwrap().next().is_none());
    }

    fn semantics_m5_a_failing_task_does_not_end_a_map_and_its_time_does(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        let results: Vec<_> = pool.map_with(&options(4, 2), no_threes, 0..9).unwrap().collect();
        let failed: Vec<_> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [true, false, false, true, false, false, true, false, false]);
        board[1].store(0, SeqCst);
        let inputs = std::iter::once((board.name(), 0)).chain((0..).map(|_| (board.name(), 1)));
        let timed = options(9, 1).timeout(Duration::from_millis(50));
        let mut map = pool.map_with(&timed, hold, inputs).unwrap();
        wait_until("its first task runs", || board[0].load(SeqCst) == 2);
        assert!(is_timeout(map.next()));
        assert!(map.next().is_none() && map.next().is_none());
        board[1].store(1, SeqCst);
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 2, "the one before, and the one that ran");
        assert_eq!(board[1].load(SeqCst), 1, "the rest was cancelled");
    }

    fn semantics_m6_dropping_an_advanced_map_cancels_its_pending_rest(kind) {
        let pool = pool_of(kind, 1);
        for chunk in [1, 4] {
            let board = Board::new(3);
            let busy = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until("the task runs", || board[0].load(SeqCst) == 1);
            let mut map = pool.map_with(&options(8, chunk), count_in, (0..).map(|_| (board.name(), 2))).unwrap();
            assert!(is_timeout(map.next_timeout(Duration::ZERO)));
            drop(map);
            let after = pool.submit(square, 3).unwrap();
            board[1].store(1, SeqCst);
            assert_eq!((busy.result(), after.result()), (Ok(0), Ok(9)));
            assert_eq!(board[2].load(SeqCst), 0);
        }
    }

    fn semantics_m14_a_map_that_is_never_advanced_runs_what_it_submitted(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        let inputs = || (0..100).map(|_| (board.name(), 2));
        drop(pool.map_with(&options(8, 4), count_in, inputs()).unwrap());
        drop(pool.map_with(&options(8, 1).ordered(false), count_in, inputs()).unwrap());
        drop(pool.map_eager(count_in, inputs()).unwrap());
        drop(pool.try_map_with(&options(3, 1), count_in, inputs().map(Ok::<_, ()>)).unwrap());
        let kept = pool.map(count_in, inputs()).unwrap();
        board[1].store(1, SeqCst);
        busy.result().unwrap();
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[2].load(SeqCst), 32 + 8 + 100 + 3 + 2, "the window of each, or all; unread input is not read");
        drop(kept);
    }

    fn semantics_m13_a_pool_that_refuses_is_an_error_of_the_call(kind) {
        let pool = pool_of(kind, 1);
        let set = pool.task_set().unwrap();
        set.discard().unwrap();
        let in_set = MapOptions::new().submit(taskring::SubmitOptions::new().set(&set));
        assert_eq!(pool.map_with(&in_set, square, 0..).map(drop), Err(Error::Discarded));
        // In the middle: the pool is shut down while the input is read.
        let board = Board::new(3);
        let inputs = (0..9).map(|x| {
            if x == 6 {
                pool.shutdown(false, false).unwrap();
            }
            (board.name(), 2)
        });
        assert_eq!(pool.map_with(&options(9, 2), count_in, inputs).map(drop), Err(Error::ShutDown));
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[2].load(SeqCst), 6, "what was submitted runs");
    }

    /// The reference reads all of its input at the call, and of this one would never come back.
    fn semantics_b6_a_map_works_from_the_call_on_and_reads_two_inputs_for_each_worker_ahead(kind) {
        for workers in [1, 2, 5] {
            let (pool, board) = (pool_of(kind, workers), Board::new(1));
            let (read, ahead) = (Cell::new(0), 2 * workers as u64);
            let mut map = pool.map(count_in, counted(&read, u64::MAX).map(|_| (board.name(), 0))).unwrap();
            assert_eq!(read.get(), ahead, "at the call");
            wait_until("they run, though nobody asks", || board[0].load(SeqCst) == ahead);
            assert_eq!(read.get(), ahead, "and nothing else is read");
            for given in 1..=30 {
                assert!(map.next().is_some_and(|result| result.is_ok()));
                assert_eq!(read.get(), ahead + given, "one for each result that was given");
            }
        }
    }

    fn semantics_b6_for_each_runs_all_and_gives_the_first_error_of_the_input(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 2);
        // More than the ring holds.
        let count = 2 * pool.capacity() as u64 + 7;
        assert_eq!(pool.for_each(count_in, (0..count).map(|_| (board.name(), 0))), Ok(()));
        assert_eq!(board[0].load(SeqCst), count, "all are over when it returns");
        board[0].store(0, SeqCst);
        let inputs = (0..40).map(|x| if x % 7 == 5 { (board.name(), 3 + x) } else { (board.name(), 0) });
        let error = pool.for_each(fails_by_cell, inputs).unwrap_err();
        assert_eq!(error, Error::TaskFailed { summary: "8".into(), source: None });
        assert_eq!(board[0].load(SeqCst), 35, "a failure stops nothing");
        assert_eq!(pool.for_each(square, []), Ok(()));
    }

    fn semantics_l14_s5_a_result_that_is_not_there_in_time_may_be_asked_for_again(kind) {
        let pool = pool_of(kind, 2);
        for (chunk, ordered) in [(1, true), (3, true), (20, true), (1, false), (3, false), (20, false)] {
            let board = Board::new(2);
            let inputs = (0..12).map(|x| (board.name(), x + 1));
            let mut map = pool.map_with(&options(2, chunk).ordered(ordered), third_waits_and_fails, inputs).unwrap();
            let (mut values, mut failed, mut timeouts) = (Vec::new(), 0, 0);
            while let Some(next) = map.next_timeout(Duration::from_millis(20)) {
                match next {
                    Ok(x) => values.push(x),
                    Err(Error::TimedOut { .. }) => {
                        timeouts += 1;
                        board[1].store(1, SeqCst);
                    }
                    Err(e) => {
                        assert_eq!(e, Error::TaskFailed { summary: "the third".into(), source: None });
                        failed += 1;
                    }
                }
            }
            values.sort_unstable();
            assert_eq!((values, failed), ((1..13).filter(|&x| x != 3).collect(), 1), "chunk {chunk}");
            assert!(timeouts > 0);
            assert!(map.next_timeout(SOON).is_none());
        }
    }

    fn semantics_l13_an_error_of_the_input_stands_at_its_place(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 3, 4, 100] {
            for window in [1, 2, 50] {
                for ordered in [true, false] {
                    let how = options(window, chunk).ordered(ordered);
                    let mut map = pool.try_map_with(&how, square, failing_at(8)).unwrap();
                    let mut squares: Vec<u64> = map.by_ref().map_while(Result::ok).map(Result::unwrap).collect();
                    squares.sort_unstable();
                    assert!(squares.into_iter().eq((0..8).map(|x| x * x)), "chunk {chunk}, window {window}");
                    assert!(map.next().is_none() && map.next().is_none(), "the error was the last");
                }
            }
        }
        let mut at_once = pool.try_map(square, failing_at(0)).unwrap();
        assert_eq!(at_once.next(), Some(Err("the input failed")));
        assert_eq!(at_once.next(), None);
        // Failures of tasks are not those of the input.
        let results: Vec<_> = pool.try_map(no_threes, failing_at(5)).unwrap().collect();
        let failed = || Ok(Err(Error::TaskFailed { summary: "three".into(), source: None }));
        assert_eq!(results, [failed(), Ok(Ok(1)), Ok(Ok(2)), failed(), Ok(Ok(4)), Err("the input failed")]);
    }

    fn semantics_s7_an_input_that_fails_or_panics_cancels_nothing_and_the_pool_goes_on(kind) {
        let board = Board::new(3);
        let (pool, busy) = busy_pool(kind, &board);
        let counts = || (0..6).map(|_| (board.name(), 2));
        let mut failing = pool.try_map_with(&options(9, 4), count_in, counts().map(Ok).chain([Err("failed")])).unwrap();
        let bomb = || counts().chain(std::iter::once_with(|| panic!("the input is broken")));
        for chunk in [1, 4] {
            let call = || pool.map_with(&options(9, chunk), count_in, bomb()).map(drop);
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "it is read at the call");
        }
        assert!(catch_unwind(AssertUnwindSafe(|| pool.for_each(count_in, bomb()))).is_err());
        board[1].store(1, SeqCst);
        assert_eq!(failing.by_ref().map_while(Result::ok).filter(Result::is_ok).count(), 6);
        assert_eq!(failing.next(), None);
        // Of the chunk of four that the panic cut short, nothing was submitted.
        wait_until("the rest ran", || board[2].load(SeqCst) == 6 + 6 + 4 + 6);
        assert_eq!(pool.map(square, 0..10).unwrap().map(Result::unwrap).sum::<u64>(), 285);
        busy.result().unwrap();
    }

    fn semantics_s6_cancelling_stops_a_chunk_between_two_items(kind) {
        let pool = pool_of(kind, 1);
        for ordered in [true, false] {
            let board = Board::new(2);
            let inputs = (1..=20).map(|x| (board.name(), x));
            let mut map = pool.map_with(&options(2, 8).ordered(ordered), third_waits_and_fails, inputs).unwrap();
            wait_until("the third runs", || board[0].load(SeqCst) == 3);
            map.cancel();
            board[1].store(1, SeqCst);
            let results: Vec<_> = map.by_ref().collect();
            let mut wanted = vec![Ok(1), Ok(2), Err(Error::TaskFailed { summary: "the third".into(), source: None })];
            wanted.resize(16, Err(Error::Cancelled));
            // Of the unordered map the second chunk may come first, for it was over at once.
            let at = if ordered { 0 } else { results.iter().position(Result::is_ok).unwrap() };
            assert_eq!((at % 8, results.len()), (0, 16), "what was not read does not come: {results:?}");
            let chunks = [&results[at..], &results[..at]].concat();
            assert_eq!(chunks, wanted);
            assert_eq!(board[0].load(SeqCst), 3, "the others did not begin");
            assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        }
    }

    fn semantics_s6_dropping_a_map_stops_its_chunk_between_two_items(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let inputs = (1..=20).map(|x| (board.name(), x));
        let mut map = pool.map_with(&options(2, 8), third_waits_and_fails, inputs).unwrap();
        wait_until("the third runs", || board[0].load(SeqCst) == 3);
        assert!(is_timeout(map.next_timeout(Duration::ZERO)));
        drop(map);
        board[1].store(1, SeqCst);
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 3);
    }

    fn semantics_l11_l15_results_come_lazily_in_order_or_as_they_end(kind) {
        let pool = pool_of(kind, 2);
        assert!(matches!(pool.map_with(&options(1, 0), square, 0..).map(drop), Err(Error::InvalidArgument { .. })));
        let read = Cell::new(0);
        let mut map = pool.map_with(&options(3, 1), square, counted(&read, 1000)).unwrap();
        assert_eq!((read.get(), map.next(), map.next()), (3, Some(Ok(0)), Some(Ok(1))));
        assert!(read.get() < 7, "the input is read as results are taken");
        drop(map);
        let board = Board::new(2);
        let inputs = [3, 1, 2].map(|x| (board.name(), x));
        let mut unordered = pool.map_with(&options(3, 1).ordered(false), third_waits_and_fails, inputs).unwrap();
        let mut first = [unordered.next().unwrap().unwrap(), unordered.next().unwrap().unwrap()];
        first.sort_unstable();
        assert_eq!(first, [1, 2], "the slow one is not waited for");
        board[1].store(1, SeqCst);
        assert!(unordered.next().unwrap().is_err() && unordered.next().is_none());
    }
}
