//! What the cases share.

use taskring::{Executor, StartMethod};

/// One rule of the contract, to hold with every kind of worker.
pub struct Case {
    pub name: &'static str,
    pub run: fn(StartMethod),
}

/// The section of the row that a case's name begins with.
pub fn section(name: &str) -> char {
    let row = name.strip_prefix("semantics_").and_then(|row| row.chars().next());
    row.unwrap_or_else(|| panic!("{name} is no semantics_<row>_<what holds>")).to_ascii_uppercase()
}

/// Functions that take the kind of worker, and a list of them, `CASES`.
macro_rules! cases {
    ($($(#[$meta:meta])* fn $name:ident($kind:ident) $body:block)*) => {
        $($(#[$meta])* fn $name($kind: taskring::StartMethod) $body)*

        pub const CASES: &[$crate::support::Case] =
            &[$($crate::support::Case { name: stringify!($name), run: $name }),*];
    };
}

/// Every kind of worker that the contract is run with.
pub const KINDS: [&str; 5] = ["spawn", "fork", "forkserver", "thread", "interpreter"];

pub fn kind_of(name: &str) -> StartMethod {
    match name {
        "spawn" => StartMethod::Spawn,
        "fork" => StartMethod::Fork,
        "forkserver" => StartMethod::ForkServer,
        "thread" => StartMethod::Thread,
        "interpreter" => StartMethod::Interpreter,
        other => panic!("no kind {other:?}"),
    }
}

/// Whether workers of this kind are threads of this process: no signal ends one of them alone.
pub fn is_thread(kind: StartMethod) -> bool {
    matches!(kind, StartMethod::Thread | StartMethod::Interpreter)
}

/// The code that a program exits with whose case cannot be run here.
pub const NOT_HERE: i32 = 77;

/// Ends this program, for its case says nothing with this kind of workers, or on this machine. That is shown, and it counts as no run.
pub fn not_here(why: &str) -> ! {
    println!("not run: {why}");
    std::process::exit(NOT_HERE);
}

/// A pool of this kind and number of workers.
pub fn pool_of(kind: StartMethod, workers: usize) -> Executor {
    Executor::builder().workers(workers).start(kind).build().expect("a pool")
}
