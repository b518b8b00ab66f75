//! oneDNN's C API, version 3, as far as plans need it: types, constants, and its functions in a library that
//! is opened at run time. <https://uxlfoundation.github.io/oneDNN/group_dnnl_api.html>

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;

/// Declares opaque types that are only pointed to.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(#[repr(C)] pub(super) struct $name { _private: [u8; 0] })*
    };
}

opaque! { Engine Stream MemoryDesc Memory Attributes PostOps PrimitiveDesc Primitive }

pub(super) type Status = c_int;
pub(super) type Dims = [i64; MAX_NDIMS];

pub(super) const MAX_NDIMS: usize = 12;
pub(super) const SUCCESS: Status = 0;
pub(super) const OUT_OF_MEMORY: Status = 1;
pub(super) const UNIMPLEMENTED: Status = 3;

pub(super) const CPU: c_int = 1;
pub(super) const STREAM_IN_ORDER: c_uint = 1;
pub(super) const FORWARD_INFERENCE: c_int = 96;
pub(super) const SCRATCHPAD_OF_USER: c_int = 1;
pub(super) const ANY_FORMAT: c_int = 1;
pub(super) const OPENMP: c_uint = 2;

pub(super) const CONVOLUTION_DIRECT: c_int = 1;
pub(super) const MAX_POOLING: c_int = 511;
pub(super) const AVERAGE_POOLING_WITH_PADDING: c_int = 767;
pub(super) const ADD: c_int = 131_056;
pub(super) const MULTIPLY: c_int = 131_057;
pub(super) const SOFTMAX: c_int = 196_608;

pub(super) const RELU: c_int = 32;
pub(super) const LINEAR: c_int = 38;
pub(super) const HARDSIGMOID: c_int = 40;
pub(super) const LOGISTIC: c_int = 41;
pub(super) const SWISH: c_int = 44;
pub(super) const CLIP: c_int = 46;
pub(super) const GELU_ERF: c_int = 49;
pub(super) const HARDSWISH: c_int = 52;

pub(super) const USE_GLOBAL_STATS: c_uint = 1;
pub(super) const USE_SCALE: c_uint = 2;
pub(super) const USE_SHIFT: c_uint = 4;

pub(super) const QUERY_IMPLEMENTATION: c_int = 8;
pub(super) const QUERY_WEIGHTS: c_int = 131;
pub(super) const QUERY_SCRATCHPAD: c_int = 136;

pub(super) const SRC: c_int = 1;
pub(super) const SRC_1: c_int = 2;
pub(super) const DST: c_int = 17;
pub(super) const WEIGHTS: c_int = 33;
pub(super) const BIAS: c_int = 41;
pub(super) const MEAN: c_int = 49;
pub(super) const VARIANCE: c_int = 50;
pub(super) const SCALE: c_int = 51;
pub(super) const SHIFT: c_int = 52;
pub(super) const SCRATCHPAD: c_int = 80;
pub(super) const SCALES_OF: c_int = 4096;
pub(super) const ZERO_POINTS_OF: c_int = 8192;

#[repr(C)]
pub(super) struct Version {
    pub(super) major: c_int,
    pub(super) minor: c_int,
    pub(super) patch: c_int,
    pub(super) hash: *const c_char,
    pub(super) cpu_runtime: c_uint,
    pub(super) gpu_runtime: c_uint,
}

/// An argument of a primitive: what it is to it, and its memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Argument {
    pub(super) role: c_int,
    pub(super) memory: *mut Memory,
}

/// Declares the table of functions and how it is filled.
macro_rules! functions {
    ($($name:ident: $symbol:literal ($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions, which may be called as long as this lives.
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> $result,)*
            _library: Library,
        }

        impl Functions {
            /// Opens a library, if its version will do.
            ///
            /// # Errors
            /// Why it can't be loaded, what is wrong with its version, or which function it lacks.
            pub(super) fn open(
                path: &Path,
                check: impl FnOnce(&Version) -> Result<(), String>,
            ) -> Result<Self, String> {
                // The loader's own words are the cause's cause.
                let said = |cause: libloading::Error| format!("{:#}", anyhow::Error::from(cause));
                // SAFETY: only the constructors of a library by the name of oneDNN run, as they would if it
                // had been linked; it is never closed while a function is in use.
                let library = unsafe { Library::new(path) }.map_err(said)?;
                // SAFETY: it has had this signature in every release, and what it gives is never freed.
                let version = unsafe {
                    let version = library.get::<unsafe extern "C" fn() -> *const Version>(VERSION);
                    &*(version.map_err(said)?)()
                };
                check(version)?;
                Ok(Self {
                    // SAFETY: the signatures are those of the public headers of oneDNN 3, which keeps them
                    // within a major version.
                    $($name: unsafe { *library.get($symbol).map_err(said)? },)*
                    _library: library,
                })
            }
        }
    };
}

type Created<T> = *mut *mut T;

const VERSION: &[u8] = b"dnnl_version\0";

