//! Workers on demand: whom the owner starts, and when. (`demand.rs` has the rules, `idleness.rs` how they leave.)
//!
//! While there are fewer than there may be, the owner marks itself idle as a worker does (`sleep.rs`). Whoever publishes a task, or finds more of them than it
//! can take, and sees nobody else to wake, wakes the owner: so a pool with all its workers pays nothing, and one that lacks some only when nobody
//! is idle. The owner, after it has set its mark, compares the tasks that wait with the workers that run none, by the slots' words, and starts the difference.
//! A worker that was woken and has not begun yet is no busy one, so a task that it will take starts nobody else. What a submitter that was killed, or
//! stopped, has not told is found by the look that the owner takes about once a second, or by whoever waits for the task.

use crate::layout::Record;
use crate::life::Bit;
use crate::limits::{SLEEP_NS_MAX, WORKERS_MAX};
use crate::pool::lock;
use crate::record::RecordState;
use crate::search::Rings;
use crate::staff::Place;
use crate::state::{Participant, Phase};
use crate::supervisor::{Supervisor, Watch};
use crate::sync::Ordering::Relaxed;
use crate::sync::now_ns;
use crate::target::Target;
use crate::turn::Turn;
use std::collections::{BTreeMap, BTreeSet};

/// A worker that is free, and leaves a task waiting for so long, is stopped, or another one has reserved the task: somebody else is needed.
const STALLED_NS: u64 = 500_000_000;
/// For so long those stay who stand in for others that do not wait any more.
const LINGER_NS: u64 = 100_000_000;

/// What the owner remembers from one look to the next.
#[derive(Default)]
pub(crate) struct Hiring {
    is_marked: bool,
    /// A task waits, for somebody who is free or starting, or will soon.
    waits: bool,
    /// The first task that waits, by slot and generation, and since when it was seen to be the same.
    first: Option<(Key, u64)>,
    /// Functions that a worker of ours was seen to lack. They are all the same program, so the next one will lack them too: for such a task one is started only
    /// when nobody was for a while.
    lacked: BTreeSet<u16>,
    /// How many may be there for others that wait in their tasks, and since when fewer would do.
    replacements: u32,
    fewer_since: Option<u64>,
}

impl Hiring {
    /// There was no look: the next one is to come soon.
    pub(crate) fn postpone(&mut self) {
        self.waits = true;
    }

    /// Whether to look again soon.
    pub(crate) fn is_to_look_again(&self) -> bool {
        self.waits || self.fewer_since.is_some()
    }

    pub(crate) fn replacements(&self) -> u32 {
        self.replacements
    }
}

/// A task: lane, slot and generation.
type Key = (usize, usize, u32);

/// Tasks that wait.
#[derive(Default)]
struct Waiting {
    /// Those for any worker.
    tasks: Vec<Key>,
    /// The workers that others are for.
    targets: BTreeSet<u32>,
}

/// Workers that take tasks.
struct Crew {
    all: Vec<usize>,
    own: Vec<(usize, Participant)>,
}

impl Supervisor {
    /// Workers that are there whether they are needed or not.
    pub(crate) fn least_workers(&self) -> usize {
        let planned = self.planned_workers();
        self.plan.demand.map_or(planned, |demand| planned.min(demand.least as usize))
    }

    /// From this number on they are to leave, as things stand: it is beyond those of all others, and of those that stand in for them now.
    pub(crate) fn end_of_numbers(&self) -> u32 {
        (self.planned_workers() as u32).saturating_add(self.pool.segment().life().replacements.load(Relaxed))
    }

