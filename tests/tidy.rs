//! The house style as a test: lengths, module docs, unsafe and its reasons, who may call the system, words, and links in the docs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file under {dir}");
    found
}

fn read(paths: impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, String)> {
    paths.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let dirs = ["src", "tests", "benches", "examples", "models"];
    read(dirs.iter().flat_map(|dir| files_under(dir, "rs")))
}

/// Those in C and C++, but for the header of the library, which is made.
fn sources_in_c() -> Vec<(PathBuf, String)> {
    let kinds = [
        ("tests", ["c", "h", "cpp", "hpp"].as_slice()),
        ("bindings", ["c", "cpp", "hpp"].as_slice()),
        ("benches", ["cpp", "hpp"].as_slice()),
    ];
    read(kinds.into_iter().flat_map(|(dir, endings)| endings.iter().flat_map(move |ending| files_under(dir, ending))))
}

/// What is written for people.
fn documents() -> Vec<(PathBuf, String)> {
    let beside = ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY", "benches/README"];
    let beside = beside.map(|name| root().join(format!("{name}.md")));
    read(files_under("docs", "md").into_iter().chain(beside).chain(files_under("include", "h")))
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn files_fit_a_sitting_and_begin_with_what_they_are() {
    let mut problems = Vec::new();
    for (path, text) in sources().into_iter().chain(sources_in_c()) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines", path.display()));
        }
        // One of the models' files is included in others, where `//!` cannot stand.
        let is_rust = path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("models/src/files.rs");
        if is_rust && !text.starts_with("//!") {
            problems.push(format!("{}: no `//!` at the top", path.display()));
        }
    }
    report(&problems);
}

/// Functions by indentation: rustfmt puts the closing brace below the first letter of the item. Not those of the models, where a machine is one long match.
#[test]
fn functions_fit_a_screen() {
    let mut problems = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with(root().join("models"))) {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let body = line.trim_start();
            let is_fn = body.starts_with("fn ")
                || (body.starts_with("pub") || body.starts_with("unsafe") || body.starts_with("extern"))
                    && body.contains(" fn ");
            if !is_fn || body.contains('}') && body.contains('{') || body.ends_with(';') {
                continue;
            }
            let indent = line.len() - body.len();
            let end = format!("{}}}", &line[..indent]);
            let Some(len) = lines[start..].iter().position(|l| **l == *end) else { continue };
            if len + 1 > FUNCTION_LINES_MAX {
                problems.push(format!("{}:{}: {} lines", path.display(), start + 1, len + 1));
            }
        }
    }
    report(&problems);
}

/// Orderings stronger than `Relaxed` are explained on their line or in the four above: with what they pair, or as what.
#[test]
fn orderings_say_what_they_pair_with() {
    let mut problems = Vec::new();
    for path in files_under("src", "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.split("#[cfg(test)]").next().unwrap_or_default().lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let strong = ["Acquire", "Release", "AcqRel", "SeqCst"].iter().any(|o| code.contains(o));
            let names = code.trim_start().starts_with("use ") || code.contains("Ordering::{") || !code.contains('(');
            let near = &lines[i.saturating_sub(4)..=i];
            let said = near.iter().filter_map(|l| l.split_once("//")).any(|(_, comment)| {
                ["airs with", "Acquire", "Release", "AcqRel", "SeqCst", "fence"].iter().any(|word| comment.contains(word))
            });
            if strong && !names && !said {
                problems.push(format!("{}:{}: {}", path.display(), i + 1, code.trim()));
            }
        }
    }
    report(&problems);
}

#[test]
fn unsafe_blocks_say_why_they_are_sound() {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = (code.contains("unsafe {") || code.contains("unsafe impl")) && !code.contains('"');
            let said = lines[i.saturating_sub(8)..=i].iter().any(|l| l.contains("SAFETY:"));
            if uses && !said {
                problems.push(format!("{}:{}: unsafe without SAFETY", path.display(), i + 1));
            }
        }
    }
    report(&problems);
}

