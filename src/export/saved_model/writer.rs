//! From plain operators to TensorFlow's, channels last.

use std::collections::BTreeMap;
use std::f32::consts::FRAC_1_SQRT_2;

use super::proto::{Attribute, Constant, Graph, Ints, Node, Shape, Value, Versions, dtype};
use super::{INPUT, OUTPUT};
use crate::error::Result;
use crate::export::layout::{channels_last, kernel_first, map, real, transposed};
use crate::export::lowering::{Clamp, Lowered, Operator, Padded, Step};
use crate::graph::{Activation, Conv2d, Padding, Pool2d};
use crate::weights::Tensor;

/// Of TensorFlow 2.13 and later; older ones read it too.
const PRODUCER: i32 = 1087;

/// Walks the steps of a network. Each value is a node of TensorFlow's graph, by name.
pub(super) struct Writer<'a> {
    lowered: &'a Lowered<'a>,
    /// Type of the images.
    element: i32,
    nodes: Vec<Node>,
    values: Vec<String>,
}

type Attributes = Vec<(&'static str, Value)>;

impl<'a> Writer<'a> {
    pub(super) fn new(lowered: &'a Lowered<'a>, element: i32) -> Self {
        Self {
            lowered,
            element,
            nodes: Vec::new(),
            values: Vec::new(),
        }
    }

    pub(super) fn write(mut self) -> Result<Graph> {
        let lowered = self.lowered;
        for step in &lowered.steps {
            let value = self.step(step)?;
            self.values.push(value);
        }
        let last = self.values[self.values.len() - 1].clone();
        self.push("Identity", OUTPUT, &[&last], floats());
        Ok(Graph {
            nodes: self.nodes,
            versions: Some(Versions { producer: PRODUCER }),
        })
    }

    /// Writes a step's operators; gives the name of its value.
    fn step(&mut self, step: &Step<'_>) -> Result<String> {
        let name = &*node_name(&step.name);
        let inputs: Vec<String> = step
            .inputs
            .iter()
            .map(|&at| self.values[at].clone())
            .collect();
        let all: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(match &step.operator {
            Operator::Input => self.image(step),
            Operator::PixelsToFloat => {
                let attributes = vec![
                    ("SrcT", Value::Type(self.element)),
                    ("DstT", Value::Type(dtype::FLOAT)),
                    ("Truncate", Value::Bool(false)),
                ];
                self.push("Cast", name, &all, attributes)
            }
            Operator::Affine { scale, shift } => self.affine(name, all[0], scale, shift),
            Operator::BatchNorm2d(norm) => {
                let (scale, shift) = norm.affine();
                self.affine(name, all[0], &scale, &shift)
            }
            Operator::LayerNorm { norm, weight, bias } => {
                self.layer_norm(name, all[0], norm.eps as f32, [weight, bias])
            }
            Operator::Dropout(_) => inputs[0].clone(),
            Operator::Conv2d {
                conv,
                weight,
                bias,
                clamp,
            } => self.convolution(step, conv, &real(weight), bias, *clamp),
            Operator::Linear {
                weight,
                bias,
                clamp,
                features,
            } => {
                let weight = transposed(&real(weight), features);
                let weight = self.tensor(&format!("{name}/weight"), &weight);
                let mut attributes = floats();
                attributes.push(("transpose_a", Value::Bool(false)));
                attributes.push(("transpose_b", Value::Bool(false)));
                let sums = format!("{name}/sums");
                let sums = self.push("MatMul", &sums, &[all[0], &weight], attributes);
                self.biased(name, "BiasAdd", &sums, bias, *clamp)
            }
            Operator::Activation(kind) => self.activation(name, *kind, all[0]),
            Operator::MaxPool2d(window) => self.pool(step, "MaxPool", window, f32::NEG_INFINITY),
            Operator::AvgPool2d(window) => self.pool(step, "AvgPool", window, 0.0),
            Operator::GlobalAvgPool => self.mean(name, all[0], &[1, 2]),
            Operator::Add { clamp } => self.clamped(name, "AddV2", &all, *clamp),
            Operator::Mul => self.push("Mul", name, &all, floats()),
            Operator::Concat => {
                let axis = self.ints(&format!("{name}/axis"), &[], &[3]);
                let mut attributes = floats();
                attributes.push(("N", Value::Int(all.len() as i64)));
                attributes.push(("Tidx", Value::Type(dtype::INT32)));
                let inputs = [&all[..], &[&axis]].concat();
                self.push("ConcatV2", name, &inputs, attributes)
            }
            Operator::Slice(channels) => {
                let begin = [0, 0, 0, channels.start as i32];
                // All there are along the other axes.
                let size = [-1, -1, -1, channels.len() as i32];
                let begin = self.ints(&format!("{name}/begin"), &[4], &begin);
                let size = self.ints(&format!("{name}/size"), &[4], &size);
                let mut attributes = floats();
                attributes.push(("Index", Value::Type(dtype::INT32)));
                self.push("Slice", name, &[all[0], &begin, &size], attributes)
            }
            Operator::ChannelShuffle { groups } => {
                let [channels, height, width] = map(&step.shape);
                let apart = [height, width, *groups, channels / groups];
                let apart = self.reshape(&format!("{name}/apart"), all[0], &apart);
                let order = self.ints(&format!("{name}/order"), &[5], &[0, 1, 2, 4, 3]);
                let mut attributes = floats();
                attributes.push(("Tperm", Value::Type(dtype::INT32)));
                let swapped = format!("{name}/swapped");
                let swapped = self.push("Transpose", &swapped, &[&apart, &order], attributes);
                self.reshape(name, &swapped, &[height, width, channels])
            }
            Operator::Flatten => self.reshape(name, all[0], &[step.shape.iter().product()]),
            Operator::Softmax => self.push("Softmax", name, &all, floats()),
        })
    }

    fn image(&mut self, step: &Step<'_>) -> String {
        let shape = channels_last(&step.shape);
        let sides = shape.iter().map(|&side| side as i64);
        let sides: Vec<i64> = [-1].into_iter().chain(sides.skip(1)).collect();
        let attributes = vec![
            ("dtype", Value::Type(self.element)),
            ("shape", Value::Shape(Shape::new(&sides))),
        ];
        self.push("Placeholder", INPUT, &[], attributes)
    }

    fn affine(&mut self, name: &str, x: &str, scale: &[f32], shift: &[f32]) -> String {
        let mut x = x.to_owned();
        if scale.iter().any(|&scale| scale != 1.0) {
            let scale = self.vector(&format!("{name}/scale"), scale);
            x = self.push("Mul", &format!("{name}/scaled"), &[&x, &scale], floats());
        }
        let shift = self.vector(&format!("{name}/shift"), shift);
        self.push("AddV2", name, &[&x, &shift], floats())
    }

    /// The mean over axes, which are kept.
    fn mean(&mut self, name: &str, x: &str, axes: &[i32]) -> String {
        let axes = self.ints(&format!("{name}/axes"), &[axes.len()], axes);
        let mut attributes = floats();
        attributes.push(("Tidx", Value::Type(dtype::INT32)));
        attributes.push(("keep_dims", Value::Bool(true)));
        self.push("Mean", name, &[x, &axes], attributes)
    }

    fn layer_norm(&mut self, name: &str, x: &str, eps: f32, affine: [&[f32]; 2]) -> String {
        let part = |part: &str| format!("{name}/{part}");
        let mean = self.mean(&part("mean"), x, &[3]);
        let centred = self.push("Sub", &part("centred"), &[x, &mean], floats());
        let squares = self.push("Mul", &part("squares"), &[&centred, &centred], floats());
        let variance = self.mean(&part("variance"), &squares, &[3]);
        let eps = self.scalar(&part("eps"), eps);
        let raised = self.push("AddV2", &part("raised"), &[&variance, &eps], floats());
        let deviation = self.push("Rsqrt", &part("deviation"), &[&raised], floats());
        let x = self.push(
            "Mul",
            &part("normalised"),
            &[&centred, &deviation],
            floats(),
        );
        self.affine(name, &x, affine[0], affine[1])
    }

    /// A value in another shape for one image.
    fn reshape(&mut self, name: &str, x: &str, shape: &[usize]) -> String {
        let sides = shape.iter().map(|&side| side as i32);
        let sides: Vec<i32> = [-1].into_iter().chain(sides).collect();
        let shape = self.ints(&format!("{name}/shape"), &[sides.len()], &sides);
        let mut attributes = floats();
        attributes.push(("Tshape", Value::Type(dtype::INT32)));
        self.push("Reshape", name, &[x, &shape], attributes)
    }

    fn convolution(
        &mut self,
        step: &Step<'_>,
        conv: &Conv2d,
        weight: &Tensor,
        bias: &[f32],
        clamp: Option<Clamp>,
    ) -> String {
        let name = &*node_name(&step.name);
        let [_, height, width] = map(self.lowered.input_shape(step));
        let is_depthwise = conv.is_depthwise();
        let mut x = self.values[step.inputs[0]].clone();
        let mut explicit = Vec::new();
        let padding = match conv.padded(height, width) {
            Padded::Valid => "VALID",
            Padded::Same => "SAME",
            Padded::Explicit(zeros) if is_depthwise => {
                // Where TensorFlow fuses what follows, it forgets explicit padding, and crashes.
                x = self.padded(name, &x, zeros, 0.0);
                "VALID"
            }
            Padded::Explicit(zeros) => {
                explicit = sides(zeros).to_vec();
                "EXPLICIT"
            }
        };
        let mut attributes = floats();
        attributes.extend([
            ("strides", square(conv.stride)),
            ("dilations", square(conv.dilation)),
            ("padding", text(padding)),
            ("explicit_paddings", ints(&explicit)),
            ("data_format", text("NHWC")),
        ]);
        let operator = match is_depthwise {
            true => "DepthwiseConv2dNative",
            false => {
                attributes.push(("use_cudnn_on_gpu", Value::Bool(true)));
                "Conv2D"
            }
        };
        let weight = kernel_first(weight, is_depthwise);
        let weight = self.tensor(&format!("{name}/weight"), &weight);
        let sums = self.push(
            operator,
            &format!("{name}/sums"),
            &[&x, &weight],
            attributes,
        );
        // TensorFlow fuses a BiasAdd, and then can't compute the groups on a processor.
        let add = match is_depthwise || conv.groups == 1 {
            true => "BiasAdd",
            false => "AddV2",
        };
        self.biased(name, add, &sums, bias, clamp)
    }

    fn biased(
        &mut self,
        name: &str,
        add: &'static str,
        sums: &str,
        bias: &[f32],
        clamp: Option<Clamp>,
    ) -> String {
        let bias = self.vector(&format!("{name}/bias"), bias);
        self.clamped(name, add, &[sums, &bias], clamp)
    }

    /// An operator and an activation, which has the name of the whole.
    fn clamped(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        clamp: Option<Clamp>,
    ) -> String {
        let mut attributes = floats();
        if operator == "BiasAdd" {
            attributes.push(("data_format", text("NHWC")));
        }
        let activation = match clamp {
            None => return self.push(operator, name, inputs, attributes),
            Some(Clamp::Relu) => "Relu",
            Some(Clamp::Relu6) => "Relu6",
        };
        let value = self.push(operator, &format!("{name}/sum"), inputs, attributes);
        self.push(activation, name, &[&value], floats())
    }

    fn activation(&mut self, name: &str, kind: Activation, x: &str) -> String {
        match kind {
            Activation::Relu => self.push("Relu", name, &[x], floats()),
            Activation::Relu6 => self.push("Relu6", name, &[x], floats()),
            Activation::Sigmoid => self.push("Sigmoid", name, &[x], floats()),
            Activation::Hardsigmoid => {
                let three = self.scalar(&format!("{name}/three"), 3.0);
                let sixth = self.scalar(&format!("{name}/sixth"), 1.0 / 6.0);
                let sum = self.clamped(
                    &format!("{name}/clamped"),
                    "AddV2",
                    &[x, &three],
                    Some(Clamp::Relu6),
                );
                self.push("Mul", name, &[&sum, &sixth], floats())
            }
            Activation::Hardswish => {
                let gate = self.activation(&format!("{name}/gate"), Activation::Hardsigmoid, x);
                self.push("Mul", name, &[x, &gate], floats())
            }
            Activation::Gelu => {
                let part = |part: &str| format!("{name}/{part}");
                let [root, one, half] = [("root", FRAC_1_SQRT_2), ("one", 1.0), ("half", 0.5)]
                    .map(|(of, value)| self.scalar(&part(of), value));
                let scaled = self.push("Mul", &part("scaled"), &[x, &root], floats());
                let erf = self.push("Erf", &part("erf"), &[&scaled], floats());
                let sum = self.push("AddV2", &part("sum"), &[&erf, &one], floats());
                let product = self.push("Mul", &part("product"), &[x, &sum], floats());
                self.push("Mul", name, &[&product, &half], floats())
            }
            Activation::Silu => {
                let gate = self.activation(&format!("{name}/gate"), Activation::Sigmoid, x);
                self.push("Mul", name, &[x, &gate], floats())
            }
        }
    }

    /// A map with pixels of this value around it.
    fn padded(&mut self, name: &str, x: &str, pixels: [Padding; 2], value: f32) -> String {
        let sides = sides(pixels).map(|side| side as i32);
        let sides = self.ints(&format!("{name}/padding"), &[4, 2], &sides);
        let value = self.scalar(&format!("{name}/around"), value);
        let mut attributes = floats();
        attributes.push(("Tpaddings", Value::Type(dtype::INT32)));
        self.push(
            "PadV2",
            &format!("{name}/padded"),
            &[x, &sides, &value],
            attributes,
        )
    }

    /// A pool of a map around which `value` is put as padding.
    fn pool(&mut self, step: &Step<'_>, operator: &str, window: &Pool2d, value: f32) -> String {
        let name = &*node_name(&step.name);
        let mut x = self.values[step.inputs[0]].clone();
        let [_, height, width] = map(self.lowered.input_shape(step));
        let around = [height, width].map(|size| window.around(size));
        if around != [Padding::both(0); 2] {
            x = self.padded(name, &x, around, value);
        }
        let mut attributes = floats();
        attributes.extend([
            ("ksize", square(window.kernel)),
            ("strides", square(window.stride)),
            ("padding", text("VALID")),
            ("data_format", text("NHWC")),
        ]);
        if operator == "MaxPool" {
            attributes.push(("explicit_paddings", ints(&[])));
        }
        self.push(operator, name, &[&x], attributes)
    }

    fn push(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Attributes,
    ) -> String {
        let attributes = attributes.into_iter().map(|(key, value)| {
            let value = Some(value);
            (key.to_owned(), Attribute { value })
        });
        self.nodes.push(Node {
            name: name.into(),
            operator: operator.into(),
            inputs: inputs.iter().map(|&input| input.into()).collect(),
            attributes: attributes.collect::<BTreeMap<_, _>>(),
        });
        name.into()
    }

    fn constant(&mut self, name: &str, dtype: i32, shape: &[usize], content: Vec<u8>) -> String {
        let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
        let constant = Constant {
            dtype,
            shape: Some(Shape::new(&sides)),
            content,
        };
        let attributes = vec![
            ("dtype", Value::Type(dtype)),
            ("value", Value::Tensor(constant)),
        ];
        self.push("Const", name, &[], attributes)
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor) -> String {
        let values = tensor.as_f32().unwrap_or_default();
        let content = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, dtype::FLOAT, &tensor.shape, content)
    }

    fn vector(&mut self, name: &str, values: &[f32]) -> String {
        self.tensor(name, &Tensor::f32([values.len()], values.to_vec()))
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.tensor(name, &Tensor::f32([], vec![value]))
    }

    fn ints(&mut self, name: &str, shape: &[usize], values: &[i32]) -> String {
        let content = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, dtype::INT32, shape, content)
    }
}

fn floats() -> Attributes {
    vec![("T", Value::Type(dtype::FLOAT))]
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn ints(values: &[i64]) -> Value {
    let values = values.to_vec();
    Value::Ints(Ints { values })
}

/// A number for each axis: the same for height and width.
fn square(side: usize) -> Value {
    ints(&[1, side as i64, side as i64, 1])
}

/// Pixels before and after along each axis.
fn sides([rows, columns]: [Padding; 2]) -> [i64; 8] {
    let sides = [rows.before, rows.after, columns.before, columns.after];
    let [top, bottom, left, right] = sides.map(|side| side as i64);
    [0, 0, top, bottom, left, right, 0, 0]
}

/// What TensorFlow takes as a node's name: it starts with a letter, a digit or a dot.
fn node_name(name: &str) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || "_.\\/>-".contains(c);
    name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .replace(|c: char| !is_taken(c), "_")
}
