//! The options of pools, drawn at random: what a pool was told is read off its name, so everybody who uses it knows what it may expect, and looks.

use crate::deeds::Random;
use crate::features::{Feature, complain, drawn};
use std::time::Duration;
use taskring::task::{set_worker_state, shared, worker_name, worker_number, worker_state};
use taskring::{Builder, Executor, OnWorkerDeath, Orphans, Retry, StartMethod, SubmitOptions, TaskError};

/// What a pool was told. The last part of its name, in hexadecimal digits, says it all: the lowest bits how its workers start, the others the rest.
#[derive(Clone, Debug)]
pub struct Plan {
    pub method: StartMethod,
    name: String,
    max_tasks: Option<u32>,
    idle_timeout: Option<Duration>,
    replacements: usize,
    /// How often a task is run again after its worker's death, if that is not for the submitter to say.
    deaths: Option<u8>,
    orphans_cancelled: bool,
    /// Tasks that fail run again.
    retry: bool,
    initializer: Option<u64>,
    exit_hook: bool,
    prefix: Option<String>,
    environment: bool,
    cpus: Vec<usize>,
    memory_max: Option<u64>,
    shared: Option<usize>,
}

/// The environment variable with the pool's name.
const VARIABLE: &str = "TASKRING_CHAOS_POOL";
const METHOD_BITS: u32 = 3;
const METHODS: [StartMethod; 5] =
    [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork, StartMethod::Thread, StartMethod::Interpreter];

/// The last part of a pool's name. `method` counts around those that there are.
pub fn code(random: &mut Random, method: u64) -> String {
    format!("{:x}", (random.below(1 << 40) << METHOD_BITS) | (method % METHODS.len() as u64))
}

