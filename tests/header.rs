//! The C header and the list of exported symbols are what the code says. `TASKRING_REWRITE=1` writes both anew.

use std::fs;
use std::path::Path;
use taskring::ffi;

const FILES: [&str; 21] = [
    "status",
    "init",
    "handle",
    "pool",
    "set",
    "call",
    "submit",
    "target",
    "loan",
    "future",
    "progress",
    "events",
    "completions",
    "map",
    "multi",
    "inside",
    "promise",
    "setup",
    "context",
    "steer",
    "log",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The macros that start a struct, and the sizes that both sides must agree on.
fn trailer() -> String {
    let sizes = [
        ("taskring_config", size_of::<ffi::taskring_config>()),
        ("taskring_named_bytes", size_of::<ffi::taskring_named_bytes>()),
        ("taskring_retry", size_of::<ffi::taskring_retry>()),
        ("taskring_options", size_of::<ffi::taskring_options>()),
        ("taskring_bytes", size_of::<ffi::taskring_bytes>()),
        ("taskring_future", size_of::<ffi::taskring_future>()),
        ("taskring_stats", size_of::<ffi::taskring_stats>()),
        ("taskring_discarded", size_of::<ffi::taskring_discarded>()),
        ("taskring_map_options", size_of::<ffi::taskring_map_options>()),
        ("taskring_completion", size_of::<ffi::taskring_completion>()),
        ("taskring_callbacks", size_of::<ffi::taskring_callbacks>()),
        ("taskring_loss", size_of::<ffi::taskring_loss>()),
    ];
    let mut text = String::from(
        "/* What a struct begins with. Every field but the size is 0: its default. */\n\
         #define TASKRING_CONFIG_INIT {sizeof(taskring_config), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0}, 0, 0, 0}\n\
         #define TASKRING_OPTIONS_INIT {sizeof(taskring_options), 0, 0, 0, NULL, NULL, 0, 0, 0, {0, 0, 0, 0, 0, 0}}\n\
         #define TASKRING_MAP_OPTIONS_INIT {sizeof(taskring_map_options), 0, 0, 0, 0, NULL}\n\
         #define TASKRING_CALLBACKS_INIT {sizeof(taskring_callbacks), 0, NULL, NULL, NULL, NULL}\n\
         #define TASKRING_STATS_INIT {sizeof(taskring_stats), 0, 0, 0, 0, 0, 0, 0, 0}\n\n\
         #if defined(__cplusplus)\n#define TASKRING_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)\n\
         #else\n#define TASKRING_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)\n#endif\n",
    );
    for (name, size) in sizes {
        text += &format!("TASKRING_ASSERT_SIZE({name}, {size});\n");
    }
    text + "#undef TASKRING_ASSERT_SIZE\n"
}

fn render() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    config.trailer = Some(trailer());
    let mut text = Vec::new();
    let builder = cbindgen::Builder::new().with_config(config).with_src(root().join("src/ffi/mod.rs"));
    builder.generate().expect("a header").write(&mut text);
    let text = String::from_utf8(text).expect("UTF-8");
    text.replace(" * # Safety\n", " * Requires:\n").replace("`", "")
}

/// Functions that the header declares.
fn declared(header: &str) -> Vec<&str> {
    let mut names: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '#', '/', '}']) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('(').map(|(before, _)| before))
        .filter_map(|before| before.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("taskring_"))
        .collect();
    names.sort_unstable();
    names
}

/// Functions that the code exports.
fn exported() -> Vec<String> {
    let mut names = Vec::new();
    for file in FILES {
        let text = fs::read_to_string(root().join(format!("src/ffi/{file}.rs"))).expect("a source file");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line == "#[unsafe(no_mangle)]" {
                let head = lines.next().expect("a function follows");
                let name = head.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).expect("its name");
                names.push(name.to_owned());
            }
        }
    }
    names.sort_unstable();
    names
}

fn map(header: &str) -> String {
    let names: String = declared(header).iter().map(|name| format!("        {name};\n")).collect();
    format!("TASKRING_0.1 {{\n    global:\n{names}    local:\n        *;\n}};\n")
}

