//! Priorities: which of the tasks that wait begin first, that none waits for ever, and that submitters take turns.

use crate::held::{Held, Waiting, can_die, end_own_worker, given, second_pool_of};
use crate::process_support::common::{Board, count_in, square};
use crate::process_support::{LIMIT, Program, hear, role, say, unique, wait_until};
use crate::support::not_here;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use taskring::Priority::{High, Low, Normal};
use taskring::{
    CompletionQueue, Error, Executor, Future, MapOptions, Priority, Retry, State, SubmitOptions, as_completed, current_pool,
    inspect,
};

/// The most tasks of higher levels in a row, as the documentation says.
const IN_A_ROW: usize = 16;

taskring::task! {
    /// The first time it kills its worker; then it is `count_in` for the first cell.
    fn dies_once(board: String) -> u64 {
        if Board::at(&board)[1].fetch_add(1, SeqCst) == 0 {
            end_own_worker();
        }
        Board::at(&board)[0].fetch_add(1, SeqCst)
    }
    /// The first time it fails, as the cell counts; then it is `count_in` for the first cell.
    fn fails_once(board: String, cell: u64) -> Result<u64, taskring::TaskError> {
        if Board::at(&board)[cell as usize].fetch_add(1, SeqCst) == 0 {
            return Err(taskring::TaskError::new("the first time"));
        }
        Ok(Board::at(&board)[0].fetch_add(1, SeqCst))
    }
    fn counts_slowly(board: String) -> u64 {
        std::thread::sleep(Duration::from_millis(25));
        Board::at(&board)[0].fetch_add(1, SeqCst)
    }
    fn counts_and_dies(board: String) -> u64 {
        Board::at(&board)[0].fetch_add(1, SeqCst);
        end_own_worker();
        0
    }
    /// What `count_in` gives as a task of low priority, that this one waits for.
    fn counts_below(board: String) -> Result<u64, taskring::TaskError> {
        let child = current_pool()?.submit_with(&of(Low), count_in, (board, 0))?;
        Ok(child.result()?)
    }
    fn until_asked() -> bool {
        while !taskring::task::cancel_requested() {
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
    fn length(text: String) -> u64 { text.len() as u64 }
}

fn of(level: Priority) -> SubmitOptions {
    SubmitOptions::new().priority(level)
}

impl Waiting {
    /// What `count_in` takes. It gives how many have begun before.
    fn input(&self) -> (String, u64) {
        (self.board.name(), 0)
    }

    fn submit(&self, level: Priority) -> Future<u64> {
        self.pool.submit_with(&of(level), count_in, self.input()).unwrap()
    }

    fn submit_all(&self, level: Priority, count: usize) -> Vec<Future<u64>> {
        (0..count).map(|_| self.submit(level)).collect()
    }
}

fn places(futures: &[Future<u64>]) -> Vec<u64> {
    futures.iter().map(|future| future.result().unwrap()).collect()
}

fn range(from: u64, count: u64) -> Vec<u64> {
    (from..from + count).collect()
}

/// Submits for three levels in turns, as another program.
fn rival() {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let [name, board, count] = &args[..] else { panic!("{args:?}") };
    let pool = Executor::attach(name).expect("attached");
    for level in [High, Normal, Low] {
        hear();
        for _ in 0..count.parse().expect("a number") {
            drop(pool.submit_with(&of(level), count_in, (board.clone(), 0)).expect("submitted"));
        }
        say("submitted");
    }
    hear();
}

fn start_rival(case: &str, name: &str, board: &Board, count: usize) -> Program {
    Program::start("rival", &[case, name, &board.name(), &count.to_string()])
}

fn is_rival() -> bool {
    role().as_deref() == Some("rival")
}

cases! {
    fn semantics_order_tasks_of_a_higher_level_begin_first_and_those_of_one_in_their_order(kind) {
        let it = Waiting::new(kind);
        let mut all = [(Low, vec![]), (Normal, vec![]), (High, vec![])];
        for _ in 0..4 {
            all.iter_mut().for_each(|(level, futures)| futures.push(it.submit(*level)));
        }
        // What asks for none is of the middle.
        all[1].1.push(it.pool.submit(count_in, it.input()).unwrap());
        it.let_go();
        let [low, normal, high] = all.map(|(_, futures)| places(&futures));
        assert_eq!((high, normal, low), (range(0, 4), range(4, 5), range(9, 4)));
        assert!(Low < Normal && Normal < High && Priority::default() == Normal);
    }

    fn semantics_order_after_sixteen_of_higher_levels_comes_one_of_the_lower(kind) {
        let it = Waiting::new(kind);
        let [low, normal, high] = [(Low, 10), (Normal, 40), (High, 100)].map(|(level, count)| it.submit_all(level, count));
        it.let_go();
        let [low, normal, high] = [low, normal, high].map(|futures| places(&futures));
        for of_level in [&low, &normal, &high] {
            assert!(of_level.is_sorted(), "{of_level:?}");
        }
        // Between two of low priority are as many as may be, until there are no more of higher levels.
        assert!(low[0] as usize <= IN_A_ROW && low[0] != 0, "{low:?}");
        for two in low.windows(2).filter(|two| two[1] < 140) {
            assert_eq!((two[1] - two[0]) as usize, IN_A_ROW + 1, "{low:?}");
        }
        // Between two of normal priority no more of high priority than that.
        let passed = |two: &[u64]| high.iter().filter(|&&at| two[0] < at && at < two[1]).count();
        assert!(normal.windows(2).all(|two| passed(two) <= IN_A_ROW), "{normal:?} {high:?}");
        assert!(normal[0] as usize <= IN_A_ROW + 1, "{normal:?}");
        // The same of two levels, while there are none of the third, which has a ring.
        let held = Held::new(1);
        let busy = held.start(&it.pool, 0);
        let [lower, high] = [(Normal, 4), (High, 100)].map(|(level, count)| it.submit_all(level, count));
        held.let_go(0);
        assert_eq!(busy.result(), Ok(given(0)));
        let (lower, high) = (places(&lower), places(&high));
        assert!(lower[0] - 150 <= IN_A_ROW as u64 && high[0] == 150, "{lower:?}");
        assert!(lower.windows(2).all(|two| (two[1] - two[0]) as usize == IN_A_ROW + 1), "{lower:?}");
    }

    fn semantics_order_a_low_task_begins_though_workers_leave_before_they_have_taken_sixteen(kind) {
        let pool = Executor::builder().workers(1).start(kind).max_tasks_per_worker(4).build().unwrap();
        let it = Waiting::of(pool);
        let low = it.submit(Low);
        // Long enough for the next worker to come meanwhile: until then the one before goes on.
        let high: Vec<_> = (0..100).map(|_| it.pool.submit_with(&of(High), counts_slowly, it.board.name()).unwrap()).collect();
        it.let_go();
        let waited = low.result().unwrap() as usize;
        // A worker and the next one are there at a time, or the next two: each goes on with the count of its place.
        assert!(waited <= 4 * IN_A_ROW, "after {waited} of high priority");
        assert!(places(&high).is_sorted(), "one at a time");
    }

    fn semantics_order_a_low_task_begins_though_every_high_one_kills_its_worker(kind) {
        if !can_die(kind) {
            not_here("a thread that ends under its pool keeps its seat, and so its count");
        }
        // No worker stays, so on a busy machine none may be seen for long.
        let pool = Executor::builder().workers(1).start(kind).start_timeout(Duration::from_secs(60)).build().unwrap();
        let it = Waiting::of(pool);
        let low = it.submit(Low);
        let high: Vec<_> = (0..60).map(|_| it.pool.submit_with(&of(High), counts_and_dies, it.board.name()).unwrap()).collect();
        it.let_go();
        let waited = low.result().unwrap() as usize;
        assert!(waited <= 3 * IN_A_ROW, "after {waited} of high priority");
        for end in high.iter().map(Future::result) {
            assert!(matches!(end, Err(Error::WorkerLost { .. })), "{end:?}");
        }
    }

    fn semantics_order_what_no_lower_task_waits_for_does_not_count(kind) {
        let it = Waiting::new(kind);
        // At the 16th and the 32nd of these it finds none of the others. The two after that count, and the next one that holds it, if it finds no end of them.
        let first = it.submit_all(High, 2 * IN_A_ROW + 2);
        it.let_go();
        assert_eq!(places(&first), range(0, 34));
        let held = Held::new(1);
        let busy = held.start(&it.pool, 0);
        let low = it.submit(Low);
        let high = it.submit_all(High, 10);
        held.let_go(0);
        assert_eq!((busy.result(), places(&high), low.result()), (Ok(given(0)), range(34, 10), Ok(44)));
    }

    fn semantics_order_a_map_has_the_priority_of_its_options(kind) {
        let it = Waiting::new(kind);
        let normal = it.submit_all(Normal, 5);
        let options = MapOptions::new().window(usize::MAX).submit(of(High));
        let map = it.pool.map_with(&options, count_in, (0..10).map(|_| it.input())).unwrap();
        let chunks = MapOptions::new().window(usize::MAX).chunk(2).submit(of(Low));
        let later = it.pool.map_with(&chunks, count_in, (0..4).map(|_| it.input())).unwrap();
        it.let_go();
        assert_eq!(map.map(Result::unwrap).collect::<Vec<_>>(), range(0, 10));
        assert_eq!((places(&normal), later.map(Result::unwrap).collect::<Vec<_>>()), (range(10, 5), range(15, 4)));
    }

    fn semantics_order_other_options_go_with_a_priority(kind) {
        let it = Waiting::new(kind);
        let normal = it.submit_all(Normal, 3);
        let set = it.pool.task_set().unwrap();
        let discarded = set.submit_with(&of(Low), count_in, it.input()).unwrap();
        let to_worker = it.pool.submit_with(&of(High).worker(0), count_in, it.input()).unwrap();
        let to_all = it.pool.broadcast_with(&of(High), count_in, it.input()).unwrap();
        let in_set = it.pool.submit_with(&of(High).set(&it.pool.task_set().unwrap()), count_in, it.input()).unwrap();
        let limited = it.pool.submit_with(&of(High).soft_limit(Duration::from_millis(40)), until_asked, ()).unwrap();
        let long = it.pool.submit_with(&of(High), length, "x".repeat(100_000)).unwrap();
        assert_eq!(set.discard().unwrap().cancelled, 1);
        it.let_go();
        assert_eq!(to_worker.result(), Ok(0));
        assert_eq!((places(&to_all), in_set.result()), (range(1, 1), Ok(2)));
        assert_eq!((limited.result(), long.result()), (Ok(true), Ok(100_000)));
        assert_eq!((places(&normal), discarded.result()), (range(3, 3), Err(Error::Cancelled)));
    }

    fn semantics_order_a_full_ring_of_one_level_leaves_room_in_the_others(kind) {
        let it = Waiting::of(Executor::builder().workers(1).capacity(4).start(kind).build().unwrap());
        let normal = it.submit_all(Normal, 3);
        assert!(matches!(it.pool.try_submit(square, 1), Err(Error::Full { capacity: 4 })));
        let low = it.submit_all(Low, 4);
        let high = it.submit_all(High, 4);
        it.let_go();
        assert_eq!((places(&high), places(&normal), places(&low)), (range(0, 4), range(4, 3), range(7, 4)));
        // Finished ones that nobody has asked for make room, in each ring.
        for level in [Low, High, Normal] {
            let many: Vec<_> = (0..60).map(|x| it.pool.submit_with(&of(level), square, x).unwrap()).collect();
            assert!(many.iter().enumerate().all(|(x, future)| future.result() == Ok((x * x) as u64)), "{level:?}");
        }
    }

    fn semantics_order_tasks_of_every_level_are_waited_for_cancelled_and_called_back(kind) {
        let it = Waiting::new(kind);
        let board = Board::new(1);
        let (tx, rx) = std::sync::mpsc::channel();
        for level in [Low, High, Normal] {
            let tx = tx.clone();
            let future = it.submit(level);
            future.on_done(move |it| tx.send(it.result().unwrap()).unwrap()).unwrap();
            drop(future);
        }
        let left: Vec<_> = [Low, High, Normal].into_iter().flat_map(|level| it.submit_all(level, 5)).collect();
        assert!(left[0].cancel() && left[7].cancel() && left[14].cancel());
        it.let_go();
        let mut called: Vec<u64> = (0..3).map(|_| rx.recv_timeout(LIMIT).unwrap()).collect();
        called.sort_unstable();
        assert_eq!(called, [0, 5, 10], "the first of each level");
        let ends = as_completed(left, Some(LIMIT)).map(|future| future.unwrap().result());
        assert_eq!(ends.filter(|end| *end == Err(Error::Cancelled)).count(), 3);
        let held = Held::new(1);
        let busy = held.start(&it.pool, 0);
        let pending: Vec<_> = [Low, High, Normal].map(|level| it.pool.submit_with(&of(level), count_in, (board.name(), 0))).into();
        assert_eq!(it.pool.purge(), Ok(3));
        assert!(pending.into_iter().all(|future| future.unwrap().result() == Err(Error::Cancelled)));
        let last = [Low, High, Normal].map(|level| it.pool.submit_with(&of(level), count_in, (board.name(), 0)).unwrap());
        held.let_go(0);
        it.pool.shutdown(true, false).unwrap();
        assert!(busy.is_done() && last.iter().all(Future::is_done), "all levels are waited for");
        assert_eq!(board[0].load(SeqCst), 3);
    }

    fn semantics_order_a_task_that_waits_runs_what_it_waits_for_whatever_its_level(kind) {
        let it = Waiting::new(kind);
        let outer = it.pool.submit_with(&of(High), counts_below, it.board.name()).unwrap();
        let high = it.submit_all(High, 5);
        it.let_go();
        assert_eq!((outer.result(), places(&high)), (Ok(0), range(1, 5)));
    }

    fn semantics_order_a_task_that_is_run_again_keeps_its_level(kind) {
        let it = Waiting::new(kind);
        let low = it.submit(Low);
        let normal = it.submit(Normal);
        let low_again = it.pool.submit_with(&of(Low).idempotent(true), count_in, it.input()).unwrap();
        let again = it.pool.submit_with(&of(High).idempotent(true), dies_once, it.board.name()).unwrap();
        let high = it.submit_all(High, 3);
        it.let_go();
        assert_eq!((again.result(), places(&high)), (Ok(0), range(1, 3)));
        assert_eq!((normal.result(), low.result(), low_again.result()), (Ok(4), Ok(5), Ok(6)));
        assert_eq!(it.board[1].load(SeqCst), 2, "it ran twice");
        // One of low priority comes back before those of its level, and after all others.
        let held = Held::new(1);
        let busy = held.start(&it.pool, 0);
        it.board[1].store(0, SeqCst);
        let again = it.pool.submit_with(&of(Low).idempotent(true), dies_once, it.board.name()).unwrap();
        let low = it.submit(Low);
        held.let_go(0);
        assert_eq!((busy.result(), again.result(), low.result()), (Ok(given(0)), Ok(7), Ok(8)));
    }

    fn semantics_order_an_attempt_without_a_pause_is_the_next_of_its_level(kind) {
        let it = Waiting::new(kind);
        let again = |level| of(level).retry(Retry::new(2));
        let high = [it.submit(High), it.submit(High)];
        let low = it.pool.submit_with(&again(Low), fails_once, (it.board.name(), 1)).unwrap();
        let later = it.submit_all(Low, 2);
        let first = it.pool.submit_with(&again(Normal), fails_once, (it.board.name(), 2)).unwrap();
        let normal = it.submit_all(Normal, 2);
        it.let_go();
        assert_eq!((places(&high), first.result(), places(&normal)), (range(0, 2), Ok(2), range(3, 2)));
        assert_eq!((low.result(), places(&later)), (Ok(5), range(6, 2)));
    }

    fn semantics_order_what_is_over_comes_in_the_order_of_the_ends_whatever_its_level(kind) {
        // More ends than a ring has slots.
        let it = Waiting::of(Executor::builder().workers(1).capacity(32).start(kind).build().unwrap());
        let of_all = || [Low, Normal, High].into_iter().flat_map(|level| it.submit_all(level, 15)).collect::<Vec<_>>();
        let queue = CompletionQueue::new();
        for future in of_all() {
            queue.push(future).unwrap();
        }
        let ends = as_completed(of_all(), Some(LIMIT));
        let last = it.submit(Low);
        it.let_go();
        wait_until("all are over", || last.is_done());
        let in_queue: Vec<_> = std::iter::from_fn(|| queue.next(Some(LIMIT)).unwrap()).map(|future| future.result().unwrap()).collect();
        let ends: Vec<_> = ends.map(|future| future.unwrap().result().unwrap()).collect();
        assert!(in_queue.len() == 45 && in_queue.is_sorted(), "{in_queue:?}");
        assert!(ends.len() == 45 && ends.is_sorted(), "{ends:?}");
    }

    fn semantics_order_submitters_with_tasks_of_one_level_take_turns(kind) {
        if is_rival() {
            return rival();
        }
        const OWN: usize = 60;
        let name = unique("turns");
        let pool = Executor::builder().workers(1).start(kind).create_named(&name).unwrap();
        let (held, board) = (Held::new(3), Board::new(1));
        // The other one has many more.
        let case = "semantics_order_submitters_with_tasks_of_one_level_take_turns";
        let mut rival = start_rival(case, &name, &board, 5 * OWN);
        for (round, level) in [High, Normal, Low].into_iter().enumerate() {
            board[0].store(0, SeqCst);
            let busy = held.start(&pool, round);
            rival.tell("go on");
            rival.expect("submitted");
            let own: Vec<_> = (0..OWN).map(|_| pool.submit_with(&of(level), count_in, (board.name(), 0)).unwrap()).collect();
            held.let_go(round);
            assert_eq!(busy.result(), Ok(given(round)));
            for (i, place) in places(&own).into_iter().enumerate() {
                assert!((2 * i..=2 * i + 1).contains(&(place as usize)), "{level:?}: its {i}. was the {place}. of all");
            }
            wait_until("the other one's have run", || board[0].load(SeqCst) == 6 * OWN as u64);
        }
        rival.tell("go on");
        rival.end();
    }

    fn semantics_order_a_killed_submitter_leaves_nothing_in_any_ring(kind) {
        if is_rival() {
            return rival();
        }
        let name = unique("leaves");
        let it = Waiting::of(Executor::builder().workers(1).start(kind).create_named(&name).unwrap());
        let case = "semantics_order_a_killed_submitter_leaves_nothing_in_any_ring";
        let mut rival = start_rival(case, &name, &it.board, 10);
        let own = it.submit_all(High, 3);
        for _ in 0..3 {
            rival.tell("go on");
            rival.expect("submitted");
        }
        rival.kill();
        it.let_go();
        assert!(own.iter().all(|future| future.result().is_ok()));
        wait_until("the tasks of the dead one have run", || it.board[0].load(SeqCst) == 33);
        let is_empty = || inspect(&name).unwrap().lanes.iter().all(|lane| lane.slots == [0; 4]);
        wait_until("its slots are free", is_empty);
        // Of each of three levels that were used the owner's, and of two the other one's.
        let levels: Vec<_> = inspect(&name).unwrap().lanes.iter().map(|lane| lane.priority).collect();
        assert_eq!(levels, [Normal, Normal, High, High, Low]);
    }

    fn semantics_order_more_submitters_than_rings_have_every_level(kind) {
        let name = unique("many");
        let pool = Executor::builder().workers(2).capacity(64).start(kind).create_named(&name).unwrap();
        let mut others: Vec<_> = (0..20).map(|_| Executor::attach(&name).unwrap()).collect();
        for round in 0..3 {
            let futures: Vec<_> = others
                .iter()
                .chain([&pool])
                .flat_map(|it| [Low, Normal, High].map(|level| (0..8).map(move |x| it.submit_with(&of(level), square, x).unwrap())))
                .flatten()
                .collect();
            for (i, future) in futures.iter().enumerate() {
                assert_eq!(future.result(), Ok((i as u64 % 8).pow(2)), "round {round}");
            }
            // The next ones take the places of some.
            drop(futures);
            others.truncate(10);
            others.extend((0..10).map(|_| Executor::attach(&name).unwrap()));
        }
        let view = inspect(&name).unwrap();
        assert!(view.lanes.iter().all(|lane| lane.slots == [0; 4] && lane.damaged == 0), "{view}");
        assert!(view.lanes.len() <= 24 && view.to_string().contains(" of high priority: "), "{view}");
        drop(others);
        assert_eq!(pool.submit_with(&of(High), square, 7).unwrap().result(), Ok(49));
    }

    fn semantics_order_a_priority_holds_in_every_kind_of_pool(kind) {
        let pool = second_pool_of(kind, 2);
        let all: Vec<_> = (0..300_u64).map(|x| pool.submit_with(&of([Low, Normal, High][x as usize % 3]), square, x).unwrap()).collect();
        assert!(all.iter().enumerate().all(|(x, future)| future.result() == Ok((x * x) as u64)));
        assert!(all.iter().all(|future| future.state() == State::Done));
    }
}
