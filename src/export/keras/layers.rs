//! From plain operators to the layers of Keras, channels last.

use serde_json::{Map, Value, json};

use super::hdf5::{Object, Writer};
use super::order::order;
use super::{INPUT, OUTPUT};
use crate::error::{Error, Result};
use crate::export::Input;
use crate::export::layout::{channels_last, kernel_first, map, padded_shape, real, transposed};
use crate::export::lowering::{Clamp, Lowered, Operator, Padded, Running, Step};
use crate::graph::{Activation, Conv2d, Padding, Pool2d};
use crate::weights::Tensor;

/// A network as layers, and the file that their weights are in already.
pub(super) struct Layers {
    pub(super) layers: Vec<Layer>,
    pub(super) weights: Writer,
}

/// A layer that is called once.
pub(super) struct Layer {
    pub(super) class: &'static str,
    pub(super) name: String,
    /// All but the name and the type.
    pub(super) config: Map<String, Value>,
    /// Type of its output.
    pub(super) dtype: &'static str,
    /// Positions of earlier layers.
    pub(super) inputs: Vec<usize>,
    /// Of the output for one image, channels last.
    pub(super) shape: Vec<usize>,
    /// By their names in Keras, in its order.
    pub(super) weights: Vec<(&'static str, Object)>,
}

type Weights = Vec<(&'static str, Object)>;

impl Layers {
    /// The layers of a network, which has about as many bytes of parameters, in Keras' order.
    ///
    /// # Errors
    /// [`Error::Usage`] for an operator that Keras has no layer for.
    pub(super) fn new(lowered: &Lowered<'_>, input: Input, bytes: usize) -> Result<Self> {
        let mut builder = Builder {
            lowered,
            input,
            layers: Vec::new(),
            weights: Writer::new(bytes),
            values: Vec::new(),
        };
        for step in &lowered.steps {
            let value = builder.step(step)?;
            builder.values.push(value);
        }
        if let Some(last) = builder.layers.last_mut() {
            last.name = OUTPUT.into();
        }
        Ok(Self {
            layers: in_order(builder.layers),
            weights: builder.weights,
        })
    }
}

/// Layers as Keras counts them, since it finds weights by that.
fn in_order(mut layers: Vec<Layer>) -> Vec<Layer> {
    let inputs: Vec<Vec<usize>> = layers.iter().map(|layer| layer.inputs.clone()).collect();
    let order = order(&inputs);
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    for layer in &mut layers {
        layer
            .inputs
            .iter_mut()
            .for_each(|input| *input = place[*input]);
    }
    let mut placed: Vec<(usize, Layer)> = place.into_iter().zip(layers).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, layer)| layer).collect()
}

struct Builder<'a> {
    lowered: &'a Lowered<'a>,
    input: Input,
    layers: Vec<Layer>,
    weights: Writer,
    /// The layer that computes each step's value.
    values: Vec<usize>,
}

