//! Drawn images, for the quick run: no two alike, half of them with transparency.

use std::path::Path;

use image::{ImageResult, Rgb, RgbImage, Rgba, RgbaImage};

/// Draws `count` pictures into `folder`, PNG and JPEG in turn.
pub fn pictures(folder: &Path, count: usize) -> ImageResult<()> {
    (0..count as u32).try_for_each(|number| {
        let side = 64 + number % 48;
        if number.is_multiple_of(2) {
            let picture = RgbaImage::from_fn(side, side, |x, y| {
                let [red, green, blue] = rings(x, y, side, number);
                Rgba([red, green, blue, (x * 255 / side) as u8])
            });
            picture.save(folder.join(format!("{number:04}.png")))
        } else {
            let picture = RgbImage::from_fn(side, side, |x, y| Rgb(rings(x, y, side, number)));
            picture.save(folder.join(format!("{number:04}.jpg")))
        }
    })
}

/// Rings around a centre that moves with the number of the picture.
fn rings(x: u32, y: u32, side: u32, number: u32) -> [u8; 3] {
    let centre = number * 7 % side;
    let (dx, dy) = (x.abs_diff(centre), y.abs_diff(side / 2));
    let ring = dx * dx + dy * dy;
    [(ring / 5 + number) as u8, (ring / 11) as u8, (x * 3 + number * 13) as u8]
}
