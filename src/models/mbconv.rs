//! Networks of MBConv blocks: EfficientNet of both versions, as in torchvision.

use super::Options;
use super::blocks::{ConvNorm, divisible, pooled, squeeze_excitation};
use crate::error::Result;
use crate::graph::Activation::{Sigmoid, Silu};
use crate::graph::{Builder, Conv2d, Graph, NodeId};

/// Epsilon and momentum of the normalisations, where PyTorch trained the published weights.
pub(super) const PYTORCH: [f64; 2] = [1e-5, 0.1];
/// And where they come from TensorFlow.
pub(super) const TENSORFLOW: [f64; 2] = [1e-3, 0.01];

/// The last block is dropped about this often in training, the first never.
const STOCHASTIC_DEPTH: f64 = 0.2;

/// Blocks of one output shape.
pub(super) struct Stage {
    /// Whether one convolution both expands and looks around, without squeeze-excitation.
    pub is_fused: bool,
    pub expansion: usize,
    pub kernel: usize,
    /// Of the first block.
    pub stride: usize,
    pub channels: usize,
    pub repeats: usize,
}

/// A network of these stages, with the channels of its first and its last convolution.
pub(super) fn mbconvs(
    stages: &[Stage],
    [first, last]: [usize; 2],
    [eps, momentum]: [f64; 2],
    options: &Options,
) -> Result<Graph> {
    let conv = ConvNorm {
        eps,
        momentum,
        ..ConvNorm::new(Silu)
    };
    let (mut g, x) = Builder::new(options.image_size);
    let mut x = conv.build(&mut g, "features.0", x, Conv2d::new(first, 3).stride(2));
    let blocks: usize = stages.iter().map(|stage| stage.repeats).sum();
    let mut place = 0;
    for (index, stage) in stages.iter().enumerate() {
        for repeat in 0..stage.repeats {
            let block = Block {
                conv,
                stage,
                stride: if repeat == 0 { stage.stride } else { 1 },
                drop: STOCHASTIC_DEPTH * place as f64 / blocks as f64,
            };
            x = block.build(&mut g, &format!("features.{}.{repeat}", index + 1), x);
            place += 1;
        }
    }
    let name = format!("features.{}", stages.len() + 1);
    let x = conv.build(&mut g, &name, x, Conv2d::new(last, 1));
    let x = pooled(&mut g, x);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.1", x, classes);
    g.finish(x)
}

struct Block<'a> {
    conv: ConvNorm,
    stage: &'a Stage,
    stride: usize,
    /// How often it is dropped in training.
    drop: f64,
}

impl Block<'_> {
    fn build(&self, g: &mut Builder, name: &str, x: NodeId) -> NodeId {
        let channels = self.stage.channels;
        let y = match self.stage.is_fused {
            true => self.fused(g, name, x),
            false => self.depthwise(g, name, x),
        };
        if self.stride != 1 || g.channels(x) != channels {
            return y;
        }
        let y = g.stochastic_depth(format!("{name}.stochastic_depth"), y, self.drop);
        g.add(format!("{name}.add"), y, x)
    }

    fn depthwise(&self, g: &mut Builder, name: &str, x: NodeId) -> NodeId {
        let (conv, stage) = (self.conv, self.stage);
        let expanded = divisible((g.channels(x) * stage.expansion) as f64);
        let squeezed = (g.channels(x) / 4).max(1);
        let mut part = (0..).map(|part| format!("{name}.block.{part}"));
        let mut part = || part.next().unwrap_or_default();
        let mut y = x;
        if expanded != g.channels(x) {
            y = conv.build(g, &part(), y, Conv2d::new(expanded, 1));
        }
        let depthwise = Conv2d::new(expanded, stage.kernel).stride(self.stride);
        y = conv.build(g, &part(), y, depthwise.groups(expanded));
        y = squeeze_excitation(g, &part(), y, squeezed, [Silu, Sigmoid]);
        let project = Conv2d::new(stage.channels, 1);
        conv.linear().build(g, &part(), y, project)
    }

    fn fused(&self, g: &mut Builder, name: &str, x: NodeId) -> NodeId {
        let (conv, stage) = (self.conv, self.stage);
        let spatial = |channels| Conv2d::new(channels, stage.kernel).stride(self.stride);
        let expanded = divisible((g.channels(x) * stage.expansion) as f64);
        let [first, second] = [0, 1].map(|part| format!("{name}.block.{part}"));
        if expanded == g.channels(x) {
            return conv.build(g, &first, x, spatial(stage.channels));
        }
        let y = conv.build(g, &first, x, spatial(expanded));
        let project = Conv2d::new(stage.channels, 1);
        conv.linear().build(g, &second, y, project)
    }
}
