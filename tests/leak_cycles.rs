//! A pool is made, used and killed, and made again by the same name, over and over: afterwards nothing is left of it anywhere, neither files, locks,
//! descriptors nor processes. The observer is the subreaper of all that it starts, so that no orphan can hide.
//!
//! `cargo test` does a few dozen rounds; `TASKRING_LEAK_CYCLES=10000 cargo test --release --test leak_cycles` does that many.

mod process_support;

use process_support::{
    Program, Random, Test, children_of, common, fd_count, kill, kill_and_release, map_count, pool_file, say, shm_entries,
    thread_count, unique, wait_until, watchdog,
};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn length(text: String) -> u64 { text.len() as u64 }
    fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
}

/// How many rounds, of those who ask for many.
const CYCLES: &str = "TASKRING_LEAK_CYCLES";
const METHODS: [StartMethod; 4] = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork, StartMethod::Thread];
const TESTS: [Test; 2] = [
    ("fault_36_named_pools_killed_and_made_again_leave_nothing", named),
    ("fault_32_anonymous_pools_killed_with_process_mrelease_leave_nothing", anonymous),
];

fn main() {
    taskring::init();
    let many = process_support::role().is_none() && std::env::var_os(CYCLES).is_some();
    if !many {
        return process_support::main(&[("owner", owner)], &TESTS);
    }
    for (name, test) in TESTS {
        let _watchdog = watchdog(60 + rounds() / 2);
        let start = Instant::now();
        test();
        println!("test {name} ... ok ({:.2} s)", start.elapsed().as_secs_f64());
    }
}

fn rounds() -> u64 {
    std::env::var(CYCLES).map_or(if cfg!(debug_assertions) { 24 } else { 60 }, |n| n.parse().expect("a number of cycles"))
}

fn named() {
    cycles(Some(&unique("cycles")));
}

fn anonymous() {
    cycles(None);
}

/// Makes a pool, uses it, and waits to be killed.
fn owner(args: &[String]) {
    let method = METHODS[args[1].parse::<usize>().expect("a number")];
    let builder = Executor::builder().workers(1).capacity(8).payload_max(1 << 20).start(method);
    let pool = loop {
        let made = if args[0] == "-" { builder.clone().build() } else { builder.clone().create_named(&args[0]) };
        match made {
            // Workers of the one that was killed are still about to leave.
            Err(Error::Exists { .. }) => std::thread::sleep(Duration::from_millis(1)),
            made => break made.expect("a pool"),
        }
    };
    say("made");
    let results = pool.submit_bulk(square, 0..6).expect("submitted");
    let long = pool.submit(length, "x".repeat(5000)).expect("submitted");
    assert_eq!(long.result(), Ok(5000));
    drop(results);
    let napping = pool.submit(nap, 5).expect("submitted");
    say("used");
    process_support::hear();
    drop(napping);
}

/// What this process has of everything that could leak, and what of the pools lies elsewhere.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    fds: usize,
    children: Vec<u32>,
    threads: usize,
    files: Vec<String>,
    locks: Vec<String>,
}

/// `inodes`: of the segments that there have been.
fn look(name: Option<&str>, inodes: &HashSet<String>) -> Belongings {
    let locks = std::fs::read_to_string("/proc/locks").expect("/proc/locks");
    let ours = |line: &&str| line.split_whitespace().any(|word| inodes.contains(word));
    Belongings {
        fds: fd_count(),
        children: children_of(std::process::id()),
        threads: thread_count(std::process::id()),
        files: name.map_or_else(Vec::new, shm_entries),
        locks: locks.lines().filter(ours).map(str::to_owned).collect(),
    }
}

/// The segments that a process has open, as `/proc/locks` calls them.
fn segments_of(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let segments = entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().contains("taskring")));
    let name = |entry: std::fs::DirEntry| {
        let found = std::fs::metadata(entry.path()).ok()?;
        Some(format!("{:02x}:{:02x}:{}", libc::major(found.dev()), libc::minor(found.dev()), found.ino()))
    };
    segments.filter_map(name).collect()
}

