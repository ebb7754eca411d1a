//! Statuses, and what this thread knows of the last one that was not `TASKRING_OK`.

use super::{guard, guard_value, put};
use crate::error::{Cause, Error, PoolKind, Stage, whole};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use taskring_status::*;

/// What a function returns: `TASKRING_OK` or why not. A number never gets another meaning. docs/errors.md has the cause and the fix of each.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum taskring_status {
    /// Done.
    TASKRING_OK = 0,
    /// A parameter is NULL or out of its range. Nothing was changed.
    TASKRING_INVALID_ARGUMENT = 1,
    /// Workers cannot be spawned: main does not begin with taskring_init.
    TASKRING_NOT_INITIALIZED = 2,
    /// A program was started as a worker and did not become one.
    TASKRING_NOT_A_WORKER = 3,
    /// No worker of the pool has this function, and neither has this process.
    TASKRING_UNKNOWN_FUNCTION = 4,
    /// The task waited for a worker that knows its function, and none came.
    TASKRING_NO_WORKER = 5,
    /// Arguments or a result are larger than the pool takes.
    TASKRING_PAYLOAD_TOO_LARGE = 6,
    /// Shared memory could not be had. Nothing was changed.
    TASKRING_OUT_OF_MEMORY = 7,
    /// A pool of this name is alive.
    TASKRING_EXISTS = 8,
    /// There is no such pool; or nothing of what was asked for.
    TASKRING_NOT_FOUND = 9,
    /// The pool belongs to another user.
    TASKRING_NOT_OWNER = 10,
    /// What was found is no pool that this build can attach to.
    TASKRING_INCOMPATIBLE = 11,
    /// The pool was shut down.
    TASKRING_SHUT_DOWN = 12,
    /// The handle was made before a fork, by the parent process.
    TASKRING_FORKED = 13,
    /// The ticket's result was taken, or the ticket was released, before.
    TASKRING_STALE = 14,
    /// A pool with fork workers must be made while the process has one thread.
    TASKRING_MANY_THREADS = 15,
    /// Every slot that this submitter may use holds an unfinished task.
    TASKRING_FULL = 16,
    /// The time allowed went by. Nothing was changed.
    TASKRING_TIMED_OUT = 17,
    /// The task was cancelled before any worker started it; one that may run more than once, before it was started again. Or taskring_cancel_hard killed it.
    TASKRING_CANCELLED = 18,
    /// The task set was discarded and takes no new tasks.
    TASKRING_DISCARDED = 19,
    /// The task returned an error: see taskring_last_error.
    TASKRING_TASK_FAILED = 20,
    /// The task panicked (a worker in Rust). The worker lives on.
    TASKRING_PANICKED = 21,
    /// The worker died while it ran this task: see taskring_last_loss.
    TASKRING_WORKER_LOST = 22,
    /// The pool cannot run tasks any more.
    TASKRING_BROKEN = 23,
    /// A word in shared memory has an impossible value. The pool is closed for everybody.
    TASKRING_CORRUPT = 24,
    /// A living process holds a lock of the pool and does not go on.
    TASKRING_STALLED = 25,
    /// Arguments or a result could not be encoded.
    TASKRING_ENCODE = 26,
    /// Bytes are no value of the expected type.
    TASKRING_DECODE = 27,
    /// A fixed number of things is used up.
    TASKRING_TOO_MANY = 28,
    /// A system call failed.
    TASKRING_SYSTEM = 29,
    /// The caller's buffer is too small; the length needed was written. Nothing was taken.
    TASKRING_BUFFER_TOO_SMALL = 30,
    /// A defect of this library. Please report the text of taskring_last_error.
    TASKRING_INTERNAL = 31,
    /// There is nothing more to come.
    TASKRING_END = 32,
    /// A task would wait for the end of the pool that runs it. Nothing was changed.
    TASKRING_BUSY = 33,
    /// The task is in a state in which this cannot be done. Nothing was changed.
    TASKRING_INVALID_STATE = 34,
    /// This kind of pool or worker cannot do it. Nothing was changed.
    TASKRING_UNSUPPORTED = 35,
    /// The pool's workers were ended before the task was over.
    TASKRING_TERMINATED = 36,
    /// A task would wait for one that waits for it in its turn. Nothing was changed.
    TASKRING_WOULD_DEADLOCK = 37,
    /// The task ran longer than its hard time limit, and was killed with its worker.
    TASKRING_TIME_LIMIT = 38,
    /// The events of the task that nobody has read yet leave no room for another one. Nothing was changed: it may be sent later.
    TASKRING_EVENTS_FULL = 39,
}

