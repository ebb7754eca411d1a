//! Damage to one certain word at one certain moment, and what must follow.

use crate::places::{self, CAPACITY, Image, PAYLOAD, slot_at};
use crate::process_support::common::{Board, wait_until};
use crate::process_support::unique;
use crate::scene::quietly;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, StartMethod, When, as_completed, wait};

taskring::task! {
    /// Ends when the board's second cell is set.
    fn held(board: String) -> u64 {
        let cells = Board::at(&board);
        cells[0].fetch_add(1, SeqCst);
        wait_until(Duration::from_secs(20), || cells[1].load(SeqCst) != 0);
        7
    }
    fn double(x: u64) -> u64 { 2 * x }
    fn sum(bytes: Vec<u8>) -> u64 { bytes.iter().map(|&b| u64::from(b)).sum() }
}

/// Whoever waits is told within this time.
const TOLD: Duration = Duration::from_secs(3);

type Case = Box<dyn Fn() + Sync>;

struct Pool {
    pool: Executor,
    board: Board,
    image: Image,
}

impl Pool {
    fn new() -> Pool {
        let name = unique("exact");
        let builder = Executor::builder().workers(1).start(StartMethod::Spawn).capacity(CAPACITY).payload_max(PAYLOAD);
        let pool = builder.create_named(&name).expect("a pool");
        let image = Image::of(&name);
        let pool = Pool { pool, board: Board::new(2), image };
        pool.works();
        pool
    }

    /// A task that runs; which slot it has.
    fn held(&self) -> (Future<u64>, usize) {
        let before = self.board[0].load(SeqCst);
        let future = self.pool.submit(held, self.board.name()).expect("submitted");
        wait_until(TOLD, || self.board[0].load(SeqCst) > before);
        let slot = (future.id() >> 32) as usize;
        (future, slot)
    }

    fn let_go(&self) {
        self.board[1].store(1, SeqCst);
    }

    fn set(&self, at: usize, to: impl Fn(u64) -> u64) {
        let word = self.image.word(at);
        word.store(to(word.load(SeqCst)), SeqCst);
    }

    /// Three laps of right answers.
    #[track_caller]
    fn works(&self) {
        for x in 0..3 * CAPACITY as u64 {
            assert_eq!(self.pool.submit(double, x).expect("submitted").result_timeout(TOLD), Ok(2 * x));
        }
        let all = self.pool.submit_bulk(double, 0..20).expect("submitted");
        assert_eq!(wait(&all, Some(TOLD), When::AllCompleted).expect("waited").not_done, [0; 0]);
        assert!(all.iter().zip(0..).all(|(f, x)| f.result() == Ok(2 * x)));
        assert_eq!(self.pool.submit(sum, vec![1; 300]).expect("submitted").result_timeout(TOLD), Ok(300));
    }

    /// From now on everything says that the pool is corrupt, and it ends.
    #[track_caller]
    fn ends_corrupt(self) {
        let refused = self.pool.submit(double, 1).map(drop);
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
        self.let_go();
        let start = Instant::now();
        drop(self);
        assert!(start.elapsed() < TOLD, "its end took {:?}", start.elapsed());
    }
}

#[track_caller]
fn told(future: &Future<u64>) {
    let start = Instant::now();
    let result = future.result_timeout(2 * TOLD);
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    assert!(start.elapsed() < TOLD, "{:?}", start.elapsed());
}

/// A running task's state word becomes another one; `ends`: its worker comes to its end first.
fn state_word(to: impl Fn(u64) -> u64 + Copy, ends: bool) {
    let p = Pool::new();
    let (future, slot) = p.held();
    let pending: Vec<_> = (0..3).map(|x| p.pool.submit(double, x).expect("submitted")).collect();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| told(&future));
        let of_all = scope.spawn(|| wait(&pending, Some(2 * TOLD), When::AllCompleted).map(drop));
        // Both sleep.
        std::thread::sleep(Duration::from_millis(30));
        p.set(slot_at(slot), to);
        if ends {
            p.let_go();
        }
        waiter.join().expect("told");
        let all = of_all.join().expect("no panic");
        assert!(matches!(all, Err(Error::Corrupt { .. })), "{all:?}");
    });
    drop((future, pending));
    p.ends_corrupt();
}

