//! The engine against the training network, which computes each operator on its own.

use flowers::engine::{Kernels, Options, Pictures, Precision, Session, compile::Network};
use flowers::graph::Graph;
use flowers::image::Preprocessing;
use flowers::models::{self, ARCHITECTURES};
use flowers::training;
use flowers::weights::{StateDict, Values};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

const SIZE: usize = 64;

fn graph(name: &str) -> Graph {
    let options = models::Options {
        classes: 10,
        image_size: SIZE,
        head: Default::default(),
    };
    models::find(name).unwrap().graph(&options).unwrap()
}

/// Random parameters whose normalisations do something.
fn weights(graph: &Graph) -> StateDict {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut weights = graph.initialise(1);
    for (name, tensor) in &mut weights {
        if let Values::F32(values) = &mut tensor.values
            && tensor.shape.len() == 1
        {
            let around = if name.ends_with("weight") || name.ends_with("var") {
                0.5
            } else {
                -0.25
            };
            for value in values {
                *value = around + 0.5 * rng.random::<f32>();
            }
        }
    }
    weights
}

fn pictures(n: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut pixels = vec![0; n * 3 * SIZE * SIZE];
    rng.fill_bytes(&mut pixels);
    pixels
}

fn logits(graph: &Graph, options: Options, n: usize) -> Vec<f32> {
    let network = Network::of_float(graph, &weights(graph)).unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let session = Session::of_network(&network, &preprocessing, &options, &[]).unwrap();
    session.logits(Pictures::Rgb8(&pictures(n))).unwrap()
}

/// Logits of the training network for the same pictures.
fn reference(graph: &Graph, n: usize) -> Vec<f32> {
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let area = SIZE * SIZE;
    let mut planes = vec![0.0; n * 3 * area];
    for (pixels, planes) in pictures(n)
        .chunks(3 * area)
        .zip(planes.chunks_mut(3 * area))
    {
        let picture = image::RgbImage::from_raw(SIZE as u32, SIZE as u32, pixels.to_vec()).unwrap();
        preprocessing.normalise(&picture, planes);
    }
    let network = training::Network::new(graph.clone(), &weights(graph), Device::Cpu).unwrap();
    let x = tch::Tensor::from_slice(&planes).reshape([n as i64, 3, SIZE as i64, SIZE as i64]);
    let y = network.forward(&x, training::Mode::Evaluate).unwrap();
    Vec::<f32>::try_from(y.flatten(0, -1)).unwrap()
}

/// The largest difference, relative to the largest logit.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0f32, f32::max) / largest
}

fn options(precision: Precision, kernels: Kernels) -> Options {
    Options {
        device: Device::Cpu,
        precision,
        kernels,
    }
}

#[test]
fn every_architecture_compiled_both_ways_agrees_with_its_operators() {
    for architecture in ARCHITECTURES {
        let graph = graph(architecture.name);
        let expected = reference(&graph, 3);
        for kernels in [Kernels::Plain, Kernels::Auto] {
            let found = logits(&graph, options(Precision::Float32, kernels), 3);
            let apart = difference(&found, &expected);
            assert!(apart < 1e-4, "{} {kernels:?}: {apart}", architecture.name);
            let found = logits(&graph, options(Precision::Bfloat16, kernels), 3);
            let apart = difference(&found, &expected);
            assert!(
                apart < 0.1,
                "{} bfloat16 {kernels:?}: {apart}",
                architecture.name
            );
            assert!(apart > 1e-5, "{} is not rounded", architecture.name);
        }
    }
}
