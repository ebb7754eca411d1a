//! What the tests of all rows share: tasks, a pool whose owner can be killed, stopping and looking, and what must hold after a fault.

use crate::process_support::common::Board;
use crate::process_support::{
    LIMIT, Log, Program, Role, append, await_gate, hear, kill, pid_alive, say, signal, unique, wait_until,
};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Future, Snapshot, Stage, State, inspect};

taskring::task! {
    pub fn square(x: u64) -> u64 { x * x }
    pub fn own_pid() -> u32 { std::process::id() }
    pub fn nap(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::id()
    }
    /// Notes who has entered it, then waits for the gate.
    pub fn hold(log: String, gate: String) -> u32 {
        append(&log, &format!("entered {}", taskring::task::attempt()));
        await_gate(&gate);
        std::process::id()
    }
    /// Counts itself in a cell of a board: its first attempt in the low half, others in the high half.
    pub fn count_once(board: String, cell: u64) -> u32 {
        let one = if taskring::task::attempt() == 0 { 1 } else { 1 << 32 };
        Board::at(&board)[cell as usize].fetch_add(one, SeqCst);
        std::process::id()
    }
}

pub const ROLES: &[Role] = &[("owner", owner), ("worker", worker)];
pub const KILLED: Cause = Cause::Signal(libc::SIGKILL);

/// The owner of a named pool: name, workers, slots. It ends when it is let go.
fn owner(args: &[String]) {
    let [name, workers, capacity] = args else { panic!("{args:?}") };
    let workers: usize = workers.parse().expect("a number");
    let builder = Executor::builder().workers(workers).capacity(capacity.parse().expect("a number"));
    let pool = builder.create_named(name).expect("a pool");
    say_pids(&ready_workers(&pool, workers));
    hear();
}

/// Works for a pool that others own.
fn worker(args: &[String]) {
    taskring::work(&args[0]).expect("worked to the pool's end");
}

pub fn say_pids(pids: &BTreeSet<u32>) {
    say(&pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
}

/// A named pool in a process of its own: that process, its workers, and this process attached to it.
pub struct Apart {
    pub name: String,
    pub owner: Program,
    pub workers: Vec<u32>,
    pub pool: Executor,
}

impl Apart {
    pub fn new(what: &str, workers: usize, capacity: usize) -> Apart {
        let name = unique(what);
        let owner = Program::start("owner", &[&name, &workers.to_string(), &capacity.to_string()]);
        let workers = owner.numbers().into_iter().map(|pid| pid as u32).collect();
        let pool = Executor::attach(&name).expect("attached");
        Apart { name, owner, workers, pool }
    }

    /// For a pool whose owner was killed: ends what is left of it.
    pub fn end(mut self) {
        drop(self.pool);
        self.owner.kill();
        self.workers.iter().for_each(|&pid| kill(pid));
        wait_until("the pool is dead", || taskring::remove_dead(&self.name).is_ok());
    }
}

/// The pids of all workers, each of which has just run a task.
pub fn ready_workers(pool: &Executor, count: usize) -> BTreeSet<u32> {
    let start = Instant::now();
    loop {
        let naps: Vec<Future<u32>> = (0..count).map(|_| pool.submit(nap, 30).expect("submitted")).collect();
        let pids: BTreeSet<u32> = naps.iter().filter_map(|n| n.result().ok()).collect();
        if pids.len() == count && pids.iter().all(|&pid| pid_alive(pid)) {
            return pids;
        }
        assert!(start.elapsed() < LIMIT, "{count} workers never ran at the same time: {pids:?}");
    }
}

/// Waits until a task that writes to the log has been entered, and says by whom.
pub fn running<R>(future: &Future<R>, log: &Log) -> u32 {
    wait_until("the task is entered", || log.count("entered 0") == 1);
    assert_eq!(future.state(), State::Running);
    future.worker_pid().expect("somebody runs it")
}

pub fn lost(pid: u32, cause: Cause) -> Error {
    Error::WorkerLost { pid, name: None, cause, stage: Stage::MayHaveRun }
}

/// The result without the name of a lost worker: which process has which name is not known here.
pub fn nameless<R>(result: Result<R, Error>) -> Result<R, Error> {
    result.map_err(|error| match error {
        Error::WorkerLost { pid, cause, stage, .. } => Error::WorkerLost { pid, name: None, cause, stage },
        other => other,
    })
}

/// What `/proc` says that a process is doing: `R`, `S`, `T` and so on; `X` when it is gone.
pub fn process_state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
}

/// Stops a process, and returns once it stands.
pub fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    let start = Instant::now();
    while !matches!(process_state(pid), 'T' | 'X' | 'Z') {
        assert!(start.elapsed() < LIMIT, "{pid} does not stop");
        std::thread::yield_now();
    }
}

/// Lets a stopped process go on.
pub fn go_on(pid: u32) {
    signal(pid, libc::SIGCONT);
}

pub fn look(name: &str) -> Snapshot {
    inspect(name).expect("a pool to look at")
}

pub fn slots_in_use(view: &Snapshot) -> usize {
    view.lanes.iter().flat_map(|l| l.slots).sum()
}

/// Participants of a role.
pub fn count_of(view: &Snapshot, role: &str) -> usize {
    view.participants.iter().filter(|p| p.role == role).count()
}

/// Of two workers that both sleep when this returns: the one that the next wake is for, and the other.
pub fn woken_first(pool: &Executor, workers: &[u32]) -> (u32, u32) {
    let both_sleep = || {
        wait_until("both sleep", || workers.iter().all(|&pid| process_state(pid) == 'S'));
        // Past their first looks around.
        std::thread::sleep(Duration::from_millis(20));
    };
    both_sleep();
    let first = pool.submit(own_pid, ()).expect("submitted").result().expect("a worker ran it");
    both_sleep();
    (first, workers.iter().copied().find(|&pid| pid != first).expect("another one"))
}

/// Nothing is left of the dead, nothing is held, and the pool can do twice its capacity of work. `others` submitters are still attached.
#[track_caller]
pub fn assert_whole(name: &str, pool: &Executor, others: usize) {
    let is_whole = |view: &Snapshot| {
        slots_in_use(view) == 0
            && view.blocks == 0
            && view.held.is_empty()
            && view.lanes.iter().all(|l| l.mutex_owner.is_none())
            && view.participants.iter().all(|p| p.seated && pid_alive(p.pid))
            && count_of(view, "submitter") == others
    };
    wait_until(&format!("nothing is left: {}", look(name)), || is_whole(&look(name)));
    let squares = pool.submit_bulk(square, 0..2 * pool.capacity() as u64).expect("submitted");
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
    assert_eq!(look(name).life.split(',').next(), Some("open"));
}

/// Times of rounds, which are printed: the contract's limit is met by the median, so not by chance, and a busy machine's by all.
#[track_caller]
pub fn assert_times(what: &str, mut times: Vec<Duration>, contract: Duration) {
    times.sort_unstable();
    println!("{what}: {times:?}");
    let median = times[times.len() / 2];
    assert!(median <= contract, "{what}: the median, {median:?}, is over {contract:?}: {times:?}");
    assert!(times.iter().all(|&time| time <= LIMIT / 4), "{what}: not all within {:?}: {times:?}", LIMIT / 4);
}
