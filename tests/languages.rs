//! Rust, C and C++ on one named pool: every pair of submitter and worker. Needs `cc` and `c++`; without them it says so.

mod cc_support;
mod process_support;

use process_support::{LIMIT, Program, say, unique, wait_until};
use std::process::{Child, Command};
use std::time::Instant;
use taskring::{Bytes, Executor, StartMethod, Task, TaskError};

fn main() {
    taskring::init();
    process_support::main(&[("work", work), ("submit", submit)], &[("every_pair_of_languages_works_together", every_pair)]);
}

/// The square of eight bytes, in the machine's order, as C has it.
fn square(args: Bytes) -> Result<Bytes, TaskError> {
    let x: [u8; 8] = args[..].try_into()?;
    let x = u64::from_ne_bytes(x);
    Ok(Bytes::from((x * x).to_ne_bytes().to_vec()))
}

fn work(args: &[String]) {
    taskring::register_fallible("square", square).expect("registered");
    taskring::work(&args[0]).expect("worked to the pool's end");
}

fn submit(args: &[String]) {
    let pool = Executor::attach(&args[0]).expect("a pool");
    let task = Task::<Bytes, Bytes>::named("square");
    for x in 0..100_u64 {
        let result = pool.submit(task, Bytes::from(x.to_ne_bytes().to_vec())).expect("submitted").result().expect("it ran");
        assert_eq!(result[..], (x * x).to_ne_bytes());
    }
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
        match self {
            Peer::Rust(mut program) => assert!(program.end_within(LIMIT).success(), "{what}"),
            Peer::Foreign(mut child) => {
                let start = Instant::now();
                let status = loop {
                    match child.try_wait().expect("a child of ours") {
                        Some(status) => break status,
                        None if start.elapsed() > LIMIT => {
                            let _ = child.kill();
                            panic!("{what} hangs");
                        }
                        None => std::thread::sleep(std::time::Duration::from_millis(2)),
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
