//! VGG, with and without batch normalisation, as in torchvision (Simonyan and Zisserman, 2014,
//! <https://arxiv.org/abs/1409.1556>).

use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, Pool2d};

const VGG: Architecture = Architecture {
    family: "VGG",
    paper: "Simonyan and Zisserman, 2014",
    head: "classifier.6",
    dropout: 0.5,
    ..TORCHVISION
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "vgg11",
        summary: "11 layers",
        fine_tune_from: "features.16",
        source: torchvision!("vgg11", "8a719046"),
        accuracy: 69.02,
        build: |options| vgg(A, false, options),
        ..VGG
    },
    Architecture {
        name: "vgg13",
        summary: "13 layers",
        fine_tune_from: "features.20",
        source: torchvision!("vgg13", "19584684"),
        accuracy: 69.928,
        build: |options| vgg(B, false, options),
        ..VGG
    },
    Architecture {
        name: "vgg16",
        summary: "16 layers",
        fine_tune_from: "features.24",
        source: torchvision!("vgg16", "397923af"),
        accuracy: 71.592,
        build: |options| vgg(D, false, options),
        ..VGG
    },
    Architecture {
        name: "vgg19",
        summary: "19 layers",
        fine_tune_from: "features.28",
        source: torchvision!("vgg19", "dcbb9e9d"),
        accuracy: 72.376,
        build: |options| vgg(E, false, options),
        ..VGG
    },
    Architecture {
        name: "vgg11_bn",
        summary: "11 layers, normalised",
        fine_tune_from: "features.22",
        source: torchvision!("vgg11_bn", "6002323d"),
        accuracy: 70.37,
        build: |options| vgg(A, true, options),
        ..VGG
    },
    Architecture {
        name: "vgg13_bn",
        summary: "13 layers, normalised",
        fine_tune_from: "features.28",
        source: torchvision!("vgg13_bn", "abd245e5"),
        accuracy: 71.586,
        build: |options| vgg(B, true, options),
        ..VGG
    },
    Architecture {
        name: "vgg16_bn",
        summary: "16 layers, normalised",
        fine_tune_from: "features.34",
        source: torchvision!("vgg16_bn", "6c64b313"),
        accuracy: 73.36,
        build: |options| vgg(D, true, options),
        ..VGG
    },
    Architecture {
        name: "vgg19_bn",
        summary: "19 layers, normalised",
        fine_tune_from: "features.40",
        source: torchvision!("vgg19_bn", "c79401a0"),
        accuracy: 74.218,
        build: |options| vgg(E, true, options),
        ..VGG
    },
];

/// Convolutions of each stage: the columns of the paper's table 1.
type Stages = [usize; 5];

const A: Stages = [1, 1, 2, 2, 2];
const B: Stages = [2, 2, 2, 2, 2];
const D: Stages = [2, 2, 3, 3, 3];
const E: Stages = [2, 2, 4, 4, 4];

fn vgg(stages: Stages, normalises: bool, options: &Options) -> Result<Graph> {
    let (mut g, mut x) = Builder::new(options.image_size);
    let mut index = 0..;
    let mut next = || format!("features.{}", index.next().unwrap_or_default());
    for (convs, channels) in stages.into_iter().zip([64, 128, 256, 512, 512]) {
        for _ in 0..convs {
            x = g.conv2d(next(), x, Conv2d::new(channels, 3).bias());
            if normalises {
                x = g.batch_norm(next(), x, 1e-5, 0.1);
            }
            x = g.activation(next(), x, Activation::Relu);
        }
        x = g.max_pool2d(next(), x, Pool2d::new(2, 2));
    }
    let x = g.adaptive_avg_pool2d("avgpool", x, 7);
    let x = g.flatten("flatten", x);
    let x = g.linear("classifier.0", x, 4096);
    let x = g.activation("classifier.1", x, Activation::Relu);
    let x = g.dropout("classifier.2", x, 0.5);
    let x = g.linear("classifier.3", x, 4096);
    let x = g.activation("classifier.4", x, Activation::Relu);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.6", x, classes);
    g.finish(x)
}
