//! What the end of a task is, by what its future gives.

use crate::deeds::{AS_ASKED, AS_TOLD, Deed, answer, told};
use crate::journal::Event;
use std::path::Path;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Future, Stage};

/// The file that names the pool whose owner is killed now and then, and the one whose owner is spared.
pub const MORTAL: &str = "pool.mortal";
pub const SPARED: &str = "pool.spared";
/// What the names of submitters' own pools begin with, before the process.
pub const OWN: &str = "own-";
/// How long a task may take in a pool that has its owner, under a nemesis.
const PATIENCE: Duration = Duration::from_secs(60);
/// And in one that has lost it: it goes on while there is work, but may have lost its workers as well.
const PATIENCE_WITHOUT_OWNER: Duration = Duration::from_secs(15);
const SLICE: Duration = Duration::from_millis(500);

/// In which pool the task was.
#[derive(Clone, Copy)]
pub enum Waited<'a> {
    /// In that of this name.
    In(&'a str),
    /// The same, of a task that was asked to stop.
    Asked(&'a str),
}

impl Waited<'_> {
    /// Whether the pool still has its owner, and so must give every task its verdict.
    pub fn is_kept(self) -> bool {
        match self {
            Waited::In(name) | Waited::Asked(name) => is_kept(&crate::journal::dir(), name),
        }
    }

    /// Whether its owner has too little memory to start workers, which breaks the pool, and is about to be killed for it.
    fn has_starved_owner(self) -> bool {
        match self {
            Waited::In(name) | Waited::Asked(name) => is_starved(&owner(&crate::journal::dir(), name)),
        }
    }
}

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

/// The process that owns the pool of this name: that of a submitter's own is told in it, the others have written it down.
fn owner(dir: &Path, name: &str) -> String {
    let own = name.strip_prefix(OWN).and_then(|rest| rest.split('-').next()).map(str::to_owned);
    own.unwrap_or_else(|| std::fs::read_to_string(dir.join(format!("made.{name}"))).unwrap_or_default())
}

/// Whether the pool of this name has its owner.
pub fn is_kept(dir: &Path, name: &str) -> bool {
    match name.starts_with(OWN) {
        true => crate::journal::is_alive(&owner(dir, name)),
        false => name == pool_name(dir, MORTAL) || name == pool_name(dir, SPARED),
    }
}

/// Whether the nemesis has limited the memory of a process, which it kills soon.
pub fn is_starved(pid: &str) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let pid = pid.parse().unwrap_or(0);
    // SAFETY: nothing to read, and a live local to write to. 0 would be this process.
    pid != 0
        && unsafe { libc::prlimit(pid, libc::RLIMIT_AS, std::ptr::null(), &raw mut limit) } == 0
        && limit.rlim_cur != limit.rlim_max
}

/// Waits for tasks, for as long as somebody must bring their ends about: all of them together.
pub struct Patience<'a> {
    name: Waited<'a>,
    begun: Instant,
}

impl<'a> Patience<'a> {
    pub fn with(name: Waited<'a>) -> Patience<'a> {
        Patience { name, begun: Instant::now() }
    }

    pub fn is_over(&self) -> bool {
        let waited = self.begun.elapsed();
        waited > PATIENCE || waited > PATIENCE_WITHOUT_OWNER && !self.name.is_kept()
    }

    /// What `look` gives, which waits no longer than it is told. `None` when nobody brought it about.
    pub fn wait<T>(&self, mut look: impl FnMut(Duration) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = look(SLICE) {
                return Some(found);
            }
            if self.is_over() {
                return None;
            }
        }
    }

    /// A task's result.
    pub fn result(&self, future: &Future<u64>) -> Result<u64, Error> {
        let ended = self.wait(|slice| match future.result_timeout(if self.is_over() { Duration::ZERO } else { slice }) {
            Err(Error::TimedOut { .. }) => None,
            ended => Some(ended),
        });
        ended.unwrap_or(Err(Error::TimedOut { what: "a task of the soak", after: PATIENCE }))
    }
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

/// The end of a task, by the result that its submitter got.
pub fn verdict(task: u64, deed: Deed, name: Waited<'_>, result: Result<u64, Error>) -> Event {
    match result {
        Ok(value) if value == answer(task) => Event::Value,
        Ok(value) => wrong(task, &format!("{value}")),
        Err(Error::TaskFailed { summary, .. }) if deed == Deed::Fail && summary == told(task) => Event::Failed,
        Err(Error::TaskFailed { summary, .. }) if deed == Deed::Poll && summary == AS_ASKED => match name {
            Waited::Asked(_) => Event::Failed,
            _ => wrong(task, "it was asked to stop, by nobody"),
        },
        Err(Error::Panicked { message, .. }) if deed == Deed::Panic && message.starts_with(&told(task)) => Event::Panicked,
        Err(e @ (Error::TaskFailed { .. } | Error::Panicked { .. })) => wrong(task, &format!("{deed:?}: {e}")),
        // The message is too long for a slot, and the nemesis has taken the room for it.
        Err(Error::OutOfMemory { .. }) if deed == Deed::Panic => Event::Panicked,
        Err(Error::Cancelled | Error::NoWorkerFor { .. }) => Event::Cancelled,
        Err(Error::TimeLimit { .. }) if matches!(deed, Deed::Nap(_)) => Event::LostMayHaveRun,
        Err(Error::WorkerLost { cause: Cause::Signal(signal), pid, .. }) if is_fault(signal) && deed != Deed::Overflow => {
            wrong(task, &format!("{deed:?}: its worker {pid} died of signal {signal}"))
        }
        Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => Event::LostMayHaveRun,
        Err(Error::WorkerLost { stage: Stage::RanResultLost, .. }) => Event::LostResult,
        Err(_) if !name.is_kept() => Event::Unknown,
        Err(Error::Broken { .. } | Error::System { .. }) if name.has_starved_owner() => Event::Unknown,
        Err(e) => {
            eprintln!("task {task:#x} has no verdict: {e}");
            Event::Missing
        }
    }
}

/// The task whose number an error names: of several whose errors come in any order.
pub fn task_told(error: &Error) -> Option<u64> {
    let text = match error {
        Error::TaskFailed { summary, .. } => summary,
        Error::Panicked { message, .. } => message,
        _ => return None,
    };
    let digits = text.strip_prefix(AS_TOLD)?.strip_prefix("0x")?;
    let len = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..len], 16).ok()
}
