//! The contract, row by row: `docs/semantics.md` says which case pins which row. Each case is run with every kind of worker, each time in a program of its
//! own, which has one thread when it builds its pool. At the end stands a table: how many passed, by language, section and kind.
//!
//! ```sh
//! cargo test --test semantics                       # all
//! cargo test --test semantics -- semantics_f1 fork  # those whose name holds the one, with kinds whose name is the other
//! cargo test --test semantics -- semantics_f C C++  # those, in these languages (the first is Rust)
//! cargo test --test semantics -- --times=50         # all, so many times in a row, or until one fails
//! ```
//!
//! To add a case: a function in a `cases!` list of a module here, named `semantics_<row>_<what holds>`. What a case needs of tasks, a file of its own has.
//! In C and C++: `tests/c/semantics_main.h`.

#[path = "../cc_support/mod.rs"]
mod cc_support;
#[path = "../process_support/mod.rs"]
mod process_support;
#[macro_use]
mod support;

mod as_completed;
mod async_await;
mod better;
mod callbacks;
mod circles;
mod discard;
mod ending;
mod events;
mod foreign;
mod futures;
mod held;
mod interpreters;
mod maps;
mod maps_now;
mod multi;
mod nested;
mod on_demand;
mod order;
mod priority;
mod processes;
mod promise;
mod resources;
mod retrying;
mod running;
mod seeds;
mod sentences;
mod setup;
mod steering;
mod terminate;
mod thread_pool;
mod threads;
mod turnover;
mod waits;

use process_support::Said;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;
use support::{Case, KINDS, kind_of};

/// The cases, by file.
const FILES: &[&[Case]] = &[
    as_completed::CASES,
    async_await::CASES,
    better::CASES,
    callbacks::CASES,
    circles::CASES,
    discard::CASES,
    ending::CASES,
    events::CASES,
    futures::CASES,
    interpreters::CASES,
    maps::CASES,
    maps_now::CASES,
    multi::CASES,
    nested::CASES,
    on_demand::CASES,
    order::CASES,
    priority::CASES,
    processes::CASES,
    promise::CASES,
    resources::CASES,
    retrying::CASES,
    running::CASES,
    seeds::CASES,
    sentences::CASES,
    setup::CASES,
    steering::CASES,
    terminate::CASES,
    thread_pool::CASES,
    threads::CASES,
    turnover::CASES,
    waits::CASES,
];
/// A case with a kind of workers, in a language.
struct Cell<'a> {
    language: &'static str,
    name: &'a str,
    kind: &'static str,
    /// The program that has it, if it is not this one.
    program: Option<&'a foreign::Program>,
}
const LANGUAGES: [&str; 3] = ["Rust", "C", "C++"];

/// The sections that have cases in each of them.
const FULL_SECTIONS: &str = "FWAMPSD";

/// In the environment of a program that runs one case: the kind of its workers.
const KIND: &str = "TASKRING_SEMANTICS_KIND";
/// Cells that run at the same time: most of them wait most of the time.
const AT_A_TIME: usize = 8;

fn main() {
    taskring::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(kind) = std::env::var(KIND) {
        let case = cases().find(|case| case.name == args[0]).unwrap_or_else(|| panic!("no case {:?}", args[0]));
        // No watchdog: it is a thread, and fork wants none. SAFETY: the call takes an integer.
        unsafe { libc::alarm(process_support::TEST_SECONDS as u32) };
        return (case.run)(kind_of(&kind));
    }
    let programs = foreign::programs();
    let own = cases().flat_map(|case| KINDS.map(|kind| Cell { language: "Rust", name: case.name, kind, program: None }));
    let cells: Vec<Cell> = own.chain(programs.iter().flat_map(|program| program.cells(&KINDS))).collect();
    if args.iter().any(|arg| arg == "--list") {
        cells.iter().for_each(|cell| println!("{} [{}, {}]: test", cell.name, cell.kind, cell.language));
        return;
    }
    let times = args.iter().find_map(|arg| arg.strip_prefix("--times=")).unwrap_or("1");
    let times: u32 = times.parse().unwrap_or_else(|e| panic!("--times={times}: {e}, and not how many"));
    let words: Vec<&str> = args.iter().filter(|arg| !arg.starts_with('-')).map(String::as_str).collect();
    let is_all = words.is_empty();
    let cells: Vec<Cell> = cells.into_iter().filter(chosen_by(words)).collect();
    for time in 1..=times {
        let start = Instant::now();
        let (table, mut failed) = run_all(&cells);
        print(&table);
        if is_all {
            failed.extend(empty_cells(&table));
        }
        println!(
            "test result: {}",
            if failed.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", failed.join(", ")) }
        );
        if times > 1 {
            println!("time {time} of {times}: {} cells in {:.0} s", cells.len(), start.elapsed().as_secs_f64());
        }
        if !failed.is_empty() {
            std::process::exit(101);
        }
    }
}

