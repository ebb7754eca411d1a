//! Under a criterion bench the `main` is the harness's too. This stands in for one: it takes a bench's arguments, knows nothing of
//! workers, and builds a pool with `test_support!` at the top of its file.

use std::process::Command;
use taskring::Executor;

taskring::test_support!();

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn own_pid() -> u32 { std::process::id() }
}

/// A harness that would be confused by being run as something else: it counts its runs in a file.
fn main() {
    const RUNS: &str = "TASKRING_TEST_BENCH_RUNS";
    let Ok(file) = std::env::var(RUNS) else {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("runs");
        let own = std::env::current_exe().expect("this program");
        let status = Command::new(own).args(["--bench", "round"]).env(RUNS, &file).status().expect("the bench runs");
        assert!(status.success(), "{status}");
        assert_eq!(std::fs::read_to_string(file).expect("the runs"), "run\n", "the harness ran once, its workers never did");
        println!("test a_bench_program_runs_its_harness_once_and_its_workers_never ... ok");
        return;
    };
    use std::io::Write;
    let mut runs = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("the file of runs");
    runs.write_all(b"run\n").expect("noted");
    assert_eq!(std::env::args().nth(1).as_deref(), Some("--bench"));
    let pool = Executor::builder().workers(2).build().expect("a pool");
    for x in 0..500 {
        assert_eq!(pool.submit(square, x).expect("submitted").result(), Ok(x * x));
    }
    assert_ne!(pool.submit(own_pid, ()).expect("submitted").result(), Ok(std::process::id()));
}
