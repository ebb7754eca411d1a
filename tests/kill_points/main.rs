//! Kill points: a victim is stepped through an operation one instruction at a time and killed with SIGKILL after N of them, in a run of its own
//! for each N; then survivors tell whether everything is as it must be. `cargo test --release --test kill_points -- --nocapture`.
//!
//! An optimised build is needed for that; any other one kills four victims of each row, so that `cargo test` runs the whole of it once.
//! `--full` kills at every instruction of every window that is not too long. `--variants` lets more of the victims come to other ends (see
//! `standing.rs`), of which each row has one of each kind otherwise. `--first` ends at the first row with a violation. A word chooses the rows
//! whose name holds it.
//!
//! The points of a row: each change of the segment and each system call, before, in and after it, as seen in a first run; then ones spread evenly. A
//! later run may differ from the first by a few instructions, where it spins or others are at work: that moves a point, and it is a kill all the
//! same if it still lies in the window; who died after the window's end is not counted. Victims that make a pool of their own (`create`, `terminate`, `owner's
//! shutdown`, `replace`) change another segment than the one that is watched: of them the system calls and the spread points are what there is.
//! States are counted as pairs of the instruction at which a victim died and the changes that its window had made by then.
//!
//! What a row costs is the time of the processor that its processes have had (`cpu/kill`, in milliseconds): unlike the time that passes (`ms/kill`), it does
//! not depend on what else the machine does.

#[path = "../process_support/mod.rs"]
mod process_support;

mod board;
mod c_calls;
mod descriptors;
mod events;
mod image;
mod kept;
mod lives;
mod operations;
mod oracle;
mod roles;
mod scenes;
mod standing;
mod trace;
mod way;

use process_support::{cpu_time_of_thread, watchdog};
use scenes::Scene;
use standing::{How, VARIANTS};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use trace::At;

/// Rows at a time, at most: they wait for real time now and then.
const CPUS_MAX: usize = 4;
/// Kills of a row in a run that is not a full one.
const EACH: usize = 160;
/// The same where each of many victims makes a pool of its own, and has workers started.
const EACH_DEAR: usize = 60;
/// The same in a full one, where a window is too long for every instruction.
const EACH_FULL: usize = 1500;
/// Fewer in all rows together are too few.
const KILLS_MIN: usize = 5_000;
/// The same of a full run.
const KILLS_MIN_FULL: usize = 50_000;
/// How many steps a row may take, about: half as many are made.
const STEPS_OF_ROW: u64 = 1_500_000;
/// The same in a full run.
const STEPS_OF_FULL_ROW: u64 = 8_000_000;
/// Ends of each other kind in a row, when they are asked for.
const VARIANTS_EACH: usize = 25;
/// A row whose window has so many instructions has as many states.
const STATES_MIN: usize = 30;
/// Windows up to this are stepped through at every point that is chosen; longer ones only where something changes.
const LONG: u64 = 3_000;

