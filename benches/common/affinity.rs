//! Which CPUs threads may run on: ask, pin, and give back.

use std::io;
use std::mem;

/// The CPUs that this thread may use, in order.
pub fn allowed() -> Vec<usize> {
    let set = get(0).expect("sched_getaffinity of the calling thread");
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: `cpu` is below CPU_SETSIZE and `set` is a whole, initialised cpu_set_t.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// The CPU of the submitter and the CPU of the first worker: the first two that we may use.
/// With a single CPU both are that one, and no figure of these benches means much.
pub fn pair() -> (usize, usize) {
    let cpus = allowed();
    (cpus[0], cpus.get(1).copied().unwrap_or(cpus[0]))
}

/// Puts every thread of process `pid` on one CPU.
pub fn pin_process(pid: u32, cpu: usize) -> io::Result<()> {
    each_thread(pid, &one(cpu))
}

/// Lets every thread of process `pid` run on all of `cpus` again.
pub fn unpin_process(pid: u32, cpus: &[usize]) -> io::Result<()> {
    each_thread(pid, &many(cpus))
}

/// Puts the calling thread on one CPU, for good.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    set(0, &one(cpu))
}

/// The calling thread on one CPU for as long as this value lives; then on those it had before.
#[must_use]
pub struct Pinned {
    before: libc::cpu_set_t,
}

impl Pinned {
    pub fn to(cpu: usize) -> Pinned {
        let before = get(0).expect("sched_getaffinity of the calling thread");
        pin_thread(cpu).expect("sched_setaffinity of the calling thread");
        Pinned { before }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A drop cannot report; these CPUs were allowed a moment ago.
        let _ = set(0, &self.before);
    }
}

/// One line about the machine's CPUs, to stand above the figures.
pub fn describe() -> String {
    let (submitter, worker) = pair();
    let file = format!("/sys/devices/system/cpu/cpu{submitter}/topology/thread_siblings_list");
    let siblings = std::fs::read_to_string(file).unwrap_or_default();
    let shared = siblings.trim() != submitter.to_string() && !siblings.is_empty();
    format!(
        "{} CPUs; submitter on CPU {submitter} (threads of its core: {}{}), first worker on CPU {worker}",
        allowed().len(),
        siblings.trim(),
        if shared { ", shared" } else { "" },
    )
}

/// The CPU by its model, and the kernel: what a figure depends on.
pub fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| cpus.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(": ").nth(1));
    let is_virtual = field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = kernel.split('.').take(2).collect();
    format!(
        "{} {}CPUs, {}, Linux {}",
        allowed().len(),
        if is_virtual { "virtual " } else { "" },
        field("model name").unwrap_or("of an unknown model"),
        kernel.join(".")
    )
}

fn each_thread(pid: u32, cpus: &libc::cpu_set_t) -> io::Result<()> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        let tid: libc::pid_t = name.to_string_lossy().parse().map_err(io::Error::other)?;
        match set(tid, cpus) {
            // The thread ended between the listing and the call.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            other => other?,
        }
    }
    Ok(())
}

fn one(cpu: usize) -> libc::cpu_set_t {
    many(&[cpu])
}

fn many(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: a cpu_set_t is an array of integers; all zero bits is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        assert!(cpu < libc::CPU_SETSIZE as usize, "CPU {cpu} is beyond a cpu_set_t");
        // SAFETY: `cpu` is below CPU_SETSIZE and `set` is a whole, initialised cpu_set_t.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

fn get(tid: libc::pid_t) -> io::Result<libc::cpu_set_t> {
    let mut cpus = many(&[]);
    // SAFETY: the pointer is to a cpu_set_t of the size given, and lives through the call.
    let rc = unsafe { libc::sched_getaffinity(tid, mem::size_of_val(&cpus), &mut cpus) };
    if rc == 0 { Ok(cpus) } else { Err(io::Error::last_os_error()) }
}

fn set(tid: libc::pid_t, cpus: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the pointer is to a cpu_set_t of the size given, and lives through the call.
    let rc = unsafe { libc::sched_setaffinity(tid, mem::size_of_val(cpus), cpus) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
