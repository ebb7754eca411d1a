//! The state of the model and its steps: one step for each access to shared memory that others can see, as the library's files make them.
//!
//! Words whose value only grows are kept as what the others make of them: a worker's park word as "changed since it was read", the epoch as "not
//! seen yet" for each worker. What a step reads it reads whole; stale values are loom's part.

use crate::Rule;

pub const SLOTS_MAX: usize = 3;
pub const TASKS_MAX: usize = 4;
/// Participants: submitters, then workers, then reapers, two of each.
pub const WORKERS_AT: u8 = 2;
pub const REAPERS_AT: u8 = 4;
pub const ALL: u8 = 6;
pub const NOBODY: u8 = 0xff;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Free,
    Pending,
    Running,
    Done,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    None,
    Started,
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    None,
    Value,
    MayHaveRun,
    RanResultLost,
    Cancelled,
    Twice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub phase: Phase,
    pub owner: u8,
    pub generation: u8,
    pub waiter: bool,
    pub detached: bool,
    pub note: Note,
    pub attempt: u8,
    pub task: u8,
    pub place: u8,
    pub outcome: Verdict,
}

const FREE: Slot = Slot {
    phase: Phase::Free,
    owner: NOBODY,
    generation: 0,
    waiter: false,
    detached: false,
    note: Note::None,
    attempt: 0,
    task: NOBODY,
    place: NOBODY,
    outcome: Verdict::None,
};

/// Where a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    // A submitter, or a reaper with a lock: the lane.
    Lock,
    TakeOver,
    Repair,
    NextFree,
    Publish,
    StoreTail,
    Unlock,
    // Waking, for who has published.
    TakeMark,
    Bump,
    Wake,
    // A future.
    Cancel,
    Flag,
    Sleep,
    Asleep,
    Collect,
    GiveBack,
    End,
    // A worker.
    Look,
    Scan,
    ScanClaim,
    LoadHead,
    ReadTail,
    Reserve,
    Claim,
    Start,
    Return,
    Complete,
    WakeWaiter,
    ReadPark,
    Mark,
    Park,
    Unmark,
    // A reaper.
    Idle,
    Settle,
    SettleNote,
    SettleEnd,
    SettleWake,
    Orphan,
    OrphanFlag,
    TakeLane,
    RepairLane,
    ReleaseLane,
    Forget,
    Epoch,
    ClearMarks,
    WakeAll,
    WakeWaiters,
    Bury,
}

/// A participant's private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    pub at: At,
    /// A submitter's next task; whom a reaper acts for.
    pub task: u8,
    pub slot: u8,
    pub generation: u8,
    /// A position; what a look goes on from.
    pub position: u8,
    pub scanning: bool,
    /// The look between the idle mark and sleep.
    pub marked: bool,
    pub found: bool,
}

const NEW: Local =
    Local { at: At::Lock, task: 0, slot: 0, generation: 0, position: 0, scanning: false, marked: false, found: false };

