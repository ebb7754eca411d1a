//! A soak: submitters in Rust and through the C interface, workers that were spawned, forked, threads or came by themselves, tasks that
//! exit, abort, overflow, panic, fork and close all descriptors, and a nemesis that kills, stops, continues and starves any of the
//! processes, the pool's owner among them. Every process writes a journal; a checker follows them and tells whether each task that was
//! accepted ran at most once and has one verdict.
//!
//! There are two pools: one whose owner is killed now and then, and comes back with workers started in another way; and one whose owner is spared,
//! to see whether anything grows in it while everybody around it dies. Their options are drawn at random, by the seed and the number of the owner. Submitters
//! make pools of their own besides, with such options, and end them in every way. How a submitter hears of its tasks' ends is drawn as well: by results,
//! callbacks, `.await`, queues, waits, maps; and tasks submit to their own pool in their turn. `features.rs` lists all that is drawn.
//!
//! ```sh
//! cargo run --release --example chaos -- --minutes 5
//! ```
//! The last line is `tasks: <n> kills: <k> violations: <v> leaked: <l>`; the exit status is 0 when the last two are 0 and, in an optimised run of
//! minutes at the usual pace, the first two are no less than is demanded of each minute, and every deed was done; in any run of a minute or more every
//! feature must have been drawn.

mod check;
mod deeds;
mod features;
mod journal;
mod leftovers;
mod maps;
mod nemesis;
mod nested;
mod options;
mod owner;
mod private;
mod several;
mod styles;
mod submit;
mod verdicts;
mod watch;
mod ways;
mod ways_in_c;
mod work_in_c;

use check::Checker;
use clap::Parser;
use deeds::Random;
use features::{BY_STAND_IN, FEATURES};
use journal::DEEDS;
use leftovers::{describe_file, left, processes, what_is_held};
use nemesis::{Nemesis, Victim, files_of, pool_file};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use submit::Submitter;
use verdicts::{MORTAL, SPARED, pool_name};
use watch::Watch;

/// Kills whatever takes part in a pool, and counts the consequences.
#[derive(Parser)]
struct Args {
    /// How long, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Between two deeds of the nemesis, in milliseconds, on the average.
    #[arg(long, default_value_t = PACE)]
    pace: u64,
    /// Repeats the nemesis' choices. Printed at the start.
    #[arg(long)]
    seed: Option<u64>,
}

const PACE: u64 = 80;
/// Kills and tasks that each minute of an optimised run at that pace must have seen; in a long one the pools' starts and ends count for less.
const A_MINUTE: (u64, u64) = (150, 100_000);
const A_MINUTE_OF_LONG: (u64, u64) = (10_000 / LONG, 10_000_000 / LONG);
const LONG: u64 = 30;
/// What a process of the soak is.
const ROLE: &str = "TASKRING_CHAOS_ROLE";
/// Those who are killed and replaced, beside the owners and their workers. A submitter's number and seed are added.
const OTHERS: [&str; 4] = ["rust", "c", "spared", "worker"];
/// How long everybody may take to come to an end.
const END: Duration = Duration::from_secs(90);
/// How long a task rests before it is judged: longer than what a dead submitter has left may take to run.
const REST: Duration = Duration::from_secs(30);
/// A soak of so many minutes has drawn every feature.
const ALL_DRAWN: f64 = 1.0;
const FOLLOW: Duration = Duration::from_secs(2);
const REPORT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    taskring::init();
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let seed = args.seed.unwrap_or(clock ^ u64::from(std::process::id()) << 20);
    println!("seed {seed}");
    let dir = tempfile::tempdir().expect("a folder");
    let mut soak = Soak::start(dir.path(), seed);
    let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    while Instant::now() < end {
        let pause = soak.nemesis.random.below(2 * args.pace.max(1));
        std::thread::sleep(Duration::from_millis(pause));
        soak.strike();
        soak.nemesis.relieve(false);
        soak.revive();
        soak.follow();
    }
    let leaked = soak.end();
    let demanding = cfg!(not(debug_assertions)) && args.pace == PACE;
    soak.report(&leaked, if demanding { args.minutes as u64 } else { 0 }, args.minutes >= ALL_DRAWN)
}

