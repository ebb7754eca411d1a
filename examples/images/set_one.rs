//! Set 1: a thousand images are handed over, two hundred are enough, the rest is withdrawn - and the pool stays.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use taskring::{Discarded, Error, Executor};

use crate::collect::{Outcomes, begun_by_worker};
use crate::plan::Plan;
use crate::report::{Checks, bar, milliseconds};
use crate::work::{Job, thumbnails};

/// Runs set 1 and returns the outcomes of all its tasks.
pub fn run(pool: &Executor, plan: &Plan, jobs: &[Job], checks: &mut Checks) -> Result<Outcomes, Error> {
    let set = pool.task_set()?;
    let progress = bar("set 1", jobs.len());
    let start = Instant::now();
    let mut discarded = None;
    let (fed, outcomes) = thread::scope(|scope| {
        let (hand_over, arriving) = mpsc::channel();
        let set = &set;
        // One thread feeds ...
        let feeder = scope.spawn(move || -> Result<Duration, Error> {
            for (position, job) in jobs.iter().enumerate() {
                let future = match set.submit(thumbnails, job.clone()) {
                    Err(Error::Discarded) => break,
                    other => other?,
                };
                if hand_over.send((position, future)).is_err() {
                    break;
                }
            }
            Ok(start.elapsed())
        });
        // ... and this one collects, until it has seen enough.
        let outcomes = Outcomes::collect(arriving, |done| {
            progress.set_position(done as u64);
            if done == plan.enough && discarded.is_none() {
                let before = Instant::now();
                discarded = Some((set.discard()?, before, before.elapsed()));
            }
            Ok(())
        });
        (feeder.join().expect("the feeder does not panic"), outcomes)
    });
    progress.finish_and_clear();
    let (fed, outcomes) = (fed?, outcomes?);
    println!("  all {} were in the ring after {}", jobs.len(), milliseconds(fed));
    if let Some((counts, when, took)) = discarded {
        println!(
            "  discarded after {}, which took {}; images in hand then: {}, finished within {}",
            milliseconds(when - start),
            milliseconds(took),
            counts.running,
            milliseconds(when.elapsed())
        );
        check(plan, jobs, &outcomes, &counts, checks);
    } else {
        checks.check(false, "the set was discarded");
    }
    Ok(outcomes)
}

fn check(plan: &Plan, jobs: &[Job], outcomes: &Outcomes, counts: &Discarded, checks: &mut Checks) {
    checks.check(
        outcomes.len() == jobs.len() && outcomes.lost.is_empty() && outcomes.failed.is_empty(),
        format!(
            "every one of the {} futures has its answer: {} done, {} withdrawn",
            outcomes.len(),
            outcomes.done.len(),
            outcomes.withdrawn
        ),
    );
    checks.check(
        outcomes.withdrawn == counts.cancelled && outcomes.done.len() == counts.running + counts.done,
        format!("discard() said the same: {} cancelled, {} running, {} done", counts.cancelled, counts.running, counts.done),
    );
    // The workers number the images they begin, so they can be asked whether anything beyond the results was started.
    let begun: u64 = begun_by_worker(&outcomes.done).values().sum();
    checks.check(
        begun == outcomes.done.len() as u64,
        format!("the workers counted {begun} images begun: those that are done and no other"),
    );
    let never_started = jobs.len() as u64 - begun;
    checks.check(
        never_started >= plan.never_started_min as u64,
        format!("{never_started} were never started (at least {} asked for)", plan.never_started_min),
    );
}
