//! The tracer: a process with one thread that forks victims, steps them one instruction at a time through a window, and kills them there.
//! Tracer and victim share a CPU: a step then takes about twenty microseconds. On the way to a point far inside a window a victim is let go from
//! system call to system call, from the last one before the point to a breakpoint of the processor's (`way.rs`), and stepped from there.

use crate::board::{ENDED, GO, READY, cells};
use crate::image::Image;
use crate::kept::{self, Handle};
use crate::operations;
use crate::process_support::kill_and_release;
use crate::way::Way;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A system call that takes longer than this is blocked, and the victim can be killed in it.
const BLOCKED: Duration = Duration::from_millis(3);
/// No window is that long.
const STEPS_MAX: u64 = 4_000_000;

const OPTIONS: u64 = (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD) as u64;
/// What a stop at a system call is told by.
const CALL: i32 = libc::SIGTRAP | 0x80;

/// Where the victim is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// After so many instructions of the window, or at its end if that comes first.
    Step(u64),
    /// In the system call that is the instruction of this number.
    Inside(u64),
}

/// What the first run through a window saw.
#[derive(Debug, Default)]
pub struct Survey {
    pub steps: u64,
    /// After which instructions the segment was another one than before.
    pub changes: Vec<u64>,
    /// Which instructions are system calls.
    pub calls: Vec<u64>,
    /// Which calls these are. For the tracer alone.
    pub numbers: Vec<u64>,
    /// After how many instructions the victim was first in another state: at another instruction, or after another change. Of very many an even share.
    pub states: Vec<u64>,
    /// How many steps and stops it takes to come to a point from the system call before it, on average.
    pub steps_from_a_call: u64,
    /// How to come to any of its instructions. For the tracer alone.
    pub way: Way,
}

impl At {
    /// The window's end.
    pub const END: At = At::Step(u64::MAX);
}

impl Survey {
    /// How many steps and stops bring a victim to a point of this window, on average.
    pub fn steps_to_a_point(&self) -> u64 {
        // A system call is two stops.
        self.steps_from_a_call + self.calls.len() as u64
    }
}

/// A victim at the beginning of its window. Dropped, it is killed.
pub struct Victim {
    pid: i32,
    /// The thread that is stepped.
    thread: i32,
    steps: u64,
    over: bool,
    /// One that was not forked by the tracer, see `kept.rs`; and whether its process has come to its end.
    kept: Option<Handle>,
    has_ended: bool,
}

/// Where a victim was when it died.
pub struct Place {
    pub pid: i32,
    /// After how many steps. The most of them: after a window of unknown length.
    pub steps: u64,
    /// Its window was over.
    pub over: bool,
    pub instruction: u64,
}

/// The window's end: a place that the victim's program counter reaches.
#[inline(never)]
pub extern "C" fn end_window() -> ! {
    cells()[ENDED].store(1, SeqCst);
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// In a victim: the window begins behind this.
#[inline(never)]
pub fn begin_window() {
    // SAFETY: the call takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn ptrace(request: libc::c_uint, pid: i32, addr: u64, data: u64) -> i64 {
    // SAFETY: of the requests used here PTRACE_GETREGS writes to this process, and PTRACE_SETREGS reads: `data` is then a live local of that type.
    unsafe { libc::ptrace(request, pid, addr, data) }
}

fn wait(pid: i32, flags: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is a live local.
    let found = unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL) };
    assert!(found >= 0, "waitpid: {}", std::io::Error::last_os_error());
    (found == pid).then_some(status)
}

