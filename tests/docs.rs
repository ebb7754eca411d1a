//! `docs/tests.md`, `docs/faults.md` and `docs/semantics.md` name only tests that exist and run. Whether they ran is read from the output of a run, in
//! the file that `TASKRING_TEST_LOG` names; `.ci/run` does that.

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
    let problems: Vec<String> = rows.iter().filter_map(|(file, test)| problem(file, test)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What is wrong with a test that a document names.
fn problem(file: &str, test: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let Ok(text) = fs::read_to_string(path) else { return Some(format!("tests/{file} does not exist")) };
    let as_function = text.contains(&format!("fn {test}("));
    let as_name = text.contains(&format!("\"{test}\""));
    let as_line = text.contains(&format!("test {test} ... "));
    if !as_function && !as_name && !as_line {
        return Some(format!("tests/{file} has no test {test}"));
    }
    text.contains("#[ignore").then(|| format!("tests/{file} switches a test off"))
}

/// A row of the fault table: its number; its tests, by file; and the text that names them, or the reason why there are none.
type Fault = (usize, Vec<(String, String)>, String);

fn faults() -> Vec<Fault> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")).unwrap();
    let table = text.split("## The table").nth(1).expect("the table").split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|l| l.starts_with("| ")).map(|l| l.trim_matches('|').split(" | ").collect::<Vec<_>>());
    let mut faults = Vec::new();
    for cells in rows.filter(|cells| cells[0].trim() != "#") {
        assert_eq!(cells.len(), 4, "{cells:?}");
        let number = cells[0].trim().parse().unwrap_or_else(|_| panic!("a number: {cells:?}"));
        let (mut file, mut tests) = (String::new(), Vec::new());
        for name in cells[3].split('`').skip(1).step_by(2) {
            match name.ends_with(".rs") {
                true => file = name.to_owned(),
                false => tests.push((file.clone(), name.to_owned())),
            }
        }
        faults.push((number, tests, cells[3].trim().to_owned()));
    }
    faults
}

#[test]
fn every_fault_has_a_test_that_carries_its_number_or_a_reason() {
    let faults = faults();
    assert_eq!(faults.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    let mut problems = Vec::new();
    for (number, tests, cell) in &faults {
        if tests.is_empty() && cell.strip_prefix("none: ").is_none_or(str::is_empty) {
            problems.push(format!("row {number} has neither a test nor a reason: {cell}"));
        }
        let prefix = format!("fault_{number:02}_");
        for (file, test) in tests {
            problems.extend(problem(file, test));
            problems.extend((!test.starts_with(&prefix)).then(|| format!("row {number} names {test}")));
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
    let of_faults = faults().into_iter().flat_map(|(_, tests, _)| tests);
    let missing: Vec<_> =
        rows().into_iter().chain(of_faults).filter(|(_, test)| !passed.iter().any(|line| line.contains(&**test))).collect();
    assert!(missing.is_empty(), "these did not run: {missing:?}");
    let of_contract = contract().into_iter().flat_map(|rule| rule.cases);
    let not_run: Vec<&str> = log.lines().filter(|line| line.starts_with("not run: ")).collect();
    let missing: Vec<String> = of_contract.filter(|case| !ran_with_every_kind(case, &passed, &not_run)).collect();
    assert!(missing.is_empty(), "these did not run with every kind of worker: {missing:?}");
}

/// Whether a case of the contract ran: `test NAME [KIND, LANGUAGE] ... ok`, with each kind in each language that has a case of this name. Where a kind cannot
/// have it, or this machine, `not run: WHY (test NAME [KIND, LANGUAGE])` says so.
fn ran_with_every_kind(case: &str, passed: &[&str], not_run: &[&str]) -> bool {
    let languages: Vec<&str> = LANGUAGES.into_iter().filter(|language| has_case(language, case)).collect();
    let ran = |language: &&str| {
        let test = |kind: &&str| format!("test {case} [{kind}, {language}]");
        let has_run = |test: &String| passed.iter().any(|line| line.starts_with(test));
        KINDS.iter().map(test).all(|test| has_run(&test) || not_run.iter().any(|line| line.ends_with(&format!("({test})"))))
    };
    !languages.is_empty() && languages.iter().all(ran)
}

const KINDS: [&str; 5] = ["spawn", "fork", "forkserver", "thread", "interpreter"];
const LANGUAGES: [&str; 3] = ["Rust", "C", "C++"];

/// The rules of the contract: sections with the number of their last row, and the two tables of rules that count as a row each.
const SECTIONS: [(&str, usize); 12] = [
    ("F", 18),
    ("W", 11),
    ("A", 7),
    ("M", 14),
    ("P", 36),
    ("T", 8),
    ("I", 4),
    ("L", 25),
    ("B", 12),
    ("O", 10),
    ("D", 6),
    ("S", 13),
];
const TABLES: [&str; 2] = ["PM", "LD"];
/// Rules that mean something in Python only. (So do the keywords of P1, which are all of it, and of M7 the types, which are a half.)
const PYTHON_ONLY: [&str; 21] = [
    "P1", "P3", "P12", "P13", "P14", "P16", "P17", "P23", "P33", "F7", "F15", "F17", "A4", "M9", "M12", "L7", "L17", "L21",
    "L23", "I1", "I2",
];

/// A row of `docs/semantics.md`.
struct Rule {
    id: String,
    /// What pins it, as it is written.
    pinned_by: String,
    /// The cases that are named there.
    cases: Vec<String>,
}

fn contract() -> Vec<Rule> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/semantics.md")).unwrap();
    let mut rules = Vec::new();
    for line in text.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| row |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 6 && !cells.contains(&""), "six cells, none of them empty: {line}");
        let cases = cells[5].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        rules.push(Rule { id: cells[0].to_owned(), pinned_by: cells[5].to_owned(), cases });
    }
    rules
}

