//! Who owns a pool and steers it, and who works for any pool by its name.

use crate::deeds::{Random, WORKERS_MAX};
use crate::features::{Feature, drawn};
use crate::options::Plan;
use crate::submit::{any_pool, is_to_stop};
use std::path::Path;
use std::time::Duration;
use taskring::{Error, Executor};

/// Owns a pool until it is told to stop, or killed.
pub fn own(dir: &Path, name: &str, seed: u64) -> Result<(), Error> {
    let (plan, mut random) = (Plan::of(name), Random::of(seed, 0));
    let pool = loop {
        match plan.builder().create_named(name) {
            Ok(pool) => break pool,
            // The nemesis has filled `/dev/shm` or taken the descriptors, and gives back soon.
            Err(Error::OutOfMemory { .. } | Error::System { errno: libc::EMFILE | libc::ENOMEM, .. }) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e),
        }
    };
    plan.note_drawn();
    std::fs::write(dir.join(format!("made.{name}")), std::process::id().to_string()).expect("a mark");
    while !dir.join("stop owner").exists() {
        steer(&pool, &mut random);
        std::thread::sleep(Duration::from_millis(20));
    }
    match random.below(2) {
        0 => pool.shutdown(true, false),
        // Nothing is under way by now: it is over long before.
        _ => pool.shutdown_within(Duration::from_secs(30)).map(drop),
    }
}

/// Now and then another number of workers, or a pause. A worker that the nemesis has stopped answers to no pause, and then there is none.
fn steer(pool: &Executor, random: &mut Random) {
    match random.below(100) {
        0 => {
            pool.resize(1 + random.below(WORKERS_MAX.into()) as usize).expect("a number of workers");
            drawn(Feature::Resize);
        }
        1 => {
            let paused = pool.pause();
            assert!(matches!(paused, Ok(()) | Err(Error::Stalled { .. })), "{paused:?}");
            std::thread::sleep(Duration::from_millis(random.below(30)));
            pool.resume().expect("the owner may");
            drawn(Feature::Pause);
        }
        _ => {}
    }
}

/// Works for whatever pool there is.
pub fn work(dir: &Path, seed: u64) {
    let mut random = Random::of(seed, 0);
    while !is_to_stop(dir) {
        if taskring::work(&any_pool(dir, &mut random)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
