//! Channels that can only be pruned together, found from the graph as DepGraph does (Fang et al., 2023,
//! "DepGraph: Towards Any Structural Pruning").

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, Op, is_below};

/// Channels of nodes that are computed from each other one by one, through sums, products, normalisations
/// and depthwise convolutions: all of them go, or none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub channels: Vec<(NodeId, usize)>,
}

/// The units of the same nodes: any of them may go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The nodes with how many of their channels are of each unit.
    pub nodes: Vec<(NodeId, usize)>,
    pub units: Vec<Unit>,
}

/// The channels of each node that are kept, ascending.
pub(super) type Kept = BTreeMap<NodeId, Vec<usize>>;

/// The groups of a graph without the channels of its input, of its output, and of its classifier.
///
/// # Errors
/// [`Error::Data`] with the name of the first node that mixes channels in a way which can't be
/// followed.
pub(super) fn groups(graph: &Graph, head: &str) -> Result<Vec<Group>> {
    let mut sets = Sets::of(graph);
    for (id, node) in graph.iter() {
        sets.join(graph, id, node)?;
    }
    let is_layer = |node: &Node| matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
    let is_fixed = |id: NodeId, node: &Node| {
        let is_end = id == graph.input() || id == graph.output();
        is_end || (is_layer(node) && is_below(&node.name, head))
    };
    let fixed: Vec<NodeId> = graph
        .iter()
        .filter(|(id, node)| is_fixed(*id, node))
        .map(|(id, _)| id)
        .collect();
    let fixed: Vec<usize> = fixed.into_iter().flat_map(|id| sets.all(id)).collect();
    let fixed: Vec<usize> = fixed.into_iter().map(|at| sets.root(at)).collect();
    let mut units: BTreeMap<usize, Unit> = BTreeMap::new();
    for id in graph.ids() {
        for (channel, at) in sets.all(id).enumerate() {
            let root = sets.root(at);
            let unit = units.entry(root).or_insert(Unit {
                channels: Vec::new(),
            });
            unit.channels.push((id, channel));
        }
    }
    for root in fixed {
        units.remove(&root);
    }
    let mut groups: BTreeMap<Vec<(NodeId, usize)>, Vec<Unit>> = BTreeMap::new();
    for unit in units.into_values() {
        groups.entry(unit.nodes()).or_default().push(unit);
    }
    let groups = groups.into_iter();
    Ok(groups
        .map(|(nodes, units)| Group { nodes, units })
        .collect())
}

/// The channels that are left of each node when of each group only some units are kept, by their indices.
pub(super) fn kept(graph: &Graph, groups: &[Group], units: &[Vec<usize>]) -> Kept {
    let mut kept: BTreeMap<NodeId, Vec<bool>> = graph
        .iter()
        .map(|(id, node)| (id, vec![true; channels(node)]))
        .collect();
    for (group, units) in groups.iter().zip(units) {
        for (index, unit) in group.units.iter().enumerate() {
            let stays = units.binary_search(&index).is_ok();
            for (node, channel) in &unit.channels {
                if let Some(flags) = kept.get_mut(node) {
                    flags[*channel] = stays;
                }
            }
        }
    }
    let indices = |flags: Vec<bool>| (0..flags.len()).filter(|&at| flags[at]).collect();
    kept.into_iter()
        .map(|(id, flags)| (id, indices(flags)))
        .collect()
}

/// Channels of a map, or features.
pub(super) fn channels(node: &Node) -> usize {
    match *node.shape {
        [channels, _, _] => channels,
        ref shape => shape.last().copied().unwrap_or_default(),
    }
}

impl Unit {
    fn nodes(&self) -> Vec<(NodeId, usize)> {
        let mut nodes: Vec<(NodeId, usize)> = Vec::new();
        for &(id, _) in &self.channels {
            match nodes.last_mut() {
                Some((last, count)) if *last == id => *count += 1,
                _ => nodes.push((id, 1)),
            }
        }
        nodes
    }
}

/// Disjoint sets of the channels of all nodes.
struct Sets {
    parents: Vec<usize>,
    /// Where the channels of each node begin, and after the last where they end.
    starts: Vec<usize>,
}

