//! Rewrites networks for inference: pure functions from graph to graph.

mod dead;
mod fold;
mod fuse;
mod normalise;
mod pointwise;
mod softmax;

pub use dead::{without_dead_nodes, without_dropout};
pub use fold::{Foldable, fold_affine, folded_weights};
pub use fuse::fuse;
pub use normalise::{NORMALIZE, fold_normalize, with_pixel_input};
pub use pointwise::{reshape_pointwise, with_pointwise_convolutions};
pub use softmax::with_softmax;

use super::{Graph, Node, NodeId, Op};
use crate::error::Result;
use crate::weights::StateDict;

/// The graph without dropout, without nodes that the output does not depend on, with every batch
/// normalisation and layer scale folded into the layer that it follows, and with convolutions for linear
/// layers of feature maps. The result depends on the graph alone, not on its weights.
pub fn for_inference(graph: &Graph) -> Graph {
    let bare = without_dead_nodes(&without_dropout(graph));
    with_pointwise_convolutions(&fold_affine(&bare, Foldable::All))
}

/// As [`for_inference`], with its parameters.
///
/// # Errors
/// Those of [`folded_weights`].
pub fn for_inference_with(graph: &Graph, weights: &StateDict) -> Result<(Graph, StateDict)> {
    let bare = without_dead_nodes(&without_dropout(graph));
    plain(&bare, weights, Foldable::All)
}

/// A graph that can be trained further, and its parameters: dropout and batch normalisations are kept.
///
/// # Errors
/// Those of [`folded_weights`].
pub fn for_further_training(graph: &Graph, weights: &StateDict) -> Result<(Graph, StateDict)> {
    plain(graph, weights, Foldable::LayerScale)
}

fn plain(graph: &Graph, weights: &StateDict, foldable: Foldable) -> Result<(Graph, StateDict)> {
    let mut weights = folded_weights(graph, weights, foldable)?;
    reshape_pointwise(graph, &mut weights);
    let folded = fold_affine(graph, foldable);
    Ok((with_pointwise_convolutions(&folded), weights))
}

/// A copy of a graph in the making; every pass walks the old nodes in order.
struct Rewrite<'a> {
    old: &'a Graph,
    nodes: Vec<Node>,
    /// The new node that computes the value of each old one; `None` for a value that nobody reads.
    new: Vec<Option<NodeId>>,
}

impl<'a> Rewrite<'a> {
    fn new(old: &'a Graph) -> Self {
        Self {
            old,
            nodes: Vec::with_capacity(old.nodes.len()),
            new: Vec::with_capacity(old.nodes.len()),
        }
    }

    /// Copies the next old node, as `change` leaves it; its inputs are those of the old graph.
    fn keep(&mut self, change: impl FnOnce(&mut Node)) {
        let mut node = self.old.nodes[self.new.len()].clone();
        change(&mut node);
        for input in &mut node.inputs {
            *input = self.renumbered(*input);
        }
        self.new.push(Some(NodeId(self.nodes.len())));
        self.nodes.push(node);
    }

    /// Replaces the next old node by the value of an earlier one.
    fn replace_by(&mut self, earlier: NodeId) {
        self.new.push(self.new[earlier.index()]);
    }

    /// Leaves out the next old node, whose value nobody reads.
    fn remove(&mut self) {
        self.new.push(None);
    }

    /// Adds a node between the last one and those that read it.
    fn insert(&mut self, name: &str, op: Op, shape: Vec<usize>) {
        let before = NodeId(self.nodes.len() - 1);
        for new in &mut self.new {
            if *new == Some(before) {
                *new = Some(NodeId(before.index() + 1));
            }
        }
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: vec![before],
            shape,
        });
    }

    fn renumbered(&self, old: NodeId) -> NodeId {
        self.new[old.index()].unwrap_or_else(|| unreachable!("a removed node has no readers"))
    }

    fn finish(self) -> Graph {
        Graph {
            output: self.renumbered(self.old.output),
            nodes: self.nodes,
        }
    }
}
