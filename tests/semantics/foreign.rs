//! The contract in C and C++: each `semantics_*.c` of `tests/c` and `semantics_*.cpp` of `tests/cpp` is a program with cases, compiled when the first of them
//! is run. A language without a compiler is said in one line.

use crate::Cell;
use crate::cc_support::{build, has, root};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A program and the names of its cases, in its source as `CASE(name)`.
pub struct Program {
    language: &'static str,
    source: String,
    cases: Vec<String>,
    built: OnceLock<Option<PathBuf>>,
}

pub fn programs() -> Vec<Program> {
    let sources = |(language, folder, ending): (_, &str, &str)| {
        let files = std::fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names.filter(|name| name.starts_with("semantics_") && name.ends_with(ending)).collect();
        names.sort_unstable();
        names.into_iter().map(|name| Program::read(language, format!("{folder}/{name}"))).collect::<Vec<_>>()
    };
    [("C", "tests/c", ".c"), ("C++", "tests/cpp", ".cpp")].into_iter().flat_map(sources).collect()
}

impl Program {
    fn read(language: &'static str, source: String) -> Program {
        let text = std::fs::read_to_string(root().join(&source)).unwrap_or_else(|e| panic!("{source}: {e}"));
        let cases: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("    CASE(")?.strip_suffix("),").map(str::to_owned)).collect();
        assert!(!cases.is_empty(), "no case in {source}");
        Program { language, source, cases, built: OnceLock::new() }
    }

    pub fn cells<'a>(&'a self, kinds: &'a [&'static str]) -> impl Iterator<Item = Cell<'a>> {
        let cell = move |name| move |&kind| Cell { language: self.language, name, kind, program: Some(self) };
        self.cases.iter().flat_map(move |name| kinds.iter().map(cell(name.as_str())))
    }

    /// The program; `None` without a compiler.
    pub fn path(&self) -> Option<&Path> {
        let standard = if self.language == "C" { "c11" } else { "c++17" };
        let make = || {
            let stem = Path::new(&self.source).file_stem()?.to_str()?;
            has_compiler(self.language).then(|| build(&format!("{stem}_{}", &standard[..3]), standard, &[&self.source], &[]))
        };
        self.built.get_or_init(make).as_deref()
    }
}

/// Asked once, for the answer may be a line.
pub fn has_compiler(language: &str) -> bool {
    static C: OnceLock<bool> = OnceLock::new();
    static CPP: OnceLock<bool> = OnceLock::new();
    if language == "C" { *C.get_or_init(|| has("cc")) } else { *CPP.get_or_init(|| has("c++")) }
}
