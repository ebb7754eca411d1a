//! The shared memory: every struct that lies in the segment, where it lies, and who writes it.
//!
//! ```text
//! offset            what                                   committed
//! 0                 Header, one page                       at creation
//! FAILURE_AT        Failure, in the same page              at creation
//! PARTICIPANTS_AT   Record   x PARTICIPANTS_MAX, 384 B     at creation
//! FUNCTIONS_AT      Function x FUNCTIONS_MAX, 256 B        at creation
//! SETS_AT           u64      x SETS_MAX, and as many counts  at creation
//! LANES_AT          LaneHead x LANES_MAX, 768 B            at creation
//! slots_at          Slot     x capacity, 128 B, then the ended bitmap and list; for each lane, when it is first used
//! extras_at         Extra    x capacity, 192 B, then for each slot the name of its block of events, 4 B; for each lane, when a task in it first needs them
//! blocks_at         Block    x BLOCKS_MAX, 32 B            step by step
//! constants_at      what the creator says once, `constants.rs`  at creation; nothing when there is nothing to say
//! payload_at        payload memory                         step by step
//! ```
//! Rules: fixed widths only; no pointers, addresses of functions, bools or enums; every word is an atomic, so a racing look is a stale
//! value and never undefined; a word that is read and then used is loaded once into a local and checked. Zero is a valid
//! start for all of it, so fresh memory needs no initialisation. The header's first part is written once, before the segment can be
//! found by anybody; the magic is written last.

use crate::limits::*;
use crate::sync::{AtomicU32, AtomicU64};

/// "taskring" in little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"taskring");

/// Two cache lines: the adjacent-line prefetcher pulls lines in pairs, and a 64-byte slot was measured 5-30 % slower.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What guards a lane. The creator of a pool chooses; it stands in the segment's format word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MutexKind {
    /// A word that names its owner, so that whoever waits can prove the owner dead and go on in its place.
    #[default]
    OwnerWord = 1,
    /// A robust pthread mutex shared between processes, driven through the `raw_sync` crate. Needs the feature `raw-sync` in every program that
    /// attaches, and promises less: where the kernel does not pass the mutex on at its owner's death (it cannot when the owner's memory went
    /// first, as the out-of-memory killer may have it), the pool ends with [`Error::Corrupt`](crate::Error::Corrupt); waits for a lane are by the
    /// wall clock, so one that is set back makes them longer; and a damaged mutex may do anything.
    Pthread = 2,
}

/// The first page. `identity` is written by the creator alone, before anybody else can attach.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Header {
    pub(crate) identity: Apart<Identity>,
    pub(crate) life: Apart<Life>,
    /// One bit for each participant that sleeps until somebody publishes a task. Set by the sleeper; cleared by it, or by who wakes it. The owner's is up
    /// while it would start a worker for such a task.
    pub(crate) idle: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    /// One bit for each worker that is awake and looking for work, kept only while others are idle. Set and cleared by the worker.
    pub(crate) searching: Apart<[AtomicU64; PARTICIPANT_WORDS]>,
    /// Guards the registry: the choice of lanes and new function names.
    pub(crate) registry_mutex: Apart<AtomicU32>,
    /// Guards the carving of new payload blocks.
    pub(crate) blocks_mutex: Apart<AtomicU32>,
    pub(crate) payload: Apart<Payload>,
}

/// Written once by the creator; the magic last.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    /// Computed from sizes, offsets and options: see [`format_word`].
    pub(crate) format: AtomicU64,
    pub(crate) segment_len: AtomicU64,
    pub(crate) capacity: AtomicU64,
    pub(crate) payload_len: AtomicU64,
    pub(crate) pid_namespace: AtomicU64,
    /// The pool's policies, see `policy.rs`.
    pub(crate) policy: AtomicU64,
    /// CPUs that the creator could use: more runnable participants than this must not spin.
    pub(crate) cpus: AtomicU32,
    /// Whether the pool has a name (and so outlives its owner while there is work).
    pub(crate) named: AtomicU32,
    /// Random: tells two pools that had the same name one after the other.
    pub(crate) nonce: AtomicU64,
    /// Start times of processes compare only within one.
    pub(crate) time_namespace: AtomicU64,
    /// Bytes of the constants.
    pub(crate) constants_len: AtomicU64,
    /// The time limits of tasks that have none of their own, see `time_limits.rs`.
    pub(crate) limits: AtomicU64,
    /// When tasks that have no rule of their own run again after an error, see `retry.rs`.
    pub(crate) retry: [AtomicU32; 3],
    /// How long a task waits for a worker that can run it, in milliseconds. The most is no limit.
    pub(crate) start_timeout: AtomicU32,
    /// Workers on demand, see `demand.rs`; 0 where all are there at all times.
    pub(crate) demand: AtomicU64,
}

