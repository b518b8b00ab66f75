//! Bias correction: what rounded weights add to the mean of each output is taken from its bias.

use crate::graph::{Int8Weight, Op};

/// The bias that gives each output channel the mean it had before the weights were rounded:
/// `b + (W - Wq) E[x]`, with the mean `E[x]` of each input channel over the calibration images
/// (Nagel et al., 2019, <https://arxiv.org/abs/1906.04721>, section 4.2). Padding is left out of account.
pub(super) fn corrected(
    op: &Op,
    bias: &[f32],
    weight: &[f32],
    rounded: &Int8Weight,
    mean: &[f32],
) -> Vec<f32> {
    let (taps, inputs, groups) = match op {
        Op::Conv2d(conv) => (conv.taps(), conv.in_channels / conv.groups, conv.groups),
        _ => (1, mean.len(), 1),
    };
    let outputs = bias.len();
    let row = taps * inputs;
    let shifted = bias.iter().enumerate().map(|(output, bias)| {
        let first = output / (outputs / groups).max(1) * inputs;
        let errors = (0..row).map(|at| {
            let index = output * row + at;
            let dequantized = f32::from(rounded.values()[index]) * rounded.scales()[output];
            let error = f64::from(weight[index] - dequantized);
            error * f64::from(mean[first + at / taps])
        });
        (f64::from(*bias) + errors.sum::<f64>()) as f32
    });
    shifted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv2d, Linear};

    #[test]
    fn a_linear_layer_by_hand() {
        let op = Op::Linear(Linear {
            in_features: 2,
            ..Linear::new(2)
        });
        let rounded = Int8Weight::new(vec![2, 2], vec![1, 2, 3, 4], vec![0.5, 1.0]).unwrap();
        // Errors: 0.25 and 0 of the first row, 0 and -1 of the second.
        let weight = [0.75, 1.0, 3.0, 3.0];
        let bias = corrected(&op, &[1.0, 1.0], &weight, &rounded, &[2.0, 10.0]);
        assert_eq!(bias, [1.5, -9.0]);
    }

    #[test]
    fn each_group_of_a_convolution_has_its_own_inputs() {
        let mut conv = Conv2d::new(2, 1).groups(2);
        conv.in_channels = 4;
        let rounded = Int8Weight::new(vec![2, 2, 1, 1], vec![0; 4], vec![1.0; 2]).unwrap();
        let weight = [0.5, 0.25, 1.0, 2.0];
        let mean = [1.0, 2.0, 3.0, 4.0];
        let bias = corrected(&Op::Conv2d(conv), &[0.0; 2], &weight, &rounded, &mean);
        assert_eq!(bias, [1.0, 11.0]);
    }
}
