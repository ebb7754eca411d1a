//! Processes: who is alive, how one ended, and the hooks around fork and exit.
//!
//! A process identifier alone names nobody for long, because the kernel reuses it. A pair of identifier and start
//! time, within one pid and one time namespace, names a process for good; a pidfd does so without a comparison.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use super::{Result, SysError, retry_eintr};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is over, and nobody can say how: somebody else has waited for it, or this process ignores SIGCHLD.
    Unknown,
}

/// This process. Async-signal-safe.
pub(crate) fn pid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// The effective user: the owner of files that this process makes. Async-signal-safe.
pub(crate) fn uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// When a process started, in clock ticks since boot; `None` if there is none with this number. A zombie still counts.
pub(crate) fn start_time(pid: u32) -> Result<Option<u64>> {
    stat_field(&format!("/proc/{pid}/stat"), START_TIME)
}

/// The fields of `/proc/PID/stat`, counted as in proc_pid_stat(5).
const FLAGS: usize = 9;
const START_TIME: usize = 22;

/// A number from such a file of a process or a thread; `None` if there is none any more.
fn stat_field(path: &str, field: usize) -> Result<Option<u64>> {
    let call = "read /proc/PID/stat";
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            return match error.raw_os_error() {
                // ESRCH: it ended between the opening and the reading.
                Some(libc::ENOENT | libc::ESRCH) => Ok(None),
                _ => Err(SysError::from_io(call, &error)),
            };
        }
    };
    match parse_stat_field(&text, field) {
        Some(number) => Ok(Some(number)),
        None => Err(SysError { call, errno: libc::EINVAL }),
    }
}

/// Field 2, the name, may hold spaces, parentheses and any byte, so counting starts after the last parenthesis.
fn parse_stat_field(text: &[u8], field: usize) -> Option<u64> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(field - 3)?.parse().ok()
}

/// A number for the pid namespace of this process: identifiers of two processes compare only if this is the same.
pub(crate) fn pid_namespace() -> Result<u64> {
    std::fs::metadata("/proc/self/ns/pid")
        .map(|data| data.ino())
        .map_err(|error| SysError::from_io("stat /proc/self/ns/pid", &error))
}

/// A number for the time namespace of this process: start times compare only if this is the same, for `/proc` adds the reader's own offset to them. 0
/// where the kernel was built without.
pub(crate) fn time_namespace() -> Result<u64> {
    match std::fs::metadata("/proc/self/ns/time") {
        Ok(data) => Ok(data.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(SysError::from_io("stat /proc/self/ns/time", &error)),
    }
}

/// The length of this program's file, in bytes; 0 where that cannot be found out.
pub(crate) fn program_len() -> u64 {
    std::fs::metadata("/proc/self/exe").map_or(0, |data| data.len())
}

/// A descriptor for a process; `None` if there is none with this number.
pub(crate) fn pidfd_open(pid: u32) -> Result<Option<OwnedFd>> {
    let Ok(number) = libc::pid_t::try_from(pid) else {
        return Ok(None);
    };
    // SAFETY: the call takes two integers.
    let result = retry_eintr("pidfd_open", || unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) });
    match result {
        // SAFETY: the call has just made this descriptor, so it is open and nobody else's.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        // EINVAL or ENOENT, by kernel version: reaped a moment ago, or the number is now a mere thread's.
        Err(SysError { errno: libc::ESRCH | libc::EINVAL | libc::ENOENT, .. }) if number > 0 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells whether the process has ended, reaped or not. Async-signal-safe.
pub(crate) fn pidfd_exited(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one writable element.
    let ready = retry_eintr("poll", || unsafe { libc::poll(&raw mut entry, 1, 0).into() })?;
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(SysError { call: "poll", errno: libc::EBADF });
    }
    Ok(ready > 0)
}

