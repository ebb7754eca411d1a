//! What a running task tells of its progress, and whoever has submitted it reads: the latest word, beside the slot (`Extra` in `layout.rs`).
//!
//! There are two places for it. The task's thread, which alone writes, fills the one that is not told of, and then tells of it by one store of
//! {generation, count}. So whoever dies while it writes leaves what was told before, nobody waits for a reader, and a reader that was overtaken reads again.

use crate::codec::{Payload, decoded, encoded};
use crate::error::{Error, Result};
use crate::future::{Core, Future};
use crate::layout::{Extra, Report};
use crate::limits::REPORT_LEN_MAX;
use crate::nested;
use crate::seeded::{Bug, seeded};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::fence;
use crate::task;

/// How far a task says that it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done, in the task's own unit.
    pub done: u64,
    /// Of how much; 0 when the task does not know.
    pub total: u64,
}

/// All that a task has told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) progress: Option<Progress>,
    value: [u8; REPORT_LEN_MAX],
    /// How many bytes of it, plus one; 0 is no value.
    len: u32,
}

impl Told {
    const NOTHING: Told = Told { progress: None, value: [0; REPORT_LEN_MAX], len: 0 };

    pub(crate) fn value(&self) -> Option<&[u8]> {
        let len = self.len.checked_sub(1)? as usize;
        self.value.get(..len)
    }

