//! The options, the sizes of the story, and which images take part in it.

use std::error::Error;
use std::path::PathBuf;
use std::thread;

use clap::Parser;

use crate::find::{self, Found, Source};
use crate::work::Job;

/// What the user may choose.
#[derive(Debug, Parser)]
#[command(about = "Cancels 800 of 1000 image tasks, keeps the pool, loses a worker, and checks every byte")]
pub struct Options {
    /// Take the images of this folder
    #[arg(long, conflicts_with_all = ["icons", "photos"])]
    dir: Option<PathBuf>,
    /// Take Debian's icon themes (apt-get download, once), even if /usr/share has enough images
    #[arg(long, conflicts_with = "photos")]
    icons: bool,
    /// Take the photographs of Debian's desktop wallpapers (apt-get download, once); enough for --quick only
    #[arg(long)]
    photos: bool,
    /// Few images, without network; drawn for the run unless others are named
    #[arg(long, conflicts_with = "icons")]
    quick: bool,
    /// Number of worker processes [default: one per CPU; at most 2 with --quick]
    #[arg(long)]
    workers: Option<usize>,
}

/// The sizes of the story.
#[derive(Debug)]
pub struct Plan {
    pub workers: usize,
    /// Images of set 1, the number of results that are enough, and how many others must then never be started.
    pub set_one: usize,
    pub enough: usize,
    pub never_started_min: usize,
    pub set_two: usize,
    /// Longest sides of the thumbnails; the second ones for images that are in both sets.
    pub sides: [u32; 3],
    pub other_sides: [u32; 3],
}

impl Plan {
    /// The full size, or a small one for `--quick`.
    pub fn new(options: &Options) -> Self {
        let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
        if options.quick {
            return Self {
                workers: options.workers.unwrap_or(cpus.min(2)),
                set_one: 60,
                enough: 12,
                never_started_min: 30,
                set_two: 24,
                // A build without optimization takes ten times as long.
                sides: if cfg!(debug_assertions) { [128, 64, 32] } else { [256, 128, 64] },
                other_sides: [96, 48, 24],
            };
        }
        Self {
            workers: options.workers.unwrap_or(cpus),
            set_one: 1000,
            enough: 200,
            never_started_min: 500,
            set_two: 300,
            sides: [256, 128, 64],
            other_sides: [192, 96, 48],
        }
    }
}

/// Finds the images, or says how many there are instead.
pub fn find_images(options: &Options, plan: &Plan) -> Result<Found, Box<dyn Error>> {
    let source = match options {
        Options { dir: Some(folder), .. } => Source::Folder(folder.clone()),
        Options { photos: true, quick, .. } => Source::Photos { download: !quick },
        Options { icons: true, .. } => Source::Icons,
        Options { quick: true, .. } => Source::Drawn,
        _ => Source::Machine,
    };
    let found = find::find(&source, plan.set_one, plan.set_one + plan.set_two)?;
    if found.images.len() < plan.set_one {
        let hint = if options.quick { "" } else { "; --quick makes do with 60" };
        return Err(format!(
            "{}: {} images that decode, and set 1 needs {}{hint}",
            found.origin,
            found.images.len(),
            plan.set_one
        )
        .into());
    }
    Ok(found)
}

/// The jobs of both sets, and in words what set 2 consists of.
pub fn divide(found: &Found, plan: &Plan) -> (Vec<Job>, Vec<Job>, String) {
    let jobs = |images: &[PathBuf], sides| -> Vec<Job> {
        let job = |path: &PathBuf| Job { path: path.clone(), sides, rounds: 1 };
        images.iter().map(job).collect()
    };
    let (first, others) = found.images.split_at(plan.set_one);
    println!("The {} largest images, {}", first.len(), found.origin);
    if others.len() >= plan.set_two {
        let second = jobs(&others[..plan.set_two], plan.sides);
        return (jobs(first, plan.sides), second, "the next largest images".into());
    }
    // Too few others: images of set 1 again, in other sizes, so that no result of set 1 could pass for one of set 2.
    let second = jobs(&first[..plan.set_two], plan.other_sides);
    let origin = format!("images of set 1 in other sizes, {:?} pixels", plan.other_sides);
    (jobs(first, plan.sides), second, origin)
}
