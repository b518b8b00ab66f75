//! Models to export, with random parameters, in float32 and int8.

use flowers::bundle::{Bundle, Manifest};
use flowers::engine::compile::Network;
use flowers::engine::{Kernels, Options, Pictures, Precision, Session, network_of};
use flowers::graph::{Affine, Method, Op, Quantization};
use flowers::image::Preprocessing;
use flowers::labels::Labels;
use flowers::weights::{Tensor, Values};

use crate::engine::{SIZE, graph, pictures, weights};

pub fn bundle(architecture: &str) -> Bundle {
    let labels = Labels::new((0..10).map(|id| format!("kind {id}"))).unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    Bundle {
        manifest: Manifest::new(architecture, Default::default(), labels, preprocessing),
        weights: weights(&graph(architecture)),
    }
}

/// The plainest int8 model there is: ranges of the values on two pictures, and weights rounded
/// channel by channel, to half of int8 where the sums of 8-bit products could saturate.
pub fn int8(float: &Bundle) -> Bundle {
    let network = network_of(float.clone()).unwrap();
    let mut quantized = float.clone();
    quantized.manifest.quantization = Some(Quantization {
        method: Method::Static,
        values: ranges(&network, &float.manifest.preprocessing),
        details: Default::default(),
    });
    quantized.weights = network.weights.clone();
    for node in network.graph.nodes() {
        let limit = match &node.op {
            Op::Conv2d(conv) if conv.groups > 1 => 127.0,
            Op::Conv2d(_) | Op::Linear(_) => 64.0,
            _ => continue,
        };
        let name = format!("{}.weight", node.name);
        let weight = &network.weights[&name];
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
        quantized.weights.insert(name.clone(), rounded);
        let scale = Tensor::f32([outputs], scale);
        quantized.weights.insert(format!("{name}_scale"), scale);
    }
    quantized
}

fn ranges(
    network: &Network,
    preprocessing: &Preprocessing,
) -> std::collections::BTreeMap<String, Affine> {
    let graph = &network.graph;
    let observed: Vec<usize> = (0..graph.nodes().len())
        .filter(|&place| place != graph.output())
        .collect();
    let options = Options {
        precision: Precision::Float32,
        kernels: Kernels::Plain,
        ..Options::cpu()
    };
    let session = Session::of_network(network, preprocessing, &options, &observed).unwrap();
    let values = session.values(Pictures::Rgb8(&pictures(2, SIZE))).unwrap();
    let range = |values: &[f32]| {
        let ends = values.iter().fold((0.0f32, 0.0f32), |(low, high), &x| {
            (low.min(x), high.max(x))
        });
        Affine::covering(ends.0, ends.1)
    };
    let names = observed
        .iter()
        .map(|&place| graph.nodes()[place].name.clone());
    names.zip(values.iter().map(|v| range(&v.values))).collect()
}
