//! The way through a window, as one victim went it: where to have the next one stopped, that it comes near to a point with few stops.

/// An instruction that a victim comes to on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// After how many steps of the window that is.
    pub steps: u64,
    pub address: u64,
    /// How many times it comes there, from the system call before on.
    pub times: u32,
}

/// How far before a point a stop is looked for.
const LOOK_BACK: u64 = 2_000;
/// A stop at a breakpoint costs about as much as a step. This says that an instruction is no place for one.
const NEVER: u32 = u32::MAX;

/// The instructions of a window in their order, each with how many times the victim had come to it since the last system call.
#[derive(Debug, Default)]
pub struct Way {
    steps: Vec<(u64, u32)>,
    times: std::collections::HashMap<u64, u32>,
}

impl Way {
    /// The next instruction, and whether it is a system call.
    pub fn note(&mut self, address: u64, is_call: bool) {
        // An instruction that repeats itself is stepped through by its rounds, and stops at a breakpoint once.
        let is_repeated = self.steps.last().is_some_and(|(last, _)| *last == address);
        let times = self.times.entry(address).or_default();
        *times += u32::from(!is_repeated);
        self.steps.push((address, if is_repeated { NEVER } else { *times }));
        if is_call {
            self.times.clear();
        }
    }

    /// The stop from which the fewest stops and steps lead to a point, for a victim that stands behind a system call, or at the beginning; `None` when it is best
    /// stepped all the way.
    pub fn stop_before(&self, from: u64, to: u64) -> Option<Stop> {
        let first = from.max(to.saturating_sub(LOOK_BACK)) as usize;
        let last = (to as usize).min(self.steps.len().checked_sub(1)?);
        let candidates = self.steps.get(first..=last)?.iter().zip(first as u64..);
        let cost = |times: u32, steps: u64| u64::from(times) + (to - steps);
        let stops = candidates.filter(|((_, times), _)| *times != NEVER);
        let best = stops.map(|((address, times), steps)| Stop { steps, address: *address, times: *times });
        best.min_by_key(|stop| cost(stop.times, stop.steps)).filter(|stop| cost(stop.times, stop.steps) < to - from)
    }

    /// How many stops and steps lead to an instruction from the system call before it, on average.
    pub fn length(&self) -> u64 {
        let (mut sum, mut best) = (0, 0);
        for (_, times) in &self.steps {
            // One step beyond the stop for the instruction before, or a stop for this one.
            best = (best + 1).min(u64::from(*times));
            sum += best;
        }
        sum / self.steps.len().max(1) as u64
    }
}
