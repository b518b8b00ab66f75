//! Cross-layer equalisation: channels of feature maps are brought to one range, so that one scale
//! serves them all.

use std::collections::BTreeMap;

use super::calibrate::Statistics;
use crate::engine::compile::Network;
use crate::error::{Error, Result};
use crate::graph::{Activation, Conv2d, Op};
use crate::weights::{Tensor, Values};

/// The largest factor of a channel: one that the calibration pictures hardly woke may be wide
/// awake on others.
const LARGEST: f32 = 32.0;

/// Scales the channels of feature maps that only convolutions read: the weights that make channel
/// `c` are multiplied by `k`, those that read it divided by it (Nagel et al., 2019,
/// <https://arxiv.org/abs/1906.04721>, section 4.1). Maps that residual sums tie together get the
/// same factors. `statistics`, by the nodes' places, are made to fit.
///
/// Without activation and with ReLU the network computes what it did. ReLU6 cuts a channel off at
/// `6 / k` instead of 6, and `k` is such that this is at or above the channel's largest value on
/// the calibration pictures.
///
/// # Errors
/// [`Error::Data`] when the weights are no float32 numbers.
pub(super) fn equalise(
    network: &mut Network,
    statistics: &mut BTreeMap<usize, Statistics>,
) -> Result<()> {
    for group in groups(network) {
        let factors = group.factors(network, statistics)?;
        for &member in &group.members {
            if let Some(statistics) = statistics.get_mut(&member) {
                statistics.scale(&factors);
            }
            if convolution(network, member).is_some() {
                multiply(network, member, "weight", &factors)?;
                multiply(network, member, "bias", &factors)?;
            }
        }
        for &(_, reader) in &group.readers {
            divide_inputs(network, reader, &factors)?;
        }
    }
    Ok(())
}

fn convolution(network: &Network, place: usize) -> Option<&Conv2d> {
    match &network.graph.nodes()[place].op {
        Op::Conv2d(conv) => Some(conv),
        _ => None,
    }
}

/// Whether every channel is convolved for itself.
pub(super) fn is_depthwise(conv: &Conv2d) -> bool {
    conv.groups == conv.in_channels && conv.groups == conv.out_channels
}

/// Values whose channels can only be scaled together.
#[derive(Debug, PartialEq)]
struct Group {
    /// Convolutions, and poolings that pass their input's channels on.
    members: Vec<usize>,
    /// Members and the convolutions that read them.
    readers: Vec<(usize, usize)>,
}

/// The groups of a network that can be scaled, in the order of their first members.
fn groups(network: &Network) -> Vec<Group> {
    let graph = &network.graph;
    // The first member of each value's group: what is tied to it stands later.
    let mut first: Vec<usize> = (0..graph.nodes().len()).collect();
    for (place, node) in graph.nodes().iter().enumerate() {
        let tied = match &node.op {
            Op::MaxPool2d(_) => node.inputs.first(),
            Op::Conv2d(_) => node.inputs.get(1),
            _ => None,
        };
        if let Some(&tied) = tied {
            let (a, b) = (first[place].min(first[tied]), first[place].max(first[tied]));
            first.iter_mut().filter(|f| **f == b).for_each(|f| *f = a);
        }
    }
    let group = |head: usize| {
        let members: Vec<usize> = (0..first.len()).filter(|&m| first[m] == head).collect();
        let mut readers = Vec::new();
        for &member in &members {
            if !is_scalable(network, member) {
                return None;
            }
            for reader in graph.readers(member) {
                match convolution(network, reader) {
                    Some(conv) if graph.nodes()[reader].inputs[0] == member => {
                        let by_channel = conv.groups == 1 || is_depthwise(conv);
                        if !by_channel {
                            return None;
                        }
                        readers.push((member, reader));
                    }
                    _ if members.contains(&reader) => {}
                    _ => return None,
                }
            }
        }
        (!readers.is_empty()).then_some(Group { members, readers })
    };
    let heads = (0..first.len()).filter(|&place| first[place] == place);
    heads.filter_map(group).collect()
}

/// Whether a node's value may be scaled channel by channel, if its readers agree.
fn is_scalable(network: &Network, place: usize) -> bool {
    let homogeneous = |kind| matches!(kind, None | Some(Activation::Relu | Activation::Relu6));
    let by_channel = match &network.graph.nodes()[place].op {
        Op::Conv2d(conv) => conv.bias && homogeneous(conv.epilogue.activation),
        Op::MaxPool2d(_) => true,
        _ => false,
    };
    by_channel && network.graph.output() != place
}

