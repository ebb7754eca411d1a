//! Every limit in one place, each with its reason.

/// Participants (owner, submitters, workers) attached at one time. The owner field of a state word has ten bits for the
/// index; 256 keeps an idle bitmap in four words, half a cache line.
pub(crate) const PARTICIPANTS_MAX: usize = 256;
/// Words of a bitmap with one bit for each participant.
pub(crate) const PARTICIPANT_WORDS: usize = PARTICIPANTS_MAX / 64;
/// Lanes of slots, of all levels of priority (`priority.rs`): as many as a segment of the largest capacity has room for.
pub(crate) const LANES_MAX: usize = LANES_NORMAL + LANES_HIGH + LANES_LOW;
/// Lanes of each level. Submitters past this number share lanes, each with a quota.
pub(crate) const LANES_NORMAL: usize = 16;
/// Few submitters have tasks of another level than most.
pub(crate) const LANES_HIGH: usize = 4;
pub(crate) const LANES_LOW: usize = 4;
/// Tasks of higher levels that a worker takes between two looks at the tasks of a level. Under loom, which tries every schedule, as few as there can be.
pub(crate) const PASSED_MAX: u8 = if cfg!(loom) { 1 } else { 16 };
/// Slots of one lane: with fewer lanes there could be more.
pub(crate) const CAPACITY_MAX: usize = 1 << 20;
/// The default number of slots of a lane: 128 KiB of slots.
pub(crate) const CAPACITY_DEFAULT: usize = 1024;
/// Places in a lane's list of ended tasks, for each of its slots: the list has room for all tasks of a submitter, whatever their level. A power of two.
pub(crate) const ORDER_PER_SLOT: usize = 4;
/// Slots that one hold of a lane's mutex may look at, so that a hold is bounded whatever the capacity.
pub(crate) const SLOTS_PER_HOLD_MAX: usize = 64;
/// Bytes of arguments and result that fit into a slot.
pub(crate) const INLINE_MAX: usize = 80;
/// Bytes of a value that a running task reports.
pub(crate) const REPORT_LEN_MAX: usize = 64;
/// Bytes of the block that holds a task's events until they are read. It is taken at the first event: tasks that send some are few, and each keeps one.
pub(crate) const EVENTS_LEN: usize = if cfg!(loom) { 8 * 8 } else { 16 << 10 };
/// Function names in one pool.
pub(crate) const FUNCTIONS_MAX: usize = 512;
/// Bytes of a function name.
pub(crate) const FUNCTION_NAME_MAX: usize = 192;
/// Task sets alive at one time; the set reference in a slot has twelve bits for the index plus one.
pub(crate) const SETS_MAX: usize = 4095;
/// Payload blocks in one pool, used and free. A descriptor takes 32 bytes and is committed when first needed.
pub(crate) const BLOCKS_MAX: usize = 1 << 18;
/// The smallest payload block is `1 << BLOCK_SHIFT_MIN` bytes.
pub(crate) const BLOCK_SHIFT_MIN: u32 = 8;
/// Size classes, each twice the one before: 256 B to 2 GiB.
pub(crate) const BLOCK_CLASSES: usize = 24;
/// The largest payload: a slot holds lengths in 32 bits, and the largest class is 2 GiB.
pub(crate) const PAYLOAD_LEN_MAX: usize = 1 << 31;
/// The default size of the payload area. It is sparse: memory is committed when it is first used.
pub(crate) const PAYLOAD_AREA_DEFAULT: u64 = 8 << 30;
/// Payload memory is committed in steps of at least this size.
pub(crate) const COMMIT_STEP: u64 = 1 << 20;
/// The largest segment; tools such as valgrind cannot map much more.
pub(crate) const SEGMENT_MAX: u64 = 16 << 30;
/// Worker processes or threads of one pool; the rest of the participants are submitters.
pub(crate) const WORKERS_MAX: usize = 192;
/// Tasks that a worker says it waits for: what there is room for in its record. Who waits for more says so once fewer are left.
pub(crate) const AWAITED_MAX: usize = 8;
/// Where the owner sits: whoever makes a pool is the first to take a seat in it.
pub(crate) const OWNER_SEAT: usize = 0;
/// Workers that follow others and wait for their turn at one time: each has a seat, and submitters are to find one too.
pub(crate) const SUCCESSORS_MAX: usize = 16;
/// Characters of a pool's name.
pub(crate) const POOL_NAME_MAX: usize = 64;
/// Named values that a pool's creator shares with its workers. Few: a worker reads all their names when it starts.
pub(crate) const SHARED_MAX: usize = 64;
/// Bytes of such a name, of the prefix of workers' names, and of the name of a set-up function.
pub(crate) const CONSTANT_NAME_MAX: usize = FUNCTION_NAME_MAX;
/// Bytes of the text that says why a worker could not be made ready: what the header's page has room for.
pub(crate) const FAILURE_TEXT_MAX: usize = 496;
/// A task that killed this many workers is not given to another one.
pub(crate) const KILLS_MAX_DEFAULT: u8 = 2;
/// Starts in a row that may fail before the pool is broken.
pub(crate) const START_FAILURES_MAX: u32 = 3;

/// One tick of every bounded sleep: whoever sleeps looks at everything at least this often. Less than one wake-up a second for each process.
pub(crate) const SLEEP_NS_MAX: u64 = 1_200_000_000;
/// A submitter that has seen its slot pending for this long wakes one more worker.
pub(crate) const PENDING_NS_MAX: u64 = 10_000_000;
/// A full lane is looked at again this often while `submit` is blocked.
pub(crate) const FULL_NS_MAX: u64 = 5_000_000;
/// A wait for a mutex looks for proof of its owner's death this often.
pub(crate) const MUTEX_SLICE_NS: u64 = 10_000_000;
/// After this long behind a living owner, a mutex wait ends with an error that names the owner.
pub(crate) const MUTEX_NS_MAX: u64 = 5_000_000_000;
/// A supervisor has this long to write down why a worker died before others go on without the cause. On a loaded machine it may not be
/// scheduled for a tenth of a second.
pub(crate) const CAUSE_GRACE_NS: u64 = 500_000_000;
/// How long a shutdown with a limit waits for workers that it has killed: much longer than the end of a process takes on a loaded machine.
#[cfg(not(loom))]
pub(crate) const KILLED_NS_MAX: u64 = 2_000_000_000;

/// A time span in nanoseconds; one that does not fit is as good as for ever.
#[cfg(not(loom))]
pub(crate) fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const _: () = assert!(LANES_MAX * CAPACITY_MAX <= 1 << 28, "the owner word of a block has 28 bits for the slot");
const _: () = assert!(ORDER_PER_SLOT.is_power_of_two());
const _: () = assert!(PARTICIPANTS_MAX <= 1 << 10, "an owner field has ten bits for the participant");
const _: () = assert!(CAPACITY_DEFAULT.is_power_of_two() && CAPACITY_MAX.is_power_of_two());
const _: () = assert!(FUNCTIONS_MAX <= 1 << 15, "a slot has 15 bits for the function");
const _: () = assert!(SETS_MAX < 1 << 12, "a set reference has twelve bits for the index");
const _: () = assert!(PAYLOAD_LEN_MAX == 1 << (BLOCK_SHIFT_MIN as usize + BLOCK_CLASSES - 1));
const _: () = assert!(WORKERS_MAX < PARTICIPANTS_MAX);
