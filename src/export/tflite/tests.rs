//! Files are read back as they were written.

use super::flatbuffer::{Field, Table};
use super::record::Record;
use super::{encoded, metadata, reader};
use crate::bundle::Manifest;
use crate::export::{Options, Weights, every_operator};
use crate::graph::{Builder, InferenceGraph, NodeId};
use crate::image::Preprocessing;
use crate::labels::Labels;

#[test]
fn a_table_is_read_by_the_numbers_of_its_fields() {
    let inner = Table::new().with(2, Field::I32(-5));
    let bytes: Vec<u8> = (0..100).collect();
    let table = Table::new()
        .with(0, Field::I8(-3))
        .with(7, Field::Text("häh"))
        .with(1, Field::Tables(vec![inner.clone(), inner]))
        .with(3, Field::Longs(vec![1 << 40]))
        .with(4, Field::Floats(vec![0.5, -2.0]))
        .with(5, Field::Bytes(&bytes));
    let file = table.to_file(*b"TEST");
    assert_eq!(file, table.to_file(*b"TEST"));
    assert!(Record::root(&file, *b"ELSE").is_none());
    let root = Record::root(&file, *b"TEST").unwrap();
    assert_eq!((root.i8(0), root.i8(2)), (Some(-3), None));
    assert_eq!(root.text(7), Some("häh"));
    assert_eq!(root.longs(3), Some(vec![1 << 40]));
    assert_eq!(root.floats(4), Some(vec![0.5, -2.0]));
    let inner = root.tables(1).unwrap();
    assert_eq!(
        inner.iter().map(|t| t.i32(2)).collect::<Vec<_>>(),
        [Some(-5); 2]
    );
    let found = root.bytes(5).unwrap();
    assert_eq!(found, bytes);
    assert_eq!((found.as_ptr() as usize - file.as_ptr() as usize) % 16, 0);
    // Nothing is read from beyond the end.
    for end in 0..file.len() {
        if let Some(root) = Record::root(&file[..end], *b"TEST") {
            root.bytes(5);
            root.tables(1);
            root.text(7);
        }
    }
}

fn manifest(labels: &[&str]) -> Manifest {
    let labels = Labels::new(labels.iter().copied()).unwrap();
    let preprocessing = Preprocessing::imagenet(32);
    Manifest::new("resnet18", Default::default(), labels, preprocessing)
}

#[test]
fn every_operator_is_read_back() {
    for (stored, tolerance) in [(Weights::Float32, 1e-5), (Weights::Float16, 2e-2)] {
        for takes_pixels in [false, true] {
            let network = every_operator::network(takes_pixels);
            let options = Options {
                weights: stored,
                ..Options::default()
            };
            let file = encoded(network, &options, &manifest(&["a", "b", "c", "d", "e"])).unwrap();
            every_operator::assert_alike(reader::read(&file).unwrap(), takes_pixels, tolerance);
        }
    }
}

#[test]
fn a_label_is_a_line() {
    let file = metadata::with_labels(vec![7; 30], "Gänseblümchen\n雏菊\n").unwrap();
    let text = "Gänseblümchen\n雏菊\n".as_bytes();
    assert!(file.windows(text.len()).any(|window| window == text));
    // The directory is where the zip's end says, from the start of the file.
    let end = &file[file.len() - 22..];
    assert!(end.starts_with(b"PK\x05\x06"));
    let place = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
    assert!(file[place..].starts_with(b"PK\x01\x02"));
}

#[test]
fn a_number_too_large_for_half_precision_is_refused() {
    let (mut g, x) = Builder::new(32);
    let x = g.flatten("flat", x);
    let x: NodeId = g.linear("fc", x, 2);
    let graph = g.finish(x).unwrap();
    let mut weights = graph.initialise(0);
    weights.f32_mut("fc.bias").unwrap()[1] = 1e5;
    let network = InferenceGraph::float(&graph, &weights).unwrap();
    let options = Options {
        weights: Weights::Float16,
        ..Options::default()
    };
    let refused = encoded(network, &options, &manifest(&["a", "b"])).unwrap_err();
    assert!(refused.to_string().contains("fc.bias"), "{refused}");
}
