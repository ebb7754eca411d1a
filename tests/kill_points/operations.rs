//! What victims do in their windows, each in its contexts: all by the public interface. A victim notes on the board what it was told,
//! so that the survivors know what they may expect.

use crate::board::{GATE, Note, note, note_at, place};
use crate::oracle::OWN;
use crate::process_support::common::{Board, SOON, wait_until};
use crate::trace::{begin_window, end_window};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use taskring::{Executor, Future, Priority, SubmitOptions, TaskError, When, as_completed, current_pool, wait};

taskring::task! {
    /// Gives its arguments back, which must be whole.
    pub fn echo(board: String, id: u64, bytes: Vec<u8>) -> Vec<u8> {
        note_at(&board, id, Note::Entered);
        assert!(bytes.iter().all(|&b| u64::from(b) == id), "torn arguments");
        bytes
    }
    /// Ends when the gate is open.
    pub fn hold(board: String, id: u64) -> u64 {
        note_at(&board, id, Note::Entered);
        let cells = Board::at(&board);
        wait_until(SOON, || cells[GATE].load(SeqCst) != 0);
        id
    }
    /// Longer than the look at a task that is held.
    pub fn rest(ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }
    /// For one worker, by whose number it is noted.
    pub fn by_number(board: String, id: u64) -> u64 {
        let number = u64::from(taskring::task::worker_number().expect("the owner has started it"));
        note_at(&board, id + number, Note::Entered);
        number
    }
    /// As `mark`, and tells of its progress on both sides of the window's end.
    pub fn tells(board: String, id: u64) -> Vec<u8> {
        note_at(&board, id, Note::Entered);
        tell(1);
        pass_mark();
        tell(2);
        tell(3);
        vec![id as u8]
    }
    /// As `mark`, and waits for a task of its own, which its worker runs on top of it.
    pub fn waits(board: String, id: u64) -> Result<Vec<u8>, TaskError> {
        // Before the window: at the first call the worker takes another seat.
        let pool = current_pool()?;
        note_at(&board, id, Note::Entered);
        pass_mark();
        let inner = id - OWN - 16;
        // What becomes of a task whose submitter dies with its worker nobody is told: it is not to run twice.
        note_at(&board, inner, Note::Cancelling);
        assert_eq!(pool.submit(echo, (board, inner, vec![inner as u8]))?.result()?, [inner as u8]);
        Ok(vec![id as u8])
    }
    pub fn fails(board: String, id: u64) -> Result<Vec<u8>, TaskError> {
        note_at(&board, id, Note::Entered);
        Err(TaskError::new("as it should"))
    }
    /// For victims that are workers: the window is from the body of one such task into the body of the next.
    pub fn mark(board: String, id: u64, answer: u64, _args: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        note_at(&board, id, Note::Entered);
        pass_mark();
        match answer {
            FAILS => Err(TaskError::new("as it should")),
            FAILS_ONCE if taskring::task::attempt() == 0 => Err(TaskError::new("as it should")),
            FAILS_ONCE => Ok(vec![id as u8]),
            len => Ok(vec![id as u8; len as usize]),
        }
    }
}

/// In place of a length: an error.
pub const FAILS: u64 = u64::MAX;
/// The same, in the first attempt. Then it gives one byte.
pub const FAILS_ONCE: u64 = FAILS - 1;
/// What a payload block is needed for; one line of a window's copying all the same.
pub const BLOCK: usize = 200;

/// Of a victim: how many marks are left to be passed.
static MARKS: AtomicU32 = AtomicU32::new(0);

pub fn pass_mark() {
    match MARKS.load(SeqCst) {
        0 => {}
        1 => end_window(),
        more => {
            MARKS.store(more - 1, SeqCst);
            begin_window();
        }
    }
}

/// How long the value is that a task tells: most of what there is room for.
pub const TOLD_LEN: usize = 60;

/// First the progress, and then a value of the same number.
fn tell(n: u64) {
    taskring::task::progress(n, 2 * n).expect("told");
    taskring::task::report(&vec![n as u8; TOLD_LEN]).expect("told");
}

