//! Section I: pools of interpreters, and what every kind of pool says when it is broken. The kind of workers matters only where a case uses it.

use crate::process_support::common::{Board, fail_with, hold, square};
use crate::process_support::{kill, wait_until};
use crate::support::{is_thread, not_here, pool_of};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::ThreadId;
use std::time::Duration;
use taskring::{Error, Executor, InterpreterPool, OnWorkerDeath, PoolKind, StartMethod, TaskError};

/// A context that no thread could give to another one. Cell 0 of its board counts those that were made, cell 1 those that were dropped where they were made.
struct Desk {
    board: String,
    made_in: ThreadId,
    served: Rc<Cell<u64>>,
}

fn furnish((board, first): (String, u64)) -> Result<Desk, TaskError> {
    let cells = Board::at(&board);
    cells[0].fetch_add(1, SeqCst);
    if cells[2].load(SeqCst) != 0 {
        return Err(TaskError::new("no desk is left"));
    }
    Ok(Desk { board, made_in: std::thread::current().id(), served: Rc::new(Cell::new(first)) })
}

impl Drop for Desk {
    fn drop(&mut self) {
        let is_home = std::thread::current().id() == self.made_in;
        Board::at(&self.board)[1].fetch_add(if is_home { 1 } else { 1000 }, SeqCst);
    }
}

/// Its number among those that this worker has served, and where.
fn serve(desk: &mut Desk, by: u64) -> (u64, bool) {
    desk.served.set(desk.served.get() + by);
    (desk.served.get(), std::thread::current().id() == desk.made_in)
}

fn serve_or_fail(desk: &mut Desk, by: u64) -> Result<u64, TaskError> {
    let (served, _) = serve(desk, by);
    if by == 0 { Err(TaskError::new("nothing to serve")) } else { Ok(served) }
}

fn break_desk(desk: &mut Desk, _: ()) -> u64 {
    desk.served.set(1 << 40);
    panic!("the desk has collapsed");
}

fn vanish(_: &mut Desk, _: ()) {
    // SAFETY: it ends this thread, as a C library may do, without running anything of it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Serves together with so many others.
fn serve_together(desk: &mut Desk, (board, together): (String, u64)) -> u64 {
    let cells = Board::at(&board);
    cells[0].fetch_add(1, SeqCst);
    wait_until("all of them at work", || cells[0].load(SeqCst) >= together);
    serve(desk, 1).0
}

/// Asks for a task of the same pool, of a kind that is said, and waits.
fn ask_for(_: &mut Desk, name: String) -> Result<u64, TaskError> {
    let task = taskring::Task::<u64, u64>::named(&name);
    Ok(taskring::current_pool()?.submit(task, 3)?.result()?)
}

/// Has two tasks mapped that take a context, looks for a result twice, cancels them and looks on: how the looks ended.
fn map_two(_: &mut Desk, ordered: bool) -> Result<Vec<String>, TaskError> {
    let pool = taskring::current_pool()?;
    let options = taskring::MapOptions::new().ordered(ordered);
    let mut results = pool.map_with(&options, taskring::Task::<u64, u64>::named("taskring interpreter"), [3, 4])?;
    let mut ends = Vec::new();
    for look in 0..5 {
        if look == 2 {
            results.cancel();
        }
        ends.push(match results.next() {
            Some(Err(Error::Unsupported { .. })) => "refused".to_owned(),
            Some(Err(Error::Cancelled)) => "cancelled".to_owned(),
            other => format!("{other:?}"),
        });
    }
    Ok(ends)
}

/// An error that another one has brought about.
#[derive(Debug)]
struct NoTable(std::num::ParseIntError);

impl std::fmt::Display for NoTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no table")
    }
}

impl std::error::Error for NoTable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn lay_table(_: &mut Desk, seats: String) -> Result<u64, TaskError> {
    Ok(seats.parse().map_err(NoTable)?)
}

