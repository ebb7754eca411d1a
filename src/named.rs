//! Pools with a name: files under `/dev/shm` that unrelated programs attach to.
//!
//! A pool is made under a random temporary name, at its full size, committed and initialised, and its owner takes its seat; only then is it linked
//! to its name, so nobody ever sees half a pool, and the link fails if the name exists. What dead creators left behind under temporary names is
//! swept by the next one. A pool whose participants are all dead may be replaced: the replacer first locks every participant's byte, and then
//! looks whether somebody who gave its own back has the pool in its memory.
//!
//! Files cannot be sealed: a process of the same user that truncates one makes others fail with SIGBUS. Anonymous pools cannot be truncated.

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::layout::{Geometry, PARTICIPANTS_AT, Record};
use crate::limits::{PARTICIPANTS_MAX, POOL_NAME_MAX};
use crate::pool::Pool;
use crate::record::{Kind, Presence, RecordState};
use crate::registry::process_is_gone;
use crate::segment::{Plan, Segment, random, validate};
use crate::sync::Ordering::Relaxed;
use crate::sys;
use shared_memory::ShmemConf;
use std::ffi::CString;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

const DIR: &str = "/dev/shm";
const PREFIX: &str = "taskring.";
const TEMPORARY: &str = "taskring-new.";

/// Checks a pool's name before it goes anywhere.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > POOL_NAME_MAX || !name.chars().all(good) {
        let wanted = format!("1 to {POOL_NAME_MAX} letters, digits, '-', '_' or '.'");
        return Err(Error::invalid("the pool's name", format!("{name:?}"), wanted));
    }
    Ok(())
}

fn path_of(file: &str) -> CString {
    CString::new(format!("{DIR}/{file}")).expect("checked names hold no zero byte")
}

pub(crate) fn path(name: &str) -> CString {
    path_of(&format!("{PREFIX}{name}"))
}

/// A segment under its temporary name.
pub(crate) struct New {
    segment: Segment,
    temporary: Temporary,
}

/// The temporary name; unlinked when dropped.
pub(crate) struct Temporary(CString);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = sys::unlink(&self.0);
    }
}

impl New {
    pub(crate) fn create(plan: &Plan) -> Result<New> {
        sweep_temporaries();
        let file = format!("{TEMPORARY}{}.{:016x}", sys::pid(), random());
        let created = ShmemConf::new().os_id(format!("/{file}")).size(plan.geometry.segment_len() as usize).create();
        let mut shmem = created.map_err(|e| match e {
            shared_memory::ShmemError::MapCreateFailed(errno) => Error::System { call: "shm_open", errno: errno as i32 },
            _ => Error::System { call: "creation of a named segment", errno: sys::last_errno() },
        })?;
        // The library would unlink by name in its Drop, also in a forked child; the name is ours to keep.
        shmem.set_owner(false);
        let temporary = Temporary(path_of(&file));
        let opened = sys::open_existing(&temporary.0)?;
        let segment = Segment::created(plan, opened, shmem)?;
        Ok(New { segment, temporary })
    }

    pub(crate) fn into_parts(self) -> (Segment, Temporary) {
        (self.segment, self.temporary)
    }
}

impl Temporary {
    /// Gives the pool its name, replacing a dead pool of that name.
    pub(crate) fn publish(self, name: &str, pool: &mut Pool) -> Result<()> {
        let to = path(name);
        for _ in 0..3 {
            match sys::link(&self.0, &to) {
                Ok(()) => {
                    pool.name = Some(to);
                    return Ok(());
                }
                Err(e) if e.errno == libc::EEXIST => drop(remove_if_dead(name)?),
                Err(e) => return Err(e.into()),
            }
        }
        Err(Error::Exists { name: name.into() })
    }
}

