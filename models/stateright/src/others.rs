//! The worker and the reaper.

use crate::Rule;
use crate::machine::{ALL, At, Local, Machine, NOBODY, Note, Phase, State, Verdict, WORKERS_AT, freed, wake_waiters};

fn bit(who: u8) -> u8 {
    1 << who
}

impl Machine {
    pub(crate) fn worker(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        match me.at {
            At::Look => {
                // A new epoch: every slot is looked at once. Else a look that was begun goes on.
                if s.behind & bit(who) != 0 && self.has(Rule::LookAtEverySlot) {
                    s.behind &= !bit(who);
                    me.scanning = true;
                    me.slot = 0;
                }
                me.at = if me.scanning { At::Scan } else { At::LoadHead };
            }
            At::Scan => {
                if me.slot == self.slots {
                    me.scanning = false;
                    me.slot = 0;
                    me.at = At::LoadHead;
                } else if s.slots[me.slot as usize].phase == Phase::Pending {
                    me.generation = s.slots[me.slot as usize].generation;
                    me.at = At::ScanClaim;
                } else {
                    me.slot += 1;
                }
            }
            At::ScanClaim => {
                let claimed = self.claim(s, me, who);
                me.at = if claimed { self.found(me) } else { At::Scan };
                if !claimed {
                    me.slot += 1;
                }
            }
            At::LoadHead => {
                me.position = s.head;
                me.slot = me.position % self.slots;
                let slot = s.slots[me.slot as usize];
                me.found = slot.phase == Phase::Pending && slot.place == me.position;
                me.generation = slot.generation;
                me.at = if me.found { At::Reserve } else { At::ReadTail };
            }
            At::ReadTail => {
                if me.position >= s.tail {
                    me.slot = 0;
                    me.generation = 0;
                    me.position = 0;
                    me.found = false;
                    me.at = if me.marked { At::Park } else { At::ReadPark };
                } else {
                    let slot = s.slots[me.slot as usize];
                    me.found = slot.phase == Phase::Pending;
                    me.generation = slot.generation;
                    me.at = At::Reserve;
                }
            }
            At::Reserve => {
                let reserved = s.head == me.position;
                if reserved {
                    s.head += 1;
                }
                me.at = if reserved && me.found { At::Claim } else { At::LoadHead };
            }
            At::Claim => me.at = if self.claim(s, me, who) { self.found(me) } else { At::LoadHead },
            At::Start | At::Return | At::Complete | At::WakeWaiter => self.perform(s, me, who),
            _ => return self.rest(s, me, who),
        }
        true
    }

    fn claim(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        let slot = &mut s.slots[me.slot as usize];
        let mine = slot.phase == Phase::Pending && slot.generation == me.generation;
        if mine {
            slot.phase = Phase::Running;
            slot.owner = who;
        }
        me.found = mine;
        mine
    }

    /// A task that is found while the idle mark is up: the mark is taken back first.
    fn found(&self, me: &Local) -> At {
        if me.marked { At::Unmark } else { At::Start }
    }

    fn perform(&self, s: &mut State, me: &mut Local, who: u8) {
        let slot = &mut s.slots[me.slot as usize];
        let mine = slot.phase == Phase::Running && slot.owner == who && slot.generation == me.generation;
        match me.at {
            At::Start => {
                slot.note = if self.has(Rule::NoteStarted) { Note::Started } else { Note::None };
                // The function is entered with nothing in between that others could see.
                s.entered[slot.task as usize] += 1;
                me.at = At::Return;
            }
            At::Return => {
                slot.note = Note::Returned;
                slot.outcome = Verdict::Value;
                me.at = At::Complete;
            }
            At::Complete => {
                me.found = mine && slot.waiter;
                if mine {
                    slot.phase = Phase::Done;
                    if slot.detached {
                        *slot = freed(*slot);
                    }
                }
                me.at = At::WakeWaiter;
                if !me.found {
                    self.performed(me);
                }
            }
            _ => {
                wake_waiters(s, me.slot as usize);
                self.performed(me);
            }
        }
    }

