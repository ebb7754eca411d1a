//! Handles: what a `taskring_pool *` is. Not an address but a number, of a cell in a table and of the cell's use: so a handle that was freed, of
//! another kind, or made up is told as such, and is never read through. A freed cell is used again.
//!
//! ```text
//! 63         32 31        8 7    0
//! use           cell        kind
//! ```

use super::status::Fault;
use crate::error::Error;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32};
use std::sync::{Mutex, OnceLock};

const CHUNK: usize = 256;
const CHUNKS: usize = 4096;

/// What handles stand for.
pub(super) trait Kind: Send + Sync + 'static {
    /// Tells kinds apart: one of each, and never 0.
    const KIND: u8;
    /// The parameter's name, for messages.
    const NAME: &'static str;
}

#[derive(Default)]
struct Cell {
    /// Odd while the cell holds a value.
    uses: AtomicU32,
    kind: AtomicU32,
    value: AtomicPtr<()>,
}

static TABLE: [OnceLock<Box<[Cell]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
/// Cells that were freed, and how many there are at all.
static SPARE: Mutex<(Vec<u32>, u32)> = Mutex::new((Vec::new(), 0));

#[inline]
fn cell(index: u32) -> Option<&'static Cell> {
    TABLE.get(index as usize / CHUNK)?.get()?.get(index as usize % CHUNK)
}

/// A new handle.
pub(super) fn new<T: Kind, H>(value: T) -> Result<*mut H, Fault> {
    let index = {
        let mut spare = crate::pool::lock(&SPARE);
        if spare.0.is_empty() {
            let chunk =
                TABLE.get(spare.1 as usize / CHUNK).ok_or(Error::TooMany { what: "handles", max: CHUNK * CHUNKS })?;
            chunk.get_or_init(|| (0..CHUNK).map(|_| Cell::default()).collect());
            spare.1 += 1;
            spare.1 - 1
        } else {
            spare.0.swap_remove(0)
        }
    };
    let cell = cell(index).expect("made above");
    cell.value.store(Box::into_raw(Box::new(value)).cast(), Relaxed);
    cell.kind.store(u32::from(T::KIND), Relaxed);
    let uses = cell.uses.load(Relaxed).wrapping_add(1);
    // Release: pairs with the Acquire in `find`.
    cell.uses.store(uses, Release);
    let number = u64::from(uses) << 32 | u64::from(index) << 8 | u64::from(T::KIND);
    Ok(std::ptr::without_provenance_mut(number as usize))
}

/// The cell that a handle names, and the use it names.
#[inline]
fn find<T: Kind, H>(handle: *const H) -> Result<(&'static Cell, u32, u32), Fault> {
    let number = handle.addr() as u64;
    if number == 0 {
        return Err(super::null(T::NAME));
    }
    let (uses, index) = ((number >> 32) as u32, (number >> 8) as u32 & 0xff_ffff);
    let known = cell(index).filter(|_| number as u8 == T::KIND && uses & 1 == 1);
    let Some(cell) = known else {
        return Err(Error::invalid(T::NAME, "no such handle of this library", "a live one").into());
    };
    // Acquire: pairs with the Release in `new`.
    let is_current = cell.uses.load(Acquire) == uses;
    // A number with another kind in it may name a living cell.
    if is_current && cell.kind.load(Relaxed) == u32::from(T::KIND) { Ok((cell, index, uses)) } else { Err(freed::<T>()) }
}

fn freed<T: Kind>() -> Fault {
    Error::invalid(T::NAME, "a handle that was freed", "a live one").into()
}

/// What a handle from C stands for.
///
/// # Safety
/// The handle is not freed while the result is used.
#[inline]
pub(super) unsafe fn get<'a, T: Kind, H>(handle: *const H) -> Result<&'a T, Fault> {
    let (cell, ..) = find::<T, H>(handle)?;
    // SAFETY: the cell is in this use, whose value is a `T` by the cell's kind; it is dropped only by `take`, which ends the use, and that does
    // not happen while the reference is used, by this function's contract. Nobody writes to it.
    Ok(unsafe { &*cell.value.load(Relaxed).cast::<T>() })
}

/// Ends a handle and gives what it stood for. NULL gives nothing.
///
/// # Safety
/// No other call with this handle is going on.
pub(super) unsafe fn take<T: Kind, H>(handle: *mut H) -> Result<Option<T>, Fault> {
    if handle.is_null() {
        return Ok(None);
    }
    let (cell, index, uses) = find::<T, H>(handle)?;
    // AcqRel: of two calls one ends the use; pairs with `find`.
    if cell.uses.compare_exchange(uses, uses.wrapping_add(1), AcqRel, Relaxed).is_err() {
        return Err(freed::<T>());
    }
    // SAFETY: `new` made it from a box of a `T`, and this call alone ended the use, while no other call was going on.
    let value = unsafe { Box::from_raw(cell.value.load(Relaxed).cast::<T>()) };
    crate::pool::lock(&SPARE).0.push(index);
    Ok(Some(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct A(u32);
    struct B;
    impl Kind for A {
        const KIND: u8 = 0xa1;
        const NAME: &'static str = "a";
    }
    impl Kind for B {
        const KIND: u8 = 0xb1;
        const NAME: &'static str = "b";
    }

    #[test]
    fn a_handle_is_good_from_new_to_take_and_for_its_kind() {
        for _ in 0..1000 {
            let handle: *mut u8 = new(A(7)).unwrap_or_else(|_| panic!("a handle"));
            let (same, twice): (*mut u8, *mut u8) = (handle, new(A(8)).unwrap_or_else(|_| panic!("a handle")));
            // SAFETY: no handle is used by anybody else, nor while it is taken.
            unsafe {
                assert_eq!(get::<A, _>(same).ok().map(|a| a.0), Some(7));
                assert!(get::<B, _>(same).is_err());
                let forged: *mut u8 = std::ptr::without_provenance_mut(same.addr() - 0xa1 + 0xb1);
                assert!(get::<B, _>(forged).is_err() && take::<B, _>(forged).is_err());
                assert_eq!(take::<A, _>(handle).ok().flatten().map(|a| a.0), Some(7));
                assert!(get::<A, _>(same).is_err() && take::<A, _>(same).is_err());
                let again: *mut u8 = new(A(9)).unwrap_or_else(|_| panic!("a handle"));
                assert!(get::<A, _>(same).is_err());
                assert!(take::<A, _>(again).is_ok() && take::<A, _>(twice).is_ok());
                for wild in [1_usize, 8, 0xa1, usize::MAX, 0x1_0000_00a1, 0x7fff_ffff_fff0] {
                    assert!(get::<A, u8>(std::ptr::without_provenance(wild)).is_err());
                }
            }
        }
        assert!(crate::pool::lock(&SPARE).1 < 1000, "cells are used again");
    }
}
