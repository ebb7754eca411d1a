//! How a task that goes wrong reaches its submitter, and that its worker lives on.

mod common;

use common::{fail_with, own_pid, panic_with, pool_of, square};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::panic::{catch_unwind, panic_any, resume_unwind};
use taskring::{Bytes, Error, MapOptions, StartMethod, Task, TaskError};

taskring::test_support!();

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("inner, {0}")]
struct Inner(#[source] std::num::ParseIntError);

/// Can be made but not encoded.
#[derive(Debug)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it does not want to"))
    }
}
impl<'de> Deserialize<'de> for Unwritable {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Unwritable, D::Error> {
        <()>::deserialize(d).map(|()| Unwritable)
    }
}

/// Panics while it is encoded or decoded, as it is told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Explosive {
    WhenWritten,
    WhenRead,
}

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        assert_ne!(*self, Explosive::WhenWritten, "a bomb in serialize");
        ().serialize(s)
    }
}
impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Explosive, D::Error> {
        panic!("a bomb in deserialize");
    }
}

taskring::task! {
    /// Leaves its process no more than so many bytes to allocate, and panics.
    fn starve(bytes: u64) -> () {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
        let limit = libc::rlimit { rlim_cur: kib * 1024 + bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: a live local to read from.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        panic!("starved");
    }
    fn parse(text: String) -> Result<u64, TaskError> { Ok(text.parse::<u64>()?) }
    fn open(path: String) -> Result<u64, std::io::Error> { Ok(std::fs::metadata(path)?.len()) }
    fn chain(text: String) -> Result<u64, TaskError> { Ok(text.parse::<u64>().map_err(|e| Outer(Inner(e)))?) }
    fn early(x: u64) -> Result<u64, TaskError> {
        for i in 0.. {
            if i == x { return Err(TaskError::new(format!("stopped at {i}"))) }
        }
        unreachable!()
    }
    fn long_failure(len: u64) -> Result<(), TaskError> { Err(TaskError::new("x".repeat(len as usize))) }
    fn divide(a: u64, b: u64) -> u64 { a / b }
    fn out_of_bounds(at: u64) -> u64 { [1_u64, 2, 3][std::hint::black_box(at) as usize] }
    fn panic_without_text() -> u64 { panic_any(17_u8) }
    fn catches_its_own() -> bool { catch_unwind(|| panic!("a secret of the task before")).is_err() }
    fn resumes(text: String) -> u64 { resume_unwind(Box::new(text)) }
    fn unwritable() -> Unwritable { Unwritable }
    fn takes_unwritable(_x: Unwritable) -> u64 { 1 }
    fn explode_when_written(now: bool) -> Explosive { if now { Explosive::WhenWritten } else { Explosive::WhenRead } }
    fn takes_explosive(_x: Explosive) -> u64 { 1 }
    fn text_of(x: u64) -> String { format!("{x}") }
    fn pair(a: u64, b: u64) -> u64 { a * 1000 + b }
    fn odd_ones_fail(x: u64) -> Result<u64, TaskError> {
        match x % 4 {
            1 => Err(TaskError::new(format!("odd {x}"))),
            3 => panic!("odder {x}"),
            _ => Ok(x),
        }
    }
}

fn failure(message: &str) -> Error {
    Error::TaskFailed { summary: message.into(), source: None }
}

/// Message and backtrace of a task that must have panicked.
fn panicked<R: std::fmt::Debug>(result: Result<R, Error>) -> (String, String) {
    match result {
        Err(Error::Panicked { message, backtrace }) => (message, backtrace),
        other => panic!("wanted a panic, found {other:?}"),
    }
}

both_kinds! {
    fn any_error_reaches_the_submitter_by_question_mark(kind) {
        let pool = pool_of(kind, 1);
        assert_eq!(pool.submit(parse, "12".into()).unwrap().result(), Ok(12));
        assert_eq!(pool.submit(parse, "x".into()).unwrap().result(), Err(failure("invalid digit found in string")));
        let missing = pool.submit(open, "/no/such/file".into()).unwrap().result().unwrap_err();
        assert!(matches!(&missing, Error::TaskFailed { summary: message, .. } if message.contains("No such file")), "{missing:?}");
        assert_eq!(pool.submit(early, 5).unwrap().result(), Err(failure("stopped at 5")));
        assert_eq!(pool.submit(fail_with, String::new()).unwrap().result(), Err(failure("")));
    }

    fn an_error_brings_its_sources_along(kind) {
        let pool = pool_of(kind, 1);
        let error = pool.submit(chain, "x".into()).unwrap().result().unwrap_err();
        assert_eq!(error.to_string(), "the task failed: outer: inner, invalid digit found in string: invalid digit found in string");
        let sources = std::iter::successors(std::error::Error::source(&error), |source| source.source());
        let sources: Vec<String> = sources.map(ToString::to_string).collect();
        assert_eq!(sources, ["inner, invalid digit found in string", "invalid digit found in string"]);
    }

    fn a_failure_keeps_its_whole_message(kind) {
        let pool = pool_of(kind, 1);
        for len in [0, 1, 72, 79, 80, 81, 300, 100_000] {
            assert_eq!(pool.submit(long_failure, len).unwrap().result(), Err(failure(&"x".repeat(len as usize))));
        }
        let text = "no\0 text is cut: grüße".to_owned();
        assert_eq!(pool.submit(fail_with, text.clone()).unwrap().result(), Err(failure(&text)));
    }

    fn a_panic_gives_its_message_its_place_and_a_backtrace(kind) {
        let pool = pool_of(kind, 1);
        let (message, backtrace) = panicked(pool.submit(divide, (1, 0)).unwrap().result());
        assert!(message.contains("divide by zero") && message.contains("errors.rs:"), "{message}");
        assert!(backtrace.contains("divide"), "the backtrace names the function:\n{backtrace}");
        let (message, _) = panicked(pool.submit(panic_with, "so it is".into()).unwrap().result());
        assert!(message.starts_with("so it is"), "{message}");
        let (message, _) = panicked(pool.submit(out_of_bounds, 3).unwrap().result());
        assert!(message.contains("index is 3"), "{message}");
        let (message, _) = panicked(pool.submit(panic_without_text, ()).unwrap().result());
        assert!(!message.is_empty());
    }

    fn a_panic_keeps_its_whole_message(kind) {
        let pool = pool_of(kind, 1);
        for text in ["x".repeat(100_000), "before\0after".to_owned(), "grüße".to_owned()] {
            let (message, backtrace) = panicked(pool.submit(panic_with, text.clone()).unwrap().result());
            assert!(message.starts_with(&text), "{} of {} bytes: {message:.200}", message.len(), text.len());
            assert!(!backtrace.contains("after"), "a part of the message is taken for the backtrace");
        }
    }

    fn a_resumed_panic_has_its_own_message(kind) {
        let pool = pool_of(kind, 1);
        let (message, _) = panicked(pool.submit(resumes, "resumed".into()).unwrap().result());
        assert!(message.starts_with("resumed"), "{message}");
        // A panic that a task has caught is nobody else's business.
        assert_eq!(pool.submit(catches_its_own, ()).unwrap().result(), Ok(true));
        let (message, _) = panicked(pool.submit(resumes, "resumed".into()).unwrap().result());
        assert!(message.starts_with("resumed"), "{message}");
    }

    fn fault_23_the_worker_lives_on_after_failures_and_panics(kind) {
        let pool = pool_of(kind, 1);
        let worker = pool.submit(own_pid, ()).unwrap().result().unwrap();
        for round in 0..50 {
            assert!(pool.submit(fail_with, "f".into()).unwrap().result().is_err());
            assert!(pool.submit(panic_with, "p".into()).unwrap().result().is_err());
            assert!(pool.submit(unwritable, ()).unwrap().result().is_err());
            assert!(pool.submit(explode_when_written, true).unwrap().result().is_err());
            assert_eq!(pool.submit(own_pid, ()).unwrap().result(), Ok(worker), "round {round}");
        }
        assert_eq!(pool.worker_pids(), [worker]);
    }

    fn only_the_tasks_own_end_counts_as_its_failure(kind) {
        let pool = pool_of(kind, 1);
        assert!(pool.submit(fail_with, "f".into()).unwrap().result().unwrap_err().is_task_failure());
        assert!(pool.submit(panic_with, "p".into()).unwrap().result().unwrap_err().is_task_failure());
        assert!(!Error::Cancelled.is_task_failure() && !Error::ShutDown.is_task_failure());
    }

    fn what_cannot_be_encoded_is_a_typed_error_on_either_side(kind) {
        let pool = pool_of(kind, 1);
        let refused = pool.submit(takes_unwritable, Unwritable).unwrap_err();
        assert!(matches!(refused, Error::Encode { .. }), "{refused:?}");
        let refused = pool.submit_bulk(takes_unwritable, [Unwritable]).unwrap_err();
        assert!(matches!(refused, Error::Encode { .. }), "{refused:?}");
        let lost = pool.submit(unwritable, ()).unwrap().result().unwrap_err();
        assert!(matches!(lost, Error::Encode { .. }), "{lost:?}");
        assert_eq!(pool.submit(square, 2).unwrap().result(), Ok(4));
    }

    fn a_panic_in_an_encoder_or_decoder_is_kept_where_it_happens(kind) {
        let pool = pool_of(kind, 1);
        // In the submitter it is the submitter's panic, and nothing was submitted.
        let quiet = catch_unwind(std::panic::AssertUnwindSafe(|| pool.submit(takes_explosive, Explosive::WhenWritten)));
        assert!(quiet.is_err());
        // In the worker it is the task's.
        let (message, _) = panicked(pool.submit(takes_explosive, Explosive::WhenRead).unwrap().result());
        assert!(message.contains("a bomb in deserialize"), "{message}");
        let (message, _) = panicked(pool.submit(explode_when_written, true).unwrap().result());
        assert!(message.contains("a bomb in serialize"), "{message}");
        // In the thread that asks for the result it is that thread's, each time.
        let future = pool.submit(explode_when_written, false).unwrap();
        for _ in 0..2 {
            assert!(catch_unwind(std::panic::AssertUnwindSafe(|| future.result())).is_err());
        }
        assert_eq!(pool.submit(square, 2).unwrap().result(), Ok(4));
    }

    fn a_result_of_another_type_is_a_decode_error(kind) {
        let pool = pool_of(kind, 1);
        let wrong: Task<u64, (u64, String)> = Task::named(square.name());
        let future = pool.submit(wrong, 3).unwrap();
        for _ in 0..2 {
            let error = future.result().unwrap_err();
            assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        }
        let too_short: Task<u64, u8> = Task::named(text_of.name());
        let error = pool.submit(too_short, 123_456).unwrap().result();
        assert!(matches!(error, Err(Error::Decode { .. })), "a text of six letters is no u8: {error:?}");
        // Bytes take anything.
        let raw: Task<u64, Bytes> = Task::named(text_of.name());
        assert_eq!(pool.submit(raw, 12).unwrap().result().unwrap().into_vec(), b"\x0212");
    }

    fn arguments_of_another_type_fail_the_task(kind) {
        let pool = pool_of(kind, 1);
        let wrong: Task<(), u64> = Task::named(square.name());
        let error = pool.submit(wrong, ()).unwrap().result().unwrap_err();
        assert!(matches!(&error, Error::TaskFailed { summary: message, .. } if message.contains("arguments")), "{error:?}");
        let too_few: Task<u64, u64> = Task::named(pair.name());
        assert!(matches!(pool.submit(too_few, 1).unwrap().result(), Err(Error::TaskFailed { .. })));
        let too_many: Task<(u64, u64, u64), u64> = Task::named(pair.name());
        let result = pool.submit(too_many, (1, 2, 3)).unwrap().result();
        assert!(matches!(result, Err(Error::TaskFailed { .. })), "three arguments are not two: {result:?}");
    }

    fn the_items_of_a_chunk_fail_one_by_one(kind) {
        let pool = pool_of(kind, 2);
        for chunk in [1, 2, 7, 100] {
            let options = MapOptions::new().chunk(chunk);
            let results: Vec<_> = pool.map_with(&options, odd_ones_fail, 0..50).unwrap().collect();
            assert_eq!(results.len(), 50);
            for (x, result) in results.into_iter().enumerate() {
                match x % 4 {
                    1 => assert_eq!(result, Err(failure(&format!("odd {x}")))),
                    3 => {
                        let (message, backtrace) = panicked(result);
                        assert!(message.starts_with(&format!("odder {x} ")), "{message}");
                        assert!(!backtrace.is_empty());
                    }
                    _ => assert_eq!(result, Ok(x as u64)),
                }
            }
        }
    }

    fn an_item_of_a_chunk_that_cannot_be_encoded_leaves_the_others(kind) {
        let pool = pool_of(kind, 1);
        let options = MapOptions::new().chunk(3);
        let written: Vec<_> = pool.map_with(&options, unwritable, [(), (), ()]).unwrap().collect();
        assert_eq!(written.len(), 3);
        assert!(written.iter().all(|r| matches!(r, Err(Error::Encode { .. }))), "{written:?}");
    }
}

#[test]
fn a_panic_without_memory_gives_its_message() {
    let _dog = common::watchdog(60);
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = pool_of(method, 1);
        let (message, backtrace) = panicked(pool.submit(starve, 1 << 20).unwrap().result());
        assert!(message.starts_with("starved"), "{message}");
        assert!(backtrace.starts_with("no backtrace"), "{backtrace}");
        assert_eq!(pool.submit(square, 3).unwrap().result(), Ok(9));
    }
}

