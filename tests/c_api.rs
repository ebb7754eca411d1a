//! The C interface and the C++ wrapper as programs see them: compiled by the system's compilers, with every warning an error, against the
//! static library that cargo built, or an installed copy. Valgrind, CMake and pkg-config are used where they are installed; what is missing is
//! said in one line.

mod cc_support;

use cc_support::{LIBRARIES, WARNINGS, build, compiler, has, out_dir, root, run, run_within, succeed};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
        run(&build("double_include", "c11", &["tests/c/double_include_a.c", "tests/c/double_include_b.c"], &[]), &[]);
    }
}

#[test]
fn every_behaviour_holds_with_workers_of_every_kind() {
    if has("cc") {
        let program = build("semantics", "c11", &["tests/c/semantics.c"], &[]);
        for method in ["thread", "spawn", "fork", "forkserver"] {
            run(&program, &[method]);
        }
    }
}

#[test]
fn completions_maps_and_loans_hold_with_threads_and_processes() {
    if has("cc") {
        for name in ["completions", "maps", "loans"] {
            let program = build(name, "c11", &[&format!("tests/c/{name}.c")], &[]);
            for method in ["thread", "spawn"] {
                run(&program, &[method]);
            }
        }
    }
}

/// Which end a promise has, and that the end of the process does not wait for one.
#[test]
fn promises_are_completed_once_in_c_and_cpp() {
    if has("cc") {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        run(&build("promises_sanitized", "c11", &["tests/c/semantics_promises.c"], &flags), &["thread"]);
    }
    // The contract's suite has it in C++17.
    run_cpp(&[&["semantics_promises"]], &["c++20"]);
}

#[test]
fn workers_are_given_what_the_pools_creator_says() {
    run_cpp(&[&["semantics_setup"]], &["c++20"]);
}

/// Numeric libraries start threads when they are loaded, before `main` comes to init.
#[test]
fn a_program_with_a_thread_before_main_is_its_own_worker() {
    if has("cc") {
        run(&build("early_thread", "c11", &["tests/c/early_thread.c"], &[]), &[]);
    }
}

#[test]
fn misuse_is_told_and_changes_nothing() {
    if has("cc") {
        run(&build("misuse", "c17", &["tests/c/misuse.c"], &[]), &[]);
    }
}

#[test]
fn the_address_and_undefined_behaviour_sanitizers_are_silent() {
    if has("cc") {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        run(&build("semantics_sanitized", "c11", &["tests/c/semantics.c"], &flags), &["thread"]);
        run(&build("misuse_sanitized", "c11", &["tests/c/misuse.c"], &flags), &[]);
        for name in ["completions", "maps", "loans"] {
            run(&build(&format!("{name}_sanitized"), "c11", &[&format!("tests/c/{name}.c")], &flags), &["thread"]);
        }
    }
}

/// Any calls in any order, under the sanitizers. `TASKRING_RANDOM_CALLS` sets how many; the seed and a table are printed.
#[test]
fn random_calls_give_typed_statuses_and_nothing_else() {
    if has("cc") {
        let calls = std::env::var("TASKRING_RANDOM_CALLS").unwrap_or_else(|_| "300000".to_owned());
        let limit = Duration::from_secs(60 + calls.parse::<u64>().expect("a number of calls") / 10_000);
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        run_within(&build("random", "c11", &["tests/c/random.c"], &flags), &[&calls], limit);
    }
}

#[test]
fn valgrind_finds_nothing() {
    if has("cc") && has("valgrind") {
        let program = build("misuse_valgrind", "c11", &["tests/c/misuse.c"], &[]);
        let kinds = ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];
        succeed(Command::new("valgrind").args(["-q", "--error-exitcode=9"]).args(kinds).arg(program));
    }
}

/// Runs programs of `tests/cpp`, each made of the files that are named, in both or one of the standards.
fn run_cpp(programs: &[&[&str]], standards: &[&str]) {
    if has("c++") {
        for files in programs {
            let sources: Vec<String> = files.iter().map(|file| format!("tests/cpp/{file}.cpp")).collect();
            let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
            for standard in standards {
                run(&build(&format!("cpp_{}_{}", files[0], &standard[3..]), standard, &sources, &[]), &[]);
            }
        }
    }
}

#[test]
fn the_cpp_wrapper_holds_its_word() {
    // Two files that include the wrapper, and link.
    run_cpp(&[&["semantics", "double_include"], &["outcomes"], &["other_version"]], &["c++17", "c++20"]);
}

