//! What a worker does with a claimed task: takes its arguments, calls its function, and hands the outcome over.
//!
//! A task that waits for another one of its pool runs that one on top of itself (`nested.rs`), so all of this goes by shared reference.

use crate::again::Due;
use crate::error::Error;
use crate::layout::Slot;
use crate::limits::INLINE_MAX;
use crate::outcome::{self, Kind as OutcomeKind};
use crate::record::Kind;
use crate::registry::Member;
use crate::search::{Rings, Task};
use crate::seeded::{Bug, seeded};
use crate::segment::Segment;
use crate::set::SetRef;
use crate::slot::{OPTION_CHUNK, OPTION_TERMS, Request, WANTED_TARGET};
use crate::state::{Flag, Progress, State, Step};
use crate::sync::Ordering::Relaxed;
use crate::task::{Call, Current, Runner, guarded, set_current};
use crate::time_limits::TimeLimits;
use crate::watchdog::{Watch, Watchdog};
use std::cell::Cell;

/// Bytes of the buffer for results that are kept from one task to the next.
const OUT_MAX: usize = 1 << 20;

/// Arguments taken out of a slot, aligned for C functions that look at them as values. Blocks are aligned as well.
#[repr(align(16))]
struct Inline([u8; INLINE_MAX]);

/// A worker's seat and its functions.
pub(crate) struct Performer {
    pub(crate) member: Member,
    /// By function number.
    pub(crate) runners: Vec<Option<Runner>>,
    /// As what a task wants names this worker.
    pub(crate) target: u32,
    /// It was taken for dead, and leaves.
    pub(crate) is_out: Cell<bool>,
    /// Tasks that were to begin later.
    pub(crate) due: Due,
    /// The task that was put back last and may begin at once, as long as nobody else knows of it.
    pub(crate) owed: Cell<Option<Task>>,
    /// One of the two: it comes before the next task.
    pub(crate) is_held_up: Cell<bool>,
    pub(crate) watchdog: Watchdog,
}

impl Performer {
    pub(crate) fn new(member: Member, runners: Vec<Option<Runner>>, target: u32) -> Performer {
        let (is_out, due, watchdog) = (Cell::new(false), Due::default(), Watchdog::default());
        let (owed, is_held_up) = (Cell::new(None), Cell::new(false));
        Performer { member, runners, target, is_out, due, owed, is_held_up, watchdog }
    }

    /// Whether the worker can run what wants this.
    #[inline]
    pub(crate) fn can_run(&self, wanted: u32) -> bool {
        // Of a task for another worker this is no function's number. A call in place of the choice would cost more.
        let number = if wanted & WANTED_TARGET == self.target { wanted & !WANTED_TARGET } else { wanted };
        let can = matches!(self.runners.get(number as usize), Some(Some(_)));
        if !can {
            self.leaves(wanted);
        }
        can
    }

    /// Whether that function takes the worker's context.
    pub(crate) fn is_in_context(&self, function: u16) -> bool {
        matches!(self.runners.get(function as usize), Some(Some(runner)) if runner.is_in_context())
    }

    /// Runs a claimed task to its end. `out` is for its result's bytes: one allocation for all tasks. What was put back is owed.
    // Into the worker's loop: a task on top of another one (`nested.rs`) is rare, and this is most of what a task costs.
    #[inline(always)]
    pub(crate) fn perform(&self, segment: &Segment, task: Task, out: &mut Vec<u8>) {
        let slot = &segment.lane(task.lane).slots[task.claim.slot];
        let generation = task.claim.state.generation();
        let request = slot.read();
        if request.set != 0 && segment.sets().is_discarded(SetRef(request.set)) {
            if !self.member.cancel_for_set(task.lane, task.claim.slot, self.member.who(), generation, &request) {
                self.fall_if_condemned(slot.load(), generation);
            }
            return;
        }
        let number = segment.slot_number(task.lane, task.claim.slot);
        let mut watch = None;
        if request.options & OPTION_TERMS != 0 {
            // Before the note that it has begun.
            if self.gives_back(task) {
                return;
            }
            watch = self.begin_terms(task, (number, generation));
        }
        let progress = slot.progress();
        let current = Current { id: u64::from(number) << 32 | u64::from(generation), attempt: progress.attempt, slot };
        if !seeded(Bug::StartedLate) {
            self.note(slot, progress.at(Step::Started));
        }
        let outer = set_current(Some(current));
        out.clear();
        let kind = call(segment, &self.runners, slot, &request, out);
        set_current(outer);
        if self.member.is_foreign() {
            // The task forked, and this is the child coming back from its function: only the parent is the worker.
            crate::sys::exit_now(0);
        }
        drop(watch);
        if seeded(Bug::StartedLate) {
            self.note(slot, progress.at(Step::Started));
        }
        self.note(slot, progress.at(Step::Returned));
        if kind != OutcomeKind::Value && self.put_back(task, kind) {
            return self.count_finished();
        }
        if seeded(Bug::DoneFirst) {
            self.complete(segment, task, slot, (number, generation), &request);
        }
        if !outcome::store_inline(slot, &request, kind, out) {
            self.store_in_block(slot, (number, generation), kind, out);
        }
        self.complete(segment, task, slot, (number, generation), &request);
        if out.capacity() > OUT_MAX {
            *out = Vec::new();
        }
    }