#[test]
fn a_function_that_nobody_has_is_unknown() {
    let _dog = common::watchdog(60);
    let pool = pool_of(StartMethod::Spawn, 1);
    pool.submit(square, 1).unwrap().result().unwrap();
    let nobody: Task<u64, u64> = Task::named("nobody has this");
    let wanted = Error::UnknownFunction { name: "nobody has this".into() };
    assert_eq!(pool.submit(nobody, 1).map(|_| ()), Err(wanted.clone()));
    assert_eq!(pool.submit_bulk(nobody, [1]).map(|_| ()), Err(wanted));
    for bad in [String::new(), "x".repeat(193)] {
        let error = pool.submit(Task::<u64, u64>::named(&bad), 1).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
        assert!(matches!(taskring::register(&bad, |x: u64| x), Err(Error::InvalidArgument { .. })));
    }
}

#[test]
fn errors_say_what_was_wrong() {
    let texts = [
        (Error::Cancelled, "cancelled"),
        (failure("why"), "why"),
        (Error::Panicked { message: "oh".into(), backtrace: String::new() }, "oh"),
        (Error::Full { capacity: 64 }, "64"),
        (Error::PayloadTooLarge { len: 10, max: 9 }, "10 bytes"),
        (Error::UnknownFunction { name: "f".into() }, "\"f\""),
    ];
    for (error, wanted) in texts {
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert_eq!(format!("{:?}", TaskError::new("x")), "TaskError(\"x\")");
}
