//! Section B, row B10: what can be done about a task that runs.

use crate::held::{Held, can_die, given, second_pool_of};
use crate::process_support::common::{Board, count_in, hold, square};
use crate::process_support::{pid_alive, unique, wait_until};
use crate::support::pool_of;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{
    Error, Executor, Future, MapOptions, OnWorkerDeath, Progress, Promise, StartMethod, State, SubmitOptions, task,
};

const UNTIL_ASKED: u64 = 20_000;

taskring::task! {
    /// Tells of its progress, and is held then.
    fn tells(board: String, cell: u64) -> Result<u64, taskring::TaskError> {
        for done in 1..=1000 {
            task::progress(done, 1000)?;
            if done == 500 {
                task::report(&"half of it".to_owned())?;
            }
        }
        hold.call((board, cell))
    }
    /// Tells of its progress, and then lets a child of its process try to. Whether that was refused.
    fn forks() -> Result<bool, taskring::TaskError> {
        task::progress(1, 2)?;
        // SAFETY: the child makes two calls that allocate no more than their answers, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_refused = task::progress(2, 2) == Err(Error::Forked) && task::report(&2_u64) == Err(Error::Forked);
            // SAFETY: ends the process.
            unsafe { libc::_exit(if is_refused { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is writable.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        Ok(waited == child && libc::WEXITSTATUS(status) == 7)
    }
    fn reports_too_much() -> bool {
        matches!(task::report(&vec![7_u8; 65]), Err(Error::PayloadTooLarge { max: 64, .. }))
    }
    /// Runs until it is asked to stop.
    fn until_asked() { wait_until("it is asked", task::cancel_requested) }
    /// The signals that the thread for time limits in this process has blocked, once it has; by number, from the lowest bit.
    fn blocked_by_limits() -> u64 {
        let of = |thread: &std::path::Path| -> Option<u64> {
            let status = std::fs::read_to_string(thread.join("status")).ok()?;
            let is_it = status.starts_with("Name:\ttaskring-limits\n");
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
            u64::from_str_radix(mask.trim(), 16).ok().filter(|&mask| is_it && mask != 0)
        };
        let mut found = None;
        wait_until("the thread has blocked signals", || {
            let mut threads = std::fs::read_dir("/proc/self/task").expect("the threads").filter_map(Result::ok);
            found = threads.find_map(|thread| of(&thread.path()));
            found.is_some()
        });
        found.expect("waited for")
    }
    /// Whether it was asked to stop while it slept, which it does no longer than until then for `UNTIL_ASKED`.
    fn is_asked(ms: u64) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(ms) && !(ms == UNTIL_ASKED && task::cancel_requested()) {
            std::thread::sleep(Duration::from_millis(ms.min(5)));
        }
        task::cancel_requested()
    }
    /// Serves another pool to its end.
    fn serves(name: String) -> bool { taskring::work(&name).is_ok() }
    /// The exit hook of that pool: tells of progress, with no task of that pool below it.
    fn tells_at_the_end(board: String) {
        let outside = |told| matches!(told, Err(Error::Unsupported { with: "outside a task", .. }));
        let is_refused = outside(task::progress(9, 9)) && outside(task::report(&9_u64));
        Board::at(&board)[0].store(1 + u64::from(is_refused), SeqCst);
    }
    /// Waits for another task of its pool, which then runs on top of it if nobody else has begun it.
    fn waits_for_held(board: String, cell: u64) -> Result<u64, taskring::TaskError> {
        let pool = taskring::current_pool()?;
        Ok(pool.submit(crate::process_support::common::hold, (board, cell))?.result()?)
    }
}

taskring::task! {
    /// The same for one that may run again.
    fn waits_for_idempotent(board: String, cell: u64) -> Result<u64, taskring::TaskError> {
        let options = SubmitOptions::new().idempotent(true);
        let pool = taskring::current_pool()?;
        Ok(pool.submit_with(&options, hold, (board, cell))?.result()?)
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Cancels a running task hard, and says whether that is possible here. Where it is, the task is over as cancelled and its worker is gone.
#[track_caller]
fn is_killed(kind: StartMethod, future: &Future<u64>) -> bool {
    let pid = future.worker_pid().expect("it runs");
    if !can_die(kind) {
        assert!(matches!(future.cancel_hard(), Err(Error::Unsupported { .. })));
        assert_eq!(future.state(), State::Running, "nothing was changed");
        return false;
    }
    assert_eq!(future.cancel_hard(), Ok(true));
    assert_eq!(future.result(), Err(Error::Cancelled));
    assert_eq!((future.state(), future.cancel_hard()), (State::Cancelled, Ok(true)), "it says so again");
    wait_until("its worker is gone", || !pid_alive(pid));
    true
}

cases! {
    fn semantics_b10_a_running_task_is_killed_and_all_others_go_on(kind) {
        let pool = pool_of(kind, 2);
        let (held, board) = (Held::new(2), Board::new(1));
        let [victim, other] = [held.start(&pool, 0), held.start(&pool, 1)];
        let other_pid = other.worker_pid();
        let pending: Vec<_> = (0..20).map(|_| pool.submit(count_in, (board.name(), 0)).unwrap()).collect();
        if !is_killed(kind, &victim) {
            held.let_go(0);
            assert_eq!(victim.result(), Ok(given(0)));
        }
        assert!(pending.iter().all(|f| f.result().is_ok()), "another worker takes the place of the killed one");
        assert_eq!(board[0].load(SeqCst), 20);
        assert_eq!((other.state(), other.worker_pid()), (State::Running, other_pid), "the one beside it goes on");
        held.let_go(1);
        assert_eq!(other.result(), Ok(given(1)));
        wait_until("both workers are there", || pool.workers() == 2);
    }

    fn semantics_b10_a_task_that_does_not_run_is_cancelled_hard_as_by_cancel(kind) {
        let pool = pool_of(kind, 1);
        let (held, board) = (Held::new(1), Board::new(1));
        let done = pool.submit(square, 3).unwrap();
        wait_until("it is over", || done.is_done());
        let running = held.start(&pool, 0);
        let pid = running.worker_pid();
        let pending = pool.submit(count_in, (board.name(), 0)).unwrap();
        assert_eq!(pending.cancel_hard(), Ok(true));
        assert_eq!((pending.state(), pending.result()), (State::Cancelled, Err(Error::Cancelled)));
        assert_eq!((done.cancel_hard(), done.result(), done.cancel_hard()), (Ok(false), Ok(9), Ok(false)));
        assert_eq!(running.worker_pid(), pid, "no worker was killed for either");
        held.let_go(0);
        assert_eq!(running.result(), Ok(given(0)));
        let promise = Promise::<u64>::new().unwrap();
        let promised = promise.future().unwrap();
        assert_eq!(promise.set_running_or_notify_cancel(), Ok(true));
        assert!(matches!(promised.cancel_hard(), Err(Error::Unsupported { .. })), "there is no worker to kill");
        promise.set_result(7).unwrap();
        assert_eq!(promised.result(), Ok(7));
        pool.shutdown(true, false).unwrap();
        assert_eq!(board[0].load(SeqCst), 0);
    }

    fn semantics_b10_a_killed_task_is_not_run_again(kind) {
        let builder = Executor::builder().workers(1).start(kind).on_worker_death(OnWorkerDeath::Retry(5)).kills_max(9);
        let pool = builder.build().unwrap();
        let held = Held::new(1);
        let victim = held.start(&pool, 0);
        if !is_killed(kind, &victim) {
            held.let_go(0);
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
        assert_eq!(held.times_begun(0), 1);
    }

    fn semantics_b10_a_killed_task_breaks_no_pool(kind) {
        let pool = Executor::builder().workers(1).start(kind).on_worker_death(OnWorkerDeath::BreakPool).build().unwrap();
        let held = Held::new(2);
        let victim = held.start(&pool, 0);
        let pending = pool.submit(square, 4).unwrap();
        if !is_killed(kind, &victim) {
            held.let_go(0);
        }
        assert_eq!(pending.result(), Ok(16));
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }

    fn semantics_b10_who_attached_by_name_kills_its_task_as_the_owner_does(kind) {
        let name = unique("hard");
        let pool = Executor::builder().workers(1).start(kind).create_named(&name).unwrap();
        let attached = Executor::attach(&name).unwrap();
        let held = Held::new(1);
        let victim = held.start(&attached, 0);
        if !is_killed(kind, &victim) {
            held.let_go(0);
        }
        assert_eq!(attached.submit(square, 5).unwrap().result(), Ok(25));
        assert_eq!(pool.submit(square, 6).unwrap().result(), Ok(36));
    }

    fn semantics_b10_a_task_is_asked_to_stop_at_its_soft_limit(kind) {
        let pool = pool_of(kind, 1);
        let limited = SubmitOptions::new().soft_limit(ms(60));
        let start = Instant::now();
        let asked = pool.submit_with(&limited, until_asked, ()).unwrap();
        let longer = SubmitOptions::new().soft_limit(ms(10_000));
        let others = [pool.submit(is_asked, 150).unwrap(), pool.submit_with(&longer, is_asked, 150).unwrap()];
        asked.result().expect("it ends as it likes");
        assert!(start.elapsed() >= ms(60), "not before its time, which began after this");
        assert_eq!(others.map(|f| f.result()), [Ok(false), Ok(false)], "nobody else is asked");
        let again = pool.submit_with(&limited, is_asked, UNTIL_ASKED).unwrap();
        assert_eq!(again.result(), Ok(true));
    }

    fn semantics_b10_a_task_is_killed_at_its_hard_limit(kind) {
        let pool = Executor::builder().workers(2).start(kind).on_worker_death(OnWorkerDeath::Retry(5)).build().unwrap();
        let held = Held::new(2);
        let other = held.start(&pool, 1);
        let limited = SubmitOptions::new().soft_limit(ms(40)).hard_limit(ms(120));
        let victim = pool.submit_with(&limited, hold, held.input(0));
        if can_die(kind) {
            let victim = victim.unwrap();
            assert_eq!(victim.result(), Err(Error::TimeLimit { limit: ms(120) }));
            assert_eq!((held.times_begun(0), victim.state()), (1, State::Done), "it is not run again");
            assert_eq!(victim.cancel_hard(), Ok(false), "it had ended");
        } else {
            assert!(matches!(victim, Err(Error::Unsupported { .. })));
            let refused = Executor::builder().workers(1).start(kind).task_hard_limit(ms(9)).build();
            assert!(matches!(refused, Err(Error::Unsupported { .. })));
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
        assert_eq!(other.state(), State::Running, "the one beside it goes on");
        held.let_go(1);
        assert_eq!(other.result(), Ok(given(1)));
    }

    fn semantics_b10_a_time_limit_counts_from_the_start_of_the_task(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let first = held.start(&pool, 0);
        let options = SubmitOptions::new().soft_limit(ms(400));
        let options = if can_die(kind) { options.hard_limit(ms(10_000)) } else { options };
        let pending = pool.submit_with(&options, is_asked, 5).unwrap();
        std::thread::sleep(ms(500));
        held.let_go(0);
        assert_eq!((first.result(), pending.result()), (Ok(given(0)), Ok(false)));
    }

    fn semantics_b10_a_pools_time_limit_is_for_tasks_without_their_own(kind) {
        let pool = Executor::builder().workers(1).start(kind).task_soft_limit(ms(300)).build().unwrap();
        let start = Instant::now();
        pool.submit(until_asked, ()).unwrap().result().expect("asked");
        assert!(start.elapsed() >= ms(300), "not before its time");
        let longer = SubmitOptions::new().soft_limit(ms(60_000));
        assert_eq!(pool.submit_with(&longer, is_asked, 400).unwrap().result(), Ok(false));
        let asked: Vec<bool> = pool.map(is_asked, [5, UNTIL_ASKED, 5]).unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(asked, [false, true, false]);
        for wrong in [SubmitOptions::new().soft_limit(ms(0)), SubmitOptions::new().soft_limit(ms(7)).hard_limit(ms(7))] {
            let refused = pool.submit_with(&wrong, is_asked, 5).map(drop);
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
        }
        if can_die(kind) {
            // `fork` wants a process with one thread.
            let kind = if kind == StartMethod::Fork { StartMethod::Spawn } else { kind };
            let other = Executor::builder().workers(1).start(kind).task_hard_limit(ms(20_000)).build().unwrap();
            let soft = |limit| other.submit_with(&SubmitOptions::new().soft_limit(ms(limit)), is_asked, 5);
            assert!(matches!(soft(20_000).map(drop), Err(Error::InvalidArgument { .. })), "it would be killed before");
            assert_eq!(soft(19_999).unwrap().result(), Ok(false));
        }
    }

    fn semantics_b10_the_thread_for_time_limits_takes_no_signals(kind) {
        let pool = pool_of(kind, 1);
        let limited = SubmitOptions::new().soft_limit(ms(60_000));
        let blocked = pool.submit_with(&limited, blocked_by_limits, ()).unwrap().result().unwrap();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD] {
            assert_ne!(blocked & 1 << (signal - 1), 0, "signal {signal} in {blocked:x}");
        }
    }

    fn semantics_b10_a_time_limit_counts_for_the_chunk_of_a_map(kind) {
        let pool = pool_of(kind, 1);
        let limited = |limits| MapOptions::new().chunk(4).submit(limits);
        // Of those that are to end within the limit it is many times what they take, and the one that is to be asked waits for it.
        let soft = limited(SubmitOptions::new().soft_limit(ms(700)));
        let asked: Vec<_> = pool.map_with(&soft, is_asked, [5, UNTIL_ASKED, 5, 5, 5, 5, 5, 5]).unwrap().collect();
        let cancelled = || Err(Error::Cancelled);
        assert_eq!(asked[..4], [Ok(false), Ok(true), cancelled(), cancelled()], "the others of its chunk have not begun");
        assert_eq!(asked[4..], [Ok(false), Ok(false), Ok(false), Ok(false)], "the next one has a time of its own");
        if can_die(kind) {
            let hard = limited(SubmitOptions::new().hard_limit(ms(700)));
            let ended: Vec<_> = pool.map_with(&hard, is_asked, [5, 30_000, 5, 5, 5, 5]).unwrap().collect();
            assert_eq!(ended[..4], [(); 4].map(|()| Err(Error::TimeLimit { limit: ms(700) })), "also what was over");
            assert_eq!(ended[4..], [Ok(false), Ok(false)]);
        }
    }

    fn semantics_b10_a_running_task_tells_how_far_it_has_come(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(2);
        let silent = held.start(&pool, 1);
        assert_eq!((silent.progress(), silent.reported::<String>()), (None, Ok(None)));
        held.let_go(1);
        let telling = pool.submit(tells, held.input(0)).unwrap();
        let told = |done| Some(Progress { done, total: 1000 });
        wait_until("it has told all", || telling.progress() == told(1000));
        assert_eq!(telling.reported(), Ok(Some("half of it".to_owned())));
        assert!(matches!(telling.reported::<(u64, u64, u64)>(), Err(Error::Decode { .. })));
        if !is_killed(kind, &telling) {
            held.let_go(0);
            assert_eq!(telling.result(), Ok(given(0)));
        }
        assert_eq!(telling.progress(), told(1000), "for as long as nobody else tells anything there");
        assert_eq!(task::progress(1, 2), Err(Error::Unsupported { what: "to tell of progress", with: "outside a task" }));
        assert_eq!(pool.submit(reports_too_much, ()).unwrap().result(), Ok(true));
    }

    fn semantics_b10_what_a_worker_does_beside_its_tasks_tells_nothing_of_another_pools(kind) {
        let board = Board::new(1);
        let pool = pool_of(kind, 1);
        let name = unique("other");
        // So that the number of a task of the one is no number in the other.
        let builder = Executor::builder().start(StartMethod::None).capacity(2).exit_hook(tells_at_the_end, board.name());
        let other = builder.create_named(&name).unwrap();
        assert!((0..5).all(|x| pool.submit(square, x).unwrap().result().is_ok()));
        let serving = pool.submit(serves, name).unwrap();
        assert_eq!(other.submit(square, 3).unwrap().result(), Ok(9));
        drop(other);
        assert_eq!(serving.result(), Ok(true));
        assert_eq!((board[0].load(SeqCst), serving.progress()), (2, None));
    }

    fn semantics_b10_a_forked_child_of_a_task_tells_nothing(kind) {
        let pool = pool_of(kind, 1);
        let parent = pool.submit(forks, ()).unwrap();
        wait_until("it is over", || parent.is_done());
        assert_eq!(parent.progress(), Some(Progress { done: 1, total: 2 }));
        assert_eq!((parent.reported::<u64>(), parent.result()), (Ok(None), Ok(true)));
    }

    /// One worker has both, and dies with either.
    fn semantics_b10_a_task_that_waits_for_another_is_killed_as_any(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let below = pool.submit(waits_for_held, held.input(0)).unwrap();
        wait_until("both run", || held.times_begun(0) == 1);
        if can_die(kind) {
            let pid = below.worker_pid().unwrap();
            assert_eq!(below.cancel_hard(), Ok(true));
            assert_eq!(below.result(), Err(Error::Cancelled));
            wait_until("its worker is gone", || !pid_alive(pid));
        } else {
            held.let_go(0);
            assert_eq!(below.result(), Ok(given(0)));
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
        let other = second_pool_of(kind, 1);
        assert_eq!(other.submit(square, 6).unwrap().result(), Ok(36));
    }

    fn semantics_b10_a_task_is_not_charged_with_a_kill_that_another_was_meant_by(kind) {
        let pool = Executor::builder().workers(1).start(kind).kills_max(1).build().unwrap();
        let held = Held::new(1);
        let below = pool.submit(waits_for_idempotent, held.input(0)).unwrap();
        wait_until("both run", || held.times_begun(0) == 1);
        if can_die(kind) {
            assert_eq!(below.cancel_hard(), Ok(true));
            assert_eq!(below.result(), Err(Error::Cancelled));
            wait_until("what lay on top of it runs again", || held.times_begun(0) == 2);
            held.let_go(0);
        } else {
            held.let_go(0);
            assert_eq!(below.result(), Ok(given(0)));
        }
        assert_eq!(pool.submit(square, 5).unwrap().result(), Ok(25));
    }
}
