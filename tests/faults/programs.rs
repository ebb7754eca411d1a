//! Rows 23 and 24: programs in which a task's panic or exception cannot be caught, built for the test.

use crate::cc_support::{build, has, out_dir, root, run, succeed};
use crate::process_support::Test;
use std::path::PathBuf;
use std::process::Command;

pub const TESTS: &[Test] = &[
    ("fault_23_a_panic_in_a_program_that_aborts_is_the_death_of_that_worker", panic_aborts),
    ("fault_24_exceptions_of_the_wrapper_are_errors_and_others_end_their_worker", exceptions),
];

/// A program of this library whose panics do not unwind. The library itself is as it is for every test: how panics end is the program's to say.
fn aborting_program() -> PathBuf {
    let deps = std::env::current_exe().expect("this program").parent().expect("a folder").to_owned();
    let library = deps.join("libtaskring.rlib");
    assert!(library.exists(), "{} is not there", library.display());
    let program = out_dir().join("faults_aborting");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "bin", "-C", "panic=abort"]);
    rustc.arg("--extern").arg(format!("taskring={}", library.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display()));
    succeed(rustc.arg("-o").arg(&program).arg(root().join("tests/faults/aborting.rs")));
    program
}

fn panic_aborts() {
    run(&aborting_program(), &[]);
}

fn exceptions() {
    if has("c++") {
        run(&build("exceptions", "c++17", &["tests/cpp/exceptions.cpp"], &[]), &[]);
    }
}
