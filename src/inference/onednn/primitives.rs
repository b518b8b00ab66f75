//! Primitives: kernels that oneDNN compiles for shapes, types and a number of threads.

use std::ptr::{null, null_mut};

use super::attributes::{Attributes, Eltwise, Settings};
use super::ffi::{self, Status};
use super::library::{OneDnn, text};
use super::memory::Desc;
use crate::error::Result;

/// A compiled kernel. It runs on several threads at a time, each with memory of its own.
pub(super) struct Primitive {
    library: &'static OneDnn,
    pub(super) raw: *mut ffi::Primitive,
    /// The order in which it takes its weights, if it has any.
    pub(super) weights: Option<Desc>,
    pub(super) scratchpad: Desc,
    /// oneDNN's name of the implementation, e.g. `brgconv:avx512_core_amx`.
    pub(super) implementation: String,
}

// SAFETY: primitives are immutable, and those whose scratchpad is the user's keep nothing between calls:
// <https://uxlfoundation.github.io/oneDNN/dev_guide_attributes_scratchpad.html>.
unsafe impl Send for Primitive {}
// SAFETY: as above.
unsafe impl Sync for Primitive {}

/// A window that moves over a map, for height and width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub(super) strides: [usize; 2],
    /// 0 for pixels that touch.
    pub(super) dilations: [usize; 2],
    /// Above and to the left.
    pub(super) before: [usize; 2],
    /// Below and to the right.
    pub(super) after: [usize; 2],
}

impl Primitive {
    /// # Errors
    /// When oneDNN has only a reference implementation of it, a hundred times slower, or none.
    pub(super) fn convolution(
        src: &Desc,
        weights: &Desc,
        bias: Option<&Desc>,
        dst: &Desc,
        window: &Window,
        settings: &Settings,
    ) -> Result<Self> {
        let [strides, dilations, before, after] = window.numbers();
        let made = Self::of("a convolution", settings, |library, made, attributes| {
            // SAFETY: descriptors that are alive, two numbers for each of height and width.
            unsafe {
                (library.functions.convolution)(
                    made,
                    library.engine,
                    ffi::FORWARD_INFERENCE,
                    ffi::CONVOLUTION_DIRECT,
                    src.raw,
                    weights.raw,
                    bias.map_or(null(), |bias| bias.raw.cast_const()),
                    dst.raw,
                    strides.as_ptr(),
                    dilations.as_ptr(),
                    before.as_ptr(),
                    after.as_ptr(),
                    attributes,
                )
            }
        })?;
        made.fast("a convolution")
    }

    /// `x W^T + b` for each row.
    ///
    /// # Errors
    /// As [`Primitive::convolution`].
    pub(super) fn inner_product(
        [src, weights, bias, dst]: [&Desc; 4],
        settings: &Settings,
    ) -> Result<Self> {
        let made = Self::of("a linear layer", settings, |library, made, attributes| {
            // SAFETY: descriptors that are alive.
            unsafe {
                (library.functions.inner_product)(
                    made,
                    library.engine,
                    ffi::FORWARD_INFERENCE,
                    src.raw,
                    weights.raw,
                    bias.raw,
                    dst.raw,
                    attributes,
                )
            }
        })?;
        made.fast("a linear layer")
    }

    /// Products of matrices.
    ///
    /// # Errors
    /// As [`Primitive::convolution`].
    pub(super) fn matmul([src, weights, dst]: [&Desc; 3], settings: &Settings) -> Result<Self> {
        let made = Self::of("a matrix product", settings, |library, made, attributes| {
            // SAFETY: descriptors that are alive; there is no bias.
            unsafe {
                (library.functions.matmul)(
                    made,
                    library.engine,
                    src.raw,
                    weights.raw,
                    null(),
                    dst.raw,
                    attributes,
                )
            }
        })?;
        made.fast("a matrix product")
    }

