//! Whatever a caller gets wrong, and whatever the machine refuses, is a typed error that names the value, and nothing is changed by it.

mod process_support;

use process_support::{
    LIMIT, Log, Program, append, await_gate, children_of, fd_count, hear, is_root, pool_file, say, shm_entries, unique,
    wait_until,
};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};
use taskring::{Builder, Bytes, Error, Executor, MapOptions, StartMethod, Task};

taskring::task! {
    fn square(x: u64) -> u64 { x * x }
    fn length(bytes: Bytes) -> u64 { bytes.len() as u64 }
    fn zeros(len: u64) -> Bytes { Bytes::from(vec![1; len as usize]) }
    fn hold(log: String, gate: String) {
        append(&log, "entered");
        await_gate(&gate);
    }
}

fn main() {
    taskring::init();
    process_support::main(
        &[("full", full), ("forker", forker)],
        &[
            ("numbers_out_of_range_are_named_and_nothing_is_made", numbers),
            ("a_payload_that_is_too_large_is_refused_and_the_pool_goes_on", payloads),
            ("functions_are_checked", functions),
            ("a_pool_that_exists_is_not_replaced_and_nothing_is_left_of_the_try", exists),
            ("a_named_pool_whose_workers_cannot_be_started_leaves_no_name", no_workers),
            ("a_full_file_system_is_an_error_value", full_file_system),
            ("after_shutdown_every_call_says_so", after_shutdown),
            ("a_future_whose_slot_was_reused_is_stale", stale),
            ("a_full_ring_is_refused_or_timed_out", full_ring),
            ("fork_in_a_process_with_threads_is_refused", many_threads),
            ("descriptors_used_up_are_an_error_value_and_relief_helps", no_descriptors),
        ],
    );
}

fn threads() -> Builder {
    Executor::builder().workers(1).start(StartMethod::Thread)
}

#[track_caller]
fn assert_invalid(builder: Builder, name: &str, value: &str) {
    let before = (fd_count(), children_of(std::process::id()));
    match builder.build().map(drop) {
        Err(e @ Error::InvalidArgument { name: found, .. }) => {
            assert_eq!(found, name);
            let text = e.to_string();
            assert!(text.contains(value) && text.contains("wanted"), "{text}");
        }
        other => panic!("{name} = {value}: {other:?}"),
    }
    assert_eq!((fd_count(), children_of(std::process::id())), before);
}

fn numbers() {
    assert_invalid(threads().workers(0), "workers", "0");
    assert_invalid(threads().workers(193), "workers", "193");
    assert_invalid(threads().workers(usize::MAX), "workers", &usize::MAX.to_string());
    assert_invalid(threads().capacity(0), "capacity", "0");
    assert_invalid(threads().capacity((1 << 20) + 1), "capacity", "1048577");
    assert_invalid(threads().capacity(usize::MAX), "capacity", &usize::MAX.to_string());
    assert_invalid(threads().payload_max(0), "payload_max", "0");
    assert_invalid(threads().payload_max(4095), "payload_max", "4095");
    assert_invalid(threads().payload_max(u64::MAX), "payload_max", &u64::MAX.to_string());
    assert_invalid(threads().kills_max(0), "kills_max", "0");
    assert_invalid(threads().start_timeout(Duration::ZERO), "start_timeout", "0");
    let smallest = threads().capacity(1).payload_max(4096).build().expect("the smallest pool");
    assert_eq!((smallest.capacity(), smallest.submit(square, 3).expect("submitted").result()), (1, Ok(9)));
    let odd = threads().capacity(5).build().expect("a pool");
    assert_eq!(odd.capacity(), 8, "rounded up");
    for (options, name) in
        [(MapOptions::new().window(0), "the map's window"), (MapOptions::new().chunk(0), "the map's chunk")]
    {
        match odd.map_with(&options, square, 0..3).map(|m| m.count()) {
            Err(Error::InvalidArgument { name: found, value, .. }) => assert_eq!((found, value.as_str()), (name, "0")),
            other => panic!("{name} = 0: {other:?}"),
        }
    }
}

