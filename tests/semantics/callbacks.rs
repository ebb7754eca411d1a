//! Sections F, S, B and A: what a future tells, done-callbacks, and errors with numbers.

use crate::async_await::block_on;
use crate::process_support::common::{Board, fail_with, hold, nap, own_pid, panic_with, square};
use crate::process_support::{LIMIT, pid_alive, wait_until};
use crate::support::{is_thread, pool_of};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{ThreadId, current};
use std::time::Duration;
use taskring::{CompletionQueue, Error, Executor, Future, State, When, as_completed, wait};

taskring::task! {
    fn echo(bytes: Vec<u8>) -> Vec<u8> { bytes }
    fn kill_own_process() -> u64 {
        // SAFETY: the calls take integers.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        unreachable!("it is killed")
    }
}

/// A channel whose receiving end gives up some time.
fn signal<T>() -> (Sender<T>, impl Fn() -> T) {
    let (sender, receiver) = channel();
    let receive = move || Receiver::recv_timeout(&receiver, LIMIT).expect("something came");
    (sender, receive)
}

/// A task that runs until the board's second cell is set; it is seen to run.
fn held(pool: &Executor, board: &Board) -> Future<u64> {
    let running = pool.submit(hold, (board.name(), 0)).unwrap();
    wait_until("the task runs", || running.is_running());
    running
}

/// Messages of the library.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Error {
            LOGGED.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

fn keep_log() {
    log::set_logger(&Keep).expect("the only logger");
    log::set_max_level(log::LevelFilter::Error);
}