impl Local {
    /// What will not be read again is forgotten: states that differ in nothing else are one.
    fn forget(self) -> Local {
        use At::*;
        let slot =
            !matches!(self.at, Lock | Repair | LoadHead | ReadPark | Mark | Park | End | Idle | TakeLane | Forget | Epoch)
                && (self.scanning || !matches!(self.at, Look));
        let generation = matches!(
            self.at,
            Publish | StoreTail | Unlock | TakeMark | Bump | Wake | Cancel | Flag | Sleep | Asleep | Collect | GiveBack
        ) || matches!(self.at, ScanClaim | Reserve | Claim | Start | Return | Complete | Unmark)
            || matches!(self.at, SettleNote | SettleEnd | OrphanFlag);
        let position = matches!(self.at, NextFree | Publish | StoreTail | TakeMark | Bump | Wake | ReadTail | Reserve);
        let found = matches!(self.at, Sleep | Reserve | Unmark | SettleEnd);
        Local {
            slot: if slot { self.slot } else { 0 },
            generation: if generation { self.generation } else { 0 },
            position: if position { self.position } else { 0 },
            found: found && self.found,
            ..self
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub slots: [Slot; SLOTS_MAX],
    pub lane: u8,
    pub head: u8,
    pub tail: u8,
    /// One bit for each worker.
    pub idle: u8,
    pub behind: u8,
    pub bumped: u8,
    pub asleep: u8,
    /// One bit for each participant.
    pub dead: u8,
    pub buried: u8,
    pub stopped: u8,
    pub bytes: [u8; ALL as usize],
    pub locals: [Local; ALL as usize],
    pub crashes: u8,
    pub stops: u8,
    pub entered: [u8; TASKS_MAX],
    pub verdicts: [Verdict; TASKS_MAX],
    pub cancelled: u8,
    pub requeued: bool,
}

/// What is modelled, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub slots: u8,
    pub submitters: u8,
    /// Tasks of each submitter.
    pub tasks: u8,
    pub crashes: u8,
    pub stops: u8,
    /// How often a task may be entered.
    pub attempts: u8,
    /// Whether the second reaper works beside the first, or only when that one is gone.
    pub two_reapers: bool,
    /// A rule that is left out.
    pub without: Option<Rule>,
}

fn bit(who: u8) -> u8 {
    1 << who
}

impl Machine {
    pub fn start(&self) -> State {
        let mut locals = [NEW; ALL as usize];
        for who in self.submitters..WORKERS_AT {
            locals[who as usize].at = At::End;
        }
        for who in WORKERS_AT..REAPERS_AT {
            locals[who as usize].at = At::Look;
        }
        for who in REAPERS_AT..ALL {
            locals[who as usize].at = At::Idle;
        }
        State {
            slots: [FREE; SLOTS_MAX],
            lane: NOBODY,
            head: 0,
            tail: 0,
            idle: 0,
            behind: 0,
            bumped: 0,
            asleep: 0,
            dead: 0,
            buried: 0,
            stopped: 0,
            bytes: [NOBODY; ALL as usize],
            locals,
            crashes: self.crashes,
            stops: self.stops,
            entered: [0; TASKS_MAX],
            verdicts: [Verdict::None; TASKS_MAX],
            cancelled: 0,
            requeued: false,
        }
    }

    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The next step of `who`; `None` when it waits or has ended.
    pub fn step(&self, state: &State, who: u8) -> Option<State> {
        if (state.dead | state.stopped) & bit(who) != 0 {
            return None;
        }
        let mut next = state.clone();
        let mut me = next.locals[who as usize];
        let went = match who {
            0..WORKERS_AT => self.submitter(&mut next, &mut me, who),
            WORKERS_AT..REAPERS_AT => self.worker(&mut next, &mut me, who),
            REAPERS_AT => self.reaper(&mut next, &mut me, who),
            _ if !self.two_reapers && state.dead & bit(REAPERS_AT) == 0 => return None,
            _ => self.reaper(&mut next, &mut me, who),
        };
        next.locals[who as usize] = me.forget();
        went.then_some(next)
    }

    /// SIGKILL.
    pub fn kill(&self, state: &State, who: u8) -> State {
        let mut next = state.clone();
        next.dead |= bit(who);
        next.stopped &= !bit(who);
        next.crashes -= 1;
        next.asleep &= !bit(who);
        // Its private memory is gone, and the kernel gives its reaper bytes back.
        next.locals[who as usize] = Local { at: At::End, ..NEW };
        for byte in &mut next.bytes {
            if *byte == who {
                *byte = NOBODY;
            }
        }
        next
    }

    fn at(&self, position: u8) -> usize {
        (position % self.slots) as usize
    }

