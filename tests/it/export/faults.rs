//! What a writer could get wrong: each such file is refused.

use std::sync::atomic::AtomicBool;

use flowers::bundle::Bundle;
use flowers::export::{self, Artifact, Input, Options};
use flowers::inference::onnx::proto::{Attribute, Graph, Initializer, Model, Node};
use flowers::progress::Silent;
use prost::Message;

use super::{bundle, int8, samples};

struct Fault {
    name: &'static str,
    architecture: &'static str,
    is_int8: bool,
    change: fn(&mut Graph),
}

const fn float(name: &'static str, architecture: &'static str, change: fn(&mut Graph)) -> Fault {
    Fault {
        name,
        architecture,
        is_int8: false,
        change,
    }
}

const fn integer(name: &'static str, change: fn(&mut Graph)) -> Fault {
    Fault {
        name,
        architecture: "resnet18",
        is_int8: true,
        change,
    }
}

const FAULTS: &[Fault] = &[
    float("padding on one side", "resnet18", |g| {
        attribute(node(g, "layer1.0.conv1"), "pads").ints = vec![0, 0, 2, 2];
    }),
    float("no padding", "resnet18", |g| {
        remove(node(g, "layer1.0.conv1"), "pads");
    }),
    float("padding of the pool", "resnet18", |g| {
        attribute(node(g, "maxpool"), "pads").ints = vec![0, 0, 2, 2];
    }),
    float("stride by dilation", "resnet18", |g| {
        let conv = node(g, "layer2.0.conv1");
        attribute(conv, "strides").ints = vec![1, 1];
        attribute(conv, "dilations").ints = vec![2, 2];
    }),
    float("swapped weights", "resnet18", |g| {
        let weight = node(g, "layer1.1.conv1").input[1].clone();
        node(g, "layer1.0.conv1").input[1] = weight;
    }),
    float("a weight of transposed taps", "resnet18", |g| {
        transpose(tensor(g, "layer1.0.conv1.weight"), 3, 3);
    }),
    float("no bias", "resnet18", |g| {
        node(g, "layer1.0.conv1").input.truncate(2);
    }),
    float("the residual twice", "resnet18", |g| {
        let sum = node(g, "layer1.0.conv2.add");
        sum.input[0] = sum.input[1].clone();
    }),
    float("another activation", "resnet18", |g| {
        node(g, "layer1.0.conv1.activation").op_type = "Sigmoid".into();
    }),
    float("a head that is not transposed", "resnet18", |g| {
        remove(node(g, "fc"), "transB");
    }),
    float("a head of mixed-up weights", "resnet18", |g| {
        remove(node(g, "fc"), "transB");
        tensor(g, "fc.weight").dims.reverse();
    }),
    float("a head without bias", "resnet18", |g| {
        tensor(g, "fc.bias").raw_data.fill(0);
    }),
    float("groups", "mobilenet_v2", |g| {
        let one = |node: &&mut Node| {
            let mut attributes = node.attribute.iter();
            attributes.any(|a| a.name == "group" && a.i.unwrap() > 1)
        };
        let conv = g.node.iter_mut().find(one);
        attribute(conv.unwrap(), "group").i = Some(1);
    }),
    float("another upper end", "mobilenet_v2", |g| {
        let clip = g.node.iter().position(|node| node.op_type == "Clip");
        let high = g.node[clip.unwrap()].input[2].clone();
        tensor(g, &high).raw_data = 1.0f32.to_le_bytes().to_vec();
    }),
    float("an order of planes", "resnet18", |g| {
        let planes = g.node.iter_mut().find(|node| node.op_type == "Transpose");
        attribute(planes.unwrap(), "perm").ints = vec![0, 3, 2, 1];
    }),
    float("another mean", "resnet18", |g| {
        let shift = tensor(g, "normalise.shift");
        shift.raw_data.rotate_left(4);
    }),
    integer("a scale that cuts large values off", |g| {
        scale(tensor(g, "layer1.0.conv1.scale"), 0.1);
    }),
    integer("another scale of weights", |g| {
        scale(tensor(g, "layer1.0.conv1.weight.scale"), 2.0);
    }),
    integer("a bias in other steps", |g| {
        scale(tensor(g, "fc.bias.scale"), 10.0);
    }),
];

fn node<'a>(graph: &'a mut Graph, name: &str) -> &'a mut Node {
    let found = graph.node.iter_mut().find(|node| node.name == name);
    found.unwrap_or_else(|| panic!("no node {name}"))
}

fn tensor<'a>(graph: &'a mut Graph, name: &str) -> &'a mut Initializer {
    let mut all = graph.initializer.iter_mut();
    let found = all.find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("no initializer {name}"))
}

fn attribute<'a>(node: &'a mut Node, name: &str) -> &'a mut Attribute {
    let mut all = node.attribute.iter_mut();
    all.find(|attribute| attribute.name == name).unwrap()
}

fn remove(node: &mut Node, name: &str) {
    let before = node.attribute.len();
    node.attribute.retain(|attribute| attribute.name != name);
    assert_eq!(node.attribute.len(), before - 1);
}

fn scale(tensor: &mut Initializer, factor: f32) {
    for bytes in tensor.raw_data.as_chunks_mut::<4>().0 {
        *bytes = (factor * f32::from_le_bytes(*bytes)).to_le_bytes();
    }
}

/// Transposes the last two dimensions of a float32 tensor.
fn transpose(tensor: &mut Initializer, rows: usize, columns: usize) {
    for matrix in tensor.raw_data.chunks_mut(4 * rows * columns) {
        let before = matrix.to_vec();
        for at in 0..rows * columns {
            let from = 4 * (at % rows * columns + at / rows);
            matrix[4 * at..4 * at + 4].copy_from_slice(&before[from..from + 4]);
        }
    }
}

fn passes(file: Artifact, bundle: &Bundle, options: &Options) -> bool {
    let onnx = export::find("onnx").unwrap();
    let result = onnx.verify(
        || Ok(file),
        bundle.clone(),
        options,
        &samples(3),
        &AtomicBool::new(false),
        &Silent,
    );
    match result {
        Ok(verified) => verified.passed,
        Err(cause) => {
            assert_eq!(flowers::error::exit_code(&cause), 1, "{cause:#}");
            false
        }
    }
}

#[test]
fn each_fault_of_a_writer_is_found() {
    let onnx = export::find("onnx").unwrap();
    let options = Options {
        opset: 13,
        input: Input::Image,
        ..Options::default()
    };
    let mut missed = Vec::new();
    for fault in FAULTS {
        let mut model = bundle(fault.architecture);
        if fault.is_int8 {
            model = int8(&model);
        }
        let file = onnx.encode(&model, &options).unwrap();
        let mut changed = Model::decode(file.file().unwrap()).unwrap();
        let graph = changed.graph.as_mut().unwrap();
        (fault.change)(graph);
        let changed = Artifact::File(changed.encode_to_vec());
        assert_ne!(changed, file, "{}", fault.name);
        if passes(changed, &model, &options) {
            missed.push(fault.name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
    for architecture in ["resnet18", "mobilenet_v2"] {
        let model = bundle(architecture);
        let file = onnx.encode(&model, &options).unwrap();
        assert!(passes(file, &model, &options), "{architecture}");
    }
}
