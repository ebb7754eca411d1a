//! How fast it is: one input, three ways to work through it.

use std::error::Error;
use std::time::{Duration, Instant};

use image::ImageResult;
use rayon::prelude::*;
use taskring::{Executor, MapOptions};

use crate::report::{Checks, Speed, bar, milliseconds, table};
use crate::work::{Done, Job, process, thumbnails};

/// So many images per worker may be in the pool at once. More than two, because results come in input order, and a
/// slow image must not leave the other workers without work.
const WINDOW_PER_WORKER: usize = 16;
/// The three take turns, a slice of the images each, so that whatever else the machine does hits all of them alike.
pub const TURNS: usize = 5;
/// A task shorter than this would say more about the pool than about images.
const MEAN_MIN: Duration = Duration::from_micros(100);

/// All images, one after the other, in this thread.
pub fn alone(jobs: &[Job], label: &'static str) -> ImageResult<Vec<Done>> {
    let progress = bar(label, jobs.len());
    progress.wrap_iter(jobs.iter()).map(process).collect()
}

/// One way to do the work, and what it has done so far.
struct Way {
    label: String,
    wall: Duration,
    results: Vec<Done>,
}

impl Way {
    fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), wall: Duration::ZERO, results: Vec::new() }
    }

    fn add<E>(&mut self, work: impl FnOnce() -> Result<Vec<Done>, E>) -> Result<(), E> {
        let start = Instant::now();
        let results = work()?;
        self.wall += start.elapsed();
        self.results.extend(results);
        Ok(())
    }
}

/// Does `jobs` three ways and prints how fast each was. Returns the results of this process alone and those of the pool.
pub fn compare(pool: &Executor, jobs: &[Job], checks: &mut Checks) -> Result<(Vec<Done>, Vec<Done>), Box<dyn Error>> {
    let workers = pool.workers();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(workers).build()?;
    let window = MapOptions::new().window(WINDOW_PER_WORKER * workers);
    let mut alone = Way::new("one process, one thread");
    let mut by_rayon = Way::new(format!("rayon, threads: {workers}"));
    let mut by_pool = Way::new(format!("taskring, processes: {workers}"));

    let progress = bar("three ways", jobs.len());
    for slice in jobs.chunks(jobs.len().div_ceil(TURNS)) {
        alone.add(|| slice.iter().map(process).collect::<ImageResult<_>>())?;
        by_rayon.add(|| threads.install(|| slice.par_iter().map(process).collect::<ImageResult<_>>()))?;
        by_pool
            .add(|| pool.map_with(&window, thumbnails, slice.iter().cloned())?.collect::<Result<_, taskring::Error>>())?;
        progress.inc(slice.len() as u64);
    }
    progress.finish_and_clear();

    let speeds = [&alone, &by_rayon, &by_pool].map(|way| Speed::of(way.label.clone(), way.wall, &way.results));
    table(&speeds);
    let mean = speeds[0].mean();
    checks
        .check(mean >= MEAN_MIN, format!("mean work per task {}, at least {}", milliseconds(mean), milliseconds(MEAN_MIN)));
    let differing = differing(&alone.results, by_rayon.results.iter().enumerate());
    checks.check(
        differing == 0 && by_rayon.results.len() == jobs.len(),
        format!("rayon: {} results, {differing} differ", by_rayon.results.len()),
    );
    Ok((alone.results, by_pool.results))
}

/// How many `results` are not, byte for byte, what `reference` has at their position.
pub fn differing<'a>(reference: &[Done], results: impl IntoIterator<Item = (usize, &'a Done)>) -> usize {
    let differs = |(position, done): &(usize, &Done)| done.made != reference[*position].made;
    results.into_iter().filter(differs).count()
}
