//! Programs that know nothing of each other but a name: one makes the pool, others submit to it and work for it.

mod process_support;

use process_support::{
    Log, Program, Random, append, await_gate, hear, pid_alive, pool_file, say, shm_entries, unique, wait_until,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Orphans, StartMethod};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn own_pid() -> u32 { std::process::id() }
    fn hold(log: String, gate: String) {
        append(&log, "entered");
        await_gate(&gate);
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[
            ("owner", owner),
            ("worker", worker),
            ("submitter", submitter),
            ("holder", holder),
            ("makes and drops", makes_and_drops),
        ],
        &[
            ("one_program_makes_the_pool_another_submits_and_a_third_works", three_programs),
            ("the_owner_notices_at_once_when_an_attached_worker_or_submitter_is_killed", noticed_at_once),
            ("several_submitters_at_once_each_get_their_own_results", several_submitters),
            ("fault_30_attach_after_shutdown_says_so_and_later_that_there_is_no_pool", after_shutdown),
            ("names_are_checked", names),
            ("fault_36_a_living_pools_name_is_taken_and_a_dead_ones_is_free", dead_names),
            ("fault_31_temporaries_of_dead_creators_are_swept_and_others_left_alone", temporaries),
            ("fault_31_a_creator_killed_at_any_moment_leaves_nothing_in_the_way", killed_creators),
            ("fault_30_attach_races_with_create_and_destroy", races),
        ],
    );
}

/// Makes a pool that others work for, until it is let go.
fn owner(args: &[String]) {
    let pool = Executor::builder().start(StartMethod::None).create_named(&args[0]).expect("a pool");
    say("made");
    while let Some(order) = hear() {
        assert_eq!(order, "shut down");
        pool.shutdown(false, false).expect("shut down");
        say("shut down");
    }
}

