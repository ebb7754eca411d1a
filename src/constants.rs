//! What a pool's creator says once for every worker: the prefix of their names, what each runs first and last, and named read-only values.
//!
//! It is one piece of bytes, written into the segment before the magic and never after, so nobody owns it and no death can leave it half done:
//!
//! ```text
//! 0    count of entries, u64
//! 8    hash, u64: of the count, the entries and the names
//! 16   entries: {what: u32, name_len: u32, at: u64, len: u64}
//!      names, one behind the other
//!      values, each at a multiple of 64 bytes; `at` counts from the beginning
//! ```

use crate::limits::{CONSTANT_NAME_MAX, SHARED_MAX};
use std::collections::BTreeSet;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The name is the prefix of workers' names. No value.
    Prefix = 1,
    /// The name is that of a function, the value its arguments.
    Initializer = 2,
    /// The same.
    ExitHook = 3,
    Shared = 4,
    /// The value is numbers of CPUs, in 32 bits each. Worker n runs on the one at place n, counted around.
    Cpus = 5,
    /// The value is bytes, in 64 bits.
    MemoryMax = 6,
}

/// What workers are called when nobody says otherwise.
const PREFIX_DEFAULT: &str = "taskring-worker";
/// Entries at most: one of each of the others.
const ENTRIES_MAX: usize = SHARED_MAX + 5;
const HEAD: usize = 16;
const ENTRY: usize = 24;
/// What values are aligned to: a cache line.
const ALIGN: usize = 64;

/// What is to be said.
#[derive(Clone, Default)]
pub(crate) struct Constants(Vec<(What, String, Vec<u8>)>);

impl std::fmt::Debug for Constants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(what, name, bytes)| (what, name, bytes.len()))).finish()
    }
}

impl Constants {
    /// Of what there is one, it takes the place of the one before.
    pub(crate) fn set(&mut self, what: What, name: String, bytes: Vec<u8>) {
        self.0.retain(|(other, ..)| *other != what);
        self.0.push((what, name, bytes));
    }

    pub(crate) fn share(&mut self, name: String, bytes: Vec<u8>) {
        self.0.push((What::Shared, name, bytes));
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (What, &str, &[u8])> + Clone {
        self.0.iter().map(|(what, name, bytes)| (*what, name.as_str(), bytes.as_slice()))
    }

    /// How many CPUs the workers and their creator, which may run on these, have between them, if the workers are pinned.
    pub(crate) fn cpu_count(&self, allowed: &[usize]) -> Option<usize> {
        let (.., cpus) = self.0.iter().find(|(what, ..)| *what == What::Cpus)?;
        let pinned: BTreeSet<_> = cpus.chunks(4).collect();
        let has_its_own = allowed.iter().any(|&cpu| !pinned.contains(&(cpu as u32).to_le_bytes()[..]));
        Some(pinned.len() + usize::from(has_its_own))
    }

    /// The bytes in front of the values.
    fn directory_len(&self) -> usize {
        HEAD + self.0.iter().map(|(_, name, _)| ENTRY + name.len()).sum::<usize>()
    }

    /// All values with the places where they go.
    pub(crate) fn values(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut end = self.directory_len();
        self.0.iter().map(move |(.., bytes)| {
            let at = end.next_multiple_of(ALIGN);
            end = at + bytes.len();
            (at, bytes.as_slice())
        })
    }

    /// Bytes in all; 0 when there is nothing to say.
    pub(crate) fn len(&self) -> usize {
        self.values().last().map_or(0, |(at, bytes)| at + bytes.len())
    }

    /// What stands in front of the values.
    pub(crate) fn directory(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.directory_len());
        bytes.extend((self.0.len() as u64).to_le_bytes());
        bytes.extend([0; 8]);
        for ((what, name, value), (at, _)) in self.0.iter().zip(self.values()) {
            bytes.extend((*what as u32).to_le_bytes());
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend((at as u64).to_le_bytes());
            bytes.extend((value.len() as u64).to_le_bytes());
        }
        self.0.iter().for_each(|(_, name, _)| bytes.extend(name.as_bytes()));
        let hash = hash(&bytes);
        bytes[8..HEAD].copy_from_slice(&hash.to_le_bytes());
        bytes
    }
}

