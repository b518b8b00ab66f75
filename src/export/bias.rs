//! The bias of int8 layers in integers.

use crate::error::Result;
use crate::graph::Int8Weight;

/// The largest integer of a bias; room is left for the products that are added to it.
const LARGEST_BIAS: f64 = (1u32 << 30) as f64;

/// A layer's weight, and its bias in steps of `input scale * weight scale`, as integer kernels add it.
/// Where that does not fit into 32 bits, the output's weights are so small that longer steps cost
/// nothing.
pub(super) fn with_integer_bias(
    weight: &Int8Weight,
    bias: &[f32],
    input_scale: f32,
) -> Result<(Int8Weight, Vec<i32>)> {
    let (mut q, mut scales) = (weight.values().to_vec(), weight.scales().to_vec());
    let taps = (q.len() / scales.len().max(1)).max(1);
    let mut integers = Vec::with_capacity(bias.len());
    let rows = q.chunks_mut(taps).zip(&mut scales);
    for ((row, scale), &bias) in rows.zip(bias) {
        let bias = f64::from(bias);
        let step = |scale: f32| f64::from(scale) * f64::from(input_scale);
        let longer = bias.abs() / LARGEST_BIAS / step(*scale);
        if longer > 1.0 {
            for q in row {
                *q = (f64::from(*q) / longer).round() as i8;
            }
            *scale = (f64::from(*scale) * longer) as f32;
        }
        integers.push((bias / step(*scale)).round() as i32);
    }
    let weight = Int8Weight::new(weight.shape().to_vec(), q, scales)?;
    Ok((weight, integers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_that_needs_more_than_32_bits_gets_longer_steps() {
        let weight = vec![100, -100, 100, -100];
        let weight = Int8Weight::new(vec![2, 2], weight, vec![0.01, 1e-12]).unwrap();
        let (weight, bias) = with_integer_bias(&weight, &[1.0, 1.0], 0.1).unwrap();
        assert_eq!(bias[0], 1000);
        assert_eq!(weight.values(), [100, -100, 0, 0]);
        let real = f64::from(bias[1]) * f64::from(weight.scales()[1]) * 0.1;
        assert!((real - 1.0).abs() < 1e-6, "{real}");
    }
}
