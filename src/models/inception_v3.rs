//! Inception v3, as in torchvision (Szegedy et al., 2015, <https://arxiv.org/abs/1512.00567>). Its auxiliary
//! classifier serves training from scratch only.

use super::blocks::pooled;
use super::googlenet::CONV;
use super::published::{TORCHVISION, from_minus_one, torchvision};
use super::{Architecture, Options};
use crate::error::Result;
use crate::graph::{Builder, Conv2d, Graph, NodeId, Padding, Pool2d};

pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    name: "inception_v3",
    family: "Inception v3",
    paper: "Szegedy et al., 2015",
    summary: "factorised convolutions",
    fine_tune_from: "Mixed_7a",
    dropout: 0.5,
    image_size: 299,
    preprocessing: from_minus_one,
    source: torchvision!("inception_v3_google", "0cc3c7bd"),
    accuracy: 77.294,
    ignored: &["AuxLogits"],
    build: inception_v3,
    ..TORCHVISION
}];

const ROW: [usize; 2] = [1, 7];
const COLUMN: [usize; 2] = [7, 1];

fn inception_v3(options: &Options) -> Result<Graph> {
    let (mut builder, x) = Builder::new(options.image_size);
    let g = &mut builder;
    let x = CONV.build(g, "Conv2d_1a_3x3", x, unpadded(32).stride(2));
    let x = CONV.build(g, "Conv2d_2a_3x3", x, unpadded(32));
    let x = CONV.build(g, "Conv2d_2b_3x3", x, Conv2d::new(64, 3));
    let x = g.max_pool2d("maxpool1", x, Pool2d::new(3, 2));
    let x = CONV.build(g, "Conv2d_3b_1x1", x, Conv2d::new(80, 1));
    let x = CONV.build(g, "Conv2d_4a_3x3", x, unpadded(192));
    let mut x = g.max_pool2d("maxpool2", x, Pool2d::new(3, 2));
    for (name, projected) in [("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)] {
        x = figure_5(g, name, x, projected);
    }
    x = first_reduction(g, "Mixed_6a", x);
    for (name, inner) in [("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)] {
        x = figure_6(g, &format!("Mixed_{name}"), x, inner);
    }
    x = second_reduction(g, "Mixed_7a", x);
    for name in ["Mixed_7b", "Mixed_7c"] {
        x = figure_7(g, name, x);
    }
    let x = pooled(g, x);
    let x = options.head.build(g, "fc", x, options.classes);
    builder.finish(x)
}

fn unpadded(channels: usize) -> Conv2d {
    Conv2d::new(channels, 3).padding(Padding::both(0))
}

/// Convolutions one after the other, named `NAME_1`, `NAME_2` and so on.
fn chain(g: &mut Builder, name: &str, x: NodeId, convs: &[Conv2d]) -> NodeId {
    let numbered = convs.iter().zip(1..);
    numbered.fold(x, |x, (conv, n)| {
        CONV.build(g, &format!("{name}_{n}"), x, conv.clone())
    })
}

fn pooled_branch(g: &mut Builder, name: &str, x: NodeId, channels: usize) -> NodeId {
    let pool = Pool2d::new(3, 1).padding(1);
    let x = g.avg_pool2d(format!("{name}.avg_pool"), x, pool);
    let conv = Conv2d::new(channels, 1);
    CONV.build(g, &format!("{name}.branch_pool"), x, conv)
}

fn figure_5(g: &mut Builder, name: &str, x: NodeId, projected: usize) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let one = CONV.build(g, &part("branch1x1"), x, Conv2d::new(64, 1));
    let five = [Conv2d::new(48, 1), Conv2d::new(64, 5)];
    let five = chain(g, &part("branch5x5"), x, &five);
    let three = [(64, 1), (96, 3), (96, 3)].map(|(channels, side)| Conv2d::new(channels, side));
    let three = chain(g, &part("branch3x3dbl"), x, &three);
    let pool = pooled_branch(g, name, x, projected);
    g.concat(part("concat"), &[one, five, three, pool])
}

fn first_reduction(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let one = CONV.build(g, &part("branch3x3"), x, unpadded(384).stride(2));
    let two = [
        Conv2d::new(64, 1),
        Conv2d::new(96, 3),
        unpadded(96).stride(2),
    ];
    let two = chain(g, &part("branch3x3dbl"), x, &two);
    let pool = g.max_pool2d(part("max_pool"), x, Pool2d::new(3, 2));
    g.concat(part("concat"), &[one, two, pool])
}

fn figure_6(g: &mut Builder, name: &str, x: NodeId, inner: usize) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let [row, column] = [ROW, COLUMN].map(|kernel| Conv2d::rectangular(inner, kernel));
    let [last_row, last_column] = [ROW, COLUMN].map(|kernel| Conv2d::rectangular(192, kernel));
    let reduced = Conv2d::new(inner, 1);
    let one = CONV.build(g, &part("branch1x1"), x, Conv2d::new(192, 1));
    let seven = [reduced.clone(), row.clone(), last_column];
    let seven = chain(g, &part("branch7x7"), x, &seven);
    let twice = [reduced, column.clone(), row, column, last_row];
    let twice = chain(g, &part("branch7x7dbl"), x, &twice);
    let pool = pooled_branch(g, name, x, 192);
    g.concat(part("concat"), &[one, seven, twice, pool])
}

fn second_reduction(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let reduced = Conv2d::new(192, 1);
    let three = [reduced.clone(), unpadded(320).stride(2)];
    let three = chain(g, &part("branch3x3"), x, &three);
    let [row, column] = [ROW, COLUMN].map(|kernel| Conv2d::rectangular(192, kernel));
    let seven = [reduced, row, column, unpadded(192).stride(2)];
    let seven = chain(g, &part("branch7x7x3"), x, &seven);
    let pool = g.max_pool2d(part("max_pool"), x, Pool2d::new(3, 2));
    g.concat(part("concat"), &[three, seven, pool])
}

fn figure_7(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let part = |part: &str| format!("{name}.{part}");
    let one = CONV.build(g, &part("branch1x1"), x, Conv2d::new(320, 1));
    let three = chain(g, &part("branch3x3"), x, &[Conv2d::new(384, 1)]);
    let three = split(g, &part("branch3x3_2"), three);
    let twice = [Conv2d::new(448, 1), Conv2d::new(384, 3)];
    let twice = chain(g, &part("branch3x3dbl"), x, &twice);
    let twice = split(g, &part("branch3x3dbl_3"), twice);
    let pool = pooled_branch(g, name, x, 192);
    g.concat(part("concat"), &[one, three, twice, pool])
}

/// A row and a column side by side.
fn split(g: &mut Builder, name: &str, x: NodeId) -> NodeId {
    let sides = [("a", [1, 3]), ("b", [3, 1])];
    let sides = sides.map(|(side, kernel)| {
        let conv = Conv2d::rectangular(384, kernel);
        CONV.build(g, &format!("{name}{side}"), x, conv)
    });
    g.concat(format!("{name}.concat"), &sides)
}