fn cycles(name: Option<&str>) {
    // SAFETY: integers. Orphans become children of this process.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let mut random = Random::new();
    let mut inodes = HashSet::new();
    // What is made once and kept is made now.
    let mut released = (0..4).map(|round| u64::from(cycle(round, name, &mut random, &mut inodes))).sum::<u64>();
    clear(name);
    let (before, maps) = (look(name, &inodes), map_count());
    assert_eq!((&before.children, &before.files, &before.locks), (&vec![], &vec![], &vec![]));
    for round in 0..rounds() {
        released += u64::from(cycle(round, name, &mut random, &mut inodes));
        if round % 100 == 99 {
            clear(name);
            assert_eq!(look(name, &inodes), before, "after {round} rounds");
        }
    }
    clear(name);
    let (after, maps_after) = (look(name, &inodes), map_count());
    println!(
        "{} rounds, {} segments seen, {released} times memory taken: before {before:?}, {maps} maps; after {maps_after} maps",
        rounds(),
        inodes.len()
    );
    assert_eq!(after, before);
    assert!(released > 0, "no owner's memory was there to be taken");
    // The allocator may keep a few mappings of its own.
    assert!(maps_after <= maps + 8, "{maps} mappings before, {maps_after} after");
    assert!(inodes.len() as u64 > rounds() / 3, "the segments were seen: {}", inodes.len());
}

/// One life of a pool. Whether its owner's memory was taken away.
fn cycle(round: u64, name: Option<&str>, random: &mut Random, inodes: &mut HashSet<String>) -> bool {
    let method = (round % METHODS.len() as u64).to_string();
    let mut program = Program::start("owner", &[name.unwrap_or("-"), &method]);
    let mut attached = None;
    match random.below(4) {
        // Killed at any moment of its start.
        0 => std::thread::sleep(Duration::from_micros(random.below(12_000))),
        1 => {
            program.expect("made");
            std::thread::sleep(Duration::from_micros(random.below(6000)));
        }
        choice => {
            program.expect("made");
            program.expect("used");
            attached = name.filter(|_| choice == 2).map(|name| Executor::attach(name).expect("a living pool"));
        }
    }
    inodes.extend(segments_of(program.pid()));
    let future = attached.as_ref().and_then(|pool| pool.submit(square, 7).ok());
    let released = (name.is_none() || round.is_multiple_of(3)) && kill_and_release(program.pid());
    program.kill();
    drop(future);
    // A pool whose workers are gone has nobody to run what it has: the attached do not wait for that.
    attached.iter().for_each(|pool| pool.shutdown(false, true).expect("shut down"));
    drop(attached);
    drop(program);
    wait_until("the end of all whom it has started", || {
        // They are children of this process now. A named pool's workers wait for seconds whether an owner comes: few are left to themselves.
        if round % 500 != 6 || name.is_some() && rounds() < 500 {
            children_of(std::process::id()).into_iter().for_each(kill);
        }
        // SAFETY: integers, and no place for a status. The one child that somebody else waits for is gone.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        children_of(std::process::id()).is_empty()
    });
    // The reader of what the program says ends with the last who could.
    wait_until("the end of the reader", || thread_count(std::process::id()) <= 2);
    released
}

/// Puts the last pool away. What a creator left that was killed half-way is swept by the next: there is one more.
fn clear(name: Option<&str>) {
    let Some(name) = name else { return };
    let pool = Executor::builder().workers(1).start(StartMethod::Thread).create_named(name).expect("a pool");
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    drop(pool);
    assert!(!pool_file(name).exists());
    let temporary: Vec<String> = common::shm_entries().into_iter().filter(|file| file.contains(name)).collect();
    assert!(temporary.is_empty(), "{temporary:?}");
}