impl Sets {
    fn of(graph: &Graph) -> Self {
        let mut starts = vec![0];
        for node in graph.nodes() {
            starts.push(starts[starts.len() - 1] + channels(node));
        }
        Self {
            parents: (0..starts[starts.len() - 1]).collect(),
            starts,
        }
    }

    fn all(&self, id: NodeId) -> std::ops::Range<usize> {
        self.starts[id.index()]..self.starts[id.index() + 1]
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        // The earlier channel leads, so that units are in the order of the network.
        self.parents[a.max(b)] = a.min(b);
    }

    fn join(&mut self, graph: &Graph, id: NodeId, node: &Node) -> Result<()> {
        let own = self.all(id).start;
        let inputs: Vec<std::ops::Range<usize>> =
            node.inputs.iter().map(|x| self.all(*x)).collect();
        let pairs: Vec<(usize, usize)> = match &node.op {
            Op::Input | Op::Linear(_) => Vec::new(),
            Op::Conv2d(conv) if conv.groups == 1 => Vec::new(),
            Op::Conv2d(conv) => {
                let (reads, gives) = (
                    conv.in_channels / conv.groups,
                    conv.out_channels / conv.groups,
                );
                let of_input = (0..conv.in_channels).map(|c| (inputs[0].start + c, c / reads));
                let of_output = (0..conv.out_channels).map(|c| (own + c, c / gives));
                let both = of_input.chain(of_output);
                both.map(|(at, group)| (at, own + group * gives)).collect()
            }
            Op::BatchNorm2d(_)
            | Op::LayerNorm(_)
            | Op::LayerScale { .. }
            | Op::Activation(_)
            | Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::GlobalAvgPool
            | Op::Add
            | Op::Mul
            | Op::Dropout { .. }
            | Op::StochasticDepth { .. }
            | Op::Softmax => {
                let each = |input: &std::ops::Range<usize>| {
                    let (start, count) = (input.start, input.len());
                    (0..count).map(move |c| (own + c, start + c))
                };
                inputs.iter().flat_map(each).collect()
            }
            Op::Concat => inputs.iter().cloned().flatten().zip(own..).collect(),
            Op::Slice { start, end } => {
                let taken = (*start..*end).map(|c| inputs[0].start + c);
                // All slices of this width keep as many channels as each other.
                let width = end - start;
                let alike = inputs[0].clone().map(|at| (at - inputs[0].start) % width);
                let alike = inputs[0].clone().zip(alike);
                let alike = alike.map(|(at, first)| (at, inputs[0].start + first));
                taken.zip(own..).chain(alike).collect()
            }
            Op::ChannelShuffle { groups } => {
                let count = inputs[0].len() / groups;
                let each = |c: usize| {
                    let (group, place) = (c / count, c % count);
                    [
                        (own + place * groups + group, inputs[0].start + c),
                        // What is interleaved stays so.
                        (inputs[0].start + c, inputs[0].start + place),
                    ]
                };
                (0..inputs[0].len()).flat_map(each).collect()
            }
            Op::Flatten => {
                let per_channel = self.all(id).len() / inputs[0].len().max(1);
                let each = self.all(id).enumerate();
                each.map(|(c, at)| (at, inputs[0].start + c / per_channel))
                    .collect()
            }
            Op::PixelsToFloat
            | Op::Normalize { .. }
            | Op::Tokens
            | Op::ClassToken { .. }
            | Op::PositionEmbedding { .. }
            | Op::Attention { .. }
            | Op::FirstToken => {
                return Err(Error::Data(format!(
                    "{} {}: the channels of this operator can't be pruned; prune a convolutional \
                     network",
                    node.op.name(),
                    graph[id].name
                ))
                .into());
            }
        };
        for (a, b) in pairs {
            self.unite(a, b);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d};
    use crate::models::ARCHITECTURES;

    /// The names of the layers of each group, with the number of its units.
    fn described(graph: &Graph) -> Vec<(String, usize)> {
        let named = |group: &Group| {
            let layers = group
                .nodes
                .iter()
                .filter(|(id, _)| matches!(graph[*id].op, Op::Conv2d(_) | Op::Linear(_)));
            let names: Vec<&str> = layers.map(|(id, _)| &*graph[*id].name).collect();
            (names.join(" "), group.units.len())
        };
        groups(graph, "fc").unwrap().iter().map(named).collect()
    }

    #[test]
    fn sums_and_depthwise_convolutions_tie_channels_together() {
        let (mut g, x) = Builder::new(8);
        let x = g.conv2d("stem", x, Conv2d::new(4, 3));
        let wide = g.conv2d("expand", x, Conv2d::new(6, 1));
        let wide = g.batch_norm("norm", wide, 1e-5, 0.1);
        let wide = g.conv2d("depthwise", wide, Conv2d::new(6, 3).groups(6));
        let gate = g.global_avg_pool("pool", wide);
        let gate = g.conv2d("squeeze", gate, Conv2d::new(2, 1));
        let gate = g.conv2d("excite", gate, Conv2d::new(6, 1));
        let wide = g.mul("scale", wide, gate);
        let narrow = g.conv2d("project", wide, Conv2d::new(4, 1));
        let sum = g.add("sum", x, narrow);
        let flat = g.flatten("flat", sum);
        let out = g.linear("fc", flat, 5);
        let graph = g.finish(out).unwrap();
        let groups = [
            ("stem project", 4),
            ("expand depthwise excite", 6),
            ("squeeze", 2),
        ];
        assert_eq!(
            described(&graph),
            groups.map(|(names, n)| (names.into(), n))
        );
    }

    #[test]
    fn grouped_convolutions_lose_whole_groups() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("a", x, Conv2d::new(6, 1));
        let x = g.conv2d("b", x, Conv2d::new(9, 3).groups(3));
        let flat = g.flatten("flat", x);
        let out = g.linear("fc", flat, 5);
        let graph = g.finish(out).unwrap();
        let [group] = groups(&graph, "fc").unwrap().try_into().unwrap();
        assert_eq!(group.units.len(), 3);
        let of = |name: &str| {
            let id = graph.find(name).unwrap();
            let found = group.units[1]
                .channels
                .iter()
                .filter(|(node, _)| *node == id);
            found.map(|(_, channel)| *channel).collect::<Vec<_>>()
        };
        assert_eq!(of("a"), [2, 3]);
        assert_eq!(of("b"), [3, 4, 5]);
    }

