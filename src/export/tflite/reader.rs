//! Reads a TensorFlow Lite file as a network again: for verification, so it knows what the writer
//! writes, but decodes it by the schema alone.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use super::metadata;
use super::record::Record;
use super::schema::{
    IDENTIFIER, activation, code, convolution, depthwise, dtype, model, operator, operator_code,
    padding, pool, subgraph,
};
use super::stored::Stored;
use crate::bundle::Manifest;
use crate::error::Result;
use crate::export::assembly::{Around, Assembly, Value};
use crate::export::reread::Reread;
use crate::export::{Artifact, check_labels};
use crate::graph::{
    Activation, Conv2d, Epilogue, Int8, Int8Weight, Method, NodeId, Op, QuantizationParameters,
};
use crate::inference::Backend;
use crate::weights::Tensor;

/// Loads a file for verification.
pub(in crate::export) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    check_labels(&metadata::labels(exported.file()?)?, manifest)?;
    let network = read(exported.file()?)?;
    drop(exported);
    network.into_backend()
}

pub(super) fn read(file: &[u8]) -> Result<Reread> {
    let root = Record::root(file, IDENTIFIER).context("it is not a TensorFlow Lite file")?;
    let mut subgraphs = root
        .tables(model::SUBGRAPHS)
        .context("no subgraphs")?
        .into_iter();
    let subgraph = subgraphs.next().context("no subgraph")?;
    let codes = root
        .tables(model::OPERATOR_CODES)
        .context("no operator codes")?;
    let code = |code: &Record<'_>| code.i32(operator_code::CODE);
    let codes = codes.iter().map(code).collect::<Option<Vec<i32>>>();
    let buffers = root.tables(model::BUFFERS).context("no buffers")?;
    let tensors = subgraph.tables(subgraph::TENSORS).context("no tensors")?;
    let tensors = tensors.iter().map(|tensor| Stored::of(*tensor, &buffers));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let [input] = subgraph.ints(subgraph::INPUTS).context("no inputs")?[..] else {
        bail!("it has not one input");
    };
    let [output] = subgraph.ints(subgraph::OUTPUTS).context("no outputs")?[..] else {
        bail!("it has not one output");
    };
    let mut reader = Reader::new(&tensors, input)?;
    for operator in subgraph
        .tables(subgraph::OPERATORS)
        .context("no operators")?
    {
        let codes = codes.as_deref().context("an operator code")?;
        let found = operator
            .u32(operator::CODE)
            .and_then(|at| codes.get(at as usize));
        let code = *found.context("an operator without a code")?;
        let read = reader.operator(code, operator);
        read.with_context(|| format!("operator {code}"))?;
    }
    reader.finish(output)
}

struct Reader<'a> {
    tensors: &'a [Stored<'a>],
    values: BTreeMap<i32, Value>,
    /// The constants that were read from others.
    aliases: BTreeMap<i32, i32>,
    assembly: Assembly,
    int8: BTreeMap<NodeId, Int8Weight>,
    rounded: BTreeMap<NodeId, QuantizationParameters>,
}

