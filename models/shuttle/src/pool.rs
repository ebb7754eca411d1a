//! Three submitters, one to three workers, a discarder and a reaper. Any of them but one worker may die at any access, the reaper as well, and any of them may
//! stop for a while. No wait ends by time, so a wake that is lost is a deadlock.
//!
//! Every run draws its schedule, its deaths and what the submitters do from one seed. After a failure shuttle prints the schedule;
//!
//! ```text
//! TASKRING_SHUTTLE_REPLAY=<schedule>          runs that one again
//! TASKRING_SHUTTLE_RUNS=5000000               so many runs under each scheduler, in place of 50 000
//! TASKRING_SHUTTLE_SEED=7                     begins with this seed
//! ```

use crate::life::Bit;
use crate::policy::{Orphans, Policy};
use crate::record::Kind;
use crate::registry::Member;
use crate::roles::{Ticket, Worker, ask, ask_again, check_end};
use crate::segment::Segment;
use crate::set::SetRef;
use crate::slot::Request;
use crate::sync::Ordering::AcqRel;
use crate::sync::{doomed, futex_wake};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::{Config, Runner, thread};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

/// Runs of one scheduler before the next seed.
const RUNS_PER_SEED: usize = 100;
const TASKS: u16 = 4;
/// Tasks of the last check have numbers from here.
const FRESH: u16 = 1000;

/// What the runs have come upon, to show that the draws are worth something.
#[derive(Default)]
struct Seen {
    deaths: AtomicU64,
    deaths_of_reapers: AtomicU64,
    discards: AtomicU64,
    full: AtomicU64,
}

static SEEN: LazyLock<Seen> = LazyLock::new(Seen::default);

fn count(what: &AtomicU64) {
    what.fetch_add(1, Relaxed);
}

fn draw(below: u32) -> u32 {
    thread_rng().gen_range(0..below)
}

/// Accesses until something happens: one time in two it does not.
fn at_some_access(of: u32) -> u32 {
    if draw(2) == 0 { draw(of) } else { u32::MAX }
}

/// Lives a participant's life, perhaps up to an early death. True when it died.
fn live(member: &Member, accesses: u32, life: impl FnOnce(Member)) -> bool {
    let (dies_in, stops_in) = (at_some_access(accesses), at_some_access(accesses));
    let acting = member.clone();
    let died = doomed(dies_in, stops_in, move || life(acting)).is_none();
    if died {
        count(&SEEN.deaths);
        member.die();
    }
    died
}

/// One submitter: submits, now and then to the set or several at once, and collects, cancels or lets go of each task.
fn submitter(member: Member, first: u16, set: SetRef) {
    let mut open: Vec<Ticket> = Vec::new();
    let mut next = first;
    while next < first + TASKS {
        let request = |task: u16| match draw(4) {
            0 => ask_again(task),
            1 => Request { set: set.0, ..ask(task) },
            _ => ask(task),
        };
        let batch = if draw(4) == 0 && next + 1 < first + TASKS { 2 } else { 1 };
        let requests: Vec<_> = (next..next + batch).map(request).collect();
        let tickets = member.submit_all(&requests);
        if tickets.is_empty() {
            count(&SEEN.full);
            match open.pop() {
                Some(ticket) => drop(member.collect(ticket)),
                None => thread::yield_now(),
            }
        }
        next += tickets.len() as u16;
        open.extend(tickets);
        if open.len() > 1 {
            let ticket = open.remove(draw(open.len() as u32) as usize);
            match draw(5) {
                0 => member.detach(ticket),
                1 => {
                    member.cancel(ticket);
                    member.collect(ticket);
                }
                _ => drop(member.collect(ticket)),
            }
        }
    }
    for ticket in open {
        member.collect(ticket);
    }
}

fn work(mut worker: Worker) {
    while let Some(task) = worker.next() {
        worker.perform(task);
    }
}

/// A wait for a mutex is bounded: a wake that its dead receiver took with it is made good by the end of the others' time slice.
fn time_slice_ends(member: &Member) {
    futex_wake(&member.segment.ring().head.mutex, i32::MAX);
}

/// Reaps whoever is said to have died, until told to leave.
fn reap(member: &Member, deaths: &Receiver<Option<Member>>) {
    // Whoever died while the last reaper did.
    while member.reap_all() != 0 {}
    time_slice_ends(member);
    while let Ok(Some(dead)) = deaths.recv() {
        // Somebody who waits for a lock may hold the reaper byte just now.
        while !member.reap_now(dead.who()) && !dead.is_buried() {
            thread::yield_now();
        }
        time_slice_ends(member);
    }
}

fn cast(segment: &Arc<Segment>, kinds: &[Kind]) -> Vec<Member> {
    kinds.iter().enumerate().map(|(index, &kind)| Member::join(segment, index, kind)).collect()
}

