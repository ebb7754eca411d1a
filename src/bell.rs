//! The bell: a thread of the owner that sleeps on the owner's park word, which workers can wake, and wakes the supervisor, which sleeps in `poll`.
//! Only a pool in which others have something to tell the owner has one: that a worker is about to leave, or that a task waits and nobody is free for it.

use crate::error::Result;
use crate::limits::SLEEP_NS_MAX;
use crate::pool::Pool;
use crate::sync::Ordering::Acquire;
use crate::sync::{futex_wait, now_ns};
use crate::sys;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Ends the thread when it is dropped.
pub(crate) struct Bell {
    pool: Arc<Pool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bell {
    /// `supervisor` is what that sleeps on.
    pub(crate) fn hang(pool: &Arc<Pool>, supervisor: BorrowedFd<'_>) -> Result<Bell> {
        let supervisor = supervisor.try_clone_to_owned().map_err(|e| sys::SysError::from_io("dup of the bell", &e))?;
        let over = Arc::new(AtomicBool::new(false));
        let (of, is_over) = (pool.clone(), over.clone());
        let listen = move || {
            let park = &of.member.record().park;
            loop {
                // Acquire: pairs with the wake: what it tells of, and the end of the pool, are seen below, or the word differs from this.
                let seen = park.load(Acquire);
                if is_over.load(Relaxed) {
                    return;
                }
                sys::eventfd_signal(supervisor.as_fd());
                let _ = futex_wait(park, seen, Some(now_ns() + SLEEP_NS_MAX));
            }
        };
        let thread = std::thread::Builder::new().name("taskring-bell".into()).spawn(listen);
        let thread = thread.map_err(|e| sys::SysError::from_io("start of the bell", &e))?;
        Ok(Bell { pool: pool.clone(), over, thread: Some(thread) })
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Ordered by the wake.
        self.over.store(true, Relaxed);
        self.pool.segment().sleepers().wake(self.pool.member.who().index());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
