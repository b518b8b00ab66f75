//! `weight.bin`: tensors at multiples of 64 bytes, each behind a description of 64 bytes.

use anyhow::{Context, bail};

use crate::error::Result;

const ALIGNMENT: usize = 64;
const VERSION: u32 = 2;
const SENTINEL: u32 = 0xdead_beef;

/// Element types.
pub(super) const FLOAT16: u32 = 1;
pub(super) const FLOAT32: u32 = 2;

/// The file in the making.
pub(super) struct Blobs {
    bytes: Vec<u8>,
    count: u32,
}

impl Blobs {
    /// For about as many bytes of tensors.
    pub(super) fn new(expected: usize) -> Self {
        let mut bytes = Vec::with_capacity(expected + expected / 32);
        bytes.resize(ALIGNMENT, 0);
        Self { bytes, count: 0 }
    }

    /// Adds little-endian elements; gives the place of their description.
    pub(super) fn push(&mut self, kind: u32, content: impl Iterator<Item = u8>) -> u64 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let place = self.bytes.len();
        self.bytes.resize(place + ALIGNMENT, 0);
        let start = self.bytes.len();
        self.bytes.extend(content);
        let size = (self.bytes.len() - start) as u64;
        let mut about = Vec::new();
        about.extend(SENTINEL.to_le_bytes());
        about.extend(kind.to_le_bytes());
        about.extend(size.to_le_bytes());
        about.extend((start as u64).to_le_bytes());
        self.bytes[place..place + about.len()].copy_from_slice(&about);
        self.count += 1;
        place as u64
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        self.bytes
    }
}

/// Type and bytes of the tensor whose description is at `place`.
///
/// # Errors
/// When there is none.
pub(super) fn find(file: &[u8], place: u64) -> Result<(u32, &[u8])> {
    let place = usize::try_from(place)?;
    let about = file.get(place..).and_then(|rest| rest.first_chunk::<24>());
    let about = about.with_context(|| format!("no tensor at {place} of the weights"))?;
    let word =
        |at: usize| u32::from_le_bytes([about[at], about[at + 1], about[at + 2], about[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(0) != SENTINEL {
        bail!("there is no tensor at {place} of the weights");
    }
    let (size, start) = (usize::try_from(long(8))?, usize::try_from(long(16))?);
    let content = start.checked_add(size).and_then(|end| file.get(start..end));
    let content = content.with_context(|| format!("the tensor at {place} is not whole"))?;
    Ok((word(4), content))
}

/// Refuses a file of another version, or with another number of tensors than it says.
///
/// # Errors
/// When it is one.
pub(super) fn check(file: &[u8]) -> Result<()> {
    let start = file
        .first_chunk::<8>()
        .context("the weights are not whole")?;
    let [count, version] = [0, 4]
        .map(|at| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]));
    let mut found = 0;
    let mut place = ALIGNMENT;
    while place < file.len() {
        let (_, content) = find(file, place as u64)?;
        place = (place + ALIGNMENT + content.len()).next_multiple_of(ALIGNMENT);
        found += 1;
    }
    match (count, version) == (found, VERSION) {
        true => Ok(()),
        false => bail!("the weights are {found} tensors, not {count}, of version {version}"),
    }
}
