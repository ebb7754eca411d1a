//! Tasks for one worker: which one that is, as it stands in a slot, and who is there.
//!
//! A worker that its owner has started is named by its number, which is also that of whoever takes its place; one that came by the pool's name by its seat,
//! for it has no number. To all other workers such a task is one whose function they lack: they take what stands behind it (`search.rs`).

use crate::error::{Error, Result};
use crate::life::Bit;
use crate::limits::{PARTICIPANTS_MAX, WORKERS_MAX};
use crate::record::{Presence, RecordState};
use crate::segment::Segment;
use crate::slot::{TARGET_SHIFT, WANTED_TARGET};
use crate::sync::Ordering::Relaxed;
use std::collections::BTreeSet;

/// A worker, as a task may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Number(u32),
    Seat(usize),
}

const _: () = assert!(1 + WORKERS_MAX + PARTICIPANTS_MAX <= 1 << (16 - TARGET_SHIFT), "an option's bits name every worker");

impl Target {
    /// What a worker with this number, if it has one, and this seat is called.
    pub(crate) fn worker(number: Option<u32>, seat: usize) -> Target {
        number.map_or(Target::Seat(seat), Target::Number)
    }

    fn code(self) -> u32 {
        match self {
            Target::Number(number) => 1 + number,
            Target::Seat(seat) => (1 + WORKERS_MAX + seat) as u32,
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
        let number = code.checked_sub(1)?;
        let seat = (number as usize).checked_sub(WORKERS_MAX);
        Some(seat.map_or(Target::Number(number), Target::Seat))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Number(number) => write!(f, "worker {number}"),
            Target::Seat(seat) => write!(f, "the worker in seat {seat}"),
        }
    }
}

impl Segment {
    /// The workers that are attached: their seats, and what they are called.
    fn attached_workers(&self) -> impl Iterator<Item = (usize, Target)> + '_ {
        self.records().iter().enumerate().filter_map(|(seat, record)| {
            let state = RecordState::of(record);
            let number = record.number.load(Relaxed).checked_sub(1);
            (state.presence() == Presence::Active && state.is_worker()).then(|| (seat, Target::worker(number, seat)))
        })
    }

    /// Whether a ready worker can run what wants this.
    pub(crate) fn is_served(&self, wanted: u32) -> bool {
        let Some(target) = Target::of(wanted) else { return self.has_server(wanted as u16) };
        self.attached_workers().any(|(seat, worker)| worker == target && self.is_server(seat, wanted as u16))
    }

    /// Whether the owner keeps a worker of that name: when it dies, another one comes.
    pub(crate) fn is_kept(&self, target: Target) -> bool {
        let planned = self.life().wanted.load(Relaxed);
        !self.has(Bit::Orphaned) && matches!(target, Target::Number(number) if number < planned)
    }

    /// The worker of that number, if the pool has one.
    pub(crate) fn target(&self, number: u32) -> Result<Target> {
        let target = Target::Number(number);
        if (number as usize) < WORKERS_MAX && (self.is_kept(target) || self.attached_workers().any(|(_, w)| w == target)) {
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
        let is_ready = |seat: usize| self.records()[seat].ready.load(Relaxed) == 1;
        kept.chain(self.attached_workers().filter(|&(seat, _)| is_ready(seat)).map(|(_, target)| target)).collect()
    }

    /// After a task for this worker was published: the announcement may have woken another one, which leaves it where it is.
    pub(crate) fn wake_target(&self, target: Target) {
        let sleepers = self.sleepers();
        self.attached_workers().filter(|&(_, worker)| worker == target).for_each(|(seat, _)| sleepers.wake_marked(seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_name_of_its_own_beside_the_function() {
        let numbers = (0..WORKERS_MAX as u32).map(Target::Number);
        let mut seen = BTreeSet::new();
        for target in numbers.chain((0..PARTICIPANTS_MAX).map(Target::Seat)) {
            assert!(seen.insert(target.options()));
            assert_eq!(target.options() & ((1 << TARGET_SHIFT) - 1), 0, "the other options are not touched");
            assert_eq!(u32::from(target.options()) << 16, target.wanted());
            assert_eq!(Target::of(target.wanted() | 0x7f_0123), Some(target));
        }
        assert_eq!(Target::of(0x7f_ffff), None);
    }
}
