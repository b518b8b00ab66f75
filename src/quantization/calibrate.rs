//! The values of a float network over calibration images.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::observer::Histogram;
use crate::error::{Error, Result};
use crate::graph::{Graph, InferenceGraph, NodeId, Op};
use crate::image::Preprocessing;
use crate::inference::{self, Images, NodeValues, Options, Precision};
use crate::progress::Progress;

/// Images whose values are held at a time: a large network has 50 MB of them for each.
const AT_ONCE: usize = 4;

/// Pixels that are summed in float32.
const PIXELS: usize = 1024;

/// Images to calibrate with, and how to run networks over them.
#[derive(Clone, Copy)]
pub(crate) struct Calibration<'a> {
    pub preprocessing: &'a Preprocessing,
    /// 8-bit RGB (n, crop, crop, 3).
    pub images: &'a [u8],
    /// Device and kernels; the precision is this module's choice.
    pub options: Options,
    pub stop: &'a AtomicBool,
    pub progress: &'a dyn Progress,
}

/// A value over all images, for each of its channels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Statistics by node.
pub(super) type StatisticsOf = BTreeMap<NodeId, Statistics>;

impl Statistics {
    /// The range of all channels together.
    pub(super) fn range(&self) -> (f32, f32) {
        let low = self.low.iter().copied().fold(f32::INFINITY, f32::min);
        let high = self.high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (low, high)
    }

    /// The largest magnitude of all, and that of each channel.
    pub(super) fn reaches(&self) -> (f32, Vec<f32>) {
        let both = self.low.iter().zip(&self.high);
        let reaches: Vec<f32> = both.map(|(low, high)| high.max(-low)).collect();
        (reaches.iter().copied().fold(0.0, f32::max), reaches)
    }

    /// What they are when each channel is multiplied by its own positive factor.
    pub(super) fn scale(&mut self, factors: &[f32]) {
        for (channel, factor) in factors.iter().enumerate() {
            self.low[channel] *= factor;
            self.high[channel] *= factor;
            self.mean[channel] *= factor;
            self.variance[channel] *= factor * factor;
        }
    }
}

impl Calibration<'_> {
    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.images.len() / self.image_bytes().max(1)
    }

    /// The first images only.
    pub(crate) fn first(self, images: usize) -> Self {
        let end = self.images.len().min(images * self.image_bytes());
        Self {
            images: &self.images[..end],
            ..self
        }
    }

    /// Bytes of an image.
    fn image_bytes(&self) -> usize {
        3 * (self.preprocessing.crop as usize).pow(2)
    }

    /// Channel statistics of all nodes of a float network, and of what its convolutions give before
    /// they add a residual: the difference of two values. Where the sum is clamped from below, that is
    /// as low as it takes to be clamped.
    ///
    /// # Errors
    /// Those of [`inference::load_extractor`], and [`Error::Interrupted`].
    pub(super) fn statistics(&self, network: &InferenceGraph) -> Result<[StatisticsOf; 2]> {
        let observed: Vec<NodeId> = network.graph().ids().collect();
        let residuals: Vec<(NodeId, NodeId)> = residuals(network.graph()).collect();
        let (mut sums, mut differences): (Vec<Sums>, Vec<Sums>) = (Vec::new(), Vec::new());
        self.observe("measuring ranges", network, &observed, |values| {
            if sums.is_empty() {
                sums = values.iter().map(|v| Sums::new(v.channels)).collect();
                let channels = |id: NodeId| values[id.index()].channels;
                let of_sums = residuals.iter().map(|&(sum, _)| Sums::new(channels(sum)));
                differences = of_sums.collect();
            }
            let both = sums.par_iter_mut().zip(values);
            both.for_each(|(sums, values)| sums.add(values));
            let both = differences.par_iter_mut().zip(&residuals);
            both.for_each(|(sums, &(sum, residual))| {
                sums.add(&values[sum.index()].minus(&values[residual.index()]));
            });
        })?;
        let sums = observed.into_iter().zip(sums.into_iter().map(Sums::finish));
        let before = residuals.into_iter().map(|(sum, _)| sum);
        let before = before.zip(differences.into_iter().map(Sums::finish));
        Ok([sums.collect(), before.collect()])
    }

    /// Histograms of nodes of a float network over the given ranges.
    ///
    /// # Errors
    /// As [`Calibration::statistics`].
    pub(super) fn histograms(
        &self,
        network: &InferenceGraph,
        observed: &[NodeId],
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

    /// Logits of a network, in int8 if it is quantized, else in float32.
    ///
    /// # Errors
    /// As [`Calibration::statistics`].
    pub(super) fn logits(&self, network: &InferenceGraph) -> Result<Vec<f32>> {
        let options = self.options(network);
        let backend = inference::load(network, self.preprocessing, &options)?;
        self.check_stop()?;
        backend.logits(Images::Rgb8(self.images))
    }

    /// # Errors
    /// [`Error::Interrupted`] once the flag is set.
    pub(crate) fn check_stop(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted("stopped: nothing was written".into()).into()),
            false => Ok(()),
        }
    }

    fn options(&self, network: &InferenceGraph) -> Options {
        Options {
            precision: match network.quantized() {
                Some(_) => Precision::Int8,
                None => Precision::Float32,
            },
            ..self.options
        }
    }

    fn observe(
        &self,
        what: &str,
        network: &InferenceGraph,
        observed: &[NodeId],
        mut each: impl FnMut(&[NodeValues]),
    ) -> Result<()> {
        let options = self.options(network);
        let extractor = inference::load_extractor(network, self.preprocessing, &options, observed)?;
        self.progress.begin(what, self.len() as u64);
        for images in self.images.chunks(AT_ONCE * self.image_bytes().max(1)) {
            self.check_stop()?;
            each(&extractor.values(Images::Rgb8(images))?);
            self.progress
                .advance((images.len() / self.image_bytes()) as u64);
        }
        self.progress.finish();
        Ok(())
    }
}

/// The convolutions that add a residual, with the residual.
fn residuals(graph: &Graph) -> impl Iterator<Item = (NodeId, NodeId)> {
    graph.iter().filter_map(|(id, node)| match &node.op {
        Op::Conv2d(conv) if conv.epilogue.add => Some((id, *node.inputs.get(1)?)),
        _ => None,
    })
}

impl NodeValues {
    fn minus(&self, other: &Self) -> Self {
        let both = self.values.iter().zip(&other.values);
        Self {
            channels: self.channels,
            values: both.map(|(a, b)| a - b).collect(),
        }
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

    fn add(&mut self, values: &NodeValues) {
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
            sums.add(&NodeValues {
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
