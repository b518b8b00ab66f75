//! The `.keras` archive of Keras 3.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::config::{Notation, batch, functional};
use super::layers::{Layer, Layers};
use crate::error::Result;

/// Parts of the archive. Keras does not look at the labels, and loads a file that has more parts.
const METADATA: &str = "metadata.json";
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.weights.h5";
const LABELS: &str = "labels.json";

/// The first version that reads what is written here.
const VERSION: &str = "3.0.0";

pub(super) fn encode(layers: Layers, labels: &str) -> Result<Vec<u8>> {
    let Layers {
        layers,
        mut weights,
    } = layers;
    let metadata = json!({"keras_version": VERSION, "date_saved": "2026-01-01@00:00:00"});
    let config = config(&layers);
    let mut groups = BTreeMap::new();
    for (layer, group) in layers.iter().zip(groups_of(&layers)) {
        if !layer.weights.is_empty() {
            let vars = layer.weights.iter().enumerate();
            let vars = vars.map(|(at, &(_, array))| (at.to_string(), array));
            let vars = weights.group(&vars.collect(), &[])?;
            let group_of = BTreeMap::from([("vars".into(), vars)]);
            groups.insert(group, weights.group(&group_of, &[])?);
        }
    }
    let groups = weights.group(&groups, &[])?;
    // Those of the model itself, which older versions want to see.
    let own = weights.group(&BTreeMap::new(), &[])?;
    let root = BTreeMap::from([("layers".into(), groups), ("vars".into(), own)]);
    let root = weights.group(&root, &[])?;
    let weights = weights.finish(root);

    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(weights.len() > u32::MAX as usize)
        .last_modified_time(zip::DateTime::default());
    let room = Vec::with_capacity(weights.len() + (1 << 20));
    let mut zip = ZipWriter::new(Cursor::new(room));
    let parts = [
        (METADATA, metadata.to_string().into_bytes()),
        (CONFIG, config.to_string().into_bytes()),
        (LABELS, labels.as_bytes().to_vec()),
        (WEIGHTS, weights),
    ];
    for (name, content) in parts {
        zip.start_file(name, stored)?;
        zip.write_all(&content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The group that each layer's weights are in: its class, and a number from the second of it on.
fn groups_of(layers: &[Layer]) -> impl Iterator<Item = String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    layers.iter().map(move |layer| {
        let earlier = seen.entry(layer.class).or_default();
        *earlier += 1;
        numbered(&snake_case(layer.class), *earlier - 1)
    })
}

fn numbered(class: &str, earlier: usize) -> String {
    match earlier {
        0 => class.to_owned(),
        earlier => format!("{class}_{earlier}"),
    }
}

/// `depthwise_conv2d` of `DepthwiseConv2D`, as Keras derives it.
fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1);
        let follows_lower = before.is_some_and(|before| before.is_ascii_lowercase());
        let starts_word = before.is_some() && after.is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (follows_lower || starts_word) {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

const NOTATION: Notation = Notation {
    shape: "batch_shape",
    inbound: |layers, own| {
        let all: Vec<Value> = own.inputs.iter().map(|&at| tensor(&layers[at])).collect();
        let args = match &all[..] {
            [one] => json!([one]),
            all => json!([all]),
        };
        json!({"args": args, "kwargs": {}})
    },
    others: || json!({"module": "keras.layers", "registered_name": null}),
};

fn config(layers: &[Layer]) -> Value {
    json!({
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "registered_name": "Functional",
        "config": functional(layers, &NOTATION),
    })
}

/// The output of a layer.
fn tensor(layer: &Layer) -> Value {
    json!({
        "class_name": "__keras_tensor__",
        "config": {
            "shape": batch(&layer.shape),
            "dtype": layer.dtype,
            "keras_history": [layer.name, 0, 0],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_in_keras() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("ZeroPadding2D", "zero_padding2d"),
            ("ReLU", "re_lu"),
            ("InputLayer", "input_layer"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("Dense", "dense"),
        ] {
            assert_eq!(snake_case(class), name);
        }
        assert_eq!(numbered("dense", 0), "dense");
        assert_eq!(numbered("dense", 2), "dense_2");
    }
}