/// Whether a file of this folder of tests holds a text.
fn is_in_tests(folder: &str, text: &str) -> bool {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .any(|path| fs::read_to_string(path).unwrap().contains(text))
}

/// Whether a language has a case of this name.
fn has_case(language: &str, case: &str) -> bool {
    match language {
        "Rust" => is_in_tests("semantics", &format!("fn {case}(")),
        "C" => is_in_tests("c", &format!("CASE({case}),")),
        _ => is_in_tests("cpp", &format!("CASE({case}),")),
    }
}

/// The cases of the contract in these folders of tests, with their language.
fn cases_in_tests() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (language, folder, before, after) in
        [("Rust", "semantics", "    fn ", "("), ("C", "c", "    CASE(", "),"), ("C++", "cpp", "    CASE(", "),")]
    {
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let names = text.lines().filter_map(|line| Some(line.strip_prefix(before)?.split_once(after)?.0));
            found.extend(names.filter(|name| name.starts_with("semantics_")).map(|name| (language, name.to_owned())));
        }
    }
    found
}

#[test]
fn every_rule_of_the_contract_has_its_row_and_names_cases_that_exist() {
    let rules = contract();
    let numbered = SECTIONS.iter().flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}{number}")));
    let mut wanted: Vec<String> = numbered.chain(TABLES.map(str::to_owned)).collect();
    let mut found: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
    wanted.sort_unstable();
    found.sort_unstable();
    let missing: Vec<_> = wanted.iter().filter(|id| !found.contains(id)).collect();
    assert_eq!(found, wanted, "each row once; these are missing: {missing:?}");
    let mut problems = Vec::new();
    for Rule { id, pinned_by, cases } in &rules {
        let is_said = match &pinned_by[..] {
            "Python only" => PYTHON_ONLY.contains(&&id[..]),
            names => !PYTHON_ONLY.contains(&&id[..]) && !cases.is_empty() && names == format!("`{}`", cases.join("`, `")),
        };
        problems.extend((!is_said).then(|| format!("{id} is pinned by {pinned_by:?}")));
        for case in cases {
            let exists = LANGUAGES.iter().any(|language| has_case(language, case));
            problems.extend((!case.starts_with("semantics_")).then(|| format!("{id}: {case} is no case of the contract")));
            problems.extend((!exists).then(|| format!("{id}: there is no case {case}")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_case_of_the_contract_is_named_by_a_row() {
    let named: Vec<String> = contract().into_iter().flat_map(|rule| rule.cases).collect();
    let cases = cases_in_tests();
    assert!(LANGUAGES.iter().all(|language| cases.iter().filter(|(of, _)| of == language).count() > 50), "cases of each");
    let unnamed: Vec<_> = cases.iter().filter(|(_, case)| !named.contains(case)).collect();
    assert!(unnamed.is_empty(), "docs/semantics.md names none of these: {unnamed:?}");
}

/// Languages in which each rule of some sections has a case, and the rules that have none there, for the reason that the document gives.
const FULL: [(&str, &str, &[&str]); 2] = [("C", "FWAMPSD", &["S11"]), ("C++", "FWAMPSD", &["S11"])];

#[test]
fn every_rule_of_these_sections_has_a_case_in_each_language() {
    let rules = contract();
    for (language, sections, without) in FULL {
        let cases = cases_in_tests();
        let has_one = |rule: &Rule| cases.iter().any(|(of, case)| *of == language && rule.cases.contains(case));
        let means_something = |rule: &&Rule| sections.contains(&rule.id[..1]) && !PYTHON_ONLY.contains(&&rule.id[..]);
        let missing: Vec<&str> = rules.iter().filter(means_something).filter(|r| !has_one(r)).map(|r| &r.id[..]).collect();
        assert_eq!(missing, without, "the rules of {sections} without a case in {language}");
    }
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
