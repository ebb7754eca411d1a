//! The builder: a pool's options, checked before anything is made.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::exit;
use crate::layout::{Geometry, MutexKind};
use crate::limits::*;
use crate::policy::{OnWorkerDeath, Orphans, Policy};
use crate::pool::Pool;
use crate::record::Kind;
use crate::segment::{Plan as SegmentPlan, Segment};
use crate::start::{StartMethod, WorkerExe, check_can_start};
use crate::supervisor::{Plan, Supervisor};
use crate::sys;
use crate::zygote::Zygote;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Options of a new pool. Every one has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    capacity: usize,
    method: StartMethod,
    exe: Option<WorkerExe>,
    policy: Policy,
    start_timeout: Duration,
    exit_wait_max: Option<Duration>,
    detach_on_exit: bool,
    payload_max: u64,
    mutexes: MutexKind,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            workers: None,
            capacity: CAPACITY_DEFAULT,
            method: StartMethod::default(),
            exe: None,
            policy: Policy::default(),
            start_timeout: Duration::from_secs(10),
            exit_wait_max: None,
            detach_on_exit: false,
            payload_max: PAYLOAD_AREA_DEFAULT,
            mutexes: MutexKind::default(),
        }
    }

    /// Workers, 1 to 192. The default is the number of CPUs that this process may use.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = Some(workers);
        self
    }
    /// Slots of each submitter's lane, 1 to 1048576; rounded up to a power of two. The default is 1024. A slot takes 128 bytes.
    pub fn capacity(mut self, slots: usize) -> Builder {
        self.capacity = slots;
        self
    }
    /// How workers come into being. The default is [`StartMethod::Spawn`].
    pub fn start(mut self, method: StartMethod) -> Builder {
        self.method = method;
        self
    }
    /// Another program as the worker, with its arguments and further environment. Its `main` begins with [`init`](crate::init).
    pub fn worker_exe<A, E, K, V>(mut self, program: impl Into<PathBuf>, args: A, env: E) -> Builder
    where
        A: IntoIterator,
        A::Item: Into<OsString>,
        E: IntoIterator<Item = (K, V)>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.exe = Some(WorkerExe {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: env.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        });
        self
    }
    /// What becomes of a dead worker's task. The default is [`OnWorkerDeath::FailTask`].
    pub fn on_worker_death(mut self, policy: OnWorkerDeath) -> Builder {
        self.policy.on_worker_death = policy;
        self
    }
    /// What becomes of a dead submitter's pending tasks. The default is [`Orphans::Run`].
    pub fn orphans(mut self, orphans: Orphans) -> Builder {
        self.policy.orphans = orphans;
        self
    }
    /// How many workers one task may kill before it is given up, at least 1. The default is 2.
    pub fn kills_max(mut self, kills: u8) -> Builder {
        self.policy.kills_max = kills;
        self
    }
    /// How long a started worker may take to attach, and a task may wait for a worker that knows its function. The default is 10 s.
    pub fn start_timeout(mut self, timeout: Duration) -> Builder {
        self.start_timeout = timeout;
        self
    }
    /// How long a normal end of this process (return from `main`, `exit`) waits at most for what was submitted; workers that still run
    /// then are killed. The default is no limit.
    pub fn exit_wait_max(mut self, limit: Duration) -> Builder {
        self.exit_wait_max = Some(limit);
        self
    }
    /// Ends this process without waiting: the workers of an anonymous pool finish their running tasks and leave.
    pub fn detach_on_exit(mut self, detach: bool) -> Builder {
        self.detach_on_exit = detach;
        self
    }
    /// Bytes of payload memory at most, at least 4096: arguments and results that do not fit into a slot. It is committed as it is used. The default is 8 GiB.
    pub fn payload_max(mut self, bytes: u64) -> Builder {
        self.payload_max = bytes;
        self
    }

    /// What guards the lanes. The default is [`MutexKind::OwnerWord`].
    pub fn lane_mutex(mut self, kind: MutexKind) -> Builder {
        self.mutexes = kind;
        self
    }

    fn check(&self) -> Result<(SegmentPlan, Plan)> {
        let workers = self.workers.unwrap_or_else(|| sys::cpu_count().min(WORKERS_MAX));
        let workers = if self.method == StartMethod::None && self.workers.is_none() { 0 } else { workers };
        if self.method != StartMethod::None && !(1..=WORKERS_MAX).contains(&workers) {
            return Err(Error::invalid("workers", workers, format!("1 to {WORKERS_MAX}")));
        }
        if !(1..=CAPACITY_MAX).contains(&self.capacity) {
            return Err(Error::invalid("capacity", self.capacity, format!("1 to {CAPACITY_MAX}")));
        }
        if self.policy.kills_max == 0 {
            return Err(Error::invalid("kills_max", 0, "at least 1"));
        }
        if self.mutexes == MutexKind::Pthread && cfg!(not(feature = "raw-sync")) {
            return Err(Error::invalid("lane_mutex", "Pthread", "OwnerWord, or a build with the feature raw-sync"));
        }
        let geometry = Geometry::new(self.capacity.next_power_of_two(), self.payload_max & !4095).guarded_by(self.mutexes);
        let room = SEGMENT_MAX - Geometry::new(geometry.capacity, 0).segment_len();
        if !(4096..=room).contains(&self.payload_max) {
            return Err(Error::invalid("payload_max", self.payload_max, format!("4096 to {room} bytes")));
        }
        if self.start_timeout.is_zero() {
            return Err(Error::invalid("start_timeout", "0", "more than 0"));
        }
        check_can_start(self.method, self.exe.as_ref())?;
        let segment = SegmentPlan { geometry, policy: self.policy.bits(), named: false };
        let workers = if self.method == StartMethod::None { 0 } else { workers };
        Ok((segment, Plan { method: self.method, workers, exe: self.exe.clone() }))
    }

    /// Makes an anonymous pool and starts its workers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]; [`Error::NotInitialized`], [`Error::NotAWorker`], [`Error::ManyThreads`];
    /// [`Error::OutOfMemory`]; [`Error::System`] when a worker cannot be started.
    pub fn build(self) -> Result<Executor> {
        let (segment_plan, plan) = self.check()?;
        let segment = Arc::new(Segment::anonymous(&segment_plan)?);
        self.finish(segment, plan, |_| Ok(()))
    }

    /// Makes a pool that other programs attach to by this name, and starts its workers.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::InvalidArgument`] for a name that is not 1 to 64 letters, digits, `-`, `_` or `.`; and those of
    /// [`build`](Builder::build).
    #[cfg(feature = "named")]
    pub fn create_named(self, name: &str) -> Result<Executor> {
        let (mut segment_plan, plan) = self.check()?;
        segment_plan.named = true;
        crate::named::check_name(name)?;
        let new = crate::named::New::create(&segment_plan)?;
        let (segment, temporary) = new.into_parts();
        let segment = Arc::new(segment);
        // The owner's seat is taken before the name can be seen, so nobody takes the new pool for a dead one.
        self.finish(segment.clone(), plan, |pool| temporary.publish(name, pool))
    }

    fn finish(self, segment: Arc<Segment>, plan: Plan, publish: impl FnOnce(&mut Pool) -> Result<()>) -> Result<Executor> {
        let zygote = match plan.method {
            StartMethod::Fork => Some(Zygote::fork(&segment)?),
            StartMethod::ForkServer => Some(Zygote::spawn(&segment, self.exe.as_ref())?),
            _ => None,
        };
        let mut pool = Pool::join(segment, Kind::Owner, self.start_timeout)?;
        publish(&mut pool)?;
        let supervisor = Supervisor::start(Arc::new(pool), plan, zygote)?;
        exit::remember(&supervisor, self.detach_on_exit, self.exit_wait_max);
        Ok(Executor::from_parts(supervisor.pool().clone(), Some(supervisor)))
    }
}
