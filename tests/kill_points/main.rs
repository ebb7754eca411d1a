//! Kill points: a victim is stepped through an operation one instruction at a time and killed with SIGKILL after N of them, in a run of its own
//! for each N; then survivors tell whether everything is as it must be. `cargo test --release --test kill_points -- --nocapture`.
//!
//! An optimised build is needed for that; any other one kills four victims of each row, so that `cargo test` runs the whole of it once.
//! `--full` kills at every instruction of every window that is not too long. A word chooses the rows whose name holds it.
//!
//! The points of a row: each change of the segment and each system call, before, in and after it, as seen in a first run; then evenly spaced ones. A
//! later run may differ from the first by a few instructions, where it spins or others are at work: that moves a point, and it is a kill
//! all the same.

#[path = "../process_support/mod.rs"]
mod process_support;

mod blocks;
mod board;
mod operations;
mod oracle;
mod scenes;
mod trace;

use process_support::watchdog;
use scenes::Scene;
use std::time::{Duration, Instant};
use trace::At;

/// Kills of a row in a run that is not a full one.
const EACH: usize = 200;
/// How many steps a row may take, about: half as many are made.
const STEPS_OF_ROW: u64 = 1_500_000;
/// Windows up to this are stepped through at every point that is chosen; longer ones only where something changes.
const LONG: u64 = 3_000;

fn main() {
    taskring::init();
    if process_support::role().is_some() {
        return process_support::main(&scenes::ROLES, &[]);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--list") {
        return println!("kill_points: test");
    }
    let full = args.iter().any(|a| a == "--full");
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let each = if cfg!(debug_assertions) { 4 } else { EACH };
    let (mut kills, mut rows, mut violations) = (0, 0, 0);
    let start = Instant::now();
    println!(
        "{:<16} {:<22} {:>8} {:>7} {:>6} {:>6} {:>7} {:>8}",
        "operation", "context", "window", "changes", "calls", "points", "kills", "ms/kill"
    );
    for (operation, contexts) in operations::ROWS {
        for context in *contexts {
            let name = format!("{operation} {context}");
            if !words.is_empty() && !words.iter().any(|w| name.contains(w.as_str())) {
                continue;
            }
            let _dog = watchdog(if full { 3600 } else { 300 });
            rows += 1;
            let (done, found) = row(operation, context, each, full);
            kills += done;
            violations += found.len();
            found.iter().for_each(|what| println!("  VIOLATION {operation}, {context}: {what}"));
        }
    }
    let good = violations == 0 && (kills != 0 || !words.is_empty());
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

/// One operation in one context.
fn row(operation: &str, context: &str, each: usize, full: bool) -> (usize, Vec<String>) {
    let start = Instant::now();
    let mut scene = Scene::new(operation, context);
    // Once to the end before: what is done once, as the committing of memory, belongs to no later window.
    let whole = if cfg!(debug_assertions) { trace::STEPS_UNOPTIMISED } else { u64::MAX };
    let mut found = scene.kill(At::Step(whole));
    scene.over = 0;
    let survey = scene.survey();
    let points = points(&survey, each, full);
    found.extend(scene.after("the second run"));
    let mut kills = 2;
    for at in &points {
        found.extend(scene.kill(*at));
        kills += 1;
        if found.len() > 5 {
            break;
        }
    }
    // A later run may be shorter than the one that was looked at, as when it finds a free block and need not make one; but a row must be about its window.
    if 4 * scene.over > 3 * kills as u64 + 8 {
        found.push(format!("{} of {kills} victims died after their window", scene.over));
    }
    found.extend(scene.end());
    println!(
        "{operation:<16} {context:<22} {:>8} {:>7} {:>6} {:>6} {kills:>7} {:>8.1}",
        survey.steps,
        survey.changes.len(),
        survey.calls.len(),
        points.len(),
        start.elapsed().as_secs_f64() * 1000.0 / kills as f64
    );
    (kills, found)
}

fn points(survey: &trace::Survey, each: usize, full: bool) -> Vec<At> {
    let mut points: Vec<At> = survey.changes.iter().flat_map(|&n| [At::Step(n - 1), At::Step(n)]).collect();
    points.extend(survey.calls.iter().flat_map(|&n| [At::Step(n), At::Inside(n), At::Step(n + 1)]));
    if !cfg!(debug_assertions) {
        points.extend([At::Step(0), At::Step(survey.steps + 1)]);
    }
    points.sort_unstable();
    points.dedup();
    // A point of a long window costs its stepping.
    let each = each.min((STEPS_OF_ROW / survey.steps.max(1)) as usize).max(each.min(10));
    if full && survey.steps <= LONG * 10 {
        points.extend((0..=survey.steps).map(At::Step));
    } else if points.len() > each && !full {
        // Evenly, from the first to the last.
        let all = points.len() - 1;
        points = (0..each).map(|i| points[i * all / (each - 1)]).collect();
    } else if survey.steps <= LONG || cfg!(debug_assertions) {
        let more = each.saturating_sub(points.len());
        points.extend((0..more as u64).map(|i| At::Step(i * survey.steps / more as u64)));
    }
    points.sort_unstable();
    points.dedup();
    points
}

/// How long one kill with all that follows may take.
pub const KILL_LIMIT: Duration = Duration::from_secs(30);
