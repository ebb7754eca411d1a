//! The nemesis: it kills, stops and continues, and takes descriptors, memory and room away, and gives them back after a while.

use crate::deeds::Random;
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Missing in the `libc` crate's older releases; the same on every architecture.
const SYS_PROCESS_MRELEASE: libc::c_long = 448;
/// The soak's own `/dev/shm`.
const SHM_BYTES: u64 = 256 << 20;
const SHM_FULL: &str = "/dev/shm/full";

/// What can be undone, and is.
enum Relief {
    Continue(OwnedFd),
    /// It is stopped, and never goes on.
    Kill(OwnedFd),
    Limit(u32, OwnedFd, u32, libc::rlimit),
    Room,
}

/// How much of what was done.
#[derive(Default)]
pub struct Count {
    pub kills: u64,
    pub released: u64,
    pub stops: u64,
    pub killed_while_stopped: u64,
    pub fds: u64,
    pub memory: u64,
    pub shm: u64,
}

pub struct Nemesis {
    pub random: Random,
    pub count: Count,
    reliefs: Vec<(Instant, Relief)>,
    /// Processes that a deed has killed, or may still: starved of memory, or killed at the end of a stop.
    pub doomed: HashSet<u32>,
    /// Whether `/dev/shm` is the soak's own, and so may be filled.
    pub has_own_shm: bool,
    is_full: bool,
}

/// A process to strike, by what it is in the soak.
pub struct Victim {
    pub pid: u32,
    /// It may be stopped and starved, but must live.
    pub is_spared: bool,
}

impl Nemesis {
    pub fn new(seed: u64) -> Nemesis {
        let has_own_shm = own_shm();
        if !has_own_shm {
            println!("no deed: a full /dev/shm, for this user cannot have one of its own");
        }
        Nemesis {
            random: Random(seed | 1),
            count: Count::default(),
            reliefs: Vec::new(),
            doomed: HashSet::new(),
            has_own_shm,
            is_full: false,
        }
    }

    /// One deed.
    pub fn strike(&mut self, victim: &Victim) {
        let Some(process) = pidfd(victim.pid) else { return };
        let choice = self.random.below(100);
        let until = Instant::now() + Duration::from_millis(self.random.below(400));
        let more = self.random.below(4);
        match choice {
            0..=54 if !victim.is_spared => {
                self.doomed.insert(victim.pid);
                self.kill(&process);
            }
            55..=64 if !victim.is_spared => {
                self.doomed.insert(victim.pid);
                self.kill(&process);
                // SAFETY: a descriptor and a zero. It frees the memory of a process that is about to end.
                self.count.released +=
                    u64::from(unsafe { libc::syscall(SYS_PROCESS_MRELEASE, process.as_raw_fd(), 0) } == 0);
            }
            65..=74 if !victim.is_spared => {
                send(&process, libc::SIGSTOP);
                self.doomed.insert(victim.pid);
                self.reliefs.push((until, Relief::Kill(process)));
            }
            75..=80 => self.limit(victim.pid, process, libc::RLIMIT_NOFILE, fds(victim.pid) + more, until),
            81..=84 if !victim.is_spared => {
                let bytes = crate::watch::kib(victim.pid, "VmSize:").unwrap_or(0) * 1024 + more * (64 << 10);
                self.doomed.insert(victim.pid);
                self.limit(victim.pid, process, libc::RLIMIT_AS, bytes, until);
            }
            85 if self.has_own_shm && !self.is_full => self.fill(until),
            _ => {
                send(&process, libc::SIGSTOP);
                self.count.stops += 1;
                self.reliefs.push((until, Relief::Continue(process)));
            }
        }
    }

    fn kill(&mut self, process: &OwnedFd) {
        self.count.kills += u64::from(send(process, libc::SIGKILL));
    }

