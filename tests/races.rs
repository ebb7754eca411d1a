//! Everything that threads of one process do to each other through one mapping of the segment, for ThreadSanitizer: it sees races only between
//! accesses through the same address, so workers are threads here. `TASKRING_SEEDED_RACE=1` adds a race of the test's own, which must be found.
//!
//! In `cargo test` this is a test of results. Under the sanitizer, on the nightly toolchain: `tests/races.sh`.

mod process_support;

use process_support::common::{self, Random, scaled};
use std::cell::UnsafeCell;
use std::ffi::{CString, c_void};
use std::os::unix::fs::MetadataExt;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use taskring::ffi::{self, TASKRING_INFINITE, taskring_completion, taskring_pool, taskring_status::TASKRING_OK};
use taskring::{Bytes, Error, Executor, MapOptions, Payload, StartMethod, SubmitOptions, When, as_completed, wait};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn add_up(bytes: Bytes) -> u64 { bytes.0.iter().map(|&b| u64::from(b)).sum() }
    fn fill(len: u64) -> Bytes { Bytes(vec![7; len as usize]) }
    /// Sends so many events, each as soon as there is room, and then another payload.
    fn sends(count: u64) -> Result<Bytes, taskring::TaskError> {
        for n in 0..count {
            while let Err(e) = taskring::task::send_event(&Bytes(vec![n as u8; 200])) {
                match e {
                    Error::EventsFull { .. } => std::thread::yield_now(),
                    e => return Err(e.into()),
                }
            }
        }
        Ok(Bytes(vec![1; 16 << 10]))
    }
    /// Writes to memory that its submitter reads when it has the result: nothing but the pool orders the two.
    fn write_plainly(place: u64, x: u64) -> u64 {
        // SAFETY: the submitter keeps the place alive until it has this task's result, and does not touch it before.
        unsafe { *(place as usize as *mut u64) = x };
        x
    }
    /// The same to a place that the submitter does not leave alone, in the run that is to show that the sanitizer is awake.
    fn write_at_once(x: u64) -> u64 {
        for _ in 0..100 {
            // SAFETY: a race on purpose, of whole aligned words.
            unsafe { SEEDED.0.get().write(x) };
            std::thread::yield_now();
        }
        x
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[],
        &[
            ("submit_cancel_and_collect", submit_cancel_and_collect),
            ("sets_are_discarded_while_others_feed_them", sets_are_discarded_while_others_feed_them),
            ("waits_for_many", waits_for_many),
            ("maps_bulks_and_blocks", maps_bulks_and_blocks),
            ("events_of_tasks_and_their_results", events_of_tasks_and_their_results),
            ("a_result_orders_what_its_task_wrote", a_result_orders_what_its_task_wrote),
            ("loans_and_completion_queues_of_the_c_interface", loans_and_completion_queues_of_the_c_interface),
            ("shutting_down_while_others_submit", shutting_down_while_others_submit),
            ("two_mappings_of_one_segment_agree", two_mappings_of_one_segment_agree),
            ("a_seeded_race_is_there_when_it_is_asked_for", a_seeded_race_is_there_when_it_is_asked_for),
        ],
    );
}

struct Seeded(UnsafeCell<u64>);
// SAFETY: it is none: that is what the sanitizer is to tell.
unsafe impl Sync for Seeded {}
static SEEDED: Seeded = Seeded(UnsafeCell::new(0));

fn threads_of(pool_workers: usize, capacity: usize) -> Executor {
    let builder = Executor::builder().workers(pool_workers).capacity(capacity).start(StartMethod::Thread);
    builder.payload_max(64 << 20).build().expect("a pool")
}

