//! The ONNX operators in use, on plain tensors.

use anyhow::{bail, ensure};
use tch::{Kind, Tensor};

use super::attributes::Attributes;
use super::proto::Node;
use crate::error::Result;
use crate::torch::torch;

/// The opset that brought HardSwish.
const HARD_SWISH: i64 = 14;
/// The opset that brought LayerNormalization.
const LAYER_NORM: i64 = 17;
/// The opset from which on a DequantizeLinear may have a scale for each channel.
const PER_CHANNEL: i64 = 13;

/// The element type with this number in ONNX.
pub(super) fn kind(number: i64) -> Result<Kind> {
    Ok(match number {
        1 => Kind::Float,
        2 => Kind::Uint8,
        3 => Kind::Int8,
        6 => Kind::Int,
        7 => Kind::Int64,
        _ => bail!("element type {number} is not supported"),
    })
}

/// The outputs of a node.
///
/// # Errors
/// For an operator, an attribute or shapes that are not supported.
pub(super) fn run(node: &Node, opset: i64, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut attributes = Attributes::of(node);
    let a = &mut attributes;
    let output = match (&*node.op_type, inputs) {
        ("Add", [x, y]) if x.kind() == y.kind() => torch(x.f_add(y)),
        ("Mul", [x, y]) if x.kind() == y.kind() => torch(x.f_mul(y)),
        ("Div", [x, y]) if x.kind() == y.kind() => torch(x.f_div(y)),
        ("MatMul", [x, y]) if x.kind() == y.kind() => torch(x.f_matmul(y)),
        ("Erf", [x]) => torch(x.f_erf()),
        ("LayerNormalization", [x, weight, bias]) if opset >= LAYER_NORM => {
            let eps = a.float("epsilon", 1e-5)?;
            ensure!(
                a.int("axis")?.unwrap_or(-1) == -1,
                "only the last axis is normalised"
            );
            torch(x.f_layer_norm(weight.size(), Some(*weight), Some(*bias), eps, false))
        }
        ("Reshape", [x, shape]) => reshape(x, &whole(shape)?),
        ("Slice", [x, start, end, axis]) => slice(x, [start, end, axis]),
        ("Gather", [x, index]) => {
            let (axis, index) = (a.int("axis")?.unwrap_or(0), whole(index)?);
            ensure!(inputs[1].dim() == 0, "only one index is supported");
            torch(x.f_select(axis, index[0]))
        }
        ("Pad", [x, sides]) => pad(x, &whole(sides)?),
        ("Cast", [x]) => torch(x.f_to_kind(kind(a.int("to")?.unwrap_or_default())?)),
        ("Transpose", [x]) => transpose(x, a),
        ("Conv", [x, weight]) => conv(x, weight, None, a),
        ("Conv", [x, weight, bias]) => conv(x, weight, Some(bias), a),
        ("BatchNormalization", [x, scale, bias, mean, variance]) => {
            let eps = a.float("epsilon", 1e-5)?;
            let [scale, bias, mean, variance] = [*scale, *bias, *mean, *variance].map(Some);
            torch(x.f_batch_norm(scale, bias, mean, variance, false, 0.0, eps, false))
        }
        ("Gemm", [x, weight, bias]) => gemm(x, weight, bias, a),
        ("MatMulInteger", [x, weight, zero]) => {
            torch(integers(x, zero).and_then(|x| x.f_matmul(&weight.f_to_kind(Kind::Int)?)))
        }
        ("MaxPool", [x]) => max_pool(x, a),
        ("AveragePool", [x]) => average_pool(x, a),
        ("GlobalAveragePool", [x]) => torch(x.f_mean_dim(&[2i64, 3][..], true, Kind::Float)),
        ("Relu", [x]) => torch(x.f_relu()),
        ("Clip", [x, low, high]) => torch(x.f_clamp_tensor(Some(*low), Some(*high))),
        ("Sigmoid", [x]) => torch(x.f_sigmoid()),
        ("HardSigmoid", [x]) => {
            let (slope, shift) = (a.float("alpha", 0.2)?, a.float("beta", 0.5)?);
            hard_sigmoid(x, slope, shift)
        }
        ("HardSwish", [x]) if opset >= HARD_SWISH => {
            torch(x.f_mul(&hard_sigmoid(x, 1.0 / 6.0, 0.5)?))
        }
        ("Concat", [_, ..]) => match a.int("axis")? {
            Some(axis) => torch(Tensor::f_cat(inputs, axis)),
            None => bail!("axis is missing"),
        },
        ("Flatten", [x]) if a.int("axis")?.unwrap_or(1) == 1 => torch(x.f_flatten(1, -1)),
        // Before opset 13 an axis stood for all that follow it, too: of the last, that is one.
        ("Softmax", [x]) if a.int("axis")? == Some(x.dim() as i64 - 1) => {
            torch(x.f_softmax(-1, Kind::Float))
        }
        ("QuantizeLinear", [x, scale, zero]) => quantize(x, scale, zero),
        ("DequantizeLinear", [q, scale, zero]) => dequantize(q, scale, zero, opset, a),
        ("DynamicQuantizeLinear", [x]) => {
            let outputs = dynamic_quantize(x)?;
            attributes.finish()?;
            return Ok(outputs);
        }
        _ => bail!("this operator is not supported with such inputs in opset {opset}"),
    };
    let output = output?;
    attributes.finish()?;
    Ok(vec![output])
}

