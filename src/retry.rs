//! Running a task again that ended with an error: what a program asks for, and the rule that stands beside the task's slot.

use crate::error::{Error, Result};
use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;
use std::time::Duration;

/// The largest code that can be chosen.
pub(crate) const CODE_MAX: u8 = 31;
/// A pause between two attempts in milliseconds has 24 bits: 4.6 hours.
const PAUSE_BITS: u32 = 24;
const PAUSE_MAX: u32 = (1 << PAUSE_BITS) - 1;
const MS: u64 = 1_000_000;

/// When the next attempt may begin, so many milliseconds after now, as it stands in the slot: the low half of the millisecond by the clock. Not before the
/// pause is over, so up to one later.
pub(crate) fn not_before(now: u64, pause_ms: u32) -> u32 {
    (now / MS + u64::from(pause_ms) + 1) as u32
}

/// When that is in nanoseconds of the clock; `None` when it is over, or what stands there is longer than any pause, so nobody has written it.
pub(crate) fn still_until(not_before: u32, now: u64) -> Option<u64> {
    let left = not_before.wrapping_sub((now / MS) as u32);
    (1..=PAUSE_MAX + 1).contains(&left).then(|| (now / MS + u64::from(left)) * MS)
}

const ON_ERRORS: u32 = 1;
const ON_PANICS: u32 = 2;

/// When a task that failed is run again: on which failures, how often, and after which pause. For
/// [`SubmitOptions::retry`](crate::SubmitOptions::retry) and [`Builder::task_retry`](crate::Builder::task_retry).
///
/// An attempt that fails as chosen is no end: the task is pending again, as if it had just been submitted, but does not begin before its pause is over. So
/// it can be cancelled or discarded at once, its future is not done, and a shutdown waits for it, or cancels it. Its arguments stay for the next
/// attempt; what the failed one had to say is lost. Its time limits begin anew with each attempt. What the last attempt ends with is what the future gives.
///
/// A task that was asked to stop, by a cancel or its soft time limit, is not run again, nor is one that was running when a shutdown cancelled what was
/// pending. A worker's death is none of these failures: see
/// [`SubmitOptions::idempotent`](crate::SubmitOptions::idempotent). A task that may run again after both is started as often as allowed in all, and given up
/// when it has killed as many workers as the pool allows ([`Builder::kills_max`](crate::Builder::kills_max)), however many attempts are left.
///
/// ```
/// # taskring::test_support!();
/// use std::time::Duration;
/// use taskring::{Retry, SubmitOptions, TaskError, task};
/// taskring::task! {
///     fn third_time() -> Result<u32, TaskError> {
///         if task::attempt() < 2 { Err(TaskError::new("busy").with_code(11)) } else { Ok(task::attempt()) }
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(1).build()?;
///     let retry = Retry::new(5).on_codes([4, 11]).backoff(Duration::from_millis(1), Duration::from_millis(50));
///     let future = pool.submit_with(&SubmitOptions::new().retry(retry), third_time, ())?;
///     assert_eq!(future.result()?, 2);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u8,
    on: u32,
    codes: u32,
    wrong_code: Option<u8>,
    first: Duration,
    max: Duration,
}

impl Retry {
    /// The task is started so often at most, counting the first time: 1 to 255, and 1 is never again. Unless other failures are chosen, an error that the
    /// task returned brings the next attempt, and that follows at once: before the tasks of its priority that have not begun, as after a worker's death.
    #[must_use]
    pub const fn new(attempts: u8) -> Retry {
        Retry { attempts, on: 0, codes: 0, wrong_code: None, first: Duration::ZERO, max: Duration::ZERO }
    }

    /// Not even where the pool says otherwise.
    #[must_use]
    pub const fn never() -> Retry {
        Retry::new(1)
    }

    /// After any error that the task returned.
    #[must_use]
    pub const fn on_errors(mut self) -> Retry {
        self.on |= ON_ERRORS;
        self
    }

