//! A pool of interpreters: threads of this process, each with a context of its own that nobody else can reach.
//!
//! Tasks are functions of this program, known by number; what goes through the ring is the number and the encoded arguments. A function pointer has captured
//! nothing, so what a task works with is its arguments and its worker's context.

use crate::builder::Builder;
use crate::codec::{Payload, encoded};
use crate::constants::What;
use crate::context;
// For links in comments.
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, TaskError};
use crate::executor::{Executor, submit_to};
use crate::future::Future;
use crate::options::SubmitOptions;
use crate::start::StartMethod;
use crate::submit::WhenFull;
use crate::task::{Call, Task, TaskNumber, first_item, register_in_context, run_decoding};
use std::any::TypeId;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

/// The name of the function that calls all of them.
const FUNCTION: &str = "taskring interpreter";
/// Bytes of a function's number, before its arguments.
const NUMBER_LEN: usize = 8;

type Code = dyn Fn(&mut Call<'_>) + Send + Sync;

/// The functions of this process that pools of interpreters were given. There are no more of them than the program has, so they are kept for ever.
#[derive(Default)]
struct Functions {
    numbers: HashMap<(usize, TypeId), u64>,
    codes: Vec<&'static Code>,
}

static FUNCTIONS: RwLock<Option<Functions>> = RwLock::new(None);

/// The number of the function at this address, of type `F`.
fn number_of<F: 'static>(address: usize, code: impl Fn(&mut Call<'_>) + Send + Sync + 'static) -> u64 {
    let key = (address, TypeId::of::<F>());
    let known = FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(&number) = known.as_ref().and_then(|functions| functions.numbers.get(&key)) {
        return number;
    }
    drop(known);
    let mut functions = FUNCTIONS.write().unwrap_or_else(PoisonError::into_inner);
    let Functions { numbers, codes } = functions.get_or_insert_default();
    *numbers.entry(key).or_insert_with(|| {
        codes.push(Box::leak(Box::new(code)));
        codes.len() as u64 - 1
    })
}

/// Runs the function whose number stands before its arguments.
fn dispatch(call: &mut Call<'_>) {
    let number = first_item(call).first_chunk::<NUMBER_LEN>().map(|bytes| u64::from_le_bytes(*bytes));
    let functions = FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner);
    let find = |number: u64| functions.as_ref()?.codes.get(usize::try_from(number).ok()?).copied();
    let code = number.and_then(find);
    drop(functions);
    match code {
        Some(code) => code(call),
        // Another program has sent it: numbers are this process's own.
        None => run_decoding(call, |_| Ok(Err::<(), _>(TaskError::new("no such function in this process")))),
    }
}

/// What follows the number.
fn decoded<A: Payload>(bytes: &[u8]) -> std::result::Result<A, String> {
    A::decode(bytes.get(NUMBER_LEN..).unwrap_or_default())
}

/// Arguments behind the number of their function.
struct Numbered<A>(u64, A);

impl<A: Payload> Payload for Numbered<A> {
    fn encode(&self, into: &mut Vec<u8>) -> std::result::Result<(), String> {
        into.extend_from_slice(&self.0.to_le_bytes());
        self.1.encode(into)
    }
    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let number = bytes.first_chunk::<NUMBER_LEN>().ok_or("there is no number")?;
        Ok(Numbered(u64::from_le_bytes(*number), decoded(bytes)?))
    }
}

fn task<A, R>() -> Task<Numbered<A>, R> {
    static NUMBER: TaskNumber = TaskNumber::new();
    Task::known_elsewhere(FUNCTION, &NUMBER)
}