/// The one table of names and meanings.
const TABLE: &[(taskring_status, &CStr, &CStr)] = &[
    (TASKRING_OK, c"TASKRING_OK", c"done"),
    (TASKRING_INVALID_ARGUMENT, c"TASKRING_INVALID_ARGUMENT", c"a parameter is NULL or out of its range"),
    (TASKRING_NOT_INITIALIZED, c"TASKRING_NOT_INITIALIZED", c"main does not begin with taskring_init"),
    (TASKRING_NOT_A_WORKER, c"TASKRING_NOT_A_WORKER", c"a program was started as a worker and did not become one"),
    (TASKRING_UNKNOWN_FUNCTION, c"TASKRING_UNKNOWN_FUNCTION", c"no function of that name is registered"),
    (TASKRING_NO_WORKER, c"TASKRING_NO_WORKER", c"no worker that can run the function came in time"),
    (TASKRING_PAYLOAD_TOO_LARGE, c"TASKRING_PAYLOAD_TOO_LARGE", c"a payload is larger than the pool takes"),
    (TASKRING_OUT_OF_MEMORY, c"TASKRING_OUT_OF_MEMORY", c"shared memory could not be had"),
    (TASKRING_EXISTS, c"TASKRING_EXISTS", c"a pool of this name is alive"),
    (TASKRING_NOT_FOUND, c"TASKRING_NOT_FOUND", c"there is nothing of that name or kind"),
    (TASKRING_NOT_OWNER, c"TASKRING_NOT_OWNER", c"the pool belongs to another user"),
    (TASKRING_INCOMPATIBLE, c"TASKRING_INCOMPATIBLE", c"another version, or no pool at all"),
    (TASKRING_SHUT_DOWN, c"TASKRING_SHUT_DOWN", c"the pool was shut down"),
    (TASKRING_FORKED, c"TASKRING_FORKED", c"the handle belongs to the parent process: after fork, attach anew"),
    (TASKRING_STALE, c"TASKRING_STALE", c"the ticket was used up before"),
    (TASKRING_MANY_THREADS, c"TASKRING_MANY_THREADS", c"fork needs a process with one thread"),
    (TASKRING_FULL, c"TASKRING_FULL", c"every slot holds an unfinished task"),
    (TASKRING_TIMED_OUT, c"TASKRING_TIMED_OUT", c"the time allowed went by"),
    (TASKRING_CANCELLED, c"TASKRING_CANCELLED", c"the task was cancelled"),
    (TASKRING_DISCARDED, c"TASKRING_DISCARDED", c"the task set was discarded"),
    (TASKRING_TASK_FAILED, c"TASKRING_TASK_FAILED", c"the task returned an error"),
    (TASKRING_PANICKED, c"TASKRING_PANICKED", c"the task panicked"),
    (TASKRING_WORKER_LOST, c"TASKRING_WORKER_LOST", c"the worker died while it ran the task"),
    (TASKRING_BROKEN, c"TASKRING_BROKEN", c"the pool cannot run tasks any more"),
    (TASKRING_CORRUPT, c"TASKRING_CORRUPT", c"shared memory is corrupt"),
    (TASKRING_STALLED, c"TASKRING_STALLED", c"a living process holds a lock and does not go on"),
    (TASKRING_ENCODE, c"TASKRING_ENCODE", c"a value could not be encoded"),
    (TASKRING_DECODE, c"TASKRING_DECODE", c"bytes are no value of the expected type"),
    (TASKRING_TOO_MANY, c"TASKRING_TOO_MANY", c"a fixed number of things is used up"),
    (TASKRING_SYSTEM, c"TASKRING_SYSTEM", c"a system call failed"),
    (TASKRING_BUFFER_TOO_SMALL, c"TASKRING_BUFFER_TOO_SMALL", c"the buffer is too small"),
    (TASKRING_INTERNAL, c"TASKRING_INTERNAL", c"a defect of the library"),
    (TASKRING_END, c"TASKRING_END", c"there is nothing more to come"),
    (TASKRING_BUSY, c"TASKRING_BUSY", c"a task would wait for the end of its own pool"),
    (TASKRING_INVALID_STATE, c"TASKRING_INVALID_STATE", c"the task is in a state in which this cannot be done"),
    (TASKRING_UNSUPPORTED, c"TASKRING_UNSUPPORTED", c"this kind of pool or worker cannot do it"),
    (TASKRING_TERMINATED, c"TASKRING_TERMINATED", c"the pool's workers were ended before the task was over"),
    (TASKRING_WOULD_DEADLOCK, c"TASKRING_WOULD_DEADLOCK", c"a task would wait for one that waits for it in its turn"),
    (TASKRING_TIME_LIMIT, c"TASKRING_TIME_LIMIT", c"the task was killed, for it ran longer than it may"),
    (TASKRING_EVENTS_FULL, c"TASKRING_EVENTS_FULL", c"unread events of the task leave no room for another one"),
];

