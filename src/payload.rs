//! Payload blocks: arguments and results that do not fit into a slot.
//!
//! The payload area is cut into blocks of fixed size classes, each with a descriptor whose owner word says who holds it:
//!
//! ```text
//! 63    60 59       32 31        0
//! 0                                free
//! 1        0           participant
//! 2        slot number generation
//! ```
//! A block changes hands by a compare-and-swap from the exact owner word, and always *before* the slot word that completes the
//! hand-over: participant -> slot, then FREE -> PENDING or RUNNING -> DONE. So a block that names a slot is garbage exactly when
//! the slot's generation has moved on, or (looked at under the lane's mutex, which its publisher held) the slot is free at that very
//! generation. A block that names a dead participant is garbage when that participant is reaped. Freeing comes after the slot.
//!
//! New blocks are carved from the end of the area under a mutex. The store that counts a block makes it exist; what a dead
//! carver left undone after that (the link into its class) is done by the next one.

use crate::error::{Error, Result};
use crate::layout::Block;
use crate::limits::*;
use crate::mutex::ShmMutex;
use crate::registry::Member;
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::Arc;

/// Looks at blocks in use before a new one is carved.
const LOOKS_MAX: usize = 64;

/// Who holds a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    Participant(Participant),
    Slot { number: u32, generation: u32 },
}

/// In an owner word: where what kind of holder it names stands, and the bits of a slot's number below.
const TAG_SHIFT: u32 = 60;
const NUMBER_MASK: u32 = (1 << (TAG_SHIFT - 32)) - 1;

impl Holder {
    fn bits(self) -> u64 {
        match self {
            Holder::Nobody => 0,
            Holder::Participant(who) => 1 << TAG_SHIFT | u64::from(who.bits()),
            Holder::Slot { number, generation } => {
                2 << TAG_SHIFT | u64::from(number & NUMBER_MASK) << 32 | u64::from(generation)
            }
        }
    }
    fn from_bits(bits: u64) -> Option<Holder> {
        Some(match bits >> TAG_SHIFT {
            0 if bits == 0 => Holder::Nobody,
            1 => Holder::Participant(Participant::from_bits(bits as u16)),
            2 => Holder::Slot { number: (bits >> 32) as u32 & NUMBER_MASK, generation: bits as u32 },
            _ => return None,
        })
    }
}

/// A block held by this participant; freed when dropped, unless it was handed over.
pub(crate) struct Lease<'a> {
    member: &'a Member,
    index: u32,
}

impl Lease<'_> {
    /// What a slot calls this block.
    pub(crate) fn name(&self) -> u32 {
        self.index + 1
    }

    /// Fills the block.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        let to = self.member.segment.block_bytes(self.name(), bytes.len())?;
        // SAFETY: `block_bytes` has checked that the block lies in committed payload memory and takes `bytes.len()` bytes. Its
        // owner word names this participant, so nobody else reads or writes it; `bytes` is private memory and cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Hands the block to a slot. The slot word must follow.
    pub(crate) fn hand_to(self, number: u32, generation: u32) -> bool {
        let from = Holder::Participant(self.member.who());
        let handed = self.member.segment.pass_block(self.name(), from, Holder::Slot { number, generation });
        std::mem::forget(self);
        handed
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.member.segment.free_block(self.name(), Holder::Participant(self.member.who()));
    }
}

/// A block held by this participant for as long as the value lives: one lent to the program, or a result that it reads where it lies.
pub(crate) struct Held {
    segment: Arc<Segment>,
    who: Participant,
    side: u32,
    name: u32,
    len: usize,
}

impl Held {
    /// Takes over a lease of a block, of which `len` bytes are meant.
    pub(crate) fn from_lease(lease: Lease<'_>, len: usize) -> Held {
        let (segment, who, name) = (lease.member.segment.clone(), lease.member.who(), lease.name());
        std::mem::forget(lease);
        Held { segment, who, side: crate::fork::side(), name, len }
    }

    /// Takes a result's block from a finished slot that the caller has taken; `None` when the slot does not hold it.
    pub(crate) fn from_slot(member: &Member, name: u32, len: usize, number: u32, generation: u32) -> Option<Held> {
        let taken = member.segment.pass_block(name, Holder::Slot { number, generation }, Holder::Participant(member.who()));
        taken.then(|| Held { segment: member.segment.clone(), who: member.who(), side: crate::fork::side(), name, len })
    }

