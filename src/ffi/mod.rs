//! The C boundary: `include/taskring.h` is made from these files, and this is the only place where C pointers become references.
//!
//! Every exported function is `extern "C"`, has its body in `guard` (no panic crosses), returns a status, and writes its out-parameters
//! only when it returns [`TASKRING_OK`](taskring_status::TASKRING_OK) or says otherwise. A handle is a number and never read
//! through: one that was freed, or made up, is a typed error. Structs begin with their size, so a caller built against an older header
//! works on.

#![allow(non_camel_case_types, reason = "these are the names of the C header")]

mod call;
mod completions;
mod context;
mod events;
mod future;
mod handle;
mod init;
mod inside;
mod loan;
mod log;
mod map;
mod multi;
mod pool;
mod progress;
mod promise;
mod set;
mod setup;
mod status;
mod steer;
mod submit;
mod target;

use crate::error::Error;
use status::Fault;
use std::ffi::{CStr, c_char, c_void};
use std::time::Duration;

pub use call::*;
pub use completions::*;
pub use context::*;
pub use events::*;
pub use future::*;
pub use init::*;
pub use inside::*;
pub use loan::*;
pub use log::*;
pub use map::*;
pub use multi::*;
pub use pool::*;
pub use progress::*;
pub use promise::*;
pub use set::*;
pub use setup::*;
pub use status::*;
pub use steer::*;
pub use submit::*;
pub use target::*;

/// The time that never comes: wait as long as it takes.
pub const TASKRING_INFINITE: u64 = u64::MAX;

/// Runs the body of an exported function. A panic inside is a defect of this library, and becomes a status.
fn guard(body: impl FnOnce() -> Result<(), Fault>) -> taskring_status {
    match crate::task::guarded(body) {
        Ok(Ok(())) => taskring_status::TASKRING_OK,
        Ok(Err(fault)) => status::remember(fault),
        Err(panic) => {
            status::remember(Fault::Panic(String::from_utf8_lossy(panic.get(4..).unwrap_or_default()).into_owned()))
        }
    }
}

/// The same for a function that returns a value and cannot fail.
fn guard_value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    crate::task::guarded(body).unwrap_or(otherwise)
}

fn null(name: &'static str) -> Fault {
    Error::invalid(name, "NULL", "a pointer").into()
}

/// Writes an out-parameter.
///
/// # Safety
/// `to` is NULL or valid for a write of `T`.
#[inline]
unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: not NULL, so valid for a write by this function's contract.
        unsafe { to.write(value) };
    }
}

/// Where a caller wants a copy of some bytes, and their number.
struct Buffer {
    data: *mut u8,
    capacity: usize,
    len: *mut usize,
}

impl Buffer {
    /// Refuses NULL, but for a buffer without room.
    ///
    /// # Safety
    /// For as long as the value lives: `data` is NULL or valid for writes of `capacity` bytes that nobody else uses; `len` is NULL or valid for a write.
    #[inline]
    unsafe fn new(data: *mut c_void, capacity: usize, len: *mut usize) -> Result<Buffer, Fault> {
        if data.is_null() && capacity != 0 {
            return Err(null("buffer"));
        }
        Ok(Buffer { data: data.cast(), capacity, len })
    }

    /// Copies bytes into it, or says that there is no room; tells their number in both cases.
    #[inline]
    fn fill(&self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > self.capacity {
            return Err(self.too_small(bytes.len()));
        }
        // SAFETY: by the contract of `new`.
        unsafe { put(self.len, bytes.len()) };
        if !bytes.is_empty() {
            // SAFETY: so many bytes fit, and so the buffer is not NULL; it is the caller's, by the contract of `new`, and cannot overlap with ours.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data, bytes.len()) };
        }
        Ok(())
    }

    /// What there is to say when there are more bytes than it has room for; tells their number.
    #[cold]
    fn too_small(&self, needed: usize) -> Fault {
        // SAFETY: by the contract of `new`.
        unsafe { put(self.len, needed) };
        Fault::TooSmall { needed, given: self.capacity }
    }
}

/// Bytes from C. NULL with a length of 0 is no bytes.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes that nobody writes to for as long as `'a`.
#[inline]
unsafe fn bytes<'a>(name: &'static str, data: *const c_void, len: usize) -> Result<&'a [u8], Fault> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null(name));
    }
    if isize::try_from(len).is_err() {
        return Err(Error::PayloadTooLarge { len: len as u64, max: crate::limits::PAYLOAD_LEN_MAX as u64 }.into());
    }
    // SAFETY: not NULL and of a possible length, so valid by this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// Text from C.
///
/// # Safety
/// `text` is NULL or points to a string that ends with a zero byte and that nobody writes to for as long as `'a`.
unsafe fn text<'a>(name: &'static str, text: *const c_char) -> Result<&'a str, Fault> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, so a string by this function's contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Error::invalid(name, format!("{text:?}"), "UTF-8 text").into())
}

/// A struct of the header that begins with its size, and for which all bits zero means the defaults.
///
/// # Safety
/// `#[repr(C)]`; the first field is a `u32`, the size; every bit pattern is a valid value.
unsafe trait Sized32: Copy {}

/// The largest struct that a caller may pass: larger than this, the size is garbage.
const STRUCT_SIZE_MAX: usize = 4096;

/// Copies a struct from a caller that may have been built against an older header (shorter) or a newer one (longer, and then the rest
/// must be zero: it asks for nothing that we do not know).
///
/// # Safety
/// `from` is NULL or points to a `u32` that says how many bytes from there on may be read.
unsafe fn read_struct<T: Sized32>(name: &'static str, from: *const T) -> Result<Option<T>, Fault> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so there is a `u32` by this function's contract.
    let size = unsafe { from.cast::<u32>().read_unaligned() } as usize;
    if !(8..=STRUCT_SIZE_MAX).contains(&size) {
        return Err(
            Error::invalid(name, format!("a struct of size {size}"), "struct_size set, as the INIT macro does").into()
        );
    }
    // SAFETY: `size` bytes may be read, by this function's contract.
    let all = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) };
    let (known, unknown) = all.split_at(size.min(size_of::<T>()));
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(
            Error::invalid(name, format!("a struct of size {size} with fields of a newer header"), size_of::<T>()).into()
        );
    }
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `known` is no longer than `T`, and the two do not overlap. All other bytes are zero, and any bits are a valid `T`.
    let value = unsafe {
        std::ptr::copy_nonoverlapping(known.as_ptr(), value.as_mut_ptr().cast::<u8>(), known.len());
        value.assume_init()
    };
    Ok(Some(value))
}

/// A time span of the header: no limit for [`TASKRING_INFINITE`].
#[inline]
fn timeout(ns: u64) -> Option<Duration> {
    (ns != TASKRING_INFINITE).then(|| Duration::from_nanos(ns))
}
