//! An input that is read only as workers become free: what has not been made into a task yet can be left out, and the same map goes on with other work.
//!
//! `cargo run --release --example lazy_feed`

use std::cell::Cell;
use taskring::{Executor, MapOptions};

/// So many of the first set are enough.
const ENOUGH: u32 = 200;

taskring::task! {
    /// Gives the set back that it belongs to.
    fn process(set: usize, image: u32) -> usize {
        std::thread::sleep(std::time::Duration::from_micros(u64::from(image % 7) * 50));
        set
    }
}

fn main() -> Result<(), taskring::Error> {
    taskring::init();
    let pool = Executor::builder().workers(2).build()?;
    let (made, mut processed) = ([Cell::new(0), Cell::new(0)], [0, 0]);

    // The feed. Where a semaphore would count free workers, the map's window does: a task for each worker, and one ahead.
    let enough = Cell::new(false);
    let first = (0..1000).take_while(|_| !enough.get()).map(|image| (0, image));
    let second = (0..100).map(|image| (1, image));
    let inputs = first.chain(second).inspect(|(set, _)| made[*set].set(made[*set].get() + 1));
    let one_ahead = MapOptions::new().window(pool.workers() + 1).ordered(false);
    for set in pool.map_with(&one_ahead, process, inputs)? {
        processed[set?] += 1;
        enough.set(processed[0] >= ENOUGH);
    }

    println!("set 1: {} of 1000 tasks were made, and {} images processed", made[0].get(), processed[0]);
    println!("set 2: {} of 100 tasks were made, and {} images processed", made[1].get(), processed[1]);
    Ok(())
}
