//! The processes around a victim: who keeps the pool, who works, who looks on.

use crate::KILL_LIMIT;
use crate::board::{CELLS, GATE, Note, PLACE, Place, clear, note, noted};
use crate::operations::{BLOCK, FAILS, echo, hold, mark};
use crate::oracle::{self, Before, OWN};
use crate::process_support::common::{Board, SOON, wait_until};
use crate::process_support::{
    Program, Role, children_of, command_line, fd_count, hear, kill, say, shm_entries, signal, unique,
};
use crate::trace::{self, At, Survey};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, Stage, StartMethod, inspect};

pub const ROLES: [Role; 4] = [("keeper", keeper), ("worker", worker), ("submitter", submitter), ("tracer", tracer)];

const CAPACITY: usize = 8;

/// Owns the pool.
fn keeper(args: &[String]) {
    let method = if args[1] == "0" { StartMethod::None } else { StartMethod::Spawn };
    let builder = Executor::builder().capacity(CAPACITY).payload_max(16 << 20).start(method);
    let builder = if args[1] == "0" { builder } else { builder.workers(1) };
    let pool = builder.create_named(&args[0]).expect("a pool");
    say("made");
    while let Some(order) = hear() {
        assert_eq!(order, "count");
        say(&fd_count().to_string());
    }
    drop(pool);
}

fn worker(args: &[String]) {
    say("works");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// Submits what nobody will collect, and waits to be killed.
fn submitter(args: &[String]) {
    let [pool, board] = args else { panic!("{args:?}") };
    PLACE.get_or_init(|| Place { pool: pool.clone(), board: board.clone() });
    let pool = Executor::attach(pool).expect("attached");
    for id in 20..24 {
        let len = if id % 2 == 0 { 1 } else { BLOCK };
        std::mem::forget(pool.submit(echo, (board.clone(), id, vec![id as u8; len])).expect("submitted"));
        note(id, Note::Accepted);
    }
    say("submitted");
    hear();
}

/// Forks victims, and kills them.
fn tracer(args: &[String]) {
    let [pool, board, operation, context] = args else { panic!("{args:?}") };
    PLACE.get_or_init(|| Place { pool: pool.clone(), board: board.clone() });
    trace::pin(0);
    trace::adopt_orphans();
    say("ready");
    while let Some(order) = hear() {
        if order == "survey" {
            let found = trace::survey(operation, context, pool);
            let list = |all: &[u64]| all.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            say(&found.steps.to_string());
            say(&list(&found.changes));
            say(&list(&found.calls));
            continue;
        }
        let (how, n) = order.split_once(' ').expect("how and where");
        let n = n.parse().expect("a number of instructions");
        let at = if how == "inside" { At::Inside(n) } else { At::Step(n) };
        let (steps, over) = trace::kill_at(operation, context, at);
        say(&format!("{steps} {}", u64::from(over)));
    }
}

/// What the row needs beside victim and pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The victim submits; the keeper has a worker.
    Submitter,
    /// The victim works; a spare worker is stopped meanwhile.
    Worker,
    /// The victim recovers what another one left; keeper and spare worker are stopped meanwhile.
    Recovery,
}

pub struct Scene {
    name: String,
    context: String,
    kind: Kind,
    creates: bool,
    board: Board,
    keeper: Program,
    spare: Option<Program>,
    tracer: Program,
    pool: Executor,
    before: Before,
    fds: Vec<u64>,
    /// The survivor's tasks that are under way while the victim dies.
    tasks: Vec<(u64, Future<Vec<u8>>)>,
    held: Vec<Future<u64>>,
    /// Victims that died after their window's end.
    pub over: u64,
}

