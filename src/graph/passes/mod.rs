//! Rewrites networks for inference: pure functions from graph to graph.

mod dead;
mod fold;
mod fuse;
mod normalise;
mod softmax;

pub use dead::{without_dead_nodes, without_dropout};
pub use fold::{fold_batch_norm, folded_weights, found, numbers};
pub use fuse::fuse;
pub use normalise::{NORMALISE, fold_affine, with_pixels};
pub use softmax::with_softmax;

use super::{Graph, Node, Op};
use crate::error::Result;
use crate::weights::StateDict;

/// The network that exports carry: without dropout, without what the answer does not need, and
/// with every normalisation that follows a convolution folded into it. The structure depends on
/// nothing but the graph.
pub fn for_inference(graph: &Graph) -> Graph {
    fold_batch_norm(&without_dead_nodes(&without_dropout(graph)))
}

/// As [`for_inference`], with its parameters.
///
/// # Errors
/// Those of [`folded_weights`].
pub fn for_inference_with(graph: &Graph, weights: &StateDict) -> Result<(Graph, StateDict)> {
    let bare = without_dead_nodes(&without_dropout(graph));
    let weights = folded_weights(&bare, weights)?;
    Ok((fold_batch_norm(&bare), weights))
}

/// A copy of a graph in the making; every pass walks the old nodes in order.
struct Rewrite<'a> {
    old: &'a Graph,
    nodes: Vec<Node>,
    /// Where the value of each old node is to be found.
    places: Vec<usize>,
}

impl<'a> Rewrite<'a> {
    fn new(old: &'a Graph) -> Self {
        Self {
            old,
            nodes: Vec::with_capacity(old.nodes.len()),
            places: Vec::with_capacity(old.nodes.len()),
        }
    }

    /// The next old node, as `change` leaves it; its inputs are those of the old graph.
    fn keep(&mut self, change: impl FnOnce(&mut Node)) {
        let mut node = self.old.nodes[self.places.len()].clone();
        change(&mut node);
        for input in &mut node.inputs {
            *input = self.places[*input];
        }
        self.places.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// Lets the next old node stand for the value of an earlier one.
    fn skip(&mut self, stands_for: usize) {
        self.places.push(self.places[stands_for]);
    }

    /// Leaves the next old node out; nobody reads its value.
    fn drop(&mut self) {
        self.places.push(usize::MAX);
    }

    /// A node between the last one and those that read it.
    fn insert(&mut self, name: &str, op: Op, shape: Vec<usize>) {
        let before = self.nodes.len() - 1;
        for place in &mut self.places {
            if *place == before {
                *place = before + 1;
            }
        }
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: vec![before],
            shape,
        });
    }

    fn finish(self) -> Graph {
        Graph {
            output: self.places[self.old.output],
            nodes: self.nodes,
        }
    }
}

impl Graph {
    /// Places of the nodes that read a value.
    pub fn readers(&self, value: usize) -> Vec<usize> {
        let reads = |place: &usize| self.nodes[*place].inputs.contains(&value);
        (0..self.nodes.len()).filter(reads).collect()
    }

    /// The node that alone reads a value which is not the answer.
    fn only_reader(&self, value: usize) -> Option<usize> {
        match self.readers(value)[..] {
            [reader] if value != self.output => Some(reader),
            _ => None,
        }
    }
}
