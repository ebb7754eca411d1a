//! Recovery after kill -9 of a worker that runs a task, as distributions over many kills.

use crate::child::step;
use crate::foreign::Foreign;
use crate::life::{bare_start, kill_once};
use crate::plan::Plan;
use crate::setup::Turns;
use crate::sheet::{Sheet, Table};
use std::io;
use taskring::{Executor, StartMethod};

/// Shares of the kills, in percent.
const SHARES: [f64; 13] = [0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0, 80.0, 90.0, 95.0, 99.0, 100.0];

/// Times until the waiter has the verdict, and until a new worker runs its first task.
pub fn recovery(plan: &Plan, sheet: &mut Sheet) -> io::Result<()> {
    let (kills, kills_python) = (plan.pick(200, 40, 3), plan.pick(30, 8, 1));
    let dir = tempfile::tempdir()?;
    let pool = |method| Executor::builder().workers(1).start(method).build().map_err(io::Error::other);
    let (spawned, forked) = (pool(StartMethod::Spawn)?, pool(StartMethod::ForkServer)?);
    let python = plan.python(sheet, "recovery", &[1]);
    let mut samples: [(&str, Vec<f64>); 4] = [
        ("taskring, kill to verdict", Vec::new()),
        ("taskring, kill to the new worker's task", Vec::new()),
        ("the same, workers by fork server", Vec::new()),
        ("start of a process to its main", Vec::new()),
    ];
    for _ in 0..kills {
        step("a killed worker");
        let (verdict, replaced) = kill_once(&spawned, &dir.path().join("entered"));
        let (_, replaced_by_fork) = kill_once(&forked, &dir.path().join("entered"));
        let all = [verdict, replaced, replaced_by_fork, bare_start()?];
        samples.iter_mut().zip(all).for_each(|((_, values), value)| values.push(value as f64));
    }
    let mut table = Table::new("recovery", ("time after the kill", "ns"), ("share of the kills", "%"));
    for (system, values) in &mut samples {
        add_distribution(&mut table, system, values);
    }
    let mut turns = Turns::new(&plan.setup);
    Foreign::add_all(&python, &mut turns, &plan.setup, "recovery 1");
    for figure in turns.figures(kills_python) {
        let mut values = figure.rounds().to_vec();
        add_distribution(&mut table, figure.name.split('@').next().unwrap_or_default(), &mut values);
    }
    sheet.put(&table);
    Ok(())
}

fn add_distribution(table: &mut Table, system: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    for share in SHARES {
        let at = ((values.len() - 1) as f64 * share / 100.0).round() as usize;
        table.add(share, system, values[at]);
    }
}
