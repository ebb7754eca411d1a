//! What tests of the C interface share: the system's compilers, and programs built against the static library that cargo built for the test.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Werror"];
/// What the Rust standard library needs (`rustc --print native-static-libs`).
pub const LIBRARIES: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The static library that cargo has built for this test: it lies beside the test itself.
pub fn static_library() -> PathBuf {
    let beside = std::env::current_exe().expect("this test");
    let library = beside.with_file_name("libtaskring.a");
    assert!(library.exists(), "{} is not there", library.display());
    library
}

/// Where programs of tests are built.
pub fn out_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Whether a tool is there; if not, that is said.
pub fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        // Not by `println!`, which a passing test shows to nobody.
        let _ = writeln!(std::io::stdout(), "not run, for there is no {tool}: a test of the C interface");
    }
    found
}

/// The system's compiler.
pub fn compiler(cpp: bool) -> Command {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cc::Build::new();
    build.cpp(cpp).target(&host).host(&host).opt_level(1).flag("-g1").cargo_metadata(false).cargo_output(false);
    build.get_compiler().to_command()
}

/// Compiles and links; gives the program's path.
pub fn build(name: &str, standard: &str, sources: &[&str], flags: &[&str]) -> PathBuf {
    let program = out_dir().join(format!("c_api_{name}"));
    let cpp = standard.starts_with("c++");
    let mut command = compiler(cpp);
    command.arg(format!("-std={standard}")).args(WARNINGS).args(flags).arg("-D_GNU_SOURCE");
    if !cpp {
        command.arg("-Wstrict-prototypes");
    }
    command.arg("-I").arg(root().join("include")).arg("-I").arg(root().join("bindings/cpp"));
    command.args(sources.iter().map(|s| root().join(s)));
    command.arg("-o").arg(&program).arg(static_library()).args(LIBRARIES);
    succeed(&mut command);
    program
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}\n{}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    out
}

/// Runs a test program; a hang is a failure.
pub fn run(program: &Path, args: &[&str]) {
    run_within(program, args, Duration::from_secs(60));
}

/// The same with a limit of its own.
pub fn run_within(program: &Path, args: &[&str], limit: Duration) {
    let mut child = Command::new(program).args(args).spawn().expect("it starts");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            assert!(status.success(), "{} {args:?}: {status}", program.display());
            return;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            panic!("{} {args:?} hangs", program.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
