//! The context of a worker: a value that its initializer makes in the worker's thread, and that it lends to one task at a time.
//!
//! It lies among what the worker keeps (`setup.rs`), is dropped in its thread when the worker leaves, and is never seen by another one. A task that panics with
//! it in hand may have left it half changed: it is not lent again, and the next task finds a new one.

use crate::error::TaskError;
use crate::setup::{note_lent, set_worker_state, worker_state};
use crate::task::guarded;
use std::any::Any;
use std::cell::RefCell;

type Make<C> = Box<dyn Fn() -> Result<C, TaskError>>;

struct Context<C> {
    /// `None` while it is lent, and when there is to be a new one.
    value: RefCell<Option<C>>,
    /// One that a task has panicked with.
    spoiled: RefCell<Option<C>>,
    make: Make<C>,
}

/// Makes the context of this thread's worker, and keeps `make` for another one.
pub(crate) fn establish<C: Any>(make: impl Fn() -> Result<C, TaskError> + 'static) -> Result<(), TaskError> {
    let value = make()?;
    let context = Context { value: RefCell::new(Some(value)), spoiled: RefCell::default(), make: Box::new(make) };
    Ok(set_worker_state(context)?)
}

/// A context in the hands of a task.
struct Loan<'a, C> {
    context: &'a Context<C>,
    value: Option<C>,
}

impl<C> Drop for Loan<'_, C> {
    fn drop(&mut self) {
        note_lent(false);
        let place = if std::thread::panicking() { &self.context.spoiled } else { &self.context.value };
        *place.borrow_mut() = self.value.take();
    }
}

impl<C: Any> Context<C> {
    /// The value, or a new one.
    fn take(&self) -> Result<C, TaskError> {
        if let Some(value) = self.value.take() {
            return Ok(value);
        }
        let spoiled = self.spoiled.take();
        // Code of the program's own, both of it, which may panic.
        let _ = guarded(|| drop(spoiled));
        let made = guarded(|| (self.make)());
        let made = made.unwrap_or_else(|_| Err(TaskError::new("it panicked")));
        made.map_err(|why| {
            let text = format!("a new context cannot be made: {why}");
            crate::setup::fail(&text);
            TaskError::new(text)
        })
    }
}

/// Calls `f` with the context of this thread's worker.
pub(crate) fn lend<C: Any, T>(f: impl FnOnce(&mut C) -> T) -> Result<T, TaskError> {
    let Some(context) = worker_state::<Context<C>>() else {
        return Err(TaskError::new("the worker has no context of the type that the task takes"));
    };
    if note_lent(true) {
        return Err(TaskError::new("the worker's context is lent to a task that waits for this one"));
    }
    let mut loan = Loan { context: &context, value: None };
    let value = loan.value.insert(context.take()?);
    Ok(f(value))
}
