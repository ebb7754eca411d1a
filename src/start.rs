//! Starting workers: what a program that wants them calls first, and the ways to start one.
//!
//! A spawned worker is this very program (or the one that `worker_exe` names), run anew with one environment variable that says which
//! inherited descriptor is the pool. [`init`] takes the variable away at once, serves the pool, and exits: it never returns in a worker. A
//! program that was started with the variable and builds a pool before it called `init` is refused: that is how it would start itself for ever.

use crate::error::{Error, PoolKind, Result};
use crate::limits::WORKERS_MAX;
use crate::record::Kind;
use crate::segment::Segment;
use crate::sys;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Says what a started process is to be, and by which descriptors.
const MARK: &str = "TASKRING_WORKER";
/// Exit code of a worker that could not attach.
const EXIT_NOT_ATTACHED: i32 = 70;

/// Threads beyond the number of CPUs, and of all of them at most, when nobody says how many: as `ThreadPoolExecutor` of Python has them.
const THREADS_MORE: usize = 4;
const THREADS_DEFAULT_MAX: usize = 32;

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// How workers come into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// Run this program (or `worker_exe`) anew for each worker. Nothing is inherited but the pool. The default.
    #[default]
    Spawn,
    /// Fork them from a copy of this process that is made when the pool is built, which must be before it has a second thread.
    Fork,
    /// Fork them from a fresh run of this program that has done nothing but [`init`].
    ForkServer,
    /// Threads of this process. A task that takes its thread's process down takes this process down.
    Thread,
    /// Threads of this process that share nothing with each other, as far as the compiler can see to it: a registered function that has captured anything is
    /// refused there. [`InterpreterPool`](crate::InterpreterPool) gives each a context of its own.
    Interpreter,
    /// None: workers attach by the pool's name.
    None,
}

impl StartMethod {
    /// Whether its workers are threads, which no signal ends alone.
    pub(crate) fn is_thread(self) -> bool {
        self.kind() != PoolKind::Process
    }

    /// How many workers there are when nobody says, where this process may use so many CPUs.
    pub(crate) fn workers_default(self, cpus: usize) -> usize {
        if self.is_thread() { THREADS_DEFAULT_MAX.min(cpus + THREADS_MORE) } else { cpus.min(WORKERS_MAX) }
    }

    /// What its workers are.
    pub(crate) fn kind(self) -> PoolKind {
        match self {
            StartMethod::Thread => PoolKind::Thread,
            StartMethod::Interpreter => PoolKind::Interpreter,
            StartMethod::Spawn | StartMethod::Fork | StartMethod::ForkServer | StartMethod::None => PoolKind::Process,
        }
    }
}

/// The program to run as a worker, if it is not this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerExe {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// Makes this program able to be its own worker. The first line of `main`: in a worker process it serves the pool and never
/// returns; anywhere else it returns at once.
///
/// ```no_run
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(2).build()?;
/// #   drop(pool);
///     Ok(())
/// }
/// ```
pub fn init() {
    INITIALISED.store(true, Relaxed);
    let Some(mark) = std::env::var_os(MARK) else {
        return crate::exit::watch_thread();
    };
    // SAFETY: this comes first in `main`, or before it, so no code of the program's own runs beside it. There may be threads that a library started
    // before `main`: `unsetenv` of the C library takes its lock against other writers, moves pointers and frees nothing, so a `getenv` that is
    // going on finds the old or the new entry; Rust's own readers hold the standard library's lock.
    unsafe { std::env::remove_var(MARK) };
    let code = match run_marked(&mark) {
        Ok(()) => 0,
        Err(_) => EXIT_NOT_ATTACHED,
    };
    // No destructors of ours are left to run, and the program's own exit handlers belong to its main job, not to a worker.
    sys::exit_now(code)
}

fn run_marked(mark: &OsStr) -> Result<()> {
    let wanted = || Error::invalid("the worker's mark", mark.to_string_lossy(), "worker:FD:NUMBER or zygote:FD:FD");
    let mark = mark.to_str().ok_or_else(wanted)?;
    let mut parts = mark.split(':');
    let role = parts.next().ok_or_else(wanted)?;
    let fds: Vec<i32> = parts.map_while(|p| p.parse().ok()).collect();
    match (role, fds.as_slice()) {
        ("worker", &[segment, number]) => {
            let number = u32::try_from(number).map_err(|_| wanted())?;
            serve_as_process(Arc::new(Segment::inherited(adopt(segment)?)?), number)
        }
        ("zygote", &[segment, socket]) => {
            let (segment, socket) = (adopt(segment)?, adopt(socket)?);
            let segment = Arc::new(Segment::inherited(segment)?);
            crate::zygote::serve(socket, &segment)
        }
        _ => Err(wanted()),
    }
}

/// Takes over a descriptor that the parent left open for us.
fn adopt(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::invalid("an inherited descriptor", fd, "0 or more"));
    }
    // SAFETY: our parent names in the mark only descriptors that it left open for us, and nobody else in this process knows them.
    // If the mark lies, the checks of `validate` refuse what it names, or `close_on_exec` fails.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if let Err(e) = sys::close_on_exec(fd.as_fd()) {
        // It is not open: dropping it would close a number that is not ours.
        std::mem::forget(fd);
        return Err(e.into());
    }
    Ok(fd)
}

