//! A thousand images, two hundred wanted: a process pool that outlives the work it was given.
//!
//! A pool of worker processes gets 1000 image files (set 1). After 200 results somebody changes their mind: the rest
//! is withdrawn in one call, no image of it is started any more, and the pool goes on at once with other images (set
//! 2), although one of its workers is killed in the middle of that. Every result is compared, byte for byte, with
//! what this process makes of the same file.
//!
//! `cargo run --release --example images` takes its images from this machine, `-- --help` lists the other ways.
//! The exit status is 0 if every check holds, else 1.

mod collect;
mod draw;
mod fetch;
mod find;
mod kill;
mod plan;
mod pool;
mod report;
mod set_one;
mod set_two;
mod speed;
mod work;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use collect::{Outcomes, begun_by_worker};
use plan::{Options, Plan};
use report::{Checks, heading, milliseconds};
use work::Done;

fn main() -> ExitCode {
    taskring::init();
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("images: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the story. True if every check held.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let begin = Instant::now();
    let plan = Plan::new(options);
    let mut checks = Checks::default();
    let found = plan::find_images(options, &plan)?;
    let (first, second, origin) = plan::divide(&found, &plan);
    // The speeds below are to be read with this in mind.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("Load of the machine before: {}", load.split(' ').next().unwrap_or_default());

    heading("The pool");
    let pool = pool::new_pool(&plan)?;
    let pids = pool::first_answers(&pool)?;
    println!("  {} processes started with spawn, pids {pids:?}, {} places in the ring", pool.workers(), pool.capacity());

    heading(format!("Set 1: {} images handed over, {} results wanted", first.len(), plan.enough));
    let one = set_one::run(&pool, &plan, &first, &mut checks)?;
    checks.check(BTreeSet::from_iter(pool.worker_pids()) == pids, format!("the pool still has the processes {pids:?}"));
    println!("  kept pool: 0 ms, a new one would cost {}", milliseconds(pool::cost_of_a_new_pool(&plan)?));

    heading(format!("Set 2: {} tasks ({origin}) on the same pool, and one SIGKILL", second.len()));
    let (two, retried) = set_two::run(&pool, &second, typical(&one.done), &mut checks)?;
    check_nothing_else_ran(&one, &two, &mut checks);

    heading(format!(
        "Speed: all {} images of set 1, three ways in {} turns, files in the page cache",
        first.len(),
        speed::TURNS
    ));
    let (alone, by_pool) = speed::compare(&pool, &first, &mut checks)?;

    heading("Every byte, against one process alone");
    let alone_two = speed::alone(&second, "set 2 again")?;
    let all = by_pool.iter().enumerate();
    check_bytes("the speed run", &alone, all, first.len(), &mut checks);
    let all = one.done.iter().map(|(position, done)| (*position, done));
    check_bytes("set 1", &alone, all, plan.enough, &mut checks);
    let all = two.done.iter().map(|(position, done)| (*position, done));
    check_bytes("set 2", &alone_two, all, second.len(), &mut checks);

    let before_shutdown = Instant::now();
    pool.shutdown(true, false)?;
    let down = milliseconds(before_shutdown.elapsed());
    heading("In the end");
    let never_started = first.len() as u64 - begun_by_worker(&one.done).values().sum::<u64>();
    println!("  set 1: {} done, {} cancelled, {never_started} never started", one.done.len(), one.withdrawn);
    println!("  set 2: {} done, {retried} of them retried", two.positions_done());
    println!("  shutdown took {down}, everything {:.1} s", begin.elapsed().as_secs_f64());
    Ok(checks.verdict())
}

/// The median time of a task.
fn typical(results: &[(usize, Done)]) -> Duration {
    let mut times: Vec<Duration> = results.iter().map(|(_, done)| done.took).collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Had a withdrawn image been started after all, later or in secret, the count of its worker would have a gap.
fn check_nothing_else_ran(one: &Outcomes, two: &Outcomes, checks: &mut Checks) {
    let results = || one.done.iter().chain(&two.done);
    let begun = begun_by_worker(results());
    let gaps = begun.iter().filter(|(worker, begun)| {
        let results = results().filter(|(_, done)| done.worker == **worker).count();
        results as u64 != **begun
    });
    let gaps = gaps.count();
    checks.check(
        gaps == 0,
        format!("the counts of all {} workers have no gap: none of the withdrawn images was started later", begun.len()),
    );
}

fn check_bytes<'a>(
    what: &str,
    reference: &[Done],
    results: impl Iterator<Item = (usize, &'a Done)>,
    at_least: usize,
    checks: &mut Checks,
) {
    let mut count = 0;
    let differing = speed::differing(reference, results.inspect(|_| count += 1));
    checks.check(differing == 0 && count >= at_least, format!("{what}: {count} results compared, {differing} differ"));
}
