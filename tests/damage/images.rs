//! Files that begin like a pool and hold anything behind: for `inspect`, for whoever attaches, and for the recovery of the dead whom they name.

use crate::Tally;
use crate::places::{Class, Image, SLOTS_AT, parts};
use crate::process_support::common::Random;
use crate::process_support::{Program, hear, pool_file, say, unique};
use crate::scene::{Scene, quiet, quietly};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Executor, Task, inspect};
use tempfile::NamedTempFile;

/// How long a guest may take for one image: it may run into the time-out of a mutex, which is told after five seconds.
const LIMIT: Duration = Duration::from_secs(8);

/// Looks at pools, attaches to them, and works with them for a moment.
pub fn guest(_args: &[String]) {
    say("ready");
    while let Some(name) = hear() {
        let start = Instant::now();
        let seen = inspect(&name).map(|view| view.to_string().len());
        let mut ends = vec![seen.map(drop).err()];
        match Executor::attach(&name) {
            Err(e) => ends.push(Some(e)),
            Ok(pool) => {
                // Long enough that it looks after the dead.
                let submitted = pool.try_submit(Task::<u64, u64>::named("damage::scene::triple"), 1);
                ends.push(submitted.and_then(|f| f.result_timeout(Duration::from_millis(40))).err());
                ends.push(pool.task_set().and_then(|s| s.discard()).err());
                let large = pool.try_submit(Task::<Vec<u8>, u64>::named("damage::scene::reversed"), vec![1; 300]);
                ends.push(large.and_then(|f| f.result_timeout(Duration::from_millis(20))).err());
                // Its end would wait for tasks that nobody runs.
                ends.push(pool.shutdown(false, true).err());
            }
        }
        let kinds: Vec<String> = ends.iter().map(|e| e.as_ref().map_or("fine".into(), kind_of)).collect();
        let slow = if start.elapsed() > LIMIT { format!("hang: {:?}; ", start.elapsed()) } else { String::new() };
        say(&format!("{slow}typed: {}", kinds.join("/")));
    }
}

fn kind_of(e: &taskring::Error) -> String {
    format!("{e:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

pub fn images(count: Option<usize>) -> usize {
    let mut random = Random::new();
    let scene = Scene::new();
    let parts = parts(scene.image.functions());
    let pristine = std::fs::File::open(pool_file(&scene.name)).expect("the pool's file");
    let len = pristine.metadata().expect("its length").len();
    let mut first = vec![0; SLOTS_AT + (64 << 10)];
    pristine.read_exact_at(&mut first, 0).expect("its beginning");
    assert!(scene.end().is_empty(), "a pool that nobody damages");
    let mut tally = Tally::default();
    let said = NamedTempFile::new().expect("a temporary file");
    let start_guest = || Program::from_command(quiet(said.as_file()), "guest", &[]);
    let mut guest = start_guest();
    guest.expect("ready");
    for i in 0..count.unwrap_or(60) {
        let name = unique("image");
        let file = make(&name, &first, len);
        let image = Image::of(&name);
        // All of it any bytes, or every part with its own share of words that are not zero or not as they were.
        let share = [1, 4, 64, 1024][random.below(4) as usize];
        for part in &parts {
            for at in (part.at..part.at + part.len).step_by(8).filter(|at| !(0..128).contains(at)) {
                if random.below(share) == 0 {
                    image.word(at).store(plausible(&mut random), SeqCst);
                }
            }
        }
        guest.tell(&name);
        let outcome = quietly(|| guest.line())
            .unwrap_or_else(|_| format!("hang: the guest says nothing\n{}", crate::scene::stacks(guest.pid())));
        tally.add(&format!("image {i}, one word of {share}"), Class::Content, &outcome);
        if outcome.starts_with("hang") {
            guest = start_guest();
            guest.expect("ready");
        }
        drop((image, file));
        let _ = std::fs::remove_file(pool_file(&name));
    }
    if let Ok(status) = quietly(|| guest.end_within(LIMIT))
        && !status.success()
    {
        tally.add("the end", Class::Content, &format!("crash: {status}"));
    }
    let said = std::fs::read_to_string(said.path()).unwrap_or_default();
    for line in said.lines().filter(|l| l.contains("panicked") || l.contains("AddressSanitizer")) {
        tally.add("the guest", Class::Content, &format!("crash: {line}"));
    }
    tally.report("images")
}

fn make(name: &str, first: &[u8], len: u64) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(pool_file(name)).expect("a new file");
    file.set_len(len).expect("room");
    file.write_all_at(first, 0).expect("written");
    file
}

/// Any word, or one that the library might have written: states of participants and slots, holders of blocks, small numbers.
fn plausible(random: &mut Random) -> u64 {
    let who = random.below(260) << 6 | random.below(4);
    let any = random.below(u64::MAX);
    match random.below(8) {
        0 => any,
        1 => random.below(20),
        2 => (random.below(6) << 24 | 5 << 16 | random.below(4)) | u64::from(std::process::id()) << 32,
        3 => (random.below(6) << 24 | 5 << 16 | random.below(4)) | random.below(40_000) << 32,
        4 => who << 48 | random.below(6) << 16 | random.below(32) << 8 | [0, 3, 5, 6, 9][random.below(5) as usize],
        5 => 1 << 60 | who,
        6 => 2 << 60 | random.below(20) << 32 | random.below(6),
        _ => who << 8 | 1 | any << 32,
    }
}
