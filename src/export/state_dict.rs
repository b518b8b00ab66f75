//! Parameters alone, under the names that PyTorch's network has for them.

use std::io::Cursor;

use super::{Artifact, Options, notes};
use crate::bundle::{ARCHITECTURE, Bundle, CHANNELS, HEAD};
use crate::error::Result;
use crate::weights::archive::Archive;
use crate::weights::pickler::Pickler;
use crate::weights::{StateDict, Tensor, pth, safetensors};

/// A safetensors file whose metadata says what the parameters are for, so that it is read as a
/// model again.
pub(super) fn safetensors(bundle: &Bundle, _: &Options) -> Result<Vec<u8>> {
    let mut notes = notes(&bundle.manifest)?;
    notes.insert(ARCHITECTURE.into(), bundle.manifest.architecture.clone());
    let head = serde_json::to_string(&bundle.manifest.head)?;
    notes.insert(HEAD.into(), head);
    let channels = &bundle.manifest.channels;
    if !channels.is_empty() {
        notes.insert(CHANNELS.into(), serde_json::to_string(channels)?);
    }
    // Hugging Face's loaders ask for it.
    notes.insert("format".into(), "pt".into());
    let mut file = Vec::new();
    safetensors::write_to(&mut file, &bundle.weights, &notes)?;
    Ok(file)
}

pub(super) fn open_safetensors(exported: Artifact) -> Result<StateDict> {
    let mut file = exported.file()?;
    let length = file.len() as u64;
    Ok(safetensors::read_from(&mut file, length)?.0)
}

/// What `torch.save(network.state_dict(), FILE)` writes: an `OrderedDict` in the order of the
/// network's modules, which `torch.load` reads with `weights_only=True`.
pub(super) fn pth(bundle: &Bundle, _: &Options) -> Result<Vec<u8>> {
    let graph = bundle.manifest.graph()?;
    let mut tensors: Vec<(String, &Tensor)> = Vec::new();
    for parameter in graph.parameters() {
        let tensor = bundle.weights.tensor(&parameter.name, &parameter.shape)?;
        tensors.push((parameter.name, tensor));
    }

    let mut pickle = Pickler::new();
    pickle.global("collections", "OrderedDict").raw(b")R(");
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        pickle.text(name);
        pickle.tensor(&key.to_string(), tensor.dtype(), &tensor.shape)?;
    }
    pickle.raw(b"u");

    let mut archive = Archive::new(Cursor::new(Vec::new()), "model");
    archive.member("data.pkl")?.write_all(&pickle.finish())?;
    archive.member("byteorder")?.write_all(b"little")?;
    for (key, (_, tensor)) in tensors.iter().enumerate() {
        tensor
            .values
            .write(archive.member(&format!("data/{key}"))?)?;
    }
    archive.member("version")?.write_all(b"3\n")?;
    Ok(archive.finish()?.into_inner())
}

pub(super) fn open_pth(exported: Artifact) -> Result<StateDict> {
    pth::read_zip(exported.file()?)
}