impl Plan {
    /// What the pool of this name was told.
    pub fn of(name: &str) -> Plan {
        let code = name.rsplit('-').next().and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        let method = METHODS[(code & ((1 << METHOD_BITS) - 1)) as usize % METHODS.len()];
        let mut random = Random((code >> METHOD_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(1);
        let mut one_in = |n: u64| random.below(n) == 0;
        let has_processes = !matches!(method, StartMethod::Thread | StartMethod::Interpreter);
        let [max_tasks, idle, deaths, orphans, retry] = [one_in(2), one_in(2), one_in(3), one_in(3), one_in(4)];
        let [initializer, exit_hook, prefix, shared] = [one_in(2), one_in(2), one_in(2), one_in(2)];
        let [environment, cpus, memory] = [one_in(2), one_in(3), one_in(3)].map(|on| on && has_processes);
        let cpus = if cpus { cpus_of_soak() } else { Vec::new() };
        Plan {
            method,
            name: name.to_owned(),
            max_tasks: max_tasks.then(|| 1 + random.below(20_000) as u32),
            // One is always there: without an owner nobody else comes.
            idle_timeout: idle.then(|| Duration::from_millis(1 + random.below(40))),
            replacements: random.below(3) as usize,
            deaths: deaths.then(|| 1 + random.below(3) as u8),
            orphans_cancelled: orphans,
            retry,
            initializer: initializer.then(|| random.below(u64::MAX)),
            exit_hook,
            prefix: prefix.then(|| format!("chaos{}", random.below(1000))),
            environment,
            cpus: cpus.into_iter().take(1 + random.below(3) as usize).collect(),
            // What an unoptimised program needs to start, and some room.
            memory_max: memory.then(|| (96 + random.below(160)) << 20),
            shared: shared.then(|| 1 + random.below(100_000) as usize),
        }
    }

    /// Whether the workers of the pool are threads of its owner, which a fatal deed would kill.
    pub fn has_threads(&self) -> bool {
        matches!(self.method, StartMethod::Thread | StartMethod::Interpreter)
    }

    /// A builder that has been told all of it.
    pub fn builder(&self) -> Builder {
        let mut builder = Executor::builder().workers(2).capacity(256).payload_max(64 << 20).start(self.method);
        builder = builder.replacements(self.replacements);
        if let Some(tasks) = self.max_tasks {
            builder = builder.max_tasks_per_worker(tasks);
        }
        if let Some(timeout) = self.idle_timeout {
            builder = builder.min_workers(1).idle_timeout(timeout);
        }
        if let Some(deaths) = self.deaths {
            builder = builder.on_worker_death(OnWorkerDeath::Retry(deaths));
        }
        if self.orphans_cancelled {
            builder = builder.orphans(Orphans::CancelPending);
        }
        if self.retry {
            builder = builder.task_retry(Retry::new(3).on_errors().on_panics());
        }
        if let Some(argument) = self.initializer {
            builder = builder.initializer(prepare, argument);
        }
        if self.exit_hook {
            builder = builder.exit_hook(leave, self.initializer);
        }
        if let Some(prefix) = &self.prefix {
            builder = builder.worker_names(prefix.as_str());
        }
        if self.environment {
            builder = builder.worker_env([(VARIABLE, &self.name)]);
        }
        if !self.cpus.is_empty() {
            builder = builder.worker_cpus(self.cpus.iter().copied());
        }
        if let Some(bytes) = self.memory_max {
            builder = builder.worker_memory_max(bytes);
        }
        if let Some(len) = self.shared {
            builder = builder.shared("name", self.name.as_bytes()).shared("bytes", pattern(len));
        }
        builder
    }

    /// Says which of them there are.
    pub fn note_drawn(&self) {
        let all = [
            (self.max_tasks.is_some(), Feature::MaxTasks),
            (self.idle_timeout.is_some(), Feature::OnDemand),
            (self.replacements != 0, Feature::Replacements),
            (self.deaths.is_some(), Feature::RetryDeaths),
            (self.orphans_cancelled, Feature::OrphansCancelled),
            (self.retry, Feature::PoolRetry),
            (self.initializer.is_some(), Feature::Initializer),
            (self.prefix.is_some(), Feature::Names),
            (self.environment, Feature::Environment),
            (!self.cpus.is_empty(), Feature::Cpus),
            (self.memory_max.is_some(), Feature::MemoryMax),
            (self.shared.is_some(), Feature::Shared),
        ];
        all.into_iter().filter(|(is_on, _)| *is_on).for_each(|(_, feature)| drawn(feature));
    }

    /// Options of a task that has none yet, and whether it may run more than once with them: by the pool's word, or by its own. `in_chunks`: of a map, in
    /// which inputs are run again only when their worker has died.
    pub fn repeating(&self, random: &mut Random, in_chunks: bool) -> (SubmitOptions, bool) {
        let options = SubmitOptions::new();
        match random.below(8) {
            0 => (options.idempotent(true), true),
            1 if !in_chunks => {
                let (first, max) = (Duration::from_millis(random.below(4)), Duration::from_millis(4));
                (options.retry(Retry::new(3).on_errors().on_panics().backoff(first, max)), true)
            }
            2..5 if self.repeats(in_chunks) => (self.once(in_chunks), false),
            _ => (options, self.repeats(in_chunks)),
        }
    }

    /// Whether a task may run more than once by the pool's word alone.
    pub fn repeats(&self, in_chunks: bool) -> bool {
        self.deaths.is_some() || self.retry && !in_chunks
    }

    /// Options of a task that must not run twice, whatever the pool's word is.
    pub fn once(&self, in_chunks: bool) -> SubmitOptions {
        let options = SubmitOptions::new().idempotent(false);
        if in_chunks { options } else { options.retry(Retry::never()) }
    }

    /// What a worker of the pool must find around it. Its number is none when it came by itself, and then it has what its own starter gave it.
    pub fn look(&self) -> Result<(), String> {
        let number = worker_number();
        let prepared = worker_state::<Prepared>().map(|prepared| prepared.0);
        if prepared != self.initializer {
            return Err(format!("the initializer left {prepared:?} instead of {:?}", self.initializer));
        }
        let name = number.map(|n| format!("{}_{n}", self.prefix.as_deref().unwrap_or("taskring-worker")));
        if worker_name() != name {
            return Err(format!("its name is {:?} instead of {name:?}", worker_name()));
        }
        let found = [shared("name"), shared("bytes")].map(|value| value.map(|value| value.to_vec()));
        let wanted = self.shared.map_or([None, None], |len| [self.name.clone().into_bytes(), pattern(len)].map(Some));
        if found != wanted {
            return Err("other shared values".into());
        }
        let Some(number) = number else { return Ok(()) };
        if self.environment && std::env::var(VARIABLE).as_ref() != Ok(&self.name) {
            return Err(format!("its environment says {:?}", std::env::var(VARIABLE)));
        }
        if !self.cpus.is_empty() && cpus() != [self.cpus[number as usize % self.cpus.len()]] {
            return Err(format!("worker {number} runs on {:?}, of {:?}", cpus(), self.cpus));
        }
        let limit = memory_limit();
        if self.memory_max.is_some_and(|max| limit != max) {
            return Err(format!("its memory is limited to {limit}, not {:?}", self.memory_max));
        }
        Ok(())
    }
}

/// What every submitter finds in a pool with shared values.
pub fn look_from_outside(pool: &Executor, plan: &Plan) {
    let found = ["name", "bytes"].map(|name| pool.shared(name).map(|value| value.map(|value| value.to_vec())));
    let wanted = plan.shared.map_or([None, None], |len| [plan.name.clone().into_bytes(), pattern(len)].map(Some));
    if found != wanted.map(Ok) {
        complain("a submitter finds other shared values than the pool was made with");
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// What the initializer leaves in a worker.
struct Prepared(u64);

taskring::task! {
    fn prepare(argument: u64) -> Result<(), TaskError> {
        if worker_state::<Prepared>().is_some() {
            return Err(TaskError::new("this worker was prepared before"));
        }
        Ok(set_worker_state(Prepared(argument))?)
    }
    fn leave(argument: Option<u64>) {
        drawn(Feature::ExitHook);
        let left = worker_state::<Prepared>().map(|prepared| prepared.0);
        if left != argument {
            complain(&format!("an exit hook finds {left:?} instead of {argument:?}"));
        }
    }
}

/// The environment variable with the CPUs that the soak may use: a worker may be pinned to fewer.
pub const CPUS: &str = "TASKRING_CHAOS_CPUS";

fn cpus_of_soak() -> Vec<usize> {
    let text = std::env::var(CPUS).unwrap_or_default();
    text.split(' ').filter_map(|cpu| cpu.parse().ok()).collect()
}

/// The CPUs that this thread may use.
pub fn cpus() -> Vec<usize> {
    // SAFETY: bits, for which zero is good.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live local of that size to write to; the bits that are asked for are in it.
    unsafe {
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

fn memory_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live local to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_DATA, &raw mut limit) };
    limit.rlim_cur
}
