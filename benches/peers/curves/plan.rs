//! How many points of a curve are measured, and how often.

use crate::common::limit::Partner;
use crate::foreign::{self, Foreign};
use crate::setup::Setup;
use crate::sheet::Sheet;
use std::cell::RefCell;

/// The script with the Python pools of the curves.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/curves/pools.py");

pub struct Plan {
    pub setup: Setup,
    pub partner: Partner,
}

impl Plan {
    pub fn new(partner: Partner, names: &[&str]) -> Result<Plan, String> {
        let known = format!("Curves are {}", names.join(", "));
        Ok(Plan { setup: Setup::from_args(&known, |word| names.contains(&word))?, partner })
    }

    /// Whether the curve is among those asked for: all of them when none is named.
    pub fn wants(&self, name: &str) -> bool {
        self.setup.words.is_empty() || self.setup.words.iter().any(|word| word == name)
    }

    /// One number for a whole run, one for a quick one, and one for a run that only shows that it works.
    pub fn pick<T>(&self, full: T, quick: T, test: T) -> T {
        match (self.setup.bench, self.setup.quick) {
            (false, _) => test,
            (true, true) => quick,
            (true, false) => full,
        }
    }

    pub fn rounds(&self) -> usize {
        self.pick(9, 3, 1)
    }

    /// The points of a curve: all of them; every other one and the last; the first and the last.
    pub fn points(&self, all: &[u64]) -> Vec<u64> {
        let last = all.len() - 1;
        let step = self.pick(1, 2, last);
        all.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, &x)| x).collect()
    }

    /// Python's pools at these points of a curve. Their names end in `@` and the point.
    pub fn python(&self, sheet: &mut Sheet, curve: &str, points: &[u64]) -> RefCell<Foreign> {
        let mut command = foreign::python(SCRIPT);
        command.arg(curve).args(points.iter().map(u64::to_string));
        RefCell::new(Foreign::only(&mut sheet.report, "Python's pools", command))
    }

    /// An idle pool of Python's in a process of its own.
    pub fn idle_python(name: &str, workers: u64) -> std::process::Command {
        let mut command = foreign::python(SCRIPT);
        command.args(["idle-pool", name, &workers.to_string()]);
        command
    }
}