#[test]
fn cpp_ranges_callbacks_and_bytes_are_what_they_say() {
    run_cpp(&[&["ranges"], &["bytes"]], &["c++17", "c++20"]);
}

#[test]
fn what_rust_tells_c_and_cpp_tell_too() {
    if has("cc") {
        let program = build("names", "c11", &["tests/c/names.c"], &[]);
        run(&program, &[&format!("names-c-{}", std::process::id())]);
    }
    run_cpp(&[&["names"]], &["c++17", "c++20"]);
}

#[test]
fn cpp_closures_are_ended_once_and_coroutines_resumed_once() {
    run_cpp(&[&["closures"], &["no_callback"]], &["c++17", "c++20"]);
    run_cpp(&[&["await"]], &["c++20"]);
}

#[test]
fn cpp_closures_and_coroutines_pass_the_sanitizers() {
    if has("c++") {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        for program in ["closures", "no_callback", "await"] {
            let source = format!("tests/cpp/{program}.cpp");
            run(&build(&format!("cpp_{program}_sanitized"), "c++20", &[&source], &flags), &["thread"]);
        }
    }
}

#[test]
fn events_in_c_and_cpp_pass_the_sanitizers() {
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    for (compiler, standard, source) in
        [("cc", "c11", "tests/c/semantics_events.c"), ("c++", "c++20", "tests/cpp/semantics_events.cpp")]
    {
        if has(compiler) {
            run(&build(&format!("events_{}_sanitized", &standard[..3]), standard, &[source], &flags), &["thread"]);
        }
    }
}

/// What the compiler says of a file that it only checks; `None` when it takes it.
fn refusal(standard: &str, source: &str, define: &str) -> Option<String> {
    let mut command = compiler(true);
    command.arg(format!("-std={standard}")).args(WARNINGS).args(["-fsyntax-only", define]);
    command.arg("-I").arg(root().join("include")).arg("-I").arg(root().join("bindings/cpp"));
    let out = command.arg(root().join("tests/cpp").join(source)).output().expect("the compiler runs");
    (!out.status.success()).then(|| String::from_utf8_lossy(&out.stderr).into_owned())
}

/// A lambda with captures is refused by the compiler, in words.
#[test]
fn a_lambda_with_captures_is_refused_with_the_reason() {
    if has("c++") {
        let text = refusal("c++17", "captures.cpp", "-DNOTHING").expect("refused");
        assert!(text.contains("a lambda with captures cannot be a task"), "{text}");
        assert!(text.contains("what makes a context is a function or a lambda without captures"), "{text}");
        assert!(text.contains("a task in a context is a function or a lambda without captures"), "{text}");
    }
}

/// The same program with another kind of pool.
#[test]
fn captures_are_refused_by_a_pool_and_taken_by_a_pool_of_threads() {
    if has("c++") {
        for standard in ["c++17", "c++20"] {
            let text = refusal(standard, "submit_captures.cpp", "-DPOOL=pool").expect("refused");
            let reason =
                "a lambda with captures cannot be a task: a worker in another process would not have what it captured";
            assert!(text.contains(reason), "{text}");
            assert_eq!(refusal(standard, "submit_captures.cpp", "-DPOOL=thread_pool"), None);
            let text = refusal(standard, "submit_captures.cpp", "-DPOOL=interpreter_pool<int>").expect("refused");
            assert!(text.contains("a lambda with captures cannot be a task"), "{text}");
        }
    }
}

#[test]
fn cpp_types_that_do_not_fit_are_refused_with_the_reason() {
    if !has("c++") {
        return;
    }
    let cases = [
        "this is not the task's argument",
        "the task takes another number of arguments",
        "what a task gives must own its bytes",
        "a std::string_view has no bytes of its own",
        "is a pointer, which means nothing in another process",
        "this cannot be called with these arguments",
        "specialise taskring::codec for this type",
        "a lambda with captures cannot be a task",
        "a task without parameters has no inputs",
        "a lambda with captures cannot be a task",
        "a task takes a std::span<const T> of any length",
    ];
    assert_eq!(refusal("c++20", "misfits.cpp", "-DCASE=0"), None);
    for (i, reason) in cases.into_iter().enumerate() {
        let text = refusal("c++20", "misfits.cpp", &format!("-DCASE={}", i + 1)).expect("refused");
        assert!(text.contains(reason), "case {}: {text}", i + 1);
    }
}

