//! A process pool in shared memory.
//!
//! Programs submit tasks into a ring of task slots; worker processes claim, run and complete them; futures bring the results back.
//! Any participant may be killed at any instruction, and every task is still accounted for exactly once.
//!
//! ```text
//! submit     executor.rs           claim      search.rs, ring.rs
//! encode     codec.rs              run        worker.rs, perform.rs, task.rs
//! publish    submit.rs, ring.rs    complete   slot.rs, outcome.rs
//!            under mutex.rs        announce   life.rs
//! wake       sleep.rs              wait       future.rs, hub.rs
//!                                  collect    collect.rs
//! ```
//! The shared memory is described in `layout.rs`, the state word of a slot in `state.rs`, what happens after a death in `recovery.rs`.
//!
//! ```
//! # taskring::test_support!();
//! taskring::task! { fn square(x: u64) -> u64 { x * x } }
//!
//! fn main() -> Result<(), taskring::Error> {
//!     taskring::init(); // first: spawned workers are this program, and serve the pool here
//!     let pool = taskring::Executor::builder().workers(2).build()?;
//!     let future = pool.submit(square, 7)?;
//!     assert_eq!(future.result()?, 49);
//!     Ok(())
//! }
//! ```
//!
//! Only for 64-bit Linux; tested on x86-64.

// What only named pools use stays in the file where it belongs.
#![cfg_attr(not(feature = "named"), allow(dead_code))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("taskring needs 64-bit little-endian Linux");

// The protocol. These files are also compiled into the models, with loom's atomics: they know no processes and no system calls.
mod circle;
mod demand;
mod event_ring;
mod later;
mod layout;
mod limits;
mod mutex;
mod priority;
mod resources;
mod retry;
mod ring;
mod search;
mod set;
mod sleep;
mod slot;
mod state;
mod sync;

mod again;
mod async_result;
mod audit;
mod awaiting;
mod bell;
mod builder;
mod calls;
mod child;
mod codec;
mod collect;
mod completion;
mod condemn;
mod constants;
mod context;
mod done;
mod ending;
mod error;
mod event_blocks;
mod events;
mod executor;
mod exit;
mod feed;
#[cfg(feature = "named")]
#[doc(hidden)]
pub mod ffi;
mod fork;
mod functions;
mod future;
mod hiring;
mod hub;
mod idleness;
mod inside;
#[cfg(feature = "named")]
mod inspect;
mod interpreter;
mod lanes;
mod life;
mod loan;
mod lookout;
mod map;
mod multi;
#[cfg(feature = "named")]
mod named;
mod nested;
mod notifier;
mod once;
mod options;
mod outcome;
mod pace;
mod payload;
mod perform;
mod policy;
mod pool;
mod progress;
mod promise;
#[cfg(feature = "raw-sync")]
mod pthread_mutex;
mod queue;
mod record;
mod recovery;
mod registry;
mod seeded;
mod segment;
mod setup;
mod spin;
mod staff;
mod start;
mod steer;
mod submit;
mod supervisor;
mod sys;
mod target;
pub mod task;
mod task_set;
mod thread_pool;
mod time_limits;
mod turn;
mod turnover;
mod wait;
mod watchdog;
mod worker;
mod zygote;

mod public {
    pub use crate::async_result::AsyncResult;
    pub use crate::awaiting::Awaiting;
    pub use crate::builder::Builder;
    pub use crate::codec::{Bytes, Payload, PayloadRef};
    pub use crate::ending::Ending;
    pub use crate::error::{Cause, Error, PoolKind, Result, Stage, TaskError, TaskSource};
    pub use crate::events::Events;
    pub use crate::executor::Executor;
    pub use crate::future::{Future, State};
    pub use crate::inside::current_pool;
    #[cfg(feature = "named")]
    pub use crate::inspect::{LaneView, ParticipantView, Snapshot, inspect};
    pub use crate::interpreter::InterpreterPool;
    pub use crate::layout::MutexKind;
    pub use crate::map::{Map, MapOptions, TryMap};
    pub use crate::multi::MultiPool;
    #[cfg(feature = "named")]
    pub use crate::named::{remove_dead, work};
    pub use crate::options::SubmitOptions;
    pub use crate::policy::{OnWorkerDeath, Orphans};
    pub use crate::priority::Priority;
    pub use crate::progress::Progress;
    pub use crate::promise::Promise;
    pub use crate::queue::CompletionQueue;
    pub use crate::retry::Retry;
    pub use crate::start::{StartMethod, init};
    pub use crate::task::{Task, register, register_fallible};
    pub use crate::task_set::{Discarded, TaskSet};
    pub use crate::thread_pool::{ThreadFuture, ThreadPool};
    pub use crate::wait::{AsCompleted, Waited, When, as_completed, wait};
}
pub use public::*;

/// For the macros, and for what the project measures of itself.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec::Owned;
    pub use crate::executor::holding_lane;
    #[cfg(feature = "seeded-bugs")]
    pub use crate::seeded::seeded_bugs;
    pub use crate::task::{DECLARED, Declared, TaskNumber, run_by_ref, run_typed};
    pub use linkme;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
