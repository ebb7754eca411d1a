//! A task's ring of events: what it has sent and nobody has read yet, in the block of payload memory that its slot holds (`events.rs`).
//!
//! ```text
//! word 0     written: words of records that were ever put in            by the thread that runs the task
//! word half  read: words of records that were ever taken out            by who reads; the threads of the submitter take turns
//! words head..   the ring: records {length in bytes; the bytes, in whole words}, each at the place where the one before ends
//! ```
//! A record counts once `written` says so, which comes last: who dies while it sends leaves nothing of it, and the next attempt at the task goes on behind what
//! the one before has sent. Its words are written over once `read` has gone beyond them. Both counts only grow, so their difference is what is unread; one that
//! is not possible was damaged, and is told before anything is done by it.
//!
//! ```text
//! the task                                        a thread that waits for an event
//! 1 record; written                               1 event_waiters += 1, read event
//! 2 fence                                         2 fence
//! 3 event_waiters != 0: event += 1, wake all      3 look at the ring; whether the task is over
//! ```
//! and then it sleeps on the event as read in 1, as for all that its process waits for (`hub.rs`): either the task sees that it waits, or it sees the record.

use crate::layout::Record;
use crate::limits::EVENTS_LEN;
use crate::seeded::{Bug, seeded};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU64, fence, futex_wake};

/// Words of the block, and those of them before the ring: the two counts, on a line each.
pub(crate) const WORDS: usize = EVENTS_LEN / 8;
const HEAD_WORDS: usize = if cfg!(loom) { 2 } else { 16 };
const READ_AT: usize = HEAD_WORDS / 2;
/// Bytes of the ring.
pub(crate) const RING_LEN: usize = (WORDS - HEAD_WORDS) * 8;
/// Bytes of the largest event: a record alone in the ring.
pub(crate) const EVENT_LEN_MAX: usize = RING_LEN - 8;

/// The ring in the words of a block.
#[derive(Clone, Copy)]
pub(crate) struct EventRing<'a> {
    words: &'a [AtomicU64; WORDS],
}

/// A count, or a length, that nobody can have written.
#[derive(Debug)]
pub(crate) struct Damaged;

/// What becomes of an event that is sent.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Put {
    Sent,
    /// Nothing was changed: so many bytes are unread, with the lengths of their records.
    Full {
        unread: usize,
    },
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Bytes(Vec<u8>),
    /// The next event has so many bytes, more than there is room for. It was not taken.
    TooLarge(usize),
}

/// Words of a record.
fn record_words(len: usize) -> u64 {
    1 + len.div_ceil(8) as u64
}

impl<'a> EventRing<'a> {
    pub(crate) fn in_block(words: &'a [AtomicU64; WORDS]) -> EventRing<'a> {
        EventRing { words }
    }

    /// Makes it empty, whatever the block held before. The hand-over of the block to the slot follows.
    pub(crate) fn clear(self) {
        self.words[0].store(0, Relaxed);
        self.words[READ_AT].store(0, Relaxed);
    }

    fn word(self, count: u64) -> &'a AtomicU64 {
        &self.words[HEAD_WORDS + (count % (WORDS - HEAD_WORDS) as u64) as usize]
    }

    /// Words between the two counts.
    fn between(written: u64, read: u64) -> Result<u64, Damaged> {
        let unread = written.wrapping_sub(read);
        if unread <= (WORDS - HEAD_WORDS) as u64 { Ok(unread) } else { Err(Damaged) }
    }

    /// Puts an event in, if there is room. For the thread that runs the task; the bytes are no more than `EVENT_LEN_MAX`.
    pub(crate) fn put(self, bytes: &[u8]) -> Result<Put, Damaged> {
        debug_assert!(bytes.len() <= EVENT_LEN_MAX);
        // Relaxed: we alone write it. What an attempt before has left there was made known by the requeue and the claim, or with the end of its process.
        let written = self.words[0].load(Relaxed);
        // Acquire: pairs with the Release in `take`: what is written over has been read.
        let unread = Self::between(written, self.words[READ_AT].load(Acquire))?;
        let words = record_words(bytes.len());
        if unread + words > (WORDS - HEAD_WORDS) as u64 {
            return Ok(Put::Full { unread: unread as usize * 8 });
        }
        if seeded(Bug::EventFirst) {
            // Release: as below.
            self.words[0].store(written.wrapping_add(words), Release);
        }
        self.word(written).store(bytes.len() as u64, Relaxed);
        for (at, chunk) in (1..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(written.wrapping_add(at)).store(u64::from_le_bytes(word), Relaxed);
        }
        // Release: pairs with the Acquire in `take`, which so sees the whole record.
        self.words[0].store(written.wrapping_add(words), Release);
        Ok(Put::Sent)
    }

    /// Whether there is an event, or damage to tell of.
    pub(crate) fn has_any(self) -> bool {
        // Acquire: as in `take`.
        self.words[0].load(Acquire) != self.words[READ_AT].load(Relaxed)
    }

