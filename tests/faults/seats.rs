//! Rows 16, 20, 28 and 37: what lies at a participant's seat: its descriptors, its number, its user.

use crate::process_support::{
    LIMIT, Log, Program, Role, Test, command_line, hear, is_root, kill, pid_alive, pool_file, say, unique, wait_until,
    wait_within,
};
use crate::support::{assert_whole, count_of, hold, look, ready_workers, running, slots_in_use, square};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};
use taskring::{Cause, Error, Executor, Stage, StartMethod};

taskring::task! {
    /// Becomes another program, which has none of our descriptors.
    fn become_sleep() -> u32 {
        let error = Command::new("sleep").arg("1000").exec();
        panic!("{error}")
    }
    /// Tries to change the size of the pool's memory; the error numbers, of shrinking, growing and unsealing.
    fn resize_pool() -> (i32, i32, i32) { resize(&memory_file()) }
}

pub const ROLES: &[Role] =
    &[("careless", careless), ("careless owner", careless_owner), ("of another user", of_another_user)];

pub const TESTS: &[Test] = &[
    ("fault_16_nobody_can_change_the_size_of_an_anonymous_pool", sealed),
    ("fault_20_a_task_that_becomes_another_program_has_killed_its_worker", task_execs),
    ("fault_20_a_submitter_that_closed_everything_is_not_dead_until_it_is", careless_submitter),
    ("fault_20_a_pool_whose_owner_closed_everything_is_replaced_only_when_it_is_gone", pool_of_a_careless_owner),
    ("fault_28_one_participant_too_many_is_refused_and_a_seat_given_back_is_taken", too_many),
    ("fault_28_a_worker_that_finds_no_seat_is_tried_again", no_seat_for_a_worker),
    ("fault_37_a_pool_of_another_user_is_refused_both_ways", other_user),
];

/// The memory file of this process's pool.
fn memory_file() -> std::fs::File {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").map(|entry| entry.expect("an entry").path());
    let is_pool = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:taskring"))
    };
    let path = entries.into_iter().find(is_pool).expect("the pool's memory");
    std::fs::File::options().read(true).write(true).open(path).expect("it opens")
}

fn resize(file: &std::fs::File) -> (i32, i32, i32) {
    let errno = |result: i32| if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) };
    let fd = file.as_raw_fd();
    let len = file.metadata().expect("its size").len() as i64;
    // SAFETY: the calls take integers. All of them fail, as the test checks.
    unsafe {
        (
            errno(libc::ftruncate(fd, 4096)),
            errno(libc::ftruncate(fd, len + 4096)),
            errno(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE)),
        )
    }
}

fn sealed() {
    let pool = Executor::builder().workers(1).build().expect("a pool");
    let refused = (libc::EPERM, libc::EPERM, libc::EPERM);
    let file = memory_file();
    // SAFETY: F_GET_SEALS takes no argument.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    assert_eq!(seals, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL);
    assert_eq!(resize(&file), refused, "by the owner");
    assert_eq!(pool.submit(resize_pool, ()).expect("submitted").result(), Ok(refused), "by a task");
    assert_eq!(file.metadata().expect("its mode").permissions().mode() & 0o7777, 0o600);
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
}

fn task_execs() {
    let name = unique("exec");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    let worker = *ready_workers(&pool, 1).first().expect("one worker");
    let start = Instant::now();
    match pool.submit(become_sleep, ()).expect("submitted").result() {
        Err(Error::WorkerLost { pid, cause: Cause::Signal(libc::SIGKILL), stage: Stage::MayHaveRun, .. }) => {
            assert_eq!(pid, worker);
        }
        other => panic!("{other:?}"),
    }
    println!("the verdict came after {:?}", start.elapsed());
    assert!(start.elapsed() < LIMIT / 2);
    assert!(!pid_alive(worker), "the program that it became is not left running");
    assert!(!ready_workers(&pool, 1).contains(&worker));
    assert_whole(&name, &pool, 0);
}

