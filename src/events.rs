//! Events of a running task: each is kept, in order, until whoever has submitted the task reads it. The public face, and the wait; `event_blocks.rs` says where
//! they are meanwhile.

use crate::codec::{Payload, decoded, encoded};
use crate::error::{Error, Result};
use crate::event_ring::{EVENT_LEN_MAX, Event};
use crate::future::{Core, Future};
use crate::hub;
use crate::limits::nanos;
use crate::nested;
use crate::pace::WaitPace;
use crate::state::Flag;
use crate::sync::now_ns;
use crate::task;
use std::marker::PhantomData;
use std::time::Duration;

impl Core {
    /// The task's oldest unread event, without waiting. One of more than `room` bytes is not taken.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Corrupt`].
    pub(crate) fn next_event_bytes(&self, room: usize) -> Result<Option<Event>> {
        self.pool.member.check_fork()?;
        match self.pool.take_event(self.ticket, room)? {
            // What is not there may have been lost to damage.
            None => self.pool.segment().corrupt().map_or(Ok(None), Err),
            found => Ok(found),
        }
    }

    /// The same, waiting for it; `None` when the task is over and there is none.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and those of the wait for a result that are not the task's own.
    pub(crate) fn wait_event(&self, timeout: Option<Duration>, room: usize) -> Result<Option<Event>> {
        let pool = &self.pool;
        // As a wait for a result: one with a time limit keeps to it.
        let is_nested = timeout.is_none() && nested::is_in_task_of(pool);
        let deadline = timeout.map_or(u64::MAX, |t| now_ns().saturating_add(nanos(t)));
        let is_ready = || pool.has_event(self.ticket) || self.is_over();
        let mut has_spun = false;
        let mut waits = None;
        let mut pace = None;
        loop {
            // Asked before the look: what was sent before the end is there then.
            let is_over = self.is_over();
            if let Some(event) = self.next_event_bytes(room)? {
                return Ok(Some(event));
            }
            if is_over {
                self.check_word()?;
                return Ok(None);
            }
            // Before it is looked whether this task can begin it: one that is put back after that ends the sleep.
            let word = pool.slot(self.ticket).load();
            if is_nested {
                if nested::help_to_read(pool, self.ticket)? {
                    continue;
                }
                if waits.is_none() {
                    waits = nested::begin_wait(std::iter::once((&**pool, self.ticket)))?;
                }
            }
            let now = now_ns();
            if now >= deadline {
                return Err(Error::TimedOut { what: "an event of the task", after: timeout.unwrap_or_default() });
            }
            if !std::mem::replace(&mut has_spun, true) {
                let _ = crate::spin::until(pool.segment(), 0, deadline - now, || is_ready().then_some(()));
                continue;
            }
            // One wait may follow the other while events come and come.
            let pace = pace.get_or_insert_with(|| WaitPace::new(pool.looked_in_event_waits(now)));
            let Some(until) = pace.until(now) else {
                pace.looked(now);
                pool.note_look_in_event_wait(now);
                pool.look_after_waits()?;
                continue;
            };
            // A task that waits for another one begins it when its time has come.
            let (lane, index) = pool.segment().geometry().split(self.ticket.slot);
            let until = pool.segment().waits_until(lane, index, now).map_or(until, |at| at.min(until));
            // Its end is announced from now on, if it is not over already.
            if pool.slot(self.ticket).flag(self.ticket.generation, Flag::Notify).is_ok() {
                let is_changed = || pool.slot(self.ticket).load().with(Flag::Notify) != word.with(Flag::Notify);
                hub::doze(std::slice::from_ref(pool), until.min(deadline), || is_ready() || is_changed());
            }
        }
    }
}

fn decode<T: Payload>(event: Event) -> Result<T> {
    match event {
        Event::Bytes(bytes) => decoded(&bytes),
        Event::TooLarge(_) => unreachable!("there is room for any"),
    }
}

