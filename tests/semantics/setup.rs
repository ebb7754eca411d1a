//! What a worker is given before its first task and does after its last: initializer, exit hook, name and number, shared values.

use crate::held::end_own_worker;
use crate::process_support::common::{Board, children_of, hold, own_pid, square, unique_name};
use crate::process_support::{kill, wait_until};
use crate::support::is_thread;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use taskring::task::{set_worker_state, shared, worker_name, worker_number, worker_state};
use taskring::{Error, Executor, StartMethod, Task, TaskError};

/// What an initializer leaves for the tasks.
struct Desk {
    board: String,
    served: std::cell::Cell<u64>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        Board::at(&self.board)[2].fetch_add(1, SeqCst);
    }
}

taskring::task! {
    /// Counts itself in cell 0, and leaves a desk.
    fn set_up(board: String) {
        Board::at(&board)[0].fetch_add(1, SeqCst);
        set_worker_state(Desk { board, served: 0.into() }).expect("in a worker");
    }
    /// Counts itself in cell 1.
    fn tidy_up(board: String) {
        assert!(worker_state::<Desk>().is_some(), "what the worker keeps is there until after the hook");
        Board::at(&board)[1].fetch_add(1, SeqCst);
    }
    /// How many tasks this worker has served.
    fn serve() -> u64 {
        let desk = worker_state::<Desk>().expect("the initializer has run");
        desk.served.set(desk.served.get() + 1);
        desk.served.get()
    }
    /// Counts itself in cell 0, and fails once cell 1 is set.
    fn fail_when_told(board: String, panics: bool) -> Result<(), TaskError> {
        let cells = Board::at(&board);
        cells[0].fetch_add(1, SeqCst);
        wait_until("the order to fail", || cells[1].load(SeqCst) != 0);
        assert!(!panics, "no table anywhere");
        Err(TaskError::new("no database anywhere"))
    }
    fn end_process(code: u64) { std::process::exit(code as i32) }
    fn end_thread() { end_own_worker() }
    /// Its number and names, while other workers are kept at work: in cell 0 of the board arrive so many.
    fn who(board: String, together: u64) -> (Option<u32>, Option<String>, String) {
        let cells = Board::at(&board);
        cells[0].fetch_add(1, SeqCst);
        wait_until("all of them at work", || cells[0].load(SeqCst) >= together);
        let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("a thread's name");
        (worker_number(), worker_name(), comm.trim_end().to_owned())
    }
    /// Of a shared value: its sum, where it lies, and whether that is in a pool's memory.
    fn look(name: String) -> Option<(u64, u64, bool)> {
        let value = shared(&name)?;
        Some((value.iter().map(|&byte| u64::from(byte)).sum(), value.as_ptr().addr() as u64, is_in_a_pool(&value)))
    }
}

fn is_in_a_pool(bytes: &[u8]) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    let number = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    maps.lines().filter(|line| line.contains("taskring")).any(|line| {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        (number(from)..number(to)).contains(&bytes.as_ptr().addr())
    })
}

