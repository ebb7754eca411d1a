//! The tracer: a process with one thread that forks victims and lets chosen system calls of theirs fail: at its entry a call becomes one that there
//! is not, and at its exit the result becomes the error. The calls of one thread of a victim are led so: of its main thread, of the one that looks
//! after its workers, or of the process that forks them.

use std::io::Read;
use std::os::fd::FromRawFd;
use std::time::{Duration, Instant};

/// A window that takes longer hangs. With every wake-up lost each sleep may take its 1.2 s, and there are several in a window; on a busy machine the
/// kernel takes many seconds to close the watch on a pool's file, which the end of a named pool waits for.
pub const WINDOW: Duration = Duration::from_secs(45);
/// Longer than what a victim waits for after its window, so that it says itself what did not come.
const END: Duration = Duration::from_secs(60);

/// A system call that may fail: its number, and the errors that it is to fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub number: i64,
    pub errors: &'static [i32],
}

/// Which calls of a window fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    Nothing,
    /// The one of this number.
    Once(usize, i32),
    /// This one and all later ones that can fail so.
    From(usize, i32),
}

/// Whose calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// The victim's main thread, which does the operation.
    Main,
    /// Its thread of this name.
    Thread(&'static str),
    /// Its child of this name.
    Child(&'static str),
}

impl Led {
    /// Its number. In a victim that stands before its window.
    fn find(self, pid: i32) -> Result<i32, String> {
        let (folder, name) = match self {
            Led::Main => return Ok(pid),
            Led::Thread(name) => (format!("/proc/{pid}/task"), name),
            Led::Child(name) => ("/proc".to_owned(), name),
        };
        let is_it = |number: &i32| {
            let stat = std::fs::read_to_string(format!("{folder}/{number}/stat")).unwrap_or_default();
            let Some((before, after)) = stat.rsplit_once(')') else { return false };
            let parent = after.split_ascii_whitespace().nth(1).and_then(|parent| parent.parse().ok());
            before.ends_with(&format!("({name}")) && (matches!(self, Led::Thread(_)) || parent == Some(pid))
        };
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
        let mut numbers = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        numbers.find(is_it).ok_or_else(|| format!("there is no {self:?}"))
    }
}

/// What came of a victim.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Those of its calls that may fail, in order.
    pub calls: Vec<Call>,
    /// How many did.
    pub failed: usize,
    pub violation: Option<String>,
    pub pid: i32,
    /// It has ended, and was waited for.
    ended: bool,
}

pub const LISTED: &[i32] = &[libc::EINTR, libc::ENOMEM, libc::EAGAIN, libc::ENOSPC, libc::EMFILE, libc::EPERM, libc::ENOSYS];
const REFUSED: &[i32] = &[libc::EINTR, libc::ENOMEM, libc::EPERM, libc::ENOSYS];
const LOOK: &[i32] = &[libc::ENOMEM, libc::EPERM];

/// What a call may fail with; nothing for those that are left out (see `main.rs`).
fn errors_of(registers: &libc::user_regs_struct, pid: i32) -> &'static [i32] {
    let number = registers.orig_rax.cast_signed();
    match number {
        libc::SYS_futex => {
            if is_in_pool(pid, registers.rdi) {
                LISTED
            } else {
                &[]
            }
        }
        // Without a file it is the allocator's, or a thread's stack.
        libc::SYS_mmap => {
            if (registers.r8 as i32) < 0 {
                &[]
            } else {
                LISTED
            }
        }
        libc::SYS_openat | libc::SYS_open | libc::SYS_fallocate | libc::SYS_memfd_create | libc::SYS_ftruncate => LISTED,
        libc::SYS_pidfd_open | libc::SYS_poll | libc::SYS_eventfd2 | libc::SYS_link | libc::SYS_unlink => LISTED,
        // Of descriptor flags only what `fcntl` does to locks and seals can fail.
        libc::SYS_fcntl => match registers.rsi as i32 {
            libc::F_GETFD | libc::F_SETFD | libc::F_GETFL | libc::F_SETFL => &[],
            _ => LISTED,
        },
        libc::SYS_clone | libc::SYS_clone3 | libc::SYS_fork | libc::SYS_vfork => &[libc::EAGAIN, libc::ENOMEM, libc::EPERM],
        449 => REFUSED, // futex_waitv
        libc::SYS_socketpair | libc::SYS_inotify_init1 | libc::SYS_inotify_add_watch | libc::SYS_pipe2 => LISTED,
        libc::SYS_sendto | libc::SYS_pread64 | libc::SYS_fchmod => REFUSED,
        libc::SYS_read | libc::SYS_getdents64 | libc::SYS_pidfd_send_signal => REFUSED,
        libc::SYS_write if registers.rdi > 2 => REFUSED,
        libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_stat | libc::SYS_lstat | libc::SYS_readlink => LOOK,
        libc::SYS_statx => &[libc::ENOMEM, libc::EPERM, libc::ENOSYS],
        libc::SYS_sched_getaffinity | libc::SYS_prctl => &[libc::EPERM, libc::ENOSYS],
        _ => &[],
    }
}

