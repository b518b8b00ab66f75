//! Writes objects one behind the other, each after those that it refers to.

use std::collections::BTreeMap;
use std::num::TryFromIntError;

use super::{FLOAT32, SIGNATURE, SUPERBLOCK, TEXT, UNDEFINED, message};
use crate::error::{Error, Result};
use crate::weights::Tensor;

/// A heap of texts is at least as large.
const SMALLEST_HEAP: usize = 4096;

/// A file in the making.
pub(in crate::export::keras) struct Writer {
    bytes: Vec<u8>,
}

/// A group or array of the file: the address of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export::keras) struct Object(u64);

/// A text in the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::export::keras) struct Text {
    heap: u64,
    number: u16,
    length: u32,
}

/// The value of an attribute.
pub(in crate::export::keras) enum Attribute {
    One(Text),
    Many(Vec<Text>),
}

impl Writer {
    /// For about as many bytes of arrays.
    pub(in crate::export::keras) fn new(expected: usize) -> Self {
        let mut bytes = Vec::with_capacity(expected + expected / 32);
        bytes.resize(SUPERBLOCK, 0);
        Self { bytes }
    }

    /// An array of float32.
    ///
    /// # Errors
    /// As [`Writer::group`]; a tensor is never too large.
    pub(in crate::export::keras) fn array(&mut self, tensor: &Tensor) -> Result<Object> {
        let values = tensor.as_f32().unwrap_or_default();
        let address = self.aligned();
        self.bytes
            .extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let mut space = vec![1, tensor.shape.len() as u8, 0, 0, 0, 0, 0, 0];
        let sides = tensor.shape.iter().map(|&side| side as u64);
        space.extend(sides.flat_map(u64::to_le_bytes));
        // Contiguous, written when it is made, filled with zeros until then.
        let fill = [2, 1, 0, 1, 0, 0, 0, 0];
        let mut layout = vec![3, 1];
        layout.extend(address.to_le_bytes());
        layout.extend((tensor.byte_len() as u64).to_le_bytes());
        self.object(&[
            (message::DATASPACE, space),
            (message::DATATYPE, FLOAT32.to_vec()),
            (message::FILL_VALUE, fill.to_vec()),
            (message::LAYOUT, layout),
        ])
    }

    /// A group of objects, by their names.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name of more than 255 bytes, or 64 KiB of an attribute, which is 4,090 texts.
    pub(in crate::export::keras) fn group(
        &mut self,
        members: &BTreeMap<String, Object>,
        attributes: &[(&str, Attribute)],
    ) -> Result<Object> {
        let nowhere = UNDEFINED.to_le_bytes();
        let info = [&[0, 0][..], &nowhere, &nowhere].concat();
        let mut messages = vec![
            (message::LINK_INFO, info),
            (message::GROUP_INFO, vec![0, 0]),
        ];
        for (name, object) in members {
            let mut link = vec![1, 0, u8::try_from(name.len()).map_err(too_large)?];
            link.extend(name.bytes());
            link.extend(object.0.to_le_bytes());
            messages.push((message::LINK, link));
        }
        for (name, value) in attributes {
            messages.push((message::ATTRIBUTE, attribute(name, value)?));
        }
        self.object(&messages)
    }

    /// Texts for attributes.
    ///
    /// # Errors
    /// For more than 65,535 of them.
    pub(in crate::export::keras) fn texts(&mut self, texts: &[String]) -> Result<Vec<Text>> {
        let heap = self.aligned();
        let size = |text: &String| 16 + text.len().next_multiple_of(8);
        let used: usize = 16 + texts.iter().map(size).sum::<usize>();
        let total = (used + 16).max(SMALLEST_HEAP);
        self.bytes.extend(b"GCOL\x01\0\0\0");
        self.bytes.extend((total as u64).to_le_bytes());
        let mut placed = Vec::new();
        u16::try_from(texts.len()).map_err(too_large)?;
        for (number, text) in (1u16..=u16::MAX).zip(texts) {
            self.bytes.extend(number.to_le_bytes());
            self.bytes.extend([1, 0, 0, 0, 0, 0]);
            self.bytes.extend((text.len() as u64).to_le_bytes());
            self.bytes.extend(text.bytes());
            self.aligned();
            placed.push(Text {
                heap,
                number,
                length: text.len() as u32,
            });
        }
        // What is free, as an object without a number.
        self.bytes.extend([0; 8]);
        self.bytes.extend(((total - used) as u64).to_le_bytes());
        self.bytes.resize(heap as usize + total, 0);
        Ok(placed)
    }

    /// Appends the header of an object.
    fn object(&mut self, messages: &[(u16, Vec<u8>)]) -> Result<Object> {
        let address = self.aligned();
        let size = |body: &[u8]| body.len().next_multiple_of(8);
        let all: usize = messages.iter().map(|(_, body)| 8 + size(body)).sum();
        self.bytes.extend([1, 0]);
        let count = u16::try_from(messages.len()).map_err(too_large)?;
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend(1u32.to_le_bytes());
        self.bytes.extend((all as u32).to_le_bytes());
        self.bytes.extend([0; 4]);
        for (kind, body) in messages {
            // A type that never changes says so.
            let flags = u8::from(*kind == message::DATATYPE);
            self.bytes.extend(kind.to_le_bytes());
            let size = u16::try_from(size(body)).map_err(too_large)?;
            self.bytes.extend(size.to_le_bytes());
            self.bytes.extend([flags, 0, 0, 0]);
            self.bytes.extend(body);
            self.aligned();
        }
        Ok(Object(address))
    }

    /// The file whose root is this group.
    pub(in crate::export::keras) fn finish(mut self, root: Object) -> Vec<u8> {
        let end = self.bytes.len() as u64;
        let mut start = SIGNATURE.to_vec();
        // Versions, sizes of addresses and lengths, sizes of trees that are not used.
        start.extend([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, 0, 0, 0, 0]);
        let numbers = [0, UNDEFINED, end, UNDEFINED, 0, root.0];
        start.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        self.bytes[..start.len()].copy_from_slice(&start);
        self.bytes
    }

    /// Fills up to a multiple of eight bytes; gives the address.
    fn aligned(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes.len() as u64
    }
}

/// The message of an attribute.
fn attribute(name: &str, value: &Attribute) -> Result<Vec<u8>> {
    let (texts, space) = match value {
        Attribute::One(text) => (std::slice::from_ref(text), vec![1, 0, 0, 0, 0, 0, 0, 0]),
        Attribute::Many(texts) => {
            let mut space = vec![1, 1, 0, 0, 0, 0, 0, 0];
            space.extend((texts.len() as u64).to_le_bytes());
            (&texts[..], space)
        }
    };
    let sizes = [name.len() + 1, TEXT.len(), space.len()];
    let mut message = vec![1, 0];
    message.extend(sizes.iter().flat_map(|&size| (size as u16).to_le_bytes()));
    for part in [[name.as_bytes(), b"\0"].concat(), TEXT.to_vec(), space] {
        message.extend(part);
        message.resize(message.len().next_multiple_of(8), 0);
    }
    for text in texts {
        message.extend(text.length.to_le_bytes());
        message.extend(text.heap.to_le_bytes());
        message.extend(u32::from(text.number).to_le_bytes());
    }
    Ok(message)
}

fn too_large(_: TryFromIntError) -> Error {
    Error::Usage("the model has more or longer names of layers than HDF5 holds".into())
}
