//! `docs/tests.md` names only tests that exist and run. Whether they ran is read from the output of a run, in the file that `TASKRING_TEST_LOG`
//! names; `.ci/run` does that.

use std::fs;
use std::path::Path;

/// The rows of the two tables: file and test.
fn rows() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/tests.md")).unwrap();
    let quoted = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut rows = Vec::new();
    for line in text.lines().filter(|l| l.starts_with('|') && l.contains(".rs` |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        if cells.len() == 3 {
            rows.push((quoted(cells[1]), quoted(cells[2])));
        }
    }
    rows
}

#[test]
fn every_test_that_the_docs_name_exists_and_is_not_switched_off() {
    let rows = rows();
    assert!(rows.len() > 50, "the tables were not found: {}", rows.len());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut problems = Vec::new();
    for (file, test) in rows {
        let Ok(text) = fs::read_to_string(tests.join(&file)) else {
            problems.push(format!("tests/{file} does not exist"));
            continue;
        };
        let as_function = text.contains(&format!("fn {test}("));
        let as_name = text.contains(&format!("\"{test}\""));
        let as_line = text.contains(&format!("test {test} ... "));
        if !as_function && !as_name && !as_line {
            problems.push(format!("tests/{file} has no test {test}"));
        }
        if text.contains("#[ignore") {
            problems.push(format!("tests/{file} switches a test off"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_test_that_the_docs_name_ran() {
    let Some(log) = std::env::var_os("TASKRING_TEST_LOG") else {
        println!("not checked: TASKRING_TEST_LOG names no output of a run");
        return;
    };
    let log = fs::read_to_string(log).expect("the output of a run");
    let passed: Vec<&str> = log.lines().filter(|line| line.starts_with("test ") && line.contains(" ... ok")).collect();
    let missing: Vec<_> = rows().into_iter().filter(|(_, test)| !passed.iter().any(|line| line.contains(&**test))).collect();
    assert!(missing.is_empty(), "these did not run: {missing:?}");
}

/// The last table: a rule, and the models that fail without it.
#[test]
fn every_model_that_the_docs_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/tests.md")).unwrap();
    let table = text.split("## Models").nth(1).expect("the models");
    let names: Vec<(&str, &str)> = table.split('`').filter_map(|name| name.split_once("::")).collect();
    assert!(names.len() > 6, "{names:?}");
    for (file, model) in names {
        let source = fs::read_to_string(root.join(format!("models/src/models/{file}.rs"))).expect("a file of models");
        assert!(source.contains(&format!("fn {model}(")), "there is no model {file}::{model}");
    }
}

#[test]
fn every_test_file_is_named_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/tests.md")).unwrap();
    let unnamed: Vec<_> = fs::read_dir(root.join("tests"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|file| file.ends_with(".rs") && !text.contains(&format!("`{file}`")))
        .filter(|file| !text.contains(&format!("tests/{file}")))
        .collect();
    assert!(unnamed.is_empty(), "docs/tests.md does not name {unnamed:?}");
}
