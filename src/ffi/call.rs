//! Task functions in C: registering them, and what a running one can ask and say.

use super::status::{Fault, taskring_status};
use super::submit::ticket_of_task;
use super::{bytes, guard, guard_value, null, put, text};
use crate::error::Error;
use crate::outcome::{Bytes, Kind, store_failure};
use std::ffi::{c_char, c_void};

/// What arguments are aligned to.
const ALIGN: usize = 16;

/// One call of a task function. Good only until the function returns, and only in its thread.
pub struct taskring_call {
    args: *const u8,
    args_len: usize,
    out: Vec<u8>,
    failure: Option<String>,
    /// What brought that about.
    sources: Vec<String>,
}

/// A task function: 0 when it succeeded, anything else when it failed. It must not let a C++ exception out, nor jump out.
pub type taskring_task = Option<unsafe extern "C" fn(call: *mut taskring_call, context: *mut c_void) -> i32>;

/// Called with the context when nobody can call the function any more.
pub type taskring_destructor = Option<unsafe extern "C" fn(context: *mut c_void)>;

struct Context {
    task: unsafe extern "C" fn(*mut taskring_call, *mut c_void) -> i32,
    context: *mut c_void,
    destructor: taskring_destructor,
}

// SAFETY: by the contract of `taskring_register` function, context and destructor may be used from any thread, also several at once.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: by the contract of `taskring_register` it may be called with this context, once, after the last call of the function.
            unsafe { destructor(self.context) };
        }
    }
}

impl Context {
    fn run(&self, args: &[u8], out: &mut Vec<u8>) -> Kind {
        // SAFETY: by the contract of `taskring_register` it may be called with this context from any thread; the call is good for it.
        run(args, out, |call| Ok(unsafe { (self.task)(call, self.context) }))
    }
}

/// Makes a call of a C function; `body` calls it, or says why it cannot.
pub(super) fn run(args: &[u8], out: &mut Vec<u8>, body: impl FnOnce(*mut taskring_call) -> Result<i32, String>) -> Kind {
    let at = out.len();
    // The items of a chunk lie behind each other.
    let mut copy = (!args.as_ptr().addr().is_multiple_of(ALIGN)).then(|| Bytes::from(args));
    let args = copy.as_mut().map_or(args, |copy| copy.pin());
    let mut call = taskring_call {
        args: args.as_ptr(),
        args_len: args.len(),
        out: std::mem::take(out),
        failure: None,
        sources: Vec::new(),
    };
    // The result begins here: of a chunk's items each has its own.
    let before = if at == 0 { None } else { Some(std::mem::take(&mut call.out)) };
    let code = body(&raw mut call).unwrap_or_else(|why| {
        call.failure = Some(why);
        1
    });
    let made = call.out;
    *out = match before {
        None => made,
        Some(mut all) => {
            if code == 0 {
                all.extend_from_slice(&made);
            }
            all
        }
    };
    if code == 0 {
        return Kind::Value;
    }
    out.truncate(at);
    crate::again::failing_with(code);
    let message = call.failure.unwrap_or_else(|| format!("the function returned {code}"));
    store_failure(out, &message, &call.sources)
}

/// Registers a function by name, for this process as a worker and (after a fork) its children. Spawned workers run main anew, so it
/// registers before taskring_init. The latest registration of a name counts. `destructor` may be NULL; it is called with `context` once the
/// function was replaced and no worker of this process uses it any more, and also when this call fails.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
///
/// # Safety
/// `name` is NULL or a string; `task` may be called with `context` from any thread, by several at once, until `destructor` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_register(
    name: *const c_char,
    task: taskring_task,
    context: *mut c_void,
    destructor: taskring_destructor,
) -> taskring_status {
    guard(|| {
        let Some(task) = task else {
            drop(Context { task: nothing, context, destructor });
            return Err(null("task"));
        };
        let owned = Context { task, context, destructor };
        // SAFETY: as this function's contract says.
        let name = unsafe { text("name", name) }?;
        Ok(crate::task::register_raw(name, move |args, out| owned.run(args, out))?)
    })
}

unsafe extern "C" fn nothing(_: *mut taskring_call, _: *mut c_void) -> i32 {
    0
}

