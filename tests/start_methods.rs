//! Every way in which workers come into being, each in a program of its own that has one thread when it builds its pool.

mod process_support;

use process_support::{
    Log, Program, append, await_gate, children_of, hear, kill, pid_alive, say, signal, thread_count, unique, wait_until,
    wait_within,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Future, StartMethod};

/// Set before a pool is built: workers that are copies of this process have it, others do not.
static INHERITED: AtomicU64 = AtomicU64::new(0);

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn own_pid() -> u32 { std::process::id() }
    fn nap(ms: u64) -> u32 {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::id()
    }
    fn exit(code: i32) { std::process::exit(code) }
    fn inherited() -> u64 { INHERITED.load(Relaxed) }
    fn hold(log: String, gate: String) -> u32 {
        append(&log, "entered");
        await_gate(&gate);
        std::process::id()
    }
    /// What each open descriptor of this process stands for.
    fn descriptors() -> Vec<String> {
        let entries = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").flatten();
        entries.flat_map(|e| std::fs::read_link(e.path())).map(|l| l.display().to_string()).collect()
    }
    /// The signals that a program started by a task ignores.
    fn ignored_by_children() -> String {
        let out = std::process::Command::new("grep").args(["SigIgn", "/proc/self/status"]).output().expect("grep");
        String::from_utf8(out.stdout).expect("text").trim().to_owned()
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[
            ("works", works),
            ("replaces", replaces),
            ("late news", late_news),
            ("status thrown away", status_thrown_away),
            ("attach only", attach_only),
            ("two threads", two_threads),
            ("zygote killed", zygote_killed),
            ("interrupted", interrupted),
            ("two pools", two_pools),
            ("early thread", early_thread),
            ("program gone", program_gone),
            ("stopped zygote", stopped_zygote),
            ("no pidfds", no_pidfds),
        ],
        &[
            ("spawned_workers_are_fresh_runs_of_this_program", || each("works", "spawn")),
            ("forked_workers_are_copies_of_this_process", || each("works", "fork")),
            ("fork_server_workers_are_copies_of_a_fresh_run", || each("works", "forkserver")),
            ("thread_workers_are_this_process", || each("works", "thread")),
            ("a_killed_spawned_worker_is_replaced", || each("replaces", "spawn")),
            ("a_killed_forked_worker_is_replaced", || each("replaces", "fork")),
            ("a_killed_fork_server_worker_is_replaced", || each("replaces", "forkserver")),
            ("fault_04_the_cause_is_told_though_the_fork_server_is_late_with_it", || each("late news", "forkserver")),
            ("fault_04_a_spawned_worker_s_end_is_seen_where_sigchld_is_ignored", || each("status thrown away", "spawn")),
            ("fault_04_a_forked_worker_s_end_is_seen_where_sigchld_is_ignored", || each("status thrown away", "fork")),
            ("fault_04_a_fork_server_worker_s_end_is_seen_where_sigchld_is_ignored", || {
                each("status thrown away", "forkserver")
            }),
            ("without_workers_of_its_own_a_pool_has_those_that_attach", || each("attach only", "none")),
            ("fork_with_a_second_thread_is_refused_with_the_count", || each("two threads", "fork")),
            ("a_killed_fork_server_breaks_the_pool_and_nothing_hangs", || each("zygote killed", "forkserver")),
            ("a_killed_zygote_of_fork_breaks_the_pool_and_nothing_hangs", || each("zygote killed", "fork")),
            ("the_interrupt_key_ends_no_spawned_worker", || each("interrupted", "spawn")),
            ("the_interrupt_key_ends_no_forked_worker", || each("interrupted", "fork")),
            ("the_interrupt_key_ends_no_fork_server_worker", || each("interrupted", "forkserver")),
            ("a_fork_server_with_a_second_thread_is_refused_with_the_count", || each("early thread", "forkserver")),
            ("fault_34_a_worker_program_that_is_gone_breaks_the_pool_where_sigchld_is_ignored", || {
                each("program gone", "spawn")
            }),
            ("fault_34_workers_that_no_pidfd_is_to_be_had_of_are_replaced_and_joined", || each("no pidfds", "spawn")),
            ("fault_11_a_pool_ends_though_its_zygote_is_stopped", || each("stopped zygote", "fork")),
            ("fault_11_a_pool_ends_though_its_fork_server_is_stopped", || each("stopped zygote", "forkserver")),
            ("two_pools_of_two_kinds_live_side_by_side", || each("two pools", "fork")),
        ],
    );
}