/// Every operation with its contexts.
pub const ROWS: &[(&str, &[&str])] = &[
    ("submit", &["inline", "block", "wrapped lane", "full lane", "blocks until free", "busy pool", "first of a level"]),
    ("submit_bulk", &["four", "wrapped lane"]),
    ("submit_to", &["idle worker", "busy worker"]),
    ("broadcast", &["idle workers", "one busy"]),
    ("cancel", &["pending", "running", "finished"]),
    ("cancel_hard", &["pending", "running", "finished"]),
    ("result", &["inline", "block", "error", "cancelled", "waits"]),
    ("wait", &["first of two", "all of two"]),
    ("as_completed", &["three"]),
    ("drop a future", &["pending", "running", "finished", "finished block"]),
    ("discard", &["pending", "one running"]),
    ("purge", &["of its own"]),
    ("task set", &["made and dropped"]),
    ("attach", &["quiet"]),
    ("detach", &["quiet", "with a finished task"]),
    ("shutdown", &["waits for one", "cancels"]),
    ("owner's shutdown", &["waits for one", "cancels"]),
    ("terminate", &["by SIGTERM", "by SIGKILL"]),
    ("resize", &["to more", "to fewer"]),
    ("pause", &["begun", "ended"]),
    ("replace", &["idle worker", "running worker"]),
    ("create", &["named", "anonymous", "with a worker"]),
    ("loan", &["lent", "submitted", "given back"]),
    ("view", &["inline", "block"]),
    ("events", &["read", "kept beyond the result", "waited for", "dropped while it runs", "dropped unread"]),
    ("completions", &["tasks added", "tasks taken", "freed"]),
    ("worker", WORKER),
    ("renewal", &["old worker", "new worker"]),
    ("on demand", &["comes", "leaves"]),
    ("recover", &["worker running", "idempotent task", "task with events", "submitter with tasks"]),
];

/// Complete a task, claim the next one, and start it.
const WORKER: &[&str] = &[
    "inline",
    "error",
    "large result",
    "large arguments",
    "waited for",
    "cancelled beside",
    "two lanes",
    "put back",
    "put back for later",
    "tells progress",
    "sends events",
    "task on top",
];

pub fn attach() -> Executor {
    Executor::attach(&place().pool).expect("attached")
}

/// One that has submitted before, so that the window is that of any later call.
fn attach_warm() -> Executor {
    let pool = attach();
    drop(submit(&pool, 29, 1).result());
    pool
}

pub fn submit(pool: &Executor, id: u64, len: usize) -> Future<Vec<u8>> {
    let future = pool.submit(echo, (place().board.clone(), id, vec![id as u8; len])).expect("submitted");
    note(id, Note::Accepted);
    future
}

fn submit_hold(pool: &Executor, id: u64) -> Future<u64> {
    let future = pool.submit(hold, (place().board.clone(), id)).expect("submitted");
    note(id, Note::Accepted);
    future
}

/// A task of ours that is known to run.
pub fn running(pool: &Executor, id: u64) -> Future<u64> {
    let future = submit_hold(pool, id);
    wait_until(SOON, || future.state() == taskring::State::Running);
    future
}

pub fn finished<R>(future: Future<R>) -> Future<R> {
    wait_until(SOON, || future.is_done());
    future
}

fn cancel<R>(future: &Future<R>, id: u64) {
    note(id, Note::Cancelling);
    if future.cancel() {
        note(id, Note::Cancelled);
    }
}

fn cancel_hard<R>(future: &Future<R>, id: u64, runs: bool) {
    note(id, Note::Cancelling);
    // One that runs was entered all the same.
    if future.cancel_hard().expect("its worker is a process") && !runs {
        note(id, Note::Cancelled);
    }
}