/// The life of a worker process, whatever started it. `number` is the one that its owner knows it by.
pub(crate) fn serve_as_process(segment: Arc<Segment>, number: u32) -> Result<()> {
    // Ctrl-C goes to the whole foreground group: the owner decides what it means. An empty handler, not SIG_IGN, which programs
    // started by a task would inherit.
    sys::ignore_interrupt();
    crate::worker::serve(segment, Kind::Worker, crate::worker::Came::AsChild(number))
}

/// Refuses what cannot work, and what would make a program start itself for ever.
pub(crate) fn check_can_start(method: StartMethod, exe: Option<&WorkerExe>) -> Result<()> {
    if std::env::var_os(MARK).is_some() {
        return Err(Error::NotAWorker {
            program: own_program().display().to_string(),
            exit: "it builds a pool of its own instead".into(),
            hint: "add `taskring::init();` as the first line of its main".into(),
        });
    }
    match method {
        StartMethod::Spawn | StartMethod::ForkServer if exe.is_none() && !INITIALISED.load(Relaxed) => {
            Err(Error::NotInitialized)
        }
        // Where the call is forbidden no worker could be watched.
        StartMethod::Spawn => Ok(sys::pidfd_open(sys::pid()).map(drop)?),
        StartMethod::Fork => match sys::thread_count()? {
            1 => Ok(()),
            count => Err(Error::ManyThreads { count }),
        },
        _ => Ok(()),
    }
}

pub(crate) fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// Runs a worker program, or this program as a worker. Returns its pid; it is a child of ours, to be reaped.
pub(crate) fn spawn(
    segment: BorrowedFd<'_>,
    exe: Option<&WorkerExe>,
    env: &[(OsString, OsString)],
    number: u32,
) -> Result<u32> {
    run(exe, env, &format!("worker:{}:{number}", segment.as_raw_fd()), &[segment.as_raw_fd()])
}

/// Runs this program as the process that forks the workers.
pub(crate) fn spawn_zygote(
    segment: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    exe: Option<&WorkerExe>,
    env: &[(OsString, OsString)],
) -> Result<u32> {
    let (segment, socket) = (segment.as_raw_fd(), socket.as_raw_fd());
    run(exe, env, &format!("zygote:{segment}:{socket}"), &[segment, socket])
}

fn run(exe: Option<&WorkerExe>, env: &[(OsString, OsString)], mark: &str, inherited: &[i32]) -> Result<u32> {
    let mut command = match exe {
        Some(exe) => {
            let mut command = Command::new(&exe.program);
            command.args(&exe.args).envs(exe.env.iter().map(|(k, v)| (k, v)));
            command
        }
        None => {
            // Through /proc, so that a program that was replaced on disk meanwhile still starts itself.
            let mut command = Command::new("/proc/self/exe");
            command.arg0(std::env::args_os().next().unwrap_or_else(|| "taskring-worker".into()));
            command
        }
    };
    command.envs(env.iter().map(|(k, v)| (k, v))).env(MARK, mark).stdin(Stdio::null());
    let inherited = inherited.to_vec();
    let leave_open = move || {
        for &fd in &inherited {
            // SAFETY: the descriptors are open in the parent, which waits in `spawn` while this runs in the child.
            sys::inherit(unsafe { BorrowedFd::borrow_raw(fd) }).map_err(|e| std::io::Error::from_raw_os_error(e.errno))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes only fcntl calls, which are async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(leave_open) };
    // Where nobody can wait for children, the standard library panics over one that could not become the program.
    match crate::task::guarded(|| command.spawn()) {
        Ok(child) => Ok(child.map_err(|e| sys::SysError::from_io("spawn of a worker", &e))?.id()),
        Err(_) => {
            Err(Error::System { call: "exec of a worker, whose error is lost as SIGCHLD is ignored", errno: libc::ECHILD })
        }
    }
}

/// Makes `spawn` work under a harness whose `main` is not ours: `cargo test` and criterion benches. At the top level of the file.
///
/// It calls [`init`](crate::init) before `main`, by an entry in the program's `.init_array`.
#[macro_export]
macro_rules! test_support {
    () => {
        const _: () = {
            extern "C" fn start() {
                $crate::init();
            }
            #[used]
            // SAFETY: the section holds pointers to functions of this signature (further arguments are ignored by the C calling
            // convention), which the C runtime calls once before `main`. The standard library's own entry, which makes the
            // environment available, has a priority and comes first.
            #[unsafe(link_section = ".init_array")]
            static START: extern "C" fn() = start;
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_number_of_workers_is_bounded() {
        let of = |method: StartMethod| [1, 2, 27, 28, 29, 192, 500].map(|cpus| method.workers_default(cpus));
        assert_eq!(of(StartMethod::Spawn), [1, 2, 27, 28, 29, 192, 192]);
        assert_eq!(of(StartMethod::ForkServer), of(StartMethod::Fork));
        assert_eq!(of(StartMethod::Thread), [5, 6, 31, 32, 32, 32, 32]);
        assert_eq!(of(StartMethod::Interpreter), of(StartMethod::Thread));
    }
}
