//! Loans: payload blocks that the program fills itself and then submits, so large arguments are never copied.
//!
//! A lent block is held by this participant, so it comes back when this process dies, and at the latest when its pool is let go. A submit that fails
//! leaves the loan as it is.

use crate::error::{Error, Result};
use crate::limits::PAYLOAD_LEN_MAX;
use crate::payload::Held;
use crate::pool::{Pool, Ticket, lock};
use crate::retry::Rule;
use crate::slot::Request;
use crate::submit::{Ready, WhenFull};
use std::collections::HashMap;

/// The blocks that a submitter has lent to its program.
#[derive(Default)]
pub(crate) struct Loans {
    blocks: HashMap<u64, Held>,
    last: u64,
}

impl Loans {
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }
}

impl Pool {
    /// Lends a block of `len` bytes: its number, and where it lies until it is submitted or given back.
    pub(crate) fn lend(&self, len: usize) -> Result<(u64, *mut u8)> {
        if len > PAYLOAD_LEN_MAX {
            return Err(Error::PayloadTooLarge { len: len as u64, max: PAYLOAD_LEN_MAX as u64 });
        }
        let held = Held::from_lease(self.allocate(len)?, len);
        let at = held.bytes()?;
        let mut loans = lock(&self.loans);
        loans.last += 1;
        let number = loans.last;
        loans.blocks.insert(number, held);
        Ok((number, at))
    }

    /// Takes a loan back.
    pub(crate) fn take_loan(&self, number: u64) -> Result<Held> {
        let held = lock(&self.loans).blocks.remove(&number);
        held.ok_or_else(|| Error::invalid("loan", number, "one that was neither submitted nor given back"))
    }

    /// Publishes the first `len` bytes of a loan as a task's arguments.
    pub(crate) fn submit_loan(
        &self,
        request: &Request,
        rule: Rule,
        number: u64,
        len: usize,
        when_full: WhenFull,
    ) -> Result<Ticket> {
        let held = self.take_loan(number)?;
        let room = held.len();
        if len > room {
            lock(&self.loans).blocks.insert(number, held);
            return Err(Error::invalid("len", len, format!("up to the {room} bytes of the loan")));
        }
        let mut ready = Ready::in_block(request, rule, held.into_lease(&self.member), len);
        let submitted = self.submit(&mut ready, when_full);
        if let Some(lease) = ready.into_block() {
            // Not published: the program keeps it, bytes and all.
            lock(&self.loans).blocks.insert(number, Held::from_lease(lease, room));
        }
        submitted
    }
}
