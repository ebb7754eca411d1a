//! The owner of a pool ends: by returning from `main`, by `exit`, or by a SIGKILL.

mod process_support;

use process_support::{
    LIMIT, Log, Program, append, await_gate, children_of, hear, kill, pid_alive, pool_file, say, shm_entries, unique,
    wait_until, wait_within,
};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use taskring::{Builder, Error, Executor, Stage, StartMethod};

taskring::task! {
    fn note(log: String, line: String, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
        append(&log, &line);
    }
    /// Notes that it was entered, waits for the gate, notes that it ends.
    fn hold(log: String, gate: String) {
        append(&log, "entered");
        await_gate(&gate);
        append(&log, "left");
    }
    fn own_pid() -> u32 { std::process::id() }
}

fn main() {
    taskring::init();
    process_support::main(
        &[
            ("returns", returns),
            ("exits", exits),
            ("panics", panics),
            ("shuts down", shuts_down),
            ("two pools", two_pools),
            ("limited", limited),
            ("detached", detached),
            ("owner", owner),
            ("demanding", demanding),
            ("submitter", submitter),
        ],
        &[
            ("returning_from_main_waits_for_everything_submitted", wait_on_return),
            ("exit_waits_for_everything_submitted_and_keeps_its_code", wait_on_exit),
            ("a_panic_in_main_waits_for_everything_submitted", wait_on_panic),
            ("the_end_waits_also_after_a_shutdown_that_does_not", wait_after_shutdown),
            ("the_end_waits_for_every_pool", wait_for_both),
            ("exit_wait_max_bounds_the_wait_and_ends_the_workers", bounded),
            ("detach_on_exit_does_not_wait_and_lets_running_tasks_end", not_waited_for),
            ("fault_09_an_anonymous_pools_workers_go_when_the_owner_is_killed", anonymous_killed),
            ("an_idle_anonymous_pools_workers_go_when_the_owner_is_killed", idle_killed),
            ("fault_09_a_named_pools_workers_go_on_while_work_is_queued", named_killed),
            ("a_named_pools_workers_stay_while_a_submitter_is_attached", submitter_stays),
            ("fault_09_who_has_come_on_demand_stays_without_an_owner_and_nobody_else_comes", on_demand),
            ("fault_09_without_an_owner_others_settle_a_dead_workers_task", nobody_supervises),
        ],
    );
}

/// A pool that nobody drops.
static POOL: OnceLock<Executor> = OnceLock::new();

fn kept(builder: Builder) -> &'static Executor {
    POOL.get_or_init(|| builder.build().expect("a pool"))
}

fn submit_notes(pool: &Executor, log: &str, count: u64, ms: u64) {
    for n in 0..count {
        pool.submit(note, (log.to_owned(), n.to_string(), ms)).expect("submitted").detach();
    }
}

fn returns(args: &[String]) {
    submit_notes(kept(Executor::builder().workers(2)), &args[0], 20, 20);
    say("returns");
}

fn exits(args: &[String]) {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    submit_notes(&pool, &args[0], 20, 20);
    say("exits");
    std::process::exit(7);
}

fn panics(args: &[String]) {
    submit_notes(kept(Executor::builder().workers(2)), &args[0], 20, 20);
    say("panics");
    std::panic::set_hook(Box::new(|_| {}));
    panic!("as it shall");
}

fn shuts_down(args: &[String]) {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    submit_notes(&pool, &args[0], 20, 20);
    let start = Instant::now();
    pool.shutdown(false, false).expect("shut down");
    drop(pool);
    assert!(start.elapsed() < Duration::from_millis(150), "it does not wait, {:?}", start.elapsed());
    say("returns");
}

fn two_pools(args: &[String]) {
    submit_notes(kept(Executor::builder().workers(1)), &args[0], 10, 20);
    let second = Executor::builder().workers(1).start(StartMethod::Thread).build().expect("a pool");
    submit_notes(&second, &args[1], 10, 20);
    second.shutdown(false, false).expect("shut down");
    say("returns");
}

fn method(name: &str) -> StartMethod {
    match name {
        "spawn" => StartMethod::Spawn,
        "fork" => StartMethod::Fork,
        _ => StartMethod::ForkServer,
    }
}

/// Its tasks would take for ever.
fn limited(args: &[String]) {
    let [log, gate, how] = args else { panic!("{args:?}") };
    let builder = Executor::builder().workers(2).start(method(how)).exit_wait_max(Duration::from_millis(300));
    let pool = kept(builder);
    (0..6).for_each(|_| pool.submit(hold, (log.clone(), gate.clone())).expect("submitted").detach());
    wait_until("both workers are busy", || std::fs::read_to_string(log).is_ok_and(|t| t.lines().count() == 2));
    say_pids(pool);
}

