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

/// Makes this program able to be its own worker: the first line of main. In a worker process it serves the pool and never returns;
/// anywhere else it returns at once. Functions that spawned workers run are registered before this call.
///
/// The parameters are those of main. They are not read today.
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

/// Serves the named pool in this thread until the pool ends. Any number of threads and programs may do so.
///
/// Returns TASKRING_OK when the pool has ended; TASKRING_NOT_FOUND, TASKRING_NOT_OWNER, TASKRING_INCOMPATIBLE, TASKRING_TOO_MANY;
/// TASKRING_INVALID_ARGUMENT for a bad name.
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
