//! Looks at a named pool from outside, without touching it: `cargo run --example inspect -- NAME`.
//! `-- NAME --remove` clears away a pool to which nobody is attached any more.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name] => print!("{}", taskring::inspect(name)?),
        [name, "--remove"] if taskring::remove_dead(name)? => println!("removed the dead pool {name:?}"),
        [name, "--remove"] => println!("there is no pool {name:?}"),
        _ => return Err("usage: inspect NAME [--remove]".into()),
    }
    Ok(())
}
