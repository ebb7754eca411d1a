//! A ring that is full of unfinished tasks, and one that only looks full.

mod common;

use common::{Board, SOON, count_in, hold, pool_of, scaled, small_pool, square, wait_until};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use taskring::{Error, Executor, Future, StartMethod, Task};

taskring::test_support!();

both_kinds! {
    fn a_ring_takes_as_many_unfinished_tasks_as_it_has_slots(kind) {
        for capacity in [1_usize, 2, 8, 64, 256] {
            let board = Board::new(3);
            let pool = small_pool(kind, 1, capacity);
            assert_eq!(pool.capacity(), capacity);
            let running = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until(SOON, || board[0].load(SeqCst) == 1);
            let pending: Vec<_> =
                (1..capacity).map(|_| pool.try_submit(count_in, (board.name(), 2)).unwrap()).collect();
            for _ in 0..3 {
                assert_eq!(pool.try_submit(square, 1).map(|_| ()), Err(Error::Full { capacity }));
            }
            if let Some(last) = pending.last() {
                assert!(last.cancel(), "a cancelled task gives its slot back");
                assert!(pool.try_submit(count_in, (board.name(), 2)).is_ok());
                assert_eq!(pool.try_submit(square, 1).map(|_| ()), Err(Error::Full { capacity }));
            }
            board[1].store(1, SeqCst);
            running.result().unwrap();
            assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
            drop(pool);
            assert_eq!(board[2].load(SeqCst), capacity as u64 - 1);
        }
    }

    fn results_that_nobody_has_collected_take_no_room(kind) {
        let pool = small_pool(kind, 1, 4);
        let mut futures = Vec::new();
        for i in 0..300 {
            futures.push(pool.submit(square, i).unwrap());
            wait_until(SOON, || futures[i as usize].is_done());
            assert!(pool.try_submit(square, 1).is_ok(), "round {i}");
        }
        assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
    }

    fn one_slot_is_enough(kind) {
        let pool = small_pool(kind, 2, 1);
        for i in 0..300 {
            assert_eq!(pool.submit(square, i).unwrap().result(), Ok(i * i));
        }
        let futures: Vec<_> = (0..300).map(|i| pool.submit(square, i).unwrap()).collect();
        assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
        let sum: u64 = pool.map(square, 0..100).unwrap().map(Result::unwrap).sum();
        assert_eq!(sum, (0..100).map(|i| i * i).sum());
        let futures = pool.submit_bulk(square, 0..100).unwrap();
        assert_eq!(futures.iter().map(|f| f.result().unwrap()).sum::<u64>(), sum);
    }

    fn everything_can_be_submitted_before_anything_is_collected(kind) {
        let count = scaled(100_000, 100_000) as u64;
        let pool = small_pool(kind, 2, 64);
        let futures: Vec<_> = (0..count).map(|i| pool.submit(square, i).unwrap()).collect();
        for (i, future) in futures.iter().enumerate().rev() {
            assert_eq!(future.result(), Ok((i * i) as u64));
        }
        // And with nobody collecting at all.
        (0..count).for_each(|i| pool.submit(square, i).unwrap().detach());
        assert_eq!(pool.submit(square, 7).unwrap().result(), Ok(49));
    }

    fn a_bulk_may_be_larger_than_the_ring(kind) {
        let count = scaled(100_000, 100_000) as u64;
        for capacity in [1, 16, 64] {
            let pool = small_pool(kind, 2, capacity);
            let count = if capacity == 1 { count / 10 } else { count };
            let futures = pool.submit_bulk(square, 0..count).unwrap();
            assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
        }
    }

    fn many_threads_submit_to_a_small_ring(kind) {
        let each = scaled(200, 5_000);
        for capacity in [1, 2, 16] {
            let pool = small_pool(kind, 2, capacity);
            let board = Board::new(16);
            std::thread::scope(|scope| {
                for thread in 0..16 {
                    let (pool, board) = (&pool, &board);
                    scope.spawn(move || submit_every_way(pool, board, thread, each));
                }
            });
            drop(pool);
            for cell in board.iter() {
                assert_eq!(cell.load(SeqCst) as usize, each, "every task ran once");
            }
        }
    }

    fn a_blocked_submit_goes_on_when_any_slot_is_free(kind) {
        let board = Board::new(4);
        let pool = small_pool(kind, 2, 2);
        // The oldest slot stays occupied; the other one comes free first.
        let oldest = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        let other = pool.submit(hold, (board.name(), 2)).unwrap();
        wait_until(SOON, || board[2].load(SeqCst) == 1);
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| pool.submit(square, 5).unwrap().result());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!blocked.is_finished());
            board[3].store(1, SeqCst);
            assert_eq!(blocked.join().unwrap(), Ok(25));
        });
        assert_eq!(other.result(), Ok(2));
        board[1].store(1, SeqCst);
        assert_eq!(oldest.result(), Ok(0));
    }

    fn an_error_in_the_middle_of_a_bulk_leaves_the_earlier_tasks_running(kind) {
        let board = Board::new(1);
        let pool = Executor::builder().workers(1).start(kind).payload_max(1 << 16).build().unwrap();
        let inputs = (0..200).map(|i| (if i == 150 { "x".repeat(1 << 17) } else { board.name() }, 0));
        let error = pool.submit_bulk(count_in, inputs).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::PayloadTooLarge { .. }), "{error:?}");
        drop(pool);
        let ran = board[0].load(SeqCst);
        assert!((128..=150).contains(&ran), "{ran} ran: those of the holds before the one with the error");
    }
}

