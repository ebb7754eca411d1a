//! Debian packages as a source of images: downloaded once by `apt-get`, unpacked by `dpkg-deb`, never installed.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the unpacked files of the Debian package `name`. Kept in the user's cache folder for the next run.
pub fn package(name: &str, download: bool) -> Result<PathBuf, Box<dyn Error>> {
    let cache = cache_folder()?;
    let unpacked = cache.join(name);
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    if !download {
        return Err(format!(
            "{name} is not in {} yet, and --quick uses no network; a run without it downloads",
            cache.display()
        )
        .into());
    }
    println!("downloading Debian's {name} (kept in {})", unpacked.display());
    fs::create_dir_all(&cache)?;
    let work = tempfile::tempdir_in(&cache)?;
    if apt_get(&["download", name], work.path()).is_err() {
        // The package lists may be missing or too old for what the mirror has now.
        apt_get(&["update"], work.path())?;
        apt_get(&["download", name], work.path())?;
    }
    let archive = archive_in(work.path())?;
    let files = work.path().join("files");
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&files))?;
    // In one step, so that a run which is stopped half way leaves no half package behind.
    fs::rename(&files, &unpacked)?;
    Ok(unpacked)
}

fn cache_folder() -> Result<PathBuf, Box<dyn Error>> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) if !home.is_empty() => PathBuf::from(home).join(".cache"),
        _ => return Err("neither XDG_CACHE_HOME nor HOME is set: no place for downloads".into()),
    };
    Ok(base.join("taskring-images"))
}

fn apt_get(arguments: &[&str], folder: &Path) -> Result<(), Box<dyn Error>> {
    run(Command::new("apt-get").args(arguments).current_dir(folder))
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{}", output.status, said.trim_end()).into())
}

fn archive_in(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            return Ok(path);
        }
    }
    Err("apt-get download left no package behind".into())
}
