//! Ten JPEGs are enough: of many files that are being looked at, the rest is left alone, and the pool goes on with other work.
//!
//! `cargo run --release --example ten_of_many` makes itself 1000 files; `-- DIR` looks at those of a folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use taskring::{Executor, Future, as_completed};

const ENOUGH: usize = 10;

taskring::task! {
    /// By the first bytes, and as slowly as if it were decoded.
    fn is_jpeg(path: PathBuf) -> Result<bool, taskring::TaskError> {
        std::thread::sleep(Duration::from_millis(2));
        Ok(std::fs::read(path)?.starts_with(&[0xff, 0xd8, 0xff]))
    }
    fn size(path: PathBuf) -> Result<u64, taskring::TaskError> { Ok(std::fs::metadata(path)?.len()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    taskring::init();
    let made = tempfile::tempdir()?;
    let dir = match std::env::args_os().nth(1) {
        Some(dir) => dir.into(),
        None => make_files(made.path())?,
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.is_file());

    let pool = Executor::builder().build()?;
    let set = pool.task_set()?;
    let futures: Vec<Future<bool>> = paths.iter().map(|path| set.submit(is_jpeg, path.clone())).collect::<Result<_, _>>()?;
    let path_of: std::collections::HashMap<u64, &PathBuf> = futures.iter().map(Future::id).zip(&paths).collect();

    let mut found = Vec::new();
    for future in as_completed(futures, None) {
        let future = future?;
        // What cannot be read is none.
        if future.result().unwrap_or(false) {
            found.push(path_of[&future.id()].clone());
        }
        if found.len() == ENOUGH {
            break;
        }
    }
    let rest = set.discard()?;
    println!("{} JPEGs found among {} files", found.len(), paths.len());
    println!("{} files were looked at, {} just now are, {} never will be", rest.done, rest.running, rest.cancelled);

    // The same workers, at once.
    let bytes: u64 = pool.map(size, found)?.sum::<Result<u64, _>>()?;
    println!("the JPEGs have {bytes} bytes");
    Ok(())
}

/// 1000 files, every third with the first bytes of a JPEG.
fn make_files(dir: &Path) -> std::io::Result<PathBuf> {
    for n in 0..1000 {
        let head: &[u8] = if n % 3 == 0 { &[0xff, 0xd8, 0xff, 0xe0] } else { b"text" };
        std::fs::write(dir.join(format!("{n}.bin")), [head, &[0; 996]].concat())?;
    }
    Ok(dir.to_owned())
}
