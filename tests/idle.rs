//! Who has nothing to do costs next to nothing: in an idle pool at most one wake-up a second in each process, and in others nobody wakes for what is not his.

mod process_support;

use process_support::{LIMIT, TEST_SECONDS, watchdog};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use taskring::{Executor, Future};

taskring::test_support!();

taskring::task! {
    fn quick() -> () {}
    fn nap(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::id()
    }
}

const WORKERS: usize = 4;
const WATCHED: Duration = Duration::from_secs(5);
/// Wake-ups of a process in a second.
const RATE_MAX: f64 = 1.0;

/// The owners share this process, whose sleeps are counted too.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the threads of a process gave up the CPU of their own will so far: each sleep is one.
fn sleeps(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a living process").flatten();
    let of_thread = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |l| l.trim().parse().expect("a number"))
    };
    threads.map(|t| of_thread(t.path())).sum()
}

#[test]
fn an_idle_pool_wakes_about_once_a_second_in_each_process() {
    let (_watchdog, _alone) = (watchdog(TEST_SECONDS), alone());
    let pool = Executor::builder().workers(WORKERS).build().expect("a pool");
    let start = Instant::now();
    let workers = loop {
        let naps: Vec<Future<u32>> = (0..WORKERS).map(|_| pool.submit(nap, 30).expect("submitted")).collect();
        let pids: BTreeSet<u32> = naps.iter().map(|n| n.result().expect("a nap")).collect();
        if pids.len() == WORKERS {
            break pids;
        }
        assert!(start.elapsed() < LIMIT, "{WORKERS} workers never ran at the same time");
    };
    // Let them all go to sleep.
    std::thread::sleep(Duration::from_millis(500));
    let processes: Vec<u32> = workers.into_iter().chain([std::process::id()]).collect();
    let before: Vec<u64> = processes.iter().map(|&pid| sleeps(pid)).collect();
    std::thread::sleep(WATCHED);
    let rates: Vec<f64> =
        processes.iter().zip(before).map(|(&pid, before)| (sleeps(pid) - before) as f64 / WATCHED.as_secs_f64()).collect();
    println!("wake-ups a second: workers {:.1?}, owner {:.1}", &rates[..WORKERS], rates[WORKERS]);
    assert!(rates.iter().all(|&rate| rate <= RATE_MAX), "more than {RATE_MAX} a second: {rates:.1?}");
    assert_eq!(pool.submit(nap, 0).expect("submitted").result().map(drop), Ok(()), "and it still works");
}

/// Sleeps of the other workers for each of some tasks that come one by one, while a task for the first worker, which is busy, stands at the head of the ring.
#[test]
fn a_task_wakes_one_worker_also_while_another_one_waits_for_its_own() {
    const TASKS: u64 = 100;
    let (_watchdog, _alone) = (watchdog(TEST_SECONDS), alone());
    let pool = Executor::builder().workers(WORKERS).build().expect("a pool");
    let busy = pool.submit_to(0, nap, 3000).expect("submitted");
    let others: Vec<u32> =
        (1..WORKERS as u32).map(|i| pool.submit_to(i, nap, 0).expect("submitted").result().expect("a nap")).collect();
    let waiting = pool.submit_to(0, nap, 0).expect("submitted");
    let settle = || std::thread::sleep(Duration::from_millis(5));
    settle();
    let count = || others.iter().map(|&pid| sleeps(pid)).sum::<u64>();
    let before = count();
    for _ in 0..TASKS {
        pool.submit(quick, ()).expect("submitted").result().expect("it ran");
        settle();
    }
    let per_task = (count() - before) as f64 / TASKS as f64;
    assert!(!busy.is_done() && !waiting.is_done(), "they were to wait all the time");
    println!("sleeps for each task: {per_task:.2}");
    assert!(per_task < 1.4, "{per_task:.2}");
    assert_eq!((busy.result().map(drop), waiting.result().map(drop)), (Ok(()), Ok(())));
}

/// Waits that are over soon look after what is pending. Workers that can do nothing about it sleep on.
#[test]
fn a_task_that_waits_for_its_worker_wakes_no_other_one() {
    const WAITS: u64 = 40;
    let (_watchdog, _alone) = (watchdog(TEST_SECONDS), alone());
    let pool = Executor::builder().workers(WORKERS).build().expect("a pool");
    let others: Vec<u32> =
        (1..WORKERS as u32).map(|i| pool.submit_to(i, nap, 0).expect("submitted").result().expect("a nap")).collect();
    let busy = pool.submit_to(0, nap, 4000).expect("submitted");
    let waiting = pool.submit_to(0, nap, 0).expect("submitted");
    std::thread::sleep(Duration::from_millis(100));
    let before: u64 = others.iter().map(|&pid| sleeps(pid)).sum();
    for _ in 0..WAITS {
        assert!(waiting.result_timeout(Duration::from_millis(25)).is_err());
    }
    let wakes = others.iter().map(|&pid| sleeps(pid)).sum::<u64>() - before;
    assert!(!busy.is_done(), "it was to run all the time");
    println!("wake-ups in {WAITS} waits: {wakes}");
    assert!(wakes < WAITS / 2, "{wakes}");
    assert_eq!((busy.result().map(drop), waiting.result().map(drop)), (Ok(()), Ok(())));
}
