//! State dicts as `torch.save` writes them: the zip format, and the one before PyTorch 1.6.
//!
//! Reference: `torch/serialization.py` and `torch/_utils.py`.

mod beside;
mod state_dict;
mod view;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::read::ZipReadOptions;
use zip::result::ZipError;

use super::pickle::{Global, Id, Node, ORDERED_DICT, Pickle};
use super::{Dtype, StateDict};
use crate::error::{Error, Result, shown};
use beside::BESIDE;
use view::{Storage, View};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

const SIZE: Global = ("torch", "Size");
const TENSOR: Global = ("torch._utils", "_rebuild_tensor_v2");
const PARAMETER: Global = ("torch._utils", "_rebuild_parameter");

const STORAGES: &[(Global, Dtype)] = &[
    (("torch", "DoubleStorage"), Dtype::F64),
    (("torch", "FloatStorage"), Dtype::F32),
    (("torch", "HalfStorage"), Dtype::F16),
    (("torch", "BFloat16Storage"), Dtype::BF16),
    (("torch", "LongStorage"), Dtype::I64),
    (("torch", "IntStorage"), Dtype::I32),
    (("torch", "ShortStorage"), Dtype::I16),
    (("torch", "CharStorage"), Dtype::I8),
    (("torch", "ByteStorage"), Dtype::U8),
    (("torch", "BoolStorage"), Dtype::Bool),
];

/// Dimensions that PyTorch allows a tensor.
const MAX_DIMENSIONS: usize = 64;

/// Bytes of tensors that a file of one byte may become: widening takes 2, and a storage may
/// serve several tensors. More than that is an attack on the memory.
const MAX_GROWTH: usize = 16;

/// Reads a file in the zip format: `*/data.pkl`, and a member `*/data/KEY` for each storage.
///
/// # Errors
/// [`Error::Data`]: not such a file, damaged, big-endian, asks for anything but tensors in
/// containers, holds no state dict.
pub fn read_zip(file: &[u8]) -> Result<StateDict> {
    let mut archive = ZipArchive::new(Cursor::new(file))
        .map_err(|cause| broken(format!("the zip file is cut short or damaged: {cause}")))?;
    let pickles = archive.file_names().flatten();
    let pickle = pickles
        .map(Cow::into_owned)
        .find(|name| name.ends_with("/data.pkl"));
    let pickle =
        pickle.ok_or_else(|| broken("it is a zip file without the data.pkl of a PyTorch file"))?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();

    if archive
        .index_for_name(&format!("{folder}constants.pkl"))
        .is_some()
    {
        return Err(broken(
            "it is a TorchScript program, not a state dict; \
             save only the parameters: torch.save(model.state_dict(), FILE)",
        ));
    }
    let byte_order = format!("{folder}byteorder");
    if archive.index_for_name(&byte_order).is_some()
        && member(&mut archive, &byte_order)? != b"little"
    {
        return Err(big_endian());
    }
    let pickle = member(&mut archive, &pickle)?;
    let object = Object::read(&pickle)?;
    object.state_dict(file.len(), |key| {
        member(&mut archive, &format!("{folder}data/{key}")).map(Cow::Owned)
    })
}

