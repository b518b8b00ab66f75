//! From the distribution of a value to the range that its integers cover.

use clap::ValueEnum;
use serde::Serialize;

use crate::graph::QuantizationParameters;

const BINS: usize = 2048;

/// Share of the values that [`Observer::Percentile`] keeps within the range.
const KEPT: f64 = 0.9999;

/// How the range of an activation follows from what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observer {
    /// From the smallest to the largest value
    Minmax,
    /// Without the outermost 0.01% of the values
    Percentile,
    /// With the least mean squared error of rounding and clipping
    Mse,
}

/// How often a value lay where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Histogram {
    /// Equal bins from `low` to `high`, empty.
    pub(super) fn new(low: f32, high: f32) -> Self {
        Self {
            low,
            high,
            counts: vec![0; BINS],
        }
    }

    /// Counts values; those outside of the range count as its ends.
    pub(super) fn add(&mut self, values: &[f32]) {
        let per_unit = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for value in values {
            let bin = ((value - self.low) * per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    fn centre(&self, bin: usize) -> f32 {
        self.low + (self.high - self.low) * (bin as f32 + 0.5) / BINS as f32
    }

    /// The quantization parameters for the values that were counted.
    pub(super) fn qparams(&self, observer: Observer) -> QuantizationParameters {
        let (low, high) = match observer {
            Observer::Minmax => (self.low, self.high),
            Observer::Percentile => self.percentile(),
            Observer::Mse => self.least_squares(),
        };
        QuantizationParameters::covering(low, high)
    }

    /// The range without the `1 - KEPT` outermost values of each side.
    fn percentile(&self) -> (f32, f32) {
        let total: u64 = self.counts.iter().sum();
        let beyond = (total as f64 * (1.0 - KEPT)) as u64;
        let within = |passed: &mut u64, bin: usize| {
            *passed += self.counts[bin];
            *passed > beyond
        };
        let (mut below, mut above) = (0, 0);
        let low = (0..BINS).find(|&bin| within(&mut below, bin));
        let high = (0..BINS).rev().find(|&bin| within(&mut above, bin));
        let border = |bin: usize| self.low + (self.high - self.low) * bin as f32 / BINS as f32;
        (
            low.map_or(self.low, border),
            high.map_or(self.high, |bin| border(bin + 1)),
        )
    }

    /// The range with the least squared error: both ends drawn in together, then each alone.
    fn least_squares(&self) -> (f32, f32) {
        const STEPS: usize = 80;
        let shares = || (0..STEPS).map(|step| 1.0 - step as f32 / 100.0);
        let least = |ranges: &mut dyn Iterator<Item = (f32, f32)>| {
            let errors = ranges.map(|range| (self.squared_error(range), range));
            errors
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or((self.low, self.high), |(_, range)| range)
        };
        let (low, _) = least(&mut shares().map(|s| (self.low * s, self.high * s)));
        let (_, high) = least(&mut shares().map(|s| (low, self.high * s)));
        least(&mut shares().map(|s| (self.low * s, high)))
    }

    fn squared_error(&self, (low, high): (f32, f32)) -> f64 {
        let qparams = QuantizationParameters::covering(low, high);
        let errors = self.counts.iter().enumerate().map(|(bin, &count)| {
            if count == 0 {
                return 0.0;
            }
            let real = self.centre(bin);
            let error = f64::from(real - qparams.dequantize(qparams.quantize(real)));
            count as f64 * error * error
        });
        errors.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(qparams: QuantizationParameters, low: f32, high: f32, tolerance: f32) {
        let (found_low, found_high) = (qparams.dequantize(0), qparams.dequantize(255));
        let fits = (found_low - low).abs() < tolerance && (found_high - high).abs() < tolerance;
        assert!(fits, "{found_low} {found_high}, not {low} {high}");
    }

    /// A million values evenly in 0..1, and one at 100.
    fn outlier() -> Histogram {
        let mut histogram = Histogram::new(0.0, 100.0);
        let values: Vec<f32> = (0..1_000_000).map(|i| i as f32 / 1e6).collect();
        histogram.add(&values);
        histogram.add(&[100.0]);
        histogram
    }

    #[test]
    fn the_whole_range_is_kept_by_minmax() {
        close(outlier().qparams(Observer::Minmax), 0.0, 100.0, 1e-4);
    }

    #[test]
    fn a_percentile_leaves_outliers_out() {
        // Bins are 100 / 2048 wide.
        close(outlier().qparams(Observer::Percentile), 0.0, 1.0, 0.05);
        let mut both = Histogram::new(-1.0, 1.0);
        both.add(&vec![0.0; 99_990]);
        both.add(&[-1.0; 5]);
        both.add(&[1.0; 10]);
        // Of 100,005 values, 10 may be outside on each side.
        close(both.qparams(Observer::Percentile), 0.0, 0.001, 0.001);
        both.add(&[1.0; 10]);
        close(both.qparams(Observer::Percentile), 0.0, 1.0, 0.001);
    }

    #[test]
    fn least_squares_weigh_clipping_against_rounding() {
        // A million values evenly in 0..20 and one at 100: at a range of r the million costs
        // 1e6 (r / 255)^2 / 12 and the one (100 - r)^2, whose sum is least at
        // r = 100 / (1 + 1e6 / 12 / 255^2) = 43.8.
        let mut histogram = Histogram::new(0.0, 100.0);
        histogram.add(&(0..1_000_000).map(|i| i as f32 / 5e4).collect::<Vec<_>>());
        histogram.add(&[100.0]);
        close(histogram.qparams(Observer::Mse), 0.0, 43.8, 2.0);
        let mut even = Histogram::new(-1.0, 1.0);
        even.add(
            &(0..20_001)
                .map(|i| i as f32 / 1e4 - 1.0)
                .collect::<Vec<_>>(),
        );
        close(even.qparams(Observer::Mse), -1.0, 1.0, 0.02);
    }

    #[test]
    fn constant_values_have_integers_too() {
        let mut constant = Histogram::new(0.0, 0.0);
        constant.add(&[0.0; 4]);
        for observer in [Observer::Minmax, Observer::Percentile, Observer::Mse] {
            assert_eq!(constant.qparams(observer).scale, 1.0);
        }
        let mut positive = Histogram::new(2.0, 2.0);
        positive.add(&[2.0; 4]);
        close(positive.qparams(Observer::Mse), 0.0, 2.0, 1e-5);
    }
}
