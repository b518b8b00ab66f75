//! Which operators this libtorch and this processor have, found out by asking for them.

use std::sync::OnceLock;

use tch::IValue;

use super::archive::Module;
use super::loaded::Loaded;
use crate::device::Device;
use crate::inference::cpu::bfloat16_is_within_limit;

/// Whether this libtorch has oneDNN's fused operators: it can compile code that names them.
pub(super) fn has_fused() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let probe = "
  def forward(self: __torch__.Net, x: Tensor) -> Tensor:
    y = ops.mkldnn._convolution_pointwise(x, x, None, [0, 0], [1, 1], [1, 1], 1, \"none\", annotate(List[Optional[number]], []), None)
    z = ops.onednn.qlinear_prepack(y, [1, 1])
    return ops.quantized.max_pool2d(z, [1, 1], [1, 1], [0, 0], [1, 1], False)
";
        let probe = Module::of_methods(probe);
        cfg!(target_arch = "x86_64") && Loaded::compile(probe, Device::Cpu).is_ok()
    })
}

/// Whether oneDNN computes in bfloat16 on this processor.
pub(crate) fn has_bfloat16() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let probe = "
  def forward(self: __torch__.Net) -> bool:
    return ops.mkldnn._is_mkldnn_bf16_supported()
";
        let answer = Loaded::compile(Module::of_methods(probe), Device::Cpu)
            .and_then(|loaded| loaded.call("forward", &[]));
        matches!(answer, Ok(IValue::Bool(true))) && bfloat16_is_within_limit()
    })
}