/// Plays a role in a program of its own.
fn each(role: &str, method: &str) {
    let mut program = Program::start(role, &[method]);
    program.end();
    assert_eq!(program.rest(), ["done"]);
}

/// The CPU time that a process has used, in milliseconds.
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    // Fields 14 and 15, in ticks of 10 ms; the first one here is field 3.
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
    (ticks(14) + ticks(15)) * 10
}

/// Tells the test that every check of the role has passed.
fn done() {
    assert_eq!(children_of(std::process::id()), [] as [u32; 0], "a process is left");
    say("done");
    hear();
}

fn method(args: &[String]) -> StartMethod {
    match args[0].as_str() {
        "spawn" => StartMethod::Spawn,
        "fork" => StartMethod::Fork,
        "forkserver" => StartMethod::ForkServer,
        "thread" => StartMethod::Thread,
        _ => StartMethod::None,
    }
}

fn pool(method: StartMethod, workers: usize) -> Executor {
    assert_eq!(thread_count(std::process::id()), 1, "a role begins with one thread");
    INHERITED.store(7, Relaxed);
    Executor::builder().workers(workers).start(method).build().expect("a pool")
}

/// The pids of all workers, each of which has just run a task.
fn ready_workers(pool: &Executor, count: usize) -> BTreeSet<u32> {
    let mut pids = BTreeSet::new();
    wait_until("all workers run tasks", || {
        let naps: Vec<Future<u32>> = (0..count).map(|_| pool.submit(nap, 30).expect("submitted")).collect();
        pids = naps.iter().map(|n| n.result().expect("a nap")).collect();
        pids.len() == count
    });
    pids
}

/// A task that a worker holds, and which one.
fn held_task(pool: &Executor) -> (Log, Future<u32>, u32) {
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    wait_until("the task runs", || log.count("entered") == 1);
    let worker = held.worker_pid().expect("somebody runs it");
    (log, held, worker)
}

/// Ends the pool, which may take so long.
fn drop_within(limit: Duration, pool: Executor) {
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < limit, "the drop took {:?}", start.elapsed());
}

fn assert_squares(pool: &Executor) {
    let squares = pool.submit_bulk(square, 0..200).expect("submitted");
    for (x, future) in squares.iter().enumerate() {
        assert_eq!(future.result(), Ok((x * x) as u64));
    }
}

fn works(args: &[String]) {
    let (me, method) = (std::process::id(), method(args));
    let before = descriptors.call(()).expect("a list");
    let pool = pool(method, 2);
    assert_eq!(pool.workers(), 2);
    assert_squares(&pool);
    let result = |future: Result<Future<u64>, Error>| future.expect("submitted").result().expect("a number");
    let expected = if matches!(method, StartMethod::Fork | StartMethod::Thread) { 7 } else { 0 };
    assert_eq!(result(pool.submit(inherited, ())), expected);
    if method == StartMethod::Thread {
        assert_eq!(pool.submit(own_pid, ()).expect("submitted").result(), Ok(me));
        assert_eq!(children_of(me), [] as [u32; 0]);
    } else {
        let workers = ready_workers(&pool, 2);
        assert!(!workers.contains(&me));
        assert_eq!(pool.worker_pids().into_iter().collect::<BTreeSet<u32>>(), workers);
        let own = std::env::current_exe().expect("this program");
        workers.iter().for_each(|pid| assert_eq!(std::fs::read_link(format!("/proc/{pid}/exe")).expect("its program"), own));
        let open = pool.submit(descriptors, ()).expect("submitted").result().expect("a list");
        let new: Vec<_> = open.iter().filter(|l| !before.contains(l) && *l != "/dev/null" && !l.ends_with("/fd")).collect();
        assert!(new.len() == 2 && new.iter().all(|l| l.contains("memfd:taskring")), "the pool and a seat in it: {new:?}");
    }
    drop(pool);
    assert_eq!(thread_count(me), 1, "a thread is left");
    done();
}

