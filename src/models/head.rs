//! The classifier on top of a backbone.

use serde::{Deserialize, Serialize};

use crate::graph::{Activation, Builder, NodeId};

/// A classifier: dropout and a linear layer, or two dense layers with dropout between them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Units of a hidden dense layer with ReLU, if there is one.
    pub hidden: Option<usize>,
    /// Probability that a feature in front of the last layer is dropped in training.
    pub dropout: f64,
}

impl Head {
    /// Adds the classifier to a graph. With a hidden layer it is named as a PyTorch
    /// `Sequential(Linear, ReLU, Dropout, Linear)` under `name`.
    pub(super) fn build(&self, g: &mut Builder, name: &str, x: NodeId, classes: usize) -> NodeId {
        let dropout = |g: &mut Builder, x, place: String| {
            if self.dropout > 0.0 {
                g.dropout(place, x, self.dropout)
            } else {
                x
            }
        };
        match self.hidden {
            None => {
                let x = dropout(g, x, format!("{name}.dropout"));
                g.linear(name, x, classes)
            }
            Some(units) => {
                let x = g.linear(format!("{name}.0"), x, units);
                let x = g.activation(format!("{name}.1"), x, Activation::Relu);
                let x = dropout(g, x, format!("{name}.2"));
                g.linear(format!("{name}.3"), x, classes)
            }
        }
    }
}
