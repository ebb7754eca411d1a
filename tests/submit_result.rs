//! Submitting a task and getting its result: every kind of argument and result, from one thread and from many.

mod common;

use common::{Board, SOON, count_in, hold, own_pid, pool_of, small_pool, square, wait_until};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use taskring::{Bytes, Executor, StartMethod, State, Task};

taskring::test_support!();

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Box { width: u32, height: u32 },
    Many(Vec<Shape>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: (i8, u8, i16, u16, i32, u32, i64, u64, i128, u128),
    floats: (f32, f64),
    text: String,
    letter: char,
    perhaps: Option<Option<bool>>,
    outcome: Result<u16, String>,
    table: BTreeMap<String, Vec<u8>>,
    shape: Shape,
    unit: (),
}

taskring::task! {
    fn count_slowly(board: String) -> u64 {
        std::thread::sleep(std::time::Duration::from_micros(150));
        Board::at(&board)[0].fetch_add(1, SeqCst)
    }
    fn add(a: u64, b: u64) -> u64 { a + b }
    fn six(a: u8, b: i16, c: String, d: bool, e: char, f: Option<u64>) -> String { format!("{a} {b} {c} {d} {e} {f:?}") }
    fn nothing() {}
    fn answer() -> u64 { 42 }
    fn forget(_text: String) {}
    fn same_everything(x: Everything) -> Everything { x }
    fn same_shape(x: Shape) -> Shape { x }
    fn same_float(x: f64) -> f64 { x }
    fn same_text(x: String) -> String { x }
    fn words(text: String) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        text.split_whitespace().for_each(|w| *counts.entry(w.to_owned()).or_default() += 1);
        counts
    }
    fn reversed(bytes: Bytes) -> Bytes {
        let mut bytes = bytes.into_vec();
        bytes.reverse();
        Bytes(bytes)
    }
    fn bytes_of(text: String) -> Bytes { Bytes::from(text.as_bytes()) }
    fn length(bytes: Bytes) -> u64 { bytes.len() as u64 }
    fn half(x: u64) -> Result<u64, taskring::TaskError> {
        if x % 2 == 1 { return Err(taskring::TaskError::new("odd")) }
        Ok(x / 2)
    }
    fn checked(x: u64) -> std::result::Result<u64, String> { if x < 10 { Ok(x) } else { Err("large".into()) } }
}

fn everything() -> Everything {
    Everything {
        numbers: (i8::MIN, u8::MAX, i16::MIN, u16::MAX, i32::MIN, u32::MAX, i64::MIN, u64::MAX, i128::MIN, u128::MAX),
        floats: (f32::MIN_POSITIVE, -0.0),
        text: "grüße, 世界 \0 end".into(),
        letter: '\u{10ffff}',
        perhaps: Some(None),
        outcome: Err("no".into()),
        table: BTreeMap::from([(String::new(), vec![]), ("x".into(), vec![0; 300])]),
        shape: Shape::Many(vec![Shape::Nothing, Shape::Circle(1.5), Shape::Box { width: 1, height: u32::MAX }]),
        unit: (),
    }
}