/// # Safety
/// `call` is NULL or the call that this thread is in.
unsafe fn current<'a>(call: *mut taskring_call) -> Result<&'a mut taskring_call, Fault> {
    // SAFETY: as this function's contract says; nobody else has it, and no reference outlives one function of this file.
    unsafe { call.as_mut() }.ok_or_else(|| null("call"))
}

/// The arguments of a call, aligned to 16 bytes. `len` may be NULL. NULL when `call` is.
///
/// # Safety
/// `call` is NULL or the call that this thread is in; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_call_args(call: *mut taskring_call, len: *mut usize) -> *const c_void {
    guard_value(std::ptr::null(), || {
        // SAFETY: as this function's contract says.
        unsafe {
            let Ok(call) = current(call) else { return std::ptr::null() };
            put(len, call.args_len);
            call.args.cast()
        }
    })
}

/// Room for a result of `len` bytes, all zero, to be filled before the function returns. A later call of this or of taskring_call_set_result takes
/// its place. NULL when there is no memory, or `call` is NULL.
///
/// # Safety
/// `call` is NULL or the call that this thread is in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_call_result(call: *mut taskring_call, len: usize) -> *mut c_void {
    guard_value(std::ptr::null_mut(), || {
        // SAFETY: as this function's contract says.
        let Ok(call) = (unsafe { current(call) }) else { return std::ptr::null_mut() };
        call.out.clear();
        if call.out.try_reserve(len).is_err() {
            return std::ptr::null_mut();
        }
        call.out.resize(len, 0);
        call.out.as_mut_ptr().cast()
    })
}

/// Makes a copy of `len` bytes the result. They may lie in what taskring_call_result gave.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `call` is NULL or the call that this thread is in; `data` is NULL or valid for reads of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_call_set_result(
    call: *mut taskring_call,
    data: *const c_void,
    len: usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (call, data) = unsafe { (current(call)?, bytes("data", data, len)?) };
        let own = call.out.as_ptr_range();
        if !data.is_empty() && own.contains(&data.as_ptr()) {
            // A part of what taskring_call_result gave: the result is made smaller.
            let from = data.as_ptr().addr() - own.start.addr();
            if data.len() > call.out.len() - from {
                return Err(Error::invalid("len", data.len(), "the bytes that taskring_call_result gave").into());
            }
            call.out.copy_within(from..from + data.len(), 0);
            call.out.truncate(data.len());
            return Ok(());
        }
        call.out.clear();
        call.out.extend_from_slice(data);
        Ok(())
    })
}

/// Says why the function is about to fail: what taskring_last_error tells the submitter. The function then returns anything but 0.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `call` is NULL or the call that this thread is in; `message` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_call_fail(call: *mut taskring_call, message: *const c_char) -> taskring_status {
    guard(|| {
        if message.is_null() {
            return Err(null("message"));
        }
        // SAFETY: as this function's contract says.
        let (call, message) = unsafe { (current(call)?, std::ffi::CStr::from_ptr(message)) };
        call.failure = Some(message.to_string_lossy().into_owned());
        Ok(())
    })
}

/// Says what brought the failure about that the function is about to tell of: what taskring_last_source tells the submitter. May be called again, for what
/// brought that about in its turn.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `call` is NULL or the call that this thread is in; `text` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_call_source(call: *mut taskring_call, text: *const c_char) -> taskring_status {
    guard(|| {
        if text.is_null() {
            return Err(null("text"));
        }
        // SAFETY: as this function's contract says.
        let (call, text) = unsafe { (current(call)?, std::ffi::CStr::from_ptr(text)) };
        call.sources.push(text.to_string_lossy().into_owned());
        Ok(())
    })
}

/// Whether the submitter asked the task that this thread runs to stop: 1 or 0. A long task looks now and then, and returns early.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_cancel_requested() -> i32 {
    guard_value(0, || i32::from(crate::task::cancel_requested()))
}

/// How many attempts at the task that this thread runs came before this one: 0 in the first.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_attempt() -> u32 {
    guard_value(0, crate::task::attempt)
}

/// The ticket of the task that this thread runs, or 0 outside a task.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_task_ticket() -> u64 {
    guard_value(0, || if crate::task::is_running() { ticket_of_task(crate::task::id()) } else { 0 })
}
