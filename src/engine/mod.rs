//! Runs networks fast: compiles a graph to TorchScript for this CPU, and runs it.
//!
//! libtorch's fast CPU kernels are operators that only TorchScript code can name. A [`Session`]
//! therefore rewrites a model's graph ([`crate::graph::passes`]), writes a TorchScript archive of
//! it in memory ([`compile`]), and lets libtorch load it.

pub mod compile;
pub mod cpu;
mod loaded;
mod normalise;
mod operators;
mod precision;
mod predictions;
mod session;
mod tensors;
pub mod torchscript;

pub use cpu::Cpu;
pub use loaded::Loaded;
pub use normalise::Normalise;
pub use precision::{Arithmetic, Kernels, Precision, Target};
pub use predictions::predictions;
pub use session::{NotFinite, Options, Pictures, Session, Values, network_of, use_threads};
pub use tensors::{of_host, torch};
