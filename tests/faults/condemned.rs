//! Row 39: who cancels a running task hard is killed at it, between the mark on the task and the signal for its worker.

use crate::process_support::common::{Board, SOON, wait_until as wait_for};
use crate::process_support::{
    LIMIT, Program, Role, Test, hear, kill, pid_alive, pool_file, say, unique, wait_until, wait_within,
};
use crate::steps::Led;
use crate::support::{Apart, assert_whole, go_on, square, stop};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::{Error, Executor, Future, StartMethod, State, SubmitOptions};

taskring::task! {
    fn until_asked() -> u64 {
        wait_until("it is asked", taskring::task::cancel_requested);
        7
    }
    /// Ends when its gate is open, and counts itself before.
    fn hold_counted(board: String, cell: u64) -> u64 {
        let cells = Board::at(&board);
        cells[cell as usize].fetch_add(1, SeqCst);
        wait_for(2 * SOON, || cells[cell as usize + 1].load(SeqCst) != 0);
        cell
    }
    /// The same, and then waits for a task that says in the next cell who runs it.
    fn hold_and_wait(board: String, cell: u64) -> Result<(), taskring::TaskError> {
        hold_counted.call((board.clone(), cell))?;
        Ok(taskring::current_pool()?.submit(say_pid, (board, cell + 2))?.result()?)
    }
    fn say_pid(board: String, cell: u64) { Board::at(&board)[cell as usize].store(u64::from(std::process::id()), SeqCst) }
}

pub const ROLES: &[Role] = &[("killer", killer), ("both", both), ("becomes alone", becomes_alone)];
pub const TESTS: &[Test] = &[
    (
        "fault_39_a_condemned_task_is_killed_by_others_when_who_condemned_it_is_killed_before_the_signal",
        killed_before_the_signal,
    ),
    ("fault_39_a_worker_that_ends_its_condemned_task_takes_no_other", ends_by_itself),
    ("fault_39_a_worker_with_a_condemned_task_begins_no_other_on_top_of_it", begins_nothing_more),
    ("fault_11_a_stopped_worker_is_killed_when_the_time_of_its_task_is_up", stopped_with_a_limit),
    ("fault_11_a_stopped_worker_is_killed_at_its_time_limit_while_the_owner_stands_still", stopped_beside_its_owner),
    ("fault_11_a_stopped_worker_is_killed_at_its_time_limit_when_the_owner_was_killed", stopped_without_an_owner),
    ("fault_39_a_worker_whose_process_does_more_in_the_pool_is_not_killed", not_alone),
    ("fault_39_a_worker_is_killed_at_a_time_limit_once_its_process_does_nothing_else_in_the_pool", alone_later),
    ("fault_39_a_condemned_task_of_a_stopped_worker_is_over", stopped_worker),
];

/// A task of its own runs when it has said so; it is cancelled hard when it is told.
fn killer(args: &[String]) {
    let [pool, board, what] = args else { panic!("{args:?}") };
    let pool = Executor::attach(pool).expect("attached");
    match what.as_str() {
        "holds" => kill_hard(&pool.submit(hold_counted, (board.clone(), 0)).expect("submitted"), board),
        _ => kill_hard(&pool.submit(hold_and_wait, (board.clone(), 0)).expect("submitted"), board),
    }
}

fn kill_hard<R>(task: &Future<R>, board: &str) {
    wait_until("it runs", || Board::at(board)[0].load(SeqCst) == 1);
    say(&task.worker_pid().expect("it runs").to_string());
    hear();
    assert_eq!(task.cancel_hard(), Ok(true));
    say("cancelled");
    hear();
}

/// Submits and works.
fn both(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    taskring::work(&args[0]).expect("worked to the pool's end");
    drop(pool);
}

