//! Completion queues and done-callbacks: hearing of tasks as they end.

use super::call::taskring_destructor;
use super::future::live;
use super::handle::{self, Kind};
use super::pool::taskring_pool;
use super::status::taskring_status;
use super::submit::ticket_number;
use super::{guard, null, put, timeout};
use crate::completion::Completions;
use crate::error::Error;
use crate::pool::{Pool, Ticket};
use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A completion queue: tasks, of one pool or several, that come out as they end. Any thread may use it; free it once, with
/// taskring_completions_free.
pub struct taskring_completions {
    _opaque: [u8; 0],
}

/// A task that is over.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct taskring_completion {
    /// The pool, as it was passed when the task was added.
    pub pool: *mut taskring_pool,
    /// Its ticket, still to be used up.
    pub ticket: u64,
    /// What was given with it.
    pub user_data: u64,
    /// 0.
    pub reserved: u64,
}

// SAFETY: the pool in it is a handle, which any thread may use.
unsafe impl Send for taskring_completion {}

/// What a `taskring_completions *` stands for.
#[derive(Default)]
pub(super) struct Queue(Completions<taskring_completion>);

impl Kind for Queue {
    const KIND: u8 = 0x55;
    const NAME: &'static str = "completions";
}

impl Queue {
    /// Everything of `deliver` that can fail.
    pub(super) fn prepare(&self, pool: &Arc<Pool>) -> Result<(), Error> {
        self.0.prepare(pool)
    }

    pub(super) fn deliver(&self, handle: *mut taskring_pool, pool: &Arc<Pool>, ticket: Ticket, user_data: u64) {
        self.0.add(
            pool,
            ticket,
            taskring_completion { pool: handle, ticket: ticket_number(ticket), user_data, reserved: 0 },
        );
    }
}

/// # Safety
/// The handle is not freed while the result is used.
pub(super) unsafe fn queue<'a>(completions: *const taskring_completions) -> Result<&'a Queue, super::Fault> {
    // SAFETY: as this function's contract says.
    unsafe { handle::get(completions) }
}

/// Makes a completion queue.
///
/// Returns TASKRING_OK and writes `*completions`; TASKRING_INVALID_ARGUMENT, TASKRING_TOO_MANY.
///
/// # Safety
/// `completions` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_completions_new(completions: *mut *mut taskring_completions) -> taskring_status {
    guard(|| {
        if completions.is_null() {
            return Err(null("completions"));
        }
        let new = handle::new(Queue::default())?;
        // SAFETY: valid for a write by this function's contract.
        unsafe { put(completions, new) };
        Ok(())
    })
}

/// Adds a task, which comes out once when it is over, or at once when it is. Tasks can also be added as they are submitted: see taskring_options.
///
/// Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
///
/// # Safety
/// `completions` and `pool` are NULL or handles of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_completions_add(
    completions: *mut taskring_completions,
    pool: *mut taskring_pool,
    ticket: u64,
    user_data: u64,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (queue, core) = unsafe { (queue(completions)?, live(pool, ticket)?) };
        core.known_state().ok_or(Error::Stale)?;
        queue.prepare(&core.pool)?;
        queue.deliver(pool, &core.pool, core.ticket, user_data);
        Ok(())
    })
}

/// Takes tasks that are over out of the queue, in the order in which they ended as far as it was seen: waits until there is one, and then takes
/// what is there, up to `capacity`. Their results can be had without waiting.
///
/// Returns TASKRING_OK and writes `*count` of `all`; TASKRING_TIMED_OUT; TASKRING_END when all tasks that were added have come out;
/// TASKRING_INVALID_ARGUMENT, TASKRING_CORRUPT, TASKRING_FORKED.
///
/// # Safety
/// `completions` is NULL or a handle of this library; `all` is NULL or valid for `capacity` writes; `count` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_completions_next(
    completions: *mut taskring_completions,
    timeout_ns: u64,
    all: *mut taskring_completion,
    capacity: usize,
    count: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let queue = unsafe { queue(completions) }?;
        if all.is_null() || count.is_null() {
            return Err(null(if all.is_null() { "all" } else { "count" }));
        }
        if capacity == 0 {
            return Err(Error::invalid("capacity", 0, "at least 1").into());
        }
        let mut next = queue.0.next(timeout(timeout_ns))?;
        let mut taken = 0;
        while let Some(completion) = next {
            // SAFETY: `taken` is below `capacity`, for which `all` has room.
            unsafe { all.add(taken).write(completion) };
            taken += 1;
            next = if taken < capacity { queue.0.take_ready() } else { None };
        }
        if taken == 0 {
            return Err(super::Fault::End { what: "no task of this completion queue is under way" });
        }
        // SAFETY: valid for a write by this function's contract.
        unsafe { put(count, taken) };
        Ok(())
    })
}