    /// Gives it back as a lease, for a submit.
    pub(crate) fn into_lease(self, member: &Member) -> Lease<'_> {
        let index = self.name - 1;
        // Only its count of the segment is dropped.
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again and not dropped, so the count is read out once.
        drop(unsafe { std::ptr::read(&this.segment) });
        Lease { member, index }
    }

    /// The bytes that are meant.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where they lie.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the block's descriptor is impossible.
    pub(crate) fn bytes(&self) -> Result<*mut u8> {
        self.segment.block_bytes(self.name, self.len)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A forked child has a copy of this value, but not the block.
        if self.side == crate::fork::side() {
            self.segment.free_block(self.name, Holder::Participant(self.who));
        }
    }
}

fn class_of(len: usize) -> Option<usize> {
    if len > PAYLOAD_LEN_MAX {
        return None;
    }
    let shift = len.max(1).next_power_of_two().trailing_zeros().max(BLOCK_SHIFT_MIN);
    Some((shift - BLOCK_SHIFT_MIN) as usize)
}

fn class_len(class: u32) -> Option<u64> {
    ((class as usize) < BLOCK_CLASSES).then(|| 1 << (BLOCK_SHIFT_MIN + class))
}

impl Segment {
    /// The blocks that exist.
    fn carved_blocks(&self) -> &[Block] {
        // Acquire: pairs with the store that counted the last block.
        let carved = self.header().payload.carved.load(Acquire) as usize;
        &self.blocks()[..carved.min(BLOCKS_MAX)]
    }

    pub(crate) fn block(&self, name: u32) -> Option<&Block> {
        self.carved_blocks().get((name as usize).checked_sub(1)?)
    }

    /// Where a block's bytes lie, if it takes `len` of them. Everything read from shared memory is checked here.
    pub(crate) fn block_bytes(&self, name: u32, len: usize) -> Result<*mut u8> {
        let corrupt = || Error::Corrupt { what: format!("payload block {name} of {len} bytes") };
        let block = self.block(name).ok_or_else(corrupt)?;
        let size = class_len(block.class.load(Relaxed)).ok_or_else(corrupt)?;
        let offset = block.offset.load(Relaxed);
        if seeded(Bug::NoBounds) {
            return Ok(self.payload(offset, len));
        }
        let end = offset.checked_add(size).ok_or_else(corrupt)?;
        // Acquire: pairs with `commit_for`: the memory is there.
        if len as u64 > size || end > self.geometry().payload_len || end > self.header().payload.committed.load(Acquire) {
            return Err(corrupt());
        }
        Ok(self.payload(offset, len))
    }

    /// Whether `holder` holds a block of that name.
    pub(crate) fn holds_block(&self, name: u32, holder: Holder) -> bool {
        // Acquire: pairs with the exchange by which it came to hold it.
        self.block(name).is_some_and(|b| b.owner.load(Acquire) == holder.bits())
    }

    pub(crate) fn pass_block(&self, name: u32, from: Holder, to: Holder) -> bool {
        // AcqRel: pairs with the next holder's exchange: the bytes written by one holder are visible to the next.
        self.block(name).is_some_and(|b| b.owner.compare_exchange(from.bits(), to.bits(), AcqRel, Relaxed).is_ok())
    }

    /// Frees a block that `from` holds; nothing happens when it is held by anybody else, and then this is false.
    pub(crate) fn free_block(&self, name: u32, from: Holder) -> bool {
        if name == 0 || !self.pass_block(name, from, Holder::Nobody) {
            return false;
        }
        if let Some(block) = self.block(name)
            && let Some(hint) = self.header().payload.freed.get(block.class.load(Relaxed) as usize)
        {
            hint.store(name, Relaxed);
        }
        true
    }

    /// Frees what a slot of a past generation left behind.
    pub(crate) fn free_slot_blocks(&self, names: [u32; 2], number: u32, generation: u32) {
        for name in names {
            self.free_block(name, Holder::Slot { number, generation });
        }
    }

