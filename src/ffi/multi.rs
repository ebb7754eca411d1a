//! Pools in the style of `multiprocessing.Pool`, and their results.

use super::call::taskring_destructor;
use super::handle::{self, Kind};
use super::map::{self, taskring_input, taskring_map, taskring_map_options};
use super::pool::{builder, taskring_config};
use super::status::{Fault, remember, taskring_status};
use super::submit::taskring_bytes;
use super::{Buffer, Sized32, bytes, guard, null, put, read_struct, text, timeout};
use crate::async_result::{AsyncResult, Work};
use crate::error::{Error, Result};
use crate::future::Core;
use crate::multi::MultiPool;
use std::ffi::{c_char, c_void};
use std::sync::OnceLock;

/// A pool whose calls are those of Python's multiprocessing.Pool. Any thread may use it; free it once, with taskring_multi_free.
pub struct taskring_multi {
    _opaque: [u8; 0],
}

impl Kind for MultiPool {
    const KIND: u8 = 0x5b;
    const NAME: &'static str = "multi";
}

/// A result that is waited for, of one task or of all those of a map. Any thread may use it; free it once, with taskring_async_free. It may outlive its
/// pool.
pub struct taskring_async {
    _opaque: [u8; 0],
}

/// What a `taskring_async *` stands for.
pub(super) struct Waited {
    result: AsyncResult<Values>,
    /// What was lent: the same at each call.
    lent: OnceLock<Result<Values>>,
}

impl Kind for Waited {
    const KIND: u8 = 0x5d;
    const NAME: &'static str = "result";
}

/// Values as C reads them: each is aligned to 16 bytes.
#[derive(Default)]
pub(super) struct Values {
    bytes: Vec<u128>,
    values: Vec<taskring_bytes>,
}

// SAFETY: the pointers of `values` lead into `bytes`, which goes with them and is not written to any more.
unsafe impl Send for Values {}
// SAFETY: as above.
unsafe impl Sync for Values {}

const ALIGN: usize = size_of::<u128>();

impl Values {
    fn push(&mut self, value: &[u8]) {
        for part in value.chunks(ALIGN) {
            let mut filled = [0; ALIGN];
            filled[..part.len()].copy_from_slice(part);
            self.bytes.push(u128::from_ne_bytes(filled));
        }
        self.values.push(taskring_bytes { data: std::ptr::null(), len: value.len() });
    }

    /// All were pushed: from here on the bytes stay where they are.
    fn placed(mut self) -> Values {
        let mut at = 0;
        for value in &mut self.values {
            value.data = self.bytes[at..].as_ptr().cast();
            at += value.len.div_ceil(ALIGN);
        }
        self
    }

    fn one(work: &Work) -> Result<Values> {
        let mut values = Values::default();
        values.push(work.bytes_of_one()?);
        Ok(values.placed())
    }

    fn all(work: &Work) -> Result<Values> {
        let mut values = Values::default();
        work.each_of_all(|value| {
            values.push(value);
            Ok(())
        })?;
        Ok(values.placed())
    }
}

/// Called with the value of a task, or all those of a map in the order of the inputs. They may be read until it returns. It should be short, and hand
/// longer work on: its result and later callbacks of the pool wait for it. It must not let a C++ exception out, nor jump out.
pub type taskring_value_callback =
    Option<unsafe extern "C" fn(values: *const taskring_bytes, count: usize, context: *mut c_void)>;

/// Called with what taskring_async_get would return instead of a result; taskring_last_error and taskring_last_loss tell more, in this call. As the other
/// one it should be short. It must not let a C++ exception out, nor jump out.
pub type taskring_error_callback = Option<unsafe extern "C" fn(status: taskring_status, context: *mut c_void)>;

/// What is to be called when a result is there: one of the two, once, in a thread of this process; a NULL one is left out. Then, or when the call that
/// was given it fails, the destructor is called with the context. Only then is the result ready. Begin with TASKRING_CALLBACKS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_callbacks {
    /// Set by TASKRING_CALLBACKS_INIT.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// For values, or NULL.
    pub callback: taskring_value_callback,
    /// For an error, or NULL.
    pub error_callback: taskring_error_callback,
    /// What all three are given.
    pub context: *mut c_void,
    /// Or NULL.
    pub destructor: taskring_destructor,
}

// SAFETY: `repr(C)`, the size first, and the rest are integers, raw pointers and nullable functions of the caller's.
unsafe impl Sized32 for taskring_callbacks {}

struct Calls(taskring_callbacks);

// SAFETY: by the contract of `taskring_multi_apply_async` callbacks, context and destructor may be used from any thread.
unsafe impl Send for Calls {}

