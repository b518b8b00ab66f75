//! AlexNet in its second version, as in torchvision (Krizhevsky, 2014, <https://arxiv.org/abs/1404.5997>).

use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, Padding, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "alexnet",
    family: "AlexNet",
    paper: "Krizhevsky, 2014",
    summary: "5 convolutions",
    head: "classifier.6",
    fine_tune_from: "features.8",
    source: torchvision!("alexnet-owt", "7be5be79"),
    accuracy: 56.522,
    build: alexnet,
    ..TORCHVISION
}];

fn alexnet(options: &Options) -> Result<Graph> {
    let (mut g, mut x) = Builder::new(options.image_size);
    let stem = Conv2d::new(64, 11).stride(4).padding(Padding::both(2));
    let convs = [
        (0, stem, true),
        (3, Conv2d::new(192, 5), true),
        (6, Conv2d::new(384, 3), false),
        (8, Conv2d::new(256, 3), false),
        (10, Conv2d::new(256, 3), true),
    ];
    for (index, conv, is_pooled) in convs {
        let name = |part| format!("features.{}", index + part);
        x = g.conv2d(name(0), x, conv.bias());
        x = g.activation(name(1), x, Activation::Relu);
        if is_pooled {
            x = g.max_pool2d(name(2), x, Pool2d::new(3, 2));
        }
    }
    x = g.adaptive_avg_pool2d("avgpool", x, 6);
    x = g.flatten("flatten", x);
    for index in [0, 3] {
        let name = |part| format!("classifier.{}", index + part);
        x = g.dropout(name(0), x, 0.5);
        x = g.linear(name(1), x, 4096);
        x = g.activation(name(2), x, Activation::Relu);
    }
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier.6", x, classes);
    g.finish(x)
}
