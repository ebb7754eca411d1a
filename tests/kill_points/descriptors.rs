//! What the keeper of a pool has open: of those who came and went, whoever they were and however they ended, it soon holds nothing.

use crate::oracle;
use crate::process_support::{Program, children_of};
use std::path::Path;
use std::time::{Duration, Instant};

/// How the name of a pidfd begins.
const PIDFD: &str = "pidfd:";

/// What is open in this process, in one line: where the links lead, and of a pidfd whose it is, which is -1 once that one is gone.
pub fn own() -> String {
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        // A thread beside this one may close it meanwhile.
        let target = std::fs::read_link(&path).ok()?.to_string_lossy().replace(' ', "_");
        let facts = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(path.file_name()?)).ok()?;
        let pid = facts.lines().find_map(|line| line.strip_prefix("Pid:"));
        Some(pid.map_or(target, |pid| format!("{PIDFD}{}", pid.trim())))
    };
    let all: Vec<String> = open.filter_map(name).collect();
    all.join(" ")
}

/// The names of what the keeper has open, but for the pidfds of its workers: of those there may be more or fewer at any time, and the supervisor has a second
/// one of each while it sleeps.
fn of(keeper: &mut Program) -> Vec<String> {
    let before = children_of(keeper.pid());
    keeper.tell("count");
    let line = keeper.line();
    let workers = before.into_iter().chain(children_of(keeper.pid()));
    let workers: Vec<String> = workers.map(|pid| format!("{PIDFD}{pid}")).collect();
    line.split(' ').filter(|name| !workers.iter().any(|worker| worker == name)).map(str::to_owned).collect()
}

/// What of `held` is not in `known`, as often as it is there.
fn beyond(held: &[String], known: &[String]) -> Vec<String> {
    let mut known = known.to_vec();
    let is_new = |name: &&String| known.iter().position(|k| k == *name).map(|at| known.swap_remove(at)).is_none();
    held.iter().filter(is_new).cloned().collect()
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// What is there for a moment, while a worker is started, is not there in each of so many looks.
const LOOKS: usize = 5;

/// What the keeper has open at rest, once it holds a pidfd of each of these that have come: it looks for them every ten milliseconds, if it gets a processor.
pub fn at_rest(keeper: &mut Program, come: &[u32]) -> Vec<String> {
    let expected: Vec<String> = come.iter().map(|pid| format!("{PIDFD}{pid}")).collect();
    let start = Instant::now();
    let mut all = of(keeper);
    while !beyond(&expected, &all).is_empty() {
        assert!(start.elapsed() < 2 * oracle::LIMIT, "the keeper holds {all:?}, and not all of {expected:?}");
        std::thread::sleep(PAUSE);
        all = of(keeper);
    }
    for _ in 0..LOOKS {
        std::thread::sleep(PAUSE);
        let now = of(keeper);
        let gone = beyond(&all, &now);
        all = beyond(&all, &gone);
    }
    all
}

/// What it holds that it did not hold at first, if that stays.
pub fn left(keeper: &mut Program, first: &[String]) -> Option<String> {
    let start = Instant::now();
    loop {
        let more = beyond(&of(keeper), first);
        if more.is_empty() {
            return None;
        }
        if start.elapsed() > 2 * oracle::LIMIT {
            return Some(format!("the keeper holds {more:?} beside {first:?}"));
        }
        std::thread::sleep(PAUSE);
    }
}
