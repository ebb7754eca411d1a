//! What cancelling costs, by the number of pending tasks: one call for all of them, and one for each.

use crate::common::affinity::Pinned;
use crate::common::per;
use crate::foreign::Foreign;
use crate::futures::{cancel_many, hold};
use crate::ours::{self, square};
use crate::plan::Plan;
use crate::setup::Turns;
use crate::sheet::{Sheet, Table};
use std::io;
use std::time::Instant;
use taskring::{Executor, Future};

const PENDING: [u64; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
const PENDING_PYTHON: [u64; 4] = [10, 100, 1_000, 10_000];

/// Time for each cancelled task, while the worker is busy with another.
pub fn cancel(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let numbers = plan.points(&PENDING[..plan.pick(6, 5, 3)]);
    let python = plan.python(sheet, "cancel", &crate::steps::common_points(&numbers, &PENDING_PYTHON));
    let mut table = Table::new("cancel", ("time for each cancelled task", "ns"), ("pending tasks", ""));
    for pending in numbers {
        let many = pending as usize;
        // Room for them and the one that is running.
        let builder = Executor::builder().workers(1).capacity((many + 1).max(64));
        let pool = builder.build().map_err(io::Error::other)?;
        ours::pin_workers(&pool, &[plan.setup.second]);
        let mut turns = Turns::new(&plan.setup);
        turns.round("taskring, discard of the set", || {
            let _pinned = Pinned::to(plan.setup.first);
            let (each_ns, _, seen) = cancel_many(&pool, many);
            assert_eq!(seen, many, "as_completed gives all of them at once");
            each_ns
        });
        turns.round("taskring, cancel of each future", || {
            let _pinned = Pinned::to(plan.setup.first);
            cancel_each(&pool, pending)
        });
        Foreign::add_all(&python, &mut turns, &plan.setup, &format!("cancel {pending}"));
        table.add_figures(pending, &turns.figures(plan.rounds()));
    }
    sheet.put(&table);
    Ok(())
}

/// Nanoseconds for each of so many futures.
fn cancel_each(pool: &Executor, many: u64) -> f64 {
    let busy = pool.submit(hold, ()).expect("submit");
    while busy.worker_pid().is_none() {
        std::hint::spin_loop();
    }
    let futures: Vec<Future<u64>> = (0..many).map(|x| pool.submit(square, x).expect("submit")).collect();
    let start = Instant::now();
    let cancelled = futures.iter().filter(|future| future.cancel()).count();
    let elapsed = start.elapsed();
    assert_eq!(cancelled as u64, many, "all of them were pending");
    assert!(!busy.cancel(), "it runs, and is only asked to stop");
    busy.result().expect("it stops");
    per(elapsed, many)
}