impl Victim {
    /// Forks it, and lets it come to its window.
    fn start(operation: &str, context: &str) -> Victim {
        if kept::is_meant(operation) {
            return Victim::of_the_keeper();
        }
        // SAFETY: this process has one thread, so the child may do anything.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            if operation != "replace" {
                ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            }
            operations::perform(operation, context);
        }
        let mut victim = Victim { pid, thread: pid, steps: 0, over: false, kept: None, has_ended: false };
        if operation == "replace" {
            victim.supervise();
            return victim;
        }
        loop {
            let status = wait(pid, 0).expect("a child");
            assert!(libc::WIFSTOPPED(status), "{operation}, {context}: the victim ended before its window: {status:#x}");
            match libc::WSTOPSIG(status) {
                libc::SIGSTOP => break,
                other => assert!(ptrace(libc::PTRACE_CONT, pid, 0, other as u64) == 0),
            }
        }
        ptrace(libc::PTRACE_SETOPTIONS, pid, 0, OPTIONS);
        victim
    }

    /// Takes a worker of the keeper's that waits for it.
    fn of_the_keeper() -> Victim {
        wait_for("a worker of the keeper's", || cells()[READY].load(SeqCst) != 0);
        let pid = cells()[READY].load(SeqCst) as i32;
        share_cpu_with(pid);
        let kept = Some(Handle::of(pid));
        let victim = Victim { pid, thread: pid, steps: 0, over: false, kept, has_ended: false };
        victim.seize();
        cells()[GO].store(1, SeqCst);
        let mut pass = 0;
        loop {
            assert!(ptrace(libc::PTRACE_CONT, pid, 0, pass) == 0);
            let status = wait(pid, 0).expect("the one that is traced");
            assert!(libc::WIFSTOPPED(status), "the victim ended before its window: {status:#x}");
            match libc::WSTOPSIG(status) {
                libc::SIGSTOP => return victim,
                libc::SIGTRAP => pass = 0,
                other => pass = other as u64,
            }
        }
    }

    /// From here on its thread is traced, and stopped.
    fn seize(&self) {
        assert!(ptrace(libc::PTRACE_SEIZE, self.thread, 0, OPTIONS) == 0);
        assert!(ptrace(libc::PTRACE_INTERRUPT, self.thread, 0, 0) == 0);
        wait(self.thread, 0);
    }

    /// Whether that is how a process ends whose window does with it. Then it is over.
    fn ends_with(&mut self, status: i32) -> bool {
        self.has_ended = self.kept.is_some() && libc::WIFEXITED(status);
        self.over |= self.has_ended;
        self.has_ended
    }

    /// The victim is its supervisor's thread. Its first thread tells when it is time, and when the window is over.
    fn supervise(&mut self) {
        let pid = self.pid;
        wait_for("the victim's pool", || cells()[READY].load(SeqCst) != 0);
        let mut thread = None;
        wait_for("the victim's supervisor", || {
            thread = supervisor_in(pid);
            thread.is_some()
        });
        self.thread = thread.expect("just found");
        self.seize();
        cells()[READY].store(0, SeqCst);
        wait_for("the death of the victim's worker", || cells()[READY].load(SeqCst) != 0);
    }

    fn instruction(&self) -> u64 {
        self.register(std::mem::offset_of!(libc::user_regs_struct, rip))
    }

    fn register(&self, offset: usize) -> u64 {
        let place = std::mem::offset_of!(libc::user, regs) + offset;
        ptrace(libc::PTRACE_PEEKUSER, self.thread, place as u64, 0) as u64
    }

    /// Whether the next instruction is a system call.
    fn is_call(&self, known: &mut HashMap<u64, bool>) -> bool {
        let at = self.instruction();
        *known.entry(at).or_insert_with(|| ptrace(libc::PTRACE_PEEKTEXT, self.thread, at, 0) & 0xffff == 0x050f)
    }

    /// Whether another thread has told that the window is over.
    fn is_ended_by_another(&self) -> bool {
        self.thread != self.pid && cells()[ENDED].load(SeqCst) != 0
    }

    /// Lets it go to its next system call, or out of the one that it is in.
    fn next_call(&mut self) {
        self.go(libc::PTRACE_SYSCALL);
    }

    /// Lets it go until an instruction was come to so many times, or to the window's end. False when this machine has no breakpoints.
    fn go_to(&mut self, address: u64, times: u32) -> bool {
        let end = end_window as *const () as u64;
        let has_breakpoints = self.break_at(&[address, end]);
        let mut left = if has_breakpoints { times } else { 0 };
        while left > 0 && !self.over {
            self.go(libc::PTRACE_CONT);
            let at = self.instruction();
            self.over |= at == end;
            left -= u32::from(at == address);
        }
        // One that is over is blocked, maybe, and then nothing can be told to it.
        self.break_at(&[]);
        has_breakpoints
    }

    /// Has the processor stop this thread before each of these instructions, of which there are two at most. False when it cannot.
    fn break_at(&self, addresses: &[u64]) -> bool {
        let tell = |register: usize, value: u64| {
            let place = std::mem::offset_of!(libc::user, u_debugreg) + 8 * register;
            ptrace(libc::PTRACE_POKEUSER, self.thread, place as u64, value) == 0
        };
        // Of the register that says which are meant, two bits belong to each, and the lower one is for this thread alone.
        let enabled = (0..addresses.len()).fold(0, |bits, i| bits | 1 << (2 * i));
        addresses.iter().enumerate().all(|(i, address)| tell(i, *address)) && tell(7, enabled)
    }

    /// Lets it go on until it stops, for a system call or a breakpoint.
    fn go(&mut self, request: libc::c_uint) {
        let (start, mut pass) = (Instant::now(), 0);
        loop {
            let gone = ptrace(request, self.thread, 0, pass) == 0;
            assert!(gone, "to a system call: {}", std::io::Error::last_os_error());
            let status = loop {
                if let Some(status) = wait(self.thread, libc::WNOHANG) {
                    break status;
                }
                if self.is_ended_by_another() {
                    self.over = true;
                    return;
                }
                assert!(start.elapsed() < Duration::from_secs(10), "the victim comes to no system call");
                if start.elapsed() < BLOCKED { std::thread::yield_now() } else { std::thread::sleep(BLOCKED / 10) }
            };
            if self.ends_with(status) {
                return;
            }
            assert!(libc::WIFSTOPPED(status), "the victim ended before a system call: {status:#x}");
            match libc::WSTOPSIG(status) {
                CALL => {
                    // The one in which whoever has come to the end waits.
                    self.over = cells()[ENDED].load(SeqCst) != 0;
                    return;
                }
                libc::SIGTRAP if request == libc::PTRACE_CONT => return,
                libc::SIGTRAP => pass = 0,
                other => pass = other as u64,
            }
        }
    }

    /// One instruction; false when it does not end.
    fn step(&mut self) -> bool {
        if self.is_ended_by_another() || self.instruction() == end_window as *const () as u64 {
            self.over = true;
            return true;
        }
        assert!(self.steps < STEPS_MAX, "a window without an end");
        let mut pass = 0;
        loop {
            assert!(ptrace(libc::PTRACE_SINGLESTEP, self.thread, 0, pass) == 0, "step: {}", std::io::Error::last_os_error());
            let Some(status) = self.wait_for_step() else { return false };
            if self.ends_with(status) {
                break;
            }
            assert!(libc::WIFSTOPPED(status), "the victim ended in its window after {} steps: {status:#x}", self.steps);
            match libc::WSTOPSIG(status) {
                libc::SIGTRAP => break,
                other => pass = other as u64,
            }
        }
        self.steps += 1;
        true
    }

    fn wait_for_step(&self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = wait(self.thread, libc::WNOHANG) {
                return Some(status);
            }
            if start.elapsed() > BLOCKED {
                return None;
            }
            // On one CPU the victim needs it.
            std::thread::yield_now();
        }
    }

    /// Lets a blocked call end; false when that takes longer than anything in a window may.
    fn wait_long(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(status) = wait(self.thread, libc::WNOHANG) {
                let is_well = self.ends_with(status) || libc::WIFSTOPPED(status);
                assert!(is_well, "the victim ended in a call: {status:#x}");
                self.steps += 1;
                return true;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        false
    }

    fn step_or_wait(&mut self) {
        assert!(self.step() || self.wait_long(), "the victim is blocked for ever after {} steps", self.steps);
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(handle) = self.kept.as_ref().filter(|_| !self.has_ended) {
            handle.kill();
            // While it is traced its parent is not told of its end. One that was let go is nobody's here.
            // SAFETY: no status is asked for.
            while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL) } == self.pid {}
        }
        if self.kept.is_some() {
            return;
        }
        // SAFETY: a child of ours that was not reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        if self.thread != self.pid {
            // Before the process can be reaped, its traced thread must be. One that was let go is nobody's.
            // SAFETY: no status is asked for.
            while unsafe { libc::waitpid(self.thread, std::ptr::null_mut(), libc::__WALL) } == self.thread {}
        }
        while wait(self.pid, 0).is_some_and(|status| libc::WIFSTOPPED(status)) {}
    }
}

