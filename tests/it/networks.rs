//! Networks and models of random parameters, in float32 and int8.

use std::collections::BTreeMap;

use flowers::bundle::{Bundle, Manifest};
use flowers::engine::compile::Network;
use flowers::engine::{Kernels, Options, Pictures, Session, network_of};
use flowers::graph::{Affine, Graph, Method, Op, Quantization};
use flowers::image::Preprocessing;
use flowers::labels::Labels;
use flowers::models;
use flowers::weights::{StateDict, Tensor, Values};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Side of the pictures in pixels.
pub const SIZE: usize = 64;

pub fn graph(name: &str) -> Graph {
    let options = models::Options {
        classes: 10,
        image_size: SIZE,
        head: Default::default(),
    };
    models::find(name).unwrap().graph(&options).unwrap()
}

/// Random parameters whose normalisations do something.
pub fn weights(graph: &Graph) -> StateDict {
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

pub fn pictures(n: usize, size: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut pixels = vec![0; n * 3 * size * size];
    rng.fill_bytes(&mut pixels);
    pixels
}

pub fn preprocessing(network: &Network) -> Preprocessing {
    Preprocessing::imagenet(network.graph.nodes()[0].shape[1] as u32)
}

/// The plainest quantizer there is: ranges of the values on two pictures, and weights rounded
/// channel by channel, to half of int8 where the sums of 8-bit products could saturate.
pub fn quantized(float: &Network) -> Network {
    let mut network = float.clone();
    for node in float.graph.nodes() {
        let limit = match &node.op {
            Op::Conv2d(conv) if conv.groups > 1 => 127.0,
            Op::Conv2d(_) | Op::Linear(_) => 64.0,
            _ => continue,
        };
        let name = format!("{}.weight", node.name);
        let weight = &float.weights[&name];
        let real = weight.as_f32().unwrap();
        let outputs = weight.shape[0];
        let rows = real.chunks(real.len() / outputs);
        let scale: Vec<f32> = rows
            .clone()
            .map(|row| row.iter().fold(1e-6f32, |most, w| most.max(w.abs())) / limit)
            .collect();
        let rounded = rows.zip(&scale);
        let rounded = rounded.flat_map(|(row, scale)| row.iter().map(move |w| (w / scale).round()));
        let rounded = Tensor {
            shape: weight.shape.clone(),
            values: Values::I8(rounded.map(|q| q as i8).collect()),
        };
        network.weights.insert(name.clone(), rounded);
        let scale = Tensor::f32([outputs], scale);
        network.weights.insert(format!("{name}_scale"), scale);
    }
    network.quantization = Some(Quantization {
        method: Method::Static,
        values: ranges(float),
        details: Default::default(),
    });
    network
}

fn ranges(network: &Network) -> BTreeMap<String, Affine> {
    let nodes = network.graph.nodes();
    let observed: Vec<usize> = (0..nodes.len())
        .filter(|&place| place != network.graph.output())
        .collect();
    let options = Options {
        kernels: Kernels::Plain,
        ..Options::cpu()
    };
    let session =
        Session::of_network(network, &preprocessing(network), &options, &observed).unwrap();
    let pixels = pictures(2, session.size());
    let values = session.values(Pictures::Rgb8(&pixels)).unwrap();
    let mut ranges: BTreeMap<String, Affine> = BTreeMap::new();
    for (&place, value) in observed.iter().zip(&values) {
        let low = value.values.iter().copied().fold(0.0, f32::min);
        let high = value.values.iter().copied().fold(0.0, f32::max);
        let affine = match nodes[place].op {
            Op::MaxPool2d(_) => ranges[&nodes[nodes[place].inputs[0]].name],
            _ => Affine::covering(low, high),
        };
        ranges.insert(nodes[place].name.clone(), affine);
    }
    ranges
}

pub fn bundle(architecture: &str) -> Bundle {
    let labels = Labels::new((0..10).map(|id| format!("kind {id}"))).unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    Bundle {
        manifest: Manifest::new(architecture, Default::default(), labels, preprocessing),
        weights: weights(&graph(architecture)),
    }
}

pub fn int8(float: &Bundle) -> Bundle {
    let network = quantized(&network_of(float.clone()).unwrap());
    let mut int8 = float.clone();
    int8.manifest.quantization = network.quantization;
    int8.weights = network.weights;
    int8
}
