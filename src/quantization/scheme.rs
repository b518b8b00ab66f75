//! A float network with all that is needed to make any of its layers int8.

use std::collections::{BTreeMap, BTreeSet};

use super::bias;
use super::calibrate::{Calibration, Statistics};
use super::equalise::{equalise, is_depthwise, numbers};
use super::observer::{Histogram, Observer};
use super::weights::{self, Rounded};
use crate::engine::compile::Network;
use crate::error::{Error, Result};
use crate::graph::{Affine, Graph, Method, Op, Quantization};
use crate::image::Preprocessing;
use crate::weights::{Tensor, Values};

/// Integers for the layers and values of a network, of which any part can be used.
pub struct Scheme {
    method: Method,
    /// Float; equalised where there was calibration.
    network: Network,
    /// By the layers' places in the graph.
    layers: BTreeMap<usize, Layer>,
    /// By the nodes' places; empty when activations are quantized as they come.
    affines: BTreeMap<usize, Affine>,
}

/// A layer's integers.
struct Layer {
    rounded: Rounded,
    /// Corrected for what rounding does to the means.
    bias: Option<Vec<f32>>,
}

impl Scheme {
    /// Linear layers only, as PyTorch's `quantize_dynamic` with `{nn.Linear}` takes them.
    ///
    /// # Errors
    /// [`Error::Data`] when weights are missing or are no float32 numbers.
    pub fn dynamic(network: Network) -> Result<Self> {
        let mut layers = BTreeMap::new();
        for place in layers_of(&network.graph, Method::Dynamic) {
            layers.insert(place, Layer::of(&network, place, None)?);
        }
        Ok(Self {
            method: Method::Dynamic,
            network,
            layers,
            affines: BTreeMap::new(),
        })
    }

    /// Convolutions and linear layers, with the activations' ranges as `observer` finds them on
    /// the calibration pictures. The input covers every 8-bit pixel.
    ///
    /// # Errors
    /// As [`Scheme::dynamic`], and [`Error::Interrupted`].
    pub fn calibrated(
        mut network: Network,
        observer: Observer,
        pictures: &Calibration<'_>,
    ) -> Result<Self> {
        let places = layers_of(&network.graph, Method::Static);
        let mut observed = BTreeSet::new();
        for &place in &places {
            observed.extend(integer_inputs(&network.graph, place));
        }
        let observed: Vec<usize> = observed.into_iter().collect();
        let statistics = pictures.statistics(&network, &observed)?;
        let mut statistics: BTreeMap<usize, Statistics> =
            observed.iter().copied().zip(statistics).collect();
        equalise(&mut network, &mut statistics)?;

        let ranges: Vec<(f32, f32)> = statistics.values().map(Statistics::range).collect();
        let histograms = match observer {
            Observer::Minmax => ranges.iter().map(|&(l, h)| Histogram::new(l, h)).collect(),
            _ => pictures.histograms(&network, &observed, &ranges)?,
        };
        let mut affines: BTreeMap<usize, Affine> = observed
            .iter()
            .zip(histograms)
            .map(|(&place, histogram)| (place, histogram.affine(observer)))
            .collect();
        affines.insert(0, of_pixels(pictures.preprocessing));
        let graph = &network.graph;
        let shared = observed
            .iter()
            .map(|&place| (place, affines[&source(graph, place)]));
        let affines = shared.collect();

        let mut layers = BTreeMap::new();
        for place in places {
            let input = network.graph.nodes()[place].inputs[0];
            let mean = statistics.get(&input).map(|found| found.mean.as_slice());
            layers.insert(place, Layer::of(&network, place, mean)?);
        }
        Ok(Self {
            method: Method::Static,
            network,
            layers,
            affines,
        })
    }

    /// The float network.
    pub fn float(&self) -> &Network {
        &self.network
    }

    /// Places of the layers that can be int8.
    pub fn layers(&self) -> BTreeSet<usize> {
        self.layers.keys().copied().collect()
    }

