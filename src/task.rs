//! Task functions: how they are declared, found by name, and called in a worker; and what a running task can ask about itself.

use crate::codec::{Payload, PayloadRef, TIME_LEN, TIMED, begin_result, end_item, items, set_kind};
use crate::error::{Result, TaskError};
use crate::functions::check_name;
use crate::outcome::{ITEM_CANCELLED, Kind, store_failure};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Instant;

pub use crate::events::send_event;
pub use crate::progress::{progress, report};
pub use crate::setup::{Shared, set_worker_state, shared, worker_name, worker_number, worker_state};

/// One call of a task function, as the worker sees it.
#[doc(hidden)]
pub struct Call<'a> {
    pub(crate) args: &'a [u8],
    pub(crate) is_chunk: bool,
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) kind: Kind,
}

/// A registered function.
pub(crate) struct Handler {
    code: Box<dyn Fn(&mut Call<'_>) + Send + Sync>,
    /// It holds something that every worker of a process would use.
    captures: bool,
    /// It takes the context of the worker that runs it.
    in_context: bool,
}
type Code<A, R> = &'static (dyn Fn(A) -> Result<R, TaskError> + Send + Sync);

/// A declared task function, collected when the program is linked.
#[doc(hidden)]
pub struct Declared {
    name: &'static str,
    run: fn(&mut Call<'_>),
}

impl Declared {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&mut Call<'_>)) -> Declared {
        Declared { name, run }
    }
}

/// Filled by the linker, so it is complete before any code runs: a worker may be started before `main`.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static DECLARED: [Declared];

static REGISTERED: Mutex<Option<HashMap<&'static str, Arc<Handler>>>> = Mutex::new(None);

/// A process-wide number for a task function, so that a pool finds its index without comparing names.
#[doc(hidden)]
pub struct TaskNumber(AtomicU32);

impl TaskNumber {
    #[doc(hidden)]
    #[allow(clippy::new_without_default, reason = "only for the macro")]
    #[must_use]
    pub const fn new() -> TaskNumber {
        TaskNumber(AtomicU32::new(0))
    }

    #[inline]
    pub(crate) fn get(&self) -> u32 {
        match self.0.load(Relaxed) {
            0 => self.assign(),
            n => n,
        }
    }

    #[cold]
    fn assign(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let n = NEXT.fetch_add(1, Relaxed);
        self.0.compare_exchange(0, n, Relaxed, Relaxed).map_or_else(|won| won, |_| n)
    }
}

/// A task function: what [`task!`](crate::task!) declares, [`register`] returns, and `submit` takes. A small value, copied freely.
pub struct Task<A: 'static, R: 'static> {
    pub(crate) name: &'static str,
    pub(crate) number: &'static TaskNumber,
    code: Option<Code<A, R>>,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Clone for Task<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R> Copy for Task<A, R> {}

impl<A, R> std::fmt::Debug for Task<A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({:?})", self.name)
    }
}

impl<A, R> Task<A, R> {
    #[doc(hidden)]
    #[must_use]
    pub const fn declared(name: &'static str, number: &'static TaskNumber, code: Code<A, R>) -> Task<A, R> {
        Task { name, number, code: Some(code), types: PhantomData }
    }

    /// A function that only the workers have: another program, perhaps in another language.
    #[must_use]
    pub fn named(name: &str) -> Task<A, R> {
        let number = Box::leak(Box::new(TaskNumber::new()));
        Task { name: name.to_owned().leak(), number, code: None, types: PhantomData }
    }

    /// A function of this process whose code is called otherwise.
    pub(crate) const fn known_elsewhere(name: &'static str, number: &'static TaskNumber) -> Task<A, R> {
        Task { name, number, code: None, types: PhantomData }
    }

    /// The name that workers know it by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the function here, in this thread.
    ///
    /// # Errors
    /// The error that the function returned.
    ///
    /// # Panics
    /// When this process does not have the code ([`Task::named`]), and when the function panics.
    pub fn call(&self, args: A) -> Result<R, TaskError> {
        let code = self.code.unwrap_or_else(|| panic!("this process does not have the code of task {:?}", self.name));
        code(args)
    }
}

