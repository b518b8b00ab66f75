//! Where the values of PyTorch's weights lie in the layouts of other frameworks, which have the channels
//! last.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::graph::{Padding, Weight};
use crate::weights::Tensor;

/// `[1, height, width, channels]` or `[1, features]`.
pub(super) fn channels_last(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [channels, height, width] => vec![1, height, width, channels],
        _ => [&[1], shape].concat(),
    }
}

/// Channels, height and width.
pub(super) fn map(shape: &[usize]) -> [usize; 3] {
    shape.try_into().unwrap_or([shape.iter().product(), 1, 1])
}

/// The shape of a map `[channels, height, width]` with more pixels around it.
pub(super) fn padded_shape(
    [channels, height, width]: [usize; 3],
    pixels: [Padding; 2],
) -> [usize; 3] {
    let [rows, columns] = pixels.map(|sides| sides.before + sides.after);
    [channels, height + rows, width + columns]
}

/// The largest finite half-precision number.
const LARGEST_HALF: f32 = 65504.0;

/// Refuses numbers that half precision has not.
///
/// # Errors
/// [`Error::Usage`] naming the parameter.
pub(super) fn check_half(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|value| value.abs() > LARGEST_HALF) {
        None => Ok(()),
        Some(large) => {
            let message =
                format!("{name} holds {large}, beyond float16's 65504: use --weights float32");
            Err(Error::Usage(message).into())
        }
    }
}

/// A weight in float32.
pub(super) fn real<'a>(weight: &Weight<'a>) -> Cow<'a, Tensor> {
    match weight {
        Weight::Float(tensor) => Cow::Borrowed(tensor),
        Weight::Int8(weight) => Cow::Owned(weight.dequantized()),
    }
}

/// A tensor of another shape whose values are those of `tensor` in this order.
pub(super) fn ordered(
    tensor: &Tensor,
    shape: Vec<usize>,
    order: impl Iterator<Item = usize>,
) -> Tensor {
    let values = tensor.as_f32().unwrap_or_default();
    Tensor::f32(shape, order.map(|at| values[at]).collect())
}

/// A convolution's weight `[out, in, kernel, kernel]` as TensorFlow has it, `[kernel, kernel, in, out]`; of a
/// depthwise one, `[kernel, kernel, out, 1]`.
pub(super) fn kernel_first(weight: &Tensor, is_depthwise: bool) -> Tensor {
    let [outputs, inputs, height, width]: [usize; 4] =
        weight.shape[..].try_into().unwrap_or([0; 4]);
    let shape = match is_depthwise {
        true => vec![height, width, outputs, 1],
        false => vec![height, width, inputs, outputs],
    };
    let (taps, layer) = (height * width, (inputs * outputs).max(1));
    let order = (0..weight.len()).map(|at| {
        let (tap, input, output) = (at / layer, at % layer / outputs, at % outputs);
        (output * inputs + input) * taps + tap
    });
    ordered(weight, shape, order)
}

/// A linear layer's weight `[out, in]` as `[in, out]`, for features that were flattened with the channels
/// last instead of as `features`.
pub(super) fn transposed(weight: &Tensor, features: &[usize]) -> Tensor {
    let weight = features_last(weight, features);
    let [outputs, inputs]: [usize; 2] = weight.shape[..].try_into().unwrap_or([0; 2]);
    let order = (0..weight.len()).map(|at| at % outputs * inputs + at / outputs);
    ordered(&weight, vec![inputs, outputs], order)
}

/// The shape of a weight with the input's channels last, and where its values lie in PyTorch's layout
/// `[out, in, kernel, kernel]`.
pub(super) fn kernel_order(
    shape: &[usize],
    is_depthwise: bool,
) -> (Vec<usize>, impl Iterator<Item = usize>) {
    let [outputs, inputs, height, width]: [usize; 4] = shape.try_into().unwrap_or([0; 4]);
    let to = match is_depthwise {
        true => vec![1, height, width, outputs],
        false => vec![outputs, height, width, inputs],
    };
    let taps = height * width;
    let order = (0..outputs * inputs * taps).map(move |at| match is_depthwise {
        true => at % outputs * taps + at / outputs,
        false => {
            let (output, rest) = (at / (taps * inputs), at % (taps * inputs));
            (output * inputs + rest % inputs) * taps + rest / inputs
        }
    });
    (to, order)
}

/// A linear layer's weight for features that were flattened with the channels last.
pub(super) fn features_last(weight: &Tensor, features: &[usize]) -> Tensor {
    let order = feature_order(&weight.shape, features);
    ordered(weight, weight.shape.clone(), order)
}

/// Where the values of a weight `[out, in]` lie whose inputs are flattened with the channels last, in
/// one whose inputs were `[channels, height, width]`.
pub(super) fn feature_order(
    shape: &[usize],
    features: &[usize],
) -> impl Iterator<Item = usize> + use<> {
    let inputs = shape.get(1).copied().unwrap_or(1).max(1);
    let channels = features.first().copied().unwrap_or(1).max(1);
    let pixels = (inputs / channels).max(1);
    (0..shape.iter().product()).map(move |at| {
        let (output, input) = (at / inputs, at % inputs);
        output * inputs + input % channels * pixels + input / channels
    })
}
