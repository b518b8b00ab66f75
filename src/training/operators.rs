//! Operators of networks that take more than one call of libtorch, as functions of batches: maps
//! `(n, channels, height, width)` in channels-last order, sequences `(n, tokens, features)`, vectors
//! `(n, features)`.

use tch::{Kind, Tensor};

use super::tensors::torch;
use crate::graph::{Activation, BatchNorm2d, Conv2d, LayerNorm, Padding};

type Result = std::result::Result<Tensor, tch::TchError>;

/// `tensors`: weight, bias, running mean, running variance, batches tracked.
pub(super) fn normalise(
    x: &Tensor,
    tensors: &[Tensor],
    norm: &BatchNorm2d,
    training: bool,
) -> crate::error::Result<Tensor> {
    let [weight, bias, mean, variance, batches] = tensors else {
        anyhow::bail!("a normalisation has five tensors");
    };
    if training {
        torch(batches.shallow_clone().f_add_scalar_(1).map(drop))?;
    }
    torch(x.f_batch_norm(
        Some(weight),
        Some(bias),
        Some(mean),
        Some(variance),
        training,
        norm.momentum,
        norm.eps,
        true,
    ))
}

/// With its epilogue; `tensors`: weight, and bias if it has one.
pub(super) fn convolve(
    x: &Tensor,
    tensors: &[Tensor],
    conv: &Conv2d,
    addend: Option<&Tensor>,
) -> crate::error::Result<Tensor> {
    let sides = conv
        .padding
        .map(|Padding { before, after }| [before as i64, after as i64]);
    let padded;
    let (x, padding) = match sides {
        [[above, below], [left, right]] if above == below && left == right => (x, [above, left]),
        [[above, below], [left, right]] => {
            padded = torch(x.f_constant_pad_nd([left, right, above, below]))?;
            (&padded, [0, 0])
        }
    };
    let mut sums = torch(x.f_conv2d(
        &tensors[0],
        tensors.get(1),
        [conv.stride as i64; 2],
        padding,
        [conv.dilation as i64; 2],
        conv.groups as i64,
    ))?;
    if let (true, Some(addend)) = (conv.epilogue.add, addend) {
        sums = torch(sums.f_add(addend))?;
    }
    match conv.epilogue.activation {
        Some(kind) => torch(activation(&sums, kind)),
        None => Ok(sums),
    }
}

pub(super) fn activation(x: &Tensor, kind: Activation) -> Result {
    match kind {
        Activation::Relu => x.f_relu(),
        Activation::Relu6 => x.f_relu6(),
        Activation::Hardswish => x.f_hardswish(),
        Activation::Hardsigmoid => x.f_hardsigmoid(),
        Activation::Silu => x.f_silu(),
        Activation::Sigmoid => x.f_sigmoid(),
        Activation::Gelu => x.f_gelu("none"),
    }
}

/// `tensors`: weight `(out, in)`, bias. Of maps a convolution by the same numbers.
pub(super) fn linear(x: &Tensor, tensors: &[Tensor], kind: Kind) -> Result {
    let x = x.f_to_kind(kind)?;
    let weight = tensors[0].f_to_kind(kind)?;
    let bias = tensors[1].f_to_kind(kind)?;
    if x.dim() < 4 {
        return x.f_linear(&weight, Some(&bias));
    }
    let weight = weight.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
    x.f_conv2d(&weight, Some(&bias), [1; 2], [0; 2], [1; 2], 1)
}

/// In float32; `tensors`: weight, bias.
pub(super) fn layer_norm(x: &Tensor, tensors: &[Tensor], norm: &LayerNorm) -> Result {
    let kind = x.kind();
    let x = features_last(&x.f_to_kind(Kind::Float)?)?;
    let shape = [norm.features as i64];
    let y = x.f_layer_norm(shape, tensors.first(), tensors.get(1), norm.eps, false)?;
    features_back(&y.f_to_kind(kind)?)
}

pub(super) fn channel_shuffle(x: &Tensor, groups: i64) -> Result {
    let x = features_last(x)?;
    let (shape, channels) = (x.size(), x.size()[3]);
    let apart = [shape[0], shape[1], shape[2], groups, channels / groups];
    let shuffled = x.f_reshape(apart)?.f_transpose(3, 4)?;
    features_back(&shuffled.f_reshape(shape)?)
}

/// Each image is dropped or divided by the probability that it is kept.
pub(super) fn stochastic_depth(x: &Tensor, probability: f64) -> Result {
    let mut shape = vec![1; x.dim()];
    shape[0] = x.size()[0];
    let kept = 1.0 - probability;
    let mask = Tensor::f_full(shape, kept, (x.kind(), x.device()))?.f_bernoulli()?;
    x.f_mul(&mask.f_div_scalar(kept)?)
}

pub(super) fn tokens(x: &Tensor) -> Result {
    features_last(x)?.f_flatten(1, 2)
}

/// `token` has the shape `(1, 1, features)`.
pub(super) fn class_token(x: &Tensor, token: &Tensor) -> Result {
    let token = token.f_to_kind(x.kind())?;
    let token = token.f_expand([x.size()[0], -1, -1], false)?;
    Tensor::f_cat(&[token, x.shallow_clone()], 1)
}

/// From `(n, tokens, 3 * features)`: queries, keys and values, each of all heads.
pub(super) fn attention(x: &Tensor, heads: i64) -> Result {
    let (batch, tokens, features) = (x.size()[0], x.size()[1], x.size()[2] / 3);
    let apart = x.f_reshape([batch, tokens, 3, heads, features / heads])?;
    let apart = apart.f_permute([2, 0, 3, 1, 4])?;
    let [q, k, v] = [0, 1, 2].map(|at| apart.f_select(0, at));
    let none = None::<Tensor>;
    let mixed =
        Tensor::f_scaled_dot_product_attention(&q?, &k?, &v?, none, 0.0, false, None, false)?;
    mixed
        .f_transpose(1, 2)?
        .f_reshape([batch, tokens, features])
}

/// The features of a map's pixels, or of tokens, as the last dimension.
fn features_last(x: &Tensor) -> Result {
    match x.dim() {
        4 => x.f_permute([0, 2, 3, 1]),
        _ => Ok(x.shallow_clone()),
    }
}

fn features_back(x: &Tensor) -> Result {
    match x.dim() {
        4 => x.f_permute([0, 3, 1, 2]),
        _ => Ok(x.shallow_clone()),
    }
}
