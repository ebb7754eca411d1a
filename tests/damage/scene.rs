//! A pool to be damaged: its owner with two worker processes, and a submitter process that works on it and judges what it gets.

use crate::places::{CAPACITY, Image, PAYLOAD};
use crate::process_support::{LIMIT, Program, Role, hear, pool_file, say, unique};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Future, StartMethod, When, as_completed, wait};
use tempfile::NamedTempFile;

taskring::task! {
    fn triple(x: u64) -> u64 {
        // So that the damage finds slots in every phase.
        std::thread::sleep(Duration::from_micros(100 * (x % 4)));
        3 * x + 1
    }
    fn reversed(bytes: Vec<u8>) -> Vec<u8> { bytes.into_iter().rev().collect() }
    /// Sends events, as far as it may.
    fn sends(x: u64) -> u64 {
        (0..EVENTS).for_each(|n| drop(taskring::task::send_event(&Work::bytes(x + n))));
        x
    }
    fn nap(x: u64) -> u64 {
        std::thread::sleep(Duration::from_micros(200));
        x
    }
}

pub const ROLES: [Role; 3] = [("keeper", keeper), ("submitter", submitter), ("guest", crate::images::guest)];

/// How many events such a task sends.
const EVENTS: u64 = 3;
/// How long a task waits for a worker that can run it: what is damaged may want one that nobody is.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// No call takes longer: that, the time until the look around with which it begins and until the one after its end, at most 1.2 s each, and what a busy
/// machine adds. What a mutex's own time-out takes is told by [`Error::Stalled`], which comes after five seconds.
const PROMPT: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(6);
/// What a submitter says between its calls when it has said nothing for this time: a round has more than ten of them, and each may stall. The test's own
/// limit for a line is then one for three calls.
const WORKS: &str = "works";
const SILENCE: Duration = Duration::from_secs(1);
const _: () = assert!(LIMIT.as_secs() >= 3 * STALL.as_secs());
/// By then a process has ended, or hangs. On a busy machine the kernel takes many seconds to close a watch on files.
const END: Duration = Duration::from_secs(60);

/// Says what the library logs, to a file that is looked at in the end.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("log: {}", record.args());
    }
    fn flush(&self) {}
}

fn keeper(args: &[String]) {
    log::set_logger(&Log).expect("the first logger");
    log::set_max_level(log::LevelFilter::Debug);
    let builder = Executor::builder().workers(2).start(StartMethod::Spawn).capacity(CAPACITY).payload_max(PAYLOAD);
    let pool = builder.start_timeout(START_TIMEOUT).create_named(&args[0]).expect("a pool");
    say("made");
    while hear().is_some() {}
    drop(pool);
}

/// Works from one line to the next: a round that is damaged, and a whole one after it.
fn submitter(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    let mut work = Work { pool, number: 0, findings: Vec::new(), said: Instant::now() };
    work.round(true);
    assert!(work.findings.is_empty(), "{:?}", work.findings);
    say("ready");
    while let Some(order) = hear() {
        let all = order == "all";
        work.said = Instant::now();
        work.round(all);
        let first = std::mem::take(&mut work.findings);
        work.round(all);
        say(&verdict(&first, &work.findings));
        work.findings.clear();
    }
}

/// In one line: nothing, or what was found.
fn verdict(first: &[String], second: &[String]) -> String {
    if first.is_empty() && second.is_empty() {
        return "ok".into();
    }
    let mut all: Vec<&str> = first.iter().chain(second).map(String::as_str).collect();
    all.dedup();
    all.join("; ").replace('\n', " ")
}

struct Work {
    pool: Executor,
    number: u64,
    findings: Vec<String>,
    /// When the test last heard of this process.
    said: Instant,
}

impl Work {
    fn bytes(n: u64) -> Vec<u8> {
        (0..100 + n % 200).map(|i| (i * 7 + n) as u8).collect()
    }

