//! What a task can ask about itself while it runs.

mod common;

use common::{Board, SOON, hold, pool_of, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use taskring::task;

taskring::test_support!();
taskring::task! {
    fn own_id() -> u64 { task::id() }
    fn own_attempt() -> u32 { task::attempt() }
    fn own_request() -> bool { task::cancel_requested() }
    fn ids_around_a_call() -> (u64, u64, u64) { (task::id(), own_id.call(()).expect("infallible"), task::id()) }
    fn id_in_a_thread_of_its_own() -> u64 { std::thread::spawn(task::id).join().expect("no panic") }
    fn id_after_a_panic() -> (u64, u64) {
        let before = task::id();
        let caught = std::panic::catch_unwind(|| panic!("caught"));
        assert!(caught.is_err());
        (before, task::id())
    }
}

both_kinds! {
    fn the_id_in_the_task_is_that_of_its_future(kind) {
        let pool = pool_of(kind, 2);
        let futures = pool.submit_bulk(own_id, (0..3000).map(|_| ())).unwrap();
        let mut ids: Vec<u64> = futures
            .iter()
            .map(|future| {
                let id = future.id();
                assert_eq!(future.result().unwrap(), id);
                assert_eq!(future.id(), id, "the id stays when the result has been taken");
                id
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3000, "ids are unique although slots are used again");
    }

    fn the_first_attempt_is_number_0(kind) {
        let pool = pool_of(kind, 1);
        for _ in 0..100 {
            assert_eq!(pool.submit(own_attempt, ()).unwrap().result().unwrap(), 0);
        }
    }

    fn nobody_has_asked_a_fresh_task_to_stop(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        assert!(!running.cancel(), "a running task is only asked");
        board[1].store(1, SeqCst);
        running.result().unwrap();
        // The next tasks go through the same worker and, in time, through the same slot.
        for _ in 0..2000 {
            assert!(!pool.submit(own_request, ()).unwrap().result().unwrap());
        }
    }

    fn a_call_in_a_task_runs_in_the_context_of_that_task(kind) {
        let pool = pool_of(kind, 1);
        let future = pool.submit(ids_around_a_call, ()).unwrap();
        let id = future.id();
        assert_eq!(future.result().unwrap(), (id, id, id));
    }

    fn another_thread_of_the_task_is_outside_it(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(id_in_a_thread_of_its_own, ()).unwrap().result().unwrap(), 0);
    }

    fn a_panic_that_the_task_catches_changes_nothing(kind) {
        let pool = pool_of(kind, 1);
        let future = pool.submit(id_after_a_panic, ()).unwrap();
        assert_eq!(future.result().unwrap(), (future.id(), future.id()));
    }
}

#[test]
fn outside_a_task_there_is_no_context() {
    let _dog = common::watchdog(60);
    assert_eq!((task::id(), task::attempt(), task::cancel_requested()), (0, 0, false));
    assert_eq!(own_id.call(()).unwrap(), 0);
    let pool = pool_of(taskring::StartMethod::Spawn, 1);
    pool.submit(own_id, ()).unwrap().result().unwrap();
    assert_eq!(task::id(), 0);
}