fn payloads() {
    const AREA: u64 = 1 << 20;
    let pool = threads().payload_max(AREA).build().expect("a pool");
    let large = |len: usize| Bytes::from(vec![0; len]);
    for len in [2 << 20, AREA as usize + 1] {
        match pool.submit(length, large(len)).map(drop) {
            Err(Error::PayloadTooLarge { len: found, max }) => assert!(found > max && max <= AREA, "{found} {max}"),
            other => panic!("{len} bytes: {other:?}"),
        }
    }
    assert_eq!(pool.submit(length, large(1 << 19)).expect("half of it fits").result(), Ok(1 << 19));
    let too_large = pool.submit(zeros, 2 << 20).expect("a small argument").result().map(|b| b.len());
    assert!(too_large.as_ref().is_err_and(|e| e.to_string().contains("2097")), "a result that does not fit: {too_large:?}");
    assert_eq!(pool.submit(zeros, 1 << 19).expect("submitted").result().map(|b| b.len()), Ok(1 << 19));

    // Used up by others: the call may go through later.
    let log = Log::new();
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let mut pending = Vec::new();
    let refused = loop {
        match pool.submit(length, large(200_000)) {
            Ok(future) => pending.push(future),
            Err(e) => break e,
        }
        assert!(pending.len() <= 8, "more was accepted than there is room for");
    };
    assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused:?}");
    log.open_gate();
    assert_eq!(held.result(), Ok(()));
    assert!(!pending.is_empty() && pending.iter().all(|f| f.result() == Ok(200_000)));
    assert_eq!(pool.submit(length, large(200_000)).expect("room again").result(), Ok(200_000));
}

fn functions() {
    let pool = threads().build().expect("a pool");
    assert_eq!(pool.submit(square, 2).expect("submitted").result(), Ok(4), "the worker is ready");
    let unknown = pool.submit(Task::<u64, u64>::named("no such function"), 1).map(drop);
    assert_eq!(unknown, Err(Error::UnknownFunction { name: "no such function".to_owned() }));
    for bad in [String::new(), "f".repeat(193)] {
        let refused = pool.submit(Task::<u64, u64>::named(&bad), 1).map(drop);
        assert!(matches!(refused, Err(Error::InvalidArgument { name: "the function name", .. })), "{refused:?}");
        assert!(matches!(taskring::register(&bad, |x: u64| x).map(drop), Err(Error::InvalidArgument { .. })));
    }
    let wrong = Task::<(), u64>::named(square.name());
    let failed = pool.submit(wrong, ()).expect("submitted").result();
    assert!(matches!(failed, Err(Error::TaskFailed { .. })), "arguments of another type: {failed:?}");
    let wrong = Task::<u64, String>::named(square.name());
    assert!(matches!(pool.submit(wrong, 300).expect("submitted").result(), Err(Error::Decode { .. })));
}

/// Files of pools that this process has made, under their names or temporary ones. Other tests have some, too.
fn own_files() -> Vec<String> {
    let pid = std::process::id();
    [format!("-{pid}-"), format!("taskring-new.{pid}.")].iter().flat_map(|with| shm_entries(with)).collect()
}

fn exists() {
    let name = unique("exists");
    let pool = threads().create_named(&name).expect("a pool");
    let exists = Err(Error::Exists { name: name.clone() });
    assert_eq!(pool.submit(square, 2).expect("submitted").result(), Ok(4), "its worker has a seat");
    let before = (fd_count(), own_files());
    for method in [StartMethod::Thread, StartMethod::None, StartMethod::Spawn, StartMethod::ForkServer] {
        assert_eq!(Executor::builder().workers(1).start(method).create_named(&name).map(drop), exists, "{method:?}");
        let left = children_of(std::process::id());
        assert_eq!(left, [] as [u32; 0], "{method:?}: a process is left");
        assert_eq!((fd_count(), own_files()), before, "{method:?}");
    }
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9), "the first one lives on");
}

fn no_workers() {
    let before = (fd_count(), own_files());
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let name = unique("no-workers");
        let builder = Executor::builder().workers(2).start(method);
        let refused = builder.worker_exe("/no/such/program", [""; 0], [("", ""); 0]).create_named(&name).map(drop);
        assert!(matches!(refused, Err(Error::System { errno: libc::ENOENT, .. })), "{method:?}: {refused:?}");
        let left = (fd_count(), own_files());
        let _ = taskring::remove_dead(&name);
        assert_eq!(left, before, "{method:?}");
    }
}

