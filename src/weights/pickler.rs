//! Writes pickles, protocol 2, of the few kinds of objects that PyTorch's files hold.

use super::Dtype;
use crate::error::Result;

/// A pickle in the making: each call appends the opcodes that push one object.
#[derive(Debug)]
pub struct Pickler(Vec<u8>);

impl Default for Pickler {
    fn default() -> Self {
        Self::new()
    }
}

impl Pickler {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    /// A class or function by its module and name.
    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes());
        self.raw(text.as_bytes())
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { b"\x88" } else { b"\x89" })
    }

    /// An integer of at most 63 bits.
    pub fn int(&mut self, value: usize) -> &mut Self {
        match i32::try_from(value) {
            Ok(small) => self.raw(b"J").raw(&small.to_le_bytes()),
            Err(_) => self.raw(b"\x8a\x08").raw(&(value as u64).to_le_bytes()),
        }
    }

    pub fn ints(&mut self, values: &[usize]) -> &mut Self {
        self.raw(b"(");
        for value in values {
            self.int(*value);
        }
        self.raw(b"t")
    }

    /// A float32 or integer tensor, row-major, whose elements are those of storage `key`.
    ///
    /// # Errors
    /// For an element type that PyTorch has no storage class for here.
    pub fn tensor(&mut self, key: &str, dtype: Dtype, shape: &[usize]) -> Result<&mut Self> {
        let class = match dtype {
            Dtype::F32 => "FloatStorage",
            Dtype::I64 => "LongStorage",
            Dtype::I32 => "IntStorage",
            Dtype::I8 => "CharStorage",
            Dtype::U8 => "ByteStorage",
            other => anyhow::bail!("no storage class for {other}"),
        };
        self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((");
        self.text("storage").global("torch", class).text(key);
        self.text("cpu").int(shape.iter().product()).raw(b"tQ");
        self.int(0).ints(shape).ints(&strides(shape)).bool(false);
        self.global("collections", "OrderedDict").raw(b")RtR");
        Ok(self)
    }

    /// Opcodes as they are.
    pub fn raw(&mut self, opcodes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(opcodes);
        self
    }

    /// The pickle of the object pushed last.
    pub fn finish(mut self) -> Vec<u8> {
        self.raw(b".");
        self.0
    }
}

/// Steps between neighbours along each axis of a row-major tensor.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_major_steps() {
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
        assert!(strides(&[]).is_empty());
    }

    #[test]
    fn numbers_of_both_widths() {
        let mut pickler = Pickler::new();
        pickler.int(5).int(1 << 40);
        assert_eq!(
            pickler.finish(),
            b"\x80\x02J\x05\0\0\0\x8a\x08\0\0\0\0\0\x01\0\0."
        );
    }
}