fn play(role: &str) {
    let dir = journal::dir();
    let words: Vec<&str> = role.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let submitter = |next| Submitter::new(&dir, Random::of(number(2), 0), next);
    let submit = |in_c| submitter(number(1) << 32).submit(in_c);
    match words[0] {
        "owner" => owner::own(&dir, words[1], number(2)).expect("owned to the end"),
        "worker" => owner::work(&dir, number(2)),
        "leave" => private::leave(&mut submitter(0), number(1), number(3) == 1),
        "rust" => submit(Some(false)),
        "c" => submit(Some(true)),
        "spared" => {
            // The first panic of a thread of its own reads the symbols, which stay: so that it does not look like a leak, they are read now.
            drop(std::backtrace::Backtrace::force_capture().to_string());
            submit(None);
        }
        other => panic!("no role {other:?}"),
    }
}

/// The processes of the soak, and what was done to them.
struct Soak {
    dir: PathBuf,
    seed: u64,
    nemesis: Nemesis,
    checker: Checker,
    watch: Watch,
    generation: u64,
    owner: Child,
    spared_owner: Child,
    others: Vec<(String, Child)>,
    submitters: u64,
    /// Ends that nothing explains.
    unexplained: Vec<String>,
    begun: Instant,
    followed: Instant,
    reported: Instant,
}

fn start(dir: &Path, role: &str) -> Child {
    let mut command = Command::new("/proc/self/exe");
    let cpus: Vec<String> = options::cpus().iter().map(usize::to_string).collect();
    command.env(ROLE, role).env(journal::DIR, dir).env(options::CPUS, cpus.join(" ")).stdin(Stdio::null());
    // Without memory the standard library's backtrace fails to allocate, reports that, and waits for the lock that it holds.
    command.env("RUST_BACKTRACE", "0");
    if role.starts_with("spared") {
        // Whose memory is watched. Its allocator is to keep little: no heaps of threads that have ended, and nothing large.
        command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_MMAP_THRESHOLD_", "131072");
    }
    command.spawn().expect("a process")
}

impl Soak {
    fn start(dir: &Path, seed: u64) -> Soak {
        let nemesis = Nemesis::new(seed);
        let (owner, spared_owner) = (new_owner(dir, MORTAL, seed, 1), new_owner(dir, SPARED, seed, 0));
        let now = Instant::now();
        let mut soak = Soak {
            dir: dir.to_owned(),
            seed,
            nemesis,
            checker: Checker::new(dir, REST),
            watch: Watch::default(),
            generation: 1,
            owner,
            spared_owner,
            others: Vec::new(),
            submitters: 0,
            unexplained: Vec::new(),
            begun: now,
            followed: now,
            reported: now,
        };
        OTHERS.iter().for_each(|kind| soak.add(kind));
        soak
    }

    fn add(&mut self, kind: &str) {
        self.submitters += 1;
        let role = format!("{kind} {} {}", self.submitters, Random::of(self.seed, self.submitters).below(u64::MAX));
        let child = start(&self.dir, &role);
        self.others.push((role, child));
    }

    /// Strikes somebody: an owner, one of the owners' workers or of the attached, a submitter.
    fn strike(&mut self) {
        let random = &mut self.nemesis.random;
        let of_pool = |name: &str| {
            let view = taskring::inspect(name);
            let all = view.iter().flat_map(|v| &v.participants).filter(|p| p.role == "worker").map(|p| p.pid);
            all.collect::<Vec<u32>>()
        };
        let victim = match random.below(40) {
            0 => Victim { pid: self.owner.id(), is_spared: false },
            1 => Victim { pid: self.spared_owner.id(), is_spared: true },
            choice @ 2..20 => {
                let (role, child) = &self.others[choice as usize % self.others.len()];
                Victim { pid: child.id(), is_spared: role.starts_with("spared") }
            }
            choice => {
                let workers = of_pool(&pool_name(&self.dir, if choice % 2 == 0 { MORTAL } else { SPARED }));
                let Some(chosen) = workers.get(random.below(workers.len().max(1) as u64) as usize) else { return };
                Victim { pid: *chosen, is_spared: false }
            }
        };
        self.nemesis.strike(&victim);
    }

