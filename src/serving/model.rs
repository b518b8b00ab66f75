//! A loaded model, proved to work before anyone is answered from it.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;

use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result, shown};
use crate::inference::{self, Backend, Execution, Images};
use crate::metrics::softmax;

/// How far apart the probabilities of a picture alone and among others may be. Rounding of
/// bfloat16 and int8 kernels stays far below, a wrong kernel does not.
const TOLERANCE: f64 = 0.1;

/// A model file, compiled. Requests keep the one they began with while another is installed.
pub struct Model {
    backend: Box<dyn Backend>,
    pub manifest: Manifest,
    /// Of the file, in hex.
    pub sha256: String,
    pub execution: Execution,
    max_batch: usize,
    warm: OnceLock<()>,
}

impl Model {
    /// Reads, compiles and tests a model on the calling thread, with so many threads of libtorch.
    ///
    /// # Errors
    /// Those of [`Bundle::read`] and [`inference::load_bundle`]; [`Error::Data`] when it fails its test.
    pub fn load(
        path: &Path,
        options: &inference::Options,
        threads: usize,
        max_batch: usize,
    ) -> Result<Self> {
        inference::set_threads(threads);
        let (bundle, sha256) = Bundle::read(path)?;
        let manifest = bundle.manifest.clone();
        let backend = inference::load_bundle(bundle, options).with_context(|| shown(path))?;
        let model = Self {
            execution: backend.execution(),
            backend,
            manifest,
            sha256,
            max_batch,
            warm: OnceLock::new(),
        };
        for threads in [1, threads] {
            inference::set_threads(threads);
            model.test(max_batch).with_context(|| shown(path))?;
        }
        Ok(model)
    }

    /// Logits `(n, classes)`, row-major, of 8-bit RGB pictures `(n, crop, crop, 3)`.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.backend.logits(Images::Rgb8(pixels))
    }

    /// Makes a GPU's kernels ready on the calling thread, which keeps them for itself: the one that
    /// computes for clients.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    pub fn warm_up(&self) -> Result<()> {
        match self.warm.set(()) {
            Ok(()) => self.backend.warm_up(self.max_batch),
            Err(()) => Ok(()),
        }
    }

    /// Two drawn pictures get the same answers alone as in the largest batch, which also makes the
    /// kernels for so many threads ready.
    fn test(&self, max_batch: usize) -> Result<()> {
        let side = self.manifest.preprocessing.crop as usize;
        let flat: Vec<u8> = vec![128; 3 * side * side];
        let drawn: Vec<u8> = (0..side * side)
            .flat_map(|at| [at / side * 255 / side, at % side * 255 / side, at % 251])
            .map(|value| value as u8)
            .collect();
        let pictures = [&flat, &drawn].into_iter().cycle().take(max_batch.max(2));
        let batch: Vec<u8> = pictures.flatten().copied().collect();
        let together = self.logits(&batch)?;
        let classes = self.manifest.labels.len();
        for (picture, row) in [&flat, &drawn].into_iter().zip(together.chunks(classes)) {
            let alone = softmax(&self.logits(picture)?);
            let apart = alone.iter().zip(softmax(row)).map(|(a, b)| (a - b).abs());
            if alone.len() != row.len() || apart.fold(0.0, f64::max) > TOLERANCE {
                let message = "the model failed its self-test: a picture gets a different result \
                in a \
                               batch than alone; try --precision float32";
                return Err(Error::Data(message.into()).into());
            }
        }
        Ok(())
    }
}
