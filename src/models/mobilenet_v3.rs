//! MobileNetV3, small and large, as in torchvision (Howard et al., 2019,
//! <https://arxiv.org/abs/1905.02244>).

use super::blocks::{ConvNorm, divisible, pooled, squeeze_excitation};
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::Activation::{Hardsigmoid, Hardswish, Relu};
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId};

const MOBILENET_V3: Architecture = Architecture {
    family: "MobileNetV3",
    paper: "Howard et al., 2019",
    head: "classifier.3",
    dropout: 0.2,
    ..TORCHVISION
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "mobilenet_v3_small",
        summary: "small, squeeze-excitation",
        fine_tune_from: "features.9",
        source: torchvision!("mobilenet_v3_small", "047dcff4"),
        accuracy: 67.668,
        build: |options| mobilenet_v3(&SMALL, 1024, options),
        ..MOBILENET_V3
    },
    Architecture {
        name: "mobilenet_v3_large",
        summary: "large, squeeze-excitation",
        fine_tune_from: "features.13",
        source: torchvision!("mobilenet_v3_large", "8738ca79"),
        accuracy: 74.042,
        build: |options| mobilenet_v3(&LARGE, 1280, options),
        ..MOBILENET_V3
    },
];

/// Kernel, expanded channels, output channels, whether it has squeeze-excitation, activation, stride: a row
/// of tables 1 and 2 of the paper.
type Block = (usize, usize, usize, bool, Activation, usize);

const LARGE: [Block; 15] = [
    (3, 16, 16, false, Relu, 1),
    (3, 64, 24, false, Relu, 2),
    (3, 72, 24, false, Relu, 1),
    (5, 72, 40, true, Relu, 2),
    (5, 120, 40, true, Relu, 1),
    (5, 120, 40, true, Relu, 1),
    (3, 240, 80, false, Hardswish, 2),
    (3, 200, 80, false, Hardswish, 1),
    (3, 184, 80, false, Hardswish, 1),
    (3, 184, 80, false, Hardswish, 1),
    (3, 480, 112, true, Hardswish, 1),
    (3, 672, 112, true, Hardswish, 1),
    (5, 672, 160, true, Hardswish, 2),
    (5, 960, 160, true, Hardswish, 1),
    (5, 960, 160, true, Hardswish, 1),
];

const SMALL: [Block; 11] = [
    (3, 16, 16, true, Relu, 2),
    (3, 72, 24, false, Relu, 2),
    (3, 88, 24, false, Relu, 1),
    (5, 96, 40, true, Hardswish, 2),
    (5, 240, 40, true, Hardswish, 1),
    (5, 240, 40, true, Hardswish, 1),
    (5, 120, 48, true, Hardswish, 1),
    (5, 144, 48, true, Hardswish, 1),
    (5, 288, 96, true, Hardswish, 2),
    (5, 576, 96, true, Hardswish, 1),
    (5, 576, 96, true, Hardswish, 1),
];

const fn conv(activation: Activation) -> ConvNorm {
    ConvNorm {
        eps: 1e-3,
        momentum: 0.01,
        ..ConvNorm::new(activation)
    }
}

fn mobilenet_v3(blocks: &[Block], last: usize, options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let stem = Conv2d::new(16, 3).stride(2);
    let mut x = conv(Hardswish).build(&mut g, "features.0", x, stem);
    for (index, block) in blocks.iter().enumerate() {
        x = inverted_residual(&mut g, &format!("features.{}", index + 1), x, *block);
    }
    let wide = Conv2d::new(6 * g.channels(x), 1);
    let name = format!("features.{}", blocks.len() + 1);
    let x = conv(Hardswish).build(&mut g, &name, x, wide);
    let x = pooled(&mut g, x);
    let x = g.linear("classifier.0", x, last);
    let x = g.activation("classifier.1", x, Hardswish);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.3", x, classes);
    g.finish(x)
}

fn inverted_residual(g: &mut Builder, name: &str, x: NodeId, block: Block) -> NodeId {
    let (kernel, expanded, channels, squeezes, activation, stride) = block;
    let conv = conv(activation);
    let mut part = (0..).map(|part| format!("{name}.block.{part}"));
    let mut part = || part.next().unwrap_or_default();
    let mut y = x;
    if expanded != g.channels(x) {
        y = conv.build(g, &part(), y, Conv2d::new(expanded, 1));
    }
    let depthwise = Conv2d::new(expanded, kernel).stride(stride);
    y = conv.build(g, &part(), y, depthwise.groups(expanded));
    if squeezes {
        let squeezed = divisible((expanded / 4) as f64);
        y = squeeze_excitation(g, &part(), y, squeezed, [Relu, Hardsigmoid]);
    }
    y = conv.linear().build(g, &part(), y, Conv2d::new(channels, 1));
    if stride == 1 && g.channels(x) == channels {
        y = g.add(format!("{name}.add"), y, x);
    }
    y
}
