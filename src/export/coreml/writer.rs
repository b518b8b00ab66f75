//! From plain operators to those of Core ML's intermediate language, channels first.

use std::collections::{BTreeMap, BTreeSet};

use super::blobs::Blobs;
use super::proto::{Argument, Binding, Bound, Named, Operation, Value, ValueType, dtype};
use super::{INPUT, LABEL, PROBABILITIES};
use crate::error::Result;
use crate::export::layout::{map, real};
use crate::export::lowering::{Clamp, Lowered, Operator, Step};
use crate::graph::{Activation, Conv2d, Padding, Pool2d};
use crate::labels::Labels;
use crate::weights::Tensor;

/// Walks the steps of a network.
pub(super) struct Writer<'a> {
    lowered: &'a Lowered<'a>,
    half: bool,
    pub(super) operations: Vec<Operation>,
    pub(super) blobs: Blobs,
    values: Vec<Computed>,
    pub(super) names: BTreeSet<String>,
}

/// A value of the program.
#[derive(Debug, Clone)]
pub(super) struct Computed {
    pub(super) name: String,
    /// With a batch of one.
    pub(super) shape: Vec<usize>,
    pub(super) dtype: i32,
}

/// An input of an operator.
pub(super) enum Input<'a> {
    Value(&'a Computed),
    Values(Vec<&'a Computed>),
    Ints(Vec<i32>),
    Int(i32),
    Bool(bool),
    Text(&'static str),
    /// In the type of the operator's output.
    Float(f32),
    Tensor(&'a Tensor),
}

impl<'a> Writer<'a> {
    /// For about as many bytes of parameters.
    pub(super) fn new(lowered: &'a Lowered<'a>, half: bool, bytes: usize) -> Self {
        Self {
            lowered,
            half,
            operations: Vec::new(),
            blobs: Blobs::new(if half { bytes / 2 } else { bytes }),
            values: Vec::new(),
            names: BTreeSet::from([INPUT, LABEL, PROBABILITIES].map(String::from)),
        }
    }

    /// Gives the program's operations and the file of weights.
    pub(super) fn write(mut self, labels: &Labels) -> Result<(Vec<Operation>, Vec<u8>)> {
        let lowered = self.lowered;
        for step in &lowered.steps {
            let value = self.step(step)?;
            self.values.push(value);
        }
        let last = self.values[self.values.len() - 1].clone();
        let last = self.cast("probabilities", &last, dtype::FLOAT32)?;
        self.classify(&last, labels);
        Ok((self.operations, self.blobs.finish()))
    }

    /// Writes a step's operators; gives its value.
    fn step(&mut self, step: &Step<'_>) -> Result<Computed> {
        let name = step.name.as_str();
        let inputs: Vec<Computed> = step
            .inputs
            .iter()
            .map(|&at| self.values[at].clone())
            .collect();
        let shape = [&[1], &step.shape[..]].concat();
        let x = || Input::Value(&inputs[0]);
        let y = || Input::Value(&inputs[1]);
        match &step.operator {
            Operator::Input => Ok(Computed {
                name: INPUT.into(),
                shape,
                dtype: dtype::FLOAT32,
            }),
            Operator::PixelsToFloat | Operator::Dropout(_) => Ok(inputs[0].clone()),
            Operator::Affine { scale, shift } => {
                // Pixels up to 255 are normalised in full precision.
                let value = self.affine(name, &inputs[0], scale, shift)?;
                self.cast(&format!("{name}_cast"), &value, self.dtype())
            }
            Operator::BatchNorm2d(norm) => {
                let (scale, shift) = norm.affine();
                self.affine(name, &inputs[0], &scale, &shift)
            }
            Operator::LayerNorm { norm, weight, bias } => {
                let (weight, bias) = (vector(weight), vector(bias));
                let arguments = [
                    ("x", x()),
                    ("axes", Input::Ints(vec![1])),
                    ("gamma", Input::Tensor(&weight)),
                    ("beta", Input::Tensor(&bias)),
                    ("epsilon", Input::Float(norm.eps as f32)),
                ];
                self.push("layer_norm", name, &shape, &arguments)
            }
            Operator::Conv2d {
                conv,
                weight,
                bias,
                clamp,
            } => {
                let operands = [(&*real(weight)), &vector(bias)];
                let value = self.convolution(name, &inputs[0], &shape, conv, operands)?;
                self.clamped(name, value, *clamp)
            }
            Operator::Linear {
                weight,
                bias,
                clamp,
                ..
            } => {
                let (weight, bias) = (real(weight), vector(bias));
                let arguments = [
                    ("x", x()),
                    ("weight", Input::Tensor(&weight)),
                    ("bias", Input::Tensor(&bias)),
                ];
                let value = self.push("linear", name, &shape, &arguments)?;
                self.clamped(name, value, *clamp)
            }
            Operator::Activation(kind) => self.activation(name, *kind, &inputs[0]),
            Operator::MaxPool2d(window) => self.pool("max_pool", name, &inputs[0], &shape, window),
            Operator::AvgPool2d(window) => self.pool("avg_pool", name, &inputs[0], &shape, window),
            Operator::GlobalAvgPool => {
                let arguments = [
                    ("x", x()),
                    ("axes", Input::Ints(vec![2, 3])),
                    ("keep_dims", Input::Bool(true)),
                ];
                self.push("reduce_mean", name, &shape, &arguments)
            }
            Operator::Add { clamp } => {
                let value = self.push("add", name, &shape, &[("x", x()), ("y", y())])?;
                self.clamped(name, value, *clamp)
            }
            Operator::Mul => self.push("mul", name, &shape, &[("x", x()), ("y", y())]),
            Operator::Concat => {
                let arguments = [
                    ("values", Input::Values(inputs.iter().collect())),
                    ("axis", Input::Int(1)),
                    ("interleave", Input::Bool(false)),
                ];
                self.push("concat", name, &shape, &arguments)
            }
            Operator::Slice(channels) => {
                let [_, height, width] = map(&step.shape);
                let sizes = [1, channels.len(), height, width].map(|side| side as i32);
                let arguments = [
                    ("x", x()),
                    ("begin", Input::Ints(vec![0, channels.start as i32, 0, 0])),
                    ("size", Input::Ints(sizes.to_vec())),
                ];
                self.push("slice_by_size", name, &shape, &arguments)
            }
            Operator::ChannelShuffle { groups } => self.channel_shuffle(name, &inputs[0], *groups),
            Operator::Flatten => self.reshape(name, &inputs[0], &shape),
            Operator::Softmax => {
                let cast = self.cast(&format!("{name}_cast"), &inputs[0], dtype::FLOAT32)?;
                let arguments = [("x", Input::Value(&cast)), ("axis", Input::Int(-1))];
                self.push("softmax", name, &shape, &arguments)
            }
        }
    }

    /// The type that layers compute in.
    fn dtype(&self) -> i32 {
        match self.half {
            true => dtype::FLOAT16,
            false => dtype::FLOAT32,
        }
    }

    fn affine(
        &mut self,
        name: &str,
        x: &Computed,
        scale: &[f32],
        shift: &[f32],
    ) -> Result<Computed> {
        let each = |values: &[f32]| Tensor::f32([1, values.len(), 1, 1], values.to_vec());
        let (scale, shift) = (each(scale), each(shift));
        let arguments = [("x", Input::Value(x)), ("y", Input::Tensor(&scale))];
        let x = self.push("mul", &format!("{name}_scaled"), &x.shape, &arguments)?;
        let arguments = [("x", Input::Value(&x)), ("y", Input::Tensor(&shift))];
        self.push("add", name, &x.shape, &arguments)
    }

    fn convolution(
        &mut self,
        name: &str,
        x: &Computed,
        shape: &[usize],
        conv: &Conv2d,
        [weight, bias]: [&Tensor; 2],
    ) -> Result<Computed> {
        let both = |side: usize| Input::Ints(vec![side as i32; 2]);
        let arguments = [
            ("x", Input::Value(x)),
            ("weight", Input::Tensor(weight)),
            ("bias", Input::Tensor(bias)),
            ("strides", both(conv.stride)),
            ("pad_type", Input::Text("custom")),
            ("pad", sides(conv.padding)),
            ("dilations", both(conv.dilation)),
            ("groups", Input::Int(conv.groups as i32)),
        ];
        self.push("conv", name, shape, &arguments)
    }

    fn channel_shuffle(&mut self, name: &str, x: &Computed, groups: usize) -> Result<Computed> {
        let [channels, height, width] = map(&x.shape[1..]);
        let each = channels / groups;
        let shuffled = [1, each, groups, height, width];
        let apart = self.reshape(
            &format!("{name}_apart"),
            x,
            &[1, groups, each, height, width],
        )?;
        let arguments = [
            ("x", Input::Value(&apart)),
            ("perm", Input::Ints(vec![0, 2, 1, 3, 4])),
        ];
        let swapped = format!("{name}_swapped");
        let swapped = self.push("transpose", &swapped, &shuffled, &arguments)?;
        self.reshape(name, &swapped, &x.shape)
    }

    fn reshape(&mut self, name: &str, x: &Computed, shape: &[usize]) -> Result<Computed> {
        let sides = shape.iter().map(|&side| side as i32).collect();
        let arguments = [("x", Input::Value(x)), ("shape", Input::Ints(sides))];
        self.push("reshape", name, shape, &arguments)
    }

    fn pool(
        &mut self,
        operator: &str,
        name: &str,
        x: &Computed,
        shape: &[usize],
        window: &Pool2d,
    ) -> Result<Computed> {
        let both = |side: usize| Input::Ints(vec![side as i32; 2]);
        let [_, height, width] = map(&x.shape[1..]);
        let around = [height, width].map(|size| window.around(size));
        let mut arguments = vec![
            ("x", Input::Value(x)),
            ("kernel_sizes", both(window.kernel)),
            ("strides", both(window.stride)),
            ("pad_type", Input::Text("custom")),
            ("pad", sides(around)),
            ("ceil_mode", Input::Bool(false)),
        ];
        if operator == "avg_pool" {
            arguments.push(("exclude_padding_from_average", Input::Bool(false)));
        }
        self.push(operator, name, shape, &arguments)
    }

    fn activation(&mut self, name: &str, kind: Activation, x: &Computed) -> Result<Computed> {
        let operator = match kind {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "silu",
            Activation::Gelu => {
                let arguments = [("x", Input::Value(x)), ("mode", Input::Text("EXACT"))];
                return self.push("gelu", name, &x.shape, &arguments);
            }
            Activation::Hardsigmoid => {
                let arguments = [
                    ("x", Input::Value(x)),
                    ("alpha", Input::Float(1.0 / 6.0)),
                    ("beta", Input::Float(0.5)),
                ];
                return self.push("sigmoid_hard", name, &x.shape, &arguments);
            }
            Activation::Hardswish => {
                let gate = format!("{name}_gate");
                let gate = self.activation(&gate, Activation::Hardsigmoid, x)?;
                let arguments = [("x", Input::Value(x)), ("y", Input::Value(&gate))];
                return self.push("mul", name, &x.shape, &arguments);
            }
        };
        self.push(operator, name, &x.shape, &[("x", Input::Value(x))])
    }

    fn clamped(&mut self, name: &str, x: Computed, clamp: Option<Clamp>) -> Result<Computed> {
        let kind = match clamp {
            None => return Ok(x),
            Some(Clamp::Relu) => Activation::Relu,
            Some(Clamp::Relu6) => Activation::Relu6,
        };
        self.activation(&format!("{name}_activation"), kind, &x)
    }

    /// A value in another precision.
    fn cast(&mut self, name: &str, x: &Computed, to: i32) -> Result<Computed> {
        if x.dtype == to {
            return Ok(x.clone());
        }
        let to_text = if to == dtype::FLOAT16 { "fp16" } else { "fp32" };
        let arguments = [("x", Input::Value(x)), ("dtype", Input::Text(to_text))];
        self.push_as("cast", name, (&x.shape, to), &arguments)
    }

    /// Adds an operator whose output has the type of its input.
    fn push(
        &mut self,
        operator: &str,
        name: &str,
        shape: &[usize],
        arguments: &[(&str, Input<'_>)],
    ) -> Result<Computed> {
        let dtype = arguments.iter().find_map(|(_, argument)| match argument {
            Input::Value(value) => Some(value.dtype),
            Input::Values(values) => values.first().map(|value| value.dtype),
            _ => None,
        });
        let dtype = dtype.unwrap_or(dtype::FLOAT32);
        self.push_as(operator, name, (shape, dtype), arguments)
    }

    fn push_as(
        &mut self,
        operator: &str,
        name: &str,
        (shape, dtype): (&[usize], i32),
        arguments: &[(&str, Input<'_>)],
    ) -> Result<Computed> {
        let name = &*self.unique(name);
        let mut inputs = BTreeMap::new();
        for (key, argument) in arguments {
            let names = match argument {
                Input::Value(value) => vec![value.name.clone()],
                Input::Values(values) => values.iter().map(|value| value.name.clone()).collect(),
                other => vec![self.constant(format!("{name}_{key}"), other, dtype)?],
            };
            let bindings = names.into_iter().map(|name| Binding {
                bound: Some(Bound::Name(name)),
            });
            let bindings = bindings.collect();
            inputs.insert((*key).to_owned(), Argument { bindings });
        }
        let output = Named {
            name: name.into(),
            kind: Some(ValueType::tensor(dtype, shape)),
        };
        self.operations.push(Operation {
            kind: operator.into(),
            inputs,
            outputs: vec![output],
            attributes: BTreeMap::from([("name".into(), Value::text(name))]),
        });
        Ok(Computed {
            name: name.into(),
            shape: shape.to_vec(),
            dtype,
        })
    }
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::f32([values.len()], values.to_vec())
}

/// Pixels above, below, left and right.
fn sides(pixels: [Padding; 2]) -> Input<'static> {
    let sides = pixels.iter().flat_map(|sides| [sides.before, sides.after]);
    Input::Ints(sides.map(|side| side as i32).collect())
}
