//! A board: counters in a file that the test and every worker process map. So a test sees what its tasks do while they
//! do it, and tasks see what they wait for; the library has no part in it.

use memmap2::{MmapOptions, MmapRaw};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use tempfile::NamedTempFile;

/// A board that a test has made. Its file goes with it.
pub struct Board {
    file: NamedTempFile,
    cells: &'static [AtomicU64],
}

impl Board {
    /// A board of so many cells, all zero.
    pub fn new(cells: usize) -> Board {
        let file = NamedTempFile::new().expect("a temporary file");
        file.as_file().set_len(cells as u64 * 8).expect("room for a board");
        let cells = map(file.path());
        Board { file, cells }
    }

    /// What tasks call it.
    pub fn name(&self) -> String {
        self.file.path().to_str().expect("a path of plain text").to_owned()
    }

    /// The board of that name, in a task. Mapped once in each process.
    pub fn at(name: &str) -> &'static [AtomicU64] {
        static MAPPED: OnceLock<Mutex<HashMap<String, &'static [AtomicU64]>>> = OnceLock::new();
        let mut mapped = MAPPED.get_or_init(Mutex::default).lock().unwrap();
        if let Some(cells) = mapped.get(name) {
            return cells;
        }
        let cells = map(Path::new(name));
        mapped.insert(name.to_owned(), cells);
        cells
    }
}

impl Deref for Board {
    type Target = [AtomicU64];
    fn deref(&self) -> &[AtomicU64] {
        self.cells
    }
}

fn map(path: &Path) -> &'static [AtomicU64] {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the board's file");
    let map: &'static MmapRaw = Box::leak(Box::new(MmapOptions::new().map_raw(&file).expect("a mapping")));
    // SAFETY: the mapping is never unmapped, since its handle is leaked, and the file is never cut short. It is aligned
    // to a page and as long as the slice. All accesses, in every process, are to whole aligned words through atomics.
    unsafe { std::slice::from_raw_parts(map.as_mut_ptr().cast::<AtomicU64>(), map.len() / 8) }
}
