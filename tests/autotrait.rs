//! Which public types may be sent to and shared with other threads, whatever their parameters. A change of a field can
//! take that away without anybody noticing: here it is noticed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use taskring::*;

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}

/// Neither Send nor Sync.
type Local = PhantomData<Rc<Cell<u8>>>;

macro_rules! all_threads {
    ($($type:ty),* $(,)?) => {$(
        send::<$type>();
        sync::<$type>();
        unpin::<$type>();
    )*};
}

#[test]
fn handles_go_to_every_thread() {
    all_threads!(Executor, ThreadPool, InterpreterPool<Local>, TaskSet, Builder, SubmitOptions, MapOptions);
}

#[test]
fn values_go_to_every_thread() {
    all_threads!(Bytes, State, When, Waited, Discarded, StartMethod, PoolKind, OnWorkerDeath, Orphans);
    unwinds::<(Bytes, State, When, Waited, Discarded, StartMethod, PoolKind, OnWorkerDeath, Orphans)>();
    #[cfg(feature = "named")]
    all_threads!(Snapshot);
}

#[test]
fn errors_go_to_every_thread_and_are_errors() {
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
    all_threads!(Error, TaskError, Cause, Stage);
    unwinds::<(Error, TaskError, Cause, Stage)>();
}

/// A future holds no value of its result's type, only the bytes of one.
#[test]
fn futures_and_tasks_go_to_every_thread_whatever_their_types() {
    all_threads!(Future<u64>, Future<Local>, AsCompleted<u64>, AsCompleted<Local>);
    all_threads!(Awaiting<u64>, Awaiting<Local>, CompletionQueue<u64>, CompletionQueue<Future<Local>>);
    all_threads!(Task<u64, u64>, Task<Local, Local>, Promise<Local>);
}

/// The future of a closure holds its value.
#[test]
fn futures_of_closures_go_where_their_values_go() {
    all_threads!(ThreadFuture<u64>, ThreadFuture<Cell<u64>>);
}

/// A map holds results and the input.
#[test]
fn a_map_goes_where_its_input_and_results_go() {
    all_threads!(Map<u64, String, std::ops::Range<u64>>);
    all_threads!(TryMap<u64, String, String, std::vec::IntoIter<Result<u64, String>>>);
}

#[test]
fn small_values_are_copied() {
    fn copy<T: Copy>() {}
    copy::<(State, When, Discarded, StartMethod, PoolKind, OnWorkerDeath, Orphans, Cause, Stage)>();
    copy::<(Task<u64, u64>, Task<Local, Local>)>();
}