    /// After a panic of the task.
    #[must_use]
    pub const fn on_panics(mut self) -> Retry {
        self.on |= ON_PANICS;
        self
    }

    /// After errors with one of these codes, 1 to 31: [`TaskError::with_code`](crate::TaskError::with_code), or what a C function returned.
    #[must_use]
    pub fn on_codes(mut self, codes: impl IntoIterator<Item = u8>) -> Retry {
        for code in codes {
            if (1..=CODE_MAX).contains(&code) {
                self.codes |= 1 << code;
            } else {
                self.wrong_code = Some(code);
            }
        }
        self
    }

    /// A pause of `first` before the second attempt, and before each further one twice that of the one before, but not more than `max`. In whole
    /// milliseconds, up to 4 hours. An attempt begins not earlier, and on an idle machine a moment later.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, max: Duration) -> Retry {
        (self.first, self.max) = (first, max);
        self
    }

    /// The same from numbers.
    pub(crate) fn from_parts(attempts: u8, on: u32, codes: u32, pauses: [Duration; 2]) -> Result<Retry> {
        if on & !(ON_ERRORS | ON_PANICS) != 0 {
            return Err(Error::invalid("retry.on", on, "TASKRING_RETRY_ERRORS, TASKRING_RETRY_PANICS, both or 0"));
        }
        if codes & 1 != 0 {
            return Err(Error::invalid("retry.codes", format!("{codes:#x}"), "bits 1 to 31: a code of 0 is no error"));
        }
        Ok(Retry { attempts, on, codes, wrong_code: None, first: pauses[0], max: pauses[1] })
    }

    /// As it stands beside a slot.
    pub(crate) fn rule(&self) -> Result<Rule> {
        if self.attempts == 0 {
            return Err(Error::invalid("retry attempts", 0, "1 to 255, counting the first"));
        }
        if let Some(code) = self.wrong_code {
            return Err(Error::invalid("retry code", code, format!("1 to {CODE_MAX}")));
        }
        if self.max < self.first {
            return Err(Error::invalid("retry backoff", format!("{:?} up to {:?}", self.first, self.max), "in this order"));
        }
        let on = if self.on == 0 && self.codes == 0 { ON_ERRORS } else { self.on };
        let (first, max) = (millis(self.first)?, millis(self.max)?);
        Ok(Rule([u32::from(self.attempts) << PAUSE_BITS | first, on << PAUSE_BITS | max, self.codes]))
    }
}

/// Whole milliseconds, rounded up.
fn millis(pause: Duration) -> Result<u32> {
    let ms = u32::try_from(pause.as_nanos().div_ceil(1_000_000)).ok().filter(|&ms| ms <= PAUSE_MAX);
    ms.ok_or_else(|| Error::invalid("retry backoff", format!("{pause:?}"), "up to 4 hours"))
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// With this code, or 0.
    Error(u8),
    Panic,
}

/// A [`Retry`] in three words: {attempts:8, first pause:24}, {failures:8, longest pause:24}, a bit for each code. All 0 is no rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule([u32; 3]);

impl Rule {
    pub(crate) fn is_none(self) -> bool {
        self.attempts() == 0
    }

    pub(crate) fn attempts(self) -> u8 {
        (self.0[0] >> PAUSE_BITS) as u8
    }

    /// Whether another attempt follows after such a failure.
    pub(crate) fn is_for(self, failure: Failure) -> bool {
        let on = self.0[1] >> PAUSE_BITS;
        match failure {
            Failure::Panic => on & ON_PANICS != 0,
            Failure::Error(code) => on & ON_ERRORS != 0 || (1..=CODE_MAX).contains(&code) && self.0[2] & 1 << code != 0,
        }
    }

    /// The pause after an attempt with so many before it, in milliseconds.
    pub(crate) fn pause_ms(self, attempt: u16) -> u32 {
        let [first, max] = [self.0[0], self.0[1]].map(|word| u64::from(word & PAUSE_MAX));
        // More doublings than a pause has bits change nothing.
        let ms = first << u32::from(attempt).min(PAUSE_BITS);
        ms.min(max) as u32
    }

