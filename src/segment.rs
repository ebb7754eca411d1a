//! The segment: one mapping of shared memory, created or attached to, with the single cast from bytes to the structs of
//! `layout.rs`.
//!
//! Anonymous pools live in a memfd, sealed so that nobody can change its size. Named pools are files under `/dev/shm` (see
//! `named.rs`). Either way the file is as large as the pool can ever get, but sparse: memory is committed by `fallocate` before
//! anything in it is touched, so a full file system is a typed error and never a SIGBUS.

use crate::constants::{self, Constants};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::layout::*;
use crate::limits::*;
use crate::retry::Rule;
use crate::ring::Lane;
use crate::search::Rings;
use crate::seeded::{Bug, seeded};
use crate::set::Sets;
use crate::sleep::Sleepers;
use crate::state::Participant;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU32, AtomicU64, fence};
use crate::sys;
use crate::time_limits::TimeLimits;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What keeps the memory mapped.
#[allow(dead_code, reason = "held for their Drop")]
enum Mapping {
    Anonymous(memmap2::MmapRaw),
    #[cfg(feature = "named")]
    Named(shared_memory::Shmem),
}

/// A mapped segment.
pub(crate) struct Segment {
    base: *mut u8,
    geometry: Geometry,
    file: OwnedFd,
    #[cfg(feature = "raw-sync")]
    pthread_mutexes: Option<crate::pthread_mutex::PthreadMutexes>,
    _mapping: Mapping,
}

// SAFETY: the memory behind `base` stays mapped as long as the segment lives, belongs to no thread, and is only accessed through atomics
// or, for payload bytes, under the ownership that the block's owner word gives.
unsafe impl Send for Segment {}
// SAFETY: as above; no method hands out plain references to memory that somebody else writes.
unsafe impl Sync for Segment {}

/// What the creator decides, written into the first page.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// With room for the constants.
    pub(crate) geometry: Geometry,
    pub(crate) constants: Constants,
    pub(crate) policy: u64,
    pub(crate) limits: TimeLimits,
    pub(crate) retry: Rule,
    pub(crate) demand: Option<Demand>,
    pub(crate) start_timeout: Duration,
    pub(crate) named: bool,
}

impl Segment {
    /// A new anonymous segment.
    pub(crate) fn anonymous(plan: &Plan) -> Result<Segment> {
        let file = sys::memfd(c"taskring")?;
        sys::truncate(file.as_fd(), plan.geometry.segment_len())?;
        sys::seal_size(file.as_fd())?;
        let map = map_file(file.as_fd(), plan.geometry.segment_len())?;
        let base = map.as_mut_ptr();
        Segment::new(base, plan.geometry, file, Mapping::Anonymous(map)).initialised(plan)
    }

    /// A named segment that was just created, under its temporary name.
    #[cfg(feature = "named")]
    pub(crate) fn created(plan: &Plan, file: OwnedFd, shmem: shared_memory::Shmem) -> Result<Segment> {
        Segment::new(shmem.as_ptr(), plan.geometry, file, Mapping::Named(shmem)).initialised(plan)
    }

    /// An anonymous segment that a parent process handed down.
    pub(crate) fn inherited(file: OwnedFd) -> Result<Segment> {
        let geometry = validate(file.as_fd(), "the inherited segment")?;
        let map = map_file(file.as_fd(), geometry.segment_len())?;
        Ok(Segment::new(map.as_mut_ptr(), geometry, file, Mapping::Anonymous(map)).attached())
    }

    /// A named segment whose file was opened and validated, and whose mapping has the right size.
    #[cfg(feature = "named")]
    pub(crate) fn opened(geometry: Geometry, file: OwnedFd, shmem: shared_memory::Shmem) -> Segment {
        Segment::new(shmem.as_ptr(), geometry, file, Mapping::Named(shmem)).attached()
    }

    /// A segment to look at: any attempt to write to it ends the process.
    pub(crate) fn read_only(file: OwnedFd, geometry: Geometry) -> Result<Segment> {
        let map = memmap2::MmapOptions::new().len(geometry.segment_len() as usize).map_raw_read_only(file.as_raw_fd());
        let map = map.map_err(|e| sys::SysError::from_io("mmap", &e))?;
        Ok(Segment::new(map.as_mut_ptr(), geometry, file, Mapping::Anonymous(map)))
    }

    fn new(base: *mut u8, geometry: Geometry, file: OwnedFd, mapping: Mapping) -> Segment {
        Segment {
            base,
            geometry,
            file,
            #[cfg(feature = "raw-sync")]
            pthread_mutexes: None,
            _mapping: mapping,
        }
    }

