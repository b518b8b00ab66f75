//! Between host memory and libtorch.

use tch::{Kind, TchError, Tensor};

use crate::device::Device;
use crate::error::Result;
use crate::torch::of_host;
pub(super) use crate::torch::torch;
use crate::weights;
use crate::weights::Values;

/// A tensor in host memory as a libtorch tensor; four-dimensional ones in channels-last order.
pub(super) fn to_device(tensor: &weights::Tensor, device: tch::Device) -> Result<Tensor> {
    let there = torch(of_host(tensor)?.f_to_device(device))?;
    if tensor.shape.len() == 4 {
        channels_last(&there)
    } else {
        Ok(there)
    }
}

/// A float32 or int64 libtorch tensor in host memory, row-major.
pub(super) fn to_host(tensor: &Tensor) -> Result<weights::Tensor> {
    let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
    let count = shape.iter().product();
    let here = torch(
        tensor
            .f_detach()
            .and_then(|t| t.f_to_device(tch::Device::Cpu)),
    )?;
    let here = torch(here.f_contiguous())?;
    let values = match here.kind() {
        Kind::Int64 => {
            let mut values = vec![0i64; count];
            torch(here.f_copy_data(&mut values, count))?;
            Values::I64(values)
        }
        _ => {
            let mut values = vec![0f32; count];
            torch(here.f_copy_data(&mut values, count))?;
            Values::F32(values)
        }
    };
    Ok(weights::Tensor { shape, values })
}

/// The same `(n, c, h, w)` tensor with the channels innermost in memory.
pub(super) fn channels_last(x: &Tensor) -> Result<Tensor> {
    torch(
        x.f_permute([0, 2, 3, 1])
            .and_then(|x| x.f_contiguous())
            .and_then(|x| x.f_permute([0, 3, 1, 2])),
    )
}

/// A copy without gradient, in the same order in memory.
pub(super) fn copied(x: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = x.f_detach()?.f_zeros_like()?;
    copy.f_copy_(&x.f_detach()?)?;
    Ok(copy)
}

/// Class ids as int64 `(n)`.
pub(super) fn labels(labels: &[i64], device: Device) -> Result<Tensor> {
    torch(Tensor::f_from_slice(labels).and_then(|x| x.f_to_device(device.into())))
}