fn main() {
    kept::begin();
    taskring::init();
    if process_support::role().is_some() {
        return process_support::main(&roles::ROLES, &[]);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--list") {
        return println!("kill_points: test");
    }
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let choice = Choice { full: has("--full"), variants: has("--variants") };
    let first = has("--first");
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let all =
        operations::ROWS.iter().flat_map(|(operation, contexts)| contexts.iter().map(move |context| (*operation, *context)));
    let is_meant = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let has_fixed_addresses = kept::fix_addresses();
    if !has_fixed_addresses {
        println!("  SKIPPED: workers of the keeper's, for programs cannot be had at fixed addresses here");
    }
    let is_possible = |operation: &str| has_fixed_addresses || !kept::is_meant(operation);
    let chosen: Vec<_> =
        all.filter(|(operation, context)| is_possible(operation) && is_meant(&format!("{operation} {context}"))).collect();
    let start = Instant::now();
    println!(
        "{:<16} {:<20} {:>7} {:>7} {:>6} {:>6} {:>7} {:>6} {:>8} {:>8} {:>7}",
        "operation", "context", "window", "changes", "calls", "states", "kills", "after", "ms/kill", "cpu/kill", "cpu s"
    );
    // The last ones take longest.
    let waiting = Mutex::new(chosen.clone());
    let (kills, violations) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |cpu: usize| {
        let next = || waiting.lock().unwrap().pop();
        while let Some((operation, context)) = next() {
            let _dog = watchdog(if choice.full || choice.variants { 3600 } else { 300 });
            let (done, found) = row(operation, context, cpu, choice);
            kills.fetch_add(done, SeqCst);
            violations.fetch_add(found.len(), SeqCst);
            found.iter().for_each(|what| println!("  VIOLATION {operation}, {context}: {what}"));
            if first && !found.is_empty() {
                waiting.lock().unwrap().clear();
            }
        }
    };
    // A row keeps one CPU busy.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(CPUS_MAX);
    std::thread::scope(|scope| (0..cpus).for_each(|cpu| drop(scope.spawn(move || work(cpu)))));
    let (kills, rows, violations) = (kills.into_inner(), chosen.len(), violations.into_inner());
    let kills_min = match words.is_empty() {
        false => 0,
        true if first || cfg!(debug_assertions) => 1,
        true if choice.full => KILLS_MIN_FULL,
        true => KILLS_MIN,
    };
    if kills < kills_min {
        println!("  MISSED: {kills} kills instead of {kills_min}");
    }
    let good = violations == 0 && kills >= kills_min;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "test everything_is_as_before_after_a_kill_at_any_instruction ... {} ({seconds:.0} s)",
        if good { "ok" } else { "FAILED" }
    );
    println!("kill points: {kills} operations: {rows} violations: {violations}");
    if !good {
        std::process::exit(101);
    }
}

/// How much of everything.
#[derive(Clone, Copy)]
struct Choice {
    full: bool,
    variants: bool,
}

/// One operation in one context.
fn row(operation: &str, context: &str, cpu: usize, choice: Choice) -> (usize, Vec<String>) {
    let (start, own) = (Instant::now(), cpu_time_of_thread());
    let mut scene = Scene::new(operation, context, cpu);
    // Once to the end before: what is done once, as the committing of memory, belongs to no later window.
    let whole = if cfg!(debug_assertions) { At::Step(trace::STEPS_UNOPTIMISED) } else { At::END };
    let mut found = scene.kill(whole, How::Killed);
    let mut survey = scene.survey();
    if !cfg!(debug_assertions) && !survey.calls.is_empty() && (LONG..10 * LONG).contains(&survey.steps) {
        // Memory may have been brought in this run, too, which makes a window of this length several times as long.
        found.extend(scene.after("the first look"));
        survey = scene.survey();
    }
    if At::Step(survey.steps) < whole {
        // It came to its window's end.
        found.extend(scene.is_recovered());
    }
    found.extend(scene.after("the second run"));
    let is_dear = scene.creates && survey.steps > 10 * LONG || scene.leaves && survey.steps > LONG;
    let points = points(&survey, choice.full, is_dear);
    scene.forget_kills();
    let killed = points.iter().map(|&at| (at, How::Killed));
    for (at, how) in killed.chain(others(survey.steps, choice.variants)) {
        found.extend(scene.kill(at, how));
        if found.len() > 5 {
            break;
        }
    }
    // Later runs may be so much shorter that few points lay inside.
    let states_min = if cfg!(debug_assertions) { points.len() / 2 } else { STATES_MIN.min(survey.steps as usize) };
    for i in 0..3 * STATES_MIN as u64 {
        if scene.states.len() >= states_min || !found.is_empty() {
            break;
        }
        // By turns where a victim is in a state of its own, and anywhere: most of a window may be one loop.
        let known = survey.states.len().max(1) as u64;
        let at = if i % 2 == 0 { survey.states.get(spread(i, known) as usize) } else { None };
        let at = at.copied().unwrap_or_else(|| spread(i, survey.steps));
        found.extend(scene.kill(At::Step(at.min(scene.shortest)), How::Killed));
    }
    // A later run may be shorter than the one that was looked at, as when it finds a free block and need not make one; but a row must be about its window.
    let (kills, over) = (scene.kills, scene.over);
    if over > 2 * kills + 8 {
        found.push(format!("{over} victims died after their window, and {kills} in it"));
    }
    if scene.states.len() < states_min && found.is_empty() {
        found.push(format!("only {} states instead of {states_min}", scene.states.len()));
    }
    let cpu = cpu_time_of_thread() - own + scene.cpu_time();
    found.extend(scene.end());
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / (kills + over).max(1) as f64;
    println!(
        "{operation:<16} {context:<20} {:>7} {:>7} {:>6} {:>6} {kills:>7} {over:>6} {:>8.1} {:>8.1} {:>7.1}",
        survey.steps,
        survey.changes.len(),
        survey.calls.len(),
        scene.states.len(),
        each(start.elapsed()),
        each(cpu),
        cpu.as_secs_f64()
    );
    (kills, found)
}

