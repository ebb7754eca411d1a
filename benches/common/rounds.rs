//! Rounds that take turns (ours, limit, peer, ours, limit, peer, ...), their medians and their ratios.
//!
//! A busy machine slows a whole stretch of time, and a virtual CPU may move to another core between two
//! stretches. Things measured in turns share that, so their ratio holds where the absolute figures do not.

/// One thing to measure: a name, and a function that runs one round and gives nanoseconds per operation.
pub struct Entry<'a> {
    name: String,
    round: Box<dyn FnMut() -> f64 + 'a>,
}

pub fn entry<'a>(name: impl Into<String>, round: impl FnMut() -> f64 + 'a) -> Entry<'a> {
    Entry { name: name.into(), round: Box::new(round) }
}

/// What one entry took, round by round.
pub struct Figure {
    pub name: String,
    rounds: Vec<f64>,
}

impl Figure {
    /// The median of all rounds.
    pub fn ns(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// Every round, in their order.
    pub fn rounds(&self) -> &[f64] {
        &self.rounds
    }

    /// The fastest and the slowest round.
    pub fn spread(&self) -> (f64, f64) {
        let pick = |choose: fn(f64, f64) -> f64| self.rounds.iter().copied().reduce(choose).unwrap_or(f64::NAN);
        (pick(f64::min), pick(f64::max))
    }

    /// How many times as long as `other`: the median of the ratios of each round. Close to the ratio of
    /// the two medians, and steadier.
    pub fn against(&self, other: &Figure) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// Runs every entry once to warm up, then `rounds` times in turns. The figures come in the order of the entries.
pub fn interleave(rounds: usize, mut entries: Vec<Entry<'_>>) -> Vec<Figure> {
    assert!(rounds > 0, "a median needs a round");
    let mut samples = vec![Vec::with_capacity(rounds); entries.len()];
    for round in 0..=rounds {
        for (entry, samples) in entries.iter_mut().zip(&mut samples) {
            let ns = (entry.round)();
            if round > 0 {
                samples.push(ns);
            }
        }
    }
    let figure = |(entry, rounds): (Entry<'_>, Vec<f64>)| Figure { name: entry.name, rounds };
    entries.into_iter().zip(samples).map(figure).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
