//! In place of the library's errors: those that the protocol's files name.

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    ShutDown,
    Broken { kind: PoolKind, cause: String },
    Corrupt { what: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Process,
    Thread,
    Interpreter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    MayHaveRun,
    RanResultLost,
}