both_kinds! {
    fn a_result_comes_back(kind) {
        let pool = pool_of(kind, 2);
        assert_eq!(pool.submit(square, 7).unwrap().result(), Ok(49));
        assert_eq!(pool.submit(add, (1, 2)).unwrap().result(), Ok(3));
        assert_eq!(pool.submit(answer, ()).unwrap().result(), Ok(42));
        assert_eq!(pool.submit(nothing, ()).unwrap().result(), Ok(()));
        assert_eq!(pool.submit(forget, "x".into()).unwrap().result(), Ok(()));
        assert_eq!(pool.submit(half, 8).unwrap().result(), Ok(4));
    }

    fn every_type_of_serde_goes_through_unchanged(kind) {
        let pool = pool_of(kind, 1);
        let six_args = (1, -2, "three".to_owned(), true, 'e', Some(u64::MAX));
        assert_eq!(pool.submit(six, six_args).unwrap().result().unwrap(), format!("1 -2 three true e Some({})", u64::MAX));
        let all = everything();
        let back = pool.submit(same_everything, all.clone()).unwrap().result().unwrap();
        assert_eq!(back, all);
        assert!(back.floats.1.is_sign_negative());
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        assert_eq!(pool.submit(same_float, nan).unwrap().result().unwrap().to_bits(), nan.to_bits());
        let mut deep = Shape::Nothing;
        for _ in 0..100 {
            deep = Shape::Many(vec![deep]);
        }
        assert_eq!(pool.submit(same_shape, deep.clone()).unwrap().result(), Ok(deep));
        let counts = pool.submit(words, "a b a".into()).unwrap().result().unwrap();
        assert_eq!((counts["a"], counts["b"], counts.len()), (2, 1, 2));
    }

    fn a_result_type_of_another_error_is_a_failure_when_it_is_written_as_result(kind) {
        let pool = pool_of(kind, 1);
        // `std::result::Result<..>` is a value like any other: only the word `Result<T, E>` makes a function fallible.
        let task: Task<u64, Result<u64, String>> = checked;
        assert_eq!(pool.submit(task, 3).unwrap().result(), Ok(Ok(3)));
        assert_eq!(pool.submit(task, 30).unwrap().result(), Ok(Err("large".to_owned())));
    }

    fn bytes_go_through_as_they_are(kind) {
        let pool = pool_of(kind, 1);
        for len in [0, 1, 79, 80, 81, 255, 256, 257, 5000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let mut wanted = bytes.clone();
            wanted.reverse();
            assert_eq!(pool.submit(reversed, bytes.clone().into()).unwrap().result().unwrap().into_vec(), wanted);
            assert_eq!(pool.submit(length, Bytes::from(&bytes[..])).unwrap().result(), Ok(len as u64));
        }
        assert_eq!(&pool.submit(bytes_of, "abc".into()).unwrap().result().unwrap()[..], b"abc");
        assert!(pool.submit(reversed, Bytes::default()).unwrap().result().unwrap().is_empty());
    }

    fn a_bulk_keeps_the_order_of_its_arguments(kind) {
        let pool = pool_of(kind, 2);
        for len in [0_u64, 1, 63, 64, 65, 1000] {
            let futures = pool.submit_bulk(square, 0..len).unwrap();
            assert_eq!(futures.len() as u64, len);
            for (i, future) in futures.iter().enumerate() {
                assert_eq!(future.result().unwrap(), (i * i) as u64);
            }
        }
        let texts = pool.submit_bulk(same_text, ["a".repeat(500), String::new(), "b".repeat(70)]).unwrap();
        let lens: Vec<usize> = texts.iter().map(|f| f.result().unwrap().len()).collect();
        assert_eq!(lens, [500, 0, 70]);
    }

    fn one_worker_runs_tasks_in_the_order_of_their_submission(kind) {
        let board = Board::new(1);
        let pool = small_pool(kind, 1, 64);
        // Longer than anything that is done once a second, with the ring full all the time.
        let futures: Vec<_> = (0..12_000).map(|_| pool.submit(count_slowly, board.name()).unwrap()).collect();
        for (i, future) in futures.iter().enumerate() {
            assert_eq!(future.result(), Ok(i as u64), "the task submitted as number {i}");
        }
    }

    fn a_result_may_be_asked_for_again(kind) {
        let pool = pool_of(kind, 1);
        for text in ["short".to_owned(), "long".repeat(1000)] {
            let future = pool.submit(same_text, text.clone()).unwrap();
            for _ in 0..3 {
                assert_eq!(future.result().unwrap(), text);
                assert_eq!(future.result_timeout(std::time::Duration::ZERO).unwrap(), text);
                assert_eq!(future.state(), State::Done);
            }
        }
        let failed = pool.submit(half, 3).unwrap();
        assert_eq!(failed.result(), failed.result());
        assert!(failed.result().is_err());
    }

    fn several_threads_may_ask_one_future_at_once(kind) {
        let pool = pool_of(kind, 1);
        for round in 0..200 {
            let text = format!("{round}").repeat(round);
            let future = pool.submit(same_text, text.clone()).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert_eq!(future.result().unwrap(), text));
                }
            });
            assert_eq!(future.state(), State::Done);
        }
    }

    fn several_threads_share_the_executor(kind) {
        let pool = pool_of(kind, 2);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let pool = &pool;
                scope.spawn(move || {
                    for i in 0..300_u64 {
                        let n = thread * 1000 + i;
                        assert_eq!(pool.submit(square, n).unwrap().result().unwrap(), n * n);
                    }
                });
            }
        });
        let pool: Arc<Executor> = Arc::new(pool);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let pool = pool.clone();
                std::thread::spawn(move || pool.submit(square, n).unwrap())
            })
            .collect();
        // A future made by one thread is collected by another.
        let results: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap().result().unwrap()).collect();
        assert_eq!(results, [0, 1, 4, 9]);
    }

    fn a_future_outlives_its_executor(kind) {
        let pool = pool_of(kind, 2);
        let early = pool.submit(square, 3).unwrap();
        let futures = pool.submit_bulk(square, 0..500).unwrap();
        drop(pool);
        assert!(futures.iter().all(|f| f.is_done()), "dropping an executor waits for what was submitted");
        assert_eq!(early.result(), Ok(9));
        assert_eq!(futures.iter().map(|f| f.result().unwrap()).sum::<u64>(), (0..500).map(|i| i * i).sum());
    }

    fn dropping_a_future_lets_its_task_run(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 2);
        for round in 0..400 {
            let future = pool.submit(count_in, (board.name(), 0)).unwrap();
            if round % 2 == 0 { drop(future) } else { future.detach() }
        }
        drop(pool);
        assert_eq!(board[0].load(SeqCst), 400);
    }

    fn the_state_and_the_worker_of_a_task_can_be_asked(kind) {
        let board = Board::new(2);
        let pool = pool_of(kind, 1);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until(SOON, || board[0].load(SeqCst) == 1);
        let waiting = pool.submit(own_pid, ()).unwrap();
        assert_eq!((running.state(), waiting.state()), (State::Running, State::Pending));
        assert!(!running.is_done() && !waiting.is_done());
        assert_eq!(running.worker_pid(), Some(pool.worker_pids()[0]));
        assert_eq!(waiting.worker_pid(), None);
        assert!(format!("{running:?}").contains("Running") && format!("{waiting:?}").contains("Pending"));
        board[1].store(1, SeqCst);
        let worker = waiting.result().unwrap();
        assert_eq!([worker], pool.worker_pids()[..]);
        assert_eq!(worker == std::process::id(), kind == StartMethod::Thread);
        assert_eq!((running.state(), running.result(), running.state()), (State::Done, Ok(0), State::Done));
        assert_eq!((running.worker_pid(), waiting.worker_pid()), (None, None), "a task that is over runs nowhere");
        assert!(running.is_done() && format!("{running:?}").contains("Done"));
    }
}