fn transpose(x: &Tensor, attributes: &mut Attributes<'_>) -> Result<Tensor> {
    match attributes.all_ints("perm")? {
        Some(order) => torch(x.f_permute(order)),
        None => bail!("perm is missing"),
    }
}

/// A zero stands for the length that there is.
fn reshape(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    let lengths = x.size();
    let given = shape.iter().enumerate();
    let given = given.map(|(at, &length)| match length {
        0 => lengths.get(at).copied().unwrap_or(0),
        length => length,
    });
    torch(x.f_reshape(given.collect::<Vec<i64>>()))
}

fn slice(x: &Tensor, [start, end, axis]: [&Tensor; 3]) -> Result<Tensor> {
    match [whole(start)?, whole(end)?, whole(axis)?].map(<[i64; 1]>::try_from) {
        [Ok([start]), Ok([end]), Ok([axis])] => torch(x.f_slice(axis, start, end, 1)),
        _ => bail!("only one axis is sliced"),
    }
}

/// Zeros before and after along each axis: all before, then all after.
fn pad(x: &Tensor, sides: &[i64]) -> Result<Tensor> {
    let axes = x.dim();
    ensure!(
        sides.len() == 2 * axes,
        "{sides:?} are not the sides of {axes} axes"
    );
    let from_last = (0..axes)
        .rev()
        .flat_map(|axis| [sides[axis], sides[axes + axis]]);
    torch(x.f_constant_pad_nd(from_last.collect::<Vec<i64>>()))
}

/// The numbers of an int64 tensor.
fn whole(tensor: &Tensor) -> Result<Vec<i64>> {
    ensure!(tensor.kind() == Kind::Int64, "these are not int64");
    Ok(Vec::try_from(torch(tensor.f_reshape([-1]))?)?)
}

fn conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    attributes: &mut Attributes<'_>,
) -> Result<Tensor> {
    if let Some(kernel) = attributes.ints::<2>("kernel_shape")? {
        let shape = weight.size();
        ensure!(
            shape.get(2..) == Some(&kernel[..]),
            "kernel_shape is {kernel:?}, the weight {shape:?}"
        );
    }
    let strides = attributes.ints("strides")?.unwrap_or([1, 1]);
    let dilations = attributes.ints("dilations")?.unwrap_or([1, 1]);
    let groups = attributes.int("group")?.unwrap_or(1);
    let x = padded(x, attributes.ints("pads")?, 0.0)?;
    torch(x.f_conv2d(weight, bias, strides, [0, 0], dilations, groups))
}

/// Feature maps `(n, c, h, w)` in a frame: above, to the left, below and to the right.
fn padded(x: &Tensor, pads: Option<[i64; 4]>, value: f64) -> Result<Tensor> {
    let shape = x.size();
    ensure!(
        shape.len() == 4,
        "{shape:?} is not the shape of feature maps"
    );
    let [top, left, bottom, right] = pads.unwrap_or_default();
    torch(x.f_pad([left, right, top, bottom], "constant", value))
}

/// `x W + b`; with `transB`, `x W^T + b`.
fn gemm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    attributes: &mut Attributes<'_>,
) -> Result<Tensor> {
    let weight = match attributes.int("transB")? {
        None | Some(0) => weight.shallow_clone(),
        Some(_) => torch(weight.f_transpose(0, 1))?,
    };
    torch(
        x.f_matmul(&weight)
            .and_then(|products| products.f_add(bias)),
    )
}