/// Without optimisation windows are ten times as long, and looking at the segment a hundred times as slow: then only so many steps are taken, and
/// changes are not looked for.
pub const STEPS_UNOPTIMISED: u64 = 15_000;

/// More than a row has kills to spend on.
const STATES_TOLD: usize = 1000;

/// Runs through a window once and looks for what changes, in this pool if there is one to look at.
pub fn survey(operation: &str, context: &str, pool: Option<&str>) -> Survey {
    let mut victim = Victim::start(operation, context);
    let mut known = HashMap::new();
    let image = pool.filter(|_| !cfg!(debug_assertions)).map(Image::of);
    let look = || image.as_ref().map_or(0, Image::hash);
    let mut found = Survey::default();
    let mut before = look();
    let mut seen = HashSet::new();
    loop {
        if victim.is_call(&mut known) {
            found.calls.push(victim.steps);
            found.numbers.push(victim.register(std::mem::offset_of!(libc::user_regs_struct, rax)));
        }
        let at = victim.instruction();
        if seen.insert((at, found.changes.len())) {
            found.states.push(victim.steps);
        }
        found.way.note(at, found.calls.last() == Some(&victim.steps));
        victim.step_or_wait();
        if victim.over || cfg!(debug_assertions) && victim.steps >= STEPS_UNOPTIMISED {
            break;
        }
        let now = look();
        if now != before {
            found.changes.push(victim.steps);
            before = now;
        }
    }
    found.steps = victim.steps;
    found.steps_from_a_call = found.way.length();
    let each = found.states.len().div_ceil(STATES_TOLD);
    found.states = found.states.into_iter().step_by(each.max(1)).collect();
    found
}

