//! A network for inference: its graph folded and fused, with its parameters, float or int8.

use std::collections::BTreeMap;

use super::passes::{
    NORMALIZE, fold_normalize, for_inference, for_inference_with, fuse, with_pixel_input,
    with_softmax,
};
use super::{Graph, Method, NodeId, Op, Quantization, QuantizationParameters, Role};
use crate::error::{Error, NonFinite, Result, shown};
use crate::weights::{StateDict, Tensor, Values};

/// What backends run, exporters write and the quantizer measures: a graph whose batch normalisations
/// are folded into convolutions and whose convolutions add residuals and apply activations
/// ([`super::Epilogue`]), with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceGraph {
    graph: Graph,
    /// All but the weights of int8 layers.
    parameters: StateDict,
    int8: Option<Int8>,
}

/// The integers of an int8 network; see [`Quantization`].
#[derive(Debug, Clone, PartialEq)]
pub struct Int8 {
    pub method: Method,
    /// Weights of the int8 layers.
    pub weights: BTreeMap<NodeId, Int8Weight>,
    /// Values that are rounded to uint8.
    pub values: BTreeMap<NodeId, QuantizationParameters>,
    /// Smallest and largest of other values on the calibration images.
    pub ranges: BTreeMap<NodeId, [f32; 2]>,
    /// The same of what convolutions give before they add a residual.
    pub before_add: BTreeMap<NodeId, [f32; 2]>,
}

/// The int8 weight of a layer: `q * scale[output]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Weight {
    q: Tensor,
    scale: Tensor,
}

