//! ResNet, v1.5 as in torchvision: the stride sits in the 3x3 convolution (He et al., 2015,
//! <https://arxiv.org/abs/1512.03385>).

use super::Options;
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Pool2d};

pub(super) fn resnet18(options: &Options) -> Result<Graph> {
    resnet(basic_block, [2, 2, 2, 2], options)
}

pub(super) fn resnet34(options: &Options) -> Result<Graph> {
    resnet(basic_block, [3, 4, 6, 3], options)
}

pub(super) fn resnet50(options: &Options) -> Result<Graph> {
    resnet(bottleneck, [3, 4, 6, 3], options)
}

/// Builds one residual block of a stage `width` channels wide.
type Block = fn(&mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId;

fn resnet(block: Block, blocks: [usize; 4], options: &Options) -> Result<Graph> {
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
    let x = g.global_avg_pool("avgpool", x);
    let x = g.flatten("flatten", x);
    let x = options.head.build(&mut g, "fc", x, options.classes);
    g.finish(x)
}

fn conv_norm(g: &mut Builder, (conv, norm): (&str, &str), x: NodeId, op: Conv2d) -> NodeId {
    let x = g.conv2d(conv, x, op);
    g.batch_norm(norm, x, 1e-5, 0.1)
}

fn basic_block(g: &mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId {
    let layer = |part: &str| format!("{name}.{part}");
    let first = Conv2d::new(width, 3).stride(stride);
    let y = conv_norm(g, (&layer("conv1"), &layer("bn1")), x, first);
    let y = g.activation(layer("relu1"), y, Activation::Relu);
    let y = conv_norm(
        g,
        (&layer("conv2"), &layer("bn2")),
        y,
        Conv2d::new(width, 3),
    );
    joined(g, name, x, y, stride)
}

fn bottleneck(g: &mut Builder, name: &str, x: NodeId, width: usize, stride: usize) -> NodeId {
    let layer = |part: &str| format!("{name}.{part}");
    let y = conv_norm(
        g,
        (&layer("conv1"), &layer("bn1")),
        x,
        Conv2d::new(width, 1),
    );
    let y = g.activation(layer("relu1"), y, Activation::Relu);
    let middle = Conv2d::new(width, 3).stride(stride);
    let y = conv_norm(g, (&layer("conv2"), &layer("bn2")), y, middle);
    let y = g.activation(layer("relu2"), y, Activation::Relu);
    let y = conv_norm(
        g,
        (&layer("conv3"), &layer("bn3")),
        y,
        Conv2d::new(4 * width, 1),
    );
    joined(g, name, x, y, stride)
}

/// Adds the shortcut, projected where size or width change.
fn joined(g: &mut Builder, name: &str, x: NodeId, y: NodeId, stride: usize) -> NodeId {
    let layer = |part: &str| format!("{name}.{part}");
    let width = g.channels(y);
    let shortcut = if stride != 1 || g.channels(x) != width {
        let names = (&*layer("downsample.0"), &*layer("downsample.1"));
        conv_norm(g, names, x, Conv2d::new(width, 1).stride(stride))
    } else {
        x
    };
    let sum = g.add(layer("add"), y, shortcut);
    g.activation(layer("relu"), sum, Activation::Relu)
}
