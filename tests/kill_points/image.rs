//! A pool's segment, to be looked at for changes.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// The part of a pool's file that is looked at for changes: everything up to the payload blocks' descriptors, as far as there is memory.
const LOOKED_AT: usize = 4 << 20;
/// It is looked at in pieces of this length.
const PIECE: usize = 1 << 10;

/// A pool's file, mapped to be looked at: those pieces that anybody has ever written to. The window was gone through before, so what it writes to is among
/// them.
pub struct Image {
    map: MmapRaw,
    written: Vec<usize>,
}

impl Image {
    pub fn of(pool: &str) -> Image {
        let file = File::open(Path::new("/dev/shm").join(format!("taskring.{pool}"))).expect("the pool's file");
        let len = LOOKED_AT.min(file.metadata().expect("its length").len() as usize);
        let map = MmapOptions::new().len(len).map_raw_read_only(&file).expect("a mapping");
        let mut image = Image { map, written: Vec::new() };
        // To read where there is no memory would bring some.
        let seek = |from: usize, what: i32| {
            // SAFETY: the call takes integers.
            let found = unsafe { libc::lseek(file.as_raw_fd(), from as libc::off_t, what) };
            usize::try_from(found).unwrap_or(len).min(len)
        };
        let mut at = seek(0, libc::SEEK_DATA);
        while at < len {
            let end = seek(at, libc::SEEK_HOLE);
            let written = (at / PIECE..end / PIECE).filter(|&piece| image.words(piece).any(|word| word != 0));
            let written: Vec<usize> = written.collect();
            image.written.extend(written);
            at = seek(end, libc::SEEK_DATA);
        }
        image
    }

    fn words(&self, piece: usize) -> impl Iterator<Item = u64> {
        let words = self.map.as_ptr().cast::<u64>();
        // SAFETY: within the mapping, which is aligned to a page. Others write meanwhile, so it is read as a volatile word.
        (0..PIECE / 8).map(move |i| unsafe { words.add(piece * (PIECE / 8) + i).read_volatile() })
    }

    pub fn hash(&self) -> u64 {
        let mut sums = [0_u64; 4];
        for (i, word) in self.written.iter().flat_map(|&piece| self.words(piece)).enumerate() {
            let sum = &mut sums[i % 4];
            *sum = (*sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        sums.iter().fold(0, |all, sum| (all ^ sum).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31))
    }
}
