//! How long an empty task takes: there and back (N1), behind a window (N2), in batches and by `map` (N3), through C (N4), to a sleeping worker
//! (N7), and with as many workers as CPUs (N16).

use crate::common::affinity::Pinned;
use crate::common::c_pool::CPool;
use crate::common::crossbeam_pool::CrossbeamPool;
use crate::common::limit::Partner;
use crate::foreign::Foreign;
use crate::iceoryx::Iceoryx;
use crate::ours::{self, CAPACITY, CHUNK, Named, WINDOW, plain};
use crate::queues::Shaq;
use crate::report::Report;
use crate::setup::{Setup, Turns, timed};
use crate::sockets::{self, Framed, IpcChannel};
use crate::threads;
use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};
use taskring::Executor;

/// Our own pools, each with a worker process of its own.
pub struct Ours {
    pub rust: Executor,
    pub c: CPool,
    named: Option<Named>,
    /// Workers = CPUs, nothing pinned.
    crowded: Executor,
}

impl Ours {
    pub fn new(setup: &Setup) -> Ours {
        let crowded = Executor::builder().capacity(CAPACITY).build().expect("a pool");
        let named = Some(Named::new(setup.second).expect("a pool by name"));
        Ours { rust: ours::pinned_pool(setup.second), c: CPool::pinned(setup.second), named, crowded }
    }
}

/// A peer, or the line that says why it is not here.
pub fn here<T>(report: &mut Report, peer: &str, made: io::Result<T>) -> Option<T> {
    made.map_err(|why| report.absent(peer, &why.to_string())).ok()
}

/// Long enough for every worker and waiter to have stopped spinning.
const IDLE: Duration = Duration::from_millis(5);
/// Tasks before the clock starts.
const WARM_UP: u64 = 200;

/// N1's round trips.
pub fn round_trips(setup: &Setup, report: &mut Report, ours: &Ours, partner: &Partner, foreign: &RefCell<Foreign>) {
    report.heading("one task there and back, the worker awake");
    let (second, count, slow) = (setup.second, setup.pick(10_000, 4_000), setup.pick(500, 200));
    let crossbeam = CrossbeamPool::pinned(&[second], 1);
    let (rayon, threadpool, tokio) = (threads::rayon(&[second]), threads::threadpool(second), threads::tokio(second));
    let mut shaq = here(report, "shaq", Shaq::new(second));
    let mut iceoryx = here(report, "iceoryx2", Iceoryx::new(second));
    let mut channel = here(report, "ipc-channel", IpcChannel::new(second));
    let mut sockets = here(report, "socketpair pool", Framed::socketpair(second));
    let mut pipes = here(report, "pipe pool", Framed::pipes(second));
    let mut turns = Turns::new(setup);
    turns.pinned("ours", WARM_UP, count, |n| ours::round_trips(&ours.rust, n));
    turns.round("cacheline", || partner.cacheline_ns(count as u32));
    turns.pinned("crossbeam", WARM_UP, count / 2, |n| crossbeam.run(n, 1, plain));
    if let Some(iceoryx) = &mut iceoryx {
        let first = setup.first;
        turns.round("iceoryx2", move || {
            let _pinned = Pinned::to(first);
            iceoryx.begin(WARM_UP + count);
            timed(WARM_UP, count, |n| iceoryx.round_trips(n))
        });
    }
    if let Some(shaq) = &mut shaq {
        let first = setup.first;
        turns.round("shaq", move || {
            let _pinned = Pinned::to(first);
            shaq.begin(WARM_UP + count);
            timed(WARM_UP, count, |n| shaq.window(1, n))
        });
    }
    turns.pinned("ours through C", WARM_UP, count, |n| ours.c.round_trips(n));
    if let Some(named) = &ours.named {
        turns.pinned("ours by name", WARM_UP, count, |n| ours::round_trips(&named.pool, n));
    }
    turns.unpinned("ours unpinned on all CPUs", WARM_UP, count, |n| ours::round_trips(&ours.crowded, n));
    turns.pinned("rayon install", WARM_UP, count / 2, |n| threads::rayon_round_trips(&rayon, n));
    turns.pinned("threadpool", WARM_UP, slow, |n| threads::threadpool_round_trips(&threadpool, n));
    turns.pinned("tokio spawn", WARM_UP, slow, |n| threads::tokio_window(&tokio, false, 1, n));
    turns.pinned("tokio spawn_blocking", WARM_UP, slow, |n| threads::tokio_window(&tokio, true, 1, n));
    if let Some(channel) = &mut channel {
        turns.pinned("ipc-channel", 20, slow, |n| channel.window(1, n));
    }
    if let Some(sockets) = &mut sockets {
        turns.pinned("socketpair pool", 20, slow, |n| sockets.window(1, n));
    }
    if let Some(pipes) = &mut pipes {
        turns.pinned("pipe pool", 20, slow, |n| pipes.window(1, n));
    }
    Foreign::add_all(foreign, &mut turns, setup, "round-trip");
    let figures = turns.run(setup.pick(21, 7), report, "round trip");
    if setup.wants("N1") {
        figures.judge(report, "N1a", "ours", "cacheline", 1.5);
        figures.judge(report, "N1b", "ours", "crossbeam", 0.6);
        figures.judge(report, "N1c", "ours", "iceoryx2", 0.5);
    }
}

