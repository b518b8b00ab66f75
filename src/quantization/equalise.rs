//! Cross-layer equalisation: channels of feature maps are brought to one range, so that one scale
//! serves them all.

use super::calibrate::StatisticsOf;
use super::operators::Part;
use super::weights::float_weight;
use crate::error::Result;
use crate::graph::{Activation, Conv2d, InferenceGraph, NodeId, Op};

/// The largest factor of a channel: one that is hardly active on the calibration images may be
/// active on others.
const LARGEST: f32 = 32.0;

/// Scales the channels of feature maps that only convolutions read: the weights that make channel
/// `c` are multiplied by `k`, those that read it divided by it (Nagel et al., 2019,
/// <https://arxiv.org/abs/1906.04721>, section 4.1). Maps that residual sums tie together get the
/// same factors. `statistics` are scaled likewise, and so are those of sums `before_add`.
///
/// Without activation and with ReLU the network computes what it did. ReLU6 cuts a channel off at
/// `6 / k` instead of 6, and `k` is such that this is at or above the channel's largest value on
/// the calibration images.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the weights are not float32.
pub(super) fn equalise(
    network: &mut InferenceGraph,
    statistics: &mut StatisticsOf,
    before_add: &mut StatisticsOf,
) -> Result<()> {
    for group in groups(network) {
        let factors = group.factors(network, statistics)?;
        for &member in &group.members {
            for of_values in [&mut *statistics, &mut *before_add] {
                if let Some(found) = of_values.get_mut(&member) {
                    found.scale(&factors);
                }
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

fn convolution(network: &InferenceGraph, id: NodeId) -> Option<&Conv2d> {
    match &network.graph()[id].op {
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
    members: Vec<NodeId>,
    /// Members and the convolutions that read them.
    readers: Vec<(NodeId, NodeId)>,
}

/// The groups of a network that can be scaled, in the order of their first members.
fn groups(network: &InferenceGraph) -> Vec<Group> {
    let graph = network.graph();
    // The first member of each value's group: what is tied to it comes later.
    let mut first: Vec<NodeId> = graph.ids().collect();
    for (id, node) in graph.iter() {
        let tied = match Part::of(&node.op) {
            Part::Selection => node.inputs.first(),
            Part::Layer => node.inputs.get(1),
            Part::Rearrangement | Part::Float => None,
        };
        if let Some(&tied) = tied {
            let [own, tied] = [id, tied].map(|id| first[id.index()]);
            let (a, b) = (own.min(tied), own.max(tied));
            first.iter_mut().filter(|f| **f == b).for_each(|f| *f = a);
        }
    }
    let heads = graph.ids().filter(|id| first[id.index()] == *id);
    heads
        .filter_map(|head| {
            let members = graph.ids().filter(|id| first[id.index()] == head);
            Group::of(network, members.collect())
        })
        .collect()
}

/// Whether a node's value may be scaled channel by channel, if its readers agree.
fn is_scalable(network: &InferenceGraph, id: NodeId) -> bool {
    let homogeneous = |kind| matches!(kind, None | Some(Activation::Relu | Activation::Relu6));
    let op = &network.graph()[id].op;
    let by_channel = match Part::of(op) {
        Part::Layer => {
            let conv = convolution(network, id);
            conv.is_some_and(|conv| conv.bias && homogeneous(conv.epilogue.activation))
        }
        Part::Selection => true,
        Part::Rearrangement | Part::Float => false,
    };
    by_channel && network.graph().output() != id
}

impl Group {
    /// The group of these members, if only convolutions read them that can undo the factors.
    fn of(network: &InferenceGraph, members: Vec<NodeId>) -> Option<Self> {
        let graph = network.graph();
        let mut readers = Vec::new();
        for &member in &members {
            if !is_scalable(network, member) {
                return None;
            }
            for reader in graph.readers(member) {
                match convolution(network, reader) {
                    Some(conv) if graph[reader].inputs[0] == member => {
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
        (!readers.is_empty()).then_some(Self { members, readers })
    }

    /// A factor for each channel.
    ///
    /// A factor `k` divides the power of the activations' rounding noise by `k^2`. Where outputs
    /// sum over channels it multiplies the power of the weights' noise by it, and the sum of both
    /// is least at the fourth root of their ratio. A depthwise layer has scales for each channel,
    /// so a channel may be brought to the widest one's range for nothing.
    fn factors(&self, network: &InferenceGraph, statistics: &StatisticsOf) -> Result<Vec<f32>> {
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
    fn of(network: &InferenceGraph, id: NodeId) -> Result<Self> {
        let (shape, values) = float_weight(network, id)?;
        let [outputs, inputs, ..] = shape[..] else {
            anyhow::bail!("a convolution's weight has four dimensions");
        };
        let taps = (values.len() / (outputs * inputs).max(1)).max(1);
        let power = |taps: &[f32]| taps.iter().map(|w| w * w).sum::<f32>();
        if convolution(network, id).is_some_and(is_depthwise) {
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
fn multiply(network: &mut InferenceGraph, id: NodeId, suffix: &str, factors: &[f32]) -> Result<()> {
    let values = network.parameter_mut(id, suffix)?;
    let row = (values.len() / factors.len().max(1)).max(1);
    for (row, factor) in values.chunks_mut(row).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
    Ok(())
}

/// Divides the weights that read each input channel by its factor.
fn divide_inputs(network: &mut InferenceGraph, id: NodeId, factors: &[f32]) -> Result<()> {
    let taps = convolution(network, id).map_or(1, |conv| conv.taps());
    // A depthwise weight has one input channel for each output, in the same order.
    let values = network.parameter_mut(id, "weight")?;
    for (taps, factor) in values.chunks_mut(taps.max(1)).zip(factors.iter().cycle()) {
        taps.iter_mut().for_each(|value| *value /= factor);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::graph::{Builder, Graph, Pool2d};
    use crate::quantization::calibrate::Statistics;
    use crate::weights::{StateDict, Tensor};

    fn statistics(high: &[f32], variance: &[f32]) -> Statistics {
        Statistics {
            low: vec![0.0; high.len()],
            high: high.to_vec(),
            mean: high.iter().map(|h| h / 2.0).collect(),
            variance: variance.to_vec(),
        }
    }

    /// A 1 x 1 convolution to two channels, a depthwise one, and a dense one.
    fn network() -> InferenceGraph {
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
        let weights = StateDict::from(weights.map(|(name, tensor)| (name.into(), tensor)));
        InferenceGraph::float(&g.finish(c).unwrap(), &weights).unwrap()
    }

    /// The ids of nodes by their names.
    fn ids<const N: usize>(network: &InferenceGraph, names: [&str; N]) -> [NodeId; N] {
        names.map(|name| network.graph().find(name).unwrap())
    }

    fn values(network: &InferenceGraph, name: &str) -> Vec<f32> {
        let (layer, suffix) = name.rsplit_once('.').unwrap();
        let [id] = ids(network, [layer]);
        let tensor = network.parameter(id, suffix).unwrap();
        tensor.as_f32().unwrap().to_vec()
    }

    #[test]
    fn a_depthwise_reader_takes_the_whole_factor() {
        let mut network = network();
        let [a, b, c] = ids(&network, ["a", "b", "c"]);
        let found = groups(&network);
        let pair = |a, b| Group {
            members: vec![a],
            readers: vec![(a, b)],
        };
        assert_eq!(found, [pair(a, b), pair(b, c)]);
        let mut all = BTreeMap::from([(a, statistics(&[6.0, 1.5], &[1.0; 2]))]);
        all.insert(b, statistics(&[1.0; 2], &[1e6; 2]));
        equalise(&mut network, &mut all, &mut BTreeMap::new()).unwrap();
        assert_eq!(all[&a].high, [6.0, 6.0]);
        let values = |name: &str| values(&network, name);
        assert_eq!(values("a.weight"), [1.0, 1.0, 1.0, 8.0, 8.0, 8.0]);
        assert_eq!(values("a.bias"), [0.5, 1.0]);
        assert_eq!(values("b.weight"), [4.0, 2.0]);
        assert_eq!(values("c.weight"), [1.0, 1.0]);
    }

    #[test]
    fn a_dense_reader_balances_two_noises() {
        // Both weights are 1: a step of theirs is 1 / 64, one of the activations 8 / 255.
        let network = network();
        let [b] = ids(&network, ["b"]);
        let all = BTreeMap::from([(b, statistics(&[8.0, 0.25], &[4.0, 0.001]))]);
        let factors = groups(&network)[1].factors(&network, &all).unwrap();
        assert_eq!(factors[0], 1.0);
        let expected = ((8.0f32 / 255.0).powi(2) / (0.001 / 64.0f32.powi(2))).powf(0.25);
        assert!(
            (factors[1] - expected).abs() < 1e-3,
            "{factors:?} {expected}"
        );
    }

    #[test]
    fn an_inactive_channel_is_not_blown_up() {
        let network = network();
        let [a] = ids(&network, ["a"]);
        for (high, expected) in [([6.0, 0.0], [1.0, LARGEST]), ([0.0, 0.0], [1.0, 1.0])] {
            let all = BTreeMap::from([(a, statistics(&high, &[0.0; 2]))]);
            let factors = groups(&network)[0].factors(&network, &all).unwrap();
            assert_eq!(factors, expected);
        }
    }

    #[test]
    fn a_residual_ties_its_addends_and_an_average_holds_them_back() {
        let build = |pooled: bool| {
            let (mut g, x) = Builder::new(8);
            let window = Pool2d::new(2, 2);
            let a = g.conv2d("a", x, Conv2d::new(2, 1).bias());
            let pool = g.max_pool2d("pool", a, window);
            let b = g.conv2d("b", pool, Conv2d::new(2, 1).bias());
            let sum = g.add("sum", b, pool);
            let end = match pooled {
                true => g.global_avg_pool("end", sum),
                false => g.conv2d("end", sum, Conv2d::new(2, 1).bias()),
            };
            let graph: Graph = g.finish(end).unwrap();
            InferenceGraph::float(&graph, &graph.initialise(0)).unwrap()
        };
        let network = build(false);
        let [a, pool, b, end] = ids(&network, ["a", "pool", "b", "end"]);
        let tied = Group {
            members: vec![a, pool, b],
            readers: vec![(pool, b), (b, end)],
        };
        assert_eq!(groups(&network), [tied]);
        assert_eq!(groups(&build(true)), []);
    }
}
