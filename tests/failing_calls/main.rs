//! Failing system calls: a victim does one operation, and the k-th of its system calls fails, once or from there on, for every k and every error
//! that the call may be given; then it tells whether what was refused has not happened and what was accepted has, and does it again.
//!
//! ```text
//! cargo test --release --test failing_calls -- --full            everything
//! cargo test --test failing_calls -- "submit block"              the rows whose name holds this
//! ```
//! Without `--full` an evenly spaced share of each row is done, from a place that `TASKRING_TEST_SEED` chooses.
//!
//! Left out are calls that the library does not make itself (memory of the allocator and of threads' stacks, signal masks, the C library's futexes,
//! which end the process when they fail), calls that cannot fail (`getpid`, `geteuid`, `sched_yield`, `rt_sigaction`, descriptor flags), `close`, which gives the
//! descriptor back whatever it returns, random numbers, which the standard library's hashers cannot do without, `recv`, by which the standard
//! library learns whether a process that it starts came to be (it panics when that fails, after waiting for that process), and what only fails for a bad
//! argument (`waitid`, `lseek`). One thread of a victim is led: the main one, which does the operation, or, where workers are replaced, the one that
//! looks after them, or the process that forks them. A spawned process's own calls between fork and exec belong to `tests/no_fork_bomb.rs` and `tests/bad_input.rs`.

#[path = "../process_support/mod.rs"]
mod process_support;

mod exhaustion;
mod operations;
mod replace;
mod trace;
mod work;

use operations::{CELLS, Place, ROWS};
use process_support::common::{Board, Random};
use process_support::{LIMIT, Program, Role, fd_count, hear, say, shm_entries, unique, watchdog};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Executor, StartMethod, inspect};
use trace::{Fail, Outcome};

const ROLES: [Role; 7] = [
    ("keeper", keeper),
    ("tracer", tracer),
    ("few descriptors", exhaustion::few_descriptors),
    ("few processes", exhaustion::few_processes),
    ("one start fails", exhaustion::one_start_fails),
    ("interrupted", exhaustion::interrupted),
    ("less room", exhaustion::less_room),
];

/// Trials of a row, when not all are done.
const EACH: usize = 45;
/// After this a row's share ends, whatever is left: a loaded machine is no reason to do less elsewhere.
const ROW: Duration = Duration::from_millis(5000);
/// But not before so many trials, unless something is wrong already.
const TRIALS_MIN: u64 = 8;
/// Rows at a time.
const AT_A_TIME: usize = 5;

fn main() {
    taskring::init();
    if process_support::role().is_some() {
        return process_support::main(&ROLES, &[]);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let others: [(&str, fn()); 4] = [
        ("fault_34_no_descriptors_or_processes_are_errors_and_relief_helps", exhaustion::limits),
        ("fault_27_interrupts_change_nothing", exhaustion::interrupts),
        ("fault_15_a_full_file_system_is_an_error_at_creation_and_at_growth", exhaustion::full),
        ("fault_34_a_failing_call_is_an_error_or_nothing", || ()),
    ];
    if args.iter().any(|a| a == "--list") {
        return others.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let full = args.iter().any(|a| a == "--full");
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let mut failed = false;
    for (name, test) in &others[..3] {
        if chosen(name) {
            let (_dog, start) = (watchdog(120), Instant::now());
            let passed = std::panic::catch_unwind(test).is_ok();
            failed |= !passed;
            println!("test {name} ... {} ({:.2} s)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_secs_f64());
        }
    }
    failed |= !calls(full, &|row| chosen(row) || chosen(others[3].0));
    if failed {
        std::process::exit(101);
    }
}

/// Every row. True when nothing is wrong.
fn calls(full: bool, chosen: &dyn Fn(&str) -> bool) -> bool {
    let how = if full { "full".to_owned() } else { Random::new().below(u64::MAX).to_string() };
    let rows: Vec<&str> = ROWS.iter().copied().filter(|row| chosen(row)).collect();
    let (start, next, sums) = (Instant::now(), AtomicUsize::new(0), Mutex::new((0, 0)));
    println!("{:<22} {:>6} {:>7} {:>7} {:>8} {:>6}", "operation", "calls", "points", "trials", "failed", "s");
    let _dog = watchdog(if full { 6 * 3600 } else { 240 });
    // Most of the time a victim sleeps that was not woken.
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, SeqCst)) {
                    let (failed, violations) = self::row(row, &how);
                    let mut sums = sums.lock().unwrap();
                    *sums = (sums.0 + failed, sums.1 + violations);
                }
            });
        }
    });
    let (calls, violations) = sums.into_inner().unwrap();
    let good = violations == 0 && (calls != 0 || rows.is_empty());
    let seconds = start.elapsed().as_secs_f64();
    if !rows.is_empty() {
        println!(
            "test fault_34_a_failing_call_is_an_error_or_nothing ... {} ({seconds:.0} s)",
            if good { "ok" } else { "FAILED" }
        );
    }
    println!("failing calls: {calls} operations: {} violations: {violations}", rows.len());
    good
}

