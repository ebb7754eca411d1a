//! The machine: clock, processors and free memory.

use super::{Result, SysError};
use std::fs;
use std::path::Path;

/// Where the cgroup v2 tree is mounted: alone, or beside a v1 tree.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Processors that a mask can name: the kernel has no more.
pub(crate) const CPUS_MAX: usize = 8192;

/// A set of processors in the kernel's form. Longer than the C library's, which ends at 1024.
#[repr(C, align(8))]
struct CpuMask([u64; CPUS_MAX / 64]);

/// Nanoseconds of `CLOCK_MONOTONIC`: the same clock in every process, not running while the machine is suspended.
/// Async-signal-safe.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// The processors that this thread may run on. None where the system does not tell.
pub(crate) fn cpus() -> Vec<usize> {
    let mut mask = CpuMask([0; CPUS_MAX / 64]);
    // SAFETY: `mask` is writable for the size passed, and both libraries and the kernel treat it as an array of words.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<CpuMask>(), (&raw mut mask).cast::<libc::cpu_set_t>()) };
    if result != 0 {
        return Vec::new();
    }
    (0..CPUS_MAX).filter(|cpu| mask.0[cpu / 64] & 1 << (cpu % 64) != 0).collect()
}

/// How many that are, at least 1.
pub(crate) fn cpu_count() -> usize {
    cpus().len().max(1)
}

/// Has this thread, and those that it starts from now on, run on one processor alone.
pub(crate) fn run_on(cpu: usize) -> Result<()> {
    let mut mask = CpuMask([0; CPUS_MAX / 64]);
    let word = mask.0.get_mut(cpu / 64).ok_or(SysError { call: "sched_setaffinity", errno: libc::EINVAL })?;
    *word = 1 << (cpu % 64);
    // SAFETY: `mask` is readable for the size passed.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<CpuMask>(), (&raw const mask).cast::<libc::cpu_set_t>()) };
    if result == 0 { Ok(()) } else { Err(SysError::last("sched_setaffinity")) }
}

/// Lets this process, and those that it starts from now on, have so many bytes of memory of its own: heap, private mappings and globals, not what it
/// shares. For good: it cannot be raised again.
pub(crate) fn limit_memory(bytes: u64) -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_DATA, &raw mut limit) } != 0 {
        return Err(SysError::last("getrlimit"));
    }
    let limit = lowered(limit, bytes);
    // SAFETY: `limit` is readable for the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
    if result == 0 { Ok(()) } else { Err(SysError::last("setrlimit")) }
}

/// Neither part is raised: a lower one was set by somebody.
fn lowered(limit: libc::rlimit, bytes: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur: limit.rlim_cur.min(bytes), rlim_max: limit.rlim_max.min(bytes) }
}

/// Bytes that can still be committed: the least of what the machine has available and what each cgroup v2 limit on the
/// way to the root leaves. `None` if the machine does not tell. An estimate that others change at any time.
pub(crate) fn memory_available() -> Option<u64> {
    let machine = parse_available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = parse_group(&groups) else {
        return Some(machine);
    };
    let limits = CGROUP_ROOTS.iter().filter_map(|root| group_room(Path::new(root), own));
    Some(limits.fold(machine, u64::min))
}

/// `MemAvailable` of `/proc/meminfo`, which counts in KiB.
fn parse_available(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The v2 line of `/proc/self/cgroup`, as a path relative to the mount point.
fn parse_group(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.trim_start_matches('/'))
}

/// The least room that the group `own` and those above it leave under their limits; `None` without a limit.
fn group_room(root: &Path, own: &str) -> Option<u64> {
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    root.join(own)
        .ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| {
            // Without a limit the file says "max", and at the top there is no file.
            let limit = number(&group.join("memory.max"))?;
            let used = number(&group.join("memory.current"))?;
            Some(limit.saturating_sub(used))
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_back() {
        let before = now_ns();
        yield_now();
        assert!(before > 0 && now_ns() >= before);
    }

    #[test]
    fn a_limit_is_never_raised() {
        let of = |rlim_cur, rlim_max| {
            let limit = lowered(libc::rlimit { rlim_cur, rlim_max }, 100);
            (limit.rlim_cur, limit.rlim_max)
        };
        assert_eq!(of(libc::RLIM_INFINITY, libc::RLIM_INFINITY), (100, 100));
        assert_eq!(of(70, libc::RLIM_INFINITY), (70, 100));
        assert_eq!((of(70, 90), of(300, 400)), ((70, 90), (100, 100)));
    }

    #[test]
    fn available_memory_is_read_in_kib() {
        let text = "MemTotal:  9 kB\nMemFree: 3 kB\nMemAvailable:    1234 kB\n";
        assert_eq!(parse_available(text), Some(1234 * 1024));
        assert_eq!(parse_available("MemTotal: 9 kB\n"), None);
        assert_eq!(parse_available("MemAvailable: many kB\n"), None);
        assert!(memory_available().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("sys-groups-{}", std::process::id()));
        let leaf = root.join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        let set = |group: &Path, limit: &str, used: &str| {
            fs::write(group.join("memory.max"), limit).unwrap();
            fs::write(group.join("memory.current"), used).unwrap();
        };
        let own = parse_group("3:cpu:/x\n0::/a/b\n").unwrap();
        assert_eq!(group_room(&root, own), None);
        set(&leaf, "max\n", "50\n");
        assert_eq!(group_room(&root, own), None);
        set(&root.join("a"), "1000\n", "400\n");
        assert_eq!(group_room(&root, own), Some(600));
        set(&leaf, "500\n", "50\n");
        assert_eq!(group_room(&root, own), Some(450));
        set(&leaf, "500\n", "510\n");
        assert_eq!(group_room(&root, own), Some(0));
        set(&root, "10\n", "1\n");
        assert_eq!(group_room(&root, parse_group("0::/\n").unwrap()), Some(9));
        assert_eq!(parse_group("3:memory:/x\n"), None);
        fs::remove_dir_all(root).unwrap();
    }
}
