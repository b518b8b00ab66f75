//! The int8 model of a candidate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::{Value, json};

use crate::bundle::{self, Bundle};
use crate::data::{Undecodable, load_all, stratified};
use crate::device::Device;
use crate::error::{Result, shown};
use crate::graph::InferenceGraph;
use crate::inference::Options;
use crate::progress::Progress;
use crate::quantization::{Calibration, Observer, Scheme, is_quantizable};
use crate::runs::SharedSplit;

const FILE: &str = "int8.safetensors";
/// Which float model an int8 model was made from, and how.
const MADE_OF: &str = "made_of";

/// Makes int8 models, each calibrated on training photos.
pub(crate) struct Quantizer<'a> {
    pub shared: &'a SharedSplit,
    pub undecodable: &'a Arc<Undecodable>,
    /// Photos to calibrate with.
    pub samples: usize,
    pub device: Device,
    pub stop: &'a AtomicBool,
    pub progress: &'a dyn Progress,
}

impl Quantizer<'_> {
    /// The int8 model of a run, beside the float one: all layers in int8, as `flowers quantize` makes
    /// it; `None` for a transformer. One that was made of the same float model in the same way is kept.
    ///
    /// # Errors
    /// Those of reading the model and of [`Scheme::calibrated`].
    pub(crate) fn int8(&self, run: &Path) -> Result<Option<PathBuf>> {
        let (model, out) = (run.join(bundle::FILE), run.join(FILE));
        let (bundle, sha256) = Bundle::read(&model)?;
        if !is_quantizable(&bundle.manifest.graph()?) {
            return Ok(None);
        }
        let made_of = json!({
            "sha256": sha256,
            "samples": self.samples,
            "flowers_version": env!("CARGO_PKG_VERSION"),
        });
        if is_made_of(&out, &made_of) {
            return Ok(Some(out));
        }
        let int8 = self.quantized(bundle, made_of);
        int8.with_context(|| shown(&model))?.write(&out)?;
        Ok(Some(out))
    }

    fn quantized(&self, bundle: Bundle, made_of: Value) -> Result<Bundle> {
        let Bundle { manifest, weights } = bundle;
        let network = InferenceGraph::float(&manifest.graph()?, &weights)?;
        let photos = &self.shared.folder.photos;
        let indices = stratified(photos, &self.shared.split.train, self.samples);
        let (stop, progress) = (self.stop, self.progress);
        let preprocessing = &manifest.preprocessing;
        let images = load_all(
            photos,
            &indices,
            preprocessing,
            self.undecodable,
            stop,
            progress,
        )?;
        let calibration = Calibration {
            preprocessing,
            images: &images,
            options: Options::auto(self.device),
            stop,
            progress,
        };
        let scheme = Scheme::calibrated(network, Observer::Mse, &calibration)?;
        let (weights, quantization) = scheme.quantized(&scheme.layers())?.into_parts();
        let mut int8 = Bundle { manifest, weights };
        int8.manifest.quantization = quantization;
        if let Some(quantization) = &mut int8.manifest.quantization {
            quantization.details.insert(MADE_OF.into(), made_of);
        }
        Ok(int8)
    }
}

fn is_made_of(file: &Path, made_of: &Value) -> bool {
    let Ok((bundle, _)) = Bundle::read(file) else {
        return false;
    };
    let quantization = bundle.manifest.quantization;
    quantization.is_some_and(|found| found.details.get(MADE_OF) == Some(made_of))
}
