//! How much each layer alone spoils the answers, and which layers go back to float.

use std::collections::BTreeSet;

use serde::Serialize;

use super::calibrate::Calibration;
use super::scheme::Scheme;
use crate::error::Result;

/// What a layer costs when it alone is int8.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensitivity {
    pub layer: String,
    /// Its place in the graph.
    #[serde(skip)]
    pub place: usize,
    /// Mean square of what the logits differ by from those of the float network, relative to the
    /// logits' variance. What all logits of a picture have in common does not count: softmax
    /// does not see it.
    pub error: f64,
}

/// Measures each layer, the most sensitive first.
///
/// # Errors
/// Those of [`crate::engine::Session`], and [`crate::error::Error::Interrupted`].
pub fn sensitivities(scheme: &Scheme, pictures: &Calibration<'_>) -> Result<Vec<Sensitivity>> {
    let expected = pictures.logits(scheme.float())?;
    let classes = scheme.float().graph.output_shape().iter().product();
    let layers = scheme.layers();
    pictures
        .progress
        .begin("measuring the sensitivity of layers", layers.len() as u64);
    let mut found = Vec::with_capacity(layers.len());
    for place in layers {
        let logits = pictures.logits(&scheme.quantized(&BTreeSet::from([place]))?)?;
        found.push(Sensitivity {
            layer: scheme.name(place).into(),
            place,
            error: relative_error(&expected, &logits, classes),
        });
        pictures.progress.advance(1);
    }
    pictures.progress.finish();
    found.sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok(found)
}

fn relative_error(expected: &[f32], found: &[f32], classes: usize) -> f64 {
    // Of each picture's logits, the mean is left out.
    let power = |logits: &[f32]| -> f64 {
        let rows = logits.chunks(classes.max(1)).map(|row| {
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
            row.iter()
                .map(|&x| (f64::from(x) - mean).powi(2))
                .sum::<f64>()
        });
        rows.sum()
    };
    let apart: Vec<f32> = expected.iter().zip(found).map(|(a, b)| a - b).collect();
    power(&apart) / power(expected).max(f64::MIN_POSITIVE)
}

/// Takes layers out of `integer` in the given order, one by one, until `fits` says so. `None` when
/// no layer is left and it never did.
///
/// # Errors
/// Those of `fits`.
pub fn restore(
    mut integer: BTreeSet<usize>,
    order: &[Sensitivity],
    fits: &mut dyn FnMut(&BTreeSet<usize>) -> Result<bool>,
) -> Result<Option<BTreeSet<usize>>> {
    for worst in order {
        integer.remove(&worst.place);
        if integer.is_empty() {
            break;
        }
        if fits(&integer)? {
            return Ok(Some(integer));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(places: &[usize]) -> Vec<Sensitivity> {
        let one = |&place| Sensitivity {
            layer: format!("conv{place}"),
            place,
            error: 0.0,
        };
        places.iter().map(one).collect()
    }

    #[test]
    fn the_error_is_relative_and_blind_to_shifts() {
        // Around their means: 1, -1 and 2, -2 against 1, -1 and 1, -1.
        let expected = [11.0, 9.0, 2.0, -2.0];
        assert_eq!(relative_error(&expected, &[1.0, -1.0, 5.0, 3.0], 2), 0.2);
        assert_eq!(relative_error(&expected, &expected, 2), 0.0);
    }

    #[test]
    fn layers_go_in_order_until_it_fits() {
        let all = BTreeSet::from([1, 2, 3]);
        let mut tried = Vec::new();
        let left = restore(all, &order(&[2, 3, 1]), &mut |left| {
            tried.push(left.clone());
            Ok(!left.contains(&3))
        });
        assert_eq!(left.unwrap(), Some(BTreeSet::from([1])));
        assert_eq!(tried, [BTreeSet::from([1, 3]), BTreeSet::from([1])]);
    }

    #[test]
    fn a_network_without_integers_is_no_answer() {
        let all = BTreeSet::from([1, 2]);
        let left = restore(all, &order(&[2, 1]), &mut |_| Ok(false)).unwrap();
        assert_eq!(left, None);
    }
}
