//! Many workers and many submitters, wherever the kernel puts them: where there are more of them than CPUs, the curves show how well they get
//! out of each other's way.

use crate::common::crossbeam_pool::CrossbeamPool;
use crate::common::per;
use crate::foreign::Foreign;
use crate::ours::{CAPACITY, expected, plain};
use crate::plan::Plan;
use crate::setup::Turns;
use crate::sheet::{Sheet, Table};
use crate::steps::{alone, common_points, same, set_steps, work_of_steps};
use crate::work::{self, work_here};
use crate::{submitters, threads};
use std::io;
use std::time::{Duration, Instant};
use taskring::Executor;

const WORKERS: [u64; 6] = [1, 2, 4, 8, 16, 32];
const WORKERS_PYTHON: [u64; 4] = [1, 2, 4, 8];
/// Microseconds of work in a task; one table for each.
const LENGTHS: [(u64, &str); 3] =
    [(0, "time for each empty task"), (10, "time for each task of 10 us"), (100, "time for each task of 100 us")];
/// Two tasks for each worker where there are most.
const WINDOW: usize = 64;

/// Time for each task, by the number of workers.
pub fn workers(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let numbers = plan.points(&WORKERS);
    let python = plan.python(sheet, "workers", &common_points(&numbers, &WORKERS_PYTHON));
    let steps_of_1_us = work::calibrated(plan.setup.second);
    let mut tables = LENGTHS.map(|(_, what)| Table::new("workers", (what, "ns"), ("workers", "")));
    for workers in numbers {
        let pool = Executor::builder().workers(workers as usize).capacity(CAPACITY).build().map_err(io::Error::other)?;
        let (crossbeam, rayon) = (CrossbeamPool::free(workers as usize, WINDOW), threads::rayon_free(workers as usize));
        for ((length, _), table) in LENGTHS.into_iter().zip(&mut tables) {
            let steps = steps_of_1_us * length;
            set_steps(steps);
            let tasks = (plan.pick(30_000, 10_000, 1_000) / length.max(1)).max(20);
            let (pool, crossbeam, rayon, round) = (&pool, &crossbeam, &rayon, (tasks, work_here(steps)));
            let mut turns = Turns::new(&plan.setup);
            same(&mut turns, "the work alone", None, round, |n| alone(n, steps));
            same(&mut turns, "taskring", None, round, |n| work::through(pool, WINDOW, steps, n));
            same(&mut turns, "crossbeam", None, round, |n| crossbeam.run(n, WINDOW, work_of_steps));
            same(&mut turns, "rayon, spawn from outside", None, round, |n| {
                threads::rayon_outside_of(rayon, WINDOW as u64, n, work_of_steps)
            });
            Foreign::add_all(&python, &mut turns, &plan.setup, &format!("workers {length} {workers}"));
            table.add_figures(workers, &turns.figures(plan.rounds()));
        }
    }
    tables.iter().for_each(|table| sheet.put(table));
    Ok(())
}

const SUBMITTERS: [u64; 4] = [1, 2, 4, 8];

/// Empty tasks a second through two workers, by the number of submitting processes.
pub fn submitters(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let numbers = plan.points(&SUBMITTERS);
    let millis = plan.pick(700, 300, 50);
    let (pool, mut crowd) = submitters::gather(SUBMITTERS[SUBMITTERS.len() - 1] as usize, millis)?;
    let along = ("submitters", "");
    let mut rates = Table::new("submitters", ("empty tasks a second, all submitters together", "/s"), along);
    let mut shares = Table::new("submitters", ("smallest part of its fair share that a submitter has", ""), along);
    for submitters in numbers {
        let crossbeam = CrossbeamPool::free(2, WINDOW * submitters as usize);
        let (mut ours, mut smallest, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.rounds() {
            let each = submitters::run(&mut crowd[..submitters as usize])?;
            let all: f64 = each.iter().sum();
            ours.push(all);
            smallest.push(each.iter().copied().fold(f64::INFINITY, f64::min) / (all / submitters as f64));
            theirs.push(crowd_of_threads(&crossbeam, submitters, plan.pick(100_000, 40_000, 2_000)));
        }
        rates.add(submitters as f64, "taskring, processes", submitters::median(ours));
        rates.add(submitters as f64, "crossbeam, threads of one process", submitters::median(theirs));
        shares.add(submitters as f64, "taskring, processes", submitters::median(smallest));
    }
    drop((crowd, pool));
    sheet.put(&rates);
    sheet.put(&shares);
    Ok(())
}

/// So many threads that submit to one crossbeam pool; tasks a second of all of them. A thread may collect another one's answers, so only the
/// sum of all is known.
fn crowd_of_threads(pool: &CrossbeamPool, submitters: u64, count: u64) -> f64 {
    crate::child::step("threads that submit");
    let start = Instant::now();
    let sum = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..submitters).map(|_| scope.spawn(|| pool.run(count, WINDOW, plain))).collect();
        threads.into_iter().fold(0, |sum: u64, thread| sum.wrapping_add(thread.join().expect("it does not panic")))
    });
    let elapsed: Duration = start.elapsed();
    assert_eq!(sum, expected(count).wrapping_mul(submitters));
    1e9 / per(elapsed, count * submitters)
}
