//! Futures of several executors in one wait and in one iterator.

mod common;

use common::{Board, SOON, hold, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, Future, StartMethod, When, as_completed, wait};

taskring::test_support!();

/// Three pools: of processes, of threads, and a small one.
fn three_pools() -> [Executor; 3] {
    [pool_of(StartMethod::Spawn, 2), pool_of(StartMethod::Thread, 1), small_pool(StartMethod::Spawn, 1, 4)]
}

/// Of each pool a task that runs until `board[2 * i + 1]` is set.
fn one_of_each(pools: &[Executor], board: &Board) -> Vec<Future<u64>> {
    let submit = |(i, pool): (usize, &Executor)| pool.submit(hold, (board.name(), 2 * i as u64)).unwrap();
    let futures: Vec<_> = pools.iter().enumerate().map(submit).collect();
    wait_until(SOON, || (0..pools.len()).all(|i| board[2 * i].load(SeqCst) == 1));
    futures
}

#[test]
fn one_wait_takes_futures_of_several_pools() {
    let _dog = common::watchdog(120);
    let board = Board::new(6);
    let pools = three_pools();
    let futures = one_of_each(&pools, &board);
    let short = Some(Duration::from_millis(20));
    assert_eq!(wait(&futures, short, When::FirstCompleted).unwrap().not_done, [0, 1, 2]);
    for (turn, i) in [1, 2, 0].into_iter().enumerate() {
        std::thread::scope(|scope| {
            let pending: Vec<&Future<u64>> = futures.iter().filter(|f| !f.is_done()).collect();
            let first = scope.spawn(move || wait(pending, Some(SOON), When::FirstCompleted).unwrap());
            let all = scope.spawn(|| wait(&futures[i..=i], None, When::AllCompleted).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            board[2 * i + 1].store(1, SeqCst);
            assert_eq!(first.join().unwrap().done.len(), 1, "turn {turn}");
            assert_eq!(all.join().unwrap().done, [0]);
        });
    }
    assert_eq!(wait(&futures, None, When::AllCompleted).unwrap().done, [0, 1, 2]);
}

#[test]
fn one_iterator_takes_futures_of_several_pools() {
    let _dog = common::watchdog(120);
    let board = Board::new(6);
    let pools = three_pools();
    for _ in 0..5 {
        let mut stream = as_completed(one_of_each(&pools, &board), Some(SOON));
        for i in [2, 0, 1] {
            board[2 * i + 1].store(1, SeqCst);
            assert_eq!(stream.next().unwrap().unwrap().result(), Ok(2 * i as u64));
        }
        assert!(stream.next().is_none());
        board.iter().for_each(|cell| cell.store(0, SeqCst));
    }
}

#[test]
fn thousands_of_futures_of_several_pools_all_come() {
    let _dog = common::watchdog(120);
    let pools = three_pools();
    let count = scaled(3_000, 30_000) as u64;
    let futures: Vec<_> = (0..count).map(|i| pools[i as usize % 3].submit(square, i).unwrap()).collect();
    std::thread::scope(|scope| {
        // Other waits go on at the same time, on parts of the same pools.
        scope.spawn(|| {
            for _ in 0..20 {
                let some: Vec<_> = pools[1..].iter().map(|p| p.submit(square, 1).unwrap()).collect();
                assert!(wait(&some, Some(SOON), When::AllCompleted).unwrap().not_done.is_empty());
            }
        });
        let mut results: Vec<u64> = as_completed(futures, Some(2 * SOON)).map(|f| f.unwrap().result().unwrap()).collect();
        results.sort_unstable();
        assert!(results.into_iter().eq((0..count).map(|i| i * i)));
    });
}

#[test]
fn a_time_out_holds_for_all_pools_together() {
    let _dog = common::watchdog(120);
    let board = Board::new(6);
    let pools = three_pools();
    let futures = one_of_each(&pools, &board);
    board[3].store(1, SeqCst);
    wait_until(SOON, || futures[1].is_done());
    let found = wait(&futures, Some(Duration::from_millis(50)), When::AllCompleted).unwrap();
    assert_eq!((found.done, found.not_done), (vec![1], vec![0, 2]));
    let mut stream = as_completed(futures, Some(Duration::from_millis(50)));
    assert_eq!(stream.next().unwrap().unwrap().result(), Ok(2));
    assert!(matches!(stream.next(), Some(Err(Error::TimedOut { .. }))));
    assert_eq!(stream.into_rest().len(), 2);
    board[1].store(1, SeqCst);
    board[5].store(1, SeqCst);
}

#[test]
fn one_pool_may_end_while_futures_of_another_are_waited_for() {
    let _dog = common::watchdog(120);
    let board = Board::new(6);
    let [first, second, third] = three_pools();
    let held = second.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    let mut futures = first.submit_bulk(square, 0..100).unwrap();
    futures.push(held);
    let pending = third.submit_bulk(square, 0..4).unwrap();
    drop(third);
    futures.extend(pending);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&futures, Some(SOON), When::AllCompleted).unwrap());
        first.shutdown(true, false).unwrap();
        drop(first);
        board[1].store(1, SeqCst);
        assert_eq!(waiter.join().unwrap().done.len(), 105);
    });
}

#[test]
fn more_pools_than_one_system_call_can_watch() {
    let _dog = common::watchdog(120);
    let board = Board::new(2);
    let pools: Vec<_> = (0..140).map(|_| small_pool(StartMethod::Thread, 1, 1)).collect();
    let futures: Vec<_> = pools.iter().map(|p| p.submit(square, 3).unwrap()).collect();
    assert_eq!(wait(&futures, Some(SOON), When::AllCompleted).unwrap().done.len(), 140);
    let futures: Vec<_> = pools.iter().map(|p| p.submit(hold, (board.name(), 0)).unwrap()).collect();
    wait_until(SOON, || board[0].load(SeqCst) == 140);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| as_completed(futures, Some(SOON)).filter(|f| f.is_ok()).count());
        std::thread::sleep(Duration::from_millis(50));
        board[1].store(1, SeqCst);
        assert_eq!(waiter.join().unwrap(), 140);
    });
}