/// A pool whose workers are threads of this process that share nothing mutable: each has a context of type `C`, and whatever else it needs comes to it as
/// bytes and leaves it as bytes.
///
/// `make` is called in each worker's thread before its first task and makes the worker's context; the context is dropped in the same thread when the worker
/// leaves, after the exit hook. So `C` need be neither `Send` nor `Sync`: it may be an interpreter of some language, a parser with `Rc`s, a connection.
/// When `make` fails or panics, the pool is broken ([`Error::Broken`] with [`PoolKind::Interpreter`](crate::PoolKind::Interpreter)), as by any initializer.
///
/// A task is a function that takes the context and its arguments, and has it for itself until it returns. A task that panics spoils its worker's context: it is
/// dropped, and the next task of that worker finds a new one, for which `make` is called again; that failing breaks the pool. So does the context of a
/// worker that takes the place of another. A task that waits without a time limit for an unfinished task of its own pool that takes a context is refused
/// ([`Error::Unsupported`]): it could not be run on top of it.
///
/// The compiler sees to it that a task has captured nothing, and that what it takes and gives can be encoded. It cannot see what a function does with a
/// `static`, nor what `unsafe` code does: those are the program's own business, as is the memory that a C library keeps.
///
/// ```
/// use taskring::{InterpreterPool, TaskError};
/// use std::{cell::RefCell, collections::HashMap, rc::Rc};
///
/// /// Words with their counts. It could not be sent to another thread.
/// type Counts = Rc<RefCell<HashMap<String, u64>>>;
/// fn begin(first: String) -> Result<Counts, TaskError> {
///     Ok(Rc::new(RefCell::new(HashMap::from([(first, 1)]))))
/// }
/// fn count(counts: &mut Counts, word: String) -> u64 {
///     let mut counts = counts.borrow_mut();
///     let count = counts.entry(word).or_default();
///     *count += 1;
///     *count
/// }
/// let pool = InterpreterPool::new(1, begin, "to".to_owned())?;
/// assert_eq!(pool.submit(count, "be".to_owned())?.result()?, 1);
/// assert_eq!(pool.submit(count, "to".to_owned())?.result()?, 2);
/// # Ok::<(), taskring::Error>(())
/// ```
///
/// What a closure captures would be shared with the worker, so a closure that captures is no task:
///
/// ```compile_fail,E0308
/// # use taskring::{InterpreterPool, TaskError};
/// fn begin(from: u64) -> Result<u64, TaskError> { Ok(from) }
/// let pool = InterpreterPool::new(1, begin, 0)?;
/// let shared = std::sync::Arc::new(std::sync::Mutex::new(0));
/// pool.submit(move |total: &mut u64, by: u64| *shared.lock().unwrap() += by, 3)?;
/// # Ok::<(), taskring::Error>(())
/// ```
///
/// Nor can a task give away what its context shares with it:
///
/// ```compile_fail,E0277
/// # use taskring::{InterpreterPool, TaskError};
/// # use std::rc::Rc;
/// fn begin(from: u64) -> Result<Rc<u64>, TaskError> { Ok(Rc::new(from)) }
/// fn give_away(context: &mut Rc<u64>, _: ()) -> Rc<u64> { context.clone() }
/// let pool = InterpreterPool::new(1, begin, 0)?;
/// pool.submit(give_away, ())?;
/// # Ok::<(), taskring::Error>(())
/// ```
pub struct InterpreterPool<C> {
    executor: Executor,
    context: PhantomData<fn(&mut C)>,
}

impl<C> std::fmt::Debug for InterpreterPool<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InterpreterPool({} interpreters, capacity {})", self.executor.workers(), self.executor.capacity())
    }
}

