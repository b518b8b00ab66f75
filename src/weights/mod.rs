//! Parameters on the host: tensors by name, and the files that hold them.

pub mod archive;
pub mod hashed;
pub mod pickle;
pub mod pickler;
pub mod pth;
pub mod safetensors;
pub mod sniff;
mod state_dict;
pub mod tensor;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

pub use state_dict::StateDict;
pub use tensor::{Dtype, Tensor, Values};

use crate::error::{Error, Result, shown};
use crate::files;

/// Reads a state dict from a safetensors file or from either format of `torch.save`, whichever
/// the content is.
///
/// # Errors
/// [`Error::Data`] naming the file and what is the matter: unreadable, none of these formats
/// (and which one instead), damaged, not a plain state dict, with values that are not finite.
pub fn read(path: &Path) -> Result<StateDict> {
    let tensors = match Format::of(path)? {
        Format::Safetensors => safetensors::read(path)?.0,
        Format::Zip => pth::read_zip(&files::read(path)?).with_context(|| shown(path))?,
        Format::Legacy => pth::read_legacy(&files::read(path)?).with_context(|| shown(path))?,
    };
    check_finite(&tensors).with_context(|| shown(path))?;
    Ok(tensors)
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
            .and_then(|file| file.take(sniff::START as u64).read_to_end(&mut start))
            .map_err(|cause| Error::Data(format!("can't read {}: {cause}", shown(path))))?;
        match start.as_slice() {
            // First, because the header's size may begin like anything.
            start if sniff::is_safetensors(start) => Ok(Self::Safetensors),
            [b'P', b'K', 3, 4, ..] => Ok(Self::Zip),
            [0x80, ..] => Ok(Self::Legacy),
            other => Err(Error::Data(format!(
                "{} is neither a safetensors file nor a PyTorch state dict (.pth, .pt): it is {}",
                shown(path),
                sniff::kind(other).name()
            ))
            .into()),
        }
    }
}

/// Refuses parameters that no network can compute with.
///
/// # Errors
/// [`Error::Data`] naming the first tensor with a value that is infinite or not a number.
pub fn check_finite(tensors: &StateDict) -> Result<()> {
    for (name, tensor) in tensors {
        let values = tensor.as_f32().unwrap_or_default();
        let Some(first) = values.iter().find(|value| !value.is_finite()) else {
            continue;
        };
        let bad = values.iter().filter(|value| !value.is_finite()).count();
        let what = if first.is_nan() { "NaN" } else { "infinity" };
        return Err(Error::Data(format!(
            "the weights are broken: {} holds {what} ({bad} of {} values are not finite); use an \
             earlier checkpoint, or weights from another run",
            shown(name),
            values.len()
        ))
        .into());
    }
    Ok(())
}

/// Takes away the prefix that all names have and the network does not know: `module.` of
/// `DataParallel`, `_orig_mod.` of `torch.compile`, `model.`, `net.` and whatever else a script
/// calls the attribute that holds the network, or several of them. Gives the prefix too: empty if
/// there is none, or the network knows the names no better without it. The count that
/// `AveragedModel` keeps beside the network goes as well.
pub fn without_prefix(
    mut tensors: StateDict,
    is_known: impl Fn(&str) -> bool,
) -> (StateDict, String) {
    tensors.remove("n_averaged");
    let length = prefix_length(&tensors, is_known);
    let prefix = tensors.keys().next().map_or("", |name| &name[..length]);
    let prefix = prefix.to_owned();
    let strip = |(name, tensor): (String, Tensor)| (name[length..].to_owned(), tensor);
    (tensors.into_iter().map(strip).collect(), prefix)
}

fn prefix_length(tensors: &StateDict, is_known: impl Fn(&str) -> bool) -> usize {
    let mut length = 0;
    loop {
        let mut rests = tensors.keys().map(|name| &name[length..]);
        if rests.clone().any(&is_known) {
            return length;
        }
        let Some((part, _)) = rests.next().and_then(|name| name.split_once('.')) else {
            return 0;
        };
        let has_part = |name: &str| {
            name.strip_prefix(part)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        if !rests.all(has_part) {
            return 0;
        }
        length += part.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(names: &[&str], known: &str) -> (Vec<String>, String) {
        let one = |name: &&str| (name.to_string(), Tensor::f32([1], vec![0.0]));
        let tensors = names.iter().map(one).collect();
        let (tensors, prefix) = without_prefix(tensors, |name| name == known);
        (tensors.keys().cloned().collect(), prefix)
    }

    #[test]
    fn a_prefix_goes_when_all_names_have_it() {
        let (names, prefix) = stripped(&["module.a.w", "module.b.w"], "a.w");
        assert_eq!(
            (names, prefix.as_str()),
            (vec!["a.w".into(), "b.w".into()], "module.")
        );
        let (names, prefix) = stripped(&["module._orig_mod.net.a.w"], "a.w");
        assert_eq!(
            (names, prefix.as_str()),
            (vec!["a.w".into()], "module._orig_mod.net.")
        );
        let (names, prefix) = stripped(&["module.a.w", "n_averaged"], "a.w");
        assert_eq!((names, prefix.as_str()), (vec!["a.w".into()], "module."));
        let (names, prefix) = stripped(&["module.a.w", "b.w"], "a.w");
        assert_eq!(
            (names, prefix.as_str()),
            (vec!["b.w".into(), "module.a.w".into()], "")
        );
    }

    #[test]
    fn names_of_another_network_stay_as_they_are() {
        let names = ["module.a.w", "module.b.w"];
        let (kept, prefix) = stripped(&names, "c.w");
        assert_eq!(
            (kept, prefix.as_str()),
            (names.map(String::from).to_vec(), "")
        );
    }

    #[test]
    fn what_the_network_knows_is_no_prefix() {
        let names = ["features.0.w", "features.1.w"];
        assert_eq!(stripped(&names, "features.0.w").1, "");
    }

    #[test]
    fn the_first_tensor_that_is_not_finite_is_named() {
        let tensors = StateDict::from([
            ("a".into(), Tensor::f32([1], vec![f32::MAX])),
            (
                "b".into(),
                Tensor::f32([3], vec![0.0, f32::NAN, f32::INFINITY]),
            ),
        ]);
        let message = check_finite(&tensors).unwrap_err().to_string();
        assert!(message.contains("b holds NaN (2 of 3 values"), "{message}");
    }
}
