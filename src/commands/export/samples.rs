//! The pictures that an export is verified on.

use std::sync::atomic::AtomicBool;

use image::RgbImage;

use crate::bundle::Manifest;
use crate::cli::export::ExportArgs;
use crate::commands::photos;
use crate::commands::progress::Bar;
use crate::data::{Depth, Folder, Part, Photo, ScanOptions, Source, load_all};
use crate::error::{Error, Result};
use crate::export::Samples;
use crate::image::{Limits, decode};
use crate::sample;

/// Drawn pictures, or photos from all over a folder.
const DRAWN: usize = 16;
const PHOTOS: usize = 120;

/// Side of drawn pictures in pixels, before they are fitted to the network.
const SIDE: u32 = 256;

/// Pictures, and the photos that they are made of.
#[derive(Default)]
pub(super) struct Pictures {
    pub(super) samples: Samples,
    photos: Vec<Photo>,
}

impl Pictures {
    /// Those of the folder that the options name, or drawn ones.
    ///
    /// # Errors
    /// [`Error::Data`] for photos that can't be used, [`Error::Interrupted`] after Ctrl-C.
    pub(super) fn new(args: &ExportArgs, manifest: &Manifest, stop: &AtomicBool) -> Result<Self> {
        match &args.calibration {
            Some(folder) => Self::of_photos(&Source::from(&**folder), manifest, stop),
            None => Ok(Self::drawn(manifest)),
        }
    }

    fn drawn(manifest: &Manifest) -> Self {
        let fitted = |picture: &RgbImage| manifest.preprocessing.fit(picture).into_raw();
        let kinds = sample::KINDS.iter().cycle().take(DRAWN).enumerate();
        let drawn = kinds.map(|(at, kind)| fitted(&sample::draw(kind, 0, at, SIDE)));
        let samples = Samples {
            pixels: drawn.collect::<Vec<_>>().concat(),
            classes: Vec::new(),
        };
        Self {
            samples,
            photos: Vec::new(),
        }
    }

    fn of_photos(source: &Source, manifest: &Manifest, stop: &AtomicBool) -> Result<Self> {
        let max_bad = ScanOptions::default().max_bad;
        let folder = photos::scan(source, max_bad, Depth::Headers, &Bar::new())?;
        let chosen = chosen(&folder);
        let undecodable = photos::tolerated(&folder, max_bad);
        let pixels = load_all(
            &folder.photos,
            &chosen,
            &manifest.preprocessing,
            &undecodable,
            stop,
            &Bar::new(),
        )?;
        let chosen = chosen.iter().map(|&at| folder.photos[at].clone());
        let photos: Vec<Photo> = chosen
            .filter(|photo| !undecodable.contains(&photo.path))
            .collect();
        let classes = classes(&photos, &folder, manifest);
        Ok(Self {
            samples: Samples { pixels, classes },
            photos,
        })
    }

    /// The photos as they are decoded.
    pub(super) fn decoded(&self) -> impl ExactSizeIterator<Item = Result<RgbImage>> {
        self.photos.iter().map(|photo| {
            let decoded = decode::read(&photo.path, &Limits::default());
            decoded.map_err(|cause| Error::Data(cause.to_string()).into())
        })
    }
}

/// Photos from all over the test part, or from all over a folder that has none.
fn chosen(folder: &Folder) -> Vec<usize> {
    let in_test = |&at: &usize| folder.photos[at].part == Some(Part::Test);
    let tested: Vec<usize> = (0..folder.photos.len()).filter(in_test).collect();
    let all = match tested.is_empty() {
        true => (0..folder.photos.len()).collect(),
        false => tested,
    };
    let step = all.len().div_ceil(PHOTOS).max(1);
    all.into_iter().step_by(step).collect()
}

/// The photos' classes in the model's order; none where the folder has a class that the model has not.
fn classes(photos: &[Photo], folder: &Folder, manifest: &Manifest) -> Vec<usize> {
    let names = photos.iter().map(|photo| folder.labels.name(photo.class));
    let classes = names.map(|name| manifest.labels.id(name?));
    classes.collect::<Option<_>>().unwrap_or_default()
}
