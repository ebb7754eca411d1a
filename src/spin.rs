//! How long to look before sleeping.
//!
//! A futex round trip costs tens of microseconds, looking again costs nanoseconds: whoever expects its answer soon looks for a
//! while first. But not when more participants want to run than there are CPUs: then every look takes time from the very process that is
//! waited for, so after about a microsecond the CPU is given up, a bounded number of times, and after that the waiter sleeps.

use crate::segment::Segment;
use crate::sync::Ordering::Relaxed;
use crate::sync::{now_ns, spin_loop, yield_now};
use std::sync::OnceLock;
use std::time::Duration;

/// Time to look for when there are CPUs enough: some times what going to sleep and being woken costs, for a part of that is the waker's, who has
/// something to do.
const SPIN_NS: u64 = 200_000;
/// The same when there are not.
const SPIN_CROWDED_NS: u64 = 1_000;
/// Times to give the CPU up before sleeping: some ten microseconds when nobody else wants this CPU. For longer it would seem busy to the
/// kernel, which then leaves two workers on another one.
const YIELDS: u32 = 30;

/// Pauses of the CPU's spin hint in one microsecond, measured once: they differ by a factor of twenty between CPUs, and the clock is too
/// slow to be asked at every look.
fn pauses_per_us() -> u64 {
    static PAUSES: OnceLock<u64> = OnceLock::new();
    *PAUSES.get_or_init(|| {
        const SAMPLE: u64 = 2000;
        let best = (0..3).map(|_| {
            let start = now_ns();
            (0..SAMPLE).for_each(|_| spin_loop());
            now_ns() - start
        });
        (SAMPLE * 1000 / best.min().unwrap_or(1).max(1)).max(1)
    })
}

/// Whether more participants want to run than there are CPUs: the workers and one submitter.
fn is_crowded(segment: &Segment) -> bool {
    segment.life().workers.load(Relaxed) >= segment.header().identity.cpus.load(Relaxed)
}

/// Looks again and again until `found` gives something or it is time to sleep, at the latest after `most_ns`. The first look comes after `first_ns`:
/// whoever is waited for needs that long in any case, and an earlier look would only take the cache line away from it.
#[inline]
pub(crate) fn until<T>(segment: &Segment, first_ns: u64, most_ns: u64, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    /// Looks between two questions for the time.
    const LOOKS: u64 = 64;
    let crowded = is_crowded(segment);
    let pauses_per_us = pauses_per_us();
    for _ in 0..(first_ns.min(most_ns) * pauses_per_us + 500) / 1000 {
        spin_loop();
    }
    let ns = if crowded { SPIN_CROWDED_NS } else { SPIN_NS }.min(most_ns);
    // A look may take longer than a pause, so both are bounded: the looks, and the time once it has been asked for.
    let (looks, mut end) = ((ns * pauses_per_us / 1000).max(10), None);
    for look in 1..=looks {
        if let Some(it) = found() {
            return Some(it);
        }
        spin_loop();
        if look % LOOKS == 0 {
            let now = now_ns();
            if now >= *end.get_or_insert(now + ns) {
                break;
            }
        }
    }
    if !crowded {
        return None;
    }
    (0..YIELDS).find_map(|_| {
        yield_now();
        found()
    })
}

/// For who finds that another thread of its process has taken what it looks for, and no trace of it.
#[derive(Default)]
pub(crate) struct Patience {
    last: u64,
    waited: u64,
    pauses: u32,
}

impl Patience {
    /// Whether that has been so for too long, as of this look. What went by while this process was stopped is no waiting.
    pub(crate) fn is_over(&mut self) -> bool {
        const LIMIT_NS: u64 = 2_500_000_000;
        const GAP_NS_MAX: u64 = 100_000_000;
        let now = now_ns();
        if self.last != 0 {
            self.waited += (now - self.last).min(GAP_NS_MAX);
        }
        self.last = now;
        self.waited > LIMIT_NS
    }

    /// Leaves the CPU to the other thread: for a moment, or, when it does not go on for long, for a while.
    pub(crate) fn pause(&mut self) {
        const LATER: Duration = Duration::from_millis(1);
        if self.pauses < YIELDS {
            self.pauses += 1;
            yield_now();
        } else {
            std::thread::sleep(LATER);
        }
    }
}
