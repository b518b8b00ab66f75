//! TensorBoard event files: TFRecords of protocol buffers
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::{Callback, Event};
use crate::error::{Error, Result, shown};
use crate::metrics::Epoch;

/// The fields in use of TensorFlow's `event.proto`.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// What the names of event files begin with.
pub(crate) const EVENTS: &str = "events.out.tfevents.";

/// Writes losses, accuracies and learning rate of every epoch to a new event file.
pub struct TensorBoard {
    file: File,
}

impl TensorBoard {
    /// Opens an event file in a folder; its name carries the time, as TensorBoard expects.
    pub fn create(folder: &Path) -> Result<Self> {
        let now = now();
        let name = format!("{EVENTS}{:.0}.{}.flowers", now, std::process::id());
        let path = folder.join(name);
        let mut file = File::create(&path).map_err(|cause| {
            Error::Environment(format!("can't write {}: {cause}", shown(&path)))
        })?;
        let version = Record {
            wall_time: now,
            file_version: Some("brain.Event:2".into()),
            ..Record::default()
        };
        write(&mut file, &version)?;
        Ok(Self { file })
    }
}

impl Callback for TensorBoard {
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let Event::Epoch { history } = event else {
            return Ok(());
        };
        history
            .last()
            .map_or(Ok(()), |row| write(&mut self.file, &record(row)))
    }
}

fn record(row: &Epoch) -> Record {
    let scalars = [
        ("loss/train", row.train_loss),
        ("loss/val", row.val_loss),
        ("accuracy/train", row.train_accuracy),
        ("accuracy/val", row.val_accuracy),
        ("learning_rate", row.learning_rate),
        ("images_per_second", row.images_per_second),
    ];
    let values = scalars.map(|(tag, value)| Scalar {
        tag: tag.into(),
        simple_value: value as f32,
    });
    Record {
        wall_time: now(),
        step: row.epoch as i64,
        summary: Some(Summary {
            values: values.into(),
        }),
        ..Record::default()
    }
}

fn write(file: &mut File, record: &Record) -> Result<()> {
    frame(file, &record.encode_to_vec())
        .map_err(|cause| Error::Environment(format!("can't write the event file: {cause}")).into())
}

/// A TFRecord: length, its checksum, data, its checksum, all little-endian.
fn frame(sink: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    let record = [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat();
    sink.write_all(&record)
}

/// TFRecord's masked CRC-32C.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
