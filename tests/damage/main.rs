//! Damage: bits and words of a living pool's segment are changed behind its back while it works, and images of any bytes are offered to whoever
//! attaches. What may follow is a right answer, a typed error, or the end of the pool by [`Error::Corrupt`]; never a crash, a panic of the
//! library, a hang over three seconds, or a wild access.
//!
//! ```text
//! cargo test --release --test damage -- --exhaustive bit        every bit
//! cargo test --release --test damage -- --words 1000000 words   so many damages of several words at a time
//! cargo test --release --test damage -- --images 100000 images  so many images
//! ```
//! Without these a share is done, chosen by a seed that is printed; `TASKRING_TEST_SEED` repeats it.

#[path = "../process_support/mod.rs"]
mod process_support;

mod exact;
mod images;
mod places;
mod scene;

use places::{Class, Image, class_of, parts};
use process_support::common::Random;
use process_support::watchdog;
use scene::Scene;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Trials before a pool is given up for a new one, though nothing came of them.
const TRIALS_OF_POOL: usize = 200;
/// Pools at a time of few trials.
const AT_A_TIME: usize = 4;
/// The same of many, for each CPU: most of the time somebody sleeps.
const AT_A_TIME_OF_CPU: usize = 8;

fn main() {
    taskring::init();
    if process_support::role().is_some() {
        return process_support::main(&scene::ROLES, &[]);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tests = [
        ("fault_17_an_impossible_word_is_told_to_all_who_wait", "--exact", exact::exact as fn(Option<usize>) -> usize),
        ("fault_17_a_flipped_bit_gives_an_error_or_nothing", "--exhaustive", bits),
        ("fault_17_damaged_words_give_an_error_or_nothing", "--words", words),
        ("fault_17_images_of_any_bytes_are_refused_or_told", "--images", images::images),
    ];
    if args.iter().any(|a| a == "--list") {
        return tests.iter().for_each(|(name, ..)| println!("{name}: test"));
    }
    let after = |option: &str| {
        let at = args.iter().position(|a| a == option)?;
        Some(args.get(at + 1).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX))
    };
    let chosen: Vec<&String> = args.iter().filter(|a| !a.starts_with('-') && a.parse::<u64>().is_err()).collect();
    let mut failed = false;
    for (name, option, test) in tests {
        if !chosen.is_empty() && !chosen.iter().any(|c| name.contains(c.as_str())) {
            continue;
        }
        let _dog = watchdog(if after(option).is_some() { 6 * 3600 } else { 300 });
        let start = Instant::now();
        let violations = test(after(option));
        failed |= violations != 0;
        let end = if violations == 0 { "ok" } else { "FAILED" };
        println!("test {name} ... {end} ({:.2} s)", start.elapsed().as_secs_f64());
    }
    println!("test result: {}", if failed { "FAILED" } else { "ok" });
    if failed {
        std::process::exit(101);
    }
}

/// What came of all trials together.
#[derive(Default)]
pub struct Tally {
    outcomes: BTreeMap<String, usize>,
    violations: Vec<String>,
}

impl Tally {
    /// Counts what a trial gave; a violation is said at once. True when it is one.
    pub fn add(&mut self, place: &str, class: Class, outcome: &str) -> bool {
        let (kind, rest) = outcome.split_once(": ").unwrap_or((outcome, ""));
        let word = rest.split([' ', '(', ',', '{']).next().unwrap_or_default();
        *self.outcomes.entry(format!("{kind} {word}").trim_end().to_owned()).or_default() += 1;
        let bad = |part: &str| {
            part.starts_with("hang")
                || part.starts_with("crash")
                || part.starts_with("left")
                || part.starts_with("content") && class == Class::Rules
        };
        let wrong = outcome.split("; ").any(bad);
        if wrong {
            println!("  VIOLATION {place}: {outcome}");
            self.violations.push(place.to_owned());
        }
        wrong
    }

    /// Says what came of them. The number of violations.
    pub fn report(&self, what: &str) -> usize {
        let sum: usize = self.outcomes.values().sum();
        let list: Vec<String> = self.outcomes.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        println!("{what}: {sum} trials: {}; violations {}", list.join(", "), self.violations.len());
        self.violations.len()
    }
}

