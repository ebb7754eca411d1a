//! The processes around a victim: who keeps the pool, who works, who looks on.

use crate::KILL_LIMIT;
use crate::board::{CELLS, GATE, Note, clear, note_at, noted};
use crate::descriptors;
use crate::events::{of_both_attempts, sends, sends_and_holds, wrong_events};
use crate::kept;
use crate::operations::{BLOCK, FAILS, FAILS_ONCE, TOLD_LEN, echo, hold, mark, tells, waits};
use crate::oracle::{self, Before, OWN};
use crate::process_support::common::{Board, SOON, wait_until};
use crate::process_support::{
    Program, children_of, command_line, cpu_time_of, cpu_time_of_thread, kill, shm_entries, signal, unique,
};
use crate::roles::CAPACITY;
use crate::standing::{How, Standing};
use crate::trace::{At, Survey};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, Retry, Stage, StartMethod, SubmitOptions, inspect};

/// In place of a point: before the first victim.
const BEGINNING: &str = "the beginning";

/// Whether victims have a pool of their own.
pub fn makes_a_pool(operation: &str) -> bool {
    matches!(operation, "create" | "owner's shutdown" | "terminate" | "replace") || leaves_a_pool(operation)
}

/// Whether that one is still there when they are dead.
pub fn leaves_a_pool(operation: &str) -> bool {
    matches!(operation, "resize" | "pause")
}

/// What the row needs beside victim and pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The victim submits; the keeper has a worker.
    Submitter,
    /// The victim works; a spare worker is stopped meanwhile.
    Worker,
    /// The victim is a worker of the keeper's, see `kept.rs`.
    Kept,
    /// The victim recovers what another one left; keeper and spare worker are stopped meanwhile.
    Recovery,
}

pub struct Scene {
    name: String,
    context: String,
    kind: Kind,
    pub creates: bool,
    pub leaves: bool,
    board: Board,
    keeper: Program,
    spare: Option<Program>,
    other: Option<Program>,
    tracer: Program,
    pool: Executor,
    before: Before,
    fds: Vec<String>,
    /// The survivor's tasks that are under way while the victim dies.
    tasks: Vec<(u64, Future<Vec<u8>>)>,
    held: Vec<Future<u64>>,
    /// Victims that SIGKILL has ended in their window, and those that it ended after.
    pub kills: usize,
    pub over: usize,
    /// How long the shortest window was that one of them came to the end of.
    pub shortest: u64,
    last_victim: u32,
    /// Whom the victim is to find dead.
    dead: u32,
    /// After which instructions the segment changes.
    changes: Vec<u64>,
    /// Where victims have died: at which instruction, after how many changes.
    pub states: HashSet<(u64, usize)>,
    /// The time of the processor that threads beside a victim, and those whom victims found dead, have had.
    beside: Duration,
}

/// A victim at its point.
struct Victim {
    pid: u32,
    instruction: u64,
    steps: u64,
    /// It had come to its window's end.
    over: bool,
}

/// Submits and collects, beside the victim.
fn keep_busy(pool: &Executor, board: &Board, stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        let task = pool.submit(echo, (board.name(), OWN + 20, vec![(OWN + 20) as u8]));
        let _ = task.expect("submitted").result();
    }
}

/// Waits beside the victim. Of two tasks the second is pending until the spare worker goes on.
fn keep_waiting(task: &Future<Vec<u8>>, stop: &AtomicBool) {
    while !stop.load(SeqCst) && matches!(task.result_timeout(Duration::from_millis(50)), Err(Error::TimedOut { .. })) {}
}

/// Cancels a task that the victim may be about to claim.
fn cancel_beside((id, task): &(u64, Future<Vec<u8>>), board: &Board) {
    // At another moment in each run.
    static MOMENT: AtomicU64 = AtomicU64::new(0);
    let moment = Duration::from_micros(MOMENT.fetch_add(97, SeqCst) % 4000);
    std::thread::sleep(moment);
    if task.cancel() {
        note_at(&board.name(), *id, Note::Cancelled);
    }
}

