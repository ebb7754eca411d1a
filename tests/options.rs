//! Options of pools and tasks: their defaults, their ranges, and what they say when they are out of range.

mod common;

use common::{SOON, own_pid, pool_of, square};
use std::time::Duration;
use taskring::{Builder, Error, Executor, OnWorkerDeath, Orphans, StartMethod, SubmitOptions, Task, task};

taskring::test_support!();
taskring::task! {
    fn attempt() -> u32 { task::attempt() }
}

fn builder() -> Builder {
    Executor::builder().workers(1).start(StartMethod::Thread)
}

/// The error of a builder whose option has this value, as name and value.
fn refused(builder: Builder) -> (&'static str, String) {
    match builder.build() {
        Err(Error::InvalidArgument { name, value, wanted }) => {
            assert!(!wanted.is_empty());
            (name, value)
        }
        Err(other) => panic!("another error: {other:?}"),
        Ok(pool) => panic!("accepted: {pool:?}"),
    }
}

#[test]
fn defaults_are_what_the_documentation_says() {
    let _dog = common::watchdog(60);
    let pool = Executor::builder().build().unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get().min(192);
    assert_eq!((pool.workers(), pool.capacity()), (cpus, 1024));
    assert_eq!(pool.worker_pids().len(), cpus);
    let worker = pool.submit(own_pid, ()).unwrap().result().unwrap();
    assert!(pool.worker_pids().contains(&worker) && worker != std::process::id(), "workers are processes");
    assert_eq!(StartMethod::default(), StartMethod::Spawn);
    assert_eq!(OnWorkerDeath::default(), OnWorkerDeath::FailTask);
    assert_eq!(Orphans::default(), Orphans::Run);
}

#[test]
fn what_is_out_of_range_is_refused_by_name_and_value() {
    let _dog = common::watchdog(60);
    for workers in [0, 193, usize::MAX] {
        assert_eq!(refused(builder().workers(workers)), ("workers", workers.to_string()));
    }
    for capacity in [0, (1 << 20) + 1, usize::MAX] {
        assert_eq!(refused(builder().capacity(capacity)), ("capacity", capacity.to_string()));
    }
    for bytes in [0, 4095, u64::MAX] {
        assert_eq!(refused(builder().payload_max(bytes)), ("payload_max", bytes.to_string()));
    }
    assert_eq!(refused(builder().kills_max(0)).0, "kills_max");
    assert_eq!(refused(builder().start_timeout(Duration::ZERO)).0, "start_timeout");
}

#[test]
fn the_ends_of_every_range_are_accepted() {
    let _dog = common::watchdog(60);
    let ends = [
        builder().capacity(1),
        builder().capacity(1 << 20),
        builder().payload_max(4096),
        builder().payload_max(4097),
        builder().payload_max(13 << 30),
        builder().capacity(1 << 20).payload_max(8 << 30),
        builder().kills_max(1).on_worker_death(OnWorkerDeath::Retry(u8::MAX)),
        builder().kills_max(u8::MAX).on_worker_death(OnWorkerDeath::BreakPool),
        builder().start_timeout(Duration::MAX).exit_wait_max(Duration::MAX),
        builder().exit_wait_max(Duration::ZERO).detach_on_exit(true),
        builder().orphans(Orphans::CancelPending),
    ];
    for end in ends {
        let shown = format!("{end:?}");
        let pool = end.build().unwrap_or_else(|e| panic!("{e}: {shown}"));
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25), "{shown}");
    }
}

#[test]
fn as_many_workers_as_can_be_asked_for_all_come() {
    let _dog = common::watchdog(120);
    let pool = builder().workers(192).build().unwrap();
    let futures = pool.submit_bulk(square, 0..2000).unwrap();
    assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
    common::wait_until(SOON, || pool.worker_pids().len() == 192);
}

#[test]
fn a_long_start_timeout_is_long() {
    let _dog = common::watchdog(60);
    // About 585 years: a little more nanoseconds than 64 bits hold.
    for seconds in [18_446_744_074, 20_000_000_000, u64::MAX] {
        let limit = Duration::from_secs(seconds);
        let pool = Executor::builder().start(StartMethod::None).start_timeout(limit).build().unwrap();
        let future = pool.submit(Task::<u64, u64>::named("nobody"), 1).unwrap();
        let result = future.result_timeout(Duration::from_millis(1500));
        assert!(matches!(result, Err(Error::TimedOut { .. })), "{limit:?}: {result:?}");
        assert!(future.cancel(), "or the end of the pool would wait as long");
    }
}

#[test]
fn a_pool_without_workers_takes_tasks_and_runs_none() {
    let _dog = common::watchdog(60);
    let pool = Executor::builder().start(StartMethod::None).build().unwrap();
    assert_eq!((pool.workers(), pool.worker_pids()), (0, vec![]));
    let future = pool.submit(square, 1).unwrap();
    assert!(future.result_timeout(Duration::from_millis(20)).is_err());
    assert!(future.cancel());
    pool.shutdown(true, false).unwrap();
}

#[test]
fn one_builder_makes_several_pools() {
    let _dog = common::watchdog(60);
    let one = builder().workers(2).capacity(8);
    let (first, second) = (one.clone().build().unwrap(), one.build().unwrap());
    drop(first);
    assert_eq!((second.workers(), second.capacity()), (2, 8));
    assert_eq!(second.submit(square, 3).unwrap().result(), Ok(9));
}

both_kinds! {
    fn task_options_change_nothing_for_a_task_that_goes_well(kind) {
        let pool = pool_of(kind, 1);
        let options = [
            SubmitOptions::new(),
            SubmitOptions::default().idempotent(true),
            SubmitOptions::new().idempotent(false).attempts_max(1),
            SubmitOptions::new().idempotent(true).attempts_max(u8::MAX),
        ];
        for options in options {
            assert_eq!(pool.submit_with(&options, attempt, ()).unwrap().result(), Ok(0), "{options:?}");
            assert_eq!(pool.submit_with(&options, square, 4).unwrap().result(), Ok(16));
        }
        // Started no time at all makes no sense.
        let refused = pool.submit_with(&SubmitOptions::new().attempts_max(0), square, 4).map(drop).unwrap_err();
        assert_eq!(refused.to_string(), "attempts_max is 0; wanted 1 to 255, counting the first");
    }

    fn pools_of_one_process_do_not_know_of_each_other(kind) {
        let pools: Vec<Executor> = (1..=4).map(|workers| pool_of(kind, workers)).collect();
        let futures: Vec<_> = (0..200).map(|i| pools[i as usize % 4].submit(square, i).unwrap()).collect();
        assert!(futures.iter().enumerate().all(|(i, f)| f.result() == Ok((i * i) as u64)));
        for pool in &pools[..3] {
            pool.shutdown(true, false).unwrap();
        }
        assert_eq!(pools[3].submit(square, 9).unwrap().result(), Ok(81));
    }
}