/// Submits nothing and works; when it is told, it takes part as a worker alone.
fn becomes_alone(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    std::thread::spawn(move || {
        hear();
        drop(pool);
        say("alone");
    });
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// The word of the only running task, in the pool's file: phase, flags, generation and owner, as `src/state.rs` has them.
pub struct Word {
    file: std::fs::File,
    at: u64,
}

impl Word {
    const RUNNING: u64 = 0x05;
    const KILL: u64 = 0x10 << 8;

    pub fn find(name: &str) -> Word {
        let file = std::fs::File::open(pool_file(name)).expect("the pool's file");
        let mut start = vec![0; 4 << 20];
        let len = file.read_at(&mut start, 0).expect("its first part");
        let words = start[..len].chunks_exact(128).map(|slot| u64::from_le_bytes(slot[..8].try_into().expect("eight")));
        let running = |&(_, word): &(usize, u64)| word & 0xff == Word::RUNNING && word >> 48 != 0 && word & 0xe000 == 0;
        let found: Vec<_> = words.enumerate().filter(running).collect();
        assert_eq!(found.len(), 1, "{found:x?}");
        Word { file, at: found[0].0 as u64 * 128 }
    }

    fn is_condemned(&self) -> bool {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, self.at).expect("the word");
        let word = u64::from_le_bytes(word);
        word & 0xff == Word::RUNNING && word & Word::KILL != 0
    }

    /// So many bytes farther on in the task's slot.
    pub fn beside(&self, offset: u64) -> u32 {
        let mut word = [0; 4];
        self.file.read_exact_at(&mut word, self.at + offset).expect("the word");
        u32::from_le_bytes(word)
    }
}

/// A pool with one worker, whose task was condemned by who was killed right after. The worker runs it still. The owner stands still, so that nobody sends
/// the signal before the test goes on.
fn condemned(board: &Board, what: &str) -> (Apart, u32, Future<u64>) {
    let apart = Apart::new("condemned", 1, 8);
    let mut killer = Program::start("killer", &[&apart.name, &board.name(), what]);
    let worker = killer.numbers()[0] as u32;
    let pending = apart.pool.submit(square, 12).expect("submitted");
    let word = Word::find(&apart.name);
    stop(apart.owner.pid());
    let led = Led::take(killer.pid());
    killer.tell("cancel");
    let steps = led.until("the task is condemned", || word.is_condemned());
    println!("condemned after {steps} steps");
    kill(killer.pid());
    killer.kill();
    assert!(pid_alive(worker) && word.is_condemned(), "nobody has sent it anything yet");
    (apart, worker, pending)
}

fn killed_before_the_signal() {
    let board = Board::new(2);
    let (apart, worker, pending) = condemned(&board, "holds");
    go_on(apart.owner.pid());
    let took = wait_within(LIMIT, "its worker is killed", || !pid_alive(worker));
    println!("killed after {took:?}");
    assert_eq!(pending.result(), Ok(144));
    assert_eq!(board[0].load(SeqCst), 1, "the condemned one did not run again");
    assert_whole(&apart.name, &apart.pool, 1);
}

fn ends_by_itself() {
    let board = Board::new(2);
    let (apart, worker, pending) = condemned(&board, "holds");
    board[1].store(1, SeqCst);
    wait_until("it dies by itself", || !pid_alive(worker));
    go_on(apart.owner.pid());
    assert_eq!(pending.result(), Ok(144), "another worker has run it");
    assert!(!pid_alive(worker));
    assert_whole(&apart.name, &apart.pool, 1);
}

fn begins_nothing_more() {
    let board = Board::new(3);
    let (apart, worker, pending) = condemned(&board, "waits");
    board[1].store(1, SeqCst);
    wait_until("it dies by itself, or goes on", || !pid_alive(worker) || board[2].load(SeqCst) != 0);
    go_on(apart.owner.pid());
    wait_until("the other task runs", || board[2].load(SeqCst) != 0);
    assert_ne!(board[2].load(SeqCst), u64::from(worker));
    assert_eq!((pending.result(), board[0].load(SeqCst)), (Ok(144), 1));
    assert_whole(&apart.name, &apart.pool, 1);
}

fn stopped_worker() {
    let board = Board::new(2);
    let apart = Apart::new("stopped", 1, 8);
    let task = apart.pool.submit(hold_counted, (board.name(), 0)).expect("submitted");
    wait_until("it runs", || task.state() == State::Running && board[0].load(SeqCst) == 1);
    let worker = task.worker_pid().expect("it runs");
    stop(worker);
    assert_eq!(task.cancel_hard(), Ok(true));
    assert_eq!(task.result(), Err(Error::Cancelled));
    assert!(!pid_alive(worker));
    assert_whole(&apart.name, &apart.pool, 1);
}

