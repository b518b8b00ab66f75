//! Convolutions and linear layers.

use super::builder::{Builder, bytes, floats};
use super::native::Native;
use super::values::{Argument, Value};
use super::{Form, Work};
use crate::error::Result;
use crate::graph::{Conv2d, Int8Weight, Linear, NodeId, QuantizationParameters, Weight};
use crate::inference::Arithmetic;
use crate::inference::onednn::attributes::{PostOp, Settings};
use crate::inference::onednn::ffi;
use crate::inference::onednn::memory::{Buffer, Desc, Kind};
use crate::inference::onednn::primitives::{Primitive, Window};

/// A layer of integer weights and integer inputs.
struct Integers<'a> {
    weight: &'a Int8Weight,
    input: Input,
}

/// What the integers of a layer's input stand for.
enum Input {
    Known(QuantizationParameters),
    /// The scale and the zero point, of this batch.
    Measured([Value; 2]),
}

/// The shape of a convolution for a batch.
struct Shape {
    /// Of the batch `(n, channels, height, width)`.
    src: [usize; 4],
    dst: [usize; 4],
    /// `(out, in / groups, height, width)`, with groups `(groups, out / groups, ...)`.
    weights: Vec<usize>,
    window: Window,
}

impl Shape {
    fn new(conv: &Conv2d, src: [usize; 4], dst: [usize; 4]) -> Self {
        let groups = conv.groups;
        let [height, width] = conv.kernel;
        let mut weights = vec![conv.out_channels, conv.in_channels / groups, height, width];
        if groups > 1 {
            weights[0] /= groups;
            weights.insert(0, groups);
        }
        Self {
            src,
            dst,
            weights,
            window: Window {
                strides: [conv.stride; 2],
                dilations: [conv.dilation - 1; 2],
                before: conv.padding.map(|padding| padding.before),
                after: conv.padding.map(|padding| padding.after),
            },
        }
    }

    /// The dimensions of the weights along which outputs lie, as bits.
    fn outputs(&self) -> i32 {
        if self.weights.len() > 4 { 0b11 } else { 0b1 }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn convolution(&mut self, id: NodeId, conv: &Conv2d) -> Result<Value> {
        let node = &self.graph[id];
        let input = node.inputs[0];
        let shape = Shape::new(conv, self.dims(input)?, self.dims(id)?);
        let integers = self.integers(id)?;
        let src = match integers {
            Some(_) => self.value(input),
            None => self.float(input, self.kind(id))?,
        };
        let mut post_ops = Vec::new();
        let to = match (&integers, self.qparams(id)) {
            (Some(_), Some(qparams)) => Form::Integer(qparams),
            _ => Form::Float(self.kind(id)),
        };
        let dst = match node.inputs.get(1) {
            Some(&addend) => self.addend(id, addend, to, &mut post_ops)?,
            None => self.place(id, to)?,
        };
        if let Some(kind) = conv.epilogue.activation {
            post_ops.push(PostOp::Eltwise(kind.into()));
        }
        let computed = self.convolve(id, integers, &shape, (src, dst), (conv.bias, post_ops))?;
        match (computed.form, self.qparams(id)) {
            (Form::Float(_), Some(_)) => self.stored(id, computed),
            _ => Ok(computed),
        }
    }

    /// The memory that a sum is made in: it holds what is added.
    fn addend(
        &mut self,
        id: NodeId,
        addend: NodeId,
        to: Form,
        post_ops: &mut Vec<PostOp>,
    ) -> Result<Value> {
        let value = self.value(addend);
        if let (Form::Integer(from), Form::Integer(_)) = (value.form, to) {
            post_ops.push(PostOp::Sum {
                scale: from.scale,
                zero_point: from.zero_point.into(),
            });
            let owned = self.owned(addend, value, id)?;
            return Ok(Value { form: to, ..owned });
        }
        post_ops.push(PostOp::Sum {
            scale: 1.0,
            zero_point: 0,
        });
        let kind = self.kind(id);
        let real = self.float(addend, kind)?;
        self.owned(addend, real, id)
    }

    /// The integers of a layer that computes with them.
    fn integers(&self, id: NodeId) -> Result<Option<Integers<'a>>> {
        let input = self.value(self.graph[id].inputs[0]).form;
        let weight = match self.arithmetic {
            Arithmetic::Int8 => self.network.int8_weight(id),
            _ => None,
        };
        Ok(match (weight, input) {
            (Some(weight), Form::Integer(qparams)) => Some(Integers {
                weight,
                input: Input::Known(qparams),
            }),
            _ => None,
        })
    }

