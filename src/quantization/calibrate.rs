//! What the values of a float network are over calibration pictures.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::observer::Histogram;
use crate::engine::compile::Network;
use crate::engine::{Options, Pictures, Precision, Session, Values};
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::progress::Progress;

/// Pictures whose values are held at a time: a large network has 50 MB of them for each.
const AT_ONCE: usize = 4;

/// Pixels that are summed in float32.
const PIXELS: usize = 1024;

/// Pictures to calibrate with, and how to run networks over them.
#[derive(Clone, Copy)]
pub struct Calibration<'a> {
    pub preprocessing: &'a Preprocessing,
    /// 8-bit RGB (n, crop, crop, 3).
    pub pictures: &'a [u8],
    /// Device and operators; the precision is this module's choice.
    pub options: Options,
    pub stop: &'a AtomicBool,
    pub progress: &'a dyn Progress,
}

/// A value over all pictures, for each of its channels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

impl Statistics {
    /// The range of all channels together.
    pub fn range(&self) -> (f32, f32) {
        let low = self.low.iter().copied().fold(f32::INFINITY, f32::min);
        let high = self.high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (low, high)
    }

    /// The largest magnitude of all, and that of each channel.
    pub fn reaches(&self) -> (f32, Vec<f32>) {
        let both = self.low.iter().zip(&self.high);
        let reaches: Vec<f32> = both.map(|(low, high)| high.max(-low)).collect();
        (reaches.iter().copied().fold(0.0, f32::max), reaches)
    }

    /// What they are when each channel is multiplied by its own positive factor.
    pub fn scale(&mut self, factors: &[f32]) {
        for (channel, factor) in factors.iter().enumerate() {
            self.low[channel] *= factor;
            self.high[channel] *= factor;
            self.mean[channel] *= factor;
            self.variance[channel] *= factor * factor;
        }
    }
}

impl Calibration<'_> {
    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.pictures.len() / self.picture().max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first pictures only.
    pub fn first(self, pictures: usize) -> Self {
        let end = self.pictures.len().min(pictures * self.picture());
        Self {
            pictures: &self.pictures[..end],
            ..self
        }
    }

    /// Bytes of a picture.
    fn picture(&self) -> usize {
        3 * (self.preprocessing.crop as usize).pow(2)
    }

    /// Channel statistics of nodes of a float network, in their order.
    ///
    /// # Errors
    /// Those of [`Session`], and [`Error::Interrupted`].
    pub(super) fn statistics(
        &self,
        network: &Network,
        observed: &[usize],
    ) -> Result<Vec<Statistics>> {
        let mut sums: Vec<Sums> = Vec::new();
        self.observe("measuring ranges", network, observed, |values| {
            if sums.is_empty() {
                sums = values.iter().map(|v| Sums::new(v.channels)).collect();
            }
            let both = sums.par_iter_mut().zip(values);
            both.for_each(|(sums, values)| sums.add(values));
        })?;
        Ok(sums.into_iter().map(Sums::finish).collect())
    }

    /// Histograms of nodes of a float network over the given ranges.
    ///
    /// # Errors
    /// As [`Calibration::statistics`].
    pub(super) fn histograms(
        &self,
        network: &Network,
        observed: &[usize],
        ranges: &[(f32, f32)],
    ) -> Result<Vec<Histogram>> {
        let mut histograms: Vec<Histogram> = ranges
            .iter()
            .map(|&(low, high)| Histogram::new(low, high))
            .collect();
        self.observe("measuring distributions", network, observed, |values| {
            let both = histograms.par_iter_mut().zip(values);
            both.for_each(|(histogram, values)| histogram.add(&values.values));
        })?;
        Ok(histograms)
    }

    /// Logits of a network in the precision that its weights are in.
    ///
    /// # Errors
    /// As [`Calibration::statistics`].
    pub(super) fn logits(&self, network: &Network) -> Result<Vec<f32>> {
        let session = self.session(network, &[])?;
        self.go_on()?;
        session.logits(Pictures::Rgb8(self.pictures))
    }

    pub(super) fn go_on(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted("stopped: nothing was written".into()).into()),
            false => Ok(()),
        }
    }

    fn session(&self, network: &Network, observed: &[usize]) -> Result<Session> {
        let precision = match network.quantization {
            Some(_) => Precision::Int8,
            None => Precision::Float32,
        };
        let options = Options {
            precision,
            ..self.options
        };
        Session::of_network(network, self.preprocessing, &options, observed)
    }

    fn observe(
        &self,
        what: &str,
        network: &Network,
        observed: &[usize],
        mut hear: impl FnMut(&[Values]),
    ) -> Result<()> {
        let session = self.session(network, observed)?;
        self.progress.begin(what, self.len() as u64);
        for pictures in self.pictures.chunks(AT_ONCE * self.picture().max(1)) {
            self.go_on()?;
            hear(&session.values(Pictures::Rgb8(pictures))?);
            self.progress
                .advance((pictures.len() / self.picture()) as u64);
        }
        self.progress.finish();
        Ok(())
    }
}

