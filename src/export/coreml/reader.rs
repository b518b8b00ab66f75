//! Reads a package as a network again: for verification, so it knows the operators that are written.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use half::f16;
use prost::Message;

use super::proto::{
    Binding, Bound, Content, Description, Feature, Image, Items, Kind, Model, Operation, RGB,
    Stored, Value as Stated, ValueType, dtype,
};
use super::{INPUT, LABEL, MODEL, OPSET, PROBABILITIES, WEIGHTS, blobs};
use crate::bundle::Manifest;
use crate::error::Result;
use crate::export::assembly::{Around, Assembly, Value};
use crate::export::reread::Reread;
use crate::export::{Artifact, check_labels};
use crate::graph::{Activation, Conv2d, Op, Padding};
use crate::inference::Backend;
use crate::weights::Tensor;

/// Loads a package for verification.
pub(in crate::export) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    let (network, labels) = read(exported.member(MODEL)?, exported.member(WEIGHTS)?)?;
    check_labels(&labels, manifest)?;
    drop(exported);
    network.into_backend()
}

/// The network and its labels.
pub(super) fn read(model: &[u8], weights: &[u8]) -> Result<(Reread, Vec<String>)> {
    let model = Model::decode(model).context("it is not a Core ML model")?;
    blobs::check(weights)?;
    let description = model.description.context("it has no description")?;
    let program = model.program.context("it is no ML Program")?;
    let main = program.functions.get("main").context("no function main")?;
    let input = main.inputs.iter().find(|input| input.name == INPUT);
    let shape = input.and_then(|input| input.kind.as_ref()?.as_tensor());
    let Some((dtype::FLOAT32, shape)) = shape else {
        bail!("its input is not a tensor of float32");
    };
    let [1, 3, size, _] = shape[..] else {
        bail!("its input is of shape {shape:?}");
    };
    check(&description, size)?;
    let (assembly, value) = Assembly::new(size);
    let mut reader = Reader {
        weights,
        constants: BTreeMap::new(),
        values: BTreeMap::from([(INPUT, value)]),
        assembly,
    };
    let block = main.blocks.get(OPSET).context("no block")?;
    for operation in &block.operations {
        if operation.kind == "classify" {
            let last = reader.value(operation, "probabilities")?;
            let labels = labels(operation)?;
            return Ok((reader.assembly.finish(last, None)?, labels));
        }
        let read = reader.operation(operation);
        read.with_context(|| format!("operation {}", name_of(operation)))?;
    }
    bail!("it does not classify")
}

/// Refuses a description that is not of an image classifier of this size.
fn check(description: &Description, size: usize) -> Result<()> {
    let kind = |feature: &'_ Feature| feature.kind.as_ref()?.kind.clone();
    let input = description.inputs.first().and_then(kind);
    let image = Kind::Image(Image {
        width: size as i64,
        height: size as i64,
        channels: RGB,
    });
    if input != Some(image) {
        bail!("its input is described as {input:?}");
    }
    let names = description
        .outputs
        .iter()
        .map(|output| output.name.as_str());
    let stated = [&*description.predicted, &*description.probabilities];
    match names.eq([LABEL, PROBABILITIES]) && stated == [LABEL, PROBABILITIES] {
        true => Ok(()),
        false => bail!("its outputs are described as {stated:?}"),
    }
}

struct Reader<'a> {
    weights: &'a [u8],
    constants: BTreeMap<&'a str, &'a Stated>,
    values: BTreeMap<&'a str, Value>,
    assembly: Assembly,
}

