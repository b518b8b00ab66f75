//! Backends against the training network, which computes each operator on its own.

use flowers::device::Device;
use flowers::graph::passes::{for_inference, fuse};
use flowers::graph::{Activation, Builder, Conv2d, Graph, InferenceGraph, Op};
use flowers::image::Preprocessing;
use flowers::inference::torchscript::Session;
use flowers::inference::{self, Backend, Choice, Cpu, Images, Kernels, Options, Precision};
use flowers::models::ARCHITECTURES;
use flowers::training;

use crate::networks::{KINDS, SIZE, graph, pictures, preprocessing, quantized, ways, weights};

fn logits(graph: &Graph, options: Options, n: usize) -> Vec<f32> {
    let network = InferenceGraph::float(graph, &weights(graph)).unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let backend = inference::load(&network, &preprocessing, &options).unwrap();
    let fused = cfg!(target_arch = "x86_64") && options.kernels == Kernels::Auto;
    assert_eq!(backend.execution().fused, fused);
    backend.logits(Images::Rgb8(&pictures(n, SIZE))).unwrap()
}

/// Logits of the training network for the same pictures.
fn reference(graph: &Graph, n: usize) -> Vec<f32> {
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let planes = preprocessing.planes(&pictures(n, SIZE));
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

fn options(precision: Precision, (backend, kernels): (Choice, Kernels)) -> Options {
    Options {
        precision,
        kernels,
        backend,
        ..Options::cpu()
    }
}

#[test]
fn every_architecture_agrees_with_its_operators_in_every_way_to_compute() {
    for architecture in KINDS {
        let graph = graph(architecture);
        let expected = reference(&graph, 3);
        for &way in ways() {
            let found = logits(&graph, options(Precision::Float32, way), 3);
            let apart = difference(&found, &expected);
            assert!(apart < 1e-4, "{architecture} {way:?}: {apart}");
            if way.0 == Choice::Onednn && !Cpu::detect().bfloat16 {
                continue;
            }
            let found = logits(&graph, options(Precision::Bfloat16, way), 3);
            let apart = difference(&found, &expected);
            assert!(apart < 0.1, "{architecture} bfloat16 {way:?}: {apart}");
            assert!(apart > 1e-5, "{architecture} is not rounded");
        }
    }
}

#[test]
fn a_session_with_new_weights_is_one_compiled_from_them() {
    let graph = graph("mobilenet_v2");
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let [first, second] = [1, 2].map(|seed| {
        let network = InferenceGraph::float(&graph, &graph.initialise(seed));
        network.unwrap()
    });
    for kernels in [Kernels::Plain, Kernels::Auto] {
        let options = options(Precision::Float32, (Choice::Torchscript, kernels));
        let session = |network| Session::new(network, &preprocessing, &options).unwrap();
        let mut kept = session(&first);
        // A single image has weights of its own.
        for n in [1, 3] {
            let pictures = pictures(n, SIZE);
            let logits = |session: &Session| session.logits(Images::Rgb8(&pictures)).unwrap();
            let of_first = logits(&kept);
            kept.clear_weights().unwrap();
            kept.set_weights(&second).unwrap();
            let of_second = logits(&kept);
            assert_eq!(of_second, logits(&session(&second)));
            assert_ne!(of_first, of_second);
            kept.set_weights(&first).unwrap();
            assert_eq!(of_first, logits(&kept));
        }
    }
}

#[test]
fn integer_kernels_give_what_rounded_floats_give() {
    for architecture in KINDS {
        let graph = graph(architecture);
        let network = quantized(&InferenceGraph::float(&graph, &weights(&graph)).unwrap());
        let preprocessing = Preprocessing::imagenet(SIZE as u32);
        let of = |way| {
            let options = options(Precision::Auto, way);
            let backend = inference::load(&network, &preprocessing, &options).unwrap();
            backend.logits(Images::Rgb8(&pictures(27, SIZE))).unwrap()
        };
        let plain = of((Choice::Torchscript, Kernels::Plain));
        for &way in ways() {
            let apart = difference(&of(way), &plain);
            assert!(apart < 0.05, "{architecture} {way:?}: {apart}");
        }
    }
}

/// Set in the process that the test below starts: other tests share the memory of this one.
#[cfg(target_os = "linux")]
const ALONE: &str = "FLOWERS_TEST_ALONE";

/// Elsewhere the system does not tell how much memory is in use.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_over_a_hundred_thousand_predictions() {
    if std::env::var_os(ALONE).is_some() {
        return a_hundred_thousand_predictions();
    }
    let name = "inference::memory_does_not_grow_over_a_hundred_thousand_predictions";
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(ALONE, "1")
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(
        alone.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// A convolution that adds its own input, which must not be overwritten while it is read.
fn small() -> Graph {
    let (mut g, x) = Builder::new(12);
    let x = g.conv2d("a", x, Conv2d::new(8, 3).stride(2));
    let x = g.activation("relu", x, Activation::Relu);
    let y = g.conv2d("b", x, Conv2d::new(8, 3));
    let x = g.add("add", x, y);
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flat", x);
    let x = g.linear("fc", x, 3);
    g.finish(x).unwrap()
}

#[test]
fn what_is_convolved_is_not_overwritten() {
    let graph = small();
    let float = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
    for network in [quantized(&float), float] {
        let of = |way| {
            let precision = match network.quantized() {
                Some(_) => Precision::Int8,
                None => Precision::Float32,
            };
            let preprocessing = preprocessing(&network);
            let options = options(precision, way);
            let backend = inference::load(&network, &preprocessing, &options).unwrap();
            backend.logits(Images::Rgb8(&pictures(2, 12))).unwrap()
        };
        let plain = of((Choice::Torchscript, Kernels::Plain));
        for &way in ways() {
            let apart = difference(&of(way), &plain);
            assert!(apart < 0.05, "{way:?}: {apart}");
        }
    }
}

#[cfg(target_os = "linux")]
fn a_hundred_thousand_predictions() {
    let graph = small();
    let float = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
    for network in [quantized(&float), float] {
        let options = options(Precision::Auto, (Choice::Auto, Kernels::Auto));
        let backend = inference::load(&network, &preprocessing(&network), &options).unwrap();
        let batches = [pictures(1, 12), pictures(11, 12)];
        let resident = || flowers::memory::resident().unwrap();
        let mut before = u64::MAX;
        for round in 0..50_000 {
            // Batches of one and of many take turns, as a server's do.
            let batch = &batches[usize::from(round % 10 == 0)];
            backend.logits(Images::Rgb8(batch)).unwrap();
            if round == 5_000 {
                before = resident();
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 2 << 20, "{grown} bytes more");
    }
}

#[test]
fn no_activation_or_sum_of_the_known_networks_is_left() {
    // DenseNet normalises in front of its convolutions, ConvNeXt scales behind them, and EfficientNetV2
    // adds what an activation gives.
    let others = [
        "densenet121",
        "convnext_tiny",
        "efficientnet_v2_s",
        "vit_b_16",
        "dinov2_vits14",
    ];
    let mut found = Vec::new();
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        let graph = architecture.graph(&architecture.imagenet()).unwrap();
        let graph = fuse(&for_inference(&graph));
        let left = graph.nodes().iter().filter(|node| match node.op {
            Op::Activation(_) => !matches!(graph[node.inputs[0]].op, Op::Linear(_)),
            Op::Add | Op::BatchNorm2d(_) => true,
            _ => false,
        });
        let left = left.map(|node| format!("{name}: {}", node.name));
        if !others.contains(&name) {
            found.extend(left);
        }
    }
    assert!(found.is_empty(), "{found:?}");
}
