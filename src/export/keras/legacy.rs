//! The `.h5` file of Keras 2, which Keras 3 reads as well.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::{Notation, functional};
use super::hdf5::Attribute;
use super::layers::{Layer, Layers};
use crate::error::Result;

/// The version that the configuration is of.
const VERSION: &str = "2.15.0";
const BACKEND: &str = "tensorflow";

/// Names in the file.
const CONFIG: &str = "model_config";
const LABELS: &str = "labels";
const WEIGHTS: &str = "model_weights";
const LAYER_NAMES: &str = "layer_names";
const WEIGHT_NAMES: &str = "weight_names";

pub(super) fn encode(layers: Layers, labels: &str) -> Result<Vec<u8>> {
    let Layers {
        layers,
        mut weights,
    } = layers;
    let config = config(&layers).to_string();
    let weighted: Vec<&Layer> = layers
        .iter()
        .filter(|own| !own.weights.is_empty())
        .collect();
    let mut texts = vec![VERSION.into(), BACKEND.into(), config, labels.into()];
    texts.extend(weighted.iter().map(|own| own.name.clone()));
    for own in &weighted {
        let names = own.weights.iter();
        texts.extend(names.map(|(weight, _)| format!("{}/{weight}:0", own.name)));
    }
    let mut texts = weights.texts(&texts)?.into_iter();
    let mut next = |count: usize| texts.by_ref().take(count).collect::<Vec<_>>();
    let common = next(4);
    let one = |at: usize| Attribute::One(common[at]);
    let versions = || [("keras_version", one(0)), ("backend", one(1))];

    let names = next(weighted.len());
    let mut groups = BTreeMap::new();
    for own in &weighted {
        let arrays = own.weights.iter();
        let arrays = arrays.map(|&(weight, array)| (format!("{weight}:0"), array));
        let inner = weights.group(&arrays.collect(), &[])?;
        let members = BTreeMap::from([(own.name.clone(), inner)]);
        let names = Attribute::Many(next(own.weights.len()));
        let group = weights.group(&members, &[(WEIGHT_NAMES, names)])?;
        groups.insert(own.name.clone(), group);
    }
    let [version, backend] = versions();
    let attributes = [version, backend, (LAYER_NAMES, Attribute::Many(names))];
    let all = weights.group(&groups, &attributes)?;
    let [version, backend] = versions();
    let attributes = [version, backend, (CONFIG, one(2)), (LABELS, one(3))];
    let root = weights.group(&BTreeMap::from([(WEIGHTS.into(), all)]), &attributes)?;
    Ok(weights.finish(root))
}

const NOTATION: Notation = Notation {
    shape: "batch_input_shape",
    inbound: |layers, own| {
        let all = own
            .inputs
            .iter()
            .map(|&at| json!([layers[at].name, 0, 0, {}]));
        all.collect()
    },
    others: || json!({}),
};

fn config(layers: &[Layer]) -> Value {
    json!({"class_name": "Functional", "config": functional(layers, &NOTATION)})
}