    /// The name of a node.
    pub fn name(&self, place: usize) -> &str {
        &self.network.graph.nodes()[place].name
    }

    /// The network with these of its layers int8, and with those values as integers that an int8
    /// layer reads.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place that is none of [`Scheme::layers`].
    pub fn quantized(&self, integer: &BTreeSet<usize>) -> Result<Network> {
        let mut network = self.network.clone();
        let mut values = BTreeMap::new();
        for &place in integer {
            let name = self.name(place);
            let layer = self
                .layers
                .get(&place)
                .ok_or_else(|| Error::Usage(format!("{name} is no layer that can be quantized")))?;
            let read = integer_inputs(&self.network.graph, place);
            let affines = read.into_iter().filter_map(|value| {
                let affine = self.affines.get(&value)?;
                Some((self.name(value).to_owned(), *affine))
            });
            values.extend(affines);
            layer.store(name, &mut network)?;
        }
        network.quantization = Some(Quantization {
            method: self.method,
            values,
            details: Default::default(),
        });
        Ok(network)
    }
}

impl Layer {
    /// Rounds a layer's weights; with the means of its input its bias is corrected.
    fn of(network: &Network, place: usize, mean: Option<&[f32]>) -> Result<Self> {
        let op = &network.graph.nodes()[place].op;
        let tensor = network.tensor(place, "weight")?;
        let weight = numbers(tensor)?;
        let rows = tensor.shape.first().copied().unwrap_or_default();
        let in_pairs = !matches!(op, Op::Conv2d(conv) if is_depthwise(conv));
        let rounded = weights::round(weight, rows, in_pairs);
        let bias = match (network.tensor(place, "bias"), mean) {
            (Ok(bias), Some(mean)) => {
                Some(bias::corrected(op, numbers(bias)?, weight, &rounded, mean))
            }
            _ => None,
        };
        Ok(Self { rounded, bias })
    }

    fn store(&self, name: &str, network: &mut Network) -> Result<()> {
        let weight = format!("{name}.weight");
        let missing = || Error::Data(format!("the weights lack {weight}"));
        let tensor = network.weights.get_mut(&weight).ok_or_else(missing)?;
        tensor.values = Values::I8(self.rounded.weight.clone());
        let mut add = |suffix: &str, values: &[f32]| {
            let tensor = Tensor::f32([values.len()], values.to_vec());
            network.weights.insert(format!("{name}.{suffix}"), tensor);
        };
        add("weight_scale", &self.rounded.scale);
        if let Some(bias) = &self.bias {
            add("bias", bias);
        }
        Ok(())
    }
}

fn layers_of(graph: &Graph, method: Method) -> Vec<usize> {
    let integer = |place: &usize| match graph.nodes()[*place].op {
        Op::Linear(_) => true,
        Op::Conv2d(_) => method == Method::Static,
        _ => false,
    };
    (0..graph.nodes().len()).filter(integer).collect()
}

/// The values that an int8 layer reads as integers: its input and its residual, and what these
/// share their integers with.
fn integer_inputs(graph: &Graph, place: usize) -> BTreeSet<usize> {
    let mut values = BTreeSet::new();
    for &input in &graph.nodes()[place].inputs {
        values.extend([input]);
        let mut value = input;
        while let Op::MaxPool2d(_) = graph.nodes()[value].op {
            value = graph.nodes()[value].inputs[0];
            values.insert(value);
        }
    }
    values
}

/// The node whose integers a value has: the maximum of integers is one of them.
fn source(graph: &Graph, value: usize) -> usize {
    match graph.nodes()[value].op {
        Op::MaxPool2d(_) => source(graph, graph.nodes()[value].inputs[0]),
        _ => value,
    }
}

/// The integers that cover normalised pixels from 0 to 255.
fn of_pixels(preprocessing: &Preprocessing) -> Affine {
    let tables = preprocessing.tables();
    let low = tables.iter().map(|table| table[0]).fold(0.0, f32::min);
    let high = tables.iter().map(|table| table[255]).fold(0.0, f32::max);
    Affine::covering(low, high)
}
