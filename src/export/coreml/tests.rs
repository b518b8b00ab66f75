//! Packages are read back as they were written.

use super::{encoded, reader, uuid};
use crate::bundle::Manifest;
use crate::export::{Options, Weights, every_operator};
use crate::image::Preprocessing;
use crate::labels::Labels;

#[test]
fn every_operator_is_read_back() {
    let labels = Labels::new(["a", "b", "c", "d", "Gänseblümchen"]).unwrap();
    let preprocessing = Preprocessing::imagenet(every_operator::SIZE as u32);
    let manifest = Manifest::new("resnet18", Default::default(), labels, preprocessing);
    let network = every_operator::network(true);
    for (weights, tolerance) in [(Weights::Float32, 1e-5), (Weights::Float16, 2e-2)] {
        let options = Options {
            weights,
            ..Options::default()
        };
        let write = || encoded(&network, &options, &manifest).unwrap();
        let (model, weights) = write();
        assert_eq!((&model, &weights), (&write().0, &write().1));
        let (found, labels) = reader::read(&model, &weights).unwrap();
        assert_eq!(labels, manifest.labels.names());
        every_operator::assert_alike(found, true, tolerance);
    }
}

#[test]
fn an_identifier_is_a_uuid_of_the_content() {
    let [a, b] = ["model", "weights"].map(|part| uuid(part, b"content"));
    assert_eq!(a, uuid("model", b"content"));
    assert_ne!(a, b);
    let lengths: Vec<usize> = a.split('-').map(str::len).collect();
    assert_eq!((lengths, &a[14..15]), (vec![8, 4, 4, 4, 12], "8"));
}
