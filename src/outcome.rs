//! How a task ended: the outcome word in its slot, and the result as a process keeps it once it has been collected.
//!
//! ```text
//! outcome   31      16 15      8 7      0
//!           code:16    cause:8   kind:8        cause and code only of a lost task, whose worker's pid lies in `result_block`
//!                                               and its number, plus one, in `result_len`: 0 when it has none
//! ```

use crate::error::{Cause, Error, Result, Stage, TaskSource};
use crate::layout::Slot;
use crate::limits::{INLINE_MAX, WORKERS_MAX};
use crate::payload::{Held, Lease};
use crate::registry::Member;
use crate::segment::Segment;
use crate::slot::Request;
use crate::sync::Ordering::Relaxed;
use crate::target::Target;
use std::sync::Arc;

/// What a finished slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The bytes are the result.
    Value = 1,
    /// The bytes are the message of the error that the task returned.
    Failed = 2,
    /// The bytes are the length of the panic's message (4 bytes), the message, and the backtrace.
    Panicked = 3,
    LostMayHaveRun = 4,
    LostResult = 5,
    /// No worker that knows the function came in time.
    NoWorker = 6,
    /// The pool broke before the task ran.
    Broken = 7,
    /// The bytes say why the result could not be encoded.
    Unstorable = 8,
    /// The result is larger than any block: `result_len` is its length.
    TooLarge = 9,
    /// There was no memory for the result's block: `result_len` is what was needed, `result_block` what there was, both in units of 256 bytes.
    NoMemory = 10,
    /// Its time was up: `result_len` is its hard limit in milliseconds. 11 is taken, see `ITEM_CANCELLED`.
    TimeLimit = 12,
    /// As `Failed`, with sources: each of the texts, the error's own first, behind its length (4 bytes).
    FailedBecause = 13,
}

/// The outcome word of a task whose time was up.
pub(crate) const TIME_LIMIT: u32 = Kind::TimeLimit as u32;

/// Of an item of a chunk, where a task has its kind: the item was not begun, for the task was asked to stop.
pub(crate) const ITEM_CANCELLED: u8 = 11;

impl Kind {
    fn from_bits(bits: u32) -> Option<Kind> {
        Some(match bits & 0xff {
            1 => Kind::Value,
            2 => Kind::Failed,
            3 => Kind::Panicked,
            4 => Kind::LostMayHaveRun,
            5 => Kind::LostResult,
            6 => Kind::NoWorker,
            7 => Kind::Broken,
            8 => Kind::Unstorable,
            9 => Kind::TooLarge,
            10 => Kind::NoMemory,
            12 => Kind::TimeLimit,
            13 => Kind::FailedBecause,
            _ => return None,
        })
    }
}

/// Appends a failure as it is stored.
#[cold]
pub(crate) fn store_failure(out: &mut Vec<u8>, summary: &str, sources: &[String]) -> Kind {
    if sources.is_empty() {
        out.extend_from_slice(summary.as_bytes());
        return Kind::Failed;
    }
    for text in std::iter::once(summary).chain(sources.iter().map(String::as_str)) {
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    Kind::FailedBecause
}

/// Reads it. What nobody can have written ends the list.
fn failure_texts(mut bytes: &[u8]) -> Vec<String> {
    let next = move || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    std::iter::from_fn(next).collect()
}

/// A panic as it is stored.
pub(crate) fn panic_bytes(message: &str, backtrace: &str) -> Vec<u8> {
    let len = (message.len() as u32).to_le_bytes();
    [&len, message.as_bytes(), backtrace.as_bytes()].concat()
}

/// The outcome word of a lost task.
pub(crate) fn lost_bits(stage: Stage, cause: Cause) -> u32 {
    let kind = match stage {
        Stage::MayHaveRun => Kind::LostMayHaveRun,
        Stage::RanResultLost => Kind::LostResult,
    };
    let (cause, code) = match cause {
        Cause::Exit(code) => (1, code),
        Cause::Signal(signal) => (2, signal),
        Cause::Unknown => (3, 0),
    };
    kind as u32 | cause << 8 | (code as u32 & 0xffff) << 16
}

fn lost_cause(bits: u32) -> Cause {
    let code = (bits >> 16) as i32;
    match bits >> 8 & 0xff {
        1 => Cause::Exit(code),
        2 => Cause::Signal(code),
        _ => Cause::Unknown,
    }
}

/// Results up to this length are kept in the future itself; longer ones would make every move of a future dearer.
const SHORT_MAX: usize = 16;

/// In words of their own, written one by one and read in parts: a load that spans two stores waits until both have left the processor's store
/// buffer, and before them in it may be one to a line that another process holds.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct Short([u8; SHORT_MAX]);

/// Bytes of a result, collected.
#[derive(Clone)]
pub(crate) enum Bytes {
    Short(u8, Short),
    Long(Box<[u8]>),
    Pinned(Arc<Pinned>),
}

/// A result at an address that stays, and is aligned to 16 bytes: where it lies in shared memory, or in words of its own.
pub(crate) struct Pinned {
    at: *const u8,
    len: usize,
    _keeps: Keeper,
}

#[allow(dead_code, reason = "what it holds is only kept")]
enum Keeper {
    Block(Held),
    Words(Box<[u128]>),
}

// SAFETY: the bytes are only read, and `_keeps` keeps them in place for as long as the value lives, whatever the thread.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    fn in_block(held: Held) -> Result<Pinned> {
        Ok(Pinned { at: held.bytes()?, len: held.len(), _keeps: Keeper::Block(held) })
    }

    fn copy_of(bytes: &[u8]) -> Pinned {
        let mut words = vec![0_u128; bytes.len().div_ceil(16)].into_boxed_slice();
        let at = words.as_mut_ptr().cast::<u8>();
        // SAFETY: the words have room for the bytes and are new, so the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        Pinned { at, len: bytes.len(), _keeps: Keeper::Words(words) }
    }
}

