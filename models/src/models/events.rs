//! Models of a task's ring of events: who sends, who reads, who waits for one, and a death in between. A ring holds two of the events here.

use super::*;
use crate::event_ring::{Event, EventRing, Put, WORDS, wake_readers};
use crate::sync::doomed;
use loom::sync::Mutex;

/// Changes that a sender makes for two events and their wakes, and some more.
const CHANGES: u32 = 12;

/// A ring, and the submitter's record. Those who read take turns.
struct Ring {
    words: [AtomicU64; WORDS],
    submitter: Record,
    over: AtomicU32,
    read: Mutex<Vec<u64>>,
}

impl Ring {
    fn new() -> Arc<Ring> {
        let ring = Ring {
            words: Default::default(),
            submitter: Record::default(),
            over: AtomicU32::default(),
            read: Mutex::new(Vec::new()),
        };
        // What the block held before.
        ring.words.iter().for_each(|word| word.store(u64::MAX, Relaxed));
        ring.ring().clear();
        Arc::new(ring)
    }

    fn ring(&self) -> EventRing<'_> {
        EventRing::in_block(&self.words)
    }

    /// Sends an event of two words that belong together. False when there is no room.
    fn send(&self, number: u64) -> bool {
        let bytes = [number.to_le_bytes(), (!number).to_le_bytes()].concat();
        let sent = self.ring().put(&bytes).expect("nothing is damaged") == Put::Sent;
        if sent {
            wake_readers(&self.submitter);
        }
        sent
    }

    /// Takes an event, if there is one, and notes it.
    fn take(&self) -> bool {
        let mut read = self.read.lock().unwrap();
        let Some(event) = self.ring().take(usize::MAX).expect("nothing is damaged") else { return false };
        let Event::Bytes(bytes) = event else { panic!("there is room for it") };
        let [number, other] = [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
        assert_eq!(number, !other, "a torn event");
        read.push(number);
        true
    }

    /// Waits until it has taken an event, or the task is over and there is none: then false.
    fn wait(&self) -> bool {
        loop {
            let is_over = self.over.load(Acquire) != 0;
            if self.take() {
                return true;
            }
            if is_over {
                return false;
            }
            // As `doze`.
            self.submitter.event_waiters.fetch_add(1, Relaxed);
            let seen = self.submitter.event.load(Acquire);
            fence(SeqCst);
            let is_ready = {
                let _turn = self.read.lock().unwrap();
                self.ring().has_any()
            };
            if !is_ready && self.over.load(Acquire) == 0 {
                futex_wait(&self.submitter.event, seen, None);
            }
            self.submitter.event_waiters.fetch_add(u32::MAX, Relaxed);
        }
    }

    /// The end of the task, announced: by its worker, or by the reaper of that one.
    fn end(&self) {
        self.over.store(1, Release);
        self.submitter.event.fetch_add(1, Release);
        fence(SeqCst);
        futex_wake(&self.submitter.event, i32::MAX);
    }

    /// All that was read, with what is left in the ring.
    fn all(&self) -> Vec<u64> {
        while self.take() {}
        self.read.lock().unwrap().clone()
    }
}

fn with<R: 'static>(ring: &Arc<Ring>, body: impl FnOnce(&Ring) -> R + 'static) -> JoinHandle<R> {
    let ring = ring.clone();
    loom::thread::spawn(move || body(&ring))
}

/// A task sends more than there is room for, while two threads read: each event that went in comes out once, whole and in order; one that did not is
/// refused, and nothing else changes.
#[test]
fn each_event_is_read_once_whole_and_in_order() {
    crowded_model(|| {
        let ring = Ring::new();
        let reader = with(&ring, |ring| ring.take());
        let sender = with(&ring, |ring| (1..=4).filter(|&number| ring.send(number)).collect::<Vec<u64>>());
        ring.take();
        reader.join().unwrap();
        let sent = sender.join().unwrap();
        assert!(sent.starts_with(&[1, 2]), "there is room for two: {sent:?}");
        assert_eq!(ring.all(), sent);
    });
}

/// Two threads wait for an event each: none sleeps on when both were sent.
#[test]
fn who_waits_for_an_event_is_woken() {
    crowded_model(|| {
        let ring = Ring::new();
        let other = with(&ring, |ring| ring.wait());
        let sender = with(&ring, |ring| (1..=2).all(|number| ring.send(number)));
        assert!(ring.wait() && other.join().unwrap() && sender.join().unwrap());
        assert_eq!(ring.all(), [1, 2]);
    });
}

/// A thread waits for events to the end of the task, which its worker announces.
#[test]
fn events_end_with_the_task() {
    crowded_model(|| {
        let ring = Ring::new();
        let worker = with(&ring, |ring| {
            assert!(ring.send(1));
            ring.end();
        });
        while ring.wait() {}
        worker.join().unwrap();
        assert_eq!(*ring.read.lock().unwrap(), [1], "none comes after the end was seen");
    });
}

/// A worker dies anywhere while it sends, and another attempt goes on behind what it has left: whole events, in order. Who reads hears of the end.
#[test]
fn a_sender_that_dies_leaves_whole_events() {
    for dies_in in 0..CHANGES {
        long_model(move || {
            let ring = Ring::new();
            let dead = with(&ring, move |ring| {
                doomed(dies_in, u32::MAX, || {
                    assert!(ring.send(1));
                    // There is room for both in any case.
                    assert!(ring.send(2));
                })
            });
            let again = with(&ring, {
                move |ring| {
                    dead.join().unwrap();
                    let sent = ring.send(9);
                    ring.end();
                    sent
                }
            });
            while ring.wait() {}
            let sent = again.join().unwrap();
            let read = ring.all();
            let before = read.strip_suffix(if sent { &[9][..] } else { &[] }).expect("the last one comes last");
            assert!([1, 2].starts_with(before), "{read:?}");
        });
    }
}
