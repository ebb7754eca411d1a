//! A worker led one instruction at a time, to stop it at a certain point. The tracer must not be the worker's parent, whose waiting would see the traps.

use crate::process_support::wait_until;
use crate::support::process_state;
use std::ops::Range;

fn ptrace(request: libc::c_uint, pid: u32, address: u64, data: u64) {
    // SAFETY: none of the requests used here reads or writes memory of this process.
    let result = unsafe { libc::ptrace(request, pid.cast_signed(), address, data) };
    assert_eq!(result, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
}

/// The word at an address of its memory.
fn peek(pid: u32, address: u64) -> u64 {
    // SAFETY: as in `ptrace`; any word may come back, so that an error is told by errno alone.
    let word = unsafe {
        *libc::__errno_location() = 0;
        libc::ptrace(libc::PTRACE_PEEKTEXT, pid.cast_signed(), address, 0_u64)
    };
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(0), "a word at {address:#x}");
    word.cast_unsigned()
}

fn registers(pid: u32) -> libc::user_regs_struct {
    // SAFETY: the structure is of numbers alone, and the call fills this live one.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        let result = libc::ptrace(libc::PTRACE_GETREGS, pid.cast_signed(), 0_u64, &raw mut registers);
        assert_eq!(result, 0, "registers: {}", std::io::Error::last_os_error());
        registers
    }
}

/// Where the kernel's own code for asking the time lies.
fn clock_code(pid: u32) -> Range<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("Linux maps it into every process");
    let (begin, rest) = line.split_once('-').expect("a range");
    let number = |hex: &str| u64::from_str_radix(hex, 16).expect("an address");
    number(begin)..number(rest.split_once(' ').expect("its rights").0)
}

fn await_trap(pid: u32) {
    let mut status = 0;
    // SAFETY: `status` is a live local.
    let found = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, libc::__WALL) };
    assert!(found == pid.cast_signed() && libc::WIFSTOPPED(status), "waitpid: {found}, {status:#x}");
}

/// A worker, or a thread of another program, that stands between two instructions.
pub struct Led {
    pid: u32,
    clock: Range<u64>,
}

impl Led {
    /// Of a worker that sleeps or runs.
    pub fn take(pid: u32) -> Led {
        ptrace(libc::PTRACE_SEIZE, pid, 0, 0);
        ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
        await_trap(pid);
        Led { pid, clock: clock_code(pid) }
    }

    /// Leads it until this holds. How many steps it took.
    pub fn until(&self, what: &str, mut reached: impl FnMut() -> bool) -> u64 {
        let mut steps = 0;
        while !reached() {
            assert!(steps < 1_000_000, "it never comes there: {what}");
            self.step();
            steps += 1;
        }
        steps
    }

    /// One instruction, or a whole question for the time: that begins anew whenever the clock has ticked meanwhile, so who is led through it
    /// more slowly than a tick never comes out.
    pub fn step(&self) {
        let was_asking = self.clock.contains(&registers(self.pid).rip);
        ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0, 0);
        await_trap(self.pid);
        let at = registers(self.pid);
        if !was_asking && self.clock.contains(&at.rip) {
            self.run_to(peek(self.pid, at.rsp));
        }
    }

    /// Lets it run to this instruction.
    fn run_to(&self, address: u64) {
        const BREAKPOINT: u64 = 0xcc;
        let code = peek(self.pid, address);
        ptrace(libc::PTRACE_POKETEXT, self.pid, address, code & !0xff | BREAKPOINT);
        ptrace(libc::PTRACE_CONT, self.pid, 0, 0);
        await_trap(self.pid);
        ptrace(libc::PTRACE_POKETEXT, self.pid, address, code);
        let mut at = registers(self.pid);
        assert_eq!(at.rip, address + 1, "it has met the breakpoint");
        at.rip = address;
        // SAFETY: the call reads this live structure.
        let result = unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.pid.cast_signed(), 0_u64, &raw const at) };
        assert_eq!(result, 0, "registers: {}", std::io::Error::last_os_error());
    }

    /// Lets it go on as if nothing had been.
    pub fn let_go(self) {
        ptrace(libc::PTRACE_DETACH, self.pid, 0, 0);
    }

    /// Leaves it where it is, stopped by a signal like any other process.
    pub fn leave_stopped(self) {
        ptrace(libc::PTRACE_DETACH, self.pid, 0, libc::SIGSTOP as u64);
        wait_until("it stands", || process_state(self.pid) == 'T');
    }
}