    fn convolve(
        &mut self,
        id: NodeId,
        integers: Option<Integers<'_>>,
        shape: &Shape,
        (src, dst): (Value, Value),
        (bias, post_ops): (bool, Vec<PostOp>),
    ) -> Result<Value> {
        let mut arguments = Vec::new();
        let mut settings = Settings {
            post_ops,
            ..Settings::default()
        };
        if let Some(Integers { weight, input }) = &integers {
            match input {
                Input::Known(qparams) => {
                    self.quantized(ffi::SRC, *qparams, &mut settings, &mut arguments)?;
                }
                Input::Measured([scale, zero_point]) => {
                    settings.scales.push((ffi::SRC, 0));
                    settings.zero_points.push(ffi::SRC);
                    arguments.push(scale.argument(ffi::SCALES_OF | ffi::SRC));
                    arguments.push(zero_point.argument(ffi::ZERO_POINTS_OF | ffi::SRC));
                }
            }
            settings.scales.push((ffi::WEIGHTS, shape.outputs()));
            arguments.push(self.weight_scales(id, weight)?);
            // What is added is in the same memory, and has its own scale.
            if let Form::Integer(qparams) = dst.form {
                self.quantized(ffi::DST, qparams, &mut settings, &mut arguments)?;
            }
        }
        let (src_kind, weights_kind) = match integers {
            Some(_) => (Kind::Uint8, Kind::Int8),
            None => (src.form.kind(), src.form.kind()),
        };
        let src_desc = Desc::channels_last(src_kind, shape.src)?;
        let dst_desc = Desc::channels_last(dst.form.kind(), shape.dst)?;
        let outputs = shape.dst[1];
        let bias_desc = Desc::dense(Kind::Float32, &[outputs])?;
        let primitive = Primitive::convolution(
            &src_desc,
            &Desc::any(weights_kind, &shape.weights)?,
            bias.then_some(&bias_desc),
            &dst_desc,
            &shape.window,
            &settings,
        )?;
        arguments.push(self.weights(id, &shape.weights, &integers, &primitive)?);
        if bias {
            arguments.push(self.parameter(ffi::BIAS, (id, "bias"), Kind::Float32, &[outputs])?);
        }
        arguments.push(src.part(ffi::SRC, &src_desc, 0));
        arguments.push(dst.part(ffi::DST, &dst_desc, 0));
        self.kernel(primitive, arguments)?;
        Ok(dst)
    }

    fn weight_scales(&self, id: NodeId, weight: &Int8Weight) -> Result<Argument> {
        let scales = weight.scales();
        let desc = Desc::dense(Kind::Float32, &[scales.len()])?;
        let role = ffi::SCALES_OF | ffi::WEIGHTS;
        let plain = desc.clone();
        self.constant(role, (id, "weight_scale"), desc, || {
            Ok((plain, bytes(scales)))
        })
    }

