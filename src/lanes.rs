//! The lanes of one submitter: one for tasks of normal priority from the start, and one for each other level from its first task of that level on.
//!
//! A lane is chosen under the registry's mutex and noted in the submitter's record, so it goes back with the record, whatever the submitter died in. Then its
//! memory is committed, and only then tasks are published in it.

use crate::error::Result;
use crate::limits::LANES_MAX;
use crate::mutex::ShmMutex;
use crate::pool::Pool;
use crate::priority::{LEVELS, Priority};
use crate::registry::Member;
use crate::search::Rings;
use crate::slot::OPTION_TERMS;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::AtomicU32;

/// What a process knows of its further lanes: of each level the lane plus one, or 0. Its own numbers, not those of shared memory.
#[derive(Default)]
pub(crate) struct Further([AtomicU32; LEVELS]);

impl Pool {
    /// The lane for this submitter's tasks of a level, taken at the first of them.
    ///
    /// # Errors
    /// Those of committing memory, and `Stalled`.
    #[inline]
    pub(crate) fn lane_of(&self, level: Priority) -> Result<usize> {
        match self.own_lane(level) {
            Some(lane) => Ok(lane),
            None => self.take_lane(level),
        }
    }

    /// The same, if it has one.
    #[inline]
    pub(crate) fn own_lane(&self, level: Priority) -> Option<usize> {
        if level == Priority::Normal {
            return Some(self.lane);
        }
        // Acquire: pairs with the Release in `take_lane`: the lane is in use.
        (self.further.0[level.index()].load(Acquire) as usize).checked_sub(1)
    }

    /// Those that it has.
    pub(crate) fn own_lanes(&self) -> impl Iterator<Item = usize> + '_ {
        Priority::ALL.into_iter().filter_map(|level| self.own_lane(level))
    }

    /// How many submitters have a lane, counted anew: others may have gone.
    #[cold]
    pub(crate) fn recount_users(&self, lane: usize) -> usize {
        let segment = self.segment();
        // With the mutex, for somebody may just be choosing this lane. Whoever cannot have it at once does not write the number down.
        let mutex = ShmMutex(&segment.header().registry_mutex);
        let guard = mutex.try_lock(self.member.who());
        let users = users(&self.member, Priority::of_lane(lane))[lane];
        if guard.is_some() {
            segment.lane(lane).head.users.store(users, Relaxed);
        }
        users as usize
    }

    #[cold]
    fn take_lane(&self, level: Priority) -> Result<usize> {
        self.member.check_fork()?;
        let lane = choose_lane(&self.member, level)?;
        if self.request.options & OPTION_TERMS != 0 {
            self.segment().use_extras(lane)?;
        }
        // Release: pairs with the Acquire in `own_lane`.
        self.further.0[level.index()].store(lane as u32 + 1, Release);
        Ok(lane)
    }
}

/// How many submitters each of the lanes of this level has, by their records.
fn users(member: &Member, level: Priority) -> [u32; LANES_MAX] {
    let mut users = [0; LANES_MAX];
    for (_, _, record) in member.participants() {
        if let Some(lane) = level.lane_in(record.lane.load(Relaxed)) {
            users[lane] += 1;
        }
    }
    users
}

/// The lane of this level with the fewest submitters, by their records; the one that this submitter has, if another thread was first.
pub(crate) fn choose_lane(member: &Member, level: Priority) -> Result<usize> {
    let mutex = ShmMutex(&member.segment.header().registry_mutex);
    let guard = mutex.lock(member.who(), member).map_err(|s| member.stalled(s))?;
    let own = &member.record().lane;
    let word = own.load(Relaxed);
    let lane = level.lane_in(word).unwrap_or_else(|| {
        let users = users(member, level);
        let lane = level.lanes().min_by_key(|&lane| users[lane]).expect("each level has lanes");
        own.store(level.with_lane(word, lane), Relaxed);
        // A hint for the quota. Who goes does not count it down: whoever has to do with a lane that is shared counts anew, now and then.
        member.segment.lane(lane).head.users.store(users[lane] + 1, Relaxed);
        lane
    });
    drop(guard);
    // Outside the mutex, for committing may block.
    member.segment.use_lane(lane)?;
    Ok(lane)
}

#[cfg(all(test, feature = "named"))]
mod tests {
    use super::*;
    use crate::limits::PASSED_MAX;
    use crate::{Executor, StartMethod, SubmitOptions};
    use std::sync::atomic::AtomicU64;

