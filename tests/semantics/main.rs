//! The contract, row by row: `docs/semantics.md` says which case pins which row. Each case is run with every kind of worker, each time in a program of its
//! own, which has one thread when it builds its pool. At the end stands a table: how many passed, by section and kind.
//!
//! ```sh
//! cargo test --test semantics                       # all
//! cargo test --test semantics -- semantics_f1 fork  # those whose name holds the one, with kinds whose name is the other
//! ```
//!
//! To add a case: a function in a `cases!` list of a module here, named `semantics_<row>_<what holds>`. What a case needs of tasks, a file of its own has.

#[path = "../process_support/mod.rs"]
mod process_support;
#[macro_use]
mod support;

mod futures;
mod setup;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;
use support::{Case, KINDS, kind_of};

/// The cases, by file.
const FILES: &[&[Case]] = &[futures::CASES, setup::CASES];

/// In the environment of a program that runs one case: the kind of its workers.
const KIND: &str = "TASKRING_SEMANTICS_KIND";
/// Cells that run at the same time: most of them wait most of the time.
const AT_A_TIME: usize = 3;

fn main() {
    taskring::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(kind) = std::env::var(KIND) {
        let case = cases().find(|case| case.name == args[0]).unwrap_or_else(|| panic!("no case {:?}", args[0]));
        // No watchdog: it is a thread, and fork wants none. SAFETY: the call takes an integer.
        unsafe { libc::alarm(process_support::TEST_SECONDS as u32) };
        return (case.run)(kind_of(&kind));
    }
    let cells: Vec<(&Case, &str)> = cases().flat_map(|case| KINDS.map(|kind| (case, kind))).collect();
    if args.iter().any(|arg| arg == "--list") {
        cells.iter().for_each(|(case, kind)| println!("{} [{kind}]: test", case.name));
        return;
    }
    let (kinds, names): (Vec<_>, Vec<_>) =
        args.iter().filter(|arg| !arg.starts_with('-')).partition(|arg| KINDS.contains(&arg.as_str()));
    let chosen = |case: &Case, kind: &str| {
        (names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str())))
            && (kinds.is_empty() || kinds.iter().any(|k| k.as_str() == kind))
    };
    let left = Mutex::new(cells.into_iter().filter(|(case, kind)| chosen(case, kind)));
    let table = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((case, kind)) = left.lock().expect("no panic").next() else { return };
                    let passed = run(case, kind);
                    let mut table = table.lock().expect("no panic");
                    let cell: &mut (u32, u32) = table.entry((case.section(), kind)).or_default();
                    *cell = (cell.0 + u32::from(passed), cell.1 + 1);
                    if !passed {
                        failed.lock().expect("no panic").push(format!("{} [{kind}]", case.name));
                    }
                }
            });
        }
    });
    print(&table.into_inner().expect("no panic"));
    let failed = failed.into_inner().expect("no panic");
    println!("test result: {}", if failed.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", failed.join(", ")) });
    if !failed.is_empty() {
        std::process::exit(101);
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    FILES.iter().copied().flatten()
}

/// Runs one case with one kind of worker, in a program of its own. What it said is shown when it failed.
fn run(case: &Case, kind: &str) -> bool {
    let start = Instant::now();
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    let output = program.arg(case.name).env(KIND, kind).stdin(Stdio::null()).output().expect("this program starts");
    let passed = output.status.success();
    if !passed {
        println!("{}: {}", case.name, output.status);
        println!("{}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("test {} [{kind}] ... {verdict} ({:.2} s)", case.name, start.elapsed().as_secs_f64());
    passed
}

/// Passed of those that ran, by section and kind.
fn print(table: &BTreeMap<(char, &str), (u32, u32)>) {
    println!("\npassed of those that ran, Rust");
    println!("{:8}{}", "section", KINDS.map(|kind| format!("{kind:>12}")).concat());
    let sections: std::collections::BTreeSet<char> = table.keys().map(|(section, _)| *section).collect();
    for section in sections {
        let cell = |kind| table.get(&(section, kind)).map_or_else(String::new, |(passed, ran)| format!("{passed}/{ran}"));
        println!("{section:8}{}", KINDS.map(|kind| format!("{:>12}", cell(kind))).concat());
    }
}
