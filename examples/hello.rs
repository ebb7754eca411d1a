//! The smallest program: `cargo run --release --example hello`.

taskring::task! {
    fn greet(name: String) -> String {
        format!("hello {name}, from process {}", std::process::id())
    }
}

fn main() -> Result<(), taskring::Error> {
    taskring::init();
    let pool = taskring::Executor::builder().workers(2).build()?;
    let future = pool.submit(greet, "world".to_owned())?;
    println!("{}", future.result()?);
    println!("this is process {}", std::process::id());
    Ok(())
}
