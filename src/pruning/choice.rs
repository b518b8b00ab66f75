//! Which channels go: those that matter least for the work that they cause.

use std::collections::BTreeMap;

use super::groups::{Group, Unit};
use super::prunable::Prunable;
use crate::error::{Error, Result};
use crate::graph::{Channels, Graph, NodeId, Op};

/// The importance of each output channel of nodes.
pub(crate) type Scores = BTreeMap<NodeId, Vec<f64>>;

/// Units that are kept, and the widths of layers then.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// Of each group the indices of its units, ascending.
    pub(super) units: Vec<Vec<usize>>,
    /// Channels of the layers that lose some.
    pub channels: Channels,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
}

/// Every group keeps this share of its units at least.
const LEAST_SHARE: usize = 8;

impl Prunable {
    /// The largest choice that takes at most `macs`. Units are given up in the order of their importance
    /// per operation that they cause, and of each layer a multiple of `round_to` channels is kept where it
    /// has as many.
    ///
    /// # Errors
    /// [`Error::Usage`] when even the smallest network takes more.
    pub(crate) fn choose(&self, scores: &Scores, macs: u64, round_to: usize) -> Result<Choice> {
        let costs = self.costs()?;
        let importance: Vec<Vec<f64>> = self.groups.iter().map(|g| of_units(g, scores)).collect();
        let mut order: Vec<(usize, f64)> = Vec::new();
        for (group, (units, cost)) in importance.iter().zip(&costs).enumerate() {
            order.extend(units.iter().map(|score| (group, score / cost)));
        }
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        let counts = |given_up: usize| {
            let mut counts: Vec<usize> = self.groups.iter().map(|g| g.units.len()).collect();
            for (group, _) in &order[..given_up] {
                counts[*group] -= 1;
            }
            let all = self.groups.iter().zip(counts);
            let rounded: Vec<usize> = all.map(|(g, n)| g.rounded(n, round_to)).collect();
            rounded
        };
        // Fewer units never take more operations, so the first that fit are found by halving.
        let (mut low, mut high) = (0, order.len());
        let least = self.macs(&counts(high))?;
        if least > macs {
            return Err(Error::Usage(format!(
                "the network can't be pruned that far: with an eighth of the channels of every layer it \
                 still takes {:.3} of its operations",
                least as f64 / self.graph.macs() as f64
            ))
            .into());
        }
        while low < high {
            let middle = low.midpoint(high);
            match self.macs(&counts(middle))? <= macs {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        let counts = counts(low);
        let channels = self.channels(&counts);
        let best = importance.iter().zip(counts).map(|(s, n)| largest(s, n));
        Ok(Choice {
            units: best.collect(),
            macs: self.graph.with_channels(&channels)?.macs(),
            channels,
        })
    }

    /// The operations that one unit of each group causes.
    fn costs(&self) -> Result<Vec<f64>> {
        let all: Vec<usize> = self.groups.iter().map(|g| g.units.len()).collect();
        let whole = self.graph.macs();
        let without_one = |group: usize| {
            let mut counts = all.clone();
            counts[group] = counts[group].saturating_sub(1).max(1);
            let saved = whole - self.macs(&counts)?;
            Ok(saved.max(1) as f64)
        };
        (0..all.len()).map(without_one).collect()
    }

    fn macs(&self, counts: &[usize]) -> Result<u64> {
        Ok(self.graph.with_channels(&self.channels(counts))?.macs())
    }

    /// Channels of the layers when each group keeps so many units.
    fn channels(&self, counts: &[usize]) -> Channels {
        let mut lost: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (group, kept) in self.groups.iter().zip(counts) {
            for (node, count) in &group.nodes {
                *lost.entry(*node).or_default() += count * (group.units.len() - kept);
            }
        }
        let narrower = lost.into_iter().filter(|(_, lost)| *lost > 0);
        narrower
            .filter_map(|(id, lost)| {
                let width = own_width(&self.graph, id)?;
                Some((self.graph[id].name.clone(), width - lost))
            })
            .collect()
    }
}

/// Outputs of a layer that chooses how many it has: a grouped convolution has them by its inputs.
fn own_width(graph: &Graph, id: NodeId) -> Option<usize> {
    match &graph[id].op {
        Op::Conv2d(conv) if conv.groups == 1 => Some(conv.out_channels),
        Op::Linear(linear) => Some(linear.out_features),
        _ => None,
    }
}

/// The importance of a group's units: the sum over all their channels.
fn of_units(group: &Group, scores: &Scores) -> Vec<f64> {
    let of_channel = |(node, channel): &(NodeId, usize)| {
        let scores = scores.get(node).map(Vec::as_slice).unwrap_or_default();
        scores.get(*channel).copied().unwrap_or_default()
    };
    let of_unit = |unit: &Unit| unit.channels.iter().map(of_channel).sum();
    group.units.iter().map(of_unit).collect()
}

/// Indices of the largest values, ascending; of equal ones the first.
fn largest(values: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

impl Group {
    /// A number of units such that the layers keep a multiple of so many channels, and enough of them.
    fn rounded(&self, units: usize, round_to: usize) -> usize {
        let all = self.units.len();
        let each = self
            .nodes
            .iter()
            .map(|(_, count)| *count)
            .min()
            .unwrap_or(1);
        let multiple = round_to.div_ceil(each).max(1);
        let least = all.div_ceil(LEAST_SHARE);
        units
            .max(least)
            .div_ceil(multiple)
            .saturating_mul(multiple)
            .min(all)
    }
}
