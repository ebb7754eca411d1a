//! The watchdog: turns a hang into a failure that shows where every thread of the test and of its workers stands.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Watches until it is dropped.
pub struct Watchdog {
    is_over: Arc<(Mutex<bool>, Condvar)>,
}

/// Ends this process with a report unless the returned value is dropped within so many seconds.
#[must_use]
pub fn watchdog(seconds: u64) -> Watchdog {
    let is_over = Arc::new((Mutex::new(false), Condvar::new()));
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let watched = is_over.clone();
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            let (over, bell) = &*watched;
            let limit = Duration::from_secs(seconds);
            let over = bell.wait_timeout_while(over.lock().unwrap(), limit, |over| !*over).unwrap().0;
            if !*over {
                report(&test, seconds);
                std::process::abort();
            }
        })
        .expect("a thread");
    Watchdog { is_over }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (over, bell) = &*self.is_over;
        *over.lock().unwrap() = true;
        bell.notify_all();
    }
}

/// Straight to the descriptor: what `eprintln!` writes is captured by the harness, and lost in an abort.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn report(test: &str, seconds: u64) {
    say(&format!("\n==== {test} hangs: not over after {seconds} s ====\n"));
    let mut pids = vec![std::process::id()];
    let mut at = 0;
    while at < pids.len() {
        let children = super::children_of(pids[at]);
        pids.extend(children);
        at += 1;
    }
    for pid in pids {
        say(&format!("\n==== process {pid} ====\n"));
        if !show_by_gdb(pid) {
            show_by_proc(pid);
        }
    }
}

/// The debugger stops this process too, so it writes to our standard error itself, and is bounded by somebody else.
fn show_by_gdb(pid: u32) -> bool {
    let mut command = Command::new("timeout");
    command.args(["30", "gdb", "-p", &pid.to_string(), "-batch", "-nx", "-ex", "thread apply all bt 12"]);
    let Ok(output) = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned() else { return false };
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(output);
    command.status().is_ok_and(|status| status.success())
}

fn show_by_proc(pid: u32) {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.flatten() {
        say(&format!("thread {}\n", thread.file_name().to_string_lossy()));
        for file in ["comm", "wchan", "syscall", "stack"] {
            let text = std::fs::read_to_string(thread.path().join(file)).unwrap_or_else(|e| e.to_string());
            say(&format!("  {file}: {}\n", text.trim().replace('\n', "\n    ")));
        }
    }
}
