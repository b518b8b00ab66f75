//! How values lie in memory, and the memory itself.

use std::ptr::null_mut;

use super::ffi;
use super::library::OneDnn;
use crate::error::Result;

/// Type of the numbers of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Float32,
    Bfloat16,
    Int32,
    Int8,
    Uint8,
}

impl Kind {
    /// In oneDNN's numbering.
    fn number(self) -> i32 {
        match self {
            Self::Bfloat16 => 2,
            Self::Float32 => 3,
            Self::Int32 => 4,
            Self::Int8 => 5,
            Self::Uint8 => 6,
        }
    }

    /// Size in bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float32 | Self::Int32 => 4,
            Self::Bfloat16 => 2,
            Self::Int8 | Self::Uint8 => 1,
        }
    }
}

/// Shape, type and order of a value's numbers.
pub(super) struct Desc {
    library: &'static OneDnn,
    pub(super) raw: *mut ffi::MemoryDesc,
}

// SAFETY: a descriptor is never changed, and belongs to no thread.
unsafe impl Send for Desc {}
// SAFETY: as above.
unsafe impl Sync for Desc {}

impl Desc {
    /// Numbers at the given distances.
    ///
    /// # Errors
    /// When there are more dimensions than oneDNN takes.
    pub(super) fn strided(kind: Kind, dims: &[usize], strides: &[usize]) -> Result<Self> {
        let library = OneDnn::get()?;
        let (of_dims, of_strides) = (numbers(dims)?, numbers(strides)?);
        let mut raw = null_mut();
        // SAFETY: both arrays have room for every dimension, and the result has a place.
        let status = unsafe {
            (library.functions.desc_of_strides)(
                &mut raw,
                dims.len() as i32,
                of_dims.as_ptr(),
                kind.number(),
                of_strides.as_ptr(),
            )
        };
        library.check("a memory descriptor", status)?;
        Ok(Self { library, raw })
    }

    /// Row-major.
    ///
    /// # Errors
    /// As [`Desc::strided`].
    pub(super) fn dense(kind: Kind, dims: &[usize]) -> Result<Self> {
        Self::strided(kind, dims, &row_major(dims))
    }

    /// A batch of feature maps `(n, channels, height, width)` with the channels innermost.
    ///
    /// # Errors
    /// As [`Desc::strided`].
    pub(super) fn channels_last(kind: Kind, dims: [usize; 4]) -> Result<Self> {
        Self::strided(kind, &dims, &channels_last(dims))
    }

    /// In the order that a primitive chooses.
    ///
    /// # Errors
    /// As [`Desc::strided`].
    pub(super) fn any(kind: Kind, dims: &[usize]) -> Result<Self> {
        let library = OneDnn::get()?;
        let of_dims = numbers(dims)?;
        let mut raw = null_mut();
        // SAFETY: as in `strided`.
        let status = unsafe {
            (library.functions.desc_of_format)(
                &mut raw,
                dims.len() as i32,
                of_dims.as_ptr(),
                kind.number(),
                ffi::ANY_FORMAT,
            )
        };
        library.check("a memory descriptor", status)?;
        Ok(Self { library, raw })
    }

    /// A copy of one that belongs to something else.
    ///
    /// # Errors
    /// When memory runs out.
    ///
    /// # Safety
    /// It must point to a descriptor.
    pub(super) unsafe fn copied(of: *const ffi::MemoryDesc) -> Result<Self> {
        let library = OneDnn::get()?;
        let mut raw = null_mut();
        // SAFETY: a descriptor, says the caller, and a place for the result.
        let status = unsafe { (library.functions.desc_clone)(&mut raw, of) };
        library.check("a memory descriptor", status)?;
        Ok(Self { library, raw })
    }

    /// Size in bytes.
    pub(super) fn size(&self) -> usize {
        // SAFETY: `raw` is a descriptor as long as this lives.
        unsafe { (self.library.functions.desc_size)(self.raw) }
    }
}

impl Clone for Desc {
    #[expect(clippy::expect_used, reason = "it allocates a few hundred bytes")]
    fn clone(&self) -> Self {
        // SAFETY: `raw` is a descriptor.
        unsafe { Self::copied(self.raw) }.expect("there is memory for a descriptor")
    }
}

impl PartialEq for Desc {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: both are descriptors.
        unsafe { (self.library.functions.desc_equal)(self.raw, other.raw) != 0 }
    }
}

impl Drop for Desc {
    fn drop(&mut self) {
        // SAFETY: it is owned, and not used again.
        unsafe { (self.library.functions.desc_destroy)(self.raw) };
    }
}

/// Distances of the numbers of a row-major value.
pub(super) fn row_major(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for at in (1..dims.len()).rev() {
        strides[at - 1] = strides[at] * dims[at];
    }
    strides
}

/// Distances of the numbers of feature maps with the channels innermost.
pub(super) fn channels_last([_, channels, height, width]: [usize; 4]) -> [usize; 4] {
    [channels * height * width, 1, channels * width, channels]
}

fn numbers(values: &[usize]) -> Result<ffi::Dims> {
    anyhow::ensure!(
        values.len() <= ffi::MAX_NDIMS,
        "a value has too many dimensions"
    );
    let mut numbers = [0; ffi::MAX_NDIMS];
    for (number, &value) in numbers.iter_mut().zip(values) {
        *number = i64::try_from(value)?;
    }
    Ok(numbers)
}

/// Memory that begins at a cache line, zeroed.
pub(super) struct Buffer(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Buffer {
    pub(super) fn new(bytes: usize) -> Self {
        Self(vec![Line([0; 64]); bytes.div_ceil(64).max(1)])
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut buffer = Self::new(bytes.len());
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        buffer
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: lines are arrays of bytes without gaps.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&*self.0)) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let size = size_of_val(&*self.0);
        // SAFETY: lines are arrays of bytes without gaps.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), size) }
    }

    /// Where it begins. What is read and written through it must not be borrowed at that time.
    pub(super) fn address(&self) -> *mut u8 {
        self.0.as_ptr().cast::<u8>().cast_mut()
    }
}

/// A value in memory, as an argument of a primitive. Whoever made it keeps the memory alive.
pub(super) struct Memory {
    library: &'static OneDnn,
    pub(super) raw: *mut ffi::Memory,
}

// SAFETY: it is a descriptor and an address; whoever executes a primitive with it answers for the memory.
unsafe impl Send for Memory {}

impl Memory {
    /// # Errors
    /// When memory runs out.
    pub(super) fn new(desc: &Desc, address: *mut u8) -> Result<Self> {
        let library = desc.library;
        let mut raw = null_mut();
        // SAFETY: a descriptor, the engine, and an address that is not read here.
        let status = unsafe {
            (library.functions.memory_create)(&mut raw, desc.raw, library.engine, address.cast())
        };
        library.check("memory", status)?;
        Ok(Self { library, raw })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is owned, and not used again.
        unsafe { (self.library.functions.memory_destroy)(self.raw) };
    }
}
