//! What each layer alone costs in int8.

use std::collections::BTreeSet;

use serde::Serialize;

use super::calibrate::Calibration;
use super::scheme::Scheme;
use crate::error::Result;
use crate::graph::NodeId;

/// What a layer costs when it alone is int8.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sensitivity {
    pub layer: String,
    #[serde(skip)]
    pub id: NodeId,
    /// Mean square of what the logits differ by from those of the float network, relative to the
    /// logits' variance. An offset that all logits of an image share does not count: softmax ignores
    /// it.
    pub error: f64,
}

/// Measures each layer, the most sensitive first.
///
/// # Errors
/// Those of [`crate::inference::load`], and [`crate::error::Error::Interrupted`].
pub(super) fn sensitivities(
    scheme: &Scheme,
    calibration: &Calibration<'_>,
) -> Result<Vec<Sensitivity>> {
    let expected = calibration.logits(scheme.float())?;
    let classes = scheme.float().graph().output_shape().iter().product();
    let layers = scheme.layers();
    calibration
        .progress
        .begin("measuring the sensitivity of layers", layers.len() as u64);
    let mut found = Vec::with_capacity(layers.len());
    for id in layers {
        let logits = calibration.logits(&scheme.quantized(&BTreeSet::from([id]))?)?;
        found.push(Sensitivity {
            layer: scheme.name(id).into(),
            id,
            error: relative_error(&expected, &logits, classes),
        });
        calibration.progress.advance(1);
    }
    calibration.progress.finish();
    found.sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok(found)
}

fn relative_error(expected: &[f32], found: &[f32], classes: usize) -> f64 {
    // The mean of each image's logits is left out.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_relative_and_blind_to_shifts() {
        // Around their means: 1, -1 and 2, -2 against 1, -1 and 1, -1.
        let expected = [11.0, 9.0, 2.0, -2.0];
        assert_eq!(relative_error(&expected, &[1.0, -1.0, 5.0, 3.0], 2), 0.2);
        assert_eq!(relative_error(&expected, &expected, 2), 0.0);
    }
}
