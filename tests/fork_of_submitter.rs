//! The host program forks: the child's copies of the handles are inert, and what the child does with them, its end included, harms nobody.

mod process_support;

use process_support::{Program, fd_count, hear, kill, pid_alive, pool_file, say, shm_entries, unique, wait_until};
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, MapOptions, StartMethod, When, inspect};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn nap(ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[("forking owner", forking_owner)],
        &[
            ("fault_19_every_handle_says_forked_in_the_child_and_works_on_in_the_parent", inert_handles),
            ("a_child_that_drops_every_handle_and_ends_takes_nothing_from_the_parent", harmless_end),
            ("a_child_can_attach_anew_and_make_a_pool_of_its_own", attach_anew),
            ("a_child_that_lives_on_does_not_hide_its_parents_death", hidden_end),
        ],
    );
}

/// How a forked child ends.
#[derive(Clone, Copy)]
enum End {
    /// `exit`: the exit hooks run.
    Exit,
    /// `_exit`: no hook runs.
    AtOnce,
}

/// Forks; the child makes the checks and ends. Gives the names of those that failed.
fn in_child<const N: usize>(end: End, checks: impl FnOnce() -> [(&'static str, bool); N]) -> Vec<String> {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the child makes its checks and ends. It allocates a little, which the C library allows after a fork of a process with
    // threads; it takes no lock that another thread of this test may hold.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let results = checks();
        let failed = results.iter().filter(|(_, ok)| !ok).map(|(name, _)| *name).collect::<Vec<_>>().join("\n");
        let _ = std::io::Write::write_all(&mut &writer, failed.as_bytes());
        match end {
            // SAFETY: ends the process; the hooks of the library are among what is tested.
            End::Exit => unsafe { libc::exit(0) },
            // SAFETY: ends the process.
            End::AtOnce => unsafe { libc::_exit(0) },
        }
    }
    drop(writer);
    let failed = std::io::read_to_string(reader).expect("the child's answer");
    let mut status = 0;
    // SAFETY: waits for the child just made; `status` is writable.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0), "the child's end");
    failed.lines().map(str::to_owned).collect()
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked))
}

fn inert_handles() {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    let set = pool.task_set().expect("a set");
    let done = pool.submit(square, 3).expect("submitted");
    wait_until("a finished task that nobody has collected", || done.is_done());
    let collected = pool.submit(square, 4).expect("submitted");
    assert_eq!(collected.result(), Ok(16));
    let running = pool.submit(nap, 300).expect("submitted");
    let futures = [pool.submit(nap, 1).expect("submitted")];
    let failed = in_child(End::AtOnce, || {
        let start = Instant::now();
        [
            ("submit", is_forked(pool.submit(square, 1))),
            ("try_submit", is_forked(pool.try_submit(square, 1))),
            ("submit_ref", is_forked(pool.submit_ref(square, &1))),
            ("submit_timeout", is_forked(pool.submit_timeout(square, 1, Duration::from_secs(1)))),
            ("submit_bulk", is_forked(pool.submit_bulk(square, 0..3))),
            ("map", pool.map(square, 0..3).map_or_else(|e| e == Error::Forked, |m| m.take(1).all(is_forked))),
            ("map with chunks", {
                let options = MapOptions::new().chunk(2);
                pool.map_with(&options, square, 0..4).map_or_else(|e| e == Error::Forked, |m| m.take(1).all(is_forked))
            }),
            ("task_set", is_forked(pool.task_set())),
            ("submit to a set", is_forked(set.submit(square, 1))),
            ("discard", is_forked(set.discard())),
            ("shutdown", is_forked(pool.shutdown(true, true))),
            ("result of a running task", is_forked(running.result())),
            ("result with a time-out", is_forked(running.result_timeout(Duration::from_secs(1)))),
            ("result of a finished task", is_forked(done.result())),
            ("a result that was here before the fork", collected.result() == Ok(16)),
            ("cancel", !running.cancel()),
            ("wait", is_forked(taskring::wait(&futures, Some(Duration::from_secs(1)), When::AllCompleted))),
            ("nothing waits", start.elapsed() < Duration::from_millis(250)),
        ]
    });
    assert_eq!(failed, [""; 0]);
    assert_eq!((done.result(), running.result(), futures[0].result()), (Ok(9), Ok(300), Ok(1)));
    assert_eq!(set.discard().expect("discarded").cancelled, 0);
    assert_eq!(pool.submit(square, 5).expect("submitted").result(), Ok(25));
}

