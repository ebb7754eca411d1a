//! How pools end: rows of the sections on process pools, thread pools, and what is better on purpose.

use crate::held::{end_own_worker, second_pool_of};
use crate::process_support::common::{Board, count_in, hold, nap, own_pid, square, unique_name};
use crate::process_support::{Program, children_of, hear, pid_alive, role, say, signal, wait_until};
use crate::support::{is_thread, pool_of};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use taskring::{Error, Executor, Future, MultiPool, OnWorkerDeath, Stage, StartMethod, State};

taskring::task! {
    /// Counts itself, waits for the next cell, and takes its worker with it.
    pub fn die(board: String, cell: u64) {
        let cells = Board::at(&board);
        cells[cell as usize].fetch_add(1, SeqCst);
        wait_until("the order to die", || cells[cell as usize + 1].load(SeqCst) != 0);
        end_own_worker();
    }
    /// Adds a byte to a file.
    fn add_to(path: String) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, b".")).expect("written");
    }
    /// Copies a file once another one is there, not before.
    fn copy(from: String, to: String, after: String) {
        wait_until("the program is at its end", || Path::new(&after).exists());
        std::fs::copy(from, to).expect("copied");
    }
}

/// A pool with a running task for each of its workers: the `n`th counts in cell 2n and ends when cell 2n + 1 is set.
pub struct Busy {
    pub board: Board,
    pub pool: Executor,
    pub running: Vec<Future<u64>>,
    pub pending: Vec<Future<u64>>,
}

/// Counted by those that were pending.
pub const PENDING: usize = 15;

impl Busy {
    pub fn new(pool: Executor) -> Busy {
        let board = Board::new(16);
        let workers = pool.workers();
        let running: Vec<_> =
            (0..workers as u64).map(|n| pool.submit(hold, (board.name(), 2 * n)).expect("submitted")).collect();
        wait_until("all run", || (0..workers).all(|n| board[2 * n].load(SeqCst) == 1));
        let pending = (0..10).map(|_| pool.submit(count_in, (board.name(), PENDING as u64)).expect("submitted")).collect();
        Busy { board, pool, running, pending }
    }

    pub fn let_go(&self) {
        (0..self.running.len()).for_each(|n| self.board[2 * n + 1].store(1, SeqCst));
    }

    pub fn worker_of(&self, n: usize) -> u32 {
        let mut pid = None;
        wait_until("its worker is known", || {
            pid = self.running[n].worker_pid();
            pid.is_some()
        });
        pid.expect("known")
    }
}

fn is_broken<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Broken { .. }))
}

/// One line of the matrix: whether the pending ones run, and whether the call waits. Running tasks always end by themselves.
fn matrix(kind: StartMethod, wait: bool, cancel: bool) {
    let busy = Busy::new(pool_of(kind, 1));
    std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| busy.pool.shutdown(wait, cancel).expect("shut down"));
        wait_until("no new tasks", || busy.pool.submit(square, 1).map(|_| ()) == Err(Error::ShutDown));
        if cancel {
            assert!(busy.pending.iter().all(|f| f.result() == Err(Error::Cancelled)), "told while the running one goes on");
        }
        if wait {
            assert!(!shutdown.is_finished());
        } else {
            wait_until("it returned", || shutdown.is_finished());
        }
        assert_eq!(busy.running[0].state(), State::Running);
        busy.let_go();
    });
    assert!(!wait || busy.pending.iter().chain(&busy.running).all(Future::is_done));
    assert_eq!(busy.running[0].result(), Ok(0));
    let ran = busy.pending.iter().filter(|f| f.result().is_ok()).count();
    assert_eq!(ran, if cancel { 0 } else { 10 });
    assert_eq!(busy.board[PENDING].load(SeqCst), ran as u64);
}

