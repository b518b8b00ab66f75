//! The safetensors format: a JSON header, then the tensors one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::Context;
use safetensors::tensor::{Dtype as Stored, Metadata, TensorInfo};
use serde_json::{Map, Value};

use super::{Dtype, StateDict, Tensor, Values};
use crate::error::{Error, Result, shown};
use crate::files::write_atomically;

/// Free text beside the tensors, by key.
pub type Notes = BTreeMap<String, String>;

const MAX_HEADER: u64 = 100_000_000;

/// Reads a file: its tensors, and the `__metadata__` of its header.
///
/// # Errors
/// [`Error::Data`] naming the file: unreadable, cut short, a header that contradicts itself or
/// the file's length, an element type that [`Dtype`] does not have.
pub fn read(path: &Path) -> Result<(StateDict, Notes)> {
    let read = || {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        read_from(&mut BufReader::new(file), length)
    };
    read().with_context(|| shown(path))
}

/// Reads a file of `length` bytes from its first byte to its last.
///
/// # Errors
/// As [`read`], without the name of the file.
pub fn read_from(source: &mut dyn Read, length: u64) -> Result<(StateDict, Notes)> {
    let mut size = [0; 8];
    source.read_exact(&mut size).map_err(unreadable)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > length.saturating_sub(8) {
        return Err(broken(format!(
            "the file is cut short or not a safetensors file: a header of {size} bytes in a file of {length}"
        )));
    }
    let mut header = vec![0; size as usize];
    source.read_exact(&mut header).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|cause| broken(format!("the safetensors header is damaged: {cause}")))?;
    let expected = 8 + size + header.data_len() as u64;
    if expected != length {
        return Err(broken(format!(
            "the file is cut short or damaged: it should have {expected} bytes and has {length}"
        )));
    }

    let mut tensors = StateDict::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else {
            continue;
        };
        let dtype = dtype(info.dtype).ok_or_else(|| {
            let name = shown(&name);
            let stored = info.dtype;
            broken(format!(
                "{name} holds {stored:?} values, which are not supported: store it as F32"
            ))
        })?;
        let shape = info.shape.clone();
        let count = shape.iter().product();
        let values = Values::read(dtype, count, source).map_err(unreadable)?;
        tensors.insert(name, Tensor { shape, values });
    }
    let notes = header.metadata().clone().unwrap_or_default();
    Ok((tensors, notes.into_iter().collect()))
}

/// Writes a file, whole or not at all. The same tensors and notes give the same bytes: tensors
/// are laid out by falling element size, then by name.
///
/// # Errors
/// [`Error::Environment`] when it can't be written.
pub fn write(path: &Path, tensors: &StateDict, notes: &Notes) -> Result<()> {
    write_atomically(path, |sink| write_to(sink, tensors, notes))
}

/// As [`write()`], to anything.
///
/// # Errors
/// Those of the writer.
pub fn write_to(sink: &mut dyn Write, tensors: &StateDict, notes: &Notes) -> io::Result<()> {
    let mut order: Vec<(&String, &Tensor)> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(stored(tensor.dtype())));
    let header = header(&order, notes)?;
    sink.write_all(&(header.len() as u64).to_le_bytes())?;
    sink.write_all(&header)?;
    order
        .iter()
        .try_for_each(|(_, tensor)| tensor.values.write(sink))
}

/// The JSON header, padded with spaces to a multiple of 8 bytes.
fn header(order: &[(&String, &Tensor)], notes: &Notes) -> io::Result<Vec<u8>> {
    let mut header = Map::new();
    if !notes.is_empty() {
        header.insert("__metadata__".into(), serde_json::to_value(notes)?);
    }
    let mut start = 0;
    for (name, tensor) in order {
        let end = start + tensor.byte_len();
        let info = TensorInfo {
            dtype: stored(tensor.dtype()),
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        header.insert((*name).clone(), serde_json::to_value(info)?);
        start = end;
    }
    let mut bytes = serde_json::to_vec(&Value::Object(header))?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

fn dtype(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::F64 => Dtype::F64,
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::I16 => Dtype::I16,
        Stored::I8 => Dtype::I8,
        Stored::U8 => Dtype::U8,
        Stored::BOOL => Dtype::Bool,
        _ => return None,
    })
}

fn stored(dtype: Dtype) -> Stored {
    match dtype {
        Dtype::F64 => Stored::F64,
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::I64 => Stored::I64,
        Dtype::I32 => Stored::I32,
        Dtype::I16 => Stored::I16,
        Dtype::I8 => Stored::I8,
        Dtype::U8 => Stored::U8,
        Dtype::Bool => Stored::BOOL,
    }
}

fn broken(reason: String) -> anyhow::Error {
    Error::Data(reason).into()
}

fn unreadable(cause: io::Error) -> anyhow::Error {
    broken(match cause.kind() {
        io::ErrorKind::UnexpectedEof => "the file is cut short".into(),
        _ => format!("can't be read: {cause}"),
    })
}