/// The pool's life, a line that is read often and written rarely.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Life {
    /// 0 open; bit 0: closing, no new tasks; bit 1: broken; bit 2: corrupt; bit 3: the owner is gone; bit 6: its
    /// workers are being ended. These are only ever set. Written by the owner alone:
    /// bit 4: paused; bit 5: workers whose number is not below `wanted`, and `replacements` more, leave.
    pub(crate) flags: AtomicU32,
    /// Goes up when a task became pending anywhere but at a tail: everybody then looks at every slot once.
    pub(crate) epoch: AtomicU32,
    /// One bit for each lane in use.
    pub(crate) lanes: AtomicU64,
    /// Why the pool is broken, see `life.rs`.
    pub(crate) broken: AtomicU32,
    /// Ready workers: a hint, for whether spinning is polite.
    pub(crate) workers: AtomicU32,
    /// Workers that the owner keeps: the numbers below this are theirs. Written by it alone, first before anybody else can find the pool.
    pub(crate) wanted: AtomicU32,
    /// How many more may be there just now, for workers that wait in their tasks. Written by the owner alone.
    pub(crate) replacements: AtomicU32,
    /// One bit for each lane whose extras are in use.
    pub(crate) extras: AtomicU64,
}

/// The pool's payload area.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Payload {
    /// Bytes committed from the start of the area. Only ever grows.
    pub(crate) committed: AtomicU64,
    /// Blocks carved. The store that counts a block is what makes it exist.
    pub(crate) carved: AtomicU32,
    pub(crate) resv: AtomicU32,
    /// For each class the block carved last, plus one. Only ever grows; follow `Block::next`.
    pub(crate) newest: [AtomicU32; BLOCK_CLASSES],
    /// For each class a block that was freed lately, plus one. A hint.
    pub(crate) freed: [AtomicU32; BLOCK_CLASSES],
    /// For each class where the next search goes on, plus one. A hint.
    pub(crate) cursor: [AtomicU32; BLOCK_CLASSES],
}

/// Why a worker could not be made ready, in words. Written once, by the worker that has put the 1.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Failure {
    /// 0; 1 while it is written; 2 when it is complete. Who dies while it writes leaves the 1, and no text.
    pub(crate) ready: AtomicU32,
    pub(crate) len: AtomicU32,
    pub(crate) resv: AtomicU64,
    pub(crate) text: [[AtomicU64; FAILURE_TEXT_MAX / 16]; 2],
}

/// A participant. The byte lock of its index says who may write `state`, `pid` and `start`; its reaper writes them too, holding the reaper byte.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Record {
    /// {kind:8, phase:8, incarnation:16}, see `registry.rs`.
    pub(crate) state: AtomicU32,
    pub(crate) pid: AtomicU32,
    /// The process's start time in clock ticks, which tells a reused pid from the one meant.
    pub(crate) start: AtomicU64,
    /// Why it ended, written by its parent: {kind:32, code:32}.
    pub(crate) cause: AtomicU64,
    /// The lanes it submits to, each plus one: a byte for each level of priority, see `priority.rs`. Written by it alone, under the registry mutex.
    pub(crate) lane: AtomicU32,
    /// 1 once a worker has said which functions it has.
    pub(crate) ready: AtomicU32,
    /// Tasks finished, for display. Written by the worker alone.
    pub(crate) finished: AtomicU64,
    /// Of a worker that is a thread: which.
    pub(crate) thread: AtomicU32,
    /// Of a worker that the owner has started: its number, plus one. Of a submitter that a worker is for its tasks: `OF_TASKS`. Written by it alone.
    pub(crate) number: AtomicU32,
    /// Of a worker in a pool whose workers leave after a number of tasks: whether it serves, is about to leave, or waits. See `turn.rs`. Written by it alone.
    pub(crate) turn: AtomicU32,
    /// 1 while a worker takes no tasks because the pool is paused, or because it leaves. Written by it alone.
    pub(crate) rests: AtomicU32,
    /// What a worker sleeps on; the owner's is its bell.
    pub(crate) park: Apart<AtomicU32>,
    /// Counts announcements to this submitter; what its waiting threads sleep on, beside.
    pub(crate) event: AtomicU32,
    /// Threads that sleep, or are about to sleep, on `event`.
    pub(crate) event_waiters: AtomicU32,
    /// 1 of a worker that died because its task was condemned. Written by its reaper before it settles anything, so the next one knows as well.
    pub(crate) condemned: AtomicU32,
    /// 1 of a worker that its owner has seen to be ready. Written by the owner.
    pub(crate) known: AtomicU32,
    /// How many waits a worker is in, in tasks for others that run elsewhere. Written by it alone, and only where that has others started.
    pub(crate) awaits: AtomicU32,
    /// Of a worker's seat: how many tasks of higher levels of priority were taken since one of a level was, see `search.rs`. Written by the worker alone; it
    /// stays when the seat passes to another one.
    pub(crate) passed: AtomicU32,
    /// Of the owner: the millisecond in which its supervisor last looked around, cut to 32 bits. Written by it alone. See `idleness.rs`.
    pub(crate) looked_at: AtomicU32,
    /// Of a worker: when it looks for tasks that are to begin later, in milliseconds. Brought forward by whoever puts one back, see `later.rs`.
    pub(crate) later: AtomicU32,
    /// Of a worker: when the time of a task that it runs is up, 0 for never; and which task, {slot:32, generation:32}. Written by it alone.
    pub(crate) hard_at: AtomicU64,
    pub(crate) hard_task: AtomicU64,
    /// Of a worker that waits in a task: for which ones of its pool, {slot:32, generation:32}. Written by it alone, see `circle.rs`.
    pub(crate) waits: AtomicU32,
    pub(crate) awaited: [AtomicU64; AWAITED_MAX],
}

