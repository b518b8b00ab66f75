//! The blocks of EfficientNet-Lite, padded as in TensorFlow.

use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Padding};
use crate::models::Options;
use crate::models::blocks::{ConvNorm, divisible};

/// Kernel, stride of the first, expansion, output channels, repeats of the B0 stages.
const STAGES: [[usize; 5]; 7] = [
    [3, 1, 1, 16, 1],
    [3, 2, 6, 24, 2],
    [5, 2, 6, 40, 2],
    [3, 2, 6, 80, 3],
    [5, 1, 6, 112, 3],
    [5, 2, 6, 192, 4],
    [3, 1, 6, 320, 1],
];

const CONV: ConvNorm = ConvNorm {
    eps: 1e-3,
    momentum: 0.01,
    ..ConvNorm::new(Activation::Relu6)
};

/// Blocks of each stage. The first and the last one do not scale.
pub(super) fn repeats(depth: f64) -> [usize; 7] {
    let mut repeats = STAGES.map(|[.., repeats]| (repeats as f64 * depth).ceil() as usize);
    [repeats[0], repeats[6]] = [1, 1];
    repeats
}

pub(super) fn efficientnet_lite(width: f64, depth: f64, options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let stem = Conv2d::new(32, 3).stride(2);
    let mut x = same(&mut g, CONV, ["_conv_stem", "_bn0"], x, stem);
    let mut place = 0;
    for (stage, repeats) in STAGES.into_iter().zip(repeats(depth)) {
        let [kernel, stride, expansion, channels, _] = stage;
        let channels = divisible(channels as f64 * width);
        for repeat in 0..repeats {
            let hidden = g.channels(x) * expansion;
            let stride = if repeat == 0 { stride } else { 1 };
            let depthwise = Conv2d::new(hidden, kernel).stride(stride).groups(hidden);
            x = block(&mut g, &format!("_blocks.{place}"), x, depthwise, channels);
            place += 1;
        }
    }
    let top = Conv2d::new(1280, 1);
    let x = same(&mut g, CONV, ["_conv_head", "_bn1"], x, top);
    let x = g.global_avg_pool("_avg_pooling", x);
    let x = g.flatten("_flatten", x);
    let x = options.head.build(&mut g, "_fc", x, options.classes);
    g.finish(x)
}

/// An inverted residual block.
fn block(g: &mut Builder, name: &str, x: NodeId, depthwise: Conv2d, channels: usize) -> NodeId {
    let names = |conv, norm| [conv, norm].map(|part: &str| format!("{name}.{part}"));
    let (hidden, stride) = (depthwise.out_channels, depthwise.stride);
    let mut y = x;
    if hidden != g.channels(x) {
        y = same(
            g,
            CONV,
            names("_expand_conv", "_bn0"),
            y,
            Conv2d::new(hidden, 1),
        );
    }
    y = same(g, CONV, names("_depthwise_conv", "_bn1"), y, depthwise);
    let project = Conv2d::new(channels, 1);
    y = same(g, CONV.linear(), names("_project_conv", "_bn2"), y, project);
    if stride == 1 && g.channels(x) == channels {
        y = g.add(format!("{name}.add"), y, x);
    }
    y
}

/// With TensorFlow's padding.
fn same(
    g: &mut Builder,
    block: ConvNorm,
    [conv_name, norm]: [impl Into<String>; 2],
    x: NodeId,
    conv: Conv2d,
) -> NodeId {
    let size = g.shape(x).last().copied().unwrap_or_default();
    let padding = Padding::same(size, conv.kernel[0], conv.stride);
    let (conv_name, norm) = (conv_name.into(), norm.into());
    let activation = format!("{norm}.relu6");
    block.named([conv_name, norm, activation], g, x, conv.padding(padding))
}
