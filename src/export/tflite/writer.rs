//! From plain operators to TensorFlow Lite's, channels last.

use half::f16;

use super::file::{File, INPUT, OUTPUT, Scales, TensorId};
use super::flatbuffer::{Field, Table};
use super::schema::{activation, code, convolution, depthwise, dtype, padding, pool};
use crate::error::Result;
use crate::export::layout::{
    channels_last, check_half, features_last, kernel_order, map, ordered, padded_shape, real,
};
use crate::export::lowering::{Clamp, Lowered, Operator, Padded, Step};
use crate::graph::{Activation, Conv2d, Padding, Pool2d, QuantizationParameters};
use crate::weights::Tensor;

/// Walks the steps of a network. Each value is a tensor of floats, of integers, or both.
pub(super) struct Writer<'a> {
    pub(super) lowered: &'a Lowered<'a>,
    /// Whether constants of layers are stored in half precision.
    pub(super) half: bool,
    pub(super) file: File<'static>,
    pub(super) values: Vec<Value>,
}

/// The tensors of a step's value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Value {
    pub(super) float: Option<TensorId>,
    pub(super) int8: Option<TensorId>,
    pub(super) qparams: Option<QuantizationParameters>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(lowered: &'a Lowered<'a>, half: bool) -> Self {
        Self {
            lowered,
            half,
            file: File::new(),
            values: Vec::new(),
        }
    }

    /// Writes all steps; gives the file with its input and its output.
    pub(super) fn write(mut self) -> Result<(File<'static>, TensorId, TensorId)> {
        let lowered = self.lowered;
        for step in &lowered.steps {
            let value = match self.computes_integers(step) {
                true => self.integer_step(step)?,
                false => self.float_step(step)?,
            };
            self.values.push(value);
        }
        let last = self.values.len() - 1;
        let output = self.output(last);
        Ok((self.file, 0, output))
    }

    /// Writes a step's operators on floats.
    fn float_step(&mut self, step: &Step<'_>) -> Result<Value> {
        let name = step.name.as_str();
        let shape = channels_last(&step.shape);
        let float = match &step.operator {
            Operator::Input => return Ok(self.input(step)),
            // The input's floats are pixels already.
            Operator::PixelsToFloat => return Ok(self.values[step.inputs[0]]),
            Operator::Affine { scale, shift } => self.affine(step, scale, shift),
            Operator::BatchNorm2d(norm) => {
                let (scale, shift) = norm.affine();
                self.affine(step, &scale, &shift)
            }
            Operator::LayerNorm { norm, weight, bias } => {
                self.layer_norm(step, norm.eps as f32, [weight, bias])
            }
            Operator::Dropout(_) => return Ok(self.values[step.inputs[0]]),
            Operator::Conv2d {
                conv,
                weight,
                bias,
                clamp,
            } => self.convolution(step, conv, &real(weight), bias, *clamp)?,
            Operator::Linear {
                weight,
                bias,
                clamp,
                features,
            } => {
                let x = self.float(step.inputs[0]);
                let weight = features_last(&real(weight), features);
                let weight = self.weights(&format!("{name}.weight"), &weight.shape, &weight)?;
                let bias = Tensor::f32([bias.len()], bias.clone());
                let bias = self.weights(&format!("{name}.bias"), &bias.shape, &bias)?;
                let options = options().with(0, Field::I8(fused(*clamp)));
                self.push(
                    (code::FULLY_CONNECTED, 1),
                    name,
                    &[x, weight, bias],
                    &shape,
                    options,
                )
            }
            Operator::Activation(kind) => self.activation(step, *kind),
            Operator::MaxPool2d(window) => self.pool(step, code::MAX_POOL_2D, window, f32::MIN),
            Operator::AvgPool2d(window) => self.pool(step, code::AVERAGE_POOL_2D, window, 0.0),
            Operator::GlobalAvgPool => {
                let x = self.float(step.inputs[0]);
                let [_, height, width] = map(self.lowered.input_shape(step));
                let options = window_options([1, 1], [width, height]);
                self.push((code::AVERAGE_POOL_2D, 1), name, &[x], &shape, options)
            }
            Operator::Add { clamp } => {
                let all = self.floats(step);
                let options = options().with(0, Field::I8(fused(*clamp)));
                self.push((code::ADD, 1), name, &all, &shape, options)
            }
            Operator::Mul => {
                let all = self.floats(step);
                self.push((code::MUL, 1), name, &all, &shape, options())
            }
            Operator::Concat => {
                let all = self.floats(step);
                let options = options().with(0, Field::I32(3));
                self.push((code::CONCATENATION, 1), name, &all, &shape, options)
            }
            Operator::Slice(channels) => {
                let x = self.float(step.inputs[0]);
                self.slice(step, x, channels.start, None)
            }
            Operator::ChannelShuffle { groups } => {
                let x = self.float(step.inputs[0]);
                self.channel_shuffle(step, x, *groups, None)
            }
            Operator::Flatten => {
                let x = self.float(step.inputs[0]);
                self.reshape(name, x, &shape, |file| {
                    file.tensor(name, &shape, dtype::FLOAT32, None)
                })
            }
            Operator::Softmax => {
                let x = self.float(step.inputs[0]);
                let options = options().with(0, Field::F32(1.0));
                self.push((code::SOFTMAX, 1), OUTPUT, &[x], &shape, options)
            }
        };
        Ok(Value {
            float: Some(float),
            int8: None,
            qparams: step.qparams,
        })
    }

    /// The images: bytes for a network of integers that normalises them, else floats.
    fn input(&mut self, step: &Step<'_>) -> Value {
        let shape = channels_last(&step.shape);
        let is_read_as_bytes = self.is_int8() && step.qparams.is_none();
        let (dtype, scales) = match is_read_as_bytes {
            true => (dtype::UINT8, Some(Scales::one(1.0, 0))),
            false => (dtype::FLOAT32, None),
        };
        Value {
            float: Some(self.file.tensor(INPUT, &shape, dtype, scales)),
            int8: None,
            qparams: step.qparams,
        }
    }

    fn affine(&mut self, step: &Step<'_>, scale: &[f32], shift: &[f32]) -> TensorId {
        let x = self.float(step.inputs[0]);
        self.affine_of(step, x, scale, shift)
    }

    pub(super) fn affine_of(
        &mut self,
        step: &Step<'_>,
        mut x: TensorId,
        scale: &[f32],
        shift: &[f32],
    ) -> TensorId {
        let (name, shape) = (step.name.as_str(), channels_last(&step.shape));
        if scale.iter().any(|&scale| scale != 1.0) {
            let factor = self
                .file
                .floats(format!("{name}.scale"), &[scale.len()], scale);
            let scaled = format!("{name}.scaled");
            x = self.push((code::MUL, 1), &scaled, &[x, factor], &shape, options());
        }
        let shift = self
            .file
            .floats(format!("{name}.shift"), &[shift.len()], shift);
        self.push((code::ADD, 1), name, &[x, shift], &shape, options())
    }

    fn convolution(
        &mut self,
        step: &Step<'_>,
        conv: &Conv2d,
        weight: &Tensor,
        bias: &[f32],
        clamp: Option<Clamp>,
    ) -> Result<TensorId> {
        let name = step.name.as_str();
        let [_, height, width] = map(self.lowered.input_shape(step));
        let x = self.float(step.inputs[0]);
        let (x, kind) = match conv.padded(height, width) {
            Padded::Same => (x, padding::SAME),
            Padded::Valid => (x, padding::VALID),
            Padded::Explicit(zeros) => {
                let x = self.padded(step, x, zeros, None);
                (x, padding::VALID)
            }
        };
        let (shape, order) = kernel_order(&weight.shape, conv.is_depthwise());
        let weight = ordered(weight, shape, order);
        let weight = self.weights(&format!("{name}.weight"), &weight.shape, &weight)?;
        let bias = Tensor::f32([bias.len()], bias.to_vec());
        let bias = self.weights(&format!("{name}.bias"), &bias.shape, &bias)?;
        let (code, options) = convolution_options(conv, kind, clamp);
        let version = match () {
            () if code == code::CONV_2D && conv.groups > 1 => 6,
            () if code == code::DEPTHWISE_CONV_2D && conv.dilation > 1 => 2,
            () => 1,
        };
        let shape = channels_last(&step.shape);
        Ok(self.push((code, version), name, &[x, weight, bias], &shape, options))
    }

    fn pool(&mut self, step: &Step<'_>, code: i32, window: &Pool2d, value: f32) -> TensorId {
        let mut x = self.float(step.inputs[0]);
        let around = self.around(step, window);
        if around != [Padding::both(0); 2] {
            x = self.padded(step, x, around, Some(value));
        }
        let options = window_options([window.stride; 2], [window.kernel; 2]);
        let shape = channels_last(&step.shape);
        self.push((code, 1), &step.name, &[x], &shape, options)
    }

    fn activation(&mut self, step: &Step<'_>, kind: Activation) -> TensorId {
        let (name, shape) = (step.name.as_str(), channels_last(&step.shape));
        let x = self.float(step.inputs[0]);
        let part = |part: &str| format!("{name}.{part}");
        match kind {
            Activation::Relu => self.push((code::RELU, 1), name, &[x], &shape, options()),
            Activation::Relu6 => self.push((code::RELU6, 1), name, &[x], &shape, options()),
            Activation::Sigmoid => self.push((code::LOGISTIC, 1), name, &[x], &shape, options()),
            Activation::Hardswish => {
                self.push((code::HARD_SWISH, 1), name, &[x], &shape, options())
            }
            Activation::Gelu => self.push((code::GELU, 1), name, &[x], &shape, options()),
            Activation::Hardsigmoid => {
                let three = self.file.floats(part("three"), &[1], &[3.0]);
                let sixth = self.file.floats(part("sixth"), &[1], &[1.0 / 6.0]);
                let clamped = options().with(0, Field::I8(activation::RELU6));
                let sum = self.push((code::ADD, 1), &part("sum"), &[x, three], &shape, clamped);
                self.push((code::MUL, 1), name, &[sum, sixth], &shape, options())
            }
            Activation::Silu => {
                let gate = self.push((code::LOGISTIC, 1), &part("gate"), &[x], &shape, options());
                self.push((code::MUL, 1), name, &[x, gate], &shape, options())
            }
        }
    }

    /// A map with more pixels around it: zeros, or `value`.
    fn padded(
        &mut self,
        step: &Step<'_>,
        x: TensorId,
        pixels: [Padding; 2],
        value: Option<f32>,
    ) -> TensorId {
        let shape = padded_shape(map(self.lowered.input_shape(step)), pixels);
        let shape = channels_last(&shape);
        let sides = self.sides(step, pixels);
        let name = format!("{}.padded", step.name);
        match value.filter(|&value| value != 0.0) {
            None => self.push((code::PAD, 1), &name, &[x, sides], &shape, options()),
            Some(value) => {
                let value = self
                    .file
                    .floats(format!("{}.low", step.name), &[1], &[value]);
                self.push(
                    (code::PADV2, 1),
                    &name,
                    &[x, sides, value],
                    &shape,
                    options(),
                )
            }
        }
    }

    /// Pixels before and after along each axis.
    pub(super) fn sides(&mut self, step: &Step<'_>, pixels: [Padding; 2]) -> TensorId {
        let sides = pixels.iter().flat_map(|sides| [sides.before, sides.after]);
        let sides = sides.map(|side| side as i32);
        let sides: Vec<i32> = [0, 0].into_iter().chain(sides).chain([0, 0]).collect();
        self.file
            .ints(format!("{}.padding", step.name), &[4, 2], &sides)
    }

    /// The pixels around a pool's input.
    pub(super) fn around(&self, step: &Step<'_>, window: &Pool2d) -> [Padding; 2] {
        let [_, height, width] = map(self.lowered.input_shape(step));
        [height, width].map(|size| window.around(size))
    }

    pub(super) fn reshape(
        &mut self,
        name: &str,
        x: TensorId,
        shape: &[usize],
        output: impl FnOnce(&mut File<'static>) -> TensorId,
    ) -> TensorId {
        let sides: Vec<i32> = shape.iter().map(|&side| side as i32).collect();
        let to = self
            .file
            .ints(format!("{name}.shape"), &[sides.len()], &sides);
        let output = output(&mut self.file);
        let options = options().with(0, Field::Ints(sides));
        self.file
            .push((code::RESHAPE, 1), &[x, to], output, options);
        output
    }

    /// A constant of a layer, in the precision that was asked for.
    fn weights(&mut self, name: &str, shape: &[usize], tensor: &Tensor) -> Result<TensorId> {
        let values = tensor.as_f32().unwrap_or_default();
        if !self.half {
            return Ok(self.file.floats(name, shape, values));
        }
        check_half(name, values)?;
        let bytes = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
        let stored = format!("{name}.float16");
        let stored = self
            .file
            .constant(stored, shape, dtype::FLOAT16, bytes.collect(), None);
        Ok(self.push((code::DEQUANTIZE, 3), name, &[stored], shape, options()))
    }

    /// Adds an operator on floats.
    pub(super) fn push(
        &mut self,
        code: (i32, i32),
        name: &str,
        inputs: &[TensorId],
        shape: &[usize],
        options: Table<'static>,
    ) -> TensorId {
        let output = self.file.tensor(name, shape, dtype::FLOAT32, None);
        self.file.push(code, inputs, output, options);
        output
    }

    fn floats(&mut self, step: &Step<'_>) -> Vec<TensorId> {
        step.inputs.iter().map(|&input| self.float(input)).collect()
    }
}

