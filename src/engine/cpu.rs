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
    /// Looks at the processor that the program runs on. AMX counts when the system lets programs
    /// use it; it is told by Linux only.
    pub fn detect() -> Self {
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