    fn initialised(self, plan: &Plan) -> Result<Segment> {
        self.initialise(plan)?;
        Ok(self.attached())
    }

    /// One whose lanes may be locked from here on.
    #[allow(unused_mut, reason = "there is one kind of mutex without the feature")]
    fn attached(mut self) -> Segment {
        #[cfg(feature = "raw-sync")]
        if self.geometry.mutexes == MutexKind::Pthread {
            let heads: &[LaneHead] = self.table(LANES_AT, LANES_MAX);
            // SAFETY: the creator has initialised them, before anybody could attach; they lie in the mapping, and are dropped with it.
            self.pthread_mutexes = Some(unsafe { crate::pthread_mutex::PthreadMutexes::over(heads) });
        }
        self
    }

    /// The lanes' mutexes, in a pool that is guarded by such.
    #[cfg(feature = "raw-sync")]
    #[inline]
    pub(crate) fn pthread_mutexes(&self) -> Option<&crate::pthread_mutex::PthreadMutexes> {
        self.pthread_mutexes.as_ref()
    }

    /// Whether workers come on demand, and which.
    pub(crate) fn demand(&self) -> Option<Demand> {
        Demand::from_bits(self.header().identity.demand.load(Relaxed))
    }

    /// How long a task waits for a worker that can run it.
    pub(crate) fn start_timeout(&self) -> Duration {
        match self.header().identity.start_timeout.load(Relaxed) {
            u32::MAX => Duration::MAX,
            ms => Duration::from_millis(u64::from(ms)),
        }
    }

    fn initialise(&self, plan: &Plan) -> Result<()> {
        self.commit(0, SLOTS_AT, "the pool")?;
        let id = &self.header().identity;
        id.format.store(format_word(plan.geometry.mutexes), Relaxed);
        id.segment_len.store(plan.geometry.segment_len(), Relaxed);
        id.capacity.store(plan.geometry.capacity as u64, Relaxed);
        id.payload_len.store(plan.geometry.payload_len, Relaxed);
        id.pid_namespace.store(sys::pid_namespace()?, Relaxed);
        id.time_namespace.store(sys::time_namespace()?, Relaxed);
        id.policy.store(plan.policy, Relaxed);
        id.limits.store(plan.limits.bits(), Relaxed);
        plan.retry.store(id.retry.each_ref());
        let start_timeout = plan.start_timeout.as_nanos().div_ceil(1_000_000);
        id.start_timeout.store(u32::try_from(start_timeout).unwrap_or(u32::MAX), Relaxed);
        id.demand.store(Demand::bits(plan.demand), Relaxed);
        id.cpus.store(plan.constants.cpu_count(&sys::cpus()).unwrap_or_else(sys::cpu_count) as u32, Relaxed);
        id.named.store(u32::from(plan.named), Relaxed);
        id.nonce.store(random(), Relaxed);
        id.constants_len.store(plan.geometry.constants_len, Relaxed);
        self.write_constants(&plan.constants)?;
        #[cfg(feature = "raw-sync")]
        if plan.geometry.mutexes == MutexKind::Pthread {
            for head in self.table::<LaneHead>(LANES_AT, LANES_MAX) {
                // SAFETY: fresh memory of the right size and alignment (see `mutex_of`), which nobody else can find yet.
                unsafe { sys::robust_mutex_init(crate::pthread_mutex::mutex_of(head))? };
            }
        }
        // Release: pairs with nothing but the rule "magic last"; attachers read the page by a system call.
        id.magic.store(MAGIC, Release);
        Ok(())
    }