fn pool() {
    let orphans = if draw(2) == 0 { Orphans::Run } else { Orphans::CancelPending };
    let kinds = [
        Kind::Worker,
        Kind::Worker,
        Kind::Worker,
        Kind::Submitter,
        Kind::Submitter,
        Kind::Submitter,
        Kind::Submitter,
        Kind::Submitter,
        Kind::Owner,
    ];
    let segment = Segment::new(2 << draw(3), kinds.len(), Policy { orphans, ..Policy::default() });
    let cast = cast(&segment, &kinds);
    let (discarder, reaper, owner) = (&cast[6], &cast[7], &cast[8]);
    let set = segment.sets().open(discarder.who()).expect("the first set");
    let (tell, deaths): (Sender<Option<Member>>, _) = channel();
    let spawn = |member: &Member, accesses: u32, life: Box<dyn FnOnce(Member) + Send>| {
        let (member, tell) = (member.clone(), tell.clone());
        thread::spawn(move || {
            let died = live(&member, accesses, life);
            if died {
                let task = member.who().index() as u16 * 100;
                member.segment.ledger.forsake_all(task..task + TASKS);
                tell.send(Some(member.clone())).expect("the reaper");
            }
            died.then_some(member)
        })
    };
    let workers: Vec<_> =
        cast[..draw(3) as usize].iter().map(|w| spawn(w, 150, Box::new(|w| work(Worker::new(w))))).collect();
    // Somebody has to run the tasks.
    let lasting = cast[2].clone();
    let lasting = thread::spawn(move || {
        doomed(u32::MAX, at_some_access(100), || work(Worker::new(lasting))).expect("it lives");
    });
    let mut others: Vec<_> = cast[3..6]
        .iter()
        .map(|s| spawn(s, 150, Box::new(move |s| submitter(s.clone(), s.who().index() as u16 * 100, set))))
        .collect();
    others.push(spawn(
        discarder,
        20,
        Box::new(move |d| {
            for _ in 0..draw(150) {
                thread::yield_now();
            }
            if d.discard(set) != 0 {
                count(&SEEN.discards);
            }
        }),
    ));
    let heir = owner.clone();
    let reapers = {
        let reaper = reaper.clone();
        thread::spawn(move || {
            let acting = reaper.clone();
            let (dies_in, stops_in) = (at_some_access(150), at_some_access(150));
            let died = doomed(dies_in, stops_in, || reap(&acting, &deaths)).is_none();
            if died {
                count(&SEEN.deaths_of_reapers);
                reaper.die();
                reap(&heir, &deaths);
            }
            died.then_some(reaper)
        })
    };
    let mut dead: Vec<Member> = others.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
    owner.close();
    dead.extend(workers.into_iter().filter_map(|thread| thread.join().unwrap()));
    lasting.join().unwrap();
    tell.send(None).expect("the reaper");
    dead.extend(reapers.join().unwrap());
    finish(&cast, &dead);
}

/// All is quiet: what the last of the dead left is run, and the pool is as at first.
fn finish(cast: &[Member], dead: &[Member]) {
    let (worker, owner) = (&cast[2], &cast[8]);
    let mut worker = Worker::new(worker.clone());
    worker.drain();
    owner.segment.life().flags.fetch_and(!(Bit::Closing as u32), AcqRel);
    check_end(&mut worker, owner, &dead.iter().collect::<Vec<_>>(), FRESH);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 17;
    config.silence_warnings = true;
    config
}

fn explore<S: Scheduler + 'static>(name: &str, scheduler: impl Fn(u64) -> S) {
    let (runs, first) = (number("TASKRING_SHUTTLE_RUNS", 50_000), number("TASKRING_SHUTTLE_SEED", 1));
    let mut done = 0;
    for seed in first..first + runs.div_ceil(RUNS_PER_SEED as u64) {
        let runner = Runner::new(scheduler(seed), config());
        let run = std::panic::AssertUnwindSafe(|| runner.run(pool));
        match std::panic::catch_unwind(run) {
            Ok(n) => done += n as u64,
            Err(panic) => {
                println!(
                    "{name}: it failed with seed {seed}: TASKRING_SHUTTLE_SEED={seed} TASKRING_SHUTTLE_RUNS=1, or replay the schedule"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    let seen = &*SEEN;
    println!(
        "{name}: {done} schedules; so far {} deaths, {} of reapers, {} discards with something to cancel, {} times full",
        seen.deaths.load(Relaxed),
        seen.deaths_of_reapers.load(Relaxed),
        seen.discards.load(Relaxed),
        seen.full.load(Relaxed)
    );
    assert!(done >= runs);
    assert!(seen.deaths.load(Relaxed) > runs / 10 && seen.deaths_of_reapers.load(Relaxed) > 0);
    assert!(seen.discards.load(Relaxed) > 0 && seen.full.load(Relaxed) > 0);
}

#[test]
fn on_random_schedules() {
    explore("random", |seed| RandomScheduler::new_from_seed(seed, RUNS_PER_SEED));
}

/// Few changes of priority at the worst moments: finds what needs one thread to be late by a lot.
#[test]
fn on_schedules_of_few_preemptions() {
    explore("pct", |seed| PctScheduler::new_from_seed(seed, 3 + (seed % 5) as usize, RUNS_PER_SEED));
}

#[test]
fn on_a_schedule_that_failed_before() {
    match std::env::var("TASKRING_SHUTTLE_REPLAY") {
        Ok(schedule) => {
            let scheduler = shuttle::scheduler::ReplayScheduler::new_from_encoded(&schedule);
            Runner::new(scheduler, config()).run(pool);
        }
        Err(_) => println!("nothing replayed: TASKRING_SHUTTLE_REPLAY names no schedule"),
    }
}