impl Builder<'_> {
    /// Adds a step's layers; gives the one that computes its value.
    fn step(&mut self, step: &Step<'_>) -> Result<usize> {
        let name = step.name.as_str();
        let inputs: Vec<usize> = step.inputs.iter().map(|&at| self.values[at]).collect();
        let last = json!({"data_format": "channels_last"});
        Ok(match &step.operator {
            Operator::Input => {
                let dtype = match self.input {
                    Input::Float => "float32",
                    Input::Image => "uint8",
                };
                let at = self.push("InputLayer", INPUT, &[], &step.shape, json!({}), vec![]);
                self.layers[at].dtype = dtype;
                at
            }
            Operator::PixelsToFloat if !self.is_normalised() => {
                // Layers with weights take no integers.
                let same = json!({"scale": 1.0, "offset": 0.0});
                self.layer("Rescaling", step, same)
            }
            Operator::PixelsToFloat | Operator::Dropout(0.0) => inputs[0],
            Operator::Affine { scale, shift } => self.normalization(step, scale, shift),
            Operator::BatchNorm2d(norm) => self.batch_norm(step, norm)?,
            Operator::LayerNorm { norm, weight, bias } => {
                let config = json!({
                    "axis": -1, "epsilon": norm.eps, "center": true, "scale": true,
                });
                let weights = vec![
                    ("gamma", self.vector(weight)?),
                    ("beta", self.vector(bias)?),
                ];
                self.push(
                    "LayerNormalization",
                    name,
                    &inputs,
                    &step.shape,
                    config,
                    weights,
                )
            }
            Operator::Dropout(rate) => self.layer("Dropout", step, json!({"rate": rate})),
            Operator::Conv2d {
                conv,
                weight,
                bias,
                clamp,
            } => {
                let value = self.convolution(step, conv, &real(weight), bias, *clamp)?;
                self.clamped(step, value, *clamp)
            }
            Operator::Linear {
                weight,
                bias,
                clamp,
                features,
            } => {
                let weights = vec![
                    (
                        "kernel",
                        self.weights.array(&transposed(&real(weight), features))?,
                    ),
                    ("bias", self.vector(bias)?),
                ];
                let config = json!({
                    "units": bias.len(), "activation": "linear", "use_bias": true,
                });
                let own = layer_name(step, *clamp);
                let value = self.push("Dense", &own, &inputs, &step.shape, config, weights);
                self.clamped(step, value, *clamp)
            }
            Operator::Activation(kind) => self.activation(step, *kind),
            Operator::MaxPool2d(window) => {
                let around = self.around(step, window);
                if around != [Padding::both(0); 2] && !self.is_never_negative(step.inputs[0]) {
                    let message = format!(
                        "Keras has no padding for the MaxPool2d {name} but zeros, which may be larger \
                         than what it reads: choose another --format"
                    );
                    return Err(Error::Usage(message).into());
                }
                self.pool("MaxPooling2D", step, window)
            }
            Operator::AvgPool2d(window) => self.pool("AveragePooling2D", step, window),
            Operator::GlobalAvgPool => {
                let config = json!({"data_format": "channels_last", "keepdims": true});
                self.layer("GlobalAveragePooling2D", step, config)
            }
            Operator::Add { clamp } => {
                let own = layer_name(step, *clamp);
                let value = self.push("Add", &own, &inputs, &step.shape, json!({}), vec![]);
                self.clamped(step, value, *clamp)
            }
            Operator::Mul => self.layer("Multiply", step, json!({})),
            Operator::Concat => self.layer("Concatenate", step, json!({"axis": -1})),
            // Of a map with the channels last, cropped as if the columns were.
            Operator::Slice(channels) => {
                let [all, ..] = map(self.lowered.input_shape(step));
                let cropped = [[0, 0], [channels.start, all - channels.end]];
                let config = json!({"cropping": cropped, "data_format": "channels_first"});
                self.layer("Cropping2D", step, config)
            }
            Operator::ChannelShuffle { groups } => self.channel_shuffle(step, *groups),
            Operator::Flatten => self.layer("Flatten", step, last),
            Operator::Softmax => self.layer("Softmax", step, json!({"axis": -1})),
        })
    }

    /// Whether the step that is being added is read by a layer of normalisation, which takes integers.
    fn is_normalised(&self) -> bool {
        let own = self.values.len();
        let mut readers = self.lowered.steps.iter();
        readers.any(|step| {
            step.inputs.contains(&own) && matches!(step.operator, Operator::Affine { .. })
        })
    }

    /// `(x - mean) / sqrt(variance)`.
    fn normalization(&mut self, step: &Step<'_>, scale: &[f32], shift: &[f32]) -> usize {
        let ends = scale.iter().zip(shift);
        let ends = ends.map(|(&scale, &shift)| (f64::from(scale), f64::from(shift)));
        let mean: Vec<f64> = ends.clone().map(|(scale, shift)| -shift / scale).collect();
        let variance: Vec<f64> = ends.map(|(scale, _)| 1.0 / (scale * scale)).collect();
        let config = json!({"axis": [-1], "invert": false, "mean": mean, "variance": variance});
        self.layer("Normalization", step, config)
    }

    fn batch_norm(&mut self, step: &Step<'_>, norm: &Running<'_>) -> Result<usize> {
        let config = json!({
            "axis": -1, "momentum": 1.0 - norm.norm.momentum, "epsilon": norm.norm.eps,
            "center": true, "scale": true,
        });
        let weights = vec![
            ("gamma", self.vector(norm.weight)?),
            ("beta", self.vector(norm.bias)?),
            ("moving_mean", self.vector(norm.mean)?),
            ("moving_variance", self.vector(norm.variance)?),
        ];
        let inputs = [self.values[step.inputs[0]]];
        let class = "BatchNormalization";
        Ok(self.push(class, &step.name, &inputs, &step.shape, config, weights))
    }

    fn convolution(
        &mut self,
        step: &Step<'_>,
        conv: &Conv2d,
        weight: &Tensor,
        bias: &[f32],
        clamp: Option<Clamp>,
    ) -> Result<usize> {
        let [_, height, width] = map(self.lowered.input_shape(step));
        let mut x = self.values[step.inputs[0]];
        let padding = match conv.padded(height, width) {
            Padded::Valid => "valid",
            Padded::Same => "same",
            Padded::Explicit(zeros) => {
                x = self.padded(step, x, zeros);
                "valid"
            }
        };
        let is_depthwise = conv.is_depthwise();
        let (class, kernel, own) = match is_depthwise {
            true => (
                "DepthwiseConv2D",
                "depthwise_kernel",
                json!({"depth_multiplier": 1}),
            ),
            false => {
                let own = json!({"filters": conv.out_channels, "groups": conv.groups});
                ("Conv2D", "kernel", own)
            }
        };
        let mut config = json!({
            "kernel_size": conv.kernel, "strides": [conv.stride, conv.stride],
            "padding": padding, "data_format": "channels_last",
            "dilation_rate": [conv.dilation, conv.dilation], "activation": "linear",
            "use_bias": conv.bias,
        });
        if let (Value::Object(config), Value::Object(own)) = (&mut config, own) {
            config.extend(own);
        }
        let weight = kernel_first(weight, is_depthwise);
        let mut weights = vec![(kernel, self.weights.array(&weight)?)];
        if conv.bias {
            weights.push(("bias", self.vector(bias)?));
        }
        let name = layer_name(step, clamp);
        Ok(self.push(class, &name, &[x], &step.shape, config, weights))
    }

    /// A map with zeros around it.
    fn padded(&mut self, step: &Step<'_>, x: usize, zeros: [Padding; 2]) -> usize {
        let shape = padded_shape(map(self.lowered.input_shape(step)), zeros);
        let sides = zeros.map(|sides| [sides.before, sides.after]);
        let config = json!({"padding": sides, "data_format": "channels_last"});
        let name = format!("{}_pad", step.name);
        self.push("ZeroPadding2D", &name, &[x], &shape, config, vec![])
    }

    fn pool(&mut self, class: &'static str, step: &Step<'_>, window: &Pool2d) -> usize {
        let mut x = self.values[step.inputs[0]];
        let around = self.around(step, window);
        if around != [Padding::both(0); 2] {
            x = self.padded(step, x, around);
        }
        let config = json!({
            "pool_size": [window.kernel, window.kernel], "strides": [window.stride, window.stride],
            "padding": "valid", "data_format": "channels_last",
        });
        self.push(class, &step.name, &[x], &step.shape, config, vec![])
    }

    /// The pixels around a pool's input.
    fn around(&self, step: &Step<'_>, window: &Pool2d) -> [Padding; 2] {
        let [_, height, width] = map(self.lowered.input_shape(step));
        [height, width].map(|size| window.around(size))
    }

    /// Whether a step gives no number below 0.
    fn is_never_negative(&self, at: usize) -> bool {
        let step = &self.lowered.steps[at];
        match &step.operator {
            Operator::Conv2d { clamp, .. } | Operator::Add { clamp } => clamp.is_some(),
            Operator::Activation(kind) => matches!(
                kind,
                Activation::Relu
                    | Activation::Relu6
                    | Activation::Sigmoid
                    | Activation::Hardsigmoid
            ),
            Operator::MaxPool2d(_) | Operator::Concat => step
                .inputs
                .iter()
                .all(|&input| self.is_never_negative(input)),
            _ => false,
        }
    }

    fn channel_shuffle(&mut self, step: &Step<'_>, groups: usize) -> usize {
        let x = self.values[step.inputs[0]];
        let [channels, height, width] = map(&step.shape);
        let each = channels / groups;
        let [apart, swapped] = ["apart", "swapped"].map(|part| format!("{}_{part}", step.name));
        let shape = |sides: &[usize]| json!({"target_shape": sides});
        let rows = [height, width, groups, each];
        let x = self.push("Reshape", &apart, &[x], &rows, shape(&rows), vec![]);
        let order = json!({"dims": [1, 2, 4, 3]});
        let columns = [height, width, each, groups];
        let x = self.push("Permute", &swapped, &[x], &columns, order, vec![]);
        let all = shape(&[height, width, channels]);
        self.push("Reshape", &step.name, &[x], &step.shape, all, vec![])
    }

    /// Activations by layers that Keras 2 and 3 compute alike.
    fn activation(&mut self, step: &Step<'_>, kind: Activation) -> usize {
        let (name, shape) = (step.name.as_str(), &step.shape[..]);
        let x = self.values[step.inputs[0]];
        let part = |part: &str| format!("{name}_{part}");
        let sigmoid = || json!({"activation": "sigmoid"});
        match kind {
            Activation::Relu => self.push("ReLU", name, &[x], shape, relu(Clamp::Relu), vec![]),
            Activation::Relu6 => self.push("ReLU", name, &[x], shape, relu(Clamp::Relu6), vec![]),
            Activation::Sigmoid => self.push("Activation", name, &[x], shape, sigmoid(), vec![]),
            Activation::Gelu => {
                let gelu = json!({"activation": "gelu"});
                self.push("Activation", name, &[x], shape, gelu, vec![])
            }
            Activation::Hardsigmoid => self.hard_sigmoid(name, x, shape),
            Activation::Hardswish => {
                let gate = self.hard_sigmoid(&part("gate"), x, shape);
                self.push("Multiply", name, &[x, gate], shape, json!({}), vec![])
            }
            Activation::Silu => {
                let gate = part("gate");
                let gate = self.push("Activation", &gate, &[x], shape, sigmoid(), vec![]);
                self.push("Multiply", name, &[x, gate], shape, json!({}), vec![])
            }
        }
    }

    /// `relu6(x + 3) / 6`: what is called so has another slope in Keras 2.
    fn hard_sigmoid(&mut self, name: &str, x: usize, shape: &[usize]) -> usize {
        let part = |part: &str| format!("{name}_{part}");
        let (shift, scale) = (
            json!({"scale": 1.0, "offset": 3.0}),
            json!({"scale": 1.0 / 6.0, "offset": 0.0}),
        );
        let x = self.push("Rescaling", &part("sum"), &[x], shape, shift, vec![]);
        let clamp = relu(Clamp::Relu6);
        let x = self.push("ReLU", &part("relu6"), &[x], shape, clamp, vec![]);
        self.push("Rescaling", name, &[x], shape, scale, vec![])
    }

    fn clamped(&mut self, step: &Step<'_>, x: usize, clamp: Option<Clamp>) -> usize {
        match clamp {
            None => x,
            Some(clamp) => self.push("ReLU", &step.name, &[x], &step.shape, relu(clamp), vec![]),
        }
    }

    /// A layer without weights.
    fn layer(&mut self, class: &'static str, step: &Step<'_>, config: Value) -> usize {
        let inputs: Vec<usize> = step.inputs.iter().map(|&at| self.values[at]).collect();
        self.push(class, &step.name, &inputs, &step.shape, config, vec![])
    }

    /// Adds a layer whose output has this shape for one image, channels first.
    fn push(
        &mut self,
        class: &'static str,
        name: &str,
        inputs: &[usize],
        shape: &[usize],
        config: Value,
        weights: Weights,
    ) -> usize {
        let Value::Object(config) = config else {
            unreachable!("a configuration is an object");
        };
        // A name of Keras 2 starts with a letter or a digit.
        let mut own = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        own.drain(..own.len() - own.trim_start_matches('_').len());
        while self.layers.iter().any(|layer| layer.name == own) {
            own.push('_');
        }
        self.layers.push(Layer {
            class,
            name: own,
            config,
            dtype: "float32",
            inputs: inputs.to_vec(),
            shape: channels_last(shape).split_off(1),
            weights,
        });
        self.layers.len() - 1
    }

    fn vector(&mut self, values: &[f32]) -> Result<Object> {
        let tensor = Tensor::f32([values.len()], values.to_vec());
        self.weights.array(&tensor)
    }
}

/// The name of a layer that an activation may follow, which then has the name of the step.
fn layer_name(step: &Step<'_>, clamp: Option<Clamp>) -> String {
    match clamp {
        None => step.name.clone(),
        Some(_) => format!("{}_linear", step.name),
    }
}

fn relu(clamp: Clamp) -> Value {
    let max_value = match clamp {
        Clamp::Relu => None,
        Clamp::Relu6 => Some(6.0),
    };
    json!({"max_value": max_value, "negative_slope": 0.0, "threshold": 0.0})
}