    /// For the creator, before anybody else can find the segment.
    fn write_constants(&self, constants: &Constants) -> Result<()> {
        let len = self.geometry.constants_len;
        if len == 0 {
            return Ok(());
        }
        self.commit(self.geometry.constants_at(), len, "the pool's shared values")?;
        let directory = constants.directory();
        for (at, bytes) in std::iter::once((0, directory.as_slice())).chain(constants.values()) {
            assert!((at + bytes.len()) as u64 <= len, "the plan has room for the constants");
            // SAFETY: the range lies in the part of the mapping that the geometry sets apart, by the assertion, and is committed; nobody else
            // knows of the segment, so nobody reads it, and `bytes` lie in private memory.
            unsafe {
                let to = self.base.add(self.geometry.constants_at() as usize + at);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
        }
        Ok(())
    }

    /// What the creator has said.
    pub(crate) fn constants(&self) -> &[u8] {
        let (at, len) = (self.geometry.constants_at() as usize, self.geometry.constants_len as usize);
        // SAFETY: the range lies in the mapping, by the checked geometry, and was committed before the magic was written; nobody writes to it
        // after that.
        unsafe { std::slice::from_raw_parts(self.base.add(at), len) }
    }

    /// What the worker of that number is called.
    pub(crate) fn worker_name(&self, number: u32) -> String {
        constants::worker_name(&constants::read(self.constants()).unwrap_or_default(), number)
    }

    /// Why a worker could not be made ready.
    pub(crate) fn failure(&self) -> &Failure {
        &self.table::<Failure>(FAILURE_AT, 1)[0]
    }

    #[inline]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether an address lies in this mapping.
    pub(crate) fn holds(&self, at: *const u8) -> bool {
        (at as usize).checked_sub(self.base as usize).is_some_and(|offset| (offset as u64) < self.geometry.segment_len())
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes sure that memory stands behind a part of the segment. Idempotent; under no lock, for it may block.
    pub(crate) fn commit(&self, offset: u64, len: u64, what: &'static str) -> Result<()> {
        if seeded(Bug::NoFallocate) {
            return Ok(());
        }
        // A memfd takes whatever is asked until the machine (or the memory cgroup) kills somebody, so ask first.
        if len >= COMMIT_STEP
            && let Some(available) = sys::memory_available()
            && len > available
        {
            return Err(Error::OutOfMemory { what, needed: len, available });
        }
        match sys::allocate(self.file(), offset, len) {
            Ok(()) => Ok(()),
            Err(e) if e.errno == libc::ENOSPC || e.errno == libc::ENOMEM => {
                Err(Error::OutOfMemory { what, needed: len, available: sys::memory_available().unwrap_or(0) })
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The one cast from bytes to structs.
    #[inline]
    fn table<T>(&self, offset: u64, count: usize) -> &[T] {
        debug_assert!(offset + (count * size_of::<T>()) as u64 <= self.geometry.segment_len());
        debug_assert!(offset.is_multiple_of(align_of::<T>() as u64));
        // SAFETY: all offsets come from `Geometry`, which was checked against the size of the mapping, so the range lies within
        // it; the mapping is page-aligned and the offset is aligned for `T`; every `T` of `layout.rs` consists of atomics, for
        // which any bytes are valid and through which alone it is accessed, here and in other processes.
        unsafe { std::slice::from_raw_parts(self.base.add(offset as usize).cast::<T>(), count) }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        &self.table::<Header>(0, 1)[0]
    }
    #[inline]
    pub(crate) fn life(&self) -> &Life {
        &self.header().life
    }
    #[inline]
    pub(crate) fn records(&self) -> &[Record] {
        self.table(PARTICIPANTS_AT, PARTICIPANTS_MAX)
    }
    pub(crate) fn functions(&self) -> &[Function] {
        self.table(FUNCTIONS_AT, FUNCTIONS_MAX)
    }
    #[inline]
    pub(crate) fn sets(&self) -> Sets<'_> {
        Sets { words: self.table(SETS_AT, SETS_MAX), cancelled: self.table(SET_COUNTS_AT, SETS_MAX) }
    }
    pub(crate) fn blocks(&self) -> &[Block] {
        self.table(self.geometry.blocks_at(), BLOCKS_MAX)
    }
    #[inline]
    pub(crate) fn sleepers(&self) -> Sleepers<'_> {
        Sleepers::new(self.header(), self.records())
    }

    /// A range of the payload area. The caller has checked it against the area's length and knows that it is committed.
    pub(crate) fn payload(&self, offset: u64, len: usize) -> *mut u8 {
        assert!(offset + len as u64 <= self.geometry.payload_len, "a block within the payload area");
        // SAFETY: the assertion keeps the result within the mapping.
        unsafe { self.base.add((self.geometry.payload_at() + offset) as usize) }
    }

    /// The lanes in use.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (usize, Lane<'_>)> + '_ {
        // Acquire: pairs with `use_lane`.
        let used = self.life().lanes.load(Acquire);
        (0..LANES_MAX).filter(move |i| used & 1 << i != 0).map(|i| (i, self.lane(i)))
    }

    /// Commits a lane and takes it into use. Idempotent.
    pub(crate) fn use_lane(&self, lane: usize) -> Result<()> {
        self.commit(self.geometry.lane_at(lane), self.geometry.lane_len(), "a lane of slots")?;
        // Release: pairs with whoever reads the bit and then touches the lane.
        self.life().lanes.fetch_or(1 << lane, AcqRel);
        // Before we look whether the pool is open, for the first task in it. Pairs with the fence in `Segment::set`, and with that of `after_closing`: whoever
        // closes the pool, or has seen that it is closing, then looks through the lanes in use.
        fence(SeqCst);
        Ok(())
    }

    /// Commits a lane's extras and takes them into use, if they are not. Idempotent.
    pub(crate) fn use_extras(&self, lane: usize) -> Result<()> {
        assert!(lane < LANES_MAX, "a lane");
        // Acquire: pairs with the swap below.
        if self.life().extras.load(Acquire) & 1 << lane == 0 {
            self.commit(self.geometry.extras_at(lane), self.geometry.extras_len(), "what lies beside a lane")?;
            // Release: pairs with whoever reads the bit and then touches the extras.
            self.life().extras.fetch_or(1 << lane, AcqRel);
        }
        Ok(())
    }

    /// What lies beside a slot; `None` when no task of its lane has needed any of it.
    pub(crate) fn extra(&self, lane: usize, slot: usize) -> Option<&Extra> {
        // Acquire: pairs with `use_extras`.
        let is_used = lane < LANES_MAX && self.life().extras.load(Acquire) & 1 << lane != 0;
        is_used.then(|| &self.table::<Extra>(self.geometry.extras_at(lane), self.geometry.capacity)[slot])
    }

    /// The word that names a slot's block of events; `None` as above.
    pub(crate) fn events_name(&self, lane: usize, slot: usize) -> Option<&AtomicU32> {
        self.extra(lane, slot)?;
        Some(&self.table::<AtomicU32>(self.geometry.events_names_at(lane), self.geometry.capacity)[slot])
    }

    /// The hard limit of the task in a slot, in milliseconds.
    pub(crate) fn hard_limit_ms(&self, lane: usize, slot: usize) -> u32 {
        self.extra(lane, slot).map_or(0, |extra| TimeLimits::from_bits(extra.limits.load(Relaxed)).hard_ms)
    }

    /// Splits a ticket's slot number into lane and slot; `None` when there is no such slot.
    pub(crate) fn slot_at(&self, number: u32) -> Option<(usize, usize)> {
        let (lane, slot) = self.geometry.split(number);
        // Acquire: pairs with `use_lane`.
        (lane < LANES_MAX && self.life().lanes.load(Acquire) & 1 << lane != 0).then_some((lane, slot))
    }
}

impl Rings for Segment {
    #[inline]
    fn lane(&self, index: usize) -> Lane<'_> {
        let index = index.min(LANES_MAX - 1);
        let at = self.geometry.lane_at(index);
        Lane {
            head: &self.table::<LaneHead>(LANES_AT, LANES_MAX)[index],
            slots: self.table(at, self.geometry.capacity),
            ended: self.table(at + (self.geometry.capacity * size_of::<Slot>()) as u64, self.geometry.bitmap_words()),
            order: self.table(
                at + (self.geometry.capacity * size_of::<Slot>() + self.geometry.bitmap_words() * 8) as u64,
                self.geometry.capacity * ORDER_PER_SLOT,
            ),
        }
    }
    #[inline]
    fn used(&self) -> &AtomicU64 {
        &self.life().lanes
    }
    #[inline]
    fn epoch(&self) -> &AtomicU32 {
        &self.life().epoch
    }
    fn passed(&self, who: Participant) -> &AtomicU32 {
        &self.records()[who.index()].passed
    }
}

/// A number that no other pool has: the standard library seeds its hashers from the system's random source.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn map_file(file: BorrowedFd<'_>, len: u64) -> Result<memmap2::MmapRaw> {
    memmap2::MmapOptions::new()
        .len(len as usize)
        .map_raw(file.as_raw_fd())
        .map_err(|e| sys::SysError::from_io("mmap", &e).into())
}

