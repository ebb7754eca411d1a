//! The second kind of lane mutex, a robust pthread mutex through `raw_sync`: what it keeps, what it cannot keep, and what `raw_sync` alone does.

use crate::locks::{PATIENCE, catch, catch_as, holds_a_lane, submit_with_each, two_to_a_lane};
use crate::process_support::common::Board;
use crate::process_support::{LIMIT, Program, Role, Test, hear, pid_alive, say, unique, wait_until};
use crate::support::{assert_times, assert_whole, go_on, square};
use raw_sync::Timeout;
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, MutexKind, StartMethod, inspect};

pub const ROLES: &[Role] = &[("holds a lane unlisted", holds_a_lane_unlisted), ("holds a plain mutex", holds_a_plain_mutex)];

pub const TESTS: &[Test] = &[
    ("a_pool_with_pthread_mutexes_does_what_others_do", works),
    ("fault_02_a_pthread_mutex_whose_holder_was_killed_is_passed_on", passed_on),
    ("fault_11_a_stopped_holder_of_a_pthread_mutex_is_not_robbed", not_robbed),
    ("fault_32_a_pthread_mutex_that_stays_locked_ends_the_pool", stays_locked),
    ("raw_sync_alone_leaves_a_killed_owners_mutex_locked", plain_hangs),
];

/// Holds a lane as others do, in a thread whose list of mutexes the kernel does not know.
fn holds_a_lane_unlisted(args: &[String]) {
    #[repr(C)]
    struct List {
        next: *const List,
        offset: i64,
        pending: *const List,
    }
    let list: &mut List = Box::leak(Box::new(List { next: std::ptr::null(), offset: 0, pending: std::ptr::null() }));
    list.next = list;
    // SAFETY: an empty list, which points at itself and stays.
    let set = unsafe { libc::syscall(libc::SYS_set_robust_list, &raw const *list, size_of::<List>()) };
    assert_eq!(set, 0);
    holds_a_lane(args);
}

fn named(what: &str, workers: usize, capacity: usize) -> (String, Executor) {
    let name = unique(what);
    let builder = Executor::builder().workers(workers).capacity(capacity).lane_mutex(MutexKind::Pthread);
    let pool = builder.create_named(&name).expect("a pool");
    (name, pool)
}

/// Several threads and an attached submitter, with more tasks than slots; workers of each sort.
fn works() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Thread] {
        let name = unique("pthread");
        let builder = Executor::builder().workers(2).start(method).capacity(64).lane_mutex(MutexKind::Pthread);
        let pool = builder.create_named(&name).expect("a pool");
        let other = Executor::attach(&name).expect("attached");
        std::thread::scope(|scope| {
            for pool in [&pool, &pool, &other] {
                scope.spawn(move || {
                    for x in 0..2000 {
                        assert_eq!(pool.submit(square, x).expect("submitted").result(), Ok(x * x));
                    }
                    for (x, future) in pool.submit_bulk(square, 0..500).expect("submitted").into_iter().enumerate() {
                        assert_eq!(future.result(), Ok((x * x) as u64));
                    }
                    let squares = pool.map(square, 0..300_u64).expect("a map");
                    assert!(squares.enumerate().all(|(x, found)| found == Ok((x * x) as u64)));
                });
            }
        });
        let view = inspect(&name).expect("a pool");
        assert!(view.lanes.iter().all(|lane| lane.mutex_owner.is_none()), "{view}");
        pool.shutdown(true, false).expect("it ends");
        assert_eq!(other.submit(square, 1).map(drop), Err(Error::ShutDown));
    }
}

fn passed_on() {
    let (mut times, mut patience) = (Vec::new(), PATIENCE);
    for _ in 0..5 {
        let (name, pool) = named("passed", 1, 256);
        let mut holder = catch(&name, "a lane", &mut patience);
        let pools = two_to_a_lane(&name);
        holder.kill();
        times.push(submit_with_each(&pools));
        drop(pools);
        assert_whole(&name, &pool, 0);
    }
    assert_times("a pthread mutex passed on", times, Duration::from_millis(100));
}

fn not_robbed() {
    let (name, pool) = named("robbed", 1, 256);
    let mut holder = catch(&name, "a lane", &mut PATIENCE.clone());
    let pools = two_to_a_lane(&name);
    let start = Instant::now();
    let refused: Vec<Error> = std::thread::scope(|scope| {
        let each = pools.iter().map(|pool| scope.spawn(|| pool.submit(square, 1).map(|f| f.cancel()).err()));
        let all: Vec<_> = each.collect();
        all.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(!refused.is_empty() && refused.iter().all(|e| *e == Error::Stalled { pid: holder.pid() }), "{refused:?}");
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    go_on(holder.pid());
    // It goes on with a whole lane, as those do who share it.
    wait_until("it lets the lane go", || pools.iter().all(|pool| pool.submit(square, 1).is_ok()));
    assert!(pid_alive(holder.pid()));
    holder.kill();
    assert_eq!(pool.submit(square, 7).expect("submitted").result(), Ok(49));
}

/// As when its memory goes before its end: the kernel finds no list of what the dead one has locked. Nobody waits for ever.
fn stays_locked() {
    let (name, pool) = named("locked", 1, 256);
    let mut holder = catch_as("holds a lane unlisted", &name, "a lane", &mut PATIENCE.clone());
    let pools = two_to_a_lane(&name);
    holder.kill();
    let start = Instant::now();
    let errors: Vec<Error> = pools.iter().filter_map(|p| p.submit(square, 1).map(drop).err()).collect();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert!(!errors.is_empty() && errors.iter().all(|e| matches!(e, Error::Corrupt { .. })), "{errors:?}");
    assert!(matches!(pool.submit(square, 1).map(drop), Err(Error::Corrupt { .. })), "for everybody");
}

/// A mutex of `raw_sync`'s own making, in memory that others have mapped.
fn plain_mutex(board: &'static [std::sync::atomic::AtomicU64], is_new: bool) -> Box<dyn LockImpl> {
    let at = board.as_ptr().cast_mut().cast::<u8>();
    assert!(size_of_val(board) >= Mutex::size_of(Some(at)));
    // SAFETY: a mapping that stays, large enough; the first of its users makes the mutex, before others are told of it.
    let made = unsafe {
        if is_new { Mutex::new(at, std::ptr::null_mut()) } else { Mutex::from_existing(at, std::ptr::null_mut()) }
    };
    made.expect("a mutex").0
}

fn holds_a_plain_mutex(args: &[String]) {
    let mutex = plain_mutex(Board::at(&args[0]), false);
    let _held = mutex.lock().expect("locked");
    say("holds");
    hear();
}

fn plain_hangs() {
    let board = Board::new(8);
    let mutex = plain_mutex(Board::at(&board.name()), true);
    drop(mutex.try_lock(Timeout::Val(Duration::from_secs(1))).expect("nobody has it"));
    let mut holder = Program::start("holds a plain mutex", &[&board.name()]);
    holder.expect("holds");
    holder.kill();
    for _ in 0..2 {
        let error = mutex.try_lock(Timeout::Val(Duration::from_secs(1))).map(drop).expect_err("nobody will ever have it");
        assert!(error.to_string().ends_with(&format!(" {}", libc::ETIMEDOUT)), "{error}");
    }
}