impl Scene {
    pub fn new(operation: &str, context: &str) -> Scene {
        let kind = match operation {
            "worker" => Kind::Worker,
            "recover" => Kind::Recovery,
            _ => Kind::Submitter,
        };
        let name = unique("kill");
        let keeper = Program::start("keeper", &[&name, if kind == Kind::Submitter { "1" } else { "0" }]);
        keeper.expect("made");
        let board = Board::new(CELLS);
        let pool = Executor::attach(&name).expect("attached");
        let spare = (kind != Kind::Submitter).then(|| Program::start("worker", &[&name]));
        wait_until(SOON, || pool.workers() == 1);
        let tracer = Program::start("tracer", &[&name, &board.name(), operation, context]);
        tracer.expect("ready");
        let mut scene = Scene {
            before: Before::of(&name),
            context: context.to_owned(),
            kind,
            creates: operation == "create",
            board,
            keeper,
            spare,
            tracer,
            pool,
            name,
            fds: Vec::new(),
            tasks: Vec::new(),
            held: Vec::new(),
            over: 0,
        };
        // Warm: what is opened once is open.
        let found = scene.after("the beginning");
        assert!(found.is_empty(), "{found:?}");
        scene.fds = scene.count_fds();
        scene
    }

    /// The keeper's descriptors, once it has seen who came and who went: it looks again every ten milliseconds.
    fn count_fds(&mut self) -> Vec<u64> {
        let mut seen = Vec::new();
        loop {
            self.keeper.tell("count");
            seen.push(self.keeper.numbers());
            let last = seen.len() - 1;
            if last >= 5 && seen[last - 5..].iter().all(|fds| *fds == seen[last]) {
                return seen.swap_remove(last);
            }
            assert!(last < 500, "the keeper's descriptors come and go: {seen:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn survey(&mut self) -> Survey {
        self.set_up();
        self.tracer.tell("survey");
        let numbers = || self.tracer.numbers_within(8 * KILL_LIMIT);
        let (steps, changes, calls) = (numbers()[0], numbers(), numbers());
        Survey { steps, changes, calls }
    }

    /// One victim's life, and what is wrong after it.
    pub fn kill(&mut self, at: At) -> Vec<String> {
        self.set_up();
        let order = match at {
            At::Step(n) => format!("step {n}"),
            At::Inside(n) => format!("inside {n}"),
        };
        let busy = self.context == "busy pool";
        let stop = AtomicBool::new(false);
        let (pool, board, tracer) = (&self.pool, self.board.name(), &mut self.tracer);
        std::thread::scope(|scope| {
            if busy {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        let task = pool.submit(echo, (board.clone(), OWN + 20, vec![(OWN + 20) as u8]));
                        let _ = task.expect("submitted").result();
                    }
                });
            }
            tracer.tell(&order);
            self.over += tracer.numbers_within(KILL_LIMIT)[1];
            stop.store(true, SeqCst);
        });
        self.after(&format!("{at:?}"))
    }

    fn set_up(&mut self) {
        clear(&self.board);
        if self.kind == Kind::Submitter {
            return;
        }
        let spare = self.spare.as_ref().expect("there is one").pid();
        if self.kind == Kind::Worker {
            stop(spare);
            let (answer, len) = match &*self.context {
                "error" => (FAILS, 1),
                "large result" => (BLOCK as u64, 1),
                "large arguments" => (1, BLOCK),
                _ => (1, 1),
            };
            for id in OWN + 16..OWN + 18 {
                let task = self.pool.submit(mark, (self.board.name(), id, answer, vec![0; len])).expect("submitted");
                self.tasks.push((id, task));
            }
            return;
        }
        self.leave_something_dead();
        stop(spare);
    }

    /// Somebody dies, and nobody looks.
    fn leave_something_dead(&mut self) {
        let id = OWN + 18;
        let spare = self.spare.as_ref().expect("there is one").pid();
        if self.context == "worker running" {
            stop(spare);
            let mut worker = Program::start("worker", &[&self.name]);
            worker.expect("works");
            let task = self.pool.submit(hold, (self.board.name(), id)).expect("submitted");
            wait_until(SOON, || noted(&self.board, id as usize, Note::Entered) == 1);
            self.held.push(task);
            stop(self.keeper.pid());
            worker.kill();
        } else {
            stop(spare);
            let mut submitter = Program::start("submitter", &[&self.name, &self.board.name()]);
            submitter.expect("submitted");
            stop(self.keeper.pid());
            submitter.kill();
        }
    }

    /// What is wrong now that the victim is dead.
    pub fn after(&mut self, at: &str) -> Vec<String> {
        signal(self.keeper.pid(), libc::SIGCONT);
        if let Some(spare) = &self.spare {
            signal(spare.pid(), libc::SIGCONT);
        }
        let mut found = Vec::new();
        for (id, task) in self.tasks.drain(..) {
            let result = task.result_timeout(2 * oracle::LIMIT);
            let runs = noted(&self.board, id as usize, Note::Entered);
            if let Some(what) = wrong_verdict(&self.context, id, &result, runs) {
                found.push(what);
            }
        }
        for task in self.held.drain(..) {
            let result = task.result_timeout(2 * oracle::LIMIT);
            if !matches!(result, Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. })) {
                found.push(format!("the task of the dead worker gave {result:?}"));
            }
        }
        if self.creates {
            found.extend(self.second_pool());
        }
        found.extend(oracle::check(&self.pool, &self.name, &self.board, &self.before));
        found.into_iter().map(|what| format!("{at}: {what}")).collect()
    }

    /// The victim made a pool, or began to: its name is free, its workers end, and nothing of it stays.
    fn second_pool(&self) -> Vec<String> {
        let mut found = Vec::new();
        let name = format!("{}-second", self.name);
        match Executor::builder().start(StartMethod::None).capacity(CAPACITY).payload_max(1 << 20).create_named(&name) {
            Ok(pool) => drop(pool),
            Err(e) => found.push(format!("a pool in the place of the dead one's: {e}")),
        }
        let files = shm_entries(&name);
        let temporaries = shm_entries("taskring-new");
        if !files.is_empty() || !temporaries.is_empty() {
            found.push(format!("left behind: {files:?} {temporaries:?}"));
        }
        let start = Instant::now();
        // The victim's workers are the tracer's children now. Theirs is a pool without a name and an owner.
        let living = |pid: &u32| !command_line(*pid).is_empty();
        while children_of(self.tracer.pid()).iter().any(living) {
            if start.elapsed() > 2 * oracle::LIMIT {
                found.push("a worker of the dead owner goes on".into());
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        found
    }

    /// Nothing was left behind by all of them together.
    pub fn end(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let fds = self.count_fds();
        if fds != self.fds {
            found.push(format!("the keeper has {fds:?} descriptors instead of {:?}", self.fds));
        }
        let files = shm_entries(&self.name);
        if files.len() != 1 {
            found.push(format!("files: {files:?}"));
        }
        self.tracer.end();
        self.keeper.let_go();
        let status = self.keeper.end_within(KILL_LIMIT);
        if !status.success() || inspect(&self.name).is_ok() {
            found.push(format!("the keeper ended with {status}"));
        }
        found
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Stopped ones would not notice.
        signal(self.keeper.pid(), libc::SIGCONT);
        if let Some(spare) = &self.spare {
            kill(spare.pid());
        }
        let _ = self.board[GATE].swap(1, SeqCst);
    }
}

/// Stops a process, and waits until it is.
fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    wait_until(Duration::from_secs(5), stopped);
}

/// A task that the victim, or another worker after it, has run.
fn wrong_verdict(context: &str, id: u64, result: &Result<Vec<u8>, Error>, runs: u64) -> Option<String> {
    let good = match result {
        Ok(bytes) => {
            let len = if context == "large result" { BLOCK } else { 1 };
            runs == 1 && context != "error" && *bytes == vec![id as u8; len]
        }
        Err(Error::TaskFailed { .. }) => runs == 1 && context == "error",
        Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => runs <= 1,
        Err(Error::WorkerLost { stage: Stage::RanResultLost, .. }) => runs == 1,
        Err(_) => false,
    };
    (!good).then(|| format!("task {id} gave {result:?} after {runs} runs"))
}
