//! A worker dies: idle, running a task, or between two; killed from outside or by its own task.

mod process_support;

use process_support::{
    LIMIT, Log, Random, TEST_SECONDS, append, await_gate, kill, pid_alive, signal, unique, wait_until, wait_within, watchdog,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Future, OnWorkerDeath, Stage, State, SubmitOptions};

taskring::test_support!();

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    /// Sleeps, and tells who ran it.
    fn nap(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::id()
    }
    /// Notes that it was entered, then waits for the gate.
    fn hold(log: String, gate: String) -> u32 {
        append(&log, &format!("entered {}", taskring::task::attempt()));
        await_gate(&gate);
        std::process::id()
    }
    /// Notes its number, and returns it.
    fn note(log: String, number: u64) -> u64 {
        append(&log, &number.to_string());
        number
    }
    /// Dies in its first `deaths` attempts; then says which attempt it is.
    fn die_then_live(log: String, deaths: u32) -> u32 {
        let attempt = taskring::task::attempt();
        append(&log, &format!("attempt {attempt}"));
        if attempt < deaths {
            end_by("kill");
        }
        attempt
    }
    fn end(how: String) -> u32 { end_by(&how) }
    /// Closes every descriptor but the standard ones, then works on.
    fn close_everything() -> u32 {
        // SAFETY: the call takes three integers. What it closes belongs to this worker, which is meant to suffer for it.
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) };
        std::process::id()
    }
}

/// Ends this process.
fn end_by(how: &str) -> u32 {
    match how {
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        "abort" => std::process::abort(),
        "overflow" => dig(0) as u32,
        "segv" => {
            // SAFETY: a private mapping that nobody else uses.
            let page = unsafe {
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
            };
            // SAFETY: none: the page cannot be written to, and the signal for it is what is wanted.
            unsafe { page.cast::<u8>().write_volatile(1) };
            unreachable!("the page was written to")
        }
        _ => {
            kill(std::process::id());
            unreachable!("killed")
        }
    }
}

/// Calls itself until the stack is used up.
#[allow(unconditional_recursion, reason = "that is its purpose")]
fn dig(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 128]);
    dig(depth + 1) + std::hint::black_box(room)[3]
}

fn pool(workers: usize) -> Executor {
    Executor::builder().workers(workers).capacity(64).build().expect("a pool")
}

/// The pids of all workers, each of which has just run a task.
fn ready_workers(pool: &Executor, count: usize) -> BTreeSet<u32> {
    let start = Instant::now();
    loop {
        let naps: Vec<Future<u32>> = (0..count).map(|_| pool.submit(nap, 30).expect("submitted")).collect();
        let pids: BTreeSet<u32> = naps.iter().map(|n| n.result().expect("a nap")).collect();
        if pids.len() == count {
            return pids;
        }
        assert!(start.elapsed() < LIMIT, "{count} workers never ran at the same time: {pids:?}");
    }
}

/// Waits until a task that writes to the log has been entered, and says by whom.
fn running<R>(future: &Future<R>, log: &Log) -> u32 {
    wait_until("the task is entered", || log.count("entered 0") == 1);
    assert_eq!(future.state(), State::Running);
    future.worker_pid().expect("somebody runs it")
}

fn lost(pid: u32, cause: Cause) -> Error {
    Error::WorkerLost { pid, name: None, cause, stage: Stage::MayHaveRun }
}

/// The result without the name of a lost worker: which process has which name is not known here.
fn nameless<R>(result: Result<R, Error>) -> Result<R, Error> {
    result.map_err(|error| match error {
        Error::WorkerLost { pid, cause, stage, .. } => Error::WorkerLost { pid, name: None, cause, stage },
        other => other,
    })
}

const KILLED: Cause = Cause::Signal(libc::SIGKILL);

/// The pool can do twice its capacity of work.
fn assert_works(pool: &Executor) {
    let squares = pool.submit_bulk(square, 0..2 * pool.capacity() as u64).expect("submitted");
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
}

#[test]
fn fault_01_an_idle_worker_that_is_killed_is_replaced_and_no_task_is_affected() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(2);
    for _ in 0..3 {
        let before = ready_workers(&pool, 2);
        let victim = *before.first().expect("two workers");
        kill(victim);
        let squares = pool.submit_bulk(square, 0..50).expect("submitted");
        for (x, future) in squares.iter().enumerate() {
            assert_eq!(future.result(), Ok((x * x) as u64));
        }
        wait_until("a new worker", || {
            let pids = pool.worker_pids();
            pids.len() == 2 && !pids.contains(&victim)
        });
        let after = ready_workers(&pool, 2);
        assert!(!after.contains(&victim) && before.intersection(&after).count() == 1, "{before:?} {after:?}");
    }
}

