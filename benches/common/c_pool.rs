//! One of our pools through the C interface, as a C program would use it.

use std::ffi::CString;
use taskring::ffi::{self, taskring_status::TASKRING_OK};

/// A pool as C holds it.
pub struct CPool {
    pub pool: *mut ffi::taskring_pool,
    /// The function that is measured.
    pub square: u32,
}

impl CPool {
    /// One worker, started in this way; `square` names the function that is measured. No capacity is the default one.
    pub fn new(method: u32, capacity: usize, square: &str) -> CPool {
        // SAFETY: a config is integers and pointers, for which zero means the defaults.
        let mut config: ffi::taskring_config = unsafe { std::mem::zeroed() };
        config.struct_size = size_of::<ffi::taskring_config>() as u32;
        (config.start_method, config.workers, config.capacity) = (method, 1, capacity as u32);
        let mut made = CPool { pool: std::ptr::null_mut(), square: 0 };
        // SAFETY: the config is complete, and the pool's place is valid for a write.
        assert_eq!(unsafe { ffi::taskring_create(&raw const config, &raw mut made.pool) }, TASKRING_OK);
        made.square = made.function(square);
        made
    }

    /// The number of a function.
    pub fn function(&self, name: &str) -> u32 {
        let name = CString::new(name).expect("no zero byte");
        let mut number = 0;
        // SAFETY: a live handle, a string, and a place for the number.
        assert_eq!(unsafe { ffi::taskring_function(self.pool, name.as_ptr(), &raw mut number) }, TASKRING_OK);
        number
    }

    pub fn submit(&self, function: u32, args: &[u8]) -> u64 {
        let mut ticket = 0;
        // SAFETY: a live handle, bytes with their length, no options, and a place for the ticket.
        let status = unsafe {
            let args_at = args.as_ptr().cast();
            ffi::taskring_submit(self.pool, function, args_at, args.len(), std::ptr::null(), &raw mut ticket)
        };
        assert_eq!(status, TASKRING_OK);
        ticket
    }

    /// The result's number, as the worker encodes that of a Rust function.
    pub fn result(&self, ticket: u64) -> u64 {
        let (bytes, len) = self.result_bytes(ticket);
        bytes[..len].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
    }

    /// The same of a C function that gives it as it lies in memory.
    pub fn result_u64(&self, ticket: u64) -> u64 {
        let (bytes, len) = self.result_bytes(ticket);
        u64::from_le_bytes(bytes[..len].try_into().expect("eight bytes"))
    }

    fn result_bytes(&self, ticket: u64) -> ([u8; 16], usize) {
        let (mut bytes, mut len) = ([0_u8; 16], 0);
        // SAFETY: a live handle, a buffer with its length, and a place for the result's length.
        let status = unsafe {
            let buffer = bytes.as_mut_ptr().cast();
            ffi::taskring_result(self.pool, ticket, ffi::TASKRING_INFINITE, buffer, bytes.len(), &raw mut len)
        };
        assert_eq!(status, TASKRING_OK);
        (bytes, len)
    }
}

impl Drop for CPool {
    fn drop(&mut self) {
        // SAFETY: a live handle, and nobody else uses it.
        assert_eq!(unsafe { ffi::taskring_free(self.pool) }, TASKRING_OK);
    }
}

/// A number as the worker reads it: seven bits in each byte, the least first, all but the last marked.
pub fn encoded(x: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut len, mut rest) = ([0_u8; 10], 0, x);
    loop {
        bytes[len] = (rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 };
        len += 1;
        rest >>= 7;
        if rest == 0 {
            return (bytes, len);
        }
    }
}
