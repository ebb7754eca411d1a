//! What victims, tasks and survivors tell each other: cells of a board, a row of them for each task.

use crate::process_support::common::Board;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Not 0: held tasks may end.
pub const GATE: usize = 0;
/// Tasks have numbers below this.
pub const IDS: usize = 64;
pub const CELLS: usize = 5 * IDS;
/// Not 0: the victim has come to its window's end. In the row of notes that has no name.
pub const ENDED: usize = 1;
/// Not 0: a victim whose supervisor is stepped is ready, or has killed its worker.
pub const READY: usize = 2;

/// Which worker of the keeper's is to be the victim; and not 0: the tracer has taken it. See `kept.rs`.
pub const WANTED: usize = 3;
pub const GO: usize = 4;

/// What is noted of a task.
#[derive(Clone, Copy)]
pub enum Note {
    /// How often its function was entered.
    Entered = 1,
    /// Its submitter was told that it is accepted.
    Accepted = 2,
    /// Its submitter is about to cancel or discard it, or to shut down.
    Cancelling = 3,
    /// Its submitter was told that it will never run.
    Cancelled = 4,
}

/// The pool and the board of this process.
pub struct Place {
    pub pool: String,
    pub board: String,
}

pub static PLACE: OnceLock<Place> = OnceLock::new();

pub fn place() -> &'static Place {
    PLACE.get().expect("set when the process began")
}

/// The board of this process.
pub fn cells() -> &'static [AtomicU64] {
    Board::at(&place().board)
}

pub fn note_at(board: &str, id: u64, what: Note) {
    Board::at(board)[what as usize * IDS + id as usize].fetch_add(1, SeqCst);
}

pub fn note(id: u64, what: Note) {
    note_at(&place().board, id, what);
}

pub fn noted(board: &Board, id: usize, what: Note) -> u64 {
    board[what as usize * IDS + id].load(SeqCst)
}

pub fn clear(board: &Board) {
    board.iter().for_each(|cell| cell.store(0, SeqCst));
}
