//! Promises (F8, F9), and futures of several kinds in one wait (W11, A7).

use crate::process_support::common::{Board, hold, square};
use crate::process_support::wait_until;
use crate::support::pool_of;
use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Bytes, Error, Future, Promise, State, When, as_completed, wait};

/// How many promises may be unfinished.
const PROMISES_MAX: usize = 1 << 14;

fn promise<R>() -> (Promise<R>, Future<R>) {
    let promise = Promise::new().expect("room for a promise");
    let future = promise.future().expect("the first call");
    assert!(promise.future().is_none(), "there is one");
    (promise, future)
}

fn is_invalid<T>(result: Result<T, Error>, is: &str) -> bool {
    matches!(result, Err(Error::InvalidState { state, .. }) if state == is)
}

cases! {
    fn semantics_f8_a_pending_promise_is_set_running_once(_kind) {
        let (promise, future) = promise::<u64>();
        assert_eq!(future.state(), State::Pending);
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(true));
        assert_eq!((future.state(), future.worker_pid()), (State::Running, Some(std::process::id())));
        assert!(is_invalid(promise.set_running_or_notify_cancel(), "running"));
        assert!(!promise.cancel_requested() && !future.cancel() && promise.cancel_requested(), "it is only asked");
        assert_eq!(future.state(), State::Running);
        promise.set_result(5).unwrap();
        assert!(is_invalid(promise.set_running_or_notify_cancel(), "done"));
        assert_eq!(future.result(), Ok(5));
        assert!(is_invalid(promise.set_running_or_notify_cancel(), "done") && !promise.cancel_requested());
    }

    fn semantics_f8_a_cancelled_promise_does_not_begin_and_who_waits_has_heard_of_it(_kind) {
        let (promise, future) = promise::<u64>();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait([&future], None, When::AllCompleted));
            assert!(future.cancel());
            assert_eq!(waiter.join().expect("no panic").expect("it is over").done.len(), 1, "before the maker hears of it");
        });
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(false));
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(false), "again");
        assert_eq!(future.result(), Err(Error::Cancelled));
        // The slot is free now, and then another's.
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(false));
        assert!(future.cancel());
    }

    fn semantics_f9_a_result_and_an_error_are_set_from_pending_and_from_running(_kind) {
        for running in [false, true] {
            let ((good, result), (bad, error)) = (promise::<String>(), promise::<String>());
            if running {
                assert!(good.set_running_or_notify_cancel().unwrap() && bad.set_running_or_notify_cancel().unwrap());
            }
            good.set_result("value".into()).unwrap();
            bad.set_error("x".parse::<u64>().unwrap_err()).unwrap();
            assert!(result.is_done() && error.is_done());
            assert_eq!(result.result(), Ok("value".into()));
            let message = "invalid digit found in string".to_owned();
            assert_eq!(error.result(), Err(Error::TaskFailed { summary: message, source: None }));
        }
    }

    fn semantics_f9_what_is_over_refuses_another_end_and_keeps_its_own(_kind) {
        let ((first, result), (second, error), (third, cancelled)) = (promise::<u64>(), promise::<u64>(), promise::<u64>());
        first.set_result(1).unwrap();
        second.set_error(taskring::TaskError::new("first")).unwrap();
        assert!(cancelled.cancel());
        for collected in [false, true] {
            for (promise, state) in [(&first, "done"), (&second, "done"), (&third, "cancelled")] {
                assert!(is_invalid(promise.set_result(9), state), "{state} {collected}");
                assert!(is_invalid(promise.set_error(taskring::TaskError::new("late")), state), "{state} {collected}");
            }
            assert_eq!(result.result(), Ok(1));
            assert_eq!(error.result(), Err(Error::TaskFailed { summary: "first".into(), source: None }));
            assert_eq!(cancelled.result(), Err(Error::Cancelled));
        }
        let text = third.set_result(9).unwrap_err().to_string();
        assert_eq!(text, "the task is cancelled; wanted pending or running");
    }

    fn semantics_f9_of_a_cancel_and_a_result_at_the_same_time_exactly_one_succeeds(_kind) {
        const ROUNDS: usize = 2000;
        let ends = (0..ROUNDS).map(|_| promise::<u64>()).collect::<Vec<_>>();
        let (start, wins) = (Barrier::new(2), Board::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                for (promise, _) in &ends {
                    match promise.set_result(7) {
                        Ok(()) => _ = wins[0].fetch_add(1, SeqCst),
                        refused => assert!(is_invalid(refused, "cancelled")),
                    }
                }
            });
            start.wait();
            for (_, future) in ends.iter().rev() {
                let (cancelled, result) = (future.cancel(), future.result());
                assert_eq!(result, if cancelled { Err(Error::Cancelled) } else { Ok(7) });
                wins[1].fetch_add(u64::from(cancelled), SeqCst);
            }
        });
        assert_eq!(wins[0].load(SeqCst) + wins[1].load(SeqCst), ROUNDS as u64);
    }

    fn semantics_f9_of_several_threads_one_completes_a_promise(_kind) {
        for round in 0..200 {
            let (promise, future) = promise::<(u64, Vec<u64>)>();
            let (promise, start) = (&promise, &Barrier::new(4));
            let winners: Vec<u64> = std::thread::scope(|scope| {
                let set = |i: u64| scope.spawn(move || {
                    start.wait();
                    // Some fit into the slot, and others do not.
                    promise.set_result((i, vec![i; (round % 2) * 100])).ok().map(|()| i)
                });
                let threads: Vec<_> = (0..4).map(set).collect();
                threads.into_iter().filter_map(|t| t.join().expect("no panic")).collect()
            });
            let (winner, values) = future.result().unwrap();
            assert_eq!(winners, [winner]);
            assert!(values.iter().all(|&value| value == winner));
        }
    }

    fn semantics_f9_a_promise_that_is_dropped_ends_its_future(_kind) {
        let ((pending, cancelled), (running, failed), (over, result)) = (promise::<u64>(), promise::<u64>(), promise::<u64>());
        assert_eq!(running.set_running_or_notify_cancel(), Ok(true));
        over.set_result(3).unwrap();
        std::thread::scope(|scope| {
            let waiters = [scope.spawn(|| cancelled.result()), scope.spawn(|| failed.result())];
            drop((pending, running, over));
            let [cancelled, failed] = waiters.map(|waiter| waiter.join().expect("no panic"));
            assert_eq!(cancelled, Err(Error::Cancelled));
            let message = "the promise was dropped before it was completed".to_owned();
            assert_eq!(failed, Err(Error::TaskFailed { summary: message, source: None }));
        });
        assert_eq!(result.result(), Ok(3));
    }

    fn semantics_f9_a_large_result_goes_through_and_comes_back_when_nobody_asks(_kind) {
        let page = Bytes::from(vec![7; 1 << 20]);
        for i in 0..400 {
            let (promise, future) = promise::<Bytes>();
            match i % 4 {
                0 => drop(future),
                1 => assert!(future.cancel()),
                2 => _ = promise.set_running_or_notify_cancel(),
                _ => {}
            }
            assert_eq!(promise.set_result(page.clone()).is_ok(), i % 4 != 1);
        }
        let (promise, future) = promise::<Bytes>();
        promise.set_result(page.clone()).unwrap();
        assert_eq!(future.result(), Ok(page));
    }

    fn semantics_f9_there_is_room_for_as_many_unfinished_promises_as_it_says(_kind) {
        // Those that are over, whoever let them go, take no room.
        for _ in 0..2 {
            for i in 0..PROMISES_MAX {
                let (promise, future) = promise::<u64>();
                match i % 3 {
                    0 => drop((promise, future)),
                    1 => drop((future, promise.set_result(1))),
                    _ => assert!(future.cancel()),
                }
            }
        }
        let mut all: Vec<_> = (0..PROMISES_MAX).map(|_| promise::<u64>()).collect();
        assert_eq!(Promise::<u64>::new().map(drop), Err(Error::Full { capacity: PROMISES_MAX }));
        all.remove(PROMISES_MAX / 2).0.set_result(1).unwrap();
        let (last, result) = promise::<u64>();
        last.set_result(4).unwrap();
        assert_eq!(result.result(), Ok(4));
    }

    fn semantics_f9_a_promise_may_take_longer_than_a_pool_looks_after_its_tasks(_kind) {
        // Whoever waits for so long looks for tasks that nobody can run, and for words that nobody can have written.
        let ((promise, result), (pending, untouched)) = (promise::<u64>(), promise::<u64>());
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(true));
        let limit = Duration::from_millis(2600);
        assert!(matches!(result.result_timeout(limit), Err(Error::TimedOut { .. })));
        assert_eq!((result.state(), untouched.state()), (State::Running, State::Pending));
        promise.set_result(2).unwrap();
        pending.set_result(3).unwrap();
        assert_eq!((result.result(), untouched.result()), (Ok(2), Ok(3)));
    }

    fn semantics_f9_the_end_of_the_process_does_not_wait_for_promises(_kind) {
        // Were they waited for, this case's program would not end.
        let (pending, running) = (promise::<u64>(), promise::<u64>());
        assert_eq!(running.0.set_running_or_notify_cancel(), Ok(true));
        std::mem::forget((pending, running));
    }

    fn semantics_f9_a_forked_child_has_promises_of_its_own(_kind) {
        let (inherited, future) = promise::<u64>();
        // SAFETY: this program has one thread, so the child may do whatever it could.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let is_inert = inherited.set_result(1) == Err(Error::Forked)
                && inherited.set_running_or_notify_cancel() == Err(Error::Forked)
                && future.result() == Err(Error::Forked);
            let (own, result) = promise::<u64>();
            let works = own.set_result(6).is_ok() && result.result() == Ok(6);
            drop((inherited, future));
            // SAFETY: the call takes an integer.
            unsafe { libc::_exit(i32::from(!(is_inert && works))) };
        }
        let mut status = 0;
        // SAFETY: the child is ours, and the integer is valid for a write.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        inherited.set_result(8).unwrap();
        assert_eq!(future.result(), Ok(8));
    }

    fn semantics_w11_one_wait_takes_a_promise_and_tasks_of_two_kinds_of_workers(kind) {
        let pool = pool_of(kind, 1);
        let threads = pool_of(taskring::StartMethod::Thread, 1);
        let (gate, other) = (Board::new(2), Board::new(2));
        let (promise, promised) = promise::<u64>();
        let futures = [pool.submit(hold, (gate.name(), 0)).unwrap(), promised, threads.submit(hold, (other.name(), 0)).unwrap()];
        std::thread::scope(|scope| {
            let first = scope.spawn(|| wait(&futures, None, When::FirstCompleted).unwrap());
            promise.set_result(5).unwrap();
            assert_eq!(first.join().expect("no panic").done, [1]);
        });
        gate[1].store(1, SeqCst);
        wait_until("the first task ends", || futures[0].is_done());
        let two = wait(&futures, Some(Duration::ZERO), When::AllCompleted).unwrap();
        assert_eq!((two.done, two.not_done), (vec![0, 1], vec![2]));
        other[1].store(1, SeqCst);
        assert_eq!(wait(&futures, None, When::AllCompleted).unwrap().done, [0, 1, 2]);
        assert_eq!(futures[1].result(), Ok(5));
    }

    fn semantics_w11_a_promise_that_fails_ends_a_wait_for_the_first_exception(kind) {
        let pool = pool_of(kind, 1);
        let gate = Board::new(2);
        let (promise, promised) = promise::<u64>();
        let futures = [pool.submit(hold, (gate.name(), 0)).unwrap(), promised];
        promise.set_error(taskring::TaskError::new("no")).unwrap();
        assert_eq!(wait(&futures, None, When::FirstException).unwrap().done, [1]);
        gate[1].store(1, SeqCst);
    }

    fn semantics_a7_promises_and_tasks_come_out_together_as_they_end(kind) {
        let pool = pool_of(kind, 1);
        let threads = pool_of(taskring::StartMethod::Thread, 1);
        let promises: Vec<_> = (0..10).map(|_| promise::<u64>()).collect();
        let (makers, mut futures): (Vec<_>, Vec<_>) = promises.into_iter().unzip();
        assert!(futures[0].cancel());
        futures.extend((0..10).map(|x| pool.submit(square, x).unwrap()));
        futures.extend((0..10).map(|x| threads.submit(square, x).unwrap()));
        let ids: Vec<_> = futures.iter().map(Future::id).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (i, maker) in makers.iter().enumerate().skip(1) {
                    maker.set_result(i as u64).unwrap();
                }
            });
            let mut results = Vec::new();
            for future in as_completed(futures, None) {
                let future = future.unwrap();
                assert!(future.is_done());
                results.push(future.result().ok());
            }
            assert_eq!(results.len(), ids.len());
            let kinds: HashSet<_> = results.iter().collect();
            assert!(kinds.contains(&None) && kinds.contains(&Some(81)));
            assert_eq!(results.iter().filter(|&&result| result == Some(9)).count(), 3, "3 * 3 in each pool, and a promise");
        });
    }
}