    fn limit(&mut self, pid: u32, process: OwnedFd, what: u32, value: u64, until: Instant) {
        if self.reliefs.iter().any(|(_, relief)| matches!(relief, Relief::Limit(other, ..) if *other == pid)) {
            return;
        }
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a live local to write to, and nothing to read.
        if unsafe { libc::prlimit(pid.cast_signed(), what, std::ptr::null(), &raw mut before) } != 0 {
            return;
        }
        let lower = libc::rlimit { rlim_cur: value.min(before.rlim_max), ..before };
        set_limit(pid, what, &lower);
        *(if what == libc::RLIMIT_NOFILE { &mut self.count.fds } else { &mut self.count.memory }) += 1;
        self.reliefs.push((until, Relief::Limit(pid, process, what, before)));
    }

    /// Takes all room of `/dev/shm` but some pages.
    fn fill(&mut self, until: Instant) {
        let Ok(file) = File::create(SHM_FULL) else { return };
        let spare = self.random.below(64) * 4096;
        let room = room().saturating_sub(spare);
        // SAFETY: an open file and integers.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, room.cast_signed()) } == 0 {
            self.count.shm += 1;
        }
        self.is_full = true;
        self.reliefs.push((until, Relief::Room));
    }

    /// Undoes what is due, or everything.
    pub fn relieve(&mut self, everything: bool) {
        let now = Instant::now();
        for (until, relief) in std::mem::take(&mut self.reliefs) {
            if now < until && !everything {
                self.reliefs.push((until, relief));
                continue;
            }
            match relief {
                Relief::Continue(process) => drop(send(&process, libc::SIGCONT)),
                Relief::Kill(process) => {
                    let killed = u64::from(send(&process, libc::SIGKILL));
                    self.count.kills += killed;
                    self.count.killed_while_stopped += killed;
                }
                // One that was starved in the middle of a panic's backtrace hangs for good, in a lock of the standard library's own.
                Relief::Limit(_, process, libc::RLIMIT_AS, _) => self.kill(&process),
                // While it lives its number is its own.
                Relief::Limit(pid, process, what, before) if send(&process, 0) => set_limit(pid, what, &before),
                Relief::Limit(..) => {}
                Relief::Room => {
                    let _ = std::fs::remove_file(SHM_FULL);
                    self.is_full = false;
                }
            }
        }
    }
}

/// A handle of a living process of the soak; `None` when it is none (any more).
pub fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: two integers; the descriptor is new and ours.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }?;
    is_ours(pid).then_some(fd)
}

/// Whether a process runs this program.
pub fn is_ours(pid: u32) -> bool {
    let exe = |who: &str| std::fs::read_link(format!("/proc/{who}/exe")).ok();
    exe(&pid.to_string()).is_some_and(|theirs| Some(theirs) == exe("self"))
}

pub fn send(process: &OwnedFd, signal: i32) -> bool {
    // SAFETY: a descriptor, integers, and no further information.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, 0, 0) == 0 }
}

fn set_limit(pid: u32, what: u32, limit: &libc::rlimit) {
    // SAFETY: a live limit to read, and nothing to write to. A process that is gone needs none.
    unsafe { libc::prlimit(pid.cast_signed(), what, limit, std::ptr::null_mut()) };
}

fn fds(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64
}

/// Bytes free in `/dev/shm`.
fn room() -> u64 {
    // SAFETY: integers, for which zero is good.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a text, and a live local to write to.
    match unsafe { libc::statvfs(c"/dev/shm".as_ptr(), &raw mut found) } {
        0 => found.f_bavail * found.f_bsize,
        _ => 0,
    }
}

/// Gives this process and its children a `/dev/shm` of their own: what is taken there is missed by nobody else.
fn own_shm() -> bool {
    let options = format!("size={SHM_BYTES}\0");
    // SAFETY: texts that live for the calls. Only this process and its children see the change.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
            && libc::mount(c"tmpfs".as_ptr(), c"/dev/shm".as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) == 0
    }
}

/// Files of the soak that lie in `/dev/shm`.
pub fn files_of(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").expect("/dev/shm").flatten().map(|e| e.path());
    entries.filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))).collect()
}

/// The file of a pool.
pub fn pool_file(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(format!("taskring.{name}"))
}