    /// Puts others in the place of those who are gone.
    fn revive(&mut self) {
        let mut gone = Vec::new();
        self.others.retain_mut(|(role, child)| {
            let ended = child.try_wait().expect("a child");
            gone.extend(ended.map(|status| (role.clone(), child.id(), status)));
            ended.is_none()
        });
        for (role, pid, status) in gone {
            self.checker.submitter_ended(number_of(&role), false);
            // A worker's tasks may end it.
            if !self.nemesis.doomed.remove(&pid) && !role.starts_with("worker") {
                self.unexplained.push(format!("{role} ended with {status}"));
            }
            self.add(role.split(' ').next().unwrap_or_default());
        }
        if let Some(status) = self.owner.try_wait().expect("a child") {
            if !self.nemesis.doomed.remove(&self.owner.id()) {
                self.unexplained.push(format!("owner {} ended with {status}", self.generation));
            }
            self.generation += 1;
            self.owner = new_owner(&self.dir, MORTAL, self.seed, self.generation);
        }
    }

    /// Lets the checker go on, and looks at memory, now and then.
    fn follow(&mut self) {
        if self.followed.elapsed() < FOLLOW {
            return;
        }
        self.followed = Instant::now();
        self.checker.follow();
        self.watch.process("the soak itself", std::process::id());
        self.watch.process("the spared owner", self.spared_owner.id());
        if let Some((_, child)) = self.others.iter().find(|(role, _)| role.starts_with("spared")) {
            self.watch.process("the spared submitter", child.id());
        }
        self.watch.file("the spared pool's file", &pool_file(&pool_name(&self.dir, SPARED)));
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            let (minute, found) = (self.begun.elapsed().as_secs() / 60, &self.checker.found);
            println!(
                "minute {minute}: {} tasks judged, {} kills, {} violations; {}",
                found.tasks,
                self.nemesis.count.kills,
                found.violations,
                self.watch.line()
            );
        }
    }

    /// Everybody comes to an end by himself. What is left of whom or what?
    fn end(&mut self) -> Vec<String> {
        self.nemesis.relieve(true);
        let mut leaked = self.watch.judge();
        // The submitters first, with the pools as they are, then the others.
        self.revive();
        std::fs::write(self.dir.join("stop"), "").expect("a mark");
        for (role, child) in self.others.iter_mut().filter(|(role, _)| !role.starts_with("worker")) {
            let ended = wait(child);
            self.checker.submitter_ended(number_of(role), ended.is_some_and(|status| status.success()));
            match ended {
                Some(status) if status.success() => {}
                // What the nemesis did last may be seen only now.
                Some(_) if self.nemesis.doomed.contains(&child.id()) => {}
                Some(status) => leaked.push(format!("{role} ended with {status}")),
                None => leaked.push(format!("{role} does not end")),
            }
        }
        // In a pool whose owner was killed at the last moment nobody may be left to clear up after it.
        let is_gone = self.owner.try_wait().expect("a child").is_some() && self.nemesis.doomed.contains(&self.owner.id());
        for sort in [MORTAL, SPARED].into_iter().filter(|sort| *sort == SPARED || !is_gone) {
            leaked.extend(what_is_held(&pool_name(&self.dir, sort)));
        }
        std::fs::write(self.dir.join("stop owner"), "").expect("a mark");
        for (sort, owner) in [(MORTAL, &mut self.owner), (SPARED, &mut self.spared_owner)] {
            match wait(owner) {
                Some(status) if status.success() => {}
                Some(_) if self.nemesis.doomed.contains(&owner.id()) => remove_later(pool_name(&self.dir, sort)),
                Some(status) => leaked.push(format!("the owner of {sort} ended with {status}")),
                None => leaked.push(format!("the owner of {sort} does not end")),
            }
        }
        for (_, child) in self.others.iter_mut().filter(|(role, _)| role.starts_with("worker")) {
            // How is no matter: a task may have ended it.
            if wait(child).is_none() {
                leaked.push("a worker does not end".into());
            }
        }
        leaked.extend(left(|| files_of(&prefix()).iter().map(|path| describe_file(path)).collect()));
        leaked.extend(left(|| processes(&self.dir)));
        leaked
    }

    /// `minutes`: for which the soak must have done what is demanded. `all_drawn`: whether it must have drawn everything.
    fn report(mut self, leaked: &[String], minutes: u64, all_drawn: bool) -> ExitCode {
        let found = self.checker.finish();
        self.unexplained.iter().for_each(|what| println!("VIOLATION {what}"));
        leaked.iter().for_each(|what| println!("LEAKED {what}"));
        let count = &self.nemesis.count;
        println!(
            "kills with process_mrelease: {} of stopped processes: {} stops: {} without descriptors: {} without memory: {} /dev/shm full: {} owners: {}",
            count.released, count.killed_while_stopped, count.stops, count.fds, count.memory, count.shm, self.generation
        );
        println!(
            "verdicts: {} lost with a worker: {} run again: {} unknown with an owner: {}",
            found.verdicts, found.lost, found.again, found.unknown
        );
        let deeds: Vec<String> = DEEDS.iter().zip(found.deeds).map(|(deed, n)| format!("{deed} {n}")).collect();
        println!("deeds of tasks: {}", deeds.join(", "));
        let features: Vec<String> = FEATURES.iter().zip(found.features).map(|(what, n)| format!("{what} {n}")).collect();
        println!("features drawn: {}", features.join(", "));
        let mut enough = found.tasks > 0;
        if all_drawn {
            // Whether somebody stands in for another is not for the soak to draw.
            let undrawn = FEATURES.iter().zip(found.features).filter(|(what, count)| *count == 0 && **what != BY_STAND_IN);
            for (what, _) in undrawn {
                println!("MISSED {what}: never drawn");
                enough = false;
            }
        }
        let (kills_each, tasks_each) = if minutes >= LONG { A_MINUTE_OF_LONG } else { A_MINUTE };
        let mut demands = vec![("kills", count.kills, kills_each), ("tasks", found.tasks, tasks_each)];
        let mut own = vec![
            ("stops", count.stops),
            ("process_mrelease", count.released),
            ("kills of stopped", count.killed_while_stopped),
        ];
        own.extend([("without descriptors", count.fds), ("without memory", count.memory), ("run again", found.again)]);
        own.extend(self.nemesis.has_own_shm.then_some(("/dev/shm full", count.shm)));
        demands.extend(own.into_iter().chain(DEEDS.into_iter().zip(found.deeds)).map(|(what, done)| (what, done, 1)));
        for (what, done, each) in demands {
            if done < minutes * each {
                println!("MISSED {what}: {done} instead of {} in {minutes} minutes", minutes * each);
                enough = false;
            }
        }
        let violations = found.violations + self.unexplained.len() as u64;
        println!("tasks: {} kills: {} violations: {violations} leaked: {}", found.tasks, count.kills, leaked.len());
        if violations == 0 && leaked.is_empty() && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn number_of(role: &str) -> u64 {
    role.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn prefix() -> String {
    format!("taskring.chaos-{}-", std::process::id())
}

/// Makes a pool under a new name, and lets everybody know it. What it is told is drawn by the seed and the generation, whatever the nemesis does; how its
/// workers start goes around. Those of the spared one are processes, for the nemesis to kill.
fn new_owner(dir: &Path, sort: &str, seed: u64, generation: u64) -> Child {
    let mut random = Random::of(!seed, generation);
    let method = if sort == SPARED { seed % 3 } else { seed.wrapping_add(generation) };
    let code = options::code(&mut random, method);
    let name = format!("chaos-{}-{}-{generation}-{code}", std::process::id(), sort.trim_start_matches("pool."));
    let earlier = pool_name(dir, sort);
    std::fs::write(dir.join("pool.new"), &name).expect("written");
    std::fs::rename(dir.join("pool.new"), dir.join(sort)).expect("renamed");
    let mut owner = start(dir, &format!("owner {name} {}", random.below(u64::MAX)));
    let begun = Instant::now();
    while !dir.join(format!("made.{name}")).exists() && begun.elapsed() < Duration::from_secs(20) {
        if owner.try_wait().expect("a child").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if !earlier.is_empty() {
        remove_later(earlier);
    }
    owner
}

/// A pool that lost its owner goes on while there is work, and its file stays for who comes after: here nobody does.
fn remove_later(name: String) {
    let _ = std::thread::spawn(move || {
        let begun = Instant::now();
        while taskring::remove_dead(&name).is_err() && begun.elapsed() < END {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

/// How it ended; `None` when it did not in time, and was killed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < END {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
