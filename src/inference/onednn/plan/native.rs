//! What oneDNN has no fast kernel for.

use crate::error::Result;
use crate::graph::QuantizationParameters;

/// A loop over values in a context's memory. Its operands are given by their offsets.
pub(super) enum Native {
    /// float32 means `(images, channels)` over the pixels of uint8 maps with the channels innermost, as real
    /// numbers. Operands: maps, means.
    Mean {
        images: usize,
        pixels: usize,
        channels: usize,
        qparams: QuantizationParameters,
    },
    /// float32 values rounded to uint8 with the quantization parameters that cover them. Operands: values,
    /// integers, their scale, their int32 zero point.
    Round { values: usize },
}

impl Native {
    pub(super) fn run(
        &self,
        memory: &mut [u8],
        mut places: impl Iterator<Item = usize>,
    ) -> Result<()> {
        let mut part = |bytes: usize| {
            let start = places.next().unwrap_or(memory.len());
            start..start + bytes
        };
        match self {
            Self::Mean {
                images,
                pixels,
                channels,
                qparams,
            } => {
                let parts = [
                    part(images * pixels * channels),
                    part(4 * images * channels),
                ];
                let [maps, means] = memory.get_disjoint_mut(parts)?;
                let maps = maps.chunks_exact(pixels * channels);
                for (map, means) in maps.zip(means.chunks_exact_mut(4 * channels)) {
                    mean(map, *qparams, means);
                }
            }
            Self::Round { values } => {
                let parts = [part(4 * values), part(*values), part(4), part(4)];
                let [real, integers, scale, zero_point] = memory.get_disjoint_mut(parts)?;
                let found = round(real.as_chunks().0, integers);
                scale.copy_from_slice(&found.scale.to_ne_bytes());
                zero_point.copy_from_slice(&i32::from(found.zero_point).to_ne_bytes());
            }
        }
        Ok(())
    }
}

/// float32 means of a map's channels, as bytes.
fn mean(map: &[u8], qparams: QuantizationParameters, means: &mut [u8]) {
    /// Channels whose sums stay in registers.
    const BLOCK: usize = 64;
    let channels = means.len() / 4;
    let pixels = map.len() / channels.max(1);
    let factor = qparams.scale / pixels as f32;
    let zero = (pixels * usize::from(qparams.zero_point)) as f32;
    for first in (0..channels).step_by(BLOCK) {
        let mut sums = [0_u32; BLOCK];
        let block = BLOCK.min(channels - first);
        for pixel in map.chunks_exact(channels) {
            for (sum, &q) in sums.iter_mut().zip(&pixel[first..first + block]) {
                *sum += u32::from(q);
            }
        }
        let places = means[4 * first..].as_chunks_mut().0;
        for (place, sum) in places.iter_mut().zip(&sums[..block]) {
            *place = ((*sum as f32 - zero) * factor).to_ne_bytes();
        }
    }
}

/// Rounds float32 numbers; gives the quantization parameters that cover them.
fn round(real: &[[u8; 4]], integers: &mut [u8]) -> QuantizationParameters {
    let numbers = || real.iter().map(|&bytes| f32::from_ne_bytes(bytes));
    let (low, high) = numbers().fold((0.0_f32, 0.0_f32), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    let qparams = QuantizationParameters::covering(low, high);
    for (q, x) in integers.iter_mut().zip(numbers()) {
        *q = qparams.quantize(x);
    }
    qparams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_each_channel() {
        let qparams = QuantizationParameters {
            scale: 0.5,
            zero_point: 2,
        };
        let work = Native::Mean {
            images: 2,
            pixels: 2,
            channels: 3,
            qparams,
        };
        let mut memory = vec![0; 64];
        memory[..12].copy_from_slice(&[2, 3, 4, 4, 5, 6, 0, 0, 0, 255, 1, 2]);
        work.run(&mut memory, [0, 16].into_iter()).unwrap();
        let means = memory[16..40].as_chunks().0.iter();
        let means: Vec<f32> = means.map(|&bytes| f32::from_ne_bytes(bytes)).collect();
        assert_eq!(means, [0.5, 1.0, 1.5, 62.75, -0.75, -0.5]);
    }

    #[test]
    fn rounded_values_are_covered() {
        let mut memory = vec![0; 64];
        for (place, x) in memory
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip([-1.0_f32, 0.0, 4.1])
        {
            *place = x.to_ne_bytes();
        }
        let work = Native::Round { values: 3 };
        work.run(&mut memory, [0, 12, 16, 20].into_iter()).unwrap();
        assert_eq!(memory[12..15], [0, 50, 255]);
        assert_eq!(memory[16..20], (5.1_f32 / 255.0).to_ne_bytes());
        assert_eq!(memory[20..24], 50_i32.to_ne_bytes());
    }
}