/// Keeps what is logged as an error.
struct Errors;
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Errors {
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

fn cause_of(error: Error) -> String {
    match error {
        Error::Broken { cause, .. } => cause,
        other => panic!("{other:?} instead of Broken"),
    }
}

/// A pool whose two workers fail in the initializer, while tasks are pending.
fn failing(kind: StartMethod, panics: bool, message: &str) {
    log::set_logger(&Errors).expect("the first logger");
    log::set_max_level(log::LevelFilter::Error);
    let board = Board::new(2);
    let builder = Executor::builder().workers(2).start(kind).initializer(fail_when_told, (board.name(), panics));
    let pool = builder.build().expect("a pool");
    let pending = [1, 2, 3].map(|x| pool.submit(square, x).expect("it is not broken yet"));
    wait_until("both initializers", || board[0].load(SeqCst) == 2);
    board[1].store(1, SeqCst);
    for future in pending {
        let cause = cause_of(future.result().unwrap_err());
        assert!(cause.contains("fail_when_told") && cause.contains(message), "{cause}");
    }
    let cause = cause_of(pool.submit(square, 4).unwrap_err());
    assert!(cause.contains(message), "{cause}");
    wait_until("the log", || LOGGED.lock().unwrap().iter().any(|line| line.contains(message)));
    pool.shutdown(true, false).expect("over");
    assert_eq!(board[0].load(SeqCst), 2, "no worker was started again");
    drop(pool);
    // The zygote goes with the pool too.
    wait_until("no process of the pool's is left", || children_of(std::process::id()).is_empty());
}

cases! {
    fn semantics_p21_a_failing_initializer_breaks_the_pool_with_its_message(kind) {
        failing(kind, false, "no database anywhere");
    }

    fn semantics_t5_a_panicking_initializer_breaks_the_pool_with_its_message(kind) {
        failing(kind, true, "no table anywhere");
    }

    fn semantics_p21_a_worker_that_dies_in_its_initializer_is_one_that_could_not_be_started(kind) {
        let builder = Executor::builder().workers(1).start(kind);
        // A thread that exited would take this process with it.
        let builder = if is_thread(kind) { builder.initializer(end_thread, ()) } else { builder.initializer(end_process, 3) };
        let pool = builder.build().expect("a pool");
        let error = pool.submit(square, 1).and_then(|future| future.result()).unwrap_err();
        let cause = if is_thread(kind) { "cause unknown" } else { "exited with code 3" };
        assert!(error.to_string().contains(cause), "{error}");
    }

    fn semantics_p22_each_worker_runs_the_initializer_once_before_its_first_task(kind) {
        let board = Board::new(3);
        let pool = Executor::builder().workers(2).start(kind).initializer(set_up, board.name()).build().expect("a pool");
        let futures: Vec<_> = (0..40).map(|_| pool.submit(serve, ()).unwrap()).collect();
        let served: Vec<u64> = futures.iter().map(|future| future.result().expect("what the initializer left")).collect();
        assert!(*served.iter().max().unwrap() >= 20, "a worker keeps its own from task to task: {served:?}");
        wait_until("both", || board[0].load(SeqCst) == 2);
        drop(pool);
        assert_eq!(board[0].load(SeqCst), 2, "once in each");
        assert_eq!(board[2].load(SeqCst), 2, "what they kept was dropped when they left");
    }

    fn semantics_p22_a_replacement_runs_initializer_and_exit_hook_and_a_killed_worker_no_hook(kind) {
        if is_thread(kind) {
            // Nobody can kill a thread; the rest holds for it as well.
            let board = Board::new(3);
            let builder = Executor::builder().workers(2).start(kind);
            drop(builder.initializer(set_up, board.name()).exit_hook(tidy_up, board.name()).build().expect("a pool"));
            assert_eq!([0, 1, 2].map(|cell| board[cell].load(SeqCst)), [2, 2, 2]);
            return;
        }
        let board = Board::new(3);
        let builder = Executor::builder().workers(1).start(kind);
        let pool = builder.initializer(set_up, board.name()).exit_hook(tidy_up, board.name()).build().expect("a pool");
        let first = pool.submit(own_pid, ()).unwrap().result().unwrap();
        kill(first);
        assert_ne!(pool.submit(own_pid, ()).unwrap().result(), Ok(first));
        assert_eq!(pool.submit(serve, ()).unwrap().result(), Ok(1), "the new worker has a desk of its own");
        pool.shutdown(true, false).expect("over");
        assert_eq!([0, 1, 2].map(|cell| board[cell].load(SeqCst)), [2, 1, 1]);
    }

    fn semantics_p22_what_cannot_be_an_initializer_is_refused_before_anything_is_made(kind) {
        let builder = || Executor::builder().workers(1).start(kind);
        let missing: Task<u64, ()> = Task::named("nowhere");
        let unknown = Err(Error::UnknownFunction { name: "nowhere".into() });
        assert_eq!(builder().initializer(missing, 1).build().map(drop), unknown);
        assert_eq!(builder().exit_hook(missing, 1).build().map(drop), unknown);
        let nameless: Task<u64, ()> = Task::named("");
        assert!(matches!(builder().initializer(nameless, 1).build(), Err(Error::InvalidArgument { .. })));
        assert!(matches!(builder().worker_names("").build(), Err(Error::InvalidArgument { .. })));
        assert!(matches!(builder().worker_names("a\0b").build(), Err(Error::InvalidArgument { .. })));
        assert!(matches!(builder().worker_names("x".repeat(193)).build(), Err(Error::InvalidArgument { .. })));
        assert!(set_worker_state(1_u8).is_err() && worker_state::<u8>().is_none(), "this is no worker");
    }

    fn semantics_p22_an_attached_worker_runs_the_initializer_and_one_without_it_is_refused(kind) {
        let board = Board::new(3);
        let name = unique_name();
        let builder = Executor::builder().start(StartMethod::None).initializer(set_up, board.name());
        let pool = builder.create_named(&name).expect("a pool");
        let worker = { let name = name.clone(); std::thread::spawn(move || taskring::work(&name)) };
        assert_eq!(pool.submit(serve, ()).unwrap().result(), Ok(1));
        drop(pool);
        worker.join().unwrap().expect("it served until the end");
        assert_eq!([0, 2].map(|cell| board[cell].load(SeqCst)), [1, 1]);
        let missing: Task<u64, ()> = Task::named("nowhere");
        let pool = Executor::builder().start(StartMethod::None).initializer(missing, 1).create_named(&name).expect("a pool");
        assert_eq!(taskring::work(&name), Err(Error::UnknownFunction { name: "nowhere".into() }));
        assert_eq!(pool.shutdown(true, true), Ok(()), "the pool is not broken by it");
        let _ = kind;
    }

    fn semantics_l1_all_workers_start_without_a_task(kind) {
        let board = Board::new(3);
        let pool = Executor::builder().workers(3).start(kind).initializer(set_up, board.name()).build().expect("a pool");
        wait_until("all three", || board[0].load(SeqCst) == 3);
        assert!(matches!(Executor::builder().workers(0).start(kind).build(), Err(Error::InvalidArgument { name: "workers", .. })));
        drop(pool);
    }

    fn semantics_t3_workers_have_numbers_and_names_that_ps_shows(kind) {
        let board = Board::new(1);
        let pool = Executor::builder().workers(3).start(kind).worker_names("crew").build().expect("a pool");
        let futures: Vec<_> = (0..3).map(|_| pool.submit(who, (board.name(), 3)).unwrap()).collect();
        let mut found: Vec<_> = futures.into_iter().map(|future| future.result().unwrap()).collect();
        found.sort();
        let wanted = [0, 1, 2].map(|n| (Some(n), Some(format!("crew_{n}")), format!("crew_{n}")));
        assert_eq!(found, wanted);
        assert_eq!((worker_number(), worker_name()), (None, None), "this is no worker");
    }

    fn semantics_t3_a_replacement_takes_number_and_name_over(kind) {
        let board = Board::new(2);
        let pool = Executor::builder().workers(2).start(kind).build().expect("a pool");
        let ask = || pool.submit(who, (board.name(), 0)).unwrap().result().unwrap();
        if !is_thread(kind) {
            // Worker by worker: the other one is held, so that the answer is the new one's.
            let held = pool.submit(hold, (board.name(), 0)).unwrap();
            wait_until("the hold", || board[0].load(SeqCst) == 1);
            let before = ask();
            let first = pool.submit(own_pid, ()).unwrap().result().unwrap();
            kill(first);
            assert_ne!(pool.submit(own_pid, ()).unwrap().result(), Ok(first));
            assert_eq!(ask(), before);
            board[1].store(1, SeqCst);
            held.result().unwrap();
        }
        let (number, name, comm) = ask();
        assert_eq!(name, number.map(|n| format!("taskring-worker_{n}")));
        assert_eq!(comm, format!("taskring-work_{}", number.unwrap()), "15 bytes, with the number");
    }

    fn semantics_s10_workers_are_named_in_a_look_at_the_pool_and_an_attached_one_has_no_number(kind) {
        let name = unique_name();
        let pool = Executor::builder().workers(1).start(kind).worker_names("crew").create_named(&name).expect("a pool");
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
        let seen = taskring::inspect(&name).expect("a look");
        let names: Vec<_> = seen.participants.iter().filter_map(|p| p.name.clone()).collect();
        assert_eq!(names, ["crew_0"]);
        assert!(seen.to_string().contains("crew_0"), "{seen}");
        drop(pool);
        let pool = Executor::builder().start(StartMethod::None).worker_names("crew").create_named(&name).expect("a pool");
        let worker = { let name = name.clone(); std::thread::spawn(move || taskring::work(&name)) };
        let board = Board::new(1);
        let (number, called, _) = pool.submit(who, (board.name(), 1)).unwrap().result().unwrap();
        assert_eq!((number, called), (None, None));
        drop(pool);
        worker.join().unwrap().expect("it served until the end");
    }

    fn semantics_s10_the_error_of_a_pool_whose_worker_could_not_be_made_ready_names_it(kind) {
        let board = Board::new(3);
        board[1].store(1, SeqCst);
        let builder = Executor::builder().workers(1).start(kind).worker_names("crew");
        let pool = builder.initializer(fail_when_told, (board.name(), false)).build().expect("a pool");
        // It may be broken before the task comes.
        let error = pool.submit(square, 3).and_then(|future| future.result()).unwrap_err();
        let text = cause_of(error);
        let behind = text.strip_prefix("a worker could not be made ready: crew_0 (process ").unwrap_or_else(|| panic!("{text}"));
        let (pid, why) = behind.split_once("): ").expect("a process");
        assert_eq!(pid == std::process::id().to_string(), is_thread(kind), "{text}");
        assert!(why.starts_with("initializer") && why.ends_with("no database anywhere"), "{text}");
    }

    fn semantics_s1_shared_values_are_read_by_every_worker_where_they_lie(kind) {
        let builder = Executor::builder().workers(2).start(kind).shared("sevens", vec![7; 100_000]);
        let pool = builder.shared("nothing", Vec::new()).shared("\u{e4}", "text").build().expect("a pool");
        let own = pool.shared("sevens").unwrap().expect("the creator sees it too");
        assert!(own.iter().all(|&byte| byte == 7) && own.len() == 100_000 && is_in_a_pool(&own));
        for _ in 0..4 {
            let (sum, at, is_shared) = pool.submit(look, "sevens".to_owned()).unwrap().result().unwrap().expect("there");
            assert!(is_shared && sum == 700_000 && at % 64 == 0);
            assert!(!is_thread(kind) || at == own.as_ptr().addr() as u64, "no copy");
        }
        assert_eq!(pool.submit(look, "nothing".to_owned()).unwrap().result().unwrap().expect("there").0, 0);
        assert!(pool.submit(look, "\u{e4}".to_owned()).unwrap().result().unwrap().is_some());
        assert_eq!(pool.submit(look, "other".to_owned()).unwrap().result(), Ok(None));
        assert!(pool.shared("other").unwrap().is_none() && shared("sevens").is_none(), "this is no worker");
        drop(pool);
        assert!(own.iter().all(|&byte| byte == 7), "it keeps the memory");
    }

    fn semantics_s1_who_attaches_sees_the_shared_values(kind) {
        let name = unique_name();
        let builder = Executor::builder().workers(1).start(kind).shared("page", vec![1; 4096]);
        let pool = builder.create_named(&name).expect("a pool");
        let attached = Executor::attach(&name).expect("attached");
        assert_eq!(attached.shared("page").unwrap().expect("there").len(), 4096);
        let (sum, _, is_shared) = attached.submit(look, "page".to_owned()).unwrap().result().unwrap().expect("there");
        assert!(is_shared && sum == 4096);
        // Large payloads lie behind them.
        let big = taskring::Bytes::from(vec![3; 100_000]);
        assert_eq!(attached.submit(sum_of, big).unwrap().result(), Ok(300_000));
        assert!(attached.shared("page").unwrap().unwrap().iter().all(|&byte| byte == 1));
        drop((attached, pool));
    }

    fn semantics_s1_what_cannot_be_shared_is_refused(kind) {
        let builder = || Executor::builder().workers(1).start(kind);
        let invalid = |builder: taskring::Builder| matches!(builder.build(), Err(Error::InvalidArgument { .. }));
        assert!(invalid(builder().shared("", "x")) && invalid(builder().shared(&"x".repeat(193), "x")));
        assert!(invalid(builder().shared("a", "x").shared("a", "y")), "each name once");
        let many = (0..65).fold(builder(), |builder, i| builder.shared(&format!("{i}"), "x"));
        assert_eq!(many.build().map(drop), Err(Error::TooMany { what: "shared values", max: 64 }));
        // Memory that nobody has touched: nothing of it is copied.
        let large = builder().payload_max((16 << 30) - (64 << 20)).capacity(8).shared("a", vec![0; 256 << 20]);
        assert!(matches!(large.build(), Err(Error::PayloadTooLarge { .. })));
        let most = (0..64).fold(builder(), |builder, i| builder.shared(&format!("{i}"), vec![i; 3]));
        let pool = most.build().expect("64 are not too many");
        assert_eq!(pool.shared("63").unwrap().as_deref(), Some(&[63, 63, 63][..]));
    }
}

taskring::task! {
    fn sum_of(bytes: &[u8]) -> u64 { bytes.iter().map(|&b| u64::from(b)).sum() }
}
