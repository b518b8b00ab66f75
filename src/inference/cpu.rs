//! What the processor can do with short numbers.

/// The instructions that decide which precision is fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cpu {
    /// AVX512-BF16 or AMX-BF16: products of bfloat16 pairs.
    pub bfloat16: bool,
    /// AVX512-VNNI, AVX-VNNI or AMX-INT8: sums of four 8-bit products. Without them 8-bit
    /// products go through 16-bit sums, which are slower and may saturate.
    pub int8: bool,
    /// AMX tiles.
    pub amx: bool,
}

impl Cpu {
    /// Looks at the processor that the program runs on, and leaves out what oneDNN was told not to
    /// use. AMX counts when the system lets programs use it; it is told by Linux only.
    pub fn detect() -> Self {
        let (found, allowed) = (Self::of_processor(), Self::allowed(&max_isa()));
        Self {
            bfloat16: found.bfloat16 && allowed.bfloat16,
            int8: found.int8 && allowed.int8,
            amx: found.amx && allowed.amx,
        }
    }

    /// What there may be below an instruction set of [`max_isa`].
    fn allowed(isa: &str) -> Self {
        let (bfloat16, int8, amx) = match isa {
            "sse41" | "avx" | "avx2" | "avx512_core" => (false, false, false),
            "avx2_vnni" | "avx512_core_vnni" => (false, true, false),
            "avx2_vnni_2" | "avx512_core_bf16" | "avx512_core_fp16" | "avx10_1_512" => {
                (true, true, false)
            }
            _ => (true, true, true),
        };
        Self {
            bfloat16,
            int8,
            amx,
        }
    }

    fn of_processor() -> Self {
        let amx = |tile: &str| {
            let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            let first = flags.lines().find(|line| line.starts_with("flags"));
            first.is_some_and(|line| line.split(' ').any(|flag| flag == tile))
        };
        #[cfg(target_arch = "x86_64")]
        let (bfloat16, int8) = (
            is_x86_feature_detected!("avx512bf16"),
            is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"),
        );
        // Arm kernels with dot products are common, and nothing is known of the rest.
        #[cfg(not(target_arch = "x86_64"))]
        let (bfloat16, int8) = (false, false);
        let tiles = amx("amx_tile");
        Self {
            bfloat16: bfloat16 || (tiles && amx("amx_bf16")),
            int8: int8 || (tiles && amx("amx_int8")),
            amx: tiles,
        }
    }
}

/// The newest instruction set that oneDNN may use, in lower case, empty without a limit: it has its
/// own look at the processor, and `ONEDNN_MAX_CPU_ISA` bounds it.
fn max_isa() -> String {
    let names = ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"];
    let values = names
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let mut set = values.filter(|value| !value.is_empty());
    set.next().unwrap_or_default().to_ascii_lowercase()
}

/// Whether oneDNN's limit leaves it convolutions in bfloat16, by instructions or by shifts.
pub(super) fn bfloat16_is_within_limit() -> bool {
    !["sse41", "avx", "avx2", "avx2_vnni"].contains(&&*max_isa())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_onednn_may_not_use_is_not_there() {
        let all = Cpu {
            bfloat16: true,
            int8: true,
            amx: true,
        };
        assert_eq!(Cpu::allowed(""), all);
        assert_eq!(Cpu::allowed("avx512_core_amx"), all);
        assert_eq!(Cpu::allowed("avx2"), Cpu::default());
        assert!(!Cpu::allowed("avx512_core_vnni").bfloat16);
        assert!(Cpu::allowed("avx512_core_bf16").bfloat16);
    }
}
