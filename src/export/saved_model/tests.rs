//! Folders are read back as they were written, and what a writer could get wrong is found.

use prost::Message;

use super::proto::{Attribute, Constant, Graph, Node, Shape, Value};
use super::{model, reader};
use crate::export::{Input, every_operator};

#[test]
fn every_operator_is_read_back() {
    for (input, takes_pixels) in [(Input::Float, false), (Input::Image, true)] {
        let network = every_operator::network(takes_pixels);
        let write = || model(&network, input).unwrap().encode_to_vec();
        let file = write();
        assert_eq!(file, write());
        every_operator::assert_alike(reader::read(&file).unwrap(), takes_pixels, 1e-4);
    }
}

type Fault = (&'static str, fn(&mut Graph));

const FAULTS: &[Fault] = &[
    ("rows and columns of a kernel", |graph| {
        transpose(constant(graph, "a/weight"), 3, 3, 8 * 8);
    }),
    ("inputs and outputs of a kernel", |graph| {
        let weight = constant(graph, "a/weight");
        for tap in weight.content.chunks_mut(4 * 8 * 8) {
            transposed(tap, 8, 8, 1);
        }
    }),
    ("channels of a depthwise kernel", |graph| {
        constant(graph, "depthwise/weight").content.reverse();
    }),
    ("features of a flattened map", |graph| {
        transpose(constant(graph, "hidden/weight"), 4, 8, 16);
    }),
    ("padding on the other side", |graph| {
        let stem = node(graph, "stem/sums");
        *ints(stem, "explicit_paddings") = vec![0, 0, 2, 4, 2, 4, 0, 0];
    }),
    ("padding by the size", |graph| {
        set(
            node(graph, "stem/sums"),
            "padding",
            Value::Text(b"SAME".to_vec()),
        );
    }),
    ("no padding", |graph| {
        set(
            node(graph, "a/sums"),
            "padding",
            Value::Text(b"VALID".to_vec()),
        );
    }),
    ("pixels around the mean", |graph| {
        constant(graph, "mean/around").content = 1f32.to_le_bytes().to_vec();
    }),
    ("a stride", |graph| {
        *ints(node(graph, "same/sums"), "strides") = vec![1, 1, 1, 1];
    }),
    ("a dilation", |graph| {
        *ints(node(graph, "dilated/sums"), "dilations") = vec![1, 1, 1, 1];
    }),
    ("another bias", |graph| {
        node(graph, "stem/sum").inputs[1] = "shortcut/bias".into();
    }),
    ("no bias", |graph| {
        node(graph, "stem").inputs[0] = "stem/sums".into();
    }),
    ("a ReLU without its upper end", |graph| {
        node(graph, "depthwise").operator = "Relu".into();
    }),
    ("maps joined the other way round", |graph| {
        node(graph, "both").inputs.swap(0, 1);
    }),
    ("the mean over another axis", |graph| {
        constant(graph, "squeeze/axes").content[0] = 2;
    }),
    ("a name that two have", |graph| {
        let again = node(graph, "stem").clone();
        graph.nodes.push(again);
    }),
    ("other channels", |graph| {
        constant(graph, "some/begin").content[12] -= 1;
    }),
    ("channels that are not shuffled", |graph| {
        constant(graph, "shuffled/order").content.swap(12, 16);
    }),
    ("channels of other groups", |graph| {
        constant(graph, "shuffled/apart/shape").content[12] = 4;
        constant(graph, "shuffled/apart/shape").content[16] = 4;
    }),
    ("normalised over rows", |graph| {
        constant(graph, "each/mean/axes").content[0] = 1;
    }),
    ("another epsilon", |graph| {
        constant(graph, "each/eps").content = 0.5f32.to_le_bytes().to_vec();
    }),
    ("a deviation of another value", |graph| {
        node(graph, "each/centred").inputs[0] = "shuffled".into();
    }),
    ("twice a GELU", |graph| {
        constant(graph, "pointwise.activation/half").content = 1f32.to_le_bytes().to_vec();
    }),
    ("a kernel on its side", |graph| {
        constant(graph, "tall/weight").shape = Some(Shape::new(&[1, 5, 12, 8]));
    }),
    ("a window that ends on the map", |graph| {
        constant(graph, "up/padding").content.fill(0);
    }),
    ("features of another number", |graph| {
        constant(graph, "flat/shape").content[4] += 1;
    }),
    ("images of floats", |graph| {
        set(node(graph, "planes"), "DstT", Value::Type(2));
    }),
    ("channels first", |graph| {
        set(
            node(graph, "a/sums"),
            "data_format",
            Value::Text(b"NCHW".to_vec()),
        );
    }),
];

#[test]
fn each_fault_of_a_writer_is_found() {
    let network = every_operator::network(true);
    let mut missed = Vec::new();
    for (name, change) in FAULTS {
        let mut model = model(&network, Input::Image).unwrap();
        let graph = model.meta_graphs[0].graph.as_mut().unwrap();
        let before = graph.clone();
        change(graph);
        assert_ne!(*graph, before, "{name}");
        if !every_operator::is_found(reader::read(&model.encode_to_vec()), true) {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

fn node<'a>(graph: &'a mut Graph, name: &str) -> &'a mut Node {
    let node = graph.nodes.iter_mut().find(|node| node.name == name);
    node.unwrap_or_else(|| panic!("there is no {name}"))
}

fn set(node: &mut Node, key: &str, value: Value) {
    let value = Some(value);
    node.attributes.insert(key.into(), Attribute { value });
}

fn ints<'a>(node: &'a mut Node, key: &str) -> &'a mut Vec<i64> {
    match &mut node.attributes.get_mut(key).unwrap().value {
        Some(Value::Ints(ints)) => &mut ints.values,
        other => panic!("{key} is {other:?}"),
    }
}

fn constant<'a>(graph: &'a mut Graph, name: &str) -> &'a mut Constant {
    match &mut node(graph, name).attributes.get_mut("value").unwrap().value {
        Some(Value::Tensor(constant)) => constant,
        other => panic!("{name} is {other:?}"),
    }
}

fn transpose(constant: &mut Constant, rows: usize, columns: usize, each: usize) {
    transposed(&mut constant.content, rows, columns, each);
}

/// Swaps two axes of floats, of which the inner ones lie in runs of `each`.
fn transposed(content: &mut [u8], rows: usize, columns: usize, each: usize) {
    let before = content.to_vec();
    let run = 4 * each;
    for at in 0..rows * columns {
        let from = run * (at % rows * columns + at / rows);
        content[run * at..run * (at + 1)].copy_from_slice(&before[from..from + run]);
    }
}
