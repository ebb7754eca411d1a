//! Rows 2, 11 and 32 at the locks: a holder is caught by stopping it at random moments, then killed, or let go on.

use crate::process_support::{
    LIMIT, Program, Random, Role, Test, hear, kill_and_release, pid_alive, say, unique, wait_until,
};
use crate::support::{Apart, assert_times, assert_whole, go_on, look, square, stop};
use std::time::{Duration, Instant};
use taskring::{Bytes, Error, Executor, Future, StartMethod};

taskring::task! {
    fn swallow(bytes: Bytes) -> u64 { bytes.0.len() as u64 }
}

pub const ROLES: &[Role] = &[
    ("holds a lane", holds_a_lane),
    ("holds the participants", holds_the_participants),
    ("holds the payload blocks", holds_the_blocks),
    ("attacher", attacher),
];

pub const TESTS: &[Test] = &[
    ("fault_02_a_lane_whose_holder_was_killed_is_taken_over", lane_taken_over),
    ("fault_02_the_registry_whose_holder_was_killed_is_taken_over", registry_taken_over),
    ("fault_02_the_blocks_whose_holder_was_killed_are_taken_over", blocks_taken_over),
    ("fault_11_a_stopped_holder_of_a_lane_is_not_robbed_and_other_lanes_go_on", stopped_holder),
    ("fault_32_a_holder_whose_memory_is_reaped_at_once_is_no_other_dead_one", reaped_holder),
];

/// Publishes and cancels without end: most of its time it holds its lane.
pub fn holds_a_lane(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    say("begins");
    loop {
        let futures = pool.submit_bulk(square, 0..64).expect("submitted");
        futures.iter().for_each(|f| _ = f.cancel());
    }
}

/// Attaches and leaves without end.
fn holds_the_participants(args: &[String]) {
    say("begins");
    loop {
        drop(Executor::attach(&args[0]).expect("attached"));
    }
}

/// Fills the payload area with blocks of one size, then of another, for which the first are taken out of being; then asks for more without end, each
/// time in vain, and each time with a look under the mutex at what could be taken out.
fn holds_the_blocks(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    say("begins");
    let mut futures: Vec<Future<u64>> = Vec::new();
    let fill = |len: usize, futures: &mut Vec<_>| match pool.try_submit(swallow, Bytes(vec![7; len])) {
        Ok(future) => futures.push(future),
        Err(e) => assert!(matches!(e, Error::OutOfMemory { .. }), "{e}"),
    };
    for _ in 0..PAYLOAD_MAX / 256 + 1 {
        fill(200, &mut futures);
    }
    futures.drain(..).for_each(|f| assert!(f.cancel()));
    loop {
        fill(3000, &mut futures);
    }
}

const PAYLOAD_MAX: u64 = 1 << 14;

/// Attaches once.
fn attacher(args: &[String]) {
    say("begins");
    let pool = Executor::attach(&args[0]).expect("attached");
    say("attached");
    hear();
    drop(pool);
}

/// How long the catches of one test may take together: its watchdog has a third more.
pub const PATIENCE: Duration = LIMIT.saturating_mul(3);

/// A program stopped while it holds a mutex of the pool: `a lane`, `participants` or `payload blocks`. What it takes is no longer part of the patience.
pub fn catch(name: &str, what: &'static str, patience: &mut Duration) -> Program {
    let role = match what {
        "a lane" => "holds a lane",
        "participants" => "holds the participants",
        _ => "holds the payload blocks",
    };
    catch_as(role, name, what, patience)
}

/// The same of a program in this role.
pub fn catch_as(role: &str, name: &str, what: &'static str, patience: &mut Duration) -> Program {
    let mut random = Random::new();
    let program = Program::start(role, &[name]);
    program.expect("begins");
    let pid = program.pid();
    let start = Instant::now();
    for tries in 1.. {
        std::thread::sleep(Duration::from_micros(random.below(700)));
        stop(pid);
        if holds(name, what, pid) {
            println!("caught after {tries} stops");
            *patience = patience.saturating_sub(start.elapsed());
            return program;
        }
        assert!(pid_alive(pid) && start.elapsed() < *patience, "{role} never stood still with the mutex, in {tries} tries");
        go_on(pid);
    }
    unreachable!("it is caught, or the time is over")
}

fn holds(name: &str, what: &str, pid: u32) -> bool {
    let view = look(name);
    match what {
        "a lane" => view.lanes.iter().any(|lane| lane.mutex_owner == Some(pid)),
        _ => view.held.iter().any(|&(mutex, holder)| mutex == what && holder == pid),
    }
}

/// Handles enough for two to a lane, so that one of them shares whatever lane the holder has.
pub fn two_to_a_lane(name: &str) -> Vec<Executor> {
    (0..24).map(|_| Executor::attach(name).expect("attached")).collect()
}

/// How long until each of these can submit. The first who comes to the lock takes it over.
pub fn submit_with_each(pools: &[Executor]) -> Duration {
    let start = Instant::now();
    for pool in pools {
        let future = pool.submit_timeout(square, 1, LIMIT).expect("submitted");
        future.cancel();
    }
    start.elapsed()
}

fn lane_taken_over() {
    let (mut times, mut patience) = ([Vec::new(), Vec::new()], PATIENCE);
    for round in 0..6 {
        let supervised = round % 2 == 0;
        let mut apart = Apart::new("lane", 1, 256);
        let mut holder = catch(&apart.name, "a lane", &mut patience);
        let pools = two_to_a_lane(&apart.name);
        if !supervised {
            apart.owner.kill();
        }
        holder.kill();
        times[round % 2].push(submit_with_each(&pools));
        drop(pools);
        assert_whole(&apart.name, &apart.pool, 1);
        end(apart, supervised);
    }
    assert_taken_over("a lane", times);
}

