//! Argument blocks that the caller fills in place.

use super::pool::{executor, taskring_pool};
use super::status::taskring_status;
use super::submit::{checked_function, read_options, taskring_options, ticket_number, when_full};
use super::{guard, null, put};
use std::ffi::c_void;

/// Lends a block of shared memory for `len` bytes of arguments, aligned to 16 bytes, with whatever it held before: fill it and submit it with
/// taskring_submit_loan, which copies nothing. A loan that is neither submitted nor given back keeps its memory until the pool is freed.
///
/// Returns TASKRING_OK and writes `*loan` and `*data`; TASKRING_INVALID_ARGUMENT, TASKRING_PAYLOAD_TOO_LARGE, TASKRING_OUT_OF_MEMORY,
/// TASKRING_TOO_MANY, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `loan` and `data` are NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_loan(
    pool: *mut taskring_pool,
    len: usize,
    loan: *mut u64,
    data: *mut *mut c_void,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?.pool();
        if loan.is_null() || data.is_null() {
            return Err(null(if loan.is_null() { "loan" } else { "data" }));
        }
        pool.member.check_fork()?;
        let (number, at) = pool.lend(len)?;
        // SAFETY: as this function's contract says.
        unsafe {
            put(loan, number);
            put(data, at.cast());
        }
        Ok(())
    })
}

/// Submits a task whose arguments are the first `len` bytes of a loan. The block belongs to the task from then on: do not touch it. When it was
/// not submitted, the loan stays as it is.
///
/// Returns as taskring_submit_timed; TASKRING_INVALID_ARGUMENT also for a loan that was submitted or given back, and when `len` is more than was
/// lent.
///
/// # Safety
/// `pool` is NULL or a handle of this library; `options` is NULL or points to options; `ticket` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_submit_loan(
    pool: *mut taskring_pool,
    function: u32,
    loan: u64,
    len: usize,
    options: *const taskring_options,
    timeout_ns: u64,
    ticket: *mut u64,
) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let (executor, options) = unsafe { (executor(pool)?, read_options(options)?) };
        if ticket.is_null() {
            return Err(null("ticket"));
        }
        executor.pool().member.check_fork()?;
        let request = options.request(executor, checked_function(executor, function)?)?;
        let done =
            executor.pool().submit_loan(&request, options.submit.rule(executor.pool()), loan, len, when_full(timeout_ns))?;
        options.submit.note_submitted(executor.pool(), 1);
        options.deliver(pool, executor, 0, done);
        // SAFETY: as this function's contract says.
        unsafe { put(ticket, ticket_number(done)) };
        Ok(())
    })
}

/// Gives a loan back unsubmitted.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT, TASKRING_FORKED.
///
/// # Safety
/// `pool` is NULL or a handle of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_loan_return(pool: *mut taskring_pool, loan: u64) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let pool = unsafe { executor(pool) }?.pool();
        pool.member.check_fork()?;
        pool.take_loan(loan)?;
        Ok(())
    })
}
