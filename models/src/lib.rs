//! Models of the protocol: the very files of the library, run by loom under every schedule and every stale value that the memory
//! model allows. `cargo test --release -p taskring-models`.
#![allow(dead_code, reason = "the library's files are here whole; the models use what they need")]

#[path = "../../src/layout.rs"]
mod layout;
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/mutex.rs"]
mod mutex;
#[path = "../../src/ring.rs"]
mod ring;
#[path = "../../src/search.rs"]
mod search;
#[path = "../../src/seeded.rs"]
mod seeded;
#[path = "../../src/set.rs"]
mod set;
#[path = "../../src/sleep.rs"]
mod sleep;
#[path = "../../src/slot.rs"]
mod slot;
#[path = "../../src/state.rs"]
mod state;
#[path = "../../src/sync.rs"]
mod sync;

#[cfg(test)]
mod models;