impl Scene {
    pub fn new(operation: &str, context: &str, cpu: usize) -> Scene {
        let kind = match operation {
            "worker" => Kind::Worker,
            "recover" => Kind::Recovery,
            _ if kept::is_meant(operation) => Kind::Kept,
            _ => Kind::Submitter,
        };
        let name = unique("kill");
        let workers = match (kind, operation) {
            (Kind::Submitter, "submit_to" | "broadcast") => 2,
            (Kind::Submitter, _) => 1,
            (Kind::Worker | Kind::Recovery, _) => 0,
            (Kind::Kept, _) => kept::workers(operation),
        };
        let board = Board::new(CELLS);
        let keeper = Program::start("keeper", &[&name, &workers.to_string(), operation, &board.name()]);
        keeper.expect("made");
        let pool = Executor::attach(&name).expect("attached");
        let spare = matches!(kind, Kind::Worker | Kind::Recovery).then(|| Program::start("worker", &[&name]));
        let are_there = workers + usize::from(spare.is_some());
        wait_until(SOON, || inspect(&name).is_ok_and(|view| view.participants.len() == 2 + are_there));
        if context == "task on top" {
            // It has the seat that it takes for its tasks before anybody counts.
            let warm = pool.submit(waits, (board.name(), OWN + 16)).expect("submitted");
            assert!(warm.result().is_ok());
        }
        let other = (context == "two lanes").then(|| Program::start("other", &[&name, &board.name()]));
        other.iter().for_each(|other| other.expect("attached"));
        let tracer = Program::start("tracer", &[&name, &board.name(), operation, context, &cpu.to_string()]);
        tracer.expect("ready");
        let mut scene = Scene {
            before: Before::of(&name),
            context: context.to_owned(),
            kind,
            creates: makes_a_pool(operation),
            leaves: leaves_a_pool(operation),
            board,
            keeper,
            spare,
            other,
            tracer,
            pool,
            name,
            fds: Vec::new(),
            tasks: Vec::new(),
            held: Vec::new(),
            kills: 0,
            over: 0,
            shortest: u64::MAX,
            last_victim: 0,
            dead: 0,
            changes: Vec::new(),
            states: HashSet::new(),
            beside: Duration::ZERO,
        };
        // Warm: what is opened once is open.
        let found = scene.after(BEGINNING);
        assert!(found.is_empty(), "{found:?}");
        let come: Vec<u32> = scene.spare.iter().chain(&scene.other).map(Program::pid).chain([std::process::id()]).collect();
        scene.fds = descriptors::at_rest(&mut scene.keeper, &come);
        scene
    }

    /// The time of the processor that all but the calling thread have had.
    pub fn cpu_time(&self) -> Duration {
        let programs = [&self.keeper, &self.tracer].into_iter().chain(&self.spare).chain(&self.other);
        // Workers of the keeper that live are not among what it has reaped.
        let pids = programs.flat_map(|program| std::iter::once(program.pid()).chain(children_of(program.pid())));
        pids.map(cpu_time_of).sum::<Duration>() + self.beside
    }

    pub fn survey(&mut self) -> Survey {
        self.set_up();
        self.tracer.tell("survey");
        let numbers = || self.tracer.numbers_within(8 * KILL_LIMIT);
        let steps = numbers()[0];
        let (changes, calls, states, steps_from_a_call) = (numbers(), numbers(), numbers(), numbers()[0]);
        let survey = Survey { steps, changes, calls, states, steps_from_a_call, ..Survey::default() };
        self.changes.clone_from(&survey.changes);
        survey
    }