pub(super) fn options() -> Table<'static> {
    Table::new()
}

pub(super) fn fused(clamp: Option<Clamp>) -> i8 {
    match clamp {
        None => activation::NONE,
        Some(Clamp::Relu) => activation::RELU,
        Some(Clamp::Relu6) => activation::RELU6,
    }
}

/// The operator of a convolution, and its options.
pub(super) fn convolution_options(
    conv: &Conv2d,
    padding: i8,
    clamp: Option<Clamp>,
) -> (i32, Table<'static>) {
    let both = |table: Table<'static>, fields: [u16; 2], value: usize| {
        let value = Field::I32(value as i32);
        table.with(fields[0], value.clone()).with(fields[1], value)
    };
    let table = options().with(convolution::PADDING, Field::I8(padding));
    let table = both(table, convolution::STRIDES, conv.stride);
    match conv.is_depthwise() {
        true => {
            let table = table
                .with(depthwise::MULTIPLIER, Field::I32(1))
                .with(depthwise::ACTIVATION, Field::I8(fused(clamp)));
            let table = both(table, depthwise::DILATIONS, conv.dilation);
            (code::DEPTHWISE_CONV_2D, table)
        }
        false => {
            let table = table.with(convolution::ACTIVATION, Field::I8(fused(clamp)));
            (
                code::CONV_2D,
                both(table, convolution::DILATIONS, conv.dilation),
            )
        }
    }
}

/// Strides and sides of a window, width first; without padding.
pub(super) fn window_options(strides: [usize; 2], window: [usize; 2]) -> Table<'static> {
    let fields = pool::STRIDES.into_iter().zip(strides);
    let fields = fields.chain(pool::WINDOW.into_iter().zip(window));
    let table = options()
        .with(pool::PADDING, Field::I8(padding::VALID))
        .with(pool::ACTIVATION, Field::I8(activation::NONE));
    fields.fold(table, |table, (field, value)| {
        table.with(field, Field::I32(value as i32))
    })
}
