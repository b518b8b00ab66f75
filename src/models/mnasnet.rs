//! MNASNet-B1 at width 1.0, as in torchvision (Tan et al., 2018, <https://arxiv.org/abs/1807.11626>).

use super::blocks::{ConvNorm, pooled};
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "mnasnet1_0",
    family: "MNASNet",
    paper: "Tan et al., 2018",
    summary: "B1, width 1.0",
    head: "classifier.1",
    fine_tune_from: "layers.12",
    dropout: 0.2,
    source: torchvision!("mnasnet1.0_top1_73.512", "f206786ef8"),
    accuracy: 73.456,
    build: mnasnet1_0,
    ..TORCHVISION
}];

/// The momentum is the paper's for TensorFlow, 0.9997, the other way round.
const CONV: ConvNorm = ConvNorm {
    momentum: 1.0 - 0.9997,
    ..ConvNorm::new(Activation::Relu)
};

/// Output channels, kernel, stride of the first, expansion, repeats.
const STAGES: [[usize; 5]; 6] = [
    [24, 3, 2, 3, 3],
    [40, 5, 2, 3, 3],
    [80, 5, 2, 6, 3],
    [96, 3, 1, 6, 2],
    [192, 5, 2, 6, 4],
    [320, 3, 1, 6, 1],
];

fn mnasnet1_0(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = CONV.at(&mut g, ("layers", 0), x, Conv2d::new(32, 3).stride(2));
    let x = CONV.at(&mut g, ("layers", 3), x, Conv2d::new(32, 3).groups(32));
    let separable = CONV.linear();
    let mut x = separable.at(&mut g, ("layers", 6), x, Conv2d::new(16, 1));
    for (stage, [channels, kernel, stride, expansion, repeats]) in STAGES.into_iter().enumerate() {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let name = format!("layers.{}.{repeat}", stage + 8);
            let hidden = g.channels(x) * expansion;
            let depthwise = Conv2d::new(hidden, kernel).stride(stride).groups(hidden);
            x = inverted_residual(&mut g, &name, x, depthwise, channels);
        }
    }
    let x = CONV.at(&mut g, ("layers", 14), x, Conv2d::new(1280, 1));
    let x = pooled(&mut g, x);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.1", x, classes);
    g.finish(x)
}

fn inverted_residual(
    g: &mut Builder,
    name: &str,
    x: NodeId,
    depthwise: Conv2d,
    channels: usize,
) -> NodeId {
    let sequence = &*format!("{name}.layers");
    let keeps_shape = depthwise.stride == 1 && g.channels(x) == channels;
    let expand = Conv2d::new(depthwise.out_channels, 1);
    let y = CONV.at(g, (sequence, 0), x, expand);
    let y = CONV.at(g, (sequence, 3), y, depthwise);
    let y = CONV
        .linear()
        .at(g, (sequence, 6), y, Conv2d::new(channels, 1));
    match keeps_shape {
        true => g.add(format!("{name}.add"), y, x),
        false => y,
    }
}
