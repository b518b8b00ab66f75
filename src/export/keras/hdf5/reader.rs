//! Reads groups, arrays and attributes by their addresses.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use super::{SIGNATURE, message};
use crate::error::Result;
use crate::weights::Tensor;

/// A file.
#[derive(Debug, Clone, Copy)]
pub(in crate::export::keras) struct Reader<'a> {
    bytes: &'a [u8],
}

/// A group: the addresses of its members, and its attributes, each a list of texts.
#[derive(Debug, Default)]
pub(in crate::export::keras) struct Group {
    members: BTreeMap<String, u64>,
    attributes: BTreeMap<String, Vec<String>>,
}

impl Group {
    /// A text, or the first of several.
    pub(in crate::export::keras) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.first().map(String::as_str)
    }

    /// How many members it has.
    pub(in crate::export::keras) fn names(&self) -> usize {
        self.members.len()
    }

    pub(in crate::export::keras) fn texts(&self, name: &str) -> Option<&[String]> {
        self.attributes.get(name).map(Vec::as_slice)
    }
}

impl<'a> Reader<'a> {
    /// # Errors
    /// For what is not an HDF5 file that is as long as it says.
    pub(in crate::export::keras) fn new(bytes: &'a [u8]) -> Result<Self> {
        let reader = Self { bytes };
        let is_hdf5 = bytes.starts_with(SIGNATURE) && bytes.get(8) == Some(&0);
        if !is_hdf5 || reader.u64(40)? != bytes.len() as u64 {
            bail!("it is not a whole HDF5 file");
        }
        Ok(reader)
    }

    /// The group at a path from the root, which is the empty path.
    pub(in crate::export::keras) fn group(&self, path: &str) -> Result<Group> {
        let at = self.find(path)?;
        self.read_group(at).with_context(|| format!("group {path}"))
    }

    /// The array at a path.
    pub(in crate::export::keras) fn array(&self, path: &str) -> Result<Tensor> {
        let at = self.find(path)?;
        self.read_array(at).with_context(|| format!("array {path}"))
    }