fn worker(args: &[String]) {
    say("works");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

/// Submits so many squares of its own, and says their sum.
fn submitter(args: &[String]) {
    let [name, from, count] = args else { panic!("{args:?}") };
    let (from, count): (u64, u64) = (from.parse().expect("a number"), count.parse().expect("a number"));
    let pool = Executor::attach(name).expect("attached");
    let futures: Vec<_> = (from..from + count).map(|x| pool.submit(square, x).expect("submitted")).collect();
    let sum: u64 = futures.iter().map(|f| f.result().expect("a square")).sum();
    say(&sum.to_string());
    hear();
    assert_eq!(pool.submit(square, 2).map(|f| f.result()).map_err(|_| ()), Ok(Ok(4)));
}

/// Attaches and holds on, with a task that nobody runs and whose arguments take a payload block.
fn holder(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    let future = pool.submit(hold, ("x".repeat(1000), String::new())).expect("submitted");
    say("attached");
    hear();
    future.cancel();
    drop(pool);
}

/// How many payload blocks a pool has in use, seen without opening its file each time.
struct Blocks(*mut taskring::ffi::taskring_pool);

impl Blocks {
    fn of(name: &str) -> Blocks {
        let name = std::ffi::CString::new(name).expect("a name");
        let mut pool = std::ptr::null_mut();
        // SAFETY: a string, and a place for the handle.
        let status = unsafe { taskring::ffi::taskring_attach(name.as_ptr(), &raw mut pool) };
        assert_eq!(status, taskring::ffi::taskring_status::TASKRING_OK);
        Blocks(pool)
    }

    fn in_use(&self) -> u32 {
        // SAFETY: all zero is a value of the struct, for it has only numbers.
        let mut stats: taskring::ffi::taskring_stats = unsafe { std::mem::zeroed() };
        stats.struct_size = size_of_val(&stats) as u32;
        // SAFETY: a living handle, and a struct with its size set.
        let status = unsafe { taskring::ffi::taskring_pool_stats(self.0, &raw mut stats) };
        assert_eq!(status, taskring::ffi::taskring_status::TASKRING_OK);
        stats.blocks
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: a living handle that nobody else uses.
        unsafe { taskring::ffi::taskring_free(self.0) };
    }
}

/// Makes and drops named pools without end.
fn makes_and_drops(args: &[String]) {
    say("begins");
    loop {
        // A name of its own each time: what it leaves behind may be taken for a living pool while it is not waited for.
        drop(Executor::builder().start(StartMethod::None).capacity(8).create_named(&args[0]));
    }
}

fn attached_only(name: &str) -> Executor {
    Executor::builder().start(StartMethod::None).create_named(name).expect("a pool")
}

fn sum_of_squares(from: u64, count: u64) -> u64 {
    (from..from + count).map(|x| x * x).sum()
}

fn three_programs() {
    let name = unique("three");
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    let mut submitter = Program::start("submitter", &[&name, "5", "3000"]);
    let mut workers: Vec<_> = (0..2).map(|_| Program::start("worker", &[&name])).collect();
    workers.iter().for_each(|w| w.expect("works"));
    assert_eq!(submitter.numbers(), [sum_of_squares(5, 3000)]);
    let here = Executor::attach(&name).expect("attached");
    let pids: BTreeSet<u32> = workers.iter().map(Program::pid).collect();
    assert!(pids.contains(&here.submit(own_pid, ()).expect("submitted").result().expect("a pid")));
    wait_until("both workers are seen", || here.worker_pids().into_iter().collect::<BTreeSet<u32>>() == pids);
    wait_until("both are counted", || here.workers() == 2);
    submitter.end();
    owner.end();
    workers.iter_mut().for_each(Program::end);
    assert!(matches!(here.submit(square, 1).map(drop), Err(Error::ShutDown)));
    assert_eq!(shm_entries(&name), [""; 0], "the owner has taken the name away");
}

/// Long before the second after which everybody looks around: the owner holds their pidfds. For a second after the opening of the pool's file it looks
/// every ten milliseconds in any case, so each death comes later than that, and nobody opens the file meanwhile.
fn noticed_at_once() {
    const SOON: Duration = Duration::from_millis(400);
    const QUIET: Duration = Duration::from_millis(1200);
    let (name, log) = (unique("noticed"), Log::new());
    let builder = Executor::builder().start(StartMethod::None).orphans(Orphans::CancelPending);
    let pool = builder.create_named(&name).expect("a pool");
    let mut waits = Vec::new();
    for round in 0..3 {
        let mut worker = Program::start("worker", &[&name]);
        worker.expect("works");
        wait_until("the worker is seen", || pool.workers() == 1);
        let future = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
        wait_until("the task runs", || log.count("entered") == round + 1);
        let waiter = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| (future.result(), Instant::now()));
            // The waiting thread has had its first looks around; from now on it sleeps for a second at a time.
            std::thread::sleep(QUIET);
            let killed = Instant::now();
            worker.kill();
            let (result, at) = waiter.join().expect("it waits");
            assert!(matches!(result, Err(Error::WorkerLost { .. })), "{result:?}");
            at - killed
        });
        waits.push(waiter);
        wait_until("the dead one is counted no more", || pool.workers() == 0);
    }
    let mut holder = Program::start("holder", &[&name]);
    holder.expect("attached");
    // It holds a payload block, which is free again when it is found dead.
    let blocks = Blocks::of(&name);
    assert_eq!(blocks.in_use(), 1);
    std::thread::sleep(QUIET);
    let killed = Instant::now();
    holder.kill();
    wait_until("the submitter's block is free", || blocks.in_use() == 0);
    waits.push(killed.elapsed());
    println!("noticed after {waits:?}");
    assert!(waits.iter().all(|&wait| wait < SOON), "{waits:?}");
}

