//! The pool: how it is built, and what building one costs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use taskring::{Error, Executor, StartMethod};

use crate::plan::Plan;
use crate::work::whoami;

/// All of set 1 is in the ring at once: what is not started when the set is discarded is then a matter of the pool
/// alone.
pub const CAPACITY: usize = 1024;
/// Every worker has its turn long before this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A pool with one process per worker; see [`CAPACITY`].
pub fn new_pool(plan: &Plan) -> Result<Executor, Error> {
    Executor::builder().workers(plan.workers).capacity(CAPACITY).start(StartMethod::Spawn).build()
}

/// Waits until every worker has answered; their pids.
pub fn first_answers(pool: &Executor) -> Result<BTreeSet<u32>, Error> {
    let start = Instant::now();
    let mut answered = BTreeSet::new();
    while answered.len() < pool.workers() {
        if start.elapsed() > ANSWERED_WITHIN {
            return Err(Error::TimedOut { what: "an answer from every worker", after: ANSWERED_WITHIN });
        }
        for answer in pool.submit_bulk(whoami, vec![(); pool.workers()])? {
            answered.insert(answer.result()?);
        }
    }
    Ok(answered)
}

/// What it costs to throw the pool away: the time until another one like it has an answer from each of its workers.
pub fn cost_of_a_new_pool(plan: &Plan) -> Result<Duration, Error> {
    let start = Instant::now();
    let another = new_pool(plan)?;
    first_answers(&another)?;
    let took = start.elapsed();
    another.shutdown(true, false)?;
    Ok(took)
}
