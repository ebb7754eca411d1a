//! The examples do what their first lines say.

mod cc_support;
mod common;
// The checker of the soak, with its tests.
#[path = "../examples/chaos/check.rs"]
#[allow(dead_code, reason = "its tests use what they test")]
mod check;
#[path = "../examples/chaos/features.rs"]
#[allow(dead_code, reason = "the checker uses its part of it")]
mod features;
#[path = "../examples/chaos/journal.rs"]
#[allow(dead_code, reason = "the checker uses its part of it")]
mod journal;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// `cargo test` builds the examples beside the tests.
fn example(name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let path: PathBuf = own.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run plain `cargo test`, or `cargo build --examples` first", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

fn run(name: &str, args: &[&str]) -> Output {
    let _dog = common::watchdog(300);
    let output = example(name).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {args:?}: {}\n{out}\n{err}", output.status);
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn hello_is_said_by_another_process() {
    let text = stdout(&run("hello", &[]));
    let pids: Vec<&str> = text.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
    assert!(text.starts_with("hello world, from process ") && pids.len() == 2 && pids[0] != pids[1], "{text}");
}

#[test]
fn primes_are_told_from_the_others() {
    let text = stdout(&run("primes", &[]));
    let answers: Vec<&str> = text.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
    assert_eq!(answers, ["true", "true", "true", "true", "true", "false"], "{text}");
}

#[test]
fn three_programs_share_a_pool() {
    let text = stdout(&run("attach", &[]));
    for word in ["ONE", "TWO", "THREE"] {
        assert!(text.contains(word), "{text}");
    }
}

/// A worker in C for a submitter in Rust, and the reverse.
#[test]
fn c_and_rust_share_a_pool() {
    if !cc_support::has("cc") {
        return;
    }
    let shout = cc_support::build("shout", "c11", &["bindings/c/shout.c"], &[]);
    let in_c = |args: &[&str]| {
        let mut command = Command::new(&shout);
        command.args(args).stdin(Stdio::null());
        command
    };
    let name = format!("examples-shout-{}", std::process::id());
    for worker_in_c in [true, false] {
        let mut maker = example("attach").args(["make", &name]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        while taskring::inspect(&name).is_err() {
            assert!(maker.try_wait().unwrap().is_none(), "the maker ended");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let work = ["work", &name];
        let mut worker = if worker_in_c { in_c(&work) } else { example("attach") };
        let mut worker = if worker_in_c { &mut worker } else { worker.args(work) }.spawn().unwrap();
        let submitted =
            if worker_in_c { run("attach", &["submit", &name]) } else { in_c(&["submit", &name]).output().unwrap() };
        let text = stdout(&submitted);
        assert!(submitted.status.success() && text.contains("THREE"), "{text}");
        assert_eq!(text.matches(", in C)").count(), if worker_in_c { 3 } else { 0 }, "{text}");
        assert!(text.contains(&format!("from process {}", worker.id())), "{text}");
        drop(maker.stdin.take());
        assert!(maker.wait().unwrap().success() && worker.wait().unwrap().success());
    }
}

#[test]
fn inspect_shows_a_pool_and_removes_only_a_dead_one() {
    let name = format!("examples-inspect-{}", std::process::id());
    let mut maker = example("attach").args(["make", &name]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while taskring::inspect(&name).is_err() {
        assert!(maker.try_wait().unwrap().is_none(), "the maker ended");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let view = stdout(&run("inspect", &[&name]));
    assert!(view.contains("open") && view.contains(&format!("owner {}", maker.id())), "{view}");
    let refused = example("inspect").args([&name, "--remove"]).output().unwrap();
    assert!(!refused.status.success(), "a living pool was removed");
    maker.kill().unwrap();
    maker.wait().unwrap();
    run("inspect", &[&name, "--remove"]);
    assert_eq!(taskring::inspect(&name).unwrap_err(), taskring::Error::NotFound { name });
}

/// A few seconds of the soak: `.ci/run` has a minute.
#[test]
fn a_short_soak_loses_nothing() {
    let text = stdout(&run("chaos", &["--minutes", "0.1", "--pace", "40"]));
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("tasks: ") && last.ends_with("violations: 0 leaked: 0"), "{text}");
    assert!(text.contains("features drawn: callbacks "), "{text}");
    let kills = last.split(' ').nth(3).and_then(|kills| kills.parse::<u64>().ok());
    assert!(kills > Some(5), "the nemesis does what it is for: {text}");
}

#[test]
fn the_image_job_passes_its_own_checks() {
    let text = stdout(&run("images", &["--quick"]));
    assert!(text.contains("0 failed") && text.contains("never started"), "{text}");
}

#[test]
fn ten_of_many_files_are_enough() {
    let text = stdout(&run("ten_of_many", &[]));
    let numbers = |line: &str| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
    let lines: Vec<Vec<u64>> = text.lines().map(numbers).collect();
    assert_eq!([&lines[0][..], &lines[2]], [&[10, 1000][..], &[10_000]], "{text}");
    assert!(lines[1].iter().sum::<u64>() == 1000 && lines[1][0] >= 10, "{text}");
}

#[test]
fn a_lazy_feed_makes_no_more_tasks_than_are_wanted() {
    let text = stdout(&run("lazy_feed", &[]));
    let numbers = |line: &str| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
    let lines: Vec<Vec<u64>> = text.lines().map(numbers).collect();
    // Two hundred, and what was under way then: one for each of two workers, and one ahead.
    let [made, 1000, processed] = lines[0][..] else { panic!("{text}") };
    assert!(made == processed && (200..=203).contains(&made), "{text}");
    assert_eq!(lines[1], [100, 100, 100], "{text}");
}

#[test]
fn counting_tasks_checks_their_answers() {
    let text = stdout(&run("count", &["--tasks", "20000", "--window", "64"]));
    assert!(text.contains("tasks=20000"), "{text}");
}
