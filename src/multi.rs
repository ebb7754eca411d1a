//! A pool in the style of `multiprocessing.Pool`: one call for a whole map, results that are waited for, and an end that is said.

use crate::async_result::{AsyncResult, Callback, Work};
use crate::builder::Builder;
use crate::codec::{Payload, begin_item, encode_into, end_item};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::future::Core;
use crate::map::{Map, MapOptions};
use crate::options::{SubmitOptions, request};
use crate::pool::lock;
use crate::slot::OPTION_CHUNK;
use crate::submit::WhenFull;
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::fence;
use crate::task::Task;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

/// A pool whose calls are those of `multiprocessing.Pool`. Threads share it by reference.
///
/// Dropping it ends it at once, as [`terminate`](MultiPool::terminate) does; to have everything run say [`close`](MultiPool::close) and
/// [`join`](MultiPool::join) before. An [`Executor`] waits instead.
///
/// ```
/// # taskring::test_support!();
/// taskring::task! {
///     fn square(x: u64) -> u64 { x * x }
///     fn power(base: u64, exponent: u32) -> u64 { base.pow(exponent) }
/// }
/// fn main() -> Result<(), taskring::Error> {
///     taskring::init();
///     let pool = taskring::MultiPool::new(2)?;
///     assert_eq!(pool.apply(square, 7)?, 49);
///     assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
///     // What `starmap` is for: several arguments are a tuple.
///     assert_eq!(pool.map(power, [(2, 3), (3, 2)])?, [8, 9]);
///     let result = pool.apply_async(square, 10)?;
///     assert_eq!(result.get(None)?, 100);
///     pool.close()?;
///     pool.join()
/// }
/// ```
#[derive(Debug)]
pub struct MultiPool {
    shared: Arc<Shared>,
    under_way: Mutex<UnderWay>,
}

/// What maps have to do with their pool while they read their inputs.
#[derive(Debug)]
struct Shared {
    executor: Executor,
    /// No new work is taken, whether the executor was told so or is still fed by a map. For a close under the mutex below.
    closed: AtomicBool,
    /// Maps that have inputs left.
    maps: Mutex<usize>,
}

/// Of a map that has inputs left: a pool that is closed takes them still. It does not keep the pool itself.
pub(crate) struct Keep(Weak<Shared>);

impl Drop for Keep {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade().filter(|shared| !shared.executor.pool().member.is_foreign()) else { return };
        let mut maps = lock(&shared.maps);
        *maps -= 1;
        let is_last = *maps == 0 && shared.closed.load(Relaxed);
        drop(maps);
        if is_last {
            // Its only error is that somebody holds a lane and stands still; `join` is told as well.
            let _ = shared.executor.shutdown(false, false);
        }
    }
}

/// What is to be told of the pool's end.
#[derive(Debug, Default)]
struct UnderWay {
    works: Vec<Weak<Work>>,
    /// With more than these, those that nobody has any more are taken out.
    most: usize,
}