impl Group {
    /// A factor for each channel.
    ///
    /// A factor `k` divides the power of the activations' rounding noise by `k^2`. Where outputs
    /// sum over channels it multiplies the power of the weights' noise by it, and the sum of both
    /// is least at the fourth root of their ratio. A depthwise layer has scales for each channel,
    /// so a channel may be brought to the widest one's range for nothing.
    fn factors(
        &self,
        network: &Network,
        statistics: &BTreeMap<usize, Statistics>,
    ) -> Result<Vec<f32>> {
        let mut most = Vec::new();
        let mut activations = Vec::new();
        let mut weights = Vec::new();
        for member in &self.members {
            let Some(found) = statistics.get(member) else {
                continue;
            };
            let (widest, reaches) = found.reaches();
            most.resize(reaches.len(), LARGEST);
            activations.resize(reaches.len(), 0.0);
            weights.resize(reaches.len(), 0.0);
            for (most, reach) in most.iter_mut().zip(&reaches) {
                *most = most.min(widest / reach.max(f32::MIN_POSITIVE)).max(1.0);
            }
            for (_, reader) in self.readers.iter().filter(|(read, _)| read == member) {
                let reader = Reader::of(network, *reader)?;
                for channel in 0..reaches.len() {
                    let step = widest / 255.0;
                    activations[channel] += step * step * reader.gain[channel];
                    weights[channel] += reader.steps * found.variance[channel];
                }
            }
        }
        let noises = activations.iter().zip(&weights);
        let balances = noises.map(|(a, w): (&f32, &f32)| (a / w.max(f32::MIN_POSITIVE)).powf(0.25));
        Ok(balances
            .zip(most)
            .map(|(k, most)| k.clamp(1.0, most))
            .collect())
    }
}

/// What a convolution makes of its input's channels.
struct Reader {
    /// Sum of the squares of the weights that read each channel.
    gain: Vec<f32>,
    /// Sum over a channel's weights of the squares of their steps, when rounded to int8.
    steps: f32,
}

impl Reader {
    fn of(network: &Network, place: usize) -> Result<Self> {
        let weight = network.tensor(place, "weight")?;
        let values = numbers(weight)?;
        let [outputs, inputs, ..] = weight.shape[..] else {
            anyhow::bail!("a convolution's weight has four dimensions");
        };
        let taps = (values.len() / (outputs * inputs).max(1)).max(1);
        let power = |taps: &[f32]| taps.iter().map(|w| w * w).sum::<f32>();
        if convolution(network, place).is_some_and(is_depthwise) {
            return Ok(Self {
                gain: values.chunks(taps).map(power).collect(),
                steps: 0.0,
            });
        }
        let mut gain = vec![0.0; inputs];
        let mut steps = 0.0;
        for row in values.chunks((taps * inputs).max(1)) {
            for (gain, taps) in gain.iter_mut().zip(row.chunks(taps)) {
                *gain += power(taps);
            }
            let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            steps += taps as f32 * (largest / 64.0).powi(2);
        }
        Ok(Self { gain, steps })
    }
}

/// Multiplies the weights of each output channel by its factor.
fn multiply(network: &mut Network, place: usize, suffix: &str, factors: &[f32]) -> Result<()> {
    change(network, place, suffix, |values| {
        let row = (values.len() / factors.len().max(1)).max(1);
        for (row, factor) in values.chunks_mut(row).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    })
}

/// Divides the weights that read each input channel by its factor.
fn divide_inputs(network: &mut Network, place: usize, factors: &[f32]) -> Result<()> {
    let taps = convolution(network, place).map_or(1, |conv| conv.kernel * conv.kernel);
    // A depthwise weight has one input channel for each output, in the same order.
    change(network, place, "weight", |values| {
        for (taps, factor) in values.chunks_mut(taps.max(1)).zip(factors.iter().cycle()) {
            taps.iter_mut().for_each(|value| *value /= factor);
        }
    })
}

fn change(
    network: &mut Network,
    place: usize,
    suffix: &str,
    change: impl FnOnce(&mut [f32]),
) -> Result<()> {
    let name = format!("{}.{suffix}", network.graph.nodes()[place].name);
    match network
        .weights
        .get_mut(&name)
        .map(|tensor| &mut tensor.values)
    {
        Some(Values::F32(values)) => {
            change(values);
            Ok(())
        }
        _ => Err(Error::Data(format!("{name} holds no float32 numbers")).into()),
    }
}

