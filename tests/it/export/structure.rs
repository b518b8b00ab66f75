//! What is inside the files.

use std::io::Read;

use flowers::bundle::Bundle;
use flowers::export::{self, Input, Options};
use flowers::inference::onnx::proto::{Graph, Model, Node};
use flowers::weights::{self, safetensors};
use prost::Message;

use super::{bundle, int8};

fn model(bundle: &Bundle, options: Options) -> Model {
    let file = export::find("onnx")
        .unwrap()
        .encode(bundle, &options)
        .unwrap();
    assert_eq!(
        file,
        export::find("onnx")
            .unwrap()
            .encode(bundle, &options)
            .unwrap()
    );
    Model::decode(file.file().unwrap()).unwrap()
}

fn graph(bundle: &Bundle, options: Options) -> Graph {
    model(bundle, options).graph.unwrap()
}

fn operators(graph: &Graph) -> Vec<&str> {
    graph.node.iter().map(|node| &*node.op_type).collect()
}

fn named<'a>(graph: &'a Graph, name: &str) -> &'a Node {
    graph.node.iter().find(|node| node.name == name).unwrap()
}

#[test]
fn onnx_says_what_it_is() {
    let bundle = bundle("mobilenet_v2");
    let model = model(&bundle, Options::default());
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    assert_eq!(model.producer_name, "flowers");
    let notes: Vec<&str> = model.metadata_props.iter().map(|note| &*note.key).collect();
    assert_eq!(notes, ["labels", "preprocessing"]);
    let labels: Vec<String> = serde_json::from_str(&model.metadata_props[0].value).unwrap();
    assert_eq!(labels, bundle.manifest.labels.names());
    let preprocessing = serde_json::from_str(&model.metadata_props[1].value).unwrap();
    assert_eq!(bundle.manifest.preprocessing, preprocessing);

    let graph = model.graph.unwrap();
    assert_eq!(
        (&*graph.input[0].name, &*graph.output[0].name),
        ("input", "output")
    );
    let operators = operators(&graph);
    assert!(!operators.contains(&"BatchNormalization"));
    assert_eq!(operators.last(), Some(&"Gemm"));
}

#[test]
fn the_batch_is_open_or_fixed() {
    let bundle = bundle("resnet18");
    let shape = |options| {
        let graph = graph(&bundle, options);
        let tensor = graph.input[0].kind.clone().unwrap().tensor.unwrap();
        let dim = tensor.shape.unwrap().dim;
        let lengths: Vec<Option<i64>> = dim.iter().map(|dim| dim.value).collect();
        (tensor.element, dim[0].name.clone(), lengths)
    };
    let side = Some(64);
    assert_eq!(
        shape(Options::default()),
        (1, Some("batch".into()), vec![None, Some(3), side, side])
    );
    let image = Options {
        input: Input::Image,
        batch: Some(4),
        ..Options::default()
    };
    assert_eq!(shape(image), (2, None, vec![Some(4), side, side, Some(3)]));
}

#[test]
fn pixels_cost_one_subtraction_where_the_first_convolution_is_padded() {
    let options = Options {
        input: Input::Image,
        softmax: true,
        ..Options::default()
    };
    let graph = graph(&bundle("resnet18"), options);
    assert_eq!(operators(&graph)[..4], ["Cast", "Transpose", "Add", "Conv"]);
    assert_eq!(operators(&graph).last(), Some(&"Softmax"));
}

#[test]
fn int8_layers_lie_between_integers() {
    let graph = graph(&int8(&bundle("resnet18")), Options::default());
    assert_eq!(
        operators(&graph)[..2],
        ["QuantizeLinear", "DequantizeLinear"]
    );
    let conv = named(&graph, "layer1.0.conv1");
    for input in &conv.input {
        let from = graph.node.iter().find(|node| node.output.contains(input));
        assert_eq!(from.unwrap().op_type, "DequantizeLinear", "{input}");
    }
    let integers = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.data_type == 3);
    assert!(integers.count() > 20);
    let bytes = |graph: &Graph| {
        graph
            .initializer
            .iter()
            .map(|t| t.raw_data.len())
            .sum::<usize>()
    };
    let float = super::structure::graph(&bundle("resnet18"), Options::default());
    assert!(bytes(&graph) * 39 < bytes(&float) * 10);
}

#[test]
fn state_dicts_are_the_models_own() {
    let bundle = bundle("efficientnet_lite0");
    let folder = tempfile::tempdir().unwrap();
    for name in ["safetensors", "pth"] {
        let path = folder.path().join(name);
        let format = export::find(name).unwrap();
        let exported = format.encode(&bundle, &Options::default()).unwrap();
        std::fs::write(&path, exported.file().unwrap()).unwrap();
        assert_eq!(weights::read(&path).unwrap(), bundle.weights, "{name}");
        let refused = format
            .encode(&int8(&bundle), &Options::default())
            .unwrap_err();
        assert_eq!(flowers::error::exit_code(&refused), 2);
    }
    let notes = safetensors::read(&folder.path().join("safetensors"))
        .unwrap()
        .1;
    let keys = ["architecture", "format", "head", "labels", "preprocessing"];
    assert!(notes.keys().eq(keys));
}

#[test]
fn torchscript_carries_labels_and_preprocessing() {
    let bundle = bundle("resnet18");
    let format = export::find("torchscript").unwrap();
    let file = format.encode(&bundle, &Options::default()).unwrap();
    let file = std::io::Cursor::new(file.file().unwrap());
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut labels = String::new();
    let mut member = archive.by_name("net/extra/labels.json").unwrap();
    member.read_to_string(&mut labels).unwrap();
    let labels: Vec<String> = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels, bundle.manifest.labels.names());
    drop(member);
    assert!(archive.by_name("net/extra/preprocessing.json").is_ok());
}