fn replaces(args: &[String]) {
    let method = method(args);
    let pool = pool(method, 2);
    for round in 0..3 {
        let before = ready_workers(&pool, 2);
        let (_log, held, victim) = held_task(&pool);
        kill(victim);
        match held.result() {
            Err(Error::WorkerLost { pid, cause, .. }) => assert_eq!((pid, cause), (victim, Cause::Signal(libc::SIGKILL))),
            other => panic!("round {round}: {other:?}"),
        }
        let ended = pool.submit(exit, 3).expect("submitted").result();
        assert!(matches!(ended, Err(Error::WorkerLost { cause: Cause::Exit(3), .. })), "round {round}: {ended:?}");
        assert_squares(&pool);
        let after = ready_workers(&pool, 2);
        assert!(!after.contains(&victim) && !after.is_superset(&before), "round {round}: {before:?} {after:?}");
        let expected = if method == StartMethod::Fork { 7 } else { 0 };
        let seen: Vec<_> = (0..8).map(|_| pool.submit(inherited, ()).expect("submitted").result()).collect();
        assert!(seen.iter().all(|s| *s == Ok(expected)), "the new worker is one of the same kind");
    }
    drop(pool);
    done();
}

/// The process that knows why a worker ended is stopped for a while, in which the supervisor looks around by itself.
fn late_news(args: &[String]) {
    let pool = pool(method(args), 1);
    let zygote = children_of(std::process::id())[0];
    for round in 0..10 {
        let (_log, held, victim) = held_task(&pool);
        signal(zygote, libc::SIGSTOP);
        kill(victim);
        let before = cpu_ms(std::process::id());
        std::thread::sleep(Duration::from_millis(300));
        let used = cpu_ms(std::process::id()) - before;
        assert!(used <= 100, "round {round}: waiting for the news took {used} ms of CPU time");
        signal(zygote, libc::SIGCONT);
        match held.result() {
            Err(Error::WorkerLost { pid, cause, .. }) => {
                assert_eq!((pid, cause), (victim, Cause::Signal(libc::SIGKILL)), "round {round}")
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    drop(pool);
    done();
}

/// A program that ignores SIGCHLD, as do its children, is never told how one of them ended: only that it did.
fn status_thrown_away(args: &[String]) {
    // SAFETY: the action is one of the system's own, and this process has no children yet.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let method = method(args);
    let pool = pool(method, 2);
    for round in 0..3 {
        let before = ready_workers(&pool, 2);
        let (_log, held, victim) = held_task(&pool);
        kill(victim);
        let told = held.result_timeout(Duration::from_secs(5));
        let expected = |e: &Error| matches!(e, Error::WorkerLost { pid, cause: Cause::Unknown, .. } if *pid == victim);
        assert!(told.as_ref().is_err_and(expected), "round {round}: {told:?}");
        assert_squares(&pool);
        let after = ready_workers(&pool, 2);
        assert!(!after.contains(&victim) && !after.is_superset(&before), "round {round}: {before:?} {after:?}");
    }
    let zygotes = children_of(std::process::id()).into_iter().filter(|_| method != StartMethod::Spawn);
    for pid in zygotes.chain([std::process::id()]) {
        let before = cpu_ms(pid);
        std::thread::sleep(Duration::from_millis(500));
        let used = cpu_ms(pid) - before;
        assert!(used <= 150, "process {pid}, which has nothing to do, took {used} ms of CPU time");
    }
    drop_within(Duration::from_secs(3), pool);
    done();
}

fn attach_only(_args: &[String]) {
    let name = unique("attach-only");
    let pool = Executor::builder().start(StartMethod::None).create_named(&name).expect("a pool");
    assert_eq!((pool.workers(), pool.worker_pids()), (0, vec![]));
    let early = pool.submit(own_pid, ()).expect("submitted");
    assert_eq!(early.result_timeout(Duration::from_millis(50)).map_err(|e| matches!(e, Error::TimedOut { .. })), Err(true));
    let serve = name.clone();
    let worker = std::thread::spawn(move || taskring::work(&serve));
    assert_eq!(early.result(), Ok(std::process::id()));
    assert_eq!(pool.workers(), 1);
    assert_squares(&pool);
    drop(pool);
    assert_eq!(worker.join().expect("no panic"), Ok(()), "it ends with the pool");
    done();
}

fn two_threads(_args: &[String]) {
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let second = std::thread::spawn(move || wait.recv());
    let builder = || Executor::builder().workers(1).start(StartMethod::Fork);
    let refused = builder().build().map(drop);
    assert_eq!(refused, Err(Error::ManyThreads { count: 2 }));
    assert!(refused.unwrap_err().to_string().contains("ForkServer"), "the message names the way out");
    drop(end);
    second.join().expect("no panic").expect_err("the channel is closed");
    for _ in 0..100 {
        // Those that are joined are no threads any more, though the system may list them still.
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| ())).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_squares(&builder().build().expect("a pool"));
    }
    done();
}

/// The process that forks the workers is killed: no further worker can be had, and everybody is told.
fn zygote_killed(args: &[String]) {
    let pool = pool(method(args), 2);
    let workers = ready_workers(&pool, 2);
    let zygotes: Vec<u32> = children_of(std::process::id());
    assert!(zygotes.len() == 1 && !workers.contains(&zygotes[0]), "{zygotes:?} {workers:?}");
    let log = Log::new();
    let held: Vec<_> = (0..2).map(|_| pool.submit(hold, (log.path(), log.gate())).expect("submitted")).collect();
    wait_until("both are busy", || log.count("entered") == 2);
    let pending = pool.submit(square, 3).expect("submitted");
    kill(zygotes[0]);
    assert!(matches!(pending.result(), Err(Error::Broken { .. })), "{pending:?}");
    assert!(matches!(pool.submit(square, 3).map(drop), Err(Error::Broken { .. })));
    log.open_gate();
    for future in held {
        let ended = future.result();
        assert!(
            ended.as_ref().is_ok_and(|pid| workers.contains(pid)) || matches!(ended, Err(Error::WorkerLost { .. })),
            "{ended:?}"
        );
    }
    drop_within(Duration::from_secs(3), pool);
    wait_within(Duration::from_secs(2), "the workers go", || !workers.iter().any(|&pid| pid_alive(pid)));
    done();
}

fn interrupted(args: &[String]) {
    let pool = pool(method(args), 2);
    let before = ready_workers(&pool, 2);
    before.iter().for_each(|&pid| signal(pid, libc::SIGINT));
    assert_squares(&pool);
    assert_eq!(ready_workers(&pool, 2), before);
    let ignored = pool.submit(ignored_by_children, ()).expect("submitted").result().expect("a line");
    let mask = u64::from_str_radix(ignored.trim_start_matches("SigIgn:").trim(), 16).expect("a mask");
    assert_eq!(mask >> (libc::SIGINT - 1) & 1, 0, "programs that tasks start can be interrupted: {ignored}");
    drop(pool);
    done();
}

fn two_pools(_args: &[String]) {
    let forked = pool(StartMethod::Fork, 1);
    let others: Vec<_> = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Thread]
        .map(|method| Executor::builder().workers(1).start(method).build().expect("a pool"))
        .into();
    for pool in others.iter().chain([&forked]) {
        assert_squares(pool);
    }
    let victim = forked.submit(own_pid, ()).expect("submitted").result().expect("a pid");
    kill(victim);
    wait_until("a new worker", || forked.submit(own_pid, ()).expect("submitted").result().is_ok_and(|pid| pid != victim));
    for pool in others.iter().chain([&forked]) {
        assert_squares(pool);
    }
    drop(forked);
    others.iter().for_each(assert_squares);
    drop(others);
    done();
}