    /// A task that has terms begins: with limits, its time does.
    #[cold]
    fn begin_terms(&self, task: Task, name: (u32, u32)) -> Option<Watch> {
        self.forget_code();
        let extra = self.member.segment.extra(task.lane, task.claim.slot)?;
        let limits = TimeLimits::from_bits(extra.limits.load(Relaxed));
        (!limits.is_none()).then(|| self.watchdog.watch(&self.member, name, limits))
    }

    /// A result that does not fit into the slot.
    #[cold]
    fn store_in_block(&self, slot: &Slot, task: (u32, u32), kind: OutcomeKind, out: &[u8]) {
        if let Err(e) = outcome::store_in_block(&self.member, slot, task, kind, out) {
            if let Error::Corrupt { what } = &e {
                self.member.segment.poison(&**what);
            }
            outcome::store_refusal(slot, &e);
        }
    }

    #[inline]
    fn note(&self, slot: &Slot, progress: Progress) {
        if seeded(Bug::NotePerWorker) {
            return self.member.record().event_waiters.store(progress.bits(), Relaxed);
        }
        slot.note(progress);
    }

    /// Hands the outcome over. Whoever was declared dead meanwhile finds its slot gone, and drops what it made.
    #[inline(always)]
    fn complete(&self, segment: &Segment, task: Task, slot: &Slot, (number, generation): (u32, u32), request: &Request) {
        let result = slot.result_block.load(Relaxed);
        match slot.complete(self.member.who(), generation) {
            Ok(old) => {
                segment.announce_end(task.lane, task.claim.slot, old, request);
                if old.has(Flag::Detached) {
                    segment.free_slot_blocks([request.args_block, result], number, generation);
                    segment.free_events(old, number);
                }
            }
            Err(found) => self.complete_nothing(found, result, (number, generation)),
        }
        self.count_finished();
    }

    #[inline(always)]
    fn count_finished(&self) {
        let finished = &self.member.record().finished;
        finished.store(finished.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A worker does not outlive its condemned task: the signal for it is on its way, and must meet no other task. What it made is dropped, and
    /// its reaper says what became of its tasks.
    #[cold]
    pub(crate) fn fall_if_condemned(&self, found: State, generation: u32) {
        if found.is_condemned_with(self.member.who(), generation) && self.member.seat.kind == Kind::Worker {
            crate::sys::kill_self();
        }
    }

    /// The same for a task of this worker by its number.
    pub(crate) fn fall_with(&self, task: u64) {
        let segment = &*self.member.segment;
        if let Some((lane, index)) = segment.slot_at((task >> 32) as u32) {
            self.fall_if_condemned(segment.lane(lane).slots[index].load(), task as u32);
        }
    }

    #[cold]
    fn complete_nothing(&self, found: State, result: u32, (number, generation): (u32, u32)) {
        self.fall_if_condemned(found, generation);
        let segment = &*self.member.segment;
        if seeded(Bug::NoPoison) {
            return;
        }
        if !found.has_left(self.member.who(), generation) {
            segment.poison(format!("slot {number}, which this worker runs, is {found:?}"));
            return;
        }
        // Who was taken for dead all the same (by a process that has lost its own descriptor, or sees other processes than there are) finds its task over, or given to others.
        segment.free_slot_blocks([result, 0], number, generation);
        // And has no seat any more: what it claimed now would be nobody's.
        if !self.member.seat.is_ours(self.member.record()) {
            self.leave_out();
        }
    }

    /// It was taken for dead.
    #[cold]
    pub(crate) fn leave_out(&self) {
        self.is_out.set(true);
        self.is_held_up.set(true);
    }
}

/// Runs a task's function on its arguments.
#[inline(always)]
fn call(segment: &Segment, runners: &[Option<Runner>], slot: &Slot, request: &Request, out: &mut Vec<u8>) -> OutcomeKind {
    let len = request.args_len as usize;
    let mut inline = Inline([0; INLINE_MAX]);
    let args: &[u8] = if request.args_block == 0 {
        let len = len.min(INLINE_MAX);
        slot.read_inline(0, &mut inline.0[..len.next_multiple_of(8)]);
        &inline.0[..len]
    } else {
        match segment.block_bytes(request.args_block, len) {
            // SAFETY: `block_bytes` has checked that `len` bytes lie in committed payload memory. The block belongs to the slot,
            // which this worker owns until the call is over, and nobody writes to a published argument block.
            Ok(bytes) => unsafe { std::slice::from_raw_parts(bytes, len) },
            Err(e) => return fail(out, OutcomeKind::Failed, &e),
        }
    };
    let Some(Some(runner)) = runners.get(request.function as usize) else {
        return fail(out, OutcomeKind::Failed, &Error::UnknownFunction { name: format!("#{}", request.function) });
    };
    let mut call = Call { args, is_chunk: request.options & OPTION_CHUNK != 0, out, kind: OutcomeKind::Value };
    match guarded(|| runner.run(&mut call)) {
        Ok(()) => call.kind,
        Err(panic) => {
            out.clear();
            out.extend_from_slice(&panic);
            OutcomeKind::Panicked
        }
    }
}

#[cold]
fn fail(out: &mut Vec<u8>, kind: OutcomeKind, error: &Error) -> OutcomeKind {
    out.clear();
    out.extend_from_slice(error.to_string().as_bytes());
    kind
}