impl<'a> Reader<'a> {
    fn operation(&mut self, operation: &'a Operation) -> Result<()> {
        let [output] = &operation.outputs[..] else {
            bail!("not one output");
        };
        let name = output.name.as_str();
        let kind = operation.kind.as_str();
        if kind == "const" {
            let value = operation.attributes.get("val").context("no value")?;
            return match self.constants.insert(name, value) {
                None => Ok(()),
                Some(_) => bail!("two constants have the name"),
            };
        }
        let x = || self.value(operation, "x");
        let value = match kind {
            "cast" => x()?,
            "mul" | "add" => self.arithmetic(operation, name)?,
            "conv" => self.convolution(operation, name)?,
            "linear" => self.linear(operation, name)?,
            "max_pool" | "avg_pool" => self.pool(operation, name)?,
            "layer_norm" => {
                if self.ints(operation, "axes")? != [1] {
                    bail!("normalised over {:?}", self.ints(operation, "axes")?);
                }
                let parameters = [
                    self.floats(operation, "gamma")?,
                    self.floats(operation, "beta")?,
                ];
                let [eps] = self.floats(operation, "epsilon")?[..] else {
                    bail!("no epsilon");
                };
                let x = x()?;
                self.assembly
                    .layer_norm(name, x, eps.into(), Some(parameters))?
            }
            "reshape" => self.reshaped(operation, name)?,
            "transpose" if self.ints(operation, "perm")? == [0, 2, 1, 3, 4] => {
                self.assembly.swapped(x()?)?
            }
            "slice_by_size" => {
                let (begin, size) = (
                    self.ints(operation, "begin")?,
                    self.ints(operation, "size")?,
                );
                let (&[0, start, 0, 0], &[1, count, ..]) = (begin, size) else {
                    bail!("{size:?} from {begin:?}");
                };
                let x = x()?;
                self.assembly
                    .slice(name, x, usize::try_from(start)?, usize::try_from(count)?)?
            }
            "concat" => {
                let inputs = &operation
                    .inputs
                    .get("values")
                    .context("no values")?
                    .bindings;
                if self.ints(operation, "axis")? != [1] || self.bool(operation, "interleave")? {
                    bail!("joined along another axis");
                }
                let inputs = inputs.iter().map(|binding| self.named(binding));
                let inputs = inputs.collect::<Result<Vec<_>>>()?;
                self.assembly.operator(name, Op::Concat, &inputs)?
            }
            _ => {
                let op = self.operator(operation)?;
                let x = x()?;
                self.assembly.operator(name, op, &[x])?
            }
        };
        let stated = output.kind.as_ref().and_then(ValueType::as_tensor);
        let shape = [&[1], self.assembly.shape(value)].concat();
        let is_whole = value.around.is_none() && value.piece.is_none();
        if is_whole && stated.as_ref().is_none_or(|(_, stated)| *stated != shape) {
            bail!("it gives {shape:?}, not {stated:?}");
        }
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => bail!("two values have the name"),
        }
    }

    /// The operator of one input and no parameters.
    fn operator(&self, operation: &Operation) -> Result<Op> {
        Ok(match operation.kind.as_str() {
            "relu" => Op::Activation(Activation::Relu),
            "relu6" => Op::Activation(Activation::Relu6),
            "sigmoid" => Op::Activation(Activation::Sigmoid),
            "silu" => Op::Activation(Activation::Silu),
            "sigmoid_hard" => {
                let [alpha, beta] = ["alpha", "beta"].map(|key| self.floats(operation, key));
                let (alpha, beta) = (alpha?, beta?);
                let is_sixth = |alpha: &f32| (alpha - 1.0 / 6.0).abs() < 1e-4;
                if !alpha.iter().all(is_sixth) || beta != [0.5] {
                    bail!("a slope of {alpha:?} and an offset of {beta:?}");
                }
                Op::Activation(Activation::Hardsigmoid)
            }
            "reduce_mean" => {
                let axes = self.ints(operation, "axes")?;
                if axes != [2, 3] || !self.bool(operation, "keep_dims")? {
                    bail!("the mean over {axes:?}");
                }
                Op::GlobalAvgPool
            }
            "gelu" => match self.argument(operation, "mode")?.stored() {
                Some(Stored::Texts(texts)) if texts.values == ["EXACT"] => {
                    Op::Activation(Activation::Gelu)
                }
                other => bail!("a GELU of mode {other:?}"),
            },
            "softmax" if self.ints(operation, "axis")? == [-1] => Op::Softmax,
            _ => bail!("it is not known"),
        })
    }

    fn arithmetic(&mut self, operation: &Operation, name: &str) -> Result<Value> {
        let (x, is_sum) = (self.value(operation, "x")?, operation.kind == "add");
        if let Ok(constant) = self.floats(operation, "y") {
            return self.assembly.with_constant(name, x, &constant, is_sum);
        }
        let y = self.value(operation, "y")?;
        let op = if is_sum { Op::Add } else { Op::Mul };
        self.assembly.operator(name, op, &[x, y])
    }

    fn convolution(&mut self, operation: &Operation, name: &str) -> Result<Value> {
        let mut x = self.value(operation, "x")?;
        let (weight, shape) = self.tensor(operation, "weight")?;
        let [outputs, _, height, width] = shape[..] else {
            bail!("a weight of shape {shape:?}");
        };
        let [groups] = self.ints(operation, "groups")?[..] else {
            bail!("no groups");
        };
        let conv = Conv2d::rectangular(outputs, [height, width]);
        let conv = conv.groups(usize::try_from(groups)?);
        let conv = conv.stride(self.side(operation, "strides")?);
        let conv = conv.dilation(self.side(operation, "dilations")?);
        x.around = Some(self.around(operation, 0.0)?);
        let value = self.assembly.convolution(name, x, conv, false)?;
        self.layer(operation, value, Tensor::f32(shape, weight))
    }

    fn linear(&mut self, operation: &Operation, name: &str) -> Result<Value> {
        let x = self.value(operation, "x")?;
        let (weight, shape) = self.tensor(operation, "weight")?;
        let outputs = *shape.first().context("a weight without a shape")?;
        let value = self.assembly.linear(name, x, outputs)?;
        self.layer(operation, value, Tensor::f32(shape, weight))
    }

    fn layer(&mut self, operation: &Operation, layer: Value, weight: Tensor) -> Result<Value> {
        let (bias, shape) = self.tensor(operation, "bias")?;
        self.assembly.parameter(layer, "weight", weight);
        self.assembly
            .parameter(layer, "bias", Tensor::f32(shape, bias));
        Ok(layer)
    }

    fn pool(&mut self, operation: &Operation, name: &str) -> Result<Value> {
        let mut x = self.value(operation, "x")?;
        let window = [
            self.side(operation, "kernel_sizes")?,
            self.side(operation, "strides")?,
        ];
        if self.bool(operation, "ceil_mode")? {
            bail!("sizes are rounded up");
        }
        let is_max = operation.kind == "max_pool";
        let around = self.around(operation, if is_max { f32::NEG_INFINITY } else { 0.0 })?;
        if around.pixels != [Padding::both(0); 2] {
            x.around = Some(around);
        }
        if is_max {
            return self.assembly.max_pool(name, x, window);
        }
        if self.bool(operation, "exclude_padding_from_average")? {
            bail!("padding is not counted");
        }
        self.assembly.avg_pool(name, x, window)
    }

    /// A vector, or a step of the shuffling of channels.
    fn reshaped(&mut self, operation: &Operation, name: &str) -> Result<Value> {
        let x = self.value(operation, "x")?;
        match *self.ints(operation, "shape")? {
            [_, _] => self.assembly.operator(name, Op::Flatten, &[x]),
            [_, groups, _, _, _] => self.assembly.in_groups(x, usize::try_from(groups)?),
            [_, _, _, _] => self.assembly.joined(name, x),
            ref shape => bail!("the shape {shape:?}"),
        }
    }

    fn around(&self, operation: &Operation, value: f32) -> Result<Around> {
        match self.argument(operation, "pad_type")?.stored() {
            Some(Stored::Texts(texts)) if texts.values == ["custom"] => {}
            other => bail!("padding of the type {other:?}"),
        }
        let [top, bottom, left, right] = self.ints(operation, "pad")?[..] else {
            bail!("no padding");
        };
        let sides = [top, bottom, left, right].map(|side| side as usize);
        Ok(Around::new(sides, value))
    }

    /// An input that is computed.
    fn value(&self, operation: &Operation, key: &str) -> Result<Value> {
        let argument = operation.inputs.get(key);
        let binding = argument.and_then(|argument| argument.bindings.first());
        self.named(binding.with_context(|| format!("no {key}"))?)
    }

    fn named(&self, binding: &Binding) -> Result<Value> {
        let Some(Bound::Name(name)) = &binding.bound else {
            bail!("an input without a name");
        };
        let value = self.values.get(name.as_str()).copied();
        value.with_context(|| format!("{name} is not computed"))
    }

    /// An input that is a constant.
    fn argument(&self, operation: &Operation, key: &str) -> Result<&'a Stated> {
        let argument = operation.inputs.get(key);
        let binding = argument.and_then(|argument| argument.bindings.first());
        let Some(Bound::Name(name)) = binding.and_then(|binding| binding.bound.as_ref()) else {
            bail!("no {key}");
        };
        let constant = self.constants.get(name.as_str()).copied();
        constant.with_context(|| format!("{name} is not a constant"))
    }

    fn ints(&self, operation: &Operation, key: &str) -> Result<&'a [i32]> {
        match self.argument(operation, key)?.stored() {
            Some(Stored::Ints(ints)) => Ok(&ints.values),
            _ => bail!("{key} is not of integers"),
        }
    }

    fn bool(&self, operation: &Operation, key: &str) -> Result<bool> {
        match self.argument(operation, key)?.stored() {
            Some(Stored::Bools(bools)) if bools.values.len() == 1 => Ok(bools.values[0]),
            _ => bail!("{key} is neither true nor false"),
        }
    }

    /// The number of both height and width.
    fn side(&self, operation: &Operation, key: &str) -> Result<usize> {
        match *self.ints(operation, key)? {
            [height, width] if height == width => Ok(usize::try_from(height)?),
            ref other => bail!("{key} is {other:?}"),
        }
    }

    fn floats(&self, operation: &Operation, key: &str) -> Result<Vec<f32>> {
        Ok(self.tensor(operation, key)?.0)
    }

    /// The numbers of a constant, and its shape.
    fn tensor(&self, operation: &Operation, key: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let value = self.argument(operation, key)?;
        let kind = value.kind.as_ref().and_then(ValueType::as_tensor);
        let (element, shape) = kind.with_context(|| format!("{key} is not a tensor"))?;
        let values = match (&value.content, value.stored()) {
            (Some(Content::Blob(blob)), _) => {
                let (kind, bytes) = blobs::find(self.weights, blob.offset)?;
                match (kind, element) {
                    (blobs::FLOAT32, dtype::FLOAT32) => singles(bytes),
                    (blobs::FLOAT16, dtype::FLOAT16) => halves(bytes),
                    _ => bail!("{key} has elements of type {kind}"),
                }
            }
            (_, Some(Stored::Floats(floats))) if element == dtype::FLOAT32 => floats.values.clone(),
            (_, Some(Stored::Bytes(bytes))) if element == dtype::FLOAT16 => halves(&bytes.values),
            _ => bail!("{key} is not of floats"),
        };
        match values.len() == shape.iter().product::<usize>() {
            true => Ok((values, shape)),
            false => bail!("{key} has {} numbers for {shape:?}", values.len()),
        }
    }
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks::<4>().0.iter();
    words.map(|&word| f32::from_le_bytes(word)).collect()
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.as_chunks::<2>().0.iter();
    halves
        .map(|&half| f16::from_le_bytes(half).to_f32())
        .collect()
}

fn name_of(operation: &Operation) -> &str {
    let output = operation.outputs.first();
    output.map_or(&operation.kind, |output| &output.name)
}

fn labels(classify: &Operation) -> Result<Vec<String>> {
    let classes = classify.inputs.get("classes").context("no classes")?;
    let bound = classes
        .bindings
        .first()
        .and_then(|binding| binding.bound.as_ref());
    let Some(Bound::Value(Stated {
        content: Some(Content::Immediate(immediate)),
        ..
    })) = bound
    else {
        bail!("its classes are not in the program");
    };
    let Some(Items::List(list)) = &immediate.items else {
        bail!("its classes are no list");
    };
    let label = |value: &Stated| match value.stored() {
        Some(Stored::Texts(texts)) if texts.values.len() == 1 => Ok(texts.values[0].clone()),
        _ => bail!("a class is not a text"),
    };
    list.values.iter().map(label).collect()
}