/// Starts a thread before `main`, as some libraries do, in programs that are told to.
extern "C" fn before_main() {
    if std::env::var_os("START_METHODS_EARLY_THREAD").is_some() {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
}

#[used]
// SAFETY: the section holds pointers to functions of this signature, which the C runtime calls once before `main`.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

fn early_thread(args: &[String]) {
    let own = std::env::current_exe().expect("this program");
    let builder = Executor::builder().workers(1).start(method(args));
    let pool = builder.worker_exe(own, [""; 0], [("START_METHODS_EARLY_THREAD", "1")]).build().expect("a pool");
    let told = pool.submit(square, 3).map(|future| future.result());
    let expected =
        |e: &Error| matches!(e, Error::Broken { cause, .. } if cause.contains("2 threads") && cause.contains("Spawn"));
    match &told {
        Ok(Err(e)) | Err(e) => assert!(expected(e), "{e}"),
        Ok(Ok(_)) => panic!("{told:?}"),
    }
    drop(pool);
    done();
}

/// The program of the workers goes away while the pool is in use, and nobody can wait for children.
fn program_gone(args: &[String]) {
    // SAFETY: the action is one of the system's own, and this process has no children yet.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("worker");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    let builder = || Executor::builder().workers(1).start(method(args)).worker_exe(&program, [""; 0], [("", ""); 0]);
    let pool = builder().build().expect("a pool");
    assert_squares(&pool);
    std::fs::remove_file(&program).expect("removed");
    kill(pool.worker_pids()[0]);
    let is_broken = |result: Result<u64, Error>| matches!(result, Err(Error::Broken { .. } | Error::System { .. }));
    wait_until("the pool is broken", || {
        is_broken(pool.submit(square, 3).and_then(|f| f.result_timeout(Duration::from_secs(5))))
    });
    drop_within(Duration::from_secs(3), pool);
    assert!(matches!(builder().build().map(drop), Err(Error::System { .. })));
    done();
}

/// The process that forks the workers is stopped when the pool ends.
fn stopped_zygote(args: &[String]) {
    let pool = pool(method(args), 2);
    let workers = ready_workers(&pool, 2);
    let zygotes = children_of(std::process::id());
    signal(zygotes[0], libc::SIGSTOP);
    drop_within(Duration::from_secs(5), pool);
    wait_within(Duration::from_secs(2), "the workers go", || !workers.iter().any(|&pid| pid_alive(pid)));
    done();
}

/// From some moment on the system gives no pidfds, as when descriptors run out and others take each that comes free.
fn no_pidfds(args: &[String]) {
    let pool = pool(method(args), 1);
    assert_squares(&pool);
    refuse_pidfds();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let worker = pool.submit(own_pid, ()).expect("submitted").result().expect("it ran");
        assert!(seen.insert(worker), "another one");
        kill(worker);
        wait_until("it is waited for", || !pid_alive(worker) && !children_of(std::process::id()).contains(&worker));
    }
    let (_log, held, worker) = held_task(&pool);
    kill(worker);
    assert!(matches!(held.result(), Err(Error::WorkerLost { pid, .. }) if pid == worker), "{held:?}");
    drop(held);
    drop_within(Duration::from_secs(5), pool);
    // And where it is so from the beginning, there is no pool.
    let refused = Executor::builder().workers(1).start(method(args)).build().map(drop);
    assert!(matches!(refused, Err(Error::System { call: "pidfd_open", errno: libc::EMFILE })), "{refused:?}");
    done();
}

/// `pidfd_open` fails in all threads of this process and in its children, for good.
fn refuse_pidfds() {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        // The number of the call is the first word of what the filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_pidfd_open as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EMFILE.cast_unsigned()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its steps are readable for the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let all = libc::SECCOMP_FILTER_FLAG_TSYNC;
        let set = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, all, &raw const program);
        assert_eq!(set, 0, "seccomp: {}", std::io::Error::last_os_error());
    }
}