/// Removes the pool of that name if nobody is attached to it any more. False when there was none.
fn remove_if_dead(name: &str) -> Result<bool> {
    let path = path(name);
    let exists = || Error::Exists { name: name.into() };
    let file = match sys::open_existing(&path) {
        Ok(file) => file,
        Err(e) if e.errno == libc::ENOENT => return Ok(false),
        // That says nothing of the pool.
        Err(e) if matches!(e.errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => return Err(e.into()),
        Err(_) => return Err(exists()),
    };
    if sys::stat(file.as_fd())?.uid != sys::uid() {
        return Err(exists());
    }
    // Every participant's byte: from here on nobody can take a seat in it, and one that had opened it sees that its name is gone.
    if !sys::try_lock_range(file.as_fd(), 0, 2 * PARTICIPANTS_MAX as u64)? {
        return Err(exists());
    }
    if is_in_memory(&file, name)? {
        return Err(exists());
    }
    if still_named(&file, &path)? {
        sys::unlink(&path)?;
    }
    Ok(true)
}

/// Whether an owner or submitter that has closed every descriptor, and so gave its byte back, has the pool in its memory still. One that became
/// another program has not.
fn is_in_memory(file: &OwnedFd, name: &str) -> Result<bool> {
    match validate(file.as_fd(), name) {
        Ok(_) => {}
        // Of what is no pool of this build, or one of another namespace, the bytes alone tell.
        Err(Error::Incompatible { .. } | Error::NotOwner { .. }) => return Ok(false),
        Err(e) => return Err(e),
    }
    let stat = sys::stat(file.as_fd())?;
    let mut bytes = vec![0; PARTICIPANTS_MAX * size_of::<Record>()];
    sys::read_at(file.as_fd(), &mut bytes, PARTICIPANTS_AT)?;
    for record in bytes.chunks_exact(size_of::<Record>()) {
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let (state, pid) = (RecordState(word(offset_of!(Record, state))), word(offset_of!(Record, pid)));
        let start = offset_of!(Record, start);
        let start = u64::from(word(start)) | u64::from(word(start + 4)) << 32;
        let is_submitter = matches!(state.kind(), Some(Kind::Owner | Kind::Submitter));
        if state.presence() == Presence::Active
            && is_submitter
            && !process_is_gone(pid, start)
            // Whose memory cannot be looked at counts as attached.
            && sys::has_in_memory(pid, stat.device, stat.inode).unwrap_or(true)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn still_named(file: &OwnedFd, path: &CString) -> Result<bool> {
    let ours = sys::stat(file.as_fd())?.inode;
    match sys::open_existing(path) {
        Ok(now) => Ok(sys::stat(now.as_fd())?.inode == ours),
        Err(e) if e.errno == libc::ENOENT => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Removes what dead creators left under temporary names. Best effort: the next creator tries again.
fn sweep_temporaries() {
    let Ok(entries) = std::fs::read_dir(DIR) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|n| n.starts_with(TEMPORARY)) else { continue };
        // A creator that is alive but has not taken its seat yet is known by the pid in the name.
        let pid = name[TEMPORARY.len()..].split('.').next().and_then(|p| p.parse().ok());
        if pid.is_none_or(|pid| !matches!(sys::start_time(pid), Ok(None))) {
            continue;
        }
        let path = path_of(name);
        if let Ok(file) = sys::open_existing(&path)
            && sys::stat(file.as_fd()).is_ok_and(|s| s.uid == sys::uid())
            && sys::try_lock_range(file.as_fd(), 0, 2 * PARTICIPANTS_MAX as u64).unwrap_or(false)
        {
            let _ = sys::unlink(&path);
        }
    }
}

/// Opens and checks the pool of that name, and maps it.
pub(crate) fn open(name: &str) -> Result<Segment> {
    check_name(name)?;
    // The name may pass to another pool between our opening it and the mapping, which goes by name again.
    for _ in 0..100 {
        if let Some(segment) = open_once(name)? {
            return Ok(segment);
        }
    }
    Err(Error::NotFound { name: name.into() })
}

fn open_once(name: &str) -> Result<Option<Segment>> {
    let (file, geometry) = open_file(name)?;
    let shmem = ShmemConf::new().os_id(format!("/{PREFIX}{name}")).open().map_err(|e| match e {
        shared_memory::ShmemError::MapOpenFailed(errno) if errno as i32 != libc::ENOENT => {
            Error::System { call: "shm_open", errno: errno as i32 }
        }
        shared_memory::ShmemError::UnknownOsError(errno) => Error::System { call: "mmap", errno: errno as i32 },
        _ => Error::NotFound { name: name.into() },
    })?;
    let nonce = read_nonce(&file)?;
    if shmem.len() as u64 != geometry.segment_len() {
        return Ok(None);
    }
    let segment = Segment::opened(geometry, file, shmem);
    Ok((segment.header().identity.nonce.load(Relaxed) == nonce).then_some(segment))
}

fn open_file(name: &str) -> Result<(OwnedFd, Geometry)> {
    let file = sys::open_existing(&path(name)).map_err(|e| open_error(name, e))?;
    let geometry = validate(file.as_fd(), name)?;
    Ok((file, geometry))
}

pub(crate) fn open_error(name: &str, e: sys::SysError) -> Error {
    match e.errno {
        libc::ENOENT => Error::NotFound { name: name.into() },
        libc::EACCES => not_owner(name),
        libc::ELOOP => Error::incompatible("the type of file", "a symbolic link", "a regular file"),
        _ => e.into(),
    }
}

fn not_owner(name: &str) -> Error {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::symlink_metadata(format!("{DIR}/{PREFIX}{name}")).map_or(u32::MAX, |m| m.uid());
    Error::NotOwner { name: name.into(), uid }
}

fn read_nonce(file: &OwnedFd) -> Result<u64> {
    let mut bytes = [0; 8];
    sys::read_at(file.as_fd(), &mut bytes, offset_of!(crate::layout::Identity, nonce) as u64)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Fails when the pool lost its name before we had a seat in it: then it is over, or has been replaced.
pub(crate) fn check_still_named(segment: &Segment, name: &str) -> Result<()> {
    let ours = sys::stat(segment.file())?;
    // A pool whose creator died between its two links keeps the temporary one, so the name itself is asked as well.
    if ours.nlink == 0 || inode_at(&path(name)) != Some(ours.inode) {
        return Err(Error::NotFound { name: name.into() });
    }
    segment.check_open()
}

fn not_found_if_gone(segment: &Segment, name: &str, error: Error) -> Error {
    check_still_named(segment, name).err().unwrap_or(error)
}

impl Executor {
    /// Attaches to a named pool as another submitter, from any process of the same user.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotOwner`], [`Error::Incompatible`], [`Error::ShutDown`], [`Error::TooMany`]; [`Error::InvalidArgument`] for what is no
    /// pool's name; [`Error::Broken`], [`Error::Corrupt`], [`Error::Stalled`], [`Error::OutOfMemory`], [`Error::System`].
    pub fn attach(name: &str) -> Result<Executor> {
        let segment = Arc::new(open(name)?);
        check_still_named(&segment, name)?;
        let pool = Pool::join(segment.clone(), Kind::Submitter).map_err(|e| not_found_if_gone(&segment, name, e))?;
        check_still_named(&segment, name)?;
        Ok(Executor::from_parts(Arc::new(pool), None))
    }

    /// Makes a named pool with the default options.
    ///
    /// # Errors
    /// As [`Builder::create_named`](crate::Builder::create_named).
    pub fn create_named(name: &str) -> Result<Executor> {
        Executor::builder().create_named(name)
    }
}

/// Serves a named pool as a worker in this thread, with the functions of this program, until the pool ends.
///
/// Whoever submits a task may have it killed ([`Future::cancel_hard`](crate::Future::cancel_hard),
/// [`SubmitOptions::hard_limit`](crate::SubmitOptions::hard_limit)), which kills the process of its worker. That is not done while the process takes
/// part in the same pool in another way; but a pool of its own, or another that it serves, goes with it. So let a process that serves a pool do nothing else.
///
/// # Errors
/// As [`Executor::attach`]; [`Error::UnknownFunction`] when this program lacks the pool's initializer, and [`Error::Broken`] when that fails.
pub fn work(name: &str) -> Result<()> {
    let segment = Arc::new(open(name)?);
    check_still_named(&segment, name)?;
    crate::worker::serve(segment.clone(), Kind::Worker, crate::worker::Came::ByName(name.into()))
        .map_err(|e| not_found_if_gone(&segment, name, e))
}

/// Removes the file of a named pool to which nobody is attached any more. False when there is none.
///
/// # Errors
/// [`Error::Exists`] when somebody is attached or it belongs to another user; [`Error::System`] when that cannot be found out.
pub fn remove_dead(name: &str) -> Result<bool> {
    check_name(name)?;
    remove_if_dead(name)
}

/// For the owner at its end: takes the name away, if it still is this pool's. By path alone, for there may be no descriptor left to open.
pub(crate) fn unlink_own(segment: &Segment, path: &CString) {
    if let Ok(ours) = sys::stat(segment.file())
        && inode_at(path) == Some(ours.inode)
    {
        let _ = sys::unlink(path);
    }
}

fn inode_at(path: &CString) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(path.as_bytes())).ok()?.ino())
}