/// Does trials `0..count` in several pools at a time. A pool is given up as soon as anything came of a trial.
fn in_pools(count: usize, what: &str, trial: impl Fn(&mut Scene, usize) -> (String, Class, String) + Sync) -> usize {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let at_a_time = if count > 500 { AT_A_TIME_OF_CPU * cpus } else { AT_A_TIME };
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                let mut pool: Option<(Scene, Vec<String>)> = None;
                loop {
                    let i = next.fetch_add(1, SeqCst);
                    if i >= count {
                        break;
                    }
                    let (mut scene, mut before) = pool.take().unwrap_or_else(|| (Scene::new(), Vec::new()));
                    let (place, class, outcome) = trial(&mut scene, i);
                    let mut wrong = tally.lock().unwrap().add(&place, class, &outcome);
                    if outcome == "ok" && before.len() + 1 < TRIALS_OF_POOL {
                        before.push(place);
                        pool = Some((scene, before));
                        continue;
                    }
                    for found in scene.end() {
                        wrong |= tally.lock().unwrap().add(&format!("the end after {place}"), class, &found);
                    }
                    if wrong {
                        // What came of it may show only later.
                        println!("  before {place}, in the same pool: {}", before.join("; "));
                    }
                }
                if let Some((scene, before)) = pool {
                    for found in scene.end() {
                        tally.lock().unwrap().add(&format!("the end after {}", before.join("; ")), Class::Rules, &found);
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap().report(what)
}

/// One bit at a time.
fn bits(all: Option<usize>) -> usize {
    const SHARE: usize = 8_000;
    let scene = Scene::new();
    let parts = parts(scene.image.functions());
    assert!(scene.end().is_empty(), "a pool that nobody damages");
    let total: usize = parts.iter().map(|p| p.len * 8).sum();
    let stride = if all.is_some() { 1 } else { total / SHARE };
    let first = Random::new().below(stride as u64) as usize;
    println!("{total} bits, each {stride}th from {first}");
    in_pools((total - first).div_ceil(stride), "bits", |scene, i| {
        let mut bit = first + i * stride;
        let part = parts
            .iter()
            .find(|p| {
                bit < p.len * 8 || {
                    bit -= p.len * 8;
                    false
                }
            })
            .expect("a bit of a part");
        let at = part.at + bit / 8;
        let mask = 1_u64 << (at % 8 * 8 + bit % 8);
        let mut before = 0;
        // Before, in or after the damaged round's work.
        let delay = Duration::from_micros((i as u64 * 37) % 700);
        // What becomes of a lane's words shows only where the lane is full, and later too.
        let of_a_lane = part.name.starts_with("lane");
        let all = of_a_lane || i % 4 == 0;
        let mut outcome = scene.trial(all, delay, |image| before = image.word(at).fetch_xor(mask, SeqCst));
        if of_a_lane && outcome == "ok" {
            outcome = scene.trial(all, Duration::ZERO, |_| ());
        }
        // Nobody has written since: then it is put right, so that the next bit is the only damage again.
        let _ = scene.image.word(at).compare_exchange(before ^ mask, before, SeqCst, SeqCst);
        (format!("{} byte {} bit {} of {before:#x}", part.name, at - part.at, bit % 8), class_of(at), outcome)
    })
}

/// Several words at a time, each to anything, to a neighbouring value, or to another word's.
fn words(count: Option<usize>) -> usize {
    let mut random = Random::new();
    let seed = random.below(u64::MAX);
    let scene = Scene::new();
    let parts = parts(scene.image.functions());
    assert!(scene.end().is_empty(), "a pool that nobody damages");
    in_pools(count.unwrap_or(2_000), "words", |scene, i| {
        let mut random = Random::seeded(seed.wrapping_add(i as u64));
        let mut places = Vec::new();
        let delay = Duration::from_micros(random.below(700));
        let all = random.below(4) == 0;
        let outcome = scene.trial(all, delay, |image: &Image| {
            for _ in 0..=random.below(8) {
                let part = &parts[random.below(parts.len() as u64) as usize];
                let at = (part.at + random.below(part.len as u64) as usize) & !7;
                let old = image.word(at).load(SeqCst);
                let new = match random.below(4) {
                    0 => random.below(u64::MAX),
                    1 => old.wrapping_add(random.below(5)).wrapping_sub(2),
                    2 => image.word(parts[random.below(parts.len() as u64) as usize].at & !7).load(SeqCst),
                    _ => u64::MAX << random.below(64),
                };
                image.word(at).store(new, SeqCst);
                places.push(format!("{} byte {} {old:#x} -> {new:#x}", part.name, at - part.at));
            }
        });
        // Any word may be among them.
        (format!("trial {i} [{}]", places.join(", ")), Class::Content, outcome)
    })
}
