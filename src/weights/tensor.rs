//! A tensor in host memory.

use std::fmt;
use std::io::{self, Read, Write};

use half::{bf16, f16};

/// Elements converted at a time between a file and memory.
const CHUNK: usize = 1 << 14;

/// A dense, contiguous (row-major) tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// The elements of a tensor. Half-precision and double-precision files are read as `F32`,
/// 16-bit integers as `I32`, booleans as `U8` (0 or 1).
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

/// An element type as files store it, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
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

    pub fn dtype(&self) -> Dtype {
        self.values.dtype()
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the elements in bytes, in memory as in a file.
    pub fn byte_len(&self) -> usize {
        self.len() * self.dtype().size()
    }
}

impl Values {
    /// Reads `count` little-endian elements. The memory they take is allocated first: the
    /// caller has checked that the bytes are there.
    ///
    /// # Errors
    /// Those of the reader; `UnexpectedEof` when it ends too early.
    pub fn read(dtype: Dtype, count: usize, source: &mut dyn Read) -> io::Result<Self> {
        Ok(match dtype {
            Dtype::F64 => Self::F32(decode(count, source, |b| f64::from_le_bytes(b) as f32)?),
            Dtype::F32 => Self::F32(decode(count, source, f32::from_le_bytes)?),
            Dtype::F16 => Self::F32(decode(count, source, |b| f16::from_le_bytes(b).to_f32())?),
            Dtype::BF16 => Self::F32(decode(count, source, |b| bf16::from_le_bytes(b).to_f32())?),
            Dtype::I64 => Self::I64(decode(count, source, i64::from_le_bytes)?),
            Dtype::I32 => Self::I32(decode(count, source, i32::from_le_bytes)?),
            Dtype::I16 => Self::I32(decode(count, source, |b| i16::from_le_bytes(b).into())?),
            Dtype::I8 => Self::I8(decode(count, source, i8::from_le_bytes)?),
            Dtype::U8 => Self::U8(decode(count, source, u8::from_le_bytes)?),
            Dtype::Bool => Self::U8(decode(count, source, |[b]| (b != 0).into())?),
        })
    }

    /// Writes the elements little-endian, without a copy of the whole.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, sink: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::F32(values) => encode(values, sink, f32::to_le_bytes),
            Self::I64(values) => encode(values, sink, i64::to_le_bytes),
            Self::I32(values) => encode(values, sink, i32::to_le_bytes),
            Self::I8(values) => encode(values, sink, i8::to_le_bytes),
            Self::U8(values) => sink.write_all(values),
        }
    }

    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::I64(_) => Dtype::I64,
            Self::I32(_) => Dtype::I32,
            Self::I8(_) => Dtype::I8,
            Self::U8(_) => Dtype::U8,
        }
    }
}

impl Dtype {
    /// Size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// PyTorch's name of the type, e.g. `float32`.
impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        })
    }
}

fn decode<const N: usize, T>(
    count: usize,
    source: &mut dyn Read,
    element: impl Fn([u8; N]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::with_capacity(count);
    let mut buffer = vec![0; N * count.min(CHUNK)];
    while values.len() < count {
        let bytes = &mut buffer[..N * CHUNK.min(count - values.len())];
        source.read_exact(bytes)?;
        values.extend(bytes.as_chunks().0.iter().map(|chunk| element(*chunk)));
    }
    Ok(values)
}

fn encode<const N: usize, T: Copy>(
    values: &[T],
    sink: &mut dyn Write,
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(N * values.len().min(CHUNK));
    for chunk in values.chunks(CHUNK) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|value| bytes(*value)));
        sink.write_all(&buffer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: Dtype, bytes: &[u8]) -> Values {
        Values::read(dtype, bytes.len() / dtype.size(), &mut &*bytes).unwrap()
    }

    #[test]
    fn narrow_and_wide_types_become_the_five_of_memory() {
        assert_eq!(read(Dtype::F16, &[0x00, 0x3e]), Values::F32(vec![1.5]));
        assert_eq!(read(Dtype::BF16, &[0xc0, 0xbf]), Values::F32(vec![-1.5]));
        let double = 0.1_f64.to_le_bytes();
        assert_eq!(read(Dtype::F64, &double), Values::F32(vec![0.1]));
        assert_eq!(read(Dtype::I16, &[0xfe, 0xff]), Values::I32(vec![-2]));
        assert_eq!(read(Dtype::Bool, &[0, 1, 7]), Values::U8(vec![0, 1, 1]));
    }

    #[test]
    fn what_is_written_is_read_across_chunks() {
        let values = Values::F32((0..CHUNK + 3).map(|i| i as f32).collect());
        let mut bytes = Vec::new();
        values.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 4 * (CHUNK + 3));
        assert_eq!(read(Dtype::F32, &bytes), values);
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        let failed = Values::read(Dtype::F32, 2, &mut &[0_u8; 7][..]).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::UnexpectedEof);
    }
}
