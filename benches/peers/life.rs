//! A worker's death (N10) and what a pool occupies (N13).

use crate::child::{Helper, step};
use crate::report::{Amount, Bound, Report};
use crate::setup::Setup;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    /// Tells that it was entered, and does not end by itself.
    fn hang(mark: String) {
        std::fs::write(mark, "").expect("a mark");
        loop { std::thread::sleep(Duration::from_secs(1)) }
    }
    /// When it was entered.
    fn stamp() -> u64 { now_ns() }
}

const VERDICT_NS: f64 = 2e6;
const REPLACEMENT_NS: f64 = 20e6;
/// Between the start of the task and the kill: by then the waiter sleeps.
const PAUSE: Duration = Duration::from_millis(3);

/// The clock that all processes share.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to a live local.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The role of a program that only tells when its `main` began.
pub fn play_bare() {
    println!("{}", now_ns());
}

/// Nanoseconds from the start of this program in a role to its `main`.
pub fn bare_start() -> io::Result<u64> {
    let begun = now_ns();
    let answer = Helper::role("bare", &[])?.answer()?;
    Ok(answer.parse::<u64>().map_err(io::Error::other)? - begun)
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2] as f64
}

/// N10: medians of a few kills; `cargo bench --bench recovery` has the distributions.
pub fn recovery(setup: &Setup, report: &mut Report) -> io::Result<()> {
    let kills = setup.pick(25, 9);
    report.heading(&format!("kill -9 of the only worker, which runs a task; {kills} kills"));
    let dir = tempfile::tempdir()?;
    let pool = Executor::builder().workers(1).build().map_err(io::Error::other)?;
    let (mut verdicts, mut replacements, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..kills {
        step("a killed worker");
        let (verdict, replacement) = kill_once(&pool, &dir.path().join("entered"));
        verdicts.push(verdict);
        replacements.push(replacement);
        starts.push(bare_start()?);
    }
    let (verdict, replacement, start) = (median(verdicts), median(replacements), median(starts));
    report.value("recovery", "kill to verdict, median", Amount(verdict, "ns"));
    report.value("recovery", "kill to the new worker's first task, median", Amount(replacement, "ns"));
    report.value("recovery", "start of a process to its main, median", Amount(start, "ns"));
    let bound = Amount(VERDICT_NS, "ns");
    report.target("N10a", ("", Amount(verdict, "ns")), ("bound", bound), verdict / VERDICT_NS, Bound::AtMost(1.0));
    let bound = REPLACEMENT_NS + start;
    let against = ("bound-and-a-start", Amount(bound, "ns"));
    report.target("N10b", ("", Amount(replacement, "ns")), against, replacement / bound, Bound::AtMost(1.0));
    Ok(())
}

/// Nanoseconds from the kill to the verdict in the waiter's hand, and to the first task of the worker that replaces the dead.
pub fn kill_once(pool: &Executor, mark: &std::path::Path) -> (u64, u64) {
    // Of the kill before this one.
    let _ = std::fs::remove_file(mark);
    let future = pool.submit(hang, mark.display().to_string()).expect("submitted");
    let begun = Instant::now();
    while !mark.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the task is entered");
        std::thread::sleep(Duration::from_micros(200));
    }
    let worker = future.worker_pid().expect("a worker runs it");
    // The only worker hangs: the next runs this.
    let next = pool.submit(stamp, ()).expect("submitted");
    let killed_at = AtomicU64::new(0);
    let (verdict, had_at) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(PAUSE);
            killed_at.store(now_ns(), SeqCst);
            // SAFETY: two integers; the pid is that of a worker that the pool has just named, and that the pool has not waited for.
            assert_eq!(unsafe { libc::kill(worker.cast_signed(), libc::SIGKILL) }, 0);
        });
        let verdict = future.result();
        (verdict, now_ns())
    });
    assert!(matches!(verdict, Err(Error::WorkerLost { pid, .. }) if pid == worker), "{verdict:?}");
    let killed_at = killed_at.load(SeqCst);
    (had_at - killed_at, next.result().expect("it ran") - killed_at)
}

const DEFAULT_MAX: f64 = (8 << 20) as f64;
const SLOT_MAX: f64 = 256.0;

/// N13: a named pool's file says what is committed. What a slot takes is seen from how a pool with one lane in use grows with
/// its capacity.
pub fn memory(report: &mut Report) -> io::Result<()> {
    report.heading("memory committed by a pool that has had no payload yet");
    let default = committed(None)?;
    let (few, many) = (1 << 10, 1 << 14);
    let grown = (committed(Some(many))? - committed(Some(few))?) / (many - few) as f64;
    report.value("memory", "default pool", Amount(default, "B"));
    report.value("memory", "each slot of a lane that is in use", Amount(grown, "B"));
    let bound = ("bound", Amount(DEFAULT_MAX, "B"));
    report.target("N13a", ("", Amount(default, "B")), bound, default / DEFAULT_MAX, Bound::AtMost(1.0));
    report.target("N13b", ("", Amount(grown, "B")), ("bound", Amount(SLOT_MAX, "B")), grown / SLOT_MAX, Bound::AtMost(1.0));
    Ok(())
}

/// Bytes committed for a new pool of that capacity.
fn committed(capacity: Option<usize>) -> io::Result<f64> {
    let name = format!("peers-memory-{}", std::process::id());
    let builder = Executor::builder().start(StartMethod::None);
    let builder = capacity.into_iter().fold(builder, taskring::Builder::capacity);
    let _pool = builder.create_named(&name).map_err(io::Error::other)?;
    let file = std::fs::metadata(format!("/dev/shm/taskring.{name}"))?;
    Ok((file.blocks() * 512) as f64)
}
