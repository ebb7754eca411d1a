//! The victims' operations on payload blocks that only the C interface has: loans, and results read where they lie.

use crate::board::{Note, note, place};
use crate::operations::{BLOCK, echo};
use crate::trace::{begin_window, end_window};
use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};
use taskring::Payload;
use taskring::ffi::{self, TASKRING_INFINITE, taskring_pool, taskring_status};

/// What a row of `loan` or `view` does.
pub fn perform(operation: &str, context: &str) -> ! {
    let (pool, function) = attach();
    let len = if context == "inline" { 1 } else { BLOCK };
    let mut args = Vec::new();
    (place().board.clone(), 1_u64, vec![1_u8; len]).encode(&mut args).expect("encoded");
    let (mut loan, mut data, mut ticket) = (0, null_mut(), 0);
    // SAFETY: a living handle; all pointers are to live locals, and the bytes that are lent have room for the arguments.
    unsafe {
        if context == "lent" {
            begin_window();
            good(ffi::taskring_loan(pool, args.len(), &raw mut loan, &raw mut data));
            end_window();
        }
        good(ffi::taskring_loan(pool, args.len(), &raw mut loan, &raw mut data));
        std::ptr::copy_nonoverlapping(args.as_ptr(), data.cast::<u8>(), args.len());
        if context == "given back" {
            begin_window();
            good(ffi::taskring_loan_return(pool, loan));
            end_window();
        }
        if operation == "loan" {
            begin_window();
        }
        good(ffi::taskring_submit_loan(pool, function, loan, args.len(), null(), TASKRING_INFINITE, &raw mut ticket));
        note(1, Note::Accepted);
        if operation == "loan" {
            end_window();
        }
        good(ffi::taskring_wait(pool, ticket, TASKRING_INFINITE));
        let (mut result, mut found) = (null::<c_void>(), 0);
        begin_window();
        good(ffi::taskring_view(pool, ticket, TASKRING_INFINITE, &raw mut result, &raw mut found));
    }
    end_window()
}

fn good(status: taskring_status) {
    assert_eq!(status, taskring_status::TASKRING_OK);
}

fn attach() -> (*mut taskring_pool, u32) {
    let text = |text: &str| CString::new(text).expect("a text");
    let (mut pool, mut function) = (null_mut(), 0);
    // SAFETY: the texts live for the calls, and both places are live locals.
    unsafe {
        good(ffi::taskring_attach(text(&place().pool).as_ptr(), &raw mut pool));
        good(ffi::taskring_function(pool, text(echo.name()).as_ptr(), &raw mut function));
    }
    (pool, function)
}
