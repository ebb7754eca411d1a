//! Append-only journals: a file for each process, mapped, so that what was written survives the writer's SIGKILL. A record is twelve bytes of
//! meaning in one sixteen-byte line, whose task number is stored last: a record cut by a kill has none, and counts as not written.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// Where journals and the like lie; every process of the soak inherits it.
pub const DIR: &str = "TASKRING_CHAOS_DIR";
/// Of one journal: sparse, so it takes the room of what was written.
const BYTES_MAX: usize = 1 << 30;

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
}

impl Event {
    pub fn from_byte(byte: u8) -> Option<Event> {
        use Event::*;
        [
            Intended,
            Accepted,
            Refused,
            Entered,
            Released,
            Value,
            Failed,
            Panicked,
            Cancelled,
            LostMayHaveRun,
            LostResult,
            Unknown,
            Missing,
        ]
        .into_iter()
        .find(|event| *event as u8 == byte)
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
    static OWN: OnceLock<(u32, Journal)> = OnceLock::new();
    let (_, journal) = OWN.get_or_init(|| {
        let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let path = dir().join(format!("journal.{}.{start}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("a new journal");
        file.set_len(BYTES_MAX as u64).expect("room for a journal");
        let map = MmapOptions::new().len(BYTES_MAX).map_raw(&file).expect("a mapping");
        (std::process::id(), Journal { map, next: AtomicUsize::new(0) })
    });
    journal
}

/// Adds a record. Any thread may.
pub fn note(task: u64, event: Event) {
    let journal = own();
    let at = journal.next.fetch_add(1, Relaxed) * 16;
    assert!(at + 16 <= BYTES_MAX, "the journal is full");
    // SAFETY: within the mapping, which is never unmapped; each record is written by one thread, in whole aligned words.
    let words = unsafe { &*journal.map.as_mut_ptr().add(at).cast::<[AtomicU64; 2]>() };
    words[1].store(event as u64, Relaxed);
    // Release: a record with a task has its event. The reader comes after this process's end, or after it was told to stop.
    words[0].store(task, Release);
}

/// Reads all journals of a folder, each in the order of its records.
pub fn read_all(dir: &Path, mut each: impl FnMut(u64, Event)) {
    for entry in std::fs::read_dir(dir).expect("the folder").flatten() {
        if !entry.file_name().to_string_lossy().starts_with("journal.") {
            continue;
        }
        let file = File::open(entry.path()).expect("a journal");
        // SAFETY: nobody writes to it any more, and nobody cuts it short.
        let map = unsafe { memmap2::Mmap::map(&file) }.expect("a mapping");
        let mut holes = 0;
        for record in map.chunks_exact(16) {
            let (task, event) = record.split_at(8);
            let task = u64::from_le_bytes(task.try_into().expect("eight bytes"));
            let event = Event::from_byte(event[0]);
            // A record that was cut is a hole; after some in a row there is nothing.
            let (true, Some(event)) = (task != 0, event) else {
                holes += 1;
                if holes > 1024 {
                    break;
                }
                continue;
            };
            holes = 0;
            each(task, event);
        }
    }
}
