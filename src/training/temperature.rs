//! Temperature scaling: probabilities that say how often they are right.

use super::callback::{Callback, Event};
use super::job::Job;
use super::network::Network;
use super::validator::Validator;
use crate::bundle::Bundle;
use crate::error::Result;
use crate::graph::Op;
use crate::metrics::{cross_entropy, temperature};

/// Divides the logits of the run's model by the temperature that fits its validation photos best, in
/// its last linear layer, so that whatever runs the model has it. A model that was scaled before, or
/// does not end with a linear layer, stays as it is. Leaves the model's weights in `network`.
///
/// # Errors
/// Those of reading the photos, and of reading and writing the model.
pub(super) fn scale_logits(
    job: &Job<'_>,
    network: &Network,
    validator: &mut Validator,
    callback: &mut dyn Callback,
) -> Result<()> {
    let path = job.run.model();
    let (mut bundle, _) = Bundle::read(&path)?;
    let metrics = bundle.manifest.metrics.get_or_insert_default();
    let graph = network.graph();
    let last = &graph[graph.output()];
    if metrics.temperature().is_some() || !matches!(last.op, Op::Linear(_)) {
        return Ok(());
    }
    network.load(&bundle.weights)?;
    let images = job.val.len();
    callback.on_event(&Event::Validating { images })?;
    let (truth, logits) = validator.logits(job, network, &mut |images| {
        callback.on_event(&Event::Validated { images })
    })?;
    let classes = network.classes();
    let temperature = temperature(&truth, &logits, classes);
    callback.on_event(&Event::Scaled { temperature })?;
    for parameter in ["weight", "bias"] {
        network.scale(&format!("{}.{parameter}", last.name), 1.0 / temperature)?;
    }
    let val_loss = cross_entropy(&truth, &logits, classes, temperature);
    metrics.set_temperature(temperature, val_loss);
    bundle.weights = network.state_dict()?;
    bundle.write(&path)
}
