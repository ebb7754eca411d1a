//! Programs that are started as workers and are none: each is refused with the reason, and nobody starts processes without end.

mod process_support;

use process_support::{Log, Program, append, children_of, say, wait_within};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, StartMethod};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
}

fn main() {
    // These roles are programs that lack the first line.
    if let Some(role) = process_support::role().filter(|r| r.starts_with("without init")) {
        return without_init(&role);
    }
    taskring::init();
    process_support::main(
        &[("with init", with_init)],
        &[
            ("a_program_without_init_is_told_the_line_that_is_missing", missing_line),
            ("a_program_that_is_its_own_worker_and_lacks_init_starts_a_few_processes_and_is_told", own_worker),
            ("a_worker_program_that_ends_at_once_is_not_a_worker", ends_at_once),
            ("a_worker_program_whose_end_nobody_can_collect_is_not_a_worker", collected_by_others),
            ("a_worker_program_that_never_attaches_is_not_a_worker", never_attaches),
            ("a_worker_program_that_does_not_exist_is_an_error_of_build", missing_program),
            ("a_worker_program_that_attaches_too_late_is_not_a_worker", too_late),
        ],
    );
}

fn without_init(role: &str) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match role {
        "without init" => {
            for method in [StartMethod::Spawn, StartMethod::ForkServer] {
                let refused = Executor::builder().workers(2).start(method).build().map(drop);
                assert_eq!(refused, Err(Error::NotInitialized), "{method:?}");
                say(&refused.unwrap_err().to_string());
            }
            let threads = Executor::builder().workers(1).start(StartMethod::Thread).build().expect("needs no init");
            assert_eq!(threads.submit(square, 3).expect("submitted").result(), Ok(9));
        }
        "without init, its own worker" => {
            // Every run of this program notes itself, and does all this again.
            append(&args[0], "run");
            let own = std::env::current_exe().expect("this program");
            let mut builder = Executor::builder().workers(2).start_timeout(Duration::from_secs(2));
            if args[1] == "on demand" {
                builder = builder.min_workers(0).idle_timeout(Duration::from_millis(1));
            }
            let built = builder.worker_exe(own, &args, [] as [(&str, &str); 0]).build();
            let error = built.and_then(|pool| pool.submit(square, 3)?.result()).expect_err("no worker ever came");
            append(&args[0], &error.to_string());
            say(&format!("{error:?}"));
        }
        _ => panic!("no role {role:?}"),
    }
}

/// A good program, as a control.
fn with_init(_args: &[String]) {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    say("good");
}

fn missing_line() {
    let mut good = Program::start("with init", &[]);
    good.expect("good");
    good.end();
    let mut program = Program::start("without init", &[]);
    for _ in 0..2 {
        let message = program.line();
        assert!(message.contains("taskring::init();") && message.contains("worker_exe"), "{message}");
    }
    program.end();
}

fn own_worker() {
    starts_few("at once");
    starts_few("on demand");
}

fn starts_few(when: &str) {
    let log = Log::new();
    let mut program = Program::start("without init, its own worker", &[&log.path(), when]);
    let said = program.line();
    assert!(said.starts_with("NotAWorker {") && said.contains("taskring::init"), "{said}");
    program.end();
    let runs = log.count("run");
    println!("{runs} processes, {when}");
    assert!((2..=6).contains(&runs), "{runs} processes were started");
    // Every run but the first was told at once, and gave up.
    assert_eq!(
        log.lines().iter().filter(|l| l.contains("it builds a pool of its own instead")).count(),
        runs - 1,
        "{:#?}",
        log.lines()
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(log.count("run"), runs, "and none came after");
}

/// A pool whose worker program is no worker: what its tasks say, and how many processes of ours there are afterwards.
#[track_caller]
fn assert_not_a_worker(builder: taskring::Builder, program: &str, exit: &str, within: Duration) {
    let start = Instant::now();
    let pool = builder.build().expect("the program can be started");
    let pending = pool.submit(square, 3);
    let error = pending.and_then(|f| f.result()).expect_err("no worker ever came");
    let elapsed = start.elapsed();
    match &error {
        Error::NotAWorker { program: found, exit: how, hint } => {
            assert_eq!(found, program);
            assert!(how.contains(exit), "{error}");
            assert!(hint.contains("taskring::init"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(elapsed < within, "told after {elapsed:?}");
    wait_within(Duration::from_secs(2), "no process is left", || children_of(std::process::id()).is_empty());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(children_of(std::process::id()), [] as [u32; 0], "nothing is started again");
    assert_eq!(pool.submit(square, 3).map(drop), Err(error), "asked again, the same");
    assert_eq!(pool.worker_pids(), [] as [u32; 0]);
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < Duration::from_secs(1), "the drop took {:?}", start.elapsed());
}

const NO_ENV: [(&str, &str); 0] = [];

/// Two tries more, a tenth and a fifth of a second after the one before: less than the owner would sleep twice with nothing to do, which is 1.2 s.
const SOON: Duration = Duration::from_millis(2300);

fn ends_at_once() {
    let builder = Executor::builder().workers(2).worker_exe("/bin/true", [""; 0], NO_ENV);
    assert_not_a_worker(builder, "/bin/true", "code 0", Duration::from_secs(5));
    let builder = Executor::builder().workers(1).worker_exe("/bin/sh", ["-c", "exit 3"], NO_ENV);
    assert_not_a_worker(builder, "/bin/sh", "code 3", SOON);
    let builder = Executor::builder().workers(1).worker_exe("/bin/sh", ["-c", "kill -9 $$"], NO_ENV);
    assert_not_a_worker(builder, "/bin/sh", "signal 9", Duration::from_secs(5));
}

/// A program that ignores SIGCHLD has no children to wait for: the worker may be gone before anybody can watch it.
fn collected_by_others() {
    // SAFETY: the action is one of the system's own, and this process, which runs this test alone, has no children yet.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    for _ in 0..2 {
        let builder = Executor::builder().workers(1).worker_exe("/bin/true", [""; 0], NO_ENV);
        assert_not_a_worker(builder, "/bin/true", "cause unknown", Duration::from_secs(5));
    }
    // SAFETY: what was there before.
    unsafe { libc::signal(libc::SIGCHLD, before) };
}

fn never_attaches() {
    let builder = Executor::builder().workers(2).start_timeout(Duration::from_millis(400));
    let builder = builder.worker_exe("/bin/sleep", ["1000"], NO_ENV);
    assert_not_a_worker(builder, "/bin/sleep", "still running after 400ms", Duration::from_secs(3));
}

fn missing_program() {
    let builder = || Executor::builder().workers(2).worker_exe("/no/such/program", [""; 0], NO_ENV);
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let refused = builder().start(method).build().map(drop);
        assert!(matches!(refused, Err(Error::System { errno: libc::ENOENT, .. })), "{method:?}: {refused:?}");
    }
    assert_eq!(children_of(std::process::id()), [] as [u32; 0]);
}

/// This very program would make a good worker, but a shell keeps it from starting in time.
fn too_late() {
    let own = std::env::current_exe().expect("this program").display().to_string();
    // Not for long: the shell is killed, and what it runs is left behind.
    let script = format!("sleep 3; exec {own}");
    let builder = Executor::builder().workers(1).start_timeout(Duration::from_millis(300));
    let builder = builder.worker_exe("/bin/sh", ["-c", &script], NO_ENV);
    assert_not_a_worker(builder, "/bin/sh", "still running after 300ms", Duration::from_secs(3));
}
