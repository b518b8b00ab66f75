//! The configuration of a functional model, as JSON.

use serde_json::{Map, Value, json};

use super::INPUT;
use super::layers::Layer;

/// What the two versions of the format say differently.
pub(super) struct Notation {
    /// The key of the input's shape.
    pub(super) shape: &'static str,
    /// The nodes by which a layer is called with others.
    pub(super) inbound: fn(&[Layer], &Layer) -> Value,
    /// What else is said of each layer.
    pub(super) others: fn() -> Value,
}

/// All layers, with the first as input and the last as output.
pub(super) fn functional(layers: &[Layer], notation: &Notation) -> Value {
    let output = layers.last().map(|layer| layer.name.as_str());
    let all = layers.iter().map(|own| layer(layers, own, notation));
    json!({
        "name": "flowers",
        "trainable": true,
        "layers": all.collect::<Vec<_>>(),
        "input_layers": [[INPUT, 0, 0]],
        "output_layers": [[output, 0, 0]],
    })
}

fn layer(layers: &[Layer], own: &Layer, notation: &Notation) -> Value {
    let mut config = Map::new();
    config.insert("name".into(), own.name.as_str().into());
    config.insert("dtype".into(), own.dtype.into());
    let inbound = if own.inputs.is_empty() {
        config.insert(notation.shape.into(), batch(&own.shape));
        config.insert("sparse".into(), false.into());
        config.insert("ragged".into(), false.into());
        json!([])
    } else {
        config.insert("trainable".into(), true.into());
        json!([(notation.inbound)(layers, own)])
    };
    config.extend(own.config.clone());
    let mut layer = json!({
        "class_name": own.class,
        "name": own.name,
        "config": config,
        "inbound_nodes": inbound,
    });
    if let (Value::Object(layer), Value::Object(others)) = (&mut layer, (notation.others)()) {
        layer.extend(others);
    }
    layer
}

/// A shape with any number of images.
pub(super) fn batch(shape: &[usize]) -> Value {
    let sides = shape.iter().map(|&side| Value::from(side));
    [Value::Null].into_iter().chain(sides).collect()
}
