//! What the victims do in their windows, all by the public interface, and what must hold afterwards: what was refused has not happened, what was
//! accepted has, and the same once more, when nothing fails any more, goes well.

use crate::process_support::common::Board;
use crate::process_support::{LIMIT, kill, pid_alive, shm_entries, signal};
use crate::trace::{Fail, edge_of_window};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Builder, Error, Executor, Future, StartMethod, When, as_completed, inspect, wait};

taskring::task! {
    /// Counts itself, and says how much it was given.
    pub fn count(board: String, cell: u64, bytes: Vec<u8>) -> u64 {
        // Long enough that whoever waits for it goes to sleep.
        std::thread::sleep(Duration::from_micros(500));
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        bytes.len() as u64
    }
    /// Gives a large result.
    pub fn large(board: String, cell: u64) -> Vec<u8> {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        vec![7; 5000]
    }
    pub fn nap(board: String, cell: u64, ms: u64) -> u64 {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }
}

pub const CELLS: usize = 64;

/// Every operation.
pub const ROWS: &[&str] = &[
    "create named",
    "create anonymous",
    "create with a thread",
    "create by spawn",
    "create by fork server",
    "create by fork",
    "attach",
    "submit inline",
    "submit block",
    "submit many",
    "large result",
    "wait",
    "as completed",
    "cancel",
    "discard",
    "map",
    "inspect",
    "remove dead",
    "recover",
    "worker",
    "replace by spawn",
    "replace by fork server",
    "zygote",
];

/// What a victim is given.
pub struct Place {
    /// The keeper's pool.
    pub pool: String,
    pub board: String,
    pub keeper: u32,
}

struct Life<'a> {
    place: &'a Place,
    operation: &'a str,
    pool: Option<Executor>,
    /// Tasks that were accepted, by cell.
    accepted: [u64; CELLS],
    cells: &'static [AtomicU64],
    turn: u64,
    /// Some of a bulk that was refused may run: how many is known when they have.
    unsettled: bool,
}