/// Every header that the wrapper consists of is installed, and found there.
#[test]
fn the_installed_cpp_headers_are_all_there() {
    if !has("c++") || !has("make") {
        return;
    }
    let prefix = tempfile::tempdir().expect("a temporary folder");
    let make = |target: &str| {
        let mut command = Command::new("make");
        command.current_dir(root()).arg(target).arg(format!("PREFIX={}", prefix.path().display()));
        succeed(command.env("CARGO_TARGET_DIR", out_dir().join("installed")));
    };
    make("install-headers");
    let include = prefix.path().join("include");
    let mut command = compiler(true);
    command.arg("-std=c++20").args(WARNINGS).arg("-fsyntax-only").arg("-I").arg(&include);
    succeed(command.arg(root().join("tests/cpp/double_include.cpp")));
    make("uninstall");
    let left: Vec<_> = std::fs::read_dir(&include).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_examples_run() {
    if has("cc") {
        let program = build("prime", "c11", &["bindings/c/prime.c"], &[]);
        let out = succeed(&mut Command::new(program));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!((text.lines().count(), text.matches("is prime").count()), (6, 5), "{text}");
    }
    if has("c++") {
        let program = build("wordcount", "c++17", &["bindings/cpp/wordcount.cpp"], &[]);
        let last = |args: &[&str]| {
            let out = succeed(Command::new(&program).arg(root().join("src")).args(args));
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            text.lines().last().expect("a sum").to_owned()
        };
        assert!(last(&[]).contains("words; 0 of "), "{}", last(&[]));
        // However many are begun meanwhile, one file is enough.
        assert!(last(&["1"]).contains(" files were not begun"));
    }
    // Enough of them that they have no room at a time.
    for (compiler, standard, source, first) in
        [("cc", "c11", "bindings/c/follow.c", "2"), ("c++", "c++17", "bindings/cpp/follow.cpp", "2 after 0")]
    {
        if has(compiler) {
            let program = build(&format!("follow_{}", &standard[..3]), standard, &[source], &[]);
            let out = succeed(Command::new(program).args(["0", "30000"]));
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let ends = (text.lines().count(), text.lines().next(), text.lines().last());
            assert_eq!(ends, (3246, Some(first), Some("3245 primes")), "{source}");
        }
    }
}

/// The README's programs, as they stand there, and the one at the head of the header.
#[test]
fn the_programs_of_the_documents_run() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    for (language, standard) in [("c", "c11"), ("cpp", "c++17")] {
        if !has(if language == "c" { "cc" } else { "c++" }) {
            continue;
        }
        let code =
            readme.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
        assert!(code.lines().filter(|line| !line.is_empty()).count() <= 12, "twelve lines are enough:\n{code}");
        let source = out_dir().join(format!("readme.{language}"));
        std::fs::write(&source, code).expect("written");
        run(&build(&format!("readme_{language}"), standard, &[source.to_str().expect("UTF-8")], &[]), &[]);
    }
    if has("cc") {
        let header = std::fs::read_to_string(root().join("include/taskring.h")).expect("the header");
        let head = header.split(" */").next().and_then(|head| head.split("A whole program:").nth(1)).expect("a program");
        let code: String = head.lines().skip(1).map(|line| format!("{}\n", line.trim_start_matches([' ', '*']))).collect();
        let source = out_dir().join("header.c");
        std::fs::write(&source, code).expect("written");
        let out = succeed(&mut Command::new(build("header", "c11", &[source.to_str().expect("UTF-8")], &[])));
        assert_eq!(String::from_utf8_lossy(&out.stdout), "49\n");
    }
}

