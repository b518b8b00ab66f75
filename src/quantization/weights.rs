//! Rounds weights to int8, symmetric, with a scale for each output channel.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::{InferenceGraph, Int8Weight, NodeId, Weight};

/// The largest int8 magnitude in use: the range is symmetric.
const LARGEST: i32 = 127;

/// The largest sum of two weights of one sign. x86 processors without 8-bit dot products add the
/// products of two neighbours in 16 bits, which saturate: 255 * 128 is within them.
const LARGEST_PAIR: i32 = 128;

/// Shape and values of a layer's float weight.
///
/// # Errors
/// [`Error::Data`] when it is missing or int8.
pub(super) fn float_weight(network: &InferenceGraph, id: NodeId) -> Result<(&[usize], &[f32])> {
    if let Weight::Float(tensor) = network.weight(id)?
        && let Some(values) = tensor.as_f32()
    {
        return Ok((&tensor.shape, values));
    }
    let name = &network.graph()[id].name;
    Err(Error::Data(format!("the weight of {name} is not float32")).into())
}

/// Rounds a weight of this shape, row-major, with the scale for each output that leaves the least
/// squared error.
///
/// With `in_pairs` no two weights of an output and of one sign sum to more than 128. Depthwise
/// convolutions do not need it: their kernels do not add neighbours.
///
/// # Errors
/// [`Error::Data`] when the values do not fit the shape.
pub(super) fn round(shape: &[usize], weight: &[f32], in_pairs: bool) -> Result<Int8Weight> {
    let outputs = shape.first().copied().unwrap_or_default();
    let length = (weight.len() / outputs.max(1)).max(1);
    let (scales, rows): (Vec<f32>, Vec<Vec<i8>>) = weight
        .par_chunks(length)
        .map(|row| {
            let row = Row::new(row, in_pairs);
            let scale = row.best_scale();
            (scale, row.rounded(scale))
        })
        .unzip();
    Int8Weight::new(shape.to_vec(), rows.concat(), scales)
}

/// As [`round`], with these scales.
///
/// # Errors
/// As there.
pub(super) fn round_with(
    shape: &[usize],
    weight: &[f32],
    in_pairs: bool,
    scales: &[f32],
) -> Result<Int8Weight> {
    let length = (weight.len() / scales.len().max(1)).max(1);
    let rows = weight.par_chunks(length).zip(scales);
    let rows = rows.map(|(row, &scale)| Row::new(row, in_pairs).rounded(scale));
    let rows: Vec<Vec<i8>> = rows.collect();
    Int8Weight::new(shape.to_vec(), rows.concat(), scales.to_vec())
}

/// The weights of an output channel.
struct Row<'a> {
    weights: &'a [f32],
    /// The two largest weights, and the two largest magnitudes of negative ones.
    largest: [[f32; 2]; 2],
    in_pairs: bool,
}

impl<'a> Row<'a> {
    fn new(weights: &'a [f32], in_pairs: bool) -> Self {
        let two_largest = |sign: f32| {
            weights.iter().fold([0.0f32; 2], |[first, second], weight| {
                let weight = sign * weight;
                if weight > first {
                    [weight, first]
                } else {
                    [first, second.max(weight)]
                }
            })
        };
        Self {
            weights,
            largest: [two_largest(1.0), two_largest(-1.0)],
            in_pairs,
        }
    }

    /// The scale at which no weight is cut off.
    fn whole_scale(&self) -> f32 {
        let sides = self.largest.iter().map(|[first, second]| {
            let alone = first / LARGEST as f32;
            match self.in_pairs {
                true => alone.max((first + second) / LARGEST_PAIR as f32),
                false => alone,
            }
        });
        let scale = sides.fold(0.0, f32::max);
        if scale > f32::MIN_POSITIVE {
            scale
        } else {
            1.0
        }
    }

    fn best_scale(&self) -> f32 {
        let whole = self.whole_scale();
        let shares = (0..25).map(|step| 1.0 - step as f32 / 50.0);
        let errors = shares.map(|share| (self.squared_error(whole * share), whole * share));
        let least = errors.min_by(|a, b| a.0.total_cmp(&b.0));
        least.map_or(whole, |(_, scale)| scale)
    }

    /// The lowest and highest integer that may stand in the row.
    fn limits(&self, scale: f32) -> (i32, i32) {
        let limit = |[_, second]: [f32; 2]| {
            if !self.in_pairs {
                return LARGEST;
            }
            let second = (second / scale).round_ties_even() as i32;
            (LARGEST_PAIR - second).clamp(LARGEST_PAIR / 2, LARGEST)
        };
        (-limit(self.largest[1]), limit(self.largest[0]))
    }

    fn squared_error(&self, scale: f32) -> f64 {
        let (low, high) = self.limits(scale);
        let errors = self.weights.iter().map(|weight| {
            let error = weight - scale * integer(weight / scale, low, high) as f32;
            f64::from(error * error)
        });
        errors.sum()
    }

    fn rounded(&self, scale: f32) -> Vec<i8> {
        let (low, high) = self.limits(scale);
        let integers = self.weights.iter();
        integers
            .map(|weight| integer(weight / scale, low, high) as i8)
            .collect()
    }
}

fn integer(steps: f32, low: i32, high: i32) -> i32 {
    (steps.round_ties_even() as i32).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest sum of two of one sign.
    fn largest_pair(row: &[i8]) -> i32 {
        let of_sign = |sign: i32| {
            let mut side: Vec<i32> = row.iter().map(|&q| (sign * i32::from(q)).max(0)).collect();
            side.sort_unstable();
            side.iter().rev().take(2).sum::<i32>()
        };
        of_sign(1).max(of_sign(-1))
    }

    #[test]
    fn a_hand_computed_row() {
        // Clipping gains nothing: 127 stands for 1.27, and all others are whole steps.
        let row = [1.27, -0.5, 0.01, 0.0];
        let alone = round(&[1, 4], &row, false).unwrap();
        assert_eq!(alone.values(), [127, -50, 1, 0]);
        assert!((alone.scales()[0] - 0.01).abs() < 1e-8);
        // Both rows have their own scale; of equal weights none may pass 64.
        let two = round(&[2, 3], &[0.64, 0.64, 0.0, 64.0, -64.0, 1.0], true).unwrap();
        assert_eq!(two.values()[..3], [64, 64, 0]);
        assert!((two.scales()[0] - 0.01).abs() < 1e-8);
        assert!(two.values()[3] > 120 && two.values()[4] < -120);
    }

    #[test]
    fn a_row_of_zeros_has_a_scale() {
        let zeros = round(&[1, 2], &[0.0, -0.0], true).unwrap();
        assert_eq!((zeros.values(), zeros.scales()), (&[0, 0][..], &[1.0][..]));
    }

    proptest! {
        #[test]
        fn no_pair_overflows_and_the_error_is_small(
            row in prop::collection::vec(-2f32..2.0, 1..40),
            in_pairs: bool,
        ) {
            let rounded = round(&[1, row.len()], &row, in_pairs).unwrap();
            let scale = rounded.scales()[0];
            prop_assert!(scale > 0.0);
            if in_pairs {
                prop_assert!(largest_pair(rounded.values()) <= 128);
            }
            prop_assert!(rounded.values().iter().all(|&q| q > i8::MIN));
            let error: f32 = row.iter().zip(rounded.values())
                .map(|(w, &q)| (w - scale * f32::from(q)).powi(2))
                .sum();
            let step = row.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 60.0;
            prop_assert!(error <= row.len() as f32 * step * step);
        }
    }
}
