//! A float network with all that is needed to make any of its layers int8.

use std::collections::{BTreeMap, BTreeSet};

use super::bias;
use super::calibrate::{Calibration, Statistics, StatisticsOf};
use super::equalise::{equalise, is_depthwise};
use super::observer::{Histogram, Observer};
use super::operators::Part;
use super::weights::{self, float_weight};
use crate::error::{Error, Result};
use crate::graph::{
    Graph, InferenceGraph, Int8, Int8Weight, Method, Node, NodeId, Op, QuantizationParameters,
};
use crate::image::Preprocessing;
use crate::weights::StateDict;

/// Integers for the layers and values of a network, of which any part can be used.
pub(crate) struct Scheme {
    method: Method,
    /// Float; equalised where there was calibration.
    network: InferenceGraph,
    layers: BTreeMap<NodeId, Layer>,
    /// Of the values that int8 layers read; empty when ranges are measured in each batch.
    values: Values,
    /// Smallest and largest of the other values.
    ranges: BTreeMap<NodeId, [f32; 2]>,
    /// The same of what convolutions give before they add a residual.
    before_add: BTreeMap<NodeId, [f32; 2]>,
}

/// The quantization parameters of values.
type Values = BTreeMap<NodeId, QuantizationParameters>;

/// A layer's integers.
struct Layer {
    weight: Int8Weight,
    /// Corrected for what rounding does to the means.
    bias: Option<Vec<f32>>,
}

impl Scheme {
    /// Linear layers only, as PyTorch's `quantize_dynamic` with `{nn.Linear}` takes them.
    ///
    /// # Errors
    /// [`Error::Data`] when weights are missing or not float32; [`Error::Usage`] for a transformer.
    pub(crate) fn dynamic(network: InferenceGraph) -> Result<Self> {
        refuse_attention(&network)?;
        let mut layers = BTreeMap::new();
        for id in layers_of(&network, Method::Dynamic) {
            layers.insert(id, Layer::of(&network, id, None)?);
        }
        Ok(Self {
            method: Method::Dynamic,
            network,
            layers,
            values: BTreeMap::new(),
            ranges: BTreeMap::new(),
            before_add: BTreeMap::new(),
        })
    }

    /// Convolutions and linear layers, with the activations' ranges as `observer` finds them on
    /// the calibration images. The input covers every 8-bit pixel.
    ///
    /// # Errors
    /// As [`Scheme::dynamic`], and [`Error::Interrupted`].
    pub(crate) fn calibrated(
        mut network: InferenceGraph,
        observer: Observer,
        calibration: &Calibration<'_>,
    ) -> Result<Self> {
        refuse_attention(&network)?;
        let ids = layers_of(&network, Method::Static);
        let read = ids.iter().flat_map(|&id| values_read(network.graph(), id));
        let read: BTreeSet<NodeId> = read.collect();
        let [all, mut before_add] = calibration.statistics(&network)?;
        // Equalisation scales none of the others: it takes maps that only layers read.
        let (mut statistics, others): (StatisticsOf, StatisticsOf) =
            all.into_iter().partition(|(id, _)| read.contains(id));
        equalise(&mut network, &mut statistics, &mut before_add)?;
        let values = quantized_values(&network, observer, calibration, &statistics)?;
        let mut layers = BTreeMap::new();
        for id in ids {
            let input = network.graph()[id].inputs[0];
            let mean = statistics.get(&input).map(|found| found.mean.as_slice());
            layers.insert(id, Layer::of(&network, id, mean)?);
        }
        Ok(Self {
            method: Method::Static,
            network,
            layers,
            values,
            ranges: ranges(&others),
            before_add: ranges(&before_add),
        })
    }

    /// How the network is rounded when all layers are int8: the scales of each layer's weights, one for
    /// each output, and the values that are rounded.
    pub(crate) fn rounding(&self) -> (BTreeMap<NodeId, Vec<f32>>, &Values) {
        let layers = self.layers.iter();
        let scales = layers.map(|(&id, layer)| (id, layer.weight.scales().to_vec()));
        (scales.collect(), &self.values)
    }

    /// The same rounding of a network whose parameters were trained to be rounded so.
    ///
    /// # Errors
    /// [`Error::Data`] when the parameters do not fit the network.
    pub(crate) fn with_parameters(&self, parameters: StateDict) -> Result<Self> {
        let graph = self.network.graph().clone();
        let network = InferenceGraph::unfused(graph, parameters, None)?;
        let layers = self.layers.iter();
        let layers = layers.map(|(&id, layer)| {
            let (shape, weight) = float_weight(&network, id)?;
            let in_pairs = in_pairs(&network.graph()[id].op);
            let scales = layer.weight.scales();
            let weight = weights::round_with(shape, weight, in_pairs, scales)?;
            // The bias was trained with the weights rounded.
            Ok((id, Layer { weight, bias: None }))
        });
        Ok(Self {
            method: self.method,
            layers: layers.collect::<Result<_>>()?,
            network,
            values: self.values.clone(),
            ranges: self.ranges.clone(),
            before_add: self.before_add.clone(),
        })
    }

    /// The float network.
    pub(crate) fn float(&self) -> &InferenceGraph {
        &self.network
    }

    /// The layers that can be int8.
    pub(crate) fn layers(&self) -> BTreeSet<NodeId> {
        self.layers.keys().copied().collect()
    }

    /// The name of a node.
    pub(crate) fn name(&self, id: NodeId) -> &str {
        &self.network.graph()[id].name
    }

