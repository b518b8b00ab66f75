//! Reads a SavedModel as a network again: for verification, so it knows the operators that the writer
//! writes.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use prost::Message;

use super::proto::{Constant, Graph, Node, SavedModel, Value as Attribute, dtype};
use super::{GRAPH, INPUT, LABELS, OUTPUT, SIGNATURE};
use crate::bundle::Manifest;
use crate::error::Result;
use crate::export::assembly::{Around, Assembly, Value, kernel_from_first, linear_from_last};
use crate::export::reread::Reread;
use crate::export::{Artifact, check_labels};
use crate::graph::{Activation, Conv2d, Op};
use crate::inference::Backend;
use crate::weights::Tensor;

/// Loads a folder for verification.
pub(in crate::export) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    check_labels(&exported.lines(LABELS)?, manifest)?;
    let network = read(exported.member(GRAPH)?)?;
    drop(exported);
    network.into_backend()
}

pub(super) fn read(file: &[u8]) -> Result<Reread> {
    let model = SavedModel::decode(file).context("it is not a SavedModel")?;
    if model.schema_version != 1 {
        bail!("a schema of version {}", model.schema_version);
    }
    let graphs = model.meta_graphs.into_iter().next();
    let meta = graphs.context("it has no graph")?;
    let signature = meta.signatures.get(SIGNATURE).context("no signature")?;
    let input = &signature.inputs.get(INPUT).context("no input")?.name;
    let output = &signature.outputs.get(OUTPUT).context("no output")?.name;
    let graph = meta.graph.context("it has no nodes")?;
    Reader::new(&graph, output_of(input))?.read(output_of(output))
}

/// The node of `node:0`.
fn output_of(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

struct Reader<'a> {
    nodes: &'a [Node],
    input: &'a str,
    constants: BTreeMap<&'a str, &'a Constant>,
    values: BTreeMap<&'a str, Value>,
    /// Layers whose bias comes in a node of its own: each is read by that alone.
    unbiased: BTreeMap<&'a str, Value>,
    assembly: Assembly,
}

impl<'a> Reader<'a> {
    fn new(graph: &'a Graph, input: &'a str) -> Result<Self> {
        let node = graph.nodes.iter().find(|node| node.name == input);
        let node = node.context("the signature's input is not a node")?;
        let Some(Attribute::Shape(shape)) = attribute(node, "shape") else {
            bail!("its input has no shape");
        };
        let [-1, size, _, 3] = shape.sides()[..] else {
            bail!("its input is of shape {:?}", shape.sides());
        };
        let (assembly, value) = Assembly::new(size as usize);
        Ok(Self {
            nodes: &graph.nodes,
            input,
            constants: BTreeMap::new(),
            values: BTreeMap::from([(input, value)]),
            unbiased: BTreeMap::new(),
            assembly,
        })
    }

    fn read(mut self, output: &str) -> Result<Reread> {
        for node in self.nodes {
            let operator = &node.operator;
            self.node(node)
                .with_context(|| format!("node {} ({operator})", node.name))?;
        }
        let last = self.value(output)?;
        self.assembly.finish(last, None)
    }

