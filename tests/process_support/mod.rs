//! What the process-level tests share beyond `common`: a runner for files with a `main` of their own, this program started anew in a role,
//! and logs that tasks of any process write to.

#![allow(dead_code, unused_imports, reason = "each test file uses its part of it")]

#[path = "../common/mod.rs"]
pub mod common;

pub use common::{Random, children_of, fd_count, pid_alive, watchdog};

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Says what a program started by a test is to be.
const ROLE: &str = "TASKRING_TEST_ROLE";
/// How long anything that must happen may take before a test fails.
pub const LIMIT: Duration = Duration::from_secs(20);
/// How long one test may take before the watchdog ends it.
pub const TEST_SECONDS: u64 = 90;

/// A program in a role: its name, and what it does with its arguments.
pub type Role = (&'static str, fn(&[String]));
/// A test of a file with a `main` of its own.
pub type Test = (&'static str, fn());

/// What this process was started as, if a test started it.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// In the arguments of a program that runs one test: its name follows.
const ONLY: &str = "--only";
/// Tests that run at the same time: most of them wait most of the time.
const AT_A_TIME: usize = 3;

/// The `main` of a test file without the standard harness: plays its role, or runs the tests, each in a program of its own.
pub fn main(roles: &[Role], tests: &[Test]) {
    let Some(args) = arguments(roles) else { return };
    if let [only, name] = &args[..]
        && only == ONLY
    {
        let (_, test) = tests.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("no test {name:?}"));
        let _watchdog = watchdog(TEST_SECONDS);
        return test();
    }
    let (left, failed) = (Mutex::new(chosen(&args, tests).into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((name, _)) = left.lock().expect("no panic").next() else { return };
                    if !passes(name) {
                        failed.lock().expect("no panic").push(name);
                    }
                }
            });
        }
    });
    conclude(&failed.into_inner().expect("no panic"));
}

/// The same in this program, one after the other: for tests that share what they have compiled.
pub fn main_in_turn(roles: &[Role], tests: &[Test]) {
    let Some(args) = arguments(roles) else { return };
    let mut failed = Vec::new();
    for (name, test) in chosen(&args, tests) {
        let start = Instant::now();
        let watchdog = watchdog(TEST_SECONDS);
        let passed = std::panic::catch_unwind(test).is_ok();
        drop(watchdog);
        println!("test {name} ... {} ({:.2} s)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_secs_f64());
        if !passed {
            failed.push(name);
        }
    }
    conclude(&failed);
}

/// The arguments of a program that is to test; one that has a role plays it.
fn arguments(roles: &[Role]) -> Option<Vec<String>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(role) = role() else { return Some(args) };
    let (_, play) = roles.iter().find(|(name, _)| *name == role).unwrap_or_else(|| panic!("no role {role:?}"));
    play(&args);
    None
}

/// The tests that the arguments name, or all. Where they are to be listed, that is all that is done.
fn chosen(args: &[String], tests: &[Test]) -> Vec<Test> {
    if args.iter().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        std::process::exit(0);
    }
    let is_chosen = |(name, _): &&Test| {
        let mut filters = args.iter().filter(|a| !a.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|f| name.contains(f.as_str()))
    };
    tests.iter().filter(is_chosen).copied().collect()
}

fn conclude(failed: &[&str]) {
    println!("test result: {}", if failed.is_empty() { "ok".to_owned() } else { format!("FAILED: {}", failed.join(", ")) });
    if !failed.is_empty() {
        std::process::exit(101);
    }
}

/// Runs one test in a program of its own, and shows what it said.
fn passes(name: &str) -> bool {
    let start = Instant::now();
    let said = Said::new(name);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let status = said.of(command.args([ONLY, name])).status().expect("the program starts");
    // In one piece: others have something to say as well.
    let mut text = said.text();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let verdict = if status.success() { "ok".to_owned() } else { format!("FAILED, {status}") };
    text += &format!("test {name} ... {verdict} ({:.2} s)\n", start.elapsed().as_secs_f64());
    print!("{text}");
    status.success()
}

/// What a program says, in a file: a process that it left behind would keep a pipe open.
pub struct Said(PathBuf);