impl<R> Future<R> {
    /// The oldest event that the task has sent ([`task::send_event`](crate::task::send_event)) and nobody has read; `None` when there is none just now, which
    /// may change as long as the task is not over. It does not wait.
    ///
    /// Events are kept until they are read or this future is dropped: also when their worker is killed, beyond the end of the task, and when the result was
    /// taken. Those of a further attempt at the task come behind those of the attempts before. Threads may share the future: each event comes to one of them. The
    /// future that a [callback](Future::on_done) is given reads the same events, as long as this one is not dropped.
    ///
    /// # Errors
    /// [`Error::Decode`] when the event is no `T`: it is gone then. [`Error::Corrupt`]; [`Error::Forked`].
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn count(to: u64) -> Result<(), taskring::TaskError> {
    ///         for n in 1..=to {
    ///             taskring::task::send_event(&n)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(count, 2)?;
    ///     task.result()?;
    ///     assert_eq!(task.next_event()?, Some(1_u64));
    ///     assert_eq!(task.next_event()?, Some(2_u64));
    ///     assert_eq!(task.next_event::<u64>()?, None);
    ///     Ok(())
    /// }
    /// ```
    pub fn next_event<T: Payload>(&self) -> Result<Option<T>> {
        self.core().next_event_bytes(usize::MAX)?.map(decode).transpose()
    }

    /// The task's events as they come: as [`next_event`](Future::next_event), but waiting for the next one.
    ///
    /// ```
    /// # taskring::test_support!();
    /// taskring::task! {
    ///     fn count(to: u64) -> Result<(), taskring::TaskError> {
    ///         for n in 1..=to {
    ///             taskring::task::send_event(&format!("at {n}"))?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// fn main() -> Result<(), taskring::Error> {
    ///     taskring::init();
    ///     let pool = taskring::Executor::builder().workers(1).build()?;
    ///     let task = pool.submit(count, 3)?;
    ///     let events: Vec<String> = task.events().collect::<Result<_, _>>()?;
    ///     assert_eq!(events, ["at 1", "at 2", "at 3"]);
    ///     Ok(())
    /// }
    /// ```
    pub fn events<T: Payload>(&self) -> Events<'_, T> {
        Events { core: self.core(), has_ended: false, events: PhantomData }
    }
}

/// The events of a task, of [`Future::events`]. It waits for the next one, and ends when the task is over, however it ended, and all of them were read.
///
/// In a task that waits for events of another one of its pool, that one is run on top of it, if nobody has begun with it, as in any other wait for it (see
/// [`current_pool`](crate::current_pool)): then it is over before its first event is read, and when it sends more than are kept it is told
/// [`Error::WouldDeadlock`], for who would read them waits for its end. A wait with a time limit runs nothing meanwhile.
///
/// Each may be an error of its own. After [`Error::Decode`] it goes on; what is wrong with the pool ([`Error::Corrupt`], [`Error::Forked`]), and in a task a
/// wait that is refused ([`Error::WouldDeadlock`], [`Error::TooMany`], [`Error::Unsupported`]), is the last.
#[must_use = "events come only by advancing the iterator"]
pub struct Events<'a, T> {
    core: &'a Core,
    has_ended: bool,
    events: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Events<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({:#x})", self.core.ticket.id())
    }
}

impl<T: Payload> Events<'_, T> {
    /// The next event, waiting no longer than `timeout` for it; `None` when the task is over and all were read. After an [`Error::TimedOut`] it may be asked for
    /// again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<T>> {
        self.wait(Some(timeout))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Result<T>> {
        if self.has_ended {
            return None;
        }
        match self.core.wait_event(timeout, usize::MAX) {
            Ok(Some(event)) => Some(decode(event)),
            Ok(None) => {
                self.has_ended = true;
                None
            }
            Err(e) => {
                self.has_ended = !matches!(e, Error::TimedOut { .. });
                Some(Err(e))
            }
        }
    }
}

impl<T: Payload> Iterator for Events<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.wait(None)
    }
}

