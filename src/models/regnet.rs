//! RegNetY, as in torchvision (Radosavovic et al., 2020, <https://arxiv.org/abs/2003.13678>).

use super::blocks::{ConvNorm, pooled, squeeze_excitation};
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::Activation::{Relu, Sigmoid};
use crate::graph::{Builder, Conv2d, Graph, NodeId};

const REGNET: Architecture = Architecture {
    family: "RegNetY",
    paper: "Radosavovic et al., 2020",
    fine_tune_from: "trunk_output.block4",
    ..TORCHVISION
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "regnet_y_400mf",
        summary: "400 MFLOPs",
        source: torchvision!("regnet_y_400mf", "c65dace8"),
        accuracy: 74.046,
        build: |options| regnet(&Y_400MF, 8, options),
        ..REGNET
    },
    Architecture {
        name: "regnet_y_800mf",
        summary: "800 MFLOPs",
        source: torchvision!("regnet_y_800mf", "1b27b58c"),
        accuracy: 76.42,
        build: |options| regnet(&Y_800MF, 16, options),
        ..REGNET
    },
];

/// Blocks and their channels, stage by stage: what the quantized linear rule of the paper gives.
type Stages = [[usize; 2]; 4];

const Y_400MF: Stages = [[1, 48], [3, 104], [6, 208], [6, 440]];
const Y_800MF: Stages = [[1, 64], [3, 144], [8, 320], [2, 784]];

const CONV: ConvNorm = ConvNorm::new(Relu);

fn regnet(stages: &Stages, group_width: usize, options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let mut x = CONV.build(&mut g, "stem", x, Conv2d::new(32, 3).stride(2));
    for (stage, [blocks, width]) in stages.iter().zip(1..).map(|(stage, n)| (n, *stage)) {
        for index in 0..blocks {
            let name = format!("trunk_output.block{stage}.block{stage}-{index}");
            let middle = Conv2d::new(width, 3).groups(width / group_width);
            let stride = if index == 0 { 2 } else { 1 };
            x = block(&mut g, &name, x, middle.stride(stride));
        }
    }
    let x = pooled(&mut g, x);
    let x = options.head.build(&mut g, "fc", x, options.classes);
    g.finish(x)
}

fn block(g: &mut Builder, name: &str, x: NodeId, middle: Conv2d) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let (width, stride) = (middle.out_channels, middle.stride);
    let squeezed = g.channels(x) / 4;
    let shortcut = if stride != 1 || g.channels(x) != width {
        let projected = Conv2d::new(width, 1).stride(stride);
        CONV.linear().build(g, &part("proj"), x, projected)
    } else {
        x
    };
    let y = CONV.build(g, &part("f.a"), x, Conv2d::new(width, 1));
    let y = CONV.build(g, &part("f.b"), y, middle);
    let y = squeeze_excitation(g, &part("f.se"), y, squeezed, [Relu, Sigmoid]);
    let y = CONV
        .linear()
        .build(g, &part("f.c"), y, Conv2d::new(width, 1));
    let sum = g.add(part("add"), shortcut, y);
    g.activation(part("activation"), sum, Relu)
}
