//! Version, and becoming a worker.

use super::status::taskring_status;
use super::{guard, guard_value, text};
use std::ffi::{c_char, c_int};

/// The version of the header and of the library that go together: major, minor and patch in eight bits each.
pub const TASKRING_VERSION: u32 = 0x000100;

/// The version of the library that is running.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_version() -> u32 {
    guard_value(0, || TASKRING_VERSION)
}

/// Checks that a header and this library go together: pass TASKRING_VERSION. While the major version is 0, the minor one must be the same.
///
/// Returns TASKRING_OK; TASKRING_INCOMPATIBLE.
#[unsafe(no_mangle)]
pub extern "C" fn taskring_check_version(header: u32) -> taskring_status {
    guard(|| {
        let parts = |version: u32| (version >> 16, version >> 8 & 0xff, version & 0xff);
        let (ours, theirs) = (parts(TASKRING_VERSION), parts(header));
        let compatible = ours.0 == theirs.0 && if ours.0 == 0 { ours.1 == theirs.1 } else { ours.1 >= theirs.1 };
        let text = |(major, minor, patch): (u32, u32, u32)| format!("{major}.{minor}.{patch}");
        if compatible {
            return Ok(());
        }
        Err(crate::error::Error::incompatible("the header's version", text(theirs), text(ours)).into())
    })
}

/// Makes this program able to be its own worker: the first line of main. In a worker process it serves the pool and never returns;
/// anywhere else it returns at once. Functions that spawned workers run are registered before this call.
///
/// The parameters are those of main. They are not read today.
///
/// Returns TASKRING_OK.
///
/// # Safety
/// Called while the process has one thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_init(argc: c_int, argv: *mut *mut c_char) -> taskring_status {
    guard(|| {
        let _ = (argc, argv);
        crate::start::init();
        Ok(())
    })
}

/// Serves the named pool in this thread until the pool ends. Any number of threads and programs may do so. A task that is killed (taskring_cancel_hard, a
/// hard time limit) takes its worker's process with it, unless that takes part in the same pool in another way. So let a process that serves a pool do nothing
/// else: a pool that it owns, or another that it serves, would go as well.
///
/// Returns TASKRING_OK when the pool has ended; TASKRING_NOT_FOUND, TASKRING_NOT_OWNER, TASKRING_INCOMPATIBLE, TASKRING_TOO_MANY;
/// TASKRING_INVALID_ARGUMENT for a bad name; TASKRING_UNKNOWN_FUNCTION when this program lacks the pool's initializer; TASKRING_BROKEN when the initializer
/// fails, or the pool is broken already; TASKRING_SHUT_DOWN, TASKRING_CORRUPT, TASKRING_STALLED, TASKRING_SYSTEM.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_work(name: *const c_char) -> taskring_status {
    guard(|| {
        // SAFETY: as this function's contract says.
        let name = unsafe { text("name", name) }?;
        Ok(crate::named::work(name)?)
    })
}
