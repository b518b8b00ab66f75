//! Shape inference: the output shape of an operator, from its inputs' shapes.

use super::op::Op;
use super::window::{Conv2d, Padding, Pool2d};

/// The output shape of an operator for one image.
///
/// # Errors
/// A sentence that says what does not fit.
pub(super) fn infer(op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let arity = match op {
        Op::Input => 0,
        Op::Add | Op::Mul => 2,
        Op::Conv2d(conv) if conv.epilogue.add => 2,
        Op::Concat => inputs.len().max(1),
        Op::PixelsToFloat
        | Op::Normalize { .. }
        | Op::Conv2d(_)
        | Op::BatchNorm2d(_)
        | Op::LayerNorm(_)
        | Op::LayerScale { .. }
        | Op::Linear(_)
        | Op::Activation(_)
        | Op::MaxPool2d(_)
        | Op::AvgPool2d(_)
        | Op::GlobalAvgPool
        | Op::Slice { .. }
        | Op::ChannelShuffle { .. }
        | Op::Flatten
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. }
        | Op::Softmax
        | Op::Tokens
        | Op::ClassToken { .. }
        | Op::PositionEmbedding { .. }
        | Op::Attention { .. }
        | Op::FirstToken => 1,
    };
    if inputs.len() != arity {
        return Err(format!("takes {arity} inputs, not {}", inputs.len()));
    }
    match op {
        Op::Input => Err("the input's shape is given, not inferred".into()),
        Op::Conv2d(conv) => convolved(conv, inputs),
        // Of a vector too, as PyTorch's BatchNorm1d.
        Op::BatchNorm2d(norm) if inputs[0].len() != 2 => with_features(norm.channels, inputs[0]),
        Op::BatchNorm2d(_) => Err(format!("takes no sequence of shape {:?}", inputs[0])),
        Op::Linear(linear) => {
            let mut shape = with_features(linear.in_features, inputs[0])?;
            let axis = feature_axis(&shape);
            shape[axis] = linear.out_features;
            Ok(shape)
        }
        Op::LayerNorm(norm) => with_features(norm.features, inputs[0]),
        Op::LayerScale { features, of_map } => {
            let shape = with_features(*features, inputs[0])?;
            match *of_map == (shape.len() == 3) {
                true => Ok(shape),
                false => Err(format!("is of another kind than the shape {shape:?}")),
            }
        }
        Op::AvgPool2d(pool) if pool.ceil_mode => Err("ceil mode is for maximums".into()),
        Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => pooled(pool, inputs[0]),
        Op::GlobalAvgPool => feature_map(inputs[0]).map(|[channels, ..]| vec![channels, 1, 1]),
        Op::Add => same(inputs[0], inputs[1]),
        Op::Mul => same(inputs[0], inputs[1]).or_else(|different| {
            let [channels, ..] = feature_map(inputs[0])?;
            if inputs[1] == [channels, 1, 1] {
                Ok(inputs[0].to_vec())
            } else {
                Err(different)
            }
        }),
        Op::Concat => concatenated(inputs),
        Op::Slice { start, end } => match feature_map(inputs[0])? {
            [channels, height, width] if start < end && *end <= channels => {
                Ok(vec![end - start, height, width])
            }
            [channels, ..] => Err(format!("{start} to {end} of {channels} channels")),
        },
        Op::ChannelShuffle { groups } => match feature_map(inputs[0])? {
            [channels, ..] if *groups > 0 && channels.is_multiple_of(*groups) => {
                Ok(inputs[0].to_vec())
            }
            [channels, ..] => Err(format!("{groups} groups do not divide {channels} channels")),
        },
        Op::Tokens => {
            feature_map(inputs[0]).map(|[channels, height, width]| vec![height * width, channels])
        }
        Op::ClassToken { features } => match sequence(inputs[0])? {
            [tokens, width] if width == *features => Ok(vec![tokens + 1, width]),
            _ => Err(format!(
                "has {features} features, got shape {:?}",
                inputs[0]
            )),
        },
        Op::PositionEmbedding { tokens, features } => same(&[*tokens, *features], inputs[0]),
        Op::Attention { heads } => match sequence(inputs[0])? {
            [tokens, width] if *heads > 0 && width.is_multiple_of(3 * heads) => {
                Ok(vec![tokens, width / 3])
            }
            [_, width] => Err(format!("{width} features are not those of {heads} heads")),
        },
        Op::FirstToken => sequence(inputs[0]).map(|[_, features]| vec![features]),
        Op::Flatten => Ok(vec![inputs[0].iter().product()]),
        Op::Softmax if inputs[0].len() != 1 => {
            Err(format!("takes a vector, got shape {:?}", inputs[0]))
        }
        Op::Dropout { probability } | Op::StochasticDepth { probability }
            if !(0.0..1.0).contains(probability) =>
        {
            Err(format!("a dropout of {probability} is not in [0, 1)"))
        }
        Op::PixelsToFloat => match feature_map(inputs[0])? {
            [height, width, 3] => Ok(vec![3, height, width]),
            _ => Err(format!("takes RGB images, got shape {:?}", inputs[0])),
        },
        Op::Normalize { .. } => match feature_map(inputs[0])? {
            [3, ..] => Ok(inputs[0].to_vec()),
            [channels, ..] => Err(format!("takes 3 channels, got {channels}")),
        },
        Op::Activation(_) | Op::Dropout { .. } | Op::StochasticDepth { .. } | Op::Softmax => {
            Ok(inputs[0].to_vec())
        }
    }
}

