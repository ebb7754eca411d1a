//! A worker led one instruction at a time, to stop it at a certain point. The tracer must not be the worker's parent, whose waiting would see the traps.

use crate::process_support::wait_until;
use crate::support::process_state;

fn ptrace(request: libc::c_uint, pid: u32, data: u64) {
    // SAFETY: none of the requests used here reads or writes memory of this process.
    let result = unsafe { libc::ptrace(request, pid.cast_signed(), 0_u64, data) };
    assert_eq!(result, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
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
}

impl Led {
    /// Of a worker that sleeps or runs.
    pub fn take(pid: u32) -> Led {
        ptrace(libc::PTRACE_SEIZE, pid, 0);
        ptrace(libc::PTRACE_INTERRUPT, pid, 0);
        await_trap(pid);
        Led { pid }
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

    pub fn step(&self) {
        ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0);
        await_trap(self.pid);
    }

    /// Lets it go on as if nothing had been.
    pub fn let_go(self) {
        ptrace(libc::PTRACE_DETACH, self.pid, 0);
    }

    /// Leaves it where it is, stopped by a signal like any other process.
    pub fn leave_stopped(self) {
        ptrace(libc::PTRACE_DETACH, self.pid, libc::SIGSTOP as u64);
        wait_until("it stands", || process_state(self.pid) == 'T');
    }
}