/// An installed copy: what lies there, what it exports, and clients built against it in three ways.
#[test]
fn an_installed_copy_serves_clients() {
    if !has("cc") || !has("make") {
        return;
    }
    let prefix = tempfile::tempdir().expect("a temporary folder");
    let lib = prefix.path().join("lib");
    let mut make = Command::new("make");
    make.current_dir(root()).args(["install", "PROFILE=dev"]).arg(format!("PREFIX={}", prefix.path().display()));
    // A build folder of its own: this test's library must not change under the other tests.
    succeed(make.env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", out_dir().join("installed")));

    let wanted = std::fs::read_to_string(root().join("include/taskring.map")).expect("the list of symbols");
    let wanted: Vec<&str> =
        wanted.lines().filter_map(|l| l.trim().strip_suffix(';')).filter(|l| l.starts_with("taskring_")).collect();
    let out = succeed(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(lib.join("libtaskring.so")));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let found: Vec<&str> =
        text.lines().filter_map(|l| l.split(['@', ' ']).next()).filter(|n| !n.starts_with("TASKRING_")).collect();
    assert_eq!(found, wanted, "what the shared library exports, and what the header declares");

    if has("readelf") {
        // What programs are bound to is another one with each version that taskring_check_version refuses.
        let major = env!("CARGO_PKG_VERSION_MAJOR");
        let abi = if major == "0" { concat!("0.", env!("CARGO_PKG_VERSION_MINOR")) } else { major };
        let out = succeed(Command::new("readelf").arg("-d").arg(lib.join("libtaskring.so")));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let name = format!("libtaskring.so.{abi}");
        assert!(text.contains(&format!("soname: [{name}]")) && lib.join(name).exists(), "{text}");
    }

    let client = root().join("tests/c/client.c");
    let plugin_host = build("plugin_host", "c11", &["tests/c/plugin_host.c"], &["-ldl"]);
    for (standard, static_link) in [("c11", false), ("c11", true), ("c++17", false), ("c++17", true)] {
        let name = format!("client_{}_{static_link}", standard.replace('+', "p"));
        let program = out_dir().join(name);
        let mut command = compiler(standard.starts_with("c++"));
        command.arg(format!("-std={standard}")).args(WARNINGS).arg("-o").arg(&program);
        if standard.starts_with("c++") {
            command.args(["-x", "c++"]);
        }
        command.arg(&client).args(["-x", "none"]).args(pkg_config(&lib, static_link));
        succeed(&mut command);
        succeed(Command::new(&program).env("LD_LIBRARY_PATH", &lib));
    }
    let plugin = out_dir().join("plugin.so");
    let mut command = compiler(false);
    command.args(["-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o"]).arg(&plugin).arg(root().join("tests/c/plugin.c"));
    succeed(command.args(pkg_config(&lib, false)));
    succeed(Command::new(&plugin_host).arg(&plugin).env("LD_LIBRARY_PATH", &lib));
    with_cmake(prefix.path());
}

/// Compiler flags for the installed copy. Without pkg-config, what its file says.
fn pkg_config(lib: &Path, static_link: bool) -> Vec<String> {
    let archive = lib.join("libtaskring.a").display().to_string();
    if !has("pkg-config") {
        let include = format!("-I{}", lib.with_file_name("include").display());
        let library = if static_link { archive } else { format!("-L{} -ltaskring", lib.display()) };
        return [include, library, LIBRARIES.join(" ")].join(" ").split(' ').map(str::to_owned).collect();
    }
    let ask = |args: &[&str]| {
        let out =
            succeed(Command::new("pkg-config").args(args).arg("taskring").env("PKG_CONFIG_PATH", lib.join("pkgconfig")));
        String::from_utf8_lossy(&out.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    if !static_link {
        return ask(&["--cflags", "--libs"]);
    }
    let flags = ask(&["--static", "--cflags", "--libs"]);
    flags.into_iter().map(|flag| if flag == "-ltaskring" { archive.clone() } else { flag }).collect()
}

fn with_cmake(prefix: &Path) {
    if !has("cmake") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let client = root().join("tests/c/client.c");
    let lists = format!(
        "cmake_minimum_required(VERSION 3.10)\nproject(client C)\nfind_package(taskring 0.0 QUIET)\n\
         if(taskring_FOUND)\nmessage(FATAL_ERROR \"taken for another interface\")\nendif()\nfind_package(taskring {} REQUIRED)\n\
         add_executable(client {c})\ntarget_link_libraries(client taskring::taskring)\n\
         add_executable(client_static {c})\ntarget_link_libraries(client_static taskring::static)\n",
        env!("CARGO_PKG_VERSION"),
        c = client.display()
    );
    std::fs::write(dir.path().join("CMakeLists.txt"), lists).expect("written");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    succeed(Command::new("cmake").arg(&prefix).args(["-S", "."]).args(["-B", "build"]).current_dir(dir.path()));
    succeed(Command::new("cmake").args(["--build", "build"]).current_dir(dir.path()));
    succeed(&mut Command::new(dir.path().join("build/client")));
    succeed(&mut Command::new(dir.path().join("build/client_static")));
}