fn several_submitters() {
    const EACH: u64 = 1500;
    let name = unique("several");
    let pool = Executor::builder().workers(2).capacity(64).create_named(&name).expect("a pool");
    // More than there are lanes: the last ones share.
    let mut submitters: Vec<_> =
        (0..20).map(|i| Program::start("submitter", &[&name, &(i * EACH).to_string(), &EACH.to_string()])).collect();
    let own = pool.submit_bulk(square, 0..EACH).expect("submitted");
    for (i, submitter) in submitters.iter().enumerate() {
        assert_eq!(submitter.numbers(), [sum_of_squares(i as u64 * EACH, EACH)], "submitter {i}");
    }
    assert_eq!(own.iter().map(|f| f.result().expect("a square")).sum::<u64>(), sum_of_squares(0, EACH));
    submitters.iter_mut().for_each(Program::end);
    let view = taskring::inspect(&name).expect("a look");
    assert_eq!(view.participants.iter().filter(|p| p.role == "submitter").count(), 0, "{view}");
}

fn after_shutdown() {
    let (name, log) = (unique("after-shutdown"), Log::new());
    let pool = Executor::builder().workers(1).create_named(&name).expect("a pool");
    let before = Executor::attach(&name).expect("attached");
    let held = before.submit(hold, (log.path(), log.gate())).expect("submitted");
    wait_until("the task runs", || log.count("entered") == 1);
    pool.shutdown(false, false).expect("shut down");
    assert_eq!(Executor::attach(&name).map(drop), Err(Error::ShutDown));
    assert_eq!(taskring::work(&name), Err(Error::ShutDown));
    assert_eq!(before.submit(square, 1).map(drop), Err(Error::ShutDown));
    assert!(taskring::inspect(&name).is_ok_and(|view| view.life == "closing"), "it can still be looked at");
    log.open_gate();
    assert_eq!(held.result(), Ok(()), "what was submitted before is done");
    pool.shutdown(true, false).expect("shut down");
    let gone = Error::NotFound { name: name.clone() };
    assert_eq!(Executor::attach(&name).map(drop), Err(gone.clone()));
    assert_eq!(taskring::work(&name), Err(gone.clone()));
    assert_eq!(taskring::inspect(&name).map(drop), Err(gone));
    assert_eq!(before.submit(square, 1).map(drop), Err(Error::ShutDown));
    assert_eq!(shm_entries(&name), [""; 0]);
}

fn names() {
    let long = "n".repeat(65);
    for bad in ["", "a/b", "/a", "../a", "a b", "a\0b", "ä", long.as_str()] {
        let is_refused = |result: Result<(), Error>| match result {
            Err(Error::InvalidArgument { name, value, .. }) => name == "the pool's name" && value == format!("{bad:?}"),
            _ => false,
        };
        assert!(is_refused(Executor::create_named(bad).map(drop)), "{bad:?}");
        assert!(is_refused(Executor::attach(bad).map(drop)), "{bad:?}");
        assert!(is_refused(taskring::work(bad)), "{bad:?}");
        assert!(is_refused(taskring::inspect(bad).map(drop)), "{bad:?}");
        assert!(is_refused(taskring::remove_dead(bad).map(drop)), "{bad:?}");
    }
    let longest = format!("{:n<64}", unique("long"));
    for good in [longest.as_str(), "..test", "A-Z_0.9"] {
        let pool = attached_only(good);
        assert!(Executor::attach(good).is_ok());
        drop(pool);
        assert_eq!(Executor::attach(good).map(drop), Err(Error::NotFound { name: good.to_owned() }));
        assert_eq!(taskring::remove_dead(good), Ok(false));
    }
}

fn dead_names() {
    let name = unique("dead");
    let exists = Err(Error::Exists { name: name.clone() });
    let make = || Executor::builder().start(StartMethod::None).create_named(&name).map(drop);
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    assert_eq!(make(), exists, "the owner lives");
    assert_eq!(taskring::remove_dead(&name).map(drop), exists);
    let mut worker = Program::start("worker", &[&name]);
    let mut holder = Program::start("holder", &[&name]);
    worker.expect("works");
    holder.expect("attached");
    owner.kill();
    assert_eq!(make(), exists, "a submitter lives");
    holder.kill();
    assert_eq!(make(), exists, "a worker lives");
    worker.kill();
    assert!(pool_file(&name).exists());
    assert_eq!(make(), Ok(()), "a dead pool's name is free");

    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    owner.kill();
    assert_eq!(taskring::remove_dead(&name), Ok(true));
    assert_eq!(shm_entries(&name), [""; 0]);

    // Attaching to a dead pool works, for it might have work; but nobody does it.
    let mut owner = Program::start("owner", &[&name]);
    owner.expect("made");
    owner.kill();
    let builder = Executor::builder().workers(1).create_named(&name).expect("a pool in the place of the dead one");
    let late = Executor::attach(&name).expect("attached");
    assert_eq!(late.submit(square, 3).expect("submitted").result(), Ok(9));
    drop(builder);
}