impl Said {
    pub fn new(what: &str) -> Said {
        Said(std::env::temp_dir().join(format!("taskring-{}-{what}", std::process::id())))
    }

    /// The program is to write there, and reads nothing.
    pub fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let file = std::fs::File::create(&self.0).expect("a file for what it says");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a descriptor")).stderr(file)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.0).unwrap_or_default()).into_owned()
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits for a condition, and fails when it does not come.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_within(LIMIT, what, &mut condition);
}

/// The same with a limit of its own. Returns how long it took.
#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// A name for a pool that no other test uses.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

/// SIGKILL to a process that a test started, or that such a process started.
pub fn kill(pid: u32) {
    signal(pid, libc::SIGKILL);
}

/// Sends a signal.
pub fn signal(pid: u32, signal: i32) {
    assert!(pid > 1);
    // SAFETY: the call takes two integers.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// A descriptor of a process.
#[track_caller]
pub fn pidfd_open(pid: u32) -> OwnedFd {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: the call has just made it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// SIGKILL, and the memory is taken away before the process has ended, as when memory runs out: no list in its memory could be walked then. False when
/// there was nothing to take: it has ended already, or its memory is also that of a child between its start and its program's.
#[track_caller]
pub fn kill_and_release(pid: u32) -> bool {
    let process = pidfd_open(pid);
    let before = wait_behind(pid);
    kill(pid);
    let released = release(&process);
    schedule(pid, libc::SCHED_OTHER, &before);
    released
}

/// Has a process run on the CPU of its caller alone, and when nobody else wants to: it seldom ends before its memory is asked for. Where it ran before.
fn wait_behind(pid: u32) -> libc::cpu_set_t {
    // SAFETY: an all-zero set is a valid one, and the calls write to the locals.
    let (before, here) = unsafe {
        let (mut before, mut here): (libc::cpu_set_t, libc::cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sched_getaffinity(pid.cast_signed(), size_of_val(&before), &raw mut before);
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut here);
        (before, here)
    };
    schedule(pid, libc::SCHED_IDLE, &here);
    before
}

/// For its first thread; one that has ended has nothing to be told.
fn schedule(pid: u32, policy: i32, cpus: &libc::cpu_set_t) {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: both are read for the length of the calls.
    unsafe {
        libc::sched_setaffinity(pid.cast_signed(), size_of_val(cpus), cpus);
        libc::sched_setscheduler(pid.cast_signed(), policy, &raw const none);
    }
}

/// Has the memory of a process taken away that SIGKILL was sent to.
#[track_caller]
fn release(process: &OwnedFd) -> bool {
    let start = Instant::now();
    loop {
        // SAFETY: the call takes two integers.
        let released = unsafe { libc::syscall(libc::SYS_process_mrelease, process.as_raw_fd(), 0) };
        if released == 0 {
            return true;
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ESRCH | libc::EINVAL) => return false,
            // Its memory is busy.
            Some(libc::EAGAIN | libc::EINTR) if start.elapsed() < LIMIT => std::thread::yield_now(),
            _ => panic!("process_mrelease: {error}"),
        }
    }
}

/// What a process was started as.
pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// What a process and those of its children that it has reaped have cost, of the processor's time, in the system's own steps of ten milliseconds.
pub fn cpu_time_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// The same of the thread that asks, exactly.
pub fn cpu_time_of_thread() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// Threads of a process.
pub fn thread_count(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Mappings of this process.
pub fn map_count() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps").lines().count()
}

/// The file of a named pool.
pub fn pool_file(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(format!("taskring.{name}"))
}

/// Files in `/dev/shm` whose name holds this text.
pub fn shm_entries(with: &str) -> Vec<String> {
    common::shm_entries().into_iter().filter(|name| name.contains(with)).collect()
}

/// Whether this process may do what only the superuser may. Says so where it may not.
pub fn is_root(needed_for: &str) -> bool {
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        // Not by `println!`, which a passing test shows to nobody.
        let _ = writeln!(std::io::stdout(), "not run, for it needs root: {needed_for}");
    }
    root
}

