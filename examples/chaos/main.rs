//! A soak: submitters and workers of all kinds, tasks that exit, abort, overflow, fork and close all descriptors, and a nemesis that kills, stops
//! and continues any of the processes, the pool's owner among them. Every process writes a journal; at the end a checker reads them and tells
//! whether each task that was accepted ran at most once and has one verdict.
//!
//! ```sh
//! cargo run --release --example chaos -- --minutes 5
//! ```
//! The last line is `tasks: <n> kills: <k> violations: <v> leaked: <l>`; the exit status is 0 when the last two are 0.

mod check;
mod journal;
mod work;

use clap::Parser;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};
use work::Random;

/// Kills whatever takes part in a pool, and counts the consequences.
#[derive(Parser)]
struct Args {
    /// How long, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Between two deeds of the nemesis, in milliseconds, on the average.
    #[arg(long, default_value_t = 150)]
    pace: u64,
    /// Repeats the nemesis' choices. Printed at the start.
    #[arg(long)]
    seed: Option<u64>,
    /// Leaves the pool's owner alone.
    #[arg(long)]
    spare_owner: bool,
}

/// What a process of the soak is.
const ROLE: &str = "TASKRING_CHAOS_ROLE";
const SUBMITTERS: usize = 2;
const WORKERS: usize = 1;
/// How long everybody may take to come to an end.
const END: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    taskring::init();
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let seed =
        args.seed.unwrap_or_else(|| Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1);
    println!("seed {seed}");
    let dir = tempfile::tempdir().expect("a folder");
    let mut soak = Soak::start(dir.path(), seed);
    let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    while Instant::now() < end {
        let pause = soak.random.below(2 * args.pace.max(1));
        std::thread::sleep(Duration::from_millis(pause));
        soak.strike(!args.spare_owner);
        soak.revive();
    }
    let leaked = soak.end();
    let found = check::check(dir.path(), &soak.ended_well);
    found.violations.iter().for_each(|what| println!("VIOLATION {what}"));
    leaked.iter().for_each(|what| println!("LEAKED {what}"));
    println!(
        "verdicts: {} lost with a worker: {} unknown with an owner: {} stops: {} owners: {}",
        found.verdicts, found.lost, found.unknown, soak.stops, soak.generation
    );
    println!("tasks: {} kills: {} violations: {} leaked: {}", found.tasks, soak.kills, found.violations.len(), leaked.len());
    if found.violations.is_empty() && leaked.is_empty() && found.tasks > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(role: &str) {
    let dir = journal::dir();
    let mut words = role.split(' ');
    let kind = words.next();
    let mut number = || words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    match kind {
        Some("owner") => work::own(&dir, &work::pool_name(&dir)).expect("owned to the end"),
        Some("worker") => work::work(&dir),
        _ => work::submit(&dir, number(), number()),
    }
}

/// The processes of the soak, and what was done to them.
struct Soak {
    dir: PathBuf,
    random: Random,
    generation: u64,
    owner: Child,
    others: Vec<(String, Child)>,
    /// Stopped processes, and when they go on.
    stopped: HashMap<u32, Instant>,
    submitters: u64,
    kills: u64,
    stops: u64,
    ended_well: Vec<u64>,
}

fn start(dir: &Path, role: &str) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).env(journal::DIR, dir).stderr(std::process::Stdio::inherit());
    command.spawn().expect("a process")
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: the call takes two integers; the pid is that of a child, or of a worker that the pool has just named.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

impl Soak {
    fn start(dir: &Path, seed: u64) -> Soak {
        let owner = new_owner(dir, 1);
        let mut soak = Soak {
            dir: dir.to_owned(),
            random: Random(seed | 1),
            generation: 1,
            owner,
            others: Vec::new(),
            stopped: HashMap::new(),
            submitters: 0,
            kills: 0,
            stops: 0,
            ended_well: Vec::new(),
        };
        for _ in 0..SUBMITTERS {
            soak.new_submitter();
        }
        for _ in 0..WORKERS {
            soak.others.push(("worker".into(), start(dir, "worker")));
        }
        soak
    }

    fn new_submitter(&mut self) {
        self.submitters += 1;
        let role = format!("submitter {} {}", self.submitters, self.random.below(u64::MAX));
        self.others.push((role.clone(), start(&self.dir, &role)));
    }

    /// Somebody who takes part: the owner's workers, the attached ones, the submitters; now and then the owner.
    fn victim(&mut self, owner_too: bool) -> u32 {
        let others = self.others.len() as u64;
        match self.random.below(40) {
            0 if owner_too => self.owner.id(),
            choice if choice < 20 => self.others[(choice % others) as usize].1.id(),
            choice => {
                let view = taskring::inspect(&work::pool_name(&self.dir));
                let workers: Vec<u32> =
                    view.iter().flat_map(|v| &v.participants).filter(|p| p.role == "worker").map(|p| p.pid).collect();
                if workers.is_empty() { self.others[0].1.id() } else { workers[choice as usize % workers.len()] }
            }
        }
    }

