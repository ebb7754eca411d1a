//! Built by `programs.rs` with `panic = abort`, so it has another ending than a test of cargo's own.

use taskring::{Cause, Error, Executor, Stage};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn panics() -> u64 { panic!("nobody can catch this") }
}

fn main() -> Result<(), Error> {
    taskring::init();
    assert!(cfg!(panic = "abort"), "built otherwise");
    let pool = Executor::builder().workers(1).build()?;
    for _ in 0..3 {
        match pool.submit(panics, ())?.result() {
            // SIGABRT.
            Err(Error::WorkerLost { cause: Cause::Signal(6), stage: Stage::MayHaveRun, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.submit(square, 7)?.result(), Ok(49));
    }
    Ok(())
}
