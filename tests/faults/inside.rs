//! Row 26: a task that uses the pool it runs in.

use crate::process_support::common::Board;
use crate::process_support::{LIMIT, Program, Role, Test, kill, pid_alive, say, unique, wait_until, wait_within};
use crate::support::{assert_whole, square};
use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;
use taskring::ffi::{self, taskring_status};
use taskring::{Error, Executor, Future, StartMethod, State, SubmitOptions};

taskring::task! {
    /// Submits to the pool of that name from within it, and waits for the result.
    fn submit_inside(name: String, x: u64) -> Result<u64, Error> {
        Executor::attach(&name)?.submit(square, x)?.result()
    }
    fn submit_within(x: u64) -> Result<u64, Error> { taskring::current_pool()?.submit(square, x)?.result() }
    /// Says where it runs, and does not end before it is the second attempt.
    fn first_one_hangs(board: String) -> u64 {
        let cells = Board::at(&board);
        if cells[0].fetch_add(1, SeqCst) == 0 {
            cells[1].store(u64::from(std::process::id()), SeqCst);
            loop {
                std::thread::sleep(LIMIT);
            }
        }
        7
    }
    /// Waits for one that another worker has begun with.
    fn waits_for_another_worker(board: String) -> Result<u64, Error> {
        let options = SubmitOptions::new().idempotent(true);
        let future = taskring::current_pool()?.submit_with(&options, first_one_hangs, board.clone())?;
        let cells = Board::at(&board);
        wait_until("another worker has begun with it", || future.state() == State::Running);
        cells[2].store(1, SeqCst);
        future.result()
    }
}

pub const ROLES: &[Role] = &[("owner of a pool that tasks use", own_it)];

pub const TESTS: &[Test] = &[
    ("fault_26_a_task_may_submit_to_its_own_pool", submits),
    ("fault_26_a_task_waits_on_when_the_worker_of_what_it_waits_for_dies", other_worker_dies),
    ("fault_26_a_named_pool_whose_owner_died_ends_though_its_tasks_used_it", owner_dies),
    ("fault_26_a_task_that_would_wait_for_the_end_of_its_own_pool_is_told", would_wait_for_itself),
    ("fault_26_a_task_that_drops_its_own_pool_does_not_wait_for_it", drops_its_pool),
    ("fault_26_a_c_task_cannot_free_its_own_pool", frees_its_pool),
];

fn submits() {
    let name = unique("inside");
    let pool = Executor::builder().workers(1).capacity(8).create_named(&name).expect("a pool");
    // Its own worker runs what it waits for, though it attached by name, as anybody can.
    for x in 0..20 {
        assert_eq!(pool.submit(submit_inside, (name.clone(), x)).expect("submitted").result(), Ok(x * x));
    }
    assert_whole(&name, &pool, 0);
}

fn other_worker_dies() {
    let pool = Executor::builder().workers(2).build().expect("a pool");
    for _ in 0..3 {
        let board = Board::new(3);
        let outer = pool.submit(waits_for_another_worker, board.name()).expect("submitted");
        // Both: killed before the waiting task has seen it run, it may be over for good at that one's next look.
        wait_until("the other worker hangs, and that was seen", || board[1].load(SeqCst) != 0 && board[2].load(SeqCst) != 0);
        kill(board[1].load(SeqCst) as u32);
        assert_eq!(outer.result(), Ok(7));
        assert_eq!(board[0].load(SeqCst), 2);
    }
}

/// In the role of an owner: makes the pool, has a task use it from within, and says so.
fn own_it(args: &[String]) {
    let pool = Executor::builder().workers(1).create_named(&args[0]).expect("a pool");
    assert_eq!(pool.submit(submit_within, 3).expect("submitted").result(), Ok(9));
    say(&pool.worker_pids()[0].to_string());
    std::thread::sleep(LIMIT);
}

fn owner_dies() {
    let name = unique("inside");
    let owner = Program::start("owner of a pool that tasks use", &[&name]);
    let worker: u32 = owner.line().parse().expect("the worker's pid");
    kill(owner.pid());
    // It stays for some seconds, for others might have work for it. That it takes part as a submitter itself is no reason to stay for ever.
    wait_within(2 * LIMIT, "the worker leaves", || !pid_alive(worker));
}

fn threads() -> Executor {
    Executor::builder().workers(1).start(StartMethod::Thread).build().expect("a pool")
}

