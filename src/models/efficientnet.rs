//! EfficientNet B0 to B7, as in torchvision: one network, scaled in width, depth and resolution (Tan and Le,
//! 2019, <https://arxiv.org/abs/1905.11946>).

use super::blocks::divisible;
use super::mbconv::{PYTORCH, Stage, TENSORFLOW, mbconvs};
use super::published::{TORCHVISION, in_proportion, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::Graph;
use crate::image::preprocess::Interpolation::Bicubic;

const EFFICIENTNET: Architecture = Architecture {
    family: "EfficientNet",
    paper: "Tan and Le, 2019",
    head: "classifier.1",
    fine_tune_from: "features.6",
    dropout: 0.2,
    preprocessing: |size| in_proportion(size, 256, 224, Bicubic),
    ..TORCHVISION
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "efficientnet_b0",
        summary: "width 1.0, depth 1.0",
        source: torchvision!("efficientnet_b0_rwightman", "7f5810bc"),
        accuracy: 77.692,
        build: |options| efficientnet([1.0, 1.0], PYTORCH, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b1",
        summary: "width 1.0, depth 1.1",
        image_size: 240,
        preprocessing: |size| in_proportion(size, 256, 240, Bicubic),
        source: torchvision!("efficientnet_b1_rwightman", "bac287d4"),
        accuracy: 78.642,
        build: |options| efficientnet([1.0, 1.1], PYTORCH, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b2",
        summary: "width 1.1, depth 1.2",
        dropout: 0.3,
        image_size: 288,
        preprocessing: |size| in_proportion(size, 288, 288, Bicubic),
        source: torchvision!("efficientnet_b2_rwightman", "c35c1473"),
        accuracy: 80.608,
        build: |options| efficientnet([1.1, 1.2], PYTORCH, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b3",
        summary: "width 1.2, depth 1.4",
        dropout: 0.3,
        image_size: 300,
        preprocessing: |size| in_proportion(size, 320, 300, Bicubic),
        source: torchvision!("efficientnet_b3_rwightman", "b3899882"),
        accuracy: 82.008,
        build: |options| efficientnet([1.2, 1.4], PYTORCH, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b4",
        summary: "width 1.4, depth 1.8",
        dropout: 0.4,
        image_size: 380,
        preprocessing: |size| in_proportion(size, 384, 380, Bicubic),
        source: torchvision!("efficientnet_b4_rwightman", "23ab8bcd"),
        accuracy: 83.384,
        build: |options| efficientnet([1.4, 1.8], PYTORCH, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b5",
        summary: "width 1.6, depth 2.2",
        dropout: 0.4,
        image_size: 456,
        preprocessing: |size| in_proportion(size, 456, 456, Bicubic),
        source: torchvision!("efficientnet_b5_lukemelas", "1a07897c"),
        accuracy: 83.444,
        build: |options| efficientnet([1.6, 2.2], TENSORFLOW, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b6",
        summary: "width 1.8, depth 2.6",
        dropout: 0.5,
        image_size: 528,
        preprocessing: |size| in_proportion(size, 528, 528, Bicubic),
        source: torchvision!("efficientnet_b6_lukemelas", "24a108a5"),
        accuracy: 84.008,
        build: |options| efficientnet([1.8, 2.6], TENSORFLOW, options),
        ..EFFICIENTNET
    },
    Architecture {
        name: "efficientnet_b7",
        summary: "width 2.0, depth 3.1",
        dropout: 0.5,
        image_size: 600,
        preprocessing: |size| in_proportion(size, 600, 600, Bicubic),
        source: torchvision!("efficientnet_b7_lukemelas", "c5b4e57e"),
        accuracy: 84.122,
        build: |options| efficientnet([2.0, 3.1], TENSORFLOW, options),
        ..EFFICIENTNET
    },
];

/// Expansion, kernel, stride of the first, output channels, repeats: table 1 of the paper.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 16, 1],
    [6, 3, 2, 24, 2],
    [6, 5, 2, 40, 2],
    [6, 3, 2, 80, 3],
    [6, 5, 1, 112, 3],
    [6, 5, 2, 192, 4],
    [6, 3, 1, 320, 1],
];

fn efficientnet([width, depth]: [f64; 2], norm: [f64; 2], options: &Options) -> Result<Graph> {
    let wide = |channels: usize| divisible(channels as f64 * width);
    let stages = STAGES.map(|[expansion, kernel, stride, channels, repeats]| Stage {
        is_fused: false,
        expansion,
        kernel,
        stride,
        channels: wide(channels),
        repeats: (repeats as f64 * depth).ceil() as usize,
    });
    mbconvs(&stages, [wide(32), 4 * wide(320)], norm, options)
}