    /// Largest values, or means that count padding as zeros.
    ///
    /// # Errors
    /// When oneDNN has none for these.
    pub(super) fn pooling(
        algorithm: i32,
        [src, dst]: [&Desc; 2],
        kernel: [usize; 2],
        window: &Window,
    ) -> Result<Self> {
        let [strides, dilations, before, after] = window.numbers();
        let kernel = kernel.map(|side| side as i64);
        Self::of(
            "pooling",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive, two numbers for each of height and width.
                unsafe {
                    (library.functions.pooling)(
                        made,
                        library.engine,
                        ffi::FORWARD_INFERENCE,
                        algorithm,
                        src.raw,
                        dst.raw,
                        strides.as_ptr(),
                        kernel.as_ptr(),
                        dilations.as_ptr(),
                        before.as_ptr(),
                        after.as_ptr(),
                        attributes,
                    )
                }
            },
        )
    }

    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn eltwise(function: Eltwise, [src, dst]: [&Desc; 2]) -> Result<Self> {
        let Eltwise {
            algorithm,
            alpha,
            beta,
        } = function;
        Self::of(
            "an activation",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive.
                unsafe {
                    (library.functions.eltwise)(
                        made,
                        library.engine,
                        ffi::FORWARD_INFERENCE,
                        algorithm,
                        src.raw,
                        dst.raw,
                        alpha,
                        beta,
                        attributes,
                    )
                }
            },
        )
    }

    /// Sums or products; dimensions of 1 of the second value are repeated.
    ///
    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn binary(algorithm: i32, [a, b, dst]: [&Desc; 3]) -> Result<Self> {
        Self::of(
            "a sum or product",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive.
                unsafe {
                    (library.functions.binary)(
                        made,
                        library.engine,
                        algorithm,
                        a.raw,
                        b.raw,
                        dst.raw,
                        attributes,
                    )
                }
            },
        )
    }

    /// By running statistics, with scale and shift.
    ///
    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn batch_normalization([src, dst]: [&Desc; 2], eps: f32) -> Result<Self> {
        let flags = ffi::USE_GLOBAL_STATS | ffi::USE_SCALE | ffi::USE_SHIFT;
        Self::of(
            "batch normalisation",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive.
                unsafe {
                    (library.functions.batch_normalization)(
                        made,
                        library.engine,
                        ffi::FORWARD_INFERENCE,
                        src.raw,
                        dst.raw,
                        eps,
                        flags,
                        attributes,
                    )
                }
            },
        )
    }

    /// Over the last dimension, with scale and shift.
    ///
    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn layer_normalization([src, dst]: [&Desc; 2], eps: f32) -> Result<Self> {
        let flags = ffi::USE_SCALE | ffi::USE_SHIFT;
        Self::of(
            "layer normalisation",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive; the statistics are not kept.
                unsafe {
                    (library.functions.layer_normalization)(
                        made,
                        library.engine,
                        ffi::FORWARD_INFERENCE,
                        src.raw,
                        dst.raw,
                        null(),
                        eps,
                        flags,
                        attributes,
                    )
                }
            },
        )
    }

    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn softmax([src, dst]: [&Desc; 2], axis: usize) -> Result<Self> {
        Self::of(
            "softmax",
            &Settings::default(),
            |library, made, attributes| {
                // SAFETY: descriptors that are alive.
                unsafe {
                    (library.functions.softmax)(
                        made,
                        library.engine,
                        ffi::FORWARD_INFERENCE,
                        ffi::SOFTMAX,
                        src.raw,
                        dst.raw,
                        axis as i32,
                        attributes,
                    )
                }
            },
        )
    }

    /// Copies into another order, type or scale.
    ///
    /// # Errors
    /// As [`Primitive::pooling`].
    pub(super) fn reorder([src, dst]: [&Desc; 2], settings: &Settings) -> Result<Self> {
        Self::of("a copy", settings, |library, made, attributes| {
            // SAFETY: descriptors that are alive, on the one engine.
            unsafe {
                (library.functions.reorder)(
                    made,
                    src.raw,
                    library.engine,
                    dst.raw,
                    library.engine,
                    attributes,
                )
            }
        })
    }

    fn of(
        what: &str,
        settings: &Settings,
        describe: impl FnOnce(
            &'static OneDnn,
            *mut *mut ffi::PrimitiveDesc,
            *const ffi::Attributes,
        ) -> Status,
    ) -> Result<Self> {
        let library = OneDnn::get()?;
        let functions = &library.functions;
        let attributes = Attributes::new(settings)?;
        let mut described = Described {
            library,
            raw: null_mut(),
        };
        library.check(what, describe(library, &mut described.raw, attributes.raw))?;
        let mut raw = null_mut();
        // SAFETY: the description was just made.
        let status = unsafe { (functions.primitive_create)(&mut raw, described.raw) };
        library.check(what, status)?;
        // Owned from here on.
        let mut made = Self {
            library,
            raw,
            weights: None,
            scratchpad: Desc::dense(super::memory::Kind::Uint8, &[1])?,
            implementation: described.implementation(),
        };
        made.weights = described.desc(ffi::QUERY_WEIGHTS)?;
        if let Some(scratchpad) = described.desc(ffi::QUERY_SCRATCHPAD)? {
            made.scratchpad = scratchpad;
        }
        Ok(made)
    }

    /// The primitive, unless it is a reference implementation.
    fn fast(self, what: &str) -> Result<Self> {
        anyhow::ensure!(
            !self.implementation.starts_with("ref"),
            "oneDNN {} has only a reference implementation of {what}",
            self.library
        );
        Ok(self)
    }
}

impl Drop for Primitive {
    fn drop(&mut self) {
        // SAFETY: it is owned, and not used again.
        unsafe { (self.library.functions.primitive_destroy)(self.raw) };
    }
}

/// A primitive's description, of which it was made.
struct Described {
    library: &'static OneDnn,
    raw: *mut ffi::PrimitiveDesc,
}

impl Described {
    /// A descriptor that the primitive chose; `None` where it has none.
    fn desc(&self, what: i32) -> Result<Option<Desc>> {
        // SAFETY: the description is alive.
        let found =
            unsafe { (self.library.functions.primitive_desc_query_desc)(self.raw, what, 0) };
        if found.is_null() {
            return Ok(None);
        }
        // SAFETY: a descriptor that the description owns.
        unsafe { Desc::copied(found) }.map(Some)
    }

    fn implementation(&self) -> String {
        let mut name: *const std::ffi::c_char = null();
        // SAFETY: the query gives the address of a string.
        let status = unsafe {
            let place = (&raw mut name).cast();
            (self.library.functions.primitive_desc_query)(
                self.raw,
                ffi::QUERY_IMPLEMENTATION,
                0,
                place,
            )
        };
        match status {
            ffi::SUCCESS => text(name),
            _ => String::new(),
        }
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: it is owned, and null is allowed.
        unsafe { (self.library.functions.primitive_desc_destroy)(self.raw) };
    }
}

impl Window {
    /// Pixels that touch, without padding.
    pub(super) fn sliding(stride: usize) -> Self {
        Self {
            strides: [stride; 2],
            dilations: [0; 2],
            before: [0; 2],
            after: [0; 2],
        }
    }

    fn numbers(&self) -> [[i64; 2]; 4] {
        let sides = [self.strides, self.dilations, self.before, self.after];
        sides.map(|sides| sides.map(|side| side as i64))
    }
}