fn compare(path: &str, wanted: &str) {
    let path = root().join(path);
    if std::env::var_os("TASKRING_REWRITE").is_some() {
        fs::write(&path, wanted).expect("written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} is out of date: TASKRING_REWRITE=1 cargo test --test header", path.display());
}

#[test]
fn the_header_is_what_the_code_says() {
    compare("include/taskring.h", &render());
}

#[test]
fn the_list_of_symbols_is_what_the_header_says() {
    let header = render();
    compare("include/taskring.map", &map(&header));
    assert_eq!(declared(&header), exported());
    assert!(exported().len() > 30, "they were found at all");
}

/// Each exported function has its whole body in a guard: one for each, and no more.
#[test]
fn no_panic_crosses_the_boundary() {
    let mut guards = 0;
    for file in FILES {
        let text = fs::read_to_string(root().join(format!("src/ffi/{file}.rs"))).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        guards += code.matches("guard(").count() + code.matches("guard_value(").count();
    }
    assert_eq!(guards, exported().len());
}

#[test]
fn the_version_of_the_header_is_that_of_the_package() {
    let parts: Vec<u32> = env!("CARGO_PKG_VERSION").split('.').map(|p| p.parse().expect("a number")).collect();
    assert_eq!(ffi::TASKRING_VERSION, parts[0] << 16 | parts[1] << 8 | parts[2]);
    assert_eq!(ffi::taskring_version(), ffi::TASKRING_VERSION);
}

/// The page of causes and fixes has every status once, in the order of their numbers.
#[test]
fn every_status_has_its_cause_and_fix() {
    let page = fs::read_to_string(root().join("docs/errors.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("| `TASKRING_")?.split('`').next()).collect();
    let header = render();
    let (_, list) = header.split_once("enum taskring_status").expect("the statuses");
    let (list, _) = list.split_once("};").expect("their end");
    let declared: Vec<&str> =
        list.lines().filter_map(|l| l.trim().strip_prefix("TASKRING_")?.split_once(" = ").map(|(name, _)| name)).collect();
    assert_eq!(rows, declared);
    assert!(declared.len() > 30);
}

/// What a cell of a table has between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the page's table that has this head: their cells.
fn table<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = page.split_once(head).unwrap_or_else(|| panic!("no table {head:?}"));
    let lines = rest.lines().skip(2).take_while(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The page's second table: what stands there for each exception of Python's pools exists, says the same in each language as the first table does, and no
/// exception is left out.
#[test]
fn every_exception_of_pythons_pools_has_its_error_in_each_language() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let (page, errors, classes, header) =
        (read("docs/errors.md"), read("src/error.rs"), read("bindings/cpp/taskring/error.hpp"), read("include/taskring.h"));
    let statuses = table(&page, "| status | Rust | C++ | cause | fix |");
    let rows = table(&page, "| there | Rust, `Error::` | C | C++ |");
    let mut problems = Vec::new();
    for row in &rows {
        let [there, rust, c, cpp] = row[..] else { panic!("four cells: {row:?}") };
        let (rust, c, cpp) = (quoted(rust), quoted(c), quoted(cpp));
        // A variant with the fields that are named, or a kind of pool.
        let mut variants = Vec::new();
        for name in rust {
            let (name, fields) = name.split_once(" { ").unwrap_or((name, ""));
            let line = |at: &&str| {
                at.strip_prefix("    ").and_then(|l| l.strip_prefix(name)).is_some_and(|l| l.starts_with([',', ' ']))
            };
            let kind = name.strip_prefix("PoolKind::").map(|kind| errors.contains(&format!("    {kind},\n")));
            let found = errors.lines().find(line);
            let has = |field: &str| found.is_some_and(|line| line.contains(&format!(" {field}: ")));
            let fields_there = fields.trim_end_matches(" }").split(", ").all(|field| field.is_empty() || has(field));
            problems.extend(
                (kind != Some(true) && !(found.is_some() && fields_there)).then(|| format!("{there}: no {name} {fields}")),
            );
            variants.extend(kind.is_none().then_some(name));
        }
        let declares = |name: &&&str| {
            let ways = [format!("    {name} = "), format!(" {name}("), format!("#define {name} ")];
            ways.iter().any(|way| header.contains(way))
        };
        problems.extend(c.iter().filter(|name| !declares(name)).map(|name| format!("{there}: no {name}")));
        let defines =
            |name: &&&str| c.contains(name) || name.starts_with("TASKRING_") || classes.contains(&format!("class {name} "));
        problems.extend(cpp.iter().filter(|name| !defines(name)).map(|name| format!("{there}: no class {name}")));
        // As the first table has it.
        for status in statuses.iter().filter(|status| c.contains(&status[0].trim_matches('`'))) {
            let (variant, class) = (quoted(status[1]), quoted(status[2]));
            let is_same = variants.is_empty() || variant.iter().all(|name| variants.contains(name));
            problems.extend((!is_same).then(|| format!("{there}: {} is {variant:?}", status[0])));
            problems.extend(
                (!class.iter().all(|name| cpp.contains(name))).then(|| format!("{there}: {} is {class:?}", status[0])),
            );
        }
    }
    let named: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let wanted = [
        "CancelledError",
        "TimeoutError",
        "BrokenExecutor",
        "BrokenProcessPool",
        "BrokenThreadPool",
        "BrokenInterpreterPool",
        "InvalidStateError",
        "ExecutionFailed",
        "RuntimeError",
        "ValueError",
        "TypeError",
    ];
    problems.extend(wanted.iter().filter(|name| !named.contains(name)).map(|name| format!("{name} is not in the table")));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
