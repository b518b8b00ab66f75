//! Packages are read back as they were written, and what a writer could get wrong is found.

use prost::Message;

use super::proto::{Bound, Content, Model, Operation, Stored, Value};
use super::{OPSET, encoded, reader, uuid};
use crate::bundle::Manifest;
use crate::export::{Options, Weights, every_operator};
use crate::image::Preprocessing;
use crate::labels::Labels;

fn package(weights: Weights) -> (Vec<u8>, Vec<u8>) {
    let network = every_operator::network(true);
    let options = Options {
        weights,
        ..Options::default()
    };
    encoded(&network, &options, &manifest()).unwrap()
}

fn manifest() -> Manifest {
    let labels = Labels::new(["a", "b", "c", "d", "Gänseblümchen"]).unwrap();
    let preprocessing = Preprocessing::imagenet(every_operator::SIZE as u32);
    Manifest::new("resnet18", Default::default(), labels, preprocessing)
}

#[test]
fn every_operator_is_read_back() {
    for (weights, tolerance) in [(Weights::Float32, 1e-4), (Weights::Float16, 5e-2)] {
        let (model, file) = package(weights);
        assert_eq!((&model, &file), (&package(weights).0, &package(weights).1));
        let (found, labels) = reader::read(&model, &file).unwrap();
        assert_eq!(labels, manifest().labels.names());
        every_operator::assert_alike(found, true, tolerance);
    }
}

type Fault = (&'static str, fn(&mut Vec<Operation>));

const FAULTS: &[Fault] = &[
    ("padding on the other side", |operations| {
        *ints(operations, "stem_pad") = vec![2, 4, 2, 4];
    }),
    ("a stride", |operations| {
        *ints(operations, "same_strides") = vec![1, 1]
    }),
    ("a dilation", |operations| {
        *ints(operations, "dilated_dilations") = vec![1, 1]
    }),
    ("groups", |operations| {
        *ints(operations, "grouped_groups") = vec![2]
    }),
    ("weights of another", |operations| {
        rename(operations, "a", "weight", "shortcut_weight");
    }),
    ("another bias", |operations| {
        rename(operations, "stem", "bias", "shortcut_bias");
    }),
    ("a place without a tensor", |operations| {
        match &mut value(operations, "stem_weight").content {
            Some(Content::Blob(blob)) => blob.offset += 64,
            other => panic!("{other:?}"),
        }
    }),
    ("another activation", |operations| {
        operation(operations, "depthwise_activation").kind = "relu".into();
    }),
    ("another slope", |operations| {
        match stored(operations, "excite_activation_alpha") {
            Stored::Floats(floats) => floats.values = vec![0.2],
            other => panic!("{other:?}"),
        }
    }),
    ("maps joined the other way round", |operations| {
        let both = operation(operations, "both");
        both.inputs.get_mut("values").unwrap().bindings.swap(0, 1);
    }),
    ("the mean over another axis", |operations| {
        *ints(operations, "squeeze_axes") = vec![1, 2];
    }),
    ("padding that is not counted", |operations| {
        match stored(operations, "mean_exclude_padding_from_average") {
            Stored::Bools(bools) => bools.values = vec![true],
            other => panic!("{other:?}"),
        }
    }),
    ("a name that two have", |operations| {
        let again = operation(operations, "stem").clone();
        operations.insert(operations.len() - 1, again);
    }),
    ("another shape", |operations| {
        let other = operation(operations, "a").outputs[0].kind.clone();
        operation(operations, "stem").outputs[0].kind = other;
    }),
];

#[test]
fn each_fault_of_a_writer_is_found() {
    let (file, weights) = package(Weights::Float32);
    let mut missed = Vec::new();
    for (name, change) in FAULTS {
        let mut model = Model::decode(&*file).unwrap();
        let main = model.program.as_mut().unwrap().functions.get_mut("main");
        let operations = &mut main.unwrap().blocks.get_mut(OPSET).unwrap().operations;
        change(operations);
        let changed = model.encode_to_vec();
        assert_ne!(changed, file, "{name}");
        let found = reader::read(&changed, &weights).map(|(network, _)| network);
        if !every_operator::is_found(found, true) {
            missed.push(*name);
        }
    }
    for (name, at) in [
        ("the number of tensors", 0),
        ("the version of the weights", 4),
    ] {
        let mut changed = weights.clone();
        changed[at] += 1;
        if reader::read(&file, &changed).is_ok() {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

fn operation<'a>(operations: &'a mut [Operation], name: &str) -> &'a mut Operation {
    let found = operations
        .iter_mut()
        .find(|operation| operation.outputs[0].name == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

fn value<'a>(operations: &'a mut [Operation], name: &str) -> &'a mut Value {
    operation(operations, name)
        .attributes
        .get_mut("val")
        .unwrap()
}

fn stored<'a>(operations: &'a mut [Operation], name: &str) -> &'a mut Stored {
    match &mut value(operations, name).content {
        Some(Content::Immediate(immediate)) => match immediate.items.as_mut().unwrap() {
            super::proto::Items::Tensor(elements) => elements.stored.as_mut().unwrap(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn ints<'a>(operations: &'a mut [Operation], name: &str) -> &'a mut Vec<i32> {
    match stored(operations, name) {
        Stored::Ints(ints) => &mut ints.values,
        other => panic!("{other:?}"),
    }
}

/// Lets an input of an operation be another value.
fn rename(operations: &mut [Operation], name: &str, key: &str, to: &str) {
    let inputs = &mut operation(operations, name).inputs;
    inputs.get_mut(key).unwrap().bindings[0].bound = Some(Bound::Name(to.into()));
}

#[test]
fn an_identifier_is_a_uuid_of_the_content() {
    let [a, b] = ["model", "weights"].map(|part| uuid(part, b"content"));
    assert_eq!(a, uuid("model", b"content"));
    assert_ne!(a, b);
    let lengths: Vec<usize> = a.split('-').map(str::len).collect();
    assert_eq!((lengths, &a[14..15]), (vec![8, 4, 4, 4, 12], "8"));
}
