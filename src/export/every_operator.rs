//! A network of every operator, which each format has to hold.

use super::reread::Reread;
use crate::error::Result;
use crate::graph::{Activation, Builder, Conv2d, Graph, InferenceGraph, Padding, Pool2d};
use crate::image::Preprocessing;
use crate::inference::{self, Images};

/// Side of its images in pixels, and its classes.
pub(super) const SIZE: usize = 32;
pub(super) const CLASSES: usize = 5;

fn graph() -> Graph {
    let (mut g, x) = Builder::new(SIZE);
    let relu = |g: &mut Builder, name: &str, x| g.activation(name, x, Activation::Relu);
    let conv = |kernel, stride| Conv2d::new(8, kernel).stride(stride).bias();
    let x = g.conv2d("stem", x, conv(7, 2));
    let x = relu(&mut g, "stem.relu", x);
    let x = g.max_pool2d("max", x, Pool2d::new(3, 2).padding(1));
    let a = g.conv2d("a", x, conv(3, 1));
    let a = relu(&mut g, "a.relu", a);
    let a = g.conv2d("second", a, conv(3, 1));
    let shortcut = g.conv2d("shortcut", x, conv(3, 1));
    let x = g.add("sum", a, shortcut);
    let x = relu(&mut g, "sum.relu", x);
    let x = g.batch_norm("norm", x, 1e-3, 0.1);
    let x = g.conv2d("depthwise", x, conv(3, 1).groups(8));
    let x = g.activation("relu6", x, Activation::Relu6);
    let x = g.conv2d(
        "dilated",
        x,
        conv(3, 1).dilation(2).padding(Padding::both(2)),
    );
    let x = g.activation("swish", x, Activation::Hardswish);
    let wide = g.conv2d("grouped", x, conv(3, 1).groups(4));
    let wide = g.activation("silu", wide, Activation::Silu);
    let gate = g.global_avg_pool("squeeze", wide);
    let gate = g.conv2d("excite", gate, conv(1, 1));
    let gate = g.activation("gate", gate, Activation::Hardsigmoid);
    let gated = g.mul("gated", wide, gate);
    let mean = g.avg_pool2d("mean", x, Pool2d::new(3, 1).padding(1));
    let x = g.concat("both", &[mean, gated]);
    let x = g.channel_shuffle("shuffled", x, 2);
    let x = g.slice("some", x, 3..15);
    let x = g.conv2d("tall", x, Conv2d::rectangular(8, [5, 1]).bias());
    let x = g.layer_norm("each", x, 1e-6);
    let x = g.linear("pointwise", x, 8);
    let x = g.activation("gelu", x, Activation::Gelu);
    let x = g.conv2d("same", x, conv(3, 2).padding(Padding::same(8, 3, 2)));
    let x = relu(&mut g, "same.relu", x);
    let x = g.max_pool2d("up", x, Pool2d::new(3, 2).ceil_mode());
    let x = g.activation("sigmoid", x, Activation::Sigmoid);
    let x = g.flatten("flat", x);
    let x = g.linear("hidden", x, 16);
    let x = relu(&mut g, "hidden.relu", x);
    let x = g.linear("classifier", x, CLASSES);
    g.finish(x).unwrap()
}

/// Its probabilities, of normalised images or of pixels. Some parameters are not what they start with.
pub(super) fn network(takes_pixels: bool) -> InferenceGraph {
    let graph = graph();
    let mut weights = graph.initialise(3);
    for name in [
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "stem.bias",
        "shortcut.bias",
        "grouped.bias",
        "each.weight",
        "each.bias",
        "classifier.bias",
    ] {
        weights.f32_mut(name).unwrap()[0] += 0.3;
    }
    // Otherwise what goes wrong before hardly shows.
    for value in weights.f32_mut("classifier.weight").unwrap() {
        *value *= 20.0;
    }
    let network = InferenceGraph::float(&graph, &weights).unwrap();
    let Preprocessing { mean, std, .. } = Preprocessing::imagenet(SIZE as u32);
    match takes_pixels {
        true => network.with_pixel_input(mean, std).unwrap().with_softmax(),
        false => network.with_softmax(),
    }
}

/// Asserts that what was read of a file gives the probabilities of [`network`].
#[track_caller]
pub(super) fn assert_alike(found: Reread, takes_pixels: bool, tolerance: f32) {
    let apart = difference(found, takes_pixels);
    assert!(apart < tolerance, "a probability differs by {apart}");
}

/// Whether a fault is found: a file that can't be read, or other probabilities.
pub(super) fn is_found(read: Result<Reread>, takes_pixels: bool) -> bool {
    read.map_or(true, |found| difference(found, takes_pixels) > 1e-4)
}

/// The largest difference of a probability from those of [`network`]; infinite for what can't be computed.
fn difference(found: Reread, takes_pixels: bool) -> f32 {
    let pixels: Vec<u8> = (0..2 * 3 * SIZE * SIZE)
        .map(|at| (at * at % 251) as u8)
        .collect();
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let planes = preprocessing.planes(&pixels);
    let network = inference::load(&network(false), &preprocessing, &inference::Options::cpu());
    let expected = network
        .unwrap()
        .logits(Images::Normalised(&planes))
        .unwrap();
    let images = match takes_pixels {
        true => Images::Rgb8(&pixels),
        false => Images::Normalised(&planes),
    };
    let found = found
        .into_backend()
        .and_then(|backend| backend.logits(images));
    let found = match found {
        Ok(found) => found,
        Err(cause) => {
            println!("it can't be computed: {cause:#}");
            return f32::INFINITY;
        }
    };
    assert_eq!(found.len(), 2 * CLASSES);
    let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
    // NaN is as far away as can be.
    let apart = apart.map(|x| if x.is_nan() { f32::INFINITY } else { x });
    apart.fold(0.0, f32::max)
}