    #[test]
    fn what_is_shuffled_stays_interleaved() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("a", x, Conv2d::new(8, 1));
        let left = g.slice("left", x, 0..4);
        let right = g.slice("right", x, 4..8);
        let right = g.conv2d("b", right, Conv2d::new(4, 1));
        let x = g.concat("both", &[left, right]);
        let x = g.channel_shuffle("shuffle", x, 2);
        let flat = g.flatten("flat", x);
        let out = g.linear("fc", flat, 5);
        let graph = g.finish(out).unwrap();
        assert_eq!(described(&graph), [("a b".to_owned(), 4)]);
    }

    /// Every convolution and linear layer outside the head is in a group, and any choice of units gives
    /// a network whose shapes fit.
    #[test]
    fn every_convolutional_architecture_can_be_pruned() {
        for architecture in ARCHITECTURES {
            let graph = architecture.graph(&architecture.imagenet()).unwrap();
            let Ok(groups) = groups(&graph, architecture.head) else {
                let attends = |node: &Node| matches!(node.op, Op::Attention { .. });
                assert!(graph.nodes().iter().any(attends), "{}", architecture.name);
                continue;
            };
            for (id, node) in graph.iter() {
                let is_layer = matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
                let covered: usize = groups
                    .iter()
                    .flat_map(|group| {
                        let mine = group.nodes.iter().filter(|(node, _)| *node == id);
                        mine.map(|(_, count)| count * group.units.len())
                    })
                    .sum();
                if is_layer && id != graph.output() && !is_below(&node.name, architecture.head) {
                    assert_eq!(
                        covered,
                        channels(node),
                        "{} {}",
                        architecture.name,
                        node.name
                    );
                }
            }
        }
    }
}