impl Calls {
    /// # Safety
    /// `callbacks` is NULL or points to callbacks.
    unsafe fn read(callbacks: *const taskring_callbacks) -> Result<Option<Calls>, Fault> {
        // SAFETY: as this function's contract says.
        let calls = unsafe { read_struct("callbacks", callbacks) }?.map(Calls);
        match &calls {
            Some(calls) if calls.0.reserved != 0 => Err(Error::invalid("reserved", calls.0.reserved, 0).into()),
            _ => Ok(calls),
        }
    }

    fn run(self, result: Result<Values>) {
        match (result, self.0.callback, self.0.error_callback) {
            (Ok(values), Some(callback), _) => {
                // SAFETY: by the contract of `taskring_multi_apply_async`; this value is used up by the call, so it is made once. The values outlive it.
                unsafe { callback(values.values.as_ptr(), values.values.len(), self.0.context) };
            }
            (Err(e), _, Some(callback)) => {
                let status = remember(e.into());
                // SAFETY: as above.
                unsafe { callback(status, self.0.context) };
            }
            _ => {}
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(destructor) = self.0.destructor {
            // SAFETY: by the contract of `taskring_multi_apply_async`, once, after the callback or in its place.
            unsafe { destructor(self.0.context) };
        }
    }
}

/// # Safety
/// `multi` is NULL or a handle of this library that is not freed meanwhile; `function` is NULL or a string.
unsafe fn find<'a>(multi: *mut taskring_multi, function: *const c_char) -> Result<(&'a MultiPool, u16), Fault> {
    // SAFETY: as this function's contract says.
    let (multi, name) = unsafe { (handle::get::<MultiPool, _>(multi)?, text("function", function)?) };
    let pool = multi.executor().pool();
    pool.member.check_fork()?;
    Ok((multi, pool.function_named(name)?))
}

/// A handle of work that goes on.
///
/// # Safety
/// `result` is valid for a write.
unsafe fn hand_out(
    multi: &MultiPool,
    tasks: Vec<Core>,
    decode: fn(&Work) -> Result<Values>,
    calls: Option<Calls>,
    result: *mut *mut taskring_async,
) -> Result<(), Fault> {
    let work = multi.work(tasks);
    let made = match calls {
        None => AsyncResult::new(work, decode),
        Some(calls) => AsyncResult::calling(work, decode, Box::new(move |result| calls.run(result)))?,
    };
    let new = handle::new(Waited { result: made, lent: OnceLock::new() })?;
    // SAFETY: as this function's contract says.
    unsafe { put(result, new) };
    Ok(())
}

/// Makes a pool and starts its workers. `config` may be NULL: all defaults.
///
/// Returns TASKRING_OK and writes `*multi`; otherwise as taskring_create.
///
/// # Safety
/// As taskring_create, and `multi` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_create(
    config: *const taskring_config,
    multi: *mut *mut taskring_multi,
) -> taskring_status {
    guard(|| {
        if multi.is_null() {
            return Err(null("multi"));
        }
        crate::task::install_panic_hook();
        // SAFETY: as this function's contract says.
        let new = handle::new(MultiPool::with(unsafe { builder(config) }?)?)?;
        // SAFETY: not NULL, so valid for a write by this function's contract.
        unsafe { put(multi, new) };
        Ok(())
    })
}

/// Ends a pool at once, as taskring_multi_terminate does, and its handle. Say taskring_multi_close and taskring_multi_join before to have everything run.
/// Its results stay good. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `multi` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_free(multi: *mut taskring_multi) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { handle::take::<MultiPool, _>(multi).map(drop) })
}

/// Runs a task and waits for its result: copies it into `buffer`, which may be NULL when `capacity` is 0. `len` may be NULL; it becomes the result's
/// length. `function` is a name that was registered.
///
/// Returns TASKRING_OK; as taskring_submit_named when it was not submitted; the task's own end and the others as taskring_result.
/// TASKRING_BUFFER_TOO_SMALL (`*len` is what is needed): the task has run, and its result is dropped. Where its length is not known there is
/// taskring_multi_apply_async.
///
/// # Safety
/// `multi` is NULL or a handle of this library; `function` is NULL or a string; `args` is NULL or valid for reads of `args_len` bytes; `buffer` is valid
/// for writes of `capacity` bytes; `len` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_apply(
    multi: *mut taskring_multi,
    function: *const c_char,
    args: *const c_void,
    args_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let ((multi, function), args) = unsafe { (find(multi, function)?, bytes("args", args, args_len)?) };
        // SAFETY: as this function's contract says.
        let buffer = unsafe { Buffer::new(buffer, capacity, len) }?;
        let work = multi.work(vec![multi.submit_bytes(function, args)?]);
        let all = AsyncResult::new(work, Values::one).get(None)?;
        let value = all.values[0];
        // SAFETY: bytes of `all`, which nobody writes to any more.
        buffer.fill(unsafe { bytes("the value", value.data, value.len) }?)
    })
}

