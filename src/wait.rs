//! Waiting for many futures at once, of one pool or several.

use crate::error::{Error, Result};
use crate::future::{Core, Future};
use crate::hub::{self, Queue};
use crate::nested;
use crate::pace::WaitPace;
use crate::pool::{Pool, Ticket, lock};
use crate::sync::now_ns;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When any future is done or cancelled.
    FirstCompleted,
    /// When any task has failed (a cancelled one has not); if none does, when all are done.
    FirstException,
    /// When all are done or cancelled.
    AllCompleted,
}

/// What [`wait`] found, as indices into its input, each in input order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// The futures that are over: done or cancelled.
    pub done: Vec<usize>,
    /// The others.
    pub not_done: Vec<usize>,
}

/// A wait that is going on: which futures it still has to hear of.
pub(crate) struct Waiting {
    pub(crate) pools: Vec<Arc<Pool>>,
    /// The queue's changes that `pools` takes account of.
    pub(crate) seen: u32,
    queue: Arc<Queue>,
    /// Keys of what was over when it was added, to be given first.
    over: VecDeque<usize>,
    deadline: u64,
    /// Once it has not found a key at its first look.
    pace: Option<WaitPace>,
    /// In a task that waits without a time limit: what it waits for.
    pub(crate) nested: Option<Vec<(Arc<Pool>, Ticket)>>,
}

/// What came of one sleep.
pub(crate) enum Turn {
    Key(usize),
    TimedOut,
    /// Neither: look again.
    Again,
}

impl Waiting {
    fn new(timeout: Option<Duration>) -> Waiting {
        Waiting::on(Arc::default(), timeout)
    }

    /// A wait for the keys of a queue.
    pub(crate) fn on(queue: Arc<Queue>, timeout: Option<Duration>) -> Waiting {
        let nested = (timeout.is_none() && crate::task::is_running()).then(Vec::new);
        let deadline = timeout.map_or(u64::MAX, |t| now_ns().saturating_add(crate::limits::nanos(t)));
        Waiting { pools: Vec::new(), seen: 0, queue, over: VecDeque::new(), deadline, pace: None, nested }
    }

    fn add(&mut self, core: &Core, key: usize) -> Result<()> {
        core.pool.member.check_fork()?;
        if core.is_over() {
            self.over.push_back(key);
            return Ok(());
        }
        if !self.pools.iter().any(|p| Arc::ptr_eq(p, &core.pool)) {
            self.pools.push(core.pool.clone());
        }
        core.pool.hub.watch(&core.pool, core.ticket, &self.queue, key);
        if let Some(awaited) = &mut self.nested {
            awaited.push((core.pool.clone(), core.ticket));
        }
        Ok(())
    }

    fn remove(&self, core: &Core) {
        core.pool.hub.unwatch(core.ticket, &self.queue);
    }

    /// The next key, or `None` when the time is over.
    fn next(&mut self) -> Result<Option<usize>> {
        loop {
            match self.turn()? {
                Turn::Key(key) => return Ok(Some(key)),
                Turn::TimedOut => return Ok(None),
                Turn::Again => {}
            }
        }
    }

    /// A look, and one sleep if it was in vain.
    pub(crate) fn turn(&mut self) -> Result<Turn> {
        for pool in &self.pools {
            // A forked child would take what is its parent's.
            pool.member.check_fork()?;
        }
        if let Some(key) = self.over.pop_front().or_else(|| self.queue.pop()) {
            return Ok(Turn::Key(key));
        }
        // What has ended in time is given, also when nobody asked in time.
        self.pools.iter().for_each(|pool| pool.hub.drain_and_tell(pool));
        if let Some(key) = self.queue.pop() {
            return Ok(Turn::Key(key));
        }
        let now = now_ns();
        if now >= self.deadline || self.pools.is_empty() {
            return Ok(Turn::TimedOut);
        }
        let pace = self.pace.get_or_insert_with(|| WaitPace::new(self.queue.looked_at(now)));
        let Some(until) = pace.until(now) else {
            pace.looked(now);
            self.queue.note_look(now);
            for pool in &self.pools {
                pool.look_after_waits()?;
            }
            return Ok(Turn::Again);
        };
        // A task that waits for another one begins it when its time has come.
        let (mut until, mut words) = (until, Vec::new());
        let waits = match &mut self.nested {
            None => None,
            Some(awaited) => {
                awaited.retain(|(pool, ticket)| pool.is_unfinished(*ticket));
                words = awaited.iter().map(|(pool, ticket)| pool.slot(*ticket).load()).collect();
                for (pool, ticket) in awaited.iter() {
                    if nested::help(pool, *ticket)? {
                        return Ok(Turn::Again);
                    }
                    let (lane, index) = pool.segment().geometry().split(ticket.slot);
                    until = pool.segment().waits_until(lane, index, now).map_or(until, |at| at.min(until));
                }
                nested::begin_wait(awaited.iter().map(|(pool, ticket)| (&**pool, *ticket)))?
            }
        };
        // Or when it was put back meanwhile.
        let is_changed = || {
            let awaited = self.nested.iter().flatten();
            awaited.zip(&words).any(|((pool, ticket), word)| pool.slot(*ticket).load() != *word)
        };
        let next = hub::next(&self.pools, &self.queue, self.seen, until.min(self.deadline), is_changed);
        drop(waits);
        let Some(key) = next else { return Ok(Turn::Again) };
        pace.came();
        Ok(Turn::Key(key))
    }
}

