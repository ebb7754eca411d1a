//! The contexts of workers in C: what makes one, what ends it, and the functions that take it.

use super::call::{run, taskring_call, taskring_destructor};
use super::status::taskring_status;
use super::{guard, null, text};
use crate::context;
use crate::error::{Error, TaskError, whole};
use crate::outcome::{Kind, text_error};
use crate::task::{register_in_context, register_raw, run_items};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// Makes the context of a worker, in the worker's thread, from what an initializer is given: 0 when it has written `*context`, anything else when it
/// failed, as a task function does. It must not let a C++ exception out, nor jump out.
pub type taskring_context_init =
    Option<unsafe extern "C" fn(call: *mut taskring_call, context: *mut *mut c_void, data: *mut c_void) -> i32>;

/// Ends a context, in the thread that made it, once no task uses it any more.
pub type taskring_context_exit = Option<unsafe extern "C" fn(context: *mut c_void, data: *mut c_void)>;

/// A task function that takes the context of the worker that runs it; else as taskring_task.
pub type taskring_context_task =
    Option<unsafe extern "C" fn(call: *mut taskring_call, context: *mut c_void, data: *mut c_void) -> i32>;

/// What a registration was given for its functions.
struct Data {
    data: *mut c_void,
    destructor: taskring_destructor,
}

// SAFETY: by the contract of the registering functions it may be used from any thread, also by several at once.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: by the contract of the registering functions it may be called with the data, once, after the last call of the function.
            unsafe { destructor(self.data) };
        }
    }
}

/// A worker's context, in its thread.
struct Raw {
    context: *mut c_void,
    exit: taskring_context_exit,
    data: Arc<Data>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(exit) = self.exit {
            // SAFETY: by the contract of `taskring_register_context` it may be called with a context that its init has made, once, in the same thread;
            // a `Raw` is not sent to another one.
            unsafe { exit(self.context, self.data.data) };
        }
    }
}

/// Registers what makes and ends the contexts of workers, by name, as taskring_register does a function: taskring_config's initializer names it and has its
/// arguments. Each worker then has one context from before its first task until it leaves, after the exit hook, and keeps it for the tasks that
/// taskring_register_in_context has registered; a worker that takes the place of another makes its own. A worker process that is killed ends nothing.
/// When `init` fails, the pool is broken, as by any initializer. `exit` and `destructor` may be NULL. `data` is handed to both functions, and is
/// one for all workers of this process: with TASKRING_INTERPRETER nobody may change what it points to. `destructor` as in taskring_register.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
///
/// # Safety
/// `name` is NULL or a string; `init` and `exit` may be called with `data` from any thread, by several at once, until `destructor` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_register_context(
    name: *const c_char,
    init: taskring_context_init,
    exit: taskring_context_exit,
    data: *mut c_void,
    destructor: taskring_destructor,
) -> taskring_status {
    guard(|| {
        let data = Arc::new(Data { data, destructor });
        let Some(init) = init else { return Err(null("init")) };
        let make = move |args: &[u8], out: &mut Vec<u8>| {
            let (args, data) = (args.to_vec(), data.clone());
            let make = move || {
                let mut made = std::ptr::null_mut();
                let mut said = Vec::new();
                // SAFETY: by this function's contract it may be called from any thread; the call and the place for the context are good for it.
                let kind = run(&args, &mut said, |call| Ok(unsafe { init(call, &raw mut made, data.data) }));
                match kind {
                    Kind::Value => Ok(Raw { context: made, exit, data: data.clone() }),
                    _ => Err(TaskError::new(match text_error(kind, &said) {
                        Some(Error::TaskFailed { summary, source }) => whole(&summary, source.as_deref()),
                        _ => "it failed".to_owned(),
                    })),
                }
            };
            match context::establish(make) {
                Ok(()) => Kind::Value,
                Err(why) => {
                    out.extend_from_slice(why.to_string().as_bytes());
                    Kind::Failed
                }
            }
        };
        // SAFETY: as this function's contract says.
        Ok(register_raw(unsafe { text("name", name) }?, make)?)
    })
}

/// Registers a function that takes the context of the worker that runs it, and has it for itself until it returns. It fails in a worker without a context.
/// While it has the context, a wait without a time limit for an unfinished task of the same pool that takes one is refused with TASKRING_UNSUPPORTED.
/// `data` is handed to it, and is one for all workers of this process: with TASKRING_INTERPRETER nobody may change what it points to. Else as
/// taskring_register.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a NULL function, and a name that is not 1 to 192 bytes of UTF-8.
///
/// # Safety
/// `name` is NULL or a string; `task` takes contexts that the init of the same pool's initializer makes, and may be called with `data` from any thread, by
/// several at once, until `destructor` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_register_in_context(
    name: *const c_char,
    task: taskring_context_task,
    data: *mut c_void,
    destructor: taskring_destructor,
) -> taskring_status {
    guard(|| {
        let data = Data { data, destructor };
        let Some(task) = task else { return Err(null("task")) };
        // SAFETY: as this function's contract says.
        let name = unsafe { text("name", name) }?;
        let one = move |args: &[u8], out: &mut Vec<u8>| {
            // All of it, which may go to any thread, as its pointer alone may not.
            let shared = &data;
            run(args, out, |call| {
                // SAFETY: by this function's contract it may be called from any thread with such a context; the call is good for it.
                let called = context::lend(|own: &mut Raw| unsafe { task(call, own.context, shared.data) });
                called.map_err(|why| why.to_string())
            })
        };
        Ok(register_in_context(name, move |call| run_items(call, &one))?)
    })
}