#[test]
fn a_task_can_be_called_without_a_pool() {
    assert_eq!(square.call(9).unwrap(), 81);
    assert_eq!(half.call(3).unwrap_err().to_string(), "odd");
    assert_eq!(square.name(), "submit_result::common::square");
}

#[test]
fn a_task_can_be_named_without_its_code() {
    let _dog = common::watchdog(60);
    let pool = pool_of(StartMethod::Spawn, 1);
    let by_name: Task<u64, u64> = Task::named(square.name());
    assert_eq!(pool.submit(by_name, 12).unwrap().result(), Ok(144));
    assert_eq!(by_name.name(), square.name());
}

#[test]
fn a_registered_closure_runs_in_threads_of_this_process() {
    let _dog = common::watchdog(60);
    let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = seen.clone();
    let adds = taskring::register("adds", move |x: u64| counter.fetch_add(x, SeqCst)).unwrap();
    let pool = pool_of(StartMethod::Thread, 2);
    for future in pool.submit_bulk(adds, 1..=100).unwrap() {
        future.result().unwrap();
    }
    assert_eq!(seen.load(SeqCst), 5050);
}

#[test]
fn worker_processes_are_children_of_the_owner() {
    let _dog = common::watchdog(60);
    let pool = pool_of(StartMethod::Spawn, 3);
    pool.submit(nothing, ()).unwrap().result().unwrap();
    let mut pids = pool.worker_pids();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!((pool.workers(), pids.len()), (3, 3));
    let children = common::children_of(std::process::id());
    assert!(pids.iter().all(|pid| children.contains(pid) && common::pid_alive(*pid)));
    drop(pool);
    assert!(!pids.iter().any(|&pid| common::pid_alive(pid)), "workers leave with their pool");
    let children = common::children_of(std::process::id());
    assert!(!pids.iter().any(|pid| children.contains(pid)), "and no zombie is left of them");
}
