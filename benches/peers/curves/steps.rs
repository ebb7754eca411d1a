//! One submitter and one worker, each on a CPU of its own: by the number of tasks under way, and by the length of a task.

use crate::common::affinity::Pinned;
use crate::common::c_pool::CPool;
use crate::common::crossbeam_pool::CrossbeamPool;
use crate::common::rounds::Figure;
use crate::common::{feed, per};
use crate::foreign::Foreign;
use crate::ours::{self, WINDOW, plain};
use crate::plan::Plan;
use crate::queues::Shaq;
use crate::setup::Turns;
use crate::sheet::{Sheet, Table};
use crate::sockets::{self, Framed};
use crate::speed::here;
use crate::threads;
use crate::work::{self, work_here};
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

const WINDOWS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000];
/// Where Python's pools are measured as well.
const WINDOWS_PYTHON: [u64; 3] = [1, 16, 1000];

/// Time for each empty task, by the number of tasks under way.
pub fn window(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let second = plan.setup.second;
    let (pool, c) = (ours::pinned_pool(second), CPool::pinned(second));
    let (crossbeam, rayon) = (CrossbeamPool::pinned(&[second], WINDOW), threads::rayon(&[second]));
    let mut shaq = here(&mut sheet.report, "shaq", Shaq::new(second));
    let mut framed = here(&mut sheet.report, "socketpair pool", Framed::socketpair(second));
    let windows = plan.points(&WINDOWS);
    let python = plan.python(sheet, "window", &common_points(&windows, &WINDOWS_PYTHON));
    let mut table = Table::new("window", ("time for each empty task", "ns"), ("tasks under way", ""));
    for x in windows {
        let window = x as usize;
        let count = if window < 8 { plan.pick(10_000, 5_000, 200) } else { plan.pick(50_000, 20_000, 200) };
        let (slow, warm_up) = (plan.pick(2_000, 500, 50), count / 10);
        let (pool, c, crossbeam, rayon) = (&pool, &c, &crossbeam, &rayon);
        let mut turns = Turns::new(&plan.setup);
        turns.pinned("taskring", warm_up, count, |n| ours::single(pool, window, n));
        turns.pinned("taskring through C", warm_up, count, |n| c.single(window, n));
        turns.pinned("taskring, in two batches", warm_up, count, |n| {
            feed::bulk(pool, ours::square, x.div_ceil(2), 2.min(window), n)
        });
        turns.pinned("crossbeam", warm_up, count, |n| crossbeam.run(n, window, plain));
        turns.pinned("rayon, spawn from outside", warm_up, count, |n| threads::rayon_outside(rayon, x, n));
        if let Some(shaq) = &mut shaq {
            let first = plan.setup.first;
            turns.round("shaq", move || {
                let _pinned = Pinned::to(first);
                shaq.begin(warm_up + count);
                crate::setup::timed(warm_up, count, |n| shaq.window(window, n))
            });
        }
        if let Some(framed) = framed.as_mut().filter(|_| window <= sockets::WINDOW) {
            turns.pinned("socketpair pool", slow / 10, slow, |n| framed.window(window, n));
        }
        if window == 1 {
            turns.round("a cache line there and back", || plan.partner.cacheline_ns(count as u32));
        }
        Foreign::add_all(&python, &mut turns, &plan.setup, &format!("window {x}"));
        table.add_figures(x, &turns.figures(plan.rounds()));
    }
    sheet.put(&table);
    Ok(())
}

/// Those points of a curve at which something slower is measured as well.
pub fn common_points(points: &[u64], of: &[u64]) -> Vec<u64> {
    points.iter().copied().filter(|x| of.contains(x)).collect()
}

/// Microseconds of work in a task.
const LENGTHS: [u64; 11] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const LENGTH_WINDOW: usize = 64;

/// Steps of work in each task of the peers that cannot be told with the task. Set while none is under way.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// The work, for those who do it in the same process.
pub fn work_of_steps(_x: u64) -> u64 {
    work_here(STEPS.load(Relaxed))
}

/// For the next tasks of [`work_of_steps`].
pub fn set_steps(steps: u64) {
    STEPS.store(steps, Relaxed);
}