    /// One victim's life, and what is wrong after it.
    pub fn kill(&mut self, at: At, how: How) -> Vec<String> {
        self.set_up();
        let order = match at {
            At::Step(n) => format!("{} {n}", how.order()),
            At::Inside(n) => format!("inside {n}"),
        };
        let stop = AtomicBool::new(false);
        let (pool, board, tasks, context) = (&self.pool, &self.board, &self.tasks, &*self.context);
        let mut found = Vec::new();
        let tracer = &mut self.tracer;
        let nanoseconds = AtomicU64::new(0);
        let counted = |act: &dyn Fn()| {
            act();
            nanoseconds.fetch_add(cpu_time_of_thread().as_nanos() as u64, SeqCst);
        };
        let (counted, stop_now) = (&counted, &stop);
        let victim = std::thread::scope(|scope| {
            match context {
                "busy pool" => drop(scope.spawn(move || counted(&|| keep_busy(pool, board, stop_now)))),
                "waited for" => {
                    tasks.iter().for_each(|(_, task)| drop(scope.spawn(move || counted(&|| keep_waiting(task, stop_now)))))
                }
                "cancelled beside" => drop(scope.spawn(move || counted(&|| cancel_beside(&tasks[1], board)))),
                _ => {}
            }
            tracer.tell(&order);
            let answer = tracer.numbers_within(8 * KILL_LIMIT);
            let victim = Victim { pid: answer[3] as u32, instruction: answer[2], steps: answer[0], over: answer[1] == 1 };
            *(if victim.over { &mut self.over } else { &mut self.kills }) += usize::from(how.is_a_kill());
            self.shortest = self.shortest.min(if victim.over { victim.steps } else { u64::MAX });
            stop.store(true, SeqCst);
            if !matches!(at, At::Inside(_)) && how.leaves_it_standing() {
                signal(self.keeper.pid(), libc::SIGCONT);
                self.spare.iter().for_each(|spare| signal(spare.pid(), libc::SIGCONT));
                let standing = Standing {
                    pool,
                    name: &self.name,
                    board,
                    tasks,
                    kind: self.kind,
                    pid: victim.pid,
                    whole: whole(context),
                };
                found.extend(standing.judge(how, tracer));
                tracer.tell("kill");
                tracer.expect("killed");
            }
            victim
        });
        self.beside += Duration::from_nanos(nanoseconds.into_inner());
        self.last_victim = victim.pid;
        if !victim.over {
            let changes = self.changes.partition_point(|&step| step <= victim.steps);
            self.states.insert((victim.instruction, changes));
        }
        found.extend(self.after(&format!("{how:?}, {at:?}")));
        found
    }

    /// What was done before the points are chosen counts for nothing.
    pub fn forget_kills(&mut self) {
        (self.kills, self.over) = (0, 0);
        self.states.clear();
    }

    /// After a window that was seen to its end, while all others are still stopped: whether it was the victim that recovered what the dead one left.
    pub fn is_recovered(&self) -> Option<String> {
        let view = inspect(&self.name).expect("a pool");
        let is_there = self.kind == Kind::Recovery && view.participants.iter().any(|p| p.pid == self.dead);
        is_there.then(|| format!("no recovery in the window\n{view}"))
    }

    fn set_up(&mut self) {
        clear(&self.board);
        if self.kind == Kind::Submitter {
            return;
        }
        if self.kind == Kind::Kept {
            wait_until(SOON, || self.before == Before::of(&self.name) && kept::is_quiet(&self.context, &self.name));
            self.tasks = kept::call_victim(&self.context, &self.pool, &self.name, &self.board, OWN + 16);
            return;
        }
        let spare = self.spare.as_ref().expect("there is one").pid();
        if self.kind == Kind::Worker {
            stop(spare);
            let (answer, len) = match &*self.context {
                "error" => (FAILS, 1),
                "put back" | "put back for later" => (FAILS_ONCE, BLOCK),
                "large result" => (BLOCK as u64, 1),
                "large arguments" => (1, BLOCK),
                _ => (1, 1),
            };
            let pause = Duration::from_millis(if self.context == "put back for later" { 20 } else { 0 });
            let options = match answer {
                FAILS_ONCE => SubmitOptions::new().retry(Retry::new(2).backoff(pause, pause)),
                _ => SubmitOptions::new(),
            };
            let marked = |id| {
                let marked = match &*self.context {
                    "tells progress" => self.pool.submit(tells, (self.board.name(), id)),
                    "sends events" => self.pool.submit(sends, (self.board.name(), id)),
                    "task on top" => self.pool.submit(waits, (self.board.name(), id)),
                    _ => self.pool.submit_with(&options, mark, (self.board.name(), id, answer, vec![0; len])),
                };
                marked.expect("submitted")
            };
            self.tasks.push((OWN + 16, marked(OWN + 16)));
            if self.context == "cancelled beside" {
                let id = OWN + 18;
                self.tasks.push((id, self.pool.submit(echo, (self.board.name(), id, vec![id as u8])).expect("submitted")));
            }
            self.tasks.push((OWN + 17, marked(OWN + 17)));
            if let Some(other) = &mut self.other {
                other.tell("submit");
                other.expect("submitted");
            }
            return;
        }
        self.leave_something_dead();
        stop(spare);
    }

    /// Whether the task of the dead worker runs once more.
    fn may_run_again(&self) -> bool {
        self.context == "idempotent task" || self.sends_in_attempts()
    }

    /// Whether it sends an event in each attempt.
    fn sends_in_attempts(&self) -> bool {
        self.context == "task with events"
    }