/// Several threads of submitters at once, each with its own numbers.
fn in_threads(count: u64, act: impl Fn(u64, Random) + Sync) {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..count {
            let act = &act;
            threads.push(scope.spawn(move || act(thread, Random::seeded(thread + 1))));
        }
        // Asked for one by one: the end of the scope alone is told by means that the sanitizer does not see.
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

fn submit_cancel_and_collect() {
    let pool = threads_of(2, 16);
    let rounds = scaled(150, 1000) as u64;
    let ran = AtomicU64::new(0);
    in_threads(3, |_, mut random| {
        for round in 0..rounds {
            let futures: Vec<_> = (0..4).map(|i| pool.submit(square, round + i).expect("submitted")).collect();
            let cancelled = random.below(3) == 0 && futures[3].cancel();
            let dropped = random.below(3) == 0;
            for (i, future) in (0_u64..).zip(futures) {
                match (i, cancelled, dropped) {
                    (3, true, _) => assert_eq!(future.result(), Err(Error::Cancelled)),
                    (2, _, true) => future.detach(),
                    _ => assert_eq!(future.result(), Ok((round + i) * (round + i))),
                }
                ran.fetch_add(1, Relaxed);
            }
        }
    });
    pool.shutdown(true, false).expect("shut down");
    assert_eq!(ran.into_inner(), 3 * 4 * rounds);
}

fn sets_are_discarded_while_others_feed_them() {
    let pool = threads_of(2, 32);
    for _ in 0..scaled(20, 100) {
        let set = pool.task_set().expect("a set");
        in_threads(3, |thread, _| {
            for x in 0..40 {
                match set.submit(square, x) {
                    Ok(future) => drop(future.result()),
                    Err(e) => assert_eq!(e, Error::Discarded),
                }
                if thread == 2 && x == 20 {
                    set.discard().expect("discarded");
                }
            }
        });
    }
}

fn waits_for_many() {
    let pools = [threads_of(2, 16), threads_of(1, 64)];
    let rounds = scaled(20, 100);
    in_threads(3, |thread, mut random| {
        for _ in 0..rounds {
            let futures: Vec<_> = (0..12).map(|x| pools[x as usize % 2].submit(square, x).expect("submitted")).collect();
            let when = [When::FirstCompleted, When::AllCompleted, When::FirstException][random.below(3) as usize];
            let waited = wait(&futures, Some(Duration::from_secs(60)), when).expect("waited");
            assert!(!waited.done.is_empty());
            let sum: u64 = if thread == 0 {
                futures.iter().map(|f| f.result().expect("it ran")).sum()
            } else {
                as_completed(futures, None).map(|f| f.expect("in time").result().expect("it ran")).sum()
            };
            assert_eq!(sum, (0..12).map(|x| x * x).sum::<u64>());
        }
    });
}

fn maps_bulks_and_blocks() {
    let pool = threads_of(2, 16);
    let rounds = scaled(5, 30);
    in_threads(3, |thread, mut random| {
        for _ in 0..rounds {
            let options = MapOptions::new().window(8).chunk(1 + random.below(4) as usize).ordered(thread != 0);
            let sum: u64 = pool.map_with(&options, square, 0..100).expect("a map").map(|r| r.expect("it ran")).sum();
            assert_eq!(sum, (0..100).map(|x| x * x).sum());
            let len = 1 + random.below(20_000) as usize;
            let options = SubmitOptions::new().idempotent(true);
            let large = pool.submit_with(&options, add_up, Bytes(vec![3; len])).expect("submitted");
            let filled = pool.submit(fill, len as u64).expect("submitted");
            let bulk = pool.submit_bulk(square, 0..20).expect("submitted");
            assert_eq!(large.result(), Ok(3 * len as u64));
            assert_eq!(filled.result().map(|b| b.0), Ok(vec![7; len]));
            bulk.into_iter().zip(0..).for_each(|(future, x)| assert_eq!(future.result(), Ok(x * x)));
        }
    });
}

/// The pool is all that orders a task's writes before what its submitter does with the result.
fn a_result_orders_what_its_task_wrote() {
    let pool = threads_of(2, 16);
    let rounds = scaled(100, 1000) as u64;
    in_threads(3, |_, _| {
        for x in 0..rounds {
            let mut place = Box::new(0_u64);
            *place = 1;
            let at = (&raw mut *place) as usize as u64;
            assert_eq!(pool.submit(write_plainly, (at, x)).expect("submitted").result(), Ok(x));
            assert_eq!(*place, x);
        }
    });
}

fn loans_and_completion_queues_of_the_c_interface() {
    // SAFETY: a config is integers and pointers, for which zero means the defaults.
    let mut config: ffi::taskring_config = unsafe { std::mem::zeroed() };
    config.struct_size = size_of::<ffi::taskring_config>() as u32;
    (config.start_method, config.workers) = (ffi::TASKRING_THREAD, 2);
    let (mut pool, mut function) = (null_mut(), 0);
    let name = CString::new(add_up.name()).expect("a name");
    // SAFETY: the config and the name live for the calls, the places are live locals.
    unsafe {
        assert_eq!(ffi::taskring_create(&raw const config, &raw mut pool), TASKRING_OK);
        assert_eq!(ffi::taskring_function(pool, name.as_ptr(), &raw mut function), TASKRING_OK);
    }
    let (handle, rounds) = (pool as usize, scaled(30, 200));
    in_threads(3, |_, mut random| {
        for _ in 0..rounds {
            c_round(handle as *mut taskring_pool, function, 1 + random.below(5000) as usize);
        }
    });
    // SAFETY: a living handle, which nobody uses any more.
    assert_eq!(unsafe { ffi::taskring_free(pool) }, TASKRING_OK);
}

fn c_round(pool: *mut taskring_pool, function: u32, len: usize) {
    let mut args = Vec::new();
    Bytes(vec![2; len]).encode(&mut args).expect("encoded");
    let (mut queue, mut loan, mut data, mut ticket) = (null_mut(), 0, null_mut::<c_void>(), 0);
    let mut all = [taskring_completion { pool: null_mut(), ticket: 0, user_data: 0, reserved: 0 }; 4];
    let (mut count, mut result, mut found) = (0, null::<c_void>(), 0);
    // SAFETY: a living handle; the places are live locals, and a loan has room for what was asked for.
    unsafe {
        assert_eq!(ffi::taskring_completions_new(&raw mut queue), TASKRING_OK);
        assert_eq!(ffi::taskring_loan(pool, args.len(), &raw mut loan, &raw mut data), TASKRING_OK);
        std::ptr::copy_nonoverlapping(args.as_ptr(), data.cast(), args.len());
        let len = args.len();
        let status = ffi::taskring_submit_loan(pool, function, loan, len, null(), TASKRING_INFINITE, &raw mut ticket);
        assert_eq!(status, TASKRING_OK);
        assert_eq!(ffi::taskring_completions_add(queue, pool, ticket, 5), TASKRING_OK);
        let status = ffi::taskring_completions_next(queue, TASKRING_INFINITE, all.as_mut_ptr(), 4, &raw mut count);
        assert_eq!((status, count, all[0].user_data), (TASKRING_OK, 1, 5));
        assert_eq!(ffi::taskring_view(pool, ticket, 0, &raw mut result, &raw mut found), TASKRING_OK);
        let bytes = std::slice::from_raw_parts(result.cast::<u8>(), found);
        assert_eq!(u64::decode(bytes), Ok(2 * args.len() as u64));
        assert_eq!(ffi::taskring_release(pool, ticket), TASKRING_OK);
        assert_eq!(ffi::taskring_completions_free(queue), TASKRING_OK);
    }
}

/// Pools come and go while others submit to them.
fn shutting_down_while_others_submit() {
    for round in 0..scaled(20, 100) {
        let pool = threads_of(2, 8);
        in_threads(3, |thread, mut random| {
            for x in 0..50 {
                if thread == 2 && x == random.below(40) {
                    pool.shutdown(round % 2 == 0, round % 3 == 0).expect("shut down");
                }
                match pool.submit_timeout(square, x, Duration::from_secs(60)).map(|future| future.result()) {
                    Ok(Ok(value)) => assert_eq!(value, x * x),
                    Ok(Err(e)) | Err(e) => assert!(matches!(e, Error::ShutDown | Error::Cancelled), "{e:?}"),
                }
            }
        });
    }
}

/// One segment at two addresses: whoever comes by name to a pool of its own process has a mapping of its own.
fn two_mappings_of_one_segment_agree() {
    let name = common::unique_name();
    let pool = Executor::builder().workers(2).capacity(32).start(StartMethod::Thread).create_named(&name).expect("a pool");
    let other = Executor::attach(&name).expect("attached");
    let rounds = scaled(100, 500) as u64;
    let inode = std::fs::metadata(process_support::pool_file(&name)).expect("the pool's file").ino().to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    let is_start = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].parse() == Ok(0_u64) && fields[4] == inode
    };
    assert_eq!(maps.lines().filter(is_start).count(), 2, "two mappings of the whole:\n{maps}");
    in_threads(4, |thread, mut random| {
        let pool = if thread % 2 == 0 { &pool } else { &other };
        for x in 0..rounds {
            let len = random.below(6000);
            let filled = pool.submit(fill, len).expect("submitted");
            let squared = pool.submit(square, x).expect("submitted");
            if random.below(4) == 0 {
                filled.cancel();
            }
            match filled.result() {
                Ok(bytes) => assert_eq!(bytes.0, vec![7; len as usize]),
                Err(e) => assert_eq!(e, Error::Cancelled),
            }
            assert_eq!(squared.result(), Ok(x * x));
        }
    });
}