/// A worker that has nothing to do leaves at about the time when it is killed, and when the next task comes.
#[test]
fn fault_01_a_worker_killed_while_it_leaves_because_it_is_idle_takes_nothing_with_it() {
    let _watchdog = watchdog(TEST_SECONDS);
    let builder = Executor::builder().workers(2).min_workers(0).idle_timeout(Duration::from_millis(1));
    let pool = builder.capacity(8).build().expect("a pool");
    let mut random = Random::new();
    let mut lost_some = 0;
    for round in 0..150 {
        let worker = pool.submit(nap, 0).expect("submitted").result().expect("a nap");
        std::thread::sleep(Duration::from_micros(random.below(2500)));
        let before = (round % 2 == 0).then(|| pool.submit(nap, 0).expect("submitted"));
        kill(worker);
        let after = pool.submit(nap, 0).expect("submitted");
        assert_ne!(after.result().expect("somebody else came"), worker, "round {round}");
        match before.map(|future| future.result()) {
            Some(lost_it @ Err(_)) => {
                assert_eq!(nameless(lost_it), Err(lost(worker, KILLED)));
                lost_some += 1;
            }
            other => assert!(other.is_none_or(|ended| ended.is_ok())),
        }
    }
    println!("{lost_some} tasks were lost with their workers");
    assert_works(&pool);
    wait_until("all have left", || pool.worker_pids().is_empty());
}

/// One of a pool with workers on demand that is stopped when it is free counts as one that will take the task, but not for long.
#[test]
fn fault_11_a_free_worker_that_is_stopped_keeps_nobody_from_coming() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = Executor::builder().workers(2).min_workers(0).build().expect("a pool");
    let stopped = pool.submit(nap, 0).expect("submitted").result().expect("a nap");
    signal(stopped, libc::SIGSTOP);
    let start = Instant::now();
    let other = pool.submit(nap, 0).expect("submitted").result().expect("somebody else came");
    assert!(other != stopped && start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(pool.worker_pids().len(), 2);
    signal(stopped, libc::SIGCONT);
    assert_works(&pool);
}

/// A stopped worker is not a dead one: nothing is taken from it, nobody waits for it but who wants its task, and it goes on where it was.
#[test]
fn fault_11_a_stopped_worker_keeps_its_task_and_the_others_go_on() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(2);
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let stopped = running(&held, &log);
    signal(stopped, libc::SIGSTOP);
    log.open_gate();
    let squares = pool.submit_bulk(square, 0..200).expect("submitted");
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
    // Longer than anybody sleeps without looking around.
    let timed_out = held.result_timeout(Duration::from_secs(3));
    assert!(matches!(timed_out, Err(Error::TimedOut { .. })), "{timed_out:?}");
    assert_eq!((held.state(), held.worker_pid()), (State::Running, Some(stopped)));
    assert!(pool.worker_pids().contains(&stopped));
    signal(stopped, libc::SIGCONT);
    assert_eq!(held.result(), Ok(stopped));
    assert_eq!(log.lines(), ["entered 0"], "it ran once");
}

#[test]
fn fault_04_the_task_of_a_killed_worker_gets_its_verdict_and_nothing_else_is_affected() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(2);
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let squares = pool.submit_bulk(square, 0..40).expect("submitted");
    let victim = running(&held, &log);
    kill(victim);
    let start = Instant::now();
    assert_eq!(nameless(held.result()), Err(lost(victim, KILLED)));
    assert!(start.elapsed() < Duration::from_secs(1), "the verdict took {:?}", start.elapsed());
    assert_eq!(nameless(held.result()), Err(lost(victim, KILLED)), "asked again");
    assert_eq!((held.state(), held.worker_pid()), (State::Done, Some(victim)));
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
    assert!(!ready_workers(&pool, 2).contains(&victim));
    assert_works(&pool);
    assert_eq!(log.lines(), ["entered 0"], "it was not run again");
}