    #[test]
    fn submitters_spread_over_the_lanes_of_a_level_and_give_them_back() {
        let name = format!("lanes-{}", std::process::id());
        let pool = Executor::builder().start(StartMethod::None).capacity(8).create_named(&name).unwrap();
        let mut others: Vec<_> = (0..8).map(|_| Executor::attach(&name).unwrap()).collect();
        let high = |pool: &Executor| pool.pool().lane_of(Priority::High).unwrap();
        let count = |all: &[usize]| {
            Priority::High.lanes().map(|lane| all.iter().filter(|&&l| l == lane).count()).collect::<Vec<_>>()
        };
        assert_eq!(pool.pool().own_lanes().collect::<Vec<_>>(), [0]);
        let lanes: Vec<_> = others.iter().map(high).collect();
        assert_eq!(count(&lanes), [2, 2, 2, 2]);
        assert_eq!(others.iter().map(high).collect::<Vec<_>>(), lanes, "each keeps its own");
        // Those of one lane go: the next two come there.
        let mut kept = lanes.iter().map(|&lane| lane != lanes[0]);
        others.retain(|_| kept.next().unwrap());
        assert_eq!([high(&pool), high(&Executor::attach(&name).unwrap())], [lanes[0]; 2]);
        assert_eq!(pool.pool().own_lanes().collect::<Vec<_>>(), [lanes[0], 0]);
    }

    #[test]
    fn who_has_a_lane_alone_again_has_all_of_it() {
        let name = format!("lanes-alone-{}", std::process::id());
        let double = crate::register("lanes::double", |x: u64| 2 * x).unwrap();
        let pool = Executor::builder().start(StartMethod::None).capacity(64).create_named(&name).unwrap();
        let fill = || (0..).map_while(|x| pool.try_submit(double, x).ok()).collect::<Vec<_>>();
        let others: Vec<_> = (0..16).map(|_| Executor::attach(&name).unwrap()).collect();
        assert_eq!(others.iter().filter(|other| other.pool().lane == pool.pool().lane).count(), 1);
        let half = fill();
        assert_eq!(half.len(), 32, "each has its part");
        drop(others);
        let rest = fill();
        assert_eq!(rest.len(), 32, "the others have gone");
        assert_eq!(pool.pool().segment().lane(pool.pool().lane).head.users.load(Relaxed), 1);
        // Of the half that was submitted in the meantime nobody counts anything any more.
        assert!(half.iter().chain(&rest).all(|future| future.cancel()));
        let full = fill();
        assert_eq!(full.len(), 64);
        assert!(matches!(pool.try_submit(double, 1), Err(crate::Error::Full { capacity: 64 })));
        // Else the pool's end would wait for a worker.
        assert!(full.iter().all(|future| future.cancel()));
    }

    #[test]
    fn threads_that_submit_the_first_tasks_of_a_level_take_one_lane() {
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let lanes: Vec<_> = std::thread::scope(|scope| {
            let takers = [(); 8].map(|()| scope.spawn(|| pool.pool().lane_of(Priority::Low).unwrap()));
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        let first = Priority::Low.lanes().start;
        assert_eq!(lanes, [first; 8]);
        let word = pool.pool().member.record().lane.load(Relaxed);
        assert_eq!((Priority::Low.lane_in(word), Priority::High.lane_in(word)), (Some(first), None));
    }

    #[test]
    fn a_lane_that_somebody_else_has_written_into_the_record_is_none_of_another_level() {
        let pool = Executor::builder().start(StartMethod::None).build().unwrap();
        let record = pool.pool().member.record();
        record.lane.store(u32::MAX, Relaxed);
        let lane = pool.pool().lane_of(Priority::Low).unwrap();
        assert!(Priority::Low.lanes().contains(&lane) && pool.pool().own_lane(Priority::Low) == Some(lane));
    }

    #[test]
    fn a_lower_level_has_one_task_after_so_many_of_a_higher_one() {
        const HIGH: u64 = 3 * PASSED_MAX as u64 + 5;
        let begun = AtomicU64::new(0);
        let place = crate::register("lanes::place", move |()| begun.fetch_add(1, Relaxed)).unwrap();
        let pool = Executor::builder().workers(1).capacity(128).start(StartMethod::Thread).build().unwrap();
        pool.pause().unwrap();
        let submit = |level| pool.submit_with(&SubmitOptions::new().priority(level), place, ()).unwrap();
        let low = [Priority::Low; 3].map(submit);
        let high: Vec<_> = (0..HIGH).map(|_| submit(Priority::High)).collect();
        pool.resume().unwrap();
        let max = u64::from(PASSED_MAX);
        assert_eq!(low.map(|future| future.result().unwrap()), [max, 2 * max + 1, 3 * max + 2]);
        assert!(high.iter().all(|future| future.result().is_ok()));
    }
}