    fn set_value(&mut self, bytes: &[u8]) {
        self.value[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len() as u32 + 1;
    }
}

/// So often a reader is overtaken before it gives up: then the task does nothing but tell.
const READS_MAX: usize = 1_000;
/// In place of `Told::progress`, beside the length.
const HAS_PROGRESS: u32 = 1 << 15;
/// Bits of one report's facts.
const FACTS: u32 = 16;

impl Report {
    fn read(&self, facts: u32) -> Told {
        let progress = Progress { done: self.done.load(Relaxed), total: self.total.load(Relaxed) };
        let mut told =
            Told { progress: (facts & HAS_PROGRESS != 0).then_some(progress), len: facts & !HAS_PROGRESS, ..Told::NOTHING };
        for (bytes, word) in told.value.chunks_exact_mut(8).zip(&self.value) {
            bytes.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        told
    }

    /// What there is to say beside the words: its facts.
    fn write(&self, told: &Told) -> u32 {
        let Progress { done, total } = told.progress.unwrap_or_default();
        self.done.store(done, Relaxed);
        self.total.store(total, Relaxed);
        for (word, bytes) in self.value.iter().zip(told.value.as_chunks().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        let has_progress = if told.progress.is_some() { HAS_PROGRESS } else { 0 };
        has_progress | told.len
    }
}

impl Extra {
    /// One of the two places, and where its facts begin.
    fn place(&self, told: u64) -> (&Report, u32) {
        let index = (told & 1) as u32;
        (&self.reports[index as usize], index * FACTS)
    }

    fn read_place(&self, told: u64) -> Told {
        let (report, shift) = self.place(told);
        report.read(self.facts.load(Relaxed) >> shift & ((1 << FACTS) - 1))
    }

    /// For the thread that runs the task of this generation.
    fn tell(&self, generation: u32, change: impl FnOnce(&mut Told)) {
        let before = self.told.load(Relaxed);
        let is_ours = (before >> 32) as u32 == generation;
        let mut told = if is_ours { self.read_place(before) } else { Told::NOTHING };
        change(&mut told);
        let next = if seeded(Bug::ToldInPlace) { 2 } else { 1 };
        let now = u64::from(generation) << 32 | u64::from((before as u32).wrapping_add(next));
        // Release fence: pairs with the Acquire fence of `told_by`: who reads what is written from here on into this place also sees that the other one
        // is told of since.
        fence(Release);
        let (report, shift) = self.place(now);
        // Those of the other place stay: nobody else writes the word.
        let others = self.facts.load(Relaxed) & !(((1 << FACTS) - 1) << shift);
        self.facts.store(others | report.write(&told) << shift, Relaxed);
        // Release: pairs with the Acquire in `told_by`, which so sees the whole of it.
        self.told.store(now, Release);
    }

    /// What the task of this generation has told last. `None` when it has told nothing, or another task has since.
    pub(crate) fn told_by(&self, generation: u32) -> Option<Told> {
        for _ in 0..READS_MAX {
            // Acquire: pairs with the Release in `tell`.
            let now = self.told.load(Acquire);
            // A task's first word has no place before it, and fresh memory none at all.
            if now as u32 == 0 || (now >> 32) as u32 != generation {
                return None;
            }
            let told = self.read_place(now);
            // Acquire fence: pairs with the Release fence in `tell`.
            fence(Acquire);
            if self.told.load(Relaxed) == now {
                return Some(told);
            }
        }
        None
    }
}

impl Core {
    /// What the task has told last; nothing in a forked child.
    pub(crate) fn told(&self) -> Option<Told> {
        if self.pool.member.is_foreign() {
            return None;
        }
        let (lane, index) = self.pool.segment().geometry().split(self.ticket.slot);
        self.pool.segment().extra(lane, index)?.told_by(self.ticket.generation)
    }
}

impl<R> Future<R> {
    /// How far the task says that it has come ([`task::progress`](crate::task::progress)): the latest that it told, also when it is over, or its worker was
    /// killed. `None` when it has told nothing. Once the result was taken, it may be gone: the next task in its place may tell something, too.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        self.core().told()?.progress
    }

    /// The latest value that the task told ([`task::report`](crate::task::report)), for as long as [`progress`](Future::progress).
    ///
    /// # Errors
    /// [`Error::Decode`] when it is no `T`.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn count(to: u64) -> Result<(), taskring::TaskError> {
    ///         for n in 1..=to {
    ///             taskring::task::report(&format!("at {n}"))?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(count, 3)?;
    ///     while !task.is_done() {
    ///         std::thread::yield_now();
    ///     }
    ///     assert_eq!(task.reported()?, Some("at 3".to_owned()));
    ///     Ok(())
    /// }
    /// ```
    pub fn reported<T: Payload>(&self) -> Result<Option<T>> {
        let told = self.core().told();
        let value = told.as_ref().and_then(Told::value);
        value.map(decoded).transpose()
    }
}

fn tell(change: impl FnOnce(&mut Told)) -> Result<()> {
    let outside = Error::Unsupported { what: "to tell of progress", with: "outside a task" };
    nested::with_seat_of_task(|member| {
        // The memory is there in a forked child, but it has no task.
        member.check_fork()?;
        let (segment, id) = (&member.segment, task::id());
        let Some((lane, index)) = segment.slot_at((id >> 32) as u32) else { return Err(outside.clone()) };
        segment.use_extras(lane)?;
        if let Some(extra) = segment.extra(lane, index) {
            extra.tell(id as u32, change);
        }
        Ok(())
    })
    .unwrap_or(Err(outside))
}

/// Tells whoever has submitted the running task how far it has come, in any unit: [`Future::progress`](crate::Future::progress) reads the latest. A `total`
/// of 0 says that it is not known. It takes no longer than some writes to memory, and waits for nobody.
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn sum(numbers: Vec<u64>) -> Result<u64, taskring::TaskError> {
///         let mut total = 0;
///         for (done, number) in numbers.iter().enumerate() {
///             total += number;
///             taskring::task::progress(done as u64 + 1, numbers.len() as u64)?;
///         }
///         Ok(total)
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(1).build()?;
///     let task = pool.submit(sum, vec![1, 2, 3])?;
///     while !task.is_done() {
///         std::thread::yield_now();
///     }
///     let progress = task.progress().expect("it has told of some");
///     assert_eq!((progress.done, progress.total), (3, 3));
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`Error::Unsupported`] outside a task; [`Error::Forked`] in a process that the task has forked. [`Error::OutOfMemory`] and [`Error::System`] when the first
/// report in a lane finds no memory for it: 196 bytes for each of the lane's slots.
pub fn progress(done: u64, total: u64) -> Result<()> {
    tell(|told| told.progress = Some(Progress { done, total }))
}

/// Tells whoever has submitted the running task a value, of up to 64 encoded bytes: [`Future::reported`](crate::Future::reported) reads the latest. Like
/// [`progress`], beside which it stands, it waits for nobody.
///
/// # Errors
/// [`Error::Encode`]; [`Error::PayloadTooLarge`]; those of [`progress`]. Then the value before stands.
pub fn report<T: Payload>(value: &T) -> Result<()> {
    report_bytes(&encoded(value)?)
}

pub(crate) fn report_bytes(bytes: &[u8]) -> Result<()> {
    if bytes.len() > REPORT_LEN_MAX {
        return Err(Error::PayloadTooLarge { len: bytes.len() as u64, max: REPORT_LEN_MAX as u64 });
    }
    tell(|told| told.set_value(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_word_of_the_task_meant_is_read() {
        let extra = Extra::default();
        assert_eq!(extra.told_by(0), None);
        extra.tell(0, |told| told.progress = Some(Progress { done: 1, total: 2 }));
        extra.tell(0, |told| told.set_value(b"halfway"));
        let told = extra.told_by(0).unwrap();
        assert_eq!((told.progress, told.value()), (Some(Progress { done: 1, total: 2 }), Some(&b"halfway"[..])));
        assert_eq!(extra.told_by(1), None);
        extra.tell(1, |told| told.set_value(b""));
        let told = extra.told_by(1).unwrap();
        assert_eq!((told.progress, told.value()), (None, Some(&b""[..])));
        assert_eq!(extra.told_by(0), None, "another task has told something since");
    }

    #[test]
    fn a_reader_never_sees_half_a_word() {
        let extra = Extra::default();
        let last = 200_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=last {
                    extra.tell(7, |told| {
                        told.progress = Some(Progress { done: n, total: n });
                        told.set_value(&[n as u8; REPORT_LEN_MAX]);
                    });
                }
            });
            let mut seen = 0;
            while seen < last {
                let Some(told) = extra.told_by(7) else { continue };
                let Progress { done, total } = told.progress.unwrap();
                assert!(done == total && done >= seen);
                assert_eq!(told.value(), Some(&[done as u8; REPORT_LEN_MAX][..]));
                seen = done;
            }
        });
    }
}