/// Submits a task. `callbacks` may be NULL.
///
/// Returns TASKRING_OK and writes `*result`; otherwise as taskring_submit_named, and TASKRING_SYSTEM when there is no thread for callbacks. No callback is
/// called then.
///
/// # Safety
/// `multi` is NULL or a handle of this library; `function` is NULL or a string; `args` is NULL or valid for reads of `args_len` bytes; `callbacks` is
/// NULL or points to callbacks, which may be called with their context from any thread; `result` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_apply_async(
    multi: *mut taskring_multi,
    function: *const c_char,
    args: *const c_void,
    args_len: usize,
    callbacks: *const taskring_callbacks,
    result: *mut *mut taskring_async,
) -> taskring_status {
    guard(|| {
        // First, so that the destructor is called whatever else is wrong.
        // SAFETY: as this function's contract says.
        let calls = unsafe { Calls::read(callbacks) }?;
        // SAFETY: as this function's contract says.
        let ((multi, function), args) = unsafe { (find(multi, function)?, bytes("args", args, args_len)?) };
        if result.is_null() {
            return Err(null("result"));
        }
        let tasks = vec![multi.submit_bytes(function, args)?];
        // SAFETY: `result` is not NULL, so valid for a write by this function's contract.
        unsafe { hand_out(multi, tasks, Values::one, calls, result) }
    })
}

/// Runs a task for each of `count` inputs, which are copied in this call. `chunk` inputs go into one task; 0 is as many as give each worker four tasks.
/// `callbacks` may be NULL.
///
/// Returns as taskring_multi_apply_async. When the pool refuses a task, those before it run.
///
/// # Safety
/// As taskring_multi_apply_async, and `inputs` is NULL or points to `count` descriptions of valid bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_map_async(
    multi: *mut taskring_multi,
    function: *const c_char,
    inputs: *const taskring_bytes,
    count: usize,
    chunk: usize,
    callbacks: *const taskring_callbacks,
    result: *mut *mut taskring_async,
) -> taskring_status {
    guard(|| {
        // First, so that the destructor is called whatever else is wrong.
        // SAFETY: as this function's contract says.
        let calls = unsafe { Calls::read(callbacks) }?;
        // SAFETY: as this function's contract says.
        let (multi, function) = unsafe { find(multi, function) }?;
        if result.is_null() || inputs.is_null() && count != 0 {
            return Err(null(if result.is_null() { "result" } else { "inputs" }));
        }
        let mut slices = Vec::new();
        for nth in 0..count {
            // SAFETY: `nth` is below `count`, and the description and its bytes are valid by this function's contract.
            slices.push(unsafe { bytes("inputs", (*inputs.add(nth)).data, (*inputs.add(nth)).len) }?);
        }
        let tasks = multi.submit_encoded(function, count, (chunk != 0).then_some(chunk), |nth, into| {
            into.extend_from_slice(slices[nth]);
            Ok(())
        })?;
        // SAFETY: `result` is not NULL, so valid for a write by this function's contract.
        unsafe { hand_out(multi, tasks, Values::all, calls, result) }
    })
}

/// Maps a function over inputs, and gives the results one by one: the map is asked for them with taskring_map_next, also in time, and ended with
/// taskring_map_free. `function` is a name that was registered. `options` may be NULL: results come in the order of the inputs, each input is a task, and as
/// results are taken so many are read that twice as many tasks as there are workers are in the pool.
///
/// The pool may be closed meanwhile: the map goes on with its inputs. What has no result when the pool is terminated or freed is TASKRING_TERMINATED at its
/// place. When it is joined with inputs left, the next of them is TASKRING_SHUT_DOWN, and the last. The map may outlive the pool.
///
/// Returns as taskring_map_new; TASKRING_UNKNOWN_FUNCTION.
///
/// # Safety
/// `multi` is NULL or a handle of this library; `function` is NULL or a string; the others as of taskring_map_new.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_imap(
    multi: *mut taskring_multi,
    function: *const c_char,
    input: taskring_input,
    context: *mut c_void,
    options: *const taskring_map_options,
    map: *mut *mut taskring_map,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (multi, function) = unsafe { find(multi, function) }?;
        let keep = multi.begin_map()?;
        let window = 2 * multi.executor().workers().max(1);
        // SAFETY: as this function's contract says.
        unsafe { map::start(multi.executor(), function, (input, context), options, window, |feed| feed.keep(keep), map) }
    })
}

/// Takes no new work from now on; what was submitted runs, and maps that go on read the rest of their inputs. May be called again.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED, TASKRING_STALLED.
///
/// # Safety
/// `multi` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_close(multi: *mut taskring_multi) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { Ok(handle::get::<MultiPool, _>(multi)?.close()?) })
}