/// A task that is over is said to run once more, by a worker that lives and knows nothing of it.
fn run_by_nobody() {
    let p = Pool::new();
    let future = p.pool.submit(double, 4).expect("submitted");
    let at = slot_at((future.id() >> 32) as usize);
    wait_until(TOLD, || p.image.word(at).load(SeqCst) & 0xff == 0x06);
    p.set(at, |word| word ^ 0x06 ^ 0x05);
    told(&future);
    drop(future);
    p.ends_corrupt();
}

/// The same of one that was cancelled: by its word, whoever cancelled it runs it.
fn run_by_its_canceller() {
    let p = Pool::new();
    let (busy, _) = p.held();
    let future = p.pool.submit(double, 4).expect("submitted");
    assert!(future.cancel());
    p.set(slot_at((future.id() >> 32) as usize), |word| word ^ 0x09 ^ 0x05);
    told(&future);
    drop((busy, future));
    p.ends_corrupt();
}

fn heals(damage: impl Fn(&Pool)) {
    let p = Pool::new();
    damage(&p);
    p.works();
    p.works();
}

fn poisons(damage: impl Fn(&Pool), work: impl Fn(&Pool) -> Option<Error>) {
    let p = Pool::new();
    damage(&p);
    let start = Instant::now();
    let error = loop {
        if let Some(e) = work(&p) {
            break e;
        }
        assert!(start.elapsed() < TOLD, "nothing is noticed");
    };
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    p.ends_corrupt();
}

/// An answer that takes its time.
fn slow(p: &Pool) -> Option<Error> {
    p.board[1].store(0, SeqCst);
    let future = match p.pool.submit(held, p.board.name()) {
        Ok(future) => future,
        Err(e) => return Some(e),
    };
    let result = future.result_timeout(Duration::from_millis(50));
    p.let_go();
    match result {
        Err(Error::TimedOut { .. }) => future.result_timeout(TOLD).err(),
        other => other.err(),
    }
}

fn small(p: &Pool) -> Option<Error> {
    p.pool.submit(double, 4).and_then(|f| f.result_timeout(TOLD)).err()
}

fn blocks(p: &Pool) -> Option<Error> {
    // More at a time than there were before.
    let all: Result<Vec<_>, _> = (0..4).map(|_| p.pool.submit(sum, vec![1; 300])).collect();
    all.err()
}

/// The mark that somebody wants to be told gets lost.
fn lost_mark() {
    let p = Pool::new();
    let (future, slot) = p.held();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut all = as_completed(vec![future], Some(2 * TOLD));
            let start = Instant::now();
            let found = all.next().expect("one").and_then(|f| f.result());
            (found, start.elapsed())
        });
        std::thread::sleep(Duration::from_millis(30));
        p.set(slot_at(slot), |word| word & !0x200);
        p.let_go();
        let (found, took) = waiter.join().expect("no panic");
        assert_eq!(found, Ok(7));
        assert!(took < TOLD, "{took:?}");
    });
    p.works();
}

/// A worker comes to the end of its task and finds a later one of its own.
fn later_generation(p: &Pool) {
    let (_future, slot) = p.held();
    p.set(slot_at(slot), |word| word ^ 1 << 46);
    p.let_go();
}

fn number_of_double(p: &Pool) -> usize {
    let name = |i: usize| -> Vec<u8> {
        (0..24).flat_map(|w| p.image.word(places::name_at(i) + w * 8).load(SeqCst).to_le_bytes()).collect()
    };
    (0..p.image.functions()).find(|&i| name(i).starts_with(double.name().as_bytes())).expect("it is there")
}

