//! Ways to come to an end other than a kill in the middle of everything: a victim is stopped, becomes another program, or loses its thread. While it stands
//! there nobody may take it for dead, or what it has for theirs.

use crate::board::Note;
use crate::board::{ENDED, noted};
use crate::operations::{echo, rest};
use crate::oracle::{self, OWN};
use crate::process_support::Program;
use crate::process_support::common::Board;
use crate::scenes::Kind;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, ParticipantView, inspect};

/// What becomes of a victim at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGKILL.
    Killed,
    /// SIGKILL, and its memory is taken away at once, as when memory runs out.
    MemoryTaken,
    /// SIGSTOP, later SIGCONT; it comes to its window's end, and is killed there.
    StoppedForAWhile,
    /// SIGSTOP, later SIGKILL.
    StoppedAndKilled,
    /// It becomes another program, and is killed as that if nobody did it before.
    AnotherProgram,
    /// The thread ends; if there are others in the process, they are killed.
    ThreadEnded,
}

/// All but the plain kill.
pub const VARIANTS: [How; 5] =
    [How::MemoryTaken, How::StoppedForAWhile, How::StoppedAndKilled, How::AnotherProgram, How::ThreadEnded];

impl How {
    /// What the tracer is told.
    pub fn order(self) -> &'static str {
        match self {
            How::Killed => "kill",
            How::MemoryTaken => "memory",
            How::StoppedForAWhile | How::StoppedAndKilled => "stop",
            How::AnotherProgram => "exec",
            How::ThreadEnded => "thread",
        }
    }

    /// Whether it is SIGKILL that ends the victim at its very point.
    pub fn is_a_kill(self) -> bool {
        matches!(self, How::Killed | How::MemoryTaken | How::StoppedAndKilled)
    }

    pub fn leaves_it_standing(self) -> bool {
        !matches!(self, How::Killed | How::MemoryTaken)
    }
}

/// How long nobody may touch a participant that stands still: several times what a verdict takes.
const A_WHILE: Duration = Duration::from_millis(60);
/// How long somebody waits meanwhile: long enough to look after the dead.
const LOOK: Duration = Duration::from_millis(25);

/// A victim that stands at its point, and those who look on.
pub struct Standing<'a> {
    pub pool: &'a Executor,
    pub name: &'a str,
    pub board: &'a Board,
    pub tasks: &'a [(u64, Future<Vec<u8>>)],
    pub kind: Kind,
    pub pid: u32,
    /// How often a task is entered that runs as it should.
    pub whole: u64,
}

impl Standing<'_> {
    /// What is wrong while it stands there, and when it goes on.
    pub fn judge(&self, how: How, tracer: &mut Program) -> Vec<String> {
        let mut found = Vec::new();
        match how {
            How::StoppedForAWhile | How::StoppedAndKilled => {
                self.is_left_alone(how, &mut found);
                self.others_go_on(&mut found);
                if how == How::StoppedForAWhile {
                    tracer.tell("go on");
                    self.comes_to_its_end(&mut found);
                }
            }
            How::AnotherProgram => {
                self.wait("it is another program", &mut found, || {
                    self.state().is_none_or(|state| state.contains("(sleep)"))
                });
                if matches!(self.kind, Kind::Worker | Kind::Kept) {
                    // It cannot be told from a dead worker any more, so it is made one.
                    self.wait("it is fenced", &mut found, || self.is_gone());
                } else {
                    self.is_left_alone(how, &mut found);
                }
            }
            How::ThreadEnded | How::Killed | How::MemoryTaken => {}
        }
        found
    }

    fn wait(&self, what: &str, found: &mut Vec<String>, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            if start.elapsed() > 2 * oracle::LIMIT {
                return found.push(format!("not in time: {what}"));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn state(&self) -> Option<String> {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()
    }

    fn is_gone(&self) -> bool {
        self.state().is_none_or(|state| state.contains(") Z ") || state.contains(") X "))
    }

    fn seat(&self) -> Option<ParticipantView> {
        let view = inspect(self.name).expect("a pool");
        view.participants.into_iter().find(|p| p.pid == self.pid)
    }

    fn locks(&self) -> Vec<u32> {
        let view = inspect(self.name).expect("a pool");
        let lanes = view.lanes.iter().filter_map(|lane| lane.mutex_owner);
        let mut all: Vec<u32> = lanes.chain(view.held.iter().map(|(_, pid)| *pid)).filter(|&pid| pid == self.pid).collect();
        all.sort_unstable();
        all
    }

    /// Nobody declares it dead, or takes its locks. While it is stopped others come by and wait, who look after the dead.
    fn is_left_alone(&self, how: How, found: &mut Vec<String>) {
        let (seat, locks) = (self.seat(), self.locks());
        if how != How::AnotherProgram {
            self.others_wait(!locks.is_empty(), found);
        }
        std::thread::sleep(A_WHILE);
        if seat.is_some() != self.seat().is_some() {
            found.push("its seat was taken while it stood still".into());
        }
        if locks != self.locks() {
            found.push(format!("of its {} locks {} are left", locks.len(), self.locks().len()));
        }
    }

    /// One that was there before and a new one wait for tasks that do not end in time: the worker may even have one of the victim's, which ends later.
    /// Behind a lock of the victim's a call may stall, and nobody can come.
    fn others_wait(&self, locked: bool, found: &mut Vec<String>) {
        let new = (!locked).then(|| Executor::attach(self.name).expect("attached"));
        for pool in [Some(self.pool), new.as_ref()].into_iter().flatten() {
            match pool.submit(rest, 2 * LOOK.as_millis() as u64) {
                Ok(task) => {
                    let result = task.result_timeout(LOOK);
                    if !matches!(result, Err(Error::TimedOut { .. }) | Ok(_)) {
                        found.push(format!("a task beside it gave {result:?}"));
                    }
                    // For who leaves waits for what is pending.
                    task.cancel();
                }
                Err(Error::Stalled { .. }) if locked => {}
                Err(e) => found.push(format!("a task beside it is refused: {e}")),
            }
        }
    }

    /// What others need not wait for it for. A submitter's tasks may keep the only worker, so this is asked beside a worker.
    fn others_go_on(&self, found: &mut Vec<String>) {
        if self.kind != Kind::Worker {
            return;
        }
        let id = OWN + 21;
        let fresh = self.pool.submit(echo, (self.board.name(), id, vec![id as u8])).expect("submitted");
        let result = fresh.result_timeout(2 * oracle::LIMIT);
        if result.as_ref().is_ok_and(|bytes| *bytes == [id as u8]) {
            return;
        }
        found.push(format!("a fresh task beside it gave {result:?}"));
    }

    /// It comes to its window's end. A worker may find that another one has run what it was about to claim.
    fn comes_to_its_end(&self, found: &mut Vec<String>) {
        let ended = || self.board[ENDED].load(SeqCst) != 0;
        let all_over = || {
            let over = |(id, task): &(u64, Future<_>)| {
                task.is_done() && noted(self.board, *id as usize, Note::Entered) <= self.whole
            };
            matches!(self.kind, Kind::Worker | Kind::Kept) && self.tasks.iter().all(over)
        };
        self.wait("it comes to its window's end", found, || ended() || all_over());
    }
}