    fn find(&self, path: &str) -> Result<u64> {
        let mut at = self.u64(64)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let group = self.read_group(at)?;
            let found = group.members.get(part);
            at = *found.with_context(|| format!("there is no {part} of {path}"))?;
        }
        Ok(at)
    }

    /// The messages of an object, by type.
    fn messages(&self, at: u64) -> Result<Vec<(u16, &'a [u8])>> {
        let start = usize::try_from(at)?;
        if self.slice(start, 1)? != [1] {
            bail!("an object at {at} of another version");
        }
        let count = self.u16(start + 2)?;
        let mut place = start + 16;
        let mut messages = Vec::new();
        for _ in 0..count {
            let size = usize::from(self.u16(place + 2)?);
            messages.push((self.u16(place)?, self.slice(place + 8, size)?));
            place += 8 + size;
        }
        Ok(messages)
    }

    fn read_group(&self, at: u64) -> Result<Group> {
        let mut group = Group::default();
        for (kind, body) in self.messages(at)? {
            match kind {
                message::LINK => {
                    let body = Self { bytes: body };
                    let length = usize::from(body.slice(2, 1)?[0]);
                    let name = std::str::from_utf8(body.slice(3, length)?)?;
                    group.members.insert(name.into(), body.u64(3 + length)?);
                }
                message::ATTRIBUTE => {
                    let (name, texts) = self.attribute(Self { bytes: body })?;
                    group.attributes.insert(name, texts);
                }
                _ => {}
            }
        }
        Ok(group)
    }

    fn attribute(&self, body: Self) -> Result<(String, Vec<String>)> {
        let [name, datatype, space] = [2, 4, 6].map(|at| {
            body.u16(at)
                .map(|size| usize::from(size).next_multiple_of(8))
        });
        let datatype_at = 8 + name?;
        let space_at = datatype_at + datatype?;
        let name = body.slice(8, usize::from(body.u16(2)?))?;
        if body.slice(datatype_at, 1)? != [0x19] {
            bail!("an attribute that is not a text");
        }
        let count = match body.slice(space_at, 2)? {
            [1, 0] => 1,
            [1, 1] => usize::try_from(body.u64(space_at + 8)?)?,
            other => bail!("an attribute of the shape {other:?}"),
        };
        let values = space_at + space?;
        let texts = (0..count).map(|at| {
            let place = values + 16 * at;
            self.text(
                body.u64(place + 4)?,
                body.u32(place + 12)?,
                body.u32(place)?,
            )
        });
        let name = std::str::from_utf8(name)?.trim_end_matches('\0').to_owned();
        Ok((name, texts.collect::<Result<_>>()?))
    }

    /// A text of a heap, by its number there.
    fn text(&self, heap: u64, number: u32, length: u32) -> Result<String> {
        let start = usize::try_from(heap)?;
        if self.slice(start, 4)? != b"GCOL" {
            bail!("there is no heap at {heap}");
        }
        let end = start.checked_add(usize::try_from(self.u64(start + 8)?)?);
        let end = end.context("a heap larger than the file")?;
        let mut place = start + 16;
        while place + 16 <= end {
            let (found, size) = (self.u16(place)?, usize::try_from(self.u64(place + 8)?)?);
            match u32::from(found) {
                0 => break,
                found if found == number => {
                    let text = self.slice(place + 16, size.min(length as usize))?;
                    return Ok(std::str::from_utf8(text)?.to_owned());
                }
                _ => {
                    let size = size.checked_next_multiple_of(8);
                    let next = size.and_then(|size| (place + 16).checked_add(size));
                    place = next.context("an object larger than the file")?;
                }
            }
        }
        bail!("the heap has no text {number}")
    }

    fn read_array(&self, at: u64) -> Result<Tensor> {
        let messages = self.messages(at)?;
        let find = |kind: u16| {
            let found = messages.iter().find(|message| message.0 == kind);
            let bytes = found.map(|&(_, bytes)| bytes);
            bytes.map(|bytes| Self { bytes }).context("a message")
        };
        let (space, layout) = (find(message::DATASPACE)?, find(message::LAYOUT)?);
        if find(message::DATATYPE)?.slice(0, 8)? != [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0] {
            bail!("it is not float32");
        }
        let rank = usize::from(space.slice(1, 1)?[0]);
        let sides = (0..rank).map(|side| Ok(usize::try_from(space.u64(8 + 8 * side)?)?));
        let sides: Vec<usize> = sides.collect::<Result<_>>()?;
        let (from, size) = (layout.u64(2)?, layout.u64(10)?);
        let content = self.slice(usize::try_from(from)?, usize::try_from(size)?)?;
        let (words, rest) = content.as_chunks::<4>();
        let size_of = |sides: &[usize]| {
            let mut sides = sides.iter();
            sides.try_fold(1usize, |size, &side| size.checked_mul(side))
        };
        if size_of(&sides) != Some(words.len()) || !rest.is_empty() {
            bail!("{size} bytes are not {sides:?}");
        }
        let values = words.iter().map(|&word| f32::from_le_bytes(word));
        Ok(Tensor::f32(sides, values.collect()))
    }

    fn slice(&self, at: usize, length: usize) -> Result<&'a [u8]> {
        let end = at.checked_add(length);
        let found = end.and_then(|end| self.bytes.get(at..end));
        found.with_context(|| format!("it ends before byte {at}"))
    }

    fn u16(&self, at: usize) -> Result<u16> {
        Ok(u16::from_le_bytes(self.slice(at, 2)?.try_into()?))
    }

    fn u32(&self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.slice(at, 4)?.try_into()?))
    }

    fn u64(&self, at: usize) -> Result<u64> {
        Ok(u64::from_le_bytes(self.slice(at, 8)?.try_into()?))
    }
}