/// Under the sanitizer this must be reported: else its silence about the rest would mean nothing.
fn a_seeded_race_is_there_when_it_is_asked_for() {
    if std::env::var_os("TASKRING_SEEDED_RACE").is_none() {
        println!("no race is seeded: TASKRING_SEEDED_RACE is not set");
        return;
    }
    let pool = threads_of(1, 16);
    for x in 0..5 {
        let future = pool.submit(write_at_once, x).expect("submitted");
        while !future.is_done() {
            // SAFETY: a race on purpose, of whole aligned words.
            unsafe { SEEDED.0.get().write(x + 1) };
            std::thread::yield_now();
        }
        assert_eq!(future.result(), Ok(x));
    }
}

/// Threads read, one of them takes the result with what is unread, and the blocks are used again for arguments and results.
fn events_of_tasks_and_their_results() {
    let pool = Executor::builder().workers(2).start(StartMethod::Thread).capacity(8).build().expect("a pool");
    for round in 0..scaled(10, 60) {
        let count = 50 + round as u64 * 7 % 400;
        let all: Vec<_> = (0..3).map(|_| pool.submit(sends, count).expect("submitted")).collect();
        // Of how many there are, and which.
        let weight = |n: u64| 1000 + n % 256;
        let read: u64 = std::thread::scope(|scope| {
            let read = |future: &taskring::Future<Bytes>| {
                future.events::<Bytes>().map(|found| weight(u64::from(found.expect("an event").0[0]))).sum::<u64>()
            };
            let readers: Vec<_> =
                all.iter().flat_map(|future| [(); 2].map(|()| scope.spawn(move || read(future)))).collect();
            for future in &all {
                assert_eq!(future.result().expect("sent").0.len(), 16 << 10);
                assert_eq!(pool.submit(add_up, vec![1; 16 << 10].into()).expect("submitted").result(), Ok(16 << 10));
            }
            readers.into_iter().map(|reader| reader.join().expect("no panic")).sum()
        });
        assert_eq!(read, 3 * (0..count).map(weight).sum::<u64>());
    }
}
