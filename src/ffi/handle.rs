//! Handles: what a `taskring_pool *` points to. The memory of a handle is kept for ever (a few words for each pool ever made), so one that was
//! freed is recognised instead of read through.

use super::status::Fault;
use crate::error::Error;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const LIVE: u32 = 0x7461_736b;
const FREED: u32 = 0x6465_6164;

/// What handles of all kinds have in common.
pub(super) struct Handle<T> {
    state: AtomicU32,
    value: UnsafeCell<ManuallyDrop<T>>,
}

impl<T> Handle<T> {
    /// A new handle, for ever. It is noted, so that tools that look for lost memory find it.
    pub(super) fn leak(value: T) -> *mut Handle<T> {
        static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        let handle = Box::into_raw(Box::new(Handle {
            state: AtomicU32::new(LIVE),
            value: UnsafeCell::new(ManuallyDrop::new(value)),
        }));
        crate::pool::lock(&KEPT).push(handle as usize);
        handle
    }

    /// What a handle from C stands for.
    ///
    /// # Safety
    /// `handle` is NULL or came from `leak`, and is not freed while the result is used.
    pub(super) unsafe fn get<'a>(handle: *const Handle<T>, name: &'static str) -> Result<&'a T, Fault> {
        // SAFETY: NULL, or from `leak`, and then valid for ever.
        let Some(handle) = (unsafe { handle.as_ref() }) else { return Err(super::null(name)) };
        // Acquire: pairs with `take`, for the message only.
        match handle.state.load(Acquire) {
            // SAFETY: live, and not taken while the reference is used, by this function's contract; nobody ever writes to it.
            LIVE => Ok(unsafe { &*handle.value.get() }),
            FREED => Err(Error::invalid(name, "a handle that was freed", "a live one").into()),
            _ => Err(Error::invalid(name, "no handle of this library", "a live one").into()),
        }
    }

    /// Ends a handle and gives what it stood for. NULL gives nothing.
    ///
    /// # Safety
    /// As `get`, and no other call with this handle is going on.
    pub(super) unsafe fn take(handle: *mut Handle<T>, name: &'static str) -> Result<Option<T>, Fault> {
        // SAFETY: NULL, or from `leak`, and then valid for ever.
        let Some(handle) = (unsafe { handle.as_ref() }) else { return Ok(None) };
        // AcqRel: of two calls one takes the value.
        if handle.state.compare_exchange(LIVE, FREED, AcqRel, Relaxed).is_err() {
            return Err(Error::invalid(name, "a handle that was freed", "a live one").into());
        }
        // SAFETY: the state went from live to freed in this call, so the value is moved out once, and nobody else uses it.
        Ok(Some(unsafe { ManuallyDrop::take(&mut *handle.value.get()) }))
    }
}