/// Registers a function by name, for this process as a worker and (after a fork) its children. Spawned workers run `main` anew, so
/// a program that uses `spawn` registers before [`init`](crate::init). The latest registration of a name counts.
///
/// ```
/// let double = taskring::register("double", |x: u64| 2 * x)?;
/// assert_eq!(double.call(4).unwrap(), 8);
/// # Ok::<(), taskring::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for an empty or overlong name.
pub fn register<A, R, F>(name: &str, f: F) -> Result<Task<A, R>>
where
    A: Payload,
    R: Payload,
    F: Fn(A) -> R + Send + Sync + 'static,
{
    register_fallible(name, move |args| Ok(f(args)))
}

/// The same for a function that can fail: its error reaches the submitter as [`Error::TaskFailed`](crate::Error::TaskFailed).
///
/// # Errors
/// As [`register`].
pub fn register_fallible<A, R, F>(name: &str, f: F) -> Result<Task<A, R>>
where
    A: Payload,
    R: Payload,
    F: Fn(A) -> Result<R, TaskError> + Send + Sync + 'static,
{
    check_name(name)?;
    let code: Code<A, R> = Box::leak(Box::new(f));
    let captures = size_of::<F>() != 0;
    let name = add_handler(name, Handler { code: Box::new(move |call| run_typed(call, code)), captures, in_context: false });
    Ok(Task { name, number: Box::leak(Box::new(TaskNumber::new())), code: Some(code), types: PhantomData })
}