#[test]
fn fault_33_all_workers_killed_at_once_give_a_verdict_each_and_pending_tasks_run() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(4);
    let workers = ready_workers(&pool, 4);
    let logs: Vec<Log> = (0..4).map(|_| Log::new()).collect();
    let held: Vec<_> = logs.iter().map(|l| pool.submit(hold, (l.path(), l.gate())).expect("submitted")).collect();
    let pids: Vec<u32> = held.iter().zip(&logs).map(|(future, log)| running(future, log)).collect();
    assert_eq!(pids.iter().copied().collect::<BTreeSet<u32>>(), workers);
    let squares = pool.submit_bulk(square, 0..40).expect("submitted");
    workers.iter().for_each(|&pid| kill(pid));
    for (future, pid) in held.iter().zip(pids) {
        assert_eq!(nameless(future.result()), Err(lost(pid, KILLED)));
    }
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
    assert!(ready_workers(&pool, 4).is_disjoint(&workers));
}

#[test]
fn workers_killed_while_work_flows_lose_what_they_ran_and_nothing_twice() {
    let _watchdog = watchdog(TEST_SECONDS);
    const KILLS: usize = 25;
    let mut random = Random::new();
    let pool = pool(2);
    let log = Log::new();
    let mut futures: Vec<(u64, Future<u64>)> = Vec::new();
    let mut killed = BTreeSet::new();
    let mut next = 0;
    while killed.len() < KILLS {
        // Only a worker that has run a task is killed: one that has not attached yet would count as a failed start.
        let pid = pool.submit(nap, 0).expect("submitted").result();
        for _ in 0..1 + random.below(60) {
            futures.push((next, pool.submit(note, (log.path(), next)).expect("submitted")));
            next += 1;
        }
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        // The worker may have been killed in the round before, before its nap.
        if let Ok(pid) = pid
            && pid_alive(pid)
            && killed.insert(pid)
        {
            kill(pid);
        }
    }
    let mut entered: BTreeMap<u64, usize> = BTreeMap::new();
    let mut losses: BTreeMap<u32, usize> = BTreeMap::new();
    let results: Vec<_> = futures.iter().map(|(number, future)| (*number, future.result())).collect();
    log.lines().iter().for_each(|line| *entered.entry(line.parse().expect("a number")).or_default() += 1);
    for (number, result) in results {
        let times = entered.get(&number).copied().unwrap_or(0);
        match result {
            Ok(value) => assert_eq!((value, times), (number, 1)),
            Err(Error::WorkerLost { pid, cause, stage, .. }) => {
                assert_eq!(cause, KILLED, "of task {number}");
                assert!(killed.contains(&pid), "{pid} was not killed");
                assert!(
                    times <= 1 && (stage == Stage::MayHaveRun || times == 1),
                    "{number}: {stage:?}, entered {times} times"
                );
                *losses.entry(pid).or_default() += 1;
            }
            Err(e) => panic!("task {number}: {e}"),
        }
    }
    assert!(losses.values().all(|&n| n == 1), "a worker loses one task at most: {losses:?}");
    println!("{next} tasks, {KILLS} kills, {} losses", losses.len());
    assert_works(&pool);
}

#[test]
fn an_idempotent_task_is_run_again_as_attempt_1() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(2);
    let log = Log::new();
    let again = SubmitOptions::new().idempotent(true);
    assert_eq!(pool.submit_with(&again, die_then_live, (log.path(), 1)).expect("submitted").result(), Ok(1));
    assert_eq!(log.lines(), ["attempt 0", "attempt 1"]);

    let log = Log::new();
    let once = again.clone().attempts_max(1);
    let result = pool.submit_with(&once, die_then_live, (log.path(), 1)).expect("submitted").result();
    assert!(matches!(result, Err(Error::WorkerLost { cause: KILLED, stage: Stage::MayHaveRun, .. })), "{result:?}");
    assert_eq!(log.lines(), ["attempt 0"]);

    let log = Log::new();
    let held = pool.submit_with(&again, hold, (log.path(), log.gate())).expect("submitted");
    let victim = running(&held, &log);
    kill(victim);
    wait_until("the second attempt", || log.count("entered 1") == 1);
    assert_ne!(held.worker_pid(), Some(victim));
    log.open_gate();
    assert_ne!(held.result().expect("the second attempt's result"), victim);
}