/// The values of a float32 parameter.
pub(super) fn numbers(tensor: &Tensor) -> Result<&[f32]> {
    let numbers = tensor.as_f32();
    numbers.ok_or_else(|| Error::Data("the weights are no float32 numbers".into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::passes::fuse;
    use crate::graph::{Builder, Pool2d};

    fn statistics(high: &[f32], variance: &[f32]) -> Statistics {
        Statistics {
            low: vec![0.0; high.len()],
            high: high.to_vec(),
            mean: high.iter().map(|h| h / 2.0).collect(),
            variance: variance.to_vec(),
        }
    }

    /// A 1 x 1 convolution to two channels, a depthwise one, and a dense one.
    fn network() -> Network {
        let (mut g, x) = Builder::new(4);
        let a = g.conv2d("a", x, Conv2d::new(2, 1).bias());
        let a = g.activation("relu_a", a, Activation::Relu6);
        let b = g.conv2d("b", a, Conv2d::new(2, 1).groups(2).bias());
        let b = g.activation("relu_b", b, Activation::Relu);
        let c = g.conv2d("c", b, Conv2d::new(1, 1).bias());
        let tensor = |shape: &[usize], values: &[f32]| Tensor::f32(shape, values.to_vec());
        let first = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        let weights = [
            ("a.weight", tensor(&[2, 3, 1, 1], &first)),
            ("a.bias", tensor(&[2], &[0.5, 0.25])),
            ("b.weight", tensor(&[2, 1, 1, 1], &[4.0, 8.0])),
            ("b.bias", tensor(&[2], &[1.0, 1.0])),
            ("c.weight", tensor(&[1, 2, 1, 1], &[1.0, 1.0])),
            ("c.bias", tensor(&[1], &[0.0])),
        ];
        Network {
            graph: fuse(&g.finish(c).unwrap()),
            weights: weights.map(|(name, tensor)| (name.into(), tensor)).into(),
            quantization: None,
        }
    }

    #[test]
    fn a_depthwise_reader_takes_the_whole_factor() {
        let mut network = network();
        let found = groups(&network);
        let pair = |a, b| Group {
            members: vec![a],
            readers: vec![(a, b)],
        };
        assert_eq!(found, [pair(1, 2), pair(2, 3)]);
        let mut all = BTreeMap::from([(1, statistics(&[6.0, 1.5], &[1.0; 2]))]);
        all.insert(2, statistics(&[1.0; 2], &[1e6; 2]));
        equalise(&mut network, &mut all).unwrap();
        assert_eq!(all[&1].high, [6.0, 6.0]);
        let values = |name: &str| network.weights[name].as_f32().unwrap().to_vec();
        assert_eq!(values("a.weight"), [1.0, 1.0, 1.0, 8.0, 8.0, 8.0]);
        assert_eq!(values("a.bias"), [0.5, 1.0]);
        assert_eq!(values("b.weight"), [4.0, 2.0]);
        assert_eq!(values("c.weight"), [1.0, 1.0]);
    }

    #[test]
    fn a_dense_reader_balances_two_noises() {
        // Both weights are 1: a step of theirs is 1 / 64, one of the activations 8 / 255.
        let network = network();
        let all = BTreeMap::from([(2, statistics(&[8.0, 0.25], &[4.0, 0.001]))]);
        let factors = groups(&network)[1].factors(&network, &all).unwrap();
        assert_eq!(factors[0], 1.0);
        let expected = ((8.0f32 / 255.0).powi(2) / (0.001 / 64.0f32.powi(2))).powf(0.25);
        assert!(
            (factors[1] - expected).abs() < 1e-3,
            "{factors:?} {expected}"
        );
    }

    #[test]
    fn a_channel_that_slept_is_not_blown_up() {
        let network = network();
        for (high, expected) in [([6.0, 0.0], [1.0, LARGEST]), ([0.0, 0.0], [1.0, 1.0])] {
            let all = BTreeMap::from([(1, statistics(&high, &[0.0; 2]))]);
            let factors = groups(&network)[0].factors(&network, &all).unwrap();
            assert_eq!(factors, expected);
        }
    }

    #[test]
    fn a_residual_ties_its_addends_and_an_average_holds_them_back() {
        let build = |pooled: bool| {
            let (mut g, x) = Builder::new(8);
            let window = Pool2d {
                kernel: 2,
                stride: 2,
                padding: 0,
            };
            let a = g.conv2d("a", x, Conv2d::new(2, 1).bias());
            let pool = g.max_pool2d("pool", a, window);
            let b = g.conv2d("b", pool, Conv2d::new(2, 1).bias());
            let sum = g.add("sum", b, pool);
            let end = match pooled {
                true => g.global_avg_pool("end", sum),
                false => g.conv2d("end", sum, Conv2d::new(2, 1).bias()),
            };
            Network {
                graph: fuse(&g.finish(end).unwrap()),
                weights: Default::default(),
                quantization: None,
            }
        };
        let tied = Group {
            members: vec![1, 2, 3],
            readers: vec![(2, 3), (3, 4)],
        };
        assert_eq!(groups(&build(false)), [tied]);
        assert_eq!(groups(&build(true)), []);
    }
}