    /// One deed of the nemesis.
    fn strike(&mut self, owner_too: bool) {
        let pid = self.victim(owner_too);
        if self.random.below(4) == 0 {
            signal(pid, libc::SIGSTOP);
            let pause = Duration::from_millis(self.random.below(400));
            self.stopped.insert(pid, Instant::now() + pause);
            self.stops += 1;
        } else {
            signal(pid, libc::SIGKILL);
            self.kills += 1;
        }
        let now = Instant::now();
        self.stopped.retain(|&pid, &mut until| {
            if now >= until {
                signal(pid, libc::SIGCONT);
            }
            now < until
        });
    }

    /// Puts others in the place of those who are gone.
    fn revive(&mut self) {
        let mut gone = Vec::new();
        self.others.retain_mut(|(role, child)| {
            let ended = child.try_wait().expect("a child").is_some();
            if ended {
                gone.push(role.clone());
            }
            !ended
        });
        for role in gone {
            if role == "worker" {
                self.others.push((role, start(&self.dir, "worker")));
            } else {
                self.new_submitter();
            }
        }
        if self.owner.try_wait().expect("a child").is_some() {
            self.generation += 1;
            self.owner = new_owner(&self.dir, self.generation);
        }
    }

    /// Everybody comes to an end by himself. What is left of whom or what?
    fn end(&mut self) -> Vec<String> {
        for (pid, _) in self.stopped.drain() {
            signal(pid, libc::SIGCONT);
        }
        self.revive();
        // The submitters first, with the pool as it is, then the others.
        std::fs::write(self.dir.join("stop"), "").expect("a mark");
        let mut leaked = Vec::new();
        for (role, child) in &mut self.others {
            if role != "worker" {
                let number = role.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                match wait(child) {
                    Some(true) => self.ended_well.push(number),
                    Some(false) => leaked.push(format!("{role} ended badly")),
                    None => leaked.push(format!("{role} does not end")),
                }
            }
        }
        let name = work::pool_name(&self.dir);
        leaked.extend(what_is_held(&name));
        std::fs::write(self.dir.join("stop owner"), "").expect("a mark");
        if wait(&mut self.owner) != Some(true) {
            leaked.push("the owner does not end well".into());
        }
        for (role, child) in &mut self.others {
            if role == "worker" && wait(child) != Some(true) {
                leaked.push("a worker does not end well".into());
            }
        }
        leaked.extend(files(&name));
        leaked.extend(processes());
        leaked
    }
}

/// Makes a pool under a new name, and lets everybody know it.
fn new_owner(dir: &Path, generation: u64) -> Child {
    let name = format!("chaos-{}-{generation}", std::process::id());
    let earlier = work::pool_name(dir);
    std::fs::write(dir.join("pool.new"), &name).expect("written");
    std::fs::rename(dir.join("pool.new"), dir.join("pool")).expect("renamed");
    let owner = start(dir, "owner");
    let begun = Instant::now();
    while !dir.join(format!("made.{name}")).exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A pool that lost its owner goes on while there is work, and its file stays for who comes after: here nobody does.
    if !earlier.is_empty() {
        let _ = std::thread::spawn(move || {
            let begun = Instant::now();
            while taskring::remove_dead(&earlier).is_err() && begun.elapsed() < END {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
    }
    owner
}

/// Whether it ended well; `None` when it did not in time, and was killed.
fn wait(child: &mut Child) -> Option<bool> {
    let begun = Instant::now();
    while begun.elapsed() < END {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status.success());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// What nobody uses and is not free, with all submitters gone.
fn what_is_held(name: &str) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let view = match taskring::inspect(name) {
            Ok(view) => view,
            Err(e) => return vec![format!("the pool: {e}")],
        };
        let slots: usize = view.lanes.iter().flat_map(|lane| lane.slots).sum();
        let locks = view.lanes.iter().filter(|lane| lane.mutex_owner.is_some()).count() + view.held.len();
        let seats = view.participants.iter().filter(|p| p.role == "submitter" || !p.seated).count();
        if slots + view.blocks + locks + seats == 0 {
            return Vec::new();
        }
        if begun.elapsed() > Duration::from_secs(20) {
            return vec![format!("{slots} slots, {} blocks, {locks} locks, {seats} seats\n{view}", view.blocks)];
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn files(name: &str) -> Vec<String> {
    let prefix = format!("taskring.{}", name.rsplit_once('-').map_or(name, |(front, _)| front));
    let begun = Instant::now();
    loop {
        let all =
            std::fs::read_dir("/dev/shm").expect("/dev/shm").flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let ours: Vec<String> =
            all.filter(|file| file.starts_with(&prefix)).map(|file| format!("/dev/shm/{file}")).collect();
        if ours.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return ours;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes that began in this soak and go on after it.
fn processes() -> Vec<String> {
    let own = std::fs::read_link("/proc/self/exe").expect("this program");
    let begun = Instant::now();
    loop {
        let pids =
            std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let ours: Vec<String> = pids
            .filter(|&pid| {
                pid != std::process::id() && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own)
            })
            .map(|pid| format!("process {pid}"))
            .collect();
        if ours.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return ours;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
