//! An architecture as data: operators, their order, and the shapes between them.

mod builder;
mod init;
mod op;
pub mod passes;
mod quantization;
mod shape;

pub use builder::{Builder, Value};
pub use op::{Activation, BatchNorm2d, Conv2d, Epilogue, Linear, Op, Padding, Pool2d, Role, Slot};
pub use quantization::{Affine, Method, Quantization};

/// A network. Nodes stand in an order in which every input comes before its use.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    output: usize,
}

/// One operator of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The module's name in PyTorch, e.g. `layer1.0.conv1`: the prefix of its parameters.
    pub name: String,
    pub op: Op,
    /// Places of the inputs in [`Graph::nodes`].
    pub inputs: Vec<usize>,
    /// Shape of the output for one picture, without the batch dimension.
    pub shape: Vec<usize>,
}

/// A parameter or buffer of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its `state_dict` name, e.g. `layer1.0.conv1.weight`.
    pub name: String,
    pub role: Role,
    pub shape: Vec<usize>,
    /// Place of its node in [`Graph::nodes`].
    pub node: usize,
}

impl Graph {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Place of the node whose value is the network's answer (logits).
    pub fn output(&self) -> usize {
        self.output
    }

    /// Shape of the answer for one picture.
    pub fn output_shape(&self) -> &[usize] {
        &self.nodes[self.output].shape
    }

    /// Every parameter and buffer, in the order of the nodes.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> + '_ {
        self.nodes.iter().enumerate().flat_map(|(place, node)| {
            node.op.slots().into_iter().map(move |slot| Parameter {
                name: format!("{}.{}", node.name, slot.suffix),
                role: slot.role,
                shape: slot.shape,
                node: place,
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

    /// Multiply-accumulate operations for one picture.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|n| n.op.macs(&n.shape)).sum()
    }

    /// Place of the first node of a layer: the node of that name, or the first below it
    /// (`layer4` finds `layer4.0.conv1`).
    pub fn layer(&self, name: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| is_below(&node.name, name))
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

/// Whether a node or parameter name is `layer` or lies below it.
pub fn is_below(name: &str, layer: &str) -> bool {
    name.strip_prefix(layer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