    /// Takes the oldest event out, if it has no more bytes than `room`. One thread at a time.
    pub(crate) fn take(self, room: usize) -> Result<Option<Event>, Damaged> {
        // Relaxed: those who read take turns, under a mutex.
        let read = self.words[READ_AT].load(Relaxed);
        // Acquire: pairs with the Release in `put`.
        let unread = Self::between(self.words[0].load(Acquire), read)?;
        if unread == 0 {
            return Ok(None);
        }
        let len = usize::try_from(self.word(read).load(Relaxed)).ok().filter(|&len| len <= EVENT_LEN_MAX).ok_or(Damaged)?;
        let words = record_words(len);
        if words > unread {
            return Err(Damaged);
        }
        if len > room {
            return Ok(Some(Event::TooLarge(len)));
        }
        let word = |at| self.word(read.wrapping_add(at)).load(Relaxed);
        let mut bytes: Vec<u8> = (1..words).flat_map(|at| word(at).to_le_bytes()).collect();
        bytes.truncate(len);
        // Release: pairs with the Acquire in `put`: the words are free for others once they were read.
        self.words[READ_AT].store(read.wrapping_add(words), Release);
        Ok(Some(Event::Bytes(bytes)))
    }
}

/// After an event was put in: wakes the threads of the submitter that wait for one.
pub(crate) fn wake_readers(submitter: &Record) {
    // Pairs with the fence of a thread about to sleep on the event: either it sees what was put in, or we see that it waits.
    if !seeded(Bug::NoFenceAfterEvent) {
        fence(SeqCst);
    }
    if submitter.event_waiters.load(Relaxed) != 0 {
        // Release: pairs with the Acquire of who reads the event and then looks at the ring.
        submitter.event.fetch_add(1, Release);
        futex_wake(&submitter.event, i32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> Box<[AtomicU64; WORDS]> {
        let words: Vec<_> = (0..WORDS).map(|_| AtomicU64::new(u64::MAX)).collect();
        words.try_into().unwrap()
    }

    fn event(n: usize) -> Vec<u8> {
        (0..n).map(|i| (n * 31 + i) as u8).collect()
    }

    #[test]
    fn events_of_every_length_come_out_whole_and_in_order() {
        let words = words();
        let ring = EventRing::in_block(&words);
        ring.clear();
        assert!(ring.take(usize::MAX).unwrap().is_none());
        // Often enough around the ring, with two under way at a time.
        for len in (0..300).cycle().take(3000) {
            assert_eq!(ring.put(&event(len)).unwrap(), Put::Sent);
            assert_eq!(ring.put(&event(len + 1)).unwrap(), Put::Sent);
            assert_eq!(ring.take(len).unwrap(), Some(Event::Bytes(event(len))));
            assert_eq!(ring.take(len).unwrap(), Some(Event::TooLarge(len + 1)), "it stays");
            assert_eq!(ring.take(len + 1).unwrap(), Some(Event::Bytes(event(len + 1))));
        }
        assert!(!ring.has_any());
    }

    #[test]
    fn a_full_ring_refuses_and_loses_nothing() {
        let words = words();
        let ring = EventRing::in_block(&words);
        ring.clear();
        assert_eq!(ring.put(&event(EVENT_LEN_MAX)).unwrap(), Put::Sent, "the largest is alone in it");
        assert_eq!(ring.put(&[]).unwrap(), Put::Full { unread: RING_LEN });
        assert_eq!(ring.take(usize::MAX).unwrap(), Some(Event::Bytes(event(EVENT_LEN_MAX))));
        let sent = (0..).take_while(|n| ring.put(&event(n % 100)).unwrap() == Put::Sent).count();
        assert!(sent > 200, "{sent}");
        for n in 0..sent {
            assert_eq!(ring.take(usize::MAX).unwrap(), Some(Event::Bytes(event(n % 100))));
        }
        assert_eq!(ring.take(usize::MAX).unwrap(), None);
    }

    #[test]
    fn no_word_is_followed_before_it_is_checked() {
        let words = words();
        let ring = EventRing::in_block(&words);
        for damaged in [0, READ_AT, HEAD_WORDS] {
            for bit in 0..64 {
                ring.clear();
                assert_eq!(ring.put(b"first").unwrap(), Put::Sent);
                assert_eq!(ring.put(b"second").unwrap(), Put::Sent);
                words[damaged].fetch_xor(1 << bit, Relaxed);
                // An error, or some bytes, within a bounded number of looks.
                let taken = (0..WORDS).map_while(|_| ring.take(usize::MAX).ok().flatten()).count();
                assert!(taken < WORDS);
                drop(ring.put(b"third"));
            }
        }
        ring.clear();
        words[0].store(1, Relaxed);
        words[HEAD_WORDS].store(8, Relaxed);
        assert!(ring.take(usize::MAX).is_err(), "the record is said to be longer than what was written");
        // Both at the end of what can be counted.
        words[0].store(u64::MAX, Relaxed);
        words[READ_AT].store(u64::MAX, Relaxed);
        assert_eq!(ring.put(b"beyond the end").unwrap(), Put::Sent);
        drop(ring.take(usize::MAX));
    }
}
