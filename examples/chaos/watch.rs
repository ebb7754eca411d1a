//! Whether anything grows. Under a nemesis few processes live long, so the soak spares some: the owner of a second pool, a submitter that comes and
//! goes, and the process that conducts it all. These must stay as they are while thousands die around them, and so must the spared pool's file.

use std::collections::BTreeMap;
use std::path::Path;

/// What is looked at, in KiB or as a number of descriptors.
#[derive(Default)]
pub struct Watch {
    series: BTreeMap<String, Vec<u64>>,
}

/// Fewer looks say nothing.
const LOOKS_MIN: usize = 20;
/// What there may be more in the last quarter than in the first: of a process, arenas of the allocator; of a submitter, what its sixty features need when
/// they are used for the first time; of the soak itself, which has the checker, what
/// rests before it is judged; of a pool's file, steps in which it commits memory, and lanes that are used at last.
const GROWTH_KIB: u64 = 1 << 10;
const GROWTH_OF_SUBMITTER_KIB: u64 = 4 << 10;
const GROWTH_OF_SOAK_KIB: u64 = 8 << 10;
const GROWTH_OF_FILE_KIB: u64 = 4 << 10;
const GROWTH_FDS: u64 = 4;

impl Watch {
    /// Looks at a process that nobody kills.
    pub fn process(&mut self, who: &str, pid: u32) {
        let Some(memory) = kib(pid, "RssAnon:") else { return };
        self.add(format!("{who}: KiB"), memory);
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.add(format!("{who}: descriptors"), fds as u64);
    }

    /// Looks at a pool's file.
    pub fn file(&mut self, what: &str, path: &Path) {
        use std::os::unix::fs::MetadataExt;
        if let Ok(found) = std::fs::metadata(path) {
            self.add(format!("{what}: KiB"), found.blocks() / 2);
        }
    }

    fn add(&mut self, series: String, value: u64) {
        self.series.entry(series).or_default().push(value);
    }

    /// What was seen last.
    pub fn line(&self) -> String {
        let last = self.series.iter().filter_map(|(name, values)| Some(format!("{name} {}", values.last()?)));
        last.collect::<Vec<_>>().join(", ")
    }

    /// Prints the first and the last quarter of all that was looked at, and gives what has grown. The first fifth is for warming up.
    pub fn judge(&self) -> Vec<String> {
        let mut grown = Vec::new();
        for (name, values) in &self.series {
            if values.len() < LOOKS_MIN {
                println!("memory: {name}: {} looks are too few to judge", values.len());
                continue;
            }
            let values = &values[values.len() / 5..];
            let quarter = values.len() / 4;
            // What a submitter has depends on what it does just then; what it keeps is the least.
            let typical = if name.contains("submitter") { least } else { median };
            let (first, last) = (typical(&values[..quarter]), typical(&values[values.len() - quarter..]));
            println!("memory: {name}: first quarter {first}, last quarter {last}");
            let bound = match name.as_str() {
                name if name.ends_with("descriptors") => GROWTH_FDS,
                name if name.contains("submitter") => GROWTH_OF_SUBMITTER_KIB,
                name if name.starts_with("the soak") => GROWTH_OF_SOAK_KIB,
                name if name.contains("file") => GROWTH_OF_FILE_KIB,
                _ => GROWTH_KIB,
            };
            if last > first + bound {
                grown.push(format!("{name} has grown from {first} to {last}"));
            }
        }
        grown
    }
}

fn least(values: &[u64]) -> u64 {
    values.iter().copied().min().unwrap_or(0)
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// A field of a process' status.
pub fn kib(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}
