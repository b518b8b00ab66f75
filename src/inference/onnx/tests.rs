//! Operators against ONNX Runtime: golden models by `tests/golden/operators.py`.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;

use super::proto::{Graph, Model, Node, ValueInfo};
use super::*;
use crate::inference::{Backend, Images};

const SIZE: usize = 6;
const PICTURES: usize = 2;

/// Scores by the name of a golden model.
type Answers = BTreeMap<String, Vec<f32>>;
/// The name of a golden file, and what it holds.
type Golden = (String, Vec<u8>);
/// A golden model, a fault of its first node, and words of the message.
type Case = (&'static str, fn(&mut Node), &'static str);

fn golden() -> (Answers, Vec<Golden>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/operators");
    let answers = std::fs::read(folder.join("answers.json")).unwrap();
    let paths = std::fs::read_dir(folder).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let models = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "onnx"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    (
        serde_json::from_slice(&answers).unwrap(),
        models.map(read).collect(),
    )
}

fn scores(name: &str, file: &[u8]) -> Result<Vec<f32>> {
    let values = (0..PICTURES * 3 * SIZE * SIZE).map(|at| (at * 37 % 251) as u8);
    let pixels: Vec<u8> = values.collect();
    let planes: Vec<f32> = pixels.iter().map(|&x| f32::from(x) / 64.0 - 2.0).collect();
    let images = match name {
        "pixels" => Images::Rgb8(&pixels),
        _ => Images::Normalised(&planes),
    };
    Interpreter::read(file)?.logits(images)
}

#[test]
fn every_operator_means_what_it_means_to_onnx_runtime() {
    let (answers, models) = golden();
    assert_eq!(models.len(), 2 * answers.len());
    for (file, model) in models {
        let (name, _) = file.rsplit_once('_').unwrap();
        let found = scores(name, &model).unwrap_or_else(|cause| panic!("{file}: {cause:#}"));
        let expected = &answers[name];
        assert_eq!(found.len(), expected.len(), "{file}");
        for (found, expected) in found.iter().zip(expected) {
            let allowed = 2e-5 * expected.abs().max(1.0);
            assert!(
                (found - expected).abs() <= allowed,
                "{file}: {found} {expected}"
            );
        }
    }
}

/// The message for a golden model with a change.
fn refused(name: &str, change: impl Fn(&mut Model)) -> String {
    let (_, models) = golden();
    let (_, file) = models.iter().find(|(file, _)| file == name).unwrap();
    let mut model = Model::decode(&**file).unwrap();
    change(&mut model);
    let refused = scores(name, &model.encode_to_vec()).unwrap_err();
    format!("{refused:#}")
}

#[test]
fn what_it_does_not_know_is_refused_by_name() {
    let node = |model: &mut Model, change: fn(&mut Node)| {
        change(&mut model.graph.as_mut().unwrap().node[0]);
    };
    let cases: [Case; 9] = [
        ("relu_11", |n| n.op_type = "Gelu".into(), "Gelu Relu"),
        ("hard_swish_14", |n| n.input.clear(), "HardSwish"),
        (
            "conv_11",
            |n| n.attribute[0].name = "auto_pad".into(),
            "auto_pad",
        ),
        ("conv_11", |n| n.attribute[1].ints.truncate(1), "not"),
        ("max_pool_11", |n| n.attribute[0].kind = 3, "kind 3"),
        ("max_pool_11", |n| n.attribute.clear(), "kernel_shape"),
        (
            "average_pool_11",
            |n| drop(n.attribute.remove(0)),
            "not counted",
        ),
        ("relu_11", |n| n.input[0] = "later".into(), "later"),
        (
            "relu_11",
            |n| n.output[0] = "input".into(),
            "input is defined twice",
        ),
    ];
    for (name, change, words) in cases {
        let message = refused(name, |model| node(model, change));
        assert!(message.contains(words), "{name}: {message}");
    }
    let message = refused("hard_swish_14", |model| model.opset_import[0].version = 13);
    assert!(message.contains("opset 13"), "{message}");
    let message = refused("per_channel_13", |model| model.opset_import[0].version = 12);
    assert!(message.contains("axis 0"), "{message}");
    let message = refused("add_11", |model| {
        model.graph.as_mut().unwrap().initializer[0].raw_data.pop();
    });
    assert!(message.contains("11 bytes do not fit Float"), "{message}");
}

#[test]
fn pictures_and_answers_have_the_declared_shape() {
    let length = |info: &mut ValueInfo, at: usize, length: i64| {
        let tensor = info.kind.as_mut().unwrap().tensor.as_mut().unwrap();
        tensor.shape.as_mut().unwrap().dim[at].value = Some(length);
    };
    let graph = |model: &mut Model, change: &dyn Fn(&mut Graph)| {
        change(model.graph.as_mut().unwrap());
    };
    let message = refused("relu_11", |m| graph(m, &|g| length(&mut g.input[0], 0, 3)));
    assert!(
        message.starts_with("input is Float [2, 3, 6, 6]"),
        "{message}"
    );
    let message = refused("relu_11", |m| graph(m, &|g| length(&mut g.output[0], 1, 4)));
    assert!(message.starts_with("output is Float"), "{message}");
}
