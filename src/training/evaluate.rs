//! What a network makes of photos: logits, and predictions for metrics.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tch::Device;

use super::network::{Mode, Network};
use super::tensors::{self, torch};
use crate::bundle::Bundle;
use crate::data::loader::{Batch, Loader};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::metrics::Predictions;

/// The network of a model file.
///
/// # Errors
/// [`Error::Data`] for an unknown architecture, or when the weights do not fit it. The caller
/// adds the file's name.
pub fn network_of(bundle: &Bundle, device: Device) -> Result<Network> {
    Network::new(bundle.manifest.graph()?, &bundle.weights, device)
}

/// A network that has learned into infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's scores are no numbers")]
pub struct NotFinite;

/// Logits of a batch, float32 row-major `(n, classes)`.
///
/// # Errors
/// [`Error::Data`] with [`NotFinite`] as its context when a logit is infinite or no number.
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
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    let message = "its weights are broken, train it again (a lower learning rate may help)";
    Err(Error::Data(message.into())).context(NotFinite)
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