/// Why a function did not succeed.
pub(super) enum Fault {
    Error(Error),
    /// A buffer of the caller holds fewer bytes than needed.
    TooSmall {
        needed: usize,
        given: usize,
    },
    /// Everything was given.
    End {
        what: &'static str,
    },
    /// There is nothing of what was asked for.
    Absent {
        what: &'static str,
    },
    Panic(String),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        Fault::Error(e)
    }
}

impl Fault {
    fn status(&self) -> taskring_status {
        let e = match self {
            Fault::Error(e) => e,
            Fault::TooSmall { .. } => return TASKRING_BUFFER_TOO_SMALL,
            Fault::End { .. } => return TASKRING_END,
            Fault::Absent { .. } => return TASKRING_NOT_FOUND,
            Fault::Panic(_) => return TASKRING_INTERNAL,
        };
        match e {
            Error::InvalidArgument { .. } => TASKRING_INVALID_ARGUMENT,
            Error::NotInitialized => TASKRING_NOT_INITIALIZED,
            Error::NotAWorker { .. } => TASKRING_NOT_A_WORKER,
            Error::UnknownFunction { .. } => TASKRING_UNKNOWN_FUNCTION,
            Error::NoWorkerFor { .. } => TASKRING_NO_WORKER,
            Error::PayloadTooLarge { .. } => TASKRING_PAYLOAD_TOO_LARGE,
            Error::EventsFull { .. } => TASKRING_EVENTS_FULL,
            Error::OutOfMemory { .. } => TASKRING_OUT_OF_MEMORY,
            Error::Exists { .. } => TASKRING_EXISTS,
            Error::NotFound { .. } => TASKRING_NOT_FOUND,
            Error::NotOwner { .. } => TASKRING_NOT_OWNER,
            Error::Incompatible { .. } => TASKRING_INCOMPATIBLE,
            Error::ShutDown => TASKRING_SHUT_DOWN,
            Error::Forked => TASKRING_FORKED,
            Error::Stale => TASKRING_STALE,
            Error::ManyThreads { .. } => TASKRING_MANY_THREADS,
            Error::Full { .. } => TASKRING_FULL,
            Error::TimedOut { .. } => TASKRING_TIMED_OUT,
            Error::Cancelled => TASKRING_CANCELLED,
            Error::Discarded => TASKRING_DISCARDED,
            Error::TaskFailed { .. } => TASKRING_TASK_FAILED,
            Error::Panicked { .. } => TASKRING_PANICKED,
            Error::WorkerLost { .. } => TASKRING_WORKER_LOST,
            Error::Broken { .. } => TASKRING_BROKEN,
            Error::Corrupt { .. } => TASKRING_CORRUPT,
            Error::Stalled { .. } => TASKRING_STALLED,
            Error::Busy => TASKRING_BUSY,
            Error::InvalidState { .. } => TASKRING_INVALID_STATE,
            Error::Unsupported { .. } => TASKRING_UNSUPPORTED,
            Error::Terminated => TASKRING_TERMINATED,
            Error::WouldDeadlock => TASKRING_WOULD_DEADLOCK,
            Error::TimeLimit { .. } => TASKRING_TIME_LIMIT,
            Error::Encode { .. } => TASKRING_ENCODE,
            Error::Decode { .. } => TASKRING_DECODE,
            Error::TooMany { .. } => TASKRING_TOO_MANY,
            Error::System { .. } => TASKRING_SYSTEM,
        }
    }

