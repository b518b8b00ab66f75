//! What Android's Task Library and MediaPipe read beside the network
//! (<https://ai.google.dev/edge/litert/models/metadata>): the range of pixels, and labels in a zip behind
//! the model.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::flatbuffer::{Field, Table};
use crate::error::{Error, Result};
use crate::labels::Labels;

const IDENTIFIER: [u8; 4] = *b"M001";
const LABELS: &str = "labels.txt";
/// Readers that know these fields.
const MIN_PARSER_VERSION: &str = "1.0.0";

const IMAGE_PROPERTIES: u8 = 2;
const FEATURE_PROPERTIES: u8 = 1;
const NORMALIZATION: u8 = 1;
const RGB: i8 = 1;
const TENSOR_AXIS_LABELS: i8 = 2;

/// The metadata of an image classifier that takes pixels from 0 to 255.
pub(super) fn classifier(name: &str, description: &str, size: usize) -> Vec<u8> {
    let side = || Field::U32(size as u32);
    let default_size = Table::new().with(0, side()).with(1, side());
    let image = Table::new()
        .with(0, Field::I8(RGB))
        .with(1, Field::Table(default_size));
    // The network normalises by itself, but readers insist.
    let identity = Table::new()
        .with(0, Field::Floats(vec![0.0]))
        .with(1, Field::Floats(vec![1.0]));
    let unit = Table::new()
        .with(0, Field::U8(NORMALIZATION))
        .with(1, Field::Table(identity));
    let input = Table::new()
        .with(0, Field::Text("image"))
        .with(1, Field::Text("RGB, 0 to 255"))
        .with(3, content(IMAGE_PROPERTIES, image))
        .with(4, Field::Tables(vec![unit]))
        .with(5, range(255.0));
    let labels = Table::new()
        .with(0, Field::Text(LABELS))
        .with(1, Field::Text("a label a line, in the order of the output"))
        .with(2, Field::I8(TENSOR_AXIS_LABELS));
    let output = Table::new()
        .with(0, Field::Text("probabilities"))
        .with(3, content(FEATURE_PROPERTIES, Table::new()))
        .with(5, range(1.0))
        .with(6, Field::Tables(vec![labels]));
    let subgraph = Table::new()
        .with(2, Field::Tables(vec![input]))
        .with(3, Field::Tables(vec![output]));
    let model = Table::new()
        .with(0, Field::Text(name))
        .with(1, Field::Text(description))
        .with(3, Field::Tables(vec![subgraph]))
        .with(7, Field::Text(MIN_PARSER_VERSION));
    model.to_file(IDENTIFIER)
}

fn content(kind: u8, properties: Table<'_>) -> Field<'_> {
    let content = Table::new().with(0, Field::U8(kind));
    Field::Table(content.with(1, Field::Table(properties)))
}

/// Values from 0 to `highest`.
fn range(highest: f32) -> Field<'static> {
    let stats = Table::new().with(0, Field::Floats(vec![highest]));
    Field::Table(stats.with(1, Field::Floats(vec![0.0])))
}

/// Appends the labels as an uncompressed zip, a label a line.
///
/// # Errors
/// [`Error::Data`] for a label that takes more than a line.
pub(super) fn with_labels(mut model: Vec<u8>, labels: &Labels) -> Result<Vec<u8>> {
    if let Some(label) = labels
        .names()
        .iter()
        .find(|label| label.contains(['\n', '\r']))
    {
        let message = format!(
            "TensorFlow Lite stores a label a line, and {label:?} has a line break: rename its class"
        );
        return Err(Error::Data(message).into());
    }
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(LABELS, stored)?;
    for label in labels.names() {
        writeln!(zip, "{label}")?;
    }
    let zip = zip.finish()?.into_inner();
    model.reserve_exact(zip.len());
    model.extend(zip);
    Ok(model)
}
