//! The builder: a pool's options, checked before anything is made.

use crate::codec::{Payload, encoded};
use crate::constants::{Constants, What};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::exit;
use crate::layout::{Geometry, MutexKind};
use crate::limits::*;
use crate::policy::{OnWorkerDeath, Orphans, Policy};
use crate::pool::Pool;
use crate::record::Kind;
use crate::resources::Resources;
use crate::retry::{Retry, Rule};
use crate::segment::{Plan as SegmentPlan, Segment};
use crate::start::{StartMethod, WorkerExe, check_can_start};
use crate::supervisor::{Plan, Supervisor};
use crate::sync::Ordering::Relaxed;
use crate::sys;
use crate::task::{Shared, Task, is_known};
use crate::time_limits::TimeLimits;
use crate::zygote::Zygote;
use std::collections::HashSet;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Options of a new pool. Every one has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    workers_min: Option<usize>,
    idle_timeout: Option<Duration>,
    replacements: usize,
    capacity: usize,
    method: StartMethod,
    exe: Option<WorkerExe>,
    policy: Policy,
    start_timeout: Duration,
    exit_wait_max: Option<Duration>,
    detach_on_exit: bool,
    payload_max: u64,
    mutexes: MutexKind,
    constants: Constants,
    resources: Resources,
    limits: [Option<Duration>; 2],
    retry: Option<Retry>,
    /// What could not be encoded, or was refused when it was said.
    refused: Option<Error>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            workers: None,
            workers_min: None,
            idle_timeout: None,
            replacements: 0,
            capacity: CAPACITY_DEFAULT,
            method: StartMethod::default(),
            exe: None,
            policy: Policy::default(),
            start_timeout: Duration::from_secs(10),
            exit_wait_max: None,
            detach_on_exit: false,
            payload_max: PAYLOAD_AREA_DEFAULT,
            mutexes: MutexKind::default(),
            constants: Constants::default(),
            resources: Resources::default(),
            limits: [None; 2],
            retry: None,
            refused: None,
        }
    }

    /// Workers, 1 to 192. The default is the number of CPUs that this process may use; for threads and interpreters 4 more, but at most 32: what threads
    /// do is to wait more often than not.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = Some(workers);
        self
    }
    /// Starts only so many workers at once, 0 to [`workers`](Builder::workers); the others come on demand. The default is all of them.
    ///
    /// A further worker is started when a task waits and nobody is free for it: one that is idle is used first, and tasks that wait together have as many
    /// started at a time as they need. Those that come have the lowest numbers that nobody has. A task for one worker alone
    /// ([`submit_to`](Executor::submit_to)), and a [`broadcast`](Executor::broadcast), start those that they are for. In a paused pool none comes on demand.
    /// [`Executor::workers`] goes on to tell how many there may be, and [`Executor::resize`] changes that number; if it falls below the least one, all of
    /// them are there at all times. One that dies is replaced when it is needed, or when its number is below the least one.
    ///
    /// With 0, what keeps workers from starting breaks the pool at the first tasks, and is no error of `build`. When the owner of a named pool is killed, nobody starts
    /// workers any more; those that are there stay. While it is stopped nobody comes either.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(8).min_workers(0).build()?;
    ///     assert!(pool.worker_pids().is_empty());
    ///     assert_eq!(pool.submit(square, 7)?.result()?, 49);
    ///     assert_eq!(pool.worker_pids().len(), 1);
    ///     Ok(())
    /// }
    /// ```
    pub fn min_workers(mut self, workers: usize) -> Builder {
        self.workers_min = Some(workers);
        self
    }
    /// How long a worker beyond [`min_workers`](Builder::min_workers), which has to be given beside this, may have nothing to do: then it leaves, with its exit
    /// hook, and a task that comes in this very moment is run by it or by another one. Counted in whole milliseconds from when it has found no more tasks, more
    /// than 0 and up to 49 days; not while the pool is paused. The default is no limit: who has come on demand stays. Workers that came by the pool's name stay.
    /// While the owner is killed or stopped, so that nobody could start another, they all stay; of a stopped one that is known to them after some 4 seconds.
    ///
    /// ```
    /// # taskring::test_support!();
    /// # use std::time::Duration;
    /// taskring::task! { fn square(x: u64) -> u64 { x * x } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).min_workers(0).idle_timeout(Duration::from_millis(10)).build()?;
    ///     assert_eq!(pool.submit(square, 7)?.result()?, 49);
    ///     while !pool.worker_pids().is_empty() {}
    ///     assert_eq!(pool.submit(square, 8)?.result()?, 64);
    ///     Ok(())
    /// }
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Builder {
        self.idle_timeout = Some(timeout);
        self
    }
    /// How many further workers may come while others wait in their tasks, without a limit, for tasks that run elsewhere: one for each such worker, up to this
    /// many, 0 to what [`workers`](Builder::workers) leaves of 192. The default is 0.
    ///
    /// A task that waits for another one of its pool runs that one itself, if nobody has begun with it. Otherwise its worker has nothing to do, and then
    /// another one is started, if a task waits and nobody is free for it. Its number is not below [`Executor::workers`], no task can be for it alone, and it leaves
    /// after its task when fewer workers wait, with its exit hook; a moment later, for the next wait may soon begin.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn slow(ms: u64) -> u64 { std::thread::sleep(std::time::Duration::from_millis(ms)); ms }
    ///     fn outer() -> Result<u64, taskring::TaskError> {
    ///         let inner = taskring::current_pool()?.submit(slow, 50)?;
    ///         while !inner.is_running() {}
    ///         Ok(inner.result()?)
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     // While the one worker waits for the other, a third one may come.
    ///     let pool = taskring::Executor::builder().workers(2).replacements(1).build()?;
    ///     let (first, second) = (pool.submit(outer, ())?, pool.submit(slow, 1)?);
    ///     assert_eq!((first.result()?, second.result()?), (50, 1));
    ///     Ok(())
    /// }
    /// ```
    pub fn replacements(mut self, workers: usize) -> Builder {
        self.replacements = workers;
        self
    }
    /// Slots of each submitter's lane, 1 to 1048576; rounded up to a power of two. The default is 1024. A slot takes 128 bytes,
    /// and 16 more for the order in which tasks end; another 196 once a task of its lane has a time limit or a [`Retry`], or tells of its progress, or sends events.
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
    /// Further environment of the worker processes, which have that of this process besides. A name that comes again takes its last value. Programs that
    /// attach by the pool's name are not touched. Refused with threads, which have their process's.
    pub fn worker_env<K: Into<OsString>, V: Into<OsString>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Builder {
        self.resources.env.extend(env.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }
    /// Pins the workers: number n ([`task::worker_number`](crate::task::worker_number)) runs on the CPU at place n of these alone, counted around; so
    /// does the one that takes its place, and the threads and programs that a task starts. Each has to be one that this process may use. Threads too.
    /// Without it the system places them.
    pub fn worker_cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Builder {
        self.resources.run_on(cpus.into_iter().collect());
        self
    }
    /// Bytes of memory of its own that each worker process may have (`RLIMIT_DATA`): heap, private mappings and globals, not the pool's memory. What
    /// goes beyond fails to be allocated, which in Rust ends the process: its task ends with [`Error::WorkerLost`], and another worker takes its place.
    /// Programs that a task starts have the same limit. With less than a program needs to start, no worker comes up, and the pool is broken. Refused
    /// with threads.
    pub fn worker_memory_max(mut self, bytes: u64) -> Builder {
        self.resources.limit_memory(bytes);
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
    /// The soft time limit of tasks that have none of their own, see [`SubmitOptions::soft_limit`](crate::SubmitOptions::soft_limit). More than 0 and up to
    /// 49 days, rounded up to whole milliseconds. The default is none. In a map each chunk of inputs is one task.
    pub fn task_soft_limit(mut self, limit: Duration) -> Builder {
        self.limits[0] = Some(limit);
        self
    }
    /// The hard time limit of tasks that have none of their own, see [`SubmitOptions::hard_limit`](crate::SubmitOptions::hard_limit). As long as the
    /// soft one. The default is none, and where the workers are threads that is all there is.
    pub fn task_hard_limit(mut self, limit: Duration) -> Builder {
        self.limits[1] = Some(limit);
        self
    }
    /// When tasks that have no rule of their own run again after an error, see [`SubmitOptions::retry`](crate::SubmitOptions::retry). The default is never. Inputs
    /// that share a chunk of a map are not run again.
    pub fn task_retry(mut self, retry: Retry) -> Builder {
        self.retry = Some(retry);
        self
    }
    /// After how many tasks a worker leaves and another one takes its place, with its number: 1 to 4294967295. The default is no limit.
    ///
    /// The next one is started when the old one has few tasks left. It attaches, runs the initializer, and waits; the old one takes tasks until
    /// the next one is ready, so there is no pause: where tasks are shorter than a start, it runs some more than `tasks`. Until it has handed over, its
    /// place is held by two workers, of which one takes tasks. A next one that cannot be started counts as any worker that cannot: three in a row break the
    /// pool. What a task runs while it waits (`current_pool`) counts as well. One that stands in for another ([`replacements`](Builder::replacements)) is
    /// followed too, for as long as it is needed. Workers that attach by the pool's name stay.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! { fn pid() -> u32 { std::process::id() } }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).max_tasks_per_worker(10).build()?;
    ///     let first = pool.submit(pid, ())?.result()?;
    ///     while pool.submit(pid, ())?.result()? == first {}
    ///     Ok(())
    /// }
    /// ```
    pub fn max_tasks_per_worker(mut self, tasks: u32) -> Builder {
        match NonZeroU32::new(tasks) {
            Some(tasks) => self.policy.tasks_max = Some(tasks),
            None => {
                let refused = Error::invalid("max_tasks_per_worker", tasks, format!("1 to {}", u32::MAX));
                self.refused.get_or_insert(refused);
            }
        }
        self
    }
    /// How long a started worker may take to attach, and a task, whoever submits it, may wait for a worker that knows its function. In whole milliseconds,
    /// rounded up; more than 49 days are no limit. The default is 10 s.
    pub fn start_timeout(mut self, timeout: Duration) -> Builder {
        self.start_timeout = timeout;
        self
    }
    /// How long a normal end of this process (return from `main`, `exit`) waits at most for what was submitted; workers that still run
    /// then are killed, and those that are threads end with the process. Through C and C++ this holds too for a pool that the end of the main thread frees, by
    /// the destructor of a static object or a hook of `atexit`. The default is no limit.
    pub fn exit_wait_max(mut self, limit: Duration) -> Builder {
        self.exit_wait_max = Some(limit);
        self
    }
    /// Ends this process without waiting: the workers of an anonymous pool finish their running tasks and leave. Nor does a destructor or hook wait, as with
    /// [`exit_wait_max`](Builder::exit_wait_max).
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

    /// What workers are called: this, an underscore and their number, in `ps` and by [`task::worker_name`](crate::task::worker_name). 1 to 192 bytes
    /// without a zero byte; `ps` shows the first 12 or so. The default is `taskring-worker`.
    pub fn worker_names(mut self, prefix: impl Into<String>) -> Builder {
        self.constants.set(What::Prefix, prefix.into(), Vec::new());
        self
    }

    /// A task function that each worker runs once, before its first task; also one that takes the place of a worker that ended, and one that attaches
    /// by the pool's name. What it makes for later it leaves with [`task::set_worker_state`](crate::task::set_worker_state). It has to be over within
    /// [`start_timeout`](Builder::start_timeout) of the worker's start.
    ///
    /// When it returns an error or panics, or a worker that the owner has started lacks it, that is logged and breaks the pool: pending and later tasks
    /// end with [`Error::Broken`], whose cause has the message, and no worker is started any more. A worker that dies in it counts as one that could not
    /// be started: three in a row break the pool. [`work`](crate::work) in a program that lacks it is refused with [`Error::UnknownFunction`].
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn open(path: String) -> Result<(), taskring::TaskError> {
    ///         Err(taskring::TaskError::new(format!("no database at {path}")))
    ///     }
    ///     fn query() -> u64 { 1 }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(2).initializer(open, "/nowhere".to_owned()).build()?;
    ///     let error = pool.submit(query, ()).and_then(|future| future.result()).unwrap_err();
    ///     assert!(error.to_string().contains("no database at /nowhere"), "{error}");
    ///     Ok(())
    /// }
    /// ```
    pub fn initializer<A: Payload>(self, task: Task<A, ()>, args: A) -> Builder {
        self.run_once(What::Initializer, task, &args)
    }

    /// A task function that each worker runs once, when it leaves in good order: when the pool ends, or its owner does. A worker that was killed
    /// runs nothing any more. `shutdown` waits for it. Its error or panic is logged, and changes nothing.
    pub fn exit_hook<A: Payload>(self, task: Task<A, ()>, args: A) -> Builder {
        self.run_once(What::ExitHook, task, &args)
    }

    fn run_once<A: Payload>(mut self, what: What, task: Task<A, ()>, args: &A) -> Builder {
        let bytes = encoded(args).unwrap_or_else(|e| {
            self.refused.get_or_insert(e);
            Vec::new()
        });
        self.run_encoded(what, task.name(), bytes)
    }

    pub(crate) fn run_encoded(mut self, what: What, name: &str, args: Vec<u8>) -> Builder {
        self.constants.set(what, name.to_owned(), args);
        self
    }

    /// Bytes that every worker can read, under a name, without a copy: they lie in the pool's memory once.
    /// [`task::shared`](crate::task::shared) gives them to a task, [`Executor::shared`] to whoever is attached. At most 64 values, each of up to 2 GiB,
    /// with names of 1 to 192 bytes; together with the payload memory they have to fit into 16 GiB.
    pub fn shared(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Builder {
        self.constants.share(name.to_owned(), bytes.into());
        self
    }

    /// `room` is what is left for them.
    fn check_constants(&self, room: u64) -> Result<()> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let mut shared = HashSet::new();
        for (what, name, bytes) in self.constants.entries() {
            let parameter = match what {
                What::Prefix => "the prefix of the workers' names",
                What::Initializer => "the name of the initializer",
                What::ExitHook => "the name of the exit hook",
                What::Shared => "the name of a shared value",
                What::Cpus => "worker_cpus",
                What::MemoryMax => "worker_memory_max",
            };
            if name.is_empty() || name.len() > CONSTANT_NAME_MAX || name.contains('\0') {
                let wanted = format!("1 to {CONSTANT_NAME_MAX} bytes without a zero byte");
                return Err(Error::invalid(parameter, format!("{name:?}"), wanted));
            }
            if bytes.len() > PAYLOAD_LEN_MAX {
                return Err(Error::PayloadTooLarge { len: bytes.len() as u64, max: PAYLOAD_LEN_MAX as u64 });
            }
            if what == What::Shared && !shared.insert(name) {
                return Err(Error::invalid(parameter, format!("{name:?}"), "each one once"));
            }
            // Workers of the same program have what this one has.
            let is_ours = self.exe.is_none() && self.method != StartMethod::None;
            if matches!(what, What::Initializer | What::ExitHook) && is_ours && !is_known(name) {
                return Err(Error::UnknownFunction { name: name.to_owned() });
            }
        }
        if shared.len() > SHARED_MAX {
            return Err(Error::TooMany { what: "shared values", max: SHARED_MAX });
        }
        let len = self.constants.len() as u64;
        if len > room { Err(Error::PayloadTooLarge { len, max: room }) } else { Ok(()) }
    }

    /// Takes the constants out: what is shared is to lie in memory once.
    fn check(&mut self) -> Result<(SegmentPlan, Plan)> {
        let workers = self.workers.unwrap_or_else(|| self.method.workers_default(sys::cpu_count()));
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
        self.resources.check(self.method)?;
        self.resources.put(&mut self.constants);
        // In whole pages.
        self.check_constants((room - self.payload_max) & !4095)?;
        let geometry = geometry.with_constants(self.constants.len() as u64);
        if self.start_timeout.is_zero() {
            return Err(Error::invalid("start_timeout", "0", "more than 0"));
        }
        let limits = TimeLimits::of(self.limits[0], self.limits[1])?;
        if limits.hard_ms != 0 && self.method.is_thread() {
            return Err(Error::Unsupported { what: "a hard time limit", with: "with workers that are threads" });
        }
        if self.method == StartMethod::None
            && (self.workers_min.is_some() || self.idle_timeout.is_some() || self.replacements != 0)
        {
            return Err(Error::Unsupported { what: "workers on demand", with: "where others start them" });
        }
        let demand = Demand::of(self.workers_min, self.idle_timeout, self.replacements, workers)?;
        check_can_start(self.method, self.exe.as_ref())?;
        let constants = std::mem::take(&mut self.constants);
        let segment = SegmentPlan {
            geometry,
            constants,
            policy: Policy { workers: self.method.kind(), ..self.policy }.bits(),
            limits,
            retry: self.retry.as_ref().map_or(Ok(Rule::default()), Retry::rule)?,
            demand,
            start_timeout: self.start_timeout,
            named: false,
        };
        let workers = if self.method == StartMethod::None { 0 } else { workers };
        let plan = Plan { method: self.method, workers, demand, exe: self.exe.clone(), env: self.resources.env.clone() };
        Ok((segment, plan))
    }

    /// Makes an anonymous pool and starts its workers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]; [`Error::NotInitialized`], [`Error::NotAWorker`], [`Error::ManyThreads`];
    /// [`Error::OutOfMemory`]; [`Error::System`] when a worker cannot be started. [`Error::UnknownFunction`] and [`Error::Encode`] of the initializer and the exit
    /// hook; [`Error::TooMany`] and [`Error::PayloadTooLarge`] of shared values; [`Error::Unsupported`] for a hard time limit with workers that are threads, and
    /// for workers on demand where others start them.
    pub fn build(mut self) -> Result<Executor> {
        let (segment_plan, plan) = self.check()?;
        let segment = Arc::new(Segment::anonymous(&segment_plan)?);
        drop(segment_plan);
        self.finish(segment, plan, |_| Ok(()))
    }

    /// Makes a pool that other programs attach to by this name, and starts its workers.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::InvalidArgument`] for a name that is not 1 to 64 letters, digits, `-`, `_` or `.`; and those of
    /// [`build`](Builder::build).
    #[cfg(feature = "named")]
    pub fn create_named(mut self, name: &str) -> Result<Executor> {
        let (mut segment_plan, plan) = self.check()?;
        segment_plan.named = true;
        crate::named::check_name(name)?;
        let new = crate::named::New::create(&segment_plan)?;
        drop(segment_plan);
        let (segment, temporary) = new.into_parts();
        let segment = Arc::new(segment);
        // The owner's seat is taken before the name can be seen, so nobody takes the new pool for a dead one.
        self.finish(segment.clone(), plan, |pool| temporary.publish(name, pool))
    }

    fn finish(self, segment: Arc<Segment>, plan: Plan, publish: impl FnOnce(&mut Pool) -> Result<()>) -> Result<Executor> {
        let zygote = match plan.method {
            StartMethod::Fork => Some(Zygote::fork(&segment, &plan.env)?),
            StartMethod::ForkServer => Some(Zygote::spawn(&segment, self.exe.as_ref(), &plan.env)?),
            _ => None,
        };
        let mut pool = Pool::join(segment, Kind::Owner)?;
        pool.segment().life().wanted.store(plan.workers as u32, Relaxed);
        publish(&mut pool)?;
        let supervisor = Supervisor::start(Arc::new(pool), plan, zygote)?;
        exit::remember(&supervisor, self.detach_on_exit, self.exit_wait_max);
        Ok(Executor::from_parts(supervisor.pool().clone(), Some(supervisor)))
    }
}

impl Executor {
    /// The value of that name that the pool's creator shares ([`Builder::shared`]), for the creator itself and whoever is attached; a task asks
    /// [`task::shared`](crate::task::shared). The bytes are borrowed, not copied. `None` when there is none of that name.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Forked`].
    pub fn shared(&self, name: &str) -> Result<Option<Shared>> {
        self.pool().member.check_fork()?;
        crate::setup::shared_of(&self.pool().member.segment, name)
    }
}
