//! Pools come and go a thousand times, and leave nothing: no descriptor, process, thread, file or mapping.

mod process_support;

use process_support::{TEST_SECONDS, children_of, common, fd_count, map_count, thread_count, unique, watchdog};
use taskring::{Executor, StartMethod};

taskring::test_support!();

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn length(text: String) -> u64 { text.len() as u64 }
}

/// What this process has of everything that could leak.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    fds: usize,
    children: Vec<u32>,
    threads: usize,
    maps: usize,
    shm: Vec<String>,
}

fn look() -> Belongings {
    Belongings {
        fds: fd_count(),
        children: children_of(std::process::id()),
        threads: thread_count(std::process::id()),
        maps: map_count(),
        shm: common::shm_entries().into_iter().filter(|n| n.contains(&std::process::id().to_string())).collect(),
    }
}

fn cycle(round: usize) {
    let method = match round % 20 {
        0 => StartMethod::Spawn,
        10 => StartMethod::ForkServer,
        _ => StartMethod::Thread,
    };
    let builder = Executor::builder().workers(1).capacity(8).start(method);
    let name = unique("leaks");
    let pool = if round.is_multiple_of(2) { builder.build() } else { builder.create_named(&name) }.expect("a pool");
    match round % 5 {
        // A pool that nobody uses; results that nobody collects; a second handle; a payload block; a set and a map.
        0 => {}
        1 => pool.submit_bulk(square, 0..4).expect("submitted").into_iter().for_each(taskring::Future::detach),
        2 if round % 2 == 1 => {
            let other = Executor::attach(&name).expect("attached");
            assert_eq!(other.submit(square, 3).expect("submitted").result(), Ok(9));
        }
        3 => assert_eq!(pool.submit(length, "x".repeat(5000)).expect("submitted").result(), Ok(5000)),
        _ => {
            let set = pool.task_set().expect("a set");
            let future = set.submit(square, 4).expect("submitted");
            assert_eq!(pool.map(square, 0..5).expect("a map").map(Result::unwrap).sum::<u64>(), 30);
            set.discard().expect("discarded");
            drop(future);
        }
    }
    if round.is_multiple_of(7) {
        pool.shutdown(true, false).expect("shut down");
    }
}

#[test]
fn a_thousand_pools_leave_nothing_behind() {
    let _watchdog = watchdog(TEST_SECONDS);
    // What is made once and kept is made now: hooks, thread-local buffers, the allocator's arenas.
    (0..40).for_each(cycle);
    let before = look();
    for round in 0..1000 {
        cycle(round);
        if round % 100 == 99 {
            let now = look();
            assert_eq!(
                (now.fds, &now.children, now.threads, &now.shm),
                (before.fds, &before.children, before.threads, &before.shm)
            );
        }
    }
    let after = look();
    println!("before {before:?}, after {after:?}");
    // The allocator may keep a few mappings of its own; a thousand lost segments would be a thousand.
    assert!(after.maps <= before.maps + 8, "{} mappings before, {} after", before.maps, after.maps);
    assert_eq!(Belongings { maps: 0, ..after }, Belongings { maps: 0, ..before });
}