/// Checks a file before more than its first page is looked at: whose it is, what it is, and that this build can share it.
pub(crate) fn validate(file: BorrowedFd<'_>, name: &str) -> Result<Geometry> {
    let stat = sys::stat(file)?;
    if stat.uid != sys::uid() && !seeded(Bug::NoOwnerCheck) {
        return Err(Error::NotOwner { name: name.into(), uid: stat.uid });
    }
    if !stat.regular {
        return Err(Error::incompatible("the type of file", "something else", "a regular file"));
    }
    if stat.mode & 0o077 != 0 && !seeded(Bug::NoOwnerCheck) {
        return Err(Error::incompatible("the file's mode", format!("{:o}", stat.mode), "600"));
    }
    let identity_len = size_of::<Identity>();
    let mut bytes = vec![0_u8; identity_len];
    let mut filled = 0;
    while filled < identity_len {
        match sys::read_at(file, &mut bytes[filled..], filled as u64)? {
            0 => return Err(Error::incompatible("the file's size", stat.size, format!("at least {identity_len}"))),
            n => filled += n,
        }
    }
    let word = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"));
    let geometry = check_identity(&word, stat.size)?;
    let named = &bytes[std::mem::offset_of!(Identity, named)..][..size_of::<u32>()];
    if named.iter().all(|&byte| byte == 0) && !sys::is_size_sealed(file)? {
        return Err(Error::incompatible("the file of a pool without a name", "of a length that may change", "sealed"));
    }
    Ok(geometry)
}