/// Does what a row says, and ends in the window's end.
pub fn perform(operation: &str, context: &str) -> ! {
    match operation {
        "submit" | "submit_bulk" => perform_submit(operation, context),
        "submit_to" | "broadcast" => perform_for_one(operation, context),
        "cancel" | "cancel_hard" | "discard" | "task set" | "purge" => perform_cancel(operation, context),
        "result" | "wait" | "as_completed" | "drop a future" => perform_collect(operation, context),
        "loan" | "view" | "completions" => crate::c_calls::perform(operation, context),
        "events" => crate::events::perform(context),
        "worker" => {
            MARKS.store(2, SeqCst);
            let _ = taskring::work(&place().pool);
        }
        "recover" => {
            let pool = attach();
            begin_window();
            let future = submit(&pool, 0, 1);
            // Its first look around, after ten milliseconds, finds the dead.
            let _ = future.result_timeout(Duration::from_millis(400));
            note(0, Note::Cancelling);
            drop(future);
            // Its own drop would wait for the task.
            end_window();
        }
        _ => crate::lives::perform(operation, context),
    }
    end_window()
}

fn perform_submit(operation: &str, context: &str) {
    let pool = attach_warm();
    let lap = pool.capacity() as u64;
    let mut kept = Vec::new();
    match context {
        "wrapped lane" => (0..lap - 1).for_each(|id| drop(submit(&pool, id, 1).result())),
        "full lane" | "blocks until free" => {
            kept.push(running(&pool, 0));
            kept.extend((1..lap).map(|id| submit_hold(&pool, id)));
        }
        _ => {}
    }
    // Nobody asks for these results, so no slot comes free by that.
    let blocks = context == "blocks until free";
    if blocks {
        kept.drain(..).for_each(Future::detach);
    }
    let id = 30;
    let args = |id: u64, len: usize| (place().board.clone(), id, vec![id as u8; len]);
    let (one, four) =
        (args(id, if context == "block" { BLOCK } else { 1 }), (id..id + 4).map(|id| args(id, 1)).collect::<Vec<_>>());
    begin_window();
    if blocks {
        Board::at(&place().board)[GATE].store(1, SeqCst);
    }
    if operation == "submit_bulk" {
        let futures = pool.submit_bulk(echo, four).expect("submitted");
        (id..id + 4).for_each(|id| note(id, Note::Accepted));
        std::mem::forget(futures);
    } else if let Ok(future) = match context {
        "full lane" => pool.try_submit(echo, one),
        // It takes a lane for them.
        "first of a level" => pool.submit_with(&SubmitOptions::new().priority(Priority::High), echo, one),
        _ => pool.submit(echo, one),
    } {
        note(id, Note::Accepted);
        std::mem::forget(future);
    }
    end_window();
}

/// Whether no worker of the pool is at work. One that holds a task looks now and then whether it may end.
pub fn workers_sleep(pool: &str) -> bool {
    let sleeps = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "));
    let view = taskring::inspect(pool).expect("a pool");
    view.participants.iter().filter(|who| who.role == "worker").all(|who| sleeps(who.pid))
}

/// For the second of two workers, or for each of them.
fn perform_for_one(operation: &str, context: &str) {
    const ID: u64 = 30;
    let pool = attach_warm();
    let name = || place().board.clone();
    let held = context.contains("busy").then(|| {
        let held = pool.submit_to(1, hold, (name(), 0)).expect("submitted");
        note(0, Note::Accepted);
        wait_until(SOON, || held.state() == taskring::State::Running);
        held
    });
    wait_until(SOON, || workers_sleep(&place().pool));
    if operation == "submit_to" {
        // The other worker is not to run it.
        note(ID, Note::Cancelled);
    }
    begin_window();
    if operation == "submit_to" {
        let future = pool.submit_to(1, by_number, (name(), ID)).expect("submitted");
        note(ID + 1, Note::Accepted);
        std::mem::forget(future);
    } else {
        let futures = pool.broadcast(by_number, (name(), ID)).expect("submitted");
        assert_eq!(futures.len(), 2);
        (ID..ID + 2).for_each(|id| note(id, Note::Accepted));
        std::mem::forget(futures);
    }
    std::mem::forget(held);
    end_window();
}