/// One victim's life.
pub fn live(place: &Place, operation: &str, fail: Fail) -> Result<(), String> {
    if crate::replace::row(operation).is_some() {
        return crate::replace::live(place, operation, fail);
    }
    let cells = Board::at(&place.board);
    cells.iter().for_each(|cell| cell.store(0, SeqCst));
    let attached = !operation.starts_with("create") && !matches!(operation, "attach" | "inspect" | "remove dead" | "worker");
    let pool = attached.then(|| Executor::attach(&place.pool).expect("attached"));
    let mut life = Life { place, operation, pool, accepted: [0; CELLS], cells, turn: 0, unsettled: false };
    if operation == "worker" {
        return crate::work::live(place, cells);
    }
    // Once before: what is opened or had once is there.
    life.perform().map_err(|e| format!("before its window: {e}"))?;
    let before = descriptors();
    if operation == "recover" {
        life.leave_somebody_dead();
    }
    // By now the pool's worker is asleep.
    std::thread::sleep(Duration::from_millis(5));
    edge_of_window();
    let start = Instant::now();
    let result = life.perform();
    let took = start.elapsed();
    edge_of_window();
    if operation == "recover" {
        signal(place.keeper, libc::SIGCONT);
    }
    life.check(&result, took)?;
    let again = life.perform();
    if let Err(e) = again {
        return Err(format!("after {result:?} and relief: {e}"));
    }
    life.check(&again, Duration::ZERO)?;
    let left = shm_entries(&format!("second-{}-", std::process::id()));
    if !left.is_empty() {
        return Err(format!("after {result:?}: left behind: {left:?}"));
    }
    // A worker that has left is reaped a moment later.
    let patience = Instant::now();
    while descriptors() != before {
        if patience.elapsed() > LIMIT {
            return Err(format!("after {result:?}: descriptors {before:?} became {:?}", descriptors()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(life.pool.take());
    Ok(())
}

/// What this process has open.
pub fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    let mut all: Vec<String> = entries
        .filter_map(|e| Some(std::fs::read_link(e.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .filter(|target| !target.contains("/fd"))
        // The numbers of sockets and the like differ.
        .map(|target| target.split(['[', '.']).next().unwrap_or_default().to_owned())
        .collect();
    all.sort_unstable();
    all
}

impl Life<'_> {
    fn second(&self) -> String {
        format!("second-{}-", std::process::id())
    }

    fn submit(&mut self, cell: u64, len: usize) -> Result<Future<u64>, Error> {
        let args = (self.place.board.clone(), cell, vec![1_u8; len]);
        let future = self.pool.as_ref().expect("attached").submit(count, args)?;
        self.accepted[cell as usize] += 1;
        Ok(future)
    }

    /// Does what the row says. An error is that of a call that may refuse; whatever was accepted must end well.
    fn perform(&mut self) -> Result<(), Error> {
        self.turn += 1;
        match self.operation {
            "submit inline" => ended(self.submit(1, 3)?, 3),
            "submit block" => ended(self.submit(1, 300)?, 300),
            "submit many" => self.submit_many()?,
            "large result" => {
                let future = self.pool.as_ref().expect("attached").submit(large, (self.place.board.clone(), 1))?;
                self.accepted[1] += 1;
                assert_eq!(future.result().as_deref(), Ok(&[7_u8; 5000][..]));
            }
            "wait" => {
                let futures = [self.submit(1, 3)?, self.submit(2, 4)?, self.submit(3, 300)?];
                let waited = wait(&futures, None, When::AllCompleted)?;
                assert_eq!(waited.done, [0, 1, 2]);
            }
            "as completed" => {
                let futures = vec![self.submit(1, 3)?, self.submit(2, 3)?, self.submit(3, 3)?];
                assert_eq!(
                    as_completed(futures, None).map(|f| f.and_then(|f| f.result())).collect::<Vec<_>>(),
                    vec![Ok(3); 3]
                );
            }
            "cancel" => self.cancel()?,
            "discard" => self.discard()?,
            "map" => {
                let board = self.place.board.clone();
                let inputs: Vec<_> = (4..10).map(|cell| (board.clone(), cell, vec![1_u8; 3])).collect();
                let answers: Vec<_> = self.pool.as_ref().expect("attached").map(count, inputs)?.collect();
                if let Some(Err(e)) = answers.iter().find(|a| a.is_err()) {
                    // What was submitted before runs to its end, and is not counted here.
                    self.unsettled = true;
                    return Err(e.clone());
                }
                assert_eq!(answers, vec![Ok(3); 6]);
                (4..10).for_each(|cell| self.accepted[cell] += 1);
            }
            "attach" => drop(Executor::attach(&self.place.pool)?),
            "inspect" => assert_eq!(inspect(&self.place.pool)?.capacity, 8),
            "remove dead" => assert!(!taskring::remove_dead("nobody-is-called-this")?),
            "recover" => {
                let args = (self.place.board.clone(), 1, 30);
                let future = self.pool.as_ref().expect("attached").submit(nap, args)?;
                self.accepted[1] += 1;
                assert_eq!(future.result(), Ok(30));
            }
            _ => self.create()?,
        }
        Ok(())
    }

    /// Waits until whatever runs has been counted, and starts anew from there. Not within the window, where the calls of a look may fail.
    fn settle(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let view = inspect(&self.place.pool).map_err(|e| format!("no look at the pool: {e}"))?;
            if view.lanes.iter().all(|lane| lane.slots[..2] == [0, 0]) {
                break;
            }
            if start.elapsed() > LIMIT {
                return Err(format!("tasks do not end: {view}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        for (accepted, cell) in self.accepted.iter_mut().zip(self.cells) {
            *accepted = cell.load(SeqCst);
        }
        self.unsettled = false;
        Ok(())
    }

    fn submit_many(&mut self) -> Result<(), Error> {
        let board = self.place.board.clone();
        let many = (0..20).map(|cell| (board.clone(), cell, vec![1_u8; if cell % 5 == 0 { 300 } else { 3 }]));
        let futures = match self.pool.as_ref().expect("attached").submit_bulk(count, many) {
            Ok(futures) => futures,
            Err(e) => {
                self.unsettled = true;
                return Err(e);
            }
        };
        self.accepted[..20].iter_mut().for_each(|n| *n += 1);
        for (i, future) in futures.into_iter().enumerate() {
            ended(future, if i % 5 == 0 { 300 } else { 3 });
        }
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), Error> {
        let board = self.place.board.clone();
        let busy = self.pool.as_ref().expect("attached").submit(nap, (board, 1, 5))?;
        self.accepted[1] += 1;
        let pending = self.submit(2, 3)?;
        if pending.cancel() {
            self.accepted[2] -= 1;
            assert_eq!(pending.result(), Err(Error::Cancelled));
        } else {
            ended(pending, 3);
        }
        ended(busy, 5);
        Ok(())
    }

    fn discard(&mut self) -> Result<(), Error> {
        let board = self.place.board.clone();
        let set = self.pool.as_ref().expect("attached").task_set()?;
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(set.submit(nap, (board.clone(), 1, 3))?);
            self.accepted[1] += 1;
        }
        set.discard()?;
        for future in all {
            match future.result() {
                Err(Error::Cancelled) => self.accepted[1] -= 1,
                other => assert_eq!(other, Ok(3)),
            }
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), Error> {
        let builder = |method| Executor::builder().capacity(8).payload_max(1 << 20).start(method);
        let with_worker = |method| -> Builder { builder(method).workers(1) };
        let pool = match self.operation {
            "create named" => builder(StartMethod::None).create_named(&self.second())?,
            "create anonymous" => builder(StartMethod::None).build()?,
            "create with a thread" => with_worker(StartMethod::Thread).create_named(&self.second())?,
            "create by spawn" => with_worker(StartMethod::Spawn).build()?,
            "create by fork server" => with_worker(StartMethod::ForkServer).build()?,
            "create by fork" => with_worker(StartMethod::Fork).build()?,
            other => panic!("no operation {other:?}"),
        };
        if self.operation == "create named" || self.operation == "create anonymous" {
            return Ok(());
        }
        self.pool = Some(pool);
        let first = self.submit(1, 3);
        if let Ok(future) = first {
            ended(future, 3);
        }
        // Its end is part of the window.
        self.pool = None;
        Ok(())
    }

    /// Another submitter dies with tasks of its own, and the keeper looks away.
    fn leave_somebody_dead(&self) {
        // SAFETY: this process has one thread, so the child may do anything.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let pool = Executor::attach(&self.place.pool).expect("attached");
            for len in [3, 300] {
                std::mem::forget(pool.submit(count, (self.place.board.clone(), 40, vec![1; len])).expect("submitted"));
            }
            edge_of_window();
        }
        let mut status = 0;
        // SAFETY: `status` is a live local, and the child ours.
        unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
        signal(self.place.keeper, libc::SIGSTOP);
        kill(pid.cast_unsigned());
        // SAFETY: as above.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(!pid_alive(pid.cast_unsigned()));
    }

    /// Whether what was accepted has run, once each, and nothing else.
    fn check(&mut self, result: &Result<(), Error>, took: Duration) -> Result<(), String> {
        if let Err(Error::Panicked { .. } | Error::WorkerLost { .. } | Error::Corrupt { .. }) = result {
            return Err(format!("gave {result:?}"));
        }
        if self.unsettled {
            self.settle()?;
        }
        let start = Instant::now();
        loop {
            let wrong = (0..40).find(|&i| self.cells[i].load(SeqCst) != self.accepted[i]);
            let Some(i) = wrong else { break };
            if start.elapsed() > Duration::from_secs(2) {
                let ran = self.cells[i].load(SeqCst);
                return Err(format!("after {result:?} ({took:?}): task {i} ran {ran} times, accepted {}", self.accepted[i]));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// A task that was accepted: nothing that fails in the waiting for it may change its result.
fn ended(future: Future<u64>, right: u64) {
    assert_eq!(future.result(), Ok(right));
}