functions! {
    effective_isa: b"dnnl_get_effective_cpu_isa\0" () -> c_uint;
    max_threads: b"omp_get_max_threads\0" () -> c_int;
    set_threads: b"omp_set_num_threads\0" (c_int) -> ();
    engine_create: b"dnnl_engine_create\0" (Created<Engine>, c_int, usize) -> Status;
    stream_create: b"dnnl_stream_create\0" (Created<Stream>, *mut Engine, c_uint) -> Status;
    stream_wait: b"dnnl_stream_wait\0" (*mut Stream) -> Status;
    stream_destroy: b"dnnl_stream_destroy\0" (*mut Stream) -> Status;
    desc_of_format: b"dnnl_memory_desc_create_with_tag\0"
        (Created<MemoryDesc>, c_int, *const i64, c_int, c_int) -> Status;
    desc_of_strides: b"dnnl_memory_desc_create_with_strides\0"
        (Created<MemoryDesc>, c_int, *const i64, c_int, *const i64) -> Status;
    desc_clone: b"dnnl_memory_desc_clone\0" (Created<MemoryDesc>, *const MemoryDesc) -> Status;
    desc_equal: b"dnnl_memory_desc_equal\0" (*const MemoryDesc, *const MemoryDesc) -> c_int;
    desc_size: b"dnnl_memory_desc_get_size\0" (*const MemoryDesc) -> usize;
    desc_destroy: b"dnnl_memory_desc_destroy\0" (*mut MemoryDesc) -> Status;
    memory_create: b"dnnl_memory_create\0"
        (Created<Memory>, *const MemoryDesc, *mut Engine, *mut c_void) -> Status;
    memory_destroy: b"dnnl_memory_destroy\0" (*mut Memory) -> Status;
    attributes_create: b"dnnl_primitive_attr_create\0" (Created<Attributes>) -> Status;
    attributes_destroy: b"dnnl_primitive_attr_destroy\0" (*mut Attributes) -> Status;
    set_scratchpad_mode: b"dnnl_primitive_attr_set_scratchpad_mode\0"
        (*mut Attributes, c_int) -> Status;
    set_scales_mask: b"dnnl_primitive_attr_set_scales_mask\0"
        (*mut Attributes, c_int, c_int) -> Status;
    set_zero_points_mask: b"dnnl_primitive_attr_set_zero_points_mask\0"
        (*mut Attributes, c_int, c_int) -> Status;
    set_post_ops: b"dnnl_primitive_attr_set_post_ops\0" (*mut Attributes, *const PostOps) -> Status;
    post_ops_create: b"dnnl_post_ops_create\0" (Created<PostOps>) -> Status;
    post_ops_destroy: b"dnnl_post_ops_destroy\0" (*mut PostOps) -> Status;
    append_sum: b"dnnl_post_ops_append_sum\0" (*mut PostOps, f32, i32, c_int) -> Status;
    append_eltwise: b"dnnl_post_ops_append_eltwise\0" (*mut PostOps, c_int, f32, f32) -> Status;
    convolution: b"dnnl_convolution_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, c_int, *const MemoryDesc, *const MemoryDesc,
         *const MemoryDesc, *const MemoryDesc, *const i64, *const i64, *const i64, *const i64,
         *const Attributes) -> Status;
    inner_product: b"dnnl_inner_product_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, *const MemoryDesc, *const MemoryDesc,
         *const MemoryDesc, *const MemoryDesc, *const Attributes) -> Status;
    matmul: b"dnnl_matmul_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, *const MemoryDesc, *const MemoryDesc, *const MemoryDesc,
         *const MemoryDesc, *const Attributes) -> Status;
    pooling: b"dnnl_pooling_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, c_int, *const MemoryDesc, *const MemoryDesc,
         *const i64, *const i64, *const i64, *const i64, *const i64, *const Attributes) -> Status;
    eltwise: b"dnnl_eltwise_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, c_int, *const MemoryDesc, *const MemoryDesc, f32,
         f32, *const Attributes) -> Status;
    binary: b"dnnl_binary_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, *const MemoryDesc, *const MemoryDesc,
         *const MemoryDesc, *const Attributes) -> Status;
    batch_normalization: b"dnnl_batch_normalization_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, *const MemoryDesc, *const MemoryDesc, f32, c_uint,
         *const Attributes) -> Status;
    layer_normalization: b"dnnl_layer_normalization_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, *const MemoryDesc, *const MemoryDesc,
         *const MemoryDesc, f32, c_uint, *const Attributes) -> Status;
    softmax: b"dnnl_softmax_forward_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *mut Engine, c_int, c_int, *const MemoryDesc, *const MemoryDesc, c_int,
         *const Attributes) -> Status;
    reorder: b"dnnl_reorder_primitive_desc_create\0"
        (Created<PrimitiveDesc>, *const MemoryDesc, *mut Engine, *const MemoryDesc, *mut Engine,
         *const Attributes) -> Status;
    primitive_desc_query: b"dnnl_primitive_desc_query\0"
        (*const PrimitiveDesc, c_int, c_int, *mut c_void) -> Status;
    primitive_desc_query_desc: b"dnnl_primitive_desc_query_md\0"
        (*const PrimitiveDesc, c_int, c_int) -> *const MemoryDesc;
    primitive_desc_destroy: b"dnnl_primitive_desc_destroy\0" (*mut PrimitiveDesc) -> Status;
    primitive_create: b"dnnl_primitive_create\0" (Created<Primitive>, *const PrimitiveDesc) -> Status;
    primitive_execute: b"dnnl_primitive_execute\0"
        (*const Primitive, *mut Stream, c_int, *const Argument) -> Status;
    primitive_destroy: b"dnnl_primitive_destroy\0" (*mut Primitive) -> Status;
}
