//! Victims that are workers of the keeper's own: in pools whose workers leave after a task, and in pools whose workers come on demand. The tracer has not forked
//! them, so they tell where they are, and wait to be taken. The window of one that comes begins before its program does anything, and ends in its first task; that
//! of one that goes begins in a task, and ends with its process.

use crate::board::{GO, Note, PLACE, Place, READY, WANTED, cells, note_at};
use crate::process_support::common::{Board, SOON, wait_until};
use crate::process_support::pidfd_open;
use crate::trace::{begin_window, end_window};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use taskring::{Builder, Executor, Future, inspect};

taskring::task! {
    /// In a victim that came for it: the window's end. In one that is to go its beginning.
    fn stands(board: String, id: u64) -> Vec<u8> {
        note_at(&board, id, Note::Entered);
        if IS_VICTIM.load(SeqCst) {
            end_window();
        }
        stand_if(Meant::WhoRunsIt);
        vec![id as u8]
    }
    /// Goes on until a worker waits for the turn of the one that runs it.
    fn until_one_waits(board: String, id: u64, pool: String) -> Vec<u8> {
        note_at(&board, id, Note::Entered);
        wait_until(2 * SOON, || inspect(&pool).is_ok_and(|view| view.participants.iter().any(|who| who.waits)));
        vec![id as u8]
    }
}

/// Whom the tracer is to take: who comes by this first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    WhoStarts = 1,
    WhoRunsIt = 2,
}

static IS_VICTIM: AtomicBool = AtomicBool::new(false);
/// In the environment of the keeper's workers: the board.
const BOARD: &str = "TASKRING_KILL_POINTS_BOARD";
/// A worker that has nothing to do leaves after so long: the tracer takes a call as blocked before.
const IDLE: Duration = Duration::from_millis(8);

pub fn is_meant(operation: &str) -> bool {
    matches!(operation, "renewal" | "on demand")
}

/// Whether the victim's process is to come to its end by itself.
pub fn may_end(context: &str) -> bool {
    matches!(context, "old worker" | "leaves")
}

/// How many workers such a pool has when nothing happens: of those that leave after a task one runs tasks, and one waits for its turn.
pub fn workers(operation: &str) -> usize {
    if operation == "renewal" { 2 } else { 0 }
}

/// Whether nobody is about to come for another reason, with as many there as when nothing happens.
pub fn is_quiet(context: &str, pool: &str) -> bool {
    let waits = inspect(pool).map_or(0, |view| view.participants.iter().filter(|who| who.waits).count());
    waits == usize::from(context.ends_with("worker"))
}

/// The keeper's pool.
pub fn keep(builder: Builder, operation: &str, board: &str) -> Builder {
    let builder = builder.workers(1).worker_env([(BOARD, board)]);
    match operation {
        "renewal" => builder.max_tasks_per_worker(1),
        _ => builder.min_workers(0).idle_timeout(IDLE),
    }
}

/// Before anything else in a program: whoever is to be the victim waits for the tracer.
pub fn begin() {
    let Ok(board) = std::env::var(BOARD) else { return };
    PLACE.get_or_init(|| Place { pool: String::new(), board });
    stand_if(Meant::WhoStarts);
}

fn stand_if(meant: Meant) {
    if PLACE.get().is_none() || cells()[WANTED].compare_exchange(meant as u64, 0, SeqCst, SeqCst).is_err() {
        return;
    }
    IS_VICTIM.store(true, SeqCst);
    // SAFETY: the call takes integers. Whoever traces it is not its parent.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
    cells()[READY].store(std::process::id().into(), SeqCst);
    wait_until(SOON, || cells()[GO].load(SeqCst) != 0);
    begin_window();
}

/// Has the keeper's pool bring a victim into being. What was submitted for it.
pub fn call_victim(context: &str, pool: &Executor, name: &str, board: &Board, own: u64) -> Vec<(u64, Future<Vec<u8>>)> {
    let meant = if may_end(context) { Meant::WhoRunsIt } else { Meant::WhoStarts };
    board[WANTED].store(meant as u64, SeqCst);
    let submit = |id| (id, pool.submit(stands, (board.name(), id)).expect("submitted"));
    if context != "new worker" {
        return vec![submit(own)];
    }
    // The first has its worker leave. The next one then has the victim started, and runs the second until that waits for its turn.
    let first = submit(own);
    let second = pool.submit(until_one_waits, (board.name(), own + 1, name.to_owned())).expect("submitted");
    vec![first, (own + 1, second), submit(own + 2)]
}

/// Of a victim that the tracer has not forked: it is killed by this, for its number may be another's when it has ended.
pub struct Handle(OwnedFd);

impl Handle {
    pub fn of(pid: i32) -> Handle {
        Handle(pidfd_open(pid.cast_unsigned()))
    }

    pub fn kill(&self) {
        let (fd, none) = (self.0.as_raw_fd(), std::ptr::null_mut::<libc::siginfo_t>());
        // SAFETY: the call takes integers, and no further information.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, none, 0) };
    }
}

/// Programs that this one starts, and those that they start, lie at the same addresses each time: a victim's are then those of the tracer. False where the system does
/// not allow it.
pub fn fix_addresses() -> bool {
    // SAFETY: the call takes an integer.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) >= 0 }
}