/// One row: how many calls failed, and how many violations there were.
fn row(row: &str, how: &str) -> (u64, usize) {
    let (name, board, start) = (unique("calls"), Board::new(CELLS), Instant::now());
    let mut keeper = Program::start("keeper", &[&name]);
    keeper.expect("made");
    let mut tracer = Program::start("tracer", &[&name, &board.name(), &keeper.pid().to_string(), row, how]);
    let limit = Duration::from_secs(if how == "full" { 5 * 3600 } else { 120 });
    let numbers = tracer.numbers_within(limit);
    tracer.end();
    let mut found = tracer.rest();
    keeper.end();
    let file = format!("taskring.{name}");
    // Beside this one a row goes on whose name begins with this one's.
    found.extend(shm_entries(&file).into_iter().filter(|found| *found == file).map(|file| format!("{file} is left behind")));
    let seconds = start.elapsed().as_secs_f64();
    let lines = found.iter().map(|what| format!("\n  VIOLATION {row}: {what}")).collect::<String>();
    println!("{row:<22} {:>6} {:>7} {:>7} {:>8} {seconds:>6.1}{lines}", numbers[0], numbers[1], numbers[2], numbers[3]);
    (numbers[3], found.len())
}

/// Owns the pool on which victims work.
fn keeper(args: &[String]) {
    let builder = Executor::builder().workers(1).start(StartMethod::Spawn).capacity(8).payload_max(1 << 20);
    let pool = builder.create_named(&args[0]).expect("a pool");
    while pool.workers() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    say("made");
    hear();
}

/// Does a row, and says: calls that may fail, points, trials, calls that failed; and then each violation.
fn tracer(args: &[String]) {
    let [pool, board, keeper, row, how] = args else { panic!("{args:?}") };
    let place = Place { pool: pool.clone(), board: board.clone(), keeper: keeper.parse().expect("a process") };
    let led = replace::row(row).map_or(trace::Led::Main, |(led, _)| led);
    let run = |fail| trace::run(led, fail, || operations::live(&place, row, fail));
    let mut found = Vec::new();
    let survey: Outcome = run(Fail::Nothing);
    found.extend(survey.violation.map(|what| format!("nothing fails: {what}")));
    let mut points = Vec::new();
    for (k, call) in survey.calls.iter().enumerate() {
        for &errno in call.errors {
            points.extend([Fail::Once(k, errno), Fail::From(k, errno)]);
        }
    }
    let stride = if how == "full" { 1 } else { (points.len() / EACH) | 1 };
    let first = how.parse::<usize>().map_or(0, |seed| seed % stride);
    let base = (view(pool), fd_count());
    let (start, mut trials, mut failed) = (Instant::now(), 0_u64, 0);
    for fail in points.iter().skip(first).step_by(stride) {
        let enough = trials >= TRIALS_MIN || !found.is_empty();
        if how != "full" && enough && start.elapsed() > ROW || found.len() > 5 {
            break;
        }
        let outcome = run(*fail);
        trials += 1;
        failed += outcome.failed;
        let number = match fail {
            Fail::Once(k, _) | Fail::From(k, _) => survey.calls[*k].number,
            Fail::Nothing => 0,
        };
        let after = || as_before(pool, &base.0, outcome.pid);
        if let Some(what) = outcome.violation.or_else(after) {
            found.push(format!("{fail:?} (call {number}): {}", what.replace('\n', " ")));
        }
    }
    if fd_count() != base.1 {
        found.push(format!("the tracer has {} descriptors instead of {}", fd_count(), base.1));
    }
    say(&format!("{} {} {trials} {failed}", survey.calls.len(), points.len()));
    found.iter().for_each(|what| say(what));
}

/// What must be as it was: who is attached, and what is held.
fn view(pool: &str) -> String {
    match inspect(pool) {
        Err(e) => e.to_string(),
        Ok(view) => {
            let slots: Vec<_> =
                view.lanes.iter().map(|l| (l.slots, l.mutex_owner)).filter(|l| *l != ([0; 4], None)).collect();
            format!("{} {} {:?} {slots:?} {:?}", view.life, view.participants.len(), view.blocks, view.held)
        }
    }
}

/// Waits until the pool is as it was before.
fn as_before(pool: &str, before: &str, victim: i32) -> Option<String> {
    let start = Instant::now();
    let temporaries = || shm_entries(&format!("taskring-new.{victim}."));
    if !temporaries().is_empty() {
        // Where no name could be removed one is left. The next creator does it.
        let next = Executor::builder().start(StartMethod::None).capacity(8).payload_max(4096);
        next.create_named(&unique("next")).expect("a pool");
    }
    loop {
        let now = view(pool);
        let files = temporaries();
        if now == before && files.is_empty() {
            return None;
        }
        if start.elapsed() > LIMIT {
            return Some(format!("the pool was {before}, is {now}; files {files:?}"));
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}
