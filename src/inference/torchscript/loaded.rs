//! TorchScript as libtorch loads it.

use std::borrow::Cow;
use std::io::Cursor;

use tch::{CModule, IValue, TchError, Tensor};

use super::archive::Module;
use crate::device::Device;
use crate::error::Result;
use crate::inference::Images;
use crate::torch::{append, of_host, torch};
use crate::weights;

/// A module that libtorch can run, on several threads at a time.
pub struct Loaded {
    module: CModule,
    /// How many tensors it was filled with.
    tensors: usize,
}

impl Loaded {
    /// Loads an archive from memory, on the CPU.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn read(archive: &[u8]) -> Result<Self> {
        let module = torch(CModule::load_data(&mut Cursor::new(archive)))?;
        Ok(Self { module, tensors: 0 })
    }

    /// Loads a module that was just written, and lets it prepare its weights.
    ///
    /// # Errors
    /// When libtorch lacks one of its operators, or memory runs out.
    pub fn compile(module: Module<'_>, device: Device) -> Result<Self> {
        let device = device.into();
        let (module, tensors) = module.without_tensors();
        let mut archive = Cursor::new(module.to_bytes()?);
        let mut loaded = Self {
            module: torch(CModule::load_data_on_device(&mut archive, device))?,
            tensors: tensors.len(),
        };
        loaded.fill(&module, &tensors, device)?;
        Ok(loaded)
    }

    /// Replaces the tensors by those of another module with the same code.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn refill(&mut self, module: Module<'_>, device: Device) -> Result<()> {
        let (module, tensors) = module.without_tensors();
        self.fill(&module, &tensors, device.into())
    }

    /// Frees the tensors, until [`Loaded::refill`].
    ///
    /// # Errors
    /// When memory runs out.
    pub fn clear(&mut self) -> Result<()> {
        let empty = (0..self.tensors).map(|_| Tensor::new()).collect();
        self.call("fill", &[IValue::TensorList(empty)]).map(drop)
    }

    fn fill(
        &mut self,
        module: &Module<'_>,
        tensors: &[Cow<'_, weights::Tensor>],
        device: tch::Device,
    ) -> Result<()> {
        let there = |tensor: &Cow<'_, weights::Tensor>| torch(of_host(tensor)?.f_to_device(device));
        let tensors = tensors.iter().map(there).collect::<Result<_>>()?;
        self.call("fill", &[IValue::TensorList(tensors)])?;
        if !module.prepare.is_empty() {
            self.call("prepare", &[])?;
        }
        Ok(())
    }

    /// Calls a method.
    ///
    /// # Errors
    /// Those of its operators.
    pub fn call(&self, method: &str, arguments: &[IValue]) -> Result<IValue> {
        as_written(|| self.module.method_is(method, arguments))
    }

    /// Calls a method of one tensor that gives one.
    ///
    /// # Errors
    /// Those of its operators.
    pub fn run(&self, method: &str, x: Tensor) -> Result<Tensor> {
        as_written(|| self.module.method_ts(method, &[x]))
    }

    /// Runs `forward` on a batch: uint8 `(n, size, size, 3)`, or float32 planes `(n, 3, size, size)`.
    /// Gives float32 row-major `(n, classes)`.
    ///
    /// # Errors
    /// When libtorch can't run it on such images.
    pub fn forward(&self, images: Images<'_>, size: usize) -> Result<Vec<f32>> {
        let side = size as i64;
        let x = match images {
            Images::Rgb8(pixels) => Tensor::from_slice(pixels).f_reshape([-1, side, side, 3]),
            Images::Normalised(planes) => Tensor::from_slice(planes).f_reshape([-1, 3, side, side]),
        };
        let x = torch(x)?;
        let mut scores = Vec::new();
        append(&self.run("forward", x)?, &mut scores)?;
        Ok(scores)
    }
}

/// Runs code without gradients and without optimising it, which is a setting of each thread.
/// Profiling would make the first batches slow and find nothing to fuse on a CPU; on a GPU the fuser
/// would compile kernels for every new batch size, a second each.
fn as_written<T>(run: impl FnOnce() -> Result<T, TchError>) -> Result<T> {
    torch(tch::jit::f_set_graph_executor_optimize(false).and_then(|()| tch::no_grad(run)))
}