    fn performed(&self, me: &mut Local) {
        // A look at every slot goes on behind this one.
        let slot = if me.scanning { me.slot + 1 } else { 0 };
        *me = Local { at: At::Look, slot, generation: 0, position: 0, found: false, ..*me };
    }

    fn rest(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        match me.at {
            At::ReadPark => {
                s.bumped &= !bit(who);
                me.at = At::Mark;
            }
            At::Mark => {
                s.idle |= bit(who);
                me.marked = true;
                me.at = if self.has(Rule::LookBeforeSleep) { At::Look } else { At::Park };
            }
            At::Park => {
                if s.bumped & bit(who) == 0 {
                    s.asleep |= bit(who);
                    me.at = At::Asleep;
                } else {
                    me.at = At::Unmark;
                }
            }
            At::Asleep => {
                if s.asleep & bit(who) != 0 {
                    return false;
                }
                me.at = At::Unmark;
            }
            At::Unmark => {
                s.idle &= !bit(who);
                me.marked = false;
                // With a task in hand, or after sleep.
                me.at = if me.found { At::Start } else { At::Look };
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn reaper(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        match me.at {
            At::Idle => {
                let lost = s.dead & !s.buried;
                let free = (0..ALL).find(|&d| lost & bit(d) != 0 && s.bytes[d as usize] == NOBODY);
                let Some(free) = free else { return false };
                // The kernel gives the byte to one, who then looks again: the same as a look with the byte in hand.
                s.bytes[free as usize] = who;
                me.task = free;
                me.slot = 0;
                me.at = At::Settle;
                if !self.has(Rule::BuryLast) {
                    s.buried |= bit(free);
                }
            }
            At::Settle | At::SettleNote | At::SettleEnd | At::SettleWake => self.settle(s, me),
            At::Orphan | At::OrphanFlag => self.orphan(s, me),
            _ => return self.reassert(s, me, who),
        }
        true
    }

    /// What the dead one was running.
    fn settle(&self, s: &mut State, me: &mut Local) {
        if me.at == At::Settle {
            // Which slots name the dead one does not change but by us.
            let of_dead =
                |slot: u8| s.slots[slot as usize].phase == Phase::Running && s.slots[slot as usize].owner == me.task;
            me.slot = (me.slot..self.slots).find(|&slot| of_dead(slot)).unwrap_or(self.slots);
        }
        if me.slot == self.slots {
            me.slot = 0;
            me.at = if me.task < WORKERS_AT { At::Orphan } else { At::TakeLane };
            return;
        }
        let (attempts, requeues) = (self.attempts, self.has(Rule::Requeue));
        let slot = &mut s.slots[me.slot as usize];
        let of_dead = slot.phase == Phase::Running && slot.owner == me.task && slot.generation == me.generation;
        match me.at {
            At::Settle => {
                me.generation = slot.generation;
                if slot.phase == Phase::Running && slot.owner == me.task {
                    me.found = slot.note == Note::None;
                    me.at = if me.found { At::SettleEnd } else { At::SettleNote };
                } else {
                    me.slot += 1;
                }
            }
            At::SettleNote => {
                if slot.attempt + 1 < attempts {
                    slot.attempt += 1;
                    slot.note = Note::None;
                    me.found = true;
                } else {
                    let started = slot.note == Note::Started;
                    slot.outcome = if started { Verdict::MayHaveRun } else { Verdict::RanResultLost };
                }
                me.at = At::SettleEnd;
            }
            At::SettleEnd => {
                let waiter = slot.waiter;
                let ends = !me.found;
                if of_dead && me.found && requeues {
                    slot.phase = Phase::Pending;
                    slot.owner = NOBODY;
                    s.requeued = true;
                } else if of_dead && ends {
                    slot.phase = Phase::Done;
                    if slot.detached {
                        *slot = freed(*slot);
                    }
                }
                me.at = At::SettleWake;
                if !(of_dead && ends && waiter) {
                    me.at = At::Settle;
                    me.slot += 1;
                }
            }
            _ => {
                wake_waiters(s, me.slot as usize);
                me.at = At::Settle;
                me.slot += 1;
            }
        }
    }

    /// The tasks of a dead submitter: nobody will collect them.
    fn orphan(&self, s: &mut State, me: &mut Local) {
        if me.at == At::Orphan {
            // They only grow fewer.
            let of_dead = |slot: u8| {
                s.slots[slot as usize].phase != Phase::Free && s.slots[slot as usize].task / self.tasks == me.task
            };
            me.slot = (me.slot..self.slots).find(|&slot| of_dead(slot)).unwrap_or(self.slots);
        }
        if me.slot == self.slots {
            me.slot = 0;
            me.at = At::TakeLane;
            return;
        }
        let slot = &mut s.slots[me.slot as usize];
        let of_dead = slot.phase != Phase::Free && slot.task / self.tasks == me.task;
        match me.at {
            At::Orphan if of_dead => {
                me.generation = slot.generation;
                me.at = At::OrphanFlag;
            }
            At::OrphanFlag => {
                if of_dead && slot.generation == me.generation {
                    match slot.phase {
                        Phase::Pending | Phase::Running => slot.detached = true,
                        _ => *slot = freed(*slot),
                    }
                }
                me.at = At::Orphan;
                me.slot += 1;
            }
            _ => me.slot += 1,
        }
    }

    /// Locks, marks, epoch, wakes; the record last.
    fn reassert(&self, s: &mut State, me: &mut Local, who: u8) -> bool {
        let dead = me.task;
        match me.at {
            At::TakeLane => {
                me.generation = 0;
                me.found = false;
                let mine = s.lane == dead && self.has(Rule::ReleaseLocks);
                if mine {
                    s.lane = who;
                }
                me.at = if mine { At::RepairLane } else { At::Forget };
            }
            At::RepairLane => {
                self.repair(s);
                me.at = At::ReleaseLane;
            }
            At::ReleaseLane => {
                s.lane = NOBODY;
                me.at = At::Forget;
            }
            At::Forget => {
                s.idle &= !bit(dead);
                me.at = At::Epoch;
            }
            At::Epoch => {
                s.behind |= bit(WORKERS_AT) | bit(WORKERS_AT + 1);
                me.at = At::ClearMarks;
            }
            At::ClearMarks => {
                me.slot = WORKERS_AT;
                if self.has(Rule::WakeAll) {
                    s.idle = 0;
                    me.at = At::WakeAll;
                } else if s.idle == 0 {
                    me.slot = 0;
                    me.at = At::WakeWaiters;
                } else {
                    // One instead of all.
                    let one = s.idle.trailing_zeros() as u8;
                    s.idle &= !bit(one);
                    s.bumped |= bit(one);
                    s.asleep &= !bit(one);
                    me.slot = 0;
                    me.at = At::WakeWaiters;
                }
            }
            At::WakeAll => {
                s.bumped |= bit(me.slot);
                s.asleep &= !bit(me.slot);
                me.slot += 1;
                if me.slot == WORKERS_AT + 2 {
                    me.slot = 0;
                    me.at = At::WakeWaiters;
                }
            }
            At::WakeWaiters => {
                let waits = |slot: u8| s.slots[slot as usize].waiter && self.has(Rule::WakeWaiters);
                me.slot = (me.slot..self.slots).find(|&slot| waits(slot)).unwrap_or(self.slots);
                if me.slot < self.slots {
                    wake_waiters(s, me.slot as usize);
                    me.slot += 1;
                } else {
                    me.slot = 0;
                    me.at = At::Bury;
                }
            }
            At::Bury => {
                s.buried |= bit(dead);
                s.bytes[dead as usize] = NOBODY;
                me.task = 0;
                me.at = At::Idle;
            }
            _ => return false,
        }
        true
    }
}
