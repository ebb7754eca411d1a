//! Rows 11, 32 and 33, by control groups: workers that the kernel freezes, kills all at once, or ends for want of memory.

use crate::process_support::{LIMIT, Log, Test, pid_alive, unique, wait_until};
use crate::support::{KILLED, assert_whole, hold, look, lost, nameless, process_state, ready_workers, running, square};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, State};

taskring::task! {
    /// Takes so many bytes of memory, and touches them.
    fn swallow_memory(bytes: u64) -> u64 { std::hint::black_box(vec![1_u8; bytes as usize]).len() as u64 }
}

pub const TESTS: &[Test] = &[
    ("fault_11_a_frozen_worker_is_no_dead_one", frozen),
    ("fault_33_workers_killed_with_their_control_group_get_their_tasks_verdicts", killed_with_their_group),
    ("fault_32_the_out_of_memory_killer_is_no_other_kill", out_of_memory),
];

/// A control group of the test's own. Its processes have ended when it is dropped.
struct Group(PathBuf);

impl Group {
    /// Below the first mount of this kind that has, in a new group, all of these files.
    fn new(kind: &str, files: &[&str]) -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc/mounts");
        let of_kind = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(kind));
        for mount in of_kind.filter_map(|line| line.split(' ').nth(1)) {
            let path = Path::new(mount).join(unique("taskring"));
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Group(path);
            if files.iter().all(|file| group.0.join(file).exists()) {
                return Some(group);
            }
        }
        None
    }

    /// Says so where there is none to be had.
    fn or_say(kind: &str, files: &[&str], needed_for: &str) -> Option<Group> {
        let group = Group::new(kind, files);
        if group.is_none() {
            println!("not run, for no group of {kind} with {files:?} can be made here: {needed_for}");
        }
        group
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap_or_else(|e| panic!("{file} takes no {text}: {e}"));
    }

    fn take(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    fn is_frozen(&self) -> bool {
        std::fs::read_to_string(self.0.join("cgroup.events")).is_ok_and(|events| events.contains("frozen 1"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let start = Instant::now();
        while std::fs::remove_dir(&self.0).is_err() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn frozen() {
    let Some(group) = Group::or_say("cgroup2", &["cgroup.freeze", "cgroup.events"], "a frozen worker") else { return };
    let name = unique("frozen");
    let pool = Executor::builder().workers(2).capacity(64).create_named(&name).expect("a pool");
    ready_workers(&pool, 2);
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let worker = running(&held, &log);
    group.take(worker);
    group.write("cgroup.freeze", "1");
    wait_until("it is frozen", || group.is_frozen());
    log.open_gate();
    let squares = pool.submit_bulk(square, 0..200).expect("submitted");
    assert!(squares.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)), "the other one goes on");
    // Longer than anybody sleeps without looking around.
    let timed_out = held.result_timeout(Duration::from_secs(3));
    assert!(matches!(timed_out, Err(Error::TimedOut { .. })), "{timed_out:?}");
    assert_eq!((held.state(), held.worker_pid()), (State::Running, Some(worker)));
    group.write("cgroup.freeze", "0");
    assert_eq!(held.result(), Ok(worker), "it goes on where it was");
    drop((held, squares));
    assert_eq!(log.lines(), ["entered 0"]);
    assert_whole(&name, &pool, 0);
    drop(pool);
}

fn killed_with_their_group() {
    const WORKERS: usize = 4;
    let Some(group) = Group::or_say("cgroup2", &["cgroup.kill"], "workers killed with their group") else { return };
    let name = unique("group");
    let pool = Executor::builder().workers(WORKERS).capacity(8).create_named(&name).expect("a pool");
    for _ in 0..3 {
        let workers = ready_workers(&pool, WORKERS);
        let logs: Vec<Log> = (0..WORKERS).map(|_| Log::new()).collect();
        let held: Vec<_> = logs.iter().map(|l| pool.submit(hold, (l.path(), l.gate())).expect("submitted")).collect();
        let pids: Vec<u32> = held.iter().zip(&logs).map(|(future, log)| running(future, log)).collect();
        assert_eq!(pids.iter().copied().collect::<BTreeSet<u32>>(), workers);
        workers.iter().for_each(|&pid| group.take(pid));
        let pending = pool.submit_bulk(square, 0..4).expect("submitted");
        group.write("cgroup.kill", "1");
        for (future, pid) in held.iter().zip(pids) {
            assert_eq!(nameless(future.result()), Err(lost(pid, KILLED)));
        }
        assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
        assert!(workers.iter().all(|&pid| !pid_alive(pid)));
    }
    wait_until("all of them are back", || look(&name).participants.len() == 1 + WORKERS);
    assert_whole(&name, &pool, 0);
}

/// The limit is that of the worker's group: the test itself has as much memory as before.
fn out_of_memory() {
    const ROOM: u64 = 64 << 20;
    let needed_for = "a worker that the kernel ends for want of memory";
    let first = Group::new("cgroup2", &["memory.max"]).map(|group| (group, "memory.max"));
    let group = first.or_else(|| {
        let group = Group::or_say("cgroup", &["memory.limit_in_bytes"], needed_for)?;
        Some((group, "memory.limit_in_bytes"))
    });
    let Some((group, limit)) = group else { return };
    group.write(limit, &ROOM.to_string());
    let name = unique("oom");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let worker = *ready_workers(&pool, 1).first().expect("one worker");
    group.take(worker);
    let start = Instant::now();
    let greedy = pool.submit(swallow_memory, 4 * ROOM).expect("submitted");
    let pending = pool.submit_bulk(square, 0..4).expect("submitted");
    assert_eq!(nameless(greedy.result_timeout(LIMIT)), Err(lost(worker, KILLED)), "{}", process_state(worker));
    println!("the verdict came after {:?}", start.elapsed());
    assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
    drop((greedy, pending));
    assert_whole(&name, &pool, 0);
}
