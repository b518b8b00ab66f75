//! A network's parameters and buffers by name.

use std::collections::{BTreeMap, btree_map};
use std::ops::{Deref, DerefMut};

use super::Tensor;
use super::tensor::Values;
use crate::error::{Error, Result, shown};

/// Parameters and buffers under their names in PyTorch's `state_dict`, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateDict(BTreeMap<String, Tensor>);

impl StateDict {
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor of a name, which must have this shape.
    ///
    /// # Errors
    /// [`Error::Data`] when it is missing or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let tensor = self.0.get(name).ok_or_else(|| missing(name))?;
        if tensor.shape == shape {
            return Ok(tensor);
        }
        let message = format!(
            "{} has shape {:?}, the network needs {shape:?}",
            shown(name),
            tensor.shape
        );
        Err(Error::Data(message).into())
    }

    /// The values of a float32 tensor of this shape, row-major.
    ///
    /// # Errors
    /// As [`StateDict::tensor`], and for integers.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let values = self.tensor(name, shape)?.as_f32();
        values.ok_or_else(|| integers(name))
    }

    /// As [`StateDict::f32`], to be changed, whatever the shape.
    ///
    /// # Errors
    /// [`Error::Data`] when the tensor is missing or holds integers.
    pub fn f32_mut(&mut self, name: &str) -> Result<&mut [f32]> {
        let tensor = self.0.get_mut(name).ok_or_else(|| missing(name))?;
        match &mut tensor.values {
            Values::F32(values) => Ok(values),
            _ => Err(integers(name)),
        }
    }

    /// Size of all tensors in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.values().map(Tensor::byte_len).sum()
    }
}

fn missing(name: &str) -> anyhow::Error {
    Error::Data(format!("the weights lack {}", shown(name))).into()
}

fn integers(name: &str) -> anyhow::Error {
    Error::Data(format!(
        "{} holds integers, not float32 values",
        shown(name)
    ))
    .into()
}

impl Deref for StateDict {
    type Target = BTreeMap<String, Tensor>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for StateDict {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<const N: usize> From<[(String, Tensor); N]> for StateDict {
    fn from(tensors: [(String, Tensor); N]) -> Self {
        Self(BTreeMap::from(tensors))
    }
}

impl FromIterator<(String, Tensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Self(BTreeMap::from_iter(tensors))
    }
}

impl IntoIterator for StateDict {
    type Item = (String, Tensor);
    type IntoIter = btree_map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a StateDict {
    type Item = (&'a String, &'a Tensor);
    type IntoIter = btree_map::Iter<'a, String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a mut StateDict {
    type Item = (&'a String, &'a mut Tensor);
    type IntoIter = btree_map::IterMut<'a, String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let counts = Tensor {
            shape: vec![2],
            values: Values::I64(vec![1, 2]),
        };
        let mut dict = StateDict::from([
            ("w".into(), Tensor::f32([2, 1], vec![0.5, 1.5])),
            ("n".into(), counts),
        ]);
        assert_eq!(dict.f32("w", &[2, 1]).unwrap(), [0.5, 1.5]);
        assert_eq!(dict.byte_len(), 8 + 16);
        dict.f32_mut("w").unwrap()[0] = 2.0;
        assert_eq!(dict["w"].as_f32().unwrap(), [2.0, 1.5]);
        let message = |found: Result<&[f32]>| found.unwrap_err().to_string();
        assert_eq!(message(dict.f32("v", &[1])), "the weights lack v");
        let other_shape = "w has shape [2, 1], the network needs [2]";
        assert_eq!(message(dict.f32("w", &[2])), other_shape);
        let integers = "n holds integers, not float32 values";
        assert_eq!(message(dict.f32("n", &[2])), integers);
        assert_eq!(dict.f32_mut("n").unwrap_err().to_string(), integers);
    }
}