/// Sends a signal; false if the process has been reaped. A zombie takes it without effect. Async-signal-safe.
pub(crate) fn pidfd_kill(fd: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the one that kill(2) would send.
    let result = retry_eintr("pidfd_send_signal", || unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, info, 0)
    });
    match result {
        Ok(_) => Ok(true),
        Err(SysError { errno: libc::ESRCH, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends this process as SIGKILL from outside does: no destructor, no hook.
pub(crate) fn kill_self() -> ! {
    loop {
        // SAFETY: the calls take integers. The number is this process's own.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// Keeps the program's signals from this thread: others of the process have them handled. Those that are this thread's own fault come all the same.
pub(crate) fn block_signals() {
    // SAFETY: an all-zero set is a value; the calls fill it and read it, and touch the mask of this thread alone.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// Takes the exit status of a child and frees its process number; `None` while it runs. `ECHILD` if it is no child of
/// this process, or somebody has reaped it already. Async-signal-safe.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Exit>> {
    Ok(exit_of(&wait_id(pidfd, libc::WEXITED | libc::WNOHANG)?))
}

/// How a child ended, as `waitid` tells it.
fn exit_of(info: &libc::siginfo_t) -> Option<Exit> {
    // SAFETY: waitid filled in the fields of SIGCHLD, or left the zeros of above.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    Some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Exit::Signal(status),
        // A stop, which the kernel tells a waiter that is the child's tracer too.
        _ => return None,
    })
}

fn wait_id(pidfd: BorrowedFd<'_>, options: libc::c_int) -> Result<libc::siginfo_t> {
    wait_for(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, options)
}

fn wait_for(sort: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> Result<libc::siginfo_t> {
    // SAFETY: all fields are integers, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a whole siginfo, writable for the call.
    retry_eintr("waitid", || unsafe { libc::waitid(sort, id, &raw mut info, options).into() })?;
    Ok(info)
}

/// How a child that there is no pidfd of has ended, once it has; frees its process number. For a child that this process alone waits for: the number is
/// its own until then.
pub(crate) fn end_of_unwatched(pid: u32) -> Option<Exit> {
    match wait_for(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG) {
        Ok(info) => exit_of(&info),
        Err(SysError { errno: libc::ECHILD, .. }) => Some(Exit::Unknown),
        Err(_) => None,
    }
}

/// Sends a signal to a child that there is no pidfd of, unless somebody has waited for it: then the number may be another's. False when it was not sent.
pub(crate) fn signal_unwatched(pid: u32, signal: i32) -> bool {
    let lives = |info: libc::siginfo_t| exit_of(&info).is_none();
    let is_ours = wait_for(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok_and(lives);
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: takes integers.
    is_ours && unsafe { libc::kill(pid, signal) } == 0
}

/// Whether no process or thread has this number: proof of an end that needs no descriptor. One that nobody has waited for still has its own.
pub(crate) fn is_unused_number(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: takes integers; signal 0 only asks.
    pid > 0 && unsafe { libc::kill(pid, 0) } != 0 && super::last_errno() == libc::ESRCH
}

/// How a child that this process has watched since it started has ended, once it has; frees its process number.
pub(crate) fn end_of_child(pid: u32, pidfd: BorrowedFd<'_>) -> Option<Exit> {
    match reap(pidfd) {
        Ok(end) => end,
        Err(SysError { errno: libc::ECHILD, .. }) => Some(Exit::Unknown),
        // It may live, or be over all the same: as nobody has waited for it, the number is still its own.
        Err(_) => {
            let is_over = |fd: Option<OwnedFd>| fd.is_none_or(|fd| pidfd_exited(fd.as_fd()).unwrap_or(false));
            pidfd_open(pid).is_ok_and(is_over).then_some(Exit::Unknown)
        }
    }
}

/// Kills a child of ours that nobody has waited for, and waits for it.
pub(crate) fn end_child(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: neither call touches memory of ours (the status is not asked for). The child has not been waited for, so the pid is
    // its own.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        while libc::waitpid(pid, std::ptr::null_mut(), 0) < 0 && super::last_errno() == libc::EINTR {}
    }
}

/// The same for one that is watched by a pidfd, and may have been waited for.
pub(crate) fn end_watched(pid: u32, pidfd: BorrowedFd<'_>) {
    let is_unwaited = || wait_id(pidfd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok();
    if pidfd_kill(pidfd, libc::SIGKILL).is_err() && is_unwaited() {
        // Where the call is forbidden: the number is still its own.
        end_child(pid);
    } else {
        let _ = wait_id(pidfd, libc::WEXITED);
    }
}

/// Whether a process has this file in its memory.
#[cfg(feature = "named")]
pub(crate) fn has_in_memory(pid: u32, device: u64, inode: u64) -> Result<bool> {
    let maps =
        std::fs::read(format!("/proc/{pid}/maps")).map_err(|error| SysError::from_io("read /proc/PID/maps", &error))?;
    let device = format!("{:02x}:{:02x}", libc::major(device), libc::minor(device));
    let inode = inode.to_string();
    // {range} {permissions} {offset} {device} {inode} {path}
    Ok(maps.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        fields.next() == Some(device.as_bytes()) && fields.next() == Some(inode.as_bytes())
    }))
}

/// Number of threads in this process that can run its code still, at least 1: one that was joined may be listed a moment longer.
pub(crate) fn thread_count() -> Result<usize> {
    let failed = |error: io::Error| SysError::from_io("read /proc/self/task", &error);
    // The kernel's PF_EXITING, set before the word that a join waits for is cleared.
    const IS_EXITING: u64 = 4;
    let mut count = 0;
    for entry in std::fs::read_dir("/proc/self/task").map_err(failed)? {
        let path = format!("{}/stat", entry.map_err(failed)?.path().display());
        count += usize::from(stat_field(&path, FLAGS)?.is_some_and(|flags| flags & IS_EXITING == 0));
    }
    Ok(count)
}

/// This thread's number. Async-signal-safe.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Whether this process has no thread of that number any more. Async-signal-safe.
pub(crate) fn thread_is_gone(thread: u32) -> bool {
    // SAFETY: the call takes integers; signal 0 is sent to nobody.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid(), thread, 0) };
    result == -1 && super::last_errno() == libc::ESRCH
}

/// Forks; 0 in the child.
///
/// # Safety If this process has other threads, the child may call only async-signal-safe functions until it calls
/// `exec` or [`exit_now`]: locks that other threads held (the allocator's among them) are never released in it. The
/// child must also not drop what it shares with the parent and the parent still relies on.
pub(crate) unsafe fn fork() -> Result<u32> {
    // SAFETY: this function's contract is that of fork(2).
    let child = retry_eintr("fork", || unsafe { libc::fork().into() })?;
    Ok(child as u32)
}

/// Ends this process without exit hooks, destructors or flushing. Async-signal-safe.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes an integer and never returns.
    unsafe { libc::_exit(code) }
}

/// Registers a hook for the normal end of this process (not for [`exit_now`] or a signal); false if there is no room.
/// Forked children inherit it.
pub(crate) fn at_exit(hook: extern "C" fn()) -> bool {
    // SAFETY: the hook is a function, so it lives as long as its code; the C library drops the hooks of a library
    // that it unloads.
    unsafe { libc::atexit(hook) == 0 }
}

/// Registers a hook that runs in every forked child before `fork` returns there. It must be async-signal-safe.
pub(crate) fn at_fork_child(hook: unsafe extern "C" fn()) -> Result<()> {
    // SAFETY: absent hooks are allowed, and the given one is a function, so it lives as long as its code.
    match unsafe { libc::pthread_atfork(None, None, Some(hook)) } {
        0 => Ok(()),
        errno => Err(SysError { call: "pthread_atfork", errno }),
    }
}

/// Keeps the terminal's interrupt key from ending this process: whoever started it gets the same signal and decides.
///
/// A handler that does nothing, not `SIG_IGN`: programs that this process executes start with the default again.
pub(crate) fn ignore_interrupt() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: all fields are integers, an empty signal set or an absent function, for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is complete and outlives the call, its handler touches nothing, and the old action is not
    // asked for.
    let result = unsafe { libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut()) };
    debug_assert_eq!(result, 0);
}