fn state_words() -> Vec<(&'static str, Case)> {
    vec![
        ("a running task of another owner", Box::new(|| state_word(|word| word ^ 0x40 << 48, true))),
        ("an impossible phase", Box::new(|| state_word(|word| word ^ 0x02, false))),
        ("an impossible phase at the end", Box::new(|| state_word(|word| word ^ 0x08, true))),
        ("free at the generation of a running task", Box::new(|| state_word(|word| word & 0xffff_ffff << 16, false))),
        ("free when its worker comes to the end", Box::new(|| state_word(|word| word & 0xffff_ffff << 16, true))),
        ("a running task of a later generation", Box::new(|| poisons(later_generation, small))),
        ("a task that is over, and runs", Box::new(run_by_nobody)),
        ("a task that is cancelled, and runs", Box::new(run_by_its_canceller)),
        ("a running task of nobody", Box::new(|| state_word(|word| word | 0xffc0 << 48, false))),
    ]
}

fn hints() -> Vec<(&'static str, Case)> {
    vec![
        ("a tail far ahead", Box::new(|| heals(|p| p.set(places::TAIL, |tail| tail + (1 << 40))))),
        ("a tail half the circle ahead", Box::new(|| heals(|p| p.set(places::TAIL, |tail| tail + (1 << 31))))),
        ("a tail far behind", Box::new(|| heals(|p| p.set(places::TAIL, |_| 0)))),
        ("a head far ahead", Box::new(|| heals(|p| p.set(places::HEAD, |head| head + (1 << 62))))),
        ("a head far behind", Box::new(|| heals(|p| p.set(places::HEAD, |_| 0)))),
        (
            "positions that wrap",
            Box::new(|| {
                heals(|p| {
                    p.set(places::HEAD, |_| u64::MAX - 12);
                    p.set(places::TAIL, |_| u64::MAX - 12);
                });
            }),
        ),
        ("positions at their end", Box::new(|| heals(|p| p.set(places::TAIL, |_| u64::MAX - 3)))),
        ("an ended slot that there is not", Box::new(|| heals(|p| p.set(places::ENDED, |_| u64::MAX)))),
        ("a mutex of nobody", Box::new(|| heals(|p| p.set(places::MUTEX, |_| 0xff_ffff)))),
        ("a mark of nobody who searches", Box::new(|| heals(|p| p.set(places::SEARCHING, |_| 1 << 60)))),
        ("a mark that is lost", Box::new(lost_mark)),
    ]
}

fn counts_and_names() -> Vec<(&'static str, Case)> {
    vec![
        ("an unknown flag", Box::new(|| poisons(|p| p.set(places::FLAGS, |word| word | 0x100), small))),
        ("a lane that is lost", Box::new(|| poisons(|p| p.set(places::LANES, |_| 0), small))),
        ("a lane that there is not", Box::new(|| poisons(|p| p.set(places::LANES, |word| word | 1 << 40), slow))),
        ("one's own record", Box::new(|| poisons(|p| p.set(places::RECORD_OF_OWNER, |word| word ^ 1 << 40), slow))),
        ("a count of blocks that is too high", Box::new(|| poisons(|p| p.set(places::CARVED, |word| word + 64), blocks))),
        (
            "a count of blocks that is too low",
            Box::new(|| poisons(|p| p.set(places::CARVED, |word| word & !0xffff_ffff), blocks)),
        ),
        ("a function's name", Box::new(|| poisons(|p| p.set(places::name_at(number_of_double(p)), |word| word ^ 1), slow))),
        (
            "a function that is not ready",
            Box::new(|| poisons(|p| p.set(places::ready_at(number_of_double(p)), |word| word & !1), slow)),
        ),
        (
            "a generation that went back",
            Box::new(|| {
                let back = |p: &Pool| (0..CAPACITY).for_each(|i| p.set(slot_at(i), |word| word - (1 << 16)));
                poisons(back, small);
            }),
        ),
    ]
}

/// All cases. How many went wrong.
pub fn exact(_: Option<usize>) -> usize {
    let cases: Vec<(&str, Case)> = [state_words(), hints(), counts_and_names()].into_iter().flatten().collect();
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, SeqCst)) {
                    if quietly(case).is_err() {
                        println!("  VIOLATION {name}");
                        wrong.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner();
    println!("exact words: {} cases, {wrong} violations", cases.len());
    wrong
}
