//! The article's examples: a map over threads, one task, tasks in any order, cancelling, errors, a scope, a map over processes, a killed worker.

use crate::process_support::{kill, pid_alive, wait_until};
use crate::{Example, Outcome};
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Release},
};
use std::time::Duration;
use taskring::{Error, Executor, Future, OnWorkerDeath, PoolKind, StartMethod, State, TaskError, as_completed};

pub const EXAMPLES: &[Example] = &[
    Example {
        name: "map_over_threads",
        rust: Some(map_over_threads),
        prints: "\
main: begins
| main: goes on at once
| 5: begins
| 5: ends
| 4: begins
| 4: ends
| 3: begins
| 3: ends
| 2: begins
| 2: ends
| 1: begins
| 1: ends
main: results 0.5 0.4 0.3 0.2 0.1
",
    },
    Example {
        name: "one_task",
        rust: Some(one_task),
        prints: "\
| main: the task is running
| 5: begins
5: ends
main: result 0.5
main: the task is done
",
    },
    Example {
        name: "tasks_in_any_order",
        rust: Some(tasks_in_any_order),
        prints: "\
main: begins
| main: result 5 0.5
| main: result 4 0.4
| main: result 3 0.3
| main: result 2 0.2
| main: result 1 0.1
",
    },
    Example {
        name: "callback",
        rust: Some(callback),
        prints: "5: begins\n5: ends\n| main: the task is over\n| 5: value 0.5\n",
    },
    Example {
        name: "cancelling",
        rust: Some(cancelling),
        prints: "\
| 10: begins
| 9: begins
main: 1 is cancelled
main: 2 is cancelled
main: 3 is cancelled
main: 4 is cancelled
main: 5 is cancelled
main: 6 is cancelled
main: 7 is cancelled
main: 8 is cancelled
main: 9 is not cancelled
main: 10 is not cancelled
| 10: ends
| 9: ends
main: ends
",
    },
    Example {
        name: "cancelling_with_callbacks",
        rust: Some(cancelling_with_callbacks),
        prints: "\
| 10: begins
| 9: begins
| 1: cancelled
| 2: cancelled
| 3: cancelled
| 4: cancelled
| 5: cancelled
| 6: cancelled
| 7: cancelled
| 8: cancelled
main: 9 and 10 go on
| 10: ends
| 9: ends
| 10: not cancelled
| 9: not cancelled
",
    },
    Example {
        name: "errors_in_tasks",
        rust: Some(errors_in_tasks),
        prints: "\
5: begins
main: the error is \"the value 5 is no good\"
main: instead of a result: \"the value 5 is no good\"
",
    },
    Example { name: "scope_waits", rust: Some(scope_waits), prints: "main: begins\n| 1\n| 2\n| 3\n| 4\nmain: ends\n" },
    Example {
        name: "map_over_processes",
        rust: Some(map_over_processes),
        prints: "\
main: task 5 ran in process #
main: task 4 ran in process #
main: task 3 ran in process #
main: task 2 ran in process #
main: task 1 ran in process #
",
    },
    Example {
        name: "killed_worker_and_a_second_task",
        rust: Some(killed_worker_and_a_second_task),
        prints: "main: a worker is process #\nmain: it was killed\nmain: the second task ran in process #\n",
    },
    Example {
        name: "killed_worker_breaks_the_pool",
        rust: Some(killed_worker_breaks_the_pool),
        prints: "\
main: a worker is process #
main: it was killed
main: no second task: the pool is broken: a worker of the pool ended abruptly while a task was running or pending: process #: signal 9 killed it
",
    },
];

/// What `held` tasks wait for. The workers are threads of this process.
static GO: AtomicBool = AtomicBool::new(false);

/// How many callbacks were called.
static CALLED: AtomicU32 = AtomicU32::new(0);

taskring::task! {
    fn take_tenth(n: u64) -> f64 {
        println!("{n}: begins");
        std::thread::sleep(Duration::from_millis(10 * n));
        println!("{n}: ends");
        n as f64 / 10.0
    }
    fn held(n: u64) -> f64 {
        println!("{n}: begins");
        wait_until("the main thread lets it go", || GO.load(Acquire));
        println!("{n}: ends");
        n as f64 / 10.0
    }
    fn both(n: u64) -> (u64, f64) {
        std::thread::sleep(Duration::from_millis(n * 7 % 5));
        (n, n as f64 / 10.0)
    }
    fn no_good(n: u64) -> Result<f64, TaskError> {
        println!("{n}: begins");
        Err(TaskError::new(format!("the value {n} is no good")))
    }
    fn print(n: u64) { println!("{n}") }
    fn own_pid() -> u32 { std::process::id() }
    fn with_pid(n: u64) -> (u64, u32) { (n, std::process::id()) }
}

fn threads(count: usize) -> taskring::Result<Executor> {
    Executor::builder().start(StartMethod::Thread).workers(count).build()
}

fn until_running(future: &Future<f64>) {
    wait_until("the task runs", || future.state() == State::Running);
}