/// Leaves a task pending and closes everything, or becomes another program.
fn careless(args: &[String]) {
    let [name, log, gate, how] = args else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    let pending = pool.submit(hold, (log.clone(), gate.clone())).expect("submitted");
    say("submitted");
    assert!(hear().is_some());
    if how == "exec" {
        panic!("{}", Command::new("sleep").arg("1000").exec());
    }
    // SAFETY: the call takes three integers. What it closes belongs to this program, which is meant to suffer for it.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) };
    // The numbers are other files' then, and a look at the pool by them finds no lock of anybody's.
    let _others: Vec<_> = (0..64).filter(|_| how == "reuse").map(|_| tempfile::tempfile().expect("a file")).collect();
    let _ = pending.result_timeout(Duration::from_secs(2));
    say("closed");
    hear();
}

fn careless_submitter() {
    for how in ["close", "exec", "reuse"] {
        let (name, log, own) = (unique("careless"), Log::new(), Log::new());
        let builder = Executor::builder().workers(1).capacity(8).orphans(taskring::Orphans::CancelPending);
        let pool = builder.create_named(&name).expect("a pool");
        let held = pool.submit(hold, (own.path(), own.gate())).expect("submitted");
        running(&held, &own);
        let workers = pool.worker_pids();
        let mut submitter = Program::start("careless", &[&name, &log.path(), &log.gate(), how]);
        submitter.expect("submitted");
        submitter.tell("go on");
        let is_unseated = || look(&name).participants.iter().any(|p| p.pid == submitter.pid() && !p.seated);
        wait_until("its seat is free", is_unseated);
        // Longer than anybody sleeps without looking around.
        std::thread::sleep(Duration::from_secs(3));
        assert!(pid_alive(submitter.pid()), "{how}: nobody has killed it");
        assert!(is_unseated(), "{how}: it is not taken for dead: {}", look(&name));
        assert_eq!(slots_in_use(&look(&name)), 2, "{how}: its task is still pending");
        assert_eq!(pool.worker_pids(), workers, "{how}: it has taken nobody for dead");
        submitter.kill();
        wait_within(LIMIT / 2, "now it is", || count_of(&look(&name), "submitter") == 0);
        own.open_gate();
        assert!(held.result().is_ok());
        drop(held);
        assert_whole(&name, &pool, 0);
        assert_eq!(log.lines(), [""; 0], "{how}: cancelled with its submitter");
    }
}

/// Owns a pool, and then lets go of every descriptor.
fn careless_owner(args: &[String]) {
    let [name, how] = args else { panic!("{args:?}") };
    let builder = Executor::builder().start(StartMethod::None).capacity(8);
    let pool = builder.create_named(name).expect("a pool");
    say("made");
    hear();
    if how == "exec" {
        panic!("{}", Command::new("sleep").arg("1000").exec());
    }
    // SAFETY: as in `careless`.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) };
    hear();
    drop(pool);
}

fn pool_of_a_careless_owner() {
    let create = |name: &str| Executor::builder().start(StartMethod::None).capacity(8).create_named(name).map(drop);
    for how in ["close", "exec"] {
        let name = unique("careless-owner");
        let mut owner = Program::start("careless owner", &[&name, how]);
        owner.expect("made");
        let exists = Err(Error::Exists { name: name.clone() });
        assert_eq!(create(&name), exists);
        owner.tell("go on");
        wait_until("its seat is free", || look(&name).participants.iter().all(|p| !p.seated));
        if how == "close" {
            for _ in 0..3 {
                assert_eq!(create(&name), exists, "it has the pool in its memory");
                assert_eq!(taskring::remove_dead(&name).map(drop), exists);
            }
            owner.kill();
        } else {
            wait_until("it is another program", || command_line(owner.pid()).starts_with("sleep"));
        }
        assert_eq!(create(&name), Ok(()), "{how}");
        owner.kill();
    }
}

