//! What the workers of a pool are given before their first task and do after their last: its part of taskring_config, and what they ask.

use super::pool::{TASKRING_NONE_AT_FIRST, executor, taskring_config, taskring_pool};
use super::status::{Fault, taskring_status};
use super::{bytes, guard, guard_value, null, put, text};
use crate::builder::Builder;
use crate::constants::What;
use crate::error::Error;
use crate::limits::SHARED_MAX;
use crate::sys::CPUS_MAX;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A name with bytes: of a function, and then they are its arguments; or of a shared value. The library copies both.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct taskring_named_bytes {
    /// 1 to 192 bytes of UTF-8.
    pub name: *const c_char,
    /// NULL with a len of 0 is no bytes.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
}

/// Puts what a config says of workers' lives into a builder.
///
/// # Safety
/// As of `taskring_create`.
pub(super) unsafe fn apply(mut builder: Builder, config: &taskring_config) -> Result<Builder, Fault> {
    if !config.worker_names.is_null() {
        // SAFETY: as this function's contract says.
        builder = builder.worker_names(unsafe { text("worker_names", config.worker_names) }?);
    }
    for (what, function) in [(What::Initializer, config.initializer), (What::ExitHook, config.exit_hook)] {
        // SAFETY: as this function's contract says: NULL, or a struct whose pointers are good.
        if let Some(function) = unsafe { function.as_ref() } {
            // SAFETY: as above.
            let (name, args) = unsafe { named(function) }?;
            builder = builder.run_encoded(what, name, args.to_vec());
        }
    }
    if config.max_tasks_per_worker != 0 {
        let wanted = || Error::invalid("max_tasks_per_worker", config.max_tasks_per_worker, format!("1 to {}", u32::MAX));
        builder = builder.max_tasks_per_worker(u32::try_from(config.max_tasks_per_worker).map_err(|_| wanted())?);
    }
    match config.min_workers {
        0 => {}
        TASKRING_NONE_AT_FIRST => builder = builder.min_workers(0),
        some => builder = builder.min_workers(usize::try_from(some).unwrap_or(usize::MAX)),
    }
    if config.replacements != 0 {
        builder = builder.replacements(usize::try_from(config.replacements).unwrap_or(usize::MAX));
    }
    if config.idle_timeout_ns != 0 {
        builder = builder.idle_timeout(Duration::from_nanos(config.idle_timeout_ns));
    }
    let count = usize::try_from(config.shared_count).unwrap_or(usize::MAX);
    if count > SHARED_MAX {
        return Err(Error::TooMany { what: "shared values", max: SHARED_MAX }.into());
    }
    if count != 0 && config.shared.is_null() {
        return Err(null("shared"));
    }
    for i in 0..count {
        // SAFETY: as this function's contract says, there are so many structs whose pointers are good.
        let (name, value) = unsafe { named(&*config.shared.add(i)) }?;
        builder = builder.shared(name, value);
    }
    if config.worker_cpus_count != 0 && config.worker_cpus.is_null() {
        return Err(null("worker_cpus"));
    }
    if !config.worker_cpus.is_null() {
        let count = usize::try_from(config.worker_cpus_count).unwrap_or(usize::MAX);
        if count > CPUS_MAX {
            return Err(Error::TooMany { what: "worker_cpus", max: CPUS_MAX }.into());
        }
        // SAFETY: as this function's contract says, there are so many numbers.
        builder = builder.worker_cpus((0..count).map(|i| unsafe { *config.worker_cpus.add(i) } as usize));
    }
    if config.worker_memory_max != 0 {
        builder = builder.worker_memory_max(config.worker_memory_max);
    }
    Ok(builder)
}

/// # Safety
/// The pointers of `given` are NULL, or good for reads that nobody writes to for as long as `'a`.
unsafe fn named<'a>(given: &taskring_named_bytes) -> Result<(&'a str, &'a [u8]), Fault> {
    // SAFETY: as this function's contract says.
    unsafe { Ok((text("name", given.name)?, bytes("data", given.data, given.len)?)) }
}

/// The number of the worker that runs in this thread: below the pool's number of workers, no other worker's at the same time, and kept by the worker
/// that takes its place when it dies; not below it of one that is there for another that waits (taskring_config's replacements). -1 outside a worker, and
/// in one that came by taskring_work.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_worker_number() -> i32 {
    guard_value(-1, || crate::task::worker_number().map_or(-1, |number| number as i32))
}

/// The name of the worker that runs in this thread: taskring_config's worker_names, '_' and its number. NULL where taskring_worker_number gives -1.
/// Good until the worker leaves.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_worker_name() -> *const c_char {
    guard_value(std::ptr::null(), || crate::setup::worker_name_ptr().unwrap_or(std::ptr::null()))
}

/// Where a value lies that a pool's creator shares (taskring_config's shared). It is not copied; nobody may write to it; it begins at a multiple of 64.
/// With a NULL pool, in a task: the value of the pool whose worker runs in this thread, good until the worker leaves. With a pool: good until the
/// handle is freed. `len` may be NULL.
///
/// Returns TASKRING_OK and writes `*data` and `*len`; TASKRING_INVALID_ARGUMENT when there is no value of that name, and for a NULL pool outside a
/// worker; TASKRING_FORKED, TASKRING_CORRUPT.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `name` is NULL or a string; `data` and `len` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_shared(
    pool: *mut taskring_pool,
    name: *const c_char,
    data: *mut *const c_void,
    len: *mut usize,
) -> taskring_status {
    guard(|| {
        if data.is_null() {
            return Err(null("data"));
        }
        // SAFETY: as this function's contract says.
        let name = unsafe { text("name", name) }?;
        let found = if pool.is_null() {
            crate::task::shared(name)
        } else {
            // SAFETY: as this function's contract says.
            unsafe { executor(pool) }?.shared(name)?
        };
        let found = found.ok_or_else(|| Error::invalid("name", format!("{name:?}"), "that of a value the pool shares"))?;
        // SAFETY: as this function's contract says. Worker and handle keep the bytes mapped when `found` is dropped.
        unsafe {
            put(data, found.as_ptr().cast());
            put(len, found.len());
        }
        Ok(())
    })
}