fn full_file_system() {
    if !is_root("a full /dev/shm") {
        return;
    }
    // A namespace of its own, in which /dev/shm holds one MiB.
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec \"$0\"";
    command.args(["-m", "sh", "-c", script]).arg(own);
    let mut program = Program::from_command(command, "full", &[]);
    let status = program.end_within(LIMIT);
    let said = program.rest();
    if said == ["no room of its own"]
        || !status.success() && said.is_empty() && status.code() != Some(101) && status.code().is_some()
    {
        println!("not run, for this machine lets nobody mount: a full /dev/shm");
        return;
    }
    assert!(status.success(), "{status}: {said:?}");
    assert_eq!(said, ["done"]);
}

/// Runs where `/dev/shm` holds one MiB.
fn full(_args: &[String]) {
    let out_of_memory = |result: Result<(), Error>| matches!(result, Err(Error::OutOfMemory { .. }));
    // 65536 slots take eight MiB.
    let refused = threads().capacity(1 << 16).create_named("full").map(drop);
    assert!(out_of_memory(refused.clone()), "{refused:?}");
    assert_eq!(shm_entries(""), [""; 0], "nothing is left of it");

    let pool = threads().capacity(8).create_named("fits").expect("a small pool fits");
    let refused = pool.submit(length, Bytes::from(vec![0; 1 << 20])).map(drop);
    assert!(out_of_memory(refused.clone()), "{refused:?}");
    let failed = pool.submit(zeros, 1 << 20).expect("a small argument").result().map(|b| b.len());
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9), "small tasks go on");

    // Somebody else fills what is left.
    let filler = std::fs::File::create("/dev/shm/filler").expect("a file");
    let mut at = 0;
    while filler.write_at(&[0; 4096], at).is_ok_and(|n| n > 0) {
        at += 4096;
    }
    assert!(out_of_memory(threads().capacity(8).create_named("second").map(drop)));
    let refused = Executor::attach("fits").map(drop);
    assert!(out_of_memory(refused.clone()), "no room for a lane of its own: {refused:?}");
    assert_eq!(pool.submit(square, 4).expect("submitted").result(), Ok(16));
    assert_eq!(shm_entries("taskring"), ["taskring.fits"]);

    // Relief: the same calls go through.
    std::fs::remove_file("/dev/shm/filler").expect("removed");
    drop(filler);
    let attached = Executor::attach("fits").expect("attached");
    assert_eq!(attached.submit(square, 5).expect("submitted").result(), Ok(25));
    drop((attached, pool));
    assert_eq!(shm_entries(""), [""; 0]);
    say("done");
}

fn after_shutdown() {
    let pool = threads().build().expect("a pool");
    let set = pool.task_set().expect("a set");
    let done = pool.submit(square, 3).expect("submitted");
    pool.shutdown(true, false).expect("shut down");
    assert_eq!(pool.submit(square, 1).map(drop), Err(Error::ShutDown));
    assert_eq!(pool.try_submit(square, 1).map(drop), Err(Error::ShutDown));
    assert_eq!(pool.submit_timeout(square, 1, LIMIT).map(drop), Err(Error::ShutDown));
    assert_eq!(pool.submit_bulk(square, 0..3).map(drop), Err(Error::ShutDown));
    assert_eq!(set.submit(square, 1).map(drop), Err(Error::ShutDown));
    let mapped = pool.map(square, 0..3).and_then(|mut m| m.next().expect("an item"));
    assert_eq!(mapped, Err(Error::ShutDown));
    assert_eq!(done.result(), Ok(9), "what was done before can be had");
    assert_eq!(pool.shutdown(true, true), Ok(()), "again");
}

/// The generation of a waiting task's slot is raised behind the library's back: the task is another one's now.
fn stale() {
    let name = unique("stale");
    let pool = Executor::builder().start(StartMethod::None).capacity(8).create_named(&name).expect("a pool");
    let mark = 0x5ca1_ab1e_5ca1_ab1e_u64;
    let future = pool.submit(Task::<Bytes, u64>::named("f"), Bytes::from(mark.to_le_bytes().repeat(4))).expect("accepted");
    // The slot is found by its arguments, which lie behind its words.
    let file = std::fs::File::options().read(true).write(true).open(pool_file(&name)).expect("the pool's file");
    let mut page = vec![0; 512 << 10];
    let len = file.read_at(&mut page, 0).expect("the slots");
    let at = page[..len].windows(32).position(|w| w == mark.to_le_bytes().repeat(4)).expect("the arguments") / 128 * 128;
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let state = word(&page[at..at + 8]);
    let generation = state >> 16 & 0xffff_ffff;
    assert_eq!(generation, future.id() & 0xffff_ffff, "this is its slot");
    let free = (generation + 1) << 16;
    file.write_all_at(&free.to_le_bytes(), at as u64).expect("written");
    let start = Instant::now();
    assert_eq!(future.result_timeout(Duration::from_secs(5)), Err(Error::Stale));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(!future.cancel());
    assert_eq!(future.worker_pid(), None);
}

