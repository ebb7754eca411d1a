//! A submitter that is not the owner is killed with work outstanding: its slots and blocks come back, the pool goes on, and its pending
//! tasks run or are cancelled, as the pool's owner has chosen.

mod process_support;

use process_support::{Log, Program, Random, append, await_gate, hear, say, unique, wait_until, wait_within};
use std::collections::BTreeMap;
use std::time::Duration;
use taskring::{Builder, Error, Executor, Orphans, Snapshot, inspect};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    /// Notes that it was entered, then waits for the gate.
    fn hold(log: String, gate: String) {
        append(&log, "entered");
        await_gate(&gate);
    }
    fn note(log: String, line: String) -> u64 {
        append(&log, &line);
        line.len() as u64
    }
    /// Large in, large out, and a note.
    fn echo(log: String, text: String) -> String {
        append(&log, "echo");
        text
    }
}

const LARGE: usize = 50_000;

fn main() {
    taskring::init();
    process_support::main(
        &[("notes", notes), ("filler", filler), ("large", large), ("stream", stream), ("at random", at_random)],
        &[
            ("fault_07_orphans_run_and_their_slots_come_back", orphans_run),
            ("fault_07_orphans_are_cancelled_when_the_owner_has_chosen_so", orphans_are_cancelled),
            ("a_full_lane_is_empty_again_after_its_submitter_is_killed", full_lane),
            ("payload_blocks_of_a_killed_submitter_are_freed", blocks),
            ("fault_06_submitters_killed_at_any_moment_leave_nothing_behind", any_moment),
            ("fault_06_tasks_of_submitters_killed_at_any_moment_run_in_workers_that_come_on_demand", any_moment_on_demand),
            ("submitters_killed_at_random_moments_of_every_call_leave_nothing_behind", every_call),
        ],
    );
}

/// Submits notes, says so, and waits to be killed.
fn notes(args: &[String]) {
    let [name, log, count] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let count: u64 = count.parse().expect("a number");
    let _futures: Vec<_> = (0..count).map(|n| pool.submit(note, (log.clone(), n.to_string())).expect("submitted")).collect();
    say("submitted");
    hear();
}

/// Fills its lane.
fn filler(args: &[String]) {
    let [name, log] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let mut futures = Vec::new();
    let full = loop {
        match pool.try_submit(note, (log.clone(), futures.len().to_string())) {
            Ok(future) => futures.push(future),
            Err(e) => break e,
        }
    };
    assert_eq!(full, Error::Full { capacity: pool.capacity() });
    say(&futures.len().to_string());
    hear();
}

/// Holds large results that it does not collect, and large arguments that nobody has taken.
fn large(args: &[String]) {
    let [name, log, hold_log, gate] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let text = || "x".repeat(LARGE);
    let done: Vec<_> = (0..3).map(|_| pool.submit(echo, (log.clone(), text())).expect("submitted")).collect();
    taskring::wait(&done, None, taskring::When::AllCompleted).expect("waited");
    let held = pool.submit(hold, (hold_log.clone(), gate.clone())).expect("submitted");
    wait_until("the worker is busy", || held.state() == taskring::State::Running);
    let pending: Vec<_> = (0..3).map(|_| pool.submit(echo, (log.clone(), text())).expect("submitted")).collect();
    say(&format!("{} {}", done.len(), pending.len()));
    hear();
}

/// Submits without end, small and large, and says the number of each task that was accepted.
fn stream(args: &[String]) {
    let [name, log] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let me = std::process::id();
    say("begins");
    for n in 0_u64.. {
        let line = if n % 5 == 0 { format!("{me}.{n}.{}", "x".repeat(LARGE)) } else { format!("{me}.{n}.") };
        let future = pool.submit(note, (log.clone(), line)).expect("submitted");
        append(&format!("{log}.accepted"), &format!("{me}.{n}."));
        if n % 3 == 0 {
            future.result().expect("a note");
        }
    }
}

/// Attaches, uses every call, and detaches, without end.
fn at_random(args: &[String]) {
    let [name] = args else { panic!("{args:?}") };
    say("begins");
    loop {
        let pool = Executor::attach(name).expect("attached");
        let set = pool.task_set().expect("a set");
        let futures = pool.submit_bulk(square, 0..20).expect("submitted");
        let of_set: Vec<_> = (0..5).map(|x| set.submit(square, x).expect("submitted")).collect();
        futures.iter().take(5).for_each(|f| _ = f.cancel());
        set.discard().expect("discarded");
        taskring::wait(&of_set, None, taskring::When::AllCompleted).expect("waited");
        let squares: Vec<_> = pool.map(square, 0..10).expect("a map").collect::<Result<_, _>>().expect("squares");
        assert_eq!(squares.len(), 10);
    }
}

/// A pool with one worker that is held until the log's gate opens.
fn held_pool(what: &str, orphans: Orphans, log: &Log) -> (String, Executor) {
    let name = unique(what);
    let builder = Executor::builder().workers(1).capacity(8).orphans(orphans);
    let pool = builder.create_named(&name).expect("a pool");
    pool.submit(hold, (log.path(), log.gate())).expect("submitted").detach();
    wait_until("the worker is busy", || log.count("entered") == 1);
    (name, pool)
}

fn look(name: &str) -> Snapshot {
    inspect(name).expect("a pool to look at")
}

fn slots_in_use(view: &Snapshot) -> usize {
    view.lanes.iter().flat_map(|l| l.slots).sum()
}