    /// What becomes of the place of a worker that has ended, in words.
    pub(crate) fn who_follows(&self, number: u32) -> &'static str {
        match number {
            _ if number < self.least_workers() as u32 => "another takes its place",
            _ if number < self.end_of_numbers() => "another takes its place when it is needed",
            _ => "no other takes its place",
        }
    }

    /// As many workers as wait in their tasks may have others at work for them. When fewer wait, they leave after their tasks: not at once, for the next wait may
    /// begin at any moment, and a start takes the time of many.
    pub(crate) fn note_waiting(&self, watch: &mut Watch) {
        let Some(demand) = self.plan.demand.filter(|demand| demand.replacements != 0) else { return };
        let segment = self.pool.segment();
        let waits = |&(_, state, record): &(Participant, RecordState, &Record)| {
            state.is_worker() && record.awaits.load(Relaxed) != 0
        };
        let waiting = self.pool.member.participants().filter(waits).count();
        // With `resize`, which may do the same at this moment.
        let _steering = lock(&self.steering);
        let planned = self.planned_workers();
        let wanted = waiting.min(demand.replacements as usize).min(WORKERS_MAX.saturating_sub(planned)) as u32;
        let hiring = &mut watch.hiring;
        if wanted >= hiring.replacements {
            hiring.fewer_since = None;
            hiring.replacements = wanted;
            segment.life().replacements.store(wanted, Relaxed);
            return;
        }
        let now = now_ns();
        if now - *hiring.fewer_since.get_or_insert(now) < LINGER_NS {
            return;
        }
        hiring.fewer_since = None;
        hiring.replacements = wanted;
        segment.life().replacements.store(wanted, Relaxed);
        let end = planned as u32 + wanted;
        let mut are_too_many = self.dismiss_requested(end);
        for child in lock(&self.children).iter_mut().filter(|child| child.number >= end) {
            // One that is still starting leaves as soon as it is ready: that is no start that failed.
            child.dismissed = true;
            are_too_many = true;
        }
        if are_too_many {
            // The number is seen by whoever sees the bit.
            segment.set(Bit::Shrunk);
            segment.wake_everybody();
        }
    }

    /// In a pool whose workers come on demand: the numbers of those to be started now, beside others that are started in any case. No more than `beside` of
    /// them beside workers of the same number.
    pub(crate) fn needed(&self, watch: &mut Watch, staff: &BTreeMap<u32, Place>, others: &[u32], beside: usize) -> Vec<u32> {
        let segment = self.pool.segment();
        watch.hiring.waits = false;
        // With another number of workers since the last look they might be more than there is room for.
        let end = (self.planned_workers() as u32 + watch.hiring.replacements).min(WORKERS_MAX as u32);
        let numbers = self.least_workers() as u32..end;
        if numbers.is_empty() || segment.is_paused() {
            self.hire_no_more(watch);
            return Vec::new();
        }
        // Those that nobody has, and then those of workers that are about to be gone.
        let is_free = |number: &u32| !staff.contains_key(number) && !others.contains(number);
        let is_left = |number: &u32| staff.get(number).is_some_and(|place| place.workers == place.gone);
        let free: Vec<u32> = numbers.clone().filter(is_free).chain(numbers.filter(is_left).take(beside)).collect();
        if free.is_empty() {
            self.hire_no_more(watch);
            return Vec::new();
        }
        // The mark first: whoever publishes a task and does not see it has published before the look.
        let _ = segment.sleepers().prepare(self.pool.member.who().index());
        watch.hiring.is_marked = true;
        let starting = others.len() + staff.values().filter(|place| place.is_coming()).count();
        let crew = self.crew();
        let waiting = self.waiting(watch, &crew, crew.all.len() + starting + free.len());
        let mut needed = self.unmatched(&waiting, &crew).saturating_sub(starting);
        if needed == 0 && starting == 0 && is_stalled(watch, &waiting) {
            needed = 1;
        }
        let waits_for_one = free.iter().any(|number| waiting.targets.contains(number));
        watch.hiring.waits |= !waiting.tasks.is_empty() || waits_for_one;
        let (mut now, rest): (Vec<u32>, Vec<u32>) = free.iter().partition(|number| waiting.targets.contains(number));
        now.extend(rest.into_iter().take(needed));
        now
    }

    /// Takes the mark away: there are as many as there may be, or none is wanted.
    pub(crate) fn hire_no_more(&self, watch: &mut Watch) {
        if std::mem::take(&mut watch.hiring.is_marked) {
            self.pool.segment().sleepers().cancel(self.pool.member.who().index());
        }
    }

    fn crew(&self) -> Crew {
        let takes_tasks = |&(_, state, record): &(Participant, RecordState, &Record)| {
            state.is_worker() && record.ready.load(Relaxed) == 1 && takes_tasks(record)
        };
        let mut crew = Crew { all: Vec::new(), own: Vec::new() };
        for (who, _, record) in self.pool.member.participants().filter(takes_tasks) {
            crew.all.push(who.index());
            if record.number.load(Relaxed) != 0 {
                crew.own.push((who.index(), who));
            }
        }
        crew
    }

    /// The tasks that wait; of those for any worker no more than `enough`.
    fn waiting(&self, watch: &mut Watch, crew: &Crew, enough: usize) -> Waiting {
        let (segment, now) = (self.pool.segment(), now_ns());
        let mut waiting = Waiting::default();
        for (lane, ring) in segment.lanes() {
            // From the head on: what waits is most likely there.
            let begin = ring.head.head.load(Relaxed) as usize & (ring.slots.len() - 1);
            for index in (begin..ring.slots.len()).chain(0..begin) {
                let slot = &ring.slots[index];
                let state = slot.load();
                if !state.is(Phase::Pending) {
                    continue;
                }
                if let Some(at) = segment.waits_until(lane, index, now) {
                    // An attempt that is to begin later: nobody tells of it when its time has come.
                    watch.hiring.waits |= at - now < SLEEP_NS_MAX;
                    continue;
                }
                match Target::of(slot.wanted()) {
                    Some(Target::Number(number)) => drop(waiting.targets.insert(number)),
                    Some(Target::Seat(..)) => {}
                    None if !self.is_ours_to_run(watch, crew, slot.function_index()) => {}
                    None => {
                        waiting.tasks.push((lane, index, state.generation()));
                        // Then everybody is started, so also those that other tasks are for.
                        if waiting.tasks.len() >= enough {
                            return waiting;
                        }
                    }
                }
            }
        }
        waiting
    }

    /// Whether one of our workers might run a function. They are all the same program; those that came by name may be others.
    fn is_ours_to_run(&self, watch: &mut Watch, crew: &Crew, function: u16) -> bool {
        let segment = self.pool.segment();
        if crew.own.iter().any(|&(seat, _)| segment.is_server(seat, function)) {
            watch.hiring.lacked.remove(&function);
            return true;
        }
        // Not of one that has left or died meanwhile.
        let lacks =
            |&(seat, who): &(usize, Participant)| takes_tasks(&segment.records()[seat]) && !self.pool.member.is_dead(who);
        if crew.own.iter().any(lacks) {
            watch.hiring.lacked.insert(function);
            return false;
        }
        !watch.hiring.lacked.contains(&function) || now_ns() - watch.last_start > SLEEP_NS_MAX
    }

    /// How many of the tasks are left when each worker that runs none has taken one.
    fn unmatched(&self, waiting: &Waiting, crew: &Crew) -> usize {
        if waiting.tasks.is_empty() {
            return 0;
        }
        let segment = self.pool.segment();
        let running = segment.lanes().flat_map(|(_, ring)| ring.slots).filter_map(|slot| {
            let state = slot.load();
            state.is(Phase::Running).then(|| state.owner().index())
        });
        let busy: BTreeSet<usize> = running.collect();
        let mut free: Vec<usize> = crew.all.iter().copied().filter(|seat| !busy.contains(seat)).collect();
        let mut left = 0;
        for &(lane, index, generation) in &waiting.tasks {
            let slot = &segment.lane(lane).slots[index];
            let (state, function) = (slot.load(), slot.function_index());
            // Not of one that somebody has begun with meanwhile: who was free for it may be busy with it.
            if state.is(Phase::Pending) && state.generation() == generation {
                match free.iter().position(|&seat| segment.is_server(seat, function)) {
                    Some(place) => drop(free.swap_remove(place)),
                    None => left += 1,
                }
            }
        }
        left
    }
}