/// The weight of a convolution or linear layer.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// float32, in the shape of the layer's parameter.
    Float(&'a Tensor),
    Int8(&'a Int8Weight),
}

impl InferenceGraph {
    /// A float network from its architecture's graph and state dict.
    ///
    /// # Errors
    /// [`Error::Data`] when the weights do not fit the graph, with [`NonFinite`] as its context when
    /// one is not finite.
    pub fn float(graph: &Graph, weights: &StateDict) -> Result<Self> {
        let (graph, parameters) = for_inference_with(graph, weights)?;
        let network = Self {
            graph: fuse(&graph),
            parameters,
            int8: None,
        };
        network.checked()
    }

    /// An int8 network from its architecture's graph; `weights` are those of the fused graph.
    ///
    /// # Errors
    /// As [`InferenceGraph::float`], and [`Error::Data`] for int8 weights without scales, scales that
    /// are not positive, or a value of a node that does not exist.
    pub fn int8(graph: &Graph, weights: StateDict, quantization: &Quantization) -> Result<Self> {
        let graph = fuse(&for_inference(graph));
        let mut parameters = weights;
        let mut layers = BTreeMap::new();
        for parameter in graph.parameters().filter(|p| p.role == Role::Weight) {
            let stored = parameters.tensor(&parameter.name, &parameter.shape)?;
            if let Values::I8(_) = stored.values {
                let weight = Int8Weight::taken_from(&mut parameters, &parameter.name)?;
                layers.insert(parameter.node, weight);
            }
        }
        let id = |(name, qparams): (&String, &QuantizationParameters)| {
            let unknown = || Error::Data(format!("there is no value {} to quantize", shown(name)));
            Ok((graph.find(name).ok_or_else(unknown)?, *qparams))
        };
        let values = quantization.values.iter().map(id).collect::<Result<_>>()?;
        let found = |ranges: &BTreeMap<String, [f32; 2]>| {
            let named = ranges.iter();
            let known = named.filter_map(|(name, range)| Some((graph.find(name)?, *range)));
            known.collect()
        };
        let ranges = found(&quantization.ranges);
        let before_add = found(&quantization.before_add);
        let network = Self {
            graph,
            parameters,
            int8: Some(Int8 {
                method: quantization.method,
                weights: layers,
                values,
                ranges,
                before_add,
            }),
        };
        network.checked()
    }

    /// A network whose graph is computed as it is, with these parameters.
    ///
    /// # Errors
    /// As [`InferenceGraph::float`].
    pub fn unfused(graph: Graph, parameters: StateDict, int8: Option<Int8>) -> Result<Self> {
        let network = Self {
            graph,
            parameters,
            int8,
        };
        network.checked()
    }

    /// The network itself, if it can be computed with. Values that are not finite have to be found
    /// here: a fused ReLU turns NaN into zero, so that the logits would not show them.
    fn checked(self) -> Result<Self> {
        for parameter in self.graph.parameters() {
            let int8 = self.int8_weight(parameter.node);
            let values = match int8 {
                Some(weight) if parameter.role == Role::Weight => weight.scales(),
                _ if parameter.role == Role::BatchesTracked => continue,
                _ => self.parameters.f32(&parameter.name, &parameter.shape)?,
            };
            if !values.iter().all(|value| value.is_finite()) {
                return NonFinite::weights();
            }
        }
        for (&id, qparams) in self.int8.iter().flat_map(|int8| &int8.values) {
            let scale = qparams.scale;
            if !(scale.is_finite() && scale > 0.0) {
                let name = shown(&self.graph[id].name);
                return Err(Error::Data(format!("the scale of {name} is {scale}")).into());
            }
        }
        Ok(self)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The same network, but for its float parameters: for a backend that has made its own of them.
    pub(crate) fn without_parameters(&self) -> Self {
        Self {
            graph: self.graph.clone(),
            parameters: StateDict::default(),
            int8: self.int8.clone(),
        }
    }

    /// The node that computes a value of the graph that this network was made of; `None` for a value
    /// that was fused away.
    pub fn computes(&self, graph: &Graph, value: NodeId) -> Option<NodeId> {
        let part = fuse(&for_inference(&graph.ending_at(value)));
        let last = &part[part.output()];
        let found = self.graph.find(&last.name)?;
        (self.graph[found].op == last.op).then_some(found)
    }

    /// What an int8 network computes with integers; `None` for a float network.
    pub fn quantized(&self) -> Option<&Int8> {
        self.int8.as_ref()
    }

    /// Size of all parameters in bytes.
    pub fn byte_len(&self) -> usize {
        let int8 = self.int8.iter().flat_map(|int8| int8.weights.values());
        self.parameters.byte_len() + int8.map(Int8Weight::byte_len).sum::<usize>()
    }

    /// The scale and zero point of a value that is rounded to uint8.
    pub fn qparams(&self, id: NodeId) -> Option<QuantizationParameters> {
        self.int8.as_ref()?.values.get(&id).copied()
    }

    /// As [`InferenceGraph::qparams`], also of a value that is float32 here, for a runtime that rounds
    /// it; `None` for one that calibration did not see, or that a float layer computes.
    pub fn integer_qparams(&self, id: NodeId) -> Option<QuantizationParameters> {
        let int8 = self.int8.as_ref()?;
        let is_layer = matches!(self.graph[id].op, Op::Conv2d(_) | Op::Linear(_));
        let is_float = is_layer && !int8.weights.contains_key(&id);
        let [low, high] = int8.ranges.get(&id).copied().unwrap_or([f32::NAN; 2]);
        let found = (low <= high && !is_float).then(|| QuantizationParameters::covering(low, high));
        self.qparams(id).or(found)
    }

    /// The weight of a convolution or linear layer.
    ///
    /// # Errors
    /// [`Error::Data`] for a node that has none.
    pub fn weight(&self, id: NodeId) -> Result<Weight<'_>> {
        match self.int8_weight(id) {
            Some(weight) => Ok(Weight::Int8(weight)),
            None => self.parameter(id, "weight").map(Weight::Float),
        }
    }

    /// The int8 weight of a layer that has one.
    pub fn int8_weight(&self, id: NodeId) -> Option<&Int8Weight> {
        self.int8.as_ref()?.weights.get(&id)
    }

    /// A float parameter of a node by the last part of its name, e.g. `bias`.
    ///
    /// # Errors
    /// [`Error::Data`] when the node has no such parameter.
    pub fn parameter(&self, id: NodeId, suffix: &str) -> Result<&Tensor> {
        let node = &self.graph[id];
        let name = node.parameter(suffix);
        let slots = node.op.slots();
        let shape = slots.iter().find(|slot| slot.suffix == suffix);
        let shape = shape.map_or(&[][..], |slot| &slot.shape);
        self.parameters.tensor(&name, shape)
    }

    /// As [`InferenceGraph::parameter`]: its values, row-major, to be changed.
    ///
    /// # Errors
    /// As there.
    pub fn parameter_mut(&mut self, id: NodeId, suffix: &str) -> Result<&mut [f32]> {
        let name = self.graph[id].parameter(suffix);
        self.parameters.f32_mut(&name)
    }

    /// The same network with these integers; the float weights of its int8 layers are dropped.
    pub fn with_int8(mut self, int8: Int8) -> Self {
        for &id in int8.weights.keys() {
            self.parameters.remove(&self.graph[id].parameter("weight"));
        }
        Self {
            int8: Some(int8),
            ..self
        }
    }

    /// The same network for 8-bit RGB images `[size, size, 3]`, which it normalises itself.
    ///
    /// # Errors
    /// Those of [`fold_normalize`].
    pub fn with_pixel_input(self, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        let input = self.graph.input();
        let mut network = self.rewritten(|graph| with_pixel_input(graph, mean, std));
        let normalized = network.graph.find(NORMALIZE);
        match &mut network.int8 {
            // What was rounded as the input is now the normalised value.
            Some(int8) => {
                if let (Some(qparams), Some(normalized)) = (int8.values.remove(&input), normalized)
                {
                    int8.values.insert(normalized, qparams);
                }
            }
            None => network.graph = fold_normalize(&network.graph, &mut network.parameters)?,
        }
        Ok(network)
    }

    /// The same network with probabilities for logits.
    pub fn with_softmax(self) -> Self {
        self.rewritten(with_softmax)
    }

    /// The same network on a graph that keeps the names of its nodes.
    fn rewritten(self, rewrite: impl FnOnce(&Graph) -> Graph) -> Self {
        let graph = rewrite(&self.graph);
        let renumbered = |id: NodeId| graph.find(&self.graph[id].name);
        let int8 = self.int8.map(|int8| Int8 {
            method: int8.method,
            weights: rekeyed(int8.weights, renumbered),
            values: rekeyed(int8.values, renumbered),
            ranges: rekeyed(int8.ranges, renumbered),
            before_add: rekeyed(int8.before_add, renumbered),
        });
        Self {
            graph,
            parameters: self.parameters,
            int8,
        }
    }

    /// The parameters as a model file holds them, and how they are quantized.
    pub fn into_parts(self) -> (StateDict, Option<Quantization>) {
        let (graph, mut weights) = (self.graph, self.parameters);
        let quantization = self.int8.map(|int8| {
            for (id, weight) in int8.weights {
                let name = graph[id].parameter("weight");
                weights.insert(format!("{name}_scale"), weight.scale);
                weights.insert(name, weight.q);
            }
            let name = |id: NodeId| Some(graph[id].name.clone());
            Quantization {
                method: int8.method,
                values: rekeyed(int8.values, name),
                ranges: rekeyed(int8.ranges, name),
                before_add: rekeyed(int8.before_add, name),
                details: Default::default(),
            }
        });
        (weights, quantization)
    }

    /// The convolutions and linear layers.
    pub fn layers(&self) -> impl Iterator<Item = NodeId> {
        let is_layer = |op: &Op| matches!(op, Op::Conv2d(_) | Op::Linear(_));
        let layers = self
            .graph
            .iter()
            .filter(move |(_, node)| is_layer(&node.op));
        layers.map(|(id, _)| id)
    }
}

impl Int8Weight {
    /// A weight of this shape, row-major, with a scale for each of its outputs.
    ///
    /// # Errors
    /// [`Error::Data`] when the numbers do not fit the shape.
    pub fn new(shape: Vec<usize>, q: Vec<i8>, scale: Vec<f32>) -> Result<Self> {
        let fits =
            shape.first() == Some(&scale.len()) && shape.iter().product::<usize>() == q.len();
        if !fits {
            let message =
                format!("an int8 weight of shape {shape:?} needs a scale for each output");
            return Err(Error::Data(message).into());
        }
        Ok(Self {
            q: Tensor {
                shape,
                values: Values::I8(q),
            },
            scale: Tensor::f32([scale.len()], scale),
        })
    }

    /// Takes a weight and its scales out of a state dict.
    fn taken_from(weights: &mut StateDict, name: &str) -> Result<Self> {
        let outputs = weights
            .get(name)
            .and_then(|weight| weight.shape.first().copied());
        let scale_name = format!("{name}_scale");
        weights.f32(&scale_name, &[outputs.unwrap_or_default()])?;
        let lost = || Error::Data(format!("the weights lack {}", shown(name)));
        Ok(Self {
            q: weights.remove(name).ok_or_else(lost)?,
            scale: weights.remove(&scale_name).ok_or_else(lost)?,
        })
    }

    /// int8, in the shape of the layer's parameter.
    pub fn tensor(&self) -> &Tensor {
        &self.q
    }

    /// float32 `(outputs)`.
    pub fn scale_tensor(&self) -> &Tensor {
        &self.scale
    }

    pub fn shape(&self) -> &[usize] {
        &self.q.shape
    }

    /// Row-major.
    pub fn values(&self) -> &[i8] {
        match &self.q.values {
            Values::I8(values) => values,
            _ => &[],
        }
    }

    /// One for each output.
    pub fn scales(&self) -> &[f32] {
        self.scale.as_f32().unwrap_or_default()
    }

    /// The float32 weight that the integers stand for.
    pub fn dequantized(&self) -> Tensor {
        let (values, scales) = (self.values(), self.scales());
        let row = (values.len() / scales.len().max(1)).max(1);
        let rows = values.chunks(row).zip(scales);
        let real = rows.flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q) * scale));
        Tensor::f32(self.shape(), real.collect())
    }

    fn byte_len(&self) -> usize {
        self.q.byte_len() + self.scale.byte_len()
    }
}

/// A map with other keys; entries without a new one are left out.
fn rekeyed<K: Ord, T>(
    map: BTreeMap<NodeId, T>,
    key: impl Fn(NodeId) -> Option<K>,
) -> BTreeMap<K, T> {
    let entries = map.into_iter();
    entries
        .filter_map(|(id, value)| Some((key(id)?, value)))
        .collect()
}
