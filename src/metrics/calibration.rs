//! Calibration: whether a confidence of 80% is right four times in five.

use super::predictions::Outcome;

/// How many equal-width bins the confidences fall into.
pub const BINS: usize = 15;

/// The images whose confidence lies in (low, high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub count: usize,
    /// Mean confidence of its images, 0 where there are none.
    pub confidence: f64,
    /// Share of its images that were predicted right, 0 where there are none.
    pub accuracy: f64,
}

/// The reliability diagram's [`BINS`] bins over top-1 confidence, as in Guo et al., "On
/// Calibration of Modern Neural Networks" (2017).
pub fn bins(outcomes: &[Outcome]) -> Vec<Bin> {
    let mut bins: Vec<Bin> = (0..BINS)
        .map(|bin| Bin {
            low: bin as f64 / BINS as f64,
            high: (bin + 1) as f64 / BINS as f64,
            count: 0,
            confidence: 0.0,
            accuracy: 0.0,
        })
        .collect();
    for outcome in outcomes {
        let index = bins.partition_point(|bin| bin.high < outcome.confidence);
        let bin = &mut bins[index.min(BINS - 1)];
        bin.count += 1;
        bin.confidence += outcome.confidence;
        bin.accuracy += f64::from(u8::from(outcome.rank == 0));
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// Expected calibration error, in 0..=1: the mean distance of accuracy and confidence over the
/// bins, weighted by their images.
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let n: usize = bins.iter().map(|bin| bin.count).sum();
    let gap = |bin: &Bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs();
    bins.iter().map(gap).sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(confidence: f64, right: bool) -> Outcome {
        Outcome {
            truth: 0,
            predicted: 0,
            confidence,
            rank: usize::from(!right),
            log_likelihood: 0.0,
        }
    }

    #[test]
    fn an_edge_belongs_to_the_lower_bin() {
        let bins = bins(&[
            outcome(0.2, true),
            outcome(0.200_001, true),
            outcome(1.0, true),
        ]);
        let filled: Vec<usize> = (0..BINS).filter(|&bin| bins[bin].count == 1).collect();
        assert_eq!(filled, [2, 3, 14]);
    }

    #[test]
    fn the_error_of_two_bins() {
        let outcomes = [outcome(0.9, true), outcome(0.9, false), outcome(0.6, true)];
        let error = expected_calibration_error(&bins(&outcomes));
        assert!((error - (2.0 * 0.4 + 0.4) / 3.0).abs() < 1e-12);
    }
}