    /// Some of everything, so that every word is used; each answer is judged, and how long it took.
    fn round(&mut self, all: bool) {
        let mut small = Vec::new();
        let mut large = Vec::new();
        for i in 0..5 {
            self.number += 1;
            let n = self.number;
            if i < 3 {
                small.extend(self.judge("submit", |w| w.pool.submit(triple, n)).map(|f| (n, f)));
            } else {
                large.extend(self.judge("submit", |w| w.pool.submit(reversed, Work::bytes(n))).map(|f| (n, f)));
            }
        }
        if all {
            self.more();
        }
        for (n, future) in &small {
            let answer = self.judge("result", |_| future.result_timeout(PROMPT));
            self.compare(answer, &(3 * n + 1));
        }
        for (n, future) in &large {
            let answer = self.judge("result", |_| future.result_timeout(PROMPT));
            let right: Vec<u8> = Work::bytes(*n).into_iter().rev().collect();
            self.compare(answer, &right);
        }
    }

    fn more(&mut self) {
        let n = self.number;
        // More than there is room for.
        let bulk = self.judge("submit_bulk", |w| w.pool.submit_bulk(triple, n..n + 12)).unwrap_or_default();
        let waited = self.judge("wait", |_| wait(&bulk, Some(PROMPT), When::AllCompleted));
        if waited.is_some_and(|w| !w.not_done.is_empty()) {
            self.findings.push("hang: wait timed out".into());
        }
        for (future, n) in bulk.iter().zip(n..) {
            let answer = self.judge("result of many", |_| future.result_timeout(PROMPT));
            self.compare(answer, &(3 * n + 1));
        }
        if let Some(sending) = self.judge("submit", |w| w.pool.submit(sends, n)) {
            let answer = self.judge("result of one that sends", |_| sending.result_timeout(PROMPT));
            self.compare(answer, &n);
            // Without the mark that there are any, or the block for them, some are lost. Those that come are whole.
            let mut sent = (n..n + EVENTS).map(Work::bytes);
            while let Some(event) = self.judge("an event", |_| sending.next_event::<Vec<u8>>()).flatten() {
                let is_one = sent.any(|one| one == event);
                self.compare(Some(is_one), &true);
            }
        }
        let three: Vec<Future<u64>> = (0..3).filter_map(|_| self.judge("submit", |w| w.pool.submit(nap, n))).collect();
        let start = Instant::now();
        for future in as_completed(three, Some(PROMPT)) {
            let answer = self.judge("as_completed", |_| future).and_then(|f| self.judge("its result", |_| f.result()));
            self.compare(answer, &n);
        }
        self.in_time("as_completed", start, false);
        if let Some(set) = self.judge("a set", |w| w.pool.task_set()) {
            let naps: Vec<_> = (0..4).filter_map(|_| self.judge("submit", |_| set.submit(nap, n))).collect();
            self.judge("discard", |_| set.discard());
            for one in naps {
                match one.result_timeout(PROMPT) {
                    Err(Error::Cancelled) => {}
                    other => {
                        let answer = self.judge("result of a discarded one", |_| other);
                        self.compare(answer, &n);
                    }
                }
            }
        }
    }

    fn judge<T>(&mut self, what: &str, call: impl FnOnce(&Work) -> Result<T, Error>) -> Option<T> {
        if self.said.elapsed() > SILENCE {
            say(WORKS);
            self.said = Instant::now();
        }
        let start = Instant::now();
        let result = call(self);
        self.in_time(what, start, matches!(result, Err(Error::Stalled { .. })));
        match result {
            Ok(value) => return Some(value),
            Err(Error::TimedOut { .. }) => self.findings.push(format!("hang: {what} timed out")),
            Err(Error::WorkerLost { cause: Cause::Signal(s), .. }) if s != libc::SIGKILL => {
                self.findings.push(format!("crash: signal {s}"));
            }
            Err(Error::WorkerLost { cause: Cause::Exit(code), .. }) if code != 0 => {
                self.findings.push(format!("crash: a worker exited with {code}"));
            }
            Err(Error::Panicked { message, .. }) => self.findings.push(format!("content: a task panicked: {message}")),
            Err(e @ Error::TaskFailed { .. }) if e.to_string().contains("corrupt") => {
                self.findings.push(format!("typed: Task, {e}"));
            }
            Err(e @ (Error::TaskFailed { .. } | Error::Decode { .. })) => self.findings.push(format!("content: {e:?}")),
            Err(e) => self.findings.push(format!("typed: {e:?}")),
        }
        None
    }