impl<'a> Reader<'a> {
    fn new(tensors: &'a [Stored<'a>], input: i32) -> Result<Self> {
        let first = tensors.get(input as usize).context("the input")?;
        let [1, size, _, 3] = first.shape[..] else {
            bail!("its input is of shape {:?}", first.shape);
        };
        let (assembly, value) = Assembly::new(size);
        let mut reader = Self {
            tensors,
            values: BTreeMap::new(),
            aliases: BTreeMap::new(),
            assembly,
            int8: BTreeMap::new(),
            rounded: BTreeMap::new(),
        };
        reader.value(input, value)?;
        Ok(reader)
    }

    fn finish(self, output: i32) -> Result<Reread> {
        let last = self.values.get(&output);
        let last = *last.context("nothing computes the output")?;
        let int8 = (!self.rounded.is_empty()).then_some(Int8 {
            method: Method::Static,
            weights: self.int8,
            values: self.rounded,
            ranges: BTreeMap::new(),
            before_add: BTreeMap::new(),
        });
        self.assembly.finish(last, int8)
    }

    fn operator(&mut self, code: i32, record: Record<'_>) -> Result<()> {
        let inputs = record.ints(operator::INPUTS).context("no inputs")?;
        let [output] = record.ints(operator::OUTPUTS).context("no outputs")?[..] else {
            bail!("not one output");
        };
        let first = *inputs.first().context("no input")?;
        let options = record.table(operator::OPTIONS);
        let name = self.tensor(output)?.name;
        let value = match code {
            code::QUANTIZE | code::DEQUANTIZE => return self.converted(first, output),
            code::PAD | code::PADV2 => return self.padded(&inputs, output),
            code::CONV_2D | code::DEPTHWISE_CONV_2D => {
                let options = options.context("no options")?;
                self.convolution(code, name, &inputs, options)?
            }
            code::FULLY_CONNECTED => self.linear(name, &inputs, options)?,
            code::ADD | code::MUL => {
                let clamp = match code {
                    code::ADD => options.and_then(|options| options.i8(0)).unwrap_or(0),
                    _ => activation::NONE,
                };
                self.arithmetic(code, name, &inputs, clamp)?
            }
            code::MEAN => {
                let (x, axes) = (self.read(first)?, self.second(&inputs)?);
                match axes[..] {
                    [1, 2] => self.assembly.operator(name, Op::GlobalAvgPool, &[x])?,
                    [3] => self.assembly.mean_of_channels(x)?,
                    _ => bail!("the mean over {axes:?}"),
                }
            }
            code::SUB => {
                let other = *inputs.get(1).context("no second input")?;
                self.assembly
                    .difference(self.read(first)?, self.read(other)?)?
            }
            code::RSQRT => self.assembly.reciprocal_root(self.read(first)?)?,
            code::RESHAPE => {
                let (x, shape) = (self.read(first)?, self.second(&inputs)?);
                match shape[..] {
                    [_, _] => self.assembly.operator(name, Op::Flatten, &[x])?,
                    [_, _, _, groups, _] => self.assembly.in_groups(x, usize::try_from(groups)?)?,
                    [_, _, _, _] => self.assembly.joined(name, x)?,
                    _ => bail!("the shape {shape:?}"),
                }
            }
            code::TRANSPOSE => match self.second(&inputs)?[..] {
                [0, 1, 2, 4, 3] => self.assembly.swapped(self.read(first)?)?,
                ref order => bail!("axes in the order {order:?}"),
            },
            code::SLICE => {
                let begin = self.second(&inputs)?;
                let size = *inputs.get(2).context("no size")?;
                let size = self.tensor(size)?.integers();
                let (&[0, 0, 0, start], &[-1, -1, -1, count]) = (&begin[..], &size[..]) else {
                    bail!("{size:?} from {begin:?}");
                };
                let (start, count) = (usize::try_from(start)?, usize::try_from(count)?);
                let x = self.read(first)?;
                self.assembly.slice(name, x, start, count)?
            }
            code::CONCATENATION => {
                let all = inputs.iter().map(|&input| self.read(input));
                let all = all.collect::<Result<Vec<_>>>()?;
                self.assembly.operator(name, Op::Concat, &all)?
            }
            code::MAX_POOL_2D | code::AVERAGE_POOL_2D => {
                self.pool(code, name, first, options.context("no options")?)?
            }
            _ => {
                let op = match code {
                    code::LOGISTIC => Op::Activation(Activation::Sigmoid),
                    code::RELU => Op::Activation(Activation::Relu),
                    code::RELU6 => Op::Activation(Activation::Relu6),
                    code::HARD_SWISH => Op::Activation(Activation::Hardswish),
                    code::GELU => Op::Activation(Activation::Gelu),
                    code::SOFTMAX => Op::Softmax,
                    other => bail!("operator {other} is not known"),
                };
                let input = self.read(first)?;
                self.assembly.operator(name, op, &[input])?
            }
        };
        self.value(output, value)
    }

    /// Remembers a value; integers are rounded as the file says.
    fn value(&mut self, at: i32, value: Value) -> Result<()> {
        if let Some(qparams) = self.tensor(at)?.qparams() {
            self.rounded.entry(value.node).or_insert(qparams);
        }
        self.values.insert(at, value);
        Ok(())
    }

    /// Another type of the same numbers.
    fn converted(&mut self, from: i32, to: i32) -> Result<()> {
        match self.values.get(&from) {
            Some(&value) => self.value(to, value),
            None => {
                self.aliases.insert(to, from);
                Ok(())
            }
        }
    }

    fn padded(&mut self, inputs: &[i32], output: i32) -> Result<()> {
        let sides = self.tensor(*inputs.get(1).context("no sides")?)?.integers();
        let [0, 0, top, bottom, left, right, 0, 0] = sides[..] else {
            bail!("padding of {sides:?}");
        };
        let filled = match inputs.get(2) {
            Some(&filled) => self.constant(filled)?.fill()?,
            None => 0.0,
        };
        let around = Around::new([top, bottom, left, right].map(|side| side as usize), filled);
        let value = Value {
            around: Some(around),
            ..self.read(inputs[0])?
        };
        self.values.insert(output, value);
        Ok(())
    }

    fn convolution(
        &mut self,
        code: i32,
        name: &str,
        inputs: &[i32],
        options: Record<'_>,
    ) -> Result<Value> {
        let &[x, weight, bias] = inputs else {
            bail!("a convolution of {} inputs", inputs.len());
        };
        let x = self.read(x)?;
        let is_depthwise = code == code::DEPTHWISE_CONV_2D;
        let (clamp, dilation) = match is_depthwise {
            true => (depthwise::ACTIVATION, depthwise::DILATIONS[0]),
            false => (convolution::ACTIVATION, convolution::DILATIONS[0]),
        };
        let number = |field: u16| options.i32(field).map_or(1, |value| value as usize);
        let shape = &self.constant(weight)?.shape;
        let [first, height, width, last] = shape[..] else {
            bail!("a weight of shape {shape:?}");
        };
        if height == 0 || width == 0 || last == 0 {
            bail!("a weight of shape {shape:?}");
        }
        let channels = self.assembly.channels(x)?;
        let (outputs, groups) = match is_depthwise {
            true => (last, channels),
            false => (first, channels.checked_div(last).unwrap_or(0)),
        };
        let mut conv = Conv2d::rectangular(outputs, [height, width]).groups(groups);
        conv.stride = number(convolution::STRIDES[0]);
        conv.dilation = number(dilation);
        conv.epilogue = Epilogue {
            add: false,
            activation: clamped(options.i8(clamp).unwrap_or(activation::NONE))?,
        };
        let taps = height * width;
        let inner = if is_depthwise { 1 } else { last };
        // Where PyTorch's [out, in, kernel, kernel] lies in the file.
        let order = (0..outputs * inner * taps).map(|at| {
            let (output, input, tap) = (at / (inner * taps), at / taps % inner, at % taps);
            match is_depthwise {
                true => tap * outputs + output,
                false => (output * taps + tap) * inner + input,
            }
        });
        let shape = vec![outputs, inner, height, width];
        let is_same = options.i8(convolution::PADDING) != Some(padding::VALID);
        let value = self.assembly.convolution(name, x, conv, is_same)?;
        self.layer(value, [weight, bias], shape, &order.collect::<Vec<_>>())?;
        Ok(value)
    }

    fn linear(&mut self, name: &str, inputs: &[i32], options: Option<Record<'_>>) -> Result<Value> {
        let &[x, weight, bias] = inputs else {
            bail!("a linear layer of {} inputs", inputs.len());
        };
        let x = self.read(x)?;
        let [outputs, columns] = self.constant(weight)?.shape[..] else {
            bail!("a weight of shape {:?}", self.constant(weight)?.shape);
        };
        // The features of a map are flattened with the channels last there, first here.
        let channels = self.assembly.flattened_channels(x);
        if !columns.is_multiple_of(channels) || columns == 0 {
            bail!("{columns} features of {channels} channels");
        }
        let pixels = columns / channels;
        let order = (0..outputs * columns).map(|at| {
            let (output, input) = (at / columns, at % columns);
            output * columns + input % pixels * channels + input / pixels
        });
        let value = self.assembly.linear(name, x, outputs)?;
        let order: Vec<usize> = order.collect();
        self.layer(value, [weight, bias], vec![outputs, columns], &order)?;
        self.clamped(
            name,
            value,
            options.and_then(|options| options.i8(0)).unwrap_or(0),
        )
    }

    /// Takes over the constants of a layer, values in `order` of the file's.
    fn layer(
        &mut self,
        layer: Value,
        [weight, bias]: [i32; 2],
        shape: Vec<usize>,
        order: &[usize],
    ) -> Result<()> {
        let weight = self.constant(weight)?;
        if weight.shape.iter().product::<usize>() != order.len() {
            bail!("a weight of shape {:?}", weight.shape);
        }
        if weight.dtype == dtype::INT8 {
            let q = order.iter().map(|&at| weight.bytes[at] as i8).collect();
            let weight = Int8Weight::new(shape, q, weight.scale.clone())?;
            self.int8.insert(layer.node, weight);
        } else {
            let values = weight.reals()?;
            let values = order.iter().map(|&at| values[at]).collect();
            let weight = Tensor::f32(shape, values);
            self.assembly.parameter(layer, "weight", weight);
        }
        let bias = self.constant(bias)?.reals()?;
        let bias = Tensor::f32([bias.len()], bias);
        self.assembly.parameter(layer, "bias", bias);
        Ok(())
    }

    /// A sum or a product of two values, or of one and a constant for each channel.
    fn arithmetic(&mut self, code: i32, name: &str, inputs: &[i32], clamp: i8) -> Result<Value> {
        let &[a, b] = inputs else {
            bail!("{} operands", inputs.len());
        };
        let x = self.read(a)?;
        let value = match (self.read(b), code) {
            (Ok(other), code::ADD) => self.assembly.operator(name, Op::Add, &[x, other])?,
            (Ok(other), _) => self.assembly.product(name, x, other)?,
            (Err(_), _) => {
                let constant = self.constant(b)?.reals()?;
                let is_sum = code == code::ADD;
                self.assembly.with_constant(name, x, &constant, is_sum)?
            }
        };
        self.clamped(name, value, clamp)
    }

    /// A value with the activation that its operator applies.
    fn clamped(&mut self, name: &str, value: Value, clamp: i8) -> Result<Value> {
        match clamped(clamp)? {
            Some(kind) => {
                let clamped = format!("{name}.clamped");
                self.assembly.activation(&clamped, kind, value)
            }
            None => Ok(value),
        }
    }

    fn pool(&mut self, code: i32, name: &str, x: i32, options: Record<'_>) -> Result<Value> {
        let x = self.read(x)?;
        let number = |field: u16| options.i32(field).map_or(0, |value| value as usize);
        let window = [number(pool::WINDOW[0]), number(pool::STRIDES[0])];
        if options.i8(pool::PADDING) != Some(padding::VALID) {
            bail!("a pool that is padded on one side");
        }
        match code {
            code::MAX_POOL_2D => self.assembly.max_pool(name, x, window),
            _ => self.assembly.avg_pool(name, x, window),
        }
    }

    /// The integers of a second input.
    fn second(&self, inputs: &[i32]) -> Result<Vec<i32>> {
        let at = *inputs.get(1).context("no second input")?;
        Ok(self.tensor(at)?.integers())
    }

    fn read(&self, at: i32) -> Result<Value> {
        let read = self.values.get(&at).copied();
        read.with_context(|| format!("tensor {at} is not computed"))
    }

    fn tensor(&self, at: i32) -> Result<&'a Stored<'a>> {
        let tensor = self.tensors.get(at as usize);
        tensor.with_context(|| format!("tensor {at}"))
    }

    fn constant(&self, at: i32) -> Result<&'a Stored<'a>> {
        let at = self.aliases.get(&at).copied().unwrap_or(at);
        let constant = self.tensor(at)?;
        match constant.bytes {
            [] => bail!("{} is not a constant", constant.name),
            _ => Ok(constant),
        }
    }
}

fn clamped(kind: i8) -> Result<Option<Activation>> {
    match kind {
        activation::NONE => Ok(None),
        activation::RELU => Ok(Some(Activation::Relu)),
        activation::RELU6 => Ok(Some(Activation::Relu6)),
        other => bail!("activation {other}"),
    }
}
