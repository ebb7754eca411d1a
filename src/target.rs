//! Tasks for one worker: which one that is, as it stands in a slot, and who is there.
//!
//! A worker that its owner has started is named by its number, which is also that of whoever takes its place; one that came by the pool's name by its seat
//! and how often that was taken, for it has no number, and whoever has the seat after it is another one. To all other workers such a task is one whose function they lack: they take what stands behind it (`search.rs`).

use crate::error::{Error, Result};
use crate::life::Bit;
use crate::limits::{OWNER_SEAT, PARTICIPANTS_MAX, WORKERS_MAX};
use crate::record::{Presence, RecordState};
use crate::segment::Segment;
use crate::slot::{TARGET_SHIFT, WANTED_LATER, WANTED_TARGET};
use crate::state::{Flag, Participant, Phase};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::turn::Turn;
use std::collections::{BTreeSet, HashMap};

/// How much of a seat's incarnation a task has room for: whoever takes the seat next is another worker.
const LIFE_BITS: u32 = 4;

/// A worker, as a task may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Number(u32),
    /// And the low bits of its incarnation.
    Seat(usize, u32),
}

const _: () = assert!(
    1 + WORKERS_MAX + PARTICIPANTS_MAX <= 1 << (16 - TARGET_SHIFT - LIFE_BITS),
    "an option's bits name every worker"
);

impl Target {
    /// What a worker with this number, if it has one, is called.
    pub(crate) fn worker(number: Option<u32>, who: Participant) -> Target {
        number.map_or(Target::Seat(who.index(), who.incarnation() % (1 << LIFE_BITS)), Target::Number)
    }

    fn code(self) -> u32 {
        match self {
            Target::Number(number) => (1 + number) << LIFE_BITS,
            Target::Seat(seat, life) => ((1 + WORKERS_MAX + seat) as u32) << LIFE_BITS | life,
        }
    }

    /// Among the options of a task.
    pub(crate) fn options(self) -> u16 {
        (self.code() << TARGET_SHIFT) as u16
    }

    /// The same part of what such a task wants.
    pub(crate) fn wanted(self) -> u32 {
        self.code() << (16 + TARGET_SHIFT)
    }

    /// The worker that is wanted; `None` when any will do. What is no worker's, by damage, is a seat that nobody has.
    pub(crate) fn of(wanted: u32) -> Option<Target> {
        let code = (wanted & WANTED_TARGET) >> (16 + TARGET_SHIFT);
        if code == 0 {
            return None;
        }
        let (name, life) = (code >> LIFE_BITS, code % (1 << LIFE_BITS));
        let number = name.checked_sub(1).filter(|&number| (number as usize) < WORKERS_MAX && life == 0);
        Some(number.map_or_else(|| Target::Seat((name as usize).wrapping_sub(1 + WORKERS_MAX), life), Target::Number))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Number(number) => write!(f, "worker {number}"),
            Target::Seat(seat, _) => write!(f, "the worker in seat {seat}"),
        }
    }
}

