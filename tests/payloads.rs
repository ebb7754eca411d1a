//! Arguments and results of every size: whole, both ways; typed errors when there is no room; and memory that comes back.

mod common;

use common::{Board, Random, SOON, hold, panic_with, pool_of, scaled, square, unique_name, wait_until};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use taskring::{Bytes, Error, Executor, Future, StartMethod, inspect};

taskring::test_support!();
taskring::task! {
    fn echo(bytes: Bytes) -> Bytes { bytes }
    /// Checks its second argument, and makes a result of the length that the first one says.
    fn answer(len: u32, args: Vec<u8>) -> Bytes {
        assert_eq!(args, pattern(args.len(), 1), "the arguments arrive whole");
        Bytes(pattern(len as usize, 2))
    }
    fn length(bytes: Bytes) -> u64 { bytes.len() as u64 }
    fn sum(bytes: Bytes) -> u64 { bytes.iter().map(|&b| u64::from(b)).sum() }
    /// How far the bytes lie from a multiple of the block's alignment, and what they add up to: a copy of the function's own would lie anywhere.
    fn sum_in_place(bytes: &[u8]) -> (usize, u64) {
        (bytes.as_ptr() as usize % 256, bytes.iter().map(|&b| u64::from(b)).sum())
    }
    fn first_word(text: &str) -> Result<String, taskring::TaskError> {
        text.split_whitespace().next().map(str::to_owned).ok_or_else(|| taskring::TaskError::new("no word"))
    }
    fn length_of(pair: &(u32, String)) -> usize { pair.1.len() }
}

/// Bytes that differ by their place, their number and a seed.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut x = (len as u64) << 8 | seed;
    let next = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn tight_pool(kind: StartMethod, payload_max: u64) -> Executor {
    Executor::builder().workers(1).start(kind).payload_max(payload_max).build().unwrap()
}

/// A task that keeps the only worker busy until `board[1]` is set.
fn occupy(pool: &Executor, board: &Board) -> Future<u64> {
    let future = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until(SOON, || board[0].load(SeqCst) == 1);
    future
}

