//! Our own paths through the C interface, to a worker that runs the same code.

use crate::common::affinity;
use crate::common::c_pool::{CPool, encoded};
use crate::ours::{self, BATCH, CAPACITY};
use std::collections::VecDeque;
use std::ffi::c_void;
use taskring::ffi::{self, taskring_status::TASKRING_OK};

impl CPool {
    /// One worker process on the second CPU.
    pub fn pinned(second: usize) -> CPool {
        let pool = CPool::new(ffi::TASKRING_SPAWN, CAPACITY, ours::square.name());
        let worker = pool.result(pool.submit(pool.function(ours::own_pid.name()), &[]));
        affinity::pin_process(worker as u32, second).expect("a living worker");
        pool
    }

    /// One task there and back, `count` times.
    pub fn round_trips(&self, count: u64) -> u64 {
        (0..count).fold(0, |sum, x| {
            let (bytes, len) = encoded(x);
            sum.wrapping_add(self.result(self.submit(self.square, &bytes[..len])))
        })
    }

    /// One submit for each task, behind a window.
    pub fn single(&self, window: usize, count: u64) -> u64 {
        let mut tickets = VecDeque::with_capacity(window);
        let mut sum = 0_u64;
        for x in 0..count {
            if tickets.len() == window {
                sum = sum.wrapping_add(self.result(tickets.pop_front().expect("a full window")));
            }
            let (bytes, len) = encoded(x);
            tickets.push_back(self.submit(self.square, &bytes[..len]));
        }
        tickets.into_iter().fold(sum, |sum, ticket| sum.wrapping_add(self.result(ticket)))
    }

    /// Batches, two of them under way.
    pub fn bulk(&self, count: u64) -> u64 {
        let mut under_way: VecDeque<Vec<u64>> = VecDeque::with_capacity(2);
        let (mut sum, mut next) = (0_u64, 0);
        let all =
            |sum: u64, batch: Vec<u64>| batch.into_iter().fold(sum, |sum, ticket| sum.wrapping_add(self.result(ticket)));
        while next < count {
            if under_way.len() == 2 {
                sum = all(sum, under_way.pop_front().expect("two batches"));
            }
            let end = count.min(next + BATCH);
            under_way.push_back(self.submit_bulk(next, end));
            next = end;
        }
        under_way.into_iter().fold(sum, all)
    }

    fn submit_bulk(&self, from: u64, to: u64) -> Vec<u64> {
        let numbers: Vec<([u8; 10], usize)> = (from..to).map(encoded).collect();
        let describe = |(bytes, len): &([u8; 10], usize)| ffi::taskring_bytes { data: bytes.as_ptr().cast(), len: *len };
        let args: Vec<ffi::taskring_bytes> = numbers.iter().map(describe).collect();
        let (mut tickets, mut submitted) = (vec![0_u64; args.len()], 0);
        // SAFETY: a live handle, `args.len()` descriptions of bytes that live, as many places for tickets, and a place for the count.
        let status = unsafe {
            let (args_at, tickets_at) = (args.as_ptr(), tickets.as_mut_ptr());
            let options = std::ptr::null();
            ffi::taskring_submit_bulk(self.pool, self.square, args_at, args.len(), options, tickets_at, &raw mut submitted)
        };
        assert_eq!((status, submitted), (TASKRING_OK, args.len()));
        tickets
    }

    /// Lends a block, has `fill` write it, and submits it to `function`.
    pub fn submit_loan(&self, function: u32, len: usize, fill: impl FnOnce(&mut [u8])) -> u64 {
        let (mut loan, mut data, mut ticket) = (0, std::ptr::null_mut::<c_void>(), 0);
        // SAFETY: a live handle, and places for the loan and for where it lies.
        assert_eq!(unsafe { ffi::taskring_loan(self.pool, len, &raw mut loan, &raw mut data) }, TASKRING_OK);
        // SAFETY: the block has `len` bytes, initialised by whoever had it before, and is ours alone until it is submitted.
        fill(unsafe { std::slice::from_raw_parts_mut(data.cast(), len) });
        let (options, timeout) = (std::ptr::null(), ffi::TASKRING_INFINITE);
        // SAFETY: a live handle, no options, and a place for the ticket.
        let status = unsafe { ffi::taskring_submit_loan(self.pool, function, loan, len, options, timeout, &raw mut ticket) };
        assert_eq!(status, TASKRING_OK);
        ticket
    }
}
