//! The one table of errors: what went wrong, with the value that was wrong and what would have been right.

use std::time::Duration;

/// Why a worker process ended, as far as anybody could find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It called `exit` (or returned from `main`) with this code.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone, and nobody who could know the cause was there to write it down.
    Unknown,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Exit(code) => write!(f, "it exited with code {code}"),
            Cause::Signal(signal) => write!(f, "signal {signal} killed it"),
            Cause::Unknown => write!(f, "cause unknown"),
        }
    }
}

/// How far a task had come when its worker died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The function had been entered; how much of it ran is unknown.
    MayHaveRun,
    /// The function had returned, but its result was not committed.
    RanResultLost,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::MayHaveRun => "the task may have run",
            Stage::RanResultLost => "the task ran, its result is lost",
        })
    }
}

/// What the workers of a pool are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PoolKind {
    /// Processes. Also of a pool that starts none of its own: who comes by its name is another program, most likely.
    #[default]
    Process,
    /// Threads of the owner's process.
    Thread,
    /// Threads that share nothing, as [`InterpreterPool`](crate::InterpreterPool) says.
    Interpreter,
}

impl std::fmt::Display for PoolKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PoolKind::Process => "processes",
            PoolKind::Thread => "threads",
            PoolKind::Interpreter => "interpreters",
        })
    }
}