    /// Somebody dies, and nobody looks.
    fn leave_something_dead(&mut self) {
        let id = OWN + 18;
        let spare = self.spare.as_ref().expect("there is one").pid();
        if self.context != "submitter with tasks" {
            stop(spare);
            let mut worker = Program::start("worker", &[&self.name]);
            worker.expect("works");
            let options = SubmitOptions::new().idempotent(self.may_run_again());
            let task = if self.sends_in_attempts() { sends_and_holds } else { hold };
            let task = self.pool.submit_with(&options, task, (self.board.name(), id)).expect("submitted");
            wait_until(SOON, || noted(&self.board, id as usize, Note::Entered) == 1);
            self.held.push(task);
            stop(self.keeper.pid());
            self.dead = worker.pid();
            self.beside += cpu_time_of(worker.pid());
            worker.kill();
        } else {
            stop(spare);
            let mut submitter = Program::start("submitter", &[&self.name, &self.board.name()]);
            submitter.expect("submitted");
            stop(self.keeper.pid());
            self.dead = submitter.pid();
            self.beside += cpu_time_of(submitter.pid());
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
            // Before the result is taken: what it has told lies beside its slot.
            let told = (self.context == "tells progress").then(|| wrong_story(id, &task)).flatten();
            found.extend(told);
            let ended = |task: &Future<Vec<u8>>| task.exception(Some(Duration::ZERO)) == Ok(None);
            let sent = (self.context == "sends events").then(|| wrong_events(id == OWN + 16, &task, ended)).flatten();
            found.extend(sent);
            let result = task.result_timeout(2 * oracle::LIMIT);
            let runs = noted(&self.board, id as usize, Note::Entered);
            let cancelled = noted(&self.board, id as usize, Note::Cancelled);
            if let Some(what) = wrong_verdict(&self.context, id, &result, runs, cancelled) {
                found.push(what);
            }
        }
        if self.context == "two lanes" && at != BEGINNING {
            let other = self.other.as_mut().expect("there is one");
            other.tell("collect");
            if other.line() != "collected" {
                found.push("the other submitter's tasks are not all over".into());
            }
        }
        let (again, has_sent) = (self.may_run_again(), self.sends_in_attempts());
        if again {
            self.board[GATE].store(1, SeqCst);
        }
        for task in self.held.drain(..) {
            let result = task.result_timeout(2 * oracle::LIMIT);
            let is_right = match &result {
                Ok(_) if has_sent && !of_both_attempts(&task) => false,
                Ok(id) => again && noted(&self.board, *id as usize, Note::Entered) == 2,
                Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => !again,
                Err(_) => false,
            };
            if !is_right {
                found.push(format!("the task of the dead worker gave {result:?}"));
            }
        }
        if self.leaves && at != BEGINNING {
            found.extend(self.inherit());
        }
        if self.creates {
            found.extend(self.second_pool(self.last_victim));
        }
        found.extend(oracle::check(&self.pool, &self.name, &self.board, &self.before));
        found.into_iter().map(|what| format!("{at}: {what}")).collect()
    }

    /// The victim's own pool goes on without it: whoever comes there next has its tasks run. Then its workers are killed.
    fn inherit(&self) -> Vec<String> {
        let mut found = Vec::new();
        let ids = 8..8 + CAPACITY as u64;
        match Executor::attach(&format!("{}-second", self.name)) {
            Err(e) => found.push(format!("nobody can come to the dead one's pool: {e}")),
            Ok(pool) => {
                let submit = |id: u64| pool.submit(echo, (self.board.name(), id, vec![id as u8])).expect("submitted");
                let tasks: Vec<_> = ids.clone().map(submit).collect();
                for (id, task) in ids.zip(tasks) {
                    note_at(&self.board.name(), id, Note::Accepted);
                    // One that is not run in time is enough.
                    let limit = if found.is_empty() { 2 * oracle::LIMIT } else { Duration::ZERO };
                    let result = task.result_timeout(limit);
                    if result.as_ref().is_ok_and(|bytes| *bytes == [id as u8]) {
                        continue;
                    }
                    found.push(format!("a task in the dead one's pool gave {result:?}"));
                    // For who leaves waits for what is pending.
                    task.cancel();
                }
            }
        }
        children_of(self.tracer.pid()).into_iter().for_each(kill);
        let lives =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        wait_until(SOON, || !children_of(self.tracer.pid()).iter().any(lives));
        found
    }

