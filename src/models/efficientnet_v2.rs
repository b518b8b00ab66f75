//! EfficientNetV2-S, as in torchvision: its first stages have one convolution in place of an expansion and a
//! depthwise one (Tan and Le, 2021, <https://arxiv.org/abs/2104.00298>).

use super::mbconv::{Stage, mbconvs};
use super::published::{TORCHVISION, in_proportion, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::Graph;
use crate::image::preprocess::Interpolation::Bilinear;

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "efficientnet_v2_s",
    family: "EfficientNetV2",
    paper: "Tan and Le, 2021",
    summary: "small",
    head: "classifier.1",
    fine_tune_from: "features.6",
    dropout: 0.2,
    image_size: 384,
    preprocessing: |size| in_proportion(size, 384, 384, Bilinear),
    source: torchvision!("efficientnet_v2_s", "dd5fe13b"),
    accuracy: 84.228,
    build: efficientnet_v2_s,
    ..TORCHVISION
}];

/// Expansion, stride of the first, output channels, repeats: table 4 of the paper.
const STAGES: [[usize; 4]; 6] = [
    [1, 1, 24, 2],
    [4, 2, 48, 4],
    [4, 2, 64, 4],
    [4, 2, 128, 6],
    [6, 1, 160, 9],
    [6, 2, 256, 15],
];

fn efficientnet_v2_s(options: &Options) -> Result<Graph> {
    let mut place = 0..;
    let stages = STAGES.map(|[expansion, stride, channels, repeats]| Stage {
        is_fused: place.next() < Some(3),
        expansion,
        kernel: 3,
        stride,
        channels,
        repeats,
    });
    mbconvs(&stages, [24, 1280], [1e-3, 0.1], options)
}
