//! The C interface as C programs see it: compiled by the system's compiler against the static library, with every warning an error.
//! Needs `cc` and `c++`; valgrind too where it is installed. What is missing is said in one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Werror"];
/// What the Rust standard library needs (`rustc --print native-static-libs`).
const LIBRARIES: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The static library that cargo has built for this test: it lies beside the test itself.
fn static_library() -> PathBuf {
    let beside = std::env::current_exe().expect("this test");
    let library = beside.with_file_name("libtaskring.a");
    assert!(library.exists(), "{} is not there", library.display());
    library
}

fn out_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        println!("skipped: there is no {tool}");
    }
    found
}

fn compiler(cpp: bool) -> Command {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cc::Build::new();
    build.cpp(cpp).target(&host).host(&host).opt_level(1).debug(true).cargo_metadata(false).cargo_output(false);
    build.get_compiler().to_command()
}

/// Compiles and links; gives the program's path.
fn build(name: &str, standard: &str, sources: &[&str], flags: &[&str]) -> PathBuf {
    let program = out_dir().join(format!("c_api_{name}"));
    let cpp = standard.starts_with("c++");
    let mut command = compiler(cpp);
    command.arg(format!("-std={standard}")).args(WARNINGS).args(flags).arg("-D_GNU_SOURCE");
    if !cpp {
        command.arg("-Wstrict-prototypes");
    }
    command.arg("-I").arg(root().join("include")).args(sources.iter().map(|s| root().join("tests/c").join(s)));
    command.arg("-o").arg(&program).arg(static_library()).args(LIBRARIES);
    succeed(&mut command);
    program
}

fn succeed(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}\n{}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    out
}

/// Runs a test program; a hang is a failure.
fn run(program: &Path, args: &[&str]) {
    let mut child = Command::new(program).args(args).spawn().expect("it starts");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            assert!(status.success(), "{} {args:?}: {status}", program.display());
            return;
        }
        if start.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            panic!("{} {args:?} hangs", program.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_header_is_clean_in_every_standard() {
    if !has("cc") || !has("c++") {
        return;
    }
    for (i, standard) in ["c11", "c17", "c++17", "c++20"].into_iter().enumerate() {
        let cpp = if standard.starts_with("c++") { &["-x", "c++"][..] } else { &[] };
        for source in ["double_include_a.c", "double_include_b.c"] {
            let mut command = compiler(standard.starts_with("c++"));
            command
                .arg(format!("-std={standard}"))
                .args(WARNINGS)
                .args(cpp)
                .arg("-c")
                .arg(root().join("tests/c").join(source));
            command.arg("-I").arg(root().join("include")).arg("-o").arg(out_dir().join(format!("header_{i}.o")));
            succeed(&mut command);
        }
    }
}

#[test]
fn two_translation_units_link() {
    if has("cc") {
        run(&build("double_include", "c11", &["double_include_a.c", "double_include_b.c"], &[]), &[]);
    }
}

#[test]
fn every_behaviour_holds_with_workers_of_every_kind() {
    if has("cc") {
        let program = build("semantics", "c11", &["semantics.c"], &[]);
        for method in ["thread", "spawn", "fork", "forkserver"] {
            run(&program, &[method]);
        }
    }
}

#[test]
fn misuse_is_told_and_changes_nothing() {
    if has("cc") {
        run(&build("misuse", "c17", &["misuse.c"], &[]), &[]);
    }
}

#[test]
fn the_address_and_undefined_behaviour_sanitizers_are_silent() {
    if has("cc") {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        run(&build("semantics_sanitized", "c11", &["semantics.c"], &flags), &["thread"]);
        run(&build("misuse_sanitized", "c11", &["misuse.c"], &flags), &[]);
    }
}

#[test]
fn valgrind_finds_nothing() {
    if has("cc") && has("valgrind") {
        let program = build("misuse_valgrind", "c11", &["misuse.c"], &[]);
        let kinds = ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];
        succeed(Command::new("valgrind").args(["-q", "--error-exitcode=9"]).args(kinds).arg(program));
    }
}