both_kinds! {
    fn arguments_are_taken_by_reference(kind) {
        let pool = pool_of(kind, 1);
        for len in [0, 1, 80, 81, 5000, 1 << 20] {
            let bytes = Bytes(pattern(len, 5));
            let wanted = sum.call(bytes.clone()).unwrap();
            let (place, found) = pool.submit_ref(sum_in_place, &bytes).unwrap().result().unwrap();
            assert_eq!(found, wanted, "{len}");
            assert!(len <= 80 || place == 0, "{len} bytes were read in their block, not {place} bytes past a multiple of 256");
            assert_eq!(sum_in_place.call(bytes).unwrap().1, wanted);
        }
        let found: Vec<_> = pool.map(sum_in_place, (0..100).map(|n| Bytes(vec![n; 3]))).unwrap().map(|r| r.unwrap().1).collect();
        assert_eq!(found, (0..100).map(|n| 3 * n).collect::<Vec<u64>>());
        assert_eq!(pool.submit(first_word, "a task ring".into()).unwrap().result().as_deref(), Ok("a"));
        assert_eq!(pool.submit(first_word, " ".into()).unwrap().result(), Err(Error::TaskFailed { summary: "no word".into(), source: None }));
        assert_eq!(pool.submit(length_of, (1, "word".into())).unwrap().result(), Ok(4));
        // No text.
        let untyped = taskring::Task::<Bytes, String>::named(first_word.name());
        match pool.submit(untyped, vec![1, 0xff].into()).unwrap().result() {
            Err(Error::TaskFailed { summary: message, .. }) => assert!(message.contains("the arguments are of another type"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    fn every_short_length_goes_both_ways(kind) {
        let pool = pool_of(kind, 1);
        for len in 0..=200 {
            let bytes = pattern(len, 3);
            assert_eq!(pool.submit(echo, bytes.clone().into()).unwrap().result().unwrap().into_vec(), bytes, "{len}");
        }
    }

    fn every_pair_of_short_lengths_fits_or_moves_to_a_block(kind) {
        let pool = pool_of(kind, 2);
        // Around the inline bytes of a slot, which arguments and result share.
        for args_len in 0..=90 {
            let inputs = (0..=90).map(|len| (len, pattern(args_len, 1)));
            for (len, future) in pool.submit_bulk(answer, inputs).unwrap().into_iter().enumerate() {
                let result = future.result().unwrap_or_else(|e| panic!("{args_len} in, {len} out: {e}"));
                assert_eq!(result.into_vec(), pattern(len, 2), "{args_len} in, {len} out");
            }
        }
    }

    fn lengths_around_every_block_size_go_both_ways(kind) {
        let pool = pool_of(kind, 2);
        for shift in 8..=22 {
            for len in [(1_usize << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let bytes = pattern(len, 4);
                let future = pool.submit(echo, bytes.clone().into()).unwrap();
                assert!(future.result().unwrap().into_vec() == bytes, "{len} bytes");
            }
        }
    }

    fn what_is_too_large_is_refused_with_the_limit(kind) {
        let max = 1_u64 << 20;
        let pool = tight_pool(kind, max);
        assert_eq!(pool.submit(length, vec![0; max as usize].into()).unwrap().result(), Ok(max));
        let wanted = Error::PayloadTooLarge { len: max + 1, max };
        let large = || Bytes(vec![0; max as usize + 1]);
        assert_eq!(pool.submit(length, large()).map(|_| ()), Err(wanted.clone()));
        assert_eq!(pool.try_submit(length, large()).map(|_| ()), Err(wanted.clone()));
        assert_eq!(pool.submit_bulk(length, [large()]).map(|_| ()), Err(wanted));
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9), "the pool goes on");
    }

    fn the_limit_that_is_told_is_the_one_that_holds(kind) {
        // No power of two, though blocks are.
        let pool = tight_pool(kind, 12_288);
        let fits = |len: usize| pool.submit(length, vec![0; len].into()).map(|f| f.result().unwrap());
        let Err(Error::PayloadTooLarge { max, .. }) = fits(12_289) else { panic!("more than the area was taken") };
        assert_eq!(fits(max as usize), Ok(max), "a payload of the size that the error names goes through");
        let longer = Error::PayloadTooLarge { len: max + 1, max };
        assert_eq!(fits(max as usize + 1), Err(longer));
    }

    fn a_result_that_is_too_large_is_a_typed_error(kind) {
        let max = 1_u64 << 16;
        let pool = tight_pool(kind, max);
        for args_len in [0, 1, 40, 70, 75, 77, 100] {
            let args = (max as u32 + 1, pattern(args_len, 1));
            let error = pool.submit(answer, args).unwrap().result().map(|_| ()).unwrap_err();
            assert_eq!(error, Error::PayloadTooLarge { len: max + 1, max }, "behind {args_len} bytes of arguments");
        }
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }

    fn an_exhausted_area_is_a_typed_error_that_changes_nothing(kind) {
        let board = Board::new(2);
        let pool = tight_pool(kind, 1 << 20);
        let running = occupy(&pool, &board);
        let large = || Bytes(vec![1; 300_000]);
        let pending = [pool.submit(sum, large()).unwrap(), pool.submit(sum, large()).unwrap()];
        for _ in 0..3 {
            let error = pool.submit(sum, large()).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { needed, .. } if needed >= 300_000), "{error:?}");
            assert!(matches!(pool.submit_bulk(sum, [large()]), Err(Error::OutOfMemory { .. })));
        }
        // What needs no block goes through all the time.
        let small = pool.submit(square, 3).unwrap();
        board[1].store(1, SeqCst);
        assert_eq!((running.result(), small.result()), (Ok(0), Ok(9)));
        assert!(pending.iter().all(|f| f.result() == Ok(300_000)));
        assert_eq!(pool.submit(sum, large()).unwrap().result(), Ok(300_000), "and now there is room again");
    }

    fn a_result_for_which_there_is_no_room_is_a_typed_error(kind) {
        let pool = tight_pool(kind, 1 << 16);
        // Half of the area is taken by the arguments of a task whose worker makes a result of more than the other half.
        for args_len in [20_000, 30_000] {
            let future = pool.submit(answer, (40_000, pattern(args_len, 1))).unwrap();
            let error = future.result().map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
            assert!(error.to_string().contains("memory"), "{error}");
        }
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        let half = pool.submit(answer, (20_000, pattern(20_000, 1))).unwrap().result().unwrap();
        assert_eq!(half.into_vec(), pattern(20_000, 2));
    }

    fn the_area_is_whole_again_when_all_tasks_are_over(kind) {
        let board = Board::new(2);
        let pool = tight_pool(kind, 1 << 16);
        let running = occupy(&pool, &board);
        let mut small = Vec::new();
        while let Ok(future) = pool.submit(length, vec![0; 200].into()) {
            small.push(future);
        }
        assert!(small.len() > 100, "only {} small ones fit", small.len());
        board[1].store(1, SeqCst);
        assert!(running.result().is_ok() && small.iter().all(|f| f.result() == Ok(200)));
        let large = pool.submit(length, vec![0; 40_000].into()).map(|f| f.result());
        assert_eq!(large, Ok(Ok(40_000)), "the same would go through in a fresh pool");
    }

    fn many_large_tasks_go_through_a_small_area(kind) {
        let pool = tight_pool(kind, 1 << 20);
        for i in 0..scaled(80, 3_000) {
            let len = 100_000 + i % 1000;
            let future = pool.submit(answer, (len as u32, pattern(len, 1))).unwrap();
            if i % 7 == 0 {
                future.detach();
                // It is over when the next one runs; its blocks must be back by then.
                continue;
            }
            let result = future.result().unwrap_or_else(|e| panic!("task {i}: {e}"));
            assert!(result.into_vec() == pattern(len, 2), "task {i}");
        }
    }

    fn every_end_of_a_task_gives_its_blocks_back(kind) {
        let name = unique_name();
        let builder = Executor::builder().workers(1).start(kind).capacity(16);
        let pool = builder.create_named(&name).unwrap();
        let blocks = || inspect(&name).unwrap().blocks;
        let large = || (1000_u32, pattern(1000, 1));
        for round in 0..20 {
            let board = Board::new(2);
            let set = pool.task_set().unwrap();
            let running = occupy(&pool, &board);
            let collected = pool.submit(answer, large()).unwrap();
            let (dropped, cancelled) = (pool.submit(answer, large()).unwrap(), pool.submit(answer, large()).unwrap());
            let panics = pool.submit(panic_with, "x".repeat(1000)).unwrap();
            let discarded = set.submit(answer, large()).unwrap();
            set.submit(answer, large()).unwrap().detach();
            let cancelled_and_dropped = pool.submit(answer, large()).unwrap();
            let left = pool.submit(answer, large()).unwrap();
            assert!(blocks() >= 8);
            drop(dropped);
            assert!(cancelled.cancel() && cancelled_and_dropped.cancel());
            drop(cancelled_and_dropped);
            assert_eq!(set.discard().unwrap().cancelled, 2);
            board[1].store(1, SeqCst);
            assert!(running.result().is_ok() && collected.result().is_ok() && panics.result().is_err());
            assert!(cancelled.result().is_err() && discarded.result().is_err());
            // Over, but nobody has asked: its outcome is pushed out of the ring by what follows, blocks and all.
            wait_until(SOON, || left.is_done());
            assert!(pool.submit_bulk(square, 0..100).unwrap().iter().all(|f| f.result().is_ok()));
            assert_eq!(left.result().unwrap().into_vec(), pattern(1000, 2));
            // Whoever ends a task that was dropped gives its blocks back just after.
            wait_until(SOON, || blocks() == 0);
            assert_eq!(blocks(), 0, "round {round}");
        }
    }

    fn many_threads_send_every_size_at_once(kind) {
        let each = scaled(100, 2_000);
        let pool = Executor::builder().workers(2).start(kind).capacity(16).build().unwrap();
        let seed = Random::new().below(1 << 40);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut size = seed.wrapping_mul(thread + 1);
                    let mut some_size = move || {
                        size = size.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(thread);
                        (size >> 33) as usize % (1 << (size >> 60))
                    };
                    let sizes: Vec<(usize, usize)> = (0..each).map(|_| (some_size(), some_size())).collect();
                    let inputs = sizes.iter().map(|&(args, result)| (result as u32, pattern(args, 1)));
                    let futures: Vec<_> = inputs.map(|input| pool.submit(answer, input).unwrap()).collect();
                    for (future, (args, result)) in futures.into_iter().zip(sizes) {
                        let bytes = future.result().unwrap_or_else(|e| panic!("{args} in, {result} out: {e}"));
                        assert!(bytes.into_vec() == pattern(result, 2), "{args} in, {result} out");
                    }
                });
            }
        });
    }
}

