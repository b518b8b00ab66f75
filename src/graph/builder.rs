//! Writes a graph down in the order in which a network is read.

use std::ops::Range;

use super::activation::Activation;
use super::op::{BatchNorm2d, LayerNorm, Linear, Op};
use super::shape::{feature_axis, infer};
use super::window::{Conv2d, Pool2d};
use super::{Graph, Node, NodeId};
use crate::error::{Error, Result};

/// Collects nodes and checks every shape as it goes. The first mistake is kept for
/// [`Builder::finish`], so that an architecture reads without a `?` on every line.
pub struct Builder {
    nodes: Vec<Node>,
    mistake: Option<String>,
}

impl Builder {
    /// A graph of square RGB images.
    pub fn new(image_size: usize) -> (Self, NodeId) {
        let input = Node {
            name: "input".into(),
            op: Op::Input,
            inputs: Vec::new(),
            shape: vec![3, image_size, image_size],
        };
        let builder = Self {
            nodes: vec![input],
            mistake: None,
        };
        (builder, NodeId(0))
    }

    /// Adds any operator.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = name.into();
        let shapes: Vec<&[usize]> = inputs.iter().map(|v| &*self.nodes[v.0].shape).collect();
        let inferred = if self.nodes.iter().any(|node| node.name == name) {
            Err("the name is already used".into())
        } else {
            infer(&op, &shapes)
        };
        let shape = inferred.unwrap_or_else(|why| {
            let mistake = format!("{} {name}: {why}", op.name());
            self.mistake.get_or_insert(mistake);
            shapes
                .first()
                .map(|shape| shape.to_vec())
                .unwrap_or_default()
        });
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            shape,
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Name of the node that computes a value.
    pub fn name(&self, value: NodeId) -> &str {
        &self.nodes[value.0].name
    }

    /// What computes a value.
    pub fn op(&self, value: NodeId) -> &Op {
        &self.nodes[value.0].op
    }

    /// What the node of a value reads.
    pub fn inputs(&self, value: NodeId) -> &[NodeId] {
        &self.nodes[value.0].inputs
    }

    /// Shape of a value for one image.
    pub fn shape(&self, value: NodeId) -> &[usize] {
        &self.nodes[value.0].shape
    }

    /// Number of channels, or of features, of a value.
    pub fn channels(&self, value: NodeId) -> usize {
        let shape = self.shape(value);
        shape.get(feature_axis(shape)).copied().unwrap_or_default()
    }

    /// Shape of the map that a value was flattened from.
    pub fn flattened(&self, value: NodeId) -> Option<&[usize]> {
        let node = &self.nodes[value.0];
        matches!(node.op, Op::Flatten).then(|| self.shape(node.inputs[0]))
    }

    /// A convolution; its input channels are those of `x`.
    pub fn conv2d(&mut self, name: impl Into<String>, x: NodeId, mut conv: Conv2d) -> NodeId {
        conv.in_channels = self.channels(x);
        self.push(name, Op::Conv2d(conv), &[x])
    }

    pub fn batch_norm(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
        eps: f64,
        momentum: f64,
    ) -> NodeId {
        let channels = self.channels(x);
        let norm = BatchNorm2d {
            channels,
            eps,
            momentum,
        };
        self.push(name, Op::BatchNorm2d(norm), &[x])
    }

    pub fn linear(&mut self, name: impl Into<String>, x: NodeId, out_features: usize) -> NodeId {
        let linear = Linear {
            in_features: self.channels(x),
            ..Linear::new(out_features)
        };
        self.push(name, Op::Linear(linear), &[x])
    }

    pub fn layer_norm(&mut self, name: impl Into<String>, x: NodeId, eps: f64) -> NodeId {
        let features = self.channels(x);
        self.push(name, Op::LayerNorm(LayerNorm { features, eps }), &[x])
    }

    /// The name is that of the parameter.
    pub fn layer_scale(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        let scale = Op::LayerScale {
            features: self.channels(x),
            of_map: self.shape(x).len() == 3,
        };
        self.push(name, scale, &[x])
    }

    pub fn activation(&mut self, name: impl Into<String>, x: NodeId, kind: Activation) -> NodeId {
        self.push(name, Op::Activation(kind), &[x])
    }

    pub fn max_pool2d(&mut self, name: impl Into<String>, x: NodeId, pool: Pool2d) -> NodeId {
        self.push(name, Op::MaxPool2d(pool), &[x])
    }

    pub fn avg_pool2d(&mut self, name: impl Into<String>, x: NodeId, pool: Pool2d) -> NodeId {
        self.push(name, Op::AvgPool2d(pool), &[x])
    }

