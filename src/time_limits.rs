//! How long a task may run: its time limits, and what lies beside its slot for those few that have such.

use crate::error::{Error, Result};
use std::time::Duration;

/// Time limits of a task, counted from its start in whole milliseconds; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    /// After which it is asked to stop.
    pub(crate) soft_ms: u32,
    /// After which it is killed with its worker.
    pub(crate) hard_ms: u32,
}

impl TimeLimits {
    pub(crate) fn of(soft: Option<Duration>, hard: Option<Duration>) -> Result<TimeLimits> {
        TimeLimits { soft_ms: millis("soft_limit", soft)?, hard_ms: millis("hard_limit", hard)? }.in_order()
    }

    /// These, and where they say nothing those of the pool.
    pub(crate) fn or(self, pool: TimeLimits) -> Result<TimeLimits> {
        let pick = |own: u32, other: u32| if own != 0 { own } else { other };
        TimeLimits { soft_ms: pick(self.soft_ms, pool.soft_ms), hard_ms: pick(self.hard_ms, pool.hard_ms) }.in_order()
    }

    /// A task that is killed first could not be asked any more.
    fn in_order(self) -> Result<TimeLimits> {
        if self.soft_ms != 0 && self.hard_ms != 0 && self.soft_ms >= self.hard_ms {
            let [soft, hard] = [self.soft_ms, self.hard_ms].map(|ms| Duration::from_millis(ms.into()));
            return Err(Error::invalid("soft_limit", format!("{soft:?} of {hard:?}"), "less than the hard limit"));
        }
        Ok(self)
    }

    pub(crate) fn is_none(self) -> bool {
        self == TimeLimits::default()
    }

    pub(crate) fn bits(self) -> u64 {
        u64::from(self.hard_ms) << 32 | u64::from(self.soft_ms)
    }

    pub(crate) fn from_bits(bits: u64) -> TimeLimits {
        TimeLimits { soft_ms: bits as u32, hard_ms: (bits >> 32) as u32 }
    }
}

/// Whole milliseconds, rounded up.
pub(crate) fn millis(name: &'static str, limit: Option<Duration>) -> Result<u32> {
    let Some(limit) = limit else { return Ok(0) };
    let ms = u32::try_from(limit.as_nanos().div_ceil(1_000_000)).ok().filter(|&ms| ms != 0);
    ms.ok_or_else(|| Error::invalid(name, format!("{limit:?}"), "more than 0 and up to 49 days"))
}

/// When a limit of so many milliseconds is over; never, if there is none.
pub(crate) fn due(start: u64, limit_ms: u32) -> u64 {
    if limit_ms == 0 { u64::MAX } else { start.saturating_add(u64::from(limit_ms) * 1_000_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_milliseconds_and_in_order() {
        let ms = Duration::from_millis;
        let both = TimeLimits::of(Some(Duration::from_micros(1)), Some(ms(2))).unwrap();
        assert_eq!(both, TimeLimits { soft_ms: 1, hard_ms: 2 });
        assert_eq!(TimeLimits::from_bits(both.bits()), both);
        assert!(TimeLimits::of(None, None).unwrap().is_none());
        for (soft, hard) in
            [(Some(ms(2)), Some(ms(2))), (Some(ms(0)), None), (None, Some(ms(0))), (None, Some(Duration::MAX))]
        {
            assert!(TimeLimits::of(soft, hard).is_err(), "{soft:?} {hard:?}");
        }
        let pool = TimeLimits { soft_ms: 7, hard_ms: 9 };
        assert_eq!(TimeLimits { soft_ms: 8, hard_ms: 0 }.or(pool).unwrap(), TimeLimits { soft_ms: 8, hard_ms: 9 });
        for own in [TimeLimits { soft_ms: 9, hard_ms: 0 }, TimeLimits { soft_ms: 0, hard_ms: 7 }] {
            assert!(own.or(pool).is_err(), "{own:?}");
        }
        assert_eq!((due(5, 0), due(5, 1)), (u64::MAX, 1_000_005));
    }
}
