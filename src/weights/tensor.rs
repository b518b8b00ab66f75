//! A tensor in host memory.

use std::collections::BTreeMap;

/// Parameters and buffers by their `state_dict` names.
pub type StateDict = BTreeMap<String, Tensor>;

/// A dense, contiguous (row-major) tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// The elements of a tensor. Half-precision and double-precision files are read as `F32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl Tensor {
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self {
            shape,
            values: Values::F32(values),
        }
    }

    /// The values of an `F32` tensor, or `None` for another dtype.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.values {
            Values::F32(values) => Some(values),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