/// Whether an address lies in a pool's mapping: the C library has futexes of its own, and ends the process when those fail.
fn is_in_pool(pid: i32, address: u64) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains("taskring")).any(|line| {
        let range = line.split_whitespace().next().and_then(|r| r.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        range.is_some_and(|(from, to)| (number(from)..number(to)).contains(&address))
    })
}

/// In a victim: the window begins, or ends, behind this.
#[inline(never)]
pub fn edge_of_window() {
    // SAFETY: the call takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn ptrace(request: libc::c_uint, pid: i32, data: u64) -> i64 {
    // SAFETY: the requests used with this read and write no memory of this process.
    unsafe { libc::ptrace(request, pid, 0_u64, data) }
}

fn registers(pid: i32) -> libc::user_regs_struct {
    // SAFETY: all fields are integers.
    let mut all: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: `all` is a whole structure, writable for the call.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0_u64, &raw mut all) }, 0);
    all
}

fn set_registers(pid: i32, all: &libc::user_regs_struct) {
    // SAFETY: `all` is a whole structure, readable for the call.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0_u64, &raw const *all) }, 0);
}

/// Waits for a child to stop or end; `None` when that takes too long.
fn wait(pid: i32, until: Instant) -> Option<i32> {
    wait_any(&[pid], until).map(|(_, status)| status)
}

/// The same for the first of several.
fn wait_any(pids: &[i32], until: Instant) -> Option<(i32, i32)> {
    let mut looks = 0_u32;
    loop {
        for &pid in pids {
            let mut status = 0;
            // SAFETY: `status` is a live local.
            let found = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
            assert!(found >= 0, "waitpid: {}", std::io::Error::last_os_error());
            if found == pid {
                return Some((pid, status));
            }
        }
        if Instant::now() > until {
            return None;
        }
        looks += 1;
        if looks < 50 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(100)) }
    }
}

/// Forks a victim that does `life`, of which the window's calls fail as told. What `life` gives is a violation.
pub fn run(led: Led, fail: Fail, life: impl FnOnce() -> Result<(), String>) -> Outcome {
    let mut ends = [0; 2];
    // SAFETY: the array is writable for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) }, 0);
    // SAFETY: this process has one thread, so the child may do anything.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        ptrace(libc::PTRACE_TRACEME, 0, 0);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)).unwrap_or_else(|_| Err("a panic".into()));
        if let Err(text) = &found {
            // SAFETY: the text is readable for its length.
            unsafe { libc::write(ends[1], text.as_ptr().cast(), text.len()) };
        }
        // SAFETY: takes an integer.
        unsafe { libc::_exit(i32::from(found.is_err())) };
    }
    // SAFETY: the call has just made it, and nobody else has it; the child's copies are its own.
    let (mut said, _other) = unsafe { (std::fs::File::from_raw_fd(ends[0]), std::fs::File::from_raw_fd(ends[1])) };
    let mut outcome = Outcome { pid, ..Outcome::default() };
    outcome.violation = trace(pid, led, fail, &mut outcome).err();
    if !outcome.ended {
        // SAFETY: a child of ours that was not reaped.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        while wait(pid, Instant::now() + END).is_some_and(|status| libc::WIFSTOPPED(status)) {}
    }
    let mut text = Vec::new();
    let _ = said.read_to_end(&mut text);
    if !text.is_empty() {
        let text = String::from_utf8_lossy(&text).into_owned();
        outcome.violation = Some(match outcome.violation.take() {
            Some(before) => format!("{before}: {text}"),
            None => text,
        });
    }
    outcome
}

/// Leads a victim to its window, through it, and lets it go on to its end.
fn trace(pid: i32, whose: Led, fail: Fail, outcome: &mut Outcome) -> Result<(), String> {
    let before = Instant::now() + END;
    loop {
        let status = wait(pid, before).ok_or("it does not come to its window")?;
        if !libc::WIFSTOPPED(status) {
            outcome.ended = true;
            return Err(format!("it ended before its window: {status:#x}"));
        }
        match libc::WSTOPSIG(status) {
            libc::SIGSTOP => break,
            other => assert_eq!(ptrace(libc::PTRACE_CONT, pid, other as u64), 0),
        }
    }
    ptrace(libc::PTRACE_SETOPTIONS, pid, OPTIONS);
    let mut led = Leader { thread: whose.find(pid)?, fail, inside: false, error: 0 };
    let passed = if led.thread == pid { window(&mut led, outcome) } else { window_of_another(pid, &mut led, outcome) };
    if let (Err(what), Led::Child(_)) = (&passed, whose) {
        // SAFETY: takes integers. The child is traced by us, so its number is still its own.
        unsafe { libc::kill(led.thread, libc::SIGKILL) };
        return Err(what.clone());
    }
    passed?;
    assert_eq!(ptrace(libc::PTRACE_DETACH, pid, 0), 0);
    let status = wait(pid, Instant::now() + END).ok_or_else(|| hang(pid, "it does not end after its window"))?;
    outcome.ended = true;
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 { Ok(()) } else { Err(ended(status)) }
}

