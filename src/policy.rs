//! A pool's policies: chosen by its owner, written once into the header, and followed by whoever acts for a dead participant.

use crate::error::PoolKind;
use crate::limits::KILLS_MAX_DEFAULT;
use std::num::NonZeroU32;

/// What becomes of the task that a dead worker was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnWorkerDeath {
    /// It gets its verdict, [`Error::WorkerLost`](crate::Error::WorkerLost); nothing else is touched.
    #[default]
    FailTask,
    /// It is run again, up to this many times, for the pool's tasks may run more than once; with a rule for retries that allows more attempts, up to these.
    /// A task that has killed as many workers as [`Builder::kills_max`](crate::Builder::kills_max) says is given up all the same: two, unless that says otherwise.
    Retry(u8),
    /// The pool is broken: every pending task and every later submit fails with [`Error::Broken`](crate::Error::Broken), which in the owner's process names
    /// the dead worker and its cause. The dead worker's own task gets its verdict, [`Error::WorkerLost`](crate::Error::WorkerLost), and what runs
    /// on other workers ends with its result: a result that is there is not thrown away. (`ProcessPoolExecutor` of Python fails them all
    /// alike.)
    BreakPool,
}

/// What becomes of the pending tasks of a submitter that died, if it is not the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Orphans {
    /// They run, and their results are dropped.
    #[default]
    Run,
    /// They are cancelled.
    CancelPending,
}

/// The policies as they stand in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) on_worker_death: OnWorkerDeath,
    pub(crate) orphans: Orphans,
    pub(crate) kills_max: u8,
    /// Nothing follows from it but what a broken pool is called, and that interpreters run nothing that has captured anything.
    pub(crate) workers: PoolKind,
    /// Tasks after which a worker that the owner has started is followed by another.
    pub(crate) tasks_max: Option<NonZeroU32>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            on_worker_death: OnWorkerDeath::FailTask,
            orphans: Orphans::Run,
            kills_max: KILLS_MAX_DEFAULT,
            workers: PoolKind::Process,
            tasks_max: None,
        }
    }
}

impl Policy {
    pub(crate) fn bits(self) -> u64 {
        let (kind, retries) = match self.on_worker_death {
            OnWorkerDeath::FailTask => (0_u64, 0),
            OnWorkerDeath::Retry(n) => (1, n),
            OnWorkerDeath::BreakPool => (2, 0),
        };
        kind | u64::from(retries) << 8
            | u64::from(self.orphans == Orphans::CancelPending) << 16
            | u64::from(self.kills_max) << 24
            | (self.workers as u64) << 18
            | u64::from(self.tasks_max.map_or(0, NonZeroU32::get)) << 32
    }

    /// Unknown bits read as the default.
    pub(crate) fn from_bits(bits: u64) -> Policy {
        Policy {
            on_worker_death: match bits & 0xff {
                1 => OnWorkerDeath::Retry((bits >> 8) as u8),
                2 => OnWorkerDeath::BreakPool,
                _ => OnWorkerDeath::FailTask,
            },
            orphans: if bits >> 16 & 1 == 1 { Orphans::CancelPending } else { Orphans::Run },
            kills_max: (bits >> 24) as u8,
            workers: match bits >> 18 & 0x3 {
                1 => PoolKind::Thread,
                2 => PoolKind::Interpreter,
                _ => PoolKind::Process,
            },
            tasks_max: NonZeroU32::new((bits >> 32) as u32),
        }
    }
}