fn harmless_end() {
    for end in [End::Exit, End::AtOnce] {
        let name = unique("fork");
        let pool = Executor::builder().workers(2).create_named(&name).expect("a pool");
        let attached = Executor::attach(&name).expect("attached");
        let pending: Vec<Future<u64>> = pool.submit_bulk(nap, vec![5; 20]).expect("submitted");
        wait_until("both workers are ready", || inspect(&name).is_ok_and(|v| v.participants.len() == 4));
        let workers = pool.worker_pids();
        let fds = fd_count();
        // Both sides own these values from here on; the parent's copies are dropped at the end of the round.
        let mut handles = Some((pool, attached, pending));
        let failed = in_child(end, || {
            let start = Instant::now();
            drop(handles.take());
            [("the drop does not wait", start.elapsed() < Duration::from_millis(80))]
        });
        assert_eq!(failed, [""; 0]);
        let (pool, attached, pending) = handles.take().expect("the parent's own");
        // The supervisor has copies of a few while it sleeps.
        wait_until("the same descriptors are open", || fd_count() == fds);
        assert!(pool_file(&name).exists(), "the name stays");
        assert!(pending.iter().all(|f| f.result() == Ok(5)), "the tasks go on");
        assert_eq!(attached.submit(square, 6).expect("submitted").result(), Ok(36));
        assert_eq!(pool.worker_pids(), workers);
        assert!(workers.iter().all(|&pid| pid_alive(pid)));
        let third = Executor::attach(&name).expect("others can attach");
        assert_eq!(third.submit(square, 7).expect("submitted").result(), Ok(49));
        drop((third, attached, pending, pool));
        assert_eq!(shm_entries(&name), [""; 0]);
    }
}

fn attach_anew() {
    let name = unique("anew");
    let pool = Executor::builder().workers(1).create_named(&name).expect("a pool");
    let failed = in_child(End::Exit, || {
        let attached = Executor::attach(&name).and_then(|p| p.submit(square, 8)?.result());
        let own = || {
            let own = Executor::builder().workers(1).start(StartMethod::Thread).build()?;
            own.submit(square, 9)?.result()
        };
        [
            ("attach", attached == Ok(64)),
            ("a pool of its own", own() == Ok(81)),
            ("the old handle", is_forked(pool.submit(square, 1))),
        ]
    });
    assert_eq!(failed, [""; 0]);
    assert_eq!(pool.submit(square, 5).expect("submitted").result(), Ok(25));
}

/// Makes a named pool, forks a child that lives on, and waits to be killed.
fn forking_owner(args: &[String]) {
    let pool = Executor::builder().start(StartMethod::None).create_named(&args[0]).expect("a pool");
    let submitter = Executor::attach(&args[0]).expect("attached");
    // SAFETY: the child only says a line, which no other thread does, and sleeps.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // What is closed in a child has been closed when it says this.
        say(&std::process::id().to_string());
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    hear();
    drop((submitter, pool));
}

fn hidden_end() {
    let name = unique("lives-on");
    let mut owner = Program::start("forking owner", &[&name]);
    let child = owner.numbers()[0] as u32;
    let alive = Executor::builder().start(StartMethod::None).create_named(&name);
    assert_eq!(alive.map(drop), Err(Error::Exists { name: name.clone() }));
    owner.kill();
    // The child has copies of the parent's descriptors, but not of those that say that the parent lives.
    let again = Executor::builder().start(StartMethod::None).create_named(&name).map(drop);
    let child_lived = pid_alive(child);
    kill(child);
    assert_eq!((again, child_lived), (Ok(()), true));
    assert_eq!(shm_entries(&name), [""; 0]);
}
