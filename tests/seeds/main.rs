//! The examples of the documents that this project grew from, written anew for taskring in Rust, C and C++: `tests/seeds/*.{rs,c,cpp}`. Each is run as a
//! program of its own in a folder with a few files, and prints the same in every language; that is what is checked. Needs `cc` and `c++` for the
//! other two languages; without them it says so.

mod article;
#[path = "../cc_support/mod.rs"]
mod cc_support;
mod cheat_sheet;
mod page;
#[path = "../process_support/mod.rs"]
mod process_support;
mod question;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// How an example ends.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// An example.
struct Example {
    name: &'static str,
    /// Its code in Rust, if it can be written there today. In C and C++ it is called by its name.
    rust: Option<fn() -> Outcome>,
    /// What it prints. Neighbouring lines that begin with `| ` come in any order; `#` is any number, `*` any rest of a line.
    prints: &'static str,
}

/// The examples by the name of the C and C++ programs that have them, too.
const FILES: &[(&str, &[Example])] =
    &[("article", article::EXAMPLES), ("page", page::EXAMPLES), ("question", question::EXAMPLES)];

/// Compilers, what their files end with, and the standards that these follow.
const LANGUAGES: [(&str, &str, &str); 2] = [("cc", "c", "c11"), ("c++", "cpp", "c++17")];

/// A test for each example of these names, and those of the cheat sheet.
macro_rules! tests {
    ($($name:ident)*) => { &[
        $((stringify!($name), || check(stringify!($name))),)*
        ("cheat_sheet_pools", || cheat_sheet::pools().expect("as on the sheet")),
        ("cheat_sheet_tasks", || cheat_sheet::tasks().expect("as on the sheet")),
        ("cheat_sheet_futures", || cheat_sheet::futures().expect("as on the sheet")),
    ] };
}

const TESTS: &[process_support::Test] = tests! {
    map_over_threads one_task tasks_in_any_order callback cancelling cancelling_with_callbacks errors_in_tasks scope_waits
    map_over_processes killed_worker_and_a_second_task killed_worker_breaks_the_pool
    power two_wait_for_each_other one_waits_for_its_own_submit four_copies pages primes pool_of_processes
    lazy_feed ten_jpegs two_sets
};

fn main() {
    taskring::init();
    let names = FILES.iter().flat_map(|(_, examples)| *examples).map(|example| example.name);
    for name in names {
        assert!(TESTS.iter().any(|(test, _)| *test == name), "{name} is in no list of tests");
    }
    if process_support::role().is_none() {
        build_chosen();
    }
    process_support::main_in_turn(&[("example", play)], TESTS);
}

/// Compiles what the command line asks for before the tests are timed: on a busy machine a program in C++ takes a minute.
fn build_chosen() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen = |example: &Example| args.is_empty() || args.iter().any(|arg| example.name.contains(arg.as_str()));
    for (file, _) in FILES.iter().filter(|(_, examples)| examples.iter().any(is_chosen)) {
        for (compiler, extension, standard) in LANGUAGES {
            if cc_support::has(compiler) {
                built(file, extension, standard);
            }
        }
    }
}

fn find(name: &str) -> (&'static str, &'static Example) {
    let all = FILES.iter().flat_map(|(file, examples)| examples.iter().map(move |example| (*file, example)));
    let mut named = all.filter(|(_, example)| example.name == name);
    named.next().unwrap_or_else(|| panic!("no example {name:?}"))
}

/// This program as one of the examples.
fn play(args: &[String]) {
    let run = find(&args[0]).1.rust.expect("an example in Rust");
    run().unwrap_or_else(|e| panic!("{}: {e}", args[0]));
}

/// Runs an example in each language, and compares what it prints.
fn check(name: &str) {
    let (file, example) = find(name);
    if example.rust.is_some() {
        let mut program = Command::new(std::env::current_exe().expect("this program"));
        program.env("TASKRING_TEST_ROLE", "example");
        compare(example, "Rust", &mut program);
    }
    for (compiler, extension, standard) in LANGUAGES {
        if cc_support::has(compiler) {
            compare(example, extension, &mut Command::new(built(file, extension, standard)));
        }
    }
}

/// A program in C or C++, compiled once.
fn built(file: &str, extension: &str, standard: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let source = format!("tests/seeds/{file}.{extension}");
    let mut built = BUILT.lock().expect("no panic while it was held");
    let build = || cc_support::build(&format!("seeds_{file}_{extension}"), standard, &[&source], &[]);
    built.entry(source.clone()).or_insert_with(build).clone()
}

fn compare(example: &Example, language: &str, program: &mut Command) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    lay_out(dir.path());
    let output = program.arg(example.name).current_dir(dir.path()).stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let complete =
        format!("{} in {language}: {}\n{text}{}", example.name, output.status, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complete}");
    let mut printed: Vec<&str> = text.lines().collect();
    let wanted: Vec<&str> = example.prints.lines().collect();
    assert_eq!(printed.len(), wanted.len(), "another number of lines: {complete}");
    // Lines of which the order does not matter are put in the order in which they are wanted.
    for (at, line) in wanted.iter().enumerate() {
        let line = match line.strip_prefix("| ") {
            Some(line) => {
                let end = at + wanted[at..].iter().take_while(|line| line.starts_with("| ")).count();
                if let Some(found) = (at..end).find(|&i| fits(line, printed[i])) {
                    printed.swap(at, found);
                }
                line
            }
            None => line,
        };
        assert!(fits(line, printed[at]), "wanted {line:?}, found {:?}: {complete}", printed[at]);
    }
}

/// Whether a printed line is the wanted one.
fn fits(wanted: &str, printed: &str) -> bool {
    let Some(at) = wanted.find(['#', '*']) else { return wanted == printed };
    let Some(rest) = printed.strip_prefix(&wanted[..at]) else { return false };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    wanted[at..].starts_with('*') || after.len() < rest.len() && fits(&wanted[at + 1..], after)
}

/// The files that examples find in their folder.
fn lay_out(dir: &Path) {
    let write = |name: String, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("a file in a temporary folder");
    for n in 1..=4_usize {
        write(format!("from{n}.txt"), format!("text {n}\n").as_bytes());
        write(format!("page{n}.html"), &vec![b'.'; 100 * n]);
    }
    // Every other one is a JPEG, by its first bytes.
    for n in 0..100 {
        write(format!("{n}.img"), if n % 2 == 0 { &[0xff, 0xd8, 0xff, 0xe0] } else { b"\x89PNG" });
    }
}