fn would_wait_for_itself() {
    static POOL: OnceLock<Executor> = OnceLock::new();
    static INNER: Mutex<Option<Future<u64>>> = Mutex::new(None);
    static FOUND: Mutex<Vec<Result<(), Error>>> = Mutex::new(Vec::new());
    let ends_it = taskring::register("waits for its own end", |()| {
        let pool = POOL.get().expect("it is there");
        *INNER.lock().unwrap() = pool.submit(square, 5).ok();
        FOUND.lock().unwrap().extend([pool.shutdown(true, false), pool.shutdown(true, true)]);
        // The end of another pool can be waited for.
        let other = threads();
        assert_eq!(other.submit(square, 2).map(|f| f.result()), Ok(Ok(4)));
        FOUND.lock().unwrap().push(other.shutdown(true, false));
    });
    let pool = POOL.get_or_init(threads);
    assert_eq!(pool.submit(ends_it.expect("a name"), ()).expect("submitted").result(), Ok(()));
    let found = std::mem::take(&mut *FOUND.lock().unwrap());
    assert!(matches!(found[..], [Err(Error::Busy), Err(Error::Busy), Ok(())]), "{found:?}");
    // Nothing was changed by it: not even what was pending is cancelled.
    assert_eq!(INNER.lock().unwrap().take().expect("submitted in the task").result(), Ok(25));
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    pool.shutdown(true, false).expect("from outside it can be ended");
}

/// A drop cannot fail, so it lets the pool end in the background.
fn drops_its_pool() {
    static POOL: Mutex<Option<Executor>> = Mutex::new(None);
    let drops = taskring::register("drops its pool", |()| drop(POOL.lock().unwrap().take())).expect("a name");
    let pool = threads();
    let (dropped, after) = (pool.submit(drops, ()).expect("submitted"), pool.submit(square, 6).expect("submitted"));
    let refused = pool.task_set().expect("a set");
    *POOL.lock().unwrap() = Some(pool);
    assert_eq!(dropped.result_timeout(LIMIT), Ok(()));
    assert_eq!(after.result_timeout(LIMIT), Ok(36), "what was submitted before still runs");
    assert_eq!(refused.submit(square, 1).map(drop), Err(Error::ShutDown));
}

static FREED: AtomicPtr<ffi::taskring_pool> = AtomicPtr::new(std::ptr::null_mut());
static STATUS: AtomicI32 = AtomicI32::new(-1);

unsafe extern "C" fn free_it(_call: *mut ffi::taskring_call, _context: *mut c_void) -> i32 {
    // SAFETY: the handle is good: the test frees it after this task.
    STATUS.store(unsafe { ffi::taskring_free(FREED.load(SeqCst)) } as i32, SeqCst);
    0
}

fn frees_its_pool() {
    const OK: taskring_status = taskring_status::TASKRING_OK;
    let mut pool = std::ptr::null_mut();
    let mut ticket = 0;
    // SAFETY: all zero is a value of the struct, for it has only numbers and null pointers, which stand for the defaults.
    let mut config: ffi::taskring_config = unsafe { std::mem::zeroed() };
    config.struct_size = size_of_val(&config) as u32;
    config.start_method = ffi::TASKRING_THREAD;
    config.workers = 1;
    let name = c"frees its pool".as_ptr();
    // SAFETY: strings and structs that outlive the calls, places to write to, and a handle that is freed once, at the end.
    unsafe {
        assert_eq!(ffi::taskring_register(name, Some(free_it), std::ptr::null_mut(), None), OK);
        assert_eq!(ffi::taskring_create(&raw const config, &raw mut pool), OK);
        FREED.store(pool, SeqCst);
        let submitted =
            ffi::taskring_submit_named(pool, name, std::ptr::null(), 0, std::ptr::null(), u64::MAX, &raw mut ticket);
        assert_eq!(submitted, OK);
        let start = Instant::now();
        wait_until("the task has tried", || STATUS.load(SeqCst) != -1 || start.elapsed() > LIMIT);
        assert_eq!(STATUS.load(SeqCst), taskring_status::TASKRING_BUSY as i32);
        let (none, len) = (std::ptr::null_mut(), std::ptr::null_mut());
        assert_eq!(ffi::taskring_result(pool, ticket, u64::MAX, none, 0, len), OK, "the handle is as good as before");
        assert_eq!(ffi::taskring_free(pool), OK);
    }
}