impl<C: 'static> InterpreterPool<C> {
    /// A pool of so many interpreters, each of which makes its context by `make(args)`.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new<I: Payload>(workers: usize, make: fn(I) -> Result<C, TaskError>, args: I) -> Result<InterpreterPool<C>> {
        InterpreterPool::build(Executor::builder().workers(workers), make, args)
    }

    /// A pool with these options. The start method is [`StartMethod::Interpreter`] and the initializer calls `make`, whatever they say.
    ///
    /// # Errors
    /// Those of [`Builder::build`]; [`Error::Encode`] of `args`.
    pub fn build<I: Payload>(options: Builder, make: fn(I) -> Result<C, TaskError>, args: I) -> Result<InterpreterPool<C>> {
        static REGISTERED: LazyLock<Result<()>> = LazyLock::new(|| register_in_context(FUNCTION, dispatch));
        // Before the pool: its workers look once for what they can run.
        REGISTERED.clone()?;
        let number = number_of::<fn(I) -> Result<C, TaskError>>(make as usize, move |call| {
            run_decoding(call, |bytes| {
                let bytes = bytes.to_vec();
                Ok(context::establish(move || make(decoded(&bytes).map_err(TaskError::new)?)))
            });
        });
        let bytes = encoded(&Numbered(number, args))?;
        let options = options.start(StartMethod::Interpreter).run_encoded(What::Initializer, FUNCTION, bytes);
        Ok(InterpreterPool { executor: options.build()?, context: PhantomData })
    }

    /// The same pool for task functions without a context, and for code that takes any kind of pool.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Submits a task. Waits while the ring is full of unfinished tasks.
    ///
    /// # Errors
    /// Those of [`Executor::submit`].
    pub fn submit<A: Payload, R: Payload>(&self, code: fn(&mut C, A) -> R, args: A) -> Result<Future<R>> {
        self.launch(numbered(code), args, WhenFull::Wait)
    }

    /// Submits a task that can fail: its error reaches the submitter as [`Error::TaskFailed`]. It does not spoil the context.
    ///
    /// # Errors
    /// As [`submit`](InterpreterPool::submit).
    pub fn submit_fallible<A: Payload, R: Payload>(
        &self,
        code: fn(&mut C, A) -> Result<R, TaskError>,
        args: A,
    ) -> Result<Future<R>> {
        let number = number_of::<fn(&mut C, A) -> Result<R, TaskError>>(code as usize, move |call| {
            run_decoding(call, |bytes| decoded(bytes).map(|args| context::lend(|own| code(own, args)).flatten()));
        });
        self.launch(number, args, WhenFull::Wait)
    }

    /// Submits a task if there is room for it now.
    ///
    /// # Errors
    /// [`Error::Full`], and those of [`submit`](InterpreterPool::submit).
    pub fn try_submit<A: Payload, R: Payload>(&self, code: fn(&mut C, A) -> R, args: A) -> Result<Future<R>> {
        self.launch(numbered(code), args, WhenFull::Refuse)
    }

    /// Submits a task, waiting no longer than `timeout` for room.
    ///
    /// # Errors
    /// [`Error::TimedOut`], and those of [`submit`](InterpreterPool::submit).
    pub fn submit_timeout<A: Payload, R: Payload>(
        &self,
        code: fn(&mut C, A) -> R,
        args: A,
        timeout: Duration,
    ) -> Result<Future<R>> {
        self.launch(numbered(code), args, WhenFull::WaitFor(timeout))
    }

    /// Runs a task over all inputs and gives the results in their order, as [`Executor::map`] does.
    ///
    /// # Errors
    /// As [`Executor::map`].
    pub fn map<A: Payload, R: Payload, I: IntoIterator<Item = A>>(
        &self,
        code: fn(&mut C, A) -> R,
        inputs: I,
    ) -> Result<impl Iterator<Item = Result<R>> + use<C, A, R, I>> {
        let number = numbered(code);
        self.executor.map(task(), inputs.into_iter().map(move |args| Numbered(number, args)))
    }

    fn launch<A: Payload, R: Payload>(&self, number: u64, args: A, when_full: WhenFull) -> Result<Future<R>> {
        submit_to(self.executor.pool(), &SubmitOptions::new(), task(), &Numbered(number, args), when_full)
    }

    /// As [`Executor::shutdown`].
    ///
    /// # Errors
    /// Those of [`Executor::shutdown`].
    pub fn shutdown(&self, wait: bool, cancel_pending: bool) -> Result<()> {
        self.executor.shutdown(wait, cancel_pending)
    }
}

/// The number of a task that cannot fail.
fn numbered<C: 'static, A: Payload, R: Payload>(code: fn(&mut C, A) -> R) -> u64 {
    number_of::<fn(&mut C, A) -> R>(code as usize, move |call| {
        run_decoding(call, |bytes| decoded(bytes).map(|args| context::lend(|own| code(own, args))));
    })
}