    /// The network with these of its layers int8, and with those values as integers that an int8
    /// layer reads.
    ///
    /// # Errors
    /// [`Error::Usage`] for a node that is not among [`Scheme::layers`].
    pub(crate) fn quantized(&self, int8: &BTreeSet<NodeId>) -> Result<InferenceGraph> {
        let mut network = self.network.clone();
        let mut weights = BTreeMap::new();
        let mut values = BTreeMap::new();
        for &id in int8 {
            let layer = self.layers.get(&id).ok_or_else(|| {
                let name = self.name(id);
                Error::Usage(format!("{name} is not a layer that can be quantized"))
            })?;
            let read = values_read(self.network.graph(), id).into_iter();
            values.extend(read.filter_map(|value| Some((value, *self.values.get(&value)?))));
            if let Some(bias) = &layer.bias {
                network.parameter_mut(id, "bias")?.copy_from_slice(bias);
            }
            weights.insert(id, layer.weight.clone());
        }
        Ok(network.with_int8(Int8 {
            method: self.method,
            weights,
            values,
            ranges: self.ranges.clone(),
            before_add: self.before_add.clone(),
        }))
    }
}

fn ranges(statistics: &StatisticsOf) -> BTreeMap<NodeId, [f32; 2]> {
    let ranges = statistics.iter();
    ranges
        .map(|(&id, found)| (id, found.range().into()))
        .collect()
}

impl Layer {
    /// Rounds a layer's weights; with the means of its input its bias is corrected.
    fn of(network: &InferenceGraph, id: NodeId, mean: Option<&[f32]>) -> Result<Self> {
        let op = &network.graph()[id].op;
        let weight = float_weight(network, id)?;
        let rounded = weights::round(weight.0, weight.1, in_pairs(op))?;
        let bias = match (network.parameter(id, "bias"), mean) {
            (Ok(bias), Some(mean)) => {
                let bias = bias.as_f32().unwrap_or_default();
                Some(bias::corrected(op, bias, weight.1, &rounded, mean))
            }
            _ => None,
        };
        Ok(Self {
            weight: rounded,
            bias,
        })
    }
}

/// Whether weights are rounded such that no two of them overflow 16 bits together.
fn in_pairs(op: &Op) -> bool {
    !matches!(op, Op::Conv2d(conv) if is_depthwise(conv))
}

/// The quantization parameters of the measured values.
fn quantized_values(
    network: &InferenceGraph,
    observer: Observer,
    calibration: &Calibration<'_>,
    statistics: &BTreeMap<NodeId, Statistics>,
) -> Result<BTreeMap<NodeId, QuantizationParameters>> {
    let observed: Vec<NodeId> = statistics.keys().copied().collect();
    let ranges: Vec<(f32, f32)> = statistics.values().map(Statistics::range).collect();
    let histograms = match observer {
        Observer::Minmax => ranges.iter().map(|&(l, h)| Histogram::new(l, h)).collect(),
        _ => calibration.histograms(network, &observed, &ranges)?,
    };
    let own = histograms
        .iter()
        .map(|histogram| histogram.qparams(observer));
    let mut own: BTreeMap<NodeId, QuantizationParameters> =
        observed.iter().copied().zip(own).collect();
    let graph = network.graph();
    own.insert(graph.input(), of_pixels(calibration.preprocessing));
    let shared = observed.iter().map(|&id| (id, own[&source(graph, id)]));
    Ok(shared.collect())
}

/// Whether the kernels for integers know all of a network: they know no sequences.
pub(crate) fn is_quantizable(graph: &Graph) -> bool {
    attention(graph).is_none()
}

fn attention(graph: &Graph) -> Option<&Node> {
    let mut nodes = graph.nodes().iter();
    nodes.find(|node| matches!(node.op, Op::Attention { .. }))
}

fn refuse_attention(network: &InferenceGraph) -> Result<()> {
    let Some(node) = attention(network.graph()) else {
        return Ok(());
    };
    let message = format!(
        "Attention {} can't be computed with integers: run the float model with --precision bfloat16 \
         instead, or quantize another architecture",
        node.name
    );
    Err(Error::Usage(message).into())
}

fn layers_of(network: &InferenceGraph, method: Method) -> Vec<NodeId> {
    let is_linear = |id: &NodeId| matches!(network.graph()[*id].op, Op::Linear(_));
    let layers = network.layers();
    layers
        .filter(|id| method == Method::Static || is_linear(id))
        .collect()
}

/// The values that an int8 layer reads as integers: its input and its residual, and the values whose
/// quantization parameters these share.
fn values_read(graph: &Graph, layer: NodeId) -> BTreeSet<NodeId> {
    let mut values = BTreeSet::new();
    for &input in &graph[layer].inputs {
        values.insert(input);
        let mut value = input;
        while Part::of(&graph[value].op).keeps_integers() {
            value = graph[value].inputs[0];
            values.insert(value);
        }
    }
    values
}

/// The node whose quantization parameters a value has: a maximum of integers, or a
/// channel of them, is one of them.
fn source(graph: &Graph, value: NodeId) -> NodeId {
    match Part::of(&graph[value].op).keeps_integers() {
        true => source(graph, graph[value].inputs[0]),
        false => value,
    }
}

/// The quantization parameters that cover normalised pixels from 0 to 255.
fn of_pixels(preprocessing: &Preprocessing) -> QuantizationParameters {
    let tables = preprocessing.tables();
    let low = tables.iter().map(|table| table[0]).fold(0.0, f32::min);
    let high = tables.iter().map(|table| table[255]).fold(0.0, f32::max);
    QuantizationParameters::covering(low, high)
}
