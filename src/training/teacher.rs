//! Models that a network learns from.

use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;

use super::config::Config;
use crate::bundle::{Bundle, located};
use crate::device::Device;
use crate::error::{Error, Result, shown, some};
use crate::image::Preprocessing;
use crate::inference::{self, Backend, Images, Options};
use crate::labels::Labels;
use crate::metrics::softmax;

/// One teacher or more, whose probabilities are averaged.
pub(super) struct Teacher {
    members: Vec<Member>,
    classes: usize,
}

struct Member {
    backend: Box<dyn Backend>,
    /// The logit of each of the student's classes.
    columns: Vec<usize>,
}

impl Teacher {
    /// Loads the teachers of a configuration, and records their hashes in it; `None` if there are none.
    /// Their classes are matched by name.
    ///
    /// # Errors
    /// [`Error::Data`] for a file that is no model, is not the one that the configuration was written
    /// for, or does not know a class; those of [`inference::load`].
    pub(super) fn load(
        config: &mut Config,
        labels: &Labels,
        device: Device,
    ) -> Result<Option<Self>> {
        let mut members = Vec::new();
        let mut hashes = Vec::new();
        for (at, named) in config.teacher.iter().enumerate() {
            let path = located(named.clone());
            let (bundle, sha256) = Bundle::read(&path)?;
            if let Some(expected) = config.teacher_sha256.get(at)
                && *expected != sha256
            {
                return Err(Error::Data(format!(
                    "{} is not the teacher that the configuration was written for: its SHA-256 is \
                     {sha256}, not {expected}; give the same file, or choose this one with --teacher",
                    shown(&path)
                ))
                .into());
            }
            members.push(Member::new(bundle, labels, &path, device)?);
            hashes.push(sha256);
        }
        config.teacher_sha256 = hashes;
        Ok((!members.is_empty()).then_some(Self {
            members,
            classes: labels.len(),
        }))
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    /// Probabilities of the student's classes, row-major `(n, classes)`, for views of photos, 8-bit RGB
    /// `(n, side, side, 3)`, which are resized for a teacher of another size.
    ///
    /// # Errors
    /// Those of [`Backend::logits`].
    pub(super) fn probabilities(&self, views: &[u8], side: usize) -> Result<Vec<f32>> {
        let n = views.len() / (3 * side * side);
        let mut mean = vec![0.0; n * self.classes];
        let share = 1.0 / self.members.len() as f64;
        for member in &self.members {
            let resized = resized(views, side, member.backend.image_size());
            let logits = match &resized {
                Some(views) => member.backend.logits(Images::Rgb8(views))?,
                None => member.backend.logits(Images::Rgb8(views))?,
            };
            let rows = logits.chunks(member.backend.classes());
            for (row, mean) in rows.zip(mean.chunks_mut(self.classes)) {
                let known: Vec<f32> = member.columns.iter().map(|&at| row[at]).collect();
                for (mean, p) in mean.iter_mut().zip(softmax(&known)) {
                    *mean += (share * p) as f32;
                }
            }
        }
        Ok(mean)
    }
}

impl Member {
    fn new(bundle: Bundle, labels: &Labels, path: &Path, device: Device) -> Result<Self> {
        let known = bundle.manifest.labels.names();
        let place = |name: &String| known.iter().position(|known| known == name);
        let missing: Vec<&String> = labels
            .names()
            .iter()
            .filter(|name| place(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(Error::Data(format!(
                "the teacher {} does not know {} of the classes: {}; its own are {}",
                shown(path),
                missing.len(),
                some(missing.iter().map(shown)),
                some(known.iter().map(shown)),
            ))
            .into());
        }
        let columns = labels.names().iter().filter_map(place).collect();
        let options = Options::auto(device);
        Ok(Self {
            backend: inference::load_bundle(bundle, &options)?,
            columns,
        })
    }
}

/// Square pictures at another size; `None` where they have it.
fn resized(views: &[u8], from: usize, to: usize) -> Option<Vec<u8>> {
    (from != to).then(|| {
        let (from, to) = (from as u32, to as u32);
        let whole = Preprocessing {
            resize: to,
            ..Preprocessing::imagenet(to)
        };
        let views = views.par_chunks_exact(3 * (from * from) as usize);
        let resized = views.filter_map(|view| {
            let view = RgbImage::from_raw(from, from, view.to_vec())?;
            Some(whole.fit(&view).into_raw())
        });
        resized.collect::<Vec<_>>().concat()
    })
}