/// A function name. `ready` is stored last, and the entry never changes after that.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Function {
    pub(crate) ready: AtomicU32,
    pub(crate) len: AtomicU32,
    pub(crate) resv: AtomicU64,
    /// One bit for each ready worker that has the function. Set and cleared by the worker, cleared by its reaper.
    pub(crate) workers: [AtomicU64; PARTICIPANT_WORDS],
    pub(crate) name: [AtomicU64; FUNCTION_NAME_MAX / 8],
}

/// A lane: what its mutex guards, and the two ends of the ring.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct LaneHead {
    pub(crate) mutex: Apart<AtomicU32>,
    /// Next position to publish. Written under the mutex.
    pub(crate) tail: Apart<AtomicU64>,
    /// Next position to claim. Swapped by workers.
    pub(crate) head: Apart<AtomicU64>,
    /// Submitters that share the lane. Written under the registry mutex.
    pub(crate) users: Apart<AtomicU32>,
    /// Announcements made so far: positions in the list behind the bitmap that tells their order, in lanes for normal tasks.
    pub(crate) announced: Apart<AtomicU32>,
    /// The mutex itself in a pool of [`MutexKind::Pthread`], where `mutex` only names the owner. Written by the C library.
    pub(crate) pthread: Apart<[AtomicU64; PTHREAD_MUTEX_WORDS]>,
}

/// A task slot. A small task's words share the first cache line with the state word.
///
/// Field access: FREE, who holds the lane's mutex; PENDING, nobody writes; RUNNING, the owner writes `progress`, `result_*`,
/// `outcome`, the bit `later` and the inline bytes behind the arguments; DONE and CANCELLED, the one thread that took the slot reads. A reaper stands in for a dead owner.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) state: AtomicU64,
    pub(crate) progress: AtomicU32,
    /// {target:9, the target's incarnation:4, options:3, later:1, function:15}
    pub(crate) function: AtomicU32,
    /// {kills_max:8, attempts_max:8, submitter:16}
    pub(crate) submitter: AtomicU32,
    /// The task set {generation:20, index + 1:12}, or 0.
    pub(crate) set: AtomicU32,
    pub(crate) args_len: AtomicU32,
    /// Of a pending task that is to begin later: not before this time, in milliseconds, see `again.rs`.
    pub(crate) result_len: AtomicU32,
    /// The block that holds the arguments, plus one; 0 when they are inline.
    pub(crate) args_block: AtomicU32,
    /// The same for the result. Of a lost task: the pid of its worker.
    pub(crate) result_block: AtomicU32,
    /// {code:16, cause:8, kind:8}, see `outcome.rs`.
    pub(crate) outcome: AtomicU32,
    /// The low half of the position where the task was published. A slot at the head that carries another position is a task that was left behind there.
    pub(crate) place: AtomicU32,
    /// Arguments, then (from the next multiple of eight) the result.
    pub(crate) inline: [AtomicU64; INLINE_MAX / 8],
}