fn convolved(conv: &Conv2d, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let [channels, height, width] = feature_map(inputs[0])?;
    if conv.in_channels != channels {
        return Err(format!(
            "has {} input channels, got {channels}",
            conv.in_channels
        ));
    }
    let divides = |channels: usize| conv.groups > 0 && channels.is_multiple_of(conv.groups);
    if !(divides(channels) && divides(conv.out_channels)) {
        return Err(format!(
            "{} groups do not divide {channels} and {} channels",
            conv.groups, conv.out_channels
        ));
    }
    let [rows, columns] = conv.reach();
    let [above, beside] = conv.padding;
    let output = vec![
        conv.out_channels,
        window(height, rows, conv.stride, above)?,
        window(width, columns, conv.stride, beside)?,
    ];
    match inputs.get(1) {
        Some(addend) => same(&output, addend),
        None => Ok(output),
    }
}

fn feature_map(shape: &[usize]) -> Result<[usize; 3], String> {
    shape
        .try_into()
        .map_err(|_| format!("takes channels x height x width, got shape {shape:?}"))
}

fn sequence(shape: &[usize]) -> Result<[usize; 2], String> {
    shape
        .try_into()
        .map_err(|_| format!("takes tokens x features, got shape {shape:?}"))
}

/// Where a shape has the channels of a map, or the features of tokens or of a vector.
pub(super) fn feature_axis(shape: &[usize]) -> usize {
    match shape {
        [_, _, _] => 0,
        _ => shape.len().saturating_sub(1),
    }
}

fn with_features(features: usize, shape: &[usize]) -> Result<Vec<usize>, String> {
    match shape.get(feature_axis(shape)) {
        Some(&found) if found == features => Ok(shape.to_vec()),
        _ => Err(format!(
            "has {features} input features, got shape {shape:?}"
        )),
    }
}

/// Number of windows of `reach` pixels that fit.
fn window(size: usize, reach: usize, stride: usize, around: Padding) -> Result<usize, String> {
    let padding = around.before + around.after;
    if stride == 0 {
        return Err("a stride of 0".into());
    }
    (size + padding)
        .checked_sub(reach)
        .map(|rest| rest / stride + 1)
        .ok_or_else(|| {
            format!("a window of {reach} pixels does not fit into {size}: use a larger image size")
        })
}

fn pooled(pool: &Pool2d, input: &[usize]) -> Result<Vec<usize>, String> {
    let [channels, height, width] = feature_map(input)?;
    if pool.padding * 2 > pool.kernel {
        return Err("padding is more than half of the window".into());
    }
    let side = |size| window(size, pool.kernel, pool.stride, pool.around(size));
    Ok(vec![channels, side(height)?, side(width)?])
}

fn same(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    if a == b {
        Ok(a.to_vec())
    } else {
        Err(format!("the shapes {a:?} and {b:?} differ"))
    }
}

fn concatenated(inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let mut joined = feature_map(inputs.first().ok_or("joins nothing")?)?;
    for input in &inputs[1..] {
        let [channels, height, width] = feature_map(input)?;
        if [height, width] != joined[1..] {
            return Err(format!(
                "the shapes {joined:?} and {input:?} differ in size"
            ));
        }
        joined[0] += channels;
    }
    Ok(joined.to_vec())
}
