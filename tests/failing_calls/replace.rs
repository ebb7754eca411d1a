//! Victims whose workers are killed: what fails are the calls of the thread that looks after them, or of the process that forks them. The main
//! thread, whose calls do not fail, submits and waits.

use crate::operations::{Place, count, descriptors, nap};
use crate::process_support::{children_of, kill};
use crate::trace::{Fail, Led, edge_of_window};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, StartMethod};

/// After relief everything comes within this.
const LIMIT: Duration = Duration::from_secs(12);
/// Before, nobody waits longer for what may not come.
const IN_WINDOW: Duration = Duration::from_millis(400);
const NAP: u64 = 1;
const COUNT: u64 = 2;

/// The rows: whose calls fail, and how the workers come into being.
pub fn row(operation: &str) -> Option<(Led, StartMethod)> {
    Some(match operation {
        "replace by spawn" => (Led::Thread("taskring-super"), StartMethod::Spawn),
        "replace by fork server" => (Led::Thread("taskring-super"), StartMethod::ForkServer),
        "zygote" => (Led::Child("taskring-zygote"), StartMethod::ForkServer),
        _ => return None,
    })
}

struct Life<'a> {
    place: &'a Place,
    cells: &'static [AtomicU64],
    pool: Executor,
    /// How many of each were accepted.
    naps: u64,
    counts: u64,
}

/// The end of a worker, and the next task.
struct Deed {
    victim: u32,
    lost: Future<u64>,
    next: Option<Future<u64>>,
}

/// The whole of its life.
pub fn live(place: &Place, operation: &str, fail: Fail) -> Result<(), String> {
    let (led, method) = row(operation).ok_or("no such row")?;
    let cells = crate::process_support::common::Board::at(&place.board);
    cells.iter().for_each(|cell| cell.store(0, SeqCst));
    let before = descriptors();
    let builder = Executor::builder().workers(1).start(method).capacity(8).payload_max(1 << 20);
    let mut life = Life { place, cells, pool: builder.build().map_err(|e| e.to_string())?, naps: 0, counts: 0 };
    life.whole().map_err(|e| format!("before its window: {e}"))?;
    edge_of_window();
    let deed = life.perform(IN_WINDOW);
    edge_of_window();
    // One failure alone is got over, unless it is the socket's by which the two talk: then the one who cannot tell ends.
    let may_break = !matches!(fail, Fail::Once(..) | Fail::Nothing) || matches!(led, Led::Child(_));
    let is_broken = deed.and_then(|deed| life.settle(deed))?;
    if is_broken && !may_break {
        return Err("one failing call has broken the pool".into());
    }
    if !is_broken {
        life.whole().map_err(|e| format!("after relief: {e}"))?;
    }
    let ran = [NAP, COUNT].map(|cell| cells[cell as usize].load(SeqCst));
    if ran[0] != life.naps || ran[1] != life.counts {
        return Err(format!("{ran:?} tasks ran, {} and {} did well", life.naps, life.counts));
    }
    let start = Instant::now();
    drop(life);
    if start.elapsed() > LIMIT {
        return Err(format!("the pool's end took {:?}", start.elapsed()));
    }
    while descriptors() != before || !children_of(std::process::id()).is_empty() {
        if start.elapsed() > LIMIT {
            let children = children_of(std::process::id());
            return Err(format!("descriptors {before:?} became {:?}; children {children:?} are left", descriptors()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A broken pool's owner tells why no worker could be started.
fn is_end_of_pool(error: &Error) -> bool {
    matches!(error, Error::Broken { .. } | Error::System { .. })
}

impl Life<'_> {
    /// Kills the worker within a task, and submits another.
    fn perform(&mut self, limit: Duration) -> Result<Deed, String> {
        let lost = self.pool.submit(nap, (self.place.board.clone(), NAP, 60_000)).map_err(|e| format!("refused: {e}"))?;
        self.naps += 1;
        let start = Instant::now();
        while self.cells[NAP as usize].load(SeqCst) != self.naps {
            if start.elapsed() > LIMIT {
                return Err("the task is run by nobody".into());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let victim = lost.worker_pid().ok_or("the task has no worker")?;
        kill(victim);
        let _ = lost.result_timeout(limit);
        let next = match self.pool.submit(count, (self.place.board.clone(), COUNT, vec![1; 3])) {
            Ok(next) => Some(next),
            Err(e) if is_end_of_pool(&e) => None,
            Err(e) => return Err(format!("refused: {e}")),
        };
        if let Some(next) = &next {
            let _ = next.result_timeout(limit);
        }
        Ok(Deed { victim, lost, next })
    }

    /// Sees that both tasks had their right end. True when the pool is broken.
    fn settle(&mut self, deed: Deed) -> Result<bool, String> {
        match deed.lost.result_timeout(LIMIT) {
            Err(Error::WorkerLost { pid, .. }) if pid == deed.victim => {}
            other => return Err(format!("the task of worker {} gave {other:?}", deed.victim)),
        }
        match deed.next.map(|next| next.result_timeout(LIMIT)) {
            Some(Ok(3)) => {
                self.counts += 1;
                // It may have broken since: then the next task is refused or fails so.
                let probe = self.pool.submit(count, (self.place.board.clone(), COUNT, vec![1; 3]));
                match probe.and_then(|probe| probe.result_timeout(LIMIT)) {
                    Ok(3) => self.counts += 1,
                    Err(e) if is_end_of_pool(&e) => return Ok(true),
                    other => return Err(format!("the task after that gave {other:?}")),
                }
                Ok(false)
            }
            None => Ok(true),
            Some(Err(e)) if is_end_of_pool(&e) => Ok(true),
            Some(other) => Err(format!("the task after that gave {other:?}")),
        }
    }

    /// The same where nothing fails.
    fn whole(&mut self) -> Result<(), String> {
        let deed = self.perform(LIMIT)?;
        if self.settle(deed)? { Err("the pool is broken".into()) } else { Ok(()) }
    }
}
