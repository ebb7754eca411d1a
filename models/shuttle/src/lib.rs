//! The protocol's own files under shuttle: a whole pool of eight threads, run on schedules drawn at random, with deaths and stops drawn as
//! well. `cargo test --release -p taskring-models-shuttle`.
#![allow(dead_code, reason = "the library's files are here whole; the models use what they need")]

include!("../../src/files.rs");

#[cfg(test)]
mod pool;
