//! How primitives scale their arguments, and what they do before they store.

use std::ptr::null_mut;

use super::ffi;
use super::library::OneDnn;
use crate::error::Result;
use crate::graph::Activation;

/// What a convolution does to its sums before it stores them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PostOp {
    /// Adds what is where it will store, uint8 with these quantization parameters or of the type that it
    /// stores.
    Sum {
        scale: f32,
        zero_point: i32,
    },
    Eltwise(Eltwise),
}

/// A function of one number in oneDNN's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Eltwise {
    pub(super) algorithm: i32,
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

impl From<Activation> for Eltwise {
    fn from(kind: Activation) -> Self {
        let (algorithm, alpha, beta) = match kind {
            Activation::Relu => (ffi::RELU, 0.0, 0.0),
            Activation::Relu6 => (ffi::CLIP, 0.0, 6.0),
            Activation::Hardswish => (ffi::HARDSWISH, 1.0 / 6.0, 0.5),
            Activation::Hardsigmoid => (ffi::HARDSIGMOID, 1.0 / 6.0, 0.5),
            Activation::Silu => (ffi::SWISH, 1.0, 0.0),
            Activation::Sigmoid => (ffi::LOGISTIC, 0.0, 0.0),
            Activation::Gelu => (ffi::GELU_ERF, 0.0, 0.0),
        };
        Self {
            algorithm,
            alpha,
            beta,
        }
    }
}

/// How a primitive scales its arguments, and what it does before it stores.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Arguments with scales, and over which dimensions these vary, as bits.
    pub(super) scales: Vec<(i32, i32)>,
    /// Arguments with one zero point.
    pub(super) zero_points: Vec<i32>,
    pub(super) post_ops: Vec<PostOp>,
}

/// Attributes and post-operations in oneDNN's memory.
pub(super) struct Attributes {
    library: &'static OneDnn,
    pub(super) raw: *mut ffi::Attributes,
    post_ops: *mut ffi::PostOps,
}

impl Attributes {
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let library = OneDnn::get()?;
        let functions = &library.functions;
        let mut made = Self {
            library,
            raw: null_mut(),
            post_ops: null_mut(),
        };
        let check = |status| library.check("attributes", status);
        // SAFETY: each call gets what was made before it, or a place for its result.
        unsafe {
            check((functions.attributes_create)(&mut made.raw))?;
            check((functions.post_ops_create)(&mut made.post_ops))?;
            check((functions.set_scratchpad_mode)(
                made.raw,
                ffi::SCRATCHPAD_OF_USER,
            ))?;
            for &(argument, mask) in &settings.scales {
                check((functions.set_scales_mask)(made.raw, argument, mask))?;
            }
            for &argument in &settings.zero_points {
                check((functions.set_zero_points_mask)(made.raw, argument, 0))?;
            }
            for &post_op in &settings.post_ops {
                check(match post_op {
                    // 0 is no type: that of what is stored.
                    PostOp::Sum { scale, zero_point } => {
                        (functions.append_sum)(made.post_ops, scale, zero_point, 0)
                    }
                    PostOp::Eltwise(Eltwise {
                        algorithm,
                        alpha,
                        beta,
                    }) => (functions.append_eltwise)(made.post_ops, algorithm, alpha, beta),
                })?;
            }
            check((functions.set_post_ops)(made.raw, made.post_ops))?;
        }
        Ok(made)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        let functions = &self.library.functions;
        // SAFETY: both are owned, and null is allowed.
        unsafe {
            (functions.post_ops_destroy)(self.post_ops);
            (functions.attributes_destroy)(self.raw);
        }
    }
}
