//! A look for words in shared memory that nobody can have written. It costs a pass over some lanes, so it is made only by who has waited long or has slept.

use crate::error::Result;
use crate::limits::LANES_MAX;
use crate::record::{Kind, RecordState};
use crate::registry::Member;
use crate::search::Rings;
use crate::state::{Flag, Phase};
use crate::sync::Ordering::Acquire;

impl Member {
    /// Looks for words that nobody can have written, and ends the pool when there is one. Whoever waits for long or has slept does this; `lanes` are
    /// the submitter's own.
    pub(crate) fn audit(&self, lanes: impl Iterator<Item = usize>) -> Result<()> {
        self.impossible(lanes).map_or(Ok(()), |what| Err(self.segment.poison(what)))
    }

    fn impossible(&self, own: impl Iterator<Item = usize>) -> Option<String> {
        let segment = &self.segment;
        // Before the lanes in use: another thread may take a lane meanwhile. Whoever finds it among our own finds it in use, for the Acquire of `own_lane` pairs
        // with the Release in `take_lane`, which follows the lane's bit.
        let own: Vec<usize> = own.collect();
        // Acquire: pairs with `use_lane`.
        let lanes = segment.life().lanes.load(Acquire);
        if segment.has_unknown_bits() || lanes >> LANES_MAX != 0 || own.iter().any(|lane| lanes & 1 << lane == 0) {
            return Some("the word of the pool's life, or of its lanes".into());
        }
        // A worker's seat may have been taken from it: see `Performer::complete`.
        if matches!(self.seat.kind, Kind::Owner | Kind::Submitter) && !self.seat.is_ours(self.record()) {
            return Some(format!("the record of participant {:?}, which is this one", self.who()));
        }
        own.into_iter().find_map(|lane| self.impossible_in(lane))
    }

    fn impossible_in(&self, lane: usize) -> Option<String> {
        let segment = &self.segment;
        let ring = segment.lane(lane);
        ring.slots.iter().enumerate().find_map(|(index, slot)| {
            let state = slot.load();
            let wrong = match state.phase() {
                None => true,
                Some(Phase::Pending) => {
                    // Acquire: pairs with the Release in `Slot::write`.
                    !ring.is_place(index, slot.place.load(Acquire)) || !segment.has_function(slot.function_index())
                }
                Some(Phase::Running) => {
                    let record = segment.records().get(state.owner().index());
                    let record = record.map(RecordState::of).filter(|r| r.is_active_as(state.owner()));
                    // Only a process is killed for its task.
                    record.is_none_or(|r| state.has(Flag::Kill) && r.kind() != Some(Kind::Worker))
                }
                Some(_) => false,
            };
            // Looked at again: what was compared may have belonged to the next task.
            (wrong && slot.load() == state).then(|| format!("slot {index} of lane {lane} is {state:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::search::Rings;
    use crate::sync::Ordering::Relaxed;
    use crate::{Executor, Priority, StartMethod};
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn a_lane_that_another_thread_takes_meanwhile_is_no_damage() {
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let pool = pool.pool();
        let mut taken_meanwhile = std::iter::from_fn(|| pool.lane_of(Priority::High).ok()).take(1);
        assert_eq!(pool.member.audit(&mut taken_meanwhile), Ok(()));
        assert_eq!(taken_meanwhile.next(), None, "it was taken");
        // One that is not in use is.
        assert!(pool.member.audit(Priority::Low.lanes()).is_err());
    }

    #[test]
    fn a_task_for_a_busy_worker_may_be_passed_by_any_number_of_others() {
        static ENDS: AtomicBool = AtomicBool::new(false);
        let hold = |()| {
            while !ENDS.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let hold = crate::register("audit::hold", hold).unwrap();
        let double = crate::register("audit::double", |x: u64| 2 * x).unwrap();
        let pool = Executor::builder().workers(1).capacity(8).start(StartMethod::Thread).build().unwrap();
        let busy = pool.submit(hold, ()).unwrap();
        while !busy.is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let meant = pool.submit_to(0, double, 4).unwrap();
        // As if so many others had been submitted, and other workers had run them: to a look it seems to be ahead again.
        let (pool, passed) = (pool.pool(), (1_u64 << 32) - (1 << 23));
        let head = pool.segment().lane(pool.lane).head;
        head.tail.store(head.tail.load(Relaxed) + passed, Relaxed);
        head.head.store(head.tail.load(Relaxed), Relaxed);
        pool.segment().new_epoch();
        let audited = pool.member.audit(pool.own_lanes());
        ENDS.store(true, Relaxed);
        assert_eq!(audited, Ok(()));
        let result = meant.result_timeout(Duration::from_secs(10));
        meant.cancel();
        assert_eq!(result, Ok(8));
    }
}
