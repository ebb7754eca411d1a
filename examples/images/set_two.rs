//! Set 2, on the same pool: other tasks, and a worker is killed in the middle of one of them.

use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;
use taskring::{Error, Executor};

use crate::collect::Outcomes;
use crate::kill::{kill_and_recover, lengthen};
use crate::report::{Checks, bar};
use crate::work::{Job, thumbnails};

/// Runs set 2, where an image takes about `typical`. Returns the outcomes and the number of tasks handed in again.
pub fn run(pool: &Executor, jobs: &[Job], typical: Duration, checks: &mut Checks) -> Result<(Outcomes, usize), Error> {
    let progress = bar("set 2", jobs.len());
    // The first image is the largest. It goes first and takes long, so that it loses its worker while the others wait
    // behind it.
    let slow = lengthen(&jobs[0], typical);
    let first = pool.submit(thumbnails, slow.clone())?;
    let (recovered, others) = thread::scope(|scope| {
        let others = scope.spawn(|| feed_and_collect(pool, jobs, &progress));
        let recovered = kill_and_recover(pool, &jobs[0], (&slow, first), checks);
        let others = others.join().expect("the collector does not panic");
        (recovered, others)
    });
    progress.finish_and_clear();
    let (recovered, mut outcomes) = (recovered?, others?);
    let mut retried = recovered.retried;
    let results_of_first = recovered.done.into_iter().map(|done| (0, done));
    outcomes.done.extend(results_of_first);

    // A kill that came too late for its image has hit the next task of that worker, which gets its second life here.
    for (position, error) in std::mem::take(&mut outcomes.lost) {
        println!("  image {position}: {error}; handed in again");
        let again = pool.submit(thumbnails, jobs[position].clone())?;
        outcomes.done.push((position, again.result()?));
        retried += 1;
    }
    let done = outcomes.positions_done();
    checks.check(
        done == jobs.len() && outcomes.failed.is_empty(),
        format!("{done} of {} images of set 2 are done", jobs.len()),
    );
    Ok((outcomes, retried))
}

/// Hands over every image but the first and collects them as they finish.
fn feed_and_collect(pool: &Executor, jobs: &[Job], progress: &ProgressBar) -> Result<Outcomes, Error> {
    let mut futures = Vec::with_capacity(jobs.len());
    for (position, job) in jobs.iter().enumerate().skip(1) {
        futures.push((position, pool.submit(thumbnails, job.clone())?));
    }
    Outcomes::collect(futures, |done| {
        progress.set_position(done as u64);
        Ok(())
    })
}
