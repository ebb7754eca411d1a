//! What each worker is given to run with: environment, CPUs, memory.

use crate::process_support::common::{own_pid, square};
use crate::process_support::{kill, wait_until};
use crate::support::{is_thread, not_here};
use taskring::{Cause, Error, Executor, StartMethod};

taskring::task! {
    fn variable(name: String) -> Option<String> { std::env::var(name).ok() }
    /// Its number, and the CPUs that this thread and one that it starts may run on.
    fn place() -> (Option<u32>, Vec<u64>, Vec<u64>) {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let below = std::thread::spawn(cpus).join().expect("it ends");
        (taskring::task::worker_number(), cpus(), below)
    }
    /// Whether there is room for so many bytes more.
    fn has_room(bytes: u64) -> bool {
        let mut room: Vec<u8> = Vec::new();
        room.try_reserve_exact(bytes as usize).is_ok()
    }
    fn fill(bytes: u64) -> u64 { std::hint::black_box(vec![1_u8; bytes as usize]).len() as u64 }
}

/// The CPUs that this thread may run on.
fn cpus() -> Vec<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a thread's status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux tells them");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let range =
        |part: &str| part.split_once('-').map_or_else(|| number(part)..=number(part), |(a, b)| number(a)..=number(b));
    list.trim().split(',').flat_map(range).collect()
}

fn is_refused(built: Result<Executor, Error>, option: &str, value: &str) {
    match built {
        Err(Error::InvalidArgument { name, value: found, wanted }) => {
            assert_eq!((name, found.contains(value)), (option, true), "{found}, {wanted}");
        }
        other => panic!("{other:?} instead of a refusal of {option}"),
    }
}

fn does_work(pool: &Executor) {
    assert_eq!(pool.submit(square, 3).and_then(|future| future.result()), Ok(9));
}

cases! {
    fn semantics_p22_worker_processes_have_the_environment_that_they_are_given(kind) {
        let builder = || Executor::builder().workers(1).start(kind);
        let given = builder().worker_env([("RESOURCES_A", "first"), ("RESOURCES_B", "")]).worker_env([("RESOURCES_A", "last")]);
        if is_thread(kind) {
            return is_refused(given.build(), "worker_env", &format!("{kind:?}"));
        }
        let pool = given.build().expect("a pool");
        let ask = |name: &str| pool.submit(variable, name.to_owned()).and_then(|future| future.result()).expect("asked");
        let are_given = || {
            assert_eq!((ask("RESOURCES_A"), ask("RESOURCES_B")), (Some("last".into()), Some(String::new())));
            assert_eq!(ask("PATH"), std::env::var("PATH").ok(), "and what this process has");
        };
        are_given();
        let victim = pool.submit(own_pid, ()).and_then(|future| future.result()).expect("a pid");
        kill(victim);
        wait_until("another worker", || pool.worker_pids().first().is_some_and(|&pid| pid != victim));
        are_given();
        assert_eq!(std::env::var_os("RESOURCES_A"), None, "this process is not touched");
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            is_refused(builder().worker_env([(name, value)]).build(), "worker_env", &format!("{name:?}={value:?}"));
        }
    }

    fn semantics_p22_workers_run_on_the_cpus_that_they_are_given(kind) {
        let own = cpus();
        if own.len() < 2 {
            not_here("on one CPU nothing tells whether a worker is pinned");
        }
        let chosen: Vec<u64> = [own[own.len() - 1], own[0]].into();
        let builder = || Executor::builder().workers(3).start(kind);
        let pool = builder().worker_cpus(chosen.iter().map(|&cpu| cpu as usize)).build().expect("a pool");
        let all_are_in_place = || {
            let mut seen = [false; 3];
            wait_until("each worker to be asked", || {
                let futures: Vec<_> = (0..6).map(|_| pool.submit(place, ()).expect("submitted")).collect();
                for future in futures {
                    let (number, found, below) = future.result().expect("asked");
                    let number = number.expect("the owner has started it") as usize;
                    assert_eq!((&found, &below), (&vec![chosen[number % 2]], &vec![chosen[number % 2]]), "worker {number}");
                    seen[number] = true;
                }
                seen == [true; 3]
            });
        };
        all_are_in_place();
        if !is_thread(kind) {
            let victim = pool.worker_pids()[0];
            kill(victim);
            wait_until("another worker", || pool.worker_pids().len() == 3 && !pool.worker_pids().contains(&victim));
            all_are_in_place();
        }
        assert_eq!(cpus(), own, "this thread is not touched");
        is_refused(builder().worker_cpus([8191]).build(), "worker_cpus", "8191");
        is_refused(builder().worker_cpus([]).build(), "worker_cpus", "none");
        is_refused(Executor::builder().start(StartMethod::None).worker_cpus([0]).build(), "worker_cpus", "None");
    }

    fn semantics_p22_a_worker_process_has_no_more_memory_than_it_is_given(kind) {
        const LIMIT: u64 = 256 << 20;
        let limited = Executor::builder().workers(1).start(kind).worker_memory_max(LIMIT);
        if is_thread(kind) {
            return is_refused(limited.build(), "worker_memory_max", &format!("{kind:?}"));
        }
        let pool = limited.build().expect("a pool");
        let room = || pool.submit(has_room, LIMIT).and_then(|future| future.result());
        let filled = |bytes| pool.submit(fill, bytes).and_then(|future| future.result());
        assert_eq!((room(), filled(LIMIT / 4)), (Ok(false), Ok(LIMIT / 4)), "what is below is had");
        match filled(LIMIT) {
            Err(Error::WorkerLost { cause: Cause::Signal(libc::SIGABRT), .. }) => {}
            other => panic!("{other:?}"),
        }
        does_work(&pool);
        assert_eq!(room(), Ok(false), "nor has the one that takes its place");
        assert!(Vec::<u8>::new().try_reserve_exact(LIMIT as usize).is_ok(), "this process is not touched");
        is_refused(Executor::builder().workers(1).start(kind).worker_memory_max(0).build(), "worker_memory_max", "0");
    }
}
