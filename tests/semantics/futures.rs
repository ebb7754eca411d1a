//! Section F: futures.

use crate::held::{Held, given};
use crate::process_support::LIMIT;
use crate::process_support::common::{fail_with, square};
use crate::support::pool_of;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use taskring::{Error, Future, State, When, as_completed, wait};

cases! {
    fn semantics_f1_cancel_succeeds_until_a_worker_starts_the_task_and_again_after_it(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let running = held.start(&pool, 0);
        let pending = pool.submit(square, 3).unwrap();
        assert!(!running.cancel(), "it runs");
        assert!(pending.cancel() && pending.cancel(), "the second time as well");
        assert_eq!(pending.result(), Err(Error::Cancelled));
        held.let_go(0);
        assert_eq!(running.result(), Ok(0));
        assert!(!running.cancel(), "it is over");
        assert_eq!(running.result(), Ok(0));
    }

    fn semantics_f3_each_state_can_be_asked_for(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let futures = [held.start(&pool, 0), pool.submit(square, 3).unwrap(), pool.submit(square, 4).unwrap()];
        let states = || futures.each_ref().map(|f| (f.state(), f.is_done()));
        assert!(futures[2].cancel());
        assert_eq!(states(), [(State::Running, false), (State::Pending, false), (State::Cancelled, true)]);
        held.let_go(0);
        let results = futures.each_ref().map(Future::result);
        assert_eq!(results, [Ok(given(0)), Ok(9), Err(Error::Cancelled)]);
        assert_eq!(states(), [(State::Done, true), (State::Done, true), (State::Cancelled, true)]);
        let failed = pool.submit(fail_with, "f".into()).unwrap();
        assert!(failed.result().is_err());
        assert_eq!((failed.state(), failed.is_done()), (State::Done, true));
    }

    fn semantics_f4_a_result_is_waited_for_no_longer_than_allowed(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let running = held.start(&pool, 0);
        let [failing, cancelled] = ["why", "never"].map(|text| pool.submit(fail_with, text.into()).unwrap());
        assert!(cancelled.cancel());
        for limit in [Duration::ZERO, Duration::from_millis(20)] {
            let start = Instant::now();
            let early = running.result_timeout(limit);
            assert!(matches!(early, Err(Error::TimedOut { after, .. }) if after == limit), "{early:?}");
            assert!(start.elapsed() >= limit);
        }
        assert_eq!(cancelled.result_timeout(Duration::ZERO), Err(Error::Cancelled));
        held.let_go(0);
        assert_eq!(running.result_timeout(LIMIT), Ok(given(0)), "a time-out is not the end of it");
        assert_eq!(running.result_timeout(Duration::ZERO), Ok(given(0)), "what is over needs no time");
        let wanted = Err(Error::TaskFailed { summary: "why".into(), source: None });
        assert_eq!((failing.result(), failing.result_timeout(Duration::ZERO)), (wanted.clone(), wanted));
    }

    fn semantics_f6_cancelling_wakes_whoever_waits_for_the_result(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let running = held.start(&pool, 0);
        let pending = pool.submit(square, 3).unwrap();
        std::thread::scope(|scope| {
            let (tell, begun) = mpsc::channel();
            let pending = &pending;
            let waiter = scope.spawn(move || {
                tell.send(()).unwrap();
                pending.result()
            });
            begun.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiter.is_finished() && pending.cancel());
            assert_eq!(waiter.join().unwrap(), Err(Error::Cancelled));
        });
        assert_eq!(running.state(), State::Running, "nothing else has moved");
        held.let_go(0);
    }

    fn semantics_f18_whoever_cancels_tells_those_who_wait(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let running = held.start(&pool, 0);
        let pending = pool.submit_bulk(square, 0..4).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&pending, Some(LIMIT), When::AllCompleted).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiter.is_finished() && pending.iter().all(Future::cancel));
            assert_eq!(waiter.join().unwrap().done, [0, 1, 2, 3], "who began to wait before");
        });
        assert_eq!(wait(&pending, Some(LIMIT), When::AllCompleted).unwrap().done, [0, 1, 2, 3], "who comes after");
        let ends: Vec<_> = as_completed(pending, Some(LIMIT)).map(|f| f.unwrap().result()).collect();
        assert_eq!(ends, vec![Err(Error::Cancelled); 4]);
        assert_eq!(running.state(), State::Running, "no worker has had a part in it");
        held.let_go(0);
    }
}
