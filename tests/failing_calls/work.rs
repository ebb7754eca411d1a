//! A victim that is a worker: its main thread works, and another one, whose calls do not fail, owns the pool and submits.

use crate::operations::{Place, count, large};
use crate::trace::edge_of_window;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, StartMethod};

const TASKS: u64 = 6;
const LIMIT: Duration = Duration::from_secs(12);

/// The whole of its life.
pub fn live(place: &Place, cells: &'static [AtomicU64]) -> Result<(), String> {
    let before = crate::operations::descriptors();
    let name = format!("second-{}-", std::process::id());
    let builder = Executor::builder().start(StartMethod::None).capacity(8).payload_max(1 << 20);
    let pool = builder.create_named(&name).map_err(|e| e.to_string())?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let submitter = scope.spawn(|| {
            let found = submit(&pool, place, cells);
            over.store(true, SeqCst);
            // The worker leaves.
            let _ = pool.shutdown(false, true);
            found
        });
        edge_of_window();
        let first = taskring::work(&name);
        edge_of_window();
        // A worker that could not attach, or was told to leave too early, comes again.
        while !over.load(SeqCst) {
            taskring::work(&name).map_err(|e| format!("after {first:?} and relief: {e}"))?;
        }
        submitter.join().unwrap_or_else(|_| Err("a panic".into())).map_err(|found| format!("work gave {first:?}: {found}"))
    })?;
    drop(pool);
    let start = Instant::now();
    while crate::operations::descriptors() != before {
        if start.elapsed() > Duration::from_secs(2) {
            return Err(format!("descriptors {before:?} became {:?}", crate::operations::descriptors()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Small and large tasks, with pauses in which the worker goes to sleep.
fn submit(pool: &Executor, place: &Place, cells: &[AtomicU64]) -> Result<(), String> {
    for cell in 1..=TASKS {
        let wide = if cell % 3 == 0 { 300 } else { 3 };
        let small = pool.submit(count, (place.board.clone(), cell, vec![1; wide])).map_err(|e| e.to_string())?;
        match small.result_timeout(LIMIT) {
            Ok(len) if len == wide as u64 => {}
            other => return Err(format!("task {cell} gave {other:?}")),
        }
        if cells[cell as usize].load(SeqCst) != 1 {
            return Err(format!("task {cell} ran {} times", cells[cell as usize].load(SeqCst)));
        }
        if cell % 2 == 0 {
            let future = pool.submit(large, (place.board.clone(), cell + 20)).map_err(|e| e.to_string())?;
            match future.result_timeout(LIMIT) {
                Ok(bytes) if bytes == [7; 5000] => {}
                // The memory for the result is asked for by the worker.
                Err(Error::OutOfMemory { .. }) => {}
                other => return Err(format!("large task {cell} gave {other:?}")),
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}