/// What few tasks need, beside their slots. It says something only of the task that it was written for.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Extra {
    /// Time limits, of a task that has such. Written by who holds the lane's mutex, while the slot is FREE.
    pub(crate) limits: AtomicU64,
    /// {generation:32, count:32} of the last report: the count's last bit says in which of the two places it is. See `progress.rs`.
    pub(crate) told: AtomicU64,
    /// When it runs again after an error, see `retry.rs`. Written beside the limits.
    pub(crate) retry: [AtomicU32; 3],
    /// Of each of the two reports 16 bits. The highest: its numbers say something. The rest: the length of the value plus one, or 0.
    pub(crate) facts: AtomicU32,
    /// Written by the thread that runs the task, as are the facts.
    pub(crate) reports: [Report; 2],
}

/// What a task tells of its progress.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) value: [AtomicU64; REPORT_LEN_MAX / 8],
}

/// A payload block's descriptor. `offset`, `class` and `next` are written once, before the block is counted.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Block {
    /// Who holds it, see `payload.rs`.
    pub(crate) owner: AtomicU64,
    /// From the start of the payload area.
    pub(crate) offset: AtomicU64,
    pub(crate) class: AtomicU32,
    /// The block of the same class carved before, plus one.
    pub(crate) next: AtomicU32,
    pub(crate) resv: AtomicU64,
}

/// The size of a `pthread_mutex_t`: 40 bytes on x86-64, 48 on aarch64.
pub(crate) const PTHREAD_MUTEX_WORDS: usize = 6;

/// The name of a slot's block of events: the block's number plus one. Written by the thread that runs the task, before its state word says `EVENTS`; without
/// that flag it says nothing.
const EVENTS_NAME_LEN: usize = size_of::<AtomicU32>();

pub(crate) const FAILURE_AT: u64 = 2048;
pub(crate) const PARTICIPANTS_AT: u64 = 4096;
pub(crate) const FUNCTIONS_AT: u64 = PARTICIPANTS_AT + (PARTICIPANTS_MAX * size_of::<Record>()) as u64;
pub(crate) const SETS_AT: u64 = FUNCTIONS_AT + (FUNCTIONS_MAX * size_of::<Function>()) as u64;
/// Behind the words of the sets lies, for each, how many of its tasks were cancelled after a worker or submitter found it discarded.
pub(crate) const SET_COUNTS_AT: u64 = SETS_AT + (SETS_MAX * 8) as u64;
pub(crate) const LANES_AT: u64 = (SET_COUNTS_AT + (SETS_MAX * 8) as u64).next_multiple_of(128);
/// Where the lanes' slots begin; everything before is committed at creation.
pub(crate) const SLOTS_AT: u64 = (LANES_AT + (LANES_MAX * size_of::<LaneHead>()) as u64).next_multiple_of(4096);

/// Where things lie in a segment of a given capacity, and what guards its lanes. A private copy: computed once from checked
/// numbers, never re-read from shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: usize,
    pub(crate) payload_len: u64,
    pub(crate) constants_len: u64,
    pub(crate) mutexes: MutexKind,
    /// `capacity` is 1 << this: the path of every task takes slot numbers apart.
    shift: u32,
    lane_len: u64,
}

impl Geometry {
    /// `capacity` is a power of two.
    pub(crate) fn new(capacity: usize, payload_len: u64) -> Geometry {
        debug_assert!(capacity.is_power_of_two());
        let bytes = capacity * size_of::<Slot>() + capacity.div_ceil(64) * 8 + capacity * ORDER_PER_SLOT * 4;
        let lane_len = (bytes as u64).next_multiple_of(4096);
        let shift = capacity.trailing_zeros();
        Geometry { capacity, payload_len, constants_len: 0, mutexes: MutexKind::OwnerWord, shift, lane_len }
    }
    /// The same with room for so many bytes of constants.
    pub(crate) fn with_constants(self, constants_len: u64) -> Geometry {
        Geometry { constants_len, ..self }
    }
    /// The same with lanes that are guarded so.
    pub(crate) fn guarded_by(self, mutexes: MutexKind) -> Geometry {
        Geometry { mutexes, ..self }
    }
    /// Takes a slot's number apart: lane, and index in the lane.
    #[inline]
    pub(crate) fn split(&self, number: u32) -> (usize, usize) {
        (number as usize >> self.shift, number as usize & (self.capacity - 1))
    }
    /// Bytes of one lane: its slots, then a bitmap with a bit for each, then a list with `ORDER_PER_SLOT` words for each, in whole pages.
    #[inline]
    pub(crate) fn lane_len(&self) -> u64 {
        self.lane_len
    }
    #[inline]
    pub(crate) fn bitmap_words(&self) -> usize {
        self.capacity.div_ceil(64)
    }
    #[inline]
    pub(crate) fn lane_at(&self, lane: usize) -> u64 {
        SLOTS_AT + lane as u64 * self.lane_len()
    }
    /// Bytes of one lane's extras and of the names behind them, in whole pages.
    pub(crate) fn extras_len(&self) -> u64 {
        ((self.capacity * (size_of::<Extra>() + EVENTS_NAME_LEN)) as u64).next_multiple_of(4096)
    }
    pub(crate) fn extras_at(&self, lane: usize) -> u64 {
        self.lane_at(LANES_MAX) + lane as u64 * self.extras_len()
    }
    /// Where the names of a lane's blocks of events begin. They lie apart from the extras: in these they would take eight bytes each, for which a segment of
    /// the largest capacity has no room.
    pub(crate) fn events_names_at(&self, lane: usize) -> u64 {
        self.extras_at(lane) + (self.capacity * size_of::<Extra>()) as u64
    }
    pub(crate) fn blocks_at(&self) -> u64 {
        self.extras_at(LANES_MAX)
    }
    pub(crate) fn constants_at(&self) -> u64 {
        self.blocks_at() + (BLOCKS_MAX * size_of::<Block>()) as u64
    }
    pub(crate) fn payload_at(&self) -> u64 {
        self.constants_at() + self.constants_len.next_multiple_of(4096)
    }
    pub(crate) fn segment_len(&self) -> u64 {
        self.payload_at() + self.payload_len
    }
}

