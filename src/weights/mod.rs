//! Parameters on the host: tensors by name, and the files that hold them.

pub mod pickle;
pub mod pth;
pub mod safetensors;
pub mod tensor;

pub use tensor::{StateDict, Tensor, Values};