/// Of those that ran, how many passed and how many there were: by language, section and kind.
type Table<'a> = BTreeMap<(&'a str, char, &'a str), (u32, u32)>;

/// Runs them. Returns the table, and those that did not pass.
fn run_all<'a>(cells: &[Cell<'a>]) -> (Table<'a>, Vec<String>) {
    let left = Mutex::new(cells.iter());
    let table = Mutex::new(Table::new());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(cell) = left.lock().expect("no panic").next() else { return };
                    let Some(passed) = run(cell) else { continue };
                    let mut table = table.lock().expect("no panic");
                    let counts = table.entry((cell.language, support::section(cell.name), cell.kind)).or_default();
                    *counts = (counts.0 + u32::from(passed), counts.1 + 1);
                    if !passed {
                        failed.lock().expect("no panic").push(format!("{} [{}, {}]", cell.name, cell.kind, cell.language));
                    }
                }
            });
        }
    });
    (table.into_inner().expect("no panic"), failed.into_inner().expect("no panic"))
}

/// The cells of the table in which nothing ran, in the sections that hold in every language and with every kind of workers. A language without a compiler has
/// said so already.
fn empty_cells(table: &Table) -> Vec<String> {
    let there = |language: &&str| *language == "Rust" || foreign::has_compiler(language);
    let mut empty = Vec::new();
    for language in LANGUAGES.into_iter().filter(there) {
        for section in FULL_SECTIONS.chars() {
            let missing = KINDS.into_iter().filter(|kind| !table.contains_key(&(language, section, *kind)));
            empty.extend(missing.map(|kind| format!("no case ran of section {section} [{kind}, {language}]")));
        }
    }
    empty
}

fn cases() -> impl Iterator<Item = &'static Case> {
    FILES.iter().copied().flatten()
}

/// Whether a cell is among those that the words name: kinds, languages, and parts of names.
fn chosen_by(words: Vec<&str>) -> impl Fn(&Cell) -> bool {
    let (kinds, words): (Vec<_>, Vec<_>) = words.into_iter().map(str::to_owned).partition(|w| KINDS.contains(&w.as_str()));
    let (languages, names): (Vec<_>, Vec<_>) = words.into_iter().partition(|w| LANGUAGES.contains(&w.as_str()));
    move |cell| {
        (names.is_empty() || names.iter().any(|name| cell.name.contains(name.as_str())))
            && (kinds.is_empty() || kinds.iter().any(|kind| kind == cell.kind))
            && (languages.is_empty() || languages.iter().any(|language| language == cell.language))
    }
}

/// Runs one case with one kind of worker, in a program of its own. What it said is shown when it failed. `None`: it was not run.
fn run(cell: &Cell) -> Option<bool> {
    let Cell { language, name, kind, program } = *cell;
    let mut command = match program {
        None => Command::new(std::env::current_exe().expect("this program")),
        Some(program) => Command::new(program.path()?),
    };
    match program {
        None => command.arg(name).env(KIND, kind),
        Some(_) => command.args([kind, name]),
    };
    let start = Instant::now();
    let said = Said::new(&format!("{name}-{language}-{kind}"));
    let status = said.of(&mut command).status().expect("the program starts");
    if status.code() == Some(support::NOT_HERE) {
        // One line, which begins with "not run".
        println!("{} (test {name} [{kind}, {language}])", said.text().trim_end());
        return None;
    }
    let passed = status.success();
    if !passed {
        println!("{name}: {status}\n{}", said.text());
    }
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("test {name} [{kind}, {language}] ... {verdict} ({:.2} s)", start.elapsed().as_secs_f64());
    Some(passed)
}

/// Passed of those that ran, by language, section and kind.
fn print(table: &Table) {
    for language in LANGUAGES {
        let sections: std::collections::BTreeSet<char> = table.keys().filter(|k| k.0 == language).map(|k| k.1).collect();
        if sections.is_empty() {
            continue;
        }
        println!("\npassed of those that ran, {language}");
        println!("{:8}{}", "section", KINDS.map(|kind| format!("{kind:>12}")).concat());
        for section in sections {
            let cell = |kind| {
                let counts = table.get(&(language, section, kind));
                counts.map_or_else(String::new, |(passed, ran)| format!("{passed}/{ran}"))
            };
            println!("{section:8}{}", KINDS.map(|kind| format!("{:>12}", cell(kind))).concat());
        }
    }
}