taskring::task! {
    fn lay(seats: String) -> Result<u64, NoTable> { seats.parse().map_err(NoTable) }
    fn fail_at_once(text: String) -> Result<(), TaskError> { Err(TaskError::new(text)) }
}

fn kind_of_pool(kind: StartMethod) -> PoolKind {
    match kind {
        StartMethod::Thread => PoolKind::Thread,
        StartMethod::Interpreter => PoolKind::Interpreter,
        _ => PoolKind::Process,
    }
}

fn kind_of_break(result: Result<impl std::fmt::Debug, Error>) -> (PoolKind, String) {
    match result {
        Err(Error::Broken { kind, cause }) => (kind, cause),
        other => panic!("{other:?} instead of Broken"),
    }
}

/// What the error of a task says, and each of its sources.
fn texts(error: &Error) -> Vec<String> {
    let Error::TaskFailed { summary, .. } = error else { panic!("{error:?}") };
    let sources = std::iter::successors(std::error::Error::source(error), |source| source.source());
    std::iter::once(summary.clone()).chain(sources.map(ToString::to_string)).collect()
}

cases! {
    fn semantics_i3_an_error_comes_back_with_its_summary_and_its_sources(kind) {
        const WANTED: [&str; 2] = ["no table", "invalid digit found in string"];
        let pool = pool_of(kind, 1);
        let error = pool.submit(lay, "x".into()).unwrap().result().unwrap_err();
        assert_eq!(texts(&error), WANTED);
        assert_eq!(error.to_string(), format!("the task failed: {}", WANTED.join(": ")));
        // Of an item of a chunk, from a promise, and what is too long for a slot.
        let chunks = taskring::MapOptions::new().chunk(2);
        let mapped: Vec<_> = pool.map_with(&chunks, lay, ["1", "x", "3"].map(String::from)).unwrap().collect();
        assert_eq!((mapped[0].clone(), texts(mapped[1].as_ref().unwrap_err()), mapped[2].clone()), (Ok(1), WANTED.map(String::from).into(), Ok(3)));
        let promise = taskring::Promise::<u64>::new().unwrap();
        let future = promise.future().unwrap();
        promise.set_error(NoTable("x".parse::<u64>().unwrap_err())).unwrap();
        assert_eq!(future.result(), Err(error));
        let long = "why ".repeat(1000);
        let failed = pool.submit(fail_with, long.clone()).unwrap().result();
        assert_eq!(failed, Err(Error::TaskFailed { summary: long, source: None }), "an error without a source has none");
        if kind == StartMethod::Interpreter {
            let board = Board::new(3);
            let pool = InterpreterPool::new(1, furnish, (board.name(), 0)).expect("a pool");
            let failed = pool.submit_fallible(lay_table, "x".into()).unwrap().result();
            drop(pool);
            assert_eq!(texts(&failed.unwrap_err()), WANTED);
        }
    }

    fn semantics_f16_each_error_has_a_value_of_its_own_and_a_broken_pool_its_kind(kind) {
        let builder = Executor::builder().workers(1).start(kind).on_worker_death(OnWorkerDeath::BreakPool);
        let pool = builder.build().expect("a pool");
        let board = Board::new(2);
        let running = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until("it runs", || board[0].load(SeqCst) == 1);
        let (cancelled, pending) = (pool.submit(square, 1).unwrap(), pool.submit(square, 2).unwrap());
        assert!(cancelled.cancel());
        assert_eq!(cancelled.result(), Err(Error::Cancelled));
        assert!(matches!(pending.result_timeout(Duration::from_millis(1)), Err(Error::TimedOut { .. })));
        let promise = taskring::Promise::<u64>::new().unwrap();
        promise.set_result(1).unwrap();
        assert!(matches!(promise.set_result(2), Err(Error::InvalidState { .. })));
        assert!(matches!(Executor::builder().workers(0).start(kind).build(), Err(Error::InvalidArgument { .. })));
        if is_thread(kind) {
            board[1].store(1, SeqCst);
            assert_eq!((running.result(), pending.result()), (Ok(0), Ok(4)));
        } else {
            kill(running.worker_pid().expect("it runs"));
            assert!(matches!(running.result(), Err(Error::WorkerLost { .. })));
            let (found, cause) = kind_of_break(pending.result());
            assert!(found == PoolKind::Process && cause.contains("signal 9"), "{found:?}: {cause}");
            assert_eq!(kind_of_break(pool.submit(square, 3)).0, PoolKind::Process);
            return;
        }
        pool.shutdown(true, false).expect("over");
        assert!(matches!(pool.submit(square, 3).map(drop), Err(Error::ShutDown)));
    }

    fn semantics_i4_a_failing_initializer_breaks_a_pool_that_says_of_which_kind_it_is(kind) {
        let builder = Executor::builder().workers(2).start(kind).initializer(fail_at_once, "no interpreter".into());
        let pool = builder.build().expect("a pool");
        let (found, cause) = kind_of_break(pool.submit(square, 1).and_then(|future| future.result()));
        assert!(found == kind_of_pool(kind) && cause.contains("no interpreter"), "{found:?}: {cause}");
        assert_eq!(kind_of_break(pool.submit(square, 1)).0, kind_of_pool(kind), "asked again");
    }

    fn semantics_i4_a_context_that_cannot_be_made_breaks_the_pool(_kind) {
        let board = Board::new(3);
        board[2].store(1, SeqCst);
        let pool = InterpreterPool::new(2, furnish, (board.name(), 0)).expect("a pool");
        let (found, cause) = kind_of_break(pool.submit(serve, 1).and_then(|future| future.result()));
        assert!(found == PoolKind::Interpreter && cause.contains("no desk is left"), "{found:?}: {cause}");
        pool.shutdown(true, false).expect("over");
        assert!((1..=2).contains(&board[0].load(SeqCst)), "no worker was started again");
    }

    fn semantics_i4_each_interpreter_makes_its_context_in_its_thread_and_drops_it_there(_kind) {
        let (board, meeting) = (Board::new(3), Board::new(1));
        let pool = InterpreterPool::new(3, furnish, (board.name(), 100)).expect("a pool");
        // One to each, so each desk has served one.
        let together: Vec<_> = (0..3).map(|_| pool.submit(serve_together, (meeting.name(), 3)).unwrap()).collect();
        assert!(together.iter().all(|future| future.result() == Ok(101)), "{together:?}");
        let served: Vec<_> = pool.map(serve, (0..30).map(|_| 1)).unwrap().map(|one| one.expect("served")).collect();
        assert!(served.iter().all(|&(_, is_home)| is_home));
        assert!(served.iter().map(|one| one.0).max() >= Some(111), "a worker keeps its own from task to task: {served:?}");
        assert_eq!(pool.submit_fallible(serve_or_fail, 1).unwrap().result().map(|n| n > 100), Ok(true));
        assert!(matches!(pool.submit_fallible(serve_or_fail, 0).unwrap().result(), Err(Error::TaskFailed { .. })));
        // Tasks without a context run there as anywhere, and a closure that has captured nothing is a function.
        assert_eq!(pool.executor().submit(square, 5).unwrap().result(), Ok(25));
        assert_eq!(pool.submit(|desk: &mut Desk, x: u64| desk.served.get().min(x), 7).unwrap().result(), Ok(7));
        assert_eq!(board[0].load(SeqCst), 3, "an error of a task costs no context");
        drop(pool);
        assert_eq!([0, 1].map(|cell| board[cell].load(SeqCst)), [3, 3]);
    }

    fn semantics_t4_a_task_that_panics_spoils_its_context_and_the_next_one_finds_a_new_one(_kind) {
        let board = Board::new(3);
        let pool = InterpreterPool::new(1, furnish, (board.name(), 10)).expect("a pool");
        assert_eq!(pool.submit(serve, 5).unwrap().result(), Ok((15, true)));
        for made in 2..5 {
            let Err(Error::Panicked { message, .. }) = pool.submit(break_desk, ()).unwrap().result() else { panic!("it panics") };
            assert!(message.starts_with("the desk has collapsed"), "{message}");
            assert_eq!(pool.submit(serve, 5).unwrap().result(), Ok((15, true)));
            assert_eq!([0, 1].map(|cell| board[cell].load(SeqCst)), [made, made - 1]);
        }
        assert!(pool.submit(break_desk, ()).unwrap().result().is_err());
        // When there is no new one the pool is broken.
        board[2].store(1, SeqCst);
        let last = pool.submit(serve, 5).unwrap().result();
        assert!(matches!(&last, Err(Error::TaskFailed { .. } | Error::Broken { .. })), "{last:?}");
        wait_until("the break", || pool.submit(serve, 5).is_err());
        let (found, cause) = kind_of_break(pool.submit(serve, 5));
        assert!(found == PoolKind::Interpreter && cause.contains("no desk is left"), "{found:?}: {cause}");
    }

    fn semantics_b3_an_interpreter_that_is_gone_is_replaced_by_one_with_a_new_context(_kind) {
        let board = Board::new(3);
        let pool = InterpreterPool::new(1, furnish, (board.name(), 10)).expect("a pool");
        assert_eq!(pool.submit(serve, 5).unwrap().result(), Ok((15, true)));
        let lost = pool.submit(vanish, ()).unwrap().result();
        assert!(matches!(lost, Err(Error::WorkerLost { .. })), "{lost:?}");
        assert_eq!(pool.submit(serve, 1).unwrap().result(), Ok((11, true)), "a new desk");
        drop(pool);
        assert_eq!([0, 1].map(|cell| board[cell].load(SeqCst)), [2, 1], "nobody can drop what a thread that is gone had");
    }

    fn semantics_t8_interpreters_refuse_functions_that_have_captured_something(kind) {
        let shared = std::sync::Mutex::new(0_u64);
        let captures = taskring::register("captures", move |by: u64| {
            let mut total = shared.lock().unwrap();
            *total += by;
            *total
        });
        let captures = captures.unwrap();
        let nothing = taskring::register("captures nothing", |x: u64| x + 1).unwrap();
        if !is_thread(kind) && kind != StartMethod::Fork {
            not_here("programs that were started anew have not registered them");
        }
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(nothing, 1).unwrap().result(), Ok(2));
        match pool.submit(captures, 3).unwrap().result() {
            Ok(total) => assert!(total == 3 && kind != StartMethod::Interpreter),
            Err(error) => {
                assert!(kind == StartMethod::Interpreter && error.to_string().contains("captured"), "{error:?}");
            }
        }
    }

    fn semantics_b4_a_task_that_has_its_context_waits_for_none_that_takes_one(_kind) {
        let board = Board::new(3);
        let pool = InterpreterPool::new(1, furnish, (board.name(), 0)).expect("a pool");
        let plain = pool.submit_fallible(ask_for, square.name().to_owned()).unwrap();
        assert_eq!(plain.result(), Ok(9), "what takes no context runs on top of it");
        let error = pool.submit_fallible(ask_for, "taskring interpreter".to_owned()).unwrap().result().unwrap_err();
        assert!(error.to_string().contains("a task that takes a context"), "{error}");
        assert_eq!(pool.submit(serve, 1).unwrap().result(), Ok((1, true)), "the pool goes on, with the same context");
        let failed = pool.executor().submit(fail_with, "why".to_owned()).unwrap().result();
        assert!(matches!(failed, Err(Error::TaskFailed { .. })));
    }

    fn semantics_b4_a_wait_that_is_refused_changes_nothing(_kind) {
        let board = Board::new(3);
        let pool = InterpreterPool::new(1, furnish, (board.name(), 0)).expect("a pool");
        for ordered in [true, false] {
            let ends = pool.submit_fallible(map_two, ordered).unwrap().result().expect("it returns");
            assert_eq!(ends, ["refused", "refused", "cancelled", "cancelled", "None"], "ordered: {ordered}");
        }
    }
}