    fn text(&self) -> String {
        match self {
            // What the task itself said, without our words around it.
            Fault::Error(Error::TaskFailed { summary, source }) => whole(summary, source.as_deref()),
            Fault::Error(e) => e.to_string(),
            Fault::End { what } => (*what).to_owned(),
            Fault::Absent { what } => format!("there is no {what}"),
            Fault::TooSmall { needed, given } => format!("the buffer has room for {given}, and {needed} are needed"),
            Fault::Panic(message) => format!("a panic inside the library: {message}"),
        }
    }
}

#[derive(Default)]
struct Last {
    fault: Option<Fault>,
    /// Of a failed task its source, of a lost worker its name: made when it is asked for.
    detail: Option<CString>,
    /// Made when it is asked for: time-outs and full rings are frequent, questions about them are not.
    text: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

/// Keeps a fault for this thread's questions.
pub(super) fn remember(fault: Fault) -> taskring_status {
    let status = fault.status();
    // A thread that is ending has nobody to ask.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Last { fault: Some(fault), detail: None, text: None });
    status
}

fn entry(status: i32) -> (&'static CStr, &'static CStr) {
    let known = TABLE.iter().find(|row| row.0 as i32 == status);
    known.map_or((c"TASKRING_UNKNOWN", c"no status of this library"), |row| (row.1, row.2))
}

/// The name of a status, such as "TASKRING_FULL". Never NULL, never to be freed. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_status_name(status: i32) -> *const c_char {
    guard_value(c"".as_ptr(), || entry(status).0.as_ptr())
}

/// What a status means, in a few words. Never NULL, never to be freed. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_status_message(status: i32) -> *const c_char {
    guard_value(c"".as_ptr(), || entry(status).1.as_ptr())
}

/// The text of the last call in this thread that did not return TASKRING_OK, with the value that was wrong; of a failed task, its own
/// message. Never NULL. It is valid until the next such call in this thread, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_last_error() -> *const c_char {
    guard_value(c"".as_ptr(), || {
        LAST.with(|last| {
            let mut last = last.borrow_mut();
            let Last { fault, text, .. } = &mut *last;
            let Some(fault) = fault else { return c"".as_ptr() };
            text.get_or_insert_with(|| CString::new(fault.text().replace('\0', "\u{fffd}")).unwrap_or_default()).as_ptr()
        })
    })
}

/// What brought the last TASKRING_TASK_FAILED of this thread about, as far as the function has said it: the texts of its error's sources, with ": " between
/// them. Empty when it had none, and after any other error; never NULL. Valid until the next such call in this thread, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_last_source() -> *const c_char {
    guard_value(c"".as_ptr(), || {
        LAST.with(|last| {
            let mut last = last.borrow_mut();
            let Last { fault, detail, .. } = &mut *last;
            let Some(Fault::Error(Error::TaskFailed { source: Some(found), .. })) = fault else { return c"".as_ptr() };
            let make = || CString::new(found.whole().replace('\0', "\u{fffd}")).unwrap_or_default();
            detail.get_or_insert_with(make).as_ptr()
        })
    })
}