const LIMITED: Duration = Duration::from_millis(400);

/// A task with a limit, whose worker cannot keep to it itself, for it is stopped.
fn stopped_with(board: &Board, workers: usize) -> (Apart, u32, Future<u64>) {
    let apart = Apart::new("limited", workers, 8);
    let options = SubmitOptions::new().soft_limit(LIMITED / 2).hard_limit(LIMITED);
    let task = apart.pool.submit_with(&options, hold_counted, (board.name(), 0)).expect("submitted");
    wait_until("it runs", || task.state() == State::Running && board[0].load(SeqCst) == 1);
    let worker = task.worker_pid().expect("it runs");
    stop(worker);
    (apart, worker, task)
}

fn stopped_with_a_limit() {
    let board = Board::new(2);
    let (apart, worker, task) = stopped_with(&board, 1);
    assert_eq!(task.result(), Err(Error::TimeLimit { limit: LIMITED }));
    assert!(!pid_alive(worker));
    assert_eq!(board[0].load(SeqCst), 1);
    assert_whole(&apart.name, &apart.pool, 1);
}

/// Whoever waits for the task has the worker killed.
fn stopped_beside_its_owner() {
    let board = Board::new(2);
    let (apart, worker, task) = stopped_with(&board, 1);
    stop(apart.owner.pid());
    assert_eq!(task.result(), Err(Error::TimeLimit { limit: LIMITED }));
    assert!(!pid_alive(worker));
    go_on(apart.owner.pid());
    assert_eq!(board[0].load(SeqCst), 1);
    assert_whole(&apart.name, &apart.pool, 1);
}

/// Nobody waits for the task: the other worker has this one killed.
fn stopped_without_an_owner() {
    let board = Board::new(2);
    let (apart, worker, task) = stopped_with(&board, 2);
    kill(apart.owner.pid());
    wait_until("it is killed", || !pid_alive(worker));
    assert_eq!(task.result(), Err(Error::TimeLimit { limit: LIMITED }));
    assert_eq!(apart.pool.submit(square, 3).expect("submitted").result(), Ok(9));
    drop(task);
    apart.end();
}

/// What else it does would end as well.
fn not_alone() {
    let (name, board) = (unique("both"), Board::new(2));
    let pool = Executor::builder().start(StartMethod::None).create_named(&name).expect("a pool");
    let both = Program::start("both", &[&name]);
    let task = pool.submit(hold_counted, (board.name(), 0)).expect("submitted");
    wait_until("it runs", || board[0].load(SeqCst) == 1);
    assert!(matches!(task.cancel_hard(), Err(Error::Unsupported { .. })));
    assert_eq!(task.state(), State::Running);
    board[1].store(1, SeqCst);
    assert_eq!(task.result(), Ok(0));
    let limited = SubmitOptions::new().hard_limit(Duration::from_millis(50));
    let asked = pool.submit_with(&limited, until_asked, ()).expect("submitted");
    assert_eq!(asked.result(), Ok(7), "it is asked instead");
    assert!(pid_alive(both.pid()));
}

fn alone_later() {
    let (name, board) = (unique("alone"), Board::new(2));
    let pool = Executor::builder().start(StartMethod::None).create_named(&name).expect("a pool");
    let mut both = Program::start("becomes alone", &[&name]);
    let limit = Duration::from_millis(50);
    let task =
        pool.submit_with(&SubmitOptions::new().hard_limit(limit), hold_counted, (board.name(), 0)).expect("submitted");
    wait_until("it runs", || board[0].load(SeqCst) == 1);
    std::thread::sleep(4 * limit);
    assert_eq!(task.state(), State::Running, "it was asked, and does not care");
    both.tell("be alone");
    both.expect("alone");
    let took = wait_within(LIMIT, "it is killed", || !pid_alive(both.pid()));
    println!("killed after {took:?}");
    assert_eq!(task.result(), Err(Error::TimeLimit { limit }));
}
