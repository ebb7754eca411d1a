//! Section S: sentences that are easily overlooked.

use crate::held::{Held, assert_shorter, given, second_pool_of};
use crate::process_support::common::{Board, count_in, fail_with, hold, square};
use crate::process_support::{LIMIT, unique, wait_until};
use crate::support::pool_of;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, InterpreterPool, MapOptions, MultiPool, StartMethod, ThreadPool, as_completed};

cases! {
    fn semantics_s3_an_unordered_map_with_one_worker_keeps_the_order_of_its_inputs(kind) {
        let pool = Executor::builder().workers(1).start(kind).capacity(8).build().unwrap();
        // Outcomes that nobody asks for yet lie in the slots of the laps that follow.
        let uncollected = pool.submit_bulk(square, 0..20).unwrap();
        for (window, chunk) in [(1, 1), (5, 1), (20, 1), (3, 4)] {
            let options = MapOptions::new().window(window).chunk(chunk).ordered(false);
            let results: Vec<u64> = pool.map_with(&options, square, 0..100).unwrap().collect::<Result<_, _>>().unwrap();
            assert!(results.iter().copied().eq((0..100).map(|x| x * x)), "window {window}, chunk {chunk}: {results:?}");
        }
        assert!(uncollected.iter().zip(0..).all(|(f, x)| f.result() == Ok(x * x)));
    }

    fn semantics_s7_a_failing_task_gives_its_place_back_and_a_failing_input_cancels_nothing(kind) {
        let pool = pool_of(kind, 2);
        let options = MapOptions::new().window(2);
        let map = pool.map_with(&options, fail_with, (0..100).map(|x| x.to_string())).unwrap();
        let messages: Vec<_> = map.map(|r| r.unwrap_err()).collect();
        assert!(messages.into_iter().zip(0..).all(|(e, x)| e == Error::TaskFailed { summary: x.to_string(), source: None }));

        let held = Held::new(1);
        let inputs = (0..2).map(|x| if x == 0 { held.input(0) } else { resume_unwind(Box::new("the input is broken")) });
        let mut map = pool.map_with(&MapOptions::new().window(1), hold, inputs).unwrap();
        held.let_go(0);
        // One result and one panic, whichever comes first.
        let (mut results, mut panics) = (Vec::new(), 0);
        loop {
            match catch_unwind(AssertUnwindSafe(|| map.next())) {
                Ok(Some(result)) => results.push(result),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
            assert!(panics < 2, "one input, one panic");
        }
        assert_eq!((results, panics), (vec![Ok(given(0))], 1));
        drop(map);
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }

    fn semantics_s2_whatever_takes_a_callback_says_that_it_should_be_short(_kind) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let interfaces =
            ["src/done.rs", "src/multi.rs", "include/taskring.h", "bindings/cpp/taskring/future.hpp", "bindings/cpp/taskring/multi.hpp"];
        for file in interfaces {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(text.contains("should be short, "), "{file}");
        }
    }

    fn semantics_s11_the_caveats_stand_in_the_readme_and_in_the_header(_kind) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let flat = |file: &str| {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            text.split_whitespace().filter(|word| *word != "*").collect::<Vec<_>>().join(" ")
        };
        // What may be a task; what main begins with; where it runs; what a long task delays.
        let caveats = [
            ("README.md", ["registered functions can be tasks", "`init` comes first in `main`", "64-bit little-endian Linux only", "A long task delays"]),
            (
                "include/taskring.h",
                ["Only registered functions can be tasks", "main begins with the registrations and taskring_init", "64-bit little-endian Linux only", "A long task delays"],
            ),
        ];
        for (file, sentences) in caveats {
            let text = flat(file);
            let missing: Vec<_> = sentences.iter().filter(|sentence| !text.contains(**sentence)).collect();
            assert!(missing.is_empty(), "{file} does not say {missing:?}");
        }
    }

    fn semantics_s8_one_function_takes_every_kind_of_pool(kind) {
        fn work(pool: &Executor) -> (u64, u64, bool) {
            let futures = pool.submit_bulk(square, 0..10).unwrap();
            let sum = as_completed(futures, Some(LIMIT)).map(|f| f.unwrap().result().unwrap()).sum();
            let mapped = pool.map(square, 0..10).unwrap().map(Result::unwrap).sum();
            (sum, mapped, pool.submit(fail_with, "f".into()).unwrap().result().is_err())
        }
        let name = unique("s8");
        let own = Executor::builder().workers(2).start(kind).create_named(&name).unwrap();
        let others = [Executor::attach(&name).unwrap(), second_pool_of(kind, 1), pool_of(StartMethod::Thread, 1)];
        // Those of other styles have one inside.
        let second_kind = if kind == StartMethod::Fork { StartMethod::Thread } else { kind };
        let multi = MultiPool::with(Executor::builder().workers(1).start(second_kind)).unwrap();
        let closures = ThreadPool::new(1).unwrap();
        let interpreters = InterpreterPool::new(1, |context: u64| Ok(context), 7).unwrap();
        let styles = [multi.executor(), closures.executor(), interpreters.executor()];
        for pool in [&own].into_iter().chain(&others).chain(styles) {
            assert_eq!(work(pool), (285, 285, true), "{pool:?}");
        }
    }

    fn semantics_s9_clocks_start_at_the_call(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(2);
        let mut running = held.start_all(&pool, 0..1);
        let limit = Duration::from_millis(60);
        assert_shorter(limit, || {
            let mut stream = as_completed(std::mem::take(&mut running), Some(limit));
            let mut map = pool.map_with(&MapOptions::new().timeout(limit), square, 0..3).unwrap();
            std::thread::sleep(limit);
            let asked = Instant::now();
            assert!(matches!(stream.next(), Some(Err(Error::TimedOut { .. }))));
            assert!(matches!(map.next(), Some(Err(Error::TimedOut { .. }))));
            let took = asked.elapsed();
            running = stream.into_rest();
            took
        });
        held.let_go(0);
        assert_eq!(running[0].result(), Ok(given(0)));
    }

    fn semantics_s13_dropping_a_future_detaches_and_a_result_may_be_asked_for_again_by_many(kind) {
        let pool = pool_of(kind, 1);
        let (held, board) = (Held::new(1), Board::new(1));
        let running = held.start(&pool, 0);
        for _ in 0..10 {
            drop(pool.submit(count_in, (board.name(), 0)).unwrap());
        }
        drop(running);
        let last = pool.submit(square, 3).unwrap();
        held.let_go(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..3).all(|_| last.result_timeout(LIMIT) == Ok(9))));
            }
        });
        wait_until("all have run, and the running one to its end", || board[0].load(SeqCst) == 10);
    }
}
