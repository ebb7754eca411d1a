//! In place of the library's errors: those that the protocol's files name.

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    ShutDown,
    Broken { kind: PoolKind, cause: String },
    Corrupt { what: String },
    InvalidArgument { name: &'static str, value: String, wanted: String },
}

impl Error {
    pub(crate) fn invalid(name: &'static str, value: impl ToString, wanted: impl ToString) -> Error {
        Error::InvalidArgument { name, value: value.to_string(), wanted: wanted.to_string() }
    }
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
