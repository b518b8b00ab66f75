//! MobileNetV2 at width 1.0, as in torchvision (Sandler et al., 2018,
//! <https://arxiv.org/abs/1801.04381>).

use super::Options;
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId};

/// Expansion, output channels, repeats, stride of the first: table 2 of the paper.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

pub(super) fn mobilenet_v2(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let mut x = conv_norm_relu(&mut g, "features.0", x, Conv2d::new(32, 3).stride(2));
    let mut index = 1;
    for [expansion, channels, repeats, stride] in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let name = format!("features.{index}");
            x = inverted_residual(&mut g, &name, x, expansion, channels, stride);
            index += 1;
        }
    }
    let x = conv_norm_relu(&mut g, "features.18", x, Conv2d::new(1280, 1));
    let x = g.global_avg_pool("avgpool", x);
    let x = g.flatten("flatten", x);
    let x = options
        .head
        .build(&mut g, "classifier.1", x, options.classes);
    g.finish(x)
}

/// torchvision's `Conv2dNormActivation`: convolution `.0`, normalisation `.1`, ReLU6 `.2`.
fn conv_norm_relu(g: &mut Builder, name: &str, x: NodeId, conv: Conv2d) -> NodeId {
    let x = g.conv2d(format!("{name}.0"), x, conv);
    let x = g.batch_norm(format!("{name}.1"), x, 1e-5, 0.1);
    g.activation(format!("{name}.2"), x, Activation::Relu6)
}

fn inverted_residual(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    expansion: usize,
    channels: usize,
    stride: usize,
) -> NodeId {
    let hidden = g.channels(x) * expansion;
    let mut y = x;
    let mut part = 0;
    if expansion != 1 {
        y = conv_norm_relu(g, &format!("{name}.conv.{part}"), y, Conv2d::new(hidden, 1));
        part += 1;
    }
    let depthwise = Conv2d::new(hidden, 3).stride(stride).groups(hidden);
    y = conv_norm_relu(g, &format!("{name}.conv.{part}"), y, depthwise);
    y = g.conv2d(
        format!("{name}.conv.{}", part + 1),
        y,
        Conv2d::new(channels, 1),
    );
    y = g.batch_norm(format!("{name}.conv.{}", part + 2), y, 1e-5, 0.1);
    if g.shape(x) == g.shape(y) {
        y = g.add(format!("{name}.add"), y, x);
    }
    y
}