impl MultiPool {
    /// So many workers, at least 1; all are started at once.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new(workers: usize) -> Result<MultiPool> {
        MultiPool::with(Executor::builder().workers(workers))
    }

    /// With all that a builder can say.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn with(builder: Builder) -> Result<MultiPool> {
        let shared = Shared { executor: builder.build()?, closed: AtomicBool::new(false), maps: Mutex::new(0) };
        Ok(MultiPool { shared: Arc::new(shared), under_way: Mutex::default() })
    }

    /// The same pool as an executor, for all that this interface does not have.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.shared.executor
    }

    /// Runs a task and waits for its result.
    ///
    /// # Errors
    /// Those of [`Executor::submit`] and [`Future::result`](crate::Future::result).
    pub fn apply<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<R> {
        self.apply_async(task, args)?.get(None)
    }

    /// Submits a task.
    ///
    /// # Errors
    /// Those of [`Executor::submit`].
    pub fn apply_async<A: Payload, R: Payload>(&self, task: Task<A, R>, args: A) -> Result<AsyncResult<R>> {
        Ok(AsyncResult::new(self.work(vec![self.submit(task, &args)?]), Work::one))
    }

    /// The same, and calls `callback` with the result or the error, once, in a thread of this process. It is called before [`AsyncResult::get`] returns,
    /// and a panic of it is logged. It should be short, and hand longer work on: a slow one delays its own result and later callbacks of the pool.
    ///
    /// # Errors
    /// Those of [`Executor::submit`]; [`Error::System`] when there is no thread for callbacks. Nothing is called then.
    pub fn apply_async_with<A: Payload, R: Payload>(
        &self,
        task: Task<A, R>,
        args: A,
        callback: impl FnOnce(Result<R>) + Send + 'static,
    ) -> Result<AsyncResult<R>> {
        AsyncResult::calling(self.work(vec![self.submit(task, &args)?]), Work::one, Box::new(callback))
    }

    /// Runs a task over inputs, in chunks, and gives all results in the order of the inputs. Several arguments are a tuple. An error is given only
    /// when all tasks are over: the first one in that order.
    ///
    /// # Errors
    /// Those of [`Executor::submit`] and [`Future::result`](crate::Future::result).
    pub fn map<A: Payload, R: Payload>(&self, task: Task<A, R>, inputs: impl IntoIterator<Item = A>) -> Result<Vec<R>> {
        self.map_async(task, inputs, None)?.get(None)
    }

    /// The same without waiting. The inputs are read in this call. `chunk` inputs go into one task; by default as many as give each worker four.
    ///
    /// # Errors
    /// Those of [`Executor::submit`]; [`Error::InvalidArgument`] for a chunk of 0.
    pub fn map_async<A: Payload, R: Payload>(
        &self,
        task: Task<A, R>,
        inputs: impl IntoIterator<Item = A>,
        chunk: Option<usize>,
    ) -> Result<AsyncResult<Vec<R>>> {
        Ok(AsyncResult::new(self.work(self.submit_chunks(task, inputs, chunk)?), Work::all))
    }

    /// The same, and calls `callback` with all results or the error, as [`apply_async_with`](MultiPool::apply_async_with) does.
    ///
    /// # Errors
    /// Those of both.
    pub fn map_async_with<A: Payload, R: Payload>(
        &self,
        task: Task<A, R>,
        inputs: impl IntoIterator<Item = A>,
        chunk: Option<usize>,
        callback: impl FnOnce(Result<Vec<R>>) + Send + 'static,
    ) -> Result<AsyncResult<Vec<R>>> {
        let callback: Callback<Vec<R>> = Box::new(callback);
        AsyncResult::calling(self.work(self.submit_chunks(task, inputs, chunk)?), Work::all, callback)
    }

    /// Results one by one in the order of the inputs, which are read as results are taken: [`Executor::map_with`]. The pool may be closed meanwhile; what
    /// has no result when it is [terminated](MultiPool::terminate), or [joined](MultiPool::join) with inputs left, is an error at its place.
    ///
    /// # Errors
    /// Those of [`Executor::map_with`].
    pub fn imap<A, R, I>(&self, task: Task<A, R>, inputs: I, chunk: usize) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        self.start_map(&MapOptions::new().chunk(chunk), task, inputs)
    }

    /// The same as their tasks end.
    ///
    /// # Errors
    /// Those of [`Executor::map_with`].
    pub fn imap_unordered<A, R, I>(&self, task: Task<A, R>, inputs: I, chunk: usize) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        self.start_map(&MapOptions::new().chunk(chunk).ordered(false), task, inputs)
    }

    fn start_map<A, R, I>(&self, options: &MapOptions, task: Task<A, R>, inputs: I) -> Result<Map<A, R, I::IntoIter>>
    where
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>,
    {
        let keep = self.begin_map()?;
        let mut map = self.executor().map_with(options, task, inputs)?;
        map.keep(keep);
        Ok(map)
    }

    /// Before a map begins.
    pub(crate) fn begin_map(&self) -> Result<Keep> {
        let mut maps = lock(&self.shared.maps);
        self.check_open()?;
        *maps += 1;
        Ok(Keep(Arc::downgrade(&self.shared)))
    }

    fn is_closed(&self) -> bool {
        // Relaxed: who must not be late for a close reads it under the mutex.
        self.shared.closed.load(Relaxed)
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(self.executor().pool().why_shut()) } else { Ok(()) }
    }

    /// Takes no new work from now on ([`Error::ShutDown`]); what was submitted runs, and maps that go on read the rest of their inputs.
    ///
    /// # Errors
    /// Those of [`Executor::shutdown`].
    pub fn close(&self) -> Result<()> {
        self.executor().pool().member.check_fork()?;
        let maps = lock(&self.shared.maps);
        // Relaxed: as `is_closed` says.
        self.shared.closed.store(true, Relaxed);
        let is_fed = *maps != 0;
        drop(maps);
        // The last map says it otherwise.
        if is_fed { Ok(()) } else { self.executor().shutdown(false, false) }
    }

    /// Ends the pool at once: what has not started is cancelled, and what runs in processes is killed with them. Results that are not there
    /// yet end with [`Error::Terminated`]. A thread cannot be killed: a result that it works on is there when its task is over.
    ///
    /// # Errors
    /// Those of [`Executor::shutdown`].
    pub fn terminate(&self) -> Result<()> {
        self.executor().pool().member.check_fork()?;
        lock(&self.under_way).works.iter().filter_map(Weak::upgrade).for_each(|work| work.terminate());
        self.shared.closed.store(true, Relaxed);
        self.executor().pool().terminated.store(true, Relaxed);
        // Pairs with the fence of a map that meets what follows.
        fence(Release);
        match self.executor().kill_workers() {
            Err(Error::Unsupported { .. }) => self.executor().shutdown(false, true),
            ended => ended,
        }
    }

    /// Waits until all work is over and the workers have left. Of a map that has inputs left only what it has submitted runs: the next input is
    /// [`Error::ShutDown`] at its place, and the last.
    ///
    /// # Errors
    /// [`Error::InvalidState`] before [`close`](MultiPool::close) or [`terminate`](MultiPool::terminate); those of [`Executor::shutdown`].
    pub fn join(&self) -> Result<()> {
        if !self.is_closed() && !self.executor().pool().shut.load(Relaxed) {
            return Err(Error::InvalidState { state: "running", wanted: "closed or terminated" });
        }
        self.executor().shutdown(true, false)
    }

    /// What has been submitted, to be told of the pool's end.
    pub(crate) fn work(&self, tasks: Vec<Core>) -> Arc<Work> {
        let work = Arc::new(Work::new(self.executor().pool().clone(), tasks));
        let mut under_way = lock(&self.under_way);
        if under_way.works.len() >= under_way.most {
            under_way.works.retain(|work| work.strong_count() != 0);
            under_way.most = 2 * under_way.works.len() + 64;
        }
        under_way.works.push(Arc::downgrade(&work));
        work
    }

    fn submit<A: Payload, R: Payload>(&self, task: Task<A, R>, args: &A) -> Result<Core> {
        self.check_open()?;
        Ok(self.executor().submit_ref(task, args)?.into_core())
    }

    fn submit_chunks<A: Payload, R: Payload>(
        &self,
        task: Task<A, R>,
        inputs: impl IntoIterator<Item = A>,
        chunk: Option<usize>,
    ) -> Result<Vec<Core>> {
        if chunk == Some(0) {
            return Err(Error::invalid("the map's chunk", 0, "at least 1"));
        }
        let inputs: Vec<A> = inputs.into_iter().collect();
        let function = self.executor().pool().function(&task)?;
        self.submit_encoded(function, inputs.len(), chunk, |nth, into| encode_into(&inputs[nth], into))
    }

    /// One task, of arguments that are bytes already.
    pub(crate) fn submit_bytes(&self, function: u16, args: &[u8]) -> Result<Core> {
        let pool = self.executor().pool();
        pool.member.check_fork()?;
        self.check_open()?;
        let ticket = pool.submit_bytes(&request(pool, &SubmitOptions::new(), function)?, args, WhenFull::Wait)?;
        Ok(Core::new(pool.clone(), ticket))
    }

    /// Tasks of `chunk` inputs each; `encode` appends the one of a number below `count`.
    pub(crate) fn submit_encoded(
        &self,
        function: u16,
        count: usize,
        chunk: Option<usize>,
        encode: impl Fn(usize, &mut Vec<u8>) -> Result<()>,
    ) -> Result<Vec<Core>> {
        let chunk = chunk.unwrap_or_else(|| count.div_ceil(4 * self.executor().workers().max(1)).max(1));
        let pool = self.executor().pool();
        pool.member.check_fork()?;
        self.check_open()?;
        let mut request = request(pool, &SubmitOptions::new(), function)?;
        request.options |= OPTION_CHUNK;
        let (mut tasks, mut bytes) = (Vec::with_capacity(count.div_ceil(chunk)), Vec::new());
        for first in (0..count).step_by(chunk) {
            bytes.clear();
            for nth in first..count.min(first.saturating_add(chunk)) {
                let at = begin_item(&mut bytes);
                encode(nth, &mut bytes)?;
                if !end_item(&mut bytes, at) {
                    return Err(Error::Encode { message: "an item of a chunk is over 4 GiB".into() });
                }
            }
            let ticket = pool.submit_bytes(&request, &bytes, WhenFull::Wait)?;
            tasks.push(Core::new(pool.clone(), ticket));
        }
        Ok(tasks)
    }
}

impl Drop for MultiPool {
    fn drop(&mut self) {
        if !self.executor().pool().member.is_foreign() {
            // Its only error is that somebody holds a lane and stands still; the pool ends without the wait for it.
            let _ = self.terminate();
        }
    }
}