/// Nothing is left of anybody but the owner and its workers, and the owner can use its whole lane.
#[track_caller]
fn assert_clean(name: &str, pool: &Executor) {
    wait_until(&format!("nothing is left: {}", look(name)), || {
        let view = look(name);
        let strangers = view.participants.iter().filter(|p| p.role == "submitter").count();
        strangers == 0 && slots_in_use(&view) == 0 && view.blocks == 0
    });
    let view = look(name);
    assert!(view.lanes.iter().all(|l| l.mutex_owner.is_none()), "{view}");
    assert_eq!(view.life, "open");
    let squares = pool.submit_bulk(square, 0..2 * pool.capacity() as u64).expect("submitted");
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
    let another = Executor::attach(name).expect("attached");
    assert_eq!(another.submit(square, 9).expect("submitted").result(), Ok(81));
}

fn orphans_run() {
    let log = Log::new();
    let (name, pool) = held_pool("orphans-run", Orphans::Run, &log);
    let mut submitter = Program::start("notes", &[&name, &log.path(), "6"]);
    submitter.expect("submitted");
    submitter.kill();
    wait_within(Duration::from_secs(3), "the death is noticed", || look(&name).participants.len() == 2);
    assert_eq!(slots_in_use(&look(&name)), 7, "its tasks stay: {}", look(&name));
    log.open_gate();
    wait_until("its tasks run", || log.lines().len() == 7);
    assert_clean(&name, &pool);
    for n in 0..6 {
        assert_eq!(log.count(&n.to_string()), 1, "task {n}: {:?}", log.lines());
    }
}

fn orphans_are_cancelled() {
    let log = Log::new();
    let (name, pool) = held_pool("orphans-cancelled", Orphans::CancelPending, &log);
    let own = pool.submit(note, (log.path(), "own".to_owned())).expect("submitted");
    let mut submitter = Program::start("notes", &[&name, &log.path(), "6"]);
    submitter.expect("submitted");
    assert_eq!(slots_in_use(&look(&name)), 8);
    submitter.kill();
    wait_within(Duration::from_secs(3), "its pending tasks are cancelled", || slots_in_use(&look(&name)) == 2);
    log.open_gate();
    assert_eq!(own.result(), Ok(3), "the owner's own pending task runs");
    drop(own);
    assert_clean(&name, &pool);
    assert_eq!(log.lines(), ["entered", "own"]);
}

fn full_lane() {
    let log = Log::new();
    let (name, pool) = held_pool("full-lane", Orphans::CancelPending, &log);
    for _ in 0..3 {
        let mut submitter = Program::start("filler", &[&name, &log.path()]);
        assert_eq!(submitter.numbers(), [8], "a lane of its own");
        submitter.kill();
        wait_within(Duration::from_secs(3), "its slots come back", || slots_in_use(&look(&name)) == 1);
    }
    // The next one gets a whole lane too, while the worker is still busy.
    let mut submitter = Program::start("filler", &[&name, &log.path()]);
    assert_eq!(submitter.numbers(), [8]);
    log.open_gate();
    wait_until("its tasks run", || log.lines().len() == 9);
    submitter.kill();
    assert_clean(&name, &pool);
}

fn blocks() {
    let (log, held) = (Log::new(), Log::new());
    let name = unique("blocks");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let mut submitter = Program::start("large", &[&name, &log.path(), &held.path(), &held.gate()]);
    assert_eq!(submitter.numbers(), [3, 3]);
    let view = look(&name);
    assert!(view.blocks >= 6, "three results and three arguments: {view}");
    submitter.kill();
    wait_within(Duration::from_secs(3), "the death is noticed", || look(&name).participants.len() == 2);
    wait_within(Duration::from_secs(3), "what it had not collected is freed", || {
        let view = look(&name);
        // The task that runs, and the three pending ones with their arguments.
        (slots_in_use(&view), view.blocks) == (4, 3) || (slots_in_use(&view), view.blocks) == (4, 4)
    });
    held.open_gate();
    wait_until("the pending ones run", || log.count("echo") == 6);
    assert_clean(&name, &pool);
}

fn any_moment() {
    killed_at_any_moment(Executor::builder().workers(2));
}

/// Nobody may be there when a task is published, and nobody left who would tell the owner.
fn any_moment_on_demand() {
    killed_at_any_moment(Executor::builder().workers(2).min_workers(0).idle_timeout(Duration::from_millis(1)));
}

fn killed_at_any_moment(builder: Builder) {
    let log = Log::new();
    let mut random = Random::new();
    let name = unique("any-moment");
    let pool = builder.capacity(16).create_named(&name).expect("a pool");
    for _ in 0..20 {
        let mut submitter = Program::start("stream", &[&name, &log.path()]);
        submitter.expect("begins");
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        submitter.kill();
    }
    assert_clean(&name, &pool);
    let mut entered: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines() {
        *entered.entry(line.trim_end_matches('x').to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = entered.iter().filter(|&(_, &times)| times != 1).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
    let accepted = std::fs::read_to_string(format!("{}.accepted", log.path())).expect("some were accepted");
    for task in accepted.lines() {
        assert_eq!(entered.get(task), Some(&1), "task {task} was accepted");
    }
    println!("{} accepted, {} run", accepted.lines().count(), entered.len());
}

fn every_call() {
    let mut random = Random::new();
    let name = unique("every-call");
    let pool = Executor::builder().workers(2).capacity(16).create_named(&name).expect("a pool");
    for round in 0..20 {
        let mut submitters: Vec<_> = (0..2).map(|_| Program::start("at random", &[&name])).collect();
        submitters.iter().for_each(|s| s.expect("begins"));
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        submitters.iter_mut().for_each(Program::kill);
        let squares = pool.submit_bulk(square, 0..10).expect("submitted");
        assert!(squares.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)), "round {round}");
    }
    assert_clean(&name, &pool);
}
