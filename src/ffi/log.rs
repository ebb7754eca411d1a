//! What the library has to say: handed to a callback, never printed.

use super::call::taskring_destructor;
use super::status::taskring_status;
use super::{guard, null};
use crate::error::Error;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Arc, Mutex, OnceLock};

/// Something is lost or broken.
pub const TASKRING_LOG_ERROR: u32 = 1;
/// Something went wrong, and was mended: a worker died and is replaced.
pub const TASKRING_LOG_WARN: u32 = 2;
/// What a careful operator may want to know.
pub const TASKRING_LOG_INFO: u32 = 3;
/// What helps to follow the library's doing.
pub const TASKRING_LOG_DEBUG: u32 = 4;

/// Takes one message, a string that is valid for the call. It must not let a C++ exception out, nor jump out.
pub type taskring_logger = Option<unsafe extern "C" fn(level: u32, message: *const c_char, context: *mut c_void)>;

struct Sink {
    logger: unsafe extern "C" fn(u32, *const c_char, *mut c_void),
    context: *mut c_void,
    destructor: taskring_destructor,
}

// SAFETY: by the contract of `taskring_set_log` logger, context and destructor may be used from any thread, also several at once.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: by the contract of `taskring_set_log`, once, after the last call of the logger.
            unsafe { destructor(self.context) };
        }
    }
}

static SINK: Mutex<Option<Arc<Sink>>> = Mutex::new(None);

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "taskring"
    }

    fn log(&self, record: &Record<'_>) {
        // Not called under the lock: it may set another one.
        let sink = crate::pool::lock(&SINK).clone();
        if let Some(sink) = sink.filter(|_| self.enabled(record.metadata())) {
            let level = match record.level() {
                Level::Error => TASKRING_LOG_ERROR,
                Level::Warn => TASKRING_LOG_WARN,
                Level::Info => TASKRING_LOG_INFO,
                Level::Debug | Level::Trace => TASKRING_LOG_DEBUG,
            };
            let text = CString::new(record.args().to_string().replace('\0', "\u{fffd}")).unwrap_or_default();
            // SAFETY: by the contract of `taskring_set_log`; the sink is held for the call.
            unsafe { (sink.logger)(level, text.as_ptr(), sink.context) };
        }
    }

    fn flush(&self) {}
}

/// Has `logger` called with what this process's part of the library has to say, up to `level_max` (TASKRING_LOG_ERROR to TASKRING_LOG_DEBUG), in
/// place of any logger set before; a NULL logger is silence, which is the beginning. It is called from threads of the library, several at once, and
/// must not end or free a pool: the thread that would do the work is in the logger. `destructor` may be NULL; it is called with `context` once the
/// logger is not used any more, and also when this call fails.
///
/// Returns TASKRING_OK; TASKRING_INVALID_ARGUMENT for a level; TASKRING_EXISTS in a Rust program that has a logger of its own.
///
/// # Safety
/// `logger` and `destructor` may be called with `context` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_set_log(
    level_max: u32,
    logger: taskring_logger,
    context: *mut c_void,
    destructor: taskring_destructor,
) -> taskring_status {
    guard(|| {
        let sink = Arc::new(Sink { logger: logger.unwrap_or(nothing), context, destructor });
        let level = match (logger, level_max) {
            (None, _) => LevelFilter::Off,
            (_, TASKRING_LOG_ERROR) => LevelFilter::Error,
            (_, TASKRING_LOG_WARN) => LevelFilter::Warn,
            (_, TASKRING_LOG_INFO) => LevelFilter::Info,
            (_, TASKRING_LOG_DEBUG) => LevelFilter::Debug,
            (_, other) => {
                return Err(Error::invalid("level_max", other, "TASKRING_LOG_ERROR to TASKRING_LOG_DEBUG").into());
            }
        };
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        if !INSTALLED.get_or_init(|| log::set_logger(&Forward).is_ok()) {
            return Err(Error::Exists { name: "another logger".into() }.into());
        }
        log::set_max_level(level);
        let before = crate::pool::lock(&SINK).replace(sink);
        // Its destructor is the user's code.
        drop(before);
        Ok(())
    })
}

/// Hands a message to the logger that was set (see taskring_set_log), as the library does with its own: for wrappers of this interface.
///
/// Returns TASKRING_OK, also when nobody listens; TASKRING_INVALID_ARGUMENT for a level, or a NULL message.
///
/// # Safety
/// `message` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskring_log(level: u32, message: *const c_char) -> taskring_status {
    guard(|| {
        let level = match level {
            TASKRING_LOG_ERROR => Level::Error,
            TASKRING_LOG_WARN => Level::Warn,
            TASKRING_LOG_INFO => Level::Info,
            TASKRING_LOG_DEBUG => Level::Debug,
            other => return Err(Error::invalid("level", other, "TASKRING_LOG_ERROR to TASKRING_LOG_DEBUG").into()),
        };
        if message.is_null() {
            return Err(null("message"));
        }
        // SAFETY: not NULL, so a string by this function's contract. What is no UTF-8 in it is better replaced than lost.
        let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
        log::log!(target: "taskring", level, "{text}");
        Ok(())
    })
}

unsafe extern "C" fn nothing(_: u32, _: *const c_char, _: *mut c_void) {}