const OPTIONS: u64 = (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD) as u64;

/// The thread whose calls fail.
struct Leader {
    thread: i32,
    fail: Fail,
    /// It is in a system call.
    inside: bool,
    /// What the call that it is in fails with.
    error: i32,
}

impl Leader {
    /// Lets it go on to its next system call, or out of the one that it is in.
    fn go(&self, signal: u64) {
        assert_eq!(ptrace(libc::PTRACE_SYSCALL, self.thread, signal), 0);
    }

    /// It has come to a system call, or out of one.
    fn call(&mut self, outcome: &mut Outcome) {
        self.inside = !self.inside;
        let mut all = registers(self.thread);
        if self.inside {
            let errors = errors_of(&all, self.thread);
            if errors.is_empty() {
                return;
            }
            let index = outcome.calls.len();
            outcome.calls.push(Call { number: all.orig_rax.cast_signed(), errors });
            // Beside other threads the calls are not the same ones each time.
            self.error = match self.fail {
                Fail::Once(at, errno) if at == index && errors.contains(&errno) => errno,
                // Whoever is interrupted for ever waits for ever: twenty times is enough.
                Fail::From(at, libc::EINTR) if index >= at + 20 => 0,
                Fail::From(at, errno) if index >= at && errors.contains(&errno) => errno,
                _ => 0,
            };
            if self.error != 0 {
                all.orig_rax = u64::MAX;
                set_registers(self.thread, &all);
                outcome.failed += 1;
            }
        } else if self.error != 0 {
            all.rax = i64::from(-self.error).cast_unsigned();
            set_registers(self.thread, &all);
            self.error = 0;
        }
    }
}

/// The main thread does the operation, and its own calls fail.
fn window(main: &mut Leader, outcome: &mut Outcome) -> Result<(), String> {
    let end = Instant::now() + WINDOW;
    let mut pass = 0;
    loop {
        main.go(pass);
        pass = 0;
        let status = wait(main.thread, end).ok_or_else(|| hang(main.thread, "its window does not end"))?;
        if !libc::WIFSTOPPED(status) {
            outcome.ended = true;
            return Err(ended(status));
        }
        match libc::WSTOPSIG(status) {
            libc::SIGSTOP => return Ok(()),
            signal if signal != libc::SIGTRAP | 0x80 => pass = signal as u64,
            _ => main.call(outcome),
        }
    }
}

/// The main thread does the operation, and another one's calls fail.
fn window_of_another(pid: i32, led: &mut Leader, outcome: &mut Outcome) -> Result<(), String> {
    let end = Instant::now() + WINDOW;
    assert_eq!(ptrace(libc::PTRACE_SEIZE, led.thread, OPTIONS), 0, "{}", std::io::Error::last_os_error());
    assert_eq!(ptrace(libc::PTRACE_INTERRUPT, led.thread, 0), 0);
    assert_eq!(ptrace(libc::PTRACE_CONT, pid, 0), 0);
    let (mut threads, mut is_over) = (vec![pid, led.thread], false);
    loop {
        let (thread, status) = wait_any(&threads, end).ok_or_else(|| hang(pid, "its window does not end"))?;
        if thread == pid {
            if !libc::WIFSTOPPED(status) {
                outcome.ended = true;
                return Err(ended(status));
            }
            if libc::WSTOPSIG(status) != libc::SIGSTOP {
                assert_eq!(ptrace(libc::PTRACE_CONT, pid, libc::WSTOPSIG(status) as u64), 0);
                continue;
            }
            if threads.len() == 1 {
                return Ok(());
            }
            (threads, is_over) = (vec![led.thread], true);
            // It may have stopped already: any stop takes this one's place.
            ptrace(libc::PTRACE_INTERRUPT, led.thread, 0);
        } else if !libc::WIFSTOPPED(status) {
            // A process that has ended by itself.
            if is_over {
                return Ok(());
            }
            threads.pop();
        } else {
            let signal = libc::WSTOPSIG(status);
            let is_call = signal == libc::SIGTRAP | 0x80;
            let pass = if is_call || status >> 16 == libc::PTRACE_EVENT_STOP { 0 } else { signal as u64 };
            if is_call && (!is_over || led.error != 0) {
                led.call(outcome);
            }
            if is_over && led.error == 0 {
                assert_eq!(ptrace(libc::PTRACE_DETACH, led.thread, pass), 0);
                return Ok(());
            }
            led.go(pass);
        }
    }
}

fn ended(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("it exited with {}", libc::WEXITSTATUS(status))
    } else {
        format!("signal {} ended it", libc::WTERMSIG(status))
    }
}

/// Says where a victim stands.
fn hang(pid: i32, what: &str) -> String {
    let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    format!("{what}: {} {}", read("wchan"), read("syscall").trim())
}
