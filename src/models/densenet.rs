//! DenseNet-121, as in torchvision (Huang et al., 2017, <https://arxiv.org/abs/1608.06993>).

use super::blocks::pooled;
use super::published::{TORCHVISION, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "densenet121",
    family: "DenseNet",
    paper: "Huang et al., 2017",
    summary: "121 layers",
    head: "classifier",
    fine_tune_from: "features.denseblock4",
    source: torchvision!("densenet121", "a639ec97"),
    accuracy: 74.434,
    renamed,
    build: densenet121,
    ..TORCHVISION
}];

/// Layers of each dense block: table 1 of the paper.
const BLOCKS: [usize; 4] = [6, 12, 24, 16];

/// Channels that each layer adds.
const GROWTH: usize = 32;

/// Before PyTorch forbade dots in modules' names, `norm1` was called `norm.1`.
fn renamed(name: &str) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.')?;
    let (layer, number) = layer.rsplit_once('.')?;
    let is_old = layer.contains(".denselayer") && ["1", "2"].contains(&number);
    is_old.then(|| format!("{layer}{number}.{parameter}"))
}

fn densenet121(options: &Options) -> Result<Graph> {
    let (mut g, x) = Builder::new(options.image_size);
    let x = g.conv2d("features.conv0", x, Conv2d::new(64, 7).stride(2));
    let x = norm_relu(&mut g, "features", 0, x);
    let mut x = g.max_pool2d("features.pool0", x, Pool2d::new(3, 2).padding(1));
    for (block, layers) in BLOCKS.into_iter().zip(1..).map(|(layers, n)| (n, layers)) {
        if block > 1 {
            x = transition(&mut g, &format!("features.transition{}", block - 1), x);
        }
        for layer in 1..=layers {
            let name = format!("features.denseblock{block}.denselayer{layer}");
            let new = dense_layer(&mut g, &name, x);
            x = g.concat(format!("{name}.concat"), &[x, new]);
        }
    }
    let x = norm_relu(&mut g, "features", 5, x);
    let x = pooled(&mut g, x);
    let classes = options.classes;
    let x = options.head.build(&mut g, "classifier", x, classes);
    g.finish(x)
}

fn norm_relu(g: &mut Builder, name: &str, number: usize, x: NodeId) -> NodeId {
    let x = g.batch_norm(format!("{name}.norm{number}"), x, 1e-5, 0.1);
    g.activation(format!("{name}.relu{number}"), x, Activation::Relu)
}

fn dense_layer(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let x = norm_relu(g, name, 1, x);
    let x = g.conv2d(format!("{name}.conv1"), x, Conv2d::new(4 * GROWTH, 1));
    let x = norm_relu(g, name, 2, x);
    g.conv2d(format!("{name}.conv2"), x, Conv2d::new(GROWTH, 3))
}

/// Halves channels and size.
fn transition(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let channels = g.channels(x) / 2;
    let x = g.batch_norm(part("norm"), x, 1e-5, 0.1);
    let x = g.activation(part("relu"), x, Activation::Relu);
    let x = g.conv2d(part("conv"), x, Conv2d::new(channels, 1));
    g.avg_pool2d(part("pool"), x, Pool2d::new(2, 2))
}
