//! Files are read back as they were written.

use super::flatbuffer::{Field, Table};
use super::record::Record;
use super::{encoded, metadata, reader};
use crate::bundle::Manifest;
use crate::export::Weights;
use crate::graph::{
    Activation, Builder, Conv2d, Graph, InferenceGraph, NodeId, Op, Padding, Pool2d,
};
use crate::image::Preprocessing;
use crate::inference::{self, Images};
use crate::labels::Labels;

#[test]
fn a_table_is_read_by_the_numbers_of_its_fields() {
    let inner = Table::new().with(2, Field::I32(-5));
    let bytes: Vec<u8> = (0..100).collect();
    let table = Table::new()
        .with(0, Field::I8(-3))
        .with(7, Field::Text("häh"))
        .with(1, Field::Tables(vec![inner.clone(), inner]))
        .with(3, Field::Longs(vec![1 << 40]))
        .with(4, Field::Floats(vec![0.5, -2.0]))
        .with(5, Field::Bytes(&bytes));
    let file = table.to_file(*b"TEST");
    assert_eq!(file, table.to_file(*b"TEST"));
    assert!(Record::root(&file, *b"ELSE").is_none());
    let root = Record::root(&file, *b"TEST").unwrap();
    assert_eq!((root.i8(0), root.i8(2)), (Some(-3), None));
    assert_eq!(root.text(7), Some("häh"));
    assert_eq!(root.longs(3), Some(vec![1 << 40]));
    assert_eq!(root.floats(4), Some(vec![0.5, -2.0]));
    let inner = root.tables(1).unwrap();
    assert_eq!(
        inner.iter().map(|t| t.i32(2)).collect::<Vec<_>>(),
        [Some(-5); 2]
    );
    let found = root.bytes(5).unwrap();
    assert_eq!(found, bytes);
    assert_eq!((found.as_ptr() as usize - file.as_ptr() as usize) % 16, 0);
    // Nothing is read from beyond the end.
    for end in 0..file.len() {
        if let Some(root) = Record::root(&file[..end], *b"TEST") {
            root.bytes(5);
            root.tables(1);
            root.text(7);
        }
    }
}

/// A network of every operator, on images of 32 pixels.
fn every_operator() -> Graph {
    let (mut g, x) = Builder::new(32);
    let pool = |kernel, stride, padding| Pool2d {
        kernel,
        stride,
        padding,
    };
    let relu = |g: &mut Builder, name: &str, x| g.activation(name, x, Activation::Relu);
    let conv = |kernel, stride| Conv2d::new(8, kernel).stride(stride).bias();
    let x = g.conv2d("stem", x, conv(7, 2));
    let x = relu(&mut g, "stem.relu", x);
    let x = g.max_pool2d("max", x, pool(3, 2, 1));
    let a = g.conv2d("a", x, conv(3, 1));
    let x = g.add("sum", a, x);
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
    let gated = g.push("gated", Op::Mul, &[wide, gate]);
    let mean = g.push("mean", Op::AvgPool2d(pool(3, 1, 1)), &[x]);
    let x = g.push("both", Op::Concat, &[mean, gated]);
    let x = g.conv2d("same", x, conv(3, 2).padding(Padding::same(8, 3, 2)));
    let x = g.activation("sigmoid", x, Activation::Sigmoid);
    let x = g.flatten("flat", x);
    let x = g.linear("hidden", x, 16);
    let x = relu(&mut g, "hidden.relu", x);
    let x = g.linear("classifier", x, 5);
    g.finish(x).unwrap()
}

fn manifest(labels: &[&str]) -> Manifest {
    let labels = Labels::new(labels.iter().copied()).unwrap();
    let preprocessing = Preprocessing::imagenet(32);
    Manifest::new("resnet18", Default::default(), labels, preprocessing)
}

/// Scores of the network and of its file for some images.
fn both(network: InferenceGraph, weights: Weights, pixels: &[u8]) -> [Vec<f32>; 2] {
    let preprocessing = Preprocessing::imagenet(32);
    let file = encoded(&network, weights, &manifest(&["a", "b", "c", "d", "e"])).unwrap();
    let network = inference::load(&network, &preprocessing, &inference::Options::cpu()).unwrap();
    let manifest = manifest(&["a", "b", "c", "d", "e"]);
    let found = reader::open(&file, &manifest).unwrap();
    let planes: Vec<f32> = preprocessing.planes(pixels);
    [
        network.logits(Images::Normalised(&planes)).unwrap(),
        found.logits(Images::Normalised(&planes)).unwrap(),
    ]
}

#[test]
fn every_operator_is_read_back() {
    let graph = every_operator();
    let mut weights = graph.initialise(3);
    for name in [
        "norm.weight",
        "norm.bias",
        "norm.running_var",
        "classifier.bias",
    ] {
        weights.f32_mut(name).unwrap()[0] += 0.3;
    }
    let network = InferenceGraph::float(&graph, &weights).unwrap();
    let pixels: Vec<u8> = (0..2 * 3 * 32 * 32)
        .map(|at: u32| (at * at % 251) as u8)
        .collect();
    for (stored, tolerance) in [(Weights::Float32, 1e-4), (Weights::Float16, 2e-2)] {
        let [expected, found] = both(network.clone().with_softmax(), stored, &pixels);
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < tolerance, "{a} is not {b}");
        }
        assert_eq!(found.len(), 10);
    }
}

#[test]
fn a_label_is_a_line() {
    let labels = |names: &[&str]| Labels::new(names.iter().copied()).unwrap();
    let file = metadata::with_labels(vec![7; 30], &labels(&["Gänseblümchen", "雏菊"])).unwrap();
    let text = "Gänseblümchen\n雏菊\n".as_bytes();
    assert!(file.windows(text.len()).any(|window| window == text));
    let broken = metadata::with_labels(Vec::new(), &labels(&["a", "b\nc"])).unwrap_err();
    assert!(broken.to_string().contains("rename its class"), "{broken}");
}

#[test]
fn a_number_too_large_for_half_precision_is_refused() {
    let (mut g, x) = Builder::new(32);
    let x = g.flatten("flat", x);
    let x: NodeId = g.linear("fc", x, 2);
    let graph = g.finish(x).unwrap();
    let mut weights = graph.initialise(0);
    weights.f32_mut("fc.bias").unwrap()[1] = 1e5;
    let network = InferenceGraph::float(&graph, &weights).unwrap();
    let refused = encoded(&network, Weights::Float16, &manifest(&["a", "b"])).unwrap_err();
    assert!(refused.to_string().contains("fc.bias"), "{refused}");
}