/// N2, N4a, N16a: one submit for each task.
pub fn single(setup: &Setup, report: &mut Report, ours: &Ours, foreign: &RefCell<Foreign>) {
    report.heading("one submit for each task, collected behind a window of 1000 (64 where pipes and sockets would fill up)");
    let (second, window, count, slow) =
        (setup.second, WINDOW as u64, setup.pick(100_000, 50_000), setup.pick(10_000, 3_000));
    let warm_up = 2_000;
    let crossbeam = CrossbeamPool::pinned(&[second], WINDOW);
    let (rayon, threadpool, tokio) = (threads::rayon(&[second]), threads::threadpool(second), threads::tokio(second));
    let mut shaq = here(report, "shaq", Shaq::new(second));
    let mut channel = here(report, "ipc-channel", IpcChannel::new(second));
    let mut sockets = here(report, "socketpair pool", Framed::socketpair(second));
    let mut pipes = here(report, "pipe pool", Framed::pipes(second));
    let mut turns = Turns::new(setup);
    turns.pinned("ours", warm_up, count, |n| ours::single(&ours.rust, WINDOW, n));
    turns.pinned("crossbeam", warm_up, count, |n| crossbeam.run(n, WINDOW, plain));
    turns.pinned("rayon spawn from outside", warm_up, count, |n| threads::rayon_outside(&rayon, window, n));
    turns.pinned("ours through C", warm_up, count, |n| ours.c.single(WINDOW, n));
    turns.unpinned("ours unpinned on all CPUs", warm_up, count, |n| ours::single(&ours.crowded, WINDOW, n));
    if let Some(named) = &ours.named {
        turns.pinned("ours by name", warm_up, count, |n| ours::single(&named.pool, WINDOW, n));
    }
    turns.pinned("threadpool", warm_up, count, |n| threads::threadpool_window(&threadpool, window, n));
    turns.pinned("tokio spawn", warm_up, count, |n| threads::tokio_window(&tokio, false, WINDOW, n));
    turns.pinned("tokio spawn_blocking", 200, slow, |n| threads::tokio_window(&tokio, true, WINDOW, n));
    if let Some(shaq) = &mut shaq {
        let first = setup.first;
        turns.round("shaq", move || {
            let _pinned = Pinned::to(first);
            shaq.begin(warm_up + count);
            timed(warm_up, count, |n| shaq.window(WINDOW, n))
        });
    }
    if let Some(channel) = &mut channel {
        turns.pinned("ipc-channel window 64", 200, slow, |n| channel.window(sockets::WINDOW, n));
    }
    if let Some(sockets) = &mut sockets {
        turns.pinned("socketpair pool window 64", 200, slow, |n| sockets.window(sockets::WINDOW, n));
    }
    if let Some(pipes) = &mut pipes {
        turns.pinned("pipe pool window 64", 200, slow, |n| pipes.window(sockets::WINDOW, n));
    }
    Foreign::add_all(foreign, &mut turns, setup, "single");
    let figures = turns.run(setup.pick(21, 7), report, "single");
    if setup.wants("N2") {
        figures.judge(report, "N2a", "ours", "crossbeam", 0.9);
        figures.judge(report, "N2b", "ours", "rayon spawn from outside", 0.5);
    }
    if setup.wants("N4") {
        figures.judge(report, "N4a", "ours through C", "ours", 1.15);
    }
    if setup.wants("N16") {
        figures.judge(report, "N16a", "ours unpinned on all CPUs", "ours", 1.25);
    }
}