/// Sends whoever has submitted the running task an event, of up to 16248 encoded bytes: it is kept, in order, until it is read
/// ([`Future::events`](crate::Future::events), [`Future::next_event`](crate::Future::next_event)). It waits for nobody: when the events that nobody has read yet
/// leave no room, it is refused, and the task may send it later. Unread events of a task have 16256 bytes of room together: each
/// takes its own bytes, rounded up to a multiple of 8, and 8 more.
///
/// It is for the thread that runs the task. When the future was dropped the event goes nowhere. Of a task in a map nobody reads events: all that a chunk of its
/// items sends has the room of one task. Whoever waits for room needs a submitter that reads: one that asks for the result first never does.
///
/// # Errors
/// [`Error::EventsFull`], or [`Error::WouldDeadlock`] in its place when the task runs on top of the one that is to read (see
/// [`Events`]); [`Error::PayloadTooLarge`] for one that has no room in an empty ring; [`Error::Encode`]; [`Error::Unsupported`] outside a task;
/// [`Error::Forked`] in a process that the task has forked. With the first event of a task, for which it takes 16 KiB of payload memory, and with the first one in a lane 196 bytes for each of its slots:
/// [`Error::OutOfMemory`], [`Error::TooMany`], [`Error::Stalled`], [`Error::System`]. Nothing was changed then. [`Error::Corrupt`].
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn work() -> Result<(), taskring::TaskError> {
///         taskring::task::send_event(&"begun".to_owned())?;
///         Ok(())
///     }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::Executor::builder().workers(1).build()?;
///     let task = pool.submit(work, ())?;
///     assert_eq!(task.events().next(), Some(Ok("begun".to_owned())));
///     Ok(())
/// }
/// ```
pub fn send_event<T: Payload>(event: &T) -> Result<()> {
    if let Some(bytes) = event.as_encoded() {
        return send_event_bytes(bytes);
    }
    send_event_bytes(&encoded(event)?)
}

pub(crate) fn send_event_bytes(bytes: &[u8]) -> Result<()> {
    if bytes.len() > EVENT_LEN_MAX {
        return Err(Error::PayloadTooLarge { len: bytes.len() as u64, max: EVENT_LEN_MAX as u64 });
    }
    let sent = nested::with_seat_of_task(|member| {
        // The memory is there in a forked child, but it has no task.
        member.check_fork()?;
        let id = task::id();
        match member.send_event((id >> 32) as u32, id as u32, bytes) {
            // Then that one makes no room as long as this task goes on.
            Err(Error::EventsFull { .. }) if nested::is_read_below(&member.segment, id) => Err(Error::WouldDeadlock),
            sent => sent,
        }
    });
    sent.unwrap_or(Err(Error::Unsupported { what: "to send an event", with: "outside a task" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering::Relaxed;
    use crate::{Executor, StartMethod};
    use std::sync::atomic::AtomicBool;

    /// Each of them is over before it is time for a look, counted from its beginning.
    #[test]
    fn short_waits_one_after_the_other_look_after_the_pool_too() {
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let hold = |(): ()| {
            while !GO_ON.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let task = crate::register("events::held", hold).unwrap();
        let pool = Executor::builder().workers(1).start(StartMethod::Thread).build().unwrap();
        let future = pool.submit(task, ()).unwrap();
        let short = Duration::from_millis(1);
        let mut looks = Vec::new();
        let start = std::time::Instant::now();
        while looks.len() < 3 {
            assert!(start.elapsed() < Duration::from_secs(30), "{looks:?}");
            assert_eq!(
                future.core().wait_event(Some(short), 0),
                Err(Error::TimedOut { what: "an event of the task", after: short })
            );
            looks.push(pool.pool().looked_in_event_waits(0));
            looks.dedup();
        }
        assert!(looks.windows(2).all(|two| two[1] - two[0] >= crate::limits::SLEEP_NS_MAX), "not more often: {looks:?}");
        GO_ON.store(true, Relaxed);
        assert_eq!(future.core().wait_event(None, 0), Ok(None));
    }
}