impl Bytes {
    /// The bytes at an address that stays, and is aligned to 16 bytes: short ones would move with their owner.
    pub(crate) fn pin(&mut self) -> &[u8] {
        if !matches!(self, Bytes::Pinned(_)) {
            *self = Bytes::Pinned(Arc::new(Pinned::copy_of(self)));
        }
        self
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        match bytes.len() {
            len @ ..=SHORT_MAX => {
                let mut short = [0; SHORT_MAX];
                short[..len].copy_from_slice(bytes);
                Bytes::Short(len as u8, Short(short))
            }
            _ => Bytes::Long(bytes.into()),
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Short(len, bytes) => &bytes.0[..*len as usize],
            Bytes::Long(bytes) => bytes,
            // SAFETY: so many bytes lie there, in words of its own or (checked by `block_bytes`) in committed payload memory; the words are never
            // written again, and the block is held by this participant for as long as the value lives, so nobody writes to it.
            Bytes::Pinned(it) => unsafe { std::slice::from_raw_parts(it.at, it.len) },
        }
    }
}

/// A collected outcome.
#[derive(Clone)]
pub(crate) enum Outcome {
    Value(Bytes),
    Error(Box<Error>),
}

impl Outcome {
    pub(crate) fn error(e: Error) -> Outcome {
        Outcome::Error(Box::new(e))
    }
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Outcome::Error(e) if **e != Error::Cancelled)
    }
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Outcome::Error(e) if **e == Error::Cancelled)
    }
}

/// Where a result goes in the slot behind arguments of this length; `None` when it does not fit there.
#[inline]
pub(crate) fn inline_place(args_len: usize, args_inline: bool, result_len: usize) -> Option<usize> {
    let at = if args_inline { args_len.next_multiple_of(8) } else { 0 };
    (at + result_len <= INLINE_MAX).then_some(at)
}

/// Writes a result into a slot that the caller owns, if it fits there. The state word follows.
#[inline]
pub(crate) fn store_inline(slot: &Slot, request: &Request, kind: Kind, bytes: &[u8]) -> bool {
    let place = inline_place(request.args_len as usize, request.args_block == 0, bytes.len());
    if let Some(at) = place {
        slot.write_inline(at, bytes);
        slot.result_block.store(0, Relaxed);
        slot.result_len.store(bytes.len() as u32, Relaxed);
        slot.outcome.store(kind as u32, Relaxed);
    }
    place.is_some()
}

/// The same for any other: into a block that the slot holds from now on.
pub(crate) fn store_in_block(
    member: &Member,
    slot: &Slot,
    (number, generation): (u32, u32),
    kind: Kind,
    bytes: &[u8],
) -> Result<()> {
    let lease = member.allocate(bytes.len())?;
    lease.write(bytes)?;
    store_lease(slot, (number, generation), kind, lease, bytes.len())
}

/// The same, of `len` bytes that lie in a block of ours already.
pub(crate) fn store_lease(
    slot: &Slot,
    (number, generation): (u32, u32),
    kind: Kind,
    lease: Lease<'_>,
    len: usize,
) -> Result<()> {
    let name = lease.name();
    // First the name, so that a reaper finds the block; then the block; then (by the caller) the state word.
    slot.result_block.store(name, Relaxed);
    if !lease.hand_to(number, generation) {
        return Err(Error::Corrupt { what: format!("the owner of payload block {name}") });
    }
    slot.result_len.store(len as u32, Relaxed);
    slot.outcome.store(kind as u32, Relaxed);
    Ok(())
}

