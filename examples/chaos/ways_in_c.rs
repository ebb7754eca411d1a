//! What a submitter in C does beside submitting and collecting: callbacks, sets, events, promises.

use crate::deeds::{Told, answer, told};
use crate::features::{Feature, complain, drawn};
use crate::journal::{Event, note};
use crate::submit::Submitter;
use crate::verdicts::{Patience, Waited, wrong};
use crate::work_in_c::last_error;
use std::ffi::{CString, c_void};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use taskring::Payload;
use taskring::ffi::{self, taskring_future, taskring_pool, taskring_set, taskring_status::*};

/// How often one callback was called, and its context destroyed.
#[derive(Default)]
pub struct Calls {
    called: AtomicU32,
    destroyed: AtomicU32,
}

/// The state of the task that a callback is for.
unsafe extern "C" fn called(pool: *mut taskring_pool, ticket: u64, context: *mut c_void) {
    // SAFETY: the context is what `call_back` gave, and is destroyed later.
    let calls = unsafe { &*context.cast::<Calls>() };
    calls.called.fetch_add(1, SeqCst);
    let mut state = 0;
    // SAFETY: the handle is freed after the callbacks of its visit; a live local.
    let status = unsafe { ffi::taskring_state(pool, ticket, &raw mut state) };
    let is_over = [ffi::TASKRING_DONE, ffi::TASKRING_STATE_CANCELLED].contains(&state);
    // The submitter may have used the ticket up meanwhile.
    if status != TASKRING_STALE && !(status == TASKRING_OK && is_over) {
        complain(&format!("a callback in C finds {status:?} and state {state}"));
    }
}

unsafe extern "C" fn destroyed(context: *mut c_void) {
    // SAFETY: the share that `call_back` gave away, once.
    let calls = unsafe { Arc::from_raw(context.cast::<Calls>()) };
    calls.destroyed.fetch_add(1, SeqCst);
}

/// Has a callback called at a task's end. `None` when that could not be had.
pub fn call_back(pool: *mut taskring_pool, ticket: u64) -> Option<Arc<Calls>> {
    let calls = Arc::new(Calls::default());
    let context = Arc::into_raw(calls.clone()).cast_mut().cast();
    // SAFETY: a living handle; both functions may be called with the context from any thread.
    let status = unsafe { ffi::taskring_on_done(pool, ticket, Some(called), context, Some(destroyed)) };
    if status == TASKRING_OK {
        drawn(Feature::OnDoneInC);
        return Some(calls);
    }
    if calls.destroyed.load(SeqCst) != 1 || calls.called.load(SeqCst) != 0 {
        complain("a callback in C was refused, and called or not destroyed");
    }
    None
}

/// Each was called once when its task was over, which they all are by now, and destroyed once.
pub fn judge_calls(all: &[Arc<Calls>], name: &str) {
    let counts = |calls: &Arc<Calls>| (calls.called.load(SeqCst), calls.destroyed.load(SeqCst));
    let _ = Patience::with(Waited::In(name)).wait(|_| {
        std::thread::sleep(Duration::from_millis(1));
        all.iter().all(|calls| counts(calls) == (1, 1)).then_some(())
    });
    // Of a pool without its owner some tasks may never end.
    let is_bad = |(called, destroyed): &(u32, u32)| match Waited::In(name).is_kept() {
        true => (*called, *destroyed) != (1, 1),
        false => *called > 1 || *destroyed > 1,
    };
    let bad: Vec<_> = all.iter().map(counts).filter(is_bad).collect();
    if !bad.is_empty() {
        complain(&format!("callbacks in C were called and destroyed so often: {bad:?}"));
    }
}

/// A set of this pool; NULL when there are too many.
pub fn new_set(pool: *mut taskring_pool) -> *mut taskring_set {
    let mut set = null_mut();
    // SAFETY: a living handle and a live local.
    if unsafe { ffi::taskring_set_new(pool, &raw mut set) } == TASKRING_OK {
        drawn(Feature::SetInC);
    }
    set
}