fn temporaries() {
    // A number that no process has.
    let dead = (2..32_768).rev().find(|&pid| !pid_alive(pid) && std::fs::metadata(format!("/proc/{pid}")).is_err());
    let dead = dead.expect("a free number");
    let random = format!("{:016x}", Instant::now().elapsed().as_nanos() as u64 + u64::from(std::process::id()));
    let path = |pid: u32| pool_file("x").with_file_name(format!("taskring-new.{pid}.{random}"));
    let (of_dead, of_living) = (path(dead), path(std::process::id()));
    let foreign = process_support::is_root("a temporary of another user").then(|| path(dead).with_extension("ffff"));
    for file in [&of_dead, &of_living].into_iter().chain(&foreign) {
        std::fs::write(file, b"half a pool").expect("a file");
    }
    if let Some(file) = &foreign {
        std::os::unix::fs::chown(file, Some(65_534), None).expect("another owner");
    }
    drop(attached_only(&unique("sweeper")));
    let left = [of_dead.exists(), of_living.exists(), foreign.as_ref().is_none_or(|f| f.exists())];
    for file in [&of_dead, &of_living].into_iter().chain(&foreign) {
        let _ = std::fs::remove_file(file);
    }
    assert_eq!(left, [false, true, true], "of a dead creator, of a living one, of another user");
}

fn killed_creators() {
    let mut random = Random::new();
    for round in 0..30 {
        let name = unique("creator");
        let mut creator = Program::start("makes and drops", &[&name]);
        creator.expect("begins");
        std::thread::sleep(Duration::from_micros(random.below(5000)));
        let pid = creator.pid();
        creator.kill();
        let pool = attached_only(&name);
        assert!(Executor::attach(&name).is_ok(), "round {round}");
        assert_eq!(shm_entries(&format!("taskring-new.{pid}.")), [""; 0], "round {round}");
        drop(pool);
        assert_eq!(shm_entries(&name), [""; 0], "round {round}");
    }
}

fn races() {
    let name = unique("race");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut attached, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Sizes differ, so that one pool's size with another one's file would show.
                let builder = Executor::builder().start(StartMethod::None).capacity(8 << (rounds % 3)).payload_max(1 << 20);
                let pool = builder.create_named(&name).unwrap_or_else(|e| panic!("round {rounds}: {e}"));
                if rounds % 2 == 0 {
                    std::thread::sleep(Duration::from_micros(rounds % 300));
                }
                drop(pool);
                rounds += 1;
            }
            rounds
        });
        let (start, mut wrong) = (Instant::now(), None);
        // A pool is there for a small part of the time: goes on until enough have met one.
        let is_enough = |attached: i32| start.elapsed() > Duration::from_secs(if attached > 10 { 3 } else { 30 });
        while !is_enough(attached) && !maker.is_finished() && wrong.is_none() {
            match Executor::attach(&name) {
                Ok(pool) => {
                    attached += 1;
                    match pool.try_submit(square, 1) {
                        Ok(future) => drop(future.cancel()),
                        Err(Error::ShutDown) => {}
                        Err(e) => wrong = Some(format!("submit: {e:?}")),
                    }
                }
                Err(Error::NotFound { .. } | Error::ShutDown) => refused += 1,
                Err(e) => wrong = Some(format!("attach: {e:?}")),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        println!("{} pools, {attached} attached, {refused} came too early or late", maker.join().expect("the maker"));
        assert_eq!(wrong, None);
    });
    assert!(attached > 10 && refused > 10);
    assert_eq!(shm_entries(&name), [""; 0]);
}
