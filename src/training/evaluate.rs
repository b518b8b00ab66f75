//! What a network makes of photos: logits, and predictions for metrics.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::Device;

use super::network::{Mode, Network};
use super::tensors::{self, torch};
use crate::bundle::Bundle;
use crate::data::loader::{Batch, Loader};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::metrics::Predictions;
use crate::models;

/// The network of a model file.
///
/// # Errors
/// [`Error::Usage`] for an unknown architecture, [`Error::Data`] when the weights do not fit it.
pub fn network_of(bundle: &Bundle, device: Device) -> Result<Network> {
    let manifest = &bundle.manifest;
    let options = models::Options {
        classes: manifest.labels.len(),
        image_size: manifest.preprocessing.crop as usize,
        head: manifest.head.clone(),
    };
    let graph = models::find(&manifest.architecture)?.graph(&options)?;
    Network::new(graph, &bundle.weights, device)
}

/// Logits of a batch, float32 row-major `(n, classes)`.
pub fn logits(network: &Network, batch: &Batch) -> Result<Vec<f32>> {
    let (pixels, _) = tensors::of_batch(batch, network.device())?;
    let logits = network.forward(&pixels, Mode::Evaluate)?;
    let logits = torch(
        logits
            .f_to_device(Device::Cpu)
            .and_then(|x| x.f_contiguous()),
    )?;
    let mut values = vec![0f32; logits.numel()];
    torch(logits.f_copy_data(&mut values, logits.numel()))?;
    Ok(values)
}

/// Predictions for every photo that a loader gives, in its order. `each` hears of the photos of
/// a batch when they are done.
///
/// # Errors
/// [`Error::Interrupted`] when `stop` is set; [`Error::Data`] for a photo that can't be read any
/// more or scores that are not numbers.
pub fn predictions(
    network: &Network,
    loader: &mut Loader,
    labels: &Labels,
    stop: &AtomicBool,
    each: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Predictions> {
    let mut predictions = Predictions::new(labels.clone());
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let rows = logits(network, &batch)?;
        for (&label, row) in batch.labels.iter().zip(rows.chunks(labels.len().max(1))) {
            predictions.push(label as usize, row)?;
        }
        each(batch.labels.len())?;
        loader.recycle(batch);
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted("stopped".into()).into());
        }
    }
    Ok(predictions)
}
