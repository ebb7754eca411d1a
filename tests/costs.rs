//! What a task costs, by counts: the instructions and the system calls of each part of its way have bounds. Seconds could have none that hold on every
//! machine; counts are the same on a busy one.
//!
//! ```sh
//! cargo test --release --test costs      # prints the counts beside their bounds
//! ```
//!
//! This process traces the one that does the work, between two signals that that one sends itself: instruction by instruction, or system call by system
//! call. What an empty window counts is taken away. Nobody waits for anybody inside a window, so no spinning is counted: while a submitter is at work the
//! worker is busy with a long task, and while a worker is at work everything has been submitted.
//!
//! The bounds on instructions are for an optimised build. Any other one goes through a few tasks, prints their counts and judges the system calls alone.

mod process_support;

use process_support::common::{Board, square};
use process_support::{Program, Role, TEST_SECONDS, Test, say, unique, wait_until, wait_within};
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Executor, Future, StartMethod, State, SubmitOptions};

/// A part of a task's way, and the most that it may take.
struct Cost {
    name: &'static str,
    instructions_max: u64,
    /// Of these the ones that order memory, each of which takes as long as dozens of others: with a lock prefix, exchanges with memory, full fences. There
    /// is no room in these bounds.
    locked_max: u64,
}

/// For instructions about 1.2 times what was counted when the bound was set: then a small allocation, which takes 150 with its end, fits nowhere. Counts
/// differ by a few between CPUs, for the C library copies memory in several ways. Each is that of a task `u64 -> u64`, whose arguments and result fit
/// into its slot.
const COSTS: [Cost; 6] = [
    // `Executor::submit`: the request, encoding, the lane's mutex, the slot's fields, a look at the idle marks; and the future on its way through a
    // result to the caller. Locked: the mutex twice, and the future's share of the pool.
    Cost { name: "submit", instructions_max: 480, locked_max: 3 },
    // A worker, from the end of one task until the next is claimed: telling of the end, the search for a lane and its head, the swap that claims.
    // Locked: the head and the slot's word.
    Cost { name: "claim", instructions_max: 200, locked_max: 2 },
    // From there to the task's end: the slot's fields, decoding and encoding (70), the call behind its guard against panics with the place for
    // `task::id`, progress notes, the result's bytes, and the swap that completes.
    Cost { name: "complete", instructions_max: 440, locked_max: 1 },
    // `Future::result` of a finished task, and the future's drop: the mark that this thread takes it, the value from the slot into the future, the store
    // that frees the slot, decoding. Locked: that mark, and the future's share of the pool.
    Cost { name: "collect", instructions_max: 390, locked_max: 2 },
    // `Future::cancel` of a pending task: a look whether it is over, the swap, and telling those who wait.
    Cost { name: "cancel", instructions_max: 270, locked_max: 1 },
    // `TaskSet::discard`, for each task: a look at each slot of the lane, and the swap.
    Cost { name: "discard", instructions_max: 110, locked_max: 1 },
];

/// Tasks whose system calls are counted, and how many there may be. There should be none: these are for memory of the process's own.
const COUNTED: u64 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
const CALLS_MAX: u64 = COUNTED / 10_000;
/// A worker looks around as often as this, by the clock, however many tasks it runs. Such a look takes some eight calls.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_CALLS_MAX: u64 = 10;

/// Tasks that a submitter is stepped through, an instruction at a time. With two more they fill a ring.
const STEPPED: u64 = if cfg!(debug_assertions) { 6 } else { 62 };
/// A worker, that many times through a few.
const SAMPLES: u64 = if cfg!(debug_assertions) { 1 } else { 9 };
/// Whether the counts are those of the code that has the bounds.
const JUDGED: bool = !cfg!(debug_assertions) && !cfg!(feature = "seeded-bugs");

const ROLES: [Role; 3] = [("submitter", submitter), ("worker", worker), ("probe", probe)];
const TESTS: [Test; 2] = [
    ("no_part_of_a_tasks_way_takes_more_instructions_than_its_bound", instructions),
    ("no_part_of_a_tasks_way_makes_system_calls", system_calls),
];

