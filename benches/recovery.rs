//! How long it takes until a death is over: from the SIGKILL to the verdict in the waiter's hand, to the new worker that runs a task, to the next
//! submit through a mutex whose holder was killed. `cargo bench --bench recovery`; with `-- --quick` fewer kills, with `-- takeover`
//! the last row alone.
//!
//! Every figure is a distribution over the kills of one run; what a bare start of this program takes is measured in the same run.

mod common;

use common::Mode;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    /// Tells that it was entered, and does not end by itself.
    fn hang(mark: String) -> u64 {
        std::fs::write(mark, "").expect("a mark");
        loop { std::thread::sleep(Duration::from_secs(1)) }
    }
    /// When it was entered.
    fn stamp() -> u64 { now_ns() }
    fn square(x: u64) -> u64 { x.wrapping_mul(x) }
}

/// What a process of the bench is, and of which pool.
const ROLE: &str = "TASKRING_BENCH_ROLE";
const POOL: &str = "TASKRING_BENCH_POOL";

const VERDICT_MS: f64 = 2.0;
const REPLACEMENT_MS: f64 = 20.0;
const TAKEOVER_MS: f64 = 100.0;
/// With so many lanes in use the next submitter shares the first.
const LANES: usize = 16;

fn main() {
    taskring::init();
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    let mode = Mode::from_args();
    if mode == Mode::List {
        return;
    }
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    let quick = has("--quick");
    let kills = mode.pick(if quick { 40 } else { 250 }, 3);
    let dir = tempfile::tempdir().expect("a folder");
    let start = Figure::of("start: spawn of this program to its main", (0..kills).map(|_| bare_start()).collect());
    let ready = |method| Figure::of("start: a new pool to its first task", (0..kills).map(|_| first_task(method)).collect());
    println!("recovery: {kills} kills each; milliseconds");
    if has("takeover") {
        let takeovers = takeovers(kills);
        return takeovers.judge(takeovers.max, TAKEOVER_MS);
    }
    start.print();
    for (name, method) in [("spawn", StartMethod::Spawn), ("forkserver", StartMethod::ForkServer)] {
        println!("recovery: workers by {name}");
        ready(method).print();
        let (verdicts, replacements) = own_workers(method, kills, dir.path());
        verdicts.judge(verdicts.p50, VERDICT_MS);
        // A fork costs less than a spawn, so nothing is allowed for it.
        let allowed = if method == StartMethod::Spawn { start.p99 } else { 0.0 };
        replacements.judge(replacements.p99, REPLACEMENT_MS + allowed);
    }
    println!("recovery: those who came by name");
    let verdicts = attached_workers(kills, dir.path());
    verdicts.judge(verdicts.p50, VERDICT_MS);
    let takeovers = takeovers(if quick { kills / 2 } else { kills });
    takeovers.judge(takeovers.max, TAKEOVER_MS);
}

fn play(role: &str) {
    let name = std::env::var(POOL).unwrap_or_default();
    match role {
        "bare" => print!("{}", now_ns()),
        "worker" => drop(taskring::work(&name)),
        "submitter" => {
            let pool = Executor::attach(&name).expect("a living pool");
            // Collecting keeps the lane from being full: whoever waits for room holds no mutex.
            loop {
                let futures = pool.submit_bulk(square, 0..64).expect("submitted");
                futures.into_iter().for_each(|future| drop(future.result()));
            }
        }
        other => panic!("no role {other:?}"),
    }
}