    /// The weights in the order that a primitive wants.
    fn weights(
        &self,
        id: NodeId,
        dims: &[usize],
        integers: &Option<Integers<'_>>,
        primitive: &Primitive,
    ) -> Result<Argument> {
        let Some(wanted) = primitive.weights.clone() else {
            anyhow::bail!("a layer has weights");
        };
        self.constant(ffi::WEIGHTS, (id, "weight"), wanted, || {
            if let Some(integers) = integers {
                let values = integers.weight.values().iter();
                let values: Vec<u8> = values.map(|&q| q.cast_unsigned()).collect();
                return Ok((Desc::dense(Kind::Int8, dims)?, Buffer::of(&values)));
            }
            let desc = Desc::dense(Kind::Float32, dims)?;
            Ok(match self.network.weight(id)? {
                Weight::Float(_) => (desc, bytes(floats(self.network, id, "weight")?)),
                Weight::Int8(weight) => {
                    let real = weight.dequantized();
                    (desc, bytes(real.as_f32().unwrap_or_default()))
                }
            })
        })
    }

    /// Of each row: of a vector one, of a sequence one for each token.
    pub(super) fn linear(&mut self, id: NodeId, linear: &Linear) -> Result<Value> {
        let node = &self.graph[id];
        let input = node.inputs[0];
        let rows = node.shape[..node.shape.len() - 1].iter().product();
        let [from, to] = [linear.in_features, linear.out_features];
        if let Some((integers, src)) = self.integer_input(id, input)? {
            // oneDNN's inner product takes no zero points.
            let form = self
                .qparams(id)
                .map_or(Form::Float(self.kind(id)), Form::Integer);
            let shape = Shape {
                src: [self.batch, from, rows, 1],
                dst: [self.batch, to, rows, 1],
                weights: vec![to, from, 1, 1],
                window: Window::sliding(1),
            };
            let values = (src, self.place(id, form)?);
            return self.convolve(id, Some(integers), &shape, values, (true, Vec::new()));
        }
        let kind = self.kind(id);
        let src = self.float(input, kind)?;
        let dst = self.place(id, Form::Float(kind))?;
        let rows = self.batch * rows;
        let descs = [
            Desc::dense(kind, &[rows, from])?,
            Desc::any(kind, &[to, from])?,
            Desc::dense(Kind::Float32, &[to])?,
            Desc::dense(kind, &[rows, to])?,
        ];
        let primitive = Primitive::inner_product(descs.each_ref(), &Settings::default())?;
        let arguments = vec![
            src.part(ffi::SRC, &descs[0], 0),
            self.weights(id, &[to, from], &None, &primitive)?,
            self.parameter(ffi::BIAS, (id, "bias"), Kind::Float32, &[to])?,
            dst.part(ffi::DST, &descs[3], 0),
        ];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    /// The integers of a linear layer and of its input, whose range may have to be measured.
    fn integer_input(
        &mut self,
        id: NodeId,
        input: NodeId,
    ) -> Result<Option<(Integers<'a>, Value)>> {
        if let Some(integers) = self.integers(id)? {
            return Ok(Some((integers, self.value(input))));
        }
        let weight = match self.arithmetic {
            Arithmetic::Int8 => self.network.int8_weight(id),
            _ => None,
        };
        let Some(weight) = weight else {
            return Ok(None);
        };
        let real = self.float(input, Kind::Float32)?;
        let values = self.batch * self.graph[input].shape.iter().product::<usize>();
        let float = Form::Float(Kind::Float32);
        let rounded = self.new_value(Desc::dense(Kind::Uint8, &[values])?, float)?;
        let scale = self.new_value(Desc::dense(Kind::Float32, &[1])?, float)?;
        let zero_point = self.new_value(Desc::dense(Kind::Int32, &[1])?, float)?;
        let arguments = vec![
            real.argument(ffi::SRC),
            rounded.argument(ffi::DST),
            scale.argument(ffi::SCALES_OF | ffi::DST),
            zero_point.argument(ffi::ZERO_POINTS_OF | ffi::DST),
        ];
        self.step(Work::Native(Native::Round { values }), arguments);
        let integers = Integers {
            weight,
            input: Input::Measured([scale, zero_point]),
        };
        Ok(Some((integers, rounded)))
    }
}
