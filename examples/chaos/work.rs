//! The tasks of the soak, good and bad, and the processes that submit them and work for them.

use crate::journal::{Event, note};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use taskring::{Error, Executor, Future, Stage, SubmitOptions, TaskError};

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
}

taskring::task! {
    pub fn act(task: u64, deed: Deed, bytes: Vec<u8>) -> Result<u64, TaskError> {
        note(task, Event::Entered);
        match deed {
            Deed::Square | Deed::Echo(_) => {}
            Deed::Nap(us) => std::thread::sleep(Duration::from_micros(us.into())),
            Deed::Fail => return Err(TaskError::new("as it was told")),
            Deed::Panic => panic!("as it was told"),
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

fn answer(task: u64) -> u64 {
    task.wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

/// Mostly small and good.
fn deed(random: &mut Random) -> Deed {
    match random.below(20_000) {
        0 => Deed::Exit,
        1 => Deed::Abort,
        2 => Deed::Overflow,
        3 => Deed::CloseAll,
        4..=13 => Deed::Fork,
        14..=33 => Deed::Allocate,
        34..=200 => Deed::Panic,
        201..=1000 => Deed::Fail,
        1001..=1500 => Deed::Nap(random.below(2000) as u16),
        1501..=4000 => Deed::Echo(random.below(20_000) as u16),
        _ => Deed::Square,
    }
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

/// The name of the pool that is to be used just now.
pub fn pool_name(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("pool")).unwrap_or_default()
}

fn stopped(dir: &Path) -> bool {
    dir.join("stop").exists()
}

/// Owns a pool until it is told to stop, or killed.
pub fn own(dir: &Path, name: &str) -> Result<(), Error> {
    let pool = Executor::builder().workers(2).capacity(256).payload_max(64 << 20).create_named(name)?;
    std::fs::write(dir.join(format!("made.{name}")), "").expect("a mark");
    while !dir.join("stop owner").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    pool.shutdown(true, false)
}

/// Works for whatever pool there is.
pub fn work(dir: &Path) {
    while !stopped(dir) {
        if taskring::work(&pool_name(dir)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Submits until it is told to stop: tasks numbered from its own range.
pub fn submit(dir: &Path, submitter: u64, seed: u64) {
    let mut random = Random(seed | 1);
    let mut next = submitter << 32;
    while !stopped(dir) {
        let name = pool_name(dir);
        match Executor::attach(&name) {
            Ok(pool) => submit_to(&pool, dir, &name, &mut random, &mut next),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn submit_to(pool: &Executor, dir: &Path, name: &str, random: &mut Random, next: &mut u64) {
    let mut open: VecDeque<(u64, Future<u64>)> = VecDeque::new();
    let set = pool.task_set().ok();
    for round in 0_u64.. {
        if round % 256 == 0 && (stopped(dir) || pool_name(dir) != name) {
            break;
        }
        *next += 1;
        let task = *next;
        let deed = deed(random);
        let len = if let Deed::Echo(len) = deed { len as usize } else { 0 };
        let options = match &set {
            Some(set) if random.below(8) == 0 => SubmitOptions::new().set(set),
            _ => SubmitOptions::new(),
        };
        note(task, Event::Intended);
        match pool.submit_with(&options, act, (task, deed, vec![task as u8; len])) {
            Ok(future) => {
                note(task, Event::Accepted);
                open.push_back((task, future));
            }
            Err(e) => {
                note(task, Event::Refused);
                if !matches!(e, Error::OutOfMemory { .. } | Error::Discarded) {
                    break;
                }
            }
        }
        match random.below(64) {
            0 => {
                let at = random.below(open.len() as u64) as usize;
                if let Some((task, future)) = open.get(at)
                    && future.cancel()
                {
                    note(*task, Event::Cancelled);
                    drop(open.remove(at));
                }
            }
            1 => {
                if let Some((task, future)) = open.pop_back() {
                    note(task, Event::Released);
                    drop(future);
                }
            }
            _ => {}
        }
        while open.len() > 64 {
            collect(open.pop_front(), Duration::from_secs(60), || pool_name(dir) == name);
        }
    }
    // The pool may have lost its owner and its workers: then this ends by time.
    while let Some(first) = open.pop_front() {
        collect(Some(first), Duration::from_secs(10), || pool_name(dir) == name);
    }
    let _ = pool.shutdown(false, true);
}

/// `is_kept` tells whether the pool still has its owner, and so must give every task its verdict.
fn collect(open: Option<(u64, Future<u64>)>, limit: Duration, is_kept: impl Fn() -> bool) {
    let Some((task, future)) = open else { return };
    let event = match future.result_timeout(limit) {
        Ok(value) if value == answer(task) => Event::Value,
        Ok(value) => panic!("task {task:#x} gave {value}"),
        Err(Error::TaskFailed { message }) if message == "as it was told" => Event::Failed,
        Err(Error::TaskFailed { message }) => panic!("task {task:#x}: {message}"),
        Err(Error::Panicked { .. }) => Event::Panicked,
        Err(Error::Cancelled) => Event::Cancelled,
        Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => Event::LostMayHaveRun,
        Err(Error::WorkerLost { stage: Stage::RanResultLost, .. }) => Event::LostResult,
        Err(_) if !is_kept() => Event::Unknown,
        Err(e) => {
            eprintln!("task {task:#x} has no verdict: {e}");
            Event::Missing
        }
    };
    note(task, event);
}
