//! Between host memory and libtorch, and from libtorch's errors to ours.

use tch::{Device, TchError, Tensor};

use crate::error::{OutOfMemory, Result};
use crate::weights;
use crate::weights::Values;

/// A tensor in host memory as a row-major libtorch tensor.
pub(crate) fn of_host(tensor: &weights::Tensor) -> Result<Tensor> {
    let shape: Vec<i64> = tensor.shape.iter().map(|&side| side as i64).collect();
    let flat = match &tensor.values {
        Values::F32(values) => Tensor::f_from_slice(values),
        Values::I64(values) => Tensor::f_from_slice(values),
        Values::I32(values) => Tensor::f_from_slice(values),
        Values::I8(values) => Tensor::f_from_slice(values),
        Values::U8(values) => Tensor::f_from_slice(values),
    };
    torch(flat.and_then(|flat| flat.f_reshape(&shape)))
}

/// Appends the elements of a float32 tensor, row-major.
///
/// # Errors
/// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
pub(crate) fn append(tensor: &Tensor, values: &mut Vec<f32>) -> Result<()> {
    let here = torch(
        tensor
            .f_to_device(Device::Cpu)
            .and_then(|tensor| tensor.f_contiguous()),
    )?;
    let start = values.len();
    values.resize(start + here.numel(), 0.0);
    torch(here.f_copy_data(&mut values[start..], here.numel()))
}

/// Turns a libtorch error into one of ours: what it says about memory becomes advice.
pub(crate) fn torch<T>(result: Result<T, TchError>) -> Result<T> {
    const MEMORY: [&str; 4] = [
        "out of memory",
        "not enough memory",
        "can't allocate",
        "bad_alloc",
    ];
    result.map_err(|cause| {
        // A C++ backtrace follows the first line; what TorchScript code met is said further down.
        let text = cause.to_string();
        let met = text
            .lines()
            .find_map(|line| line.strip_prefix("RuntimeError: "));
        let first = text.lines().find(|line| !line.is_empty());
        let line = met.or(first).unwrap_or_default();
        let line = line.trim_start_matches("Internal torch error: ");
        // What CUDA's allocator goes on to say is about its settings.
        let line = line.split(" Including non-PyTorch").next().unwrap_or(line);
        if line.contains("CUDA") && line.contains("out of memory") {
            let remedy = "use a smaller --batch-size or --image-size, stop what else runs on the \
                          GPU, or compute with --device cpu";
            return OutOfMemory::OfGpu.error(format!("{remedy} ({line})"));
        }
        if MEMORY.iter().any(|sign| line.contains(sign)) {
            let remedy = "use a smaller --batch-size or --image-size";
            OutOfMemory::OfMachine.error(format!("{remedy} ({line})"))
        } else {
            anyhow::anyhow!("libtorch: {line}")
        }
    })
}