    fn in_time(&mut self, what: &str, start: Instant, stalled: bool) {
        let limit = if stalled { STALL } else { PROMPT };
        if start.elapsed() > limit {
            self.findings.push(format!("hang: {what} took {:?}", start.elapsed()));
        }
    }

    fn compare<T: PartialEq>(&mut self, answer: Option<T>, right: &T) {
        if answer.is_some_and(|a| a != *right) {
            self.findings.push("content: a wrong answer".into());
        }
    }
}

/// One pool and its processes, seen from outside.
pub struct Scene {
    pub name: String,
    keeper: Program,
    submitter: Program,
    pub image: Image,
    said: NamedTempFile,
}

impl Scene {
    pub fn new() -> Scene {
        let name = unique("damage");
        let said = NamedTempFile::new().expect("a temporary file");
        let start = |role| Program::from_command(quiet(said.as_file()), role, &[&name]);
        let keeper = start("keeper");
        keeper.expect("made");
        let submitter = start("submitter");
        assert_eq!(answer(&submitter), "ready");
        let image = Image::of(&name);
        Scene { name, keeper, submitter, image, said }
    }

    /// Has the submitter work, does the damage meanwhile, and gives what the submitter found.
    pub fn trial(&mut self, all: bool, delay: Duration, damage: impl FnOnce(&Image)) -> String {
        self.submitter.tell(if all { "all" } else { "some" });
        let start = Instant::now();
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        damage(&self.image);
        let submitter = &self.submitter;
        let hang = || format!("hang: the submitter says nothing\n{}", stacks(submitter.pid()));
        quietly(|| answer(submitter)).unwrap_or_else(|_| hang())
    }

    /// Lets everybody go. What is wrong then: who crashed, who hangs, what is left.
    pub fn end(mut self) -> Vec<String> {
        let mut found = Vec::new();
        for (who, program) in [("submitter", &mut self.submitter), ("keeper", &mut self.keeper)] {
            match quietly(|| program.end_within(END)) {
                Err(_) => found.push(format!("hang: the {who} does not end\n{}", stacks(program.pid()))),
                Ok(status) if !status.success() => found.push(format!("crash: the {who} ended with {status}")),
                Ok(_) => {}
            }
        }
        let said = std::fs::read_to_string(self.said.path()).unwrap_or_default();
        let bad = ["panicked at", "AddressSanitizer", "signal 11", "signal 6 ", "signal 7 ", "signal 4 ", "code 101"];
        for line in said.lines().filter(|line| bad.iter().any(|b| line.contains(b))) {
            found.push(format!("crash: {line}"));
        }
        if pool_file(&self.name).exists() {
            let _ = std::fs::remove_file(pool_file(&self.name));
            if found.is_empty() {
                found.push("left: the pool's file".into());
            }
        }
        found
    }
}

/// What a submitter says when it has done its work.
fn answer(submitter: &Program) -> String {
    loop {
        let line = submitter.line();
        if line != WORKS {
            return line;
        }
    }
}

/// What `it` gives, or its panic.
pub fn quietly<T>(it: impl FnOnce() -> T) -> std::thread::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(it))
}

/// This program, complaining into a file.
pub fn quiet(to: &File) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.stderr(Stdio::from(to.try_clone().expect("another descriptor")));
    command
}

/// Where the threads of a process stand, for a report.
pub fn stacks(pid: u32) -> String {
    let mut command = Command::new("timeout");
    command.args(["20", "gdb", "-p", &pid.to_string(), "-batch", "-nx", "-ex", "thread apply all bt 14"]);
    let output = command.stdin(Stdio::null()).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}
