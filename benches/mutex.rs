//! The mutexes that can guard a lane: the owner-named word, the robust pthread mutex through `raw_sync` (feature `raw-sync`), and, for
//! comparison, what `raw_sync` makes by itself. What a lock and unlock cost, alone and beside another process that wants the same lane, and what
//! follows when the owner is killed. `cargo bench --features raw-sync --bench mutex`.

mod common;

use common::affinity::{self, Pinned};
use common::rounds::{entry, interleave};
use common::{Mode, per};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use taskring::__private::holding_lane;
use taskring::{Error, Executor, MutexKind, StartMethod};

/// What a process of the bench is, and of what.
const ROLE: &str = "TASKRING_BENCH_ROLE";
const PLACE: &str = "TASKRING_BENCH_PLACE";

/// Kills of a holder.
const KILLS: usize = 15;
/// With so many lanes in use the next submitter shares one.
const LANES: usize = 16;

/// A mutex, as these measurements use it.
trait Lock {
    /// Locks it, calls, and unlocks it. False when it was not had within a second or more.
    fn with(&self, f: &mut dyn FnMut()) -> bool;
    /// What a second process opens it by.
    fn place(&self) -> &str;
    /// Waits until nothing is left of processes that were killed.
    fn settle(&self) {}
}

/// A submitter's lane in a pool.
struct OfPool {
    name: String,
    pool: Executor,
}

impl OfPool {
    fn new(kind: MutexKind) -> Result<OfPool, Error> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("bench-mutex-{}-{next}", std::process::id());
        let builder = Executor::builder().start(StartMethod::None).capacity(8).payload_max(4096).lane_mutex(kind);
        Ok(OfPool { pool: builder.create_named(&name)?, name })
    }

    /// The same lane from another process: all others are taken.
    fn attach(name: &str) -> OfPool {
        let mut all: Vec<Executor> = (0..LANES).map(|_| Executor::attach(name).expect("attached")).collect();
        let pool = all.pop().expect("attached");
        // The seats of the others stay taken as long as this process lives.
        std::mem::forget(all);
        OfPool { name: name.to_owned(), pool }
    }
}