/// Writes why a result could not be stored. This takes no memory, so it cannot fail.
pub(crate) fn store_refusal(slot: &Slot, error: &Error) {
    let units = |bytes: u64| u32::try_from(bytes / 256).unwrap_or(u32::MAX);
    let (kind, len, block) = match *error {
        Error::PayloadTooLarge { len, .. } => (Kind::TooLarge, u32::try_from(len).unwrap_or(u32::MAX), 0),
        Error::OutOfMemory { needed, available, .. } => (Kind::NoMemory, units(needed), units(available)),
        _ => (Kind::NoMemory, 0, 0),
    };
    slot.result_len.store(len, Relaxed);
    slot.result_block.store(block, Relaxed);
    slot.outcome.store(kind as u32, Relaxed);
}

/// The name of the block that a DONE slot's result lies in, if it is one of those that may; what stands there otherwise is no name.
pub(crate) fn result_block(slot: &Slot) -> Option<u32> {
    let has_bytes = matches!(
        Kind::from_bits(slot.outcome.load(Relaxed)),
        Some(Kind::Value | Kind::Failed | Kind::FailedBecause | Kind::Panicked | Kind::Unstorable)
    );
    has_bytes.then(|| slot.result_block.load(Relaxed)).filter(|&name| name != 0)
}

/// Whether a DONE slot holds anything but a value. A racing look: compare the state word before and after.
pub(crate) fn has_failed(slot: &Slot) -> bool {
    slot.outcome.load(Relaxed) != Kind::Value as u32
}

/// As `load`, leaving a value that lies in a block of its own where it is: the block passes from the slot to this participant.
pub(crate) fn load_in_place(member: &Member, slot: &Slot, request: &Request, (number, generation): (u32, u32)) -> Outcome {
    let (name, len) = (slot.result_block.load(Relaxed), slot.result_len.load(Relaxed) as usize);
    if slot.outcome.load(Relaxed) != Kind::Value as u32 || name == 0 {
        return load(&member.segment, slot, request);
    }
    let corrupt = || Error::Corrupt { what: format!("the owner of payload block {name}, a result") };
    let held = Held::from_slot(member, name, len, number, generation).ok_or_else(corrupt);
    match held.and_then(Pinned::in_block) {
        Ok(it) => Outcome::Value(Bytes::Pinned(Arc::new(it))),
        Err(e) => Outcome::error(e),
    }
}

/// The outcome of a DONE slot when it is what most are: a value of a few bytes, not more than `room`, in the slot like its arguments. A racing look,
/// which counts when nobody else had taken the slot by then.
#[inline]
pub(crate) fn load_short(slot: &Slot, room: usize) -> Option<Bytes> {
    let (args_len, len) = (slot.args_len.load(Relaxed) as usize, slot.result_len.load(Relaxed) as usize);
    let is_plain = slot.outcome.load(Relaxed) == Kind::Value as u32;
    let has_blocks = (slot.args_block.load(Relaxed) | slot.result_block.load(Relaxed)) != 0;
    if !is_plain || has_blocks || len > SHORT_MAX.min(room) {
        return None;
    }
    let at = inline_place(args_len, true, len)? / 8;
    let mut bytes = [0; SHORT_MAX];
    // Whole words: what is behind the result is nothing that anybody looks at.
    if len > 0 {
        bytes[..8].copy_from_slice(&slot.inline_word(at).to_le_bytes());
    }
    if len > 8 {
        bytes[8..].copy_from_slice(&slot.inline_word(at + 1).to_le_bytes());
    }
    Some(Bytes::Short(len as u8, Short(bytes)))
}