/// Reads a file in the older format: four pickles (magic number, protocol version, properties
/// of the machine, the object), a fifth with the keys of the storages, and for each of those an
/// int64 count of elements and the elements.
///
/// # Errors
/// As [`read_zip`].
pub fn read_legacy(file: &[u8]) -> Result<StateDict> {
    let magic = Pickle::read(file, &[])?;
    if *magic.node(magic.root) != Node::Int(MAGIC) {
        return Err(broken("it is a pickle, but not one of PyTorch's"));
    }
    let mut rest = &file[magic.length..];
    let protocol = Pickle::read(rest, &[])?;
    if *protocol.node(protocol.root) != Node::Int(PROTOCOL) {
        return Err(broken(
            "it has an unknown version of PyTorch's older format",
        ));
    }
    rest = &rest[protocol.length..];
    let machine = Pickle::read(rest, &[])?;
    if lookup(&machine, machine.root, "little_endian") == Some(&Node::Bool(false)) {
        return Err(big_endian());
    }
    rest = &rest[machine.length..];
    let object = Object::read(rest)?;
    rest = &rest[object.pickle.length..];
    let keys = Pickle::read(rest, &[])?;
    rest = &rest[keys.length..];

    let storages = object.storages()?;
    let Node::List(order) = keys.node(keys.root) else {
        return Err(broken("the list of storages is damaged"));
    };
    let mut contents = BTreeMap::new();
    for key in order {
        let known = match keys.node(*key) {
            Node::Text(key) => storages.get(key).map(|storage| (*key, storage)),
            _ => None,
        };
        let (key, storage) =
            known.ok_or_else(|| broken("the list of storages names one that no tensor uses"))?;
        let (count, after) = rest.split_first_chunk().ok_or_else(cut_short)?;
        if i64::from_le_bytes(*count) != i64::try_from(storage.length).unwrap_or(-1) {
            return Err(broken(format!(
                "storage {} has a different length than declared",
                shown(key)
            )));
        }
        let size = storage.length.checked_mul(storage.dtype.size());
        let (content, after) = size
            .and_then(|size| after.split_at_checked(size))
            .ok_or_else(cut_short)?;
        contents.insert(key, content);
        rest = after;
    }
    object.state_dict(file.len(), |key| {
        let content = contents.get(key).copied().map(Cow::Borrowed);
        content.ok_or_else(|| broken(format!("storage {} is missing", shown(key))))
    })
}

fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>> {
    let mut read = || -> Result<Vec<u8>, ZipError> {
        // PyTorch can be told to save without checksums; it then writes zeros.
        let unchecked = archive.by_name(name)?.crc32() == 0;
        let options = ZipReadOptions::new().ignore_crc32(unchecked);
        let mut member = archive.by_name_with_options(name, options)?;
        // The size in the directory may lie: memory grows only with the bytes that are there.
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|cause| {
        let name = shown(name);
        broken(format!("member {name} is missing or damaged: {cause}"))
    })
}

/// What was given to `torch.save`.
struct Object<'a> {
    pickle: Pickle<'a>,
}

impl<'a> Object<'a> {
    fn read(input: &'a [u8]) -> Result<Self> {
        let mut permitted = vec![ORDERED_DICT, SIZE, TENSOR, PARAMETER];
        permitted.extend(STORAGES.iter().map(|(global, _)| *global));
        permitted.extend(BESIDE);
        let pickle = Pickle::read(input, &permitted)?;
        Ok(Self { pickle })
    }