#[test]
fn only_sys_calls_the_system() {
    let mut problems = Vec::new();
    for path in files_under("src", "rs") {
        let text = fs::read_to_string(&path).unwrap();
        if path.components().any(|c| c.as_os_str() == "sys") {
            continue;
        }
        for (i, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("libc::") {
                // Error and signal numbers are names, not calls.
                let name: String = line[at + 6..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name.chars().any(char::is_lowercase) {
                    problems.push(format!("{}:{}: libc::{name}", path.display(), i + 1));
                }
            }
        }
    }
    report(&problems);
}

/// What each layer of ARCHITECTURE.md may not know: everything above it.
#[test]
fn layers_only_point_down() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let block = text.split("## Layers").nth(1).and_then(|t| t.split("```").nth(1)).expect("the block of layers");
    let layers: Vec<Vec<&str>> = block
        .lines()
        .skip(1)
        .filter_map(|l| l.split("  ").next())
        .map(|l| l.split_whitespace().collect())
        .filter(|l: &Vec<&str>| !l.is_empty())
        .collect();
    assert!(layers.len() >= 6, "{layers:?}");
    let level = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let mut problems = Vec::new();
    for path in files_under("src", "rs") {
        let name = path.strip_prefix(root().join("src")).unwrap().components().next().unwrap();
        let name = name.as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if matches!(name, "lib" | "error") {
            continue;
        }
        let Some(own) = level(name) else {
            problems.push(format!("{name} is in no layer of ARCHITECTURE.md"));
            continue;
        };
        for line in fs::read_to_string(&path).unwrap().lines().filter(|l| l.starts_with("use crate::")) {
            let used: String =
                line["use crate::".len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if level(&used).is_some_and(|above| above < own) {
                problems.push(format!("{name} uses {used}, which lies above it"));
            }
        }
    }
    report(&problems);
}

/// Each file of the library, or its folder, has a row in the table of ARCHITECTURE.md.
#[test]
fn every_file_of_the_library_has_its_row() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("\n## Files\n").nth(1).and_then(|t| t.split("\n## ").next()).expect("the table of files");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let mut problems = BTreeSet::new();
    for path in files_under("src", "rs") {
        let first = path.strip_prefix(root().join("src")).unwrap().components().next().unwrap();
        let name = first.as_os_str().to_str().unwrap();
        let name = if name.ends_with(".rs") { name.to_owned() } else { format!("{name}/") };
        if !named.contains(&*name) {
            problems.insert(format!("{name} has no row in ARCHITECTURE.md"));
        }
    }
    report(&problems.into_iter().collect::<Vec<_>>());
}

#[test]
fn the_docs_name_only_files_that_exist() {
    let mut problems = Vec::new();
    let mut docs = files_under("docs", "md");
    docs.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|f| root().join(f)));
    for doc in docs {
        for quoted in fs::read_to_string(&doc).unwrap().split('`').skip(1).step_by(2) {
            let is_path = quoted.ends_with(".rs") || quoted.ends_with(".md");
            if !is_path || quoted.contains(' ') {
                continue;
            }
            let exists = ["", "src", "tests", "docs"].iter().any(|dir| root().join(dir).join(quoted).exists());
            if !exists {
                problems.push(format!("{}: `{quoted}` does not exist", doc.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn nothing_is_left_undone_by_its_own_word() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut problems = Vec::new();
    for (path, text) in sources().into_iter().chain(sources_in_c()) {
        for (i, line) in text.lines().enumerate() {
            if words.iter().any(|w| line.contains(w)) {
                problems.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    report(&problems);
}

#[test]
fn the_ring_is_never_called_what_it_is_not() {
    let words = [concat!("lock", "-free"), concat!("lock", "free"), concat!("wait", "-free")];
    let mut problems = Vec::new();
    for (path, text) in sources().into_iter().chain(sources_in_c()).chain(documents()) {
        let lower = text.to_lowercase();
        problems.extend(words.iter().filter(|w| lower.contains(**w)).map(|w| format!("{}: {w}", path.display())));
    }
    report(&problems);
}