/// Everything that can go wrong, one variant for each thing the caller can do something about.
///
#[doc = include_str!("../docs/errors.md")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named in each variant's message")]
pub enum Error {
    /// A parameter is out of its range. Nothing was changed.
    #[error("{name} is {value}; wanted {wanted}")]
    InvalidArgument { name: &'static str, value: String, wanted: String },
    /// Spawned workers re-run this program, and its `main` does not begin with [`init`](crate::init).
    #[error(
        "workers cannot be spawned: add `taskring::init();` as the first line of main (in a test or bench file: \
         `taskring::test_support!();` at its top level), or name a worker program with `worker_exe`"
    )]
    NotInitialized,
    /// A program was started as a worker and did not become one.
    #[error("{program} was started as a worker and did not attach ({exit}); {hint}")]
    NotAWorker { program: String, exit: String, hint: String },
    /// No worker of the pool has this function, and neither has this process.
    #[error("no function named {name:?} is registered here or in any worker of the pool")]
    UnknownFunction { name: String },
    /// The task waited for a worker that knows its function, and none came.
    #[error("no worker that can run {name:?} came within {waited:?}")]
    NoWorkerFor { name: String, waited: Duration },
    /// Arguments or a result are larger than the pool takes.
    #[error("a payload of {len} bytes is too large: this pool takes up to {max}")]
    PayloadTooLarge { len: u64, max: u64 },
    /// The events of the task that nobody has read yet leave no room for another one. Nothing was changed: the task may send it later.
    #[error("no room for an event of {len} bytes: {unread} bytes of events are unread, of up to {max}")]
    EventsFull { len: u64, unread: u64, max: u64 },
    /// Shared memory could not be had. Nothing was changed; the same call may go through later.
    #[error("out of memory for {what}: {needed} bytes needed, {available} available")]
    OutOfMemory { what: &'static str, needed: u64, available: u64 },
    /// A pool of this name is alive.
    #[error("a pool named {name:?} exists")]
    Exists { name: String },
    /// There is no pool of this name.
    #[error("there is no pool named {name:?}")]
    NotFound { name: String },
    /// The pool of this name belongs to another user.
    #[error("the pool {name:?} belongs to user {uid}, not to this process's user")]
    NotOwner { name: String, uid: u32 },
    /// What was found is no pool that this build can attach to.
    #[error("cannot attach: {what} is {found}, wanted {wanted}")]
    Incompatible { what: &'static str, found: String, wanted: String },
    /// The pool was shut down.
    #[error("the pool is shut down and takes no new tasks")]
    ShutDown,
    /// This handle was made before a `fork`, by the parent process.
    #[error("this handle belongs to the parent process: after fork, attach anew")]
    Forked,
    /// The future's slot has been reused: its result was taken by somebody else.
    #[error("this future is stale: its result was taken before")]
    Stale,
    /// A pool with `StartMethod::Fork` must be built while the process has one thread.
    #[error("fork needs a process with one thread, this one has {count}; build the pool earlier, or use ForkServer")]
    ManyThreads { count: usize },
    /// Every slot that this submitter may use holds an unfinished task.
    #[error("the ring is full: all {capacity} slots hold unfinished tasks")]
    Full { capacity: usize },
    /// The time allowed went by. Nothing was changed.
    #[error("timed out after {after:?} waiting for {what}")]
    TimedOut { what: &'static str, after: Duration },
    /// The task was cancelled before any worker started it, or killed by a [hard cancel](crate::Future::cancel_hard).
    #[error("the task was cancelled")]
    Cancelled,
    /// The task set was discarded and takes no new tasks.
    #[error("the task set was discarded")]
    Discarded,
    /// The task returned an error: what that said, and what had brought it about, if it had a source.
    #[error("the task failed: {}", whole(summary, source.as_deref()))]
    TaskFailed { summary: String, source: Option<Box<TaskSource>> },
    /// The task panicked. The worker lives on.
    #[error("the task panicked: {message}")]
    Panicked { message: String, backtrace: String },
    /// The worker died while it ran this task. `name` is that of a worker that the pool's owner has started, as [`task::worker_name`](crate::task::worker_name)
    /// gives it.
    #[error("{} died while it ran this task: {cause}; {stage}", worker(name.as_deref(), *pid))]
    WorkerLost { pid: u32, name: Option<String>, cause: Cause, stage: Stage },
    /// The task ran longer than its hard time limit, and was killed with its worker.
    #[error("the task was killed, for it ran longer than {limit:?}")]
    TimeLimit { limit: Duration },
    /// The pool cannot run tasks any more.
    #[error("the pool is broken: {cause}")]
    Broken { kind: PoolKind, cause: String },
    /// A word in shared memory holds an impossible value. The pool is closed for everybody.
    #[error("shared memory is corrupt: {what}")]
    Corrupt { what: String },
    /// A living process holds a lock and does not go on; it may be stopped.
    #[error("process {pid} holds a lock of the pool and does not go on (is it stopped?)")]
    Stalled { pid: u32 },
    /// A task would wait for the end of the pool that runs it, and so for itself. Nothing was changed.
    #[error("a task cannot wait for the end of the pool that runs it")]
    Busy,
    /// A task would wait for one that, itself or by way of others, waits for it in its turn. Nothing was changed: the task that was waited for goes on.
    #[error("this wait could never end: what is waited for waits for the task that waits")]
    WouldDeadlock,
    /// A future is in a state in which this cannot be done. Nothing was changed.
    #[error("the task is {state}; wanted {wanted}")]
    InvalidState { state: &'static str, wanted: &'static str },
    /// This kind of pool or worker cannot do it. Nothing was changed.
    #[error("{what} is not possible {with}")]
    Unsupported { what: &'static str, with: &'static str },
    /// The pool's workers were ended before the task was over.
    #[error("the pool was terminated before the task was over")]
    Terminated,
    /// The arguments or the result could not be encoded.
    #[error("cannot encode: {message}")]
    Encode { message: String },
    /// The bytes received are no value of the expected type.
    #[error("cannot decode: {message}")]
    Decode { message: String },
    /// A fixed number of things is used up.
    #[error("too many {what}: the limit is {max}")]
    TooMany { what: &'static str, max: usize },
    /// A system call failed.
    #[error("{call}: {}", std::io::Error::from_raw_os_error(*errno))]
    System { call: &'static str, errno: i32 },
}

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Its clone, where nearly all have none to clone.
    #[cold]
    #[inline(never)]
    pub(crate) fn another(&self) -> Error {
        self.clone()
    }

    pub(crate) fn invalid(name: &'static str, value: impl ToString, wanted: impl ToString) -> Error {
        Error::InvalidArgument { name, value: value.to_string(), wanted: wanted.to_string() }
    }

    pub(crate) fn incompatible(what: &'static str, found: impl ToString, wanted: impl ToString) -> Error {
        Error::Incompatible { what, found: found.to_string(), wanted: wanted.to_string() }
    }

    /// Whether a wait in a task was refused ([`current_pool`](crate::current_pool) says when): nothing was changed, and what was waited for goes on.
    pub(crate) fn is_refused_wait(&self) -> bool {
        matches!(self, Error::WouldDeadlock | Error::TooMany { .. } | Error::Unsupported { .. })
    }

    /// Whether the task itself went wrong: it failed, panicked, took its worker down with it, or ran longer than it may.
    #[must_use]
    pub fn is_task_failure(&self) -> bool {
        matches!(
            self,
            Error::TaskFailed { .. } | Error::Panicked { .. } | Error::WorkerLost { .. } | Error::TimeLimit { .. }
        )
    }
}

/// What brought the error of a task about, as its text: the `source` of [`Error::TaskFailed`], and in its turn of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSource {
    text: String,
    source: Option<Box<TaskSource>>,
}

impl TaskSource {
    /// It and its sources in one line.
    pub(crate) fn whole(&self) -> String {
        whole(&self.text, self.source.as_deref())
    }

    /// The chain of these texts, each brought about by the next one.
    pub(crate) fn chain<'a>(texts: impl DoubleEndedIterator<Item = &'a str>) -> Option<Box<TaskSource>> {
        texts.rev().fold(None, |source, text| Some(Box::new(TaskSource { text: text.to_owned(), source })))
    }
}

impl std::fmt::Display for TaskSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TaskSource {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A worker, in the words of an error. One that came by the pool's name has none of its own.
fn worker(name: Option<&str>, pid: u32) -> String {
    match name {
        Some(name) => format!("worker {}", named(name, pid)),
        None => format!("the worker in process {pid}"),
    }
}

/// A worker that has a name.
pub(crate) fn named(name: &str, pid: u32) -> String {
    format!("{name} (process {pid})")
}

/// A summary and all of its sources in one line.
pub(crate) fn whole(summary: &str, source: Option<&TaskSource>) -> String {
    let sources = std::iter::successors(source, |source| source.source.as_deref());
    sources.fold(summary.to_owned(), |text, source| text + ": " + &source.text)
}

impl From<crate::sys::SysError> for Error {
    fn from(e: crate::sys::SysError) -> Error {
        Error::System { call: e.call, errno: e.errno }
    }
}

/// What a task returns when it fails: any error by `?`, or a text. It reaches the submitter as [`Error::TaskFailed`].
///
/// ```
/// use taskring::TaskError;
/// fn parse(text: &str) -> Result<u64, TaskError> {
///     Ok(text.parse::<u64>()?)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct TaskError {
    summary: String,
    /// Texts of its sources, each brought about by the next one.
    sources: Vec<String>,
    code: u8,
}

impl TaskError {
    /// By this number [`Retry::on_codes`](crate::Retry::on_codes) chooses the errors that another attempt follows: 1 to 31. The submitter does not see it.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> TaskError {
        self.code = code;
        self
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// As it is stored: the summary, and its sources.
    pub(crate) fn texts(&self) -> (&str, &[String]) {
        (&self.summary, &self.sources)
    }

    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> TaskError {
        TaskError { summary: message.into(), sources: Vec::new(), code: 0 }
    }
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.summary)?;
        self.sources.iter().try_for_each(|source| write!(f, ": {source}"))
    }
}

impl std::fmt::Debug for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskError({:?})", self.to_string())
    }
}

// `TaskError` is deliberately no `std::error::Error`: that is what allows this conversion from every error.
impl<E: std::error::Error> From<E> for TaskError {
    fn from(e: E) -> TaskError {
        let sources = std::iter::successors(e.source(), |source| source.source());
        TaskError { summary: e.to_string(), sources: sources.map(ToString::to_string).collect(), code: 0 }
    }
}
