//! Resources that are really used up: descriptors, processes, memory of the file system; and real interrupts.

use crate::operations::{count, large};
use crate::process_support::common::{Board, own_pid};
use crate::process_support::{LIMIT, Program, fd_count, hear, kill, say, shm_entries, unique, wait_until};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use taskring::{Builder, Error, Executor, StartMethod, When, as_completed, wait};

fn threads() -> Builder {
    Executor::builder().workers(1).start(StartMethod::Thread).capacity(8).payload_max(1 << 20)
}

fn limit(which: libc::__rlimit_resource_t, to: u64) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is writable for the first call and readable for the second.
    unsafe {
        assert_eq!(libc::getrlimit(which, &raw mut now), 0);
        now.rlim_cur = to.min(now.rlim_max);
        assert_eq!(libc::setrlimit(which, &raw const now), 0);
    }
}

pub fn limits() {
    for role in ["few descriptors", "few processes", "one start fails"] {
        let mut program = Program::start(role, &[]);
        let status = program.end_within(2 * LIMIT);
        let said = program.rest();
        assert!(status.success() && said.last().is_some_and(|line| line.starts_with("done")), "{role}: {status}: {said:?}");
        println!("{role}: {}", said.join(", "));
    }
}

/// Each call that needs a descriptor, with so many left.
pub fn few_descriptors(_args: &[String]) {
    let name = unique("few");
    let board = Board::new(8);
    let pool = threads().create_named(&name).expect("a pool");
    let task = |cell: u64, len: usize| (board.name(), cell, vec![1_u8; len]);
    assert_eq!(pool.submit(count, task(1, 3)).expect("submitted").result(), Ok(3));
    let before = fd_count();
    let (mut refused, mut went) = (0, 0);
    for left in 0..24 {
        limit(libc::RLIMIT_NOFILE, before as u64 + left);
        let results = [
            threads().build().map(drop),
            threads().create_named(&unique("more")).map(drop),
            Executor::builder().workers(1).build().map(drop),
            Executor::builder().workers(1).start(StartMethod::ForkServer).build().map(drop),
            Executor::attach(&name).map(drop),
            taskring::inspect(&name).map(drop),
        ];
        for result in results {
            match result {
                Ok(()) => went += 1,
                Err(Error::System { errno: libc::EMFILE, .. }) => refused += 1,
                // A process that is started with the same limit cannot attach.
                Err(Error::NotAWorker { .. } | Error::Broken { .. }) => refused += 1,
                other => panic!("{left} left: {other:?}"),
            }
        }
        for len in [3, 300] {
            assert_eq!(pool.submit(count, task(1, len)).expect("submitted").result(), Ok(len as u64), "{left} left");
        }
    }
    limit(libc::RLIMIT_NOFILE, u64::MAX);
    assert!(Executor::attach(&name).is_ok() && threads().build().is_ok(), "relief helps");
    crate::process_support::wait_until("no descriptor is left", || fd_count() == before);
    assert_eq!(shm_entries(&format!("more-{}", std::process::id())), [""; 0]);
    assert!(refused >= 6 && went >= 6);
    say(&format!("done: {refused} refused, {went} went through"));
}

