//! What Android's Task Library and MediaPipe read beside the network
//! (<https://ai.google.dev/edge/litert/models/metadata>): the range of pixels, and labels in a zip behind
//! the model.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::flatbuffer::{Field, Table};
use crate::error::Result;
use crate::export::About;

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
pub(super) fn classifier(about: &About, size: usize) -> Vec<u8> {
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
    let mut model = Table::new()
        .with(0, Field::Text("flowers"))
        .with(1, Field::Text(&about.description))
        .with(3, Field::Tables(vec![subgraph]))
        .with(7, Field::Text(MIN_PARSER_VERSION));
    for (field, text) in [(2, &about.version), (4, &about.author), (5, &about.license)] {
        if !text.is_empty() {
            model = model.with(field, Field::Text(text));
        }
    }
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

/// Appends the labels, a label a line, in an uncompressed zip.
///
/// # Errors
/// Those of writing a zip.
pub(super) fn with_labels(model: Vec<u8>, labels: &str) -> Result<Vec<u8>> {
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    // Some readers count places in the zip from the start of the file.
    let mut end = Cursor::new(model);
    end.seek(SeekFrom::End(0))?;
    let mut zip = ZipWriter::new(end);
    zip.start_file(LABELS, stored)?;
    zip.write_all(labels.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}

/// The labels behind a model.
///
/// # Errors
/// When there is no such archive.
pub(super) fn labels(file: &[u8]) -> Result<Vec<String>> {
    let mut archive = ZipArchive::new(Cursor::new(file))?;
    let mut text = String::new();
    archive.by_name(LABELS)?.read_to_string(&mut text)?;
    Ok(text.lines().map(String::from).collect())
}