/// Brings a victim to a point of its window, in which an earlier one made these system calls (after which steps, and which) and went this way.
pub fn bring_to(operation: &str, context: &str, at: At, calls: &[(u64, u64)], way: &Way) -> Victim {
    reap_orphans();
    let mut victim = Victim::start(operation, context);
    let (steps, inside) = match at {
        At::Step(steps) => (steps, false),
        At::Inside(steps) => (steps, true),
    };
    if at == At::END && !cfg!(debug_assertions) {
        // Nothing is known of the way yet.
        victim.go_to(end_window as *const () as u64, 1);
    }
    let mut before = calls.iter().take_while(|(call, _)| *call < steps);
    while let Some(&(call, number)) = before.next() {
        // To its entry, and out of it.
        victim.next_call();
        if victim.over {
            break;
        }
        let made = victim.register(std::mem::offset_of!(libc::user_regs_struct, orig_rax));
        // It may leave calls out that the earlier one made, such as those that bring memory once.
        let call =
            if made == number { call } else { before.find(|(_, number)| *number == made).map_or(call, |&(call, _)| call) };
        victim.next_call();
        if victim.over {
            break;
        }
        victim.steps = call + 1;
    }
    if !victim.over
        && let Some(stop) = way.stop_before(victim.steps, steps)
        && victim.go_to(stop.address, stop.times)
    {
        victim.steps = stop.steps;
    }
    if victim.over {
        // It was not counted how long its window was.
        victim.steps = u64::MAX;
    }
    while victim.steps < steps && !victim.over {
        victim.step_or_wait();
    }
    if inside && !victim.over {
        // Whether it blocks there or not: it has entered.
        let _ = victim.step();
    }
    victim
}

