//! What must hold after a kill, seen by a survivor.

use crate::board::{GATE, IDS, Note, noted};
use crate::operations::echo;
use crate::process_support::common::Board;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Executor, Future, Snapshot, inspect};

/// Within this time, once the victim's and the survivor's tasks have their verdicts, everything is as it was before.
pub const LIMIT: Duration = Duration::from_millis(1500);
/// The numbers of the survivor's own tasks begin here.
pub const OWN: u64 = 40;

/// Who is attached when no victim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    participants: usize,
    blocks: usize,
}

impl Before {
    pub fn of(pool: &str) -> Before {
        let view = inspect(pool).expect("a pool");
        Before { participants: view.participants.len(), blocks: view.blocks }
    }
}

/// Why the pool is not as before; `None` when it is.
fn difference(view: &Snapshot, before: &Before) -> Option<String> {
    let free = |lane: &taskring::LaneView| lane.slots == [0; 4] && lane.damaged == 0;
    let own_lanes_free = view.lanes.iter().all(free);
    let held = view.lanes.iter().find_map(|lane| lane.mutex_owner);
    if view.life != "open" {
        return Some(format!("the pool is {}", view.life));
    }
    if view.participants.len() != before.participants || view.participants.iter().any(|p| !p.seated) {
        return Some("the dead participant's seat is not free".into());
    }
    if let Some(pid) = held {
        return Some(format!("a lane's mutex is held by {pid}"));
    }
    if !view.held.is_empty() {
        return Some(format!("mutexes are held: {:?}", view.held));
    }
    if view.blocks != before.blocks {
        return Some(format!("{} payload blocks are in use instead of {}", view.blocks, before.blocks));
    }
    (!own_lanes_free).then(|| "slots are not free".into())
}

/// Waits until nothing of the victim is left, runs two laps of fresh tasks, and looks at what was noted of the victim's own. Every finding is a violation.
pub fn check(pool: &Executor, name: &str, board: &Board, before: &Before) -> Vec<String> {
    board[GATE].store(1, SeqCst);
    let mut found = Vec::new();
    let start = Instant::now();
    loop {
        let view = inspect(name).expect("a pool");
        match difference(&view, before) {
            None => break,
            Some(what) if start.elapsed() > LIMIT => {
                found.push(format!("{what} after {LIMIT:?}\n{view}"));
                break;
            }
            Some(_) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
    fresh_tasks(pool, board, &mut found);
    for id in 0..OWN as usize {
        judge(board, id, &mut found);
    }
    found
}

/// Two laps of tasks, each run once and with its own result.
fn fresh_tasks(pool: &Executor, board: &Board, found: &mut Vec<String>) {
    for lap in 0..2 {
        let ids = OWN..OWN + pool.capacity() as u64;
        let futures: Result<Vec<Future<Vec<u8>>>, _> =
            ids.clone().map(|id| pool.submit(echo, (board.name(), id, vec![id as u8; 3]))).collect();
        match futures {
            Err(e) => found.push(format!("a fresh task is refused: {e}")),
            Ok(futures) => {
                for (id, future) in ids.zip(futures) {
                    let result = future.result_timeout(2 * LIMIT);
                    let runs = noted(board, id as usize, Note::Entered);
                    if result != Ok(vec![id as u8; 3]) || runs != lap + 1 {
                        found.push(format!("a fresh task gave {result:?} after {runs} runs"));
                    }
                }
            }
        }
    }
}

/// A task of the victim's: run once if it was accepted, and never if it was cancelled.
fn judge(board: &Board, id: usize, found: &mut Vec<String>) {
    let [runs, accepted, cancelling, cancelled] =
        [Note::Entered, Note::Accepted, Note::Cancelling, Note::Cancelled].map(|what| noted(board, id, what));
    if runs > 1 {
        found.push(format!("task {id} was entered {runs} times"));
    }
    if cancelled != 0 && runs != 0 {
        found.push(format!("task {id} was cancelled, and ran"));
    }
    if accepted != 0 && cancelling == 0 && runs != 1 {
        found.push(format!("task {id} was accepted, and ran {runs} times"));
    }
}

/// The numbers that are judged lie on the board.
const _: () = assert!(OWN as usize + 16 <= IDS);