/// In the environment of a program that is run by a case: the folder for its files.
const FOLDER: &str = "TASKRING_SEMANTICS_FOLDER";
/// In the environment of a program that comes to work: the name of the pool.
const SERVES: &str = "TASKRING_SEMANTICS_SERVES";
/// Pools that nobody drops.
static POOL: OnceLock<Executor> = OnceLock::new();
static MULTI: OnceLock<MultiPool> = OnceLock::new();

/// In the program that a case has run: its folder.
fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs the same case of this program, as the owner of a pool that ends; gives its folder, and how it ended. It writes to files: a pipe would stay open for as
/// long as its workers live.
fn run_owner() -> (tempfile::TempDir, ExitStatus) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for n in 0..4 {
        std::fs::write(folder.path().join(format!("from{n}")), format!("file {n}")).expect("written");
    }
    let case = std::env::args().nth(1).expect("the case");
    let said = std::fs::File::create(folder.path().join("said")).expect("a file");
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    program.arg(case).env(FOLDER, folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let status = program.status().expect("it starts");
    eprint!("{}", std::fs::read_to_string(folder.path().join("said")).expect("the file"));
    (folder, status)
}

fn copies_in(folder: &Path) -> usize {
    (0..4)
        .filter(|n| std::fs::read(folder.join(format!("to{n}"))).is_ok_and(|b| b == format!("file {n}").as_bytes()))
        .count()
}

/// What has four files copied, none of which is before `at_the_end`.
fn copies(folder: &Path) -> impl Iterator<Item = (String, String, String)> {
    let path = |name: String| folder.join(name).to_str().expect("UTF-8").to_owned();
    (0..4).map(move |n| (path(format!("from{n}")), path(format!("to{n}")), path("end".into())))
}

fn submit_copies(pool: &Executor, folder: &Path) -> Vec<Future<()>> {
    copies(folder).map(|args| pool.submit(copy, args).expect("submitted")).collect()
}

fn at_the_end(folder: &Path) {
    assert_eq!(copies_in(folder), 0, "nothing was waited for");
    std::fs::write(folder.join("end"), b"").expect("written");
}

/// What `exit` calls before it waits for the pool: it takes tasks still, and they are waited for.
extern "C" fn submit_before_the_wait() {
    let folder = folder().expect("in the program that a case has run");
    submit_copies(POOL.get().expect("it is there"), &folder);
    at_the_end(&folder);
}

/// What `exit` calls after it has waited for the pool.
extern "C" fn submit_after_the_wait() {
    let folder = folder().expect("in the program that a case has run");
    let pool = POOL.get().expect("it is there");
    let refused = [pool.submit(square, 3).map(drop), pool.try_submit(square, 3).map(drop), pool.map(square, 0..3).map(drop)];
    std::fs::write(folder.join("refused"), format!("{} {refused:?}", copies_in(&folder))).expect("written");
}