fn perform_cancel(operation: &str, context: &str) {
    let pool = attach_warm();
    if operation == "task set" {
        begin_window();
        drop(pool.task_set());
        return;
    }
    let set = pool.task_set().expect("a set");
    if operation == "discard" {
        let options = SubmitOptions::new().set(&set);
        // The worker is held by one that does not belong to the set, or by one that does.
        let own = context == "one running";
        let first = if own {
            pool.submit_with(&options, hold, (place().board.clone(), 0)).expect("submitted")
        } else {
            running(&pool, 0)
        };
        wait_until(SOON, || first.state() == taskring::State::Running);
        let pending = (1..5).map(|id| pool.submit_with(&options, hold, (place().board.clone(), id)).expect("submitted"));
        let kept: Vec<_> = pending.collect();
        (1..5).for_each(|id| {
            note(id, Note::Accepted);
            note(id, Note::Cancelling);
        });
        begin_window();
        let counts = set.discard().expect("discarded");
        assert_eq!(counts.cancelled, 4);
        (1..5).for_each(|id| note(id, Note::Cancelled));
        std::mem::forget(kept);
        end_window();
    }
    let held = running(&pool, 0);
    if operation == "purge" {
        let ids = 1..5;
        std::mem::forget(ids.clone().map(|id| submit(&pool, id, 1)).collect::<Vec<_>>());
        ids.clone().for_each(|id| note(id, Note::Cancelling));
        begin_window();
        assert_eq!(pool.purge(), Ok(4));
        ids.for_each(|id| note(id, Note::Cancelled));
        std::mem::forget(held);
        end_window();
    }
    let pending = submit(&pool, 1, 1);
    let done = context == "finished";
    if done {
        Board::at(&place().board)[GATE].store(1, SeqCst);
    }
    let pending = if done { finished(pending) } else { pending };
    let hard = operation == "cancel_hard";
    begin_window();
    match (hard, context == "running") {
        (false, true) => cancel(&held, 0),
        (false, false) => cancel(&pending, 1),
        (true, true) => cancel_hard(&held, 0, true),
        (true, false) => cancel_hard(&pending, 1, false),
    }
    end_window();
}

fn perform_collect(operation: &str, context: &str) {
    let pool = attach_warm();
    let open = || Board::at(&place().board)[GATE].store(1, SeqCst);
    match (operation, context) {
        ("result", "error") => {
            let future = finished(pool.submit(fails, (place().board.clone(), 1)).expect("submitted"));
            note(1, Note::Accepted);
            begin_window();
            assert!(future.result().is_err());
        }
        ("result", "cancelled") => {
            let _held = running(&pool, 0);
            let future = submit(&pool, 1, 1);
            cancel(&future, 1);
            begin_window();
            assert!(future.result().is_err());
            end_window();
        }
        ("result", "waits") => {
            let future = running(&pool, 0);
            begin_window();
            open();
            assert_eq!(future.result(), Ok(0));
        }
        ("result", _) => {
            let len = if context == "block" { BLOCK } else { 1 };
            let future = finished(submit(&pool, 1, len));
            begin_window();
            assert_eq!(future.result(), Ok(vec![1; len]));
        }
        ("wait", _) => {
            let futures = [running(&pool, 0), submit_hold(&pool, 1)];
            let when = if context == "first of two" { When::FirstCompleted } else { When::AllCompleted };
            begin_window();
            open();
            let waited = wait(&futures, None, when).expect("waited");
            assert!(!waited.done.is_empty());
            end_window();
        }
        ("as_completed", _) => {
            let futures = vec![running(&pool, 0), submit_hold(&pool, 1), submit_hold(&pool, 2)];
            begin_window();
            open();
            assert_eq!(as_completed(futures, None).filter(|f| f.as_ref().is_ok_and(|f| f.result().is_ok())).count(), 3);
        }
        (_, "pending") => {
            let _held = running(&pool, 0);
            let future = submit(&pool, 1, 1);
            begin_window();
            drop(future);
            end_window();
        }
        (_, "running") => {
            let future = running(&pool, 0);
            begin_window();
            drop(future);
            end_window();
        }
        _ => {
            let future = finished(submit(&pool, 1, if context == "finished block" { BLOCK } else { 1 }));
            begin_window();
            drop(future);
        }
    }
    end_window();
}

/// The name of a pool that victims make.
pub fn second_pool() -> String {
    format!("{}-second", place().pool)
}