/// FNV-1a, of a directory without the hash itself.
fn hash(directory: &[u8]) -> u64 {
    let bytes = directory[..8].iter().chain(&directory[HEAD..]);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// An entry as it was found. The value lies within the bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) what: u32,
    pub(crate) name: String,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// What the worker of that number is called.
pub(crate) fn worker_name(places: &[Place], number: u32) -> String {
    let prefix = places.iter().find(|place| place.what == What::Prefix as u32);
    format!("{}_{number}", prefix.map_or(PREFIX_DEFAULT, |place| &place.name))
}

/// Reads a directory; `None` when the bytes are none that a creator has written. Nothing of them is believed.
pub(crate) fn read(bytes: &[u8]) -> Option<Vec<Place>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?));
    let count = usize::try_from(word(0)?).ok().filter(|&count| count <= ENTRIES_MAX)?;
    let mut name_at = HEAD + count * ENTRY;
    let mut places = Vec::with_capacity(count);
    for entry in (0..count).map(|i| HEAD + i * ENTRY) {
        let head = word(entry)?;
        let (what, name_len) = (head as u32, (head >> 32) as usize);
        let (at, len) = (usize::try_from(word(entry + 8)?).ok()?, usize::try_from(word(entry + 16)?).ok()?);
        bytes.get(at..at.checked_add(len)?)?;
        if name_len > CONSTANT_NAME_MAX {
            return None;
        }
        let name = std::str::from_utf8(bytes.get(name_at..name_at + name_len)?).ok()?.to_owned();
        name_at += name_len;
        places.push(Place { what, name, at, len });
    }
    (hash(bytes.get(..name_at)?) == word(8)?).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> (Constants, Vec<u8>) {
        let mut constants = Constants::default();
        constants.set(What::Prefix, "other".into(), Vec::new());
        constants.share("a".into(), vec![7; 100]);
        constants.set(What::Prefix, "crew".into(), Vec::new());
        constants.share("b".into(), Vec::new());
        let mut bytes = vec![0; constants.len()];
        let directory = constants.directory();
        bytes[..directory.len()].copy_from_slice(&directory);
        constants.values().for_each(|(at, value)| bytes[at..at + value.len()].copy_from_slice(value));
        (constants, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_, bytes) = all();
        let places = read(&bytes).expect("good bytes");
        let found: Vec<_> = places.iter().map(|p| (p.what, p.name.as_str(), &bytes[p.at..p.at + p.len])).collect();
        assert_eq!(found, [(4, "a", &[7; 100][..]), (1, "crew", &[]), (4, "b", &[])]);
        assert!(places.iter().all(|p| p.at % ALIGN == 0));
        assert_eq!((Constants::default().len(), read(&[])), (0, Some(Vec::new())));
    }

    #[test]
    fn who_submits_to_pinned_workers_is_counted_when_it_has_a_cpu_of_its_own() {
        let pinned = |cpus: &[u32]| {
            let mut constants = Constants::default();
            constants.set(What::Cpus, "cpus".into(), cpus.iter().flat_map(|cpu| cpu.to_le_bytes()).collect());
            constants
        };
        assert_eq!(pinned(&[300, 2, 300]).cpu_count(&[0, 1, 2, 300]), Some(3));
        assert_eq!(pinned(&[1, 2]).cpu_count(&[1, 2]), Some(2), "it shares one with a worker");
        assert_eq!(Constants::default().cpu_count(&[1, 2]), None);
    }

    #[test]
    fn no_changed_bit_of_the_directory_and_no_cut_is_believed() {
        let (constants, bytes) = all();
        for bit in 0..constants.directory().len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&changed), None, "bit {bit}");
        }
        (1..bytes.len()).for_each(|len| assert!(read(&bytes[..len]).is_none_or(|p| p.iter().all(|p| p.at + p.len <= len))));
    }
}