#[test]
fn fault_04_with_retry_a_task_is_run_again_until_it_has_killed_two_workers() {
    let _watchdog = watchdog(TEST_SECONDS);
    let attempts = |policy, kills_max, deaths| {
        let pool = Executor::builder().workers(1).on_worker_death(policy).kills_max(kills_max).build().expect("a pool");
        let log = Log::new();
        let result = pool.submit(die_then_live, (log.path(), deaths)).expect("submitted").result();
        (log.lines().len(), result.map_err(|e| matches!(e, Error::WorkerLost { cause: KILLED, .. })))
    };
    assert_eq!(attempts(OnWorkerDeath::Retry(1), 2, 1), (2, Ok(1)));
    assert_eq!(attempts(OnWorkerDeath::Retry(9), 2, 9), (2, Err(true)), "max_kills wins over n");
    assert_eq!(attempts(OnWorkerDeath::Retry(9), 4, 9), (4, Err(true)));
    assert_eq!(attempts(OnWorkerDeath::Retry(2), 9, 9), (3, Err(true)), "n wins when it is less");
    assert_eq!(attempts(OnWorkerDeath::Retry(0), 9, 9), (1, Err(true)));

    let pool = Executor::builder().workers(1).on_worker_death(OnWorkerDeath::Retry(3)).build().expect("a pool");
    let log = Log::new();
    let never = SubmitOptions::new().idempotent(false);
    let result = pool.submit_with(&never, die_then_live, (log.path(), 1)).expect("submitted").result();
    assert!(matches!(result, Err(Error::WorkerLost { .. })), "the task said no: {result:?}");
    assert_eq!(log.lines(), ["attempt 0"]);
}

#[test]
fn break_pool_fails_every_pending_task_and_every_later_submit() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = Executor::builder().workers(1).on_worker_death(OnWorkerDeath::BreakPool).build().expect("a pool");
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let pending = pool.submit_bulk(square, 0..20).expect("submitted");
    let victim = running(&held, &log);
    kill(victim);
    assert_eq!(nameless(held.result()), Err(lost(victim, KILLED)));
    for future in &pending {
        assert!(matches!(future.result(), Err(Error::Broken { .. })), "{future:?}");
    }
    let refused = pool.submit(square, 1).map(|f| f.result());
    assert!(matches!(refused, Err(Error::Broken { .. })), "{refused:?}");
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < Duration::from_secs(3), "the drop took {:?}", start.elapsed());
}

#[test]
fn a_task_that_ends_its_process_is_a_death_with_that_cause() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(1);
    let causes: [(&str, &[Cause]); 6] = [
        ("exit 0", &[Cause::Exit(0)]),
        ("exit 3", &[Cause::Exit(3)]),
        ("abort", &[Cause::Signal(libc::SIGABRT)]),
        ("segv", &[Cause::Signal(libc::SIGSEGV)]),
        // The standard library, where it was started before us, turns the fault into a message and an abort.
        ("overflow", &[Cause::Signal(libc::SIGSEGV), Cause::Signal(libc::SIGABRT)]),
        ("kill", &[KILLED]),
    ];
    for (how, wanted) in causes {
        let worker = *ready_workers(&pool, 1).first().expect("one worker");
        match pool.submit(end, how.to_owned()).expect("submitted").result() {
            Err(Error::WorkerLost { pid, cause, stage: Stage::MayHaveRun, .. }) => {
                assert_eq!(pid, worker, "{how}");
                assert!(wanted.contains(&cause), "{how}: {cause:?}");
            }
            other => panic!("{how}: {other:?}"),
        }
    }
    assert_works(&pool);
}

#[test]
fn fault_20_a_worker_whose_task_closed_every_descriptor_is_killed_and_replaced() {
    let _watchdog = watchdog(TEST_SECONDS);
    let pool = pool(1);
    let worker = *ready_workers(&pool, 1).first().expect("one worker");
    let _ = pool.submit(close_everything, ()).expect("submitted").result();
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    wait_within(Duration::from_secs(3), "the worker cannot prove that it lives, and is killed", || !pid_alive(worker));
    log.open_gate();
    match held.result() {
        Err(Error::WorkerLost { pid, cause, .. }) => assert_eq!((pid, cause), (worker, KILLED)),
        // It was killed before it began with this one.
        Ok(pid) => assert_ne!(pid, worker),
        Err(e) => panic!("{e}"),
    }
    assert!(!ready_workers(&pool, 1).contains(&worker));
    assert_works(&pool);
}

#[test]
fn a_map_goes_on_over_the_deaths_of_its_workers() {
    let _watchdog = watchdog(TEST_SECONDS);
    let builder = Executor::builder().workers(2).on_worker_death(OnWorkerDeath::Retry(1));
    let pool = builder.create_named(&unique("map")).expect("a pool");
    let mut victims = ready_workers(&pool, 2).into_iter();
    let mut seen = 0;
    for (x, result) in pool.map(square, 0..400).expect("a map").enumerate() {
        assert_eq!(result, Ok((x * x) as u64));
        if seen % 150 == 75
            && let Some(victim) = victims.next()
        {
            kill(victim);
        }
        seen += 1;
    }
    assert_eq!((seen, victims.next()), (400, None));
}
