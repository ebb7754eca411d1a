//! Workers on demand: how many are there from the beginning, and how long one beyond these may have nothing to do. Chosen by the pool's owner and written
//! once into the header.
//!
//! The workers whose numbers are below the least number are started at once and stay, as in any pool. Those above it are started by the owner when tasks wait
//! and nobody is free for them (`hiring.rs`), and leave by themselves when they have been idle for long enough (`idleness.rs`). So no two of them have to agree
//! on who goes, and their number never falls below the least one.
//!
//! While workers wait in their tasks for others that run elsewhere, as many more may come on demand as there are such, up to a limit. Their numbers lie above
//! those of all others, and they leave when fewer wait.

use crate::error::{Error, Result};
use crate::limits::WORKERS_MAX;
use crate::time_limits::millis;
use std::time::Duration;

/// What the builder was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Workers that are there whether they are needed or not.
    pub(crate) least: u32,
    /// After so many milliseconds without a task one beyond them leaves; 0 for never.
    pub(crate) idle_ms: u32,
    /// As many more may come at most, one for each worker that waits in a task.
    pub(crate) replacements: u32,
}

impl Demand {
    /// Of a pool of so many workers; `None` when all of them are to be there at all times, and nobody else.
    pub(crate) fn of(
        least: Option<usize>,
        idle: Option<Duration>,
        replacements: usize,
        workers: usize,
    ) -> Result<Option<Demand>> {
        let idle_ms = millis("idle_timeout", idle)?;
        let room = WORKERS_MAX.saturating_sub(workers);
        if replacements > room {
            let wanted = format!("0 to {room}, which {workers} workers leave of {WORKERS_MAX}");
            return Err(Error::invalid("replacements", replacements, wanted));
        }
        match least {
            Some(least) if least > workers => {
                Err(Error::invalid("min_workers", least, format!("0 to workers, which is {workers}")))
            }
            None if idle_ms != 0 => {
                let given = format!("{:?} without min_workers", idle.unwrap_or_default());
                Err(Error::invalid("idle_timeout", given, "a least number of workers beside it, for those beyond it leave"))
            }
            None if replacements == 0 => Ok(None),
            // However many there are to be later.
            least => {
                let least = least.unwrap_or(WORKERS_MAX) as u32;
                Ok(Some(Demand { least, idle_ms, replacements: replacements as u32 }))
            }
        }
    }

    pub(crate) fn bits(this: Option<Demand>) -> u64 {
        let number = |demand: Demand| u64::from(demand.replacements) << 16 | u64::from(demand.least + 1);
        this.map_or(0, |demand| number(demand) << 32 | u64::from(demand.idle_ms))
    }

    /// Whatever the bits say is only when somebody starts or leaves.
    pub(crate) fn from_bits(bits: u64) -> Option<Demand> {
        let least = u32::from((bits >> 32) as u16).checked_sub(1)?;
        Some(Demand { least, idle_ms: bits as u32, replacements: (bits >> 48) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let of = |least, idle_ms, replacements| Some(Demand { least, idle_ms, replacements });
        for demand in [None, of(0, 0, 0), of(192, u32::MAX, 191), of(0, 1, 0), of(192, 0, 1)] {
            assert_eq!(Demand::from_bits(Demand::bits(demand)), demand);
        }
    }

    #[test]
    fn a_time_for_nobody_and_more_than_all_are_refused() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(Demand::of(Some(2), second, 3, 2), Ok(Some(Demand { least: 2, idle_ms: 1000, replacements: 3 })));
        assert_eq!(Demand::of(None, None, 0, 2), Ok(None));
        assert_eq!(Demand::of(None, None, 190, 2), Ok(Some(Demand { least: 192, idle_ms: 0, replacements: 190 })));
        let refused = [
            Demand::of(Some(3), None, 0, 2),
            Demand::of(None, second, 0, 2),
            Demand::of(Some(0), Some(Duration::ZERO), 0, 2),
            Demand::of(None, None, 191, 2),
        ];
        let texts = refused.map(|refused| refused.unwrap_err().to_string());
        assert_eq!(texts[0], "min_workers is 3; wanted 0 to workers, which is 2");
        assert!(texts[1].starts_with("idle_timeout is 1s without min_workers; wanted a least number"), "{}", texts[1]);
        assert_eq!(texts[2], "idle_timeout is 0ns; wanted more than 0 and up to 49 days");
        assert_eq!(texts[3], "replacements is 191; wanted 0 to 190, which 2 workers leave of 192");
    }
}