/// No process or thread may be started. The superuser has no such limit, so another user is taken.
pub fn few_processes(_args: &[String]) {
    // SAFETY: the calls take integers.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setgid(65_534), 0);
            assert_eq!(libc::setuid(65_534), 0);
            // What has changed its user may not look at itself otherwise.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        }
    }
    limit(libc::RLIMIT_NPROC, 1);
    let spawn = |method| Executor::builder().workers(1).start(method);
    let before = fd_count();
    for method in [StartMethod::Thread, StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork] {
        let refused = spawn(method).build().map(drop);
        assert!(matches!(refused, Err(Error::System { errno: libc::EAGAIN, .. })), "{method:?}: {refused:?}");
        let name = unique("unborn");
        let refused = spawn(method).create_named(&name).map(drop);
        assert!(matches!(refused, Err(Error::System { errno: libc::EAGAIN, .. })), "{method:?}: {refused:?}");
        assert_eq!((fd_count(), shm_entries("unborn")), (before, Vec::new()), "{method:?}");
    }
    // With a few to be had, some of a pool's threads start and some do not.
    let mut went = 0;
    for few in 2..6 {
        limit(libc::RLIMIT_NPROC, few);
        for method in [StartMethod::Thread, StartMethod::Spawn, StartMethod::ForkServer] {
            let name = unique("unborn");
            match spawn(method).create_named(&name).map(drop) {
                Ok(()) => went += 1,
                Err(Error::System { errno: libc::EAGAIN, .. }) => {}
                other => panic!("{method:?} with {few}: {other:?}"),
            }
            let left = || (fd_count(), shm_entries("unborn"), crate::process_support::thread_count(std::process::id()));
            let what = format!("nothing is left: {method:?} with {few}, {:?}", left());
            crate::process_support::wait_until(&what, || left() == (before, Vec::new(), 1));
        }
    }
    assert!(went > 0, "some pools came to be");
    limit(libc::RLIMIT_NPROC, u64::MAX);
    let pool = spawn(StartMethod::Thread).build().expect("relief helps");
    let board = Board::new(8);
    assert_eq!(pool.submit(count, (board.name(), 1, vec![1; 3])).expect("submitted").result(), Ok(3));
    say("done, as another user than root, to whom the limit would not apply");
}

/// Brings relief as soon as a start has failed, so that the next one does not fail.
struct Relief;

static FAILED: AtomicU64 = AtomicU64::new(0);

impl log::Log for Relief {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("could not be started") {
            limit(libc::RLIMIT_NOFILE, u64::MAX);
            FAILED.fetch_add(1, SeqCst);
        }
    }
    fn flush(&self) {}
}

/// The only worker is killed, and the first try to start another one fails.
pub fn one_start_fails(_args: &[String]) {
    log::set_logger(&Relief).expect("the first logger");
    log::set_max_level(log::LevelFilter::Warn);
    let pool = Executor::builder().workers(1).build().expect("a pool");
    let mut fastest = Duration::MAX;
    for round in 1..=3 {
        let worker = pool.submit(own_pid, ()).expect("submitted").result().expect("a worker");
        // Those that the owner has had from the beginning have the low numbers, so no new one can be had.
        limit(libc::RLIMIT_NOFILE, fd_count() as u64 / 2);
        kill(worker);
        wait_until("a start has failed", || FAILED.load(SeqCst) == round);
        let begin = Instant::now();
        assert!(pool.submit(own_pid, ()).expect("submitted").result().is_ok());
        fastest = fastest.min(begin.elapsed());
    }
    // The next try is due a tenth of a second after the one that failed. A busy machine may be late, but hardly three times.
    assert!(fastest < Duration::from_millis(900), "a worker came {fastest:?} after the start that failed");
    say(&format!("done: another worker comes within {} ms of a start that failed", fastest.as_millis()));
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// A signal every millisecond, whose handler does not restart what it interrupts.
fn interrupt_me() {
    extern "C" fn noted(_: libc::c_int) {
        SIGNALS.fetch_add(1, SeqCst);
    }
    let tick = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: all fields are integers, an empty set or an absent function, for which zero is valid; both structures live for the calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = noted as *const () as libc::sighandler_t;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()), 0);
    }
}

/// An owner, a worker and a submitter whose every wait is interrupted.
pub fn interrupts() {
    let name = unique("interrupts");
    let mut owner = Program::start("interrupted", &["owner", &name]);
    owner.expect("made");
    let worker = Program::start("interrupted", &["worker", &name]);
    let mut submitter = Program::start("interrupted", &["submitter", &name]);
    let counts = submitter.numbers_within(3 * LIMIT);
    submitter.end();
    owner.end();
    let mut worker = worker;
    let status = worker.end_within(LIMIT);
    let signals = worker.numbers();
    assert!(status.success(), "{status}");
    println!("{} tasks under {} and {} interrupts", counts[0], counts[1], signals[0]);
    assert!(counts[1] > 20 && signals[0] > 20, "there were interrupts");
}

