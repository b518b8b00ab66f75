//! Files are read back as they were written, and what a writer could get wrong is found.

use serde_json::json;

use super::layers::{Layer, Layers};
use super::{layers, legacy, reader, v3};
use crate::export::{Input, every_operator};

#[test]
fn every_operator_is_read_back() {
    for (input, takes_pixels) in [(Input::Float, false), (Input::Image, true)] {
        let network = every_operator::network(takes_pixels);
        let layers = || layers(&network, input).unwrap();
        let keras = v3::encode(layers(), "[]").unwrap();
        assert_eq!(keras, v3::encode(layers(), "[]").unwrap());
        let (found, labels) = reader::read(&keras).unwrap();
        every_operator::assert_alike(found, takes_pixels, 1e-4);
        assert_eq!(labels, "[]");
        let h5 = legacy::encode(layers(), "[]").unwrap();
        assert_eq!(h5, legacy::encode(layers(), "[]").unwrap());
        let (found, labels) = reader::read_h5(&h5).unwrap();
        every_operator::assert_alike(found, takes_pixels, 1e-4);
        assert_eq!(labels, "[]");
    }
}

type Fault = (&'static str, fn(&mut Vec<Layer>));

const FAULTS: &[Fault] = &[
    ("no padding", |layers| {
        layer(layers, "a").config["padding"] = "valid".into();
    }),
    ("padding on the other side", |layers| {
        layer(layers, "stem_pad").config["padding"] = json!([[2, 4], [2, 4]]);
    }),
    ("a stride", |layers| {
        layer(layers, "same").config["strides"] = json!([1, 1]);
    }),
    ("a dilation", |layers| {
        layer(layers, "dilated").config["dilation_rate"] = json!([1, 1]);
    }),
    ("groups", |layers| {
        layer(layers, "grouped").config["groups"] = 2.into();
    }),
    ("weights of each other", |layers| {
        let weights = layer(layers, "shortcut").weights.clone();
        layer(layers, "a").weights = weights;
    }),
    ("layers in another order", |layers| {
        let [a, b] = ["second", "shortcut"].map(|name| position(layers, name));
        layers.swap(a, b);
        for layer in layers {
            for input in &mut layer.inputs {
                *input = match *input {
                    at if at == a => b,
                    at if at == b => a,
                    at => at,
                };
            }
        }
    }),
    ("no bias", |layers| {
        layer(layers, "stem").weights.pop();
    }),
    ("a ReLU without its upper end", |layers| {
        layer(layers, "depthwise").config["max_value"] = json!(null);
    }),
    ("a ReLU with a slope", |layers| {
        layer(layers, "depthwise").config["negative_slope"] = json!(0.1);
    }),
    ("maps joined the other way round", |layers| {
        layer(layers, "both").inputs.swap(0, 1);
    }),
    ("another epsilon", |layers| {
        layer(layers, "norm").config["epsilon"] = json!(0.5);
    }),
    ("another mean of pixels", |layers| {
        layer(layers, "normalise").config["mean"] = json!([0.0, 0.0, 0.0]);
    }),
    ("the inverse of the normalisation", |layers| {
        layer(layers, "normalise").config["invert"] = json!(true);
    }),
    ("a name that two have", |layers| {
        layer(layers, "shortcut").name = "stem".into();
    }),
];

#[test]
fn each_fault_of_a_writer_is_found() {
    let network = every_operator::network(true);
    let mut missed = Vec::new();
    for (name, change) in FAULTS {
        let changed = || {
            let mut layers: Layers = layers(&network, Input::Image).unwrap();
            change(&mut layers.layers);
            layers
        };
        let keras = v3::encode(changed(), "[]").unwrap();
        let found = reader::read(&keras).map(|(network, _)| network);
        if !every_operator::is_found(found, true) {
            missed.push(("keras", name));
        }
        let h5 = legacy::encode(changed(), "[]").unwrap();
        let found = reader::read_h5(&h5).map(|(network, _)| network);
        if !every_operator::is_found(found, true) {
            missed.push(("h5", name));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

/// The layer of a name, or the one of its weights, where an activation has the name.
fn position(layers: &[Layer], name: &str) -> usize {
    let linear = format!("{name}_linear");
    let find = |name: &str| layers.iter().position(|layer| layer.name == name);
    let found = find(&linear).or_else(|| find(name));
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

fn layer<'a>(layers: &'a mut [Layer], name: &str) -> &'a mut Layer {
    let at = match name {
        "depthwise" => layers.iter().position(|layer| layer.name == name).unwrap(),
        name => position(layers, name),
    };
    &mut layers[at]
}
