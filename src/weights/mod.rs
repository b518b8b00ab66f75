//! Parameters on the host: tensors by name, and the files that hold them.

pub mod archive;
pub mod hashed;
pub mod pickle;
pub mod pickler;
pub mod pth;
pub mod safetensors;
pub mod tensor;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

pub use tensor::{Dtype, StateDict, Tensor, Values};

use crate::error::{Error, Result, shown};
use crate::files;

/// Beginnings of files that are taken for weights by mistake.
const MISTAKEN: &[(&[u8], &str)] = &[
    (
        b"version https://git-lfs",
        "a Git LFS pointer: fetch the file itself, `git lfs pull`",
    ),
    (b"<", "a web page, perhaps of a download that failed"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
    (b"\x08", "perhaps an ONNX file"),
    (b"TFL3", "a TensorFlow Lite file"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"PK\x05\x06", "an empty zip file"),
    (b"{", "JSON text"),
];

/// Reads a state dict from a safetensors file or from either format of `torch.save`, whichever
/// the content is. A prefix `module.` of all names (`DataParallel`) is taken away.
///
/// # Errors
/// [`Error::Data`] naming the file and what is the matter: unreadable, none of these formats
/// (and which one instead), damaged, not a plain state dict.
pub fn read(path: &Path) -> Result<StateDict> {
    let tensors = match Format::of(path)? {
        Format::Safetensors => safetensors::read(path)?.0,
        Format::Zip => pth::read_zip(&files::read(path)?).with_context(|| shown(path))?,
        Format::Legacy => pth::read_legacy(&files::read(path)?).with_context(|| shown(path))?,
    };
    Ok(without_prefix(tensors, "module."))
}

enum Format {
    Safetensors,
    Zip,
    Legacy,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(64).read_to_end(&mut start))
            .map_err(|cause| Error::Data(format!("can't read {}: {cause}", shown(path))))?;
        match start.as_slice() {
            // First, because the header's size may begin like anything.
            [_, _, _, _, _, _, 0, 0, b'{', ..] => Ok(Self::Safetensors),
            [b'P', b'K', 3, 4, ..] => Ok(Self::Zip),
            [0x80, ..] => Ok(Self::Legacy),
            other => {
                let known = MISTAKEN.iter().find(|(magic, _)| other.starts_with(magic));
                let found = known.map_or("of an unknown format", |(_, found)| found);
                let found = if other.is_empty() { "empty" } else { found };
                Err(Error::Data(format!(
                    "{} is neither a safetensors file nor a PyTorch state dict (.pth, .pt): it is {found}",
                    shown(path)
                ))
                .into())
            }
        }
    }
}

fn without_prefix(tensors: StateDict, prefix: &str) -> StateDict {
    if !tensors.keys().all(|name| name.starts_with(prefix)) {
        return tensors;
    }
    let strip = |(name, tensor): (String, Tensor)| (name[prefix.len()..].to_owned(), tensor);
    tensors.into_iter().map(strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_when_all_names_have_it() {
        let one = || Tensor::f32([1], vec![0.0]);
        let all = StateDict::from([("module.a".into(), one()), ("module.b".into(), one())]);
        assert!(without_prefix(all, "module.").keys().eq(["a", "b"]));
        let some = StateDict::from([("module.a".into(), one()), ("b".into(), one())]);
        assert!(without_prefix(some, "module.").keys().eq(["b", "module.a"]));
    }
}
