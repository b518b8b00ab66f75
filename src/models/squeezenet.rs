//! SqueezeNet 1.1, as in torchvision (Iandola et al., 2016, <https://arxiv.org/abs/1602.07360>). Its
//! classifier is a convolution, whose rectified values are averaged over the pixels.

use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Padding, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "squeezenet1_1",
    family: "SqueezeNet",
    paper: "Iandola et al., 2016",
    summary: "fire modules",
    head: "classifier.1",
    fine_tune_from: "features.9",
    dropout: 0.5,
    source: torchvision!("squeezenet1_1", "b8a52dc0"),
    accuracy: 58.178,
    build: squeezenet1_1,
    ..TORCHVISION
}];

/// Number in the sequence, squeezed channels, and channels of either expansion, of the modules between two
/// poolings.
const STAGES: [&[[usize; 3]]; 3] = [
    &[[3, 16, 64], [4, 16, 64]],
    &[[6, 32, 128], [7, 32, 128]],
    &[[9, 48, 192], [10, 48, 192], [11, 64, 256], [12, 64, 256]],
];

fn squeezenet1_1(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let stem = Conv2d::new(64, 3).stride(2).padding(Padding::both(0));
    let x = g.conv2d("features.0", x, stem.bias());
    let mut x = g.activation("features.1", x, Activation::Relu);
    for stage in STAGES {
        let pool = Pool2d::new(3, 2).ceil_mode();
        x = g.max_pool2d(format!("features.{}", stage[0][0] - 1), x, pool);
        for [index, squeezed, expanded] in stage {
            x = fire(
                &mut g,
                &format!("features.{index}"),
                x,
                [*squeezed, *expanded],
            );
        }
    }
    let head = &options.head;
    let x = head.build_conv(&mut g, "classifier.1", x, options.classes);
    let x = g.activation("classifier.2", x, Activation::Relu);
    let x = g.global_avg_pool("classifier.3", x);
    let x = g.flatten("flatten", x);
    g.finish(x)
}

fn fire(g: &mut Builder, name: &str, x: NodeId, [squeezed, expanded]: [usize; 2]) -> NodeId {
    let conv = |g: &mut Builder, part: &str, x, conv: Conv2d| {
        let x = g.conv2d(format!("{name}.{part}"), x, conv.bias());
        g.activation(format!("{name}.{part}_activation"), x, Activation::Relu)
    };
    let x = conv(g, "squeeze", x, Conv2d::new(squeezed, 1));
    let one = conv(g, "expand1x1", x, Conv2d::new(expanded, 1));
    let three = conv(g, "expand3x3", x, Conv2d::new(expanded, 3));
    g.concat(format!("{name}.concat"), &[one, three])
}