cases! {
    fn semantics_f2_cancel_tells_who_waits_and_has_the_callbacks_called_elsewhere(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (pending, last) = (pool.submit(square, 3).unwrap(), pool.submit(square, 4).unwrap());
        let (sender, receive) = signal::<(ThreadId, u64, State, Result<u64, Error>)>();
        for future in [&pending, &last] {
            let sender = sender.clone();
            future.on_done(move |f| sender.send((current().id(), f.id(), f.state(), f.result())).unwrap()).unwrap();
        }
        assert!(pending.cancel());
        assert_eq!(pending.result(), Err(Error::Cancelled));
        let (thread, id, state, result) = receive();
        assert_ne!(thread, current().id());
        assert_eq!((id, state, result), (pending.id(), State::Cancelled, Err(Error::Cancelled)));
        assert!(pending.cancel() && last.cancel());
        assert_eq!(receive().1, last.id(), "cancelling again calls nobody: callbacks come in turn, and this one is next");
        board[1].store(1, SeqCst);
        running.result().unwrap();
    }

    fn semantics_f3_every_state_is_told_by_its_question(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let told = |f: &Future<u64>| (f.is_running(), f.is_cancelled(), f.is_done());
        let running = held(&pool, &board);
        let (pending, cancelled) = (pool.submit(square, 2).unwrap(), pool.submit(square, 3).unwrap());
        cancelled.cancel();
        assert_eq!(told(&running), (true, false, false));
        assert_eq!(told(&pending), (false, false, false));
        assert_eq!(told(&cancelled), (false, true, true));
        board[1].store(1, SeqCst);
        pending.result().unwrap();
        assert_eq!(told(&pending), (false, false, true));
        assert_eq!(told(&running), (false, false, true), "not asked for its result");
        cancelled.result().unwrap_err();
        assert_eq!(told(&cancelled), (false, true, true));
    }

    fn semantics_f5_exception_gives_the_error_of_the_task_and_fails_for_no_end_of_its_own(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(square, 2).unwrap().exception(None), Ok(None));
        let failed = pool.submit(fail_with, "no luck".to_owned()).unwrap();
        for _ in 0..2 {
            assert_eq!(failed.exception(None), Ok(Some(Error::TaskFailed { summary: "no luck".into(), source: None })));
        }
        let panicked = pool.submit(panic_with, "oh".to_owned()).unwrap().exception(None);
        assert!(matches!(panicked, Ok(Some(Error::Panicked { .. }))), "{panicked:?}");
        let board = Board::new(2);
        let running = held(&pool, &board);
        let pending = pool.submit(square, 2).unwrap();
        let limit = Duration::from_millis(1);
        assert!(matches!(running.exception(Some(limit)), Err(Error::TimedOut { after, .. }) if after == limit));
        pending.cancel();
        assert_eq!(pending.exception(None), Err(Error::Cancelled));
        board[1].store(1, SeqCst);
        assert_eq!(running.exception(None), Ok(None));
        assert_eq!(running.result(), Ok(0), "asking for the error takes no result away");
    }

    fn semantics_f5_exception_decodes_nothing(kind) {
        let pool = pool_of(kind, 1);
        let misread: taskring::Task<Vec<u8>, bool> = taskring::Task::named(echo.name());
        let future = pool.submit(misread, vec![7; 4096]).unwrap();
        assert_eq!(future.exception(None), Ok(None));
        assert!(matches!(future.result(), Err(Error::Decode { .. })));
    }

    fn semantics_f10_a_result_is_there_before_a_slow_callback_returns(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (go, may_go) = signal::<()>();
        let (sender, receive) = signal();
        running.on_done(move |f| {
            let early = f.state();
            may_go();
            sender.send((early, f.result())).unwrap();
        }).unwrap();
        board[1].store(1, SeqCst);
        assert_eq!(running.result(), Ok(0));
        go.send(()).unwrap();
        assert_eq!(receive(), (State::Done, Ok(0)), "the callback has it as well, after it was taken");
        assert_eq!(running.result(), Ok(0));
    }

    fn semantics_f11_callbacks_come_in_the_order_added_with_the_future_and_the_same_one_twice(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (sender, receive) = signal();
        for number in 0..5 {
            let sender = sender.clone();
            let tell = move |f: &Future<u64>| sender.send((number, f.id(), current().id())).unwrap();
            running.on_done(tell.clone()).unwrap();
            running.on_done(tell).unwrap();
        }
        board[1].store(1, SeqCst);
        let told: Vec<_> = (0..10).map(|_| receive()).collect();
        assert_eq!(told.iter().map(|&(number, ..)| number).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
        assert!(told.iter().all(|&(_, id, thread)| id == running.id() && thread == told[0].2));
        // Too late, and so at once: before and after the result was taken.
        for number in 5..7 {
            let late = Arc::new(AtomicU64::new(0));
            let (count, thread) = (late.clone(), current().id());
            running.on_done(move |f| {
                assert_eq!((f.result(), current().id()), (Ok(0), thread));
                count.store(number, SeqCst);
            }).unwrap();
            assert_eq!(late.load(SeqCst), number, "before `on_done` returns");
            running.result().unwrap();
        }
    }

    fn semantics_f11_callbacks_of_tasks_that_end_while_they_are_added_are_called_once(kind) {
        let pool = pool_of(kind, 2);
        let calls = Arc::new(AtomicU64::new(0));
        for x in 0..400 {
            let future = pool.submit(square, x).unwrap();
            for _ in 0..2 {
                let calls = calls.clone();
                future.on_done(move |f| _ = calls.fetch_add(f.result().unwrap(), SeqCst)).unwrap();
            }
            match x % 3 {
                0 => assert_eq!(future.result(), Ok(x * x)),
                1 => assert_eq!(future.exception(None), Ok(None)),
                _ => drop(future),
            }
        }
        drop(pool);
        assert_eq!(calls.load(SeqCst), 2 * (0..400).map(|x| x * x).sum::<u64>(), "dropping the executor waits for them");
    }

    fn semantics_f11_every_kind_of_end_comes_to_its_callback(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (sender, receive) = signal();
        let tell = |future: Future<u64>| {
            let sender = sender.clone();
            future.on_done(move |f| sender.send(f.exception(Some(Duration::ZERO))).unwrap()).unwrap();
        };
        tell(pool.submit(square, 2).unwrap());
        tell(pool.submit(fail_with, "no luck".to_owned()).unwrap());
        tell(pool.submit(panic_with, "oh".to_owned()).unwrap());
        if !is_thread(kind) {
            tell(pool.submit(kill_own_process, ()).unwrap());
        }
        board[1].store(1, SeqCst);
        running.result().unwrap();
        assert_eq!(receive(), Ok(None));
        assert_eq!(receive(), Ok(Some(Error::TaskFailed { summary: "no luck".into(), source: None })));
        let panicked = receive();
        assert!(matches!(&panicked, Ok(Some(Error::Panicked { message, .. })) if message.starts_with("oh")), "{panicked:?}");
        if !is_thread(kind) {
            let lost = receive();
            assert!(matches!(lost, Ok(Some(Error::WorkerLost { .. }))), "{lost:?}");
        }
    }

    fn semantics_f11_a_large_result_is_for_the_future_and_for_every_callback(kind) {
        let pool = pool_of(kind, 1);
        let bytes: Vec<u8> = (0..300_000_u32).map(|x| x as u8).collect();
        let board = Board::new(2);
        let running = held(&pool, &board);
        let kept = pool.submit(echo, bytes.clone()).unwrap();
        let (sender, receive) = signal();
        for _ in 0..2 {
            let sender = sender.clone();
            kept.on_done(move |f| sender.send(f.result()).unwrap()).unwrap();
        }
        let dropped = pool.submit(echo, bytes.clone()).unwrap();
        dropped.on_done(move |f| sender.send(f.result()).unwrap()).unwrap();
        drop(dropped);
        board[1].store(1, SeqCst);
        running.result().unwrap();
        for _ in 0..3 {
            assert_eq!(receive().as_ref(), Ok(&bytes));
        }
        assert_eq!(kept.result().as_ref(), Ok(&bytes));
        assert_eq!(kept.result(), Ok(bytes));
    }

    fn semantics_f12_a_callback_that_panics_is_logged_and_the_others_are_called(kind) {
        keep_log();
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (sender, receive) = signal();
        for number in 0..3 {
            let sender = sender.clone();
            running.on_done(move |_| {
                sender.send(number).unwrap();
                assert!(number != 1, "not with me");
            }).unwrap();
        }
        board[1].store(1, SeqCst);
        assert_eq!([receive(), receive(), receive()], [0, 1, 2]);
        wait_until("the message", || !LOGGED.lock().unwrap().is_empty());
        running.on_done(|_| panic!("nor at once")).unwrap();
        let logged = LOGGED.lock().unwrap().clone();
        let id = format!("{:#x}", running.id());
        assert_eq!(logged.len(), 2, "{logged:?}");
        assert!(logged[0].contains(&id) && logged[0].contains("not with me"), "{logged:?}");
        assert!(logged[1].contains(&id) && logged[1].contains("nor at once"), "{logged:?}");
    }

    fn semantics_b5_callbacks_that_panic_break_nothing(kind) {
        let pool = pool_of(kind, 2);
        let futures: Vec<_> = (0..50).map(|x| pool.submit(square, x).unwrap()).collect();
        for future in &futures {
            future.on_done(|_| panic!("always")).unwrap();
        }
        for (x, future) in futures.iter().enumerate() {
            assert_eq!(future.result(), Ok((x * x) as u64));
        }
        let (sender, receive) = signal();
        pool.submit(square, 3).unwrap().on_done(move |f| sender.send(f.result()).unwrap()).unwrap();
        assert_eq!(receive(), Ok(9));
    }

    fn semantics_f13_a_callback_may_ask_cancel_submit_and_add(kind) {
        let pool = Arc::new(pool_of(kind, 1));
        let board = Board::new(4);
        let cells = Board::at(&board.name());
        let running = held(&pool, &board);
        let between = pool.submit(hold, (board.name(), 2)).unwrap();
        // Behind one that is let go only then.
        let never = pool.submit(nap, 60_000).unwrap();
        let (sender, receive) = signal();
        let its = pool.clone();
        running.on_done(move |f| {
            assert!(never.cancel() && !f.cancel());
            cells[3].store(1, SeqCst);
            assert_eq!(between.result(), Ok(2));
            let other = its.submit(square, 5).unwrap();
            let (inner, more) = (sender.clone(), sender.clone());
            // Of its own future, which is over: at once. Of another one: at once too, or after this callback.
            f.on_done(move |f| inner.send(f.result().unwrap() + 100).unwrap()).unwrap();
            other.on_done(move |f| more.send(f.result().unwrap() + 200).unwrap()).unwrap();
            sender.send(other.result().unwrap()).unwrap();
        }).unwrap();
        board[1].store(1, SeqCst);
        let mut told = [receive(), receive(), receive()];
        told.sort();
        assert_eq!(told, [25, 100, 225]);
    }

    fn semantics_f13_a_callback_may_submit_to_a_full_ring(kind) {
        let pool = Executor::builder().workers(1).capacity(2).start(kind).build().unwrap();
        let pool = Arc::new(pool);
        let (sender, receive) = signal();
        // Each takes the place of the one before in a ring whose other places are taken, by tasks with callbacks and uncollected results.
        fn again(pool: &Arc<Executor>, sender: Sender<u64>, left: u64, kept: Arc<Mutex<Vec<Future<u64>>>>) {
            let future = pool.submit(square, left).unwrap();
            let (its, its_kept) = (pool.clone(), kept.clone());
            future.on_done(move |f| {
                sender.send(f.result().unwrap()).unwrap();
                if left > 0 {
                    again(&its, sender.clone(), left - 1, its_kept.clone());
                    again(&its, sender, 0, its_kept);
                }
            }).unwrap();
            kept.lock().unwrap().push(future);
        }
        let kept = Arc::default();
        again(&pool, sender, 20, Arc::clone(&kept));
        let sum: u64 = (0..41).map(|_| receive()).sum();
        assert_eq!(sum, (0..=20).map(|x| x * x).sum());
        let kept = kept.lock().unwrap();
        assert_eq!(kept.iter().map(|f| f.result().unwrap()).sum::<u64>(), sum, "and the futures have theirs");
    }

    fn semantics_f13_a_callback_may_shut_the_pool_down(kind) {
        let pool = Arc::new(pool_of(kind, 1));
        let (sender, receive) = signal();
        let its = pool.clone();
        pool.submit(square, 2).unwrap().on_done(move |f| {
            let result = its.shutdown(true, true);
            sender.send((result, f.result())).unwrap();
        }).unwrap();
        assert_eq!(receive(), (Ok(()), Ok(4)));
        assert_eq!(pool.submit(square, 2).map(drop), Err(Error::ShutDown));
    }

    fn semantics_f13_the_last_handle_of_a_pool_may_go_with_a_callback(kind) {
        let pool = pool_of(kind, 1);
        let workers = if is_thread(kind) { Vec::new() } else { pool.worker_pids() };
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (sender, receive) = signal();
        running.on_done(move |f| {
            let result = f.result();
            drop(pool);
            sender.send(result).unwrap();
        }).unwrap();
        drop(running);
        board[1].store(1, SeqCst);
        assert_eq!(receive(), Ok(0));
        wait_until("the workers are gone", || workers.iter().all(|&pid| !pid_alive(pid)));
    }

    fn semantics_f13_a_child_forked_in_a_callback_does_not_go_on_as_the_submitter(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let running = held(&pool, &board);
        let (sender, receive) = signal();
        let again = sender.clone();
        // SAFETY: the child does nothing but return from the callback.
        running.on_done(move |_| sender.send(unsafe { libc::fork() }).unwrap_or(())).unwrap();
        running.on_done(move |f| again.send(f.result().map_or(-1, |_| 0)).unwrap()).unwrap();
        board[1].store(1, SeqCst);
        let child = receive();
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: `status` is valid for the write.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
        assert_eq!(receive(), 0, "the parent goes on");
        assert_eq!(running.result(), Ok(0));
    }

    fn semantics_f14_a_future_says_its_number_what_it_does_and_what_came_of_it(kind) {
        let pool = pool_of(kind, 1);
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let board = Board::new(2);
        let running = held(&pool, &board);
        let pending = pool.submit(square, 2).unwrap();
        let cancelled = pool.submit(square, 3).unwrap();
        cancelled.cancel();
        let failed = pool.submit(fail_with, "no luck".to_owned()).unwrap();
        assert_eq!(running.to_string(), format!("task {:#x}: running in process {pid}", running.id()));
        assert_eq!(pending.to_string(), format!("task {:#x}: pending", pending.id()));
        assert_eq!(cancelled.to_string(), format!("task {:#x}: cancelled", cancelled.id()));
        board[1].store(1, SeqCst);
        failed.exception(None).unwrap();
        for _ in 0..2 {
            assert_eq!(pending.to_string(), format!("task {:#x}: returned u64", pending.id()));
            assert_eq!(failed.to_string(), format!("task {:#x}: failed: the task failed: no luck", failed.id()));
            pending.result().unwrap();
        }
    }

    fn semantics_s10_a_failed_future_says_so_before_its_result_is_asked_for(kind) {
        let pool = pool_of(kind, 1);
        let failed = pool.submit(panic_with, "oh".to_owned()).unwrap();
        wait_until("its end", || failed.is_done());
        let text = failed.to_string();
        assert!(text.starts_with(&format!("task {:#x}: failed: the task panicked: oh", failed.id())), "{text}");
        assert!(matches!(failed.result(), Err(Error::Panicked { .. })));
    }

    fn semantics_s2_a_slow_callback_delays_later_callbacks_alone(kind) {
        let pool = pool_of(kind, 1);
        let (go, may_go) = signal::<()>();
        let (sender, receive) = signal();
        let (slow, later) = (sender.clone(), sender);
        let started = Arc::new(AtomicU64::new(0));
        let its = started.clone();
        let board = Board::new(2);
        let running = held(&pool, &board);
        running.on_done(move |_| {
            its.store(1, SeqCst);
            may_go();
            slow.send("slow").unwrap();
        }).unwrap();
        running.on_done(move |_| later.send("later").unwrap()).unwrap();
        board[1].store(1, SeqCst);
        wait_until("the callback", || started.load(SeqCst) == 1);
        let some = |from| (from..from + 4).map(|x| pool.submit(square, x).unwrap()).collect::<Vec<_>>();
        let futures = some(0);
        assert_eq!(wait(&futures, Some(LIMIT), When::AllCompleted).unwrap().done.len(), 4);
        assert_eq!(futures[3].result(), Ok(9));
        assert_eq!(as_completed(some(4), Some(LIMIT)).filter(Result::is_ok).count(), 4);
        // Neither a descriptor nor a waker waits for it.
        let queue = CompletionQueue::new();
        let fd = queue.fd().unwrap();
        queue.push(pool.submit(square, 9).unwrap()).unwrap();
        assert!(crate::async_await::is_readable(fd, LIMIT));
        assert_eq!(queue.next(Some(Duration::ZERO)).unwrap().unwrap().result(), Ok(81));
        assert_eq!(block_on(pool.submit(nap, 5).unwrap().into_future()), Ok(5));
        go.send(()).unwrap();
        assert_eq!([receive(), receive()], ["slow", "later"]);
    }

    fn semantics_a3_the_time_out_of_as_completed_says_how_many_of_how_many(kind) {
        let pool = pool_of(kind, 1);
        let over: Vec<_> = (0..2).map(|x| pool.submit(square, x).unwrap()).collect();
        over.iter().for_each(|f| _ = f.result().unwrap());
        let board = Board::new(2);
        let running = held(&pool, &board);
        let pending = pool.submit(square, 2).unwrap();
        let mut stream = as_completed(over.into_iter().chain([running, pending]), Some(Duration::ZERO));
        assert!(stream.next().unwrap().is_ok() && stream.next().unwrap().is_ok());
        let error = stream.next().unwrap().unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }));
        assert!(error.to_string().contains("2 (of 4) futures unfinished"), "{error}");
        assert!(stream.next().is_none());
        board[1].store(1, SeqCst);
        for future in stream.into_rest() {
            future.result().unwrap();
        }
    }
}
