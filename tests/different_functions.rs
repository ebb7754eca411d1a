//! Workers that know different functions on one pool: a task runs only where its function is known.

mod process_support;

use process_support::{LIMIT, Program, kill, say, unique, wait_until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, StartMethod, Task};

fn main() {
    taskring::init();
    process_support::main(
        &[("worker", worker)],
        &[
            ("a_task_runs_only_in_a_worker_that_knows_its_function", only_where_known),
            ("a_task_that_only_a_late_worker_knows_waits_for_it", late_worker),
            ("a_task_that_no_worker_knows_in_time_fails_with_its_name", no_worker_for),
            ("a_function_that_nobody_knows_is_refused_at_once", unknown_at_once),
            ("a_worker_that_is_awake_wakes_another_for_what_it_cannot_run", woken_by_the_other),
            ("workers_on_demand_are_not_started_again_and_again_for_what_they_lack", on_demand),
            ("tasks_of_a_killed_workers_function_fail_and_others_go_on", killed_worker),
        ],
    );
}

/// Serves a pool with functions of these names, each of which says who ran it.
fn worker(args: &[String]) {
    let (name, functions) = args.split_first().expect("a name");
    for function in functions {
        let text = function.clone();
        taskring::register(function, move |x: u64| (text.clone(), x, std::process::id())).expect("registered");
    }
    say("works");
    taskring::work(name).expect("worked to the pool's end");
}

type Answer = (String, u64, u32);

fn task(name: &str) -> Task<u64, Answer> {
    Task::named(name)
}

fn pool(name: &str, start_timeout: Duration) -> Executor {
    let builder = Executor::builder().start(StartMethod::None).start_timeout(start_timeout);
    builder.create_named(name).expect("a pool")
}

/// A worker that is ready.
fn started(pool: &Executor, name: &str, functions: &[&str]) -> Program {
    let before = pool.workers();
    let args: Vec<&str> = [&[name], functions].concat();
    let worker = Program::start("worker", &args);
    worker.expect("works");
    wait_until("the worker is ready", || pool.workers() == before + 1);
    worker
}

fn only_where_known() {
    let name = unique("only-where-known");
    let pool = pool(&name, LIMIT);
    let mut a = started(&pool, &name, &["alpha", "both"]);
    let mut b = started(&pool, &name, &["beta", "both"]);
    let (alpha, beta, both) = (task("alpha"), task("beta"), task("both"));
    // In blocks, so that the head of the ring is again and again a task that one of the two cannot run.
    let mut futures: Vec<(u64, &str, Future<Answer>)> = Vec::new();
    for x in 0..900 {
        let (name, task) = [("alpha", alpha), ("beta", beta), ("both", both)][x as usize / 20 % 3];
        futures.push((x, name, pool.submit(task, x).expect("submitted")));
    }
    let mut of_both = BTreeSet::new();
    for (x, name, future) in &futures {
        let (ran, arg, pid) = future.result().expect("a result");
        assert_eq!((ran.as_str(), arg), (*name, *x));
        match *name {
            "alpha" => assert_eq!(pid, a.pid()),
            "beta" => assert_eq!(pid, b.pid()),
            _ => drop(of_both.insert(pid)),
        }
    }
    assert!(of_both.is_subset(&BTreeSet::from([a.pid(), b.pid()])));
    drop((futures, pool));
    a.end();
    b.end();
}

/// Tasks for the one and the other in turn: who has just ended its own looks for the next one, and must not keep the other asleep.
fn woken_by_the_other() {
    let name = unique("woken-by-the-other");
    let pool = pool(&name, LIMIT);
    let _alpha = started(&pool, &name, &["alpha"]);
    let _beta = started(&pool, &name, &["beta"]);
    let mut waits: Vec<Duration> = Vec::new();
    for i in 0..100 {
        for function in ["alpha", "beta"] {
            let start = Instant::now();
            let future = pool.submit(task(function), i).expect("submitted");
            // Not `result`, which looks after a task that is pending for long.
            while !future.is_done() {
                assert!(start.elapsed() < LIMIT, "{function} {i}");
                std::thread::sleep(Duration::from_micros(50));
            }
            assert_eq!(future.result().expect("it ran").0, function);
            waits.push(start.elapsed());
        }
    }
    waits.sort_unstable();
    let p90 = waits[waits.len() * 9 / 10];
    assert!(p90 < Duration::from_millis(100), "nine in ten within {p90:?}");
}

fn late_worker() {
    let name = unique("late");
    let pool = pool(&name, LIMIT);
    let early = pool.submit(task("alpha"), 1).expect("accepted, for no worker is there yet");
    let a = started(&pool, &name, &["alpha"]);
    assert_eq!(early.result().expect("a result").2, a.pid());
    // Known here though by no worker, so there is hope.
    taskring::register("beta", |x: u64| x).expect("registered");
    let blocked = pool.submit(task("beta"), 2).expect("accepted");
    let others: Vec<_> = (0..50).map(|x| pool.submit(task("alpha"), x).expect("submitted")).collect();
    assert!(others.iter().all(|f| f.result().is_ok()), "a task that waits is in nobody's way");
    assert!(!blocked.is_done());
    let b = started(&pool, &name, &["beta"]);
    assert_eq!(blocked.result().expect("a result").2, b.pid());
    drop(pool);
}