/// Statistics in the making.
struct Sums {
    low: Vec<f32>,
    high: Vec<f32>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    /// Values of each channel.
    count: u64,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self {
            low: vec![f32::INFINITY; channels],
            high: vec![f32::NEG_INFINITY; channels],
            sum: vec![0.0; channels],
            squares: vec![0.0; channels],
            count: 0,
        }
    }

    fn add(&mut self, values: &Values) {
        let channels = values.channels.max(1);
        for pixels in values.values.chunks(PIXELS * channels) {
            // Short sums keep enough of float32, and are fast.
            let (mut sum, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
            for pixel in pixels.chunks_exact(channels) {
                let limits = self.low.iter_mut().zip(&mut self.high);
                let sums = sum.iter_mut().zip(&mut squares);
                for ((&value, (low, high)), (sum, square)) in pixel.iter().zip(limits).zip(sums) {
                    *low = low.min(value);
                    *high = high.max(value);
                    *sum += value;
                    *square += value * value;
                }
            }
            for (total, part) in [(&mut self.sum, sum), (&mut self.squares, squares)] {
                let both = total.iter_mut().zip(part);
                both.for_each(|(total, part)| *total += f64::from(part));
            }
        }
        self.count += (values.values.len() / channels) as u64;
    }

    fn finish(self) -> Statistics {
        let count = self.count.max(1) as f64;
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / count).collect();
        let squares = self.squares.iter().map(|sum| sum / count);
        let variance = squares
            .zip(&mean)
            .map(|(square, mean)| square - mean * mean);
        Statistics {
            low: self.low,
            high: self.high,
            variance: variance.map(|v| v.max(0.0) as f32).collect(),
            mean: mean.into_iter().map(|mean| mean as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_told_apart() {
        let mut sums = Sums::new(2);
        for values in [vec![1.0, -1.0, 3.0, 0.0], vec![2.0, 4.0]] {
            sums.add(&Values {
                channels: 2,
                values,
            });
        }
        let mut statistics = sums.finish();
        assert_eq!(statistics.low, [1.0, -1.0]);
        assert_eq!(statistics.high, [3.0, 4.0]);
        assert_eq!(statistics.mean, [2.0, 1.0]);
        assert!((statistics.variance[0] - 2.0 / 3.0).abs() < 1e-6);
        assert!((statistics.variance[1] - 14.0 / 3.0).abs() < 1e-6);
        assert_eq!(statistics.range(), (-1.0, 4.0));
        statistics.scale(&[2.0, 0.5]);
        assert_eq!(statistics.range(), (-0.5, 6.0));
        assert_eq!(statistics.mean, [4.0, 0.5]);
        assert!((statistics.variance[0] - 8.0 / 3.0).abs() < 1e-6);
    }
}