    /// Frees the blocks of a dead participant, and those that name a slot which has moved on.
    pub(crate) fn sweep_blocks(&self, dead: Option<Participant>) {
        for (index, block) in self.carved_blocks().iter().enumerate() {
            // Acquire: pairs with the swaps of the owner word.
            let Some(holder) = Holder::from_bits(block.owner.load(Acquire)) else { continue };
            let garbage = match holder {
                Holder::Nobody => false,
                Holder::Participant(who) => Some(who) == dead,
                Holder::Slot { number, generation } => self.slot_at(number).is_some_and(|(lane, slot)| {
                    crate::search::Rings::lane(self, lane).slots[slot].load().generation() != generation
                }),
            };
            if garbage {
                self.free_block(index as u32 + 1, holder);
            }
        }
    }

    /// Frees the blocks that name a free slot of this lane at its present generation: their publisher died between the hand-over and
    /// FREE -> PENDING. The caller holds the lane, so no living publisher is at that point.
    pub(crate) fn sweep_unpublished(&self, lane: usize, hold: &crate::ring::Hold<'_>) {
        let capacity = self.geometry().capacity;
        let free: std::collections::HashMap<u32, u32> =
            hold.free_slots().map(|(slot, state)| ((lane * capacity + slot) as u32, state.generation())).collect();
        for (index, block) in self.carved_blocks().iter().enumerate() {
            // Acquire: pairs with the swaps of the owner word.
            if let Some(Holder::Slot { number, generation }) = Holder::from_bits(block.owner.load(Acquire))
                && free.get(&number) == Some(&generation)
            {
                self.free_block(index as u32 + 1, Holder::Slot { number, generation });
            }
        }
    }

    /// The largest payload that this pool can take.
    pub(crate) fn payload_len_max(&self) -> u64 {
        let area = self.geometry().payload_len;
        (1 << area.max(1).ilog2()).min(PAYLOAD_LEN_MAX as u64)
    }

    /// Blocks in use, for statistics and tests.
    pub(crate) fn blocks_in_use(&self) -> usize {
        self.carved_blocks().iter().filter(|b| b.owner.load(Relaxed) != 0).count()
    }
}

