//! Section B, row B12: the events of a task, each of which is kept until it is read.

use crate::held::{Held, assert_shorter, can_die, given, second_pool_of};
use crate::process_support::common::{Board, hold, monotonic_ns, nap, square};
use crate::process_support::{kill, pid_alive, wait_until};
use crate::support::pool_of;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use taskring::{Bytes, Error, Executor, Future, Result, Retry, StartMethod, State, SubmitOptions, TaskError, task};

/// Bytes of the largest event.
const MOST: usize = 16248;

taskring::task! {
    /// Sends so many events, each as soon as there is room for it.
    fn sends(count: u64) -> Result<(), TaskError> { Ok((0..count).try_for_each(|n| send(&event(n)))?) }
    /// Sends so many, and then runs until it is let go.
    fn sends_and_holds(count: u64, board: String, cell: u64) -> Result<u64, TaskError> {
        (0..count).try_for_each(|n| send(&event(n)))?;
        hold.call((board, cell))
    }
    /// Sends for as long as it lives.
    fn sends_for_ever() -> Result<(), TaskError> { Ok((0..u64::MAX).try_for_each(|n| send(&event(n)))?) }
    /// Sends until it is told that there is no room, which it is again at once; then it is held, and sends a short one. It gives how many went in
    /// before that.
    fn fills(board: String, cell: u64) -> Result<u64, TaskError> {
        let sent = (0..u64::MAX).take_while(|n| task::send_event(&event(*n)).is_ok()).count() as u64;
        let refused = task::send_event(&Bytes(vec![7; 1000]));
        let Err(Error::EventsFull { len: 1000, unread, max }) = refused else { return Err(TaskError::new(format!("{refused:?}"))) };
        if unread > max || unread + 1008 <= max {
            return Err(TaskError::new(format!("{unread} of {max}")));
        }
        hold.call((board, cell))?;
        task::send_event(&event(0))?;
        Ok(sent)
    }
    /// One that is as large as can be, beside one that is larger by a byte. What came of that one.
    fn sends_large() -> Result<(u64, u64), TaskError> {
        let (most, more) = (Bytes(vec![1; MOST]), Bytes(vec![2; MOST + 1]));
        let Err(Error::PayloadTooLarge { len, max }) = task::send_event(&more) else { return Err(TaskError::new("sent")) };
        task::send_event(&most)?;
        Ok((len, max))
    }
    /// Sends two in each of its attempts. The first one fails, or kills its worker.
    fn sends_twice(kills: bool) -> Result<u32, TaskError> {
        for n in 0..2_u32 {
            task::send_event(&(task::attempt(), n))?;
        }
        match task::attempt() {
            0 if kills => {
                kill(std::process::id());
                unreachable!("killed")
            }
            0 => Err(TaskError::new("the first")),
            attempt => Ok(attempt),
        }
    }
    /// Sends one and ends as it is told.
    fn sends_and_ends(how: String) -> Result<u64, TaskError> {
        task::send_event(&how)?;
        match &how[..] {
            "fails" => Err(TaskError::new("failed")),
            "panics" => std::panic::resume_unwind(Box::new("panicked")),
            _ => Ok(1),
        }
    }
    /// Sends one with the time, when it is let go.
    fn sends_the_time(board: String, cell: u64) -> Result<u64, TaskError> {
        hold.call((board, cell))?;
        task::send_event(&monotonic_ns())?;
        Ok(0)
    }
    /// Sends far more than can be kept, once its future is gone.
    fn sends_to_nobody(board: String, cell: u64) -> Result<(), TaskError> {
        task::send_event(&"begun".to_owned())?;
        hold.call((board.clone(), cell))?;
        let all = (0..1000).all(|_| task::send_event(&Bytes(vec![0; 1000])).is_ok());
        Board::at(&board)[2].store(1 + u64::from(all), SeqCst);
        Ok(())
    }
    /// Reads the events of another task of its pool, without a limit or with one for each.
    fn reads_another(count: u64, limited: bool) -> Result<u64, TaskError> {
        let other = taskring::current_pool()?.submit(sends, count)?;
        let mut events = other.events::<Vec<u8>>();
        let mut next = || if limited { events.next_timeout(Duration::from_secs(20)) } else { events.next() };
        let mut read = 0;
        while let Some(found) = next() {
            if found? != event(read) {
                return Err(TaskError::new(format!("event {read} is another one")));
            }
            read += 1;
        }
        Ok(read)
    }
    /// Sends one, and then lets a child of its process try to. Whether that was refused.
    fn forks_and_sends() -> Result<bool, TaskError> {
        task::send_event(&1_u64)?;
        // SAFETY: the child makes a call that allocates no more than its answer, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_refused = task::send_event(&2_u64) == Err(Error::Forked);
            // SAFETY: ends the process.
            unsafe { libc::_exit(if is_refused { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is writable.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        Ok(waited == child && libc::WEXITSTATUS(status) == 7)
    }
}

/// The event of this number: of some length, and unlike all others.
fn event(n: u64) -> Vec<u8> {
    (0..8 + n * 7 % 200).map(|i| (n >> (i % 8 * 8)) as u8 ^ i as u8).collect()
}

/// Sends one as soon as there is room for it.
fn send(event: &Vec<u8>) -> Result<()> {
    loop {
        match task::send_event(event) {
            Err(Error::EventsFull { .. }) => std::thread::yield_now(),
            sent => return sent,
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Reads all that a task sends until its end: how many it was, each as it was sent and none left out.
#[track_caller]
fn read_all<R>(future: &Future<R>) -> u64 {
    let mut read = 0;
    for found in future.events::<Vec<u8>>() {
        assert_eq!(found, Ok(event(read)), "event {read}");
        read += 1;
    }
    assert_eq!(future.next_event::<Vec<u8>>(), Ok(None));
    read
}

cases! {
    fn semantics_b12_events_come_whole_in_order_and_none_is_left_out(kind) {
        let pool = pool_of(kind, 2);
        // Several times what is kept at a time.
        let both = [3000, 2000].map(|count| (pool.submit(sends, count).unwrap(), count));
        for (future, count) in &both {
            assert_eq!(read_all(future), *count);
            assert_eq!(future.result(), Ok(()));
        }
        let silent = pool.submit(square, 3).unwrap();
        assert_eq!((read_all(&silent), silent.result()), (0, Ok(9)));
    }

    fn semantics_b12_a_task_without_room_is_told_and_nothing_is_lost(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let full = pool.submit(fills, held.input(0)).unwrap();
        wait_until("there is no room", || held.times_begun(0) == 1);
        assert_eq!(full.next_event(), Ok(Some(event(0))));
        assert_eq!(full.next_event(), Ok(Some(event(1))));
        held.let_go(0);
        let sent = full.result().expect("what it asks for holds");
        assert!(sent > 100, "{sent}");
        for n in (2..sent).chain([0]) {
            assert_eq!(full.next_event(), Ok(Some(event(n))));
        }
        assert_eq!(full.next_event::<Vec<u8>>(), Ok(None));
        let large = pool.submit(sends_large, ()).unwrap();
        assert_eq!(large.result(), Ok((MOST as u64 + 1, MOST as u64)));
        assert_eq!(large.next_event(), Ok(Some(Bytes(vec![1; MOST]))));
        assert_eq!(large.next_event::<Bytes>(), Ok(None));
    }

    fn semantics_b12_what_was_sent_before_a_death_is_all_read(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let (board, cell) = held.input(0);
        let lost = pool.submit(sends_and_holds, (40, board, cell)).unwrap();
        wait_until("it has sent all", || held.times_begun(0) == 1);
        if !can_die(kind) {
            held.let_go(0);
            assert_eq!((read_all(&lost), lost.result()), (40, Ok(given(0))));
            return;
        }
        let pid = lost.worker_pid().unwrap();
        kill(pid);
        assert_eq!(read_all(&lost), 40);
        assert!(matches!(lost.result(), Err(Error::WorkerLost { .. })));
        // In the middle of one, most likely, and with a ring that is never empty.
        for round in 0..10 {
            let sending = pool.submit(sends_for_ever, ()).unwrap();
            let mut events = sending.events::<Vec<u8>>();
            for n in 0..100 * (round + 1) {
                assert_eq!(events.next(), Some(Ok(event(n))));
            }
            let pid = sending.worker_pid().expect("it runs");
            kill(pid);
            wait_until("it is gone", || !pid_alive(pid));
            for (n, found) in (100 * (round + 1)..).zip(events) {
                assert_eq!(found, Ok(event(n)));
            }
            assert!(matches!(sending.result(), Err(Error::WorkerLost { .. })));
        }
    }

    fn semantics_b12_a_further_attempt_sends_behind_the_one_before(kind) {
        let pool = pool_of(kind, 1);
        let both = vec![(0_u32, 0_u32), (0, 1), (1, 0), (1, 1)];
        let retried = SubmitOptions::new().retry(Retry::new(2));
        let failing = pool.submit_with(&retried, sends_twice, false).unwrap();
        assert_eq!(failing.result(), Ok(1));
        assert_eq!(failing.events().collect::<Result<Vec<_>>>().as_ref(), Ok(&both));
        if can_die(kind) {
            let killing = pool.submit_with(&SubmitOptions::new().idempotent(true), sends_twice, true).unwrap();
            assert_eq!(killing.events().collect::<Result<Vec<_>>>(), Ok(both));
            assert_eq!(killing.result(), Ok(1));
        }
        // One that waits for its next attempt is cancelled: what it has sent stays.
        let later = SubmitOptions::new().retry(Retry::new(2).backoff(Duration::from_secs(3600), Duration::from_secs(3600)));
        let waiting = pool.submit_with(&later, sends_twice, false).unwrap();
        let mut events = waiting.events();
        assert_eq!(events.next(), Some(Ok((0_u32, 0_u32))));
        wait_until("it waits for another attempt", || waiting.state() == State::Pending);
        assert!(waiting.cancel());
        assert_eq!((waiting.result(), events.next(), events.next()), (Err(Error::Cancelled), Some(Ok((0, 1))), None));
    }

    fn semantics_b12_events_outlive_their_task_and_its_result(kind) {
        let pool = Executor::builder().workers(1).start(kind).capacity(4).build().unwrap();
        let taken = pool.submit(sends, 30).unwrap();
        assert_eq!(taken.result(), Ok(()));
        assert_eq!(taken.next_event(), Ok(Some(event(0))));
        let failed = pool.submit(sends_and_ends, "fails".to_owned()).unwrap();
        assert!(failed.result().is_err());
        // More than there are slots: those that are over are collected for the room.
        let many: Vec<_> = (1..=12).map(|count| pool.submit(sends, count).unwrap()).collect();
        taskring::wait(&many, None, taskring::When::AllCompleted).unwrap();
        for (future, count) in many.iter().zip(1..) {
            assert_eq!(read_all(future), count);
            assert_eq!((future.result(), future.next_event::<Vec<u8>>()), (Ok(()), Ok(None)));
        }
        assert_eq!(taken.events::<Vec<u8>>().count(), 29);
        assert_eq!(failed.next_event(), Ok(Some("fails".to_owned())));
        assert_eq!(failed.next_event::<String>(), Ok(None));
    }

    fn semantics_b12_a_callback_takes_no_events_from_the_future(kind) {
        let pool = pool_of(kind, 1);
        let (sender, receiver) = mpsc::channel();
        let held = Held::new(1);
        let (board, cell) = held.input(0);
        let future = pool.submit(sends_and_holds, (20, board, cell)).unwrap();
        let also = sender.clone();
        future.on_done(move |it| sender.send(it.result().map(|_| 0)).unwrap()).unwrap();
        // That of a callback reads the same ones, and each comes once.
        future.on_done(move |it| also.send(it.next_event().map(|e| (e == Some(event(0))).into())).unwrap()).unwrap();
        held.let_go(0);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Ok(0), Ok(1)]);
        let rest: Vec<Vec<u8>> = future.events().collect::<Result<_>>().unwrap();
        assert_eq!(rest, (1..20).map(event).collect::<Vec<_>>());
        assert_eq!(future.result(), Ok(given(0)));
    }

    fn semantics_b12_a_wait_for_an_event_has_a_limit_and_may_be_repeated(kind) {
        let pool = pool_of(kind, 1);
        let held = Held::new(1);
        let future = pool.submit(sends_the_time, held.input(0)).unwrap();
        let mut events = future.events::<u64>();
        for limit in [0, 30].map(ms) {
            let start = Instant::now();
            assert_eq!(events.next_timeout(limit), Some(Err(Error::TimedOut { what: "an event of the task", after: limit })));
            assert!(start.elapsed() >= limit);
        }
        assert_eq!(future.next_event::<u64>(), Ok(None));
        held.let_go(0);
        assert!(matches!(events.next_timeout(ms(20_000)), Some(Ok(_))));
        assert_eq!((events.next_timeout(ms(20_000)), events.next()), (None, None), "it is over");
        assert_eq!(future.result(), Ok(0));
    }

    fn semantics_b12_who_sleeps_for_an_event_is_woken_by_it(kind) {
        let pool = pool_of(kind, 1);
        assert_shorter(ms(100), || {
            let held = Held::new(1);
            let future = pool.submit(sends_the_time, held.input(0)).unwrap();
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| (future.events::<u64>().next(), monotonic_ns()));
                // By then it sleeps for as long as anybody does.
                std::thread::sleep(ms(100));
                held.let_go(0);
                let (found, now) = reader.join().expect("no panic");
                Duration::from_nanos(now - found.expect("an event").expect("a time"))
            })
        });
        // And by the end of a task that sends none.
        assert_shorter(ms(400), || {
            let napping = pool.submit(nap, 200).unwrap();
            let start = Instant::now();
            assert_eq!(napping.events::<u64>().next(), None);
            assert!(napping.is_done());
            start.elapsed()
        });
    }

    fn semantics_b12_events_end_with_the_task_however_it_ends(kind) {
        let pool = pool_of(kind, 1);
        for how in ["returns", "fails", "panics"] {
            let future = pool.submit(sends_and_ends, how.to_owned()).unwrap();
            let events: Vec<String> = future.events().collect::<Result<_>>().unwrap();
            assert_eq!(events, [how]);
            assert_eq!(future.result().is_ok(), how == "returns");
        }
        let held = Held::new(2);
        let (board, cell) = held.input(0);
        let running = pool.submit(sends_and_holds, (5, board, cell)).unwrap();
        wait_until("it has sent all", || held.times_begun(0) == 1);
        let pending = pool.submit(sends, 7).unwrap();
        assert!(pending.cancel());
        assert_eq!((read_all(&pending), pending.result()), (0, Err(Error::Cancelled)));
        if can_die(kind) {
            assert_eq!(running.cancel_hard(), Ok(true));
            assert_eq!((read_all(&running), running.result()), (5, Err(Error::Cancelled)));
        } else {
            held.let_go(0);
            assert_eq!((read_all(&running), running.result()), (5, Ok(given(0))));
        }
        // What is no value of the type is gone; the next one comes.
        let texts = pool.submit(sends_and_ends, "x".to_owned()).unwrap();
        let mut events = texts.events::<(u64, u64, u64)>();
        assert!(matches!(events.next(), Some(Err(Error::Decode { .. }))));
        assert_eq!((events.next(), texts.result()), (None, Ok(1)));
    }

    fn semantics_b12_each_event_comes_to_one_of_many_readers(kind) {
        const EVENTS: u64 = 3000;
        let pool = pool_of(kind, 1);
        let future = pool.submit(sends, EVENTS).unwrap();
        let number = |bytes: &Vec<u8>| (0..8).fold(0, |n, i| n | u64::from(bytes[i] ^ i as u8) << (i * 8));
        let read: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let reader = || future.events::<Vec<u8>>().map(|found| number(&found.expect("an event"))).collect::<Vec<_>>();
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(reader)).collect();
            // The one that takes the result moves what is unread.
            future.result().expect("it has sent all");
            readers.into_iter().map(|reader| reader.join().expect("no panic")).collect()
        });
        assert!(read.iter().all(|own| own.is_sorted()), "each in order");
        let mut all = read.concat();
        all.sort_unstable();
        assert_eq!(all, (0..EVENTS).collect::<Vec<_>>(), "each to one");
    }

    fn semantics_b12_events_for_a_dropped_future_go_nowhere(kind) {
        let pool = pool_of(kind, 1);
        for has_callback in [false, true] {
            let board = Board::new(3);
            let (sender, receiver) = mpsc::channel();
            let future = pool.submit(sends_to_nobody, (board.name(), 0)).unwrap();
            wait_until("it has sent one", || board[0].load(SeqCst) == 1);
            if has_callback {
                let read = move |it: &Future<()>| sender.send((it.result(), it.next_event::<String>())).unwrap();
                future.on_done(read).unwrap();
            }
            drop(future);
            board[1].store(1, SeqCst);
            wait_until("it has sent all", || board[2].load(SeqCst) != 0);
            assert_eq!(board[2].load(SeqCst), 2, "none was refused");
            assert_eq!(pool.submit(square, 4).unwrap().result(), Ok(16));
            if has_callback {
                assert_eq!(receiver.recv(), Ok((Ok(()), Ok(None))));
            }
        }
    }

    fn semantics_b12_a_task_reads_the_events_of_another_one(kind) {
        // Alone it runs the other one on top of itself; with another worker it waits for it.
        let alone = pool_of(kind, 1);
        assert_eq!(alone.submit(reads_another, (50, false)).unwrap().result(), Ok(50));
        // More than are kept it is not to wait for: who would read them waits for its end.
        let read = alone.submit(reads_another, (2000, false)).unwrap().result().expect("what came is read");
        assert!((50..2000).contains(&read), "{read}");
        let two = second_pool_of(kind, 2);
        assert_eq!(two.submit(reads_another, (2000, true)).unwrap().result(), Ok(2000));
    }

    fn semantics_b12_only_the_thread_of_a_task_sends(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(task::send_event(&1_u64), Err(Error::Unsupported { what: "to send an event", with: "outside a task" }));
        let parent = pool.submit(forks_and_sends, ()).unwrap();
        assert_eq!(parent.result(), Ok(true));
        assert_eq!(parent.events().collect::<Result<Vec<u64>>>(), Ok(vec![1]));
        let small = Executor::builder().workers(1).start(second_of(kind)).payload_max(4096).build().unwrap();
        let refused = small.submit(sends_and_ends, "x".to_owned()).unwrap().result();
        assert!(matches!(&refused, Err(Error::TaskFailed { summary, .. }) if summary.contains("out of memory")), "{refused:?}");
    }
}

/// A kind for a second pool: `fork` wants a process with one thread.
fn second_of(kind: StartMethod) -> StartMethod {
    if kind == StartMethod::Fork { StartMethod::Thread } else { kind }
}