    /// The victim made a pool, or began to: its name is free, its workers end, and nothing of it stays.
    fn second_pool(&self, victim: u32) -> Vec<String> {
        let mut found = Vec::new();
        // What its workers hold ends.
        self.board[GATE].store(1, SeqCst);
        let name = format!("{}-second", self.name);
        match Executor::builder().start(StartMethod::None).capacity(CAPACITY).payload_max(1 << 20).create_named(&name) {
            Ok(pool) => drop(pool),
            Err(e) => found.push(format!("a pool in the place of the dead one's: {e}")),
        }
        let files = shm_entries(&name);
        let temporaries = shm_entries(&format!("taskring-new.{victim}."));
        if !files.is_empty() || !temporaries.is_empty() {
            found.push(format!("left behind: {files:?} {temporaries:?}"));
        }
        // The victim's workers are the tracer's children now. Theirs is a pool without a name and an owner. One that gets no processor cannot end.
        let living = |pid: &u32| !command_line(*pid).is_empty();
        let (start, mut could_end, mut before) = (Instant::now(), Duration::ZERO, (0, None));
        while let Some(pid) = children_of(self.tracer.pid()).into_iter().find(living) {
            let of = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let now = (pid, of("stat").contains(") R ").then(|| of("schedstat")));
            let is_starved = now == before && now.1.is_some();
            before = now;
            if could_end > 2 * oracle::LIMIT || start.elapsed() > KILL_LIMIT {
                // Its state, what it waits for, and how long it has run and has waited for a processor, in nanoseconds.
                let state = format!("{}, {}, {}", of("stat"), of("wchan"), of("schedstat"));
                found.push(format!("a worker of the dead owner goes on: {state}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            could_end += Duration::from_millis(u64::from(!is_starved));
        }
        found
    }

    /// Nothing was left behind by all of them together.
    pub fn end(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(descriptors::left(&mut self.keeper, &self.fds));
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

/// What a task that is over has told: all that it told last, and for one that has ended the last of it.
fn wrong_story(id: u64, task: &Future<Vec<u8>>) -> Option<String> {
    let is_over = || task.is_done();
    let start = Instant::now();
    while !is_over() && start.elapsed() < 2 * oracle::LIMIT {
        std::thread::sleep(Duration::from_micros(100));
    }
    let (progress, value) = (task.progress(), task.reported::<Vec<u8>>());
    let done = progress.map_or(0, |progress| progress.done);
    let is_whole = progress.is_none_or(|progress| progress.total == 2 * done)
        && match &value {
            Ok(None) => done <= 1,
            // The value is told after the progress.
            Ok(Some(bytes)) => {
                let first = u64::from(bytes[0]);
                bytes.len() == TOLD_LEN && bytes.iter().all(|byte| *byte == bytes[0]) && (first == done || first + 1 == done)
            }
            Err(_) => false,
        };
    // The first of two has told something before its window.
    let is_kept = id != OWN + 16 || matches!(value, Ok(Some(_)));
    (!is_whole || !is_kept).then(|| format!("task {id} has told {progress:?} and {value:?}"))
}

/// How often such a task is entered when nobody dies: one that fails at first runs again then.
fn whole(context: &str) -> u64 {
    if context.starts_with("put back") { 2 } else { 1 }
}

/// A task that the victim, or another worker after it, has run.
fn wrong_verdict(context: &str, id: u64, result: &Result<Vec<u8>, Error>, runs: u64, cancelled: u64) -> Option<String> {
    let whole = whole(context);
    let good = match result {
        _ if cancelled != 0 => runs == 0 && *result == Err(Error::Cancelled),
        Ok(bytes) => {
            let len = if context == "large result" { BLOCK } else { 1 };
            runs == whole && context != "error" && *bytes == vec![id as u8; len]
        }
        Err(Error::TaskFailed { .. }) => runs == 1 && context == "error",
        Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. }) => runs <= whole,
        // It was asked to stop when its worker had it, which died before it began.
        Err(Error::Cancelled) => runs == 0 && context == "cancelled beside",
        Err(Error::WorkerLost { stage: Stage::RanResultLost, .. }) => (1..=whole).contains(&runs),
        Err(_) => false,
    };
    (!good).then(|| format!("task {id} gave {result:?} after {runs} runs"))
}