/// Registers code that takes and gives bytes.
pub(crate) fn register_raw<F>(name: &str, code: F) -> Result<()>
where
    F: Fn(&[u8], &mut Vec<u8>) -> Kind + Send + Sync + 'static,
{
    check_name(name)?;
    // What a C function shares by its pointer is for the program to see to.
    let code = Box::new(move |call: &mut Call<'_>| run_items(call, &code));
    add_handler(name, Handler { code, captures: false, in_context: false });
    Ok(())
}

/// Registers code of a function that takes its worker's context, and of one that makes it.
pub(crate) fn register_in_context(name: &str, code: impl Fn(&mut Call<'_>) + Send + Sync + 'static) -> Result<()> {
    check_name(name)?;
    add_handler(name, Handler { code: Box::new(code), captures: false, in_context: true });
    Ok(())
}

/// The handler before is dropped once no worker of this process uses it any more. A name is kept for ever, but once.
fn add_handler(name: &str, handler: Handler) -> &'static str {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let table = registered.get_or_insert_default();
    let name = table.get_key_value(name).map_or_else(|| &*name.to_owned().leak(), |(&known, _)| known);
    let before = table.insert(name, Arc::new(handler));
    // Dropping it may run code of the user's, which may register.
    drop(registered);
    drop(before);
    name
}

/// Declares task functions. Each becomes a constant of type [`Task`], known to every worker of this program by
/// `module::path::name`. One argument is passed as it is, several as a tuple, none as `()`. A function whose return type is
/// written `Result<T, E>` can fail: its future gives a `T` or [`Error::TaskFailed`](crate::Error::TaskFailed). `E` is
/// [`TaskError`] or any error type.
///
/// A function of one argument may take it by reference. `&[u8]` is where the submitter's [`Bytes`](crate::Bytes) lie in shared memory, and `&str` the
/// text of its `String`: neither is copied for the function.
///
/// ```
/// taskring::task! {
///     /// The square.
///     pub fn square(x: u64) -> u64 { x * x }
///     fn ratio(a: f64, b: f64) -> Result<f64, taskring::TaskError> {
///         if b == 0.0 { Err(taskring::TaskError::new("division by zero")) } else { Ok(a / b) }
///     }
///     fn sum(bytes: &[u8]) -> u64 { bytes.iter().map(|&b| u64::from(b)).sum() }
/// }
/// assert_eq!(square.call(7).unwrap(), 49);
/// assert!(ratio.call((1.0, 0.0)).is_err());
/// assert_eq!(sum.call(vec![1, 2, 3].into()).unwrap(), 6);
/// ```
#[macro_export]
macro_rules! task {
    () => {};
    ($(#[$meta:meta])* $vis:vis fn $name:ident($arg:ident : &$type:ty $(,)?) -> Result<$ok:ty, $err:ty> $body:block $($rest:tt)*) => {
        $crate::__task_by_ref! { [$(#[$meta])* $vis] $name, $type, $ok, [$err], $arg, $body }
        $crate::task! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($arg:ident : &$type:ty $(,)?) -> $ret:ty $body:block $($rest:tt)*) => {
        $crate::__task_by_ref! { [$(#[$meta])* $vis] $name, $type, $ret, [], $arg, $body }
        $crate::task! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($arg:ident : &$type:ty $(,)?) $body:block $($rest:tt)*) => {
        $crate::__task_by_ref! { [$(#[$meta])* $vis] $name, $type, (), [], $arg, $body }
        $crate::task! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $type:ty),* $(,)?) -> Result<$ok:ty, $err:ty> $body:block $($rest:tt)*) => {
        $crate::__task_one! { [$(#[$meta])* $vis] $name ($($arg : $type),*) [$ok] [$err] $body }
        $crate::task! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $type:ty),* $(,)?) -> $ret:ty $body:block $($rest:tt)*) => {
        $crate::__task_one! { [$(#[$meta])* $vis] $name ($($arg : $type),*) [$ret] [] $body }
        $crate::task! { $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $type:ty),* $(,)?) $body:block $($rest:tt)*) => {
        $crate::__task_one! { [$(#[$meta])* $vis] $name ($($arg : $type),*) [()] [] $body }
        $crate::task! { $($rest)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __task_one {
    ($head:tt $name:ident ($arg:ident : $type:ty) [$ok:ty] [$($err:ty)?] $body:block) => {
        $crate::__task_const! { $head $name, run_typed, $type, $type, code, $ok, [$($err)?], $arg, $body }
    };
    ($head:tt $name:ident ($($arg:ident : $type:ty),*) [$ok:ty] [$($err:ty)?] $body:block) => {
        $crate::__task_const! { $head $name, run_typed, ($($type,)*), ($($type,)*), code, $ok, [$($err)?], ($($arg,)*), $body }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __task_by_ref {
    ($head:tt $name:ident, $type:ty, $ok:ty, [$($err:ty)?], $arg:ident, $body:block) => {
        $crate::__task_const! {
            $head $name, run_by_ref, $crate::__private::Owned<$type>, &$type,
            |args: $crate::__private::Owned<$type>| code(::std::borrow::Borrow::borrow(&args)),
            $ok, [$($err)?], $arg, $body
        }
    };
}

/// `$args` is what is submitted, `$taken` what the function takes, and `$call` calls `code` with what is submitted.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_const {
    (
        [$(#[$meta:meta])* $vis:vis] $name:ident, $run:ident, $args:ty, $taken:ty, $call:expr,
        $ok:ty, [$($err:ty)?], $pattern:pat, $body:block
    ) => {
        $(#[$meta])*
        #[allow(non_upper_case_globals)]
        $vis const $name: $crate::Task<$args, $ok> = {
            static NUMBER: $crate::__private::TaskNumber = $crate::__private::TaskNumber::new();
            const NAME: &str = concat!(module_path!(), "::", stringify!($name));
            fn code(args: $taken) -> ::std::result::Result<$ok, $crate::TaskError> {
                let $pattern = args;
                $crate::__task_body! { $ok, [$($err)?], $body }
            }
            #[$crate::__private::linkme::distributed_slice($crate::__private::DECLARED)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENTRY: $crate::__private::Declared =
                $crate::__private::Declared::new(NAME, |call| $crate::__private::$run(call, code));
            $crate::Task::declared(NAME, &NUMBER, &$call)
        };
    };
}

// The body is a closure of its own, so that `return` and `?` in it mean what they say.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_body {
    ($ok:ty, [], $body:block) => {{
        let body = || -> $ok { $body };
        ::std::result::Result::Ok(body())
    }};
    ($ok:ty, [$err:ty], $body:block) => {{
        let body = || -> ::std::result::Result<$ok, $err> { $body };
        body().map_err(::std::convert::Into::into)
    }};
}

/// Decodes, calls and encodes; for a chunk once for each item, so one item's failure leaves the others their results.
#[doc(hidden)]
#[inline]
pub fn run_typed<A: Payload, R: Payload>(call: &mut Call<'_>, code: impl Fn(A) -> Result<R, TaskError>) {
    run_decoding(call, |bytes| A::decode(bytes).map(&code));
}

/// The same for a function that takes its argument by reference.
#[doc(hidden)]
#[inline]
pub fn run_by_ref<A: PayloadRef + ?Sized, R: Payload>(call: &mut Call<'_>, code: impl Fn(&A) -> Result<R, TaskError>) {
    run_decoding(call, |bytes| A::with_decoded(bytes, &code));
}

/// `code` decodes and calls; its outer error is that of decoding.
#[inline]
pub(crate) fn run_decoding<R: Payload>(call: &mut Call<'_>, code: impl Fn(&[u8]) -> Result<Result<R, TaskError>, String>) {
    if call.is_chunk {
        run_items(call, |args, out| run_one(args, out, &code));
    } else {
        call.kind = evaluate(call.args, call.out, &code);
    }
}

/// What is to be decoded of the first item, or of the task itself.
pub(crate) fn first_item<'a>(call: &Call<'a>) -> &'a [u8] {
    match call.is_chunk {
        true => items(call.args.strip_prefix(&TIMED).unwrap_or(call.args)).next().unwrap_or_default(),
        false => call.args,
    }
}

/// Stops between two items when the task is asked to: those that were done keep their results.
pub(crate) fn run_items(call: &mut Call<'_>, one: impl Fn(&[u8], &mut Vec<u8>) -> Kind) {
    if !call.is_chunk {
        call.kind = one(call.args, call.out);
        return;
    }
    call.kind = Kind::Value;
    let current = CURRENT.get().expect("a worker says which task it runs");
    let (args, start) = match call.args.strip_prefix(&TIMED) {
        Some(args) => (args, Some(Instant::now())),
        None => (call.args, None),
    };
    if start.is_some() {
        call.out.extend_from_slice(&[0; TIME_LEN]);
    }
    for item in items(args) {
        let at = begin_result(call.out);
        let mut kind = if is_asked_to_stop(current) { ITEM_CANCELLED } else { one(item, call.out) as u8 };
        if !end_item(call.out, at) {
            begin_result(call.out);
            call.out.extend_from_slice(b"an item of a chunk is over 4 GiB");
            end_item(call.out, at);
            kind = Kind::Unstorable as u8;
        }
        set_kind(call.out, at, kind);
    }
    if let Some(start) = start {
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        call.out[..TIME_LEN].copy_from_slice(&ns.to_le_bytes());
    }
}

/// One of several: its panic is its own.
fn run_one<R: Payload>(
    args: &[u8],
    out: &mut Vec<u8>,
    code: &impl Fn(&[u8]) -> Result<Result<R, TaskError>, String>,
) -> Kind {
    let at = out.len();
    guarded(|| evaluate(args, out, code)).unwrap_or_else(|panic| {
        out.truncate(at);
        out.extend_from_slice(&panic);
        Kind::Panicked
    })
}

/// Decodes, calls and encodes. A panic in it is for the caller to catch: the worker does, and `run_one` does for each item.
#[inline]
fn evaluate<R: Payload>(
    args: &[u8],
    out: &mut Vec<u8>,
    code: &impl Fn(&[u8]) -> Result<Result<R, TaskError>, String>,
) -> Kind {
    let at = out.len();
    let value = match code(args) {
        Ok(value) => value,
        Err(e) => return fail(out, at, Kind::Failed, &format!("the arguments are of another type: {e}")),
    };
    let value = match value {
        Ok(value) => value,
        Err(e) => {
            out.truncate(at);
            crate::again::failing_with(e.code().into());
            let (summary, sources) = e.texts();
            return store_failure(out, summary, sources);
        }
    };
    match value.encode(out) {
        Ok(()) => Kind::Value,
        Err(e) => fail(out, at, Kind::Unstorable, &format!("the result cannot be encoded: {e}")),
    }
}

/// Puts a text where the result would have begun.
#[cold]
fn fail(out: &mut Vec<u8>, at: usize, kind: Kind, text: &str) -> Kind {
    out.truncate(at);
    out.extend_from_slice(text.as_bytes());
    kind
}

thread_local! {
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Runs `f`; a panic becomes its message and backtrace, as `outcome.rs` stores them.
#[inline]
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> std::result::Result<T, Vec<u8>> {
    let outer = IN_TASK.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    IN_TASK.set(outer);
    result.map_err(caught)
}

#[cold]
fn caught(payload: Box<dyn Any + Send>) -> Vec<u8> {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "a panic without a text".to_owned());
    // What the hook saw last may be another panic, which the task caught itself.
    let seen = PANIC.take().filter(|(message, _)| *message == text);
    let (place, backtrace) = seen
        .map(|(_, rest)| rest)
        .as_deref()
        .and_then(|r| r.split_once('\n'))
        .map_or_else(|| (String::new(), String::new()), |(place, backtrace)| (place.to_owned(), backtrace.to_owned()));
    crate::outcome::panic_bytes(&(text + &place), &backtrace)
}

/// Keeps the panics of tasks for their submitters instead of printing them. Other panics go to the hook that was there before.
pub(crate) fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_TASK.get() {
                return before(info);
            }
            let text = info.payload_as_str().unwrap_or("a panic without a text").to_owned();
            let place = info.location().map(|l| format!(" (at {l})")).unwrap_or_default();
            PANIC.set(Some((text, format!("{place}\n{}", backtrace()))));
        }));
    });
}

/// Where this thread stands, in words, unless memory is short: the standard library allocates while it holds the lock that its report of a failed
/// allocation waits for.
fn backtrace() -> String {
    // What is mapped and made of a program's debug information was measured to be half of this.
    let needed = 4 * crate::sys::program_len() + (64 << 20);
    if Vec::<u8>::new().try_reserve_exact(needed as usize).is_err() {
        return "no backtrace, for there is too little memory to make one".into();
    }
    std::backtrace::Backtrace::force_capture().to_string()
}

/// A function as a worker holds it.
#[derive(Clone)]
pub(crate) enum Runner {
    Declared(fn(&mut Call<'_>)),
    Registered(Arc<Handler>),
}

impl Runner {
    #[inline]
    pub(crate) fn run(&self, call: &mut Call<'_>) {
        match self {
            Runner::Declared(f) => f(call),
            Runner::Registered(f) => (f.code)(call),
        }
    }

    /// What an interpreter runs in its place: nothing that would be shared with others.
    pub(crate) fn that_shares_nothing(self) -> Runner {
        match self {
            Runner::Registered(f) if f.captures => Runner::Declared(refuse),
            other => other,
        }
    }

    /// Whether it takes the context of the worker that runs it.
    pub(crate) fn is_in_context(&self) -> bool {
        matches!(self, Runner::Registered(f) if f.in_context)
    }
}

fn refuse(call: &mut Call<'_>) {
    let text = "the function has captured values, which interpreters would share: give it what it needs as arguments";
    call.kind = fail(call.out, 0, Kind::Failed, text);
}

/// Every function that this process has.
pub(crate) fn known() -> Vec<(&'static str, Runner)> {
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let registered: Vec<_> = registered.iter().flatten().map(|(&name, h)| (name, Runner::Registered(h.clone()))).collect();
    let is_registered = |name| registered.iter().any(|&(r, _)| r == name);
    let declared = DECLARED.iter().map(|d| (d.name, Runner::Declared(d.run)));
    declared.filter(|&(name, _)| !is_registered(name)).chain(registered.iter().cloned()).collect()
}

/// Whether this process has a function of that name.
pub(crate) fn is_known(name: &str) -> bool {
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.iter().flatten().any(|(&n, _)| n == name) || DECLARED.iter().any(|d| d.name == name)
}

/// What the task that this thread runs may ask.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub(crate) id: u64,
    pub(crate) attempt: u16,
    pub(crate) slot: *const crate::layout::Slot,
}

/// Makes `current` what the functions below tell, until the task ends.
#[inline]
pub(crate) fn set_current(current: Option<Current>) -> Option<Current> {
    CURRENT.replace(current)
}

/// Whether this thread runs a task just now.
pub(crate) fn is_running() -> bool {
    CURRENT.try_with(|c| c.get().is_some()).unwrap_or(false)
}

/// Whether this thread runs a task of the pool in that segment just now.
pub(crate) fn is_running_in(segment: &crate::segment::Segment) -> bool {
    CURRENT.try_with(|c| c.get().is_some_and(|current| segment.holds(current.slot.cast()))).unwrap_or(false)
}

/// The task's number: unique in its pool, the same in every attempt, and what [`Future::id`](crate::Future::id) says. 0 outside a task.
#[must_use]
pub fn id() -> u64 {
    CURRENT.get().map_or(0, |c| c.id)
}

/// How many attempts at this task came before this one: 0 in the first.
#[must_use]
pub fn attempt() -> u32 {
    CURRENT.get().map_or(0, |c| u32::from(c.attempt))
}

/// Whether the submitter asked for this task to be cancelled while it runs. A long task looks now and then, and returns early.
#[must_use]
pub fn cancel_requested() -> bool {
    CURRENT.get().is_some_and(is_asked_to_stop)
}

#[inline]
fn is_asked_to_stop(current: Current) -> bool {
    // SAFETY: `slot` points into the segment of the worker that runs this task in this thread; the worker keeps the segment
    // mapped and takes `CURRENT` away before it goes on. A slot is only ever accessed through atomics.
    let slot = unsafe { &*current.slot };
    slot.load().has(crate::state::Flag::Cancel)
}
