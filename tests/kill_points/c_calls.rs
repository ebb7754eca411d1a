//! The victims' operations that only the C interface has: loans, results read where they lie, and completion queues.

use crate::board::{Note, note, place};
use crate::operations::{BLOCK, echo};
use crate::trace::{begin_window, end_window};
use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use taskring::Payload;
use taskring::ffi::{self, TASKRING_INFINITE, taskring_completion, taskring_pool, taskring_status};

/// What a row of `loan`, `view` or `completions` does.
pub fn perform(operation: &str, context: &str) -> ! {
    let (pool, function) = attach();
    let len = if context == "inline" { 1 } else { BLOCK };
    if operation == "completions" {
        complete(pool, function, context);
    }
    let args = arguments(1, len);
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

/// Two tasks whose ends a queue tells.
fn complete(pool: *mut taskring_pool, function: u32, context: &str) -> ! {
    let (mut queue, mut tickets) = (null_mut(), [0; 2]);
    let mut ended: [MaybeUninit<taskring_completion>; 2] = [const { MaybeUninit::uninit() }; 2];
    // SAFETY: living handles; all pointers are to live locals, and what comes out of the queue is not read.
    unsafe {
        good(ffi::taskring_completions_new(&raw mut queue));
        for (ticket, id) in tickets.iter_mut().zip([1, 2]) {
            let args = arguments(id, 1);
            let (data, len) = (args.as_ptr().cast(), args.len());
            good(ffi::taskring_submit(pool, function, data, len, null(), ticket));
            note(id, Note::Accepted);
        }
        if context == "tasks added" {
            begin_window();
        }
        for ticket in tickets {
            good(ffi::taskring_completions_add(queue, pool, ticket, 0));
        }
        if context != "tasks added" {
            begin_window();
        }
        if context == "tasks taken" {
            let (mut all, mut count) = (0, 0);
            while all < 2 {
                good(ffi::taskring_completions_next(queue, TASKRING_INFINITE, ended.as_mut_ptr().cast(), 2, &raw mut count));
                all += count;
            }
        } else if context == "freed" {
            good(ffi::taskring_completions_free(queue));
        }
    }
    end_window()
}

/// Those of `echo`.
fn arguments(id: u64, len: usize) -> Vec<u8> {
    let mut args = Vec::new();
    (place().board.clone(), id, vec![id as u8; len]).encode(&mut args).expect("encoded");
    args
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
