//! Append-only journals: a file for each process, mapped, so that what was written survives the writer's SIGKILL. A record is sixteen bytes, whose
//! task number is stored last: a record cut by a kill has none, and counts as not written.
//!
//! The reader follows the writers, gives back the room of what it has read, and removes the journals of the dead: so a soak may last for days.

use memmap2::{MmapOptions, MmapRaw};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// Where journals and the like lie; every process of the soak inherits it.
pub const DIR: &str = "TASKRING_CHAOS_DIR";
/// Of one journal: sparse, so it takes the room of what was written and not read yet.
const BYTES_MAX: usize = 4 << 30;
/// Of one record.
const RECORD: usize = 16;
/// So many empty records in a row are the end of a dead process' journal; fewer are records that its kill has cut, one for each thread.
const HOLES_MAX: usize = 1024;
/// What is read at once, and what is given back at once.
const CHUNK: usize = 1 << 16;
const GIVE_BACK: u64 = 1 << 20;

/// What a process knows of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// Its submitter is about to submit it.
    Intended = 1,
    /// Its submitter was told that it is accepted.
    Accepted = 2,
    /// Its submit was refused.
    Refused = 3,
    /// Its function was entered.
    Entered = 4,
    /// Its submitter lets it go: nobody will hear of its end.
    Released = 5,
    /// The verdict, as its submitter got it.
    Value = 6,
    Failed = 7,
    Panicked = 8,
    Cancelled = 9,
    LostMayHaveRun = 10,
    LostResult = 11,
    /// The pool has lost its owner: nobody knows.
    Unknown = 12,
    /// None came, and the pool has its owner.
    Missing = 13,
    /// A verdict that cannot be: another value than the task's, or a fault that it has not made.
    Wrong = 14,
    /// Its submitter says that it may run again, when a worker has died of it or it has failed. Comes before `Intended`.
    Repeatable = 15,
    /// A feature was used, whose number stands in the deed's place. Belongs to nobody.
    Drawn = 16,
}

/// In place of a task, in records that belong to none.
pub const NOBODY: u64 = u64::MAX;

/// What tasks do, by the numbers in their records.
pub const DEEDS: [&str; 17] = [
    "square",
    "echo",
    "nap",
    "fail",
    "panic",
    "allocate",
    "fork",
    "exit",
    "abort",
    "overflow",
    "close all",
    "tell",
    "poll",
    "report",
    "look",
    "nest",
    "broadcast",
];

/// A record: the event, and of `Entered` which attempt it is and what the task does.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub event: Event,
    pub attempt: u32,
    pub deed: u8,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Entry {
        Entry { event, attempt: 0, deed: 0 }
    }
}

impl Entry {
    pub fn bits(self) -> u64 {
        self.event as u64 | u64::from(self.deed) << 8 | u64::from(self.attempt) << 32
    }

    fn from_bits(bits: u64) -> Option<Entry> {
        let event = Event::from_byte(bits as u8)?;
        Some(Entry { event, deed: (bits >> 8) as u8, attempt: (bits >> 32) as u32 })
    }
}

impl Event {
    pub fn from_byte(byte: u8) -> Option<Event> {
        use Event::*;
        let all = [Intended, Accepted, Refused, Entered, Released, Value, Failed, Panicked, Cancelled, LostMayHaveRun];
        all.into_iter().chain([LostResult, Unknown, Missing, Wrong, Repeatable, Drawn]).find(|event| *event as u8 == byte)
    }
}

struct Journal {
    map: MmapRaw,
    next: AtomicUsize,
}

pub fn dir() -> PathBuf {
    std::env::var_os(DIR).expect("a process of the soak").into()
}

fn own() -> &'static Journal {
    static OWN: OnceLock<Journal> = OnceLock::new();
    OWN.get_or_init(|| {
        let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let path = dir().join(format!("journal.{}.{start}", std::process::id()));
        let map = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let map = file.and_then(|file| {
                file.set_len(BYTES_MAX as u64)?;
                MmapOptions::new().len(BYTES_MAX).map_raw(&file)
            });
            match map {
                Ok(map) => break map,
                Err(_) => lift_limits(),
            }
        };
        Journal { map, next: AtomicUsize::new(0) }
    })
}

/// The nemesis may have left no descriptor or no memory: for a moment, or for good to one who was started by whom it had struck.
fn lift_limits() {
    for what in [libc::RLIMIT_NOFILE, libc::RLIMIT_AS] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a live local to write to, then to read.
        unsafe {
            if libc::getrlimit(what, &raw mut limit) == 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(what, &raw const limit);
            }
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(5));
}

/// Adds a record. Any thread may.
pub fn note(task: u64, entry: impl Into<Entry>) {
    let journal = own();
    let at = journal.next.fetch_add(1, Relaxed) * RECORD;
    assert!(at + RECORD <= BYTES_MAX, "the journal is full");
    // SAFETY: within the mapping, which is never unmapped; each record is written by one thread, in whole aligned words.
    let words = unsafe { &*journal.map.as_mut_ptr().add(at).cast::<[AtomicU64; 2]>() };
    words[1].store(entry.into().bits(), Relaxed);
    // Release: a record with a task has its event; a reader that sees the one without the other comes again.
    words[0].store(task, Release);
}

/// Where the reader stands in each journal.
#[derive(Default)]
pub struct Reader {
    /// What was read, and up to where its room was given back.
    places: HashMap<PathBuf, (u64, u64)>,
}

impl Reader {
    /// Reads what is new, each journal in the order of its records. `is_over`: nobody writes any more, whoever seems to live.
    pub fn read(&mut self, dir: &Path, is_over: bool, mut each: impl FnMut(u64, Entry)) {
        for entry in std::fs::read_dir(dir).expect("the folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(pid) = name.strip_prefix("journal.").and_then(|rest| rest.split('.').next()) else { continue };
            // Asked before reading: what a dead process has written is all there.
            let is_dead = is_over || !is_alive(pid);
            let file = OpenOptions::new().read(true).write(true).open(entry.path()).expect("a journal");
            let (read, given_back) = self.places.entry(entry.path()).or_default();
            *read = read_from(&file, *read, is_dead, &mut each);
            if is_dead {
                self.places.remove(&entry.path());
                std::fs::remove_file(entry.path()).expect("removed");
            } else if *read - *given_back >= 2 * GIVE_BACK {
                let until = *read / GIVE_BACK * GIVE_BACK;
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                // SAFETY: an open file and integers. Where the file system cannot do it, the journal only stays long.
                unsafe { libc::fallocate(file.as_raw_fd(), mode, *given_back as i64, (until - *given_back) as i64) };
                *given_back = until;
            }
        }
    }
}

/// Gives the place of the first record that is not written yet.
fn read_from(file: &File, mut at: u64, is_dead: bool, each: &mut impl FnMut(u64, Entry)) -> u64 {
    let mut chunk = vec![0; CHUNK];
    let mut holes = 0;
    loop {
        let len = file.read_at(&mut chunk, at).expect("a journal can be read");
        for record in chunk[..len].chunks_exact(RECORD) {
            let (task, entry) = record.split_at(8);
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            let task = word(task);
            match Entry::from_bits(word(entry)).filter(|_| task != 0) {
                Some(entry) => {
                    holes = 0;
                    each(task, entry);
                }
                None if !is_dead || holes > HOLES_MAX => return at,
                None => holes += 1,
            }
            at += RECORD as u64;
        }
        if len < RECORD {
            return at;
        }
    }
}

/// Whether a process has a thread that may still run.
pub fn is_alive(pid: &str) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}