impl Victim {
    pub fn place(&self) -> Place {
        Place { pid: self.pid, steps: self.steps, over: self.over, instruction: self.instruction() }
    }

    /// Kills it, and has its memory taken away before it is reaped, as the kernel does when memory runs out.
    pub fn kill_and_take_memory(self) {
        // There may be nothing to take when the process has come to its end by then.
        if !self.has_ended {
            kill_and_release(self.pid.cast_unsigned());
        }
    }

    /// Leaves it stopped, by a signal like any other process.
    pub fn stop(&self) {
        if self.has_ended {
            return;
        }
        // SAFETY: the call takes integers.
        unsafe { libc::kill(self.pid, libc::SIGSTOP) };
        ptrace(libc::PTRACE_DETACH, self.thread, 0, libc::SIGSTOP as u64);
    }

    /// Has it become another program, or end its thread, in place of its next instruction.
    pub fn divert(&self, to: extern "C" fn() -> !) {
        if self.has_ended {
            return;
        }
        // SAFETY: registers are integers, for which zero is valid.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let registers = &raw mut registers;
        let place = registers.expose_provenance() as u64;
        assert!(ptrace(libc::PTRACE_GETREGS, self.thread, 0, place) == 0);
        // SAFETY: a live local, which nobody else writes to now.
        unsafe {
            (*registers).rip = to as *const () as u64;
            // Beyond the red zone of who is interrupted; a function begins with the return address on an aligned stack.
            (*registers).rsp = (((*registers).rsp - 1024) & !15) - 8;
            (*registers).orig_rax = u64::MAX;
        }
        assert!(ptrace(libc::PTRACE_SETREGS, self.thread, 0, place) == 0);
        ptrace(libc::PTRACE_DETACH, self.thread, 0, 0);
    }

    pub fn go_on(&self) {
        if self.has_ended {
            return;
        }
        // SAFETY: the call takes integers.
        unsafe { libc::kill(self.pid, libc::SIGCONT) };
    }
}

/// In place of an instruction of the victim's: another program, with none of its descriptors.
pub extern "C" fn become_another() -> ! {
    let (path, time) = (c"/bin/sleep", c"1000");
    let args = [path.as_ptr(), time.as_ptr(), std::ptr::null()];
    // SAFETY: the texts and the list live for the call, and the list ends with a null.
    unsafe {
        libc::execv(path.as_ptr(), args.as_ptr());
        libc::_exit(99)
    }
}

/// The same: the end of this thread, beside which others may go on.
pub extern "C" fn end_thread() -> ! {
    // SAFETY: the call takes an integer and does not return.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    std::process::abort()
}

/// The supervisor's thread, once it has its name.
fn supervisor_in(pid: i32) -> Option<i32> {
    let is_supervisor = |thread: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).is_ok_and(|name| name == "taskring-super\n")
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_supervisor)
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Children of dead victims become children of this process, which it lets go as they end.
pub fn adopt_orphans() {
    // SAFETY: the calls take integers, and the handler is one of the system's own.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Reaps adopted children that have ended.
fn reap_orphans() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// Puts a victim on the CPU of this process.
fn share_cpu_with(pid: i32) {
    // SAFETY: an all-zero set is a valid one, and the calls write to the local and read it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        libc::sched_setaffinity(pid, size_of_val(&set), &raw const set);
    }
}

/// Puts this process, and the victims it will fork, on one CPU.
pub fn pin(cpu: usize) {
    // SAFETY: an all-zero set is a valid one, and the calls write to the local and read it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}
