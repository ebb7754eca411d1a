//! Where the words of a segment lie, told a second time: the test looks at the bytes from outside. A drift is noticed by the segment's length, which
//! depends on nearly all of these numbers.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub const CAPACITY: usize = 8;
pub const PAYLOAD: u64 = 1 << 20;

const PARTICIPANTS_AT: usize = 4096;
const FUNCTIONS_AT: usize = PARTICIPANTS_AT + 256 * RECORD;
const SETS_AT: usize = FUNCTIONS_AT + 512 * FUNCTION;
const SET_COUNTS_AT: usize = SETS_AT + 4095 * 8;
const LANES_AT: usize = (SET_COUNTS_AT + 4095 * 8).next_multiple_of(128);
pub const SLOTS_AT: usize = (LANES_AT + 24 * LANE).next_multiple_of(4096);
const LANE_LEN: usize = (CAPACITY * SLOT + 8 + CAPACITY * 16).next_multiple_of(4096);
const EXTRAS_AT: usize = SLOTS_AT + 24 * LANE_LEN;
const EXTRAS_LEN: usize = (CAPACITY * (EXTRA + 4)).next_multiple_of(4096);
const BLOCKS_AT: usize = EXTRAS_AT + 24 * EXTRAS_LEN;
const PAYLOAD_AT: usize = BLOCKS_AT + (1 << 18) * BLOCK;
const RECORD: usize = 384;
const FUNCTION: usize = 256;
const LANE: usize = 768;
const SLOT: usize = 128;
const EXTRA: usize = 192;
const BLOCK: usize = 32;
/// Up to the first payload blocks' descriptors: what is looked at and damaged.
const MAPPED: usize = BLOCKS_AT + 4096;

/// What a damaged word may do beside a typed error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing: answers stay right.
    Rules,
    /// It says what a task is, where its bytes lie or how many there are, or holds them: this task may fail, or give another answer.
    Content,
}

/// A part of the segment.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    pub at: usize,
    pub len: usize,
}

/// Everything that is damaged bit by bit: of tables, what is in use and one entry that is not.
pub fn parts(functions: usize) -> Vec<Part> {
    let part = |name: String, at, len| Part { name, at, len };
    let mut all = vec![part("header".into(), 0, 1152), part("failure".into(), 2048, 512)];
    all.extend((0..5).map(|i| part(format!("participant {i}"), PARTICIPANTS_AT + i * RECORD, RECORD)));
    all.extend((0..=functions).map(|i| part(format!("function {i}"), FUNCTIONS_AT + i * FUNCTION, FUNCTION)));
    all.extend((0..2).map(|i| part(format!("set {i}"), SETS_AT + i * 8, 8)));
    all.extend((0..2).map(|i| part(format!("count of set {i}"), SET_COUNTS_AT + i * 8, 8)));
    all.extend((0..3).map(|i| part(format!("lane {i}"), LANES_AT + i * LANE, LANE)));
    for lane in 0..2 {
        let at = SLOTS_AT + lane * LANE_LEN;
        all.extend((0..CAPACITY).map(|i| part(format!("slot {i} of lane {lane}"), at + i * SLOT, SLOT)));
        all.push(part(format!("ended bits and list of lane {lane}"), at + CAPACITY * SLOT, 8 + CAPACITY * 16));
    }
    all.push(part("names of events of lane 0".into(), EXTRAS_AT + CAPACITY * EXTRA, CAPACITY * 4));
    all.extend((0..8).map(|i| part(format!("block {i}"), BLOCKS_AT + i * BLOCK, BLOCK)));
    all
}

/// Of the word at this place.
pub fn class_of(at: usize) -> Class {
    let in_slots = (SLOTS_AT..EXTRAS_AT).contains(&at) && (at - SLOTS_AT) % LANE_LEN < CAPACITY * SLOT;
    let word = (at - if in_slots { SLOTS_AT } else { 0 }) % SLOT;
    let slot_content = in_slots && (word >= 12 && !(20..24).contains(&word) && !(44..48).contains(&word));
    let block = (BLOCKS_AT..BLOCKS_AT + 4096).contains(&at);
    if slot_content || block { Class::Content } else { Class::Rules }
}

/// The words of a pool's file.
pub struct Image(MmapRaw);

impl Image {
    pub fn of(pool: &str) -> Image {
        let path = Path::new("/dev/shm").join(format!("taskring.{pool}"));
        let file = File::options().read(true).write(true).open(path).expect("the pool's file");
        let image = Image(MmapOptions::new().len(MAPPED).map_raw(&file).expect("a mapping"));
        assert_eq!(image.word(16).load(SeqCst), PAYLOAD_AT as u64 + PAYLOAD, "the layout is another one: see `layout.rs`");
        image
    }

    /// The word that holds the byte at `at`.
    pub fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < MAPPED);
        // SAFETY: within the mapping and aligned; nothing but atomics touches these bytes, here and elsewhere.
        unsafe { &*self.0.as_mut_ptr().add(at & !7).cast::<AtomicU64>() }
    }

    /// How many function names there are.
    pub fn functions(&self) -> usize {
        (0..512).take_while(|i| self.word(FUNCTIONS_AT + i * FUNCTION).load(SeqCst) as u32 != 0).count()
    }
}

/// Where a slot of the owner's lane begins; its state word is the first.
pub fn slot_at(index: usize) -> usize {
    SLOTS_AT + index * SLOT
}

/// Words of the owner's lane.
pub const MUTEX: usize = LANES_AT;
pub const TAIL: usize = LANES_AT + 128;
pub const HEAD: usize = LANES_AT + 256;
pub const ENDED: usize = SLOTS_AT + CAPACITY * SLOT;
/// Words of the header.
pub const FLAGS: usize = 128;
pub const LANES: usize = 136;
pub const SEARCHING: usize = 384;
/// The count of blocks, a half word.
pub const CARVED: usize = 776;
/// The owner's record: its state and process.
pub const RECORD_OF_OWNER: usize = PARTICIPANTS_AT;
/// The name of a function; the word that says that it is there.
pub fn name_at(function: usize) -> usize {
    FUNCTIONS_AT + function * FUNCTION + 48
}
pub fn ready_at(function: usize) -> usize {
    FUNCTIONS_AT + function * FUNCTION
}