/// A system whose `count` tasks a round all give the same answer, submitted from that CPU or from anywhere.
pub fn same<'a>(
    turns: &mut Turns<'a>,
    name: &str,
    cpu: Option<usize>,
    (count, answer): (u64, u64),
    mut run: impl FnMut(u64) -> u64 + 'a,
) {
    turns.round(name, move || {
        let _pinned = cpu.map(Pinned::to);
        let warm_up = (count / 10).max(1);
        assert_eq!(run(warm_up), answer.wrapping_mul(warm_up), "the sum of {warm_up} answers");
        let start = Instant::now();
        let sum = run(count);
        let elapsed = start.elapsed();
        assert_eq!(sum, answer.wrapping_mul(count), "the sum of {count} answers");
        per(elapsed, count)
    });
}

/// The same tasks without any pool.
pub fn alone(count: u64, steps: u64) -> u64 {
    (0..count).fold(0, |sum: u64, _| sum.wrapping_add(work_here(black_box(steps))))
}

/// Time for each task, by the work that is in it. The same work is measured without any pool, on the CPU of the worker.
pub fn length(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let (first, second) = (Some(plan.setup.first), plan.setup.second);
    let pool = ours::pinned_pool(second);
    let (crossbeam, rayon) = (CrossbeamPool::pinned(&[second], LENGTH_WINDOW), threads::rayon(&[second]));
    let mut framed = here(&mut sheet.report, "socketpair pool", Framed::socketpair_to("framed-work", second));
    let lengths = plan.points(&LENGTHS);
    let python = plan.python(sheet, "length", &lengths);
    let steps_of_1_us = work::calibrated(second);
    let along = ("work in a task", "us");
    let mut table = Table::new("length", ("time for each task", "ns"), along);
    let mut parts = Table::new("length", ("part of the worker's time that goes into the work", ""), along);
    for length in lengths {
        let steps = steps_of_1_us * length;
        set_steps(steps);
        let (pool, crossbeam, rayon, answer) = (&pool, &crossbeam, &rayon, work_here(steps));
        // Some milliseconds of work a round; the slower ones get fewer tasks where they are mostly not at work.
        let count = (plan.pick(20_000, 10_000, 1_000) / length.max(1)).clamp(20, 20_000);
        let slow = count.min(plan.pick(2_000, 1_000, 100));
        let mut turns = Turns::new(&plan.setup);
        same(&mut turns, "the work alone", Some(second), (count, answer), |n| alone(n, steps));
        same(&mut turns, "taskring", first, (count, answer), |n| work::through(pool, LENGTH_WINDOW, steps, n));
        same(&mut turns, "crossbeam", first, (count, answer), |n| crossbeam.run(n, LENGTH_WINDOW, work_of_steps));
        same(&mut turns, "rayon, spawn from outside", first, (count, answer), |n| {
            threads::rayon_outside_of(rayon, LENGTH_WINDOW as u64, n, work_of_steps)
        });
        if let Some(framed) = &mut framed {
            same(&mut turns, "socketpair pool", first, (slow, answer), |n| framed.window_of(LENGTH_WINDOW, n, |_| steps));
        }
        Foreign::add_all(&python, &mut turns, &plan.setup, &format!("length {length}"));
        let figures = turns.figures(plan.rounds());
        table.add_figures(length, &figures);
        if length != 0 {
            add_parts(&mut parts, length, &figures);
        }
    }
    sheet.put(&table);
    sheet.put(&parts);
    Ok(())
}

/// Which part of each system's time the work takes alone, in the language of its tasks: the median of the parts of each round.
fn add_parts(table: &mut Table, length: u64, figures: &[Figure]) {
    let (alone, pools): (Vec<&Figure>, Vec<&Figure>) = figures.iter().partition(|figure| figure.name.contains("alone"));
    for pool in pools {
        // What comes from the script has the point behind its name.
        let of_script = pool.name.contains('@');
        if let Some(alone) = alone.iter().find(|figure| figure.name.contains('@') == of_script) {
            table.add(length as f64, pool.name.split('@').next().unwrap_or_default(), alone.against(pool));
        }
    }
}

/// The role of the socketpair pool's child: its arguments are steps of work.
pub fn play_framed_work(cpu: usize) -> io::Result<()> {
    sockets::serve(cpu, |bytes| work_here(bytes.try_into().map_or(0, u64::from_le_bytes)))
}
