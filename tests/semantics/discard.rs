//! Sets: tasks that are discarded in one call, after which none of them begins and everything else goes on.

use crate::held::{Held, Waiting, assert_shorter};
use crate::process_support::common::{Board, count_in, hold, monotonic_ns, scaled, square};
use crate::process_support::{LIMIT, Program, hear, role, say, unique, wait_until};
use crate::support::pool_of;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use taskring::{
    Discarded, Error, Executor, Future, MapOptions, State, SubmitOptions, TaskError, TaskSet, When, as_completed,
    current_pool, task, wait,
};

taskring::task! {
    /// Tells when it began, and then takes some microseconds.
    fn when_begun(us: u64) -> u64 {
        let begun = monotonic_ns();
        while monotonic_ns() < begun + us * 1000 {}
        begun
    }
    /// Those behind the first 200 wait until the board's cell is set.
    fn after_200(board: String, x: u64) -> u64 {
        if x >= 200 {
            wait_until("it is let go", || Board::at(&board)[0].load(SeqCst) != 0);
        }
        x
    }
    /// As `hold`. Whether it was asked to stop by then.
    fn hold_unless_asked(board: String, cell: u64) -> Result<bool, TaskError> {
        hold.call((board, cell))?;
        Ok(task::cancel_requested())
    }
    fn until_asked(board: String, cell: u64) -> bool {
        Board::at(&board)[cell as usize].fetch_add(1, SeqCst);
        wait_until("it is asked", task::cancel_requested);
        true
    }
    /// Fills a set of its own in the pool of its only worker, and discards it. How many were cancelled, and whether the set takes more.
    fn discards(board: String) -> Result<(u64, bool), TaskError> {
        let pool = current_pool()?;
        let set = pool.task_set()?;
        for _ in 0..20 {
            set.submit(count_in, (board.clone(), 0))?.detach();
        }
        let cancelled = set.discard()?.cancelled as u64;
        Ok((cancelled, set.submit(count_in, (board, 0)).is_ok()))
    }
}

impl Waiting {
    /// Tasks of a set, which count themselves in a cell.
    fn fill(&self, set: &TaskSet, cell: u64, count: usize) -> Vec<Future<u64>> {
        (0..count).map(|_| set.submit(count_in, (self.board.name(), cell)).unwrap()).collect()
    }

    /// How many ran, by cell, of all that were submitted.
    fn counts(self) -> [u64; 3] {
        self.let_go();
        self.pool.shutdown(true, false).unwrap();
        [0, 1, 2].map(|cell| self.board[cell].load(SeqCst))
    }
}

fn all_cancelled(futures: &[Future<u64>]) -> bool {
    futures.iter().all(|future| future.state() == State::Cancelled && future.result() == Err(Error::Cancelled))
}

fn found(cancelled: usize, running: usize, done: usize) -> Discarded {
    Discarded { cancelled, running, done }
}

/// Submits to a set until it refuses.
fn feed(set: &TaskSet) -> Vec<Future<u64>> {
    let mut futures = Vec::new();
    loop {
        match set.submit(when_begun, 20) {
            Ok(future) => futures.push(future),
            Err(e) => {
                assert_eq!(e, Error::Discarded);
                return futures;
            }
        }
    }
}

/// When those began that were not cancelled.
fn beginnings(futures: &[Future<u64>]) -> Vec<u64> {
    let begun = |future: &Future<u64>| match future.result() {
        Ok(begun) => Some(begun),
        Err(e) => {
            assert_eq!(e, Error::Cancelled);
            None
        }
    };
    futures.iter().filter_map(begun).collect()
}

/// Has a set and tasks of its own in a pool that another program has made, and discards it when it is told so.
fn rival() {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let [name, board] = &args[..] else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    for cell in [1, 2] {
        let set = pool.task_set().expect("a set");
        for _ in 0..30 {
            set.submit(count_in, (board.clone(), cell)).expect("submitted").detach();
        }
        say("submitted");
        hear();
        if cell == 2 {
            say(&set.discard().expect("discarded").cancelled.to_string());
        }
    }
    hear();
}

