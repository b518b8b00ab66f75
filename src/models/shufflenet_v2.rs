//! ShuffleNetV2 at width 1.0, as in torchvision (Ma et al., 2018, <https://arxiv.org/abs/1807.11164>).

use super::blocks::{ConvNorm, pooled};
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "shufflenet_v2_x1_0",
    family: "ShuffleNetV2",
    paper: "Ma et al., 2018",
    summary: "width 1.0",
    fine_tune_from: "stage4",
    source: torchvision!("shufflenetv2_x1", "5666bf0f80"),
    accuracy: 69.362,
    build: shufflenet_v2_x1_0,
    ..TORCHVISION
}];

/// Output channels and repeats: table 5 of the paper.
const STAGES: [[usize; 2]; 3] = [[116, 4], [232, 8], [464, 4]];

const CONV: ConvNorm = ConvNorm::new(Activation::Relu);

fn shufflenet_v2_x1_0(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = CONV.build(&mut g, "conv1", x, Conv2d::new(24, 3).stride(2));
    let mut x = g.max_pool2d("maxpool", x, Pool2d::new(3, 2).padding(1));
    for (stage, [channels, repeats]) in STAGES.into_iter().enumerate() {
        for index in 0..repeats {
            let name = format!("stage{}.{index}", stage + 2);
            let branches = if index == 0 { halving } else { half_kept };
            let [first, second] = branches(&mut g, &name, x, channels / 2);
            let both = g.concat(format!("{name}.concat"), &[first, second]);
            x = g.channel_shuffle(format!("{name}.shuffle"), both, 2);
        }
    }
    let x = CONV.build(&mut g, "conv5", x, Conv2d::new(1024, 1));
    let x = pooled(&mut g, x);
    let x = options.head.build(&mut g, "fc", x, options.classes);
    g.finish(x)
}

/// Two branches of all channels, of half the size.
fn halving(g: &mut Builder, name: &str, x: NodeId, width: usize) -> [NodeId; 2] {
    let sequence = &*format!("{name}.branch1");
    let channels = g.channels(x);
    let depthwise = Conv2d::new(channels, 3).stride(2).groups(channels);
    let y = CONV.linear().at(g, (sequence, 0), x, depthwise);
    let y = CONV.at(g, (sequence, 2), y, Conv2d::new(width, 1));
    [y, branch2(g, name, x, width, 2)]
}

/// One half of the channels as it is, and a branch of the other.
fn half_kept(g: &mut Builder, name: &str, x: NodeId, width: usize) -> [NodeId; 2] {
    let kept = g.slice(format!("{name}.kept"), x, 0..width);
    let rest = g.slice(format!("{name}.rest"), x, width..2 * width);
    [kept, branch2(g, name, rest, width, 1)]
}

fn branch2(g: &mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId {
    let sequence = &*format!("{name}.branch2");
    let y = CONV.at(g, (sequence, 0), x, Conv2d::new(width, 1));
    let depthwise = Conv2d::new(width, 3).stride(stride).groups(width);
    let y = CONV.linear().at(g, (sequence, 3), y, depthwise);
    CONV.at(g, (sequence, 5), y, Conv2d::new(width, 1))
}
