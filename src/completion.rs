//! A completion queue: tasks are added as they are submitted, and come out as they end, from any number of pools and to any number of threads.

use crate::error::{Error, Result};
use crate::hub::{Queue, wake_event};
use crate::notifier::Duty;
use crate::pool::{Pool, Ticket, lock};
use crate::wait::{Turn, Waiting};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Tasks that are under way or over and not taken out yet, each with a tag of the caller's.
pub(crate) struct Completions<T> {
    queue: Arc<Queue>,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: HashMap<usize, Entry<T>>,
    last: usize,
    /// How many of the entries are of each pool.
    pools: Vec<(Arc<Pool>, usize)>,
}

struct Entry<T> {
    pool: Arc<Pool>,
    ticket: Ticket,
    tag: T,
}

impl<T> Default for Completions<T> {
    fn default() -> Completions<T> {
        Completions {
            queue: Arc::default(),
            inner: Mutex::new(Inner { entries: HashMap::new(), last: 0, pools: Vec::new() }),
        }
    }
}

impl<T> Completions<T> {
    /// Has a task come out when it is over; at once if it is.
    pub(crate) fn add(&self, pool: &Arc<Pool>, ticket: Ticket, tag: T) {
        let (key, others) = self.enter(pool, ticket, tag);
        pool.hub.watch(pool, ticket, &self.queue, key);
        // Threads that sleep on the other pools alone would not hear of this one.
        others.iter().for_each(|other| wake_event(other));
        if self.queue.has_fd() {
            // Asked for between `prepare` and now, perhaps. Who takes tasks out without the descriptor needs no notifier.
            let _ = pool.with_notifier(Duty::Wakes, || ());
        }
    }

    /// Notes a task. Also gives the other pools, when this one is new.
    fn enter(&self, pool: &Arc<Pool>, ticket: Ticket, tag: T) -> (usize, Vec<Arc<Pool>>) {
        let mut inner = lock(&self.inner);
        inner.last += 1;
        let key = inner.last;
        inner.entries.insert(key, Entry { pool: pool.clone(), ticket, tag });
        if let Some((_, count)) = inner.pools.iter_mut().find(|(p, _)| Arc::ptr_eq(p, pool)) {
            *count += 1;
            return (key, Vec::new());
        }
        let others = inner.pools.iter().map(|(p, _)| p.clone()).collect();
        inner.pools.push((pool.clone(), 1));
        self.queue.change();
        (key, others)
    }

    /// Has the pool's tasks make the descriptor ready, if there is one: everything of `add` that can fail.
    pub(crate) fn prepare(&self, pool: &Arc<Pool>) -> Result<()> {
        pool.member.check_fork()?;
        if self.queue.has_fd() { pool.with_notifier(Duty::Wakes, || ()) } else { Ok(()) }
    }

    /// The tag of a task that is over, in the order in which they end. `None` when nothing is under way any more.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; what is wrong with a pool.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<Option<T>> {
        let mut waiting = Waiting::on(self.queue.clone(), timeout);
        loop {
            {
                // Before the look at the pools and entries: what changes after it ends the sleep.
                waiting.seen = self.queue.changes();
                let inner = lock(&self.inner);
                if inner.entries.is_empty() {
                    return Ok(None);
                }
                if waiting.pools.len() != inner.pools.len()
                    || !waiting.pools.iter().zip(&inner.pools).all(|(a, (b, _))| Arc::ptr_eq(a, b))
                {
                    waiting.pools = inner.pools.iter().map(|(pool, _)| pool.clone()).collect();
                }
                if let Some(awaited) = &mut waiting.nested {
                    *awaited = inner.entries.values().map(|entry| (entry.pool.clone(), entry.ticket)).collect();
                }
            }
            match waiting.turn()? {
                Turn::Key(key) => {
                    if let Some(tag) = self.take(key) {
                        return Ok(Some(tag));
                    }
                }
                Turn::TimedOut => {
                    return Err(Error::TimedOut { what: "a task to end", after: timeout.unwrap_or_default() });
                }
                Turn::Again => {}
            }
        }
    }

    /// The same, of what is over and known to be.
    pub(crate) fn take_ready(&self) -> Option<T> {
        std::iter::from_fn(|| self.queue.pop()).find_map(|key| self.take(key))
    }

    fn take(&self, key: usize) -> Option<T> {
        let mut inner = lock(&self.inner);
        let entry = inner.entries.remove(&key)?;
        if let Some(at) = inner.pools.iter().position(|(p, _)| Arc::ptr_eq(p, &entry.pool)) {
            inner.pools[at].1 -= 1;
            if inner.pools[at].1 == 0 {
                inner.pools.swap_remove(at);
            }
        }
        let is_last = inner.entries.is_empty();
        drop(inner);
        if is_last {
            // Whoever else waits here has nothing to wait for.
            self.queue.change();
            wake_event(&entry.pool);
        }
        Some(entry.tag)
    }

    /// A descriptor that `poll` finds readable while a task can be taken out without waiting. It belongs to this queue.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>> {
        let fd = self.queue.fd()?;
        let pools: Vec<_> = lock(&self.inner).pools.iter().map(|(pool, _)| pool.clone()).collect();
        for pool in pools {
            pool.member.check_fork()?;
            pool.with_notifier(Duty::Wakes, || ())?;
        }
        Ok(fd)
    }
}

impl<T> Completions<T> {
    /// The descriptor, if it was asked for before.
    pub(crate) fn made_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.made_fd()
    }

    /// Tasks that have not been taken out.
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).entries.len()
    }
}

impl<T> Drop for Completions<T> {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for entry in inner.entries.values().filter(|e| !e.pool.member.is_foreign()) {
            entry.pool.hub.unwatch(entry.ticket, &self.queue);
        }
    }
}