    fn submitter(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        let task = who * self.tasks + me.task;
        match me.at {
            At::Lock => {
                if s.lane == NOBODY {
                    s.lane = who;
                    self.begin(s, me);
                } else if s.dead & bit(s.lane) != 0 && s.bytes[s.lane as usize] == NOBODY {
                    // A wait for the lane is bounded: then there is proof of the owner's death.
                    s.bytes[s.lane as usize] = who;
                    me.slot = s.lane;
                    me.at = At::TakeOver;
                } else {
                    return false;
                }
            }
            At::TakeOver => {
                s.bytes[me.slot as usize] = NOBODY;
                me.at = At::Lock;
                if s.lane == me.slot {
                    s.lane = who;
                    me.at = At::Repair;
                }
            }
            At::Repair => {
                self.repair(s);
                self.begin(s, me);
            }
            At::NextFree => {
                if s.slots[self.at(me.position)].phase == Phase::Free {
                    me.slot = self.at(me.position) as u8;
                    me.generation = s.slots[me.slot as usize].generation;
                    // The fields of a FREE slot are seen by nobody but who repairs the tail.
                    s.slots[me.slot as usize] = Slot { generation: me.generation, task, place: me.position, ..FREE };
                    me.at = At::Publish;
                } else if me.slot + 1 == self.slots {
                    // Full: it lets others have the lane, and comes again.
                    s.lane = NOBODY;
                    me.at = At::Lock;
                } else {
                    me.slot += 1;
                    me.position += 1;
                }
            }
            At::Publish => {
                s.slots[me.slot as usize].phase = Phase::Pending;
                me.at = At::StoreTail;
            }
            At::StoreTail => {
                s.tail = me.position + 1;
                me.at = At::Unlock;
            }
            At::Unlock => {
                s.lane = NOBODY;
                me.at = At::TakeMark;
            }
            At::TakeMark => {
                // The look and the swap of the mark found: a swap that finds it gone looks again.
                me.position = s.idle.trailing_zeros() as u8;
                me.at = if s.idle == 0 { self.future(task) } else { At::Bump };
                s.idle &= s.idle.wrapping_sub(1);
            }
            At::Bump => {
                s.bumped |= bit(me.position);
                me.at = At::Wake;
            }
            At::Wake => {
                s.asleep &= !bit(me.position);
                me.at = self.future(task);
            }
            _ => return self.waiter(s, me, who, task),
        }
        true
    }

    /// The tail is written by the holder of the lane alone, so it may as well be read now.
    fn begin(&self, s: &State, me: &mut Local) {
        me.position = s.tail;
        me.slot = 0;
        me.at = At::NextFree;
    }

    /// What a submitter does with its future: every other one is cancelled, if that can be.
    fn future(&self, task: u8) -> At {
        if task % 2 == 1 { At::Cancel } else { At::Flag }
    }

    fn waiter(&self, s: &mut State, me: &mut Local, who: u8, task: u8) -> bool {
        let slot = &mut s.slots[me.slot as usize];
        let mine = slot.generation == me.generation;
        match me.at {
            At::Cancel => {
                if mine && slot.phase == Phase::Pending {
                    slot.phase = Phase::Cancelled;
                    slot.owner = who;
                    s.cancelled |= bit(task);
                }
                me.at = At::Flag;
            }
            At::Flag => match slot.phase {
                Phase::Pending | Phase::Running if mine => {
                    slot.waiter = true;
                    me.found = slot.phase == Phase::Running;
                    me.at = At::Sleep;
                }
                _ => me.at = At::Collect,
            },
            At::Sleep => {
                // The futex compares phase, flags and generation.
                let seen = if me.found { Phase::Running } else { Phase::Pending };
                let same = mine && slot.waiter && slot.phase == seen;
                me.at = if same { At::Asleep } else { At::Flag };
                if same {
                    s.asleep |= bit(who);
                }
            }
            At::Asleep => {
                if s.asleep & bit(who) != 0 {
                    return false;
                }
                me.at = At::Flag;
            }
            At::Collect => {
                let verdict = match slot.phase {
                    Phase::Done => slot.outcome,
                    Phase::Cancelled => Verdict::Cancelled,
                    _ => Verdict::Twice,
                };
                let verdict = if mine { verdict } else { Verdict::Twice };
                let told = &mut s.verdicts[task as usize];
                *told = if *told == Verdict::None { verdict } else { Verdict::Twice };
                me.at = At::GiveBack;
            }
            At::GiveBack => {
                *slot = freed(*slot);
                me.task += 1;
                *me = Local { task: me.task, at: if me.task == self.tasks { At::End } else { At::Lock }, ..NEW };
            }
            _ => return false,
        }
        true
    }

    /// What a dead owner of the lane may have left.
    pub(crate) fn repair(&self, s: &mut State) {
        if !self.has(Rule::TailRepair) {
            return;
        }
        let mut tail = s.tail;
        for position in s.tail..s.tail + self.slots {
            if s.slots[self.at(position)].place == position {
                tail = position + 1;
            }
        }
        s.tail = tail.max(s.head);
    }
}

pub fn freed(slot: Slot) -> Slot {
    // The place stays: the tail's repair reads it.
    Slot { generation: slot.generation + 1, place: slot.place, ..FREE }
}

/// Wakes whoever sleeps on slot `slot`.
pub fn wake_waiters(s: &mut State, slot: usize) {
    for who in 0..WORKERS_AT {
        let local = s.locals[who as usize];
        if local.at == At::Asleep && local.slot as usize == slot {
            s.asleep &= !bit(who);
        }
    }
}