taskring::task! {
    /// Stops its worker, for who traces it: what is submitted before it goes on is pending.
    fn mark_worker() -> () { mark() }
    /// Takes until it is let go.
    fn occupy(board: String, cell: u64) -> () {
        wait_within(Duration::from_secs(TEST_SECONDS), "to be let go", || Board::at(&board)[cell as usize].load(SeqCst) != 0);
    }
}

fn main() {
    taskring::init();
    share_a_cpu();
    process_support::main(&ROLES, &TESTS);
}

/// Puts this thread on the CPU that it runs on, and with it all whom it starts: a step takes twenty microseconds so, and many times that between CPUs
/// that others want, too.
fn share_a_cpu() {
    // SAFETY: an all-zero set is a valid one, and the calls write to the local and read it.
    unsafe {
        let mut here: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut here);
        libc::sched_setaffinity(0, size_of_val(&here), &raw const here);
    }
}

fn instructions() {
    if !may_trace() {
        return;
    }
    if !JUDGED {
        println!("costs: instructions are not judged in this build, but by cargo test --release --test costs");
    }
    let [empty, submitter @ ..] = count_submitter(STEPPED, |traced| traced.steps(|_| ()));
    let (claim, complete) = step_worker();
    let mut over = Vec::new();
    for Cost { name, instructions_max, locked_max } in COSTS {
        let Count { instructions, locked } = match name {
            "claim" => claim,
            "complete" => complete,
            _ => submitter[WINDOWS.iter().position(|window| *window == name).expect("a window")].per_task(&empty),
        };
        if !JUDGED {
            println!("costs: {name} {instructions} instructions, {locked} of them locked");
            continue;
        }
        println!(
            "costs: {name} {instructions} instructions (at most {instructions_max}), {locked} of them locked (at most {locked_max})"
        );
        if instructions > instructions_max {
            over.push(format!("{name} takes {instructions} instructions instead of at most {instructions_max}"));
        }
        if locked > locked_max {
            over.push(format!("{name} takes {locked} locked instructions instead of at most {locked_max}"));
        }
    }
    assert!(over.is_empty(), "{}: see the table in tests/costs.rs", over.join(", "));
}

fn system_calls() {
    if !may_trace() {
        return;
    }
    let [empty, submitter @ ..] = count_submitter(COUNTED, Traced::calls);
    let (worker, looks) = count_calls_of_worker();
    let mut over = Vec::new();
    let submitter = WINDOWS.into_iter().zip(submitter).map(|(name, count)| (name, count.saturating_sub(empty), CALLS_MAX));
    for (name, count, most) in submitter.chain([("worker", worker, CALLS_MAX + looks * LOOK_CALLS_MAX)]) {
        println!("costs: {name} {count} system calls in {COUNTED} tasks (at most {most})");
        if count > most {
            over.push(format!("{name} makes {count} instead of at most {most}"));
        }
    }
    assert!(over.is_empty(), "system calls in {COUNTED} tasks: {}", over.join(", "));
}

/// What a submitter does, each between two marks.
const WINDOWS: [&str; 4] = ["submit", "collect", "cancel", "discard"];

/// Does all that there are bounds for, once to warm up and once for who traces it.
fn submitter(args: &[String]) {
    let [name, board, tasks] = args else { panic!("{args:?}") };
    let tasks = tasks.parse().expect("a number of tasks");
    let pool = Executor::attach(name).expect("attached");
    become_traced();
    windows(&pool, board, 0, tasks, || ());
    windows(&pool, board, 2, tasks, mark);
}

