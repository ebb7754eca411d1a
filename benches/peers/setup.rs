//! What was asked for on the command line, where things run, and measurements that take turns.

use crate::child;
use crate::common::affinity::{self, Pinned};
use crate::common::per;
use crate::common::rounds::{Entry, Figure, entry, interleave};
use crate::ours::expected;
use crate::report::Report;
use std::path::PathBuf;
use std::time::Instant;

/// The command line and the CPUs.
pub struct Setup {
    pub quick: bool,
    /// Started by `cargo bench`, not by `cargo test`.
    pub bench: bool,
    pub json: Option<PathBuf>,
    /// What is to be measured; nothing named is everything.
    pub words: Vec<String>,
    pub cpus: Vec<usize>,
    /// Where the submitter is pinned, and where the one worker is.
    pub first: usize,
    pub second: usize,
}

impl Setup {
    /// Reads the arguments, among them words of which `is_known` says whether they name something; `known` says what they may be. Without
    /// `--bench`, as `cargo test --benches` starts it, everything is quick.
    pub fn from_args(known: &str, is_known: impl Fn(&str) -> bool) -> Result<Setup, String> {
        let (mut quick, mut bench, mut json, mut words) = (false, false, None, Vec::new());
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => quick = true,
                "--bench" => bench = true,
                "--json" => json = Some(PathBuf::from(args.next().ok_or("--json needs a file")?)),
                word if is_known(word) => words.push(word.to_owned()),
                other => return Err(format!("what is {other:?}? {known}; options --quick and --json FILE")),
            }
        }
        let (first, second) = affinity::pair();
        Ok(Setup { quick: quick || !bench, bench, json, words, cpus: affinity::allowed(), first, second })
    }

    /// Whether the target is among those asked for: all of them when none is named.
    pub fn wants(&self, id: &str) -> bool {
        let number = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned();
        self.words.is_empty() || self.words.iter().any(|word| number(word) == number(id))
    }

    pub fn wants_any(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.wants(id))
    }

    /// One number for a whole run and one for a quick one.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

pub fn is_target(word: &str) -> bool {
    let number = word.strip_prefix('N').map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_lowercase()));
    number.and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| (1..=16).contains(&n))
}

/// Nanoseconds for each of `count` tasks, after `warm_up` of them; the sum of their answers is checked.
pub fn timed(warm_up: u64, count: u64, mut run: impl FnMut(u64) -> u64) -> f64 {
    run(warm_up);
    let start = Instant::now();
    let sum = run(count);
    let elapsed = start.elapsed();
    assert_eq!(sum, expected(count), "the sum of {count} answers");
    per(elapsed, count)
}

/// Systems that are measured in turns.
pub struct Turns<'a> {
    first: usize,
    entries: Vec<Entry<'a>>,
}

impl<'a> Turns<'a> {
    pub fn new(setup: &Setup) -> Turns<'a> {
        Turns { first: setup.first, entries: Vec::new() }
    }

    /// A system that runs so many tasks a round, submitted from the first CPU.
    pub fn pinned(&mut self, name: &str, warm_up: u64, count: u64, mut run: impl FnMut(u64) -> u64 + 'a) {
        let first = self.first;
        self.round(name, move || {
            let _pinned = Pinned::to(first);
            timed(warm_up, count, &mut run)
        });
    }

    /// The same wherever the kernel puts it.
    pub fn unpinned(&mut self, name: &str, warm_up: u64, count: u64, mut run: impl FnMut(u64) -> u64 + 'a) {
        self.round(name, move || timed(warm_up, count, &mut run));
    }

    /// A round that gives nanoseconds for each operation.
    pub fn round(&mut self, name: &str, mut round: impl FnMut() -> f64 + 'a) {
        let what = name.to_owned();
        let round = move || {
            child::step(&what);
            round()
        };
        self.entries.push(entry(name, round));
    }

    /// Runs them all in turns and prints a row for each.
    pub fn run(self, rounds: usize, report: &mut Report, part: &str) -> Figures {
        let figures = self.figures(rounds);
        figures.iter().for_each(|figure| report.row(part, figure));
        Figures(figures)
    }

    /// Runs them all in turns.
    pub fn figures(self, rounds: usize) -> Vec<Figure> {
        interleave(rounds, self.entries)
    }
}

/// What was measured in turns.
pub struct Figures(Vec<Figure>);

impl Figures {
    pub fn find(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }

    /// One that is always measured.
    pub fn get(&self, name: &str) -> &Figure {
        self.find(name).unwrap_or_else(|| panic!("a figure of the name {name:?}"))
    }

    /// The line of a target, or why there is none.
    pub fn judge(&self, report: &mut Report, id: &str, ours: &str, against: &str, most: f64) {
        match self.find(against) {
            Some(against) => report.compare(id, self.get(ours), against, most),
            None => report.unmeasured(id, &format!("{against} is not here")),
        }
    }
}
