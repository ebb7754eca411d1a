//! What is left when everybody has come to an end: of pools, files and processes. There should be nothing.

use crate::ROLE;
use crate::journal::DIR;
use crate::nemesis::is_ours;
use std::path::Path;
use std::time::{Duration, Instant};
use taskring::ParticipantView;

/// What nobody uses and is not free, with all submitters gone.
pub fn what_is_held(name: &str) -> Vec<String> {
    left(|| {
        let view = match taskring::inspect(name) {
            Ok(view) => view,
            Err(e) => return vec![format!("the pool {name}: {e}")],
        };
        let slots: usize = view.lanes.iter().flat_map(|lane| lane.slots).sum();
        let locks = view.lanes.iter().filter(|lane| lane.mutex_owner.is_some()).count() + view.held.len();
        // A worker whose tasks have submitted keeps a second seat for as long as it lives.
        let is_worker =
            |pid| view.participants.iter().any(|p| p.pid == pid && ["worker", "thread"].contains(&p.role) && p.seated);
        let is_left = |p: &&ParticipantView| p.role == "submitter" && !is_worker(p.pid) || !p.seated;
        let seats = view.participants.iter().filter(is_left).count();
        let held = format!("{slots} slots, {} blocks, {locks} locks, {seats} seats\n{view}", view.blocks);
        if slots + view.blocks + locks + seats == 0 { Vec::new() } else { vec![held] }
    })
}

/// What is left for good: it may take a while to go.
pub fn left(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let left = look();
        if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes of this soak that go on after it.
pub fn processes(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let mark = format!("{}={}", DIR, dir.display());
    let environ = |pid| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let is_of_soak = |pid: &u32| environ(*pid).split(|&byte| byte == 0).any(|line| line == mark.as_bytes());
    pids.filter(|&pid| pid != std::process::id() && is_ours(pid)).filter(is_of_soak).map(describe_process).collect()
}

/// What a process does that should have ended: each of its threads, and where it is.
fn describe_process(pid: u32) -> String {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let environ = read(format!("/proc/{pid}/environ"));
    let role = environ.split('\0').find(|line| line.starts_with(ROLE)).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let each = threads.map(|thread| {
        let of = |what| read(thread.path().join(what).display().to_string());
        let state = of("status").lines().find_map(|l| l.strip_prefix("State:").map(|s| s.trim().to_owned()));
        format!("\n  {}: {} in {} ({})", of("comm"), state.unwrap_or_default(), of("wchan"), of("syscall"))
    });
    format!("process {pid} {role}{}", each.collect::<String>())
}

/// A pool's file that should have gone, and what is in it.
pub fn describe_file(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let pool = name.trim_start_matches("taskring.");
    let view = taskring::inspect(pool).map_or_else(|e| e.to_string(), |view| view.to_string());
    format!("{}: {view}", path.display())
}