    /// The means of `size` times `size` windows, as PyTorch's `AdaptiveAvgPool2d` gives where they are alike:
    /// the map has to be that large, or a multiple of it.
    pub fn adaptive_avg_pool2d(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
        size: usize,
    ) -> NodeId {
        let name = name.into();
        match *self.shape(x) {
            [_, height, width] if [height, width] == [size; 2] => x,
            [_, height, width] if height == width && height.is_multiple_of(size) => {
                let window = height / size;
                self.avg_pool2d(name, x, Pool2d::new(window, window))
            }
            ref shape => {
                let mistake = format!(
                    "AdaptiveAvgPool2d {name}: {size} x {size} equal windows do not fit a map of \
                     {shape:?}: use the published image size, or a multiple of it"
                );
                self.mistake.get_or_insert(mistake);
                x
            }
        }
    }

    pub fn global_avg_pool(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.push(name, Op::GlobalAvgPool, &[x])
    }

    pub fn add(&mut self, name: impl Into<String>, a: NodeId, b: NodeId) -> NodeId {
        self.push(name, Op::Add, &[a, b])
    }

    /// The product of two values, of which the second may be one number for each channel.
    pub fn mul(&mut self, name: impl Into<String>, a: NodeId, b: NodeId) -> NodeId {
        self.push(name, Op::Mul, &[a, b])
    }

    pub fn concat(&mut self, name: impl Into<String>, values: &[NodeId]) -> NodeId {
        self.push(name, Op::Concat, values)
    }

    /// These channels of a value.
    pub fn slice(&mut self, name: impl Into<String>, x: NodeId, channels: Range<usize>) -> NodeId {
        let Range { start, end } = channels;
        self.push(name, Op::Slice { start, end }, &[x])
    }

    pub fn channel_shuffle(&mut self, name: impl Into<String>, x: NodeId, groups: usize) -> NodeId {
        self.push(name, Op::ChannelShuffle { groups }, &[x])
    }

    pub fn flatten(&mut self, name: impl Into<String>, x: NodeId) -> NodeId {
        self.push(name, Op::Flatten, &[x])
    }

    pub fn dropout(&mut self, name: impl Into<String>, x: NodeId, probability: f64) -> NodeId {
        self.push(name, Op::Dropout { probability }, &[x])
    }

    /// Adds nothing where nothing would be dropped.
    pub fn stochastic_depth(
        &mut self,
        name: impl Into<String>,
        x: NodeId,
        probability: f64,
    ) -> NodeId {
        match probability {
            0.0 => x,
            probability => self.push(name, Op::StochasticDepth { probability }, &[x]),
        }
    }

    /// The graph whose output is `output`.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first mistake and the name of its node.
    pub fn finish(self, output: NodeId) -> Result<Graph> {
        match self.mistake {
            Some(mistake) => Err(Error::Usage(mistake).into()),
            None => Ok(Graph {
                nodes: self.nodes,
                output,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Padding;

    #[test]
    fn shapes_are_inferred() {
        let (mut g, x) = Builder::new(32);
        let x = g.conv2d("conv", x, Conv2d::new(8, 3).stride(2));
        assert_eq!(g.shape(x), [8, 16, 16]);
        let wide = g.conv2d(
            "wide",
            x,
            Conv2d::new(8, 3).dilation(2).padding(Padding::both(2)),
        );
        let sum = g.add("sum", x, wide);
        let pool = g.global_avg_pool("pool", sum);
        let gate = g.push("gate", Op::Mul, &[sum, pool]);
        let both = g.push("both", Op::Concat, &[sum, gate]);
        assert_eq!(g.shape(both), [16, 16, 16]);
        let flat = g.flatten("flat", both);
        let out = g.linear("fc", flat, 5);
        let graph = g.finish(out).unwrap();
        assert_eq!(graph.output_shape(), [5]);
        assert_eq!(graph.layer("fc"), graph.find("fc"));
        assert_eq!(graph.layer("f"), None);
    }

    #[test]
    fn a_mistake_names_its_node() {
        let (mut g, x) = Builder::new(32);
        let a = g.conv2d("a", x, Conv2d::new(8, 3));
        let b = g.conv2d("b", x, Conv2d::new(9, 3));
        let sum = g.add("block.add", a, b);
        let error = g.finish(sum).unwrap_err().to_string();
        assert_eq!(
            error,
            "Add block.add: the shapes [8, 32, 32] and [9, 32, 32] differ"
        );
    }

    #[test]
    fn a_name_is_used_once() {
        let (mut g, x) = Builder::new(8);
        let a = g.conv2d("a", x, Conv2d::new(8, 3));
        let b = g.conv2d("a", a, Conv2d::new(8, 3));
        assert!(
            g.finish(b)
                .unwrap_err()
                .to_string()
                .contains("already used")
        );
    }
}
