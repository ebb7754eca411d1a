//! Tasks for one worker, and for every worker, where the workers or the submitter came by the pool's name.

mod process_support;

use process_support::common::own_pid;
use process_support::{LIMIT, Program, hear, kill, pid_alive, say, signal, unique, wait_until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, StartMethod};

taskring::task! {
    fn number() -> Option<u32> { taskring::task::worker_number() }
    fn sleep_long() -> u32 {
        std::thread::sleep(3 * LIMIT);
        0
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[("worker", worker), ("owner", owner)],
        &[
            ("a_broadcast_reaches_workers_that_came_by_name", broadcast_by_name),
            ("what_is_for_a_worker_that_came_by_name_ends_with_it", ends_with_it),
            ("what_is_for_a_worker_is_not_run_by_whoever_has_its_seat_next", not_the_next_one),
            ("a_pool_that_closes_does_not_wait_for_a_worker_that_is_gone", closes),
            ("another_submitter_names_workers_too", another_submitter),
            ("each_death_of_a_worker_leaves_the_whole_start_time_out", each_death),
            ("without_its_owner_a_pool_has_the_workers_that_are_left", without_owner),
        ],
    );
}

fn worker(args: &[String]) {
    say("works");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// Owns a pool with two workers until it is told to go or killed.
fn owner(args: &[String]) {
    let _pool = Executor::builder().workers(2).start_timeout(SHORT).create_named(&args[0]).expect("a pool");
    say("made");
    hear();
}

/// The owner has the first seat, and the first worker the next.
const FIRST: &str = " at the worker in seat 1";
const SHORT: Duration = Duration::from_millis(700);

fn pool_without_workers(name: &str, start_timeout: Duration) -> Executor {
    let builder = Executor::builder().start(StartMethod::None).start_timeout(start_timeout);
    builder.create_named(name).expect("a pool")
}

/// A worker that is ready.
fn started(pool: &Executor, name: &str) -> Program {
    let before = pool.workers();
    let worker = Program::start("worker", &[name]);
    worker.expect("works");
    wait_until("the worker is ready", || pool.workers() == before + 1);
    worker
}

fn pids(futures: &[Future<u32>]) -> BTreeSet<u32> {
    futures.iter().map(|future| future.result().expect("a result")).collect()
}

/// The error of a task whose worker is gone.
#[track_caller]
fn assert_nobody<T: taskring::Payload>(future: &Future<T>, at: &str) {
    match future.result() {
        Err(Error::NoWorkerFor { name, .. }) => assert!(name.ends_with(at), "{name}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it ran"),
    }
}

fn broadcast_by_name() {
    let name = unique("broadcast-by-name");
    let pool = pool_without_workers(&name, LIMIT);
    assert!(pool.broadcast(own_pid, ()).expect("nobody").is_empty());
    let (a, b) = (started(&pool, &name), started(&pool, &name));
    let both = BTreeSet::from([a.pid(), b.pid()]);
    for _ in 0..20 {
        let told = pool.broadcast(own_pid, ()).expect("submitted");
        assert_eq!((told.len(), pids(&told)), (2, both.clone()));
    }
    let attached = Executor::attach(&name).expect("attached");
    assert_eq!(pids(&attached.broadcast(own_pid, ()).expect("submitted")), both);
    // They have no numbers.
    match pool.submit_to(0, number, ()).map(drop) {
        Err(Error::InvalidArgument { name: "worker", value, .. }) => assert_eq!(value, "0"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.submit(number, ()).expect("submitted").result(), Ok(None));
    drop((attached, pool));
}

fn ends_with_it() {
    let name = unique("ends-with-it");
    let pool = pool_without_workers(&name, SHORT);
    let _a = started(&pool, &name);
    let held = pool.broadcast(sleep_long, ()).expect("submitted");
    let waiting = pool.broadcast(own_pid, ()).expect("submitted");
    assert_eq!((held.len(), waiting.len()), (1, 1));
    wait_until("it runs", || held[0].worker_pid().is_some());
    let other = started(&pool, &name);
    // Longer than the start time-out: a worker that is busy is there all the same.
    std::thread::sleep(2 * SHORT);
    assert!(!waiting[0].is_done());
    kill(held[0].worker_pid().expect("it runs"));
    assert!(matches!(held[0].result(), Err(Error::WorkerLost { .. })));
    assert_nobody(&waiting[0], FIRST);
    assert_eq!(pids(&pool.broadcast(own_pid, ()).expect("submitted")), BTreeSet::from([other.pid()]));
}

fn not_the_next_one() {
    let name = unique("not-the-next-one");
    // So long that the next worker is ready before it is over.
    let pool = pool_without_workers(&name, 4 * SHORT);
    let held_and_waiting = || {
        let worker = Program::start("worker", &[&name]);
        worker.expect("works");
        let mut held = None;
        wait_until("the worker is ready", || {
            held = pool.broadcast(sleep_long, ()).expect("submitted").pop();
            held.is_some()
        });
        wait_until("it runs", || held.as_ref().and_then(Future::worker_pid).is_some());
        let waiting = pool.broadcast(own_pid, ()).expect("submitted").remove(0);
        (worker, held.expect("it runs"), waiting)
    };
    let (mut a, held_a, waiting_a) = held_and_waiting();
    a.kill();
    assert!(matches!(held_a.result(), Err(Error::WorkerLost { .. })));
    wait_until("its seat is free", || pool.worker_pids().is_empty());
    let (mut b, held_b, waiting_b) = held_and_waiting();
    assert!(!waiting_a.is_done(), "the time is not over");
    b.kill();
    assert!(matches!(held_b.result(), Err(Error::WorkerLost { .. })));
    assert_nobody(&waiting_a, FIRST);
    // It had the same seat.
    assert_nobody(&waiting_b, FIRST);
}

fn closes() {
    let name = unique("closes");
    // So long that nobody waits for it here.
    let pool = pool_without_workers(&name, 3 * LIMIT);
    let mut a = started(&pool, &name);
    let held = pool.broadcast(sleep_long, ()).expect("submitted");
    let waiting = pool.broadcast(own_pid, ()).expect("submitted");
    wait_until("it runs", || held[0].worker_pid().is_some());
    a.kill();
    let start = Instant::now();
    pool.shutdown(true, false).expect("closed");
    assert!(start.elapsed() < LIMIT / 2, "{:?}", start.elapsed());
    assert!(matches!(held[0].result(), Err(Error::WorkerLost { .. })));
    assert_nobody(&waiting[0], FIRST);
}

fn another_submitter() {
    let name = unique("another-submitter");
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    let pool = Executor::attach(&name).expect("attached");
    for i in 0..30 {
        assert_eq!(pool.submit_to(i % 2, number, ()).expect("submitted").result(), Ok(Some(i % 2)));
    }
    assert!(matches!(pool.submit_to(2, number, ()).map(drop), Err(Error::InvalidArgument { name: "worker", .. })));
    let _third = started(&pool, &name);
    let numbers: Vec<_> = pool.broadcast(number, ()).expect("submitted").iter().map(|f| f.result().expect("ran")).collect();
    assert_eq!(numbers, [Some(0), Some(1), None]);
    // Also while one of them is being replaced.
    let pid = pool.submit_to(1, own_pid, ()).expect("submitted").result().expect("a process");
    kill(pid);
    assert_eq!(pool.submit_to(1, number, ()).expect("it comes again").result(), Ok(Some(1)));
    drop(pool);
    owner.end();
}

fn each_death() {
    let name = unique("each-death");
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    let pool = Executor::attach(&name).expect("attached");
    let die_and_come_again = || {
        let pid = pool.submit_to(1, own_pid, ()).expect("submitted").result().expect("a process");
        // No other one comes for now.
        signal(owner.pid(), libc::SIGSTOP);
        kill(pid);
        // Each wait looks at what is pending. Another submitter finds out about the death, so the first look here is after that.
        let look = |next: &Future<Option<u32>>| {
            assert!(matches!(next.result_timeout(Duration::from_millis(30)), Err(Error::TimedOut { .. })));
        };
        let other = Executor::attach(&name).expect("attached");
        let of_other = other.submit_to(1, number, ()).expect("submitted");
        wait_until("its death is known", || {
            look(&of_other);
            !pool.worker_pids().contains(&pid)
        });
        let next = pool.submit_to(1, number, ()).expect("submitted");
        (0..5).for_each(|_| look(&next));
        signal(owner.pid(), libc::SIGCONT);
        assert_eq!(next.result(), Ok(Some(1)));
    };
    die_and_come_again();
    // Nobody looks meanwhile.
    std::thread::sleep(2 * SHORT);
    die_and_come_again();
    drop(pool);
    owner.end();
}

fn without_owner() {
    let name = unique("without-owner");
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    let pool = Executor::attach(&name).expect("attached");
    let workers: Vec<u32> = (0..2).map(|i| pool.submit_to(i, own_pid, ()).unwrap().result().unwrap()).collect();
    owner.kill();
    let held = pool.submit_to(1, sleep_long, ()).expect("submitted");
    wait_until("it runs", || held.worker_pid().is_some());
    let waiting = pool.submit_to(1, number, ()).expect("submitted");
    // One that nobody will collect, nor end in time.
    let other = Executor::attach(&name).expect("attached");
    drop(other.submit_to(1, number, ()).expect("submitted"));
    other.shutdown(false, false).expect("it does not wait");
    drop(other);
    wait_until("the owner's death is known", || {
        let _ = pool.submit_to(0, number, ()).expect("submitted").result();
        taskring::inspect(&name).is_ok_and(|view| view.life.contains("orphaned"))
    });
    kill(workers[1]);
    assert!(matches!(held.result(), Err(Error::WorkerLost { .. })));
    assert_nobody(&waiting, " at worker 1");
    match pool.submit_to(1, number, ()).map(drop) {
        Err(Error::InvalidArgument { name: "worker", value, .. }) => assert_eq!(value, "1"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pids(&pool.broadcast(own_pid, ()).expect("submitted")), BTreeSet::from([workers[0]]));
    // What is for nobody keeps no worker.
    drop((pool, held, waiting));
    wait_until("the last worker has left", || !pid_alive(workers[0]));
    taskring::remove_dead(&name).expect("nobody is left");
}