/// A file that processes add lines to, each with one write, so that lines never mix.
pub struct Log {
    dir: tempfile::TempDir,
}

impl Log {
    /// A new one, empty.
    pub fn new() -> Log {
        Log { dir: tempfile::tempdir().expect("a temporary folder") }
    }
    /// For the processes that write to it.
    pub fn path(&self) -> String {
        self.dir.path().join("log").to_str().expect("a path in UTF-8").to_owned()
    }
    /// Another file beside it: a gate that a task waits for.
    pub fn gate(&self) -> String {
        self.dir.path().join("gate").to_str().expect("a path in UTF-8").to_owned()
    }
    /// Opens the gate.
    pub fn open_gate(&self) {
        std::fs::write(self.gate(), b"").expect("the gate opens");
    }
    /// What was written.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
    /// How often a line was written.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| *l == line).count()
    }
}

/// Adds a line to a log.
pub fn append(path: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the log opens");
    file.write_all(format!("{line}\n").as_bytes()).expect("the log takes a line");
}

/// For a task: waits until the test opens the gate, not for ever.
pub fn await_gate(gate: &str) {
    let start = Instant::now();
    while !Path::new(gate).exists() && start.elapsed().as_secs() < TEST_SECONDS {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// For a program in a role: a line to the test.
pub fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("the test listens");
}

/// For a program in a role: the next line from the test; `None` when it has ended or lets go.
pub fn hear() -> Option<String> {
    let mut line = String::new();
    let len = std::io::stdin().read_line(&mut line).expect("a line");
    (len > 0).then(|| line.trim_end().to_owned())
}

/// This program, started anew in a role. Killed when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    role: String,
}

impl Program {
    /// Starts it.
    pub fn start(role: &str, args: &[&str]) -> Program {
        Program::from_command(Command::new(std::env::current_exe().expect("this program")), role, args)
    }

    /// The same by another command, to which this program's path was given already if it needs it.
    pub fn from_command(mut command: Command, role: &str, args: &[&str]) -> Program {
        command.args(args).env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{role} cannot be started: {e}"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { stdin: child.stdin.take(), child, lines, role: role.to_owned() }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|e| panic!("{} says nothing: {e}", self.role))
    }

    /// The next line, which must be this one.
    #[track_caller]
    pub fn expect(&self, line: &str) {
        assert_eq!(self.line(), line, "from {}", self.role);
    }

    /// The next line, which must be numbers.
    #[track_caller]
    pub fn numbers(&self) -> Vec<u64> {
        let line = self.line();
        let numbers: Result<Vec<u64>, _> = line.split_ascii_whitespace().map(str::parse).collect();
        numbers.unwrap_or_else(|e| panic!("{} says {line:?}: {e}", self.role))
    }

    /// The same within a limit of its own.
    #[track_caller]
    pub fn numbers_within(&self, limit: Duration) -> Vec<u64> {
        let line = self.lines.recv_timeout(limit).unwrap_or_else(|e| panic!("{} says nothing: {e}", self.role));
        line.split_ascii_whitespace()
            .map(|n| n.parse().unwrap_or_else(|e| panic!("{} says {line:?}: {e}", self.role)))
            .collect()
    }

    /// What it has said and nobody has asked for. Call it when the program has ended.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_millis(200)).ok()).collect()
    }

    /// A line to it.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not let go yet");
        writeln!(stdin, "{line}").expect("the program listens");
    }

    /// Lets it go on to its end.
    pub fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Kills it and waits for it.
    pub fn kill(&mut self) {
        kill(self.pid());
        self.child.wait().expect("a child of this process");
    }

    /// Lets it go on, and waits for its end within a limit.
    #[track_caller]
    pub fn end_within(&mut self, limit: Duration) -> ExitStatus {
        self.let_go();
        let role = self.role.clone();
        let mut status = None;
        wait_within(limit, &format!("the end of {role}"), || {
            status = self.child.try_wait().expect("a child of this process");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Lets it go on, and waits for its end, which must be a good one.
    #[track_caller]
    pub fn end(&mut self) {
        let status = self.end_within(LIMIT);
        assert!(status.success(), "{} ended with {status}", self.role);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
