//! EfficientNet-Lite 0 to 2: EfficientNet without squeeze-and-excitation, with ReLU6, and with a
//! stem and head that do not scale (Tan and Le, 2019, <https://arxiv.org/abs/1905.11946>; the
//! Lite variants, 2020). Parameters are named as in the published PyTorch checkpoints.

use super::Options;
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Padding};
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation;

/// Repeats, kernel, stride of the first, expansion, output channels of the B0 stages.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

pub(super) fn lite0(options: &Options) -> Result<Graph> {
    efficientnet_lite(1.0, 1.0, options)
}

pub(super) fn lite1(options: &Options) -> Result<Graph> {
    efficientnet_lite(1.0, 1.1, options)
}

pub(super) fn lite2(options: &Options) -> Result<Graph> {
    efficientnet_lite(1.1, 1.2, options)
}

/// The published preprocessing: bicubic, and values from -1 to 1.
pub(super) fn preprocessing(image_size: u32) -> Preprocessing {
    Preprocessing {
        interpolation: Interpolation::Bicubic,
        mean: [0.5; 3],
        std: [0.5; 3],
        ..Preprocessing::imagenet(image_size)
    }
}

fn efficientnet_lite(width: f64, depth: f64, options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = same_conv(&mut g, "_conv_stem", x, Conv2d::new(32, 3).stride(2));
    let mut x = norm_relu(&mut g, "_bn0", x);
    let mut place = 0;
    for (stage, [repeats, kernel, stride, expansion, channels]) in STAGES.into_iter().enumerate() {
        let ends = stage == 0 || stage == STAGES.len() - 1;
        let repeats = if ends {
            repeats
        } else {
            (repeats as f64 * depth).ceil() as usize
        };
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let name = format!("_blocks.{place}");
            let block = Block {
                kernel,
                stride,
                expansion,
                channels: scaled(channels, width),
            };
            x = block.build(&mut g, &name, x);
            place += 1;
        }
    }
    let x = same_conv(&mut g, "_conv_head", x, Conv2d::new(1280, 1));
    let x = norm_relu(&mut g, "_bn1", x);
    let x = g.global_avg_pool("_avg_pooling", x);
    let x = g.flatten("_flatten", x);
    let x = options.head.build(&mut g, "_fc", x, options.classes);
    g.finish(x)
}

/// Channels times the width, rounded to a multiple of 8 and never down by more than 10%.
fn scaled(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let rounded = (((wanted + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * wanted {
        rounded + 8
    } else {
        rounded
    }
}

/// An inverted residual block.
struct Block {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

impl Block {
    fn build(&self, g: &mut Builder, name: &str, x: NodeId) -> NodeId {
        let hidden = g.channels(x) * self.expansion;
        let mut y = x;
        if self.expansion != 1 {
            y = same_conv(
                g,
                &format!("{name}._expand_conv"),
                y,
                Conv2d::new(hidden, 1),
            );
            y = norm_relu(g, &format!("{name}._bn0"), y);
        }
        let depthwise = Conv2d::new(hidden, self.kernel)
            .stride(self.stride)
            .groups(hidden);
        y = same_conv(g, &format!("{name}._depthwise_conv"), y, depthwise);
        y = norm_relu(g, &format!("{name}._bn1"), y);
        let project = Conv2d::new(self.channels, 1);
        y = same_conv(g, &format!("{name}._project_conv"), y, project);
        y = norm(g, &format!("{name}._bn2"), y);
        if g.shape(x) == g.shape(y) {
            y = g.add(format!("{name}.add"), y, x);
        }
        y
    }
}

fn same_conv(g: &mut Builder, name: &str, x: NodeId, conv: Conv2d) -> NodeId {
    let size = g.shape(x).last().copied().unwrap_or_default();
    let padding = Padding::same(size, conv.kernel[0], conv.stride);
    g.conv2d(name, x, conv.padding(padding))
}

fn norm(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    g.batch_norm(name, x, 1e-3, 0.01)
}

fn norm_relu(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let x = norm(g, name, x);
    g.activation(format!("{name}.relu6"), x, Activation::Relu6)
}
