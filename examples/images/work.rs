//! The task: one image file in, three thumbnails and a perceptual hash out.
//!
//! [`process`] is an ordinary function. The pool runs it in its workers, the comparison runs it right here and under
//! rayon, and all three must produce the same bytes.

use std::fs;
use std::hint::black_box;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use image::imageops::FilterType;
use image::{DynamicImage, ImageResult};
use serde::{Deserialize, Serialize};

/// Quality of the thumbnails that are written as JPEG.
const JPEG_QUALITY: u8 = 85;

/// What a worker is told: where the file is and what to make of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub path: PathBuf,
    /// The longest side of each thumbnail in pixels, largest first. Smaller images are scaled up.
    pub sides: [u32; 3],
    /// How often the whole work is done; the result is the same. More than once only for the image whose worker is
    /// killed.
    pub rounds: u32,
}

/// What comes of an image. Equal for equal jobs, whoever ran them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnails {
    /// Three files, PNG for images with transparency and JPEG for the others.
    pub files: [Vec<u8>; 3],
    /// A 64-bit difference hash: images that look alike differ in few bits.
    pub hash: u64,
}

/// The thumbnails and how they came about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub made: Thumbnails,
    /// The time inside the task: reading, decoding, scaling, encoding.
    pub took: Duration,
    /// The process that did it.
    pub worker: u32,
    /// This was the n-th image which that process began, counted from 1. A gap in these numbers is an image that was
    /// begun and whose result nobody got.
    pub nth: u64,
}

taskring::task! {
    /// Makes the thumbnails of one image.
    pub fn thumbnails(job: Job) -> Result<Done, taskring::TaskError> { Ok(process(&job)?) }

    /// Says which worker answers, after a nap of a millisecond, so that several of these go to several workers.
    pub fn whoami() -> u32 {
        std::thread::sleep(Duration::from_millis(1));
        std::process::id()
    }
}

/// Does the work of `job` in this thread.
pub fn process(job: &Job) -> ImageResult<Done> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    let nth = BEGUN.fetch_add(1, Relaxed) + 1;
    let start = Instant::now();
    for _ in 1..job.rounds {
        black_box(make(job)?);
    }
    let made = make(job)?;
    Ok(Done { made, took: start.elapsed(), worker: std::process::id(), nth })
}

fn make(job: &Job) -> ImageResult<Thumbnails> {
    let whole = decode(&job.path)?;
    // Each size is made from the one before, so that only the first step has to touch every pixel of a photograph.
    let [large, medium, small] = job.sides;
    let large = shrink(&whole, large);
    let medium = shrink(&large, medium);
    let small = shrink(&medium, small);
    Ok(Thumbnails { files: [encode(&large)?, encode(&medium)?, encode(&small)?], hash: difference_hash(&small) })
}

/// Reads a PNG or JPEG file, by its content and not by its name, as 8-bit colour.
pub fn decode(path: &Path) -> ImageResult<DynamicImage> {
    let image = image::load_from_memory(&fs::read(path)?)?;
    Ok(if image.color().has_alpha() { image.into_rgba8().into() } else { image.into_rgb8().into() })
}

fn shrink(image: &DynamicImage, side: u32) -> DynamicImage {
    image.resize(side, side, FilterType::Lanczos3)
}

fn encode(image: &DynamicImage) -> ImageResult<Vec<u8>> {
    let mut file = Vec::new();
    if image.color().has_alpha() {
        image.write_with_encoder(PngEncoder::new(&mut file))?;
    } else {
        image.write_with_encoder(JpegEncoder::new_with_quality(Cursor::new(&mut file), JPEG_QUALITY))?;
    }
    Ok(file)
}

/// Shrinks to 9 x 8 grey pixels and notes for each of the 8 x 8 neighbouring pairs whether the left one is the
/// brighter.
fn difference_hash(image: &DynamicImage) -> u64 {
    let grey = image.resize_exact(9, 8, FilterType::Triangle).into_luma8();
    let pairs = (0..8).flat_map(|y| (0..8).map(move |x| (x, y)));
    pairs.fold(0, |hash, (x, y)| {
        let brighter = grey.get_pixel(x, y)[0] > grey.get_pixel(x + 1, y)[0];
        hash << 1 | u64::from(brighter)
    })
}
