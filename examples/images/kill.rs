//! A worker is killed with an image in hand: the verdict on that image, its second life, the new worker.

use std::thread;
use std::time::{Duration, Instant};

use taskring::{Cause, Error, Executor, Future, Stage, State};

use crate::report::{Checks, milliseconds};
use crate::work::{Done, Job, process, thumbnails};

/// So many kills are tried until one hits its image. The first one does, unless this process is held up for long.
const TRIES_MAX: usize = 5;
/// The image is worked on for about this long, the same work over and over, so that the kill does not come too late.
const IN_HAND: Duration = Duration::from_millis(500);
const ROUNDS_MAX: u128 = 1000;
/// How long the pool may take to replace the worker.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

/// What came of the image.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Its results: the one after the kill, and any from a kill that came too late.
    pub done: Vec<Done>,
    /// How often it was handed in again because its worker was lost.
    pub retried: usize,
}

/// A worker that is no more, and what its task says about that.
struct Loss {
    pid: u32,
    when: Instant,
    error: Error,
}

/// The task of `job` with its work repeated until it takes long enough, where once takes about `typical`.
pub fn lengthen(job: &Job, typical: Duration) -> Job {
    let rounds = IN_HAND.as_nanos() / typical.as_nanos().max(1);
    Job { rounds: rounds.clamp(1, ROUNDS_MAX) as u32, ..job.clone() }
}

/// Kills the worker that has `slow`, a lengthened `job`; shows what the pool makes of it; hands the image in again.
pub fn kill_and_recover(
    pool: &Executor,
    job: &Job,
    slow: (&Job, Future<Done>),
    checks: &mut Checks,
) -> Result<Recovered, Error> {
    let before = pool.worker_pids();
    let mut recovered = Recovered::default();
    let loss = lose_a_worker(pool, slow, &mut recovered.done)?;
    let Some(loss) = loss else {
        checks.check(false, "a worker was killed with an image in hand");
        return Ok(recovered);
    };
    show_verdict(job, &loss, checks);
    let again = pool.submit(thumbnails, job.clone())?;
    show_replacement(pool, &before, &loss, checks);
    let again = again.result()?;
    recovered.retried += 1;
    checks.check(
        process(job).is_ok_and(|here| here.made == again.made),
        format!("handed in again: worker {} finished it, with the bytes this process makes of it", again.worker),
    );
    recovered.done.push(again);
    Ok(recovered)
}

/// Kills workers until one takes its image along; results of images that were quicker go to `finished`.
fn lose_a_worker(
    pool: &Executor,
    (job, mut future): (&Job, Future<Done>),
    finished: &mut Vec<Done>,
) -> Result<Option<Loss>, Error> {
    for attempt in 1..=TRIES_MAX {
        let hit = kill_worker_of(&future);
        match (future.result(), hit) {
            (Err(error), Some((pid, when))) => return Ok(Some(Loss { pid, when, error })),
            (Err(error), None) => return Err(error),
            (Ok(done), _) => finished.push(done),
        }
        println!("  try {attempt} of {TRIES_MAX}: the image was finished before the kill");
        if attempt < TRIES_MAX {
            future = pool.submit(thumbnails, job.clone())?;
        }
    }
    Ok(None)
}

/// Waits until the task is running and kills the worker that runs it: its pid, and when. None if the task was over
/// first.
fn kill_worker_of(future: &Future<Done>) -> Option<(u32, Instant)> {
    loop {
        match (future.state(), future.worker_pid()) {
            (State::Running, Some(pid)) => {
                // Let it get into its work, then look again: only a worker that still has the task is killed.
                thread::sleep(Duration::from_millis(5));
                if future.state() == State::Running && future.worker_pid() == Some(pid) {
                    return kill(pid).then(|| (pid, Instant::now()));
                }
            }
            (State::Pending | State::Running, _) => thread::sleep(Duration::from_micros(200)),
            (State::Done | State::Cancelled, _) => return None,
        }
    }
}

/// Sends SIGKILL to one process. True if it was sent.
fn kill(pid: u32) -> bool {
    // 0 and negative numbers would mean groups of processes.
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else {
        return false;
    };
    // SAFETY: kill takes two numbers and touches no memory of this process.
    unsafe { libc::kill(pid, libc::SIGKILL) == 0 }
}

fn show_verdict(job: &Job, loss: &Loss, checks: &mut Checks) {
    let Loss { pid, error, .. } = loss;
    let name = job.path.file_name().unwrap_or_default().display();
    println!("  worker {pid} was killed while it worked on {name}");
    println!("  the verdict on that task: {error}");
    let as_promised = match error {
        Error::WorkerLost { pid: lost, cause: Cause::Signal(libc::SIGKILL), stage: Stage::MayHaveRun, .. } => lost == pid,
        _ => false,
    };
    checks.check(as_promised, format!("the verdict names pid {pid}, signal 9, and that the task may have run"));
}

/// Waits for the new worker and shows who came and who went.
fn show_replacement(pool: &Executor, before: &[u32], loss: &Loss, checks: &mut Checks) {
    let replaced = |now: &[u32]| now.len() == before.len() && !now.contains(&loss.pid);
    let mut now = pool.worker_pids();
    while !replaced(&now) && loss.when.elapsed() < REPLACED_WITHIN {
        thread::sleep(Duration::from_micros(200));
        now = pool.worker_pids();
    }
    let took = milliseconds(loss.when.elapsed());
    let new = now.iter().filter(|pid| !before.contains(pid)).count();
    checks.check(
        replaced(&now) && new > 0,
        format!("the dead worker was replaced {took} after the kill: {before:?} became {now:?}"),
    );
}
