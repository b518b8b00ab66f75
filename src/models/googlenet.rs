//! GoogLeNet with batch normalisation, as in torchvision (Szegedy et al., 2014,
//! <https://arxiv.org/abs/1409.4842>). Its auxiliary classifiers serve training from scratch only.

use super::blocks::{ConvNorm, pooled};
use super::published::{TORCHVISION, from_minus_one, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, NodeId, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "googlenet",
    family: "GoogLeNet",
    paper: "Szegedy et al., 2014",
    summary: "Inception v1",
    fine_tune_from: "inception5a",
    dropout: 0.2,
    preprocessing: from_minus_one,
    source: torchvision!("googlenet", "1378be20"),
    accuracy: 69.778,
    ignored: &["aux1", "aux2"],
    build: googlenet,
    ..TORCHVISION
}];

/// torchvision's `BasicConv2d`.
pub(super) const CONV: ConvNorm = ConvNorm {
    eps: 1e-3,
    parts: ["conv", "bn", "relu"],
    ..ConvNorm::new(Activation::Relu)
};

/// Name, and channels of the 1x1 branch, of the reduction and the convolution of two branches, and of the
/// pooled branch: table 1 of the paper.
type Inception = (&'static str, [usize; 6]);

const INCEPTION_3: [Inception; 2] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
];
const INCEPTION_4: [Inception; 5] = [
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
];
const INCEPTION_5: [Inception; 2] = [
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

fn googlenet(options: &Options) -> Result<Graph> {
    let halved = |g: &mut Builder, n: usize, x, window| {
        let pool = Pool2d::new(window, 2).ceil_mode();
        g.max_pool2d(format!("maxpool{n}"), x, pool)
    };
    let (mut g, x) = Builder::new(options.image_size);
    let x = CONV.build(&mut g, "conv1", x, Conv2d::new(64, 7).stride(2));
    let x = halved(&mut g, 1, x, 3);
    let x = CONV.build(&mut g, "conv2", x, Conv2d::new(64, 1));
    let x = CONV.build(&mut g, "conv3", x, Conv2d::new(192, 3));
    let x = halved(&mut g, 2, x, 3);
    let x = inceptions(&mut g, x, &INCEPTION_3);
    let x = halved(&mut g, 3, x, 3);
    let x = inceptions(&mut g, x, &INCEPTION_4);
    let x = halved(&mut g, 4, x, 2);
    let x = inceptions(&mut g, x, &INCEPTION_5);
    let x = pooled(&mut g, x);
    let x = options.head.build(&mut g, "fc", x, options.classes);
    g.finish(x)
}

fn inceptions(g: &mut Builder, x: NodeId, blocks: &[Inception]) -> NodeId {
    let blocks = blocks.iter();
    blocks.fold(x, |x, (name, channels)| inception(g, name, x, *channels))
}

fn inception(g: &mut Builder, name: &str, x: NodeId, channels: [usize; 6]) -> NodeId {
    let [one, reduced3, three, reduced5, five, projected] = channels;
    let part = |part: &str| format!("{name}.{part}");
    let branch1 = CONV.build(g, &part("branch1"), x, Conv2d::new(one, 1));
    let branch2 = CONV.build(g, &part("branch2.0"), x, Conv2d::new(reduced3, 1));
    let branch2 = CONV.build(g, &part("branch2.1"), branch2, Conv2d::new(three, 3));
    // The paper's 5x5; torchvision's weights are of a port with 3x3.
    let branch3 = CONV.build(g, &part("branch3.0"), x, Conv2d::new(reduced5, 1));
    let branch3 = CONV.build(g, &part("branch3.1"), branch3, Conv2d::new(five, 3));
    let pool = Pool2d::new(3, 1).padding(1).ceil_mode();
    let branch4 = g.max_pool2d(part("branch4.0"), x, pool);
    let branch4 = CONV.build(g, &part("branch4.1"), branch4, Conv2d::new(projected, 1));
    g.concat(part("concat"), &[branch1, branch2, branch3, branch4])
}
