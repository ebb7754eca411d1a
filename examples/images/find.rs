//! The input: the largest PNG and JPEG files of a folder, of this machine, or of Debian's icon themes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::TempDir;

use crate::{draw, fetch, work};

/// Where the images shall come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder named by the user.
    Folder(PathBuf),
    /// /usr/share, or Debian's icon themes where that has too few.
    Machine,
    /// Debian's icon themes in any case.
    Icons,
    /// The photographs of Debian's desktop wallpapers; downloaded only if `download`.
    Photos { download: bool },
    /// Pictures drawn for the occasion.
    Drawn,
}

/// The images found, the largest files first.
#[derive(Debug)]
pub struct Found {
    pub images: Vec<PathBuf>,
    /// In words, for the reader: where they are from.
    pub origin: String,
    /// Keeps drawn images until the end of the program.
    _drawn: Option<TempDir>,
}

/// An icon theme may hold few PNG files (newer ones are SVG), so the next one is added as long as there are too few.
const ICON_THEMES: [&str; 3] = ["adwaita-icon-theme", "gnome-icon-theme", "oxygen-icon-theme"];
const PHOTOS: &str = "plasma-workspace-wallpapers";

/// Finds up to `wanted` images; goes on looking elsewhere, where `source` leaves the choice, while there are fewer
/// than `needed`.
pub fn find(source: &Source, needed: usize, wanted: usize) -> Result<Found, Box<dyn Error>> {
    match source {
        Source::Folder(folder) => found(std::slice::from_ref(folder), wanted, folder.display().to_string()),
        Source::Machine => {
            let here = found(&["/usr/share".into()], wanted, "/usr/share".into())?;
            if here.images.len() >= needed {
                return Ok(here);
            }
            println!("/usr/share: {} images, too few; trying Debian's icon themes", here.images.len());
            icons(needed, wanted)
        }
        Source::Icons => icons(needed, wanted),
        Source::Photos { download } => {
            let folder = fetch::package(PHOTOS, *download)?;
            found(&[folder], wanted, format!("Debian's {PHOTOS}"))
        }
        Source::Drawn => {
            let folder = tempfile::tempdir()?;
            draw::pictures(folder.path(), wanted)?;
            let mut drawn = found(&[folder.path().into()], wanted, "drawn for this run".into())?;
            drawn._drawn = Some(folder);
            Ok(drawn)
        }
    }
}

fn icons(needed: usize, wanted: usize) -> Result<Found, Box<dyn Error>> {
    let mut folders = Vec::new();
    for (index, theme) in ICON_THEMES.into_iter().enumerate() {
        folders.push(fetch::package(theme, true)?);
        let themes = ICON_THEMES[..=index].join(" and ");
        let so_far = found(&folders, wanted, format!("Debian's {themes}"))?;
        println!("{}: {}", so_far.origin, count(&so_far.images, wanted));
        if so_far.images.len() >= needed || theme == ICON_THEMES[ICON_THEMES.len() - 1] {
            return Ok(so_far);
        }
    }
    unreachable!("the last theme returns")
}

/// The search stops at `wanted`, so that many means at least that many.
fn count(images: &[PathBuf], wanted: usize) -> String {
    let or_more = if images.len() == wanted { " or more" } else { "" };
    format!("{}{or_more} images", images.len())
}

fn found(folders: &[PathBuf], wanted: usize, origin: String) -> Result<Found, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in folders {
        walk(folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    files.sort_by(|(size, path), (other_size, other)| other_size.cmp(size).then(path.cmp(other)));
    Ok(Found { images: decodable(&files, wanted), origin, _drawn: None })
}

/// Collects the regular files with a fitting name. Links are not followed: one file shall count once.
fn walk(folder: &Path, files: &mut Vec<(u64, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            // A folder below that may not be read is passed over; the one asked for must be readable.
            let _ = walk(&path, files);
        } else if kind.is_file() && is_image_name(&path) {
            files.push((entry.metadata()?.len(), path));
        }
    }
    Ok(())
}

/// A path travels to the worker as text, hence UTF-8 only.
fn is_image_name(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    path.to_str().is_some()
        && ending.is_some_and(|ending| ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The first `wanted` files that really decode. A name proves nothing.
fn decodable(files: &[(u64, PathBuf)], wanted: usize) -> Vec<PathBuf> {
    let mut good = Vec::new();
    for chunk in files.chunks(128) {
        if good.len() >= wanted {
            break;
        }
        good.par_extend(chunk.par_iter().filter(|(_, path)| work::decode(path).is_ok()).map(|(_, path)| path.clone()));
    }
    good.truncate(wanted);
    good
}