fn call_at_exit(handler: extern "C" fn()) {
    // SAFETY: the function is there for as long as the program.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

/// The role of a program that has a pool whose workers are killed while it stands still.
const OWNER: &str = "owner of a breaking pool";

/// Says the numbers of its three workers; and, when it is told to go on, what became of the pool.
fn owner_of_a_breaking_pool(kind: StartMethod) {
    let pool = breaking(kind, 3);
    let pids: Vec<String> =
        pool.broadcast(own_pid, ()).expect("submitted").iter().map(|f| f.result().expect("it ran").to_string()).collect();
    say(&pids.join(" "));
    hear();
    let broken = loop {
        // The third worker may be quick enough for a few before the deaths are known.
        if let Err(e) = pool.submit(square, 1).and_then(|future| future.result()) {
            break e;
        }
    };
    assert!(is_broken::<()>(&Err(broken.clone())), "{broken:?}");
    say(&broken.to_string());
    hear();
}

/// The letter for what each thread of a process is doing.
fn states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten();
    let stat = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stat.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

/// A pool whose policy is to break.
fn breaking(kind: StartMethod, workers: usize) -> Executor {
    let builder = Executor::builder().workers(workers).start(kind).on_worker_death(OnWorkerDeath::BreakPool);
    builder.build().expect("a pool")
}

cases! {
    fn semantics_p9_where_a_death_breaks_the_pool_nothing_starts_and_what_runs_elsewhere_ends(kind) {
        let pool = breaking(kind, 2);
        let board = Board::new(16);
        let victim = pool.submit(die, (board.name(), 0)).unwrap();
        let other = pool.submit(hold, (board.name(), 2)).unwrap();
        wait_until("both run", || board[0].load(SeqCst) + board[2].load(SeqCst) == 2);
        let pending: Vec<_> = (0..10).map(|_| pool.submit(count_in, (board.name(), PENDING as u64)).unwrap()).collect();
        board[1].store(1, SeqCst);
        for future in &pending {
            let result = future.result();
            assert!(is_broken(&result), "{result:?}");
        }
        assert!(matches!(victim.result(), Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. })), "its own verdict");
        assert!(is_broken(&pool.submit(square, 1).map(|_| ())));
        assert_eq!(other.state(), State::Running);
        board[3].store(1, SeqCst);
        assert_eq!(other.result(), Ok(2), "a result that is there is given");
        assert_eq!(board[PENDING].load(SeqCst), 0);
        pool.shutdown(true, false).expect("a broken pool ends as any other");
    }

    fn semantics_p10_each_future_has_an_error_of_its_own(kind) {
        let pool = breaking(kind, 1);
        let board = Board::new(2);
        let victim = pool.submit(die, (board.name(), 0)).unwrap();
        let pending = pool.submit_bulk(square, 0..3).unwrap();
        board[1].store(1, SeqCst);
        assert!(victim.result().is_err());
        let errors: Vec<Error> = pending.iter().map(|f| f.result().unwrap_err()).collect();
        assert!(errors.iter().all(|e| matches!(e, Error::Broken { .. })), "{errors:?}");
        assert_eq!(pending[0].result().unwrap_err(), errors[0], "and again");
    }

    fn semantics_p11_a_broken_pool_names_the_dead_worker_and_its_cause(kind) {
        let busy = Busy::new(breaking(kind, 1));
        let text = |error: Error| error.to_string();
        if is_thread(kind) {
            let pool = breaking(kind, 1);
            let board = Board::new(2);
            let _victim = pool.submit(die, (board.name(), 0)).unwrap();
            let pending = pool.submit(square, 1).unwrap();
            board[1].store(1, SeqCst);
            let text = text(pending.result().unwrap_err());
            assert!(text.contains("a worker of the pool ended abruptly while a task was running or pending"), "{text}");
            busy.let_go();
            return;
        }
        let victim = busy.worker_of(0);
        signal(victim, libc::SIGKILL);
        for future in &busy.pending {
            let text = text(future.result().unwrap_err());
            let named = format!("taskring-worker_0 (process {victim})");
            let wanted = format!("ended abruptly while a task was running or pending: {named}: signal 9 killed it");
            assert!(text.ends_with(&wanted), "{text}");
        }
        let later = text(busy.pool.submit(square, 1).map(|_| ()).unwrap_err());
        assert!(later.contains(&format!("process {victim}")), "{later}");
    }

    fn semantics_s10_an_error_names_the_worker_that_died_and_its_process(kind) {
        // As long as a prefix may be: `ps` shows 15 bytes of the name, the error all of it.
        for prefix in ["crew".to_owned(), "\u{e4}".repeat(96)] {
            // In a process that has other threads by now there is no fork.
            let method = if kind == StartMethod::Fork && prefix != "crew" { StartMethod::Spawn } else { kind };
            let pool = Executor::builder().workers(1).start(method).worker_names(&prefix).build().expect("a pool");
            let name = format!("{prefix}_0");
            // The second one is another worker's, with the same number.
            for round in 0..2 {
                let board = Board::new(2);
                let victim = pool.submit(die, (board.name(), 0)).unwrap();
                wait_until("it runs", || board[0].load(SeqCst) == 1);
                let pid = victim.worker_pid().expect("somebody runs it");
                assert_eq!(pid == std::process::id(), is_thread(kind));
                board[1].store(1, SeqCst);
                let lost = victim.result().unwrap_err();
                let wanted = format!("worker {name} (process {pid}) died while it ran this task: ");
                assert!(lost.to_string().starts_with(&wanted), "round {round}: {lost}");
                let Error::WorkerLost { pid: found, name: called, .. } = lost else { panic!("{lost:?}") };
                assert_eq!((found, called.as_ref()), (pid, Some(&name)));
            }
        }
    }

    /// The names of a pool are those of the workers that its owner has started.
    fn semantics_s10_of_a_worker_that_came_by_the_pools_name_an_error_has_the_process(kind) {
        if std::env::var_os(SERVES).is_some() {
            return taskring::work(&std::env::var(SERVES).expect("a name")).expect("it serves until it dies");
        }
        let name = unique_name();
        // With a worker of its own, which is busy, so that somebody else runs the task.
        let pool = Executor::builder().workers(1).start(kind).worker_names("crew").create_named(&name).expect("a pool");
        let board = Board::new(4);
        let busy = pool.submit(hold, (board.name(), 0)).unwrap();
        wait_until("the pool's worker is busy", || board[0].load(SeqCst) == 1);
        let case = std::env::args().nth(1).expect("the case");
        let mut program = Command::new(std::env::current_exe().expect("this program"));
        let mut other = program.arg(case).env(SERVES, &name).spawn().expect("it starts");
        let victim = pool.submit(die, (board.name(), 2)).unwrap();
        board[3].store(1, SeqCst);
        let lost = victim.result().unwrap_err();
        other.wait().expect("it has ended");
        let wanted = format!("the worker in process {} died while it ran this task: ", other.id());
        assert!(lost.to_string().starts_with(&wanted), "{lost}");
        assert!(matches!(&lost, Error::WorkerLost { name: None, .. }), "{lost:?}");
        board[1].store(1, SeqCst);
        assert_eq!(busy.result(), Ok(0));
    }

    fn semantics_p11_a_broken_pool_names_every_dead_worker_and_how_it_ended(kind) {
        if role().as_deref() == Some(OWNER) {
            return owner_of_a_breaking_pool(kind);
        }
        if is_thread(kind) {
            // A thread has no number, and no signal ends it alone: that is the case above. What is left is that a kill is not possible.
            let refused = breaking(kind, 3).kill_workers().unwrap_err();
            return assert!(matches!(refused, Error::Unsupported { .. }), "{refused:?}");
        }
        let mut owner = Program::start(OWNER, &["semantics_p11_a_broken_pool_names_every_dead_worker_and_how_it_ended"]);
        let pids: Vec<u32> = owner.numbers().into_iter().map(|pid| pid as u32).collect();
        assert_eq!(pids.len(), 3);
        // It sees no death before both are there to be seen.
        signal(owner.pid(), libc::SIGSTOP);
        wait_until("it stands still", || states(owner.pid()).iter().all(|&state| state == 'T'));
        let killed = [(pids[0], libc::SIGKILL), (pids[2], libc::SIGTERM)];
        killed.iter().for_each(|&(pid, how)| signal(pid, how));
        wait_until("they have ended", || !killed.iter().any(|&(pid, _)| pid_alive(pid)));
        if kind != StartMethod::Spawn {
            // The process that forks them tells the owner, once it has buried them.
            let forks = children_of(owner.pid());
            wait_until("they are buried", || !killed.iter().any(|(pid, _)| Path::new(&format!("/proc/{pid}")).exists()));
            wait_until("it has told of both", || forks.iter().all(|&pid| states(pid) == ['S']));
        }
        signal(owner.pid(), libc::SIGCONT);
        owner.tell("go on");
        let text = owner.line();
        for (pid, how) in killed {
            assert!(text.contains(&format!("(process {pid}): signal {how} killed it")), "{text}");
        }
        assert!(!text.contains(&format!("process {}", pids[1])), "{text}");
        owner.end();
    }

    fn semantics_p19_a_crash_while_a_shutdown_waits_is_a_verdict_and_it_returns(kind) {
        let pool = pool_of(kind, 1);
        let board = Board::new(2);
        let victim = pool.submit(die, (board.name(), 0)).unwrap();
        let later = pool.submit(square, 5).unwrap();
        wait_until("it runs", || board[0].load(SeqCst) == 1);
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| pool.shutdown(true, false));
            wait_until("no new tasks", || pool.submit(square, 1).map(|_| ()) == Err(Error::ShutDown));
            board[1].store(1, SeqCst);
            assert_eq!(shutdown.join().expect("no panic"), Ok(()));
        });
        assert!(matches!(victim.result(), Err(Error::WorkerLost { stage: Stage::MayHaveRun, .. })));
        assert_eq!(later.result(), Ok(25), "a pool that closes runs what it took");
    }

    fn semantics_p24_a_broken_pool_that_was_shut_down_says_broken(kind) {
        let pool = breaking(kind, 1);
        let board = Board::new(2);
        let victim = pool.submit(die, (board.name(), 0)).unwrap();
        wait_until("it runs", || board[0].load(SeqCst) == 1);
        pool.shutdown(false, false).unwrap();
        assert_eq!(pool.submit(square, 1).map(|_| ()), Err(Error::ShutDown));
        board[1].store(1, SeqCst);
        assert!(victim.result().is_err());
        wait_until("broken comes first", || is_broken(&pool.submit(square, 1).map(|_| ())));
        assert!(is_broken(&pool.submit_bulk(square, [1]).map(|_| ())));
        assert!(is_broken(&pool.try_submit(square, 1).map(|_| ())));
    }

    /// In the reference a submit fails as soon as the interpreter ends; here while what was submitted is waited for.
    fn semantics_p24_at_the_end_of_the_program_a_submit_is_taken_or_refused(kind) {
        if folder().is_some() {
            // Who is added last is called first.
            call_at_exit(submit_after_the_wait);
            POOL.get_or_init(|| pool_of(kind, 2));
            return call_at_exit(submit_before_the_wait);
        }
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        let refused = std::fs::read_to_string(folder.path().join("refused")).expect("the last one was called");
        assert_eq!(refused, "4 [Err(ShutDown), Err(ShutDown), Err(ShutDown)]");
    }

    fn semantics_p27_four_files_are_copied_after_a_shutdown_that_does_not_wait(kind) {
        if let Some(folder) = folder() {
            let pool = pool_of(kind, 2);
            submit_copies(&pool, &folder);
            pool.shutdown(false, false).unwrap();
            drop(pool);
            return at_the_end(&folder);
        }
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        // At this very moment, not a little later.
        assert_eq!(copies_in(folder.path()), 4);
    }

    fn semantics_p28_the_end_of_main_without_a_shutdown_waits(kind) {
        if let Some(folder) = folder() {
            let pool = POOL.get_or_init(|| pool_of(kind, 2));
            submit_copies(pool, &folder);
            return at_the_end(&folder);
        }
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        assert_eq!(copies_in(folder.path()), 4);
    }

    fn semantics_b11_exit_waits_and_keeps_its_code(kind) {
        if let Some(folder) = folder() {
            let pool = POOL.get_or_init(|| pool_of(kind, 2));
            submit_copies(pool, &folder);
            at_the_end(&folder);
            std::process::exit(7);
        }
        let (folder, status) = run_owner();
        assert_eq!(status.code(), Some(7), "{status}");
        assert_eq!(copies_in(folder.path()), 4);
    }

    /// A `MultiPool`. Nobody drops it, and so nobody terminates it: its end is that of an executor.
    fn semantics_l24_a_pool_of_this_style_in_a_global_ends_with_the_program(kind) {
        if let Some(folder) = folder() {
            let pool = MULTI.get_or_init(|| MultiPool::with(Executor::builder().workers(2).start(kind)).expect("a pool"));
            let results: Vec<_> = copies(&folder).map(|args| pool.apply_async(copy, args).expect("submitted")).collect();
            assert!(!results.iter().any(|result| result.ready()));
            at_the_end(&folder);
            std::process::exit(7);
        }
        let (folder, status) = run_owner();
        assert_eq!(status.code(), Some(7), "{status}");
        assert_eq!(copies_in(folder.path()), 4);
    }

    fn semantics_b11_exit_wait_max_bounds_the_wait(kind) {
        if let Some(folder) = folder() {
            let builder = Executor::builder().workers(1).start(kind).exit_wait_max(Duration::from_millis(200));
            let pool = POOL.get_or_init(|| builder.build().expect("a pool"));
            // They wait for an end that is never said.
            submit_copies(pool, &folder);
            return;
        }
        let start = Instant::now();
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        assert!(start.elapsed() < crate::process_support::LIMIT, "it took {:?}", start.elapsed());
        assert_eq!(copies_in(folder.path()), 0);
    }

    fn semantics_b11_detach_on_exit_waits_for_nothing(kind) {
        if let Some(folder) = folder() {
            let pool = POOL.get_or_init(|| {
                Executor::builder().workers(1).start(kind).detach_on_exit(true).build().expect("a pool")
            });
            let copies = submit_copies(pool, &folder);
            wait_until("the first one runs", || copies[0].state() == State::Running);
            return;
        }
        let start = Instant::now();
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        assert!(start.elapsed() < crate::process_support::LIMIT, "it took {:?}", start.elapsed());
        at_the_end(folder.path());
        if !is_thread(kind) {
            wait_until("what ran ends", || copies_in(folder.path()) == 1);
        }
    }

    fn semantics_b11_a_pool_that_is_left_starts_nobody_while_another_is_waited_for(kind) {
        let starts = |folder: &Path| std::fs::metadata(folder.join("starts")).map_or(0, |file| file.len());
        if let Some(folder) = folder() {
            let path = folder.join("starts").to_str().expect("UTF-8").to_owned();
            let left = Executor::builder().workers(2).start(kind).detach_on_exit(true).initializer(add_to, path).build();
            let left = POOL.get_or_init(|| left.expect("a pool"));
            wait_until("both are there", || starts(&folder) == 2);
            assert_eq!(left.submit(square, 3).unwrap().result(), Ok(9));
            // It is made later, and so it is waited for after the other was left.
            let waited_for = second_pool_of(kind, 1);
            waited_for.submit(nap, 1000).expect("submitted").detach();
            return std::mem::forget(waited_for);
        }
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        assert_eq!(starts(folder.path()), 2);
    }

    fn semantics_t7_a_shutdown_that_cancels_lets_what_runs_end_after_main(kind) {
        if let Some(folder) = folder() {
            let pool = pool_of(kind, 1);
            let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
            let running = pool.submit(copy, (path("from0"), path("to0"), path("end"))).unwrap();
            wait_until("it runs", || running.state() == State::Running);
            submit_copies(&pool, &folder);
            pool.shutdown(false, true).unwrap();
            return at_the_end(&folder);
        }
        let (folder, status) = run_owner();
        assert!(status.success(), "{status}");
        assert_eq!(copies_in(folder.path()), 1, "the one that ran");
    }

    fn semantics_pm_waiting_and_not_cancelling(kind) {
        matrix(kind, true, false);
    }

    fn semantics_pm_waiting_and_cancelling(kind) {
        matrix(kind, true, true);
    }

    fn semantics_pm_neither_waiting_nor_cancelling(kind) {
        matrix(kind, false, false);
    }

    fn semantics_pm_cancelling_without_waiting(kind) {
        matrix(kind, false, true);
    }

    fn semantics_s4_dropping_an_executor_waits(kind) {
        let pool = pool_of(kind, 2);
        let futures = pool.submit_bulk(nap, vec![5; 20]).unwrap();
        drop(pool);
        assert!(futures.iter().all(|f| f.is_done() && f.result() == Ok(5)));
    }
}