fn windows(pool: &Executor, board: &str, cell: u64, tasks: u64, mark: impl Fn()) {
    // An empty one, to be taken away from the others.
    mark();
    mark();

    let held = occupy_worker(pool, board, cell);
    let mut futures = Vec::with_capacity(tasks as usize);
    mark();
    for x in 0..tasks {
        futures.push(pool.submit(square, x).expect("submitted"));
    }
    mark();

    // Whoever asks for the task submitted last looks for it a little later, by the clock.
    drop(pool.submit(square, 0).expect("submitted"));
    let_go(&held, board, cell);
    wait_until("the end of every task", || futures.iter().all(Future::is_done));
    let mut sum = 0;
    mark();
    for future in futures {
        sum += future.result().expect("it ran");
    }
    mark();
    assert_eq!(sum, (0..tasks).map(|x| x * x).sum());

    let held = occupy_worker(pool, board, cell + 1);
    let futures: Vec<_> = (0..tasks).map(|x| pool.submit(square, x).expect("submitted")).collect();
    let mut cancelled = 0;
    mark();
    for future in &futures {
        cancelled += u64::from(future.cancel());
    }
    mark();
    assert_eq!(cancelled, tasks);
    drop(futures);

    let set = pool.task_set().expect("a set");
    let options = SubmitOptions::new().set(&set);
    let futures: Vec<_> = (0..tasks).map(|x| pool.submit_with(&options, square, x).expect("submitted")).collect();
    mark();
    let discarded = set.discard().expect("discarded");
    mark();
    assert_eq!(discarded.cancelled as u64, tasks);
    drop(futures);
    let_go(&held, board, cell + 1);
}

/// Gives the one worker a task that takes until it is let go. So it runs none of the others, and need not be woken for them.
fn occupy_worker(pool: &Executor, board: &str, cell: u64) -> Future<()> {
    let held = pool.submit(occupy, (board.to_owned(), cell)).expect("submitted");
    wait_until("the worker is occupied", || held.state() == State::Running);
    held
}

fn let_go(held: &Future<()>, board: &str, cell: u64) {
    Board::at(board)[cell as usize].store(1, SeqCst);
    assert_eq!(held.result(), Ok(()));
}

fn worker(args: &[String]) {
    if args[1] == "traced" {
        become_traced();
    }
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// A pool with room for so many tasks and two more; its name.
fn pool_for(tasks: u64) -> (Executor, String) {
    let name = unique("costs");
    let builder = Executor::builder().capacity(tasks as usize + 2).start(StartMethod::None);
    (builder.create_named(&name).expect("a pool"), name)
}

/// An empty window, and what a submitter does in the others.
fn count_submitter<T>(tasks: u64, count: impl Fn(&Traced) -> T) -> [T; 1 + WINDOWS.len()] {
    let (pool, name) = pool_for(tasks);
    let mut works = Program::start("worker", &[&name, "alone"]);
    wait_until("the worker is ready", || pool.workers() == 1);
    let board = Board::new(4);
    let mut program = Program::start("submitter", &[&name, &board.name(), &tasks.to_string()]);
    let traced = Traced::adopt(&program);
    let counts = std::array::from_fn(|_| {
        traced.go_on();
        traced.await_mark();
        count(&traced)
    });
    traced.let_go();
    program.end();
    drop(pool);
    works.end();
    counts
}

/// A pool as above and its one worker, which is traced.
fn traced_worker(tasks: u64) -> (Executor, Program, Traced) {
    let (pool, name) = pool_for(tasks);
    let works = Program::start("worker", &[&name, "traced"]);
    let traced = Traced::adopt(&works);
    traced.go_on();
    wait_until("the worker is ready", || pool.workers() == 1);
    (pool, works, traced)
}

/// A worker's instructions for a task: from the end of the one before until this one is claimed, and from there to its end. The medians. Before each few
/// tasks that are stepped through others run at their own pace, for while tasks take long a worker asks for the time at each of them.
fn step_worker() -> (Count, Count) {
    let (pool, mut works, traced) = traced_worker(SAMPLES * 64);
    let submit = |tasks: u64| (0..tasks).map(|x| pool.submit(square, x).expect("submitted")).collect::<Vec<_>>();
    let marked = || pool.submit(mark_worker, ()).expect("submitted");
    let mut marks = vec![marked()];
    traced.await_mark();
    let (mut free, mut stepped) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        // Of several lengths, so that a question for the time comes at other places in each sample.
        free.extend(submit(40 + sample % 8));
        marks.push(marked());
        stepped.push(submit(4));
        marks.push(marked());
    }
    let (mut claims, mut completions) = (Vec::new(), Vec::new());
    for futures in &stepped {
        traced.go_on();
        traced.await_mark();
        let (mut count, mut seen) = (Count::default(), State::Pending);
        let mut left = futures.iter().peekable();
        traced.steps(|locked| {
            count.add(locked);
            let Some(state) = left.peek().map(|future| future.state()) else { return };
            if state == seen {
                return;
            }
            let count = std::mem::take(&mut count);
            if state == State::Running {
                // Before the first one is the end of the mark.
                claims.extend((left.len() < futures.len()).then_some(count));
                seen = State::Running;
            } else {
                completions.push(count);
                left.next();
                seen = State::Pending;
            }
        });
        assert_eq!(left.len(), 0, "a task that was not seen to end");
    }
    traced.let_go();
    free.iter().chain(stepped.iter().flatten()).for_each(|future| assert!(future.result().is_ok()));
    marks.iter().for_each(|mark| assert_eq!(mark.result(), Ok(())));
    drop(pool);
    works.end();
    let median = |mut counts: Vec<Count>| {
        counts.sort_unstable();
        counts[counts.len() / 2]
    };
    (median(claims), median(completions))
}

