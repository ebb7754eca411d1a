//! What `raw_sync` does not do for a pthread mutex: making one that is robust, and going on after its owner's death.

use super::{Result, SysError};

/// The C library's mutex.
pub(crate) type PthreadMutex = libc::pthread_mutex_t;

/// Makes a mutex that processes share, and that the kernel passes on when its owner dies.
///
/// # Safety
/// `at` is writable for a `pthread_mutex_t`, aligned for it, and in nobody's use.
pub(crate) unsafe fn robust_mutex_init(at: *mut PthreadMutex) -> Result<()> {
    let done = |call, errno| if errno == 0 { Ok(()) } else { Err(SysError { call, errno }) };
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes are writable for the first call, which makes them valid for the others; the rest is the caller's promise.
    unsafe {
        done("pthread_mutexattr_init", libc::pthread_mutexattr_init(attributes))?;
        let made = done(
            "pthread_mutexattr_setpshared",
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED),
        )
        .and_then(|()| {
            let errno = libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST);
            done("pthread_mutexattr_setrobust", errno)
        })
        .and_then(|()| done("pthread_mutex_init", libc::pthread_mutex_init(at, attributes)));
        libc::pthread_mutexattr_destroy(attributes);
        made
    }
}

/// Makes a mutex whose owner died usable again.
///
/// # Safety
/// `at` is a robust mutex that the calling thread has been given with `EOWNERDEAD`.
pub(crate) unsafe fn robust_mutex_consistent(at: *mut PthreadMutex) -> Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::pthread_mutex_consistent(at) } {
        0 => Ok(()),
        errno => Err(SysError { call: "pthread_mutex_consistent", errno }),
    }
}