/// What guards the lanes of a segment with this format word.
fn check_format(found: u64) -> Result<MutexKind> {
    let kinds = [MutexKind::OwnerWord, MutexKind::Pthread];
    match kinds.into_iter().find(|&kind| found == format_word(kind)) {
        Some(MutexKind::Pthread) if cfg!(not(feature = "raw-sync")) => Err(Error::incompatible(
            "the kind of the lanes' mutexes",
            "Pthread",
            "OwnerWord, or a build with the feature raw-sync",
        )),
        Some(kind) => Ok(kind),
        None => {
            let what = "the format of the segment (another version or build options)";
            Err(Error::incompatible(what, format!("{found:#x}"), format!("{:#x}", format_word(MutexKind::OwnerWord))))
        }
    }
}

fn check_identity(word: &impl Fn(usize) -> u64, file_len: u64) -> Result<Geometry> {
    use std::mem::offset_of;
    let expect = |what, offset: usize, wanted: u64| match word(offset) {
        found if found == wanted => Ok(()),
        found => Err(Error::incompatible(what, format!("{found:#x}"), format!("{wanted:#x}"))),
    };
    expect("the magic word", offset_of!(Identity, magic), MAGIC)?;
    let mutexes = check_format(word(offset_of!(Identity, format)))?;
    let capacity = word(offset_of!(Identity, capacity));
    if !(1..=CAPACITY_MAX as u64).contains(&capacity) || !capacity.is_power_of_two() {
        return Err(Error::incompatible("the capacity", capacity, format!("a power of two up to {CAPACITY_MAX}")));
    }
    let payload_len = word(offset_of!(Identity, payload_len));
    if payload_len > SEGMENT_MAX {
        return Err(Error::incompatible("the payload area", payload_len, format!("up to {SEGMENT_MAX} bytes")));
    }
    let constants_len = word(offset_of!(Identity, constants_len));
    if constants_len > SEGMENT_MAX {
        return Err(Error::incompatible("the shared values", constants_len, format!("up to {SEGMENT_MAX} bytes")));
    }
    let geometry = Geometry::new(capacity as usize, payload_len).with_constants(constants_len).guarded_by(mutexes);
    let wanted = geometry.segment_len();
    expect("the segment's length", offset_of!(Identity, segment_len), wanted)?;
    if file_len != wanted {
        return Err(Error::incompatible("the file's size", file_len, wanted));
    }
    expect("the PID namespace", offset_of!(Identity, pid_namespace), sys::pid_namespace()?)?;
    expect("the time namespace", offset_of!(Identity, time_namespace), sys::time_namespace()?)?;
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_of_a_mutex_that_this_build_lacks_is_refused_by_name() {
        assert_eq!(check_format(format_word(MutexKind::OwnerWord)), Ok(MutexKind::OwnerWord));
        let of_pthread = check_format(format_word(MutexKind::Pthread));
        let built = crate::Executor::builder().start(crate::StartMethod::None).lane_mutex(MutexKind::Pthread).build();
        if cfg!(feature = "raw-sync") {
            assert_eq!((of_pthread, built.map(drop)), (Ok(MutexKind::Pthread), Ok(())));
        } else {
            for error in [of_pthread.map(drop).unwrap_err(), built.map(drop).unwrap_err()] {
                let text = error.to_string();
                assert!(text.contains("Pthread") && text.contains("the feature raw-sync"), "{text}");
            }
        }
        assert!(matches!(check_format(1), Err(Error::Incompatible { .. })));
    }
}
