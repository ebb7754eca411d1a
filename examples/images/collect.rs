//! Collecting: takes futures in the order in which they finish and sorts their outcomes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use taskring::{Error, Future};

use crate::work::Done;

/// How the tasks of a set ended. Every task is named by its position in the set.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub done: Vec<(usize, Done)>,
    /// Withdrawn before a worker had begun them.
    pub withdrawn: usize,
    /// Their worker ended while it had them.
    pub lost: Vec<(usize, Error)>,
    /// Anything else; nothing here is expected to fail.
    pub failed: Vec<(usize, Error)>,
}

impl Outcomes {
    /// Waits for `futures`, which may still be coming in, and calls `seen` with the number of results so far after
    /// each outcome.
    pub fn collect(
        futures: impl IntoIterator<Item = (usize, Future<Done>)>,
        mut seen: impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut outcomes = Self::default();
        let positions = RefCell::new(HashMap::new());
        let arriving = futures.into_iter().map(|(position, future)| {
            positions.borrow_mut().insert(future.id(), position);
            future
        });
        for future in taskring::as_completed(arriving, None) {
            let future = future?;
            let position = positions.borrow()[&future.id()];
            outcomes.sort(position, future.result());
            seen(outcomes.done.len())?;
        }
        // A check will say that something failed; here is what.
        if let Some((position, error)) = outcomes.failed.first() {
            println!("  image {position}: {error}");
        }
        Ok(outcomes)
    }

    fn sort(&mut self, position: usize, result: Result<Done, Error>) {
        match result {
            Ok(done) => self.done.push((position, done)),
            Err(Error::Discarded | Error::Cancelled) => self.withdrawn += 1,
            Err(error @ Error::WorkerLost { .. }) => self.lost.push((position, error)),
            Err(error) => self.failed.push((position, error)),
        }
    }

    /// How many tasks have ended in any way.
    pub fn len(&self) -> usize {
        self.done.len() + self.withdrawn + self.lost.len() + self.failed.len()
    }

    /// How many positions have a result.
    pub fn positions_done(&self) -> usize {
        let positions: BTreeSet<usize> = self.done.iter().map(|(position, _)| *position).collect();
        positions.len()
    }
}

/// For each worker the highest number it gave to an image, which is how many images it had begun by then.
pub fn begun_by_worker<'a>(results: impl IntoIterator<Item = &'a (usize, Done)>) -> BTreeMap<u32, u64> {
    let mut begun = BTreeMap::new();
    for (_, done) in results {
        let last = begun.entry(done.worker).or_insert(0);
        *last = done.nth.max(*last);
    }
    begun
}