impl Lock for OfPool {
    fn with(&self, f: &mut dyn FnMut()) -> bool {
        match holding_lane(&self.pool, f) {
            Ok(()) => true,
            Err(Error::Stalled { .. }) => false,
            Err(e) => panic!("{e}"),
        }
    }
    fn place(&self) -> &str {
        &self.name
    }
    fn settle(&self) {
        let start = Instant::now();
        while taskring::inspect(&self.name).expect("a pool").participants.len() > 1 {
            assert!(start.elapsed() < Duration::from_secs(20), "the dead stay");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A mutex of `raw_sync`'s own making, in a file that is mapped.
#[cfg(feature = "raw-sync")]
mod plain {
    use raw_sync::Timeout;
    use raw_sync::locks::{LockImpl, LockInit, Mutex};
    use std::time::Duration;

    pub struct Plain {
        lock: Box<dyn LockImpl>,
        _map: memmap2::MmapRaw,
        path: String,
    }

    impl Plain {
        pub fn new(path: &std::path::Path, is_new: bool) -> Plain {
            let file = std::fs::OpenOptions::new().read(true).write(true).create(is_new).truncate(false).open(path);
            let file = file.expect("a file");
            file.set_len(4096).expect("its length");
            let map = memmap2::MmapOptions::new().len(4096).map_raw(&file).expect("mapped");
            let (at, none) = (map.as_mut_ptr(), std::ptr::null_mut());
            // SAFETY: a page that stays mapped as long as the lock; its maker makes it before others are told of the file.
            let made = unsafe { if is_new { Mutex::new(at, none) } else { Mutex::from_existing(at, none) } };
            Plain { lock: made.expect("a mutex").0, _map: map, path: path.display().to_string() }
        }
    }

    impl super::Lock for Plain {
        fn with(&self, f: &mut dyn FnMut()) -> bool {
            // Whole seconds: its time-outs go wrong otherwise.
            self.lock.try_lock(Timeout::Val(Duration::from_secs(1))).map(|_held| f()).is_ok()
        }
        fn place(&self) -> &str {
            &self.path
        }
    }
}

fn main() {
    taskring::init();
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    let mode = Mode::from_args();
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let kinds = kinds(dir.path());
    let mut criterion = common::criterion();
    let mut group = criterion.benchmark_group("mutex");
    for (name, make) in &kinds {
        let Ok(lock) = make() else { continue };
        group.bench_function(format!("lock and unlock, {name}"), |bencher| {
            bencher.iter_custom(|count| alone(&*lock, count));
        });
    }
    group.finish();
    criterion.final_summary();
    match mode {
        Mode::Measure => report(&kinds),
        // Only what raw_sync makes by itself is lost with its owner.
        Mode::Test => kinds.iter().filter_map(|(name, make)| Some((name, make().ok()?))).for_each(|(name, lock)| {
            assert_eq!(killed(&*lock).is_none(), *name == "raw_sync alone", "{name}");
        }),
        Mode::List => {}
    }
}

type Make<'a> = Box<dyn Fn() -> Result<Box<dyn Lock>, Error> + 'a>;

fn kinds(dir: &std::path::Path) -> Vec<(&'static str, Make<'_>)> {
    let of_pool = |kind| -> Make<'_> { Box::new(move || Ok(Box::new(OfPool::new(kind)?))) };
    #[cfg_attr(not(feature = "raw-sync"), allow(unused_mut, reason = "there is one kind less without it"))]
    let mut kinds = vec![
        ("the owner's word", of_pool(MutexKind::OwnerWord)),
        ("robust pthread through raw_sync", of_pool(MutexKind::Pthread)),
    ];
    #[cfg(feature = "raw-sync")]
    {
        let next = std::cell::Cell::new(0);
        let plain = move || -> Result<Box<dyn Lock>, Error> {
            next.set(next.get() + 1);
            Ok(Box::new(plain::Plain::new(&dir.join(next.get().to_string()), true)))
        };
        kinds.push(("raw_sync alone", Box::new(plain)));
    }
    #[cfg(not(feature = "raw-sync"))]
    let _ = dir;
    kinds
}

fn report(kinds: &[(&str, Make<'_>)]) {
    println!("mutex: {}", affinity::describe());
    let mut locks = Vec::new();
    for (name, make) in kinds {
        match make() {
            Ok(lock) => locks.push((*name, lock)),
            Err(e) => println!("mutex: {name}: not here: {e}"),
        }
    }
    if cfg!(not(feature = "raw-sync")) {
        println!("mutex: raw_sync alone: not here: it needs --features raw-sync");
    }
    let mut entries = Vec::new();
    for (name, lock) in &locks {
        entries.push(entry(format!("{name}, alone"), || per(alone(&**lock, 100_000), 100_000)));
        entries.push(entry(format!("{name}, beside another process"), || beside(&**lock, 20_000)));
    }
    let figures = interleave(11, entries);
    let first = [&figures[0], &figures[1]];
    for (at, figure) in figures.iter().enumerate() {
        let ratio = figure.against(first[at % 2]);
        println!("mutex: {:60} {:7.1} ns, {ratio:.2} x the owner's word", figure.name, figure.ns());
    }
    for (name, lock) in &locks {
        let mut times: Vec<Option<Duration>> = Vec::new();
        for _ in 0..KILLS {
            times.push(killed(&**lock));
            if times.last() == Some(&None) {
                break;
            }
        }
        let mut had: Vec<Duration> = times.iter().flatten().copied().collect();
        had.sort_unstable();
        match times.len() - had.len() {
            0 => println!(
                "mutex: {name}: owner killed {KILLS} times, the next has it after {:?} (median)",
                had[had.len() / 2]
            ),
            _ => println!("mutex: {name}: owner killed, and nobody gets it any more"),
        }
    }
}

fn alone(lock: &dyn Lock, count: u64) -> Duration {
    let _pinned = Pinned::to(affinity::pair().0);
    let start = Instant::now();
    for _ in 0..count {
        assert!(lock.with(&mut || ()));
    }
    start.elapsed()
}

/// Beside a process on another CPU that does the same, in nanoseconds.
fn beside(lock: &dyn Lock, count: u64) -> f64 {
    let other = Other::start("contends", lock.place());
    let elapsed = alone(lock, count);
    other.end();
    lock.settle();
    per(elapsed, count)
}

/// How long after its owner was killed the mutex can be had; `None` when it cannot.
fn killed(lock: &dyn Lock) -> Option<Duration> {
    let other = Other::start("holds", lock.place());
    let start = Instant::now();
    drop(other);
    let took = lock.with(&mut || ()).then(|| start.elapsed());
    lock.settle();
    took
}

/// Another process. It is killed when dropped.
struct Other(Child);

impl Other {
    /// Returns once it does what it is for.
    fn start(role: &str, place: &str) -> Other {
        let mut command = Command::new("/proc/self/exe");
        command.env(ROLE, role).env(PLACE, place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut byte = [0];
        child.stdout.as_mut().expect("its output").read_exact(&mut byte).expect("it says that it has begun");
        Other(child)
    }
}

impl Other {
    /// Lets it come to its end by itself.
    fn end(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn play(role: &str) {
    let place = std::env::var(PLACE).expect("a place");
    affinity::pin_thread(affinity::pair().1).expect("sched_setaffinity of this thread");
    let lock = open(&place);
    let says = || {
        std::io::stdout().write_all(b".").and_then(|()| std::io::stdout().flush()).expect("it is heard");
    };
    if role == "holds" {
        lock.with(&mut || {
            says();
            wait_for_the_end();
        });
    } else {
        // It never ends with the mutex locked: of raw_sync's alone nobody would have that again.
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        std::thread::spawn(|| {
            wait_for_the_end();
            IS_OVER.store(true, Relaxed);
        });
        says();
        while !IS_OVER.load(Relaxed) {
            assert!(lock.with(&mut || ()));
        }
    }
}

/// Nothing comes: the bench kills this process, or is gone itself.
fn wait_for_the_end() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn open(place: &str) -> Box<dyn Lock> {
    #[cfg(feature = "raw-sync")]
    if place.starts_with('/') {
        return Box::new(plain::Plain::new(std::path::Path::new(place), false));
    }
    Box::new(OfPool::attach(place))
}