fn too_many() {
    let name = unique("too-many");
    let pool = Executor::builder().start(StartMethod::None).capacity(64).create_named(&name).expect("a pool");
    let mut others = Vec::new();
    let refused = loop {
        match Executor::attach(&name) {
            Ok(other) => others.push(other),
            Err(e) => break e,
        }
    };
    assert_eq!((refused, others.len()), (Error::TooMany { what: "participants", max: 256 }, 255));
    assert_eq!(taskring::work(&name), Err(Error::TooMany { what: "participants", max: 256 }));
    assert_eq!(look(&name).participants.len(), 256);
    drop(others.pop());
    let worker = Program::start("worker", &[&name]);
    wait_until("the worker has the seat", || pool.workers() == 1);
    // Sixteen lanes for them all, so each has a share of its lane; nobody's task is written over.
    let futures: Vec<_> = others.iter().map(|other| other.submit(square, 5).expect("submitted")).collect();
    assert!(futures.iter().all(|future| future.result() == Ok(25)));
    drop((futures, worker, others));
    wait_until("they have left", || look(&name).participants.len() == 1);
}

/// Others take the seat of a worker that died, and every other: the pool waits until one is free.
fn no_seat_for_a_worker() {
    let name = unique("crowded");
    let pool = Executor::builder().workers(1).capacity(64).create_named(&name).expect("a pool");
    let mut others = Vec::new();
    let begin = Instant::now();
    loop {
        let worker = *ready_workers(&pool, 1).first().expect("one worker");
        while let Ok(other) = Executor::attach(&name) {
            others.push(other);
        }
        kill(worker);
        let is_taken = || {
            others.extend(Executor::attach(&name));
            others.len() == 255
        };
        if spin_until(Duration::from_millis(200), is_taken) {
            break;
        }
        // The next worker was faster.
        assert!(begin.elapsed() < LIMIT, "never before the next worker");
    }
    assert_eq!(count_of(&look(&name), "worker"), 0);
    let pending = pool.submit(square, 5).expect("submitted");
    // Several workers come, find no seat, and go.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(look(&name).life.split(',').next(), Some("open"), "{}", look(&name));
    drop(others.pop());
    assert_eq!(pending.result(), Ok(25));
    drop(others);
    wait_until("they have left", || count_of(&look(&name), "submitter") == 0);
    assert_whole(&name, &pool, 0);
}

/// Asks again and again, without a pause. Whether it held in time.
fn spin_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if holds() {
            return true;
        }
    }
    false
}

/// Tries a pool that is not its own.
fn of_another_user(args: &[String]) {
    // SAFETY: the calls take integers.
    assert_eq!(unsafe { (libc::setgid(65_534), libc::setuid(65_534)) }, (0, 0));
    say(&format!("{:?}", Executor::attach(&args[0]).map(drop)));
    say(&format!("{:?}", taskring::work(&args[0])));
    say(&format!("{:?}", taskring::remove_dead(&args[0])));
    say(&format!("{:?}", taskring::inspect(&args[0]).map(drop)));
    say(&format!("{:?}", Executor::builder().start(StartMethod::None).create_named(&args[0]).map(drop)));
    // And one of its own, for the other way.
    let own = Executor::builder().start(StartMethod::None).create_named(&args[1]).expect("a pool");
    say("made");
    hear();
    drop(own);
}

fn other_user() {
    if !is_root("a process of another user") {
        return;
    }
    let (name, theirs) = (unique("root"), unique("nobody"));
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    assert_eq!(std::fs::metadata(pool_file(&name)).expect("the file").mode() & 0o7777, 0o600);
    let mut stranger = Program::start("of another user", &[&name, &theirs]);
    let not_owner = format!("Err(NotOwner {{ name: {name:?}, uid: 0 }})");
    let exists = format!("Err(Exists {{ name: {name:?} }})");
    for wanted in [&not_owner, &not_owner, &exists, &not_owner, &exists] {
        assert_eq!(stranger.line(), *wanted);
    }
    // The superuser could open theirs, and does not.
    stranger.expect("made");
    let not_ours = Err(Error::NotOwner { name: theirs.clone(), uid: 65_534 });
    assert_eq!(Executor::attach(&theirs).map(drop), not_ours);
    assert_eq!(taskring::inspect(&theirs).map(drop), not_ours);
    assert_eq!(taskring::work(&theirs), Err(Error::NotOwner { name: theirs.clone(), uid: 65_534 }));
    assert_eq!(taskring::remove_dead(&theirs), Err(Error::Exists { name: theirs.clone() }));
    stranger.end();
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9), "nothing has happened to it");
}
