//! The classifier on top of a backbone.

use serde::{Deserialize, Serialize};

use crate::graph::{Activation, Builder, Conv2d, NodeId};

/// A classifier: dropout and a linear layer, or two dense layers with dropout between them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Units of a hidden dense layer with ReLU, if there is one.
    pub hidden: Option<usize>,
    /// Probability that a feature in front of the last layer is dropped in training.
    pub dropout: f64,
}

/// Adds a layer with this many outputs.
type Layer = fn(&mut Builder, String, NodeId, usize) -> NodeId;

impl Head {
    /// Adds the classifier to a graph. With a hidden layer it is named as a PyTorch
    /// `Sequential(Linear, ReLU, Dropout, Linear)` under `name`.
    pub(super) fn build(&self, g: &mut Builder, name: &str, x: NodeId, classes: usize) -> NodeId {
        self.layers(g, name, x, classes, |g, name, x, outputs| {
            g.linear(name, x, outputs)
        })
    }

    /// The same for each pixel of a feature map, of 1x1 convolutions.
    pub(super) fn build_conv(
        &self,
        g: &mut Builder,
        name: &str,
        x: NodeId,
        classes: usize,
    ) -> NodeId {
        self.layers(g, name, x, classes, |g, name, x, outputs| {
            g.conv2d(name, x, Conv2d::new(outputs, 1).bias())
        })
    }

    fn layers(
        &self,
        g: &mut Builder,
        name: &str,
        x: NodeId,
        classes: usize,
        layer: Layer,
    ) -> NodeId {
        let dropout = |g: &mut Builder, x, place: String| match self.dropout > 0.0 {
            true => g.dropout(place, x, self.dropout),
            false => x,
        };
        match self.hidden {
            None => {
                let x = dropout(g, x, format!("{name}.dropout"));
                layer(g, name.into(), x, classes)
            }
            Some(units) => {
                let x = layer(g, format!("{name}.0"), x, units);
                let x = g.activation(format!("{name}.1"), x, Activation::Relu);
                let x = dropout(g, x, format!("{name}.2"));
                layer(g, format!("{name}.3"), x, classes)
            }
        }
    }
}
