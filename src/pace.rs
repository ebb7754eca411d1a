//! When who is kept busy looks after what nobody else may do: by the time since the last look, however much or little happens in between. What
//! happens between two looks may only bring the next one nearer.

use crate::limits::{PENDING_NS_MAX, SLEEP_NS_MAX};

/// A worker's: one look within each half of a sleep's length while tasks come, without a question for the time at every task.
pub(crate) struct WorkerPace {
    looked_at: u64,
    asked_at: u64,
    /// Tasks since the time was asked for, and after how many it is asked for again.
    tasks: u32,
    ask_after: u32,
}

/// Few, for the next ones may be long: as many tasks are run before it is seen that they are.
const ASK_AFTER_MAX: u32 = 16;
/// Tasks that take so long together are asked about less often.
const SHORT_NS: u64 = SLEEP_NS_MAX / 1024;
/// And such ones one by one.
const LONG_NS: u64 = SLEEP_NS_MAX / 64;

impl WorkerPace {
    pub(crate) fn new(now: u64) -> WorkerPace {
        WorkerPace { looked_at: now, asked_at: now, tasks: 0, ask_after: 1 }
    }

    /// Counts a task. True when the time is to be asked for, for [`is_due`](WorkerPace::is_due).
    #[inline]
    pub(crate) fn count(&mut self) -> bool {
        self.tasks += 1;
        self.tasks >= self.ask_after
    }

    /// Whether it is time for a look.
    #[cold]
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        let between = now.saturating_sub(self.asked_at);
        (self.asked_at, self.tasks) = (now, 0);
        self.ask_after = match between {
            ..SHORT_NS => (self.ask_after * 2).min(ASK_AFTER_MAX),
            SHORT_NS..LONG_NS => self.ask_after,
            LONG_NS.. => 1,
        };
        self.is_overdue(now)
    }

    /// The same for who asks for a reason of its own.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        now.saturating_sub(self.looked_at) >= SLEEP_NS_MAX / 2
    }

    /// A pause: the tasks after it may be of another length.
    pub(crate) fn pause(&mut self) {
        (self.tasks, self.ask_after) = (0, 1);
    }

    pub(crate) fn looked(&mut self, now: u64) {
        self.looked_at = now;
    }
}

/// A waiting thread's, which events wake that may be none of its own: a look soon after the last thing that came, then one in each sleep's length.
pub(crate) struct WaitPace {
    looked_at: u64,
    next: u64,
    /// Something has come since `next` was set.
    fresh: bool,
}

impl WaitPace {
    /// `looked_at`: when somebody looked last.
    pub(crate) fn new(looked_at: u64) -> WaitPace {
        WaitPace { looked_at, next: 0, fresh: true }
    }

    /// What was waited for has come.
    pub(crate) fn came(&mut self) {
        self.fresh = true;
    }

    /// Until when to sleep; `None` when it is time for a look.
    pub(crate) fn until(&mut self, now: u64) -> Option<u64> {
        if std::mem::take(&mut self.fresh) {
            // Things that come and come do not put it off for longer than a sleep.
            self.next = (now + PENDING_NS_MAX).min(self.looked_at + SLEEP_NS_MAX);
        }
        (now < self.next).then_some(self.next)
    }

    pub(crate) fn looked(&mut self, now: u64) {
        (self.looked_at, self.next) = (now, now + SLEEP_NS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs tasks of these lengths (in nanoseconds) for so long; the longest time between two looks.
    fn longest(pace: &mut WorkerPace, now: &mut u64, task: u64, pause: bool, time: u64) -> u64 {
        let (end, mut last, mut longest) = (*now + time, *now, 0);
        while *now < end {
            *now += task;
            if pause {
                pace.pause();
            }
            if pace.count() && pace.is_due(*now) {
                longest = longest.max(*now - last);
                last = *now;
                pace.looked(*now);
            }
        }
        longest.max(*now - last)
    }

    #[test]
    fn a_busy_worker_looks_however_long_its_tasks_are() {
        for task in [100, 1_000, 10_000, 100_000, MS, 10 * MS, 100 * MS] {
            for pause in [false, true] {
                let (mut pace, mut now) = (WorkerPace::new(0), 0);
                let between = longest(&mut pace, &mut now, task, pause, 5000 * MS);
                assert!((SLEEP_NS_MAX / 2..=SLEEP_NS_MAX).contains(&between), "tasks of {task} ns: {between}");
            }
        }
    }

    #[test]
    fn long_tasks_after_short_ones_delay_a_look_by_a_few() {
        let (mut pace, mut now) = (WorkerPace::new(0), 0);
        longest(&mut pace, &mut now, 100, false, 5000 * MS);
        let between = longest(&mut pace, &mut now, 50 * MS, false, 5000 * MS);
        assert!(between <= SLEEP_NS_MAX / 2 + u64::from(ASK_AFTER_MAX) * 50 * MS, "{between}");
    }

    #[test]
    fn a_wait_looks_soon_and_then_once_in_a_sleep() {
        let mut pace = WaitPace::new(5);
        assert_eq!(pace.until(5), Some(5 + PENDING_NS_MAX));
        // Woken for something else, it does not begin anew.
        assert_eq!(pace.until(100), Some(5 + PENDING_NS_MAX));
        assert_eq!(pace.until(5 + PENDING_NS_MAX), None);
        pace.looked(20 * MS);
        assert_eq!(pace.until(20 * MS), Some(20 * MS + SLEEP_NS_MAX));
        pace.came();
        assert_eq!(pace.until(30 * MS), Some(30 * MS + PENDING_NS_MAX));
    }

    #[test]
    fn a_wait_looks_also_while_things_come() {
        let (mut pace, mut looks) = (WaitPace::new(0), Vec::new());
        for ms in 0..6000 {
            if pace.until(ms * MS).is_none() {
                looks.push(ms * MS);
                pace.looked(ms * MS);
            }
            pace.came();
        }
        assert_eq!(looks, [1, 2, 3, 4].map(|n| n * SLEEP_NS_MAX));
    }
}