/// Where victims come to other ends: evenly over the window, a little later for each kind.
fn others(steps: u64, many: bool) -> Vec<(At, How)> {
    let each = match (cfg!(debug_assertions), many) {
        (true, _) => 0,
        (false, true) => VARIANTS_EACH,
        (false, false) => 1,
    } as u64;
    let all = VARIANTS.iter().zip(1..);
    all.flat_map(|(&how, k)| (0..each).map(move |i| (At::Step((6 * i + k) * steps / (6 * each)), how))).collect()
}

/// The `i`th of points that are spread over so many steps, by the golden section: steps of one length would meet a loop's instructions at one and the
/// same of them.
fn spread(i: u64, steps: u64) -> u64 {
    ((i * 0x9e37_79b9 % (1 << 32)) * steps) >> 32
}

fn points(survey: &trace::Survey, full: bool, is_dear: bool) -> Vec<At> {
    let each = match (cfg!(debug_assertions), is_dear) {
        (true, _) => 4,
        (false, true) => EACH_DEAR,
        (false, false) => EACH,
    };
    let in_order = |mut points: Vec<At>| {
        points.sort_unstable();
        points.dedup();
        points
    };
    let mut changes: Vec<At> = survey.changes.iter().flat_map(|&n| [At::Step(n - 1), At::Step(n)]).collect();
    if !cfg!(debug_assertions) {
        changes.extend([At::Step(0), At::Step(survey.steps + 1)]);
    }
    let changes = in_order(changes);
    let calls = in_order(survey.calls.iter().flat_map(|&n| [At::Step(n), At::Inside(n), At::Step(n + 1)]).collect());
    if full && survey.steps <= LONG {
        return (0..=survey.steps + 1).map(At::Step).chain(survey.calls.iter().map(|&n| At::Inside(n))).collect();
    }
    // A point costs the calls before it, and the stops from the last one.
    let (each, budget) = if full { (EACH_FULL, STEPS_OF_FULL_ROW) } else { (each, STEPS_OF_ROW) };
    let each = each.min((budget / survey.steps_to_a_point().max(1)) as usize).max(each.min(30));
    let most = match (full, is_dear) {
        (true, _) => usize::MAX,
        (false, true) => each / 2,
        (false, false) => each / 4 * 3,
    };
    // Most of very many calls are alike, as wakes for nobody, and the changes are not to be lost among them.
    let changes = evenly(&changes, most.saturating_sub(calls.len()).max(most / 2));
    let calls = evenly(&calls, most - changes.len().min(most));
    let mut points = changes;
    points.extend(calls);
    points = in_order(points);
    let more = each.saturating_sub(points.len());
    // Half of the others where the victim is in a state that it was not in before: most of a long window may be one loop.
    let states = survey.states.len().min(if is_dear { more / 4 * 3 } else { more / 2 });
    points.extend((0..states).map(|i| At::Step(survey.states[i * survey.states.len() / states])));
    points.extend((0..(more - states) as u64).map(|i| At::Step(spread(i, survey.steps))));
    in_order(points)
}

/// So many of them at most, from the first to the last.
fn evenly(points: &[At], most: usize) -> Vec<At> {
    if points.len() <= most {
        return points.to_vec();
    }
    (0..most).map(|i| points[i * (points.len() - 1) / (most - 1).max(1)]).collect()
}

/// How long one kill with all that follows may take.
pub const KILL_LIMIT: Duration = Duration::from_secs(30);
