//! A tensor as a pickle describes it: a view of a storage.

use super::{cut_short, damaged};
use crate::error::Result;
use crate::weights::{Dtype, Tensor, Values};

/// The elements that tensors look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    /// In elements.
    pub length: usize,
}

/// A tensor before its elements are read. Offset and strides are in elements.
pub(super) struct View<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl View<'_> {
    /// Makes sure that every element is inside of the storage; gives the size in bytes.
    pub(super) fn check(&self, name: &str) -> Result<usize> {
        let inside = || {
            if self.shape.len() != self.strides.len() {
                return None;
            }
            let count = self
                .shape
                .iter()
                .try_fold(1_usize, |n, size| n.checked_mul(*size))?;
            if count > 0 {
                let steps = self.shape.iter().zip(&self.strides);
                let last = steps
                    .into_iter()
                    .try_fold(self.offset, |last, (size, stride)| {
                        last.checked_add((size - 1).checked_mul(*stride)?)
                    })?;
                if last >= self.storage.length {
                    return None;
                }
            }
            self.storage.length.checked_mul(self.storage.dtype.size())?;
            count.checked_mul(self.storage.dtype.size())
        };
        inside().ok_or_else(|| damaged(name))
    }

    /// Reads the elements in row-major order from the bytes of the storage.
    pub(super) fn tensor(self, content: &[u8]) -> Result<Tensor> {
        let size = self.storage.dtype.size();
        let count = self.shape.iter().product();
        let values = if count == 0 || self.is_contiguous() {
            let mut bytes = content.get(self.offset * size..).unwrap_or_default();
            Values::read(self.storage.dtype, count, &mut bytes)
        } else {
            let mut gathered = Vec::with_capacity(count * size);
            let mut index = vec![0; self.shape.len()];
            let mut at = self.offset;
            for _ in 0..count {
                gathered.extend_from_slice(&content[at * size..][..size]);
                for axis in (0..index.len()).rev() {
                    if index[axis] + 1 < self.shape[axis] {
                        index[axis] += 1;
                        at += self.strides[axis];
                        break;
                    }
                    at -= index[axis] * self.strides[axis];
                    index[axis] = 0;
                }
            }
            Values::read(self.storage.dtype, count, &mut gathered.as_slice())
        };
        Ok(Tensor {
            shape: self.shape,
            values: values.map_err(|_| cut_short())?,
        })
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(size, stride)| {
                let fits = *size == 1 || *stride == expected;
                expected *= size;
                fits
            })
    }
}
