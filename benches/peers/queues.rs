//! A peer in shared memory: the queues of `shaq`. Both sides poll.
//!
//! The child polls only while it is being measured: an order tells it how many requests it will get, and it sleeps until the next order.

use crate::child::{self, Helper};
use crate::common::affinity;
use crate::ours::plain;
use shaq::mpmc::{Consumer, Producer, minimum_file_size};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

/// Two queues, one there and one back.
pub struct Shaq {
    to: Producer<u64>,
    from: Consumer<u64>,
    child: Helper,
    _files: [NamedTempFile; 2],
}

/// Room in each queue.
const ROOM: usize = 1024;

impl Shaq {
    pub fn new(cpu: usize) -> io::Result<Shaq> {
        let other = |e: shaq::error::Error| io::Error::other(format!("{e:?}"));
        let file = || NamedTempFile::new_in("/dev/shm");
        let files = [file()?, file()?];
        let size = minimum_file_size::<u64>(ROOM).next_multiple_of(4096);
        // SAFETY: the file is new, so this is its one initialisation; numbers are valid in every process.
        let to = unsafe { Producer::create(files[0].as_file(), size) }.map_err(other)?;
        // SAFETY: as above, for the other file.
        let from = unsafe { Consumer::create(files[1].as_file(), size) }.map_err(other)?;
        let path = |file: &NamedTempFile| file.path().display().to_string();
        let mut child = Helper::role("shaq", &[cpu.to_string(), path(&files[0]), path(&files[1])])?;
        child.wait_ready()?;
        Ok(Shaq { to, from, child, _files: files })
    }

    /// Tells the child how many requests will come.
    pub fn begin(&mut self, count: u64) {
        self.child.order(&count.to_string()).expect("the child listens");
    }

    pub fn window(&mut self, window: usize, count: u64) -> u64 {
        let ahead = count.min(window.min(ROOM) as u64);
        let mut sum = 0u64;
        for x in 0..count {
            if x >= ahead {
                sum = sum.wrapping_add(polled(|| self.from.try_read()));
            }
            polled(|| self.to.try_write(x).ok());
        }
        (0..ahead).fold(sum, |sum, _| sum.wrapping_add(polled(|| self.from.try_read())))
    }
}

/// The role of the child.
pub fn play_shaq(cpu: usize, requests: &Path, answers: &Path) -> io::Result<()> {
    affinity::pin_thread(cpu)?;
    let other = |e: shaq::error::Error| io::Error::other(format!("{e:?}"));
    let open = |path: &Path| -> io::Result<File> { OpenOptions::new().read(true).write(true).open(path) };
    // SAFETY: the parent has made it for these numbers, which are valid in every process.
    let requests = unsafe { Consumer::<u64>::join(&open(requests)?) }.map_err(other)?;
    // SAFETY: as above, for the other file.
    let answers = unsafe { Producer::<u64>::join(&open(answers)?) }.map_err(other)?;
    child::ready();
    for order in child::orders() {
        for _ in 0..number(&order)? {
            let x = polled(|| requests.try_read());
            polled(|| answers.try_write(plain(x)).ok());
        }
    }
    Ok(())
}

pub fn number(order: &str) -> io::Result<u64> {
    order.parse().map_err(io::Error::other)
}

/// Spins until there is something.
pub fn polled<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(it) = look() {
            return it;
        }
        std::hint::spin_loop();
    }
}
