//! Rust, C and C++ on one named pool: every pair of submitter and worker. Needs `cc` and `c++`; without them it says so.

mod cc_support;
mod process_support;

use process_support::{LIMIT, Program, say, unique, wait_until, wait_within};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use taskring::{Bytes, Executor, StartMethod, Task, TaskError};

fn main() {
    taskring::init();
    process_support::main(
        &[("work", work), ("submit", submit)],
        &[
            ("every_pair_of_languages_works_together", every_pair),
            ("valgrind_finds_nothing_in_a_worker_and_a_submitter_that_attach", under_valgrind),
        ],
    );
}

/// The square of eight bytes, in the machine's order, as C has it.
fn square(args: Bytes) -> Result<Bytes, TaskError> {
    let x: [u8; 8] = args[..].try_into()?;
    let x = u64::from_ne_bytes(x);
    Ok(Bytes::from((x * x).to_ne_bytes().to_vec()))
}

/// Sends the squares below its argument.
fn squares(args: Bytes) -> Result<Bytes, TaskError> {
    for x in 0..u64::from_ne_bytes(args[..].try_into()?) {
        taskring::task::send_event(&Bytes::from((x * x).to_ne_bytes().to_vec()))?;
    }
    Ok(Bytes::from(Vec::new()))
}

fn work(args: &[String]) {
    taskring::register_fallible("square", square).expect("registered");
    taskring::register_fallible("squares", squares).expect("registered");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

fn submit(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("a pool");
    let task = Task::<Bytes, Bytes>::named("square");
    for x in 0..100_u64 {
        let result = pool.submit(task, Bytes::from(x.to_ne_bytes().to_vec())).expect("submitted").result().expect("it ran");
        assert_eq!(result[..], (x * x).to_ne_bytes());
    }
    let sending =
        pool.submit(Task::<Bytes, Bytes>::named("squares"), Bytes::from(20_u64.to_ne_bytes().to_vec())).expect("submitted");
    let events: Vec<Bytes> = sending.events().collect::<Result<_, _>>().expect("all of them");
    assert_eq!(events.len(), 20);
    assert!((0..).zip(&events).all(|(x, event)| event[..] == u64::to_ne_bytes(x * x)));
    assert!(sending.result().expect("it ran").is_empty());
    assert!(pool.submit(task, Bytes::from(vec![1, 2, 3])).expect("submitted").result().is_err());
    say("done");
}

/// A program of one of the languages.
enum Peer {
    Rust(Program),
    Foreign(Child),
}

impl Peer {
    fn start(language: &str, role: &str, name: &str) -> Peer {
        match language {
            "rust" => Peer::Rust(Program::start(role, &[name])),
            _ => Peer::Foreign(Command::new(peer(language)).args([role, name]).spawn().expect("it starts")),
        }
    }

    fn succeeds(self, what: &str) {
        self.succeeds_within(LIMIT, what);
    }

    fn succeeds_within(self, limit: Duration, what: &str) {
        match self {
            Peer::Rust(mut program) => assert!(program.end_within(limit).success(), "{what}"),
            Peer::Foreign(mut child) => {
                let start = Instant::now();
                let status = loop {
                    match child.try_wait().expect("a child of ours") {
                        Some(status) => break status,
                        None if start.elapsed() > limit => {
                            let _ = child.kill();
                            panic!("{what} hangs");
                        }
                        None => std::thread::sleep(Duration::from_millis(2)),
                    }
                };
                assert!(status.success(), "{what}: {status}");
            }
        }
    }
}

fn peer(language: &str) -> std::path::PathBuf {
    cc_support::out_dir().join(format!("c_api_peer_{language}"))
}

/// Both sides of a pool in programs that come by its name.
fn under_valgrind() {
    if !cc_support::has("cc") || !cc_support::has("valgrind") {
        return;
    }
    let program = cc_support::build("peer_valgrind", "c11", &["tests/c/peer.c"], &[]);
    let start = |role: &str, name: &str| {
        let mut command = Command::new("valgrind");
        command.args(["-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite"]);
        // What it finds, and also that it does not know `pidfd_open`.
        let log = cc_support::out_dir().join(format!("valgrind.{role}.log"));
        command.arg("--errors-for-leak-kinds=definite").arg(format!("--log-file={}", log.display()));
        command.arg(&program).args([role, name]);
        println!("valgrind of {role}: {}", log.display());
        Peer::Foreign(command.spawn().expect("it starts"))
    };
    let name = unique("valgrind");
    // Valgrind can map no more.
    let pool = Executor::builder().start(StartMethod::None).payload_max(64 << 20).create_named(&name).expect("a pool");
    let works = start("work", &name);
    // It takes many times as long.
    wait_within(4 * LIMIT, "the worker is ready", || pool.workers() == 1);
    start("submit", &name).succeeds_within(4 * LIMIT, "the submitter");
    drop(pool);
    works.succeeds_within(4 * LIMIT, "the worker");
}

fn every_pair() {
    if !cc_support::has("cc") || !cc_support::has("c++") {
        return;
    }
    cc_support::build("peer_c", "c11", &["tests/c/peer.c"], &[]);
    cc_support::build("peer_cpp", "c++17", &["tests/cpp/peer.cpp"], &[]);
    let languages = ["rust", "c", "cpp"];
    for worker in languages {
        let name = unique(worker);
        let pool = Executor::builder().start(StartMethod::None).create_named(&name).expect("a pool");
        let works = Peer::start(worker, "work", &name);
        wait_until("the worker is ready", || pool.workers() == 1);
        for submitter in languages {
            Peer::start(submitter, "submit", &name).succeeds(&format!("{submitter} submits to {worker}"));
        }
        drop(pool);
        works.succeeds(&format!("the worker in {worker}"));
    }
}
