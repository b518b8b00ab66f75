//! Networks and models of random parameters, in float32 and int8.

use std::collections::BTreeMap;

use flowers::bundle::{Bundle, Manifest};
use flowers::graph::{
    Graph, InferenceGraph, Int8, Int8Weight, Method, NodeId, Op, QuantizationParameters,
};
use flowers::image::Preprocessing;
use flowers::inference::{self, Choice, Images, Kernels, Options};
use flowers::labels::Labels;
use flowers::models;
use flowers::weights::{StateDict, Values};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Side of the pictures in pixels.
pub const SIZE: usize = 64;

/// One architecture of each kind of block, as far as it takes pictures of [`SIZE`].
pub const KINDS: [&str; 12] = [
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "efficientnet_lite0",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "regnet_y_400mf",
    "densenet121",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "googlenet",
];

/// The ways to compute on this CPU: by oneDNN's plans where they can be had (tests of their own say that they
/// can), by libtorch's fused kernels, operator by operator.
pub fn ways() -> &'static [(Choice, Kernels)] {
    const ALL: [(Choice, Kernels); 3] = [
        (Choice::Onednn, Kernels::Auto),
        (Choice::Torchscript, Kernels::Auto),
        (Choice::Torchscript, Kernels::Plain),
    ];
    let mut backends = inference::BACKENDS.iter();
    let has_onednn = backends.any(|entry| entry.name == "onednn" && (entry.status)().is_ok());
    match has_onednn {
        true => &ALL,
        false => &ALL[1..],
    }
}

/// Side of the smallest pictures that an architecture is tested with.
pub fn side(name: &str) -> usize {
    match name {
        "dinov2_vits14" => 56,
        "inception_v3" => 107,
        _ if name.starts_with("vgg") || name == "alexnet" => 224,
        _ => SIZE,
    }
}

/// Those of [`KINDS`] whose blocks are made of other operators than the blocks of those before.
pub const EXPORTED: [&str; 9] = [
    "resnet18",
    "mobilenet_v2",
    "efficientnet_lite0",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
];

/// The same from the registry.
pub fn kinds() -> impl Iterator<Item = &'static models::Architecture> {
    EXPORTED.into_iter().map(|name| models::find(name).unwrap())
}

pub fn graph(name: &str) -> Graph {
    graph_of_side(name, side(name))
}

/// For pictures of this many pixels a side.
pub fn graph_of_side(name: &str, side: usize) -> Graph {
    let options = models::Options {
        classes: 10,
        image_size: side,
        head: Default::default(),
        channels: Default::default(),
    };
    models::find(name).unwrap().graph(&options).unwrap()
}

/// Random parameters whose normalisations do something.
pub fn weights(graph: &Graph) -> StateDict {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut weights = graph.initialise(1);
    for (name, tensor) in &mut weights {
        // Over the fan-out, few outputs of many inputs grow from layer to layer, until rounding decides.
        if name.contains("denselayer")
            && let ([outputs, inputs, ..], Values::F32(values)) =
                (&tensor.shape[..], &mut tensor.values)
        {
            let factor = (*outputs as f32 / *inputs as f32).sqrt();
            values.iter_mut().for_each(|value| *value *= factor);
        }
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

pub fn preprocessing(network: &InferenceGraph) -> Preprocessing {
    Preprocessing::imagenet(network.graph().image_size() as u32)
}

/// The plainest quantizer there is: ranges of the values on two images, and weights rounded
/// channel by channel, to half of int8 where the sums of 8-bit products could saturate.
pub fn quantized(float: &InferenceGraph) -> InferenceGraph {
    let layer = |id: NodeId| {
        let limit = match &float.graph()[id].op {
            Op::Conv2d(conv) if conv.groups > 1 => 127.0,
            _ => 64.0,
        };
        let weight = float.parameter(id, "weight").unwrap();
        let real = weight.as_f32().unwrap();
        let rows = real.chunks(real.len() / weight.shape[0]);
        let scales: Vec<f32> = rows
            .clone()
            .map(|row| row.iter().fold(1e-6f32, |most, w| most.max(w.abs())) / limit)
            .collect();
        let rounded = rows.zip(&scales);
        let rounded =
            rounded.flat_map(|(row, scale)| row.iter().map(move |w| (w / scale).round() as i8));
        let rounded = rounded.collect();
        let weight = Int8Weight::new(weight.shape.clone(), rounded, scales).unwrap();
        (id, weight)
    };
    let int8 = Int8 {
        method: Method::Static,
        weights: float.layers().map(layer).collect(),
        values: ranges(float),
        ranges: BTreeMap::new(),
        before_add: BTreeMap::new(),
    };
    float.clone().with_int8(int8)
}

fn ranges(network: &InferenceGraph) -> BTreeMap<NodeId, QuantizationParameters> {
    let graph = network.graph();
    let observed: Vec<NodeId> = graph.ids().filter(|&id| id != graph.output()).collect();
    let options = Options {
        kernels: Kernels::Plain,
        ..Options::cpu()
    };
    let extractor =
        inference::load_extractor(network, &preprocessing(network), &options, &observed);
    let pixels = pictures(2, graph.image_size());
    let values = extractor.unwrap().values(Images::Rgb8(&pixels)).unwrap();
    let mut ranges: BTreeMap<NodeId, QuantizationParameters> = BTreeMap::new();
    for (&id, value) in observed.iter().zip(&values) {
        let low = value.values.iter().copied().fold(0.0, f32::min);
        let high = value.values.iter().copied().fold(0.0, f32::max);
        let qparams = match graph[id].op {
            Op::MaxPool2d(_) | Op::Slice { .. } | Op::ChannelShuffle { .. } => {
                ranges[&graph[id].inputs[0]]
            }
            _ => QuantizationParameters::covering(low, high),
        };
        ranges.insert(id, qparams);
    }
    ranges
}

pub fn bundle(architecture: &str) -> Bundle {
    let labels = Labels::new((0..10).map(|id| format!("kind {id}"))).unwrap();
    let preprocessing = Preprocessing::imagenet(side(architecture) as u32);
    Bundle {
        manifest: Manifest::new(architecture, Default::default(), labels, preprocessing),
        weights: weights(&graph(architecture)),
    }
}

pub fn int8(float: &Bundle) -> Bundle {
    let network = quantized(&float.clone().into_network().unwrap());
    let mut int8 = float.clone();
    (int8.weights, int8.manifest.quantization) = network.into_parts();
    int8
}