fn no_worker_for() {
    let name = unique("no-worker-for");
    let timeout = Duration::from_millis(700);
    let pool = pool(&name, timeout);
    let nobody = |future: &Future<Answer>| {
        let start = Instant::now();
        match future.result() {
            Err(Error::NoWorkerFor { name, waited }) => {
                assert_eq!(name, "alpha");
                assert!(waited >= timeout && waited < Duration::from_secs(4), "{waited:?}");
                assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
            }
            other => panic!("{other:?}"),
        }
    };
    // No worker at all, and then one that knows something else.
    nobody(&pool.submit(task("alpha"), 1).expect("accepted"));
    let early = pool.submit(task("alpha"), 2).expect("accepted");
    let _b = started(&pool, &name, &["beta"]);
    nobody(&early);
    taskring::register("alpha", |x: u64| x).expect("registered");
    nobody(&pool.submit(task("alpha"), 3).expect("known here, so accepted"));
    assert!(pool.submit(task("beta"), 1).expect("submitted").result().is_ok());
    let _a = started(&pool, &name, &["alpha"]);
    assert!(pool.submit(task("alpha"), 4).expect("submitted").result().is_ok(), "with a worker for it");
    drop(pool);
}

/// The pool's own workers leave as soon as they are idle, and have none of these functions.
fn on_demand() {
    let name = unique("on-demand");
    let builder = Executor::builder().workers(4).min_workers(0).idle_timeout(Duration::from_millis(1));
    let pool = builder.start_timeout(Duration::from_secs(3)).create_named(&name).expect("a pool");
    let nobody = pool.submit_bulk(task("alpha"), 0..3).expect("nobody is there who lacks it");
    let mut came = BTreeSet::new();
    while !nobody.iter().all(Future::is_done) {
        came.extend(pool.worker_pids());
        std::thread::sleep(Duration::from_micros(200));
    }
    assert!(nobody.iter().all(|future| matches!(future.result(), Err(Error::NoWorkerFor { .. }))));
    // As many as tasks, and then no more than that once in a second.
    assert!((1..=12).contains(&came.len()), "{} were started", came.len());
    // One that has come by name and is free for such tasks is enough.
    let mut a = Program::start("worker", &[&name, "alpha"]);
    a.expect("works");
    for x in 0..20 {
        assert_eq!(pool.submit(task("alpha"), x).expect("submitted").result().expect("it ran").2, a.pid());
    }
    drop(pool);
    a.end();
}

fn unknown_at_once() {
    let name = unique("unknown");
    let pool = pool(&name, LIMIT);
    let _a = started(&pool, &name, &["alpha"]);
    let unknown = Error::UnknownFunction { name: "gamma".to_owned() };
    let start = Instant::now();
    assert_eq!(pool.submit(task("gamma"), 1).map(drop), Err(unknown.clone()));
    assert_eq!(pool.submit_bulk(task("gamma"), 0..3).map(drop), Err(unknown.clone()));
    let set = pool.task_set().expect("a set");
    assert_eq!(set.submit(task("gamma"), 1).map(drop), Err(unknown.clone()));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let attached = Executor::attach(&name).expect("attached");
    assert_eq!(attached.submit(task("gamma"), 1).map(drop), Err(unknown));
    let _c = started(&pool, &name, &["alpha", "gamma"]);
    assert!(pool.submit(task("gamma"), 1).expect("known now").result().is_ok());
}

fn killed_worker() {
    let name = unique("killed");
    let pool = pool(&name, Duration::from_millis(700));
    let a = started(&pool, &name, &["alpha"]);
    let _b = started(&pool, &name, &["beta"]);
    kill(a.pid());
    let orphans: Vec<_> = (0..10).map(|x| pool.submit(task("alpha"), x)).collect();
    let betas: Vec<_> = (0..10).map(|x| pool.submit(task("beta"), x).expect("submitted")).collect();
    assert!(betas.iter().all(|f| f.result().is_ok()), "the other worker goes on");
    for orphan in orphans {
        match orphan {
            // The death had been noticed before this one was submitted.
            Err(Error::UnknownFunction { name }) => assert_eq!(name, "alpha"),
            Err(e) => panic!("{e}"),
            Ok(future) => match future.result() {
                Err(Error::NoWorkerFor { name, .. }) => assert_eq!(name, "alpha"),
                // Claimed just before the end.
                Err(Error::WorkerLost { pid, .. }) => assert_eq!(pid, a.pid()),
                Ok((_, _, pid)) => assert_eq!(pid, a.pid()),
                Err(e) => panic!("{e}"),
            },
        }
    }
}