/// A worker's system calls, from claiming to completing; and how many looks around may be among them.
fn count_calls_of_worker() -> (u64, u64) {
    let (pool, mut works, traced) = traced_worker(COUNTED);
    let marked = || pool.submit(mark_worker, ()).expect("submitted");
    let mut marks = vec![marked()];
    traced.await_mark();
    marks.push(marked());
    let empty = traced.calls();
    let futures: Vec<_> = (0..COUNTED).map(|x| pool.submit(square, x).expect("submitted")).collect();
    marks.push(marked());
    let start = Instant::now();
    let count = traced.calls().saturating_sub(empty);
    // One is due at once, for it stood still while the tasks were submitted.
    let looks = 1 + (start.elapsed().as_millis() / LOOK.as_millis()) as u64;
    traced.let_go();
    futures.iter().zip(0..).for_each(|(future, x)| assert_eq!(future.result(), Ok(x * x)));
    marks.iter().for_each(|mark| assert_eq!(mark.result(), Ok(())));
    drop(pool);
    works.end();
    (count, looks)
}

/// Instructions, and how many of them are locked.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Count {
    instructions: u64,
    locked: u64,
}

impl Count {
    fn add(&mut self, locked: bool) {
        self.instructions += 1;
        self.locked += u64::from(locked);
    }

    /// Of a window less an empty one, rounded.
    fn per_task(&self, empty: &Count) -> Count {
        let share = |count: u64, empty: u64| (count.saturating_sub(empty) + STEPPED / 2) / STEPPED;
        Count { instructions: share(self.instructions, empty.instructions), locked: share(self.locked, empty.locked) }
    }
}

/// Whether an instruction orders memory, by its first bytes.
fn is_locked(bytes: [u8; 8]) -> bool {
    const LOCK: u8 = 0xf0;
    let is_prefix = |byte: u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf2 | 0xf3 | LOCK);
    let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte)).count();
    let rest = &bytes[prefixes..];
    let is_rex = rest.first().is_some_and(|byte| byte & 0xf0 == 0x40);
    bytes[..prefixes].contains(&LOCK)
        || match rest[usize::from(is_rex).min(rest.len())..] {
            // An exchange with memory, whose place is no register; and a fence.
            [0x86 | 0x87, place, ..] => place < 0xc0,
            [0x0f, 0xae, 0xf0..=0xf7, ..] => true,
            _ => false,
        }
}

/// Beside the signal of a stop: it is at a system call.
const CALL: i32 = 0x80;

