//! Under `cargo test` the `main` is not ours: with `test_support!` at the top of the file, spawned workers serve before it, and run no test.

mod process_support;

use process_support::{Log, TEST_SECONDS, append, children_of, command_line, watchdog};
use std::collections::BTreeSet;
use taskring::{Executor, StartMethod};

taskring::test_support!();

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn own_pid() -> u32 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        std::process::id()
    }
}

#[test]
fn workers_of_a_test_program_run_tasks_and_no_tests() {
    let _watchdog = watchdog(TEST_SECONDS);
    // A worker that ran the tests would come by here, with this in its environment.
    const RUNS: &str = "TASKRING_TEST_RUNS";
    if let Ok(log) = std::env::var(RUNS) {
        append(&log, "run");
        return;
    }
    let log = Log::new();
    // SAFETY: no other thread of this program reads or writes the environment: this file has one test.
    unsafe { std::env::set_var(RUNS, log.path()) };
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = Executor::builder().workers(3).start(method).build().expect("a pool");
        let squares: Vec<u64> = pool.map(square, 0..300).expect("a map").collect::<Result<_, _>>().expect("squares");
        assert_eq!(squares, (0..300).map(|x| x * x).collect::<Vec<u64>>());
        let pids: BTreeSet<u32> = pool.map(own_pid, vec![(); 100]).expect("a map").collect::<Result<_, _>>().expect("pids");
        assert!(!pids.contains(&std::process::id()));
        for &pid in &pids {
            assert_eq!(children_of(pid), [] as [u32; 0], "{method:?}: a worker starts nothing");
            assert!(!command_line(pid).contains("--"), "{method:?}: {}", command_line(pid));
        }
        let children = children_of(std::process::id()).len();
        assert!(children <= 3, "{method:?}: {children} processes");
    }
    assert_eq!(children_of(std::process::id()), [] as [u32; 0]);
    assert_eq!(log.lines(), [""; 0], "a worker has run this test");
}