fn max_pool(x: &Tensor, attributes: &mut Attributes<'_>) -> Result<Tensor> {
    let (kernel, strides) = window(attributes)?;
    let x = padded(x, attributes.ints("pads")?, f64::NEG_INFINITY)?;
    torch(x.f_max_pool2d(kernel, strides, [0, 0], [1, 1], false))
}

fn average_pool(x: &Tensor, attributes: &mut Attributes<'_>) -> Result<Tensor> {
    let (kernel, strides) = window(attributes)?;
    let pads = attributes.ints("pads")?;
    let counted = attributes.int("count_include_pad")? == Some(1);
    ensure!(
        counted || pads.unwrap_or_default() == [0; 4],
        "padding that is not counted is not supported"
    );
    let x = padded(x, pads, 0.0)?;
    torch(x.f_avg_pool2d(kernel, strides, [0, 0], false, true, None))
}

fn window(attributes: &mut Attributes<'_>) -> Result<([i64; 2], [i64; 2])> {
    let Some(kernel) = attributes.ints("kernel_shape")? else {
        bail!("kernel_shape is missing");
    };
    let strides = attributes.ints("strides")?.unwrap_or([1, 1]);
    Ok((kernel, strides))
}

/// `max(0, min(1, slope * x + shift))`.
fn hard_sigmoid(x: &Tensor, slope: f64, shift: f64) -> Result<Tensor> {
    torch(
        x.f_mul_scalar(slope)
            .and_then(|x| x.f_add_scalar(shift)?.f_clamp(0.0, 1.0)),
    )
}

/// `saturate(round(x / scale) + zero)`, a half rounded to even, with one scale for all.
fn quantize(x: &Tensor, scale: &Tensor, zero: &Tensor) -> Result<Tensor> {
    let one_each = scale.numel() == 1 && zero.numel() == 1;
    ensure!(
        one_each && zero.kind() == Kind::Uint8,
        "only a single scale and uint8 are supported"
    );
    let steps = x.f_div(scale).and_then(|x| x.f_round()?.f_add(zero));
    torch(steps.and_then(|steps| steps.f_clamp(0.0, 255.0)?.f_to_kind(Kind::Uint8)))
}

/// `(q - zero) * scale`, with one of each for all, or for each index along an axis.
fn dequantize(
    q: &Tensor,
    scale: &Tensor,
    zero: &Tensor,
    opset: i64,
    attributes: &mut Attributes<'_>,
) -> Result<Tensor> {
    ensure!(
        q.kind() == zero.kind() && scale.size() == zero.size(),
        "integers, scale and zero point do not fit each other"
    );
    let axis = attributes.int("axis")?;
    let mut shape = vec![1; q.dim()];
    if let [length] = *scale.size() {
        let axis = usize::try_from(axis.unwrap_or(1))?;
        ensure!(
            opset >= PER_CHANNEL && q.size().get(axis) == Some(&length),
            "a scale for each of {length} along axis {axis} is not supported"
        );
        shape[axis] = length;
    } else {
        ensure!(scale.dim() == 0, "a scale for each block is not supported");
    }
    let real = || {
        let zero = zero.f_reshape(&shape)?;
        let scale = scale.f_reshape(&shape)?;
        integers(q, &zero)?.f_to_kind(Kind::Float)?.f_mul(&scale)
    };
    torch(real())
}

/// uint8 that cover the values and zero, their scale and their zero point.
fn dynamic_quantize(x: &Tensor) -> Result<Vec<Tensor>> {
    let range = || {
        let (low, high) = (x.f_min()?.f_clamp_max(0.0)?, x.f_max()?.f_clamp_min(0.0)?);
        let scale = high.f_sub(&low)?.f_div_scalar(255.0)?;
        let zero = low.f_neg()?.f_div(&scale)?.f_clamp(0.0, 255.0)?;
        Ok((scale, zero.f_round()?.f_to_kind(Kind::Uint8)?))
    };
    let (scale, zero) = torch(range())?;
    Ok(vec![quantize(x, &scale, &zero)?, scale, zero])
}

/// `q - zero` as int32.
fn integers(q: &Tensor, zero: &Tensor) -> Result<Tensor, tch::TchError> {
    q.f_to_kind(Kind::Int)?.f_sub(&zero.f_to_kind(Kind::Int)?)
}
