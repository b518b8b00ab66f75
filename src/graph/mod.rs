//! An architecture as data: operators, their order, and the shapes between them.

mod activation;
mod builder;
mod channels;
mod inference;
mod init;
mod op;
pub mod passes;
mod quantization;
mod shape;
mod window;

use std::ops::Index;

pub use activation::Activation;
pub use builder::Builder;
pub use channels::Channels;
pub use inference::{InferenceGraph, Int8, Int8Weight, Weight};
pub use op::{BatchNorm2d, LayerNorm, Linear, Op, Role, Slot};
pub use quantization::{Method, Quantization, QuantizationParameters};
pub use window::{Conv2d, Epilogue, Padding, Pool2d};

/// A network: operators in an order in which every input comes before its use.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    output: NodeId,
}

/// A node of one graph, and the value that it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// Its position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operator of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The module's name in PyTorch, e.g. `layer1.0.conv1`: the prefix of its parameters.
    pub name: String,
    pub op: Op,
    pub inputs: Vec<NodeId>,
    /// Shape of the output for one image, without the batch dimension.
    pub shape: Vec<usize>,
}

impl Node {
    /// The name in PyTorch's `state_dict` of the tensor with this suffix: `layer1.0.conv1.weight`. That of
    /// one that is no module's but stands by itself is the node's.
    pub fn parameter(&self, suffix: &str) -> String {
        let name = &self.name;
        match &self.op {
            _ if suffix.is_empty() => name.clone(),
            Op::Linear(linear) => format!("{name}{}{suffix}", linear.separator),
            _ => format!("{name}.{suffix}"),
        }
    }
}

/// A parameter or buffer of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its `state_dict` name, e.g. `layer1.0.conv1.weight`.
    pub name: String,
    pub role: Role,
    pub shape: Vec<usize>,
    pub node: NodeId,
}

impl Graph {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every node with its id, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        let nodes = self.nodes.iter().enumerate();
        nodes.map(|(index, node)| (NodeId(index), node))
    }

    /// Every id, in the order of the nodes.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The node that takes the images.
    pub fn input(&self) -> NodeId {
        let found = self.iter().find(|(_, node)| node.op == Op::Input);
        found.map_or(NodeId(0), |(id, _)| id)
    }

    /// The node that computes the logits.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Height and width of the images in pixels.
    pub fn image_size(&self) -> usize {
        // Channels come first or last.
        self[self.input()].shape[1]
    }

    /// Shape of the output for one image.
    pub fn output_shape(&self) -> &[usize] {
        &self[self.output].shape
    }

    /// The part of the graph that computes one of its values.
    pub fn ending_at(&self, output: NodeId) -> Self {
        Self {
            nodes: self.nodes[..=output.0].to_vec(),
            output,
        }
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .map(NodeId)
    }

    /// Every parameter and buffer, in the order of the nodes.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> + '_ {
        self.iter().flat_map(|(id, node)| {
            node.op.slots().into_iter().map(move |slot| Parameter {
                name: node.parameter(slot.suffix),
                role: slot.role,
                shape: slot.shape,
                node: id,
            })
        })
    }

    /// Number of learned values.
    pub fn parameter_count(&self) -> u64 {
        self.parameters()
            .filter(|parameter| parameter.role.is_learned())
            .map(|parameter| parameter.shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Multiply-accumulate operations for one image.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|n| n.op.macs(&n.shape)).sum()
    }

    /// The first node of a layer: the node of that name, or the first below it (`layer4` finds
    /// `layer4.0.conv1`).
    pub fn layer(&self, name: &str) -> Option<NodeId> {
        self.nodes
            .iter()
            .position(|node| is_below(&node.name, name))
            .map(NodeId)
    }

    /// The nodes that read a value, in order.
    pub fn readers(&self, value: NodeId) -> Vec<NodeId> {
        let readers = self.iter().filter(|(_, node)| node.inputs.contains(&value));
        readers.map(|(id, _)| id).collect()
    }

    /// The one node that reads a value which is not the output.
    pub fn only_reader(&self, value: NodeId) -> Option<NodeId> {
        match self.readers(value)[..] {
            [reader] if value != self.output => Some(reader),
            _ => None,
        }
    }

    /// Names of the layers that hold parameters, one or two levels deep: what `--freeze-until`
    /// takes.
    pub fn layers(&self) -> Vec<String> {
        let mut layers: Vec<String> = Vec::new();
        for node in &self.nodes {
            if node.op.slots().is_empty() {
                continue;
            }
            let mut parts = node.name.split('.');
            let mut layer = parts.next().unwrap_or_default().to_string();
            if let Some(second) = parts.next() {
                layer = format!("{layer}.{second}");
            }
            if layers.last() != Some(&layer) {
                layers.push(layer);
            }
        }
        layers
    }
}

impl Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

/// Whether a node or parameter name is `layer` or lies below it.
pub fn is_below(name: &str, layer: &str) -> bool {
    name.strip_prefix(layer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