fn registry_taken_over() {
    let (mut times, mut patience) = ([Vec::new(), Vec::new()], PATIENCE);
    for round in 0..6 {
        let supervised = round % 2 == 0;
        let mut apart = Apart::new("registry", 1, 8);
        let mut holder = catch(&apart.name, "participants", &mut patience);
        if !supervised {
            apart.owner.kill();
        }
        holder.kill();
        let start = Instant::now();
        drop(Executor::attach(&apart.name).expect("attached"));
        times[round % 2].push(start.elapsed());
        assert_whole(&apart.name, &apart.pool, 1);
        end(apart, supervised);
    }
    assert_taken_over("the registry", times);
}

/// Here nobody else is there to take it over first: the pool has no workers.
fn blocks_taken_over() {
    let (mut times, mut patience) = (Vec::new(), PATIENCE);
    for _ in 0..3 {
        let name = unique("blocks");
        let builder = Executor::builder().start(StartMethod::None).capacity(128).payload_max(PAYLOAD_MAX);
        let builder = builder.orphans(taskring::Orphans::CancelPending);
        let pool = builder.create_named(&name).expect("a pool");
        let mut holder = catch(&name, "payload blocks", &mut patience);
        holder.kill();
        let start = Instant::now();
        // A block of a size that there is none of yet.
        let future = loop {
            match pool.submit(swallow, Bytes(vec![1; 10_000])) {
                Ok(future) => break future,
                // The blocks that the dead one used are not free before it is found dead.
                Err(Error::OutOfMemory { .. }) => assert!(start.elapsed() < LIMIT),
                Err(e) => panic!("{e}"),
            }
        };
        times.push(start.elapsed());
        assert!(future.cancel());
        drop(future);
        wait_until("its tasks are let go", || crate::support::count_of(&look(&name), "submitter") == 0);
        let view = look(&name);
        assert!(view.held.is_empty() && view.lanes.iter().all(|l| l.mutex_owner.is_none()), "{view}");
        // What it had submitted runs, and nothing is left of it.
        let work = name.clone();
        let worker = std::thread::spawn(move || taskring::work(&work));
        assert_whole(&name, &pool, 0);
        drop(pool);
        worker.join().expect("no panic").expect("worked to the pool's end");
    }
    assert_times("the blocks taken over", times, Duration::from_millis(100));
}

/// With a supervisor the time is that of the contract; without one nobody else looks for proof before the waiter itself.
#[track_caller]
fn assert_taken_over(what: &str, times: [Vec<Duration>; 2]) {
    for times in times {
        assert_times(&format!("{what} taken over"), times, Duration::from_millis(100));
    }
}

fn end(mut apart: Apart, supervised: bool) {
    if supervised {
        drop(apart.pool);
        apart.owner.end();
    } else {
        apart.end();
    }
}

fn stopped_holder() {
    let apart = Apart::new("stalled", 2, 256);
    let mut patience = PATIENCE;
    let mut holder = catch(&apart.name, "a lane", &mut patience);
    // They all begin now, and wait at the same time: those in the holder's lane give up after five seconds.
    let pools = two_to_a_lane(&apart.name);
    let results: Vec<_> = std::thread::scope(|scope| {
        let submit = |pool: &Executor| {
            let start = Instant::now();
            (pool.submit(square, 3).and_then(|f| f.result()), start.elapsed())
        };
        let threads: Vec<_> = pools.iter().map(|pool| scope.spawn(move || submit(pool))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let stalled = Err(Error::Stalled { pid: holder.pid() });
    let (robbed, others): (Vec<_>, Vec<_>) = results.into_iter().partition(|(result, _)| *result == stalled);
    println!("stalled: {robbed:?}");
    assert!(!robbed.is_empty(), "some share its lane");
    assert!(robbed.iter().all(|(_, after)| *after > Duration::from_secs(4)), "{robbed:?}");
    assert!(others.iter().all(|(result, _)| *result == Ok(9)), "{others:?}");
    assert!(others.iter().all(|(_, after)| *after < Duration::from_secs(3)), "{others:?}");
    assert!(holds(&apart.name, "a lane", holder.pid()), "nobody took it");
    go_on(holder.pid());
    for pool in &pools {
        assert_eq!(pool.submit(square, 3).and_then(|f| f.result()), Ok(9));
    }
    assert!(pid_alive(holder.pid()), "it goes on where it was");
    drop(pools);
    holder.kill();
    assert_whole(&apart.name, &apart.pool, 1);
    end(apart, true);
}

fn reaped_holder() {
    let (mut times, mut released, mut patience) = (Vec::new(), 0, PATIENCE);
    for round in 0..12 {
        // Three will do, unless each of them has ended before.
        if round >= 3 && released > 0 {
            break;
        }
        let apart = Apart::new("reaped", 1, 256);
        let mut holder = catch(&apart.name, "a lane", &mut patience);
        let pools = two_to_a_lane(&apart.name);
        released += u64::from(kill_and_release(holder.pid()));
        holder.kill();
        times.push(submit_with_each(&pools));
        drop(pools);
        assert_whole(&apart.name, &apart.pool, 1);
        end(apart, true);
    }
    assert!(released > 0, "no holder's memory was there to be taken");
    assert_times("a lane taken over after process_mrelease", times, Duration::from_millis(100));
}
