//! Models of the protocol: the very files of the library, run by loom under every schedule and every stale value that the memory
//! model allows. `cargo test --release -p taskring-models`.
//!
//! `recovery.rs` and `life.rs` are among them. What these two ask of the segment, the registry and the kernel stands in `world/`, with the library's
//! names; so does what a pool plays around the protocol (a submitter's calls, a worker's loop). The package in `shuttle/` compiles the same files.
#![allow(dead_code, reason = "the library's files are here whole; the models use what they need")]

include!("files.rs");

#[cfg(test)]
mod models;
