//! A compiled model that has passed its self-test.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;

use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result, shown};
use crate::inference::{self, Backend, Execution, Images};
use crate::metrics::softmax;

/// How much a probability may differ between an image alone and in a batch. Rounding in bfloat16 and
/// int8 kernels stays far below this, a wrong kernel does not.
const TOLERANCE: f64 = 0.1;

/// A compiled model file. A request keeps the one that it started with when another is installed.
pub struct Model {
    backend: Box<dyn Backend>,
    pub manifest: Manifest,
    /// Of the model file, in hex.
    pub sha256: String,
    pub execution: Execution,
    max_batch: usize,
    warmed_up: OnceLock<()>,
}

impl Model {
    /// Reads, compiles and tests a model, on the calling thread and the `threads` that it computes
    /// with.
    ///
    /// # Errors
    /// Those of [`Bundle::read`] and [`inference::load_bundle`]; [`Error::Data`] when it fails its self-test.
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
            warmed_up: OnceLock::new(),
        };
        for threads in [1, threads] {
            inference::set_threads(threads);
            model.self_test(max_batch).with_context(|| shown(path))?;
        }
        Ok(model)
    }

    /// Logits `(n, classes)`, row-major, of 8-bit RGB images `(n, crop, crop, 3)`.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.backend.logits(Images::Rgb8(pixels))
    }

    /// See [`Backend::efficient_batch`].
    pub fn efficient_batch(&self, images: usize) -> usize {
        self.backend.efficient_batch(images)
    }

    /// Prepares a GPU's kernels, once, on the calling thread, which they are bound to: the worker's.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    pub fn warm_up(&self) -> Result<()> {
        match self.warmed_up.set(()) {
            Ok(()) => self.backend.warm_up(self.max_batch),
            Err(()) => Ok(()),
        }
    }

    /// Checks that two synthetic images get the same probabilities alone as in the largest batch,
    /// which also warms up the kernels for the current number of threads.
    fn self_test(&self, max_batch: usize) -> Result<()> {
        let side = self.manifest.preprocessing.crop as usize;
        let flat: Vec<u8> = vec![128; 3 * side * side];
        let gradient: Vec<u8> = (0..side * side)
            .flat_map(|at| [at / side * 255 / side, at % side * 255 / side, at % 251])
            .map(|value| value as u8)
            .collect();
        let images = [&flat, &gradient]
            .into_iter()
            .cycle()
            .take(max_batch.max(2));
        let batch: Vec<u8> = images.flatten().copied().collect();
        let batched = self.logits(&batch)?;
        let classes = self.manifest.labels.len();
        for (image, row) in [&flat, &gradient].into_iter().zip(batched.chunks(classes)) {
            let alone = softmax(&self.logits(image)?);
            let differences = alone.iter().zip(softmax(row)).map(|(a, b)| (a - b).abs());
            if alone.len() != row.len() || differences.fold(0.0, f64::max) > TOLERANCE {
                let message = "the model failed its self-test: a picture gets a different result \
                               in a batch than alone; try --precision float32";
                return Err(Error::Data(message.into()).into());
            }
        }
        Ok(())
    }
}
