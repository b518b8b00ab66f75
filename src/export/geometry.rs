//! What becomes of a model's answers where photos are made square in another way than its own.

use std::sync::atomic::AtomicBool;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use serde::Serialize;

use super::verify::{check_stop, reference};
use crate::bundle::Bundle;
use crate::error::Result;
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation;
use crate::inference::Images;
use crate::metrics::top_k;
use crate::progress::Progress;

/// A way to make a photo as large as the network's input.
struct Geometry {
    name: &'static str,
    fit: fn(&RgbImage, &Preprocessing) -> RgbImage,
}

/// What programs that use a model do; the first is right.
const GEOMETRIES: [Geometry; 4] = [
    Geometry {
        name: "as `flowers predict`",
        fit: |photo, preprocessing| preprocessing.fit(photo),
    },
    Geometry {
        name: "the whole central square",
        fit: |photo, preprocessing| {
            let side = photo.width().min(photo.height());
            let (left, top) = ((photo.width() - side) / 2, (photo.height() - side) / 2);
            let square = imageops::crop_imm(photo, left, top, side, side).to_image();
            let size = preprocessing.crop;
            resized(&square, size, size, preprocessing)
        },
    },
    Geometry {
        name: "squashed",
        fit: |photo, preprocessing| {
            let size = preprocessing.crop;
            resized(photo, size, size, preprocessing)
        },
    },
    Geometry {
        name: "letterboxed in black",
        fit: |photo, preprocessing| {
            let size = preprocessing.crop;
            let longer = u64::from(photo.width().max(photo.height()).max(1));
            let side = |length: u32| (u64::from(size) * u64::from(length) / longer).max(1) as u32;
            let (width, height) = (side(photo.width()), side(photo.height()));
            let mut boxed = RgbImage::from_pixel(size, size, Rgb([0; 3]));
            let (left, top) = ((size - width) / 2, (size - height) / 2);
            let photo = resized(photo, width, height, preprocessing);
            imageops::replace(&mut boxed, &photo, left.into(), top.into());
            boxed
        },
    },
];

fn resized(photo: &RgbImage, width: u32, height: u32, like: &Preprocessing) -> RgbImage {
    let filter = match like.interpolation {
        Interpolation::Bilinear => FilterType::Triangle,
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    imageops::resize(photo, width, height, filter)
}

/// The model's answers to photos that were made square in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Squared {
    pub geometry: &'static str,
    pub photos: usize,
    /// Photos that get the label that the right way gives.
    pub same_label: usize,
    /// Photos that get their own label, where that is known.
    pub correct: Option<usize>,
}

/// Runs a model on photos that were made square in each way. `classes` are the photos' own, or none.
///
/// # Errors
/// Those of the engine, and of the photos; [`Error::Interrupted`](crate::error::Error::Interrupted) after
/// `stop`.
pub fn compare_geometries(
    bundle: &Bundle,
    photos: impl ExactSizeIterator<Item = Result<RgbImage>>,
    classes: &[usize],
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Vec<Squared>> {
    let model = reference(bundle.clone())?;
    let preprocessing = &bundle.manifest.preprocessing;
    let count = photos.len();
    let mut found = GEOMETRIES.map(|_| Vec::with_capacity(count));
    progress.begin("comparing ways to fit photos", count as u64);
    for photo in photos {
        let photo = photo?;
        for (geometry, found) in GEOMETRIES.iter().zip(&mut found) {
            let picture = (geometry.fit)(&photo, preprocessing);
            let scores = model.logits(Images::Rgb8(&picture))?;
            found.push(top_k(&scores, 1)[0]);
        }
        progress.advance(1);
        check_stop(stop)?;
    }
    progress.finish();
    let equal = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let rows = GEOMETRIES
        .iter()
        .zip(&found)
        .map(|(geometry, labels)| Squared {
            geometry: geometry.name,
            photos: count,
            same_label: equal(labels, &found[0]),
            correct: (classes.len() == count).then(|| equal(labels, classes)),
        });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_keeps_another_part_of_a_photo() {
        // Three bands side by side: red, green, blue.
        let photo = RgbImage::from_fn(90, 30, |x, _| {
            let mut pixel = Rgb([0; 3]);
            pixel[x as usize / 30] = 255;
            pixel
        });
        let preprocessing = Preprocessing::imagenet(32);
        let fitted = GEOMETRIES.map(|geometry| (geometry.fit)(&photo, &preprocessing));
        assert!(
            fitted
                .iter()
                .all(|picture| picture.dimensions() == (32, 32))
        );
        let edges = fitted.map(|picture| [picture[(1, 16)].0, picture[(16, 1)].0]);
        let (red, green, black) = ([255, 0, 0], [0, 255, 0], [0, 0, 0]);
        let expected = [[green, green], [green, green], [red, green], [red, black]];
        assert_eq!(edges, expected);
    }
}