impl Member {
    /// A block of at least `len` bytes.
    pub(crate) fn allocate(&self, len: usize) -> Result<Lease<'_>> {
        let area = self.segment.geometry().payload_len;
        let class = class_of(len).filter(|&c| class_len(c as u32).is_some_and(|size| size <= area));
        let class = class.ok_or(Error::PayloadTooLarge { len: len as u64, max: self.segment.payload_len_max() })?;
        // Acquire: as in `free_block`'s exchange; the hint itself may be wrong.
        let hint = self.segment.header().payload.freed[class].swap(0, Acquire);
        if hint != 0
            && let Some(lease) = self.take_block(hint, class)
        {
            return Ok(lease);
        }
        if let Some(lease) = self.find_block(class, LOOKS_MAX) {
            return Ok(lease);
        }
        let error = match self.carve(class) {
            Ok(lease) => return Ok(lease),
            Err(e @ (Error::OutOfMemory { .. } | Error::TooMany { .. })) => e,
            Err(e) => return Err(e),
        };
        // The area is used up: take what is garbage, look at every block, and give back what is free at the end before giving up.
        self.segment.sweep_blocks(None);
        if let Some(lease) = (class..BLOCK_CLASSES).find_map(|c| self.find_block(c, 2 * BLOCKS_MAX)) {
            return Ok(lease);
        }
        self.trim()?;
        self.carve(class).map_err(|_| error)
    }

    /// Takes the free blocks at the end of the area out of being, so that blocks of another class can be carved there.
    fn trim(&self) -> Result<()> {
        let payload = &self.segment.header().payload;
        let _guard = self.lock_blocks()?;
        loop {
            // Acquire: pairs with the Release stores of the count.
            let carved = payload.carved.load(Acquire);
            let Some(last) = carved.checked_sub(1) else { return Ok(()) };
            let Some(block) = self.segment.blocks().get(last as usize) else {
                return Err(self.segment.poison(format!("the count of payload blocks, {carved}")));
            };
            let mine = Holder::Participant(self.who());
            if !self.segment.pass_block(carved, Holder::Nobody, mine) {
                return Ok(());
            }
            let class = (block.class.load(Relaxed) as usize).min(BLOCK_CLASSES - 1);
            // Out of its class first: one that exists and is in no class is linked again by the next carver.
            if payload.newest[class].load(Relaxed) == carved {
                // Release: pairs with the Acquire of who walks the class.
                payload.newest[class].store(block.next.load(Relaxed), Release);
            }
            // Release: pairs with `carved_blocks`.
            payload.carved.store(last, Release);
        }
    }

    fn lock_blocks(&self) -> Result<crate::mutex::Guard<'_>> {
        ShmMutex(&self.segment.header().blocks_mutex).lock(self.who(), self).map_err(|s| self.stalled(s))
    }

    fn take_block(&self, name: u32, class: usize) -> Option<Lease<'_>> {
        let block = self.segment.block(name)?;
        let is_right = || block.class.load(Relaxed) as usize == class;
        if !is_right() || !self.segment.pass_block(name, Holder::Nobody, Holder::Participant(self.who())) {
            return None;
        }
        let lease = Lease { member: self, index: name - 1 };
        // Again, now that it is ours: it may have been trimmed and carved anew in another class meanwhile.
        is_right().then_some(lease)
    }

    /// Looks along the blocks of a class, going on where the last search ended: blocks come free about in the order in which they
    /// were taken, so the next free one is near.
    fn find_block(&self, class: usize, looks: usize) -> Option<Lease<'_>> {
        let payload = &self.segment.header().payload;
        let is_of_class = |name: &u32| self.segment.block(*name).is_some_and(|b| b.class.load(Relaxed) as usize == class);
        let mut name = Some(payload.cursor[class].load(Relaxed)).filter(is_of_class).unwrap_or(0);
        for _ in 0..looks.min(2 * self.segment.carved_blocks().len()) {
            if name == 0 {
                // Acquire: pairs with the link in `carve_locked`.
                name = payload.newest[class].load(Acquire);
            }
            let block = self.segment.block(name)?;
            let next = block.next.load(Relaxed);
            if block.owner.load(Relaxed) == 0
                && let Some(lease) = self.take_block(name, class)
            {
                payload.cursor[class].store(next, Relaxed);
                return Some(lease);
            }
            name = next;
        }
        payload.cursor[class].store(name, Relaxed);
        None
    }

    fn carve(&self, class: usize) -> Result<Lease<'_>> {
        let payload = &self.segment.header().payload;
        let size = class_len(class as u32).expect("a class of the table");
        loop {
            // Acquire: pairs with the Release stores of the count.
            let carved = payload.carved.load(Acquire) as usize;
            if carved >= BLOCKS_MAX {
                return Err(Error::TooMany { what: "payload blocks", max: BLOCKS_MAX });
            }
            let end = self.payload_end(carved)?;
            let available = self.segment.geometry().payload_len.saturating_sub(end);
            if size > available {
                return Err(Error::OutOfMemory { what: "payload", needed: size, available });
            }
            self.commit_for(carved, end + size)?;
            let guard = self.lock_blocks()?;
            // After a trim the same count may have another end.
            // Acquire: as above.
            let same = payload.carved.load(Acquire) as usize == carved && self.payload_end(carved)? == end;
            if same && !self.can_carve(carved) {
                drop(guard);
                return Err(self.segment.poison(format!("the count of payload blocks, {carved}")));
            }
            let lease = same.then(|| self.carve_locked(carved, end, class));
            drop(guard);
            if let Some(lease) = lease {
                return Ok(lease);
            }
        }
    }

    fn payload_end(&self, carved: usize) -> Result<u64> {
        let Some(last) = carved.checked_sub(1) else { return Ok(0) };
        let last = &self.segment.blocks()[last];
        let size = class_len(last.class.load(Relaxed));
        let end = size.and_then(|size| last.offset.load(Relaxed).checked_add(size));
        end.ok_or_else(|| Error::Corrupt { what: format!("payload block {carved}") })
    }

    /// Whether the count may be right: each block begins where the one before ends, no class knows a later one, and no task has the next. Else a
    /// block would be carved out of others' bytes.
    fn can_carve(&self, carved: usize) -> bool {
        let payload = &self.segment.header().payload;
        let blocks = self.segment.blocks();
        let begins = |index: usize| match index.checked_sub(1).map(|before| &blocks[before]) {
            None => Some(0),
            Some(before) => class_len(before.class.load(Relaxed))?.checked_add(before.offset.load(Relaxed)),
        };
        let in_line = carved == 0 || begins(carved - 1) == Some(blocks[carved - 1].offset.load(Relaxed));
        let known = payload.newest.iter().all(|newest| newest.load(Relaxed) as usize <= carved);
        let next = Holder::from_bits(blocks[carved].owner.load(Relaxed));
        in_line && known && matches!(next, Some(Holder::Nobody | Holder::Participant(_)))
    }

    /// Commits the descriptor and the bytes of the next block, outside the lock, for it may block. Repeating it is harmless.
    fn commit_for(&self, carved: usize, end: u64) -> Result<()> {
        const DESCRIPTORS: usize = 4096;
        if carved.is_multiple_of(DESCRIPTORS) {
            let at = self.segment.geometry().blocks_at() + (carved * size_of::<Block>()) as u64;
            self.segment.commit(at, (DESCRIPTORS * size_of::<Block>()) as u64, "payload descriptors")?;
        }
        let payload = &self.segment.header().payload;
        // Acquire: pairs with the AcqRel below.
        let committed = payload.committed.load(Acquire);
        if committed < end {
            let goal = end.max(committed + COMMIT_STEP).min(self.segment.geometry().payload_len);
            self.segment.commit(self.segment.geometry().payload_at() + committed, goal - committed, "payload")?;
            // AcqRel: pairs with the Acquire in `block_bytes`: whoever sees the length may touch the memory.
            payload.committed.fetch_max(goal, AcqRel);
        }
        Ok(())
    }

    fn carve_locked(&self, carved: usize, offset: u64, class: usize) -> Lease<'_> {
        let payload = &self.segment.header().payload;
        let blocks = self.segment.blocks();
        if let Some(last) = carved.checked_sub(1) {
            // A carver that died between its two stores left the last block out of its class.
            let class = (blocks[last].class.load(Relaxed) as usize).min(BLOCK_CLASSES - 1);
            if payload.newest[class].load(Relaxed) == blocks[last].next.load(Relaxed) {
                // Release: pairs with the Acquire of who walks the class.
                payload.newest[class].store(last as u32 + 1, Release);
            }
        }
        let block = &blocks[carved];
        block.owner.store(Holder::Participant(self.who()).bits(), Relaxed);
        block.offset.store(offset, Relaxed);
        block.class.store(class as u32, Relaxed);
        block.next.store(payload.newest[class].load(Relaxed), Relaxed);
        // Release: pairs with `carved_blocks`: whoever counts the block sees its fields.
        payload.carved.store(carved as u32 + 1, Release);
        // Release: pairs with `find_block`.
        payload.newest[class].store(carved as u32 + 1, Release);
        Lease { member: self, index: carved as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_round_trip_and_nothing_else_is_one() {
        let holders = [
            Holder::Nobody,
            Holder::Participant(Participant::new(255, 63)),
            Holder::Slot { number: NUMBER_MASK, generation: u32::MAX },
            Holder::Slot { number: 0, generation: 0 },
        ];
        for holder in holders {
            assert_eq!(Holder::from_bits(holder.bits()), Some(holder));
        }
        assert_eq!(Holder::from_bits(7), None);
        assert_eq!(Holder::from_bits(3 << TAG_SHIFT), None);
    }

    #[test]
    fn classes_hold_what_they_are_chosen_for() {
        for len in [0, 1, 255, 256, 257, 4096, (64 << 20) - 1, 64 << 20, PAYLOAD_LEN_MAX] {
            let class = class_of(len).unwrap();
            let size = class_len(class as u32).unwrap();
            assert!(size >= len as u64 && (size < 2 * len as u64 || size == 256), "{len} -> {size}");
        }
        assert_eq!(class_of(PAYLOAD_LEN_MAX + 1), None);
        assert_eq!(class_len(BLOCK_CLASSES as u32), None);
    }
}
