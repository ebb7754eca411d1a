//! Tests the tests: switches on one deliberate defect after the other (`src/seeded.rs`) and runs the ladder until a layer notices.
//!
//! ```sh
//! cargo test --features seeded-bugs --test seeded_bugs
//! ```
//! It takes about an hour and a half on two cores, for a layer ends at its first failure. A word after `--` chooses the defects whose
//! name holds it, `--all` goes on to the other layers after the first that noticed, and `--layer=NAME` asks that layer alone. Without any
//! defect every layer must pass, which is looked at first, unless a word is given. The table that it prints belongs into `docs/faults.md`.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A layer: what it is called, and the test programs that it consists of, each with arguments.
type Layer = (&'static str, &'static [(&'static str, &'static [&'static str])]);

/// In the order in which they are tried: about what notices most in the least time first.
const LADDER: &[Layer] = &[
    ("unit tests", &[("taskring", &[])]),
    (
        "fault table",
        &[
            ("faults", &["fault_"]),
            ("worker_killed", &["fault_"]),
            ("submitter_killed", &["fault_"]),
            ("attach", &["fault_"]),
            ("attach_refused", &["fault_"]),
            ("owner_exit", &["fault_"]),
            ("fork_of_submitter", &["fault_"]),
        ],
    ),
    ("loom", &[("taskring_models", &[])]),
    ("kill points", &[("kill_points", &["--first"])]),
    ("segment damage", &[("damage", &[])]),
    ("failing calls", &[("failing_calls", &[])]),
    ("shuttle", &[("taskring_models_shuttle", &[])]),
    (
        "behaviours",
        &[
            ("submit_result", &[]),
            ("cancel", &[]),
            ("discard", &[]),
            ("payloads", &[]),
            ("bad_input", &[]),
            ("full_ring", &[]),
            ("shutdown", &[]),
            ("idle", &[]),
        ],
    ),
    ("chaos", &[("chaos", &["--minutes", "0.5", "--pace", "40"])]),
];
/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(400);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--list") {
        return println!("seeded_bugs: test");
    }
    let all = args.iter().any(|a| a == "--all");
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let only: Vec<&str> = args.iter().filter_map(|a| a.strip_prefix("--layer=")).collect();
    let ladder: Vec<&Layer> = LADDER.iter().filter(|(name, _)| only.is_empty() || only.contains(name)).collect();
    let programs = build();
    if words.is_empty() {
        for layer in &ladder {
            let noticed = run(layer, &programs, None);
            assert!(noticed.is_none(), "without a defect, {}: {}", layer.0, noticed.unwrap_or_default());
        }
    }
    println!("| defect | what it does | noticed by | how |\n|---|---|---|---|");
    let (mut bugs, mut unnoticed) = (0, Vec::new());
    for (bug, what) in taskring::__private::seeded_bugs() {
        if !words.is_empty() && !words.iter().any(|w| bug.contains(w.as_str())) {
            continue;
        }
        bugs += 1;
        let mut noticed = ladder.iter().filter_map(|layer| Some((layer.0, run(layer, &programs, Some(bug))?)));
        let noticed: Vec<_> = if all { noticed.collect() } else { noticed.next().into_iter().collect() };
        let by: Vec<&str> = noticed.iter().map(|(layer, _)| *layer).collect();
        let how = noticed.first().map_or("", |(_, how)| how);
        println!("| `{bug}` | {what} | {} | {how} |", by.join(", "));
        if noticed.is_empty() {
            unnoticed.push(bug);
        }
    }
    println!("seeded bugs: {bugs} unnoticed: {} {}", unnoticed.len(), unnoticed.join(" "));
    if bugs == 0 || !unnoticed.is_empty() {
        std::process::exit(101);
    }
}

/// Builds the test programs, and tells where they are. Some need an optimised build, and some need the wider windows of another one.
fn build() -> HashMap<String, PathBuf> {
    let mut programs = HashMap::new();
    programs.extend(test_programs(&["--lib", "--tests"]));
    programs.extend(test_programs(&["--release", "--test", "kill_points"]));
    programs.extend(test_programs(&["--release", "--lib", "-p", "taskring-models"]));
    programs.extend(test_programs(&["--release", "--lib", "-p", "taskring-models-shuttle"]));
    let mut command = cargo("build", &["--release", "--example", "chaos"]);
    assert!(command.status().expect("cargo runs").success(), "chaos does not build");
    let kill_points: &PathBuf = &programs["kill_points"];
    let folder = kill_points.parent().and_then(Path::parent).expect("a folder of test programs");
    programs.insert("chaos".into(), folder.join("examples/chaos"));
    programs
}

fn cargo(what: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args([what, "--locked", "--features", "seeded-bugs"]).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn test_programs(args: &[&str]) -> Vec<(String, PathBuf)> {
    let output = cargo("test", args).args(["--no-run", "--message-format=json"]).stderr(Stdio::inherit()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "the tests do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.split("\"executable\":\"").skip(1).filter_map(|rest| Some(PathBuf::from(rest.split('"').next()?)));
    paths.filter_map(|path| Some((path.file_stem()?.to_str()?.rsplit_once('-')?.0.to_owned(), path))).collect()
}

/// Runs a layer with a defect. How it was noticed, if it was.
fn run((_, steps): &Layer, programs: &HashMap<String, PathBuf>, bug: Option<&str>) -> Option<String> {
    steps.iter().find_map(|(program, args)| {
        let path = programs.get(*program).unwrap_or_else(|| panic!("no test program {program}"));
        let log = tempfile::NamedTempFile::new().expect("a log");
        let (out, err) = (log.reopen().expect("the log"), log.reopen().expect("the log"));
        let mut command = Command::new(path);
        command.args(*args).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).env("RUST_BACKTRACE", "0");
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.envs(bug.map(|bug| ("TASKRING_SEEDED_BUG", bug)));
        let mut child = command.spawn().expect("a test program");
        let ended = wait(&mut child, log.path());
        sweep();
        let text = read(log.path());
        match ended {
            Some(true) => None,
            Some(false) => {
                let panicked = |line: &&str| line.contains("panicked at");
                let line = text.lines().find(|l| failed(l)).or_else(|| text.lines().find(panicked));
                let line = line.or_else(|| text.lines().rfind(|l| !l.trim().is_empty()));
                Some(format!("{program}: {}", line.map_or_else(|| "ended badly".to_owned(), which)))
            }
            None => Some(format!("{program}: hangs")),
        }
    })
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

/// What a line is about: the test that it names, or what it says.
fn which(line: &str) -> String {
    let test = line.split_once("test ").and_then(|(_, rest)| Some(rest.split_once(" ... ")?.0));
    let thread = line.split_once("thread '").and_then(|(_, rest)| Some(rest.split_once('\'')?.0));
    let place =
        line.split_once("panicked at ").and_then(|(_, rest)| Some(format!("a panic in {}", rest.split_once(':')?.0)));
    let text = test.or(thread.filter(|name| *name != "main")).or(place.as_deref()).unwrap_or(line);
    text.trim().replace('|', "/").chars().take(110).collect()
}

fn failed(line: &str) -> bool {
    line.contains("FAILED") && !line.starts_with("test result") || line.contains("VIOLATION")
}

/// Whether it ended well, which it does not after the first test that failed; `None` when it did not end within the limit. Nothing of it is left afterwards.
fn wait(child: &mut Child, log: &Path) -> Option<bool> {
    let start = Instant::now();
    let mut ended = None;
    while ended.is_none() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(100));
        ended = child.try_wait().expect("a child").map(|status| status.success());
        if ended.is_none() && read(log).lines().any(failed) {
            ended = Some(false);
        }
    }
    // SAFETY: the call takes integers; the group is that of the child, and has its number as long as a process of it is left.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    let _ = child.wait();
    ended
}

/// Removes the files of pools that a defect may have left.
fn sweep() {
    let files = std::fs::read_dir("/dev/shm").expect("/dev/shm").flatten();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        if let Some(pool) = name.strip_prefix("taskring.")
            && ["test-", "chaos-"].iter().any(|prefix| pool.starts_with(prefix))
        {
            // It says whether somebody is attached; then it is not ours.
            let _ = taskring::remove_dead(pool);
        }
    }
}