    fn node(&mut self, node: &'a Node) -> Result<()> {
        let name = node.name.as_str();
        let input = |at: usize| node.inputs.get(at).map(String::as_str);
        let first = || input(0).context("no input");
        let second = || input(1).context("no second input");
        let value = match node.operator.as_str() {
            "Placeholder" if name == self.input => return Ok(()),
            "Const" => {
                let Some(Attribute::Tensor(constant)) = attribute(node, "value") else {
                    bail!("no value");
                };
                return match self.constants.insert(name, constant) {
                    None => Ok(()),
                    Some(_) => bail!("two nodes have the name"),
                };
            }
            "Identity" => self.value(first()?)?,
            "Cast" => {
                let types = ["SrcT", "DstT"].map(|key| attribute(node, key));
                let [
                    Some(Attribute::Type(from)),
                    Some(Attribute::Type(dtype::FLOAT)),
                ] = types
                else {
                    bail!("from {:?} to {:?}", types[0], types[1]);
                };
                if ![dtype::UINT8, dtype::FLOAT].contains(from) {
                    bail!("from type {from}");
                }
                self.value(first()?)?
            }
            "Reshape" => {
                let (x, shape) = (self.value(first()?)?, self.ints(second()?)?);
                self.reshaped(name, x, &shape)?
            }
            "Conv2D" | "DepthwiseConv2dNative" => {
                let value = self.convolution(node, first()?, second()?)?;
                self.unbiased.insert(name, value);
                return Ok(());
            }
            "MatMul" => {
                let value = self.linear(name, first()?, second()?)?;
                self.unbiased.insert(name, value);
                return Ok(());
            }
            "BiasAdd" | "AddV2" if self.unbiased.contains_key(first()?) => {
                let bias = self.floats(second()?)?;
                let layer = self.unbiased.remove(first()?).context("a layer")?;
                let bias = Tensor::f32([bias.len()], bias);
                self.assembly.parameter(layer, "bias", bias);
                layer
            }
            "AddV2" | "Mul" => self.arithmetic(node, first()?, second()?)?,
            "PadV2" => {
                let sides = self.ints(second()?)?;
                let [0, 0, top, bottom, left, right, 0, 0] = sides[..] else {
                    bail!("padding of {sides:?}");
                };
                let filled = self.floats(input(2).context("no value")?)?;
                let sides = [top, bottom, left, right].map(|side| side as usize);
                Value {
                    around: Some(Around::new(sides, *filled.first().context("no value")?)),
                    ..self.value(first()?)?
                }
            }
            "MaxPool" | "AvgPool" => self.pool(node, first()?)?,
            "Mean" => {
                let (axes, kept) = (self.ints(second()?)?, attribute(node, "keep_dims"));
                let x = self.value(first()?)?;
                match (&axes[..], kept) {
                    ([1, 2], Some(Attribute::Bool(true))) => {
                        self.assembly.operator(name, Op::GlobalAvgPool, &[x])?
                    }
                    ([3], Some(Attribute::Bool(true))) => self.assembly.mean_of_channels(x)?,
                    _ => bail!("the mean over {axes:?}"),
                }
            }
            "Sub" => {
                let (x, y) = (self.value(first()?)?, self.value(second()?)?);
                self.assembly.difference(x, y)?
            }
            "Rsqrt" => self.assembly.reciprocal_root(self.value(first()?)?)?,
            "Erf" => self.assembly.erf(self.value(first()?)?)?,
            "Transpose" => match self.ints(second()?)?[..] {
                [0, 1, 2, 4, 3] => self.assembly.swapped(self.value(first()?)?)?,
                ref order => bail!("axes in the order {order:?}"),
            },
            "Slice" => {
                let begin = self.ints(second()?)?;
                let size = self.ints(input(2).context("no size")?)?;
                let (&[0, 0, 0, start], &[-1, -1, -1, count]) = (&begin[..], &size[..]) else {
                    bail!("{size:?} from {begin:?}");
                };
                let (start, count) = (usize::try_from(start)?, usize::try_from(count)?);
                let x = self.value(first()?)?;
                self.assembly.slice(name, x, start, count)?
            }
            "ConcatV2" => {
                let (axis, all) = node.inputs.split_last().context("no inputs")?;
                if self.ints(axis)? != [3] {
                    bail!("joined along {:?}", self.ints(axis)?);
                }
                let all = all.iter().map(|input| self.value(input));
                let all = all.collect::<Result<Vec<_>>>()?;
                self.assembly.operator(name, Op::Concat, &all)?
            }
            other => {
                let op = match other {
                    "Relu" => Op::Activation(Activation::Relu),
                    "Relu6" => Op::Activation(Activation::Relu6),
                    "Sigmoid" => Op::Activation(Activation::Sigmoid),
                    "Softmax" => Op::Softmax,
                    _ => bail!("the operator is not known"),
                };
                let x = self.value(first()?)?;
                self.assembly.operator(name, op, &[x])?
            }
        };
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => bail!("two nodes have the name"),
        }
    }

    fn convolution(&mut self, node: &'a Node, x: &str, weight: &str) -> Result<Value> {
        let mut x = self.value(x)?;
        let (values, shape) = (self.floats(weight)?, self.shape(weight)?);
        let is_depthwise = node.operator == "DepthwiseConv2dNative";
        let weight = kernel_from_first(&values, &shape, is_depthwise)?;
        let channels = self.assembly.channels(x)?;
        let groups = match is_depthwise {
            true => channels,
            false => channels.checked_div(weight.shape[1]).unwrap_or(0),
        };
        let kernel = [weight.shape[2], weight.shape[3]];
        let conv = Conv2d::rectangular(weight.shape[0], kernel).groups(groups);
        let conv = conv.stride(side(node, "strides")?);
        let conv = conv.dilation(side(node, "dilations")?);
        let padding = text(node, "padding")?;
        if text(node, "data_format")? != "NHWC" {
            bail!("its channels are not the last");
        }
        if padding == "EXPLICIT" && x.around.is_some() {
            bail!("its input is padded twice");
        }
        if padding == "EXPLICIT" {
            let Some(Attribute::Ints(sides)) = attribute(node, "explicit_paddings") else {
                bail!("no explicit padding");
            };
            let [0, 0, top, bottom, left, right, 0, 0] = sides.values[..] else {
                bail!("padding of {:?}", sides.values);
            };
            let sides = [top, bottom, left, right].map(|side| side as usize);
            x.around = Some(Around::new(sides, 0.0));
        }
        let value = self
            .assembly
            .convolution(&node.name, x, conv, padding == "SAME")?;
        self.assembly.parameter(value, "weight", weight);
        Ok(value)
    }

    fn linear(&mut self, name: &str, x: &str, weight: &str) -> Result<Value> {
        let x = self.value(x)?;
        let (values, shape) = (self.floats(weight)?, self.shape(weight)?);
        let channels = self.assembly.flattened_channels(x);
        let weight = linear_from_last(&values, &shape, channels)?;
        let value = self.assembly.linear(name, x, weight.shape[0])?;
        self.assembly.parameter(value, "weight", weight);
        Ok(value)
    }

    /// A sum or a product of two values, or of one and a constant.
    fn arithmetic(&mut self, node: &Node, a: &str, b: &str) -> Result<Value> {
        let (name, is_sum) = (&node.name, node.operator == "AddV2");
        let x = self.value(a)?;
        if self.constants.contains_key(b) {
            let constant = self.floats(b)?;
            return self.assembly.with_constant(name, x, &constant, is_sum);
        }
        let other = self.value(b)?;
        match is_sum {
            true => self.assembly.operator(name, Op::Add, &[x, other]),
            false => self.assembly.product(name, x, other),
        }
    }

    /// A vector, or a step of the shuffling of channels.
    fn reshaped(&mut self, name: &str, x: Value, shape: &[i32]) -> Result<Value> {
        let features: usize = self.assembly.shape(x).iter().product();
        match *shape {
            [-1, given] if usize::try_from(given) == Ok(features) => {
                self.assembly.operator(name, Op::Flatten, &[x])
            }
            [-1, _, _, groups, _] => self.assembly.in_groups(x, usize::try_from(groups)?),
            [-1, _, _, _] => self.assembly.joined(name, x),
            _ => bail!("{features} features become {shape:?}"),
        }
    }

    fn pool(&mut self, node: &Node, x: &str) -> Result<Value> {
        if text(node, "padding")? != "VALID" {
            bail!("a pool that is padded by itself");
        }
        let x = self.value(x)?;
        let window = [side(node, "ksize")?, side(node, "strides")?];
        match node.operator.as_str() {
            "MaxPool" => self.assembly.max_pool(&node.name, x, window),
            _ => self.assembly.avg_pool(&node.name, x, window),
        }
    }

    fn value(&self, name: &str) -> Result<Value> {
        let value = self.values.get(name).copied();
        value.with_context(|| format!("{name} is not computed"))
    }

    fn constant(&self, name: &str, kind: i32) -> Result<&'a Constant> {
        let constant = self.constants.get(name).copied();
        let constant = constant.filter(|constant| constant.dtype == kind);
        constant.with_context(|| format!("{name} is not a constant of type {kind}"))
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let (words, _) = self.constant(name, dtype::FLOAT)?.content.as_chunks::<4>();
        Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    fn ints(&self, name: &str) -> Result<Vec<i32>> {
        let (words, _) = self.constant(name, dtype::INT32)?.content.as_chunks::<4>();
        Ok(words.iter().map(|&word| i32::from_le_bytes(word)).collect())
    }

    fn shape(&self, constant: &str) -> Result<Vec<usize>> {
        let shape = self.constant(constant, dtype::FLOAT)?.shape.as_ref();
        let sides = shape.context("no shape")?.sides();
        Ok(sides.iter().map(|&side| side as usize).collect())
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attributes.get(name)?.value.as_ref()
}

fn text<'a>(node: &'a Node, name: &str) -> Result<&'a str> {
    match attribute(node, name) {
        Some(Attribute::Text(text)) => Ok(std::str::from_utf8(text)?),
        _ => bail!("{name} is not a text"),
    }
}

/// The number of both height and width.
fn side(node: &Node, name: &str) -> Result<usize> {
    match attribute(node, name) {
        Some(Attribute::Ints(ints)) => match ints.values[..] {
            [1, height, width, 1] if height == width => Ok(usize::try_from(height)?),
            _ => bail!("{name} is {:?}", ints.values),
        },
        _ => bail!("there is no {name}"),
    }
}