/// Reads the outcome of a DONE slot that the caller has taken. Everything read is checked: the worst is a typed error.
pub(crate) fn load(segment: &Segment, slot: &Slot, request: &Request) -> Outcome {
    let outcome = slot.outcome.load(Relaxed);
    let Some(kind) = Kind::from_bits(outcome) else {
        return Outcome::error(Error::Corrupt { what: format!("an outcome word is {outcome:#x}") });
    };
    let lost = |stage| {
        let pid = slot.result_block.load(Relaxed);
        let number = slot.result_len.load(Relaxed).checked_sub(1).filter(|&number| (number as usize) < WORKERS_MAX);
        let name = number.map(|number| segment.worker_name(number));
        Outcome::error(Error::WorkerLost { pid, name, cause: lost_cause(outcome), stage })
    };
    match kind {
        Kind::LostMayHaveRun => return lost(Stage::MayHaveRun),
        Kind::LostResult => return lost(Stage::RanResultLost),
        Kind::NoWorker => {
            let mut name = segment.function_name(request.function);
            if let Some(target) = Target::of(u32::from(request.options) << 16) {
                name = format!("{name} at {target}");
            }
            let waited = std::time::Duration::from_millis(u64::from(slot.result_len.load(Relaxed)));
            return Outcome::error(Error::NoWorkerFor { name, waited });
        }
        Kind::TimeLimit => {
            let limit = std::time::Duration::from_millis(u64::from(slot.result_len.load(Relaxed)));
            return Outcome::error(Error::TimeLimit { limit });
        }
        Kind::Broken => return Outcome::error(crate::life::broken(segment)),
        Kind::TooLarge => {
            let len = u64::from(slot.result_len.load(Relaxed));
            return Outcome::error(Error::PayloadTooLarge { len, max: segment.payload_len_max() });
        }
        Kind::NoMemory => {
            let bytes = |word: &crate::sync::AtomicU32| u64::from(word.load(Relaxed)) * 256;
            let (needed, available) = (bytes(&slot.result_len), bytes(&slot.result_block));
            return Outcome::error(Error::OutOfMemory { what: "payload", needed, available });
        }
        Kind::Value | Kind::Failed | Kind::FailedBecause | Kind::Panicked | Kind::Unstorable => {}
    }
    let bytes = match load_bytes(segment, slot, request) {
        Ok(bytes) => bytes,
        Err(e) => return Outcome::error(e),
    };
    match text_error(kind, &bytes) {
        None => Outcome::Value(bytes),
        Some(e) => Outcome::error(e),
    }
}

/// The error that a kind and its text stand for; `None` for a value.
pub(crate) fn text_error(kind: Kind, bytes: &[u8]) -> Option<Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match kind {
        Kind::Value => return None,
        Kind::Failed => Error::TaskFailed { summary: text(bytes), source: None },
        Kind::FailedBecause => {
            let texts = failure_texts(bytes);
            let source = TaskSource::chain(texts.iter().skip(1).map(String::as_str));
            Error::TaskFailed { summary: texts.first().cloned().unwrap_or_default(), source }
        }
        Kind::Panicked => {
            let (len, rest) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
            let (message, backtrace) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).unwrap_or((rest, &[]));
            Error::Panicked { message: text(message), backtrace: text(backtrace) }
        }
        _ => Error::Encode { message: text(bytes) },
    })
}

/// The result of one item of a chunk.
#[inline]
pub(crate) fn item_result(kind: u8, bytes: &[u8]) -> Result<&[u8]> {
    if kind == Kind::Value as u8 { Ok(bytes) } else { Err(item_error(kind, bytes)) }
}

#[cold]
fn item_error(kind: u8, bytes: &[u8]) -> Error {
    if kind == ITEM_CANCELLED {
        return Error::Cancelled;
    }
    let known = Kind::from_bits(u32::from(kind)).and_then(|kind| text_error(kind, bytes));
    known.unwrap_or_else(|| Error::Decode { message: format!("an item of kind {kind}") })
}

fn load_bytes(segment: &Segment, slot: &Slot, request: &Request) -> Result<Bytes> {
    let len = slot.result_len.load(Relaxed) as usize;
    let name = slot.result_block.load(Relaxed);
    if name == 0 {
        let at = inline_place(request.args_len as usize, request.args_block == 0, len);
        let at = at.ok_or_else(|| Error::Corrupt { what: format!("an inline result of {len} bytes") })?;
        let mut bytes = [0; INLINE_MAX];
        slot.read_inline(at, &mut bytes[..len]);
        return Ok(bytes[..len].into());
    }
    Ok(Bytes::Long(copy_block(segment, name, len)?))
}

/// Copies a block's bytes out.
pub(crate) fn copy_block(segment: &Segment, name: u32, len: usize) -> Result<Box<[u8]>> {
    let from = segment.block_bytes(name, len)?;
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: `block_bytes` has checked that `len` bytes lie in committed payload memory; the block belongs to the slot that the
    // caller owns or has taken, so nobody writes to it; the vector has room for them and is private.
    unsafe {
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len);
        bytes.set_len(len);
    }
    Ok(bytes.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_loss_survives_the_slot() {
        for cause in [Cause::Exit(0), Cause::Exit(255), Cause::Signal(9), Cause::Unknown] {
            assert_eq!(lost_cause(lost_bits(Stage::MayHaveRun, cause)), cause);
        }
    }

    #[test]
    fn a_result_never_lands_on_its_arguments() {
        assert_eq!(inline_place(8, true, 8), Some(8));
        assert_eq!(inline_place(3, true, 72), Some(8));
        assert_eq!(inline_place(3, true, 73), None);
        assert_eq!(inline_place(80, true, 0), Some(80));
        assert_eq!(inline_place(80, true, 1), None);
        assert_eq!(inline_place(1 << 20, false, 80), Some(0));
    }
}