pub fn interrupted(args: &[String]) {
    let [part, name] = args else { panic!("{args:?}") };
    interrupt_me();
    match &**part {
        "owner" => {
            let builder = Executor::builder().start(StartMethod::None).capacity(8).payload_max(1 << 20);
            let pool = builder.create_named(name).expect("a pool");
            say("made");
            hear();
            drop(pool);
        }
        "worker" => {
            taskring::work(name).expect("worked to the pool's end");
            say(&SIGNALS.load(SeqCst).to_string());
        }
        _ => {
            let pool = Executor::attach(name).expect("attached");
            let board = Board::new(8);
            let task = |len: usize| (board.name(), 1_u64, vec![1_u8; len]);
            for round in 0..100 {
                for len in [3, 300, 3, 300, 5000] {
                    assert_eq!(pool.submit(count, task(len)).expect("submitted").result(), Ok(len as u64), "{round}");
                }
                let bulk = pool.submit_bulk(count, (0..10).map(|_| task(3))).expect("submitted");
                assert_eq!(wait(&bulk, None, When::AllCompleted).expect("waited").not_done, [0; 0]);
                assert!(as_completed(bulk, None).all(|f| f.and_then(|f| f.result()) == Ok(3)));
                for len in [3, 300, 3, 300, 3] {
                    assert_eq!(pool.submit(count, task(len)).expect("submitted").result(), Ok(len as u64), "{round}");
                }
            }
            say(&format!("{} {}", board[1].load(SeqCst), SIGNALS.load(SeqCst)));
        }
    }
}

/// Pools where `/dev/shm` holds less and less, in a namespace of its own.
pub fn full() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return println!("not run, for it needs root: a full /dev/shm");
    }
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=3m tmpfs /dev/shm && echo mounted && exec \"$0\"";
    command.args(["-m", "sh", "-c", script]).arg(own);
    let mut program = Program::from_command(command, "less room", &[]);
    let status = program.end_within(3 * LIMIT);
    let said = program.rest();
    if said.is_empty() && !status.success() && status.code().is_some() {
        return println!("not run, for this machine lets nobody mount: a full /dev/shm");
    }
    assert!(status.success() && said.last().is_some_and(|l| l.starts_with("done")), "{status}: {said:?}");
    println!("less room: {}", said.join(", "));
}

pub fn less_room(_args: &[String]) {
    let board = Board::new(8);
    let (mut refused, mut went) = ([0; 4], [0; 4]);
    for pages in (60..100).chain((100..760).step_by(33)) {
        let filler = std::fs::File::create("/dev/shm/filler").expect("a file");
        let pieces = 768 - pages;
        for at in 0..pieces {
            filler.write_all_at(&[1; 4096], at * 4096).expect("room for the filler");
        }
        let mut note = |which: usize, result: Result<(), Error>| match result {
            Ok(()) => went[which] += 1,
            Err(Error::OutOfMemory { .. }) => refused[which] += 1,
            other => panic!("{pages} pages left: {other:?}"),
        };
        let pool = threads().create_named("full");
        note(0, pool.as_ref().map(drop).map_err(Clone::clone));
        if let Ok(pool) = pool {
            let attached = Executor::attach("full");
            note(1, attached.as_ref().map(drop).map_err(Clone::clone));
            for pool in [Some(&pool), attached.as_ref().ok()].into_iter().flatten() {
                let task = |len: usize| (board.name(), 1_u64, vec![1_u8; len]);
                assert_eq!(pool.submit(count, task(3)).expect("submitted").result(), Ok(3), "small ones go on");
                note(2, pool.submit(count, task(100_000)).and_then(|f| f.result()).map(drop));
                note(3, pool.submit(large, (board.name(), 2)).and_then(|f| f.result()).map(drop));
            }
        }
        std::fs::remove_file("/dev/shm/filler").expect("removed");
        assert_eq!(shm_entries(""), [""; 0], "{pages} pages left: nothing of the pool is");
    }
    assert!(refused.iter().all(|&n| n > 0) && went.iter().all(|&n| n > 0), "{refused:?} {went:?}");
    say(&format!(
        "done: creation, attach, growth for arguments and for results: refused {refused:?}, went through {went:?}"
    ));
    std::thread::sleep(Duration::from_millis(1));
}
