//! ConvNeXt-Tiny, as in torchvision (Liu et al., 2022, <https://arxiv.org/abs/2201.03545>).

use super::published::{TORCHVISION, in_proportion, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Padding};
use crate::image::preprocess::Interpolation::Bilinear;

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "convnext_tiny",
    family: "ConvNeXt",
    paper: "Liu et al., 2022",
    summary: "tiny",
    head: "classifier.2",
    fine_tune_from: "features.6",
    preprocessing: |size| in_proportion(size, 236, 224, Bilinear),
    source: torchvision!("convnext_tiny", "983f1562"),
    accuracy: 82.52,
    build: convnext_tiny,
    ..TORCHVISION
}];

/// Channels and blocks, stage by stage.
const STAGES: [[usize; 2]; 4] = [[96, 3], [192, 3], [384, 9], [768, 3]];

/// The last block is dropped this often in training, the first never.
const STOCHASTIC_DEPTH: f64 = 0.1;

const EPS: f64 = 1e-6;

fn convnext_tiny(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = patches(&mut g, "features.0.0", x, STAGES[0][0], 4);
    let mut x = g.layer_norm("features.0.1", x, EPS);
    let last = STAGES.iter().map(|[_, blocks]| blocks).sum::<usize>() - 1;
    let mut place = 0;
    for (stage, [channels, blocks]) in STAGES.into_iter().enumerate() {
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            x = g.layer_norm(format!("{name}.0"), x, EPS);
            x = patches(&mut g, &format!("{name}.1"), x, channels, 2);
        }
        for index in 0..blocks {
            let name = format!("features.{}.{index}", 2 * stage + 1);
            let drop = STOCHASTIC_DEPTH * place as f64 / last as f64;
            x = block(&mut g, &name, x, drop);
            place += 1;
        }
    }
    let x = g.global_avg_pool("avgpool", x);
    let x = g.layer_norm("classifier.0", x, EPS);
    let x = g.flatten("classifier.1", x);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.2", x, classes);
    g.finish(x)
}

/// A convolution of squares that do not overlap.
fn patches(g: &mut Builder, name: &str, x: NodeId, channels: usize, side: usize) -> NodeId {
    let conv = Conv2d::new(channels, side).stride(side);
    g.conv2d(name, x, conv.padding(Padding::both(0)).bias())
}

fn block(g: &mut Builder, name: &str, x: NodeId, drop: f64) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let channels = g.channels(x);
    let depthwise = Conv2d::new(channels, 7).groups(channels).bias();
    let y = g.conv2d(part("block.0"), x, depthwise);
    let y = g.layer_norm(part("block.2"), y, EPS);
    let y = g.linear(part("block.3"), y, 4 * channels);
    let y = g.activation(part("block.4"), y, Activation::Gelu);
    let y = g.linear(part("block.5"), y, channels);
    let y = g.layer_scale(part("layer_scale"), y);
    let y = g.stochastic_depth(part("stochastic_depth"), y, drop);
    g.add(part("add"), y, x)
}