/// Differs between builds that could not share a segment: sizes, offsets, limits, byte order, word size, kind of mutex.
pub(crate) const fn format_word(mutexes: MutexKind) -> u64 {
    let facts = [
        8, // the version of layout and encodings, for changes that no size shows
        size_of::<Header>() as u64,
        size_of::<Record>() as u64,
        size_of::<Function>() as u64,
        size_of::<LaneHead>() as u64,
        size_of::<Slot>() as u64,
        size_of::<Extra>() as u64,
        size_of::<Block>() as u64,
        size_of::<Failure>() as u64,
        SLOTS_AT,
        LANES_MAX as u64,
        BLOCKS_MAX as u64,
        BLOCK_CLASSES as u64,
        INLINE_MAX as u64,
        SETS_MAX as u64,
        size_of::<usize>() as u64,
        cfg!(target_endian = "little") as u64,
        mutexes as u64,
        // The C library's mutexes are not those of another one.
        (matches!(mutexes, MutexKind::Pthread) && cfg!(target_env = "gnu")) as u64,
    ];
    // FNV-1a: it only has to tell one build from another.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < facts.len() {
        hash = (hash ^ facts[i]).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Header>() as u64 <= FAILURE_AT && size_of::<Failure>() == 512);
    assert!(size_of::<Identity>() <= 128, "what is written once has a line pair of its own");
    assert!(size_of::<Record>() == 384 && size_of::<Function>() == 256 && size_of::<LaneHead>() == 768);
    assert!(size_of::<Slot>() == 128 && align_of::<Slot>() == 128);
    assert!(std::mem::offset_of!(Slot, inline) == 48, "16 inline bytes share the first line with the state word");
    assert!(size_of::<Block>() == 32 && size_of::<Extra>() == 192);
    assert!(LANES_AT.is_multiple_of(128) && FUNCTIONS_AT.is_multiple_of(128) && PARTICIPANTS_AT.is_multiple_of(128));
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_default_pool_commits_little() {
        let g = Geometry::new(CAPACITY_DEFAULT, PAYLOAD_AREA_DEFAULT);
        assert!(SLOTS_AT + g.lane_len() <= 8 << 20, "{}", SLOTS_AT + g.lane_len());
        assert!(g.segment_len() <= SEGMENT_MAX);
    }

    #[test]
    fn the_largest_capacity_fits_the_segment() {
        let g = Geometry::new(CAPACITY_MAX, PAYLOAD_AREA_DEFAULT);
        assert!(g.segment_len() <= SEGMENT_MAX, "{}", g.segment_len());
        assert!(g.lane_at(1) - g.lane_at(0) >= (CAPACITY_MAX * size_of::<Slot>()) as u64);
    }

    #[test]
    fn constants_move_the_payload_by_whole_pages_and_nothing_else() {
        let without = Geometry::new(8, 4096);
        let with = without.with_constants(4097);
        assert_eq!((with.constants_at(), with.payload_at()), (without.payload_at(), without.payload_at() + 8192));
        assert_eq!(without.constants_at(), without.payload_at(), "a pool that says nothing has no room for it");
    }
}