fn full_ring() {
    let log = Log::new();
    let pool = threads().capacity(4).build().expect("a pool");
    let held = pool.submit(hold, (log.path(), log.gate())).expect("submitted");
    let pending: Vec<_> = (0..3).map(|x| pool.try_submit(square, x).expect("room")).collect();
    assert_eq!(pool.try_submit(square, 1).map(drop), Err(Error::Full { capacity: 4 }));
    let start = Instant::now();
    let after = Duration::from_millis(100);
    match pool.submit_timeout(square, 1, after).map(drop) {
        Err(Error::TimedOut { after: found, .. }) => assert_eq!(found, after),
        other => panic!("{other:?}"),
    }
    assert!((after..after + Duration::from_secs(1)).contains(&start.elapsed()), "{:?}", start.elapsed());
    log.open_gate();
    assert_eq!(held.result(), Ok(()));
    assert!(pending.iter().enumerate().all(|(x, f)| f.result() == Ok((x * x) as u64)));
}

fn many_threads() {
    // The watchdog is the second one.
    let refused = Executor::builder().workers(1).start(StartMethod::Fork).build().map(drop);
    assert!(matches!(refused, Err(Error::ManyThreads { count }) if count >= 2), "{refused:?}");
    let mut program = Program::start("forker", &[]);
    program.expect("forked");
    program.end();
}

/// The same call in a process with one thread.
fn forker(_args: &[String]) {
    let pool = Executor::builder().workers(1).start(StartMethod::Fork).build().expect("a pool");
    assert_eq!(pool.submit(square, 3).expect("submitted").result(), Ok(9));
    say("forked");
    hear();
}

/// With no descriptor left, each call that needs one fails with the errno; afterwards the same call goes through.
fn no_descriptors() {
    let name = unique("descriptors");
    let pool = threads().create_named(&name).expect("a pool");
    let children = children_of(std::process::id());
    let mut hoard: Vec<std::fs::File> = Vec::new();
    let limit = libc::rlimit { rlim_cur: fd_count() as u64 + 40, rlim_max: 0 };
    let mut before = limit;
    // SAFETY: `before` is writable for the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) }, 0);
    // SAFETY: the structure is readable for the call.
    let set = |to: &libc::rlimit| assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, to) }, 0);
    set(&libc::rlimit { rlim_max: before.rlim_max, ..limit });
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let mut wrong = Vec::new();
    for keep in (0..8).rev() {
        hoard.truncate(hoard.len() - keep);
        let results = [
            ("a thread pool", threads().build().map(drop)),
            ("a named pool", threads().create_named(&unique("more")).map(drop)),
            ("a spawned pool", Executor::builder().workers(1).build().map(drop)),
            ("attach", Executor::attach(&name).map(drop)),
        ];
        for (call, result) in results {
            let typed = matches!(result, Err(Error::System { errno: libc::EMFILE, .. })) || (keep > 0 && result.is_ok());
            if !typed {
                wrong.push(format!("{call} with {keep} left: {result:?}"));
            }
        }
        if pool.submit(square, 3).map(|f| f.result()) != Ok(Ok(9)) {
            wrong.push(format!("a task with {keep} left"));
        }
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
    }
    drop(hoard);
    set(&before);
    let names = shm_entries(&format!("more-{}", std::process::id()));
    names.iter().for_each(|n| drop(std::fs::remove_file(format!("/dev/shm/{n}"))));
    wait_until("no process is left", || children_of(std::process::id()) == children);
    assert!(wrong.is_empty() && names.is_empty(), "{wrong:#?}, left behind: {names:?}");
    assert!(Executor::attach(&name).is_ok(), "relief helps");
    assert_eq!(
        Executor::builder().workers(1).build().expect("a pool").submit(square, 4).expect("submitted").result(),
        Ok(16)
    );
}