fn map_over_threads() -> Outcome {
    let pool = threads(2)?;
    println!("main: begins");
    let results = pool.map(take_tenth, (1..=5).rev())?;
    println!("main: goes on at once");
    let results: Vec<String> = results.map(|tenth| Ok(tenth?.to_string())).collect::<Result<_, Error>>()?;
    println!("main: results {}", results.join(" "));
    Ok(())
}

fn one_task() -> Outcome {
    let pool = threads(2)?;
    let future = pool.submit(held, 5)?;
    until_running(&future);
    println!("main: the task is running");
    GO.store(true, Release);
    println!("main: result {}", future.result()?);
    assert_eq!(future.state(), State::Done);
    println!("main: the task is done");
    Ok(())
}

fn tasks_in_any_order() -> Outcome {
    let pool = threads(5)?;
    println!("main: begins");
    let futures = pool.submit_bulk(both, (1..=5).rev())?;
    for future in as_completed(futures, None) {
        let (n, tenth) = future?.result()?;
        println!("main: result {n} {tenth}");
    }
    Ok(())
}

fn cancelling() -> Outcome {
    let pool = threads(2)?;
    let futures = pool.submit_bulk(held, (1..=10).rev())?;
    until_running(&futures[0]);
    until_running(&futures[1]);
    for (n, future) in (1..).zip(futures.iter().rev()) {
        println!("main: {n} is {}", if future.cancel() { "cancelled" } else { "not cancelled" });
    }
    GO.store(true, Release);
    pool.shutdown(true, false)?;
    println!("main: ends");
    Ok(())
}

fn callback() -> Outcome {
    let pool = threads(2)?;
    let future = pool.submit(held, 5)?;
    future.on_done(|future| {
        println!("5: value {:.1}", future.result().expect("it went well"));
        CALLED.fetch_add(1, Release);
    })?;
    GO.store(true, Release);
    wait_until("the callback was called", || CALLED.load(Acquire) == 1);
    println!("main: the task is over");
    Ok(())
}

fn cancelling_with_callbacks() -> Outcome {
    let pool = threads(2)?;
    let futures = pool.submit_bulk(held, (1..=10).rev())?;
    until_running(&futures[0]);
    until_running(&futures[1]);
    for (n, future) in (1..).zip(futures.iter().rev()) {
        future.on_done(move |future| {
            println!("{n}: {}", if future.is_cancelled() { "cancelled" } else { "not cancelled" });
            CALLED.fetch_add(1, Release);
        })?;
        future.cancel();
    }
    wait_until("eight are cancelled", || CALLED.load(Acquire) == 8);
    println!("main: 9 and 10 go on");
    GO.store(true, Release);
    wait_until("the others are over", || CALLED.load(Acquire) == 10);
    Ok(())
}

fn errors_in_tasks() -> Outcome {
    let pool = threads(2)?;
    let future = pool.submit(no_good, 5)?;
    if let Some(Error::TaskFailed { summary: message, .. }) = future.exception(None)? {
        println!("main: the error is {message:?}");
    }
    match future.result() {
        Ok(value) => println!("main: {value}"),
        Err(Error::TaskFailed { summary: message, .. }) => println!("main: instead of a result: {message:?}"),
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn scope_waits() -> Outcome {
    {
        let pool = threads(2)?;
        println!("main: begins");
        for n in 1..=4 {
            pool.submit(print, n)?.detach();
        }
    }
    println!("main: ends");
    Ok(())
}

fn map_over_processes() -> Outcome {
    let pool = Executor::builder().workers(2).build()?;
    for result in pool.map(with_pid, (1..=5).rev())? {
        let (n, pid) = result?;
        assert_ne!(pid, std::process::id());
        println!("main: task {n} ran in process {pid}");
    }
    Ok(())
}

/// Kills the worker that ran a first task. (The article's is told to hang up, which programs under `nohup` and their workers do not hear.)
fn kill_a_worker(pool: &Executor) -> Result<u32, Error> {
    let pid = pool.submit(own_pid, ())?.result()?;
    println!("main: a worker is process {pid}");
    kill(pid);
    wait_until("the worker has ended", || !pid_alive(pid));
    println!("main: it was killed");
    Ok(pid)
}

fn killed_worker_and_a_second_task() -> Outcome {
    let pool = Executor::builder().workers(2).build()?;
    let first = kill_a_worker(&pool)?;
    let second = pool.submit(own_pid, ())?.result()?;
    assert_ne!(first, second);
    println!("main: the second task ran in process {second}");
    Ok(())
}

fn killed_worker_breaks_the_pool() -> Outcome {
    let pool = Executor::builder().workers(2).on_worker_death(OnWorkerDeath::BreakPool).build()?;
    let killed = kill_a_worker(&pool)?;
    // The other worker is there until the death of the first one is known, and may be quick enough for a task or more.
    let error = loop {
        if let Err(e) = pool.submit(own_pid, ()).and_then(|future| future.result()) {
            break e;
        }
    };
    let text = error.to_string();
    assert!(matches!(error, Error::Broken { kind: PoolKind::Process, .. }) && text.contains(&format!("process {killed}")));
    println!("main: no second task: {text}");
    Ok(())
}
