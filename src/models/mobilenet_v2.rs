//! MobileNetV2 at width 1.0, as in torchvision (Sandler et al., 2018,
//! <https://arxiv.org/abs/1801.04381>).

use super::blocks::{ConvNorm, pooled};
use super::pretrained::Source;
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "mobilenet_v2",
    family: "MobileNetV2",
    paper: "Sandler et al., 2018",
    summary: "inverted residuals",
    head: "classifier.1",
    fine_tune_from: "features.14",
    dropout: 0.2,
    source: Source {
        sha256: "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        ..torchvision!("mobilenet_v2", "b0353104")
    },
    accuracy: 71.878,
    build: mobilenet_v2,
    ..TORCHVISION
}];

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

const CONV: ConvNorm = ConvNorm::new(Activation::Relu6);

fn mobilenet_v2(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let mut x = CONV.build(&mut g, "features.0", x, Conv2d::new(32, 3).stride(2));
    let mut index = 1;
    for [expansion, channels, repeats, stride] in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let name = format!("features.{index}");
            x = inverted_residual(&mut g, &name, x, [expansion, channels, stride]);
            index += 1;
        }
    }
    let x = CONV.build(&mut g, "features.18", x, Conv2d::new(1280, 1));
    let x = pooled(&mut g, x);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.1", x, classes);
    g.finish(x)
}

fn inverted_residual(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    [expansion, channels, stride]: [usize; 3],
) -> NodeId {
    let hidden = g.channels(x) * expansion;
    let sequence = format!("{name}.conv");
    let (mut y, mut part) = (x, 0);
    if expansion != 1 {
        y = CONV.build(g, &format!("{sequence}.0"), y, Conv2d::new(hidden, 1));
        part = 1;
    }
    let depthwise = Conv2d::new(hidden, 3).stride(stride).groups(hidden);
    y = CONV.build(g, &format!("{sequence}.{part}"), y, depthwise);
    let project = Conv2d::new(channels, 1);
    y = CONV.linear().at(g, (&sequence, part + 1), y, project);
    if stride == 1 && g.channels(x) == channels {
        y = g.add(format!("{name}.add"), y, x);
    }
    y
}