    /// Builds the tensors, one storage in memory at a time. `content` gives a storage's bytes.
    fn state_dict<'b>(
        &self,
        file_size: usize,
        mut content: impl FnMut(&str) -> Result<Cow<'b, [u8]>>,
    ) -> Result<StateDict> {
        let mut budget = file_size.saturating_mul(MAX_GROWTH);
        let mut views: BTreeMap<&str, Vec<(&str, View<'_>)>> = BTreeMap::new();
        for (name, id) in state_dict::parameters(&self.pickle)? {
            let view = self.view(name, id)?;
            let bytes = view.check(name)?;
            budget = budget.checked_sub(bytes).ok_or_else(|| {
                broken("its tensors would take far more memory than the file has bytes")
            })?;
            views
                .entry(view.storage.key)
                .or_default()
                .push((name, view));
        }
        let mut tensors = StateDict::new();
        for (key, views) in views {
            let content = content(key)?;
            for (name, view) in views {
                if content.len() != view.storage.length * view.storage.dtype.size() {
                    let key = shown(key);
                    return Err(broken(format!(
                        "storage {key} has a different length than declared"
                    )));
                }
                tensors.insert(name.to_owned(), view.tensor(&content)?);
            }
        }
        Ok(tensors)
    }

    fn view(&self, name: &str, mut id: Id) -> Result<View<'a>> {
        if let Node::Call(PARAMETER, arguments) = self.pickle.node(id) {
            id = *self.items(*arguments).first().unwrap_or(&id);
        }
        let Node::Call(TENSOR, arguments) = self.pickle.node(id) else {
            return Err(damaged(name));
        };
        let view = || {
            let [storage, offset, shape, strides, ..] = self.items(*arguments) else {
                return None;
            };
            Some(View {
                storage: self.storage(*storage)?,
                offset: self.integer(*offset)?,
                shape: self.integers(*shape)?,
                strides: self.integers(*strides)?,
            })
        };
        view().ok_or_else(|| damaged(name))
    }

    /// Every storage that the object mentions, whether the state dict uses it or not.
    fn storages(&self) -> Result<BTreeMap<&'a str, Storage<'a>>> {
        let mut storages = BTreeMap::new();
        for node in &self.pickle.nodes {
            let Node::Persistent(reference) = node else {
                continue;
            };
            let storage = self.reference(*reference);
            let storage = storage.ok_or_else(|| broken("a reference to a storage is damaged"))?;
            let before = storages.insert(storage.key, storage);
            if before.is_some_and(|before| before != storage) {
                let key = shown(storage.key);
                return Err(broken(format!("storage {key} is described in two ways")));
            }
        }
        Ok(storages)
    }

    fn storage(&self, id: Id) -> Option<Storage<'a>> {
        match self.pickle.node(id) {
            Node::Persistent(reference) => self.reference(*reference),
            _ => None,
        }
    }

    /// `("storage", class, key, device, length)`; the older format has a sixth item, which has
    /// been None since PyTorch 0.4.
    fn reference(&self, id: Id) -> Option<Storage<'a>> {
        let [tag, class, key, _device, length, views @ ..] = self.items(id) else {
            return None;
        };
        let whole = match views {
            [] => true,
            [view] => *self.pickle.node(*view) == Node::None,
            _ => false,
        };
        let (Node::Text("storage"), Node::Global(class), Node::Text(key), true) = (
            self.pickle.node(*tag),
            self.pickle.node(*class),
            self.pickle.node(*key),
            whole,
        ) else {
            return None;
        };
        let (_, dtype) = STORAGES.iter().find(|(global, _)| global == class)?;
        Some(Storage {
            key,
            dtype: *dtype,
            length: self.integer(*length)?,
        })
    }

    fn items(&self, id: Id) -> &[Id] {
        match self.pickle.node(id) {
            Node::Tuple(items) => items,
            _ => &[],
        }
    }

    fn integer(&self, id: Id) -> Option<usize> {
        match self.pickle.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A tuple of integers, or `torch.Size` of one.
    fn integers(&self, id: Id) -> Option<Vec<usize>> {
        let items = match self.pickle.node(id) {
            Node::Tuple(items) => items.as_slice(),
            Node::Call(SIZE, arguments) => match self.items(*arguments) {
                [items] => self.items(*items),
                _ => return None,
            },
            _ => return None,
        };
        if items.len() > MAX_DIMENSIONS {
            return None;
        }
        items.iter().map(|id| self.integer(*id)).collect()
    }
}

/// The last value that a dict holds under a key.
fn entry(pickle: &Pickle<'_>, dict: Id, key: &str) -> Option<Id> {
    let Node::Dict(pairs) = pickle.node(dict) else {
        return None;
    };
    let is_key = |(name, _): &&(Id, Id)| *pickle.node(*name) == Node::Text(key);
    pairs.iter().rev().find(is_key).map(|(_, value)| *value)
}

fn lookup<'p, 'a>(pickle: &'p Pickle<'a>, dict: Id, key: &str) -> Option<&'p Node<'a>> {
    entry(pickle, dict, key).map(|id| pickle.node(id))
}

fn broken(reason: impl Into<String>) -> anyhow::Error {
    Error::Data(reason.into()).into()
}

fn cut_short() -> anyhow::Error {
    broken("the file is cut short")
}

fn big_endian() -> anyhow::Error {
    broken("it was written on a big-endian machine; save it again on a little-endian one")
}

fn damaged(name: &str) -> anyhow::Error {
    broken(format!(
        "the description of tensor {} is damaged, or has an unsupported dtype",
        shown(name)
    ))
}