/// One thread's part of `many_threads_submit_to_a_small_ring`: `each` tasks, by all the ways to submit one.
fn submit_every_way(pool: &Executor, board: &Board, thread: u64, each: usize) {
    let full = AtomicUsize::new(0);
    let args = || (board.name(), thread);
    let mut futures: Vec<Future<u64>> = Vec::new();
    while futures.len() < each {
        let left = each - futures.len();
        match futures.len() % 4 {
            0 => futures.push(pool.submit(count_in, args()).unwrap()),
            1 => match pool.try_submit(count_in, args()) {
                Ok(future) => futures.push(future),
                Err(Error::Full { .. }) => {
                    full.fetch_add(1, SeqCst);
                    futures.push(pool.submit(count_in, args()).unwrap());
                }
                Err(e) => panic!("{e}"),
            },
            2 => futures.extend(pool.submit_bulk(count_in, (0..left.min(5)).map(|_| args())).unwrap()),
            _ => match pool.submit_timeout(count_in, args(), Duration::from_millis(1)) {
                Ok(future) => futures.push(future),
                Err(Error::TimedOut { .. }) => futures.push(pool.submit(count_in, args()).unwrap()),
                Err(e) => panic!("{e}"),
            },
        }
    }
    let mut counts: Vec<u64> = futures.iter().map(|f| f.result().unwrap()).collect();
    counts.sort_unstable();
    assert!(counts.into_iter().eq(0..each as u64));
}

#[test]
fn a_capacity_is_rounded_up_to_a_power_of_two() {
    let _dog = common::watchdog(60);
    for (asked, given) in [(1, 1), (2, 2), (3, 4), (5, 8), (1000, 1024), (1025, 2048)] {
        let pool = small_pool(StartMethod::Thread, 1, asked);
        assert_eq!(pool.capacity(), given);
    }
    assert_eq!(pool_of(StartMethod::Thread, 1).capacity(), 1024);
}

/// A look at a full ring leaves the tail where it was: otherwise the workers would have to step over all the positions in between.
#[test]
fn trying_in_vain_moves_no_tail() {
    let name = format!("in-vain-{}", std::process::id());
    let board = Board::new(2);
    let pool = Executor::builder().workers(1).capacity(128).create_named(&name).unwrap();
    let first = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    let rest: Vec<_> = (1..128).map(|i| pool.try_submit(square, i).unwrap()).collect();
    for _ in 0..1000 {
        assert_eq!(pool.try_submit(square, 1).map(|_| ()), Err(Error::Full { capacity: 128 }));
    }
    assert_eq!(taskring::inspect(&name).unwrap().lanes[0].tail, 128);
    board[1].store(1, SeqCst);
    assert_eq!(first.result(), Ok(0));
    assert!(rest.into_iter().zip(1..).all(|(f, i)| f.result() == Ok(i * i)));
}

/// Past the sixteenth submitter two share a lane, and each has its half. Who has used it up waits without using the CPU.
#[test]
fn a_submitter_over_its_quota_sleeps() {
    let name = format!("quota-{}", std::process::id());
    let owner = Executor::builder().start(StartMethod::None).capacity(64).create_named(&name).unwrap();
    let others: Vec<_> = (0..16).map(|_| Executor::attach(&name).unwrap()).collect();
    let last = others.last().unwrap();
    let task = Task::<u64, u64>::named("nobody has it");
    let held: Vec<_> = (0..32).map(|i| last.try_submit(task, i).unwrap()).collect();
    assert_eq!(last.try_submit(task, 1).map(|_| ()), Err(Error::Full { capacity: 32 }));
    let before = thread_cpu();
    let refused = last.submit_timeout(task, 1, Duration::from_millis(500)).map(|_| ());
    let used = thread_cpu() - before;
    assert!(matches!(refused, Err(Error::TimedOut { .. })), "{refused:?}");
    assert!(used < Duration::from_millis(250), "{used:?} of CPU time in half a second of waiting");
    assert!(held.iter().all(Future::cancel));
    owner.shutdown(false, true).unwrap();
}

fn thread_cpu() -> Duration {
    // SAFETY: zero is a valid timespec, and the call writes one to where it is told.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
