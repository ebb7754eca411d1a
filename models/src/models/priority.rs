//! Models of lanes of two levels of priority: nothing that waits in either is lost, and none of the lower waits for more of the higher than it may.

use super::*;
use crate::limits::PASSED_MAX;
use crate::priority::Priority;

/// A lane of each of two levels. What is one for the whole pool is that of the lower.
struct Levels {
    normal: Arc<Pool>,
    high: Arc<Pool>,
}

/// The lane's number of tasks of high priority.
const HIGH: usize = Priority::High.lanes().start;

impl Levels {
    fn new(capacity: usize, workers: usize) -> Arc<Levels> {
        let levels = Levels { normal: Pool::new(capacity, workers), high: Pool::new(capacity, 0) };
        levels.normal.life.lanes.store(1 | 1 << HIGH, Relaxed);
        Arc::new(levels)
    }

    fn of(&self, lane: usize) -> &Pool {
        if lane == HIGH { &self.high } else { &self.normal }
    }

    /// Publishes a task and wakes who sleeps.
    fn submit(&self, lane: usize, me: Participant) {
        self.of(lane).publish(me, Request::default()).expect("there is room");
        self.normal.sleepers().announce();
    }
}

impl Rings for Levels {
    fn lane(&self, index: usize) -> Lane<'_> {
        assert!(index == 0 || index == HIGH);
        self.of(index).ring()
    }
    fn used(&self) -> &AtomicU64 {
        self.normal.used()
    }
    fn epoch(&self) -> &AtomicU32 {
        self.normal.epoch()
    }
    fn passed(&self, who: Participant) -> &AtomicU32 {
        self.normal.passed(who)
    }
}

/// The lane of the next task, asleep until there is one. It is over at once.
fn next(search: &mut Search, levels: &Levels, me: Participant) -> usize {
    let task = loop {
        if let Some(task) = search.look(levels, &mut anything) {
            break task;
        }
        match search.rest(levels, levels.normal.sleepers(), &mut anything, || false, 0) {
            Rest::Task(task) => break task,
            Rest::Stopped | Rest::Slept { .. } => {}
        }
    };
    // Our mark may have been up, and the wake for another task have come to us.
    if search.has_backlog(levels) {
        levels.normal.sleepers().wake_one();
    }
    levels.of(task.lane).complete_and_free(me, task.claim);
    task.lane
}

/// Tasks of high priority keep coming while one of normal priority waits: a worker takes no more of them than it may before that one, and comes by all.
#[test]
fn a_task_that_waits_is_taken_though_higher_ones_keep_coming() {
    crowded_model(|| {
        let levels = Levels::new(4, 1);
        levels.normal.publish(S1, Request::default()).unwrap();
        let there = levels.clone();
        let worker = loom::thread::spawn(move || {
            let mut search = Search::new(W1);
            [(); 3].map(|()| next(&mut search, &there, W1))
        });
        levels.submit(HIGH, S2);
        levels.submit(HIGH, S2);
        let taken = worker.join().unwrap();
        let waited = taken.iter().position(|&lane| lane == 0).expect("it was taken");
        assert!(waited <= usize::from(PASSED_MAX), "{taken:?}");
    });
}

/// A submitter for each of two levels: each task is taken once, and the worker does not sleep while one waits.
#[test]
fn tasks_of_two_levels_are_each_taken_once() {
    crowded_model(|| {
        let levels = Levels::new(2, 1);
        let (there, mut search) = (levels.clone(), Search::new(W1));
        // It has looked at every slot before.
        assert_eq!(search.look(&*levels, &mut anything), None);
        let worker = loom::thread::spawn(move || [(); 2].map(|()| next(&mut search, &there, W1)));
        let there = levels.clone();
        let other = loom::thread::spawn(move || there.submit(HIGH, S2));
        levels.submit(0, S1);
        other.join().unwrap();
        let mut taken = worker.join().unwrap();
        taken.sort_unstable();
        assert_eq!(taken, [0, HIGH]);
    });
}

/// A worker dies with a task of high priority, which comes back while another one looks: that one finds it, and what is of normal priority too.
#[test]
fn what_comes_back_is_found_in_its_level() {
    crowded_model(|| {
        let levels = Levels::new(2, 1);
        levels.high.publish(S1, Request::default()).unwrap();
        levels.normal.publish(S1, Request::default()).unwrap();
        let lost = Search::new(W2).look(&*levels, &mut anything).expect("it is there");
        assert_eq!(lost.lane, HIGH);
        let there = levels.clone();
        let other = loom::thread::spawn(move || {
            let mut search = Search::new(W1);
            [(); 2].map(|()| next(&mut search, &there, W1))
        });
        assert!(levels.high.requeue(W2, lost.claim));
        levels.normal.new_epoch();
        let mut taken = other.join().unwrap();
        taken.sort_unstable();
        assert_eq!(taken, [0, HIGH]);
    });
}

/// A worker puts a task of normal priority back that may begin at once, while one of high priority comes. Whichever it takes, another one, which sleeps, takes
/// the other.
#[test]
fn what_a_worker_puts_back_and_does_not_come_back_to_is_taken_by_another() {
    crowded_model(|| {
        let levels = Levels::new(1, 2);
        let (mut search, mut other) = (Search::new(W2), Search::new(W1));
        levels.normal.publish(S1, Request::default()).unwrap();
        let back = search.look(&*levels, &mut anything).expect("it is there");
        assert_eq!(other.look(&*levels, &mut anything), None);
        let there = levels.clone();
        let sleeper = loom::thread::spawn(move || next(&mut other, &there, W1));
        let there = levels.clone();
        let submitter = loom::thread::spawn(move || there.submit(HIGH, S2));
        levels.normal.slots[back.claim.slot].put_back(W2, back.claim.state.generation()).unwrap();
        let first = search.look_after_put_back(&*levels, levels.normal.sleepers(), &mut anything, back);
        // What it has taken may take any time.
        submitter.join().unwrap();
        let mut taken = [first.expect("nobody else knows of it").lane, sleeper.join().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, [0, HIGH]);
    });
}

/// Workers that follow each other in a seat, each after one task: the next one goes on with the count of the one before. Any count will do.
#[test]
fn the_next_worker_in_a_seat_counts_on() {
    for damage in [None, Some(u32::MAX), Some(0xff_00_ff_ff)] {
        crowded_model(move || {
            let levels = Levels::new(4, 1);
            levels.normal.publish(S1, Request::default()).unwrap();
            levels.high.publish(S1, Request::default()).unwrap();
            let there = levels.clone();
            let workers = loom::thread::spawn(move || {
                [1, 2, 3].map(|incarnation| {
                    let me = Participant::new(W1.index(), incarnation);
                    if let Some(damage) = damage {
                        there.passed(me).store(damage, Relaxed);
                    }
                    next(&mut Search::new(me), &there, me)
                })
            });
            levels.submit(HIGH, S2);
            let mut taken = workers.join().unwrap();
            assert!(damage.is_some() || taken[..=usize::from(PASSED_MAX)].contains(&0), "{taken:?}");
            taken.sort_unstable();
            assert_eq!(taken, [0, HIGH, HIGH], "each is taken once");
        });
    }
}
