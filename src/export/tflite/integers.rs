//! Operators on int8 values: TensorFlow Lite's quantization specification
//! (<https://ai.google.dev/edge/litert/models/quantization_spec>).

use super::file::{OUTPUT, Scales, TensorId};
use super::flatbuffer::{Field, Table};
use super::schema::{code, dtype, padding};
use super::writer::{Value, Writer, convolution_options, fused, options, window_options};
use crate::error::Result;
use crate::export::bias::with_integer_bias;
use crate::export::layout::{channels_last, feature_order, kernel_order, map, padded_shape};
use crate::export::lowering::{Clamp, Operator, Padded, Step};
use crate::graph::{
    Activation, Conv2d, Int8Weight, Padding, Pool2d, QuantizationParameters, Weight,
};

/// Probabilities are multiples of this.
const PROBABILITY: QuantizationParameters = QuantizationParameters {
    scale: 1.0 / 256.0,
    zero_point: 0,
};

/// Pixels are whole numbers.
const PIXEL: QuantizationParameters = QuantizationParameters {
    scale: 1.0,
    zero_point: 0,
};

impl Writer<'_> {
    pub(super) fn is_int8(&self) -> bool {
        let mut steps = self.lowered.steps.iter();
        steps.any(|step| step.qparams.is_some())
    }

    /// Whether a step has int8 inputs, weights and output.
    pub(super) fn computes_integers(&self, step: &Step<'_>) -> bool {
        let reads = |&input: &usize| self.values[input].qparams.is_some();
        let reads_integers = !step.inputs.is_empty() && step.inputs.iter().all(reads);
        match &step.operator {
            Operator::PixelsToFloat => self.is_int8(),
            Operator::Conv2d { weight, .. } | Operator::Linear { weight, .. } => {
                matches!(weight, Weight::Int8(_)) && reads_integers && step.qparams.is_some()
            }
            Operator::MaxPool2d(_)
            | Operator::AvgPool2d(_)
            | Operator::Slice(_)
            | Operator::ChannelShuffle { .. }
            | Operator::Flatten => reads_integers,
            Operator::Softmax => reads_integers,
            Operator::Input | Operator::Dropout(_) | Operator::LayerNorm { .. } => false,
            Operator::Activation(
                Activation::Hardsigmoid | Activation::Silu | Activation::Sigmoid | Activation::Gelu,
            ) => false,
            Operator::Affine { .. }
            | Operator::BatchNorm2d(_)
            | Operator::Activation(_)
            | Operator::GlobalAvgPool
            | Operator::Add { .. }
            | Operator::Mul
            | Operator::Concat => reads_integers && step.qparams.is_some(),
        }
    }

    /// Writes a step's operators on integers.
    pub(super) fn integer_step(&mut self, step: &Step<'_>) -> Result<Value> {
        let name = step.name.as_str();
        let shape = channels_last(&step.shape);
        let qparams = self.output_qparams(step);
        let output = |writer: &mut Self| writer.integers(name, &shape, qparams);
        let int8 = match &step.operator {
            Operator::PixelsToFloat => {
                let pixels = self.values[step.inputs[0]].float.unwrap_or_default();
                let output = output(self);
                self.file
                    .push((code::QUANTIZE, 1), &[pixels], output, options());
                output
            }
            Operator::Affine { scale, shift } => {
                self.integer_affine(step, scale, shift, qparams)?
            }
            Operator::BatchNorm2d(norm) => {
                let (scale, shift) = norm.affine();
                self.integer_affine(step, &scale, &shift, qparams)?
            }
            Operator::Conv2d {
                conv,
                weight: Weight::Int8(weight),
                bias,
                clamp,
            } => self.integer_convolution(step, conv, (weight, bias), *clamp)?,
            Operator::Linear {
                weight: Weight::Int8(weight),
                bias,
                clamp,
                features,
            } => {
                let x = self.int8(step.inputs[0]);
                let order: Vec<usize> = feature_order(weight.shape(), features).collect();
                let shape = weight.shape().to_vec();
                let layer = self.layer(step, (weight, bias), (shape, &order), 0)?;
                let output = output(self);
                let clamp = options().with(0, Field::I8(fused(*clamp)));
                self.file.push(
                    (code::FULLY_CONNECTED, 4),
                    &[x, layer[0], layer[1]],
                    output,
                    clamp,
                );
                output
            }
            Operator::MaxPool2d(window) => self.integer_pool(step, code::MAX_POOL_2D, window),
            Operator::AvgPool2d(window) => self.integer_pool(step, code::AVERAGE_POOL_2D, window),
            Operator::GlobalAvgPool => {
                let x = self.int8(step.inputs[0]);
                let axes = self.file.ints(format!("{name}.axes"), &[2], &[1, 2]);
                let output = output(self);
                let kept = options().with(0, Field::Bool(true));
                self.file.push((code::MEAN, 2), &[x, axes], output, kept);
                output
            }
            Operator::Add { clamp } => {
                let clamp = options().with(0, Field::I8(fused(*clamp)));
                self.elementwise((code::ADD, 2), step, clamp)
            }
            Operator::Mul => self.elementwise((code::MUL, 2), step, options()),
            Operator::Activation(kind) => self.elementwise(activation_code(*kind), step, options()),
            Operator::Concat => {
                let all: Vec<TensorId> = step
                    .inputs
                    .iter()
                    .map(|&at| self.requantized(at, qparams))
                    .collect();
                let output = output(self);
                let last = options().with(0, Field::I32(3));
                self.file.push((code::CONCATENATION, 2), &all, output, last);
                output
            }
            Operator::Slice(channels) => {
                let x = self.int8(step.inputs[0]);
                self.slice(step, x, channels.start, Some(scales(qparams)))
            }
            Operator::ChannelShuffle { groups } => {
                let x = self.int8(step.inputs[0]);
                self.channel_shuffle(step, x, *groups, Some(scales(qparams)))
            }
            Operator::Flatten => {
                let x = self.int8(step.inputs[0]);
                self.reshape(name, x, &shape, |file| {
                    file.tensor(name, &shape, dtype::INT8, Some(scales(qparams)))
                })
            }
            Operator::Softmax => {
                let x = self.int8(step.inputs[0]);
                let output = output(self);
                let beta = options().with(0, Field::F32(1.0));
                self.file.push((code::SOFTMAX, 2), &[x], output, beta);
                output
            }
            Operator::Input
            | Operator::Dropout(_)
            | Operator::LayerNorm { .. }
            | Operator::Conv2d { .. }
            | Operator::Linear { .. } => unreachable!("they are computed with floats"),
        };
        Ok(Value {
            float: None,
            int8: Some(int8),
            qparams: Some(qparams),
        })
    }

    /// How a step's integers are to be read. Some operators keep what their input has.
    fn output_qparams(&self, step: &Step<'_>) -> QuantizationParameters {
        let input = step
            .inputs
            .first()
            .and_then(|&input| self.values[input].qparams);
        let qparams = match &step.operator {
            Operator::PixelsToFloat => Some(PIXEL),
            Operator::Softmax => Some(PROBABILITY),
            Operator::MaxPool2d(_)
            | Operator::AvgPool2d(_)
            | Operator::Slice(_)
            | Operator::ChannelShuffle { .. }
            | Operator::Flatten => input,
            _ => step.qparams,
        };
        qparams.unwrap_or(PIXEL)
    }

    /// Normalisation as a depthwise convolution, so that it is rounded once.
    fn integer_affine(
        &mut self,
        step: &Step<'_>,
        scale: &[f32],
        shift: &[f32],
        qparams: QuantizationParameters,
    ) -> Result<TensorId> {
        let channels = scale.len();
        let sign = |scale: &f32| if *scale < 0.0 { -127 } else { 127 };
        let steps = scale
            .iter()
            .map(|scale| (scale.abs() / 127.0).max(f32::MIN_POSITIVE));
        let weight = Int8Weight::new(
            vec![channels, 1, 1, 1],
            scale.iter().map(sign).collect(),
            steps.collect(),
        )?;
        let mut each = Conv2d::new(channels, 1).groups(channels).bias();
        each.in_channels = channels;
        let x = self.int8(step.inputs[0]);
        let (shape, order) = kernel_order(weight.shape(), true);
        let order: Vec<usize> = order.collect();
        let layer = self.layer(step, (&weight, shift), (shape, &order), 3)?;
        let output = self.integers(&step.name, &channels_last(&step.shape), qparams);
        let (code, options) = convolution_options(&each, padding::VALID, None);
        self.file
            .push((code, 3), &[x, layer[0], layer[1]], output, options);
        Ok(output)
    }

    fn integer_convolution(
        &mut self,
        step: &Step<'_>,
        conv: &Conv2d,
        layer: (&Int8Weight, &[f32]),
        clamp: Option<Clamp>,
    ) -> Result<TensorId> {
        let [_, height, width] = map(self.lowered.input_shape(step));
        let (x, kind) = match conv.padded(height, width) {
            Padded::Same => (self.int8(step.inputs[0]), padding::SAME),
            Padded::Valid => (self.int8(step.inputs[0]), padding::VALID),
            Padded::Explicit(zeros) => (self.integer_padded(step, zeros, false), padding::VALID),
        };
        let (shape, order) = kernel_order(layer.0.shape(), conv.is_depthwise());
        let order: Vec<usize> = order.collect();
        let axis = if conv.is_depthwise() { 3 } else { 0 };
        let layer = self.layer(step, layer, (shape, &order), axis)?;
        let qparams = self.output_qparams(step);
        let output = self.integers(&step.name, &channels_last(&step.shape), qparams);
        let (code, options) = convolution_options(conv, kind, clamp);
        let is_grouped = code == code::CONV_2D && conv.groups > 1;
        let version = if is_grouped { 6 } else { 3 };
        self.file
            .push((code, version), &[x, layer[0], layer[1]], output, options);
        Ok(output)
    }

    /// The constants of a layer: int8 weight, its values in `order` of PyTorch's layout, and int32 bias.
    fn layer(
        &mut self,
        step: &Step<'_>,
        (weight, bias): (&Int8Weight, &[f32]),
        (shape, order): (Vec<usize>, &[usize]),
        axis: i32,
    ) -> Result<[TensorId; 2]> {
        let input = self.values[step.inputs[0]].qparams.unwrap_or(PIXEL);
        let (weight, bias) = with_integer_bias(weight, bias, input.scale)?;
        let steps = weight.scales().iter().map(|scale| scale * input.scale);
        let steps = Scales::along(0, steps.collect());
        let bytes = order.iter().map(|&at| weight.values()[at] as u8).collect();
        let scales = Scales::along(axis, weight.scales().to_vec());
        let name = format!("{}.weight", step.name);
        let weight = self
            .file
            .constant(name, &shape, dtype::INT8, bytes, Some(scales));
        let bytes = bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let name = format!("{}.bias", step.name);
        let bias = self
            .file
            .constant(name, &[bias.len()], dtype::INT32, bytes, Some(steps));
        Ok([weight, bias])
    }

    fn integer_pool(&mut self, step: &Step<'_>, code: i32, window: &Pool2d) -> TensorId {
        let is_maximum = code == code::MAX_POOL_2D;
        let around = self.around(step, window);
        let x = match around == [Padding::both(0); 2] {
            true => self.int8(step.inputs[0]),
            false => self.integer_padded(step, around, is_maximum),
        };
        let qparams = self.output_qparams(step);
        let output = self.integers(&step.name, &channels_last(&step.shape), qparams);
        let options = window_options([window.stride; 2], [window.kernel; 2]);
        self.file.push((code, 2), &[x], output, options);
        output
    }

    /// A map with more pixels around it: zeros, or the lowest integers.
    fn integer_padded(
        &mut self,
        step: &Step<'_>,
        pixels: [Padding; 2],
        with_lowest: bool,
    ) -> TensorId {
        let qparams = self.values[step.inputs[0]].qparams.unwrap_or(PIXEL);
        let x = self.int8(step.inputs[0]);
        let shape = padded_shape(map(self.lowered.input_shape(step)), pixels);
        let shape = channels_last(&shape);
        let sides = self.sides(step, pixels);
        let output = self.integers(&format!("{}.padded", step.name), &shape, qparams);
        match with_lowest {
            false => self
                .file
                .push((code::PAD, 2), &[x, sides], output, options()),
            true => {
                let name = format!("{}.low", step.name);
                let lowest = i8::MIN.to_le_bytes().to_vec();
                let low =
                    self.file
                        .constant(name, &[1], dtype::INT8, lowest, Some(scales(qparams)));
                self.file
                    .push((code::PADV2, 2), &[x, sides, low], output, options());
            }
        }
        output
    }

    fn elementwise(
        &mut self,
        code: (i32, i32),
        step: &Step<'_>,
        options: Table<'static>,
    ) -> TensorId {
        let all: Vec<TensorId> = step.inputs.iter().map(|&at| self.int8(at)).collect();
        let qparams = self.output_qparams(step);
        let output = self.integers(&step.name, &channels_last(&step.shape), qparams);
        self.file.push(code, &all, output, options);
        output
    }

    /// A value in other steps.
    fn requantized(&mut self, at: usize, qparams: QuantizationParameters) -> TensorId {
        let x = self.int8(at);
        if self.values[at].qparams == Some(qparams) {
            return x;
        }
        let step = &self.lowered.steps[at];
        let name = format!("{}.requantized", step.name);
        let output = self.integers(&name, &channels_last(&step.shape), qparams);
        self.file.push((code::QUANTIZE, 1), &[x], output, options());
        output
    }

    /// The integers of a value that has quantization parameters.
    fn int8(&mut self, at: usize) -> TensorId {
        let Value {
            float,
            int8,
            qparams,
        } = self.values[at];
        if let Some(known) = int8 {
            return known;
        }
        let step = &self.lowered.steps[at];
        let name = format!("{}.quantized", step.name);
        let output = self.integers(&name, &channels_last(&step.shape), qparams.unwrap_or(PIXEL));
        self.file.push(
            (code::QUANTIZE, 1),
            &[float.unwrap_or_default()],
            output,
            options(),
        );
        self.values[at].int8 = Some(output);
        // Whoever reads floats reads what was rounded.
        self.values[at].float = None;
        output
    }

    /// The floats of a value, rounded if it has quantization parameters.
    pub(super) fn float(&mut self, at: usize) -> TensorId {
        if self.values[at].qparams.is_some() && self.values[at].int8.is_none() {
            self.int8(at);
        }
        let Value { float, int8, .. } = self.values[at];
        if let (None, Some(int8)) = (float, int8) {
            let step = &self.lowered.steps[at];
            let name = format!("{}.dequantized", step.name);
            let shape = channels_last(&step.shape);
            let output = self.file.tensor(name, &shape, dtype::FLOAT32, None);
            self.file
                .push((code::DEQUANTIZE, 2), &[int8], output, options());
            self.values[at].float = Some(output);
            return output;
        }
        float.unwrap_or_default()
    }

    /// The network's answer: of an int8 network bytes, 256 times the probabilities.
    pub(super) fn output(&mut self, at: usize) -> TensorId {
        let Value { float, int8, .. } = self.values[at];
        if !self.is_int8() {
            return float.unwrap_or_default();
        }
        let shape = channels_last(&self.lowered.steps[at].shape);
        let scales = Scales::one(PROBABILITY.scale, 0);
        let output = self.file.tensor(OUTPUT, &shape, dtype::UINT8, Some(scales));
        let last = int8.or(float).unwrap_or_default();
        self.file
            .push((code::QUANTIZE, 1), &[last], output, options());
        output
    }

    fn integers(
        &mut self,
        name: &str,
        shape: &[usize],
        qparams: QuantizationParameters,
    ) -> TensorId {
        self.file
            .tensor(name, shape, dtype::INT8, Some(scales(qparams)))
    }
}

/// The same steps for integers from -128.
fn scales(qparams: QuantizationParameters) -> Scales {
    Scales::one(qparams.scale, i64::from(qparams.zero_point) - 128)
}

fn activation_code(kind: Activation) -> (i32, i32) {
    match kind {
        Activation::Relu => (code::RELU, 2),
        Activation::Relu6 => (code::RELU6, 2),
        Activation::Sigmoid | Activation::Silu | Activation::Hardsigmoid => (code::LOGISTIC, 2),
        Activation::Gelu => (code::GELU, 2),
        Activation::Hardswish => (code::HARD_SWISH, 1),
    }
}