/// One distribution, in milliseconds.
struct Figure {
    name: &'static str,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Figure {
    fn of(name: &'static str, mut all_ns: Vec<u64>) -> Figure {
        all_ns.sort_unstable();
        let at = |share: f64| all_ns[((all_ns.len() - 1) as f64 * share).ceil() as usize] as f64 / 1e6;
        Figure { name, p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
    fn text(&self) -> String {
        format!("  {}: p50 {:.2} p99 {:.2} max {:.2}", self.name, self.p50, self.p99, self.max)
    }
    fn print(&self) {
        println!("{}", self.text());
    }
    fn judge(&self, value: f64, target: f64) {
        println!("{} target {value:.2} <= {target:.2} {}", self.text(), common::verdict(value, target));
    }
}

/// The clock that all processes share.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to a live local.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: two integers; the pid is that of a child or of a worker that the pool has just named.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

fn start(role: &str, pool: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(ROLE, role).env(POOL, pool).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("a process")
}

fn bare_start() -> u64 {
    let begun = now_ns();
    let mut child = start("bare", "");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("a time");
    assert!(child.wait().expect("a child").success());
    text.parse::<u64>().expect("a time") - begun
}

fn first_task(method: StartMethod) -> u64 {
    let begun = now_ns();
    let pool = Executor::builder().workers(1).start(method).build().expect("a pool");
    pool.submit(stamp, ()).expect("submitted").result().expect("it ran") - begun
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Kills whoever runs a task that hangs, while this thread waits for it. Nanoseconds to the verdict, and when the kill was.
fn kill_and_wait(pool: &Executor, dir: &Path, waiting: impl FnOnce(u32) -> Duration) -> (u64, u64) {
    let mark: PathBuf = dir.join("entered");
    let _ = std::fs::remove_file(&mark);
    let future = pool.submit(hang, mark.display().to_string()).expect("submitted");
    wait_for("the task is entered", || mark.exists());
    let worker = future.worker_pid().expect("a worker runs it");
    let killed_at = AtomicU64::new(0);
    let pause = waiting(worker);
    let (verdict, had_at) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(pause);
            killed_at.store(now_ns(), SeqCst);
            signal(worker, libc::SIGKILL);
        });
        let verdict = future.result();
        (verdict, now_ns())
    });
    assert!(matches!(verdict, Err(Error::WorkerLost { pid, .. }) if pid == worker), "{verdict:?}");
    let killed_at = killed_at.load(SeqCst);
    (had_at - killed_at, killed_at)
}

/// Between the start of the task and the kill: by then the waiter sleeps.
const PAUSE: Duration = Duration::from_millis(3);
/// The owner looks every ten milliseconds for those who are just coming by name; these have come.
const PAUSE_ATTACHED: Duration = Duration::from_millis(30);

/// The owner's workers: times to the verdict, and to the first task of the worker that replaces the dead.
fn own_workers(method: StartMethod, kills: usize, dir: &Path) -> (Figure, Figure) {
    let pool = Executor::builder().workers(1).start(method).build().expect("a pool");
    let (mut verdicts, mut replacements) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        let mut next = None;
        let (verdict, killed_at) = kill_and_wait(&pool, dir, |_| {
            // The only worker hangs: the next runs this.
            next = Some(pool.submit(stamp, ()).expect("submitted"));
            PAUSE
        });
        let entered_at = next.expect("submitted").result().expect("it ran");
        verdicts.push(verdict);
        replacements.push(entered_at - killed_at);
    }
    (Figure::of("kill to verdict", verdicts), Figure::of("kill to the new worker's first task", replacements))
}

fn attached_workers(kills: usize, dir: &Path) -> Figure {
    let name = format!("recovery-{}", std::process::id());
    let pool = Executor::builder().start(StartMethod::None).create_named(&name).expect("a pool");
    let one = || {
        let mut worker = start("worker", &name);
        let (verdict, _) = kill_and_wait(&pool, dir, |pid| {
            assert_eq!(pid, worker.id());
            PAUSE_ATTACHED
        });
        worker.wait().expect("a child");
        verdict
    };
    Figure::of("kill of an attached worker to verdict", (0..kills).map(|_| one()).collect())
}

/// Submitters killed while they hold the mutex of their lane: until the next submit of another on that lane returns.
fn takeovers(kills: usize) -> Figure {
    let name = format!("recovery-lanes-{}", std::process::id());
    let builder = Executor::builder().workers(1).start(StartMethod::Thread).capacity(4096);
    let pool = builder.create_named(&name).expect("a pool");
    // The owner has the first lane; with the others taken, whoever comes shares it.
    let _others: Vec<Executor> = (1..LANES).map(|_| Executor::attach(&name).expect("a living pool")).collect();
    let mut random = now_ns() | 1;
    let mut takes = Vec::new();
    let mut tries = 0_u64;
    while takes.len() < kills {
        let mut victim = start("submitter", &name);
        wait_for("it submits", || {
            taskring::inspect(&name).is_ok_and(|v| v.participants.iter().any(|p| p.pid == victim.id()))
        });
        loop {
            tries += 1;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((random >> 33) % 300));
            signal(victim.id(), libc::SIGSTOP);
            wait_for("it is stopped", || is_stopped(victim.id()));
            let view = taskring::inspect(&name).expect("a living pool");
            if view.lanes[0].mutex_owner == Some(victim.id()) {
                break;
            }
            signal(victim.id(), libc::SIGCONT);
        }
        let killed_at = now_ns();
        signal(victim.id(), libc::SIGKILL);
        let future = pool.submit(square, 9).expect("submitted");
        takes.push(now_ns() - killed_at);
        victim.wait().expect("a child");
        assert_eq!(future.result(), Ok(81));
    }
    println!("  {tries} looks found {} holders of the lane's mutex", takes.len());
    Figure::of("kill of the mutex's holder to the end of the next submit", takes)
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a child");
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
