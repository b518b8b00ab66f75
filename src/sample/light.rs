//! Light and lens: the sun's direction, exposure, warmth, vignette, softness and sensor noise.

use image::RgbImage;
use resvg::tiny_skia::Pixmap;

use super::dice::Dice;

#[derive(Debug, Clone)]
pub(super) struct Light {
    /// Unit vector towards the light, in picture coordinates (y down).
    pub towards: (f32, f32),
    exposure: f32,
    /// Above 0 for evening light, below 0 for shade.
    warmth: f32,
    contrast: f32,
    /// How much brighter the lit side of the picture is.
    slope: f32,
    vignette: f32,
    /// Standard deviation of the lens blur, in pixels.
    softness: f32,
    /// Standard deviation of the sensor noise, in 1/255.
    noise: f32,
}

impl Light {
    pub(super) fn sample(dice: &mut Dice, size: f32) -> Self {
        let angle = dice.between(-165.0, -15.0).to_radians();
        Self {
            towards: (angle.cos(), angle.sin()),
            exposure: dice.between(0.9, 1.18),
            warmth: dice.spread(0.14),
            contrast: dice.between(0.88, 1.16),
            slope: dice.between(0.0, 0.22),
            vignette: dice.between(0.0, 0.4),
            softness: dice.between(0.2, 0.9) * size / 256.0,
            noise: dice.between(0.8, 4.0),
        }
    }

    /// The photo of an opaque drawing.
    pub(super) fn develop(&self, drawing: &Pixmap, dice: &mut Dice) -> RgbImage {
        let side = drawing.width() as usize;
        let mut pixels: Vec<[f32; 3]> = drawing
            .pixels()
            .iter()
            .map(|p| [p.red(), p.green(), p.blue()].map(f32::from))
            .collect();
        let kernel = gaussian(self.softness);
        pixels = blur_rows_transposed(&pixels, side, &kernel);
        pixels = blur_rows_transposed(&pixels, side, &kernel);
        let gains = [1.0 + self.warmth, 1.0, 1.0 - self.warmth];
        let mut photo = RgbImage::new(drawing.width(), drawing.height());
        for (at, (pixel, out)) in pixels.iter().zip(photo.pixels_mut()).enumerate() {
            let x = (at % side) as f32 / side as f32 * 2.0 - 1.0;
            let y = (at / side) as f32 / side as f32 * 2.0 - 1.0;
            let slope = 1.0 + self.slope * (x * self.towards.0 + y * self.towards.1);
            let vignette = 1.0 - self.vignette * (x * x + y * y) / 2.0;
            let gain = self.exposure * slope * vignette;
            let grain = dice.spread(2.4 * self.noise);
            for channel in 0..3 {
                let lit = pixel[channel] * gain * gains[channel];
                let toned = (lit - 118.0) * self.contrast + 118.0;
                let noise = grain + dice.between(-self.noise, self.noise);
                out.0[channel] = (toned + noise + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
        photo
    }
}

/// Half of a normalised Gaussian kernel: the centre weight first.
fn gaussian(sigma: f32) -> Vec<f32> {
    let reach = (sigma * 2.5).ceil().max(1.0) as usize;
    let mut half: Vec<f32> = (0..=reach)
        .map(|i| (-0.5 * (i as f32 / sigma.max(0.05)).powi(2)).exp())
        .collect();
    let total = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter_mut().for_each(|weight| *weight /= total);
    half
}

/// Blurs along the rows and swaps rows and columns, so that two passes blur both ways.
fn blur_rows_transposed(pixels: &[[f32; 3]], side: usize, half: &[f32]) -> Vec<[f32; 3]> {
    let mut out = vec![[0.0; 3]; pixels.len()];
    for (y, row) in pixels.chunks_exact(side).enumerate() {
        for x in 0..side {
            let mut sum = row[x].map(|value| value * half[0]);
            for (distance, weight) in half.iter().enumerate().skip(1) {
                let left = row[x.saturating_sub(distance)];
                let right = row[(x + distance).min(side - 1)];
                for channel in 0..3 {
                    sum[channel] += weight * (left[channel] + right[channel]);
                }
            }
            out[x * side + y] = sum;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_a_flat_field_and_spreads_a_point_evenly() {
        let kernel = gaussian(0.8);
        let flat = blur_rows_transposed(&[[7.0; 3]; 16], 4, &kernel);
        assert!(flat.iter().flatten().all(|v| (v - 7.0).abs() < 1e-5));

        let mut point = vec![[0.0; 3]; 81];
        point[4 * 9 + 4] = [1.0; 3];
        let once = blur_rows_transposed(&point, 9, &kernel);
        let twice = blur_rows_transposed(&once, 9, &kernel);
        assert!((twice.iter().map(|p| p[0]).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((twice[3 * 9 + 4][0] - twice[4 * 9 + 3][0]).abs() < 1e-7);
        assert!(twice[4 * 9 + 4][0] > twice[3 * 9 + 4][0]);
    }
}