cases! {
    fn semantics_discard_cancels_what_is_pending_and_whoever_waits_is_told(kind) {
        let it = Waiting::new(kind);
        assert_shorter(Duration::from_millis(300), || {
            let set = it.pool.task_set().unwrap();
            let mut four = [(); 4].map(|()| it.fill(&set, 0, 5));
            let (sender, called) = channel();
            let [awaited, listed, streamed, watched] = &mut four;
            for future in watched.iter() {
                let sender = sender.clone();
                future.on_done(move |future| sender.send(future.result()).unwrap()).unwrap();
            }
            let ready = Barrier::new(4);
            let time = std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.wait();
                    assert_eq!(awaited[4].result(), Err(Error::Cancelled));
                });
                scope.spawn(|| {
                    ready.wait();
                    assert_eq!(wait(&*listed, None, When::AllCompleted).unwrap().done.len(), 5);
                });
                scope.spawn(|| {
                    ready.wait();
                    let all = as_completed(std::mem::take(streamed), None).map(|future| future.unwrap().result());
                    assert_eq!(all.collect::<Vec<_>>(), vec![Err(Error::Cancelled); 5]);
                });
                ready.wait();
                // They sleep by then until something wakes them; without that they look again only after a second.
                std::thread::sleep(Duration::from_millis(60));
                let start = Instant::now();
                assert_eq!(set.discard(), Ok(found(20, 0, 0)));
                start
            });
            assert!((0..5).all(|_| called.recv_timeout(LIMIT).unwrap() == Err(Error::Cancelled)));
            let time = time.elapsed();
            assert!([&four[0], &four[1], &four[3]].into_iter().all(|futures| all_cancelled(futures)));
            time
        });
        assert_eq!(it.counts(), [0; 3], "none of them runs");
    }

    fn semantics_discard_takes_detached_tasks_and_those_of_maps_too(kind) {
        let it = Waiting::new(kind);
        let set = it.pool.task_set().unwrap();
        it.fill(&set, 0, 50).into_iter().for_each(Future::detach);
        let of_set = SubmitOptions::new().set(&set);
        let with = |chunk| MapOptions::new().submit(of_set.clone()).window(4).chunk(chunk);
        let maps = [1, 3].map(|chunk| it.pool.map_with(&with(chunk), square, 0..).unwrap());
        assert_eq!(set.discard(), Ok(found(58, 0, 0)), "a window of tasks of each map");
        for map in maps {
            let rest: Vec<_> = map.take(1000).collect();
            assert!(rest.len() < 100, "its endless input is read on and on");
            assert!(rest.iter().all(|result| matches!(result, Err(Error::Cancelled | Error::Discarded))), "{rest:?}");
        }
        assert_eq!(it.counts(), [0; 3]);
    }

    fn semantics_discard_lets_what_runs_go_on_to_its_end_and_counts_it_until_then(kind) {
        let pool = pool_of(kind, 2);
        let held = Held::new(2);
        let set = pool.task_set().unwrap();
        let over: Vec<_> = (0..7).map(|x| set.submit(square, x).unwrap()).collect();
        assert!(over[..3].iter().all(|future| future.result().is_ok()), "some results are taken");
        wait_until("all are over", || over.iter().all(Future::is_done));
        let running = set.submit(hold_unless_asked, held.input(0)).unwrap();
        let asked = set.submit(until_asked, held.input(1)).unwrap();
        wait_until("both run", || held.times_begun(0) + held.times_begun(1) == 2);
        let pending = set.submit(square, 9).unwrap();
        assert_eq!(set.discard(), Ok(found(1, 2, 7)));
        assert_eq!(set.discard(), Ok(found(0, 2, 7)), "again");
        assert_eq!((running.state(), asked.state(), pending.result()), (State::Running, State::Running, Err(Error::Cancelled)));
        held.let_go(0);
        assert_eq!(running.result(), Ok(false), "a discard asks nobody to stop");
        assert_eq!(set.discard(), Ok(found(0, 1, 8)));
        assert!(!asked.cancel());
        assert_eq!(asked.result(), Ok(true), "by its future it is asked as any other");
        assert_eq!(set.discard(), Ok(found(0, 0, 9)));
        assert_eq!(over.iter().map(|future| future.result().unwrap()).sum::<u64>(), 91);
    }

    fn semantics_discard_leaves_other_sets_and_tasks_without_one_alone(kind) {
        let it = Waiting::new(kind);
        let [first, second] = [(); 2].map(|()| it.pool.task_set().unwrap());
        let mut kept = Vec::new();
        for _ in 0..30 {
            it.fill(&first, 0, 1).into_iter().for_each(Future::detach);
            kept.extend(it.fill(&second, 1, 1));
            kept.push(it.pool.submit(count_in, (it.board.name(), 2)).unwrap());
        }
        assert_eq!(first.discard(), Ok(found(30, 0, 0)));
        it.let_go();
        assert!(kept.iter().all(|future| future.result().is_ok()));
        assert_eq!(second.discard(), Ok(found(0, 0, 30)));
        assert_eq!(it.counts(), [0, 30, 30]);
    }

    fn semantics_discard_after_200_of_1000_and_a_second_set_runs(kind) {
        let pool = pool_of(kind, 2);
        for _ in 0..3 {
            let board = Board::new(1);
            let [first, second] = [(); 2].map(|()| pool.task_set().unwrap());
            let futures: Vec<_> = (0..1000).map(|x| first.submit(after_200, (board.name(), x)).unwrap()).collect();
            let mut stream = as_completed(futures, Some(LIMIT));
            assert!(stream.by_ref().take(200).all(|future| future.unwrap().result().unwrap() < 200));
            let Discarded { cancelled, running, done } = first.discard().unwrap();
            assert!((cancelled + running, done) == (800, 200) && running <= 2, "{cancelled}, {running}, {done}");
            let later: Vec<_> = (0..1000).map(|x| second.submit(square, x).unwrap()).collect();
            board[0].store(1, SeqCst);
            let rest: Vec<_> = stream.map(|future| future.unwrap().result()).collect();
            assert_eq!(rest.iter().filter(|result| **result == Err(Error::Cancelled)).count(), cancelled);
            assert_eq!(rest.iter().filter(|result| result.is_ok()).count(), running);
            assert!(later.iter().enumerate().all(|(x, future)| future.result() == Ok((x * x) as u64)));
            assert_eq!(second.discard(), Ok(found(0, 0, 1000)));
        }
    }

    fn semantics_discard_takes_no_more_tasks_and_the_pool_does(kind) {
        let pool = pool_of(kind, 2);
        let mut discarded = Vec::new();
        // Sets that come later are others, wherever they lie.
        for x in 0..5 {
            let set = pool.task_set().unwrap();
            assert_eq!(set.submit(square, x).unwrap().result(), Ok(x * x));
            assert_eq!(set.discard(), Ok(found(0, 0, 1)));
            discarded.push(set);
            for set in &discarded {
                let of_set = SubmitOptions::new().set(set);
                let map = MapOptions::new().submit(of_set.clone());
                let refused = [
                    set.submit(square, 1).map(drop),
                    set.submit_with(&SubmitOptions::new(), square, 1).map(drop),
                    pool.submit_with(&of_set, square, 1).map(drop),
                    pool.submit_with(&of_set.clone().worker(1), square, 1).map(drop),
                    pool.broadcast_with(&of_set, square, 1).map(drop),
                    pool.map_with(&map, square, 0..).map(drop),
                ];
                assert_eq!(refused, [(); 6].map(|()| Err(Error::Discarded)));
            }
            assert_eq!(pool.submit(square, x).unwrap().result(), Ok(x * x));
            if x == 2 {
                discarded.truncate(1);
            }
        }
    }

    fn semantics_discard_no_task_begins_afterwards_while_threads_feed_the_set(kind) {
        let pool = Executor::builder().workers(2).capacity(64).start(kind).build().unwrap();
        for round in 0..scaled(30, 200) {
            let set = pool.task_set().unwrap();
            let (all, seen, end) = std::thread::scope(|scope| {
                let feeders = [(); 2].map(|()| scope.spawn(|| feed(&set)));
                std::thread::sleep(Duration::from_micros(500 + 137 * (round as u64 % 16)));
                let seen = set.discard().unwrap();
                let end = monotonic_ns();
                (feeders.map(|feeder| feeder.join().unwrap()).into_iter().flatten().collect::<Vec<_>>(), seen, end)
            });
            let begun = beginnings(&all);
            let (submitted, ran) = (all.len(), begun.len());
            let late = begun.iter().filter(|&&begun| begun > end).count();
            let context = format!("round {round}: of {submitted} ran {ran}, {late} late; {seen:?}");
            // A worker has decided to run what is counted as running, and may enter its function a moment later.
            assert!(late <= seen.running && seen.running <= 2, "{context}");
            // Of what each thread was just submitting, some may not be counted.
            let counted = seen.cancelled + seen.running + seen.done;
            assert!((counted..=counted + 2).contains(&submitted), "{context}");
            assert!((seen.done..=seen.done + seen.running + 2).contains(&ran), "{context}");
            let after = set.discard().unwrap();
            assert_eq!((after.cancelled, after.running), (0, 0), "{context}");
            assert_eq!(set.submit(square, 1).map(drop), Err(Error::Discarded));
            assert_eq!(pool.submit(square, 7).unwrap().result(), Ok(49));
        }
    }

    fn semantics_discard_by_several_threads_counts_each_task_once(kind) {
        let it = Waiting::new(kind);
        for _ in 0..scaled(20, 100) {
            let set = it.pool.task_set().unwrap();
            let futures = it.fill(&set, 0, 100);
            let (cancelled, ready) = (AtomicUsize::new(0), Barrier::new(3));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        ready.wait();
                        cancelled.fetch_add(set.discard().unwrap().cancelled, SeqCst);
                    });
                }
            });
            assert_eq!(cancelled.into_inner(), 100);
            assert!(all_cancelled(&futures));
        }
        assert_eq!(it.counts(), [0; 3]);
    }

    fn semantics_discard_is_what_stops_a_set_and_dropping_it_is_not(kind) {
        let it = Waiting::new(kind);
        let set = it.pool.task_set().unwrap();
        let futures = it.fill(&set, 0, 20);
        drop(set);
        // One that takes its place is not taken for it.
        let next: Vec<_> = (0..3).map(|_| it.pool.task_set().unwrap()).collect();
        assert!(next.iter().all(|set| set.discard() == Ok(found(0, 0, 0))));
        assert!(futures.iter().all(|future| future.state() == State::Pending));
        it.let_go();
        assert!(futures.iter().all(|future| future.result().is_ok()));
        assert_eq!(it.counts(), [20, 0, 0]);
    }

    fn semantics_discard_a_set_is_of_the_handle_that_made_it(kind) {
        if role().as_deref() == Some("rival") {
            return rival();
        }
        let name = unique("sets");
        let it = Waiting::of(Executor::builder().workers(1).start(kind).create_named(&name).unwrap());
        let case = "semantics_discard_a_set_is_of_the_handle_that_made_it";
        let mut other = Program::start("rival", &[case, &name, &it.board.name()]);
        other.expect("submitted");
        let set = it.pool.task_set().unwrap();
        let futures = it.fill(&set, 0, 30);
        let guest = Executor::attach(&name).expect("attached");
        let by_guest = guest.task_set().unwrap();
        let kept = by_guest.submit(square, 6).unwrap();
        for (pool, foreign) in [(&guest, &set), (&it.pool, &by_guest)] {
            let refused = pool.submit_with(&SubmitOptions::new().set(foreign), square, 1).map(drop).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument { name: "the task set", .. }), "{refused:?}");
        }
        assert_eq!(set.discard(), Ok(found(30, 0, 0)), "those of the other program and of the guest are not of this set");
        assert!(all_cancelled(&futures));
        other.tell("go on");
        other.expect("submitted");
        other.tell("discard");
        other.expect("30");
        it.let_go();
        assert_eq!(kept.result(), Ok(36));
        drop((by_guest, guest));
        wait_until("the other program's first set has run", || it.board[1].load(SeqCst) == 30);
        other.end();
        assert_eq!(it.counts(), [0, 30, 0]);
    }

    fn semantics_discard_a_task_may_discard_a_set_of_its_own(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(1);
        assert_eq!(pool.submit(discards, board.name()).unwrap().result(), Ok((20, false)));
        assert_eq!(pool.submit(square, 8).unwrap().result(), Ok(64));
        assert_eq!(board[0].load(SeqCst), 0);
    }
}