/// Says the workers' pids, once the owner knows them all: a forked worker may run a task before it does.
fn say_pids(pool: &Executor) {
    wait_until("the pids of all workers", || pool.worker_pids().len() == pool.workers());
    say(&pool.worker_pids().iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
}

fn detached(args: &[String]) {
    let [log, gate] = args else { panic!("{args:?}") };
    let pool = kept(Executor::builder().workers(1).detach_on_exit(true));
    (0..3).for_each(|_| pool.submit(hold, (log.clone(), gate.clone())).expect("submitted").detach());
    wait_until("the worker is busy", || std::fs::read_to_string(log).is_ok_and(|t| t.lines().count() == 1));
    say_pids(pool);
}

/// A pool whose workers come on demand and leave soon; runs so many tasks at a time, says by whom, and waits to be killed.
fn demanding(args: &[String]) {
    let [name, tasks] = args else { panic!("{args:?}") };
    let builder = Executor::builder().workers(2).min_workers(0).idle_timeout(Duration::from_millis(400));
    let pool = builder.create_named(name).expect("a pool");
    let tasks: usize = tasks.parse().expect("a number");
    let ran = pool.submit_bulk(own_pid, vec![(); tasks]).expect("submitted");
    let pids: Vec<_> = ran.iter().map(|future| future.result().expect("a pid").to_string()).collect();
    say(&pids.join(" "));
    hear();
}

/// Runs a held task and has others pending, until it is killed. Without a log: idle. With a name: a named pool.
fn owner(args: &[String]) {
    let builder = Executor::builder().workers(2);
    let name = args.first().filter(|name| !name.is_empty());
    let pool = match name {
        Some(name) => builder.create_named(name),
        None => builder.build(),
    };
    let pool = pool.expect("a pool");
    // Many short tasks before the long ones: a worker must not conclude from them how often to look after its owner.
    for _ in 0..30 {
        pool.submit_bulk(own_pid, vec![(); 100]).expect("submitted").iter().for_each(|f| assert!(f.result().is_ok()));
    }
    if let [_, log, gate, count] = args {
        (0..2).for_each(|_| pool.submit(hold, (log.clone(), gate.clone())).expect("submitted").detach());
        wait_until("both are busy", || std::fs::read_to_string(log).is_ok_and(|t| t.lines().count() == 2));
        submit_notes(&pool, log, count.parse().expect("a number"), 20);
    }
    say_pids(&pool);
    hear();
}

/// Uses a pool whose owner is gone.
fn submitter(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("attached");
    let pid = pool.submit(own_pid, ()).expect("submitted").result().expect("a worker ran it");
    say(&pid.to_string());
    hear();
}

fn numbers(log: &Log) -> Vec<u64> {
    let mut numbers: Vec<u64> = log.lines().iter().filter_map(|l| l.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Runs a role to its end, after which all its tasks have run.
fn ends_with_all_done(role: &str, said: &str, code: i32) {
    let log = Log::new();
    let mut program = Program::start(role, &[&log.path()]);
    program.expect(said);
    let status = program.end_within(LIMIT);
    // At this very moment, not a little later.
    assert_eq!(numbers(&log), (0..20).collect::<Vec<u64>>());
    assert_eq!(status.code(), Some(code), "{status}");
}

fn wait_on_return() {
    ends_with_all_done("returns", "returns", 0);
}

fn wait_on_exit() {
    ends_with_all_done("exits", "exits", 7);
}

fn wait_on_panic() {
    ends_with_all_done("panics", "panics", 101);
}

fn wait_after_shutdown() {
    ends_with_all_done("shuts down", "returns", 0);
}

fn wait_for_both() {
    let (first, second) = (Log::new(), Log::new());
    let mut program = Program::start("two pools", &[&first.path(), &second.path()]);
    program.expect("returns");
    program.end();
    assert_eq!((numbers(&first), numbers(&second)), ((0..10).collect(), (0..10).collect()));
}

fn pids(program: &Program) -> Vec<u32> {
    program.numbers().into_iter().map(|pid| pid as u32).collect()
}

fn bounded() {
    for how in ["spawn", "fork", "forkserver"] {
        let log = Log::new();
        let mut program = Program::start("limited", &[&log.path(), &log.gate(), how]);
        let workers = pids(&program);
        assert_eq!(workers.len(), 2, "{how}");
        let start = Instant::now();
        let status = program.end_within(Duration::from_secs(3));
        assert!(status.success(), "{how}: {status}");
        assert!(start.elapsed() > Duration::from_millis(100), "{how}: it waited {:?}", start.elapsed());
        wait_within(Duration::from_secs(2), &format!("{how}: the workers are ended"), || {
            !workers.iter().any(|&pid| pid_alive(pid))
        });
        assert_eq!(log.lines(), ["entered", "entered"], "{how}");
    }
}

fn not_waited_for() {
    let log = Log::new();
    let mut program = Program::start("detached", &[&log.path(), &log.gate()]);
    let workers = pids(&program);
    let status = program.end_within(Duration::from_secs(1));
    assert!(status.success(), "{status}");
    // Longer than a worker needs to see that the owner is gone.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(workers.iter().all(|&pid| pid_alive(pid)), "the worker finishes its task");
    log.open_gate();
    wait_within(Duration::from_secs(2), "the worker goes", || !workers.iter().any(|&pid| pid_alive(pid)));
    assert_eq!(log.lines(), ["entered", "left"], "the running task ended, the pending ones never began");
}

fn anonymous_killed() {
    let log = Log::new();
    let mut program = Program::start("owner", &["", &log.path(), &log.gate(), "5"]);
    let workers = pids(&program);
    program.kill();
    // Longer than a worker needs to see that the owner is gone.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(workers.iter().all(|&pid| pid_alive(pid)), "the running tasks go on");
    log.open_gate();
    wait_within(Duration::from_secs(2), "the workers go", || !workers.iter().any(|&pid| pid_alive(pid)));
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["entered", "entered", "left", "left"], "the pending ones never began");
}

fn idle_killed() {
    let mut program = Program::start("owner", &[""]);
    let workers = pids(&program);
    assert_eq!(workers.len(), 2);
    program.kill();
    wait_within(Duration::from_secs(2), "the workers go", || !workers.iter().any(|&pid| pid_alive(pid)));
}

fn named_killed() {
    let (name, log) = (unique("owner-killed"), Log::new());
    let mut program = Program::start("owner", &[&name, &log.path(), &log.gate(), "40"]);
    let workers = pids(&program);
    program.kill();
    let mut other = Program::start("submitter", &[&name]);
    log.open_gate();
    wait_until("the queued work is done", || numbers(&log).len() == 40);
    assert!(workers.contains(&pids(&other)[0]), "another submitter is served too");
    other.end();
    assert_eq!(numbers(&log), (0..40).collect::<Vec<u64>>());
    assert_eq!(log.count("left"), 2);
    // They stay a while for others, then go by themselves.
    wait_within(Duration::from_secs(12), "the workers go", || !workers.iter().any(|&pid| pid_alive(pid)));
    assert!(pool_file(&name).exists(), "nobody was left to take the name away");
    let again = Executor::builder().start(StartMethod::None).create_named(&name).expect("a dead pool is replaced");
    drop(again);
    assert_eq!(shm_entries(&name), [""; 0]);
    assert_eq!(children_of(std::process::id()), [] as [u32; 0]);
}

fn submitter_stays() {
    let name = unique("stays");
    let mut program = Program::start("owner", &[&name]);
    let workers = pids(&program);
    let pool = Executor::attach(&name).expect("attached");
    program.kill();
    // Longer than the workers would stay for nobody.
    std::thread::sleep(Duration::from_millis(7500));
    assert!(workers.contains(&pool.submit(own_pid, ()).expect("submitted").result().expect("a worker ran it")));
    drop(pool);
    end_now(&name, &workers);
}

fn on_demand() {
    let name = unique("on-demand");
    let mut program = Program::start("demanding", &[&name, "1"]);
    let workers = pids(&program);
    let pool = Executor::attach(&name).expect("attached");
    program.kill();
    // Long enough to leave several times.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(pool.submit(own_pid, ()).expect("submitted").result(), Ok(workers[0]));
    drop(pool);
    end_now(&name, &workers);
    // One that nobody has come to yet.
    let mut program = Program::start("demanding", &[&name, "0"]);
    program.line();
    let pool = Executor::attach(&name).expect("attached");
    program.kill();
    let nobody = pool.submit(own_pid, ()).expect("submitted").result();
    assert!(matches!(nobody, Err(Error::NoWorkerFor { .. })), "{nobody:?}");
    drop(pool);
    end_now(&name, &[]);
}

fn nobody_supervises() {
    let (name, log) = (unique("nobody-supervises"), Log::new());
    let mut program = Program::start("owner", &[&name]);
    let workers = pids(&program);
    let pools: Vec<Executor> = (0..3).map(|_| Executor::attach(&name).expect("attached")).collect();
    program.kill();
    let held = pools[0].submit(hold, (log.path(), log.gate())).expect("submitted");
    wait_until("the task runs", || log.count("entered") == 1);
    let victim = held.worker_pid().expect("somebody runs it");
    kill(victim);
    let start = Instant::now();
    // The others wait too, and may settle it just as well: it gets one verdict all the same.
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| assert!(pool.submit(own_pid, ()).expect("submitted").result().is_ok()));
        }
        match held.result() {
            Err(Error::WorkerLost { pid, stage: Stage::MayHaveRun, .. }) => assert_eq!(pid, victim),
            other => panic!("{other:?}"),
        }
    });
    assert!(start.elapsed() < Duration::from_secs(2), "the verdict took {:?}", start.elapsed());
    let other = workers.iter().find(|&&pid| pid != victim);
    assert_eq!(pools[0].submit(own_pid, ()).expect("submitted").result().ok().as_ref(), other, "the other one goes on");
    log.open_gate();
    drop((held, pools));
    end_now(&name, &workers);
    assert_eq!(log.lines(), ["entered"]);
}

/// For what is not to wait until an orphaned pool's workers go by themselves.
fn end_now(name: &str, workers: &[u32]) {
    workers.iter().for_each(|&pid| kill(pid));
    wait_until("the pool is dead", || taskring::remove_dead(name).is_ok());
    assert_eq!(shm_entries(name), [""; 0]);
}