/// Discards it and frees it.
pub fn end_set(set: *mut taskring_set) {
    // SAFETY: a handle or NULL, which is refused, and is used by nobody any more.
    unsafe {
        let _ = ffi::taskring_set_discard(set, null_mut());
        let _ = ffi::taskring_set_free(set);
    }
}

/// The events of a task that nobody has read, as a program reads them that knows nothing of their types.
pub fn events(pool: *mut taskring_pool, ticket: u64, task: u64, timeout_ns: u64) -> Vec<Told> {
    let (mut all, mut buffer) = (Vec::new(), [0_u8; 256]);
    loop {
        let mut len = 0;
        // SAFETY: a living handle, room for as many bytes as the call is told of, and a live local.
        let status = unsafe {
            ffi::taskring_next_event(pool, ticket, timeout_ns, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut len)
        };
        if status != TASKRING_OK {
            return all;
        }
        match Told::decode(&buffer[..len]) {
            Ok(told) => all.push(told),
            Err(message) => note(task, wrong(task, &format!("an event in C is torn: {message}"))),
        }
    }
}

/// Some promises, completed, failed, cancelled or let go.
pub fn promises(by: &mut Submitter<'_>) {
    drawn(Feature::PromisesInC);
    for _ in 0..1 + by.random.below(10) {
        let task = by.numbers(1);
        let mut promise = null_mut();
        let mut future = taskring_future { pool: null_mut(), ticket: 0 };
        // SAFETY: live locals.
        if unsafe { ffi::taskring_promise_new(&raw mut promise, &raw mut future) } != TASKRING_OK {
            return;
        }
        note(task, Event::Intended);
        note(task, Event::Accepted);
        let address = promise.addr();
        let way = by.random.below(3);
        let completer = std::thread::spawn(move || {
            let (promise, text) = (without_provenance_mut::<ffi::taskring_promise>(address), CString::new(told(task)));
            let (value, text) = (answer(task), text.expect("no zero byte"));
            // SAFETY: handles of promises are numbers that the library knows; the value and the text live for the calls.
            let done = unsafe {
                match way {
                    0 => ffi::taskring_promise_set_result(promise, (&raw const value).cast(), 8),
                    1 => ffi::taskring_promise_set_error(promise, text.as_ptr()),
                    _ => TASKRING_INVALID_STATE,
                }
            };
            if done == TASKRING_OK {
                note(task, Event::Entered);
            }
            // SAFETY: nobody else uses it. One that is pending is cancelled by it.
            unsafe { ffi::taskring_promise_free(promise) };
            done == TASKRING_OK
        });
        let mut cancelled = 0;
        if by.random.below(2) == 0 {
            // SAFETY: the pool of the promises lives as long as the process; a live local.
            unsafe { ffi::taskring_cancel(future.pool, future.ticket, &raw mut cancelled) };
        }
        let completed = completer.join().unwrap_or(false);
        let (mut value, mut len) = (0_u64, 0);
        // SAFETY: as above, with room for eight bytes.
        let status =
            unsafe { ffi::taskring_result(future.pool, future.ticket, 0, (&raw mut value).cast(), 8, &raw mut len) };
        let event = match status {
            TASKRING_OK if value == answer(task) => Event::Value,
            TASKRING_TASK_FAILED if last_error().ends_with(&told(task)) => Event::Failed,
            TASKRING_CANCELLED => Event::Cancelled,
            _ => wrong(task, &format!("its promise in C ended with {status:?}: {}", last_error())),
        };
        note(task, event);
        if completed == (event == Event::Cancelled) || completed && cancelled == 1 {
            complain(&format!("promise {task:#x} in C: completed {completed}, cancelled {cancelled}, and it is {event:?}"));
        }
    }
}
