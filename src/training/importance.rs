//! What each channel of a network matters to its loss.

use std::collections::BTreeMap;

use tch::{Kind, Reduction, Tensor};

use super::network::{Mode, Network};
use super::tensors::{labels, torch};
use crate::device::Device;
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::image::Preprocessing;
use crate::progress::Progress;
use crate::torch::Normalise;
use crate::weights::StateDict;

/// Photos that a gradient is the mean of.
const BATCH: usize = 32;

/// Photos that importance is measured on.
pub(crate) struct Examples<'a> {
    /// 8-bit RGB `(n, size, size, 3)`.
    pub pixels: &'a [u8],
    /// Class ids (n).
    pub labels: &'a [i64],
    pub preprocessing: &'a Preprocessing,
}

/// For each output channel of each node with parameters, how much the cross-entropy would change if the
/// channel were multiplied by 0, to the first order: the mean over batches of the squared derivative with
/// respect to that factor, which is the sum of the channel's parameters times their gradients (Molchanov
/// et al., 2019, "Importance Estimation for Neural Network Pruning").
///
/// # Errors
/// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
pub(crate) fn taylor(
    graph: &Graph,
    weights: &StateDict,
    device: Device,
    examples: &Examples<'_>,
    progress: &dyn Progress,
) -> Result<BTreeMap<NodeId, Vec<f64>>> {
    let network = Network::new(graph.clone(), weights, device)?;
    let nodes: BTreeMap<String, NodeId> = graph.parameters().map(|p| (p.name, p.node)).collect();
    let learned = network.trainable().into_iter();
    let (nodes, parameters): (Vec<NodeId>, Vec<Tensor>) = learned
        .filter_map(|(name, _, tensor)| Some((*nodes.get(&name)?, tensor)))
        .unzip();
    let size = graph.image_size();
    let normalise = Normalise::new(examples.preprocessing, device);
    let batches = examples.pixels.chunks(BATCH * 3 * size * size);
    let count = batches.len() as u64;
    progress.begin("measuring importance", count);
    // Dropout is drawn alike whatever ran before.
    tch::manual_seed(0);
    let mut sums: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
    for (pixels, classes) in batches.zip(examples.labels.chunks(BATCH)) {
        let pixels = normalise.pixels(pixels, size)?;
        let logits = network.forward(&pixels, Mode::Train)?;
        let classes = labels(classes, device)?;
        let loss =
            logits.f_cross_entropy_loss::<Tensor>(&classes, None, Reduction::Mean, -100, 0.0);
        let gradients = torch(Tensor::f_run_backward(
            &[torch(loss)?],
            &parameters,
            false,
            false,
        ))?;
        let mut factors: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
        for ((&node, value), gradient) in nodes.iter().zip(&parameters).zip(&gradients) {
            add(
                factors.entry(node).or_default(),
                &products(value, gradient)?,
            );
        }
        for (node, factors) in factors {
            let squares: Vec<f64> = factors.iter().map(|x| x * x / count as f64).collect();
            add(sums.entry(node).or_default(), &squares);
        }
        progress.advance(1);
    }
    progress.finish();
    Ok(sums)
}

/// Sums over each output channel of a parameter times its gradient.
fn products(value: &Tensor, gradient: &Tensor) -> Result<Vec<f64>> {
    let channels = value.size().first().copied().unwrap_or(1);
    let sums = tch::no_grad(|| {
        let products = value.f_mul(gradient)?.f_reshape([channels, -1])?;
        products.f_sum_dim_intlist([1].as_slice(), false, Kind::Double)
    });
    torch(
        sums.and_then(|sums| sums.f_to_device(tch::Device::Cpu))
            .and_then(Vec::try_from),
    )
}

fn add(sums: &mut Vec<f64>, values: &[f64]) {
    sums.resize(values.len().max(sums.len()), 0.0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
