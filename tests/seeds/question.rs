//! What the question's answers show, and what was asked: an input that is read only as workers become free, of which the rest can be left out; ten JPEGs
//! are enough; and two hundred of a thousand, then other work for the same pool.

use crate::process_support::await_gate;
use crate::{Example, Outcome};
use std::cell::Cell;
use std::fmt::Debug;
use taskring::{Discarded, Error, Executor, Future, MapOptions, Payload, TaskError, as_completed};

pub const EXAMPLES: &[Example] = &[
    Example {
        name: "lazy_feed",
        rust: Some(lazy_feed),
        prints: "\
main: 200 results of the first input
main: no more than 3 others of it were under way
main: 10 results of the second input
",
    },
    Example {
        name: "ten_jpegs",
        rust: Some(ten_jpegs),
        prints: "\
main: ten JPEGs are enough
main: the others are over, most of them cancelled
main: the pool looks at another: true
",
    },
    Example {
        name: "two_sets",
        rust: Some(two_sets),
        prints: "\
main: 200 of 1000 images are processed
main: the others never start, but for those that run already
main: 100 images of the second set are processed
",
    },
];

/// The first of these many images are there at once; the others come when there is a file of this name.
const AT_ONCE: u64 = 40;
const GATE: &str = "gate";

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn is_jpeg(image: u64) -> Result<bool, TaskError> {
        if image >= AT_ONCE {
            await_gate(GATE);
        }
        Ok(std::fs::read(format!("{image}.img"))?.starts_with(&[0xff, 0xd8, 0xff]))
    }
    fn process(image: u64) -> u64 {
        if image >= 6 * AT_ONCE {
            await_gate(GATE);
        }
        image
    }
}

fn lazy_feed() -> Outcome {
    let pool = Executor::builder().workers(2).build()?;
    let stop = Cell::new(false);
    let first = (0..1_000_000).take_while(|_| !stop.get());
    let second = 2_000_000..2_000_010;
    // A task for each worker, and one ahead: nothing else of the input is read.
    let options = MapOptions::new().window(3);
    let mut squares = pool.map_with(&options, square, first.chain(second))?;
    let taken: Vec<u64> = squares.by_ref().take(200).collect::<Result<_, _>>()?;
    stop.set(true);
    let others: Vec<u64> = squares.collect::<Result<_, _>>()?;

    assert_eq!(taken, (0..200).map(|x| x * x).collect::<Vec<u64>>());
    println!("main: {} results of the first input", taken.len());
    let (under_way, second) = others.split_at(others.len() - 10);
    assert!(under_way.len() <= 3, "{under_way:?}");
    println!("main: no more than 3 others of it were under way");
    assert_eq!(second, (2_000_000..2_000_010).map(|x| x * x).collect::<Vec<u64>>());
    println!("main: {} results of the second input", second.len());
    Ok(())
}

/// What was not taken is over: as many of it are cancelled as was told, or more if a worker had been about to start one.
fn check_rest<R: Payload + Debug>(futures: &[Future<R>], counts: &Discarded) {
    let mut cancelled = 0;
    for future in futures {
        match future.result() {
            Ok(_) => {}
            Err(Error::Cancelled) => cancelled += 1,
            Err(e) => panic!("{future:?}: {e}"),
        }
    }
    let range = counts.cancelled..=counts.cancelled + counts.running;
    assert!(range.contains(&cancelled), "{cancelled}, and {counts:?}");
}

fn ten_jpegs() -> Outcome {
    let pool = Executor::builder().workers(2).build()?;
    let set = pool.task_set()?;
    let futures: Vec<Future<bool>> = (0..100).map(|image| set.submit(is_jpeg, image)).collect::<Result<_, _>>()?;
    let mut found = 0;
    let mut ended = as_completed(futures, None);
    while found < 10 {
        let future = ended.next().expect("there are more than ten")?;
        found += u64::from(future.result()?);
    }
    println!("main: ten JPEGs are enough");
    let counts = set.discard()?;
    std::fs::write(GATE, "")?;
    assert!(counts.cancelled >= 58, "{counts:?}");
    check_rest(&ended.into_rest(), &counts);
    println!("main: the others are over, most of them cancelled");
    println!("main: the pool looks at another: {}", pool.submit(is_jpeg, 0)?.result()?);
    Ok(())
}

fn two_sets() -> Outcome {
    let pool = Executor::builder().workers(4).build()?;
    let workers = pool.worker_pids();
    let set = pool.task_set()?;
    let futures: Vec<Future<u64>> = (0..1000).map(|image| set.submit(process, image)).collect::<Result<_, _>>()?;
    let mut ended = as_completed(futures, None);
    for future in ended.by_ref().take(200) {
        future?.result()?;
    }
    println!("main: 200 of 1000 images are processed");
    let counts = set.discard()?;
    std::fs::write(GATE, "")?;
    check_rest(&ended.into_rest(), &counts);
    assert!(counts.cancelled >= 756 && counts.running <= 4, "{counts:?}");
    assert_eq!(counts.cancelled + counts.running + counts.done, 1000, "{counts:?}");
    println!("main: the others never start, but for those that run already");

    let second: Vec<u64> = pool.map(process, 1000..1100)?.collect::<Result<_, _>>()?;
    assert_eq!(second, (1000..1100).collect::<Vec<u64>>());
    assert_eq!(pool.worker_pids(), workers, "no worker was started for them");
    println!("main: {} images of the second set are processed", second.len());
    Ok(())
}