/// For a program in a role: stops, for who traces it. A window begins or ends.
fn mark() {
    // SAFETY: the call takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// For a program in a role: whoever has started it traces its main thread, from a first mark on.
fn become_traced() {
    ptrace(libc::PTRACE_TRACEME, 0, 0, 0).expect("as it was possible before");
    mark();
}

/// A program that tries to be traced.
fn probe(_: &[String]) {
    say(&ptrace(libc::PTRACE_TRACEME, 0, 0, 0).map_or_else(|e| e.to_string(), |_| "traced".to_owned()));
}

/// Whether programs may be traced here. Says so where they may not.
fn may_trace() -> bool {
    let mut program = Program::start("probe", &[]);
    let said = program.line();
    program.end();
    if said != "traced" {
        println!("not run, for this machine lets nobody trace ({said}): the counts of instructions and system calls");
    }
    said == "traced"
}

fn ptrace(request: libc::c_uint, pid: i32, addr: u64, data: u64) -> std::io::Result<u64> {
    // SAFETY: the C library's function gives the word that is asked for, and tells an error by `errno`. Of the requests used here none writes to this process.
    let found = unsafe {
        *libc::__errno_location() = 0;
        libc::ptrace(request, pid, addr, data)
    };
    let error = std::io::Error::last_os_error();
    if found == -1 && error.raw_os_error() != Some(0) { Err(error) } else { Ok(found as u64) }
}

/// A program that this thread traces.
struct Traced(i32);

impl Traced {
    /// One that calls `become_traced`, stopped there.
    fn adopt(program: &Program) -> Traced {
        let traced = Traced(program.pid().cast_signed());
        traced.await_mark();
        let options = (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD) as u64;
        ptrace(libc::PTRACE_SETOPTIONS, traced.0, 0, options).expect("the options of a trace");
        traced
    }

    /// Lets it go on, in one of the ways there are, with a signal or without.
    fn resume(&self, how: libc::c_uint, signal: i32) {
        ptrace(how, self.0, 0, signal as u64).expect("it goes on");
    }

    /// Lets it go on untouched, to its next mark.
    fn go_on(&self) {
        self.resume(libc::PTRACE_CONT, 0);
    }

    /// The signal of its next stop.
    fn stop(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is a live local.
        let found = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) };
        assert_eq!(found, self.0, "waitpid: {}", std::io::Error::last_os_error());
        assert!(libc::WIFSTOPPED(status), "a traced program ended: {status:#x}");
        libc::WSTOPSIG(status)
    }

    fn await_mark(&self) {
        loop {
            match self.stop() {
                libc::SIGSTOP => return,
                other => self.resume(libc::PTRACE_CONT, other),
            }
        }
    }

    /// Steps it from the mark at which it stands to the next one; `each` is told whether an instruction was a locked one.
    fn steps(&self, mut each: impl FnMut(bool)) -> Count {
        let (mut known, mut count) = (HashMap::new(), Count::default());
        let place = std::mem::offset_of!(libc::user, regs) + std::mem::offset_of!(libc::user_regs_struct, rip);
        let next = || ptrace(libc::PTRACE_PEEKUSER, self.0, place as u64, 0).expect("a register");
        let text = |at| ptrace(libc::PTRACE_PEEKTEXT, self.0, at, 0).expect("an instruction").to_le_bytes();
        let mut at = next();
        self.stops(libc::PTRACE_SINGLESTEP, libc::SIGTRAP, || {
            let locked = *known.entry(at).or_insert_with(|| is_locked(text(at)));
            count.add(locked);
            each(locked);
            at = next();
        });
        count
    }

    /// Its system calls from the mark at which it stands to the next one.
    fn calls(&self) -> u64 {
        let mut stops = 0;
        self.stops(libc::PTRACE_SYSCALL, libc::SIGTRAP | CALL, || stops += 1);
        // A call stops it twice.
        stops / 2
    }

    /// Goes to the next mark in one of the ways there are. `each` is called after a stop that this way makes.
    fn stops(&self, how: libc::c_uint, made: i32, mut each: impl FnMut()) {
        let mut pass = 0;
        loop {
            self.resume(how, pass);
            pass = 0;
            match self.stop() {
                libc::SIGSTOP => return,
                signal if signal == made => each(),
                other => pass = other,
            }
        }
    }

    /// Traces it no longer.
    fn let_go(&self) {
        self.resume(libc::PTRACE_DETACH, 0);
    }
}
