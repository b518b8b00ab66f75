//! TensorBoard's event files, read by a small reader of the published format.

use std::fs;
use std::path::PathBuf;

use prost::Message;

use super::rows;
use crate::support::{crc, names, trained};

/// CRC-32C's polynomial (Castagnoli), reflected.
const CASTAGNOLI: u32 = 0x82f6_3b78;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, tag = "3")]
    file_version: String,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

fn event_files() -> Vec<PathBuf> {
    let names = names(trained()).into_iter();
    let events = names.filter(|name| name.starts_with("events.out.tfevents."));
    events.map(|name| trained().join(name)).collect()
}

/// The records of a TFRecord file, every checksum compared.
fn records(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = checked(bytes, 8);
        let size = u64::from_le_bytes(length.try_into().unwrap());
        let (data, rest) = checked(rest, size as usize);
        events.push(Event::decode(data).unwrap());
        bytes = rest;
    }
    events
}

/// The next `n` bytes, whose masked checksum follows them, and what comes after it.
fn checked(bytes: &[u8], n: usize) -> (&[u8], &[u8]) {
    let (data, rest) = bytes.split_at(n);
    let (stored, rest) = rest.split_at(4);
    let crc = crc(data, CASTAGNOLI);
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    assert_eq!(stored, masked.to_le_bytes());
    (data, rest)
}

#[test]
fn event_files_hold_the_history() {
    let files = event_files();
    assert_eq!(files.len(), 1);
    let events = records(&fs::read(&files[0]).unwrap());
    assert_eq!(events[0].file_version, "brain.Event:2");
    let rows = rows(trained());
    assert_eq!(events.len(), 1 + rows.len());
    for (event, row) in events[1..].iter().zip(&rows) {
        assert_eq!(event.step, row.epoch as i64);
        assert!(event.wall_time >= events[0].wall_time);
        let values = &event.summary.as_ref().unwrap().value;
        let value = |tag: &str| {
            let value = values.iter().find(|value| value.tag == tag).unwrap();
            value.simple_value.unwrap_or_default()
        };
        for (tag, expected) in [
            ("loss/train", row.train_loss),
            ("loss/val", row.val_loss),
            ("accuracy/train", row.train_accuracy),
            ("accuracy/val", row.val_accuracy),
            ("learning_rate", row.learning_rate),
        ] {
            assert_eq!(value(tag), expected as f32, "{tag}");
        }
    }
}