    pub(crate) fn store(self, into: [&AtomicU32; 3]) {
        for (word, value) in into.iter().zip(self.0) {
            word.store(value, Relaxed);
        }
    }

    pub(crate) fn load(from: [&AtomicU32; 3]) -> Rule {
        Rule([0, 1, 2].map(|i| from[i].load(Relaxed)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rule_says_what_was_asked_for() {
        let plain = Retry::new(3).rule().unwrap();
        assert_eq!((plain.attempts(), plain.pause_ms(0), plain.pause_ms(9)), (3, 0, 0));
        assert!(plain.is_for(Failure::Error(0)) && plain.is_for(Failure::Error(7)) && !plain.is_for(Failure::Panic));
        let chosen = Retry::new(255).on_codes([1, 31]).rule().unwrap();
        assert!(chosen.is_for(Failure::Error(1)) && chosen.is_for(Failure::Error(31)) && !chosen.is_for(Failure::Panic));
        assert!(
            !chosen.is_for(Failure::Error(0)) && !chosen.is_for(Failure::Error(2)) && !chosen.is_for(Failure::Error(33))
        );
        let panics = Retry::new(2).on_panics().rule().unwrap();
        assert!(panics.is_for(Failure::Panic) && !panics.is_for(Failure::Error(1)));
        assert!(Rule::default().is_none() && !plain.is_none());
        let words = [0; 3].map(AtomicU32::new);
        chosen.store(words.each_ref());
        assert_eq!(Rule::load(words.each_ref()), chosen);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let rule = Retry::new(9).backoff(ms(10), ms(70)).rule().unwrap();
        let pauses: Vec<u32> = (0..5).map(|attempt| rule.pause_ms(attempt)).collect();
        assert_eq!(pauses, [10, 20, 40, 70, 70]);
        let longest = Duration::from_millis(PAUSE_MAX.into());
        let rule = Retry::new(9).backoff(longest, longest).rule().unwrap();
        assert_eq!((rule.pause_ms(u16::MAX), rule.attempts()), (PAUSE_MAX, 9));
        assert_eq!(Retry::new(2).backoff(Duration::from_nanos(1), ms(1)).rule().unwrap().pause_ms(0), 1, "rounded up");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let too_long = Duration::from_millis(u64::from(PAUSE_MAX) + 1);
        for wrong in [
            Retry::new(0),
            Retry::new(2).on_codes([0]),
            Retry::new(2).on_codes([3, 32]),
            Retry::new(2).backoff(ms(2), ms(1)),
            Retry::new(2).backoff(ms(1), too_long),
        ] {
            assert!(matches!(wrong.rule(), Err(Error::InvalidArgument { .. })), "{wrong:?}");
        }
        assert!(Retry::from_parts(2, 4, 0, [ms(0); 2]).is_err() && Retry::from_parts(2, 0, 1, [ms(0); 2]).is_err());
    }

    #[test]
    fn a_time_in_a_slot_is_that_of_the_clock_whatever_the_clock_says() {
        for now in [0, 5 * MS + 7, u64::from(u32::MAX) * MS + 3, (1_u64 << 33) * MS - 1] {
            for pause in [1, 2, 1000, PAUSE_MAX] {
                let at = not_before(now, pause);
                let until = still_until(at, now).unwrap();
                assert!(until >= now + u64::from(pause) * MS && until <= now + u64::from(pause + 1) * MS, "{now} {pause}");
                assert_eq!(still_until(at, until - 1), Some(until));
                for over in [until, until + 1, until + 1_000_000 * MS, until + (1_u64 << 31) * MS] {
                    assert_eq!(still_until(at, over), None);
                }
            }
            assert_eq!(still_until(not_before(now, PAUSE_MAX).wrapping_add(1), now), None, "longer than any pause");
        }
    }
}
