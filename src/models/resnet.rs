//! ResNet, v1.5 as in torchvision: the stride sits in the 3x3 convolution (He et al., 2015,
//! <https://arxiv.org/abs/1512.03385>). Its relatives are ResNeXt (Xie et al., 2017,
//! <https://arxiv.org/abs/1611.05431>) and Wide ResNet (Zagoruyko and Komodakis, 2016,
//! <https://arxiv.org/abs/1605.07146>).

use super::blocks::pooled;
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Pool2d};

const RESNET: Architecture = Architecture {
    family: "ResNet",
    paper: "He et al., 2015",
    fine_tune_from: "layer4",
    ..TORCHVISION
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "resnet18",
        summary: "18 layers",
        source: torchvision!("resnet18", "f37072fd"),
        accuracy: 69.758,
        build: |options| resnet(&basic_block, [2, 2, 2, 2], options),
        ..RESNET
    },
    Architecture {
        name: "resnet34",
        summary: "34 layers",
        source: torchvision!("resnet34", "b627a593"),
        accuracy: 73.314,
        build: |options| resnet(&basic_block, [3, 4, 6, 3], options),
        ..RESNET
    },
    Architecture {
        name: "resnet50",
        summary: "50 layers, bottlenecks",
        source: torchvision!("resnet50", "0676ba61"),
        accuracy: 76.13,
        build: |options| resnet(&bottlenecks(1, 64), [3, 4, 6, 3], options),
        ..RESNET
    },
    Architecture {
        name: "resnet101",
        summary: "101 layers",
        source: torchvision!("resnet101", "63fe2227"),
        accuracy: 77.374,
        build: |options| resnet(&bottlenecks(1, 64), [3, 4, 23, 3], options),
        ..RESNET
    },
    Architecture {
        name: "resnet152",
        summary: "152 layers",
        source: torchvision!("resnet152", "394f9c45"),
        accuracy: 78.312,
        build: |options| resnet(&bottlenecks(1, 64), [3, 8, 36, 3], options),
        ..RESNET
    },
    Architecture {
        name: "resnext50_32x4d",
        family: "ResNeXt",
        paper: "Xie et al., 2017",
        summary: "50 layers, 32 groups",
        source: torchvision!("resnext50_32x4d", "7cdf4587"),
        accuracy: 77.618,
        build: |options| resnet(&bottlenecks(32, 4), [3, 4, 6, 3], options),
        ..RESNET
    },
    Architecture {
        name: "wide_resnet50_2",
        family: "Wide ResNet",
        paper: "Zagoruyko and Komodakis, 2016",
        summary: "50 layers, twice as wide",
        source: torchvision!("wide_resnet50_2", "95faca4d"),
        accuracy: 78.468,
        build: |options| resnet(&bottlenecks(1, 128), [3, 4, 6, 3], options),
        ..RESNET
    },
];

/// Builds one residual block of a stage `width` channels wide.
type Block = dyn Fn(&mut Builder, &str, NodeId, usize, usize) -> NodeId;

fn resnet(block: &Block, blocks: [usize; 4], options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = conv_norm(&mut g, ("conv1", "bn1"), x, Conv2d::new(64, 7).stride(2));
    let x = g.activation("relu", x, Activation::Relu);
    let mut x = g.max_pool2d("maxpool", x, Pool2d::new(3, 2).padding(1));
    for (stage, count) in blocks.into_iter().enumerate() {
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            x = block(&mut g, &name, x, 64 << stage, stride);
        }
    }
    let x = pooled(&mut g, x);
    let x = options.head.build(&mut g, "fc", x, options.classes);
    g.finish(x)
}

fn conv_norm(g: &mut Builder, (conv, norm): (&str, &str), x: NodeId, op: Conv2d) -> NodeId {
    let x = g.conv2d(conv, x, op);
    g.batch_norm(norm, x, 1e-5, 0.1)
}

/// The `n`th convolution of a block.
fn layer(g: &mut Builder, name: &str, n: usize, x: NodeId, op: Conv2d) -> NodeId {
    let names = (&*format!("{name}.conv{n}"), &*format!("{name}.bn{n}"));
    conv_norm(g, names, x, op)
}

fn basic_block(g: &mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId {
    let y = layer(g, name, 1, x, Conv2d::new(width, 3).stride(stride));
    let y = g.activation(format!("{name}.relu1"), y, Activation::Relu);
    let y = layer(g, name, 2, y, Conv2d::new(width, 3));
    joined(g, name, x, y, stride)
}

/// Bottlenecks whose 3x3 convolutions have `groups` of `base` channels in the first stage.
fn bottlenecks(
    groups: usize,
    base: usize,
) -> impl Fn(&mut Builder, &str, NodeId, usize, usize) -> NodeId {
    move |g, name, x, width, stride| {
        let inner = width * base / 64 * groups;
        let y = layer(g, name, 1, x, Conv2d::new(inner, 1));
        let y = g.activation(format!("{name}.relu1"), y, Activation::Relu);
        let middle = Conv2d::new(inner, 3).stride(stride).groups(groups);
        let y = layer(g, name, 2, y, middle);
        let y = g.activation(format!("{name}.relu2"), y, Activation::Relu);
        let y = layer(g, name, 3, y, Conv2d::new(4 * width, 1));
        joined(g, name, x, y, stride)
    }
}

/// Adds the shortcut, projected where size or width change.
fn joined(g: &mut Builder, name: &str, x: NodeId, y: NodeId, stride: usize) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let width = g.channels(y);
    let shortcut = if stride != 1 || g.channels(x) != width {
        let names = (&*part("downsample.0"), &*part("downsample.1"));
        conv_norm(g, names, x, Conv2d::new(width, 1).stride(stride))
    } else {
        x
    };
    let sum = g.add(part("add"), y, shortcut);
    g.activation(part("relu"), sum, Activation::Relu)
}