/// Waits for futures, of one pool or several, until `when` holds or the time is over. A time-out is no error: it leaves more in `not_done`.
///
/// # Errors
/// [`Error::Forked`] and [`Error::Corrupt`]. In a task that waits without a time limit for others of its pool also [`Error::WouldDeadlock`],
/// [`Error::TooMany`], and [`Error::Unsupported`] when both it and one of these take the context of their worker: nothing was changed then, see
/// [`current_pool`](crate::current_pool).
pub fn wait<'a, R: 'a>(
    futures: impl IntoIterator<Item = &'a Future<R>>,
    timeout: Option<Duration>,
    when: When,
) -> Result<Waited> {
    let futures: Vec<&Core> = futures.into_iter().map(Future::core).collect();
    wait_for(&futures, timeout, when)?;
    let (done, not_done) = (0..futures.len()).partition(|&i| futures[i].is_over());
    Ok(Waited { done, not_done })
}

/// The same; false when the time was over before `when` held. It takes no outcome.
pub(crate) fn wait_for(futures: &[&Core], timeout: Option<Duration>, when: When) -> Result<bool> {
    let mut waiting = Waiting::new(timeout);
    let result = wait_inner(futures, &mut waiting, when);
    for future in futures {
        waiting.remove(future);
    }
    result
}

fn wait_inner(futures: &[&Core], waiting: &mut Waiting, when: When) -> Result<bool> {
    for (key, future) in futures.iter().enumerate() {
        waiting.add(future, key)?;
    }
    let mut left = futures.len();
    while left != 0 {
        let Some(key) = waiting.next()? else { return Ok(false) };
        left -= 1;
        let enough = match when {
            When::FirstCompleted => true,
            When::FirstException => futures[key].has_failed(),
            When::AllCompleted => false,
        };
        if enough {
            break;
        }
    }
    Ok(true)
}

/// How many texts of time-outs are made.
const TEXTS_MAX: usize = 1024;

/// What a time-out was waiting for, with numbers. An error borrows its texts from nobody: so each is made once and kept, and beyond some number of them there
/// are none with numbers.
fn unfinished(left: usize, given: usize) -> &'static str {
    static TEXTS: Mutex<BTreeMap<(usize, usize), &'static str>> = Mutex::new(BTreeMap::new());
    let mut texts = lock(&TEXTS);
    if texts.len() >= TEXTS_MAX && !texts.contains_key(&(left, given)) {
        return "futures to complete";
    }
    texts
        .entry((left, given))
        .or_insert_with(|| format!("futures to complete: {left} (of {given}) futures unfinished").leak())
}

/// Gives futures back as they are over: first those that are already, then in the order in which they end. The clock of `timeout`
/// starts at this call. When the time is over, what has ended is still given, and then one [`Error::TimedOut`], whose text says how many of how many futures
/// are unfinished ([`remaining`](AsCompleted::remaining) has the number). An error of [`wait`] comes last as well; [`into_rest`](AsCompleted::into_rest) has the
/// futures then.
///
/// Python takes the same future twice; here each is given away, and comes once.
pub fn as_completed<R>(futures: impl IntoIterator<Item = Future<R>>, timeout: Option<Duration>) -> AsCompleted<R> {
    let mut waiting = Waiting::new(timeout);
    let futures: Vec<Option<Future<R>>> = futures.into_iter().map(Some).collect();
    let mut error = None;
    for (key, future) in futures.iter().enumerate() {
        if let Some(future) = future
            && let Err(e) = waiting.add(future.core(), key)
        {
            error = Some(e);
            break;
        }
    }
    let (left, given) = (futures.len(), futures.len());
    AsCompleted { left, given, futures, waiting, timeout: timeout.unwrap_or_default(), error, ended: false }
}

/// The iterator of [`as_completed`]. Dropping it drops the futures that it still has: their tasks run, their results are lost;
/// [`into_rest`](AsCompleted::into_rest) gives them back instead.
#[must_use = "an iterator does nothing until it is advanced"]
pub struct AsCompleted<R> {
    futures: Vec<Option<Future<R>>>,
    waiting: Waiting,
    given: usize,
    left: usize,
    timeout: Duration,
    error: Option<Error>,
    ended: bool,
}

impl<R> AsCompleted<R> {
    /// Futures not given yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.left
    }

    /// The futures not given yet, in input order.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<Future<R>> {
        self.forget_waits();
        std::mem::take(&mut self.futures).into_iter().flatten().collect()
    }

    fn forget_waits(&self) {
        for future in self.futures.iter().flatten() {
            self.waiting.remove(future.core());
        }
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Result<Future<R>>;

    fn next(&mut self) -> Option<Result<Future<R>>> {
        if self.left == 0 || self.ended {
            return None;
        }
        if let Some(e) = self.error.take() {
            self.ended = true;
            return Some(Err(e));
        }
        loop {
            match self.waiting.next() {
                Ok(Some(key)) => {
                    if let Some(future) = self.futures[key].take() {
                        self.left -= 1;
                        return Some(Ok(future));
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    let what = unfinished(self.left, self.given);
                    return Some(Err(Error::TimedOut { what, after: self.timeout }));
                }
                Err(e) => {
                    self.ended = true;
                    return Some(Err(e));
                }
            }
        }
    }
}

impl<R> Drop for AsCompleted<R> {
    fn drop(&mut self) {
        self.forget_waits();
    }
}