/// How a task and its worker were lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct taskring_loss {
    /// The worker.
    pub pid: u32,
    /// The signal that killed it, or 0.
    pub signal: i32,
    /// The code that it exited with, or -1.
    pub exit_code: i32,
    /// 1 when the function had been entered and how much of it ran is unknown; 0 when it had returned and only its result is lost.
    pub may_have_run: u32,
}

/// Tells more about the last TASKRING_WORKER_LOST of this thread.
///
/// Returns TASKRING_OK; TASKRING_NOT_FOUND when the last error of this thread was another one; TASKRING_INVALID_ARGUMENT when `loss` is NULL.
///
/// # Safety
/// `loss` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_last_loss(loss: *mut taskring_loss) -> taskring_status {
    let mut found = None;
    let status = guard(|| {
        if loss.is_null() {
            return Err(super::null("loss"));
        }
        found = LAST.with(|last| match &last.borrow().fault {
            Some(Fault::Error(Error::WorkerLost { pid, cause, stage, .. })) => Some((*pid, *cause, *stage)),
            _ => None,
        });
        found.map(|_| ()).ok_or(Fault::Absent { what: "lost worker: the last error of this thread was another one" })
    });
    if let Some((pid, cause, stage)) = found {
        let (signal, exit_code) = match cause {
            Cause::Signal(signal) => (signal, -1),
            Cause::Exit(code) => (0, code),
            Cause::Unknown => (0, -1),
        };
        let may_have_run = u32::from(stage == Stage::MayHaveRun);
        // SAFETY: valid for a write by this function's contract.
        unsafe { put(loss, taskring_loss { pid, signal, exit_code, may_have_run }) };
    }
    status
}

/// The name of the worker that the last TASKRING_WORKER_LOST of this thread tells of, as taskring_worker_name gave it there. Empty when the worker had none,
/// and after any other error; never NULL. Valid until the next such call in this thread, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_last_worker() -> *const c_char {
    guard_value(c"".as_ptr(), || {
        LAST.with(|last| {
            let mut last = last.borrow_mut();
            let Last { fault, detail, .. } = &mut *last;
            let Some(Fault::Error(Error::WorkerLost { name: Some(name), .. })) = fault else { return c"".as_ptr() };
            detail.get_or_insert_with(|| CString::new(name.as_str()).unwrap_or_default()).as_ptr()
        })
    })
}

/// The workers of a pool are processes; or it has none of its own.
pub const TASKRING_POOL_OF_PROCESSES: u32 = 0;
/// They are threads.
pub const TASKRING_POOL_OF_THREADS: u32 = 1;
/// They are interpreters.
pub const TASKRING_POOL_OF_INTERPRETERS: u32 = 2;

/// Tells of what kind the pool is whose TASKRING_BROKEN was the last error of this thread: TASKRING_POOL_OF_PROCESSES and so on.
///
/// Returns TASKRING_OK; TASKRING_NOT_FOUND when the last error of this thread was another one; TASKRING_INVALID_ARGUMENT when `kind` is NULL.
///
/// # Safety
/// `kind` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_last_broken(kind: *mut u32) -> taskring_status {
    guard(|| {
        if kind.is_null() {
            return Err(super::null("kind"));
        }
        let found = LAST.with(|last| match &last.borrow().fault {
            Some(Fault::Error(Error::Broken { kind, .. })) => Some(*kind),
            _ => None,
        });
        let found =
            match found.ok_or(Fault::Absent { what: "broken pool: the last error of this thread was another one" })? {
                PoolKind::Process => TASKRING_POOL_OF_PROCESSES,
                PoolKind::Thread => TASKRING_POOL_OF_THREADS,
                PoolKind::Interpreter => TASKRING_POOL_OF_INTERPRETERS,
            };
        // SAFETY: not NULL, so valid for a write by this function's contract.
        unsafe { put(kind, found) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_in_the_table_once_at_its_number() {
        for (number, (status, name, _)) in TABLE.iter().enumerate() {
            assert_eq!(*status as usize, number, "{status:?} {name:?}");
            assert_eq!(format!("{status:?}"), name.to_str().unwrap());
        }
    }
}