/// Ends a pool at once, without waiting: what has not started is cancelled, and what runs in processes is killed with them. Results that are not there yet
/// end with TASKRING_TERMINATED. A thread cannot be killed: a result that it works on is there when its task is over. May be called again.
///
/// Returns as taskring_multi_close.
///
/// # Safety
/// `multi` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_terminate(multi: *mut taskring_multi) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { Ok(handle::get::<MultiPool, _>(multi)?.terminate()?) })
}

/// Waits until all work is over and the workers have left. Of a map that has inputs left only what it has submitted runs.
///
/// Returns TASKRING_OK; TASKRING_INVALID_STATE before taskring_multi_close or taskring_multi_terminate; TASKRING_BUSY in a task of this very pool;
/// TASKRING_INVALID_ARGUMENT, TASKRING_FORKED, TASKRING_STALLED.
///
/// # Safety
/// `multi` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_multi_join(multi: *mut taskring_multi) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { Ok(handle::get::<MultiPool, _>(multi)?.join()?) })
}

/// Tells whether all tasks are over, and the callback, if there is one, has returned: 1 or 0. taskring_async_get will not wait then.
///
/// Returns TASKRING_OK and writes `*ready`; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `result` is NULL or a handle of this library; `ready` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_async_ready(result: *mut taskring_async, ready: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let waited = unsafe { handle::get::<Waited, _>(result) }?;
        if ready.is_null() {
            return Err(null("ready"));
        }
        // SAFETY: as this function's contract says.
        unsafe { put(ready, u32::from(waited.result.ready())) };
        Ok(())
    })
}

/// Tells whether all tasks have given values: 1 or 0.
///
/// Returns TASKRING_OK and writes `*successful`; TASKRING_INVALID_STATE while it is not ready; TASKRING_INVALID_ARGUMENT.
///
/// # Safety
/// `result` is NULL or a handle of this library; `successful` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_async_successful(result: *mut taskring_async, successful: *mut u32) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let waited = unsafe { handle::get::<Waited, _>(result) }?;
        if successful.is_null() {
            return Err(null("successful"));
        }
        let found = u32::from(waited.result.successful()?);
        // SAFETY: as this function's contract says.
        unsafe { put(successful, found) };
        Ok(())
    })
}

/// Waits until it is ready, no longer than `timeout_ns`.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `result` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_async_wait(result: *mut taskring_async, timeout_ns: u64) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { Ok(handle::get::<Waited, _>(result)?.result.wait(timeout(timeout_ns))?) })
}

/// Waits until it is ready, no longer than `timeout_ns`, and lends the values: of one task one, of a map all in the order of the inputs. `values` has
/// room for `capacity` of them and may be NULL when that is 0; `count` may be NULL and becomes how many there are. The bytes are aligned to 16, and may be
/// read until the result is freed. May be called again.
///
/// Returns TASKRING_OK; TASKRING_TIMED_OUT, after which the work goes on; TASKRING_TERMINATED when the pool was terminated before; the end of a task as
/// taskring_result, of a map that of the first input that failed, once all are over; TASKRING_BUFFER_TOO_SMALL (`*count` is what is needed);
/// TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `result` is NULL or a handle of this library; `values` is valid for `capacity` writes; `count` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_async_get(
    result: *mut taskring_async,
    timeout_ns: u64,
    values: *mut taskring_bytes,
    capacity: usize,
    count: *mut usize,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let waited = unsafe { handle::get::<Waited, _>(result) }?;
        if values.is_null() && capacity != 0 {
            return Err(null("values"));
        }
        waited.result.wait(timeout(timeout_ns))?;
        let all = &waited.lent.get_or_init(|| waited.result.get(None)).as_ref().map_err(Error::clone)?.values;
        // SAFETY: as this function's contract says.
        unsafe { put(count, all.len()) };
        if all.len() > capacity {
            return Err(Fault::TooSmall { needed: all.len(), given: capacity });
        }
        if !all.is_empty() {
            // SAFETY: they fit into the caller's array, which cannot overlap with ours.
            unsafe { std::ptr::copy_nonoverlapping(all.as_ptr(), values, all.len()) };
        }
        Ok(())
    })
}

/// Ends a result: its tasks run, and what they give is dropped, but for a callback, which is still called. NULL is allowed.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a handle that was freed before.
///
/// # Safety
/// `result` is NULL or a handle of this library, and no other call with it is going on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_async_free(result: *mut taskring_async) -> taskring_status {
    // SAFETY: as this function's contract says.
    guard(|| unsafe { handle::take::<Waited, _>(result).map(drop) })
}