/// N3, N4b, N16b: very many tasks at once.
pub fn bulk(setup: &Setup, report: &mut Report, ours: &Ours, foreign: &RefCell<Foreign>) {
    let (count, slow, warm_up) = (setup.pick(1_000_000, 200_000), setup.pick(20_000, 5_000), 10_000);
    report.heading(&format!("{count} small tasks at once: in batches of 1000, by map, in a scope"));
    let one = threads::rayon(&[setup.second]);
    let two = threads::rayon(&[setup.first, setup.second]);
    let mut turns = Turns::new(setup);
    turns.pinned("bulk 1000", warm_up, count, |n| ours::bulk(&ours.rust, n));
    turns.pinned("map chunk 64", warm_up, count, |n| ours::map(&ours.rust, CHUNK, n));
    turns.pinned("map without options", 200, slow, |n| ours::map_plain(&ours.rust, n));
    turns.pinned("rayon scope 1 thread", warm_up, count, |n| threads::rayon_scope(&one, n));
    turns.pinned("rayon scope 2 threads", warm_up, count, |n| threads::rayon_scope(&two, n));
    turns.pinned("bulk 1000 through C", warm_up, count, |n| ours.c.bulk(n));
    turns.unpinned("bulk 1000 unpinned on all CPUs", warm_up, count, |n| ours::bulk(&ours.crowded, n));
    turns.unpinned("map chunk 64 unpinned on all CPUs", warm_up, count, |n| ours::map(&ours.crowded, CHUNK, n));
    if let Some(named) = &ours.named {
        turns.pinned("bulk 1000 by name", warm_up, count, |n| ours::bulk(&named.pool, n));
    }
    Foreign::add_all(foreign, &mut turns, setup, "bulk");
    let figures = turns.run(setup.pick(11, 5), report, "bulk");
    if setup.wants("N3") {
        // Both of our ways, though the batches' tasks are tasks of their own, as those of a scope are, and the chunks of `map` are not.
        let (one, two) = ("rayon scope 1 thread", "rayon scope 2 threads");
        let faster = if figures.get(one).ns() <= figures.get(two).ns() { one } else { two };
        for ours in ["map chunk 64", "bulk 1000"] {
            figures.judge(report, "N3a", ours, faster, 0.35);
        }
        figures.judge(report, "N3b", "map chunk 64", "multiprocessing.Pool map auto-chunked", 0.2);
    }
    if setup.wants("N4") {
        figures.judge(report, "N4b", "bulk 1000 through C", "bulk 1000", 1.15);
    }
    if setup.wants("N16") {
        for (unpinned, pinned) in
            [("bulk 1000 unpinned on all CPUs", "bulk 1000"), ("map chunk 64 unpinned on all CPUs", "map chunk 64")]
        {
            figures.judge(report, "N16b", unpinned, pinned, 1.25);
        }
    }
}

/// N7: a worker that has gone to sleep is woken and answers.
pub fn asleep(setup: &Setup, report: &mut Report, ours: &Ours, partner: &Partner) {
    report.heading("one task there and back after 5 ms in which nothing was submitted");
    let count = setup.pick(10, 5);
    let mut turns = Turns::new(setup);
    let first = setup.first;
    turns.round("ours asleep", || {
        let _pinned = Pinned::to(first);
        let mut total = Duration::ZERO;
        for x in 0..count {
            std::thread::sleep(IDLE);
            let start = Instant::now();
            let answer = ours.rust.submit(ours::square, x).and_then(|future| future.result());
            total += start.elapsed();
            assert_eq!(answer, Ok(plain(x)));
        }
        crate::common::per(total, count)
    });
    turns.round("futex", || partner.futex_ns(count as u32, IDLE));
    let figures = turns.run(setup.pick(31, 15), report, "asleep");
    figures.judge(report, "N7", "ours asleep", "futex", 1.2);
}