impl Segment {
    /// The workers that are attached: their seats, whether they are ready, and what they are called. The number of one that is not ready may be missing still.
    fn workers_there(&self) -> impl Iterator<Item = (usize, bool, Target)> + '_ {
        self.records().iter().enumerate().filter_map(|(seat, record)| {
            let state = RecordState::of(record);
            // Acquire: pairs with the Release of a worker that is ready: its number is visible below. And this look comes after that at the state, whose
            // worker was not ready at first.
            let is_ready = record.ready.load(Acquire) == 1;
            let (number, who) = (record.number.load(Relaxed).checked_sub(1), Participant::new(seat, state.incarnation()));
            (state.presence() == Presence::Active && state.is_worker())
                .then(|| (seat, is_ready, Target::worker(number, who)))
        })
    }

    fn attached_workers(&self) -> impl Iterator<Item = (usize, Target)> + '_ {
        self.workers_there().map(|(seat, _, target)| (seat, target))
    }

    /// Whether a ready worker can run what wants this.
    pub(crate) fn is_served(&self, wanted: u32) -> bool {
        let wanted = wanted & !WANTED_LATER;
        let Some(target) = Target::of(wanted) else { return self.has_server(wanted as u16) };
        self.attached_workers().any(|(seat, worker)| worker == target && self.is_server(seat, wanted as u16))
    }

    /// The same for one look at many tasks, each answer found once.
    pub(crate) fn served_at_once(&self) -> impl FnMut(u32) -> bool + '_ {
        let mut found = HashMap::new();
        move |wanted| *found.entry(wanted).or_insert_with(|| self.is_served(wanted))
    }

    /// Whether the owner keeps a worker of that name: when it dies, another one comes.
    pub(crate) fn is_kept(&self, target: Target) -> bool {
        let planned = self.life().wanted.load(Relaxed);
        !self.has(Bit::Orphaned) && matches!(target, Target::Number(number) if number < planned)
    }

    /// The worker of that number, if the pool has one.
    pub(crate) fn target(&self, number: u32) -> Result<Target> {
        let target = Target::Number(number);
        // Without the owner whoever is there stays; with it one beyond those that it keeps may leave at any moment.
        let stays = || self.has(Bit::Orphaned) && self.attached_workers().any(|(_, worker)| worker == target);
        if (number as usize) < WORKERS_MAX && (self.is_kept(target) || stays()) {
            return Ok(target);
        }
        let wanted = match self.life().wanted.load(Relaxed) {
            0 => "the number of a worker: this pool's have none".to_owned(),
            planned => format!("a worker's number, below {planned}"),
        };
        Err(Error::invalid("worker", number, wanted))
    }

    /// Every worker of the pool: those that the owner keeps, in the order of their numbers, and then the ready ones that came by its name.
    pub(crate) fn all_targets(&self) -> BTreeSet<Target> {
        let kept = (0..self.life().wanted.load(Relaxed)).map(Target::Number).filter(|&target| self.is_kept(target));
        // Who is there for a worker that waits may be gone at any moment.
        let stays = |target: &Target| matches!(target, Target::Seat(..)) || self.has(Bit::Orphaned);
        let ready = self.workers_there().filter_map(|(_, is_ready, target)| is_ready.then_some(target));
        kept.chain(ready.filter(stays)).collect()
    }

    /// Whether the worker in this seat can run what wants this, and so could others that have the function.
    pub(crate) fn may_run(&self, seat: usize, wanted: u32) -> bool {
        let is_for_any = Target::of(wanted).is_none() && wanted & WANTED_LATER == 0;
        is_for_any && seat < PARTICIPANTS_MAX && self.is_server(seat, wanted as u16)
    }

    /// The seats of the workers that can run what wants this, for whomever of them. None when another one may come.
    fn able(&self, wanted: u32) -> Vec<usize> {
        let there: Vec<_> = self.workers_there().collect();
        let turn = |seat: usize| Turn::of(&self.records()[seat]);
        let serving: BTreeSet<Target> =
            there.iter().filter(|&&(seat, ..)| turn(seat).takes_tasks()).map(|&(.., target)| target).collect();
        let others = self.demand().map_or(0, |demand| demand.replacements);
        let planned = if self.has(Bit::Orphaned) { 0 } else { self.life().wanted.load(Relaxed).saturating_add(others) };
        let end = planned.min(WORKERS_MAX as u32);
        let all_are_there = (0..end).all(|number| serving.contains(&Target::Number(number)));
        if !all_are_there || there.iter().any(|&(_, is_ready, _)| !is_ready) {
            return Vec::new();
        }
        // One that has handed its turn over may run its last task.
        let is_able = |&seat: &usize| turn(seat) != Turn::Waiting && self.may_run(seat, wanted);
        there.into_iter().map(|(seat, ..)| seat).filter(is_able).collect()
    }

    /// The seats of those of whom one has to go on before this task, {slot:32, generation:32}, is over: of who runs it, or of those that could run it. None when
    /// it is over, when it is to begin later or another worker may come for it, and when its worker is being killed for it.
    pub(crate) fn needed_for(&self, task: u64) -> Vec<usize> {
        let (lane, index) = self.geometry().split((task >> 32) as u32);
        // A number that another process has written down.
        let Some((_, ring)) = self.lanes().find(|&(used, _)| used == lane) else { return Vec::new() };
        let slot = &ring.slots[index];
        let state = slot.load();
        if state.generation() != task as u32 {
            return Vec::new();
        }
        let needed: Vec<usize> = if state.is(Phase::Running) {
            let owner = state.owner();
            let is_there = self.records().get(owner.index()).is_some_and(|r| RecordState::of(r).is_active_as(owner));
            if is_there && !state.has(Flag::Kill) { vec![owner.index()] } else { Vec::new() }
        } else if state.is(Phase::Pending) {
            let wanted = slot.wanted();
            let target = Target::of(wanted);
            let is_for =
                |&(seat, worker): &(usize, Target)| Some(worker) == target && Turn::of(&self.records()[seat]).takes_tasks();
            match target {
                Some(_) => self.attached_workers().filter(is_for).map(|(seat, _)| seat).collect(),
                None => self.able(wanted),
            }
        } else {
            Vec::new()
        };
        // What it wants was read after the state, whose flags may come and go.
        let again = slot.load();
        let is_same = again.generation() == state.generation() && again.phase() == state.phase();
        if is_same { needed } else { Vec::new() }
    }

    /// After a task for this worker was published: the announcement may have woken another one, which leaves it where it is.
    pub(crate) fn wake_target(&self, target: Target) {
        let sleepers = self.sleepers();
        let mut is_there = false;
        for (seat, _) in self.attached_workers().filter(|&(_, worker)| worker == target) {
            sleepers.wake_marked(seat);
            is_there |= Turn::of(&self.records()[seat]).takes_tasks();
        }
        if !is_there {
            // One that comes on demand: see `idleness.rs`.
            sleepers.wake_marked(OWNER_SEAT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_name_of_its_own_beside_the_function() {
        let numbers = (0..WORKERS_MAX as u32).map(Target::Number);
        let mut seen = BTreeSet::new();
        let seats = (0..PARTICIPANTS_MAX).flat_map(|seat| (0..1 << LIFE_BITS).map(move |life| Target::Seat(seat, life)));
        for target in numbers.chain(seats) {
            assert!(seen.insert(target.options()));
            assert_eq!(target.options() & ((1 << TARGET_SHIFT) - 1), 0, "the other options are not touched");
            assert_eq!(u32::from(target.options()) << 16, target.wanted());
            assert_eq!(Target::of(target.wanted() | 0x7_0123), Some(target));
        }
        assert_eq!(Target::of(0x7_ffff), None);
        for damaged in [1 << LIFE_BITS | 1, 1] {
            let found = Target::of(damaged << (16 + TARGET_SHIFT));
            assert!(matches!(found, Some(Target::Seat(seat, _)) if seat >= PARTICIPANTS_MAX), "{found:?}");
        }
    }
}