fn takes_tasks(record: &Record) -> bool {
    Turn::of(record).takes_tasks()
}

/// Whether the first task that waits has done so for too long, though somebody is free.
fn is_stalled(watch: &mut Watch, waiting: &Waiting) -> bool {
    let now = now_ns();
    let first = waiting.tasks.first().copied();
    let since = match watch.hiring.first {
        Some((before, since)) if first == Some(before) => since,
        _ => now,
    };
    let is_stalled = now - since >= STALLED_NS;
    watch.hiring.first = first.map(|first| (first, if is_stalled { now } else { since }));
    is_stalled
}

#[cfg(test)]
mod tests {
    use crate::sync::now_ns;
    use crate::{Executor, StartMethod};
    use std::time::Duration;

    #[test]
    fn a_task_that_nobody_has_told_the_owner_of_is_found_by_its_next_look() {
        let triple = crate::register("hiring::triple", |x: u64| 3 * x).unwrap();
        let builder = Executor::builder().workers(2).min_workers(0).start(StartMethod::Thread);
        for round in 0..3 {
            let pool = builder.clone().build().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let (sleepers, owner) = (pool.pool().segment().sleepers(), pool.pool().member.who().index());
            assert_eq!(owner, crate::limits::OWNER_SEAT);
            // As a submitter leaves it that has taken the mark and dies before the wake.
            assert!(!sleepers.cancel(owner), "the owner waits for tasks");
            let begin = now_ns();
            let future = pool.submit(triple, round).unwrap();
            // Not by a wait, which would wake everybody.
            while !future.is_done() {
                std::thread::sleep(Duration::from_millis(1));
                assert!(now_ns() - begin < 3 * crate::limits::SLEEP_NS_MAX, "round {round}");
            }
            assert_eq!(future.result(), Ok(3 * round));
        }
    }
}
