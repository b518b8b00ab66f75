//! Blocks that several families are made of, named as in torchvision.

use crate::graph::{Activation, Builder, Conv2d, NodeId};

/// A convolution, its normalisation, and an activation behind them if there is one.
#[derive(Clone, Copy)]
pub(super) struct ConvNorm {
    pub eps: f64,
    pub momentum: f64,
    pub activation: Option<Activation>,
    /// The parts' names below that of the whole.
    pub parts: [&'static str; 3],
}

impl ConvNorm {
    /// torchvision's `Conv2dNormActivation` with PyTorch's defaults for the normalisation.
    pub(super) const fn new(activation: Activation) -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
            activation: Some(activation),
            parts: ["0", "1", "2"],
        }
    }

    /// The same without an activation.
    pub(super) const fn linear(self) -> Self {
        Self {
            activation: None,
            ..self
        }
    }

    pub(super) fn build(&self, g: &mut Builder, name: &str, x: NodeId, conv: Conv2d) -> NodeId {
        let [conv_name, norm, activation] = self.parts.map(|part| format!("{name}.{part}"));
        self.named([conv_name, norm, activation], g, x, conv)
    }

    /// As modules of a `Sequential` that begin with number `first`.
    pub(super) fn at(
        &self,
        g: &mut Builder,
        (sequence, first): (&str, usize),
        x: NodeId,
        conv: Conv2d,
    ) -> NodeId {
        let names = [0, 1, 2].map(|part| format!("{sequence}.{}", first + part));
        self.named(names, g, x, conv)
    }

    /// With these names of its parts.
    pub(super) fn named(
        &self,
        names: [String; 3],
        g: &mut Builder,
        x: NodeId,
        conv: Conv2d,
    ) -> NodeId {
        let [conv_name, norm, activation] = names;
        let x = g.conv2d(conv_name, x, conv);
        let x = g.batch_norm(norm, x, self.eps, self.momentum);
        match self.activation {
            Some(kind) => g.activation(activation, x, kind),
            None => x,
        }
    }
}

/// Scales each channel by what a small network makes of all channels' means (Hu et al., 2018): over
/// `squeezed` channels, with an activation between the two layers and one after them.
pub(super) fn squeeze_excitation(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    squeezed: usize,
    [between, after]: [Activation; 2],
) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let channels = g.channels(x);
    let scale = g.global_avg_pool(part("avgpool"), x);
    let scale = g.conv2d(part("fc1"), scale, Conv2d::new(squeezed, 1).bias());
    let scale = g.activation(part("activation"), scale, between);
    let scale = g.conv2d(part("fc2"), scale, Conv2d::new(channels, 1).bias());
    let scale = g.activation(part("scale_activation"), scale, after);
    g.mul(part("mul"), x, scale)
}

/// Channels rounded to a multiple of 8, and never down by more than 10%.
pub(super) fn divisible(channels: f64) -> usize {
    let rounded = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    match (rounded as f64) < 0.9 * channels {
        true => rounded + 8,
        false => rounded,
    }
}

/// The mean over all pixels, as a vector.
pub(super) fn pooled(g: &mut Builder, x: NodeId) -> NodeId {
    let x = g.global_avg_pool("avgpool", x);
    g.flatten("flatten", x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_multiples_of_eight() {
        let expected = [(35.2, 32), (44.8, 48), (18.0, 24), (1.0, 8), (22.4, 24)];
        for (channels, rounded) in expected {
            assert_eq!(divisible(channels), rounded, "{channels}");
        }
    }
}
