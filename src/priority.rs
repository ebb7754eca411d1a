//! Levels of priority, and the lanes of each. A lane's number says the level of its tasks, so nothing of it stands in shared memory: there is nothing of it
//! to damage, and nothing to recover.

use crate::limits::{LANES_HIGH, LANES_LOW, LANES_MAX, LANES_NORMAL};
use std::ops::Range;

/// Which of the tasks that wait are taken first: see [`SubmitOptions::priority`](crate::SubmitOptions::priority).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// After those of the other levels, but for aging.
    Low,
    /// That of tasks that ask for none.
    #[default]
    Normal,
    /// Before those of the other levels, but for aging.
    High,
}

/// How many levels there are.
pub(crate) const LEVELS: usize = 3;

impl Priority {
    /// In the order in which workers look at them.
    pub(crate) const ALL: [Priority; LEVELS] = [Priority::High, Priority::Normal, Priority::Low];

    /// Its number, for what there is one of for each level.
    #[inline]
    pub(crate) fn index(self) -> usize {
        match self {
            Priority::Normal => 0,
            Priority::High => 1,
            Priority::Low => 2,
        }
    }

    /// The lanes of its tasks.
    pub(crate) const fn lanes(self) -> Range<usize> {
        const HIGH_AT: usize = LANES_NORMAL;
        const LOW_AT: usize = HIGH_AT + LANES_HIGH;
        match self {
            Priority::Normal => 0..LANES_NORMAL,
            Priority::High => HIGH_AT..LOW_AT,
            Priority::Low => LOW_AT..LOW_AT + LANES_LOW,
        }
    }

    /// One bit for each of them.
    #[inline]
    pub(crate) const fn mask(self) -> u64 {
        let lanes = self.lanes();
        (1 << lanes.end) - (1 << lanes.start)
    }

    /// That of the tasks of a lane.
    pub(crate) fn of_lane(lane: usize) -> Priority {
        Priority::ALL.into_iter().find(|level| level.lanes().contains(&lane)).unwrap_or_default()
    }

    /// As reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }

    /// The lane of this level in the word of a participant's record, which has a byte for each level: a lane's number plus one.
    pub(crate) fn lane_in(self, word: u32) -> Option<usize> {
        let lane = ((word >> (8 * self.index()) & 0xff) as usize).wrapping_sub(1);
        // The word may be damaged.
        Some(lane).filter(|lane| self.lanes().contains(lane))
    }

    /// That word with this lane in it.
    pub(crate) fn with_lane(self, word: u32, lane: usize) -> u32 {
        let shift = 8 * self.index();
        word & !(0xff << shift) | (lane as u32 + 1) << shift
    }
}

const _: () = assert!(Priority::Low.lanes().end == LANES_MAX && LANES_MAX < 64, "every lane has a level, and a bit");

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_one_level() {
        let all = Priority::ALL.map(Priority::mask);
        assert_eq!(all.iter().fold(0, |all, mask| all | mask), (1 << LANES_MAX) - 1);
        assert_eq!(all.iter().map(|mask| mask.count_ones()).sum::<u32>() as usize, LANES_MAX);
        for level in Priority::ALL {
            assert!(level.lanes().all(|lane| Priority::of_lane(lane) == level), "{level:?}");
        }
        assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
    }

    #[test]
    fn a_word_names_a_lane_of_each_level_and_no_other() {
        let word = Priority::Low.with_lane(Priority::Normal.with_lane(0, 15), LANES_MAX - 1);
        assert_eq!(Priority::ALL.map(|level| level.lane_in(word)), [None, Some(15), Some(LANES_MAX - 1)]);
        assert_eq!(Priority::Normal.lane_in(Priority::Normal.with_lane(word, 0)), Some(0));
        // A lane of another level, and none at all.
        assert_eq!(Priority::ALL.map(|level| level.lane_in(0x01_01_14)), [None, None, None]);
        assert_eq!(Priority::ALL.map(|level| level.lane_in(u32::MAX)), [None, None, None]);
    }
}
