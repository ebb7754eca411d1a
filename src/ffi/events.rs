//! Events: what a running task sends, and its submitter reads, each once and in order.

use super::future::live;
use super::pool::taskring_pool;
use super::status::{Fault, taskring_status};
use super::{Buffer, bytes, guard, timeout};
use crate::error::Error;
use crate::event_ring::{EVENT_LEN_MAX, Event};
use crate::events::send_event_bytes;
use std::ffi::c_void;

/// Bytes of the largest event: a buffer of so many is never too small for one.
pub const TASKRING_EVENT_LEN_MAX: usize = 16248;

const _: () = assert!(TASKRING_EVENT_LEN_MAX == EVENT_LEN_MAX);

/// Sends whoever has submitted the task that this thread runs an event of `len` bytes, at most TASKRING_EVENT_LEN_MAX, which are copied. It is kept until
/// taskring_next_event has read it, behind all that the task has sent before, in earlier attempts too. It waits for nobody: the events of a task that nobody
/// has read yet have 16256 bytes of room together, of which each takes its own bytes, rounded up to a multiple of 8, and 8 more. When the ticket
/// was released the event goes nowhere. Of a task in a map nobody reads events: all that a chunk of its items sends has the room of one task. Whoever waits
/// for room needs a submitter that reads: one that asks for the result first never does.
///
/// Returns TASKRING_OK; TASKRING_EVENTS_FULL when there is no room for it: nothing was changed, and it may be sent later; TASKRING_WOULD_DEADLOCK in its
/// place when the task runs on top of the one that is to read, which so waits for its end; TASKRING_PAYLOAD_TOO_LARGE;
/// TASKRING_INVALID_ARGUMENT; TASKRING_UNSUPPORTED outside a task; TASKRING_FORKED in a process that the task has forked; TASKRING_CORRUPT. With the first
/// event of a task, which takes 16 KiB of payload memory (and the first one in a lane some bytes for each of its slots): TASKRING_OUT_OF_MEMORY,
/// TASKRING_TOO_MANY, TASKRING_STALLED, TASKRING_SYSTEM.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_send_event(data: *const c_void, len: usize) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let data = unsafe { bytes("data", data, len) }?;
        Ok(send_event_bytes(data)?)
    })
}

/// Takes the oldest event that a task has sent, by taskring_send_event, and nobody has read, waiting no longer than `timeout_ns` for it; with 0 it does not
/// wait. It is copied into `buffer`, which may be NULL when `capacity` is 0. `len` may be NULL; it becomes the event's length.
///
/// Events stay until they are read or the ticket is used up: also when their worker was killed and when the task is over. So read them before
/// taskring_result or taskring_release; taskring_peek, taskring_outcome and taskring_view (of a result) leave them. Several threads may read those of one
/// ticket: each event comes to one of them. One that waits when another thread uses the ticket up is told at once.
///
/// In a task that waits with TASKRING_INFINITE for events of another one of its pool, that one is run on top of it, if nobody has begun with it: then it is
/// over before its first event is read, and what is more than is kept it is told of.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT when none came in time; TASKRING_END when the task is over, however it ended, and all of its events were read;
/// TASKRING_BUFFER_TOO_SMALL (`*len` is what is needed): the same event comes again. TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT,
/// TASKRING_FORKED. In a task that has its worker's context, and waits with TASKRING_INFINITE for one that takes it too: TASKRING_UNSUPPORTED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `buffer` is valid for writes of `capacity` bytes; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_next_event(
    pool: *mut taskring_pool,
    ticket: u64,
    timeout_ns: u64,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        let Some(event) = core.wait_event(timeout(timeout_ns), capacity)? else {
            // Gone meanwhile: another thread has used it up, and with it the events.
            core.known_state().ok_or(Error::Stale)?;
            return Err(Fault::End { what: "the task is over, and all of its events were read" });
        };
        match event {
            Event::Bytes(bytes) => buffer.fill(&bytes),
            Event::TooLarge(needed) => Err(buffer.too_small(needed)),
        }
    })
}
