//! Three programs on one pool: one makes it, another works for it, a third submits.
//!
//! ```sh
//! cargo build --release --example attach
//! target/release/examples/attach make demo &    # makes the pool "demo", without workers, and keeps it until Enter is pressed
//! target/release/examples/attach work demo &    # a worker; start as many as you like
//! target/release/examples/attach submit demo    # submits, prints the answers
//! ```
//! Without arguments it plays all three parts, each in a process of its own.

use std::error::Error;
use std::process::{Child, Command, Stdio};
use taskring::{Bytes, Executor, StartMethod};

taskring::task! {
    // Bytes, so that programs in other languages can take part: `bindings/c/shout.c` is one.
    fn shout(text: Bytes) -> Bytes {
        let text = String::from_utf8_lossy(&text).to_uppercase();
        Bytes::from(format!("{text} (from process {})", std::process::id()).into_bytes())
    }
}

fn make(name: &str) -> Result<(), Box<dyn Error>> {
    let pool = Executor::builder().start(StartMethod::None).create_named(name)?;
    println!("pool {name:?} is open; end its input (or press Enter) to close it");
    std::io::stdin().read_line(&mut String::new())?;
    pool.shutdown(true, false)?;
    Ok(())
}

fn submit(name: &str) -> Result<(), Box<dyn Error>> {
    let pool = Executor::attach(name)?;
    for word in ["one", "two", "three"] {
        let answer = pool.submit(shout, Bytes::from(word.as_bytes()))?.result()?;
        println!("{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn part(part: &str, name: &str, input: Stdio) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).args([part, name]).stdin(input).spawn()
}

fn all_three() -> Result<(), Box<dyn Error>> {
    let name = format!("attach-{}", std::process::id());
    let mut maker = part("make", &name, Stdio::piped())?;
    while let Err(e) = taskring::inspect(&name) {
        match (e, maker.try_wait()?) {
            (taskring::Error::NotFound { .. }, None) => std::thread::sleep(std::time::Duration::from_millis(1)),
            (e, _) => return Err(e.into()),
        }
    }
    let mut worker = part("work", &name, Stdio::null())?;
    let submitted = part("submit", &name, Stdio::null())?.wait()?;
    drop(maker.stdin.take());
    let (made, worked) = (maker.wait()?, worker.wait()?);
    println!("submitter: {submitted}; maker: {made}; worker: {worked}");
    if submitted.success() && made.success() && worked.success() { Ok(()) } else { Err("a part failed".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    taskring::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", name] => make(name),
        ["work", name] => Ok(taskring::work(name)?),
        ["submit", name] => submit(name),
        [] => all_three(),
        _ => Err("usage: attach [make|work|submit NAME]".into()),
    }
}
