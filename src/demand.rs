//! Workers on demand: how many are there from the beginning, and how long one beyond these may have nothing to do. Chosen by the pool's owner and written
//! once into the header.
//!
//! The workers whose numbers are below the least number are started at once and stay, as in any pool. Those above it are started by the owner when tasks wait
//! and nobody is free for them (`hiring.rs`), and leave by themselves when they have been idle for long enough (`idleness.rs`). So no two of them have to agree
//! on who goes, and their number never falls below the least one.

use crate::error::{Error, Result};
use crate::time_limits::millis;
use std::time::Duration;

/// What the builder was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Workers that are there whether they are needed or not.
    pub(crate) least: u32,
    /// After so many milliseconds without a task one beyond them leaves; 0 for never.
    pub(crate) idle_ms: u32,
}

impl Demand {
    /// Of a pool of so many workers; `None` when all of them are to be there at all times.
    pub(crate) fn of(least: Option<usize>, idle: Option<Duration>, workers: usize) -> Result<Option<Demand>> {
        let idle_ms = millis("idle_timeout", idle)?;
        match least {
            Some(least) if least > workers => {
                Err(Error::invalid("min_workers", least, format!("0 to workers, which is {workers}")))
            }
            Some(least) => Ok(Some(Demand { least: least as u32, idle_ms })),
            None if idle_ms != 0 => {
                let given = format!("{:?} without min_workers", idle.unwrap_or_default());
                Err(Error::invalid("idle_timeout", given, "a least number of workers beside it, for those beyond it leave"))
            }
            None => Ok(None),
        }
    }

    pub(crate) fn bits(this: Option<Demand>) -> u64 {
        this.map_or(0, |demand| u64::from(demand.least + 1) << 32 | u64::from(demand.idle_ms))
    }

    /// Whatever the bits say is only when somebody starts or leaves.
    pub(crate) fn from_bits(bits: u64) -> Option<Demand> {
        let least = ((bits >> 32) as u32).checked_sub(1)?;
        Some(Demand { least, idle_ms: bits as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for demand in [None, Some(Demand { least: 0, idle_ms: 0 }), Some(Demand { least: 192, idle_ms: u32::MAX })] {
            assert_eq!(Demand::from_bits(Demand::bits(demand)), demand);
        }
    }

    #[test]
    fn a_time_for_nobody_and_more_than_all_are_refused() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(Demand::of(Some(2), second, 2), Ok(Some(Demand { least: 2, idle_ms: 1000 })));
        assert_eq!(Demand::of(None, None, 2), Ok(None));
        let refused =
            [Demand::of(Some(3), None, 2), Demand::of(None, second, 2), Demand::of(Some(0), Some(Duration::ZERO), 2)];
        let texts = refused.map(|refused| refused.unwrap_err().to_string());
        assert_eq!(texts[0], "min_workers is 3; wanted 0 to workers, which is 2");
        assert!(texts[1].starts_with("idle_timeout is 1s without min_workers; wanted a least number"), "{}", texts[1]);
        assert_eq!(texts[2], "idle_timeout is 0ns; wanted more than 0 and up to 49 days");
    }
}