/// Blocks of every class come into being and go again, in three processes at once.
#[test]
fn a_tight_area_stays_sound_under_many_threads() {
    let _dog = common::watchdog(120);
    let rounds = scaled(300, 5_000);
    let pool = Executor::builder().workers(2).capacity(16).payload_max(1 << 16).build().unwrap();
    let seed = Random::new().below(1 << 40);
    let no_room = |e: &Error| matches!(e, Error::OutOfMemory { .. });
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, refused) = (&pool, &refused);
            scope.spawn(move || {
                let mut random = Random::seeded(seed + thread);
                for _ in 0..rounds {
                    let mut some_size = || {
                        let bits = random.below(16);
                        random.below(1 << bits)
                    };
                    let (args, result) = (some_size(), some_size());
                    let outcome = pool.submit(answer, (result as u32, pattern(args as usize, 1))).and_then(|f| f.result());
                    match outcome {
                        Ok(bytes) => assert!(bytes.into_vec() == pattern(result as usize, 2), "{args} in, {result} out"),
                        Err(e) if no_room(&e) => _ = refused.fetch_add(1, SeqCst),
                        Err(e) => panic!("{args} in, {result} out: {e}"),
                    }
                }
            });
        }
    });
    let refused = refused.into_inner();
    println!("{refused} of {} were refused for want of room", 4 * rounds);
    assert!(refused < 4 * rounds);
    assert_eq!(pool.submit(length, vec![0; 1 << 16].into()).unwrap().result(), Ok(1 << 16), "the area is whole again");
}

#[test]
fn sixty_four_mebibytes_go_both_ways() {
    let _dog = common::watchdog(120);
    let pool = pool_of(StartMethod::Spawn, 1);
    for len in [(64 << 20) - 1, 64 << 20] {
        let bytes = vec![7; len];
        let back = pool.submit(echo, bytes.into()).unwrap().result().unwrap();
        assert!(back.len() == len && back.iter().all(|&b| b == 7));
        drop(back);
    }
    assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
}