/// Names this thread for debuggers and `ps`; the kernel keeps 15 bytes. Async-signal-safe.
pub(crate) fn name_thread(name: &CStr) {
    // SAFETY: PR_SET_NAME reads a C string, which outlives the call. Without a name everything works as well.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;
    use crate::sys::testing::{Child, announce, await_value, shared_words};

    #[test]
    fn a_killed_child_is_seen_before_and_after_it_is_reaped() {
        let [started, forever, ..] = shared_words();
        let child = Child::start(|| {
            announce(started, 1);
            await_value(forever, 1);
            0
        });
        assert!(await_value(started, 1));
        let fd = child.pidfd.as_fd();
        let born = start_time(child.pid).unwrap();
        assert!(born.is_some());
        assert_eq!(pidfd_exited(fd), Ok(false));
        assert_eq!(reap(fd), Ok(None));
        assert_eq!(end_of_child(child.pid, fd), None);
        assert_eq!(pidfd_kill(fd, libc::SIGKILL), Ok(true));
        child.await_end();

        // A zombie: ended for its pidfd, still there for its number.
        assert_eq!(start_time(child.pid), Ok(born));
        assert!(pidfd_open(child.pid).unwrap().is_some());
        assert_eq!(pidfd_kill(fd, libc::SIGKILL), Ok(true));
        assert_eq!(reap(fd), Ok(Some(Exit::Signal(libc::SIGKILL))));

        assert_eq!(pidfd_exited(fd), Ok(true));
        assert_eq!(pidfd_kill(fd, 0), Ok(false));
        assert_eq!(reap(fd).unwrap_err().errno, libc::ECHILD);
        assert_eq!(end_of_child(child.pid, fd), Some(Exit::Unknown));
        // Its number may name a new process by now, but not with the same start time unless within one tick.
        assert!(pidfd_open(child.pid).is_ok());
    }

    #[test]
    fn a_child_that_this_process_traces_is_not_ended_by_a_trap() {
        let [started, forever, ..] = shared_words();
        let child = Child::start(|| {
            announce(started, 1);
            await_value(forever, 1);
            0
        });
        assert!(await_value(started, 1));
        let trace = |request: libc::c_uint| {
            // SAFETY: neither request touches memory of this process.
            let result = unsafe { libc::ptrace(request, child.pid.cast_signed(), 0_u64, 0_u64) };
            assert_eq!(result, 0, "ptrace {request}");
        };
        trace(libc::PTRACE_SEIZE);
        trace(libc::PTRACE_INTERRUPT);
        for _ in 0..20 {
            assert_eq!(reap(child.pidfd.as_fd()), Ok(None));
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(pidfd_kill(child.pidfd.as_fd(), libc::SIGKILL), Ok(true));
        child.await_end();
        assert_eq!(reap(child.pidfd.as_fd()), Ok(Some(Exit::Signal(libc::SIGKILL))));
    }

    #[test]
    fn exit_codes_and_parents_are_told() {
        let [seen, ..] = shared_words();
        let child = Child::start(|| {
            // SAFETY: it takes nothing and cannot fail.
            announce(seen, unsafe { libc::getppid() } as u32);
            if pid() == 0 { 1 } else { 42 }
        });
        child.await_end();
        assert_eq!(reap(child.pidfd.as_fd()), Ok(Some(Exit::Code(42))));
        assert_eq!(seen.load(SeqCst), pid());
    }

    #[test]
    fn nobody_has_an_impossible_number() {
        for number in [u32::MAX, i32::MAX as u32] {
            assert_eq!(start_time(number), Ok(None));
            assert!(pidfd_open(number).unwrap().is_none());
        }
        assert!(pidfd_open(0).is_err());
    }

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        let fields = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 0 0\n";
        let text = [b"12 (a) S 1 \xff) (".as_slice(), b") ", fields.as_bytes()].concat();
        assert_eq!(parse_stat_field(&text, START_TIME), Some(987_654_321));
        assert_eq!(parse_stat_field(&text, FLAGS), Some(4_194_560));
        assert_eq!(parse_stat_field(b"12 (a) S 1 1", START_TIME), None);
        assert_eq!(parse_stat_field(b"", START_TIME), None);
        let own = start_time(pid()).unwrap();
        assert!(own.is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn threads_are_counted_and_named() {
        let before = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                name_thread(c"sys-named");
                before.wait();
                before.wait();
            });
            before.wait();
            assert!(thread_count().unwrap() >= 2);
            let named = std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
                let comm = task.unwrap().path().join("comm");
                std::fs::read(comm).is_ok_and(|name| name == b"sys-named\n")
            });
            before.wait();
            assert!(named);
        });
    }

    #[test]
    fn the_pid_namespace_is_shared_with_a_child() {
        let program = ["-c", "stat -Lc %i /proc/self/ns/pid"];
        let output = std::process::Command::new("sh").args(program).output().unwrap();
        let child: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(pid_namespace(), Ok(child));
    }

    #[test]
    fn an_interrupt_does_not_end_a_process_that_ignores_it() {
        let [ready, go, ..] = shared_words();
        let child = Child::start(|| {
            ignore_interrupt();
            announce(ready, 1);
            i32::from(!await_value(go, 1))
        });
        assert!(await_value(ready, 1));
        assert_eq!(pidfd_kill(child.pidfd.as_fd(), libc::SIGINT), Ok(true));
        announce(go, 1);
        child.await_end();
        assert_eq!(reap(child.pidfd.as_fd()), Ok(Some(Exit::Code(0))));
    }

    /// The process that the hook last ran in. Static: hooks take no argument.
    static HOOKED: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn a_fork_hook_runs_in_the_child_only() {
        extern "C" fn hook() {
            HOOKED.store(pid(), SeqCst);
        }
        at_fork_child(hook).unwrap();
        let [seen, ..] = shared_words();
        let child = Child::start(|| {
            announce(seen, HOOKED.load(SeqCst));
            0
        });
        child.await_end();
        assert_eq!(seen.load(SeqCst), child.pid);
        assert_eq!(HOOKED.load(SeqCst), 0);
    }

    /// Where the exit hook leaves its mark; null in this process, so that only the child's exit leaves one.
    static EXITED: std::sync::OnceLock<&AtomicU32> = std::sync::OnceLock::new();

    #[test]
    fn an_exit_hook_does_not_run_at_exit_now() {
        extern "C" fn hook() {
            if let Some(word) = EXITED.get() {
                word.store(pid(), SeqCst);
            }
        }
        assert!(at_exit(hook));
        let [word, ..] = shared_words();
        let child = Child::start(|| {
            let _ = EXITED.set(word);
            exit_now(0)
        });
        child.await_end();
        assert_eq!(word.load(SeqCst), 0);
    }
}
