//! The tasks of the soak, good and bad, and the processes in Rust that own pools, submit to them and work for them.

use crate::journal::{Entry, Event, note};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Future, Priority, Retry, Stage, StartMethod, SubmitOptions, TaskError, TaskSet};

/// What a task does, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Deed {
    Square,
    Echo(u16),
    Nap(u16),
    Fail,
    Panic,
    Allocate,
    Fork,
    Exit,
    Abort,
    Overflow,
    CloseAll,
    /// Sends so many events.
    Tell(u8),
}

impl Deed {
    fn number(self) -> u8 {
        match self {
            Deed::Square => 0,
            Deed::Echo(_) => 1,
            Deed::Nap(_) => 2,
            Deed::Fail => 3,
            Deed::Panic => 4,
            Deed::Allocate => 5,
            Deed::Fork => 6,
            Deed::Exit => 7,
            Deed::Abort => 8,
            Deed::Overflow => 9,
            Deed::CloseAll => 10,
            Deed::Tell(_) => 11,
        }
    }

    /// Its worker's process does not outlive it.
    fn is_fatal(self) -> bool {
        (7..=10).contains(&self.number())
    }
}

/// What a task says that fails or panics.
pub const AS_TOLD: &str = "as it was told";

taskring::task! {
    pub fn act(task: u64, deed: Deed, bytes: Vec<u8>) -> Result<u64, TaskError> {
        note(task, Entry { event: Event::Entered, attempt: taskring::task::attempt(), deed: deed.number() });
        match deed {
            Deed::Square | Deed::Echo(_) => {}
            Deed::Nap(us) => std::thread::sleep(Duration::from_micros(us.into())),
            Deed::Tell(events) => {
                let attempt = taskring::task::attempt();
                // The nemesis may have taken the room for the first one, and then there are none.
                let all = (0..events).try_for_each(|n| taskring::task::send_event(&event(task, attempt, n)));
                if matches!(all, Err(Error::EventsFull { .. })) {
                    return Err(TaskError::new("a few events have no room"));
                }
            }
            Deed::Fail => return Err(TaskError::new(AS_TOLD)),
            Deed::Panic => panic!("{AS_TOLD}"),
            Deed::Allocate => drop(std::hint::black_box(vec![1_u8; 20 << 20])),
            Deed::Fork => fork_and_wait(),
            Deed::Exit => std::process::exit(3),
            Deed::Abort => std::process::abort(),
            Deed::Overflow => { std::hint::black_box(overflow(task)); }
            Deed::CloseAll => {
                // SAFETY: closes what this process has open; it will be found out and killed for it.
                unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if bytes.iter().any(|&b| b != task as u8) { Err(TaskError::new("torn arguments")) } else { Ok(answer(task)) }
    }
}

pub fn answer(task: u64) -> u64 {
    task.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// One of a task's events: the attempt, its number, and some bytes.
type Told = (u32, u8, Vec<u8>);

fn event(task: u64, attempt: u32, n: u8) -> Told {
    (attempt, n, vec![task as u8 ^ n; (task % 61) as usize + usize::from(n)])
}

fn fork_and_wait() {
    // SAFETY: the child only exits.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(0),
            child => {
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
        }
    }
}

#[allow(unconditional_recursion, reason = "that is the deed")]
fn overflow(n: u64) -> u64 {
    let room = std::hint::black_box([n; 512]);
    overflow(n + 1) + room[n as usize % 512]
}

/// Whether the workers of the pool are threads of its owner, which a fatal deed would kill. Its generation says how its workers start.
fn has_threads(name: &str) -> bool {
    let generation = name.rsplit('-').next().and_then(|text| text.parse::<u64>().ok());
    generation.is_some_and(|generation| matches!(method(generation), StartMethod::Thread | StartMethod::Interpreter))
}

fn method(generation: u64) -> StartMethod {
    use StartMethod::{Fork, ForkServer, Interpreter, Spawn, Thread};
    [Spawn, ForkServer, Fork, Thread, Interpreter][generation as usize % 5]
}

/// What a submitter asks for: mostly small and good things. With the bytes that travel along.
fn order(random: &mut Random, task: u64, name: &str) -> (u64, Deed, Vec<u8>) {
    let deed = match random.below(20_000) {
        0 => Deed::Exit,
        1 => Deed::Abort,
        2 => Deed::Overflow,
        3 => Deed::CloseAll,
        4..=13 => Deed::Fork,
        14..=33 => Deed::Allocate,
        34..=73 => Deed::Panic,
        74..=1000 if task.is_multiple_of(4) => Deed::Tell(1 + random.below(12) as u8),
        74..=1000 => Deed::Fail,
        1001..=1200 => Deed::Nap(random.below(2000) as u16),
        1201..=4000 => Deed::Echo(random.below(20_000) as u16),
        _ => Deed::Square,
    };
    let deed = if deed.is_fatal() && has_threads(name) { Deed::Square } else { deed };
    let len = if let Deed::Echo(len) = deed { len as usize } else { 0 };
    (task, deed, vec![task as u8; len])
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// The file that names the pool whose owner is killed now and then, and the one whose owner is spared.
pub const MORTAL: &str = "pool.mortal";
pub const SPARED: &str = "pool.spared";

/// The name of the pool that is to be used just now, of one sort.
pub fn pool_name(dir: &Path, sort: &str) -> String {
    loop {
        match std::fs::read_to_string(dir.join(sort)) {
            Ok(name) => return name,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return String::new(),
            // The nemesis may have left no descriptor just now.
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn any_pool(dir: &Path, random: &mut Random) -> String {
    pool_name(dir, if random.below(2) == 0 { SPARED } else { MORTAL })
}

/// Whether the pool still has its owner, and so must give every task its verdict.
pub fn is_kept(dir: &Path, name: &str) -> bool {
    name == pool_name(dir, MORTAL) || name == pool_name(dir, SPARED)
}

pub fn is_to_stop(dir: &Path) -> bool {
    dir.join("stop").exists()
}

/// Owns a pool until it is told to stop, or killed.
pub fn own(dir: &Path, name: &str, generation: u64) -> Result<(), Error> {
    let mut random = Random(generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut builder = Executor::builder().workers(2).capacity(256).payload_max(64 << 20).start(method(generation));
    if random.below(2) == 0 {
        builder = builder.max_tasks_per_worker(1 + random.below(20_000) as u32);
    }
    if random.below(2) == 0 {
        // One is always there: without an owner nobody else comes.
        builder = builder.min_workers(1).idle_timeout(Duration::from_millis(1 + random.below(40)));
    }
    builder = builder.replacements(random.below(3) as usize);
    let pool = loop {
        match builder.clone().create_named(name) {
            Ok(pool) => break pool,
            // The nemesis has filled `/dev/shm` or taken the descriptors, and gives back soon.
            Err(Error::OutOfMemory { .. } | Error::System { errno: libc::EMFILE | libc::ENOMEM, .. }) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e),
        }
    };
    std::fs::write(dir.join(format!("made.{name}")), "").expect("a mark");
    while !dir.join("stop owner").exists() {
        steer(&pool, &mut random);
        std::thread::sleep(Duration::from_millis(20));
    }
    pool.shutdown(true, false)
}

/// Now and then another number of workers, or a pause. A worker that the nemesis has stopped answers to no pause, and then there is none.
fn steer(pool: &Executor, random: &mut Random) {
    match random.below(100) {
        0 => pool.resize(1 + random.below(3) as usize).expect("a number of workers"),
        1 => {
            let paused = pool.pause();
            assert!(matches!(paused, Ok(()) | Err(Error::Stalled { .. })), "{paused:?}");
            std::thread::sleep(Duration::from_millis(random.below(30)));
            pool.resume().expect("the owner may");
        }
        _ => {}
    }
}

/// Works for whatever pool there is.
pub fn work(dir: &Path) {
    let mut random = Random(u64::from(std::process::id()) | 1);
    random.below(1);
    while !is_to_stop(dir) {
        if taskring::work(&any_pool(dir, &mut random)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Who submits: tasks numbered from its own range.
pub struct Submitter<'a> {
    pub dir: &'a Path,
    pub random: Random,
    pub next: u64,
}

/// A task under way.
struct Open {
    task: u64,
    deed: Deed,
    future: Future<u64>,
}

/// What no task of the soak dies of, but for one that overflows its stack. Of too little memory a worker aborts.
pub fn is_fault(signal: i32) -> bool {
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE].contains(&signal)
}

/// Says how a task ended as it cannot.
pub fn wrong(task: u64, how: &str) -> Event {
    println!("WRONG task {task:#x}: {how}");
    Event::Wrong
}

impl Submitter<'_> {
    /// Submits until it is told to stop, in visits to one pool or the other. `in_c`: through the C interface, or else by turns if it is `None`.
    pub fn submit(&mut self, in_c: Option<bool>) {
        let mut visits = 0_u64;
        while !is_to_stop(self.dir) {
            let name = any_pool(self.dir, &mut self.random);
            visits += 1;
            let attached = if in_c.unwrap_or(visits.is_multiple_of(2)) {
                crate::work_in_c::visit(self, &name)
            } else {
                Executor::attach(&name).map(|pool| self.visit(&pool, &name)).is_ok()
            };
            if !attached {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Whether a visit is to end: the soak is over, the pool has lost its owner, or it has been long enough.
    pub fn is_to_leave(&mut self, name: &str, round: u64) -> bool {
        round % 256 == 255 && (is_to_stop(self.dir) || !is_kept(self.dir, name) || self.random.below(64) == 0)
    }

    pub fn next_order(&mut self, name: &str) -> (u64, Deed, Vec<u8>) {
        self.next += 1;
        order(&mut self.random, self.next, name)
    }

    fn visit(&mut self, pool: &Executor, name: &str) {
        let mut open: VecDeque<Open> = VecDeque::new();
        let mut set = pool.task_set().ok();
        for round in 0_u64.. {
            if self.is_to_leave(name, round) {
                break;
            }
            let order = self.next_order(name);
            let (task, deed) = (order.0, order.1);
            let mut options = match &set {
                Some(set) if self.random.below(8) == 0 => SubmitOptions::new().set(set),
                _ => SubmitOptions::new(),
            };
            if self.random.below(8) == 0 {
                options = options.idempotent(true);
                note(task, Event::Repeatable);
            } else if self.random.below(8) == 0 {
                let (first, max) = (Duration::from_millis(self.random.below(4)), Duration::from_millis(4));
                options = options.retry(Retry::new(3).on_errors().on_panics().backoff(first, max));
                note(task, Event::Repeatable);
            }
            if self.random.below(4) == 0 {
                options = options.priority(if self.random.below(2) == 0 { Priority::High } else { Priority::Low });
            }
            if self.random.below(256) == 0 {
                // The third is there at times.
                options = options.worker(self.random.below(3) as u32);
            }
            if matches!(deed, Deed::Nap(_)) && !has_threads(name) && self.random.below(4) == 0 {
                options = options.soft_limit(Duration::from_millis(1)).hard_limit(Duration::from_millis(2));
            }
            note(task, Event::Intended);
            match pool.submit_with(&options, act, order) {
                Ok(future) => {
                    note(task, Event::Accepted);
                    open.push_back(Open { task, deed, future });
                }
                Err(e) => {
                    note(task, Event::Refused);
                    if !matches!(
                        e,
                        Error::OutOfMemory { .. } | Error::Discarded | Error::InvalidArgument { name: "worker", .. }
                    ) {
                        break;
                    }
                }
            }
            self.let_one_go(&mut open);
            if self.random.below(4096) == 0 {
                // What this submitter has pending, which says so when it is collected.
                let _ = pool.purge();
            }
            if self.random.below(512) == 0 {
                set = set.filter(|set: &TaskSet| set.discard().is_err()).or_else(|| pool.task_set().ok());
            }
            while open.len() > 64 {
                self.collect(open.pop_front(), Duration::from_secs(60), name);
            }
        }
        // The pool may have lost its owner and its workers: then this ends by time.
        let end = Instant::now() + Duration::from_secs(60);
        while let Some(first) = open.pop_front() {
            self.collect(Some(first), end.saturating_duration_since(Instant::now()), name);
        }
        let _ = pool.shutdown(false, true);
    }

    /// Cancels a task now and then, and drops the future of another.
    fn let_one_go(&mut self, open: &mut VecDeque<Open>) {
        match self.random.below(64) {
            0 if !open.is_empty() => {
                let at = self.random.below(open.len() as u64) as usize;
                if let Some(Open { task, future, .. }) = open.get(at)
                    && future.cancel()
                {
                    note(*task, Event::Cancelled);
                    drop(open.remove(at));
                }
            }
            2 if self.random.below(64) == 0 => {
                // Whether it ran before, nobody says.
                if open.back().is_some_and(|open| open.future.cancel_hard() == Ok(true))
                    && let Some(Open { task, .. }) = open.pop_back()
                {
                    note(task, Event::LostMayHaveRun);
                }
            }
            1 => {
                if let Some(Open { task, future, .. }) = open.pop_back() {
                    note(task, Event::Released);
                    drop(future);
                }
            }
            _ => {}
        }
    }

    fn collect(&self, open: Option<Open>, limit: Duration, name: &str) {
        let Some(Open { task, deed, future }) = open else { return };
        // Before the result or behind it.
        let early = if let Deed::Tell(_) = deed
            && task % 8 == 0
        {
            read_events(task, &future, limit)
        } else {
            Vec::new()
        };
        let event = match future.result_timeout(limit) {
            Ok(value) if value == answer(task) => Event::Value,
            Ok(value) => wrong(task, &format!("{value}")),
            Err(Error::TaskFailed { summary: message, .. }) if deed == Deed::Fail && message == AS_TOLD => Event::Failed,
            Err(Error::Panicked { message, .. }) if deed == Deed::Panic && message.starts_with(AS_TOLD) => Event::Panicked,
            Err(e @ (Error::TaskFailed { .. } | Error::Panicked { .. })) => wrong(task, &format!("{deed:?}: {e}")),
            // The message is too long for a slot, and the nemesis has taken the room for it.
            Err(Error::OutOfMemory { .. }) if deed == Deed::Panic => Event::Panicked,
            Err(Error::Cancelled | Error::NoWorkerFor { .. }) => Event::Cancelled,
            Err(Error::TimeLimit { .. }) if matches!(deed, Deed::Nap(_)) => Event::LostMayHaveRun,
            Err(Error::WorkerLost { cause: Cause::Signal(signal), pid, .. })
                if is_fault(signal) && deed != Deed::Overflow =>
            {
                wrong(task, &format!("{deed:?}: its worker {pid} died of signal {signal}"))
            }
            Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => Event::LostMayHaveRun,
            Err(Error::WorkerLost { stage: Stage::RanResultLost, .. }) => Event::LostResult,
            Err(_) if !is_kept(self.dir, name) => Event::Unknown,
            Err(e) => {
                eprintln!("task {task:#x} has no verdict: {e}");
                Event::Missing
            }
        };
        note(task, event);
        if let Deed::Tell(count) = deed {
            let rest = read_events(task, &future, Duration::ZERO);
            judge_events(task, &[early, rest].concat(), if event == Event::Value { Some(count) } else { None });
        }
    }
}

/// The events of a task, up to its end or the time.
fn read_events(task: u64, future: &Future<u64>, limit: Duration) -> Vec<Told> {
    let (mut events, end, mut all) = (future.events::<Told>(), Instant::now() + limit, Vec::new());
    loop {
        match events.next_timeout(end.saturating_duration_since(Instant::now())) {
            Some(Ok(told)) => all.push(told),
            Some(Err(Error::Decode { message })) => note(task, wrong(task, &format!("an event is torn: {message}"))),
            // What is wrong with the pool its result tells.
            Some(Err(_)) | None => return all,
        }
    }
}

/// Events come whole and in order: of each attempt from the first one on, and of one that has ended all that it was to send, or none for want of room.
fn judge_events(task: u64, all: &[Told], whole: Option<u8>) {
    let mut next = (0, 0);
    for told in all {
        next = if told.0 > next.0 { (told.0, 0) } else { next };
        if *told != event(task, next.0, next.1) {
            return note(task, wrong(task, &format!("its events are {all:?}")));
        }
        next.1 += 1;
    }
    let last = all.iter().filter(|told| told.0 == next.0).count();
    if whole.is_some_and(|whole| last != 0 && last != usize::from(whole)) {
        note(task, wrong(task, &format!("{last} of its events came instead of {whole:?}")));
    }
}