/// A descriptor that poll, select and epoll find readable while there is a task to be taken out. It belongs to the queue: do not read it
/// or close it. From this call on, a thread of the library waits for the queue's pools.
///
/// Returns TASKRING_OK and writes `*fd`; TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
///
/// # Safety
/// `completions` is NULL or a handle of this library; `fd` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_completions_fd(completions: *mut taskring_completions, fd: *mut c_int) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let queue = unsafe { queue(completions) }?;
        if fd.is_null() {
            return Err(null("fd"));
        }
        let found = queue.0.fd()?.as_raw_fd();
        // SAFETY: valid for a write by this function's contract.
        unsafe { put(fd, found) };
        Ok(())
    })
}

/// Ends a completion queue. Tasks in it go on, and their tickets stay good. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `completions` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_completions_free(completions: *mut taskring_completions) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { handle::take::<Queue, _>(completions).map(drop) })
}

/// Called when a task is over. It should be short, and hand longer work on to a thread of its own: later callbacks of the pool wait for it, and so does the
/// pool's end; no task and no result does. It may use any function of this library, also with this ticket. It must not let a C++ exception out, nor jump out.
pub type taskring_callback = Option<unsafe extern "C" fn(pool: *mut taskring_pool, ticket: u64, context: *mut c_void)>;

struct Call {
    callback: unsafe extern "C" fn(*mut taskring_pool, u64, *mut c_void),
    context: *mut c_void,
    destructor: taskring_destructor,
    pool: *mut taskring_pool,
    ticket: u64,
}

// SAFETY: by the contract of `taskring_on_done` callback, context and destructor may be used from any thread; the pool is a handle.
unsafe impl Send for Call {}

impl Call {
    fn run(self) {
        // SAFETY: by the contract of `taskring_on_done`; this value is used up by the call, so it is made once.
        unsafe { (self.callback)(self.pool, self.ticket, self.context) };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: by the contract of `taskring_on_done`, once, after the callback or in its place.
            unsafe { destructor(self.context) };
        }
    }
}

/// Has `callback` called once when a task is over, however it ends: in this thread, before this returns, when it is over already; otherwise in a
/// thread of the library, in the order in which the callbacks were added. A slow callback delays the others of the pool. Then `destructor`, which
/// may be NULL, is called with `context`; that also when this call fails. A callback outlives a freed pool, whose tasks may still run: then its
/// handle and ticket are of no use any more. A normal end of the process waits for the callbacks of pools that it owns; free others before.
///
/// Returns TASKRING_OK; TASKRING_STALE, TASKRING_INVALID_ARGUMENT, TASKRING_SYSTEM, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `callback` and `destructor` may be called with `context` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_on_done(
    pool: *mut taskring_pool,
    ticket: u64,
    callback: taskring_callback,
    context: *mut c_void,
    destructor: taskring_destructor,
) -> taskring_status {
    guard(|| {
        let Some(callback) = callback else {
            drop(Call { callback: no_callback, context, destructor, pool, ticket });
            return Err(null("callback"));
        };
        let call = Call { callback, context, destructor, pool, ticket };
        // SAFETY: as this function's contract says.
        let core = unsafe { live(pool, ticket) }?;
        core.known_state().ok_or(Error::Stale)?;
        Ok(core.pool.on_done(core.ticket, core.is_over(), Box::new(move || call.run()))?)
    })
}

unsafe extern "C" fn no_callback(_: *mut taskring_pool, _: u64, _: *mut c_void) {}
